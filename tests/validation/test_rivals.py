"""The recipes do what their names say, on tables small enough to compute by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from rox.simulate import tables
from rox.validation import RECIPES, rivals


def dates(*days: str) -> pd.Series:
    return pd.Series(pd.to_datetime(list(days)).astype("datetime64[s]"))


def small(money: dict[str, list[float]], answers: list[tuple[str, str, int]]) -> dict[str, pd.DataFrame]:
    """Tables of customers with money in January, February, … 2025, and answers."""
    months = [f"2025-{month + 1:02d}-01" for month in range(max(len(each) for each in money.values()))]
    ledger = [(name, month, aum) for name, each in money.items() for month, aum in zip(months, each, strict=False)]
    frame = pd.DataFrame(ledger, columns=["customer_id", "month", "aum"])
    return {
        "customers": pd.DataFrame({"customer_id": list(money), "branch_id": "B01", "design_weight": 1.0}),
        "ledger": frame.assign(month=dates(*frame["month"])),
        "answers": pd.DataFrame(
            {
                "customer_id": [name for name, _, _ in answers],
                "answered": dates(*[day for _, day, _ in answers]),
                "nps": pd.array([score for _, _, score in answers], dtype="Int64"),
            }
        ),
    }


GIVEN = [("a", "2025-01-09", 10), ("b", "2025-01-10", 9), ("c", "2025-01-11", 6), ("d", "2025-02-03", 4)]
MONEY = {"a": [500.0, 100.0], "b": [300.0, 700.0], "c": [100.0, 40.0], "d": [900.0, 200.0]}


def test_promoters_less_detractors():
    gap, _ = rivals.promoter_gap(small(MONEY, GIVEN))
    assert gap == pytest.approx(((500 + 300) / 2 - (100 + 200) / 2) / (9.5 - 5))


def test_pooled_regression_weights_by_design():
    bank = small(MONEY, GIVEN)
    bank["customers"]["design_weight"] = [1.0, 2.0, 3.0, 4.0]
    slope, _ = rivals.pooled_ols(bank)
    expected = np.polyfit([10, 9, 6, 4], [500, 300, 100, 200], 1, w=np.sqrt([1, 2, 3, 4]))[0]
    assert slope == pytest.approx(expected)


def test_top_and_bottom_quarter_by_money_of_the_last_month():
    gap, _ = rivals.quartiles(small(MONEY, [*GIVEN, ("a", "2025-02-09", 8)]))
    assert gap == pytest.approx((700 - 200) / (9 - 4))


def test_an_answer_is_carried_forward_to_every_later_month():
    money = {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 9.0]}
    slope, _ = rivals.carried_forward(small(money, [("a", "2025-01-05", 2), ("b", "2025-02-05", 8)]))
    assert slope == pytest.approx(np.polyfit([2, 2, 2, 8, 8], [1, 2, 3, 5, 9], 1)[0])


def test_cox_recipes_count_from_the_answer(bank):
    exported = tables(bank)
    first, error = rivals.first_score_cox(exported)
    answers = exported["answers"].dropna(subset="nps").sort_values("answered").drop_duplicates("customer_id")
    rows = answers.merge(exported["exits"], how="left")
    last = rows["exited"].fillna(pd.Timestamp("2025-12-31"))
    months = 12 * (last.dt.year - rows["answered"].dt.year) + last.dt.month - rows["answered"].dt.month + 1
    left = rows["reason"].isin(rivals.VOLUNTARY)
    fit = CoxPHFitter().fit(pd.DataFrame({"x": rows["nps"].astype(float), "t": months, "e": left}), "t", "e")
    assert first == pytest.approx(fit.params_["x"], rel=1e-6)
    assert error > 0
    carried, _ = rivals.carried_forward_cox(exported)
    assert carried != first


def branches(gain: float) -> dict[str, pd.DataFrame]:
    """Four branches on one growing path; two are refitted in July and gain at once."""
    months = pd.period_range("2024-01", "2025-12", freq="M").to_timestamp()
    rows = [
        (f"{branch}-{place}", month, 100.0 * (1 + place) * 1.01**step * (1 + gain * (branch in "AB" and step >= 6)))
        for branch in "ABCD"
        for place in range(2)
        for step, month in enumerate(months)
    ]
    ledger = pd.DataFrame(rows, columns=["customer_id", "month", "aum"])
    names = ledger["customer_id"].unique()
    return {
        "customers": pd.DataFrame(
            {"customer_id": names, "branch_id": [name[0] for name in names], "design_weight": 1.0}
        ),
        "ledger": ledger.assign(month=ledger["month"].astype("datetime64[s]")),
        "initiatives": pd.DataFrame({"branch_id": ["A", "B"], "start": dates("2024-07-01", "2024-07-01")}),
    }


def test_before_and_after_takes_growth_for_gain():
    gain, _ = rivals.before_after(branches(0.05))
    path = 1.01 ** np.arange(24)
    assert gain == pytest.approx(1.05 * path[12:18].mean() / path[:6].mean() - 1)


def test_effects_of_branch_and_month_find_a_common_gain():
    gain, _ = rivals.twfe(branches(0.05))
    assert gain == pytest.approx(np.log(1.05))


def test_every_recipe_answers_on_a_bank(bank):
    exported = tables(bank)
    for recipe in RECIPES:
        estimate, error = rivals.plainly(recipe.recipe, exported)
        assert np.isfinite(estimate)
        assert error > 0
