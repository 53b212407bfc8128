"""The parts of a scorecard: periods that can be compared, and a sentence where something is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Check
from rox.core.errors import DataError
from rox.metrics import scorecard
from rox.metrics.overview import Experience
from rox.metrics.scorecard import Compared

PEOPLE = 64


def answers(months: Sequence[str], *, thin: Sequence[str] = ()) -> pd.DataFrame:
    """Everybody answers in every month; in thin months 12 people do."""
    rng = np.random.default_rng(3)
    parts = [
        pd.DataFrame({"customer": np.arange(12 if month in thin else PEOPLE), "date": f"{month}-15"})
        for month in (*months, *thin)
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(nps=rng.integers(0, 11, len(frame)), csat=rng.integers(1, 6, len(frame)))


def customers() -> pd.DataFrame:
    who = np.arange(PEOPLE)
    return pd.DataFrame({"customer": who, "segment": np.where(who % 2, "gold", "mass"), "unit": [f"U{i}" for i in who]})


def made(few: Callable[..., Any], months: Sequence[str], **options: Any) -> Any:
    return few(answers=answers(months, **options), customers=customers())


def quarters(*years: int) -> list[str]:
    return [f"{year}-{month:02d}" for year in years for month in (2, 5, 8, 11)]


@pytest.mark.parametrize(
    ("months", "expected"),
    [
        ([*quarters(2024), "2025-05"], ("2024Q2", "2025Q2")),
        (["2024-11", "2025-02", "2025-08"], ("2025Q1", "2025Q3")),
        (["2025-07", "2025-09"], ("2025-07", "2025-09")),
    ],
)
def test_the_last_two_periods_alike_are_compared(
    few: Callable[..., Any], months: list[str], expected: tuple[str, str]
) -> None:
    found = scorecard.compared(made(few, months), "nps", "segment")
    assert isinstance(found, Compared)
    assert (found.first, found.second) == expected
    assert found.by == ("segment",)


@pytest.mark.parametrize(
    ("months", "thin"),
    [(["2025-08"], []), (["2022-02", "2025-08"], []), (["2025-05"], ["2025-08"]), (["2025-11"], ["2026-02"])],
)
def test_one_period_is_none_to_compare(few: Callable[..., Any], months: list[str], thin: list[str]) -> None:
    tables = made(few, months, thin=thin)
    between = scorecard.compared(tables, "nps", "segment")
    assert isinstance(between, Check)
    assert between.code == "ROX-M17"
    assert scorecard.movement(tables, "nps", between) is between
    assert scorecard.slices(tables, "nps", between) is between


def test_two_whole_years_are_split_by_the_columns_there_are(few: Callable[..., Any]) -> None:
    tables = made(few, quarters(2024, 2025))
    found = scorecard.compared(tables, "nps", "channel, place, segment")
    assert isinstance(found, Compared)
    assert (found.first, found.second, found.by) == ("2024", "2025", ("segment",))
    assert [check.code for check in found.checks] == ["ROX-M18"]
    assert "place" in found.checks[0].sentence("zh")
    alone = scorecard.compared(tables, "nps", "channel")
    assert isinstance(alone, Compared)
    assert alone.by == ("segment",)
    assert [check.code for check in alone.checks] == ["ROX-M19"]
    numbers = scorecard.numbers_of(
        moved=scorecard.movement(tables, "nps", found),
        rivals=scorecard.beside(tables),
        leaving=pd.DataFrame({"value": [0.1]}),
    )
    assert (numbers["rivals"], numbers["leaving"]) == ("ROX-M20", [{"value": 0.1}])
    terms = {row["term"]: row["value"] for row in numbers["moved"]["bridge"]}
    assert terms["first"] + terms["mix"] + terms["rate"] == pytest.approx(terms["second"])
    assert "checks" not in numbers["moved"]


def test_the_question_is_the_one_wanted_or_the_first_nps(few: Callable[..., Any], study: Callable[..., Any]) -> None:
    assert scorecard.question(study()) == "nps"
    assert scorecard.question(study(), "ces") == "ces"
    with pytest.raises(DataError, match="nonsense"):
        scorecard.question(study(), "nonsense")


def measured(every: str, trend: pd.DataFrame) -> Experience:
    empty = pd.DataFrame()
    return Experience(
        every=every, headline=empty, trend=trend, by_segment=empty, response=empty, churn=empty, chain=empty, checks=()
    )  # type: ignore[arg-type]  # fmt: skip


def test_a_poor_study_says_what_it_lacks(few: Callable[..., Any]) -> None:
    tables = made(few, ["2025-05", "2025-08"], thin=["2025-11"])
    trend = pd.DataFrame(
        {"quarter": ["2025Q2", "2025Q3"], "score": "nps", "metric": "nps", "unit": "nps_point", "value": [1.0, 2.0],
         "low": [0.0, 1.0], "high": [2.0, 3.0]}
    )  # fmt: skip
    seen = measured("quarter", trend)
    followed = scorecard.followed(tables, "nps", seen)
    assert list(followed.series["value"]) == [1.0, 2.0]
    parts = (
        followed, scorecard.leaving(seen), scorecard.responding(seen), scorecard.seasons(tables, "nps"),
        scorecard.beside(tables), scorecard.journey(tables),
    )  # fmt: skip
    found = scorecard.checks_of(*parts, *parts, trend)
    assert [check.code[-3:] for check in found] == ["M23", "M22", "M25", "M24", "M20", "M21"]
    assert all(check.sentence(language) for check in found for language in ("en", "zh"))
    assert scorecard.told(parts[1], "zh") == found[1].sentence("zh")
    assert scorecard.told(trend) is trend


def test_the_silent_are_looked_at_in_the_last_wave_with_enough_answers(few: Callable[..., Any]) -> None:
    found = scorecard.silent(made(few, ["2025-05", "2025-08"], thin=["2025-11"]), "nps")
    assert not isinstance(found, Check)
    assert found.waves == "2025-08"
    lacking = scorecard.silent(made(few, [], thin=["2025-11"]), "nps")
    assert isinstance(lacking, Check)
    assert "30 are needed" in lacking.sentence("en")


def test_the_calendar_marks_the_month_of_the_lunar_new_year(study: Callable[..., Any]) -> None:
    class Found:
        adjusted = pd.DataFrame({"month": ["2024-01", "2024-02", "2025-01", "2025-02"]})

    marks = scorecard.calendar(study(), Found())  # type: ignore[arg-type]
    assert list(marks["month"]) == ["2024-02", "2025-02"]
    assert marks["zh"].iloc[0] == "春节"
    assert scorecard.calendar(study(), scorecard.leaving(measured("quarter", pd.DataFrame()))).empty  # type: ignore[arg-type]
