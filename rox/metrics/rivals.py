"""Other companies beside one's own: published figures or a panel, with intervals, and never a rank without its chance.

Published figures differ in how, when and whom they asked; what differs is said beside each. Estimand: the metric of
each company in the population its source asked. Assumption of a difference: both sources ask alike, which the notes
call into question; the interval holds sampling only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from scipy import stats

from rox.core.check import Check, Verdict
from rox.core.declared import Declared, Words, read_toml, validated
from rox.core.errors import DataError
from rox.core.study import Name, Scale, Study
from rox.core.units import Unit
from rox.metrics.agreement import CATEGORIES, floored, least_error, support_of
from rox.metrics.answers import scores
from rox.metrics.source import Tables, scale_of
from rox.numerics.arrays import Floats
from rox.numerics.importance import rank_probabilities
from rox.numerics.intervals import wilson_interval
from rox.numerics.survey import Estimate, weighted_mean, weighted_nps

DRAWS = 20_000
APART = 183
"""Days between two surveys from which the date is said to differ."""
TOLD = 0.8
"""Probability from which one company is called ahead of another."""


class Own(Declared):
    """How, and whom, the company itself asks."""

    name: Words
    mode: str
    population: str


class Rival(Declared):
    """A figure of another company.

    Its error comes from the interval ``low`` to ``high`` at ``level``, else from ``n`` answers: of a share by itself,
    of a mean with ``sd``, of the NPS with the shares of ``promoters`` and ``detractors``; without those the widest it
    can be.
    """

    name: Words
    metric: Literal["nps", "mean", "top_two", "easy"]
    value: float
    n: Annotated[float, Field(ge=2)] | None = None
    low: float | None = None
    high: float | None = None
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    sd: Annotated[float, Field(gt=0)] | None = None
    promoters: Annotated[float, Field(ge=0, le=1)] | None = None
    detractors: Annotated[float, Field(ge=0, le=1)] | None = None
    date: dt.date
    source: Annotated[str, Field(min_length=1)]
    method: str = ""
    mode: str
    population: str

    @model_validator(mode="after")
    def _has_an_error(self) -> Rival:
        faults = []
        if (self.low is None) != (self.high is None):
            faults.append("give both ends of the interval, or neither")
        if self.low is None and self.n is None:
            faults.append("give n, or the interval low to high: a figure without either says nothing")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            faults.append("the value lies outside its interval")
        elif self.low is not None and self.low == self.high:
            faults.append("an interval without width says nothing; give n instead")
        if self.low is None and self.n is not None and self.metric == "mean" and self.sd is None:
            faults.append("a mean of n answers needs sd, the standard deviation of an answer")
        shares = [each for each in (self.promoters, self.detractors) if each is not None]
        if len(shares) == 1 or sum(shares) > 1 + 1e-9:
            faults.append("promoters and detractors go together and add up to at most 1")
        if len(shares) == 2 and abs(100 * (shares[0] - shares[1]) - self.value) > 1.01:
            faults.append("promoters less detractors are not the value")
        least, most = {"nps": (-100.0, 100.0), "mean": (-np.inf, np.inf)}.get(self.metric, (0.0, 1.0))
        if not least <= self.value <= most:
            faults.append(f"value: {self.metric} lies between {least:g} and {most:g}")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def is_widest(self) -> bool:
        """Whether nothing is known of the spread, so that the error is the largest possible."""
        return self.low is None and self.metric == "nps" and self.promoters is None

    @property
    def se(self) -> float:
        """Standard error, in the metric's unit."""
        if self.low is not None and self.high is not None:
            return (self.high - self.low) / (2 * float(stats.norm.ppf((1 + self.level) / 2)))
        n = self.n or np.nan
        if self.metric == "mean":
            return float(self.sd or np.nan) / float(np.sqrt(n))
        if self.metric != "nps":
            low, high = wilson_interval(self.value, n, level=0.90)
            return (high - low) / (2 * float(stats.norm.ppf(0.95)))
        filled = 1.0 if self.promoters is None or self.detractors is None else self.promoters + self.detractors
        mean = self.value / 100
        observed = float(np.sqrt(max(filled - mean**2, 0.0) / n))
        return 100 * max(observed, float(least_error(mean, filled, n, CATEGORIES)))


class Benchmarks(Declared):
    """One's own way of asking, and the figures of others."""

    score: Name
    own: Own
    rivals: tuple[Rival, ...] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """Companies side by side.

    Attributes:
        table: One row per company and metric, one's own first, then by name: ``company``, ``metric``, ``unit``,
            ``value``, ``se``, ``low``, ``high``, ``level``, ``n``, ``difference`` (own less theirs),
            ``difference_low``, ``difference_high``, ``p_own_ahead``, ``p_first`` (probability of being the best of
            those shown), ``rank_low`` and ``rank_high`` (ranks that hold the true one with 90%), ``date``, ``source``,
            ``differs`` (what cannot be
            compared: ``mode``, ``date``, ``population``, ``metric``, joined by commas; empty where nothing).
        checks: What a reader must know.
    """

    table: pd.DataFrame
    checks: tuple[Check, ...]


def read_rivals(path: str | Path, study: Study) -> Benchmarks:
    """Read the figures of others.

    Raises:
        DataError: Every fault of the file in one message.
    """
    path = Path(path)
    found, faults = validated(Benchmarks, read_toml(path, "file of benchmarks", DataError))
    if found is not None:
        if found.score not in {**study.scores, **study.drivers}:
            faults.append(f"score: {found.score!r} is no question of this study; it asks {', '.join(study.scores)}")
        names = [(each.name.en, each.metric) for each in found.rivals]
        twice = sorted({each for each in names if names.count(each) > 1})
        faults += [f"rivals: {name} has two figures for {metric}" for name, metric in twice]
    if faults or found is None:
        raise DataError(f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    return found


def standing(
    tables: Tables,
    benchmarks: Benchmarks,
    *,
    year: int | None = None,
    level: float = 0.90,
    rng: int | np.random.Generator | None = None,
) -> Standing:
    """Put one's own figures of a year beside those of others.

    Args:
        tables: Loaded tables.
        benchmarks: What :func:`read_rivals` returned.
        year: Of one's own answers; by default that of the extract.
        level: Of the intervals.
        rng: Of the draws behind probabilities of rank.

    Raises:
        DataError: No answers in the year, or a metric the question does not have.
    """
    when = tables.study.about.extract.year if year is None else year
    mine = scores(tables, benchmarks.score, ["year"], level=level)
    mine = mine[(mine["year"] == f"{when:04d}") & mine["value"].notna()].set_index("metric")
    mine = mine.assign(se=_errors(mine, scale_of(tables.study, benchmarks.score)))
    asked = list(dict.fromkeys(each.metric for each in benchmarks.rivals))
    if missing := [metric for metric in asked if metric not in mine.index]:
        raise DataError(
            f"{benchmarks.score} has no {' and no '.join(missing)} in {when}.",
            [f"there are {', '.join(mine.index) or 'no figures from 30 answers or more'}"],
        )
    language = tables.study.language
    day = min(dt.date(when, 12, 31), tables.study.about.extract)
    generator = np.random.default_rng(rng)
    parts, checks = [], []
    better = 1.0 if scale_of(tables.study, benchmarks.score).higher_is_better else -1.0
    for metric in asked:
        them = sorted((each for each in benchmarks.rivals if each.metric == metric), key=lambda each: each.name.en)
        own = mine.loc[metric]
        frame = pd.DataFrame(
            {"company": [benchmarks.own.name[language], *(each.name[language] for each in them)], "metric": metric,
             "unit": own["unit"], "value": [own["value"], *(each.value for each in them)],
             "se": [own["se"], *(each.se for each in them)],
             "n": [own["n"], *(np.nan if each.n is None else each.n for each in them)],
             "date": [day, *(each.date for each in them)], "source": [tables.study.about.name, *(each.source for each
             in them)], "differs": ["", *(_differs(each, benchmarks.own, day) for each in them)]}
        )  # fmt: skip
        turned = better if metric == "mean" else 1.0
        parts.append(_placed(frame, np.diag(frame["se"].to_numpy() ** 2), turned, level, generator))
        checks += _checks(parts[-1], them)
    return Standing(table=pd.concat(parts, ignore_index=True), checks=tuple(checks))


def panel(
    answers: pd.DataFrame,
    scale: Scale,
    own: str,
    *,
    min_cell: int = 10,
    level: float = 0.90,
    rng: int | np.random.Generator | None = None,
) -> Standing:
    """Compare companies that the same survey asked about.

    Somebody who rates several companies makes their figures go together; the differences know it.

    Args:
        answers: One row per answer: ``company``, ``answer``; perhaps ``respondent``, ``weight``.
        scale: Of the answers.
        own: The own company, as ``company`` calls it.
        min_cell: Respondents below whom a company is left out.
        level: Of the intervals.
        rng: Of the draws behind probabilities of rank.

    Raises:
        DataError: Every fault of the table at once.
    """
    frame = _checked(answers, scale, own)
    sizes = frame.groupby("company")["respondent"].nunique()
    kept = sorted(str(name) for name, size in sizes.items() if size >= max(min_cell, 2))
    if own not in kept or len(kept) < 2:
        needed = f"{own!r} and one more company need {min_cell} respondents each"
        raise DataError("There is nobody to compare.", [needed])
    names = [own, *(name for name in kept if name != own)]
    people = pd.Index(sorted(frame["respondent"].unique()))
    parts = []
    for metric, unit in _metrics(scale):
        fits, influence = [], np.zeros((len(names), len(people)))
        for place, name in enumerate(names):
            rows = frame[frame["company"] == name]
            fits.append(_estimate(rows, scale, metric))
            np.add.at(influence[place], people.get_indexer(rows["respondent"]), fits[-1].influence)
        m = (influence != 0).sum(axis=1).clip(2)
        covariance = influence @ influence.T * np.sqrt(np.outer(m / (m - 1), m / (m - 1)))
        one = pd.DataFrame(
            {"value": [fit.value for fit in fits], "se": [fit.se for fit in fits],
             "n_eff": [fit.n_eff for fit in fits], "unit": str(unit)}
        )  # fmt: skip
        np.fill_diagonal(covariance, _errors(one, scale) ** 2)
        made = pd.DataFrame(
            {"company": names, "metric": metric, "unit": str(unit), "value": [fit.value for fit in fits],
             "se": np.sqrt(np.diag(covariance)), "n": [float(fit.n) for fit in fits], "date": None, "source": "panel",
             "differs": ""}
        )  # fmt: skip
        turned = 1.0 if scale.higher_is_better or metric != "mean" else -1.0
        parts.append(_placed(made, covariance, turned, level, np.random.default_rng(rng)))
    table = pd.concat(parts, ignore_index=True)
    return Standing(table=table, checks=tuple(check for part in parts for check in _checks(part, ())))


def _errors(frame: pd.DataFrame, scale: Scale) -> Floats:
    """Return the errors of own figures, none smaller than answers that agree allow."""
    found = np.zeros(len(frame))
    for place, (_, row) in enumerate(frame.iterrows()):
        unit = Unit(row["unit"])
        size = 100.0 if unit is Unit.NPS_POINT else 1.0
        mean, se, n = row["value"] / size, row["se"] / size, row["n_eff"]
        one = pd.DataFrame({"value": [mean], "se": [se], "square": [mean**2 + se**2 * max(n - 1, 0)], "n_eff": [n]})
        found[place] = size * floored(one, support_of(unit, scale))["se"].iloc[0]
    return found


def _differs(rival: Rival, own: Own, day: dt.date) -> str:
    pairs = {"mode": (rival.mode, own.mode), "population": (rival.population, own.population)}
    found = [name for name, (theirs, ours) in pairs.items() if theirs.casefold() != ours.casefold()]
    if abs((day - rival.date).days) > APART:
        found.append("date")
    return ",".join(sorted(found))


def _placed(
    frame: pd.DataFrame, covariance: Floats, better: float, level: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Add intervals, differences to the first row, and probabilities of rank."""
    z = float(stats.norm.ppf((1 + level) / 2))
    value, se = frame["value"].to_numpy(dtype=float), frame["se"].to_numpy(dtype=float)
    gap = value[0] - value
    of_gap = np.sqrt(np.maximum(covariance[0, 0] + np.diag(covariance) - 2 * covariance[0], 0.0))
    of_gap[0] = np.nan
    draws = value + rng.standard_normal((DRAWS, len(value))) @ _root(covariance).T
    ranks = rank_probabilities(better * draws)
    below = np.cumsum(ranks, axis=1)
    ends = np.array([frame["unit"].iloc[0] == str(Unit.NPS_POINT), frame["unit"].iloc[0] == str(Unit.RATIO)])
    least, most = (-100.0, 100.0) if ends[0] else (0.0, 1.0) if ends[1] else (-np.inf, np.inf)
    first = np.arange(len(value)) == 0
    made = frame.assign(
        low=np.clip(value - z * se, least, most), high=np.clip(value + z * se, least, most), level=level,
        difference=np.where(first, np.nan, gap), difference_low=gap - z * of_gap, difference_high=gap + z * of_gap,
        p_own_ahead=stats.norm.cdf(better * gap / np.where(of_gap > 0, of_gap, np.nan)), p_first=ranks[:, 0],
        rank_low=(below < 0.05).sum(axis=1) + 1, rank_high=(below < 0.95 - 1e-12).sum(axis=1) + 1,
    )  # fmt: skip
    # fmt: off
    order = ["company", "metric", "unit", "value", "se", "low", "high", "level", "n", "difference", "difference_low",
             "difference_high", "p_own_ahead", "p_first", "rank_low", "rank_high", "date", "source", "differs"]
    # fmt: on
    return made[order]


def _root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _checks(table: pd.DataFrame, them: Sequence[Rival]) -> list[Check]:
    """Say what cannot be compared, whose error is the widest, and that nobody is surely first."""
    checks = []
    metric = str(table["metric"].iloc[0])
    for _, row in table[table["differs"] != ""].iterrows():
        for what in row["differs"].split(","):
            checks.append(
                Check(
                    code="ROX-M09", verdict=Verdict.NOTE, values={"company": row["company"], "what": f"rivals.{what}"}
                )
            )
    if widest := sum(each.is_widest for each in them):
        checks.append(Check(code="ROX-M07", verdict=Verdict.NOTE, values={"count": widest}))
    if table["p_first"].max() < TOLD:
        values: dict[str, str | float] = {"metric": metric, "chance": 100 * float(table["p_first"].max())}
        checks.append(Check(code="ROX-M08", verdict=Verdict.NOTE, values=values))
    return checks


def _checked(answers: pd.DataFrame, scale: Scale, own: str) -> pd.DataFrame:
    faults = [f"column {name!r} is missing" for name in ("company", "answer") if name not in answers.columns]
    if faults:
        raise DataError("This is no table of answers about companies.", faults)
    frame = answers.dropna(subset=["company", "answer"]).reset_index(drop=True)
    frame = frame.assign(company=frame["company"].astype(str), answer=pd.to_numeric(frame["answer"], errors="coerce"))
    if "respondent" not in frame:
        frame["respondent"] = np.arange(len(frame))
    if "weight" not in frame:
        frame["weight"] = 1.0
    right = frame["answer"].between(scale.low, scale.high) & (frame["answer"] % 1 == 0)
    weight = pd.to_numeric(frame["weight"], errors="coerce")
    if wrong := int((~right).sum()):
        faults.append(f"answer: {wrong} are not whole numbers from {scale.low} to {scale.high}")
    if wrong := int((~(weight > 0) | np.isinf(weight)).sum()):
        faults.append(f"weight: {wrong} are missing, zero, negative or infinite")
    if wrong := int(frame["respondent"].isna().sum()):
        faults.append(f"respondent: {wrong} are missing")
    if own not in set(frame["company"]):
        faults.append(f"company: nobody answered about {own!r}")
    if faults:
        raise DataError("These answers about companies cannot be used.", faults)
    return frame.assign(weight=weight)


def _metrics(scale: Scale) -> list[tuple[str, Unit]]:
    further = {"csat": [("top_two", Unit.RATIO)], "ces": [("easy", Unit.RATIO)]}
    return (
        [("nps", Unit.NPS_POINT)] if scale.kind == "nps" else [("mean", Unit.SCORE_POINT), *further.get(scale.kind, [])]
    )


def _estimate(rows: pd.DataFrame, scale: Scale, metric: str) -> Estimate:
    value = rows["answer"].to_numpy(dtype=float)
    weights, who = rows["weight"].to_numpy(dtype=float), rows["respondent"].to_numpy()
    if metric == "nps":
        return weighted_nps(value if scale.higher_is_better else 10 - value, weights, psu=who)
    from_best = scale.high - value if scale.higher_is_better else value - scale.low
    kept = {"mean": value, "top_two": from_best <= 1, "easy": 2 * from_best < scale.high - scale.low}
    return weighted_mean(kept[metric].astype(float), weights, psu=who)
