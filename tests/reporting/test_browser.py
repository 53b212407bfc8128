"""The page in a real browser: nothing is requested, everything can be read, reached and printed."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rox.core.words import LANGUAGES, Language

pytestmark = pytest.mark.browser

CONTRAST = """
() => {
  const channel = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parts = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(at).backgroundColor);
      if (a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.closest('style')) continue;
    const style = getComputedStyle(node);
    const colour = parts(node.closest('svg') ? style.fill : style.color);
    const pair = [light(colour), light(behind(node))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) faint.push([walker.currentNode.data.trim(), ratio]);
  }
  return faint;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; skip where it or its driver is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        found.close()


class Visit:
    """An opened page with what it asked for and complained of."""

    def __init__(self, browser: Any, path: Path, width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.goto(path.as_uri())


@pytest.fixture(scope="module", params=LANGUAGES)
def path(request: pytest.FixtureRequest, pages: dict[Language, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved page, in each language."""
    file = tmp_path_factory.mktemp("page") / f"{request.param}.html"
    file.write_text(pages[request.param], encoding="utf-8")
    return file


@pytest.fixture
def visit(browser: Any, path: Path) -> Iterator[Visit]:
    """The page, opened."""
    found = Visit(browser, path)
    yield found
    found.page.close()


def test_the_page_requests_nothing_and_complains_of_nothing(visit: Visit, path: Path) -> None:
    visit.page.wait_for_load_state("networkidle")
    assert visit.requests == [path.as_uri()]
    assert visit.messages == []


def test_every_part_is_there_and_has_a_size(visit: Visit) -> None:
    sections = visit.page.locator("main > section")
    assert sections.count() == 11
    for place in range(sections.count()):
        box = sections.nth(place).bounding_box()
        assert box is not None
        assert box["height"] > 80
    drawings = visit.page.locator("figure svg")
    assert drawings.count() == 7
    assert all((drawings.nth(n).bounding_box() or {"height": 0})["height"] > 60 for n in range(7))


def test_the_contents_stay_in_sight(visit: Visit) -> None:
    visit.page.locator("#provenance").scroll_into_view_if_needed()
    box = visit.page.locator("nav").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 900


def test_everything_is_reached_by_keyboard(visit: Visit) -> None:
    keyboard, page = visit.page.keyboard, visit.page
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "answer"
    reached = []
    for _ in range(200):
        keyboard.press("Tab")
        tag = page.evaluate("document.activeElement.tagName")
        if tag == "BODY":
            break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", f"{tag} has no visible focus"
        reached.append(tag)
    assert reached.count("SUMMARY") == page.locator("summary").count()
    page.locator("summary").first.focus()
    keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.locator("nav a").nth(3).focus()
    keyboard.press("Enter")
    assert page.url.endswith("#measure")


def test_all_text_stands_out_from_its_ground(visit: Visit) -> None:
    assert visit.page.evaluate(CONTRAST) == []


def test_a_screenshot_shows_something(visit: Visit) -> None:
    picture = np.asarray(Image.open(io.BytesIO(visit.page.screenshot(full_page=True))).convert("L"), dtype=float)
    assert picture.shape[0] > 5_000
    assert picture.std() > 15
    assert all(band.std() > 2 for band in np.array_split(picture, 8))


def test_a_narrow_screen_does_not_scroll_sideways(browser: Any, path: Path) -> None:
    found = Visit(browser, path, width=390)
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 390
    found.page.close()


def test_print_opens_the_tables_and_drops_the_contents(visit: Visit) -> None:
    page = visit.page
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    folded = page.locator("details table")
    heights = [(folded.nth(n).bounding_box() or {"height": 0})["height"] for n in range(folded.count())]
    assert len(heights) > 8
    assert min(heights) > 20
    printed = page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 8
