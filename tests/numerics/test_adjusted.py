"""Regression adjustment from rows, cells, clusters and moments, beside statsmodels and matrices written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.linalg import fractional_matrix_power

from rox.numerics.adjusted import adjusted_effect, adjusted_from_cells, adjusted_from_clusters, stratified_effect
from rox.numerics.experiment import Metric, compare_arms, moments
from rox.numerics.jackknife import jackknife


def interacted(y, arm, x):
    """The regression on the arm, centred covariates and their products, with HC2 errors."""
    centred = x - x.mean(0)
    design = np.column_stack([np.ones(len(y)), arm, centred, arm[:, None] * centred])
    return sm.OLS(y, design).fit(cov_type="HC2")


def drawn(seed=3, n=300):
    rng = np.random.default_rng(seed)
    stratum = rng.integers(0, 4, n)
    arm = rng.random(n) < 0.3
    x = rng.normal(size=(n, 2)) + stratum[:, None] * 0.3
    y = 5 + stratum + x @ [1.0, -0.5] + arm * (0.7 + 0.4 * x[:, 0]) + rng.normal(size=n) * (1 + 0.5 * arm)
    return y, arm, x, stratum


def dummies(stratum):
    return (stratum[:, None] == np.unique(stratum)[1:]).astype(float)


def test_rows_as_the_interacted_regression_of_statsmodels():
    y, arm, x, stratum = drawn()
    covariates = np.column_stack([dummies(stratum), x])
    expected = interacted(y, arm, covariates)
    found = adjusted_effect(np.column_stack([y, 2 * y]), arm, covariates)
    np.testing.assert_allclose(found.estimate, [expected.params[1], 2 * expected.params[1]], rtol=1e-10)
    np.testing.assert_allclose(found.se, [expected.bse[1], 2 * expected.bse[1]], rtol=1e-10)
    np.testing.assert_allclose(found.covariance[0, 1], 2 * expected.bse[1] ** 2, rtol=1e-10)
    np.testing.assert_allclose(found.treated - found.control, found.estimate, rtol=1e-12)


def test_without_covariates_it_is_welch():
    y, arm, _, _ = drawn()
    found = adjusted_effect(y, arm)
    welch = compare_arms(moments(y[arm]), moments(y[~arm]), Metric(value=0))
    assert found.se[0] == pytest.approx(welch.se, rel=1e-12)
    assert found.df[0] == pytest.approx(welch.df, rel=1e-12)


@pytest.mark.parametrize("saturated", [True, False])
def test_cells_as_rows(saturated):
    y, arm, _, stratum = drawn()
    covariates = dummies(stratum) if saturated else np.column_stack([stratum, stratum**2])
    rows = pd.DataFrame({"arm": arm, "stratum": stratum, "y": y, "yy": y**2})
    cells = rows.groupby(["arm", "stratum"]).agg(n=("y", "size"), y=("y", "sum"), yy=("yy", "sum")).reset_index()
    s = cells["stratum"].to_numpy()
    z = dummies(s) if saturated else np.column_stack([s, s**2])
    found = adjusted_from_cells(cells["arm"], z, cells["n"], cells["y"], cells["yy"])
    expected = interacted(y, arm, covariates)
    np.testing.assert_allclose(found.estimate, expected.params[1], rtol=1e-10)
    np.testing.assert_allclose(found.se, expected.bse[1], rtol=1e-10)


def test_strata_from_moments_as_rows():
    y, arm, x, stratum = drawn()
    rows = np.column_stack([y, x])

    def parts(which, keep=slice(None)):
        return [moments(rows[keep][(stratum[keep] == s) & (arm[keep] == which)]) for s in range(4)]

    plain = stratified_effect(parts(True), parts(False))
    expected = interacted(y, arm, dummies(stratum))
    np.testing.assert_allclose([plain.estimate[0], plain.se[0]], [expected.params[1], expected.bse[1]], rtol=1e-10)
    full = stratified_effect(parts(True), parts(False), covariates=(1, 2))
    expected = interacted(y, arm, np.column_stack([dummies(stratum), x]))
    np.testing.assert_allclose(full.estimate[0], expected.params[1], rtol=1e-10)
    np.testing.assert_allclose(full.se[0], expected.bse[1], rtol=0.03)
    bucket = np.arange(y.size) % 30
    replicates = [
        stratified_effect(*(parts(which, bucket != b) for which in (True, False)), covariates=(1, 2)).estimate
        for b in range(30)
    ]
    assert jackknife(full.estimate, np.array(replicates)).se[0] == pytest.approx(full.se[0], rel=0.3)


def test_lalondes_experiment_adjusted(parity):
    folder, values = parity("h04_lalonde")
    data = pd.read_csv(folder / "nsw_dw.csv")
    names = ["age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75"]
    y, arm, x = data["re78"].to_numpy(float), data["treat"].to_numpy(), data[names].to_numpy(float)
    found = adjusted_effect(y, arm, x)
    expected = interacted(y, arm, x)
    np.testing.assert_allclose([found.estimate[0], found.se[0]], [expected.params[1], expected.bse[1]], rtol=1e-8)
    assert abs(found.estimate[0] - values["exp.adj"]["value"]) < 0.5 * found.se[0]


def clustered(seed=5, clusters=16, covariates=True):
    rng = np.random.default_rng(seed)
    size = rng.integers(3, 25, clusters)
    label = np.repeat(np.arange(clusters), size)
    arm = np.arange(clusters) % 3 == 0
    x = rng.normal(size=(label.size, 2)) + rng.normal(size=clusters)[label, None]
    y = rng.normal(size=clusters)[label] + x[:, 0] + 0.5 * arm[label] + rng.normal(size=label.size)
    return y, arm[label], (x if covariates else None), label


def cr2(y, arm, x, label):
    """Bell & McCaffrey (2002) with every matrix written out, and as wide as clusters that move as one need."""
    centred = np.zeros((y.size, 0)) if x is None else x - x.mean(0)
    design = np.column_stack([np.ones(y.size), arm, centred, arm[:, None] * centred])
    bread = np.linalg.inv(design.T @ design)
    maker = np.eye(y.size) - design @ bread @ design.T
    as_one = (label[:, None] == label).astype(float)
    variance, df = 0.0, []
    for side in (arm == 1, arm == 0):
        forms = []
        for each in np.unique(label[side]):
            z = design[label == each]
            adjust = fractional_matrix_power(np.eye(len(z)) - z @ bread @ z.T, -0.5).real
            forms.append(maker[:, label == each] @ adjust @ z @ bread[:, 1])
        forms = np.array(forms)
        pull = np.where(side, design @ bread[:, 1], 0.0)
        moments_of = [forms @ forms.T, forms @ as_one @ forms.T]
        wider = max(1.0, (pull @ as_one @ pull) / np.trace(moments_of[1]))
        variance += wider * ((forms @ y) ** 2).sum()
        df.append((wider * ((forms @ y) ** 2).sum(), min(np.trace(m) ** 2 / (m**2).sum() for m in moments_of)))
    return (bread @ design.T @ y)[1], np.sqrt(variance), variance**2 / sum(v**2 / k for v, k in df)


@pytest.mark.parametrize("covariates", [True, False])
def test_clusters_as_cr2_written_out(covariates):
    y, arm, x, label = clustered(covariates=covariates)
    found = adjusted_effect(y, arm, x, cluster=label)
    estimate, se, df = cr2(y, arm, x, label)
    np.testing.assert_allclose([found.estimate[0], found.se[0], found.df[0]], [estimate, se, df], rtol=1e-8)
    z = np.column_stack([np.ones(y.size), *([] if x is None else x.T)])
    zz = np.array([z[label == g].T @ z[label == g] for g in np.unique(label)])
    zy = np.array([z[label == g].T @ y[label == g] for g in np.unique(label)])
    sums = adjusted_from_clusters([arm[label == g][0] for g in np.unique(label)], zz, zy)
    np.testing.assert_allclose([sums.estimate[0], sums.se[0]], [estimate, se], rtol=1e-9)


def test_equal_clusters_as_statsmodels_clustered():
    rng = np.random.default_rng(2)
    label, arm = np.repeat(np.arange(20), 7), np.repeat(np.arange(20) % 2, 7)
    y = rng.normal(size=20)[label] + rng.normal(size=140)
    found = adjusted_effect(y, arm, cluster=label)
    fit = sm.OLS(y, sm.add_constant(arm)).fit(cov_type="cluster", cov_kwds={"groups": label, "use_correction": False})
    assert found.se[0] == pytest.approx(fit.bse[1] * np.sqrt(10 / 9), rel=1e-10)
    assert found.df[0] <= 18


def test_intervals_of_few_clusters_cover():
    """Eight places of unequal size without an effect: t intervals hold, errors that forget the places do not."""
    rng = np.random.default_rng(8)
    size = np.tile([5, 10, 20, 40], 2)
    label = np.repeat(np.arange(8), size)
    covered, naive = [], []
    for _ in range(500):
        place = rng.permutation(np.repeat([0, 1], 4))
        y = rng.normal(size=8)[label] + rng.normal(size=label.size)
        fit = adjusted_effect(y, place[label], cluster=label)
        covered.append(abs(fit.estimate[0]) < stats.t.ppf(0.95, fit.df[0]) * fit.se[0])
        naive.append(abs(fit.estimate[0]) < 1.645 * adjusted_effect(y, place[label]).se[0])
    assert np.mean(covered) > 0.85
    assert np.mean(naive) < 0.6


@pytest.mark.parametrize("blocks", [3, 6, 10])
def test_intervals_of_places_drawn_in_blocks_cover(blocks):
    """Two places of unequal size in each arm and block: the blocks take degrees of freedom from the places."""
    rng = np.random.default_rng(blocks)
    covered, df = [], []
    for _ in range(400):
        size = rng.integers(3, 30, 4 * blocks)
        label, block = np.repeat(np.arange(size.size), size), np.arange(size.size) // 4
        arm = np.concatenate([rng.permutation([0, 0, 1, 1]) for _ in range(blocks)])
        y = rng.normal(size=size.size)[label] + 0.5 * rng.normal(size=label.size)
        fit = adjusted_effect(y, arm[label], dummies(block)[label], cluster=label)
        covered.append(abs(fit.estimate[0]) < stats.t.ppf(0.95, fit.df[0]) * fit.se[0])
        df.append(fit.df[0])
    assert np.mean(df) < 2 * blocks
    assert np.mean(covered) > 0.87


def test_faults_are_said():
    y, arm, x, _ = drawn(n=40)
    with pytest.raises(ValueError, match="both arms need rows"):
        adjusted_effect(y, np.ones(40))
    with pytest.raises(ValueError, match="values 0 or 1"):
        adjusted_effect(y, arm * 2)
    with pytest.raises(ValueError, match="collinear"):
        adjusted_effect(y, arm, np.column_stack([x, x[:, 0]]))
    with pytest.raises(ValueError, match="single row decides"):
        adjusted_effect(y, arm, (np.arange(40) == np.flatnonzero(arm)[0]) + 1e-14 * x[:, 0])
    with pytest.raises(ValueError, match="in both arms"):
        adjusted_effect(y, arm, cluster=np.zeros(40))
    with pytest.raises(ValueError, match="two clusters"):
        adjusted_effect(np.arange(3.0), [1, 0, 0], cluster=[1, 2, 3])
    with pytest.raises(ValueError, match="single row in some stratum"):
        stratified_effect([moments([1.0])], [moments([1.0, 2.0])])
