"""Customers without a contract: published fits, the likelihood by listing every course of events, and simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special

from rox.numerics.buying import BGBB, BGNBD, beta_rule, bgbb, bgnbd
from rox.numerics.spend import GammaGamma, gamma_gamma

FHS = BGBB(alpha=1.204, beta=0.750, gamma=0.657, delta=2.783)
FHL = BGNBD(r=0.243, alpha=4.414, a=0.793, b=2.426)


def donors(parity):
    folder, ref = parity("v04_donations_bgbb")
    d = pd.read_csv(folder / "donations_rf.csv")
    return (d["x"], d["t.x"], d["n.cal"], d["custs"]), {name: each["value"] for name, each in ref.items()}


def buyers(parity):
    folder, ref = parity("v01_cdnow_bgnbd_gg")
    return pd.read_csv(folder / "cdnow_summary.csv"), {name: each["value"] for name, each in ref.items()}


def buying_in_periods(model: BGBB, size: int, periods: int, rng: np.random.Generator) -> np.ndarray:
    """Whether customers buy in each period, (size, periods)."""
    ends = rng.geometric(rng.beta(model.gamma, model.delta, size)) - 1
    buys = rng.random((size, periods)) < rng.beta(model.alpha, model.beta, size)[:, None]
    return buys & (np.arange(periods) < ends[:, None])


def history(buys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many purchases, and in which period the last."""
    return buys.sum(1), np.where(buys, np.arange(1, buys.shape[1] + 1), 0).max(1)


class TestPeriods:
    def test_donors_as_published(self, parity):
        """Fader, Hardie & Shang (2010); R's BTYD 2.4.3, whose search stops a little earlier."""
        (x, last, n, customers), ref = donors(parity)
        fit = bgbb(x, last, n, customers)
        for name in ("alpha", "beta", "gamma", "delta"):
            assert getattr(fit.model, name) == pytest.approx(ref[f"bgbb.{name}"], rel=2e-6)
        assert fit.log_likelihood == pytest.approx(ref["bgbb.loglik"], rel=1e-12)
        assert fit.log_likelihood >= ref["bgbb.loglik"]
        assert fit.model.alive([0, 6], [0, 6], 6) == pytest.approx([ref["palive.x0"], ref["palive.x6"]], rel=1e-5)
        found = fit.model.expected([0, 1, 6], [0, 6, 6], 6, 5)
        assert found == pytest.approx([ref["cet.x0"], ref["cet.x1_t6"], ref["cet.x6"]], rel=1e-5)

    @pytest.mark.parametrize("unseen", [0, 3])
    def test_the_likelihood_lists_every_course_of_events(self, unseen):
        """Each string of purchases, every period of dropping out, by quadrature over both propensities."""
        n, total = 4, 0.0
        p, of_p = beta_rule(FHS.alpha, FHS.beta, 30)
        q, of_q = beta_rule(FHS.gamma, FHS.delta, 40)
        for string in product([0, 1], repeat=n):
            buys = np.array(string)
            chance = 0.0
            for end in range(unseen + n + 1):
                here = max(end - unseen, 0)
                if buys[here:].any():
                    continue
                ends = (1 - q) ** end * (q if end < unseen + n else 1)
                string_given = np.prod([p if buy else 1 - p for buy in buys[:here]], axis=0) * np.ones(p.size)
                chance += (of_p @ string_given) * (of_q @ ends)
            (x,), (last,) = history(buys[None])
            assert FHS.log_likelihood(x, last, n, unseen)[0] == pytest.approx(np.log(chance), abs=1e-10)
            total += chance
        assert total == pytest.approx(1.0, abs=1e-10)

    def test_what_comes_is_the_likelihood_of_longer_histories(self):
        """The expected purchases of the next two periods from the likelihoods of all strings that go on."""
        x, last, n = 2, 3, 5
        chances, bought = [], []
        for more in product([0, 1], repeat=2):
            buys = np.array([[1, 0, 1, 0, 0, *more]])
            (y,), (recency,) = history(buys)
            chances.append(np.exp(FHS.log_likelihood(y, recency, 7)[0] - FHS.log_likelihood(x, last, n)[0]))
            bought.append(sum(more))
        assert sum(chances) == pytest.approx(1.0)
        assert FHS.expected(x, last, n, 2)[0] == pytest.approx(np.dot(chances, bought), rel=1e-12)
        nobody = BGBB(alpha=1.0, beta=1e6, gamma=0.657, delta=2.783)
        assert nobody.alive(0, 0, 5)[0] == pytest.approx(
            special.beta(0.657, 8.783) / special.beta(0.657, 2.783), rel=1e-4
        )

    def test_the_closed_form_where_it_has_one(self):
        """Fader, Hardie & Shang (2010), equations 8 and 13, singular at γ = 1, which the sums are not."""
        a, b, c, d = 1.204, 0.750, 0.657, 2.783
        ratio = lambda t: np.exp(special.gammaln(1 + d + t) - special.gammaln(c + d + t))  # noqa: E731
        scale = d / (c - 1) / np.exp(special.gammaln(1 + d) - special.gammaln(c + d))
        assert FHS.expected_new(6) == pytest.approx(a / (a + b) * scale * (ratio(0) - ratio(6)), rel=1e-10)
        x, last, n = 3, 5, 6
        ahead = special.beta(a + x + 1, b + n - x) / special.beta(a, b) * scale * (ratio(n) - ratio(n + 5))
        by_hand = ahead / np.exp(FHS.log_likelihood(x, last, n)[0])
        assert FHS.expected(x, last, n, 5)[0] == pytest.approx(by_hand, rel=1e-10)
        near = [BGBB(alpha=1.0, beta=2.0, gamma=g, delta=3.0).expected(1, 2, 6, 24)[0] for g in (1 - 1e-9, 1.0)]
        assert near[0] == pytest.approx(near[1], rel=1e-8)

    @pytest.mark.parametrize("gamma", [0.657, 1.0, 3.0])
    def test_residual_transactions_are_the_sum_they_stand_for(self, gamma):
        model = BGBB(alpha=1.204, beta=0.750, gamma=gamma, delta=2.783)
        steps = np.diff([0.0, *(model.expected(3, 5, 6, ahead)[0] for ahead in range(1, 400))])
        by_hand = (steps / 1.1 ** np.arange(1, 400)).sum()
        assert model.residual(3, 5, 6, 0.1)[0] == pytest.approx(by_hand, rel=1e-9)
        later = model.residual(3, 5, 6, 0.1, unseen=24)[0]
        assert later > by_hand

    def test_recovers_the_truth_with_its_errors(self):
        """Customers who came at different times, some of them before anything was recorded."""
        rng, n = np.random.default_rng(1), 12
        truth, logs, errors = BGBB(alpha=1.2, beta=2.4, gamma=0.9, delta=8.0), [], []
        for _ in range(12):
            buys = buying_in_periods(truth, 8000, n + 18, rng)
            unseen = rng.choice([0, 6, 18], 8000)
            window = np.stack([row[e : e + n] for row, e in zip(buys, unseen, strict=True)])
            fit = bgbb(*history(window), n, unseen=unseen)
            logs.append(np.log([fit.model.alpha, fit.model.beta, fit.model.gamma, fit.model.delta]))
            errors.append(np.sqrt(np.diag(fit.covariance)))
        off = (np.mean(logs, axis=0) - np.log([1.2, 2.4, 0.9, 8.0])) / np.mean(errors, axis=0)
        assert np.abs(off).max() < 3.5 / np.sqrt(12)
        assert np.std(logs, axis=0) == pytest.approx(np.mean(errors, axis=0), rel=0.6)
        ignored = bgbb(*history(window), n)
        assert abs(np.log(ignored.model.delta / 8.0)) > 5 * errors[-1][3]

    def test_foretells_who_buys(self):
        rng, n, ahead = np.random.default_rng(2), 12, 12
        truth = BGBB(alpha=1.2, beta=2.4, gamma=0.9, delta=8.0)
        ends = rng.geometric(rng.beta(truth.gamma, truth.delta, 30_000)) - 1
        buys = rng.random((30_000, n + ahead)) < rng.beta(truth.alpha, truth.beta, 30_000)[:, None]
        buys &= np.arange(n + ahead) < ends[:, None]
        x, last = history(buys[:, :n])
        fit = bgbb(x, last, n)
        for part in (x == 0, (x > 0) & (last <= 6), (last > 6) & (x <= 4), x > 4):
            future = buys[part, n:].sum(1)
            error = future.std() / np.sqrt(part.sum())
            assert fit.model.expected(x[part], last[part], n, ahead).mean() == pytest.approx(
                future.mean(), abs=4 * error
            )
            there = (ends[part] > n).mean()
            assert fit.model.alive(x[part], last[part], n).mean() == pytest.approx(there, abs=0.02)

    def test_cells_are_what_rows_are(self, parity):
        (x, last, n, customers), _ = donors(parity)
        few = customers // 20
        cells = bgbb(x, last, n, few)
        rows = bgbb(np.repeat(x, few), np.repeat(last, few), 6, start=cells.model)
        assert rows.log_likelihood == pytest.approx(cells.log_likelihood, rel=1e-12)
        assert rows.covariance == pytest.approx(cells.covariance, rel=1e-6)

    def test_what_cannot_be_fitted_is_said(self):
        with pytest.raises(ValueError, match=r"1 histories have a last purchase after periods; .*whole numbers"):
            bgbb([1, 0.5], [4, 2], 3)
        with pytest.raises(ValueError, match="above 0 where something was bought"):
            bgbb([1, 0], [0, 2], 3)
        with pytest.raises(ValueError, match="more purchases than periods up to"):
            bgbb([3], [2], 3)
        with pytest.raises(ValueError, match="customers must be counts"):
            bgbb([1], [2], 3, [-1])
        rng = np.random.default_rng(3)
        alike = rng.random((4000, 6)) < 0.5
        with pytest.raises(ValueError, match="run off"):
            bgbb(*history(alike), 6)
        with pytest.raises(ValueError, match="discount must be above 0"):
            FHS.residual(1, 1, 6, 0.0)
        with pytest.raises(ValueError, match="whole number of periods ahead"):
            FHS.expected_new(0)


class TestTime:
    def test_buyers_as_published(self, parity):
        """Fader, Hardie & Lee (2005) on 2,357 customers of CDNOW; R's BTYD 2.4.3."""
        d, ref = buyers(parity)
        fit = bgnbd(d["frequency"], d["recency"], d["T"])
        for name in ("r", "alpha", "a", "b"):
            assert getattr(fit.model, name) == pytest.approx(ref[f"bgnbd.{name}"], rel=2e-6)
        assert fit.log_likelihood == pytest.approx(ref["bgnbd.loglik"], rel=1e-12)
        model = fit.model
        assert model.expected_new(39) == pytest.approx(ref["bgnbd.E39"], rel=1e-6)
        assert model.expected(2, 30.43, 38.86, 39)[0] == pytest.approx(ref["bgnbd.cond.x2_30.43_38.86_39"], rel=1e-6)
        assert model.alive(2, 30.43, 38.86)[0] == pytest.approx(ref["bgnbd.palive.x2"], rel=1e-6)
        total = model.expected(d["frequency"], d["recency"], d["T"], 39).sum()
        assert total == pytest.approx(ref["holdout.expected_total"], rel=1e-6)

    def test_counts_and_another_unit_of_time_change_nothing_else(self, parity):
        d, _ = buyers(parity)
        weeks = bgnbd(d["frequency"], d["recency"], d["T"])
        names = ["frequency", "recency", "T"]
        cells = d.groupby(names).size().reset_index(name="n")
        days = bgnbd(cells["frequency"], 7 * cells["recency"], 7 * cells["T"], cells["n"])
        assert days.model.alpha == pytest.approx(7 * weeks.model.alpha, rel=1e-7)
        assert days.covariance == pytest.approx(weeks.covariance, rel=1e-5)
        moved = weeks.log_likelihood - d["frequency"].sum() * np.log(7)
        assert days.log_likelihood == pytest.approx(moved, rel=1e-12)

    @pytest.mark.parametrize("x", [0, 2, 40])
    def test_expectations_are_the_published_function(self, x):
        """Fader, Hardie & Lee (2005), equation 10 with the hypergeometric function."""
        r, alpha, a, b = 0.243, 4.414, 0.793, 2.426
        last, t, ahead = (30.43 if x else 0.0), 38.86, 39.0
        z = ahead / (alpha + t + ahead)
        inside = ((alpha + t) / (alpha + t + ahead)) ** (r + x) * special.hyp2f1(r + x, b + x, a + b + x - 1, z)
        gone = a / (b + x - 1) * ((alpha + t) / (alpha + last)) ** (r + x) if x else 0.0
        by_hand = (a + b + x - 1) / (a - 1) * (1 - inside) / (1 + gone)
        assert FHL.expected(x, last, t, ahead)[0] == pytest.approx(by_hand, rel=1e-9)

    def test_no_singularity_and_no_overflow(self):
        near = [BGNBD(r=0.5, alpha=4.0, a=a, b=2.0).expected(3, 30, 39, 52)[0] for a in (1 - 1e-9, 1.0, 1 + 1e-9)]
        assert near == pytest.approx([near[1]] * 3, rel=1e-7)
        often = FHL.expected(4000, 40.0, 40.0, 1.0)[0]
        assert 50 < often < 101
        long = BGNBD(r=0.2, alpha=0.01, a=0.5, b=2.0)
        brute, _ = integrate.quad(
            lambda p: -np.expm1(-0.2 * np.log1p(p * 100 / 0.01)) / p * p**-0.5 * (1 - p) / special.beta(0.5, 2.0), 0, 1
        )
        assert long.expected_new(100) == pytest.approx(brute, rel=1e-6)

    def test_residual_transactions_are_the_sum_they_stand_for(self):
        steps = np.diff([0.0, *(FHL.expected(2, 30.43, 38.86, ahead)[0] for ahead in range(1, 53))])
        found = FHL.residual([2, 0], [30.43, 0], 38.86, 0.002, 52)
        assert found[0] == pytest.approx((steps / 1.002 ** np.arange(1, 53)).sum(), rel=1e-9)

    def test_recovers_the_truth_with_its_errors(self):
        rng, logs, errors = np.random.default_rng(4), [], []
        for _ in range(12):
            size = 3000
            duration, rate = rng.uniform(20, 40, size), rng.gamma(0.8, 1 / 6.0, size)
            gone, last, count = rng.beta(1.0, 3.0, size), np.zeros(size), np.zeros(size)
            here = np.ones(size, bool)
            now = np.zeros(size)
            while here.any():
                now = now + rng.exponential(1 / rate)
                here &= now <= duration
                last, count = np.where(here, now, last), count + here
                here &= rng.random(size) >= gone
            fit = bgnbd(count, last, duration)
            logs.append(np.log([fit.model.r, fit.model.alpha, fit.model.a, fit.model.b]))
            errors.append(np.sqrt(np.diag(fit.covariance)))
        off = (np.mean(logs, axis=0) - np.log([0.8, 6.0, 1.0, 3.0])) / np.mean(errors, axis=0)
        assert np.abs(off).max() < 3.5 / np.sqrt(12)
        assert np.std(logs, axis=0) == pytest.approx(np.mean(errors, axis=0), rel=0.6)

    def test_what_cannot_be_fitted_is_said(self):
        with pytest.raises(ValueError, match="1 histories have a last purchase after duration"):
            bgnbd([1, 0], [9, 0], [5, 5])
        with pytest.raises(ValueError, match="run off"):
            bgnbd([0, 0, 0], [0, 0, 0], [5, 5, 5])
        with pytest.raises(ValueError, match="ahead must be above 0"):
            FHL.expected_new(0)


class TestSpend:
    def test_buyers_as_published(self, parity):
        """Fader & Hardie (2013) on CDNOW, R's BTYD 2.4.3: its search stops on a flat top, hence 5e-4."""
        d, ref = buyers(parity)
        d = d[(d["frequency"] > 0) & (d["mean_spend"] > 0)]
        assert len(d) == ref["gg.n"]
        fit = gamma_gamma(d["mean_spend"], d["frequency"])
        for name in ("p", "q", "gamma"):
            assert getattr(fit.model, name) == pytest.approx(ref[f"gg.{name}"], rel=5e-4)
        assert fit.model.mean == pytest.approx(ref["gg.pop_mean"], rel=1e-5)
        assert fit.model.expected(10.0, 1)[0] == pytest.approx(ref["gg.cond.1of_10"], rel=2e-5)
        yuan = gamma_gamma(7 * d["mean_spend"], d["frequency"])
        assert yuan.model.gamma == pytest.approx(7 * fit.model.gamma, rel=1e-6)
        assert yuan.log_likelihood == pytest.approx(fit.log_likelihood - len(d) * np.log(7), rel=1e-12)

    def test_the_likelihood_is_a_density_and_the_expectation_its_mean(self):
        """By integration over the customer's own rate: amounts ~ Gamma(p, ν), ν ~ Gamma(q, γ)."""
        p, q, gamma, x, z = 6.25, 3.74, 15.4, 3, 20.0

        def joint(rate: float) -> float:
            sums = (p * x) * np.log(rate * x) + (p * x - 1) * np.log(z) - rate * x * z - special.gammaln(p * x)
            return float(np.exp(sums + q * np.log(gamma) + (q - 1) * np.log(rate) - gamma * rate - special.gammaln(q)))

        density, _ = integrate.quad(joint, 0, 20)
        mean, _ = integrate.quad(lambda rate: p / rate * joint(rate), 0, 20)
        assert GammaGamma(p=p, q=q, gamma=gamma).expected(z, x)[0] == pytest.approx(mean / density, rel=1e-8)
        rng = np.random.default_rng(5)
        rate = rng.gamma(q, 1 / gamma, 4000)
        bought = rng.integers(1, 9, 4000)
        spent = rng.gamma(p * bought, 1 / rate) / bought
        fit = gamma_gamma(spent, bought)
        error = np.sqrt(np.diag(fit.covariance))
        assert (np.abs(np.log([fit.model.p / p, fit.model.q / q, fit.model.gamma / gamma])) < 4 * error).all()

    def test_what_cannot_be_fitted_is_said(self):
        with pytest.raises(ValueError, match=r"spent must be positive; .*bought must be at least 1"):
            gamma_gamma([0.0, 3.0], [1, 0])
        with pytest.raises(ValueError, match="run off"):
            gamma_gamma([10.0, 10.0, 10.0, 10.0], [1, 2, 3, 4])
        with pytest.raises(ValueError, match="have no mean"):
            GammaGamma(p=2.0, q=0.9, gamma=1.0).expected(0.0, 0)
