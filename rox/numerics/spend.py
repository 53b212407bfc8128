"""What customers spend per purchase: the gamma-gamma model, which shrinks a customer's mean toward that of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from rox.numerics.arrays import Floats, complain, vector
from rox.numerics.maximum_likelihood import Fitted, maximum, parameters


@dataclass(frozen=True, kw_only=True)
class GammaGamma:
    """Amounts of a customer ~ Gamma(p, ν) with ν ~ Gamma(q, γ) across customers (Fader & Hardie 2013, note 025).

    Assumes that how much customers spend says nothing about how often they buy.
    """

    p: float
    q: float
    gamma: float

    @property
    def mean(self) -> float:
        """Mean amount of a purchase across customers, pγ/(q − 1); infinite where q is not above 1."""
        return self.p * self.gamma / (self.q - 1) if self.q > 1 else float("inf")

    def expected(self, spent: ArrayLike, bought: ArrayLike) -> Floats:
        """Return the expected amount of a customer's next purchases, (c,): p(γ + xz̄)/(px + q − 1) (equation 5).

        Args:
            spent: (c,) mean amount z̄ of the purchases counted; any number where there are none.
            bought: (c,) how many, x.

        Raises:
            ValueError: Amounts or counts out of range, or q not above 1 where somebody has bought nothing.
        """
        z, x = np.broadcast_arrays(np.atleast_1d(np.asarray(spent, float)), np.atleast_1d(np.asarray(bought, float)))
        faults = []
        if not (x >= 0).all():
            faults.append("bought must not be negative")
        if not (z[x > 0] > 0).all():
            faults.append("spent must be positive where something was bought")
        if self.q <= 1 and (self.p * x + self.q <= 1).any():
            faults.append(f"with q = {self.q:.3g} amounts have no mean where nothing was bought")
        complain(faults)
        total = np.where(x > 0, x * np.where(x > 0, z, 0.0), 0.0)
        return np.asarray(self.p * (self.gamma + total) / (self.p * x + self.q - 1))


def gamma_gamma(spent: ArrayLike, bought: ArrayLike, customers: ArrayLike | None = None) -> Fitted[GammaGamma]:
    """Fit the gamma-gamma model to customers' mean amounts.

    Args:
        spent: (c,) mean amount of the purchases counted, positive.
        bought: (c,) how many, at least 1.
        customers: (c,) how many customers have these; default one each.

    Raises:
        ValueError: Amounts or counts out of range, or parameters that run off: customers whose amounts do not differ.

    Example:
        >>> spent = [22.3, 50.0, 10.5, 8.0, 120.0, 31.0, 44.0, 16.0, 27.0, 65.0]
        >>> fit = gamma_gamma(spent, [2, 1, 3, 1, 2, 6, 3, 9, 1, 2])
        >>> bool(fit.model.mean < fit.model.expected(60.0, 2)[0] < 60.0)
        True
    """
    z, x = vector(spent, "spent"), vector(bought, "bought")
    n = np.ones(z.size) if customers is None else vector(customers, "customers")
    if len({z.size, x.size, n.size}) > 1:
        raise ValueError(f"spent, bought and customers have {z.size}, {x.size} and {n.size} values")
    faults = []
    if not (z > 0).all():
        faults.append("spent must be positive; leave customers out who bought nothing")
    if not (x >= 1).all():
        faults.append("bought must be at least 1; leave customers out who bought nothing")
    if (n < 0).any() or not n.sum() > 0:
        faults.append("customers must be counts, some of them above 0")
    complain(faults)
    unit = float(n @ z / n.sum())
    total = x * z / unit

    def loss(theta: Floats) -> tuple[float, Floats]:
        p, q, gamma = parameters(theta)
        many = p * x
        reach = np.log(gamma + total)
        value = q * np.log(gamma) + many * np.log(total) - (many + q) * reach - special.betaln(many, q)
        value -= np.log(z)
        both = special.digamma(many + q)
        slope = np.array(
            [
                n @ (x * (np.log(total) - reach - special.digamma(many) + both)),
                n @ (np.log(gamma) - reach - special.digamma(q) + both),
                n @ (q / gamma - (many + q) / (gamma + total)),
            ]
        )
        return -float(n @ value) / n.sum(), -slope * parameters(theta) / n.sum()

    theta, covariance, value = maximum(loss, np.array([1.0, 1.0, 0.5]), float(n.sum()))
    p, q, gamma = np.exp(theta).tolist()
    return Fitted(model=GammaGamma(p=p, q=q, gamma=gamma * unit), covariance=covariance, log_likelihood=value)
