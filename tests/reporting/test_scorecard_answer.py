"""The answer and the tables of a scorecard: every sentence follows the frames, and words of the data stay words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from rox.core.check import Check, Verdict
from rox.core.study import Scale
from rox.core.words import LANGUAGES, Language, say
from rox.reporting import scorecard_tables
from rox.reporting.scorecard_answer import answer, lowest, sentences

NAN = float("nan")
MISSING = Check(code="ROX-M17", verdict=Verdict.NOTE, values={"metric": "q"})
NPS = Scale(column="q", low=0, high=10, kind="nps", label={"en": "Recommend", "zh": "推荐"})


def rows(values: dict[str, tuple[float, float]], **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(
        [(name, value, se, value - 1.645 * se, value + 1.645 * se) for name, (value, se) in values.items()],
        columns=["segment", "value", "se", "low", "high"],
    )
    return frame.assign(**({"score": "q", "metric": "nps", "unit": "nps_point", "n": 900.0} | columns))


def now(**segments: tuple[float, float]) -> SimpleNamespace:
    whole = rows({"all": (18.0, 2.5)}, period="2025").drop(columns="segment")
    return SimpleNamespace(period="2025", headline=whole, by_segment=rows(segments))


def moved(change: float, se: float) -> SimpleNamespace:
    bridge = rows({"all": (change, se)}).assign(term="change")
    parts = [bridge, bridge.assign(term="rate", value=change + 2), bridge.assign(term="mix", value=-2.0)]
    return SimpleNamespace(first="2024", second="2025", bridge=pd.concat(parts, ignore_index=True))


def silent(width: float) -> SimpleNamespace:
    bounds = pd.DataFrame(
        [("nps", "spread", 10.0 - width / 2, 10.0 + width / 2), ("nps", "worst_case", -89.0, 92.0)],
        columns=["metric", "kind", "low", "high"],
    )
    return SimpleNamespace(
        waves="2025-12", bounds=bounds, estimates=pd.DataFrame({"metric": ["nps"], "unit": ["nps_point"]})
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_question_has_its_sentence(language: Language) -> None:
    said = sentences(
        now(gold=(20.0, 3.0), low=(0.0, 5.0)), moved(16.0, 3.0), silent(32.0), score="q", scale=NPS, language=language
    )
    level, change, worst, off, step = said
    assert "18.0" in level
    assert "2025" in level
    assert "900" in level
    assert "+16" in change
    assert "+18" in change
    assert "−2" in change
    assert "low" in worst
    assert "99%" in worst
    assert "2025-12" in off
    assert "−89" in off
    assert "26" in off
    assert step == say("scorecard.answer.next.segment", language, segment="low")


def test_a_change_within_chance_has_no_reason() -> None:
    said = sentences(now(gold=(20.0, 3.0)), moved(2.0, 3.0), MISSING, score="q", scale=NPS)
    assert "did not move beyond chance" in said[1]
    assert said[2] == say("scorecard.answer.no_lowest", "en", period="2025")
    assert said[3] == MISSING.sentence("en")
    assert len(said) == 4


@pytest.mark.parametrize(("width", "key"), [(40.0, "silent"), (10.0, "more")])
def test_where_no_segment_is_surely_worst_the_largest_doubt_is_next(width: float, key: str) -> None:
    said = sentences(now(a=(11.0, 4.0), b=(10.0, 4.0)), MISSING, silent(width), score="q", scale=NPS)
    assert said[-1] == say(f"scorecard.answer.next.{key}", "en", segment="b", other="a")


def test_a_level_of_too_few_answers_is_not_told() -> None:
    held = now(a=(NAN, NAN), b=(10.0, 4.0))
    held.headline = held.headline.assign(value=NAN)
    said = sentences(held, MISSING, MISSING, score="q", scale=NPS)
    assert said[0] == say("scorecard.answer.now.hidden", "en", period="2025")
    assert "nan" not in " ".join(said)


def test_of_a_mean_that_is_better_when_low_the_highest_is_worst() -> None:
    scale = Scale(column="q", low=1, high=5, kind="rating", label={"en": "q", "zh": "q"}, higher_is_better=False)
    found = now(a=(2.0, 0.1), b=(4.0, 0.1))
    for frame in (found.headline, found.by_segment):
        frame[["metric", "unit"]] = ["mean", "score_point"]
    worst = sentences(found, MISSING, MISSING, score="q", scale=scale)[2]
    assert worst.startswith("Highest")
    assert " b:" in worst


def test_the_probability_to_be_lowest() -> None:
    assert lowest([0.0, 0.0], [1.0, 1.0]) == pytest.approx([0.5, 0.5], abs=0.01)
    # Two means one combined standard error apart: the normal probability of one.
    assert lowest([0.0, 5.0], [3.0, 4.0])[0] == pytest.approx(0.8413, abs=0.01)
    assert lowest([3.0, 1.0, 2.0], [2.0, 1.0, 3.0]).sum() == pytest.approx(1.0)


def test_words_of_the_data_are_escaped() -> None:
    shown = answer(now(**{"<b>x</b>": (0.0, 1.0), "y": (50.0, 1.0)}), MISSING, MISSING, score="q", scale=NPS)
    assert "&lt;b&gt;x&lt;/b&gt;" in shown._repr_html_()
    assert "<b>" not in shown.html
    part = rows({"<i>": (0.5, 0.01)}, metric="response_rate", unit="ratio", period="2025")
    shown = scorecard_tables.by_group(part)
    assert "&lt;i&gt;" in shown.html
    assert "<i>" not in shown.html
    assert "50.0% (48.4% to 51.6%)" in shown.html
    assert "900 invitations" in shown.html


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_headline_has_labels_periods_and_ranges(language: Language) -> None:
    frame = rows({"all": (18.0, 2.5), "none": (NAN, NAN)}, period="2025")
    text = repr(scorecard_tables.headline(frame, {"q": NPS}, language))
    first, *lines = text.splitlines()
    assert first.split(" | ")[0] == say("scorecard.measure", language)
    assert NPS.label[language] in lines[0]
    assert "2025" in lines[0]
    assert "18.0" in lines[0]
    assert "13.9" in lines[0]
    assert say("figure.experience.hidden", language) in lines[1]
    assert "nan" not in text


def test_a_missing_part_is_said_and_checks_use_labels() -> None:
    assert MISSING.sentence("en") in scorecard_tables.by_group(MISSING).html
    check = Check(
        code="ROX-N04", verdict=Verdict.NOTE, values={"fact": "events_x", "gap": 0.1, "so": "silence.gap.real"}
    )
    rival = Check(code="ROX-M09", verdict=Verdict.NOTE, values={"company": "Bank A", "what": "rivals.date"})
    shown = scorecard_tables.checks([check, rival, MISSING], {"q": NPS}, "zh", names={"Bank A": "甲银行"})
    assert "事件：x" in shown.text
    assert "甲银行" in shown.text
    assert say("metrics.nps", "zh") in shown.text
