"""Figures of the first family: paths, specifications, pooling, questions and readings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import rox
from rox.core.effect import Effect
from rox.core.linked import Linked
from rox.core.words import LANGUAGES, Language
from rox.reporting import figures
from rox.testing import sample_linked


@pytest.fixture(scope="module")
def data() -> Linked:
    return sample_linked(seed=1)


@pytest.fixture(scope="module")
def paths(data: Linked) -> Effect:
    return rox.Trajectories(before=2, after=3, draws=400).fit(data, rng=1)


@pytest.fixture(scope="module")
def lasting(data: Linked) -> Effect:
    return rox.LeadLag(draws=400).fit(data, rng=1)


def axes() -> Axes:
    return Figure(figsize=(7, 3)).add_subplot()


def words(ax: Axes) -> set[str]:
    legend = ax.get_legend()
    found = {text.get_text() for text in ax.texts} | {ax.get_xlabel(), ax.get_ylabel()}
    return found | ({text.get_text() for text in legend.get_texts()} if legend else set())


@pytest.mark.parametrize("language", LANGUAGES)
def test_paths_are_one_hundred_where_they_were_sorted_and_the_past_is_shaded(paths: Effect, language: Language) -> None:
    ax = figures.paths(paths, axes(), language=language)
    lines = [line for line in ax.lines if len(line.get_xdata()) == len(paths.path_months)]
    assert len(lines) == 3
    for line, group in zip(lines, range(3), strict=True):
        at = list(line.get_xdata()).index(0)
        assert line.get_ydata()[at] == pytest.approx(100)
        assert paths.path is not None
        np.testing.assert_allclose(line.get_ydata(), 100 * paths.path[:, group].mean(0))
    assert any(patch.get_x() == min(paths.path_months) for patch in ax.patches)
    assert {"promoters", "detractors"} <= words(ax) or {"推荐者", "贬损者"} <= words(ax)


def test_an_effect_without_paths_has_none_to_draw(lasting: Effect) -> None:
    with pytest.raises(ValueError, match="no path over months"):
        figures.paths(lasting, axes())


def test_the_specification_that_was_asked_stands_out(data: Linked) -> None:
    table = pd.DataFrame({"estimate": [-2.0, 1.0, 3.0], "asked": [False, True, False]}, index=["a", "b", "c"])
    table = table.assign(low=table["estimate"] - 1, high=table["estimate"] + 1)
    effect = replace(rox.ScoreGap(draws=400).fit(data, rng=1), tables={"specifications": table})
    ax = figures.specification_curve(effect, axes())
    others, asked = (line for line in ax.lines if len(line.get_xdata()) and line.get_marker() == "o")
    assert len(others.get_xdata()) == len(table) - 1
    assert list(asked.get_ydata()) == [table.loc[table["asked"], "estimate"].item()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_pooling_shows_each_segment_alone_and_with_the_others(lasting: Effect, language: Language) -> None:
    table = lasting.tables["coefficients"]
    ax = figures.pooling(table, axes(), language=language)
    alone, pooled = (line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(alone.get_xdata(), table["not_pooled"])
    np.testing.assert_allclose(pooled.get_xdata(), table["estimate"])


def test_questions_share_an_axis_only_in_one_unit(data: Linked, lasting: Effect, paths: Effect) -> None:
    gap = rox.ScoreGap(draws=400).fit(data, rng=1)
    ax = figures.questions([gap, lasting], axes())
    middles = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(middles, [gap.overall.mean(), lasting.overall.mean()])
    with pytest.raises(ValueError, match="different units"):
        figures.questions([gap, paths], axes())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_readings_stand_apart(language: Language) -> None:
    names = ("growth", "growth_by_money", "level", "level_corrected")
    table = pd.DataFrame({"percent": [1.0, 1.2, 4.0, np.nan]}, index=list(names))
    table = table.assign(percent_low=table["percent"] - 1, percent_high=table["percent"] + 1)
    ax = figures.bracket(table, axes(), language=language)
    assert sum(line.get_marker() == "s" for line in ax.lines) == 3
