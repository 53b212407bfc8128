"""Synthetic comparisons of places that started at one or several dates, and their placebos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rox.core.errors import FitError
from rox.numerics.synthetic_control import synthetic_control
from rox.numerics.synthetic_did import synthetic_did

Floats = NDArray[np.float64]
Method = Literal["synthetic_control", "synthetic_did"]
FEWEST_DONORS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What is compared. u = places, t = months.

    Attributes:
        outcome: Shape (u, t).
        starts: Shape (u,): number of the month of the start, infinite for places that never start.
        sizes: Shape (u,): weights of started places.
        window: First and last month since the start that are averaged.
        method: How the comparison is weighted.
        spread: Shape (t, t): covariance of one customer's outcomes around the mean of the place; by default nothing.
    """

    outcome: Floats
    starts: Floats
    sizes: Floats
    window: tuple[int, int]
    method: Method
    spread: Floats | None = None

    def cohorts(self) -> list[int]:
        """Return the starts that are seen through the window and have enough places to compare with."""
        last = self.outcome.shape[1] - 1
        seen = [int(s) for s in np.unique(self.starts[np.isfinite(self.starts)]) if s + self.window[1] <= last]
        return [start for start in seen if self.donors(start).sum() >= FEWEST_DONORS]

    def donors(self, start: int) -> NDArray[np.bool_]:
        """Mark places that have not started by the end of the window of a start."""
        return np.asarray(self.starts > start + self.window[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """The comparison's answer. e = months around the start, u = places.

    Attributes:
        estimate: Mean over the window, cohorts by their customers.
        months: Shape (e,): months since the start.
        path: Shape (e,).
        pre_rmspe: Root mean squared error before the start.
        ratio: Root mean squared gap in the window over ``pre_rmspe``.
        weights: Shape (u,): of the donors, zero for others; sum one.
    """

    estimate: float
    months: NDArray[np.int64]
    path: Floats
    pre_rmspe: float
    ratio: float
    weights: Floats


def compare(question: Comparison) -> Answer:
    """Estimate every start against places not started by the end of its window, and average.

    Raises:
        FitError: No start is seen through the window next to enough places.
    """
    starts = question.cohorts()
    if not starts:
        last = question.outcome.shape[1] - 1
        begun = question.starts[np.isfinite(question.starts)]
        raise FitError(
            "No started place can be compared through the window.",
            [
                f"needed: {question.window[1] + 1} months of money from a start on, and {FEWEST_DONORS} places that "
                "start later than that or never",
                f"the first start has {int(last - begun.min()) + 1} months; "
                f"{int(np.isinf(question.starts).sum())} places never start",
                "ask for an earlier window, such as window=(1, 5), or wait for more months",
            ],
        )
    first = min(starts)
    months = np.arange(-first, question.window[1] + 1)
    path, weights = np.zeros(months.size), np.zeros(question.starts.size)
    mass = 0.0
    for start in starts:
        gap, donor_weights = _one_start(question, start)
        size = float(question.sizes[question.starts == start].sum())
        path, weights, mass = path + size * gap[start - first :], weights + size * donor_weights, mass + size
    path, weights = path / mass, weights / mass
    inside = (months >= question.window[0]) & (months <= question.window[1])
    error = path[months < 0]
    error = error - error.mean() if question.method == "synthetic_did" else error
    pre = float(np.sqrt((error**2).mean()))
    post = float(np.sqrt((path[inside] ** 2).mean()))
    return Answer(
        estimate=float(path[inside].mean()),
        months=months,
        path=path,
        pre_rmspe=pre,
        ratio=post / pre if pre > 0 else float("inf"),
        weights=weights,
    )


def _one_start(question: Comparison, start: int) -> tuple[Floats, Floats]:
    """Return the gap by month through the window, and the weights of places."""
    mine, donors = question.starts == start, question.donors(start)
    use = question.outcome[:, : start + question.window[1] + 1]
    weights = np.zeros(donors.size)
    if question.method == "synthetic_control":
        treated = question.sizes[mine] @ use[mine] / question.sizes[mine].sum()
        fit = synthetic_control(treated, use[donors], before=start)
        weights[donors] = fit.weights
        return fit.gap, weights
    chosen = mine | donors
    after = np.arange(start + question.window[0], start + question.window[1] + 1)
    did = synthetic_did(use[chosen], mine[chosen], before=start, after=after, treated_weights=question.sizes[mine])
    weights[donors] = did.unit_weights
    return did.path, weights


def placebos(question: Comparison, *, size: int, rng: np.random.Generator) -> Sequence[Answer]:
    """Answer the same question where nothing happened: starts are dealt to places that had not started.

    One started place takes every place without start in turn; several take ``size`` random deals. Where those who
    stand in have more customers together than those who started, the luck of customers that they lack is added to them:
    covariance ``spread`` · (1/customers started − 1/customers standing in).

    Raises:
        FitError: Too few places without start to stand in.
    """
    starts = question.cohorts()
    treated = question.starts[np.isin(question.starts, starts)]
    pool = np.flatnonzero(question.donors(max(starts)))
    if pool.size < treated.size + FEWEST_DONORS:
        raise FitError(
            f"{pool.size} places without a start are too few to stand in for {treated.size} that started.",
            [
                f"needed: {treated.size + FEWEST_DONORS}, each with customers enough to be shown",
                "with more places that start than do not, ask StaggeredUplift",
            ],
        )
    deals = pool[:, None] if treated.size == 1 else [rng.choice(pool, treated.size, replace=False) for _ in range(size)]
    clean = replace(question, outcome=question.outcome[pool], sizes=question.sizes[pool])
    answers = []
    for deal in deals:
        begun = np.full(pool.size, np.inf)
        begun[np.searchsorted(pool, deal)] = treated
        outcome = clean.outcome + _luck(question, begun, clean.sizes, rng)
        answers.append(compare(replace(clean, outcome=outcome, starts=begun)))
    return answers


def _luck(question: Comparison, begun: Floats, sizes: Floats, rng: np.random.Generator) -> Floats:
    """Draw what customers' luck adds where fewer started than stand in, one path for all places of a start."""
    added = np.zeros((begun.size, question.outcome.shape[1]))
    if question.spread is None:
        return added
    roots, basis = np.linalg.eigh(question.spread)
    half = (basis * np.sqrt(np.maximum(roots, 0))) @ basis.T
    for start in question.cohorts():
        mine = begun == start
        lacking = 1 / question.sizes[question.starts == start].sum() - 1 / sizes[mine].sum()
        if lacking > 0:
            added[mine] = np.sqrt(lacking) * (half @ rng.standard_normal(len(roots)))
    return added


def earlier(question: Comparison, months: int) -> Comparison:
    """Pretend that every start came some months earlier, and average those months; nothing later is seen."""
    starts = question.cohorts()
    begun = np.where(np.isin(question.starts, starts), question.starts, np.inf)
    shifted = begun - months
    untouched = question.donors(max(starts)) | np.isfinite(begun)
    return replace(
        question,
        outcome=question.outcome[untouched],
        starts=shifted[untouched],
        sizes=question.sizes[untouched],
        window=(0, months - 1),
    )


def without_each(question: Comparison, answer: Answer, most: int = 10) -> list[tuple[int, float]]:
    """Answer again without each of the heaviest donors: pairs of place and estimate."""
    heavy = [int(i) for i in np.argsort(-answer.weights)[:most] if answer.weights[i] > 0.01]
    found = []
    for place in heavy:
        rest = np.arange(answer.weights.size) != place
        left = replace(
            question, outcome=question.outcome[rest], starts=question.starts[rest], sizes=question.sizes[rest]
        )
        if left.cohorts() == question.cohorts():
            found.append((place, compare(left).estimate))
    return found


def jackknife(question: Comparison) -> Floats:
    """Leave out each place in turn with the weights kept: rows whose squares add to the covariance, shape (u, e).

    For several started places and synthetic differences in differences (Arkhangelsky et al. 2021, algorithm 3).
    """
    starts = question.cohorts()
    first, mass = min(starts), np.array([question.sizes[question.starts == s].sum() for s in starts])
    size = question.starts.size
    every = np.zeros((size, first + question.window[1] + 1))
    total = np.full(size, mass.sum())
    for start in starts:
        mine, donors = question.starts == start, question.donors(start)
        use = question.outcome[:, : start + question.window[1] + 1]
        after = np.arange(start + question.window[0], start + question.window[1] + 1)
        chosen = mine | donors
        did = synthetic_did(use[chosen], mine[chosen], before=start, after=after, treated_weights=question.sizes[mine])
        signed = np.zeros((2, size))
        signed[0, mine], signed[1, donors] = question.sizes[mine], did.unit_weights
        left = signed.sum(1)[:, None] - signed
        with np.errstate(divide="ignore", invalid="ignore"):
            means = ((signed @ use)[:, None] - signed[:, :, None] * use) / left[:, :, None]
        gap = means[0] - means[1]
        path = gap - gap[:, :start] @ did.time_weights[:, None]
        every += np.where(left[0][:, None] > 0, left[0][:, None] * path[:, start - first :], 0.0)
        total -= np.where(mine, question.sizes, 0.0)
    every /= total[:, None]
    return np.asarray(np.sqrt((size - 1) / size) * (every - every.mean(0)))
