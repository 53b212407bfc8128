"""Try the estimators on banks whose truth is known."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rox.commands.declared import Command
from rox.commands.settings import settings


def add(command: Command) -> None:
    """Declare the arguments."""
    validate = command("validate", "try the estimators on simulated banks whose truth is known")
    validate.add_argument(
        "--estimators",
        nargs="+",
        metavar="NAME",
        help="estimators and recipes to try, such as gap panel churn uplift pooled_ols (default: all)",
    )
    validate.add_argument(
        "--presets",
        nargs="+",
        default=["easy", "cmb", "hard"],
        metavar="WORLD",
        help="worlds: easy, cmb, hard, or one with another order of branches, such as cmb/dip or cmb/trend "
        "(default: easy cmb hard)",
    )
    validate.add_argument(
        "--measures",
        action="store_true",
        help="try the measures instead: coverage of their intervals, false alarms, and what silence hides",
    )
    validate.add_argument(
        "--replications", type=int, help="banks per world (default: 12), or samples of each design of measures (2000)"
    )
    validate.add_argument("--customers", type=int, default=10_000, help="customers of each bank (default: 10000)")
    validate.add_argument("--seed", type=int, default=1, help="seed of the first bank (default: 1)")
    validate.add_argument(
        "--posteriors",
        type=int,
        default=1000,
        metavar="N",
        help="data sets simulated from each shipped posterior to see whether it is calibrated; 0 leaves it out "
        "(default: 1000)",
    )
    validate.add_argument(
        "--dial",
        action="append",
        default=[],
        metavar="GROUP.NAME=VALUE",
        help="turn a dial of every world, such as experience.attention=3; may be repeated",
    )
    validate.add_argument(
        "--calibrate", type=Path, metavar="FOLDER", help="fit what each grade is worth, and write it into this folder"
    )
    validate.add_argument("--out", type=Path, default=Path("out/validation"), help="folder (default: out/validation)")
    validate.add_argument("--jobs", type=int, default=2, help="processes, one thread each (default: 2)")
    validate.add_argument("--document", type=Path, help="write the document here too (default: only into the folder)")
    validate.add_argument("--language", choices=["en", "zh"], default="en", help="language of tables and document")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.files import write_text
    from rox.validation.document import document, tables_text
    from rox.validation.laboratory import validate

    if options.measures:
        return _measured(options)
    board = validate(
        options.presets,
        dials=settings(options.dial, "--dial", "GROUP"),
        methods=options.estimators,
        replications=12 if options.replications is None else options.replications,
        customers=options.customers,
        seed=options.seed,
        out=options.out,
        jobs=options.jobs,
        posteriors=options.posteriors,
        progress=_teller(options),
    )
    _done(options)
    record, text = board.as_record(), document(board, options.language)
    written = [
        write_text(options.out / "validation.json", json.dumps(record, ensure_ascii=False, indent=1) + "\n"),
        *(write_text(path, text) for path in (options.out / "validation.md", options.document) if path is not None),
    ]
    if options.calibrate is not None:
        from rox.validation.calibration import Calibration

        found = Calibration.of(board)
        folder = options.calibrate
        written += found.save(folder / "bias_layers.toml", folder / "calibration.csv")
        written.append(write_text(folder / "calibration.md", found.document(options.language)))
    if not options.json:
        print(tables_text(board, options.language))
        print(f"Wrote {', '.join(str(path) for path in written)}.")
    return {**record, "files": [str(path) for path in written]}


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    """Try the measures, and write what was found."""
    from rox.core.files import write_text
    from rox.validation.measures import Size, measure
    from rox.validation.measures_document import measures_document, measures_text

    size = Size() if options.replications is None else Size.of(options.replications)
    found = measure(size, seed=options.seed, jobs=options.jobs, progress=_teller(options))
    _done(options)
    record, text = found.as_record(), measures_document(found, options.language)
    written = [
        write_text(options.out / "measures.json", json.dumps(record, ensure_ascii=False, indent=1) + "\n"),
        *(write_text(path, text) for path in (options.out / "measures.md", options.document) if path is not None),
    ]
    if not options.json:
        print(measures_text(found, options.language))
        print(f"Wrote {', '.join(str(path) for path in written)}.")
    return {**record, "files": [str(path) for path in written]}


def _teller(options: argparse.Namespace) -> Callable[[str], None]:
    """Return what prints a line of progress, over the one before on a terminal."""
    if options.quiet:
        return lambda line: None
    live = sys.stderr.isatty()

    def tell(line: str) -> None:
        print(f"\r\033[K{line[:110]}" if live else line, end="" if live else "\n", file=sys.stderr, flush=True)

    return tell


def _done(options: argparse.Namespace) -> None:
    if sys.stderr.isatty() and not options.quiet:
        print(file=sys.stderr)
