"""Do promoters' balances rise and detractors' fall? Paths of money around answers, which describe and never explain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.census import Census
from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, Step
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models.answer_paths import (
    Categories,
    Month,
    PathSums,
    categories_of,
    mean_of_two,
    means_by_segment,
    path_line,
    path_sums,
    whole_strata,
)
from rox.models.answer_table import AnswerTable, answer_table
from rox.models.evidence import FEWEST_CUSTOMERS, answering_share, demoted_to
from rox.models.population import population_of, shown
from rox.numerics.jackknife import Jackknife, jackknife

Floats = NDArray[np.float64]

USUAL_HORIZON = 12
CLEAR, PAST_SHARE = 2.58, 0.25
"""The gap that opened before the answer may be neither so clear nor this share of the one that opened after it."""
CAPPED = 0.01
"""Share of ratios at the cap from which it is said."""
LINES = ("trajectory", "crude", "survivors", "two_answers")


@dataclass(frozen=True, kw_only=True)
class Trajectories:
    """Follow the money of promoters, passives and detractors around their answers.

    Estimand: the mean, by category of the answer, of money some months from the first month of money after it as a
    ratio to the money of that month, had each category the mix of segment, money and tenure of all respondents; leavers
    count as zero. It compares people and is never priced: those whose money was rising anyway may answer highly. The
    months before the answer, which no answer can have moved, are therefore part of it.

    Means by category and stratum, standardised to the strata of all answers by company weight (the g-formula of Robins
    1986 with saturated strata); strata without all three categories are left out. Errors by leaving out one of 64
    buckets of customers at a time. Categories are those of NPS, or thirds of the declared scale of another score. Where
    no month before is asked for or known, nothing is said about the past but that it was not tested.

    Attributes:
        before: Months before the first month of money after the answer.
        after: Months after it.
        adjust: Whether to standardise; if not, plain weighted means.
        cap: Largest ratio that counts.
        draws: Number of draws.

    Example:
        >>> from rox.testing import sample_linked
        >>> effect = Trajectories(before=1, after=3).fit(sample_linked(seed=1), rng=1)
        >>> effect.groups, effect.path_months
        (('detractor', 'passive', 'promoter'), (-1, 0, 1, 2, 3))
    """

    before: int = 12
    after: int = 24
    adjust: bool = True
    cap: float = 5.0
    draws: int = 4000

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Follow the money.

        Raises:
            DataError: A panel that cannot be used; LeakageError when a score is not older than its outcome.
            FitError: Choices or a scale that do not fit, categories with too few customers, or too short a panel.
        """
        self._require_choices(data)
        scale, need = categories_of(data), max(FEWEST_CUSTOMERS, data.study.about.min_cell)
        months = [h for h in range(-self.before, self.after + 1) if h]
        answers = answer_table(data, age=data.lag, offsets=[data.lag + h for h in months])
        holding = answers.where(lambda table: table.outcome > 0)
        places = {h: Month(away=h, lag=data.lag, last=answers.people.last) for h in months}
        sizes = _sizes(holding, list(places.values()), scale, self.cap)
        used = _enough(sizes, need, scale)
        sums = path_sums(holding, [places[h] for h in used], scale, self.cap, means_by_segment(data))
        lines = {name: path_line(sums, name, adjust=self.adjust) for name in LINES}
        main = lines["trajectory"]
        if not np.isfinite(main.estimate).all():
            raise FitError(
                "In some month no stratum of segment, money and tenure has answers of all three categories.",
                ["say adjust=False for plain means, ask for fewer months, or merge segments in the study"],
            )
        horizon = max(h for h in sums.months if h <= USUAL_HORIZON)
        path_months = tuple(sorted([0, *sums.months]))
        path = _drawn(main, path_months, self.draws, np.random.default_rng(rng))
        checks = (
            *data.checks,
            _past_check(main, sums.months, horizon),
            _dropped_check(months, sums.months, need),
            *((_strata_check(sums),) if self.adjust else ()),
            _capped_check(sizes, horizon, self.cap),
            _mixing_check(sums),
            answering_share(holding),
        )
        language, min_cell = data.study.language, data.study.about.min_cell
        tables = {
            name: _table(line, sizes.of(used, two=name == "two_answers"), used, scale, min_cell)
            for name, line in lines.items()
        } | {"past": _past_table(main, sizes, used, scale, min_cell)}
        return Effect(
            name="trajectories",
            estimand=Estimand(
                question=Question.TRAJECTORY,
                population=say("score.population.trajectories", language),
                treatment=say("score.treatment.trajectories", language),
                dose=Dose.CATEGORY,
                outcome=data.outcome,
                unit=Unit.RATIO,
                horizon=horizon,
                includes_exit=True,
                contrast="ratio",
            ),
            groups=scale.groups,
            draws=path[:, :, path_months.index(horizon)],
            shares=sums.weight.sum((0, 1)) / sums.weight.sum(),
            baseline=_baseline(data, answers.people, scale),
            grade=grade_after(Grade.D, checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *answers.steps, _money_step(answers, holding)),
            fingerprint=data.fingerprint,
            counts=holding.totals(),
            path=path,
            path_months=path_months,
            tables=tables,
        )

    def _require_choices(self, data: Linked) -> None:
        faults = [
            f"{name} is {value}; needed: {least} to 60 months"
            for name, value, least in (("before", self.before, 0), ("after", self.after, 1))
            if not least <= value <= 60
        ]
        if not self.cap > 1:
            faults.append(f"cap is {self.cap}; needed: a ratio above 1")
        if self.draws < 100:
            faults.append(f"draws is {self.draws}; at least 100 are needed")
        if data.study.outcomes[data.outcome].table == "answers":
            faults.append("money by month is needed; an amount beside the answers has no path")
        if faults:
            raise FitError("These choices do not fit the linked data.", faults)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sizes:
    """How many stand behind a month: customers by category, also by that of two answers, shape (3, h); capped (h,)."""

    months: tuple[int, ...]
    customers: Floats
    two_customers: Floats
    capped: Floats

    def of(self, months: Sequence[int], *, two: bool = False) -> Floats:
        """Return the customers of some months, shape (3, h)."""
        held = self.two_customers if two else self.customers
        return held[:, [self.months.index(month) for month in months]]


def _sizes(answers: AnswerTable, months: Sequence[Month], scale: Categories, cap: float) -> _Sizes:
    """Count different customers by category and month, and the share of ratios above the cap."""
    one = _counted(answers, months, scale, lambda table: table.score, cap)
    two = _counted(answers, months, scale, mean_of_two, cap)
    seen, above = (one.filter(like=f"{name}_").sum().to_numpy(dtype=float) for name in ("seen", "above"))
    return _Sizes(
        months=tuple(month.away for month in months),
        customers=one.filter(like="people_").to_numpy(dtype=float),
        two_customers=two.filter(like="people_").to_numpy(dtype=float),
        capped=above / np.maximum(seen, 1),
    )


def _counted(
    answers: AnswerTable, months: Sequence[Month], scale: Categories, value: Callable[[Any], Any], cap: float
) -> pd.DataFrame:
    """Count by category and month: different customers, answers, and those whose ratio is above the cap.

    Returns:
        One row per category and the columns ``people_0``, ``seen_0``, ``above_0``, … in the order of the months.
    """
    panel = answers.linked.panel
    panel = panel.mutate(rox_value=value(panel))
    panel = panel.mutate(rox_category=scale.code("rox_value")(panel))
    each: dict[str, Any] = {}
    for i, month in enumerate(months):
        seen = month.known(panel)
        each[f"seen_{i}"] = seen.cast("int64").sum()
        each[f"above_{i}"] = (seen & (month.ratio(panel) > cap)).cast("int64").sum()
    own = panel.group_by("customer", "rox_category").aggregate(**each)
    total = {name: own[name].cast("int64").sum() for name in each}
    total |= {f"people_{i}": (own[f"seen_{i}"] > 0).cast("int64").sum() for i in range(len(months))}
    found = answers.linked.fetch(own.group_by("rox_category").aggregate(**total)).set_index("rox_category")
    return found.reindex(range(len(scale.groups))).fillna(0)


def _enough(sizes: _Sizes, need: int, scale: Categories) -> tuple[int, ...]:
    """Return the months in which every category has enough customers."""
    enough = tuple(month for month, least in zip(sizes.months, sizes.customers.min(0), strict=True) if least >= need)
    if not any(0 < month <= USUAL_HORIZON for month in enough):
        most = sizes.customers[:, [month > 0 for month in sizes.months]].max(1)
        raise FitError(
            f"No month after the answers has {need} customers of every category.",
            [f"{name}: at most {int(n)} customers" for name, n in zip(scale.groups, most, strict=True)],
        )
    return enough


def _drawn(line: Jackknife, months: Sequence[int], size: int, rng: np.random.Generator) -> Floats:
    """Draw paths with the jackknife's covariance and Student's t tails, shape (draw, category, month); 1 at month 0."""
    gap = line.replicates - line.replicates.mean(0)
    buckets = len(gap)
    noise = np.sqrt((buckets - 1) / buckets) * rng.standard_normal((size, buckets)) @ gap
    tails = np.sqrt(line.df / rng.chisquare(line.df, size))
    paths = (line.estimate + noise * tails[:, None]).reshape(size, 3, -1)
    return np.insert(paths, list(months).index(0), 1.0, axis=2)


def _past_check(line: Jackknife, months: Sequence[int], horizon: int) -> Check:
    """Compare the gap between best and worst that opened before the answer with the one that opens after (ROX-A04)."""
    both = [month for month in months if 0 < month <= horizon and -month in months]
    if not both:
        return Check(code="ROX-A31", verdict=Verdict.NOTE)
    reach = both[-1]
    early, late = (_gap(line, months, month) for month in (-reach, reach))
    z = float(early.estimate[0] / early.se[0]) if early.se[0] > 0 else 0.0
    share = float(early.estimate[0] / abs(late.estimate[0])) if late.estimate[0] else np.inf
    rising = bool(early.estimate[0] > 0 and (z > CLEAR or share > PAST_SHARE))
    values = {
        "months": reach,
        "early": 100 * float(early.estimate[0]),
        "late": 100 * float(late.estimate[0]),
        "z": z,
    }
    return demoted_to(Grade.D, "ROX-A04", rising, values)


def _gap(line: Jackknife, months: Sequence[int], month: int) -> Jackknife:
    """Return by how much more the money of the best grew than that of the worst between a month and the answer.

    Shape (1,), as a share of the money at the answer; before it growth is what the month lacks.
    """
    place, sign = months.index(month), 1.0 if month > 0 else -1.0

    def gap(values: Floats) -> Floats:
        ratio = values.reshape(*values.shape[:-1], 3, len(months))[..., place]
        return np.asarray(sign * (ratio[..., 2:] - ratio[..., :1]))

    return jackknife(gap(line.estimate), gap(line.replicates))


def _dropped_check(asked: Sequence[int], used: Sequence[int], need: int) -> Check:
    """Name the months that too few answers have (ROX-A32)."""
    dropped = [month for month in asked if month not in used]
    if not dropped:
        return Check(code="ROX-A32", verdict=Verdict.PASS, values={"need": need})
    return Check(code="ROX-A32", verdict=Verdict.NOTE, values={"months": _runs(dropped), "need": need})


def _runs(months: Sequence[int]) -> str:
    """Write months as ``−12 … −10, 24``."""
    runs: list[list[int]] = []
    for month in sorted(months):
        if runs and month == runs[-1][-1] + 1:
            runs[-1].append(month)
        else:
            runs.append([month])
    ends = [f"{run[0]}" if len(run) == 1 else f"{run[0]} … {run[-1]}" for run in runs]
    return ", ".join(ends).replace("-", "−")


def _strata_check(sums: PathSums) -> Check:
    """Say which share of the answers lies in strata that lack a category (ROX-A33)."""
    out = np.asarray(~whole_strata(sums.seen.sum(0)).all(axis=1), dtype=bool)
    share = float(sums.weight[:, out].sum() / sums.weight.sum())
    values = {"strata": int(out.sum()), "of": out.size, "answers": int(sums.answers[:, out].sum()), "p": 100 * share}
    return Check(code="ROX-A33", verdict=Verdict.NOTE if out.any() else Verdict.PASS, values=values)


def _capped_check(sizes: _Sizes, horizon: int, cap: float) -> Check:
    """Say how many ratios were cut (ROX-A34)."""
    share = float(sizes.capped[sizes.months.index(horizon)])
    values = {"p": 100 * share, "cap": cap, "months": horizon}
    return Check(code="ROX-A34", verdict=Verdict.NOTE if share > CAPPED else Verdict.PASS, values=values)


def _mixing_check(sums: PathSums) -> Check:
    """Say how many answers fall into another category than the answer before (ROX-A30)."""
    moved = sums.moved.sum(0)
    if not (moved.sum(1) > 0).all():
        return Check(code="ROX-A35", verdict=Verdict.NOTE)
    low, middle, high = 100 * (1 - np.diag(moved) / moved.sum(1))
    return Check(
        code="ROX-A30", verdict=Verdict.NOTE, values={"low": float(low), "middle": float(middle), "high": float(high)}
    )


def _money_step(answers: AnswerTable, holding: AnswerTable) -> Step:
    kept = holding.totals()
    return Step(
        name="money",
        rows=kept["rows"],
        lost=answers.totals()["rows"] - kept["rows"],
        customers=kept["customers"],
        reason="score.step.money",
    )


def _baseline(data: Linked, people: Census, scale: Categories) -> pd.DataFrame:
    """Describe the company's customers by the category of the answer in use, in the last month that has answers."""

    def last_month(table: Any) -> Any:
        return table.score.notnull().ifelse(table.month, -1).max().over(group_by="customer")

    def leaving(table: Any) -> Any:
        inside = (table.exit_month <= people.last).fill_null(False) & table.voluntary.fill_null(False)
        return inside & (table.month == table.rox_last_month)

    cells = data.cells(
        by={"category": scale.code("score"), "month": "month"},
        sums={"weights": "weight", "money": "weight*outcome", "exits": "weight*rox_leaving"},
        within={"rox_last_month": last_month, "rox_leaving": leaving},
        known=("score",),
    ).values()
    total = cells.groupby("category")[["weights", "exits"]].sum()
    now = cells[cells["month"] == cells["month"].max()].groupby("category")[["weights", "money"]].sum()
    table = pd.DataFrame(
        {"customers": now["weights"], "money": now["money"], "months": total["weights"], "exits": total["exits"]}
    ).reindex(range(len(scale.groups)))
    table.index = pd.Index(scale.groups)
    return population_of(replace(people, segments=table), scale.groups).baseline


def _table(line: Jackknife, people: Floats, months: Sequence[int], scale: Categories, min_cell: int) -> pd.DataFrame:
    """List a line by category and month with 90% intervals; rows of fewer than ``min_cell`` customers are blank."""
    columns = {"estimate": line.estimate, "low": line.low, "high": line.high, "customers": people.ravel()}
    return _listed(columns, months, scale.groups, min_cell)


def _past_table(
    line: Jackknife, sizes: _Sizes, months: Sequence[int], scale: Categories, min_cell: int
) -> pd.DataFrame:
    """List by how much money grew from a month before the answer to it, as a share of the money at the answer."""
    past = [month for month in months if month < 0]
    place = [list(months).index(month) for month in past]

    def growth(values: Floats) -> Floats:
        ratio = values.reshape(*values.shape[:-1], 3, len(months))[..., place]
        more = ratio[..., :1, :] - ratio[..., 2:, :]
        return np.concatenate([1 - ratio, more], axis=-2).reshape(*values.shape[:-1], 4 * len(past))

    found = jackknife(growth(line.estimate), growth(line.replicates))
    people = sizes.of(past)
    people = np.vstack([people, people[[0, 2]].min(0)])
    columns = {"estimate": found.estimate, "low": found.low, "high": found.high, "customers": people.ravel()}
    return _listed(columns, past, (*scale.groups, "difference"), min_cell)


def _listed(columns: Mapping[str, Floats], months: Sequence[int], groups: Sequence[str], min_cell: int) -> pd.DataFrame:
    group, month = np.repeat(groups, len(months)), np.tile(np.array(months, dtype=int), len(groups))
    index = pd.Index([f"{each} {when:+d}" for each, when in zip(group, month, strict=True)], name="row", dtype=object)
    table = pd.DataFrame(dict(columns), index=index)
    out = shown(table, table["customers"], min_cell)
    out.insert(0, "category", group.astype(object))
    out.insert(1, "month", month)
    return out
