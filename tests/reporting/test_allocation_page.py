"""The allocation as page and text: complete in both languages, the same figures, and nothing of a user's runs."""

from __future__ import annotations

import importlib
import re
from html.parser import HTMLParser

import pytest

from rox.core.joint import AllocationReturn
from rox.core.portfolio import portfolio_of
from rox.core.words import LANGUAGES, Language, say
from rox.reporting.allocation_page import allocation_html, allocation_parts, allocation_text
from rox.reporting.blocks import Part, Points, Table, Text
from rox.reporting.plain_page import plain_page
from rox.valuation.allocation import allocate_budget
from tests.valuation.conftest import effect_of, said
from tests.valuation.initiatives import initiative_case, lifted, per_point, portfolio_content

NASTY = '=cmd|"<script>alert(1)</script>&amp;{0}😀'


@pytest.fixture(scope="module")
def found() -> AllocationReturn:
    content = portfolio_content(("refit", "calls"), 0.5)
    content["portfolio"] |= {"title": NASTY, "decision": NASTY, "current": {"refit": "half"}}
    content["budget"] = said(value=4_000) | {"owner": NASTY, "source": NASTY}
    content["initiatives"]["calls"]["scales"]["full"]["label"] = NASTY
    content["initiatives"]["calls"]["needs"] = ["refit"]
    content["exclusions"] = {
        "x": {
            "initiatives": ["refit", "calls"],
            "reason": NASTY,
            "owner": "P",
            "source": NASTY,
            "date": "2025-12-31",
        }
    }
    uses = {"refit": said(value=3)}
    content["capacity"] = {"people": {"label": NASTY, "limit": said(value=4), "uses": uses}}
    costs = {"works": said(value=3_000, months=[0], label="Works")}
    about = {
        "name": "refit", "title": NASTY, "decision": "refit", "currency": "CNY", "start": "2026-01-01", "horizon": 24,
        "effects": ["uplift"],
    }  # fmt: skip
    cases = {
        "refit": initiative_case("refit", lift=lifted(0.8), costs=costs, case=about),
        "calls": initiative_case("calls", effects=("panel",), lift=lifted(0.6), costs=costs),
    }
    module = importlib.import_module("rox.valuation.allocation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SINGLES", 8)
        patch.setattr(module, "BLOCKS", 4)
        return allocate_budget(portfolio_of(content, cases), [effect_of(0.04, 0.03), per_point(0.04)], draws=400, rng=2)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.asks: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.asks += [value or "" for name, value in attrs if name in ("src", "href", "action")]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_runs_nothing_and_asks_for_nothing(found: AllocationReturn, language: Language) -> None:
    page = allocation_html(found, language)
    reader = Tags()
    reader.feed(page)
    assert "script" not in reader.tags
    assert [each for each in reader.asks if not each.startswith(("#", "data:"))] == []
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "script-src" not in page
    assert NASTY not in page
    assert page.count("&lt;script&gt;") > 5
    assert page == allocation_html(found, language)
    assert len(page) < 600_000


def figures(found: AllocationReturn, language: Language) -> list[int]:
    """How many numbers stand in each cell and sentence; dates have two in one language and three in the other."""
    texts: list[str] = []
    for part in (each for each in allocation_parts(found, language) if each.key != "rules"):
        for block in part.blocks:
            if isinstance(block, Table):
                texts += [str(getattr(cell, "text", cell)) for row in block.rows for cell in row]
            elif isinstance(block, Text):
                texts.append(block.text)
    return [len(re.findall(r"\d+(?:[.,]\d+)*", text)) for text in texts]


def test_both_languages_say_the_same_numbers(found: AllocationReturn) -> None:
    """Amounts below 10,000 are written out in both, so that all digits can be compared."""
    said_of = [
        [re.findall(r"[\d.,]*\d%?", str(getattr(cell, "text", cell))) for row in block.rows for cell in row]
        for language in LANGUAGES
        for part in allocation_parts(found, language)
        if part.key != "rules" and part.key != "checks"
        for block in part.blocks
        if isinstance(block, Table)
    ]
    half = len(said_of) // 2
    assert half >= 5
    assert said_of[:half] == said_of[half:]
    english, chinese = (figures(found, language) for language in LANGUAGES)
    assert english == chinese


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_text_says_what_the_page_says(found: AllocationReturn, language: Language) -> None:
    text = allocation_text(found, language).replace("\n  ", " ")
    for part in allocation_parts(found, language):
        assert part.heading in text
        for block in part.blocks:
            if isinstance(block, Table) and not block.folded:
                assert block.caption in text
                assert all(str(getattr(row[-1], "text", row[-1])).strip() in text for row in block.rows)


def test_the_lead_speaks_of_the_plan(found: AllocationReturn) -> None:
    lead = allocation_parts(found)[0].blocks[0]
    assert isinstance(lead, Text)
    assert "CN¥4,000" in lead.text
    assert NASTY in lead.text


def test_a_plain_page_needs_parts_with_keys_of_their_own() -> None:
    part = Part(key="a", heading="A")
    with pytest.raises(ValueError, match="a key of their own"):
        plain_page("T", "en", [part, part])
    with pytest.raises(ValueError, match="a key of their own"):
        plain_page("T", "en", [])
    assert "<nav" in plain_page("T", "zh", [part])


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_funded_initiative_has_the_verdict_of_its_own_rule(found: AllocationReturn, language: Language) -> None:
    funded = [key for key, scale in found.chosen.scales.items() if scale != "none"]
    assert funded
    table = next(each for each in allocation_parts(found, language)[0].blocks if isinstance(each, Table))
    assert len(table.rows) == len(funded)
    points = [each for each in allocation_parts(found, language)[0].blocks if isinstance(each, Points)]
    below = [key for key in funded if (found.joint.alone[key] > 0).mean() < 0.80]
    assert sum(len(each.points) for each in points) == len(below)
    for key, row in zip(funded, table.rows, strict=True):
        draws = found.joint.alone[key]
        may_go = draws.mean() > 0 and (draws > 0).mean() >= 0.80 and found.joint.grades[key].is_causal
        assert str(getattr(row[-1], "text", "")).endswith(say("advice.go", language)) == may_go


def test_blocks_are_counted(found: AllocationReturn) -> None:
    part = next(each for each in allocation_parts(found) if each.key == "sure")
    table = next(each for each in part.blocks if isinstance(each, Table))
    assert all(re.fullmatch(r"\d+ of 4", str(row[-1])) for row in table.rows)
