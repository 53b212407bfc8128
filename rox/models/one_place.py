"""Money by place and month of customers frozen before a start: where one place, or a few, were treated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.check import Check, Verdict
from rox.core.errors import DataError, FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, Step, month_label
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models.population import Population, population
from rox.models.rollout import initiative_of

Floats = NDArray[np.float64]

COLUMNS = ("customer", "month", "unit", "weight", "outcome", "exit_month", "voluntary")
CAPPED_LIMIT = 0.05
MOST_FOLLOWED = 20_000
"""Customers whose ratios tell how much one differs from another."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceSeries:
    """Mean ratio of a frozen cohort by place and month. u = places, t = months.

    Attributes:
        initiative: What was rolled out.
        assigned: How its places were chosen: ``random``, ``chosen`` or ``unknown``.
        units: Names of the places, sorted.
        starts: Shape (u,): month number of the start, infinite for places that never start.
        months: Shape (t,): month numbers, consecutive, from the first the cohort is followed in.
        sizes: Shape (u,): customers.
        ratio: Shape (u, t): mean of outcome over the customer's own mean in the base months, cut at the cap; zero after
            leaving and in months without a row.
        spread: Shape (t, t): covariance of one customer's ratios around the mean of the place.
        capped: Share of customer-months that were cut.
        small: Places left out because they have too few customers to be shown.
        early: Places left out because they started before there were enough months to compare with.
        panel: The rows of every customer, cohort or not.
        steps: What was kept and lost on the way.
    """

    initiative: str
    assigned: str
    units: tuple[str, ...]
    starts: Floats
    months: Floats
    sizes: Floats
    ratio: Floats
    spread: Floats
    capped: float
    small: int
    early: int
    panel: pd.DataFrame
    steps: tuple[Step, ...]

    @property
    def first_start(self) -> int:
        """Month number of the first start."""
        return int(self.starts.min())

    @property
    def before(self) -> int:
        """Months before the first start."""
        return int(self.first_start - self.months[0])


def place_series(
    data: Linked,
    *,
    initiative: str | None,
    base: int,
    history: int,
    least: int,
    cap: float,
    frozen: Literal["start", "opening"] = "start",
) -> PlaceSeries:
    """Freeze customers before an initiative's first start, and average them by place and month.

    The months used are the last ``history`` before the first start (or as many as the ledger has) and all later ones.
    Frozen at the start, a customer belongs to the cohort with a row in each of these months before the start, not gone
    by then; the baseline is the last ``base`` of them. Nobody has left before the start then, and some do afterwards:
    alike in all places, so a comparison of places is fair, but a break in a single series. Frozen at the opening, a
    customer belongs with a row in each of the first ``base`` of these months, which are the baseline and no longer
    part of the series; customers leave before the start as they do after it.

    Places that started with fewer than ``least`` months before are left out, and so are places with fewer customers
    than may be shown.

    Args:
        data: The linked panel.
        initiative: Name of the initiative; may be missing if there is only one.
        base: Months whose mean is a customer's own baseline.
        history: Months before the first start that are used.
        least: Months before a start without which it is not used.
        cap: Largest ratio to the own baseline that counts.
        frozen: When the cohort is frozen.

    Raises:
        DataError: Columns or values that cannot be used.
        FitError: No such initiative, no start with enough months before it, or nobody left.
    """
    name = initiative_of(data, initiative)
    panel = _checked(data)
    first, last = int(panel["month"].min()), int(panel["month"].max())
    starts = data.starts.loc[data.starts["initiative"] == name].groupby("unit")["start"].min().astype(float)
    starts.index = starts.index.astype(str)
    early, usable = starts[starts < first + least], starts[(starts >= first + least) & (starts <= last)]
    if usable.empty:
        raise FitError(
            f"No start of {name} has enough months before it.",
            [
                f"starts run from {month_label(int(starts.min()))} to {month_label(int(starts.max()))}",
                f"the ledger runs from {month_label(first)} to {month_label(last)}; needed: {least} months before",
            ],
        )
    begin = int(usable.min())
    opening = begin - min(history, begin - first)
    seen = (opening, begin) if frozen == "start" else (opening, opening + base)
    rows, steps = _cohort(panel, set(early.index), seen, base)
    sizes = rows.groupby("unit")["customer"].nunique()
    enough = sizes[sizes >= data.study.about.min_cell].index
    rows = _kept(steps, rows, rows["unit"].isin(enough), "sizes")
    if not rows["unit"].isin(usable.index).any():
        raise FitError(
            f"No customer of a started place can be followed from before the start of {name}, {month_label(begin)}.",
            [f"{step.name}: {step.customers} customers left" for step in steps],
        )
    months = np.arange(opening if frozen == "start" else opening + base, last + 1)
    units, sizes_kept, ratio, spread, capped = _averaged(rows, months, (seen[1] - base, seen[1]), cap)
    return PlaceSeries(
        initiative=name,
        assigned=data.study.initiatives[name].assigned if name in data.study.initiatives else "unknown",
        units=tuple(units),
        starts=np.asarray(usable.reindex(units).fillna(np.inf), dtype=np.float64),
        months=months.astype(float),
        sizes=sizes_kept,
        ratio=ratio,
        spread=spread,
        capped=capped,
        small=int(len(sizes) - len(enough)),
        early=len(early),
        panel=panel,
        steps=tuple(steps),
    )


def everyone(data: PlaceSeries) -> Population:
    """Describe the company's customers as one group."""
    return population(data.panel.assign(segment=EVERYONE), (EVERYONE,))


def estimand(data: Linked, series: PlaceSeries, window: tuple[int, int], population: str) -> Estimand:
    """Say what is estimated: the initiative's effect as a share of the customer's own money.

    Args:
        data: The linked panel.
        series: The places.
        window: First and last month since the start that are averaged.
        population: Key of the catalogue that says whose effect it is.
    """
    language, start = data.study.language, month_label(series.first_start)
    return Estimand(
        question=Question.INITIATIVE,
        population=say(
            population, language, start=start, opening=month_label(int(series.months[0])), months=series.before
        ),
        treatment=say("uplift.treatment", language, initiative=series.initiative),
        dose=Dose.INITIATIVE,
        outcome=data.outcome,
        unit=Unit.RATIO,
        horizon=max(window[1], 1),
        window=window,
        includes_exit=True,
        channels=frozenset({"retention", "expansion"}),
    )


def notes(data: Linked, series: PlaceSeries) -> list[Check]:
    """Remark on cut ratios (ROX-L09), places left out (ROX-L36) and other initiatives at the places (ROX-L19)."""
    verdict = Verdict.NOTE if series.capped > CAPPED_LIMIT else Verdict.PASS
    found = [Check(code="ROX-L09", verdict=verdict, values={"p": 100 * series.capped})]
    if series.small or series.early:
        values: dict[str, str | int | float] = {"small": series.small, "early": series.early}
        found.append(Check(code="ROX-L36", verdict=Verdict.NOTE, values=values))
    others = data.starts[data.starts["initiative"] != series.initiative]
    if shared := sorted(set(others["unit"].astype(str)) & set(series.units)):
        names = ", ".join(sorted(others.loc[others["unit"].astype(str).isin(shared), "initiative"].unique()))
        found.append(Check(code="ROX-L19", verdict=Verdict.NOTE, values={"places": len(shared), "initiatives": names}))
    return found


def _cohort(panel: pd.DataFrame, early: set[str], seen: tuple[int, int], base: int) -> tuple[pd.DataFrame, list[Step]]:
    """Keep customers who were there in all months seen, the first included and the last not."""
    opening, begin = seen
    steps: list[Step] = []
    rows = _kept(steps, panel, panel["unit"].notna() & ~panel["unit"].isin(early), "placed")
    before = rows[(rows["month"] >= opening) & (rows["month"] < begin)]
    present = before.groupby("customer")["month"].nunique() == begin - opening
    rows = _kept(steps, rows, rows["customer"].isin(present.index[present]) & ~(rows["exit_month"] < begin), "present")
    recent = rows[(rows["month"] >= begin - base) & (rows["month"] < begin)]
    own = recent.groupby("customer")["outcome"].mean()
    return _kept(steps, rows, rows["customer"].isin(own.index[own > 0]), "money"), steps


def _averaged(
    rows: pd.DataFrame, months: NDArray[np.int64], baseline: tuple[int, int], cap: float
) -> tuple[NDArray[np.str_], Floats, Floats, Floats, float]:
    """Average customers' ratios: places, their customers, (u, t) means, (t, t) covariance within, share cut."""
    recent = rows[(rows["month"] >= baseline[0]) & (rows["month"] < baseline[1])]
    own = recent.groupby("customer")["outcome"].mean()
    people = rows.drop_duplicates("customer")
    units, sizes = np.unique(people["unit"].to_numpy(dtype=str), return_counts=True)
    inside = rows[(rows["month"] >= months[0]) & ~(rows["month"] > rows["exit_month"])]
    raw = inside["outcome"].to_numpy(dtype=float) / own.reindex(inside["customer"]).to_numpy(dtype=float)
    cell = np.searchsorted(units, inside["unit"].to_numpy(dtype=str)) * months.size
    cell = cell + inside["month"].to_numpy(dtype=np.int64) - months[0]
    held = np.minimum(raw, cap)
    total = np.bincount(cell, weights=held, minlength=units.size * months.size)
    mean = total.reshape(units.size, -1) / sizes[:, None]
    place = np.searchsorted(units, people["unit"].to_numpy(dtype=str))
    order = np.argsort(people["customer"].to_numpy())
    who = order[np.searchsorted(people["customer"].to_numpy(), inside["customer"].to_numpy(), sorter=order)]
    at = inside["month"].to_numpy(dtype=np.int64) - months[0]
    spread = _within(who, at, held, place, mean)
    return units, sizes.astype(float), mean, spread, float((raw > cap).mean())


def _within(
    who: NDArray[np.intp], at: NDArray[np.int64], held: Floats, place: NDArray[np.intp], mean: Floats
) -> Floats:
    """Return the covariance of customers' ratios around their places' means, shape (t, t); of some if they are many."""
    stride = -(-place.size // MOST_FOLLOWED)
    some = who % stride == 0
    own = place[::stride]
    ratio = np.zeros((own.size, mean.shape[1]))
    ratio[who[some] // stride, at[some]] = held[some]
    apart = ratio - mean[own]
    return np.asarray(apart.T @ apart / max(own.size - np.unique(own).size / stride, 1))


def _checked(data: Linked) -> pd.DataFrame:
    panel = data.frame()
    if missing := [column for column in COLUMNS if column not in panel]:
        raise DataError(
            "The panel is not complete.", [f"column {column!r} is missing; link again" for column in missing]
        )
    panel = panel[list(COLUMNS)].copy()
    for column in ("outcome", "weight", "exit_month"):
        panel[column] = pd.to_numeric(panel[column]).astype(float)
    panel["voluntary"] = panel["voluntary"].astype("boolean").fillna(False).astype(bool)
    panel["unit"] = panel["unit"].astype(object).where(panel["unit"].notna(), None)
    faults = {
        "rows repeat a customer's month; keep one row per customer and month": panel.duplicated(["customer", "month"]),
        "outcomes are missing or infinite; a month without money is 0": ~np.isfinite(panel["outcome"]),
        "outcomes are negative; a ratio to the own baseline needs money that is held": panel["outcome"] < 0,
        "weights are missing or not positive": ~(panel["weight"] > 0),
    }
    found = [f"{int(bad.sum())} {what}" for what, bad in faults.items() if bad.any()]
    if panel.empty or panel["unit"].isna().all():
        found.append("no customer has a place; name the column of the customers table that plays the role `unit`")
    if found:
        raise DataError("The panel cannot be used for an initiative.", found)
    return panel


def _kept(steps: list[Step], rows: pd.DataFrame, keep: pd.Series, name: str) -> pd.DataFrame:
    left = rows[keep]
    steps.append(
        Step(
            name=name,
            rows=len(left),
            lost=len(rows) - len(left),
            customers=left["customer"].nunique(),
            reason=f"place.step.{name}",
        )
    )
    return left
