"""A whole simulated study: tables, study file and cases, as a user would have them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from math import ceil
from pathlib import Path

from rox.core.errors import DataError
from rox.core.files import write_text
from rox.simulate.config import BankConfig
from rox.simulate.dials import Recovery
from rox.simulate.export import write_bank
from rox.simulate.presets import preset
from rox.simulate.world import simulate

_OWN_DECLARATIONS = ("b2b", "small")
_STUDY = "study"
"""What names of study files begin with."""
_HELD_OUT = "hold_out_share = 0.15\n"
"""How the study files declare the lot of the tickets; in a bank with another share, that share."""
_APPLICANTS = """
[tables.applicants]
path = "funnel.csv"
columns = { key = "applicant_id", date = "started", channel = "channel", device = "device", variant = "variant", \
assigned = "assigned", reached = "reached", funded = "funded", amount = "aum_90" }
"""
_CUSTOMERS = 6_000
_LEAST_PER_SEGMENT = 12


def write_study(
    folder: str | Path,
    *,
    preset_name: str = "cmb",
    customers: int | None = None,
    seed: int = 1,
    extra: Sequence[str] = (),
) -> list[Path]:
    """Simulate a bank and write it with its study file, cases, portfolio, tree of metrics and rules of alerts.

    Retail banks also get figures of rivals, invented as those of the bundled bank. A bank of accounts (``b2b``) gets
    ``contacts.csv`` besides, a column ``contact_id`` in invitations and answers, and a second study file that reads one
    answer per account, weighted by role.

    Args:
        folder: A folder that is new or empty.
        preset_name: What the world is like: ``easy``, ``cmb``, ``hard``, ``b2b`` or ``small``.
        customers: Customers in the extract; by default 6,000, or 1,200 accounts, or the 300 of the small company.
        seed: Seed of the world.
        extra: Tables wanted besides: ``funnel``, ``referrals``, ``retests``. Study files declare the funnel, as the
            table of applicants, and do not refer to the others.

    Returns:
        The files written.

    Raises:
        DataError: The folder holds something, or there are too few customers for every segment to appear.
        RoxError: There is no such preset or table.
    """
    target, config = Path(folder), preset(preset_name)
    own = preset_name in _OWN_DECLARATIONS
    size = customers if customers is not None else config.customers if own else _CUSTOMERS
    least = ceil(_LEAST_PER_SEGMENT / min(segment.sample_share for segment in config.segments))
    faults = []
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        faults.append(f"{target} is not an empty folder; name a new one, so that nothing is overwritten")
    if size < least:
        faults.append(f"{size} customers are too few for {len(config.segments)} segments; at least {least} are needed")
    if seed < 0:
        faults.append(f"a seed is a number from 0; got {seed}")
    if faults:
        raise DataError("The bank was not simulated.", faults)
    sized = preset(preset_name, customers=size, seed=seed, population=_population(config, size))
    written = list(write_bank(simulate(sized), target, extra=extra))
    declared = write_declarations(
        target, preset_name=preset_name, hold_out=sized.recovery.hold_out, funnel="funnel" in extra
    )
    return [*written, *declared]


def _population(config: BankConfig, customers: int) -> int:
    """Give the customers of the whole bank, more than configured where the extract asks for them."""
    needed = max(ceil(customers * segment.sample_share / segment.population_share) for segment in config.segments)
    return customers if config.population == config.customers else max(config.population, needed)


def write_declarations(
    folder: str | Path, *, preset_name: str = "cmb", hold_out: float = Recovery.hold_out, funnel: bool = False
) -> list[Path]:
    """Write what people write beside a simulated bank's tables: study files, cases, portfolio, tree, alerts, rivals.

    Args:
        folder: Where the tables are.
        preset_name: The bank's preset.
        hold_out: Share of customers who by lot are never called, which the study files declare.
        funnel: Whether there is a table of applicants for the study files to declare.

    Returns:
        The files written.
    """
    source: Traversable = files("rox.simulate") / "files"
    if preset_name in _OWN_DECLARATIONS:
        source = source / preset_name
    names = sorted(each.name for each in source.iterdir() if each.name.endswith(".toml"))
    texts = {name: (source / name).read_text(encoding="utf-8") for name in names}
    texts |= {
        name: _declared(text, hold_out=hold_out, funnel=funnel)
        for name, text in texts.items()
        if name.startswith(_STUDY)
    }
    cases = sorted(each.name for each in (source / "cases").iterdir())
    texts |= {f"cases/{name}": (source / "cases" / name).read_text(encoding="utf-8") for name in cases}
    return [write_text(Path(folder) / name, text) for name, text in texts.items()]


def _declared(study: str, *, hold_out: float, funnel: bool) -> str:
    """Say in a study file what one bank was made with; a lot that holds nobody out, or everybody, is none."""
    share = f"hold_out_share = {hold_out}\n" if 0 < hold_out < 1 else ""
    return study.replace(_HELD_OUT, share) + (_APPLICANTS if funnel else "")
