"""Ask how strong a hidden cause would have to be: omitted variables, coefficient stability, E-values, specifications.

Three answers for three kinds of estimate. Cinelli & Hazlett (2020, JRSS B 82) measure a hidden cause by the share of
what is left unexplained (partial R2) that it explains, and compare it with covariates that were seen. Oster (2019,
JBES 37) measures it by how the estimate moved when covariates came in. VanderWeele & Ding (2017, Annals of Internal
Medicine 167) measure it by two risk ratios. All speak of hidden causes only: none repairs a wrong question or scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from rox.numerics.arrays import Bools, Floats, Ints, choice, complain, freeze, in_unit_interval, vector


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """What a hidden cause must explain to change an estimate, as shares (0..1) of variance not explained so far."""

    partial_r2: float
    """Of the treatment with the outcome. Also: if a hidden cause explains all that is left of the outcome, it must
    explain this share of the treatment to remove the whole estimate."""
    robustness_value: float
    """A hidden cause that explains less than this of both treatment and outcome cannot remove the share q."""
    robustness_value_at_level: float
    """The same for leaving an estimate that no longer differs from (1-q) times the estimate; 0 if it does not differ
    now, NaN without a level."""
    q: float
    level: float | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A covariate, or a group of columns, whose strength is the yardstick for a hidden cause."""

    name: str
    r2_outcome: float
    """Partial R2 with the outcome, given treatment and the other covariates; in [0, 1)."""
    r2_treatment: float
    """Partial R2 with the treatment, given the other covariates; in [0, 1)."""

    def __post_init__(self) -> None:
        complain(
            [
                f"{field} of benchmark {self.name!r} must lie in [0, 1), got {value}"
                for field, value in (("r2_outcome", self.r2_outcome), ("r2_treatment", self.r2_treatment))
                if not 0 <= value < 1
            ]
        )


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The worst that a hidden cause k times as strong as a benchmark does to an estimate. m = multiples.

    A multiple at which the hidden cause would explain all of the treatment, or more, cannot exist: there the estimate,
    its error and t are NaN, and r2_treatment is 1 or more.
    """

    name: str
    multiple: Floats
    """(m,)."""
    r2_treatment: Floats
    """(m,) partial R2 of the hidden cause with the treatment."""
    r2_outcome: Floats
    """(m,) partial R2 of the hidden cause with the outcome, at most 1; NaN where the multiple cannot exist."""
    estimate: Floats
    """(m,) moved towards zero, and beyond it if the cause is strong enough."""
    se: Floats
    """(m,); zero where the hidden cause explains the whole outcome."""
    t: Floats
    """(m,) estimate / se; infinite where se is zero."""
    capped: Bools
    """(m,) whether r2_outcome came out above 1 and was set to 1."""

    def __post_init__(self) -> None:
        freeze(self, "multiple", "r2_treatment", "r2_outcome", "estimate", "se", "t", "capped")


def partial_r2(t: float, df: float) -> float:
    """Return the partial R2 of one column from its t statistic and residual degrees of freedom: t^2 / (t^2 + df)."""
    _require_fit(1.0, 1.0, df)
    return float(t**2 / (t**2 + df))


def group_partial_r2(f: float, *, columns: int, df: float) -> float:
    """Return the joint partial R2 of several columns from the F statistic that drops them: pF / (pF + df).

    Raises:
        ValueError: a negative F, no column, or no degrees of freedom.
    """
    _require_fit(1.0, 1.0, df)
    if f < 0 or columns < 1:
        raise ValueError(f"needs F >= 0 of at least one column, got F {f} of {columns} columns")
    return float(columns * f / (columns * f + df))


def benchmark_from_t(name: str, *, t_outcome: float, t_treatment: float, df: float) -> Benchmark:
    """Describe one benchmark column by its t statistics in two regressions on the same rows.

    Args:
        name: of the column.
        t_outcome: in the regression of the outcome on treatment and covariates, with df residual degrees of freedom.
        t_treatment: in the regression of the treatment on the covariates, which has df + 1.
        df: of the outcome regression.

    Both t must be the classical ones: partial R2 is a matter of fit, not of clustering.
    """
    return Benchmark(name=name, r2_outcome=partial_r2(t_outcome, df), r2_treatment=partial_r2(t_treatment, df + 1))


def robustness(estimate: float, se: float, df: float, *, q: float = 1.0, level: float | None = None) -> Robustness:
    """Return the robustness values of a regression coefficient (Cinelli & Hazlett 2020, sections 4.2 and 4.3).

    Args:
        estimate: coefficient of the treatment.
        se: its classical standard error.
        df: residual degrees of freedom.
        q: share of the estimate that the hidden cause must remove; 1 is all of it.
        level: of the interval that must no longer exclude (1-q) times the estimate, such as 0.95.

    Raises:
        ValueError: numbers that are not finite, se or q not positive, or df not above 1.

    Example:
        >>> found = robustness(0.0973158, 0.0232565, 783, level=0.95)
        >>> round(found.robustness_value, 4), round(found.robustness_value_at_level, 4)
        (0.1388, 0.0763)
    """
    _require_fit(estimate, se, df)
    if not (np.isfinite(q) and q > 0):
        raise ValueError(f"q must be positive, got {q}")
    t = abs(estimate / se)
    f = q * t / np.sqrt(df)
    at_level = np.nan
    if level is not None:
        in_unit_interval(level)
        critical = special.stdtrit(df - 1, (1 + level) / 2) / np.sqrt(df - 1)
        at_level = _robustness_value(f - critical)
        if f > 1 / critical:
            at_level = (f**2 - critical**2) / (1 + f**2)
    return Robustness(
        partial_r2=partial_r2(t, df),
        robustness_value=_robustness_value(f),
        robustness_value_at_level=float(at_level),
        q=q,
        level=level,
    )


def _robustness_value(f: float) -> float:
    """Return (sqrt(f^4 + 4 f^2) - f^2) / 2 in a form that does not cancel for large f; 0 for f <= 0."""
    return float(2 / (1 + np.sqrt(1 + 4 / f**2))) if f > 0 else 0.0


def benchmark_bounds(
    estimate: float, se: float, df: float, benchmark: Benchmark, *, multiples: ArrayLike = (1.0, 2.0, 3.0)
) -> Bounds:
    """Bound the estimate under a hidden cause k times as strong as a benchmark (Cinelli & Hazlett 2020, section 4.4).

    "k times as strong" holds for the treatment and for the outcome at once: the share of what the other covariates
    leave unexplained that the hidden cause explains is k times the benchmark's. The hidden cause is taken orthogonal to
    the covariates; for a benchmark of several columns give their joint partial R2.

    Args:
        estimate: coefficient of the treatment.
        se: its classical standard error.
        df: residual degrees of freedom.
        benchmark: the yardstick.
        multiples: (m,) k > 0.

    Raises:
        ValueError: numbers that are not finite, se not positive, df not above 1, or multiples that are not positive.
    """
    _require_fit(estimate, se, df)
    k = vector(np.atleast_1d(np.asarray(multiples, dtype=np.float64)), "multiples")
    if (k <= 0).any():
        raise ValueError(f"multiples must be positive, got {k.tolist()}")
    r2d, r2y, capped = _strengths(benchmark, k)
    with np.errstate(divide="ignore", invalid="ignore"):
        adjusted = np.copysign(1.0, estimate) * (abs(estimate) - _bias(se, df, r2d, r2y))
        error = np.sqrt((1 - r2y) / (1 - np.minimum(r2d, 1))) * se * np.sqrt(df / (df - 1))
        t = adjusted / error
    return Bounds(
        name=benchmark.name,
        multiple=k,
        r2_treatment=r2d,
        r2_outcome=r2y,
        estimate=adjusted,
        se=error,
        t=t,
        capped=capped,
    )


def multiple_that_removes(estimate: float, se: float, df: float, benchmark: Benchmark, *, share: float = 1.0) -> float:
    """Return how many times as strong as the benchmark a hidden cause must be to remove a share of the estimate.

    Infinite when no multiple can, because the benchmark has nothing to do with treatment or outcome. Always below the
    multiple at which the hidden cause would explain the whole treatment.

    Args:
        estimate: coefficient of the treatment.
        se: its classical standard error.
        df: residual degrees of freedom.
        benchmark: the yardstick.
        share: 1 brings the estimate to zero, 0.5 to half.

    Raises:
        ValueError: as `benchmark_bounds`, or a share that is not positive.
    """
    _require_fit(estimate, se, df)
    if not (np.isfinite(share) and share > 0):
        raise ValueError(f"share must be positive, got {share}")
    if estimate == 0:
        return 0.0
    if benchmark.r2_treatment == 0 or benchmark.r2_outcome == 0:
        return np.inf
    largest = (1 - benchmark.r2_treatment) / benchmark.r2_treatment
    target = share * abs(estimate)

    def left(log_k: float) -> float:
        r2d, r2y, _ = _strengths(benchmark, np.array([np.exp(log_k)]))
        return float(_bias(se, df, r2d, r2y)[0]) - target

    high = np.log(largest) - 1e-12
    if left(high) <= 0:
        return float(largest)
    low = high - 1.0
    while left(low) > 0:
        low -= 2.0
    return float(np.exp(optimize.brentq(left, low, high, xtol=1e-13)))


def _strengths(benchmark: Benchmark, k: Floats) -> tuple[Floats, Floats, Bools]:
    """Return partial R2 of the hidden cause with treatment and outcome, and where the latter was cut to 1."""
    d, y = benchmark.r2_treatment, benchmark.r2_outcome
    r2d = k * d / (1 - d)
    possible = r2d < 1
    with np.errstate(divide="ignore", invalid="ignore"):
        shared = np.where(possible, k * d**2 / ((1 - k * d) * (1 - d)), np.nan)
        raw = ((np.sqrt(k) + np.sqrt(shared)) / np.sqrt(1 - shared)) ** 2 * y / (1 - y)
    capped = np.asarray(raw > 1)
    return r2d, np.asarray(np.where(capped, 1.0, raw)), capped


def _bias(se: float, df: float, r2d: Floats, r2y: Floats) -> Floats:
    return np.asarray(se * np.sqrt(df) * np.sqrt(r2y * r2d / (1 - r2d)))


def _require_fit(estimate: float, se: float, df: float) -> None:
    faults = []
    if not np.isfinite(estimate):
        faults.append(f"estimate must be finite, got {estimate}")
    if not (np.isfinite(se) and se > 0):
        faults.append(f"se must be positive, got {se}")
    if not (np.isfinite(df) and df > 1):
        faults.append(f"df must be above 1, got {df}")
    complain(faults)


@dataclass(frozen=True, kw_only=True)
class EValue:
    """The weakest hidden cause that explains an estimate away, as a risk ratio with both treatment and outcome."""

    point: float
    """For the estimate."""
    limit: float
    """For the limit of the interval nearer to the null; 1 if the interval holds the null, NaN without that limit."""
    ratio: float
    """The estimate as an (approximate) risk ratio."""


_RATIOS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "risk_ratio": lambda x: x,
        "odds_ratio_rare": lambda x: x,
        "odds_ratio_common": lambda x: float(np.sqrt(x)),
        "hazard_ratio_rare": lambda x: x,
        "hazard_ratio_common": lambda x: float(np.expm1(-np.log(2) * np.sqrt(x)) / np.expm1(-np.log(2) / np.sqrt(x))),
        "standardised_difference": lambda x: float(np.exp(0.91 * x)),
    }
)
E_VALUE_MEASURES = tuple(_RATIOS)
"""Outcomes are rare below about 15% by the end of follow-up, common above."""


def e_value(
    estimate: float,
    *,
    measure: str,
    low: float | None = None,
    high: float | None = None,
    null: float | None = None,
) -> EValue:
    """Return the E-value of an estimate and of its interval (VanderWeele & Ding 2017).

    E = RR + sqrt(RR (RR - 1)) for RR >= 1, of 1/RR below 1. Conversions to a risk ratio: square root of the odds ratio
    of a common outcome; (1 - 0.5^sqrt(HR)) / (1 - 0.5^sqrt(1/HR)) for the hazard ratio of a common one; exp(0.91 d) for
    a difference in standard deviations of the outcome (for a regression: coefficient / residual sd).

    Args:
        estimate: on the scale of the measure.
        measure: one of `E_VALUE_MEASURES`.
        low: lower limit of the interval, same scale.
        high: upper limit.
        null: value to be explained away to, same scale; default 1 for ratios, 0 for differences.

    Raises:
        ValueError: an unknown measure, ratios that are not positive, or limits on the wrong side of the estimate.

    Example:
        >>> found = e_value(3.9, measure="risk_ratio", low=1.8, high=8.7)
        >>> round(found.point, 2), round(found.limit, 2)
        (7.26, 3.0)
    """
    choice(measure, E_VALUE_MEASURES, "measure")
    is_ratio = measure != "standardised_difference"
    reference = float(is_ratio) if null is None else null
    given = {"estimate": estimate, "low": low, "high": high, "null": reference}
    faults = [
        f"{name} must be {'a positive ratio' if is_ratio else 'finite'}, got {value}"
        for name, value in given.items()
        if value is not None and (not np.isfinite(value) or (is_ratio and value <= 0))
    ]
    if (low is not None and low > estimate) or (high is not None and high < estimate):
        faults.append(f"the estimate {estimate} lies outside its interval [{low}, {high}]")
    complain(faults)
    convert = _RATIOS[measure]
    near = low if estimate > reference else high
    if estimate == reference:
        limit = 1.0
    elif near is None:
        limit = np.nan
    else:
        crosses = (near <= reference) if estimate > reference else (near >= reference)
        limit = 1.0 if crosses else _e(convert(near) / convert(reference))
    ratio = convert(estimate)
    return EValue(point=_e(ratio / convert(reference)), limit=float(limit), ratio=ratio)


def _e(ratio: float) -> float:
    above = max(ratio, 1 / ratio)
    return float(above + np.sqrt(above * (above - 1)))


@dataclass(frozen=True, kw_only=True)
class SpecificationSummary:
    """Estimates of one quantity under several defensible specifications, sorted. k = specifications."""

    order: Ints
    """(k,) where each came from."""
    estimate: Floats
    """(k,) ascending."""
    se: Floats
    """(k,)."""
    marked: int
    """Place of the specification declared beforehand in the sorted curve."""
    median: float
    same_sign: float
    """Share of all specifications, the marked one included, with the marked one's sign; zero has no sign."""
    low: float
    high: float

    def __post_init__(self) -> None:
        freeze(self, "order", "estimate", "se")


def specification_summary(estimates: ArrayLike, ses: ArrayLike, marked: int) -> SpecificationSummary:
    """Summarise a specification curve (Simonsohn, Simmons & Nelson 2020).

    Args:
        estimates: (k,).
        ses: (k,) not negative.
        marked: position of the specification that was declared beforehand.

    Raises:
        ValueError: no estimates, shapes that do not fit, negative errors, or no such position.
    """
    values = vector(estimates, "estimates")
    errors = vector(ses, "ses", values.size)
    faults = [] if (errors >= 0).all() else ["ses has negative values"]
    if not 0 <= marked < values.size:
        faults.append(f"marked must be a position 0..{values.size - 1}, got {marked}")
    complain(faults)
    order = np.argsort(values, kind="stable")
    sign = np.sign(values[marked])
    return SpecificationSummary(
        order=order.astype(np.int64),
        estimate=values[order],
        se=errors[order],
        marked=int(np.flatnonzero(order == marked)[0]),
        median=float(np.median(values)),
        same_sign=float((np.sign(values) == sign).mean()) if sign else 0.0,
        low=float(values.min()),
        high=float(values.max()),
    )
