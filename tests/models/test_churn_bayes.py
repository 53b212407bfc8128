"""Leaving by segment, pooled: a calibrated posterior, and the plain fit where there is nothing to pool."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rox.core.errors import FitError
from rox.models import pooled_hazard as priors
from rox.models.churn_bayes import ChurnBayes
from rox.models.churn_hazard import ChurnHazard
from rox.models.pooled_hazard import pooled_hazard
from rox.numerics.absorbed_hazard import absorbed_hazard
from tests.models.conftest import check, leaving_panel, linked_from


def tables(ratios, *, months: float, seed: int, rate: float = 0.02):
    """Cells of segments with known ratios at five scores: score, months, exits, segment."""
    rng = np.random.default_rng(seed)
    score = np.tile(np.arange(-2.0, 3.0), len(ratios))
    segment = np.repeat([f"s{place}" for place in range(len(ratios))], 5)
    hazard = rate * np.exp(np.repeat(ratios, 5) * score)
    n = np.full(score.size, months)
    return score, n, rng.binomial(n.astype(int), -np.expm1(-hazard)).astype(float), segment


def test_one_segment_is_the_fit_without_pooling():
    score, n, d, segment = tables([-0.3], months=4000, seed=1)
    found = pooled_hazard(score, n, d, segment, draws=1000, chains=2, rng=1)
    plain = absorbed_hazard(segment, score, n, d)
    assert found.ratio.mean() == pytest.approx(plain.coefficient[0], abs=0.3 * plain.se[0])
    assert found.ratio.std() == pytest.approx(plain.se[0], rel=0.15)
    assert (found.between == 0).all()


@pytest.mark.slow
class TestPooling:
    def test_segments_with_few_exits_are_drawn_to_the_others(self):
        score, n, d, segment = tables([-0.3] * 6, months=3000, seed=2)
        small = segment == "s0"
        n, d = np.where(small, 60.0, n), np.where(small, [0.0, 0, 1, 3, 4] * 6, d)
        found = pooled_hazard(score, n, d, segment, draws=1000, chains=4, rng=1)
        alone = absorbed_hazard(segment[small], score[small], n[small], d[small])
        assert alone.coefficient[0] > 0.3
        assert found.ratio[:, 0].mean() < 0.0
        assert found.ratio[:, 0].std() > 1.5 * found.ratio[:, 1].std()
        assert found.sampled.divergences == 0

    @pytest.mark.thorough
    def test_the_posterior_is_calibrated(self):
        """Simulation-based calibration (Talts et al. 2018): 80 data sets from the prior, fitted side by side."""
        rng, sets, rate = np.random.default_rng(5), 80, 0.03
        mean = priors.MEAN_SD * rng.standard_normal(sets)
        between = np.abs(priors.BETWEEN_SD * rng.standard_normal(sets))
        family = np.repeat(np.arange(sets), 2)
        ratio = mean[family] + between[family] * rng.standard_normal(family.size)
        level = np.log(rate) + priors.LEVEL_SD * rng.standard_normal(family.size)
        score, segment = np.tile([-1.5, -0.5, 0.5, 1.5], family.size), np.repeat(np.arange(family.size), 4)
        hazard = np.exp(np.minimum(level[segment] + ratio[segment] * score, 5))
        exits = rng.binomial(150, -np.expm1(-hazard)).astype(float)
        found = pooled_hazard(
            score,
            np.full(score.size, 150.0),
            exits,
            segment,
            family=family[segment],
            rate=rate,
            draws=800,
            tune=600,
            chains=2,
            rng=1,
        )
        for drawn, truth in ((found.mean, mean), (found.between, between), (found.ratio[:, ::2], ratio[::2])):
            rank = (drawn[::10] < truth).mean(axis=0)
            counts = np.histogram(rank, 6, (0, 1 + 1e-9))[0]
            assert stats.chisquare(counts).pvalue > 0.005
            assert stats.kstest(rank, "uniform").pvalue > 0.005

    def test_places_and_other_regressors_are_found(self):
        rng = np.random.default_rng(3)
        place = np.repeat(np.arange(12), 40)
        score = np.tile(np.arange(-2.0, 3.0), 96)
        kind = np.tile([0.0, 1.0], 240)
        own = 0.5 * rng.standard_normal(12)
        hazard = 0.02 * np.exp(-0.3 * score + own[place] + 0.4 * kind)
        n = np.full(480, 80)
        d = rng.binomial(n, -np.expm1(-hazard)).astype(float)
        found = pooled_hazard(score, n, d, np.repeat("all", 480), place=place, others=kind, chains=2, rng=1)
        assert abs(found.ratio.mean() + 0.3) < 4 * found.ratio.std()
        assert 0.25 < found.between_places.mean() < 0.9

    @pytest.mark.thorough
    def test_agrees_with_the_hazard_model_on_a_panel(self):
        data = linked_from(leaving_panel(2000, 18, seed=2, log_ratio=-0.2), controls=("kind",))
        effect = ChurnBayes(chains=2).fit(data, rng=1)
        plain = ChurnHazard(style="ignored").fit(data, rng=1)
        apart = abs(effect.overall.mean() - plain.overall.mean())
        assert apart < 0.5 * plain.overall.std()
        assert effect.groups == plain.groups
        assert effect.estimand == plain.estimand
        assert effect.draws[:, 0].std() > 0.8 * plain.overall.std()
        assert np.corrcoef(effect.draws.T)[0, 1] < 0.999
        assert check(effect, "ROX-B03").values["divergences"] == 0
        assert all(each.sentence(language) for each in effect.checks for language in ("en", "zh"))


def test_faults_are_said():
    score, n, d, segment = tables([-0.3, -0.2], months=500, seed=1)
    with pytest.raises(ValueError, match="events are above at_risk"):
        pooled_hazard(score, n, n + 1, segment)
    with pytest.raises(ValueError, match="in two families"):
        pooled_hazard(score, n, d, segment, family=np.arange(10))
    frame = leaving_panel(500, 20, seed=1, log_ratio=-0.2)
    with pytest.raises(FitError, match="0 customers with a known score"):
        ChurnBayes().fit(linked_from(frame.assign(voluntary=False)), rng=1)
