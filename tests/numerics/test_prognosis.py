"""Discrimination, Brier score and calibration: published figures, brute force, and predictions known to be off."""

from __future__ import annotations

import numpy as np
import pytest

from rox.numerics.calibration import calibration
from rox.numerics.prognosis import brier_score, censoring, cumulative_auc, uno_c

# fmt: off
TIME = np.array([
    7.635, 7.596, 1.75, 22.324, 8.34, 7.559, 0.253, 4.247, 11.69, 16.425, 4.037, 10.599, 9.603, 12.464, 3.586, 10.414,
    16.435, 10.36, 4.214, 6.046, 18.258, 8.61, 0.603, 10.982, 4.395, 3.924, 14.04, 14.252, 4.495, 0.179, 24.569, 6.567,
    22.078, 2.595, 13.055, 0.254, 8.767, 0.496, 2.79, 7.961, 24.532, 6.505, 5.147, 10.237, 1.84, 18.651, 10.069, 3.139,
    11.347, 2.832, 6.742, 1.913, 7.149, 0.029, 13.522, 7.977, 2.989, 4.248, 1.359, 0.262,
])
EVENT = np.array([
    1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1,
    0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1,
])
RISK = np.array([
    -0.99, 0.06, 1.34, -0.49, -0.62, -0.99, 0.06, 1.34, -0.49, -0.62, 0.49, 0.36, 0.11, -0.93, -0.03, 0.7, -1.34, -0.46,
    -1.9, -1.29, -1.84, -0.24, -1.27, 0.27, 0.16, -0.19, -2.52, -0.54, -0.05, 0.11, -1.53, -0.48, -0.98, -0.81, 1.06,
    -0.81, -0.03, 0.88, -0.58, -0.11, 0.11, 0.06, -1.23, 0.08, 1.36, -1.55, 0.86, 0.12, -0.64, 2.0, 0.76, -1.2, 0.07,
    0.58, -0.19, 0.68, -0.07, 0.67, 1.44, -0.68,
])
# fmt: on
AT = np.array([3.0, 6.0, 10.0, 15.0])


def simulated(n, seed, follow=30.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    time, limit = rng.exponential(10 * np.exp(-0.7 * x)), rng.uniform(0, follow, n)
    return x, np.minimum(time, limit), (time <= limit).astype(int)


class TestScikitSurvival:
    """Figures of scikit-survival 0.28.0 on sixty untied rows."""

    def test_unos_c(self):
        """concordance_index_ipcw with tau=15 and without."""
        assert uno_c(TIME, EVENT, RISK, horizon=15).value == pytest.approx(0.6360024249860253, abs=1e-13)
        assert uno_c(TIME, EVENT, RISK).value == pytest.approx(0.6441257160451666, abs=1e-13)

    def test_time_dependent_auc(self):
        """cumulative_dynamic_auc."""
        published = [0.6081481481481482, 0.6517930629041739, 0.65032652191716, 0.8390649459783377]
        assert cumulative_auc(TIME, EVENT, RISK, AT) == pytest.approx(published, abs=1e-13)

    def test_brier_score(self):
        """brier_score and integrated_brier_score."""
        gone = 1 - np.exp(-AT[None, :] / 10 * np.exp(0.7 * RISK)[:, None])
        found = brier_score(TIME, EVENT, gone, AT)
        published = [0.17401869457562397, 0.21927625478775647, 0.23212405553593016, 0.13258532850020666]
        assert found.score == pytest.approx(published, abs=1e-13)
        assert found.integrated == pytest.approx(0.20037637539856548, abs=1e-13)


class TestTies:
    def test_unos_c_by_brute_force(self):
        """Months and whole scores: whoever is censored at the month of an event is known to outlast it."""
        rng = np.random.default_rng(3)
        n = 150
        time, event, risk = rng.integers(1, 9, n), rng.random(n) < 0.5, rng.integers(0, 6, n)
        curve = censoring(time, event)
        top = bottom = 0.0
        for i in np.flatnonzero(event & (time < 7)):
            later = (time > time[i]) | ((time == time[i]) & ~event)
            weight = 1 / float(curve.before(time[i])) ** 2
            bottom += weight * later.sum()
            top += weight * ((risk[i] > risk[later]).sum() + 0.5 * (risk[i] == risk[later]).sum())
        found = uno_c(time, event, risk, horizon=7)
        assert found.value == pytest.approx(top / bottom, rel=1e-12)
        assert found.events == (event & (time < 7)).sum()

    def test_a_horizon_at_which_all_are_still_followed(self):
        """Everybody is followed for exactly twelve months: nothing is lost, and survivors count."""
        rng = np.random.default_rng(5)
        month = rng.integers(1, 25, 600)
        time, event = np.minimum(month, 12), (month <= 12).astype(int)
        risk = -month + rng.standard_normal(600) * 8
        dead, alive = risk[event == 1], risk[event == 0]
        plain = (dead[:, None] > alive[None, :]).mean()
        assert cumulative_auc(time, event, risk, 12)[0] == pytest.approx(plain, rel=1e-12)
        chance = np.full((600, 1), 0.3)
        assert brier_score(time, event, chance, 12).score[0] == pytest.approx(((event - 0.3) ** 2).mean(), rel=1e-12)

    def test_reverse_kaplan_meier_by_hand(self):
        """Of 4 at risk at 2, one event leaves first, then 1 of 3 is lost; at 5 nobody is left after the event."""
        curve = censoring([1, 2, 2, 5, 5], [1, 0, 1, 1, 0])
        assert curve.before([1, 2, 3, 5]) == pytest.approx([1, 1, 2 / 3, 2 / 3])
        assert curve.beyond([1, 2, 5]) == pytest.approx([1, 2 / 3, 0])

    def test_censoring_does_not_move_the_figures(self):
        """With a tenth of the follow-up lost at random, weighted figures stay at their value without loss."""
        rng = np.random.default_rng(6)
        n = 20_000
        x = rng.integers(0, 11, n)
        month = np.ceil(rng.exponential(30 * np.exp(0.15 * (x - 5))))
        limit = np.where(rng.random(n) < 0.6, rng.integers(1, 13, n), 12)
        whole = (np.minimum(month, 12), (month <= 12).astype(int))
        seen = (np.minimum(month, limit), (month <= limit).astype(int))
        chance = (1 - np.exp(-12 / 30 * np.exp(-0.15 * (x - 5))))[:, None]
        for measure in (
            lambda time, event: uno_c(time, event, -x).value,
            lambda time, event: cumulative_auc(time, event, -x, 12)[0],
            lambda time, event: brier_score(time, event, chance, 12).score[0],
        ):
            assert measure(*seen) == pytest.approx(measure(*whole), abs=0.008)


class TestSkill:
    def test_knowing_nothing_saves_nothing_and_knowing_the_truth_does(self):
        x, time, event = simulated(4000, 1)
        truth = 1 - np.exp(-AT[None, :] / 10 * np.exp(0.7 * x)[:, None])
        good = brier_score(time, event, truth, AT)
        assert (good.skill > 0.05).all()
        assert good.integrated_skill > 0.1
        average = brier_score(time, event, np.broadcast_to(truth.mean(0), truth.shape), AT)
        assert average.skill == pytest.approx(np.zeros(4), abs=0.01)
        wrong = brier_score(time, event, truth[::-1], AT)
        assert (wrong.skill < 0).all()

    def test_competing_causes(self):
        """Half of the hazard belongs to another cause; the share gone by cause 1 is predicted without bias."""
        rng = np.random.default_rng(8)
        x, time, event = simulated(6000, 2)
        cause = event * rng.integers(1, 3, 6000)
        truth = 0.5 * (1 - np.exp(-AT[None, :] / 10 * np.exp(0.7 * x)[:, None]))
        found = brier_score(time, cause, truth, AT)
        assert (found.skill > 0.01).all()
        assert (brier_score(time, cause, 2 * truth, AT).score > found.score).all()
        assert cumulative_auc(time, cause, truth, AT) == pytest.approx(cumulative_auc(time, cause, x, AT), abs=1e-12)

    def test_faults(self):
        with pytest.raises(ValueError, match=r"must lie in 0..1; times must rise; nobody has an event of cause 1"):
            brier_score([1, 2], [2, 0], [[2, 0], [0, 0]], [3, 1])
        with pytest.raises(ValueError, match="no two customers can be compared"):
            uno_c([1, 2], [0, 1], [1, 2])
        with pytest.raises(ValueError, match="risk must be"):
            cumulative_auc([1, 2], [1, 0], [1, np.nan], [1])


class TestCalibration:
    @pytest.mark.parametrize("spread", [1.0, 0.6, 1.5])
    def test_slope_and_distance_of_predictions_too_close_or_too_far_apart(self, spread):
        """The linear predictor is multiplied; the true slope is its inverse and the true distance is known."""
        x, time, event = simulated(20_000, 0)
        truth, said = (1 - np.exp(-0.8 * np.exp(factor * 0.7 * x)) for factor in (1.0, spread))
        found = calibration(time, event, said, 8.0)
        assert abs(found.slope - 1 / spread) < 3 * found.slope_se
        assert found.ici == pytest.approx(np.abs(truth - said).mean(), abs=0.006)
        assert found.smooth == pytest.approx(truth, abs=0.05)
        assert found.e50 <= found.e90
        assert found.size == pytest.approx(np.full(10, 2000), abs=1)
        tenths = np.array([each.mean() for each in np.array_split(np.sort(truth), 10)])
        assert (np.abs(found.observed - tenths) < 4 * found.observed_se).all()
        assert found.predicted == pytest.approx([each.mean() for each in np.array_split(np.sort(said), 10)], abs=1e-3)

    def test_censoring_cannot_pass_for_survival(self):
        """Early censoring of half of the customers: raw shares would be far too low."""
        rng = np.random.default_rng(4)
        x, time, event = simulated(20_000, 3, follow=16.0)
        said = 1 - np.exp(-0.8 * np.exp(0.7 * x))
        raw = ((event == 1) & (time <= 8)).mean()
        found = calibration(time, event, said, 8.0)
        assert raw < said.mean() - 0.08
        assert found.ici < 0.015
        assert abs(found.slope - 1) < 3 * found.slope_se
        cause = event * rng.integers(1, 3, 20_000)
        halves = calibration(time, cause, said / 2, 8.0)
        assert halves.ici < 0.015
        assert halves.observed == pytest.approx(halves.predicted, abs=0.04)

    def test_tied_predictions_keep_together(self):
        x, time, event = simulated(5000, 5)
        coarse = np.where(x > 0.5, 0.7, 0.4)
        found = calibration(time, event, coarse, 8.0)
        assert found.predicted.tolist() == pytest.approx([0.4, 0.7])
        assert found.size.sum() == 5000

    def test_faults(self):
        with pytest.raises(ValueError, match="all predictions are equal; 1 events by the horizon"):
            calibration([1, 2], [1, 0], [0.5, 0.5], 2)
