"""Write a bank as the files a company would hand over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rox.core.files import written_whole
from rox.simulate.bank import Bank
from rox.simulate.tables import tables

_SCHEMAS = {
    "ledger": pa.schema(
        [
            ("customer_id", pa.string()),
            ("month", pa.date32()),
            ("aum", pa.float64()),
            ("revenue", pa.float64()),
            ("contacts", pa.int32()),
        ]
    ),
    "events": pa.schema(
        [("customer_id", pa.string()), ("month", pa.date32()), ("event", pa.string()), ("count", pa.int32())]
    ),
}


def write_bank(bank: Bank, folder: str | Path, *, extra: Sequence[str] = ()) -> tuple[Path, ...]:
    """Write the tables of a bank: ``ledger`` and ``events`` as Parquet, the others as CSV.

    The same bank gives the same bytes with the same pyarrow. Each file is written whole or not at all; other files of
    the folder are left alone.

    Args:
        bank: A simulated bank.
        folder: Where to write; made if missing.
        extra: Tables wanted besides those always there: see :func:`rox.simulate.tables`.

    Returns:
        The files written.

    Raises:
        RoxError: A name in ``extra`` is not a table.
    """
    written = []
    for name, frame in tables(bank, extra=extra).items():
        schema = _SCHEMAS.get(name)
        path = Path(folder) / f"{name}.{'csv' if schema is None else 'parquet'}"
        with written_whole(path) as draft:
            if schema is None:
                _write_csv(frame, draft)
            else:
                pq.write_table(
                    pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(None),
                    draft,
                    version="2.6",
                    compression="zstd",
                    compression_level=9,
                    use_dictionary=["customer_id", "month"] + (["event"] if name == "events" else ["contacts"]),
                    row_group_size=1 << 20,
                )
        written.append(path)
    return tuple(written)


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write UTF-8 with dates as ``YYYY-MM-DD`` and nothing for what is missing."""
    frame.to_csv(path, index=False, encoding="utf-8", lineterminator="\n", date_format="%Y-%m-%d")
