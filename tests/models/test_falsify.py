"""Attempts to break estimates whose truth is written down in the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Grade, Verdict
from rox.core.linked import Linked
from rox.models.answers import RESPONSE_WEIGHT, answer_rows
from rox.models.churn_cox import ChurnCox
from rox.models.falsify import falsify
from rox.models.hidden_causes import benchmarks, regression
from rox.models.lead_lag import LeadLag
from rox.models.panel_fe import PanelFE
from rox.models.response import with_response_weights
from rox.models.score_gap import ScoreGap
from rox.models.slope import slope
from rox.models.specifications import variants
from rox.testing import check_estimator, sample_linked
from tests.models.conftest import START, answered_panel, check, linked_from


@pytest.fixture(scope="module")
def sample() -> Linked:
    return sample_linked(seed=1)


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


class TestHiddenCauses:
    def test_a_cause_that_is_seen_nearly_removes_what_it_made(self):
        confounded = falsify(ScoreGap(), linked_from(wealthy(hidden=1.0, effect=0.0)), specifications=False, tilts=())
        honest = falsify(ScoreGap(), linked_from(wealthy(hidden=0.0)), specifications=False, tilts=())
        table = confounded.tables["hidden_causes"]
        assert check(confounded, "ROX-A18").verdict is Verdict.DEMOTE
        assert table.loc["money", "removes_all"] < 1
        assert check(honest, "ROX-A18").verdict is Verdict.PASS
        assert honest.tables["hidden_causes"].loc["money", "removes_all"] > 3
        assert check(honest, "ROX-A20").verdict is Verdict.PASS
        assert check(confounded, "ROX-A20").verdict is Verdict.DEMOTE

    def test_strengths_are_partial_shares(self, sample):
        """A benchmark's shares reproduce the slope that the regression has once the benchmark is in it."""
        answers = answer_rows(sample, age=1, controls=())
        rows = answers.rows
        base = rows["outcome"] / rows.groupby("segment")["outcome"].transform("mean")
        absorb = rows["segment"].astype(str) + rows["month"].astype(str)
        reg = regression(answers, rows, outcome=base, controls=(), absorb=absorb)
        short, se, _, _ = reg.fit(reg.columns())
        long, _, _, _ = reg.fit(reg.beside["money"])
        found = benchmarks(reg)["money"]
        shift = se * np.sqrt(reg.df * found.r2_outcome * found.r2_treatment / (1 - found.r2_treatment))
        assert abs(short - long) == pytest.approx(shift, rel=1e-9)

    def test_the_slope_is_the_models(self):
        """Without a history nothing is left out, and the slope is that of the model's own regression."""
        frame = wealthy(600, hidden=0.5)
        answers = answer_rows(linked_from(frame[frame["month"] <= START + 2]), age=1, controls=())
        rows = answers.rows
        absorb = rows["segment"].astype(str) + rows["month"].astype(str)
        reg = regression(answers, rows, outcome=rows["outcome"], controls=(), absorb=absorb)
        exact = slope(
            rows["outcome"], rows["score"], np.empty((len(rows), 0)), absorb=absorb, customer=rows["customer"],
            weight=rows["weight"],
        )  # fmt: skip
        assert reg.beside == {}
        assert reg.fit(reg.columns())[0] == pytest.approx(exact.value, rel=1e-9)
        assert reg.df == reg.outcome.size - reg.absorbed - 1

    @pytest.mark.parametrize("model", [ScoreGap(draws=400), PanelFE(draws=400)])
    def test_the_currency_does_not_matter(self, model):
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

    def test_growth_after_answers_has_its_own(self, sample):
        effect = falsify(LeadLag(draws=400), sample, specifications=False, tilts=())
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

    def test_curve_is_sorted_and_marks_the_one_asked(self, sample):
        effect = falsify(PanelFE(draws=400), sample, tilts=())
        table = effect.tables["specifications"]
        assert table["estimate"].is_monotonic_increasing
        assert table.loc[table["asked"], "estimate"].item() == pytest.approx(effect.overall.mean())
        found = check(effect, "ROX-A21")
        assert found.values["count"] == len(table)

    def test_disagreement_lowers_the_grade(self):
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


class TestSilentCustomers:
    def test_weights_undo_answering_by_money(self):
        rng = np.random.default_rng(11)
        frame = wealthy(3000, hidden=0.0, seed=12)
        rich = frame.groupby("customer")["outcome"].transform("mean") > 500
        silent = rich & (rng.random(3000)[frame["customer"]] < 0.7)
        frame.loc[silent, ["score", "score_age"]] = np.nan
        data = linked_from(frame)
        plain = answer_rows(data, age=1, controls=()).rows
        weighted = answer_rows(with_response_weights(data), age=1, controls=()).rows
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

    @pytest.mark.parametrize("model", [ScoreGap(draws=400), LeadLag(draws=400), ChurnCox(draws=400)])
    def test_every_model_uses_the_weights(self, model, sample):
        effect = falsify(model, sample, specifications=False)
        table = effect.tables["response"]
        assert len(table) == 4
        assert table["estimate"].nunique() == 4
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


class TestNegativeControls:
    def test_an_outcome_that_moves_too_tells_of_a_common_cause(self):
        confounded, honest = wealthy(hidden=1.0, effect=0.0), wealthy(hidden=0.0)
        rng = np.random.default_rng(8)
        clean = honest.assign(outcome=100 + rng.standard_normal(len(honest)))
        spoilt = confounded.assign(outcome=confounded["outcome"] * 0.1)
        for frame, other, verdict in ((confounded, spoilt, Verdict.DEMOTE), (honest, clean, Verdict.PASS)):
            control = linked_from(other, outcome="salary")
            effect = falsify(
                ScoreGap(draws=400), linked_from(frame), negative_controls=[control], specifications=False, tilts=()
            )
            assert check(effect, "ROX-A25").verdict is verdict
            assert list(effect.tables["negative_controls"].index) == ["salary"]
            assert effect.grade >= Grade.D


def test_a_hazard_ratio_has_an_e_value(sample):
    effect = falsify(ChurnCox(draws=400), sample, specifications=False, tilts=())
    values = check(effect, "ROX-A23").values
    ratio = max(values["hazard"], 1 / values["hazard"])
    assert values["point"] == pytest.approx(ratio + np.sqrt(ratio * (ratio - 1)))


@dataclass(frozen=True)
class Broken:
    """A model together with the attempts to break it."""

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None):
        seed = int(np.random.default_rng(rng).integers(2**31))
        effect = falsify(ScoreGap(draws=400), data, rng=seed, specifications=False, tilts=())
        return replace(effect, specification=repr(self))


def test_the_result_is_an_effect_like_any_other():
    assert check_estimator(Broken(), recover=False) is not None
