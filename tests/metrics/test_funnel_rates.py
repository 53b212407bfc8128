"""The funnel in rates: each step, the whole, who has had time, and who tries again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.metrics.funnel import attempts, funnel
from rox.numerics.intervals import wilson_interval

NOBODY = pd.DataFrame({"customer": ["c"], "segment": ["all"]})


def applicants(reached, **columns):
    """Starters of January 2025 who passed so many of three steps; the third is the account."""
    n = len(reached)
    return pd.DataFrame(
        {
            "key": [f"k{i:03d}" for i in range(n)],
            "date": pd.Timestamp("2025-01-10"),
            "channel": "app",
            "reached": reached,
            "funded": [int(each == 3) for each in reached],
        }
        | columns
    )


def test_steps_multiply_to_the_funded_share(few, row):
    table = applicants([0] * 10 + [1] * 20 + [2] * 30 + [3] * 40)
    found = funnel(few(applicants=table, customers=NOBODY))
    assert list(found["metric"]) == ["step_1", "step_2", "step_3", "funded"]
    rates = found.set_index("metric")["value"]
    assert rates.to_dict() == pytest.approx({"step_1": 0.9, "step_2": 70 / 90, "step_3": 40 / 70, "funded": 0.4})
    last = row(found, metric="step_3")
    assert (last["n"], last["unit"]) == (70, "ratio")
    assert (last["low"], last["high"]) == pytest.approx(wilson_interval(40 / 70, 70))


def test_groups_by_time_channel_and_device(few, row):
    table = applicants([3] * 20 + [0] * 20, device=["phone", "computer"] * 20)
    table.loc[10:29, ["date", "channel"]] = [pd.Timestamp("2025-04-02"), "web"]
    found = funnel(few(applicants=table, customers=NOBODY), by=("quarter", "channel"))
    assert row(found, metric="funded", quarter="2025Q1", channel="app")["value"] == 0.5
    assert row(found, metric="funded", quarter="2025Q2", channel="web")["value"] == 0.5
    by_device = funnel(few(applicants=table, customers=NOBODY), by=("month", "device"))
    assert set(by_device["month"]) == {"2025-01", "2025-04"}


def test_who_had_no_time_is_left_out_whatever_became_of_them(few, row):
    table = applicants([3] * 10 + [1] * 10 + [3] * 5)
    table.loc[10:, "date"] = pd.Timestamp("2025-10-03")
    found = funnel(few(applicants=table, customers=NOBODY))
    assert (row(found, metric="funded")["n"], row(found, metric="funded")["value"]) == (10, 1)
    later = funnel(few(applicants=table, customers=NOBODY), days=89)
    assert row(later, metric="funded")["n"] == 25


def test_a_person_counts_once_with_what_the_first_attempts_came_to(few, row):
    table = applicants([1, 3, 0, 3, 2], person=["a", "a", "b", "b", "c"])
    table["date"] = pd.to_datetime(["2025-01-10", "2025-01-20", "2025-01-10", "2025-06-01", "2025-02-01"])
    table["channel"] = ["web", "app", "web", "app", "web"]
    tables = few(applicants=table, customers=NOBODY)
    found = funnel(tables, by=("channel",))
    whole = row(found, metric="funded")
    assert (whole["channel"], whole["n"], whole["value"]) == ("web", 3, pytest.approx(1 / 3))
    again = attempts(tables)
    assert row(again, metric="tried_again")["value"] == pytest.approx(2 / 3)
    assert row(again, metric="attempts_each")["value"] == pytest.approx(5 / 3)


def test_accounts_with_money_are_told_from_empty_ones(few, row):
    table = applicants([3, 3, 3, 1], amount=[100.0, 0.0, np.nan, 0.0])
    found = funnel(few(applicants=table, customers=NOBODY))
    assert row(found, metric="active")["value"] == 0.25
    assert row(found, metric="funded")["value"] == 0.75


def test_without_steps_only_the_whole_is_told(few):
    table = applicants([3, 1]).drop(columns="reached")
    assert list(funnel(few(applicants=table, customers=NOBODY))["metric"]) == ["funded"]


def test_steps_before_the_account_are_followed_by_it(few, row):
    """Where the steps end before the account, somebody passes them all without one."""
    found = funnel(few(applicants=applicants([2, 2, 1], funded=[1, 0, 0]), customers=NOBODY))
    assert row(found, metric="step_2")["value"] == pytest.approx(2 / 3)
    assert row(found, metric="step_3")["value"] == 0.5


def test_small_cells_are_hidden(few, study, row):
    table = applicants([3] * 40 + [0] * 4)
    table.loc[40:, "channel"] = "web"
    found = funnel(few(study(min_cell=10), applicants=table, customers=NOBODY), by=("channel",))
    assert row(found, metric="funded", channel="web")["suppressed"]
    assert np.isnan(row(found, metric="funded", channel="web")["value"])


def test_faults_are_told_together(few):
    tables = few(applicants=applicants([3, 1]).drop(columns="funded"), customers=NOBODY)
    with pytest.raises(DataError, match=r"(?s)applicants.funded.*'branch' is no group"):
        funnel(tables, by=("branch",))
    with pytest.raises(DataError, match="person"):
        attempts(tables)
    broken = applicants([3, 1], funded=[1, np.nan])
    with pytest.raises(DataError, match="neither 0 nor 1"):
        funnel(few(applicants=broken, customers=NOBODY))
