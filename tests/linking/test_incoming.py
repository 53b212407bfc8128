"""Tables from databases and from frames are checked, counted and hashed like files; no fault shows a password."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.study import Study, read_study
from rox.linking.engine import connect
from rox.linking.incoming import frame_as_file
from rox.linking.load import load
from rox.linking.tables import Tables
from rox.run import _ground

Write = Callable[..., Path]
Open = Callable[..., Tables]
PATH = 'path = "ledger.csv"'
QUERY = 'connection = "house"\nquery = """\nSELECT cust, month, balance, calls FROM money WHERE cust <> \'9999\';\n"""'


@pytest.fixture
def typed(ledger_frame: pd.DataFrame) -> pd.DataFrame:
    """The ledger with months as dates."""
    return ledger_frame.assign(month=pd.to_datetime(ledger_frame["month"]))


def declared(kind: str, where: str) -> tuple[tuple[str, str, str], ...]:
    connection = f'[connections.house]\nkind = "{kind}"\n{where}\n\n[tables.customers]'
    return ("study.toml", "[tables.customers]", connection), ("study.toml", PATH, QUERY)


def faults(study: Study, **options: object) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        load(study, **options)  # type: ignore[arg-type]
    return caught.value.faults


def test_a_frame_takes_the_place_of_a_file(five: Tables, read: Callable[..., Study], typed: pd.DataFrame) -> None:
    study = read(("ledger.csv", "0001,2024-01-01", "9999,2024-01-01"))
    assert load(study, frames={"ledger": typed}).fingerprint == five.fingerprint
    categories = typed.assign(cust=typed["cust"].astype("category"), calls=typed["calls"].astype("Int64"))
    assert load(study, frames={"ledger": categories}).fingerprint == five.fingerprint
    other = typed.assign(balance=typed["balance"] + (typed.index == 3))
    assert load(study, frames={"ledger": other}).digest("ledger") != five.digest("ledger")


def test_nan_in_a_frame_is_a_missing_value(five: Tables, read: Callable[..., Study], typed: pd.DataFrame) -> None:
    answers = five.fetch(five.tables["answers"]).rename(
        columns={"key": "answer", "customer": "cust", "date": "day", "nps": "q1", "csat": "q2"}
    )
    assert answers["q1"].isna().sum() == 1
    assert load(read(), frames={"answers": answers}).fingerprint == five.fingerprint
    typed.loc[4, "balance"] = np.nan
    assert faults(read(), frames={"ledger": typed}) == ("ledger · balance · missing · 1 row, at row 5",)


def test_faults_of_frames_are_told_without_a_value(read: Callable[..., Study], typed: pd.DataFrame) -> None:
    study = read()
    mixed = typed.astype({"balance": object})
    mixed.loc[2, "balance"] = "Secretname"
    twice = pd.concat([typed, typed[["calls"]]], axis=1)
    unnamed = typed.rename(columns={"cust": 7})
    found = faults(study, frames={"ledger": mixed, "answers": twice, "customers": unnamed, "money": typed})
    assert found[0].startswith("frames · the study has no table 'money'; its tables are customers, answers")
    assert "customers · column 7: its name must be text" in found
    assert "answers · two columns are called 'calls'" in found
    assert any(line.startswith("ledger · balance · values of several types") for line in found)
    assert "Secretname" not in str(found)
    intervals = typed.assign(calls=pd.to_timedelta(typed["calls"], unit="D"))
    assert any("calls · duration[ns] is not read" in line for line in faults(study, frames={"ledger": intervals}))
    dropped = typed.drop(columns="balance").assign(cust=typed["cust"].astype(float))
    found = faults(study, frames={"ledger": dropped})
    assert "ledger · balance · no such column; found: cust, month, calls" in found
    assert any("ids stored as floating point numbers" in line for line in found)


def test_a_frame_is_written_row_by_row_as_it_stands() -> None:
    engine = connect()
    frame = pd.DataFrame({"a": [2**53 + 1, 1], "b": ["x", None]}, index=[7, 3])
    path = frame_as_file(engine, frame)
    assert duckdb.sql(f"SELECT * FROM '{path}'").fetchall() == [(2**53 + 1, "x"), (1, None)]


@pytest.fixture
def house(write: Write, typed: pd.DataFrame) -> Path:
    """A study whose ledger stands in a DuckDB file."""
    study = write(*declared("duckdb", 'path = "house.duckdb"'))
    with duckdb.connect(str(study.parent / "house.duckdb")) as database:
        database.register("typed", typed)
        database.execute("CREATE TABLE money AS SELECT * FROM typed")
        database.execute("INSERT INTO money VALUES ('9999', DATE '2024-01-01', 1, 1)")
    return study


def test_a_query_runs_in_a_duckdb_file(five: Tables, house: Path) -> None:
    tables = load(read_study(house))
    assert tables.fingerprint == five.fingerprint
    with duckdb.connect(str(house.parent / "house.duckdb")) as database:
        database.execute("UPDATE money SET calls = -1 WHERE cust = '0001'")
    (fault,) = faults(read_study(house))
    assert fault.startswith("ledger · calls · below 0 · 6 rows")


def test_a_run_knows_when_a_database_may_have_changed(house: Path) -> None:
    ground = _ground(house, read_study(house))
    assert _ground(house, read_study(house)) == ground
    with duckdb.connect(str(house.parent / "house.duckdb")) as database:
        database.execute("UPDATE money SET calls = 0")
    assert _ground(house, read_study(house)) != ground
    text = house.read_text(encoding="utf-8")
    house.write_text(
        text.replace('"duckdb"\npath = "house.duckdb"', f'"postgres"\nurl_env = "{URL}"'), encoding="utf-8"
    )
    assert _ground(house, read_study(house)) != _ground(house, read_study(house))


def test_faults_of_a_duckdb_file(house: Path) -> None:
    text = house.read_text(encoding="utf-8")
    house.write_text(text.replace("FROM money", "FROM wealth"), encoding="utf-8")
    (fault,) = faults(read_study(house))
    assert fault.startswith("ledger · connections.house · The engine refused a query. Catalog Error")
    house.write_text(text.replace("SELECT cust,", "SET threads = 1; --"), encoding="utf-8")
    assert "The query gives no rows. a SELECT is needed" in str(faults(read_study(house)))
    house.write_text(text.replace("SELECT cust,", "SELECT md5(cust) AS cust,"), encoding="utf-8")
    assert "hash without a key" in str(faults(read_study(house)))
    house.write_text(text, encoding="utf-8")
    (house.parent / "house.duckdb").write_bytes(b"not a database" * 1000)
    assert "connections.house · The database cannot be opened." in str(faults(read_study(house)))
    (house.parent / "house.duckdb").unlink()
    with pytest.raises(DataError, match=r"connections\.house\.path: no file matches 'house\.duckdb'"):
        read_study(house)


def test_a_connection_says_what_its_kind_needs(write: Write) -> None:
    study = write(
        *declared("postgres", 'path = "x"'),
        ("study.toml", 'path = "answers.csv"', 'connection = "bank"\npath = "answers.csv"'),
        ("study.toml", 'path = "exits.csv"', 'connection = "bank"\nquery = "SELECT 1"'),
    )
    with pytest.raises(DataError) as caught:
        read_study(study)
    assert "connections.house: a connection of kind postgres needs `url_env`" in str(caught.value)
    assert "tables.answers: a table from a connection needs a query" in str(caught.value)
    study.write_text(
        study.read_text(encoding="utf-8")
        .replace('path = "x"', 'url_env = "X"')
        .replace('connection = "bank"\npath', "path"),
        encoding="utf-8",
    )
    with pytest.raises(DataError, match=r"tables\.exits\.connection: 'bank' is not declared; declared are: house"):
        read_study(study)


URL = "ROX_TEST_POSTGRES"
SERVER = ("postgres", f'url_env = "{URL}"')


def test_a_missing_address_is_told(read: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL, raising=False)
    (fault,) = faults(read(*declared(*SERVER)))
    assert f"set the environment variable {URL} to postgresql://user:password@host:5432/database" in fault


def test_a_missing_driver_is_told(read: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, "postgresql://teller:Secretword@localhost/bank")
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    monkeypatch.delitem(sys.modules, "rox.linking.engine_postgres", raising=False)
    (fault,) = faults(read(*declared(*SERVER)))
    assert "pip install 'rox-research[postgres]'" in fault
    assert "Secretword" not in fault


def binaries() -> Path:
    """Find PostgreSQL's programs, which Debian keeps out of the path."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places or not (places[-1] / "initdb").is_file():
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    return places[-1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A throwaway PostgreSQL on a free port, with a user who has a password."""
    pytest.importorskip("adbc_driver_postgresql", reason="the driver is not installed (pip install '.[postgres]')")
    programs = binaries()
    folder = Path(tmp_path_factory.mktemp("pg")).resolve()
    user = []
    if os.geteuid() == 0:
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and runuser is not there")
        user = ["runuser", "-u", "postgres", "--"]
        folder = Path(subprocess.check_output([*user, "mktemp", "-d"], text=True).strip())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = folder / "secret"
    subprocess.run([*user, "sh", "-c", f"echo Secretword > {secret}"], check=True)
    run = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    initdb = ["-D", f"{folder}/data", "-U", "teller", "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8"]
    subprocess.run([*user, str(programs / "initdb"), *initdb, "--no-sync"], **run)  # type: ignore[call-overload]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*user, str(programs / "pg_ctl"), "-D", f"{folder}/data"]
    subprocess.run([*control, "-o", options, "-l", f"{folder}/log", "-w", "start"], **run)  # type: ignore[call-overload]
    yield f"postgresql://teller:Secretword@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], **run)  # type: ignore[call-overload]
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def filled(server: str, monkeypatch: pytest.MonkeyPatch, ledger_frame: pd.DataFrame) -> str:
    """The server with the ledger in it, its address in the environment."""
    from adbc_driver_postgresql import dbapi

    rows = ", ".join(
        f"('{row.cust}', '{row.month}', {row.balance}, {row.calls})" for row in ledger_frame.itertuples(index=False)
    )
    with dbapi.connect(server, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS money")
        cursor.execute("CREATE TABLE money (cust text, month date, balance numeric(12, 2), calls bigint)")
        cursor.execute(f"INSERT INTO money VALUES {rows}")
    monkeypatch.setenv(URL, server)
    return server


@pytest.mark.postgres
def test_a_query_runs_on_a_server(five: Tables, read: Callable[..., Study], filled: str) -> None:
    study = read(*declared(*SERVER))
    assert load(study).fingerprint == five.fingerprint
    instant = "month::timestamp AT TIME ZONE 'Asia/Shanghai' AS month,"
    assert (
        load(read(*declared(*SERVER), ("study.toml", "cust, month,", f"cust, {instant}"))).fingerprint
        == five.fingerprint
    )


@pytest.mark.postgres
def test_types_of_a_server(read: Callable[..., Study], filled: str) -> None:
    uuid = "('00000000-0000-0000-0000-00000000' || cust)::uuid::text"
    native = uuid.removesuffix("::text")
    customers = five_customers(uuid)
    study = read(*declared(*SERVER), ("study.toml", "SELECT cust,", f"SELECT {native} AS cust,"), *customers)
    assert load(study).counts["ledger"] == 28
    listed = read(*declared(*SERVER), ("study.toml", "calls FROM", "ARRAY[calls] AS calls FROM"))
    assert "calls · list<item: int64> is not read; cast the column" in str(faults(listed))


def five_customers(prefix: str) -> list[tuple[str, str, str]]:
    """Write the ids of the other files as the server writes its own."""
    whole = "00000000-0000-0000-0000-00000000"
    assert whole in prefix
    found = [("customers.csv", "\n000", f"\n{whole}000"), ("exits.csv", "\n000", f"\n{whole}000")]
    return [*found, ("answers.csv", ",000", f",{whole}000")]


@pytest.mark.postgres
def test_a_server_that_refuses_is_told_without_the_password(
    read: Callable[..., Study], filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read(*declared(*SERVER))
    port = filled.rsplit(":", 1)[1].split("/")[0]
    reasons = {
        filled.replace("Secretword", "Secretwork"): "user or password is wrong",
        filled.replace("/postgres", "/vault"): "there is no such user or database",
        filled.replace(port, "1"): "nothing listens at this address",
        filled.replace("Secretword", "Secret@wo/rd"): "connections.house",
        "Secretword": "is it postgresql://user:password@host/base?",
    }
    for url, why in reasons.items():
        monkeypatch.setenv(URL, url)
        with pytest.raises(DataError) as caught:
            load(study)
        (fault,) = caught.value.faults
        assert fault.startswith("ledger · connections.house · The server refused the connection. ")
        assert why in fault
        chain: BaseException | None = caught.value
        while chain is not None:
            assert "Secret" not in str(chain)
            assert "wo/rd" not in str(chain)
            chain = chain.__cause__


@pytest.mark.postgres
def test_a_query_the_server_refuses_is_told_without_a_value(read: Callable[..., Study], filled: str) -> None:
    def fault(old: str, new: str) -> str:
        (found,) = faults(read(*declared(*SERVER), ("study.toml", old, new)))
        return found

    assert 'The server refused the query. relation "wealth" does not exist' in fault("FROM money", "FROM wealth")
    conversion = fault("SELECT cust,", "SELECT 'Secretname'::int AS cust,")
    assert conversion.endswith("The server refused the query. SQL state 22P02")
    within = fault("calls FROM", "(cust || 'Secretname')::int AS calls FROM")
    assert "The query failed while its rows were read. a value that cannot be converted" in within
    assert "Secretname" not in conversion + within
    selected = "SELECT cust, month, balance, calls FROM money WHERE cust <> '9999'"
    assert fault(selected, "DELETE FROM money RETURNING *").endswith("SQL state 25006")
    assert load(read(*declared(*SERVER))).counts["ledger"] == 28
