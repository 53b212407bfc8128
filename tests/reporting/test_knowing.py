"""What is not known, as the page and the workbook tell it: what the object holds, once, in both languages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest
from matplotlib.figure import Figure

from rox.core.declared import Wording
from rox.core.knowing import Knowing, StudyWorth
from rox.core.returns import Advice, Return
from rox.core.words import LANGUAGES, Language, say
from rox.reporting import blocks, sentences
from rox.reporting.blocks import Text
from rox.reporting.knowing_figures import spread_by_factor
from rox.reporting.parts.answer import answer
from rox.reporting.parts.doubts import turning
from rox.reporting.parts.knowing import before_deciding, knowing, spread_sentence, study_sentence
from rox.reporting.request import Request
from rox.reporting.workbook import write_workbook

from .conftest import assumed, make_case, make_effect

LOT = assumed(
    kind="holdout", label={"en": "Leave out <10%>", "zh": "留出<10%>"}, share=0.1, months=6, wait=6, meanwhile=0.9,
    cost=20_000,
)  # fmt: skip


@pytest.fixture(scope="module")
def known(money: Return) -> Knowing:
    """What the object holds."""
    assert money.knowing is not None
    return money.knowing


@pytest.fixture(scope="module")
def proposed() -> Return:
    """A return whose case names studies, one with a name that needs escaping."""
    from rox.valuation.value import value

    case = make_case()
    measure = assumed(kind="measure", label="Ledger", of="margin.all", sd=0.001, wait=0, cost=0)
    studies = {"lot": LOT, "ledger": measure}
    content = case.model_dump(by_alias=True) | {"studies": studies}
    return value(make_effect(mean=0.012), type(case).model_validate(content), draws=4_000, rng=3)


def study(**about: object) -> StudyWorth:
    base = {
        "key": "lot", "kind": "holdout", "label": Wording(en="Lot", zh="抽签"), "learns": (), "unit": "share",
        "error": 0.005, "detectable": 0.014, "evsi": 80_000.0, "evsi_error": 5_000.0, "evppi": 90_000.0, "open": 0.5,
        "cost": 10_000.0, "delay": 0.0,
    }  # fmt: skip
    return StudyWorth(**{**base, **about})  # type: ignore[arg-type]


def tables(part: blocks.Part) -> list[blocks.Table]:
    return [each for each in part.blocks if isinstance(each, blocks.Table)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_row_is_a_factor_of_the_object(money: Return, known: Knowing, language: Language) -> None:
    part = knowing(Request(money=money, language=language))
    (figure,) = (each for each in part.blocks if isinstance(each, blocks.Figure))
    named = known.factors[(known.factors["total"] >= 0.005) | (known.factors["evppi"] > 0)]
    assert [row[0] for row in figure.table.rows] == list(named[language])
    assert figure.table.rows[0][2] == f"{100 * named['total'].iloc[0]:.0f}%"
    assert "<title" in figure.svg
    assert "<desc" in figure.svg
    widest = known.factors.sort_values("total", ascending=False).iloc[0]
    assert str(widest[language]) in figure.caption


def test_the_worth_of_knowing_everything_is_said_once(pages: dict[Language, str]) -> None:
    for language in LANGUAGES:
        start = say("evpi", language, evpi="|").split("|")[0]
        assert pages[language].count(start) == 1
        assert pages[language].count(say("part.knowing", language) + "</h2>") == 1


def test_turning_no_longer_speaks_of_knowing(money: Return) -> None:
    part = turning(Request(money=money))
    assert not any("perfect information" in getattr(block, "text", "") for block in part.blocks)


@pytest.mark.parametrize(
    ("about", "advice", "said"),
    [
        ({}, "do", "worth CN¥40,000 and costs CN¥10,000 after tax: do it"),
        ({"cost": 90_000.0}, "do_not", "do not do it"),
        ({"cost": 39_000.0}, "close", "cannot tell"),
        ({"delay": 60_000.0}, "do_not", "waiting for it another CN¥60,000: do not"),
        ({"evsi": 0.0, "evsi_error": 0.0}, "do_not", "no finding of it would change the decision"),
        ({"key": "", "cost": float("nan"), "delay": float("nan")}, "offer", "at most CN¥40,000"),
    ],
)
def test_one_sentence_follows_from_the_figures(money: Return, about: dict[str, object], advice: str, said: str) -> None:
    found = study(**about)
    assert found.advice == advice
    sentence = study_sentence(Request(money=money), found)
    assert said in sentence
    assert "1.4%" in sentence
    chinese = study_sentence(Request(money=money, language="zh"), found)
    assert "抽签" in chinese
    assert "{" not in chinese + sentence


@pytest.mark.parametrize("language", LANGUAGES)
def test_studies_of_a_case_stand_in_a_table_that_adds_up(proposed: Return, language: Language) -> None:
    known = proposed.knowing
    assert known is not None
    assert [each.key for each in known.studies] == ["lot", "ledger"]
    part = knowing(Request(money=proposed, language=language))
    (table,) = tables(part)
    assert len(table.rows) == 2
    assert table.rows[0][0] == known.studies[0].label[language]
    labels = dict(zip(known.factors["name"], known.factors[language], strict=True))
    assert all(str(labels[name]) in str(table.rows[0][1]) for name in known.studies[0].learns)
    for row, each in zip(table.rows, known.studies, strict=True):
        assert isinstance(row[-1], blocks.Cell)
        assert row[-1].text.endswith(say(f"knowing.advice.{each.advice}", language))


def test_to_learn_first_is_explained_where_no_study_pays(proposed: Return) -> None:
    def said(advice: Advice, cost: float) -> bool:
        assert proposed.knowing is not None
        studies = tuple(replace(each, cost=cost) for each in proposed.knowing.studies)
        money = replace(
            proposed,
            decision=replace(proposed.decision, advice=advice),
            knowing=replace(proposed.knowing, studies=studies),
        )
        part = knowing(Request(money=money))
        return any(getattr(block, "text", "") == say("knowing.learn_first") for block in part.blocks)

    assert said(Advice.LEARN_FIRST, 1e9)
    assert not said(Advice.LEARN_FIRST, 0.0)
    assert not said(Advice.GO, 1e9)


def test_acting_together_and_alone_are_told_apart(money: Return, known: Knowing) -> None:
    said = {r2: spread_sentence(Request(money=money), replace(known, rank_r2=r2)) for r2 in (0.95, 0.5)}
    assert "tells most of it" in said[0.95]
    assert "act together" in said[0.5]


def test_few_draws_leave_only_the_worth_of_everything(returns: Callable[..., Return]) -> None:
    few = returns(draws=300)
    assert few.knowing is None
    part = knowing(Request(money=few))
    assert [block.kind for block in part.blocks] == ["text"]


def test_the_figure_draws_the_shares(known: Knowing) -> None:
    ax = Figure(figsize=(7, 3)).add_subplot()
    shown = known.factors.head(4)
    spread_by_factor(shown, ax)
    widths = sorted(bar.get_width() for bar in ax.patches)
    assert widths == pytest.approx(sorted([*shown["total"].clip(0), *shown["first"].clip(0)]))


def test_the_workbook_holds_what_the_draws_say(money: Return, known: Knowing, tmp_path: Path) -> None:
    path = write_workbook(money, tmp_path / "book.xlsx", language="en")
    rows = list(openpyxl.load_workbook(path)[say("workbook.sheet.sensitivity", "en")].iter_rows(values_only=True))
    (head,) = (number for number, row in enumerate(rows) if row[0] == say("workbook.sensitivity.input"))
    assert rows[head][11] == say("workbook.sensitivity.first")
    held = {row[0]: row[11:14] for row in rows[head + 1 : head + 1 + len(money.tornado)]}
    by_part = {part: row for _, row in known.factors.iterrows() for part in row["parts"]}
    for _, row in money.tornado.iterrows():
        if row["name"] in by_part:
            found = by_part[row["name"]]
            assert held[row["en"]] == pytest.approx((found["first"], found["total"], found["evppi"]))
        else:
            assert set(held[row["en"]]) == {"–"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_answer_says_how_to_learn_or_what_is_left(proposed: Return, language: Language) -> None:
    def said(cost: float, advice: Advice = Advice.LEARN_FIRST, *, named: bool = True) -> str:
        assert proposed.knowing is not None
        studies = tuple(
            replace(each, cost=cost, delay=0.0, evsi=9e5, evsi_error=1.0, open=1.0, key=each.key if named else "")
            for each in proposed.knowing.studies
        )
        money = replace(
            proposed,
            decision=replace(proposed.decision, advice=advice),
            knowing=replace(proposed.knowing, studies=studies),
        )
        sentence = before_deciding(Request(money=money, language=language))
        if advice is proposed.decision.advice and sentence:
            assert Text(text=sentence) in answer(Request(money=money, language=language)).blocks
        return sentence

    assert proposed.knowing is not None
    label = proposed.knowing.studies[0].label[language]
    assert label in said(1_000.0)
    assert label in said(1_000.0, Advice.GO)
    p = sentences.odds(proposed, language)
    assert said(1e9) == say("knowing.answer.none", language, p=p)
    assert said(1e9, named=False) == say("knowing.answer.offer", language, p=p)
    assert said(1e9, Advice.GO) == ""
    assert label in said(1_000.0, proposed.decision.advice)
