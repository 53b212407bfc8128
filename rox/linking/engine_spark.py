"""Spark: the same expressions as on DuckDB, over the typed tables as Parquet files. Imported only when asked for."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import SparkSession

from rox.core.errors import DataError
from rox.core.study import EngineOptions

NEEDS_JAVA = "Spark needs Java 17 or 21: install it (Debian: apt install openjdk-17-jre-headless) or set JAVA_HOME"
MEBIBYTES = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
CONNECT_PORT = 15002
PATIENCE = 10.0
"""Seconds to wait for a server's first sign of life."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, eq=False)
class Spark:
    """A Spark session behind Ibis.

    Attributes:
        session: The session.
        backend: The Ibis backend.
        mark: Keeps the names of this engine's views apart from others in the same session.
        name: Of this engine.
    """

    session: Any
    backend: Any
    name: str
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def table(self, path: Path, name: str, schema: Any) -> ir.Table:
        """Return a Parquet file, or a folder of them, as a table; ``schema`` is what it was written with.

        Raises:
            DataError: Spark cannot read it.
        """
        view = f"rox_{self.mark}_{name}"
        columns = ", ".join(f"{quoted(each)} {self._type(kind)}" for each, kind in schema.items())
        guarded(lambda: self.session.read.schema(columns).parquet(f"file://{path}").createOrReplaceTempView(view))
        return guarded(lambda: self.backend.table(view))

    def sql(self, expression: ir.Table) -> str:
        """Return the SQL of an expression."""
        return str(self.backend.compile(expression))

    def arrow(self, expression: ir.Table) -> pa.Table:
        """Run an expression and return its rows; integers stay exact, which they do not on the way through pandas.

        Raises:
            DataError: The computation failed.
        """
        # Frames in the expression become views.
        self.backend._run_pre_execute_hooks(expression)
        return guarded(lambda: self.session.sql(self.sql(expression)).toArrow())

    def write(self, expression: ir.Table, path: Path) -> None:
        """Compute an expression into a folder of Parquet files, the columns in the types that the expression says.

        Raises:
            DataError: The computation failed.
        """
        columns = ", ".join(
            f"CAST({quoted(name)} AS {self._type(kind)}) AS {quoted(name)}"
            for name, kind in expression.schema().items()
        )
        sql = f"SELECT {columns} FROM ({self.sql(expression)})"
        guarded(lambda: self.session.sql(sql).write.parquet(f"file://{path}"))

    def _type(self, kind: Any) -> str:
        return str(self.backend.compiler.type_mapper.to_string(kind))


def open_spark(options: EngineOptions, *, memory_limit: str, temp: Path | None) -> Spark:
    """Open a Spark session, or use the one that is open.

    Settings apply to a session that this opens; one that was open keeps its own, as far as Spark lets them be changed.
    The session stays open for the next study.

    Args:
        options: Where Spark runs, and its settings.
        memory_limit: Memory of the driver, for Spark in this machine.
        temp: Where Spark puts what does not fit into memory.

    Raises:
        DataError: Spark does not start.
    """
    # It writes each failure, with pieces of the data, to the error stream as JSON.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    is_new = SparkSession.getActiveSession() is None
    builder = SparkSession.builder
    if options.remote is not None:
        _require_server(options.remote)
        builder = builder.remote(options.remote)
        settings: Mapping[str, Any] = options.settings
    else:
        if is_new and shutil.which("java", path=_java_path()) is None:
            raise DataError("Spark does not start.", [NEEDS_JAVA])
        builder = builder.appName("rox").master(options.master or f"local[{options.threads or '*'}]")
        settings = _defaults(options, memory_limit, temp) | dict(options.settings)
    for name, value in settings.items():
        builder = builder.config(name, str(value).lower() if isinstance(value, bool) else str(value))
    try:
        session = builder.getOrCreate()
        if is_new and options.remote is None:
            session.sparkContext.setLogLevel("OFF")
        return Spark(session=session, backend=ibis.pyspark.connect(session), name=f"spark {session.version}")
    except (PySparkException, Py4JError, OSError) as cause:
        wanted = NEEDS_JAVA if options.remote is None else f"{options.remote} must be a Spark Connect server"
        fault = f"{wanted}; are engine.master and engine.settings right? ({type(cause).__name__})"
        raise DataError("Spark does not start.", [fault]) from cause


def guarded(run: Callable[[], Answer]) -> Answer:
    """Run, and turn a fault of Spark into one that shows no data.

    Raises:
        DataError: It failed.
    """
    try:
        return run()
    except AnalysisException as cause:
        first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
        raise DataError("The engine refused a query.", [first]) from cause
    except PySparkException as cause:
        what = cause.getCondition() or type(cause).__name__
        raise DataError(f"The engine failed on the data ({what}).") from None
    except Py4JError as cause:
        raise DataError(f"The engine failed on the data ({type(cause).__name__}).") from None


def quoted(name: str) -> str:
    """Write a name as an identifier of Spark's SQL."""
    return "`" + name.replace("`", "``") + "`"


def _defaults(options: EngineOptions, memory_limit: str, temp: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "spark.ui.enabled": False,
        "spark.ui.showConsoleProgress": False,
        "spark.sql.session.timeZone": "UTC",
    }
    if not options.is_elsewhere:
        found |= {
            "spark.driver.memory": f"{_mebibytes(memory_limit)}m",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.sql.shuffle.partitions": 2 * (options.threads or os.cpu_count() or 1),
        }
        if temp is not None:
            found["spark.local.dir"] = str(temp)
    return found


def _mebibytes(memory_limit: str) -> int:
    found = re.fullmatch(r"([\d.]+) ?([KMGT])i?B", memory_limit)
    if found is None:
        raise DataError("The engine cannot be opened.", [f"memory_limit {memory_limit!r}: write 500MB or 4GB"])
    return max(1, int(float(found[1]) * MEBIBYTES[found[2]]))


def _require_server(remote: str) -> None:
    """Find out at once whether anybody listens: Spark itself goes on trying for minutes.

    Raises:
        DataError: Nobody does.
    """
    address = urlsplit(remote)
    try:
        socket.create_connection((address.hostname or "", address.port or CONNECT_PORT), timeout=PATIENCE).close()
    except (OSError, ValueError) as cause:
        raise DataError("Spark does not start.", [f"engine.remote: nothing answers at {remote}"]) from cause


def _java_path() -> str:
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin" if home else os.environ.get("PATH", "")
