"""The same verbs from a terminal.

Exit codes: 0 done · 1 a bug in rox · 2 wrong usage · 3 study, tables or case have faults · 4 a notebook or a model
failed · 130 interrupted (finished stages are kept).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from rox.commands import VERBS
from rox.commands.declared import SCHEMA, complain

CODES = (
    "exit codes: 0 done; 1 a bug in rox; 2 wrong usage; 3 study, tables or case have faults; "
    "4 a notebook or a model failed, or a figure must not be published; 130 interrupted, finished stages are kept"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a reader who stops reading, such as ``head``, is no fault."""
    code = 0
    try:
        code = _done(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _done(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.command is None:
        _parser().print_help()
        return 2
    from rox.core.errors import CaseError, DataError, RoxError

    try:
        result = _module(options.command).run(options)
    except RoxError as cause:
        complain(cause, options)
        return 3 if isinstance(cause, (DataError, CaseError)) else 4
    except KeyboardInterrupt:
        print("Interrupted. Finished stages are kept; run the same command to go on.", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps({"schema": SCHEMA, "command": options.command, "ok": True, **result}, ensure_ascii=False))
    return 0


def _module(verb: str) -> ModuleType:
    return import_module(f"rox.commands.{VERBS[verb]}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rox", description="Return on experience: from survey scores to discounted money.", epilog=CODES
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    common.add_argument("--quiet", action="store_true", help="no progress on standard error")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common], epilog=CODES)

    for verb in VERBS:
        _module(verb).add(command)
    return parser


def _version() -> str:
    from rox import __version__

    return f"rox {__version__}"


if __name__ == "__main__":
    raise SystemExit(main())
