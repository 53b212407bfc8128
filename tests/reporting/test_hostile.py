"""What users write, at its worst, in every field at once: the page stays valid, runs nothing of it, and works."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rox.core.case import Case
from rox.core.effect import Effect
from rox.core.returns import Return
from rox.reporting.report import report
from rox.valuation.value import value
from tests.reporting.conftest import case_content, make_effect, make_rival
from tests.reporting.test_html import outline

NAME = (
    '=HYPERLINK("x")+@cmd|\'</script><script>window.hurt=1</script><!--'
    "<img src=x onerror=window.hurt=1>{npv}${1}😀\x00\x1b\u200f\u202e\u2066\u2028㐂"
)
LONG = "长" * 5_000 + "x" * 5_000


def hostile(content: Any) -> Any:
    """Replace every free text of a case."""
    if isinstance(content, dict):
        return {
            key: NAME + key
            if key in ("owner", "source", "note", "prepared_by", "reviewed_by")
            else {"en": NAME + LONG, "zh": NAME + LONG}
            if key in ("title", "decision", "label")
            else hostile(each)
            for key, each in content.items()
        }
    return content


def make_hostile() -> Return:
    content, effect = hostile(case_content()), make_effect()
    groups = tuple(NAME + group for group in effect.groups)
    for table in ("people", "balance"):
        content[table] = dict(zip(groups, content[table].values(), strict=True))
    bad: Effect = replace(
        effect,
        groups=groups,
        baseline=effect.baseline.set_axis(list(groups)),
        specification=NAME,
        fingerprint=NAME,
        estimand=replace(effect.estimand, population=NAME + LONG, treatment=NAME, outcome=NAME),
        trail=tuple(replace(step, reason=NAME) for step in effect.trail),
        tables={"pooling": effect.tables["pooling"].set_axis(list(groups))},
    )
    return value(bad, Case.model_validate(content), draws=500, rng=3)


@pytest.fixture(scope="module")
def page() -> str:
    """A page of both languages whose every free text is hostile."""
    rival = replace(make_rival(), specification=NAME)
    return report(make_hostile(), rivals=[rival], language="both").html()


def test_the_page_stays_valid(page: str) -> None:
    found = outline(page)
    assert found.faults == []
    assert found.open == []
    assert len(found.all("script")) == 2
    assert found.all("img") == []
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
    assert page.count("&lt;/script&gt;") > 50
    assert not re.search("[\x00-\x08\x0b\x1b\u200e\u200f\u202a-\u202e\u2066-\u2069]", page)
    assert len(page) < 4_000_000


def test_nothing_of_it_reaches_the_script(page: str) -> None:
    _, _, rest = page.partition('<script type="application/json" id="what-if-data">')
    data, _, code = rest.partition("</script>")
    assert not re.search("hurt|HYPERLINK|长|\u2028", code)
    assert "hurt" not in data
    assert set(json.loads(data)) == {"numbers", "words"}


@pytest.fixture
def opened(page: str, tmp_path: Path) -> Iterator[tuple[Any, list[str]]]:
    """The page in a browser, with what it complained of; skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    file = tmp_path / "page.html"
    file.write_text(page, encoding="utf-8")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        found, said = browser.new_page(viewport={"width": 390, "height": 844}), []
        complain: Callable[[Any], None] = lambda message: said.append(str(message))  # noqa: E731
        for event in ("console", "pageerror", "dialog"):
            found.on(event, complain)
        found.goto(file.as_uri())
        yield found, said
        browser.close()


@pytest.mark.browser
def test_the_page_runs_nothing_of_it_and_its_panel_works(opened: tuple[Any, list[str]]) -> None:
    page, said = opened
    assert page.evaluate("window.hurt") is None
    page.locator("#version-en .knob input[type=number]").first.fill("1")
    page.locator("#version-en .what-if.moved").wait_for()
    cells = page.locator("#version-en .outcome td").all_inner_texts()
    assert cells[0] != cells[1]
    assert page.locator("#version-en h1").inner_text().startswith("=HYPERLINK")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert said == []
