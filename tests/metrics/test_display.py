"""What may be shown: nothing small can be found from what stands beside it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from rox.metrics.display import ALL, shown

LEAST = 10


def rows_of(leaves: dict[tuple[str, str], int], *, totals: bool) -> pd.DataFrame:
    """One row per leaf of segment and place, and with totals one per segment and one of all."""
    sums = dict(leaves)
    for (segment, _), people in leaves.items() if totals else ():
        for wider in ((segment, ALL), (ALL, ALL)):
            sums[wider] = sums.get(wider, 0) + people
    frame = pd.DataFrame([(*key, float(people)) for key, people in sums.items()], columns=["segment", "place", "n"])
    return frame.assign(customers=frame["n"], n_eff=frame["n"], value=1.0, se=1.0, low=0.0, high=2.0).assign(
        metric="mean", unit="score_point", method="t", month=24300
    )


def visible(frame: pd.DataFrame) -> set[tuple[str, str]]:
    found = shown([frame], by=("month", "segment", "place"), level=0.9, min_cell=LEAST, tree=("segment", "place"))
    return {(row.segment, row.place) for row in found[~found["suppressed"]].itertuples()}


def test_the_parts_of_what_is_hidden_with_a_small_group_are_hidden() -> None:
    leaves = {("A", "x"): 3, ("B", "x"): 20, ("B", "y"): 20, ("C", "x"): 60}
    assert visible(rows_of(leaves, totals=True)) == {("C", "x"), ("C", ALL), (ALL, ALL)}


def test_a_small_part_that_is_alone_is_not_found_from_a_total_in_another_frame() -> None:
    leaves = {("A", "x"): 3, ("B", "x"): 20, ("B", "y"): 20, ("C", "x"): 60}
    assert visible(rows_of(leaves, totals=False)) == {("C", "x")}


@pytest.mark.parametrize("seed", range(12))
def test_no_small_group_of_a_tree_follows_from_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [key for key in product("ABCD", "xyz") if rng.random() < 0.8]
    leaves = {key: int(rng.choice([2, 5, 8, 15, 40, 90])) for key in names}
    frame = rows_of(leaves, totals=True)

    def holds(node: tuple[str, str]) -> list[float]:
        return [float(all(n in (ALL, own) for n, own in zip(node, leaf, strict=True))) for leaf in leaves]

    seen = visible(frame)
    told = np.array([holds(node) for node in sorted(seen)]).reshape(len(seen), len(leaves))
    for row in frame.itertuples():
        if row.n < LEAST:
            more = np.vstack([told, holds((row.segment, row.place))])
            assert np.linalg.matrix_rank(more) > (np.linalg.matrix_rank(told) if len(told) else 0)
