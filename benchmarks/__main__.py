"""Run every benchmark and write docs/performance.md."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from benchmarks import bayes, growth, linking, models, panel, scorecard, survival
from benchmarks.measure import machine, versions

HOW = """Every figure on this page was written by one run of

    {command}

on {machine}. Versions: {versions}.

Contestants take turns, each in a process of its own, so that they meet the same load; a figure is the
median over rounds (here {rounds}), a ratio the median of the ratios within a round. Read ratios, not
seconds. "First call" is the first in a fresh process, imports not counted; packages that compile at run
time do so here. Peers have the rows in memory before the clock starts, rox reads them from Parquet while it
runs. Peak memory is that of the whole process, Python and libraries included. All data are simulated
(`benchmarks/data.py`, `benchmarks/bank.py`)."""
PANEL = """Customer and month effects, three regressors, 24 months, errors clustered by customer. All compute the same
estimator; digits are those shared with rox, errors after scaling where a package counts other parameters.
AbsorbingLS and PanelOLS also count other effects as parameters. duckreg gives no clustered errors for
panels but by bootstrap, which is not run, and its two-way Mundlak regression is another estimator when the
panel is unbalanced."""
GROWTH = """The same regression by rox alone. A layout is written once (`write_layout`); from it, memory depends on the
size of a bucket and not on the number of customers."""
SURVIVAL = """Cox's model with Efron's ties, days as time, 176 covariate patterns. lifelines stops at a looser tolerance
by default."""
LINKING = """`scan` is what the engine needs to read the same columns of the same files and nothing else: the floor.
Loading types every column and checks the data contract; linking joins each month of money to the last
answer before it and counts the trail. `cells` reduces the linked panel to sums by segment, month and score;
`decode` sums the same columns."""

SCORECARD = """Scores of three questions over all, by quarter and by segment, with errors clustered by customer, and how
often customers answer: `rox.experience`. `scan` is one statement of the engine that joins the same answers to their
customers and sums the same questions by quarter and segment; `scan by customer` does so by customer first, as every
error must that knows who answered twice. Statements are those sent to the engine."""

MODELS = """Models of the score, fitted from sums that the engine takes. "After the sums" is all that is not the engine:
solving, leaving buckets out, checks, tables, and writing the statements. It depends on segments, months and
controls, and not on the number of customers. The answers themselves are written out by the engine in the first
call, which is not counted here."""

BAYES = """A hierarchical difference in differences: 8 segments, 20 strata, before and after, treated and not.
rox integrates all coefficients out and draws six scales by importance; PyMC samples the same posterior from the
same cells as a user writes it, with its own NUTS and with nutpie's. "Later call" is the next one in a warm
process. Effective draws are the fewest over the segments' effects, their mean and their spread. Counts are sampled
by nutpie; neither time grows with the number of outcomes."""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--panel-rows", type=float, nargs="+", default=[1e6, 1e7], help="sizes of the panel regression")
    parser.add_argument("--growth-rows", type=float, default=1e8, help="largest size of rox alone")
    parser.add_argument("--survival-rows", type=float, nargs="+", default=[1e5, 1e6], help="customers of the Cox model")
    parser.add_argument("--linking-rows", type=float, default=2.4e7, help="customer-months linked")
    parser.add_argument("--scorecard-rows", type=float, default=1e7, help="answers of the scorecard")
    parser.add_argument("--model-rows", type=float, default=1e7, help="largest size of the models, customer-months")
    parser.add_argument("--bayes-rows", type=float, default=1e6, help="outcomes behind the hierarchical model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--rox-only", action="store_true", help="leave other packages out")
    parser.add_argument("--out", type=Path, default=Path("docs/performance.md"))
    asked = parser.parse_args()
    started = time.perf_counter()
    text = document(asked)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(text, encoding="utf-8")
    print(f"{asked.out} written in {(time.perf_counter() - started) / 60:.0f} minutes", file=sys.stderr)


def document(asked: argparse.Namespace) -> str:
    """Run everything and write it down."""
    rounds, repeats = asked.rounds, asked.repeats
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    parts = ["# Performance", HOW.format(command=command, machine=machine(), versions=versions(), rounds=rounds)]
    parts += ["## Panel regression", PANEL]
    for rows in asked.panel_rows:
        for balanced in (True, False):
            names = ["rox", "rox from a layout"] if asked.rox_only else None
            if names is None and rows > 2e6:
                names = [
                    "rox",
                    "rox from a layout",
                    *(each for each in panel.PEERS if each not in panel.HEAVY),
                ]
            parts.append(f"### {rows:.3g} rows, {'balanced' if balanced else 'unbalanced'}")
            parts.append(panel.report(rows, balanced, rounds, repeats, names))
    parts += ["## Growth", GROWTH, growth.report(asked.growth_rows, 1, 1)]
    parts += ["## Survival", SURVIVAL]
    for rows in asked.survival_rows:
        for truncated in (True, False):
            names = ["rox"] if asked.rox_only else None
            parts.append(f"### {rows:.3g} customers, {'left truncation' if truncated else 'no truncation'}")
            parts.append(survival.report(rows, truncated, rounds, 1, names))
    parts += ["## Loading, linking, cells", LINKING, f"### {asked.linking_rows:.3g} customer-months"]
    parts.append(linking.report(asked.linking_rows, rounds, 1))
    parts += ["## Scorecard", SCORECARD, f"### {asked.scorecard_rows:.3g} answers"]
    parts.append(scorecard.report(asked.scorecard_rows, rounds, 1))
    parts += ["## Models", MODELS, models.report(asked.model_rows, rounds, 1)]
    parts += ["## Hierarchical model", BAYES]
    parts.append(bayes.report(asked.bayes_rows, rounds, 1, ["rox"] if asked.rox_only else None))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
