"""An uncertain input, written as people say it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainc, betaincinv, ndtr, ndtri
from scipy.stats import norm

Kind = Literal["fixed", "three_point", "between", "normal"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A number with the range its owner gave.

    ``fixed``: one value. ``three_point``: low, likely, high; a PERT distribution with that mode that lies between low
    and high nine times in ten. ``between``: nine times in ten between low and high; lognormal when low is positive,
    normal otherwise. ``normal``: a measured quantity with its standard deviation. What lies beyond the floor or the
    ceiling is cut off, and the rest takes up its probability.

    Attributes:
        kind: How it was said.
        likely: The value of the point path: the fixed value, the likely one, the median of a ``between``, or the mean.
        low: Lower end of the range that holds nine times in ten.
        high: Upper end of that range.
        floor: Least value that the quantity can have at all.
        ceiling: Greatest value that it can have.
    """

    kind: Kind
    likely: float
    low: float
    high: float
    floor: float = -np.inf
    ceiling: float = np.inf

    @classmethod
    def fixed(cls, value: float) -> Spread:
        """Say one value."""
        return cls(kind="fixed", likely=value, low=value, high=value)

    @classmethod
    def three_point(cls, low: float, likely: float, high: float) -> Spread:
        """Say low, likely and high.

        Raises:
            ValueError: Not in that order.
        """
        if not low <= likely <= high or low == high:
            raise ValueError(f"low ≤ likely ≤ high is needed; got {low:g}, {likely:g}, {high:g}")
        return cls(kind="three_point", likely=likely, low=low, high=high)

    @classmethod
    def between(cls, low: float, high: float) -> Spread:
        """Say that nine times in ten it lies between two values.

        Raises:
            ValueError: Not in that order.
        """
        if not low < high:
            raise ValueError(f"low < high is needed; got {low:g}, {high:g}")
        likely = float(np.sqrt(low * high)) if low > 0 else (low + high) / 2
        return cls(kind="between", likely=likely, low=low, high=high)

    @classmethod
    def normal(cls, mean: float, sd: float) -> Spread:
        """Say a mean and a standard deviation above zero.

        Raises:
            ValueError: The standard deviation is not positive.
        """
        if not sd > 0:
            raise ValueError(f"a standard deviation above 0 is needed; got {sd:g}")
        reach = float(norm.ppf(0.95)) * sd
        return cls(kind="normal", likely=mean, low=mean - reach, high=mean + reach)

    @property
    def is_uncertain(self) -> bool:
        """Whether it has a range at all."""
        return self.kind != "fixed"

    def within(self, floor: float, ceiling: float) -> Spread:
        """Return the same spread of a quantity that cannot lie below the floor or above the ceiling.

        One value stays what it is.

        Raises:
            ValueError: The likely value of a range lies outside.
        """
        if self.kind == "fixed":
            return self
        if not floor <= self.likely <= ceiling:
            raise ValueError(f"{self.likely:g} is not between {floor:g} and {ceiling:g}")
        return replace(self, floor=floor, ceiling=ceiling)

    def quantile(self, probability: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return quantiles; shape follows ``probability``."""
        p = np.asarray(probability, dtype=float)
        if self.kind == "fixed":
            return np.full(p.shape, self.likely)
        if np.isinf(self.floor) and np.isinf(self.ceiling):
            return self._untruncated(p)
        below, above = self._below(self.floor), self._below(self.ceiling)
        return np.clip(self._untruncated(below + p * (above - below)), self.floor, self.ceiling)

    def _below(self, value: float) -> float:
        """Return the probability below a value, before anything is cut off."""
        if np.isinf(value):
            return float(value > 0)
        if self.kind == "three_point":
            start, end, a, b = self._pert
            return float(betainc(a, b, np.clip((value - start) / (end - start), 0.0, 1.0)))
        if self.low > 0 and self.kind == "between":
            if value <= 0:
                return 0.0
            centre, scale = np.log(self.likely), np.log(self.high / self.low) / (2 * norm.ppf(0.95))
            return float(ndtr((np.log(value) - centre) / scale))
        return float(ndtr((value - self.likely) * 2 * norm.ppf(0.95) / (self.high - self.low)))

    def _untruncated(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return quantiles before anything is cut off."""
        if self.kind in ("between", "normal"):
            if self.low > 0 and self.kind == "between":
                centre, scale = np.log(self.likely), np.log(self.high / self.low) / (2 * norm.ppf(0.95))
                return np.asarray(np.exp(centre + scale * ndtri(p)))
            return np.asarray(self.likely + (self.high - self.low) / (2 * norm.ppf(0.95)) * ndtri(p))
        start, end, a, b = self._pert
        return np.asarray(start + (end - start) * betaincinv(a, b, p))

    def sample(self, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw ``size`` values."""
        return self.quantile(rng.random(size))

    @cached_property
    def _pert(self) -> tuple[float, float, float, float]:
        """Ends and shape of the PERT whose mode is ``likely`` and whose tails below low and above high hold 10%.

        The ends stretch the stated range by one common factor; when the mode sits on an end the stretch is one-sided.
        """

        def shape(stretch: float) -> tuple[float, float, float, float]:
            start = self.likely - stretch * (self.likely - self.low)
            end = self.likely + stretch * (self.high - self.likely)
            place = (self.likely - start) / (end - start)
            return start, end, 1 + 4 * place, 1 + 4 * (1 - place)

        def outside(stretch: float) -> float:
            start, end, a, b = shape(stretch)
            low, high = ((value - start) / (end - start) for value in (self.low, self.high))
            below = betainc(a, b, max(low, 0.0))
            above = 1 - betainc(a, b, min(high, 1.0))
            return float(below + above - 0.10)

        return shape(float(brentq(outside, 1.0, 10.0, xtol=1e-12)))
