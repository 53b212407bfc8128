"""The ledger's totals against published cash flows and customer values; a month stands for a period."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rox.core.case import Case
from rox.core.effect import Effect
from rox.valuation.lines import ledger_of

from .conftest import case_of, effect_of, said

Parity = Callable[[str], tuple[Path, dict[str, dict[str, Any]]]]


def a_year(rate: float) -> float:
    """Return the yearly rate of a rate per month."""
    return float((1 + rate) ** 12 - 1)


def lines_of(case: Case, effect: Effect) -> dict[str, float]:
    """Return the totals of the point path, and what is held in month 1."""
    ledger = ledger_of([effect], case)
    return {line.name: float(found[0, 0 if line.scope == "total" else 1]) for line, found in ledger.run(ledger.point)}


def priced(flows: Sequence[float], rate: float, reinvest: float | None = None) -> dict[str, float]:
    """Price flows, one a month from month 0, that no effect adds to."""
    paid = {f"c{month}": said(value=-flow, months=[month], label="c") for month, flow in enumerate(flows) if flow < 0}
    got = {
        f"b{month}": said(value=flow, months=[month], label="b", channel="cost_to_serve")
        for month, flow in enumerate(flows)
        if flow > 0
    }
    finance = {"discount": said(value=a_year(rate)), "tax": said(value=0), "hurdle": said(value=0)}
    if reinvest is not None:
        finance["reinvest"] = said(value=a_year(reinvest))
    case = case_of(
        case=about(len(flows) - 1),
        people={"all": said(value=0)},
        finance=finance,
        costs=paid or {"none": said(value=0, months=[0], label="n")},
        benefits=got,
    )
    return lines_of(case, effect_of(0.0))


def about(horizon: int) -> dict[str, object]:
    return {
        "name": "flows", "title": "Flows", "decision": "d", "currency": "CNY", "start": "2026-01-01",
        "horizon": horizon, "effects": ["uplift"],
    }  # fmt: skip


def per_period(rate: float) -> float:
    return float((1 + rate) ** (1 / 12) - 1)


def test_net_present_value_and_rates_of_return(parity: Parity) -> None:
    _, wanted = parity("f01_numpy_financial")
    npv = priced([-40_000, 5_000, 8_000, 12_000, 30_000], 0.08)["npv"]
    assert npv == pytest.approx(wanted["npv_8pct"]["value"], rel=wanted["npv_8pct"]["tol_rel"])
    flows = {"irr1": [-100, 39, 59, 55, 20], "irr2": [-100, 0, 0, 74]}
    for name, each in flows.items():
        found = per_period(priced(each, 0.08)["irr"])
        assert found == pytest.approx(wanted[name]["value"], rel=wanted[name]["tol_rel"]), name
    for each in ([-100, 100, 0, -7], [-5, 10.5, 1, -8, 1]):
        assert np.isnan(priced(each, 0.08)["irr"]), "flows that turn twice can have several rates"


def test_the_modified_rate_of_return(parity: Parity) -> None:
    _, wanted = parity("f01_numpy_financial")
    cases = {
        "mirr": ([-4500, -800, 800, 800, 600, 600, 800, 800, 700, 3000], 0.08, 0.055),
        "mirr2": ([-120_000, 39_000, 30_000, 21_000, 37_000, 46_000], 0.10, 0.12),
    }
    for name, (flows, rate, reinvest) in cases.items():
        found = per_period(priced(flows, rate, reinvest)["mirr"])
        assert found == pytest.approx(wanted[name]["value"], rel=wanted[name]["tol_rel"]), name
    at_the_discount = priced([-100, 60, 60], 0.10)
    assert per_period(at_the_discount["mirr"]) == pytest.approx((126 / 100) ** 0.5 - 1, rel=1e-12)
    assert np.isnan(priced([100, 60, 60], 0.10)["mirr"]), "nothing is spent"


def test_values_now_and_then(parity: Parity) -> None:
    _, wanted = parity("f01_numpy_financial")
    saved = priced([100] * 121, 0.05 / 12, 0.05 / 12)["gained_then"]
    assert saved == pytest.approx(wanted["fv"]["value"], rel=wanted["fv"]["tol_rel"])
    paid = priced([0, *([-100] * 119), 15_692.93 - 100], 0.05 / 12)["npv"]
    assert paid == pytest.approx(-wanted["pv"]["value"], rel=wanted["pv"]["tol_rel"])
    owed = priced([0, *([1] * 180)], 0.075 / 12)["present_benefit"]
    assert -200_000 / owed == pytest.approx(wanted["pmt"]["value"], rel=wanted["pmt"]["tol_rel"])


def test_payback_and_annuities(parity: Parity) -> None:
    _, wanted = parity("f04_loan_annuity")
    money = priced([-1000, 400, 400, 400, 400], 0.10)
    annuity = priced([0, 1, 1, 1, 1], 0.10)["present_benefit"]
    found = {
        "payback": money["payback"],
        "disc_payback_10": money["discounted_payback"],
        "npv10": money["npv"],
        "pi": money["roi"] + 1,
        "simple_roi": money["undiscounted"] / 1000,
        "annuity_factor": annuity,
        "eac": 1000 / annuity,
    }
    for name, number in found.items():
        tolerance = {"rel": wanted[name]["tol_rel"] or 1e-12, "abs": wanted[name].get("tol_abs", 0.0)}
        assert number == pytest.approx(wanted[name]["value"], **tolerance), name


def kept(retention: float, discount: float, months: int, **terminal: object) -> float:
    """Return the present value of a margin of 1 a period for as long as a customer stays."""
    case = case_of(
        case=about(months),
        people={"a": said(value=1), "b": said(value=0)},
        balance={"all": said(value=1)},
        margin={"all": said(value=12)},
        attrition={"all": said(value=1 - retention**12)},
        timing={"ramp": said(value=0.01), "half_life": said(value=1e15)},
        finance={"discount": said(value=a_year(discount)), "tax": said(value=0), "hurdle": said(value=0)},
        **terminal,
    )
    found = lines_of(case, effect_of(0.5, includes_exit=False))
    return found["present_benefit"] / found["extra_uplift_1"] * retention


def test_the_value_of_customers_who_stay(parity: Parity) -> None:
    _, wanted = parity("v06_clv_formulas")
    rates = (0.10, 0.12, 0.14, 0.16)
    for row, retention in enumerate((0.6, 0.7, 0.8, 0.9)):
        found = [kept(retention, rate, 230) for rate in rates]
        np.testing.assert_allclose(found, wanted["multiple"]["value"][row], rtol=1e-12)
    assert 1 + kept(0.8, 0.12, 230) == pytest.approx(wanted["multiple_immediate"]["value"], rel=1e-12)
    assert kept(0.8, 0.12, 5) == pytest.approx(wanted["finite5"]["value"], rel=1e-12)
    high, low, middle = (kept(each, 0.12, 230) for each in (0.8008, 0.7992, 0.8))
    elastic = wanted["elasticity_retention"]
    assert (high - low) / 0.0016 * 0.8 / middle == pytest.approx(elastic["value"], rel=elastic["tol_rel"])


def test_months_after_the_horizon_are_the_closed_form_of_a_run_off() -> None:
    after = {"terminal": {"months": 20, "owner": "o", "source": "s", "date": "2025-12-31"}}
    held = 0.8 / 1.12
    assert kept(0.8, 0.12, 10, **after) == pytest.approx(kept(0.8, 0.12, 30), rel=1e-12)
    run_off = held**10 * (0.8 * (1 - held**20) / (1.12 - 0.8))
    assert kept(0.8, 0.12, 10, **after) - kept(0.8, 0.12, 10) == pytest.approx(run_off, rel=1e-12)
