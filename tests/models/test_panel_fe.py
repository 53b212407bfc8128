"""Movements within customers: exact on unbalanced panels, unbiased where confounding is fixed, honest otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from linearmodels import PanelOLS

from rox.core.check import Verdict
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.models.answer_table import answer_table
from rox.models.panel_fe import PanelFE, regressed_within
from rox.models.reliability import answer_reliability, reliability_of
from rox.models.score_gap import ScoreGap
from rox.models.slope import Slope
from rox.numerics.panel import within_regression
from tests.models.conftest import START, answered_panel, check, linked_from


def within_slope(rows: pd.DataFrame, controls: tuple[str, ...] = ()) -> Slope:
    """Regress money on the score within customers and months, from rows with ``customer``, ``month`` and the rest."""
    data = linked_from(rows.assign(segment="all", weight=1.0, score_age=1.0), controls=controls)
    answers = answer_table(data, age=1, controls=controls, offsets=()).repeated()
    return regressed_within(answers, controls).fits["all"]


class TestPublished:
    def test_grunfeld_two_way(self, parity):
        """Grunfeld investment with firm and year effects; R's plm, Baltagi (2013)."""
        folder, ref = parity("p01_grunfeld")
        d = pd.read_csv(folder / "grunfeld.csv")
        d = d.assign(customer=d["firm"], month=d["year"], outcome=d["inv"], score=d["value"])
        assert within_slope(d, ("capital",)).value == pytest.approx(ref["twoway.value"]["value"], rel=1e-7)

    def test_vella_verbeek_wages(self, parity):
        """Vella & Verbeek (1998) as in Wooldridge, Table 14.2: union .080, clustered by person."""
        folder, ref = parity("p03_wagepan")
        d = pd.read_csv(folder / "wagepan.csv")
        d = d.assign(customer=d["nr"], month=d["year"], outcome=100 * d["lwage"], score=d["union"])
        fit = within_slope(d, ("expersq", "married"))
        assert fit.value / 100 == pytest.approx(ref["fe.union"]["value"], rel=1e-4)
        assert fit.se / 100 == pytest.approx(ref["fe.cluster.union.se"]["value"], rel=0.2)
        swapped = within_slope(d.assign(score=d["married"]), ("expersq", "union"))
        assert swapped.value / 100 == pytest.approx(ref["fe.married"]["value"], rel=1e-4)

    def test_agrees_with_linearmodels_and_exact_absorption_when_unbalanced(self):
        rows = answered_panel(200, 6, seed=11)
        rows = rows[(rows["score_age"] == 1) & (rows["segment"] == "a")].reset_index(drop=True)
        rows = rows[rows.groupby("customer")["score"].transform("size") > 1]
        rows["weight"] = 1.0 + rows["customer"] % 3
        rows["outcome"] = rows["outcome"].round(2)
        ours = within_slope(rows)
        theirs = PanelOLS(
            rows.set_index(["customer", "month"])["outcome"],
            rows.set_index(["customer", "month"])[["score"]],
            entity_effects=True,
            time_effects=True,
        ).fit(cov_type="clustered", cluster_entity=True)
        exact = within_regression(rows["outcome"], rows["score"], rows["customer"], time=rows["month"])
        assert ours.value == pytest.approx(theirs.params["score"], rel=1e-7)
        assert ours.value == pytest.approx(exact.coefficient[0], rel=1e-7)
        assert ours.se == pytest.approx(exact.se[0], rel=0.3)

    def test_weights_that_differ_within_a_customer(self):
        rows = answered_panel(200, 6, seed=12)
        rows = rows[(rows["score_age"] == 1) & (rows["segment"] == "a")].reset_index(drop=True)
        rows = rows[rows.groupby("customer")["score"].transform("size") > 1]
        weight = 1.0 + np.arange(len(rows)) % 4
        data = linked_from(rows.assign(segment="all", weight=weight))
        ours = regressed_within(answer_table(data, age=1, offsets=()), ()).fits["all"]
        exact = within_regression(rows["outcome"], rows["score"], rows["customer"], time=rows["month"], weights=weight)
        assert ours.value == pytest.approx(exact.coefficient[0], rel=1e-6)


class TestPanel:
    def test_finds_the_movement_where_the_level_is_confounded(self):
        data = linked_from(answered_panel(1500, 8, seed=2, taste=1.5))
        panel, gap = PanelFE().fit(data, rng=1), ScoreGap().fit(data, rng=1)
        table = panel.tables["coefficients"]
        for group, truth in (("a", 10.0), ("b", 40.0)):
            assert abs(table.loc[group, "estimate"] - truth) < 3 * table.loc[group, "se"]
        assert gap.tables["coefficients"].loc["a", "estimate"] > 25
        assert panel.estimand.question is Question.PULSE
        assert not panel.estimand.includes_exit
        assert panel.estimand.channels == {"expansion"}

    def test_unbiased_over_many_banks(self):
        found = []
        for seed in range(16):
            rows = answered_panel(120, 5, seed=seed, taste=1.0)
            rows = rows[(rows["score_age"] == 1) & (rows["segment"] == "a")]
            fit = within_slope(rows)
            found.append((fit.value, fit.se))
        values, errors = np.array(found).T
        assert abs(values.mean() - 10) < 3 * values.std(ddof=1) / 4
        assert values.std(ddof=1) == pytest.approx(errors.mean(), rel=0.4)

    def test_only_customers_who_answered_twice_are_used(self, sample):
        effect = PanelFE().fit(sample, rng=1)
        frame = sample.frame()
        answers = frame[frame["score_age"] == 1].groupby("customer").size()
        assert effect.counts["customers"] == int((answers > 1).sum())
        assert effect.counts["rows"] == int(answers[answers > 1].sum())
        assert check(effect, "ROX-A03").values["customers"] == effect.counts["customers"]
        assert effect.trail[-1].name == "repeated"
        assert effect.trail[-1].lost == int((answers == 1).sum())

    def test_a_control_known_at_the_start_enters_as_its_trend(self):
        frame = answered_panel(600, 6, seed=3)
        kind = (frame["customer"] // 2 % 3).astype(float)
        drift = 6.0 * kind * (frame["month"] - START)
        answered = frame["score"].notna()
        lift = 0.5 * kind * (frame["month"] - frame["score_age"] - START) / 6
        frame.loc[answered, "score"] = frame.loc[answered, "score"] + lift[answered]
        frame["outcome"] += drift
        data = linked_from(frame.assign(kind=kind), controls=("kind",))
        plain, held = PanelFE().fit(data, rng=1), PanelFE(controls=["kind"]).fit(data, rng=1)
        assert held.tables["coefficients"].loc["a", "estimate"] == pytest.approx(10, abs=3)
        assert plain.tables["coefficients"].loc["a", "estimate"] > 12

    def test_money_that_moves_the_score_is_seen(self):
        calm = PanelFE().fit(linked_from(answered_panel(1200, 8, seed=5)), rng=1)
        led = PanelFE().fit(linked_from(answered_panel(1200, 8, seed=5, follow_money=1.5)), rng=1)
        assert check(calm, "ROX-A08").verdict is Verdict.PASS
        assert check(led, "ROX-A08").verdict is Verdict.DEMOTE
        leads = led.tables["leads"]
        assert list(leads.index) == [-2, -1, 0, 1, 2]
        assert leads.loc[1, "estimate"] > 3 * leads.loc[1, "se"]
        assert abs(calm.tables["leads"].loc[1, "estimate"]) < 3 * calm.tables["leads"].loc[1, "se"]
        assert calm.tables["leads"].loc[0, "estimate"] == pytest.approx(calm.overall.mean(), rel=0.05)

    def test_everybody_answered_twice(self):
        frame = answered_panel(200, 4, seed=6)
        answers = frame[frame["score_age"] == 1].groupby("customer").size()
        keep = answers.index[answers > 1]
        effect = PanelFE().fit(linked_from(frame[frame["customer"].isin(keep)]), rng=1)
        assert check(effect, "ROX-A03").verdict is Verdict.PASS

    def test_a_segment_whose_answers_never_move_is_left_out(self):
        frame = answered_panel(300, 5, seed=6)
        still = (frame["segment"] == "b") & (frame["customer"] > 9) & frame["score"].notna()
        frame.loc[still, "score"] = (frame["customer"] % 11).astype(float)
        effect = PanelFE().fit(linked_from(frame), rng=1)
        assert effect.groups == ("a",)
        assert "b (<10)" in check(effect, "ROX-A06").sentence()

    def test_nobody_answered_twice(self):
        frame = answered_panel(200, 1, seed=6, every=2)
        with pytest.raises(FitError, match="No customer gave two different answers"):
            PanelFE().fit(linked_from(frame), rng=1)


class TestNoise:
    def test_finds_the_parts_of_an_answer(self):
        rng = np.random.default_rng(4)
        customers, waves = 6000, 8
        lasting = rng.standard_normal((customers, 1)) * np.sqrt(1.5)
        passing = np.zeros((customers, waves))
        passing[:, 0] = rng.standard_normal(customers)
        for wave in range(1, waves):
            passing[:, wave] = 0.9**3 * passing[:, wave - 1] + np.sqrt(1 - 0.9**6) * rng.standard_normal(customers)
        score = lasting + passing + 1.2 * rng.standard_normal((customers, waves))
        who, wave = np.nonzero(rng.random((customers, waves)) < 0.6)
        rows = pd.DataFrame({"customer": who, "segment": "a", "answered": 3 * wave, "score": score[who, wave]})
        found = answer_reliability(rows, np.random.default_rng(0))
        carried, moved = found.carried(6), found.moved(6)
        truth = (1.5 + 0.9**6) / (1.5 + 1 + 1.44)
        assert carried.value == pytest.approx(truth, abs=0.04)
        assert carried.low < truth < carried.high
        assert moved.low < (1 - 0.9**6) / (1 - 0.9**6 + 1.44) < moved.high

    def test_sums_give_what_the_rows_give(self, sample):
        table = answer_table(sample, age=1, offsets=())
        rows = table.linked.fetch(table.linked.panel)
        ours = reliability_of(table, np.random.default_rng(1))
        theirs = answer_reliability(rows, np.random.default_rng(1))
        assert ours.pairs == theirs.pairs
        np.testing.assert_allclose(ours.parts[0], theirs.parts[0], rtol=1e-9)

    def test_says_when_it_cannot_tell(self):
        frame = answered_panel(400, 2, seed=6)
        found = check(PanelFE().fit(linked_from(frame), rng=1), "ROX-E05")
        assert found.verdict is Verdict.NOTE
        assert (
            answer_reliability(
                frame[frame["score_age"] == 1].assign(answered=lambda rows: rows["month"] - 1), np.random.default_rng(0)
            )
            is None
        )
