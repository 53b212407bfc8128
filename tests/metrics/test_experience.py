"""The standard set, on small tables and on the bundled bank."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from rox import metrics
from rox.core.check import Verdict
from rox.core.errors import DataError
from rox.core.words import LANGUAGES, catalogue, say
from rox.linking.load import load
from rox.metrics.overview import _split

COLUMNS = ["metric", "unit", "value", "se", "low", "high", "level", "n", "n_eff", "suppressed", "method"]


@pytest.fixture(scope="module")
def tables(bank_tables):
    return bank_tables


@pytest.fixture(scope="module")
def measured(tables):
    return metrics.experience(tables)


def frames_of(experience):
    return {
        each.name: value
        for each in fields(experience)
        if isinstance(value := getattr(experience, each.name), pd.DataFrame)
    }


def test_every_frame_has_the_one_shape(measured):
    frames = frames_of(measured)
    assert set(frames) == {"headline", "trend", "by_segment", "response", "churn", "chain"}
    for name, frame in frames.items():
        assert list(frame.columns[-len(COLUMNS) :]) == COLUMNS, name
        shown = frame[~frame["suppressed"]]
        assert shown["value"].notna().all()
        bounded = shown.dropna(subset="low")
        assert (bounded["low"] <= bounded["value"] + 1e-12).all()
        assert (bounded["value"] <= bounded["high"] + 1e-12).all()


def test_the_bank_is_plausible(measured, row):
    pick = lambda metric, score="": row(measured.headline, metric=metric, score=score)["value"]  # noqa: E731
    assert -40 < pick("nps", "nps") < 40
    assert 3 < pick("mean", "csat") < 4.5
    assert 0.5 < pick("top_two", "csat") < 0.9
    assert 4 < pick("mean", "ces") < 6
    assert 0.05 < pick("response_rate") < 0.3
    assert 0.1 < pick("answered_again") < 0.9
    assert 0.02 < pick("churn_voluntary") < pick("churn_all") < 0.3
    assert pick("money_churn_all") < pick("churn_all")
    assert pick("retention_all") == pytest.approx(1 - pick("churn_all"), abs=0.02)


def test_the_bank_by_period_and_segment(measured):
    assert list(measured.trend["quarter"].unique()) == [f"{y}Q{q}" for y in (2023, 2024, 2025) for q in (1, 2, 3, 4)]
    assert set(measured.by_segment["segment"]) == {"mass", "gold", "platinum", "private", "private_diamond"}
    assert set(measured.churn["segment"]) == set(measured.by_segment["segment"]) | {"all"}
    nps = measured.trend[measured.trend["score"] == "nps"]
    total = measured.headline[measured.headline["score"] == "nps"]
    assert nps["n"].sum() == total["n"].item()
    assert nps["value"].min() < total["value"].item() < nps["value"].max()


def test_the_chain_of_the_bank_narrows(measured, tables):
    count = measured.chain.set_index("metric")["value"]
    assert count["customers"] == tables.counts["customers"]
    assert count["invitations"] == tables.counts["invitations"]
    assert count["answers"] == tables.counts["answers"]
    assert count["customers"] >= count["customers_invited"] > count["customers_answered"]
    assert count["invitations"] > count["invitations_answered"] > count["customers_answered"]


def test_no_result_names_a_customer(measured, tables):
    ids = set(tables.fetch(tables.tables["customers"].select("customer"))["customer"])
    for name, frame in frames_of(measured).items():
        text = frame.select_dtypes("object").astype(str)
        assert not {each for column in text for each in text[column]} & ids, name


def test_design_weights_move_the_bank(tables, row):
    weighted, plain = row(metrics.nps(tables)), row(metrics.nps(tables, weighted=False))
    assert weighted["value"] != plain["value"]
    assert weighted["n_eff"] < plain["n_eff"] <= plain["n"]
    assert weighted["se"] > plain["se"]


@pytest.mark.parametrize("measure", [metrics.nps, metrics.churn])
def test_the_same_tables_give_the_same_digits(tables, measure):
    once, again = (measure(each, by=("quarter",)) for each in (tables, load(tables.study)))
    pd.testing.assert_frame_equal(once, again, check_exact=True)


def test_change_in_the_bank(tables):
    found = metrics.change(tables, "nps", "2024", "2025", by=("segment",))
    assert len(found) == 5
    assert (found["n_both"] > 0).all()
    assert (found["se"] > 0).all()


def test_without_money_and_invitations_the_rest_is_measured(few, row):
    scores = np.tile([0, 5, 7, 9, 10], 12)
    answers = pd.DataFrame(
        {
            "customer": [f"c{i}" for i in range(60)],
            "date": ["2025-01-15"] * 40 + ["2025-02-15"] * 20,
            "nps": scores,
            "csat": np.clip(scores // 2, 1, 5),
            "ces": np.clip(scores // 2 + 1, 1, 7),
        }
    )
    found = metrics.experience(few(answers=answers), every="month")
    assert found.churn.empty
    assert found.response.empty
    assert set(found.headline["metric"]) == {"nps", "mean", "top_two", "easy", "answered_again", "answers_each"}
    assert list(found.trend["month"].unique()) == ["2025-01", "2025-02"]
    said = {(check.code, check.verdict): check for check in found.checks}
    assert said["ROX-M01", Verdict.NOTE].values["cells"] == 1
    assert said["ROX-M03", Verdict.PASS].values["r"] > 0.9


def test_a_segment_called_like_the_total_is_refused(few):
    answers = pd.DataFrame({"customer": [f"c{i}" for i in range(80)], "date": "2025-01-15", "nps": np.tile([0, 9], 40)})
    people = pd.DataFrame({"customer": answers["customer"], "segment": ["all"] * 40 + ["mass"] * 40})
    answers = answers.assign(csat=np.tile([2, 4], 40), ces=np.tile([2, 6], 40))
    with pytest.raises(DataError, match="segments is called 'all'"):
        metrics.experience(few(answers=answers, customers=people))
    total, parts = pd.DataFrame({"metric": ["nps"]}), pd.DataFrame({"segment": ["all", "mass"], "metric": "nps"})
    with pytest.raises(DataError, match="segments is called 'all'"):
        _split([total, parts], "quarter")


def test_checks_can_be_said(measured, few, study):
    answers = pd.DataFrame({"customer": [f"c{i}" for i in range(80)], "date": "2025-01-15"})
    answers = answers.assign(nps=np.tile([0, 9], 40), csat=np.tile([2, 4], 40), ces=np.tile([2, 6], 40))
    people = pd.DataFrame({"customer": answers["customer"], "segment": ["a"] * 4 + ["b"] * 76, "weight": 1.0})
    people.loc[:20, "weight"] = 100.0
    found = metrics.experience(few(study(min_cell=10), answers=answers, customers=people))
    codes = {check.code for check in (*found.checks, *measured.checks)}
    assert codes >= {"ROX-M01", "ROX-M02", "ROX-M03", "ROX-M05"}
    for check in (*found.checks, *measured.checks):
        english, chinese = (check.sentence(language) for language in LANGUAGES)
        assert str(check.values["metric"]) in english
        assert str(check.values["metric"]) in chinese
        assert english != chinese


def test_a_low_response_is_told_with_the_scores(measured, row):
    (check,) = [each for each in measured.checks if each.code == "ROX-N12"]
    last = measured.trend["quarter"].max()
    rate = row(measured.response, period=last, segment="all")["value"]
    raw = row(measured.trend, quarter=last, score="nps")["value"]
    ends = rate * raw - 100 * (1 - rate), rate * raw + 100 * (1 - rate)
    assert (check.values["period"], check.values["rate"]) == (last, pytest.approx(100 * rate))
    assert (check.values["low"], check.values["high"]) == pytest.approx(ends)


def test_every_metric_and_method_has_a_name(measured):
    for frame in frames_of(measured).values():
        for metric in frame["metric"].unique():
            assert f"metrics.{metric}" in catalogue()
        for method in frame["method"].unique():
            assert all(say(f"metrics.method.{method}", language) for language in LANGUAGES)
