"""The page of a backtest in a real browser: nothing is requested, everything can be read, and axe finds nothing."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rox.core.backtest import Backtest
from rox.core.words import LANGUAGES, Language
from rox.reporting.backtest_page import backtest_page
from rox.review.backtest import backtest
from rox.review.backtest_actuals import Actuals, Booked, Measured
from rox.review.backtest_freeze import freeze
from tests.review.recorded import recorded

pytestmark = pytest.mark.browser

WHO = {"owner": "Finance", "source": "Books", "date": dt.date(2027, 2, 1)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Backtest:
    """A backtest in which every part of the page has something to say."""
    folder = tmp_path_factory.mktemp("page")
    first = freeze(
        recorded(folder / "run"), into=folder / "f", on=dt.date(2026, 1, 15), team="Retail, north", owner="Li Na"
    )
    forecasts = [first]
    for place, team in enumerate(("Retail, north", "Retail, south", "Service"), start=2):
        promises = tuple(replace(each, fingerprint=f"f{place}") for each in first.promises)
        forecasts.append(replace(first, number=place, team=team, promises=promises))
    entries = [
        Measured.model_validate(
            {"forecast": each.name, "month": 12, "what": "effect", "value": value, "se": 0.006, **WHO,
             "counterfactual": "hold_out"}
        )
        for each, value in zip(forecasts[:3], (0.031, 0.022, 0.018), strict=True)
    ]  # fmt: skip
    early = entries[0].model_copy(update={"month": 6})
    book = Booked.model_validate({"forecast": first.name, "month": 12, "customers": 1000.0, "income": 900.0, **WHO})
    return backtest(forecasts, Actuals(measured=(*entries, early), booked=(book,)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_axe_finds_nothing_and_a_narrow_screen_does_not_scroll(
    browser: Any, found: Backtest, language: Language, tmp_path: Path
) -> None:
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    axe = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    file = tmp_path / f"{language}.html"
    file.write_text(backtest_page(found, language, prior_pairs=4), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    page.evaluate(f"{axe};0")
    violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(each["id"], node["html"]) for each in violations for node in each["nodes"]] == []
    assert requests == [file.as_uri()]
    page.set_viewport_size({"width": 390, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
