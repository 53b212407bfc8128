"""From a driver to the score to money: a chain of two associations, which says so and wears the worst grade of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import EVERYONE, Effect
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.core.units import Dose

BEST = Grade.D
"""Best grade of a chain: nothing rules out what moves driver, score and money together."""


def driver_chain(
    slopes: pd.DataFrame,
    effect: Effect,
    moves: Mapping[str, float],
    *,
    headroom: float | None = None,
    rng: int | np.random.Generator | None = None,
) -> Effect:
    """Say what moving drivers would do to money, if their slopes and the effect of the score were both causes.

    draws = min(Σ slope·move, headroom) × effect per score point. Valid only if nothing unmeasured moves driver and
    score, or score and money, and the driver reaches money through the score alone; fees and yields fail this by
    construction, since they are money themselves. So the grade is D at best, and never better than the effect's.

    Args:
        slopes: Draws of score points per point of each driver, such as ``drivers(tables).slopes``.
        effect: Money per score point.
        moves: By how many points of its own scale each driver moves.
        headroom: Most by which the mean score can rise, such as the distance to the best branches; None for no limit.
        rng: Seed of the pairing of draws.

    Raises:
        FitError: The effect is not per score point or only compares people; drivers without a slope; nothing moves.

    References:
        Imai, Keele & Tingley 2010, *Psychological Methods* 15(4).
    """
    faults = []
    if effect.estimand.dose is not Dose.SCORE_POINT:
        faults.append(f"{effect.name} is per {effect.estimand.dose}; needed: an effect per score point")
    if effect.estimand.is_descriptive:
        faults.append(f"{effect.name} compares people ({effect.estimand.question}) and says nothing of a change")
    faults += [f"{name}: no such driver; there are {', '.join(slopes.columns)}" for name in moves if name not in slopes]
    if not any(moves.values()):
        faults.append("no driver moves")
    if headroom is not None and not headroom > 0:
        faults.append(f"the headroom is {headroom:g} score points; needed: above 0")
    if faults:
        raise FitError("This chain cannot be made.", faults)
    generator = np.random.default_rng(rng)
    size = len(effect.draws)
    picked = slopes[list(moves)].to_numpy()[generator.integers(0, len(slopes), size)]
    lift = picked @ np.array(list(moves.values()))
    most = np.inf if headroom is None else headroom
    checks = [
        *effect.checks,
        Check(code="ROX-D05", verdict=Verdict.DEMOTE, values={"lift": float(lift.mean())}, to_grade=BEST),
    ]
    if (capped := float((lift > most).mean())) > 0:
        checks.append(Check(code="ROX-D06", verdict=Verdict.NOTE, values={"headroom": most, "share": 100 * capped}))
    said = ", ".join(f"{name}={move:g}" for name, move in moves.items())
    return replace(
        effect,
        name="driver_chain",
        estimand=replace(
            effect.estimand,
            question=Question.INITIATIVE,
            dose=Dose.INITIATIVE,
            treatment=f"drivers moved by {said} points, through the score",
        ),
        draws=np.minimum(lift, most)[:, None] * effect.draws,
        grade=max(grade_after(effect.grade, checks[-2:]), BEST, effect.grade),
        checks=tuple(checks),
        specification=f"driver_chain({said}, headroom={headroom!r}) of {effect.specification}",
        path=None,
        path_months=(),
        tables={},
        shift=None,
    )


def driver_money(
    slopes: pd.DataFrame,
    effect: Effect,
    moves: Mapping[str, float],
    *,
    headroom: float | None = None,
    level: float = 0.90,
    rng: int | np.random.Generator | None = None,
) -> pd.DataFrame:
    """Say for each driver what moving it alone would do to money, by :func:`driver_chain`.

    The rows do not add up: together they are capped by the headroom, and a driver's move may be another's.

    Args:
        slopes: As there.
        effect: As there.
        moves: By how many points of its own scale each driver moves.
        headroom: As there.
        level: Level of the intervals.
        rng: Seed of the pairing of draws, the same for every driver.

    Returns:
        One row per driver: ``driver``, ``move``, ``value`` (mean over all customers), ``low``, ``high``,
        ``p_positive``, ``grade`` (D at best), ``unit``, ``currency`` and ``months`` after the change.

    Raises:
        FitError: As there.
    """
    seed = int(np.random.default_rng(rng).integers(2**31))
    rows = []
    for name, move in moves.items():
        chained = driver_chain(slopes, effect, {name: move}, headroom=headroom, rng=seed)
        whole = chained.summary(level).loc[EVERYONE]
        rows.append([name, move, *whole[["mean", "low", "high", "p_positive"]], str(chained.grade)])
    frame = pd.DataFrame(rows, columns=["driver", "move", "value", "low", "high", "p_positive", "grade"])
    about = effect.estimand
    return frame.assign(unit=str(about.unit), currency=about.currency, months=about.horizon)
