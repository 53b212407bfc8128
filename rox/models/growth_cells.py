"""Growth and levels of money beside answers, as sums by pattern, and the regressions fitted from them by segment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.derived import Bins, Maker
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.answer_paths import MONEY, ROUNDING, Month, level_bins, means_by_segment, relative_money
from rox.models.answer_table import AnswerTable
from rox.numerics.glm import grouped_glm
from rox.numerics.grouped import COLLINEAR, dummies
from rox.numerics.jackknife import Jackknife, jackknife

Floats = NDArray[np.float64]

PAST = 6
"""Months of growth before the answer that are held equal."""
GROWN = Bins(column="rox_grown", edges=(0.70, 0.85, 0.95, 1.05, 1.15, 1.30))
APART = (-0.84, -0.25, 0.25, 0.84)
"""Standard deviations that part the bins of a control: about a fifth of the customers each."""
LEVELS, ANSWERS_PER_LEVEL = 10, 100
PARTS = 5
"""Numbers of a segment: growth, growth by money, level, and what the rest leaves of the score's variance in the first
and in the last."""


def months_needed(data: Linked, horizon: int) -> tuple[int, int]:
    """Return the months from an answer whose money :func:`growth_cells` looks at."""
    return data.lag - PAST, data.lag + horizon


def growth_cells(
    data: Linked, answers: AnswerTable, horizon: int, cap: float, controls: Sequence[str], numeric: Sequence[str]
) -> pd.DataFrame:
    """Return sums by segment, month, score, level of money, growth before, bins of controls, and bucket.

    Args:
        data: The linked panel.
        answers: Those with money in the first month, with the money of ``months_needed`` and the controls known.
        horizon: Months of growth.
        cap: Largest ratio that counts.
        controls: Columns to hold equal.
        numeric: Those of them that are numbers.
    """
    before, then = (Month(away=away, lag=data.lag, last=answers.people.last) for away in (-PAST, horizon))

    def grown(table: Any) -> Any:
        earlier = before.money(table)
        ratio = table.outcome.cast("float64") / (earlier > 0).ifelse(earlier, 0.0).nullif(0.0)
        return (ratio > cap).ifelse(cap, ratio)

    def later(table: Any) -> Any:
        return then.known(table).ifelse(then.money(table).fill_null(0.0) / table.rox_mean, 0.0)

    within: dict[str, Maker] = {
        **relative_money(means_by_segment(data)),
        "rox_grown": grown,
        "rox_seen": then.known,
        "rox_ratio": then.capped(cap),
        "rox_later": later,
        "rox_log": lambda table: table.rox_seen.ifelse(table.rox_relative.ln(), 0.0),
    }
    within |= {f"rox_standard_{name}": _standard(name) for name in numeric}
    by: dict[str, Maker] = {
        "segment": "segment",
        "month": "month",
        "score": "score",
        "level": MONEY,
        "grown_bin": GROWN,
    }
    for name in controls:
        by[f"control_{name}"] = Bins(column=f"rox_standard_{name}", edges=APART) if name in numeric else name
    sums: dict[str, Maker] = {
        "weights": "weight",
        "money": "weight*outcome",
        "followed": "rox_seen",
        "seen": "weight*rox_seen",
        "ratios": "weight*rox_ratio",
        "later_money": "weight*rox_later",
        "logs": "weight*rox_log",
    }
    cells = answers.cells(by, sums, within)
    filled = ["grown_bin", *(f"control_{name}" for name in numeric)]
    return cells.assign(**{name: cells[name].astype(float).fillna(-1.0) for name in filled})


def _standard(name: str) -> Callable[[Any], Any]:
    """Return a control in standard deviations of its segment's answers; where it does not vary there is none."""

    def column(table: Any) -> Any:
        value = table[name].cast("float64")
        spread = value.std(how="pop").over(group_by="segment")
        return (value - value.mean().over(group_by="segment")) / spread.nullif(0.0)

    return column


@dataclass(frozen=True, kw_only=True, eq=False)
class _Regression:
    """A regression of one segment's outcome on the score, other columns and months. c = cells, k = buckets.

    Replicates of least squares are exact: normal equations add up over buckets. Those of a Poisson regression are one
    Newton step from the estimate (Shao & Tu 1995, section 5.2), whose error is of the order of the square of a step
    that is itself an eighth of a standard error.

    Attributes:
        x: Shape (c, p): score, then others.
        month: Shape (c,).
        bucket: Shape (c,).
        weight: Shape (c,).
        outcome: Shape (c,): sum of weight times outcome.
        buckets: k.
    """

    x: Floats
    month: NDArray[np.int64]
    bucket: NDArray[np.int64]
    weight: Floats
    outcome: Floats
    buckets: int

    @classmethod
    def of(cls, cells: pd.DataFrame, labels: Sequence[str], numbers: Sequence[str], weight: str, outcome: str) -> Self:
        """Take a segment's cells, with one column per label but the first and one per number."""
        buckets = int(cells["bucket_code"].max()) + 1
        keys = ["month", "score", *labels, *numbers, "bucket_code"]
        rows = cells[cells[weight] > 0].groupby(keys, as_index=False, sort=True)[[weight, outcome]].sum()
        columns = [rows["score"].to_numpy(dtype=float)[:, None]]
        columns += [dummies(rows[name].astype(str))[0][:, 1:] for name in labels]
        columns += [rows[name].to_numpy(dtype=float)[:, None] for name in numbers]
        return cls(
            x=np.hstack(columns),
            month=rows["month"].to_numpy(dtype=np.int64),
            bucket=rows["bucket_code"].to_numpy(dtype=np.int64),
            weight=rows[weight].to_numpy(dtype=float),
            outcome=np.maximum(rows[outcome].to_numpy(dtype=float), 0.0),
            buckets=buckets,
        )

    def growth(self) -> tuple[float, Floats]:
        """Return the log of the ratio of mean outcomes per score point, and its replicates (k,)."""
        scale = self.outcome.sum() / self.weight.sum()
        outcome = self.outcome / scale
        fit = grouped_glm(self.x, self.weight, outcome, family="poisson", absorb=self.month)
        kept = np.isfinite(fit.fitted)
        mu = np.where(kept, fit.fitted, 0.0) * self.weight
        design = np.hstack([self.x[:, fit.identified], dummies(self.month)[0]])
        normal = self._by_bucket(design, design * mu[:, None])
        score = self._by_bucket(design, np.where(kept, outcome - mu, 0.0)[:, None])[..., 0]
        steps = [
            _solved(normal.sum(0) - normal[b], score.sum(0) - score[b])[0] if fit.identified[0] else np.nan
            for b in range(self.buckets)
        ]
        return float(fit.coefficient[0]), fit.coefficient[0] + np.array(steps)

    def level(self) -> tuple[float, Floats]:
        """Return the slope per score point as a share of the mean outcome, and its replicates (k,)."""
        design = np.hstack([self.x, dummies(self.month)[0]])
        normal = self._by_bucket(design, design * self.weight[:, None])
        moment = self._by_bucket(design, self.outcome[:, None])[..., 0]
        weight, outcome = (np.bincount(self.bucket, each, self.buckets) for each in (self.weight, self.outcome))

        def share(n: Floats, m: Floats, w: float, y: float) -> float:
            return float(_solved(n, m)[0] * w / y)

        whole = (normal.sum(0), moment.sum(0), weight.sum(), outcome.sum())
        each = [
            share(whole[0] - normal[b], whole[1] - moment[b], whole[2] - weight[b], whole[3] - outcome[b])
            for b in range(self.buckets)
        ]
        return share(*whole), np.array(each)

    def spread(self) -> tuple[float, Floats]:
        """Return the variance of the score that the others and the months leave, and its replicates (k,)."""
        design = np.hstack([self.x, dummies(self.month)[0]])
        normal = self._by_bucket(design, design * self.weight[:, None])
        weight = np.bincount(self.bucket, self.weight, self.buckets)

        def left(n: Floats, w: float) -> float:
            return float((n[0, 0] - n[0, 1:] @ _solved(n[1:, 1:], n[1:, 0])) / w)

        whole, many = normal.sum(0), weight.sum()
        return left(whole, many), np.array([left(whole - normal[b], many - weight[b]) for b in range(self.buckets)])

    def _by_bucket(self, one: Floats, other: Floats) -> Floats:
        """Return the products one'other of the cells of each bucket, shape (k, p, q)."""
        return np.stack([one[self.bucket == b].T @ other[self.bucket == b] for b in range(self.buckets)])


def _solved(normal: Floats, moment: Floats) -> Floats:
    """Solve normal equations, of whose collinear directions the shortest solution has none."""
    scale = np.sqrt(np.maximum(np.diag(normal), 0.0))
    scale = np.where(scale > ROUNDING * scale.max(initial=0.0), scale, 1.0)
    solution = np.linalg.pinv(normal / np.outer(scale, scale), rcond=COLLINEAR, hermitian=True) @ (moment / scale)
    return np.asarray(solution / scale)


def fit_segments(cells: pd.DataFrame, kept: Sequence[str], controls: Sequence[str]) -> Jackknife:
    """Fit every segment, shape (5·segments,), leaving out a bucket at a time; bins are those of all buckets.

    Raises:
        FitError: A regression that cannot be fitted.
    """
    cells = cells[cells["segment"].isin(kept)]
    codes, present = pd.factorize(cells["bucket"], sort=True)
    bins = level_bins(cells, most=LEVELS, answers=ANSWERS_PER_LEVEL)
    # The mean of a cell stands for its rows: what they differ by within it has nothing to do with the score.
    log_money = cells["logs"] / cells["seen"].where(cells["seen"] > 0)
    cells = cells.assign(bucket_code=codes, log_money=log_money, level_bin=bins)
    estimates, replicates = [], []
    for name in kept:
        own = cells[cells["segment"] == name]
        growth = _Regression.of(own, ["level_bin", "grown_bin", *controls], [], "seen", "ratios")
        by_money = _Regression.of(own, ["grown_bin", *controls], ["log_money"], "seen", "later_money")
        level = _Regression.of(own, controls, [], "weights", "money")
        try:
            found = [growth.growth(), by_money.growth(), level.level(), growth.spread(), level.spread()]
        except ValueError as cause:
            raise FitError(
                f"The growth of {name} cannot be fitted.",
                [str(cause), "leave out controls, shorten the horizon, or merge segments in the study"],
            ) from cause
        estimates.append([each for each, _ in found])
        # Without a bucket that holds none of the segment's customers, nothing changes.
        replicates.append(np.stack([_padded(*each, len(present)) for each in found], axis=-1))
    estimate = np.array(estimates).ravel()
    if not np.isfinite(estimate).all():
        raise FitError("The score does not vary once the rest is held equal.", ["leave out controls, merge segments"])
    return jackknife(estimate, np.concatenate(replicates, axis=1))


def fit_levels(cells: pd.DataFrame, kept: Sequence[str], controls: Sequence[str]) -> pd.DataFrame:
    """Fit growth at each level of money within the segments: does the score go with growth for the rich and the others?

    Args:
        cells: From :func:`growth_cells`.
        kept: Segments.
        controls: Columns to hold equal.

    Returns:
        By level, 1 for the least money within a segment: log ``estimate`` of growth per score point with ``se``, and
        ``answers`` and ``customers`` behind it; levels that cannot be fitted are left out.
    """
    cells = cells[cells["segment"].isin(kept)]
    bins = level_bins(cells, most=LEVELS, answers=ANSWERS_PER_LEVEL * len(kept))
    cells = cells.assign(bucket_code=pd.factorize(cells["bucket"], sort=True)[0], level_bin=bins)
    found: dict[int, dict[str, float]] = {}
    for _, own in cells.groupby("level_bin", sort=True):
        growth = _Regression.of(own, ["segment", "grown_bin", *controls], [], "seen", "ratios")
        try:
            estimate, replicates = growth.growth()
        except ValueError:
            continue
        fit = jackknife(estimate, replicates)
        if np.isfinite(fit.se[0]):
            people = own.groupby("bucket_code")["customers"].max().sum()
            row = {"estimate": estimate, "se": float(fit.se[0]), "answers": float(own["followed"].sum())}
            row["customers"] = float(people)
            found[len(found) + 1] = row
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("level")


def _padded(estimate: float, replicates: Floats, buckets: int) -> Floats:
    return np.concatenate([replicates, np.full(buckets - len(replicates), estimate)])
