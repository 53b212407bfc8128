"""Measure a break in one series: segmented regression, and a structural forecast of what would have been.

Segmented regression (Bernal, Cummins & Gasparrini 2017): level, trend, season and other causes, with a change of level
and of slope from a known date on. The structural forecast (Harvey & Durbin 1986; Brodersen et al. 2015) lets the level
wander instead of holding it to a line, and compares what came with what it expected.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import statsmodels.api as sm
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, choice, complain, freeze, vector

ERRORS = ("ar1", "ar1_corrected", "hac", "ols")
GRID = np.linspace(0.0, 0.99, 34)
"""Autocorrelations tried when the bias of the estimated one is taken out."""
SEASONS = ("dummies", "harmonics", "none")
FEWEST_BEFORE, FEWEST_AFTER = 12, 6
YEAR = 12
HARMONICS = 2
ROUNDS = 50


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """A segmented regression. k = coefficients, t = periods."""

    names: tuple[str, ...]
    """(k,) ``level``, ``trend``, ``step``, ``slope`` (if asked), season, controls."""
    coefficients: Floats
    """(k,)."""
    covariance: Floats
    """(k, k)."""
    effect: Floats
    """(t - before,) change of the series against its own course, by period from the break on."""
    design: Floats
    """(t - before, k) what ``effect`` multiplies the coefficients by."""
    residuals: Floats
    """(t,) of the regression, before any correction for autocorrelation."""
    autocorrelation: float
    """First autocorrelation of the residuals."""
    errors: str

    def __post_init__(self) -> None:
        freeze(self, "coefficients", "covariance", "effect", "design", "residuals")

    def se(self, name: str) -> float:
        """Return the standard error of a coefficient."""
        return float(np.sqrt(self.covariance[self.names.index(name), self.names.index(name)]))

    def mean_effect(self, first: int, last: int) -> tuple[float, float]:
        """Return the mean effect over periods ``first`` to ``last`` since the break, with its standard error."""
        row = self.design[first : last + 1].mean(0)
        return float(row @ self.coefficients), float(np.sqrt(row @ self.covariance @ row))


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a series would have done, and how far it was from that. s = periods after the break."""

    effect: Floats
    """(s,) observed less expected."""
    covariance: Floats
    """(s, s) of the errors of what was expected, for given variances."""
    mean: float
    """Mean effect."""
    se: float
    """Of the mean effect."""
    level_sd: float
    """Standard deviation of the level's monthly steps."""

    def __post_init__(self) -> None:
        freeze(self, "effect", "covariance")


def interrupted(
    outcome: ArrayLike,
    *,
    before: int,
    first_month: int = 0,
    controls: ArrayLike | None = None,
    names: tuple[str, ...] = (),
    season: str = "dummies",
    slope: bool = True,
    errors: str = "ar1",
    lags: int | None = None,
) -> Interrupted:
    """Fit a series with a break: y = level + trend·t + step·[t ≥ break] + slope·(t − break)₊ + season + controls.

    It assumes that nothing else happened at the break, and that the trend would have gone on straight.

    Args:
        outcome: (t,) by month.
        before: Months before the break.
        first_month: Calendar month of the first value, 0 is January.
        controls: (t, c) other causes, such as promotions.
        names: (c,) of the controls.
        season: ``dummies`` of months, ``harmonics`` (two pairs of waves) or ``none``.
        slope: Whether the slope may change too.
        errors: ``ar1`` (generalised least squares with first-order autocorrelation), ``ar1_corrected`` (the same at
            the autocorrelation whose residuals would show the one seen, since many coefficients in a short series hide
            some of it), ``hac`` (least squares, Newey & West 1987) or ``ols``.
        lags: Of ``hac``; by default ⌊4·(t/100)^(2/9)⌋ + 1.

    Raises:
        ValueError: Fewer than 12 months before or 6 after, shapes that do not fit, an unknown choice, or causes that
            cannot be told apart.
    """
    choice(errors, ERRORS, "errors")
    choice(season, SEASONS, "season")
    y = vector(outcome, "outcome")
    _long_enough(y.size, before)
    time = np.arange(y.size, dtype=float)
    after = time >= before
    terms = {"level": np.ones(y.size), "trend": time / YEAR, "step": after.astype(float)}
    if slope:
        terms["slope"] = np.where(after, (time - before) / YEAR, 0.0)
    terms |= _season(time.astype(int) + first_month, season)
    terms |= _controls(controls, names, y.size)
    design = np.column_stack(list(terms.values()))
    if np.linalg.matrix_rank(design) < design.shape[1] or y.size <= design.shape[1]:
        raise ValueError(
            f"{design.shape[1]} causes cannot be told apart in {y.size} months; leave out a control, "
            "take season='harmonics' or 'none', or slope=False"
        )
    plain = sm.OLS(y, design).fit()
    fit = _fitted(y, design, plain, errors, lags)
    changed = np.where(np.isin(list(terms), ["step", "slope"]), design[before:], 0.0)
    residuals = np.asarray(plain.resid, dtype=float)
    return Interrupted(
        names=tuple(terms),
        coefficients=np.asarray(fit.params, dtype=float),
        covariance=np.asarray(fit.cov_params(), dtype=float),
        effect=changed @ np.asarray(fit.params, dtype=float),
        design=changed,
        residuals=residuals,
        autocorrelation=float(residuals[1:] @ residuals[:-1] / (residuals @ residuals)),
        errors=errors,
    )


def structural_forecast(
    outcome: ArrayLike,
    *,
    before: int,
    controls: ArrayLike | None = None,
    season: int | None = None,
    after: tuple[int, int] | None = None,
) -> Forecast:
    """Forecast a series from the months before a break: a wandering level, other causes, and perhaps a season.

    Maximum likelihood of a local level model; errors contain the level's steps, the noise of each month and the
    coefficients, not the error of the variances.

    Args:
        outcome: (t,).
        before: Months before the break; later ones do not enter the fit.
        controls: (t, c) other causes, known throughout.
        season: Months of a season that may change slowly; None for none.
        after: First and last month since the break that are averaged; by default all.

    Raises:
        ValueError: Fewer than 12 months before or 6 after, or shapes that do not fit.
    """
    y = vector(outcome, "outcome")
    _long_enough(y.size, before)
    x = None if not (each := _controls(controls, (), y.size)) else np.column_stack(list(each.values()))
    scale = float(y[:before].std()) or 1.0
    model = sm.tsa.UnobservedComponents(
        y[:before] / scale, "llevel", seasonal=season, exog=None if x is None else x[:before], mle_regression=False
    )
    fit = _maximised(model)
    steps = y.size - before
    ahead = fit.get_forecast(steps, exog=None if x is None else x[before:])
    apart = y[before:] - scale * np.asarray(ahead.predicted_mean, dtype=float)
    covariance = scale**2 * _joint(fit, None if x is None else x[before:], steps)
    first, last = (0, steps - 1) if after is None else after
    pick = np.zeros(steps)
    pick[first : last + 1] = 1 / (last + 1 - first)
    parameters = dict(zip(model.param_names, np.asarray(fit.params, dtype=float), strict=True))
    return Forecast(
        effect=apart,
        covariance=covariance,
        mean=float(pick @ apart),
        se=float(np.sqrt(pick @ covariance @ pick)),
        level_sd=scale * float(np.sqrt(max(parameters["sigma2.level"], 0.0))),
    )


def structural_break(
    outcome: ArrayLike, step: ArrayLike, *, controls: ArrayLike | None = None, season: int | None = 12
) -> tuple[float, float, Floats]:
    """Fit a wandering level and season to the whole series with a step of unknown size (Harvey & Durbin 1986).

    Args:
        outcome: (t,).
        step: (t,) zero before the break and one after.
        controls: (t, c) other causes.
        season: Months of a season that may change slowly; None for none.

    Returns:
        The step, its standard error, and the coefficients of the controls, shape (c,).
    """
    y = vector(outcome, "outcome")
    x = np.column_stack([vector(step, "step", y.size), *_controls(controls, (), y.size).values()])
    model = sm.tsa.UnobservedComponents(y, "llevel", seasonal=season, exog=x, mle_regression=False)
    fit = _maximised(model)
    state, error = fit.smoothed_state[-x.shape[1] :, -1], fit.smoothed_state_cov[-x.shape[1] :, -x.shape[1] :, -1]
    return float(state[0]), float(np.sqrt(error[0, 0])), np.asarray(state[1:], dtype=float)


def _long_enough(size: int, before: int) -> None:
    faults = []
    if before < FEWEST_BEFORE:
        faults.append(f"{before} months before the break; needed: {FEWEST_BEFORE}")
    if size - before < FEWEST_AFTER:
        faults.append(f"{size - before} months from the break on; needed: {FEWEST_AFTER}")
    complain(faults)


def _season(month: Any, season: str) -> dict[str, Floats]:
    if season == "none":
        return {}
    if season == "dummies":
        return {f"month_{m + 1}": (month % YEAR == m).astype(float) for m in range(1, YEAR)}
    angle = 2 * np.pi * month / YEAR
    return {
        f"{name}_{k}": wave(k * angle)
        for k in range(1, HARMONICS + 1)
        for name, wave in (("sin", np.sin), ("cos", np.cos))
    }


def _controls(controls: ArrayLike | None, names: tuple[str, ...], size: int) -> dict[str, Floats]:
    if controls is None:
        return {}
    x = np.asarray(controls, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    called = names or tuple(f"control_{i + 1}" for i in range(x.shape[1]))
    if x.shape != (size, len(called)) or not np.isfinite(x).all():
        raise ValueError(f"controls must be ({size}, {len(called)}) finite values, got {x.shape}")
    return {name: x[:, i] for i, name in enumerate(called)}


def _fitted(y: Floats, design: Floats, plain: Any, errors: str, lags: int | None) -> Any:
    if errors == "ols":
        return plain
    if errors == "ar1_corrected":
        return sm.GLSAR(y, design, rho=np.array([_corrected(design, np.asarray(plain.resid, dtype=float))])).fit()
    if errors == "ar1":
        return sm.GLSAR(y, design, rho=1).iterative_fit(maxiter=ROUNDS)
    reach = int(4 * (y.size / 100) ** (2 / 9)) + 1 if lags is None else lags
    return sm.OLS(y, design).fit(cov_type="HAC", cov_kwds={"maxlags": reach})


def _corrected(design: Floats, residuals: Floats) -> float:
    """Return the autocorrelation of errors at which residuals show on average the one seen (ratio of expectations)."""
    size = len(residuals)
    seen = float(residuals[1:] @ residuals[:-1] / (residuals @ residuals))
    left = np.eye(size) - design @ np.linalg.pinv(design)
    beside = (np.eye(size, k=1) + np.eye(size, k=-1)) / 2
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    shown = left @ beside @ left
    expected = np.array([np.sum(shown * rho**apart) / np.sum(left * rho**apart) for rho in GRID])
    return float(np.interp(seen, np.maximum.accumulate(expected), GRID))


def _maximised(model: Any) -> Any:
    """Maximise the likelihood from the default start, by two methods in turn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit(disp=0, maxiter=500, method="powell")
        return model.fit(fit.params, disp=0, maxiter=500)


def _joint(fit: Any, ahead: Floats | None, steps: int) -> Floats:
    """Return the joint covariance of forecasts of the coming months, shape (s, s)."""
    model = fit.model
    parameters = dict(zip(model.param_names, np.asarray(fit.params, dtype=float), strict=True))
    state, cov = fit.filter_results.transition, fit.predicted_state_cov[:, :, -1]
    transition = state[:, :, 0]
    selection, noise = fit.filter_results.selection[:, :, 0], fit.filter_results.state_cov[:, :, 0]
    own = np.asarray(fit.filter_results.design[0, :, -1], dtype=float).copy()
    rows = np.tile(own, (steps, 1))
    if ahead is not None:
        rows[:, -ahead.shape[1] :] = ahead
    joint = np.zeros((steps, steps))
    for i in range(steps):
        onward = cov
        for j in range(i, steps):
            joint[i, j] = joint[j, i] = rows[i] @ onward @ rows[j]
            onward = onward @ transition.T
        cov = transition @ cov @ transition.T + selection @ noise @ selection.T
    return np.asarray(joint + parameters.get("sigma2.irregular", 0.0) * np.eye(steps))
