"""Paths of money around answers: what was put in is found, leavers are zero, and a past that differs is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Grade, Verdict
from rox.core.errors import FitError
from rox.core.estimand import Question
from rox.core.study import Scale
from rox.core.units import Unit
from rox.models.answer_paths import categories_of, level_bins
from rox.models.trajectories import Trajectories
from rox.testing import check_estimator, sample_linked
from tests.models.conftest import START, check, linked_from

ANSWER = {"detractor": 3, "passive": 8, "promoter": 10}
GROWTH = {"detractor": -0.01, "passive": 0.0, "promoter": 0.02}
"""Of the money at the answer, each month after it."""


def one_answer_each(customers: int = 600, *, drift: float = 0.0, leave_after: int = 6, twice: int = 0) -> pd.DataFrame:
    """Customer-months around one answer each; money is flat before it, but for a drift of promoters' money.

    Args:
        customers: A third of them in each category.
        drift: Promoters' money of k months before is lower by k times this share.
        leave_after: Months after which every tenth customer leaves.
        twice: Customers who give the same answer again a month later.
    """
    blocks = []
    for customer in range(customers):
        name = ("detractor", "passive", "promoter")[customer % 3]
        anchor = 8 + customer % 5
        steps = np.arange(anchor + leave_after if customer // 3 % 10 == 0 else 24)
        h = steps - anchor
        ratio = np.where(h > 0, 1 + GROWTH[name] * h, 1 + drift * np.minimum(h, 0) * (name == "promoter"))
        again = customer < twice
        said = np.where(again & (h >= 1), anchor, anchor - 1)
        blocks.append(
            pd.DataFrame(
                {
                    "customer": customer,
                    "month": START + steps,
                    "segment": "ab"[customer // 3 % 2],
                    "weight": 1.0 + customer // 3 % 2,
                    "outcome": (100.0 + customer // 3 % 50) * ratio,
                    "score": np.where(h >= 0, ANSWER[name], np.nan),
                    "score_age": np.where(h >= 0, steps - said, np.nan),
                    "exit_month": START + anchor + leave_after if customer // 3 % 10 == 0 else np.nan,
                }
            )
        )
    frame = pd.concat(blocks, ignore_index=True)
    return frame.assign(voluntary=frame["exit_month"].notna())


def row(table: pd.DataFrame, category: str, month: int) -> pd.Series:
    return table.set_index(["category", "month"]).loc[(category, month)]


def test_what_was_put_in_is_found_and_leavers_count_as_zero():
    effect = Trajectories(before=2, after=8, adjust=False, cap=10).fit(linked_from(one_answer_each()), rng=1)
    assert (effect.estimand.question, effect.estimand.unit, effect.estimand.horizon) == (
        Question.TRAJECTORY,
        Unit.RATIO,
        8,
    )
    assert effect.estimand.is_descriptive
    assert effect.grade is Grade.D
    assert effect.path_months == tuple(range(-2, 9))
    # every tenth leaves, all of them in the segment that weighs 1 against 2
    stay = 1 - (0.1 * 600 * 1.0) / (600 * 1.5)
    for name, growth in GROWTH.items():
        paths = effect.tables["trajectory"]
        assert row(paths, name, 5)["estimate"] == pytest.approx(1 + 5 * growth)
        assert row(paths, name, 8)["estimate"] == pytest.approx(stay * (1 + 8 * growth))
        assert row(effect.tables["survivors"], name, 8)["estimate"] == pytest.approx(1 + 8 * growth)
        assert row(paths, name, -2)["estimate"] == pytest.approx(1)
        assert row(paths, name, 8)["customers"] == 200
    assert effect.shares == pytest.approx([1 / 3] * 3)
    assert (effect.path[:, :, effect.path_months.index(0)] == 1).all()


def test_a_past_that_differs_lowers_the_grade_and_one_that_does_not_passes():
    steady = Trajectories(before=3, after=3).fit(linked_from(one_answer_each()), rng=1)
    rising = Trajectories(before=3, after=3).fit(linked_from(one_answer_each(drift=0.01)), rng=1)
    assert check(steady, "ROX-A04").verdict is Verdict.PASS
    found = check(rising, "ROX-A04")
    assert found.verdict is Verdict.DEMOTE
    assert found.values["early"] == pytest.approx(3.0)
    assert row(rising.tables["past"], "difference", -3)["estimate"] == pytest.approx(0.03)
    assert "3.0%" in found.sentence("en")
    assert "3.0%" in found.sentence("zh")


def test_without_months_before_the_past_is_said_to_be_untested():
    effect = Trajectories(before=0, after=3).fit(linked_from(one_answer_each()), rng=1)
    assert check(effect, "ROX-A31").verdict is Verdict.NOTE
    assert effect.tables["past"].empty


def by_rows(data, months: list[int], cap: float) -> pd.DataFrame:
    """The adjusted paths from rows, without cells."""
    panel = data.frame()
    panel["relative"] = panel["outcome"] / panel.groupby("segment")["outcome"].transform("mean")
    rows = panel[(panel["score_age"] == 1) & (panel["outcome"] > 0)].reset_index(drop=True)
    rows["level"] = np.floor(np.log(rows["relative"] / 0.001) / np.log(1.25)).astype(int) + 1
    rows["bin"] = level_bins(rows.assign(n=1), most=5, answers=300)
    rows["band"] = np.digitize(rows["month"] - rows["opened"], [0, 24, 60])
    rows["category"] = categories_of(data).of(rows["score"])
    money = panel.set_index(["customer", "month"])["outcome"]
    found = {}
    for month in months:
        then = money.reindex(pd.MultiIndex.from_arrays([rows["customer"], rows["month"] + month])).to_numpy()
        gone = (rows["exit_month"] <= rows["month"] + month).to_numpy() & (month > 0)
        ratio = np.minimum(np.where(np.isnan(then) & gone, 0.0, then) / rows["outcome"], cap)
        seen = ratio.notna() & (rows["month"] + month <= panel["month"].max())
        part = rows[seen].assign(top=rows["weight"] * ratio)
        sums = part.groupby(["segment", "bin", "band", "category"])[["top", "weight"]].sum()
        mean = (sums["top"] / sums["weight"]).unstack().dropna()
        share = rows.groupby(["segment", "bin", "band"])["weight"].sum().loc[mean.index]
        found[month] = mean.mul(share, axis=0).sum() / share.sum()
    return pd.DataFrame(found)


def test_cells_give_what_the_rows_give(sample):
    effect = Trajectories(before=2, after=4, cap=1.2).fit(sample, rng=1)
    months = [-2, 1, 4]
    wanted = by_rows(sample, months, cap=1.2)
    found = effect.tables["trajectory"].pivot(index="category", columns="month", values="estimate")
    pd.testing.assert_frame_equal(found[months], wanted, check_names=False, rtol=0, atol=1e-8)
    assert effect.tables["two_answers"]["estimate"].notna().all()


def test_counts_are_those_of_the_rows(sample):
    effect = Trajectories(before=2, after=4).fit(sample, rng=1)
    panel, scale = sample.frame(), categories_of(sample)
    rows = panel[panel["score_age"] == 1]
    rows = rows.assign(previous=rows.groupby("customer")["score"].shift(1)).query("outcome > 0")
    one, two = scale.of(rows["score"]), scale.of((rows["score"] + rows["previous"]) / 2)
    twice = rows["previous"].notna()
    same = (one == scale.of(rows["previous"])) * rows["weight"]
    earlier = scale.of(rows["previous"])[twice]
    moved = 100 * (1 - same[twice].groupby(earlier).sum() / rows["weight"][twice].groupby(earlier).sum())
    said = check(effect, "ROX-A30").values
    assert [said["low"], said["middle"], said["high"]] == pytest.approx(moved[list(scale.groups)].to_list())
    here = panel.set_index(["customer", "month"]).index
    there = pd.MultiIndex.from_arrays([rows["customer"], rows["month"] + 4]).isin(here)
    known = (there | (rows["exit_month"] <= rows["month"] + 4)) & (rows["month"] + 4 <= panel["month"].max())
    for table, category in (("trajectory", one), ("two_answers", two[twice])):
        people = rows["customer"][known].groupby(category[known.reindex(category.index)]).nunique()
        for name in scale.groups:
            assert row(effect.tables[table], name, 4)["customers"] == people[name]
    assert effect.counts["customers"] == rows["customer"].nunique()


def test_categories_are_described_by_the_answer_in_use(sample):
    effect = Trajectories(before=0, after=1).fit(sample, rng=1)
    panel = sample.frame()
    scored = panel[panel["score"].notna()]
    scored = scored.assign(
        category=categories_of(sample).of(scored["score"]), money=scored["outcome"] * scored["weight"]
    )
    now = scored[scored["month"] == panel["month"].max()].groupby("category")[["weight", "money"]].sum()
    last = scored.drop_duplicates("customer", keep="last")
    gone = last[last["voluntary"] & (last["exit_month"] <= panel["month"].max())].groupby("category")["weight"].sum()
    for name, found in effect.baseline.iterrows():
        assert found["customers"] == pytest.approx(now["weight"][name])
        assert found["money"] == pytest.approx(now["money"][name] / now["weight"][name])
        assert found["exit_hazard"] == pytest.approx(
            gone[name] / scored["weight"][scored["category"] == name].sum(), rel=1e-9
        )


def test_neither_the_order_of_rows_nor_the_currency_matters(sample):
    question, frame = Trajectories(before=1, after=2), sample.frame()
    first = question.fit(sample, rng=1)
    other = frame.assign(outcome=frame["outcome"] * 100).sample(frac=1, random_state=2)
    again = question.fit(replace(sample, panel=other, fetch=lambda rows: rows), rng=1)
    np.testing.assert_allclose(again.path, first.path, rtol=0, atol=1e-9)


def test_months_with_too_few_customers_are_dropped_and_named():
    frame = one_answer_each()
    late = frame[frame["month"] <= START + 12]
    effect = Trajectories(before=1, after=6).fit(linked_from(late), rng=1)
    assert max(effect.path_months) == 4
    assert check(effect, "ROX-A32").values["months"] == "5 … 6"


def test_small_groups_are_blank():
    effect = Trajectories(before=0, after=2, adjust=False).fit(linked_from(one_answer_each(twice=12)), rng=1)
    blank = effect.tables["two_answers"]
    assert blank["suppressed"].all()
    assert blank[["estimate", "low", "high", "customers"]].isna().all().all()
    assert not effect.tables["trajectory"]["suppressed"].any()


def test_other_scales_are_cut_in_thirds(sample):
    rating = Scale(column="r", low=1, high=5, kind="csat", label="r")
    effort = Scale(column="r", low=1, high=7, kind="ces", label="r", higher_is_better=False)
    studies = [sample.study.model_copy(update={"scores": {"nps": each}}) for each in (rating, effort)]
    one, other = (categories_of(replace(sample, study=study)) for study in studies)
    assert list(one.of(pd.Series([1, 2, 3, 4, 5]))) == ["low", "low", "middle", "high", "high"]
    assert list(other.of(pd.Series([1, 2, 3, 5, 6, 7]))) == ["high", "high", "middle", "middle", "low", "low"]
    worse = Scale(column="r", low=4, high=10, kind="rating", label="r", higher_is_better=False)
    study = sample.study.model_copy(update={"scores": {"nps": worse}})
    effect = Trajectories(before=0, after=1, adjust=False).fit(replace(sample, study=study), rng=1)
    assert effect.groups == ("low", "middle", "high")
    rows = sample.frame().query("score_age == 1")
    assert effect.shares[0] == pytest.approx(rows["weight"][rows["score"] > 8].sum() / rows["weight"].sum())


def test_what_cannot_be_followed_is_refused(sample):
    with pytest.raises(FitError, match="do not fit") as caught:
        Trajectories(before=-1, after=0, cap=1, draws=1).fit(sample, rng=1)
    assert len(caught.value.faults) == 4
    undeclared = replace(sample, study=sample.study.model_copy(update={"scores": {}}))
    with pytest.raises(FitError, match="not declared"):
        Trajectories().fit(undeclared, rng=1)
    with pytest.raises(FitError, match="No month after"):
        Trajectories().fit(linked_from(one_answer_each(60)), rng=1)


@pytest.mark.slow
def test_it_keeps_the_contract():
    small = sample_linked(customers=500, months=20)
    assert check_estimator(Trajectories(before=1, after=2, draws=800), small).name == "trajectories"
