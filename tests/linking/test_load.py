# ruff: noqa: E501 - the table of broken inputs reads best with a case on a line
"""What is opened is typed and checked; what is broken is told at once, without a single value."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.linked import month_index
from rox.core.study import Study, read_study
from rox.linking.link import link
from rox.linking.load import load
from rox.linking.tables import Tables
from tests.linking.conftest import STUDY

Open = Callable[..., Tables]


def faults(open_tables: Open, *edits: tuple[str, str, str]) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        open_tables(*edits)
    return caught.value.faults


def test_tables_carry_roles_types_and_counts(five: Tables) -> None:
    assert dict(five.counts) == {"customers": 5, "answers": 9, "ledger": 28, "exits": 1, "initiatives": 1}
    customers = five.fetch(five.tables["customers"].order_by("customer"))
    assert list(customers["customer"]) == ["0001", "0002", "0003", "0004", "0005"]
    assert customers["opened"].iloc[4] == pd.Timestamp("2023-12-31")
    assert list(customers["age"]) == [40, 50, 60, 35, 45]
    ledger = five.fetch(five.tables["ledger"].order_by("customer", "month"))
    assert ledger["aum"].dtype == np.int64
    assert ledger["aum"].iloc[0] == 101_51
    assert ledger["month"].iloc[0] == month_index(2024, 1)
    answers = five.fetch(five.tables["answers"].order_by("key"))
    assert list(answers.columns) == ["key", "customer", "date", "nps", "csat", "month"]
    assert np.isnan(answers["nps"].iloc[5])
    assert answers["month"].iloc[4] == month_index(2023, 6)
    assert five.checks == ()


A, C, L, X, I, S = (
    "answers.csv", "customers.csv", "ledger.csv", "exits.csv", "initiatives.csv", "study.toml",
)  # fmt: skip
WHOLE = "a whole number from 0 to 10 is needed"

BROKEN: dict[str, list[tuple[str, str, str, str]]] = {
    "values": [
        (C, "cust,seg,", "cust,segment,", "customers · seg · no such column; found: cust, segment, branch"),
        (C, "2023-01-10,1.5", "2023-01-10,0", "customers · w · not above 0 · 1 row, at row 3"),
        (C, ",60,", ",sixty,", "customers · age · text among numbers; a control is one or the other · 1 row, at row 4"),
        (C, "0,1.0,35", "0,,35", "customers · w · missing · 1 row, at row 5"),
        (A, "01-31,9", "01-31,nine", f"answers · q1 · cannot be read; {WHOLE} · 1 row, at row 2"),
        (A, "04-02,4", "04-02,4.5", f"answers · q1 · has a fraction; {WHOLE} · 1 row, at row 3"),
        (A, "02-05,3", "02-05,NaN", "answers · q1 · NaN; leave missing values empty · 1 row, at row 4"),
        (A, "02-20,7", "02-20,11", "answers · q1 · outside its scale from 0 to 10 · 1 row, at row 5"),
        (A, ",10,5", ",10,0", "answers · q2 · 0 on a scale from 1 to 5; if 0 stands for no answer, leave it empty · 1 row, at row 6"),
        (A, "2024-02-01", "01/02/2024", "answers · day · day or month first? add dates = \"dmy\" or dates = \"mdy\" to this table in the study file, or write YYYY-MM-DD · 1 row, at row 7"),
        (A, "A8,0005,2024-06-10", "A8,0005,", "answers · day · missing · 1 row, at row 8"),
        (A, "A7,", "A1,", "answers · answer · the key stands here twice · 1 row, at row 9"),
        (A, "8,4", "8,6", "answers · q2 · outside its scale from 1 to 5 · 1 row, at row 10"),
        (L, "102.52", "", "ledger · balance · missing · 1 row, at row 3"),
        (L, "103.53", '"1,03.53"', "ledger · balance · cannot be read; an amount such as 1234.56 is needed · 1 row, at row 4"),
        (L, "104.54,4", "104.54,-4", "ledger · calls · below 0 · 1 row, at row 5"),
        (L, "105.55,5", "105.55,5.5", "ledger · calls · has a fraction; a whole number is needed · 1 row, at row 6"),
        (I, "refit,B1", "refits,B1", "initiatives · what · not an initiative of the study file (refit) · 1 row, at row 2"),
    ],
    "rows": [
        (C, "0004,mass", "0003,mass", "customers · cust · the customer stands here twice · 1 row, at row 5"),
        (C, "2023-12-31", "2024-02-15", "ledger · month · before the month of the customer's opening · 1 row, at row 24"),
        (A, "2024-01-31", "2024-07-01", "answers · day · after the extract of 2024-06-30 · 1 row, at row 2"),
        (A, "2024-04-10", "2024-04-16", "answers · day · answered after the customer's exit · 1 row, at row 10"),
        (A, "A5,0004", "A5,0404", "answers · cust · customer not in the customers table · 1 row, at row 6"),
        (L, "0001,2024-02-01", "0001,2024-01-15", "ledger · cust, month · a second row for a customer and month · 1 row, at row 3"),
        (L, "0001,2024-06-01", "0001,2024-07-01", "ledger · month · after the extract of 2024-06-30 · 1 row, at row 7"),
        (X, "0002,2024-04-15,fees", "0002,2024-04-15,fees\n0002,2024-04-20,fees", "exits · cust · a second exit of a customer · 1 row, at row 3"),
        (I, "2024-03-01", "2024-03-01\nrefit,B1,2024-05-01", "initiatives · what, branch · a second start of an initiative in a unit · 1 row, at row 4"),
        (I, "what,branch,from", "what,branch,from\nrefit,B9,2024-05-01", "initiatives · branch · no customer belongs to this unit · 1 row, at row 2"),
    ],
    "exits and shapes": [
        (X, "2024-04-15", "2022-04-15", "exits · left · before the customer's opening · 1 row, at row 2"),
        (X, "cust,left", "cust,left", "ledger · month · after the month of the customer's exit · 4 rows, first at row 8, 9, 10"),
        (S, ', reason = "why"', "", "exits · voluntary reasons are declared, but no column has the role reason"),
        (A, "A4,0002,2024-02-20,7,4", "A4,0002,2024-02-20,7,4,4", "answers · cannot be split into the columns of the header; are commas and quotes in quotes? · 1 line, at line 5"),
        (I, "what,branch", "what,What", "initiatives · two columns are called 'what'; every column needs a name of its own"),
    ],
    "names": [
        (S, "[scores.nps]", "[scores.date]", "answers · date · the name is taken by a role of this table; give it another in the study file"),
        (S, '["age"]', '["opened"]', "customers · opened · the name is taken by a role of this table"),
        (S, "[outcomes.calls]", "[outcomes.month]", "ledger · month · the name is taken by a role of this table"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("batch", BROKEN)
def test_each_broken_input_is_told(open_tables: Open, batch: str) -> None:
    cases = BROKEN[batch]
    found = faults(open_tables, *[(file, old, new) for file, old, new, _ in cases])
    missed = [line for *_, line in cases if not any(each.startswith(line) for each in found)]
    assert not missed, "\n".join(["not told:", *missed, "told:", *found])


def test_an_empty_table_is_a_fault(open_tables: Open, write: Callable[..., Path]) -> None:
    study = write()
    (study.parent / "answers.csv").write_text("answer,cust,day,q1,q2\n", encoding="utf-8")
    with pytest.raises(DataError, match="answers · the table has no rows"):
        load(read_study(study))
    (study.parent / "answers.csv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="answers · the file is empty"):
        load(read_study(study))


def test_everything_wrong_is_told_at_once_without_a_value(open_tables: Open) -> None:
    edits = [
        ("customers.csv", "cust,seg,", "cust,segment,"),
        ("customers.csv", "0003,mass", "0002,mass"),
        ("answers.csv", "A2,0001,2024-04-02,4", "A2,0777,2024-04-02,Ms Secretname complained"),
        ("answers.csv", "A5,0004,2023-06-30,10", "A5,0004,2029-06-30,12"),
        ("ledger.csv", "0001,2024-02-01", "0001,2024-01-15"),
        ("exits.csv", "2024-04-15", "yesterday"),
        ("initiatives.csv", "refit,B1", "refit,B9"),
    ]
    with pytest.raises(DataError) as caught:
        open_tables(*edits)
    text = str(caught.value)
    for words in (
        "no such column",
        "the customer stands here twice",
        "cannot be read; a whole number from 0 to 10",
        "customer not in the customers table",
        "after the extract",
        "outside its scale",
        "a second row for a customer and month",
        "cannot be read; a date",
        "no customer belongs to this unit",
    ):
        assert words in text
    assert text.startswith(f"The tables have {len(caught.value.faults)} faults.")
    for value in ("0777", "0001", "0002", "Secretname", "yesterday", "B9", "2029"):
        assert value not in text


def test_only_the_first_rows_are_shown_and_all_are_counted(open_tables: Open) -> None:
    found = faults(open_tables, ("ledger.csv", ".5", ".x"))
    assert (
        "ledger · balance · cannot be read; an amount such as 1234.56 is needed · 28 rows, first at row 2, 3, 4"
        in found
    )


def test_ids_that_lost_their_zeros_are_guessed(open_tables: Open) -> None:
    found = faults(open_tables, ("ledger.csv", "\n000", "\n"))
    assert any("leading zeros included" in line and "28 rows" in line for line in found)


def test_a_study_file_tells_its_seven_faults_at_once(write: Callable[..., Path]) -> None:
    study = write(
        ("study.toml", 'currency = "CNY"', 'currency = "yuan"'),
        ("study.toml", 'timezone = "Asia/Shanghai"', 'timezone = "Beijing"'),
        ("study.toml", "extract = 2024-06-30", 'extract = "soon"'),
        ("study.toml", "high = 5", "high = 0"),
        ("study.toml", 'kind = "stock"', 'kind = "money"'),
        ("study.toml", 'assigned = "random"', 'assigned = "perhaps"'),
        ("study.toml", "min_cell = 1", "min_cells = 1"),
    )
    with pytest.raises(DataError) as caught:
        read_study(study)
    assert len(caught.value.faults) == 7
    for place in ("currency", "timezone", "extract", "scores.csat", "outcomes.aum.kind", "assigned", "min_cells"):
        assert place in str(caught.value)


def test_gb18030_and_a_byte_order_mark_read_as_well(open_tables: Open, write: Callable[..., Path]) -> None:
    study = write(("customers.csv", "gold", "金卡客户"))
    customers = study.parent / "customers.csv"
    customers.write_text(customers.read_text(encoding="utf-8"), encoding="gb18030")
    answers = study.parent / "answers.csv"
    answers.write_text(answers.read_text(encoding="utf-8"), encoding="utf-8-sig")
    tables = load(read_study(study))
    found = tables.fetch(tables.tables["customers"].order_by("customer"))
    assert list(found["segment"]) == ["金卡客户", "mass", "mass", "mass", "金卡客户"]
    assert found["customer"].iloc[0] == "0001"
    assert tables.fingerprint == open_tables(("customers.csv", "gold", "金卡客户")).fingerprint


def test_text_of_no_known_encoding_is_a_fault(write: Callable[..., Path]) -> None:
    study = write()
    (study.parent / "answers.csv").write_bytes(b"answer,cust,day,q1,q2\nA1,0001,2024-01-31,9,\xff\xff\n")
    with pytest.raises(DataError, match="neither UTF-8 nor GB18030"):
        load(read_study(study))


def test_semicolons_quotes_and_line_breaks_inside_values(write: Callable[..., Path]) -> None:
    study = write()
    customers = study.parent / "customers.csv"
    text = customers.read_text(encoding="utf-8").replace(",", ";").replace("Secretname", '"two\nlines; ""quoted"""')
    customers.write_text(text, encoding="utf-8")
    answers = study.parent / "answers.csv"
    answers.write_text(answers.read_text(encoding="utf-8").replace("\n", "\r\n"), encoding="utf-8", newline="")
    assert dict(load(read_study(study)).counts)["customers"] == 5


def parquet_study(write: Callable[..., Path], frame: pd.DataFrame, pattern: str = "ledger.parquet") -> Study:
    study = write(("study.toml", 'path = "ledger.csv"', f'path = "{pattern}"'))
    halves = [frame] if "*" not in pattern else [frame.iloc[:10], frame.iloc[10:]]
    for i, half in enumerate(halves):
        half.to_parquet(study.parent / pattern.replace("*", str(i)), index=False)
    return read_study(study)


def test_parquet_reads_as_csv_does(five: Tables, write: Callable[..., Path], ledger_frame: pd.DataFrame) -> None:
    from_csv = five.digest("ledger")
    typed = ledger_frame.assign(month=pd.to_datetime(ledger_frame["month"]).dt.date)
    assert load(parquet_study(write, typed)).digest("ledger") == from_csv
    instants = ledger_frame.assign(
        month=pd.to_datetime(ledger_frame["month"]).dt.tz_localize("Asia/Shanghai").dt.tz_convert("UTC")
    )
    assert load(parquet_study(write, instants)).digest("ledger") == from_csv
    digits = ledger_frame.assign(month=pd.to_datetime(ledger_frame["month"]).dt.strftime("%Y%m").astype(int))
    assert load(parquet_study(write, digits, "part-*.parquet")).digest("ledger") == from_csv


def test_faults_in_parquet_name_file_and_row(write: Callable[..., Path], ledger_frame: pd.DataFrame) -> None:
    ledger_frame.loc[12, "balance"] = np.inf
    with pytest.raises(DataError, match=r"ledger · balance · cannot be read.* at row 3 of part-1\.parquet"):
        load(parquet_study(write, ledger_frame, "part-*.parquet"))


def test_ids_as_floating_point_numbers_are_refused(write: Callable[..., Path], ledger_frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="ids stored as floating point numbers"):
        load(parquet_study(write, ledger_frame.assign(cust=ledger_frame["cust"].astype(float))))


def test_a_broken_file_and_a_workbook_are_told(write: Callable[..., Path]) -> None:
    study = write(
        ("study.toml", 'path = "ledger.csv"', 'path = "ledger.parquet"'),
        ("study.toml", 'path = "exits.csv"', 'path = "exits.xlsx"'),
    )
    (study.parent / "ledger.parquet").write_bytes(b"PAR1 not quite")
    (study.parent / "exits.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError) as caught:
        load(read_study(study))
    assert "is the file whole" in str(caught.value)
    assert "exits · not a whole Excel workbook" in str(caught.value)


QUERY = '''query = """
SELECT a.*, 2 * TRY_CAST(q1 AS INTEGER) AS double FROM raw AS a WHERE cust <> '0005'
"""'''


def test_a_query_over_sources(open_tables: Open) -> None:
    sources = ("study.toml", "[tables.customers]", '[sources]\nraw = "answers.csv"\n\n[tables.customers]')
    tables = open_tables(sources, ("study.toml", 'path = "answers.csv"', QUERY))
    assert tables.counts["answers"] == 6
    with pytest.raises(DataError, match=r"answers · The engine refused a query\. .*rawest"):
        open_tables(sources, ("study.toml", 'path = "answers.csv"', QUERY.replace("FROM raw", "FROM rawest")))
    with pytest.raises(DataError) as caught:
        open_tables(
            sources,
            ("study.toml", 'path = "answers.csv"', QUERY.replace("cust <> '0005'", "CAST(answer AS INTEGER) > 0")),
        )
    assert "convert with TRY_CAST" in str(caught.value)
    assert "A1" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_faults_of_sources(open_tables: Open) -> None:
    sources = (S, "[tables.customers]", '[sources]\nraw = "answers.csv"\nold = "ledger.csv"\n\n[tables.customers]')
    query = (S, 'path = "answers.csv"', QUERY)
    found = faults(open_tables, sources, query, (A, "A4,0002,2024-02-20,7,4", "A4,0002,2024-02-20,7"))
    assert any(line.startswith("answers.csv · cannot be split") and "at line 5" in line for line in found)
    found = faults(open_tables, sources, query, (L, "cust,month,", "cust,Cust,"))
    assert "sources.old · two columns are called 'cust'; every column needs a name of its own" in found


def codes(tables: Tables) -> list[str]:
    return [check.code for check in tables.checks]


def test_remarks(open_tables: Open) -> None:
    tables = open_tables(("customers.csv", "1.5,50", "1.5,"), ("customers.csv", "0003,mass", "0003,"))
    assert codes(tables) == ["ROX-Q01", "ROX-Q05"]
    assert tables.checks[0].sentence() == "1 of 5 customers have no value of the control age."
    assert tables.checks[1].values == {"column": "seg", "count": 1, "total": 5}
    found = tables.fetch(tables.tables["customers"].order_by("customer"))
    assert found["segment"].iloc[2] == "unknown"
    assert np.isnan(found["age"].iloc[1])
    assert codes(open_tables(("study.toml", "min_cell = 1", "min_cell = 3"))) == ["ROX-Q02"]
    assert codes(open_tables(("ledger.csv", "102.52", "-102.52"))) == ["ROX-Q04"]
    assert codes(open_tables(("study.toml", '["fees"]', '["fees", "feees"]'))) == ["ROX-Q06"]
    for check in tables.checks:
        assert re.search("[一-鿿]", check.sentence("zh"))


def contacts(write: Callable[..., Path], *, returning: bool) -> Tables:
    study = write(("study.toml", 'key = "answer", ', ""))
    people = [f"{n:05d}" for n in range(600)]
    days = [dt.date(2023, 1, 11) + dt.timedelta(days=n % 500) for n in range(600)]
    rows = [f"x,{person},{day},5,3" for person, day in zip(people, days, strict=True)]
    if returning:
        rows.append(f"x,{people[0]},{days[0] + dt.timedelta(days=28)},5,3")
    folder = study.parent
    (folder / "answers.csv").write_text("answer,cust,day,q1,q2\n" + "\n".join(rows), encoding="utf-8")
    lines = [f"{person},mass,B1,2023-01-10,1,30," for person in [*people, "0001", "0002", "0003", "0004", "0005"]]
    (folder / "customers.csv").write_text("cust,seg,branch,since,w,age,name\n" + "\n".join(lines), encoding="utf-8")
    return load(read_study(study))


@pytest.mark.parametrize("returning", [False, True])
def test_an_id_that_never_comes_back_may_be_an_order(write: Callable[..., Path], returning: bool) -> None:
    assert ("ROX-Q03" in codes(contacts(write, returning=returning))) is not returning


def test_roles_that_are_not_declared_get_their_defaults(open_tables: Open) -> None:
    initiatives = STUDY[STUDY.index("[tables.initiatives]") : STUDY.index("[scores.nps]")]
    tables = open_tables(
        (S, ', segment = "seg", unit = "branch", opened = "since", weight = "w"', ""),
        (S, initiatives, ""),
        (S, STUDY[STUDY.index("[initiatives.refit]") :], ""),
    )
    customers = tables.fetch(tables.tables["customers"])
    assert set(customers["segment"]) == {"all"}
    assert set(customers["unit"]) == {"all"}
    assert set(customers["weight"]) == {1.0}


def test_words_of_a_status_are_steps_or_are_told(write: Callable[..., Path]) -> None:
    path = write()
    told = """
[tables.invitations]
path = "invitations.csv"
columns = { customer = "cust", date = "sent", status = "state", reason = "why", reminder = "again" }
steps = { bounced = "invited" }
"""
    path.write_text(path.read_text(encoding="utf-8") + told, encoding="utf-8")
    lines = ["0001,2024-01-05,opened,,0", "0002,2024-01-05,bounced,no such box,2", "0003,2024-01-05,,,1"]
    file = path.parent / "invitations.csv"
    file.write_text("cust,sent,state,why,again\n" + "\n".join(lines), encoding="utf-8")
    tables = load(read_study(path))
    found = tables.fetch(tables.tables["invitations"].order_by("customer"))
    assert list(found["reminder"]) == [0, 2, 1]
    assert found["status"].tolist()[:2] == ["opened", "bounced"]
    file.write_text("cust,sent,state,why,again\n0001,2024-01-05,lost,,-1\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load(read_study(path))
    assert [line.split(" · ")[1] for line in caught.value.faults] == ["again", "state"]
    assert "say in `steps`" in str(caught.value)
    text = path.read_text(encoding="utf-8").replace('status = "state", ', "")
    path.write_text(text.replace('label = "Satisfied"', 'label = "Satisfied"\npillar = "empathy"'), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_study(path)
    assert [line.split(":")[0] for line in caught.value.faults] == ["tables.invitations.steps", "scores.csat.pillar"]


def test_the_smallest_unit_follows_the_currency(open_tables: Open) -> None:
    tables = open_tables(("study.toml", '"CNY"', '"JPY"'))
    assert tables.minor == 1
    assert tables.fetch(tables.tables["ledger"].order_by("customer", "month"))["aum"].iloc[0] == 102


def test_a_score_may_be_called_like_a_role_of_another_table(open_tables: Open) -> None:
    tables = open_tables(
        (S, 'key = "answer", ', ""),
        (S, "[scores.csat]", "[scores.weight]"),
        (S, "[scores.nps]", "[scores.key]"),
        (A, "8,4", "0,4"),
    )
    assert tables.fetch(tables.tables["answers"])["key"].min() == 0
    assert link(tables, score="key").frame()["score"].max() == 10


def test_text_controls_stay_text(open_tables: Open) -> None:
    tables = open_tables(("study.toml", 'controls = ["age"]', 'controls = ["name"]'))
    assert set(tables.fetch(tables.tables["customers"])["name"]) == {"Secretname"}
