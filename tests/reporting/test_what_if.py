"""The panel: which inputs it lets a reader move, how far, and that what it holds is the ledger and nothing else."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from rox.core.case import RANGES
from rox.core.returns import Return
from rox.core.script import ledger_script
from rox.core.words import LANGUAGES, Language, catalogue
from rox.reporting.blocks import Panel
from rox.reporting.html import as_json
from rox.reporting.parts.what_if import report_results, what_if
from rox.reporting.request import Request
from rox.reporting.what_if import DRAWS, TOTALS, levers, numbers, sample, uncertain


def panel(money: Return, language: Language = "en") -> Panel:
    block = what_if(Request(money=money, language=language)).blocks[0]
    assert isinstance(block, Panel)
    return block


def test_effects_their_discount_and_the_discount_rate_are_there_with_the_largest_swings(money: Return) -> None:
    shown = [each.row["name"] for each in levers(money)]
    assert {"effect_uplift", "evidence_uplift", "discount"} <= set(shown)
    swings = money.tornado["name"].tolist()
    assert shown == [name for name in swings if name in shown]
    others = [name for name in swings if name not in ("effect_uplift", "evidence_uplift", "discount")]
    assert shown.count(others[0]) == 1
    assert len(shown) == 8


def test_a_lever_holds_its_value_and_stays_within_what_a_case_may_say(money: Return) -> None:
    for lever in levers(money):
        assert lever.start <= lever.value <= lever.end
        assert (lever.end - lever.start) / lever.step >= 50
        first = money.ledger.inputs[lever.members[0]]
        if first.kind == "assumption":
            low, high, _ = RANGES.get(first.place) or RANGES.get(first.place.split(".")[0], (-np.inf, np.inf, ""))
            assert low <= lever.start < lever.end <= high
        if lever.row["name"] == "effect_uplift":
            assert [money.ledger.inputs[place].group for place in lever.members] == ["mass", "gold", "private"]
            assert lever.start <= 0
            assert lever.moves == "shift"
    scaled = [each.row["name"] for each in levers(money) if each.moves == "scale"]
    assert not any(name.startswith(("effect", "evidence")) for name in scaled)
    assert len(scaled) == 6


def test_a_break_even_near_enough_lies_on_the_lever(money: Return) -> None:
    lever = next(each for each in levers(money) if each.row["name"] == "effect_uplift")
    assert lever.start < lever.row["break_even"] < lever.end


def test_an_input_that_is_zero_and_fixed_cannot_be_moved(money: Return) -> None:
    table = money.tornado.copy()
    table.loc[table["name"] == "discount", ["value", "low", "high"]] = 0.0
    assert "discount" not in [each.row["name"] for each in levers(replace(money, tornado=table))]


def test_the_sample_stands_for_all_draws(money: Return) -> None:
    kept, npv = sample(money), money.draws["npv"]
    assert len(kept) == DRAWS
    assert len(set(kept.tolist())) == DRAWS
    spread = npv.std()
    for level in (0.05, 0.5, 0.95):
        assert abs(np.quantile(npv[kept], level) - np.quantile(npv, level)) < 0.01 * spread


def test_the_page_holds_inputs_and_draws_and_no_words(money: Return) -> None:
    held = numbers(money, levers(money))
    drawn = np.frombuffer(base64.b64decode(held["draws"]), dtype="<f4").reshape(len(held["columns"]), held["size"])
    names = [money.ledger.inputs[place].name for place in uncertain(money)]
    assert "margin_all" in names
    assert "tax" not in names
    for name, column in zip(names, drawn, strict=True):
        np.testing.assert_allclose(column, money.drawn[name][sample(money)], rtol=1e-6, atol=1e-9)
    assert held["point"] == [each.value for each in money.ledger.inputs]
    assert held["odds"] == money.decision.p_positive
    strings = [text for text in json.dumps(held).split('"')[1::2] if text not in {"scale", "shift", held["draws"]}]
    assert {*strings} <= {*held, *held["levers"][0], "floor", "ceiling"}


def test_the_ledger_in_the_page_gives_what_the_ledger_gives(money: Return) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no JavaScript engine called node on this machine")
    inputs, rng = money.ledger.inputs, np.random.default_rng(3)
    point = np.array([each.value for each in inputs])
    rows = np.vstack([point, point * rng.uniform(0.3, 1.9, (8, len(point)))])
    names = [line.name for line in money.ledger.lines if line.scope == "total"]
    script = ledger_script(money.ledger, names)
    text = f"{script}\nconsole.log(JSON.stringify({json.dumps(rows.tolist())}.map(x=>ledger(x).map(String))))"
    done = subprocess.run([node, "-"], input=text, capture_output=True, text=True, check=True)
    wanted = money.ledger.totals({each.name: rows[:, place] for place, each in enumerate(inputs)})
    for name, found in zip(names, np.array(json.loads(done.stdout), dtype=float).T, strict=True):
        np.testing.assert_allclose(found, np.broadcast_to(wanted[name], found.shape), rtol=1e-9, err_msg=name)
    assert {*TOTALS} <= {*names}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_reports_own_results_stand_beside_the_readers(money: Return, language: Language) -> None:
    results = dict(report_results(money, language))
    assert [text for _, text in panel(money, language).results] == list(results.values())
    assert results["odds"] == "88%"
    assert len(panel(money, language).knobs) == len(panel(money, language).still.rows) == 8


def test_sentences_of_the_script_have_their_places(money: Return) -> None:
    for language in LANGUAGES:
        words = panel(money, language).words
        assert set(words["changed"].replace("{", "}").split("}")[1::2]) == {"npv", "range", "odds", "roi", "payback"}
        assert words["turn"] == catalogue()["what_if.turn"][language]
        assert len(words["levers"]) == 8
        assert set(words["forms"]) == {"npv", "range", "roi", "payback"}


def test_data_for_the_script_cannot_end_its_element() -> None:
    hostile = "</script><!--<script>&\u2028\u2029'\"\\ 😀\u202e"
    text = as_json({"words": hostile})
    assert json.loads(text) == {"words": hostile}
    assert text.isascii()
    assert not set("<>&") & set(text)
    with pytest.raises(ValueError, match="JSON"):
        as_json({"value": float("nan")})


def test_a_loss_and_a_payback_that_never_comes_have_words(loss: Return) -> None:
    results = dict(report_results(loss, "en"))
    assert results["payback"] == "not within the horizon"
    assert results["npv"].startswith("−")
