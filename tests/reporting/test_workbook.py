"""The workbook: what stands in it, what it refuses to hold, and what another program makes of it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import numpy as np
import openpyxl
import pandas as pd
import pytest
from openpyxl.cell import Cell
from openpyxl.formula import Tokenizer
from openpyxl.formula.translate import Translator
from openpyxl.workbook import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from rox.core.case import Case, read_case
from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.estimand import Channel, Estimand, Question
from rox.core.formula import Array
from rox.core.returns import Return
from rox.core.units import Dose, Unit
from rox.core.words import LANGUAGES, Language, catalogue, say
from rox.reporting.sheets.book import Places
from rox.reporting.sheets.style import NUMBERS
from rox.reporting.workbook import write_workbook
from rox.valuation.value import value
from tests.reporting.conftest import case_content, make_effect
from tests.reporting.office import recalculated

KEYS = ("about", "summary", "inputs", "calc", "draws", "sensitivity", "checks", "log")
PLAIN = {"SUM", "IF", "INDEX", "SUMPRODUCT", "NPV", "IRR", "MIN", "MAX", "CHOOSE", "SMALL", "ROUND", "EXP", "AND"}
FUNCTIONS = PLAIN | {"ISNUMBER"}
INPUT_UNITS = (
    *("customers", "money", "share", "share_per_year", "months", "factor", "log_hazard", "per_month"),
    *("score_point", "nps_point", "money_per_point", "ratio"),
)


@pytest.fixture(scope="module")
def books(money: Return, tmp_path_factory: pytest.TempPathFactory) -> dict[Language, Path]:
    folder = tmp_path_factory.mktemp("workbook")
    return {each: write_workbook(money, folder / f"{each}.xlsx", language=each) for each in LANGUAGES}


@pytest.fixture(scope="module")
def light(returns: Callable[..., Return]) -> Return:
    """A return of few draws, whose file is quickly read and written."""
    return returns(draws=200)


@pytest.fixture(scope="module")
def light_books(light: Return, tmp_path_factory: pytest.TempPathFactory) -> dict[Language, Path]:
    folder = tmp_path_factory.mktemp("light")
    return {each: write_workbook(light, folder / f"{each}.xlsx", language=each) for each in LANGUAGES}


def sheet(book: Workbook, key: str, language: Language = "en") -> Worksheet:
    return book[say(f"workbook.sheet.{key}", language)]


def cells(book: Workbook) -> Iterator[tuple[Worksheet, Cell]]:
    for each in book.worksheets:
        for row in each.iter_rows():
            yield from ((each, cell) for cell in row if cell.value is not None)


def formulas(book: Workbook) -> Iterator[tuple[Worksheet, Cell]]:
    return ((where, cell) for where, cell in cells(book) if cell.data_type == "f")


def calculated(book: Workbook, money: Return, language: Language = "en") -> dict[str, list[object]]:
    """Read each line's values, found by the name that stands right of its months."""
    calc, last = sheet(book, "calc", language), 5 + money.ledger.horizon
    rows = {str(row[last + 2].value): row for row in calc.iter_rows() if row[last + 2].value}
    return {
        line.name: [rows[line.name][2].value]
        if line.scope == "total"
        else [cell.value for cell in rows[line.name][5 : last + 1]]
        for line in money.ledger.lines
    }


def assert_same(found: Mapping[str, list[object]], wanted: Mapping[str, Array], rel: float = 1e-9) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        for month, (shown, computed) in enumerate(zip(found[name], values, strict=True)):
            if np.isfinite(computed):
                assert shown == pytest.approx(computed, rel=rel, abs=1e-9), (name, month)
            else:
                assert shown == "–", (name, month)


def run(money: Return, changed: Mapping[str, float]) -> dict[str, Array]:
    return {line.name: found[0] for line, found in money.ledger.run({**money.ledger.point, **changed})}


def put(book: Workbook, name: str, number: float) -> None:
    where, place = book.defined_names[f"in_{name}"].attr_text.split("!")
    book[where.strip("'")][place.replace("$", "")].value = number


def saved(book: Workbook, path: Path) -> Path:
    """Save with openpyxl, which drops every value that a formula had."""
    book.save(path)
    return path


@pytest.mark.parametrize("language", LANGUAGES)
def test_sheets_stand_in_order_and_each_shows_the_flag(books: dict[Language, Path], language: Language) -> None:
    book, shown = openpyxl.load_workbook(books[language]), openpyxl.load_workbook(books[language], data_only=True)
    assert book.sheetnames == [say(f"workbook.sheet.{key}", language) for key in KEYS]
    for where in book.worksheets:
        assert where["A3"].value == "=checks_flag"
        assert shown[where.title]["A3"].value == say("workbook.flag.pass", language)
        assert where.sheet_state == "visible"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_file_holds_the_values_python_computed(
    books: dict[Language, Path], money: Return, language: Language
) -> None:
    book = openpyxl.load_workbook(books[language], data_only=True)
    assert_same(calculated(book, money, language), money.point, rel=1e-14)


def test_every_line_is_a_formula_and_every_month_has_the_same_one(books: dict[Language, Path], money: Return) -> None:
    calc, last = sheet(openpyxl.load_workbook(books["en"]), "calc"), 5 + money.ledger.horizon
    names = {line.name: line.scope for line in money.ledger.lines}
    seen = set()
    for row in calc.iter_rows(min_row=5):
        name = row[last + 2].value
        if name not in names:
            continue
        seen.add(name)
        if names[name] == "total":
            assert row[2].data_type == "f"
            assert all(cell.value is None for cell in row[4 : last + 1])
            continue
        first = row[5]
        assert row[4].value is None, "the column before the first month is empty"
        for cell in row[5 : last + 1]:
            assert cell.value == Translator(first.value, origin=first.coordinate).translate_formula(cell.coordinate)
    assert seen == set(names)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_formula_hides_a_number_or_needs_a_new_program(books: dict[Language, Path], language: Language) -> None:
    count = 0
    for where, cell in formulas(openpyxl.load_workbook(books[language])):
        count += 1
        for token in Tokenizer(cell.value).items:
            if token.subtype == "NUMBER":
                assert token.value in ("0", "1"), (where.title, cell.coordinate, cell.value)
            if token.type == "FUNC" and token.subtype == "OPEN":
                assert token.value.rstrip("(") in FUNCTIONS, (where.title, cell.coordinate, cell.value)
        assert "[" not in cell.value, "a link to another file"
    assert count > 1_000


def test_inputs_are_named_cells_with_their_range_owner_source_and_date(
    books: dict[Language, Path], money: Return
) -> None:
    book = openpyxl.load_workbook(books["en"])
    inputs = sheet(book, "inputs")
    for each in money.ledger.inputs:
        where, place = book.defined_names[f"in_{each.name}"].attr_text.split("!")
        row = [cell.value for cell in inputs[inputs[place.replace("$", "")].row]]
        assert where.strip("'") == inputs.title
        assert row[0] == each.label("en")
        assert (row[1] or "") == each.group
        assert row[2] == say(f"unit.{each.unit}", currency="CNY")
        assert row[3] == row[6] == pytest.approx(each.value, rel=1e-14)
        spread = each.spread
        wanted = [spread.low, spread.high] if spread.low < spread.high else [None, None]
        assert row[4:6] == [number if number is None else pytest.approx(number, rel=1e-14) for number in wanted]
        assert [text or "" for text in row[8:10]] == [each.owner, each.source]
        assert (row[10].date() if row[10] else None) == each.date
        assert [text or "" for text in row[14:16]] == [each.place, f"in_{each.name}"]


def test_only_inputs_the_unit_and_forms_are_open(books: dict[Language, Path], money: Return) -> None:
    book = openpyxl.load_workbook(books["en"])
    opened: dict[str, set[str]] = {}
    for where in book.worksheets:
        assert where.protection.sheet, where.title
        assert where.protection.password is None
        for row in where.iter_rows():
            opened.setdefault(where.title, set()).update(c.coordinate for c in row if not c.protection.locked)
    changeable = {
        book.defined_names[f"in_{each.name}"].attr_text.split("!")[1].replace("$", "")
        for each in money.ledger.inputs
        if each.kind != "constant"
    }
    assert opened["Inputs"] == changeable
    assert len(opened["Calc"]) == len(money.ledger.schedules) * (money.ledger.horizon + 1)
    assert len(opened["Summary"]) == 1
    assert opened["Log"]
    assert not opened["About"] | opened["Draws"] | opened["Sensitivity"] | opened["Checks"]
    guarded = {
        str(cells_)
        for where in ("Inputs", "Calc", "Summary")
        for rule in book[where].data_validations.dataValidation
        for cells_ in rule.sqref.ranges
    }
    assert changeable <= guarded
    assert opened["Summary"] <= guarded


HOSTILE = '=HYPERLINK("http://example.invalid","click")'


def test_text_of_users_never_becomes_a_formula_or_a_link(tmp_path: Path) -> None:
    content = case_content()
    words = ("@SUM(1)", "+1+1", "-2+3", "http://example.invalid/a", "=1+1")
    content["case"] |= {"title": HOSTILE, "decision": words[4], "prepared_by": words[0]}  # type: ignore[operator]
    content["finance"]["tax"] |= {"owner": words[1], "source": words[2]}  # type: ignore[index]
    content["costs"]["building"]["label"] = words[3]  # type: ignore[index]
    effect = replace(make_effect(), specification="=2*3", trail=(), checks=())
    path = write_workbook(value(effect, Case.model_validate(content), draws=500, rng=1), tmp_path / "x.xlsx")
    book = openpyxl.load_workbook(path)
    text = {str(cell.value): cell.data_type for _, cell in cells(book)}
    for each in (HOSTILE, *words[:3], "=2*3"):
        assert text[each] == "s", each
    assert not any("HYPERLINK" in cell.value or "example" in cell.value for _, cell in formulas(book))
    with zipfile.ZipFile(path) as parts:
        for name in parts.namelist():
            assert "externalLink" not in name
            assert "vbaProject" not in name
            if name.endswith(".rels"):
                assert b'TargetMode="External"' not in parts.read(name), name


def test_the_same_return_gives_the_same_bytes(money: Return, books: dict[Language, Path], tmp_path: Path) -> None:
    again = write_workbook(money, tmp_path / "again.xlsx")
    assert again.read_bytes() == books["en"].read_bytes()


def test_a_workbook_is_written_whole_or_not_at_all(money: Return, tmp_path: Path) -> None:
    path = tmp_path / "kept.xlsx"
    path.write_bytes(b"before")
    wrong = money.bridge.assign(value=money.bridge["value"] + 1_000.0)
    with pytest.raises(ValueError, match="bridge"):
        write_workbook(replace(money, bridge=wrong), path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_every_check_passes_as_delivered(books: dict[Language, Path], money: Return) -> None:
    checks = sheet(openpyxl.load_workbook(books["en"], data_only=True), "checks")
    rows = [row for row in checks.iter_rows(values_only=True) if row[6] in ("OK", "CHECK")]
    assert len(rows) >= 18
    assert {row[6] for row in rows} == {"OK"}
    assert all(row[1] and row[1] in {entry["en"] for entry in catalogue().values()} for row in rows)


def test_the_sample_of_draws_stands_for_all(books: dict[Language, Path], money: Return) -> None:
    book = openpyxl.load_workbook(books["en"], data_only=True)
    draws, decision = sheet(book, "draws"), money.decision
    heading = next(row[0].row for row in draws.iter_rows() if row[0].value == say("workbook.draws.data"))
    rows = [row for row in draws.iter_rows(min_row=heading + 1, max_col=3, values_only=True) if row[0] is not None]
    assert len(rows) == 1_000
    for number, _, npv in rows:
        assert npv == pytest.approx(money.draws["npv"][int(number) - 1], rel=1e-14)
    spread = decision.high - decision.low
    quantiles = {row[1]: row[2] for row in draws.iter_rows(max_row=heading, max_col=3, values_only=True) if row[1]}
    assert quantiles[0.05] == pytest.approx(decision.low, abs=0.005 * spread)
    assert quantiles[0.5] == pytest.approx(decision.npv, abs=0.005 * spread)
    assert quantiles[0.95] == pytest.approx(decision.high, abs=0.005 * spread)


def test_pictures_say_what_they_show(books: dict[Language, Path]) -> None:
    for language, path in books.items():
        with zipfile.ZipFile(path) as parts:
            drawings = [name for name in parts.namelist() if re.fullmatch(r"xl/drawings/drawing\d+\.xml", name)]
            said = [
                node.get("descr", "")
                for name in drawings
                for node in ElementTree.fromstring(parts.read(name)).iter()
                if node.tag.endswith("}cNvPr")
            ]
        assert len(said) == 4, language
        assert len(set(said)) == 4
        assert all(len(text) > (20 if language == "zh" else 60) for text in said)


def test_sheets_print_and_scroll_well(books: dict[Language, Path]) -> None:
    book = openpyxl.load_workbook(books["en"])
    for where in book.worksheets:
        assert where.page_setup.orientation == "landscape"
        assert where.page_setup.paperSize == 9
        assert where.sheet_properties.pageSetUpPr.fitToPage
        assert where.column_dimensions["A"].width > 15
    for key in ("inputs", "calc", "draws", "sensitivity"):
        where = sheet(book, key)
        assert where.freeze_panes
        assert where.print_title_rows


@pytest.mark.parametrize("unit", INPUT_UNITS)
def test_every_unit_of_a_ledger_has_words_and_a_number_format(unit: str) -> None:
    assert unit in NUMBERS
    for language in get_args(Language):
        assert say(f"unit.{unit}", language, currency="CNY")


def test_a_plan_puts_no_two_things_in_one_row(money: Return) -> None:
    places = Places(money.ledger, {})
    for rows in (places.inputs, places.lines):
        assert len(set(rows.values())) == len(rows)
    assert set(places.inputs) == {each.name for each in money.ledger.inputs}
    assert places.lines.keys() == {"month", *money.ledger.schedules, *(line.name for line in money.ledger.lines)}


def test_names_that_differ_only_in_capitals_stay_apart(money: Return) -> None:
    twice = (money.ledger.inputs[0], replace(money.ledger.inputs[0], name=money.ledger.inputs[0].name.upper()))
    names = Places(replace(money.ledger, inputs=twice, lines=()), {}).names
    assert len({name.casefold() for name in names.values()}) == 2


# ---- another program recalculates it


@pytest.mark.office
def test_recalculation_gives_every_value_the_file_holds(books: dict[Language, Path], tmp_path: Path) -> None:
    """Also from copies without any value, which proves that a recalculation took place."""
    bare = {each: saved(openpyxl.load_workbook(path), tmp_path / f"bare_{each}.xlsx") for each, path in books.items()}
    for path in bare.values():
        empty = openpyxl.load_workbook(path, data_only=True)
        assert all(
            empty[where.title][cell.coordinate].value is None for where, cell in formulas(openpyxl.load_workbook(path))
        )
    copies = recalculated(tmp_path, *bare.values())
    for (language, path), copy in zip(books.items(), copies, strict=True):
        held, found = (openpyxl.load_workbook(each, data_only=True) for each in (path, copy))
        scale = abs(float(sheet(held, "sensitivity", language)["C7"].value))
        for where, cell in formulas(openpyxl.load_workbook(path)):
            ours, theirs = (each[where.title][cell.coordinate].value for each in (held, found))
            place = (where.title, cell.coordinate, cell.value)
            if isinstance(ours, int | float):
                assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-12 * scale), place
            else:
                assert (theirs or "") == (ours or ""), place


def flexed(money: Return, book: Path, path: Path, changed: Mapping[str, float]) -> Path:
    copy = openpyxl.load_workbook(book)
    for name, number in changed.items():
        put(copy, name, number)
    return saved(copy, path)


CHANGES: Mapping[str, Mapping[str, float]] = {
    "rates": {"discount": 0.13, "margin_all": 0.0131, "tax": 0.15},
    "poor": {"margin_all": 0.0062, "attrition_all": 0.2, "benefit_contacts": 0.0},
    "ruin": {"margin_all": 0.0004, "cost_training": 0.0, "benefit_contacts": 100.0},
    "rich": {"margin_all": 0.6, "half_life": 300.0, "ramp": 1.0},
    "hopeless": {"effect_uplift_1": -0.03, "effect_uplift_2": -0.03, "effect_uplift_3": -0.03, "benefit_contacts": 0.0},
}


@pytest.mark.office
def test_changed_inputs_give_what_python_gives(
    light_books: dict[Language, Path], light: Return, tmp_path: Path
) -> None:
    paths = [flexed(light, light_books["en"], tmp_path / f"{name}.xlsx", each) for name, each in CHANGES.items()]
    rates = {}
    for (name, changed), copy in zip(CHANGES.items(), recalculated(tmp_path, *paths), strict=True):
        book = openpyxl.load_workbook(copy, data_only=True)
        wanted = run(light, changed)
        assert_same(calculated(book, light), wanted)
        flag = say("workbook.flag.alert", n="1")[:20]
        assert sheet(book, "checks")["A3"].value.startswith(flag), name
        assert say("workbook.summary.changed") in [row[0].value for row in sheet(book, "summary").iter_rows()]
        rates[name] = float(wanted["irr"][0])
    assert rates["ruin"] < -0.6
    assert rates["rich"] > 100
    assert np.isnan(rates["hopeless"])


@pytest.mark.office
def test_later_costs_and_broken_cells_are_noticed(
    light_books: dict[Language, Path], light: Return, tmp_path: Path
) -> None:
    last, name = 5 + light.ledger.horizon, "when_cost_building"
    later = openpyxl.load_workbook(light_books["en"])
    row = next(row for row in sheet(later, "calc").iter_rows() if row[last + 2].value == name)
    row[5].value, row[5 + 4].value = 0, 1
    broken = openpyxl.load_workbook(light_books["en"])
    cost = next(row for row in sheet(broken, "calc").iter_rows() if row[last + 2].value == "net")
    cost[5 + 7].value = 1e6
    paths = [saved(later, tmp_path / "later.xlsx"), saved(broken, tmp_path / "broken.xlsx")]
    moved, wrong = (openpyxl.load_workbook(copy, data_only=True) for copy in recalculated(tmp_path, *paths))
    months = [0.0] * (light.ledger.horizon + 1)
    months[4] = 1.0
    ledger = replace(light.ledger, schedules={**light.ledger.schedules, name: tuple(months)})
    assert_same(calculated(moved, light), {line.name: found[0] for line, found in ledger.run(ledger.point)})
    assert sheet(moved, "about")["A3"].value == say("workbook.flag.alert", n=1)
    assert str(sheet(wrong, "about")["A3"].value).startswith(say("workbook.flag.fail", n="")[:6])


@pytest.mark.office
def test_the_unit_switch_scales_the_summary(light_books: dict[Language, Path], light: Return, tmp_path: Path) -> None:
    units = {"元": 1.0, "亿元": 1e8}
    paths = []
    for place, unit in enumerate(units):
        book = openpyxl.load_workbook(light_books["zh"])
        where, at = book.defined_names["unit_name"].attr_text.split("!")
        book[where.strip("'")][at.replace("$", "")].value = unit
        paths.append(saved(book, tmp_path / f"unit{place}.xlsx"))
    for (unit, factor), copy in zip(units.items(), recalculated(tmp_path, *paths), strict=True):
        rows = sheet(openpyxl.load_workbook(copy, data_only=True), "summary", "zh").iter_rows(values_only=True)
        row = next(row for row in rows if row[0] == say("line.npv", "zh"))
        assert row[1] == unit
        assert row[2] == pytest.approx(light.headline["npv"] / factor, rel=1e-9)
        assert row[5] == pytest.approx(light.decision.npv / factor, rel=0.01)


# ---- the bundled cases


def estimate(name: str, unit: Unit, dose: Dose, mean: float, case: Case, channels: frozenset[Channel]) -> Effect:
    """Make an effect by segment as a model would give it."""
    groups = tuple(case.people)
    rng = np.random.default_rng(5)
    return Effect(
        name=name,
        estimand=Estimand(
            question=Question.HAZARD if unit is Unit.LOG_HAZARD else Question.INITIATIVE,
            population="customers",
            treatment="one point more",
            dose=dose,
            outcome="aum",
            unit=unit,
            currency="CNY" if unit is Unit.MONEY_PER_CUSTOMER else "",
            horizon=12,
            includes_exit=unit is Unit.RATIO,
            channels=channels,
        ),
        groups=groups,
        draws=rng.normal(mean, abs(mean) / 4, (1_000, 1)) + rng.normal(0, abs(mean) / 9, (1_000, len(groups))),
        shares=np.full(len(groups), 1 / len(groups)),
        baseline=pd.DataFrame({"customers": 1e4, "money": 5e4, "exit_hazard": 0.01}, index=list(groups)),
        grade=Grade.B,
        checks=(Check(code="ROX-V04", verdict=Verdict.PASS, values={"place": 50.0}),),
        specification=f"{name}()",
        fingerprint=f"{name:a<64}",
    )


@pytest.mark.office
def test_the_bundled_cases_recalculate_to_what_python_gives(root: Path, tmp_path: Path) -> None:
    folder = root / "data" / "bank" / "cases"
    refit, loop = read_case(folder / "branch_refit.toml"), read_case(folder / "closed_loop.toml")
    loop = loop.model_copy(update={"about": loop.about.model_copy(update={"effects": ("churn", "panel")})})
    both: frozenset[Channel] = frozenset({"retention", "expansion"})
    retention: frozenset[Channel] = frozenset({"retention"})
    expansion: frozenset[Channel] = frozenset({"expansion"})
    moneys = {
        "refit": value(estimate("uplift", Unit.RATIO, Dose.INITIATIVE, 0.03, refit, both), refit, draws=1_000, rng=2),
        "loop": value(
            [
                estimate("churn", Unit.LOG_HAZARD, Dose.SCORE_POINT, -0.12, loop, retention),
                estimate("panel", Unit.MONEY_PER_CUSTOMER, Dose.SCORE_POINT, 900.0, loop, expansion),
            ],
            loop,
            draws=1_000,
            rng=2,
        ),
    }
    paths = [write_workbook(money, tmp_path / f"{name}.xlsx", language="zh") for name, money in moneys.items()]
    changed = {"discount": 0.11, "margin_all": 0.0117}
    more = [
        flexed(money, path, tmp_path / f"{path.stem}_changed.xlsx", changed)
        for money, path in zip(moneys.values(), paths, strict=True)
    ]
    bare = [saved(openpyxl.load_workbook(path), tmp_path / f"{path.stem}_bare.xlsx") for path in paths]
    copies = recalculated(tmp_path, *bare, *more)
    for copy, money, inputs in zip(copies, [*moneys.values()] * 2, [{}, {}, changed, changed], strict=True):
        book = openpyxl.load_workbook(copy, data_only=True)
        assert_same(calculated(book, money, "zh"), run(money, inputs))
        flag = sheet(book, "summary", "zh")["A3"].value
        assert flag == say("workbook.flag.alert", "zh", n=1) if inputs else flag == say("workbook.flag.pass", "zh")
