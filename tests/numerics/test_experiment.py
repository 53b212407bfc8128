"""Arms compared from their sums, against published tables and packages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rox.numerics.experiment import Metric, compare_arms, compare_shares, moments, moments_of_sums

CONTRASTS = ["56/70-48/80", "9/10-3/10", "6/7-2/7", "5/56-0/29", "0/10-0/20", "0/10-0/10", "10/10-0/20", "10/10-0/10"]
COLUMNS = ["sessions", "orders", "revenue"]
METRICS = {
    "sessions_per_user": (0, None),
    "orders_per_session": (1, 0),
    "orders_per_user": (1, None),
    "revenue_per_user": (2, None),
}


@pytest.mark.parametrize("case", CONTRASTS)
def test_differences_of_shares_as_newcombe_published(parity, case):
    _, values = parity("a01_newcombe_diff")
    (a, m), (b, n) = (map(int, each.split("/")) for each in case.split("-"))
    found = compare_shares(a, m, b, n, level=0.95)
    np.testing.assert_allclose([found.low, found.high], values[f"newcombe.{case}"]["value"], rtol=1e-6, atol=1e-9)
    if wald := values.get(f"wald.{case}"):
        half = stats.norm.ppf(0.975) * found.se
        np.testing.assert_allclose([found.estimate - half, found.estimate + half], wald["value"], rtol=1e-6)


def test_the_p_value_of_shares_is_pearsons():
    table = [[56, 14], [48, 32]]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert compare_shares(56, 70, 48, 80).p == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["plain", "cuped"])
def test_means_ratios_and_cuped_as_tea_tasting(parity, kind, metric):
    folder, values = parity("a03_tea_tasting_cuped")
    names = COLUMNS if kind == "plain" else [*COLUMNS, *(f"{name}_covariate" for name in COLUMNS)]
    users = pd.read_csv(folder / ("users.csv" if kind == "plain" else "users_covariates.csv"))
    treated, control = (moments(users.loc[users["variant"] == arm, names]) for arm in (1, 0))
    value, per = METRICS[metric]
    earlier = Metric(value=value + 3, per=None if per is None else per + 3) if kind == "cuped" else None
    found = compare_arms(treated, control, Metric(value=value, per=per), earlier=earlier, level=0.95)
    got = {
        "control": found.control,
        "treatment": found.treated,
        "rel": found.relative,
        "p": found.p,
        "abs": found.estimate,
        "abs_ci": [found.low, found.high],
        "rel_ci": [found.relative_low, found.relative_high],
    }
    for name, number in got.items():
        reference = values[f"{kind}.{metric}.{name}"]
        np.testing.assert_allclose(number, reference["value"], rtol=min(reference["tol_rel"], 1e-6), err_msg=name)


def test_lalondes_experiment(parity):
    folder, values = parity("h04_lalonde")
    data = pd.read_csv(folder / "nsw_dw.csv")
    treated, control = (moments(data.loc[data["treat"] == arm, "re78"]) for arm in (1, 0))
    found = compare_arms(treated, control, Metric(value=0))
    assert found.estimate == pytest.approx(values["exp.ate"]["value"], rel=1e-9)
    assert found.se == pytest.approx(values["exp.se.hc2"]["value"], rel=1e-9)


def test_moments_add_and_come_from_sums():
    rng = np.random.default_rng(1)
    rows = rng.normal(50, 3, (40, 3))
    whole = moments(rows)
    parts = moments(rows[:13]) + moments(rows[13:])
    sums = moments_of_sums(40, rows.sum(0), rows.T @ rows)
    for other in (parts, sums):
        assert other.n == whole.n
        np.testing.assert_allclose(other.mean, whole.mean, rtol=1e-13)
        np.testing.assert_allclose(other.products, whole.products, rtol=1e-9)
    np.testing.assert_allclose(whole.covariance, np.cov(rows.T), rtol=1e-12)


def test_faults_are_said():
    with pytest.raises(ValueError, match="events <= n"):
        compare_shares(5, 4, 0, 3)
    with pytest.raises(ValueError, match="denominator has mean zero"):
        compare_arms(moments([[1, 0], [2, 0]]), moments([[1, 1], [2, 1]]), Metric(value=0, per=1))
    with pytest.raises(ValueError, match="ask for"):
        compare_arms(moments([1.0, 2.0]), moments([1.0, 2.0]), Metric(value=1))
    with pytest.raises(ValueError, match="two rows"):
        compare_arms(moments([1.0]), moments([1.0, 2.0]), Metric(value=0))
    with pytest.raises(ValueError, match="same rows"):
        moments_of_sums(4, [8.0], [[3.0]])
    with pytest.raises(ValueError, match="finite"):
        moments([1.0, np.nan])
