"""What knowing more before a choice is worth: everything, some inputs, or the finding of a study."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rox.numerics.arrays import Floats, complain, freeze
from rox.numerics.conditional_mean import basis, smoothed

LEAST = 200
"""Draws below which no regression is tried."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Worth:
    """What some knowledge is worth on average, in the unit of the values.

    Attributes:
        worth: Mean of the best choice made with the knowledge, less the best mean without. Never negative in itself.
        error: Standard error over draws.
        apart: The same when the rule is learned on one half of the draws and used on the other, both ways round. What
            ``worth`` exceeds it by is the reward for noise taken as knowledge.
        choice: The option chosen in each draw, shape (draw,).
    """

    worth: float
    error: float
    apart: float
    choice: NDArray[np.intp]

    def __post_init__(self) -> None:
        freeze(self, "choice")

    @property
    def bias(self) -> float:
        """How much of the worth comes from judging the rule by the draws it was learned from."""
        return self.worth - self.apart


def evpi(values: Floats) -> Worth:
    """Return the expected value of perfect information: E[max] - max E.

    Args:
        values: Shape (draw, option): what each option brings in each draw. Doing nothing is an option of zeros.

    Raises:
        ValueError: Fewer than two options or 200 draws, or values that are not finite.

    References:
        Raiffa & Schlaifer (1961), *Applied Statistical Decision Theory*, chapter 4.
    """
    gains = _gains(values)
    return _worth(gains, gains, apart=None)


def evppi(values: Floats, inputs: Floats) -> Worth:
    """Return the expected value of knowing some inputs exactly, the others staying uncertain.

    The mean of each option given the inputs is read off the draws by regression, so no nested simulation is needed.

    Args:
        values: Shape (draw, option).
        inputs: Shape (draw, input). Inputs that do not vary are left out.

    Raises:
        ValueError: As for :func:`evpi`, or a number of rows that differs.

    References:
        Strong, Oakley & Brennan (2014), *Medical Decision Making* 34; the standard error is that of the value of an
        estimated choice.
    """
    gains = _gains(values)
    known = np.asarray(inputs, dtype=float)
    known = known[:, None] if known.ndim == 1 else known
    if len(known) != len(gains):
        raise ValueError(f"{len(known)} draws of inputs and {len(gains)} of values")
    known = known[:, np.ptp(known, axis=0) > 0]
    if not known.shape[1]:
        return _worth(gains, np.broadcast_to(gains.mean(axis=0), gains.shape), apart=None)
    functions = basis(known)
    halves = (slice(0, None, 2), slice(1, None, 2))
    whole = _columns([smoothed(functions, each) for each in gains.T[1:]])
    crossed = np.empty_like(whole)
    for half, other in (halves, halves[::-1]):
        crossed[other] = _columns([smoothed(functions, each, half) for each in gains.T[1:]])[other]
    return _worth(gains, whole, apart=_value_of(gains, np.argmax(crossed, axis=1)))


def evsi(values: Floats, statistics: Floats) -> Worth:
    """Return the expected value of a study's finding.

    Args:
        values: Shape (draw, option).
        statistics: Shape (draw, statistic): what the study would report if the draw were the truth, sampling error
            included. What the options bring is regressed on it.

    Raises:
        ValueError: As for :func:`evppi`.

    References:
        Strong, Oakley, Brennan & Breeze (2015), *Medical Decision Making* 35.
    """
    return evppi(values, statistics)


def excess(values: Floats, less: Worth, more: Worth) -> tuple[float, float]:
    """Return by how much the lesser knowledge seems to be worth more than the greater, and its standard error.

    Both were computed from these values, so what is common to them cancels. Above zero by more than the error allows,
    the order of a study, its inputs, and everything is broken: a regression does not fit.
    """
    gains = _gains(values)
    rows = np.arange(len(gains))
    difference = gains[rows, less.choice] - gains[rows, more.choice]
    return less.worth - more.worth, float(difference.std(ddof=1) / np.sqrt(len(gains)))


def _gains(values: Floats) -> Floats:
    """Return what each option brings over the first, which has zeros."""
    values = np.asarray(values, dtype=float)
    faults = []
    if values.ndim != 2 or values.shape[1] < 2:
        faults.append(f"values have shape {values.shape}; needed: (draw, option) with two options or more")
    elif len(values) < LEAST:
        faults.append(f"{len(values)} draws; at least {LEAST} are needed")
    if not np.isfinite(values).all():
        faults.append("some values are NaN or infinite")
    complain(faults)
    return np.asarray(values - values[:, :1])


def _columns(fitted: list[Floats]) -> Floats:
    return np.column_stack([np.zeros(len(fitted[0])), *fitted])


def _value_of(gains: Floats, choice: NDArray[np.intp]) -> float:
    return float(gains[np.arange(len(gains)), choice].mean() - gains.mean(axis=0).max())


def _worth(gains: Floats, expected: Floats, apart: float | None) -> Worth:
    rows, best = np.arange(len(gains)), int(np.argmax(gains.mean(axis=0)))
    choice = np.argmax(expected, axis=1)
    worth = float((expected[rows, choice] - expected[:, best]).mean())
    taken = gains[rows, choice] - gains[:, best]
    return Worth(
        worth=worth,
        error=float(taken.std(ddof=1) / np.sqrt(len(gains))),
        apart=worth if apart is None else apart,
        choice=choice,
    )
