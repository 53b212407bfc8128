"""PostgreSQL: a query is run there and its rows are read as Arrow batches. Imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from adbc_driver_manager import Error
from adbc_driver_postgresql import dbapi

from rox.core.errors import DataError

SPEAKS_OF_SQL = "42"
"""Class of the states (SQL standard) whose message names a relation, a column or a word; others may quote a value."""

REASONS = (
    ("password authentication failed", "user or password is wrong"),
    ("no password supplied", "a password is needed"),
    ("no pg_hba.conf entry", "the server does not admit this user from this machine"),
    ("Connection refused", "nothing listens at this address"),
    ("could not translate host name", "the name of the host is not known"),
    ("does not exist", "there is no such user or database"),
    ("timeout", "no answer in time"),
)


def read_server(url: str, query: str, write: Callable[[pa.RecordBatchReader], None]) -> None:
    """Run a query on a server and hand its rows over in batches. No message shows the address or a value.

    Args:
        url: ``postgresql://user:password@host:port/database``.
        query: What to run.
        write: Takes the batches.

    Raises:
        DataError: The server cannot be reached, or it refuses the query.
    """
    try:
        connection: Any = dbapi.connect(url)
    except Error as cause:
        why = next(
            (said for sign, said in REASONS if sign in str(cause)), "is it postgresql://user:password@host/base?"
        )
        raise DataError("The server refused the connection.", [why]) from None
    with connection, connection.cursor() as cursor:
        try:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(query)
            write(cursor.fetch_record_batch())
        except Error as cause:
            state = cause.sqlstate or ""
            said = str(cause).splitlines()[0].split("ERROR:")[-1].strip()
            shown = said if state.startswith(SPEAKS_OF_SQL) else f"SQL state {state or 'unknown'}"
            raise DataError("The server refused the query.", [shown]) from None
        except OSError as cause:
            if cause.errno is not None:
                raise
            why = "a value that cannot be converted, or the connection broke; try the query in the database"
            raise DataError("The query failed while its rows were read.", [why]) from None
