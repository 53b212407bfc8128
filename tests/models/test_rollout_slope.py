"""The roll-out as an instrument: what was planted comes back, what is too weak is refused, what is shown holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.core.linked import Linked, month_index
from rox.core.units import Dose, Unit
from rox.models.rollout import Rollout, rollout
from rox.models.rollout_att import RolloutATT, rollout_att
from rox.models.rollout_ratio import PooledRatio, pooled_ratio
from rox.models.rollout_score import CohortAnswers, cohort_answers, exposure, lead_gain, score_gain
from rox.models.rollout_slope import RolloutSlope
from rox.models.rollout_slope_checks import effect_by_money
from rox.testing import check_estimator, linked_from_frame

START = month_index(2023, 1)
WINDOW = (5, 14)
PER_POINT = 0.08
"""Share of money that a point gained for twelve months adds, in as many steps as months."""
NEVER = 10**6


def improving_places(
    seed: int = 0,
    *,
    gain: float = 1.2,
    places: int = 24,
    customers: int = 60,
    starts: tuple[int, ...] = (12, 15),
    direct: float = 0.0,
    lead: float = 0.0,
    extremes: float = 0.0,
    answering: float = 0.6,
    answering_gold: float | None = None,
    noise: float = 0.02,
    min_cell: int = 10,
    assigned: Any = "random",
) -> Linked:
    """A roll-out that moves experience, which moves money by ``PER_POINT`` a year and point, month by month.

    Args:
        seed: Of everything.
        gain: Of experience, reached in the third month after the start along a line.
        places: A third of them never starts.
        customers: Per place.
        starts: Months of the starts.
        direct: Share of money that a start adds at once, past experience.
        lead: Gain of experience that started places have already six months before their start.
        extremes: How much likelier an answer is per point of distance from 6 (log odds).
        answering: Probability of an answer per quarter.
        answering_gold: The same in the segment ``gold``.
        noise: Spread of customers' own luck by month.
        min_cell: Smallest group that may be shown.
        assigned: How the places were chosen.
    """
    rng = np.random.default_rng(seed)
    place, months = np.repeat(np.arange(places), customers), np.arange(30)
    gold = rng.random(place.size) < 0.3
    start = np.array([*starts, NEVER])[rng.permutation(places) % (len(starts) + 1)][place]
    since = months[:, None] - start
    gained = gain * np.clip((since + 1) / 3, 0, 1) + lead * (since >= -6)
    feeling = 5.5 + 1.2 * rng.standard_normal(place.size) + gained + 0.9 * rng.standard_normal(gained.shape)
    share = PER_POINT / 12 * np.cumsum(gain * np.clip((since + 1) / 3, 0, 1), axis=0) + direct * (since >= 0)
    luck = np.cumsum(noise * rng.standard_normal(gained.shape), axis=0)
    money = np.exp(rng.normal(np.where(gold, 11, 8), 0.5)) * np.maximum(1 + share + luck, 0)
    leaves = rng.random(gained.shape) < 0.004
    gone = np.where(leaves.any(0), leaves.argmax(0), NEVER)
    odds = np.log(answering / (1 - answering)) + extremes * (np.abs(feeling - 6) - 1.2)
    asked = 1 / (1 + np.exp(-odds))
    if answering_gold is not None:
        asked[:, gold] = answering_gold
    said = (months[:, None] % 3 == 2) & (rng.random(gained.shape) < asked)
    answer = np.clip(np.rint(feeling + 0.8 * rng.standard_normal(gained.shape)), 0, 10)
    fresh = np.vstack([np.zeros(place.size, bool), said[:-1]])
    customer, at = np.nonzero((months[:, None] <= gone).T)
    known = fresh[at, customer]
    frame = pd.DataFrame(
        {
            "customer": customer,
            "month": START + at,
            "segment": np.where(gold, "gold", "mass")[customer],
            "unit": [f"B{each:02d}" for each in place[customer]],
            "weight": np.where(gold, 10.0, 30.0)[customer],
            "outcome": money[at, customer],
            "score": np.where(known, np.vstack([answer[:1], answer[:-1]])[at, customer], np.nan),
            "score_age": np.where(known, 1.0, np.nan),
            "exit_month": np.where(gone < NEVER, START + gone, np.nan)[customer],
            "voluntary": (gone < NEVER)[customer],
        }
    )
    begun = pd.DataFrame({"unit": [f"B{each:02d}" for each in range(places)], "start": START + start[::customers]})
    begun = begun[begun["start"] < NEVER].assign(initiative="refit")
    return linked_from_frame(frame, starts=begun, assigned=assigned, min_cell=min_cell)


def planted_share() -> float:
    """The slope that the window reads: the mean effect on money over the mean of the gain so far."""
    felt = np.cumsum(np.clip((np.arange(WINDOW[1] + 1) + 1) / 3, 0, 1))
    so_far = felt / (np.arange(WINDOW[1] + 1) + 1)
    return float(PER_POINT / 12 * felt[WINDOW[0] :].mean() / so_far[WINDOW[0] :].mean())


def truth_of(effect: Effect) -> float:
    """The planted slope in money, for the company's customers, of whom 4 in 1000 leave a month.

    Who has left gains nothing; at the middle of the window that is about one in fifteen.
    """
    return planted_share() * float(effect.shares @ effect.baseline["money"]) * (1 - 0.004) ** 15


def stages(data: Linked) -> tuple[Rollout, RolloutATT, CohortAnswers]:
    cohort = rollout(data, initiative=None, base=3, history=12, cap=3.0)
    att = rollout_att(cohort, cohort.means(cohort.ratio), window=WINDOW)
    return cohort, att, cohort_answers(cohort, base=3)


def slope(**choices: Any) -> RolloutSlope:
    return RolloutSlope(window=WINDOW, draws=1000, **{"only_through_experience": True, **choices})


def check(effect: Effect, code: str) -> Verdict:
    (found,) = [each for each in effect.checks if each.code == code]
    return found.verdict


@pytest.fixture(scope="module")
def data() -> Linked:
    return improving_places(1)


@pytest.fixture(scope="module")
def effect(data: Linked) -> Effect:
    return slope().fit(data, rng=1)


# The estimate


def test_what_was_planted_comes_back_with_honest_intervals() -> None:
    errors, inside = [], []
    for seed in range(25):
        found = slope().fit(improving_places(100 + seed, customers=90), rng=seed)
        truth = truth_of(found)
        low, high = np.quantile(found.overall, [0.05, 0.95])
        errors.append(np.median(found.overall) / truth - 1)
        inside.append(low <= truth <= high)
    assert abs(np.mean(errors)) < 3 * np.std(errors, ddof=1) / 5
    assert abs(np.mean(errors)) < 0.10
    assert np.mean(inside) >= 0.76


def test_the_effect_says_what_it_is(effect: Effect, data: Linked) -> None:
    estimand = effect.estimand
    assert (effect.name, effect.groups, effect.grade) == ("rollout_slope", ("gold", "mass"), Grade.B)
    assert (estimand.question, estimand.dose, estimand.unit) == (
        Question.SUSTAINED,
        Dose.SCORE_POINT,
        Unit.MONEY_PER_CUSTOMER,
    )
    assert (estimand.horizon, estimand.window, estimand.includes_exit) == (10, WINDOW, True)
    assert estimand.channels == {"retention", "expansion"}
    assert RolloutSlope().horizon == 12
    assert effect.trail[: len(data.trail)] == data.trail
    assert effect.counts["treated_units"] == 16
    assert effect.shift is not None
    for each in effect.checks:
        assert each.sentence("en")
        assert each.sentence("zh")
    assert {"ROX-I11", "ROX-I13", "ROX-I14", "ROX-I15", "ROX-I16", "ROX-I17", "ROX-I18"} <= {
        each.code for each in effect.checks
    }


def test_without_a_declaration_of_the_one_path_the_grade_is_low(data: Linked, effect: Effect) -> None:
    """The numbers are the same; what nobody vouches for is not called an effect."""
    plain = slope(only_through_experience=False).fit(data, rng=1)
    assert check(plain, "ROX-I12") is Verdict.DEMOTE
    assert plain.grade is Grade.D
    assert check(effect, "ROX-I19") is Verdict.NOTE
    assert effect.grade is Grade.B


def test_it_is_saved_without_its_model(effect: Effect, tmp_path: Path) -> None:
    again = Effect.load(effect.save(tmp_path / "slope.npz"))
    np.testing.assert_array_equal(again.draws, effect.draws)
    assert again.as_record() == effect.as_record()


def test_it_keeps_the_contract_of_a_model(data: Linked) -> None:
    """Rows in another order, money in hundredths, other numbers of customers, a year later: the same answer."""
    assert isinstance(check_estimator(slope(), data, recover=False), Effect)


# The score


def test_the_gain_is_averaged_over_the_months_that_money_was_exposed() -> None:
    weight = exposure(np.array([2.0, 5.0, 8.0]), (1, 3))
    by_month = np.array([1 / 3, 2 / 3, 1, 1 + 1 / 3])  # a line through 0 at -1, 1 at 2 and 2 at 5
    expected = np.mean([by_month[: last + 1].mean() for last in (1, 2, 3)])
    assert np.array([1.0, 2.0, 9.0]) @ weight == pytest.approx(expected)
    assert exposure(np.array([0.0]), (5, 9)).sum() == pytest.approx(1.0)


def test_changes_of_a_customer_withstand_a_change_of_who_answers() -> None:
    """Where extremes answer more, the mean of those who answer moves too far."""
    gaps: dict[str, list[float]] = {name: [] for name in ("within", "respondents", "reweighted")}
    felt = 1.2 * float(exposure(np.array([2.0]), WINDOW)[0])
    for seed in range(6):
        cohort, att, answers = stages(
            improving_places(200 + seed, customers=250, extremes=0.5, answering=0.35, gain=1.2)
        )
        for name, found in gaps.items():
            read = score_gain(cohort, att, answers, reading=name, control="not_yet_treated")  # type: ignore[arg-type]
            found.append(read.overall / felt - 1)
    bias = {name: abs(float(np.mean(found))) for name, found in gaps.items()}
    assert np.mean(gaps["respondents"]) > 0.05
    assert bias["within"] < 0.7 * bias["respondents"]


def test_the_gain_is_a_difference_of_differences_by_hand(data: Linked) -> None:
    cohort, att, answers = stages(data)
    found = score_gain(cohort, att, answers, reading="within", control="never_treated")
    place = cohort.unit[answers.who]
    gains, sizes = [], []
    for start in att.cohorts:
        frame = pd.DataFrame({"who": answers.who, "month": answers.month - start, "score": answers.score})
        frame["started"], frame["never"] = cohort.starts[place] == start, np.isinf(cohort.starts[place])
        before = frame[frame["month"] < 0].groupby("who")["score"].mean()
        frame["change"] = frame["score"] - frame["who"].map(before)
        by_wave = [
            wave.loc[wave["started"], "change"].mean() - wave.loc[wave["never"], "change"].mean()
            for month, wave in frame[frame["month"].between(0, WINDOW[1])].groupby("month")
        ]
        waves = np.unique(frame.loc[frame["month"].between(0, WINDOW[1]), "month"])
        gains.append(np.array(by_wave) @ exposure(waves.astype(float), WINDOW))
        sizes.append(cohort.sizes[cohort.starts == start].sum())
    assert found.overall == pytest.approx(np.average(gains, weights=sizes))
    assert found.answers.sum() <= cohort.sizes[att.members].sum()


def test_the_error_of_the_gain_is_that_of_repeated_worlds() -> None:
    found = [
        score_gain(*stages(improving_places(300 + seed)), reading="within", control="not_yet_treated")
        for seed in range(25)
    ]
    spread = np.std([each.overall for each in found], ddof=1)
    assert np.mean([each.se for each in found]) == pytest.approx(spread, rel=0.4)


def test_a_score_that_moved_before_the_start_lowers_the_grade() -> None:
    found = slope().fit(improving_places(3, lead=0.8, customers=120), rng=1)
    assert check(found, "ROX-I15") is Verdict.DEMOTE
    lead, se = lead_gain(*stages(improving_places(4, customers=120)), control="not_yet_treated")
    assert abs(lead) < 3 * se


def test_answers_of_the_months_in_which_places_were_chosen_do_not_count(data: Linked) -> None:
    cohort, att, answers = stages(data)
    late = (answers.month >= att.cohorts.min() - 3) & (answers.month < att.cohorts.min())
    other = replace(answers, score=np.where(late, 0.0, answers.score))
    only_first = replace(att, cohorts=att.cohorts[:1])

    def gain(assigned: str, said: CohortAnswers) -> float:
        chosen = replace(cohort, assigned=assigned)
        return score_gain(chosen, only_first, said, reading="within", control="not_yet_treated").overall

    assert gain("chosen", other) == pytest.approx(gain("chosen", answers))
    assert gain("random", other) != pytest.approx(gain("random", answers))


# The ratio


def one_ratio(money: float, score: float, covariance: np.ndarray) -> PooledRatio:
    root = np.linalg.cholesky(covariance)
    return pooled_ratio(
        np.array([money]),
        root[:1].T,
        np.array([score]),
        root[1:].T,
        weights=np.ones(1),
        level=np.zeros(1),
        between=1e-6,
        by_level=1e-6,
    )


@pytest.mark.parametrize("strength", [7.0, 16.0, 60.0])
def test_draws_cover_whatever_the_strength_of_the_first_stage(strength: float) -> None:
    """Joint normal stages with a common shock: the 90% interval of the draws holds the ratio nine times in ten."""
    rng = np.random.default_rng(int(strength))
    truth, score = 0.05, 0.5
    se = np.array([0.008, score / np.sqrt(strength)])
    covariance = np.outer(se, se) * np.array([[1.0, 0.5], [0.5, 1.0]])
    inside, delta, refused = [], [], 0
    for money, gain in rng.multivariate_normal([truth * score, score], covariance, size=1500):
        ratio = one_ratio(money, gain, covariance)
        known = ratio.ratio(0.9, 1e6)
        if known.effective_f < 4:
            refused += 1
            continue
        low, high = np.quantile(ratio.draws(400, 1e6, rng)[:, 0], [0.05, 0.95])
        inside.append(low <= truth <= high)
        delta.append(abs(known.value - truth) < 1.645 * known.se)
    assert np.mean(inside) == pytest.approx(0.90, abs=0.025)
    assert refused < 0.3 * 1500
    if strength < 10:
        assert abs(np.mean(delta) - 0.90) > abs(np.mean(inside) - 0.90)


def test_quantiles_of_draws_are_the_ends_of_the_robust_set() -> None:
    ratio = one_ratio(0.03, 0.5, np.array([[1e-4, 4e-4], [4e-4, 0.02]]))
    draws = ratio.draws(200_000, 20, np.random.default_rng(1))[:, 0]
    for level in (0.5, 0.8, 0.9):
        ends = ratio.ratio(level, 20).robust_set
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        assert ends.kind == "interval"
        np.testing.assert_allclose([low, high], [ends.low, ends.high], atol=0.015 * (ends.high - ends.low))
    assert np.median(draws) == pytest.approx(ratio.estimate, rel=0.01)
    assert ends.high - ratio.estimate > ratio.estimate - ends.low
    assert np.isfinite(draws).all()


def test_segments_borrow_from_each_other_and_add_up_to_their_mean() -> None:
    rng = np.random.default_rng(2)
    score, money = np.array([0.5, 0.5, 0.5]), np.array([0.03, 0.02, 0.5])
    sizes = np.array([0.002, 0.002, 0.2])
    influence, pushed = sizes * rng.standard_normal((40, 3)), 0.005 * rng.standard_normal((40, 3))
    weights = np.array([0.3, 0.3, 0.4])
    found = pooled_ratio(
        money, influence, score, pushed, weights=weights, level=np.zeros(3), between=0.03, by_level=0.05
    )
    assert found.own[2] == pytest.approx(1.0)
    assert found.slopes[2] < 0.3
    np.testing.assert_allclose(found.slopes[:2], found.own[:2], atol=0.01)
    assert found.estimate == pytest.approx(found.slopes @ weights, rel=1e-6)
    draws = found.draws(50_000, 1e6, rng)
    np.testing.assert_allclose(np.median(draws @ weights), found.estimate, rtol=0.02)
    np.testing.assert_allclose(np.cov(draws[:, :2].T), found.covariance[:2, :2], rtol=0.1)


def test_a_roll_out_that_did_not_move_the_score_is_refused() -> None:
    with pytest.raises(FitError, match="did not move the score") as caught:
        slope().fit(improving_places(5, gain=0.0), rng=1)
    assert any("F = " in fault for fault in caught.value.faults)
    assert any("StaggeredUplift" in fault for fault in caught.value.faults)


def test_a_weak_first_stage_lowers_the_grade_and_shows_the_robust_set() -> None:
    for seed in range(30):
        data = improving_places(400 + seed, gain=0.35, customers=20)
        try:
            found = slope().fit(data, rng=1)
        except FitError:
            continue
        (said,) = [each for each in found.checks if each.code == "ROX-I11"]
        if float(said.values["f"]) < 10:
            break
    assert said.verdict is Verdict.DEMOTE
    assert found.grade >= Grade.C
    robust = found.tables["robust_set"].set_index("level").loc[0.9]
    low, high = np.quantile(found.overall, [0.05, 0.95])
    assert robust["kind"] == "interval"
    np.testing.assert_allclose([low, high], [robust["low"], robust["high"]], atol=0.1 * (high - low))


def test_thirds_by_money_count_by_what_they_hold() -> None:
    cohort, att, answers = stages(improving_places(9, customers=120))
    found = effect_by_money(cohort, att, answers, control="not_yet_treated")
    for segment in range(2):
        parts = []
        for third in range(3):
            mine = (cohort.group == segment) & (answers.money == third)
            effects = []
            for start in att.cohorts:
                treated, at = cohort.starts[cohort.unit] == start, int(start - cohort.months[0])
                by_month = []
                for month in range(at + WINDOW[0], at + WINDOW[1] + 1):
                    change = cohort.ratio[:, month] - cohort.ratio[:, at - 1]
                    later = cohort.starts[cohort.unit] > cohort.months[month]
                    by_month.append(change[mine & treated].mean() - change[mine & later].mean())
                effects.append([np.mean(by_month), (mine & treated).sum()])
            value, size = np.array(effects).T
            parts.append([np.average(value, weights=size), answers.held[mine].sum()])
        value, held = np.array(parts).T
        assert found.estimate[segment] == pytest.approx(np.average(value, weights=held))


# What is assumed


def test_money_that_jumps_at_once_is_noticed_and_taken_out_in_a_rival() -> None:
    found = slope().fit(improving_places(6, direct=0.08, customers=120), rng=1)
    assert check(found, "ROX-I18") is Verdict.DEMOTE
    truth, rivals = truth_of(found), found.tables["rivals"]["estimate"]
    assert rivals["rollout_slope"] > 1.5 * truth
    assert abs(rivals["at_once_taken_out"] - truth) < 0.4 * abs(rivals["rollout_slope"] - truth)


def test_without_a_jump_none_is_found() -> None:
    verdicts = [check(slope().fit(improving_places(500 + seed), rng=1), "ROX-I18") for seed in range(12)]
    assert verdicts.count(Verdict.DEMOTE) <= 1


def test_places_chosen_by_somebody_do_not_keep_the_grade_of_a_lot() -> None:
    found = slope().fit(improving_places(1, assigned="unknown"), rng=1)
    assert found.grade >= Grade.C


# What is shown


def test_tables_hold_both_stages_and_their_ratio(effect: Effect) -> None:
    segments = effect.tables["segments"]
    np.testing.assert_allclose(segments["estimate"], effect.draws.mean(0))
    np.testing.assert_allclose(segments["share_apart"], segments["money_effect"] / segments["score_gain"])
    assert list(effect.tables["first_stage"].index) == ["within", "respondents", "reweighted"]
    assert list(effect.tables["rivals"].index) == [
        "rollout_slope",
        "respondents",
        "reweighted",
        "at_once_taken_out",
        "customers_alike",
        "segments_apart",
    ]
    assert (effect.tables["robust_set"]["low"].diff().dropna() < 0).all()
    assert not segments["suppressed"].any()


def test_segments_told_from_few_customers_are_not_shown() -> None:
    found = slope().fit(improving_places(7, answering_gold=0.005, min_cell=30), rng=1)
    segments, units = found.tables["segments"], found.tables["units"]
    assert list(segments["suppressed"]) == [True, False]
    assert segments.loc["gold"].drop("suppressed").isna().all()
    assert units.loc["gold"].drop("suppressed").isna().all()
    assert segments.loc["mass"].drop("suppressed").notna().all()
    assert np.isfinite(found.draws).all()


# What cannot be asked


def test_a_question_that_cannot_be_asked_lists_every_fault() -> None:
    with pytest.raises(FitError) as caught:
        RolloutSlope(window=(5, 2), cap=0, base=0, draws=1, control="none", prior_by_money=0)  # type: ignore[arg-type]
    assert len(caught.value.faults) == 6


def test_what_the_data_cannot_answer_is_said(data: Linked) -> None:
    def refused(changed: Linked, **choices: Any) -> str:
        with pytest.raises(FitError) as caught:
            slope(**choices).fit(changed)
        return str(caught.value)

    assert "score" in refused(replace(data, score=""))
    assert "refit" in refused(data, initiative="loan")
    assert "Too few places" in refused(improving_places(8, places=12))
    unsaid = data.frame().assign(score=np.nan, score_age=np.nan)
    assert "Too few answers" in refused(replace(data, panel=unsaid))
    counts = linked_from_frame(data.frame(), starts=data.starts, kind="count")
    assert "money by month" in refused(counts)


def test_answers_are_those_of_the_frozen_customers_and_no_others(data: Linked) -> None:
    frame = data.frame()
    frame.loc[(frame["customer"] == 0) & (frame["month"] < START + 12) & (frame["month"] >= START + 9), "outcome"] = 0.0
    cohort, _, answers = stages(replace(data, panel=frame))
    assert 0 not in set(answers.rows["customer"])
    said = frame[frame["score"].notna() & (frame["score_age"] == 1)].set_index("customer")
    assert len(answers.who) <= len(said)
    assert set(answers.rows["segment"]) == set(cohort.groups)
    np.testing.assert_array_equal(answers.rows["unit"], np.array(cohort.units)[cohort.unit[answers.who]])
    with pytest.raises(FitError, match="base"):
        cohort_answers(cohort, base=12)
