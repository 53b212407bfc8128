"""Within regressions: published panels, agreement with linearmodels, exactness of the absorption."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linearmodels import PanelOLS

from rox.numerics.panel import cluster_covariance, linear_regression, within_regression


def unbalanced(rng, units=60, periods=9, rows=300):
    """Rows of an unbalanced panel with unit and period effects and errors correlated within units."""
    unit, time = np.divmod(rng.choice(units * periods, size=rows, replace=False), periods)
    x = rng.normal(size=(rows, 2)) + rng.normal(size=units)[unit][:, None] + 0.1 * time[:, None]
    level = rng.normal(size=units)[unit] * 3 + rng.normal(size=periods)[time]
    y = x @ [0.7, -0.2] + level + rng.normal(size=rows)
    return y, x, unit, time


def dummies(code):
    return (code[:, None] == np.unique(code)[None, :]).astype(float)


class TestPublished:
    def test_grunfeld(self, parity):
        """Grunfeld investment; Baltagi (2013), Tables 2.1 and 3.1, and R's plm."""
        folder, ref = parity("p01_grunfeld")
        d = pd.read_csv(folder / "grunfeld.csv")
        fit = within_regression(d.inv, d[["value", "capital"]], d.firm, count_constant=False)
        for i, name in enumerate(("value", "capital")):
            assert fit.coefficient[i] == pytest.approx(ref[f"fe.{name}"]["value"], rel=1e-9)
            assert np.sqrt(fit.covariance_iid[i, i]) == pytest.approx(ref[f"fe.se.{name}"]["value"], rel=1e-9)
            assert fit.se[i] == pytest.approx(ref[f"fe.cluster_firm.sss.{name}"]["value"], rel=1e-9)
            plain = fit.se[i] * np.sqrt(9 / 10 * 198 / 199)
            assert plain == pytest.approx(ref[f"fe.cluster_firm.HC0.{name}"]["value"], rel=1e-9)
        assert fit.r2_within == pytest.approx(ref["fe.r2.within"]["value"], rel=1e-9)
        assert (fit.df_residual, fit.n_clusters, fit.singletons) == (188, 10, 0)
        both = within_regression(d.inv, d[["value", "capital"]], d.firm, time=d.year)
        assert both.coefficient[0] == pytest.approx(ref["twoway.value"]["value"], rel=1e-9)
        assert both.coefficient[1] == pytest.approx(ref["twoway.capital"]["value"], rel=1e-9)
        pooled = linear_regression(d.inv, np.column_stack([np.ones(200), d.value, d.capital]))
        for i, name in enumerate(("(Intercept)", "value", "capital")):
            assert pooled.coefficient[i] == pytest.approx(ref[f"pooled.{name}"]["value"], rel=1e-9)
            assert np.sqrt(pooled.covariance_iid[i, i]) == pytest.approx(ref[f"pooled.se.{name}"]["value"], rel=1e-9)

    def test_petersen(self, parity):
        """Petersen (2009): White and one-way clustered errors of his published test data."""
        folder, ref = parity("p02_petersen_clustering")
        d = pd.read_csv(folder / "petersen.csv")
        x = np.column_stack([np.ones(len(d)), d.x])
        for cluster, label in ((d.firm, "cl_firm"), (d.year, "cl_year"), (None, "white.HC1")):
            fit = linear_regression(d.y, x, cluster=cluster)
            for i, name in enumerate(("(Intercept)", "x")):
                assert fit.coefficient[i] == pytest.approx(ref[f"coef.{name}"]["value"], rel=1e-9)
                assert fit.se[i] == pytest.approx(ref[f"{label}.{name}"]["value"], rel=1e-9)
            if cluster is not None:
                np.testing.assert_allclose(cluster_covariance(x, fit.residual, cluster), fit.covariance)

    def test_petersen_two_way_clusters_from_one_way_ones(self, parity):
        """Thompson's two-way covariance: firm plus year less White, all from `cluster_covariance`."""
        folder, ref = parity("p02_petersen_clustering")
        d = pd.read_csv(folder / "petersen.csv")
        x = np.column_stack([np.ones(len(d)), d.x])
        e = linear_regression(d.y, x).residual
        parts = [cluster_covariance(x, e, label) for label in (d.firm, d.year, np.arange(len(d)))]
        se = np.sqrt(np.diag(parts[0] + parts[1] - parts[2] * (1 - 1 / len(d))))
        for i, name in enumerate(("(Intercept)", "x")):
            assert se[i] == pytest.approx(ref[f"cl_twoway.{name}"]["value"], rel=1e-4)

    def test_petersen_firm_effects(self, parity):
        """Firm effects nested in firm clusters are not counted; the reference error carries G/(G-1) alone."""
        folder, ref = parity("p02_petersen_clustering")
        d = pd.read_csv(folder / "petersen.csv")
        fit = within_regression(d.y, d.x, d.firm)
        assert fit.coefficient[0] == pytest.approx(ref["firmFE.x"]["value"], rel=1e-9)
        expected = ref["firmFE.x.cl_firm.nested"]["value"] * np.sqrt(4999 / 4998)
        assert fit.se[0] == pytest.approx(expected, rel=1e-9)
        assert (fit.counted, fit.absorbed) == (2, 500)

    def test_wagepan(self, parity):
        """Wooldridge, Example 14.4: year effects are partialled out, and experience, collinear with them, is named."""
        folder, ref = parity("p03_wagepan")
        d = pd.read_csv(folder / "wagepan.csv")
        names = ["union", "married", "expersq", "exper"]
        fit = within_regression(d.lwage, d[names], d.nr, time=d.year, count_constant=False)
        for i, name in enumerate(names[:3]):
            assert fit.coefficient[i] == pytest.approx(ref[f"fe.{name}"]["value"], rel=1e-8)
        for i, name in enumerate(names[:2]):
            assert np.sqrt(fit.covariance_iid[i, i]) == pytest.approx(ref[f"fe.se.{name}"]["value"], rel=1e-8)
        assert fit.se[0] == pytest.approx(ref["fe.cluster.union.se"]["value"], rel=1e-8)
        assert fit.identified.tolist() == [True, True, True, False]
        assert np.isnan(fit.coefficient[3])
        assert np.isnan(fit.covariance[3]).all()
        movers = d.groupby("nr").union.nunique().gt(1).mean()
        assert fit.identifying[0] == pytest.approx(movers)

    def test_static_two_way_did(self, parity):
        """The county minimum-wage example: the two-way coefficient printed in the vignette of the R package did."""
        folder, ref = parity("p04_mpdta_callaway_santanna")
        d = pd.read_csv(folder / "mpdta.csv")
        post = (d["first.treat"] > 0) & (d.year >= d["first.treat"])
        fit = within_regression(d.lemp, post.astype(float), d.countyreal, time=d.year)
        assert fit.coefficient[0] == pytest.approx(ref["twfe"]["value"], rel=1e-9)


@pytest.mark.filterwarnings("ignore:.*singleton observations dropped")
class TestLinearmodels:
    """Same absorbed effects; the factor of PanelOLS counts absorbed effects that are not nested in the clusters."""

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("two_way", [False, True])
    def test_unbalanced(self, weighted, two_way):
        rng = np.random.default_rng(3)
        y, x, unit, time = unbalanced(rng, rows=220)
        w = rng.uniform(0.3, 3, size=y.size) if weighted else None
        index = pd.MultiIndex.from_arrays([unit, time])
        frame = pd.DataFrame(np.column_stack([y, x]), index=index, columns=["y", "a", "b"])
        theirs = PanelOLS(
            frame["y"],
            frame[["a", "b"]],
            entity_effects=True,
            time_effects=two_way,
            weights=None if w is None else pd.Series(w, index=index),
            singletons=False,
        ).fit(cov_type="clustered", cluster_entity=True, group_debias=True)
        fit = within_regression(y, x, unit, time=time if two_way else None, weights=w, count_constant=False)
        assert fit.n == theirs.nobs
        assert fit.singletons == y.size - theirs.nobs > 0
        np.testing.assert_allclose(fit.coefficient, theirs.params, rtol=1e-9)
        their_count = theirs.nobs - theirs.df_resid
        scale = (theirs.nobs - their_count) / (fit.n - fit.counted) if two_way else 1.0
        np.testing.assert_allclose(fit.covariance, theirs.cov * scale, rtol=1e-8)
        np.testing.assert_allclose(fit.residual[~np.isnan(fit.residual)].std(), np.std(theirs.resids), rtol=1e-9)
        assert fit.df_residual == fit.n - 2 - fit.absorbed

    def test_conventional_errors(self):
        rng = np.random.default_rng(4)
        y, x, unit, time = unbalanced(rng, rows=400)
        frame = pd.DataFrame(np.column_stack([y, x]), index=pd.MultiIndex.from_arrays([unit, time]))
        theirs = PanelOLS(frame[0], frame[[1, 2]], entity_effects=True, time_effects=True).fit()
        fit = within_regression(y, x, unit, time=time)
        np.testing.assert_allclose(fit.covariance_iid, theirs.cov, rtol=1e-9)
        assert fit.df_residual == theirs.df_resid


class TestAlgebra:
    def test_equals_explicit_dummies(self):
        """Any second label, here segment by month, equals dummies in one regression."""
        rng = np.random.default_rng(5)
        y, x, unit, time = unbalanced(rng, units=30, rows=150)
        segment = (unit % 3) * 100 + time
        w = rng.uniform(0.5, 2, size=y.size)
        fit = within_regression(y, x, unit, time=segment, weights=w)
        kept = ~np.isnan(fit.residual)
        full = np.column_stack([x, dummies(unit), dummies(segment)])[kept]
        root = np.sqrt(w[kept])
        beta, _, rank, _ = np.linalg.lstsq(full * root[:, None], y[kept] * root, rcond=None)
        np.testing.assert_allclose(fit.coefficient, beta[:2], rtol=1e-9)
        np.testing.assert_allclose(fit.residual[kept], y[kept] - full @ beta, atol=1e-9)
        assert fit.absorbed == rank - 2
        assert fit.df_residual == kept.sum() - rank

    def test_weakly_connected_periods_are_still_absorbed(self):
        """Periods of very different weight, tied by a single unit, are not mistaken for separate panels."""
        rng = np.random.default_rng(10)
        unit = np.r_[np.repeat(np.arange(20), 3), np.repeat(np.arange(20, 40), 3), [0, 0]]
        time = np.r_[np.tile([0, 1, 2], 20), np.tile([3, 4, 5], 20), [3, 4]]
        w = np.where(time < 3, 1e4, 1.0) * rng.uniform(0.5, 2, size=unit.size)
        w[-2:] = 1e-4
        x = rng.normal(size=unit.size)
        y = x + time**2 + unit + rng.normal(size=unit.size)
        fit = within_regression(y, x, unit, time=time, weights=w)
        full, root = np.column_stack([x, dummies(unit), dummies(time)]), np.sqrt(w)
        beta, _, rank, _ = np.linalg.lstsq(full * root[:, None], y * root, rcond=1e-13)
        assert fit.coefficient[0] == pytest.approx(beta[0], rel=1e-7)
        assert fit.absorbed == rank - 1

    def test_influence_rebuilds_the_covariance_and_joins_two_fits(self):
        rng = np.random.default_rng(6)
        y, x, unit, _ = unbalanced(rng)
        fit = within_regression(y, x, unit)
        np.testing.assert_allclose(fit.influence.T @ fit.influence, fit.covariance)
        assert fit.influence.shape == (fit.n_clusters, 2)
        other = within_regression(2 * y, x, unit)
        np.testing.assert_array_equal(fit.clusters, other.clusters)
        np.testing.assert_allclose(fit.influence.T @ other.influence, 2 * fit.covariance)

    def test_effects_not_nested_in_clusters_are_counted(self):
        rng = np.random.default_rng(7)
        y, x, unit, time = unbalanced(rng)
        level = within_regression(y, x, time, cluster=unit)
        assert level.counted == 2 + 9
        within = within_regression(y, x, unit, cluster=unit // 2)
        assert within.counted == 2 + 1

    def test_singletons_are_dropped_until_none_is_left(self):
        """Unit 3 is alone; without it period 9 is alone; without that unit 2 is alone."""
        unit = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3])
        time = np.array([0, 1, 2, 0, 1, 2, 0, 9, 9])
        rng = np.random.default_rng(8)
        fit = within_regression(rng.normal(size=9), rng.normal(size=9), unit, time=time)
        assert fit.singletons == 3
        assert np.isnan(fit.residual[-3:]).all()
        assert not np.isnan(fit.residual[:-3]).any()

    def test_collinear_regressor_is_dropped_whatever_its_scale(self):
        rng = np.random.default_rng(9)
        y, x, unit, time = unbalanced(rng)
        extra = np.column_stack([x[:, 0], unit * 1e6, x[:, 1] * 1e-8, x[:, 0] * 3 + 5])
        fit = within_regression(y, extra, unit, time=time)
        assert fit.identified.tolist() == [True, False, True, False]
        np.testing.assert_allclose(
            fit.coefficient[[0, 2]] * [1, 1e-8], within_regression(y, x, unit, time=time).coefficient
        )


class TestInvariance:
    @given(seed=st.integers(0, 10_000), rate=st.floats(1e-3, 1e6))
    @settings(max_examples=25, deadline=None)
    def test_currency_order_and_labels(self, seed, rate):
        rng = np.random.default_rng(seed)
        y, x, unit, time = unbalanced(rng, units=20, rows=100)
        one = within_regression(y, x, unit, time=time)
        order = rng.permutation(y.size)
        names = np.array([f"u{i}" for i in rng.permutation(20)])
        two = within_regression(rate * y[order], x[order], names[unit[order]], time=-time[order])
        np.testing.assert_allclose(two.coefficient, rate * one.coefficient, rtol=1e-7)
        np.testing.assert_allclose(two.covariance, rate**2 * one.covariance, rtol=1e-6, atol=rate**2 * 1e-14)
        assert (two.n, two.counted, two.absorbed) == (one.n, one.counted, one.absorbed)

    @given(seed=st.integers(0, 10_000))
    @settings(max_examples=15, deadline=None)
    def test_large_unit_levels_do_not_matter(self, seed):
        rng = np.random.default_rng(seed)
        y, x, unit, time = unbalanced(rng, units=20, rows=100)
        shifted = y + 1e7 * rng.normal(size=20)[unit]
        one, two = within_regression(y, x, unit, time=time), within_regression(shifted, x, unit, time=time)
        np.testing.assert_allclose(two.coefficient, one.coefficient, atol=1e-6)


class TestFaults:
    @pytest.mark.parametrize(
        "change, message",
        [
            ({"y": [1, 2, np.nan, 4]}, "y has 1 values that are NaN"),
            ({"x": [1, 2, 3]}, "x must have shape"),
            ({"x": [1, 2, 3, np.inf]}, "x has 1 values"),
            ({"unit": [0, 1, 2, 3]}, "alone in its unit"),
            ({"unit": [0, 0, np.nan, 1]}, "unit has 1 missing"),
            ({"x": [1, 1, 2, 2]}, "nothing to estimate"),
            ({"weights": [1, 1, 0, 1]}, "weights must be positive"),
            ({"cluster": [1, 1, 1, 1]}, "at least 2 clusters"),
        ],
    )
    def test_messages(self, change, message):
        good = {"y": [1.0, 3, 2, 5], "x": [0.0, 1, 2, 0], "unit": [0, 0, 1, 1]}
        with pytest.raises(ValueError, match=message):
            within_regression(**{**good, **change})

    def test_collinear_regressors_of_a_covariance(self):
        with pytest.raises(ValueError, match="collinear"):
            cluster_covariance(np.ones((6, 2)), np.arange(6.0), [0, 0, 1, 1, 2, 2])
