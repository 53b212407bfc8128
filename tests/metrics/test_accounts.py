"""Accounts for whom several people answer, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.metrics.accounts import account_scores

CONTACTS = pd.DataFrame(
    {
        "contact": ["a1", "a2", "b1", "b2", "c1", "d1"],
        "customer": ["a", "a", "b", "b", "c", "d"],
        "role": ["boss", "user", "boss", "user", "user", "boss"],
        "weight": [3.0, 1.0, 3.0, 1.0, 1.0, 3.0],
    }
)
ANSWERS = pd.DataFrame(
    {
        "customer": ["a", "a", "a", "b", "b", "c"],
        "contact": ["a1", "a2", "a2", "b1", "b2", "c1"],
        "date": "2025-07-03",
        "nps": [10, 4, 8, 9, 9, 6],
    }
)
PEOPLE = pd.DataFrame({"customer": list("abcd"), "segment": "all", "weight": [1.0, 1.0, 1.0, 1.0]})
LEDGER = pd.DataFrame({"customer": list("abcd"), "month": 12 * 2025 + 11, "aum": [800, 100, 100, 1000]})


@pytest.fixture
def tables(few: Callable[..., Any], study: Callable[..., Any]) -> Callable[..., Any]:
    def build(**changed: Any) -> Any:
        frames = {"answers": ANSWERS, "contacts": CONTACTS, "customers": PEOPLE, "ledger": LEDGER} | changed
        return few(study(min_cell=changed.pop("min_cell", 1)), **{k: v for k, v in frames.items() if k != "min_cell"})

    return build


def value_of(frame: pd.DataFrame, metric: str) -> float:
    """The middle of the interval where the point is not shown, which Student's is around."""
    one = frame[frame["metric"] == metric].iloc[0]
    return float(one["value"])


def shown_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rox.metrics.accounts.SHOWN_FROM", 0)


def test_contacts_count_by_weight_and_accounts_once(tables: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_points(monkeypatch)
    found = account_scores(tables(), "nps").scores
    # a: boss 1 (weight 3), user (-1+0)/2 (weight 1) -> (3-0.5)/4 = 0.625; b: 1; c: -1
    assert value_of(found, "nps") == pytest.approx(100 * (0.625 + 1 - 1) / 3, abs=0.1)
    assert found["n"].iloc[0] == 3
    z = np.array([0.625, 1, -1])
    assert found["se"].iloc[0] == pytest.approx(100 * z.std(ddof=1) / np.sqrt(3), rel=1e-3)


def test_weights_by_role_and_equal(tables: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_points(monkeypatch)
    by_role = account_scores(tables(), "nps", contacts={"boss": 1, "user": 3}).scores
    assert value_of(by_role, "nps") == pytest.approx(100 * ((1 - 1.5) / 4 + 1 - 1) / 3, abs=0.1)
    equal = account_scores(tables(), "nps", contacts="equal").scores
    assert value_of(equal, "nps") == pytest.approx(100 * (0.25 + 1 - 1) / 3, abs=0.1)


def test_money_weighs_accounts(tables: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_points(monkeypatch)
    found = account_scores(tables(), "nps", count="money")
    assert value_of(found.scores, "nps") == pytest.approx(100 * (0.8 * 0.625 + 0.1 - 0.1), abs=0.1)
    assert [check.code for check in found.checks] == ["ROX-M12"]
    assert "100%" in found.checks[0].sentence("en")
    assert "100%" in found.checks[0].sentence("zh")


def test_coverage_of_accounts_and_money(tables: Any) -> None:
    found = account_scores(tables(), "nps", deciders=["boss"]).coverage.set_index("metric")["value"]
    assert found.to_dict() == pytest.approx(
        {"accounts_heard": 3 / 4, "accounts_decided": 2 / 4, "money_heard": 0.5, "money_decided": 0.45}
    )


def test_disagreement_inside_accounts(tables: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_points(monkeypatch)
    found = account_scores(tables(), "nps").disagreement
    # a: contacts at 10 and 6 -> variance 8; b: 9 and 9 -> 0
    assert value_of(found, "within_sd") == pytest.approx(2.0, abs=1e-3)
    assert value_of(found, "split") == pytest.approx(0.5)


def test_few_accounts_are_hidden_and_unnamed_answers_are_said(tables: Any) -> None:
    hidden = account_scores(tables(min_cell=4), "nps").scores
    assert hidden["method"].tolist() == ["suppressed"]
    assert hidden[["value", "low", "n"]].isna().all(axis=None)
    unnamed = ANSWERS.assign(contact=[*ANSWERS["contact"][:-1], None])
    checks = account_scores(tables(answers=unnamed), "nps").checks
    assert [(check.code, check.values["answers"]) for check in checks] == [("ROX-M11", 1)]


def test_faults_are_listed_at_once(tables: Any) -> None:
    with pytest.raises(DataError) as caught:
        account_scores(tables(), "nps", contacts={"boss": -1, "chief": 2}, deciders=["owner"])
    assert len(caught.value.faults) == 4
    with pytest.raises(DataError, match="does not have: 1"):
        account_scores(tables(answers=ANSWERS.assign(contact=["b1", *ANSWERS["contact"][1:]])), "nps")


def test_groups_and_periods(tables: Any) -> None:
    people = PEOPLE.assign(segment=["x", "x", "y", "y"])
    found = account_scores(tables(customers=people), "nps", ["segment"], within="2025Q3")
    assert found.scores["segment"].tolist() == ["x", "y"]
    assert found.scores["n"].tolist() == [2, 1]
