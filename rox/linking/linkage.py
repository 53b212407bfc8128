"""What a link leaves behind in the engine, for other tables than the panel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import ibis.expr.types as ir
import pandas as pd

from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.linking.engine import Engine, literal
from rox.linking.expressions import real, rounded


@dataclass(frozen=True, kw_only=True, eq=False)
class Linkage:
    """The panel beside what it was made from.

    Attributes:
        engine: Where the tables are.
        panel: As :class:`rox.core.linked.Linked` describes it.
        people: One row per followed customer: what the panel says of them.
        exposures: Their answers, as :func:`rox.linking.exposures.exposures_of` lists them; None without a score.
        per_unit: How many whole numbers make one unit of the outcome.
        months: First and last month of money.
    """

    engine: Engine
    panel: ir.Table
    people: ir.Table
    exposures: ir.Table | None
    per_unit: int
    months: tuple[int, int]

    @property
    def money(self) -> ir.Table:
        """The panel's ``customer``, ``month`` and ``outcome``, the last in whole numbers."""
        outcome = self.panel.outcome.cast("float64") * real(self.per_unit)
        return self.panel.select("customer", "month", outcome=rounded(outcome))

    def answers(self, data: Linked) -> ir.Table:
        """Return the answers.

        Raises:
            DataError: No score is linked, or the money stands beside the answers.
        """
        require_ledger(data)
        if self.exposures is None:
            raise DataError("This needs answers.", ["link a score: rox.link(tables, score=…)"])
        return self.exposures


def require_ledger(data: Linked) -> None:
    """Do nothing if the money is by month.

    Raises:
        DataError: It stands beside the answers.
    """
    declared = data.study.outcomes.get(data.outcome)
    if declared is not None and declared.table == "answers":
        raise DataError(
            f"The money of {data.outcome!r} stands beside the answers, so there is none in other months.",
            ["link an outcome of the ledger"],
        )


def keep_frame(engine: Engine, frame: pd.DataFrame, name: str) -> ir.Table:
    """Give a frame to the engine as a stage."""
    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()
    stage = f"{name}_{digest[:16]}"
    if stage in engine.stages:
        return engine.stages[stage]
    path = engine.folder / f"from_{stage}.parquet"
    frame.to_parquet(path, index=False)
    return engine.stage(engine.relation(f"SELECT * FROM read_parquet({literal(str(path))})"), stage, of=digest)
