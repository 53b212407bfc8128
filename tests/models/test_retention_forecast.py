"""The retention forecast: a planted truth, customers left out, scenarios, and the refusal without skill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Check, Verdict
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.core.words import say
from rox.models.forecast_rows import BUCKETS, bands_of, bucket_of, forecast_rows, hazard_cells
from rox.models.retention_forecast import Forecast, RetentionForecast, shift_path
from tests.models.conftest import START, leaving_panel, linked_from, noisy_leaving_panel

PLAIN = RetentionForecast(reading="carried", draws=200, folds=4)


def code(found: Forecast, name: str) -> Check:
    (one,) = [check for check in found.checks if check.code == name]
    return one


def lasting_panel(customers: int, months: int, *, seed: int, log_ratio: float) -> pd.DataFrame:
    """Customer-months of customers whose answer never changes, with the hazards of ``leaving_panel``."""
    rng = np.random.default_rng(seed)
    segment = np.where(rng.random(customers) < 0.5, "a", "b")
    score = rng.integers(0, 11, customers).astype(float)
    own = np.where(segment == "a", 0.012, 0.02) * np.exp(log_ratio * (score - 7))
    life = np.ceil(rng.exponential(1 / (own + 0.004)))
    length = np.minimum(life, months).astype(int)
    gone, chosen = life <= months, rng.random(customers) < own / (own + 0.004)
    who = np.repeat(np.arange(customers), length)
    month = START + np.concatenate([np.arange(each) for each in length])
    return pd.DataFrame(
        {
            "customer": who,
            "month": month,
            "segment": segment[who],
            "outcome": 100.0,
            "score": score[who],
            "score_age": month - START + 1.0,
            "opened": START - rng.integers(1, 60, customers)[who].astype(float),
            "exit_month": np.where(gone, START + length - 1.0, np.nan)[who],
            "voluntary": (gone & chosen)[who],
        }
    )


@pytest.fixture(scope="module")
def data() -> Linked:
    return linked_from(lasting_panel(4000, 30, seed=11, log_ratio=-0.2), look_back=40)


@pytest.fixture(scope="module")
def forecast(data: Linked) -> Forecast:
    return PLAIN.fit(data, rng=1)


def test_the_planted_hazard_is_found(forecast: Forecast) -> None:
    se = forecast.drawn.log_ratio.std()
    assert abs(forecast.hazards.log_ratio + 0.2) < 3 * se < 0.06
    ratio = forecast.hazards.own[1] / forecast.hazards.own[0]
    assert np.allclose(ratio, ratio[0])
    assert ratio[0] == pytest.approx(0.02 / 0.012, rel=0.15)
    at_seven = forecast.hazards.own[0, 4] * np.exp(forecast.hazards.log_ratio * (7 - forecast.hazards.centre))
    assert at_seven == pytest.approx(0.012, rel=0.25)
    assert np.median(forecast.hazards.other) == pytest.approx(0.004, rel=0.35)


def test_customers_left_out_are_predicted_well(forecast: Forecast) -> None:
    found = forecast.performance
    assert found.month == "2024-07"
    assert found.skill > 0.01
    assert found.concordance > 0.6
    assert found.auc > 0.6
    assert abs(found.slope - 1) < 3 * found.slope_se
    assert found.ici < 0.02
    assert code(forecast, "ROX-S41").verdict is Verdict.PASS
    assert found.deciles["customers"].sum() == found.customers
    gap = (found.deciles["observed"] - found.deciles["predicted"]) / found.deciles["se"]
    assert (gap**2).mean() < 2.5


def test_a_forecast_without_skill_is_refused() -> None:
    flat = leaving_panel(1500, 30, seed=3, log_ratio=0.0).assign(segment="all")
    found = PLAIN.fit(linked_from(flat.drop(columns="opened")), rng=1)
    assert found.performance.skill <= 0
    moving = PLAIN.fit(linked_from(leaving_panel(1500, 26, seed=2, log_ratio=-0.25)), rng=1)
    assert moving.performance.skill <= 0, "an answer that is given anew each quarter says little about a year"
    assert code(found, "ROX-S41").verdict is Verdict.STOP
    for ask in (found.curve, found.risks):
        with pytest.raises(FitError, match="ROX-S41"):
            ask()


def test_what_predicts_is_never_said_to_cause(forecast: Forecast) -> None:
    assert code(forecast, "ROX-S40").verdict is Verdict.NOTE
    assert "no evidence" in forecast.check_table("en").to_string()
    assert say("ROX-S40", "zh") in forecast.check_table("zh").to_string()


def test_the_curve_is_the_mean_of_its_customers(forecast: Forecast) -> None:
    for segment in ("a", "b"):
        curve = forecast.curve(segment, months=12)
        people = forecast.people[forecast.people["segment"] == segment]
        own = forecast.hazards.left(people, forecast.memory, 12, begin=1).mean(0)
        assert np.allclose(curve["left"].iloc[1:], own, rtol=2e-3)
        risks = forecast.risks(12)
        assert risks.loc[risks["segment"] == segment, "left"].mean() == pytest.approx(own[-1])
    both = forecast.curve(months=12)
    sizes = forecast.people["segment"].value_counts(normalize=True)
    mixed = sum(sizes[each] * forecast.curve(each, months=12)["kept"] for each in sizes.index)
    assert np.allclose(both["kept"], mixed)
    assert (both["kept"] + both["left"] <= 1 + 1e-12).all()


def test_the_curve_is_what_the_planted_hazard_makes(forecast: Forecast) -> None:
    people = forecast.people[forecast.people["segment"] == "a"]
    hazard = 0.012 * np.exp(-0.2 * (people["lasting"] - 7))
    truth = np.exp(-12 * (hazard + 0.004)).mean()
    curve = forecast.curve("a", months=12).loc[12]
    assert curve["kept"] == pytest.approx(truth, abs=0.025)
    assert curve["kept_low"] < curve["kept"] < curve["kept_high"]


def test_scenarios_begin_when_they_are_said_to(forecast: Forecast) -> None:
    at_once, later = forecast.curve(shift=1.0), forecast.curve(shift=1.0, start=7)
    slow, worse = forecast.curve(shift=1.0, ramp=12), forecast.curve(shift=-1.0)
    assert (later["gained"].iloc[:7] == 0).all()
    assert later["gained"].iloc[7] > 0
    for other in (later, slow):
        assert 0 < other["gained"].iloc[-1] < at_once["gained"].iloc[-1]
    assert worse["gained"].iloc[-1] < 0
    assert (at_once["gained_low"].iloc[2:] > 0).all()
    assert np.allclose(at_once["kept_shifted"] - at_once["kept"], at_once["gained"])
    ratio = np.exp(forecast.hazards.log_ratio)
    people = forecast.people.assign(lasting=forecast.people["lasting"] + 1.0)
    shifted = forecast.hazards.left(people, forecast.memory, 24, begin=1).mean(0)
    assert np.allclose(at_once["left_shifted"].iloc[1:], shifted, rtol=2e-3)
    assert ratio < 1


def test_a_ramp_is_linear() -> None:
    assert shift_path(3, 4, 8).tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert shift_path(1, 0, 3).tolist() == [1, 1, 1]


def test_readings_through_noise_find_the_ratio_that_answers_hide() -> None:
    data = linked_from(noisy_leaving_panel(5000, 30, seed=7, log_ratio=-0.3))
    read, carried = RetentionForecast(draws=100).fit(data, rng=1), PLAIN.fit(data, rng=1)
    assert code(read, "ROX-S44").verdict is Verdict.NOTE
    assert code(carried, "ROX-S45").verdict is Verdict.NOTE
    assert abs(read.hazards.log_ratio + 0.3) < abs(carried.hazards.log_ratio + 0.3)
    assert read.hazards.log_ratio == pytest.approx(-0.3, abs=0.12)
    assert 0 < read.memory < 1
    now = read.people
    assert now["passing"].std() > 0.1


def test_what_fades_moves_the_forecast_toward_the_mean(forecast: Forecast) -> None:
    people = pd.DataFrame({"segment": ["a", "a"], "age": [30, 30], "lasting": [6.0, 5.0], "passing": [-1.0, 0.0]})
    fading = forecast.hazards.left(people, 0.5, 24, begin=1)
    lasting = forecast.hazards.left(people, 1.0, 24, begin=1)
    assert fading[0, -1] < lasting[0, -1]
    assert fading[1, -1] == lasting[1, -1] == pytest.approx(lasting[0, -1])


def test_draws_spread_as_fits_of_other_banks_do() -> None:
    found = [
        PLAIN.fit(linked_from(lasting_panel(1000, 24, seed=40 + seed, log_ratio=-0.2)), rng=1) for seed in range(8)
    ]
    spread = np.std([each.hazards.log_ratio for each in found], ddof=1)
    said = np.mean([each.drawn.log_ratio.std() for each in found])
    assert 0.4 < spread / said < 2.0


def test_customers_are_never_predicted_by_a_fit_that_saw_them(data: Linked) -> None:
    held = forecast_rows(data, "carried", np.random.default_rng(1))
    fold = np.arange(BUCKETS) % 4
    rest, own = held.of_buckets(fold != 0), held.of_buckets(fold == 0)
    assert set(rest.rows["customer"]).isdisjoint(own.rows["customer"])
    assert len(rest.rows) + len(own.rows) == len(held.rows)
    assert hazard_cells(rest, held.segments).people.sum() == len(rest.rows)
    share = np.bincount(bucket_of(np.arange(6400)), minlength=BUCKETS) / 6400
    assert np.allclose(share, 1 / BUCKETS, atol=0.01)


def test_unknown_openings_have_a_band_of_their_own() -> None:
    assert bands_of(np.array([-1, 0, 5, 6, 12, 119, 120, 999])).tolist() == [0, 1, 1, 2, 3, 6, 7, 7]
    frame = lasting_panel(3000, 28, seed=2, log_ratio=-0.25)
    frame["opened"] = frame["opened"].where(frame["customer"] % 3 > 0)
    found = PLAIN.fit(linked_from(frame), rng=1)
    assert (found.people["age"] == -1).any()
    assert found.curve(months=60)["kept"].is_monotonic_decreasing


def test_follow_up_ends_where_no_answer_is_known(data: Linked) -> None:
    frame = data.frame()
    hidden = (frame["customer"] % 2 == 0) & (frame["month"] >= START + 20)
    frame.loc[hidden, ["score", "score_age"]] = np.nan
    found = PLAIN.fit(linked_from(frame), rng=1)
    assert found.people["customer"].mod(2).eq(1).all()
    assert found.performance.exits < PLAIN.fit(data, rng=1).performance.exits


def test_faults_are_listed_together(data: Linked, forecast: Forecast) -> None:
    with pytest.raises(FitError, match=r"horizon is 0(.|\n)*reading(.|\n)*folds(.|\n)*draws"):
        RetentionForecast(horizon=0, reading="guessed", folds=1, draws=3).fit(data)  # type: ignore[arg-type]
    with pytest.raises(FitError, match=r"segment is 'c'(.|\n)*months(.|\n)*scenario(.|\n)*level"):
        forecast.curve("c", shift=np.inf, start=0, months=0, level=2.0)
    with pytest.raises(FitError, match="left by their own choice"):
        PLAIN.fit(linked_from(leaving_panel(150, 20, seed=1, log_ratio=0.0)))
    with pytest.raises(FitError, match="cannot be judged"):
        replace(PLAIN, horizon=1).fit(linked_from(leaving_panel(400, 24, seed=1, log_ratio=0.0)))
    small = replace(forecast, min_cell=10**6)
    with pytest.raises(FitError, match="fewer than"):
        small.curve("a")
