"""An order of places drawn by lot, for a company to roll out by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.errors import FitError

Ints = NDArray[np.int64]
NEVER = ""
LARGEST_STRATA = 4


def draw_order(
    places: Sequence[str],
    starts: Sequence[str],
    rng: int,
    *,
    sizes: Sequence[int] | None = None,
    strata: pd.DataFrame | None = None,
    initiative: str = "",
) -> pd.DataFrame:
    """Draw by lot which places start when, balanced over strata.

    Places are sorted into strata of like size and, within them, of like growth; each stratum gets its share of every
    start, and the lot decides the rest. Every place of a stratum has the same chance of every start, so the
    comparison is fair by construction; the strata only make it less noisy (Imbens & Rubin 2015, chapter 9). The same
    seed, places and starts give the same order, which anybody can check.

    Args:
        places: Names.
        starts: Months of the starts, such as ``"2026-03"``.
        rng: The seed, a whole number; it stands in every row.
        sizes: Places per start; as even as they go over all places by default. Those left over never start.
        strata: By place, columns to be balanced over, the most important first; numbers are cut into halves.
        initiative: Name, for the study's table of initiatives.

    Returns:
        One row per place, in order of start and name: ``initiative``, ``place``, ``stage`` (from 1, 0 for none),
        ``start`` (first day of the month; empty for none), ``stratum``, ``seed``.

    Raises:
        FitError: Places twice, sizes that do not fit, or strata that lack a place.
    """
    names = np.array(sorted(map(str, places)))
    counts = list(_even(len(names), len(starts)) if sizes is None else sizes)
    faults = []
    if len(set(names)) != len(names):
        faults.append("some places are named twice")
    if not starts or len(counts) != len(starts) or min(counts, default=0) < 1 or sum(counts) > len(names):
        faults.append(f"{counts} places are to start in {len(starts)} months; there are {len(names)} places")
    if strata is not None and set(names) - set(strata.index.astype(str)):
        faults.append("strata lack some of the places")
    if faults:
        raise FitError("No order can be drawn.", faults)
    generator = np.random.default_rng(rng)
    stratum = _strata(names, strata)
    stage = _dealt(stratum, [*counts, len(names) - sum(counts)], generator)
    day = [f"{each}-01" for each in starts] + [NEVER]
    table = pd.DataFrame(
        {
            "initiative": initiative,
            "place": names,
            "stage": np.where(stage == len(starts), 0, stage + 1),
            "start": [day[each] for each in stage],
            "stratum": stratum + 1,
            "seed": rng,
        }
    )
    return table.iloc[np.lexsort((names, stage))].reset_index(drop=True)


def _even(places: int, starts: int) -> list[int]:
    return [each.size for each in np.array_split(np.arange(places), max(starts, 1))]


def _strata(names: NDArray[np.str_], facts: pd.DataFrame | None) -> Ints:
    """Cut places into halves by each column in turn, as long as a stratum holds enough places to deal."""
    code = np.zeros(names.size, dtype=np.int64)
    if facts is None:
        return code
    known = facts.set_axis(facts.index.astype(str)).loc[list(names)]
    for column in known.columns[:2]:
        rank = known[column].groupby(code).rank(method="first", pct=True).to_numpy()
        if names.size >= LARGEST_STRATA * 2 * (code.max() + 1):
            code = 2 * code + (rank > 0.5)
    return np.unique(code, return_inverse=True)[1].astype(np.int64)


def _dealt(stratum: Ints, counts: list[int], rng: np.random.Generator) -> Ints:
    """Deal starts within strata: whole shares first, what is left by systematic draws, so that totals come out."""
    dealt = np.full(stratum.size, -1, dtype=np.int64)
    rest = np.array(counts, dtype=np.int64)
    for code in rng.permutation(np.unique(stratum)):
        inside = np.flatnonzero(stratum == code)
        share = inside.size * rest / rest.sum()
        number = np.floor(share + 1e-9).astype(np.int64)
        number += _systematic(share - number, inside.size - int(number.sum()), rng)
        rest -= number
        dealt[rng.permutation(inside)] = np.repeat(np.arange(rest.size), number)
    return dealt


def _systematic(fractions: NDArray[np.float64], size: int, rng: np.random.Generator) -> Ints:
    """Draw ``size`` of them without replacement with chances equal to the fractions, which sum to ``size``."""
    drawn = np.zeros(fractions.size, dtype=np.int64)
    if size:
        order = rng.permutation(fractions.size)
        ends = np.cumsum(np.maximum(fractions[order], 0.0))
        marks = (np.arange(size) + rng.random()) * ends[-1] / size
        drawn[order[np.minimum(np.searchsorted(ends, marks, side="right"), fractions.size - 1)]] = 1
    return drawn
