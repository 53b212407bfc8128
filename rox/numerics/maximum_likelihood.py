"""Maximum likelihood in the logarithms of positive parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from scipy import optimize

from rox.numerics.arrays import Floats, freeze

Model = TypeVar("Model")
Loss = Callable[[Floats], tuple[float, Floats]]

SLOPE = 1e-7
"""Largest gradient of the mean log likelihood at a maximum."""
FAR = 8.0
"""A log parameter beyond this means customers who hardly differ, and is on its way to zero or infinity."""
STEP = 1e-4
"""Half the distance over which a gradient is differenced."""
POLISH = 4
"""Newton steps at most after the search."""


@dataclass(frozen=True, kw_only=True)
class Fitted(Generic[Model]):
    """A model found by maximum likelihood. k = its parameters, in the order of its fields."""

    model: Model
    covariance: Floats
    """(k, k) of the logarithms of the parameters: inverse of the observed information."""
    log_likelihood: float

    def __post_init__(self) -> None:
        freeze(self, "covariance")

    @property
    def se(self) -> Floats:
        """(k,) standard errors of the parameters themselves, by the delta method."""
        record: Any = self.model
        return np.asarray(np.array(astuple(record)) * np.sqrt(np.diag(self.covariance)))


def parameters(theta: Floats) -> Floats:
    """Return the parameters of some logarithms, so bounded that a search never overflows."""
    return np.asarray(np.exp(np.clip(theta, -30.0, 30.0)))


def maximum(loss: Loss, start: Floats, customers: float) -> tuple[Floats, Floats, float]:
    """Climb a likelihood.

    Args:
        loss: Mean negative log likelihood and its gradient, (k,), by the logarithms of the parameters.
        start: (k,).
        customers: How many the mean is of.

    Returns:
        The logarithms (k,), their covariance (k, k), and the log likelihood.

    Raises:
        ValueError: Parameters that run off to zero or infinity, or no maximum.
    """
    found = optimize.minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-8, "maxiter": 500})
    theta = np.asarray(found.x, dtype=np.float64)
    curve = np.eye(theta.size)
    for _ in range(POLISH):
        if np.abs(theta).max() > FAR:
            break
        curve = _curvature(loss, theta)
        if np.abs(loss(theta)[1]).max() < SLOPE * 1e-3 or np.linalg.eigvalsh(curve)[0] <= 0:
            break
        theta = theta - np.linalg.solve(curve, loss(theta)[1])
    value, slope = loss(theta)
    if np.abs(theta).max() > FAR or np.abs(slope).max() > SLOPE or np.linalg.eigvalsh(curve)[0] <= 0:
        raise ValueError(
            "the parameters run off to zero or infinity, or were not found: customers hardly differ in one of the two "
            "ways in which the model lets them differ, or were not observed for long enough to tell"
        )
    return theta, np.asarray(np.linalg.inv(curve) / customers), -customers * value


def _curvature(loss: Loss, theta: Floats) -> Floats:
    """Difference the gradient in the middle."""
    steps = STEP * np.eye(theta.size)
    found = np.stack([(loss(theta + step)[1] - loss(theta - step)[1]) / (2 * STEP) for step in steps])
    return np.asarray((found + found.T) / 2)
