"""Cox regression on what the answers so far say about experience, with the error of reading them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rox.core.errors import FitError
from rox.models.cox import CoxFit, cox, moved
from rox.models.readings import Calibration
from rox.models.reliability import Reliability

LEAST_PART = 0.02
"""Share of the readings' spread that either part must have for the two to be told apart."""
RESAMPLES = 24
"""Bootstrap draws of the noise of answers that the error takes in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibratedCox:
    """A fit with calibrated readings.

    Attributes:
        fit: The fit, its error enlarged by that of the calibration.
        months: The rows, with the reading in ``score``.
        apart: The fit with the lasting part first and the passing part last; nothing where the data cannot tell
            them apart.
        noise: What the calibration rests on.
    """

    fit: CoxFit
    months: pd.DataFrame
    apart: CoxFit | None
    noise: Reliability


def calibrated_cox(
    months: pd.DataFrame,
    answers: pd.DataFrame,
    noise: Reliability,
    covariates: Callable[[pd.DataFrame], pd.DataFrame],
) -> CalibratedCox:
    """Fit with readings instead of answers, and add what the error of their calibration does to the coefficients.

    The calibration's parameters are redrawn, the readings computed anew, and one Newton step taken; the variance of
    these steps is added to that of the fit (Carroll et al. 2006, section 4.6, of both stages).

    Args:
        months: Customer-months at risk.
        answers: One row per answer: ``customer``, ``answered``, ``segment``, ``score``.
        noise: Of the answers, with its bootstrap.
        covariates: Makes the design from the rows, the score first.
    """
    found = Calibration.of(months, answers)
    rows, found = months[found.known], found.where_known()
    read = rows.assign(score=found.reading(noise.parts[0]))
    design = covariates(read)
    fit = cox(read, design)
    steps = []
    for parameters in noise.parts[1 : RESAMPLES + 1]:
        reading = found.reading(parameters)
        if reading.std() > 0:
            steps.append(moved(fit, read, design.assign(score=reading)))
    extra = np.cov(np.array(steps), rowvar=False).reshape(fit.covariance.shape)
    trait, fading = found.parts(noise.parts[0])
    return CalibratedCox(
        fit=replace(fit, covariance=fit.covariance + extra),
        months=read,
        apart=_apart(read, covariates(read.assign(score=trait)).assign(passing=fading)),
        noise=noise,
    )


def _apart(read: pd.DataFrame, design: pd.DataFrame) -> CoxFit | None:
    """Fit both parts at once, unless one of them hardly varies or the data cannot tell them apart."""
    if design[["score", "passing"]].std().min() <= LEAST_PART * read["score"].std():
        return None
    try:
        return cox(read, design)
    except FitError:
        return None
