"""Two readings of what answers have to do with money, from growth and from levels: a bracket, and no interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.check import Check, Verdict
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.answer_table import AnswerTable, answer_table
from rox.models.answers import outcome_unit
from rox.models.evidence import usable_segments
from rox.models.growth_cells import PARTS, fit_levels, fit_segments, growth_cells, months_needed
from rox.models.hazard_cells import is_number
from rox.models.phrases import amount
from rox.models.population import Population, population_of, shown
from rox.models.reliability import reliability_of
from rox.numerics.jackknife import Jackknife, jackknife

Floats = NDArray[np.float64]

FEWEST = 200
"""Answers followed to the horizon that a segment's regressions need."""
LEAST_RELIABLE = 0.30
"""Share of what answers tell beside the rest that must be more than noise before anything is divided by it."""
CLEAR = 2.0
READINGS = ("growth", "growth_by_money", "level")


@dataclass(frozen=True, kw_only=True, eq=False)
class GrowthReadings:
    """The bracket [growth given the balance, levels], per score point.

    Neither end is an estimate of what a change would do, and the truth need not lie between: where experience is old
    news, money has already adjusted and growth shows little of the effect; levels show all of it together with whatever
    wealth and answers have in common.

    Attributes:
        horizon: Months of growth.
        currency: ISO code; empty where the outcome is a count.
        table: Rows ``growth``, ``growth_by_money``, ``level`` and each ``…_corrected`` for noise of answers; columns
            ``percent`` of money and ``money`` per customer, per score point, with ``_se``, ``_low``, ``_high`` (90%),
            and ``reliability``, what a corrected row was divided by.
        segments: Percent per score point by segment, with errors, answers and customers.
        levels: Where growth weighed by money and by customers differs clearly (ROX-A38), ``percent`` of growth per
            score point by level of money within the segment, 1 the least, with ``_se``, ``_low``, ``_high`` (90%).
        corrected: Whether the bracket is made of the corrected rows.
        notes: What else a reader must know.
    """

    horizon: int
    currency: str
    table: pd.DataFrame
    segments: pd.DataFrame
    levels: pd.DataFrame
    corrected: bool
    notes: tuple[Check, ...]

    def reading(self, name: str, column: str = "percent") -> float:
        """Return a number of the bracket, corrected if it is.

        Args:
            name: ``growth`` (the lower reading), ``growth_by_money`` or ``level`` (the upper reading).
            column: ``percent`` or ``money``.
        """
        return float(self.table[column].to_dict()[f"{name}_corrected" if self.corrected else name])

    def check(self) -> Check:
        """Say both readings, and that they are no interval (ROX-A01)."""
        values: dict[str, str | int | float] = {"months": self.horizon}
        for end, name in (("lower", "growth"), ("upper", "level")):
            values |= {end: self.reading(name), f"{end}_money": amount(self.reading(name, "money"), self.currency)}
        return Check(code="ROX-A01", verdict=Verdict.NOTE, values=values)

    def checks(self) -> tuple[Check, ...]:
        """Say both readings and everything that goes with them."""
        return (self.check(), *self.notes)


def growth_readings(
    data: Linked,
    *,
    horizon: int = 12,
    cap: float = 5.0,
    controls: Sequence[str] | None = None,
    rng: int | np.random.Generator | None = None,
) -> GrowthReadings:
    """Read money per score point from the growth that follows answers, and from levels beside them.

    The lower reading is a Poisson regression of the ratio of money ``horizon`` months after the answer's first month of
    money to the money of that month (leavers zero; Santos Silva & Tenreyro 2006) on the score, given month, bins of the
    money and of the growth of six months before, and bins of the controls; beside it the same of the money itself given
    its logarithm, which weighs customers by money. The upper reading is the slope of money on the score within segment,
    month and bins of the controls, as a share of the respondents' mean. Everything is fitted per segment from cells and
    weighted by the company's customers and what they hold. Corrected readings are divided by the conditional
    reliability 1 − noise / Var(score | the rest) (Carroll et al. 2006, section 3.4). Errors by leaving out one of 64
    buckets of customers at a time; those of the noise are added.

    Args:
        data: The linked panel.
        horizon: Months of growth.
        cap: Largest ratio that counts.
        controls: Columns to hold equal; default those the study names.
        rng: For the bootstrap of the noise.

    Raises:
        DataError: A panel that cannot be used; LeakageError when a score is not older than its outcome.
        FitError: Choices that do not fit the data, or no segment with enough answers.

    Example:
        >>> from rox.testing import sample_linked
        >>> found = growth_readings(sample_linked(customers=600, seed=1), horizon=6, rng=1)
        >>> found.check().code, bool(found.reading("growth") < found.reading("level"))
        ('ROX-A01', True)
    """
    names = tuple(data.controls if controls is None else controls)
    _require_choices(data, horizon, cap)
    answers = answer_table(data, age=data.lag, controls=names, offsets=months_needed(data, horizon))
    holding = answers.where(lambda table: table.outcome > 0)
    noise = reliability_of(answers, np.random.default_rng(rng))
    numeric = [name for name in names if is_number(answers.linked.panel, name)]
    cells = growth_cells(data, holding, horizon, cap, names, numeric)
    segments = usable_segments(holding, min_cell=data.study.about.min_cell)
    kept, thin = _followed(cells, segments.kept)
    people = population_of(answers.people, kept)
    found = fit_segments(cells, kept, [f"control_{name}" for name in names])
    spread = (0.0, np.inf) if noise is None else (float(noise.parts[0, 3]), float(noise.parts[1:, 3].std(ddof=1)))
    table, reliable = _table(found, people, *spread, is_known=noise is not None)
    corrected = noise is not None and min(reliable) >= LEAST_RELIABLE
    by_segment = _by_segment(found, kept, holding)
    weighing = _weight_check(found, people)
    levels = pd.DataFrame()
    if weighing.verdict is Verdict.NOTE:
        levels = _by_level(cells, kept, [f"control_{name}" for name in names], data.study.about.min_cell)
    currency = outcome_unit(data)[1]
    return GrowthReadings(
        horizon=horizon,
        currency=currency,
        table=table,
        segments=shown(by_segment, by_segment["customers"], data.study.about.min_cell),
        levels=levels,
        corrected=corrected,
        notes=(
            *segments.checks[:1],
            _thin_check(thin, horizon),
            _noise_check(table, reliable, currency, is_known=noise is not None),
            weighing,
        ),
    )


def _require_choices(data: Linked, horizon: int, cap: float) -> None:
    faults = []
    if horizon < 1:
        faults.append(f"horizon is {horizon}; at least 1 month is needed")
    if not cap > 1:
        faults.append(f"cap is {cap}; needed: a ratio above 1")
    if data.study.outcomes[data.outcome].table == "answers":
        faults.append("money by month is needed; an amount beside the answers has no growth")
    if faults:
        raise FitError("These choices do not fit the linked data.", faults)


def _followed(cells: pd.DataFrame, segments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part the segments into those with enough answers followed to the horizon, and the others.

    Raises:
        FitError: None has.
    """
    counts = cells.groupby("segment")["followed"].sum()
    enough = tuple(name for name in segments if counts.get(name, 0) >= FEWEST)
    if not enough:
        raise FitError(
            f"No segment has {FEWEST} answers that are followed to the horizon.",
            [f"{name}: {int(counts.get(name, 0))}; shorten the horizon or merge segments" for name in segments],
        )
    return enough, tuple(name for name in segments if name not in enough)


def _shares(values: Floats, people: Population, noise: float = 0.0) -> Floats:
    """Turn segments' numbers (…, 5·segments) into the three readings over all, as shares of money, shape (…, 3).

    With noise above 0 they are divided by the conditional reliability of the score.
    """
    by_segment = values.reshape(*values.shape[:-1], -1, PARTS)
    base = people.baseline["money"].fillna(0.0).to_numpy(dtype=float) * people.shares
    share = base / base.sum()
    reliable = _reliable(values, people, noise)
    growth, by_money, level = (by_segment[..., i] for i in range(3))
    first, last = reliable[..., 0, None], reliable[..., 1, None]
    readings = [np.expm1(growth / first), np.expm1(by_money / first), level / last]
    return np.stack([each @ share for each in readings], axis=-1)


def _reliable(values: Floats, people: Population, noise: float) -> Floats:
    """Return the conditional reliability of the score in growth and in levels, shape (…, 2)."""
    by_segment = values.reshape(*values.shape[:-1], -1, PARTS)
    spread = np.stack([by_segment[..., i] @ people.shares for i in (3, 4)], axis=-1)
    return np.asarray(1 - noise / spread)


def _table(
    found: Jackknife, people: Population, noise: float, noise_se: float, *, is_known: bool
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """List the readings with errors, plain and corrected, and return the reliabilities."""
    first, last = (float(each) for each in _reliable(found.estimate, people, noise))
    plain = jackknife(_shares(found.estimate, people), _shares(found.replicates, people))
    rows = {name: (plain.estimate[i], plain.se[i], np.nan) for i, name in enumerate(READINGS)}
    if is_known and min(first, last) > 0:
        fixed = jackknife(_shares(found.estimate, people, noise), _shares(found.replicates, people, noise))
        step = 0.01 * noise
        moved = _shares(found.estimate, people, noise + step) - _shares(found.estimate, people, noise - step)
        slope = moved / (2 * step) if step > 0 else np.zeros(3)
        se = np.hypot(fixed.se, slope * noise_se)
        by = (first, first, last)
        rows |= {
            f"{name}_corrected": (fixed.estimate[i], se[i], by[i])
            for i, name in enumerate(READINGS)
            if by[i] >= LEAST_RELIABLE
        }
    order = [*READINGS, *(f"{name}_corrected" for name in READINGS)]
    share = pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "se", "reliability"]).reindex(order)
    money = float(people.baseline["money"].fillna(0.0) @ people.shares)
    reach = stats.t.ppf(0.95, found.df)
    columns: dict[str, pd.Series] = {}
    for name, factor in (("percent", 100.0), ("money", money)):
        value, error = factor * share["estimate"], factor * share["se"]
        columns |= {
            name: value,
            f"{name}_se": error,
            f"{name}_low": value - reach * error,
            f"{name}_high": value + reach * error,
        }
    table = pd.DataFrame(columns | {"reliability": share["reliability"]}).rename_axis("reading")
    return table, (first, last)


def _by_segment(found: Jackknife, kept: Sequence[str], answers: AnswerTable) -> pd.DataFrame:
    """List each segment's readings, percent of money per score point."""

    def percent(values: Floats) -> Floats:
        parts = values.reshape(*values.shape[:-1], -1, PARTS)[..., :3]
        parts = np.concatenate([np.expm1(parts[..., :2]), parts[..., 2:]], axis=-1)
        return np.asarray(100 * parts.reshape(*values.shape[:-1], -1))

    each = jackknife(percent(found.estimate), percent(found.replicates))
    value, error = each.estimate.reshape(-1, 3), each.se.reshape(-1, 3)
    columns: dict[str, Any] = {}
    for i, name in enumerate(READINGS):
        columns |= {name: value[:, i], f"{name}_se": error[:, i]}
    counts = answers.counts.loc[list(kept)]
    columns |= {"answers": counts["rows"].to_numpy(dtype=float), "customers": counts["customers"].to_numpy(dtype=float)}
    return pd.DataFrame(columns, index=pd.Index(kept, name="group"))


def _thin_check(thin: Sequence[str], horizon: int) -> Check:
    """Name the segments with too few answers for the regressions (ROX-A39)."""
    values: Mapping[str, str | int | float] = {"need": FEWEST, "months": horizon}
    if not thin:
        return Check(code="ROX-A39", verdict=Verdict.PASS, values=values)
    return Check(code="ROX-A39", verdict=Verdict.NOTE, values={**values, "segments": ", ".join(thin)})


def _noise_check(table: pd.DataFrame, reliable: tuple[float, float], currency: str, *, is_known: bool) -> Check:
    """Say what the readings were divided by, or why they were not (ROX-A36, ROX-A37, ROX-A40)."""
    if not is_known:
        return Check(code="ROX-A36", verdict=Verdict.NOTE)
    shares = {"lower": 100 * max(reliable[0], 0.0), "upper": 100 * max(reliable[1], 0.0)}
    if min(reliable) < LEAST_RELIABLE:
        return Check(code="ROX-A40", verdict=Verdict.NOTE, values={**shares, "least": 100 * LEAST_RELIABLE})
    money = table["money"].to_dict()
    said = {"lower_money": amount(money["growth"], currency), "upper_money": amount(money["level"], currency)}
    return Check(code="ROX-A37", verdict=Verdict.NOTE, values={**shares, **said})


def _by_level(cells: pd.DataFrame, kept: Sequence[str], controls: Sequence[str], min_cell: int) -> pd.DataFrame:
    """Tabulate growth per score point by level of money, in percent."""
    found = fit_levels(cells, kept, controls)
    reach = stats.norm.ppf(0.95) * found["se"]
    table = pd.DataFrame(
        {
            "percent": 100 * np.expm1(found["estimate"]),
            "percent_se": 100 * np.exp(found["estimate"]) * found["se"],
            "percent_low": 100 * np.expm1(found["estimate"] - reach),
            "percent_high": 100 * np.expm1(found["estimate"] + reach),
            "answers": found["answers"],
        }
    )
    return shown(table, found["customers"], min_cell)


def _weight_check(found: Jackknife, people: Population) -> Check:
    """Compare growth weighed by customers and by money (ROX-A38)."""
    by_customer, by_money = (100 * float(each) for each in _shares(found.estimate, people)[:2])

    def apart(values: Floats) -> Floats:
        readings = _shares(values, people)
        return np.asarray(readings[..., 1:2] - readings[..., :1])

    gap = jackknife(apart(found.estimate), apart(found.replicates))
    z = float(gap.estimate[0] / gap.se[0]) if gap.se[0] > 0 else 0.0
    values = {"by_customer": by_customer, "by_money": by_money, "z": z}
    return Check(code="ROX-A38", verdict=Verdict.NOTE if abs(z) > CLEAR else Verdict.PASS, values=values)
