"""The scoreboard counts right, on answers written by hand."""

from __future__ import annotations

import inspect
import math

import pandas as pd
import pytest

import rox
from rox.core.check import BIAS_LAYERS, Check, Grade, Verdict
from rox.core.errors import RunError
from rox.core.words import LANGUAGES, say
from rox.validation import ESTIMATORS, RECIPES, TRIED_ELSEWHERE, Scoreboard, document, read_world
from rox.validation.document import accuracy_table, grade_table, tables_text
from rox.validation.methods import pick, used_in
from rox.validation.replication import worst_verdicts

from .conftest import content

LEAK = {"ROX-A08": "demote", "ROX-T04": "pass"}
FEW = {"ROX-A08": "pass", "ROX-T04": "demote"}
QUIET = {"ROX-A08": "pass", "ROX-T04": "pass"}


def board(*contents, methods=None) -> Scoreboard:
    return Scoreboard.of(contents, methods=methods or pick(["panel"]), replications=4, customers=2000, seed=1)


@pytest.fixture
def four() -> Scoreboard:
    """Three banks in which the estimate is badly wrong, one in which it is not."""
    return board(
        content("easy", 1, {"estimate": 200.0, "low": 150.0, "high": 250.0, "checks": LEAK}),
        content("easy", 2, {"estimate": 180.0, "low": 90.0, "high": 270.0, "checks": FEW, "grade": "E"}),
        content("easy", 3, {"estimate": 20.0, "low": 10.0, "high": 30.0, "checks": QUIET, "grade": "C"}),
        content("easy", 4, {"estimate": 120.0, "low": 90.0, "high": 150.0, "checks": LEAK}),
    )


def test_accuracy_by_hand(four):
    row = four.accuracy().loc[("easy", "panel", "sustained")]
    assert row["bias"] == pytest.approx((100 + 80 - 80 + 20) / 4 / 100)
    spread = pd.Series([100.0, 80.0, -80.0, 20.0]).std()
    assert row["bias_mc"] == pytest.approx(spread / 2 / 100)
    assert row["coverage"] == 0.5
    assert row["coverage_mc"] == pytest.approx(math.sqrt(0.5 * 0.5 / 8))
    assert row["rmse"] == pytest.approx(math.sqrt((100**2 + 80**2 + 80**2 + 20**2) / 4))
    assert row["sd"] == pytest.approx(spread)
    assert (row["banks"], row["refused"]) == (4, 0)


def test_coverage_without_a_miss_still_has_an_error():
    row = board(content("easy", 1), content("easy", 2)).accuracy().iloc[0]
    assert row["coverage"] == 1
    assert row["coverage_mc"] > 0.1


def test_bias_of_a_negative_truth_is_towards_zero_when_negative():
    hazard = {"method": "churn", "target": "hazard", "truth": -0.2, "estimate": -0.1, "low": -0.15, "high": -0.05}
    row = board(content("easy", 1, hazard), methods=pick(["churn"])).accuracy().iloc[0]
    assert row["bias"] == pytest.approx(-0.5)


def test_a_refusal_is_counted_and_not_averaged():
    refused = {"estimate": None, "low": None, "high": None, "refused": "No segment can be estimated."}
    found = board(content("easy", 1, refused), content("easy", 2, {"estimate": 150.0}))
    row = found.accuracy().iloc[0]
    assert (row["banks"], row["refused"], row["estimate"]) == (1, 1, 150.0)
    assert "1, 1 refused" in accuracy_table(found.accuracy())


def test_alarms_by_hand(four):
    row = four.alarms().loc[("easy", "panel", "sustained")]
    assert (row["wrong"], row["right"]) == (3, 1)
    assert (row["demoted"], row["alarm"], row["low_grade"], row["covered"], row["silent"]) == (2, 1, 2, 1, 1)
    assert (row["false_demoted"], row["false_alarm"]) == (1, 1)
    assert row["holds"] == 0
    assert row["alarm_code"] == "ROX-A08 ROX-E04 ROX-E05"


def test_the_rule_holds_from_four_in_five_on():
    wrong = {"estimate": 300.0}
    banks = [content("cmb", seed, wrong | {"checks": LEAK if seed < 5 else QUIET}) for seed in range(1, 6)]
    assert board(*banks).alarms()["holds"].tolist() == [1]
    banks = [content("cmb", seed, wrong | {"checks": LEAK if seed < 4 else QUIET}) for seed in range(1, 6)]
    assert board(*banks).alarms()["holds"].tolist() == [0]


def test_a_remark_of_the_alarm_counts_as_raised_but_lowers_nothing():
    noisy = {"method": "churn", "target": "hazard", "estimate": 300.0, "checks": {"ROX-S07": "note"}}
    row = board(content("cmb", 1, noisy), methods=pick(["churn"])).alarms().iloc[0]
    assert (row["alarm"], row["demoted"]) == (1, 0)


def test_a_gap_is_judged_by_what_it_is_taken_for():
    gap = {"method": "gap", "estimate": 300.0, "checks": {"ROX-A05": "demote"}}
    found = board(content("cmb", 1, gap, gap | {"target": "gap", "truth": 300.0}), methods=pick(["gap"]))
    assert found.alarms().index.tolist() == [("cmb", "gap", "sustained")]
    assert found.accuracy()["bias"].tolist() == [2.0, 0.0]


def test_codes_are_shares_of_all_banks(four):
    shown = four.codes()
    assert shown.loc[("easy", "panel", "ROX-A08"), "demoted"] == 0.5
    assert shown.loc[("easy", "panel", "ROX-T04"), "demoted"] == 0.25


def test_grades_by_hand(four):
    table = four.grades()
    row = table.loc[("D", "panel")]
    assert row["banks"] == 2
    assert row["mean"] == pytest.approx((100 / 200 + 100 / 120) / 2)
    assert row["through"] == pytest.approx((2 + 1.2) / (2**2 + 1.2**2))
    assert (row["assumed_mean"], row["assumed_sd"]) == (BIAS_LAYERS[Grade.D].mean, BIAS_LAYERS[Grade.D].sd)
    assert table.loc[("C", "all"), "q50"] == pytest.approx(5.0)
    assert math.isnan(table.loc[("C", "panel"), "sd"])


def test_between_worlds_is_the_spread_of_ratios_of_means():
    worlds = [content(world, 1, {"estimate": value}) for world, value in (("easy", 50.0), ("cmb", 100.0))]
    assert board(*worlds).grades().loc[("D", "all"), "worlds"] == pytest.approx(pd.Series([2.0, 1.0]).std())


def test_a_gap_is_no_part_of_the_grades_of_what_is_priced():
    gap = {"method": "gap", "estimate": 400.0}
    table = board(content("cmb", 1, gap, {"estimate": 50.0}), methods=pick(["gap", "panel"])).grades()
    assert table.loc[("D", "all"), "banks"] == 1
    assert table.loc[("D", "gap"), "mean"] == 0.25


def test_the_worst_verdict_of_a_code_counts():
    checks = [Check(code="ROX-T03", verdict=verdict) for verdict in (Verdict.NOTE, Verdict.DEMOTE, Verdict.PASS)]
    assert worst_verdicts((*checks, Check(code="ROX-A07", verdict=Verdict.NOTE))) == {
        "ROX-T03": "demote",
        "ROX-A07": "note",
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_document_says_what_it_is(four, language):
    text = document(four, language)
    assert "`rox validate --estimators panel --presets easy --replications 4 --customers 2000 --seed 1`" in text
    assert "pymc" in text
    assert ("not a fact about any bank" if language == "en" else "不是关于任何银行的事实") in text
    assert "ROX-A08" in text
    assert "1/3" in text
    for line in text.splitlines():
        assert line.count("|") in (0, 11, 12, 6, 15) or not line.startswith("|")
    assert ("The rule is broken here" if language == "en" else "不满足要求") in text


def test_a_document_says_when_the_rule_holds():
    text = document(board(content("cmb", 1, {"estimate": 300.0, "checks": LEAK})))
    assert "wherever there were any" in text
    assert "The rule is broken here" not in text


def test_recipes_alone_make_a_document_without_alarms_and_grades():
    only = {"method": "twfe", "target": "rollout_money", "truth": 0.01, "estimate": 0.02, "grade": "", "checks": {}}
    found = board(content("cmb/trend", 1, only), methods=pick(["twfe"]))
    assert "1.00%" in tables_text(found)
    assert "## Do they know" not in document(found)


def test_missing_figures_are_dashes(four):
    assert "–" in grade_table(four.grades())


def test_every_estimator_that_rox_exports_is_tried_or_said_to_be_tried_elsewhere():
    fits = {name: getattr(getattr(rox, name), "fit", None) for name in rox.__all__}
    exported = {name for name, fit in fits.items() if fit and inspect.signature(fit).return_annotation == "Effect"}
    here, elsewhere = {type(method.estimator).__name__ for method in ESTIMATORS}, dict(TRIED_ELSEWHERE)
    assert here | set(elsewhere) == exported
    assert not here & set(elsewhere)
    assert all(say(reason, language) for reason in elsewhere.values() for language in LANGUAGES)
    assert all(method.alarms for method in ESTIMATORS)


def test_methods_are_picked_by_name():
    assert pick() == (*ESTIMATORS, *RECIPES)
    assert [method.name for method in pick(["twfe", "gap", "twfe"])] == ["twfe", "gap"]
    with pytest.raises(RunError, match="no methods"):
        pick(["gap", "magic"])


def test_worlds_about_rollouts_try_methods_for_rollouts_only():
    tried = ["uplift", "synthetic", "interrupted", "before_after", "twfe"]
    assert [method.name for method in used_in(read_world("cmb/dip"), pick())] == tried
    assert used_in(read_world("hard"), pick()) == pick()
