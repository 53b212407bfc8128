"""Recovery of a known truth with the luck taken out: two banks that share it, one with the roll-out and one without."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from rox.core.linked import Linked
from rox.models.closed_loop import ClosedLoop
from rox.models.population import population
from rox.models.rollout import rollout
from rox.models.rollout_att import rollout_att
from rox.simulate import Bank, Intervention, simulate
from rox.validation import Target, find_truths, link_bank, read_world

pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@cache
def linked(name: str, seed: int) -> tuple[Bank, Linked]:
    """A bank of a world and what is linked of it."""
    bank = simulate(read_world(name).config(customers=8_000, seed=seed))
    return bank, link_bank(bank)


def gain(data: Linked) -> tuple[float, tuple[str, ...], np.ndarray]:
    """The group-time effect of a roll-out before pooling, by the company's mix of segments."""
    cohort = rollout(data, initiative=None, base=3, history=12, cap=3.0)
    att = rollout_att(cohort, cohort.means(cohort.ratio), window=(6, 11))
    shares = population(cohort.panel, cohort.groups).shares
    return float(att.estimate @ shares), cohort.groups, shares


def test_the_effect_of_the_closed_loop_is_found_but_for_luck():
    """The same lot where calls help nobody shows the luck of the arms; the rest must be the effect."""
    found, true = [], []
    model = ClosedLoop(draws=400)
    for seed in (1, 2):
        bank, data = linked("cmb", seed)
        effect = model.fit(data, rng=1)
        placebo = model.fit(link_bank(simulate(bank.config, Intervention(recovery=False))), rng=1)
        raw, luck = (float(each.tables["pooling"].loc["all", "raw"]) for each in (effect, placebo))
        found.append(raw - luck)
        true.append(find_truths(bank, [Target.RECOVERY]).of(Target.RECOVERY, effect))
    assert np.mean(found) == pytest.approx(np.mean(true), rel=0.15)


@pytest.mark.parametrize("name", ["cmb", "hard"])
def test_the_effect_of_a_rollout_is_found_but_for_luck(name):
    """What is estimated without any roll-out at the same places is luck and selection; the rest must be the effect."""
    found, true = [], []
    for seed in (1, 2):
        bank, data = linked(name, seed)
        placebo = replace(link_bank(simulate(bank.config, Intervention(rollout=False))), starts=data.starts)
        estimate, groups, shares = gain(data)
        found.append(estimate - gain(placebo)[0])
        table = find_truths(bank, [Target.ROLLOUT]).rollout
        true.append(float(table.loc[list(groups), "ratio_gain"].to_numpy() @ shares))
    assert np.mean(found) == pytest.approx(np.mean(true), rel=0.10)
