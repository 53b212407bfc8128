"""The page of a tree of metrics: both languages, what was typed is escaped, drawings say what they show."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from rox.core.check import Check, Verdict
from rox.core.metric_tree import tree_of
from rox.core.tree_report import TreeReport
from rox.core.words import LANGUAGES, say
from rox.reporting.tree_page import tree_page, tree_text

PERIODS = ("2025Q1", "2025Q2", "2025Q3", "2025Q4")
BASE = {
    "se": 0.1, "level": 0.9, "n": 120.0, "n_eff": 100.0, "suppressed": False, "method": "t", "before": None,
    "alert": float("nan"), "goal": "g", "signal": "s", "scope": "micro", "channel": "", "proxy": False,
}  # fmt: skip


def metric(label: str, **more: object) -> dict:
    where = {"touchpoint": {"en": "App", "zh": "手机银行"}, "department": {"en": "Digital", "zh": "数字部"}}
    return {
        "signal": "s",
        "label": label,
        "estimator": "share",
        "table": "events",
        "where": {"kind": "x"},
        **where,
        **more,
    }


@pytest.fixture(scope="module")
def report() -> TreeReport:
    tree = tree_of(
        {
            "tree": {"name": "t", "title": {"en": "Tree <b>", "zh": "树 <b>"}, "north_star": "star"},
            "goals": {"g": {"label": {"en": "Goal", "zh": "目标甲"}}},
            "signals": {"s": {"goal": "g", "label": {"en": "Signal", "zh": "信号甲"}}},
            "metrics": {
                "star": metric("Star & co", stage="engage", target=0.6),
                "wait": metric("<script>alert(1)</script>", stage="enter", direction="down", proxy=True),
                "lost": metric("Lost", stage="exit"),
            },
        },
        "tree",
    )
    rows = [
        {"quarter": period, "metric": name, "unit": "ratio", "value": value, "low": value - 0.05, "high": value + 0.05,
         "complete": True, "stage": tree.metrics[name].stage, "touchpoint": "App", "department": "Digital",
         "target": target, "p_target": p, "status": status, **BASE}
        for period in PERIODS
        for name, value, target, p, status in (
            ("star", 0.7, 0.6, 0.97, "met"), ("wait", 0.2, float("nan"), float("nan"), "none")
        )
    ]  # fmt: skip
    values = pd.DataFrame(rows).astype({"before": float})
    split = pd.concat([values.assign(segment=each) for each in ("gold", "<i>mass</i>")], ignore_index=True)
    return TreeReport(
        tree=tree,
        every="quarter",
        by=("segment",),
        values=values,
        groups=split,
        moved=pd.DataFrame([("wait", 9, 0.5, -0.1, 0.8)], columns=["metric", "n", "r", "low", "high"]),
        unmeasured=pd.DataFrame(
            [("lost", False, "rows", "events (kind = x)")], columns=["metric", "split", "need", "what"]
        ),
        checks=(Check(code="ROX-M13", verdict=Verdict.NOTE, values={"count": 1, "of": 3}),),
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_tells_everything(report, language):
    page = tree_page(report, language, currency="CNY", study="Bank")
    for part in ("star", "metrics", "journey", "standing", "moved", "missing", "how"):
        assert say(f"tree.part.{part}", language).replace("&", "&amp;") in page
    assert "Star &amp; co" in page
    assert "70.0%" in page
    assert "60.0%" in page
    assert say("tree.need.rows", language, what="events (kind = x)") in page
    assert "<script" not in page
    assert "<i>mass" not in page
    assert page == tree_page(report, language, currency="CNY", study="Bank")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_drawing_has_a_name_and_a_description(report, language):
    page = tree_page(report, language, currency="CNY")
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 3
    for each in drawings:
        assert re.search(r"<title[^>]*>[^<]+</title><desc[^>]*>[^<]+</desc>", each)
        assert 'role="img"' in each
    assert sum(say("tree.journey.caption", language, cells=2, aimed=1, behind=0) in each for each in drawings) == 1
    assert sum(say("tree.stage.enter", language) in each for each in drawings) == 2


def test_text_for_a_terminal_holds_the_journey_as_a_table(report):
    said = tree_text(report, "en", currency="CNY")
    assert "<svg" not in said
    assert "Stage by touchpoint" in said
    assert "On target" in said
    assert "(proxy)" in said


def test_a_north_star_that_was_not_measured_is_said(report):
    from dataclasses import replace

    without = replace(report, values=report.values[report.values["metric"] != "star"])
    assert "Star & co could not be measured." in tree_text(without, "en", currency="CNY")
