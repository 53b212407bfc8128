"""What the answers of customers are made of, as one model measured it and another uses it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from rox.core.errors import DataError


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreParts:
    """An answer is the mean of its segment and month, a lasting part, a passing part and noise.

    Attributes:
        lasting: Variance of the lasting part among customers, in squared score points.
        passing: Variance of the passing part.
        memory: Share of the passing part left after a month.
        noise: Variance of the noise of an answer.
        means: Mean answer by ``segment``, ``month`` (12·year + month − 1), in the column ``mean``; None stands for the
            means of the linked answers themselves.

    Raises:
        DataError: Numbers out of range, or means that lack a column, repeat a month or are no numbers; all at once.
    """

    lasting: float
    passing: float
    memory: float
    noise: float
    means: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)}; a variance is a finite number, at least 0"
            for name in ("lasting", "passing", "noise")
            if not 0 <= getattr(self, name) < float("inf")
        ]
        if not 0 <= self.memory <= 1:
            faults.append(f"memory is {self.memory}; a share from 0 to 1 is needed")
        if not faults and not self.lasting + self.passing + self.noise > 0:
            faults.append("all variances are 0; answers that never differ tell nothing")
        if self.means is not None:
            faults += _faults_of_means(self.means)
        if faults:
            raise DataError("These are no parts of an answer.", faults)


def _faults_of_means(means: pd.DataFrame) -> list[str]:
    if missing := [name for name in ("segment", "month", "mean") if name not in means]:
        return [f"means has no column {name!r}" for name in missing]
    faults = []
    if twice := int(means.duplicated(["segment", "month"]).sum()):
        faults.append(f"means repeats {twice} pairs of segment and month")
    if bad := int(pd.to_numeric(means["mean"], errors="coerce").isna().sum()):
        faults.append(f"means has {bad} values that are missing or no numbers")
    return faults
