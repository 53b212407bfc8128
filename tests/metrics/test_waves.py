"""Changes between waves, with the people who answer in both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox import metrics
from rox.core.errors import DataError
from rox.numerics.survey import wave_difference, weighted_nps


def wave(people, scores, date):
    return pd.DataFrame({"customer": people, "date": date, "nps": scores})


@pytest.fixture
def panel():
    """Two waves of three hundred customers, half of them in both, whose scores persist."""
    rng = np.random.default_rng(5)
    people = pd.DataFrame(
        {
            "customer": [f"p{i:03d}" for i in range(450)],
            "segment": rng.choice(["mass", "gold"], 450),
            "weight": rng.uniform(1, 4, 450),
        }
    )
    feeling = rng.normal(7, 2, 450) + 2 * (people["segment"] == "gold")

    def answers(who, date, shift):
        return wave(
            people["customer"][who], np.clip(np.round(feeling[who] + shift + rng.normal(0, 1, 300)), 0, 10), date
        )

    first, second = answers(slice(0, 300), "2025-01-20", 0), answers(slice(150, 450), "2025-04-20", 0.5)
    return people, first, second


def test_a_panel_that_moves_as_one_has_the_error_of_its_size(few, row):
    people = [f"c{i}" for i in range(60)]
    answers = pd.concat(
        [wave(people, [9] * 30 + [7] * 30, "2025-01-20"), wave(people, [7] * 30 + [6] * 30, "2025-04-20")]
    )
    found = row(metrics.change(few(answers=answers), "nps", "2025Q1", "2025Q2"))
    assert (found["value_first"], found["value_second"], found["value"]) == pytest.approx((50, -50, -100))
    # Half a pseudo-customer stays, moves one step more and one step less: 1 / 61.5 of squares, 62.5 of weight.
    assert found["se"] == pytest.approx(100 * np.sqrt(1 / 61.5 / 62.5))
    assert found["se_unpaired"] == pytest.approx(100 * np.sqrt(2 * 0.25 / 59), rel=0.005)
    assert (found["n"], found["n_both"]) == (120, 60)


def test_separate_samples_match_the_published_difference(few, row, parity):
    folder, published = parity("q01_nps_core")
    counts = pd.read_csv(folder / "counts.csv")
    groups = [np.repeat(counts["score"].to_numpy(), counts[name].to_numpy()) for name in ("A", "B")]
    answers = pd.concat(
        [
            wave([f"{date}{i}" for i in range(len(scores))], scores, date)
            for scores, date in zip(groups, ("2025-04-20", "2025-01-20"), strict=True)
        ]
    )
    found = row(metrics.change(few(answers=answers), "nps", "2025-01", "2025-04"))
    assert found["value"] == pytest.approx(published["diff"]["value"], rel=1e-10)
    assert found["se"] == pytest.approx(published["diff.se"]["value"], rel=0.01)
    assert found["se"] == pytest.approx(found["se_unpaired"])
    assert found["n_both"] == 0


def test_without_strata_the_change_is_that_of_rows(few, panel, row):
    people, first, second = panel
    found = row(
        metrics.change(
            few(answers=pd.concat([first, second]), customers=people.drop(columns="segment")), "nps", "2025Q1", "2025Q2"
        )
    )
    weights = people.set_index("customer")["weight"]
    earlier, later = (
        weighted_nps(each["nps"], weights[each["customer"]], psu=each["customer"]) for each in (first, second)
    )
    rows = wave_difference(later, earlier, later_ids=second["customer"], earlier_ids=first["customer"])
    assert (found["value"], found["se_unpaired"]) == pytest.approx((rows.value, rows.se_independent), rel=1e-6)
    assert found["se"] == pytest.approx(rows.se, rel=0.005)
    assert found["n_both"] == rows.n_both == 150
    assert found["se"] < found["se_unpaired"]


def test_strata_are_taken_out_of_both_waves_and_of_their_covariance(few, panel, row):
    """With everybody in both waves the error is that of each customer's own difference within strata."""
    people, first, _ = panel
    rng = np.random.default_rng(6)
    second = first.assign(date="2025-04-20", nps=np.clip(first["nps"] + rng.integers(-1, 2, len(first)), 0, 10))
    tables = few(answers=pd.concat([first, second]), customers=people)
    found = row(metrics.change(tables, "nps", "2025Q1", "2025Q2"))
    rows = first.merge(people, on="customer").assign(later=second["nps"].to_numpy())
    category = [np.where(s >= 9, 1, np.where(s <= 6, -1, 0)) for s in (rows["nps"], rows["later"])]
    w = rows["weight"] / rows["weight"].sum()
    u = w * (category[1] - w @ category[1]) - w * (category[0] - w @ category[0])
    strata = [u[rows["segment"] == name] for name in ("mass", "gold")]
    variance = sum(m.size / (m.size - 1) * ((m - m.mean()) ** 2).sum() for m in strata)
    assert found["se"] == pytest.approx(100 * np.sqrt(variance), rel=1e-6)


def test_changes_by_segment(few, panel):
    people, first, second = panel
    tables = few(answers=pd.concat([first, second]), customers=people)
    found = metrics.change(tables, "nps", "2025Q1", "2025Q2", by=("segment",))
    assert list(found["segment"]) == ["gold", "mass"]
    assert found["n"].sum() == 600
    levels = metrics.nps(tables, by=("segment", "quarter")).pivot(index="segment", columns="quarter", values="value")
    assert list(found["value"]) == pytest.approx(list(levels["2025Q2"] - levels["2025Q1"]))
    assert list(found["value_first"]) == pytest.approx(list(levels["2025Q1"]))


def test_small_waves_are_hidden_with_everything_that_tells_of_them(few, study):
    answers = pd.concat(
        [
            wave([f"c{i}" for i in range(60)], [9] * 60, "2025-01-20"),
            wave([f"c{i}" for i in range(9)], [9] * 9, "2025-04-20"),
        ]
    )
    found = metrics.change(few(study(min_cell=10), answers=answers), "nps", "2025Q1", "2025Q2")
    numbers = ["value", "se", "low", "high", "n", "n_eff", "value_first", "value_second", "se_unpaired", "n_both"]
    assert found[numbers].isna().all(axis=None)
    assert found["suppressed"].all()


@pytest.mark.parametrize(
    "first, second, by, needed",
    [
        ("2025Q2", "2025Q1", (), "does not come after"),
        ("2025Q1", "2025-04", (), "is a quarter and '2025-04' a month"),
        ("2025Q1", "2025Q2", ("month",), "cannot be grouped by month"),
        ("2025Q1", "Q2", (), "write a year 2025, a quarter 2025Q3 or a month 2025-07"),
        ("2025Q1", "2025Q3", (), "no answers to 'nps' in 2025Q3(.|\n)*run from 2025Q1 to 2025Q2"),
    ],
)
def test_periods_that_cannot_be_compared_are_refused(few, panel, first, second, by, needed):
    people, one, two = panel
    tables = few(answers=pd.concat([one, two]), customers=people)
    with pytest.raises(DataError, match=needed):
        metrics.change(tables, "nps", first, second, by=by)
