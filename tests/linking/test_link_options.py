"""Availability, lag, washout, cohort and dated customers: by hand, and against a row-wise search of the raw tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.linked import month_index
from rox.core.words import say
from rox.linking.link import link
from rox.linking.load import load
from rox.linking.tables import Tables
from tests.linking.crowd import Crowd, make_crowd, number

Open = Callable[..., Tables]
NAN = float("nan")
JAN = month_index(2024, 1)


def pairs(frame: pd.DataFrame, customer: int) -> list[tuple[int, float, float]]:
    mine = frame[frame["customer"] == customer]
    return [
        (int(month) - JAN, float(score), float(age))
        for month, score, age in mine[["month", "score", "score_age"]].to_numpy()
        if not np.isnan(score)
    ]


AVAILABLE = (
    ("study.toml", 'date = "day" }', 'date = "day", available = "in" }'),
    ("answers.csv", "q1,q2", "q1,q2,in"),
    *(
        ("answers.csv", f"{day},{rest}\n", f"{day},{rest},{known}\n")
        for day, rest, known in [
            ("2024-01-31", "9,5", "2024-03-15"),
            ("2024-04-02", "4,2", "2024-04-03"),
            ("2024-02-05", "3,3", "2024-03-01"),
            ("2024-02-20", "7,4", "2024-02-21"),
            ("2023-06-30", "10,5", "2024-05-31"),
            ("2024-02-01", ",5", "2024-02-01"),
            ("2024-06-10", "2,1", "2024-06-10"),
            ("2024-06-10", "6,3", "2024-06-10"),
            ("2024-04-10", "8,4", "2024-04-01"),
        ]
    ),
)


def test_an_answer_counts_from_the_month_after_it_was_known(open_tables: Open) -> None:
    frame = link(open_tables(*AVAILABLE)).frame()
    assert pairs(frame, 0) == [(3, 9, 3), (4, 4, 1), (5, 4, 2)]
    assert pairs(frame, 1) == [(2, 7, 1), (3, 7, 2)], "an older answer that arrives late replaces nothing"
    assert pairs(frame, 3) == [(5, 10, 12)]


def test_the_trail_tells_of_late_answers(open_tables: Open) -> None:
    trail = {step.name: step for step in link(open_tables(*AVAILABLE)).trail}
    assert [step for step in trail if step.startswith("answers")] == [
        "answers", "answers_given", "answers_one_a_day", "answers_before_money", "answers_available",
        "answers_in_time", "answers_used",
    ]  # fmt: skip
    assert (trail["answers_one_a_day"].rows, trail["answers_before_money"].rows) == (7, 5)
    assert (trail["answers_available"].rows, trail["answers_used"].rows) == (5, 4)


def test_the_least_lag(five: Tables) -> None:
    linked = link(five, lag=3)
    assert pairs(linked.frame(), 0) == [(3, 9, 3), (4, 9, 4), (5, 9, 5)]
    assert pairs(linked.frame(), 1) == []
    assert linked.lag == 3
    names = [step.name for step in linked.trail]
    assert names[names.index("answers_before_money") + 1] == "answers_lagged"
    assert len({link(five).fingerprint, linked.fingerprint, link(five, lag=2).fingerprint}) == 3


def test_a_washout_keeps_the_answer_in_use(five: Tables) -> None:
    linked = link(five, washout=3)
    assert pairs(linked.frame(), 0) == [(1, 9, 1), (2, 9, 2), (3, 9, 3), (4, 9, 4), (5, 9, 5)]
    assert pairs(linked.frame(), 1) == [(2, 3, 1), (3, 3, 2)]
    assert pairs(link(five, washout=2).frame(), 0)[-1] == (5, 4, 2)
    steps = {step.name: step for step in linked.trail}
    assert (steps["answers_new"].rows, steps["answers_new"].lost) == (4, 3)


COHORT = ("study.toml", 'opened = "since", ', 'opened = "since", ')


def test_a_cohort_is_frozen_on_the_first_day_of_its_month(open_tables: Open) -> None:
    later = ("customers.csv", "0003,mass,B2,2023-01-10", "0003,mass,B2,2024-03-02")
    no_money = [("ledger.csv", f"0003,2024-0{month}-01,30{month}.5{month},{month}\n", "") for month in (1, 2)]
    tables = open_tables(later, *no_money, ("customers.csv", "0005,gold,B2,2023-12-31", "0005,gold,B2,"))
    linked = link(tables, cohort="2024-03")
    frame = linked.frame()
    assert set(frame["customer"]) == {0, 1, 3, 4}
    assert frame["month"].min() == JAN + 2
    assert pairs(frame, 0) == [(2, 9, 2), (3, 9, 3), (4, 4, 1), (5, 4, 2)]
    assert linked.cohort == "2024-03"
    steps = [(step.name, step.rows, step.lost) for step in linked.trail[:4]]
    assert steps == [("ledger", 26, 0), ("ledger_cohort", 22, 4), ("ledger_from_then", 14, 8), ("scored", 10, 4)]
    assert "answers_cohort" in {step.name for step in linked.trail}
    assert set(link(tables, cohort="2024-05").frame()["customer"]) == {0, 2, 3, 4}, "who left in April is not there"
    assert set(link(tables, cohort="2024-04").frame()["customer"]) == {0, 1, 2, 3, 4}


DATED = (
    ("study.toml", 'weight = "w" }', 'weight = "w", since = "from" }'),
    ("customers.csv", "age,name", "age,name,from"),
    ("customers.csv", "Secretname\n0002", "Secretname,2022-01-01\n0001,silver,B2,2023-01-10,2.0,41,x,2024-02-15\n0002"),
    ("customers.csv", "1.5,50,Secretname", "1.5,50,Secretname,2024-02-10"),
    ("customers.csv", "1.0,60,Secretname", "1.0,60,Secretname,2023-01-10"),
    ("customers.csv", "1.0,35,Secretname", "1.0,35,Secretname,2023-01-10\n0004,gold,B1,2023-01-10,9,36,x,2024-03-01"),
    ("customers.csv", "3.0,45,Secretname", "3.0,45,Secretname,2023-12-31"),
)


def test_customers_are_described_by_what_was_known_then(open_tables: Open) -> None:
    tables = open_tables(*DATED)
    assert tables.counts["customers"] == 5
    frame = link(tables).frame()
    said = frame.drop_duplicates("customer").set_index("customer")
    assert list(said["segment"]) == ["gold", "mass", "mass", "mass", "gold"]
    assert pairs(frame, 0) == [(1, 9, 1), (2, 9, 2), (3, 9, 3), (4, 4, 1), (5, 4, 2)]
    assert list(frame.loc[frame["customer"] == 1, "month"]) == [JAN + 1, JAN + 2, JAN + 3]
    assert pairs(frame, 1) == [(2, 7, 1), (3, 7, 2)], "the answer of 5 February is older than what is known"
    steps = {step.name: step for step in link(tables).trail}
    assert (steps["ledger_known"].rows, steps["ledger_known"].lost) == (27, 1)
    assert steps["answers_of_known"].lost == 1

    later = link(tables, cohort="2024-03").frame()
    said = later.drop_duplicates("customer").set_index("customer")
    assert list(said["segment"]) == ["silver", "mass", "mass", "gold", "gold"]
    assert list(said["weight"]) == [2, 1.5, 1, 9, 3]
    assert list(said["age"]) == [41, 50, 60, 36, 45]
    assert pairs(later, 0) == [(4, 4, 1), (5, 4, 2)], "the answer of January is older than the segment of February"
    assert pairs(later, 3) == []


def test_dated_customers_count_in_the_fingerprint(open_tables: Open) -> None:
    one, two = open_tables(*DATED), open_tables(*DATED, ("customers.csv", "41,x,2024-02-15", "41,x,2024-02-16"))
    assert one.digest("customers") != two.digest("customers")
    assert link(one).fingerprint != link(two).fingerprint


def test_two_rows_of_a_customer_from_one_day_are_a_fault(open_tables: Open) -> None:
    with pytest.raises(DataError, match="a second row of the customer since the same day"):
        open_tables(*DATED, ("customers.csv", "41,x,2024-02-15", "41,x,2022-01-01"))
    with pytest.raises(DataError, match="customers · from · missing · 1 row"):
        open_tables(*DATED, ("customers.csv", "41,x,2024-02-15", "41,x,"))
    with pytest.raises(DataError, match="answers · in · missing · 1 row"):
        open_tables(*AVAILABLE, ("answers.csv", "9,5,2024-03-15", "9,5,"))


def test_impossible_choices_are_told_at_once(five: Tables) -> None:
    with pytest.raises(DataError) as caught:
        link(five, score="joy", look_back=2, lag=3, washout=-1, cohort="March")
    assert caught.value.faults == (
        "score 'joy' is not declared; the study has nps, csat",
        "lag is 3 and look_back 2: no answer is old enough and fresh enough at once",
        "washout is -1; months are counted from 0, which only drops further answers of one month",
        "cohort is 'March'; write a month as 2024-03",
    )
    with pytest.raises(DataError) as caught:
        link(five, score=None, lag=0, washout=2, cohort="2023-12")
    assert caught.value.faults == (
        "lag is 0; at least 1 month is needed, or a score would stand beside money of its own month",
        "washout and lag are about answers; give a score, or leave them out",
        "cohort is 2023-12; it must lie within the months of money, 2024-01 to 2024-06",
    )


def described(crowd: Crowd, cust: str, day: pd.Timestamp) -> pd.Series:
    rows = crowd.customers[crowd.customers["cust"] == cust].sort_values("from")
    began = rows[rows["from"] <= day]
    return (began.iloc[-1] if len(began) else rows.iloc[0]).copy()


def in_cohort(crowd: Crowd, cust: str, row: pd.Series, cohort: pd.Timestamp, is_dated: bool) -> bool:
    left = crowd.exits.loc[crowd.exits["cust"] == cust, "left"]
    if len(left) and left.iloc[0] < cohort:
        return False
    if is_dated and row["from"] > cohort:
        return False
    if pd.notna(row["open"]):
        return bool(row["open"] <= cohort)
    paid = pd.to_datetime(crowd.ledger.loc[crowd.ledger["cust"] == cust, "month"])
    return len(paid) > 0 and paid.min() <= cohort


def counted_answers(
    mine: pd.DataFrame, since: pd.Timestamp | None, lag: int, washout: int | None
) -> list[tuple[int, int, int]]:
    """Return (said, first month of use, score) of one customer's answers that count, in order."""
    mine = mine[mine["q1"].notna()].assign(said=lambda rows: number(rows["day"]))
    mine["known"] = np.maximum(mine["said"], number(mine["in"]))
    mine = mine.sort_values(["day", "answer"]).drop_duplicates(["day", "known"], keep="last")
    gap = mine["said"].diff()
    keep = pd.Series(True, index=mine.index) if washout is None else gap.isna() | (gap > washout)
    if since is not None:
        keep &= mine["day"] >= since
    mine = mine[keep]
    begin = np.maximum(mine["said"] + lag, mine["known"] + 1)
    return list(zip(mine["said"], begin, mine["q1"].astype(int), strict=True))


def by_search(
    crowd: Crowd, *, look_back: int, lag: int, washout: int | None, cohort: str | None, is_dated: bool
) -> dict[tuple[int, int], tuple[object, ...]]:
    """Look up each month row by row: the last answer given of those known, if it is fresh enough."""
    months = number(crowd.ledger["month"])
    start = pd.Timestamp(cohort) if cohort else pd.Period("1970-01", "M") + int(months.min() - look_back - 12 * 1970)
    day = start if cohort else start.start_time
    found: dict[tuple[int, int], tuple[object, ...]] = {}
    for code, cust in enumerate(sorted(crowd.customers["cust"].unique())):
        row = described(crowd, cust, day)
        if cohort and not in_cohort(crowd, cust, row, day, is_dated):
            continue
        since = row["from"] if is_dated else None
        answers = counted_answers(crowd.answers[crowd.answers["cust"] == cust], since, lag, washout)
        for month in months[crowd.ledger["cust"] == cust]:
            if (cohort and month < number(pd.Series([day]))[0]) or (is_dated and month < number(pd.Series([since]))[0]):
                continue
            known = [answer for answer in answers if answer[1] <= month]
            fresh = bool(known) and month - known[-1][0] <= look_back
            score, age = (known[-1][2], month - known[-1][0]) if fresh else (NAN, NAN)
            found[code, int(month)] = (row["seg"], row["branch"], float(score), float(age))
    return found


@pytest.fixture(scope="module", params=[(True, True), (False, False), (True, False), (False, True)], ids=str)
def crowd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    dated, available = request.param
    return make_crowd(tmp_path_factory.mktemp("crowd"), dated=dated, available=available)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lag": 3},
        {"washout": 4},
        {"cohort": "2023-08"},
        {"look_back": 5, "lag": 2, "washout": 2, "cohort": "2023-06"},
    ],
    ids=str,
)
def test_it_agrees_with_a_search_row_by_row(crowd: Crowd, options: dict[str, object]) -> None:
    is_dated = crowd.tables.history is not None
    settings = {"look_back": 12, "lag": 1, "washout": None, "cohort": None} | options
    linked = link(crowd.tables, **settings)  # type: ignore[arg-type]
    frame = linked.frame()
    expected = by_search(crowd, **settings, is_dated=is_dated)  # type: ignore[arg-type]
    assert len(expected) > 200
    assert set(zip(frame["customer"], frame["month"], strict=True)) == set(expected)
    for row in frame.itertuples():
        want = expected[row.customer, row.month]
        assert (row.segment, row.unit) == want[:2]
        np.testing.assert_array_equal([row.score, row.score_age], want[2:], err_msg=str((row.customer, row.month)))
    assert linked.leak_report().wrong == 0
    steps = {step.name: step for step in linked.trail}
    assert steps["scored"].rows == frame["score"].notna().sum()
    used = frame.dropna(subset="score").assign(said=lambda rows: rows["month"] - rows["score_age"])
    twice = "available" in crowd.tables.study.tables["answers"].columns
    if not twice:
        assert steps["answers_used"].rows == len(used.drop_duplicates(["customer", "said"]))
    for one, other in zip(linked.trail, linked.trail[1:], strict=False):
        assert other.name == "answers" or other.lost == one.rows - other.rows >= 0
        assert say(other.reason, "en") != say(other.reason, "zh")


def test_the_order_of_rows_does_not_matter(tmp_path: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("shuffled")
    base = make_crowd(folder)
    for name in ("customers", "answers", "ledger"):
        frame = pd.read_csv(folder / f"{name}.csv", dtype=str)
        frame.sample(frac=1, random_state=3).to_csv(folder / f"{name}.csv", index=False)
    again = load(base.tables.study)
    one = link(base.tables, washout=2, cohort="2023-06")
    two = link(again, washout=2, cohort="2023-06")
    assert one.fingerprint == two.fingerprint
    assert one.trail == two.trail
    pd.testing.assert_frame_equal(one.frame(), two.frame())


def test_money_beside_the_answers_takes_the_same_choices(open_tables: Open) -> None:
    edits = (
        ("study.toml", "[outcomes.aum]", '[outcomes.order]\ncolumn = "amount"\nkind = "flow"\nlabel = "Order"\n'
         'table = "answers"\ndated = "ordered"\n\n[outcomes.aum]'),
        ("answers.csv", "q1,q2", "q1,q2,amount,ordered"),
        *(
            ("answers.csv", f"{end}\n", f"{end},{amount}\n")
            for end, amount in [
                ("-31,9,5", "10.05,2024-02-03"), ("-02,4,2", "20.00,2024-06-02"), ("-05,3,3", "30.00,2024-04-06"),
                ("-20,7,4", "40.00,2024-06-30"), ("-30,10,5", "50.00,2024-01-01"), ("-01,,5", ","), ("-10,2,1", ","),
                ("-10,6,3", ","), ("-10,8,4", ","),
            ]
        ),
    )  # fmt: skip
    tables = open_tables(*edits)
    assert list(link(tables, outcome="order").frame()["outcome"]) == [10.05, 20, 30, 40, 50]
    assert list(link(tables, outcome="order", lag=2).frame()["outcome"]) == [20, 30, 40, 50]
    assert list(link(tables, outcome="order", washout=3).frame()["outcome"]) == [10.05, 30, 50]
    late = link(tables, outcome="order", cohort="2024-05")
    assert list(late.frame()["outcome"]) == [20]
    assert [step.name for step in late.trail][-1] == "amounts_from_then"
    with pytest.raises(DataError, match="stands beside the answers"):
        link(tables, outcome="order").windows()
