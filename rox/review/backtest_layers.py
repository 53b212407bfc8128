"""What a grade is worth here: the evidence discount learned from pairs of estimate and measured value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.backtest import Learned
from rox.core.check import BIAS_LAYERS, BiasLayer, Grade
from rox.core.errors import DataError
from rox.core.files import write_text
from rox.core.record import versions

PRIOR_PAIRS = 4
"""Measured initiatives that the shipped discount of a grade counts as."""
LEAST_SD = 0.05
"""Least standard deviation of the prior of a grade's mean: nobody knows it better before measuring."""
MOST_OF_SD = 0.8
"""Most of a shipped standard deviation that is doubt about the mean; the rest is spread between initiatives."""
LOG_SD = 0.5
"""Standard deviation of the prior of the logarithm of a grade's spread."""
GRID = 81

Floats = NDArray[np.float64]


def learn_layers(pairs: pd.DataFrame, *, shipped: Mapping[Grade, BiasLayer] = BIAS_LAYERS) -> Mapping[Grade, Learned]:
    """Update the mean and the spread of M per grade, where measured = M times the effect estimated without error.

    M ~ Normal(mean, sd²) between initiatives. An estimate x with standard error s is the effect plus noise, so a large
    one is, on average, too large; signals have second moment 1 + k² in units of their errors, and the effect given the
    estimate is Normal(c x, c s²) with c = k²/(1 + k²) (van Zwet & Cator 2021). Without this the noise of estimates
    would pass for bias. The share c is that of the grade's own pairs, drawn towards the median of the grades with the
    weight of :data:`PRIOR_PAIRS` pairs, so that precise estimates of one grade do not speak for noisy ones of another.
    Then the measured value is normal with mean c m x and the variances of M, of the
    estimate and of the measurement added. The prior of the mean is the shipped discount counted as :data:`PRIOR_PAIRS`
    initiatives, that of the spread is lognormal, such that both together are as wide as the shipped discount; the
    posterior is summed on a grid.

    The layer of a grade is what a new initiative's M is expected to be: the posterior mean, and a standard deviation
    that holds both the spread and what is not known of the mean. No grade scales an estimate up, and none is worth
    more, or is surer, than a better one, as in the shipped discounts.

    Args:
        pairs: One row per initiative with columns ``grade``, ``estimate``, ``estimate_se``, ``actual``, ``se``; each
            pair in one unit, different pairs in whatever unit.
        shipped: The discounts before.

    Raises:
        DataError: Values that are missing, or errors that are not positive.
    """
    rows = pairs.reset_index(drop=True)
    numbers = rows[["estimate", "estimate_se", "actual", "se"]].to_numpy(dtype=float)
    if not np.isfinite(numbers).all() or (len(rows) and not (numbers[:, [1, 3]] > 0).all()):
        raise DataError("These pairs cannot be learned from.", ["every pair needs both values and positive errors"])
    held = {grade: numbers[(rows["grade"] == str(grade)).to_numpy()] if len(rows) else numbers for grade in Grade}
    keep = _kept(held)
    learned = {grade: _updated(grade, mine, keep.get(grade, 1.0), shipped[grade]) for grade, mine in held.items()}
    return MappingProxyType(_in_order(learned))


def write_layers(learned: Mapping[Grade, Learned], path: str | Path, *, source: str) -> Path:
    """Write the discounts in the form of the shipped ones, with where they come from.

    Args:
        learned: What :func:`learn_layers` gave.
        path: The file.
        source: The command, or the folder of forecasts, they come from.
    """
    made_with = ", ".join(f"{name} {version}" for name, version in sorted(versions().items()))
    lines = [
        "# true = estimate × M, M ~ Normal(mean, sd²); learned from frozen forecasts and what was measured.",
        "[recipe]",
        f"command = {json.dumps(source, ensure_ascii=False)}",
        f"versions = {json.dumps(made_with, ensure_ascii=False)}",
        f"prior_pairs = {PRIOR_PAIRS}",
    ]
    for grade, each in learned.items():
        lines += ["", f"[{grade}]", f"mean = {each.layer.mean:.4f}", f"sd = {each.layer.sd:.4f}"]
        lines += [f"banks = {each.layer.banks}", f"pairs = {each.pairs}"]
        lines += [f"shipped_mean = {each.shipped.mean:g}", f"shipped_sd = {each.shipped.sd:g}"]
    return write_text(path, "\n".join(lines) + "\n")


def _kept(held: Mapping[Grade, Floats]) -> dict[Grade, float]:
    """Return by grade the share of an estimate that is effect and not noise, from how far estimates stand out of it.

    Grades are pooled on the scale of the share, which is bounded, and not on that of k², where one grade of precise
    estimates would outweigh all others.
    """
    own = {}
    for grade, numbers in held.items():
        if len(numbers):
            signal = max(float(((numbers[:, 0] / numbers[:, 1]) ** 2).mean()) - 1, 0.0)
            own[grade] = signal / (1 + signal)
    middle = float(np.median(list(own.values()))) if own else 1.0
    return {
        grade: (len(held[grade]) * share + PRIOR_PAIRS * middle) / (len(held[grade]) + PRIOR_PAIRS)
        for grade, share in own.items()
    }


def _updated(grade: Grade, numbers: Floats, keep: float, shipped: BiasLayer) -> Learned:
    if not len(numbers):
        return Learned(grade=grade, pairs=0, shipped=shipped, found=shipped, layer=shipped, mean_sd=_prior_sd(shipped))
    prior_sd = _prior_sd(shipped)
    reach = max(0.5, 6 * prior_sd)
    centre = np.linspace(shipped.mean - reach - 0.5, shipped.mean + reach + 0.5, 3 * GRID)
    likely = np.sqrt(shipped.sd**2 - prior_sd**2) * np.exp(-(LOG_SD**2))
    spread = likely * np.exp(np.linspace(-8, 8, GRID) * LOG_SD)
    m, s = np.meshgrid(centre, spread, indexing="ij")
    scale = np.maximum(np.abs(numbers[:, 2]), np.abs(numbers[:, 0])) + numbers[:, 3]
    log_post = -((m - shipped.mean) ** 2) / (2 * prior_sd**2) - np.log(s / likely) ** 2 / (2 * LOG_SD**2)
    for (x, sx, y, sy), unit in zip(numbers, scale, strict=True):
        x, sx, y, sy = x / unit, sx / unit, y / unit, sy / unit
        noise = keep * sx**2
        variance = s**2 * ((keep * x) ** 2 + noise) + m**2 * noise + sy**2
        log_post -= (np.log(variance) + (y - m * keep * x) ** 2 / variance) / 2
    weight = np.exp(log_post - log_post.max())
    weight /= weight.sum()
    mean, second = float((weight * m).sum()), float((weight * s**2).sum())
    mean_sd = float(np.sqrt((weight * (m - mean) ** 2).sum()))
    found = BiasLayer(mean, float(np.sqrt(second + mean_sd**2)), shipped.banks)
    return Learned(
        grade=grade,
        pairs=len(numbers),
        shipped=shipped,
        found=found,
        layer=found,
        mean_sd=mean_sd,
    )


def _prior_sd(shipped: BiasLayer) -> float:
    return float(min(max(shipped.sd / np.sqrt(PRIOR_PAIRS), LEAST_SD), MOST_OF_SD * shipped.sd))


def _in_order(learned: Mapping[Grade, Learned]) -> dict[Grade, Learned]:
    """Cap every mean at that of the better grade, and let none be surer than a better one of the same worth.

    The grades without pairs keep what they had, but where a better one was found to be worth less they follow it down.
    """
    better, found = BiasLayer(1.0, 0.0), {}
    for grade, each in learned.items():
        mean, sd = min(better.mean, each.found.mean), each.found.sd
        sd = max(sd, better.sd) if mean > better.mean - better.sd else sd
        better = BiasLayer(mean, sd, each.found.banks)
        found[grade] = replace(each, layer=better)
    return found


def pairs_of(table: pd.DataFrame, forecasts: Sequence[str] = ()) -> pd.DataFrame:
    """Take the pairs out of a table of scores: one per initiative, where the effect itself was measured.

    Args:
        table: What :func:`rox.review.backtest_scores.scores` gave.
        forecasts: Names of the forecasts to use; all by default.
    """
    columns = ["forecast", "grade", "estimate", "estimate_se", "actual", "se"]
    if table.empty:
        return pd.DataFrame(columns=columns)
    keep = table["counts"].astype(bool) & table["estimate"].notna() & (table["estimate_se"] > 0)
    if forecasts:
        keep &= table["forecast"].isin(forecasts)
    return table.loc[keep, columns].reset_index(drop=True)
