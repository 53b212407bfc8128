"""From the rows of an experiment to customers with an arm, a baseline and months of money after the lot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked, Step, month_label
from rox.core.views import money_column
from rox.models.experiment_places import places

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CONTROL = "control"
"""Name of the arm that is compared with, unless another is named."""
FEWEST = 30
"""Customers with an outcome that each of the two arms needs in a segment."""
FEWEST_PLACES = 2
"""Places that each of the two arms needs in a segment, when places were assigned."""
HISTORY = 12
"""Months before the lot whose money tells how a customer had been moving."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Arms:
    """Customers of an experiment. n = customers, m = months after the lot, sorted by customer.

    Attributes:
        experiment: Its name.
        treated: Arm whose effect is asked for.
        control: Arm it is compared with.
        others: The other arms.
        window: First and last month after the lot that are averaged.
        arm: Shape (n,): name of each customer's arm.
        month: Shape (n,): month number of the lot.
        segment: Shape (n,): segment of each customer.
        place: Shape (n,): code of the place, when places were assigned; else of the customer.
        by_place: Whether places were assigned.
        block: Shape (n,): code of what the lot was drawn within.
        planned: Shape (n,): planned share of the customer's arm, missing where not declared.
        lot: ``unit``, ``arm``, ``block`` and ``planned`` of these customers and of those in strata without both arms.
        taken: Shape (n,): whether the customer got what was offered, missing where not known; None if not declared.
        base: Shape (n,): own mean money in the months before.
        ratio: Shape (n, m): money over the own baseline, cut at the cap; zero after leaving, missing where not known.
        money: Shape (n, m): money likewise, neither divided nor cut.
        exited: Shape (n,): whether the customer had left by the end of the window.
        before: What was known before the lot, a row per customer.
        answered: Shape (n,): whether the customer answered between the month of the lot and the end of the window.
        score: Shape (n,): the first such answer, missing if none.
        capped: Share of customer-months in the window that were cut.
        groups: Segments that can be estimated, sorted.
        small: Segments that cannot, with customers of the smaller arm.
        steps: What was kept and lost on the way.
    """

    experiment: str
    treated: str
    control: str
    others: tuple[str, ...]
    window: tuple[int, int]
    arm: NDArray[np.object_]
    month: Ints
    segment: NDArray[np.object_]
    place: Ints
    by_place: bool
    block: Ints
    planned: Floats
    lot: pd.DataFrame
    taken: Floats | None
    base: Floats
    ratio: Floats
    money: Floats
    exited: Bools
    before: pd.DataFrame
    answered: Bools
    score: Floats
    capped: float
    groups: tuple[str, ...]
    small: dict[str, int]
    steps: tuple[Step, ...]

    @cached_property
    def seen(self) -> Bools:
        """Shape (n,): whether money of every month up to the end of the window is known."""
        return np.asarray(np.isfinite(self.ratio).all(1))

    @cached_property
    def outcome(self) -> Floats:
        """Shape (n,): mean ratio over the window, missing where some month is."""
        return np.asarray(self.ratio[:, self.window[0] - 1 :].mean(1))

    @property
    def outcome_or_zero(self) -> Floats:
        """Shape (n,): the same with 0 where it is missing, for sums over those who are seen."""
        return np.nan_to_num(self.outcome)

    @cached_property
    def compared(self) -> Bools:
        """Shape (n,): customers of the two arms, in segments that can be estimated."""
        return self.in_arms(self.treated) & np.isin(self.segment, self.groups)

    def in_arms(self, arm: str) -> Bools:
        """Shape (n,): customers of one arm and of the control arm, in the strata that have both."""
        here = [np.asarray(self.arm == each) for each in (arm, self.control)]
        both = np.intersect1d(*(self.block[each] for each in here))
        return np.asarray((here[0] | here[1]) & np.isin(self.block, both))


def read_arms(
    data: Linked,
    *,
    experiment: str | None,
    treated: str | None,
    control: str | None,
    window: tuple[int, int],
    base: int,
    cap: float,
) -> Arms:
    """Read an experiment's customers as the lot assigned them; nothing after the lot decides who is in.

    Args:
        data: The linked panel, of a study with a table of arms.
        experiment: Its name; may be missing when the table has one.
        treated: Arm whose effect is asked for; may be missing when there are two.
        control: Arm it is compared with; may be missing when one is called ``control``.
        window: First and last month after that of the lot.
        base: Months before that of the lot whose mean is a customer's own baseline.
        cap: Largest ratio to the own baseline that counts.

    Raises:
        DataError: No table of arms, or rows that cannot be used.
        FitError: No such experiment or arm, or nobody can be followed from before the lot to the window's end.
    """
    months = (*range(-max(HISTORY, 2 * base), 0), *range(1, window[1] + 1))
    rows = data.fetch(data.records("arms", months))
    rows, name = _of_one_experiment(rows, experiment)
    treated, control, others = _named_arms(rows, name, treated, control)
    rows = rows.sort_values("customer", kind="stable", ignore_index=True)
    everyone = rows
    steps: list[Step] = []
    before = rows[[money_column(k) for k in range(-base, 0)]].astype(float)
    rows = rows.assign(base=before.mean(axis=1).where(before.notna().all(axis=1)))
    rows = _kept(steps, rows, rows["segment"].notna(), "segment")
    rows = _kept(steps, rows, ~(rows["exit_month"] < rows["month"]), "here")
    rows = _kept(steps, rows, rows["base"] > 0, "money")
    rows = _kept(steps, rows, rows["month"] + window[1] <= data.money_months[1], "window")
    if rows.empty:
        raise FitError(
            f"No customer of experiment {name} can be followed from before the lot to the end of the window.",
            [
                *(f"{step.name}: {step.customers} customers left" for step in steps),
                f"the lot was drawn from {month_label(int(everyone['month'].min()))} on, money is known up to "
                f"{month_label(data.money_months[1])}; a window that ends {window[1]} months after needs them; "
                f"{_shorter(window[1], data.money_months[1] - int(everyone['month'].min()))}",
                f"each customer needs money in the {base} months before",
            ],
        )
    place, by_place = places(everyone, rows, _blocks(everyone), name)
    block, planned = _blocks(rows), _number(rows, "planned")
    lot = pd.DataFrame({"unit": place, "arm": rows["arm"], "block": block, "planned": planned})
    both = np.intersect1d(block[rows["arm"] == treated], block[rows["arm"] == control])
    keep = np.isin(block, both)
    rows = _kept(steps, rows, pd.Series(keep), "strata")
    if rows.empty:
        raise FitError(
            f"No stratum of experiment {name} has customers of both arms.",
            [f"{np.unique(block).size} strata have {treated} or {control} alone", "declare fewer strata"],
        )
    place, block, planned = place[keep], block[keep], planned[keep]
    made = _laid_out(rows, base=base, last=window[1], cap=cap)
    groups, small = _comparable(
        made, rows, place if by_place else None, (treated, control), max(FEWEST, data.study.about.min_cell)
    )
    if not groups:
        need = max(FEWEST, data.study.about.min_cell)
        raise FitError(
            f"No segment of experiment {name} can be estimated.",
            [f"{each}: fewer than {need} customers with an outcome in an arm, or a single place" for each in small]
            + ["merge segments in the study"],
        )
    return Arms(
        experiment=name,
        treated=treated,
        control=control,
        others=others,
        window=window,
        arm=rows["arm"].to_numpy(dtype=object),
        month=rows["month"].to_numpy(dtype=np.int64),
        segment=rows["segment"].to_numpy(dtype=object),
        place=place,
        by_place=by_place,
        block=block,
        planned=planned,
        lot=lot,
        taken=_number(rows, "taken") if "taken" in rows else None,
        base=rows["base"].to_numpy(dtype=float),
        groups=groups,
        small=small,
        steps=tuple(steps),
        **made,
        **_answers(rows, window[1]),
    )


def _shorter(asked: int, known: int) -> str:
    """Say what to do about a window, given the most months after a lot in which money is known."""
    return f"ask for window=(1, {min(known, asked)}), or wait" if known >= 1 else "wait for later months of money"


def _of_one_experiment(rows: pd.DataFrame, asked: str | None) -> tuple[pd.DataFrame, str]:
    if rows.empty:
        raise FitError("The table of arms has no customer of this panel.", ["use the same ids as the customers table"])
    known = sorted(rows["experiment"].astype(str).unique())
    if asked is None and len(known) > 1:
        raise FitError(
            "The table of arms has several experiments.", [f"name one: experiment={each!r}" for each in known]
        )
    if asked is not None and asked not in known:
        raise FitError(f"There is no experiment {asked!r}.", [f"the table of arms has {', '.join(known)}"])
    name = asked or known[0]
    rows = rows[rows["experiment"].astype(str) == name]
    faults = {
        "customers were drawn twice; keep the arm of the first lot": int(rows["customer"].duplicated().sum()),
        "rows have no arm": int(rows["arm"].isna().sum()),
        "rows have no date": int(rows["month"].isna().sum()),
    }
    if any(faults.values()):
        raise DataError(f"The arms of {name} cannot be used.", [f"{n} {what}" for what, n in faults.items() if n])
    segment = rows["segment"].astype(object)
    segment = segment.fillna(EVERYONE) if segment.isna().all() else segment
    return rows.assign(arm=rows["arm"].astype(str), segment=segment), name


def _named_arms(
    rows: pd.DataFrame, name: str, treated: str | None, control: str | None
) -> tuple[str, str, tuple[str, ...]]:
    arms = sorted(rows["arm"].unique())
    unclear = f"The arms of experiment {name} are not clear."
    if len(arms) < 2:
        only = f"there is only the arm {', '.join(arms)}; a comparison needs customers that the lot passed over"
        raise FitError(unclear, [only])
    faults = []
    for role, asked in (("treated", treated), ("control", control)):
        if asked is not None and asked not in arms:
            faults.append(f"{role} is {asked!r}; the arms are {', '.join(arms)}")
    if control is None and CONTROL not in arms:
        first = next(arm for arm in arms if arm != treated)
        faults.append(f"no arm is called {CONTROL!r}; name it: control={first!r}, or another of {', '.join(arms)}")
    rest = [arm for arm in arms if arm != (control or (CONTROL if CONTROL in arms else arms[0]))]
    control = control or CONTROL
    if treated is None and len(rest) > 1:
        faults.append(f"there are several arms; name one: treated={rest[0]!r}, or another of {', '.join(rest)}")
    if treated is not None and treated == control:
        faults.append("treated and control are the same arm")
    if faults:
        raise FitError(unclear, faults)
    chosen = treated or rest[0]
    return chosen, control, tuple(arm for arm in rest if arm != chosen)


def _laid_out(rows: pd.DataFrame, *, base: int, last: int, cap: float) -> dict[str, Any]:
    """Lay money out by month after the lot, and what was known before it."""
    after = np.arange(1, last + 1)
    money = rows[[money_column(int(k)) for k in after]].to_numpy(dtype=float)
    gone = rows["exit_month"].to_numpy(dtype=float)[:, None]
    month = rows["month"].to_numpy(dtype=float)[:, None] + after
    with np.errstate(invalid="ignore"):
        money = np.where((month > gone) | ((month == gone) & np.isnan(money)), 0.0, money)
    own = rows["base"].to_numpy(dtype=float)
    raw = money / own[:, None]
    known_before = [money_column(-k) for k in range(max(HISTORY, 2 * base), base, -1)]
    earlier = rows[known_before].astype(float).mean(axis=1).to_numpy()
    newest = rows[money_column(-1)].to_numpy(dtype=float)
    before = pd.DataFrame(
        {
            "log_money": np.log(own),
            "earlier": np.minimum(earlier / own, cap),
            "newest": np.minimum(newest / own, cap),
            "tenure": rows["month"].to_numpy(dtype=float) - rows["opened"].to_numpy(dtype=float),
            "score": rows["score"].to_numpy(dtype=float),
        }
    )
    with np.errstate(invalid="ignore"):
        exited = gone[:, 0] <= rows["month"].to_numpy(dtype=float) + last
        known = np.isfinite(raw)
        capped = float((raw[known] > cap).mean()) if known.any() else 0.0
        return {
            "ratio": np.minimum(raw, cap),
            "money": money,
            "before": before,
            "exited": exited,
            "capped": capped,
        }


def _answers(rows: pd.DataFrame, last: int) -> dict[str, Any]:
    age = rows["next_age"].to_numpy(dtype=float)
    with np.errstate(invalid="ignore"):
        answered = (age >= 1) & (age <= last)
    return {"answered": answered, "score": np.where(answered, rows["next_score"].to_numpy(dtype=float), np.nan)}


def _comparable(
    made: dict[str, Any], rows: pd.DataFrame, place: Ints | None, arms: tuple[str, str], need: int
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Keep segments with customers, and places, enough in both arms."""
    seen = np.isfinite(np.asarray(made["ratio"])).all(1)
    arm, segment = rows["arm"].to_numpy(dtype=object), rows["segment"].to_numpy(dtype=object)
    groups, small = [], {}
    for name in sorted(set(segment)):
        members = [(segment == name) & seen & (arm == each) for each in arms]
        fewest = min(int(each.sum()) for each in members)
        places = FEWEST_PLACES if place is None else min(np.unique(place[each]).size for each in members)
        if fewest >= need and places >= FEWEST_PLACES:
            groups.append(str(name))
        else:
            small[str(name)] = fewest
    return tuple(groups), small


def _blocks(rows: pd.DataFrame) -> Ints:
    """Number what the lot was drawn within: the declared stratum, and the month where planned shares change."""
    block = rows["stratum"].astype(str) if "stratum" in rows else pd.Series("", index=rows.index)
    if "planned" in rows and (rows.groupby([block, rows["arm"]])["planned"].nunique() > 1).any():
        block = block + "\x1f" + rows["month"].astype(str)
    return np.unique(block.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def _number(rows: pd.DataFrame, name: str) -> Floats:
    if name not in rows:
        return np.full(len(rows), np.nan)
    return np.asarray(pd.to_numeric(rows[name]).to_numpy(dtype=float))


def _kept(steps: list[Step], rows: pd.DataFrame, keep: pd.Series, name: str) -> pd.DataFrame:
    left = rows[keep]
    steps.append(
        Step(
            name=name,
            rows=len(left),
            lost=len(rows) - len(left),
            customers=len(left),
            reason=f"experiment.step.{name}",
        )
    )
    return left.reset_index(drop=True)
