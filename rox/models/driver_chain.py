"""From a driver to the score to money: a chain of two associations, which says so and wears the worst grade of both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    higher_is_better: bool = True,
    money: Collection[str] = (),
    checks: Sequence[Check] = (),
    rng: int | np.random.Generator | None = None,
) -> Effect:
    """Say what moving drivers would do to money, if their slopes and the effect of the score were both causes.

    draws = min(Σ slope·move, headroom) × effect per score point; where lower scores are better, max(Σ slope·move,
    −headroom). Valid only if nothing unmeasured moves driver and
    score, or score and money, and the driver reaches money through the score alone; fees and yields fail this by
    construction, since they are money themselves, and are refused. So the grade is D at best, and never better than the
    effect's. How strong an unmeasured cause of score and money would have to be to undo the chain (the ρ of Imai, Keele
    & Tingley) is not told: it needs the residuals of both links among the same customers, and the draws of two separate
    estimates do not hold them. An effect of the driver itself from an experiment or a roll-out comes before any chain.

    Args:
        slopes: Draws of score points per point of each driver, such as ``drivers(tables).slopes``.
        effect: Money per score point.
        moves: By how many points of its own scale each driver moves.
        headroom: Most by which the mean score can improve: ``drivers(tables).headroom``, the distance to the best
            branches, or what the score did rise by when the drivers moved; None for no limit.
        higher_is_better: Whether higher scores are better ones; else the score improves as it falls.
        money: Drivers that are money themselves, ``is_money`` in the study.
        checks: What was said of the slopes, ``drivers(tables).checks``; the chain carries them and what they cost.
        rng: Seed of the pairing of draws.

    Raises:
        FitError: The effect is not per score point or only compares people; drivers without a slope, or that are
            money themselves; nothing moves.

    References:
        Imai, Keele & Tingley 2010, *Psychological Methods* 15(4).
    """
    faults = []
    if effect.estimand.dose is not Dose.SCORE_POINT:
        faults.append(f"{effect.name} is per {effect.estimand.dose}; needed: an effect per score point")
    if effect.estimand.is_descriptive:
        faults.append(f"{effect.name} compares people ({effect.estimand.question}) and says nothing of a change")
    faults += [f"{name}: no such driver; there are {', '.join(slopes.columns)}" for name in moves if name not in slopes]
    faults += [
        f"{name}: is money itself, so it moves money without the score; take an effect of its own"
        for name in moves
        if name in money
    ]
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
    most, sign = np.inf if headroom is None else headroom, 1.0 if higher_is_better else -1.0
    own = [
        *checks,
        Check(code="ROX-D05", verdict=Verdict.DEMOTE, values={"lift": float(lift.mean())}, to_grade=BEST),
    ]
    if (capped := float((sign * lift > most).mean())) > 0:
        own.append(Check(code="ROX-D06", verdict=Verdict.NOTE, values={"headroom": most, "share": 100 * capped}))
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
        draws=sign * np.minimum(sign * lift, most)[:, None] * effect.draws,
        grade=max(grade_after(effect.grade, own), BEST, effect.grade),
        checks=(*effect.checks, *own),
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
    money: Collection[str] = (),
    checks: Sequence[Check] = (),
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
        money: As there; such drivers have a row without numbers.
        checks: As there.
        level: Level of the intervals.
        rng: Seed of the pairing of draws, the same for every driver.

    Returns:
        One row per driver: ``driver``, ``move``, ``value`` (mean over all customers), ``low``, ``high``,
        ``p_positive``, ``grade`` (D at best, E for money itself), ``unit``, ``currency`` and ``months`` after the
        change.

    Raises:
        FitError: As there.
    """
    seed = int(np.random.default_rng(rng).integers(2**31))
    rows = []
    for name, move in moves.items():
        if name in money:
            rows.append([name, move, *[float("nan")] * 4, str(Grade.E)])
            continue
        chained = driver_chain(slopes, effect, {name: move}, headroom=headroom, checks=checks, rng=seed)
        whole = chained.summary(level).loc[EVERYONE]
        rows.append([name, move, *whole[["mean", "low", "high", "p_positive"]], str(chained.grade)])
    frame = pd.DataFrame(rows, columns=["driver", "move", "value", "low", "high", "p_positive", "grade"])
    about = effect.estimand
    return frame.assign(unit=str(about.unit), currency=about.currency, months=about.horizon)
