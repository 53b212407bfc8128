"""From a simulated bank to a linked panel, the way any study goes: files, study file, load, link."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rox.core.errors import RunError
from rox.core.files import write_text
from rox.core.linked import Linked
from rox.core.study import read_study
from rox.linking.link import link
from rox.linking.load import load
from rox.simulate.bank import Bank
from rox.simulate.export import write_bank
from rox.simulate.study import write_declarations
from rox.testing.held import hold

ASSIGNED = 'assigned = "random"'
"""How the study file that comes with a simulated bank says the branches were chosen."""


def link_bank(
    bank: Bank, *, assigned: Literal["random", "chosen", "unknown"] = "random", funnel: bool = False
) -> Linked:
    """Write a bank's tables to a temporary folder, load and link them, and hold what models read in memory.

    Args:
        bank: The bank.
        assigned: How the study file says the places of the roll-out were chosen.
        funnel: Whether the account-opening funnel is among the tables.
    """
    with tempfile.TemporaryDirectory(prefix="rox-validation-") as name:
        folder = Path(name)
        write_bank(bank, folder, extra=("funnel",) if funnel else ())
        write_declarations(folder, hold_out=bank.config.recovery.hold_out, funnel=funnel)
        study = folder / "study.toml"
        text = study.read_text(encoding="utf-8")
        if text.count(ASSIGNED) != 1:
            raise RunError(
                f"The study file of a simulated bank says {ASSIGNED} {text.count(ASSIGNED)} times, not once."
            )
        write_text(study, text.replace(ASSIGNED, f'assigned = "{assigned}"'))
        data = link(load(read_study(study), memory_limit="2GB"), score="nps", outcome="aum")
        held = hold(data).linked()
    return replace(held, fetch=lambda rows: rows.copy())
