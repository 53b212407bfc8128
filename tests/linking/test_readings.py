"""Readings in the panel: equal to the dense conditional mean of what was known, and blind to the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.core.score_parts import ScoreParts
from rox.linking.link import link
from rox.testing import linked_from_frame, sample_linked
from tests.linking.crowd import Crowd, make_crowd

PARTS = ScoreParts(lasting=1.0, passing=2.0, memory=0.8, noise=1.5)


@pytest.fixture(scope="module", params=[True, False], ids=["late", "at once"])
def crowd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    return make_crowd(tmp_path_factory.mktemp("crowd"), available=request.param, dated=False, seed=8)


def dense(months: np.ndarray, residual: np.ndarray, at: int) -> tuple[float, float]:
    """Condition trait and passing part in a month on answers at once."""
    lag = np.abs(months[:, None] - months[None, :])
    v = PARTS.lasting + PARTS.passing * PARTS.memory**lag + PARTS.noise * np.eye(len(months))
    solved = np.linalg.solve(v, residual)
    return PARTS.lasting * solved.sum(), PARTS.passing * (PARTS.memory ** (at - months)) @ solved


def by_search(linked: Linked) -> pd.DataFrame:
    """Read each month on its own: means of earlier months, and the answers known before that came in their order."""
    exposures = linked.fetch(linked.views.exposures)  # type: ignore[union-attr]
    people = linked.fetch(linked.views.people)[["customer", "segment"]]  # type: ignore[union-attr]
    exposures = exposures.merge(people, on="customer").sort_values(["customer", "number"])
    exposures = exposures[(exposures["is_open"] == 1) & (exposures["begin"] <= exposures["later"].fillna(10**9))]
    means = exposures.groupby(["segment", "said"])["score"].mean()
    rows = []
    for row in linked.frame().dropna(subset="score").itertuples():
        mine = exposures[(exposures["customer"] == row.customer) & (exposures["begin"] <= row.month)]
        months = mine["said"].to_numpy()
        residual = mine["score"].to_numpy() - means[[*zip(mine["segment"], mine["said"], strict=True)]].to_numpy()
        trait, passing = dense(months, residual, row.month)
        of_segment = means[row.segment]
        expected = of_segment[of_segment.index < row.month].iloc[-1]
        rows.append((row.customer, row.month, expected + trait + passing, trait, passing))
    return pd.DataFrame(rows, columns=["customer", "month", "reading", "trait", "passing"])


@pytest.mark.parametrize("options", [{}, {"lag": 2, "washout": 1, "look_back": 9}])
def test_it_is_the_conditional_mean_of_what_was_known(crowd: Crowd, options: dict[str, int]) -> None:
    linked = link(crowd.tables, **options)  # type: ignore[arg-type]
    found = linked.calibrated(PARTS)
    frame = found.frame()
    assert frame["reading"].notna().equals(frame["score"].notna())
    expected = by_search(linked)
    assert len(expected) > 300
    got = frame.loc[frame["score"].notna(), list(expected.columns)].reset_index(drop=True)
    pd.testing.assert_frame_equal(got, expected, check_dtype=False, atol=1e-9, rtol=1e-9)
    pd.testing.assert_frame_equal(frame.drop(columns=["reading", "trait", "passing"]), linked.frame())


def test_it_says_so(crowd: Crowd) -> None:
    linked = link(crowd.tables)
    found = linked.calibrated(PARTS)
    assert found.fingerprint != linked.fingerprint
    assert found.fingerprint != linked.calibrated(replace(PARTS, noise=1.0)).fingerprint
    assert found.fingerprint == linked.calibrated(replace(PARTS)).fingerprint
    assert found.trail[:-1] == linked.trail
    assert (found.trail[-1].name, found.trail[-1].rows) == ("readings", linked.frame()["score"].notna().sum())
    assert found.leak_report().wrong == 0
    with pytest.raises(DataError, match="has readings already"):
        found.calibrated(PARTS)


def test_given_means_are_used_and_must_cover_the_answers() -> None:
    linked = sample_linked(customers=200, months=12)
    frame = linked.frame()
    months = np.arange(frame["month"].min() - 1, frame["month"].max() + 1)
    flat = pd.DataFrame({"segment": np.repeat(["gold", "mass"], len(months)), "month": np.tile(months, 2), "mean": 7.0})
    found = linked.calibrated(replace(PARTS, means=flat)).frame().dropna(subset="reading")
    np.testing.assert_allclose(found["reading"], 7 + found["trait"] + found["passing"])
    one = found[found.groupby("customer")["score"].transform("nunique") == 1].iloc[0]
    if one["score_age"] == 1:
        share = PARTS.lasting / (PARTS.lasting + PARTS.passing + PARTS.noise)
        assert one["trait"] == pytest.approx(share * (one["score"] - 7))
    with pytest.raises(DataError, match="answers but no mean: gold"):
        linked.calibrated(replace(PARTS, means=flat[flat["segment"] == "mass"]))


def test_no_later_answer_and_no_later_month_matters() -> None:
    linked = sample_linked(customers=150, months=18)
    frame = linked.frame()
    cut = frame["month"].min() + 11
    early = frame[frame["month"] <= cut]
    one = linked.calibrated(PARTS).frame()
    other = linked_from_frame(early, controls=("products",)).calibrated(PARTS).frame()
    columns = ["customer", "month", "reading", "trait", "passing"]
    pd.testing.assert_frame_equal(one.loc[one["month"] <= cut, columns].reset_index(drop=True), other[columns])


def test_parts_out_of_range_are_told_at_once() -> None:
    with pytest.raises(DataError) as caught:
        ScoreParts(lasting=-1, passing=1, memory=2, noise=float("nan"), means=pd.DataFrame({"segment": ["a"]}))
    assert len(caught.value.faults) == 5
    with pytest.raises(DataError, match="all variances are 0"):
        ScoreParts(lasting=0, passing=0, memory=0.5, noise=0)
    twice = pd.DataFrame({"segment": ["a", "a"], "month": [1, 1], "mean": [1.0, np.nan]})
    with pytest.raises(DataError) as caught:
        replace(PARTS, means=twice)
    assert len(caught.value.faults) == 2
