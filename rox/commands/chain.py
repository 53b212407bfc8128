"""Show the company's chain on one page: operations, experience, behaviour, money, and the evidence on each arrow."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rox.commands.declared import Command


def add(command: Command) -> None:
    """Declare the arguments."""
    chain = command(
        "chain", "show operations, experience, behaviour and money on one page, with evidence on each arrow"
    )
    chain.add_argument("study", type=Path, metavar="STUDY", help="the study file, such as data/bank/study.toml")
    chain.add_argument(
        "--effects",
        type=Path,
        metavar="DIR",
        help="folder of a run's effects (default: out/NAME OF THE STUDY/effects if it is there)",
    )
    chain.add_argument(
        "--chain",
        type=Path,
        metavar="FILE",
        help="boxes and arrows (default: chain.toml beside the study, else all that the study suggests)",
    )
    chain.add_argument("--seed", type=int, help="seed of the draws (default: the study's)")
    chain.add_argument(
        "--language",
        choices=["en", "zh", "both"],
        help="of text and page; both writes two pages (default: the study's)",
    )
    chain.add_argument("--out", type=Path, metavar="PAGE", help="write the page here (.html)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.errors import DataError
    from rox.core.files import write_text
    from rox.core.study import read_study
    from rox.core.words import languages_of
    from rox.linking.load import load
    from rox.reporting.chain_page import chain_page, chain_text
    from rox.review.chain_saved import saved_chain

    if options.out is not None and options.out.suffix.lower() != ".html":
        raise DataError(f"{options.out} cannot be written.", ["name a file that ends in .html"])
    study = read_study(options.study)
    usual = Path("out") / study.about.name / "effects"
    folder = options.effects or (usual if usual.is_dir() else None)
    if folder is not None and not folder.is_dir():
        raise DataError(f"There is no folder of effects at {folder}.", ["run `rox run STUDY` first, or give --effects"])
    seed = study.about.seed if options.seed is None else options.seed
    found = saved_chain(load(study), folder, path=options.chain, rng=seed)
    languages = languages_of(options.language or study.about.language)
    files = []
    for number, language in enumerate(languages if options.out is not None else ()):
        path = options.out if number == 0 else options.out.with_suffix(f".{language}.html")
        page = chain_page(found, language, least=study.about.min_cell, study=study.about.title[language])
        files.append(write_text(path, page))
    if not options.json:
        print(chain_text(found, languages[0], least=study.about.min_cell))
        for file in files:
            print(f"Wrote {file}.")
    return {"chain": found.as_record(), "files": [str(file) for file in files]}
