"""What past evaluations and published findings say about the next initiative, as a prior with its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import BIAS_LAYERS, Check, Grade, Verdict
from rox.core.errors import FitError
from rox.core.estimand import Estimand
from rox.core.register import Evaluation, Published, Register
from rox.core.words import Language, say
from rox.models.phrases import amount, p_value
from rox.numerics.normal_mixture import NormalMixture
from rox.numerics.pooling import Pooled, pool, predict_unit

Floats = NDArray[np.float64]
HORIZON_REACH = 1.5
"""Longest horizon, relative to the shorter of two, at which effects are compared as they stand."""
CONFLICT = 0.05
"""Probability below which an estimate is called at odds with a prior."""
DRAWS = 20_000
COMPONENTS = (1, 2, 3)
ENTHUSIASTIC = float(NormalMixture.normal(0, 1).quantile(0.95))
"""An enthusiast gives one chance in twenty that the effect is below zero (Spiegelhalter, Freedman & Parmar 1994)."""


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What one finding of the register gave to a prior.

    Attributes:
        name: Its name in the register.
        published: Whether others published it.
        grade: The grade it counts with.
        estimate: As registered.
        se: As registered.
        mean: After the evidence discount of its grade.
        sd: After it; for a published finding after its own discount too, around the mean of the type.
        weight: Share in the mean of the prior before it is made robust; the shares and that of the vague start sum to
            one. Zero when left out.
        reason: Why it was left out; empty when it counts.
        differs: The fields it differs in.
        horizon: Its horizon in months.
    """

    name: str
    published: bool
    grade: Grade
    estimate: float
    se: float
    mean: float
    sd: float
    weight: float = 0.0
    reason: str = ""
    differs: tuple[str, ...] = ()
    horizon: int

    def why(self, language: Language = "en") -> str:
        """Say why it was left out; nothing when it counts."""
        if not self.reason:
            return ""
        fields = [say(f"prior.field.{name}", language) for name in self.differs]
        return say(self.reason, language, fields=say("prior.comma", language).join(fields), months=self.horizon)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prior:
    """What is believed of a new initiative before its own data.

    Attributes:
        mixture: The prior to use.
        informative: The same before the vague component was mixed in.
        type: Kind of initiative.
        estimand: What it is a prior of.
        contributions: What every finding of that kind gave, those left out included.
        robust: Share of the vague component; zero for the sceptical default.
    """

    mixture: NormalMixture
    informative: NormalMixture
    type: str
    estimand: Estimand
    contributions: tuple[Contribution, ...] = ()
    robust: float = 0.0

    @property
    def used(self) -> tuple[Contribution, ...]:
        """The findings that count."""
        return tuple(each for each in self.contributions if not each.reason)

    @property
    def is_default(self) -> bool:
        """Whether nothing could be learnt and the sceptical default stands."""
        return not self.used

    def table(self, language: Language = "en") -> pd.DataFrame:
        """List every finding for a reader: what it gave, or why it was left out."""
        kinds = {False: say("prior.kind.evaluation", language), True: say("prior.kind.published", language)}
        columns = {
            "finding": [each.name for each in self.contributions],
            "kind": [kinds[each.published] for each in self.contributions],
            "grade": [str(each.grade) for each in self.contributions],
            "estimate": [each.estimate for each in self.contributions],
            "se": [each.se for each in self.contributions],
            "discounted": [each.mean for each in self.contributions],
            "discounted_sd": [each.sd for each in self.contributions],
            "weight": [each.weight for each in self.contributions],
            "why": [each.why(language) for each in self.contributions],
        }
        return pd.DataFrame({say(f"prior.{name}", language): values for name, values in columns.items()})

    def text(self, language: Language = "en") -> str:
        """Say in a few sentences where the prior comes from and what it holds likely."""
        currency = self.estimand.currency
        low, high = (amount(float(each), currency) for each in self.mixture.quantile([0.05, 0.95]))
        left = [each.name for each in self.contributions if each.reason]
        common = {"kind": self.type, "mean": amount(self.mixture.mean, currency), "low": low, "high": high}
        if self.is_default:
            parts = [say("prior.text.sceptical", language, **common)]
        else:
            published = sum(each.published for each in self.used)
            counts = {"evaluations": len(self.used) - published, "published": published, "robust": 100 * self.robust}
            parts = [say("prior.text.learnt", language, **common, **counts)]
        if left:
            parts.append(say("prior.text.left_out", language, names=say("prior.comma", language).join(left)))
        return ("" if language == "zh" else " ").join(parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class PriorReadings:
    """One estimate read with three priors.

    Attributes:
        table: One row per prior, ``sceptical``, ``neutral``, ``enthusiastic``; columns ``prior_mean``, ``prior_sd``,
            ``mean``, ``sd``, ``low``, ``high`` (90%), ``p_positive``, ``p_above`` (break-even), ``prior_weight`` and
            ``conflict_p``: how surprising the estimate is, to the register before the vague component was mixed in.
        checks: Whether data and prior agree (ROX-B01), and whether the decision depends on the prior (ROX-B02).
        posterior: The posterior of each row.
    """

    table: pd.DataFrame
    checks: tuple[Check, ...]
    posterior: Mapping[str, NormalMixture]

    def __post_init__(self) -> None:
        object.__setattr__(self, "posterior", MappingProxyType(dict(self.posterior)))


def discounted(estimate: float, se: float, grade: Grade) -> tuple[float, float]:
    """Return mean and standard deviation of the truth behind an estimate of a grade.

    The truth is the estimate without its sampling error, times the grade's factor M: with M ~ (m, s²) the product has
    mean m·estimate and variance m²se² + s²(estimate² + se²).
    """
    layer = BIAS_LAYERS[grade]
    return layer.mean * estimate, float(np.sqrt((layer.mean * se) ** 2 + layer.sd**2 * (estimate**2 + se**2)))


def map_prior(
    register: Register,
    *,
    type: str,
    estimand: Estimand,
    vague_sd: float,
    sceptical_sd: float,
    robust: float = 0.2,
    tau_scale: float | None = None,
    segments: Sequence[str] = (),
    rng: int | np.random.Generator | None = None,
) -> Prior:
    """Learn the prior of a new initiative from past ones of the same kind (meta-analytic-predictive prior).

    Estimand: the effect of one further initiative of this kind. It assumes that initiatives of a kind are exchangeable:
    theta_k ~ N(mu, tau²), tau ~ half-normal. Each evaluation enters after the evidence discount of its grade, so that
    weak evidence counts for less. A published finding does not enter as one of them: it only shapes the prior of mu,
    with its variance (tau_scale² included) divided by its discount, the power prior of Ibrahim & Chen (2000). The
    predictive distribution is approximated by one to three normals, and a vague normal around zero takes a share, so
    that data at odds with the past win (Schmidli et al. 2014).

    Findings that answer another question, in another unit, per another dose, or whose horizon is more than half as
    long again as the other, are left out and named.

    Args:
        register: What is known.
        type: Kind of initiative.
        estimand: What the new study estimates.
        vague_sd: Standard deviation of the vague component and of the prior of mu, both centred at zero.
        sceptical_sd: Standard deviation of the prior around zero that stands when no finding can be used.
        robust: Share of the vague component.
        tau_scale: Scale of the prior of the spread between initiatives; half of ``sceptical_sd`` by default.
        segments: Segments of the new initiative; a finding about other segments only counts a grade lower.
        rng: Seed or generator of the predictive draws.

    Raises:
        FitError: Scales that are not positive or a share outside 0..1; every fault in one message.
    """
    scales = {"vague_sd": vague_sd, "sceptical_sd": sceptical_sd}
    if tau_scale is not None:
        scales["tau_scale"] = tau_scale
    faults = [f"{name} is {value:g}; needed: above 0" for name, value in scales.items() if not value > 0]
    if not 0 <= robust < 1:
        faults.append(f"robust is {robust:g}; needed: a share from 0 to below 1")
    if faults:
        raise FitError("No prior can be made.", faults)
    tau_scale = sceptical_sd / 2 if tau_scale is None else tau_scale
    found = [_contribution(each, estimand, tuple(segments), tau_scale) for each in register.of_type(type)]
    used = [each for each in found if not each.reason]
    if not used:
        sceptical = NormalMixture.normal(0.0, sceptical_sd)
        return Prior(mixture=sceptical, informative=sceptical, type=type, estimand=estimand, contributions=tuple(found))
    start = NormalMixture.normal(0.0, vague_sd)
    for each in used:
        if each.published:
            start = start.updated(each.mean, each.sd)
    own = [each for each in used if not each.published]
    draws, shares = _predicted(own, start, tau_scale, np.random.default_rng(rng))
    informative = NormalMixture.fitted(draws, COMPONENTS)
    return Prior(
        mixture=informative.robust(robust, 0.0, vague_sd),
        informative=informative,
        type=type,
        estimand=estimand,
        contributions=_weighted(found, shares, start.sd),
        robust=robust,
    )


def prior_readings(
    estimate: float,
    se: float,
    prior: Prior,
    *,
    sceptical_sd: float,
    enthusiastic: NormalMixture | None = None,
    break_even: float = 0.0,
    grade: Grade | None = None,
) -> PriorReadings:
    """Read one estimate with a sceptical, the learnt and an enthusiastic prior.

    Larger effects are better here; turn the signs of hazards. A posterior already holds the evidence discount when
    ``grade`` is given and must not be discounted again.

    Args:
        estimate: What the new study found, in the unit of the prior.
        se: Its standard error.
        prior: What was known before.
        sceptical_sd: Standard deviation of the sceptical prior, centred at zero.
        enthusiastic: The enthusiast's prior; by default as wide as the sceptic's, with one chance in twenty below zero.
        break_even: Effect above which the initiative pays.
        grade: Grade of the new study; its evidence discount is applied to the estimate first.

    Raises:
        FitError: Scales that are not positive or values that are not finite; every fault in one message.
    """
    scales = {"se": se, "sceptical_sd": sceptical_sd}
    faults = [f"{name} is {value:g}; needed: above 0" for name, value in scales.items() if not 0 < value < np.inf]
    values = {"estimate": estimate, "break_even": break_even}
    faults += [f"{name} is {value:g}; needed: a number" for name, value in values.items() if not np.isfinite(value)]
    if faults:
        raise FitError("The estimate cannot be read with these priors.", faults)
    mean, sd = (estimate, se) if grade is None else discounted(estimate, se, grade)
    priors = {
        "sceptical": NormalMixture.normal(0.0, sceptical_sd),
        "neutral": prior.mixture,
        "enthusiastic": enthusiastic or NormalMixture.normal(ENTHUSIASTIC * sceptical_sd, sceptical_sd),
    }
    posterior = {name: each.updated(mean, sd) for name, each in priors.items()}
    rows = [_reading(each, posterior[name], mean, sd, break_even) for name, each in priors.items()]
    table = pd.DataFrame(rows, index=pd.Index(list(priors), name="prior"))
    table.loc["neutral", "conflict_p"] = prior.informative.conflict(mean, sd)
    currency = prior.estimand.currency
    return PriorReadings(table=table, checks=_checks(table, amount(break_even, currency)), posterior=posterior)


def _contribution(
    finding: Evaluation | Published, estimand: Estimand, segments: tuple[str, ...], tau_scale: float
) -> Contribution:
    """Discount a finding, or say why it is left out."""
    elsewhere = bool(segments and finding.segments and not set(segments) & set(finding.segments))
    grade = finding.grade.lowered() if elsewhere else finding.grade
    mean, sd = discounted(finding.estimate, finding.error, grade)
    published = isinstance(finding, Published)
    if isinstance(finding, Published):
        sd = NormalMixture.normal(mean, float(np.hypot(sd, tau_scale))).discounted(finding.discount).sd
    differs = finding.differences(estimand)
    lengths = sorted((finding.horizon, estimand.horizon))
    reason = ""
    if differs:
        reason = "prior.reason.differs"
    elif lengths[1] > HORIZON_REACH * lengths[0]:
        reason = "prior.reason.horizon"
    return Contribution(
        name=finding.name,
        published=published,
        grade=grade,
        estimate=finding.estimate,
        se=finding.error,
        mean=mean,
        sd=sd,
        reason=reason,
        differs=differs,
        horizon=finding.horizon,
    )


def _predicted(
    own: Sequence[Contribution], start: NormalMixture, tau_scale: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw the effect of a further initiative; return with it each evaluation's share in the mean."""
    if not own:
        spread = tau_scale * np.abs(rng.standard_normal(DRAWS))
        return start.draw(DRAWS, rng) + spread * rng.standard_normal(DRAWS), np.zeros(0)
    pooled = pool(
        [each.mean for each in own],
        [each.sd**2 for each in own],
        gamma_mean=[start.mean],
        gamma_covariance=start.sd**2,
        tau_scale=tau_scale,
        n=DRAWS,
        rng=rng,
    )
    return predict_unit(pooled, rng=rng), _shares(pooled, own, start.sd)


def _shares(pooled: Pooled, own: Sequence[Contribution], start_sd: float) -> Floats:
    """Return each evaluation's share in the mean of mu, averaged over tau; what is left is that of its prior."""
    precision = 1 / (np.array([each.sd**2 for each in own]) + pooled.tau_grid[:, None] ** 2)
    shares = precision / (precision.sum(1, keepdims=True) + 1 / start_sd**2)
    return np.asarray(pooled.tau_probability @ shares)


def _weighted(found: Sequence[Contribution], shares: Floats, start_sd: float) -> tuple[Contribution, ...]:
    """Give every finding its share: evaluations from the pool, published ones of what is left to the prior of mu."""
    left, own = 1 - float(shares.sum()), iter(shares)
    weighted = []
    for each in found:
        weight = 0.0
        if not each.reason:
            weight = left * start_sd**2 / each.sd**2 if each.published else float(next(own))
        weighted.append(replace(each, weight=weight))
    return tuple(weighted)


def _reading(
    prior: NormalMixture, posterior: NormalMixture, mean: float, sd: float, break_even: float
) -> dict[str, float]:
    worth = prior.effective_size(sd)
    low, high = posterior.quantile([0.05, 0.95])
    return {
        "prior_mean": prior.mean,
        "prior_sd": prior.sd,
        "mean": posterior.mean,
        "sd": posterior.sd,
        "low": float(low),
        "high": float(high),
        "p_positive": float(posterior.above(0.0)),
        "p_above": float(posterior.above(break_even)),
        "prior_weight": worth / (worth + 1),
        "conflict_p": prior.conflict(mean, sd),
    }


def _checks(table: pd.DataFrame, break_even: str) -> tuple[Check, ...]:
    """Compare data and learnt prior, and the decisions the three priors lead to."""
    p = float(table["conflict_p"]["neutral"])
    above = {str(name): float(share) for name, share in table["p_above"].items()}
    depends = len({share > 0.5 for share in above.values()}) > 1
    return (
        Check(code="ROX-B01", verdict=Verdict.NOTE if p < CONFLICT else Verdict.PASS, values={"p": p_value(p)}),
        Check(
            code="ROX-B02",
            verdict=Verdict.DEMOTE if depends else Verdict.PASS,
            values={"break_even": break_even, **{name: 100 * share for name, share in above.items()}},
        ),
    )
