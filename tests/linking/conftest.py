"""A bank of five customers, small enough to link by hand."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from rox.core.study import Study, read_study
from rox.linking.load import load
from rox.linking.tables import Tables

STUDY = """
[study]
name = "five"
title = "Five customers"
currency = "CNY"
timezone = "Asia/Shanghai"
extract = 2024-06-30
min_cell = 1

[tables.customers]
path = "customers.csv"
columns = { customer = "cust", segment = "seg", unit = "branch", opened = "since", weight = "w" }
controls = ["age"]

[tables.answers]
path = "answers.csv"
columns = { key = "answer", customer = "cust", date = "day" }

[tables.ledger]
path = "ledger.csv"
columns = { customer = "cust", month = "month" }

[tables.exits]
path = "exits.csv"
columns = { customer = "cust", date = "left", reason = "why" }
voluntary = ["fees"]

[tables.initiatives]
path = "initiatives.csv"
columns = { initiative = "what", unit = "branch", start = "from" }

[scores.nps]
column = "q1"
low = 0
high = 10
kind = "nps"
label = "Recommend"

[scores.csat]
column = "q2"
low = 1
high = 5
kind = "csat"
label = "Satisfied"

[outcomes.aum]
column = "balance"
kind = "stock"
label = "Assets"

[outcomes.calls]
column = "calls"
kind = "count"
label = "Calls"

[initiatives.refit]
label = "Refit"
assigned = "random"
"""

CUSTOMERS = """cust,seg,branch,since,w,age,name
0001,gold,B1,2023-01-10,2.0,40,Secretname
0002,mass,B1,2023-01-10,1.5,50,Secretname
0003,mass,B2,2023-01-10,1.0,60,Secretname
0004,mass,B2,2023-01-10,1.0,35,Secretname
0005,gold,B2,2023-12-31,3.0,45,Secretname
"""

ANSWERS = """answer,cust,day,q1,q2
A1,0001,2024-01-31,9,5
A2,0001,2024-04-02,4,2
A3,0002,2024-02-05,3,3
A4,0002,2024-02-20,7,4
A5,0004,2023-06-30,10,5
A6,0005,2024-02-01,,5
A8,0005,2024-06-10,2,1
A7,0005,2024-06-10,6,3
A9,0002,2024-04-10,8,4
"""

EXITS = """cust,left,why
0002,2024-04-15,fees
"""

INITIATIVES = """what,branch,from
refit,B1,2024-03-01
"""


def _ledger() -> str:
    lines = ["cust,month,balance,calls"]
    for customer, last in (("0001", 6), ("0002", 4), ("0003", 6), ("0004", 6), ("0005", 6)):
        lines += [
            f"{customer},2024-{month:02d}-01,{int(customer)}0{month}.5{month},{month}" for month in range(1, last + 1)
        ]
    return "\n".join(lines) + "\n"


FILES = {
    "study.toml": STUDY,
    "customers.csv": CUSTOMERS,
    "answers.csv": ANSWERS,
    "ledger.csv": _ledger(),
    "exits.csv": EXITS,
    "initiatives.csv": INITIATIVES,
}

Write = Callable[..., Path]


def write_five(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """Write the five customers' study into a folder, after replacing (file, old, new)."""
    files = dict(FILES)
    for file, old, new in edits:
        assert old in files[file], f"{old!r} is not in {file}"
        files[file] = files[file].replace(old, new)
    folder.mkdir(exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder / "study.toml"


@pytest.fixture(scope="session")
def five(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The five customers, loaded."""
    return load(read_study(write_five(tmp_path_factory.mktemp("bank") / "five")))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the study somewhere of its own."""
    return lambda *edits, folder="five": write_five(tmp_path / folder, *edits)


@pytest.fixture
def read(write: Write) -> Callable[..., Study]:
    """Write and read the study."""
    return lambda *edits, **more: read_study(write(*edits, **more))


@pytest.fixture
def open_tables(read: Callable[..., Study]) -> Callable[..., Tables]:
    """Write, read and load the study."""
    return lambda *edits, **more: load(read(*edits, **more))


@pytest.fixture
def ledger_frame() -> pd.DataFrame:
    """The ledger as a frame, ids as text."""
    return pd.read_csv(StringIO(FILES["ledger.csv"]), dtype={"cust": str})
