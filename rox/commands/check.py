"""Read a study, its tables and its cases, and list every fault."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rox.commands.declared import Command


def add(command: Command) -> None:
    """Declare the arguments."""
    check = command("check", "read a study, its tables and its cases, and list every fault")
    check.add_argument("study", type=Path, metavar="STUDY", help="the study file, such as data/bank/study.toml")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.errors import CaseError, DataError
    from rox.core.study import read_study
    from rox.linking.load import load

    study = read_study(options.study)
    faults: list[str] = []
    for name in study.case_names:
        try:
            study.case(name)
        except CaseError as cause:
            faults += [f"{name}: {fault}" for fault in cause.faults or (cause.headline,)]
    try:
        tables = load(study)
    except DataError as cause:
        raise DataError(cause.headline, [*cause.faults, *faults]) from cause
    if faults:
        raise CaseError(f"{options.study}: the tables are in order, the cases are not.", faults)
    found = [
        {"code": check.code, "verdict": str(check.verdict), "sentence": check.sentence(study.language)}
        for check in tables.checks
    ]
    if not options.json:
        width = max(len(name) for name in tables.counts)
        for name, rows in tables.counts.items():
            print(f"{name:<{width}}  {rows:>10,} rows")
        print(f"cases: {', '.join(study.case_names) or 'none'}")
        for check in found:
            print(f"{check['code']} {check['verdict']}: {check['sentence']}")
        print("No fault found.")
    return {"tables": dict(tables.counts), "cases": list(study.case_names), "checks": found}
