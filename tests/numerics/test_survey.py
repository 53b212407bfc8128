"""Scores, means, ratios and churn from weighted answers: published values, coverage, invariance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rox.numerics.experiment import p_of
from rox.numerics.hazard import open_hazard_churn
from rox.numerics.intervals import (
    adjusted_nps_interval,
    dirichlet_nps_interval,
    nps_sample_size,
    wilson_interval,
)
from rox.numerics.power import nps_variance
from rox.numerics.survey import (
    design_variance,
    effective_n,
    wave_difference,
    weight_concentration,
    weighted_mean,
    weighted_nps,
    weighted_ratio,
    weighted_total,
)

A = np.repeat(np.arange(11), [2, 1, 0, 3, 2, 5, 8, 14, 25, 22, 18])
B = np.repeat(np.arange(11), [5, 3, 4, 6, 4, 11, 12, 21, 19, 17, 10])


class TestNps:
    """Invented counts; expected figures from the R package NPS 1.1 (Rocks 2016) and base R."""

    def test_point_error_and_t_interval(self):
        fit = weighted_nps(A, level=0.95, interval="t")
        assert fit.value == pytest.approx(19, rel=1e-12)
        assert fit.se == pytest.approx(7.57561878660747 * np.sqrt(100 / 99), rel=1e-12)
        assert (fit.low, fit.high) == pytest.approx((3.89260200223783, 34.1073979977622), rel=1e-12)
        assert (fit.n, fit.n_eff, fit.df) == (100, 100, 99)
        assert fit.design_effect == pytest.approx(1)

    def test_adjusted_wald(self):
        fit = weighted_nps(A, level=0.95, interval="adjusted")
        assert (fit.low, fit.high) == pytest.approx((3.83092264159071, 33.0622812419044), rel=1e-12)
        assert adjusted_nps_interval(40, 39, 21) == pytest.approx((6.18073721318512, 30.71246667031), rel=1e-12)

    def test_weighted(self):
        fit = weighted_nps(A, np.where(A >= 7, 1.5, 1.0))
        assert fit.value == pytest.approx(27.9569892473118, rel=1e-12)
        assert fit.se == pytest.approx(6.75670268687192, rel=1e-12)

    def test_difference_of_independent_samples(self):
        gap = wave_difference(weighted_nps(A), weighted_nps(B))
        assert gap.value == pytest.approx(35.0714285714286)
        unpooled = np.hypot(weighted_nps(A).se * np.sqrt(99 / 100), weighted_nps(B).se * np.sqrt(111 / 112))
        assert unpooled == pytest.approx(10.6057433110913)
        assert gap.se == gap.se_independent == pytest.approx(unpooled, rel=0.01)

    def test_wald_intervals_and_tests_of_a_difference(self):
        sizes = np.array([[sum(x >= 9), sum((x > 6) & (x < 9)), sum(x <= 6)] for x in (A, B)])
        n = sizes.sum(1)
        variance = np.array([nps_variance(p / each, d / each) for (p, _, d), each in zip(sizes, n, strict=True)])
        assert variance[0] / 100**2 == pytest.approx(0.5739, rel=1e-10)
        z = stats.norm.ppf(0.975)
        assert 19 + z * np.sqrt(variance[0] / n[0]) * np.array([-1, 1]) == pytest.approx(
            [4.15206001764435, 33.8479399823557], rel=1e-9
        )
        gap, se = weighted_nps(A).value - weighted_nps(B).value, np.sqrt((variance / n).sum())
        assert gap + z * se * np.array([-1, 1]) == pytest.approx([14.284553652413, 55.8583034904441], rel=1e-9)
        assert p_of(gap, se) == pytest.approx(0.000943569165375574, rel=1e-8)
        limits = np.array([adjusted_nps_interval(*each, level=0.95) for each in sizes])
        adjusted = -np.diff(limits.mean(1))[0] / np.hypot(*(np.diff(limits)[:, 0] / (2 * z)))
        assert adjusted == pytest.approx(3.26524982946154, rel=1e-9)
        assert p_of(adjusted, 1.0) == pytest.approx(0.00109367567467524, rel=1e-8)

    def test_mean_and_top_answers(self):
        fit = weighted_mean(A.astype(float))
        assert (fit.value, fit.se * np.sqrt(len(A))) == pytest.approx((7.67, 2.15113312869607), rel=1e-9)
        assert weighted_mean(A >= 9).value == pytest.approx(0.4, rel=1e-10)

    def test_sample_sizes(self):
        assert nps_sample_size(10) == 385
        assert nps_sample_size(10, promoters=0.4, detractors=0.21) == 221

    def test_automatic_interval(self):
        assert weighted_nps(A).interval == "dirichlet"
        assert weighted_nps(np.tile(A, 3)).interval == "t"
        assert weighted_nps(np.repeat([10, 0, 8], [900, 900, 4])).interval == "dirichlet"
        heavy = np.ones(300)
        heavy[:3] = 100
        assert weighted_nps(np.tile(A, 3), heavy).interval == "dirichlet"

    def test_clustering_widens_the_small_sample_interval(self):
        people = np.repeat(np.arange(25), 4)
        answers = np.repeat(np.random.default_rng(0).choice([3, 8, 10], size=25), 4)
        alone, grouped = weighted_nps(answers), weighted_nps(answers, psu=people)
        assert grouped.interval == alone.interval == "dirichlet"
        assert grouped.high - grouped.low > 1.7 * (alone.high - alone.low)

    @pytest.mark.parametrize(
        "scores, words",
        [
            ([7, 8, np.nan], ["1 scores are missing"]),
            ([7, 11, -1, 8.5, np.nan], ["1 scores are missing", "outside 0..10 (found -1, 11)", "not whole", "8.5"]),
            ([], ["non-empty"]),
        ],
    )
    def test_faulty_scores_are_listed_together(self, scores, words):
        with pytest.raises(ValueError, match="scores") as caught:
            weighted_nps(scores)
        assert all(word in str(caught.value) for word in words)

    def test_faulty_weights(self):
        with pytest.raises(ValueError, match="1 of 3 that are not"):
            weighted_nps([1, 2, 3], [1, 0, 1])


class TestDirichlet:
    def test_agrees_with_draws(self):
        draws = np.random.default_rng(0).dirichlet(np.array([12, 7, 3]) + 0.5, size=400_000)
        expected = np.quantile(100 * (draws[:, 0] - draws[:, 2]), [0.05, 0.95])
        assert dirichlet_nps_interval(12, 7, 3) == pytest.approx(expected, abs=0.15)

    @pytest.mark.parametrize("shares", [(0.7, 0.2, 0.1), (0.95, 0.04, 0.01), (0.6, 0.38, 0.02)])
    def test_covers_with_thirty_answers(self, shares):
        rng = np.random.default_rng(1)
        truth = 100 * (shares[0] - shares[2])
        outcomes, times = np.unique(rng.multinomial(30, shares, size=400), axis=0, return_counts=True)
        bounds = np.array([dirichlet_nps_interval(*row) for row in outcomes])
        covered = np.average((bounds[:, 0] <= truth) & (truth <= bounds[:, 1]), weights=times)
        assert 0.85 < covered < 0.96

    def test_mirror(self):
        low, high = dirichlet_nps_interval(9, 5, 2)
        assert dirichlet_nps_interval(2, 5, 9) == pytest.approx((-high, -low))


class TestStratifiedSchools:
    """California schools, stratified sample: R survey's vignette (Lumley)."""

    @pytest.fixture(scope="class")
    @staticmethod
    def schools(parity):
        folder, ref = parity("w01_api_strat")
        d = pd.read_csv(folder / "apistrat.csv")
        return d, {"stratum": d.stype, "population": d.fpc}, {k: v["value"] for k, v in ref.items()}

    def test_means(self, schools):
        d, design, ref = schools
        api = weighted_mean(d.api00, d.pw, **design)
        assert api.value == pytest.approx(ref["mean.api00"], rel=1e-10)
        assert api.se == pytest.approx(ref["se.api00"], rel=1e-10)
        assert api.n_eff == pytest.approx(ref["kish.neff"], rel=1e-10)
        assert api.design_effect == pytest.approx(ref["deff.api00"], rel=1e-3)
        assert weighted_mean(d.api00, d.pw).se == pytest.approx(ref["se.api00.weights_only"], rel=1e-10)
        enrolled = weighted_mean(d.enroll, d.pw, **design)
        assert (enrolled.value, enrolled.se) == pytest.approx((ref["mean.enroll"], ref["se.mean.enroll"]), rel=1e-10)
        awards = weighted_mean(d.awards == "Yes", d.pw, **design)
        assert (awards.value, awards.se) == pytest.approx((ref["prop.awards"], ref["prop.awards.se"]), rel=1e-10)

    def test_total_ratio_domains(self, schools):
        d, design, ref = schools
        total = weighted_total(d.enroll, d.pw, **design)
        assert (total.value, total.se) == pytest.approx((ref["total.enroll"], ref["se.total.enroll"]), rel=1e-10)
        ratio = weighted_ratio(d["api.stu"], d.enroll, d.pw, **design)
        expected = (ref["ratio.apistu_enroll"], ref["ratio.se"])
        assert (ratio.value, ratio.se) == pytest.approx(expected, rel=1e-10)
        for i, kind in enumerate("EHM"):
            part = weighted_mean(d.api00, d.pw, domain=d.stype == kind, **design)
            assert part.value == pytest.approx(ref["domain.api00"][i], rel=1e-10)
            assert part.se == pytest.approx(ref["domain.se"][i], rel=1e-10)


class TestDesign:
    def test_psu_sums_and_strata_by_hand(self):
        u = np.array([1.0, 2, -1, 4, 3, 5])
        stratum, psu = [0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 3, 4]
        variance, df = design_variance(u, stratum=stratum, psu=psu)
        by_hand = 2 * (1.5**2 * 0 + ((3 - 1) ** 2 + (-1 - 1) ** 2)) + 1.5 * ((4 - 4) ** 2 + 1 + 1)
        assert (variance, df) == (pytest.approx(by_hand), 3)

    def test_a_lonely_unit_is_centred_at_the_mean_of_all(self):
        variance, df = design_variance([1.0, 3, 8], stratum=[0, 0, 1])
        assert variance == pytest.approx(2 * (1 + 1) + (8 - 4) ** 2)
        assert df == 1

    def test_same_psu_name_in_two_strata_is_two_units(self):
        assert design_variance([1.0, 2, 3, 4], stratum=[0, 0, 1, 1], psu=[0, 1, 0, 1])[1] == 2

    def test_census_has_no_variance(self):
        assert design_variance([1.0, 2, 3], population=[3, 3, 3])[0] == 0
        with pytest.raises(ValueError, match="population is smaller"):
            design_variance([1.0, 2, 3], population=[2, 2, 2])

    def test_calibration_residuals_shrink_the_error(self):
        rng = np.random.default_rng(2)
        group = rng.integers(0, 3, size=600)
        values = 2.0 * group + rng.normal(size=600)
        dummies = (group[:, None] == np.arange(3)).astype(float)
        raked = weighted_mean(values, calibration=dummies)
        assert raked.se == pytest.approx(np.std(values - (dummies @ [0, 2, 4])) / np.sqrt(600), rel=0.05)
        assert raked.se < 0.6 * weighted_mean(values).se

    def test_clustered_errors_match_the_scatter(self):
        rng = np.random.default_rng(3)
        estimates, errors = [], []
        for _ in range(600):
            person = np.repeat(np.arange(60), 5)
            score = np.clip(np.round(8 + rng.normal(size=60)[person] * 2 + rng.normal(size=300)), 0, 10)
            fit = weighted_nps(score, psu=person, interval="t")
            estimates.append(fit.value)
            errors.append(fit.se)
        assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.1)
        assert fit.design_effect > 2

    def test_effective_n_and_concentration(self):
        assert effective_n([1, 1, 1, 1]) == 4
        assert effective_n([3, 1]) == pytest.approx(1.6)
        assert weight_concentration(np.r_[np.ones(99), 901]) == pytest.approx(0.901)


class TestWaves:
    def test_identical_waves_have_no_difference_and_no_error(self):
        ids = np.arange(100)
        gap = wave_difference(weighted_nps(A), weighted_nps(A), later_ids=ids, earlier_ids=ids)
        assert gap.value == 0
        assert gap.n_both == 100
        assert gap.se < 0.11 * gap.se_independent

    def test_error_of_a_panel_matches_the_scatter(self):
        rng = np.random.default_rng(4)
        gaps, errors, independent = [], [], []
        for _ in range(300):
            people = rng.permutation(300)
            level = rng.normal(7.5, 2, size=300)
            first, second = people[:200], people[80:280]
            answers = [np.clip(np.round(level[w] + rng.normal(size=200)), 0, 10) for w in (first, second)]
            gap = wave_difference(
                weighted_nps(answers[1]), weighted_nps(answers[0]), later_ids=second, earlier_ids=first
            )
            assert gap.n_both == 120
            gaps.append(gap.value)
            errors.append(gap.se)
            independent.append(gap.se_independent)
        assert np.mean(errors) == pytest.approx(np.std(gaps), rel=0.1)
        assert np.mean(independent) > 1.15 * np.std(gaps)

    def test_ids_for_one_wave_only(self):
        with pytest.raises(ValueError, match="both waves"):
            wave_difference(weighted_nps(A), weighted_nps(B), later_ids=np.arange(100))


class TestShares:
    def test_wilson(self):
        """Newcombe (1998, Statistics in Medicine 17:857), Table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
        published = {
            (81, 263): (0.2553, 0.3662),
            (15, 148): (0.0624, 0.1605),
            (0, 20): (0.0, 0.1611),
            (1, 29): (0.0061, 0.1718),
        }
        for (x, n), bounds in published.items():
            assert wilson_interval(x / n, n, level=0.95) == pytest.approx(bounds, abs=6e-5)

    def test_faults(self):
        with pytest.raises(ValueError, match="share in 0"):
            wilson_interval(1.2, 10)
        with pytest.raises(ValueError, match="level must lie"):
            wilson_interval(0.2, 10, level=95)


class TestChurn:
    def test_open_hazard(self):
        fit = open_hazard_churn(30, 6000)
        assert fit.value == pytest.approx(1 - np.exp(-0.06))
        assert fit.se == pytest.approx(12 * np.exp(-0.06) * np.sqrt(30) / 6000)
        assert fit.low < fit.value < fit.high

    def test_exact_interval_at_zero_and_ten_exits(self):
        """Exact Poisson limits: 95% of 10 events is 4.795 to 18.390; of none, 0 to 3.689 (Garwood 1936)."""
        fit = open_hazard_churn(10, 1000, months=1, level=0.95)
        limits = -np.log1p(-np.array([fit.low, fit.high])) * 1000
        np.testing.assert_allclose(limits, [4.795, 18.390], atol=6e-4)
        none = open_hazard_churn(0, 1000, months=1, level=0.95)
        assert none.low == none.value == 0
        assert -np.log1p(-none.high) * 1000 == pytest.approx(3.689, abs=6e-4)

    def test_clusters_widen_when_branches_differ(self):
        rng = np.random.default_rng(5)
        hazard = 0.01 * rng.gamma(4, 1 / 4, size=50)
        months = np.full(50, 2000.0)
        exits = rng.poisson(hazard * months)
        plain = open_hazard_churn(exits, months)
        clustered = open_hazard_churn(exits, months, cluster=np.arange(50))
        assert clustered.value == plain.value
        assert clustered.se > 1.5 * plain.se
        assert clustered.design_effect > 2

    def test_money_churn_is_a_clustered_ratio(self):
        rng = np.random.default_rng(6)
        estimates, errors = [], []
        for _ in range(300):
            balance = rng.lognormal(0, 1, size=400)
            exits = rng.random(400) < 0.1
            fit = weighted_ratio(balance * exits, balance, psu=np.arange(400))
            estimates.append(fit.value)
            errors.append(fit.se)
        assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.1)
        assert np.mean(estimates) == pytest.approx(0.1, abs=0.005)

    def test_faults(self):
        with pytest.raises(ValueError, match="exits but no time at risk"):
            open_hazard_churn([1, 0], [0, 10])
        with pytest.raises(ValueError, match="must not be negative"):
            open_hazard_churn([-1], [10])
        with pytest.raises(ValueError, match="sums to zero"):
            weighted_ratio([1, 2], [1, -1])


class TestInvariance:
    @given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
    @settings(max_examples=25, deadline=None)
    def test_weight_scale_and_row_order(self, seed, scale):
        rng = np.random.default_rng(seed)
        score, w = rng.integers(0, 11, size=80), rng.uniform(0.2, 3, size=80)
        stratum, psu = np.repeat([0, 1], 40), np.repeat(np.arange(20), 4)
        one = weighted_nps(score, w, stratum=stratum, psu=psu)
        order = rng.permutation(80)
        name = np.array([f"p{i}" for i in rng.permutation(20)])
        two = weighted_nps(score[order], scale * w[order], stratum=1 - stratum[order], psu=name[psu[order]])
        for field in ("value", "se", "low", "high", "n_eff", "design_effect", "df"):
            assert getattr(two, field) == pytest.approx(getattr(one, field), rel=1e-8, abs=1e-8)

    @given(seed=st.integers(0, 10_000), rate=st.floats(1e-3, 1e6))
    @settings(max_examples=25, deadline=None)
    def test_currency(self, seed, rate):
        rng = np.random.default_rng(seed)
        money = rng.lognormal(3, 1, size=50)
        one, two = weighted_mean(money), weighted_mean(rate * money)
        assert (two.value, two.se, two.high) == pytest.approx((rate * one.value, rate * one.se, rate * one.high))
        left = rng.random(50) < 0.3
        assert weighted_ratio(rate * money * left, rate * money).se == pytest.approx(
            weighted_ratio(money * left, money).se
        )
