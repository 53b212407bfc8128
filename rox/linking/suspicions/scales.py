"""Questions whose answers are not on the scale that is declared, or run against the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from math import gcd, sqrt
from typing import Any

import ibis
import numpy as np
import pandas as pd

from rox.core.check import Check
from rox.core.linked import month_label
from rox.core.study import Scale, Study
from rox.linking.contract import Staged
from rox.linking.engine import Engine
from rox.linking.expressions import how_many, indicator, month_of, total
from rox.linking.suspicions.finding import note, stop
from rox.linking.suspicions.thresholds import (
    AGAINST,
    LEAST_ANSWERS,
    LOWEST_USED,
    MOVED_END,
    NEW_END,
    SURE,
    USED_SCALE_ANSWERS,
)

QUESTIONS_AT_ONCE = 20
TWO_SIDED_99 = 2.576


def about_scales(engine: Engine, study: Study, staged: Mapping[str, Staged]) -> Iterator[Check]:
    """Count the answers to every question by month and value in one scan, and compare questions in another."""
    answers = staged.get("answers")
    scales = {**study.scores, **study.drivers}
    if answers is None or "date" not in answers:
        return
    there = [name for name in scales if name in answers]
    if not there:
        return
    read = answers.table
    parts = [
        read.select(question=ibis.literal(i, "int64"), month=month_of(read.date), value=read[name].cast("int64"))
        for i, name in enumerate(there)
    ]
    rows = reduce(lambda one, other: one.union(other), parts)
    rows = rows.filter(rows.value.notnull())
    counts = engine.fetch(rows.group_by("question", "month", "value").aggregate(n=rows.count()))
    for i, name in enumerate(there):
        yield from _about_one(name, scales[name], counts[counts["question"] == i])
    yield from _directions(engine, study, answers, there)


def _about_one(name: str, scale: Scale, counts: pd.DataFrame) -> Iterator[Check]:
    """Compare the answers to a question with its scale."""
    used = counts.groupby("value")["n"].sum()
    answers = int(used.sum())
    if answers < LEAST_ANSWERS:
        return
    lowest, highest = int(used.index.min()), int(used.index.max())
    values: dict[str, str | int | float] = {"metric": name, "low": scale.low, "high": scale.high, "count": answers}
    if (lowest, highest) == (scale.low - 1, scale.high - 1):
        yield stop("ROX-K22", **values, lowest=lowest, highest=highest)
        return
    if len(used) == 1:
        yield note("ROX-K10", table="answers", column=scale.column)
        return
    if changed := _changed(counts):
        yield stop("ROX-M04", metric=name, **changed)
        return
    if answers < USED_SCALE_ANSWERS or lowest < scale.low or highest > scale.high:
        return
    steps = scale.high - scale.low
    apart = reduce(gcd, (int(value) - lowest for value in used.index))
    if steps >= 10 and 2 * (highest - scale.low) <= steps:
        yield stop("ROX-K19", **values, lowest=lowest, highest=highest)
    elif steps >= 10 and apart > 1:
        yield note("ROX-K20", **values, apart=apart, lowest=lowest, highest=highest)
    elif (scale.low, lowest, highest) == (0, 1, scale.high) and steps >= 10 and int(used[lowest]) >= LOWEST_USED:
        yield note("ROX-K21", **values, lowest=lowest, given=int(used[lowest]))


def _changed(counts: pd.DataFrame) -> dict[str, str | int | float]:
    """Find the month from which the answers reach much higher than before, or no longer as high.

    For each month: how probable is it that none of the answers on one side of it are as high as a share of those on the
    other side? The month with the least probability is taken. Only the upper end is looked at: satisfied pioneers may
    leave the lower one unused, but no company begins with customers who never tick the upper half.
    """
    table = counts.dropna(subset="month")
    table = table.pivot_table(index="month", columns="value", values="n", fill_value=0).sort_index()
    least, months = np.log(SURE / max(len(table), 1)), table.index.to_numpy()
    found: dict[str, str | int | float] = {}
    points = table.columns.to_numpy()
    for at in range(1, len(table)):
        sides = table.iloc[:at].sum().to_numpy(), table.iloc[at:].sum().to_numpy()
        highest = [int(points[side > 0].max()) for side in sides]
        one, other = sides if highest[0] < highest[1] else sides[::-1]
        beyond = other[points > min(highest)].sum() / (other.sum() + 1)
        if abs(highest[0] - highest[1]) < MOVED_END * (points.max() - points.min()) or beyond < NEW_END:
            continue
        if (chance := float(one.sum() * np.log1p(-beyond))) < least:
            least = chance
            found = {"date": month_label(int(months[at])), "before": highest[0], "after": highest[1]}
    return found


def _directions(engine: Engine, study: Study, answers: Staged, names: list[str]) -> Iterator[Check]:
    """Find questions that run against the one that recommends, or if there is none against the first one."""
    scales = {**study.scores, **study.drivers}
    reference = next((name for name in names if scales[name].kind == "nps"), names[0])
    others = [name for name in names if name != reference]
    against = {}
    for start in range(0, len(others), QUESTIONS_AT_ONCE):
        some = others[start : start + QUESTIONS_AT_ONCE]
        found = engine.fetch(answers.table.aggregate(**_sums(answers, reference, some))).iloc[0].astype(float)
        for i, name in enumerate(some):
            sign = 1 if scales[name].higher_is_better == scales[reference].higher_is_better else -1
            n, r = _correlation(*(float(found[f"{part}{i}"]) for part in ("n", "x", "y", "xx", "yy", "xy")))
            if n >= LEAST_ANSWERS and sign * r < AGAINST and np.arctanh(sign * r) + TWO_SIDED_99 / sqrt(n - 3) < 0:
                against[name] = sign * r
    if len(against) > 1 and len(against) == len(others):
        name, r = min(against.items(), key=lambda each: each[1])
        yield stop("ROX-M03", metric=reference, reference=name, r=r)
        return
    for name, r in against.items():
        said = stop if name in study.scores and scales[name].kind != "rating" else note
        code = "ROX-M03" if said is stop else "ROX-K33"
        yield said(code, metric=name, reference=reference, r=r)


def _sums(answers: Staged, reference: str, names: list[str]) -> dict[str, Any]:
    """Give whole-number sums over the answers that have both questions."""
    read = answers.table
    sums: dict[str, Any] = {}
    for i, name in enumerate(names):
        both = read[reference].notnull() & read[name].notnull()
        x, y = (indicator(both) * ibis.coalesce(read[each].cast("int64"), 0) for each in (reference, name))
        sums |= {f"n{i}": how_many(both), f"x{i}": total(x), f"y{i}": total(y)}
        sums |= {f"xx{i}": total(x * x), f"yy{i}": total(y * y), f"xy{i}": total(x * y)}
    return sums


def _correlation(n: float, x: float, y: float, xx: float, yy: float, xy: float) -> tuple[float, float]:
    spread = (n * xx - x * x) * (n * yy - y * y)
    return n, float(np.clip((n * xy - x * y) / sqrt(spread), -1 + 1e-12, 1 - 1e-12)) if spread > 0 else 0.0
