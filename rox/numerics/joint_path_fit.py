"""Fit the joint law of money and answers to the customers of several segments, and take what is common out first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import expit, logit

from rox.numerics.arrays import Floats, Ints, complain, freeze
from rox.numerics.joint_path import COMMON, OWN, Paths, Patterns, covariances_and_slopes, log_likelihood

TRANSITORY, WANDERING = np.log(0.02), np.log(0.004)
"""First guess of log standard deviations that may be nothing at all."""
PRIOR_SDS = (1.0, 10.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 5.0, 1.5, 5.0, 5.0, 1.5)
COMMON_PRIOR_SD = 1.5
"""Of weak normal priors around the first guess: what the data do not speak of stays put."""
SCALES = (0.02, 0.3, 0.02, 0.05, 0.05, 0.3, 0.3, 0.05, 0.1, 0.05, 0.1, 0.1, 0.05)
"""Typical step of each parameter of a segment."""
COMMON_SCALE = 0.1
NEARLY, NEAR_ENOUGH = 0.2, 0.02
"""Standard errors that a further step would move the estimate by."""
NEWTON_STEPS = 40
SWEEPS = 30


@dataclass(frozen=True, kw_only=True)
class JointPath:
    """A fitted joint law. s = segments, q = parameters."""

    long_run: Floats
    """(s,) change of log money per point of experience, once all has adjusted."""
    attention: Floats
    """(s,) points of experience per unit of log growth over three months."""
    adjustment: float
    """Share of the way to its level that money moves in a month."""
    memory: float
    """Share of passing experience left after a month."""
    passing: Floats
    """(s,) standard deviation of passing experience."""
    own: Floats
    """(s, ``OWN``) all parameters of the segments."""
    covariance: Floats
    """(q, q) robust, clustered by customer, of ``own`` row by row and ``COMMON``."""
    information_inverse: Floats
    """(q, q) covariance if the model were true."""
    months: Ints
    """(t,) of money."""
    waves: Ints
    """(w,) months in which somebody answers."""
    log_likelihood: float
    converged: bool

    def __post_init__(self) -> None:
        freeze(self, "long_run", "attention", "passing", "own", "covariance", "information_inverse", "months", "waves")

    @property
    def attention_covariance(self) -> Floats:
        """(s, s) robust covariance of attention."""
        at = np.arange(len(self.own)) * len(OWN) + OWN.index("attention")
        return np.asarray(self.covariance[np.ix_(at, at)])

    @property
    def attention_se(self) -> Floats:
        """(s,) standard errors of attention."""
        return np.asarray(np.sqrt(np.diag(self.attention_covariance)))

    @property
    def passing_share(self) -> Floats:
        """(s,) share of the spread of answers that is passing experience."""
        parts = np.exp(2 * self.own[:, [OWN.index(name) for name in ("passing", "noise", "lasting")]])
        by_others = self.own[:, [OWN.index(name) for name in ("lasting_by_level", "lasting_by_growth")]]
        return np.asarray(parts[:, 0] / (parts.sum(1) + np.square(by_others).sum(1)))

    def answers_with_money(self) -> Floats:
        """Return (s, w, t) the covariance of an answer with log money."""
        return covariances_and_slopes(self.own, logit([self.adjustment, self.memory]), self.months, self.waves)[0][1]

    def after(self, months: float) -> Floats:
        """Return (s,) the change of log money per point, so many months after a lasting change."""
        return np.asarray(self.long_run * (1 - (1 - self.adjustment) ** months))

    def slopes(self, months: float) -> Floats:
        """Return (s, q) the derivative of :meth:`after` by all parameters."""
        s, k = self.own.shape
        stay = 1 - self.adjustment
        out = np.zeros((s, s * k + len(COMMON)))
        at = np.arange(s)
        out[at, at * k] = 1 - stay**months
        out[at, s * k] = self.long_run * months * stay**months * self.adjustment
        return out

    def covariance_after(self, months: float) -> Floats:
        """Return (s, s) the covariance of :meth:`after`."""
        slopes = self.slopes(months)
        return np.asarray(slopes @ self.covariance @ slopes.T)

    def after_without_attention(self, months: float) -> Floats:
        """Return (s,) what :meth:`after` would be had experience been taken not to follow money, to first order."""
        s, k = self.own.shape
        at = np.arange(s) * k + OWN.index("attention")
        both = self.slopes(months) @ self.information_inverse[:, at]
        return np.asarray(
            self.after(months) - both @ np.linalg.solve(self.information_inverse[np.ix_(at, at)], self.attention)
        )


def fit_joint_path(parts: Sequence[Paths]) -> JointPath:
    """Fit the joint law by maximum likelihood, with errors that hold when it is not normal (White 1982).

    Pace and memory are common to all segments, the rest is each segment's own. Errors come from the slopes of the
    likelihood summed by bucket of customers.

    Args:
        parts: One per segment, with the same months of money and buckets.

    Raises:
        ValueError: No segment, segments with different months, or one without answers.
    """
    faults = [] if parts else ["no segment"]
    if any(not np.array_equal(part.months, parts[0].months) for part in parts):
        faults.append("segments have different months of money")
    faults += [f"segment {s} has no answers" for s, part in enumerate(parts) if not len(part.answer)]
    complain(faults)
    return _Problem.of(parts).solved(parts)


@dataclass(frozen=True, kw_only=True)
class _Problem:
    data: tuple[Patterns, ...]
    months: Ints
    waves: Ints
    guess: Floats

    @classmethod
    def of(cls, parts: Sequence[Paths]) -> _Problem:
        waves = np.unique(np.concatenate([part.answered for part in parts]))
        data = tuple(Patterns.among(part, waves) for part in parts)
        return cls(data=data, months=np.asarray(parts[0].months), waves=waves, guess=_guess(parts))

    @property
    def scales(self) -> Floats:
        return np.concatenate([np.tile(SCALES, len(self.data)), np.full(len(COMMON), COMMON_SCALE)])

    @property
    def prior_sds(self) -> Floats:
        return np.concatenate([np.tile(PRIOR_SDS, len(self.data)), np.full(len(COMMON), COMMON_PRIOR_SD)])

    def by_segment(self, at: Floats, data: Sequence[Patterns] | None = None) -> tuple[Floats, Floats]:
        """Return (s,) log likelihoods and (s, ``OWN`` + ``COMMON``) slopes."""
        own, common = at[: -len(COMMON)].reshape(-1, len(OWN)), at[-len(COMMON) :]
        base, slopes = covariances_and_slopes(own, common, self.months, self.waves)
        values, found = np.zeros(len(own)), np.zeros((len(own), len(OWN) + len(COMMON)))
        for s, each in enumerate(self.data if data is None else data):
            if len(each.money):
                values[s], pulls = log_likelihood(each, (base[0][s], base[1][s], base[2][s]))
                found[s] = sum((slope[s] * pull).sum((1, 2)) for slope, pull in zip(slopes, pulls, strict=True))
        return values, found

    def total(self, at: Floats) -> tuple[float, Floats]:
        """Return the penalised log likelihood and its slopes."""
        values, slopes = self.by_segment(at)
        away = (at - self.guess) / self.prior_sds
        return float(values.sum() - 0.5 * away @ away), _together(slopes) - away / self.prior_sds

    def information(self, at: Floats) -> Floats:
        """Return minus the second derivatives; a parameter is moved in all segments at once, they share nothing."""
        s, k = len(self.data), len(OWN)
        out = np.zeros((at.size, at.size))
        rows = np.arange(s * k).reshape(s, k)
        for j, scale in enumerate(SCALES):
            step = np.zeros(at.size)
            step[rows[:, j]] = 0.02 * scale
            change = (self.by_segment(at + step)[1] - self.by_segment(at - step)[1]) / (0.04 * scale)
            for segment in range(s):
                out[rows[segment], rows[segment, j]] = change[segment, :k]
                out[s * k :, rows[segment, j]] = change[segment, k:]
        for j in range(len(COMMON)):
            step = np.zeros(at.size)
            step[s * k + j] = 0.02 * COMMON_SCALE
            change = self.by_segment(at + step)[1] - self.by_segment(at - step)[1]
            out[:, s * k + j] = _together(change) / (0.04 * COMMON_SCALE)
        return np.asarray(np.diag(self.prior_sds**-2) - (out + out.T) / 2)

    def solved(self, parts: Sequence[Paths]) -> JointPath:
        at, scales = self.guess, self.scales
        size = sum(len(part.money) for part in parts)

        def loss(z: Floats) -> tuple[float, Floats]:
            value, gradient = self.total(z * scales)
            return -1000 * value / size, -1000 * gradient * scales / size

        options = {"maxiter": 200, "ftol": 1e-9, "gtol": 1e-3, "maxcor": 40}
        at = optimize.minimize(loss, at / scales, jac=True, method="L-BFGS-B", options=options).x * scales
        at, information, left = self._polished(at)
        inverse: Floats = np.asarray(np.linalg.inv(_positive(information, self.scales)), dtype=np.float64)
        buckets = np.unique(np.concatenate([part.bucket for part in parts]))
        scores = np.array([self._score(at, parts, bucket) for bucket in buckets])
        robust = inverse @ (np.cov(scores, rowvar=False) * len(buckets)) @ inverse
        own, common = at[: -len(COMMON)].reshape(-1, len(OWN)), expit(at[-len(COMMON) :])
        return JointPath(
            long_run=own[:, OWN.index("response")],
            attention=own[:, OWN.index("attention")],
            adjustment=float(common[0]),
            memory=float(common[1]),
            passing=np.exp(own[:, OWN.index("passing")]),
            own=own,
            covariance=robust,
            information_inverse=inverse,
            months=self.months,
            waves=self.waves,
            log_likelihood=float(self.by_segment(at)[0].sum()),
            converged=bool(left < NEARLY),
        )

    def _polished(self, at: Floats) -> tuple[Floats, Floats, float]:
        """Take Newton's steps until they are small beside the standard errors."""
        information, left = self.information(at), np.inf
        for _ in range(NEWTON_STEPS):
            value, gradient = self.total(at)
            step = np.linalg.solve(_positive(information, self.scales), gradient)
            left = float(np.sqrt(abs(gradient @ step)))
            if left < NEAR_ENOUGH:
                break
            share = 1.0
            while share > 1e-3 and self.total(at + share * step)[0] < value:
                share /= 2
            while 1 <= share < 8 and self.total(at + 2 * share * step)[0] > self.total(at + share * step)[0]:
                share *= 2
            at = at + share * step
            information = self.information(at)
        return at, information, left

    def _score(self, at: Floats, parts: Sequence[Paths], bucket: int) -> Floats:
        data = [each.keep(part.bucket == bucket) for each, part in zip(self.data, parts, strict=True)]
        return _together(self.by_segment(at, data)[1])


def _together(slopes: Floats) -> Floats:
    """Lay slopes by segment (s, ``OWN`` + ``COMMON``) out as one vector."""
    return np.concatenate([slopes[:, : len(OWN)].ravel(), slopes[:, len(OWN) :].sum(0)])


def _positive(information: Floats, scales: Floats) -> Floats:
    """Turn an indefinite information into a positive one, in the scale of the parameters."""
    scaled = information * np.outer(scales, scales)
    values, vectors = np.linalg.eigh(scaled)
    raised: Floats = (vectors * np.maximum(np.abs(values), 1e-6 * np.abs(values).max())) @ vectors.T
    return np.asarray(raised / np.outer(scales, scales))


def _guess(parts: Sequence[Paths]) -> Floats:
    """Guess: no effect, no attention, and spreads read off the data."""
    own = []
    for part in parts:
        growth = np.diff(part.money, axis=1) / np.sqrt(np.diff(part.months))
        with np.errstate(invalid="ignore"):
            means = np.nanmean(part.money[np.isfinite(part.money).any(1)], axis=1)
        shock, answers = max(float(np.nanstd(growth)), 1e-4), max(float(part.answer.std()), 0.1)
        log_noise, log_passing, log_lasting = np.log(answers * np.sqrt([0.4, 0.35, 0.25]))
        level, drift = np.log(float(np.nanstd(means)) + 0.05), np.log(2.5 * shock)
        own.append(
            [
                0.0,
                0.0,
                np.log(0.9 * shock),
                log_passing,
                log_noise,
                TRANSITORY,
                WANDERING,
                level,
                0,
                drift,
                0,
                0,
                log_lasting,
            ]
        )
    return np.concatenate([np.ravel(own), logit([0.05, 0.85])])


def around_common(values: Floats, first: Ints, second: Ints) -> Floats:
    """Take the additive effects of two groupings out of values, by turns until both are gone.

    Args:
        values: (r,).
        first: (r,) codes 0, 1, ….
        second: (r,) codes.
    """
    left = np.array(values, dtype=np.float64)
    groups = [(codes, np.maximum(np.bincount(codes), 1)) for codes in (first, second)]
    for _ in range(SWEEPS):
        for codes, count in groups:
            left -= (np.bincount(codes, left) / count)[codes]
    return left


def paths_around_common(money: Floats, segment: Ints, place: Ints, *, cap: float) -> Floats:
    """Take the growth that a segment and a place have in common out of customers' log money, and the segment's level.

    Common growth is measured from customers with money at both ends of a step, so who comes and goes does not move it.

    Args:
        money: (n, t) log money, NaN where there is none.
        segment: (n,) codes.
        place: (n,) codes; all 0 without places.
        cap: Largest growth of a step that counts in what is common.
    """
    common = np.zeros_like(money)
    cell = segment * (place.max() + 1) + place
    for t in range(1, money.shape[1]):
        growth = money[:, t] - money[:, t - 1]
        there = np.isfinite(growth)
        cut = np.clip(growth[there], -cap, cap)
        shared = cut - around_common(cut, segment[there], place[there])
        of_cell = np.full(cell.max() + 1, np.nan)
        of_cell[cell[there]] = shared
        step = np.where(np.isfinite(of_cell[cell]), of_cell[cell], _means(shared, segment[there], segment))
        common[:, t] = common[:, t - 1] + step
    left = money - common
    there = np.isfinite(left)
    own = np.where(there, left, 0.0).sum(1) / np.maximum(there.sum(1), 1)
    some = there.any(1)
    return np.asarray(left - _means(own[some], segment[some], segment)[:, None])


def _means(values: Floats, codes: Ints, wanted: Ints) -> Floats:
    """Return the mean of the values of each wanted code; 0 where it has none."""
    many = int(wanted.max()) + 1
    totals = np.bincount(codes, values, minlength=many) / np.maximum(np.bincount(codes, minlength=many), 1)
    return np.asarray(totals[wanted], dtype=np.float64)
