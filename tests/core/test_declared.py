"""Study and case files: every fault in one message, none half-read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rox.core.case import read_case
from rox.core.errors import CaseError, DataError
from rox.core.study import read_study


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Path:
    """A copy of the bundled bank's study, with empty tables."""
    target = tmp_path / "bank"
    shutil.copytree(root / "data" / "bank" / "cases", target / "cases")
    shutil.copy(root / "data" / "bank" / "study.toml", target)
    for name in ("customers", "invitations", "answers", "feedback", "exits", "initiatives", "tickets"):
        (target / f"{name}.csv").touch()
    for name in ("ledger", "events"):
        (target / f"{name}.parquet").touch()
    return target


def edited(path: Path, *changes: tuple[str, str]) -> Path:
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_bundled_study_and_its_cases_read(folder: Path) -> None:
    study = read_study(folder / "study.toml")
    assert study.case_names == ("branch_refit", "closed_loop")
    assert study.scores["nps"].label["zh"] == "推荐意愿（0–10）"
    assert study.case("branch_refit").horizon == 36


def test_a_study_with_seven_faults_says_all_seven_at_once(folder: Path) -> None:
    path = edited(
        folder / "study.toml",
        ('currency = "CNY"', 'currency = "yuan"'),
        ('timezone = "Asia/Shanghai"', 'timezone = "Shanghai"'),
        ("extract = 2025-12-31", 'extract = "soon"'),
        ("min_cell = 10", "min_cel = 10"),
        ("low = 1\nhigh = 5", "low = 5\nhigh = 1"),
        ('kind = "stock"', 'kind = "pile"'),
        ('label = { en = "Fees", zh = "收费" }', 'label = { en = "Fees" }'),
    )
    with pytest.raises(DataError) as caught:
        read_study(path)
    assert caught.value.headline.endswith("has 7 faults.")
    for place in (
        "study.currency", "study.timezone", "study.extract", "study.min_cel:", "scores.csat", "outcomes.aum.kind",
        "drivers.fees.label.zh",
    ):  # fmt: skip
        assert sum(place in fault for fault in caught.value.faults) == 1, place


def test_faults_between_the_parts_are_listed_together(folder: Path) -> None:
    path = edited(
        folder / "study.toml",
        ('path = "answers.csv"', 'path = "answer.csv"'),
        ('date = "sent"', 'sent_on = "sent"'),
        ("[outcomes.revenue]", "[outcomes.app]"),
    )
    with pytest.raises(DataError) as caught:
        read_study(path)
    text = "\n".join(caught.value.faults)
    assert "tables.answers.path: no file matches 'answer.csv'" in text
    assert "tables.invitations.columns: role 'date' is missing" in text
    assert "unknown role 'sent_on'" in text
    assert "outcomes.app: the name is taken by drivers.app" in text


def test_paths_may_be_absolute_and_a_missing_one_is_a_fault(folder: Path, tmp_path: Path) -> None:
    here = (folder / "answers.csv").as_posix()
    path = edited(folder / "study.toml", ('path = "answers.csv"', f'path = "{here}"'))
    assert read_study(path).files(here) == [folder / "answers.csv"]
    path = edited(path, (here, (tmp_path / "nowhere.csv").as_posix()))
    with pytest.raises(DataError, match=r"tables\.answers\.path: no file matches"):
        read_study(path)


def test_an_nps_question_on_another_scale_is_a_fault(folder: Path) -> None:
    path = edited(folder / "study.toml", ('column = "nps"\nlow = 0', 'column = "nps"\nlow = 1'))
    with pytest.raises(DataError, match="an NPS question runs from 0 to 10, not 1 to 10"):
        read_study(path)


@pytest.mark.parametrize(("text", "said"), [("[study\n", "cannot be read as TOML"), (None, "There is no study file")])
def test_what_is_not_a_study_file_is_said(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "study.toml").write_text(text)
    with pytest.raises(DataError, match=said):
        read_study(tmp_path / "study.toml")


def test_a_case_says_all_its_faults_at_once(folder: Path) -> None:
    path = edited(
        folder / "cases" / "branch_refit.toml",
        ("value = 0.08\n", "value = 8\n"),
        ("between = [12, 48]", "between = [48, 12]"),
        ('owner = "Treasury"', 'owner = ""'),
        ("months = [0, 1]\n", ""),
        ("[people.gold]\nvalue", "[people.gold]\nvalu"),
    )
    with pytest.raises(CaseError) as caught:
        read_case(path)
    text = "\n".join(caught.value.faults)
    for part in (
        "timing.half_life: low < high",
        "margin.all.owner",
        "costs.building: say when",
        "people.gold.valu: unknown",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("value = 0.08\n", "value = 8\n", "finance.discount: 8 is not a share; 8% is 0.08"),
        ("value = 219600", "value = -1", "people.mass: -1 is not a number of customers"),
        ("value = 240000\nmonths = [0]", "value = 240000\nmonths = [40]", "training: none of its months lies within"),
        ("value = 240000\n", "value = 240000\nlow = 1\n", "say the number one way"),
        ('owner = "Treasury"', 'owner = ""', "margin.all.owner: empty; say who answers for it"),
        (
            "[people.gold]",
            "[people]\nsilver = 5\n[people.gold]",
            "people.silver: a number alone .found 5.; write value",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(folder: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(CaseError, match=said):
        read_case(edited(folder / "cases" / "branch_refit.toml", (old, new)))


def test_every_number_of_a_case_is_in_its_register(folder: Path) -> None:
    case = read_case(folder / "cases" / "branch_refit.toml")
    places = {name for name, _ in case.register()}
    assert {"people.private", "margin.all", "timing.ramp", "finance.tax", "costs.hosts", "lift"} <= places
    assert all(row.owner and row.source for _, row in case.register())


def test_schedules_cover_the_months_they_name(folder: Path) -> None:
    case = read_case(folder / "cases" / "branch_refit.toml")
    assert sum(case.costs["building"].schedule(36)) == 2
    assert case.costs["hosts"].schedule(3) == (0.0, 1.0, 1.0, 1.0)
