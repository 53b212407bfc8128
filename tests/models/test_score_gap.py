"""The gap between happier and less happy customers: right slope, right units, and loud where it misleads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from rox.core.check import Grade, Verdict
from rox.core.errors import DataError, FitError, LeakageError
from rox.core.estimand import Question
from rox.core.units import Dose, Unit
from rox.models.panel_fe import PanelFE
from rox.models.score_gap import ScoreGap
from tests.models.conftest import START, answered_panel, check, linked_from


class TestGap:
    def test_recovers_the_slope_of_each_segment_and_weights_them_by_customers(self):
        data = linked_from(answered_panel(1500, 8, seed=2))
        effect = ScoreGap().fit(data, rng=1)
        table = effect.tables["coefficients"]
        for group, truth in (("a", 10.0), ("b", 40.0)):
            assert abs(table.loc[group, "estimate"] - truth) < 3 * table.loc[group, "se"]
            assert table.loc[group, "se"] < 3
        assert effect.shares == pytest.approx([0.75, 0.25])
        assert effect.overall.mean() == pytest.approx(0.75 * 10 + 0.25 * 40, abs=2)
        assert effect.baseline.loc["a", "customers"] == 750 * 30

    def test_declares_a_description_in_money_per_score_point(self, sample):
        effect = ScoreGap(age=2).fit(sample, rng=1)
        estimand = effect.estimand
        assert estimand.question is Question.GAP
        assert estimand.is_descriptive
        assert (estimand.unit, estimand.currency, estimand.dose) == (Unit.MONEY_PER_CUSTOMER, "CNY", Dose.SCORE_POINT)
        assert estimand.horizon == 2
        assert effect.grade >= Grade.D
        assert [step.name for step in effect.trail] == ["frame", "answered", "one_per_answer", "controls"]

    def test_each_answer_counts_once(self, sample):
        frame = sample.frame()
        effect = ScoreGap().fit(sample, rng=1)
        assert effect.counts["rows"] == int((frame["score_age"] == 1).sum())

    def test_controls_remove_what_they_explain(self):
        frame = answered_panel(1200, 6, seed=5, slope={"a": 0.0, "b": 0.0}, taste=1.2)
        level = frame.groupby("customer")["outcome"].transform("mean")
        data = linked_from(frame.assign(level=level), controls=("level",))
        without = ScoreGap(controls=()).fit(data, rng=1).tables["rivals"]["estimate"]
        held = ScoreGap().fit(data, rng=1).tables["rivals"]["estimate"]
        assert without["adjusted"] > 10
        assert abs(held["adjusted"]) < 0.15 * without["adjusted"]
        assert held["within_segments"] == pytest.approx(without["within_segments"])

    def test_text_controls_and_unit_effects_are_dummies(self):
        frame = answered_panel(600, 6, seed=8)
        frame["kind"] = np.where(frame["customer"] % 3 == 0, "x", np.where(frame["customer"] % 3 == 1, "y", "z"))
        data = linked_from(frame, controls=("kind",))
        effect = ScoreGap(unit_effects=True).fit(data, rng=1)
        rows = frame[(frame["score_age"] == 1) & (frame["segment"] == "a")].copy()
        rows["tenure"] = np.sqrt(rows["month"] - rows["opened"])
        by_hand = smf.ols("outcome ~ score + C(kind) + tenure + C(month) + C(unit)", rows).fit(
            cov_type="cluster", cov_kwds={"groups": rows["customer"]}
        )
        table = effect.tables["coefficients"].loc["a"]
        assert table["estimate"] == pytest.approx(by_hand.params["score"], rel=1e-7)
        assert table["se"] == pytest.approx(by_hand.bse["score"], rel=0.25)

    def test_customers_without_a_place_share_one(self):
        frame = answered_panel(400, 6, seed=8)
        frame.loc[frame["customer"] % 5 == 0, "unit"] = None
        effect = ScoreGap(unit_effects=True).fit(linked_from(frame), rng=1)
        assert np.isfinite(effect.overall).all()
        assert "within_units" not in ScoreGap().fit(linked_from(frame), rng=1).tables["rivals"].index

    def test_the_customers_who_pull_are_found(self):
        """The five left out are those whose absence, one by one, moves the estimate most."""
        frame = answered_panel(60, 6, seed=2)
        effect = ScoreGap().fit(linked_from(frame), rng=1)
        before = effect.tables["coefficients"]["estimate"].to_numpy() @ effect.shares
        rows = frame[frame["score_age"] == 1].assign(tenure=lambda rows: np.sqrt(rows["month"] - rows["opened"]))
        pulls = {}
        for segment, share in zip(effect.groups, effect.shares, strict=True):
            part = rows[rows["segment"] == segment]
            fit = smf.ols("score ~ tenure + C(month)", part).fit()
            left = smf.ols("outcome ~ score + tenure + C(month)", part).fit().resid
            pull = (fit.resid * left).groupby(part["customer"]).sum() / (fit.resid**2).sum() * share
            pulls |= pull.abs().to_dict()
        worst = sorted(pulls, key=pulls.get)[-5:]
        rest = rows[~rows["customer"].isin(worst)]
        again = sum(
            share * smf.ols("outcome ~ score + tenure + C(month)", rest[rest["segment"] == name]).fit().params["score"]
            for name, share in zip(effect.groups, effect.shares, strict=True)
        )
        moved = 100 * abs(again - before) / abs(before)
        assert check(effect, "ROX-T04").values["p"] == pytest.approx(moved, rel=1e-5)

    def test_score_points_and_nps_points_side_by_side(self, sample):
        effect = ScoreGap().fit(sample, rng=1)
        units = effect.tables["units"].loc["all"]
        assert 25 < units["shift"] < 50
        assert units["per_score"] / units["shift"] == pytest.approx(units["per_nps"], rel=0.01)
        assert units["per_nps_low"] < units["per_nps"] < units["per_nps_high"]
        assert effect.per_nps_point(rng=1).overall.mean() == pytest.approx(units["per_nps"], rel=0.02)
        assert "Per NPS point: CNY" in check(effect, "ROX-U03").sentence()

    def test_the_rate_between_units_by_month(self, bank_linked):
        effect = ScoreGap(draws=400).fit(bank_linked, rng=1)
        table = effect.tables["units_by_month"]
        assert len(table) > 3
        assert ((table["shift_low"] < table["shift"]) & (table["shift"] < table["shift_high"])).all()
        assert table["shift"].between(20, 60).all()
        assert (table["answers"] >= 200).all()

    def test_caps_are_named_in_the_estimand(self):
        frame = answered_panel(800, 6, seed=4)
        whale = frame["customer"] == 5
        frame.loc[whale, "outcome"] *= 1000
        data = linked_from(frame)
        plain, capped = ScoreGap().fit(data, rng=1), ScoreGap(caps={"a": 800.0, "b": 2500.0}).fit(data, rng=1)
        assert plain.estimand.aggregator == "mean"
        assert capped.estimand.aggregator == "capped_mean"
        assert capped.tables["coefficients"].loc["b", "se"] < 0.1 * plain.tables["coefficients"].loc["b", "se"]
        assert abs(capped.tables["coefficients"].loc["b", "estimate"] - 40) < 10
        with pytest.raises(FitError, match=r"(?s)a is -1.*no segment 'c'"):
            ScoreGap(caps={"c": 1.0, "a": -1.0}).fit(data, rng=1)

    def test_noise_is_taken_out_beside_the_headline(self):
        """Answers with noise of variance 1 on experience of variance 2: the slope is two thirds of the true one."""
        rng = np.random.default_rng(2)
        customers, waves = 4000, 4
        trait = 7 + np.sqrt(2) * rng.standard_normal(customers)
        blocks = []
        for wave in range(waves):
            score = trait + rng.standard_normal(customers)
            money = 1000 + 30 * (trait - 7) + 20 * rng.standard_normal(customers)
            row = {"customer": np.arange(customers), "month": START + 3 * wave, "outcome": money, "score": score}
            blocks.append(pd.DataFrame({**row, "score_age": 1.0}))
        data = linked_from(pd.concat(blocks))
        effect = ScoreGap(draws=400).fit(data, rng=1)
        rivals = effect.tables["rivals"]
        assert rivals.loc["adjusted", "estimate"] == pytest.approx(20, abs=1)
        for way in ("errors_in_variables", "previous_answer"):
            assert abs(rivals.loc[way, "estimate"] - 30) < 3.5 * rivals.loc[way, "se"]
        assert check(effect, "ROX-E06").values["high"] == pytest.approx(67, abs=4)
        known = ScoreGap(draws=400, noise_sd=1.0).fit(data, rng=1).tables["rivals"]
        assert known.loc["errors_in_variables", "estimate"] == pytest.approx(30, abs=1)
        drowned = ScoreGap(draws=400, noise_sd=1.6).fit(data, rng=1)
        assert "errors_in_variables" not in drowned.tables["rivals"].index
        assert check(drowned, "ROX-E07").verdict is Verdict.NOTE

    def test_a_score_that_is_no_nps_question_has_no_bridge(self, sample):
        scale = sample.study.scores["nps"].model_copy(update={"kind": "rating"})
        other = replace(sample, study=sample.study.model_copy(update={"scores": {"nps": scale}}))
        effect = ScoreGap().fit(other, rng=1)
        assert effect.shift is None
        assert effect.tables["units"]["per_nps"].isna().all()
        assert "ROX-U03" not in {each.code for each in effect.checks}

    def test_counts_have_no_currency(self):
        frame = answered_panel(400, 5, seed=1).assign(outcome=lambda rows: rows["outcome"].round().abs())
        effect = ScoreGap().fit(linked_from(frame, kind="count", outcome="contacts"), rng=1)
        assert (effect.estimand.unit, effect.estimand.currency) == (Unit.COUNT, "")

    def test_money_beside_the_answers_counts_every_answer_whatever_its_age(self):
        frame = answered_panel(500, 6, seed=1)
        answers = frame[frame["score_age"].isin([1, 2])].assign(month=lambda rows: rows["month"] // 3 * 3)
        answers = answers[answers["score_age"] <= answers["month"] - START + 1]
        data = linked_from(answers)
        beside = data.study.outcomes["aum"].model_copy(update={"table": "answers", "dated": "paid"})
        data = replace(data, study=data.study.model_copy(update={"outcomes": {"aum": beside}}))
        effect = ScoreGap().fit(data, rng=1)
        assert effect.counts["rows"] == len(answers)
        assert effect.estimand.horizon in (1, 2)
        assert [step.name for step in effect.trail] == ["frame", "answered"]

    def test_without_segments_everybody_is_one_group(self):
        effect = ScoreGap().fit(linked_from(answered_panel(400, 5, seed=1).drop(columns="segment")), rng=1)
        assert effect.groups == ("all",)
        assert list(effect.tables["units"].index) == ["all"]


class TestWarnings:
    def test_pooling_segments_shows_who_the_customers_are(self):
        frame = answered_panel(1200, 6, seed=3, slope={"a": 10.0, "b": 10.0})
        happier = frame["segment"] == "b"
        frame.loc[happier, "score"] = np.clip(frame.loc[happier, "score"] + 2, 0, 10)
        effect = ScoreGap().fit(linked_from(frame), rng=1)
        found = check(effect, "ROX-A02")
        assert found.verdict is Verdict.DEMOTE
        assert found.values["ratio"] > 3
        assert effect.tables["rivals"].loc["pooled", "estimate"] > 3 * effect.overall.mean()
        calm = ScoreGap().fit(linked_from(answered_panel(1200, 6, seed=3, slope={"a": 10.0, "b": 10.0})), rng=1)
        assert check(calm, "ROX-A02").verdict is Verdict.PASS

    def test_growth_before_the_answer_is_seen(self):
        calm = ScoreGap().fit(linked_from(answered_panel(1500, 8, seed=4)), rng=1)
        led = ScoreGap().fit(linked_from(answered_panel(1500, 8, seed=4, follow_money=1.5)), rng=1)
        assert check(led, "ROX-A05").verdict is Verdict.DEMOTE
        assert check(led, "ROX-A05").values["growth"] > 0
        assert check(calm, "ROX-A05").verdict is Verdict.PASS

    def test_no_history_no_placebo_and_that_is_said(self):
        frame = answered_panel(800, 1, seed=4, every=1)
        effect = ScoreGap().fit(linked_from(frame), rng=1)
        assert check(effect, "ROX-A09").verdict is Verdict.NOTE

    def test_one_enormous_customer_is_seen(self):
        frame = answered_panel(800, 6, seed=6)
        calm = check(ScoreGap().fit(linked_from(frame), rng=1), "ROX-T04")
        best = frame[frame["score_age"] == 1].groupby("customer")["score"].mean().idxmax()
        frame.loc[frame["customer"] == best, "outcome"] += 60_000
        loud = check(ScoreGap().fit(linked_from(frame), rng=1), "ROX-T04")
        assert calm.verdict is Verdict.PASS
        assert loud.verdict is Verdict.DEMOTE
        assert loud.values["p"] > 50

    def test_heavy_tails_are_named(self):
        frame = answered_panel(1000, 5, seed=7, slope={"a": 0.0, "b": 40.0})
        wealth = (1 - np.random.default_rng(0).random(1000)) ** (-1 / 1.3) * 1000
        heavy = frame["segment"] == "a"
        frame.loc[heavy, "outcome"] += wealth[frame.loc[heavy, "customer"]]
        effect = ScoreGap().fit(linked_from(frame), rng=1)
        assert check(effect, "ROX-T03").values["segments"].startswith("a (1.")
        assert (
            effect.tables["coefficients"].loc["a", "tail_index"]
            < 2
            < effect.tables["coefficients"].loc["b", "tail_index"]
        )

    @pytest.mark.parametrize("seed", range(4))
    def test_segments_whose_error_exceeds_the_estimate_are_named(self, seed):
        effect = ScoreGap().fit(linked_from(answered_panel(300, 4, seed=seed, slope={"a": 1.0, "b": 40.0})), rng=1)
        table = effect.tables["coefficients"]
        weak = [name for name in effect.groups if table.loc[name, "se"] > abs(table.loc[name, "estimate"])]
        found = check(effect, "ROX-T05")
        assert [part.split(" (")[0] for part in str(found.values.get("segments", "")).split(", ") if part] == weak
        assert (found.verdict is Verdict.NOTE) == bool(weak)

    def test_small_segments_are_left_out_and_named_without_their_number(self):
        frame = answered_panel(900, 5, seed=9)
        frame.loc[frame["customer"] < 8, "segment"] = "tiny"
        frame.loc[frame["customer"].between(8, 27), "segment"] = "small"
        effect = ScoreGap().fit(linked_from(frame), rng=1)
        found = check(effect, "ROX-A06")
        assert effect.groups == ("a", "b")
        assert "tiny (<10)" in found.sentence()
        assert "small (" in found.sentence("zh")
        with pytest.raises(FitError, match="No segment can be estimated"):
            ScoreGap().fit(linked_from(frame[frame["segment"].isin(["tiny", "small"])]), rng=1)

    def test_a_gap_larger_than_the_movement_within_customers(self, bank_linked):
        gap = ScoreGap().fit(bank_linked, rng=1)
        panel = PanelFE(controls=["products"]).fit(bank_linked, rng=1)
        assert gap.summary().loc["all", "low"] > 0
        assert gap.overall.mean() > 4 * panel.overall.mean()
        assert check(gap, "ROX-A05").verdict is Verdict.DEMOTE
        assert set(gap.groups) == {"mass", "gold", "platinum", "private", "private_diamond"}


class TestGuards:
    def test_a_score_of_its_own_month_is_refused(self, sample):
        frame = sample.frame()
        frame["score_age"] -= 1
        with pytest.raises(LeakageError, match="ROX-S01"):
            ScoreGap().fit(linked_from(frame, controls=("products",)), rng=1)

    def test_every_fault_of_a_panel_in_one_message(self):
        frame = answered_panel(300, 4, seed=1)
        frame.loc[5, "weight"] = 0
        frame.loc[6, "outcome"] = np.inf
        frame.loc[7, "segment"] = None
        twice = pd.concat([frame, frame.iloc[[0]]])
        with pytest.raises(DataError) as caught:
            ScoreGap().fit(linked_from(twice), rng=1)
        assert len(caught.value.faults) == 4

    def test_scores_may_not_be_rewritten_later(self):
        frame = answered_panel(300, 4, seed=1)
        later = frame["score_age"] == 2
        frame.loc[later, "score"] = 5.0
        with pytest.raises(LeakageError, match="change their value"):
            ScoreGap().fit(linked_from(frame), rng=1)

    def test_choices_that_do_not_fit(self, sample):
        with pytest.raises(FitError) as caught:
            ScoreGap(age=13, controls=["wealth"]).fit(sample, rng=1)
        assert len(caught.value.faults) == 2
        with pytest.raises(DataError, match="no score is linked"):
            ScoreGap().fit(linked_from(sample.frame().assign(score=np.nan, score_age=np.nan)), rng=1)
