"""Recovery of a known truth with the luck taken out: two banks that share it, one with the roll-out and one without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rox.core.linked import Linked
from rox.models.population import population
from rox.models.rollout import rollout
from rox.models.rollout_att import rollout_att
from rox.simulate import Intervention, simulate
from rox.validation import Target, find_truths, link_bank, read_world

pytestmark = pytest.mark.slow


def gain(data: Linked) -> tuple[float, tuple[str, ...], np.ndarray]:
    """The group-time effect of a roll-out before pooling, by the company's mix of segments."""
    cohort = rollout(data, initiative=None, base=3, history=12, cap=3.0)
    att = rollout_att(cohort, cohort.means(cohort.ratio), window=(6, 11))
    shares = population(cohort.panel, cohort.groups).shares
    return float(att.estimate @ shares), cohort.groups, shares


@pytest.mark.parametrize("name", ["easy", "cmb", "hard"])
def test_the_effect_of_a_rollout_is_found_but_for_luck(name):
    """What is estimated without any roll-out at the same places is luck and selection; the rest must be the effect."""
    found, true = [], []
    for seed in (1, 2, 3):
        config = read_world(name).config(customers=8_000, seed=seed)
        bank = simulate(config)
        data = link_bank(bank)
        placebo = replace(link_bank(simulate(config, Intervention(rollout=False))), starts=data.starts)
        estimate, groups, shares = gain(data)
        found.append(estimate - gain(placebo)[0])
        table = find_truths(bank, [Target.ROLLOUT]).rollout
        true.append(float(table.loc[list(groups), "ratio_gain"].to_numpy() @ shares))
    assert np.mean(found) == pytest.approx(np.mean(true), rel=0.10)
