"""Least squares from sums by bucket: the slopes of the rows, and every replicate the slope of the rows that remain."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from rox.numerics.jackknife import jackknife
from rox.numerics.normal_equations import NormalEquations


def summed(columns: np.ndarray, effects: np.ndarray, bucket: np.ndarray, weight: np.ndarray) -> NormalEquations:
    """Sum rows, columns (n, p) and indicators (n, d), by bucket."""
    parts = [bucket == each for each in np.unique(bucket)]
    w = weight[:, None]
    overlap = np.stack([(effects * w)[part].T @ effects[part] for part in parts])
    alone = (effects.sum(1) == 1).all()
    return NormalEquations(
        products=np.stack([(columns * w)[part].T @ columns[part] for part in parts]),
        effects=np.stack([(effects * w)[part].T @ columns[part] for part in parts]),
        overlap=np.diagonal(overlap, axis1=1, axis2=2) if alone else overlap,
        rows=np.array([float(part.sum()) for part in parts]),
    )


def rows_of(seed: int, n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    d = pd.DataFrame({"g": rng.integers(0, 9, n), "h": rng.integers(0, 7, n), "b": rng.integers(0, 12, n)})
    d["w"] = rng.uniform(0.5, 2, n)
    d["z"] = rng.standard_normal(n)
    d["x"] = 0.2 * d.g + 0.5 * d.z + 0.3 * d.h + rng.standard_normal(n)
    d["y"] = 2 * d.x + d.z + d.g + d.h + rng.standard_normal(n)
    return d


def dummies(labels: pd.Series) -> np.ndarray:
    return pd.get_dummies(labels).to_numpy(dtype=float)


class TestSlopes:
    @pytest.mark.parametrize("two", [False, True])
    def test_every_replicate_is_the_fit_of_the_remaining_rows(self, two):
        d = rows_of(3)
        effects = np.hstack([dummies(d.g), dummies(d.h)]) if two else dummies(d.g)
        found = summed(d[["y", "x", "z"]].to_numpy(), effects, d.b.to_numpy(), d.w.to_numpy()).inside.slope(0, 1, [2])
        formula = "y ~ x + z + C(g) + C(h)" if two else "y ~ x + z + C(g)"
        expected = [smf.wls(formula, d, weights=d.w).fit().params["x"]]
        for bucket in sorted(d.b.unique()):
            rest = d[d.b != bucket]
            expected.append(smf.wls(formula, rest, weights=rest.w).fit().params["x"])
        np.testing.assert_allclose(found, expected, rtol=1e-9)

    def test_an_effect_that_only_one_bucket_has(self):
        d = rows_of(4)
        d.loc[d.b == 3, "g"] = 99
        effects = np.hstack([dummies(d.g), dummies(d.h)])
        found = summed(d[["y", "x", "z"]].to_numpy(), effects, d.b.to_numpy(), d.w.to_numpy()).inside.slope(0, 1, [2])
        rest = d[d.b != 3]
        expected = smf.wls("y ~ x + z + C(g) + C(h)", rest, weights=rest.w).fit().params["x"]
        assert found[1 + 3] == pytest.approx(expected, rel=1e-9)

    def test_columns_that_others_make_are_left_out(self):
        d = rows_of(5)
        columns = np.column_stack([d.y, d.x, d.z, 2 * d.z - 1, d.g])
        found = summed(columns, dummies(d.g), d.b.to_numpy(), d.w.to_numpy()).inside
        assert found.live([2, 3, 4]) == [2]
        np.testing.assert_allclose(found.slope(0, 1, [2, 3, 4]), found.slope(0, 1, [2]), rtol=1e-9)

    def test_nothing_is_left_of_the_regressor(self):
        d = rows_of(6)
        columns = np.column_stack([d.y, d.g, d.z])
        assert np.isnan(summed(columns, dummies(d.g), d.b.to_numpy(), d.w.to_numpy()).inside.slope(0, 1, [2])).all()
        columns = np.column_stack([d.y, 3 * d.z, d.z])
        assert np.isnan(summed(columns, dummies(d.g), d.b.to_numpy(), d.w.to_numpy()).inside.slope(0, 1, [2])).all()

    def test_an_instrument(self):
        d = rows_of(7)
        found = summed(d[["y", "x", "z"]].to_numpy(), dummies(d.g), d.b.to_numpy(), d.w.to_numpy())
        inside = d.assign(**{k: d[k] - (d[k] * d.w).groupby(d.g).transform("sum") / d.w.groupby(d.g).transform("sum")
                             for k in "yxz"})  # fmt: skip
        expected = (d.w * inside.z * inside.y).sum() / (d.w * inside.z * inside.x).sum()
        assert found.inside.instrumented(0, 1, 2)[0] == pytest.approx(expected, rel=1e-9)

    def test_residuals_from_columns_and_effects(self):
        d = rows_of(8)
        effects = np.hstack([dummies(d.g), dummies(d.h)])
        found = summed(d[["y", "x", "z"]].to_numpy(), effects, d.b.to_numpy(), d.w.to_numpy())
        coefficient, effect = found.residual(1, [2])
        ours = d[["y", "x", "z"]].to_numpy() @ coefficient - effects @ effect
        theirs = smf.wls("x ~ z + C(g) + C(h)", d, weights=d.w).fit().resid
        np.testing.assert_allclose(ours, theirs, atol=1e-9)

    def test_rows_can_be_taken_away(self):
        d = rows_of(9)
        levels = np.arange(9)
        effects = (d.g.to_numpy()[:, None] == levels).astype(float)
        columns, weight, bucket = d[["y", "x", "z"]].to_numpy(), d.w.to_numpy(), d.b.to_numpy()
        gone = np.arange(len(d)) % 7 == 0
        kept = summed(columns, effects, bucket, weight * ~gone)
        taken = summed(columns, effects, bucket, weight * gone)
        left = summed(columns, effects, bucket, weight).without(taken)
        np.testing.assert_allclose(left.inside.slope(0, 1, [2]), kept.inside.slope(0, 1, [2]), rtol=1e-9)

    def test_shapes_that_do_not_fit_are_told_together(self):
        with pytest.raises(ValueError, match=r"(?s)products, effects and rows.*overlap"):
            NormalEquations(
                products=np.zeros((2, 3, 3)), effects=np.zeros((2, 4, 2)), overlap=np.zeros((2, 5)), rows=np.zeros(2)
            )


class TestErrors:
    def test_petersen(self, parity):
        """Petersen (2009), published test data: with every firm a bucket, his errors clustered by firm."""
        folder, ref = parity("p02_petersen_clustering")
        d = pd.read_csv(folder / "petersen.csv")
        columns, one = d[["y", "x"]].to_numpy(dtype=float), np.ones((len(d), 1))
        found = summed(columns, one, d.firm.to_numpy(), one[:, 0]).inside.slope(0, 1)
        assert found[0] == pytest.approx(ref["coef.x"]["value"], rel=1e-9)
        assert jackknife(found[0], found[1:]).se[0] == pytest.approx(ref["cl_firm.x"]["value"], rel=0.02)

    def test_intervals_cover(self):
        inside = 0
        for seed in range(60):
            rng = np.random.default_rng(seed)
            customer = np.repeat(np.arange(150), 4)
            shared = rng.standard_normal(150)[customer]
            x = 0.7 * rng.standard_normal(150)[customer] + rng.standard_normal(600)
            y = 1.5 * x + shared + rng.standard_normal(600)
            one = np.ones((600, 1))
            found = summed(np.column_stack([y, x]), one, customer % 64, one[:, 0]).inside.slope(0, 1)
            interval = jackknife(found[0], found[1:])
            inside += interval.low[0] < 1.5 < interval.high[0]
        assert 47 <= inside <= 60
