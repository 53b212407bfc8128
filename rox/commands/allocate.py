"""Choose which initiatives a budget should go to, and at which scale."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rox.commands.declared import Command


def add(command: Command) -> None:
    """Declare the arguments."""
    allocate = command("allocate", "choose which initiatives a budget should go to, and what they return together")
    allocate.add_argument("portfolio", type=Path, metavar="PORTFOLIO.toml", help="the portfolio file")
    allocate.add_argument("--effects", type=Path, required=True, metavar="FOLDER", help="folder of saved effects")
    allocate.add_argument(
        "--study",
        type=Path,
        metavar="STUDY",
        help="study file, for its evidence discounts (default: study.toml beside)",
    )
    allocate.add_argument("--budget", type=_amount, metavar="AMOUNT", help="another budget than the portfolio's")
    allocate.add_argument("--draws", type=int, default=20_000, metavar="N", help="joint draws (default: 20000)")
    allocate.add_argument("--seed", type=int, default=1, help="seed of the draws (default: 1)")
    allocate.add_argument("--out", type=Path, metavar="FILE", help="write the page (.html) or the record (.json) here")
    allocate.add_argument("--language", choices=["en", "zh"], default="en", help="language of text and page")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.check import BIAS_LAYERS
    from rox.core.effect import Effect
    from rox.core.errors import CaseError
    from rox.core.files import write_text
    from rox.core.portfolio import read_portfolio
    from rox.core.record import plain
    from rox.core.study import read_study
    from rox.reporting.allocation_page import allocation_html, allocation_text
    from rox.valuation.allocation import allocate_budget

    suffix = "" if options.out is None else options.out.suffix.lower()
    if options.out is not None and suffix not in (".html", ".json"):
        raise CaseError(f"{options.out} cannot be written.", ["name a file that ends in .html or .json"])
    if options.seed < 0:
        raise CaseError("The portfolio was not valued.", [f"a seed is a number from 0; got {options.seed}"])
    portfolio = read_portfolio(options.portfolio)
    names = dict.fromkeys(name for case in portfolio.cases.values() for name in case.about.effects)
    effects = [Effect.load(options.effects / f"{name}.npz") for name in names]
    beside = options.portfolio.parent / "study.toml"
    study = options.study or (beside if beside.is_file() else None)
    layers = BIAS_LAYERS if study is None else read_study(study).layers
    found = allocate_budget(
        portfolio, effects, budget=options.budget, draws=options.draws, rng=options.seed, layers=layers
    )
    record: dict[str, Any] = plain(found.as_record())
    files = []
    if suffix == ".html":
        files.append(write_text(options.out, allocation_html(found, options.language)))
    elif suffix == ".json":
        files.append(write_text(options.out, _json(record)))
    if not options.json:
        print(allocation_text(found, options.language))
        for file in files:
            print(f"Wrote {file}.")
    return {"allocation": record, "files": [str(file) for file in files]}


def _amount(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an amount; write the digits alone, without unit, comma or currency: 2500000"
        ) from None


def _json(record: dict[str, Any]) -> str:
    import json

    return json.dumps(record, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n"
