"""Measure a tree of metrics: north star, goals, signals, metrics, and the journey."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rox.commands.declared import Command


def add(command: Command) -> None:
    """Declare the arguments."""
    tree = command("tree", "measure a tree of metrics against its targets, along the customer's journey")
    tree.add_argument("study", type=Path, metavar="STUDY", help="the study file, such as data/bank/study.toml")
    tree.add_argument(
        "--tree",
        metavar="FILE",
        help="the tree's file, or heart, pulse, ues or journey (default: experience.toml beside the study, else heart)",
    )
    tree.add_argument("--by", metavar="COLUMN", help="split by a column of the customers, such as segment")
    tree.add_argument(
        "--every", choices=["month", "quarter", "year"], default="quarter", help="the period (default: quarter)"
    )
    tree.add_argument("--language", choices=["en", "zh"], help="language of text and page (default: the study's)")
    tree.add_argument("--out", type=Path, metavar="PAGE", help="write the page here (.html)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.errors import DataError
    from rox.core.files import write_text
    from rox.core.study import read_study
    from rox.linking.load import load
    from rox.metrics.trees import measure_tree, metric_tree
    from rox.reporting.tree_page import tree_page, tree_text

    if options.out is not None and options.out.suffix.lower() != ".html":
        raise DataError(f"{options.out} cannot be written.", ["name a file that ends in .html"])
    study = read_study(options.study)
    own = study.folder / "experience.toml"
    tree = metric_tree(options.tree or (own if own.is_file() else "heart"))
    groups = (options.by,) if options.by else ()
    report = measure_tree(load(study), tree, groups, every=options.every)
    language = options.language or study.language
    files = []
    if options.out is not None:
        page = tree_page(report, language, currency=study.currency, study=study.about.title[language])
        files.append(write_text(options.out, page))
    if not options.json:
        print(tree_text(report, language, currency=study.currency))
        for file in files:
            print(f"Wrote {file}.")
    return {"tree": report.as_record(), "files": [str(file) for file in files]}
