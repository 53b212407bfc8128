"""The gap as it would be without the noise of answers: errors in variables, and the previous answer as instrument."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg

from rox.core.check import Check, Verdict
from rox.models.evidence import overall
from rox.models.phrases import amount
from rox.models.population import Population
from rox.models.reliability import answer_reliability
from rox.models.slope import COLLINEAR, Slope, within
from rox.numerics.simex import LEAST_RELIABILITY, conditional_reliability, errors_in_variables

Floats = NDArray[np.float64]
Adjust = Callable[[pd.DataFrame], Floats]

RELEVANT = 0.3
"""Correlation with the present answer, beside the adjustments, that the previous one needs to stand in for it."""
FEWEST_PAIRS = 100
"""Answers with an earlier one that a segment needs."""


def without_noise(
    rows: pd.DataFrame,
    fits: Mapping[str, Slope],
    people: Population,
    adjust: Adjust,
    *,
    noise_sd: float | None,
    rng: np.random.Generator,
    currency: str,
) -> tuple[dict[str, tuple[float, float]], Check]:
    """Correct a level regression for the noise of answers, in two ways that do not share their assumptions.

    Errors in variables divide each segment's slope by the reliability of the score *given the adjustments* (Fuller
    1987), never by the plain one, which is larger. The previous answer as instrument needs no estimate of noise, but
    customers who answered twice. Neither removes lasting habits of answering.

    Args:
        rows: Answers.
        fits: Slopes by segment.
        people: Shares of the segments.
        adjust: Makes the columns a segment's regression holds equal, shape (n, k); months are taken out besides.
        noise_sd: Standard deviation of an answer's passing noise in points, from a retest; None measures it from
            repeated answers.
        rng: For the bootstrap of the noise.
        currency: Of the outcome.

    Returns:
        Estimate and standard error over all segments by way, as far as it can be had, and the check that says what
        noise there is (ROX-E06), or why nothing was corrected (ROX-E07, ROX-E08).
    """
    found = {}
    instrumented = _previous_answer(rows, people, adjust)
    if instrumented is not None:
        found["previous_answer"] = instrumented
    noise = _noise(rows, noise_sd, rng)
    if noise is None:
        return found, Check(code="ROX-E08", verdict=Verdict.NOTE, values={"pairs": _pairs(rows)})
    kept = {}
    for name in fits:
        part = rows[rows["segment"] == name]
        kept[name] = conditional_reliability(
            _left_of_score(part, adjust(part)), noise[0], noise_variance_variance=noise[1]
        )
    least = min(each.value for each in kept.values())
    if least < LEAST_RELIABILITY:
        weak = ", ".join(f"{name} ({each.value:.2f})" for name, each in kept.items() if each.value < LEAST_RELIABILITY)
        values: dict[str, str | int | float] = {"segments": weak, "need": LEAST_RELIABILITY}
        return found, Check(code="ROX-E07", verdict=Verdict.NOTE, values=values)
    value, variance = 0.0, 0.0
    for share, (name, fit) in zip(people.shares, fits.items(), strict=True):
        held = kept[name]
        corrected = errors_in_variables(
            fit.value, fit.se**2, reliability=min(held.value, 1.0), reliability_variance=held.variance
        )
        value, variance = value + share * corrected.value, variance + share**2 * corrected.variance
    found["errors_in_variables"] = (value, float(np.sqrt(variance)))
    said: dict[str, str | int | float] = {
        "low": 100 * least,
        "high": 100 * max(each.value for each in kept.values()),
        "before": amount(overall(fits, people.shares)[0], currency),
        "after": amount(value, currency),
        "sd": float(np.sqrt(noise[0])),
    }
    return found, Check(code="ROX-E06", verdict=Verdict.NOTE, values=said)


def _noise(rows: pd.DataFrame, noise_sd: float | None, rng: np.random.Generator) -> tuple[float, float] | None:
    """Return the variance of noise and the sampling variance of that."""
    if noise_sd is not None:
        return noise_sd**2, 0.0
    measured = answer_reliability(rows, rng)
    if measured is None:
        return None
    return float(measured.parts[0, 3]), float(measured.parts[1:, 3].var(ddof=1))


def _pairs(rows: pd.DataFrame) -> int:
    return len(rows) - int(rows["customer"].nunique())


def _inside(rows: pd.DataFrame, columns: Sequence[str], adjust: Floats) -> tuple[Floats, Floats]:
    """Take months and adjustments out of columns; returns them, shape (n, k), weighted, and the root weights."""
    weight = (rows["weight"] / rows["weight"].mean()).to_numpy(dtype=float)
    root = np.sqrt(weight)[:, None]
    values = within(rows[list(columns)].to_numpy(dtype=float), rows["month"], weight) * root
    if adjust.shape[1]:
        others = within(adjust, rows["month"], weight) * root
        values -= others @ linalg.lstsq(others, values, cond=COLLINEAR, lapack_driver="gelsy")[0]
    return values, root[:, 0]


def _left_of_score(rows: pd.DataFrame, adjust: Floats) -> float:
    left, root = _inside(rows, ["score"], adjust)
    free = len(rows) - rows["month"].nunique() - adjust.shape[1]
    return float((left**2).sum() / (root**2).sum() * len(rows) / max(free, 1))


def _previous_answer(rows: pd.DataFrame, people: Population, adjust: Adjust) -> tuple[float, float] | None:
    """Two-stage least squares with the customer's previous answer; nothing where a segment cannot carry it."""
    ordered = rows.sort_values(["customer", "answered"])
    ordered = ordered.assign(previous=ordered.groupby("customer")["score"].shift())
    ordered = ordered[ordered["previous"].notna()]
    value, variance = 0.0, 0.0
    for share, name in zip(people.shares, people.groups, strict=True):
        part = ordered[ordered["segment"] == name]
        if len(part) < FEWEST_PAIRS:
            return None
        left, _ = _inside(part, ["outcome", "score", "previous"], adjust(part))
        money, score, instrument = left.T
        strength = instrument @ score
        if strength / np.sqrt((instrument @ instrument) * (score @ score)) < RELEVANT:
            return None
        slope = instrument @ money / strength
        pull = pd.Series(instrument * (money - slope * score)).groupby(part["customer"].to_numpy()).sum()
        clusters = len(pull)
        value += share * slope
        variance += share**2 * float((pull**2).sum()) / strength**2 * clusters / (clusters - 1)
    return float(value), float(np.sqrt(variance))
