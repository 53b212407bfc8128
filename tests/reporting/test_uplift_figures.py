"""Figures of what an improvement did draw what the tables say, in both languages, and stand in the report."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rox.core.words import LANGUAGES, say
from rox.reporting.svg import inline_svg
from rox.reporting.uplift_figures import honest, priors, ways

PRIORS = pd.DataFrame(
    {
        "prior_mean": [0.0, 0.02, 0.16],
        "prior_sd": [0.1, 0.03, 0.1],
        "mean": [0.03, 0.025, 0.04],
        "low": [0.0, 0.01, 0.01],
        "high": [0.06, 0.04, 0.07],
    },
    index=["sceptical", "neutral", "enthusiastic"],
)
HONEST = pd.DataFrame({"low": [0.01, -0.02], "high": [0.05, 0.08]}, index=pd.Index([0.0, 1.0], name="bound"))
WAYS = pd.DataFrame(
    {"estimate": [0.03, 0.04, np.nan, -0.11], "low": [0.0, 0.01, np.nan, -0.13], "high": [0.06, 0.07, np.nan, -0.09]},
    index=["pooled", "group_time", "doubly_robust", "before_after"],
)


def axes() -> Axes:
    return Figure(figsize=(7, 3)).add_subplot()


def texts(ax: Axes) -> set[str]:
    return {text.get_text() for text in ax.texts}


@pytest.mark.parametrize("language", LANGUAGES)
def test_prior_and_posterior_of_each_reader(language):
    ax = priors(PRIORS, axes(), language=language)
    before, after = (line.get_segments() for line in ax.collections)
    np.testing.assert_allclose([segment[:, 0] for segment in after], PRIORS[["low", "high"]])
    reach = 1.6449 * PRIORS["prior_sd"]
    want = np.stack([PRIORS["prior_mean"] - reach, PRIORS["prior_mean"] + reach], axis=1)
    np.testing.assert_allclose([segment[:, 0] for segment in before], want)
    assert {say(f"figure.prior.{name}", language) for name in PRIORS.index} <= texts(ax)


@pytest.mark.parametrize("language", LANGUAGES)
def test_sets_that_hold_zero_have_another_colour(language):
    ax = honest(HONEST, axes(), language=language)
    drawn = [line.get_segments()[0][:, 1] for line in ax.collections]
    np.testing.assert_allclose(drawn, HONEST[["low", "high"]])
    colours = [tuple(line.get_color()[0][:3]) for line in ax.collections]
    assert colours[0] != colours[1]
    assert ax.get_xlabel() == say("figure.drift", language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_ways_leave_out_what_could_not_be_computed(language):
    ax = ways(WAYS, axes(), language=language)
    kept = WAYS.dropna()
    np.testing.assert_allclose([s[:, 0] for s in ax.collections[0].get_segments()], kept[["low", "high"]])
    assert say("figure.way.before_after", language) in texts(ax)
    assert say("figure.way.doubly_robust", language) not in texts(ax)
    ET.fromstring(
        inline_svg(lambda each: ways(WAYS, each, language=language), key="w", title="t", description="d", size=(7, 3))
    )


def test_every_design_that_a_model_shows_has_a_short_name():
    from rox.core.words import catalogue

    keys = catalogue()
    long = {key.rsplit(".", 1)[-1] for key in keys if ".rival." in key or key.startswith("funnel.design.")}
    named = {key.rsplit(".", 1)[-1] for key in keys if key.startswith("figure.way.")}
    assert long - named == set()
