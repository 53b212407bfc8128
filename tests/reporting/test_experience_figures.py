"""Figures of the scorecard: what they draw is what the frames hold, in both languages, and nothing of hidden cells."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from rox.core.check import Check, Verdict
from rox.core.study import Scale
from rox.core.words import LANGUAGES, Language, catalogue, say
from rox.reporting import experience_figures, movement_figures, silence_figures
from rox.reporting.panels import panels

MISSING = Check(code="ROX-M20", verdict=Verdict.NOTE, values={"file": "rivals.toml"})
NAN = float("nan")


@pytest.fixture
def ax() -> Iterator[Axes]:
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def said(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.findobj(Text) if text.get_text()]


def bars(ax: Axes) -> list[tuple[float, float, float]]:
    """Return row, left end and length of every bar."""
    return [
        (round(bar.get_y() + bar.get_height() / 2, 6), round(bar.get_x(), 6), round(bar.get_width(), 6))
        for bar in ax.patches
        if hasattr(bar, "get_width")
    ]


def lines(ax: Axes) -> list[tuple[float, ...]]:
    return [tuple(np.round(part[:, 0], 6)) for held in ax.collections for part in held.get_segments()]


def scale(kind: str, low: int, high: int, *, higher_is_better: bool = True) -> Scale:
    return Scale(
        column="q", low=low, high=high, kind=kind, label={"en": "q", "zh": "q"}, higher_is_better=higher_is_better
    )


def distribution(shares: dict[str, list[float]], low: int = 0) -> pd.DataFrame:
    rows = [(group, "q", low + at, share) for group, own in shares.items() for at, share in enumerate(own)]
    return pd.DataFrame(rows, columns=["segment", "score", "answer", "value"])


def measured(rows: list[tuple[str, float, float, float, float]], metric: str, unit: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["segment", "value", "low", "high", "n"])
    return frame.assign(score="q", metric=metric, unit=unit)[
        ["segment", "score", "metric", "unit", "value", "low", "high", "n"]
    ]


SHARES = distribution(
    {
        "gold": [0.0, 0, 0, 0, 0, 0.05, 0.15, 0.1, 0.2, 0.3, 0.2],
        "$thin_x$": [NAN] * 11,
        "tiny": [NAN] * 11,
    }
)
SCORES = measured(
    [("gold", 30.0, 20.0, 40.0, 900.0), ("$thin_x$", NAN, -20.0, 60.0, 22.0), ("tiny", NAN, NAN, NAN, NAN)],
    "nps",
    "nps_point",
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_shares_stand_on_either_side_of_zero_and_the_point_is_their_difference(ax: Axes, language: Language) -> None:
    experience_figures.shares(SHARES, ax, values=SCORES, scale=scale("nps", 0, 10), language=language)
    assert bars(ax) == [(0.0, -20.0, 20.0), (0.0, 0.0, 50.0), (0.0, 50.0, 30.0)]
    point = next(line for line in ax.lines if line.get_marker() == "D")
    assert point.get_xdata()[0] == 30.0
    assert set(lines(ax)) == {(20.0, 40.0), (-20.0, 60.0)}
    words = said(ax)
    assert {"gold", "$thin_x$", "tiny", say("figure.experience.hidden", language)} <= set(words)
    assert {say(f"category.{name}", language) for name in ("promoter", "passive", "detractor")} <= set(words)
    assert any("900" in word for word in words)
    assert not any("nan" in word for word in words)
    assert not any(text.get_parse_math() for text in ax.findobj(Text))


@pytest.mark.parametrize(
    ("kind", "low", "high", "better", "expected"),
    [
        ("csat", 1, 5, True, (55, 25, 20)),
        ("csat", 1, 5, False, (20, 25, 55)),
        ("ces", 1, 5, True, (55, 25, 20)),
        ("rating", 1, 5, True, (55, 25, 20)),
        ("csat", 1, 2, True, (100, 0, 0)),
    ],
)
def test_classes_follow_the_kind_and_direction_of_the_question(
    kind: str, low: int, high: int, better: bool, expected: tuple[float, ...]
) -> None:
    own = [0.05, 0.15, 0.25, 0.35, 0.2] if high == 5 else [0.4, 0.6]
    found = experience_figures.classes(
        distribution({"a": own}, low), scale(kind, low, high, higher_is_better=better)
    ).loc["a"]
    assert tuple(found[["upper", "middle", "lower"]]) == pytest.approx(expected)


def watched(*, charted: bool = True) -> SimpleNamespace:
    quarters = ["2024Q1", "2024Q2", "2024Q4", "2025Q1"]
    whole = pd.DataFrame({"quarter": quarters, "value": [1.0, 2.0, NAN, 9.0], "low": [0.0, 1.0, NAN, 8.0]})
    whole = whole.assign(high=whole["low"] + 2, metric="nps", unit="nps_point", segment="all")
    part = whole.assign(segment="gold", value=50.0, low=40.0, high=60.0)
    charts = pd.DataFrame({"quarter": ["2024Q4", "2025Q1"], "ewma": [0.2, 1.1], "ewma_limit": 0.9, "segment": "all"})
    alarms = pd.DataFrame(
        {"segment": ["all", "gold"], "chart": "ewma", "quarter": "2025Q1", "direction": 1, "value": [9.0, 50.0]}
    )
    changes = pd.DataFrame(
        {"segment": "all", "date": ["2025Q1"], "earliest": "2024Q4", "latest": "2025Q1", "before": 1.5, "after": 9.0}
    )
    return SimpleNamespace(
        by=("segment",), every="quarter", series=pd.concat([whole, part], ignore_index=True),
        charts=charts if charted else pd.DataFrame(), alarms=alarms, changes=changes, checks=(MISSING,),
    )  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_periods_stand_at_their_dates_with_alarms_and_levels_of_the_whole(ax: Axes, language: Language) -> None:
    experience_figures.over_time(watched(), ax, language=language)
    line, *others = ax.lines
    assert list(line.get_xdata()) == [8096, 8097, 8099, 8100]
    assert list(line.get_ydata())[:2] == [1.0, 2.0]
    levels = [(tuple(each.get_xdata()), tuple(each.get_ydata())) for each in others[:2]]
    assert levels == [((8095.5, 8099.5), (1.5, 1.5)), ((8099.5, 8100.5), (9.0, 9.0))]
    assert [(each.get_xdata()[0], each.get_ydata()[0]) for each in ax.lines if each.get_marker() == "^"] == [(8100, 9)]
    assert any("2025Q1" in word and "1.5" in word and "9.0" in word for word in said(ax))
    assert say("figure.experience.alarm.above", language) in said(ax)


def test_an_alarm_is_named_by_its_side_of_what_was_foreseen(ax: Axes) -> None:
    found = watched()
    below = found.alarms.assign(direction=-1, quarter="2024Q1", value=1.0)
    found.alarms = pd.concat([found.alarms, below], ignore_index=True)
    experience_figures.over_time(found, ax)
    marks = {
        line.get_marker(): (line.get_xdata()[0], line.get_label()) for line in ax.lines if line.get_marker() in "^v"
    }
    assert {mark: at for mark, (at, _) in marks.items()} == {"^": 8100, "v": 8096}
    assert [marks[mark][1] for mark in "^v"] == [
        say(f"figure.experience.alarm.{side}", "en") for side in ("above", "below")
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_period_stands_under_the_shares(ax: Axes, language: Language) -> None:
    experience_figures.shares(SHARES, ax, values=SCORES, scale=scale("nps", 0, 10), period="2024Q3", language=language)
    assert "2024Q3" in " ".join(said(ax))


def test_limits_lie_on_either_side_and_without_them_the_reason_is_said(ax: Axes) -> None:
    experience_figures.limits(watched(), ax)
    average = next(line for line in ax.lines if line.get_marker() == "o")
    assert list(average.get_ydata()) == [0.2, 1.1]
    steps = [patch.get_data().values for patch in ax.patches if hasattr(patch, "get_data")]
    assert [list(each) for each in steps] == [[0.9, 0.9], [-0.9, -0.9]]
    ax.clear()
    experience_figures.limits(watched(charted=False), ax, language="zh")
    assert not ax.axison
    assert said(ax) == [MISSING.sentence("zh")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_companies_stand_side_by_side_and_say_how_they_asked(ax: Axes, language: Language) -> None:
    table = pd.DataFrame(
        {
            "company": ["Us", "Bank $B$"], "metric": "nps", "unit": "nps_point", "value": [10.0, 20.0],
            "low": [5.0, 12.0], "high": [15.0, 28.0], "p_first": [0.03, 0.97], "rank_low": [2, 1],
            "rank_high": [2, 1], "differs": ["", "mode"],
        }
    )  # fmt: skip
    experience_figures.side_by_side(SimpleNamespace(table=table), ax, language=language)
    points = [line for line in ax.lines if line.get_marker() in "Do"]
    assert [float(point.get_xdata()[0]) for point in points] == [10.0, 20.0]
    assert [point.get_markerfacecolor() == "white" for point in points] == [False, True]
    whole = "\n".join(said(ax))
    assert "97%" in whole
    ax.clear()
    experience_figures.side_by_side(SimpleNamespace(table=table), ax, names={"Us": "本行"}, language=language)
    assert "本行" in said(ax)
    assert "Us" not in said(ax)
    assert say("rivals.mode", language)[:6] in whole


def moved(*, unit: str = "nps_point") -> SimpleNamespace:
    bridge = pd.DataFrame(
        {
            "term": ["first", "second", "change", "mix", "rate"],
            "dimension": ["all", "all", "all", "segment", "all"],
            "value": [10.0, 16.0, 6.0, -2.0, 8.0],
        }
    )
    panel = pd.DataFrame({"term": ["stayers", "joiners", "leavers", "who_answers"], "value": [5.0, NAN, NAN, 1.0]})
    both = [frame.assign(low=frame["value"] - 1, high=frame["value"] + 1) for frame in (bridge, panel)]
    return SimpleNamespace(first="2024", second="2025", unit=unit, bridge=both[0], panel=both[1])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_bridge_leads_from_one_value_to_the_other(ax: Axes, language: Language) -> None:
    movement_figures.bridge(moved(), ax, language=language)
    assert bars(ax) == [(0.0, 0.0, 10.0), (1.0, 10.0, 8.0), (2.0, 18.0, -2.0), (3.0, 0.0, 16.0)]
    assert lines(ax)[:4] == [(9.0, 11.0), (17.0, 19.0), (15.0, 17.0), (15.0, 17.0)]
    assert {"2024", "2025", say("figure.movement.rate.of", language)} <= set(said(ax))


@pytest.mark.parametrize("language", LANGUAGES)
def test_parts_of_too_few_customers_have_a_name_and_no_bar(ax: Axes, language: Language) -> None:
    movement_figures.bridge_of_customers(moved(), ax, language=language)
    assert [row for row, *_ in bars(ax)] == [0.0, 1.0, 2.0, 5.0]
    assert said(ax).count(say("figure.experience.hidden", language)) == 2
    assert say("figure.movement.joiners", language) in said(ax)


def test_a_mean_has_no_bar_from_zero(ax: Axes) -> None:
    movement_figures.bridge(moved(unit="score_point"), ax)
    assert [row for row, *_ in bars(ax)] == [1.0, 2.0]
    assert next(list(line.get_xdata()) for line in ax.lines if line.get_marker() == "D") == [10.0, 16.0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_season_is_drawn_beside_the_series_with_the_calendar(ax: Axes, language: Language) -> None:
    observed = pd.DataFrame({"month": ["2024-01", "2024-02", "2024-03"], "value": [1.0, 4.0, 2.0]})
    adjusted = observed.assign(value=[2.0, 2.5, 2.0], low=1.0, high=3.0, unit="nps_point", metric="nps")
    marks = pd.DataFrame(
        [["2024-02", "lunar_new_year", "lunar new year", "春节"]], columns=["month", "mark", *LANGUAGES]
    )
    found = SimpleNamespace(observed=observed, adjusted=adjusted)
    movement_figures.season(found, ax, marks=marks, language=language)
    assert [list(line.get_ydata()) for line in ax.lines] == [[1.0, 4.0, 2.0], [2.0, 2.5, 2.0]]
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(12 * 2024 + 0.5, 1.0)]
    assert marks[language].iloc[0] in said(ax)
    with pytest.raises(ValueError, match="one series"):
        movement_figures.season(SimpleNamespace(observed=pd.concat([observed] * 2), adjusted=adjusted), ax)


@pytest.mark.parametrize(
    ("verdict", "explained", "key", "language"),
    [
        ("found", 0.8, "found", "en"),
        ("found", NAN, "found.some", "zh"),
        ("diffuse", 0.1, "diffuse", "en"),
        ("still", NAN, "still", "zh"),
        ("open", 0.3, "open", "en"),
    ],
)
def test_slices_found_have_bars_and_the_verdict_words(
    ax: Axes, language: Language, verdict: str, explained: float, key: str
) -> None:
    slices = pd.DataFrame(
        {"slice": ["channel=app & place=$N_1$", "hidden"], "value": [6.0, NAN], "low": [4.0, NAN], "high": [8.0, NAN]}
    ).assign(unit="nps_point")
    examined = pd.DataFrame({"slice": ["a", "b"], "contribution": [5.5, -0.5]})
    found = SimpleNamespace(
        metric="nps", slices=slices, examined=examined, change=7.0, change_se=1.0, explained=explained, verdict=verdict
    )
    movement_figures.contributions(found, ax, language=language)
    assert bars(ax) == [(1.0, 0.0, 6.0)]
    assert lines(ax)[1] == (4.0, 8.0)
    assert list(ax.lines[1].get_xdata()) == [5.5, -0.5]
    assert not any("hidden" in word for word in said(ax))
    start = say(f"figure.movement.{key}", language, share="80%")
    assert ax.get_title(loc="left").replace("\n", "") == start.replace("\n", "")
    assert any("$N_1$" in word for word in said(ax))


def silent(**changes: object) -> SimpleNamespace:
    points = {"raw": 16.0, "raked": 11.0, "proxy": 7.0}
    estimates = pd.DataFrame(
        [
            {"period": period, "estimator": name, "metric": "nps", "unit": "nps_point", "value": value, "se": 5.0,
             "low": value - 8, "high": value + 8}
            for period in ("2025-09", "2025-12", "change")
            for name, value in points.items()
        ]
    )  # fmt: skip
    bounds = pd.DataFrame(
        [("nps", "worst_case", -89.0, 92.0), ("nps", "spread", -1.0, 24.0), ("nps", "proxy_0", 9.0, 9.0)],
        columns=["metric", "kind", "low", "high"],
    )
    sensitivity = pd.DataFrame(
        [{"conclusion": "level", "first": "2025-12", "second": "", "difference": 11.0, "rate": 0.1,
          "delta": -11 / 0.9, "odds": 1.39, "suggested": -4.0}]
    )  # fmt: skip
    odds = pd.DataFrame({"kind": "odds", "at": [0.5, 1.0, 1.5, 2.0], "value": [33.0, 11.0, -3.0, -12.0]})
    mechanism = pd.DataFrame(
        {"tenth": [1, 2], "rate_before": [0.1, 0.2], "asked_before": 300.0, "rate": [0.12, NAN], "asked": [310.0, NAN]}
    )
    benchmarks = pd.DataFrame(
        {"fact": ["tenure", "events_x$"], "gap": [0.1, -0.02], "gap_unweighted": [0.2, 0.0], "low": [0.0, -0.1],
         "high": [0.2, 0.06]}
    )  # fmt: skip
    resistance = pd.DataFrame(
        [(1, 0.0, 0.0, 20.0, 6.0), (2, 1.0, 4.0, 14.0, 5.0), ("silent", NAN, NAN, 8.0, NAN)],
        columns=["step", "days_from", "days_to", "value", "se"],
    )
    parts = {
        "waves": "2025-12", "before": "2025-09", "estimates": estimates, "bounds": bounds, "sensitivity": sensitivity,
        "curves": odds, "mechanism": mechanism, "benchmarks": benchmarks, "resistance": resistance,
    }  # fmt: skip
    return SimpleNamespace(**{**parts, **changes})


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_ladder_stands_above_what_could_be_at_all(ax: Axes, language: Language) -> None:
    silence_figures.ladder(silent(), ax, language=language)
    assert list(ax.lines[0].get_xdata()) == [16.0, 11.0, 7.0]
    assert lines(ax) == [(8.0, 24.0), (3.0, 19.0), (-1.0, 15.0)]
    assert bars(ax) == [(3.0, -1.0, 25.0), (4.0, -89.0, 181.0)]
    whole = " ".join(said(ax))
    assert all(say(f"figure.silence.{name}", language)[:10] in whole for name in ("raw", "proxy", "worst_case"))
    assert say("figure.silence.two_models", language)[:10] not in whole


@pytest.mark.parametrize(("language", "odds"), [("en", "1.4 times"), ("zh", "1.4 倍")])
def test_the_line_meets_the_threshold_at_the_gap_that_turns_the_conclusion(
    ax: Axes, language: Language, odds: str
) -> None:
    silence_figures.tipping(silent(), ax, language=language)
    line = ax.lines[0]
    x, y = line.get_xdata(), line.get_ydata()
    assert np.interp(-11 / 0.9, x, y) == pytest.approx(0.0, abs=1e-9)
    assert np.interp(0.0, x, y) == pytest.approx(11.0)
    turned = next(each for each in ax.lines if each.get_markersize() == 9)
    assert (turned.get_xdata()[0], turned.get_ydata()[0]) == pytest.approx((-11 / 0.9, 0.0))
    title = ax.get_title(loc="left").replace("\n", " " if language == "en" else "")
    assert odds.replace(" ", "") in title.replace(" ", "")
    assert "12.2" in title
    marks = {round(float(each.get_xdata()[0]), 6) for each in ax.lines if each.get_marker() == "|"}
    assert round(-14 / 0.9, 6) in marks


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"odds": 0.5, "delta": 8.0, "difference": -5.0}, "sad"),
        ({"odds": NAN, "delta": -300.0, "difference": 5.0}, "never"),
    ],
)
def test_words_follow_the_side_and_the_odds(row: dict[str, float], key: str) -> None:
    said_of = pd.Series({"conclusion": "change", "second": "2025-09", **row})
    text = silence_figures.tipping_words(said_of, 3.0, "number", "NPS", "en")
    assert say(f"figure.silence.tip.{key}", "en", odds="2") in text
    assert ("below" in text) == (row["difference"] < 0)
    assert ("higher" in text) == (row["delta"] > 0)


@pytest.mark.parametrize(
    ("kind", "low", "high", "key"),
    [("level", 4.0, 18.0, "told"), ("level", -1.0, 23.0, "unsure"), ("change", 1.0, 9.0, "told")],
)
def test_a_conclusion_is_as_sure_as_its_range(kind: str, low: float, high: float, key: str) -> None:
    row = pd.Series({"conclusion": kind, "second": "2025-09", "odds": 1.4, "delta": -12.0, "difference": 11.0})
    told = pd.DataFrame({"value": [11.0], "low": [low], "high": [high]})
    text = silence_figures.tipping_words(row, 0.0, "number", "NPS", "en", told=told)
    assert text.startswith(
        say(
            f"figure.silence.tip.{kind}.above.{key}", "en", metric="NPS", against="0", second="2025-09",
            told=silence_figures._told(told, "number", "en"),
        )
    )  # fmt: skip
    assert ("not surely" in text) == (key == "unsure")


def test_another_estimate_whose_range_holds_the_line_makes_it_unsure(ax: Axes) -> None:
    silence_figures.tipping(silent(), ax)
    title = ax.get_title(loc="left").replace("\n", " ")
    assert title.startswith("NPS of all is not surely above 0 (11.0; 90% 3.0 to 19.0, all weighted estimates ")
    assert "−1.0 to 19.0" in title


def test_facts_are_called_by_what_they_are() -> None:
    assert silence_figures.fact_name("events_branch_visit", "en") == "events: branch visit"
    assert silence_figures.fact_name("events_branch_visit", "zh") == "事件：branch visit"
    assert silence_figures.fact_name("count_contacts", "zh") == "次数：contacts"
    assert silence_figures.fact_name("birth_year", "en") == "birth_year"


def test_tenths_below_the_smallest_cell_are_left_out(ax: Axes) -> None:
    silence_figures.response(silent(), ax)
    before, now = (list(line.get_ydata()) for line in ax.lines)
    assert (before, now) == ([0.1, 0.2], [0.12])
    ends = [part[:, 1] for held in ax.collections for part in held.get_segments()]
    assert len(ends) == 3
    assert all(low < rate < high for (low, high), rate in zip(ends, [*before, *now], strict=True))


@pytest.mark.parametrize("language", LANGUAGES)
def test_gaps_and_late_answers_stand_where_the_frames_say(language: Language) -> None:
    figure, (first, second) = plt.subplots(2)
    silence_figures.gaps(silent(), first, language=language)
    silence_figures.late(silent(), second, language=language)
    assert [list(line.get_xdata()) for line in first.lines[:2]] == [[0.2, 0.0], [0.1, -0.02]]
    facts = [silence_figures.fact_name(name, language) for name in ("tenure", "events_x$")]
    assert [word for word in said(first) if word in facts] == facts
    assert list(second.lines[0].get_ydata()) == [20.0, 14.0]
    assert list(second.lines[1].get_ydata()) == [8.0]
    assert [label.get_text() for label in second.get_xticklabels()][:2] == ["0", "1–4"]
    plt.close(figure)


def test_without_invitations_every_panel_says_what_it_takes() -> None:
    empty = pd.DataFrame()
    poor = silent(sensitivity=empty, mechanism=empty, benchmarks=empty, resistance=empty)
    draws = (silence_figures.tipping, silence_figures.response, silence_figures.gaps, silence_figures.late)
    figure = panels(*((draw, poor) for draw in draws), heights=[3.0] * 4, language="zh")
    keys = ("no_tipping", "no_response", "no_benchmarks", "no_late")
    for ax, key in zip(figure.axes, keys, strict=True):
        assert "".join(said(ax)).replace("\n", "") == say(f"figure.silence.{key}", "zh")
    assert figure.get_figheight() < 2.0


def test_panels_say_a_missing_part_once_and_draw_the_others() -> None:
    parts = ((silence_figures.gaps, MISSING), (silence_figures.late, MISSING), (silence_figures.ladder, silent()))
    figure = panels(*parts, heights=[2.0, 2.0, 3.0])
    assert len(figure.axes) == 2
    assert said(figure.axes[0]) == [MISSING.sentence("en")]
    assert figure.axes[1].axison
    assert not plt.get_fignums()


def test_every_word_of_the_figures_differs_between_the_languages() -> None:
    keys = [key for key in catalogue() if key.startswith(("figure.experience.", "figure.movement.", "figure.silence."))]
    assert len(keys) > 50
    same = [key for key in keys if catalogue()[key]["en"] == catalogue()[key]["zh"]]
    assert same == []
