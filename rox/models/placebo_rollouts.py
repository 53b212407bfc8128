"""Roll-outs that never happened, in the months before any that did: what a design could tell effect from chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.population import Population, population_of
from rox.models.quiet_months import NO_START, QuietCohort, QuietMonths, places_of, quiet_cohorts, quiet_months
from rox.models.rollout_outcomes import score_effect
from rox.numerics.did import group_time_att

Floats = NDArray[np.float64]
LEVEL, POWER = 0.05, 0.8
CRITICAL = float(stats.norm.ppf(1 - LEVEL / 2))
DETECTABLE = CRITICAL + float(stats.norm.ppf(POWER))
"""Multiple of the standard error that a two-sided test at 5% finds with 80% probability."""
ALL, MONEY, SCORE = "all", "money", "score"


@dataclass(frozen=True, kw_only=True, eq=False)
class PlaceboRollouts:
    """Estimates of roll-outs that did nothing, and of the same roll-outs with a known effect. r = replications.

    Columns are the segments, ``all`` (the company's customers counting equally) and ``money`` (counting with what they
    hold).

    Attributes:
        columns: Names of the columns.
        sizes: Places per start.
        pool: Places in the design, those that start and those that do not.
        dates: Months of the starts after the first.
        quiet: The months used.
        history: Months before the first fake start in which customers were there; fewest and most over fake starts.
        estimates: Shape (r, columns): where nothing happened.
        errors: Shape (r, columns): the standard errors the estimator reports.
        lifted: Shape (r, columns): with the effect put in; empty when none was asked for.
        lifted_errors: Shape (r, columns).
        effect: The effect put in, a share of money.
        scores: Shape (r,): effects on the mean score of those who answer, missing where answers are too few.
        score_errors: Shape (r,): missing where several starts are combined.
        failed: Draws that left a segment without customers to compare.
        individual_se: Standard error of a lot drawn among the same customers, half and half, by ``columns``.
        population: Whose effect it is.
    """

    columns: tuple[str, ...]
    sizes: tuple[int, ...]
    pool: int
    dates: tuple[int, ...]
    quiet: QuietMonths
    history: tuple[int, int]
    estimates: Floats
    errors: Floats
    lifted: Floats
    lifted_errors: Floats
    effect: float | None
    scores: Floats
    score_errors: Floats
    failed: int
    individual_se: Floats
    population: Population

    @property
    def replications(self) -> int:
        """Placebo roll-outs that gave an estimate."""
        return len(self.estimates)

    def table(self) -> pd.DataFrame:
        """Tabulate what the placebos say of the design.

        Returns:
            One row per column and ``score``: ``se`` (standard deviation of placebo estimates) with its Monte-Carlo
            error ``se_mc``; ``detectable`` and ``detectable_mc``; ``reported`` (median standard error that the
            estimator gives itself); ``mean`` of the placebos; ``size`` of the nominal 5% test and ``size_mc``;
            ``found`` (mean estimate with the effect put in) and ``power`` (how often the test finds it), missing where
            no effect was put in. The Monte-Carlo errors are those of drawing places and dates, not of having one
            history only.
        """
        return pd.DataFrame(self.rows().values(), index=pd.Index([*self.columns, SCORE], name="group"))

    def rows(self) -> dict[str, dict[str, float]]:
        """Return the rows of ``table`` by name."""
        rows = {name: self._row(self.estimates[:, k], self.errors[:, k], k) for k, name in enumerate(self.columns)}
        return rows | {SCORE: self._row(self.scores, self.score_errors, None)}

    def _row(self, estimates: Floats, errors: Floats, column: int | None) -> dict[str, float]:
        known = estimates[np.isfinite(estimates)]
        se, se_mc = spread(known)
        tested = np.isfinite(estimates) & (errors > 0)
        size = float((np.abs(estimates[tested]) > CRITICAL * errors[tested]).mean()) if tested.any() else np.nan
        row = {
            "se": se,
            "se_mc": se_mc,
            "detectable": DETECTABLE * se,
            "detectable_mc": DETECTABLE * se_mc,
            "reported": float(np.median(errors[tested])) if tested.any() else np.nan,
            "mean": float(known.mean()) if known.size else np.nan,
            "size": size,
            "size_mc": float(np.sqrt(LEVEL * (1 - LEVEL) / tested.sum())) if tested.any() else np.nan,
            "found": np.nan,
            "power": np.nan,
        }
        if column is not None and self.lifted.size:
            lifted, error = self.lifted[:, column], self.lifted_errors[:, column]
            row["found"] = float(lifted.mean())
            row["power"] = float((np.abs(lifted) > CRITICAL * error).mean())
        return row


def spread(values: Floats) -> tuple[float, float]:
    """Return the standard deviation of some draws and its Monte-Carlo error, whatever their kurtosis.

    The variance of a sample variance is (m₄ − s⁴(n − 3)/(n − 1))/n; missing below three draws.
    """
    n = values.size
    if n < 3:
        return float("nan"), float("nan")
    variance = float(values.var(ddof=1))
    fourth = float(((values - values.mean()) ** 4).mean())
    noise = max(fourth - variance**2 * (n - 3) / (n - 1), 0.0) / n
    return float(np.sqrt(variance)), float(np.sqrt(noise) / (2 * np.sqrt(variance))) if variance > 0 else 0.0


def stage_effect(
    cohort: QuietCohort, outcomes: Floats, starts: Floats, start: float, window: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Estimate the window's effect of one start (Callaway & Sant'Anna 2021), as ``StaggeredUplift`` does.

    Args:
        cohort: The places.
        outcomes: Shape (u, t, k): means by place, month and column, columns in the order of segments, repeated.
        starts: Shape (u,): month of the start; infinite if never, missing for places that are left out.
        start: The start whose effect is wanted.
        window: First and last month after it that are averaged.

    Returns:
        The effect, shape (k,), missing where nobody can be compared, and the influence of places, shape (u, k).
    """
    times = np.array([start - 1, *range(int(start) + window[0], int(start) + window[1] + 1)])
    out = np.isnan(starts)
    weights = np.where(out[:, None], 0.0, np.tile(cohort.sizes, outcomes.shape[2] // cohort.sizes.shape[1]))
    cells = group_time_att(
        outcomes[:, (times - cohort.months[0]).astype(int)],
        np.where(out, NO_START, starts),
        times=times,
        weights=weights,
        control="notyet",
        base="universal",
        small_sample=True,
    )
    mine = (cells.groups == start) & (cells.event_times >= window[0])
    if mine.sum() <= window[1] - window[0]:
        return np.full(outcomes.shape[2], np.nan), np.zeros((len(starts), outcomes.shape[2]))
    return cells.att[mine].mean(0), cells.influence[:, mine].mean(1)


def placebo_rollouts(
    data: Linked,
    *,
    places: Sequence[int],
    dates: Sequence[int] = (0,),
    window: tuple[int, int] = (6, 11),
    pool: int | None = None,
    replications: int = 200,
    base: int = 3,
    history: int = 12,
    cap: float = 3.0,
    rng: int | np.random.Generator | None = None,
    initiative_effect: float | None = None,
    scores: bool = True,
    cohorts: Sequence[QuietCohort] = (),
    quiet: QuietMonths | None = None,
    population: Population | None = None,
) -> PlaceboRollouts:
    """Try a roll-out again and again where nothing was rolled out, with the estimator that would judge it.

    Each replication draws a fake first start and deals the starts to places by lot; the cohort is frozen before the
    fake start, money is a capped ratio to one's own, and group-time effects are averaged over the window. The spread
    of what comes out is the standard error of the design, with the tails and the drift that formulas leave out
    (Bertrand, Duflo & Mullainathan 2004). It assumes that the time to come will be like the months used.

    Args:
        data: The linked panel; of one that holds roll-outs only the months before the first of them are used.
        places: Places per start.
        dates: Months of the starts after the first; begins with 0.
        window: First and last month after the start that are averaged.
        pool: Places in the design, those that start and those that do not; all by default.
        replications: How many placebo roll-outs.
        base: Months whose mean is a customer's own baseline.
        history: Months a customer should have been there before the first start.
        cap: Largest ratio to the own baseline that counts.
        rng: Seed or generator.
        initiative_effect: Share by which the money of started places is raised, to see how often that is found.
        scores: Whether to estimate effects on the mean score, too.
        cohorts: Those of :func:`rox.models.quiet_months.quiet_cohorts`, when they are there already.
        quiet: The months they are from.
        population: Whose effect it is, when it is known already.

    Raises:
        DataError: A panel without places, or without money by month.
        FitError: A design that cannot be, no month before any initiative, or too few customers in most draws.
    """
    generator = np.random.default_rng(rng)
    if not cohorts:
        _require(places, dates, pool, len(places_of(data)))
    quiet = quiet or quiet_months(data, dates=dates, window=window, base=base, history=history)
    cohorts = tuple(cohorts) or quiet_cohorts(
        data, quiet, base=base, history=history, cap=cap, effect=initiative_effect
    )
    groups, most = cohorts[0].groups, min(len(each.units) for each in cohorts)
    pool = most if pool is None else pool
    _require(places, dates, pool, most)
    people = population or population_of(data.census(), groups)
    held = people.baseline["customers"] * people.baseline["money"].fillna(0.0)
    mix = np.column_stack([np.eye(len(groups)), people.shares, held / held.sum() if held.sum() > 0 else people.shares])
    found, failed = [], 0
    for _ in range(replications):
        cohort = cohorts[generator.integers(len(cohorts))]
        dealt = _dealt(len(cohort.units), places, pool, generator)
        one = _replication(cohort, dealt, dates, quiet, mix)
        if one is None:
            failed += 1
            continue
        found.append((*one, *(_score(cohort, dealt, dates, quiet) if scores else (np.nan, np.nan))))
    if len(found) < replications / 2:
        raise FitError(
            "Most draws leave a segment without customers to compare.",
            [
                f"{failed} of {replications} draws of {sum(places)} places among {pool} failed",
                "plan more places, or merge segments with few customers",
            ],
        )
    estimates, errors, lifted, lifted_errors, score, score_errors = (
        np.array([each[i] for each in found]) for i in range(6)
    )
    asked = initiative_effect is not None
    return PlaceboRollouts(
        columns=(*groups, ALL, MONEY),
        sizes=tuple(places),
        pool=pool,
        dates=tuple(dates),
        quiet=quiet,
        history=(min(each.history for each in cohorts), max(each.history for each in cohorts)),
        estimates=estimates,
        errors=errors,
        lifted=lifted if asked else np.empty((0, mix.shape[1])),
        lifted_errors=lifted_errors if asked else np.empty((0, mix.shape[1])),
        effect=initiative_effect,
        scores=score,
        score_errors=score_errors,
        failed=failed,
        individual_se=_individual(cohorts, quiet.window, mix),
        population=people,
    )


def _require(places: Sequence[int], dates: Sequence[int], pool: int | None, most: int) -> None:
    pool = most if pool is None else pool
    faults = []
    if not places or min(places) < 1 or len(places) != len(dates):
        faults.append(
            f"places per start are {tuple(places)} for starts at {tuple(dates)}; needed: one or more for each"
        )
    if not dates or dates[0] != 0 or any(b <= a for a, b in pairwise(dates)):
        faults.append(f"dates are {tuple(dates)}; needed: months after the first start, rising from 0")
    if not sum(places) <= pool <= most:
        faults.append(f"{sum(places)} places start among {pool}; the months before any initiative have {most}")
    if sum(places) == pool and len(places) == 1:
        faults.append("all places start at once; needed: a place that starts later or never")
    if faults:
        raise FitError("This roll-out cannot be tried.", faults)


def _dealt(units: int, places: Sequence[int], pool: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal starts to places by lot: number of the start, the number of starts for none, −1 if not in the design."""
    dealt = np.full(units, -1, dtype=np.int64)
    stage = np.repeat(np.arange(len(places) + 1), [*places, pool - sum(places)])
    dealt[rng.permutation(units)[:pool]] = stage
    return dealt


def _stages(
    cohort: QuietCohort, dealt: NDArray[np.int64], dates: Sequence[int], quiet: QuietMonths
) -> list[tuple[float, Floats]]:
    """List the fake start of every stage, and the starts of all places as that stage sees them.

    Places that started before the stage are left out: they are treated already.
    """
    found = []
    for stage, date in enumerate(dates):
        begin = cohort.start + (0 if quiet.laid_over else date)
        later = np.append(begin + np.asarray(dates, dtype=float) - date, NO_START)
        starts = np.where(dealt >= stage, later[np.maximum(dealt, 0)], np.nan)
        found.append((float(begin), starts))
    return found


def _replication(
    cohort: QuietCohort, dealt: NDArray[np.int64], dates: Sequence[int], quiet: QuietMonths, mix: Floats
) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Estimate one placebo roll-out without and with the effect; None where a segment has nobody to compare."""
    k = len(cohort.groups)
    total, pushed, mass = np.zeros(2 * k), np.zeros((len(cohort.units), 2 * k)), np.zeros(2 * k)
    for begin, starts in _stages(cohort, dealt, dates, quiet):
        mine = starts == begin
        if not (starts > begin + quiet.window[1]).any():
            continue
        raised = np.where(mine[:, None, None] & (cohort.months >= begin)[None, :, None], cohort.lifted, cohort.ratio)
        outcomes = np.concatenate([cohort.ratio, raised], axis=2)
        effect, influence = stage_effect(cohort, outcomes, starts, begin, quiet.window)
        size = np.tile(cohort.sizes[mine].sum(0), 2)
        effect = np.where(size > 0, effect, 0.0)
        total, pushed, mass = total + size * effect, pushed + size * influence, mass + size
    if not (mass > 0).all() or not np.isfinite(total).all():
        return None
    both, psi = total / mass, pushed / mass
    plain, lifted = both[:k] @ mix, both[k:] @ mix
    errors = [np.sqrt(((psi[:, part] @ mix) ** 2).sum(0)) for part in (slice(k), slice(k, None))]
    return plain, errors[0], lifted, errors[1]


def _score(
    cohort: QuietCohort, dealt: NDArray[np.int64], dates: Sequence[int], quiet: QuietMonths
) -> tuple[float, float]:
    """Estimate one placebo effect on the mean score, start by start; the error is known for a single start only."""
    total, mass, error = 0.0, 0.0, np.nan
    for begin, starts in _stages(cohort, dealt, dates, quiet):
        mine, free = starts == begin, starts > begin + quiet.window[1]
        if not free.any():
            continue
        kept = cohort.rollout.scores[(mine | free)[cohort.rollout.scores["unit"].to_numpy()]]
        one = replace(cohort.rollout, starts=np.where(mine, begin, NO_START), scores=kept)
        table, _ = score_effect(one, window=quiet.window, control="not_yet_treated")
        if table.empty:
            return np.nan, np.nan
        effect, error = table[["score", "score_se"]].to_numpy(dtype=float)[-1]
        size = float(cohort.sizes[mine].sum())
        total, mass = total + size * effect, mass + size
    return (total / mass, float(error) if len(dates) == 1 else np.nan) if mass else (np.nan, np.nan)


def _individual(cohorts: Sequence[QuietCohort], window: tuple[int, int], mix: Floats) -> Floats:
    """Return the standard error of a lot among customers, by the spread of their ratios within segments."""
    found = []
    for each in cohorts:
        at = int(each.start - each.months[0])
        variance = each.variance[at + window[0] : at + window[1] + 1].mean(0)
        found.append(4 * variance / each.sizes.sum(0))
    return np.asarray(np.sqrt(np.mean(found, axis=0) @ mix**2))
