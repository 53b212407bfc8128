"""What a page needs to answer "what if": the ledger as a script, the levers a reader may move, a sample of joint draws.

A lever moves as one row of the tornado does: its point value, and with it every segment's by the same factor. Its draws
follow: those of an assumption are multiplied by new over old value, those of an estimate (an effect, its evidence
discount) are shifted by the difference, so that its uncertainty stays what it was measured to be. The other draws are
frozen.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from rox.core.case import RANGES
from rox.core.formula import Array, names
from rox.core.ledger import Input, Ledger
from rox.core.returns import Return
from rox.core.script import ledger_script
from rox.reporting.numbers import SHARE_UNITS, significant

TOTALS = ("npv", "roi", "payback")
MOST = 8
"""Levers shown, the largest swings first; effects, their evidence discount and the discount rate always are."""

DRAWS = 1_000
"""Joint draws in the page; they stand at even steps among all draws in order of NPV."""

REACH = 2.5
"""How far a lever goes, in distances from its value to its 10% and 90% value."""
TO_ZERO = 6.0
"""How far it goes, in the same distances, if that takes in the value at which NPV is zero."""
ALONE = 0.5
"""How far a lever without a range goes, as a share of its value."""
PLACES = 100
"""A lever has at least so many places to stand."""


@dataclass(frozen=True, kw_only=True)
class Lever:
    """An input, or all segments of an effect, that a reader may move.

    Attributes:
        row: Its row of the tornado.
        members: Places of its inputs among the ledger's.
        start: Lowest value it goes to.
        end: Highest value.
        step: Smallest move, a power of ten.
        moves: What its draws do.
        floor: Draws are cut off below this.
        ceiling: Draws are cut off above this.
    """

    row: pd.Series[Any]
    members: tuple[int, ...]
    start: float
    end: float
    step: float
    moves: Literal["scale", "shift"]
    floor: float
    ceiling: float

    @property
    def value(self) -> float:
        """Its value in the report."""
        return float(self.row["value"])


def levers(money: Return) -> tuple[Lever, ...]:
    """Choose what a reader may move: every effect, its evidence discount, the discount rate, and the largest swings."""
    table = money.tornado
    always = [name for name in table["name"] if name.startswith(("effect_", "evidence_")) or name == "discount"]
    swings = [name for name in table.loc[table["swing"] > 0, "name"] if name not in always]
    chosen = {*always, *swings[: max(MOST - len(always), 2)]}
    rows = [row for _, row in table.iterrows() if row["name"] in chosen]
    found = (_lever(row, money.ledger) for row in rows)
    return tuple(each for each in found if each is not None)


def _lever(row: pd.Series[Any], ledger: Ledger) -> Lever | None:
    places = _members(str(row["name"]), ledger)
    value, low, high, turn = (float(row[key]) for key in ("value", "low", "high", "break_even"))
    if not places or not math.isfinite(value) or (value == 0 and low == high):
        return None
    first = ledger.inputs[places[0]]
    floor, ceiling = _limits(first)
    start, end = value - REACH * (value - low), value + REACH * (high - value)
    if low == high:
        start, end = sorted((value * (1 - ALONE), value * (1 + ALONE)))
    if value - TO_ZERO * (value - low) <= turn <= value + TO_ZERO * (high - value):
        start, end = min(start, turn), max(end, turn)
    if row["name"].startswith("effect_"):
        start, end = min(start, 0.0), max(end, 0.0)
    start, end = max(start, floor), min(end, ceiling)
    if not start < end:
        return None
    step = significant((end - start) / PLACES, 1)
    step = max(step, 1.0) if row["unit"] == "customers" else step
    return Lever(
        row=row,
        members=places,
        start=max(math.floor(start / step + 1e-9) * step, floor),
        end=min(math.ceil(end / step - 1e-9) * step, ceiling),
        step=step,
        moves="scale" if first.kind == "assumption" else "shift",
        floor=floor,
        ceiling=ceiling,
    )


def _members(name: str, ledger: Ledger) -> tuple[int, ...]:
    own = tuple(place for place, each in enumerate(ledger.inputs) if each.name == name)
    parts = tuple(place for place, each in enumerate(ledger.inputs) if each.name.rpartition("_")[0] == name)
    return own or parts


def _limits(each: Input) -> tuple[float, float]:
    """Return what a case file would take in an input's place."""
    if each.kind != "assumption":
        return -math.inf, math.inf
    low, high, _ = RANGES.get(each.place) or RANGES.get(each.place.split(".")[0], (-math.inf, math.inf, ""))
    return low, high


def sample(money: Return) -> Array:
    """Return the numbers of the draws that the page holds: at even steps among all in order of NPV."""
    npv = money.draws["npv"]
    size = min(len(npv), DRAWS)
    ranks = ((np.arange(size) + 0.5) * len(npv) / size).astype(int)
    return np.sort(np.argsort(npv, kind="stable")[ranks])


def uncertain(money: Return) -> tuple[int, ...]:
    """Return the places of the inputs that NPV rests on and whose draws differ."""
    needed = {name for line in money.ledger.leading_to("npv").lines for name in names(line.formula)}
    return tuple(
        place
        for place, each in enumerate(money.ledger.inputs)
        if each.name in needed and len(money.drawn[each.name]) > 1
    )


def script(money: Return) -> str:
    """Return the ledger as a script."""
    return ledger_script(money.ledger, TOTALS)


def numbers(money: Return, shown: tuple[Lever, ...]) -> dict[str, Any]:
    """Return what the script computes with, as plain values: nothing but the ledger's inputs and a sample of draws.

    The draws are 32-bit floats, the first byte the lowest, column after column, in base64.
    """
    kept, columns = sample(money), uncertain(money)
    drawn = [money.drawn[money.ledger.inputs[place].name][kept] for place in columns]
    data = np.array(drawn, dtype="<f4").tobytes()
    decision = money.decision
    return {
        "point": [each.value for each in money.ledger.inputs],
        "size": len(kept),
        "columns": list(columns),
        "draws": base64.b64encode(data).decode("ascii"),
        "low": decision.low,
        "high": decision.high,
        "odds": decision.p_positive,
        "enough": decision.enough,
        "levers": [_plain(each) for each in shown],
    }


def _plain(lever: Lever) -> dict[str, Any]:
    scale = 100.0 if lever.row["unit"] in SHARE_UNITS else 1.0
    finite = {key: value for key, value in (("floor", lever.floor), ("ceiling", lever.ceiling)) if math.isfinite(value)}
    turn = float(lever.row["break_even"])
    return {
        "members": list(lever.members),
        "value": lever.value,
        "start": lever.start,
        "end": lever.end,
        "scale": scale,
        "decimals": max(0, -math.floor(math.log10(lever.step * scale) + 1e-9)),
        "moves": lever.moves,
        "turn": turn if math.isfinite(turn) else None,
        **finite,
    }
