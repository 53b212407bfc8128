"""Simulated banks that several tests look at."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from rox.simulate import Bank, preset, simulate, tables


@pytest.fixture(scope="session")
def small() -> Bank:
    """A bank of 4,000 customers, as configured."""
    return simulate(preset("cmb", customers=4_000, seed=3))


@pytest.fixture(scope="session")
def wide() -> Bank:
    """A bank of 20,000 customers, large enough for means by segment."""
    return simulate(preset("cmb", seed=2))


@pytest.fixture(scope="session")
def exported(small: Bank) -> dict[str, pd.DataFrame]:
    """The tables of the small bank."""
    return tables(small)


@pytest.fixture(scope="session")
def restless() -> dict[str, pd.DataFrame]:
    """The tables of a bank where half leave in a year, incidents are common and nearly every ticket is called."""
    config = preset("cmb", customers=1_500, experience={"incident_rate": 0.2}, recovery={"call": 4.0})
    segments = tuple(replace(segment, voluntary_exit=0.5) for segment in config.segments)
    return tables(simulate(replace(config, segments=segments)))


@pytest.fixture(scope="session")
def business() -> Bank:
    """A bank of business accounts, several contacts each."""
    return simulate(preset("b2b", customers=800))
