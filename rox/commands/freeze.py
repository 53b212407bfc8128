"""Freeze the forecast behind a report, so that it can be held against what happens."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path
from typing import Any

from rox.commands.declared import Command, date_of


def add(command: Command) -> None:
    """Declare the arguments."""
    freeze = command("freeze", "freeze the forecast behind a report, so that it can be held against what happens")
    freeze.add_argument("record", type=Path, metavar="RECORD", help="CASE.record.json of a run's folder")
    freeze.add_argument("--into", type=Path, required=True, metavar="FOLDER", help="folder of the frozen forecasts")
    freeze.add_argument("--team", required=True, help="who forecasts")
    freeze.add_argument("--owner", required=True, help="who answers for it")
    freeze.add_argument(
        "--on",
        type=date_of,
        metavar="DATE",
        help="day of freezing, not before the end of the data (default: today)",
    )
    freeze.add_argument(
        "--due",
        type=int,
        nargs="+",
        default=[3, 6, 12, 24],
        metavar="MONTH",
        help="months, if not over yet (default: 3 6 12 24)",
    )
    freeze.add_argument(
        "--study", type=Path, metavar="STUDY", help="the study file; needed by records that do not hold their case"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.study import read_study
    from rox.review.backtest_freeze import freeze

    made = freeze(
        options.record,
        study=None if options.study is None else read_study(options.study),
        into=options.into,
        on=options.on or dt.date.today(),
        team=options.team,
        owner=options.owner,
        due=options.due,
    )
    if not options.json:
        months = ", ".join(str(month) for month in made.due)
        print(f"Froze {made.name} in {options.into}; it falls due after {months} months. Seal: {made.seal}")
    return {"forecast": made.name, "seal": made.seal, "previous": made.previous, "due": list(made.due)}
