"""Return on experience: from survey scores to discounted money, with honest uncertainty.

From data to report::

    study = rox.read_study("data/bank/study.toml")
    tables = rox.load(study)
    data = rox.link(tables, score="nps", outcome="aum")
    effect = rox.LeadLag().fit(data, rng=1)
    money = rox.value(effect, study.case("branch_refit"))
    rox.report(money).save("roi.html")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "RoxError": "rox.core.errors",
    "DataError": "rox.core.errors",
    "LeakageError": "rox.core.errors",
    "UnitError": "rox.core.errors",
    "FitError": "rox.core.errors",
    "CaseError": "rox.core.errors",
    "RunError": "rox.core.errors",
    "Study": "rox.core.study",
    "read_study": "rox.core.study",
    "Case": "rox.core.case",
    "read_case": "rox.core.case",
    "Spread": "rox.core.spread",
    "Cells": "rox.core.cells",
    "read_cells": "rox.core.cells",
    "Linked": "rox.core.linked",
    "month_label": "rox.core.linked",
    "ScoreParts": "rox.core.score_parts",
    "Estimand": "rox.core.estimand",
    "Question": "rox.core.estimand",
    "Dose": "rox.core.units",
    "Unit": "rox.core.units",
    "require_unit_of_claim": "rox.core.units",
    "Check": "rox.core.check",
    "Grade": "rox.core.check",
    "Verdict": "rox.core.check",
    "Effect": "rox.core.effect",
    "Return": "rox.core.returns",
    "Record": "rox.core.record",
    "Portfolio": "rox.core.portfolio",
    "read_portfolio": "rox.core.portfolio",
    "Comparison": "rox.core.comparison",
    "Forecast": "rox.core.forecast",
    "read_forecasts": "rox.core.forecast",
    "Tables": "rox.linking.tables",
    "load": "rox.linking.load",
    "link": "rox.linking.link",
    "panel_regression": "rox.linking.within",
    "write_layout": "rox.linking.within_write",
    "experience": "rox.metrics.overview",
    "drivers": "rox.metrics.drivers",
    "earned_growth": "rox.metrics.growth",
    "ScoreGap": "rox.models.score_gap",
    "PanelFE": "rox.models.panel_fe",
    "LeadLag": "rox.models.lead_lag",
    "JointPath": "rox.models.joint_path",
    "Trajectories": "rox.models.trajectories",
    "ChurnCox": "rox.models.churn_cox",
    "ChurnAFT": "rox.models.churn_aft",
    "ChurnHazard": "rox.models.churn_hazard",
    "money_kept": "rox.models.money_kept",
    "RetentionForecast": "rox.models.retention_forecast",
    "customer_base": "rox.models.customer_base",
    "falsify": "rox.models.falsify",
    "leaving": "rox.models.leaving",
    "growth_readings": "rox.models.growth_readings",
    "RolloutSlope": "rox.models.rollout_slope",
    "StaggeredUplift": "rox.models.staggered_uplift",
    "SyntheticUplift": "rox.models.synthetic_uplift",
    "InterruptedSeries": "rox.models.interrupted_series",
    "Experiment": "rox.models.experiment",
    "ClosedLoop": "rox.models.closed_loop",
    "FunnelUplift": "rox.models.funnel_uplift",
    "spillover": "rox.models.interference",
    "pool_cells": "rox.models.cell_pool",
    "CellPriors": "rox.models.cell_pool",
    "Register": "rox.core.register",
    "read_register": "rox.core.register",
    "map_prior": "rox.models.map_prior",
    "follow_up": "rox.metrics.tickets",
    "backlog": "rox.metrics.tickets",
    "Plan": "rox.planning",
    "plan": "rox.planning",
    "drawn_order": "rox.planning",
    "value": "rox.valuation.value",
    "value_portfolio": "rox.valuation.portfolio",
    "allocate_budget": "rox.valuation.allocation",
    "compare": "rox.review.comparison",
    "freeze": "rox.review.backtest_freeze",
    "backtest": "rox.review.backtest",
    "report": "rox.reporting.report",
    "run_study": "rox.run",
}
"""Where each public name lives. They load on first use, so that ``import rox`` stays quick."""

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rox' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from rox.core.case import Case as Case
    from rox.core.case import read_case as read_case
    from rox.core.cells import Cells as Cells
    from rox.core.cells import read_cells as read_cells
    from rox.core.check import Check as Check
    from rox.core.check import Grade as Grade
    from rox.core.check import Verdict as Verdict
    from rox.core.comparison import Comparison as Comparison
    from rox.core.effect import Effect as Effect
    from rox.core.errors import CaseError as CaseError
    from rox.core.errors import DataError as DataError
    from rox.core.errors import FitError as FitError
    from rox.core.errors import LeakageError as LeakageError
    from rox.core.errors import RoxError as RoxError
    from rox.core.errors import RunError as RunError
    from rox.core.errors import UnitError as UnitError
    from rox.core.estimand import Estimand as Estimand
    from rox.core.estimand import Question as Question
    from rox.core.forecast import Forecast as Forecast
    from rox.core.forecast import read_forecasts as read_forecasts
    from rox.core.linked import Linked as Linked
    from rox.core.linked import month_label as month_label
    from rox.core.portfolio import Portfolio as Portfolio
    from rox.core.portfolio import read_portfolio as read_portfolio
    from rox.core.record import Record as Record
    from rox.core.register import Register as Register
    from rox.core.register import read_register as read_register
    from rox.core.returns import Return as Return
    from rox.core.score_parts import ScoreParts as ScoreParts
    from rox.core.spread import Spread as Spread
    from rox.core.study import Study as Study
    from rox.core.study import read_study as read_study
    from rox.core.units import Dose as Dose
    from rox.core.units import Unit as Unit
    from rox.core.units import require_unit_of_claim as require_unit_of_claim
    from rox.linking.link import link as link
    from rox.linking.load import load as load
    from rox.linking.tables import Tables as Tables
    from rox.linking.within import panel_regression as panel_regression
    from rox.linking.within_write import write_layout as write_layout
    from rox.metrics.drivers import drivers as drivers
    from rox.metrics.growth import earned_growth as earned_growth
    from rox.metrics.overview import experience as experience
    from rox.metrics.tickets import backlog as backlog
    from rox.metrics.tickets import follow_up as follow_up
    from rox.models.cell_pool import CellPriors as CellPriors
    from rox.models.cell_pool import pool_cells as pool_cells
    from rox.models.churn_aft import ChurnAFT as ChurnAFT
    from rox.models.churn_cox import ChurnCox as ChurnCox
    from rox.models.churn_hazard import ChurnHazard as ChurnHazard
    from rox.models.closed_loop import ClosedLoop as ClosedLoop
    from rox.models.customer_base import customer_base as customer_base
    from rox.models.experiment import Experiment as Experiment
    from rox.models.falsify import falsify as falsify
    from rox.models.funnel_uplift import FunnelUplift as FunnelUplift
    from rox.models.growth_readings import growth_readings as growth_readings
    from rox.models.interference import spillover as spillover
    from rox.models.interrupted_series import InterruptedSeries as InterruptedSeries
    from rox.models.joint_path import JointPath as JointPath
    from rox.models.lead_lag import LeadLag as LeadLag
    from rox.models.leaving import leaving as leaving
    from rox.models.map_prior import map_prior as map_prior
    from rox.models.money_kept import money_kept as money_kept
    from rox.models.panel_fe import PanelFE as PanelFE
    from rox.models.retention_forecast import RetentionForecast as RetentionForecast
    from rox.models.rollout_slope import RolloutSlope as RolloutSlope
    from rox.models.score_gap import ScoreGap as ScoreGap
    from rox.models.staggered_uplift import StaggeredUplift as StaggeredUplift
    from rox.models.synthetic_uplift import SyntheticUplift as SyntheticUplift
    from rox.models.trajectories import Trajectories as Trajectories
    from rox.planning import Plan as Plan
    from rox.planning import drawn_order as drawn_order
    from rox.planning import plan as plan
    from rox.reporting.report import report as report
    from rox.review.backtest import backtest as backtest
    from rox.review.backtest_freeze import freeze as freeze
    from rox.review.comparison import compare as compare
    from rox.run import run_study as run_study
    from rox.valuation.allocation import allocate_budget as allocate_budget
    from rox.valuation.portfolio import value_portfolio as value_portfolio
    from rox.valuation.value import value as value
