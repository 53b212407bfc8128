"""Say why a case's figures changed from one run to the next."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rox.commands.declared import SCHEMA, Command

UNPUBLISHABLE = 4


def add(command: Command) -> None:
    """Declare the arguments."""
    compare = command("compare", "say why a case's figures changed from one run to the next, step by step")
    compare.add_argument("first", type=Path, metavar="RECORD_A", help="record of the earlier run: CASE.record.json")
    compare.add_argument("second", type=Path, metavar="RECORD_B", help="record of the later run")
    compare.add_argument(
        "--study",
        type=Path,
        metavar="STUDY",
        help="study file with the later run's tables: estimates again, so that data restated, data added, method and "
        "priors are steps of their own",
    )
    compare.add_argument(
        "--no-orders", action="store_true", help="only the fixed order of replacement, which is faster"
    )
    compare.add_argument("--out", type=Path, metavar="FOLDER", help="write page, workbook and record into this folder")
    compare.add_argument("--language", choices=["en", "zh"], default="en", help="language of the output (default: en)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints; a figure that must not be published ends with exit code 4."""
    from rox.core.files import write_text
    from rox.reporting.comparison_page import comparison_page, comparison_text
    from rox.reporting.comparison_sheet import write_comparison
    from rox.review.comparison import compare

    live = sys.stderr.isatty()

    def tell(line: str) -> None:
        if live:
            print(f"\r\033[K{line[:110]}", end="", file=sys.stderr, flush=True)

    found = compare(
        options.first,
        options.second,
        study=options.study,
        orders=not options.no_orders,
        tell=(lambda line: None) if options.quiet else tell,
    )
    if live and not options.quiet:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    record = found.as_record()
    files = []
    if options.out is not None:
        name = f"{found.second.case}.changes"
        files = [
            write_text(options.out / f"{name}.html", comparison_page(found, options.language)),
            write_comparison(found, options.out / f"{name}.xlsx", language=options.language),
            write_text(options.out / f"{name}.json", json.dumps(record, ensure_ascii=False, indent=1) + "\n"),
        ]
    paths = [str(file) for file in files]
    if not options.json:
        print(comparison_text(found, options.language))
        for path in paths:
            print(f"Wrote {path}.")
    if not found.is_publishable:
        _stop(found.checks[0].sentence(options.language), {"comparison": record, "files": paths}, options)
    return {"comparison": record, "files": paths}


def _stop(sentence: str, result: dict[str, Any], options: argparse.Namespace) -> None:
    """End with exit code 4, after everything that was found is printed."""
    if options.json:
        said = {"schema": SCHEMA, "command": options.command, "ok": False, **result}
        print(json.dumps(said, ensure_ascii=False))
    else:
        from rox.core.words import say

        print(say("comparison.stop", options.language, sentence=sentence), file=sys.stderr)
    raise SystemExit(UNPUBLISHABLE)
