"""A question whose scale changed: one series where both scales were asked of enough people, two where they were not.

The answers of the bridge sample hold both scales. Equipercentile linking (Angoff 1971; Kolen & Brennan 2014, ch. 2):
the share p(x) of an old answer takes up a stretch of percentiles, and counts on the new scale as the answers that take
up the same stretch there. It is a map of distributions: what one person would have said is not known from it.
Estimand: the metric on the new scale of those who were asked on the old one. Assumption: a distribution on one scale
goes with one on the other in the old answers as it does in the bridge sample. Errors: jackknife over buckets of
customers, of map and series together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import ibis
import numpy as np
import pandas as pd
from scipy import stats

from rox.core.buckets import bucket_of
from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.study import Scale, Study
from rox.core.units import Unit
from rox.metrics.answers import scored
from rox.metrics.display import SHOWN_FROM, shown
from rox.metrics.source import WEIGHT_UNITS, Tables, count_true, rank_of, scale_of, time_label
from rox.numerics.arrays import Floats

BUCKETS = 64
LEAST_BRIDGE = 400
"""People who must have been asked on both scales."""
NONE = -1_000_000_000
"""Stands for an answer that was not given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bridged:
    """A series over a change of scale.

    Attributes:
        score: The question on its new scale.
        old: The question on its old scale.
        people: Customers who were asked on both.
        series: Columns ``scale`` and the period, then those of ``display.shown``. With a bridge every row is on the new
            scale (``scale`` is ``new``); the error of periods asked on the old one contains that of the map. Without it
            the rows of each scale are a series of their own, ``old`` and ``new``.
        mapping: One row per old answer: ``answer``, ``n`` (customers of the bridge sample with it; missing if fewer
            than ``min_cell``), ``mean`` (of the new answers it counts as) and ``se``. Empty without a bridge.
        checks: ROX-M10, STOP without a bridge.
    """

    score: str
    old: str
    people: int
    series: pd.DataFrame
    mapping: pd.DataFrame
    checks: tuple[Check, ...]


def bridged(
    tables: Tables, score: str, *, every: Literal["month", "quarter", "year"] = "quarter", level: float = 0.90
) -> Bridged:
    """Carry the series of the old scale over to the new one, if there is a bridge sample.

    Args:
        tables: Loaded tables.
        score: A score that says which other score it ``replaces``.
        every: Length of a period.
        level: Level of the intervals.

    Raises:
        DataError: The score replaces none, its scales run in different directions, or nobody answered on one of them.
    """
    old = _replaced(tables.study, score)
    given = _given(tables, score, old, every)
    scales = {"old": scale_of(tables.study, old), "new": scale_of(tables.study, score)}
    has_new = given.only_new.sum(axis=(1, 2)) + given.both.sum(axis=(1, 2, 3)) > 0
    said: dict[str, str | int] = {
        "metric": score,
        "date": time_label(given.periods[int(has_new.argmax())], every),
        "people": given.people,
        "needed": LEAST_BRIDGE,
    }
    maps = _maps(given) if given.people >= LEAST_BRIDGE else None
    check = Check(code="ROX-M10", verdict=Verdict.STOP if maps is None else Verdict.PASS, values=said)
    min_cell = tables.study.about.min_cell
    parts = [
        _series(given, scales[kind], kind, maps, every, level).assign(scale=kind, score=score)
        for kind in (("old", "new") if maps is None else ("new",))
    ]
    series = shown(parts, by=("scale", every), level=level, min_cell=min_cell, shown_from=SHOWN_FROM)
    mapping = pd.DataFrame(columns=["answer", "n", "mean", "se"])
    if maps is not None:
        mapping = _mapping(given, maps, scales, min_cell)
    return Bridged(score=score, old=old, people=given.people, series=series, mapping=mapping, checks=(check,))


def equipercentile(old: Floats, new: Floats) -> Floats:
    """Return which new answers each old answer counts as.

    Args:
        old: (p,) shares of the old answers in the bridge sample, in order.
        new: (q,) shares of the new answers there.

    Returns:
        (p, q): row x, the distribution over new answers; rows sum to one. An old answer that nobody gave counts as the
        new answer at its percentile.

    Example:
        >>> equipercentile(np.array([0.5, 0.5]), np.array([0.25, 0.25, 0.5]))
        array([[0.5, 0.5, 0. ],
               [0. , 0. , 1. ]])
    """
    upper, lower = np.cumsum(old), np.cumsum(old) - old
    top, bottom = np.cumsum(new), np.cumsum(new) - new
    overlap = np.minimum(upper[:, None], top) - np.maximum(lower[:, None], bottom)
    shares = np.maximum(overlap, 0.0)
    empty = old <= 1e-12
    if empty.any():
        given = np.flatnonzero(new > 0)
        place = given[np.minimum(np.searchsorted(top[given], lower[empty] + 1e-12), given.size - 1)]
        shares[empty] = np.eye(new.size)[place]
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _replaced(study: Study, score: str) -> str:
    scale = scale_of(study, score)
    if scale.replaces is None or scale.replaces not in study.scores:
        raise DataError(
            f"{score!r} replaces no other question.",
            [f'scores.{score}: say replaces = "…", the score that holds the answers on the old scale'],
        )
    before = study.scores[scale.replaces]
    if before.higher_is_better != scale.higher_is_better:
        raise DataError(
            f"{score!r} and {scale.replaces!r} run in different directions.", ["turn the column of one of them round"]
        )
    return scale.replaces


def _values(scale: Scale) -> dict[str, tuple[Unit, Floats]]:
    """Return by metric its unit and what each answer of a scale counts in it, as ``answers.measures`` says."""
    answers = np.arange(scale.low, scale.high + 1, dtype=float)
    from_best = scale.high - answers if scale.higher_is_better else answers - scale.low
    if scale.kind == "nps":
        return {"nps": (Unit.NPS_POINT, 100.0 * ((from_best <= 1).astype(float) - (from_best >= 4)))}
    found = {"mean": (Unit.SCORE_POINT, answers)}
    if scale.kind == "csat":
        found["top_two"] = (Unit.RATIO, (from_best <= 1).astype(float))
    if scale.kind == "ces":
        found["easy"] = (Unit.RATIO, (2 * from_best < scale.high - scale.low).astype(float))
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Given:
    """Answers summed: t periods, b buckets, p old and q new answers. Weights in units of the design."""

    periods: tuple[int, ...]
    only_old: Floats
    """(t, b, p) weight of answers on the old scale alone."""
    both: Floats
    """(t, b, p, q) weight of answers on both."""
    only_new: Floats
    """(t, b, q) weight of answers on the new scale alone."""
    size: Mapping[str, pd.DataFrame]
    """By ``old`` and ``new``: (t) ``n``, ``squares`` (Σw²) and ``customers`` of all answers on that scale."""
    people: int
    by_answer: Floats
    """(p) customers of the bridge sample by old answer."""


def _given(tables: Tables, score: str, old: str, every: str) -> _Given:
    """Fetch the answers on either scale by period and bucket of customers."""
    names = {"new": score, "old": old}
    customers = tables.tables["customers"]
    numbers = customers.select(_who=customers.customer, _bucket=bucket_of(rank_of(customers.customer), BUCKETS))
    frames, sizes, people, by_answer = {}, {}, 0, pd.DataFrame()
    for kind, name in names.items():
        rows = scored(tables, name, (every,))
        other = names["old" if kind == "new" else "new"]
        if other not in rows.table.columns:
            raise DataError(f"The answers have no column {other!r}.", [f"they have {', '.join(rows.table.columns)}"])
        table = rows.table.rename(period=rows.keys[0])
        table = table.left_join(numbers, table.customer == numbers["_who"])
        table = table.mutate(beside=ibis.coalesce(table[other].cast("float64").floor().cast("int64"), NONE))
        faults = sum((count_true(table[fault]) for fault in rows.faults), start=ibis.literal(0))
        frames[kind] = tables.fetch(
            table.group_by(["period", "_bucket", "value", "beside"]).aggregate(weight=table.weight.sum(), faults=faults)
        )
        if found := int(frames[kind]["faults"].sum()):
            raise DataError(f"The answers to {name!r} cannot be measured.", [f"{found} faults; run `rox check`"])
        square = table.weight.cast("decimal(19,0)") * table.weight.cast("decimal(19,0)")
        of_period = table.group_by("period").aggregate(
            n=table.count(), squares=square.sum(), customers=table.customer.nunique()
        )
        sizes[kind] = tables.fetch(of_period).set_index("period").astype(float)
        if kind == "old":
            shared = table.filter(table.beside != NONE)
            people = int(tables.fetch(shared.aggregate(n=shared.customer.nunique())).iloc[0]["n"])
            by_answer = tables.fetch(shared.group_by("value").aggregate(n=shared.customer.nunique()))
    if empty := [names[kind] for kind in ("old", "new") if frames[kind].empty]:
        raise DataError(f"Nobody answered {' or '.join(map(repr, empty))}.", ["answers: there is one scale only"])
    return _arrays(tables.study, names, frames, sizes, people, by_answer)


def _arrays(
    study: Study,
    names: Mapping[str, str],
    frames: Mapping[str, pd.DataFrame],
    sizes: Mapping[str, pd.DataFrame],
    people: int,
    by_answer: pd.DataFrame,
) -> _Given:
    scales = {kind: scale_of(study, name) for kind, name in names.items()}
    p, q = (scales[kind].high - scales[kind].low + 1 for kind in ("old", "new"))
    periods = tuple(sorted({int(each) for frame in frames.values() for each in frame["period"]}))
    t = len(periods)
    only_old, only_new, both = np.zeros((t, BUCKETS, p)), np.zeros((t, BUCKETS, q)), np.zeros((t, BUCKETS, p, q))
    for kind, frame in frames.items():
        when = np.searchsorted(periods, frame["period"].to_numpy(dtype=int))
        bucket, weight = frame["_bucket"].to_numpy(dtype=int), frame["weight"].to_numpy(dtype=float) / WEIGHT_UNITS
        value = frame["value"].to_numpy(dtype=int) - scales[kind].low
        alone = frame["beside"].to_numpy(dtype=int) == NONE
        target = only_old if kind == "old" else only_new
        np.add.at(target, (when[alone], bucket[alone], value[alone]), weight[alone])
        if kind == "old":
            new = frame["beside"].to_numpy(dtype=int)[~alone] - scales["new"].low
            np.add.at(both, (when[~alone], bucket[~alone], value[~alone], new), weight[~alone])
    counted = np.zeros(p)
    counted[by_answer["value"].to_numpy(dtype=int) - scales["old"].low] = by_answer["n"].to_numpy(dtype=float)
    size = {
        kind: frame.assign(squares=frame["squares"] / WEIGHT_UNITS**2).reindex(periods).fillna(0.0)
        for kind, frame in sizes.items()
    }
    return _Given(
        periods=periods, only_old=only_old, both=both, only_new=only_new, size=size, people=people, by_answer=counted
    )


def _maps(given: _Given) -> Floats:
    """Return the map over all buckets and without each: (b + 1, p, q)."""
    joint = given.both.sum(axis=0)
    without = np.concatenate([joint.sum(axis=0)[None], joint.sum(axis=0) - joint])
    return np.stack([equipercentile(*_shares(each)) for each in without])


def _shares(joint: Floats) -> tuple[Floats, Floats]:
    return joint.sum(axis=1) / joint.sum(), joint.sum(axis=0) / joint.sum()


def _without_each(weights: Floats) -> Floats:
    """Sum (t, b, k) over buckets, all and without each: (b + 1, t, k)."""
    total = weights.sum(axis=1)
    return np.concatenate([total[None], total[None] - weights.transpose(1, 0, 2)])


def _jackknifed(replicates: Floats) -> Floats:
    """Return the error of (b, …) estimates, each without one bucket."""
    centred = replicates - replicates.mean(axis=0)
    return np.asarray(np.sqrt((BUCKETS - 1) / BUCKETS * (centred**2).sum(axis=0)))


def _series(given: _Given, scale: Scale, kind: str, maps: Floats | None, every: str, level: float) -> pd.DataFrame:
    """Measure every period on one scale; with a map the answers on the old one are carried over."""
    own = given.only_new if kind == "new" else given.only_old
    shared = given.both.sum(axis=2) if kind == "new" else given.both.sum(axis=3)
    weights, carried = _without_each(own + shared), _without_each(given.only_old)
    if maps is not None:
        weights = weights + np.einsum("btp,bpq->btq", carried, maps)
    total = weights.sum(axis=2)
    has = total[0] > 0
    sizes = given.size[kind] if maps is None else _joined(given)
    parts: list[pd.DataFrame] = []
    for metric, (unit, value) in _values(scale).items():
        estimates = np.divide(weights @ value, total, out=np.full_like(total, np.nan), where=total > 1e-9)
        mean, se = estimates[0], _jackknifed(estimates[1:])
        square = np.divide(weights[0] @ value**2, total[0], out=np.ones_like(mean), where=has)
        spread = square - np.nan_to_num(mean) ** 2
        kish = np.divide(total[0] ** 2, sizes["squares"], out=np.zeros_like(mean), where=has)
        n_eff = np.where(se > 0, np.minimum(kish, spread / np.where(se > 0, se, 1.0) ** 2), kish)
        df = np.maximum((np.abs(weights[1:].sum(axis=2) - total[0]) > 1e-9).sum(axis=0) - 1, 1)
        half = stats.t.ppf((1 + level) / 2, df) * se
        part = pd.DataFrame(
            {every: given.periods, "value": mean, "se": se, "low": np.clip(mean - half, value.min(), value.max()),
             "high": np.clip(mean + half, value.min(), value.max()), "n": sizes["n"].to_numpy(),
             "n_eff": n_eff, "customers": sizes["customers"].to_numpy()}
        )  # fmt: skip
        parts.append(part.assign(metric=metric, unit=str(unit), method="t").loc[has])
    return pd.concat(parts, ignore_index=True)


def _joined(given: _Given) -> pd.DataFrame:
    """Count answers of either scale, those on both once; of the customers at least so many are different ones."""
    old, new = given.size["old"], given.size["new"]
    twice = np.divide(
        given.both.sum(axis=(1, 2, 3)), (given.both.sum(axis=(1, 2, 3)) + given.only_old.sum(axis=(1, 2))),
        out=np.zeros(len(given.periods)), where=old["n"].to_numpy() > 0,
    )  # fmt: skip
    alone = 1 - twice
    return pd.DataFrame(
        {
            "n": np.round(new["n"] + alone * old["n"]),
            "squares": new["squares"] + alone * old["squares"],
            "customers": np.maximum(old["customers"], new["customers"]),
        }
    )


def _mapping(given: _Given, maps: Floats, scales: Mapping[str, Scale], min_cell: int) -> pd.DataFrame:
    """Say what each old answer counts as, on average, and how sure that is."""
    answers = np.arange(scales["new"].low, scales["new"].high + 1, dtype=float)
    means = maps @ answers
    hidden = given.by_answer < min_cell
    return pd.DataFrame(
        {
            "answer": np.arange(scales["old"].low, scales["old"].high + 1),
            "n": np.where(hidden, np.nan, given.by_answer),
            "mean": np.where(hidden, np.nan, means[0]),
            "se": np.where(hidden, np.nan, _jackknifed(means[1:])),
        }
    )
