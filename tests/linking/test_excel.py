# ruff: noqa: E501 - the tables of cases read best with a case on a line
"""Workbooks, encodings, and what people write for dates and amounts: read rightly, or told by name."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.study import file_and_sheet, read_study
from rox.linking.columns import Column, prepared, read
from rox.linking.engine import connect
from rox.linking.load import load
from rox.linking.spellings import Flaw
from rox.linking.tables import Tables

Open = Callable[..., Tables]
Write = Callable[..., Path]
LEDGER_PATH = ("study.toml", 'path = "ledger.csv"', 'path = "crm.xlsx#Ledger"')


def book(path: Path, rows: list[list[Any]], sheet: str = "Ledger", others: tuple[str, ...] = ("Notes",)) -> Any:
    made = openpyxl.Workbook()
    page = made.active
    page.title = sheet
    for row in rows:
        page.append(row)
    for other in others:
        made.create_sheet(other).append(["nothing"])
    made.save(path)
    return made


def ledger_rows(frame: pd.DataFrame) -> list[list[Any]]:
    months = [dt.datetime.fromisoformat(month) for month in frame["month"]]
    rows = zip(frame["cust"], months, frame["balance"].astype(float), frame["calls"].astype(int), strict=True)
    return [list(frame.columns), *map(list, rows)]


def told(study: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(read_study(study))
    return str(caught.value)


def test_a_sheet_reads_as_csv_does(five: Tables, write: Write, ledger_frame: pd.DataFrame) -> None:
    study = write(LEDGER_PATH)
    book(study.parent / "crm.xlsx", ledger_rows(ledger_frame))
    assert load(read_study(study)).digest("ledger") == five.digest("ledger")


def test_numbers_shown_with_leading_zeros_keep_them(five: Tables, write: Write, ledger_frame: pd.DataFrame) -> None:
    study = write(LEDGER_PATH)
    rows = ledger_rows(ledger_frame)
    for row in rows[1:]:
        row[0] = int(row[0])
    made = openpyxl.Workbook()
    page = made.active
    page.title = "Ledger"
    for row in rows:
        page.append(row)
    for cell in page["A"][1:]:
        cell.number_format = "0000"
    made.save(study.parent / "crm.xlsx")
    assert load(read_study(study)).digest("ledger") == five.digest("ledger")


def test_faults_name_the_row_of_the_sheet(write: Write, ledger_frame: pd.DataFrame) -> None:
    study = write(LEDGER_PATH)
    rows = ledger_rows(ledger_frame)
    rows[3][2] = "#N/A"
    rows[5][2] = "1.2万"
    rows.insert(2, [None, None, None, None])
    rows[7][0] = 110105194912310021
    book(study.parent / "crm.xlsx", rows)
    text = told(study)
    assert (
        "ledger · balance · a spreadsheet's error such as #N/A or ####; mend the cell or leave it empty · 1 row, at row 5"
        in text
    )
    assert (
        "ledger · balance · an amount in k, m or another unit is rounded; export amounts in full · 1 row, at row 7"
        in text
    )
    assert "ledger · cust · a number of more than 15 digits" in text
    assert "at row 8" in text
    assert "1101" not in text


def test_ids_that_are_text_stay_whole(write: Write, ledger_frame: pd.DataFrame) -> None:
    long = "110105194912310021"
    edits = [("customers.csv", "0001,gold", f"{long},gold")]
    edits += [("answers.csv", "A1,0001", f"A1,{long}"), ("answers.csv", "A2,0001", f"A2,{long}")]
    study = write(LEDGER_PATH, *edits)
    ledger_frame["cust"] = ledger_frame["cust"].replace("0001", long)
    book(study.parent / "crm.xlsx", ledger_rows(ledger_frame))
    tables = load(read_study(study))
    assert long in set(tables.fetch(tables.tables["ledger"])["customer"])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("crm.xlsx", "the workbook has 2 sheets ('Ledger', 'Notes'); name one as crm.xlsx#Ledger"),
        ("crm.xlsx#ledgers", "there is no sheet 'ledgers' in the workbook; it has 'Ledger', 'Notes'"),
        ("crm.xls", "of workbooks only .xlsx is read"),
    ],
)
def test_which_sheet(write: Write, ledger_frame: pd.DataFrame, path: str, said: str) -> None:
    study = write(("study.toml", 'path = "ledger.csv"', f'path = "{path}"'))
    book(study.parent / "crm.xlsx", ledger_rows(ledger_frame))
    (study.parent / "crm.xls").write_bytes(b"old")
    assert f"ledger · {said}" in told(study)


HEADER = ["cust", "month", "balance", "calls"]
ROW = ["0001", "2024-01-01", 1.5, 1]


@pytest.mark.parametrize(
    ("rows", "merge", "said"),
    [
        ([["Ledger of 2024", None, None, None], HEADER, ROW], None, "column B holds values (row 2) but has no name in row 1"),
        ([["Ledger of 2024", None, None, None], HEADER, ROW], "A1:D1", "cells of row 1 are merged; remove titles"),
        ([[None] * 4, HEADER, ROW], None, "the first row is blank; column names are needed there, not in row 2"),
        ([["cust", None, "balance", "calls"], ROW], None, "row 1 does not name every column (B)"),
        ([["cust", "month", "calls", "Calls"], ROW], None, "two columns are called 'calls'"),
        ([HEADER, ROW, ["0001", "2024-02-01", 2, 2]], "A2:A3", "1 merged range, first at row 2; unmerge and fill every cell"),
        ([HEADER, ["0001", "2024-01-01", "=1+1", 1]], None, "1 formula without a value; open the workbook"),
        ([], None, "the sheet is empty"),
    ],
)  # fmt: skip
def test_a_sheet_that_is_no_table_is_told(write: Write, rows: list[list[Any]], merge: str | None, said: str) -> None:
    study = write(LEDGER_PATH)
    made = book(study.parent / "crm.xlsx", rows)
    if merge:
        made["Ledger"].merge_cells(merge)
        made.save(study.parent / "crm.xlsx")
    assert f"ledger · {said}" in told(study)


def test_a_formula_with_a_value_is_read(five: Tables, write: Write, ledger_frame: pd.DataFrame) -> None:
    study = write(LEDGER_PATH)
    path = study.parent / "crm.xlsx"
    rows = ledger_rows(ledger_frame)
    value = rows[1][2]
    rows[1][2] = "=100+1.51"
    book(path, rows)
    with zipfile.ZipFile(path) as pack:
        parts = {name: pack.read(name) for name in pack.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    for empty in (b"<f>100+1.51</f><v></v>", b"<f>100+1.51</f><v />", b"<f>100+1.51</f><v/>"):
        parts[sheet] = parts[sheet].replace(empty, f"<f>100+1.51</f><v>{value}</v>".encode())
    with zipfile.ZipFile(path, "w") as pack:
        for name, content in parts.items():
            pack.writestr(name, content)
    assert load(read_study(study)).digest("ledger") == five.digest("ledger")


def test_a_sheet_behind_a_source(five: Tables, write: Write, ledger_frame: pd.DataFrame) -> None:
    study = write(
        ("study.toml", "[tables.customers]", '[sources]\nraw = "crm.xlsx#Ledger"\n\n[tables.customers]'),
        ("study.toml", 'path = "ledger.csv"', 'query = "SELECT * FROM raw"'),
    )
    book(study.parent / "crm.xlsx", ledger_rows(ledger_frame))
    assert load(read_study(study)).digest("ledger") == five.digest("ledger")


def test_only_a_workbook_has_sheets() -> None:
    assert file_and_sheet("a/crm.xlsx#Ledger") == ("a/crm.xlsx", "Ledger")
    assert file_and_sheet("CRM.XLSM#客户 表") == ("CRM.XLSM", "客户 表")
    assert file_and_sheet("part#1.csv") == ("part#1.csv", None)


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("utf-8", ";"), ("utf-8-sig", ","), ("gb18030", ","), ("utf-16", "\t")]
)
def test_encodings_and_delimiters(five: Tables, write: Write, encoding: str, delimiter: str) -> None:
    study = write()
    path = study.parent / "ledger.csv"
    text = path.read_text(encoding="utf-8").replace("cust,", "客户𠮷,", 1).replace(",", delimiter)
    path.write_bytes(text.encode(encoding))
    content = study.read_text(encoding="utf-8")
    study.write_text(content.replace('{ customer = "cust", month', '{ customer = "客户𠮷", month'), encoding="utf-8")
    assert load(read_study(study)).digest("ledger") == five.digest("ledger")


def test_a_broken_utf_16_is_told(write: Write) -> None:
    study = write()
    (study.parent / "ledger.csv").write_bytes(b"\xff\xfea\x00b")
    assert "the text is not the UTF-16 it says it is: save it as UTF-8" in told(study)


DATES = {
    "2025-03-01": "2025-03-01",
    "2025/3/1": "2025-03-01",
    "2025.3.1": "2025-03-01",
    "2025年3月1日": "2025-03-01",
    "2025 年 3 月 1 日": "2025-03-01",
    "２０２５年３月１日": "2025-03-01",
    "20250301": "2025-03-01",
    "2025/3/1 9:05": "2025-03-01",
    "2025年3月1日 下午 9:05": "2025-03-01",
    "2025-03-01T23:30:00.5": "2025-03-01",
    "2025-03-01T23:30:00Z": "2025-03-02",
    "2025-03-01 23:30:00+08:00": "2025-03-01",
    "2025-03-01T23:30+0000": "2025-03-02",
    "2025-03-01 9:30:00 -05": "2025-03-01",
    "2025-03-01 23:30 UTC": "2025-03-02",
}
NO_DATES = {
    "2025-02-30": Flaw.UNREADABLE,
    "2025-13-01": Flaw.UNREADABLE,
    "25/3/1": Flaw.UNREADABLE,
    "1/3/25": Flaw.DAY_OR_MONTH,
    "3/1/2025": Flaw.DAY_OR_MONTH,
    "13/01/2025 10:00": Flaw.DAY_OR_MONTH,
    "1.3.2025": Flaw.DAY_OR_MONTH,
    "yesterday": Flaw.UNREADABLE,
    "45717": Flaw.UNREADABLE,
    "########": Flaw.EXCEL_ERROR,
    "2025-03-01T99": Flaw.UNREADABLE,
}


def one(column: Column, texts: list[str], minor: int = 100) -> pd.DataFrame:
    engine = connect(timezone="Asia/Shanghai")
    values = ", ".join("({}, '{}')".format(i, text.replace("'", "''")) for i, text in enumerate(texts))
    raw = engine.relation(f"SELECT * FROM (VALUES {values}) AS t(i, {column.source})")
    ready = prepared(raw, [column])
    found = engine.fetch(ready.select("i", **read(column, ready, minor)).order_by("i"))
    return found.rename(columns={column.name: "value", column.flaw: "flaw"})


def test_dates_that_can_be_read_in_one_way_only() -> None:
    found = one(Column(source="raw", name="d", kind="date"), [*DATES, *NO_DATES])
    days = [None if pd.isna(day) else day.date().isoformat() for day in found["value"]]
    assert dict(zip(DATES, days, strict=False)) == DATES
    assert days[len(DATES) :] == [None] * len(NO_DATES)
    assert dict(zip(NO_DATES, found["flaw"][len(DATES) :], strict=True)) == NO_DATES
    assert set(found["flaw"][: len(DATES)]) == {0}


def test_day_and_month_first_when_the_study_says_so() -> None:
    texts = ["3/1/2025", "13/1/2025", "1.3.2025 10:00", "2025/3/1", "3/1/25"]
    by_day = one(Column(source="raw", name="d", kind="date", order="dmy"), texts)
    by_month = one(Column(source="raw", name="d", kind="date", order="mdy"), texts)
    shown = [[None if pd.isna(d) else d.date().isoformat() for d in each["value"]] for each in (by_day, by_month)]
    assert shown[0] == ["2025-01-03", "2025-01-13", "2025-03-01", "2025-03-01", None]
    assert shown[1] == ["2025-03-01", None, "2025-01-03", "2025-03-01", None]
    assert list(by_month["flaw"]) == [0, Flaw.UNREADABLE, 0, 0, Flaw.UNREADABLE]


def test_months() -> None:
    texts = ["2025-03", "202503", "2025年3月", "2025/3", "2025-03-31", "2025.1", "3/2025"]
    found = one(Column(source="raw", name="m", kind="month"), texts)
    assert list(found["value"][:5]) == [2025 * 12 + 2] * 5
    assert list(found["flaw"][5:]) == [Flaw.UNREADABLE] * 2


AMOUNTS = {
    "1234.56": 123456,
    "１２３４．５６": 123456,
    "1,234.56": 123456,
    "1,234": 123400,
    "¥1,234": 123400,
    "￥ 1,234.5": 123450,
    "1,234元": 123400,
    "CNY 1,234": 123400,
    "-¥12": -1200,
    "(1,234.00)": -123400,
    "1,234-": -123400,
    "12.345": 1235,
}
NO_AMOUNTS = {
    "1.2万": Flaw.SHORTENED,
    "3亿": Flaw.SHORTENED,
    "12k": Flaw.SHORTENED,
    "$1,234": Flaw.FOREIGN,
    "12 EUR": Flaw.FOREIGN,
    "1.234,56": Flaw.DECIMAL_MARK,
    "12,5": Flaw.DECIMAL_MARK,
    "1.234.567": Flaw.DECIMAL_MARK,
    "1 234,56": Flaw.DECIMAL_MARK,
    "1,23.4": Flaw.UNREADABLE,
    "1.23E+17": Flaw.SCIENTIFIC,
    "n/a": Flaw.UNREADABLE,
    "#DIV/0!": Flaw.EXCEL_ERROR,
    "NaN": Flaw.NOT_A_NUMBER,
}


def test_amounts() -> None:
    found = one(Column(source="raw", name="a", kind="money", currency="CNY"), [*AMOUNTS, *NO_AMOUNTS])
    assert dict(zip(AMOUNTS, found["value"], strict=False)) == AMOUNTS
    assert found["value"][len(AMOUNTS) :].isna().all()
    assert dict(zip(NO_AMOUNTS, found["flaw"][len(AMOUNTS) :], strict=True)) == NO_AMOUNTS
    dollars = one(Column(source="raw", name="a", kind="money", currency="USD"), ["$1,234", "¥1,234"])
    assert list(dollars["flaw"]) == [0, Flaw.FOREIGN]
    dinars = one(Column(source="raw", name="a", kind="money", currency="KWD"), ["1,234", "1234.567"], minor=1000)
    assert list(dinars["flaw"]) == [Flaw.DECIMAL_MARK, 0]


def test_scores_in_full_width_digits() -> None:
    found = one(Column(source="raw", name="s", kind="score", low=0, high=10), ["１０", "9", " 8\t", "7.5"])
    assert list(found["value"][:3]) == [10, 9, 8]
    assert list(found["flaw"]) == [0, 0, 0, Flaw.FRACTION]


def test_ids_are_never_damaged() -> None:
    texts = ["000123", "110105194912310021", '="00012"', "1.23E+17", "12E4", " 7\t", "#REF!"]
    found = one(Column(source="raw", name="id", kind="id"), texts)
    assert list(found["value"][:3]) == ["000123", "110105194912310021", "00012"]
    assert list(found["value"][4:6]) == ["12E4", "7"]
    assert list(found["flaw"]) == [0, 0, 0, Flaw.SCIENTIFIC, 0, 0, Flaw.EXCEL_ERROR]


def test_a_column_of_serial_numbers_is_read_and_said(five: Tables, open_tables: Open) -> None:
    days = {
        f"2024-{month:02d}-01": str((dt.date(2024, month, 1) - dt.date(1899, 12, 30)).days) for month in range(1, 7)
    }
    tables = open_tables(*[("ledger.csv", f",{iso},", f",{serial},") for iso, serial in days.items()])
    assert tables.digest("ledger") == five.digest("ledger")
    assert [check.code for check in tables.checks] == ["ROX-I01"]
    assert "counted by Excel from 1900" in tables.checks[0].sentence()


def test_one_serial_number_among_dates_is_a_fault(open_tables: Open) -> None:
    with pytest.raises(DataError, match="answers · day · cannot be read"):
        open_tables(("answers.csv", "2024-02-05", "45327"))


def test_a_workbook_counted_from_1904_needs_no_care(five: Tables, write: Write, ledger_frame: pd.DataFrame) -> None:
    study = write(LEDGER_PATH)
    path = study.parent / "crm.xlsx"
    made = book(path, ledger_rows(ledger_frame))
    made.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    made.save(path)
    assert load(read_study(study)).digest("ledger") == five.digest("ledger")


def test_the_study_says_the_order_of_day_and_month(five: Tables, open_tables: Open) -> None:
    edits = [("answers.csv", "2024-04-02", "02/04/2024"), ("answers.csv", "2024-06-10", "10/06/2024")]
    with pytest.raises(DataError, match='add dates = "dmy"'):
        open_tables(*edits)
    said = ("study.toml", 'path = "answers.csv"', 'path = "answers.csv"\ndates = "dmy"')
    assert open_tables(*edits, said).digest("answers") == five.digest("answers")
