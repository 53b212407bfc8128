"""The panel by hand, the trail that adds up, and the proof that no score saw its own money."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError, LeakageError
from rox.core.linked import month_index
from rox.core.study import read_study
from rox.core.words import say
from rox.linking.engine import Engine
from rox.linking.link import leaks, link
from rox.linking.load import load
from rox.linking.tables import Tables
from tests.linking.conftest import write_five

Open = Callable[..., Tables]
NAN = float("nan")
JAN = month_index(2024, 1)

BY_HAND = {
    0: [(NAN, NAN), (9, 1), (9, 2), (9, 3), (4, 1), (4, 2)],
    1: [(NAN, NAN), (NAN, NAN), (7, 1), (7, 2)],
    2: [(NAN, NAN)] * 6,
    3: [(10, 7), (10, 8), (10, 9), (10, 10), (10, 11), (10, 12)],
    4: [(NAN, NAN)] * 6,
}


def pairs(frame: pd.DataFrame) -> dict[int, list[tuple[float, float]]]:
    return {
        int(customer): list(zip(rows["score"], rows["score_age"], strict=True))
        for customer, rows in frame.groupby("customer")
    }


def assert_same(found: dict[int, list[tuple[float, float]]], expected: dict[int, list[tuple[float, float]]]) -> None:
    assert found.keys() == expected.keys()
    for customer, rows in expected.items():
        np.testing.assert_array_equal(np.array(found[customer]), np.array(rows), err_msg=f"customer {customer}")


def test_the_panel_by_hand(five: Tables) -> None:
    frame = link(five).frame()
    assert list(frame.columns) == [
        "customer", "month", "segment", "unit", "weight", "outcome", "score", "score_age", "opened", "exit_month",
        "voluntary", "age",
    ]  # fmt: skip
    assert_same(pairs(frame), BY_HAND)
    assert list(frame.loc[frame["customer"] == 1, "month"]) == [JAN, JAN + 1, JAN + 2, JAN + 3]
    first = frame.iloc[0]
    assert (first["outcome"], first["segment"], first["unit"], first["weight"]) == (101.51, "gold", "B1", 2.0)
    assert first["opened"] == month_index(2023, 1)
    leaver = frame[frame["customer"] == 1]
    assert set(leaver["exit_month"]) == {month_index(2024, 4)}
    assert leaver["voluntary"].all()
    assert not frame.loc[frame["customer"] != 1, "voluntary"].any()
    assert frame.loc[frame["customer"] != 1, "exit_month"].isna().all()
    assert frame["voluntary"].dtype == bool
    assert not any("000" in str(value) for value in frame.select_dtypes(object).to_numpy().ravel())


def test_an_answer_serves_look_back_months_and_no_longer(five: Tables) -> None:
    assert pairs(link(five, look_back=11).frame())[3][-2:] == [(10, 11), pytest.approx((NAN, NAN), nan_ok=True)]
    short = pairs(link(five, look_back=1).frame())
    assert short[0][1] == (9, 1)
    assert np.isnan(short[0][2][0])


def test_of_two_answers_on_a_day_the_highest_key_counts(open_tables: Open) -> None:
    later = ("ledger.csv", "0005,2024-06-01", "0005,2024-07-01")
    extract = ("study.toml", "2024-06-30", "2024-07-31")
    assert pairs(link(open_tables(later, extract)).frame())[4][-1] == (2, 1)
    no_key = ("study.toml", 'key = "answer", ', "")
    assert pairs(link(open_tables(later, extract, no_key, ("answers.csv", "A8", "A0"))).frame())[4][-1] == (2, 1)
    assert pairs(link(open_tables(later, extract, ("answers.csv", "A8", "A0"))).frame())[4][-1] == (6, 1)


def trail(tables: Tables, **options: object) -> dict[str, tuple[int, int, int]]:
    linked = link(tables, **options)  # type: ignore[arg-type]
    for step in linked.trail:
        assert say(step.reason, "en") != say(step.reason, "zh")
    return {step.name: (step.rows, step.lost, step.customers) for step in linked.trail}


def test_the_trail_by_hand(five: Tables) -> None:
    assert trail(five) == {
        "ledger": (28, 0, 5),
        "scored": (13, 15, 3),
        "answers": (9, 0, 4),
        "answers_given": (8, 1, 4),
        "answers_one_a_day": (7, 1, 4),
        "answers_before_money": (5, 2, 3),
        "answers_in_time": (5, 0, 3),
        "answers_used": (4, 1, 3),
    }
    short = trail(five, look_back=3)
    assert short["answers_in_time"] == (4, 1, 2)
    assert short["answers_used"] == (3, 1, 2)


def test_the_answers_used_are_those_in_the_panel(open_tables: Open) -> None:
    linked = link(open_tables(("ledger.csv", "0001,2024-02-01,102.52,2\n0001,2024-03-01,103.53,3\n", "")), look_back=2)
    rows = linked.frame().dropna(subset="score")
    used = len((rows["month"] - rows["score_age"]).groupby(rows["customer"]).unique().explode())
    assert used == {step.name: step.rows for step in linked.trail}["answers_used"]


def test_other_outcomes_scores_and_none(five: Tables) -> None:
    calls = link(five, score="csat", outcome="calls")
    frame = calls.frame()
    assert list(frame.loc[frame["customer"] == 4, "score"])[2:] == [5, 5, 5, 5]
    assert list(frame.loc[frame["customer"] == 0, "outcome"]) == [1, 2, 3, 4, 5, 6]
    money = link(five, score=None)
    assert money.score == ""
    assert money.frame()["score"].isna().all()
    assert [step.name for step in money.trail] == ["ledger"]
    starts = money.starts
    assert starts.to_dict("list") == {"initiative": ["refit"], "unit": ["B1"], "start": [month_index(2024, 3)]}


def by_brute_force(answers: pd.DataFrame, ledger: pd.DataFrame, look_back: int) -> list[tuple[str, int, float, float]]:
    """Look up each month's score row by row."""
    found = []
    for customer, month in ledger[["cust", "month"]].itertuples(index=False):
        mine = answers[
            (answers["cust"] == customer) & (answers["said"] < month) & (answers["said"] >= month - look_back)
        ]
        if len(mine):
            last = mine.sort_values(["day", "answer"]).iloc[-1]
            found.append((customer, month, float(last["q1"]), float(month - last["said"])))
        else:
            found.append((customer, month, NAN, NAN))
    return found


@pytest.mark.parametrize("look_back", [1, 4, 12])
def test_it_agrees_with_brute_force(crowd: Tables, look_back: int) -> None:
    answers = crowd.fetch(crowd.tables["answers"].filter(crowd.tables["answers"].nps.notnull()))
    answers = answers.rename(columns={"customer": "cust", "month": "said", "nps": "q1", "key": "answer", "date": "day"})
    ledger = crowd.fetch(crowd.tables["ledger"].order_by("customer", "month")).rename(columns={"customer": "cust"})
    expected = by_brute_force(answers, ledger, look_back)
    linked = link(crowd, look_back=look_back)
    frame = linked.frame()
    np.testing.assert_array_equal(frame[["score", "score_age"]].to_numpy(), np.array([row[2:] for row in expected]))
    used = {(row[0], row[1] - row[3]) for row in expected if not np.isnan(row[2])}
    steps = {step.name: step for step in linked.trail}
    assert steps["answers_used"].rows == len(used)
    assert steps["scored"].rows == frame["score"].notna().sum()


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Sixty customers with gaps in their money, many answers, and ties on a day."""
    rng = np.random.default_rng(11)
    study = write_five(tmp_path_factory.mktemp("crowd") / "five")
    people = [f"{n:04d}" for n in range(60)]
    customers = [f"{person},mass,B1,2022-01-01,1,30,x" for person in people]
    money = [f"{p},2023-{m:02d},{m}.5,1" for p in people for m in range(1, 13) if rng.random() < 0.7]
    days = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 730, 400), unit="D")
    score = [str(value) if value <= 10 else "" for value in rng.integers(0, 12, 400)]
    answers = [
        f"A{n:03d},{people[rng.integers(60)]},{day:%Y-%m-%d},{score[n]},3"
        for n, day in enumerate([*days[:380], *days[:20]])
    ]
    answers += [f"{line.replace('A', 'Z', 1)[:20]},{n % 11},3" for n, line in enumerate(answers[:30])]
    for name, head, rows in (
        ("customers", "cust,seg,branch,since,w,age,name", customers),
        ("ledger", "cust,month,balance,calls", money),
        ("answers", "answer,cust,day,q1,q2", answers),
        ("exits", "cust,left,why", []),
    ):
        (study.parent / f"{name}.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return load(read_study(study))


def test_unknown_names_are_told_at_once(five: Tables) -> None:
    with pytest.raises(DataError) as caught:
        link(five, score="happiness", outcome="profit", look_back=0)
    assert caught.value.faults == (
        "score 'happiness' is not declared; the study has nps, csat",
        "outcome 'profit' is not declared; the study has aum, calls",
        "look_back is 0; at least 1 month is needed",
    )


def test_all_exits_are_voluntary_when_no_reason_is_listed(open_tables: Open) -> None:
    study = ("study.toml", 'voluntary = ["fees"]', "")
    frame = link(open_tables(study, ("exits.csv", "fees", "died"))).frame()
    assert frame.loc[frame["customer"] == 1, "voluntary"].all()
    frame = link(open_tables(("exits.csv", "fees", "died"))).frame()
    assert not frame["voluntary"].any()
    assert frame["exit_month"].notna().sum() == 4


def test_the_proof_finds_a_broken_panel(five: Tables) -> None:
    linked = link(five)
    assert leaks(linked, five) == 0
    same_month = linked.panel.mutate(score=linked.panel.score + 0, month=linked.panel.month - linked.panel.score_age)
    assert leaks(replace(linked, panel=same_month.mutate(month=same_month.month.cast("int64"))), five) == 13
    pretended = linked.panel.mutate(score_age=linked.panel.score_age + 1)
    assert leaks(replace(linked, panel=pretended), five) == 13
    next_answer = linked.panel.mutate(score=(linked.panel.score == 9).ifelse(4.0, linked.panel.score))
    assert leaks(replace(linked, panel=next_answer), five) == 3


def test_a_link_that_leaks_refuses(open_tables: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = open_tables()
    stage = Engine.stage

    def broken(self: Engine, expression: object, name: str) -> object:
        if name.startswith("panel_"):
            expression = expression.mutate(score_age=expression.score_age - 1)  # type: ignore[attr-defined]
        return stage(self, expression, name)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "stage", broken)
    with pytest.raises(LeakageError, match="13 rows"):
        link(tables)


BESIDE = (
    ("study.toml", "[outcomes.aum]", '[outcomes.order]\ncolumn = "amount"\nkind = "flow"\nlabel = "Order"\n'
     'table = "answers"\ndated = "ordered"\n\n[outcomes.aum]'),
    ("answers.csv", "q1,q2", "q1,q2,amount,ordered"),
)  # fmt: skip


def beside(*amounts: tuple[str, str, str]) -> tuple[tuple[str, str, str], ...]:
    """Give answers, by the end of their line, an amount and its date; the others have none."""
    edits = [("answers.csv", end, f"{end},{amount},{date}") for end, amount, date in amounts]
    named = {end for end, _, _ in amounts}
    ends = ("-31,9,5", "-02,4,2", "-05,3,3", "-20,7,4", "-30,10,5", "-01,,5", "-10,2,1", "-10,6,3", "-10,8,4")
    return (*BESIDE, *edits, *(("answers.csv", end, f"{end},,") for end in ends if end not in named))


def test_money_beside_the_answers_must_come_later(open_tables: Open) -> None:
    tables = open_tables(
        *beside(
            ("-31,9,5", "10.05", "2024-02-03"),
            ("-02,4,2", "20.00", "2024-04-02"),
            ("-05,3,3", "30.00", "2024-02-06"),
            ("-20,7,4", "40.00", "2024-06-30"),
            ("-30,10,5", "50.00", "2023-06-01"),
        )
    )
    linked = link(tables, outcome="order")
    frame = linked.frame()
    assert frame[["customer", "outcome", "score", "score_age"]].to_numpy().tolist() == [[0, 10.05, 9, 1], [1, 40, 7, 4]]
    assert [(step.name, step.rows, step.lost) for step in linked.trail] == [
        ("answers", 9, 0),
        ("answers_given", 8, 1),
        ("answers_with_amount", 5, 3),
        ("answers_before_amount", 3, 2),
        ("answers_month_before", 2, 1),
        ("answers_in_look_back", 2, 0),
    ]
    check, proof = linked.checks
    assert (check.code, proof.code) == ("ROX-Q07", "ROX-S12")
    assert check.sentence().startswith("2 of 5 amounts of order are dated before the answer or on its day")
    assert trail(tables, outcome="order", look_back=1)["answers_in_look_back"] == (1, 1, 1)


def test_money_that_came_before_every_answer_is_refused(open_tables: Open) -> None:
    tables = open_tables(*beside(("-31,9,5", "10.05", "2024-01-03"), ("-02,4,2", "20.00", "2024-04-02")))
    with pytest.raises(LeakageError) as caught:
        link(tables, outcome="order")
    assert caught.value.headline == (
        'A score may explain only money that comes after it: 2 of 2 amounts of "order" are dated before the answer or '
        "on its day."
    )
    assert "2024-01-03 to 2024-04-02, its answers 2024-01-31 to 2024-04-02; 1 of the amounts" in caught.value.faults[0]
    assert "declare money that follows the answer" in caught.value.faults[-1]
    late = ("-05,3,3", "30.00", "2024-03-06")
    tables = open_tables(*beside(("-31,9,5", "10.05", "2024-01-03"), ("-02,4,2", "20.00", "2024-04-02"), late))
    with pytest.raises(LeakageError, match="2 of 3 amounts"):
        link(tables, outcome="order")
    with pytest.raises(DataError, match="stands beside the answers, so it needs a score"):
        link(tables, score=None, outcome="order")


def test_an_amount_without_a_date_is_a_fault(open_tables: Open) -> None:
    with pytest.raises(
        DataError, match="answers · ordered · missing where there is an amount of order · 1 row, at row 2"
    ):
        open_tables(*beside(("-31,9,5", "10.05", "")))
