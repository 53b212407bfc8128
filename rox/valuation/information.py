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
from rox.core.effect import Effect
from rox.core.formula import Array
from rox.core.knowing import SURE, Knowing, StudyWorth
from rox.core.words import LANGUAGES, say
from rox.numerics.information import Worth, evpi, evppi, evsi, excess
from rox.numerics.sobol import rank_r2, variance_shares
from rox.valuation.findings import Finding, Lot, Setting, by_lot, finding, lacking, lot_of, measured_by
from rox.valuation.fit import is_claim
from rox.valuation.sensitivity import factors

LEAST = 500
"""Draws below which nothing is said about what knowing more is worth."""
CROSSED = 4096
"""Most draws on which each factor is exchanged for its shares of variance."""
BLOCK = 5_000
FOUND = float(ndtri(0.975) + ndtri(0.80))
"""Standard errors of an effect that is found four times in five."""
ROUGH = 0.005
"""Share of EVPI by which the regressions may break the order before it is said."""
CLAIMED = "npv_with_claims"
"""What a choice is judged by once a claim, which no total counts before, has been measured."""
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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Priced:
    """A study, and what the order of its worths is tested by: what the options bring when its finding is there.

    Attributes:
        study: The study.
        values: Shape (draw, option).
        sampled: Worth of its finding.
        exact: Worth of knowing what it is about.
    """

    study: StudyWorth
    values: Array
    sampled: Worth
    exact: Worth


@dataclass(frozen=True, kw_only=True)
class _Factor:
    """Inputs that hang together, by the rows of the tornado they stand for; independent of every other factor."""

    label: Wording
    parts: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Choice:
    """The choice that a study is made for.

    Attributes:
        npv: What doing it brings once the finding is there, shape (draw,).
        today: What is chosen today brings on average, judged without claims.
        unlearned: What the same rule brings if it is applied only then, still without the finding.
        found: The factors that vary.
        total: By which total the choice is judged once the finding is there.
    """

    npv: Array
    today: float
    unlearned: float
    found: tuple[_Factor, ...]
    total: str

    @property
    def unused(self) -> float:
        """What the best choice is expected to bring beyond the rule, which counts no claim; zero where none is."""
        return max(float(self.npv.mean()), 0.0) - self.unlearned


def knowing(setting: Setting, npv: Array) -> Knowing | None:
    """Work out the worth of knowing everything, each factor, and what each candidate study would find.

    The choice is between doing what the case proposes and leaving it, by expected NPV; with the finding of a study, it
    is between starting when the finding is there and leaving it. What a study is worth if it measures a claim is judged
    with the claims counted. Factors are independent of each other: assumptions with a stated correlation, and evidence
    discounts of estimates from the same data, are one.

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
        studies=tuple(each.study for each in priced),
        draws=len(npv),
        crossed=size,
        checks=(*_checks(values, whole, worths, priced), *_unpriced(setting)),
    )


def _varying(setting: Setting, total: str = "npv") -> Iterator[_Factor]:
    """Iterate over the factors that a total rests on and that vary, merged where they hang together."""
    single = [
        (each, tuple(member.name for member in each.members if np.ptp(setting.drawn[member.name]) > 0))
        for each in factors(setting.ledger.leading_to(total), setting.effects)
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


def _index(inputs: Iterable[str], setting: Setting, total: str = "npv") -> Array:
    """Return one number per draw that stands for several inputs: NPV with all others at their means.

    What these inputs say about NPV passes through it wherever NPV is a sum of products of independent factors; it is
    never worth more than the inputs themselves.
    """
    chosen = tuple(inputs)
    if len(chosen) == 1:
        return np.broadcast_to(setting.drawn[chosen[0]], setting.size)
    values: dict[str, Array] = {name: np.array([drawn.mean()]) for name, drawn in setting.drawn.items()}
    return _total({**values, **{name: setting.drawn[name] for name in chosen}}, setting, setting.size, total)


def _total(values: Mapping[str, Array], setting: Setting, size: int, total: str = "npv") -> Array:
    """Run the ledger to a total over blocks of draws."""
    to_total = setting.ledger.leading_to(total)
    parts = []
    for start in range(0, size, BLOCK):
        block = {name: each[start : start + BLOCK] if len(each) > 1 else each for name, each in values.items()}
        parts.append(np.broadcast_to(to_total.totals(block)[total], (min(BLOCK, size - start),)))
    return np.concatenate(parts)


def _shares(found: tuple[_Factor, ...], setting: Setting, npv: Array, size: int) -> pd.DataFrame:
    """Exchange one factor at a time between the first and the second rows of draws."""

    def rows(name: str, start: int) -> Array:
        drawn = setting.drawn[name]
        return drawn if len(drawn) == 1 else drawn[start : start + size]

    first = {name: rows(name, 0) for name in setting.drawn}
    mixed = [_total({**first, **{name: rows(name, size) for name in each.inputs}}, setting, size) for each in found]
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


def _proposed(setting: Setting, values: Array, found: tuple[_Factor, ...]) -> Iterator[_Priced]:
    """Price the studies that the case names."""
    tax = setting.ledger.point["tax"]
    for key, study in setting.case.studies.items():
        if _lacks(study, setting):
            continue
        told = finding(key, study, setting)
        effect = measured_by(study, setting) if isinstance(study, Holdout) else None
        choice = _choice(effect, setting, values[:, 1], found, wait=study.wait, meanwhile=study.meanwhile)
        money = {"open": study.open, "cost": study.cost * (1 - tax), "delay": choice.today - choice.unlearned}
        yield _priced(key, study.kind, study.label, told, money, setting, choice)


def _offered(setting: Setting, values: Array, found: tuple[_Factor, ...]) -> Iterator[_Priced]:
    """Price the standard hold-out for the effect that is most worth knowing, if its error can be worked out."""
    label = Wording(**{language: say("study.offer", language) for language in LANGUAGES})
    money = {"open": 1.0, "cost": float("nan"), "delay": float("nan")}
    offers = [
        _priced("", "holdout", label, by_lot("", OFFER, effect, setting), money, setting, choice)
        for effect in setting.effects
        if not lacking(OFFER, effect)
        for choice in [_choice(effect, setting, values[:, 1], found)]
    ]
    if offers:
        yield max(offers, key=lambda offer: offer.study.evppi)


def _choice(
    effect: Effect | None,
    setting: Setting,
    npv: Array,
    found: tuple[_Factor, ...],
    *,
    wait: int = 0,
    meanwhile: float = 0.0,
) -> _Choice:
    """Say what the options bring when an effect has been measured; a claim, once measured, counts."""

    def after(now: Array, total: str) -> Array:
        return now if wait == 0 else meanwhile * now + (1 - meanwhile) * _later(setting, wait, total)

    later = after(npv, "npv")
    here, then = float(npv.mean()), float(later.mean())
    if effect is None or not is_claim(effect):
        return _Choice(npv=later, today=max(here, 0.0), unlearned=max(then, 0.0), found=found, total="npv")
    claimed = _total(setting.drawn, setting, setting.size, CLAIMED)
    later = after(claimed, CLAIMED)
    return _Choice(
        npv=later,
        today=float(claimed.mean()) if here > 0 else 0.0,
        unlearned=float(later.mean()) if then > 0 else 0.0,
        found=tuple(_varying(setting, CLAIMED)),
        total=CLAIMED,
    )


def _priced(
    key: str,
    kind: str,
    label: Wording,
    told: Finding,
    money: Mapping[str, float],
    setting: Setting,
    choice: _Choice,
) -> _Priced:
    npv, total = choice.npv, choice.total
    about = [factor for factor in choice.found if told.learns & set(factor.inputs)]
    known = tuple(name for factor in about for name in factor.inputs)
    values = np.column_stack([np.zeros(len(npv)), npv])
    sampled = evsi(values, told.statistics if known else np.empty((len(values), 0)))
    exact = evppi(values, _index(known, setting, total) if known else np.empty((len(values), 0)))
    study = StudyWorth(
        key=key,
        kind=kind,  # type: ignore[arg-type]
        label=label,
        learns=tuple("+".join(factor.parts) for factor in about),
        unit=told.unit,
        error=told.error,
        detectable=FOUND * told.error,
        evsi=sampled.worth + choice.unused,
        evsi_error=sampled.error,
        evppi=exact.worth + choice.unused,
        open=money["open"],
        cost=money["cost"],
        delay=money["delay"],
    )
    return _Priced(study=study, values=values, sampled=sampled, exact=exact)


def _lacks(study: AnyCandidate, setting: Setting) -> str:
    return lacking(lot_of(study), measured_by(study, setting)) if isinstance(study, Holdout) else ""


def _unpriced(setting: Setting) -> Iterator[Check]:
    """Say which studies of the case have no price, and what is missing (ROX-V32)."""
    for key, study in setting.case.studies.items():
        if reason := _lacks(study, setting):
            yield Check(code="ROX-V32", verdict=Verdict.NOTE, values={"study": key, "reason": f"study.lacks.{reason}"})


def _later(setting: Setting, months: int, total: str) -> Array:
    """Return NPV of starting some months later, the last month staying where it is; shape (draw,)."""
    last = setting.ledger.horizon - months
    if last < 0:
        return np.zeros(setting.size)
    upto = setting.ledger.leading_to("cumulative_present")
    parts = []
    for start in range(0, setting.size, BLOCK):
        block = {n: each[start : start + BLOCK] if len(each) > 1 else each for n, each in setting.drawn.items()}
        path = next(rows for line, rows in upto.run(block) if line.name == "cumulative_present")
        later = path[:, last] * (1 + block["discount"]) ** (-months / block["year"])
        parts.append(np.broadcast_to(later, (min(BLOCK, setting.size - start),)))
    return np.concatenate(parts) + (_claims_later(setting, months, last) if total == CLAIMED else 0.0)


def _claims_later(setting: Setting, months: int, last: int) -> Array:
    """Return what the claims bring after tax if all starts some months later; shape (draw,)."""
    names = [
        f"income_{effect.name}_{place}"
        for effect in setting.effects
        if is_claim(effect)
        for place, _ in enumerate(setting.groups, start=1)
    ]
    parts = []
    for start in range(0, setting.size, BLOCK):
        block = {n: each[start : start + BLOCK] if len(each) > 1 else each for n, each in setting.drawn.items()}
        rows = {line.name: found for line, found in setting.ledger.leading_to(CLAIMED).run(block)}
        flows = sum((rows[name] for name in names), np.zeros((1, 1))) * rows["discount_factor"]
        kept = flows[:, : last + 1].sum(axis=1) * (1 - block["tax"])
        later = kept * (1 + block["discount"]) ** (-months / block["year"])
        parts.append(np.broadcast_to(later, (min(BLOCK, setting.size - start),)))
    return np.concatenate(parts)


def _checks(values: Array, whole: Worth, worths: list[Worth], studies: list[_Priced]) -> Iterator[Check]:
    """Test the order study ≤ what it is about ≤ everything (ROX-V30), and that noise is not sold (ROX-V31)."""
    pairs = [(values, each, whole) for each in worths]
    for each in studies:
        pairs += [(each.values, each.sampled, each.exact), (each.values, each.exact, evpi(each.values))]
    broken = 0
    for of, less, more in pairs:
        by, error = excess(of, less, more)
        broken += by > max(SURE * error, ROUGH * more.worth, 1e-9)
    yield Check(
        code="ROX-V30",
        verdict=Verdict.NOTE if broken else Verdict.PASS,
        values={"count": broken, "pairs": len(pairs)},
    )
    tested = [*worths, *(worth for each in studies for worth in (each.sampled, each.exact))]
    worst = max((abs(each.bias) for each in tested), default=0.0)
    share = worst / whole.worth if whole.worth > 0 else 0.0
    yield Check(
        code="ROX-V31",
        verdict=Verdict.PASS if share <= SLACK else Verdict.NOTE,
        values={"share": 100 * share},
    )
