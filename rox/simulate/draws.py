"""Where every random number of a bank comes from.

Each purpose has a stream of its own, and each month takes the same number of draws from it, whatever has happened to
the customers. Two runs of one seed therefore meet the same luck, and differ by what an intervention causes and nothing
else (common random numbers).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rox.simulate.config import BankConfig
from rox.simulate.dials import DRIVERS

Array = NDArray[Any]

_NORMAL = ("shock", "score_noise", "retest_noise", "csat_noise", "ces_noise", "revenue")
_UNIFORM = (
    "incident",
    "topic",
    "complain",
    "voluntary_exit",
    "other_exit",
    "zero",
    "invited",
    "answers",
    "retest",
    "call",
    "refer",
    "contacts",
    "login",
    "failed_transfer",
    "visit",
    "praise",
    "suggest",
)
_OF_DRIVERS = ("rating_noise", "rating_missing")
_NORMAL_OF_CONTACTS = ("score_noise", "retest_noise", "csat_noise", "ces_noise")
_UNIFORM_OF_CONTACTS = ("invited", "answers", "retest")


def stream(seed: int, purpose: str) -> np.random.Generator:
    """Give the stream of one purpose under one seed; adding a purpose leaves the others as they are."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(purpose.encode())))


class MonthlyDraws:
    """The draws of one month after another, for customers or for the contacts of accounts.

    Args:
        config: The dials.
        contacts: Number of contacts whose answers are drawn; by default everything that concerns customers is.
    """

    def __init__(self, config: BankConfig, *, contacts: int | None = None) -> None:
        self._size = config.customers if contacts is None else contacts
        self._money = config.money if contacts is None else None
        self._normal: tuple[str, ...] = _NORMAL if contacts is None else _NORMAL_OF_CONTACTS
        self._uniform: tuple[str, ...] = _UNIFORM if contacts is None else _UNIFORM_OF_CONTACTS
        whose = "" if contacts is None else "contact "
        names = (*self._normal, *self._uniform, *_OF_DRIVERS, "money")
        self._streams = {name: stream(config.seed, whose + name) for name in names}

    def next(self, *, wave: bool) -> Mapping[str, Array]:
        """Draw a month: an array ``(size,)`` per purpose, and ``(size, drivers)`` for ratings in a wave."""
        n, streams = self._size, self._streams
        drawn: dict[str, Array] = {name: streams[name].standard_normal(n, dtype=np.float32) for name in self._normal}
        drawn |= {name: streams[name].random(n, dtype=np.float32) for name in self._uniform}
        if self._money is not None:
            df = self._money.shock_df
            drawn["money"] = self._money.shock_sd / np.sqrt(df / (df - 2)) * streams["money"].standard_t(df, n)
        if wave:
            shape = (n, len(DRIVERS))
            drawn["rating_noise"] = streams["rating_noise"].standard_normal(shape, dtype=np.float32)
            drawn["rating_missing"] = streams["rating_missing"].random(shape, dtype=np.float32)
        return MappingProxyType(drawn)


def poisson_counts(uniform: Array, rate: Array, *, most: int) -> Array:
    """Turn uniform draws into Poisson counts by inversion, so that a higher rate never gives fewer.

    Args:
        uniform: Draws in [0, 1).
        rate: Expected counts, of the same shape.
        most: The largest count; the tail beyond is cut.

    Returns:
        Counts as small integers.
    """
    mass = np.exp(-rate)
    below = mass.copy()
    counts = (uniform > below).astype(np.uint8)
    for k in range(1, most):
        mass *= rate / k
        below += mass
        counts += uniform > below
    return counts
