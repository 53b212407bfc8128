"""The page in a real browser: nothing is requested, everything can be read, reached, tried and printed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rox.core.formula import Array
from rox.core.returns import Return
from rox.core.words import LANGUAGES, Language
from rox.reporting import figures, sentences
from rox.reporting.numbers import probability
from rox.reporting.report import Report
from rox.reporting.what_if import Lever, levers, sample

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
    if (!walker.currentNode.data.trim() || node.closest('style, script, [hidden]')) continue;
    const style = getComputedStyle(node);
    const colour = parts(node.closest('svg') ? style.fill : style.color);
    const pair = [light(colour), light(behind(node))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) faint.push([walker.currentNode.data.trim(), ratio]);
  }
  return faint;
}
"""


class Visit:
    """An opened page with what it asked for and complained of."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
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
    assert path.stat().st_size < 1_500_000


def test_every_part_is_there_and_has_a_size(visit: Visit, told: Report) -> None:
    sections = visit.page.locator("main > section")
    assert sections.count() == len(told.parts)
    for place in range(sections.count()):
        box = sections.nth(place).bounding_box()
        assert box is not None
        assert box["height"] > 80
    drawings = visit.page.locator("figure svg")
    assert drawings.count() >= 7
    assert all((drawings.nth(n).bounding_box() or {"height": 0})["height"] > 60 for n in range(drawings.count()))


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
    for _ in range(300):
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
    page.locator("nav a[href$='#measure']").first.focus()
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


def moved(money: Return, lever: Lever, value: float) -> dict[str, Array | float]:
    """Work out what the panel should show after one lever is moved: NPV on the point path, range and probability."""
    kept, inputs = sample(money), money.ledger.inputs
    point = dict(money.ledger.point)
    draws = {name: np.float64(np.float32(each[kept])) if len(each) > 1 else each for name, each in money.drawn.items()}
    before = money.ledger.totals(draws)["npv"]
    for place in lever.members:
        each = inputs[place]
        new = each.value * value / lever.value
        drawn = draws[each.name]
        if len(drawn) == 1:
            draws[each.name] = np.array([new])
        else:
            follow = drawn * (new / each.value) if each.kind == "assumption" else drawn + (new - each.value)
            draws[each.name] = np.clip(follow, lever.floor, lever.ceiling)
        point[each.name] = new
    after, decision = money.ledger.totals(draws)["npv"], money.decision
    change = {level: np.quantile(after, level) - np.quantile(before, level) for level in (0.05, 0.95)}
    return {
        "npv": float(money.ledger.totals(point)["npv"][0]),
        "low": decision.low + change[0.05],
        "high": decision.high + change[0.95],
        "odds": decision.p_positive + float((after > 0).mean() - (before > 0).mean()),
    }


def shown(page: Any, which: str = "yours") -> list[str]:
    return [text.strip() for text in page.locator(f".what-if:visible .outcome td:{which}").all_inner_texts()]


REPORT, YOURS = "nth-child(2)", "nth-child(3)"


def test_the_panel_begins_with_the_reports_own_figures(visit: Visit) -> None:
    assert shown(visit.page, YOURS) == shown(visit.page, REPORT)
    assert len(shown(visit.page, YOURS)) == 5
    assert not visit.page.locator(".what-if .off").is_visible()


@pytest.mark.parametrize("name, share", [("effect_uplift", 0.6), ("margin_all", 1.2), ("discount", 1.4)])
def test_a_moved_input_gives_what_the_ledger_and_its_draws_give(
    visit: Visit, path: Path, money: Return, name: str, share: float
) -> None:
    language: Language = "zh" if path.stem == "zh" else "en"
    every = levers(money)
    place = next(place for place, lever in enumerate(every) if lever.row["name"] == name)
    value = round(every[place].value * share, 4)
    field = visit.page.locator(".knob").nth(place).locator("input[type=number]")
    field.fill(f"{100 * value:.2f}")
    visit.page.locator(".what-if.moved").wait_for()
    found, npv = moved(money, every[place], value), sentences.npv_form(money, language)
    ends = money.tornado[["npv_low", "npv_high"]].to_numpy(dtype=float).ravel()
    assert shown(visit.page, YOURS)[:3] == [
        figures.arithmetic_form(money, ends, language)(float(found["npv"])),
        npv.between(float(found["low"]), float(found["high"])),
        probability(float(found["odds"]), language, apart_from=money.decision.enough),
    ]
    assert shown(visit.page, YOURS) != shown(visit.page, REPORT)


def test_the_panel_works_by_keyboard_and_says_what_happened(visit: Visit) -> None:
    page, status = visit.page, visit.page.locator("[role=status]")
    slider = page.locator(".knob input[type=range]").first
    before = slider.get_attribute("aria-valuetext")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.locator(".what-if.moved").wait_for()
    assert slider.get_attribute("aria-valuetext") != before
    assert float(page.locator(".knob input[type=number]").first.input_value()) == float(slider.input_value())
    page.wait_for_function(
        "t => document.querySelector('[role=status]').textContent.includes(t)", arg=shown(page, YOURS)[1]
    )
    assert status.get_attribute("aria-live") == "polite"
    page.locator(".what-if button").focus()
    page.keyboard.press("Enter")
    page.locator(".what-if:not(.moved)").wait_for()
    assert shown(page, YOURS) == shown(page, REPORT)
    assert slider.get_attribute("aria-valuetext") == before


def test_what_is_no_number_or_out_of_reach_does_no_harm(visit: Visit, money: Return) -> None:
    field = visit.page.locator(".knob input[type=number]").first
    initial = field.input_value()
    field.fill("")
    field.blur()
    assert field.input_value() == initial
    field.fill("1e300")
    field.blur()
    visit.page.locator(".what-if.moved").wait_for()
    assert float(field.input_value()) == pytest.approx(100 * levers(money)[0].end)
    assert visit.messages == []


def test_the_mark_stands_where_npv_is_zero(visit: Visit, money: Return) -> None:
    knob, lever = visit.page.locator(".knob").first, levers(money)[0]
    share = float(knob.locator(".mark").evaluate("mark => mark.style.getPropertyValue('--at')"))
    assert lever.start + share * (lever.end - lever.start) == pytest.approx(float(lever.row["break_even"]))
    assert knob.locator(".mark").is_visible()


def test_without_scripts_the_panel_is_a_table_that_says_so(browser: Any, path: Path) -> None:
    found = Visit(browser, path, java_script_enabled=False)
    assert found.page.locator(".what-if .off table").is_visible()
    assert not found.page.locator(".what-if .on").is_visible()
    assert found.messages == []
    found.page.close()


def test_the_panel_prints_its_state_without_its_handles(visit: Visit) -> None:
    page = visit.page
    page.locator(".knob input[type=number]").first.fill("2")
    page.locator(".what-if.moved").wait_for()
    page.emulate_media(media="print")
    assert not page.locator(".what-if .track").first.is_visible()
    assert not page.locator(".what-if button").is_visible()
    assert page.locator(".what-if .outcome table").is_visible()


@pytest.fixture(scope="module")
def axe() -> str:
    """The accessibility engine axe-core; skip where the package that carries it is missing."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Any, axe: str) -> list[tuple[str, str]]:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.evaluate(f"{axe};0")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(each["id"], node["html"]) for each in found for node in each["nodes"]]


def test_axe_finds_nothing(browser: Any, pages: dict[Language, str], tmp_path: Path, axe: str) -> None:
    file = tmp_path / "en.html"
    file.write_text(pages["en"], encoding="utf-8")
    found = Visit(browser, file)
    assert violations(found.page, axe) == []
    found.page.close()


@pytest.fixture
def pair(browser: Any, both: str, tmp_path: Path) -> Iterator[Visit]:
    """The page of both languages, opened."""
    file = tmp_path / "both.html"
    file.write_text(both, encoding="utf-8")
    found = Visit(browser, file)
    yield found
    found.page.close()


def test_a_page_of_both_languages_shows_one_and_prints_both(pair: Visit) -> None:
    page = pair.page
    english, chinese = page.locator("#version-en"), page.locator("#version-zh")
    assert english.is_visible()
    assert not chinese.is_visible()
    page.locator("#show-en").focus()
    page.keyboard.press("ArrowRight")
    assert chinese.is_visible()
    assert not english.is_visible()
    page.emulate_media(media="print")
    assert chinese.is_visible()
    assert english.is_visible()
    assert not page.locator(".languages").is_visible()
    assert pair.messages == []
    assert len(pair.requests) == 1


def test_both_languages_show_the_same_state_of_the_panel(pair: Visit) -> None:
    page = pair.page
    page.locator("#version-en .knob input[type=number]").first.fill("1.5")
    page.locator("#version-en .what-if.moved").wait_for()
    odds = shown(page, YOURS)[2]
    page.locator("#show-zh").check()
    assert shown(page, YOURS)[2] == odds
    assert page.locator("#version-zh .knob input[type=number]").first.input_value() == "1.50"


def test_axe_finds_nothing_in_the_second_language_of_both(pair: Visit, axe: str) -> None:
    pair.page.locator("#show-zh").check()
    assert violations(pair.page, axe) == []
