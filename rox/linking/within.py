"""Panel regression with customer and month effects at any size, exact, with errors clustered by customer.

Rows are read twice, from Parquet files or out of the embedded engine, and nothing row-sized is kept; on another engine
the same sums are taken there. What is kept is a few numbers per customer, for as many customers at a time as the
budget allows. For panels that are used again and again, :func:`rox.linking.within_write.write_layout` sorts the rows
into files by customer once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

from rox.core.errors import DataError, FitError
from rox.linking.within_engine import fit_in_engine
from rox.linking.within_layout import Layout, find_layout, from_layout
from rox.linking.within_rows import Panel, Roles, from_parquet, from_table, require
from rox.linking.within_sources import HasPanel, fetch_from, files_of, table_of
from rox.numerics.within import TwoWayFit
from rox.numerics.within_scan import two_way

MEBIBYTE = 1 << 20
Source: TypeAlias = HasPanel | pd.DataFrame | ir.Table | Layout | str | Path | Sequence[str | Path]


@dataclass(frozen=True, kw_only=True)
class PanelRegression:
    """A panel regression with customer and month effects.

    Attributes:
        outcome: The outcome.
        names: The regressors, in the order of the fit's arrays.
        fit: Slopes, clustered covariance and counts.
        missing: Rows left out because a value was missing.
    """

    outcome: str
    names: tuple[str, ...]
    fit: TwoWayFit
    missing: int

    def table(self) -> pd.DataFrame:
        """List slope, clustered standard error and the share of customers who identify it, by regressor."""
        columns = {"estimate": self.fit.coefficient, "se": self.fit.se, "identifying": self.fit.identifying}
        return pd.DataFrame(columns, index=pd.Index(self.names, name="regressor"))


def panel_regression(
    source: Source,
    *,
    outcome: str = "outcome",
    regressors: Sequence[str] = ("score",),
    customer: str = "customer",
    month: str = "month",
    segment: str | None = None,
    weight: str | None = None,
    fetch: Callable[[ir.Table], pd.DataFrame] | None = None,
    in_sql: bool = False,
    memory_mb: int = 512,
    threads: int | None = None,
) -> PanelRegression:
    """Regress money on regressors with customer and month effects, errors clustered by customer.

    Estimand: the slope among the months of one customer, what is common to a month (of a segment) removed. Causal only
    under strict exogeneity. It is least squares with all effects, exact on balanced and unbalanced panels, not an
    iteration. The covariance is CR1 with the factor G/(G−1) · (n−1)/(n−K), where K counts the slopes, one constant and
    the month effects' rank, but not the customer effects, which are nested in the clusters (Liang & Zeger 1986; as
    fixest does). Rows alone in their customer or month are dropped and counted, and so are rows with a missing value.

    Args:
        source: A linked panel, an Ibis table, a frame, Parquet files or folders of them, or a layout of
            :func:`rox.linking.within_write.write_layout`.
        outcome: Column of the outcome.
        regressors: Columns of the regressors.
        customer: Column that names the customer: whole numbers or text.
        month: Column of the month: whole numbers such as 12·year + month − 1, or dates.
        segment: Column of segments that have month effects of their own.
        weight: Column of positive weights.
        fetch: Runs an Ibis table that does not live in the embedded engine; a linked panel brings its own.
        in_sql: Let the engine take every sum, as is always done where it is not the embedded one.
        memory_mb: Budget for what is kept per customer, in MiB.
        threads: Shards of customers worked on at a time; by default as many as there are processors.

    Raises:
        DataError: A source or columns that cannot be used.
        FitError: Regressors that the effects absorb or that repeat others, each named, or too few customers.

    Example:
        >>> from rox.testing import sample_linked
        >>> found = panel_regression(sample_linked(seed=1))
        >>> found.names, found.fit.customers > 1000
        (('score',), True)
    """
    roles = Roles(
        outcome=outcome, regressors=tuple(regressors), customer=customer, month=month, segment=segment, weight=weight
    )
    workers = threads or os.cpu_count() or 1
    budget = memory_mb * MEBIBYTE
    found = _read(source, roles, fetch, budget, workers)
    if not isinstance(found, Panel) and not in_sql and found[0].get_backend().name == "duckdb":
        found = from_table(*found, roles=roles, budget=budget)
    try:
        if isinstance(found, Panel):
            fit = two_way(found.shards, roles.regressors, found.axes, threads=workers if found.apart else 1)
            rows = found.rows
        else:
            fit, rows = fit_in_engine(*found, roles=roles)
    except pa.ArrowException as cause:
        raise DataError(f"The rows of the panel cannot be read ({type(cause).__name__}).") from None
    except ValueError as cause:
        raise FitError("This panel regression cannot be estimated.", str(cause).split("; ")) from cause
    return PanelRegression(outcome=outcome, names=roles.regressors, fit=fit, missing=rows - fit.n - fit.singletons)


def _read(
    source: Source,
    roles: Roles,
    fetch: Callable[[ir.Table], pd.DataFrame] | None,
    budget: int,
    workers: int,
) -> Panel | tuple[ir.Table, Callable[[ir.Table], pd.DataFrame]]:
    """Open a source: rows to be read here, or a table with its engine."""
    if isinstance(source, ir.Table):
        return source, fetch or fetch_from(source)
    if isinstance(source, HasPanel):
        if isinstance(source.panel, ir.Table):
            return source.panel, source.fetch
        source = cast(pd.DataFrame, source.panel)
    if isinstance(source, pd.DataFrame):
        require(roles, {str(name): True for name in source.columns}, "the frame")
        table = ibis.memtable(source[list(roles.columns)])
        return table, fetch_from(table)
    if isinstance(source, Layout):
        return from_layout(source, roles, budget, workers)
    if (layout := find_layout(source)) is not None:
        return from_layout(layout, roles, budget, workers)
    paths = files_of(source)
    return from_parquet(paths, roles, budget) or table_of(paths)
