"""Those who do not answer: weights, models, bounds, benchmarks, and whether the same kind of customer answers."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox import simulate
from rox.core.check import Verdict
from rox.core.errors import DataError
from rox.core.study import Scale, read_study
from rox.core.words import LANGUAGES
from rox.metrics.silence import silence
from rox.metrics.silence_balance import balance
from rox.metrics.silence_cells import cells_from, merged_codes
from rox.metrics.silence_checks import of_benchmarks
from rox.metrics.silence_doubts import Conclusion, curves, late, ranked_pairs, sensitivity
from rox.metrics.silence_estimates import readings_of
from rox.metrics.silence_facts import Fact
from rox.metrics.silence_mechanism import mechanism
from rox.metrics.silence_models import two_models
from rox.metrics.silence_weights import concentration, overlap, weigh
from rox.numerics.survey import weight_concentration
from rox.simulate.tables import tables as bank_tables

NOW, BEFORE = "2025-12-10", "2025-09-10"


def world(
    *, people: int = 3000, rate=0.3, later_rate=None, answer=None, seed: int = 1, waves=(BEFORE, NOW), extra=()
) -> dict[str, pd.DataFrame]:
    """Customers of three segments, asked in each wave; rates and answers are functions of the customers' frame."""
    rng = np.random.default_rng(seed)
    customers = pd.DataFrame(
        {"customer": np.arange(people), "segment": rng.choice(["a", "b", "c"], people, p=[0.5, 0.3, 0.2])}
    )
    customers["heavy"] = rng.random(people) < 0.5
    said = answer or (lambda frame: np.where(frame["segment"] == "a", 10, np.where(frame["segment"] == "b", 8, 3)))
    invitations, answers = [], []
    for i, date in enumerate(waves):
        use = later_rate if i == len(waves) - 1 and later_rate is not None else rate
        chance = use(customers) if callable(use) else np.full(people, use)
        keys = [f"{i}-{c}" for c in customers["customer"]]
        invitations.append(pd.DataFrame({"key": keys, "customer": customers["customer"], "date": pd.Timestamp(date)}))
        given = rng.random(people) < chance
        days = rng.integers(0, 9, people)
        answers.append(
            pd.DataFrame(
                {
                    "key": [f"a{key}" for key in keys],
                    "invitation": keys,
                    "customer": customers["customer"],
                    "date": pd.Timestamp(date) + pd.to_timedelta(days, "D"),
                    "nps": said(customers),
                }
            )[given]
        )
    frames = {"invitations": pd.concat(invitations), "answers": pd.concat(answers)}
    if "events" in extra:
        dates = [pd.Timestamp(date) - pd.DateOffset(months=1) for date in waves]
        parts = [pd.DataFrame({"customer": customers.loc[customers["heavy"], "customer"], "date": d}) for d in dates]
        logins = [pd.DataFrame({"customer": customers["customer"], "date": d}) for d in dates]
        events = [part.assign(kind="visit", count=4) for part in parts] + [
            p.assign(kind="login", count=1) for p in logins
        ]
        frames["events"] = pd.concat(events)
    return {"customers": customers.drop(columns="heavy"), **frames}


def unequal(frame):
    return frame["segment"].map({"a": 0.2, "b": 0.4, "c": 0.7}).to_numpy()


@pytest.fixture(scope="module")
def asked() -> dict[str, pd.DataFrame]:
    """Customers who answer by their segment alone."""
    return world(rate=unequal)


@pytest.fixture(scope="module")
def loaded(few, asked):
    return few(**asked)


@pytest.fixture(scope="module")
def repaired(loaded):
    return silence(loaded, margins=["segment"])


@pytest.fixture(scope="module")
def missed(few):
    """Estimates from answers of those who visit, who are not weighted by it."""
    rng = np.random.default_rng(5)
    more = lambda frame: np.where(frame["heavy"], 0.5, 0.15)  # noqa: E731
    frames = world(rate=more, answer=lambda frame: rng.integers(0, 11, len(frame)), waves=(NOW,), extra=("events",))
    return silence(few(**frames), margins=["segment"])


def value(found, estimator, period=NOW[:7], metric="nps", column="value"):
    rows = found.estimates.set_index(["estimator", "period", "metric"])
    return rows.loc[(estimator, period, metric), column]


def verdicts(found):
    return {check.code: check.verdict for check in found.checks}


def test_with_everybody_answering_all_estimates_are_the_same(few):
    found = silence(few(**world(people=600, rate=1.0, waves=(NOW,))))
    for metric in ("nps", "mean", "top_two"):
        raw = value(found, "raw", metric=metric)
        assert value(found, "raked", metric=metric) == pytest.approx(raw, abs=1e-9)
        assert value(found, "two_models", metric=metric) == pytest.approx(raw, abs=1e-9)
    worst = found.bounds.set_index(["metric", "kind"]).loc[("nps", "worst_case")]
    assert worst["low"] == pytest.approx(worst["high"])


def test_answers_that_depend_on_the_segment_alone_are_put_right_exactly(asked, repaired):
    found = repaired
    share = asked["customers"]["segment"].value_counts(normalize=True)
    truth = 100 * (share["a"] - share["c"])
    assert abs(value(found, "raw") - truth) > 20
    assert value(found, "raked") == pytest.approx(truth, abs=1e-4)
    assert value(found, "two_models") == pytest.approx(truth, abs=1e-4)
    assert value(found, "raked", metric="mean") == pytest.approx(
        10 * share["a"] + 8 * share["b"] + 3 * share["c"], abs=1e-4
    )
    assert value(found, "raked", metric="top_two") == pytest.approx(share["a"], abs=1e-6)
    assert found.margins == ("segment",)
    assert verdicts(found)["ROX-N05"] is Verdict.PASS
    assert verdicts(found)["ROX-N07"] is Verdict.NOTE
    assert verdicts(found)["ROX-N06"] is Verdict.PASS
    assert set(found.mechanism["rate"].round(1)) >= {0.2, 0.7}


def test_design_weights_are_kept(few):
    frames = world(people=900, rate=unequal, waves=(NOW,))
    frames["customers"]["weight"] = np.where(frames["customers"]["segment"] == "c", 50.0, 1.0)
    people = frames["customers"].groupby("segment")["weight"].sum()
    truth = 100 * (people["a"] - people["c"]) / people.sum()
    assert value(silence(few(**frames), margins=["segment"]), "raked") == pytest.approx(truth, abs=1e-4)


def test_the_error_is_that_of_poststratification(few):
    rng = np.random.default_rng(9)
    feel = lambda frame: np.clip(  # noqa: E731
        np.rint(7 + 2 * (frame["segment"] == "a") + 2 * rng.normal(size=len(frame))), 0, 10
    )
    frames = world(people=6000, rate=unequal, answer=feel, waves=(NOW,))
    found = silence(few(**frames), margins=["segment"])
    answers = frames["answers"].merge(frames["customers"], on="customer")
    each = answers.groupby("segment")["nps"].agg(["mean", "var", "count"])
    share = frames["customers"]["segment"].value_counts(normalize=True)
    mean = (share * each["mean"]).sum()
    variance = (share**2 * each["var"] / each["count"]).sum() + (share * (each["mean"] - mean) ** 2).sum() / 6000
    assert value(found, "raked", metric="mean") == pytest.approx(mean, abs=1e-6)
    for estimator in ("raked", "two_models"):
        assert value(found, estimator, metric="mean", column="se") == pytest.approx(np.sqrt(variance), rel=0.25)
    assert (found.before, len(found.mechanism)) == ("", 0)


def test_without_invitations_only_bounds_are_given(few):
    frames = world(rate=unequal)
    del frames["invitations"]
    frames["answers"] = frames["answers"].drop(columns="invitation").assign(date=pd.Timestamp(NOW))
    frames["answers"] = frames["answers"].drop_duplicates("customer")
    found = silence(few(**frames))
    answers = frames["answers"]["nps"]
    rate, raw = len(answers) / 3000, 100 * ((answers >= 9).mean() - (answers <= 6).mean())
    assert verdicts(found) == {"ROX-N01": Verdict.DEMOTE}
    assert found.spread == pytest.approx((rate * raw - 100 * (1 - rate), rate * raw + 100 * (1 - rate)))
    assert list(found.estimates["estimator"].unique()) == ["raw"]


def test_a_benchmark_that_is_missed_is_told(missed):
    gaps, balance = (frame.set_index("fact").loc["events_visit"] for frame in (missed.benchmarks, missed.balance))
    assert verdicts(missed)["ROX-N04"] is Verdict.DEMOTE
    assert gaps["gap"] == pytest.approx((0.5 / 0.65 - 0.5) / 0.5, abs=0.1)
    assert balance["kind"] == "benchmark"
    assert balance["raw"] == pytest.approx(gaps["gap_unweighted"])
    assert balance["raked"] == pytest.approx(gaps["gap"])
    assert balance["two_models"] == pytest.approx(gaps["gap"], abs=0.05)


@pytest.mark.parametrize(
    ("gap", "p", "verdict", "told"),
    [
        (0.04, 0.001, Verdict.PASS, "0.04 sd"),
        (-0.15, 0.11, Verdict.NOTE, "cannot be told"),
        (-0.15, 0.01, Verdict.DEMOTE, "Expect similar gaps"),
    ],
)
def test_a_benchmark_passes_only_if_it_is_met(gap, p, verdict, told):
    rows = pd.DataFrame({"fact": ["events_visit", "money_growth"], "gap": [0.01, gap], "p": [0.9, p]})
    (check,) = of_benchmarks(rows.assign(low=rows["gap"] - 0.1, high=rows["gap"] + 0.1))
    assert check.verdict is verdict
    assert told in check.sentence("en")
    assert check.sentence("zh")


def test_a_change_in_who_answers_is_told(few, asked):
    other = lambda frame: frame["segment"].map({"a": 0.5, "b": 0.4, "c": 0.25}).to_numpy()  # noqa: E731
    changed = silence(few(**world(people=1500, rate=unequal, later_rate=other)), margins=["segment"])
    assert verdicts(changed)["ROX-N06"] is Verdict.DEMOTE


def cells_of(codes, later, answer, *, weight=1.0, sizes=(0, 10)):
    """Cells of people with one fact; those who did not answer have NaN."""
    n = len(codes)
    frame = pd.DataFrame({"later": later, "bucket": np.arange(n) % 64, "m_0": codes, "asked": 1, "answer": answer})
    frame = frame.assign(n=1, weight=np.broadcast_to(1e6 * np.asarray(weight), n))
    frame = frame.groupby(["later", "bucket", "m_0", "asked", "answer"], dropna=False, as_index=False).sum()
    return cells_from(frame, ["fact"], {"fact": Fact(column="fact", ordered=False)}, [], sizes)


def two_waves(seed: int, *, rate: float, people: int = 6000):
    """Two waves with the same rate in three categories."""
    rng = np.random.default_rng(seed)
    codes = np.tile(rng.choice(3, people, p=[0.5, 0.3, 0.2]), 2)
    answer = np.where(rng.random(2 * people) < rate, rng.integers(0, 11, 2 * people), np.nan)
    return cells_of(codes, np.repeat([0, 1], people), answer)


@pytest.mark.parametrize("rate", [0.015, 0.03, 0.97])
def test_few_kinds_of_customers_are_no_change_in_who_answers(rate):
    for seed in range(6):
        cells = two_waves(seed, rate=rate)
        found = mechanism(cells, np.arange(1.0, cells.sizes[0]), 10)
        assert found.p > 0.01
        there = found.table["asked"].notna()
        assert there.sum() == cells.sizes[0]
        assert found.table["log_odds"].notna().tolist() == there.tolist()
        assert found.table["asked"].sum() == 6000


def test_customers_asked_in_one_period_only_are_not_compared():
    cells = two_waves(0, rate=0.3)
    away = cells.code[:, 0] == 0
    gone = replace(cells, asked=np.where(away & (cells.later == 0), 0.0, cells.asked))
    found = mechanism(gone, np.arange(1.0, 3.0), 10)
    assert found.p > 0.01
    assert found.table["asked"].notna().sum() == 3
    assert found.table["log_odds"].notna().sum() == 2


def test_what_rests_on_few_cannot_be_told_from_the_rest():
    codes = np.repeat([0, 1, 2, 3], [200, 200, 150, 40])
    answer = np.where(np.arange(590) % 2, 5.0, np.nan)
    cells = cells_of(np.tile(codes, 2), np.repeat([0, 1], 590), np.tile(answer, 2))
    rows = mechanism(cells, np.arange(1.0, 4.0), 50).table
    assert rows["asked"].dropna().tolist() == [200.0, 200.0]
    told = rows["asked"].notna()
    for name in ("asked_before", "rate_before", "rate", "log_odds", "se"):
        assert rows[name].notna().tolist() == told.tolist()
    assert mechanism(cells, np.arange(1.0, 4.0), 40).table["log_odds"].notna().sum() == 4


def test_the_question_that_runs_the_other_way_is_read_the_other_way():
    plain, turned = (
        readings_of(Scale(column="x", low=1, high=7, kind="ces", label="x", higher_is_better=up))
        for up in (True, False)
    )
    assert [reading.metric for reading in plain] == ["mean", "easy"]
    assert plain[1].values.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert turned[1].values.tolist() == [1, 1, 1, 0, 0, 0, 0]
    sums = np.array([2.0, 1, 4, 3, 8, 5, 1])
    ends = [
        sensitivity(reading, [Conclusion(kind="level", first="", second="", sums=each, rate=0.2, against=against,
                                         suggested=np.nan)]).iloc[0]
        for reading, each, against in ((plain[0], sums, 4.0), (turned[0], sums[::-1], 4.0))
    ]  # fmt: skip
    assert ends[0]["odds"] > 1
    assert ends[1]["odds"] == pytest.approx(ends[0]["odds"])
    assert ends[1]["delta"] == pytest.approx(-ends[0]["delta"])
    up, down = (
        curves(r, s, 0.2).query("kind == 'odds'")["value"] for r, s in ((plain[0], sums), (turned[0], sums[::-1]))
    )
    assert up.is_monotonic_decreasing
    assert down.tolist() == pytest.approx((8 - up).tolist())
    means, usable = np.array([2.0, 5.0, 3.0]), np.ones(3, dtype=bool)
    assert list(ranked_pairs("xyz", means, usable, higher_is_better=False)) == [(0, 2), (2, 1)]


def test_weights_are_judged_by_what_they_leave_of_the_answers():
    codes = np.repeat([0, 1], 500)
    answer = np.where((codes == 0) & (np.arange(1000) < 300) | (np.arange(1000) >= 980), 5.0, np.nan)
    cells = cells_of(codes, np.ones(1000, dtype=int), answer)
    weighted = weigh(cells)
    assert weighted.factor[cells.answers.sum(1) > 0].max() == pytest.approx(500 / 20)
    assert overlap(cells, weighted) == pytest.approx((0.0, 1000**2 / (500**2 / 300 + 500**2 / 20) / 320))
    rows = balance(cells, {"raw": 1.0 * (weighted.factor > 0), "raked": weighted.factor}).iloc[0]
    assert (abs(rows["raw"]), rows["raked"]) == (pytest.approx((300 / 320 - 0.5) / 0.5), pytest.approx(0.0, abs=1e-6))
    heavy = np.where(np.arange(1000) == 0, 200.0, 1.0)
    alone = cells_of(codes, np.ones(1000, dtype=int), np.full(1000, 5.0), weight=heavy)
    assert concentration(cells, weighted.factor) < 0.1
    assert concentration(alone, np.ones(alone.cell.size), 0.001) < weight_concentration(heavy, top=0.001)
    answers = np.where(np.arange(1000) == 0, 9.0, 5.0)
    alone = cells_of(codes, np.ones(1000, dtype=int), answers, weight=heavy)
    assert concentration(alone, np.ones(alone.cell.size)) == pytest.approx(weight_concentration(heavy))


def test_conclusions_turn_where_they_say(repaired):
    found = repaired
    rows = found.sensitivity.set_index("conclusion")
    level = rows.loc["level"]
    mean = value(found, "raked")
    assert (1 - level["rate"]) * level["delta"] + mean == pytest.approx(0.0)
    assert level["difference"] == pytest.approx(mean)
    assert level["odds"] > 1
    assert rows.loc["change", "difference"] == pytest.approx(value(found, "raked", "change"))
    assert found.sensitivity.query("conclusion == 'ranking'")["first"].tolist() == ["a", "b"]
    odds = found.curves.query("kind == 'odds'").set_index("at")["value"]
    assert odds[1.0] == pytest.approx(mean)
    assert odds.is_monotonic_decreasing
    delta = found.curves.query("kind == 'delta'")
    assert delta["value"].to_numpy() == pytest.approx(mean + (1 - level["rate"]) * delta["at"].to_numpy())
    assert (mean + delta["at"]).between(-100 - 1e-9, 100 + 1e-9).all()
    assert (
        found.resistance["n"].sum()
        == found.chain.query(f"period == '{NOW[:7]}' and step == 'answered'")["customers"].sum()
    )
    assert found.resistance["step"].iloc[-1] == "silent"


def test_late_answers_are_those_after_more_reminders_where_the_study_counts_them(few):
    rng = np.random.default_rng(3)
    frames = world(rate=0.5)
    frames["invitations"]["reminder"] = np.where(rng.random(6000) < 0.01, 5, rng.integers(0, 3, 6000))
    unhappy = frames["answers"]["invitation"].map(frames["invitations"].set_index("key")["reminder"])
    frames["answers"]["nps"] = np.where(rng.random(len(unhappy)) < 0.2 + 0.2 * unhappy, 3, 10)
    steps = silence(few(**frames), margins=["segment"]).resistance
    assert steps["reminders_from"].tolist()[:-1] == [0, 1, 2]
    assert steps["reminders_to"].tolist()[:-1] == [0, 1, 5]
    assert steps["days_from"].isna().all()
    assert steps["value"].is_monotonic_decreasing
    frames["invitations"]["reminder"] = 0
    assert silence(few(**frames), margins=["segment"]).resistance["days_from"].notna().sum() > 2


@pytest.mark.parametrize(
    ("reminders", "n", "first"),
    [
        ({0: 7, 1: 53, 2: 99}, [60, 99], [0, 2]),
        ({0: 90, 1: 4, 2: 5, 3: 60}, [90, 69], [0, 1]),
        ({0: 60, 1: 50, 2: 40, None: 3}, [60, 50], [0, 1]),
        ({0: 60, 1: 50, 2: 40, -1: 30}, [60, 50, 40], [0, 1, 2]),
    ],
)
def test_a_step_of_few_late_answers_is_no_difference_of_the_others(few, reminders, n, first):
    said = pd.DataFrame([(at, 3 + 4 * (i % 2)) for at, many in reminders.items() for i in range(many)])
    said = said.set_axis(["reminders", "said"], axis=1).assign(customer=range(len(said)), wave=0, days=-1)
    tables = few(said=said.astype({"reminders": "Int64"}))
    reading = readings_of(Scale(column="x", low=0, high=10, kind="nps", label="x"))[0]
    steps = late(tables, tables.tables["said"], reading, 0, 10).iloc[:-1]
    assert steps["n"].tolist() == n
    assert steps["reminders_from"].tolist() == first
    repeated = few(said=pd.concat([said.assign(wave=wave) for wave in range(8)]).query("reminders == 0 or wave == 0"))
    alone = late(repeated, repeated.tables["said"], reading, 0, 10)["n"].iloc[0]
    assert alone == 8 * reminders[0] + (reminders[1] if reminders[0] < 10 else 0)


def test_facts_that_few_have_or_few_lack_are_not_shown(few, study):
    frames = world(people=400, rate=0.5, waves=(NOW,), extra=("events",))
    many = {"kind": "rare", "date": "2025-03-01"}
    rare = pd.DataFrame({"customer": range(60)}).assign(**many)
    rare.loc[:2, "date"] = "2025-11-20"
    named = pd.DataFrame({"customer": [7] * 900, "kind": "Mr Wang called", "date": "2025-11-20"})
    events = frames["events"].query("kind != 'login' or customer > 3")
    frames["events"] = pd.concat([events, rare, named]).assign(date=lambda f: pd.to_datetime(f["date"]), count=1)
    found = silence(few(study(min_cell=10), **frames), margins=["segment"])
    assert found.benchmarks["fact"].tolist() == ["events_visit"]
    assert found.balance.query("kind == 'benchmark'")["fact"].tolist() == ["events_visit"]


def test_answers_that_are_all_alike_leave_nothing_to_turn():
    codes = np.tile([0, 1], 200)
    cells = cells_of(codes, np.ones(400, dtype=int), np.where(np.arange(400) % 7 < 3, 9.0, np.nan))
    reading = readings_of(Scale(column="x", low=0, high=10, kind="nps", label="x"))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert two_models(cells, 1, reading.values).value == pytest.approx(100.0)
        level = Conclusion(
            kind="level", first="", second="", sums=weigh(cells).raked[0, 1], rate=0.4, against=100.0, suggested=np.nan
        )
        row = sensitivity(reading, [level]).iloc[0]
    assert (row["difference"], row["odds"]) == (pytest.approx(0.0), pytest.approx(1.0))


def test_where_everybody_answered_before_categories_of_today_stay():
    later, bucket = np.repeat([0, 1], 80), np.tile(np.arange(40), 4)
    answers = np.where(later == 0, 2.0, 1.0)
    merged = merged_codes(np.tile(np.repeat([0, 1], 40), 2), 2, later, bucket, answers, np.full(160, 2.0), ordered=True)
    assert merged.max() == 1


def test_categories_with_few_answers_join_another():
    raw = np.repeat([0, 1, 2, 3], 10)
    bucket = np.tile(np.arange(10), 4)
    answers = np.repeat([5.0, 1.0, 4.0, 9.0], 10)
    merge = lambda ordered: merged_codes(  # noqa: E731
        raw, 4, np.zeros(40, int), bucket, answers, answers * 10, ordered=ordered
    )
    assert merge(True)[::10].tolist() == [0, 1, 1, 2]
    assert merge(False)[::10].tolist() == [0, 1, 1, 2]
    answers[10:20] = 0
    assert merge(True)[::10].tolist() == [0, 1, 1, 2]
    answers[:10] = 3.0
    assert merge(True)[::10].tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"margins": ["mood"]}, "Cannot weight by mood"),
        ({"waves": 3}, "2 waves with answers"),
        ({"waves": 0}, "One wave or more"),
        ({"until": "2025"}, "no month"),
        ({"score": "joy"}, "no question"),
    ],
)
def test_what_cannot_be_done_is_said(loaded, given, message):
    with pytest.raises(DataError, match=message):
        silence(loaded, **given)


def test_too_few_answers_are_refused(few):
    with pytest.raises(DataError, match="answers; 30 are needed"):
        silence(few(**world(people=60, rate=0.2)))


def tables_of(bank, study) -> dict[str, pd.DataFrame]:
    """Call the columns of a simulated bank by their roles."""
    frames = {}
    made = bank_tables(bank)
    for name in ("customers", "invitations", "answers", "events", "ledger", "exits"):
        frame = made[name]
        roles = {source: role for role, source in study.tables[name].columns.items()}
        frames[name] = frame.rename(columns=roles)
    month = frames["ledger"]["month"]
    frames["ledger"]["month"] = 12 * month.dt.year + month.dt.month - 1
    return frames


def truth_of(bank, months):
    """Return what all customers would say, by design weight."""
    here = [bank.active[month] & (bank.customers.opened < month) for month in months]
    score = np.concatenate([bank.score[month, who] for month, who in zip(months, here, strict=True)])
    weight = np.concatenate([bank.design_weight[who] for who in here])
    return 100 * np.average(1.0 * (score >= 9) - (score <= 6), weights=weight)


@pytest.mark.parametrize("preset", ["easy", "cmb"])
def test_in_a_bank_the_truth_is_found_or_lies_in_the_spread(few, root, preset):
    study = read_study(root / "data" / "bank" / "study.toml")
    bank = simulate.simulate(simulate.preset(preset, customers=4000, seed=4))
    frames = tables_of(bank, study)
    found = silence(few(study, **(frames if preset == "cmb" else {**frames, "events": frames["events"][:0]})), waves=3)
    truth = truth_of(bank, [29, 32, 35])
    assert found.waves == "2025-06–2025-12"
    at = {name: value(found, "raked", found.waves, column=name) for name in ("value", "low", "high")}
    if preset == "easy":
        assert at["low"] < truth < at["high"]
        assert abs(at["value"] - truth) < 5
    else:
        assert value(found, "raw", found.waves) - truth > 10
        assert at["low"] > truth
        assert verdicts(found)["ROX-N09"] is Verdict.NOTE
    assert found.spread[0] < truth < found.spread[1]
    assert found.chain.query(f"period == '{found.waves}'")["share"].iloc[1:].between(0.1, 0.9).all()
    for check in found.checks:
        assert all(check.sentence(language) for language in LANGUAGES)
