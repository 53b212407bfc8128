"""The page: complete, escaped, self-contained, without a single customer, and the same bytes for the same figures."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.returns import Return
from rox.core.study import read_study
from rox.core.words import LANGUAGES, Language, catalogue
from rox.reporting.blocks import Column, Figure, Part, Table
from rox.reporting.parts.assumptions import assumptions
from rox.reporting.parts.scenarios import by_year, scenario_values
from rox.reporting.report import Report, report
from rox.reporting.request import Request

PARTS = (
    "answer",
    "bridge",
    "evidence",
    "assumptions",
    "scenarios",
    "what-if",
    "turning",
    "reconciliation",
    "silence",
    "knowing",
    "measure",
    "trail",
    "card",
    "provenance",
)
VOID = {"meta", "link", "br", "path", "use", "rect", "line", "circle", "input"}


class Outline(HTMLParser):
    """Collects elements with their attributes, and sees to it that tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    return parser


def part(found: Report, key: str) -> Part:
    return next(each for each in found.parts if each.key == key)


def tables(each: Part) -> list[Table]:
    return [
        block.table if isinstance(block, Figure) else block
        for block in each.blocks
        if isinstance(block, Table | Figure)
    ]


def words(table: Table) -> list[list[str]]:
    return [[cell if isinstance(cell, str) else cell.text for cell in row] for row in table.rows]


@pytest.mark.parametrize("language", LANGUAGES)
def test_parts_stand_in_the_order_of_review(pages: dict[Language, str], language: Language) -> None:
    found = outline(pages[language])
    assert tuple(each["id"] for each in found.all("section")) == PARTS
    assert [each["href"] for each in found.all("a")][1:] == [f"#{key}" for key in PARTS]
    headings = [catalogue()[f"part.{key}"][language] for key in PARTS]
    assert all(pages[language].count(heading) >= 2 for heading in headings)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_whole_and_accessible(pages: dict[Language, str], language: Language) -> None:
    found = outline(pages[language])
    assert found.faults == []
    assert found.open == []
    assert found.all("html")[0]["lang"] == {"en": "en", "zh": "zh-Hans"}[language]
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(found.all("table")) == len(found.all("caption"))
    assert all(each.get("scope") in ("col", "row") for each in found.all("th"))
    pictures = found.all("svg")
    assert len(pictures) == len(found.all("figure")) >= 7
    assert all(each["role"] == "img" and each["aria-labelledby"] for each in pictures)
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_asks_nobody_for_anything(pages: dict[Language, str], language: Language) -> None:
    page = pages[language]
    found = outline(page)
    assert [each.get("type") for each in found.all("script")] == ["application/json", None]
    assert not re.search(r"@import|javascript:|\son\w+=|eval\(|Function\(|fetch\(|XMLHttp|innerHTML|src=", page)
    assert all(source.startswith('"data:font/woff') for source in re.findall(r"url\(([^#)][^)]*)\)", page))
    addresses = set(re.findall(r"\w+://[^\"'\s<>]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    policy = next(each for each in found.all("meta") if each.get("http-equiv"))
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}';" in str(policy["content"])
    assert "unsafe-eval" not in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_customer_is_on_the_page(pages: dict[Language, str], language: Language) -> None:
    unseen = r"<style>.*?</style>|<script.*?</script>|<svg.*?</svg>|<[^>]+>"
    visible = re.sub(unseen, " ", pages[language], flags=re.DOTALL)
    visible = re.sub(r"\b[0-9a-f]{64}\b", "", visible)
    assert not re.search(r"(?i)customer[_ ]?id|客户号", visible)
    assert not re.search(r"\b[A-Za-z]{1,4}[-_]?\d{5,}\b", visible)
    assert not re.search(r"(?<![\d,.])1[3-9]\d{9}(?!\d)|(?<!\d)\d{17}[\dXx](?!\d)|[\w.]+@[\w.]+\.\w+", visible)


def test_a_segment_of_few_is_not_told_nor_can_it_be_subtracted(
    money: Return, returns: Callable[..., Return], effects: Callable[..., Effect]
) -> None:
    effect = effects()
    few = replace(effect, baseline=effect.baseline.assign(customers=[60_200.0, 9_100.0, 7.0]))
    figure = next(
        block
        for block in part(report(returns(few)), "evidence").blocks
        if isinstance(block, Figure) and "segment" in block.table.caption
    )
    rows = words(figure.table)
    assert rows[2] == ["private", "n<10", "n<10", "n<10"]
    assert rows[3][1] == ""
    assert "n<10" in figure.table.note
    assert ">private</text>" not in figure.svg
    pooled = next(table for table in tables(part(report(returns(few)), "evidence")) if "pooled" in table.caption)
    assert [row[0] for row in words(pooled)] == ["mass", "gold"]
    shown = next(block for block in part(report(money), "evidence").blocks if isinstance(block, Figure))
    assert "n<10" not in str(shown.table.rows)


def test_the_study_says_how_few_are_few(
    effects: Callable[..., Effect], returns: Callable[..., Return], bank: Path
) -> None:
    study = read_study(bank)
    stricter = study.model_copy(update={"about": study.about.model_copy(update={"min_cell": 1_000})})
    found = report(returns(), study=stricter)
    assert "n<1000" in str(tables(part(found, "evidence")))
    assert "n<10" not in str(tables(part(report(returns(), study=study), "evidence")))


def test_a_suppressed_measure_says_so(pages: dict[Language, str]) -> None:
    assert "n&lt;10: groups of fewer than 10" in pages["en"]
    assert "n&lt;10：少于 10 位客户" in pages["zh"]


def test_what_users_write_is_escaped(returns: Callable[..., Return], effects: Callable[..., Effect]) -> None:
    attack = "<script>alert(1)</script>&\"'"
    effect = effects()
    groups = ("mass", "gold", "private")
    nasty = replace(
        effect,
        specification=attack,
        fingerprint=attack,
        estimand=replace(effect.estimand, population=attack, treatment=attack),
    )
    money = returns(nasty, title=attack, decision=attack, prepared_by=attack)
    renamed = replace(
        money,
        by_group=money.by_group.assign(group=attack),
        effects=(
            replace(nasty, groups=(attack, *groups[1:]), baseline=nasty.baseline.set_axis([attack, *groups[1:]])),
        ),
    )
    page = report(renamed).html()
    assert page.count("<script") == 2
    assert "alert" not in page.partition('<script type="application/json"')[2]
    assert outline(page).faults == []
    assert page.count("&lt;script&gt;") > 8


def test_the_register_holds_every_input_of_the_ledger(money: Return) -> None:
    shown = [row[0] for table in tables(assumptions(Request(money=money)))[:3] for row in words(table)]
    assert sorted(shown) == sorted(each.label("en") for each in money.ledger.inputs)
    first = words(tables(assumptions(Request(money=money)))[0])
    rows = {row[0]: row for row in first}
    assert rows["Contribution margin per year"][1:3] == ["1.2%", "0.9% to 1.5%"]
    assert rows["Contribution margin per year"][4:] == ["Treasury", "Plan 2026, sheet 4", "2025-12-31"]
    assert rows["Tax rate"][1:3] == ["25%", "fixed"]


def test_cash_by_year_adds_up_to_npv(money: Return) -> None:
    table = by_year(money)
    assert list(table.index) == [0, 1, 2, 3]
    assert table["present"].sum() == pytest.approx(money.point["npv"][0])
    assert table["cumulative_present"].iloc[-1] == pytest.approx(money.point["npv"][0])
    np.testing.assert_allclose(table["benefit"] - table["cost"] - table["tax_paid"], table["net"])


def test_scenarios_hang_together(money: Return) -> None:
    found = scenario_values(money)
    np.testing.assert_allclose(
        found.loc["present_benefit"] - found.loc["present_cost"], found.loc["npv"], atol=0.05 * abs(money.decision.high)
    )
    assert found.loc["npv"].to_dict() == {
        "bear": money.decision.low,
        "base": pytest.approx(money.decision.npv),
        "bull": money.decision.high,
    }
    assert np.isnan(found.loc["payback", "bear"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_answer_is_the_same_wherever_it_stands(
    pages: dict[Language, str], money: Return, language: Language
) -> None:
    visible = re.sub(r"<style>.*?</style>|<[^>]+>", "\n", pages[language], flags=re.DOTALL)
    npv = {"en": "CN¥0.6M", "zh": "60万元"}[language]
    assert visible.count(npv) >= 5
    assert visible.count("88%") >= 4


def test_rivals_say_why_they_are_not_priced(money: Return, rival: Effect) -> None:
    table = next(
        each for each in tables(part(report(money, rivals=[rival]), "evidence")) if "side by side" in each.caption
    )
    rows = words(table)
    assert [row[0] for row in rows] == ["Uplift of the initiative", "Score gap"]
    assert rows[0][5].endswith("priced")
    assert "compares people" in rows[1][5]
    assert "per NPS point" in rows[1][2]
    assert not any("side by side" in each.caption for each in tables(part(report(money), "evidence")))


def test_a_score_effect_is_shown_per_score_point_and_per_nps_point(rival: Effect, money: Return) -> None:
    request = replace(money, effects=(rival,))
    table = next(
        each for each in tables(part(report(request), "evidence")) if each.caption == catalogue()["units.caption"]["en"]
    )
    per_score, per_nps = (row[1] for row in words(table))
    assert per_score == "+CN¥4,100"
    assert per_nps == "+CN¥111"
    assert "36.8" in table.note


def test_checks_say_what_follows(returns: Callable[..., Return], effects: Callable[..., Effect]) -> None:
    lowering = Check(code="ROX-V04", verdict=Verdict.DEMOTE, values={"place": 90.0}, to_grade=Grade.C)
    effect = replace(effects(grade=Grade.C), checks=(*effects().checks[:1], lowering))
    found = report(returns(effect))
    table = next(each for each in tables(part(found, "evidence")) if each.caption == "Checks that ran")
    assert [row[0] for row in words(table)] == ["ROX-V04", "ROX-V03"]
    assert "at best grade C" in words(table)[0][3]
    assert "ROX-V04" in str(part(found, "answer").blocks)


def test_a_trail_is_told_in_words(pages: dict[Language, str]) -> None:
    for language in LANGUAGES:
        assert "Six months of history" in pages[language]
        assert "2,304,000" in pages[language]
    assert "保留行数" in pages["zh"]


def test_no_date_but_the_callers_or_the_extracts(money: Return, bank: Path) -> None:
    assert "Jan 2027" not in report(money).html()
    assert "2 Jan 2027" in report(money, date=dt.date(2027, 1, 2)).html()
    study = read_study(bank)
    with_study = report(money, study=study).html()
    assert "31 Dec 2025" in with_study
    assert study.outcomes["aum"].label["en"] in with_study


def test_the_language_is_the_callers_then_the_studys_then_english(money: Return, bank: Path) -> None:
    study = read_study(bank)
    chinese = study.model_copy(update={"about": study.about.model_copy(update={"language": "zh"})})
    assert report(money).language == "en"
    assert report(money, study=chinese).language == "zh"
    assert report(money, study=chinese, language="en").language == "en"


def test_the_same_figures_give_the_same_bytes(money: Return, rival: Effect, tmp_path: Path) -> None:
    paths = [report(money, rivals=[rival]).save(tmp_path / f"{n}.html") for n in (1, 2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_bytes_do_not_depend_on_the_order_of_hashes(root: Path) -> None:
    code = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from conftest import make_money, make_rival\n"
        "from rox.reporting.report import report\n"
        "page = report(make_money(draws=500), rivals=[make_rival()], language='zh').html()\n"
        "print(hashlib.sha256(page.encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(root / "tests" / "reporting")],
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_saving_goes_by_the_suffix(money: Return, tmp_path: Path) -> None:
    found = report(money)
    assert found.save(tmp_path / "new" / "roi.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert found.save(tmp_path / "roi.xlsx").read_bytes()[:2] == b"PK"
    with pytest.raises(ValueError, match=r"\.html or \.xlsx"):
        found.save(tmp_path / "roi.pdf")


def test_a_notebook_shows_the_answer_without_style_or_script(money: Return) -> None:
    card = report(money)._repr_html_()
    assert "Go ahead" in card
    assert "CN¥0.6M" in card
    assert not re.search(r"<(style|script|svg)", card)
    assert outline(card).faults == []


def test_a_table_with_a_missing_cell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows \[1\] do not have 2 cells"):
        Table(caption="t", columns=(Column("a"), Column("b")), rows=(("1", "2"), ("3",)))
