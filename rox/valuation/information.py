"""What knowing more before the decision would be worth, and which inputs the spread of NPV comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from rox.core.candidates import AnyCandidate, Holdout
from rox.core.check import Check, Verdict
from rox.core.declared import Wording
from rox.core.formula import Array
from rox.core.knowing import SURE, Knowing, StudyWorth
from rox.core.words import LANGUAGES, say
from rox.numerics.information import Worth, evpi, evppi, evsi, excess
from rox.numerics.sobol import rank_r2, variance_shares
from rox.valuation.findings import Finding, Lot, Setting, by_lot, finding, lacking, lot_of, measured_by
from rox.valuation.sensitivity import factors

LEAST = 500
"""Draws below which nothing is said about what knowing more is worth."""
CROSSED = 4096
"""Most draws on which each factor is exchanged for its shares of variance."""
BLOCK = 5_000
FOUND = float(ndtri(0.975) + ndtri(0.80))
"""Standard errors of an effect that is found four times in five."""
SLACK = 0.05
"""Share of EVPI that the regressions may gain from noise before it is said."""
OFFER = Lot(share=0.10, months=6)
"""The study that is offered where a case names none."""
COLUMNS = (
    "name",
    "en",
    "zh",
    "parts",
    "first",
    "first_error",
    "total",
    "total_error",
    "evppi",
    "evppi_error",
    "apart",
)


@dataclass(frozen=True, kw_only=True)
class _Factor:
    """Inputs that hang together, by the rows of the tornado they stand for; independent of every other factor."""

    label: Wording
    parts: tuple[str, ...]
    inputs: tuple[str, ...]


def knowing(setting: Setting, npv: Array) -> Knowing | None:
    """Work out the worth of knowing everything, each factor, and what each candidate study would find.

    The choice is between doing what the case proposes and leaving it, by expected NPV. Factors are independent of each
    other: assumptions with a stated correlation, and evidence discounts of estimates from the same data, are one.

    Args:
        setting: The case as it was priced.
        npv: NPV at every draw, shape (draw,).

    Returns:
        None with fewer than 500 draws, on which the regressions have nothing to stand on.

    References:
        Strong, Oakley & Brennan (2014) and Strong et al. (2015), *Medical Decision Making* 34 and 35; Saltelli et al.
        (2010), *Computer Physics Communications* 181.
    """
    if len(npv) < LEAST:
        return None
    values = np.column_stack([np.zeros(len(npv)), npv])
    found = tuple(_varying(setting))
    whole = evpi(values)
    worths = [evppi(values, _index(factor.inputs, setting)) for factor in found]
    priced = [*(_proposed if setting.case.studies else _offered)(setting, values, found)]
    inputs = [setting.drawn[name] for factor in found for name in factor.inputs]
    size = min(len(npv) // 2, CROSSED)
    return Knowing(
        evpi=whole.worth,
        evpi_error=whole.error,
        factors=_table(found, worths, _shares(found, setting, npv, size)),
        rank_r2=rank_r2(np.column_stack(inputs), npv) if inputs and len(inputs) + 1 < len(npv) else float("nan"),
        studies=tuple(study for study, _, _ in priced),
        draws=len(npv),
        crossed=size,
        checks=(*_checks(values, whole, worths, [each[1:] for each in priced]), *_unpriced(setting)),
    )


def _varying(setting: Setting) -> Iterator[_Factor]:
    """Iterate over the factors that NPV rests on and that vary, merged where they hang together."""
    single = [
        (each, tuple(member.name for member in each.members if np.ptp(setting.drawn[member.name]) > 0))
        for each in factors(setting.ledger.leading_to("npv"), setting.effects)
    ]
    single = [(each, inputs) for each, inputs in single if inputs]
    place = {each.name: number for number, (each, _) in enumerate(single)}
    belongs = list(range(len(single)))
    for first, second in _bound(setting):
        if first in place and second in place:
            old, new = sorted((belongs[place[first]], belongs[place[second]]), reverse=True)
            belongs = [new if each == old else each for each in belongs]
    for number in sorted(set(belongs)):
        members = [each for each, of in zip(single, belongs, strict=True) if of == number]
        yield _Factor(
            label=Wording(en=" + ".join(each.en for each, _ in members), zh=" + ".join(each.zh for each, _ in members)),
            parts=tuple(each.name for each, _ in members),
            inputs=tuple(name for _, inputs in members for name in inputs),
        )


def _bound(setting: Setting) -> Iterator[tuple[str, str]]:
    """Iterate over pairs of tornado rows whose draws hang together."""
    at: dict[str, list[str]] = {}
    for each in setting.ledger.inputs:
        if each.kind == "assumption":
            at.setdefault(each.place, []).append(each.name)
    for pair in setting.case.correlation:
        first, second = (at.get(place, []) for place in pair.between)
        yield from ((one, other) for one in first for other in second)
    for number, effect in enumerate(setting.effects):
        for other_effect in setting.effects[:number]:
            if effect.fingerprint and effect.fingerprint == other_effect.fingerprint:
                yield f"evidence_{effect.name}", f"evidence_{other_effect.name}"


def _index(inputs: Iterable[str], setting: Setting) -> Array:
    """Return one number per draw that stands for several inputs: NPV with all others at their means.

    What these inputs say about NPV passes through it wherever NPV is a sum of products of independent factors; it is
    never worth more than the inputs themselves.
    """
    chosen = tuple(inputs)
    if len(chosen) == 1:
        return np.broadcast_to(setting.drawn[chosen[0]], setting.size)
    values: dict[str, Array] = {name: np.array([drawn.mean()]) for name, drawn in setting.drawn.items()}
    return _npv({**values, **{name: setting.drawn[name] for name in chosen}}, setting, setting.size)


def _npv(values: Mapping[str, Array], setting: Setting, size: int) -> Array:
    """Run the ledger to NPV over blocks of draws."""
    to_npv = setting.ledger.leading_to("npv")
    parts = []
    for start in range(0, size, BLOCK):
        block = {name: each[start : start + BLOCK] if len(each) > 1 else each for name, each in values.items()}
        parts.append(np.broadcast_to(to_npv.totals(block)["npv"], (min(BLOCK, size - start),)))
    return np.concatenate(parts)


def _shares(found: tuple[_Factor, ...], setting: Setting, npv: Array, size: int) -> pd.DataFrame:
    """Exchange one factor at a time between the first and the second rows of draws."""

    def rows(name: str, start: int) -> Array:
        drawn = setting.drawn[name]
        return drawn if len(drawn) == 1 else drawn[start : start + size]

    first = {name: rows(name, 0) for name in setting.drawn}
    mixed = [_npv({**first, **{name: rows(name, size) for name in each.inputs}}, setting, size) for each in found]
    shares = variance_shares(npv[:size], npv[size : 2 * size], np.array(mixed).reshape(len(found), size))
    return pd.DataFrame({name: getattr(shares, name) for name in ("first", "first_error", "total", "total_error")})


def _table(found: tuple[_Factor, ...], worths: list[Worth], shares: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "name": "+".join(each.parts),
            **{language: each.label[language] for language in LANGUAGES},
            "parts": each.parts,
            **shares.iloc[place].to_dict(),
            "evppi": worth.worth,
            "evppi_error": worth.error,
            "apart": worth.apart,
        }
        for place, (each, worth) in enumerate(zip(found, worths, strict=True))
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["evppi", "total"], ascending=False, kind="stable").reset_index(drop=True)


def _proposed(setting: Setting, values: Array, found: tuple[_Factor, ...]) -> Iterator[tuple[StudyWorth, Worth, Worth]]:
    """Price the studies that the case names."""
    tax = setting.ledger.point["tax"]
    for key, study in setting.case.studies.items():
        if _lacks(study, setting):
            continue
        told = finding(key, study, setting)
        delay = (1 - study.meanwhile) * _waiting(setting, float(values[:, 1].mean()), study.wait)
        money = {"open": study.open, "cost": study.cost * (1 - tax), "delay": delay}
        yield _priced(key, study.kind, study.label, told, money, setting, values, found)


def _offered(setting: Setting, values: Array, found: tuple[_Factor, ...]) -> Iterator[tuple[StudyWorth, Worth, Worth]]:
    """Price the standard hold-out for the effect that is most worth knowing, if its error can be worked out."""
    label = Wording(**{language: say("study.offer", language) for language in LANGUAGES})
    money = {"open": 1.0, "cost": float("nan"), "delay": float("nan")}
    offers = [
        _priced("", "holdout", label, by_lot("", OFFER, effect, setting), money, setting, values, found)
        for effect in setting.effects
        if not lacking(OFFER, effect)
    ]
    if offers:
        yield max(offers, key=lambda offer: offer[0].evppi)


def _priced(
    key: str,
    kind: str,
    label: Wording,
    told: Finding,
    money: Mapping[str, float],
    setting: Setting,
    values: Array,
    found: tuple[_Factor, ...],
) -> tuple[StudyWorth, Worth, Worth]:
    about = [factor for factor in found if told.learns & set(factor.inputs)]
    known = tuple(name for factor in about for name in factor.inputs)
    sampled = evsi(values, told.statistics if known else np.empty((len(values), 0)))
    exact = evppi(values, _index(known, setting) if known else np.empty((len(values), 0)))
    study = StudyWorth(
        key=key,
        kind=kind,  # type: ignore[arg-type]
        label=label,
        learns=tuple("+".join(factor.parts) for factor in about),
        unit=told.unit,
        error=told.error,
        detectable=FOUND * told.error,
        evsi=sampled.worth,
        evsi_error=sampled.error,
        evppi=exact.worth,
        open=money["open"],
        cost=money["cost"],
        delay=money["delay"],
    )
    return study, sampled, exact


def _lacks(study: AnyCandidate, setting: Setting) -> str:
    return lacking(lot_of(study), measured_by(study, setting)) if isinstance(study, Holdout) else ""


def _unpriced(setting: Setting) -> Iterator[Check]:
    """Say which studies of the case have no price, and what is missing (ROX-V32)."""
    for key, study in setting.case.studies.items():
        if reason := _lacks(study, setting):
            yield Check(code="ROX-V32", verdict=Verdict.NOTE, values={"study": key, "reason": f"study.lacks.{reason}"})


def _waiting(setting: Setting, expected: float, months: int) -> float:
    """Return what is lost on average by starting some months later, the last month staying where it is."""
    if months == 0 or expected <= 0:
        return 0.0
    last = setting.ledger.horizon - months
    if last < 0:
        return expected
    upto = setting.ledger.leading_to("cumulative_present")
    total = 0.0
    for start in range(0, setting.size, BLOCK):
        block = {n: each[start : start + BLOCK] if len(each) > 1 else each for n, each in setting.drawn.items()}
        path = next(rows for line, rows in upto.run(block) if line.name == "cumulative_present")
        later = path[:, last] * (1 + block["discount"]) ** (-months / block["year"])
        total += float(np.broadcast_to(later, (min(BLOCK, setting.size - start),)).sum())
    return max(expected - total / setting.size, 0.0)


def _checks(values: Array, whole: Worth, worths: list[Worth], studies: list[tuple[Worth, Worth]]) -> Iterator[Check]:
    """Test the order study ≤ what it is about ≤ everything (ROX-V30), and that noise is not sold (ROX-V31)."""
    pairs = [*((each, whole) for each in worths), *studies, *((known, whole) for _, known in studies)]
    over = [excess(values, less, more) for less, more in pairs]
    broken = sum(by > SURE * error and by > 1e-9 * max(whole.worth, 1.0) for by, error in over)
    yield Check(
        code="ROX-V30",
        verdict=Verdict.NOTE if broken else Verdict.PASS,
        values={"count": broken, "pairs": len(pairs)},
    )
    tested = [*worths, *(each for pair in studies for each in pair)]
    worst = max((abs(each.bias) for each in tested), default=0.0)
    share = worst / whole.worth if whole.worth > 0 else 0.0
    yield Check(
        code="ROX-V31",
        verdict=Verdict.PASS if share <= SLACK else Verdict.NOTE,
        values={"share": 100 * share},
    )
