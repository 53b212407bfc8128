"""A scorecard of all questions against one plain scan of the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import FOLDER, contest, options, serve, table

NAMES = ("scan", "scan by customer", "scorecard")
SCORES = ("nps", "csat", "ces")
PER_CUSTOMER = 6.6
BATCH = 1_000_000

STUDY = """
[study]
name = "survey"
title = "Survey"
currency = "EUR"
timezone = "UTC"
extract = 2025-12-31

[engine]
keep = "kept"

[tables.customers]
path = "customers.parquet"
columns = { customer = "customer", segment = "segment", unit = "branch", weight = "weight" }

[tables.answers]
path = "answers.parquet"
columns = { key = "answer", customer = "customer", date = "day" }

[scores]
nps = { column = "nps", low = 0, high = 10, kind = "nps", label = "Recommend" }
csat = { column = "csat", low = 1, high = 5, kind = "csat", label = "Satisfied" }
ces = { column = "ces", low = 1, high = 7, kind = "ces", label = "Easy" }

[outcomes]
spend = { column = "spend", kind = "flow", label = "Spend", table = "answers", dated = "day" }
"""


def main() -> None:
    """Run from the command line."""
    parser = options("Scorecard", rows="1e7")
    asked = parser.parse_args()
    if asked.one:
        serve(contestant(asked.one, survey(asked.rows)), asked.repeats)
        return
    print(report(asked.rows, asked.rounds, asked.repeats, asked.only))


def report(rows: float, rounds: int, repeats: int, names: list[str] | None = None) -> str:
    """Run the contest over tables that are typed and checked once, and write it down."""
    import rox

    rox.load(rox.read_study(survey(rows)))
    found = contest("benchmarks.scorecard", names or list(NAMES), ["--rows", str(rows)], rounds=rounds, repeats=repeats)
    base = (names or list(NAMES))[0]
    return table(found, base, lambda name: {"statements": f"{found.trials[name][-1].answer['statements']}"})


def contestant(name: str, study: Path) -> Callable[[], Mapping[str, Any]]:
    """Return what is timed; nothing is remembered between calls."""
    import rox
    from rox.linking.engine_duckdb import DuckDB
    from rox.metrics.overview import experience

    tables = rox.load(rox.read_study(study))
    asked = []
    run: Callable[..., Any] = DuckDB.arrow
    DuckDB.arrow = lambda self, what: asked.append(what) or run(self, what)  # type: ignore[func-returns-value]

    def timed() -> Mapping[str, Any]:
        asked.clear()
        tables.engine.remembered.frames.clear()
        if name == "scorecard":
            values = float(experience(tables).headline["n"].max())
        else:
            values = float(tables.fetch(_sums(tables, by_customer=name != NAMES[0]))["n"].sum())
        return {"rows": values, "statements": len(asked)}

    return timed


def _sums(tables: Any, *, by_customer: bool) -> Any:
    """Sum answers by quarter and segment; first by customer too, as every error must that knows who answered twice."""
    answers, customers = tables.tables["answers"], tables.tables["customers"]
    people = customers.select("segment", "weight", person=customers.customer)
    rows = answers.left_join(people, answers.customer == people.person)
    rows = rows.mutate(quarter=rows.month // 3)
    sums = {"n": rows.count(), "w": rows.weight.sum()}
    for name in SCORES:
        sums |= {f"n_{name}": rows[name].count(), f"y_{name}": rows[name].sum()}
        sums |= {f"s_{name}": (rows[name] * rows[name]).sum()}
    keys = ["quarter", "segment"]
    if not by_customer:
        return rows.group_by(keys).aggregate(**sums)
    each = rows.group_by([*keys, "customer"]).aggregate(**sums)
    return each.group_by(keys).aggregate(**{name: each[name].sum() for name in sums})


def survey(rows: float) -> Path:
    """Write, or find, a survey of so many answers; returns the study file.

    Customers answer 6.6 times in twelve quarters on average; a fifth leave out the second question, two fifths the
    third.
    """
    folder = FOLDER / f"survey-{rows:.0f}"
    study = folder / "study.toml"
    if study.exists():
        return study
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    count = max(int(rows / PER_CUSTOMER), 50)
    ids = np.arange(count) * 7 + 1001
    people = {
        "customer": ids,
        "segment": pa.array(np.array(["affluent", "mass", "private"])[rng.integers(0, 3, count)]),
        "branch": pa.array(np.char.add("b", rng.integers(0, 200, count).astype(str))),
        "weight": np.round(rng.uniform(0.5, 2.5, count), 2),
    }
    pq.write_table(pa.table(people), folder / "customers.parquet")
    starts = range(0, int(rows), BATCH)
    with pq.ParquetWriter(folder / "answers.parquet", _answers(0, 1, ids, rng).schema) as writer:
        for start in starts:
            writer.write_table(_answers(start, min(BATCH, int(rows) - start), ids, rng))
    study.write_text(STUDY, encoding="utf-8")
    return study


def _answers(first: int, count: int, ids: np.ndarray, rng: np.random.Generator) -> pa.Table:
    liking = rng.normal(size=count)
    said = {
        name: np.clip(np.round(middle + spread * (liking + 0.7 * rng.normal(size=count))), low, high).astype(np.int8)
        for name, middle, spread, low, high in (
            ("nps", 7.5, 2, 0, 10),
            ("csat", 3.7, 0.8, 1, 5),
            ("ces", 4.9, 1.1, 1, 7),
        )
    }
    silent = {"nps": 0.0, "csat": 0.2, "ces": 0.4}
    return pa.table(
        {
            "answer": np.arange(first, first + count),
            "customer": ids[rng.integers(0, ids.size, count)],
            "day": (np.datetime64("2023-01-01") + rng.integers(0, 1096, count)).astype("datetime64[D]"),
            **{name: pa.array(said[name], mask=rng.random(count) < share) for name, share in silent.items()},
            "spend": np.ones(count),
        }
    )


if __name__ == "__main__":
    main()
