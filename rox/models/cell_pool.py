"""Pool effects of segments straight from cells: the full likelihood of amounts, events or counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.cells import Cells
from rox.core.check import Check
from rox.core.errors import DataError
from rox.models.drawn import drawn_check
from rox.numerics.arrays import codes
from rox.numerics.group_coefficients import group_coefficients

if TYPE_CHECKING:
    from rox.models.sampling import Sampled

Floats = NDArray[np.float64]
Family = Literal["gaussian", "poisson", "binomial"]
LEVEL_SD = 5.0
"""Of the prior of the common level, in standard deviations of outcomes, or on the log or logit scale."""
MEAN_SD, BETWEEN_SD, LEVELS_SD, STRATA_SD, NOISE_SD = 1.0, 0.5, 1.0, 1.0, 2.0
"""Scales of the other priors in the same unit."""
EVERYONE = "all"


@dataclass(frozen=True, kw_only=True)
class CellPriors:
    """Scales of the priors, in standard deviations of single outcomes; of events and counts on the logit or log scale.

    Attributes:
        mean: Of the mean of each predictor's coefficients, normal around zero.
        between: Of the spread of coefficients between groups, half-normal.
        levels: Of the spread of levels between groups, half-normal; events and counts give each group its own level.
        strata: Of the spread of intercepts between strata, half-normal.
    """

    mean: float = MEAN_SD
    between: float = BETWEEN_SD
    levels: float = LEVELS_SD
    strata: float = STRATA_SD


@dataclass(frozen=True, kw_only=True, eq=False)
class CellPool:
    """Posterior of pooled coefficients. d = draws, g = groups, k = predictors.

    Attributes:
        groups: Labels, sorted.
        predictors: Names.
        coefficients: Shape (d, g, k), in the unit of the outcome; log odds or log rates for events and counts.
        mean: Shape (d, k): what the groups' coefficients vary around.
        between: Shape (d, k): their standard deviation between groups.
        ess: Effective number of independent draws.
        check: That the posterior was drawn.
    """

    groups: tuple[str, ...]
    predictors: tuple[str, ...]
    coefficients: Floats
    mean: Floats
    between: Floats
    ess: float
    check: Check

    def summary(self, level: float = 0.90) -> pd.DataFrame:
        """Summarise the coefficients by predictor and group, and their mean; one row each.

        Returns:
            Columns ``mean``, ``sd``, ``low``, ``high`` (equal-tailed at ``level``), ``p_positive``.
        """
        tails = [(1 - level) / 2, (1 + level) / 2]
        parts = []
        for place, name in enumerate(self.predictors):
            draws = np.column_stack([self.coefficients[:, :, place], self.mean[:, place]])
            low, high = np.quantile(draws, tails, axis=0)
            index = pd.MultiIndex.from_product([[name], [*self.groups, "mean"]], names=["predictor", "group"])
            columns = {"mean": draws.mean(0), "sd": draws.std(0, ddof=1), "low": low, "high": high}
            parts.append(pd.DataFrame({**columns, "p_positive": (draws > 0).mean(0)}, index=index))
        return pd.concat(parts)


def pool_cells(
    cells: Cells | pd.DataFrame,
    *,
    group: str,
    predictors: Sequence[str],
    strata: Sequence[str] = (),
    family: Family = "gaussian",
    total: str = "outcome",
    squares: str = "outcome^2",
    priors: CellPriors | None = None,
    draws: int = 4000,
    rng: int | np.random.Generator | None = None,
) -> CellPool:
    """Draw pooled coefficients by group from cells, whose number and not that of rows decides the time.

    Outcomes of a cell are normal, Poisson (``total`` counts over ``n`` units of exposure) or binomial (``total`` events
    in ``n`` trials) around ``a_gc + x'b_g``, on the identity, log or logit scale; intercepts of strata vary around a
    group's level, groups' levels and coefficients around common means. It assumes that groups and strata are
    exchangeable and outcomes independent given them: places whose customers share shocks belong in ``strata``. The
    normal law has a noise of its own in each group, taken as known from within cells, and is drawn exactly
    (:func:`rox.numerics.group_coefficients.group_coefficients`), the others by NUTS.

    Args:
        cells: Cells, or a frame with a row per cell: the keys, ``n``, and the sums.
        group: Key whose levels get coefficients of their own.
        predictors: Keys that are numbers, the same for all outcomes of a cell, such as 0/1 for treated.
        strata: Further keys, within which outcomes are compared.
        family: Law of the outcomes.
        total: Name of the sum of outcomes, events or counts.
        squares: Name of the sum of squares, for the normal law.
        priors: Scales of the priors.
        draws: Draws.
        rng: Seed or generator.

    Raises:
        DataError: Columns that are missing, or predictors that are no numbers.
        ValueError: Sums that no outcomes can have.
        FitError: The posterior could not be drawn.
    """
    frame = _summed(cells, group, predictors, strata, family, total, squares)
    x = frame[list(predictors)].to_numpy(dtype=float)
    stratum = _label(frame, strata)
    scale = priors or CellPriors()
    if family == "gaussian":
        return _exact(frame, group, predictors, stratum, x, total, squares, scale, draws, rng)
    return _sampled(frame, group, predictors, stratum, x, total, family, scale, draws, rng)


def _exact(
    frame: pd.DataFrame,
    group: str,
    predictors: Sequence[str],
    stratum: NDArray[np.str_],
    x: Floats,
    total: str,
    squares: str,
    scale: CellPriors,
    draws: int,
    rng: int | np.random.Generator | None,
) -> CellPool:
    n, y, yy = (frame[name].to_numpy(dtype=float) for name in ("n", total, squares))
    centre = y.sum() / n.sum()
    unit = float(np.sqrt(max((yy - y**2 / n).sum() / max(n.sum() - n.size, 1), 1e-300)))
    weight = _weights(n, y, yy, frame[group].astype(str).to_numpy())
    noise = float(np.sqrt(max((weight * (yy - y**2 / n)).sum() / max(n.sum() - n.size, 1), 1e-300)))
    found = group_coefficients(
        weight * n,
        weight * y,
        weight * yy,
        frame[group].astype(str),
        stratum,
        x,
        level_mean=centre,
        level_sd=LEVEL_SD * unit,
        mean_sd=np.full(len(predictors), scale.mean * unit),
        between_sd=np.full(len(predictors), scale.between * unit),
        levels_sd=scale.levels * unit,
        strata_sd=scale.strata * unit,
        noise_sd=NOISE_SD * noise,
        draws=draws,
        rng=rng,
    )
    return CellPool(
        groups=found.groups,
        predictors=tuple(predictors),
        coefficients=found.coefficients,
        mean=found.mean,
        between=found.between,
        ess=found.ess,
        check=drawn_check(found),
    )


def _weights(n: Floats, y: Floats, yy: Floats, group: NDArray[np.object_]) -> Floats:
    """Weigh outcomes by the inverse of the variance within cells of their group, so that one noise serves all.

    The weights of all outcomes add up to their number. A group whose outcomes do not vary is weighed as the others are.
    """
    number = pd.Series(n).groupby(group)
    within = pd.Series(yy - y**2 / n).groupby(group).sum()
    variance = within / (number.sum() - number.size()).clip(lower=1)
    variance = variance.where((variance > 0) & (number.sum() > number.size()), variance[variance > 0].mean())
    precision = (1 / variance.fillna(1.0)).reindex(group).to_numpy(dtype=float)
    return np.asarray(precision * n.sum() / (n * precision).sum())


def _sampled(
    frame: pd.DataFrame,
    group: str,
    predictors: Sequence[str],
    stratum: NDArray[np.str_],
    x: Floats,
    total: str,
    family: Family,
    scale: CellPriors,
    draws: int,
    rng: int | np.random.Generator | None,
) -> CellPool:
    n, y = frame["n"].to_numpy(dtype=float), frame[total].to_numpy(dtype=float)
    which, groups = codes(frame[group].astype(str), "group", n.size)
    cell = codes(np.char.add(np.char.add(frame[group].astype(str).to_numpy(dtype=str), "\t"), stratum), "cell", n.size)[
        0
    ]
    chains = 4
    sampled = _nuts(n, y, which, cell, x, family, scale, -(-draws // chains), chains, rng)
    return CellPool(
        groups=tuple(str(name) for name in groups),
        predictors=tuple(predictors),
        coefficients=sampled.draws["coefficients"],
        mean=sampled.draws["mean"],
        between=sampled.draws["between"],
        ess=sampled.ess,
        check=sampled.check(),
    )


def _nuts(
    n: Floats,
    y: Floats,
    which: NDArray[np.int64],
    cell: NDArray[np.int64],
    x: Floats,
    family: Family,
    scale: CellPriors,
    draws: int,
    chains: int,
    rng: int | np.random.Generator | None,
) -> Sampled:
    from rox.models.sampling import pymc, sample

    g, k, c = int(which.max()) + 1, x.shape[1], int(cell.max()) + 1
    owner = np.zeros(c, dtype=np.int64)
    owner[cell] = which
    rate = (y.sum() + 0.5) / (n.sum() + 1)
    middle = np.log(rate) if family == "poisson" else np.log(rate / (1 - rate))
    centred = _centring(n, y, which, cell, x, family, scale)
    with pymc.Model() as model:
        level = middle + LEVEL_SD * pymc.Normal("standard_level", 0, 1, shape=g)
        spread = scale.strata * pymc.HalfNormal("spread_of_strata", 1)
        intercept = pymc.Normal("intercept", level[owner], spread, shape=c) if c > g else level
        mean = pymc.Deterministic("mean", scale.mean * pymc.Normal("standard_mean", 0, 1, shape=k))
        between = pymc.Deterministic("between", scale.between * pymc.HalfNormal("standard_between", 1, shape=k))
        own = pymc.Normal("own", centred * mean, between**centred, shape=(g, k))
        coefficients = pymc.Deterministic("coefficients", mean + between ** (1 - centred) * (own - centred * mean))
        predictor = intercept[cell] + (x * coefficients[which]).sum(1)
        if family == "poisson":
            pymc.Poisson("y", n * pymc.math.exp(predictor), observed=y)
        else:
            pymc.Binomial("y", n=n.astype(np.int64), logit_p=predictor, observed=y.astype(np.int64))
    return sample(model, ["coefficients", "mean", "between"], draws=draws, chains=chains, rng=rng)


def _centring(
    n: Floats,
    y: Floats,
    which: NDArray[np.int64],
    cell: NDArray[np.int64],
    x: Floats,
    family: Family,
    scale: CellPriors,
) -> Floats:
    """Tell how far each coefficient is to be centred on its mean, shape (g, k): as far as its own data know it.

    Between the two extremes lies what samples best (Papaspiliopoulos, Roberts & Sköld 2007; Gorinova, Moore & Hoffman
    2020): spread² / (spread² + error²), of a regression of log rates around their strata. Too little centring costs
    time, too much makes a funnel, so half the spread seen counts.
    """
    share = (y + 0.5) / (n + 1)
    weight = n * share * (1 if family == "poisson" else 1 - share)
    response = np.log(share) if family == "poisson" else np.log(share / (1 - share))
    mass = np.bincount(cell, weights=weight)

    def around(values: Floats) -> Floats:
        return np.asarray(values - (np.bincount(cell, weights=weight * values) / mass)[cell])

    z, away = around(response), np.stack([around(column) for column in x.T], axis=1)
    found, error = np.zeros((2, int(which.max()) + 1, x.shape[1]))
    for each in range(len(found)):
        mine = which == each
        cross = (away[mine].T * weight[mine]) @ away[mine] + np.eye(x.shape[1]) / scale.mean**2
        found[each] = np.linalg.solve(cross, (away[mine].T * weight[mine]) @ z[mine])
        error[each] = np.diag(np.linalg.inv(cross))
    seen = found.var(axis=0, ddof=1) - error.mean(0) if len(found) > 1 else np.zeros(x.shape[1])
    spread = np.maximum(seen, 0.0) / 4
    return np.asarray(spread / (spread + error))


def _summed(
    cells: Cells | pd.DataFrame,
    group: str,
    predictors: Sequence[str],
    strata: Sequence[str],
    family: Family,
    total: str,
    squares: str,
) -> pd.DataFrame:
    """Add the cells up to the keys that are asked for."""
    frame = cells.values() if isinstance(cells, Cells) else cells
    keys = list(dict.fromkeys([group, *strata, *predictors]))
    sums = ["n", total, *([squares] if family == "gaussian" else [])]
    faults = [f"there is no column {name!r}" for name in [*keys, *sums] if name not in frame]
    if family not in get_args(Family):
        faults.append(f"family is {family!r}; needed: one of {', '.join(get_args(Family))}")
    if not predictors:
        faults.append("name at least one predictor")
    faults += [
        f"predictor {name!r} is no number; recode it"
        for name in predictors
        if name in frame and not pd.api.types.is_numeric_dtype(frame[name])
    ]
    if faults:
        known = ", ".join(map(str, frame.columns))
        raise DataError("These cells cannot be pooled so.", [*faults, f"the cells have {known}"])
    if faults := _impossible(frame, sums, family, total):
        raise DataError("These cells cannot be pooled so.", faults)
    found = frame.groupby(keys, as_index=False, observed=True, sort=True)[sums].sum()
    return found[found["n"] > 0].reset_index(drop=True)


def _impossible(frame: pd.DataFrame, sums: Sequence[str], family: Family, total: str) -> list[str]:
    """List sums that no outcomes can have."""
    faults = []
    for name in sums:
        values = frame[name].to_numpy(dtype=float)
        if bad := int((~np.isfinite(values)).sum()):
            faults.append(f"{name} is missing or infinite in {bad} cells")
        if name == "n" or (family != "gaussian" and name == total):
            bad = int((values < 0).sum())
            faults += [f"{name} is negative in {bad} cells"] if bad else []
    if not (frame["n"] > 0).any():
        faults.append("no cell has n above 0")
    if family == "binomial" and (bad := int((frame[total] > frame["n"]).sum())):
        faults.append(f"{total} exceeds n in {bad} cells; events cannot outnumber trials")
    return faults


def _label(frame: pd.DataFrame, keys: Sequence[str]) -> NDArray[np.str_]:
    if not keys:
        return np.full(len(frame), EVERYONE)
    return np.asarray(frame[list(keys)].astype(str).agg("\t".join, axis=1).to_numpy(dtype=str))
