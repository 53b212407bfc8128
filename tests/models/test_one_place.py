"""One treated place, one series, and places that affect each other: worlds whose effect is written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import DataError, FitError
from rox.core.estimand import Question
from rox.core.linked import Linked, month_index
from rox.core.units import Dose, Unit
from rox.core.words import LANGUAGES
from rox.models.interference import spillover
from rox.models.interrupted_series import InterruptedSeries
from rox.models.one_place import place_series
from rox.models.synthetic_places import Comparison, compare, earlier, jackknife, placebos
from rox.models.synthetic_uplift import SyntheticUplift
from rox.testing import check_estimator, linked_from_frame, sample_linked

START = month_index(2022, 1)


def bank(
    seed: int = 0,
    *,
    effect: float = 0.10,
    treated: int = 1,
    places: int = 14,
    customers: int = 25,
    months: int = 40,
    start: int = 26,
    apart: float = 0.0,
    early: float = 0.0,
    leaving: float = 0.003,
    near: pd.DataFrame | None = None,
    spill: float = 0.0,
    waves: int = 1,
    shock: float = 0.01,
    assigned: Any = "random",
    other: bool = False,
) -> Linked:
    """Money = own level · (1 + season + place's walk + luck + apart·month + early + effect).

    Args:
        seed: Of everything.
        effect: From the start on, at the places treated (the first ones).
        treated: Places that start.
        places: All of them.
        customers: Per place.
        months: Of the ledger.
        start: Month of the first start.
        apart: Lasting trend per month of the treated places.
        early: What treated places gain in the six months before the start.
        leaving: Monthly probability of leaving.
        near: Nearness; places pass ``spill`` times their neighbours' exposure on.
        spill: Effect of full exposure.
        waves: Starts, four months apart.
        shock: Of a place, each month.
        assigned: How the places were chosen.
        other: Whether the first place also has another initiative.
    """
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(places), customers)
    begin = np.where(np.arange(places) < treated, start + 4 * (np.arange(places) % waves), 10**6)
    if near is not None:
        begin = rng.permutation(begin)
    month = np.arange(months)[:, None]
    walk = np.cumsum(shock * rng.standard_normal((months, places)), axis=0)
    since = month - begin
    gain = effect * (since >= 0) + early * ((since >= -6) & (since < 0)) + apart * month * (begin < 10**6)
    if near is not None:
        share = near.to_numpy() / np.maximum(near.to_numpy().sum(1, keepdims=True), 1)
        gain = gain + spill * ((begin <= month) @ share.T)
    luck = np.cumsum(0.02 * rng.standard_normal((months, place.size)), axis=0)
    level = np.exp(rng.normal(9, 1, place.size))
    money = level * np.maximum(1 + 0.02 * np.sin(month / 2) + (walk + gain)[:, place] + luck, 0)
    chance = rng.random((months, place.size)) < leaving
    gone = np.where(chance.any(0), chance.argmax(0), 10**6)
    customer, at = np.nonzero((month <= gone).T)
    frame = pd.DataFrame(
        {
            "customer": customer,
            "month": START + at,
            "unit": [f"P{each:02d}" for each in place[customer]],
            "outcome": money[at, customer],
            "exit_month": np.where(gone < 10**6, START + gone, np.nan)[customer],
            "voluntary": (gone < 10**6)[customer],
        }
    )
    begun = pd.DataFrame({"unit": [f"P{each:02d}" for each in range(places)], "start": START + begin})
    begun = begun[begin < 10**6].assign(initiative="refit")
    if other:
        begun = pd.concat([begun, pd.DataFrame({"unit": ["P00"], "start": [START + 30], "initiative": ["tills"]})])
    return linked_from_frame(frame, starts=begun, assigned=assigned)


def verdicts(checks: tuple[Check, ...]) -> dict[str, Verdict]:
    for check in checks:
        for language in LANGUAGES:
            assert check.sentence(language)
    return {check.code: check.verdict for check in checks}


def ratio_of(data: Linked, **changed: Any) -> Any:
    return place_series(data, **{"initiative": None, "base": 3, "history": 24, "least": 12, "cap": 3.0} | changed)


def test_the_series_is_the_mean_of_customers_own_ratios() -> None:
    data = bank(1, leaving=0.01)
    series = ratio_of(data)
    frame = data.frame()
    begin = START + 26
    rows = frame[(frame["month"] >= begin - 24) & ~(frame["exit_month"] < begin)]
    before = rows[rows["month"] < begin].groupby("customer")["month"].nunique()
    rows = rows[rows["customer"].isin(before.index[before == 24]) & (rows["unit"] == "P03")]
    own = rows[(rows["month"] >= begin - 3) & (rows["month"] < begin)].groupby("customer")["outcome"].mean()
    ratio = rows["outcome"] / own.reindex(rows["customer"]).to_numpy()
    left = rows["month"] > rows["exit_month"].fillna(np.inf)
    expected = ratio.where(~left, 0.0).groupby(rows["month"]).sum() / own.size
    assert series.ratio[series.units.index("P03")] == pytest.approx(expected.to_numpy())
    assert series.ratio[:, series.before - 3 : series.before].mean(1) == pytest.approx(1.0)
    assert series.before == 24


def test_a_cohort_frozen_at_the_opening_loses_customers_before_the_start_as_after() -> None:
    data = bank(2, leaving=0.02, effect=0.0, customers=60)
    at_start = ratio_of(data).ratio.mean(0)
    at_opening = ratio_of(data, frozen="opening", least=15).ratio.mean(0)
    # From a year before the start to a year after it.
    assert np.diff(at_start[12:24]).mean() - np.diff(at_start[24:36]).mean() > 0.01
    assert abs(np.diff(at_opening[9:21]).mean() - np.diff(at_opening[21:33]).mean()) < 0.006


@pytest.fixture(scope="module")
def one() -> Effect:
    return SyntheticUplift().fit(bank(3), rng=1)


def test_one_place_against_a_synthetic_one(one: Effect) -> None:
    low, high = np.quantile(one.overall, [0.05, 0.95])
    assert low < 0.10 < high
    assert one.grade is Grade.C
    assert one.groups == ("all",)
    assert one.counts["treated_units"] == 1
    assert one.counts["placebos"] == one.counts["control_units"] == 13
    asked = one.estimand
    assert (asked.question, asked.dose, asked.unit) == (Question.INITIATIVE, Dose.INITIATIVE, Unit.RATIO)
    found = verdicts(one.checks)
    assert found["ROX-L34"] is Verdict.DEMOTE
    assert found["ROX-L30"] is found["ROX-L32"] is found["ROX-L33"] is found["ROX-L05"] is Verdict.PASS


def test_the_path_averages_to_the_draws_and_the_tables_hold_together(one: Effect) -> None:
    months = np.array(one.path_months)
    inside = (months >= 6) & (months <= 11)
    assert one.path is not None
    assert one.path[:, 0, inside].mean(1) == pytest.approx(one.draws[:, 0])
    assert months[0] == -24
    study = one.tables["event_study"]
    assert study.loc[inside, "estimate"].mean() == pytest.approx(one.overall.mean(), abs=0.01)
    assert one.tables["weights"]["weight"].sum() == pytest.approx(1)
    spread = np.sqrt((one.tables["placebos"]["estimate"] ** 2).mean())
    assert one.overall.std() == pytest.approx(spread * np.sqrt(12 / 10), rel=0.1)
    without = one.tables["without_donor"]
    assert set(without["donor"]) <= set(one.tables["weights"]["donor"])


def test_several_places_are_recovered_without_bias() -> None:
    effects = [SyntheticUplift(placebos=50).fit(bank(seed, treated=3), rng=seed) for seed in range(12)]
    means = np.array([effect.overall.mean() for effect in effects])
    assert means.mean() == pytest.approx(0.10, abs=4 * means.std() / np.sqrt(12))
    assert np.mean([np.quantile(each.overall, 0.05) < 0.1 < np.quantile(each.overall, 0.95) for each in effects]) > 0.6
    assert all(effect.counts["treated_units"] == 3 for effect in effects)


def test_nothing_is_found_where_nothing_happened() -> None:
    ranks = []
    for seed in range(20):
        effect = SyntheticUplift().fit(bank(seed, effect=0.0), rng=seed)
        ranks.append(verdicts(effect.checks)["ROX-L31"] is Verdict.PASS)
    assert np.mean(ranks) <= 0.3


def test_places_of_several_starts_are_each_compared_with_those_not_started() -> None:
    late = SyntheticUplift().fit(bank(4, treated=8, waves=2, places=20), rng=1)
    assert verdicts(late.checks)["ROX-L43"] is Verdict.NOTE
    assert late.counts["treated_units"] == 4
    effect = SyntheticUplift().fit(bank(4, treated=8, waves=2, places=24, months=44), rng=1)
    assert effect.grade is Grade.B
    assert effect.overall.mean() == pytest.approx(0.10, abs=4 * effect.overall.std())
    assert verdicts(effect.checks)["ROX-L34"] is Verdict.PASS
    assert effect.counts["treated_units"] == 8


def test_with_few_left_to_stand_in_the_errors_come_from_a_jackknife() -> None:
    effect = SyntheticUplift().fit(bank(5, treated=8, places=14), rng=1)
    assert effect.counts["placebos"] == 0
    assert verdicts(effect.checks)["ROX-L44"] is Verdict.DEMOTE
    assert effect.grade is Grade.C
    assert effect.overall.mean() == pytest.approx(0.10, abs=4 * effect.overall.std())
    with pytest.raises(FitError, match="too few to stand in"):
        SyntheticUplift().fit(bank(5, treated=3, places=9), rng=1)


def test_the_jackknife_and_the_placebos_agree_where_both_can_be_had() -> None:
    series = ratio_of(bank(6, treated=10, places=30, effect=0.0))
    question = Comparison(
        outcome=series.ratio,
        starts=series.starts - series.months[0],
        sizes=series.sizes,
        window=(6, 11),
        method="synthetic_did",
    )
    months = compare(question).months
    inside = (months >= 6) & (months <= 11)
    rows = jackknife(question)[:, inside].mean(1)
    found = [each.estimate for each in placebos(question, size=60, rng=np.random.default_rng(1))]
    assert np.sqrt((rows**2).sum()) == pytest.approx(np.sqrt(np.mean(np.square(found))), rel=0.5)


def test_a_place_that_goes_its_own_way_before_the_start_is_refused() -> None:
    with pytest.raises(FitError, match="No weighted mean of other places follows"):
        SyntheticUplift().fit(bank(7, apart=0.02, shock=0.002), rng=1)


def test_what_was_there_before_the_start_lowers_the_grade() -> None:
    effect = SyntheticUplift().fit(bank(8, treated=3, early=0.04, shock=0.006), rng=1)
    assert verdicts(effect.checks)["ROX-L32"] is Verdict.DEMOTE
    assert effect.grade is Grade.D


def test_the_supposed_start_sees_nothing_of_the_true_one() -> None:
    series = ratio_of(bank(9, treated=3))
    question = Comparison(
        outcome=series.ratio,
        starts=series.starts - series.months[0],
        sizes=series.sizes,
        window=(6, 11),
        method="synthetic_did",
    )
    changed = series.ratio.copy()
    changed[:, series.before :] = 99.0
    other = Comparison(
        outcome=changed, starts=question.starts, sizes=question.sizes, window=(6, 11), method="synthetic_did"
    )
    assert compare(earlier(question, 6)).estimate == pytest.approx(compare(earlier(other, 6)).estimate)


def test_how_places_were_chosen_is_said() -> None:
    chosen = SyntheticUplift(initiative="refit").fit(
        bank(10, treated=8, places=20, assigned="chosen", other=True), rng=1
    )
    with pytest.raises(FitError, match="several initiatives"):
        SyntheticUplift().fit(bank(10, other=True), rng=1)
    found = verdicts(chosen.checks)
    assert found["ROX-L42"] is found["ROX-L19"] is Verdict.NOTE


@pytest.fixture(scope="module")
def long() -> Linked:
    return bank(15, treated=2, months=46, start=34, shock=0.002, customers=120, places=6)


def test_one_series_needs_a_list_of_events(long: Linked) -> None:
    with pytest.raises(FitError, match=r"ROX-L11.*\n.*2022-04 to 2025-10") as refused:
        InterruptedSeries().fit(long, rng=1)
    assert "events=()" in str(refused.value)
    clean = InterruptedSeries(events=()).fit(long, rng=1)
    found = verdicts(clean.checks)
    assert found["ROX-L11"] is found["ROX-L37"] is found["ROX-L38"] is Verdict.PASS
    assert clean.grade in (Grade.C, Grade.D)
    listed = InterruptedSeries(events=(("2024-10", "rate cut"), ("2019-01", "long before"))).fit(long, rng=1)
    assert listed.grade is Grade.D
    sentence = next(check.sentence() for check in listed.checks if check.code == "ROX-L11")
    assert "2024-10 rate cut" in sentence
    assert "long before" not in sentence
    assert listed.draws == pytest.approx(clean.draws)


def test_one_series_finds_a_break_that_is_plain(long: Linked) -> None:
    effect = InterruptedSeries(events=(), promotions=("2023-11", "2024-11")).fit(long, rng=1)
    assert effect.overall.mean() == pytest.approx(0.10, abs=4 * effect.overall.std())
    assert effect.overall.std() < 0.08
    assert effect.path is not None
    assert effect.path[:, 0, 6:12].mean(1) == pytest.approx(effect.draws[:, 0])
    assert "control_1" in effect.tables["coefficients"].index
    assert list(effect.tables["rivals"].index) == ["segmented", "forecast"]


def test_one_series_that_is_short_or_breaks_by_itself_is_worth_little() -> None:
    short = InterruptedSeries(events=()).fit(bank(12, start=18, months=31), rng=1)
    assert verdicts(short.checks)["ROX-L37"] is Verdict.DEMOTE
    assert short.grade is Grade.D
    broken = InterruptedSeries(events=()).fit(
        bank(13, months=46, start=34, early=0.2, shock=0.001, customers=100, places=4), rng=1
    )
    assert verdicts(broken.checks)["ROX-L38"] is Verdict.DEMOTE
    with pytest.raises(FitError, match="from the start on; 12 are needed"):
        InterruptedSeries(events=()).fit(bank(14, start=32), rng=1)


@pytest.mark.parametrize("model", [SyntheticUplift(), InterruptedSeries(events=())])
def test_contract(model: SyntheticUplift | InterruptedSeries) -> None:
    data = sample_linked()
    check_estimator(model, data)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (SyntheticUplift, {"window": (5, 2)}),
        (SyntheticUplift, {"least": 6}),
        (SyntheticUplift, {"history": 9}),
        (SyntheticUplift, {"method": "guess"}),
        (InterruptedSeries, {"promotions": ("2024-13",)}),
        (InterruptedSeries, {"events": (("May", "x"),)}),
        (InterruptedSeries, {"history": 12}),
    ],
)
def test_questions_that_cannot_be_asked(kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(FitError, match="cannot be asked"):
        kind(**wrong)


def grid(side: int = 5) -> pd.DataFrame:
    names = [f"P{each:02d}" for each in range(side * side)]
    x, y = np.divmod(np.arange(side * side), side)
    apart = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
    return pd.DataFrame((apart == 1).astype(float), index=names, columns=names)


def test_what_reaches_the_neighbours_is_seen() -> None:
    near = grid()
    world: dict[str, Any] = {"places": 25, "treated": 14, "waves": 4, "start": 14, "near": near, "shock": 0.003}
    reached = [spillover(bank(seed, spill=0.10, **world), near, deals=199, rng=1) for seed in range(4)]
    quiet = [spillover(bank(seed, spill=0.0, **world), near, deals=199, rng=1) for seed in range(8)]
    found = [each.estimate for each in reached]
    assert np.mean(found) == pytest.approx(0.10, abs=0.04)
    assert np.mean([verdicts(each.checks)["ROX-L23"] is Verdict.DEMOTE for each in reached]) >= 0.5
    assert np.mean([each.p_value < 0.05 for each in quiet]) <= 0.25
    assert all(each.watched == 11 for each in reached)
    assert {"ROX-L23", "ROX-L24"} <= set(verdicts(reached[0].checks))


def test_nearness_that_cannot_be_used_is_refused() -> None:
    data = bank(1, treated=4, places=14)
    near = pd.DataFrame(1.0, index=[f"P{i:02d}" for i in range(14)], columns=[f"P{i:02d}" for i in range(14)])
    with pytest.raises(DataError, match="same places"):
        spillover(data, near.iloc[:, :3])
    with pytest.raises(DataError, match="zero or more"):
        spillover(data, -near)
    with pytest.raises(DataError, match="none of its places"):
        spillover(data, near.rename(index=lambda name: "x" + name, columns=lambda name: "x" + name))
    with pytest.raises(FitError, match="nothing can be compared"):
        spillover(bank(1, treated=6, waves=3, places=14), near * 0.0)
    with pytest.raises(FitError, match="can be watched"):
        spillover(bank(1, treated=11, places=14), near)


def test_the_spread_of_customers_is_the_one_by_hand() -> None:
    data = bank(1, leaving=0.01)
    series = ratio_of(data)
    frame = data.frame()
    begin = START + 26
    wide = frame.pivot(index="customer", columns="month", values="outcome")
    wide = wide.loc[wide.loc[:, begin - 24 : begin - 1].notna().all(axis=1), begin - 24 :]
    gone = frame.groupby("customer")["exit_month"].first().reindex(wide.index)
    wide = wide[~(gone < begin)]
    ratio = wide.div(wide.loc[:, begin - 3 : begin - 1].mean(axis=1), axis=0).fillna(0.0).clip(upper=3.0)
    unit = frame.groupby("customer")["unit"].first().reindex(ratio.index)
    apart = (ratio - ratio.groupby(unit).transform("mean")).to_numpy()
    np.testing.assert_allclose(series.spread, apart.T @ apart / (len(apart) - unit.nunique()), atol=1e-12)


def test_placebos_have_the_luck_of_as_few_customers_as_started() -> None:
    months, places, rng = 36, 16, np.random.default_rng(2)
    spread = np.minimum.outer(np.arange(1.0, months + 1), np.arange(1.0, months + 1)) * 0.02
    half, sizes = np.linalg.cholesky(spread), np.full(places, 400.0)
    sizes[0] = 30
    starts = np.full(places, np.inf)
    starts[0] = 24
    true, told, blind = [], [], []
    for _ in range(6):
        outcome = 1 + (half @ rng.standard_normal((months, places)) / np.sqrt(sizes)).T
        question = Comparison(
            outcome=outcome, starts=starts, sizes=sizes, window=(6, 11), method="synthetic_did", spread=spread
        )
        true.append(compare(question).estimate ** 2)
        told.append(np.mean([each.estimate**2 for each in placebos(question, size=50, rng=rng)]))
        blind.append(np.mean([each.estimate**2 for each in placebos(replace(question, spread=None), size=50, rng=rng)]))
    assert np.mean(told) > 4 * np.mean(blind)
    assert 0.3 < np.mean(told) / np.mean(true) < 4


def test_one_series_is_no_surer_than_its_forecast(long: Linked) -> None:
    for data in (long, bank(21, treated=2, months=46, start=34, shock=0.03, customers=120, places=6)):
        effect = InterruptedSeries(events=(), draws=4000).fit(data, rng=1)
        rivals = effect.tables["rivals"]
        assert effect.overall.std() > 0.95 * rivals["se"].max()
        study = effect.tables["event_study"]
        assert study.loc[6:11, "se"].mean() > 0.9 * rivals["se"].max()
