"""Figures of drivers: what they draw is what the tables hold, in both languages."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from rox.core.study import Scale
from rox.core.words import Language
from rox.reporting import driver_figures

TABLE = pd.DataFrame(
    {
        "driver": ["wait", "app", "fees"], "share": [0.2, 0.1, 0.05], "low": [0.15, 0.06, 0.0],
        "high": [0.25, 0.14, 0.1], "p_first": [0.97, 0.03, 0.0], "kind": "rating",
    }
)  # fmt: skip
QUADRANT = pd.DataFrame(
    {
        "driver": ["wait", "app", "fees"], "performance": [6.0, 8.0, 7.0], "importance": [0.2, 0.1, 0.05],
        "performance_se": 0.1, "importance_se": 0.01, "quadrant": ["improve", "open", "watch"], "probability": 0.9,
        "by_slope": ["keep", "improve", "watch"], "probability_by_slope": [0.99, 0.85, 0.99], "of_scale": False,
        "correlation": [0.8, 0.0, -0.5], "cut": 7.5,
    }
)  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
def test_bars_are_the_shares_with_their_ranges(language: Language) -> None:
    figure, ax = plt.subplots()
    driver_figures.importance(TABLE, ax, labels={"wait": "网点等候"}, language=language)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.2, 0.1, 0.05])
    assert [tuple(part[:, 0]) for part in ax.collections[0].get_segments()] == [(0.15, 0.25), (0.06, 0.14), (0.0, 0.1)]
    said = [text.get_text() for text in ax.texts]
    assert any("97%" in text for text in said)
    assert "网点等候" in [text.get_text() for text in ax.findobj(Text)]
    plt.close(figure)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_only_a_sure_quadrant_wears_its_colour(language: Language) -> None:
    figure, ax = plt.subplots()
    driver_figures.quadrant(QUADRANT, ax, language=language)
    colours = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert colours == [driver_figures.QUADRANTS[each] for each in ("improve", "open", "watch")]
    names = {text.get_text() for text in ax.texts}
    assert {"wait", "app", "fees"} <= names
    assert len(names) == 7
    assert [line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1][-1] == 7.5
    plt.close(figure)


def test_an_ellipse_holds_nine_of_ten_pairs() -> None:
    figure, ax = plt.subplots()
    driver_figures.quadrant(QUADRANT, ax)
    rng = np.random.default_rng(1)
    for (_, row), patch in zip(QUADRANT.iterrows(), ax.patches, strict=True):
        together = row["correlation"] * 0.1 * 0.01
        pairs = rng.multivariate_normal(
            [row["performance"], row["importance"]], [[0.01, together], [together, 1e-4]], 4000
        )
        assert patch.contains_points(ax.transData.transform(pairs)).mean() == pytest.approx(0.9, abs=0.02)
    plt.close(figure)


MONEY = pd.DataFrame(
    {
        "driver": ["fees", "wait", "app"], "value": [10.0, 400.0, 200.0], "low": [-200.0, 300.0, 150.0],
        "high": [220.0, 500.0, 250.0], "p_positive": [0.5, 1.0, 0.9], "grade": "D", "unit": "money_per_customer",
        "currency": "CNY", "months": 12,
    }
)  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
def test_money_stands_on_the_axis_with_its_grade_and_colours_only_what_is_sure_of_it(language: Language) -> None:
    figure, ax = plt.subplots()
    driver_figures.quadrant(QUADRANT, ax, money=MONEY, language=language)
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_ydata()[0] for line in marks] == [400.0, 200.0, 10.0]
    assert [line.get_color() for line in marks] == [driver_figures.QUADRANTS[each] for each in ("keep", "open", "open")]
    lowest = [segment[0][1] for part in ax.collections for segment in part.get_segments() if segment[0][0] == 7.0]
    assert min(lowest) == pytest.approx(-200.0)
    assert "D" in ax.get_title(loc="left")
    assert "12" in ax.get_ylabel()
    plt.close(figure)


def test_what_is_money_itself_is_named_and_not_drawn() -> None:
    figure, ax = plt.subplots()
    own = MONEY.assign(grade=["E", "D", "D"])
    own.loc[0, ["value", "low", "high", "p_positive"]] = float("nan")
    driver_figures.quadrant(QUADRANT, ax, money=own, labels={"fees": "Fees"})
    assert [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "o"] == [400.0, 200.0]
    assert "grade D" in ax.get_title(loc="left")
    assert ax.get_title(loc="left").endswith("money itself: Fees")
    plt.close(figure)


def test_recorded_facts_wear_another_mark_and_nothing_is_said_to_be_nothing() -> None:
    figure, axes = plt.subplots(1, 2)
    driver_figures.importance(TABLE.assign(kind=["rating", "event", "rating"]), axes[0])
    assert sorted((line.get_marker(), len(line.get_xdata())) for line in axes[0].lines[:2]) == [("o", 2), ("s", 1)]
    assert len(axes[0].get_legend().get_texts()) == 2
    driver_figures.importance(TABLE.iloc[:0], axes[1])
    driver_figures.quadrant(pd.DataFrame(), axes[1])
    assert {text.get_text() for text in axes[1].texts} == {"No ratings to compare: see the checks."}
    plt.close(figure)


def test_drivers_are_called_as_the_study_does() -> None:
    scale = Scale(column="f", low=0, high=10, kind="rating", label={"en": "Fees", "zh": "收费"}, pillar="empathy")  # type: ignore[arg-type]
    found = driver_figures.names(
        {"fees": scale},
        ["fees", "events_call_lost", "topic_complaint/fees", "topic_praise/*", "topic_app", "empathy"],
        "zh",
    )
    assert list(found.values()) == ["收费", "call lost（事件）", "complaint：收费", "praise", "app（反馈）", "同理心"]
