"""From the linked panel to the paths of money and answers of the customers of each segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.census import Census
from rox.core.errors import FitError
from rox.core.linked import Linked, Step
from rox.models.answers import count_panel
from rox.numerics.joint_path import Paths
from rox.numerics.joint_path_fit import around_common, paths_around_common

Ints = NDArray[np.int64]

BUCKETS = 64
"""Random groups of customers for the errors."""
FEWEST_ANSWERS, FEWEST_CUSTOMERS, FEWEST_AGAIN = 300, 200, 100
"""Answers, customers with money, and answers after an earlier one of the same customer, that a segment needs."""
FEWEST_READINGS = 6
FEWEST_AT_PLACE = 10
"""Mean number of answers, in a month in which some are given, that a place needs to have its own common movement."""
COLUMNS = ["customer", "month", "segment", "unit", "outcome", "score", "score_age"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PathRows:
    """What the joint model is fitted to.

    Attributes:
        groups: Segments used, sorted.
        paths: One per group; months are counted from the panel's first.
        people: The whole panel in numbers.
        customers: Customers by group.
        thin: Segments left out.
        by_place: Whether what customers of a place have in common was taken out.
        steps: What was kept and lost on the way.
    """

    groups: tuple[str, ...]
    paths: tuple[Paths, ...]
    people: Census
    customers: Mapping[str, int]
    thin: tuple[str, ...]
    by_place: bool
    steps: tuple[Step, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Count answers, customers, customers who answered more than once, and clusters."""
        many = np.concatenate([np.bincount(part.who) for part in self.paths])
        customers = sum(self.customers.values())
        answers = sum(len(part.answer) for part in self.paths)
        return {"rows": answers, "customers": customers, "repeated": int((many > 1).sum()), "clusters": customers}


def path_rows(data: Linked, *, step: int, cap: float, most: int, rng: np.random.Generator) -> PathRows:
    """Read the panel, a sample of its customers if they are many, and take out what customers have in common.

    Args:
        data: The linked panel.
        step: Months between readings of money, counted back from the last.
        cap: Largest growth of a step that counts in what is common.
        most: Customers to use at most.
        rng: Draws the sample.

    Raises:
        DataError, LeakageError: A panel that no score model can use.
        FitError: Too short a history, or no segment with enough answers.
    """
    people = count_panel(data)
    readings = (people.last - people.first) // step + 1
    if readings < FEWEST_READINGS:
        raise FitError(
            "The panel is too short to follow money.",
            [f"{people.last - people.first + 1} months hold {readings} readings; {FEWEST_READINGS} are needed"],
        )
    frame, sampled = _sampled(data, people, most, rng)
    frame["segment"] = frame["segment"].fillna(EVERYONE).astype(str)
    answers = _answers(frame)
    groups, thin = _dense(frame, answers)
    frame, answers = (each[each["segment"].isin(groups)] for each in (frame, answers))
    by_place = _has_places(answers)
    paths = _paths(frame, answers, groups, people, step=step, cap=cap, by_place=by_place)
    customers = {name: len(part.money) for name, part in zip(groups, paths, strict=True)}
    used = Step(
        name="paths",
        rows=len(frame),
        lost=people.rows - len(frame),
        customers=sum(customers.values()),
        reason="joint_path.step.sampled" if sampled else "joint_path.step.paths",
    )
    return PathRows(
        groups=groups, paths=paths, people=people, customers=customers, thin=thin, by_place=by_place, steps=(used,)
    )


def _sampled(data: Linked, people: Census, most: int, rng: np.random.Generator) -> tuple[pd.DataFrame, bool]:
    """Fetch every k-th customer, and of these as many as are wanted; whether that left some out."""
    panel: Any = data.panel
    panel = panel[COLUMNS]
    apart = max(int(people.rows / (people.last - people.first + 1) / most), 1)
    if apart > 1:
        keep = panel["customer"] % apart == int(rng.integers(apart))
        panel = panel[keep] if isinstance(panel, pd.DataFrame) else panel.filter(keep)
    frame = data.fetch(panel).sort_values(["customer", "month"], kind="stable").reset_index(drop=True)
    customers = frame["customer"].unique()
    if len(customers) > most:
        frame = frame[frame["customer"].isin(rng.choice(customers, most, replace=False))].reset_index(drop=True)
    numbers = {name: pd.to_numeric(frame[name]).astype(float) for name in ("outcome", "score", "score_age")}
    return frame.assign(**numbers), apart > 1 or len(customers) > most


def _answers(frame: pd.DataFrame) -> pd.DataFrame:
    """List every answer once, with the month in which it was given."""
    scored = frame[frame["score"].notna()]
    answered = (scored["month"] - scored["score_age"]).astype(np.int64)
    scored = scored.assign(answered=answered).drop_duplicates(["customer", "answered"])
    return scored[scored["answered"] >= int(frame["month"].min())]


def _dense(frame: pd.DataFrame, answers: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the segments with enough to go by, and the others."""
    holding = frame[frame["outcome"] > 0].groupby("segment")["customer"].nunique()
    given = answers.groupby("segment").size()
    again = given - answers.groupby("segment")["customer"].nunique()
    names = sorted(frame["segment"].unique())
    enough = [
        name
        for name in names
        if holding.get(name, 0) >= FEWEST_CUSTOMERS
        and given.get(name, 0) >= FEWEST_ANSWERS
        and again.get(name, 0) >= FEWEST_AGAIN
    ]
    if not enough:
        raise FitError(
            f"No segment has {FEWEST_ANSWERS} answers, {FEWEST_AGAIN} of them after an earlier one of the same "
            f"customer, among {FEWEST_CUSTOMERS} customers with money.",
            ["merge segments, or wait for more answers; ScoreGap describes the gap with fewer"],
        )
    return tuple(enough), tuple(name for name in names if name not in enough)


def _has_places(answers: pd.DataFrame) -> bool:
    if answers["unit"].isna().any():
        return False
    return len(answers) / len(answers[["unit", "answered"]].drop_duplicates()) >= FEWEST_AT_PLACE


def _paths(
    frame: pd.DataFrame,
    answers: pd.DataFrame,
    groups: tuple[str, ...],
    people: Census,
    *,
    step: int,
    cap: float,
    by_place: bool,
) -> tuple[Paths, ...]:
    holding = frame[frame["outcome"] > 0]
    first = holding.drop_duplicates("customer")
    customers = first["customer"].to_numpy()
    segment = pd.Categorical(first["segment"], categories=list(groups)).codes.astype(np.int64)
    place = pd.factorize(first["unit"].astype(str))[0] if by_place else np.zeros(len(first), np.int64)
    months = np.arange(people.last - people.first, -1, -step)[::-1]
    table = np.full((len(customers), people.last - people.first + 1), np.nan)
    row = np.searchsorted(customers, holding["customer"].to_numpy())
    table[row, holding["month"].to_numpy() - people.first] = np.log(holding["outcome"].to_numpy(dtype=float))
    money = paths_around_common(table[:, months], segment, place, cap=cap)
    answers = answers[answers["customer"].isin(customers)]
    who = np.searchsorted(customers, answers["customer"].to_numpy())
    at = answers["answered"].to_numpy() - people.first
    span = table.shape[1]
    values = around_common(
        answers["score"].to_numpy(dtype=float),
        _codes(segment[who] * span + at),
        _codes((place[who] if by_place else 0) * span + at),
    )
    paths = []
    for code in range(len(groups)):
        mine = np.flatnonzero(segment == code)
        of = segment[who] == code
        paths.append(
            Paths(
                money=money[mine],
                months=months,
                who=np.searchsorted(mine, who[of]),
                answered=at[of],
                answer=values[of],
                bucket=customers[mine] % BUCKETS,
            )
        )
    return tuple(paths)


def _codes(labels: Ints) -> Ints:
    return np.unique(labels, return_inverse=True)[1].ravel().astype(np.int64)
