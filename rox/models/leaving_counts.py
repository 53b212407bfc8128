"""Times at risk as counts by group, time, cause and bucket of customers, made in the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.derived import Bins, LogBins, Maker
from rox.core.linked import Linked
from rox.models.answer_paths import Categories, segment_of
from rox.numerics.incidence import LifeTable, life_table_from_counts

Floats = NDArray[np.float64]
LeavingClock = Literal["tenure", "calendar", "answer"]

CAUSES = ("exit", "silent", "other")
"""Left by own choice; the money went although nobody said so; died, moved away, or the company ended it."""
TENURE = Bins(column="tenure_at_entry", edges=(0.0, 24.0, 60.0))
"""Bands of months since opening; an unknown opening is below 0."""
LEVEL = LogBins(column="money_at_entry", width=0.1)
"""Levels of money, from which bands of about equal numbers of customers are made within each segment."""
UNKNOWN = -1e300
"""Stands for money that no month before the entry says."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AtRisk:
    """Counts by bucket of customers (k), time (t), group (g) and cause (c); a row is at risk in (time − 1, time].

    Attributes:
        time: Shape (t,): ends of the months at risk, and the beginnings of those that follow no other.
        groups: Names.
        entries: Shape (2, k, t, g): customers, and the weight of the customers they stand for, that start at the time.
        exits: Shape (2, k, t, g): that stop at it.
        events: Shape (2, k, t, g, c): exits by cause, in the order of ``CAUSES``.
        months: Shape (2, k, g): months at risk.
        money: Shape (k, g): company's money in the month before, summed over months at risk.
        money_left: Shape (k, g, c): the same of those who left.
    """

    time: Floats
    groups: tuple[str, ...]
    entries: Floats
    exits: Floats
    events: Floats
    months: Floats
    money: Floats
    money_left: Floats

    def table(self, *, weighted: bool = False, without: int | None = None) -> LifeTable:
        """Return the life table of all buckets, or of all but one.

        Args:
            weighted: Whether customers count with the company's customers they stand for.
            without: The bucket left out.
        """
        keep = np.arange(self.entries.shape[1]) != (-1 if without is None else without)
        entries, exits, events = (
            part[int(weighted)][keep].sum(0).reshape(-1, *part.shape[4:])
            for part in (self.entries, self.exits, self.events)
        )
        return life_table_from_counts(
            np.repeat(self.time, len(self.groups)),
            np.tile(np.arange(len(self.groups)), self.time.size),
            entries=entries,
            exits=exits,
            events=events,
        )

    def only(self, groups: tuple[str, ...]) -> AtRisk:
        """Keep some groups."""
        place = [self.groups.index(group) for group in groups]
        return replace(
            self,
            groups=groups,
            entries=self.entries[..., place],
            exits=self.exits[..., place],
            events=self.events[..., place, :],
            months=self.months[..., place],
            money=self.money[..., place],
            money_left=self.money_left[:, place],
        )


def at_risk_rows(data: Linked, clock: LeavingClock, group: Callable[[Any], Any]) -> tuple[Linked, Mapping[str, Maker]]:
    """Return the times at risk as a panel that can be reduced, and the columns that are fixed at entry.

    Beside the columns of :meth:`rox.core.linked.Linked.episodes` it has ``outcome``, the money of the month before.

    Args:
        data: The linked panel.
        clock: ``tenure``, ``calendar`` (the month itself), or ``answer``: months since the first answer came into use.
        group: Says the group of a row from what is the same in all rows of a customer.
    """
    episodes = data.episodes(clock="tenure" if clock == "tenure" else "calendar")
    if isinstance(data.panel, pd.DataFrame):
        money = data.panel[["customer", "month", "outcome"]].assign(month=data.panel["month"] + 1)
        joined: Any = episodes.merge(money, on=["customer", "month"], how="left")
    else:
        panel = data.panel
        money = panel.select(whose="customer", following=panel.month + 1, outcome=panel.outcome)
        met = episodes.left_join(money, [episodes.customer == money.whose, episodes.month == money.following])
        joined = met.select(*episodes.columns, "outcome")
    on = {"tenure": "start", "calendar": "month", "answer": "since"}[clock]
    within: dict[str, Maker] = {
        "entered": lambda table: _own(table.month.min()),
        "since": lambda table: table.month - table.entered,
        "money_at_entry": _money_at_entry,
        "tenure_at_entry": lambda table: (table.entered - table.opened).cast("float64").fill_null(-1.0),
        "grouped_by": group,
        "moves": lambda table: _own(table.grouped_by.min()) != _own(table.grouped_by.max()),
        "time": lambda table: table[on].cast("int64"),
        "held": lambda table: table.outcome.fill_null(0),
    }
    return replace(data, panel=joined), within


def _own(value: Any) -> Any:
    """Return a statistic of a customer's rows."""
    return value.over(group_by="customer")


def first_category(scale: Categories) -> Callable[[Any], Any]:
    """Return the name of the category of a customer's first answer, as a function of the table of times at risk.

    Months and categories are packed into one number, whose least value is that of the first month.
    """
    place = scale.code("score")

    def named(table: Any) -> Any:
        packed = table.month.cast("int64") * 4 + place(table)
        code = _own(packed.min()) % 4
        worst, between, best = scale.groups
        return (code == 0).ifelse(worst, (code == 1).ifelse(between, best))

    return named


def _money_at_entry(table: Any) -> Any:
    """Return the money of the month before a customer entered, below ``UNKNOWN``/2 where it is not known."""
    own = (table.month == table.entered).ifelse(table.outcome.cast("float64").fill_null(UNKNOWN), UNKNOWN)
    return _own(own.max())


def count_at_risk(rows: Linked, within: Mapping[str, Maker]) -> AtRisk:
    """Reduce times at risk to counts by group and time.

    Args:
        rows: Times at risk.
        within: Their further columns.
    """
    cells = rows.cells(
        by={"group": "grouped_by", "time": "time", "cause": "cause"},
        sums={"weight": "weight", "money": "weight*held"},
        within=within,
        grains={"held": 0.01},
    )
    return at_risk_of(cells.values(), cells.buckets)


def at_risk_of(frame: pd.DataFrame, buckets: int) -> AtRisk:
    """Arrange counts of months at risk.

    Args:
        frame: ``group``, ``time`` (at risk in (time, time + 1]), ``cause``, ``bucket``, ``n``, ``weight``, ``money``.
        buckets: How many there are.
    """
    group, names = pd.factorize(frame["group"].map(plain), sort=True)
    start = frame["time"].to_numpy(dtype=int)
    first, span = int(start.min()), int(np.ptp(start)) + 2
    bucket, at = frame["bucket"].to_numpy(dtype=int), start - first
    cause = pd.Index(CAUSES).get_indexer(pd.Index(frame["cause"]))
    amounts = frame[["n", "weight"]].to_numpy(dtype=float).T
    shape = (buckets, span, len(names))
    entries, exits, events = np.zeros((2, *shape)), np.zeros((2, *shape)), np.zeros((2, *shape, len(CAUSES)))
    gone = cause >= 0
    for which, amount in enumerate(amounts):
        np.add.at(entries[which], (bucket, at, group), amount)
        np.add.at(exits[which], (bucket, at + 1, group), amount)
        np.add.at(events[which], (bucket[gone], at[gone] + 1, group[gone], cause[gone]), amount[gone])
    months = entries.sum(2)
    money, money_left = np.zeros((buckets, len(names))), np.zeros((buckets, len(names), len(CAUSES)))
    held = frame["money"].to_numpy(dtype=float)
    np.add.at(money, (bucket, group), held)
    np.add.at(money_left, (bucket[gone], group[gone], cause[gone]), held[gone])
    return AtRisk(
        time=np.arange(first, first + span, dtype=float),
        groups=tuple(names),
        entries=entries,
        exits=exits,
        events=events,
        months=months,
        money=money,
        money_left=money_left,
    )


def strata_since_entry(
    rows: Linked, within: Mapping[str, Maker], *, bands: int, by_segment: bool = True
) -> pd.DataFrame:
    """Reduce times at risk to counts by group, stratum at entry and month since entry.

    Args:
        rows: Times at risk.
        within: Their further columns.
        bands: Bands of money at entry, within each segment; where it is not known is one more.
        by_segment: Whether segments are strata; if not, bands of money are those of all customers.

    Returns:
        ``group``, ``stratum`` (numbered), ``segment``, ``time``, ``cause``, ``bucket``, ``n``, ``weight``.
    """
    part = segment_of if by_segment else _everyone
    cuts = _cuts(rows, within, bands, part)
    cells = rows.cells(
        by={
            "group": "grouped_by",
            "segment": part,
            "tenure": TENURE,
            "band": lambda table: _band(table, cuts, part),
            "time": "since",
            "cause": "cause",
        },
        sums=("weight",),
        within={**within, "level": LEVEL},
    )
    frame = cells.values()
    keys = ["segment", "tenure", "band"]
    return frame.assign(group=frame["group"].map(plain), stratum=frame.groupby(keys, sort=True).ngroup())


def _everyone(table: Any) -> Any:
    return table.month.notnull().ifelse(EVERYONE, EVERYONE)


def _cuts(rows: Linked, within: Mapping[str, Maker], bands: int, part: Callable[[Any], Any]) -> dict[str, list[int]]:
    """Return, by segment, the levels of money at entry that begin each band but the first."""
    cells = rows.cells(
        by={"segment": part, "level": LEVEL},
        sums=(),
        within=within,
        where=lambda table: (table.since == 0) & (table.money_at_entry > UNKNOWN / 2),
    )
    counts = cells.values().groupby(["segment", "level"])["n"].sum()
    found = {}
    for segment, own in counts.groupby(level="segment"):
        levels = own.index.get_level_values("level").to_numpy(dtype=int)
        middle = (own.cumsum() - own / 2).to_numpy(dtype=float) / float(own.sum())
        begins = [levels[middle >= i / bands] for i in range(1, bands)]
        found[str(segment)] = [int(each[0]) for each in begins if each.size]
    return found


def _band(table: Any, cuts: Mapping[str, list[int]], part: Callable[[Any], Any]) -> Any:
    """Return the band of money at entry, 0 where it is not known."""
    segment, band = part(table), None
    for name, levels in cuts.items():
        own: Any = 1 + sum((table.level >= cut).cast("int64") for cut in levels)
        band = (segment == name).ifelse(own, 1 if band is None else band)
    known = table.money_at_entry > UNKNOWN / 2
    return known.ifelse(1 if band is None else band, 0).cast("int64")


def people_of(rows: Linked, within: Mapping[str, Maker]) -> pd.DataFrame:
    """Count customers by group, those they stand for, and how soon after entry the first of them left.

    Returns:
        One row per group: ``people`` (entered), ``weight`` (whom they stand for); in ``first`` the first month since
        entry in which somebody left, in ``before`` and ``after`` the months at risk before and from that month on, in
        ``left`` exits, in ``moves`` months of customers whose group changes.
    """
    cells = rows.cells(
        by={"group": "grouped_by", "time": "since", "gone": lambda table: table.cause != "none"},
        sums=("weight", "moves"),
        within=within,
    )
    frame = cells.values().groupby(["group", "time", "gone"], as_index=False)[["n", "weight", "moves"]].sum()
    return pd.DataFrame({plain(name): _person(part) for name, part in frame.groupby("group")}).T.rename_axis("group")


def plain(name: object) -> str:
    """Write a whole number of a control without its decimals."""
    return str(name).removesuffix(".0")


def _person(part: pd.DataFrame) -> dict[str, float]:
    entered = part[part["time"] == 0]
    gone = part[part["gone"] == 1]
    first = float(gone["time"].min()) if len(gone) else np.inf
    early = part["time"] < first
    return {
        "people": float(entered["n"].sum()),
        "weight": float(entered["weight"].sum()),
        "first": first,
        "before": float(part.loc[early, "n"].sum()),
        "after": float(part.loc[~early, "n"].sum()),
        "left": float(gone["n"].sum()),
        "moves": float(part["moves"].sum()),
    }
