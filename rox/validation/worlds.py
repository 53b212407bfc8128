"""The worlds estimators are tried in: difficulty known or drawn, and ways of choosing who is refitted first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from rox.core.errors import RoxError, RunError
from rox.simulate.config import BankConfig
from rox.simulate.dials import Selection
from rox.simulate.mixed import mixed
from rox.simulate.presets import preset

MIXED = "mixed"
"""The world whose banks each have difficulties of their own."""
PRESETS = ("easy", "cmb", "hard", MIXED)
"""Presets a world may be made from."""
SELECTIONS = get_args(Selection)
Dials = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class World:
    """A preset of the simulated bank, or banks of drawn difficulty, with changes.

    Attributes:
        name: ``cmb``, or ``cmb/trend`` for another order of branches.
        preset: The preset.
        selection: The other order; None for that of the preset.
        dials: Further changes, such as ``{"experience": {"attention": 3.0}}``.
    """

    name: str
    preset: str
    selection: Selection | None = None
    dials: Dials = field(default_factory=dict)

    def __post_init__(self) -> None:
        held = {group: MappingProxyType(dict(values)) for group, values in self.dials.items()}
        object.__setattr__(self, "dials", MappingProxyType(held))

    def __reduce__(self) -> tuple[Any, ...]:
        dials = {group: dict(values) for group, values in self.dials.items()}
        return _world, (self.name, self.preset, self.selection, dials)

    @property
    def is_about_rollouts(self) -> bool:
        """Whether it differs from its preset by the order of branches, which only methods for roll-outs can notice."""
        return self.selection is not None

    @property
    def specification(self) -> str:
        """The world as asked, the same in every process."""
        return json.dumps([self.name, {group: dict(values) for group, values in self.dials.items()}], sort_keys=True)

    def config(self, *, customers: int, seed: int) -> BankConfig:
        """Return the dials of one bank.

        Raises:
            RoxError: Unknown dials, or values out of range; all of them are listed.
        """
        changes: dict[str, dict[str, Any]] = {group: dict(values) for group, values in self.dials.items()}
        if self.selection is not None:
            changes.setdefault("rollout", {})["selection"] = self.selection
        if self.preset == MIXED:
            return _changed(mixed(seed=seed, customers=customers), changes)
        return preset(self.preset, customers=customers, seed=seed, **changes)

    def assigned(self, seed: int) -> Literal["random", "chosen"]:
        """How a truthful study file says the places of one bank were chosen."""
        return "random" if self.config(customers=1_000, seed=seed).rollout.selection == "random" else "chosen"


def _world(name: str, made_from: str, selection: Selection | None, dials: Dials) -> World:
    return World(name=name, preset=made_from, selection=selection, dials=dials)


def _changed(config: BankConfig, changes: Dials) -> BankConfig:
    preset("cmb", **changes)
    return replace(config, **{group: replace(getattr(config, group), **values) for group, values in changes.items()})


def read_world(name: str, dials: Dials | None = None) -> World:
    """Read a world's name.

    Args:
        name: A preset, or a preset and an order of branches.
        dials: Changes to its dials.

    Raises:
        RunError: No such preset, no such order of branches, or dials that no bank can have.
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
    world = World(name=name, preset=start, selection=found, dials=dials or {})
    try:
        world.config(customers=1_000, seed=1)
    except (RoxError, TypeError, AttributeError) as cause:
        faults = cause.faults if isinstance(cause, RoxError) else [str(cause)]
        raise RunError("No bank can have these dials.", faults) from cause
    return world
