"""The planner: the ladder, what a design can find, the order by lot, the page and the command."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.cli import main
from rox.core.case import EVERYONE
from rox.core.check import BIAS_LAYERS, Grade, Verdict
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.placebo_rollouts import ALL, MONEY, SCORE
from rox.models.rollout import rollout
from rox.planning import (
    DesignPlan,
    Facts,
    Plan,
    design_errors,
    design_ladder,
    draw_order,
    drawn_order,
    facts_of,
    plan,
)
from rox.planning.ladder import credit, lot_check
from rox.planning.page import money, percent
from rox.planning.planner import _questions
from rox.testing import linked_from_frame

START = 12 * 2022


def panel(
    *, places: int = 20, each: int = 30, months: int = 30, begun: int = 0, assigned: str = "chosen", noise: float = 0.2
) -> Linked:
    """Quiet money with quarterly answers; the first ``begun`` places start in the month before the last six."""
    rng = np.random.default_rng(2)
    place = np.repeat(np.arange(places), each)
    n = place.size
    money = np.exp(7 + noise * rng.standard_normal((months, n)) + rng.standard_normal(n))
    score, said = np.full((months, n), np.nan), np.full((months, n), np.nan)
    for month in range(1, months):
        asked = rng.random(n) < (0.5 if month % 3 == 0 else 0.0)
        score[month] = np.where(asked, rng.integers(5, 11, n), score[month - 1])
        said[month] = np.where(asked, month - 1, said[month - 1])
    frame = pd.DataFrame(
        {
            "customer": np.tile(np.arange(n), months),
            "month": np.repeat(START + np.arange(months), n),
            "unit": [f"P{code:02d}" for code in np.tile(place, months)],
            "outcome": money.ravel(),
            "score": score.ravel(),
            "score_age": (np.arange(months)[:, None] - said).ravel(),
        }
    )
    starts = pd.DataFrame(
        {"initiative": "refit", "unit": [f"P{code:02d}" for code in range(begun)], "start": START + months - 7}
    )
    return linked_from_frame(frame, starts=starts if begun else None, assigned=assigned)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def quiet() -> Linked:
    return panel()


@pytest.fixture(scope="module")
def planned(quiet: Linked) -> DesignPlan:
    asked = Plan(places=10, starts=("2025-03", "2025-09"), effect=0.2, score_effect=1.0, replications=40)
    return plan(quiet, asked, rng=1)


def codes(found: DesignPlan) -> dict[str, Verdict]:
    return {check.code: check.verdict for check in found.checks}


@pytest.mark.parametrize(
    ("effect", "se", "power", "wrong_sign", "exaggeration"),
    [(2.0, 8.1, 0.06, 0.24, 9.7), (0.1, 3.28, 0.05, 0.46, 77.0)],
)
def test_published_errors_of_designs_come_out(
    effect: float, se: float, power: float, wrong_sign: float, exaggeration: float
) -> None:
    """Gelman & Carlin (2014), the two examples of their text."""
    found = design_errors(effect, se)
    assert found.power == pytest.approx(power, abs=0.005)
    assert found.wrong_sign == pytest.approx(wrong_sign, abs=0.005)
    assert found.exaggeration == pytest.approx(exaggeration, rel=0.02)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.8])
def test_errors_of_designs_are_those_of_simulated_estimates(ratio: float) -> None:
    drawn = ratio + np.random.default_rng(1).standard_normal(400_000)
    hit = drawn[np.abs(drawn) > 1.959964]
    found = design_errors(ratio, 1.0)
    assert found.power == pytest.approx(hit.size / drawn.size, abs=0.003)
    assert found.wrong_sign == pytest.approx((hit < 0).mean(), abs=0.006)
    assert found.exaggeration == pytest.approx(np.abs(hit).mean() / ratio, rel=0.01)
    assert design_errors(-ratio * 7, 7.0) == design_errors(ratio, 1.0)


def test_an_effect_of_nothing_has_no_errors() -> None:
    with pytest.raises(FitError, match="effect other than 0"):
        design_errors(0.0, 1.0)


FACTS = Facts(places=20, untreated=20, planned=10, stages=2, compared=10, history=36)


@pytest.mark.parametrize(
    ("changes", "available"),
    [
        ({}, {"chosen", "one_place", "series", "before_after"}),
        ({"by_lot": True}, {"lot", "chosen", "one_place", "series", "before_after"}),
        (
            {"individual": True, "hold_out": True},
            {"individual", "tickets", "chosen", "one_place", "series", "before_after"},
        ),
        ({"planned": 1}, {"one_place", "series", "before_after"}),
        ({"compared": 0, "by_lot": True}, {"one_place", "series", "before_after"}),
        ({"places": 1, "planned": 1}, {"series", "before_after"}),
        ({"history": 6}, {"chosen", "before_after"}),
    ],
)
def test_the_ladder_offers_what_the_facts_allow(changes: dict[str, object], available: set[str]) -> None:
    rungs = design_ladder(Facts(**{**vars(FACTS), **changes}))
    assert {rung.key for rung in rungs if rung.is_available} == available
    best = [rung.best for rung in rungs]
    assert best == sorted(best)
    for rung in rungs:
        assert all(rung.why(language) for language in ("en", "zh"))
        assert rung.assumes("zh") != rung.assumes("en")


def test_few_places_cost_a_grade() -> None:
    few = {rung.key: rung.best for rung in design_ladder(Facts(**{**vars(FACTS), "planned": 5}))}
    assert few["lot"] is Grade.C
    assert {rung.key: rung.best for rung in design_ladder(FACTS)}["lot"] is Grade.B


def test_credit_is_the_discount_of_the_grade_with_both_errors() -> None:
    found = credit(0.04, 0.01, Grade.B)
    layer = BIAS_LAYERS[Grade.B]
    rng = np.random.default_rng(1)
    drawn = (0.04 + 0.01 * rng.standard_normal(400_000)) * (layer.mean + layer.sd * rng.standard_normal(400_000))
    assert found.mean == pytest.approx(drawn.mean(), rel=0.01)
    assert found.sd == pytest.approx(drawn.std(), rel=0.01)


@pytest.mark.parametrize(
    ("changes", "code", "verdict"),
    [
        ({}, "ROX-P01", Verdict.NOTE),
        ({"by_lot": True}, "ROX-P01", Verdict.PASS),
        ({"looks_back": True}, "ROX-P15", Verdict.NOTE),
        ({"planned": 1}, "ROX-P14", Verdict.NOTE),
    ],
)
def test_what_a_lot_adds_is_said(changes: dict[str, object], code: str, verdict: Verdict) -> None:
    facts = Facts(**{**vars(FACTS), **changes})
    found = lot_check(design_ladder(facts, se={"lot": 0.01, "chosen": 0.01}), facts, 0.03)
    assert (found.code, found.verdict) == (code, verdict)
    assert found.sentence("en") != found.sentence("zh")


def test_a_plan_says_what_it_could_find(planned: DesignPlan) -> None:
    row = planned.power.loc[ALL]
    assert row["detectable"] == pytest.approx(2.8016 * row["se"], rel=1e-4)
    assert planned.placebos is not None
    base = planned.placebos.population.baseline
    held = float((base["customers"] * base["money"]).sum())
    money = planned.power.loc[MONEY]
    assert money["in_total"] == pytest.approx(money["detectable"] * held)
    assert money["per_customer"] == pytest.approx(money["in_total"] / base["customers"].sum())
    assert np.isnan(planned.power.loc[SCORE, "in_total"])
    assert row["expected"] == pytest.approx(row["power"], abs=0.2)
    assert list(planned.power_table()["Found"]) == [percent(each) for each in planned.power["expected"]]
    assert planned.placebos.sizes == (5, 5)
    assert not planned.placebos.quiet.laid_over
    assert codes(planned)["ROX-P10"] is Verdict.PASS
    assert codes(planned)["ROX-P01"] is Verdict.NOTE
    assert set(planned.curves["kind"]) == {"places", "starts", "last_month"}


def test_curves_try_what_they_say(planned: DesignPlan) -> None:
    curve = planned.curves.set_index(["kind", "value"])
    assert set(curve.loc["places"].index) == {7, 10, 13, 17}
    assert set(curve.loc["starts"].index) == {1, 2, 3}
    assert set(curve.loc["last_month"].index) == {6, 8, 9, 11}
    assert (curve["detectable"] / curve["se"]).to_numpy() == pytest.approx(2.8016, rel=1e-4)
    assert curve.loc[("places", 10), "se"] == pytest.approx(curve.loc[("last_month", 11), "se"])


def test_money_that_cannot_be_settled_is_said(quiet: Linked, planned: DesignPlan) -> None:
    found = plan(quiet, Plan(places=6, starts=("2025-03", "2025-09"), effect=0.004, replications=20), rng=1)
    assert codes(found)["ROX-P02"] is Verdict.NOTE
    assert codes(found)["ROX-P17"] is Verdict.NOTE
    assert codes(found)["ROX-P12"] is Verdict.NOTE
    assert codes(planned)["ROX-P02"] is Verdict.PASS
    assert codes(planned)["ROX-P17"] is Verdict.PASS


def test_the_page_is_there_in_both_languages_and_as_a_record(planned: DesignPlan) -> None:
    english, chinese = planned.text("en"), planned.text("zh")
    assert "Order of places drawn by lot" in english
    assert "网点顺序由抽签决定" in chinese
    for code in codes(planned):
        assert code in english
        assert code in chinese
    record = json.loads(json.dumps(planned.as_record(), allow_nan=False))
    assert record["starts"] == [{"month": "2025-03", "places": 5}, {"month": "2025-09", "places": 5}]
    assert record["power"][SCORE]["in_total"] is None
    assert len(planned.ladder_table("zh")) == len(planned.rungs)
    assert list(planned.power_table()["Effect on"])[-1] == "mean score (points)"


def test_one_place_is_sent_down_the_ladder(quiet: Linked) -> None:
    found = plan(quiet, Plan(places=1, replications=20), rng=1)
    assert list(codes(found)) == ["ROX-P14"]
    assert found.power.empty
    assert found.places_needed is None
    assert "rox.SyntheticUplift" in found.text("en")


def test_a_plan_without_words_looks_back_on_the_study() -> None:
    data = panel(begun=8)
    facts = facts_of(data, Plan())
    assert (facts.planned, facts.untreated, facts.looks_back, facts.by_lot) == (8, 12, True, False)
    assert facts.history == 23
    assert facts_of(panel(begun=8, assigned="random"), Plan()).by_lot
    assert facts_of(data, Plan(places=6)).untreated == 20
    left = facts_of(data, Plan(initiative="refit", places=6))
    assert (left.planned, left.untreated, left.compared) == (6, 12, 6)


def test_a_rollout_in_one_place_names_the_other_design() -> None:
    with pytest.raises(
        FitError, match=r"segments: 0 customers left(.|\n)*merge segments, or use rox.InterruptedSeries"
    ):
        rollout(panel(places=4, begun=1), initiative=None, base=3, history=12, cap=3.0)


def test_faults_of_a_plan_come_together(quiet: Linked) -> None:
    with pytest.raises(FitError) as caught:
        Plan(starts=("2025-13", "2024-01"), effect=0, places=1, window=(5, 2), replications=2)
    assert len(caught.value.faults) == 6
    with pytest.raises(FitError, match="no initiative 'refti'"):
        facts_of(quiet, Plan(initiative="refti"))
    with pytest.raises(FitError, match="not enough places"):
        facts_of(quiet, Plan(places=20))
    with pytest.raises(
        FitError, match="2022-05, 2024-06 lie within the ledger, which ends 2024-06; name months to come"
    ):
        facts_of(quiet, Plan(starts=("2022-05", "2024-06", "2024-07")))
    with pytest.raises(FitError, match="2020-01 lies within"):
        drawn_order(quiet, Plan(starts=("2020-01",)), 1)
    homeless = linked_from_frame(quiet.frame().assign(unit=EVERYONE))
    with pytest.raises(FitError, match="no place; add the role `unit`"):
        facts_of(homeless, Plan(starts=("2025-03", "2025-09")))


def test_a_cap_that_hides_the_effect_is_refused() -> None:
    few = panel(places=8, each=15)
    with pytest.raises(FitError, match=r"(?s)so low a cap.*of 20.0% put in, .*beyond 0.5 times the own mean"):
        plan(few, Plan(places=4, effect=0.2, cap=0.5, replications=20), rng=1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.nan, "–"),
        (5.8e-27, "< 0.1%"),
        (0.0034, "0.3%"),
        (0.012, "1%"),
        (0.0996, "10%"),
        (0.994, "99%"),
        (0.996, "> 99%"),
        (1.0, "> 99%"),
    ],
)
def test_a_probability_is_never_a_certainty(value: float, text: str) -> None:
    assert percent(value) == text


def test_money_has_three_digits_and_the_words_of_its_language() -> None:
    assert [money(2_900_856_129, "CNY", each) for each in ("en", "zh")] == ["CN¥2.9B", "29亿元"]
    assert [money(54_321, "CNY", each) for each in ("en", "zh")] == ["CN¥54,300", "5.43万元"]
    assert money(123_456, "", "en") == "123K"
    assert money(2_346, "XAU", "en") == "XAU 2,350"
    assert money(np.nan, "CNY", "en") == "–"


def test_the_question_is_judged_by_the_errors_of_the_design_not_by_few_draws() -> None:
    row = {"detectable": 0.04, "expected": 0.56, "power": 0.0}
    (asked, _) = _questions(row, {"detectable": np.nan}, Plan(effect=0.03))
    assert (asked.code, asked.values["power"]) == ("ROX-P19", "56%")
    assert "found 56% of the time" in asked.sentence()


def test_the_page_counts_one_place_as_one_and_leaves_out_curves_of_no_use(planned: DesignPlan) -> None:
    one = replace(planned.design, sizes=(1, 9))
    assert "1 place from 2025-03, 9 places from 2025-09; places without it" in replace(planned, design=one).text("en")
    few, many = (
        replace(planned, power=planned.power.assign(detectable=planned.power["seen"] * times)) for times in (0.3, 30.0)
    )
    assert few.places_needed == 2
    assert "Other roll-outs" not in few.text("en")
    assert f"about {many.places_needed:,} such" in many.text("en")
    assert many.places_needed == pytest.approx(18_000, abs=1)
    assert "points)" in planned.text("en").split("ROX-P16")[1].split("ROX-P17")[0]


def test_the_lot_can_be_checked_and_keeps_its_numbers() -> None:
    names = [f"P{code:02d}" for code in range(23)]
    facts = pd.DataFrame({"customers": np.arange(23), "growth": np.arange(23) % 5}, index=names)
    table = draw_order(names, ["2025-03", "2025-09"], 7, sizes=[6, 5], strata=facts)
    assert table.equals(draw_order(names[::-1], ["2025-03", "2025-09"], 7, sizes=[6, 5], strata=facts))
    assert not table.equals(draw_order(names, ["2025-03", "2025-09"], 8, sizes=[6, 5], strata=facts))
    assert table["start"].value_counts().to_dict() == {"": 12, "2025-03-01": 6, "2025-09-01": 5}
    assert sorted(table["place"]) == names
    assert set(table["seed"]) == {7}
    spread = table.assign(on=table["stage"] > 0).groupby("stratum")["on"].agg(["mean", "size"])
    assert ((spread["mean"] - 11 / 23).abs() * spread["size"] < 2).all()


def test_every_place_has_the_same_chance() -> None:
    names = [f"P{code}" for code in range(9)]
    facts = pd.DataFrame({"customers": np.arange(9)}, index=names)
    tables = [draw_order(names, ["2025-03"], seed, sizes=[4], strata=facts) for seed in range(600)]
    first = Counter(name for table in tables for name in table.loc[table["stage"] == 1, "place"])
    share = np.array([first[name] for name in names]) / 600
    assert share == pytest.approx(np.full(9, 4 / 9), abs=4 * np.sqrt(4 / 9 * 5 / 9 / 600))


def test_an_order_that_cannot_be_drawn_is_one_message(quiet: Linked) -> None:
    with pytest.raises(FitError) as caught:
        draw_order(["a", "a", "b"], ["2025-03"], 1, sizes=[4], strata=pd.DataFrame({"customers": [1]}, index=["a"]))
    assert len(caught.value.faults) == 3
    with pytest.raises(FitError, match="no order to draw"):
        drawn_order(quiet, Plan(), 1)
    table = drawn_order(quiet, Plan(starts=("2025-03",), places=4), 1)
    assert (table["stage"] == 1).sum() == 4


def test_the_command_plans_and_writes_the_order(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = tmp_path / "order.csv"
    words = ["--places", "30", "--starts", "2026-03", "2026-09", "--replications", "20", "--seed", "5"]
    assert main(["plan", str(bank), *words, "--out", str(order), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["files"] == [str(order)]
    assert found["plan"]["facts"]["by_lot"]
    assert found["plan"]["placebos"]["last"] == "2023-12"
    drawn = pd.read_csv(order, dtype=str)
    assert drawn["start"].value_counts().to_dict() == {"2026-03-01": 15, "2026-09-01": 15}
    assert set(drawn["seed"]) == {"5"}
    assert main(["plan", str(bank), *words, "--out", str(order)]) == 4
    assert "stays drawn" in capsys.readouterr().err


def test_a_plan_that_cannot_be_is_one_message(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["plan", str(bank), "--starts", "March", "--effect", "-1"])
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert "write it as 2026-03" in shown
    assert "effect is -1" in shown
    assert "Traceback" not in shown
