"""Run every notebook of a study."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from rox.commands.declared import Command
from rox.commands.settings import settings


def add(command: Command) -> None:
    """Declare the arguments."""
    run = command("run", "run every notebook of a study and leave reports, workbooks and records")
    run.add_argument("study", type=Path, metavar="STUDY", help="the study file")
    run.add_argument("--out", type=Path, help="folder of the results (default: out/NAME OF THE STUDY)")
    run.add_argument("--case", action="append", default=[], help="value this case only; may be repeated")
    run.add_argument("--seed", type=int, help="seed of every stage (default: the study's)")
    run.add_argument(
        "--language", choices=["en", "zh", "both"], help="language of the reports, or both (default: the study's)"
    )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NOTEBOOK.NAME=VALUE",
        help="set a notebook's parameter, such as 02_nps_to_aum.LOOK_BACK=6",
    )
    run.add_argument("--fresh", action="store_true", help="run again what has not changed")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.study import read_study
    from rox.run import run_study

    started = time.monotonic()
    out = options.out or Path("out") / read_study(options.study).about.name
    done = run_study(
        options.study,
        out,
        cases=options.case,
        seed=options.seed,
        language=options.language,
        values=settings(options.set),
        fresh=options.fresh,
        say=(lambda line: None) if options.quiet else _progress(),
    )
    paths = {
        "reports": [str(path) for path in done.reports.values()],
        "workbooks": [str(path) for path in done.workbooks.values()],
        "records": [str(path) for path in done.records.values()],
        "notebooks": [str(path) for path in done.notebooks.values()],
    }
    if not options.json:
        print(f"Done in {time.monotonic() - started:.0f} s.")
        for kind, files in paths.items():
            print(f"{kind}:")
            for file in files:
                print(f"  {file}")
    return {**paths, "seconds": {name: round(value, 1) for name, value in done.seconds.items()}}


def _progress() -> Any:
    """Return what prints progress: one changing line on a terminal, one line per stage elsewhere."""
    live = sys.stderr.isatty()

    def say(line: str) -> None:
        if live:
            print(f"\r\033[K{line[:110]}", end="" if "cell" in line else "\n", file=sys.stderr, flush=True)
        elif ": cell " not in line:
            print(line, file=sys.stderr, flush=True)

    return say
