from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import DataError, FitError
from rox.core.estimand import Question
from rox.core.linked import Linked, month_index
from rox.core.units import Dose, Unit
from rox.linking.tables import Tables
from rox.models.map_prior import Prior
from rox.models.parallel_trends import assignment_check, checks_of_leads, dip_check, drift_check, leads_test
from rox.models.rivals import rivals, static_twfe, twfe_comparisons
from rox.models.rollout import Rollout, rollout
from rox.models.rollout_att import RolloutATT, _stretch, place_effects, rollout_att
from rox.models.rollout_doubts import honest_trends
from rox.models.rollout_outcomes import components, score_effect
from rox.models.rollout_precision import bootstrap_p_value, permuted_effects, placebo_p_value, precision
from rox.models.staggered_uplift import StaggeredUplift
from rox.numerics.did import group_time_att
from rox.numerics.normal_mixture import NormalMixture
from rox.numerics.panel import within_regression
from rox.testing import linked_from_frame

START = month_index(2023, 1)
SHARES = np.array([0.2, 0.8])
RAMP = 6


def bank_of_places(
    seed: int = 0,
    *,
    effect: tuple[float, float] = (0.05, 0.10),
    places: int = 24,
    customers: int = 40,
    months: int = 30,
    starts: tuple[int, ...] = (12, 18),
    drift: float = 0.0,
    order: str = "random",
    dip: float = 0.0,
    leaving: float = 0.004,
    kept: float = 0.0,
    noise: float = 0.15,
    shock: float = 0.01,
) -> Linked:
    """A roll-out whose effect is written down: money = own level · (1 + season + luck + drift · month + effect).

    Args:
        seed: Of everything.
        effect: On the ratio after the ramp, for gold and mass.
        places: A third never starts when there are two starts.
        customers: Per place.
        months: Of the ledger.
        starts: Months of the starts.
        drift: Spread of places' lasting trends per month.
        order: ``random``, or ``growth``: the fastest-growing places start first.
        dip: By how much a place falls in the three months before its start.
        leaving: Monthly probability of leaving.
        kept: Share of the leavers that started places keep.
        noise: Spread of customers' own luck after all months.
        shock: Spread of places' own luck after nine months.
    """
    rng = np.random.default_rng(seed)
    place, own_trend = np.repeat(np.arange(places), customers), drift * rng.standard_normal(places)
    gold = rng.random(place.size) < 0.3
    rank = np.argsort(np.argsort(rng.standard_normal(places) if order == "random" else -own_trend))
    start = np.array([*starts, 10**6])[rank * (len(starts) + 1) // places]
    level = np.exp(rng.normal(np.where(gold, 11, 8), 1))
    month = np.arange(months)[:, None]
    luck = np.cumsum(noise * rng.standard_normal((months, place.size)) / np.sqrt(months), axis=0)
    common = np.cumsum(shock / 3 * rng.standard_normal((months, places)), axis=0)[:, place]
    since = month - start[place]
    gain = np.where(gold, *effect) * np.clip((since + 1) / RAMP, 0, 1) - dip * ((since >= -3) & (since < 0))
    money = level * np.maximum(1 + 0.05 * np.sin(month) + luck + common + own_trend[place] * month + gain, 0)
    chance = rng.random((months, place.size)) < leaving * np.where(since >= 0, 1 - kept, 1.0)
    gone = np.where(chance.any(0), chance.argmax(0), 10**6)
    customer, at = np.nonzero((month <= gone).T)
    answers = (at % 3 == 0) & (rng.random(at.size) < 0.4)
    score = np.clip(np.rint(7 + 2 * rng.standard_normal(at.size) + np.clip(since[at, customer], 0, 1)), 0, 10)
    frame = pd.DataFrame(
        {
            "customer": customer,
            "month": START + at,
            "segment": np.where(gold, "gold", "mass")[customer],
            "unit": [f"B{each:02d}" for each in place[customer]],
            "weight": np.where(gold, 10.0, 30.0)[customer],
            "outcome": money[at, customer],
            "score": np.where(answers, score, np.nan),
            "score_age": np.where(answers, 1.0, np.nan),
            "exit_month": np.where(gone < 10**6, START + gone, np.nan)[customer],
            "voluntary": (gone < 10**6)[customer],
        }
    )
    begun = pd.DataFrame({"unit": [f"B{each:02d}" for each in range(places)], "start": START + start})
    begun = begun[start < 10**6].assign(initiative="refit")
    return linked_from_frame(frame, starts=begun, assigned="random" if order == "random" else "chosen")


def measured(data: Linked, *, window: tuple[int, int] = (6, 11), **choices: Any) -> tuple[Rollout, RolloutATT]:
    cohort = rollout(data, initiative=None, **{"base": 3, "history": 12, "cap": 3.0} | choices)
    return cohort, rollout_att(cohort, cohort.means(cohort.ratio), window=window)


def with_frame(data: Linked, frame: pd.DataFrame) -> Linked:
    return replace(data, panel=frame, fetch=lambda rows: rows.copy())


@pytest.fixture(scope="module")
def data() -> Linked:
    return bank_of_places(2)


@pytest.fixture(scope="module")
def found(data: Linked) -> tuple[Rollout, RolloutATT]:
    return measured(data)


def ratios(data: Linked, *, begin: int, cap: float) -> pd.DataFrame:
    """Capped ratio by customer (rows) and month, zero where there is no row, written with frames only."""
    wide = data.frame().pivot(index="customer", columns="month", values="outcome")
    base = wide[list(range(begin - 3, begin))].mean(axis=1)
    there = wide[list(range(begin - 12, begin))].notna().all(axis=1)
    gone = data.frame().groupby("customer")["exit_month"].first() < begin
    return (wide.div(base, axis=0).clip(upper=cap)).fillna(0.0)[there & ~gone & (base > 0)]


# The panel


def test_the_cohort_is_that_of_a_pivot_table(data: Linked, found: tuple[Rollout, RolloutATT]) -> None:
    expected = ratios(data, begin=START + 12, cap=3.0)
    np.testing.assert_allclose(found[0].ratio, expected.loc[:, START:].to_numpy())
    assert found[0].steps[-1].customers == len(expected)
    assert [step.customers for step in found[0].steps] == sorted((s.customers for s in found[0].steps), reverse=True)


def test_who_leaves_counts_as_zero_and_who_holds_nothing_stays() -> None:
    data = bank_of_places(2, leaving=0.02)
    frame = data.frame()
    frame.loc[(frame["customer"] == 0) & (frame["month"] == START + 20), "outcome"] = 0.0
    cohort, _ = measured(with_frame(data, frame))
    left = ~cohort.staying
    assert left.any()
    assert not cohort.ratio[left].any()
    assert cohort.ratio[0, 20] == 0
    assert cohort.staying[0, 20]
    assert cohort.silent == 0


def test_a_missing_month_counts_as_zero_and_is_counted(data: Linked) -> None:
    frame = data.frame()
    stays = frame.loc[frame["exit_month"].isna(), "customer"].iloc[0]
    gap = (frame["customer"] == stays) & (frame["month"] == START + 15)
    cohort, _ = measured(with_frame(data, frame[~gap]))
    assert cohort.silent == 1
    assert (cohort.ratio[:, 15] == 0).sum() == (~cohort.staying[:, 15]).sum() + 1


def test_new_money_is_cut_at_the_cap(data: Linked) -> None:
    frame = data.frame()
    frame.loc[frame["month"] == START + 20, "outcome"] *= 50
    cohort, _ = measured(with_frame(data, frame))
    assert cohort.ratio.max() == 3.0
    assert cohort.capped == pytest.approx((cohort.ratio == 3.0).sum() / (cohort.staying & (cohort.ratio >= 0)).sum())


def test_nobody_new_and_nobody_without_money_is_in_the_cohort(data: Linked) -> None:
    frame = data.frame()
    early = frame["month"] < START + 12
    frame = frame[~(early & (frame["customer"] == 3) & (frame["month"] == START + 2))]
    frame.loc[early & (frame["customer"] == 4), "outcome"] = 0.0
    full, _ = measured(data)
    cohort, _ = measured(with_frame(data, frame))
    lost = {step.name: step.lost - before.lost for step, before in zip(cohort.steps, full.steps, strict=True)}
    assert len(cohort.unit) == len(full.unit) - 2
    assert lost["present"] > 0
    assert lost["money"] > 0


def test_places_that_started_before_the_ledger_are_neither_treated_nor_untreated(data: Linked) -> None:
    pilot = data.starts["unit"].iloc[0]
    early = data.starts.assign(start=data.starts["start"].where(data.starts["unit"] != pilot, START + 1))
    cohort, _ = measured(replace(data, starts=early))
    assert pilot not in cohort.units
    assert cohort.first_start == START + 12


# The estimate


def test_the_path_is_that_of_group_time_effects_on_a_pivot_table(
    data: Linked, found: tuple[Rollout, RolloutATT]
) -> None:
    wide = ratios(data, begin=START + 12, cap=3.0)
    people = data.frame().drop_duplicates("customer").set_index("customer").loc[wide.index]
    mass = people["segment"] == "mass"
    means = wide[mass].groupby(people.loc[mass, "unit"]).mean()
    sizes = people[mass].groupby("unit").size()
    starts = data.starts.set_index("unit")["start"].reindex(means.index).fillna(np.inf)
    cells = group_time_att(means, starts, times=means.columns, weights=sizes, base="universal", small_sample=True)
    weight = np.array([sizes[starts == g].sum() for g in cells.groups])
    path = found[1].path
    for month, estimate in zip(path.labels, path.estimate[:, 1], strict=True):
        here = (cells.event_times == month) & np.isin(cells.groups, [START + 12, START + 18])
        assert estimate == pytest.approx(np.average(cells.att[here, 0], weights=weight[here]), abs=1e-12)


def test_the_window_is_a_difference_of_differences_by_hand(data: Linked, found: tuple[Rollout, RolloutATT]) -> None:
    wide = ratios(data, begin=START + 12, cap=3.0)
    people = data.frame().drop_duplicates("customer").set_index("customer").loc[wide.index]
    start = people["unit"].map(data.starts.set_index("unit")["start"]).fillna(np.inf)
    gold, total, mass = people["segment"] == "gold", 0.0, 0.0
    for begin in (START + 12, START + 18):
        treated = gold & (start == begin)
        effects = []
        for month in range(begin + 6, begin + 12):
            change = wide[month] - wide[begin - 1]
            effects.append(change[treated].mean() - change[gold & (start > month)].mean())
        total, mass = total + treated.sum() * np.mean(effects), mass + treated.sum()
    assert found[1].estimate[0] == pytest.approx(total / mass, abs=1e-12)


def test_estimates_of_places_average_to_the_window(found: tuple[Rollout, RolloutATT]) -> None:
    places = place_effects(*found)
    for group in range(2):
        mine = places.group == group
        mean = np.average(places.estimate[mine], weights=places.customers[mine])
        assert mean == pytest.approx(found[1].estimate[group], abs=1e-12)
    assert np.linalg.eigvalsh(places.covariance).min() > 0
    assert places.customers.sum() == found[0].sizes[found[1].members].sum()


def test_known_effects_are_recovered_with_honest_intervals() -> None:
    """Forty worlds: bias within the Monte Carlo error, and 90% intervals that cover about as often."""
    errors, inside = [], []
    for seed in range(40):
        _, att = measured(bank_of_places(100 + seed, leaving=0.0, places=30, customers=30))
        error = (att.estimate - np.array([0.05, 0.10])) @ SHARES
        se = np.sqrt(((att.influence @ SHARES) ** 2).sum())
        errors.append(error)
        inside.append(abs(error) < 1.645 * se)
    assert abs(np.mean(errors)) < 3 * np.std(errors, ddof=1) / np.sqrt(40)
    assert 0.75 <= np.mean(inside) <= 1.0


def test_customers_kept_count_as_money(data: Linked) -> None:
    held = {"effect": (0.0, 0.0), "noise": 0.02, "shock": 0.0, "customers": 400, "leaving": 0.02}
    cohort, att = measured(bank_of_places(3, kept=1.0, **held))
    split = components(cohort, att, SHARES, control="not_yet_treated").loc["all"]
    assert split["effect"] > 0.08
    assert split["kept_part"] == pytest.approx(split["effect"], abs=0.01)
    assert split["kept_part"] + split["rest"] == pytest.approx(split["effect"])
    assert split["staying"] > 5 * split["staying_se"]


@pytest.mark.parametrize("control", ["not_yet_treated", "never_treated"])
def test_placebo_deals_are_refits_with_the_starts_dealt_anew(found: tuple[Rollout, RolloutATT], control: Any) -> None:
    cohort, att = found
    placebo = permuted_effects(cohort, att, SHARES, control=control, size=3, rng=np.random.default_rng(7))
    rng = np.random.default_rng(7)
    for value in placebo:
        dealt = replace(cohort, starts=rng.permutation(cohort.starts))
        refit = rollout_att(dealt, cohort.means(cohort.ratio), window=(6, 11), control=control)
        assert value == pytest.approx(refit.estimate @ SHARES, abs=1e-12)


def test_p_values_of_few_places() -> None:
    assert placebo_p_value(2.0, np.array([1.0, -3.0, 0.5, np.nan])) == pytest.approx(2 / 4)
    rng = np.random.default_rng(1)
    influence = rng.standard_normal(40) / 40
    se = np.sqrt((influence**2).sum())
    assert bootstrap_p_value(4 * se, influence, size=999, rng=rng) < 0.01
    assert bootstrap_p_value(0.1 * se, influence, size=999, rng=rng) > 0.8


def test_few_places_are_said_and_too_few_lower_the_grade(found: tuple[Rollout, RolloutATT]) -> None:
    def codes(cohort: Rollout, att: RolloutATT) -> dict[str, Verdict]:
        table, checks = precision(cohort, att, SHARES, control="not_yet_treated", size=99, rng=np.random.default_rng(1))
        assert table.loc["all", "p_value"] >= 0.01
        assert table.loc["all", "detectable"] == pytest.approx(2.8016 * table.loc["all", "se"], rel=1e-4)
        return {check.code: check.verdict for check in checks}

    sure = {"ROX-L08": Verdict.PASS, "ROX-L20": Verdict.PASS}
    assert codes(*found) == sure | {"ROX-L13": Verdict.NOTE}
    assert codes(replace(found[0], assigned="chosen"), found[1]) == sure | {"ROX-L14": Verdict.NOTE}
    few = measured(bank_of_places(4, places=7, starts=(12,)))
    assert codes(*few)["ROX-L08"] is Verdict.DEMOTE
    many = measured(bank_of_places(5, places=70, customers=10, starts=(12,)))
    _, checks = precision(*many, SHARES, control="not_yet_treated", size=99, rng=np.random.default_rng(1))
    assert checks[0] == Check(code="ROX-L08", verdict=Verdict.PASS, values={"treated": 35})
    assert [check.code for check in checks] == ["ROX-L08", "ROX-L20"]


def test_an_effect_that_chance_alone_could_halve_is_said() -> None:
    cohort, att = measured(bank_of_places(6, effect=(0.0005, 0.0005)))
    _, checks = precision(cohort, att, SHARES, control="not_yet_treated", size=99, rng=np.random.default_rng(1))
    (said,) = [check for check in checks if check.code == "ROX-L20"]
    assert said.verdict is Verdict.NOTE
    assert said.values["reach"] > 0.5 * abs(said.values["effect"])


# Before the start


def grade_of(cohort: Rollout, att: RolloutATT) -> Grade:
    leads = checks_of_leads(att, leads=6)
    return grade_after(Grade.B, (assignment_check(cohort, leads), *leads, dip_check(cohort, att)))


def test_choosing_places_by_their_growth_is_noticed() -> None:
    """The estimate is off by more than half, and the leads say so in at least 8 of 10 worlds."""
    verdicts, gaps, grades = [], [], []
    for seed in range(10):
        cohort, att = measured(bank_of_places(200 + seed, order="growth", drift=0.004, effect=(0.05, 0.05)))
        verdicts.append(checks_of_leads(att, leads=6)[0].verdict)
        gaps.append(att.estimate @ SHARES - 0.05)
        grades.append(grade_of(cohort, att))
    assert np.mean(gaps) > 0.025
    assert verdicts.count(Verdict.DEMOTE) >= 8
    assert all(grade >= Grade.D for grade in grades)


def test_without_a_trend_the_leads_rarely_complain() -> None:
    verdicts = [checks_of_leads(measured(bank_of_places(300 + seed))[1], leads=6)[0].verdict for seed in range(20)]
    assert verdicts.count(Verdict.DEMOTE) <= 4


def test_removing_own_trends_mends_a_choice_by_growth() -> None:
    plain, mended = [], []
    for seed in range(10):
        cohort, att = measured(bank_of_places(400 + seed, order="growth", drift=0.004, effect=(0.05, 0.05)))
        table = rivals(cohort, att, SHARES, leads=6, control="not_yet_treated", pooled=(0.0, 1.0))["estimate"]
        plain.append(table["group_time"] - 0.05)
        mended.append(table["own_trend_removed"] - 0.05)
    assert abs(np.mean(mended)) < np.mean(plain) / 3


def test_the_bias_of_a_missed_trend_is_what_that_trend_adds(data: Linked) -> None:
    cohort, _ = measured(data)
    outcome = cohort.means(cohort.ratio)
    fair = rollout_att(cohort, outcome, window=(6, 11), control="never_treated")
    missed = leads_test(fair, leads=6)
    trend = missed.slope * (cohort.months - START)[None, :, None] * np.isfinite(cohort.starts)[:, None, None]
    unfair = rollout_att(cohort, outcome + trend, window=(6, 11), control="never_treated")
    np.testing.assert_allclose(unfair.window.overall - fair.window.overall, missed.bias, rtol=1e-9)


def test_a_trend_of_that_size_is_found_four_times_in_five() -> None:
    noticed = []
    for seed in range(40):
        cohort, _ = measured(bank_of_places(500 + seed))
        outcome = cohort.means(cohort.ratio)
        slope = leads_test(rollout_att(cohort, outcome, window=(6, 11), control="never_treated"), leads=6).slope
        trend = slope * (cohort.months - START)[None, :, None] * np.isfinite(cohort.starts)[:, None, None]
        unfair = rollout_att(cohort, outcome + trend, window=(6, 11), control="never_treated")
        noticed.append(leads_test(unfair, leads=6).p_value < 0.05)
    assert 0.65 <= np.mean(noticed) <= 0.95


@pytest.mark.parametrize(("assigned", "verdict"), [("random", Verdict.NOTE), ("chosen", Verdict.DEMOTE)])
def test_a_dip_before_the_start_is_noticed(assigned: str, verdict: Verdict) -> None:
    cohort, att = measured(bank_of_places(6, dip=0.06))
    assert dip_check(replace(cohort, assigned=assigned), att).verdict is verdict
    assert dip_check(*measured(bank_of_places(6))).verdict is Verdict.PASS


def test_a_short_history_cannot_show_a_dip(data: Linked) -> None:
    cohort, att = measured(bank_of_places(7, starts=(12,)), history=4)
    assert dip_check(cohort, att).code == "ROX-L04"


def test_how_places_were_chosen_caps_the_grade(found: tuple[Rollout, RolloutATT]) -> None:
    passed = tuple(Check(code=code, verdict=Verdict.PASS) for code in ("ROX-L01", "ROX-L02"))
    weak = (passed[0], Check(code="ROX-L02", verdict=Verdict.NOTE))

    def grade(assigned: str, leads: Any) -> Grade:
        return grade_after(Grade.B, [assignment_check(replace(found[0], assigned=assigned), leads)])

    assert [grade("random", passed), grade("random", weak)] == [Grade.B, Grade.B]
    assert [grade("chosen", passed), grade("chosen", weak)] == [Grade.B, Grade.D]
    assert [grade("unknown", passed), grade("unknown", weak)] == [Grade.C, Grade.D]


def test_an_effect_that_earlier_drift_explains_is_a_correlation() -> None:
    """Places that grow faster anyway go first: the line through the months before takes the effect away."""
    cohort, att = measured(bank_of_places(3, order="growth", drift=0.01, effect=(0.0, 0.0)))
    found = drift_check(cohort, att)
    before = (att.path.labels < 0) & np.isfinite(att.path.estimate[:, -1])
    slope = np.polyfit(att.path.labels[before], att.path.estimate[before, -1], 1)[0]
    assert found.values["left"] == pytest.approx(found.values["effect"] - 100 * slope * (8.5 + 1))
    assert found.values["effect"] > 5
    assert abs(found.values["left"]) < 0.5 * found.values["effect"]
    assert grade_after(Grade.B, [found]) is Grade.D
    assert drift_check(replace(cohort, assigned="random"), att).verdict is Verdict.PASS


def test_an_effect_that_stands_out_of_the_drift_keeps_its_grade() -> None:
    cohort, att = measured(bank_of_places(2, effect=(0.3, 0.3)))
    found = drift_check(replace(cohort, assigned="chosen"), att)
    assert found.verdict is Verdict.PASS
    assert found.values["low"] > 0
    assert "turns +" in found.sentence()


def test_checks_speak_of_the_effect_in_the_mix_that_is_reported() -> None:
    cohort, att = measured(bank_of_places(2, effect=(0.05, 0.30)))
    found = drift_check(cohort, att, SHARES)
    assert found.values["effect"] == pytest.approx(100 * float(att.estimate @ SHARES))
    assert found.values["effect"] != pytest.approx(drift_check(cohort, att).values["effect"], rel=0.05)
    assert checks_of_leads(att, leads=6, shares=SHARES)[1].values["effect"] == pytest.approx(found.values["effect"])
    table, _ = honest_trends(cohort, att, SHARES)
    assert table.loc[0.0, "low"] < float(att.estimate @ SHARES) < table.loc[0.0, "high"]


def test_too_short_a_past_to_ask_about_drift_caps_the_grade_of_chosen_places() -> None:
    data = bank_of_places(2)
    cohort = rollout(data, initiative=None, base=3, history=3, cap=3.0)
    att = rollout_att(cohort, cohort.means(cohort.ratio), window=(6, 11))
    table, (check,) = honest_trends(replace(cohort, assigned="chosen"), att)
    assert table.empty
    assert (check.code, check.verdict, check.to_grade) == ("ROX-L26", Verdict.DEMOTE, Grade.C)
    assert honest_trends(cohort, att)[1][0].verdict is Verdict.NOTE


def test_segments_that_move_apart_within_places_widen_the_errors() -> None:
    """A shock of each segment of each place: errors grow by what it adds, and not by shocks of whole places."""
    rng = np.random.default_rng(1)
    unit, segment = np.repeat(np.arange(60), 4), np.tile(np.arange(4), 60)
    variance = 0.02**2 * np.array([1.0, 2.0, 4.0, 8.0])[segment]
    calm = 0.1 * rng.standard_normal(60)[unit] + np.sqrt(variance) * rng.standard_normal(240)
    assert 1 <= _stretch(calm, variance, unit, segment) < 1.25
    wild = calm + np.sqrt(3 * variance) * rng.standard_normal(240)
    assert _stretch(wild, variance, unit, segment) == pytest.approx(4, rel=0.25)
    assert _stretch(wild[:2], variance[:2], unit[:2], segment[:2]) == 1


def test_a_prior_of_another_quantity_is_refused(data: Linked) -> None:
    normal = NormalMixture.normal(0.0, 0.1)
    other = replace(StaggeredUplift().estimand(data), unit=Unit.MONEY_PER_CUSTOMER, currency="CNY")
    prior = Prior(mixture=normal, informative=normal, type="refit", estimand=other)
    with pytest.raises(FitError, match=r"unit: the prior has money_per_customer, this fit ratio"):
        StaggeredUplift(prior=prior).fit(data)
    with pytest.raises(FitError, match="no Prior"):
        StaggeredUplift(prior=0.1)  # type: ignore[arg-type]


# Rivals


def test_comparisons_add_up_to_the_static_coefficient(found: tuple[Rollout, RolloutATT]) -> None:
    cohort, att = found
    table = twfe_comparisons(cohort, att)
    assert table["weight"].sum() == pytest.approx(1)
    assert set(table["kind"]) == {"never", "not_yet", "already"}
    places, months = att.outcome.shape[:2]
    started = (cohort.months[None, :] >= cohort.starts[:, None]).astype(float)
    fit = within_regression(
        att.outcome[:, :, -1].ravel(),
        started.ravel(),
        np.repeat(np.arange(places), months),
        time=np.tile(np.arange(months), places),
        weights=np.repeat(cohort.sizes.sum(1), months),
    )
    assert table["weight"] @ table["estimate"] == pytest.approx(fit.coefficient[0], rel=1e-9)


def test_rivals_answer_wrongly_where_the_effect_grows() -> None:
    gaps = []
    for seed in range(10):
        cohort, att = measured(bank_of_places(600 + seed, effect=(0.1, 0.1), leaving=0.01))
        table = rivals(cohort, att, SHARES, leads=6, control="not_yet_treated", pooled=(0.1, 0.01))
        gaps.append(table["estimate"] - table.loc["group_time", "estimate"])
        assert table["low"].lt(table["high"]).all()
    mean = pd.DataFrame(gaps).mean()
    assert mean["static_twfe"] < -0.01
    assert mean["before_after"] < -0.05


def test_static_coefficient_weighs_segments_by_shares(found: tuple[Rollout, RolloutATT]) -> None:
    alone = [static_twfe(*found, np.eye(2)[place])[0] for place in range(2)]
    assert static_twfe(*found, SHARES)[0] == pytest.approx(SHARES @ alone)


# The score


def test_the_score_of_those_who_answer(data: Linked) -> None:
    cohort, _ = measured(bank_of_places(8, customers=300))
    table, check = score_effect(cohort, window=(6, 11), control="not_yet_treated")
    assert check.code == "ROX-L16"
    assert table.loc["window", "score"] == pytest.approx(0.95, abs=3 * table.loc["window", "score_se"])
    assert table.loc["-1", "score"] == 0


def test_too_few_answers_are_said(data: Linked) -> None:
    frame = data.frame()
    table, check = score_effect(
        measured(with_frame(data, frame.assign(score=np.nan)))[0], window=(6, 11), control="not_yet_treated"
    )
    assert table.empty
    assert check.code == "ROX-L18"


# What cannot be asked


def test_a_question_that_cannot_be_asked_lists_every_fault() -> None:
    with pytest.raises(FitError) as caught:
        StaggeredUplift(window=(5, 2), cap=0, base=0, control="none")  # type: ignore[arg-type]
    assert len(caught.value.faults) == 4


def test_what_the_data_cannot_answer_is_said(data: Linked) -> None:
    def refused(changed: Linked, **choices: Any) -> str:
        with pytest.raises(FitError) as caught:
            StaggeredUplift(**choices).fit(changed)
        return str(caught.value)

    assert "refit" in refused(data, initiative="loan")
    two = pd.concat([data.starts, data.starts.assign(initiative="loan")])
    assert "initiative='loan'" in refused(replace(data, starts=two))
    assert "no roll-out" in refused(replace(data, starts=data.starts.iloc[:0]))
    assert "window" in refused(data, window=(20, 25))
    assert "before" in refused(replace(data, starts=data.starts.assign(start=START + 1)))
    everywhere = pd.DataFrame({"initiative": "refit", "unit": data.frame()["unit"].unique(), "start": START + 12})
    assert "No customer can be followed" in refused(replace(data, starts=everywhere))


def test_a_panel_that_cannot_be_used_lists_every_fault(data: Linked) -> None:
    frame = data.frame().copy()
    frame.loc[0, "outcome"], frame.loc[1, "outcome"], frame.loc[2, "weight"] = -1.0, np.nan, 0.0
    with pytest.raises(DataError) as caught:
        measured(with_frame(data, pd.concat([frame, frame.tail(1)])))
    assert len(caught.value.faults) == 4
    with pytest.raises(DataError, match="place"):
        measured(with_frame(data, data.frame().assign(unit=None)))


# The whole


@pytest.fixture(scope="module")
def effect(data: Linked) -> Effect:
    return StaggeredUplift(placebos=199).fit(data, rng=1)


@pytest.mark.slow
def test_the_effect_says_what_it_is(effect: Effect, data: Linked) -> None:
    estimand = effect.estimand
    assert (effect.name, effect.groups, effect.grade) == ("uplift", ("gold", "mass"), Grade.B)
    assert (estimand.question, estimand.dose, estimand.unit) == (Question.INITIATIVE, Dose.INITIATIVE, Unit.RATIO)
    assert (estimand.window, estimand.horizon, estimand.includes_exit) == ((6, 11), 11, True)
    assert estimand.channels == {"retention", "expansion"}
    assert "2024-01" in estimand.population
    assert effect.trail[: len(data.trail)] == data.trail
    assert effect.counts["treated_units"] == 16
    for check in effect.checks:
        assert check.sentence("en")
        assert check.sentence("zh")


@pytest.mark.slow
def test_pooled_effects_hold_the_truth_and_borrow_from_each_other(effect: Effect, data: Linked) -> None:
    pooling = StaggeredUplift(placebos=99, prior_by_money=1e-6).fit(data, rng=1).tables["pooling"]
    assert (np.abs(effect.summary()["mean"][:2] - [0.05, 0.10]) < 3 * effect.summary()["sd"][:2]).all()
    raw_gap, pooled_gap = (abs(pooling.loc["gold", each] - pooling.loc["mass", each]) for each in ("raw", "pooled"))
    assert pooled_gap < raw_gap
    np.testing.assert_allclose(effect.tables["pooling"]["pooled"][:2], effect.draws.mean(0))


@pytest.mark.slow
def test_a_prior_from_the_past_moves_the_effect_and_is_shown(effect: Effect, data: Linked) -> None:
    model = StaggeredUplift(placebos=99)
    finding = NormalMixture(weights=[0.5, 0.5], means=[0.30, 0.20], sds=[0.02, 0.02])
    past = NormalMixture.normal(0.30, 0.02)
    prior = Prior(mixture=finding, informative=past, type="refit", estimand=model.estimand(data))
    moved = replace(model, prior=prior).fit(data, rng=1)
    assert model.estimand(data) == effect.estimand
    assert moved.overall.mean() > effect.overall.mean() + 0.001
    assert moved.tables["priors"].loc["neutral", "prior_mean"] == pytest.approx(finding.mean)
    conflict = {check.code: check for check in moved.checks}["ROX-B01"]
    assert conflict.verdict is Verdict.NOTE
    assert {check.code: check for check in effect.checks}["ROX-B01"].verdict is Verdict.PASS


def test_an_effect_that_drift_could_explain_keeps_its_grade_only_where_the_lot_chose() -> None:
    cohort, att = measured(bank_of_places(seed=3, effect=(0.03, 0.03), noise=0.3, shock=0.04))
    table, (by_lot,) = honest_trends(cohort, att)
    _, (chosen,) = honest_trends(replace(cohort, assigned="chosen"), att)
    assert by_lot.values == chosen.values
    assert by_lot.verdict is Verdict.PASS
    survives = float(by_lot.values["m"])
    assert survives < 1
    assert (chosen.verdict, chosen.to_grade) == (Verdict.DEMOTE, Grade.C if survives >= 0.5 else Grade.D)
    assert (np.diff(table["low"]) <= 1e-12).all()
    assert (np.diff(table["high"]) >= -1e-12).all()
    holds_zero = table["low"] * table["high"] <= 0
    assert (holds_zero == (table.index > survives)).all()
    quiet, (sure,) = honest_trends(*measured(bank_of_places(seed=3, effect=(0.4, 0.4), noise=0.05, shock=0.001)))
    assert float(sure.values["m"]) > 1
    assert (quiet["low"] > 0).iloc[:3].all()


def test_places_alike_before_the_start_are_a_second_line_where_the_choice_leaves_any() -> None:
    def second_line(**world: Any) -> pd.DataFrame:
        cohort, att = measured(bank_of_places(places=60, **world))
        return rivals(cohort, att, SHARES, leads=6, control="not_yet_treated", pooled=(0.0, 1.0))

    table = second_line(seed=2)
    gap = abs(table.loc["doubly_robust", "estimate"] - table.loc["group_time", "estimate"])
    assert 0 < gap < 2 * table.loc["group_time", "se"]
    assert 0.5 < table.loc["doubly_robust", "se"] / table.loc["group_time", "se"] < 2
    chosen = second_line(seed=2, drift=0.004, order="growth")
    assert np.isnan(chosen.loc["doubly_robust", "estimate"])
    assert np.isfinite(chosen.loc["own_trend_removed", "estimate"])


@pytest.mark.slow
def test_the_path_averages_to_the_raw_window(effect: Effect) -> None:
    assert effect.path is not None
    assert effect.path_months == tuple(range(-6, 12))
    window = effect.path[:, :, -6:].mean(axis=2)
    raw = effect.tables["pooling"].iloc[:2]
    np.testing.assert_allclose(window.mean(0), raw["raw"], atol=4 * raw["se"].max() / np.sqrt(4000))
    np.testing.assert_allclose(window.std(0), raw["se"], rtol=0.06)
    assert not effect.path[:, :, effect.path_months.index(-1)].any()
    study = effect.tables["event_study"].set_index(["group", "month"])
    np.testing.assert_allclose(effect.path.mean(0)[1], study.loc["mass"].loc[-6:11, "estimate"], atol=0.002)


@pytest.mark.slow
def test_it_is_saved_without_its_model(effect: Effect, tmp_path: Path) -> None:
    again = Effect.load(effect.save(tmp_path / "uplift.npz"))
    np.testing.assert_array_equal(again.draws, effect.draws)
    assert again.as_record() == effect.as_record()


@pytest.mark.slow
def test_the_bundled_bank_gives_its_own_truth(bank_tables: Tables) -> None:
    from rox.linking.link import link
    from rox.simulate.bundled import bundled_truth

    effect = StaggeredUplift().fit(link(bank_tables, score="nps", outcome="aum"), rng=1)
    truth = bundled_truth()["rollout"]["ratio_gain"].loc[list(effect.groups)]
    summary = effect.summary().iloc[:-1]
    assert (np.abs(summary["mean"] - truth) < 3 * summary["sd"]).all()
    assert abs(effect.overall.mean() - truth @ effect.shares) < 3 * effect.overall.std()
    assert effect.tables["rivals"].loc["before_after", "estimate"] < 0 < effect.overall.mean()
    assert {check.code: check.verdict for check in effect.checks}["ROX-L10"] is Verdict.NOTE
