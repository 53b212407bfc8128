"""Placebo roll-outs: the estimator that will judge, on months in which nothing happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.placebo_rollouts import ALL, MONEY, SCORE, PlaceboRollouts, placebo_rollouts, spread, stage_effect
from rox.models.population import population
from rox.models.quiet_months import places_of, quiet_cohort, quiet_cohorts, quiet_months
from rox.models.rollout import rollout
from rox.models.rollout_att import rollout_att
from rox.testing import linked_from_frame, sample_linked

START = 12 * 2022


def frame_of(
    places: int = 24, each: int = 20, months: int = 24, *, noise: float = 0.1, shock: float = 0.0, seed: int = 1
) -> pd.DataFrame:
    """Customer-months with independent noise, and with places that drift apart by a random walk."""
    rng = np.random.default_rng(seed)
    place = np.repeat(np.arange(places), each)
    walk = np.cumsum(shock * rng.standard_normal((months, places)), axis=0)
    money = 1000.0 * (1 + noise * rng.standard_normal((months, place.size)) + walk[:, place])
    return pd.DataFrame(
        {
            "customer": np.tile(np.arange(place.size), months),
            "month": np.repeat(START + np.arange(months), place.size),
            "unit": [f"P{each:02d}" for each in np.tile(place, months)],
            "outcome": np.maximum(money, 0).ravel(),
        }
    )


def started(frame: pd.DataFrame, month: int) -> Linked:
    starts = pd.DataFrame({"initiative": "refit", "unit": ["P00", "P01", "P02"], "start": START + month})
    return linked_from_frame(frame, starts=starts)


@pytest.fixture(scope="module")
def quiet_panel() -> Linked:
    return linked_from_frame(frame_of(months=26))


@pytest.fixture(scope="module")
def calm() -> PlaceboRollouts:
    return placebo_rollouts(linked_from_frame(frame_of()), places=(8,), replications=120, rng=1)


@pytest.fixture(scope="module")
def sample() -> Linked:
    return sample_linked()


@pytest.fixture(scope="module")
def tried(sample: Linked) -> PlaceboRollouts:
    return placebo_rollouts(sample, places=(6,), window=(3, 5), replications=30, rng=1)


def test_each_start_is_estimated_as_the_roll_out_itself_would_be(sample: Linked) -> None:
    cohort = rollout(sample, initiative=None, base=3, history=9, cap=3.0)
    att = rollout_att(cohort, cohort.means(cohort.ratio), window=(2, 5))
    first, last = cohort.first_start, int(cohort.months[-1])
    names = tuple(places_of(sample).index)
    summed = quiet_cohort(sample, first, names=names, last=last, base=3, history=9, cap=3.0, effect=None)
    assert summed.units == cohort.units
    np.testing.assert_allclose(summed.sizes, cohort.sizes)
    total, pushed, mass = np.zeros(2), np.zeros((len(summed.units), 2)), np.zeros(2)
    for start in att.cohorts:
        seen = np.where(cohort.starts >= start, cohort.starts, np.nan)
        effect, influence = stage_effect(summed, summed.ratio, seen, float(start), (2, 5))
        size = cohort.sizes[cohort.starts == start].sum(0)
        total, pushed, mass = total + size * effect, pushed + size * influence, mass + size
    np.testing.assert_allclose(total / mass, att.estimate, atol=2e-6)
    np.testing.assert_allclose(np.sqrt(((pushed / mass) ** 2).sum(0)), np.sqrt((att.influence**2).sum(0)), atol=2e-6)


def test_the_test_keeps_its_size_and_the_error_is_the_estimators_own(quiet_panel: Linked) -> None:
    found = placebo_rollouts(quiet_panel, places=(8,), window=(6, 11), replications=250, rng=1)
    row = found.rows()[ALL]
    assert abs(row["size"] - 0.05) < 3 * row["size_mc"] + 0.02
    assert row["se"] == pytest.approx(row["reported"], rel=0.2)
    assert abs(row["mean"]) < 4 * row["se"] / np.sqrt(found.replications)
    assert len(found.quiet.starts) > 1
    assert found.failed == 0


def test_places_that_drift_apart_cost_precision_that_customers_alone_would_not_show(calm: PlaceboRollouts) -> None:
    stormy = placebo_rollouts(linked_from_frame(frame_of(shock=0.03)), places=(8,), replications=80, rng=1)
    assert stormy.rows()[ALL]["se"] > 2 * calm.rows()[ALL]["se"]
    assert stormy.rows()[ALL]["se"] > 2 * stormy.individual_se[-2]
    assert calm.rows()[ALL]["se"] == pytest.approx(calm.individual_se[-2], rel=0.5)


def test_an_effect_put_in_comes_out_whole_where_nothing_is_cut() -> None:
    data = linked_from_frame(frame_of(noise=0.0))
    found = placebo_rollouts(
        data, places=(5, 5), dates=(0, 4), window=(2, 6), replications=20, rng=1, initiative_effect=0.07
    )
    np.testing.assert_allclose(found.estimates, 0.0, atol=1e-9)
    np.testing.assert_allclose(found.lifted, 0.07, atol=1e-6)


def test_the_cap_takes_its_part_of_an_effect() -> None:
    data = linked_from_frame(frame_of(noise=0.3))
    found = placebo_rollouts(data, places=(8,), replications=40, cap=1.1, rng=1, initiative_effect=0.2).rows()[ALL]
    assert 0.02 < found["found"] - found["mean"] < 0.18


def test_an_effect_of_four_errors_is_found(calm: PlaceboRollouts) -> None:
    data, effect = linked_from_frame(frame_of()), 4 * calm.rows()[ALL]["se"]
    found = placebo_rollouts(data, places=(8,), replications=100, rng=1, initiative_effect=effect).rows()[ALL]
    assert 0.9 < found["power"] <= 1.0
    assert found["size"] < 0.15


def test_a_lopsided_design_finds_less(calm: PlaceboRollouts) -> None:
    """Two of 24 places against the rest have a variance 3.2 times that of ten of 24."""
    data = linked_from_frame(frame_of())
    cohorts = quiet_cohorts(data, calm.quiet, base=3, history=12, cap=3.0, effect=None)
    few, many = (
        placebo_rollouts(
            data,
            places=(places,),
            replications=200,
            rng=1,
            scores=False,
            cohorts=cohorts,
            quiet=calm.quiet,
            population=calm.population,
        ).rows()[ALL]["se"]
        for places in (2, 10)
    )
    assert few / many == pytest.approx(np.sqrt((1 / 2 + 1 / 22) / (1 / 10 + 1 / 14)), rel=0.25)


def test_nothing_after_the_first_start_is_looked_at() -> None:
    frame = frame_of(months=30)
    later = frame["month"] >= START + 20
    changed = frame.assign(outcome=np.where(later, 5 * frame["outcome"], frame["outcome"]))
    one, other = (
        placebo_rollouts(started(each, 20), places=(6,), window=(4, 7), replications=20, rng=3)
        for each in (frame, changed)
    )
    assert one.quiet.last == START + 19
    np.testing.assert_array_equal(one.estimates, other.estimates)


def test_a_seed_decides_and_the_order_of_rows_does_not(calm: PlaceboRollouts) -> None:
    shuffled = linked_from_frame(frame_of().sample(frac=1, random_state=1))
    again = placebo_rollouts(shuffled, places=(8,), replications=120, rng=1)
    np.testing.assert_array_equal(calm.estimates, again.estimates)
    cohorts = quiet_cohorts(shuffled, calm.quiet, base=3, history=12, cap=3.0, effect=None)
    other = placebo_rollouts(shuffled, places=(8,), replications=120, rng=2, cohorts=cohorts, quiet=calm.quiet)
    assert not np.array_equal(calm.estimates, other.estimates)


@pytest.mark.parametrize(
    ("months", "window", "laid_over", "starts"),
    [
        (40, (6, 11), False, (12, 12 + (40 - 12 - 6 - 12))),
        (26, (6, 11), False, (8, 8)),
        (20, (6, 11), True, (8, 8)),
        (12, (6, 8), True, (3, 3)),
        (6, (2, 2), True, (3, 3)),
    ],
)
def test_what_gives_way_when_months_are_few(
    months: int, window: tuple[int, int], laid_over: bool, starts: tuple[int, int]
) -> None:
    data = started(frame_of(places=8, each=4, months=months + 2), months)
    found = quiet_months(data, dates=(0, 6), window=(6, 11), base=3, history=12)
    assert (found.months, found.window, found.laid_over) == (months, window, laid_over)
    assert (found.starts[0] - START, found.starts[-1] - START) == starts
    assert max(found.starts) + found.window[1] + (0 if laid_over else 6) <= found.last


def test_without_months_before_the_first_start_it_says_so() -> None:
    with pytest.raises(FitError, match="no months before the first initiative"):
        placebo_rollouts(started(frame_of(places=8, each=4, months=10), 3), places=(2,))


def test_all_faults_of_a_design_come_in_one_message(quiet_panel: Linked) -> None:
    with pytest.raises(FitError) as caught:
        placebo_rollouts(quiet_panel, places=(30, 0), dates=(0, 0), replications=2)
    assert len(caught.value.faults) == 3
    with pytest.raises(FitError, match="all places start at once"):
        placebo_rollouts(quiet_panel, places=(24,), replications=2)


def test_the_last_start_of_all_places_is_left_out() -> None:
    found = placebo_rollouts(
        linked_from_frame(frame_of()), places=(8, 8, 8), dates=(0, 2, 12), window=(0, 1), replications=20, rng=1
    )
    assert np.isfinite(found.estimates).all()


def test_a_segment_that_is_missing_before_some_start_is_left_out(sample: Linked) -> None:
    frame = sample.frame()
    rare = frame["segment"].where((frame["segment"] == "mass") | (frame["customer"] % 3 > 0), "rare")
    late = frame["opened"].where(rare != "rare", frame["month"].min() + 4.0)
    data = replace(sample, panel=frame[(rare != "rare") | (frame["month"] >= late)].assign(segment=rare, opened=late))
    quiet = quiet_months(data, dates=(0,), window=(0, 1), base=3, history=3)
    quiet = replace(quiet, starts=(quiet.starts[0], quiet.starts[-1]))
    kept = quiet_cohorts(data, quiet, base=3, history=3, cap=3.0, effect=None)
    assert {each.groups for each in kept} == {("gold", "mass")}
    assert {each.ratio.shape[2] for each in kept} == {2}


def test_scores_are_tried_too(tried: PlaceboRollouts, calm: PlaceboRollouts) -> None:
    row = tried.rows()[SCORE]
    assert row["se"] == pytest.approx(row["reported"], rel=0.6)
    assert set(tried.table().index) == {"gold", "mass", ALL, MONEY, SCORE}
    assert np.isnan(calm.rows()[SCORE]["se"])


def test_money_weighs_segments_by_what_they_hold(tried: PlaceboRollouts) -> None:
    base = tried.population.baseline
    held = (base["customers"] * base["money"]).to_numpy()
    np.testing.assert_allclose(tried.estimates[:, 3], tried.estimates[:, :2] @ (held / held.sum()), atol=1e-12)
    np.testing.assert_allclose(tried.estimates[:, 2], tried.estimates[:, :2] @ tried.population.shares, atol=1e-12)


def test_the_error_of_a_standard_deviation_is_that_of_repeated_samples() -> None:
    rng = np.random.default_rng(1)
    for draw in (rng.standard_normal, lambda size: rng.standard_t(6, size)):
        samples = draw((400, 300))
        spreads = np.array([spread(each) for each in samples])
        assert spreads[:, 1].mean() == pytest.approx(spreads[:, 0].std(), rel=0.2)
    assert np.isnan(spread(np.ones(2))).all()


def test_the_bundled_roll_out_is_foreseen_from_the_months_before_it(bank_linked: Linked) -> None:
    found = placebo_rollouts(bank_linked, places=(15, 15, 15), dates=(0, 6, 12), replications=60, rng=1, scores=False)
    cohort = rollout(bank_linked, initiative=None, base=3, history=12, cap=3.0)
    att = rollout_att(cohort, cohort.means(cohort.ratio), window=found.quiet.window)
    shares = population(cohort.panel, cohort.groups).shares
    actual = float(np.sqrt(((att.influence @ shares) ** 2).sum()))
    assert found.rows()[ALL]["se"] == pytest.approx(actual, rel=0.3)
    assert (found.quiet.window, found.quiet.laid_over) == ((6, 8), True)
