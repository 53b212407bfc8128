"""What a score says of everybody in simulated banks, where everybody's answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from rox.core.check import Verdict
from rox.metrics.silence import Silence, silence
from rox.metrics.silence_estimates import CHANGE
from rox.simulate.bank import Bank
from rox.simulate.world import simulate
from rox.validation.measures_tables import of_bank
from rox.validation.worlds import read_world

Row = dict[str, Any]
WAVES = 4
"""Waves taken together, compared with as many before."""


def everybody(bank: Bank, waves: int = WAVES) -> tuple[float, float]:
    """Return the NPS of everybody, answered or not, in the waves before and in those looked at.

    Customers who came before a wave's month and had not left before it, by design weight, once per wave.
    """
    months = np.flatnonzero(bank.invited.any(axis=1))[-2 * waves :]
    opened, gone = bank.customers.opened, bank.exit_month
    sums = []
    for part in (months[:waves], months[waves:]):
        said, held = 0.0, 0.0
        for month in part:
            here = (opened < month) & (gone >= month)
            weight, score = bank.design_weight[here], bank.score[month, here]
            said += float((weight * (100.0 * (score >= 9) - 100.0 * (score <= 6))).sum())
            held += float(weight.sum())
        sums.append(said / held)
    return sums[0], sums[1]


def silences(world: str, *, customers: int, seed: int) -> list[Row]:
    """Estimate the NPS of everybody in one bank, and hold it against the truth.

    Returns:
        One row per estimator and of ``level`` and ``change`` each: ``part``, ``world``, ``seed``, ``what``,
        ``estimator``, ``value``, ``low``, ``high``, ``truth``; and one with what is said besides: ``estimator``
        ``spread`` (lowest to highest limit of the estimates), ``worst_case``, both of ``level``; and one per check that
        did not pass: ``part`` ``doubt``, ``code``.
    """
    bank = simulate(read_world(world).config(customers=customers, seed=seed))
    found = silence(of_bank(bank), "nps", waves=WAVES)
    before, now = everybody(bank)
    where = {"part": "silence", "world": world, "seed": seed}
    rows = list(_estimates(found, where, before, now))
    ends = found.bounds[(found.bounds["metric"] == "nps") & found.bounds["kind"].isin(["spread", "worst_case"])]
    for kind, low, high in zip(ends["kind"], ends["low"], ends["high"], strict=True):
        named = {"what": "level", "estimator": str(kind), "value": (low + high) / 2}
        rows.append(where | named | {"low": float(low), "high": float(high), "truth": now})
    rows += [
        {"part": "doubt", "world": world, "seed": seed, "code": check.code, "demotes": check.verdict is Verdict.DEMOTE}
        for check in found.checks
        if check.verdict is not Verdict.PASS
    ]
    return rows


def _estimates(found: Silence, where: Row, before: float, now: float) -> list[Row]:
    own = found.estimates[found.estimates["metric"] == "nps"]
    rows = []
    for what, period, truth in (("level", found.waves, now), ("change", CHANGE, now - before)):
        for row in own[own["period"] == period].to_dict("records"):
            named = {name: float(row[name]) for name in ("value", "low", "high")}
            rows.append(where | {"what": what, "estimator": str(row["estimator"]), "truth": truth} | named)
    return rows
