"""How often intervals of levels, changes and yearly churn hold the truth, by the estimators that the measures use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from rox.core.units import Unit
from rox.metrics.answers import INTERVALS, csat, nps
from rox.metrics.estimates import covariance, over_year, ratio, with_log_t, with_t
from rox.metrics.exits import churn
from rox.metrics.waves import change
from rox.validation.measures_samples import (
    CHURNS,
    LEVELS,
    MEASURES,
    MOVED,
    SHARES,
    WAVES,
    Design,
    Sample,
    draws,
    exits_of,
    moments_of,
    overlaps_of,
    stays,
    two_waves,
)
from rox.validation.measures_tables import FIRST_YEAR, of_samples, of_stays

LEVEL = 0.90
SIZES = (50, 100, 300, 1_000, 3_000, 10_000)
ASKED = (0.88, 0.92)
"""Between these, intervals of 90% should hold the truth."""
READ = (*MEASURES, "mean", *SHARES)
ALIKE = 300
"""Answers of the samples that also go through the tables."""
Row = dict[str, Any]


def interval_of(measure: str) -> Callable[[pd.DataFrame, float], pd.DataFrame]:
    """Return the function of ``rox.metrics`` that gives a measure its interval."""
    if measure in MEASURES:
        return INTERVALS[Unit.NPS_POINT]
    return INTERVALS[Unit.SCORE_POINT if measure == "mean" else Unit.RATIO]


def change_of(later: Sample, earlier: Sample) -> pd.DataFrame:
    """Estimate the change of the NPS in every run, as ``rox.metrics.change`` does."""
    after, before = (ratio(moments_of(each, "nps"), ["run"], "nps") for each in (later, earlier))
    shared = covariance(
        moments_of(later, "nps"), moments_of(earlier, "nps"), overlaps_of(later, earlier, "nps"), ["run"], "nps"
    )
    variance = after["se"] ** 2 + before["se"] ** 2 - 2 * shared["covariance"]
    estimate = after[["run"]].assign(
        value=100 * (after["value"] - before["value"]),
        se=100 * np.sqrt(np.maximum(variance, 0.0)),
        df=np.minimum(after["df"], before["df"]),
    )
    return with_t(estimate, LEVEL)


def levels(design: Design, n: int, *, runs: int, seed: int) -> list[Row]:
    """Try the intervals of every measure of an answer.

    Args:
        design: How answers are drawn.
        n: Answers.
        runs: Samples.
        seed: Of the samples.

    Returns:
        One row per measure: ``part``, ``design``, ``measure``, ``n``, ``runs``, ``truth``, ``bias``, ``held`` (runs in
        which the interval holds the truth), ``below`` and ``above`` (in which it lies below or above it), ``width``.
    """
    found: dict[str, list[pd.DataFrame]] = {measure: [] for measure in READ}
    for sample in draws(design, n, runs, np.random.default_rng(seed)):
        moments = moments_of(sample, *READ)
        for measure in READ:
            found[measure].append(interval_of(measure)(ratio(moments, ["run"], measure), LEVEL))
    return [
        _row("level", design.name, measure, n, pd.concat(parts), design.truth(measure))
        for measure, parts in found.items()
    ]


def changes(name: str, n: int, *, runs: int, seed: int) -> list[Row]:
    """Try the interval of the change of the NPS between two waves of ``n`` customers; rows as from ``levels``."""
    design, shared = WAVES[name]
    parts = [change_of(*waves) for waves in two_waves(design, n, shared, runs, np.random.default_rng(seed))]
    truth = design.truth("nps", shift=MOVED) - design.truth("nps")
    return [_row("change", name, "nps", n, pd.concat(parts), truth)]


def churns(design: Design, n: int, *, runs: int, seed: int) -> list[Row]:
    """Try the interval of yearly churn among ``n`` customers followed for a year; rows as from ``levels``."""
    parts = [
        over_year(with_log_t(ratio(exits_of(each), ["run"], "left"), LEVEL))
        for each in stays(design, n, runs, np.random.default_rng(seed))
    ]
    return [_row("churn", design.name, "churn", n, pd.concat(parts), design.true_churn())]


def through_tables(*, runs: int, seed: int) -> list[Row]:
    """Send samples through whole tables as well, and say by how much the limits differ.

    Returns:
        One row per measure: ``part``, ``measure``, ``runs``, ``n``, ``off`` (the largest difference of a limit, in the
        unit of the measure).
    """
    rng = np.random.default_rng(seed)
    by = ("run",)
    rows: list[Row] = []
    for design in LEVELS:
        sample = next(draws(design, ALIKE, runs, rng))
        tables, moments = of_samples(sample), moments_of(sample, "nps", "mean", "top_two")
        asked = {"nps": nps(tables, by=by, level=LEVEL)}
        both = csat(tables, by=by, level=LEVEL)
        asked |= {metric: both[both["metric"] == metric] for metric in ("mean", "top_two")}
        for measure, shown in asked.items():
            own = interval_of(measure)(ratio(moments, ["run"], measure), LEVEL)
            rows.append(_off(f"{measure}, {design.name}", shown, own, low=1.0, high=5.0))
    for name, (design, shared) in WAVES.items():
        later, earlier = next(two_waves(design, ALIKE, shared, runs, rng))
        shown = change(of_samples(earlier, later), "nps", f"{FIRST_YEAR}", f"{FIRST_YEAR + 1}", by=by, level=LEVEL)
        rows.append(_off(f"change, {name}", shown, change_of(later, earlier)))
    for design in CHURNS:
        followed = next(stays(design, ALIKE, runs, rng))
        shown = churn(of_stays(followed), by, level=LEVEL)
        own = over_year(with_log_t(ratio(exits_of(followed), ["run"], "left"), LEVEL))
        rows.append(_off(f"churn, {design.name}", shown[shown["metric"] == "churn_all"], own))
    return rows


def _off(measure: str, shown: pd.DataFrame, own: pd.DataFrame, *, low: float = -np.inf, high: float = np.inf) -> Row:
    mean = measure.startswith("mean")
    limits = own[["low", "high"]].clip(low, high) if mean else own[["low", "high"]]
    order = np.argsort(shown["run"].astype(int).to_numpy(), kind="stable")
    off = np.abs(shown[["low", "high"]].to_numpy(dtype=float)[order] - limits.to_numpy(dtype=float))
    return {"part": "same", "measure": measure, "runs": len(own), "n": ALIKE, "off": float(off.max())}


def _row(part: str, design: str, measure: str, n: int, found: pd.DataFrame, truth: float) -> Row:
    low, high = found["low"].to_numpy(), found["high"].to_numpy()
    return {
        "part": part,
        "design": design,
        "measure": measure,
        "n": n,
        "runs": len(found),
        "truth": truth,
        "bias": float(found["value"].mean() - truth),
        "held": int(((low <= truth) & (truth <= high)).sum()),
        "below": int((high < truth).sum()),
        "above": int((low > truth).sum()),
        "width": float((high - low).mean()),
    }


def coverage_error(held: float, runs: float) -> float:
    """Return the Monte Carlo error of a share (Agresti & Coull 1998)."""
    near = (held + 2) / (runs + 4)
    return float(np.sqrt(near * (1 - near) / (runs + 4)))


def judged(held: float, runs: float) -> str:
    """Say whether coverage is ``inside`` what is asked, ``unclear`` within two errors of it, or ``low`` or ``high``."""
    share, error = held / runs, coverage_error(held, runs)
    if ASKED[0] <= share <= ASKED[1]:
        return "inside"
    if ASKED[0] - 2 * error <= share <= ASKED[1] + 2 * error:
        return "unclear"
    return "low" if share < ASKED[0] else "high"
