"""Before anything is rolled out: which design the facts allow, what it assumes, and what it could tell from chance."""

from __future__ import annotations

from rox.planning.design import Facts, Plan, facts_of
from rox.planning.ladder import Rung, design_ladder
from rox.planning.order import draw_order
from rox.planning.page import DesignPlan
from rox.planning.planner import drawn_order, plan
from rox.planning.power import design_errors

__all__ = [
    "DesignPlan",
    "Facts",
    "Plan",
    "Rung",
    "design_errors",
    "design_ladder",
    "draw_order",
    "drawn_order",
    "facts_of",
    "plan",
]
