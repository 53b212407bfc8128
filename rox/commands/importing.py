"""Make a clean table of an export of a survey tool or another system."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rox.commands.declared import Command

SUBJECTS = (
    "survey",
    "feedback",
    "behaviour",
    "operations",
    "customers",
    "ledger",
    "exits",
    "tickets",
    "invitations",
    "contacts",
)
FORMATS = ("auto", "qualtrics", "surveymonkey", "delighted", "wenjuanxing", "generic")


def add(command: Command) -> None:
    """Declare the arguments."""
    bring = command("import", "make a clean table of an export of a survey tool or another system")
    bring.add_argument("file", metavar="FILE", help="CSV, Parquet or Excel; a sheet as crm.xlsx#Ledger")
    bring.add_argument("--as", dest="subject", required=True, choices=SUBJECTS, help="what the export is about")
    bring.add_argument("--format", choices=FORMATS, default="auto", help="whose export it is (default: auto)")
    bring.add_argument("--map", type=Path, metavar="MAP.toml", help="what the columns are, where rox cannot tell")
    bring.add_argument(
        "--into", type=Path, required=True, metavar="FOLDER", help="folder of the table, as a rule the study's"
    )
    bring.add_argument("--name", help="ending of the file's name, for several exports of one table")
    bring.add_argument("--timezone", help="the study's, when times of the export are in another one")
    bring.add_argument(
        "--keep-ids", action="store_true", help="ids are pseudonyms already; otherwise ROX_ID_KEY is needed"
    )
    bring.add_argument("--dry-run", action="store_true", help="show what would be done, and write nothing")
    bring.add_argument("--language", choices=["en", "zh"], default="en", help="language of the page")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.errors import DataError
    from rox.linking.imports.page import as_record, page
    from rox.linking.imports.run import import_export

    done = import_export(
        options.file,
        options.subject,
        into=options.into,
        format=options.format,
        map_file=options.map,
        name=options.name,
        timezone=options.timezone,
        keep_ids=options.keep_ids,
        dry_run=options.dry_run,
        language=options.language,
    )
    if not options.json:
        print(page(done, options.language))
        for file in done.files:
            print(f"Wrote {file}.")
    if done.faults:
        raise DataError("This export cannot be imported as it is.", done.faults)
    return as_record(done)
