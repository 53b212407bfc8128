"""Units, and the only bridge between them.

A *score point* is a difference of 1 on one person's answer. An *NPS point* is a difference of 1 in a group's
100·(promoters − detractors). They differ by a factor of 25 to 45, so nothing converts between them but a measured
category shift.
"""

from __future__ import annotations

from enum import StrEnum

from rox.core.errors import UnitError


class Dose(StrEnum):
    """What is moved, in what unit."""

    SCORE_POINT = "score_point"
    NPS_POINT = "nps_point"
    CATEGORY = "category"
    DRIVER_POINT = "driver_point"
    INITIATIVE = "initiative"


class Unit(StrEnum):
    """What the outcome is measured in."""

    MONEY_PER_CUSTOMER = "money_per_customer"
    MONEY_TOTAL = "money_total"
    RATIO = "ratio"
    LOG_HAZARD = "log_hazard"
    PERCENTAGE_POINT = "pp"
    MONTHS = "months"
    SCORE_POINT = "score_point"
    NPS_POINT = "nps_point"
    COUNT = "count"


MONEY = frozenset({Unit.MONEY_PER_CUSTOMER, Unit.MONEY_TOTAL})


def require_unit_of_claim(value: float, dose: str | None) -> Dose:
    """Refuse a published "per +1 NPS" whose unit nobody has chosen.

    Args:
        value: The claimed amount.
        dose: ``"score_point"``, ``"nps_point"`` or nothing.

    Raises:
        UnitError: The unit is missing or ambiguous.
    """
    allowed = (Dose.SCORE_POINT, Dose.NPS_POINT)
    if dose not in allowed:
        raise UnitError(
            f'ROX-U01: the claim "{value:g} per +1 NPS" has no unit.',
            [
                f"got {dose!r}; choose one of {[str(each) for each in allowed]}",
                "score_point: one point of a person's 0–10 answer; nps_point: one point of a group's −100..100 NPS",
                "the category shift of your data says how many NPS points one score point is worth",
            ],
        )
    return Dose(dose)
