"""Hold measured values against the frozen draws, one by one, by grade and by team."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rox.core.backtest import FEWEST_OF_GROUP, Group
from rox.core.case import EVERYONE
from rox.core.forecast import Floats, Forecast, Promise
from rox.numerics.forecast_scores import (
    CalibrationLine,
    blurred_quantiles,
    coverage,
    crps,
    line_on_forecast,
    line_with_errors,
    place_of,
    ranks,
    skill,
)
from rox.numerics.pooling import pool, random_effects
from rox.review.backtest_actuals import Measured, effect_named, forecast_named

LEVELS = (0.50, 0.90)
BETWEEN = 0.25
"""Scale of the prior of how much teams differ, as a share of what they forecast."""
NOTHING = (float("nan"), float("nan"), float("nan"))
COLUMNS = [
    "forecast", "case", "team", "owner", "grade", "effect", "what", "unit", "segment", "month", "counterfactual",
    "date", "actual", "se", "forecast_mean", "forecast_sd", "low90", "low50", "median", "high50", "high90", "estimate",
    "estimate_se", "error", "error_share", "place", "crps", "crps_nothing", "crps_last", "fingerprint",
    "specification", "source", "shares_data", "counts", "repeats",
]  # fmt: skip


def scores(measured: Sequence[Measured], forecasts: Sequence[Forecast]) -> pd.DataFrame:
    """Score every measured value that has a counterfactual and an error, and is not measured too early.

    The interval is that of the *measured* value: the frozen draws, blurred by the error of the measurement.

    Returns:
        One row per value, in the order of the forecasts: :data:`COLUMNS`. ``counts`` marks one value per forecast and
        effect, all segments and the last month, for what is said over several initiatives: segments share their error,
        and what shares its data with the forecast is no test of it. One measurement of one estimate counts once, in the
        forecast frozen first; ``repeats`` names that forecast in the others.
    """
    rows = []
    for entry in measured:
        forecast = forecast_named(entry.forecast, forecasts)
        if forecast is None or entry.se is None or entry.counterfactual is None:
            continue
        if not is_early(entry, forecast):
            rows.append(_row(entry, entry.se, forecast))
    table = pd.DataFrame(rows, columns=COLUMNS)
    if table.empty:
        return table
    table = table.sort_values(["forecast", "effect", "what", "month", "segment"], kind="stable").reset_index(drop=True)
    table["crps_last"] = _against_last(table, forecasts)
    table["repeats"] = _repeated(table, _counting(table))
    table["counts"] = _counting(table) & (table["repeats"] == "")
    return table


def is_early(entry: Measured, forecast: Forecast) -> bool:
    """Return whether an effect was measured before the horizon it was promised for, while it still builds up."""
    return entry.what == "effect" and entry.month < forecast.promise(effect_named(entry, forecast)).estimand.horizon


def forecast_draws(forecast: Forecast, what: str, effect: str, segment: str, month: int) -> Floats:
    """Return the frozen draws (draw,) of what a measured value is about."""
    draws = forecast.draws[f"{what.removesuffix('_money')}/{effect}"]
    if what == "extra_money":
        draws = draws[:, :, forecast.due.index(month)]
        return np.asarray(draws.sum(1) if segment == EVERYONE else draws[:, forecast.segments.index(segment)])
    if segment == EVERYONE:
        return np.asarray(draws @ weights(forecast, forecast.promise(effect)))
    return np.asarray(draws[:, forecast.segments.index(segment)])


def weights(forecast: Forecast, promise: Promise) -> Floats:
    """Return the share of customers of each segment (segment,), as frozen with the effect."""
    known = dict(zip(promise.groups, promise.shares, strict=True))
    found = np.array([known.get(segment, 0.0) for segment in forecast.segments])
    return found / found.sum() if found.sum() > 0 else np.full(found.size, 1 / found.size)


def groups_by(table: pd.DataFrame, by: str) -> tuple[Group, ...]:
    """Score initiatives by ``grade`` or ``team``, each drawn towards the others as far as it has few of its own."""
    counted = table[table["counts"].astype(bool)] if len(table) else table
    names = sorted(counted[by].unique()) if len(counted) else []
    pooled = _pooled(counted, by, names)
    return tuple(_group(name, counted[counted[by] == name], pooled[name]) for name in names)


def all_together(table: pd.DataFrame) -> Group:
    """Score all initiatives together."""
    counted = table[table["counts"].astype(bool)] if len(table) else table
    pooled = _pooled(counted.assign(one=EVERYONE), "one", [EVERYONE]) if len(counted) else {}
    return _group(EVERYONE, counted, pooled.get(EVERYONE, NOTHING))


def _row(entry: Measured, se: float, forecast: Forecast) -> dict[str, object]:
    effect = effect_named(entry, forecast)
    promise = forecast.promise(effect)
    draws = forecast_draws(forecast, entry.what, effect, entry.segment, entry.month)
    mean = float(draws.mean())
    tails = [0.5 - LEVELS[1] / 2, 0.5 - LEVELS[0] / 2, 0.5, 0.5 + LEVELS[0] / 2, 0.5 + LEVELS[1] / 2]
    ends = dict(zip(("low90", "low50", "median", "high50", "high90"), blurred_quantiles(draws, tails, se), strict=True))
    whole = entry.what == "effect" and entry.segment == EVERYONE
    unit = f"money {forecast.currency}" if entry.what == "extra_money" else _unit(promise)
    return {
        "forecast": forecast.name,
        "case": forecast.case,
        "team": forecast.team,
        "owner": forecast.owner,
        "grade": str(promise.grade),
        "effect": effect,
        "what": entry.what,
        "unit": unit,
        "segment": entry.segment,
        "month": entry.month,
        "counterfactual": entry.counterfactual,
        "date": entry.date.isoformat(),
        "actual": entry.value,
        "se": se,
        "forecast_mean": mean,
        "forecast_sd": float(draws.std(ddof=1)) if len(draws) > 1 else 0.0,
        **{name: float(value) for name, value in ends.items()},
        "estimate": promise.estimate if whole else float("nan"),
        "estimate_se": promise.se if whole else float("nan"),
        "error": entry.value - mean,
        "error_share": (entry.value - mean) / abs(mean) if mean else float("nan"),
        "place": place_of(draws, entry.value, se),
        "crps": crps(draws, entry.value, se),
        "crps_nothing": crps([0.0], entry.value, se),
        "crps_last": float("nan"),
        "fingerprint": promise.fingerprint,
        "specification": promise.specification,
        "source": entry.source,
        "shares_data": entry.shares_data,
        "counts": False,
        "repeats": "",
    }


def _unit(promise: Promise) -> str:
    estimand = promise.estimand
    return " ".join(part for part in (estimand.unit, estimand.currency, "per", estimand.dose) if part)


def _against_last(table: pd.DataFrame, forecasts: Sequence[Forecast]) -> list[float]:
    """Score what was measured the last time for the same case, effect and segment before a forecast was frozen."""
    frozen = {each.name: each.frozen.isoformat() for each in forecasts}
    found = []
    for row in table.itertuples():
        same = table[["case", "effect", "what", "unit", "segment"]] == [
            row.case, row.effect, row.what, row.unit, row.segment,
        ]  # fmt: skip
        before = table[same.all(axis=1) & (table["date"] <= frozen[str(row.forecast)])]
        before = before[before["forecast"] != row.forecast].sort_values(["date", "month"], kind="stable")
        last = None if before.empty else float(before["actual"].iloc[-1])
        found.append(float("nan") if last is None else crps([last], float(row.actual), float(row.se)))  # type: ignore[arg-type]
    return found


def _counting(table: pd.DataFrame) -> pd.Series[bool]:
    """Mark one value per forecast and effect: of all segments if there is one, the effect itself before its money."""
    counts = pd.Series(False, index=table.index)
    for _, part in table[~table["shares_data"].astype(bool)].groupby(["forecast", "effect"], sort=False):
        whole = part[part["segment"] == EVERYONE]
        whole = whole if len(whole) else part if part["segment"].nunique() == 1 else part.iloc[:0]
        if len(whole):
            order = whole.assign(first=(whole["what"] == "effect")).sort_values(["first", "month"], kind="stable")
            counts[order.index[-1]] = True
    return counts


def _repeated(table: pd.DataFrame, counts: pd.Series[bool]) -> pd.Series[str]:
    """Name the forecast in which a measurement of the same estimate counts already; empty where there is none.

    Forecasts of one estimate that are held against one measurement err alike: together they are one pair.
    """
    repeats = pd.Series("", index=table.index)
    same = ["fingerprint", "specification", "counterfactual", "source"]
    for _, part in table[counts].groupby(same, sort=False):
        repeats[part.index[1:]] = str(part["forecast"].iloc[0])
    return repeats


def _pooled(counted: pd.DataFrame, by: str, names: Sequence[str]) -> Mapping[str, tuple[float, float, float]]:
    """Pool mean signed errors over groups by a normal-normal model; mean and 90% interval by group."""
    nothing = dict.fromkeys(names, NOTHING)
    rows = counted[counted["error_share"].notna()] if len(counted) else counted
    if rows.empty:
        return nothing
    share = rows["error_share"].to_numpy(dtype=float)
    own = (rows["forecast_sd"] ** 2 + rows["se"] ** 2).to_numpy(dtype=float) / rows["forecast_mean"].to_numpy() ** 2
    between = random_effects(share, own, method="dl").tau2 if len(rows) > 2 else 0.0
    weight = 1 / (own + between)
    of = rows[by].to_numpy()
    held = [name for name in names if (of == name).any()]
    mean = np.array([np.average(share[of == name], weights=weight[of == name]) for name in held])
    variance = np.array([1 / weight[of == name].sum() for name in held])
    found = pool(mean, variance, gamma_mean=[0.0], gamma_covariance=[[1.0]], tau_scale=BETWEEN, n=4000, rng=1)
    ends = np.quantile(found.draws, [0.05, 0.95], axis=0)
    return nothing | {name: (float(found.mean[k]), float(ends[0, k]), float(ends[1, k])) for k, name in enumerate(held)}


def _group(name: str, part: pd.DataFrame, pooled: tuple[float, float, float]) -> Group:
    places = part["place"].to_numpy(dtype=float) if len(part) else np.array([])
    unit = str(part["unit"].mode().iloc[0]) if len(part) else ""
    same = part[part["unit"] == unit] if len(part) else part
    last = part[part["crps_last"].notna()] if len(part) else part
    return Group(
        name=name,
        n=len(part),
        error=pooled[0],
        low=pooled[1],
        high=pooled[2],
        coverage=tuple(coverage(places, level) for level in LEVELS),
        ranks=ranks(places),
        skill_nothing=_skill(part, "crps_nothing"),
        skill_last=_skill(last, "crps_last"),
        n_last=len(last),
        line=_line(same),
        line_of_estimates=_line_of_estimates(same),
        unit=unit,
    )


def _skill(part: pd.DataFrame, reference: str) -> float:
    """Return the skill over sums within each unit, units weighted by their number of initiatives."""
    found = [
        (len(rows), skill(rows["crps"].to_numpy(), rows[reference].to_numpy()))
        for _, rows in (part.groupby("unit") if len(part) else ())
    ]
    found = [(n, value) for n, value in found if np.isfinite(value)]
    return float(np.average([v for _, v in found], weights=[n for n, _ in found])) if found else float("nan")


def _line(same: pd.DataFrame) -> CalibrationLine | None:
    if len(same) < FEWEST_OF_GROUP or not np.ptp(same["forecast_mean"].to_numpy(dtype=float)) > 0:
        return None
    return line_on_forecast(same["forecast_mean"], same["actual"], same["se"])


def _line_of_estimates(same: pd.DataFrame) -> CalibrationLine | None:
    """Fit the line of York on the estimates before the discount; None too where their errors drown their spread."""
    rows = same[same["estimate"].notna() & (same["estimate_se"] > 0)] if len(same) else same
    if len(rows) < FEWEST_OF_GROUP or not np.ptp(rows["estimate"].to_numpy(dtype=float)) > 0:
        return None
    try:
        return line_with_errors(rows["estimate"], rows["actual"], rows["estimate_se"], rows["se"])
    except ValueError:
        return None
