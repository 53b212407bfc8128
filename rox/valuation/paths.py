"""The path ledger: a priced total split into customers kept and money of those who stay. It explains and never adds.

With S the share who stay and A the money of those who do, 0 without and 1 with the change, the extra money of a
customer is S₁A₁ − S₀A₀. In sequence the kept part is R = A₀(S₁ − S₀) and the grown part X = S₁(A₁ − A₀), which holds
the interaction I = (S₁ − S₀)(A₁ − A₀). Shapley's split, which favours no order, gives half of I to either.

References:
    Shorrocks (2013), Journal of Economic Inequality 11.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from rox.core.case import Case
from rox.core.effect import Effect
from rox.core.ledger import Input, Line
from rox.core.spread import Spread
from rox.core.units import Dose, Unit
from rox.valuation.estimated import effect_line, estimates, extra_money, measured, named_inputs
from rox.valuation.fit import column, is_claim
from rox.valuation.streams import income_line, margin_of, new_only, present, total_line

TABLE = "components"
"""Table of an effect with its split: ``staying`` and ``kept_part``, with ``staying_se``, by segment."""
BOTH = frozenset({"retention", "expansion"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """What splits a total.

    Attributes:
        effect: The effect whose total is split.
        kept: Effect on leaving; None when the effect's own table says what was kept.
        grown: Effect on the money of those who stay; None when it is what is left.
    """

    effect: Effect
    kept: Effect | None
    grown: Effect | None

    @property
    def basis(self) -> Literal["measured", "residual"]:
        """Whether the grown part has an estimate of its own or is what is left."""
        return "residual" if self.grown is None else "measured"

    @property
    def others(self) -> tuple[Effect, ...]:
        """Effects that explain and are not priced."""
        return tuple(each for each in (self.kept, self.grown) if each is not None)


@dataclass(frozen=True, kw_only=True)
class PathLines:
    """What a split adds to a ledger."""

    inputs: tuple[Input, ...] = ()
    monthly: tuple[Line, ...] = ()
    totals: tuple[Line, ...] = ()


def path_of(effects: Sequence[Effect], case: Case, explainers: Sequence[Effect]) -> Path | None:
    """Return what splits the total of the case, or None when nothing does that is named in ``explained_by``."""
    named = case.about.explained_by
    for effect in effects:
        if not effect.estimand.channels >= BOTH or is_claim(effect):
            continue
        usable = [each for each in explainers if each.name in named]
        kept = next((each for each in usable if _is_of(each, {"retention"}) and _unit(each) is Unit.LOG_HAZARD), None)
        grown = next((each for each in usable if _is_of(each, {"expansion"}) and not each.estimand.includes_exit), None)
        if kept is not None or (effect.name in named and _split_table(effect) is not None):
            return Path(effect=effect, kept=kept, grown=grown)
    return None


def _is_of(effect: Effect, channels: set[str]) -> bool:
    return effect.estimand.channels == channels


def _unit(effect: Effect) -> Unit:
    return effect.estimand.unit


def _split_table(effect: Effect) -> pd.DataFrame | None:
    """Return the effect's own split, or None if it has none, or not for every segment."""
    table = effect.tables.get(TABLE)
    if table is None or effect.estimand.unit is not Unit.RATIO or not set(effect.groups) <= set(table.index):
        return None
    needed = table.loc[list(effect.groups), ["staying", "staying_se", "kept_part"]].to_numpy(dtype=float)
    return table if np.isfinite(needed).all() else None


def path_lines(path: Path, case: Case, groups: tuple[str, ...]) -> PathLines:
    """Write the split as inputs and lines."""
    monthly: list[Line] = []
    for place, group in enumerate(groups, start=1):
        monthly += (replace(line, group=group) for line in _lines_of(path, case, groups, place))
    return PathLines(
        inputs=(*_staying(path, groups), *estimates(path.others, groups)),
        monthly=(*monthly, *_incomes(path, case, groups)),
        totals=tuple(_totals(path)),
    )


def _staying(path: Path, groups: tuple[str, ...]) -> Iterator[Input]:
    """The kept part by segment: a share of the effect, and beside it the error of the effect on staying.

    The share is that of the two point estimates, between 0 and 1, so that the kept part moves with the effect; where
    it would lie outside, as it does for an effect near zero, the rest of the kept part stands beside the error.
    """
    table = None if path.kept is not None else _split_table(path.effect)
    if table is None:
        return
    for place, group in enumerate(groups, start=1):
        at = list(table.index).index(group if group in path.effect.groups else path.effect.groups[0])
        part, staying, staying_se = (float(table[name].iloc[at]) for name in ("kept_part", "staying", "staying_se"))
        error = abs(part / staying) * staying_se if staying else 0.0
        whole = float(path.effect.draws[:, column(path.effect, group)].mean())
        share = min(max(part / whole, 0.0), 1.0) if whole else 0.0
        beside = part - share * whole
        spread = Spread.normal(beside, error) if error > 0 else Spread.fixed(beside)
        name = f"{path.effect.name}_{place}"
        yield measured(f"of_which_{name}", "input.of_which", "share", Spread.fixed(share), path.effect, group)
        yield measured(f"keeping_{name}", "input.keeping", "share", spread, path.effect, group)


def _lines_of(path: Path, case: Case, groups: tuple[str, ...], place: int) -> Iterator[Line]:
    """Lines of one segment: money kept, money grown, and how much of it is both."""
    effect, named = path.effect, named_inputs(case, groups[place - 1], groups)
    name = f"{effect.name}_{place}"
    if path.kept is None:
        per_point = "" if effect.estimand.dose is Dose.INITIATIVE else " * lift"
        part = f"(of_which_{name} * effect_{name} + keeping_{name})"
        kept = f"{named['people']} * {named['balance']} * {part} * evidence_{effect.name}{per_point} * shape"
        yield effect_line(f"retained_{name}", "line.retained", "money", f"{kept} * stay_{name}")
    else:
        yield from _explaining(path.kept, named, place)
        yield effect_line(f"retained_{name}", "line.retained", "money", f"extra_{path.kept.name}_{place}")
    base = f"{named['people']} * {named['balance']} * (1 - {named['attrition']}) ** (month / year)"
    yield effect_line(f"base_{name}", "line.base", "money", base)
    retained, held = f"retained_{name}", f"(base_{name} + retained_{name})"
    grown = f"extra_{name} - {retained}"
    if path.grown is not None:
        yield from _explaining(path.grown, named, place)
        stayers = f"extra_{path.grown.name}_{place}"
        grown = f"IF(base_{name} > 0, {stayers} * {held} / base_{name}, 0)"
    yield effect_line(f"grown_{name}", "line.grown", "money", grown)
    both = f"IF({held} > 0, grown_{name} * {retained} / {held}, 0)"
    yield effect_line(f"both_{name}", "line.both", "money", both)


def _explaining(effect: Effect, named: dict[str, str], place: int) -> Iterator[Line]:
    return (replace(line, word=f"{line.word}.explains") for line in extra_money(effect, named, place))


def _incomes(path: Path, case: Case, groups: tuple[str, ...]) -> Iterator[Line]:
    effect, capital = path.effect, " - capital" if case.finance.capital is not None else ""
    for part in ("retained", "grown", "both"):
        terms = []
        for place, group in enumerate(groups, start=1):
            margin = margin_of(effect, case, named_inputs(case, group, groups)["margin"])
            terms.append(f"{part}_{effect.name}_{place} * {f'({margin}{capital})' if capital else margin} / year")
        line = income_line(f"part_{part}", f"line.part_{part}", new_only(f"({' + '.join(terms)})", case))
        yield replace(line, section="section.path")


def _totals(path: Path) -> Iterator[Line]:
    whole = f"worth_effect_{path.effect.name}"
    rows = (
        ("path_retained", present("part_retained")),
        ("path_grown", present("part_grown")),
        ("path_both", present("part_both")),
        ("path_retention", "path_retained + half * path_both"),
        ("path_expansion", "path_grown - half * path_both"),
        ("path_gap", f"IF({whole} == 0, 0, (path_retained + path_grown) / {whole} - 1)"),
    )
    for name, formula in rows:
        unit = "share" if name == "path_gap" else "money"
        yield replace(total_line(name, f"line.{name}", unit, formula), section="section.path_result")
