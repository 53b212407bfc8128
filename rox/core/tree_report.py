"""What a tree of metrics showed: values, standing against targets, and what moved with the north star."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from rox.core.check import Check
from rox.core.errors import DataError
from rox.core.metric_tree import MetricTree
from rox.core.record import plain

Period = Literal["month", "quarter", "year"]
PLACES = ("scope", "stage", "touchpoint", "channel", "department")
"""Where a metric belongs, by what the tree says of it."""
STATUSES = ("met", "open", "missed", "alert", "none", "hidden")
"""On target, not decided, off target, past the alert, nothing aimed at, not shown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TreeReport:
    """A tree of metrics, measured.

    Frames of values have the groups, ``metric``, ``unit``, ``value``, ``se``, ``low``, ``high``, ``level``, ``n``,
    ``n_eff``, ``suppressed``, ``method``; then ``complete`` (whether the period had ended at the extract), ``before``
    (the value of the period before), ``target``, ``alert``, ``p_target`` (probability that the target is reached, read
    off the interval), ``status``; and where the metric belongs: ``goal``, ``signal``, ``scope`` (macro, meso, micro),
    ``stage``, ``touchpoint``, ``channel``, ``department`` (English names), ``proxy``.

    Attributes:
        tree: What was declared.
        every: The period; the first column of the frames of values.
        by: Groups of customers or rows.
        values: Over everybody, by period.
        groups: By period and group; empty without ``by``.
        moved: How changes of the other metrics went with those of the north star: ``metric``, ``n`` (pairs of changes),
            ``r``, ``low``, ``high``. It describes what happened and says nothing of causes.
        unmeasured: Metrics that could not be measured: ``metric``, ``split`` (by groups or not), ``need``, ``what``.
        checks: What a reader must know.
    """

    tree: MetricTree
    every: Period
    by: tuple[str, ...]
    values: pd.DataFrame
    groups: pd.DataFrame
    moved: pd.DataFrame
    unmeasured: pd.DataFrame
    checks: tuple[Check, ...]

    @property
    def now(self) -> pd.DataFrame:
        """The last complete period of every metric, in the order of the tree."""
        return self._latest(self.values)

    @property
    def now_by_group(self) -> pd.DataFrame:
        """The same by group."""
        return self._latest(self.groups)

    def as_record(self) -> dict[str, Any]:
        """Return plain values."""
        frames = {"now": self.now, "values": self.values, "groups": self.groups, "moved": self.moved}
        return {
            "tree": self.tree.about.name,
            "north_star": self.tree.about.north_star,
            "every": self.every,
            "by": list(self.by),
            **{name: _plain(frame) for name, frame in frames.items()},
            "unmeasured": _plain(self.unmeasured),
            "checks": [check.as_record() for check in self.checks],
        }

    def _latest(self, frame: pd.DataFrame) -> pd.DataFrame:
        ended = frame[frame["complete"].astype(bool)]
        last = ended.groupby("metric")[self.every].transform("max")
        order = {name: place for place, name in enumerate(self.tree.metrics)}
        found = ended[ended[self.every] == last].reset_index(drop=True)
        return found.sort_values("metric", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def heat_map(report: TreeReport, across: str = "touchpoint") -> pd.DataFrame:
    """Lay the metrics of a journey out by stage and touchpoint, channel, department, or a group they are split by.

    Args:
        report: A measured tree.
        across: ``touchpoint``, ``channel``, ``department`` or one of the report's groups.

    Returns:
        One row per metric of a stage (and group), the stages in order: ``stage``, ``across`` (empty where nothing is
        said), ``metric``, ``unit``, ``value``, ``low``, ``high``, ``n``, ``suppressed``, ``target``, ``p_target``,
        ``status``, ``period``.

    Raises:
        DataError: The tree has no stages, or the report is not split so.
    """
    if not report.tree.stages:
        raise DataError("This tree is no journey.", ["write `stage` for its metrics: the five E's or the eight stages"])
    choices = ("touchpoint", "channel", "department", *report.by)
    if across not in choices:
        raise DataError(f"The journey cannot be laid out by {across!r}.", [f"choose from {', '.join(choices)}"])
    frame = report.now_by_group if across in report.by else report.now
    frame = frame[frame["stage"] != ""]
    order = {name: place for place, name in enumerate(report.tree.stages)}
    frame = frame.sort_values("stage", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    frame = frame.assign(across=frame[across].astype(object).fillna(""), period=frame[report.every])
    columns = ["metric", "unit", "value", "low", "high", "n", "suppressed", "target", "p_target", "status", "period"]
    others = [name for name in report.by if name != across] if across in report.by else []
    return frame[["stage", "across", *others, *columns]]


def standing(report: TreeReport, place: str = "stage") -> pd.DataFrame:
    """Count how the metrics stand, by where they belong.

    Args:
        report: A measured tree.
        place: ``scope``, ``stage``, ``touchpoint``, ``channel`` or ``department``.

    Returns:
        One row per place, in the order of the tree: the place, ``metrics``, and one count per status.

    Raises:
        DataError: There is no such place.
    """
    if place not in PLACES:
        raise DataError(f"Metrics do not belong to a {place!r}.", [f"choose from {', '.join(PLACES)}"])
    frame = report.now
    counts = pd.crosstab(frame[place], frame["status"]).reindex(columns=list(STATUSES), fill_value=0)
    order: Sequence[str] = report.tree.stages if place == "stage" else list(dict.fromkeys(frame[place]))
    counts = counts.reindex([name for name in order if name in counts.index])
    counts.insert(0, "metrics", counts.sum(axis=1))
    counts.columns.name = None
    return counts.rename_axis(place).reset_index()


def _plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = plain(frame.to_dict("records"))
    return rows
