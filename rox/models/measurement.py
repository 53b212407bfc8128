"""The gap as it would be without the noise of answers: errors in variables, and the previous answer as instrument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rox.core.check import Check, Verdict
from rox.core.derived import Maker
from rox.models.answer_columns import MONEY, SCORE
from rox.models.answer_products import Products, Regressed, products
from rox.models.answer_table import AnswerTable
from rox.models.evidence import overall
from rox.models.phrases import amount
from rox.models.population import Population
from rox.models.reliability import reliability_of
from rox.models.slope import slope_of
from rox.numerics.jackknife import jackknife
from rox.numerics.simex import LEAST_RELIABILITY, Corrected, conditional_reliability, errors_in_variables

Floats = NDArray[np.float64]

RELEVANT = 0.3
"""Correlation with the present answer, beside the adjustments, that the previous one needs to stand in for it."""
FEWEST_PAIRS = 100
"""Answers with an earlier one that a segment needs."""
PREVIOUS = "rox_previous"


def without_noise(
    regressed: Regressed,
    people: Population,
    *,
    units: bool,
    noise_sd: float | None,
    rng: np.random.Generator,
    currency: str,
) -> tuple[dict[str, tuple[float, float]], Check]:
    """Correct a level regression for the noise of answers, in two ways that do not share their assumptions.

    Errors in variables divide each segment's slope by the reliability of the score *given the adjustments* (Fuller
    1987), never by the plain one, which is larger. The previous answer as instrument needs no estimate of noise, but
    customers who answered twice. Neither removes lasting habits of answering.

    Args:
        regressed: The regression as answered.
        people: Shares of the segments.
        units: Whether places have effects of their own.
        noise_sd: Standard deviation of an answer's passing noise in points, from a retest; None measures it from
            repeated answers.
        rng: For the bootstrap of the noise.
        currency: Of the outcome.

    Returns:
        Estimate and standard error over all segments by way, as far as it can be had, and the check that says what
        noise there is (ROX-E06), or why nothing was corrected (ROX-E07, ROX-E08).
    """
    found = {}
    instrumented = _previous_answer(regressed, people, units=units)
    if instrumented is not None:
        found["previous_answer"] = instrumented
    noise = _noise(regressed.answers, noise_sd, rng)
    if noise is None:
        totals = regressed.answers.totals()
        return found, Check(
            code="ROX-E08", verdict=Verdict.NOTE, values={"pairs": totals["rows"] - totals["customers"]}
        )
    kept = {name: _reliable(part, regressed.others, noise) for name, part in regressed.parts.items()}
    least = min(each.value for each in kept.values())
    if least < LEAST_RELIABILITY:
        weak = ", ".join(f"{name} ({each.value:.2f})" for name, each in kept.items() if each.value < LEAST_RELIABILITY)
        values: dict[str, str | int | float] = {"segments": weak, "need": LEAST_RELIABILITY}
        return found, Check(code="ROX-E07", verdict=Verdict.NOTE, values=values)
    value, variance = 0.0, 0.0
    for share, (name, fit) in zip(people.shares, regressed.fits.items(), strict=True):
        held = kept[name]
        corrected = errors_in_variables(
            fit.value, fit.se**2, reliability=min(held.value, 1.0), reliability_variance=held.variance
        )
        value, variance = value + share * corrected.value, variance + share**2 * corrected.variance
    found["errors_in_variables"] = (value, float(np.sqrt(variance)))
    said: dict[str, str | int | float] = {
        "low": 100 * least,
        "high": 100 * max(each.value for each in kept.values()),
        "before": amount(overall(regressed.fits, people.shares)[0], currency),
        "after": amount(value, currency),
        "sd": float(np.sqrt(noise[0])),
    }
    return found, Check(code="ROX-E06", verdict=Verdict.NOTE, values=said)


def _noise(answers: AnswerTable, noise_sd: float | None, rng: np.random.Generator) -> tuple[float, float] | None:
    """Return the variance of noise and the sampling variance of that."""
    if noise_sd is not None:
        return noise_sd**2, 0.0
    measured = reliability_of(answers, rng)
    if measured is None:
        return None
    return float(measured.parts[0, 3]), float(measured.parts[1:, 3].var(ddof=1))


def _reliable(part: Products, others: Sequence[str], noise: tuple[float, float]) -> Corrected:
    """Return the share of what the adjustments leave of the score that is no noise."""
    equations = part.equations
    left = equations.inside.rest(part.at([SCORE]), part.at(others))[:, 0, 0]
    free = equations.count - len(part.effects) - len(others)
    weight = float(part.weight.sum())
    weights = np.concatenate([[weight], weight - part.weight])
    spread = left / weights * equations.count / np.maximum(free, 1)
    variance = float(jackknife(spread[0], spread[1:]).covariance[0, 0])
    return conditional_reliability(
        float(spread[0]), noise[0], noise_variance_variance=noise[1], score_variance_variance=variance
    )


def _previous_answer(regressed: Regressed, people: Population, *, units: bool) -> tuple[float, float] | None:
    """Put the customer's previous answer into the score's place; nothing where a segment cannot carry it."""
    answers = regressed.answers.where(lambda t: t.previous.notnull())
    if not set(people.groups) <= set(answers.counts.index):
        return None
    columns: Mapping[str, Maker] = {**regressed.columns, PREVIOUS: lambda t: t.previous.cast("float64")}
    names = (MONEY, SCORE, PREVIOUS, *regressed.others)
    fits = {}
    for name, part in products(answers, columns, names, regressed.scales, units=units).items():
        (money, score, previous), others = part.at([MONEY, SCORE, PREVIOUS]), part.at(regressed.others)
        inside = part.equations.inside
        left = inside.rest([score, previous], others)[0]
        if part.rows < FEWEST_PAIRS or not left[0, 1] > RELEVANT * np.sqrt(left[0, 0] * left[1, 1]):
            return None
        values = part.unit * inside.instrumented(money, score, previous, others)
        fits[name] = slope_of(values, part.buckets, rows=part.rows, customers=part.customers, what=name)
    return overall({name: fits[name] for name in people.groups}, people.shares)
