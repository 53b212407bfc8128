"""Every dial is documented and checked."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass

import pytest

from rox.core.errors import RoxError
from rox.simulate import (
    Applications,
    Bank,
    BankConfig,
    Intervention,
    SegmentConfig,
    TrueReturn,
    Truth,
    preset,
)
from rox.simulate.contacts import ContactPanel, Contacts
from rox.simulate.dials import Role
from rox.simulate.funnel_dials import Channel, Funnel
from rox.simulate.people import Branches, Customers
from rox.simulate.picture import Picture
from rox.simulate.presets import PRESETS

KINDS = [
    *(BankConfig, SegmentConfig, Role, Channel, Intervention),
    *(Bank, Customers, Branches, Contacts, ContactPanel, Applications),
    *(Truth, TrueReturn, Picture),
]
GROUPS = [
    type(getattr(BankConfig(), item.name))
    for item in fields(BankConfig)
    if is_dataclass(getattr(BankConfig(), item.name))
]


@pytest.mark.parametrize("kind", [*KINDS, *GROUPS])
def test_every_field_is_documented_in_order(kind: type) -> None:
    documented = re.findall(r"^ {8}(\w+): \S", (kind.__doc__ or "").split("Attributes:")[1].split("Raises:")[0], re.M)
    assert documented == [item.name for item in fields(kind)]


def test_a_group_keeps_the_dials_that_are_not_changed() -> None:
    config = preset("hard", customers=500, rollout={"selection": "trend"})
    assert (config.customers, config.rollout.selection, config.rollout.direct) == (500, "trend", 0.01)
    assert preset("hard").rollout.selection == "dip"
    assert preset("cmb") == BankConfig()


def differences(name: str) -> set[str]:
    """The dials in which a preset differs from the defaults."""
    one, other = preset(name), BankConfig()
    found = set()
    for item in fields(BankConfig):
        mine, theirs = getattr(one, item.name), getattr(other, item.name)
        if is_dataclass(mine):
            inner = [dial.name for dial in fields(mine) if getattr(mine, dial.name) != getattr(theirs, dial.name)]
            found |= {f"{item.name}.{dial}" for dial in inner}
        elif mine != theirs:
            found.add(item.name)
    return found


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "cmb"])
def test_what_a_preset_changes_is_what_its_documentation_says(name: str) -> None:
    paragraphs = [part for part in (preset.__doc__ or "").split("\n\n") if part.strip().startswith(f"``{name}``,")]
    documented = set(re.findall(r"``([a-z_.]+)``", paragraphs[0])) - {name, "wealth_tilt", "growth_tilt"}
    assert documented == differences(name)


def test_an_extract_that_is_the_whole_bank_stays_it() -> None:
    assert preset("small", customers=120).population == 120
    assert preset("small", customers=120).design_weights == (1.0, 1.0)
    assert preset("small", customers=120, population=400).population == 400
    assert preset("b2b", customers=600).population == 9_000


def test_unknown_names_are_listed_together() -> None:
    with pytest.raises(RoxError, match="no preset 'medium'"):
        preset("medium")
    with pytest.raises(RoxError) as caught:
        preset("cmb", custmers=5, rollout={"ramps": 2, "starts": ()})
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["custmers", "rollout.ramps"]


def test_every_dial_out_of_range_is_listed_at_once() -> None:
    with pytest.raises(RoxError) as caught:
        preset(
            "cmb",
            customers=0,
            start="2023-13",
            segments=preset("cmb").segments[:4],
            rollout={"starts": (12, 6), "effects": (1.0,), "selection": "best", "ramp": 0},
            money={"shock_df": 2.0},
            survey={"every": 0},
            traits={"driver_weights": (1.0,)},
            referrals={"conversion": 2.0, "days": 0},
            accounts={
                "roles": (Role(name="user", weight=0.0, least=0), Role(name="user", weight=1.0, least=2)),
                "engagement": 1.5,
            },
            funnel={
                "channels": Funnel().channels[:3],
                "odds_ratios": (1.0,),
                "test_end": 3,
                "funding_days": 200.0,
                "intent_sd": -1.0,
            },
        )
    text = str(caught.value)
    for place in (
        "customers: got 0",
        "start: got '2023-13'",
        "segments: population_share adds up to 0.9993",
        "rollout: 2 starts but 1 effects",
        "rollout.starts: got (12, 6)",
        "rollout.selection: got 'best'",
        "rollout.ramp: got 0",
        "money.shock_df: got 2.0",
        "survey.every: got 0",
        "traits.driver_weights: got 1",
        "referrals.conversion: got 2.0",
        "referrals.days: got 0",
        "accounts.roles: got ['user', 'user']",
        "accounts.roles.user.weight: got 0.0",
        "accounts.roles.user: 2 to 1 people",
        "accounts.engagement: got 1.5",
        "funnel.channels: share_before adds up to 0.75",
        "funnel.odds_ratios: got (1.0,)",
        "funnel.test_end: got 3",
        "funnel.funding_days: got 200.0",
        "funnel.intent_sd: got -1.0",
    ):
        assert place in text, place


def test_an_extract_cannot_be_larger_than_its_bank() -> None:
    with pytest.raises(RoxError, match="fewer private_diamond customers than the extract"):
        preset("cmb", customers=20_000, population=500_000)


def test_the_sample_adds_up_and_its_weights_restore_the_bank() -> None:
    config = preset("cmb", customers=1_003, population=1_000_000)
    assert sum(config.sampled) == 1_003
    restored = sum(n * weight for n, weight in zip(config.sampled, config.design_weights, strict=True))
    assert restored == pytest.approx(1_000_000)
