"""How strong a hidden cause would have to be, beside causes that were seen: earlier money, earlier growth, controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rox.core.check import Check, Grade, Verdict
from rox.core.derived import Maker
from rox.core.views import money_column
from rox.models.answer_columns import MONEY, SCORE, Scales
from rox.models.answer_products import Products, products
from rox.models.answer_table import AnswerTable
from rox.models.evidence import demoted_to
from rox.models.within_products import as_deviations, trends, within_products
from rox.numerics.normal_equations import Inside
from rox.numerics.oster import oster_bias_adjusted, oster_delta
from rox.numerics.sensitivity import Benchmark, multiple_that_removes, robustness

ROOM = 1.3
"""Oster's bound: all causes together explain at most so many times what the seen ones do."""
FEWEST = 50
MOST = 100.0
"""Multiples above this are all shown as this."""


EARLIER, GROWTH, LATER = "rox_earlier", "rox_growth", "rox_later"
BESIDE = {"money": EARLIER, "growth": GROWTH}
"""Columns of what was known before the answer, by the name of their source."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Regression:
    """A slope and what may stand behind it, all with effects of groups taken out and rows weighted.

    Attributes:
        inside: Products of the outcome, the score, and the columns that follow; weights have mean 1.
        adjust: Places of the columns the slope holds equal, by name of their source.
        beside: Places of the columns it does not hold equal, which were known before the answer.
        rows: Answers.
        absorbed: Number of effects taken out.
    """

    inside: Inside
    adjust: Mapping[str, tuple[int, ...]]
    beside: Mapping[str, tuple[int, ...]]
    rows: int
    absorbed: int

    @property
    def df(self) -> float:
        """Residual degrees of freedom of the slope."""
        return float(self.rows - self.absorbed - 1 - sum(len(block) for block in self.adjust.values()))

    def columns(self, *without: str) -> tuple[int, ...]:
        """Return the adjusting columns, those of some sources left out."""
        return tuple(place for name, block in self.adjust.items() if name not in without for place in block)

    def fit(self, columns: Sequence[int]) -> tuple[float, float, float, float]:
        """Return slope, classical standard error, R² and the score's residual variance beside some columns."""
        left = self.inside.rest([0, 1], columns)[0]
        beta = left[0, 1] / left[1, 1]
        misfit = left[0, 0] - beta * left[0, 1]
        df = self.rows - self.absorbed - 1 - len(columns)
        total = self.inside.values[0, 0, 0]
        return (
            float(beta),
            float(np.sqrt(misfit / df / left[1, 1])),
            float(1 - misfit / total),
            float(left[1, 1] / self.rows),
        )

    def share(self, column: int, block: Sequence[int], others: Sequence[int]) -> float:
        """Return the partial R² of a block of columns, below 1."""
        left, after = (float(self.inside.rest([column], held)[0, 0, 0]) for held in (others, [*others, *block]))
        return float(np.clip(1 - after / left, 0.0, 1 - 1e-12)) if left > 0 else 0.0


def regression(
    answers: AnswerTable,
    *,
    controls: Sequence[str],
    within_customers: bool = False,
    growth_to: int | None = None,
    cap: float = 1.0,
) -> Regression:
    """Set money, relative to the segment's so that one slope serves all, and the score beside what was known before.

    Args:
        answers: With the money of the usual months before them.
        controls: Columns that the slope holds equal.
        within_customers: Whether effects of customers are taken out, beside those of months.
        growth_to: Months after the answer up to which money's log growth takes the place of money.
        cap: Largest log growth that counts.
    """
    known = answers.past(-1)
    answers, months = known if known is not None else (answers, None)
    if growth_to is not None:
        answers = answers.where(lambda t: (t[money_column(0)] > 0) & (t[money_column(growth_to)] > 0))
    scales = Scales.of(answers, controls)
    given = scales.columns(controls, tenure=False)
    adjust = {name: scales.adjusting([name], tenure=False) for name in controls}
    outcome = MONEY
    if months is not None:
        given |= _before(months)
    if growth_to is not None:
        outcome, given = LATER, {**given, LATER: _log_growth(growth_to, cap)}
    names = (outcome, SCORE, *(each for block in adjust.values() for each in block))
    names = (*names, *(BESIDE.values() if months is not None else ()))
    if within_customers:
        given |= trends(answers, given, names[2 : len(names) - (2 if months is not None else 0)])
        parts = within_products(answers, as_deviations(given, names), names, scales)
    else:
        parts = products(answers, given, names, scales)
    held = {name: tuple(names.index(each) for each in block) for name, block in adjust.items()}
    beside = {name: (names.index(each),) for name, each in BESIDE.items()} if months is not None else {}
    base = answers.counts["money"] / answers.counts["rows"]
    rows, weight = sum(each.rows for each in parts.values()), _weight(answers, scales)
    return Regression(
        inside=_over_segments(parts, {str(name): float(each) for name, each in base.items()}, rows / weight),
        adjust=held,
        beside=beside,
        rows=rows,
        absorbed=sum(len(each.effects) + within_customers * (each.customers - 1) for each in parts.values()),
    )


def _weight(answers: AnswerTable, scales: Scales) -> float:
    return float(answers.cells({}, {"weight": "weight"})["weight"].sum()) / scales.weight


def _over_segments(parts: Mapping[str, Products], base: Mapping[str, float], scale: float) -> Inside:
    """Add up what effects leave of the products of all segments, money relative to the mean of its segment."""
    p = len(next(iter(parts.values())).names)
    values, spread = np.zeros((1, p, p)), np.zeros(p)
    for name, each in parts.items():
        units = np.array([each.unit / base[name] if column in (MONEY, EARLIER) else 1.0 for column in each.names])
        inside = each.equations.inside
        values += inside.values[:1] * np.outer(units, units) * scale
        spread += inside.spread * units**2 * scale
    return Inside(values=values, spread=spread)


def _before(months: int) -> dict[str, Maker]:
    """Describe earlier money, in the unit of the segment, and its rate of growth up to the month before the answer."""
    now, before = money_column(-1), money_column(-months)

    def growth(table: Any) -> Any:
        middle = (table[now].abs() + table[before].abs()) / 2.0
        return (table[now] - table[before]) / (middle > 0).ifelse(middle, 1.0)

    return {EARLIER: lambda t: t[before] / t.rox_unit, GROWTH: growth}


def _log_growth(months: int, cap: float) -> Callable[[Any], Any]:
    def column(table: Any) -> Any:
        growth = table[money_column(months)].ln() - table[money_column(0)].ln()
        return (growth > cap).ifelse(cap, (growth < -cap).ifelse(-cap, growth))

    return column


def benchmarks(reg: Regression) -> dict[str, Benchmark]:
    """Measure each seen cause's share of what is left of the score and of the outcome (Cinelli & Hazlett 2020)."""
    found = {}
    for name, block in {**reg.adjust, **reg.beside}.items():
        others = reg.columns(name)
        found[name] = Benchmark(
            name=name,
            r2_outcome=reg.share(0, block, [*others, 1]),
            r2_treatment=reg.share(1, block, others),
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
    seen = [*reg.columns(), *(place for block in reg.beside.values() for place in block)]
    short, long = reg.fit([]), reg.fit(seen)
    parts = {
        "beta_short": short[0],
        "r2_short": short[2],
        "beta_long": long[0],
        "r2_long": long[2],
        "r2_max": min(1.0, ROOM * long[2]),
        "var_outcome": float(reg.inside.values[0, 0, 0] / reg.rows),
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
