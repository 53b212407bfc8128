"""Readings of experience in the panel: what all answers so far tell, beside the last one as it was said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from rox.core.errors import DataError
from rox.core.linked import Linked, Step, month_label
from rox.core.score_parts import ScoreParts
from rox.linking.expressions import nothing, real
from rox.linking.linkage import Linkage, keep_frame
from rox.linking.tables import fingerprint_of
from rox.numerics.kalman import score_readings

READINGS = ("reading", "trait", "passing")
SHOWN = 3


def calibrated_panel(data: Linked, linkage: Linkage, parts: ScoreParts) -> ir.Table:
    """Add readings to the panel; see :meth:`rox.core.linked.Linked.calibrated`.

    The recursion runs over a customer's answers in their order, each step needing the one before, which SQL has no
    portable form for. So only the answers are fetched, a few numbers each; the recursion runs over all customers at
    once by number of answer; and the state after each answer goes back as a table with its months of validity. However
    long the panel, its readings are one join of months to intervals and one power.

    Answers enter in the order in which they were given. One that became known only after a later one is left out, so
    that the state after an answer holds nothing that was not known when it began to count.

    Raises:
        DataError: A link without answers, or means that lack a month in which somebody answered.
    """
    if taken := [name for name in READINGS if name in linkage.panel.columns]:
        raise DataError("This panel has readings already.", [f"column {name!r} is there" for name in taken])
    answers = _answers(data, linkage)
    means = _means(answers, parts)
    states = keep_frame(linkage.engine, _states(answers, means, parts), "readings")
    expected = keep_frame(linkage.engine, _expected(means, linkage.months), "expected_scores")
    panel = linkage.panel
    rows = panel.left_join(
        states,
        [panel.customer == states.whose, panel.month >= states.begin, panel.month <= states.until],
    )
    rows = rows.left_join(expected, [rows.segment == expected.group, rows.month == expected.at])
    counts = rows.score.notnull() & rows.said.notnull()
    left = real(parts.memory) ** (rows.month - rows.said).cast("float64")
    passing = rows.state * left
    columns: dict[str, Any] = {
        "reading": rows.expected + rows.lasting + passing,
        "trait": rows.lasting,
        "passing": passing,
    }
    return rows.select(
        *panel.columns, **{name: counts.ifelse(value, nothing("float64")) for name, value in columns.items()}
    )


def with_readings(data: Linked, parts: ScoreParts, panel: Any) -> Linked:
    """Put a panel with readings in the place of the one without, with a trail and a fingerprint that say so."""
    found = replace(data, panel=panel)
    if isinstance(panel, pd.DataFrame):
        read = panel[panel["reading"].notna()]
        rows, customers = len(read), int(read["customer"].nunique())
    else:
        read = panel.filter(panel.reading.notnull())
        counts = data.fetch(read.aggregate(rows=read.count(), people=read.customer.nunique())).iloc[0]
        rows, customers = int(counts["rows"]), int(counts["people"])
    step = Step(name="readings", rows=rows, lost=0, customers=customers, reason="linking.step.readings")
    numbers = {name: getattr(parts, name) for name in ("lasting", "passing", "memory", "noise")}
    means = None
    if parts.means is not None:
        ordered = parts.means.sort_values(["segment", "month"])[["segment", "month", "mean"]]
        means = pd.util.hash_pandas_object(ordered, index=False).sum()
    mark = fingerprint_of({"panel": data.fingerprint, "means": means, **numbers})
    return replace(found, trail=(*data.trail, step), fingerprint=mark)


def _answers(data: Linked, linkage: Linkage) -> pd.DataFrame:
    """Fetch the answers that count, in the order in which they were given and became known."""
    exposures = linkage.answers(data)
    in_order = exposures.later.isnull() | (exposures.begin <= exposures.later)
    counted = exposures.filter(exposures.is_open == 1, in_order)
    people = linkage.people.select("segment", whose="customer")
    counted = counted.inner_join(people, counted.customer == people.whose)
    found = linkage.engine.fetch(
        counted.select("customer", "number", "said", "begin", "until", "segment", score=counted.score.cast("float64"))
    )
    return found.sort_values(["customer", "number"], ignore_index=True)


def _means(answers: pd.DataFrame, parts: ScoreParts) -> pd.DataFrame:
    """Return the mean answer by segment and month; every month in which somebody answered must have one."""
    own = (
        answers.groupby(["segment", "said"], as_index=False)
        .agg(mean=("score", "mean"))
        .rename(columns={"said": "month"})
    )
    if parts.means is None:
        return own
    given = parts.means[["segment", "month", "mean"]].astype({"month": "int64", "mean": "float64"})
    lacking = own.merge(given, on=["segment", "month"], how="left", suffixes=("_own", ""))
    lacking = lacking[lacking["mean"].isna()]
    if len(lacking):
        first = zip(lacking["segment"].head(SHOWN), lacking["month"].head(SHOWN), strict=True)
        some = ", ".join(f"{segment} {month_label(month)}" for segment, month in first)
        raise DataError(
            "The mean answers do not cover the answers.",
            [f"{len(lacking)} segments and months have answers but no mean: {some}; add them, or leave means out"],
        )
    return given


def _states(answers: pd.DataFrame, means: pd.DataFrame, parts: ScoreParts) -> pd.DataFrame:
    """Run the recursion: what is known after each answer, and the months in which that is the latest."""
    at = answers.merge(means, left_on=["segment", "said"], right_on=["segment", "month"], how="left")
    found = score_readings(
        answers["customer"],
        answers["said"],
        answers["score"].to_numpy() - at["mean"].to_numpy(),
        lasting=parts.lasting,
        passing=parts.passing,
        memory=parts.memory,
        noise=parts.noise,
    )
    states = answers[["customer", "said", "begin", "until"]].rename(columns={"customer": "whose"})
    states = states.assign(lasting=np.asarray(found.trait), state=np.asarray(found.passing))
    return states[states["until"] >= states["begin"]].reset_index(drop=True)


def _expected(means: pd.DataFrame, months: tuple[int, int]) -> pd.DataFrame:
    """Carry the mean answer of each segment forward, so that a month is told by the last mean of an earlier month."""
    wide = means.pivot(index="month", columns="segment", values="mean")
    span = range(min(int(wide.index.min()), months[0]), months[1] + 1)
    carried = wide.reindex(span).ffill().shift(1)
    long = carried.rename_axis("at").reset_index().melt(id_vars="at", var_name="group", value_name="expected")
    return long.dropna(ignore_index=True).astype({"group": object, "at": "int64"})
