"""What money of a year ago has become, by hand and against row-by-row estimates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox import metrics
from rox.core.errors import DataError
from rox.linking.tables import Tables
from rox.numerics.survey import weighted_ratio

JANUARY = 12 * 2024


def ledger_of(*lives):
    """Write one row per customer and month for (customer, first, last, money), months counted from 2024-01."""
    rows = [(who, JANUARY + m, money) for who, first, last, money in lives for m in range(first, last + 1)]
    return pd.DataFrame(rows, columns=["customer", "month", "aum"])


@pytest.fixture
def company(few, study):
    """A grew, B left in July, C is new by a friend, D new by an advertisement; two years."""

    def build(earned=("friend",)):
        declared = study(min_cell=1)
        customers = declared.tables["customers"]
        customers = customers.model_copy(update={"columns": {**customers.columns, "came": "came"}, "earned": earned})
        declared = declared.model_copy(update={"tables": {**declared.tables, "customers": customers}})
        ledger = ledger_of(
            ("A", 0, 11, 100), ("A", 12, 23, 130), ("B", 0, 17, 50), ("C", 13, 23, 20), ("D", 20, 23, 90)
        )
        people = pd.DataFrame(
            {
                "customer": list("ABCD"),
                "segment": ["x", "x", "y", "y"],
                "came": ["branch", "friend", "friend", "advert"],
            }
        )
        return few(declared, ledger=ledger, customers=people)

    return build


def test_by_hand(company, row):
    found = metrics.earned_growth(company())
    before = 12 * 150
    for name, money in (("kept_money", 12 * 130 + 6 * 50), ("new_money", 11 * 20 + 4 * 90), ("earned_money", 11 * 20)):
        assert row(found, metric=name)["value"] == pytest.approx(money / before), name
    assert row(found, metric="earned_growth")["value"] == pytest.approx((12 * 130 + 6 * 50 + 220) / before - 1)
    assert set(found["n"]) == {4.0}


def test_a_study_that_does_not_say_how_customers_came_has_no_earned_growth(company):
    assert set(metrics.earned_growth(company(earned=()))["metric"]) == {"kept_money", "new_money"}


def test_errors_are_those_of_a_ratio_of_sums_over_customers(few, study, row):
    rng = np.random.default_rng(5)
    size = 300
    first = rng.integers(0, 24, size)
    money = np.round(100 * rng.lognormal(5, 1, size)).astype(int)
    later = np.round(money * rng.uniform(0.5, 1.6, size)).astype(int)
    lives = [
        life
        for i in range(size)
        for life in ((f"p{i}", first[i], 11, money[i]), (f"p{i}", max(12, first[i]), 23, later[i]))
    ]
    weight = rng.uniform(1, 4, size)
    people = pd.DataFrame(
        {
            "customer": [f"p{i}" for i in range(size)],
            "segment": np.where(rng.random(size) < 0.3, "a", "b"),
            "weight": weight,
        }
    )
    tables = few(study(min_cell=1), ledger=ledger_of(*lives), customers=people)
    found = row(metrics.earned_growth(tables, money="aum"), metric="kept_money")
    before = np.maximum(12 - first, 0) * money
    after = np.where(first < 12, 12 * later, 0)
    told = weighted_ratio(after, before, weight, stratum=people["segment"])
    assert found["value"] == pytest.approx(told.value, rel=1e-6)
    assert found["se"] == pytest.approx(told.se, rel=1e-4)


def test_a_short_ledger_and_a_split_by_time_are_refused(company):
    with pytest.raises(DataError, match=r"24 months, 30 are needed"):
        metrics.earned_growth(company(), months=15)
    with pytest.raises(DataError, match="cannot be split by quarter"):
        metrics.earned_growth(company(), ["quarter"])


def test_places_are_a_group_of_their_own_and_never_take_the_name_of_a_result(bank_tables: Tables) -> None:
    tables = bank_tables
    found = metrics.churn(tables, ["place"])
    shown = found[~found["suppressed"]]
    assert len(set(shown["place"])) > 5
    assert set(found["unit"]) == {"ratio"}
    with pytest.raises(DataError, match="group by `place`"):
        metrics.nps(tables, "nps", ["unit"])
