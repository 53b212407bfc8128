"""Banks of known difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from rox.core.errors import RoxError
from rox.simulate.config import BankConfig
from rox.simulate.dials import Calendar, Exits, Experience, Money, Recovery, Rollout, Survey, Traits
from rox.simulate.segments import standard_segments


def _presets() -> dict[str, BankConfig]:
    easy = BankConfig(
        segments=standard_segments(wealth_tilt=(0.0,) * 5, growth_tilt=(0.0,) * 5),
        traits=Traits(engagement_tilt=0.0),
        experience=Experience(attention=0.0, mood=0.0),
        money=Money(slope_above=1.0, slope_below=1.0, slope_low=0.0),
        exits=Exits(frailty=0.0),
        survey=Survey(style_sd=0.0, careless=0.0, by_experience=0.0, by_extremes=0.0),
        recovery=Recovery(selection=0.0),
        calendar=Calendar(promotion_experience=0.0),
    )
    hard = BankConfig(
        segments=standard_segments(growth_tilt=(1.1, 1.1, 1.1, 0.6, 0.3)),
        traits=Traits(engagement_tilt=0.5),
        experience=Experience(attention=2.0),
        survey=Survey(style_sd=0.9, by_experience=0.25, by_extremes=0.25),
        rollout=Rollout(selection="dip", direct=0.01),
    )
    return {"easy": easy, "cmb": BankConfig(), "hard": hard}


def preset(name: str = "cmb", **changes: Any) -> BankConfig:
    """Give a bank of known difficulty.

    ``easy`` has no confounding, no answering style, a response that ignores experience, and a straight line from
    experience to money. ``cmb`` is tuned to the two published statements of China Merchants Bank and to its wealth
    pyramid. ``hard`` makes every difficulty of ``cmb`` stronger, chooses the worst branches first for the roll-out and
    lets the roll-out move money past experience. An estimator should be tried in all three: with confounding alone, two
    wrongs can make a right.

    Args:
        name: ``easy``, ``cmb`` or ``hard``.
        **changes: Fields of ``BankConfig``. For a group, a mapping changes single dials and leaves the others:
            ``preset("hard", customers=5_000, rollout={"selection": "trend"})``.

    Raises:
        RoxError: Unknown preset or dial, or dials out of range; all of them are listed.
    """
    presets = _presets()
    if name not in presets:
        raise RoxError(f"There is no preset {name!r}.", [f"choose one of {', '.join(presets)}"])
    config = presets[name]
    if faults := _unknown(config, changes):
        raise RoxError(f"The preset {name!r} cannot be changed so.", faults)
    made = {
        key: replace(getattr(config, key), **value) if isinstance(value, Mapping) else value
        for key, value in changes.items()
    }
    return replace(config, **made)


def _unknown(config: BankConfig, changes: Mapping[str, Any]) -> list[str]:
    """List names among the changes that are no dials."""
    faults, known = [], {item.name for item in fields(config)}
    for key, value in changes.items():
        if key not in known:
            faults.append(f"{key}: no such dial; the dials are {', '.join(sorted(known))}")
        elif isinstance(value, Mapping):
            group = getattr(config, key)
            inner = {item.name for item in fields(group)} if is_dataclass(group) else set()
            faults += [
                f"{key}.{dial}: no such dial; needs one of {sorted(inner)}" for dial in value if dial not in inner
            ]
    return faults
