"""What a design can detect, and how wrong its significant results would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.placebo_rollouts import ALL, DETECTABLE, LEVEL, MONEY, SCORE, PlaceboRollouts, placebo_rollouts
from rox.models.quiet_months import QuietCohort, QuietMonths
from rox.planning.design import Design, Plan, split

SHARES = (1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6)
"""Shares of the places that start, for the curve."""
MOST_STARTS = 3
GAP = 6
"""Months between starts where the plan has one start only."""


@dataclass(frozen=True)
class DesignErrors:
    """How a test of a true effect goes.

    Attributes:
        power: Probability that the test finds it.
        exaggeration: How many times its size a significant estimate is on average (type M).
        wrong_sign: Probability that a significant estimate has the wrong sign (type S).
    """

    power: float
    exaggeration: float
    wrong_sign: float


def design_errors(effect: float, se: float, *, level: float = LEVEL) -> DesignErrors:
    """Return power and the errors of significant results, for a normal estimate (Gelman & Carlin 2014).

    With λ = |effect|/se and z the critical value, power = Φ(λ − z) + Φ(−λ − z), the wrong sign has probability
    Φ(−λ − z)/power, and the mean size of significant estimates is the sum of the two tails' partial means (Lu, Qiu &
    Deng 2019).

    Args:
        effect: True effect, not zero.
        se: Standard error, in the same unit, above zero.
        level: Of the two-sided test.

    Raises:
        FitError: An effect of zero, or a standard error that is not above zero.
    """
    if not (np.isfinite(effect) and effect != 0 and np.isfinite(se) and se > 0):
        raise FitError(
            "The errors of a design need an effect and a standard error.",
            [f"effect is {effect:g} and se {se:g}; needed: an effect other than 0 and an error above 0"],
        )
    ratio, z = abs(effect) / se, float(stats.norm.ppf(1 - level / 2))
    right, wrong = float(stats.norm.sf(z - ratio)), float(stats.norm.sf(z + ratio))
    size = ratio * (right - wrong) + float(stats.norm.pdf(z - ratio) + stats.norm.pdf(z + ratio))
    power = right + wrong
    return DesignErrors(power=power, exaggeration=size / (ratio * power), wrong_sign=wrong / power)


def power_of(placebos: PlaceboRollouts, plan: Plan) -> pd.DataFrame:
    """Add to the placebos' table what is assumed and what it would come to.

    Returns:
        The rows of :meth:`rox.models.placebo_rollouts.PlaceboRollouts.table` with ``assumed``; ``seen``, the mean by
        which the estimator shows the assumed effect (the cap takes a part); ``expected`` power, ``exaggeration`` and
        ``wrong_sign`` of that; ``per_customer`` and ``in_total``, the detectable effect in the outcome's money, of a
        segment's customers or, in row ``money``, of all. Of customers who count equally (``all``) there is no sum of
        money, since the same share means more money for the rich.
    """
    base = placebos.population.baseline
    people = {str(group): float(count) for group, count in base["customers"].items()}
    held = {str(group): people[str(group)] * float(money) for group, money in base["money"].fillna(0.0).items()}
    people[MONEY], held[MONEY] = sum(people.values()), sum(held.values())
    rows = {
        group: row | _assumed(group, row, plan) | _in_money(row["detectable"], people.get(group), held.get(group))
        for group, row in placebos.rows().items()
    }
    return pd.DataFrame(rows.values(), index=pd.Index(rows, name="group"))


def row_of(table: pd.DataFrame, group: str) -> dict[str, float]:
    """Return one row of a table by column."""
    return {str(name): float(value) for name, value in table.loc[[group]].iloc[0].items()}


def _assumed(group: str, row: Mapping[str, float], plan: Plan) -> dict[str, float]:
    missing = float("nan")
    points = missing if plan.score_effect is None else plan.score_effect
    assumed, seen = (points, points) if group == SCORE else (plan.effect, row["found"] - row["mean"])
    found = {"assumed": assumed, "seen": seen, "expected": missing, "exaggeration": missing, "wrong_sign": missing}
    if np.isfinite(seen) and seen != 0 and row["se"] > 0:
        errors = design_errors(seen, row["se"])
        found |= {"expected": errors.power, "exaggeration": errors.exaggeration, "wrong_sign": errors.wrong_sign}
    return found


def _in_money(detectable: float, people: float | None, held: float | None) -> dict[str, float]:
    total = float("nan") if held is None else detectable * held
    return {"per_customer": total / people if people else float("nan"), "in_total": total}


def curves_of(
    data: Linked,
    design: Design,
    plan: Plan,
    placebos: PlaceboRollouts,
    cohorts: tuple[QuietCohort, ...],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Try other numbers of places, of starts and of months.

    Every point is a design of its own, replayed with placebo roll-outs; none is scaled from another. All points share
    their luck, so that they can be compared.

    Returns:
        One row per design tried: ``kind`` (``places``, ``starts``, ``last_month``), ``value``, ``se`` and ``se_mc`` of
        the effect on all customers, ``detectable`` and ``power`` of the assumed effect.
    """
    quiet, seed = placebos.quiet, int(rng.integers(2**32))
    tried = [
        *(("places", n, split(n, len(design.sizes)), design.dates, quiet) for n in _numbers(design)),
        *(("starts", k, sizes, dates, replace(quiet, laid_over=k > 1)) for k, sizes, dates in _starts(design)),
        *(
            ("last_month", last, design.sizes, design.dates, replace(quiet, window=(quiet.window[0], last)))
            for last in _last_months(quiet.window)
        ),
    ]
    rows = [
        {"kind": kind, "value": value}
        | _tried(data, plan, placebos, cohorts, seed, sizes=sizes, dates=dates, months=months)
        for kind, value, sizes, dates, months in tried
    ]
    return pd.DataFrame(rows, columns=["kind", "value", "se", "se_mc", "detectable", "power"])


def _tried(
    data: Linked,
    plan: Plan,
    placebos: PlaceboRollouts,
    cohorts: tuple[QuietCohort, ...],
    seed: int,
    *,
    sizes: tuple[int, ...],
    dates: tuple[int, ...],
    months: QuietMonths,
) -> dict[str, float]:
    """Replay one other design; numbers are missing where most draws leave a segment with nobody to compare."""
    try:
        found = placebo_rollouts(
            data,
            places=sizes,
            dates=dates,
            window=months.window,
            pool=placebos.pool,
            replications=max(plan.replications // 2, 20),
            rng=seed,
            initiative_effect=plan.effect,
            scores=False,
            cohorts=cohorts,
            quiet=months,
            population=placebos.population,
        )
    except FitError:
        return dict.fromkeys(("se", "se_mc", "detectable", "power"), float("nan"))
    row = found.rows()[ALL]
    seen = row["found"] - row["mean"]
    power = design_errors(seen, row["se"]).power if row["se"] > 0 and seen != 0 else float("nan")
    return {"se": row["se"], "se_mc": row["se_mc"], "detectable": DETECTABLE * row["se"], "power": power}


def _numbers(design: Design) -> list[int]:
    least, most = 2 * len(design.sizes), design.pool - 2
    return sorted({n for share in SHARES if least <= (n := round(share * design.pool)) <= most})


def _starts(design: Design) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """List numbers of starts of the same places, at the plan's distance, laid over one another to be comparable."""
    gap = design.dates[1] if len(design.dates) > 1 else GAP
    planned = sum(design.sizes)
    numbers = range(1, max(MOST_STARTS, len(design.sizes)) + 1)
    return [
        (k, split(planned, k), tuple(gap * each for each in range(k)))
        for k in numbers
        if 2 * k <= planned and planned < design.pool
    ]


def _last_months(window: tuple[int, int]) -> list[int]:
    return sorted({round(each) for each in np.linspace(window[0], window[1], 4)})
