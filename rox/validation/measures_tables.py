"""Tables in an engine without files: what every public measure is asked of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import pandas as pd

from rox.core.study import Study
from rox.simulate.bank import Bank
from rox.simulate.tables import tables
from rox.validation.measures_samples import CUTS, MEASURES, Sample, Stays

SCALES = {"nps": ("nps", 0, 10), "csat": ("csat", 1, 5)}
FIRST_YEAR = 2024
_ROLES: Mapping[str, tuple[str, ...]] = {
    "customers": ("customer", "segment", "unit", "opened", "weight"),
    "invitations": ("key", "customer", "date", "channel"),
    "answers": ("key", "invitation", "customer", "date"),
    "feedback": ("key", "customer", "date", "kind"),
    "events": ("customer", "date", "kind", "count"),
    "ledger": ("customer", "month"),
    "exits": ("customer", "date", "reason"),
}
_OF_BANK: Mapping[str, Mapping[str, str]] = {
    "customers": {
        "customer_id": "customer", "branch_id": "unit", "design_weight": "weight",
    },
    "invitations": {"invitation_id": "key", "customer_id": "customer", "sent": "date"},
    "answers": {"answer_id": "key", "invitation_id": "invitation", "customer_id": "customer", "answered": "date"},
    "feedback": {"feedback_id": "key", "customer_id": "customer", "received": "date"},
    "events": {"customer_id": "customer", "month": "date", "event": "kind"},
    "ledger": {"customer_id": "customer", "month": "date"},
    "exits": {"customer_id": "customer", "exited": "date"},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Held:
    """What measures need of loaded tables.

    Attributes:
        study: What they are.
        tables: Engine tables by name, with columns named by role.
        connection: To the engine.
    """

    study: Study
    tables: Mapping[str, Any]
    connection: Any

    def fetch(self, expression: Any) -> pd.DataFrame:
        """Run an engine table and return a frame."""
        found: pd.DataFrame = self.connection.con.execute(str(self.connection.compile(expression))).df()
        return found


def held(frames: Mapping[str, pd.DataFrame], *, controls: tuple[str, ...] = (), min_cell: int = 1) -> Held:
    """Put frames into an engine; months come from dates.

    Args:
        frames: By the name of their table, with columns named by role.
        controls: Columns of the customers that say who they are.
        min_cell: Customers a cell must have to be shown.
    """
    connection = ibis.duckdb.connect()
    engine = {}
    for name, frame in frames.items():
        if "month" not in frame:
            frame = frame.assign(month=months_of(frame["date"])) if "date" in frame else frame
        connection.con.register("incoming", frame)
        connection.con.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")
        connection.con.unregister("incoming")
        engine[name] = connection.table(name)
    return Held(study=_study(frames, controls, min_cell), tables=engine, connection=connection)


def months_of(dates: pd.Series) -> pd.Series:
    """Number the months of dates, 12·year + month − 1."""
    when = pd.to_datetime(dates).dt
    months: pd.Series = 12 * when.year + when.month - 1
    return months


def of_samples(*waves: Sample) -> Held:
    """Hold the answers of samples, one year after the other; ``run`` stands in every answer.

    Customers of a later wave who answer in both are those of the earlier one.
    """
    answers, customers = [], []
    for place, sample in enumerate(waves):
        runs, n = sample.reading.shape
        mine = sample.customer + np.where(sample.shared, 0, place * n)
        who = (np.arange(runs)[:, None] * (len(waves) * n) + mine[None, :]).ravel()
        stratum = np.searchsorted(sample.stratum, sample.customer, side="right") - 1
        high, low = MEASURES["nps"]
        reading = sample.reading.ravel()
        answers.append(
            pd.DataFrame(
                {
                    "customer": who,
                    "run": np.repeat(np.arange(runs), n),
                    "date": pd.Timestamp(FIRST_YEAR + place, 6, 15),
                    "nps": np.where(reading >= high, 10, np.where(reading < low, 3, 8)),
                    "csat": 1 + sum((reading >= cut).astype(int) for cut in CUTS),
                }
            )
        )
        customers.append(
            pd.DataFrame(
                {"customer": who, "segment": np.tile(stratum, runs).astype(str), "weight": sample.weight.ravel()}
            )
        )
    people = pd.concat(customers, ignore_index=True).drop_duplicates("customer")
    return held({"customers": people, "answers": pd.concat(answers, ignore_index=True)})


def of_stays(stays: Stays) -> Held:
    """Hold the ledger and the exits of customers who are followed; ``run`` stands with the customer."""
    runs, size = stays.months.shape
    who = np.arange(runs * size)
    months = stays.months.ravel()
    row = np.repeat(who, months)
    since = np.arange(row.size) - np.repeat(np.cumsum(months) - months, months)
    gone = stays.left.ravel()
    first = 12 * FIRST_YEAR
    customers = pd.DataFrame(
        {
            "customer": who,
            "segment": np.tile(stays.group, runs).astype(str),
            "weight": np.tile(stays.weight, runs),
            "run": np.repeat(np.arange(runs), size),
        }
    )
    exits = pd.DataFrame({"customer": who[gone], "month": first + months[gone] - 1, "reason": "fees"})
    return held(
        {"customers": customers, "ledger": pd.DataFrame({"customer": row, "month": first + since}), "exits": exits}
    )


def of_bank(bank: Bank) -> Held:
    """Hold the tables of a simulated bank as its study file names them; customers are numbered by their identifier."""
    made = tables(bank)
    number = pd.Series(np.arange(bank.config.customers), index=made["customers"]["customer_id"])
    frames = {}
    for name, roles in _OF_BANK.items():
        frame = made[name].rename(columns=dict(roles))
        frame["customer"] = number.loc[frame["customer"]].to_numpy()
        frame = frame.convert_dtypes(convert_floating=False, convert_string=False)
        if name == "ledger":
            frame = frame.assign(month=months_of(frame["date"])).drop(columns="date")
        if "contacts" in frame:
            frame["contacts"] = frame["contacts"].astype("int64")
        frames[name] = frame
    return held(frames, controls=("birth_year", "products", "digital_logins"), min_cell=10)


def _study(frames: Mapping[str, pd.DataFrame], controls: tuple[str, ...], min_cell: int) -> Study:
    declared: dict[str, Any] = {}
    for name in frames:
        roles = {role: role for role in _ROLES[name] if role in frames[name] or role in ("customer", "date", "month")}
        declared[name] = {"path": f"{name}.csv", "columns": roles}
    if "customers" in declared:
        declared["customers"]["controls"] = list(controls)
    if "exits" in declared:
        declared["exits"]["voluntary"] = ["moved_to_competitor", "fees", "service", "closed_unused"]
    about = {"name": "held", "title": "Held", "currency": "CNY", "extract": "2099-12-31", "min_cell": min_cell}
    money = {
        "aum": {"column": "aum", "kind": "flow" if "aum" not in frames.get("ledger", ()) else "stock", "label": "aum"}
    }
    if "contacts" in frames.get("ledger", ()):
        money["contacts"] = {"column": "contacts", "kind": "count", "label": "contacts"}
    asked = {
        name: {"column": name, "low": low, "high": high, "kind": kind, "label": name}
        for name, (kind, low, high) in SCALES.items()
        if "answers" not in frames or name in frames["answers"]
    }
    return Study.model_validate({"study": about, "tables": declared, "scores": asked, "outcomes": money})
