"""Two-way fixed effects as Ibis expressions: the same sums, on any engine that Ibis speaks to.

Every query comes back with at most a row per period effect or pair of them. Values are centred by customer before
anything is multiplied, so that no sum is a difference of large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.errors import DataError
from rox.linking.expressions import how_many, ratio, real, total
from rox.linking.within_rows import CODE, MONTH, SEGMENT, Roles, prepared
from rox.numerics.within import Counts, TwoWayFit, clustered, period_effects, slopes
from rox.numerics.within_scan import STILL

Floats = NDArray[np.float64]
Fetch = Callable[[ir.Table], pd.DataFrame]
LABEL, WEIGHT = "rox_label", "rox_weight"


def fit_in_engine(table: ir.Table, fetch: Fetch, *, roles: Roles) -> tuple[TwoWayFit, int]:
    """Fit with every sum taken by the engine.

    Returns:
        The fit, and the rows of the source.

    Raises:
        DataError: Columns that cannot be used, or no rows.
        ValueError: As of :func:`rox.numerics.within_scan.two_way`.
    """
    narrow, summary = prepared(table, roles, fetch)
    rows = _complete(narrow, roles, summary.first_month, summary.months, fetch)
    labels = summary.months * max(1, len(summary.segments))
    count = len(roles.values)
    dropped = 0
    while True:
        people = _people(rows, count)
        centred = _centred(rows, people, count)
        by_label = _by_label(centred, count, labels, fetch)
        lonely = np.flatnonzero(by_label["kept"] == 1).tolist()
        if not lonely:
            break
        dropped += int(by_label["rows"][lonely].sum())
        rows = rows.filter(rows[LABEL].notin(lonely))
    counted = _count(people, by_label, count, fetch)
    if not counted["customers"]:
        raise ValueError("no customer has two rows without a missing value")
    right = np.column_stack([by_label[f"r{k}"] for k in range(count)])
    normal = np.diag(by_label["size"]) - _shared(rows, people, labels, fetch)
    effects, rank = period_effects(normal, right, by_label["size"])
    demeaned = _demeaned(centred, effects)
    gram = _square(fetch(demeaned.aggregate(**_products(demeaned, "z", count, demeaned[WEIGHT]))), count)
    raw = np.array([by_label[f"raw{k}"].sum() for k in range(1, count)])
    beta, bread = slopes(gram, raw, roles.regressors)
    meat = _meat(demeaned, beta, fetch)
    counts = Counts(
        n=int(by_label["kept"].sum()),
        customers=int(counted["customers"]),
        periods=int((by_label["kept"] > 0).sum()),
        singletons=int(counted["everyone"]) - int(counted["customers"]) + dropped,
        rank=rank,
    )
    moved = np.array([counted[f"moved{k}"] for k in range(1, count)], dtype=np.float64) / float(counted["everyone"])
    return clustered(gram, beta, bread, meat, counts=counts, identifying=moved), summary.rows


def _complete(narrow: ir.Table, roles: Roles, first: int, months: int, fetch: Fetch) -> ir.Table:
    """Name the values v0, v1, …, leave out what is missing, and number the period effects."""
    period = narrow[MONTH] - first
    if roles.segment is not None:
        period = period + narrow[SEGMENT] * months
    weight = real(1.0) if roles.weight is None else narrow[roles.weight]
    values = {f"v{k}": narrow[name] for k, name in enumerate(roles.values)}
    rows = narrow.select(**{CODE: narrow[CODE], LABEL: period.cast("int64"), WEIGHT: weight}, **values)
    named = dict(zip(values, roles.values, strict=True)) | ({WEIGHT: roles.weight} if roles.weight else {})
    for name in named:
        rows = rows.filter(rows[name].notnull() & ~rows[name].isnan())
    bad = fetch(
        rows.aggregate(
            **{f"inf_{name}": how_many(rows[name].isinf()) for name in named}, low=how_many(rows[WEIGHT] <= real(0.0))
        )
    ).iloc[0]
    faults = [
        f"column {title!r} holds infinite values; mend or drop those rows"
        for name, title in named.items()
        if bad[f"inf_{name}"]
    ]
    if bad["low"]:
        faults.append(f"column {roles.weight!r}: weights must be positive; drop the rows whose weight is not")
    if faults:
        raise DataError("This panel cannot be regressed.", faults)
    return rows


def _people(rows: ir.Table, count: int) -> ir.Table:
    """One row per customer: rows n, weight w, means m0, m1, …, and the spread of each regressor."""
    people = rows.group_by(who=rows[CODE]).aggregate(
        n=rows.count(),
        w=rows[WEIGHT].sum(),
        **{f"s{k}": (rows[WEIGHT] * rows[f"v{k}"]).sum() for k in range(count)},
        **{f"spread{k}": rows[f"v{k}"].max() - rows[f"v{k}"].min() for k in range(1, count)},
    )
    return people.mutate(**{f"m{k}": ratio(people[f"s{k}"], people.w) for k in range(count)})


def _centred(rows: ir.Table, people: ir.Table, count: int) -> ir.Table:
    joined = rows.inner_join(people, rows[CODE] == people.who)
    return joined.select(
        CODE,
        LABEL,
        WEIGHT,
        "n",
        **{f"c{k}": joined[f"v{k}"] - joined[f"m{k}"] for k in range(count)},
        **{f"raw{k}": joined[f"v{k}"] * joined[f"v{k}"] for k in range(1, count)},
    )


def _by_label(centred: ir.Table, count: int, labels: int, fetch: Fetch) -> Mapping[str, Floats]:
    """Sum by period effect; arrays of (labels,)."""
    weight = centred[WEIGHT]
    found = fetch(
        centred.group_by(LABEL).aggregate(
            rows=centred.count().cast("float64"),
            kept=how_many(centred.n > 1).cast("float64"),
            size=weight.sum(),
            **{f"r{k}": (weight * centred[f"c{k}"]).sum() for k in range(count)},
            **{f"raw{k}": (weight * centred[f"raw{k}"]).sum() for k in range(1, count)},
        )
    )
    place = found[LABEL].to_numpy(dtype=np.int64)
    out = {}
    for name in found.columns.drop(LABEL):
        out[str(name)] = np.zeros(labels)
        out[str(name)][place] = found[name].to_numpy(dtype=np.float64)
    return out


def _count(people: ir.Table, by_label: Mapping[str, Floats], count: int, fetch: Fetch) -> pd.Series[Any]:
    quiet = {k: STILL * np.sqrt(by_label[f"raw{k}"].sum() / by_label["size"].sum()) for k in range(1, count)}
    several = people.n > 1
    return fetch(
        people.aggregate(
            everyone=people.count(),
            customers=how_many(several),
            **{f"moved{k}": how_many(several & (people[f"spread{k}"] > real(quiet[k]))) for k in range(1, count)},
        )
    ).iloc[0]


def _shared(rows: ir.Table, people: ir.Table, labels: int, fetch: Fetch) -> Floats:
    """Return (labels, labels): over customers, the weights in two periods multiplied, by the customer's weight."""
    cells = rows.group_by([CODE, LABEL]).aggregate(p=rows[WEIGHT].sum())
    cells = cells.inner_join(people.select("who", "w"), cells[CODE] == people.who).select(CODE, LABEL, "p", "w")
    other = cells.select(who=cells[CODE], other=cells[LABEL], share=ratio(cells.p, cells.w))
    pairs = cells.inner_join(other, [cells[CODE] == other.who, cells[LABEL] <= other.other])
    pairs = pairs.select(LABEL, "other", product=pairs.p * pairs.share)
    found = fetch(pairs.group_by([LABEL, "other"]).aggregate(total=pairs["product"].sum()))
    out = np.zeros((labels, labels))
    row, column = found[LABEL].to_numpy(dtype=np.int64), found["other"].to_numpy(dtype=np.int64)
    out[row, column] = out[column, row] = found["total"]
    return out


def _demeaned(centred: ir.Table, effects: Floats) -> ir.Table:
    """Take the period effects out, and what they leave of the customer's mean; effects are (labels, variables)."""
    count = effects.shape[1]
    frame = pd.DataFrame(effects, columns=[f"a{k}" for k in range(count)])
    known = ibis.memtable(frame.assign(place=np.arange(len(frame), dtype=np.int64)))
    rows = centred.inner_join(known, centred[LABEL] == known.place)
    rows = rows.select(CODE, WEIGHT, **{f"d{k}": rows[f"c{k}"] - rows[f"a{k}"] for k in range(count)})
    means = rows.group_by(who=rows[CODE]).aggregate(
        **{f"q{k}": ratio((rows[WEIGHT] * rows[f"d{k}"]).sum(), rows[WEIGHT].sum()) for k in range(count)}
    )
    both = rows.inner_join(means, rows[CODE] == means.who)
    return both.select(CODE, WEIGHT, **{f"z{k}": both[f"d{k}"] - both[f"q{k}"] for k in range(count)})


def _meat(demeaned: ir.Table, beta: Floats, fetch: Fetch) -> Floats:
    residual = demeaned.z0
    for k, slope in enumerate(beta, start=1):
        residual = residual - real(float(slope)) * demeaned[f"z{k}"]
    weighted = demeaned.mutate(e=demeaned[WEIGHT] * residual)
    scores = weighted.group_by(CODE).aggregate(
        **{f"g{k}": (weighted[f"z{k + 1}"] * weighted.e).sum() for k in range(beta.size)}
    )
    return _square(fetch(scores.aggregate(**_products(scores, "g", beta.size))), beta.size)


def _products(table: ir.Table, stem: str, count: int, weight: Any = None) -> dict[str, Any]:
    found = {}
    for a, b in combinations_with_replacement(range(count), 2):
        product = table[f"{stem}{a}"] * table[f"{stem}{b}"]
        found[f"p{a}_{b}"] = total(product if weight is None else weight * product)
    return found


def _square(found: pd.DataFrame, count: int) -> Floats:
    out = np.zeros((count, count))
    for a, b in combinations_with_replacement(range(count), 2):
        out[a, b] = out[b, a] = found[f"p{a}_{b}"].iloc[0]
    return out
