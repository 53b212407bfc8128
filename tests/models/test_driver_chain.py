"""From driver to score to money, with its grade and its ceiling."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.units import Dose, Unit
from rox.models.driver_chain import driver_chain, driver_money


def per_point(grade: Grade = Grade.B, **changes: object) -> Effect:
    estimand = {
        "question": Question.SUSTAINED, "population": "p", "treatment": "t", "dose": Dose.SCORE_POINT, "outcome": "aum",
        "unit": Unit.RATIO, "horizon": 12, "includes_exit": True, "channels": frozenset({"retention", "expansion"}),
    }  # fmt: skip
    noise = np.random.default_rng(0).standard_normal((2000, 1))
    return Effect(
        name="lead_lag",
        estimand=Estimand(**{**estimand, **changes}),  # type: ignore[arg-type]
        groups=("a", "b"),
        draws=np.hstack([0.02 + 0.005 * noise, 0.03 + 0.005 * noise]),
        shares=np.array([0.5, 0.5]),
        baseline=pd.DataFrame({"customers": 1.0, "money": 1.0, "exit_hazard": 0.01}, index=["a", "b"]),
        grade=grade,
        specification="LeadLag()",
    )


@pytest.fixture
def slopes() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame({"wait": 0.4 + 0.05 * rng.standard_normal(4000), "app": 0.2 + 0.05 * rng.standard_normal(4000)})


def test_both_links_multiply_draw_by_draw(slopes: pd.DataFrame) -> None:
    found = driver_chain(slopes, per_point(), {"wait": 0.5, "app": 1.0}, rng=1)
    assert found.draws.mean(0) == pytest.approx([0.4 * 0.02, 0.4 * 0.03], rel=0.02)
    # relative variances of independent links add up
    lift = 0.025**2 + 0.05**2
    assert found.draws[:, 0].std() / 0.008 == pytest.approx(np.sqrt(lift / 0.16 + 0.0625), rel=0.05)
    assert found.estimand.dose is Dose.INITIATIVE
    assert not found.estimand.is_descriptive


@pytest.mark.parametrize(
    ("given", "left"), [(Grade.A, Grade.D), (Grade.C, Grade.D), (Grade.D, Grade.D), (Grade.E, Grade.E)]
)
def test_no_chain_is_better_than_d_nor_than_its_effect(slopes: pd.DataFrame, given: Grade, left: Grade) -> None:
    found = driver_chain(slopes, per_point(given), {"wait": 1.0})
    assert found.grade is left
    assert next(check for check in found.checks if check.code == "ROX-D05").verdict is Verdict.DEMOTE


def test_the_score_cannot_rise_above_the_best(slopes: pd.DataFrame) -> None:
    free, held = (driver_chain(slopes, per_point(), {"wait": 2.0}, headroom=h, rng=1) for h in (None, 0.5))
    assert held.draws[:, 0].max() <= 0.5 * per_point().draws[:, 0].max() + 1e-12
    assert held.draws.mean() < free.draws.mean()
    assert "0.50 points" in next(c for c in held.checks if c.code == "ROX-D06").sentence("en")
    assert all(check.code != "ROX-D06" for check in free.checks)


def test_every_fault_is_told_at_once(slopes: pd.DataFrame) -> None:
    with pytest.raises(FitError) as caught:
        driver_chain(slopes, per_point(question=Question.GAP, dose=Dose.NPS_POINT), {"fees": 0.0}, headroom=-1)
    text = str(caught.value)
    for part in ("per nps_point", "compares people", "fees: no such driver", "no driver moves", "headroom is -1"):
        assert part in text


def test_each_driver_has_its_money_with_the_grade_of_its_chain(slopes: pd.DataFrame) -> None:
    money = per_point(Grade.E, unit=Unit.MONEY_PER_CUSTOMER, currency="CNY")
    found = driver_money(slopes, money, {"app": 1.0, "wait": 0.5}, headroom=3.0, rng=1)
    assert found["driver"].tolist() == ["app", "wait"]
    assert found["value"].to_numpy() == pytest.approx([0.2 * 0.025, 0.2 * 0.025], rel=0.03)
    assert (found["low"] < found["value"]).all()
    assert found[["grade", "unit", "currency", "months"]].iloc[0].tolist() == ["E", "money_per_customer", "CNY", 12]
    assert found["p_positive"].min() > 0.99


def test_what_is_money_itself_has_no_chain(slopes: pd.DataFrame) -> None:
    with pytest.raises(FitError, match="wait: is money itself"):
        driver_chain(slopes, per_point(), {"wait": 1.0, "app": 1.0}, money=("wait",))
    found = driver_money(slopes, per_point(), {"wait": 1.0, "app": 1.0}, money=("wait",), rng=1).set_index("driver")
    assert found.loc["wait", ["value", "low", "high", "p_positive"]].isna().all()
    assert found["grade"].to_dict() == {"wait": "E", "app": "D"}
    assert found.at["app", "value"] == pytest.approx(0.2 * 0.025, rel=0.03)


def test_what_was_said_of_the_slopes_costs_the_chain_its_grade(slopes: pd.DataFrame) -> None:
    halo = Check(code="ROX-D01", verdict=Verdict.DEMOTE, values={"least": 0.8, "factor": 70.0})
    found = driver_chain(slopes, per_point(), {"wait": 1.0}, checks=(halo,))
    assert found.grade is Grade.E
    assert halo in found.checks
