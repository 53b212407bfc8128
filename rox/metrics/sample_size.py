"""How many answers, and how many invitations, a wanted precision takes.

The interval of a mean of n answers is half as wide as h when n = z²·σ²·D/h², with σ the spread of an answer and D the
design effect, what weights and customers who answer twice cost (Kish 1965). Of N customers n/(1 + n/N) do. A change of
two waves of n answers takes 2(1 − r) times as many, r the correlation of the two estimates when the same people are
asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import numpy as np
import pandas as pd
from scipy import stats

from rox.core.errors import DataError
from rox.core.units import Unit
from rox.core.words import Language, say
from rox.metrics.answers import measures, require_direction, scored
from rox.metrics.cells import moments
from rox.metrics.display import SHOWN_FROM
from rox.metrics.estimates import cells_of, counts, ratio
from rox.metrics.responses import response_rate
from rox.metrics.source import TIMES, WEIGHT_UNITS, Rows, Tables, required, rows_of, scale_of, time_label
from rox.metrics.waves import change as change_of

COLUMNS = (
    "metric", "unit", "half_width", "level", "sd", "design_effect", "paired", "population", "answers", "response",
    "invitations", "reachable", "best_half_width", "suppressed",
)  # fmt: skip


def answers_needed(
    half_width: float,
    *,
    sd: float,
    level: float = 0.90,
    design_effect: float = 1.0,
    population: float | None = None,
    change: bool = False,
    correlation: float = 0.0,
) -> int:
    """Return the answers, per wave, for an interval of a mean or share of plus or minus ``half_width``.

    Args:
        half_width: In the unit of ``sd``: points, NPS points, or a share.
        sd: Standard deviation of one answer; of the NPS at most 100, of a share at most 0.5.
        level: Of the interval (normal).
        design_effect: Variance over that of a simple random sample.
        population: Customers there are; None when the customers stand for more than themselves.
        change: Whether the difference of two waves is wanted.
        correlation: Of the estimates of the two waves; 0 where other people are asked.

    Raises:
        DataError: Every number that is out of range.

    Example:
        >>> answers_needed(5, sd=79.06, level=0.95)
        961
    """
    faults = [
        f"{name} must be above 0, not {value}"
        for name, value in (("half_width", half_width), ("sd", sd), ("design_effect", design_effect))
        if not 0 < value < np.inf
    ]
    if not 0 < level < 1:
        faults.append(f"level lies between 0 and 1, not {level}")
    if not -1 < correlation < 1:
        faults.append(f"correlation lies between -1 and 1, not {correlation}")
    if population is not None and not population >= 1:
        faults.append(f"population must be 1 or more, not {population}")
    if faults:
        raise DataError("No sample can be planned from these numbers.", faults)
    waves = 2 * (1 - correlation) if change else 1.0
    z = float(stats.norm.ppf((1 + level) / 2))
    n = waves * design_effect * (z * sd / half_width) ** 2
    return int(np.ceil((n if population is None else n / (1 + n / population)) - 1e-9))


def sample_sizes(
    tables: Tables,
    score: str,
    half_width: float,
    *,
    by: Sequence[str] = (),
    metric: str | None = None,
    change: bool = False,
    paired: bool = False,
    response: float | None = None,
    level: float = 0.90,
) -> pd.DataFrame:
    """Plan a sample of every group from what the study's own answers say.

    Spread and design effect are those of the group's last quarter with 30 effective answers, else of everybody's.
    Customers who left are not counted.

    Args:
        tables: Loaded tables.
        score: A score or driver of the study.
        half_width: Half the interval, in the metric's unit.
        by: Columns of the customers; each group is to be known that well.
        metric: As in ``answers.scores``; by default the question's first.
        change: Whether the change between two waves is wanted; then ``answers`` are those of each wave.
        paired: Whether as many of the same customers will answer in both as in the study's last two quarters.
        response: Expected share of invitations answered; by default that of the group.
        level: Of the interval.

    Returns:
        One row per group: the columns of ``by`` and ``COLUMNS``. ``sd`` is of one answer; ``paired`` what asking the
        same customers leaves of the variance of a change; ``invitations`` is missing without a response rate;
        ``reachable`` says whether there are as many customers as invitations, ``best_half_width`` how well the group
        can be known if all are invited. Groups of fewer than ``min_cell`` customers are hidden.

    Raises:
        DataError: No such question, metric or group, nobody answered, or numbers out of range; all at once.
    """
    rows, chosen, unit = _question(tables, score, by, metric, half_width, response, level)
    found = moments(tables, rows, chosen)
    if found.empty:
        raise DataError(f"Nobody answered {score!r}.", [f"answers.{score} holds no answer"])
    name = next(iter(chosen))
    size = 100.0 if unit is Unit.NPS_POINT else 1.0
    group = tuple(by)
    last = _last_wave(found, group, name)
    kept = _paired(tables, score, name, level) if paired else 1.0
    frame = _population(tables, group)
    frame = frame.merge(last, on=list(group), how="left") if group else frame.join(last)
    overall = _last_wave(found, (), name).iloc[0]
    frame = frame.fillna({"sd": overall["sd"], "design_effect": overall["design_effect"]})
    rates = _responses(tables, group, response)
    overall_rate = rates["response"].iloc[0]
    frame = frame.merge(rates, on=list(group), how="left") if group else frame.assign(response=overall_rate)
    lines = [_line(each, half_width, size, level=level, change=change, kept=kept) for each in frame.to_dict("records")]
    made = pd.concat([frame[list(group)].reset_index(drop=True), pd.DataFrame(lines)], axis=1)
    made = made.assign(metric=name, unit=str(unit), half_width=half_width, level=level, paired=kept)
    small = frame["customers"].to_numpy(dtype=float) < tables.study.about.min_cell
    made["suppressed"] = small
    hidden = ["sd", "design_effect", "population", "answers", "response", "invitations", "best_half_width"]
    made.loc[small, hidden] = np.nan
    return made[[*group, *COLUMNS]]


def sample_text(found: pd.DataFrame, language: Language = "en", *, change: bool = False) -> str:
    """Write a plan of samples as a table for a reader; of a ``change``, answers are those of each wave."""
    group = [column for column in found.columns if column not in COLUMNS]
    heads = ("half_width", "sd", "design_effect", "population", "answers", "response", "invitations", "best_half_width")
    digits = {"half_width": "g", "sd": "2", "design_effect": ".2f", "response": ".1%", "best_half_width": "2"}
    table = found[group].astype(str)
    for column in heads:
        style = digits.get(column, ",.0f")
        table[say(f"sample.{column}", language)] = [
            "–" if pd.isna(each) else _two(each) if style == "2" else format(float(each), style)
            for each in found[column]
        ]
    table[say("sample.note", language)] = [
        say("sample.hidden" if hidden else "sample.enough" if enough else "sample.too_few", language, best=_two(best))
        for hidden, enough, best in zip(
            found["suppressed"], found["reachable"], found["best_half_width"].astype(float), strict=True
        )
    ]
    metric = say(f"metrics.{found['metric'].iloc[0]}", language)
    title = say(
        "sample.title_change" if change else "sample.title", language, metric=metric, level=100 * found["level"].iloc[0]
    )
    return f"{title}\n{table.to_string(index=False)}"


def _two(value: float) -> str:
    """Write a number to two significant digits."""
    return "–" if pd.isna(value) else f"{float(f'{value:.2g}'):g}"


def _question(
    tables: Tables,
    score: str,
    by: Sequence[str],
    metric: str | None,
    half_width: float,
    response: float | None,
    level: float,
) -> tuple[Rows, dict[str, Any], Unit]:
    """Return the answers by quarter with the one measure that is planned for."""
    scale = scale_of(tables.study, score)
    rows = scored(tables, score, (*(each for each in by if each not in TIMES), "quarter"))
    known = {measure.metric: measure for measure in measures(scale, rows.table.value)}
    faults = []
    if metric is not None and metric not in known:
        faults.append(f"{score} has no metric {metric!r}; it has {', '.join(known)}")
    if timed := [each for each in by if each in TIMES]:
        faults.append(f"a sample is planned for groups of customers, not by {', '.join(timed)}")
    if not 0 < half_width < np.inf:
        faults.append(f"half a width is above 0, not {half_width}")
    if response is not None and not 0 < response <= 1:
        faults.append(f"a response rate lies between 0 and 1, not {response}")
    if not 0 < level < 1:
        faults.append(f"a level lies between 0 and 1, not {level}")
    if faults:
        raise DataError("No sample can be planned.", faults)
    require_direction(tables, score)
    measure = known[metric or next(iter(known))]
    return rows, {measure.metric: measure.value}, measure.unit


def _last_wave(found: pd.DataFrame, group: tuple[str, ...], name: str) -> pd.DataFrame:
    """Return spread and design effect of each group's last quarter with enough answers, else of all its own."""
    waves = ratio(found, (*group, "quarter"), name)
    pooled = ratio(found, group, name)
    enough = waves[waves["n_eff"] >= SHOWN_FROM].sort_values("quarter")
    last = enough.groupby(list(group), dropna=False).tail(1) if group else enough.tail(1)
    both = pd.concat([pooled, last], ignore_index=True)
    both = both.drop_duplicates(list(group), keep="last") if group else both.tail(1)
    sd = (both["square"] - both["value"] ** 2).clip(lower=0) ** 0.5
    usable = (both["n_eff"] >= SHOWN_FROM) & (sd > 0)
    return (
        both[list(group)]
        .assign(sd=sd.where(usable), design_effect=(both["n"] / both["n_eff"]).where(usable))
        .reset_index(drop=True)
    )


def _paired(tables: Tables, score: str, name: str, level: float) -> float:
    """Return what asking the same customers left of the variance of the last change between quarters."""
    frame = moments(tables, scored(tables, score, ("quarter",)), {})
    quarters = sorted(int(each) for each in frame["quarter"].unique())[-2:]
    if len(quarters) < 2:
        raise DataError("The answers are of one quarter only.", ["leave out `paired`, or give the study two waves"])
    first, second = (time_label(each, "quarter") for each in quarters)
    found = change_of(tables, score, first, second, level=level)
    row = found[found["metric"] == name].iloc[0]
    if not row["se_unpaired"] > 0:
        raise DataError(f"{first} and {second} hold too few answers.", ["leave out `paired`"])
    return float(row["se"] / row["se_unpaired"]) ** 2


def _population(tables: Tables, group: tuple[str, ...]) -> pd.DataFrame:
    """Count the customers who have not left: ``customers`` in the tables, ``population`` they stand for."""
    customers = required(tables, "customers")
    table = customers if "month" in customers.columns else customers.mutate(month=ibis.literal(0))
    if "exits" in tables.tables:
        left = tables.tables["exits"].select(gone="customer").distinct()
        joined = table.left_join(left, table.customer == left.gone)
        table = joined.filter(joined.gone.isnull()).drop("gone")
    found = moments(tables, rows_of(tables, "customers", group, table=table), {})
    total = counts(found, group).rename(columns={"n": "rows"})
    keys, cell = cells_of(found, group)
    weights = np.bincount(cell, weights=found["x"].to_numpy(dtype=float), minlength=len(keys))
    return total.assign(population=weights / WEIGHT_UNITS)


def _responses(tables: Tables, group: tuple[str, ...], response: float | None) -> pd.DataFrame:
    """Return the expected response rate of each group, everybody's where its own is hidden."""
    if response is not None or "invitations" not in tables.tables:
        value = np.nan if response is None else response
        return _population(tables, group)[list(group)].assign(response=value)
    overall = float(response_rate(tables)["value"].iloc[0])
    if not group:
        return pd.DataFrame({"response": [overall]})
    found = response_rate(tables, group)
    return found[list(group)].assign(response=found["value"].fillna(overall))


def _line(
    each: dict[Any, Any], half_width: float, size: float, *, level: float, change: bool, kept: float
) -> dict[str, Any]:
    """Plan one group."""
    sd, effect, people, response = size * each["sd"], each["design_effect"], each["population"], each["response"]
    planned = {"sd": sd, "design_effect": effect, "population": people, "response": response}
    if not sd > 0 or not people >= 1:
        return planned | {"answers": np.nan, "invitations": np.nan, "reachable": False, "best_half_width": np.nan}
    need = answers_needed(
        half_width, sd=sd, level=level, design_effect=effect, population=people, change=change, correlation=1 - kept
    )
    asked = float(np.ceil(need / response - 1e-9)) if response > 0 else np.nan
    most = people * (response if response > 0 else 1.0)
    waves = 2 * kept if change else 1.0
    rest = max(1 / most - 1 / people, 0.0)
    best = float(stats.norm.ppf((1 + level) / 2)) * sd * np.sqrt(waves * effect * rest)
    enough = bool((need if np.isnan(asked) else asked) <= people)
    return planned | {"answers": float(need), "invitations": asked, "reachable": enough, "best_half_width": best}
