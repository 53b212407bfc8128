"""Read a customer's lasting and passing experience out of noisy answers, knowing at each answer no later one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.numerics.arrays import Floats, Ints, complain, freeze, vector


@dataclass(frozen=True, kw_only=True, eq=False)
class Readings:
    """What is known of each customer right after each answer. n = answers.

    Attributes:
        trait: Shape (n,): best linear prediction of the lasting part.
        passing: Shape (n,): of the passing part, in the month of the answer.
        trait_variance: Shape (n,): variance of the error of ``trait``.
        passing_variance: Shape (n,): of ``passing``.
        covariance: Shape (n,): of the two errors; negative, since one answer cannot tell the parts apart.
        memory: Share of the passing part that is left a month later.
        stationary: Variance of the passing part among all customers.
    """

    trait: Floats
    passing: Floats
    trait_variance: Floats
    passing_variance: Floats
    covariance: Floats
    memory: float
    stationary: float

    def __post_init__(self) -> None:
        freeze(self, "trait", "passing", "trait_variance", "passing_variance", "covariance")

    def take(self, rows: ArrayLike) -> Readings:
        """Pick answers by position, in any order and as often as needed."""
        at = np.asarray(rows, dtype=np.int64)
        return Readings(
            trait=self.trait[at],
            passing=self.passing[at],
            trait_variance=self.trait_variance[at],
            passing_variance=self.passing_variance[at],
            covariance=self.covariance[at],
            memory=self.memory,
            stationary=self.stationary,
        )

    def carried(self, months: ArrayLike) -> Floats:
        """Predict the experience some months after each answer: trait + passing·memory^months.

        Args:
            months: One number, or one per answer; at least 0.
        """
        return carried_forward(self.trait, self.passing, months, memory=self.memory)

    def carried_variance(self, months: ArrayLike) -> Floats:
        """Return the variance of the error of :meth:`carried`."""
        left = np.power(self.memory, np.asarray(months, dtype=np.float64))
        grown = left**2 * self.passing_variance + self.stationary * (1 - left**2)
        return np.asarray(self.trait_variance + 2 * left * self.covariance + grown)


def carried_forward(trait: ArrayLike, passing: ArrayLike, months: ArrayLike, *, memory: float) -> Floats:
    """Predict experience from what was known some months ago: trait + passing·memory^months."""
    left = np.power(memory, np.asarray(months, dtype=np.float64))
    return np.asarray(np.asarray(trait, dtype=np.float64) + np.asarray(passing, dtype=np.float64) * left)


def score_readings(
    customer: ArrayLike,
    month: ArrayLike,
    residual: ArrayLike,
    *,
    lasting: float,
    passing: float,
    memory: float,
    noise: float,
) -> Readings:
    """Predict the parts of each customer's experience from the answers given so far.

    An answer is, around the mean of its segment and month, a lasting part, a passing part that is an AR(1) process from
    month to month, and noise of its own: Cov(answer, answer ℓ months later) = lasting + passing·memory^ℓ, plus noise at
    the answer itself. The prediction is the best linear one given this and all earlier answers (the conditional mean
    if the parts are normal), computed by the Kalman filter: exact, for any gaps between answers, and without a matrix
    per customer (Kalman 1960; as regression calibration of a covariate: Prentice 1982; Carroll, Ruppert, Stefanski &
    Crainiceanu 2006, chapter 4). Several answers in one month are as many draws of noise around one experience.

    Args:
        customer: (n,) whole numbers, ascending.
        month: (n,) whole numbers, ascending within a customer.
        residual: (n,) answer minus the mean of its segment and month, in score points.
        lasting: Variance of the lasting part among customers.
        passing: Variance of the passing part.
        memory: Share of the passing part left after a month, from 0 to 1.
        noise: Variance of the noise of an answer.

    Returns:
        The state after each answer, in the order of the rows.

    Raises:
        ValueError: Rows out of order, values that are missing, or parameters out of range; all faults in one message.

    Example:
        >>> known = score_readings([0, 0, 1], [3, 9, 4], [2.0, -1.0, 2.0], lasting=1, passing=1, memory=0.8, noise=2)
        >>> known.trait.round(3), known.passing.round(3)
        (array([0.5 , 0.19, 0.5 ]), array([ 0.5  , -0.284,  0.5  ]))
        >>> known.carried(6).round(3)
        array([0.631, 0.116, 0.631])
    """
    who, when = _whole(customer, "customer"), _whole(month, "month")
    given = vector(residual, "residual", who.size)
    faults = _out_of_order(who, when) + _out_of_range(lasting, passing, memory, noise)
    complain(faults)
    m, e = np.zeros(who.size), np.zeros(who.size)
    v_m, v_e, c = np.full(who.size, float(lasting)), np.full(who.size, float(passing)), np.zeros(who.size)
    smallest = 1e-12 * (lasting + passing + noise)
    for rows, is_first in _by_number(who):
        if not is_first:
            before = rows - 1
            left = np.power(float(memory), (when[rows] - when[before]).astype(np.float64))
            m[rows], e[rows] = m[before], left * e[before]
            v_m[rows], c[rows] = v_m[before], left * c[before]
            v_e[rows] = left**2 * v_e[before] + passing * (1 - left**2)
        to_m, to_e = v_m[rows] + c[rows], c[rows] + v_e[rows]
        spread = to_m + to_e + noise
        weight = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > smallest)
        surprise = (given[rows] - m[rows] - e[rows]) * weight
        m[rows] += to_m * surprise
        e[rows] += to_e * surprise
        v_m[rows] -= to_m**2 * weight
        v_e[rows] -= to_e**2 * weight
        c[rows] -= to_m * to_e * weight
    return Readings(
        trait=m,
        passing=e,
        trait_variance=v_m,
        passing_variance=v_e,
        covariance=c,
        memory=float(memory),
        stationary=float(passing),
    )


def _by_number(who: Ints) -> list[tuple[Ints, bool]]:
    """List the rows of the customers' first answers, of their second ones, and so on."""
    if not who.size:
        return []
    begins = np.flatnonzero(np.r_[True, who[1:] != who[:-1]])
    counts = np.diff(np.r_[begins, who.size])
    number = np.arange(who.size) - np.repeat(begins, counts)
    order = np.argsort(number, kind="stable")
    edges = np.cumsum(np.bincount(number))[:-1]
    return [(rows, place == 0) for place, rows in enumerate(np.split(order, edges))]


def _whole(values: ArrayLike, name: str) -> Ints:
    number: NDArray[np.float64] = vector(values, name)
    if (number != np.round(number)).any():
        raise ValueError(f"{name} has {int((number != np.round(number)).sum())} values that are not whole numbers")
    return number.astype(np.int64)


def _out_of_order(who: Ints, when: Ints) -> list[str]:
    if who.size != when.size:
        return [f"customer has {who.size} values, month {when.size}"]
    step, later = np.diff(who), np.diff(when)
    if back := int(((step < 0) | ((step == 0) & (later < 0))).sum()):
        return [f"{back} rows come before the row above them; sort by customer and month first"]
    return []


def _out_of_range(lasting: float, passing: float, memory: float, noise: float) -> list[str]:
    faults = [
        f"{name} is {value}; a variance is a finite number, at least 0"
        for name, value in (("lasting", lasting), ("passing", passing), ("noise", noise))
        if not 0 <= value < np.inf
    ]
    if not 0 <= memory <= 1:
        faults.append(f"memory is {memory}; a share from 0 to 1 is needed")
    if not faults and lasting + passing + noise == 0:
        faults.append("lasting, passing and noise are all 0; answers that never differ tell nothing")
    return faults
