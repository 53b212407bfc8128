"""The change of a score between two waves, some customers answering in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from rox.core.errors import DataError
from rox.core.study import Scale
from rox.core.units import Unit
from rox.metrics.agreement import floored, least_change, support_of
from rox.metrics.answers import Measure, measures, require_direction, scored
from rox.metrics.cells import moments, overlaps
from rox.metrics.display import SHOWN_FROM, shown
from rox.metrics.estimates import covariance, ratio
from rox.metrics.source import TIMES, Tables, period, scale_of, time_label


def change(
    tables: Tables,
    score: str,
    first: str,
    second: str,
    *,
    by: Sequence[str] = (),
    wave: bool = False,
    level: float = 0.90,
    weighted: bool = True,
) -> pd.DataFrame:
    """Measure how much a score changed from one period to a later one.

    The standard error contains the covariance of the customers who answered in both; leaving it out is conservative for
    a stable panel. Where almost all answers, or almost all changes, are alike, it is at least that of the posterior of
    so many (see :mod:`rox.metrics.agreement`). Assumption: the kind of customer who answers did not change.

    Args:
        tables: Loaded tables.
        score: A score or driver of the study.
        first: The earlier period: ``2025``, ``2025Q3`` or ``2025-07``.
        second: The later period, of the same kind.
        by: Columns of answers or customers.
        wave: Whether months are those in which the invitation was sent.
        level: Level of the interval (Student's).
        weighted: Whether answers count with their design weight.

    Returns:
        One row per group present in both periods and metric (as in ``answers.scores``), the columns of
        ``display.shown``: ``value`` is the change; ``n`` counts the answers of both periods, ``n_eff`` is that of the
        smaller; then ``value_first``, ``value_second``, ``se_unpaired`` (without the covariance) and ``n_both``
        (customers in both).

    Raises:
        DataError: Periods that cannot be read, differ in kind, stand in the wrong order or hold no answers; and as in
            ``answers.scores``.
    """
    time, earlier, later = _times(first, second, by, wave)
    require_direction(tables, score)
    rows = scored(tables, score, (*by, time), weighted=weighted)
    within = rows.table[rows.keys[-1]].isin([earlier, later])
    rows = replace(rows, table=rows.table.filter(within))
    scale = scale_of(tables.study, score)
    what = measures(scale, rows.table.value)
    values = {measure.metric: measure.value for measure in what}
    frame = moments(tables, rows, values)
    waves = {when: frame[frame[time] == when].drop(columns=time).reset_index(drop=True) for when in (earlier, later)}
    if empty := [label for label, when in ((first, earlier), (second, later)) if waves[when].empty]:
        raise DataError(f"There are no answers to {score!r} in {' and '.join(empty)}.", _present(tables, score, time))
    shared = overlaps(tables, rows, values, time, later, earlier)
    parts = [_difference(waves[later], waves[earlier], shared, tuple(by), measure, scale, level) for measure in what]
    return shown(
        [part.assign(score=score) for part in parts],
        by=tuple(by),
        level=level,
        min_cell=tables.study.about.min_cell,
        shown_from=SHOWN_FROM,
    )


def _difference(
    later: pd.DataFrame,
    earlier: pd.DataFrame,
    shared: pd.DataFrame,
    by: tuple[str, ...],
    measure: Measure,
    scale: Scale,
    level: float,
) -> pd.DataFrame:
    """Join the two periods' estimates and subtract."""
    factor = 100 if measure.unit is Unit.NPS_POINT else 1
    support = support_of(measure.unit, scale)
    after, before = (ratio(each, by, measure.metric) for each in (later, earlier))
    after, before = (floored(each.assign(observed=each["se"] ** 2), support) for each in (after, before))
    together = covariance(later, earlier, shared, by, measure.metric)
    if by:
        both = after.merge(before, on=list(by), suffixes=("", "_first")).merge(together, on=list(by), how="left")
    else:
        both = after.join(before, rsuffix="_first").join(together)
    both = both.fillna({"covariance": 0.0, "both": 0.0})
    unpaired = both["se"] ** 2 + both["se_first"] ** 2
    step = both["value"] - both["value_first"]
    observed = np.maximum(both["observed"] + both["observed_first"] - 2 * both["covariance"], 0.0)
    least = least_change(step, observed, np.minimum(both["n_eff"], both["n_eff_first"]))
    se = factor * np.maximum(np.sqrt(np.maximum(unpaired - 2 * both["covariance"], 0.0)), least)
    value = factor * step
    half = stats.t.ppf((1 + level) / 2, np.minimum(both["df"], both["df_first"])) * se
    most = factor * (support[-1] - support[0])
    return both[list(by)].assign(
        metric=measure.metric,
        unit=str(measure.unit),
        value=value,
        se=se,
        low=np.maximum(value - half, -most),
        high=np.minimum(value + half, most),
        n=both["n"] + both["n_first"],
        n_eff=np.minimum(both["n_eff"], both["n_eff_first"]),
        customers=np.minimum(both["customers"], both["customers_first"]),
        method="t",
        value_first=factor * both["value_first"],
        value_second=factor * both["value"],
        se_unpaired=factor * np.sqrt(unpaired),
        n_both=both["both"],
    )


def _times(first: str, second: str, by: Sequence[str], wave: bool) -> tuple[str, int, int]:
    """Return the group that holds the time, and the numbers of the two periods."""
    (kind, earlier), (other, later) = period(first), period(second)
    faults = []
    if kind != other:
        faults.append(f"{first!r} is a {kind} and {second!r} a {other}; give two periods of the same kind")
    elif earlier >= later:
        faults.append(f"{second!r} does not come after {first!r}")
    if wave and kind != "month":
        faults.append("waves are told by the month of sending, such as 2025-03")
    if found := sorted(set(by) & set(TIMES)):
        faults.append(f"a change cannot be grouped by {', '.join(found)}")
    if faults:
        raise DataError(f"Cannot compare {first} with {second}.", faults)
    return ("wave" if wave else kind), earlier, later


def _present(tables: Tables, score: str, time: str) -> list[str]:
    """Say which periods hold answers."""
    frame = moments(tables, scored(tables, score, (time,)), {})
    labels = [time_label(int(number), time) for number in sorted(frame[time].unique())]
    return [f"answers run from {labels[0]} to {labels[-1]}" if labels else "there are no answers at all"]
