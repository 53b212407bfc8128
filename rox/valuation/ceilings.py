"""How far several initiatives can move the same customers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rox.core.case import EVERYONE
from rox.core.formula import Array
from rox.core.portfolio import Portfolio
from rox.core.units import Dose, Unit
from rox.valuation.common_inputs import Priced, sampled
from rox.valuation.fit import is_claim

Reach = frozenset[str]
"""Other initiatives that reach the same customers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ceilings:
    """Doses of all initiatives and the ceilings on their sums.

    Attributes:
        doses: By initiative with a lift, if there is a ceiling on the score: (d,) movement of the score.
        moved: By initiative and segment, if there is a ceiling on the share: (d,) sum of effects in shares of money.
        measured: Initiatives whose effects are measured as a whole; what one did alone, it did.
        room: (d,) how far the score can rise; None without a ceiling on it.
        share: (d,) how far shares can rise; None without a ceiling on them.
    """

    doses: Mapping[str, Array]
    moved: Mapping[tuple[str, str], Array]
    measured: frozenset[str]
    room: Array | None
    share: Array | None

    @classmethod
    def of(
        cls,
        portfolio: Portfolio,
        priced: Mapping[str, Priced],
        drawn: Mapping[str, Mapping[str, Array]],
        size: int,
        seed: int,
    ) -> Ceilings:
        """Read the doses of each initiative and the ceilings from the draws."""
        ceiling, room, share = portfolio.ceiling, None, None
        if ceiling is not None and ceiling.today is not None and ceiling.best is not None:
            today = sampled(ceiling.today.spread, "ceiling.today", size, seed)
            room = np.maximum(sampled(ceiling.best.spread, "ceiling.best", size, seed) - today, 0.0)
        if ceiling is not None and ceiling.share is not None:
            share = np.maximum(sampled(ceiling.share.spread, "ceiling.share", size, seed), 0.0)
        doses = {}
        for key, case in portfolio.cases.items():
            if room is not None and case.lift is not None and not all(map(is_claim, priced[key].effects)):
                held = drawn[key].get("lift")
                alone = sampled(case.lift.spread, f"{key} lift", size, seed) if held is None else held
                doses[key] = np.maximum(np.broadcast_to(alone, size), 0.0)
        moved = {
            (key, group): np.maximum(_moved(each, drawn[key], group, size), 0.0)
            for key, each in priced.items()
            for group in (each.groups if share is not None else ())
        }
        whole = (key for key, each in priced.items() if all(e.estimand.dose is Dose.INITIATIVE for e in each.effects))
        return cls(doses=doses, moved=moved, measured=frozenset(whole), room=room, share=share)

    def on_score(self, key: str, reach: Reach) -> Array | None:
        """Factor by which a dose shrinks where others reach the same customers, (d,); None if it does not."""
        several = {one: self.doses[one] for one in sorted({key, *reach}) if one in self.doses}
        if self.room is None or key not in several:
            return None
        return _cut(several, self.room, self.measured)

    def on_share(self, key: str, reach: Reach, group: str) -> Array | None:
        """Factor by which effects in shares of money shrink, (d,); None if they do not."""
        several = {}
        for one in sorted({key, *reach}):
            for name in (group, EVERYONE):
                if (one, name) in self.moved:
                    several[one] = self.moved[one, name]
                    break
        return None if self.share is None or key not in several else _cut(several, self.share, frozenset(several))

    def knows(self, one: str, other: str) -> bool:
        """Whether some ceiling applies to what two initiatives do together."""
        if self.room is not None and {one, other} <= set(self.doses):
            return True
        mine, theirs = ({group for key, group in self.moved if key == each} for each in (one, other))
        shared = (mine & theirs) | (mine if EVERYONE in theirs else set()) | (theirs if EVERYONE in mine else set())
        return self.share is not None and any(
            all(np.any(self.moved.get((key, group), self.moved.get((key, EVERYONE), 0.0))) for key in (one, other))
            for group in shared
        )

    def binds(self, one: str, other: str) -> float:
        """Share of draws in which a ceiling cuts what two initiatives do together."""
        factors = [self.on_score(one, frozenset({other}))]
        factors += [self.on_share(one, frozenset({other}), group) for key, group in self.moved if key == one]
        held = [factor < 1 for factor in factors if factor is not None]
        return float(np.any(held, axis=0).mean()) if held else 0.0


def _cut(several: Mapping[str, Array], room: Array, measured: frozenset[str]) -> Array:
    """Room over the sum, at most 1; an initiative measured as a whole has shown that there is room for it."""
    shown = [dose for key, dose in several.items() if key in measured]
    most = np.maximum.reduce([room, *shown])
    total = sum(several.values(), np.zeros_like(room))
    return np.minimum(1.0, np.divide(most, total, out=np.ones_like(total), where=total > 0))


def _moved(priced: Priced, drawn: Mapping[str, Array], group: str, size: int) -> Array:
    """Sum of an initiative's counted effects on money in a segment, in shares of the money held there, (d,).

    Effects on leaving move no share of money by themselves; the ceiling on the score is what binds them.
    """
    total = np.zeros(size)
    place = priced.groups.index(group) + 1
    for effect in priced.effects:
        if is_claim(effect) or effect.estimand.unit is Unit.LOG_HAZARD:
            continue
        moved = drawn[f"effect_{effect.name}_{place}"] * drawn[f"evidence_{effect.name}"]
        if effect.estimand.dose is not Dose.INITIATIVE:
            moved = moved * drawn["lift"]
        if effect.estimand.unit is not Unit.RATIO:
            held = priced.case.of_group("balance", group)[1].spread.likely
            moved = moved / held if held > 0 else np.zeros(1)
        total = total + moved
    return total
