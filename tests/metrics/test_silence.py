"""Those who do not answer: weights, models, bounds, benchmarks, and whether the same kind of customer answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox import simulate
from rox.core.check import Verdict
from rox.core.errors import DataError
from rox.core.study import read_study
from rox.core.words import LANGUAGES
from rox.metrics.silence import silence
from rox.metrics.silence_cells import merged_codes
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


def value(found, estimator, period=NOW[:7], metric="nps", column="value"):
    rows = found.estimates.set_index(["estimator", "period", "metric"])
    return rows.loc[(estimator, period, metric), column]


def verdicts(found):
    return {check.code: check.verdict for check in found.checks}


def test_with_everybody_answering_all_estimates_are_the_same(few):
    found = silence(few(**world(rate=1.0)))
    for metric in ("nps", "mean", "top_two"):
        raw = value(found, "raw", metric=metric)
        assert value(found, "raked", metric=metric) == pytest.approx(raw, abs=1e-9)
        assert value(found, "two_models", metric=metric) == pytest.approx(raw, abs=1e-9)
    worst = found.bounds.set_index(["metric", "kind"]).loc[("nps", "worst_case")]
    assert worst["low"] == pytest.approx(worst["high"])


def test_answers_that_depend_on_the_segment_alone_are_put_right_exactly(few):
    frames = world(rate=unequal)
    share = frames["customers"]["segment"].value_counts(normalize=True)
    truth = 100 * (share["a"] - share["c"])
    found = silence(few(**frames), margins=["segment"])
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
    frames = world(rate=unequal)
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


def test_a_benchmark_that_is_missed_is_told(few):
    rng = np.random.default_rng(5)
    answer = lambda frame: rng.integers(0, 11, len(frame))  # noqa: E731
    more = lambda frame: np.where(frame["heavy"], 0.5, 0.15)  # noqa: E731
    missed = silence(few(**world(rate=more, answer=answer, extra=("events",))), margins=["segment"])
    gaps = missed.benchmarks.set_index("fact")
    assert verdicts(missed)["ROX-N04"] is Verdict.DEMOTE
    assert gaps.loc["events_visit", "gap"] == pytest.approx((0.5 / 0.65 - 0.5) / 0.5, abs=0.1)
    even = silence(few(**world(rate=0.3, answer=answer, extra=("events",))), margins=["segment"])
    assert verdicts(even)["ROX-N04"] is Verdict.PASS


def test_a_change_in_who_answers_is_told(few):
    other = lambda frame: frame["segment"].map({"a": 0.5, "b": 0.4, "c": 0.25}).to_numpy()  # noqa: E731
    changed = silence(few(**world(rate=unequal, later_rate=other)), margins=["segment"])
    assert verdicts(changed)["ROX-N06"] is Verdict.DEMOTE


def test_conclusions_turn_where_they_say(few):
    found = silence(few(**world(rate=unequal)), margins=["segment"])
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
    assert (
        found.resistance["n"].sum()
        == found.chain.query(f"period == '{NOW[:7]}' and step == 'answered'")["customers"].sum()
    )
    assert found.resistance["step"].iloc[-1] == "silent"


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
def test_what_cannot_be_done_is_said(few, given, message):
    with pytest.raises(DataError, match=message):
        silence(few(**world(people=400)), **given)


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
    found = silence(few(study, **tables_of(bank, study)), waves=3)
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
