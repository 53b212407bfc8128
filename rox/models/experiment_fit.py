"""Effects of an assignment by segment, with one covariance over segments and outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rox.models.experiment_adjustment import covariates
from rox.models.experiment_rows import Arms, Bools, Floats
from rox.numerics.adjusted import Adjusted, adjusted_effect
from rox.numerics.experiment import p_of, satterthwaite

LEVEL = 0.90


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentEffects:
    """Effects on outcomes by segment. s = segments, k = outcomes.

    Attributes:
        estimate: Shape (s, k).
        covariance: Shape (s, k, s, k).
        df: Shape (s, k).
        treated: Shape (s, k): mean if all customers of the segment had been assigned to treatment.
        control: Shape (s, k): mean if none had.
        customers: Shape (s, 2): customers of the treated and of the control arm.
        sizes: Shape (s, 2): what was assigned, customers or places, of the two arms.
        adjusted_for: Shape (s,): number of covariates.
        groups: Names of the segments.
        by_place: Whether segments share places, and so errors.
    """

    estimate: Floats
    covariance: Floats
    df: Floats
    treated: Floats
    control: Floats
    customers: NDArray[np.int64]
    sizes: NDArray[np.int64]
    adjusted_for: NDArray[np.int64]
    groups: tuple[str, ...]
    by_place: bool

    @property
    def se(self) -> Floats:
        """Shape (s, k): standard errors."""
        return np.asarray(np.sqrt(np.einsum("sksk->sk", self.covariance)))

    def overall(self, shares: Floats) -> Overall:
        """Average segments by their shares of customers."""
        covariance = np.einsum("s,sktl,t->kl", shares, self.covariance, shares)
        parts = (shares[:, None] * self.se) ** 2
        df = np.array([satterthwaite(parts[:, k], self.df[:, k]) for k in range(parts.shape[1])])
        return Overall(
            estimate=shares @ self.estimate,
            covariance=covariance,
            df=np.minimum(df, self.df.max(0)) if self.by_place else df,
            treated=shares @ self.treated,
            control=shares @ self.control,
        )

    def widened(self) -> Floats:
        """Return the covariance with errors widened from t to normal, for draws that stand for few places too."""
        factor = special.stdtrit(self.df, (1 + LEVEL) / 2) / special.ndtri((1 + LEVEL) / 2)
        return np.asarray(factor[:, :, None, None] * self.covariance * factor)


@dataclass(frozen=True, kw_only=True, eq=False)
class Overall:
    """Effects on outcomes, segments averaged. Each has shape (k,), the covariance (k, k)."""

    estimate: Floats
    covariance: Floats
    df: Floats
    treated: Floats
    control: Floats

    @property
    def se(self) -> Floats:
        """Shape (k,): standard errors."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def interval(self, level: float = LEVEL) -> tuple[Floats, Floats]:
        """Return the ends of t intervals, each of shape (k,)."""
        half = special.stdtrit(self.df, (1 + level) / 2) * self.se
        return self.estimate - half, self.estimate + half

    def p(self) -> Floats:
        """Return two-sided p-values, shape (k,)."""
        return np.array([p_of(*each) for each in zip(self.estimate, self.se, self.df, strict=True)])


def segment_effects(
    arms: Arms, outcomes: Floats, *, adjust: bool, known: Bools | None = None, treated: str | None = None
) -> SegmentEffects:
    """Estimate the effect of an arm against control in every segment.

    Args:
        arms: The experiment.
        outcomes: Shape (n, k).
        adjust: Whether to adjust for what was known before the lot beyond its strata.
        known: Shape (n,): whose outcomes are known; by default those with money through the window.
        treated: The arm; by default the one asked for.

    Raises:
        ValueError: A segment with too few customers or places in an arm.
    """
    arm = treated or arms.treated
    side = np.asarray(arms.arm == arm)
    used = arms.in_arms(arm) & (arms.seen if known is None else known)
    labels, unit = np.unique(arms.place, return_inverse=True)
    k = outcomes.shape[1]
    fits: list[Adjusted] = []
    customers, counts = [], []
    influence = []
    for group in arms.groups:
        inside = used & (arms.segment == group)
        z = covariates(arms, inside, side, adjust=adjust)
        place = unit[inside] if arms.by_place else None
        fit = adjusted_effect(outcomes[inside], side[inside], z, cluster=place)
        fits.append(fit)
        customers.append([int((inside & side).sum()), int((inside & ~side).sum())])
        counts.append(z.shape[1])
        if arms.by_place:
            full = np.zeros((labels.size, k))
            full[np.unique(unit[inside])] = fit.influence
            influence.append(full)
    s = len(fits)
    covariance = np.zeros((s, k, s, k))
    for i in range(s):
        covariance[i, :, i, :] = fits[i].covariance
        for j in range(s if arms.by_place else 0):
            if i != j:
                covariance[i, :, j, :] = influence[i].T @ influence[j]
    return SegmentEffects(
        estimate=np.array([fit.estimate for fit in fits]),
        covariance=covariance,
        df=np.array([fit.df for fit in fits]),
        treated=np.array([fit.treated for fit in fits]),
        control=np.array([fit.control for fit in fits]),
        customers=np.array(customers),
        sizes=np.array([fit.sizes for fit in fits]),
        adjusted_for=np.array(counts),
        groups=arms.groups,
        by_place=arms.by_place,
    )
