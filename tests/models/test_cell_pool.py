"""Pooled coefficients from cells: amounts exactly, events and counts sampled, cells for rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.models.cell_pool import CellPriors, pool_cells
from rox.testing import sample_linked

SEGMENTS = ["gold", "mass", "wealth"]
EFFECTS = np.array([0.3, 0.1, 0.2])


def frame(seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    cells = pd.MultiIndex.from_product([SEGMENTS, range(6), [0, 1]], names=["segment", "place", "treated"])
    out = cells.to_frame(index=False)
    base = rng.normal(-2, 0.3, (3, 6))[np.repeat(range(3), 12), np.tile(np.repeat(range(6), 2), 3)]
    out["logit"] = base + out["treated"] * EFFECTS[np.repeat(range(3), 12)]
    return out.assign(n=rng.integers(2_000, 4_000, len(out)))


def test_amounts_find_what_was_put_there_and_say_how_they_were_drawn():
    rng = np.random.default_rng(2)
    cells = frame()
    draws = [rng.normal(row.logit, 1.0, row.n) for row in cells.itertuples()]
    cells = cells.assign(**{"outcome": [y.sum() for y in draws], "outcome^2": [(y**2).sum() for y in draws]})
    found = pool_cells(cells, group="segment", predictors=["treated"], strata=["place"], rng=1)
    table = found.summary().loc["treated"]
    assert list(table.index) == [*SEGMENTS, "mean"]
    np.testing.assert_allclose(table.loc[SEGMENTS, "mean"], EFFECTS, atol=4 * table["sd"].iloc[:3].max())
    assert (table.loc[SEGMENTS, "sd"] < 0.03).all()
    assert found.check.code == "ROX-B04"
    money = cells.assign(**{"outcome": 1e6 * cells["outcome"], "outcome^2": 1e12 * cells["outcome^2"]})
    again = pool_cells(money, group="segment", predictors=["treated"], strata=["place"], rng=1)
    np.testing.assert_allclose(again.coefficients / 1e6, found.coefficients, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("family", ["binomial"])
def test_events_and_counts_find_what_was_put_there(family):
    rng = np.random.default_rng(3)
    cells = frame()
    chance = np.exp(cells["logit"]) if family == "poisson" else 1 / (1 + np.exp(-cells["logit"]))
    events = rng.poisson(cells["n"] * chance) if family == "poisson" else rng.binomial(cells["n"], chance)
    found = pool_cells(
        cells.assign(outcome=events),
        group="segment",
        predictors=["treated"],
        strata=["place"],
        family=family,
        draws=1600,
        rng=1,
    )
    table = found.summary().loc["treated"]
    np.testing.assert_allclose(table.loc[SEGMENTS, "mean"], EFFECTS, atol=4 * table["sd"].iloc[:3].max())
    assert table.loc[SEGMENTS, "sd"].max() < 0.08
    assert found.check.code == "ROX-B03"


def test_cells_of_a_panel_with_buckets_are_added_up():
    data = sample_linked(customers=400, months=8)
    cells = data.cells(by=["segment", "score"], sums=["outcome", "outcome^2"], known=["score"])
    one = pool_cells(cells, group="segment", predictors=["score"], rng=1)
    other = pool_cells(cells.total(), group="segment", predictors=["score"], rng=1)
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=1e-4)


def test_a_tight_prior_draws_segments_together():
    rng = np.random.default_rng(4)
    cells = frame().assign(n=50.0)
    draws = [rng.normal(row.logit, 1.0, 50) for row in cells.itertuples()]
    cells = cells.assign(**{"outcome": [y.sum() for y in draws], "outcome^2": [(y**2).sum() for y in draws]})
    spread = {}
    for between in (0.001, 2.0):
        found = pool_cells(
            cells, group="segment", predictors=["treated"], strata=["place"], priors=CellPriors(between=between), rng=1
        )
        spread[between] = np.ptp(found.coefficients.mean(0)[:, 0])
    assert spread[0.001] < 0.1 * spread[2.0]


def test_faults_are_named_at_once():
    cells = frame().assign(outcome=1.0)
    with pytest.raises(DataError, match=r"'outcome\^2'(.|\n)*predictor 'segment' is no number"):
        pool_cells(cells, group="place", predictors=["segment"])
    with pytest.raises(DataError, match=r"family is 'normal'(.|\n)*at least one predictor"):
        pool_cells(cells, group="segment", predictors=[], family="normal")  # type: ignore[arg-type]


def test_each_group_has_its_own_noise():
    """A segment twenty times as noisy: one noise for all would make its error three times too small."""
    rng = np.random.default_rng(6)
    rows = [
        (name, place, treated, size, y.sum(), (y**2).sum(), y)
        for name, size, sd in (("mass", 1000, 1.0), ("private", 100, 20.0))
        for place in range(4)
        for treated in (0, 1)
        for y in [rng.normal(5, sd, size)]
    ]
    cells = pd.DataFrame(rows, columns=["segment", "place", "treated", "n", "outcome", "outcome^2", "y"])
    found = pool_cells(cells.drop(columns="y"), group="segment", predictors=["treated"], strata=["place"], rng=1)
    sd = found.summary().loc["treated", "sd"]
    assert sd["mass"] == pytest.approx(np.sqrt(2 / 4000), rel=0.1)
    assert 0.5 < sd["private"] / (20 * np.sqrt(2 / 400)) < 1.05


def test_impossible_sums_are_named_at_once():
    cells = frame().assign(outcome=1.0)
    cells.loc[0, "outcome"], cells.loc[1, "n"] = 1e9, -1
    with pytest.raises(DataError, match=r"n is negative in 1 cells(.|\n)*outcome exceeds n in 2 cells"):
        pool_cells(cells, group="segment", predictors=["treated"], family="binomial")
