"""Attempts to break estimates whose truth is written down in the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from rox.core.check import Grade, Verdict
from rox.core.effect import Effect
from rox.core.linked import Linked
from rox.models.answer_table import answer_table
from rox.models.answers import RESPONSE_WEIGHT
from rox.models.churn_cox import ChurnCox
from rox.models.falsify import falsify
from rox.models.hidden_causes import benchmarks, regression
from rox.models.lead_lag import LeadLag
from rox.models.panel_fe import PanelFE
from rox.models.response import with_response_weights
from rox.models.score_gap import ScoreGap
from rox.models.specifications import variants
from rox.testing import sample_linked
from tests.models.conftest import START, answered_panel, check, linked_from


@pytest.fixture(scope="module")
def sample() -> Linked:
    return sample_linked(seed=1)


def rows_of(data: Linked) -> pd.DataFrame:
    answers = answer_table(data, age=1).linked
    return answers.fetch(answers.panel)


def wealthy(customers: int = 1500, *, hidden: float, seed: int = 5, effect: float = 10.0) -> pd.DataFrame:
    """Customer-months in which a cause that nobody records moves both the score and the money."""
    rng = np.random.default_rng(seed)
    months, cause = 16, rng.standard_normal(customers)
    level = 500 + 60 * rng.standard_normal(customers)
    rows = []
    for step in range(months):
        said = step % 3 == 0
        score = np.clip(np.round(7 + hidden * cause + 1.5 * rng.standard_normal(customers)), 0, 10)
        answers = said & (rng.random(customers) < 0.6)
        rows.append((step, score, answers))
    held, when = np.full(customers, np.nan), np.full(customers, np.nan)
    blocks = []
    for step, score, answers in rows:
        age = np.where(step - when >= 1, step - when, np.nan)
        fresh = np.where(np.isnan(held), 7.0, held)
        money = level + 60 * hidden * cause + effect * (fresh - 7) + 15 * rng.standard_normal(customers)
        blocks.append(
            pd.DataFrame(
                {
                    "customer": np.arange(customers),
                    "month": START + step,
                    "outcome": money,
                    "score": np.where(np.isnan(age), np.nan, held),
                    "score_age": age,
                }
            )
        )
        held, when = np.where(answers, score, held), np.where(answers, step, when)
    return pd.concat(blocks, ignore_index=True)


@cache
def falsified(name: str) -> Effect:
    """The gap where a hidden cause makes it, and where there is none; salaries move with the cause or with nothing."""
    frame = wealthy(hidden=1.0, effect=0.0) if name == "confounded" else wealthy(hidden=0.0)
    noise = 100 + np.random.default_rng(8).standard_normal(len(frame))
    salary = frame.assign(outcome=frame["outcome"] * 0.1 if name == "confounded" else noise)
    control = linked_from(salary, outcome="salary")
    return falsify(ScoreGap(draws=400), linked_from(frame), negative_controls=[control], specifications=False, tilts=())


@cache
def reweighted(model: LeadLag | ChurnCox) -> Effect:
    """A model with one tilt of the silent customers, on the sample."""
    return falsify(model, sample_linked(seed=1), specifications=False, tilts=(0.15,))


class TestHiddenCauses:
    def test_a_cause_that_is_seen_nearly_removes_what_it_made(self):
        confounded, honest = (falsified(each) for each in ("confounded", "honest"))
        table = confounded.tables["hidden_causes"]
        assert check(confounded, "ROX-A18").verdict is Verdict.DEMOTE
        assert table.loc["money", "removes_all"] < 1
        assert check(honest, "ROX-A18").verdict is Verdict.PASS
        assert honest.tables["hidden_causes"].loc["money", "removes_all"] > 3
        assert check(honest, "ROX-A20").verdict is Verdict.PASS
        assert check(confounded, "ROX-A20").verdict is Verdict.DEMOTE

    def test_strengths_are_partial_shares(self, sample):
        """A benchmark's shares reproduce the slope that the regression has once the benchmark is in it."""
        reg = regression(answer_table(sample, age=1), controls=())
        short, se, _, _ = reg.fit(reg.columns())
        long, _, _, _ = reg.fit(reg.beside["money"])
        found = benchmarks(reg)["money"]
        shift = se * np.sqrt(reg.df * found.r2_outcome * found.r2_treatment / (1 - found.r2_treatment))
        assert abs(short - long) == pytest.approx(shift, rel=1e-9)

    def test_the_slope_is_the_models(self):
        """Without a history nothing is left out, and the slope is that of the model's own regression."""
        frame = wealthy(600, hidden=0.5)
        data = linked_from(frame[frame["month"] <= START + 2])
        reg = regression(answer_table(data, age=1), controls=())
        rows = data.frame().query("score_age == 1")
        rows = rows.assign(relative=rows["outcome"] / rows["outcome"].mean())
        exact = smf.wls("relative ~ score + C(month)", rows, weights=rows["weight"]).fit()
        assert set(rows["segment"]) == {"all"}
        assert reg.beside == {}
        assert reg.fit(reg.columns())[0] == pytest.approx(exact.params["score"], rel=1e-6)
        assert reg.fit(reg.columns())[1] == pytest.approx(exact.bse["score"], rel=1e-6)
        assert reg.df == exact.df_resid

    @pytest.mark.parametrize("within", [False, True])
    def test_partial_shares_are_those_of_the_rows(self, sample, within):
        answers = answer_table(sample, age=1, controls=("products",))
        answers = answers.repeated() if within else answers
        reg = regression(answers, controls=() if within else ("products",), within_customers=within)
        rows = answers.linked.fetch(answers.linked.panel)
        past = next(name for name in ("money_m12", "money_m9", "money_m6") if rows[name].notna().mean() >= 0.5)
        rows = rows[rows["money_m1"].notna() & rows[past].notna()]
        base = rows["segment"].map(rows.groupby("segment")["outcome"].mean())
        rows = rows.assign(y=rows["outcome"] / base, earlier=rows[past] / base)
        rows["growth"] = (rows["money_m1"] - rows[past]) / ((rows["money_m1"] + rows[past]) / 2)
        rows["cell"] = rows["segment"] + rows["month"].astype(str)
        absorb = "C(customer) + C(cell)" if within else "products + C(cell)"
        short = smf.wls(f"score ~ {absorb}", rows, weights=rows["weight"]).fit()
        long = smf.wls(f"score ~ earlier + {absorb}", rows, weights=rows["weight"]).fit()
        share = 1 - long.ssr / short.ssr
        assert reg.rows == len(rows)
        assert benchmarks(reg)["money"].r2_treatment == pytest.approx(share, rel=1e-5)

    def test_the_currency_does_not_matter(self):
        model = PanelFE(draws=400)
        frame = wealthy(600, hidden=0.5)
        one, other = (
            falsify(model, linked_from(frame.assign(outcome=factor * frame["outcome"])), specifications=False, tilts=())
            for factor in (1.0, 100.0)
        )
        pd.testing.assert_frame_equal(one.tables["hidden_causes"], other.tables["hidden_causes"], rtol=1e-6)

    def test_a_short_history_says_so(self):
        frame = wealthy(600, hidden=0.0)
        early = frame[(frame["month"] >= START) & (frame["month"] <= START + 2)]
        effect = falsify(ScoreGap(draws=400), linked_from(early), specifications=False, tilts=())
        assert check(effect, "ROX-A19").verdict is Verdict.NOTE

    def test_growth_after_answers_has_its_own(self):
        effect = reweighted(LeadLag(draws=400))
        assert {"ROX-A18"} <= {each.code for each in effect.checks}
        assert set(effect.tables["hidden_causes"].index) == {"money", "growth"}


class TestSpecifications:
    def test_every_choice_once_and_the_one_asked_first(self, sample):
        asked = ScoreGap(age=3, controls=())
        every = list(variants(asked, sample))
        assert every[0] == asked
        assert len({repr(each) for each in every}) == len(every)
        assert {each.age for each in every} == {1, 3}

    def test_open_controls_are_not_a_choice_of_their_own(self, sample):
        names = [repr(each.controls) for each in variants(PanelFE(), sample) if each.age == 1]
        assert len(names) == len(set(names))

    def test_the_curve_is_sorted_and_disagreement_lowers_the_grade(self):
        rng = np.random.default_rng(3)
        frame = answered_panel(400, 6, seed=4, slope={"a": 0.0, "b": 0.0})
        frame["outcome"] += rng.standard_normal(len(frame)) * 50
        effect = falsify(PanelFE(draws=400), linked_from(frame), tilts=())
        table = effect.tables["specifications"]
        signs = np.sign(table["estimate"])
        agree = float((signs == signs[table["asked"]].item()).mean())
        verdict = check(effect, "ROX-A21").verdict
        assert (verdict is Verdict.DEMOTE) == (agree < 0.9)
        assert agree < 0.9
        assert table["estimate"].is_monotonic_increasing
        assert table.loc[table["asked"], "estimate"].item() == pytest.approx(effect.overall.mean())
        assert check(effect, "ROX-A21").values["count"] == len(table)


class TestSilentCustomers:
    def test_weights_undo_answering_by_money(self):
        rng = np.random.default_rng(11)
        frame = wealthy(3000, hidden=0.0, seed=12)
        rich = frame.groupby("customer")["outcome"].transform("mean") > 500
        silent = rich & (rng.random(3000)[frame["customer"]] < 0.7)
        frame.loc[silent, ["score", "score_age"]] = np.nan
        data = linked_from(frame)
        plain = rows_of(data)
        weighted = rows_of(with_response_weights(data))
        everybody = float((frame["outcome"]).mean())
        before, after = (float(np.average(rows["outcome"], weights=rows["weight"])) for rows in (plain, weighted))
        assert before < everybody - 10
        assert abs(after - everybody) < 0.4 * abs(before - everybody)

    def test_the_tilt_weighs_the_happy_down(self, sample):
        flat, tilted = (with_response_weights(sample, tilt=each).frame() for each in (0.0, 0.3))
        rows = flat["score"].notna() & (flat["score_age"] == 1)
        ratio = (tilted[RESPONSE_WEIGHT] / flat[RESPONSE_WEIGHT])[rows]
        assert np.corrcoef(ratio, flat.loc[rows, "score"])[0, 1] < -0.5
        assert flat.loc[rows, RESPONSE_WEIGHT].mean() == pytest.approx(1)

    @pytest.mark.parametrize("model", [LeadLag(draws=400), ChurnCox(draws=400)])
    def test_every_model_uses_the_weights(self, model):
        effect = reweighted(model)
        table = effect.tables["response"]
        assert len(table) == 3
        assert table["estimate"].nunique() == 3
        assert check(effect, "ROX-A24").values["failed"] == 0

    def test_a_model_without_weights_is_not_credited(self, sample):
        effect = falsify(Stubborn(), sample, specifications=False)
        assert "ROX-A24" not in {each.code for each in effect.checks}
        assert "response" not in effect.tables


@dataclass(frozen=True)
class Stubborn:
    """A model that looks at no weight."""

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None):
        frame = data.frame()
        held = frame.drop(columns=RESPONSE_WEIGHT, errors="ignore")
        return ScoreGap(draws=400).fit(replace(data, panel=held, fetch=lambda rows: rows.copy()), rng=rng)


@pytest.mark.parametrize(("name", "verdict"), [("confounded", Verdict.DEMOTE), ("honest", Verdict.PASS)])
def test_an_outcome_that_moves_too_tells_of_a_common_cause(name, verdict):
    effect = falsified(name)
    assert check(effect, "ROX-A25").verdict is verdict
    assert list(effect.tables["negative_controls"].index) == ["salary"]
    assert effect.grade >= Grade.D


def test_a_hazard_ratio_has_an_e_value():
    effect = reweighted(ChurnCox(draws=400))
    values = check(effect, "ROX-A23").values
    ratio = max(values["hazard"], 1 / values["hazard"])
    assert values["point"] == pytest.approx(ratio + np.sqrt(ratio * (ratio - 1)))


def test_the_result_is_an_effect_like_any_other(tmp_path):
    small = sample_linked(customers=500, months=20, seed=2)
    one, other = (falsify(ScoreGap(draws=400), small, rng=3, specifications=False, tilts=()) for _ in range(2))
    assert one.as_record() == other.as_record()
    assert np.array_equal(one.draws, other.draws)
    assert len({check.code for check in one.checks}) == len(one.checks)
