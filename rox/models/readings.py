"""What an answer says about experience: read through its noise, and fading until the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.models.reliability import Reliability
from rox.numerics.kalman import score_readings

Floats = NDArray[np.float64]

LEAST_SIGNAL = 0.10
"""Share of signal in a carried answer, lower end of its 90% interval, from which a reading is calibrated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Turns the answer known in each month into the expected experience in it (regression calibration).

    The answers given so far, around the mean of their segment and month, are weighed by how lasting and how noisy
    answers are (Prentice 1982; Carroll et al. 2006, ch. 4); the passing part fades with the months since the answer.

    Attributes:
        answers: One row per answer, sorted: ``customer``, ``answered``, ``around`` (the answer less the mean of its
            segment and month).
        row: Shape (n,): the answer that each month of the panel uses.
        age: Shape (n,): months since it.
        centre: Shape (n,): mean answer of the month's segment.
    """

    answers: pd.DataFrame
    row: NDArray[np.int64]
    age: Floats
    centre: Floats

    @classmethod
    def of(cls, months: pd.DataFrame, answers: pd.DataFrame) -> Calibration:
        """Find the answer that stands behind each month.

        Args:
            months: ``customer``, ``month``, ``segment``, ``score_age`` of months with a known score.
            answers: ``customer``, ``answered``, ``segment``, ``score``, one row per answer.
        """
        ordered = answers.sort_values(["customer", "answered"]).reset_index(drop=True)
        mean = ordered.groupby(["segment", "answered"])["score"].transform("mean")
        centre = ordered.groupby("segment")["score"].mean()
        key = pd.MultiIndex.from_frame(ordered[["customer", "answered"]])
        asked = pd.MultiIndex.from_arrays([months["customer"], (months["month"] - months["score_age"]).astype("int64")])
        return cls(
            answers=ordered[["customer", "answered"]].assign(around=ordered["score"] - mean),
            row=key.get_indexer(asked),
            age=months["score_age"].to_numpy(dtype=float),
            centre=months["segment"].map(centre).to_numpy(dtype=float),
        )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Shape (n,): months whose answer is there."""
        return self.row >= 0

    def where_known(self) -> Calibration:
        """Return the months whose answer is there."""
        return replace(self, row=self.row[self.known], age=self.age[self.known], centre=self.centre[self.known])

    def parts(self, parameters: Sequence[float]) -> tuple[Floats, Floats]:
        """Return the lasting and the passing part of the expected experience of each month, in score points.

        Args:
            parameters: lasting, passing, memory, noise, as in ``Reliability.parts``.
        """
        lasting, passing, memory, noise = map(float, parameters)
        found = score_readings(
            self.answers["customer"],
            self.answers["answered"],
            self.answers["around"],
            lasting=lasting,
            passing=passing,
            memory=memory,
            noise=noise,
        ).take(self.row)
        return self.centre + found.trait, found.carried(self.age) - found.trait

    def reading(self, parameters: Sequence[float]) -> Floats:
        """Return the expected experience of each month, in score points."""
        trait, fading = self.parts(parameters)
        return np.asarray(trait + fading)


def can_calibrate(noise: Reliability | None, age: float) -> bool:
    """Say whether enough of an answer is signal, and known well enough, to read it through its noise."""
    return noise is not None and noise.carried(age).low >= LEAST_SIGNAL
