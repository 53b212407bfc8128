"""Alerts read back as a table of tickets, so that it can be measured how fast they were taken up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import pandas as pd

from rox.core.study import Study
from rox.metrics.alerts import read_alerts
from rox.metrics.source import Tables


@dataclass(frozen=True, kw_only=True, eq=False)
class _AlertTables:
    study: Study
    tables: Mapping[str, Any]
    connection: Any

    def fetch(self, expression: Any, /) -> pd.DataFrame:
        """Run an expression on the alerts."""
        frame: pd.DataFrame = self.connection.execute(expression)
        return frame


def as_tickets(path: str | Path, study: Study, *, on: dt.date | None = None) -> Tables:
    """Read a file of alerts back as a table of tickets, for :func:`rox.metrics.tickets.follow_up` and ``backlog``.

    An alert is opened on its ``date`` and taken up on the day in ``contacted``; it stands for itself, so that cells of
    one are shown. Group by ``owner``, ``rule`` or ``window``.

    Args:
        path: The file.
        study: The study it was written from.
        on: The day up to which it is known what was taken up; by default that of the extract, or the last in the file.

    Raises:
        DataError: The file is not one of alerts.
    """
    frame = read_alerts(path)
    days = [day for name in ("date", "contacted") for day in frame[name] if day is not None]
    end = on or max([study.about.extract, *days])
    dates = {name: pd.to_datetime(frame[name]) for name in ("date", "contacted")}
    months = dates["date"].dt.year * 12 + dates["date"].dt.month - 1
    texts = frame[["owner", "rule", "metric", "question", "group", "window"]].rename(columns={"window": "period"})
    connection = ibis.duckdb.connect()
    tickets = texts.assign(key=frame["alert"], customer=frame["alert"], month=months, **dates)
    people = pd.DataFrame({"customer": frame["alert"], "segment": "all"})
    made = {
        "tickets": connection.create_table("tickets", tickets),
        "customers": connection.create_table("customers", people),
    }
    about = study.about.model_copy(update={"extract": end, "min_cell": 1})
    return _AlertTables(study=study.model_copy(update={"about": about}), tables=made, connection=connection)
