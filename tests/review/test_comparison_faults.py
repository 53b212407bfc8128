"""Cases that came to have other tables, people or costs: every difference has a name and nothing stops for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from rox.core.check import Verdict
from rox.review.comparison import compare
from tests.review.recorded import content_of, recorded, said


def verdicts(found, code: str) -> set[Verdict]:
    return {check.verdict for check in found.checks if check.code == code}


def test_months_after_the_horizon_that_come_and_go(tmp_path: Path) -> None:
    plain = recorded(tmp_path / "plain")
    longer = recorded(tmp_path / "longer", content_of(terminal={**said(), "months": 12}))
    for pair in ((plain, longer), (longer, plain)):
        found = compare(*pair)
        assert found.is_publishable
        assert any("months 12" in f"{step.was} {step.now}" for step in found.steps)


def test_a_case_without_costs_has_no_return_on_them_and_does_not_stop(tmp_path: Path) -> None:
    free = content_of(costs={"works": said(value=0, months=[0], label="Works")})
    found = compare(recorded(tmp_path / "first", free), recorded(tmp_path / "second", free))
    assert found.is_publishable
    assert verdicts(found, "ROX-R02") == {Verdict.PASS}


def test_people_where_there_were_none_are_volume(tmp_path: Path) -> None:
    nobody = content_of(people={"mass": said(value=0), "gold": said(value=0)})
    found = compare(recorded(tmp_path / "first", nobody), recorded(tmp_path / "second"))
    moved = {step.kind: step.level["expected_npv"] for step in found.steps}
    kinds = [step.kind for step in found.steps]
    assert moved["volume"] == pytest.approx(found.end["expected_npv"])
    assert "mix" not in kinds


def test_another_policy_shows_as_another_advice(tmp_path: Path) -> None:
    strict = content_of(policy={**said(), "enough": 0.9999})
    found = compare(recorded(tmp_path / "first"), recorded(tmp_path / "second", strict))
    words = {difference.word for difference in found.differences}
    assert "comparison.fact.advice" in words
    assert found.is_publishable
