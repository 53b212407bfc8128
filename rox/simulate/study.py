"""A whole simulated study: tables, study file and cases, as a user would have them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from rox.core.errors import DataError
from rox.core.files import write_text
from rox.simulate.export import write_bank
from rox.simulate.presets import preset
from rox.simulate.world import simulate


def write_study(folder: str | Path, *, preset_name: str = "cmb", customers: int = 6_000, seed: int = 1) -> list[Path]:
    """Simulate a bank and write it with its study file and cases.

    Args:
        folder: A folder that is new or empty.
        preset_name: How hard the world is: ``easy``, ``cmb`` or ``hard``.
        customers: Customers in the extract.
        seed: Seed of the world.

    Returns:
        The files written.

    Raises:
        DataError: The folder holds something, or there are too few customers for every segment to appear.
    """
    target = Path(folder)
    faults = []
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        faults.append(f"{target} is not an empty folder; name a new one, so that nothing is overwritten")
    if customers < 300:
        faults.append(f"{customers} customers are too few for five segments; at least 300 are needed")
    if seed < 0:
        faults.append(f"a seed is a number from 0; got {seed}")
    if faults:
        raise DataError("The bank was not simulated.", faults)
    written = list(write_bank(simulate(preset(preset_name, customers=customers, seed=seed)), target))
    return [*written, *write_declarations(target)]


def write_declarations(folder: str | Path) -> list[Path]:
    """Write the study file and the cases that go with a simulated bank's tables."""
    source = files("rox.simulate") / "files"
    names = ["study.toml", *sorted(f"cases/{each.name}" for each in (source / "cases").iterdir())]
    return [write_text(Path(folder) / name, (source / name).read_text(encoding="utf-8")) for name in names]
