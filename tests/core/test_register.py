"""The register: read with every fault at once, grown by an effect, written without losing what people wrote."""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Grade
from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.estimand import Estimand, Question
from rox.core.register import Register, read_register
from rox.core.units import Dose, Unit

GOOD = """# Evaluations of branch refits, kept by Retail analytics.
[[evaluation]]
name = "refit_2022"          # first wave
type = "branch_refit"
outcome = "aum"
unit = "ratio"
dose = "initiative"
includes_exit = true
horizon = 11
window = [6, 11]
estimate = 0.031
se = 0.012
grade = "B"
date = 2023-06-30
owner = "Retail analytics"
source = "Report 2023-14"

[[published]]
name = "bank_b"
type = "branch_refit"
outcome = "aum"
unit = "ratio"
dose = "initiative"
horizon = 12
estimate = 0.05
low = 0.02
high = 0.08
discount = 0.2
date = 2024-02-01
owner = "Research desk"
source = "Journal of Retail Banking 2021, table 3"
"""

ESTIMAND = Estimand(
    question=Question.INITIATIVE,
    population="customers of places that started",
    treatment="refit",
    dose=Dose.INITIATIVE,
    outcome="aum",
    unit=Unit.RATIO,
    horizon=11,
    window=(6, 11),
    includes_exit=True,
)
ENTRY = {"type": "branch_refit", "owner": "Retail analytics", "source": 'Report "15"', "date": dt.date(2026, 1, 31)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "register.toml"
    file.write_text(GOOD, encoding="utf-8")
    return file


@pytest.fixture
def effect() -> Effect:
    """An effect of two segments whose draws were drawn towards a prior."""
    draws = np.random.default_rng(0).normal([0.02, 0.03], [0.01, 0.02], (4000, 2))
    pooling = pd.DataFrame({"raw": [0.03, 0.06, 0.033], "se": [0.012, 0.04, 0.0125]}, index=["mass", "gold", "all"])
    return Effect(
        name="uplift",
        estimand=ESTIMAND,
        groups=("mass", "gold"),
        draws=draws,
        shares=np.array([0.9, 0.1]),
        baseline=pd.DataFrame({"customers": 1.0, "money": 1.0, "exit_hazard": 0.01}, index=["mass", "gold"]),
        grade=Grade.B,
        specification="StaggeredUplift()",
        tables={"pooling": pooling},
    )


def faults(path: Path, *changes: tuple[str, str]) -> str:
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_register(path)
    return str(caught.value)


def test_a_register_reads(path: Path) -> None:
    register = read_register(path)
    own, published = register.of_type("branch_refit")
    assert (own.grade, own.error, own.unit, own.window) == (Grade.B, 0.012, Unit.RATIO, (6, 11))
    assert published.error == pytest.approx(0.06 / (2 * 1.644853627))
    assert published.grade is Grade.E
    assert register.of_type("call_centre") == ()


def test_a_file_with_many_faults_says_all_of_them_at_once(path: Path) -> None:
    said = faults(
        path,
        ('unit = "ratio"', 'unit = "percent"'),
        ("se = 0.012\n", ""),
        ("horizon = 11", "horizon = 12"),
        ('grade = "B"', 'grade = "F"'),
        ("discount = 0.2", "discount = 0.4"),
        ("low = 0.02", "low = 0.06"),
        ("Banking 2021, table 3", "Banking"),
        ('owner = "Research desk"', 'ower = "Research desk"'),
    )
    assert "has 9 faults" in said
    for expected in (
        "evaluation refit_2022: unit: Input should be 'money_per_customer'",
        "(found 'percent')",
        "evaluation refit_2022: se: missing; needed: se, or low and high (90%)",
        "evaluation refit_2022: horizon: 12 differs from the last month of the window, 11",
        "evaluation refit_2022: grade:",
        "published bank_b: discount: Input should be less than or equal to 0.25 (found 0.4)",
        "published bank_b: low ≤ estimate ≤ high is needed; got 0.06, 0.05, 0.08",
        "published bank_b: source: a published finding names its year",
        "published bank_b: ower: unknown name",
        "published bank_b: owner: missing",
    ):
        assert expected in said


def test_a_name_given_twice_is_said_beside_other_faults(path: Path) -> None:
    said = faults(path, ('name = "bank_b"', 'name = "refit_2022"'), ('grade = "B"', 'grade = "F"'))
    assert "has 2 faults" in said
    assert "refit_2022: the name stands for 2 findings" in said
    assert "evaluation refit_2022: grade:" in said
    path.write_text("evaluation = 3\n", encoding="utf-8")
    assert "write each as [[evaluation]]" in faults(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("se = 0.012", "se = 0.012\nlow = 0.0\nhigh = 0.1", "say the error one way"),
        ("se = 0.012", "low = 0.0", "low and high belong together"),
        ("se = 0.012", "se = 0", "greater than 0"),
        ("estimate = 0.031", "estimate = nan", "finite number"),
        ('unit = "ratio"', 'unit = "money_per_customer"', "currency: needed by an outcome in money_per_customer"),
        ('unit = "ratio"', 'unit = "ratio"\ncurrency = "CNY"', "currency: remove it"),
        ('dose = "initiative"', 'dose = "score_point"', "does not go with the dose 'score_point'"),
        ('dose = "initiative"', 'dose = "score_point"\nquestion = "gap"', "compares people"),
        ("window = [6, 11]", "window = [12, 11]", "first month ≤ last month"),
        ('name = "bank_b"', 'name = "refit_2022"', "the name stands for 2 findings"),
        ("[[published]]", "[[publishd]]", "publishd: unknown name"),
        ("[[published]]", "[published]", "write each as [[published]]"),
        ("[[published]]", "[[published", "cannot be read as TOML"),
        ("discount = 0.2\n", "", "discount: missing"),
    ],
)
def test_each_fault_has_its_sentence(path: Path, old: str, new: str, said: str) -> None:
    assert said in faults(path, (old, new))


def test_a_missing_file_is_said() -> None:
    with pytest.raises(DataError, match="no register at"):
        read_register("nowhere.toml")


def test_an_effect_is_added_as_the_data_said_it_and_written_with_the_comments(path: Path, effect: Effect) -> None:
    grown = read_register(path).add(effect, name="refit_2025", **ENTRY)
    assert grown.write() == path.resolve()
    text = path.read_text(encoding="utf-8")
    assert text.startswith(GOOD)
    again = read_register(path)
    entry = again.evaluations[-1]
    assert (entry.name, entry.estimate, entry.se, entry.grade) == ("refit_2025", 0.033, 0.0125, Grade.B)
    assert (entry.source, entry.date) == ('Report "15"', dt.date(2026, 1, 31))
    assert entry.differences(effect.estimand) == ()
    assert again.evaluations == grown.evaluations
    assert list(path.parent.iterdir()) == [path]


def test_one_segment_and_an_effect_without_raw_estimates(path: Path, effect: Effect) -> None:
    gold = Register().add(effect, name="gold_2025", group="gold", **ENTRY).evaluations[0]
    assert (gold.estimate, gold.segments) == (0.06, ("gold",))
    plain = Register().add(replace(effect, tables={}), name="plain", **ENTRY).evaluations[0]
    assert plain.estimate == pytest.approx(effect.overall.mean(), rel=1e-5)
    assert plain.se == pytest.approx(effect.overall.std(ddof=1), rel=1e-5)
    money = replace(ESTIMAND, unit=Unit.MONEY_PER_CUSTOMER, currency="CNY")
    assert Register().add(replace(effect, estimand=money), name="money", **ENTRY).evaluations[0].currency == "CNY"


def test_what_answers_no_question_about_a_change_is_not_added(path: Path, effect: Effect) -> None:
    register = read_register(path)
    gap = replace(effect, estimand=replace(ESTIMAND, question=Question.GAP, dose=Dose.SCORE_POINT))
    with pytest.raises(DataError, match="compares people"):
        register.add(gap, name="gap", **ENTRY)
    with pytest.raises(DataError, match="2 findings"):
        register.add(effect, name="refit_2022", **ENTRY)
    with pytest.raises(DataError, match="choose one of mass, gold"):
        register.add(effect, name="x", group="platinum", **ENTRY)
    with pytest.raises(DataError, match="name: String should match"):
        register.add(effect, name="refit 2025", **ENTRY)


def test_a_new_register_is_written_where_one_says(tmp_path: Path, effect: Effect) -> None:
    register = Register().add(effect, name="first", **ENTRY).add(effect, name="second", **ENTRY)
    with pytest.raises(DataError, match="say where"):
        register.write()
    target = register.write(tmp_path / "new" / "register.toml")
    content = tomllib.loads(target.read_text(encoding="utf-8"))
    assert [each["name"] for each in content["evaluation"]] == ["first", "second"]
    assert register.write(target) == target


def test_entries_given_in_code_are_written_too(path: Path, effect: Effect) -> None:
    read = read_register(path)
    built = Register(evaluations=read.evaluations, published=read.published).add(effect, name="third", **ENTRY)
    again = read_register(built.write(path.parent / "copy.toml"))
    assert again.evaluations[:1] == read.evaluations
    assert again.published == read.published
    assert again.evaluations[1].name == "third"


def test_a_file_that_changed_meanwhile_is_not_overwritten(path: Path, effect: Effect) -> None:
    register = read_register(path).add(effect, name="refit_2025", **ENTRY)
    path.write_text(GOOD + "\n# a colleague's remark\n", encoding="utf-8")
    with pytest.raises(DataError, match="has changed since"):
        register.write()
    assert "colleague" in path.read_text(encoding="utf-8")


def test_differences_name_the_fields_in_which_a_finding_differs(path: Path) -> None:
    own, published = read_register(path).of_type("branch_refit")
    assert own.differences(ESTIMAND) == ()
    other = replace(ESTIMAND, outcome="deposits", includes_exit=False, horizon=24, window=None)
    assert own.differences(other) == ("outcome", "includes_exit")
    assert published.differences(other) == ("outcome",)
    money = replace(ESTIMAND, unit=Unit.MONEY_PER_CUSTOMER, currency="CNY", dose=Dose.NPS_POINT)
    assert own.differences(money) == ("unit", "currency", "dose")


def test_the_example_of_the_guide_reads(root: Path, tmp_path: Path) -> None:
    guide = (root / "docs" / "register.md").read_text(encoding="utf-8")
    example = guide.split("```toml\n")[1].split("```")[0]
    file = tmp_path / "register.toml"
    file.write_text(example, encoding="utf-8")
    own, published = read_register(file).of_type("branch_refit")
    assert own.differences(ESTIMAND) == published.differences(ESTIMAND) == ()
