"""Hold frozen forecasts against what happened."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rox.commands.declared import Command, date_of


def add(command: Command) -> None:
    """Declare the arguments."""
    backtest = command("backtest", "hold frozen forecasts against what happened, and learn what a grade is worth")
    backtest.add_argument("forecasts", type=Path, metavar="FOLDER", help="folder of the frozen forecasts")
    backtest.add_argument("--actuals", type=Path, metavar="ACTUALS.toml", help="what was measured, booked and paid")
    backtest.add_argument(
        "--study", type=Path, metavar="STUDY", help="study file with newer tables: the same questions are asked again"
    )
    backtest.add_argument(
        "--on",
        type=date_of,
        metavar="DATE",
        help="day up to which months are due, such as 2027-01-31 (default: the last day known)",
    )
    backtest.add_argument("--seal", metavar="SEAL", help="last seal as noted elsewhere; another one is refused")
    backtest.add_argument("--layers", type=Path, metavar="FILE.toml", help="write the learned evidence discounts")
    backtest.add_argument("--out", type=Path, metavar="FOLDER", help="write page and record into this folder")
    backtest.add_argument("--language", choices=["en", "zh"], default="en", help="language of the output (default: en)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.errors import DataError
    from rox.core.files import write_text
    from rox.core.forecast import last_seal, read_forecasts
    from rox.reporting.backtest_page import backtest_page, backtest_text
    from rox.review.backtest import backtest
    from rox.review.backtest_actuals import Actuals, read_actuals
    from rox.review.backtest_again import Again, estimate_again
    from rox.review.backtest_layers import PRIOR_PAIRS, write_layers

    forecasts = read_forecasts(options.forecasts)
    if options.seal is not None and options.seal not in {each.seal for each in forecasts}:
        raise DataError(
            f"The forecasts in {options.forecasts} do not hold the seal {options.seal[:12]}.",
            [f"the last seal is {last_seal(forecasts) or 'none'}: forecasts were removed, or this is another folder"],
        )
    if options.actuals is None and options.study is None and options.on is None:
        raise DataError(
            "There is nothing to hold the forecasts against.",
            ["give --actuals, or --study, or both; --on DATE alone lists what is overdue"],
        )
    actuals = Actuals() if options.actuals is None else read_actuals(options.actuals, forecasts)
    again = Again()
    if options.study is not None:
        tell = (lambda line: None) if options.quiet else (lambda line: print(line, file=sys.stderr, flush=True))
        again = estimate_again(forecasts, options.study, tell=tell)
    found = backtest(forecasts, actuals, again=again, on=options.on)
    record, files = found.as_record(), []
    if options.out is not None:
        page = backtest_page(found, options.language, prior_pairs=PRIOR_PAIRS)
        text = json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n"
        files = [write_text(options.out / "backtest.html", page), write_text(options.out / "backtest.json", text)]
    if options.layers is not None:
        files.append(write_layers(found.learned, options.layers, source=f"rox backtest {options.forecasts.name}"))
    if not options.json:
        print(backtest_text(found, options.language, prior_pairs=PRIOR_PAIRS))
        for file in files:
            print(f"Wrote {file}.")
    return {"backtest": record, "files": [str(file) for file in files]}
