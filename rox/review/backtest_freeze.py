"""Freeze what a report promised, so that it can be held against what happens."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rox.core.case import Case
from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.forecast import DUE, Assumed, Floats, Forecast, Promise, due_on
from rox.core.record import Record, layers_of, versions
from rox.core.returns import Return
from rox.core.study import Study
from rox.valuation.fit import segments
from rox.valuation.value import value

KEPT = 2_000
"""Draws that a forecast keeps; they are as good as all of them for scoring, at a tenth of the size."""
SAME = 1e-9
"""Relative difference up to which a figure computed again is the one in the record."""


def freeze(
    record: str | Path,
    *,
    study: Study | None = None,
    into: str | Path,
    on: dt.date,
    team: str,
    owner: str,
    due: Sequence[int] = DUE,
) -> Forecast:
    """Freeze the forecast behind a report.

    The case is valued again with the effects, the number of draws and the seed of the run, and the figures must be
    those of the record: what is frozen is what was reported. Due months beyond the case's horizon are left out, and so
    are those that are over on the day.

    Args:
        record: ``CASE.record.json`` of a run's folder, with the folder ``effects`` beside it.
        study: The study it was run for; needed by records that do not hold their case.
        into: Folder of the forecasts.
        on: The day; not before the end of the study's data.
        team: Who forecast.
        owner: Who answers for it.
        due: Months after the start at which it falls due.

    Raises:
        DataError: Another kind of record, an effect that is missing or another one, figures that cannot be reproduced,
            a day before the end of the data or after the last due month, or a forecast that is there already.
    """
    path = Path(record)
    kept = Record.read(path)
    if "headline" not in kept.numbers or "case" not in kept.numbers:
        raise DataError(f"{path} is the record of {kept.kind}, which promises no money.", ["give CASE.record.json"])
    case = _case(kept, study, path)
    effects = [_effect(path.parent / "effects" / f"{name}.npz", name, kept) for name in case.about.effects]
    layers = layers_of(kept.replay)
    money = value(effects, case, draws=kept.numbers["draws"], rng=kept.numbers["seed"], layers=layers)
    if faults := _differences(money, kept):
        raise DataError(
            f"Case {case.name} no longer gives the figures of {path.name}, so they cannot be frozen.",
            [*faults, "the case, its effects or rox have changed since: run the study again, and freeze that"],
        )
    made = forecast_of(
        money,
        study=kept.study,
        extract=_extract(kept, study),
        on=on,
        team=team,
        owner=owner,
        due=due,
        record=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    return made.freeze_into(into)


def forecast_of(
    money: Return,
    *,
    study: str,
    extract: dt.date,
    on: dt.date,
    team: str,
    owner: str,
    due: Sequence[int] = DUE,
    record: str = "",
) -> Forecast:
    """Take the forecast out of a return; it is not written yet.

    Args:
        money: What :func:`rox.value` gave.
        study: Name of the study.
        extract: Day on which its data end.
        on: The day.
        team: Who forecasts.
        owner: Who answers for it.
        due: Months after the start at which it falls due; those beyond the horizon, or over on the day, are left out.
        record: SHA-256 of the run's record.

    Raises:
        DataError: No due month is left, the day lies before the extract, or nobody is named.
    """
    case = money.case
    groups = segments(money.effects, case)
    start, horizon = case.about.start, money.ledger.horizon
    months = tuple(month for month in due if month <= horizon and due_on(start, month) > on)
    if not months:
        raise DataError(
            f"Nothing of case {case.name} falls due after {on}, so there is nothing to forecast.",
            [f"due months {', '.join(map(str, due))} are over on that day, or lie after month {horizon}"],
        )
    assumptions = tuple(
        Assumed(
            place=place,
            value=each.spread.likely,
            low=each.spread.low,
            high=each.spread.high,
            owner=each.owner,
            source=each.source,
            date=each.date,
        )
        for place, each in case.register()
    )
    return Forecast(
        case=case.name,
        title=case.about.title,
        study=study,
        currency=case.about.currency,
        start=start,
        extract=extract,
        frozen=on,
        due=months,
        team=team,
        owner=owner,
        grade=money.grade,
        promises=tuple(_promise(effect) for effect in money.effects),
        segments=groups,
        ledger=money.ledger,
        assumptions=assumptions,
        draws=_draws(money, groups, months),
        record=record,
        seed=money.seed,
        versions=versions(),
    )


def _case(kept: Record, study: Study | None, path: Path) -> Case:
    if study is not None:
        return study.case(kept.numbers["case"])
    if not kept.replay:
        raise DataError(f"{path} does not hold its case.", ["give the study as well: --study STUDY.toml"])
    return Case.model_validate(json.loads(kept.replay["case"]))


def _extract(kept: Record, study: Study | None) -> dt.date:
    """Return the day on which the data of the run end: as recorded, else as the study says."""
    if kept.replay:
        return dt.date.fromisoformat(kept.replay["study"]["study"]["extract"])
    if study is None:
        raise DataError("The record does not say when its data end.", ["give the study as well: --study STUDY.toml"])
    return study.about.extract


def _effect(path: Path, name: str, kept: Record) -> Effect:
    if not path.is_file():
        raise DataError(
            f"The effects of {kept.kind} are not there.",
            [f"effects/{name}.npz: missing beside the record; copy the run's whole folder"],
        )
    effect = Effect.load(path)
    recorded = kept.effects.get(name)
    if recorded is None:
        raise DataError(f"The record says nothing of effect {name!r}.", ["run the study again, and freeze that"])
    if (effect.fingerprint, effect.specification) != (recorded["fingerprint"], recorded["specification"]):
        raise DataError(
            f"{path} is not the effect that was reported.",
            ["its data or its question differ from the record: run the study again, and freeze that"],
        )
    return effect


def _differences(money: Return, kept: Record) -> list[str]:
    held = {**kept.numbers["headline"], **{f"decision {k}": kept.numbers["decision"][k] for k in ("low", "high")}}
    now = {**money.headline, "decision low": money.decision.low, "decision high": money.decision.high}
    return [
        f"{name}: {now[name]:.10g} now, {held[name]:.10g} in the record"
        for name in held
        if held[name] is not None and name in now and not math.isclose(now[name], held[name], rel_tol=SAME)
    ]


def _promise(effect: Effect) -> Promise:
    return Promise(
        name=effect.name,
        estimand=effect.estimand,
        grade=effect.grade,
        layer=effect.bias_layer,
        specification=effect.specification,
        fingerprint=effect.fingerprint,
        groups=effect.groups,
        shares=tuple(float(each) for each in effect.shares),
        customers=tuple(float(each) for each in effect.baseline["customers"].fillna(0.0)),
        estimate=float(effect.overall.mean()),
        se=float(effect.overall.std(ddof=1)),
    )


def _draws(money: Return, groups: tuple[str, ...], due: tuple[int, ...]) -> dict[str, Floats]:
    """Take the first draws of the return and run its ledger over them."""
    rows = min(KEPT, len(money.draws["npv"]))
    drawn = {name: values[:rows] if len(values) > 1 else values for name, values in money.drawn.items()}
    at = list(due)
    monthly: dict[str, Floats] = {}
    wanted = {"benefit", "cost", "discount_factor", "cumulative_present"}
    extra = {
        f"extra_{effect.name}_{place}": (effect.name, place - 1)
        for effect in money.effects
        for place in range(1, len(groups) + 1)
    }
    found = {f"extra/{effect.name}": np.zeros((rows, len(groups), len(due))) for effect in money.effects}
    for line, values in money.ledger.run(drawn):
        if line.name in wanted:
            monthly[line.name] = np.broadcast_to(values, (rows, values.shape[1]))
        elif line.name in extra:
            name, place = extra[line.name]
            found[f"extra/{name}"][:, place, :] = values[:, at]
    for flow in ("benefit", "cost"):
        found[flow] = np.cumsum(monthly[flow] * monthly["discount_factor"], axis=1)[:, at]
    found["net"] = monthly["cumulative_present"][:, at]
    for effect in money.effects:
        found[f"effect/{effect.name}"] = _discounted(effect.name, drawn, len(groups), rows)
    return found


def _discounted(name: str, drawn: Mapping[str, Floats], groups: int, rows: int) -> Floats:
    columns = [
        np.broadcast_to(drawn[f"effect_{name}_{place}"] * drawn[f"evidence_{name}"], (rows,))
        for place in range(1, groups + 1)
    ]
    return np.column_stack(columns)
