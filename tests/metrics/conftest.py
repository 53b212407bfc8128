"""Small tables in an engine, without files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import pandas as pd
import pytest

from rox.core.study import Study

SCALES = {"nps": ("nps", 0, 10), "csat": ("csat", 1, 5), "ces": ("ces", 1, 7)}
ROLES = {
    "customers": ["customer", "segment", "unit", "weight"],
    "answers": ["key", "invitation", "customer", "date"],
    "invitations": ["key", "customer", "date", "channel"],
    "ledger": ["customer", "month"],
    "exits": ["customer", "date", "reason"],
}


@dataclass(frozen=True)
class Few:
    """What the room needs of loaded tables."""

    study: Study
    tables: Mapping[str, Any]
    connection: Any

    def fetch(self, expression: Any) -> pd.DataFrame:
        return self.connection.con.execute(str(self.connection.compile(expression))).df()


def study_of(
    *, min_cell: int = 1, voluntary: tuple[str, ...] = ("fees",), higher_is_better: bool = True, stock: bool = True
) -> Study:
    tables: dict[str, Any] = {
        name: {"path": f"{name}.csv", "columns": {role: role for role in roles}} for name, roles in ROLES.items()
    }
    tables["exits"]["voluntary"] = voluntary
    about = {"name": "few", "title": "Few", "currency": "CNY", "extract": "2025-12-31", "min_cell": min_cell}
    scores = {
        name: {"column": name, "low": low, "high": high, "kind": kind, "label": name}
        | ({} if kind == "nps" else {"higher_is_better": higher_is_better})
        for name, (kind, low, high) in SCALES.items()
    }
    return Study.model_validate(
        {
            "study": about,
            "tables": tables,
            "scores": scores,
            "drivers": {"app": {"column": "app", "low": 0, "high": 1000, "kind": "rating", "label": "App"}},
            "outcomes": {"aum": {"column": "aum", "kind": "stock" if stock else "flow", "label": "AUM"}},
        }
    )


@pytest.fixture
def study() -> Callable[..., Study]:
    """Declare a study with the roles and scales above."""
    return study_of


@pytest.fixture(scope="session")
def few() -> Callable[..., Few]:
    """Put frames into an engine; months come from dates, customers from the other tables."""

    def build(study: Study | None = None, **frames: pd.DataFrame) -> Few:
        connection = ibis.duckdb.connect()
        if "customers" not in frames:
            people = pd.concat([frame["customer"] for frame in frames.values()]).drop_duplicates()
            frames["customers"] = pd.DataFrame({"customer": people, "segment": "all"})
        tables = {}
        for name, frame in frames.items():
            if "date" in frame and "month" not in frame:
                dates = pd.to_datetime(frame["date"])
                frame = frame.assign(month=12 * dates.dt.year + dates.dt.month - 1)
            connection.con.register("incoming", frame)
            connection.con.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")
            connection.con.unregister("incoming")
            tables[name] = connection.table(name)
        return Few(study or study_of(), tables, connection)

    return build


@pytest.fixture
def row() -> Callable[..., pd.Series]:
    """Pick the one row of a result with the given values."""

    def pick(frame: pd.DataFrame, **values: Any) -> pd.Series:
        for column, value in values.items():
            frame = frame[frame[column] == value]
        assert len(frame) == 1, f"{len(frame)} rows have {values}"
        return frame.iloc[0]

    return pick
