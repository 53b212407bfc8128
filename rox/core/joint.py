"""What initiatives return together, and which of them a budget should go to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Grade
from rox.core.portfolio import Portfolio

Draws = NDArray[np.float64]
TAILS = (0.05, 0.95)


def _read_only(holder: object, *names: str) -> None:
    for name in names:
        held = {key: np.array(draws) for key, draws in getattr(holder, name).items()}
        for draws in held.values():
            draws.setflags(write=False)
        object.__setattr__(holder, name, MappingProxyType(held))


@dataclass(frozen=True, kw_only=True, eq=False)
class JointReturn:
    """Initiatives done together in full, draw by draw, beside each by itself.

    Attributes:
        portfolio: What was asked.
        alone: NPV of each initiative if it were the only one, each with shape (draw,).
        split: Each initiative's share of the NPV of all together (Shapley), each with shape (draw,).
        joint: NPV of all together, shape (draw,).
        grades: The worst grade among the effects of each initiative.
        overlaps: One row per pair: ``one``, ``other``, ``share`` (of the smaller one's customers, in percent of 1),
            ``customers`` (mean number reached by both), ``binds`` (share of draws in which the ceiling cuts what the
            two do together).
        common: One row per assumption of more than one case: ``place``, ``initiatives``, ``drawn`` (``common``,
            ``shared`` by declaration, or ``apart``).
        checks: What was found on the way.
        seed: Seed of the draws.
    """

    portfolio: Portfolio
    alone: Mapping[str, Draws]
    split: Mapping[str, Draws]
    joint: Draws
    grades: Mapping[str, Grade]
    overlaps: pd.DataFrame
    common: pd.DataFrame
    checks: tuple[Check, ...]
    seed: int

    def __post_init__(self) -> None:
        _read_only(self, "alone", "split")

    @property
    def grade(self) -> Grade:
        """The worst grade among all effects."""
        return max(self.grades.values())

    @property
    def sum_alone(self) -> Draws:
        """What the initiatives would return if they did not meet, shape (draw,)."""
        return np.asarray(sum(self.alone.values()))

    @property
    def interaction(self) -> Draws:
        """NPV of all together less the sum of each by itself, shape (draw,)."""
        return self.joint - self.sum_alone

    def frame(self) -> pd.DataFrame:
        """Put each initiative by itself beside its share: index initiative, then ``all``.

        Returns:
            Columns ``grade``, and for ``alone`` and ``split`` the mean and the 5% and 95% quantiles (``alone_mean``,
            ``alone_low``, ``alone_high``, …); in the row ``all`` the sum of each by itself and the NPV together.
        """
        rows = {key: (self.grades[key], self.alone[key], self.split[key]) for key in self.alone}
        rows["all"] = (self.grade, self.sum_alone, self.joint)
        found = {
            key: {"grade": str(grade), **_summary("alone", alone), **_summary("split", split)}
            for key, (grade, alone, split) in rows.items()
        }
        return pd.DataFrame.from_dict(found, orient="index").rename_axis("initiative")

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {
            "portfolio": self.portfolio.name,
            "initiatives": self.frame().to_dict(orient="index"),
            "interaction": _summary("npv", self.interaction),
            "overlaps": self.overlaps.to_dict(orient="records"),
            "common": self.common.to_dict(orient="records"),
            "grade": str(self.grade),
            "checks": [check.as_record() for check in self.checks],
            "draws": len(self.joint),
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanReturn:
    """One plan: a scale for each initiative.

    Attributes:
        scales: By initiative; ``none`` where it is not done.
        cost: What it spends over all months on the point path, before tax and discounting.
        p_over: Share of draws in which it spends more than the budget.
        npv: Shape (draw,).
        worst: Mean NPV in the worst twentieth of the draws (CVaR).
        objective: Mean NPV, and the risk aversion times ``worst``.
    """

    scales: Mapping[str, str]
    cost: float
    p_over: float
    npv: Draws
    worst: float
    objective: float

    @property
    def expected(self) -> float:
        """Mean NPV."""
        return float(self.npv.mean())

    @property
    def p_positive(self) -> float:
        """Share of draws with an NPV above zero."""
        return float((self.npv > 0).mean())

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {
            "scales": dict(self.scales),
            "cost": self.cost,
            "p_over": self.p_over,
            **_summary("npv", self.npv),
            "p_positive": self.p_positive,
            "worst": self.worst,
            "objective": self.objective,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class AllocationReturn:
    """The plan a budget should go to, and how sure that is.

    Attributes:
        joint: The initiatives together.
        budget: The most that may be spent.
        risk_aversion: Weight of the mean NPV in the worst twentieth.
        chosen: The best plan.
        current: The plan as it stands.
        menu: One row per initiative and scale: ``initiative``, ``scale``, ``share``, ``cost``, ``npv`` (mean, by
            itself), ``worst``, ``chosen`` and ``current`` (whether it is in that plan).
        selection: One row per initiative: ``by_draw``, the share of single draws in whose best plan it is, had that
            draw been the truth; ``by_block``, the share of blocks of draws that choose it; ``share_by_draw``, its mean
            scale there.
        blocks: Number of blocks.
        budgets: The best plan under other budgets: ``budget``, ``cost``, ``npv``, ``worst`` and one column per
            initiative with its scale, named ``plan_`` and the initiative.
        step: The amount that "one more" means.
        one_more: Gain in the objective if the budget were larger by ``step``.
        in_sample: Mean NPV of the plan over the draws that chose it.
        held_out: Its mean NPV over draws that did not.
        held_out_error: Standard error of the difference between the two.
        p_regret: Share of draws in which the current plan is the better one.
        checks: What was found on the way, with those of ``joint``.
    """

    joint: JointReturn
    budget: float
    risk_aversion: float
    chosen: PlanReturn
    current: PlanReturn
    menu: pd.DataFrame
    selection: pd.DataFrame
    blocks: int
    budgets: pd.DataFrame
    step: float
    one_more: float
    in_sample: float
    held_out: float
    held_out_error: float
    p_regret: float
    checks: tuple[Check, ...]

    @property
    def portfolio(self) -> Portfolio:
        """What was asked."""
        return self.joint.portfolio

    @property
    def regret(self) -> float:
        """What the plan as it stands gives away: objective of the best plan less its own."""
        return self.chosen.objective - self.current.objective

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record."""
        return {
            "joint": self.joint.as_record(),
            "budget": self.budget,
            "risk_aversion": self.risk_aversion,
            "chosen": self.chosen.as_record(),
            "current": self.current.as_record(),
            "regret": self.regret,
            "p_regret": self.p_regret,
            "menu": self.menu.to_dict(orient="records"),
            "selection": self.selection.to_dict(orient="index"),
            "blocks": self.blocks,
            "budgets": self.budgets.to_dict(orient="records"),
            "step": self.step,
            "one_more": self.one_more,
            "in_sample": self.in_sample,
            "held_out": self.held_out,
            "held_out_error": self.held_out_error,
            "checks": [check.as_record() for check in self.checks],
        }


def _summary(name: str, draws: Draws) -> dict[str, float]:
    low, high = np.quantile(draws, TAILS)
    return {f"{name}_mean": float(draws.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}
