"""Figures of who stays: what they draw is what the tables say, in both languages, on a page of its own."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from rox.core.words import LANGUAGES, Language, say
from rox.reporting.survival_figures import incidence_by_cause, retention_curves, retention_forecast
from rox.reporting.svg import inline_svg

GROUPS = ("detractor", "passive", "promoter")


def axes() -> Axes:
    return Figure(figsize=(7, 4)).add_subplot()


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.fixture
def curves() -> pd.DataFrame:
    time = np.arange(0.0, 25.0)
    frames = []
    for number, group in enumerate(GROUPS):
        kept = 0.97 ** (time * (3 - number) / 2)
        frames.append(
            pd.DataFrame(
                {
                    "group": group,
                    "time": time,
                    "kept": kept,
                    "low": kept - 0.02,
                    "high": np.minimum(kept + 0.02, 1),
                    "band_low": np.where(time > 0, kept - 0.05, np.nan),
                    "band_high": np.where(time > 0, np.minimum(kept + 0.05, 1), np.nan),
                    "at_risk": 1000.0 + 111 * number - time,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def incidence() -> pd.DataFrame:
    time = np.arange(0.0, 13.0)
    parts = (("exit", 0.010), ("silent", 0.004), ("other", 0.002))
    return pd.concat(
        [pd.DataFrame({"group": "mass", "cause": cause, "time": time, "left": rate * time}) for cause, rate in parts]
    )


@pytest.fixture
def forecast() -> pd.DataFrame:
    months = np.arange(25)
    columns: dict[str, np.ndarray] = {}
    for name, rate in (("kept", 0.015), ("kept_shifted", 0.010)):
        value = np.exp(-rate * months)
        columns |= {name: value, f"{name}_low": value**1.2, f"{name}_high": value**0.8}
    columns["gained"] = columns["kept_shifted"] - columns["kept"]
    return pd.DataFrame(columns, index=pd.RangeIndex(25, name="month"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_curves_have_their_bands_and_numbers_at_risk(curves: pd.DataFrame, language: Language) -> None:
    ax = axes()
    assert retention_curves(curves, ax, language=language) is ax
    assert len(ax.get_lines()) == 4  # three curves and the rule above the numbers
    assert len([each for each in ax.collections if isinstance(each, PolyCollection)]) == 3
    drawn = ax.get_lines()[0].get_ydata()
    assert np.allclose(drawn, curves.loc[curves["group"] == "detractor", "kept"])
    found = texts(ax)
    assert {say(f"category.{group}", language) for group in GROUPS} <= set(found)
    assert say("figure.at_risk", language) in found
    for number in ("1,000", "976", "1,222", "1,198"):
        assert number in found
    assert ax.get_xlabel() == say("figure.clock.answer", language)


def test_numbers_at_risk_lie_below_the_curves_and_none_is_told_where_it_is_blank(curves: pd.DataFrame) -> None:
    hidden = curves.assign(at_risk=curves["at_risk"].mask(curves["time"] > 12))
    ax = axes()
    retention_curves(hidden, ax)
    numbers = [text for text in ax.texts if text.get_text().replace(",", "").isdigit()]
    assert {text.xy[0] for text in numbers} == {0.0, 6.0, 12.0} or max(text.xy[0] for text in numbers) <= 12
    assert max(text.xy[1] for text in numbers) < curves["band_low"].min()
    assert min(text.xy[1] for text in numbers) > ax.get_ylim()[0]


def test_curves_without_numbers_are_named_where_they_end_and_apart(curves: pd.DataFrame) -> None:
    ax = axes()
    same = curves.assign(kept=np.where(curves["time"] > 0, 0.9, 1.0))
    retention_curves(same[["group", "time", "kept", "low", "high"]], ax)
    names = [text for text in ax.texts if text.get_text() in {say(f"category.{group}") for group in GROUPS}]
    heights = sorted(text.xy[1] for text in names)
    assert len(heights) == 3
    assert np.diff(heights).min() > 0.01


def test_calendar_months_are_written_as_months(curves: pd.DataFrame) -> None:
    ax = axes()
    retention_curves(curves.assign(time=curves["time"] + 24276), ax, clock="calendar")
    assert ax.xaxis.get_major_formatter()(24276, 0) == "2023-01"
    assert ax.get_xlabel() == say("figure.clock.calendar")


def test_rows_that_may_not_be_shown_are_not_drawn(curves: pd.DataFrame) -> None:
    few = curves.assign(kept=curves["kept"].mask((curves["group"] == "passive") | (curves["time"] > 18)))
    ax = axes()
    retention_curves(few, ax)
    assert say("category.passive") not in texts(ax)
    assert max(line.get_xdata()[-1] for line in ax.get_lines()[:2]) == 18
    with pytest.raises(ValueError, match="0 groups"):
        retention_curves(curves.assign(kept=np.nan), axes())
    many = pd.concat([curves[curves["group"] == "passive"].assign(group=f"g{i}") for i in range(9)])
    with pytest.raises(ValueError, match="9 groups"):
        retention_curves(many, axes())


@pytest.mark.parametrize("language", LANGUAGES)
def test_causes_are_stacked(incidence: pd.DataFrame, language: Language) -> None:
    ax = axes()
    assert incidence_by_cause(incidence, ax, group="mass", language=language) is ax
    (top,) = ax.get_lines()
    assert np.allclose(top.get_ydata(), 0.016 * np.arange(13))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        say(f"cause.{cause}", language) for cause in ("exit", "silent", "other")
    ]
    with pytest.raises(ValueError, match="no cause"):
        incidence_by_cause(incidence, axes(), group="gold")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_scenario_stands_beside_things_as_they_are(forecast: pd.DataFrame, language: Language) -> None:
    ax = axes()
    assert retention_forecast(forecast, ax, language=language) is ax
    assert len(ax.get_lines()) == 2
    points = f"+{100 * forecast['gained'].iloc[-1]:.1f}"
    assert say("figure.points_more", language, months=24, points=points) in texts(ax)
    alone = axes()
    retention_forecast(forecast[["kept", "kept_low", "kept_high"]], alone, language=language)
    assert len(alone.get_lines()) == 1
    assert alone.get_ylim()[0] <= forecast["kept_low"].min()


def test_on_a_page_nothing_is_cut_off(curves: pd.DataFrame, incidence: pd.DataFrame, forecast: pd.DataFrame) -> None:
    for draw in (
        lambda ax: retention_curves(curves, ax, language="zh"),
        lambda ax: incidence_by_cause(incidence, ax, group="mass", language="zh"),
        lambda ax: retention_forecast(forecast, ax, language="zh"),
    ):
        page = ET.fromstring(inline_svg(draw, key="kept", title="t", description="d", size=(7.2, 3.6)))
        width, height = map(float, page.attrib["viewBox"].split()[2:])
        for text in page.iter("{http://www.w3.org/2000/svg}text"):
            for name, most in (("x", width), ("y", height)):
                if name in text.attrib:
                    assert 0 <= float(text.attrib[name]) <= most
