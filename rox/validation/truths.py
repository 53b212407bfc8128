"""What is true in one bank, for each question that methods are asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.check import Verdict
from rox.core.effect import Effect
from rox.core.errors import RoxError
from rox.core.estimand import Question
from rox.core.linked import Linked
from rox.simulate.bank import Bank, Intervention
from rox.simulate.funnel import ALL, funnel_truth, open_accounts
from rox.simulate.truth import BANK, SAMPLE, Truth
from rox.simulate.world import simulate

SHIFT, SHIFT_FROM, HORIZON = 0.5, 12, 12
"""Points of latent experience added for good, the month they begin in, and the months after which money is read."""
OWN_MONTHS, RECENT = 3, 12
"""Months before a ticket whose mean is a customer's own money; months whose starters make the mix of a funnel."""


class Target(StrEnum):
    """What an estimate is held against.

    ``SUSTAINED``: money per customer that one more score point earns if it lasts twelve months, for the customers that
    the estimate speaks of. ``GAP``: the same
    comparison as a description makes, had everybody answered every wave. ``HAZARD``: log hazard ratio of a voluntary
    exit per score point. ``ROLLOUT``: gain of a roll-out as a share of each customer's own money, months 6 to 11.
    ``ROLLOUT_MONEY``: the same gain as a share of all customers' money. ``ROLLOUT_FIRST``: as ``ROLLOUT``, of the
    places that started first. ``RECOVERY``: what the closed loop adds to the money of those who become eligible, called
    or not, twelve months after their first ticket, as a share of each customer's own money; ``RECOVERY_CALLED``: per
    customer called. ``FUNNEL``: money per person who starts to open an account that the new form adds in 90 days.
    """

    SUSTAINED = "sustained"
    GAP = "gap"
    HAZARD = "hazard"
    ROLLOUT = "rollout"
    ROLLOUT_MONEY = "rollout_money"
    ROLLOUT_FIRST = "rollout_first"
    RECOVERY = "recovery"
    RECOVERY_CALLED = "recovery_called"
    FUNNEL = "funnel"


ROLLOUTS = frozenset({Target.ROLLOUT, Target.ROLLOUT_MONEY, Target.ROLLOUT_FIRST})
"""Targets that need a bank without the roll-out."""
RECOVERIES = frozenset({Target.RECOVERY, Target.RECOVERY_CALLED})
"""Targets that need a bank without the closed loop."""


_TAKEN_FOR: Mapping[Question, Target] = {
    Question.GAP: Target.SUSTAINED,
    Question.PULSE: Target.SUSTAINED,
    Question.SUSTAINED: Target.SUSTAINED,
    Question.HAZARD: Target.HAZARD,
}
_INITIATIVES: Mapping[str, Target] = {
    "uplift": Target.ROLLOUT,
    "closed_loop": Target.RECOVERY,
    "funnel": Target.FUNNEL,
}
"""What the effect of an initiative is taken for, by its name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truths:
    """The true values in one bank.

    Attributes:
        bank: The bank as methods see it.
        values: By target; ``GAP`` is not among them, it takes a fit (``everybody_answers``).
        rollout: ``Truth.rollout`` by segment, where it was asked for.
        recovery: ``Truth.recovery`` of the whole loop by segment, where it was asked for.
        alike: Values where every customer of the extract counts alike.
        sustained: By segment, what one more score point earns in twelve months as a share of the money there at first.
    """

    bank: Bank
    values: Mapping[Target, float]
    rollout: pd.DataFrame = field(default_factory=pd.DataFrame)
    recovery: pd.DataFrame = field(default_factory=pd.DataFrame)
    alike: Mapping[Target, float] = field(default_factory=dict)
    sustained: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))

    def of(self, target: Target, effect: Effect | None) -> float:
        """Return the true value, for the customers that the estimate speaks of.

        A roll-out's gain has the estimate's mix of segments. What a lasting point earns is restated for the estimate's
        segments and for what their customers hold: an estimate of today's customers is not held against those of
        earlier years, who were fewer and held less. An effect that has one group for everybody counts customers alike,
        as those of the extract do.
        """
        if effect is not None and effect.groups == (EVERYONE,) and target in ROLLOUTS:
            return self.alike.get(target, self.values[target])
        if target in RECOVERIES and effect is not None:
            found = self.recovery.loc[list(effect.groups)]
            gain = found["ratio_gain"].to_numpy(dtype=float)
            called = found["called"].to_numpy(dtype=float) if target is Target.RECOVERY_CALLED else np.ones(gain.size)
            return float((gain / called) @ effect.shares)
        if target is Target.ROLLOUT and effect is not None:
            return float(self.rollout.loc[list(effect.groups), "ratio_gain"].to_numpy() @ effect.shares)
        if target is Target.SUSTAINED and effect is not None and set(effect.groups) <= set(self.sustained.index):
            money = effect.baseline["money"].to_numpy(dtype=float)
            return float(self.sustained[list(effect.groups)].to_numpy() * money @ effect.shares)
        return self.values[target]


def find_truths(bank: Bank, targets: Collection[Target]) -> Truths:
    """Simulate the counterparts of a bank and read off what is true in it.

    Args:
        bank: The bank as configured.
        targets: What is wanted.
    """
    values: dict[Target, float] = {}
    alike: dict[Target, float] = {}
    rollout, recovery, sustained = pd.DataFrame(), pd.DataFrame(), pd.Series(dtype=float)
    if {Target.SUSTAINED, Target.HAZARD} & set(targets):
        better = simulate(bank.config, Intervention(shift=SHIFT, shift_from=SHIFT_FROM))
        shifted = Truth(bank=better, against=bank)
        after = shifted.after(HORIZON)
        values[Target.SUSTAINED] = _row(after)["effect_per_point"]
        sustained = after["effect_per_point"] / _money_at_first(bank)
        values[Target.HAZARD] = log_hazard_per_point(shifted)
    if ROLLOUTS & set(targets):
        refitted = Truth(bank=bank, against=simulate(bank.config, Intervention(rollout=False)))
        rollout = refitted.rollout()
        everyone = _row(rollout)
        values[Target.ROLLOUT] = everyone["ratio_gain"]
        values[Target.ROLLOUT_MONEY] = everyone["effect"] / everyone["money"]
        alike[Target.ROLLOUT] = _row(rollout, SAMPLE)["ratio_gain"]
        if Target.ROLLOUT_FIRST in targets:
            first = refitted.rollout(cohort=0)
            values[Target.ROLLOUT_FIRST] = _row(first)["ratio_gain"]
            alike[Target.ROLLOUT_FIRST] = _row(first, SAMPLE)["ratio_gain"]
    if RECOVERIES & set(targets):
        called = Truth(bank=bank, against=simulate(bank.config, Intervention(recovery=False)))
        recovery = called.recovery(horizon=HORIZON, reference=OWN_MONTHS, among="loop")
        everyone = _row(recovery)
        values[Target.RECOVERY] = everyone["ratio_gain"]
        values[Target.RECOVERY_CALLED] = everyone["ratio_gain"] / everyone["called"]
    if Target.FUNNEL in targets:
        values[Target.FUNNEL] = money_per_starter(bank)
    return Truths(
        bank=bank, values=values, rollout=rollout, recovery=recovery, alike=alike, sustained=sustained.dropna()
    )


def money_per_starter(bank: Bank) -> float:
    """Return the money that the new form adds per person who starts, in the mix of the last twelve months' starters.

    Promotions run as they did while the form was drawn by lot; nobody can see another effect than that.
    """
    made, funnel = open_accounts(bank.config), bank.config.funnel
    recent = made.month >= bank.config.months - RECENT
    counts = np.bincount(made.channel[recent], minlength=len(funnel.channels))
    mix = {channel.name: float(n) for channel, n in zip(funnel.channels, counts / counts.sum(), strict=True)}
    since = made.month[made.tested] - funnel.promotion_start
    promoted = float(((since >= 0) & (since < funnel.promotion_months)).mean()) if since.size else 0.0
    money = [funnel_truth(bank.config, mix=mix, promotion=runs)[["aum_old", "aum_new"]] for runs in (False, True)]
    gains = [float((each["aum_new"] - each["aum_old"])[ALL]) for each in money]
    return (1 - promoted) * gains[0] + promoted * gains[1]


def _money_at_first(bank: Bank) -> pd.Series:
    """Return mean money by segment in the month before the shift."""
    month = SHIFT_FROM - 1
    here = bank.active[month]
    money = pd.Series(bank.aum[month, here].astype(float))
    names = np.array(bank.config.segment_names)[bank.customers.segment[here]]
    means: pd.Series = money.groupby(names).mean()
    return means


def _row(table: pd.DataFrame, name: str = BANK) -> dict[str, float]:
    return {str(column): float(value[name]) for column, value in table.items()}


def log_hazard_per_point(shifted: Truth) -> float:
    """Return the true log hazard ratio of a voluntary exit per score point gained by a sustained shift.

    The simulator multiplies the voluntary hazard by ``exp(−exits.experience · latent points)``. A latent point is worth
    less than a score point near the top of the scale, so both gains are read off the two banks, twelve months after the
    shift began, over the customers still there: dial times latent points gained, over score points gained.
    """
    month = SHIFT_FROM - 1 + HORIZON
    here = shifted.against.active[month]
    gained = {
        name: float(np.mean((getattr(shifted.bank, name)[month] - getattr(shifted.against, name)[month])[here]))
        for name in ("experience", "score")
    }
    return -shifted.bank.config.exits.experience * gained["experience"] / gained["score"]


def beside_truth(effects: Sequence[Effect], truths: Truths) -> pd.DataFrame:
    """Set effects beside the truth that they are taken for.

    Money per score point stands beside what one more point earns, a log hazard ratio beside the true one, an initiative
    beside its true gain.

    Args:
        effects: Effects of one bank; a closed loop's is per eligible customer.
        truths: What is true in it.

    Returns:
        One row per effect: ``estimate``, ``low`` and ``high`` (90%), ``truth``, ``times`` (estimate over truth),
        ``holds_truth``, whether the interval does, ``grade`` and the codes of the checks that ``lowered`` it.

    Raises:
        RoxError: An effect answers a question whose truth is not among these.
    """
    known = [str(each) for each in truths.values]
    if strange := [effect.name for effect in effects if _taken_for(effect) not in truths.values]:
        raise RoxError(f"The truth for {', '.join(strange)} is not known here.", [f"known are {', '.join(known)}"])
    rows = {}
    for effect in effects:
        target = _taken_for(effect)
        assert target is not None
        estimate, truth = float(effect.overall.mean()), truths.of(target, effect)
        low, high = (float(each) for each in np.quantile(effect.overall, [0.05, 0.95]))
        rows[effect.name] = {
            "estimate": estimate,
            "low": low,
            "high": high,
            "truth": truth,
            "times": estimate / truth,
            "holds_truth": low <= truth <= high,
            "grade": str(effect.grade),
            "lowered": " ".join(check.code for check in effect.checks if check.verdict is Verdict.DEMOTE),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _taken_for(effect: Effect) -> Target | None:
    if effect.estimand.question is Question.INITIATIVE:
        return _INITIATIVES.get(effect.name)
    return _TAKEN_FOR.get(effect.estimand.question)


def everybody_answers(bank: Bank, data: Linked) -> Linked:
    """Give every customer of a linked bank the answer they would give in every wave; all else stays as it is.

    A regression on these rows has the sampling error of answering and the choice of who answers taken out.
    """
    frame = data.frame()
    place = np.argsort(bank.customers.identifier)[frame["customer"].to_numpy()]
    month = frame["month"].to_numpy() - _first_month(bank)
    every = bank.config.survey.every
    wave = (month // every) * every - 1
    asked = wave >= np.maximum(bank.customers.opened[place], 0)
    score = np.where(asked, bank.score[np.maximum(wave, 0), place], np.nan)
    rows = frame.assign(score=score.astype(float), score_age=np.where(asked, month - wave, np.nan))
    return replace(data, panel=rows, fetch=lambda held: held.copy())


def _first_month(bank: Bank) -> int:
    return int(bank.config.first_month.astype(int)) + 12 * 1970
