"""One simulated bank on its way through the laboratory, and the rules of a guide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rox.core.linked import Linked
from rox.simulate import Bank, simulate
from rox.validation import link_bank, read_world

CUSTOMERS, SEED = 1_500, 4


@pytest.fixture(scope="session")
def bank() -> Bank:
    """A small bank of the published picture."""
    return simulate(read_world("cmb").config(customers=CUSTOMERS, seed=SEED))


@pytest.fixture(scope="session")
def linked(bank: Bank) -> Linked:
    """The same, from written tables through check and link."""
    return link_bank(bank, assigned="chosen")


def content(world: str, seed: int, *answers: Mapping[str, Any]) -> dict[str, Any]:
    """What a finished bank leaves behind; by default one answer that is right."""
    blank = {
        "method": "panel",
        "target": "sustained",
        "truth": 100.0,
        "estimate": 100.0,
        "low": 90.0,
        "high": 110.0,
        "seconds": 1.0,
        "grade": "D",
        "checks": {},
        "refused": "",
    }
    return {"world": world, "seed": seed, "answers": [blank | answer for answer in answers or ({},)]}
