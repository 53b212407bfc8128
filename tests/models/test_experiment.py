"""Experiments whose truth is written down: the effect, who is lost, who takes it, and lots that were none."""

from __future__ import annotations

import dataclasses
import doctest
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

import rox.models.experiment
from rox.core.census import DEFECTS, Census
from rox.core.check import Check, Grade, Verdict
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked
from rox.core.views import money_column
from rox.linking.views import FrameViews
from rox.models.experiment import Experiment
from rox.models.experiment_checks import attrition_check, lot_check
from rox.models.experiment_places import together
from rox.models.experiment_rows import read_arms
from rox.testing import linked_from_frame
from tests.models.conftest import check

START, LOT, MONTHS = 12 * 2022, 12 * 2022 + 8, 22
"""First month of money, month of the lot, and months of money."""


class Quick(FrameViews):
    """The two views the model asks for, without an engine; one test compares them with the engine's."""

    def records(self, data: Linked, name: str, months: Sequence[int]) -> pd.DataFrame:
        rows, panel = self.records_by_name[name], data.panel
        people = panel.drop_duplicates("customer").set_index("customer")
        rows = rows[rows["customer"].isin(people.index)].reset_index(drop=True)
        rows = rows.assign(month=12 * rows["date"].dt.year + rows["date"].dt.month - 1)
        facts = ["segment", "unit", "weight", "opened", "exit_month", "voluntary"]
        rows = rows.assign(**{fact: people[fact].reindex(rows["customer"]).to_numpy() for fact in facts})
        wide = panel.pivot(index="customer", columns="month", values="outcome")
        wide = wide.reindex(index=rows["customer"], columns=range(START - 40, START + MONTHS + 40)).to_numpy()
        at = rows["month"].to_numpy() - (START - 40)
        money = {money_column(k): wide[np.arange(len(rows)), at + k] for k in months}
        return rows.assign(**money, score=np.nan, score_age=np.nan, next_score=np.nan, next_age=np.nan)

    def census(self, data: Linked, caps: Mapping[str, float]) -> Census:
        panel, last = data.panel, int(data.panel["month"].max())
        rows = panel.assign(money=panel["outcome"] * panel["weight"])
        now, months = rows[rows["month"] == last].groupby("segment"), rows.groupby("segment")["weight"].sum()
        gone = rows[rows["voluntary"]].drop_duplicates("customer").groupby("segment")["weight"].sum()
        return Census(
            segments=pd.DataFrame(
                {"customers": now["weight"].sum(), "money": now["money"].sum(), "months": months, "exits": gone}
            ).fillna(0.0),
            first=int(panel["month"].min()),
            last=last,
            rows=len(panel),
            scored=0,
            scored_customers=0,
            records_exits=bool(panel["voluntary"].any()),
            defects=dict.fromkeys(DEFECTS, 0),
        )


def experiment(
    *,
    customers: int = 600,
    seed: int = 1,
    effect: float | dict[str, float] = 0.06,
    by_place: int = 0,
    shock: float = 0.0,
    saved: float = 0.0,
    lost: tuple[float, float] = (0.0, 0.0),
    takes: tuple[float, float] | None = None,
    fade: float = 0.0,
    planned: float | None = 0.5,
    arms: tuple[str, ...] = ("control", "call"),
    answers: tuple[float, float] | None = None,
    late: int = 0,
    by_engine: bool = False,
    **choices: object,
) -> Linked:
    """Simulate customers of two segments whose money drifts on its own, a lot, and what it does to them."""
    rng = np.random.default_rng(seed)
    who = np.arange(customers)
    segment = np.where(rng.random(customers) < 0.4, "gold", "mass")
    place = who % by_place if by_place else rng.integers(0, 12, customers)
    deal = rng.permutation(by_place) if by_place else rng.permutation(customers)
    arm = (deal % len(arms))[place] if by_place else deal % len(arms)
    treated = arm == 1
    lift = np.array([effect if isinstance(effect, float) else effect[each] for each in segment])
    share = np.ones(customers) if takes is None else (rng.random(customers) < np.where(treated, *takes)).astype(float)
    push = lift * (treated if takes is None else share)
    drift = 0.03 * rng.standard_normal(customers)
    moment = LOT + (rng.integers(0, late + 1, customers) if late else np.zeros(customers, dtype=int))
    luck = shock * rng.standard_normal(max(by_place, 12))[place]
    leave = rng.random((MONTHS, customers)) < 0.01 * np.where(treated, 1 - saved, 1)
    level = np.exp(np.where(segment == "gold", 11.0, 9.0) + rng.standard_normal(customers))
    gone = np.full(customers, np.nan)
    blocks = []
    for k in range(MONTHS):
        month = START + k
        after = month - moment
        here = np.isnan(gone)
        on = np.where(after > 0, push * (1 - fade * (after - 1)) + luck, 0.0)
        money = level * np.exp(drift * k + 0.1 * rng.standard_normal(customers)) * (1 + on)
        blocks.append(
            pd.DataFrame(
                {"customer": who, "month": month, "segment": segment, "unit": [f"P{each:02d}" for each in place]}
            ).assign(outcome=money, weight=np.where(segment == "gold", 1.0, 9.0))[here]
        )
        gone = np.where(here & (after > 0) & leave[k], month, gone)
    frame = pd.concat(blocks, ignore_index=True)
    if answers:
        given = rng.random(customers) < np.where(treated, *answers)
        score = np.clip(np.rint(7 + 0.5 * treated + 1.5 * rng.standard_normal(customers)), 0, 10)
        age = frame["month"] - (moment + 4)[frame["customer"]]
        known = given[frame["customer"]] & (age >= 1)
        frame["score"] = np.where(known, score[frame["customer"]], np.nan)
        frame["score_age"] = np.where(known, age, np.nan)
    silent = rng.random(customers) < np.where(treated, *lost)
    cut = silent[frame["customer"]] & (frame["month"] > LOT + 6)
    frame = frame[~cut].assign(exit_month=gone[frame.loc[~cut, "customer"]])
    frame["exit_month"] = frame["exit_month"].where(~silent[frame["customer"]])
    frame["voluntary"] = frame["exit_month"].notna()
    date = pd.to_datetime([f"{m // 12}-{m % 12 + 1:02d}-10" for m in moment])
    rows = pd.DataFrame({"experiment": "call", "customer": who, "arm": np.array(arms)[arm], "date": date})
    if planned is not None:
        rows["planned"] = np.where(arm == 0, 1 - planned, planned) if len(arms) == 2 else 1 / len(arms)
    if takes is not None:
        rows["taken"] = share.astype(int)
    data = linked_from_frame(frame, records={"arms": rows}, **choices)
    return data if by_engine else quick(data)


def quick(data: Linked) -> Linked:
    """Take the engine from a panel."""
    return dataclasses.replace(data, views=Quick(records_by_name=data.views.records_by_name))


def held(panel: pd.DataFrame, rows: pd.DataFrame) -> Linked:
    """Hold a panel and the rows of its experiment."""
    return quick(linked_from_frame(panel, records={"arms": rows}))


def test_the_quick_views_are_those_of_the_engine():
    slow = experiment(customers=300, by_engine=True, takes=(0.7, 0.1), late=2)
    one, other = (Experiment().fit(each, rng=1) for each in (slow, quick(slow)))
    np.testing.assert_allclose(one.draws, other.draws, rtol=1e-9)
    np.testing.assert_allclose(one.shares, other.shares, rtol=1e-9)
    assert [each.sentence() for each in one.checks] == [each.sentence() for each in other.checks]


def test_it_finds_the_effect_and_says_how_sure_it_is():
    effect = Experiment(treated="call").fit(experiment(effect={"gold": 0.10, "mass": 0.04}), rng=1)
    found = effect.summary()
    assert effect.grade is Grade.A
    for group, truth in {"gold": 0.10, "mass": 0.04}.items():
        assert found.loc[group, "low"] - 0.02 < truth * 1.05 < found.loc[group, "high"] + 0.02
    assert check(effect, "ROX-J01").verdict is Verdict.PASS
    assert effect.path.shape == (4000, 2, 12)
    assert effect.path_months == tuple(range(1, 13))
    assert effect.estimand.horizon == 12
    assert effect.estimand.includes_exit


def test_over_many_lots_intervals_hold_and_the_mean_is_right():
    """Money of those who are treated is 6% more, and about 1% of everybody's is gone each month."""
    estimates, covered, narrower = [], [], []
    ask = Experiment(window=(1, 6), prior_sd=1.0, prior_between_segments=1.0, draws=400)
    for seed in range(30):
        data = experiment(customers=400, seed=seed, effect=0.06)
        raw = ask.fit(data, rng=1).tables["rivals"]
        estimates.append(raw.loc["adjusted", "estimate"])
        covered.append(abs(raw.loc["adjusted", "estimate"] - 0.0605) < 1.645 * raw.loc["adjusted", "se"])
        narrower.append(raw.loc["adjusted", "se"] / raw.loc["difference_in_means", "se"])
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - 0.0605) < 2.5 * error
    assert np.mean(covered) > 0.75
    assert np.mean(narrower) < 0.97


def test_whoever_leaves_counts_as_zero():
    kept = Experiment().fit(experiment(customers=1500, effect=0.0, saved=1.0), rng=1)
    outcomes = kept.tables["outcomes"]
    assert outcomes.loc["left", "estimate"] == pytest.approx(-0.11, abs=0.035)
    assert outcomes.loc["ratio", "estimate"] == pytest.approx(0.06, abs=0.03)
    assert outcomes.loc["left", "p_adjusted"] < 0.01
    assert np.isnan(outcomes.loc["ratio", "p_adjusted"])


def test_a_lot_of_the_wrong_size_is_refused():
    with pytest.raises(FitError, match="ROX-J01"):
        Experiment().fit(experiment(planned=0.35), rng=1)
    unplanned = Experiment().fit(experiment(planned=None), rng=1)
    assert check(unplanned, "ROX-J02").verdict is Verdict.NOTE


def test_customers_missing_in_one_arm_cost_a_grade_and_are_bounded():
    effect = Experiment().fit(experiment(lost=(0.02, 0.15), customers=900), rng=1)
    assert check(effect, "ROX-J06").verdict is Verdict.DEMOTE
    assert effect.grade is Grade.B
    row = effect.tables["attrition"].iloc[0]
    assert row["missing_control"] - row["missing_treated"] == pytest.approx(0.13, abs=0.04)
    assert row["interval_low"] < row["low"] < 0.063 < row["high"] < row["interval_high"]
    even = Experiment().fit(experiment(lost=(0.05, 0.05), customers=900), rng=1)
    assert check(even, "ROX-J06").verdict is Verdict.PASS


def test_places_that_were_drawn_are_seen_and_widen_the_errors():
    drawn = Experiment().fit(experiment(by_place=20, shock=0.05, customers=800), rng=1)
    assert check(drawn, "ROX-J07").verdict is Verdict.NOTE
    assert drawn.counts["clusters"] == 20
    assert check(drawn, "ROX-J09").verdict is Verdict.NOTE
    alone = experiment(by_place=20, shock=0.05, customers=800)
    hidden = dataclasses.replace(alone, panel=alone.panel.assign(unit=None))
    naive = Experiment().fit(hidden, rng=1)
    assert drawn.overall.std() > 1.5 * naive.overall.std()
    assert check(naive, "ROX-J07").verdict is Verdict.PASS
    few = Experiment().fit(experiment(by_place=8, customers=600), rng=1)
    assert check(few, "ROX-J08").verdict is Verdict.DEMOTE
    assert few.grade is Grade.B


def test_the_effect_on_those_who_take_it():
    effect = Experiment().fit(experiment(takes=(0.6, 0.1), effect=0.10, customers=1500), rng=1)
    row = effect.tables["compliance"].iloc[0]
    assert row["difference"] == pytest.approx(0.5, abs=0.07)
    assert row["low"] < 0.105 < row["high"]
    assert row["cace"] == pytest.approx(
        effect.tables["rivals"].loc["adjusted", "estimate"] / row["difference"], rel=1e-6
    )
    assert check(effect, "ROX-J14").verdict is Verdict.NOTE
    full = Experiment().fit(experiment(takes=(1.0, 0.0)), rng=1).tables
    assert full["compliance"].loc["all", "cace"] == pytest.approx(full["rivals"].loc["adjusted", "estimate"], rel=1e-6)
    weak = Experiment().fit(experiment(takes=(0.12, 0.10), customers=400), rng=1)
    assert check(weak, "ROX-J15").verdict is Verdict.NOTE


def test_an_effect_that_wears_off_is_seen():
    fading = Experiment().fit(experiment(effect=0.3, fade=0.09, customers=1000), rng=1)
    assert check(fading, "ROX-J12").verdict is Verdict.NOTE
    assert check(fading, "ROX-J12").values["slope"] == pytest.approx(-2.7, abs=0.6)
    steady = Experiment().fit(experiment(customers=1000), rng=1)
    assert check(steady, "ROX-J12").verdict is Verdict.PASS


def test_answers_are_compared_and_bounded():
    outcomes = Experiment().fit(experiment(answers=(0.5, 0.5), customers=900, by_engine=True), rng=1).tables["outcomes"]
    score = outcomes.loc["score"]
    assert score["estimate"] == pytest.approx(0.5, abs=0.4)
    assert score["bound_low"] < score["low"] < score["high"] < score["bound_high"]
    changed = Experiment().fit(experiment(answers=(0.7, 0.4), customers=900, by_engine=True), rng=1)
    assert check(changed, "ROX-J18").values["answers"] == pytest.approx(30, abs=8)


def test_several_arms_are_each_compared_with_control():
    data = experiment(arms=("control", "call", "gift"), customers=1200)
    with pytest.raises(FitError, match="name one: treated='call'"):
        Experiment().fit(data)
    effect = Experiment(treated="call").fit(data, rng=1)
    arms = effect.tables["arms"]
    assert arms.loc["call", "estimate"] == pytest.approx(effect.tables["rivals"].loc["adjusted", "estimate"], rel=1e-9)
    assert abs(arms.loc["gift", "estimate"]) < 2.5 * arms.loc["gift", "se"]
    assert (arms["p_adjusted"] >= arms["p"]).all()


def test_a_lot_drawn_within_strata_is_compared_within_them():
    """Shares differ between strata that also trend apart: without them the difference in means is wrong."""
    data = experiment(customers=2000, planned=None, seed=4)
    rows = data.views.records_by_name["arms"]
    rng = np.random.default_rng(4)
    stratum = rng.random(2000) < 0.5
    treated = rng.random(2000) < np.where(stratum, 0.8, 0.2)
    panel = data.panel.copy()
    after = panel["month"] > LOT
    panel.loc[after, "outcome"] *= np.where(stratum[panel.loc[after, "customer"]], 1.5, 1.0)
    rows = rows.assign(arm=np.where(treated, "call", "control"))
    records = rows.assign(
        stratum=np.where(stratum, "a", "b"),
        planned=np.where(stratum, 0.8, 0.2) * treated + np.where(stratum, 0.2, 0.8) * ~treated,
    )
    plain = Experiment(adjust=False)
    inside = plain.fit(held(panel, records), rng=1)
    across = plain.fit(held(panel, rows), rng=1)
    row = inside.tables["rivals"].loc["adjusted"]
    assert abs(row["estimate"]) < 0.15 < across.tables["rivals"].loc["adjusted", "estimate"]
    assert check(inside, "ROX-J01").verdict is Verdict.PASS


def test_places_drawn_in_pairs_do_not_pass_for_certain():
    """A place alone in its pair and arm is fitted exactly by the pair; its luck must stay in the error."""
    data = experiment(by_place=20, shock=0.05, customers=800)
    rows = data.views.records_by_name["arms"]
    place = rows["customer"] % 20
    first = np.random.default_rng(1).random(10) < 0.5
    arm = np.where((place // 2).map(dict(enumerate(first))).to_numpy() == (place % 2 == 0), "call", "control")
    pairs = rows.assign(arm=arm, stratum=(place // 2).astype(str))
    paired, plain = (Experiment().fit(held(data.panel, each), rng=1) for each in (pairs, pairs.drop(columns="stratum")))
    np.testing.assert_allclose(paired.tables["rivals"]["se"], plain.tables["rivals"]["se"], rtol=1e-9)
    assert check(paired, "ROX-J11").verdict is Verdict.NOTE


def test_shares_that_move_with_the_month_are_seen():
    data = experiment(customers=1200, late=1, planned=None)
    rows = data.views.records_by_name["arms"]
    late = rows["date"] > rows["date"].min()
    more = np.random.default_rng(2).random(1200) < np.where(late, 0.8, 0.3)
    moved = Experiment().fit(held(data.panel, rows.assign(arm=np.where(more, "call", "control"))), rng=1)
    assert check(moved, "ROX-J03").verdict is Verdict.DEMOTE
    assert moved.grade is Grade.B


def test_arms_that_differed_before_are_no_lot():
    data = experiment(customers=800, planned=None)
    start = data.panel[data.panel["month"] == LOT - 1].set_index("customer")["outcome"]
    rich = start.rank(pct=True).reindex(range(800)).fillna(0.5).to_numpy()
    rows = data.views.records_by_name["arms"]
    rows = rows.assign(arm=np.where(np.random.default_rng(1).random(800) < 0.2 + 0.6 * rich, "call", "control"))
    chosen = Experiment().fit(held(data.panel, rows), rng=1)
    assert check(chosen, "ROX-J04").verdict is Verdict.DEMOTE
    assert chosen.grade > Grade.A


def test_the_month_of_the_lot_may_differ_and_late_ones_are_left_out():
    effect = Experiment().fit(experiment(customers=900, late=2), rng=1)
    (window,) = [step for step in effect.trail if step.name == "window"]
    assert 200 < window.lost < 400
    with pytest.raises(FitError, match=r"(?s)to the end of the window.*ask for window=\(1, 13\), or wait"):
        Experiment(window=(1, 20)).fit(experiment())
    assert len(Experiment(window=(1, 13)).fit(experiment(), rng=1).groups) == 2


def test_nothing_after_the_lot_is_a_covariate():
    """Money after the lot is dealt anew between customers: what is adjusted for must not move."""
    data = experiment(customers=300)
    later = data.panel["month"] > LOT
    other = data.panel.copy()
    other.loc[later, "outcome"] = np.random.default_rng(1).permutation(other.loc[later, "outcome"].to_numpy())
    ask = {"experiment": None, "treated": None, "control": None, "window": (1, 12), "base": 3, "cap": 3.0}
    arms, again = (read_arms(each, **ask) for each in (data, dataclasses.replace(data, panel=other)))
    pd.testing.assert_frame_equal(arms.before, again.before)
    np.testing.assert_array_equal(arms.block, again.block)
    np.testing.assert_array_equal(arms.base, again.base)
    assert not np.allclose(arms.ratio, again.ratio)


def test_the_order_of_rows_the_unit_of_money_and_the_seed():
    data = experiment(customers=300)
    ask = Experiment(draws=400)
    first, again = ask.fit(data, rng=3), ask.fit(data, rng=3)
    np.testing.assert_array_equal(first.draws, again.draws)
    mixed = dataclasses.replace(data, panel=data.panel.sample(frac=1, random_state=1).assign())
    scaled = dataclasses.replace(data, panel=data.panel.assign(outcome=data.panel["outcome"] * 8))
    for other in (mixed, scaled):
        np.testing.assert_allclose(ask.fit(other, rng=3).draws, first.draws, atol=1e-9)


def test_small_segments_are_left_out_and_said():
    data = experiment(customers=500)
    panel = data.panel.assign(segment=np.where(data.panel["customer"] < 40, "rare", data.panel["segment"]))
    effect = Experiment().fit(dataclasses.replace(data, panel=panel), rng=1)
    assert effect.groups == ("gold", "mass")
    assert "rare" in check(effect, "ROX-J10").sentence()


def with_lot(data: Linked, treated: np.ndarray, growth: np.ndarray, **columns: object) -> Linked:
    """Draw the arms anew, and let money of some customers grow whatever their arm."""
    panel = data.panel.copy()
    after = panel["month"] > LOT
    panel.loc[after, "outcome"] *= 1 + growth[panel.loc[after, "customer"]]
    rows = data.views.records_by_name["arms"].assign(arm=np.where(treated, "call", "control"), **columns)
    return held(panel, rows)


def test_small_strata_are_merged_with_those_of_their_own_share():
    """Strata of six with one or five treated, which grow apart: read as one they would show growth as an effect."""
    rng = np.random.default_rng(3)
    who = np.arange(1800)
    many = who // 6 % 2 == 1
    place = rng.permuted(np.tile(np.arange(6), (300, 1)), axis=1).ravel()
    treated = place < np.where(many, 5, 1)
    data = experiment(customers=1800, planned=None, effect=0.0)
    stratum = pd.Series(who // 6).astype(str)
    for planned in ({}, {"planned": np.where(many == treated, 5 / 6, 1 / 6)}):
        found = Experiment(window=(1, 6)).fit(with_lot(data, treated, 0.5 * many, stratum=stratum, **planned), rng=1)
        row = found.tables["rivals"].loc["adjusted"]
        assert abs(row["estimate"]) < 0.06
        assert check(found, "ROX-J11").verdict is Verdict.NOTE
        assert found.grade is Grade.A


def test_strata_that_no_other_resembles_are_not_compared_at_grade_a():
    who = np.arange(600)
    odd = who < 60
    treated = np.where(odd, who != 0, who % 2 == 0)
    data = experiment(customers=600, planned=None)
    lot = {"stratum": np.where(odd, "b", "a")}
    found = Experiment(window=(1, 6)).fit(with_lot(data, treated, 0.5 * odd, **lot), rng=1)
    assert check(found, "ROX-J23").verdict is Verdict.DEMOTE
    assert found.grade is Grade.D
    planned = np.where(odd, np.where(treated, 0.98, 0.02), 0.5)
    with pytest.raises(FitError, match="no other stratum has the planned shares"):
        Experiment(window=(1, 6)).fit(with_lot(data, treated, 0.5 * odd, planned=planned, **lot))


def test_a_stratum_without_an_arm_is_left_out_or_refused():
    who = np.arange(900)
    lost = who >= 700
    treated = lost | (who % 2 == 0)
    data = experiment(customers=900, planned=None)
    lot = {"stratum": np.where(lost, "b", "a")}
    found = Experiment(window=(1, 6)).fit(with_lot(data, treated, 0.5 * lost, **lot), rng=1)
    (step,) = [each for each in found.trail if each.name == "strata"]
    assert 150 < step.lost <= 200
    row = found.tables["rivals"].loc["adjusted"]
    plain = Experiment(window=(1, 6)).fit(with_lot(data, treated, 0.0 * lost, **lot), rng=1).tables["rivals"]
    for name in ("estimate", "se"):
        assert row[name] == pytest.approx(plain.loc["adjusted", name], rel=1e-9)
    with pytest.raises(FitError, match="ROX-J01"):
        Experiment(window=(1, 6)).fit(with_lot(data, treated, 0.5 * lost, planned=0.5, **lot))
    with pytest.raises(FitError, match="No stratum"):
        Experiment().fit(with_lot(data, treated, 0.0 * lost, stratum=np.where(treated, "x", "y")))


def test_planned_shares_that_are_partly_unknown_still_tell():
    data = experiment(planned=None)
    treated = np.random.default_rng(7).random(600) < 0.6
    planned = np.where(np.arange(600) == 0, np.nan, 0.5)
    with pytest.raises(FitError, match="ROX-J01"):
        Experiment().fit(with_lot(data, treated, np.zeros(600), planned=planned))


def test_many_small_strata_of_an_honest_lot_have_the_planned_sizes():
    """One in twenty treated, strata of three: by themselves their chi-squared would refuse every third lot."""
    ask = {"experiment": None, "treated": None, "control": None, "window": (1, 6), "base": 3, "cap": 3.0}
    arms = read_arms(experiment(customers=200), **ask)
    who = np.arange(1500)
    for seed in range(20):
        treated = np.random.default_rng(seed).random(1500) < 0.05
        lot = pd.DataFrame({"unit": who, "arm": np.where(treated, "call", "control"), "block": who // 3})
        lot["planned"] = np.where(treated, 0.05, 0.95)
        assert lot_check(dataclasses.replace(arms, lot=lot)).verdict is Verdict.PASS


def test_customers_at_a_wrong_place_do_not_hide_that_places_were_drawn():
    data = experiment(by_place=20, shock=0.05, customers=600)
    arm = data.views.records_by_name["arms"].set_index("customer")["arm"]
    other = next(place for place in range(20) if arm[place] != arm[0])
    for unit, fault in ((f"P{other:02d}", "1 customers of 1 places"), (None, "1 customers have no place")):
        panel = data.panel.assign(unit=data.panel["unit"].where(data.panel["customer"] != 0, unit))
        with pytest.raises(DataError, match=fault):
            Experiment().fit(dataclasses.replace(data, panel=panel))


def test_customers_drawn_one_by_one_do_not_pass_for_places():
    """The law of the statistic holds for places of few customers and lots of few treated."""
    rng = np.random.default_rng(5)
    for units, size, share in ((40, 30, 0.5), (300, 3, 0.05), (200, 2, 0.5)):
        n = units * size
        unit, block = pd.Series(np.arange(n) // size), np.arange(n) // (n // 2)
        p = [together(unit, pd.Series(rng.permutation(np.arange(n) < share * n)), block) for _ in range(60)]
        assert min(p) > 1e-4
        assert 0.35 < np.mean(p) < 0.65


def test_money_lost_in_one_arm_of_one_segment_and_the_other_of_another():
    data = experiment(customers=1200)
    arm = data.views.records_by_name["arms"]["arm"].to_numpy() == "call"
    gold = data.panel.drop_duplicates("customer").set_index("customer")["segment"].reindex(range(1200)) == "gold"
    often = np.where(gold, 0.5, 1 / 12)  # so that the weighted gap is nought: gold are few and each counts as one
    silent = (gold.to_numpy() == arm) & (np.random.default_rng(7).random(1200) < often)
    late = data.panel["month"] > LOT + 6
    panel = data.panel[~(silent[data.panel["customer"]] & late)]
    panel = panel.assign(exit_month=panel["exit_month"].where(~silent[panel["customer"]]))
    found = Experiment().fit(dataclasses.replace(data, panel=panel), rng=1)
    row = found.tables["attrition"].iloc[0]
    assert row["segment"] == "gold"
    assert row["segment_gap"] > 0.3
    evened = found.tables["attrition"].assign(gap=0.0)
    assert attrition_check(evened).verdict is Verdict.DEMOTE
    assert attrition_check(evened.assign(segment_p=0.2)).verdict is Verdict.PASS
    assert "gold" in check(found, "ROX-J06").sentence()


def test_doubts_about_the_data_cost_a_grade():
    data = experiment(customers=400)
    doubt = Check(code="ROX-J08", verdict=Verdict.DEMOTE, values={"treated": 1, "control": 1})
    assert Experiment().fit(dataclasses.replace(data, checks=(*data.checks, doubt)), rng=1).grade is Grade.B


def test_money_that_does_not_move_is_refused_in_words():
    data = experiment(customers=300)
    for money in (100.0, 100.0 + 10 * (data.panel["month"] > LOT)):
        panel = data.panel.assign(outcome=money, exit_month=np.nan, voluntary=False)
        panel = panel[panel["customer"].isin(panel.loc[panel["month"] == START + MONTHS - 1, "customer"])]
        with pytest.raises(FitError, match="no error that could be estimated"):
            Experiment().fit(dataclasses.replace(data, panel=panel))


def test_questions_that_cannot_be_asked():
    with pytest.raises(FitError, match=r"(?s)cap is 0.*window is"):
        Experiment(cap=0, window=(0, 3))
    data = experiment(customers=200)
    with pytest.raises(FitError, match="no experiment 'x'"):
        Experiment(experiment="x").fit(data)
    with pytest.raises(FitError, match="control is 'none'"):
        Experiment(control="none").fit(data)
    rows = data.views.records_by_name["arms"]
    with pytest.raises(DataError, match="5 customers were drawn twice"):
        Experiment().fit(held(data.panel, pd.concat([rows, rows.iloc[:5]])))
    with pytest.raises(FitError, match="no arm is called 'control'"):
        Experiment().fit(held(data.panel, rows.assign(arm=rows["arm"] + "s")))
    with pytest.raises(FitError, match="No segment"):
        Experiment().fit(experiment(customers=50))
    with pytest.raises(FitError, match="there is only the arm") as caught:
        Experiment(control="none").fit(held(data.panel, rows.assign(arm="call")))
    assert len(caught.value.faults) == 1
    three = held(data.panel, rows.assign(arm=np.array(list("abc"))[np.arange(len(rows)) % 3]))
    with pytest.raises(FitError, match=r"(?s)control='a'.*treated='b'"):
        Experiment().fit(three)
    with pytest.raises(FitError, match="control='b'"):
        Experiment(treated="a").fit(three)


def test_sentences_and_record_hold_together(tmp_path):
    effect = Experiment().fit(
        experiment(answers=(0.6, 0.5), takes=(0.7, 0.1), by_place=14, customers=900, by_engine=True), rng=1
    )
    for each in effect.checks:
        assert "{" not in each.sentence("en") + each.sentence("zh")
    again = type(effect).load(effect.save(tmp_path / "effect.npz"))
    assert again.grade is effect.grade
    looks = effect.tables["looks"]
    assert looks.loc["any_time", "low"] < looks.loc["one_look", "low"]


def test_the_example_runs():
    assert doctest.testmod(rox.models.experiment).failed == 0
