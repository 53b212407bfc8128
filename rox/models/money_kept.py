"""From a hazard ratio to customers, months and money kept: the g-formula over the customers of the last month."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.check import Check, Verdict, grade_after
from rox.core.derived import Ahead, Bins, Maker
from rox.core.effect import Effect
from rox.core.errors import FitError, UnitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, Step
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models.answers import outcome_unit
from rox.models.hazard_cells import people_of, segment_of, usable_census
from rox.models.phrases import amount
from rox.models.population import Population
from rox.numerics.absorbed_hazard import absorbed_hazard
from rox.numerics.grouped import dummies
from rox.numerics.retained import Retained, retained

Floats = NDArray[np.float64]

MONEY_EDGES = (0.01, 0.1, 0.3, 0.7, 1.5, 4.0)
"""Bounds of the bins of money, relative to the mean of its segment."""
TENURE_EDGES = (0.0, 6.0, 12.0, 24.0, 48.0, 96.0)
"""Bounds of the bands of months since opening; an unknown opening is in the first."""
FEWEST_EXITS = 10
"""Exits of a bin; those with fewer are joined with the next."""
NEVER = -60.0
"""Log hazard where nobody has left."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Strata:
    """Customers of the last month by pattern, and how fast patterns leave. p = patterns, k = buckets.

    Attributes:
        patterns: ``segment``, ``band``, ``level`` of money, ``customers``, ``money`` per customer.
        own: Shape (p,): log monthly hazard of leaving by own choice.
        own_replicates: Shape (k, p).
        other: Shape (p,), of leaving otherwise.
        other_replicates: Shape (k, p).
        exits: By own choice, that the hazards rest on.
        months: Customer-months that they rest on.
    """

    patterns: pd.DataFrame
    own: Floats
    own_replicates: Floats
    other: Floats
    other_replicates: Floats
    exits: int
    months: int


def money_kept(
    effect: Effect,
    data: Linked,
    *,
    points: float = 1.0,
    horizon: int = 12,
    rng: int | np.random.Generator | None = None,
) -> Effect:
    """Turn a log hazard ratio per score point into the money that a lasting improvement keeps.

    Estimand: money per customer of the last month that is still there after ``horizon`` months because its owner did
    not leave, per score point of a lasting improvement of ``points`` points. Assumes that the ratio holds for all
    customers and that hazards, and the money of those who stay, remain as they are: growth of money belongs to other
    effects. A causal reading needs what the ratio needs.

    Monthly hazards of leaving by own choice and otherwise are fitted by segment, band of tenure and bin of the money
    held a month before, from cells; each customer's survival S = exp(−Σ(H₁·e^{βδ} + H₂)) is averaged over the customers
    with the money they hold, since poorer customers leave sooner (Suissa 2008; Hernán & Robins 2020, chapter 17). Draws
    are joint: the effect's own of the ratio, and of the hazards by the bucket jackknife.

    Args:
        effect: Log hazard ratio of a voluntary exit per score point, such as ``ChurnHazard`` or ``ChurnCox`` gives.
        data: The linked panel whose outcome is the money.
        points: Improvement in score points; the answer is per point, and differs little with its size.
        horizon: Months after the improvement.
        rng: For the draws of the hazards.

    Returns:
        An effect in money per customer and score point; the table ``kept`` has customers, months and money kept by the
        whole improvement, with 90% intervals.

    Raises:
        UnitError: The effect is no log hazard ratio per score point, or the outcome no money.
        FitError: Choices out of range, or segments that the effect does not know.
    """
    _require(effect, data, points, horizon)
    generator = np.random.default_rng(rng)
    census = usable_census(data)
    strata = _strata(data, census.last, effect)
    own = _drawn(strata.own, strata.own_replicates, len(effect.draws), generator)
    other = _drawn(strata.other, strata.other_replicates, len(effect.draws), generator)
    groups = tuple(sorted(strata.patterns["segment"].unique()))
    found = retained(
        np.column_stack([effect.draws[:, _column(effect, name)] for name in groups]),
        np.ones((len(groups), horizon)),
        np.full(horizon, points),
        hazard_other=np.ones((len(groups), horizon)),
        segment=strata.patterns["segment"],
        customers=strata.patterns["customers"],
        predictor=own,
        predictor_other=other,
        money=strata.patterns["money"],
    )
    people = people_of(census, groups)
    per_customer = found.money_retained / found.customers[None, :, None] / points
    path = np.concatenate([np.zeros((*per_customer.shape[:2], 1)), per_customer], axis=2)
    checks = (*effect.checks, _kept_hold(found, data))
    return Effect(
        name="money_kept",
        estimand=_estimand(data, people, horizon),
        groups=groups,
        draws=per_customer[:, :, -1],
        shares=people.shares,
        baseline=people.baseline,
        grade=max(effect.grade, grade_after(effect.grade, checks[len(effect.checks) :])),
        checks=checks,
        specification=f"money_kept({effect.specification}, points={points!r}, horizon={horizon!r})",
        trail=(*effect.trail, _step(strata)),
        fingerprint=data.fingerprint,
        counts={**effect.counts, "patterns": len(strata.patterns)},
        path=path,
        path_months=tuple(range(horizon + 1)),
        tables={"kept": kept_table(found)},
    )


def kept_table(found: Retained) -> pd.DataFrame:
    """Lay out what a shift keeps by the last period, by segment and for all, each with a 90% interval.

    Columns, in pairs of mean and ``_low``, ``_high``: ``leaving`` (share who would have left by own choice),
    ``customers_kept``, ``months_kept`` per customer (area between the survival curves), ``money_kept`` (each customer's
    own money), ``money_by_heads`` (customers kept times the mean of the segment, which overstates where the poor leave
    sooner), and ``money_of_kept`` per customer kept.
    """
    kept, money = found.customers_retained[:, :, -1], found.money_retained[:, :, -1]
    mean = found.money[:, -1] / found.customers
    columns = {
        "leaving": found.left_without[:, :, -1],
        "customers_kept": kept,
        "months_kept": found.months_gained[:, :, -1],
        "money_kept": money,
        "money_by_heads": kept * mean,
    }
    share = found.customers / found.customers.sum()
    rows: dict[str, dict[str, float]] = {}
    for place, name in enumerate(map(str, found.segments)):
        drawn = {column: np.broadcast_to(values[:, place], len(kept)) for column, values in columns.items()}
        rows[name] = {"customers": float(found.customers[place])} | _row(drawn)
    if len(found.segments) > 1:
        whole = {
            column: values @ share if column in ("leaving", "months_kept") else values.sum(axis=1)
            for column, values in columns.items()
        }
        whole["money_by_heads"] = kept.sum(axis=1) * found.money[:, -1].sum() / found.customers.sum()
        rows[EVERYONE] = {"customers": float(found.customers.sum())} | _row(whole)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")


def _row(drawn: dict[str, Floats]) -> dict[str, float]:
    row: dict[str, float] = {}
    for name, values in drawn.items():
        low, high = np.quantile(values, [0.05, 0.95])
        row |= {name: float(values.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}
    customers = row["customers_kept"]
    row["money_of_kept"] = row["money_kept"] / customers if customers else float("nan")
    return row


def _require(effect: Effect, data: Linked, points: float, horizon: int) -> None:
    estimand = effect.estimand
    units = []
    if estimand.unit is not Unit.LOG_HAZARD or estimand.dose is not Dose.SCORE_POINT:
        units.append(
            f"{effect.name} is in {estimand.unit} per {estimand.dose}; needed: a log hazard ratio per score point, "
            "such as ChurnHazard gives"
        )
    if outcome_unit(data)[0] is not Unit.MONEY_PER_CUSTOMER:
        units.append(f"the outcome {data.outcome} is a count; link an outcome in money")
    if units:
        raise UnitError("These cannot be turned into money kept.", units)
    faults = []
    if not (np.isfinite(points) and points != 0):
        faults.append(f"points is {points}; needed: a number of score points, not 0")
    if horizon < 1:
        faults.append(f"horizon is {horizon}; at least 1 month is needed")
    if faults:
        raise FitError("These choices do not fit.", faults)


def _column(effect: Effect, segment: str) -> int:
    return effect.groups.index(segment) if segment in effect.groups else 0


def _strata(data: Linked, last: int, effect: Effect) -> _Strata:
    """Count the customers of the last month, fit how fast patterns leave, and put both together.

    Raises:
        FitError: The effect speaks of other segments, or nobody has left.
    """
    past, now = _counted(data, last, earlier=True), _counted(data, last, earlier=False)
    if effect.groups != (EVERYONE,):
        now = now[now["segment"].isin(effect.groups)]
    if now.empty:
        raise FitError(
            "The effect's segments are not in the panel.", [f"the effect has {', '.join(effect.groups)}; link its data"]
        )
    keys = ["segment", "band", "level"]
    patterns = now.groupby(keys, as_index=False)[["weights", "held"]].sum()
    patterns = patterns.rename(columns={"weights": "customers", "held": "money"})
    patterns["money"] = patterns["money"] / patterns["customers"]
    if not past["left"].sum() > 0:
        raise FitError("Nobody has left by own choice, so nothing can be kept.", ["link a study with exits"])
    own = _log_hazard(past, patterns, "left")
    other = _log_hazard(past, patterns, "other")
    return _Strata(
        patterns=patterns,
        own=own[0],
        own_replicates=own[1],
        other=other[0],
        other_replicates=other[1],
        exits=int(past["left"].sum()),
        months=int(past["n"].sum()),
    )


def _counted(data: Linked, last: int, *, earlier: bool) -> pd.DataFrame:
    """Reduce the panel by segment, band of tenure and bin of money: all months by the money of the month before, with
    those who left in them, or the last month by its own money.
    """

    def gone(table: Any) -> Any:
        ended = (table.exit_month == table.month) | (
            (table.month == table["final"]) & (table.exit_month == table.month + 1)
        )
        return ended.fill_null(False)

    def relative(table: Any) -> Any:
        mean = table.outcome.mean().over(group_by="segment")
        return table["held_before" if earlier else "outcome"].cast("float64") / mean.nullif(0)

    within: dict[str, Maker] = {
        "final": lambda table: table.month.max().over(group_by="customer"),
        "held_before": Ahead(column="outcome", months=-1),
        "relative_money": relative,
        "tenure": lambda table: (table.month - table.opened).cast("float64").fill_null(-1.0),
    }
    by: dict[str, Maker] = {
        "segment": segment_of,
        "band": Bins(column="tenure", edges=TENURE_EDGES),
        "level": Bins(column="relative_money", edges=MONEY_EDGES),
    }
    if earlier:
        sums: dict[str, Maker] = {
            "left": lambda table: (gone(table) & table.voluntary.fill_null(False)).cast("int64"),
            "other": lambda table: (gone(table) & ~table.voluntary.fill_null(False)).cast("int64"),
        }
        return data.cells(by=by, sums=sums, within=within, known=("relative_money",)).values()
    sums = {"weights": "weight", "held": "weight*outcome"}
    found = data.cells(
        by=by,
        sums=sums,
        within=within,
        known=("relative_money",),
        where=lambda table: ~gone(table),
        months=(last, last),
    )
    return found.values()


def _log_hazard(past: pd.DataFrame, patterns: pd.DataFrame, exits: str) -> tuple[Floats, Floats]:
    """Fit monthly log hazards: a level per segment, and what bands of tenure and bins of money add.

    Returns:
        Shape (p,) by pattern, and replicates without one bucket each, shape (k, p).
    """
    buckets = int(past["bucket"].nunique())
    if not past[exits].sum() > 0:
        return np.full(len(patterns), NEVER), np.full((buckets, len(patterns)), NEVER)
    columns, wanted = [], []
    for name in ("band", "level"):
        merged = _merged(past.groupby(name)[exits].sum())
        code = past[name].map(merged).to_numpy()
        indicators, levels = dummies(code, reference=code[0])
        columns.append(indicators)
        wanted.append(np.array([_nearest(merged, each) for each in patterns[name]])[:, None] == levels.astype(int))
    design = np.hstack(columns)
    segments = past["segment"].to_numpy(dtype=object)
    fit = absorbed_hazard(segments, design, past["n"], past[exits], bucket=past["bucket"])
    at = np.hstack(wanted).astype(float)
    place = {name: i for i, name in enumerate(fit.levels)}
    code = np.array([place.get(name, -1) for name in patterns["segment"]])
    with np.errstate(divide="ignore"):
        base, copies = np.log(fit.hazard), np.log(fit.hazard_replicates)
    level = np.where(code >= 0, base[code], NEVER)
    levels_without = np.where(code >= 0, copies[:, code], NEVER)
    found = np.maximum(level + at @ fit.coefficient, NEVER)
    return found, np.maximum(levels_without + fit.replicates @ at.T, NEVER)


def _merged(exits: pd.Series) -> dict[int, int]:
    """Give neighbouring bins one number until each has enough exits; the last ones join those before."""
    found: dict[int, int] = {}
    number, seen = 0, 0.0
    for name, count in exits.sort_index().items():
        if seen >= FEWEST_EXITS:
            number, seen = number + 1, 0.0
        found[int(str(name))] = number
        seen += float(count)
    if seen < FEWEST_EXITS and number > 0:
        found = {name: min(each, number - 1) for name, each in found.items()}
    return found


def _nearest(merged: dict[int, int], name: int) -> int:
    """Return the number of a bin, or of the nearest one seen."""
    return merged[min(merged, key=lambda each: (abs(each - name), each))]


def _drawn(value: Floats, replicates: Floats, size: int, rng: np.random.Generator) -> Floats:
    """Draw from the normal distribution with the jackknife's covariance, shape (n, p)."""
    k = len(replicates)
    spread = np.sqrt((k - 1) / k) * (replicates - replicates.mean(axis=0))
    return np.asarray(value + rng.standard_normal((size, k)) @ spread)


def _estimand(data: Linked, people: Population, horizon: int) -> Estimand:
    unit, currency = outcome_unit(data)
    return Estimand(
        question=Question.SUSTAINED,
        population=say("hazard.population.kept", data.study.language, month=people.month),
        treatment=say("hazard.treatment.kept", data.study.language),
        dose=Dose.SCORE_POINT,
        outcome=data.outcome,
        unit=unit,
        currency=currency,
        horizon=horizon,
        includes_exit=True,
        channels=frozenset({"retention"}),
    )


def _kept_hold(found: Retained, data: Linked) -> Check:
    """Say what the customers kept hold, beside the average customer (ROX-S21)."""
    kept = found.customers_retained[:, :, -1].sum(axis=1).mean()
    money = found.money_retained[:, :, -1].sum(axis=1).mean()
    currency = outcome_unit(data)[1]
    book = float(found.money[:, -1].sum() / found.customers.sum())
    held = float(money / kept) if kept else 0.0
    values: dict[str, str | int | float] = {
        "kept": amount(held, currency),
        "book": amount(book, currency),
        "times": book / held if held else 0.0,
    }
    return Check(code="ROX-S21", verdict=Verdict.NOTE, values=values)


def _step(strata: _Strata) -> Step:
    customers = strata.patterns["customers"].sum()
    return Step(
        name="hazards", rows=strata.months, lost=0, customers=round(float(customers)), reason="hazard.step.kept"
    )
