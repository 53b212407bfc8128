"""The other tables of a link, made from loaded tables or from a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.census import Census
from rox.core.errors import DataError
from rox.core.leaks import LeakReport
from rox.core.linked import Linked
from rox.core.reduction import Reduction
from rox.core.score_parts import ScoreParts
from rox.core.views import Clock, RowsPer
from rox.linking.answered import answered
from rox.linking.around import around
from rox.linking.cells import sums_of
from rox.linking.census import census
from rox.linking.choices import Choices
from rox.linking.columns import minor_units
from rox.linking.engine import connect
from rox.linking.episodes import attrition_of, episodes_of
from rox.linking.leaks import leak_report_of
from rox.linking.linkage import Linkage, keep_frame
from rox.linking.people import PERSON
from rox.linking.readings import calibrated_panel, with_readings
from rox.linking.records import READABLE, records_of, require_readable, rows_of_table
from rox.linking.responding import responding, weighted_frame, weighted_table
from rox.linking.tables import Tables
from rox.linking.units import units_of
from rox.linking.windows import windows_of

FINE = 1_000_000
"""Whole numbers per unit of an outcome that came from a frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TableViews:
    """The views of a panel that was linked from tables; once a frame has replaced it, those of the frame.

    Attributes:
        tables: The loaded tables.
        choices: What was linked.
        people: The followed customers.
        exposures: Their answers, if any.
        per_unit: How many whole numbers make one unit of the outcome.
    """

    tables: Tables
    choices: Choices
    people: ir.Table
    exposures: ir.Table | None
    per_unit: int

    def windows(self, data: Linked, *, before: int, first: int, last: int) -> Any:
        """See :meth:`rox.core.linked.Linked.windows`."""
        if isinstance(data.panel, pd.DataFrame):
            return OF_FRAMES.windows(data, before=before, first=first, last=last)
        return windows_of(data, self._linkage(data), before=before, first=first, last=last)

    def episodes(self, data: Linked, *, clock: Clock, per: RowsPer) -> Any:
        """See :meth:`rox.core.linked.Linked.episodes`."""
        if isinstance(data.panel, pd.DataFrame):
            return OF_FRAMES.episodes(data, clock=clock, per=per)
        attrition = attrition_of(data.study, self._stock)
        return episodes_of(data, self._linkage(data), clock=clock, per=per, attrition=attrition)

    def units(self, data: Linked, *, initiative: str | None, base: int, history: int, cap: float) -> Any:
        """See :meth:`rox.core.linked.Linked.units`."""
        if isinstance(data.panel, pd.DataFrame):
            return OF_FRAMES.units(data, initiative=initiative, base=base, history=history, cap=cap)
        return units_of(data, self._linkage(data), initiative=initiative, base=base, history=history, cap=cap)

    def calibrated(self, data: Linked, parts: ScoreParts) -> Linked:
        """See :meth:`rox.core.linked.Linked.calibrated`."""
        if isinstance(data.panel, pd.DataFrame):
            return OF_FRAMES.calibrated(data, parts)
        return with_readings(data, parts, calibrated_panel(data, self._linkage(data), parts))

    def around(self, data: Linked, months: Sequence[int], *, age: int) -> Any:
        """See :meth:`rox.core.linked.Linked.around`."""
        return around(data, months, age=age)

    def answered(self, data: Linked, months: Sequence[int], *, age: int) -> Linked:
        """See :meth:`rox.core.linked.Linked.answered`."""
        return answered(data, self.tables.engine, months, age=age)

    def sums(self, data: Linked, asked: Reduction) -> pd.DataFrame:
        """See :meth:`rox.core.linked.Linked.sums`."""
        return sums_of(data, asked)

    def census(self, data: Linked, caps: Mapping[str, float]) -> Census:
        """See :meth:`rox.core.linked.Linked.census`."""
        return census(data, caps)

    def responding(self, data: Linked, bands: int) -> pd.DataFrame:
        """See :meth:`rox.core.linked.Linked.responding`."""
        return responding(data, bands)

    def weighted(self, data: Linked, weights: pd.DataFrame, *, bands: int, name: str) -> Linked:
        """See :meth:`rox.core.linked.Linked.weighted`."""
        if isinstance(data.panel, pd.DataFrame):
            return OF_FRAMES.weighted(data, weights, bands=bands, name=name)
        return weighted_table(data, self.tables.engine, weights, bands=bands, name=name)

    def records(self, data: Linked, name: str, months: Sequence[int]) -> Any:
        """See :meth:`rox.core.linked.Linked.records`."""
        require_readable(data.study, name)
        rows = rows_of_table(self.tables, self.people, name)
        if isinstance(data.panel, pd.DataFrame):
            return FrameViews(records_by_name={name: self.tables.fetch(rows)}).records(data, name, months)
        return records_of(data, self._linkage(data), rows, months)

    def money_months(self, data: Linked) -> tuple[int, int]:
        """See :attr:`rox.core.linked.Linked.money_months`."""
        return OF_FRAMES.money_months(data) if isinstance(data.panel, pd.DataFrame) else self._months

    def leak_report(self, data: Linked) -> LeakReport:
        """See :meth:`rox.core.linked.Linked.leak_report`."""
        if isinstance(data.panel, pd.DataFrame):
            return OF_FRAMES.leak_report(data)
        return leak_report_of(data, self.tables, self.choices)

    def _stock(self, outcome: str) -> ir.Table:
        """Return all months of an outcome, also those from before a cohort."""
        ledger = self.tables.tables["ledger"].select("month", payer="customer", amount=outcome)
        codes = self.people.select("customer", id=PERSON)
        return ledger.inner_join(codes, ledger.payer == codes.id).select("customer", "month", "amount")

    def _linkage(self, data: Linked) -> Linkage:
        return Linkage(
            engine=self.tables.engine,
            panel=data.panel,
            people=self.people,
            exposures=self.exposures,
            per_unit=self.per_unit,
            months=self._months,
        )

    @cached_property
    def _months(self) -> tuple[int, int]:
        if "ledger" not in self.tables.tables:
            return 0, 0
        first, last = self.tables.money_months
        return max(first, self.choices.cohort or first), last


@dataclass(frozen=True, kw_only=True)
class FrameViews:
    """The views of a panel that came as a frame. They are frames, too.

    Of its answers only those are known that stand beside some month of money.

    Attributes:
        records_by_name: Further tables by role, customers numbered as in the panel.
    """

    records_by_name: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def windows(self, data: Linked, *, before: int, first: int, last: int) -> pd.DataFrame:
        """See :meth:`rox.core.linked.Linked.windows`."""
        linkage = _linkage_of_frame(data)
        return linkage.engine.fetch(windows_of(data, linkage, before=before, first=first, last=last))

    def episodes(self, data: Linked, *, clock: Clock, per: RowsPer) -> pd.DataFrame:
        """See :meth:`rox.core.linked.Linked.episodes`."""
        linkage = _linkage_of_frame(data)
        stock = linkage.money.rename(amount="outcome")
        attrition = attrition_of(data.study, lambda outcome: stock if outcome == data.outcome else None)
        return linkage.engine.fetch(episodes_of(data, linkage, clock=clock, per=per, attrition=attrition))

    def units(self, data: Linked, *, initiative: str | None, base: int, history: int, cap: float) -> pd.DataFrame:
        """See :meth:`rox.core.linked.Linked.units`."""
        linkage = _linkage_of_frame(data)
        found = units_of(data, linkage, initiative=initiative, base=base, history=history, cap=cap)
        return linkage.engine.fetch(found)

    def calibrated(self, data: Linked, parts: ScoreParts) -> Linked:
        """See :meth:`rox.core.linked.Linked.calibrated`."""
        linkage = _linkage_of_frame(data)
        panel = linkage.engine.fetch(calibrated_panel(data, linkage, parts))
        panel = panel.sort_values(["customer", "month"], kind="stable", ignore_index=True)
        return with_readings(data, parts, panel)

    def around(self, data: Linked, months: Sequence[int], *, age: int) -> Any:
        """See :meth:`rox.core.linked.Linked.around`."""
        return around(data, months, age=age)

    def answered(self, data: Linked, months: Sequence[int], *, age: int) -> Linked:
        """See :meth:`rox.core.linked.Linked.answered`."""
        return answered(data, connect(), months, age=age)

    def sums(self, data: Linked, asked: Reduction) -> pd.DataFrame:
        """See :meth:`rox.core.linked.Linked.sums`."""
        return sums_of(data, asked)

    def census(self, data: Linked, caps: Mapping[str, float]) -> Census:
        """See :meth:`rox.core.linked.Linked.census`."""
        return census(data, caps)

    def responding(self, data: Linked, bands: int) -> pd.DataFrame:
        """See :meth:`rox.core.linked.Linked.responding`."""
        return responding(data, bands)

    def weighted(self, data: Linked, weights: pd.DataFrame, *, bands: int, name: str) -> Linked:
        """See :meth:`rox.core.linked.Linked.weighted`."""
        return weighted_frame(data, weights, bands=bands, name=name)

    def records(self, data: Linked, name: str, months: Sequence[int]) -> pd.DataFrame:
        """See :meth:`rox.core.linked.Linked.records`."""
        if name not in self.records_by_name:
            known = ", ".join(self.records_by_name) or f"none of {', '.join(READABLE)}"
            raise DataError(f"This panel came without a table of {name}.", [f"it has {known}"])
        linkage = _linkage_of_frame(data)
        rows = self.records_by_name[name]
        given = pd.DatetimeIndex(rows["date"])
        rows = rows.assign(date=given.as_unit("us"), month=(12 * given.year + given.month - 1).astype("int64"))
        return linkage.engine.fetch(records_of(data, linkage, keep_frame(linkage.engine, rows, name), months))

    def money_months(self, data: Linked) -> tuple[int, int]:
        """See :attr:`rox.core.linked.Linked.money_months`."""
        return int(data.panel["month"].min()), int(data.panel["month"].max())

    def leak_report(self, data: Linked) -> LeakReport:
        """See :meth:`rox.core.linked.Linked.leak_report`."""
        raise DataError(
            "A panel that came as a frame has no raw tables to prove it by.", ["load the study's tables and link them"]
        )


OF_FRAMES = FrameViews()


def _linkage_of_frame(data: Linked) -> Linkage:
    texts = {
        name: data.panel[name].astype(object).where(data.panel[name].notna(), None) for name in ("segment", "unit")
    }
    if texts["segment"].isna().all():
        texts["segment"] = EVERYONE
    numbers = {name: data.panel[name].astype("int64") for name in ("customer", "month")}
    frame = data.panel.assign(**texts, **numbers, voluntary=data.panel["voluntary"].astype("boolean").fillna(False))
    engine = connect()
    panel = keep_frame(engine, frame, "panel")
    money = data.study.outcomes.get(data.outcome)
    minor = minor_units(data.study.currency) if money is None or money.kind != "count" else 1
    facts = ["segment", "unit", "weight", "opened", "exit_month", "voluntary", *data.controls]
    return Linkage(
        engine=engine,
        panel=panel,
        people=keep_frame(engine, frame.drop_duplicates("customer")[["customer", *facts]], "people"),
        exposures=keep_frame(engine, _exposures_of_frame(frame), "answers") if data.score else None,
        per_unit=max(minor, FINE),
        months=(int(frame["month"].min()), int(frame["month"].max())),
    )


def _exposures_of_frame(frame: pd.DataFrame) -> pd.DataFrame:
    scored = frame[frame["score"].notna()]
    scored = scored.assign(said=(scored["month"] - scored["score_age"]).astype("int64"))
    groups = scored.groupby(["customer", "said"], sort=True)
    found = groups.agg(score=("score", "last"), begin=("month", "min"), until=("month", "max")).reset_index()
    number = found.groupby("customer").cumcount()
    later = found.groupby("customer")["begin"].shift(-1).astype("Int64")
    return found.assign(number=number, known=found["said"], later=later, is_open=1)
