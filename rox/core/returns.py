"""What an initiative returns: the ledger, its point path, its draws, and the decision they support."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import Case
from rox.core.check import BIAS_LAYERS, BiasLayer, Check, Grade
from rox.core.effect import Effect
from rox.core.knowing import Knowing
from rox.core.ledger import Ledger

HEADLINES = ("npv", "roi", "irr", "mirr", "payback", "discounted_payback", "undiscounted")


class Advice(StrEnum):
    """What the figures support."""

    GO = "go"
    LEARN_FIRST = "learn_first"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The one object every sentence of a report is derived from.

    Attributes:
        advice: What the figures support.
        expected_npv: Mean of the draws.
        npv: Median of the draws.
        low: 5% quantile of NPV.
        high: 95% quantile of NPV.
        p_positive: Share of draws with NPV above zero.
        p_hurdle: Share of draws with ROI above the hurdle, among those that cost anything; NaN if none does.
        hurdle: The hurdle.
        roi: Median of the draws that cost anything; NaN if none does.
        payback: Month by which half of the draws have paid back; NaN if no more than half do.
        p_payback: Share of draws that pay back within the months counted.
        grade: Grade of the evidence that is counted.
        evpi: Expected value of perfect information, in money, to whom gains and losses count alike.
        enough: Probability of a positive NPV that "go" asks for.
        lower_quartile: 25% quantile of NPV.
        upper_quartile: 75% quantile of NPV.
        cvar: Conditional value at risk: mean of the worst 5% of NPV.
        risk_aversion: γ of the criterion.
        payback_months: Months within which the policy asks about a payback.
        p_payback_within: Share of draws that pay back within them.
        stated: Share of the present benefit that owners state and nobody measured, of amounts that add and take away
            counted alike.
        p_without_stated: Share of draws with NPV above zero without that part; ``p_positive`` where there is none.
        small: Share up to which that part is too small to ask what NPV is without it.
    """

    advice: Advice
    expected_npv: float
    npv: float
    low: float
    high: float
    p_positive: float
    p_hurdle: float
    hurdle: float
    roi: float
    payback: float
    p_payback: float
    grade: Grade
    evpi: float
    enough: float
    lower_quartile: float = math.nan
    upper_quartile: float = math.nan
    cvar: float = math.nan
    risk_aversion: float = 0.0
    payback_months: int = 24
    p_payback_within: float = math.nan
    stated: float = 0.0
    p_without_stated: float = math.nan
    small: float = 0.10

    @property
    def stands_without_stated(self) -> bool:
        """Whether "go" does not rest on money that was only stated: there is little, or the chance holds without it."""
        return self.stated <= self.small or self.p_without_stated >= self.enough

    @property
    def criterion(self) -> float:
        """What decides: E[NPV] + γ·CVaR, which is the mean of NPV for whoever is neutral to risk (γ = 0)."""
        return self.expected_npv + self.risk_aversion * self.cvar if self.risk_aversion else self.expected_npv


@dataclass(frozen=True, kw_only=True, eq=False)
class Return:
    """The value of a case under one or more effects.

    Attributes:
        case: The case.
        effects: The effects priced.
        ledger: Every input and line.
        point: Each line on the point path: shape (month,), or (1,) for totals.
        draws: Totals by name, each with shape (draw,).
        fan: Cumulative discounted cash flow by month: index month, columns ``q05 q25 q50 q75 q95``.
        by_group: Discounted benefit before tax on the point path by effect and segment.
        channels: Present benefit after tax by channel, one row each: ``channel`` (``undivided`` for a total of which
            nothing says how it splits), ``effect``, ``basis`` (``measured``; ``residual``: what is left of a measured
            total; ``declared``: stated by an owner), ``point``, ``mean``, ``median``, ``low`` and ``high`` (5%, 95%).
            They add up to the present benefit; a split is Shapley's, which favours no order.
        by_grade: Present benefit after tax by grade of evidence (``declared``: stated by an owner), with the columns
            ``point``, ``mean``, ``median``, ``low``, ``high``, ``share`` (of the means, those that take away counted
            like those that add; NaN when nothing is counted) and ``counted``: claims, grade E, are listed and are in
            no total.
        tornado: One row per input, largest swing first: ``name``, labels ``en`` and ``zh``, ``unit``, ``value``,
            ``low``, ``high`` (10% and 90% values), ``npv_low``, ``npv_high``, ``swing``, ``sensitivity``
            (% change of NPV per % change of the input), ``break_even`` (its value where NPV is zero, NaN if none).
        bridge: Steps from extra balances to NPV on the point path: labels ``en`` and ``zh``, ``value``, and ``kind``:
            ``gain``, ``loss`` or ``total``.
        checks: What was tested on the way.
        grade: The worst grade among the effects that are counted, after what the case adds to them.
        decision: What follows.
        seed: Seed of the draws.
        drawn: Draws of every input by name, shape (draw,), or (1,) for one that is fixed.
        knowing: What knowing more before the decision is worth; None with too few draws to say.
        layers: What estimates of each grade were taken to be worth.
        money_grades: Grade of what each effect brings, by its name; not better than that of the effect.
    """

    case: Case
    effects: tuple[Effect, ...]
    ledger: Ledger
    point: Mapping[str, NDArray[np.float64]]
    draws: Mapping[str, NDArray[np.float64]]
    fan: pd.DataFrame
    by_group: pd.DataFrame
    channels: pd.DataFrame
    by_grade: pd.DataFrame
    tornado: pd.DataFrame
    bridge: pd.DataFrame
    checks: tuple[Check, ...]
    grade: Grade
    decision: Decision
    seed: int
    drawn: Mapping[str, NDArray[np.float64]]
    knowing: Knowing | None = None
    layers: Mapping[Grade, BiasLayer] = field(default_factory=lambda: BIAS_LAYERS)
    money_grades: Mapping[str, Grade] = field(default_factory=dict)

    def summary(self) -> pd.DataFrame:
        """Summarise the totals: point path, median, 5% and 95% quantiles, and the share of draws that have a value."""
        rows = {}
        for name in HEADLINES:
            found = self.draws[name][~np.isnan(self.draws[name])]
            low, middle, high = np.quantile(found, [0.05, 0.5, 0.95]) if len(found) else (np.nan,) * 3
            rows[name] = {
                "point": self.headline[name],
                "median": middle,
                "low": low,
                "high": high,
                "share": len(found) / len(self.draws[name]),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("total")

    def as_record(self) -> dict[str, Any]:
        """Return the results as plain values for a record."""
        return {
            "case": self.case.name,
            "headline": self.headline,
            "summary": self.summary().to_dict(orient="index"),
            "decision": asdict(self.decision),
            "inputs": {each.name: each.value for each in self.ledger.inputs},
            "tornado": self.tornado.drop(columns=["en", "zh"]).set_index("name").to_dict(orient="index"),
            "by_group": self.by_group.to_dict(orient="records"),
            "channels": self.channels.to_dict(orient="records"),
            "by_grade": self.by_grade.to_dict(orient="index"),
            "knowing": None if self.knowing is None else self.knowing.as_record(),
            "checks": [check.as_record() for check in self.checks],
            "draws": len(self.draws["npv"]),
            "seed": self.seed,
        }

    @property
    def headline(self) -> dict[str, float]:
        """The point path's totals: NPV, ROI, IRR, MIRR and payback."""
        return {name: float(self.point[name][0]) for name in HEADLINES}
