"""Why did it change: every kind of change is the step it should be, the steps add up, and nothing can be hidden."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from rox.cli import main
from rox.core.case import Case
from rox.core.check import Verdict
from rox.core.comparison import HEADLINES, MAIN, Comparison
from rox.core.errors import CaseError, DataError
from rox.core.words import say
from rox.reporting.blocks import Table
from rox.reporting.comparison_page import comparison_page, comparison_parts, comparison_text, since_last
from rox.reporting.comparison_sheet import write_comparison
from rox.reporting.report import report
from rox.review.comparison import compare
from rox.valuation.value import value

from .recorded import content_of, doctored, effect_of, recorded, said

WILD = '=1+1 <script>alert("x")</script> @SUM & 😀 "quotes"'


def moved(found: Comparison, headline: str = MAIN) -> dict[str, float]:
    """The steps that are not zero, by kind; several of one kind by their label."""
    rows = found.bridge(headline)
    rows = rows[~rows["kind"].isin(["start", "end"]) & (rows["units"] != 0)]
    names = [row["kind"] if row["kind"] != "assumption" else row["en"] for _, row in rows.iterrows()]
    return dict(zip(names, rows["value"], strict=True))


def verdicts(found: Comparison) -> dict[str, Verdict]:
    return {check.code: check.verdict for check in found.checks}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded run to compare with."""
    return recorded(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def much(tmp_path_factory: pytest.TempPathFactory, first: Path) -> Comparison:
    """A run in which everything changed at once."""
    content = content_of(
        people={"mass": said(value=1300), "gold": said(between=[95, 130])},
        finance={"discount": said(value=0.06), "tax": said(value=0.2), "hurdle": said(value=0.1)},
        costs={"works": said(value=6_000, months=[0], label=WILD), "care": said(value=100, months=[1], label="Care")},
    )
    content["case"]["title"] = WILD
    second = recorded(tmp_path_factory.mktemp("much"), content, effect_of(0.05, seed=1), seed=8)
    return compare(first, second)


def test_identical_runs_differ_in_nothing_and_give_the_same_bytes(first: Path, tmp_path: Path) -> None:
    again = recorded(tmp_path / "again")
    assert again.read_bytes() == first.read_bytes()
    found, twice = compare(first, again), compare(first, again)
    assert moved(found) == {}
    assert all(found.remainder[name] == 0 for name in HEADLINES)
    assert verdicts(found) == {"ROX-R01": Verdict.PASS, "ROX-R02": Verdict.PASS}
    assert found.differences == ()
    assert json.dumps(found.as_record()) == json.dumps(twice.as_record())
    assert comparison_page(found, "zh") == comparison_page(twice, "zh")
    files = [write_comparison(each, tmp_path / f"{place}.xlsx") for place, each in enumerate((found, twice))]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_one_changed_assumption_is_the_only_step(first: Path, tmp_path: Path) -> None:
    content = content_of(finance={"discount": said(value=0.06), "tax": said(value=0.25), "hurdle": said(value=0.10)})
    found = compare(first, recorded(tmp_path, content))
    assert moved(found) == {"Assumption: Discount rate per year": pytest.approx(_change(found))}
    step = next(each for each in found.steps if each.kind == "assumption")
    assert (step.was, step.now) == ("0.08", "0.06")
    assert moved(found)["Assumption: Discount rate per year"] > 0
    assert [share.label("en") for share in found.shares] == ["Assumption: Discount rate per year"]


def _change(found: Comparison, headline: str = MAIN) -> float:
    levels = found.bridge(headline)["level"]
    return float(levels.iloc[-1] - levels.iloc[0])


def test_another_composition_of_as_many_customers_is_mix_alone(first: Path, tmp_path: Path) -> None:
    base = 1000 + (90 * 110) ** 0.5
    content = content_of(people={"mass": said(value=base - 200), "gold": said(value=200)})
    same = content_of(people={"mass": said(value=base - 300), "gold": said(value=300)})
    earlier, later = recorded(tmp_path / "a", content), recorded(tmp_path / "b", same)
    assert set(moved(compare(earlier, later))) == {"mix"}
    assert set(moved(compare(earlier, recorded(tmp_path / "c", content)))) == set()


def test_more_customers_of_the_same_composition_are_volume_alone(first: Path, tmp_path: Path) -> None:
    content = content_of(people={"mass": said(value=1100), "gold": said(between=[99, 121])})
    found = compare(first, recorded(tmp_path, content))
    assert set(moved(found)) == {"volume"}
    npv, cost = found.start["point_npv"], 5_000 * 0.75
    assert moved(found, "point_npv")["volume"] == pytest.approx(0.1 * (npv + cost), abs=0.02)


def test_another_seed_moves_by_its_own_error_and_by_nothing_else(first: Path, tmp_path: Path) -> None:
    found = compare(first, recorded(tmp_path, seed=11))
    assert set(moved(found)) <= {"seeds"}
    step = found.steps[-1]
    assert 0 < abs(moved(found)[step.kind]) < 4 * step.error[MAIN]
    assert moved(found, "point_npv") == {}


def test_a_changed_effect_without_a_study_is_one_step_that_says_so(first: Path, tmp_path: Path) -> None:
    found = compare(first, recorded(tmp_path, None, effect_of(0.05, seed=1)))
    assert set(moved(found)) == {"estimate"}
    assert verdicts(found)["ROX-R04"] is Verdict.NOTE
    assert {"Data of uplift"} <= {each.label("en") for each in found.differences}


def test_words_about_a_number_move_nothing_but_are_named(first: Path, tmp_path: Path) -> None:
    finance = {"discount": said(value=0.08, note="asked again"), "tax": said(value=0.25), "hurdle": said(value=0.10)}
    found = compare(first, recorded(tmp_path, content_of(finance=finance)))
    assert moved(found) == {}
    assert [each.text.en for each in found.differences if each.word == "comparison.fact.paper"] == ["finance.discount"]


def test_a_segment_that_comes_with_its_estimate_is_one_step_with_it(first: Path, tmp_path: Path) -> None:
    people = {**content_of()["people"], "young": said(value=500)}
    balance = {**content_of()["balance"], "young": said(value=2_000)}
    effect = effect_of(0.05, groups=("gold", "young"), seed=1)
    earlier = recorded(tmp_path / "a", content_of(people={"mass": said(value=1000)}), effect_of(groups=("mass",)))
    wanted = content_of(people={"gold": people["gold"], "young": people["young"]}, balance=balance)
    found = compare(earlier, recorded(tmp_path / "b", wanted, effect))
    assert any(step.word == "comparison.step.together" for step in found.steps)
    assert found.remainder[MAIN] == 0
    assert verdicts(found)["ROX-R01"] is Verdict.PASS


def test_many_assumptions_are_in_tornado_order_and_the_rest_together(tmp_path: Path) -> None:
    def with_costs(factor: float) -> dict[str, Any]:
        costs = {
            f"part{k}": said(
                low=factor * 40 * k, likely=factor * 50 * k, high=factor * 70 * k, months=[0], label=f"P{k}"
            )
            for k in range(1, 13)
        }
        return content_of(costs=costs)

    found = compare(recorded(tmp_path / "a", with_costs(1)), recorded(tmp_path / "b", with_costs(1.1)))
    said_of = [step for step in found.steps if step.kind == "assumption"]
    assert [step.text.en for step in said_of] == [f"Cost: P{k}" for k in range(12, 4, -1)] + ["4"]
    assert said_of[-1].word == "comparison.step.others"
    assert [share.word for share in found.shares] == ["comparison.factor.assumptions"]


@pytest.mark.parametrize("headline", list(HEADLINES))
def test_rows_add_up_exactly_as_they_are_shown(much: Comparison, headline: str) -> None:
    rows = much.bridge(headline)
    assert rows["units"].iloc[:-1].sum() == rows["units"].iloc[-1]
    assert rows["units"].iloc[-1] == round(much.end[headline] / much.shown_step(headline))
    assert len(moved(much)) >= 6
    assert much.is_publishable


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_adds_up_to_the_cent_as_it_is_written(much: Comparison, language: Any) -> None:
    part = next(part for part in comparison_parts(much, language) if part.key == "bridge")
    table = part.blocks[1]
    assert isinstance(table, Table)
    cents = []
    for row in table.rows:
        text = row[3] if isinstance(row[3], str) else row[3].text
        digits = "".join(sign for sign in text if sign in "0123456789")
        cents.append(-int(digits) if "\N{MINUS SIGN}" in text else int(digits))
    assert sum(cents[:-1]) == cents[-1] == round(100 * much.end[MAIN])


def test_every_order_shares_the_same_change(much: Comparison) -> None:
    rows = much.by_factor()
    change = round(100 * much.steps[-1].level[MAIN]) - round(100 * much.steps[0].level[MAIN])
    for column in ("fixed", "shapley"):
        assert round(100 * rows[column].sum()) == pytest.approx(change, abs=1.001)
    assert (rows["fixed"] - rows["shapley"]).abs().max() > 1


@pytest.mark.parametrize("headline", ["expected_npv", "point_npv"])
@pytest.mark.parametrize("which", ["first", "second", "both"])
def test_a_doctored_record_stops_publication(first: Path, tmp_path: Path, headline: str, which: str) -> None:
    paths = {name: recorded(tmp_path / name) for name in ("first", "second")}

    def inflate(content: dict[str, Any]) -> None:
        place = ("decision", headline) if headline != "point_npv" else ("headline", "npv")
        content["numbers"][place[0]][place[1]] *= 1.03

    for name in paths if which == "both" else (which,):
        doctored(paths[name], inflate)
    found = compare(paths["first"], paths["second"])
    assert not found.is_publishable
    assert found.checks[0].code == "ROX-R01"
    rows = found.bridge(headline)
    assert rows["units"].iloc[:-1].sum() == rows["units"].iloc[-1]


def test_a_record_of_other_software_is_a_step_of_its_own(first: Path, tmp_path: Path) -> None:
    def older(content: dict[str, Any]) -> None:
        content["versions"]["numpy"] = "1.0"
        content["numbers"]["decision"]["expected_npv"] += 1.0

    found = compare(doctored(recorded(tmp_path / "old"), older), first)
    assert moved(found) == {"software": pytest.approx(-1.0)}
    assert found.steps[0].was == "numpy 1.0"


def test_records_that_cannot_be_valued_again_are_refused(first: Path, tmp_path: Path) -> None:
    old = doctored(recorded(tmp_path / "old"), lambda content: content.pop("replay"))
    with pytest.raises(DataError, match="does not hold what it takes"):
        compare(old, first)
    other = recorded(tmp_path / "other")
    effect_of(0.07).save(other.parent / "effects" / "uplift.npz")
    with pytest.raises(DataError, match="not the effect this record priced"):
        compare(first, other)
    (other.parent / "effects" / "uplift.npz").unlink()
    with pytest.raises(DataError, match="missing beside the record"):
        compare(first, other)
    content = content_of()
    content["case"]["currency"] = "USD"
    with pytest.raises(CaseError, match="CNY and USD"):
        compare(first, recorded(tmp_path / "usd", content))


def test_the_command_writes_all_and_stops_what_must_not_be_published(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = recorded(tmp_path / "b", None, effect_of(0.05, seed=1))
    out = tmp_path / "out"
    assert main(["compare", str(first), str(second), "--out", str(out), "--quiet"]) == 0
    assert sorted(path.suffix for path in out.iterdir()) == [".html", ".json", ".xlsx"]
    assert "Estimate: data and method together" in capsys.readouterr().out

    def inflate(content: dict[str, Any]) -> None:
        content["numbers"]["decision"]["expected_npv"] += 5_000

    doctored(second, inflate)
    with pytest.raises(SystemExit) as stopped:
        main(["compare", str(first), str(second), "--json", "--quiet", "--no-orders"])
    assert stopped.value.code == 4
    said = json.loads(capsys.readouterr().out)
    assert not said["ok"]
    assert said["comparison"]["checks"][0]["verdict"] == "stop"


class Tags(HTMLParser):
    """Collect the names of a page's tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append(tag)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_users_wrote_is_text_on_the_page_and_in_the_workbook(
    much: Comparison, tmp_path: Path, language: Any
) -> None:
    page, tags = comparison_page(much, language), Tags()
    tags.feed(page)
    assert "script" not in tags.found
    assert "svg" in tags.found
    assert "alert(" in page
    assert "<desc" in page
    path = write_comparison(much, tmp_path / "much.xlsx", language=language)
    with zipfile.ZipFile(path) as held:
        sheets = "".join(held.read(name).decode() for name in held.namelist() if "worksheets/sheet" in name)
    formulas = [part.split("</f>")[0] for part in sheets.split("<f>")[1:]]
    assert formulas
    assert all(each.startswith(("SUM(", "ROUND(", "D", "E")) for each in formulas)
    sheet = openpyxl.load_workbook(path, data_only=True).worksheets[0]
    zeros = [row for row in sheet.iter_rows(min_col=4, max_col=4, values_only=True) if row[0] is not None]
    assert zeros[-1][0] == 0
    assert zeros[-2][0] == pytest.approx(much.bridge()["level"].iloc[-1])


def test_text_and_part_say_the_same_as_the_page(much: Comparison) -> None:
    for language in ("en", "zh"):
        text = comparison_text(much, language)
        assert all(row[language] in text for _, row in much.bridge().iterrows())
        part = since_last(much, language)
        assert part.key == "since"
        assert part.blocks[1].text in text  # type: ignore[union-attr]


def test_a_report_tells_what_changed_since_the_last(much: Comparison) -> None:
    money = value(effect_of(), Case.model_validate(content_of()), draws=400, rng=7)
    parts = {part.key: part for part in report(money, since=much, language="zh").parts}
    assert parts["since"].heading == say("comparison.part.since", "zh")
    assert list(parts).index("since") < list(parts).index("trail")


def test_two_cases_are_not_compared(tmp_path: Path, first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = content_of()
    content["case"]["name"] = "another"
    other = recorded(tmp_path, content)
    with pytest.raises(CaseError, match="These are two cases"):
        compare(first, other)
    assert main(["compare", str(first), str(other)]) == 3
    assert "rox allocate" in capsys.readouterr().err


def test_the_sentence_is_rounded_to_the_error_and_the_table_is_not(much: Comparison) -> None:
    text = comparison_text(much, "en")
    lead, table = since_last(much, "en").blocks[1:3]
    assert not any(f"{much.bridge()['level'].iloc[place]:,.2f}" in str(lead) for place in (0, -1))
    assert isinstance(table, Table)
    assert f"{much.bridge()['level'].iloc[-1]:,.2f}" in str(table.rows[0])
    assert all(str(getattr(row[4], "text", row[4])).endswith(" pp") for row in (table.rows[2], table.rows[3]))
    assert "seed 8" in text
    assert "Allowed: " in text


def test_a_mean_and_a_point_path_that_part_are_told(much: Comparison) -> None:
    start = {**much.start, "point_npv": much.end["point_npv"] + (much.end[MAIN] - much.start[MAIN])}
    for language in ("en", "zh"):
        word = say("comparison.headline.point_npv", language)
        assert word in str(since_last(replace(much, start=start), language).blocks[2])
        end = {**much.end, "point_npv": much.start["point_npv"] + (much.end[MAIN] - much.start[MAIN])}
        assert isinstance(since_last(replace(much, end=end), language).blocks[2], Table)
