"""Answers that agree with each other, or almost: intervals keep a width and hold their point."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox import metrics
from rox.core.study import Scale
from rox.metrics.accounts import account_scores
from rox.metrics.estimates import with_nps
from rox.metrics.rivals import Benchmarks, panel, standing
from rox.numerics.intervals import dirichlet_nps_interval, nps_probability_below, posterior_variance
from rox.numerics.survey import weighted_nps


def answers(score, n=60, date="2025-10-10", prefix="c", name="nps"):
    return pd.DataFrame({"customer": [f"{prefix}{i}" for i in range(n)], "date": date, name: score})


def test_the_probability_below_belongs_to_the_interval():
    for counts in ((60, 0, 0), (3, 40, 9), (0.5, 2, 150)):
        low, high = dirichlet_nps_interval(*counts, level=0.9)
        assert nps_probability_below(*counts, points=low) == pytest.approx(0.05, abs=1e-6)
        assert nps_probability_below(*counts, points=high) == pytest.approx(0.95, abs=1e-6)
    assert nps_probability_below(10, 5, 2, points=-100) == pytest.approx(0, abs=1e-9)


def test_the_posterior_variance_is_that_of_draws():
    draws = np.random.default_rng(1).dirichlet([58.5, 2.5, 0.5], 200_000) @ [1, 0, -1]
    made = posterior_variance(58 / 60, 58 / 60, 60.0, support=(-1.0, 0.0, 1.0))
    assert made == pytest.approx(draws.var(), rel=0.02)


@pytest.mark.parametrize(
    "counts", [(60, 0, 0), (0, 0, 60), (0, 60, 0), (300, 0, 0), (59, 1, 0), (1, 0, 400), (500, 2, 0)]
)
def test_an_nps_lies_in_its_interval(counts):
    n, mean, square = sum(counts), (counts[0] - counts[2]) / sum(counts), (counts[0] + counts[2]) / sum(counts)
    se = np.sqrt(max(square - mean**2, 0) / (n - 1))
    frame = pd.DataFrame({"value": [mean], "se": se, "square": square, "n": float(n), "n_eff": float(n), "df": n - 1.0})
    row = with_nps(frame, 0.90).iloc[0]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["low"] < row["high"]
    assert (row["high"] == 100) == (counts[0] == n)
    assert (row["low"] == -100) == (counts[2] == n)
    fit = weighted_nps(np.repeat([10, 8, 2], counts))
    assert (fit.low, fit.high) == pytest.approx((row["low"], row["high"]))


def test_a_change_between_waves_that_agree_is_not_certain(few, row):
    now, before = (answers(10, date=date, prefix=p) for date, p in (("2025-10-10", "c"), ("2025-07-10", "d")))
    found = row(metrics.change(few(answers=pd.concat([now, before])), "nps", "2025Q3", "2025Q4"))
    one = 100 * np.sqrt(posterior_variance(1.0, 1.0, 60.0, support=(-1.0, 0.0, 1.0)))
    assert found["value"] == 0
    assert found["se"] == pytest.approx(np.sqrt(2) * one)
    assert found["low"] < -5 < 5 < found["high"]
    shares = pd.concat([now, before]).assign(csat=5).drop(columns="nps")
    found = metrics.change(few(answers=shares), "csat", "2025Q3", "2025Q4").set_index("metric")
    assert (found["high"] - found["low"]).between(0.02, 0.5).all()


def test_accounts_that_agree_keep_an_interval(few):
    given = answers(10, n=40).assign(csat=5, contact=[f"k{i}" for i in range(40)])
    contacts = given[["contact", "customer"]]
    tables = few(answers=given, contacts=contacts)
    found = account_scores(tables, "nps").scores.iloc[0]
    assert (found["value"], found["high"]) == (100, 100)
    assert found["low"] == pytest.approx(dirichlet_nps_interval(40, 0, 0, level=0.9)[0])
    shares = account_scores(tables, "csat").scores.set_index("metric")
    assert shares["method"].to_dict() == {"mean": "t", "top_two": "wilson"}
    assert (shares["value"] > shares["low"]).all()
    assert shares["high"].tolist() == [5, 1]


def test_nobody_is_surely_ahead_because_everybody_agreed(few):
    benchmarks = Benchmarks.model_validate({
        "score": "nps", "own": {"name": "We", "mode": "sms", "population": "retail"},
        "rivals": [{"name": "A", "metric": "nps", "value": 99.0, "low": 98.9, "high": 99.1, "date": "2025-12-01",
                    "source": "r", "mode": "sms", "population": "retail"}],
    })  # fmt: skip
    table = standing(few(answers=answers(10)), benchmarks, rng=1).table
    assert table["se"].iloc[0] > 1
    assert table["p_own_ahead"].iloc[1] < 0.9
    scale = Scale.model_validate({"column": "nps", "low": 0, "high": 10, "kind": "nps", "label": "NPS"})
    frame = pd.DataFrame({"company": ["We"] * 40 + ["A"] * 40, "answer": [10] * 79 + [8]})
    assert panel(frame, scale, "We", rng=1).table["p_own_ahead"].iloc[1] < 0.9
