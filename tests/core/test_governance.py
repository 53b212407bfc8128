"""The review of a case, the books it is held against, and what is still to be filled in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rox.core.case import read_case
from rox.core.errors import CaseError
from rox.core.governance import Reconcile, Review
from rox.core.unfilled import open_faults, unfilled

DAY = dt.date(2026, 1, 31)


def review(**more: Any) -> dict[str, Any]:
    named = {"owner": "Analytics", "reviewer": "Model risk", "approver": "Committee"}
    return {"purpose": "p", "intended_use": "u", "not_for": "n", "use": "support", **named, **more}


def signed(**more: Any) -> dict[str, Any]:
    return {"role": "reviewed", "name": "Li", "date": DAY, "decision": "approved", **more}


@pytest.mark.parametrize("name", list(review()))
def test_a_review_that_is_begun_is_complete(name: str) -> None:
    Review.model_validate(review())
    for wrong in ({**review(), name: ""}, {key: value for key, value in review().items() if key != name}):
        with pytest.raises(ValidationError, match=name):
            Review.model_validate(wrong)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"reviewer": "analytics"}, "somebody else has to challenge"),
        ({"exposure_limits": [10, 1]}, "the smaller first"),
        ({"monitoring": [{"what": "w", "trigger": "t", "action": "a", "owner": "o"}]}, "by"),
        ({"sign_offs": [signed(decision="approved_with_conditions")]}, "names the conditions"),
        ({"sign_offs": [signed(run="latest")]}, "run"),
    ],
)
def test_what_contradicts_itself_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Review.model_validate(review(**more))


def test_the_latest_signature_of_a_role_counts() -> None:
    names = ("first", "second", "third")
    dates = (DAY, DAY.replace(day=1), DAY)
    signatures = [signed(name=name, date=date) for name, date in zip(names, dates, strict=True)]
    found = Review.model_validate(review(sign_offs=signatures))
    last = found.latest("reviewed")
    assert last is not None
    assert last.name == "third"
    assert found.latest("approved") is None


def test_by_when_is_a_date_or_words() -> None:
    watched = {"what": "w", "trigger": "t", "action": "a", "owner": "o"}
    both = {"en": "each quarter", "zh": "每季度"}
    found = Review.model_validate(review(monitoring=[{**watched, "by": DAY}, {**watched, "by": both}]))
    assert [each.by["zh"] for each in found.monitoring] == ["2026-01-31", "每季度"]


@pytest.mark.parametrize("name", ["label", "figure", "amount", "tolerance", "owner", "source", "date"])
def test_a_reconciliation_that_is_begun_is_complete(name: str) -> None:
    whole = {
        "label": "l",
        "figure": "balance",
        "amount": 1.0,
        "tolerance": 0.02,
        "owner": "o",
        "source": "s",
        "date": DAY,
    }
    assert Reconcile.model_validate(whole).book == "general_ledger"
    with pytest.raises(ValidationError, match=name):
        Reconcile.model_validate({key: value for key, value in whole.items() if key != name})


def test_what_is_open_is_listed_by_table_with_what_it_asks() -> None:
    content = {
        "case": {"title": " ? ", "name": "why?"},
        "margin": {"all": {"low": 0.1, "between": ["?", 2], "owner": "?"}},
        "review": {"monitoring": [{"what": "x", "by": "?"}]},
    }
    still = list(unfilled(content))
    assert still == [
        ("case", "title"), ("margin.all", "between"), ("margin.all", "owner"), ("review.monitoring.0", "by"),
    ]  # fmt: skip
    said = open_faults(still)
    assert said[1] == "margin.all: still '?': between, owner"
    assert "owner is who answers for this number" in said


def test_other_faults_are_listed_with_what_is_open(root: Path, tmp_path: Path) -> None:
    text = (root / "data" / "bank" / "cases" / "branch_refit.toml").read_text(encoding="utf-8")
    path = tmp_path / "case.toml"
    opened = text.replace('owner = "Treasury"', 'owner = "?"', 1).replace("low = 0.006", 'low = "?"', 1)
    path.write_text(opened.replace('currency = "CNY"', 'currency = "yuan"', 1), encoding="utf-8")
    with pytest.raises(CaseError, match="not filled in yet") as caught:
        read_case(path)
    faults = "\n".join(caught.value.faults)
    assert "margin.all: still '?': low, owner" in faults
    assert "case.currency" in faults
    assert "margin.all.low" not in faults
