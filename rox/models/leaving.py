"""Who leaves, and when: retention curves, causes and months kept by group, which describe and never explain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict, check_table
from rox.core.errors import FitError, LeakageError
from rox.core.linked import Linked, Step, month_label, trail_table
from rox.core.words import Language, say
from rox.models.answer_paths import categories_of, segment_of
from rox.models.evidence import FEWEST_CUSTOMERS
from rox.models.leaving_counts import (
    AtRisk,
    LeavingClock,
    at_risk_rows,
    count_at_risk,
    first_category,
    people_of,
    strata_since_entry,
)
from rox.models.leaving_curves import Retention, Standardised, even, retention, standardised, yearly_churn
from rox.models.leaving_tables import (
    adjusted_months_table,
    adjusted_table,
    curve_table,
    difference_table,
    incidence_table,
    kept_table,
    months_table,
)
from rox.numerics.incidence import LifeTable
from rox.numerics.log_rank import LogRank, log_rank
from rox.numerics.restricted_mean import longest_horizon

MOST_GROUPS = 40
BY_STAYING = frozenset(
    {"answers", "score", "score_age", "reading", "trait", "passing", "exit_month", "voluntary", "cause", "event"}
)
"""What a customer is only known by after some time of staying, or by leaving."""
TOO_LONG = 9.0
"""Exits expected at a group's own pace before its first one, from which nobody of it could have left: e⁻⁹ by chance."""
PEOPLE_PER_BAND, MOST_BANDS = 1000, 3
"""Customers that each band of money takes, and how many bands there are at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaving:
    """Who leaves and when, by group; a description.

    Shares are of customers still there at ``origin``; the columns ``low`` and ``high`` are intervals at ``level``.

    Attributes:
        by: What the groups are.
        clock: ``tenure``, ``calendar`` or ``answer``.
        origin: Time on the clock from which months and shares count.
        horizon: Months after it within which months kept count.
        level: Of intervals and bands.
        groups: Those shown, sorted; categories from the worst to the best.
        reference: The group that others are compared with.
        people: By group: ``customers`` who entered, ``weight`` (whom they stand for).
        curves: Long: ``group``, ``time`` (on the clock), ``kept``, ``se``, ``low``, ``high`` (at one time),
            ``band_low``, ``band_high`` (along the curve), ``at_risk`` just after the time; blank when few are followed.
        incidence: Long: ``group``, ``cause``, ``time``, ``left`` (share gone by this cause), ``se``, ``low``, ``high``.
        kept: Long: ``group``, ``months`` after the origin, ``kept``, ``low``, ``high``, and the share gone by each
            cause.
        months: By group: mean ``months`` kept within the horizon, ``se``, ``low``, ``high``.
        differences: By group, less the reference: the same, and ``p_value``.
        yearly: By group: churn of ``heads`` and of ``money`` within a year, by own choice, with intervals.
        test: Log-rank test of equal hazards, unweighted; None for one group.
        adjusted: Long, as ``curves`` without bands: months since entry (``time``), each group with the mix of all
            customers; empty where that cannot be done.
        adjusted_months: By group: months kept under those curves, and ``difference`` from the reference.
        checks: What was looked at.
        trail: From the company's rows to the rows used.
        fingerprint: Of the linked data.
        specification: What was asked.
    """

    by: str
    clock: LeavingClock
    origin: float
    horizon: int
    level: float
    groups: tuple[str, ...]
    reference: str
    people: pd.DataFrame
    curves: pd.DataFrame
    incidence: pd.DataFrame
    kept: pd.DataFrame
    months: pd.DataFrame
    differences: pd.DataFrame
    yearly: pd.DataFrame
    test: LogRank | None
    adjusted: pd.DataFrame
    adjusted_months: pd.DataFrame
    checks: tuple[Check, ...]
    trail: tuple[Step, ...]
    fingerprint: str
    specification: str

    def check_table(self, language: Language = "en") -> pd.DataFrame:
        """List the checks for a reader."""
        return check_table(self.checks, language)

    def trail_table(self, language: Language = "en") -> pd.DataFrame:
        """List the steps for a reader."""
        return trail_table(self.trail, language)


def leaving(
    data: Linked,
    *,
    by: str = "segment",
    clock: LeavingClock = "tenure",
    horizons: Sequence[int] = (12, 24),
    tau: int = 24,
    level: float = 0.9,
) -> Leaving:
    """Describe who leaves and when, by what was known of customers when they entered.

    Estimand: by group, the share of customers still there, gone by each cause, and the months kept, from an origin on
    the clock. Assumes that late entry and going out of sight say nothing about leaving. Customers enter in the month
    after their first answer and count with the company's customers they stand for. Groups are compared as they are,
    and beside it standardised to the mix of all customers in segment, tenure and money at entry; neither says why.

    Kaplan & Meier (1958) with delayed entry; shares by cause compete (Aalen & Johansen 1978), one less Kaplan–Meier of
    one cause is not offered; bands of equal precision (Nair 1984); restricted means (Royston & Parmar 2013).

    Args:
        data: The linked panel.
        by: ``segment``, ``unit``, a control with few values, or ``category``: of the first answer known, which needs no
            staying, whereas the answer in use changes while a customer stays.
        clock: ``tenure`` counts months since opening, ``calendar`` is the month number (12·year + month − 1),
            ``answer`` counts months since the first answer came into use.
        horizons: Months after the origin at which shares are listed.
        tau: Months after the origin within which months kept are counted; fewer when a group is not followed so long.
        level: Of intervals and bands.

    Raises:
        FitError: Choices that do not fit, or groups with too few customers.
        LeakageError: Groups that can only be had by having stayed (ROX-S02).
        DataError: A panel that has no times at risk.

    Example:
        >>> from rox.testing import sample_linked
        >>> found = leaving(sample_linked(seed=1), by="category", clock="answer", horizons=(12,), tau=12)
        >>> found.groups, found.differences.index.tolist()
        (('detractor', 'passive', 'promoter'), ['passive', 'promoter'])
    """
    _require(data, by, clock, horizons, tau, level)
    min_cell = data.study.about.min_cell
    need = max(FEWEST_CUSTOMERS, min_cell)
    rows, within = at_risk_rows(data, clock, _grouping(data, by))
    people = people_of(rows, within)
    _refuse_immortal(people, by)
    groups = _shown(people, need, data, by)
    counts = count_at_risk(rows, within).only(groups)
    origin = 0.0 if clock == "answer" else _origin(counts, need)
    table = counts.table().since(origin)
    _require_exits(table)
    longest = float((longest_horizon(table) - origin).min())
    horizon = int(min(tau, longest))
    if horizon < 1:
        raise FitError(
            "No month is followed in all groups.",
            [f"after {origin:g} on the clock {clock!r}; merge groups, or use clock='answer'"],
        )
    found = retention(counts, origin=origin, horizon=horizon, level=level)
    bands = int(np.clip(people.loc[list(groups), "people"].sum() // PEOPLE_PER_BAND, 1, MOST_BANDS))
    strata = strata_since_entry(rows, within, bands=bands, by_segment=by != "segment")
    adjusted = standardised(strata, groups, horizon=_followed(strata, groups, tau), level=level)
    reference = groups[0] if by == "category" else str(people.loc[list(groups), "weight"].idxmax())
    test = log_rank(table) if len(groups) > 1 else None
    hidden = [str(name) for name in people.index if name not in groups]
    return Leaving(
        by=by,
        clock=clock,
        origin=origin,
        horizon=horizon,
        level=level,
        groups=groups,
        reference=reference,
        people=people.loc[list(groups), ["people", "weight"]].rename(columns={"people": "customers"}),
        curves=curve_table(found, counts, origin, min_cell),
        incidence=incidence_table(found, counts, origin, min_cell),
        kept=kept_table(found, counts, origin, horizons, min_cell),
        months=months_table(found, groups, level),
        differences=difference_table(found, groups, reference, level),
        yearly=yearly_churn(counts, level=level, min_cell=min_cell),
        test=test,
        adjusted=adjusted_table(adjusted),
        adjusted_months=adjusted_months_table(adjusted, reference, level),
        checks=(
            *data.checks,
            Check(code="ROX-S02", verdict=Verdict.PASS, values={"customers": int(people["people"].sum())}),
            _competing(found, horizon),
            _hidden(hidden, need),
            *_from_origin(clock, origin, float(counts.time[0])),
            *_shortened(tau, horizon),
            _adjustable(adjusted),
            *(() if even(counts) else (Check(code="ROX-S36", verdict=Verdict.NOTE),)),
            Check(code="ROX-S37", verdict=Verdict.NOTE),
        ),
        trail=(*data.trail, _step(people, groups)),
        fingerprint=data.fingerprint,
        specification=(
            f"leaving(by={by!r}, clock={clock!r}, horizons={tuple(horizons)!r}, tau={tau!r}, level={level!r})"
        ),
    )


def _require(data: Linked, by: str, clock: str, horizons: Sequence[int], tau: int, level: float) -> None:
    known = ("segment", "unit", "category", *data.controls)
    if by in BY_STAYING and by not in data.controls:
        raise LeakageError(
            f"ROX-S02: {by!r} requires having stayed long enough to get it, or having left (immortal time).",
            [f"group by what was known when a customer entered: {', '.join(known)}"],
        )
    faults = []
    if by not in known:
        faults.append(f"by is {by!r}; needed: {', '.join(known)}")
    if clock not in get_args(LeavingClock):
        faults.append(f"clock is {clock!r}; needed: {' or '.join(get_args(LeavingClock))}")
    if not horizons or min(horizons) < 1:
        faults.append(f"horizons are {tuple(horizons)}; needed: months from 1 up")
    if tau < 1:
        faults.append(f"tau is {tau}; needed: months from 1 up")
    if not 0 < level < 1:
        faults.append(f"level is {level}; needed: between 0 and 1")
    if faults:
        raise FitError("These choices do not fit the linked data.", faults)


def _grouping(data: Linked, by: str) -> Callable[[Any], Any]:
    """Return the group of a row as text, the same in all rows of a customer."""
    if by == "category":
        return first_category(categories_of(data))
    if by == "segment":
        return segment_of
    unknown = say("leaving.unknown", data.study.language)
    return lambda table: table[by].cast("string").fill_null(unknown)


def _refuse_immortal(people: pd.DataFrame, by: str) -> None:
    """Refuse groups that change while customers stay, and those nobody of which could leave early (ROX-S02).

    At a constant pace the exits expected before the first one are exponential with mean one.
    """
    if moves := int(people["moves"].sum()):
        raise LeakageError(
            f"ROX-S02: {by!r} changes while customers stay, so its later values require having stayed (immortal time).",
            [f"{moves:,} months belong to customers who change it", "give every customer the value known at entry"],
        )
    pace = people["left"] / people["after"].clip(lower=1.0)
    expected = pace * people["before"]
    faults = [
        f"{name}: nobody left in the first {people.loc[name, 'first']:.0f} months, although {expected[name]:.0f} exits "
        "were to be expected at its later pace"
        for name in people.index[expected > TOO_LONG]
    ]
    if faults:
        raise LeakageError(
            f"ROX-S02: {by!r} requires having stayed long enough to get it (immortal time).",
            [*faults, "group by what was known when a customer entered"],
        )


def _shown(people: pd.DataFrame, need: int, data: Linked, by: str) -> tuple[str, ...]:
    """Return the groups with enough customers, in their order."""
    if len(people) > MOST_GROUPS:
        raise FitError(
            f"{by!r} has {len(people)} values.",
            [f"at most {MOST_GROUPS} groups can be described; band it in the study"],
        )
    order = categories_of(data).groups if by == "category" else sorted(people.index)
    sizes = people["people"].astype(float).to_dict()
    enough = tuple(str(name) for name in order if sizes.get(name, 0.0) >= need)
    if not enough:
        raise FitError(
            f"No group of {by!r} has {need} customers who answered.", ["merge groups in the study, or wait for answers"]
        )
    return enough


def _require_exits(table: LifeTable) -> None:
    if not table.events.any():
        raise FitError("Nobody left while at risk.", ["check [tables.exits], its dates, and the months of the ledger"])


def _origin(counts: AtRisk, need: int) -> float:
    """Return the first time just after which enough customers of every group are at risk, or else most of them."""
    table = counts.table()
    least = table.at_risk_at(table.time).min(1)
    enough = np.flatnonzero(least >= need)
    return float(table.time[enough[0] if enough.size else int(np.argmax(least))])


def _followed(strata: pd.DataFrame, groups: tuple[str, ...], tau: int) -> int:
    """Return the months since entry in which a twentieth of every group is still followed."""
    here = strata[strata["group"].isin(groups)]
    counts = here.pivot_table(index="time", columns="group", values="n", aggfunc="sum", fill_value=0)
    enough = (counts >= 0.05 * counts.max()).all(axis=1).to_numpy()
    last = int(counts.index.to_numpy(dtype=int)[enough].max(initial=0))
    return max(min(tau, last + 1), 1)


def _competing(found: Retention, horizon: int) -> Check:
    """Say by how much one less Kaplan–Meier of own choice would overstate the share gone by it (ROX-S03)."""
    own = [curve.at(found.kept.time[0] + horizon)[0][0] for cause, curve in found.left.items() if cause != "other"]
    gone = np.sum(own, axis=0) if own else np.zeros(found.naive.size)
    place = int(np.nanargmax(found.naive - gone))
    values = {"naive": 100 * float(found.naive[place]), "share": 100 * float(gone[place]), "months": horizon}
    return Check(code="ROX-S03", verdict=Verdict.PASS, values=values)


def _hidden(names: Sequence[str], need: int) -> Check:
    if names:
        return Check(code="ROX-S31", verdict=Verdict.NOTE, values={"groups": ", ".join(names), "need": need})
    return Check(code="ROX-S31", verdict=Verdict.PASS, values={"need": need})


def _from_origin(clock: LeavingClock, origin: float, first: float) -> tuple[Check, ...]:
    """Say from which time on shares count, where that is later than the first one (ROX-S32, ROX-S33)."""
    if origin == first:
        return ()
    if clock == "calendar":
        return (Check(code="ROX-S33", verdict=Verdict.NOTE, values={"month": month_label(int(origin))}),)
    return (Check(code="ROX-S32", verdict=Verdict.NOTE, values={"origin": int(origin)}),)


def _shortened(tau: int, horizon: int) -> tuple[Check, ...]:
    if horizon == tau:
        return ()
    return (Check(code="ROX-S34", verdict=Verdict.NOTE, values={"asked": tau, "months": horizon}),)


def _adjustable(found: Standardised | None) -> Check:
    """Say which share of customers the standardised curves leave out (ROX-S35)."""
    if found is None:
        return Check(code="ROX-S38", verdict=Verdict.NOTE)
    values = {"strata": found.strata[1], "of": found.strata[0], "p": 100 * found.left_out}
    return Check(code="ROX-S35", verdict=Verdict.NOTE if found.strata[1] else Verdict.PASS, values=values)


def _step(people: pd.DataFrame, groups: tuple[str, ...]) -> Step:
    months = people["before"] + people["after"]
    kept = months.loc[list(groups)].sum()
    return Step(
        name="at_risk",
        rows=int(kept),
        lost=int(months.sum() - kept),
        customers=int(people.loc[list(groups), "people"].sum()),
        reason="score.step.at_risk",
    )
