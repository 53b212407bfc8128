"""Raking meets the margins, and gives the weights that published cases give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rox.numerics.jackknife import bucket_jackknife
from rox.numerics.raking import CLOSE, rake, sparse_categories

Parity = Callable[[str], tuple[Path, dict[str, dict[str, Any]]]]


def of_cells(frame: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    return (
        frame.groupby(keys, as_index=False)[value]
        .agg(["size", "sum", lambda y: (y**2).sum()])
        .set_axis([*keys, "n", "y", "yy"], axis=1)
    )


@pytest.mark.parametrize(
    "name, margins", [("gender_age", ["g", "age_group"]), ("gender_age_income5", ["g", "age_group", "iq"])]
)
def test_published_survey_of_happiness(parity: Parity, name: str, margins: list[str]) -> None:
    folder, values = parity("w05_balance_sim")
    sample, population = (pd.read_csv(folder / f"{each}.csv") for each in ("respondents", "population"))
    cuts = np.quantile(population["income"], [0.2, 0.4, 0.6, 0.8])
    for frame in (sample, population):
        frame["g"] = frame["gender"].fillna("missing")
        frame["iq"] = np.searchsorted(cuts, frame["income"])
    cells = of_cells(sample, margins, "happiness")
    codes, targets = [], []
    for margin in margins:
        shares = population[margin].value_counts(normalize=True).sort_index()
        codes.append(np.searchsorted(shares.index, cells[margin]))
        targets.append(shares.to_numpy())
    fit = rake(codes, targets, cells["n"], trim=None, cycles=5000, gap=1e-12)
    each = fit.weight / cells["n"]
    mean = fit.weight @ (cells["y"] / cells["n"]) / fit.weight.sum()
    assert mean == pytest.approx(values[f"rake.{name}.mean"]["value"], rel=1e-9)
    relative = each / np.average(each, weights=cells["n"])
    assert np.average(relative**2, weights=cells["n"]) == pytest.approx(values[f"rake.{name}.deff"]["value"], rel=1e-8)
    assert relative.max() == pytest.approx(values[f"rake.{name}.max_weight"]["value"], rel=1e-8)


def test_published_schools_keep_their_design_weights(parity: Parity) -> None:
    """Base weights that meet the strata already stay; then the raked mean is the published stratified one."""
    folder, values = parity("w01_api_strat")
    schools = pd.read_csv(folder / "apistrat.csv")
    cells = schools.assign(y=schools["pw"] * schools["api00"]).groupby(["stype", "awards"], as_index=False)
    cells = cells.agg(n=("pw", "size"), base=("pw", "sum"), y=("y", "sum"))
    kinds, code = np.unique(cells["stype"], return_inverse=True)
    sizes = schools.groupby("stype")["fpc"].first().reindex(kinds).to_numpy()
    fit = rake([code], [sizes], cells["n"], base=cells["base"], trim=None)
    assert_allclose(fit.factor, 1, rtol=1e-5)  # the file's weights are rounded to cents of a school
    mean = (fit.factor * cells["y"]).sum() / fit.weight.sum()
    assert mean == pytest.approx(values["mean.api00"]["value"], rel=1e-6)
    awards = fit.weight[cells["awards"] == "Yes"].sum() / fit.weight.sum()
    assert awards == pytest.approx(values["prop.awards"]["value"], rel=1e-6)


@st.composite
def surveys(draw: st.DrawFn) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    rows, columns = draw(st.integers(2, 4)), draw(st.integers(2, 4))
    n = np.array(draw(st.lists(st.integers(1, 60), min_size=rows * columns, max_size=rows * columns)), dtype=float)
    population = n * np.array(draw(st.lists(st.floats(0.2, 5), min_size=n.size, max_size=n.size)))
    grid = [each.ravel() for each in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")]
    return grid, [np.bincount(code, weights=population) for code in grid], n


@settings(max_examples=40, deadline=None)
@given(surveys())
def test_margins_are_met_and_odds_ratios_stay(survey: tuple[list[np.ndarray], list[np.ndarray], np.ndarray]) -> None:
    codes, targets, n = survey
    fit = rake(codes, targets, n, trim=None, cycles=1000)
    assert fit.converged
    for code, target in zip(codes, targets, strict=True):
        assert_allclose(np.bincount(code, weights=fit.weight), target, rtol=2 * CLOSE)
    shape = (targets[0].size, targets[1].size)
    log = np.log(fit.factor).reshape(shape)
    assert_allclose(log - log[:1] - log[:, :1] + log[0, 0], 0, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(surveys(), st.randoms(use_true_random=False), st.floats(0.01, 100))
def test_order_and_scale_do_not_matter(
    survey: tuple[list[np.ndarray], list[np.ndarray], np.ndarray], random: Any, scale: float
) -> None:
    codes, targets, n = survey
    fit = rake(codes, targets, n)
    order = np.array(random.sample(range(n.size), n.size))
    again = rake([code[order] for code in codes], [scale * each for each in targets], n[order], base=3 * n[order])
    assert_allclose(again.weight, scale * fit.weight[order], rtol=1e-4)


def test_trimming_narrows_the_weights_and_keeps_the_margins() -> None:
    rng = np.random.default_rng(2)
    codes = [each.ravel() for each in np.meshgrid(*[np.arange(4)] * 3, indexing="ij")]
    population = rng.integers(200, 900, 64).astype(float)
    answer = 0.3 * np.exp(-0.35 * (codes[0] + codes[1] + codes[2]))
    n = np.maximum(np.round(population * answer), 1)
    targets = [np.bincount(code, weights=population) for code in codes]
    free, tight = rake(codes, targets, n, trim=None), rake(codes, targets, n, trim=(0.3, 3.0), cycles=1000)
    assert tight.spread[1] < free.spread[1]
    assert tight.rounds >= 1
    assert 0 < tight.trimmed < 1
    assert tight.converged
    assert rake(codes, targets, n, trim=None).rounds == 0


def test_what_cannot_be_met_is_said() -> None:
    with pytest.raises(ValueError, match=r"nobody answered in categories \[1\].*codes run from 0 to 2, targets are 2"):
        rake([[0, 0, 2], [0, 1, 2]], [[5, 5, 5], [5, 5]], [10, 10, 10])
    with pytest.raises(ValueError, match=r"categories \[1\] have respondents but no population"):
        rake([[0, 1]], [[1, 0]], [10, 10])
    stuck = rake([[0, 1, 1], [0, 0, 1]], [[50, 50], [50, 50]], [10, 1, 1], trim=None, cycles=3)
    assert not stuck.converged
    assert stuck.cycles == 3
    assert stuck.gap > CLOSE
    assert sparse_categories([0, 1, 1, 2], [50, 9, 10, 3]).tolist() == [1, 2]


def test_raking_again_in_every_replicate_gives_the_error_of_the_raked_mean() -> None:
    """Over repeated surveys the jackknife's error is the spread of the estimates: ratio 1 within its sampling error.

    With 150 surveys the spread is known to 6%, and the mean of 150 errors, each good to 9%, to 1%: 20% is 3 standard
    deviations.
    """
    rng = np.random.default_rng(11)
    codes = [np.repeat([0, 1], 2), np.tile([0, 1], 2)]
    population, answer = np.array([4000, 2000, 1500, 2500.0]), np.array([0.1, 0.2, 0.3, 0.4])
    targets = [np.bincount(code, weights=population) for code in codes]
    level = np.array([50, 40, 60, 30.0])

    def raked_mean(sums: np.ndarray) -> float:
        fit = rake(codes, targets, sums[:, 0], trim=None)
        return float(fit.factor @ sums[:, 1] / fit.weight.sum())

    means, errors = [], []
    for _ in range(150):
        size = rng.binomial(population.astype(int), answer * 0.4)
        sums = np.zeros((64, 4, 2))
        for cell in range(4):
            bucket, y = rng.integers(0, 64, size[cell]), level[cell] + 10 * rng.standard_normal(size[cell])
            sums[:, cell, 0] = np.bincount(bucket, minlength=64)
            sums[:, cell, 1] = np.bincount(bucket, weights=y, minlength=64)
        fit = bucket_jackknife(raked_mean, sums)
        means.append(fit.estimate[0])
        errors.append(fit.se[0])
    assert np.mean(errors) / np.std(means, ddof=1) == pytest.approx(1, abs=0.2)
