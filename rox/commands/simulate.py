"""Write a simulated bank."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rox.commands.declared import Command

PRESETS = ("easy", "cmb", "hard", "b2b", "small")
EXTRAS = ("funnel", "referrals", "retests")


def add(command: Command) -> None:
    """Declare the arguments."""
    simulate = command("simulate", "write a simulated bank with its study file and cases")
    simulate.add_argument("folder", type=Path, metavar="FOLDER", help="a folder that is new or empty")
    simulate.add_argument("--preset", choices=PRESETS, default="cmb", help="which world")
    simulate.add_argument("--customers", type=int, help="number of customers (default: the preset's)")
    simulate.add_argument(
        "--extra", action="append", default=[], choices=EXTRAS, help="write this further table too; may be repeated"
    )
    simulate.add_argument("--seed", type=int, default=1, help="seed of the world (default: 1)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.simulate.study import write_study

    files = write_study(
        options.folder, preset_name=options.preset, customers=options.customers, seed=options.seed, extra=options.extra
    )
    if not options.json:
        print(f"Wrote {len(files)} files to {options.folder}. Try: rox run {options.folder / 'study.toml'}")
    return {"files": [str(file) for file in files]}
