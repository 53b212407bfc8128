"""Tables of who leaves and when, with what stands for too few customers left blank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.models.leaving_counts import AtRisk
from rox.models.leaving_curves import Retention, Standardised
from rox.numerics.incidence import Curves
from rox.numerics.survival_bands import Bounds

Floats = NDArray[np.float64]


def _long(names: Sequence[str], time: Floats, columns: dict[str, Floats]) -> pd.DataFrame:
    """Lay tables of shape (t, g) out as one row per group and time."""
    held = {name: np.asarray(values, dtype=float).T.ravel() for name, values in columns.items()}
    return pd.DataFrame({"group": np.repeat(list(names), time.size), "time": np.tile(time, len(names)), **held})


def _standing(curve: Curves, counts: AtRisk, origin: float, min_cell: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the customers at risk just after each time, and the times that may be shown, both (t, g).

    A time may be shown while as many as a cell needs were at risk at it.
    """
    table = counts.table().since(origin)
    after = table.at_risk_at(curve.time)
    before = np.vstack([after[:1], table.at_risk[1:]])
    return after, np.asarray(before >= min_cell)


def _blank(values: Floats, shown: NDArray[np.bool_]) -> Floats:
    return np.where(shown, values, np.nan)


def curve_table(found: Retention, counts: AtRisk, origin: float, min_cell: int) -> pd.DataFrame:
    """List retention by group and time with intervals, bands and numbers at risk."""
    curve, names = found.kept, counts.groups
    after, shown = _standing(curve, counts, origin, min_cell)
    columns = {"kept": curve.value, "se": curve.se} | _ends(found.interval) | _ends(found.band, "band_")
    blanked = {name: _blank(values, shown) for name, values in columns.items()}
    return _long(names, curve.time, {**blanked, "at_risk": _blank(after, shown & (after >= min_cell))})


def _ends(bounds: Bounds, prefix: str = "") -> dict[str, Floats]:
    return {f"{prefix}low": bounds.low, f"{prefix}high": bounds.high}


def _open_causes(counts: AtRisk, min_cell: int) -> NDArray[np.bool_]:
    """Say of which groups causes may be told: none of them stands for fewer customers than a cell needs, (g,)."""
    exits = counts.events[0].sum((0, 1))
    return np.asarray(~((exits > 0) & (exits < min_cell)).any(1))


def incidence_table(found: Retention, counts: AtRisk, origin: float, min_cell: int) -> pd.DataFrame:
    """List the shares gone by each cause by group and time."""
    _, shown = _standing(found.kept, counts, origin, min_cell)
    shown = shown & _open_causes(counts, min_cell)
    frames = [
        _long(
            counts.groups,
            curve.time,
            {"left": _blank(curve.value, shown), "se": _blank(curve.se, shown)}
            | {name: _blank(values, shown) for name, values in _ends(found.left_interval[cause]).items()},
        ).assign(cause=cause)
        for cause, curve in found.left.items()
    ]
    return pd.concat(frames, ignore_index=True)[["group", "cause", "time", "left", "se", "low", "high"]]


def kept_table(found: Retention, counts: AtRisk, origin: float, horizons: Sequence[int], min_cell: int) -> pd.DataFrame:
    """List the shares kept, and gone by each cause, at some months after the origin."""
    curve = found.kept
    _, shown = _standing(curve, counts, origin, min_cell)
    told = _open_causes(counts, min_cell)
    rows = []
    for months in horizons:
        place = int(np.searchsorted(curve.time, origin + months, "right")) - 1
        inside = origin + months <= curve.followed
        for number, group in enumerate(counts.groups):
            here = bool(shown[place, number] and inside[number])
            ends = (curve.value, found.interval.low, found.interval.high)
            kept = [float(each[place, number]) if here else np.nan for each in ends]
            left = {
                cause: float(each.value[place, number]) if here and told[number] else np.nan
                for cause, each in found.left.items()
            }
            shares = dict(zip(("kept", "low", "high"), kept, strict=True))
            rows.append({"group": group, "months": months, **shares, **left})
    return pd.DataFrame(rows)


def _reach(se: Floats, level: float) -> Floats:
    return np.asarray(stats.norm.ppf((1 + level) / 2) * se)


def months_table(found: Retention, groups: tuple[str, ...], level: float) -> pd.DataFrame:
    """List the months kept within the horizon by group."""
    value, se = found.months.value, found.months.se
    reach = _reach(se, level)
    table = {"months": value, "se": se, "low": value - reach, "high": value + reach}
    return pd.DataFrame(table, index=pd.Index(groups, name="group"))


def difference_table(found: Retention, groups: tuple[str, ...], reference: str, level: float) -> pd.DataFrame:
    """Compare months kept with the reference; customers of two groups are different ones."""
    base = groups.index(reference)
    value = found.months.value - found.months.value[base]
    se = np.hypot(found.months.se, found.months.se[base])
    return _compared(value, se, groups, reference, level)


def _compared(value: Floats, se: Floats, groups: tuple[str, ...], reference: str, level: float) -> pd.DataFrame:
    reach = _reach(se, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = np.where(se > 0, 2 * stats.norm.sf(np.abs(value) / se), np.nan)
    table = {"difference": value, "se": se, "low": value - reach, "high": value + reach, "p_value": p_value}
    return pd.DataFrame(table, index=pd.Index(groups, name="group")).drop(reference)


def adjusted_table(found: Standardised | None) -> pd.DataFrame:
    """List the standardised curves by group and month since entry."""
    if found is None:
        return pd.DataFrame(columns=["group", "time", "kept", "low", "high"])
    time = np.arange(len(found.kept), dtype=float)
    return _long(found.groups, time, {"kept": found.kept, "low": found.low, "high": found.high})


def adjusted_months_table(found: Standardised | None, reference: str, level: float) -> pd.DataFrame:
    """List the months kept under the standardised curves, and their differences from the reference."""
    columns = ["months", "se", "difference", "difference_se", "low", "high", "p_value"]
    if found is None:
        return pd.DataFrame(columns=columns)
    base = found.groups.index(reference)
    contrast = np.eye(len(found.groups)) - np.eye(len(found.groups))[base]
    se = np.sqrt(np.maximum(np.diag(contrast @ found.covariance @ contrast.T), 0.0))
    compared = _compared(found.months - found.months[base], se, found.groups, reference, level)
    own = pd.DataFrame(
        {"months": found.months, "se": np.sqrt(np.diag(found.covariance))}, index=pd.Index(found.groups, name="group")
    )
    return own.join(compared.rename(columns={"se": "difference_se"}))[columns]
