"""Regressions from cells give what the rows give: statsmodels on the rows is the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

from rox.numerics.glm import grouped_glm
from rox.numerics.grouped import dummies, grouped_quantile, quantile_edges, unit_panel, winsorised_total
from rox.numerics.grouped_hazard import grouped_hazard, merge_intervals
from rox.numerics.grouped_ols import grouped_ols

EXACT = 1e-8
"""Relative agreement of coefficients and errors where both solve the same equations in double precision."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Rows, and the cells they make. x holds a constant and the dummies of two categories."""

    rows: pd.DataFrame
    cells: pd.DataFrame

    def x(self, frame: pd.DataFrame, *, constant: bool = True) -> np.ndarray:
        parts = [np.ones((len(frame), 1))] if constant else []
        parts += [
            np.column_stack([frame[name] == level for level in range(1, levels)])
            for name, levels in (("a", 4), ("b", 3))
        ]
        return np.column_stack(parts).astype(float)


@pytest.fixture(scope="module")
def case() -> Case:
    rng = np.random.default_rng(3)
    n = 3000
    rows = pd.DataFrame(
        {
            "a": rng.integers(0, 4, n),
            "b": rng.integers(0, 3, n),
            "place": rng.integers(0, 12, n),
            "month": rng.integers(0, 6, n),
        }
    )
    effect = 0.2 * rows["a"] - 0.3 * rows["b"] + 0.05 * rows["place"]
    rows["money"] = np.where(rng.random(n) < 0.25, 0, np.exp(3 + effect + rng.standard_normal(n))).round(2)
    rows["left"] = (rng.random(n) < -np.expm1(-np.exp(-2.5 + effect))).astype(float)
    rows["w"] = rng.integers(1, 5, n).astype(float)
    for name, value in {"m": rows["money"], "mm": rows["money"] ** 2, "d": rows["left"], "n": 1.0}.items():
        rows[name] = value
    w, y = rows["w"], rows["money"]
    rows = rows.assign(wy=w * y, wyy=w * y**2, ww=w**2, wwy=w**2 * y, wwyy=(w * y) ** 2)
    keys = ["a", "b", "place", "month"]
    sums = ["n", "m", "mm", "d", "w", "wy", "wyy", "ww", "wwy", "wwyy"]
    return Case(rows=rows, cells=rows.groupby(keys, as_index=False)[sums].sum())


def test_ols_equals_rows(case: Case) -> None:
    rows, c = case.rows, case.cells
    model = sm.OLS(rows["money"], case.x(rows))
    fit = grouped_ols(case.x(c), c["n"], c["m"], squares=c["mm"])
    assert_allclose(fit.coefficient, model.fit().params, rtol=EXACT)
    assert_allclose(fit.se, model.fit().bse, rtol=EXACT)
    assert_allclose(fit.robust_se, model.fit(cov_type="HC1").bse, rtol=EXACT)
    by_place = grouped_ols(case.x(c), c["n"], c["m"], cluster=c["place"])
    reference = model.fit(cov_type="cluster", cov_kwds={"groups": rows["place"]})
    assert_allclose(by_place.robust_se, reference.bse, rtol=EXACT)
    assert fit.rows == len(rows)
    assert_allclose(fit.deviance, model.fit().ssr, rtol=EXACT)


def test_weighted_ols_equals_rows(case: Case) -> None:
    rows, c = case.rows, case.cells
    model = sm.WLS(rows["money"], case.x(rows), weights=rows["w"])
    fit = grouped_ols(case.x(c), c["w"], c["wy"], squares=c["wyy"], counts=c["n"], meat=(c["ww"], c["wwy"], c["wwyy"]))
    assert_allclose(fit.coefficient, model.fit().params, rtol=EXACT)
    assert_allclose(fit.se, model.fit().bse, rtol=EXACT)
    assert_allclose(fit.robust_se, model.fit(cov_type="HC1").bse, rtol=EXACT)


def test_absorbed_factor_equals_its_dummies(case: Case) -> None:
    rows, c = case.rows, case.cells
    wide = np.column_stack([case.x(rows, constant=False), dummies(rows["place"])[0]])
    reference = sm.OLS(rows["money"], wide).fit()
    fit = grouped_ols(case.x(c, constant=False), c["n"], c["m"], squares=c["mm"], absorb=c["place"])
    assert_allclose(fit.coefficient, reference.params[:5], rtol=EXACT)
    assert_allclose(fit.se, reference.bse[:5], rtol=EXACT)
    assert_allclose(fit.effects, reference.params[5:], rtol=EXACT)
    robust = sm.OLS(rows["money"], wide).fit(cov_type="HC1")
    assert_allclose(fit.robust_se, robust.bse[:5], rtol=EXACT)


def test_poisson_equals_rows(case: Case) -> None:
    rows, c = case.rows, case.cells
    model = sm.GLM(rows["money"], case.x(rows), family=sm.families.Poisson())
    fit = grouped_glm(case.x(c), c["n"], c["m"], family="poisson", squares=c["mm"])
    assert_allclose(fit.coefficient, model.fit(tol=1e-14).params, rtol=EXACT)
    assert_allclose(fit.se, model.fit(tol=1e-14).bse, rtol=EXACT)
    assert_allclose(fit.robust_se, model.fit(tol=1e-14, cov_type="HC0").bse, rtol=EXACT)
    by_place = grouped_glm(case.x(c), c["n"], c["m"], family="poisson", cluster=c["place"])
    clustered = model.fit(tol=1e-14, cov_type="cluster", cov_kwds={"groups": rows["place"], "use_correction": False})
    assert_allclose(by_place.robust_se, clustered.bse * np.sqrt(12 / 11), rtol=EXACT)


def test_poisson_with_absorbed_factor_and_offset_equals_dummies(case: Case) -> None:
    rows, c = case.rows, case.cells
    wide = np.column_stack([case.x(rows, constant=False), dummies(rows["place"])[0]])
    model = sm.GLM(rows["money"], wide, family=sm.families.Poisson(), offset=0.1 * rows["month"])
    reference, robust = model.fit(tol=1e-14), model.fit(tol=1e-14, cov_type="HC0")
    fit = grouped_glm(
        case.x(c, constant=False),
        c["n"],
        c["m"],
        family="poisson",
        squares=c["mm"],
        absorb=c["place"],
        offset=0.1 * c["month"],
    )
    assert_allclose(fit.coefficient, reference.params[:5], rtol=EXACT)
    assert_allclose(fit.effects, reference.params[5:], rtol=EXACT)
    assert_allclose(fit.se, reference.bse[:5], rtol=EXACT)
    assert_allclose(fit.robust_se, robust.bse[:5], rtol=EXACT)


@pytest.mark.parametrize(
    "family, link", [("logit", sm.families.links.Logit()), ("cloglog", sm.families.links.CLogLog())]
)
def test_binomial_equals_rows(case: Case, family: str, link: object) -> None:
    rows, c = case.rows, case.cells
    reference = sm.GLM(rows["left"], case.x(rows), family=sm.families.Binomial(link=link)).fit(tol=1e-14, maxiter=200)
    fit = grouped_glm(case.x(c), c["n"], c["d"], family=family)
    assert_allclose(fit.coefficient, reference.params, rtol=EXACT)
    assert_allclose(fit.se, reference.bse, rtol=EXACT)
    if family == "logit":  # the reference's sandwich has the observed information, which differs for the other link
        robust = sm.GLM(rows["left"], case.x(rows), family=sm.families.Binomial()).fit(tol=1e-14, cov_type="HC0")
        assert_allclose(fit.robust_se, robust.bse, rtol=EXACT)


def test_cells_without_rows_change_nothing(case: Case) -> None:
    c = case.cells
    x = case.x(c)
    more, zero = np.vstack([x, x[:5]]), np.zeros(5)
    for family, y in (("poisson", c["m"]), ("cloglog", c["d"])):
        one = grouped_glm(x, c["n"], y, family=family)
        two = grouped_glm(more, np.r_[c["n"], zero], np.r_[y, zero], family=family)
        assert_allclose(two.coefficient, one.coefficient, rtol=1e-12)
        assert np.isnan(two.fitted[-5:]).all()
    one, two = (grouped_ols(*each) for each in ((x, c["n"], c["m"]), (more, np.r_[c["n"], zero], np.r_[c["m"], zero])))
    assert_allclose(two.coefficient, one.coefficient, rtol=1e-12)


def test_collinear_column_is_not_identified(case: Case) -> None:
    c = case.cells
    x = np.column_stack([case.x(c), c["a"]])
    for fit in (grouped_ols(x, c["n"], c["m"]), grouped_glm(x, c["n"], c["m"], family="poisson")):
        assert fit.identified.tolist() == [True] * 6 + [False]
        assert np.isnan(fit.coefficient[6])
        assert np.isnan(fit.se[6])
    assert_allclose(
        grouped_glm(x, c["n"], c["m"], family="poisson").coefficient[:6],
        grouped_glm(x[:, :6], c["n"], c["m"], family="poisson").coefficient,
        rtol=EXACT,
    )


def test_level_and_column_without_outcome_are_left_out_and_counted(case: Case) -> None:
    c = case.cells
    y = np.where((c["place"] == 3) | (c["b"] == 2), 0.0, c["m"])
    fit = grouped_glm(case.x(c, constant=False), c["n"], y, family="poisson", absorb=c["place"])
    assert fit.separated == 2
    assert np.isnan(fit.effects[3])
    assert np.isnan(fit.coefficient[4])
    kept = (c["place"] != 3) & (c["b"] != 2)
    less = grouped_glm(
        case.x(c[kept], constant=False)[:, :4], c["n"][kept], y[kept], family="poisson", absorb=c["place"][kept]
    )
    assert_allclose(fit.coefficient[:4], less.coefficient, rtol=EXACT)
    assert fit.rows == c["n"][kept].sum()


def test_a_column_that_always_leaves_is_left_out(case: Case) -> None:
    c = case.cells
    d = np.where(c["b"] == 2, c["n"], c["d"])
    fit = grouped_glm(case.x(c), c["n"], d, family="logit")
    assert fit.separated == 1
    assert np.isnan(fit.coefficient[5])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("family, most", [("logit", 10), ("cloglog", 9), ("poisson", 9)])
def test_hidden_separation_is_refused(family: str, most: int) -> None:
    """Each column has events in both its halves, but together they single out the cells without any."""
    x = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1.0]])
    with pytest.raises(ValueError, match="run off to infinity"):
        grouped_glm(x, [10, 10, 10, 10], [0, 5, 0, most], family=family)


def test_faults_are_listed_together() -> None:
    with pytest.raises(ValueError, match=r"design must have shape.*total has 3.*") as caught:
        grouped_glm([[1], [1]], [1, 1, 1, 1], [1, 2, 3], family="poisson")
    assert "rows 4" in str(caught.value)
    with pytest.raises(ValueError, match=r"above rows.*absorbed with poisson only"):
        grouped_glm([[1], [1]], [1, 1], [2, 0], family="logit", absorb=[0, 1])
    with pytest.raises(ValueError, match="family must be one of"):
        grouped_glm([[1]], [1], [1], family="gamma")


def test_grouped_hazard_equals_rows(case: Case) -> None:
    rows, c = case.rows, case.cells
    x = case.x(rows, constant=False)
    wide = np.column_stack([x, dummies(rows["month"])[0]])
    family = sm.families.Binomial(link=sm.families.links.CLogLog())
    reference = sm.GLM(rows["left"], wide, family=family).fit(tol=1e-14, maxiter=200)
    fit = grouped_hazard(c["month"], case.x(c, constant=False), c["n"], c["d"])
    assert_allclose(fit.coefficient, reference.params[:5], rtol=1e-7)  # the ridge of 1e-8 on the intervals shows
    assert_allclose(fit.se, reference.bse[:5], rtol=1e-7)
    assert_allclose(fit.hazard, np.exp(reference.params[5:]), rtol=1e-7)
    exponential = grouped_hazard(c["month"], case.x(c, constant=False), c["n"], c["d"], link="exponential")
    poisson = sm.GLM(rows["left"], wide, family=sm.families.Poisson()).fit(tol=1e-14)
    assert_allclose(exponential.coefficient, poisson.params[:5], rtol=1e-7)
    assert_allclose(exponential.se, poisson.bse[:5], rtol=1e-7)


def test_intervals_without_events_join_the_next() -> None:
    assert merge_intervals([1, 1, 1]).tolist() == [0, 1, 2]
    assert merge_intervals([0, 0, 2, 0, 1, 0, 0]).tolist() == [0, 0, 0, 1, 1, 1, 1]
    interval, x = np.repeat([0, 1, 2], 2), np.tile([0.0, 1.0], 3)
    n, d = np.full(6, 50.0), np.array([0, 0, 5, 9, 4, 8.0])
    merged = grouped_hazard(interval, x, n, d)
    pooled = grouped_hazard([0, 0, 1, 1], x[:4], [100, 100, 50, 50], d[2:])
    assert_allclose(merged.coefficient, pooled.coefficient, rtol=EXACT)
    assert merged.hazard[0] == merged.hazard[1]
    apart = grouped_hazard(interval, x, n, d, merged=[0, 1, 2])  # the ridge holds the interval without events
    assert_allclose(apart.coefficient, grouped_hazard([0, 0, 1, 1], x[:4], [50] * 4, d[2:]).coefficient, rtol=1e-6)
    assert apart.hazard[0] < 1e-8
    hidden = np.array([[0, 0], [1, 0], [0, 1], [1, 1.0]])
    with pytest.raises(ValueError, match="run off to infinity"):
        grouped_hazard([0, 0, 0, 0], hidden, [10] * 4, [0, 5, 0, 9])
    with pytest.raises(ValueError, match="no events"):
        grouped_hazard(interval, x, n, np.zeros(6))


def test_quantiles_and_cut_sums_from_bins() -> None:
    rng = np.random.default_rng(5)
    y = np.exp(8 + rng.standard_normal(20_000))
    code = np.floor(np.log(y) / np.log(1.02)).astype(int)
    bins = pd.DataFrame({"code": code, "y": y}).groupby("code")["y"].agg(["size", "sum"])
    bounds = np.column_stack([1.02**bins.index, 1.02 ** (bins.index + 1)])
    for q in (0.05, 0.5, 0.99):
        assert grouped_quantile(bounds, bins["size"], q) == pytest.approx(np.quantile(y, q), rel=0.01)
    low, high = np.quantile(y, [0.02, 0.98])
    cut = winsorised_total(bounds, bins["size"], bins["sum"], low, high)
    assert cut == pytest.approx(np.clip(y, low, high).sum(), rel=1e-4)
    assert winsorised_total(bounds, bins["size"], bins["sum"], 0, 1e9) == pytest.approx(y.sum())
    edges = quantile_edges(bounds, bins["size"], 10)
    assert len(edges) == 9
    assert_allclose(np.bincount(np.searchsorted(edges, y)) / len(y), 0.1, atol=0.02)  # a bin holds 0.8% at most


def test_unit_panel_lays_out_means() -> None:
    means, rows, units, times, columns = unit_panel(
        ["B", "A", "A", "A"], [5, 4, 5, 5], [2, 1, 4, 0], [6.0, 3, 8, 0], column=["x", "x", "x", "y"]
    )
    assert (units.tolist(), times.tolist(), columns.tolist()) == (["A", "B"], [4, 5], ["x", "y"])
    assert_allclose(means[:, :, 0], [[3, 2], [np.nan, 3]])
    assert np.isnan(means[:, :, 1]).all()
    assert rows.sum() == 7
