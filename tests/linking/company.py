"""A company of 1,200 customers over 24 months without a fault, as frames that a test can spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rox.core.check import Check
from rox.core.study import Study
from rox.linking.clock import CLOCKED, clock_name
from rox.linking.columns import columns_of, minor_units
from rox.linking.contract import Staged
from rox.linking.engine import Engine, connect
from rox.linking.expressions import month_of
from rox.linking.remarks import remarks_of
from rox.linking.sources import FILE, ROW

Frames = dict[str, pd.DataFrame]
Spoil = Callable[[Frames], None]

CUSTOMERS, MONTHS, FIRST = 1_200, 24, "2022-01-01"
ROLES = {
    "customers": ("customer", "segment", "unit", "opened"),
    "answers": ("key", "customer", "date"),
    "ledger": ("customer", "month"),
    "exits": ("customer", "date", "reason"),
    "feedback": ("key", "customer", "date", "kind", "topic"),
    "tickets": ("key", "customer", "date", "eligible", "hold_out"),
}
SCALES = {"nps": (0, 10, "nps"), "csat": (1, 5, "csat"), "advice": (0, 10, "rating")}


def declared(*, text: tuple[str, ...] = (), numbers: tuple[str, ...] = (), **changes: object) -> Study:
    """Declare the company: controls besides age and region, and changes of parts such as ``tickets``."""
    tables: dict[str, dict[str, object]] = {
        name: {"path": f"{name}.csv", "columns": {role: role for role in roles}} for name, roles in ROLES.items()
    }
    tables["customers"]["controls"] = ("age", "region", *text, *numbers)
    for name, change in changes.items():
        if name in tables or name == "contacts":
            given = dict(change)  # type: ignore[call-overload]
            roles = {**tables.get(name, {}).get("columns", {}), **given.pop("columns", {})}  # type: ignore[dict-item]
            tables[name] = {"path": f"{name}.csv", **tables.get(name, {}), **given, "columns": roles}
    return Study.model_validate(
        {
            "study": {
                "name": "company",
                "title": "Company",
                "currency": "CNY",
                "extract": changes.get("extract", "2023-12-31"),
                "timezone": "Asia/Shanghai",
            },
            "tables": tables,
            "scores": {
                name: {"column": name, "low": low, "high": high, "kind": kind, "label": name}
                for name, (low, high, kind) in SCALES.items()
                if kind != "rating"
            },
            "drivers": {"advice": {"column": "advice", "low": 0, "high": 10, "kind": "rating", "label": "Advice"}},
            "outcomes": {
                "aum": {"column": "aum", "kind": "stock", "label": "AUM"},
                "fees": {"column": "fees", "kind": "flow", "label": "Fees"},
            },
        }
    )


def company(seed: int = 1, customers: int = CUSTOMERS) -> Frames:
    """Draw the tables."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"{number:07d}" for number in rng.permutation(9_000_000)[:customers]])
    months = pd.date_range(FIRST, periods=MONTHS, freq="MS")
    wealth, mood = rng.normal(9, 1.2, customers), rng.normal(7, 1.6, customers)
    segment = np.where(wealth > 10.5, "gold", np.where(wealth > 8.5, "core", "mass"))
    left_at = rng.geometric(0.012 * np.exp(0.2 * (7 - mood)), customers)
    people = pd.DataFrame(
        {
            "customer": ids,
            "segment": segment,
            "unit": np.array([f"U{k:02d}" for k in rng.integers(0, 12, customers)]),
            "opened": pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 2_000, customers), "D"),
            "age": rng.integers(20, 80, customers).astype(float),
            "region": rng.choice(["north", "south", "west"], customers),
        }
    )
    who, when = np.nonzero(np.arange(MONTHS)[None, :] <= left_at[:, None])
    balance = np.exp(wealth[who] + 0.08 * rng.normal(0, 1, len(who)) * np.sqrt(when + 1))
    ledger = pd.DataFrame(
        {
            "customer": ids[who],
            "month": months[when],
            "aum": (balance * 100).round().astype("int64"),
            "fees": (balance * rng.uniform(0.05, 0.2, len(who))).round().astype("int64"),
        }
    )
    gone = np.flatnonzero(left_at < MONTHS)
    day = pd.to_timedelta(rng.integers(0, 28, len(gone)), "D")
    exits = pd.DataFrame({"customer": ids[gone], "date": months[left_at[gone]] + day, "reason": "fees"})
    waves = [w for w in range(2, MONTHS, 3)]
    asked = [(i, w) for w in waves for i in np.flatnonzero((rng.random(customers) < 0.25) & (left_at > w))]
    who, when = np.array(asked).T
    noise = rng.normal(0, 1.2, (3, len(who)))
    answers = pd.DataFrame(
        {
            "customer": ids[who],
            "date": months[when] + pd.to_timedelta(rng.integers(0, 28, len(who)), "D"),
            "nps": np.clip((mood[who] + noise[0]).round(), 0, 10).astype("int64"),
            "csat": np.clip((mood[who] / 2 + noise[1] / 2).round(), 1, 5).astype("int64"),
            "advice": np.clip((mood[who] + 1.5 * noise[2]).round(), 0, 10).astype("int64"),
        }
    )
    said = answers.sample(400, random_state=seed)
    feedback = said[["customer", "date"]].assign(kind="complaint", topic=rng.choice(["fees", "app", "queue"], 400))
    called = answers[answers["nps"] <= 6]
    held = dict(zip(ids, rng.random(customers) < 0.2, strict=True))
    tickets = called[["customer", "date"]].assign(eligible=1, hold_out=called["customer"].map(held).astype("int64"))
    frames = {"customers": people, "answers": answers, "ledger": ledger, "exits": exits}
    frames |= {"feedback": feedback, "tickets": tickets}
    for name in ("answers", "feedback", "tickets"):
        frames[name] = frames[name].reset_index(drop=True)
        frames[name].insert(0, "key", [f"{name[0]}{i}" for i in range(len(frames[name]))])
    return frames


def staged(engine: Engine, folder: Path, study: Study, frames: Frames) -> dict[str, Staged]:
    """Stage frames as if they had been read and typed; rows are numbered from 2, as in a CSV file."""
    found = {}
    for name in study.tables:
        frame = frames[name].copy()
        frame.insert(0, FILE, "")
        frame.insert(1, ROW, np.arange(len(frame), dtype="int64") + 2)
        columns = tuple(each for each in columns_of(study, name) if each.source in frame)
        for each in columns:
            if each.kind == "control":
                frame[each.number] = pd.to_numeric(frame[each.source], errors="coerce").astype(float)
                frame[each.source] = [value if isinstance(value, str) else None for value in frame[each.source]]
        path = folder / f"{name}.parquet"
        frame.to_parquet(path, index=False)
        raw = engine.relation(f"SELECT * FROM read_parquet('{path}')")
        parts = {each.name: raw[each.source] for each in columns}
        parts |= {each.number: raw[each.number] for each in columns if each.kind == "control"}
        for each in columns:
            if each.kind in ("date", "month"):
                day = raw[each.source].cast("date")
                parts[each.name] = month_of(day) if each.kind == "month" else day
        if "rox_clock" in frame:
            parts[clock_name(CLOCKED[name])] = raw["rox_clock"]
        table = engine.stage(raw.select(raw[FILE], raw[ROW], **parts), f"staged_{name}")
        found[name] = Staged(name=name, table=table, columns=columns)
    return found


def looked_at(folder: Path, frames: Frames, study: Study | None = None) -> tuple[Check, ...]:
    """Return the remarks on the company."""
    study = study or declared()
    engine = connect(timezone=study.about.timezone)
    assert minor_units(study.currency) == 100
    controls = study.tables["customers"].controls
    numeric = {name: pd.api.types.is_numeric_dtype(frames["customers"][name]) for name in controls}
    folder.mkdir(exist_ok=True)
    return remarks_of(engine, study, staged(engine, folder, study, frames), numeric)
