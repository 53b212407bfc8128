"""Seventy customers with gaps in their money, late news of their answers, changing segments, and exits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rox.core.study import read_study
from rox.linking.load import load
from rox.linking.tables import Tables

STUDY = """
[study]
name = "crowd"
title = "Seventy customers"
currency = "CNY"
extract = 2024-06-30
min_cell = 1

[tables.customers]
path = "customers.csv"
columns = {{ customer = "cust", segment = "seg", unit = "branch", opened = "open"{since} }}
controls = ["age"]

[tables.answers]
path = "answers.csv"
columns = {{ key = "answer", customer = "cust", date = "day"{available} }}

[tables.ledger]
path = "ledger.csv"
columns = {{ customer = "cust", month = "month" }}

[tables.exits]
path = "exits.csv"
columns = {{ customer = "cust", date = "left", reason = "why" }}
voluntary = ["fees"]

[scores.nps]
column = "q1"
low = 0
high = 10
kind = "nps"
label = "Recommend"

[outcomes.aum]
column = "balance"
kind = "stock"
label = "Assets"

[outcomes.income]
column = "income"
kind = "flow"
label = "Income"
{more}
"""


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """The tables as loaded, and the frames they came from."""

    tables: Tables
    customers: pd.DataFrame
    answers: pd.DataFrame
    ledger: pd.DataFrame
    exits: pd.DataFrame


def make_crowd(
    folder: Path, *, dated: bool = True, available: bool = True, seed: int = 11, more: str = "", people: int = 70
) -> Crowd:
    """Write the crowd's tables into a folder and load them."""
    rng = np.random.default_rng(seed)
    ids = [f"{n:04d}" for n in range(people)]
    opened = pd.Series(pd.Timestamp("2021-01-15") + pd.to_timedelta(rng.integers(0, 900, people), unit="D"), index=ids)
    left = pd.Series(pd.Timestamp("2023-03-01") + pd.to_timedelta(rng.integers(0, 450, people), unit="D"), index=ids)
    left = left.where(left > opened, opened + pd.Timedelta(days=200))
    left[rng.random(people) < 0.75] = pd.NaT
    frames = {
        "customers": _customers(rng, opened, dated),
        "answers": _answers(rng, opened, left, available),
        "ledger": _ledger(rng, opened, left),
        "exits": pd.DataFrame({"cust": left.dropna().index, "left": left.dropna().to_numpy()}),
    }
    frames["exits"]["why"] = rng.choice(["fees", "died"], len(frames["exits"]))
    folder.mkdir(exist_ok=True)
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, date_format="%Y-%m-%d")
    text = STUDY.format(
        since=', since = "from"' if dated else "", available=', available = "in"' if available else "", more=more
    )
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return Crowd(tables=load(read_study(folder / "study.toml")), **frames)


def _customers(rng: np.random.Generator, opened: pd.Series, dated: bool) -> pd.DataFrame:
    rows = []
    for cust, day in opened.items():
        times = 1 + rng.integers(0, 4) if dated else 1
        begins = [day + pd.Timedelta(days=int(rng.integers(-30, 120)))]
        begins += [begins[0] + pd.Timedelta(days=int(d)) for d in np.cumsum(rng.integers(20, 300, times - 1))]
        shown = day if rng.random() < 0.8 else pd.NaT
        for begin in begins:
            if begin <= pd.Timestamp("2024-06-30"):
                seg, branch = rng.choice(["gold", "mass", "young"]), rng.choice(["B1", "B2"])
                rows.append((cust, seg, branch, shown, begin, rng.integers(20, 80)))
    return pd.DataFrame(rows, columns=["cust", "seg", "branch", "open", "from", "age"])


def _answers(rng: np.random.Generator, opened: pd.Series, left: pd.Series, available: bool) -> pd.DataFrame:
    n = 500
    rows = pd.DataFrame({"cust": rng.choice(opened.index, n)})
    rows["day"] = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 910, n), unit="D")
    rows = pd.concat([rows, rows.head(40)], ignore_index=True)
    late = rng.choice([0, 0, 0, 3, 40, 100, 300], len(rows)) if available else 0
    rows["in"] = (rows["day"] + pd.to_timedelta(late, unit="D")).clip(upper=pd.Timestamp("2024-06-30"))
    rows["q1"] = pd.array(rng.integers(0, 11, len(rows)), dtype="Int64")
    rows.loc[rng.random(len(rows)) < 0.1, "q1"] = pd.NA
    gone = rows["cust"].map(left).fillna(pd.Timestamp("2100-01-01"))
    rows = rows[(rows["day"] <= gone) & (rows["day"] >= rows["cust"].map(opened))].reset_index(drop=True)
    rows["answer"] = [f"A{number:03d}" for number in rng.permutation(len(rows))]
    return rows


def _ledger(rng: np.random.Generator, opened: pd.Series, left: pd.Series) -> pd.DataFrame:
    rows = []
    for cust, day in opened.items():
        for month in pd.period_range("2023-01", "2024-06", freq="M"):
            begins, ends = month.start_time, month.end_time
            here = ends >= day and not (pd.notna(left[cust]) and left[cust] < begins)
            if here and rng.random() < 0.8:
                rows.append((cust, f"{month}-01", round(float(rng.lognormal(8, 1)), 2), round(rng.random() * 99, 2)))
    return pd.DataFrame(rows, columns=["cust", "month", "balance", "income"])


def number(dates: pd.Series) -> pd.Series:
    """Number the months of dates: 12·year + month − 1."""
    dates = pd.to_datetime(dates)
    return 12 * dates.dt.year + dates.dt.month - 1
