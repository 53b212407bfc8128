"""Both languages in one file: each whole, the same numbers, ids apart; and a workbook for each."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from rox.core.errors import DataError
from rox.core.returns import Return
from rox.core.study import read_study
from rox.core.words import EDITIONS, LANGUAGES, Language, languages_of
from rox.reporting.report import Report, report
from rox.reporting.svg import renamed
from tests.reporting.test_html import outline


def halves(page: str) -> dict[Language, str]:
    body = page.partition('<script type="application/json"')[0]
    first, second = re.split(r'<div class="version" id="version-zh"', body.partition('id="version-en"')[2])
    return {"en": first, "zh": second}


def figures_of(text: str) -> Counter[str]:
    """Count the shares among the numbers of tables and tiles, which every language writes alike."""
    cells = re.findall(r'<(?:td|dd) class="(?:number[a-z ]*|value)">(.*?)</(?:td|dd)>', text)
    return Counter(share for cell in cells for share in re.findall(r"\d[\d,.]*%", cell))


def test_an_edition_names_its_languages() -> None:
    assert [languages_of(edition) for edition in EDITIONS] == [("en",), ("zh",), ("en", "zh")]
    with pytest.raises(ValueError, match="en, zh, both"):
        languages_of("fr")  # type: ignore[arg-type]


def test_each_language_is_whole_and_marked(both: str, pages: dict[Language, str], told: Report) -> None:
    assert [version.request.language for version in told.versions] == ["en", "zh"]
    assert '<div class="version" id="version-en" lang="en">' in both
    assert '<div class="version" id="version-zh" lang="zh-Hans">' in both
    for language in LANGUAGES:
        alone = re.findall(r"<h[123][^>]*>(.*?)</h[123]>", pages[language])
        assert re.findall(r"<h[123][^>]*>(.*?)</h[123]>", halves(both)[language]) == alone
        assert len(alone) > 20


def test_the_numbers_are_the_same_in_both(both: str) -> None:
    found = {language: figures_of(half) for language, half in halves(both).items()}
    assert found["en"] == found["zh"]
    assert found["en"].total() > 100


def test_ids_stay_apart_and_lead_somewhere(both: str) -> None:
    found = outline(both)
    assert found.faults == []
    ids = [str(attributes["id"]) for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [
        str(each[key])
        for _, each in found.elements
        for key in ("for", "aria-labelledby", "aria-describedby")
        if key in each
    ]
    assert {one for each in named for one in each.split()} <= {*ids}
    led = [str(each["href"]) for _, each in found.elements if str(each.get("href", "")).startswith("#")]
    assert {each[1:] for each in led} <= {*ids}
    assert {each[1:-1] for each in re.findall(r"url\((#[^)]+\))", both)} <= {*ids}
    assert len(found.all("script")) == 2


def test_renaming_leaves_labels_alone() -> None:
    label = '<title id="f-title">id="a"</title>'
    svg = f'<svg aria-labelledby="f-title f-desc">{label}<use href="#a" clip-path="url(#c)"/></svg>'
    assert renamed(svg, "-zh") == (
        '<svg aria-labelledby="f-title-zh f-desc-zh"><title id="f-title-zh">id="a"</title>'
        '<use href="#a-zh" clip-path="url(#c-zh)"/></svg>'
    )


def test_a_study_may_ask_for_both(bank: Path, money: Return, tmp_path: Path) -> None:
    study = read_study(bank)
    asked = study.model_copy(update={"about": study.about.model_copy(update={"language": "both"})})
    assert asked.language == "en"
    assert len(report(money, study=asked).versions) == 2
    assert report(money, study=asked, language="zh").language == "zh"
    text = bank.read_text(encoding="utf-8")
    bad = tmp_path / "study.toml"
    bad.write_text(re.sub(r'language = "\w+"', 'language = "fr"', text), encoding="utf-8")
    with pytest.raises(DataError, match="'en', 'zh' or 'both'"):
        read_study(bad)


def test_each_language_has_a_workbook(told: Report, tmp_path: Path) -> None:
    path = told.save(tmp_path / "roi.xlsx")
    assert path == tmp_path / "roi.xlsx"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["roi.xlsx", "roi.zh.xlsx"]
    assert (tmp_path / "roi.zh.xlsx").read_bytes() != path.read_bytes()
