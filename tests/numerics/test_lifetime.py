"""Value of a customer: published multiples, and the shifted beta-geometric model as published."""

from __future__ import annotations

import numpy as np
import pytest

from rox.numerics.lifetime import (
    beta_geometric,
    discounted_lifetime,
    expected_lifetime,
    margin_multiple,
    residual_lifetime,
    retention_elasticity,
    retention_rate,
    survival,
)

HIGH_END = [1000, 869, 743, 653, 593, 551, 517, 491]
REGULAR = [1000, 631, 468, 382, 326, 289, 262, 241]
"""Customers there after 0 to 7 years, of a thousand: Fader & Hardie (2007), table 1, after Berry & Linoff (2004)."""
LATER = {"high_end": [468, 445, 427, 409, 394], "regular": [223, 207, 194, 183, 173]}
"""Years 8 to 12, which their fit did not see."""


def counts(there: list[int]):
    years = len(there) - 1
    lost = -np.diff(there)
    return [*range(1, years + 1), years], [True] * years + [False], [*lost, there[-1]]


class TestMultiples:
    def test_published(self, parity):
        _, ref = parity("v06_clv_formulas")
        r, i = np.array([0.6, 0.7, 0.8, 0.9])[:, None], np.array([0.10, 0.12, 0.14, 0.16])
        assert margin_multiple(r, i) == pytest.approx(np.array(ref["multiple"]["value"]), rel=1e-12)
        assert float(margin_multiple(0.8, 0.12, immediate=True)) == pytest.approx(ref["multiple_immediate"]["value"])
        assert float(margin_multiple(0.8, 0.12, growth=0.03)) == pytest.approx(ref["growth_3pct"]["value"], rel=1e-12)
        assert float(margin_multiple(0.8, 0.12, periods=5)) == pytest.approx(ref["finite5"]["value"], rel=1e-12)
        found = float(retention_elasticity(0.8, 0.12))
        assert found == pytest.approx(ref["elasticity_retention"]["value"], rel=1e-5)

    def test_the_table_of_gupta_and_lehmann(self):
        table = [[1.20, 1.15, 1.11, 1.07], [1.75, 1.67, 1.59, 1.52], [2.67, 2.50, 2.35, 2.22], [4.50, 4.09, 3.75, 3.46]]
        r, i = np.array([0.6, 0.7, 0.8, 0.9])[:, None], np.array([0.10, 0.12, 0.14, 0.16])
        assert margin_multiple(r, i) == pytest.approx(np.array(table), abs=0.005)

    def test_sums_by_hand(self):
        k = np.arange(1, 8)
        by_hand = (0.9**k * 1.02 ** (k - 1) / 1.05**k).sum()
        assert float(margin_multiple(0.9, 0.05, growth=0.02, periods=7)) == pytest.approx(by_hand, rel=1e-12)
        assert float(margin_multiple(1.0, 0.0, periods=4)) == pytest.approx(4.0)
        assert float(margin_multiple(0.0, 0.1)) == 0.0

    def test_faults_are_named_together(self):
        with pytest.raises(ValueError, match=r"retention must lie between 0 and 1; .*without an end"):
            margin_multiple(1.2, 0.1)
        with pytest.raises(ValueError, match="periods must be at least 1"):
            margin_multiple(0.8, 0.1, periods=0)


class TestBetaGeometric:
    @pytest.mark.parametrize(
        ("there", "alpha", "beta"), [(HIGH_END, 0.668, 3.806), (REGULAR, 0.704, 1.182)], ids=["high end", "regular"]
    )
    def test_published_parameters(self, there, alpha, beta):
        """Fader & Hardie (2007), fitted to the first seven years."""
        fit = beta_geometric(*counts(there))
        assert fit.alpha[0] == pytest.approx(alpha, abs=5e-4)
        assert fit.beta[0] == pytest.approx(beta, abs=5e-4)

    def test_the_years_not_seen_are_foretold(self):
        for there, later in ((HIGH_END, LATER["high_end"]), (REGULAR, LATER["regular"])):
            fit = beta_geometric(*counts(there))
            assert 1000 * survival(fit.alpha[0], fit.beta[0], np.arange(8, 13)) == pytest.approx(later, rel=0.05)

    def test_lifetimes_are_the_sums_they_stand_for(self):
        a, b, d = 0.668, 3.806, 0.1
        t = np.arange(4000)
        curve = survival(a, b, t)
        assert float(expected_lifetime(a, b, d)) == pytest.approx((curve / (1 + d) ** t).sum(), rel=1e-10)
        for n in (1, 2, 6):
            left = (curve[n:] / curve[n - 1] / (1 + d) ** (t[n:] - n)).sum()
            assert float(residual_lifetime(a, b, d, n)) == pytest.approx(left, rel=1e-10)
        assert float(expected_lifetime(3.0, 2.0, 0.0)) == pytest.approx(
            survival(3.0, 2.0, np.arange(10**6)).sum(), abs=1e-4
        )
        assert float(discounted_lifetime(curve[:13], d)) == pytest.approx((curve[:13] / (1 + d) ** t[:13]).sum())

    def test_who_stays_is_loyal_and_one_rate_undervalues_them(self):
        a, b = 0.668, 3.806
        rates = retention_rate(a, b, np.arange(1, 8))
        assert (np.diff(rates) > 0).all()
        assert rates.prod() == pytest.approx(float(survival(a, b, 7)))
        pooled = float(survival(a, b, 7)) ** (1 / 7)
        one_rate = float(margin_multiple(pooled, 0.1)) * 1.1
        assert float(residual_lifetime(a, b, 0.1, 7)) > 1.1 * one_rate

    def test_equal_chances_are_the_margin_multiple(self):
        """With chances of leaving all near 0.2 the model is one retention rate."""
        a, b = 2e5, 8e5
        assert float(expected_lifetime(a, b, 0.12)) == pytest.approx(
            float(margin_multiple(0.8, 0.12, immediate=True)), rel=1e-4
        )

    def test_covariates_split_the_segments(self):
        parts = [counts(HIGH_END), counts(REGULAR)]
        columns = [np.concatenate([np.asarray(part[i]) for part in parts]) for i in range(3)]
        fit = beta_geometric(*columns, design=np.repeat([0.0, 1.0], 8))
        assert fit.alpha[[0, -1]] == pytest.approx([0.668, 0.704], abs=1e-3)
        assert fit.beta[[0, -1]] == pytest.approx([3.806, 1.182], abs=2e-3)
        apart = sum(beta_geometric(*part).log_likelihood for part in parts)
        assert fit.log_likelihood == pytest.approx(apart, abs=1e-6)

    def test_late_entry_is_judged_given_survival_so_far(self):
        """Customers first seen after two renewals: the curve is found from those who were left."""
        rng = np.random.default_rng(1)
        size = 60_000
        chance = rng.beta(1.2, 4.0, size)
        ends = rng.geometric(chance)
        entered = np.where(np.arange(size) % 2 == 0, 0, 2)
        seen = ends > entered
        period, left = np.minimum(ends, 8), ends <= 8
        fit = beta_geometric(period[seen], left[seen], np.ones(seen.sum()), entered=entered[seen])
        error = np.sqrt(np.diag(fit.covariance))
        assert abs(np.log(fit.alpha[0] / 1.2)) < 4 * error[0]
        assert abs(np.log(fit.beta[0] / 4.0)) < 4 * error[1]
        wrong = beta_geometric(period[seen], left[seen], np.ones(seen.sum()))
        assert abs(np.log(wrong.beta[0] / 4.0)) > 10 * error[1]

    def test_errors_are_those_of_repeated_samples(self):
        rng = np.random.default_rng(2)
        found = []
        for _ in range(60):
            ends = rng.geometric(rng.beta(1.0, 3.0, 1500))
            fit = beta_geometric(np.minimum(ends, 7), ends <= 7, np.ones(1500))
            found.append([*fit.coefficient, *np.sqrt(np.diag(fit.covariance))])
        table = np.array(found)
        assert table[:, :2].std(axis=0) == pytest.approx(table[:, 2:].mean(axis=0), rel=0.3)

    def test_what_cannot_be_fitted_is_said(self):
        with pytest.raises(ValueError, match="nobody left"):
            beta_geometric([3], [False], [10])
        with pytest.raises(ValueError, match="at least 1 for those who left"):
            beta_geometric([0, 3], [True, False], [5, 10])
        with pytest.raises(ValueError, match="infinity"):
            beta_geometric([1, 2, 3, 3], [True, True, True, False], [200, 160, 128, 512])
        with pytest.raises(ValueError, match="discount must be above 0"):
            expected_lifetime(0.5, 1.0, 0.0)
        with pytest.raises(ValueError, match="must be positive"):
            survival(0.0, 1.0, 2)
        with pytest.raises(ValueError, match="never rise"):
            discounted_lifetime([1.0, 0.5, 0.6], 0.1)
