"""The joint law of a customer's money and answers when experience moves money slowly and money draws attention.

Per customer, around what the customer's segment and place have in common,

    q_t = q_{t−1} + a·(b·e_t − (q_{t−1} − level)) + shock_t        log money, without the customer's own growth
    log A_t = q_t + growth·t + wandering_t + passing error
    e_t = r·e_{t−1} + u_t + c·(log A_{t−1} − log A_{t−4})          passing experience, which follows money by c
    y_t = lasting + e_t + noise                                     an answer

with a the share of the way that money moves in a month, b the long-run response and r the memory of experience. Level,
growth and lasting experience of a customer go together in any way. Everything is linear, so a customer's money and
answers are one normal vector whose covariance follows from the parameters (Jöreskog 1970); the likelihood of what was
observed, whatever is missing, needs its blocks only. Wandering is growth with a memory of its own that experience has
no part in, so that the way money goes with itself is not taken for evidence on b.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rox.numerics.arrays import Floats, Ints, complain

DYNAMIC = ("response", "attention", "shock", "passing")
STATIC = (
    "noise",
    "transitory",
    "wandering",
    "level",
    "growth_by_level",
    "growth",
    "lasting_by_level",
    "lasting_by_growth",
    "lasting",
)
OWN = DYNAMIC + STATIC
"""Parameters of a segment. Standard deviations are in logs; level, growth and lasting are a Cholesky factor."""
COMMON = ("pace", "memory")
"""Parameters of all segments, as log odds."""
REACH = 160
"""Months of the past that count."""
ATTENTION_SPAN = 3
"""Months over which growth draws attention."""
WANDERING_MEMORY = 0.9
STEP = 1e-5
Covariances = tuple[Floats, Floats, Floats]
"""Of money with money (..., t, t), answers with money (..., w, t), answers with answers (..., w, w)."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Money and answers of the customers of one segment. n = customers, t = months of money, r = answers."""

    money: Floats
    """(n, t) log money around what is common; NaN where there is none."""
    months: Ints
    """(t,) ascending."""
    who: Ints
    """(r,) place of the customer of each answer."""
    answered: Ints
    """(r,) month."""
    answer: Floats
    """(r,) around what is common."""
    bucket: Ints
    """(n,) random group of customers."""

    def __post_init__(self) -> None:
        n, r = len(self.money), len(self.who)
        faults = []
        if self.money.ndim != 2 or self.money.shape[1] != len(self.months):
            faults.append(f"money has shape {self.money.shape}; needed: customers × {len(self.months)} months")
        if len(self.answered) != r or len(self.answer) != r:
            faults.append(f"{r} customers, {len(self.answered)} months and {len(self.answer)} values of answers")
        if r and (self.who.min() < 0 or self.who.max() >= n):
            faults.append(f"answers of customers outside 0..{n - 1}")
        if len(self.bucket) != n:
            faults.append(f"{len(self.bucket)} buckets for {n} customers")
        complain(faults)


@dataclass(frozen=True, kw_only=True)
class _Answered:
    """Customers with equally many answers: ``who`` (m,), ``place`` (m, k) among the waves, ``answer`` (m, k)."""

    who: Ints
    place: Ints
    answer: Floats


@dataclass(frozen=True, kw_only=True)
class Patterns:
    """Paths sorted by which months of money there are; p = patterns."""

    mask: NDArray[np.bool_]
    """(p, t)."""
    squares: Floats
    """(p, t, t) sums of money times money."""
    count: Floats
    """(p,) customers."""
    of: Ints
    """(n,) pattern of each customer."""
    money: Floats
    """(n, t), 0 where there is none."""
    answered: tuple[_Answered, ...]

    @classmethod
    def among(cls, paths: Paths, waves: Ints) -> Patterns:
        """Sort paths whose answers fall in given months."""
        there = np.isfinite(paths.money)
        place = np.searchsorted(waves, paths.answered)
        order = np.lexsort((place, paths.who))
        who, first, many = np.unique(paths.who[order], return_index=True, return_counts=True)
        groups = []
        for k in np.unique(many):
            at = order[first[many == k][:, None] + np.arange(k)]
            groups.append(_Answered(who=who[many == k], place=place[at], answer=paths.answer[at]))
        return cls._sorted(there, np.where(there, paths.money, 0.0), tuple(groups))

    @classmethod
    def _sorted(cls, there: NDArray[np.bool_], money: Floats, groups: tuple[_Answered, ...]) -> Patterns:
        mask, of = np.unique(there, axis=0, return_inverse=True)
        of = of.ravel()
        order = np.argsort(of, kind="stable")
        edges = np.searchsorted(of[order], np.arange(len(mask) + 1))
        squares = np.zeros((len(mask), money.shape[1], money.shape[1]))
        for p in range(len(mask)):
            part = money[order[edges[p] : edges[p + 1]]]
            squares[p] = part.T @ part
        count = np.bincount(of, minlength=len(mask)).astype(np.float64)
        return cls(mask=mask, squares=squares, count=count, of=of, money=money, answered=groups)

    def keep(self, chosen: NDArray[np.bool_]) -> Patterns:
        """Return those of some customers, chosen by (n,)."""
        new = np.cumsum(chosen) - 1
        groups = []
        for each in self.answered:
            here = chosen[each.who]
            if here.any():
                groups.append(_Answered(who=new[each.who[here]], place=each.place[here], answer=each.answer[here]))
        return self._sorted(self.mask[self.of[chosen]], self.money[chosen], tuple(groups))


def log_likelihood(data: Patterns, covariances: Covariances) -> tuple[float, Covariances]:
    """Return the normal log likelihood, up to a constant, and its slopes in the elements of the three covariances.

    Money is taken first, by pattern; then the answers given the money of their customer.
    """
    money, cross, answers = covariances
    both = data.mask[:, :, None] & data.mask[:, None, :]
    held = np.where(both, money, 0.0)
    diagonal = np.arange(money.shape[-1])
    held[:, diagonal, diagonal] += ~data.mask
    inverse = np.where(both, np.linalg.inv(held), 0.0)
    explained = inverse @ data.squares
    value = -0.5 * float(data.count @ np.linalg.slogdet(held)[1] + np.trace(explained, axis1=1, axis2=2).sum())
    by_money = -0.5 * ((data.count[:, None, None] * inverse).sum(0) - (explained @ inverse).sum(0))
    beta = cross @ inverse
    spread = answers - beta @ cross.T
    given, by_beta, by_spread = _answers_given_money(data, beta, spread)
    turned = beta.transpose(0, 2, 1)
    through = -(turned @ by_beta @ inverse).sum(0)
    by_money = by_money + 0.5 * (through + through.T) + (turned @ by_spread @ beta).sum(0)
    by_cross = (by_beta @ inverse - 2 * by_spread @ beta).sum(0)
    return value + given, (by_money, by_cross, by_spread.sum(0))


def _answers_given_money(data: Patterns, beta: Floats, spread: Floats) -> tuple[float, Floats, Floats]:
    """Return the log likelihood of answers given money and its slopes in ``beta`` (p, w, t), ``spread`` (p, w, w)."""
    p, w, t = beta.shape
    value, by_beta, by_spread = 0.0, np.zeros((t, p * w)), np.zeros(p * w * w)
    for each in data.answered:
        of, place = data.of[each.who][:, None], each.place
        money = data.money[each.who]
        left = each.answer - np.einsum("nkt,nt->nk", beta[of, place], money)
        variance = spread[of[:, :, None], place[:, :, None], place[:, None, :]]
        inverse = np.linalg.inv(variance)
        weighed = np.einsum("nij,nj->ni", inverse, left)
        value -= 0.5 * float(np.linalg.slogdet(variance)[1].sum() + (weighed * left).sum())
        slope = -0.5 * (inverse - weighed[:, :, None] * weighed[:, None, :])
        at = of * w + place
        many = (at[:, :, None] * w + place[:, None, :]).ravel()
        by_spread += np.bincount(many, weights=slope.ravel(), minlength=p * w * w)
        for month in range(t):
            pull = weighed * money[:, month, None]
            by_beta[month] += np.bincount(at.ravel(), weights=pull.ravel(), minlength=p * w)
    return value, by_beta.T.reshape(p, w, t), by_spread.reshape(p, w, w)


def covariances_and_slopes(own: Floats, common: Floats, months: Ints, waves: Ints) -> tuple[Covariances, Covariances]:
    """Return the covariances that parameters imply, and their slopes.

    Args:
        own: (s, ``OWN``) by segment.
        common: (``COMMON``,).
        months: (t,) of money.
        waves: (w,) months in which somebody answers.

    Returns:
        The three covariances, leading (s,); and the same leading (s, ``OWN`` + ``COMMON``), slopes.
    """
    n = len(DYNAMIC)
    moving = np.concatenate([own[:, :n], np.broadcast_to(common, (len(own), len(COMMON)))], axis=1)
    one = _dynamic(_moved(moving), months, waves)
    other = _static(_moved(own[:, n:]), months, waves)
    base = tuple(a[:, 0] + b[:, 0] for a, b in zip(one, other, strict=True))
    slopes = []
    for a, b in zip(one, other, strict=True):
        up, still = ((each[:, 1::2] - each[:, 2::2]) / (2 * STEP) for each in (a, b))
        slopes.append(np.concatenate([up[:, :n], still, up[:, n:]], axis=1))
    return (base[0], base[1], base[2]), (slopes[0], slopes[1], slopes[2])


def _moved(values: Floats) -> Floats:
    """Return values (s, k) as they are and moved up and down one at a time, (s, 1 + 2k, k)."""
    k = values.shape[1]
    out = np.repeat(values[:, None], 1 + 2 * k, axis=1)
    at = np.arange(k)
    out[:, 1 + 2 * at, at] += STEP
    out[:, 2 + 2 * at, at] -= STEP
    return out


def _dynamic(values: Floats, months: Ints, waves: Ints) -> Covariances:
    """Return what shocks of money and of passing experience add up to."""
    pace, memory = expit(values[..., 4]), expit(values[..., 5])
    span = int(max(months.max(), waves.max()) - min(months.min(), waves.min()))
    money, felt = _answer_to_shocks(pace, memory, values[..., 0], values[..., 1], REACH + span + 1)
    variance = np.stack([np.exp(2 * values[..., 2]), np.exp(2 * values[..., 3]) * (1 - memory**2)])

    def lagged(first: Floats, second: Floats) -> Floats:
        weighted = (variance[..., None] * first[..., :REACH])[..., None, :]
        windows = np.lib.stride_tricks.sliding_window_view(second, REACH, axis=-1)[..., : span + 1, :]
        return np.asarray((weighted * windows).sum((0, -1)))

    with_money, after, before, with_felt = (
        lagged(money, money),
        lagged(felt, money),
        lagged(money, felt),
        lagged(felt, felt),
    )
    ahead = months[None, :] - waves[:, None]
    cross = np.where(ahead >= 0, after[..., np.abs(ahead)], before[..., np.abs(ahead)])
    return (
        with_money[..., np.abs(months[:, None] - months[None, :])],
        cross,
        with_felt[..., np.abs(waves[:, None] - waves[None, :])],
    )


def _answer_to_shocks(
    pace: Floats, memory: Floats, response: Floats, attention: Floats, months: int
) -> tuple[Floats, Floats]:
    """Follow log money and experience after one shock to money and one to experience; (2, ..., months) each."""
    money, felt = np.zeros((2, months, *np.shape(pace))), np.zeros((2, months, *np.shape(pace)))
    own = np.zeros((2, *np.shape(pace)))
    own[1] = 1.0
    for k in range(months):
        if k:
            own = memory * own
            since = money[:, k - 1 - ATTENTION_SPAN] if k > ATTENTION_SPAN else 0.0
            felt[:, k] = attention * (money[:, k - 1] - since)
            money[:, k] = (1 - pace) * money[:, k - 1]
        else:
            money[0, 0] = 1.0
        felt[:, k] += own
        money[:, k] += pace * response * felt[:, k]
    return np.moveaxis(money, 1, -1), np.moveaxis(felt, 1, -1)


def _static(values: Floats, months: Ints, waves: Ints) -> Covariances:
    """Return what noise, wandering and a customer's level, growth and lasting experience add up to."""
    root = np.zeros((*values.shape[:-1], 3, 3))
    root[..., 0, 0], root[..., 1, 1], root[..., 2, 2] = (np.exp(values[..., k]) for k in (3, 5, 8))
    root[..., 1, 0], root[..., 2, 0], root[..., 2, 1] = values[..., 4], values[..., 6], values[..., 7]
    own = root @ np.swapaxes(root, -1, -2)
    axes = np.stack([np.ones(len(months)), (months - months.mean()) / 12], axis=-1)
    noise, transitory, wandering = (np.exp(2 * values[..., k])[..., None, None] for k in range(3))
    money = (
        axes @ own[..., :2, :2] @ axes.T
        + transitory * np.eye(len(months))
        + wandering * _wandering(tuple(months.tolist()))
    )
    cross = np.broadcast_to(own[..., 2:, :2] @ axes.T, (*values.shape[:-1], len(waves), len(months)))
    return money, cross, own[..., 2:, 2:] + noise * np.eye(len(waves))


@lru_cache(maxsize=64)
def _wandering(months: tuple[int, ...]) -> Floats:
    """Return the covariance of growth with memory, summed up from the middle month on."""
    at = np.array(months) - months[0]
    many = int(at[-1]) + 1
    growth = WANDERING_MEMORY ** np.abs(np.arange(many)[:, None] - np.arange(many)[None, :])
    summed = np.tril(np.ones((many, many)))
    summed = summed - summed[many // 2]
    covariance: Floats = (summed @ growth @ summed.T)[np.ix_(at, at)]
    covariance.setflags(write=False)
    return covariance
