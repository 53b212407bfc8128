"""How strong a hidden cause would have to be, beside causes that were seen: earlier money, earlier growth, controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg

from rox.core.check import Check, Grade, Verdict
from rox.models.answers import PAST, Answers, control_columns
from rox.models.evidence import demoted_to
from rox.models.slope import COLLINEAR, within
from rox.numerics.oster import oster_bias_adjusted, oster_delta
from rox.numerics.sensitivity import Benchmark, multiple_that_removes, robustness

Floats = NDArray[np.float64]

ROOM = 1.3
"""Oster's bound: all causes together explain at most so many times what the seen ones do."""
FEWEST = 50
MOST = 100.0
"""Multiples above this are all shown as this."""


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A slope and what may stand behind it, all with group effects taken out and rows weighted. n = rows.

    Attributes:
        outcome: Shape (n,).
        score: Shape (n,).
        adjust: Columns the slope holds equal, by name of their source.
        beside: Columns it does not hold equal, which were known before the answer.
        absorbed: Number of group effects taken out.
    """

    outcome: Floats
    score: Floats
    adjust: Mapping[str, Floats]
    beside: Mapping[str, Floats]
    absorbed: int

    @property
    def df(self) -> float:
        """Residual degrees of freedom of the slope."""
        return float(self.outcome.size - self.absorbed - 1 - sum(block.shape[1] for block in self.adjust.values()))

    def columns(self, *without: str) -> Floats:
        """Return the adjusting columns, those of some sources left out."""
        kept = [block for name, block in self.adjust.items() if name not in without]
        return np.hstack(kept) if kept else np.empty((self.outcome.size, 0))

    def fit(self, columns: Floats) -> tuple[float, float, float, float]:
        """Return slope, classical standard error, R² and the score's residual variance beside some columns."""
        y, d = _rest(self.outcome, columns), _rest(self.score, columns)
        beta = float(d @ y / (d @ d))
        left = y - beta * d
        df = self.outcome.size - self.absorbed - 1 - columns.shape[1]
        se = float(np.sqrt(left @ left / df / (d @ d)))
        return beta, se, float(1 - left @ left / (self.outcome @ self.outcome)), float(d @ d / d.size)


def regression(
    answers: Answers,
    rows: pd.DataFrame,
    *,
    outcome: pd.Series,
    controls: tuple[str, ...],
    absorb: pd.Series,
    always: Floats | None = None,
) -> Regression:
    """Set an outcome and the score beside what was known before the answer.

    Args:
        answers: With the money of the usual months before them.
        rows: Answers.
        outcome: Shape (n,), relative to the segment's money so that one slope serves all segments; missing allowed.
        controls: Columns that the slope holds equal.
        absorb: Shape (n,), labels of the group effects.
        always: Further columns held equal, shape (n, k), that are no cause by themselves.
    """
    blocks = {name: control_columns(rows, [name]).to_numpy(dtype=float) for name in controls}
    if always is not None and always.shape[1]:
        blocks[""] = always
    beside, there = _known_before(replace(answers, rows=rows), rows)
    keep = (outcome.notna() & there).to_numpy()
    root = np.sqrt((rows["weight"] / rows["weight"].mean()).to_numpy(dtype=float))[keep]
    labels = absorb[keep]

    def inside(values: Floats) -> Floats:
        return np.asarray(within(values[keep], labels, root**2) * root[:, None])

    return Regression(
        outcome=inside(outcome.to_numpy(dtype=float)[:, None])[:, 0],
        score=inside(rows["score"].to_numpy(dtype=float)[:, None])[:, 0],
        adjust={name: inside(block) for name, block in blocks.items()},
        beside={name: inside(column.to_numpy(dtype=float)[:, None]) for name, column in beside.items()},
        absorbed=int(labels.nunique()),
    )


def _known_before(answers: Answers, rows: pd.DataFrame) -> tuple[dict[str, pd.Series], pd.Series]:
    """Return money and its growth before the answer, and for which rows they are known; nothing if for too few."""
    base = rows.groupby("segment")["outcome"].transform("mean")
    now = answers.outcome_at(-1)
    for months in PAST:
        before = answers.outcome_at(-months)
        middle = (now.abs() + before.abs()) / 2
        growth = (now - before) / middle.where(middle > 0, 1.0)
        there = now.notna() & before.notna()
        if there.mean() >= 0.5:
            return {"money": before / base, "growth": growth}, there
    return {}, pd.Series(True, index=rows.index)


def benchmarks(reg: Regression) -> dict[str, Benchmark]:
    """Measure each seen cause's share of what is left of the score and of the outcome (Cinelli & Hazlett 2020)."""
    sources = {name: block for name, block in {**reg.adjust, **reg.beside}.items() if name}
    found = {}
    for name, block in sources.items():
        others = reg.columns(name)
        with_score = np.column_stack([others, reg.score])
        found[name] = Benchmark(
            name=name,
            r2_outcome=_share(reg.outcome, block, with_score),
            r2_treatment=_share(reg.score, block, others),
        )
    return found


def hidden_cause_check(
    found: Mapping[str, Benchmark], *, estimate: float, se: float, df: float, money: str
) -> tuple[Check, pd.DataFrame]:
    """Say how many times as strong as a seen cause a hidden one must be to remove the estimate (ROX-A18).

    Args:
        found: The seen causes.
        estimate: The slope.
        se: Its classical standard error, or another whose square times ``df`` is the ratio of what is left of outcome
            and score.
        df: Residual degrees of freedom.
        money: What would be removed, in words.

    Returns:
        The check, and a table by cause: ``share_of_score`` and ``share_of_money`` (partial R²), ``removes_half`` and
        ``removes_all`` (times as strong; infinite if none can).
    """
    rows = {}
    for name, each in found.items():
        half, whole = (multiple_that_removes(estimate, se, df, each, share=share) for share in (0.5, 1.0))
        rows[name] = {
            "share_of_score": each.r2_treatment,
            "share_of_money": each.r2_outcome,
            "removes_half": half,
            "removes_all": whole,
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("cause")
    needed = 100 * robustness(estimate, se, df).robustness_value
    if table.empty:
        return Check(code="ROX-A19", verdict=Verdict.NOTE, values={"needed": needed, "money": money}), table
    weakest = str(table["removes_all"].idxmin())
    times = float(table["removes_all"].min())
    values: dict[str, str | int | float] = {
        "times": _times(times),
        "cause": cause_name(weakest),
        "needed": needed,
        "money": money,
    }
    return demoted_to(Grade.D, "ROX-A18", times < 1, values), table


def cause_name(name: str) -> str:
    """Return the catalogue's key of a cause; the study's own columns keep their names."""
    return f"cause.{name}" if name in ("money", "growth") else name


def oster_check(reg: Regression, money: str) -> Check:
    """Ask how much more hidden causes would have to matter than the seen ones (ROX-A20; Oster 2019)."""
    seen = np.hstack([reg.columns(), *reg.beside.values()])
    base = np.empty((reg.outcome.size, 0))
    short, long = reg.fit(base), reg.fit(seen)
    parts = {
        "beta_short": short[0],
        "r2_short": short[2],
        "beta_long": long[0],
        "r2_long": long[2],
        "r2_max": min(1.0, ROOM * long[2]),
        "var_outcome": float(reg.outcome @ reg.outcome / reg.outcome.size),
        "var_treatment": short[3],
        "var_treatment_residual": long[3],
    }
    delta = oster_delta(**parts)
    left = oster_bias_adjusted(**parts).beta
    values: dict[str, str | int | float] = {
        "delta": _times(float(np.nan_to_num(delta, nan=0.0))),
        "kept": 100 * long[0] / short[0] if short[0] else 0.0,
        "equal": 100 * left / short[0] if short[0] and np.isfinite(left) else 0.0,
        "money": money,
    }
    return demoted_to(Grade.D, "ROX-A20", not abs(delta) >= 1, values)


def _times(value: float) -> str:
    """Write a multiple; very large ones are all alike."""
    if abs(value) > MOST:
        return f"{'-' if value < 0 else ''}>{MOST:.0f}"
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"


def _rest(values: Floats, columns: Floats) -> Floats:
    if not columns.shape[1]:
        return values
    return np.asarray(values - columns @ linalg.lstsq(columns, values, cond=COLLINEAR, lapack_driver="gelsy")[0])


def _share(values: Floats, block: Floats, others: Floats) -> float:
    """Return the partial R² of a block of columns, below 1."""
    left = _rest(values, others)
    own = np.column_stack([_rest(column, others) for column in block.T])
    after = _rest(left, own)
    total = float(left @ left)
    return float(np.clip(1 - after @ after / total, 0.0, 1 - 1e-12)) if total > 0 else 0.0
