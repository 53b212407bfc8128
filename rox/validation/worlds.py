"""The worlds estimators are tried in: presets of the simulated bank, and ways of choosing who is refitted first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rox.core.errors import RunError
from rox.simulate.config import BankConfig
from rox.simulate.dials import Selection
from rox.simulate.presets import preset

PRESETS = ("easy", "cmb", "hard")
"""Presets a world may be made from."""
SELECTIONS = get_args(Selection)


@dataclass(frozen=True, kw_only=True)
class World:
    """A preset of the simulated bank, whose branches are refitted in its own or in another order.

    Attributes:
        name: ``cmb``, or ``cmb/trend`` for another order of branches.
        preset: The preset.
        selection: The other order; None for that of the preset.
    """

    name: str
    preset: str
    selection: Selection | None = None

    @property
    def is_about_rollouts(self) -> bool:
        """Whether it differs from its preset by the order of branches, which only methods for roll-outs can notice."""
        return self.selection is not None

    def config(self, *, customers: int, seed: int) -> BankConfig:
        """Return the dials of one bank."""
        changes = {} if self.selection is None else {"rollout": {"selection": self.selection}}
        return preset(self.preset, customers=customers, seed=seed, **changes)

    @property
    def assigned(self) -> Literal["random", "chosen"]:
        """How a truthful study file says the places were chosen."""
        return "random" if self.config(customers=1_000, seed=1).rollout.selection == "random" else "chosen"


def read_world(name: str) -> World:
    """Read a world's name.

    Raises:
        RunError: No such preset, or no such order of branches.
    """
    start, slash, order = name.partition("/")
    found = next((each for each in SELECTIONS if each == order), None)
    if start not in PRESETS or (slash and found is None):
        raise RunError(
            f"There is no world {name!r}.",
            [
                f"name a preset ({', '.join(PRESETS)}), or a preset and an order of branches, such as cmb/trend",
                f"orders of branches are {', '.join(SELECTIONS)}",
            ],
        )
    return World(name=name, preset=start, selection=found)
