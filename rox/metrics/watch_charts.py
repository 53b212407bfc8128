"""Charts of groups through time: residuals against their limits, and what each alarm would come back by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.metrics.display import ALL
from rox.metrics.source import time_label
from rox.numerics.monitoring import Chart, cusum, ewma
from rox.numerics.recursive import Judged

Floats = NDArray[np.float64]
Key = tuple[str, ...]
WEIGHT = 0.2
"""Of the newest period in a moving average."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """One group's way through time: periods, values and variances of sampling, and how each period was judged.

    ``errors`` is ``v``, or the covariance of the errors where the season is taken out.
    """

    key: Key
    at: NDArray[np.int64]
    y: Floats
    v: Floats
    errors: Floats
    judged: Judged


def charted(
    courses: Sequence[Course], levels: Key, every: str, learn: int, run_length: float
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Chart every group, and start its charts again after each alarm.

    Args:
        courses: The groups.
        levels: Names of the parts of their keys.
        every: Kind of the periods.
        learn: Periods before the first that is charted.
        run_length: Periods between false alarms of a moving average at rest.

    Returns:
        The frames ``charts`` and ``alarms``, and the run lengths by chart.
    """
    charts, alarms = [], []
    lengths: dict[str, float] = {}
    for course in courses:
        e = course.judged.residual[learn:]
        average, at_average = _restarted(lambda part: ewma(part, weight=WEIGHT, run_length=run_length), e)
        sums, at_sums = _restarted(cusum, e)
        lengths = {"ewma": average.run_length, "cusum": sums.run_length}
        named = dict(zip(levels, course.key, strict=True))
        times = [time_label(int(each), every) for each in course.at[learn:]]
        charts.append(
            pd.DataFrame(
                {
                    every: times,
                    "residual": e,
                    "ewma": average.upper,
                    "ewma_limit": average.limit,
                    "cusum_up": sums.upper,
                    "cusum_down": sums.lower,
                    "cusum_limit": sums.limit,
                }
            ).assign(**named)
        )
        for name, chart, places in (("ewma", average, at_average), ("cusum", sums, at_sums)):
            for place in places:
                here, before = learn + place, course.y[: learn + place]
                process = float(course.judged.process[here])
                expected = float(np.average(before, weights=1 / (course.v[:here] + process)))
                kept = float(course.judged.rho[here]) * process / (process + float(course.v[here]))
                alarms.append(
                    {
                        **named,
                        "chart": name,
                        every: times[place],
                        "direction": 1 if chart.upper[place] > chart.limit[place] else -1,
                        "value": float(course.y[here]),
                        "expected": expected,
                        "rebound": -(1 - kept) * (float(course.y[here]) - expected),
                    }
                )
    columns = [*levels, "chart", every, "direction", "value", "expected", "rebound"]
    frame = pd.concat(charts, ignore_index=True)
    return (
        frame[[*levels, *frame.columns.difference(list(levels), sort=False)]],
        pd.DataFrame(alarms, columns=columns),
        lengths,
    )


def _restarted(make: Callable[[Floats], Chart], residual: Floats) -> tuple[Chart, list[int]]:
    """Draw a chart that starts again after each alarm; return it and where the alarms are."""
    upper, lower, limit = (np.empty(residual.size) for _ in range(3))
    start, found, length = 0, [], np.nan
    while start < residual.size:
        chart = make(residual[start:])
        passed = np.flatnonzero(chart.alarms)
        stop = start + int(passed[0]) + 1 if passed.size else residual.size
        for held, part in ((upper, chart.upper), (lower, chart.lower), (limit, chart.limit)):
            held[start:stop] = part[: stop - start]
        if passed.size:
            found.append(stop - 1)
        start, length = stop, chart.run_length
    return Chart(upper=upper, lower=lower, limit=limit, run_length=length), found


def depth_of(key: Key) -> int:
    """Return how many levels down a tree a group stands, zero for the whole."""
    return max((place + 1 for place, each in enumerate(key) if each != ALL), default=0)
