"""The published picture beside the truth: what a bank sees that reads scores and money without more ado.

``python -m rox.simulate.picture --banks 8 --customers 60000`` prints it for the preset ``cmb``; it takes minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rox.core.errors import RoxError
from rox.simulate.bank import Bank, Intervention
from rox.simulate.config import BankConfig
from rox.simulate.draws import Array
from rox.simulate.presets import preset
from rox.simulate.truth import BANK, Truth
from rox.simulate.world import simulate

HORIZONS = (0, 6, 12, 18, 24)
"""Months after the answer at which money is looked at."""
_CATEGORIES = {"promoters": (9, 10), "passives": (7, 8), "detractors": (0, 6)}
_SHIFT, _SHIFT_FROM = 0.5, 12


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """Naive figures and true ones, each with its mean over several banks and the Monte Carlo standard error of it.

    Attributes:
        banks: Number of banks.
        slopes: A row per group of customers, ``bank`` or a segment: ``naive``, CNY per customer by which AUM differs per
            score point among answers, by design weight; ``after_12`` and ``after_24``, CNY per customer that a sustained
            score point truly adds; ``ratio``, naive per true at 12 months, of the means; ``naive_se``, ``after_12_se``
            and ``after_24_se``.
        index: A row per month of ``HORIZONS`` after the answer: AUM of ``promoters``, ``passives`` and ``detractors``
            relative to that at the answer, leavers as zero; ``promoters_se`` and so on.
        nps: CNY per customer of an NPS point, true, 12 months later, with ``nps_se``; ``shift``, NPS points that a score
            point moves.
    """

    banks: int
    slopes: pd.DataFrame
    index: pd.DataFrame
    nps: pd.Series[float]


def published_picture(config: BankConfig, *, banks: int = 8) -> Picture:
    """Give the naive figures of a bank, as published ones are computed, beside the truth.

    Args:
        config: The dials; the banks have its seed and those that follow.
        banks: Number of banks.

    Raises:
        RoxError: There is no bank to look at, or the window is shorter than 36 months.
    """
    if banks < 1 or config.months < _SHIFT_FROM + max(HORIZONS):
        raise RoxError(
            "There is no picture to draw.",
            [f"got {banks} banks of {config.months} months; needs at least 1, of {_SHIFT_FROM + max(HORIZONS)}"],
        )
    seen = [_look(replace(config, seed=config.seed + place)) for place in range(banks)]
    slopes, index = (pd.concat([one[part] for one in seen], keys=range(banks)) for part in (0, 1))
    found = _with_errors(slopes)
    nps = _with_errors(found_nps := pd.concat([one[2] for one in seen], keys=range(banks)))
    assert len(found_nps) == banks
    return Picture(
        banks=banks,
        slopes=found.assign(ratio=found["naive"] / found["after_12"]),
        index=_with_errors(index),
        nps=nps.iloc[0],
    )
