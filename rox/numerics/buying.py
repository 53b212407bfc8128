"""Who still buys when nobody says goodbye: customers without a contract, from how often and how lately they bought.

A customer who has gone and one who pauses look alike; only the habit so far tells them apart. A customer buys with a
propensity of their own until they silently drop out, and both differ between customers. In periods with or without a
purchase that is the beta-geometric/beta-Bernoulli model (BG/BB; Fader, Hardie & Shang 2010, Marketing Science 29); in
continuous time the beta-geometric/NBD model (BG/NBD; Fader, Hardie & Lee 2005, Marketing Science 24). How often, how
lately and for how long is all either needs to know of a customer, so customers who are alike are one row with a count.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, special

from rox.numerics.arrays import Floats, Ints
from rox.numerics.buying_histories import counts_of, in_periods, in_time, ways
from rox.numerics.lifetime import residual_lifetime
from rox.numerics.maximum_likelihood import Fitted, maximum, parameters


@dataclass(frozen=True, kw_only=True)
class BGBB:
    """Purchases in periods: while there, one in each with probability p; after each period gone with probability θ.

    p ~ Beta(α, β) and θ ~ Beta(γ, δ) across customers, independent of one another.

    In all methods a customer was observed for ``periods`` periods, in ``bought`` of which there was a purchase, last in
    the ``recency``-th (0 if none), after ``unseen`` periods as a customer of which nothing is known: arrays (c,), or
    numbers. The purchase by which a customer came is not counted.
    """

    alpha: float
    beta: float
    gamma: float
    delta: float

    def log_likelihood(
        self, bought: ArrayLike, recency: ArrayLike, periods: ArrayLike, unseen: ArrayLike = 0
    ) -> Floats:
        """Return the log probability of each customer's history, (c,) (Fader, Hardie & Shang 2010, equation 5).

        A customer of whom the first periods are unknown and who then bought nothing may have gone in these.
        """
        return ways(bought, recency, periods, unseen).log_sums(*astuple(self))

    def scores(self, bought: ArrayLike, recency: ArrayLike, periods: ArrayLike, unseen: ArrayLike = 0) -> Floats:
        """Differentiate each customer's log likelihood by the logarithms of the parameters, (c, 4)."""
        found = ways(bought, recency, periods, unseen)
        return np.asarray(found.slopes(found.log_sums(*astuple(self)), *astuple(self)) * np.array(astuple(self)))

    def alive(self, bought: ArrayLike, recency: ArrayLike, periods: ArrayLike, unseen: ArrayLike = 0) -> Floats:
        """Return the probability of still being there in the period after the last one observed, (c,) (equation 11).

        Example:
            >>> model = BGBB(alpha=1.204, beta=0.750, gamma=0.657, delta=2.783)
            >>> model.alive([6, 0], [6, 0], 6).round(2)  # donors who gave six times in six years, and never again
            array([0.93, 0.11])
        """
        x, _, n, e = in_periods(bought, recency, periods, unseen)
        here = self._propensity(x, n) + self._log_staying(e + n + 1)
        return np.asarray(np.exp(here - self.log_likelihood(x, recency, n, e)))

    def expected(
        self, bought: ArrayLike, recency: ArrayLike, periods: ArrayLike, ahead: int, unseen: ArrayLike = 0
    ) -> Floats:
        """Return the expected number of the next ``ahead`` periods with a purchase, (c,) (equation 13).

        The sum over periods that the equation writes in closed form, which has no singularity at γ = 1.

        Raises:
            ValueError: ``ahead`` below 1, or histories that cannot be.
        """
        x, _, n, e = in_periods(bought, recency, periods, unseen)
        staying = np.exp(self._log_staying((e + n)[:, None] + _ahead(ahead))).sum(axis=1)
        return np.asarray(np.exp(self._propensity(x + 1, n + 1) - self.log_likelihood(x, recency, n, e)) * staying)

    def expected_new(self, ahead: int) -> float:
        """Return the expected number of the first ``ahead`` periods of a new customer with a purchase (equation 8)."""
        share = self.alpha / (self.alpha + self.beta)
        return float(share * np.exp(self._log_staying(_ahead(ahead).astype(np.float64))).sum())

    def residual(
        self,
        bought: ArrayLike,
        recency: ArrayLike,
        periods: ArrayLike,
        discount: float,
        unseen: ArrayLike = 0,
    ) -> Floats:
        """Return the discounted expected residual transactions, the next period discounted once, (c,) (equation 14).

        Raises:
            ValueError: A discount per period that is not above 0, unless γ is above 1.
        """
        x, _, n, e = in_periods(bought, recency, periods, unseen)
        here = self._propensity(x + 1, n + 1) + self._log_staying(e + n) - self.log_likelihood(x, recency, n, e)
        return np.asarray(
            np.exp(here) * residual_lifetime(self.gamma, self.delta, discount, e + n + 1) / (1 + discount)
        )

    def _propensity(self, x: Floats, n: Floats) -> Floats:
        """Return log E[p^x (1 − p)^(n − x)]."""
        return np.asarray(special.betaln(self.alpha + x, self.beta + n - x) - special.betaln(self.alpha, self.beta))

    def _log_staying(self, t: Floats) -> Floats:
        """Return log E[(1 − θ)^t]."""
        return np.asarray(special.betaln(self.gamma, self.delta + t) - special.betaln(self.gamma, self.delta))


def bgbb(
    bought: ArrayLike,
    recency: ArrayLike,
    periods: ArrayLike,
    customers: ArrayLike | None = None,
    *,
    unseen: ArrayLike = 0,
    start: BGBB | None = None,
) -> Fitted[BGBB]:
    """Fit the BG/BB model to counts of customers by history.

    Args:
        bought: (c,) periods with a purchase, the one by which the customer came aside.
        recency: (c,) the last of them, counted from 1; 0 if there was none.
        periods: (c,) how many were observed, or one number.
        customers: (c,) how many have this history; default one each.
        unseen: (c,) periods before those observed in which they were customers already.
        start: Where to begin, such as the fit of nearly the same customers.

    Raises:
        ValueError: Histories that cannot be, or parameters that run off: customers who do not differ, or too few
            periods to tell those who have gone from those who pause.

    Example:
        >>> bought = [6, 5, 4, 3, 2, 1, 5, 4, 3, 2, 1, 4, 3, 2, 1, 3, 2, 1, 2, 1, 1, 0]
        >>> recency = [6] * 6 + [5] * 5 + [4] * 4 + [3] * 3 + [2] * 2 + [1, 0]
        >>> donors = [1203, 728, 512, 357, 234, 129, 335, 284, 225, 173, 119, 240, 181, 155, 78, 322, 255, 129]
        >>> fit = bgbb(bought, recency, 6, [*donors, 613, 277, 1091, 3464])  # Fader, Hardie & Shang (2010), table 2
        >>> [round(each, 3) for each in (fit.model.alpha, fit.model.beta, fit.model.gamma, fit.model.delta)]
        [1.204, 0.75, 0.657, 2.783]
    """
    x, last, n, e = in_periods(bought, recency, periods, unseen)
    weight = counts_of(customers, x.size)
    rows, place = np.unique(np.column_stack([x, last, n, e]), axis=0, return_inverse=True)
    count = np.asarray(np.bincount(place.ravel(), weights=weight), dtype=np.float64)
    held = ways(*rows.T)

    def loss(theta: Floats) -> tuple[float, Floats]:
        values = parameters(theta)
        value = held.log_sums(*values)
        slope = count @ held.slopes(value, *values) * values
        return -float(count @ value) / count.sum(), -slope / count.sum()

    theta, covariance, value = maximum(
        loss, np.zeros(4) if start is None else np.log(astuple(start)), float(count.sum())
    )
    alpha, beta, gamma, delta = np.exp(theta).tolist()
    model = BGBB(alpha=alpha, beta=beta, gamma=gamma, delta=delta)
    return Fitted(model=model, covariance=covariance, log_likelihood=value)


@dataclass(frozen=True, kw_only=True)
class BGNBD:
    """Purchases in continuous time: at rate λ while there; after each purchase gone with probability p.

    λ ~ Gamma(r, α) and p ~ Beta(a, b) across customers, independent of one another; a customer who never bought again
    is still there for certain.

    In all methods a customer was observed for ``duration`` after the purchase by which they came, bought ``bought``
    times more, last at ``recency`` (0 if never), in any one unit of time: arrays (c,), or numbers.
    """

    r: float
    alpha: float
    a: float
    b: float

    def alive(self, bought: ArrayLike, recency: ArrayLike, duration: ArrayLike) -> Floats:
        """Return the probability of still being there, (c,).

        Example:
            >>> model = BGNBD(r=0.243, alpha=4.414, a=0.793, b=2.426)
            >>> model.alive(2, 30.43, 38.86).round(2)
            array([0.73])
        """
        x, last, t = in_time(bought, recency, duration)
        return np.asarray(special.expit(-self._log_odds_gone(x, last, t)))

    def expected(self, bought: ArrayLike, recency: ArrayLike, duration: ArrayLike, ahead: float) -> Floats:
        """Return the expected number of purchases within the time ``ahead``, (c,) (Fader, Hardie & Lee 2005, eq. 10).

        Equal to their hypergeometric function, but taken as the mean of (1 − (1 + py)^(−r−x))/p over p, which has no
        singularity at a = 1 and cancels nothing.

        Raises:
            ValueError: ``ahead`` not above 0, or histories that cannot be.
        """
        return self._discounted(bought, recency, duration, np.array([_positive(ahead)]), 0.0)

    def expected_new(self, ahead: float) -> float:
        """Return the expected number of purchases of a new customer within the time ``ahead`` (equation 9)."""
        return float(self.expected(0, 0, 0, ahead)[0])

    def residual(
        self, bought: ArrayLike, recency: ArrayLike, duration: ArrayLike, discount: float, periods: int
    ) -> Floats:
        """Return the expected purchases of the next ``periods`` units of time, those of the k-th by (1 + d)^−k, (c,).

        Without an end the sum need not converge where a is below 1, hence the horizon.
        """
        if not discount > -1:
            raise ValueError(f"discount must be above -1, got {discount}")
        return self._discounted(bought, recency, duration, _ahead(periods).astype(np.float64), discount)

    def _discounted(
        self, bought: ArrayLike, recency: ArrayLike, duration: ArrayLike, until: Floats, discount: float
    ) -> Floats:
        x, last, t = in_time(bought, recency, duration)
        out = np.empty(x.size)
        for count in np.unique(x):
            here = x == count
            scaled = until / (self.alpha + t[here])[:, None]
            nodes, weights = beta_rule(self.a, self.b + count, 40 + int(10 * np.sqrt(scaled.max())))
            total, before = np.zeros(int(here.sum())), 0.0
            for k, y in enumerate(scaled.T, start=1):
                so_far = -np.expm1(-(self.r + count) * np.log1p(y[:, None] * nodes)) / nodes @ weights
                total += (so_far - before) / (1 + discount) ** k
                before = so_far
            out[here] = total
        return np.asarray(out * special.expit(-self._log_odds_gone(x, last, t)))

    def _log_odds_gone(self, x: Floats, last: Floats, t: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            once = np.where(x > 0, np.log(self.a) - np.log(np.maximum(self.b + x - 1, self.b)), -np.inf)
        return np.asarray(once + (self.r + x) * (np.log(self.alpha + t) - np.log(self.alpha + last)))


def bgnbd(
    bought: ArrayLike,
    recency: ArrayLike,
    duration: ArrayLike,
    customers: ArrayLike | None = None,
) -> Fitted[BGNBD]:
    """Fit the BG/NBD model to customers, or to counts of customers by history.

    The likelihood is that of the times of purchases (Fader, Hardie & Lee 2005, equation 6).

    Args:
        bought: (c,) purchases after the one by which the customer came.
        recency: (c,) time of the last of them since then; 0 if there was none.
        duration: (c,) time observed.
        customers: (c,) how many have this history; default one each.

    Raises:
        ValueError: Histories that cannot be, or parameters that run off: customers who do not differ, or nobody who
            seems to have gone.
    """
    x, last, t = in_time(bought, recency, duration)
    weight = counts_of(customers, x.size)
    unit = float(t.max())
    last, t = last / unit, t / unit

    def loss(theta: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = parameters(theta)
        odds = BGNBD(r=r, alpha=alpha, a=a, b=b)._log_odds_gone(x, last, t)
        gone = special.expit(odds)
        ever = (x > 0).astype(np.float64)
        value = (special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha) - (r + x) * np.log(alpha + t)) + (
            special.betaln(a, b + x) - special.betaln(a, b) + np.logaddexp(0.0, odds)
        )
        both = special.digamma(a + b) - special.digamma(a + b + x)
        waited = np.log(alpha + t) - np.log(alpha + last)
        slope = np.array(
            [
                weight @ (special.digamma(r + x) - special.digamma(r) + np.log(alpha / (alpha + t)) + gone * waited),
                weight @ (r / alpha - (r + x) * ((1 - gone) / (alpha + t) + gone / (alpha + last))),
                weight @ (both + gone / a),
                weight @ (special.digamma(b + x) - special.digamma(b) + both - gone * ever / np.maximum(b + x - 1, b)),
            ]
        )
        return -float(weight @ value) / weight.sum(), -slope * parameters(theta) / weight.sum()

    theta, covariance, value = maximum(loss, np.zeros(4), float(weight.sum()))
    r, alpha, a, b = np.exp(theta).tolist()
    model = BGNBD(r=r, alpha=alpha * unit, a=a, b=b)
    return Fitted(model=model, covariance=covariance, log_likelihood=value - float(weight @ x) * float(np.log(unit)))


def beta_rule(a: float, b: float, size: int) -> tuple[Floats, Floats]:
    """Return nodes within 0..1 and weights that take the mean over Beta(a, b): Gauss–Jacobi (Golub & Welsch 1969).

    Example:
        >>> nodes, weights = beta_rule(0.5, 3.0, 20)
        >>> round(float(weights @ nodes), 6)  # a / (a + b)
        0.142857
    """
    k = np.arange(1, size, dtype=np.float64)
    s = 2 * k + a + b - 2
    middle = np.concatenate([[(a - b) / (a + b)], (a - b) * (a + b - 2) / (s * (s + 2))])
    side = 4 * k * (k + a - 1) * (k + b - 1) / (s**2 * (s + 1))
    side *= np.concatenate([[1.0], (k[1:] + a + b - 2) / (s[1:] - 1)])
    place, direction = linalg.eigh_tridiagonal(middle, np.sqrt(side))
    return np.asarray((1 + place) / 2), np.asarray(direction[0] ** 2)


def _ahead(periods: int) -> Ints:
    if periods < 1 or periods != int(periods):
        raise ValueError(f"needed: a whole number of periods ahead, at least 1; got {periods}")
    return np.arange(1, int(periods) + 1)


def _positive(ahead: float) -> float:
    if not ahead > 0:
        raise ValueError(f"ahead must be above 0, got {ahead}")
    return ahead
