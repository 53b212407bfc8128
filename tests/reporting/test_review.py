"""The card, the register's risks, the books and the signatures: the same on the page and in the workbook."""

from __future__ import annotations

import ast
import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from rox.core.case import Case
from rox.core.check import Grade
from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.identity import case_digest, effect_digest, run_id
from rox.core.returns import Return
from rox.core.words import LANGUAGES, Language, say
from rox.reporting.blocks import Cell, Part, Table
from rox.reporting.materiality import materiality
from rox.reporting.monitoring import triggers
from rox.reporting.parts.assumptions import assumptions
from rox.reporting.parts.card import card
from rox.reporting.parts.reconciliation import reconciliation
from rox.reporting.parts.record import provenance
from rox.reporting.reconciliation import comparisons
from rox.reporting.request import Request
from rox.reporting.reread import reread
from rox.reporting.risk import risks
from rox.reporting.workbook import write_workbook
from rox.valuation.value import value
from tests.reporting.conftest import assumed, case_content, make_effect
from tests.reporting.office import recalculated

DAY = dt.date(2026, 2, 1)
REVIEW: dict[str, Any] = {
    "purpose": {"en": "Decide on the refit", "zh": "决定是否改造"},
    "intended_use": "One decision",
    "not_for": "=Pay of staff",
    "owner": "Analytics",
    "reviewer": "Model risk",
    "approver": "Committee",
    "use": "decide",
    "exposure_limits": [100_000, 500_000],
    "monitoring": [
        {"what": "Cost", "trigger": "above plan", "action": "stop", "owner": "Property", "by": "2026-03-01"}
    ],
    "changes": [{"date": "2026-01-02", "who": "Wu", "what": "@margin lowered", "why": "new offer"}],
}
BOOKS: dict[str, Any] = {
    "people": assumed(label="Customers", figure="customers", amount=70_000, tolerance=0.01),
    "balance": assumed(label="Balances", figure="balance", amount=4.0e9, tolerance=0.05),
    "known": assumed(label="Costs", figure="costs", amount=1.0e6, tolerance=0.01, explanation="old plan"),
    "bank": assumed(label="Bank", figure="data_customers", amount=70_000, tolerance=0.0),
}


def case(**more: Any) -> Case:
    return Case.model_validate({**case_content(), "review": REVIEW, "reconcile": BOOKS, **more})


@pytest.fixture(scope="module")
def told() -> Return:
    return value(make_effect(), case(), draws=500, rng=3)


def of_effect(money: Return, effect: Effect) -> Return:
    """Put another effect in the place of the one that was priced."""
    return replace(money, effects=(effect,), grade=effect.grade)


def table(part: Part, caption: str, language: Language = "en") -> list[list[str]]:
    wanted = say(caption, language)
    found = next(block for block in part.blocks if isinstance(block, Table) and block.caption == wanted)
    return [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in found.rows]


# ---- which run it is


def test_page_workbook_and_record_name_the_same_run(told: Return, tmp_path: Path) -> None:
    run = run_id(told)
    assert table(provenance(Request(money=told)), "source.caption")[0][1] == run
    book = openpyxl.load_workbook(write_workbook(told, tmp_path / "x.xlsx"))
    for sheet in ("About", "Log"):
        assert run in {cell.value for row in book[sheet].iter_rows() for cell in row}, sheet


def test_signing_leaves_the_run_as_it_is_and_all_else_changes_it(told: Return) -> None:
    signed = {"role": "approved", "name": "Li", "date": DAY, "decision": "approved", "run": run_id(told)}
    again = replace(told, case=case(review={**REVIEW, "sign_offs": [signed]}))
    assert run_id(again) == run_id(told)
    assert case_digest(again.case) == case_digest(told.case)
    assert run_id(replace(told, case=case(review={**REVIEW, "use": "inform"}))) != run_id(told)
    assert run_id(of_effect(told, make_effect(mean=0.0211))) != run_id(told)
    assert run_id(replace(told, draws={**told.draws, "npv": told.draws["npv"] + 1e-6})) != run_id(told)
    assert run_id(replace(told, seed=4)) != run_id(told)
    assert effect_digest(make_effect()) == effect_digest(make_effect())


@pytest.mark.parametrize(("run", "said"), [("", "none"), ("0" * 12, "other"), ("own", "same")])
def test_a_signature_holds_for_the_run_it_names(told: Return, run: str, said: str) -> None:
    run = run_id(told) if run == "own" else run
    signed = {"role": "reviewed", "name": "Li", "date": DAY, "decision": "rejected", "run": run}
    rows = table(
        card(Request(money=replace(told, case=case(review={**REVIEW, "sign_offs": [signed]})))), "sign.caption"
    )
    assert rows[1][1:4] == ["Li", "1 Feb 2026", say("sign.decision.rejected")]
    assert rows[1][4].endswith(say(f"sign.run.{said}", run=run))
    assert rows[2][1:] == ["Committee", "", "", "", ""]


# ---- tier


@pytest.mark.parametrize(
    ("use", "limits", "tier"),
    [
        ("inform", (1e9, 1e10), 3),
        ("decide", (1e9, 1e10), 2),
        ("support", (1.0, 1e10), 2),
        ("support", (1.0, 2.0), 1),
        ("inform", (1.0, 2.0), 2),
        ("decide", (1.0, 1e10), 1),
    ],
)
def test_the_tier_is_exposure_times_use(told: Return, use: str, limits: tuple[float, float], tier: int) -> None:
    found = materiality(replace(told, case=case(review={**REVIEW, "use": use, "exposure_limits": list(limits)})))
    assert found.tier == tier
    assert found.stake == max(told.point["present_cost"][0], -told.decision.low)


def test_a_case_without_a_review_says_what_is_assumed(told: Return) -> None:
    facts = {
        row[0]: row[1] for row in table(card(Request(money=replace(told, case=case(review=None)))), "card.caption")
    }
    tier = facts[say("card.tier.name")]
    assert say("card.assumed.use") in tier
    assert say("card.assumed.limits") in tier
    assert facts[say("card.roles.name")] == say("card.roles.none")
    assert "SR 26-2" in say("card.note")


# ---- risk of the register


def test_every_input_but_the_constants_is_rated_once(told: Return) -> None:
    rated = sorted(member.name for each in risks(told) for member in each.members)
    assert rated == sorted(each.name for each in told.ledger.inputs if each.kind != "constant")


def test_the_worst_risk_stands_first_and_says_so_in_words(told: Return) -> None:
    rows = table(assumptions(Request(money=told, date=DAY)), "risk.caption")
    ratings = [row[1].split()[-1] for row in rows]
    order = ["high", "medium", "low"]
    assert ratings == sorted(ratings, key=order.index)
    assert {row[1][0] for row in rows} <= {"✕", "!", "✓"}
    margin = next(row for row in rows if row[0].startswith("Contribution margin"))
    assert margin[5] == "1 month"


@pytest.mark.parametrize(
    ("change", "quality", "reason"),
    [
        ({}, "medium", "document"),
        ({"source": "Measured on the pilot"}, "high", "measured"),
        ({"source": "Judgement of the team"}, "low", "judgement"),
        ({"source": "主观判断"}, "low", "judgement"),
        ({"source": "Judgement of the team", "quality": "high"}, "high", "declared"),
        ({"date": "2024-06-30"}, "low", "document"),
    ],
)
def test_quality_follows_the_source_unless_it_is_declared(
    told: Return, change: dict[str, str], quality: str, reason: str
) -> None:
    content: dict[str, Any] = case_content()
    content["margin"]["all"] |= change
    changed = Case.model_validate(content)
    answered = changed.margin["all"]
    inputs = tuple(
        replace(each, source=answered.source, date=answered.date) if each.place == "margin.all" else each
        for each in told.ledger.inputs
    )
    found = risks(replace(told, case=changed, ledger=replace(told.ledger, inputs=inputs)))
    margin = next(each for each in found if each.members[0].place == "margin.all")
    assert (margin.quality, margin.reason, margin.is_stale) == (quality, reason, "date" in change)


def test_a_number_without_a_range_is_moved_by_a_tenth(told: Return) -> None:
    rows = told.tornado.set_index("name")
    fixed = next(each for each in risks(told) if each.members[0].name == "tax")
    assert rows.loc["tax", "swing"] == 0
    moved = {**told.ledger.point, "tax": told.ledger.point["tax"] * 1.1}
    change = abs(told.ledger.totals(moved)["npv"][0] - told.point["npv"][0])
    assert fixed.swing == pytest.approx(change, rel=1e-6)


def test_estimates_take_their_quality_from_the_grade(told: Return) -> None:
    for grade, quality in ((Grade.A, "high"), (Grade.C, "medium"), (Grade.D, "low")):
        found = risks(of_effect(told, make_effect(grade=grade)))
        assert {each.quality for each in found if each.members[0].kind == "estimate"} == {quality}


def test_no_number_of_a_formula_is_unregistered(told: Return) -> None:
    for line in told.ledger.lines:
        numbers = {node.value for node in ast.walk(ast.parse(line.formula)) if isinstance(node, ast.Constant)}
        assert numbers <= {0, 1}, line.name


# ---- books


def test_ours_and_the_books(told: Return) -> None:
    found = {each.key: each for each in comparisons(told)}
    point = told.ledger.point
    heads = [point[f"people_{place}"] for place in (1, 2, 3)]
    held = [point[f"balance_{place}"] for place in (1, 2, 3)]
    assert found["people"].ours == sum(heads)
    assert found["balance"].ours == pytest.approx(np.dot(heads, held))
    assert found["known"].ours == pytest.approx(told.point["cost"].sum())
    assert found["bank"].ours == 70_000
    statuses = {key: each.status for key, each in found.items()}
    assert statuses == {"people": "agrees", "balance": "differs", "known": "explained", "bank": "agrees"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_says_what_agrees_and_what_does_not(told: Return, language: Language) -> None:
    rows = table(reconciliation(Request(money=told, language=language)), "reconcile.caption", language)
    said = [say(f"reconcile.{status}", language) for status in ("agrees", "differs", "explained", "agrees")]
    assert [row[5].split(" ", 1)[1] for row in rows] == said
    assert [row[5][0] for row in rows] == ["✓", "✕", "!", "✓"]


def test_without_books_the_page_says_so(told: Return) -> None:
    part = reconciliation(Request(money=replace(told, case=case(reconcile={}))))
    assert [getattr(block, "text", "") for block in part.blocks] == [say("reconcile.none")]


def test_figures_that_are_not_there_cannot_be_compared(told: Return) -> None:
    effect = make_effect()
    blind = replace(effect, baseline=effect.baseline.assign(customers=np.nan))
    asked = case(reconcile={"bank": {**BOOKS["bank"], "figure": "data_money"}})
    assert comparisons(replace(of_effect(told, blind), case=asked))[0].status == "absent"


# ---- monitoring


def test_declared_triggers_come_first_and_the_derived_name_the_lines(told: Return) -> None:
    found = triggers(told, "en")
    assert (found[0].what, found[0].by, found[0].is_declared) == ("Cost", "2026-03-01", True)
    assert not any(each.is_declared for each in found[1:])
    whats = [each.what for each in found]
    assert any(what.startswith("Customers who leave anyway") for what in whats)
    assert any(what.startswith("Evidence") for what in whats)
    worst = of_effect(told, make_effect(grade=Grade.E))
    assert not any(each.what.startswith("Evidence") for each in triggers(worst, "en"))


# ---- workbook


@pytest.fixture(scope="module")
def book(told: Return, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_workbook(told, tmp_path_factory.mktemp("review") / "review.xlsx")


def test_the_workbook_holds_card_risks_books_changes(told: Return, book: Path) -> None:
    found = openpyxl.load_workbook(book)
    values = {sheet: {str(c.value) for row in found[sheet].iter_rows() for c in row} for sheet in found.sheetnames}
    assert {"One decision", "=Pay of staff"} <= values["About"]
    assert {"@margin lowered", "new offer", "Wu", "2026-01-02"} <= values["Log"]
    assert any(text.startswith("Balances · general ledger · Finance") for text in values["Checks"])
    for each in told.ledger.inputs:
        place = found.defined_names[f"in_{each.name}"].attr_text.split("!")[1].replace("$", "")
        rating = found["Inputs"].cell(row=found["Inputs"][place].row, column=14).value
        assert rating in ({None} if each.kind == "constant" else {"high", "medium", "low"}), each.name
    texts = [cell for sheet in found for row in sheet.iter_rows() for cell in row if cell.value == "=Pay of staff"]
    assert [cell.data_type for cell in texts] == ["s"]


def test_open_differences_with_the_books_raise_the_flag(told: Return, book: Path, tmp_path: Path) -> None:
    found = openpyxl.load_workbook(book, data_only=True)["Checks"]
    rows = {str(row[1].value): row[2].value for row in found.iter_rows() if row[1].value}
    assert rows[say("workbook.alert.books")] == 1
    assert found["A3"].value == say("workbook.flag.alert", n=1)
    path = write_workbook(replace(told, case=case(reconcile={})), tmp_path / "plain.xlsx")
    plain = openpyxl.load_workbook(path, data_only=True)["Checks"]
    assert say("workbook.alert.books") not in {row[1].value for row in plain.iter_rows()}


@pytest.mark.office
def test_the_books_follow_the_inputs(told: Return, book: Path, tmp_path: Path) -> None:
    changed = openpyxl.load_workbook(book)
    where, place = changed.defined_names["in_people_1"].attr_text.split("!")
    changed[where.strip("'")][place.replace("$", "")].value = 50_000
    path = tmp_path / "changed.xlsx"
    changed.save(path)
    (copy,) = recalculated(tmp_path, path)
    rows = {row[0]: row for row in openpyxl.load_workbook(copy, data_only=True)["Checks"].iter_rows(values_only=True)}
    assert rows["people"][2] == 59_400
    assert rows["people"][6] == say("reconcile.differs")
    assert rows["bank"][6] == say("reconcile.agrees")
    assert rows["known"][6] == say("reconcile.explained")


# ---- read back


def test_a_workbook_is_read_back_and_recalculated(told: Return, book: Path, tmp_path: Path) -> None:
    found = reread(book, told.ledger)
    assert found.run == run_id(told)
    assert found.strangers == ()
    assert found.shown["npv"] == pytest.approx(told.headline["npv"], rel=1e-12)
    for name in ("discount", "margin_all", "half_life"):
        new = 1.1 * told.ledger.point[name]
        theirs = found.ledger.totals({**found.ledger.point, name: new})["npv"][0]
        assert theirs == pytest.approx(told.ledger.totals({**told.ledger.point, name: new})["npv"][0], rel=1e-12)
    with pytest.raises(DataError, match="no workbook"):
        reread(tmp_path / "none.xlsx", told.ledger)
    with pytest.raises(DataError, match="not a workbook in this language"):
        reread(book, told.ledger, language="zh")
    with pytest.raises(DataError, match="other lines"):
        reread(book, told.ledger.leading_to("undiscounted"))


def test_a_formula_that_was_changed_is_a_stranger(told: Return, book: Path, tmp_path: Path) -> None:
    changed = openpyxl.load_workbook(book)
    last = 5 + told.ledger.horizon
    row = next(row for row in changed["Calc"].iter_rows() if row[last + 2].value == "net")
    row[5 + 7].value = 1e6
    path = tmp_path / "changed.xlsx"
    changed.save(path)
    assert reread(path, told.ledger).strangers == ("net",)
