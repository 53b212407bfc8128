"""Where an estimator must fail, its alarm must be raised; where no alarm can see, no causal word may be used.

Small banks; ``make validation`` computes the full figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

import rox
from rox.core.check import Verdict
from rox.core.linked import Linked
from rox.models.parallel_trends import assignment_check, checks_of_leads
from rox.models.population import population
from rox.models.rollout import rollout
from rox.models.rollout_att import rollout_att
from rox.simulate import simulate
from rox.validation import Target, Truths, find_truths, link_bank, read_world
from rox.validation.scoreboard import BADLY, ENOUGH

pytestmark = pytest.mark.slow
SEEDS = {"hard": (1, 2, 3, 4), "cmb/dip": (1, 2, 3), "cmb/trend": (1, 2, 3), "cmb": (1, 2, 3, 4)}
CUSTOMERS = 5_000
ASKED = (Target.SUSTAINED, Target.HAZARD, Target.ROLLOUT)


@cache
def tried(name: str, seed: int) -> tuple[Linked, Truths]:
    """A linked bank of a world with its truths."""
    world = read_world(name)
    bank = simulate(world.config(customers=CUSTOMERS, seed=seed))
    return link_bank(bank, assigned=world.assigned(seed)), find_truths(bank, ASKED)


def banks(name: str) -> Iterator[tuple[Linked, Truths]]:
    """Banks of a world, made when they are asked for."""
    return (tried(name, seed) for seed in SEEDS[name])


def is_wrong(estimate: float, truth: float) -> bool:
    return abs(estimate - truth) > BADLY * abs(truth)


@pytest.mark.thorough
@pytest.mark.parametrize("world", ["hard"])
def test_a_gap_taken_for_an_effect_is_called_out(world):
    raised = []
    for linked, truths in banks(world):
        effect = rox.ScoreGap(draws=400).fit(linked, rng=1)
        if is_wrong(effect.overall.mean(), truths.of(Target.SUSTAINED, effect)):
            raised.append(any(c.code == "ROX-A05" and c.verdict is Verdict.DEMOTE for c in effect.checks))
        assert effect.estimand.is_descriptive
    assert len(raised) >= 3
    assert np.mean(raised) >= ENOUGH


@pytest.mark.parametrize("world", ["cmb/dip", "cmb/trend", pytest.param("hard", marks=pytest.mark.thorough)])
def test_a_rollout_whose_places_were_chosen_loses_its_grade_when_it_is_wrong(world):
    lowered = []
    for linked, truths in banks(world):
        cohort = rollout(linked, initiative=None, base=3, history=12, cap=3.0)
        att = rollout_att(cohort, cohort.means(cohort.ratio), window=(6, 11))
        shares = population(cohort.panel, cohort.groups).shares
        truth = truths.rollout.loc[list(cohort.groups), "ratio_gain"].to_numpy() @ shares
        leads = checks_of_leads(att, leads=6)
        if is_wrong(float(att.estimate @ shares), float(truth)):
            checks = (*leads, assignment_check(cohort, leads))
            lowered.append(any(each.verdict is Verdict.DEMOTE for each in checks))
    assert lowered
    assert np.mean(lowered) >= ENOUGH


@pytest.mark.parametrize("world", ["cmb"])
@pytest.mark.parametrize(
    ("model", "target"),
    [(rox.PanelFE(draws=400), Target.SUSTAINED), (rox.ChurnCox(draws=400), Target.HAZARD)],
    ids=["panel", "churn"],
)
def test_what_no_alarm_can_see_is_never_called_a_cause(model, target, world):
    wrong = False
    for linked, truths in banks(world):
        effect = model.fit(linked, rng=1)
        assert not effect.grade.is_causal
        if wrong := is_wrong(effect.overall.mean(), truths.of(target, effect)):
            break
    assert wrong
