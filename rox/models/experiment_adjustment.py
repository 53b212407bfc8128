"""What an experiment is adjusted for: only what was known before the lot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rox.models.experiment_rows import Arms, Bools, Floats, Ints

PER_COVARIATE = 15
"""Customers of the smaller arm that a covariate needs."""
PLACES_PER_COVARIATE = 3
"""Places of the smaller arm that it needs where places were assigned."""
BANDS = 10
SAME_SHARE = 0.015
"""Difference in the share treated up to which strata may be read as one: the lot gave the same in them."""


def covariates(arms: Arms, used: Bools, treated: Bools, *, adjust: bool) -> Floats:
    """Choose what to adjust for among some customers of one segment: only what was known before the lot.

    What the lot was drawn within comes first; then bands of money, the customer's own movement before the lot, and the
    month of the lot. There are at most as many as the smaller arm carries, one per 15 customers or 3 places.

    Args:
        arms: The experiment.
        used: Shape (n,): the customers.
        treated: Shape (n,): whether a customer is in the treated arm.
        adjust: Whether to go beyond what the lot was drawn within.

    Returns:
        Shape (used, p).
    """
    side = treated[used]
    unit = arms.place[used]
    level = strata(arms, used, treated)[0]
    columns = [(level == each).astype(float) for each in np.unique(level)[1:]]
    sizes = [np.unique(unit[side == each]).size for each in (True, False)]
    room = min(sizes) // (PLACES_PER_COVARIATE if arms.by_place else PER_COVARIATE) - len(columns)
    if adjust and room > 0:
        more = [_filled(arms.before[name].to_numpy()[used]) for name in ("earlier", "newest")]
        more.append(arms.month[used].astype(float))
        more = [each for each in more if _moves(each, side)][:room]
        bands = min(room - len(more) + 1, BANDS)
        columns += more
        if bands > 1:
            rank = pd.Series(arms.base[used]).rank(method="min").to_numpy() - 1
            columns += _indicators((rank * bands // rank.size).astype(np.int64), side, unit)
    return _independent(np.column_stack(columns) if columns else np.zeros((int(used.sum()), 0)), side)


def comparable(code: Ints, side: Bools, unit: Ints) -> list[int]:
    """List the levels in which both arms have at least two customers, or two places if these were assigned.

    A place alone in its arm and level would be fitted exactly, and pass for one without luck of its own.
    """
    rows = pd.DataFrame({"code": code, "side": side, "unit": unit}).drop_duplicates()
    counts = rows.groupby(["code", "side"]).size().unstack(fill_value=0)
    return [int(level) for level in counts.index[(counts.shape[1] == 2) & (counts.min(axis=1) >= 2)]]


def strata(arms: Arms, used: Bools, treated: Bools) -> tuple[Ints, Bools, Bools]:
    """Merge the strata that are too small to be compared with those where the lot gave the same share to treatment.

    Customers of different strata may be compared where the lot treated them with the same probability: the planned one,
    or where none is declared that of the stratum's own customers, or places.

    Args:
        arms: The experiment.
        used: Shape (n,): the customers.
        treated: Shape (n,): whether a customer is in the treated arm.

    Returns:
        A level for each customer, shape (used,); whether the stratum was merged; and whether it had to be merged with
        strata of another share, for want of any of its own.
    """
    code, side, unit = arms.block[used], treated[used], arms.place[used]
    lone = ~np.isin(code, comparable(code, side, unit))
    apart = np.zeros(code.size, dtype=bool)
    if not lone.any():
        return code, lone, apart
    share = _lot_share(arms, treated)[used]
    pooled = np.unique(np.rint(share * 100), return_inverse=True)[1]
    level = np.where(lone, arms.block.max() + 1 + pooled, code)
    whole = comparable(level, side, unit)
    middle = np.array([share[level == each].mean() for each in whole])
    left = sorted(set(level[lone].tolist()) - set(whole))
    for each in left:
        member = level == each
        if not whole:
            level[member] = left[0]
            apart |= lone & (np.ptp(share) > SAME_SHARE)
            continue
        gap = np.abs(middle - share[member].mean())
        level[member] = whole[int(gap.argmin())]
        apart |= member & (gap.min() > SAME_SHARE)
    return level.astype(np.int64), lone, apart


def _lot_share(arms: Arms, treated: Bools) -> Floats:
    """Return the share of its stratum that the lot gave to treatment instead of control, shape (n,)."""
    size = int(arms.block.max()) + 1
    labels, unit = np.unique(arms.place, return_inverse=True)
    found, planned = np.zeros((2, size)), np.zeros((2, size))
    for row, member in enumerate((treated, np.asarray(arms.arm == arms.control))):
        drawn = np.unique(arms.block[member] * labels.size + unit[member]) // labels.size
        found[row] = np.bincount(drawn, minlength=size)
        known = member & np.isfinite(arms.planned)
        count = np.bincount(arms.block[known], minlength=size)
        total = np.bincount(arms.block[known], weights=arms.planned[known], minlength=size)
        planned[row] = np.divide(total, count, out=np.full(size, np.nan), where=count > 0)
    declared = np.isfinite(planned).all(0) & (planned.sum(0) > 0)
    both = np.where(declared, planned, found)
    share = np.divide(both[0], both.sum(0), out=np.full(size, 0.5), where=both.sum(0) > 0)
    return np.asarray(share[arms.block])


def _indicators(code: Ints, side: Bools, unit: Ints) -> list[Floats]:
    """Make indicators of all levels but the first in which arms can be compared; other levels join the first."""
    return [(code == level).astype(float) for level in comparable(code, side, unit)[1:]]


def _filled(values: Floats) -> Floats:
    known = np.isfinite(values)
    return np.where(known, values, values[known].mean() if known.any() else 0.0)


def _moves(values: Floats, side: Bools) -> bool:
    return bool(min(np.ptp(values[side]), np.ptp(values[~side])) > 1e-9)


def _independent(x: Floats, side: Bools) -> Floats:
    """Leave out columns that the ones before them make, in either arm."""
    kept: Sequence[int] = range(x.shape[1])
    for member in (side, ~side):
        inside: list[int] = []
        for column in kept:
            z = np.column_stack([np.ones(int(member.sum())), x[member][:, [*inside, column]]])
            z = z / np.sqrt((z**2).sum(0) + 1e-300)
            if np.linalg.eigvalsh(z.T @ z)[0] > 1e-8:
                inside.append(column)
        kept = inside
    return x[:, list(kept)]
