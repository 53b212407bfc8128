"""Checks that several score models share: small segments, heavy tails, a handful of customers, too little precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Grade, Verdict
from rox.core.errors import FitError
from rox.models.answer_table import STILL, AnswerTable
from rox.models.phrases import amount
from rox.models.slope import Slope

FEWEST_CUSTOMERS = 30
"""Customers a segment needs for an estimate of its own."""
TAIL_NOTE = 2.5
"""Tail index below which means of ordinary samples are far from normal."""
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


def usable_segments(answers: AnswerTable, *, min_cell: int, moving: AnswerTable | None = None) -> Segments:
    """Keep segments with enough customers and a score that varies; note those whose money has a heavy tail.

    Args:
        answers: The answers.
        min_cell: Smallest group that may be shown.
        moving: The answers of the customers who tell something, if not all do: these are counted.

    Raises:
        FitError: No segment is left; why is said for each.
    """
    need = max(FEWEST_CUSTOMERS, min_cell)
    counts = (moving or answers).counts
    small: dict[str, str] = {}
    kept = []
    for name, row in counts.sort_index().iterrows():
        segment, customers = str(name), int(row["customers"])
        if customers < need or row["variance"] < STILL:
            small[segment] = f"{segment} ({customers if customers >= min_cell else f'<{min_cell}'})"
        else:
            kept.append(segment)
    if not kept:
        why = f"fewer than {need} customers answered, or all gave the same score; merge segments in the study"
        raise FitError("No segment can be estimated.", [f"{each}: {why}" for each in small.values()])
    tails = answers.of(kept).tail_indices()
    heavy = {name: f"{name} ({tails[name]:.1f})" for name in kept if tails[name] < TAIL_NOTE}
    checks = (_listed("ROX-A06", small, need=need), _listed("ROX-T03", heavy))
    return Segments(kept=tuple(kept), checks=checks, tails=tails)


def _listed(code: str, segments: Mapping[str, str], **values: int) -> Check:
    if not segments:
        return Check(code=code, verdict=Verdict.PASS, values=values)
    return Check(code=code, verdict=Verdict.NOTE, values={"segments": ", ".join(segments.values()), **values})


def overall(fits: Mapping[str, Slope], shares: NDArray[np.float64]) -> tuple[float, float]:
    """Return the share-weighted mean of the segments' slopes and its standard error; segments share no customer."""
    value = float(sum(share * fit.value for share, fit in zip(shares, fits.values(), strict=True)))
    variance = sum((share * fit.se) ** 2 for share, fit in zip(shares, fits.values(), strict=True))
    return value, float(np.sqrt(variance))


def influence_check(
    fits: Mapping[str, Slope], shares: NDArray[np.float64], without: Callable[[], Mapping[str, Slope]]
) -> Check:
    """Refit without the five customers that pull the overall estimate most (ROX-T04).

    Args:
        fits: By segment, in the order of ``shares``.
        shares: Shape (segment,).
        without: Estimates the segments without those customers.
    """
    before, _ = overall(fits, shares)
    after, _ = overall(without(), shares)
    moved = abs(after - before) / abs(before) if before else float("inf")
    verdict = Verdict.DEMOTE if not moved <= MOVED else Verdict.PASS
    return Check(code="ROX-T04", verdict=verdict, values={"p": float(np.nan_to_num(min(100 * moved, 1e6), nan=1e6))})


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


def answering_share(answers: AnswerTable) -> Check:
    """Say for how many of the company's customers the answers speak (ROX-A07).

    A customer counts with the weight beside the first of the answers, before any weighting for response.
    """
    share = float(answers.counts["weight"].sum() / answers.people.segments["ever"].sum())
    totals = answers.totals()
    values = {"answers": totals["rows"], "customers": totals["customers"], "share": 100 * share}
    return Check(code="ROX-A07", verdict=Verdict.NOTE, values=values)


def rival_table(found: Mapping[str, tuple[float, float]], headline: str) -> pd.DataFrame:
    """Put estimates of other specifications beside the headline: ``estimate``, ``se``, ``ratio`` to the headline."""
    main = found[headline][0]
    rows = [(value, se, value / main if main else float("nan")) for value, se in found.values()]
    return pd.DataFrame(rows, index=pd.Index(found, name="specification"), columns=["estimate", "se", "ratio"])
