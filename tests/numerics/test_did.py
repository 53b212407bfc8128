"""Group-time effects: published values, exactness of influences, recovery of a known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rox.numerics.aggregate import (
    aggregate_calendar,
    aggregate_event,
    aggregate_group,
    aggregate_window,
    lead_test,
)
from rox.numerics.did import group_time_att
from rox.numerics.joint import covariance, simultaneous_band
from rox.numerics.panel import within_regression


def staggered(rng, units=60, periods=8, columns=1, effect=0.0, noise=1.0):
    """Units with their own levels, a common wave, three cohorts and never-treated units; effect grows with exposure."""
    first = rng.choice([3.0, 5.0, 6.0, np.inf], size=units)
    first[:8] = [3, 3, 5, 5, 6, 6, np.inf, np.inf]
    t = np.arange(periods)
    exposure = np.maximum(t[None, :] - first[:, None] + 1, 0)
    y = rng.normal(size=(units, 1, columns)) * 3 + rng.normal(size=(1, periods, columns))
    y = y + effect * exposure[:, :, None] + noise * rng.normal(size=(units, periods, columns))
    return y, first


@pytest.fixture(scope="module")
def minimum_wage(parity):
    """County teen employment 2003-2007 (the example of the R package did)."""
    folder, values = parity("p04_mpdta_callaway_santanna")
    rows = pd.read_csv(folder / "mpdta.csv")
    y = rows.pivot(index="countyreal", columns="year", values="lemp")
    county = rows.groupby("countyreal").first().reindex(y.index)
    first = county["first.treat"].to_numpy(dtype=float)
    first[first == 0] = np.inf
    return y, first, county["lpop"].to_numpy(), values


def close(got, value):
    """Compare with a reference at its own tolerance, never looser than 1e-6 for what is exact arithmetic."""
    np.testing.assert_allclose(got, value["value"], rtol=min(value["tol_rel"], 1e-6), atol=1e-12)


class TestMinimumWage:
    """Every published number of the example without and with the covariate."""

    @pytest.mark.parametrize("prefix, covariate", [("nocov.", False), ("dr_lpop.", True)])
    def test_cells(self, minimum_wage, prefix, covariate):
        y, first, lpop, values = minimum_wage
        fit = group_time_att(y, first, times=y.columns, control="never", covariates=lpop if covariate else None)
        assert fit.att.shape == (12, 1)
        for g, t, att, se in zip(fit.groups, fit.times, fit.att[:, 0], fit.se[:, 0], strict=True):
            close(att, values[f"{prefix}att.g{g:.0f}.t{t:.0f}"])
            if not covariate:
                close(se, values[f"nocov.se.att.g{g:.0f}.t{t:.0f}"])

    @pytest.mark.parametrize("prefix, covariate", [("", False), ("dr_lpop.", True)])
    def test_event_path(self, minimum_wage, prefix, covariate):
        y, first, lpop, values = minimum_wage
        fit = group_time_att(y, first, times=y.columns, control="never", covariates=lpop if covariate else None)
        path = aggregate_event(fit)
        np.testing.assert_array_equal(path.labels, np.arange(-3, 4))
        for e, value in zip(path.labels, path.estimate[:, 0], strict=True):
            close(value, values[f"{prefix}dynamic.e{e:.0f}"])
        close(aggregate_window(fit).overall[0], values[f"{prefix}simple"])

    def test_other_averages(self, minimum_wage):
        y, first, _, values = minimum_wage
        fit = group_time_att(y, first, times=y.columns, control="never")
        close(aggregate_window(fit).overall_se[0], values["simple.se"])
        close(aggregate_event(fit).overall[0], values["dynamic.overall"])
        by_group, by_year = aggregate_group(fit), aggregate_calendar(fit)
        close(by_group.overall[0], values["group.overall"])
        for g, value in zip(by_group.labels, by_group.estimate[:, 0], strict=True):
            close(value, values[f"group.{g:.0f}"])
        for t, value in zip(by_year.labels, by_year.estimate[:, 0], strict=True):
            close(value, values[f"calendar.{t:.0f}"])

    def test_not_yet_treated_controls(self, minimum_wage):
        y, first, _, values = minimum_wage
        fit = group_time_att(y, first, times=y.columns)
        close(aggregate_window(fit).overall[0], values["notyet.simple"])

    def test_pretest_of_the_published_vignette(self, minimum_wage):
        """The R package prints "P-value for pre-test of parallel trends assumption: 0.16812"."""
        y, first, _, _ = minimum_wage
        fit = group_time_att(y, first, times=y.columns, control="never")
        (test,) = lead_test(fit, by="cell")
        assert test.df == 5
        assert test.p_value == pytest.approx(0.16812, abs=5e-6)


class TestAlgebra:
    def test_two_by_two(self):
        """One cohort, two periods: the difference of mean changes, and its Welch standard error when corrected."""
        rng = np.random.default_rng(0)
        before, after = rng.normal(size=20), rng.normal(size=20)
        treated = np.arange(20) < 7
        change = after - before
        y, first = np.column_stack([before, after]), np.where(treated, 1, np.inf)
        fit = group_time_att(y, first, small_sample=True)
        assert fit.att[0, 0] == pytest.approx(change[treated].mean() - change[~treated].mean())
        welch = np.sqrt(change[treated].var(ddof=1) / 7 + change[~treated].var(ddof=1) / 13)
        assert fit.se[0, 0] == pytest.approx(welch)
        plain = np.sqrt(change[treated].var() / 7 + change[~treated].var() / 13)
        assert group_time_att(y, first).se[0, 0] == pytest.approx(plain)

    @pytest.mark.parametrize("covariates", [False, True])
    @pytest.mark.parametrize("control", ["notyet", "never"])
    def test_influence_is_the_derivative_in_the_weight_of_each_unit(self, covariates, control):
        """Raising one unit's weight by a factor 1 + e moves an estimate by e times its influence, sizes included."""
        rng = np.random.default_rng(1)
        y, first = staggered(rng, units=40, effect=0.5)
        x = rng.normal(size=(40, 1)) if covariates else None
        w = rng.uniform(0.5, 2, size=40)

        def numbers(weight):
            fit = group_time_att(y, first, weights=weight, covariates=x, control=control)
            parts = [aggregate_window(fit), aggregate_event(fit), aggregate_group(fit), aggregate_calendar(fit)]
            estimates = [fit.att.ravel(), *(np.append(p.estimate[:, 0], p.overall[0]) for p in parts)]
            influences = [fit.influence[:, :, 0]]
            influences += [np.column_stack([p.influence[:, :, 0], p.overall_influence[:, 0]]) for p in parts]
            return np.concatenate(estimates), np.concatenate(influences, axis=1)

        _, influence = numbers(w)
        step = 1e-5
        for unit in (0, 2, 5, 7, 20, 33):
            nudge = np.where(np.arange(40) == unit, step, 0)
            derivative = (numbers(w * (1 + nudge))[0] - numbers(w * (1 - nudge))[0]) / (2 * step)
            np.testing.assert_allclose(influence[unit], derivative, atol=1e-7)

    def test_columns_are_separate_fits_with_shared_units(self):
        rng = np.random.default_rng(2)
        y, first = staggered(rng, columns=3)
        w = rng.uniform(0, 2, size=(60, 3))
        w[10:20, 1] = 0
        joint = group_time_att(y, first, weights=w)
        for k in range(3):
            alone = group_time_att(y[:, :, k], first, weights=w[:, k])
            np.testing.assert_allclose(joint.att[:, k], alone.att[:, 0])
            np.testing.assert_allclose(joint.influence[:, :, k], alone.influence[:, :, 0], atol=1e-15)
        window = aggregate_window(joint)
        assert window.overall_covariance.shape == (3, 3)
        np.testing.assert_allclose(np.sqrt(np.diag(window.overall_covariance)), window.overall_se)

    def test_units_without_weight_contribute_nothing_and_may_be_missing(self):
        rng = np.random.default_rng(3)
        y, first = staggered(rng, columns=2)
        w = np.ones((60, 2))
        w[30:, 1] = 0
        y[30:, :, 1] = np.nan
        fit = group_time_att(y, first, weights=w)
        half = group_time_att(y[:30, :, 1], first[:30])
        np.testing.assert_allclose(fit.att[:, 1], half.att[:, 0])
        assert not fit.influence[30:, :, 1].any()
        assert (fit.treated_units[:, 1] == half.treated_units[:, 0]).all()

    def test_a_segment_without_a_cohort_is_averaged_over_the_others(self):
        rng = np.random.default_rng(4)
        y, first = staggered(rng, columns=2)
        w = np.ones((60, 2))
        w[first == 5, 1] = 0
        fit = group_time_att(y, first, weights=w)
        assert np.isnan(fit.att[fit.groups == 5, 1]).all()
        rest = first != 5
        alone = group_time_att(y[rest][:, :, 1], first[rest])
        np.testing.assert_allclose(aggregate_window(fit).overall[1], aggregate_window(alone).overall[0])
        np.testing.assert_allclose(aggregate_window(fit).overall_se[1], aggregate_window(alone).overall_se[0])

    def test_universal_and_varying_bases_agree_after_treatment(self):
        y, first = staggered(np.random.default_rng(5))
        varying, universal = group_time_att(y, first), group_time_att(y, first, base="universal")
        late_v, late_u = varying.times >= varying.groups, universal.times >= universal.groups
        np.testing.assert_allclose(varying.att[late_v], universal.att[late_u])
        assert (universal.att[universal.is_base] == 0).all()
        assert not (universal.is_lead & universal.is_base).any()

    def test_short_leads_add_up_to_universal_leads(self):
        """With never-treated controls, long leads are minus the sum of the short ones that follow."""
        y, first = staggered(np.random.default_rng(6))
        varying = group_time_att(y, first, control="never")
        universal = group_time_att(y, first, control="never", base="universal")
        for t in range(4):
            short = varying.att[(varying.groups == 5) & (varying.times > t) & (varying.times < 5), 0].sum()
            long = universal.att[(universal.groups == 5) & (universal.times == t), 0]
            assert long[0] == pytest.approx(-short)

    def test_anticipation_moves_the_base_back(self):
        y, first = staggered(np.random.default_rng(7))
        fit = group_time_att(y, first, anticipation=2)
        assert (fit.base_times[fit.times >= fit.groups - 2] == fit.groups[fit.times >= fit.groups - 2] - 3).all()
        cell = (fit.groups == 5) & (fit.times == 5)
        change = y[:, 5, 0] - y[:, 2, 0]
        by_hand = change[first == 5].mean() - change[first > 7].mean()
        assert fit.att[cell, 0][0] == pytest.approx(by_hand)

    def test_cluster_sums_influences(self):
        y, first = staggered(np.random.default_rng(8))
        psi = aggregate_window(group_time_att(y, first)).overall_influence
        region = np.arange(60) // 3
        by_hand = sum(psi[region == r].sum() ** 2 for r in range(20))
        assert covariance(psi, region)[0, 0] == pytest.approx(by_hand)

    def test_complete_window_keeps_only_cohorts_seen_throughout(self):
        y, first = staggered(np.random.default_rng(9))
        fit = group_time_att(y, first)
        by_group = group_time_att(y, np.where(first == 3, 3, np.inf), control="never")
        assert by_group.att.size
        whole = aggregate_window(fit, first=0, last=4, complete=True)
        kept = (fit.groups == 3) & (fit.event_times >= 0) & (fit.event_times <= 4)
        assert whole.overall[0] == pytest.approx(fit.att[kept, 0].mean())
        with pytest.raises(ValueError, match="no cohort is observed"):
            aggregate_window(fit, first=-4, last=4, complete=True)

    def test_cells_without_comparison_are_listed(self):
        rng = np.random.default_rng(10)
        y, first = staggered(rng)
        first[np.isinf(first)] = 6
        fit = group_time_att(y, first)
        everyone_treated = {(g, t) for g in (3.0, 5.0, 6.0) for t in (6.0, 7.0)}
        assert set(fit.skipped) == everyone_treated | {(6.0, 5.0)}


class TestTruth:
    def test_growing_effect_is_recovered_with_its_stated_error(self):
        """Windows of a staggered roll-out: unbiased, and the standard error matches the scatter."""
        estimates, errors = [], []
        for seed in range(200):
            y, first = staggered(np.random.default_rng(seed), units=80, effect=0.5)
            fit = aggregate_window(group_time_att(y, first, small_sample=True), first=0, last=1, random_weights=False)
            estimates.append(fit.overall[0])
            errors.append(fit.overall_se[0])
        scatter = np.std(estimates)
        assert abs(np.mean(estimates) - 0.75) < 4 * scatter / np.sqrt(200)
        assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(scatter, rel=0.15)

    def test_few_units_need_the_correction(self):
        """With three treated units, the uncorrected error is far too small; the corrected one is right on average."""
        plain, corrected, estimates = [], [], []
        for seed in range(300):
            rng = np.random.default_rng(seed)
            y, first = rng.normal(size=(23, 2)), np.where(np.arange(23) < 3, 1, np.inf)
            estimates.append(group_time_att(y, first).att[0, 0])
            plain.append(group_time_att(y, first).se[0, 0] ** 2)
            corrected.append(group_time_att(y, first, small_sample=True).se[0, 0] ** 2)
        truth = np.var(estimates)
        assert np.mean(plain) < 0.85 * truth
        assert np.mean(corrected) == pytest.approx(truth, rel=0.15)

    def test_doubly_robust_removes_a_trend_that_depends_on_a_covariate(self):
        rng = np.random.default_rng(11)
        n = 2000
        x = rng.normal(size=n)
        treated = rng.random(n) < 1 / (1 + np.exp(-x))
        y = np.column_stack([rng.normal(size=n), rng.normal(size=n) + 2 * x + 0.3 * treated])
        first = np.where(treated, 1.0, np.inf)
        raw = group_time_att(y, first)
        adjusted = group_time_att(y, first, covariates=x)
        assert raw.att[0, 0] > 1
        assert abs(adjusted.att[0, 0] - 0.3) < 3 * adjusted.se[0, 0]
        assert adjusted.se[0, 0] < 0.1

    def test_lead_test_fires_on_a_diverging_trend_and_keeps_its_size(self):
        rng = np.random.default_rng(12)
        y, first = staggered(rng, units=80, noise=0.5)
        drift = np.where(np.isfinite(first), 0.5, 0)[:, None] * np.arange(8)
        assert lead_test(group_time_att(y[:, :, 0] + drift, first), few_clusters=True)[0].p_value < 0.001
        tests = []
        for seed in range(200):
            y, first = staggered(np.random.default_rng(seed), units=60)
            tests.append(lead_test(group_time_att(y, first), few_clusters=True)[0].p_value)
        assert 0.01 < np.mean(np.array(tests) < 0.05) < 0.12

    def test_simultaneous_band_is_wider_and_covers_the_whole_path(self):
        inside, pointwise = [], []
        for seed in range(150):
            y, first = staggered(np.random.default_rng(seed), units=80, effect=0)
            path = aggregate_event(group_time_att(y, first, small_sample=True))
            band = simultaneous_band(path.estimate[:, 0], path.influence[:, :, 0], level=0.9, rng=seed)
            inside.append(((band.low <= 0) & (band.high >= 0)).all())
            pointwise.append((np.abs(path.estimate[:, 0]) < 1.645 * path.se[:, 0]).all())
        assert np.mean(inside) > 0.8
        assert np.mean(pointwise) < 0.7


class TestInvariance:
    @given(seed=st.integers(0, 10_000), rate=st.floats(0.01, 1000), shift=st.integers(-50, 2000))
    @settings(max_examples=20, deadline=None)
    def test_currency_order_and_calendar(self, seed, rate, shift):
        rng = np.random.default_rng(seed)
        y, first = staggered(rng, units=30)
        w = rng.uniform(0.5, 2, size=30)
        one = aggregate_window(group_time_att(y, first, weights=w))
        order = rng.permutation(30)
        two = aggregate_window(
            group_time_att(rate * y[order], first[order] + shift, times=np.arange(8.0) + shift, weights=w[order] * rate)
        )
        np.testing.assert_allclose(two.overall, rate * one.overall, rtol=1e-8)
        np.testing.assert_allclose(two.overall_se, rate * one.overall_se, rtol=1e-8)
        np.testing.assert_allclose(two.influence, rate * one.influence[order], atol=1e-8 * rate)

    @given(seed=st.integers(0, 10_000))
    @settings(max_examples=20, deadline=None)
    def test_unit_levels_and_common_shocks_do_not_matter(self, seed):
        rng = np.random.default_rng(seed)
        y, first = staggered(rng, units=30)
        moved = y + rng.normal(size=(30, 1, 1)) * 100 + rng.normal(size=(1, 8, 1)) * 100
        np.testing.assert_allclose(group_time_att(moved, first).att, group_time_att(y, first).att, atol=1e-9)


class TestFaults:
    def test_all_faults_at_once(self):
        y = np.ones((4, 3))
        y[0, 1] = np.nan
        with pytest.raises(ValueError, match="first_treated") as caught:
            group_time_att(y, [1, np.nan, np.inf, np.inf], times=[0, 2, 1])
        for words in ("first_treated", "increasing", "positive weight"):
            assert words in str(caught.value)

    @pytest.mark.parametrize(
        "first, options, message",
        [
            ([0, 0, np.inf], {}, "before treatment"),
            ([1, 1, 1], {}, "no cell has a comparison"),
            ([1, 2, 2], {"control": "never"}, "inf, got none"),
            ([1, 1, np.inf], {"control": "all"}, "control must be one of"),
            ([1, 1, np.inf], {"base": "long"}, "base must be one of"),
            ([1, 1, np.inf], {"weights": [1, -1, 1]}, "not negative"),
            ([1, 1, np.inf], {"covariates": [1.0, 2, 3], "small_sample": True}, "no meaning with covariates"),
            ([1, 1, np.inf], {"covariates": [1.0, 2, 3]}, "cannot carry"),
        ],
    )
    def test_messages(self, first, options, message):
        with pytest.raises(ValueError, match=message):
            group_time_att(np.arange(9.0).reshape(3, 3), first, **options)

    def test_separation_is_reported(self):
        y = np.random.default_rng(0).normal(size=(40, 2))
        first = np.where(np.arange(40) < 20, 1, np.inf)
        with pytest.raises(ValueError, match="separate"):
            group_time_att(y, first, covariates=np.arange(40.0))

    def test_results_are_read_only(self):
        y, first = staggered(np.random.default_rng(0))
        with pytest.raises(ValueError, match="read-only"):
            group_time_att(y, first).att[0] = 1


def test_one_treated_state_has_the_published_effect(parity):
    """Organ donors after California's active choice (Kessler & Roth 2014; Huntington-Klein 2021, chapter 18)."""
    folder, values = parity("p08_organ_donations")
    rows = pd.read_csv(folder / "organ_donations.csv")
    y = rows.pivot(index="State", columns="Quarter_Num", values="Rate")
    start, quarters = 4.0, y.columns.to_numpy(dtype=float)

    def effects(treated):
        first = np.where(y.index == treated, start, np.inf)
        fit = group_time_att(y.to_numpy(), first, times=quarters, base="universal")
        path = dict(zip(fit.times, fit.att[:, 0], strict=True))
        before, after = ([path[q] for q in quarters if (q >= start) == late] for late in (False, True))
        return path, np.mean(after) - np.mean(before)

    path, did = effects("California")
    assert did == pytest.approx(values["did"]["value"], rel=1e-6)
    for quarter in (1, 2, 3, 4, 5):
        value = values[f"event.ca:q{quarter}"]["value"]
        assert path[quarter] - path[6] == pytest.approx(value, rel=1e-5, abs=1e-9)
    placebos = np.array([effects(state)[1] for state in y.index])
    assert (np.abs(placebos) >= abs(did) - 1e-12).mean() == pytest.approx(values["placebo.rank.p"]["value"], rel=1e-6)
    long = y.stack().reset_index(name="rate")
    treated = ((long["State"] == "California") & (long["Quarter_Num"] >= start)).astype(float)
    fit = within_regression(long["rate"], treated, long["State"], time=long["Quarter_Num"])
    assert fit.coefficient[0] == pytest.approx(values["did"]["value"], rel=1e-6)
    assert fit.se[0] == pytest.approx(values["did.se.cluster.fixest"]["value"], rel=0.02)
