"""Which saved effects speak of which arrow, which of them weighs most, and what leavers take with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rox.core.chain import Arrow, Reading
from rox.core.chain_outline import ChainOutline, DeclaredArrow
from rox.core.check import Check, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.estimand import Question
from rox.core.study import Study
from rox.core.units import MONEY, Dose, Unit
from rox.linking.columns import minor_units
from rox.metrics.cells import sums
from rox.metrics.display import shown
from rox.metrics.estimates import ratio, with_t
from rox.metrics.source import Tables, rows_of, whole
from rox.reporting import estimates

OF_EXPERIENCE = (Dose.SCORE_POINT, Dose.NPS_POINT, Dose.CATEGORY)
LASTING = (Question.SUSTAINED, Question.LONG_RUN, Question.HAZARD, Question.INITIATIVE)
RETENTION = frozenset({"retention"})
BY_ROLLOUT = "rollout_slope"
"""The effect per score point that is itself the quotient of a roll-out's effects on money and on the score."""
YEAR = 12
WEIGHT_PARTS = 1000
"""Weights and money are summed as whole thousandths, so that the order of rows does not matter."""
NORMAL_90 = 1.6448536
"""Standard errors to either side of a 90% interval."""


def read_effects(folder: str | Path) -> dict[str, Effect]:
    """Read every effect of a run by the name of its file.

    Raises:
        DataError: There is no such folder, or files that are no effects; all of them are listed.
    """
    folder, found, faults = Path(folder), {}, []
    if not folder.is_dir():
        raise DataError(f"There is no folder of effects at {folder}.", ["run `rox run STUDY` first, or give --effects"])
    for path in sorted(folder.glob("*.npz")):
        try:
            found[path.stem] = Effect.load(path)
        except DataError as cause:
            faults += [cause.headline, *cause.faults]
    if faults:
        raise DataError(f"The effects in {folder} cannot be read.", faults)
    return found


def initiatives_of(effects: Mapping[str, Effect], study: Study) -> tuple[str, ...]:
    """Return the names of effects of initiatives that no initiative of the study explains."""
    return tuple(
        name
        for name, effect in effects.items()
        if effect.estimand.dose is Dose.INITIATIVE
        and effect.estimand.outcome in study.outcomes
        and not any(is_of(effect, each, study) for each in study.initiatives)
    )


def is_of(effect: Effect, initiative: str, study: Study) -> bool:
    """Tell whether an effect is about an initiative: it names it, or it is of roll-outs and there is but one."""
    said = f"{effect.name} {effect.estimand.treatment} {effect.specification}"
    if re.search(rf"(?<![A-Za-z0-9_]){re.escape(initiative)}(?![A-Za-z0-9_])", said):
        return True
    return list(study.initiatives) == [initiative] and effect.name in ("uplift", BY_ROLLOUT)


def with_effects(
    declared: DeclaredArrow,
    outline: ChainOutline,
    study: Study,
    effects: Mapping[str, Effect],
    fingerprints: frozenset[str],
) -> Arrow:
    """Put on an arrow what the saved effects say of it, or what is missing.

    Raises:
        DataError: The effect that the arrow names is not there or is about something else.
    """
    source, target = declared.source, declared.target
    arrow = Arrow(source=source, target=target)
    found = {name: effects[name] for name in _matching(declared, outline, study, effects)}
    least = study.about.min_cell
    told = {name: each for name, each in found.items() if each.counts.get("customers", least) >= least}
    ranked = sorted(told, key=lambda name: (*weight(told[name]), name))
    if ranked:
        readings = [reading(told[name], fingerprints, key=name) for name in ranked]
        return replace(arrow, shown=readings[0], others=tuple(readings[1:]))
    if found:
        return replace(arrow, need="few", what=str(least))
    begin, end = outline.boxes[source].kind(study), outline.boxes[target].kind(study)
    if begin == "initiative" and end == "score":
        ends = [each.target for each in outline.arrows if each.source == source]
        ends = [name for name in (*ends, *outline.boxes) if outline.boxes[name].kind(study) in ("stock", "flow")]
        outcome = str(outline.boxes[ends[0]].outcome) if ends else ""
        told_gain = gain(effects, str(outline.boxes[source].initiative), study, outcome, fingerprints)
        return replace(arrow, need="gain") if told_gain is None else replace(arrow, shown=told_gain)
    need, what = _need(declared, outline, study)
    return replace(arrow, need=need, what=what)


def _matching(
    declared: DeclaredArrow, outline: ChainOutline, study: Study, effects: Mapping[str, Effect]
) -> Iterator[str]:
    source, target = outline.boxes[declared.source], outline.boxes[declared.target]
    begin, end = source.kind(study), target.kind(study)
    if declared.effect is not None:
        _require_fit(declared, target.outcome, end == "leaving", effects)
        yield declared.effect
        return
    for name, effect in effects.items():
        asked = effect.estimand
        if end == "leaving":
            fits = asked.unit is Unit.LOG_HAZARD
        else:
            fits = asked.outcome == target.outcome and asked.unit is not Unit.LOG_HAZARD
        if begin == "score":
            fits &= asked.dose in OF_EXPERIENCE and source.question == outline.about.score
        elif begin == "initiative":
            fits &= asked.dose is Dose.INITIATIVE and is_of(effect, str(source.initiative), study)
        else:
            fits = False
        if fits:
            yield name


def _require_fit(declared: DeclaredArrow, outcome: str | None, of_leaving: bool, effects: Mapping[str, Effect]) -> None:
    place, name = f"arrows ({declared.source} to {declared.target}).effect", str(declared.effect)
    if name not in effects:
        there = ", ".join(effects) or "none"
        raise DataError(f"{place}: there is no effect {name!r}.", [f"the effects of the run are {there}"])
    asked = effects[name].estimand
    if not (asked.unit is Unit.LOG_HAZARD if of_leaving else asked.outcome == outcome):
        raise DataError(
            f"{place}: {name!r} is about {asked.outcome}.", [f"needed: an effect on {outcome or 'leaving'}"]
        )


def weight(effect: Effect) -> tuple[bool, bool, bool, str, int]:
    """Order readings: of a change before of people, lasting before passing, whole before part, by grade, nearest."""
    asked = effect.estimand
    is_part = asked.channels == RETENTION and asked.unit is not Unit.LOG_HAZARD
    return asked.is_descriptive, asked.question not in LASTING, is_part, str(effect.grade), asked.horizon


def reading(effect: Effect, fingerprints: frozenset[str] = frozenset(), *, key: str = "") -> Reading:
    """Write an effect as a reading of an arrow, over all customers.

    Args:
        effect: The effect.
        fingerprints: Of the tables as they are; empty if that is not asked.
        key: File of the effect.
    """
    asked, row = effect.estimand, estimates.summary(effect).iloc[-1]
    units = {Unit.RATIO: "share_of_own", Unit.LOG_HAZARD: "rate", Unit.PERCENTAGE_POINT: "share"}
    units |= dict.fromkeys(MONEY, "money") | {Unit.SCORE_POINT: "points"}
    checks = (*effect.checks, *_stale(effect, fingerprints))
    return Reading(
        name=effect.name,
        basis="gap" if asked.is_descriptive else "effect",
        question=str(asked.question),
        value=float(row["middle"]),
        low=float(row["low"]),
        high=float(row["high"]),
        unit=units.get(asked.unit, "number"),
        currency=asked.currency,
        per=str(asked.dose),
        lag=asked.window or (asked.horizon, asked.horizon),
        grade=effect.grade,
        checks=checks,
        size=int(effect.counts.get("customers", 0)),
        treatment=asked.treatment,
        key=key,
    )


def _stale(effect: Effect, fingerprints: frozenset[str]) -> tuple[Check, ...]:
    is_stale = fingerprints and effect.fingerprint not in fingerprints
    return (Check(code="ROX-D23", verdict=Verdict.NOTE),) if is_stale else ()


def gain(
    effects: Mapping[str, Effect],
    initiative: str,
    study: Study,
    outcome: str,
    fingerprints: frozenset[str] = frozenset(),
) -> Reading | None:
    """Read what a roll-out did to the score of those who answer, at one grade below the roll-out's own.

    Args:
        effects: Saved effects.
        initiative: The roll-out.
        study: The study.
        outcome: Money that the path leads to; effects on it come first, since they are of the same customers.
        fingerprints: Of the tables as they are; empty if that is not asked.
    """
    mine = sorted(
        (each for each in effects.values() if is_of(each, initiative, study)),
        key=lambda each: (each.estimand.outcome != outcome, *weight(each)),
    )
    uplift = next((each for each in mine if each.name == "uplift"), None)
    if uplift is None:
        return None
    alike = [each for each in mine if each.estimand.outcome == uplift.estimand.outcome]
    slope = next((each for each in alike if each.name == BY_ROLLOUT), None)
    if slope is not None and "first_stage" in slope.tables:
        row: Any = slope.tables["first_stage"].loc["within"]
        value, error, asked, name = float(row["gain"]), float(row["se"]), slope.estimand, slope.name
    elif "score" in uplift.tables:
        row = uplift.tables["score"].loc["window"]
        value, error, asked, name = float(row["score"]), float(row["score_se"]), uplift.estimand, uplift.name
    else:
        return None
    if not np.isfinite([value, error]).all():
        return None
    lowering = Check(code="ROX-D24", verdict=Verdict.DEMOTE)
    checks = (*uplift.checks, *_stale(uplift, fingerprints), lowering)
    return Reading(
        name=name,
        basis="effect",
        question=str(Question.INITIATIVE),
        value=value,
        low=value - NORMAL_90 * error,
        high=value + NORMAL_90 * error,
        unit="points",
        per=str(Dose.INITIATIVE),
        lag=asked.window or (asked.horizon, asked.horizon),
        grade=grade_after(uplift.grade, [lowering]),
        checks=checks,
        size=int(uplift.counts.get("customers", 0)),
        treatment=uplift.estimand.treatment,
    )


def _need(declared: DeclaredArrow, outline: ChainOutline, study: Study) -> tuple[str, str]:
    """Say what is missing for an arrow without any evidence: a key of the catalogue and a name."""
    source, target = outline.boxes[declared.source], outline.boxes[declared.target]
    begin, end = source.kind(study), target.kind(study)
    if begin == "metric":
        return "metric", str(source.metric)
    if begin == "initiative":
        return "initiative", str(source.initiative)
    if begin == "score" and end in ("leaving", "count", "stock", "flow"):
        if end == "leaving" and "exits" not in study.tables:
            return "table", "exits"
        if source.question != outline.about.score:
            return "score", str(source.question)
        return ("leaving", "") if end == "leaving" else ("outcome", str(target.outcome))
    if begin == "score" and end == "event":
        return "count", str(target.event)
    return "moved", ""


def leavers_held(tables: Tables, outcome: str) -> Reading | str:
    """Measure what customers who left had held, or brought, in the year before they did: bookkeeping, no estimate.

    A stock is the mean of up to twelve months before the month of leaving, a flow twelve times that of a month. Only
    months strictly before count.

    Args:
        tables: Loaded tables.
        outcome: Money of the ledger.

    Returns:
        The reading, or what is missing: ``exits``, ``ledger`` or ``few`` (fewer customers than may be shown).
    """
    study = tables.study
    for name in ("exits", "ledger"):
        if name not in tables.tables:
            return name
    if study.outcomes[outcome].table != "ledger":
        return "ledger"
    exits, ledger = tables.tables["exits"], tables.tables["ledger"]
    chosen = study.tables["exits"].voluntary if "reason" in exits.columns else ()
    left = exits.filter(exits.reason.isin(chosen)) if chosen else exits
    left = left.select(gone=left.customer, at=left.month.cast("int64"))
    money = ledger.select("customer", month=ledger.month.cast("int64"), held=whole(ledger[outcome].cast("float64")))
    money = money.filter(money.held.notnull())
    near = left.join(
        money, [left.gone == money.customer, money.month < left.at, money.month >= left.at - YEAR], how="inner"
    )
    held = near.group_by(customer=near.gone, month=near["at"]).aggregate(total=near.held.sum(), rows=near.count())
    times = 1 if study.outcomes[outcome].kind == "stock" else YEAR
    held = held.mutate(mean=held.total.cast("float64") * times / held.rows)
    rows = rows_of(tables, "exits", (), table=held)
    weight = rows.table.design_weight * WEIGHT_PARTS
    frame = sums(tables, rows, whole(weight), {"held": whole(weight * rows.table["mean"])})
    if frame.empty:
        return "few"
    part = with_t(ratio(frame, (), "held"), 0.90).assign(metric="held", unit="money")
    told: pd.Series = shown([part], by=(), level=0.90, min_cell=study.about.min_cell).iloc[0]
    if bool(told["suppressed"]) or not np.isfinite(float(told["value"])):
        return "few"
    value, low, high = (-float(told[each]) / minor_units(study.currency) for each in ("value", "high", "low"))
    return Reading(
        name="ledger",
        basis="arithmetic",
        value=value,
        low=low,
        high=high,
        unit="money",
        currency=study.currency,
        per="leaver",
        lag=(-YEAR, -1),
        grade=None,
        checks=(Check(code="ROX-D25", verdict=Verdict.NOTE),),
        size=int(told["n"]),
    )
