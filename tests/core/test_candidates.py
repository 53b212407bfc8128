"""Candidate studies of a case: what can be said, and all that is wrong with them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rox.core.candidates import Holdout, Measurement, Survey
from rox.core.case import read_case
from rox.core.errors import CaseError

CASE = """
[case]
name = "small"
title = "Small"
decision = "do it"
currency = "CNY"
start = 2026-01-01
horizon = 24
effects = ["uplift"]
[people]
all = { value = 1000, owner = "F", source = "P", date = 2025-12-31 }
[balance]
all = { between = [9000, 11000], owner = "F", source = "P", date = 2025-12-31 }
[margin]
all = { value = 0.01, owner = "F", source = "P", date = 2025-12-31 }
[attrition]
all = { value = 0.1, owner = "F", source = "P", date = 2025-12-31 }
[timing]
ramp = { value = 6, owner = "F", source = "P", date = 2025-12-31 }
half_life = { value = 24, owner = "F", source = "P", date = 2025-12-31 }
[finance]
discount = { value = 0.08, owner = "F", source = "P", date = 2025-12-31 }
tax = { value = 0.25, owner = "F", source = "P", date = 2025-12-31 }
hurdle = { value = 0.1, owner = "F", source = "P", date = 2025-12-31 }
[costs.works]
label = "Works"
value = 5000
months = [0]
owner = "F"
source = "P"
date = 2025-12-31
"""
SAID = 'label = "L"\ncost = 1000\nwait = 7\nowner = "F"\nsource = "P"\ndate = 2025-12-31\n'


def written(tmp_path: Path, **studies: str) -> Path:
    path = tmp_path / "case.toml"
    tables = "".join(f"[studies.{key}]\n{text}\n" for key, text in studies.items())
    path.write_text(CASE + tables, encoding="utf-8")
    return path


def test_three_kinds_are_read(tmp_path: Path) -> None:
    lot = SAID + 'kind = "holdout"\nshare = 0.1\nmonths = 6\n'
    measure = SAID + 'kind = "measure"\nof = "balance.all"\nsd = 300\n'
    case = read_case(written(tmp_path, lot=lot, ledger=measure))
    held, measured = case.studies["lot"], case.studies["ledger"]
    assert isinstance(held, Holdout)
    assert (held.share, held.months, held.open, held.meanwhile) == (0.1, 6, 1.0, 0.0)
    assert isinstance(measured, Measurement)
    survey = Survey.model_validate(
        {"kind": "survey", "label": "L", "cost": 1, "wait": 2, "owner": "F", "source": "P", "date": "2025-12-31"}
        | {"answers": 400, "sd": 2.4}
    )
    assert survey.answers == 400
    assert read_case(written(tmp_path)).studies == {}


def test_all_that_is_wrong_with_the_form_is_said_at_once(tmp_path: Path) -> None:
    early = SAID.replace("wait = 7", "wait = 3") + 'kind = "holdout"\nshare = 0.02\nplaces = 15\nmonths = 6\n'
    nobody = SAID.replace('owner = "F"', 'owner = ""') + 'kind = "survey"\nanswers = 100\n'
    unknown = SAID + 'kind = "guess"\n'
    with pytest.raises(CaseError) as caught:
        read_case(written(tmp_path, early=early, nobody=nobody, unknown=unknown))
    text = "\n".join(caught.value.faults)
    assert "wait is 3 months, but the follow-up alone takes 6" in text
    assert "0.02 of 15 places leaves one side without a place" in text
    assert "studies.nobody.survey.owner" in text
    assert "studies.nobody.survey.sd: missing" in text
    assert "studies.unknown" in text


def test_all_studies_without_a_question_are_said_at_once(tmp_path: Path) -> None:
    other = SAID + 'kind = "holdout"\neffect = "churn"\nshare = 0.1\nmonths = 6\n'
    survey = SAID + 'kind = "survey"\nanswers = 100\nsd = 2.5\n'
    fixed = SAID + 'kind = "measure"\nof = "margin.all"\nsd = 0.001\n'
    absent = SAID + 'kind = "measure"\nof = "margin.mass"\nsd = 0.001\n'
    with pytest.raises(CaseError) as caught:
        read_case(written(tmp_path, other=other, survey=survey, fixed=fixed, absent=absent))
    faults = caught.value.faults
    assert [fault.split(":")[0] for fault in faults] == [
        "studies.other.effect", "studies.survey", "studies.fixed", "studies.absent",
    ]  # fmt: skip
    assert "does not rest on 'churn'" in faults[0]
    assert "one value without a range" in faults[2]
    assert "no assumption of this file" in faults[3]
