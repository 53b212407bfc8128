"""What a roll-out did to experience: the score of everybody, told from the answers of those who gave one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.errors import FitError
from rox.models.parallel_trends import SELECTION_WINDOW
from rox.models.rollout import Rollout
from rox.models.rollout_att import Control, RolloutATT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Reading = Literal["within", "respondents", "reweighted"]
READINGS: tuple[Reading, ...] = ("within", "respondents", "reweighted")
SPAN = 3
"""Months that are read together, counted from each start."""
FEWEST_ANSWERS = 30
"""Answers after the start that each side of the comparison needs, over all segments."""
CLIP = 5.0
"""Largest weight of an answer."""
BETWEEN = 0.6
"""How far a segment's gain of score is expected to lie from that of all, as a share of it."""
LEAST_OF_ALL, MOST_OF_ALL = 0.25, 4.0
"""Bounds of a segment's gain as a share of that of all."""
MONEY_BINS = 3
LOW, HIGH = 6.5, 8.5
"""Borders of the categories of an earlier answer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CohortAnswers:
    """Answers of a frozen cohort. m = answers, n = customers.

    Attributes:
        who: Shape (m,): position of the customer in the cohort.
        month: Shape (m,): month of the answer.
        score: Shape (m,).
        held: Shape (n,): money before the first start.
        money: Shape (n,): third of the segment by that money.
        rows: The rows of the panel behind the answers.
    """

    who: Ints
    month: Ints
    score: Floats
    held: Floats
    money: Ints
    rows: pd.DataFrame


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreGain:
    """Gain of score, averaged over the time that the money of the window has been exposed to it.

    s = segments, u = places.

    Attributes:
        overall: All customers of started places together.
        overall_influence: Shape (u,).
        estimate: Shape (s,): by segment, drawn towards ``overall`` where a segment has few answers.
        influence: Shape (u, s).
        own: Shape (s,): by segment as measured, missing without answers on both sides.
        own_se: Shape (s,).
        answers: Shape (s,): customers of started places whose answers after the start are used.
        path: By months since the start over all: ``month``, ``gain``, ``se``.
    """

    overall: float
    overall_influence: Floats
    estimate: Floats
    influence: Floats
    own: Floats
    own_se: Floats
    answers: Ints
    path: pd.DataFrame

    @property
    def se(self) -> float:
        """Standard error of ``overall``."""
        return float(np.sqrt((self.overall_influence**2).sum()))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Side:
    """Mean of some answers, and the influence of each place on it, shape (u,)."""

    mean: float
    influence: Floats

    def less(self, other: _Side) -> _Side:
        return _Side(mean=self.mean - other.mean, influence=self.influence - other.influence)


def cohort_answers(cohort: Rollout, *, base: int) -> CohortAnswers:
    """Find the answers of a cohort's customers, and how much money they had before the first start.

    Args:
        cohort: The cohort.
        base: Months before the first start whose mean is a customer's own baseline, as the cohort was frozen with.

    Raises:
        FitError: The cohort was frozen with another base.
    """
    panel, begin = cohort.panel, cohort.first_start
    placed = panel["unit"].isin(cohort.units) & panel["segment"].isin(cohort.groups)
    before = panel[placed & (panel["month"] >= begin - cohort.history) & (panel["month"] < begin)]
    before = before[~(before["exit_month"] < begin)]
    present = before.groupby("customer")["month"].nunique() == cohort.history
    own = before[before["month"] >= begin - base].groupby("customer")["outcome"].mean()
    own = own[(own > 0) & present.reindex(own.index)].sort_index()
    if len(own) != len(cohort.unit):
        raise FitError("The customers of the cohort are not known.", [f"freeze it with base={base} months"])
    customers = own.index.to_numpy()
    rank = own.groupby(cohort.group).rank(pct=True).to_numpy(dtype=float)
    mine = panel[panel["score"].notna() & (panel["score_age"] == 1) & panel["customer"].isin(customers)]
    return CohortAnswers(
        who=np.searchsorted(customers, mine["customer"]).astype(np.int64),
        month=mine["month"].to_numpy(dtype=np.int64) - 1,
        score=mine["score"].to_numpy(dtype=float),
        held=own.to_numpy(dtype=float),
        money=np.minimum(rank * MONEY_BINS, MONEY_BINS - 1).astype(np.int64),
        rows=mine,
    )


def score_gain(
    cohort: Rollout, att: RolloutATT, answers: CohortAnswers, *, reading: Reading, control: Control
) -> ScoreGain:
    """Estimate the gain of score of a roll-out, weighted over starts and segments as its effect on money.

    Money of a month has been exposed to the scores of all months since the start, so the gain is averaged from the
    start to each month of the window, and these over the window. Between the months in which answers are given it runs
    along straight lines, from zero in the month before the start.

    A better experience changes who answers: extremes answer more than the indifferent, so the mean of those who answer
    moves further than that of all. ``within`` compares a customer's answers after the start with the same customer's
    earlier ones, and these changes between places; who answered before is settled before the start, and what moves a
    customer to answer is largely lasting and cancels. ``respondents`` compares all answers, ``reweighted`` weighs them
    to the cohort by segment, money and earlier answer, which does not help where the answer depends on what is felt
    now (Little & Rubin 2019, chapter 15). Places enter with the answers they gave; deviations are scaled up for few
    places (HC2).

    Args:
        cohort: The cohort.
        att: The effect on money, which says what starts count and through which window.
        answers: Its answers.
        reading: How the gain is told from answers.
        control: Places a start is compared with.

    Raises:
        FitError: Too few answers before and after the start, on either side.
    """
    k = len(cohort.groups)
    total, mass = np.zeros(k + 1), np.zeros(k + 1)
    pushed, paths, used = np.zeros((len(cohort.units), k + 1)), [], np.zeros(k, np.int64)
    for start in att.cohorts:
        size = np.append(cohort.sizes[cohort.starts == start].sum(0), cohort.sizes[cohort.starts == start].sum())
        sight = _Sight.of(cohort, answers, int(start), reading=reading, control=control, last=att.window_months[1])
        used += sight.customers(k)
        for column in range(k + 1):
            gain, influence, path = sight.gain(None if column == k else column, att.window_months)
            total[column], mass[column] = total[column] + size[column] * gain, mass[column] + size[column]
            pushed[:, column] += size[column] * influence
        paths.append(path.assign(size=size[k]))
    own, influence = total / mass, pushed / mass
    if not np.isfinite(own[k]):
        raise FitError(
            "Too few answers to say what the roll-out did to experience.",
            [
                f"needed: {FEWEST_ANSWERS} answers after the start on either side, of customers who answered before it",
                "StaggeredUplift needs no answers; or link a score that more customers give more than once",
            ],
        )
    return _drawn_in(own, influence, used, pd.concat(paths))


def _drawn_in(own: Floats, influence: Floats, used: Ints, paths: pd.DataFrame) -> ScoreGain:
    """Draw the segments' gains towards that of all by their own error, as if they lay around it (Morris 1983)."""
    overall, pushed = own[-1], influence[:, -1]
    apart = influence[:, :-1] - pushed[:, None]
    noise = (apart**2).sum(0)
    between = (BETWEEN * overall) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(np.isfinite(own[:-1]), between / (between + noise), 0.0)
    estimate = overall + weight * (np.where(np.isfinite(own[:-1]), own[:-1], overall) - overall)
    bounds = np.sort([LEAST_OF_ALL * overall, MOST_OF_ALL * overall])
    paths["weighted"], paths["weighted_se"] = paths["gain"] * paths["size"], (paths["se"] * paths["size"]) ** 2
    sums = paths.groupby("month")[["size", "weighted", "weighted_se"]].sum()
    path = pd.DataFrame(
        {
            "month": sums.index.astype(float),
            "gain": (sums["weighted"] / sums["size"]).to_numpy(),
            "se": (np.sqrt(sums["weighted_se"]) / sums["size"]).to_numpy(),
        }
    )
    return ScoreGain(
        overall=float(overall),
        overall_influence=pushed,
        estimate=np.clip(estimate, *bounds),
        influence=pushed[:, None] + weight * np.nan_to_num(apart),
        own=own[:-1],
        own_se=np.where(np.isfinite(own[:-1]), np.sqrt((influence[:, :-1] ** 2).sum(0)), np.nan),
        answers=used,
        path=path,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sight:
    """The answers as one start sees them. m = answers, n = customers.

    Attributes:
        cohort: The cohort.
        start: The month of the start.
        reading: How the gain is told.
        never: Whether only places that never start are compared with.
        who, month, score: Shape (m,), as of ``CohortAnswers``.
        place, group: Shape (m,): place and segment of the customer who answered.
        before: Shape (m,): answers that count as given before the start.
        earlier: Shape (n,): mean answer before the start, missing if none.
        cell: Shape (n,): segment, money and category of the mean earlier answer.
        last: Last month since the start that counts.
    """

    cohort: Rollout
    start: int
    reading: Reading
    never: bool
    who: Ints
    month: Ints
    score: Floats
    place: Ints
    group: Ints
    before: Bools
    earlier: Floats
    cell: Ints
    last: int

    @classmethod
    def of(
        cls, cohort: Rollout, answers: CohortAnswers, start: int, *, reading: Reading, control: Control, last: int
    ) -> _Sight:
        """Look from a start; where places were chosen, answers of the months they were chosen in do not count."""
        spare = 0 if cohort.assigned == "random" else SELECTION_WINDOW
        before, n = answers.month < start - spare, len(cohort.unit)
        count = np.bincount(answers.who[before], minlength=n)
        total = np.bincount(answers.who[before], weights=answers.score[before], minlength=n)
        earlier = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        category = np.select([count == 0, earlier < LOW, earlier < HIGH], [0, 1, 2], 3)
        return cls(
            cohort=cohort,
            start=start,
            reading=reading,
            never=control == "never_treated",
            who=answers.who,
            month=answers.month,
            score=answers.score,
            place=cohort.unit[answers.who],
            group=cohort.group[answers.who],
            before=before,
            earlier=earlier,
            cell=(cohort.group * MONEY_BINS + answers.money) * 4 + category,
            last=last,
        )

    def customers(self, groups: int) -> Ints:
        """Count the customers of started places, by segment, whose answers after the start are used."""
        after = (self.month >= self.start) & (self.month <= self.start + self.last) & self._usable
        mine = np.unique(self.who[after & (self.cohort.starts[self.place] == self.start)])
        return np.bincount(self.cohort.group[mine], minlength=groups).astype(np.int64)

    @property
    def _usable(self) -> Bools:
        known = np.isfinite(self.earlier[self.who])
        return known if self.reading == "within" else np.ones_like(known)

    def gain(self, segment: int | None, window: tuple[int, int]) -> tuple[float, Floats, pd.DataFrame]:
        """Return the mean gain over the exposure, the influence of places, and its path; missing where nobody answers.

        Args:
            segment: Which segment; all by default.
            window: First and last month since the start whose money counts.
        """
        mine = self._usable if segment is None else self._usable & (self.group == segment)
        found, months, answers = [], [], np.zeros(2)
        for first in range(0, self.last + 1, SPAN):
            end = min(first + SPAN - 1, self.last)
            now = mine & (self.month >= self.start + first) & (self.month <= self.start + end)
            started, compared = self.cohort.starts == self.start, self._compared(end)
            counts = [int((now & side[self.place]).sum()) for side in (started, compared)]
            if not any(counts) or (segment is None and not all(counts)):
                continue
            if not all(counts):
                return float("nan"), np.zeros(len(self.cohort.units)), pd.DataFrame()
            answers += counts
            found.append(self._change(now, started, segment).less(self._change(now, compared, segment)))
            months.append(float((self.month[now & started[self.place]] - self.start).mean()))
        if not found or (segment is None and answers.min() < FEWEST_ANSWERS):
            return float("nan"), np.zeros(len(self.cohort.units)), pd.DataFrame()
        weight = exposure(np.array(months), window)
        influence = np.column_stack([each.influence for each in found])
        gains = np.array([each.mean for each in found])
        path = pd.DataFrame({"month": np.round(months), "gain": gains, "se": np.sqrt((influence**2).sum(0))})
        return float(gains @ weight), influence @ weight, path

    def _compared(self, end: int) -> Bools:
        starts = self.cohort.starts
        return np.isinf(starts) if self.never else np.asarray(starts > self.start + end)

    def _change(self, now: Bools, side: Bools, segment: int | None) -> _Side:
        """Return the mean change of some answers of one side from those before the start."""
        after = now & side[self.place]
        if self.reading == "within":
            return self._mean(after, self.score - self.earlier[self.who], np.ones(self.who.size))
        before = self.before & side[self.place] & ((self.group == segment) | (segment is None))
        if not before.any():
            return _Side(mean=float("nan"), influence=np.zeros(side.size))
        weight = np.ones(self.who.size)
        if self.reading == "reweighted":
            weight[after] = self._weights(after, side, segment, self.cell)
            weight[before] = self._weights(before, side, segment, self.cell // 4)
        return self._mean(after, self.score, weight).less(self._mean(before, self.score, weight))

    def _weights(self, answers: Bools, side: Bools, segment: int | None, cell: Ints) -> Floats:
        """Weigh answers so that their cells have the shares that the cohort's customers of that side have."""
        people = side[self.cohort.unit] & ((self.cohort.group == segment) | (segment is None))
        cells = int(cell.max()) + 1
        share = np.bincount(cell[people], minlength=cells) / people.sum()
        given = np.bincount(cell[self.who[answers]], minlength=cells) / answers.sum()
        return np.asarray(np.minimum(share / np.where(given > 0, given, 1.0), CLIP)[cell[self.who[answers]]])

    def _mean(self, answers: Bools, values: Floats, weight: Floats) -> _Side:
        """Average values over answers; a place's influence is scaled up by its share (HC2)."""
        places = len(self.cohort.units)
        at, value, mass = self.place[answers], values[answers], weight[answers]
        mean = float(np.average(value, weights=mass))
        share = np.bincount(at, weights=mass, minlength=places) / mass.sum()
        away = np.bincount(at, weights=mass * (value - mean), minlength=places) / mass.sum()
        return _Side(mean=mean, influence=away / np.sqrt(np.where(share < 1 - 1e-9, 1 - share, 1.0)))


def exposure(months: Floats, window: tuple[int, int]) -> Floats:
    """Return the weight of each gain in the mean over the window of the mean gain since the start, shape (m,).

    Args:
        months: Shape (m,): months since the start in which the gains are read, increasing.
        window: First and last month since the start whose money counts.
    """
    since = np.arange(window[1] + 1)
    knots = np.concatenate([[-1.0], months])
    lines = np.stack([np.interp(since, knots, row) for row in np.eye(knots.size)])
    so_far = np.cumsum(lines, axis=1) / (since + 1)
    return np.asarray(so_far[1:, window[0] :].mean(1))


def lead_gain(cohort: Rollout, att: RolloutATT, answers: CohortAnswers, *, control: Control) -> tuple[float, float]:
    """Estimate the "gain" from the earlier to the later half of the months before the start, with its standard error.

    It takes customers who answered in both halves, and is zero where experience moved alike before the start.

    Returns:
        Estimate and standard error, missing where nobody answered in both halves on both sides.
    """
    total, mass, pushed = 0.0, 0.0, np.zeros(len(cohort.units))
    for start in att.cohorts:
        seen = answers.month[answers.month < start]
        middle = int(np.ceil((seen.min() + start) / 2)) if seen.size else int(start)
        sight = _Sight.of(cohort, answers, middle, reading="within", control=control, last=int(start) - middle - 1)
        sight = replace(sight, before=answers.month < middle)
        now = sight._usable & (answers.month >= middle) & (answers.month < start)
        treated, compared = cohort.starts == start, cohort.starts > start
        if not ((now & treated[sight.place]).any() and (now & compared[sight.place]).any()):
            continue
        gain = sight._change(now, treated, None).less(sight._change(now, compared, None))
        size = float(cohort.sizes[treated].sum())
        total, mass, pushed = total + size * gain.mean, mass + size, pushed + size * gain.influence
    if not mass:
        return float("nan"), float("nan")
    return total / mass, float(np.sqrt((pushed**2).sum())) / mass
