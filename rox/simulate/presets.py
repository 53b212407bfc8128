"""Banks of known difficulty and kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from rox.core.errors import RoxError
from rox.simulate.config import BankConfig
from rox.simulate.dials import (
    Accounts,
    Calendar,
    Exits,
    Experience,
    Money,
    Recovery,
    Role,
    Rollout,
    Survey,
    Traits,
)
from rox.simulate.funnel_dials import Funnel
from rox.simulate.segments import account_segments, small_segments, standard_segments

PRESETS = ("easy", "cmb", "hard", "b2b", "small")
"""The banks there are."""


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
    return {"easy": easy, "cmb": BankConfig(), "hard": hard, "b2b": _business(), "small": _small()}


def _business() -> BankConfig:
    return BankConfig(
        customers=1_200,
        population=9_000,
        branches=12,
        segments=account_segments(),
        traits=Traits(new_share=0.06, tenure=45.0, growth_mean=0.0),
        experience=Experience(mood=0.10),
        exits=Exits(frailty=0.3, age=0.0),
        rollout=Rollout(effects=(1.1, 0.9, 0.7)),
        calendar=Calendar(promotion_rate=0.0),
        accounts=Accounts(
            roles=(
                Role(name="user", weight=0.25, least=1, most=3, experience=0.2, response=0.4),
                Role(name="buyer", weight=0.30, experience=-0.3),
                Role(name="decision_maker", weight=0.45, least=1, most=2, response=-0.7),
            )
        ),
        funnel=Funnel(applicants=6_000),
    )


def _small() -> BankConfig:
    return BankConfig(
        customers=300,
        population=300,
        branches=2,
        segments=small_segments(),
        traits=Traits(growth_mean=0.0),
        rollout=Rollout(starts=(18,), effects=(1.2,), ramp=3),
        funnel=Funnel(applicants=600),
    )


def preset(name: str = "cmb", **changes: Any) -> BankConfig:
    """Give a bank of known difficulty or kind.

    ``cmb`` is tuned to the two published statements of China Merchants Bank and to its wealth pyramid; its dials are
    the defaults. The others differ from it as follows, and in nothing else.

    ``easy``, without confounding, answering habits or bends: ``segments`` (``wealth_tilt`` and ``growth_tilt`` 0),
    ``traits.engagement_tilt`` 0, ``experience.attention`` and ``experience.mood`` 0, ``money.slope_above`` and
    ``money.slope_below`` 1 and ``money.slope_low`` 0, ``exits.frailty`` 0, ``survey.style_sd``, ``survey.careless``,
    ``survey.by_experience`` and ``survey.by_extremes`` 0, ``recovery.selection`` 0,
    ``calendar.promotion_experience`` 0.

    ``hard``, with every difficulty stronger: ``segments`` (``growth_tilt`` up to 1.1), ``traits.engagement_tilt`` 0.5,
    ``experience.attention`` 2, ``survey.style_sd`` 0.9, ``survey.by_experience`` and ``survey.by_extremes`` 0.25,
    ``rollout.selection`` by the worst recent branches, ``rollout.direct`` 0.01: the roll-out moves money past
    experience.

    ``b2b``, a bank of 9,000 business accounts, of which the extract holds 1,200 (``customers``, ``population``): few,
    large and long-lived (``segments``, ``traits.new_share`` 0.06, ``traits.tenure`` 45, ``traits.growth_mean`` 0,
    ``exits.frailty`` 0.3, ``exits.age`` 0), in 12 service centres (``branches``, ``rollout.effects`` 1.1, 0.9 and 0.7),
    with little mood and no promotions (``experience.mood`` 0.1, ``calendar.promotion_rate`` 0). Three to six contacts
    answer for an account (``accounts.roles``): users answer most and decide least. ``funnel.applicants`` is 6,000.

    ``small``, a company with 300 customers, all of them in the extract (``customers``, ``population``), in two segments
    (``segments``) and on two sites, one of which is refitted (``branches``, ``rollout.starts`` 18, ``rollout.effects``
    1.2, ``rollout.ramp`` 3), without a common downward drift (``traits.growth_mean`` 0). ``funnel.applicants`` is 600.

    An estimator should be tried in ``easy``, ``cmb`` and ``hard``: with confounding alone, two wrongs can make a right.

    Args:
        name: ``easy``, ``cmb``, ``hard``, ``b2b`` or ``small``.
        **changes: Fields of ``BankConfig``. For a group, a mapping changes single dials and leaves the others:
            ``preset("hard", customers=5_000, rollout={"selection": "trend"})``. Where the extract is the whole bank, as
            in ``small``, a change of ``customers`` changes ``population`` too.

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
    if config.population == config.customers and "customers" in made:
        made.setdefault("population", made["customers"])
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
