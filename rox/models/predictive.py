"""Would the model have produced such places? Posterior predictive checks of pooled effects."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rox.core.check import Check, Verdict
from rox.models.phrases import p_value
from rox.numerics.arrays import codes
from rox.numerics.grouped_pooling import GroupedPool, independent_form

Floats = NDArray[np.float64]
LEVEL = 0.01
"""Tail probability below which the data look unlike the model."""
MOST = 1000
"""Draws that are compared."""


def predictive_check(
    estimate: ArrayLike,
    covariance: ArrayLike,
    group: ArrayLike,
    pooled: GroupedPool,
    *,
    cluster: ArrayLike | None = None,
    rng: int | np.random.Generator | None = None,
) -> Check:
    """Hold the estimates behind a pooled posterior against what it would have given (ROX-B06).

    After Gelman, Meng & Stern (1996). Given a draw of effects and of the spread of shocks, the estimates rotated to
    independence and standardised are standard normal. Three discrepancies say where they are not: the largest in size
    (a place that stands out), the mean fourth power (tails that normal shocks do not have), and the mean square (errors
    that are too small or too large).

    Args:
        estimate: Shape (n,): as given to :func:`rox.numerics.grouped_pooling.pool_groups`.
        covariance: Shape (n, n), or (n,) variances.
        group: Shape (n,), labels.
        pooled: Its answer.
        cluster: Shape (n,), labels.
        rng: Seed or generator of the replicates.
    """
    y, v = np.asarray(estimate, dtype=float), np.asarray(covariance, dtype=float)
    v = np.diag(v) if v.ndim == 1 else v
    group_code, groups = codes(group, "group", y.size)
    whole = np.eye(groups.size)[group_code]
    if cluster is None:
        root = np.linalg.cholesky(v)
        z, design, shock = np.linalg.solve(root, y), np.linalg.solve(root, whole), np.zeros(y.size)
    else:
        z, design, shock = independent_form(y, v, whole, codes(cluster, "cluster", y.size)[0])
    some = slice(None, None, max(len(pooled.effects) // MOST, 1))
    scale = np.sqrt(1 + (pooled.between_clusters[some, None] * shock) ** 2)
    seen = (z - pooled.effects[some] @ design.T) / scale
    like = np.random.default_rng(rng).standard_normal(seen.shape)
    outlier = float((np.abs(like).max(1) >= np.abs(seen).max(1)).mean())
    tails = float(((like**4).mean(1) >= (seen**4).mean(1)).mean())
    wider = float(((like**2).mean(1) >= (seen**2).mean(1)).mean())
    spread = 2 * min(wider, 1 - wider)
    odd = min(outlier, tails, spread) < LEVEL
    return Check(
        code="ROX-B06",
        verdict=Verdict.NOTE if odd else Verdict.PASS,
        values={"outlier": p_value(outlier), "tails": p_value(tails), "spread": p_value(spread)},
    )
