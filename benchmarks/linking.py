"""Load, check, link and reduce a bank's tables, relative to a plain scan of the same files by the engine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.bank import bank
from benchmarks.data import MONTHS
from benchmarks.measure import contest, loaded, options, serve, table

NAMES = ("scan", "load and check", "load, check and link")
CELLS = ("decode", "cells")


def main() -> None:
    """Run from the command line."""
    parser = options("Linking")
    asked = parser.parse_args()
    if asked.one:
        serve(contestant(asked.one, bank(asked.rows / MONTHS)), asked.repeats)
        return
    print(report(asked.rows, asked.rounds, asked.repeats, asked.only))


def report(rows: float, rounds: int, repeats: int, names: list[str] | None = None) -> str:
    """Run the contests and write them down."""
    parts = [list(NAMES), list(CELLS)] if names is None else [names]
    print(f"{bank(rows / MONTHS).parent.name}", file=sys.stderr)
    texts = []
    for part in parts:
        found = contest("benchmarks.linking", part, ["--rows", str(rows)], rounds=rounds, repeats=repeats)
        if part[0] in found.trials:
            texts.append(table(found, part[0]))
        texts += [f"{name} did not take part: {why}." for name, why in found.absent.items() if part[0] in found.absent]
    return "\n\n".join(texts)


def contestant(name: str, study: Path) -> Callable[[], Mapping[str, Any]]:
    """Return what is timed."""
    if name == "scan":
        return lambda: _scan(study.parent)
    import rox

    loaded("rox.linking.link", "rox.linking.load")
    if name == "load and check":
        return lambda: {"rows": rox.load(rox.read_study(study)).counts["ledger"]}
    if name == "load, check and link":
        return lambda: {"rows": rox.link(rox.load(rox.read_study(study)), score="nps", outcome="aum").trail[0].rows}
    data = rox.link(rox.load(rox.read_study(study)), score="nps", outcome="aum")
    if name == "decode":
        panel = data.panel
        sums = {each: panel[each].sum() for each in ("customer", "month", "score", "outcome")}
        floor = panel.aggregate(**sums, length=panel.segment.length().sum())
        return lambda: {"rows": len(data.fetch(floor))}
    return lambda: {"rows": len(data.cells(by=["segment", "month", "score"], sums=["outcome", "outcome^2"]).frame)}


def _scan(folder: Path) -> Mapping[str, Any]:
    import duckdb

    with duckdb.connect() as connection:
        money = connection.execute(
            f"SELECT count(*), max(customer), max(month), sum(balance) FROM '{folder / 'ledger.parquet'}'"
        ).fetchone()
        connection.execute(f"SELECT max(answer), max(customer), max(day), sum(nps) FROM '{folder / 'answers.parquet'}'")
        connection.execute(
            f"SELECT max(customer), max(segment), max(branch), max(opened) FROM '{folder / 'customers.parquet'}'"
        )
    return {"rows": money[0] if money else 0}


if __name__ == "__main__":
    main()
