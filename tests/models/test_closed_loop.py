"""The closed loop: by lot, by capacity, by weights; and as it is usually read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked
from rox.core.words import catalogue
from rox.models.closed_loop import ClosedLoop
from rox.models.closed_loop_cases import Cases, read_cases
from rox.models.closed_loop_checks import attrition_check, chance_check, negative_check, share_check, weights_checks
from rox.models.closed_loop_designs import Per, Sample, arms, by_capacity, by_contact, by_lot, instrument, sample_of
from rox.testing import linked_from_frame

START, MONTHS, HORIZON = 12 * 2023, 30, 6
LOOP = ClosedLoop(horizon=HORIZON, draws=1000)


@lru_cache
def bank(
    customers: int = 2400,
    *,
    seed: int = 1,
    effect: float = 0.3,
    hold_out: float = 0.3,
    judgement: float = 0.0,
    capacity: float = 0.0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Customer-months and tickets of a bank whose calls add a share ``effect`` to money and one point to answers.

    Answers are quarterly; the first one of 6 or less from month 9 on opens a ticket. Who is called depends on the
    customer's own growth (``judgement``) and on whether the place has time in the month (``capacity``).
    """
    rng = np.random.default_rng(seed)
    segment, place = np.arange(customers) % 2, rng.integers(0, 20, customers)
    drift, level = rng.standard_normal(customers), np.where(segment == 1, 11.0, 8.0)
    answered = np.arange(2, MONTHS, 3)
    feeling = np.empty((customers, answered.size))
    feeling[:, 0] = rng.standard_normal(customers)
    for k in range(1, answered.size):
        feeling[:, k] = 0.6 * feeling[:, k - 1] + 0.8 * rng.standard_normal(customers)
    score = np.clip(np.rint(7 + 2 * feeling), 0, 10)
    low = (score <= 6) & (answered >= 9)
    when = np.where(low.any(1), answered[low.argmax(1)], 10**6)
    held = rng.random(customers) < hold_out
    time = rng.random((20, MONTHS)) < 0.5
    ready = time[place, np.minimum(when, MONTHS - 1)]
    called = (when < MONTHS) & ~held & (rng.random(customers) < expit(judgement * drift + capacity * (2 * ready - 1)))
    score = np.clip(score + (called[:, None] & (answered > when[:, None])), 0, 10)
    month = np.arange(MONTHS)
    money = np.exp(level[:, None] + 0.01 * drift[:, None] * month + 0.1 * rng.standard_normal((customers, MONTHS)))
    money *= 1 + effect * (called[:, None] & (month > when[:, None]))
    gone = np.where(rng.random(customers) < 0.1, np.minimum(when + rng.integers(3, 9, customers), 10**6), 10**6)
    customer, at = np.nonzero(month <= gone[:, None])
    last = (at - 3) // 3
    known = last >= 0
    frame = pd.DataFrame(
        {
            "customer": customer,
            "month": START + at,
            "segment": np.array(["mass", "gold"])[segment[customer]],
            "unit": [f"U{each:02d}" for each in place[customer]],
            "weight": np.where(segment == 1, 20.0, 80.0)[customer],
            "outcome": money[customer, at].round(2),
            "score": np.where(known, score[customer, last], np.nan),
            "score_age": np.where(known, at - answered[last], np.nan),
            "exit_month": np.where(gone < MONTHS, START + gone, np.nan)[customer],
            "voluntary": (gone < MONTHS)[customer],
        }
    )
    whose = np.flatnonzero(when < MONTHS)
    opened = np.array([np.datetime64("2023-01-05") for _ in whose]).astype("datetime64[M]") + when[whose]
    opened = opened.astype("datetime64[D]") + 4
    tickets = pd.DataFrame({"customer": whose, "date": pd.to_datetime(opened), "hold_out": held[whose].astype(int)})
    contacted = tickets["date"] + pd.to_timedelta(1 + whose % 9, unit="D")
    return frame, tickets.assign(contacted=contacted.where(called[whose]))


def linked(frame: pd.DataFrame, tickets: pd.DataFrame) -> Linked:
    return linked_from_frame(frame, records={"tickets": tickets})


def fitted(frame: pd.DataFrame, tickets: pd.DataFrame, model: ClosedLoop = LOOP) -> Effect:
    return model.fit(linked(frame, tickets), rng=1)


@lru_cache
def default(per: Per = "eligible") -> Effect:
    return fitted(*bank(), ClosedLoop(horizon=HORIZON, draws=1000, per=per))


@lru_cache
def default_cases() -> Cases:
    return cases_of(*bank())


def cases_of(frame: pd.DataFrame, tickets: pd.DataFrame) -> Cases:
    return read_cases(linked(frame, tickets), horizon=HORIZON, within=30, cap=3.0, base=3)


def sample(cases: Cases) -> Sample:
    return sample_of(cases, cases.people["customers"].to_dict(), within=30)


def check(effect: Effect, code: str) -> Check:
    (found,) = [each for each in effect.checks if each.code == code]
    return found


def test_the_lot_finds_the_effect_per_eligible_and_per_contacted() -> None:
    _, tickets = bank()
    share = tickets.loc[tickets["hold_out"] == 0, "contacted"].notna().mean()
    for effect, truth in ((default(), 0.3 * 0.93 * share), (default("contacted"), 0.3 * 0.93)):
        found = effect.summary().loc["all"]
        assert abs(found["mean"] - truth) < 3 * found["sd"] + 0.01
        assert found["low"] > 0
        assert effect.grade is Grade.A
    assert effect.estimand.includes_exit
    assert effect.estimand.horizon == HORIZON


def test_the_difference_of_arms_is_the_one_by_hand() -> None:
    rng = np.random.default_rng(1)
    y, d, w = rng.standard_normal(60), np.arange(60) % 3 == 0, rng.random(60) + 0.5
    plain = arms(y, d, np.zeros((60, 0)), w)
    assert plain.estimate[0] == pytest.approx(np.average(y[d], weights=w[d]) - np.average(y[~d], weights=w[~d]))
    even = arms(y, d, np.zeros((60, 0)), np.ones(60))
    by_hand = y[d].var(ddof=1) / d.sum() + y[~d].var(ddof=1) / (~d).sum()
    assert even.covariance[0, 0] == pytest.approx(by_hand)
    fact = rng.standard_normal((60, 1))
    assert arms(2 * d + 3 * fact[:, 0], d, fact, w).estimate[0] == pytest.approx(2)


def test_errors_of_the_lot_cover_as_they_claim() -> None:
    rng = np.random.default_rng(5)
    y, x = rng.gamma(1.0, size=600), rng.standard_normal((600, 4))
    y = y + x[:, 0]
    covered = []
    for _ in range(300):
        found = arms(y, rng.random(600) < 0.2, x, np.ones(600))
        covered.append(abs(found.estimate[0]) < 1.645 * np.sqrt(found.covariance[0, 0]))
    assert 0.85 < np.mean(covered) < 0.95


def test_wald_is_the_ratio_of_the_two_differences() -> None:
    cases = default_cases()
    seen = sample(cases)
    found = by_lot(seen, adjusted=False)
    rows = cases.rows[cases.rows["segment"] == "gold"]
    mean = rows.groupby("held")[["ratio", "ever"]].mean()
    assert found.per("eligible")[0][0] == pytest.approx(mean.loc[0, "ratio"] - mean.loc[1, "ratio"])
    by_hand = (mean.loc[0, "ratio"] - mean.loc[1, "ratio"]) / (mean.loc[0, "ever"] - mean.loc[1, "ever"])
    assert found.per("contacted")[0][0] == pytest.approx(by_hand)
    whole = found.ratio(seen.shares)
    assert whole.value == pytest.approx((seen.shares @ found.estimate) / (seen.shares @ found.contacts))
    assert whole.robust_set.holds(whole.value)


def test_the_clock_starts_at_the_ticket_whenever_the_contact_came() -> None:
    frame, tickets = bank()
    effect = default()
    later = tickets.assign(contacted=tickets["contacted"] + pd.Timedelta(days=15))
    np.testing.assert_array_equal(fitted(frame, later).draws, effect.draws)
    silent = fitted(frame, tickets.drop(columns="contacted"))
    np.testing.assert_array_equal(silent.draws, effect.draws)
    assert "naive" not in silent.tables["rivals"].index


def test_only_the_first_eligible_ticket_counts_and_late_contacts_are_late() -> None:
    frame, tickets = bank()
    again = tickets.assign(date=tickets["date"] + pd.DateOffset(months=2), contacted=pd.NaT)
    before = tickets.assign(date=tickets["date"] - pd.DateOffset(months=2), contacted=pd.NaT, eligible=0)
    late = tickets.assign(contacted=tickets["contacted"] + pd.Timedelta(days=40))
    more = pd.concat([again, before, late]).assign(eligible=lambda t: t["eligible"].fillna(1))
    first, both = default_cases(), cases_of(frame, more)
    pd.testing.assert_frame_equal(both.rows[["customer", "month", "ratio"]], first.rows[["customer", "month", "ratio"]])
    assert first.rows["contacted"].sum() > 0
    assert both.rows["contacted"].sum() == 0
    assert both.rows["ever"].sum() == first.rows["ever"].sum()


def test_leavers_have_zero_and_what_the_ledger_does_not_reach_is_nobody() -> None:
    frame, tickets = bank()
    cases = default_cases()
    left = cases.rows["exit_month"] < cases.rows["month"] + HORIZON
    assert left.any()
    assert (cases.rows.loc[left, "ratio"] == 0).all()
    assert cases.rows["month"].max() <= START + MONTHS - 1 - HORIZON
    assert (cases.rows.loc[~left, "ratio"] > 0).all()
    hole = frame[~((frame["customer"] == cases.rows["customer"][0]) & (frame["month"] == cases.rows["month"][0] + 6))]
    fewer = cases_of(hole, tickets)
    assert len(fewer.rows) == len(cases.rows) - 1


def test_currency_weights_names_and_order_of_rows_do_not_matter() -> None:
    frame, tickets = bank()
    effect = default()
    name = np.random.default_rng(3).permutation(frame["customer"].max() + 1)
    other = frame.assign(outcome=frame["outcome"] * 100, weight=frame["weight"] * 7, customer=name[frame["customer"]])
    named = tickets.assign(customer=name[tickets["customer"]])
    again = fitted(other.sample(frac=1, random_state=1), named.sample(frac=1, random_state=2))
    np.testing.assert_allclose(again.draws, effect.draws, atol=1e-9)
    np.testing.assert_allclose(again.shares, effect.shares)
    assert again.baseline["money"].to_numpy() == pytest.approx(100 * effect.baseline["money"].to_numpy())


def test_the_people_are_those_of_the_last_year() -> None:
    frame, tickets = bank()
    effect = default()
    recent = tickets[tickets["date"] >= tickets["date"].max() - pd.DateOffset(months=12) + pd.DateOffset(days=1)]
    weight = frame.drop_duplicates("customer").set_index("customer")["weight"]
    assert effect.baseline["customers"].sum() == pytest.approx(weight.reindex(recent["customer"]).sum())
    share = default("contacted").baseline["customers"] / effect.baseline["customers"]
    assert share.between(0.4, 0.6).all()


def test_judgement_misleads_who_compares_by_contact() -> None:
    frame, tickets = bank(effect=0.0, judgement=2.0)
    effect = fitted(frame, tickets)
    rivals = effect.tables["rivals"]
    assert abs(effect.summary().loc["all", "mean"]) < 3 * effect.summary().loc["all", "sd"]
    assert rivals.loc["naive", "low"] > 0.01
    assert effect.tables["negative_control"].loc["naive", "p"] < 0.05
    assert check(effect, "ROX-H09").values["naive"] > 1
    assert set(rivals["word"]) <= set(catalogue())


def test_without_a_lot_weights_are_correlation_and_a_lot_is_advised() -> None:
    frame, tickets = bank(effect=0.0, judgement=2.0)
    effect = fitted(frame, tickets[tickets["hold_out"] == 0].drop(columns="hold_out"))
    assert effect.grade >= Grade.D
    assert check(effect, "ROX-H13").verdict is Verdict.DEMOTE
    assert check(effect, "ROX-P03").values["x"] == 15
    assert "closed_loop.rival.pooled.weights" in effect.tables["rivals"].loc["pooled", "word"]


def test_capacity_finds_what_judgement_hides() -> None:
    frame, tickets = bank(effect=0.3, judgement=1.5, capacity=2.0)
    effect = fitted(frame, tickets, ClosedLoop(horizon=HORIZON, per="contacted", design="capacity"))
    found = effect.summary().loc["all"]
    assert abs(found["mean"] - 0.28) < 3 * found["sd"]
    assert check(effect, "ROX-H11").values["f"] > 23
    assert effect.grade >= Grade.B
    assert effect.tables["rivals"].loc["naive", "estimate"] > found["mean"]


def test_the_instrument_holds_nothing_of_the_customer() -> None:
    frame, tickets = bank()
    first = tickets["customer"].iloc[0]
    flipped = tickets.copy()
    own = flipped["customer"] == first
    flipped.loc[own, "hold_out"] = 0
    flipped.loc[own, "contacted"] = flipped.loc[own, "date"] + pd.Timedelta(days=3)
    seen = []
    for cases in (default_cases(), cases_of(frame, flipped)):
        seen.append(instrument(sample(cases))[cases.rows["customer"] == first])
    np.testing.assert_array_equal(*seen)


def test_capacity_that_does_not_push_is_refused() -> None:
    frame, tickets = bank()
    with pytest.raises(FitError, match="below 4"):
        fitted(frame, tickets, ClosedLoop(horizon=HORIZON, design="capacity"))
    cases = default_cases()
    nowhere = replace(cases, tickets=cases.tickets.assign(unit=None))
    assert by_capacity(sample(nowhere)) is None


def test_the_rebound_is_mostly_expected() -> None:
    effect = default()
    table = effect.tables["rebound"]
    assert abs(table.loc["held_out", "excess"]) < 3 * table.loc["held_out", "se_excess"]
    assert table.loc["contacted", "excess"] > 0.5
    said = check(effect, "ROX-L12")
    assert said.values["obs"] == pytest.approx(said.values["exp"] + said.values["more"])
    anyway = check(effect, "ROX-H14").values
    assert 0 < anyway["anyway"] < anyway["recovered"]
    assert effect.tables["outcomes"].loc["next_score", "per_eligible"] > 0.2


def test_a_lot_of_the_wrong_size_is_no_lot() -> None:
    held = np.repeat([1.0, 0.0], [100, 900])
    assert share_check(held, 0.10).verdict is Verdict.PASS
    assert share_check(held, 0.15).to_grade is Grade.D
    assert share_check(held, None).code == "ROX-H02"


def test_a_negative_control_passes_only_if_it_could_have_failed() -> None:
    def verdict(gap: float, se: float) -> Verdict:
        return negative_check(gap, se, 0.10, 12, grade=Grade.D).verdict

    assert verdict(0.00, 0.01) is Verdict.PASS
    assert verdict(0.03, 0.01) is Verdict.DEMOTE
    assert verdict(0.00, 0.10) is Verdict.DEMOTE


def test_overlap_and_regression_stand_beside_the_naive_difference() -> None:
    found = by_contact(sample(default_cases()))
    assert found is not None
    assert found.aipw is not None
    assert found.overlap is not None
    for value, se in (found.naive, found.regression, found.aipw, (found.overlap.value, found.overlap.se)):
        assert abs(value - 0.28) < 4 * se


def test_tickets_that_cannot_be_right_are_refused_together() -> None:
    frame, tickets = bank()
    bad = pd.concat([tickets, tickets.head(1).assign(hold_out=1 - tickets["hold_out"].iloc[0])])
    bad = bad.assign(contacted=bad["contacted"] - pd.Timedelta(days=60))
    with pytest.raises(DataError, match=r"contacted before they were opened[\s\S]*draw the lot once"):
        fitted(frame, bad)
    with pytest.raises(FitError, match="Nobody can be followed for 29 months"):
        fitted(frame, tickets, ClosedLoop(horizon=29))


@pytest.mark.parametrize(
    ("choices", "said"),
    [({"horizon": 0}, "horizon is 0"), ({"per": "head"}, "per is 'head'"), ({"cap": 0.0}, "cap is 0")],
)
def test_questions_that_cannot_be_asked(choices: dict[str, object], said: str) -> None:
    make: Callable[..., ClosedLoop] = ClosedLoop
    with pytest.raises(FitError, match=said):
        make(**choices)


def test_small_segments_are_left_out_and_named() -> None:
    frame, tickets = bank()
    few = frame["customer"].isin(tickets["customer"].head(8))
    effect = fitted(frame.assign(segment=frame["segment"].where(~few, "tiny")), tickets)
    assert effect.groups == ("gold", "mass")
    assert "tiny (<10)" in str(check(effect, "ROX-H08").values["segments"])
    for each in effect.checks:
        assert each.sentence("en")
        assert each.sentence("zh")


def test_the_reach_of_chance_stands_beside_the_effect() -> None:
    wide = chance_check(np.random.default_rng(1).normal(0.02, 0.05, 4000))
    assert wide.verdict is Verdict.NOTE
    assert "half of its size" not in wide.sentence()
    assert f"where the effect itself is {wide.values['effect']:+.1f}" in wide.sentence()
    few = Check(code="ROX-H07", verdict=Verdict.PASS, values={"p": 1.0})
    assert "few enough not to decide the mean" in few.sentence()


def test_weak_capacity_is_a_rival_and_no_headline() -> None:
    frame, tickets = bank(judgement=0.5, capacity=0.3)
    open_to_all = tickets[tickets["hold_out"] == 0].drop(columns="hold_out")
    pushed = by_capacity(sample(cases_of(frame, open_to_all)))
    assert pushed is not None
    assert 4 <= pushed.f < 23
    effect = fitted(frame, open_to_all)
    assert effect.grade >= Grade.C
    assert effect.tables["rivals"].loc["pooled", "word"] == "closed_loop.rival.pooled.weights"
    assert "capacity" in effect.tables["rivals"].index
    assert check(effect, "ROX-H11").verdict is Verdict.NOTE
    with pytest.raises(FitError, match="below 23"):
        fitted(frame, open_to_all, ClosedLoop(horizon=HORIZON, design="capacity"))


def test_small_hold_outs_have_intervals_of_student() -> None:
    found = by_lot(sample(default_cases()), adjusted=False)
    rows = default_cases().rows
    gold = rows[rows["segment"] == "gold"].groupby("held")["ratio"].agg(["var", "size"])
    parts = gold["var"] / gold["size"]
    df = parts.sum() ** 2 / (parts**2 / (gold["size"] - 1)).sum()
    assert found.df[0] == pytest.approx(df)
    few = replace(found, df=np.full(2, 9.0))
    assert np.sqrt(few.widened("eligible") / few.per("eligible")[1]) == pytest.approx(1.833113 / 1.644854, abs=1e-5)
    pooling = default().tables["pooling"]
    lot = by_lot(sample(default_cases()))
    assert pooling.loc["gold", "se"] == pytest.approx(np.sqrt(lot.widened("eligible")[0]))


def test_a_segment_with_twenty_held_out_is_left_out() -> None:
    frame, tickets = bank()
    who = tickets.loc[tickets["hold_out"] == 1, "customer"].head(20)
    more = tickets.loc[tickets["hold_out"] == 0, "customer"].head(60)
    few = frame["customer"].isin([*who, *more])
    effect = fitted(frame.assign(segment=frame["segment"].where(~few, "small")), tickets)
    assert effect.groups == ("gold", "mass")
    assert "small" in str(check(effect, "ROX-H08").values["segments"])


def test_money_unknown_in_one_segment_is_seen_behind_the_others() -> None:
    index = pd.MultiIndex.from_product([["gold", "mass"], [0.0, 1.0]], names=["segment", "held"])

    def verdict(*unknown: int) -> Check:
        table = pd.DataFrame({"sum": unknown, "size": [100, 100, 2000, 2000]}, index=index)
        return attrition_check(replace(default_cases(), unknown=table))

    assert verdict(2, 3, 20, 21).verdict is Verdict.PASS
    assert verdict(2, 6, 20, 21).verdict is Verdict.PASS
    hidden = verdict(2, 20, 40, 30)
    assert hidden.verdict is Verdict.DEMOTE
    assert (hidden.values["loop"], hidden.values["held"]) == pytest.approx((2.0, 20.0))


def test_few_leavers_are_not_counted_out() -> None:
    seen = sample(default_cases())
    here = np.ones(len(seen.here), dtype=bool)
    here[np.flatnonzero(seen.column("held") == 0)[:1]] = False
    contact = by_contact(seen)
    assert contact is not None
    said = weights_checks(replace(seen, here=here), contact, None, HORIZON, min_cell=10)[0]
    assert said.code == "ROX-H15"
    assert said.verdict is Verdict.NOTE
    assert said.values["customers"] == "<10"
    assert "<10" in said.sentence("en")
