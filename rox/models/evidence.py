"""Checks that several score models share: small segments, heavy tails, a handful of customers, too little precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.census import Census
from rox.core.check import Check, Grade, Verdict
from rox.core.errors import FitError
from rox.models.answers import RESPONSE_WEIGHT
from rox.models.phrases import amount
from rox.models.slope import Slope
from rox.numerics.tails import FEWEST, hill

FEWEST_CUSTOMERS = 30
"""Customers a segment needs for an estimate of its own."""
TAIL_NOTE = 2.5
"""Tail index below which means of ordinary samples are far from normal."""
TAIL_SHARE, FEWEST_FOR_TAIL = 0.05, 100
"""Top share of customers that make the tail, and customers needed to measure it."""
TOP, MOVED = 5, 0.20
"""How many customers are left out, and how far they may move the estimate."""


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Segments that can be estimated, and the checks that say so.

    Attributes:
        kept: Names, sorted.
        checks: Which were left out and why.
        tails: Tail index of money per customer by segment; missing where it cannot be measured.
    """

    kept: tuple[str, ...]
    checks: tuple[Check, ...]
    tails: Mapping[str, float]


def usable_segments(rows: pd.DataFrame, *, min_cell: int) -> Segments:
    """Keep segments with enough customers and a score that varies; note those whose money has a heavy tail.

    Raises:
        FitError: No segment is left; why is said for each.
    """
    need = max(FEWEST_CUSTOMERS, min_cell)
    small: dict[str, str] = {}
    heavy: dict[str, str] = {}
    tails: dict[str, float] = {}
    for name, part in rows.groupby("segment", sort=True):
        segment, customers = str(name), part["customer"].nunique()
        if customers < need or part["score"].nunique() < 2:
            small[segment] = f"{segment} ({customers if customers >= min_cell else f'<{min_cell}'})"
            continue
        tails[segment] = _tail_index(part)
        if tails[segment] < TAIL_NOTE:
            heavy[segment] = f"{segment} ({tails[segment]:.1f})"
    if not tails:
        why = f"fewer than {need} customers answered, or all gave the same score; merge segments in the study"
        raise FitError("No segment can be estimated.", [f"{each}: {why}" for each in small.values()])
    checks = (_listed("ROX-A06", small, need=need), _listed("ROX-T03", heavy))
    return Segments(kept=tuple(tails), checks=checks, tails=tails)


def _listed(code: str, segments: Mapping[str, str], **values: int) -> Check:
    if not segments:
        return Check(code=code, verdict=Verdict.PASS, values=values)
    return Check(code=code, verdict=Verdict.NOTE, values={"segments": ", ".join(segments.values()), **values})


def _tail_index(rows: pd.DataFrame) -> float:
    """Hill's tail index of money per customer; missing without a measurable upper tail."""
    money = rows.groupby("customer")["outcome"].mean().to_numpy()
    if money.size < FEWEST_FOR_TAIL:
        return float("nan")
    share = max(TAIL_SHARE, (FEWEST + 0.5) / money.size)
    cut = np.sort(money)[-int(share * money.size) - 1]
    if cut <= 0 or cut == money.max():
        return float("nan")
    return hill(money, share=share).alpha


def overall(fits: Mapping[str, Slope], shares: NDArray[np.float64]) -> tuple[float, float]:
    """Return the share-weighted mean of the segments' slopes and its standard error; segments share no customer."""
    value = float(sum(share * fit.value for share, fit in zip(shares, fits.values(), strict=True)))
    variance = sum((share * fit.se) ** 2 for share, fit in zip(shares, fits.values(), strict=True))
    return value, float(np.sqrt(variance))


def influence_check(
    fits: Mapping[str, Slope], shares: NDArray[np.float64], refit: Callable[[str, frozenset[int]], Slope]
) -> Check:
    """Refit without the five customers that pull the overall estimate most (ROX-T04).

    Args:
        fits: By segment, in the order of ``shares``.
        shares: Shape (segment,).
        refit: Estimates a segment without some customers.
    """
    pulls = pd.concat(
        {segment: share * fit.influence for share, (segment, fit) in zip(shares, fits.items(), strict=True)}
    )
    worst = pulls.abs().sort_values(ascending=False, kind="stable").index[:TOP]
    before, _ = overall(fits, shares)
    changed = dict(fits)
    for segment in sorted({place[0] for place in worst}):
        changed[segment] = refit(segment, frozenset(customer for where, customer in worst if where == segment))
    after, _ = overall(changed, shares)
    moved = abs(after - before) / abs(before) if before else float("inf")
    verdict = Verdict.DEMOTE if moved > MOVED else Verdict.PASS
    return Check(code="ROX-T04", verdict=verdict, values={"p": min(100 * moved, 1e6)})


def power_check(fits: Mapping[str, Slope]) -> Check:
    """Name the segments whose standard error exceeds their estimate (ROX-T05)."""
    weak = {
        segment: f"{segment} ({amount(fit.value)} ± {amount(fit.se)})"
        for segment, fit in fits.items()
        if fit.se > abs(fit.value)
    }
    return _listed("ROX-T05", weak)


def demoted_to(grade: Grade, code: str, fails: bool, values: Mapping[str, str | int | float]) -> Check:
    """Return a check that, when it fails, leaves at best a grade."""
    if fails:
        return Check(code=code, verdict=Verdict.DEMOTE, values=values, to_grade=grade)
    return Check(code=code, verdict=Verdict.PASS, values=values)


def who_answered(panel: pd.DataFrame, rows: pd.DataFrame) -> Check:
    """Say for how many of the company's customers the answers speak, from the whole panel (ROX-A07)."""
    customers = panel.drop_duplicates("customer").set_index("customer")["weight"]
    return _speaking(rows, float(customers.loc[rows["customer"].unique()].sum() / customers.sum()))


def answering_share(people: Census, rows: pd.DataFrame) -> Check:
    """Say for how many of the company's customers the answers speak, from a panel that was counted (ROX-A07).

    A customer counts with the weight beside the first of the answers, before any weighting for response.
    """
    first = rows.drop_duplicates("customer")
    weight = first["weight"] / first[RESPONSE_WEIGHT] if RESPONSE_WEIGHT in first else first["weight"]
    return _speaking(rows, float(weight.sum() / people.segments["ever"].sum()))


def _speaking(rows: pd.DataFrame, share: float) -> Check:
    values = {"answers": len(rows), "customers": rows["customer"].nunique(), "share": 100 * share}
    return Check(code="ROX-A07", verdict=Verdict.NOTE, values=values)


def rest(rows: pd.DataFrame, segment: str, customers: frozenset[int]) -> pd.DataFrame:
    """Return a segment's rows without some customers."""
    return rows[(rows["segment"] == segment) & ~rows["customer"].isin(customers)]


def rival_table(found: Mapping[str, tuple[float, float]], headline: str) -> pd.DataFrame:
    """Put estimates of other specifications beside the headline: ``estimate``, ``se``, ``ratio`` to the headline."""
    main = found[headline][0]
    rows = [(value, se, value / main if main else float("nan")) for value, se in found.values()]
    return pd.DataFrame(rows, index=pd.Index(found, name="specification"), columns=["estimate", "se", "ratio"])
