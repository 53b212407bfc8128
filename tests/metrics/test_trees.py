"""Trees of metrics on small tables whose answers are known, and on the bundled bank."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from scipy import stats

from rox import metrics
from rox.core.errors import DataError
from rox.core.metric_tree import MetricTree, tree_of
from rox.core.study import read_study
from rox.core.tree_report import STATUSES
from rox.core.words import LANGUAGES, catalogue
from rox.linking.load import load
from rox.metrics.tree_quantiles import value_of
from rox.metrics.trees import TEMPLATES, heat_map, measure_tree, metric_tree, standing
from rox.simulate.study import write_study

ABOUT = {"name": "t", "title": "T", "north_star": "star"}


def tree_with(**declared: dict) -> MetricTree:
    declared.setdefault("star", {"estimator": "count", "table": "answers"})
    content = {
        "tree": ABOUT,
        "goals": {"g": {"label": "G"}},
        "signals": {"s": {"goal": "g", "label": "S"}},
        "metrics": {name: {"signal": "s", "label": name, **each} for name, each in declared.items()},
    }
    return tree_of(content, "tree")


ANSWERS = pd.DataFrame({"customer": ["a", "b", "c", "d"], "date": "2025-01-10", "nps": [10, 9, 3, 8]})


def events(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["customer", "date", "kind", "count"])


def measured(few, tree, by=(), every="year", study=None, **frames):
    frames.setdefault("answers", ANSWERS)
    return measure_tree(few(study, **frames), tree, by, every=every)


def test_shares_of_rows_count_what_rows_count_for(few, row):
    rows = events(("a", "2025-01-02", "ok", 8), ("a", "2025-02-02", "failed", 2), ("b", "2025-03-02", "ok", 10))
    share = {"estimator": "share", "table": "events", "where": {"kind": "ok"}, "of": {"kind": ["ok", "failed"]}}
    total = {"estimator": "count", "table": "events", "where": {"kind": "ok"}}
    found = measured(few, tree_with(up=share, total=total), events=rows).now
    up = row(found, metric="up")
    assert up["value"] == pytest.approx(18 / 20)
    # Customers' residuals are (8 − 0.9·10)/20 and (10 − 0.9·10)/20; two of them, one stratum.
    assert up["se"] == pytest.approx(np.sqrt(2 / 1 * 2 * (1 / 20) ** 2))
    assert up["method"] == "wilson"
    assert row(found, metric="total")["value"] == 18
    assert row(found, metric="total")["method"] == "count"


def test_events_per_active_week(few, row):
    # Weeks begin on Mondays: 6 and 13 January 2025. a is active in two weeks with 3 and 1, b in one with 2.
    rows = events(
        ("a", "2025-01-06", "login", 1),
        ("a", "2025-01-12", "login", 2),
        ("a", "2025-01-13", "login", 1),
        ("b", "2025-01-08", "login", 2),
        ("b", "2025-01-15", "other", 7),
    )
    logins = {"estimator": "per_active", "table": "events", "where": {"kind": "login"}, "window": "week"}
    only = {**logins, "of": {"kind": "login"}}
    found = measured(few, tree_with(logins=logins, only=only), events=rows, every="month").values
    every, own = row(found, metric="logins"), row(found, metric="only")
    assert (every["value"], every["n"]) == (pytest.approx(6 / 4), 4)
    assert (own["value"], own["n"]) == (pytest.approx(6 / 3), 3)
    # a: 4 of 2 windows, b: 2 of 1; R = 2, so both residuals vanish.
    assert own["se"] == pytest.approx(0.0, abs=1e-12)


def test_a_week_belongs_to_the_month_of_its_monday(few):
    # The week of Monday 30 December 2024 goes on to 5 January; that of 27 January 2025 to 2 February.
    dates = ("2024-12-30", "2025-01-05", "2025-01-06", "2025-01-31", "2025-02-02", "2025-02-03")
    rows = events(*(("a", date, "x", 1) for date in dates))
    logins = {"estimator": "per_active", "table": "events", "window": "week"}
    found = measured(few, tree_with(each=logins), events=rows, every="month").values
    found = found[found["metric"] == "each"].set_index("month")
    assert found["value"].to_dict() == {"2024-12": 2.0, "2025-01": pytest.approx(1.5), "2025-02": 1.0}
    assert found["n"].to_dict() == {"2024-12": 1, "2025-01": 2, "2025-02": 1}


def test_earnings_are_those_of_active_customers_only(few, row):
    ledger = pd.DataFrame(
        {"customer": ["a", "b", "c"] * 2, "month": [24300] * 3 + [24301] * 3, "aum": [100, 300, 900, 200, 400, 900]}
    )
    rows = events(("a", "2025-01-05", "login", 1), ("b", "2025-01-06", "login", 1), ("b", "2025-02-06", "login", 1))
    earn = {"estimator": "earnings", "table": "ledger", "column": "aum", "of_table": "events"}
    reach = {
        "estimator": "share", "per": "customer", "table": "events", "where": {"kind": "login"}, "of_table": "ledger",
    }  # fmt: skip
    found = measured(few, tree_with(earn=earn, reach=reach), events=rows, ledger=ledger).values
    # Cents: (100 + 300 + 400) / 3 customer-months.
    assert row(found, metric="earn")["value"] == pytest.approx(8 / 3)
    assert row(found, metric="reach")["value"] == pytest.approx(3 / 6)


def test_actives_are_a_mean_over_the_windows_of_the_period(few, row):
    rows = events(("a", "2025-01-02", "x", 1), ("b", "2025-01-03", "x", 1), ("a", "2025-03-02", "x", 1))
    found = measured(few, tree_with(n={"estimator": "actives", "table": "events"}), events=rows, every="quarter").values
    assert row(found, metric="n")["value"] == pytest.approx((2 + 0 + 1) / 3)


def test_adoption_leaves_out_who_had_adopted_and_the_first_window(few, row):
    rows = events(
        ("a", "2025-01-02", "new", 1),
        ("a", "2025-02-02", "new", 1),
        ("b", "2025-02-03", "new", 1),
        ("c", "2025-02-04", "old", 1),
        ("c", "2025-03-04", "new", 1),
        ("d", "2025-03-04", "old", 1),
    )
    adopt = {"estimator": "adoption", "table": "events", "where": {"kind": "new"}}
    found = measured(few, tree_with(adopt=adopt), events=rows, every="month").values
    found = found[found["metric"] == "adopt"].set_index("month")["value"]
    assert found.to_dict() == {"2025-02": 0.5, "2025-03": 0.5}


def test_quantiles_are_those_of_the_sorted_values(few, row):
    values = np.random.default_rng(3).lognormal(5, 1, 400).astype(int)
    rows = pd.DataFrame({"customer": [f"c{i}" for i in range(400)], "date": "2025-01-02", "kind": "ms"})
    rows = rows.assign(count=values)
    quantile = {"estimator": "quantile", "table": "events", "column": "count", "unit": "ms"}
    found = measured(few, tree_with(p50=quantile, p95={**quantile, "quantile": 0.95}), events=rows).now
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        own = row(found, metric=name)
        exact = np.quantile(values, share, method="inverted_cdf")
        bounds = stats.quantile_test(values, q=exact, p=share).confidence_interval(0.90)
        assert own["value"] == pytest.approx(exact, rel=0.011)
        assert own["low"] == pytest.approx(bounds.low, rel=0.011)
        assert own["high"] == pytest.approx(bounds.high, rel=0.011)


def test_small_whole_numbers_have_bins_of_their_own():
    assert value_of(np.array([0.0, 7.0, 128.0, -3.0])).tolist() == [0.0, 7.0, 128.0, -3.0]


def test_retention_is_kaplan_meier_of_inactivity(few, row):
    rng = np.random.default_rng(5)
    first, stays = rng.integers(0, 6, 120), rng.geometric(0.15, 120)
    rows = [
        (f"c{i}", f"2025-{m + 1:02d}-03", "x", 1)
        for i in range(120)
        for m in range(first[i], min(first[i] + stays[i], 12))
    ]
    keep = {"estimator": "retention", "table": "events", "after": 3, "idle": 1}
    found = row(measured(few, tree_with(keep=keep), events=events(*rows)).now, metric="keep")
    known = 11 - 1 + 1
    time = np.minimum(first + stays, known) - first
    curve = KaplanMeierFitter(alpha=0.10).fit(time, first + stays <= known)
    assert found["value"] == pytest.approx(curve.predict(3))
    bounds = curve.confidence_interval_.loc[:3].iloc[-1]
    assert (found["low"], found["high"]) == (pytest.approx(bounds.iloc[0]), pytest.approx(bounds.iloc[1]))


def test_a_closed_cohort_that_is_followed_gives_its_share(few, row):
    kept = [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 3), ("c", 1), ("c", 2), ("d", 1), ("d", 2), ("d", 3)]
    later = [(name, month) for name in ("a", "b") for month in range(4, 13)]
    rows = events(*((name, f"2025-{month:02d}-01", "x", 1) for name, month in kept + later))
    keep = {"estimator": "retention", "table": "events", "after": 2}
    found = measured(few, tree_with(keep=keep), events=rows, every="month").values
    january = row(found, metric="keep", month="2025-01")
    assert january["value"] == pytest.approx(2 / 4)  # b skips February, c stops after it
    assert january["se"] == pytest.approx(np.sqrt(0.5 * 0.5 / 4))
    lenient = measured(few, tree_with(keep={**keep, "idle": 2}), events=rows, every="month").values
    assert row(lenient, metric="keep", month="2025-01")["value"] == pytest.approx(3 / 4)


def test_median_time_is_that_of_kaplan_meier(few, row):
    delay = np.array([1, 2, 2, 5, 9, 30, np.nan, np.nan, 4, 3])
    opened = pd.Timestamp("2025-11-20")
    tickets = pd.DataFrame({"customer": [f"c{i}" for i in range(10)], "date": opened})
    tickets = tickets.assign(contacted=opened + pd.to_timedelta(delay, unit="D"))
    wait = {"estimator": "median_time", "table": "tickets", "until": "contacted", "direction": "down", "target": 10}
    found = row(measured(few, tree_with(wait=wait), tickets=tickets).now, metric="wait")
    open_for = (pd.Timestamp("2025-12-31") - opened).days
    curve = KaplanMeierFitter().fit(np.where(np.isnan(delay), open_for, delay), ~np.isnan(delay))
    assert found["value"] == curve.median_survival_time_
    early = tickets.assign(contacted=opened - pd.Timedelta(days=1))
    with pytest.raises(DataError, match="10 ends before the beginning"):
        measured(few, tree_with(wait=wait), tickets=early)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """A small bank with all the tables and segments of the bundled one."""
    folder = tmp_path_factory.mktemp("bank")
    write_study(folder / "b", preset_name="cmb", customers=600)
    return folder / "b" / "study.toml"


@pytest.fixture(scope="module")
def tables(bank):
    return load(read_study(bank))


def test_scores_agree_with_the_functions_for_scores(tables):
    tree = tree_with(
        star={"estimator": "nps", "table": "answers", "column": "nps"},
        top={"estimator": "top_two", "table": "answers", "column": "csat"},
        mean={"estimator": "mean", "table": "answers", "column": "app"},
    )
    found = measure_tree(tables, tree, every="year")
    for name, expected in (
        ("star", metrics.nps(tables, by=("year",))),
        ("top", metrics.csat(tables, by=("year",)).query("metric == 'top_two'")),
        ("mean", metrics.mean_score(tables, "app", by=("year",))),
    ):
        own = found.values[found.values["metric"] == name]
        assert own["se"].notna().sum() >= 2
        for column in ("value", "se", "low", "high", "n", "n_eff"):
            np.testing.assert_allclose(own[column], expected[column], rtol=1e-9)


def test_what_cannot_be_measured_is_listed_with_what_it_needs(few):
    tree = tree_with(
        calls={"estimator": "count", "table": "tickets"},
        topics={"estimator": "count", "table": "events", "where": {"topic": "fees"}},
        asked={"estimator": "mean", "table": "answers", "column": "wait"},
        spelt={"estimator": "share", "table": "events", "where": {"kind": "loginn"}},
        weekly={"estimator": "actives", "table": "events", "window": "week"},
        money={"estimator": "earnings", "table": "events", "column": "count"},
    )
    rows = events(("a", "2025-01-01", "login", 1), ("b", "2025-02-01", "login", 1))
    found = measured(few, tree, events=rows)
    needs = {(row.metric, row.need, row.what) for row in found.unmeasured.itertuples()}
    assert needs == {
        ("calls", "table", "tickets"),
        ("topics", "column", "events.topic"),
        ("asked", "column", "answers.wait"),
        ("asked", "question", "wait"),
        ("spelt", "rows", "events (kind = loginn)"),
        ("weekly", "daily", "events.date"),
        ("money", "money", "events.count"),
    }
    assert list(found.now["metric"]) == ["star"]
    assert {check.code for check in found.checks} == {"ROX-M13"}
    assert all(f"tree.need.{need}" in catalogue() for _, need, _ in needs)
    for check in found.checks:
        assert all("6" in check.sentence(language) for language in LANGUAGES)


def test_a_split_that_a_metric_cannot_follow_leaves_the_total(few):
    each = {"estimator": "per_active", "table": "events", "window": "month"}
    tree = tree_with(each=each, rows={"estimator": "count", "table": "events"})
    rows = events(("a", "2025-01-01", "login", 1), ("b", "2025-02-01", "call", 1))
    found = measured(few, tree, ("kind",), events=rows)
    assert "each" in set(found.values["metric"])
    assert {(row.metric, row.split, row.what) for row in found.unmeasured.itertuples()} == {
        ("each", True, "customers.kind"),
        ("star", True, "answers.kind"),
    }
    split = found.now_by_group.set_index("kind")["value"].to_dict()
    assert split == {"login": 1, "call": 1}
    with pytest.raises(DataError, match="No metric"):
        measured(few, tree_with(), ("kind",))


def test_small_cells_are_hidden(few, study, row):
    people = pd.DataFrame({"customer": [f"c{i}" for i in range(40)], "segment": ["x"] * 3 + ["y"] * 12 + ["z"] * 25})
    rows = pd.DataFrame({"customer": people["customer"], "date": "2025-01-02", "kind": ["a", "b"] * 20, "count": 1})
    tree = tree_with(share={"estimator": "share", "table": "events", "where": {"kind": "a"}})
    frames = {"events": rows, "customers": people, "answers": ANSWERS.assign(customer=["c0", "c5", "c30", "c31"])}
    found = measured(few, tree, ("segment",), study=study(min_cell=10), **frames).now_by_group
    hidden = found[found["metric"] == "share"].set_index("segment")["suppressed"]
    assert hidden.to_dict() == {"x": True, "y": True, "z": False}
    shown = row(found, metric="share", segment="x")
    assert np.isnan(shown["value"])
    assert np.isnan(shown["p_target"])
    assert shown["status"] == "hidden"


@pytest.mark.parametrize(("higher", "side", "worse"), [(True, "high", 6.9), (False, "low", 1.1)])
def test_a_target_is_read_in_the_direction_of_the_question(few, row, study, higher, side, worse):
    """At the end of the interval it is reached with the rest of the level; what the scale says is not repeated."""
    scores = pd.DataFrame({"customer": [f"c{i}" for i in range(60)], "date": "2025-01-02", "ces": [3, 5, 6] * 20})
    share = {"estimator": "mean", "table": "answers", "column": "ces"}
    tables = few(study(higher_is_better=higher), answers=scores)
    end = row(measure_tree(tables, tree_with(m=share), every="year").now, metric="m")[side]
    tree = tree_with(m={**share, "target": end}, bad={**share, "target": worse, "alert": worse})
    report = measure_tree(tables, tree, every="year")
    found = row(report.now, metric="m")
    assert found["p_target"] == pytest.approx(0.05)
    assert found["status"] in ("missed", "open")
    assert row(report.now, metric="bad")["status"] == "alert"
    assert report.tree.metrics["m"].direction == ("up" if higher else "down")


def test_a_direction_or_limit_that_does_not_fit_the_scale_is_a_fault(few, study):
    share = {"estimator": "mean", "table": "answers", "column": "ces"}
    tree = tree_with(
        a={**share, "direction": "up"}, b={**share, "target": 40}, c={**share, "target": 3, "alert": 2},
    )  # fmt: skip
    scores = pd.DataFrame({"customer": ["a"], "date": "2025-01-02", "ces": [3]})
    with pytest.raises(DataError) as found:
        measured(few, tree, study=study(higher_is_better=False), answers=scores)
    assert len(found.value.faults) == 3


def test_a_target_is_not_met_for_certain_because_everybody_agreed(few, row):
    scores = pd.DataFrame({"customer": [f"c{i}" for i in range(60)], "date": "2025-01-02", "csat": 5})
    tree = tree_with(m={"estimator": "mean", "table": "answers", "column": "csat", "target": 4.98})
    assert row(measured(few, tree, answers=scores).now, metric="m")["status"] == "open"


def test_uptime_by_requests_and_by_time(few, row):
    rows = events(("a", "2025-01-02", "request_ok", 9), ("a", "2025-01-02", "request_failed", 1),
                  ("b", "2025-01-02", "minutes_up", 1430), ("b", "2025-01-02", "minutes_down", 10))  # fmt: skip
    found = measured(few, metric_tree("pulse"), events=rows).now
    assert row(found, metric="uptime")["value"] == pytest.approx(0.9)
    assert row(found, metric="uptime_of_time")["value"] == pytest.approx(1430 / 1440)


def test_counts_stand_as_they_are(few, row):
    count = {"estimator": "count", "table": "answers", "target": 4}
    assert row(measured(few, tree_with(star=count)).now, metric="star")["status"] == "met"
    found = row(measured(few, tree_with(star={**count, "target": 5})).now, metric="star")
    assert found["status"] == "missed"
    assert np.isnan(found["p_target"])


def test_what_moved_with_the_north_star(few, row):
    rng = np.random.default_rng(2)
    counts = rng.integers(5, 30, (12, 2))
    answers = pd.DataFrame(
        [("a", f"2025-{m + 1:02d}-04", 9) for m in range(12) for _ in range(counts[m, 0])],
        columns=["customer", "date", "nps"],
    )
    rows = events(*(("a", f"2025-{m + 1:02d}-04", "x", int(counts[m, 1])) for m in range(12)))
    found = measured(
        few, tree_with(n={"estimator": "count", "table": "events"}), every="month", answers=answers, events=rows
    )
    own = row(found.moved, metric="n")
    expected = stats.pearsonr(*np.diff(counts, axis=0).T.astype(float))
    bounds = expected.confidence_interval(0.90)
    assert (own["r"], own["n"]) == (pytest.approx(expected.statistic), 11)
    assert (own["low"], own["high"]) == (pytest.approx(bounds.low), pytest.approx(bounds.high))


def test_a_period_that_has_not_ended_is_not_now(few):
    late = ANSWERS.assign(date=["2025-01-10", "2025-12-10", "2025-12-11", "2026-01-02"])
    found = measured(few, tree_with(), every="quarter", answers=late)
    assert list(found.values["complete"]) == [True, True, False]
    assert list(found.now["quarter"]) == ["2025Q4"]
    assert found.now["before"].isna().all()


def test_wrong_asks_are_refused(few):
    with pytest.raises(DataError) as found:
        measured(few, tree_with(), ("month", "segment", "segment", "channel"), every="week")
    assert len(found.value.faults) == 4
    with pytest.raises(DataError, match="No metric"):
        measured(few, tree_with(star={"estimator": "count", "table": "tickets"}))
    outside = ANSWERS.assign(nps=[11, 2, 3, 4])
    with pytest.raises(DataError, match=r"outside 0\.\.10"):
        measured(few, tree_with(star={"estimator": "nps", "table": "answers", "column": "nps"}), answers=outside)


@pytest.fixture(scope="module")
def bank_report(tables, bank):
    return measure_tree(tables, metric_tree(bank.parent / "experience.toml"), ("segment",))


def test_the_bundled_tree_is_measured_whole(bank_report):
    report = bank_report
    assert report.unmeasured.empty
    assert list(report.now["metric"]) == list(report.tree.metrics)
    assert {metric.estimator for metric in report.tree.metrics.values()} == {
        "nps", "top_two", "mean", "per_active", "share", "quantile", "actives", "count", "median_time", "retention",
        "earnings",
    }  # fmt: skip
    bounded = report.values.dropna(subset=["value", "low", "high"])
    assert (bounded["low"] <= bounded["value"] + 1e-9).all()
    assert (bounded["value"] <= bounded["high"] + 1e-9).all()
    assert report.values["p_target"].dropna().between(0, 1).all()
    assert report.as_record()["north_star"] == "recommend"


def test_the_journey_by_touchpoint_and_segment(bank_report):
    by_place = heat_map(bank_report)
    assert list(dict.fromkeys(by_place["stage"])) == ["entice", "enter", "engage", "exit", "extend"]
    assert set(by_place["across"]) == {"Relationship", "Branch", "Mobile app", "Service"}
    assert len(by_place) == len(bank_report.tree.metrics)
    by_segment = heat_map(bank_report, "segment")
    assert by_segment["across"].nunique() == 5
    with pytest.raises(DataError, match="choose from touchpoint, channel, department, segment"):
        heat_map(bank_report, "branch")


def test_standing_counts_every_metric_once(bank_report):
    for place in ("scope", "stage", "touchpoint", "department"):
        table = standing(bank_report, place)
        assert table["metrics"].sum() == len(bank_report.tree.metrics)
        assert (table[list(STATUSES)].sum(axis=1) == table["metrics"]).all()
    with pytest.raises(DataError, match="choose from scope"):
        standing(bank_report, "country")


def test_templates_measure_what_the_bank_has(tables):
    assert set(TEMPLATES) == {"heart", "pulse", "ues", "journey"}
    report = measure_tree(tables, metric_tree("journey"), every="year")
    assert set(report.now["metric"]) | set(report.unmeasured["metric"]) == set(report.tree.metrics)
    assert report.tree.about.north_star in set(report.now["metric"])
