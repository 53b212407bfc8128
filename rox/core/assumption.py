"""A number somebody answers for."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rox.core.declared import Declared
from rox.core.spread import Spread


class Answered(Declared):
    """What somebody answers for: who, where it comes from, and of when it is."""

    owner: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    date: dt.date


class Assumption(Answered):
    """A number with its range.

    Written as ``value``, as ``low``, ``likely`` and ``high``, or as ``between = [low, high]``; the ranges hold nine
    times in ten.
    """

    value: float | None = None
    low: float | None = None
    likely: float | None = None
    high: float | None = None
    between: tuple[float, float] | None = None
    quality: Literal["high", "medium", "low"] | None = None
    note: str = ""

    @model_validator(mode="after")
    def _said_once(self) -> Assumption:
        self._spread()
        return self

    def _spread(self) -> Spread:
        points = (self.low, self.likely, self.high)
        ways = [self.value is not None, any(p is not None for p in points), self.between is not None]
        if sum(ways) != 1:
            raise ValueError("say the number one way: value, or low, likely and high, or between = [low, high]")
        if self.value is not None:
            return Spread.fixed(self.value)
        if self.between is not None:
            return Spread.between(*self.between)
        if self.low is None or self.likely is None or self.high is None:
            raise ValueError("low, likely and high belong together")
        return Spread.three_point(self.low, self.likely, self.high)

    @property
    def spread(self) -> Spread:
        """The number with its range."""
        return self._spread()
