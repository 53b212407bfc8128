"""What the same tickets would have said to those who read them otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.models.closed_loop_checks import NORMAL_90, WEAK
from rox.models.closed_loop_designs import (
    ByContact,
    BySegment,
    Capacity,
    Per,
    Sample,
    by_capacity,
    by_contact,
    by_lot,
)
from rox.models.closed_loop_outcomes import compared

Floats = NDArray[np.float64]


def headline_of(draws: Floats, design: str) -> tuple[float, float]:
    """Return a middle and a spread: of ratios, which have no mean, those that quantiles tell."""
    if design == "capacity":
        low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95])
        return float(middle), float(high - low) / (2 * NORMAL_90)
    return float(draws.mean()), float(draws.std(ddof=1))


def pooling_table(
    sample: Sample,
    estimate: Floats,
    covariance: Floats,
    shrinkage: Floats,
    draws: Floats,
    shares: Floats,
    min_cell: int,
) -> pd.DataFrame:
    """Tabulate raw and pooled estimates by segment and for all; small segments are not shown."""
    every = np.column_stack([draws, draws @ shares])
    sizes = np.bincount(sample.group, minlength=shares.size).astype(float)
    table = pd.DataFrame(
        {
            "raw": np.append(estimate, estimate @ shares),
            "se": np.sqrt(np.append(np.diag(covariance), shares @ covariance @ shares)),
            "pooled": every.mean(0),
            "sd": every.std(0, ddof=1),
            "shrinkage": np.append(shrinkage, np.nan),
            "customers": np.append(sizes, sizes.sum()),
        },
        index=pd.Index([*sample.groups, "all"], name="group"),
    )
    table.loc[table["customers"] < min_cell, :] = np.nan
    return table


def rivals(
    sample: Sample,
    lot: BySegment | None,
    contact: ByContact | None,
    capacity: Capacity | None,
    *,
    design: str,
    headline: tuple[float, float],
    per: Per,
) -> pd.DataFrame:
    """Put every design beside the headline, over all segments, on one scale.

    Effects of a contact in time become effects per eligible customer by the share contacted in time. A first stage too
    weak for any statement is left out.

    Returns:
        Index ``design``, the first row the headline; columns ``estimate``, ``se``, ``low``, ``high`` (90%; for ratios
        the set of Anderson & Rubin) and ``word``, the key of the sentence that says what each is.
    """
    rows: dict[str, tuple[float, float, float, float]] = {"pooled": _normal(*headline)}
    if lot is not None:
        rows |= _by_lot(sample, lot, per)
    scale = 1.0 if per == "contacted" or contact is None else contact.share
    if capacity is not None and capacity.f >= WEAK:
        ratio = capacity.ratio
        bounds = (ratio.robust_set.low * scale, ratio.robust_set.high * scale)
        rows["capacity"] = (ratio.value * scale, ratio.se * scale, *bounds)
    if contact is not None:
        if contact.aipw is not None and contact.overlap is not None:
            rows["weights"] = _normal(contact.aipw[0] * scale, contact.aipw[1] * scale)
            rows["overlap"] = _normal(contact.overlap.value * scale, contact.overlap.se * scale)
        rows["regression"] = _normal(contact.regression[0] * scale, contact.regression[1] * scale)
        rows["naive"] = _normal(contact.naive[0] * scale, contact.naive[1] * scale)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "se", "low", "high"])
    table["word"] = [f"closed_loop.rival.{f'pooled.{design}' if name == 'pooled' else name}" for name in rows]
    return table.rename_axis("design")


def _by_lot(sample: Sample, lot: BySegment, per: Per) -> dict[str, tuple[float, float, float, float]]:
    """Return the lot's other readings: unpooled, without facts, and divided by first contacts alone."""
    plain = by_lot(sample, adjusted=False)
    if per == "eligible":
        found = {}
        for name, each in (("hold_out", lot), ("hold_out_unadjusted", plain)):
            value, variance = each.per("eligible")[0], each.widened("eligible")
            found[name] = _normal(float(sample.shares @ value), float(np.sqrt(sample.shares**2 @ variance)))
        return found
    found = {}
    first = by_lot(sample, contact="contacted")
    for name, each in (("hold_out", lot), ("hold_out_unadjusted", plain), ("hold_out_first", first)):
        ratio = each.ratio(sample.shares)
        if ratio.effective_f >= WEAK:
            found[name] = (ratio.value, ratio.se, ratio.robust_set.low, ratio.robust_set.high)
    return found


def _normal(value: float, se: float) -> tuple[float, float, float, float]:
    return value, se, value - NORMAL_90 * se, value + NORMAL_90 * se


def negative_table(sample: Sample, *, lot: bool, min_cell: int) -> pd.DataFrame:
    """Ask every design for its effect on the growth of money before eligibility, which must be zero.

    Growth is no fact that is held equal here.

    Returns:
        Index ``design``; columns ``gap`` (share of own money, per eligible customer for the lot and per contacted one
        for the others), ``se`` and ``p``. Missing where the earlier money of too few is known.
    """
    facts = sample.facts_before_growth
    found: dict[str, tuple[float, float]] = {}
    if lot:
        gap, error, *_ = compared(sample, "growth", min_cell, adjusted=False)
        found["hold_out"] = (gap, error)
    pushed = by_capacity(sample, outcome="growth", facts=facts)
    if pushed is not None and pushed.f >= WEAK:
        found["capacity"] = (pushed.ratio.value, pushed.ratio.se)
    contact = by_contact(sample, outcome="growth", facts=facts)
    if contact is not None:
        if contact.aipw is not None and contact.overlap is not None:
            found["weights"] = contact.aipw
            found["overlap"] = (contact.overlap.value, contact.overlap.se)
        found["regression"], found["naive"] = contact.regression, contact.naive
    table = pd.DataFrame.from_dict(found, orient="index", columns=["gap", "se"])
    table["p"] = 2 * stats.norm.sf(np.abs(table["gap"]) / table["se"].where(table["se"] > 0))
    return table.rename_axis("design")
