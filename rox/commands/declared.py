"""What every verb is made of: a way to declare it, and a way to say what went wrong."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rox.core.errors import RoxError

SCHEMA = "rox.cli/1"


class Command(Protocol):
    """Declares a verb by its name and one line on what it does, and returns the parser of its arguments."""

    def __call__(self, name: str, text: str) -> argparse.ArgumentParser:
        """Declare the verb."""


def date_of(text: str) -> dt.date:
    """Read a day of an argument.

    Raises:
        ArgumentTypeError: It is no day; says how one is written.
    """
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; write year-month-day: 2026-01-31") from None


def complain(cause: RoxError, options: argparse.Namespace) -> None:
    """Print an error: as one JSON document on standard output, or as text on standard error."""
    if options.json:
        error = {"kind": type(cause).__name__, "headline": cause.headline, "faults": list(cause.faults)}
        print(
            json.dumps({"schema": SCHEMA, "command": options.command, "ok": False, "error": error}, ensure_ascii=False)
        )
    else:
        print(cause, file=sys.stderr)
