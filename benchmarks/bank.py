"""The tables of a made-up bank at any size, as Parquet, with their study file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import MONTHS
from benchmarks.measure import FOLDER

STUDY = """
[study]
name = "benchmark"
title = "Benchmark"
currency = "EUR"
timezone = "UTC"
extract = 2024-12-31

[tables.customers]
path = "customers.parquet"
columns = { customer = "customer", segment = "segment", unit = "branch", opened = "opened" }

[tables.answers]
path = "answers.parquet"
columns = { key = "answer", customer = "customer", date = "day" }

[tables.ledger]
path = "ledger.parquet"
columns = { customer = "customer", month = "month" }

[scores.nps]
column = "nps"
low = 0
high = 10
kind = "nps"
label = "Recommend"

[outcomes.aum]
column = "balance"
kind = "stock"
label = "Assets"
"""
START = np.datetime64("2023-01")


def bank(customers: float) -> Path:
    """Write, or find, a bank's tables; returns the study file.

    Each customer has a balance in each of 24 months and answers 2.4 surveys in them.
    """
    folder = FOLDER / f"bank-{customers:.0f}"
    study = folder / "study.toml"
    if study.exists():
        return study
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    count = int(customers)
    ids = np.arange(count) * 7 + 1001
    people = {
        "customer": ids,
        "segment": pa.array(np.array(["affluent", "mass", "private"])[rng.integers(0, 3, count)]),
        "branch": pa.array(np.char.add("b", rng.integers(0, 200, count).astype(str))),
        "opened": (np.datetime64("2015-01-01") + rng.integers(0, 2000, count)).astype("datetime64[D]"),
    }
    pq.write_table(pa.table(people), folder / "customers.parquet")
    answered = int(2.4 * count)
    said = {
        "answer": np.arange(answered),
        "customer": ids[rng.integers(0, count, answered)],
        "day": (np.datetime64("2023-01-01") + rng.integers(0, 730, answered)).astype("datetime64[D]"),
        "nps": np.clip(np.round(7.5 + 2 * rng.normal(size=answered)), 0, 10).astype(np.int8),
    }
    pq.write_table(pa.table(said), folder / "answers.parquet")
    level = 10_000 * np.exp(rng.normal(size=count))
    with pq.ParquetWriter(folder / "ledger.parquet", _money(ids, level, 0, rng).schema) as writer:
        for month in range(MONTHS):
            writer.write_table(_money(ids, level, month, rng))
    study.write_text(STUDY, encoding="utf-8")
    return study


def _money(ids: np.ndarray, level: np.ndarray, month: int, rng: np.random.Generator) -> pa.Table:
    day = (START + month).astype("datetime64[D]")
    balance = np.round(level * (1 + 0.05 * rng.normal(size=ids.size)), 2)
    return pa.table({"customer": ids, "month": np.full(ids.size, day), "balance": balance})
