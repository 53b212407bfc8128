"""Start a case file, or check one."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from rox.commands.declared import Command


def add(command: Command) -> None:
    """Declare the arguments."""
    case = command("case", "start a case file that finance can fill in (new), or check one (check)")
    case.add_argument("action", choices=["new", "check"], help="what to do")
    case.add_argument("name", metavar="NAME", help="new: name of the case; check: the case file")
    case.add_argument("--study", type=Path, metavar="STUDY", help="the study file; needed by new")
    case.add_argument("--like", metavar="CASE", help="take over the numbers and owners of this case of the study")
    case.add_argument("--language", choices=["en", "zh"], help="language of the comments (default: the study's)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    return _new(options) if options.action == "new" else _check(options)


def _new(options: argparse.Namespace) -> dict[str, Any]:
    import tomllib

    from rox.core.errors import CaseError
    from rox.core.files import write_text
    from rox.core.study import read_study
    from rox.core.unfilled import unfilled
    from rox.linking.load import load
    from rox.review.case_draft import draft_case

    if options.study is None:
        raise CaseError("A case belongs to a study.", ["add --study data/bank/study.toml, or where yours is"])
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", options.name):
        raise CaseError(
            f"{options.name!r} cannot be the name of a case.",
            ["use letters, digits and _, a letter first: branch_refit"],
        )
    study = read_study(options.study)
    path = study.folder / "cases" / f"{options.name}.toml"
    if path.exists():
        raise CaseError(f"{path} is there already, and nothing is overwritten.", ["choose another name, or edit it"])
    tables = None if options.like else load(study)
    text = draft_case(
        study, options.name, language=options.language or study.language, tables=tables, like=options.like
    )
    still = [f"{place}.{key}" for place, key in unfilled(tomllib.loads(text))]
    write_text(path, text)
    if not options.json:
        print(f'Wrote {path}. Still "?": {len(still)} places. Fill them in, then: rox case check {path}')
    return {"file": str(path), "open": still}


def _check(options: argparse.Namespace) -> dict[str, Any]:
    from rox.core.case import read_case

    case = read_case(options.name)
    places = [place for place, _ in case.register()]
    if not options.json:
        print(f"{case.name}: {len(places)} assumptions, every one with owner, source and date. No fault found.")
    return {"case": case.name, "assumptions": places}
