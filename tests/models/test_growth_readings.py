"""The bracket of growth and level: what was put in is found, from cells as from rows, and it is no interval."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from rox.core.check import Verdict
from rox.core.errors import FitError
from rox.models.answer_paths import level_bins
from rox.models.answer_table import answer_table
from rox.models.growth_cells import PARTS, fit_segments, growth_cells, months_needed
from rox.models.growth_readings import growth_readings
from rox.testing import sample_linked
from tests.models.conftest import START, linked_from

GROWTH, LEVEL, HORIZON = 0.04, 0.05, 6
COLUMNS = ["percent", "percent_se", "money", "money_se"]


def answered_once(customers: int, *, seed: int = 1, thin: int = 0, rich: bool = False) -> pd.DataFrame:
    """Customer-months around one answer each: money is level · (1 + 0.05·(score − 7)), then grows by exp(0.04·score).

    Args:
        customers: Half in each of two segments.
        seed: Of everything.
        thin: How many of them are in a third segment instead.
        rich: Whether the score goes with the growth of the richer half of a segment only.
    """
    rng = np.random.default_rng(seed)
    who = np.arange(customers)
    score = rng.integers(4, 11, customers)
    money = np.where(who % 2, 2_000.0, 500.0) * (1 + LEVEL * (score - 7)) * np.exp(0.3 * rng.standard_normal(customers))
    anchor = START + 7 + who % 3
    pace = GROWTH * np.where(rich & (money < np.where(who % 2, 2_000.0, 500.0)), 0.0, 1.0)
    luck = np.exp(0.2 * rng.standard_normal(customers) - 0.02)
    segment = np.where(who < thin, "c", np.where(who % 2, "b", "a"))
    blocks = []
    for month in range(START, START + 16):
        after = month >= anchor + HORIZON
        amount = money * np.where(after, np.exp(pace * (score - 7)) * luck, 1.0)
        known = month >= anchor
        blocks.append(
            pd.DataFrame(
                {
                    "customer": who,
                    "month": month,
                    "segment": segment,
                    "weight": np.where(who % 2, 1.0, 3.0),
                    "outcome": amount.round(2),
                    "score": np.where(known, score, np.nan),
                    "score_age": np.where(known, month - anchor + 1, np.nan),
                }
            )
        )
    return pd.concat(blocks, ignore_index=True)


def test_what_was_put_in_is_found():
    found = growth_readings(linked_from(answered_once(3000)), horizon=HORIZON, rng=1)
    percent = found.table["percent"]
    for name, truth in (("growth", 100 * np.expm1(GROWTH)), ("growth_by_money", 100 * np.expm1(GROWTH))):
        assert percent[name] == pytest.approx(truth, abs=3 * found.table["percent_se"][name])
        assert found.table["percent_se"][name] < 0.4
    assert percent["level"] == pytest.approx(100 * LEVEL, abs=3 * found.table["percent_se"]["level"])
    base = 500 * 0.75 + 2000 * 0.25
    assert found.table["money"]["growth"] == pytest.approx(base * percent["growth"] / 100, rel=0.1)
    (weights,) = [check for check in found.checks() if check.code == "ROX-A38"]
    assert abs(weights.values["z"]) < 3
    assert (weights.verdict is Verdict.NOTE) == (abs(weights.values["z"]) > 2)


def test_the_wealthy_grow_otherwise():
    """Where the score goes with the growth of the rich alone, the two weights differ and the levels show where."""
    found = growth_readings(linked_from(answered_once(6000, rich=True)), horizon=HORIZON, controls=(), rng=1)
    levels = found.levels
    assert next(note for note in found.notes if note.code == "ROX-A38").verdict is Verdict.NOTE
    assert list(levels.index) == list(range(1, len(levels) + 1))
    low, high = levels.iloc[:2], levels.iloc[-2:]
    assert (np.abs(low["percent"]) < 3 * low["percent_se"]).all()
    assert (np.abs(high["percent"] - 100 * np.expm1(GROWTH)) < 3 * high["percent_se"]).all()
    assert high["percent_low"].min() > low["percent"].max()
    assert levels["answers"].sum() == 6000
    same = growth_readings(linked_from(answered_once(6000)), horizon=HORIZON, controls=(), rng=1)
    assert same.levels.empty


def test_it_is_a_bracket_and_says_so():
    found = growth_readings(linked_from(answered_once(1200)), horizon=HORIZON, rng=1)
    said = found.check()
    assert (said.code, said.verdict) == ("ROX-A01", Verdict.NOTE)
    assert "not a confidence interval" in said.sentence("en")
    assert said.values["lower"] == found.table["percent"]["growth"]
    assert said.values["upper"] == found.table["percent"]["level"]
    assert not found.corrected
    assert found.table["percent"]["growth_corrected"] != found.table["percent"]["growth_corrected"]
    assert "ROX-A36" in [check.code for check in found.checks()]
    assert all(check.sentence("zh") for check in found.checks())
    with pytest.raises(FrozenInstanceError):
        found.horizon = 3  # type: ignore[misc]


def bucket(customer: int) -> int:
    """The bucket of a customer, of whose cells the regression on log money takes the mean."""
    prime = 2**31 - 1
    return pow((customer * 48271 + 11) % prime, 5, prime) % 64


def by_rows(data, segment: str) -> tuple[float, float, float]:
    """Growth, growth by money and level of one segment, from rows by another package."""
    panel = data.frame()
    panel["relative"] = panel["outcome"] / panel.groupby("segment")["outcome"].transform("mean")
    money = panel.set_index(["customer", "month"])["outcome"]
    rows = panel[(panel["score_age"] == 1) & (panel["outcome"] > 0)].reset_index(drop=True)
    deviation = rows.groupby("segment")["products"]
    rows["z"] = (rows["products"] - deviation.transform("mean")) / deviation.transform(lambda x: x.std(ddof=0))
    rows["level"] = np.floor(np.log(rows["relative"] / 0.001) / np.log(1.25)).astype(int) + 1
    rows = rows[rows["segment"] == segment].reset_index(drop=True)
    rows["bin"] = level_bins(rows.assign(n=1), most=10, answers=100)
    before, then = (
        money.reindex(pd.MultiIndex.from_arrays([rows["customer"], rows["month"] + months])).to_numpy()
        for months in (-6, HORIZON)
    )
    grown = np.minimum(rows["outcome"] / before, 5)
    rows["grown"] = np.where(grown.isna(), -1, np.digitize(grown, [0.70, 0.85, 0.95, 1.05, 1.15, 1.30]))
    rows["control"] = np.digitize(rows["z"], [-0.84, -0.25, 0.25, 0.84])
    gone = (rows["exit_month"] <= rows["month"] + HORIZON).to_numpy()
    later = np.where(np.isnan(then) & gone, 0.0, then)
    rows["later"], rows["ratio"] = later, np.minimum(later / rows["outcome"], 5)
    assert (rows["ratio"] == 0).any()
    seen = rows[rows["ratio"].notna() & (rows["month"] + HORIZON <= panel["month"].max())]
    same_cell = [seen[name] for name in ("month", "score", "level", "grown", "control")]
    logs = np.log(seen["relative"]).groupby([*same_cell, seen["customer"].map(bucket)])
    seen = seen.assign(log=logs.transform("mean"))

    def design(part: pd.DataFrame, labels: list[str], numbers: list[str]) -> np.ndarray:
        indicators = [pd.get_dummies(part[name], dtype=float).to_numpy()[:, 1:] for name in labels]
        full = np.column_stack([part["score"], *(part[name] for name in numbers), np.ones(len(part)), *indicators])
        ranks = [np.linalg.matrix_rank(full[:, :i]) for i in range(full.shape[1] + 1)]
        kept = np.flatnonzero(np.diff(ranks) > 0)
        return full[:, kept]

    def poisson(outcome: str, labels: list[str], numbers: list[str]) -> float:
        x = design(seen, ["month", *labels], numbers)
        y = seen[outcome] / seen[outcome].mean()
        model = sm.GLM(y, x, family=sm.families.Poisson(), freq_weights=seen["weight"])
        return float(model.fit(start_params=np.zeros(x.shape[1]), tol=1e-14, maxiter=200).params.iloc[0])

    level = sm.WLS(rows["outcome"], design(rows, ["month", "control"], []), weights=rows["weight"]).fit().params.iloc[0]
    return (
        100 * np.expm1(poisson("ratio", ["bin", "grown", "control"], [])),
        100 * np.expm1(poisson("later", ["grown", "control"], ["log"])),
        100 * level / np.average(rows["outcome"], weights=rows["weight"]),
    )


@pytest.fixture(scope="module")
def small():
    return sample_linked(customers=500, months=24, seed=3)


@pytest.fixture(scope="module")
def found(small):
    return growth_readings(small, horizon=HORIZON, rng=1)


def test_cells_give_what_the_rows_give(small, found):
    assert list(found.segments.index) == ["gold", "mass"]
    for segment in found.segments.index:
        readings = found.segments.loc[segment, ["growth", "growth_by_money", "level"]].to_numpy(dtype=float)
        np.testing.assert_allclose(readings, by_rows(small, segment), rtol=0, atol=1e-8)


def test_replicates_are_what_the_other_buckets_give(small):
    answers = answer_table(small, age=1, controls=["products"], offsets=months_needed(small, HORIZON))
    cells = growth_cells(small, answers, HORIZON, 5.0, ["products"], ["products"])
    whole = fit_segments(cells, ["gold", "mass"], ["control_products"])
    number = sorted(cells["bucket"].unique())[7]
    rest = fit_segments(cells[cells["bucket"] != number], ["gold", "mass"], ["control_products"])
    by_money, level, spread = (slice(i, None, PARTS) for i in (1, 2, 4))
    for exact in (level, spread):
        np.testing.assert_allclose(whole.replicates[7, exact], rest.estimate[exact], rtol=1e-9)
    moved = rest.estimate[by_money] - whole.estimate[by_money]
    np.testing.assert_allclose(whole.replicates[7, by_money] - whole.estimate[by_money], moved, rtol=0.05)


def test_corrected_readings_are_divided_by_what_is_not_noise(found):
    table = found.table
    assert found.corrected
    assert 0.3 < table["reliability"]["level_corrected"] < 0.9
    assert table["percent"]["level_corrected"] == pytest.approx(
        table["percent"]["level"] / table["reliability"]["level_corrected"]
    )
    assert table["percent_se"]["level_corrected"] > table["percent_se"]["level"]
    assert found.reading("level") == table["percent"]["level_corrected"]
    assert "ROX-A37" in [check.code for check in found.checks()]


def test_noise_that_drowns_the_answer_is_not_divided_by(small):
    frame = small.frame()
    rng = np.random.default_rng(1)
    said = frame[frame["score"].notna()].assign(at=lambda rows: rows["month"] - rows["score_age"])
    keys = said.groupby(["customer", "at"]).ngroup()
    noise = rng.integers(0, 11, keys.max() + 1)[keys]
    frame.loc[said.index, "score"] = noise.astype(float)
    drowned = growth_readings(replace(small, panel=frame, fetch=lambda rows: rows), horizon=HORIZON, rng=1)
    assert not drowned.corrected
    assert "ROX-A40" in [check.code for check in drowned.checks()]
    assert drowned.reading("level") == drowned.table["percent"]["level"]


def test_neither_the_order_of_rows_nor_the_currency_matters(small, found):
    frame = small.frame()
    other = frame.assign(outcome=frame["outcome"] * 100).sample(frac=1, random_state=2)
    again = growth_readings(replace(small, panel=other, fetch=lambda rows: rows), horizon=HORIZON, rng=1)
    wanted = found.table[COLUMNS] * [1, 1, 100, 100]
    pd.testing.assert_frame_equal(again.table[COLUMNS], wanted, rtol=1e-6)


def test_thin_segments_are_left_out_and_named():
    found = growth_readings(linked_from(answered_once(1200, thin=90)), horizon=HORIZON, rng=1)
    (said,) = [check for check in found.checks() if check.code == "ROX-A39"]
    assert said.verdict is Verdict.NOTE
    assert said.values["segments"] == "c"
    assert list(found.segments.index) == ["a", "b"]


def test_what_cannot_be_read_is_refused(small):
    with pytest.raises(FitError, match="do not fit") as caught:
        growth_readings(small, horizon=0, cap=1.0)
    assert len(caught.value.faults) == 2
    with pytest.raises(FitError, match="No segment has 200"):
        growth_readings(linked_from(answered_once(300)), horizon=HORIZON)
