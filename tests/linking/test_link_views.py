"""Times at risk and places by month: equal to what the models compute from the panel, from tables and from frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.linked import Linked, month_index
from rox.core.score_parts import ScoreParts
from rox.core.study import Attrition, read_study
from rox.linking.link import link
from rox.linking.load import load
from rox.models.answers import read_panel
from rox.models.episodes import at_risk, joined
from rox.models.rollout import rollout
from rox.testing import linked_from_frame, sample_linked
from tests.linking.crowd import STUDY

JAN = month_index(2023, 1)
CONTROLS = ("products",)


def day(months: pd.Series, of_month: int) -> pd.Series:
    whole = months.dropna().astype(int)
    return whole.map(lambda m: f"{m // 12:04d}-{m % 12 + 1:02d}-{of_month:02d}").reindex(months.index)


def as_tables(data: Linked, folder: Path) -> Linked:
    """Write a panel that came as a frame as a bank's tables, load them, and link them."""
    frame = data.frame()
    people = frame.drop_duplicates("customer").copy()
    ids = lambda customers: customers.map("{:05d}".format)  # noqa: E731
    answers = frame[frame["score_age"] == 1]
    customers = pd.DataFrame(
        {
            "cust": ids(people["customer"]),
            "seg": people["segment"],
            "branch": people["unit"],
            "open": day(people["opened"], 1),
            "w": people["weight"],
            "products": people["products"],
        }
    )
    exits = people[people["exit_month"].notna()]
    frames = {
        "customers": customers,
        "answers": pd.DataFrame(
            {
                "answer": [f"A{n:05d}" for n in range(len(answers))],
                "cust": ids(answers["customer"]),
                "day": day(answers["month"] - 1, 15),
                "q1": answers["score"].astype(int),
            }
        ),
        "ledger": pd.DataFrame(
            {"cust": ids(frame["customer"]), "month": day(frame["month"], 1), "balance": frame["outcome"], "income": 1}
        ),
        "exits": pd.DataFrame(
            {
                "cust": ids(exits["customer"]),
                "left": day(exits["exit_month"], 28),
                "why": np.where(exits["voluntary"], "fees", "moved"),
            }
        ),
        "initiatives": data.starts.assign(start=day(data.starts["start"], 1)),
    }
    folder.mkdir(exist_ok=True)
    for name, table in frames.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    more = """
[tables.initiatives]
path = "initiatives.csv"
columns = { initiative = "initiative", unit = "unit", start = "start" }

[initiatives.refit]
label = "Refit"
assigned = "random"
"""
    text = STUDY.format(since="", available="", more=more).replace('"age"', '"products"')
    text = text.replace('opened = "open"', 'opened = "open", weight = "w"').replace("2024-06-30", "2025-12-31")
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return link(load(read_study(folder / "study.toml")))


@pytest.fixture(scope="module")
def from_frame() -> Linked:
    return sample_linked(customers=700, months=24)


@pytest.fixture(scope="module")
def from_tables(from_frame: Linked, tmp_path_factory: pytest.TempPathFactory) -> Linked:
    return as_tables(from_frame, tmp_path_factory.mktemp("bank") / "bank")


@pytest.fixture(scope="module", params=["frame", "tables"])
def data(request: pytest.FixtureRequest, from_frame: Linked, from_tables: Linked) -> Linked:
    return from_frame if request.param == "frame" else from_tables


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["customer", "start"], ignore_index=True)


@pytest.mark.parametrize("clock", ["tenure", "calendar"])
def test_times_at_risk_are_those_of_the_models(data: Linked, clock: str) -> None:
    found = in_order(data.fetch(data.episodes(clock=clock)))  # type: ignore[arg-type]
    expected = at_risk(read_panel(data), clock).sort_values(["customer", "start"], ignore_index=True)  # type: ignore[arg-type]
    assert expected["event"].sum() > 20
    names = ["customer", "start", "stop", "month", "score", "score_age", "segment", "unit", "weight", *CONTROLS]
    pd.testing.assert_frame_equal(found[names], expected[names], check_dtype=False)
    assert list(found["event"]) == list(expected["event"].astype(int))
    cause = np.where(expected["event"], "exit", np.where(expected["gone"], "other", "none"))
    assert list(found["cause"]) == list(cause)
    assert {"exit", "other", "none"} == set(cause)


def test_joined_months_hold_the_same_time_and_events(data: Linked) -> None:
    months = in_order(data.fetch(data.episodes()))
    found = in_order(data.fetch(data.episodes(per="answer")))
    answered = (months["month"] - months["score_age"]).astype(int)
    expected = joined(
        months.assign(answered=answered, gone=months["cause"] != "none"), ["answered", "score", "segment"]
    )
    assert len(found) < len(months) / 3
    names = ["customer", "start", "stop", "month", "event", "score", "score_age", "segment"]
    pd.testing.assert_frame_equal(found[names], expected[names], check_dtype=False)
    assert list(found["cause"] != "none") == list(expected["gone"])
    assert (found["stop"] - found["start"]).sum() == len(months)


def test_a_tenure_clock_needs_openings() -> None:
    frame = sample_linked(customers=60, months=12).frame()
    known = linked_from_frame(frame, controls=CONTROLS)
    unknown = linked_from_frame(frame.assign(opened=frame["opened"].where(frame["customer"] % 5 > 0)))
    with pytest.raises(DataError, match="months have no opening"):
        unknown.episodes()
    assert len(unknown.episodes(clock="calendar")) == len(known.episodes(clock="calendar")) > 0
    with pytest.raises(DataError, match="lie before the customer's opening"):
        linked_from_frame(frame.assign(opened=frame["opened"] + 200)).episodes()
    with pytest.raises(DataError) as caught:
        known.episodes(clock="moon", per="year")  # type: ignore[arg-type]
    assert len(caught.value.faults) == 2


def drained_by_search(frame: pd.DataFrame, share: float, months: int) -> dict[int, int]:
    """Walk through each customer's months: below a share of the median of the twelve months before, several running."""
    found = {}
    for customer, rows in frame.groupby("customer"):
        held = dict(zip(rows["month"], rows["outcome"], strict=True))
        run = 0
        for month in range(min(held), max(held) + 1):
            past = [held[m] for m in range(month - 12, month) if m in held]
            usual = float(np.median(past)) if len(past) >= 6 else 0.0
            run = run + 1 if month in held and usual > 0 and held[month] < share * usual else 0
            if run == months:
                found[int(customer)] = month - months + 1
                break
    return found


def test_money_that_goes_without_a_word_is_an_exit(from_frame: Linked, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frame = from_frame.frame()
    drains = rng.permutation(700)[:150]
    begins = pd.Series(JAN + rng.integers(8, 22, 150), index=drains)
    length = pd.Series(rng.choice([1, 2, 3, 30], 150), index=drains)
    begin = frame["customer"].map(begins)
    inside = (frame["month"] >= begin) & (frame["month"] < begin + frame["customer"].map(length))
    frame["outcome"] = frame["outcome"].where(~inside, (frame["outcome"] * 0.05).round(2))
    frame = frame[rng.random(len(frame)) < 0.97]
    data = linked_from_frame(frame, controls=CONTROLS, starts=from_frame.starts)
    declared = data.study.model_copy(update={"attrition": Attrition(share=0.2, months=3)})
    data = replace(data, study=declared)
    gone = drained_by_search(frame, 0.2, 3)
    assert len(gone) > 15
    both = [data, as_tables(data, tmp_path / "bank")]
    both[1] = replace(both[1], study=both[1].study.model_copy(update={"attrition": declared.attrition}))
    for each in both:
        other = each.study.model_copy(update={"attrition": Attrition(outcome="income")})
        with pytest.raises(DataError, match="its money is not at hand"):
            replace(each, study=other).episodes()
    for each in both:
        found = each.fetch(each.episodes(clock="calendar"))
        plain = at_risk(read_panel(each), "calendar")
        last = plain["customer"].map(gone).fillna(10**9)
        expected = plain[plain["month"] <= last]
        silent = expected["month"] == last.reindex(expected.index)
        cause = np.where(
            expected["event"], "exit", np.where(expected["gone"], "other", np.where(silent, "silent", "none"))
        )
        assert (cause == "silent").sum() > 10
        assert list(in_order(found)["cause"]) == list(cause)
        assert list(in_order(found)["event"]) == [int(each in ("exit", "silent")) for each in cause]


def test_places_by_month_are_those_of_the_models(data: Linked) -> None:
    cohort = rollout(data, initiative=None, base=3, history=8, cap=2.0)
    found = data.fetch(data.units(base=3, history=8, cap=2.0))
    units, segments, months = cohort.units, cohort.groups, cohort.months.astype(int)
    assert len(found) == len(units) * len(segments) * len(months) - (cohort.sizes == 0).sum() * len(months)
    table = found.set_index(["unit", "segment", "month"]).sort_index()
    ratio, staying = cohort.means(cohort.ratio), cohort.means(cohort.staying)
    squares = cohort.means(cohort.ratio**2)
    seen = 0
    for u, unit in enumerate(units):
        for s, segment in enumerate(segments):
            size = cohort.sizes[u, s]
            if not size:
                continue
            rows = table.loc[(unit, segment)]
            assert list(rows.index) == list(months)
            assert (rows["customers"] == size).all()
            start = cohort.starts[u]
            assert (rows["start"].isna() if np.isinf(start) else rows["start"] == start).all()
            np.testing.assert_array_equal(rows["staying"], np.rint(staying[u, :, s] * size))
            np.testing.assert_allclose(rows["ratio"], ratio[u, :, s] * size, atol=1e-6 * size)
            np.testing.assert_allclose(rows["ratio_squares"], squares[u, :, s] * size, atol=5e-6 * size)
            seen += 1
    assert seen > 20
    answers = cohort.scores[cohort.scores["month"] >= months[0]].groupby(["unit", "month"])["score"]
    by_unit = found.groupby(["unit", "month"])[["answers", "score", "score_squares"]].sum()
    by_unit = by_unit[by_unit["answers"] > 0]
    assert list(by_unit["answers"]) == list(answers.size())
    np.testing.assert_allclose(by_unit["score"], answers.sum())
    np.testing.assert_allclose(by_unit["score_squares"], answers.apply(lambda s: (s**2).sum()))


def test_a_cohort_that_cannot_be_frozen_says_why(from_frame: Linked) -> None:
    with pytest.raises(DataError) as caught:
        from_frame.units(initiative="other", base=0, cap=-1)
    assert len(caught.value.faults) == 3
    with pytest.raises(DataError, match="No start can be compared"):
        replace(from_frame, starts=from_frame.starts.assign(start=JAN + 1)).units()
    with pytest.raises(DataError, match="no table of initiatives"):
        replace(from_frame, starts=from_frame.starts.head(0)).units()


def test_tables_and_frames_give_the_same(from_frame: Linked, from_tables: Linked) -> None:
    for table in ("windows", "episodes", "units"):
        one, other = (each.fetch(getattr(each, table)()) for each in (from_frame, from_tables))
        keys = [name for name in ("customer", "answered", "start", "unit", "segment", "month") if name in one]
        one, other = (each.sort_values(keys, ignore_index=True) for each in (one, other))
        pd.testing.assert_frame_equal(one, other[list(one.columns)], check_dtype=False, rtol=1e-9, atol=1e-6)


def test_a_frame_in_the_place_of_a_linked_panel_gives_the_same(from_tables: Linked) -> None:
    held = replace(from_tables, panel=from_tables.frame(), fetch=lambda rows: rows.copy())
    for table in ("windows", "episodes", "units"):
        one, other = (each.fetch(getattr(each, table)()) for each in (held, from_tables))
        keys = [name for name in ("customer", "answered", "start", "unit", "segment", "month") if name in one]
        one, other = (each.sort_values(keys, ignore_index=True) for each in (one, other))
        assert len(one) > 100
        pd.testing.assert_frame_equal(one, other[list(one.columns)], check_dtype=False, rtol=1e-9, atol=1e-6)
    parts = ScoreParts(lasting=0.8, passing=1.2, memory=0.9, noise=1.5)
    read, expected = held.calibrated(parts), from_tables.calibrated(parts)
    assert isinstance(read.panel, pd.DataFrame)
    names = ["customer", "month", "reading", "trait", "passing"]
    pd.testing.assert_frame_equal(read.frame()[names], expected.frame()[names], check_dtype=False, rtol=1e-6)


def test_views_see_what_was_done_to_the_frame(from_tables: Linked) -> None:
    frame = from_tables.frame()
    few = replace(from_tables, panel=frame[frame["customer"] % 3 == 0], fetch=lambda rows: rows.copy())
    whole, part = (each.fetch(each.episodes()) for each in (from_tables, few))
    assert set(part["customer"]) == {each for each in whole["customer"] if each % 3 == 0}
    assert 0 < len(part) < len(whole)
