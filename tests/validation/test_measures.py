"""The honest numbers of the measures can tell an honest measure from one that is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.cli import main
from rox.core.errors import RunError
from rox.metrics.estimates import ratio
from rox.metrics.silence import silence
from rox.simulate import Bank
from rox.validation import measures, measures_coverage, measures_samples, measures_silence
from rox.validation.measures import Measured, Size, measure
from rox.validation.measures_alarms import charts, drills, trees
from rox.validation.measures_coverage import changes, churns, coverage_error, judged, levels, through_tables
from rox.validation.measures_document import charts_added, measures_document
from rox.validation.measures_samples import CHURNS, LEVELS, WAVES, draws, moments_of, stays, two_waves
from rox.validation.measures_silence import everybody

EVERYTHING = LEVELS[-1]


def share(row: dict[str, float]) -> float:
    return row["held"] / row["runs"]


def test_samples_have_the_truth_that_is_said() -> None:
    for design in LEVELS:
        (sample,) = draws(design, 400, 400, np.random.default_rng(1))
        for measure_name in ("nps", "nps_rare", "mean", "top_two", "top_two_rare"):
            scale = 100 if measure_name.startswith("nps") else 1
            found = scale * ratio(moments_of(sample, measure_name), ["run"], measure_name)["value"]
            error = found.std() / np.sqrt(len(found))
            assert abs(found.mean() - design.truth(measure_name)) < 4.5 * error, (design.name, measure_name)
    for design in CHURNS:
        (followed,) = stays(design, 400, 400, np.random.default_rng(1))
        months, left = (followed.weight * each for each in (followed.months, followed.left))
        yearly = -np.expm1(-12 * left.sum() / months.sum())
        assert yearly == pytest.approx(design.true_churn(), rel=0.05), design.name


def test_customers_answer_again_and_in_both_waves() -> None:
    (sample,) = draws(EVERYTHING, 300, 50, np.random.default_rng(2))
    assert sample.customer.size == 300
    assert np.bincount(sample.customer).max() == 5
    design, part = WAVES["overlapping"]
    ((later, earlier),) = two_waves(design, 300, part, 200, np.random.default_rng(2))
    shared = later.shared
    assert shared.mean() == pytest.approx(0.4, abs=0.02)
    pairs = [np.corrcoef(later.reading[:, at], earlier.reading[:, at])[0, 1] for at in range(300)]
    assert np.mean(np.array(pairs)[shared]) == pytest.approx(0.6, abs=0.05)
    assert np.mean(np.array(pairs)[~shared]) == pytest.approx(0.0, abs=0.05)


def test_arrays_and_tables_give_the_same_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures_coverage, "LEVELS", LEVELS[-1:])
    monkeypatch.setattr(measures_coverage, "WAVES", {"overlapping": WAVES["overlapping"]})
    monkeypatch.setattr(measures_coverage, "CHURNS", CHURNS[-1:])
    rows = through_tables(runs=3, seed=4)
    assert [row["measure"].partition(",")[0] for row in rows] == ["nps", "mean", "top_two", "change", "churn"]
    assert max(row["off"] for row in rows) < 1e-9


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rows = [*levels(EVERYTHING, 1_000, runs=400, seed=5), *changes("overlapping", 300, runs=400, seed=5)]
    rows += churns(CHURNS[-1], 1_000, runs=400, seed=5)
    assert {row["part"] for row in rows} == {"level", "change", "churn"}
    for row in rows:
        assert 0.84 < share(row) < 0.96, row
        assert row["held"] + row["below"] + row["above"] == 400


def test_an_interval_that_forgets_repeated_answers_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer taken for a customer of its own: the error is that of a simple sample."""

    def forgetful(sample: measures_samples.Sample, *names: str) -> pd.DataFrame:
        n = sample.customer.size
        return moments_of(replace(sample, customer=np.arange(n), first=np.arange(n)), *names)

    monkeypatch.setattr(measures_coverage, "moments_of", forgetful)
    clustered = LEVELS[2]
    (row,) = (row for row in levels(clustered, 1_000, runs=300, seed=6) if row["measure"] == "mean")
    assert judged(row["held"], row["runs"]) == "low"


def test_a_share_is_judged_with_its_error() -> None:
    assert [judged(held, 2_000) for held in (1_700, 1_750, 1_800, 1_850, 1_900)] == [
        "low", "unclear", "inside", "unclear", "high",
    ]  # fmt: skip
    assert coverage_error(1_800, 2_000) == pytest.approx(0.0067, abs=1e-4)


def test_charts_alarm_at_the_stated_rate_unless_they_are_blind() -> None:
    rows = {
        (row["world"], row["chart"]): row for world in ("normal", "blind") for row in charts(world, series=300, seed=7)
    }
    for chart in ("ewma", "cusum"):
        calm, blind = rows["normal", chart], rows["blind", chart]
        assert abs(calm["alarms"] - calm["expected"]) < 4 * np.sqrt(calm["expected"])
        assert blind["alarms"] > 4 * blind["expected"]
    own = charts("process", series=60, seed=7)[0]
    assert own["alarms"] < 4 * own["expected"] + 8


def test_false_discoveries_stay_below_what_is_stated() -> None:
    (still,), (moved,) = trees(moved=False, runs=600, seed=8), trees(moved=True, runs=200, seed=8)
    assert still["wrong"] / 600 < 0.10 + 3 * coverage_error(60, 600)
    assert moved["found"] > 0.8
    assert moved["share"] < 0.10
    (searched,) = drills("alike", runs=4, answers=1_500, seed=8)
    assert searched["wrong"] <= 2


def test_the_truth_of_silence_is_that_of_everybody(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = everybody(bank, waves=1)
    last = np.flatnonzero(bank.invited.any(axis=1))[-2:]
    for month, found in zip(last, (before, now), strict=True):
        here = bank.opened[month] & bank.active[month] & (bank.customers.opened < month)
        points = 100.0 * (bank.score[month] >= 9) - 100.0 * (bank.score[month] <= 6)
        assert found == pytest.approx(np.average(points[here], weights=bank.design_weight[here]))
    monkeypatch.setattr(measures_silence, "simulate", lambda config: bank)
    monkeypatch.setattr(measures_silence, "silence", partial(silence, margins=("segment", "money")))
    rows = pd.DataFrame(measures_silence.silences("cmb", customers=1_500, seed=1))
    level = rows[rows["what"] == "level"].set_index("estimator")
    assert (level["truth"] == everybody(bank)[1]).all()
    assert level.loc["raw", "value"] > level.loc["raw", "truth"] + 5
    spread, worst = level.loc["spread"], level.loc["worst_case"]
    assert worst["low"] < spread["low"] < spread["truth"] < spread["high"] < worst["high"]


TINY = Size(replications=20, banks=2, drills=1, studies=1, whole=2, sizes=(50,))


def told(part: str, **said: object) -> list[dict[str, object]]:
    return [{"part": part, **said}]


def of_one_bank(world: str, *, customers: int, seed: int) -> list[dict[str, object]]:
    """What a bank leaves behind in which every estimate is a point too high."""
    estimators = ("raw", "raked", "two_models", "proxy", "spread", "worst_case")
    value = {"value": 1.0 + seed % 10, "low": -9.0, "high": 9.0, "truth": 0.0 + seed % 10}
    each = [
        {"part": "silence", "world": world, "seed": seed, "what": what, "estimator": name} | value
        for what in ("level", "change")
        for name in estimators
    ]
    return [*each, *told("doubt", world=world, seed=seed, code="ROX-N09", demotes=False)]


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    """All of it in small, without what goes through tables."""
    chart = {"chart": "cusum", "series": 9, "months": 900, "alarms": 2, "stated": 465.0, "expected": 1.9}
    tree = {"world": "tables", "runs": 9, "wrong": 0, "share": 0.0, "found": float("nan"), "stated": 0.1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "silences", of_one_bank)
        patch.setattr(measures, "drills", lambda world, **_: told("drill", world=world, runs=9, wrong=1, stated=0.1))
        patch.setattr(measures, "watched", lambda **_: told("chart", world="tables", **chart) + told("tree", **tree))
        patch.setattr(measures, "through_tables", lambda **_: told("same", measure="nps", runs=2, n=300, off=1e-14))
        yield measure(TINY, seed=3, jobs=1)


def test_the_document_says_what_fails_and_where(measured: Measured) -> None:
    low = measured.coverage["measure"] == "churn"
    broken = measured.coverage.assign(
        runs=2_000, held=np.where(low, 1_500, 1_800), judged=np.where(low, "low", "inside")
    )
    text = measures_document(replace(measured, coverage=broken))
    assert "All 25 cells lie inside." in text
    assert "- yearly churn, rare, 50: 0.750" in text
    assert "**0.750**" in text
    assert "is not recovered as it should be" in text
    assert "2 more samples of 300" in text
    many = measured.charts.assign(alarms=50, months=1_000, expected=3.0)
    assert "cusum, *wandering*" in measures_document(replace(measured, charts=many))
    assert set(charts_added(measured.charts)["world"]) >= {"tables", "process", "blind"}
    chinese = measures_document(measured, "zh")
    assert "未作答者" in chinese
    assert not re.search(r"\{[a-z_]+\}", text + chinese)
    json.dumps(measured.as_record(), allow_nan=False)


def test_faults_of_the_command_are_listed_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        measure(replace(TINY, replications=5), seed=-1, jobs=0)
    assert len(caught.value.faults) == 3
    assert main(["validate", "--measures", "--replications", "5", "--out", str(tmp_path)]) == 4
    assert "replications is 5" in capsys.readouterr().err


def test_the_document_in_the_folder_is_the_one_that_is_written(root: Path) -> None:
    text = (root / "docs" / "measures.md").read_text(encoding="utf-8")
    assert f"`rox validate --measures --replications {Size().replications} --seed 1`" in text
