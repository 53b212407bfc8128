"""Alerts as tickets: a group's value that is out of bounds, or moved, with its owner, its due date and its reason.

Groups only: no customer is named, a group of fewer than ``min_cell`` customers is never told, and of single low
answers only their number per group is. Every alert is written once. A file of alerts is itself a table of tickets, so
that :func:`rox.metrics.tickets.follow_up` measures how fast they are taken up (:mod:`rox.review.alert_tickets`).
"""

from __future__ import annotations

import calendar
import csv
import datetime as dt
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
from scipy import stats

from rox.core.errors import DataError
from rox.core.files import held_alone, write_text
from rox.core.units import Unit
from rox.core.words import LANGUAGES, Language, say
from rox.metrics.agreement import floored, support_of
from rox.metrics.alert_chances import against
from rox.metrics.alert_rules import LOW, Rule, is_low
from rox.metrics.answers import measures, require_direction, scored
from rox.metrics.cells import moments
from rox.metrics.display import small_cells
from rox.metrics.estimates import ratio
from rox.metrics.responses import answered_invitations
from rox.metrics.source import MONTHS_OF, Rows, Tables, rows_of, scale_of, time_label
from rox.numerics.arms import benjamini_hochberg
from rox.numerics.monitoring import process_variance

COLUMNS = (
    "alert", "date", "rule", "metric", "question", "group", "window", "value", "low", "high", "level", "n", "threshold",
    "p", "q", "owner", "due", "contacted", "watched", "expected_false", "reason_en", "reason_zh",
)  # fmt: skip
"""Columns of the table; ``contacted`` is empty until the owner has taken it up, then filled in there."""
FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")
"""What spreadsheets take for the start of a formula, in both widths; and the apostrophe that says it is not."""
DECIMALS = {str(Unit.COUNT): 0, str(Unit.SCORE_POINT): 2}
"""Decimals of a value in a reason, where it is not one."""
LEARNT = 8
"""Earlier changes that it takes to learn how much a group moves by itself; with fewer, only sampling counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Alerts:
    """What was found on a day.

    Attributes:
        on: The day.
        table: One row per alert, the columns of ``COLUMNS``; numbers as floats, dates as ``datetime.date``.
        watched: One row per rule: ``rule``, ``window``, ``watched`` (groups with enough answers), ``skipped`` (too few
            answers), ``alerts``, ``expected_false`` (false alarms to expect if nothing is out of bounds, at most).
    """

    on: dt.date
    table: pd.DataFrame
    watched: pd.DataFrame


def alerts(tables: Tables, rules: Mapping[str, Rule], *, on: dt.date | None = None) -> Alerts:
    """Hold the last finished window of every rule against its bounds.

    A threshold fires when the interval of the value, with ``sure`` on each side, leaves it out. A change fires when it
    is at least as large as asked, and larger than what the sampling of both windows and the movement of such groups by
    themselves, learnt from earlier windows, explain at that level. Of many groups that are looked at together only
    those fire whose p-value, adjusted for their number (Benjamini & Hochberg 1995), is at most ``false_share``. A count
    of low answers fires as it is.

    ``expected_false`` bounds what fires by chance: if every group stood exactly at its threshold, or none had changed,
    that is the sum of their chances, and about q/(1−q)² with q = ``false_share`` however many they are; beside groups
    that fire with reason it is about q of all that fire.

    Args:
        tables: Loaded tables.
        rules: What :func:`rox.metrics.alert_rules.read_rules` returned.
        on: The day; by default that of the extract. Nothing after it is looked at.

    Raises:
        DataError: No such question or group; answers that cannot be measured.
    """
    day = on or tables.study.about.extract
    found, watched = [], []
    for name, rule in rules.items():
        window = _last_window(rule.window, day)
        values = _values(tables, rule, window, day)
        judged, skipped = _judged(values, rule, window, tables.study.about.min_cell, _stands_beside(rule, rules))
        fired = judged[judged["fires"]]
        expected = _expected(judged, rule)
        watched.append(
            {"rule": name, "window": time_label(window, rule.window), "watched": len(judged), "skipped": skipped,
             "alerts": len(fired), "expected_false": expected}
        )  # fmt: skip
        lows = _lows(tables, rule)
        found += [_row(name, rule, each, day, len(judged), expected, lows) for _, each in fired.iterrows()]
    return Alerts(on=day, table=pd.DataFrame(found, columns=list(COLUMNS)), watched=pd.DataFrame(watched))


def write_alerts(found: Alerts, rules: Mapping[str, Rule], path: str | Path) -> pd.DataFrame:
    """Append alerts to a CSV file, those not in it yet and not in a quiet time; what it holds is left as it is.

    No cell begins with a sign that a spreadsheet takes for a formula: text gets an apostrophe before it, a negative
    number a space.

    Args:
        found: What :func:`alerts` returned.
        rules: The rules it was found by, for their quiet times.
        path: The file; made with a header if it is not there.

    Returns:
        The rows written.

    Raises:
        DataError: The file is not one of alerts, or another run is writing it.
    """
    with held_alone(path):
        return _appended(found, rules, Path(path))


def _appended(found: Alerts, rules: Mapping[str, Rule], path: Path) -> pd.DataFrame:
    before = read_alerts(path) if path.exists() else pd.DataFrame(columns=list(COLUMNS))
    known = set(before["alert"])
    fresh = []
    for _, row in found.table.iterrows():
        same = before[(before["rule"] == row["rule"]) & (before["group"] == row["group"])]
        days = [(row["date"] - date).days for date in same["date"]]
        if row["alert"] in known or any(0 <= each < rules[row["rule"]].quiet_days for each in days):
            continue
        fresh.append(row)
    written = pd.DataFrame(fresh, columns=list(COLUMNS))
    if path.exists() and not len(written):
        return written
    order = list(before.columns)
    old = path.read_text(encoding="utf-8-sig") if path.exists() else _line(COLUMNS)
    old = old if old.endswith("\n") else old + "\n"
    write_text(path, old + "".join(_line([row.get(column) for column in order]) for _, row in written.iterrows()))
    return written


def read_alerts(path: str | Path) -> pd.DataFrame:
    """Read a file of alerts: dates as ``datetime.date``, numbers as floats, text without the apostrophe before it.

    Raises:
        DataError: The file is not one of alerts; every fault at once.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as cause:
        raise DataError(f"{path} cannot be read as a table of alerts.", [str(cause)]) from cause
    faults = [f"column {name!r} is missing" for name in COLUMNS if name not in frame.columns]
    for name in ("date", "due", "contacted") if not faults else ():
        dates = pd.to_datetime(frame[name].str.strip(), format="%Y-%m-%d", errors="coerce")
        needed = frame[name].str.strip() != ""
        if wrong := int((needed & dates.isna()).sum()):
            faults.append(f"column {name!r}: {wrong} values are no dates such as 2025-12-31")
        frame[name] = [None if pd.isna(each) else each.date() for each in dates]
    if faults:
        raise DataError(f"{path} is no table of alerts.", faults)
    numbers = ("value", "low", "high", "level", "n", "threshold", "p", "q", "watched", "expected_false")
    texts = [column for column in COLUMNS if column not in (*numbers, "date", "due", "contacted")]
    frame = frame.assign(**{column: frame[column].str.removeprefix("'") for column in texts})
    return frame.assign(**{column: pd.to_numeric(frame[column], errors="coerce") for column in numbers})


def _last_window(kind: str, day: dt.date) -> int:
    """Number the last window that is over at the end of a day."""
    months = MONTHS_OF[kind]
    is_last = day.day == calendar.monthrange(day.year, day.month)[1]
    return (12 * day.year + day.month - 1 + is_last) // months - 1


def _values(tables: Tables, rule: Rule, window: int, day: dt.date) -> pd.DataFrame:
    """Measure a window, for changes all up to it: groups, ``window``, ``value``, ``se``, limits, ``n``, customers."""
    by = (*rule.group, rule.window)
    if rule.score is None:
        rows, scale = rows_of(tables, "invitations", by, table=answered_invitations(tables), weighted=False), None
        what, unit = rows.table["_answered"], Unit.RATIO
    else:
        require_direction(tables, rule.score)
        rows, scale = scored(tables, rule.score, by, weighted=rule.metric != LOW), scale_of(tables.study, rule.score)
        if rule.metric == LOW:
            low = rows.table.value.isin([v for v in range(scale.low, scale.high + 1) if is_low(scale, v)])
            what, unit = low.ifelse(1, 0), Unit.COUNT
        else:
            measure = next(each for each in measures(scale, rows.table.value) if each.metric == rule.metric)
            what, unit = measure.value, measure.unit
    key = rows.keys[-1]
    table = rows.table.filter(rows.table[key] <= window if rule.is_change else rows.table[key] == window)
    if "available" in table.columns:
        table = table.filter(table.available.isnull() | (table.available.cast("date") <= ibis.literal(day)))
    rows = replace(rows, table=table)
    found = moments(tables, rows, {rule.metric: what})
    if found.empty:
        columns = ("window", "value", "se", "df", "low", "high", "p", "n", "customers", "_unit")
        return pd.DataFrame(columns=[*rule.group, *columns])
    estimate = ratio(found, rows.by, rule.metric)
    if unit is Unit.COUNT:
        estimate = _counts(tables, rows, estimate, what, rule.level)
    elif rule.is_change:
        size = 100 if unit is Unit.NPS_POINT else 1
        estimate = floored(estimate, (0.0, 1.0) if scale is None else support_of(unit, scale))
        estimate = estimate.assign(value=size * estimate["value"], se=size * estimate["se"])
    else:
        is_below = rule.kind == "below"
        estimate = against(estimate, unit, scale, threshold=rule.threshold, below=is_below, level=rule.level)
    return estimate.rename(columns={rule.window: "window"}).assign(_unit=str(unit))


def _counts(tables: Tables, rows: Rows, base: pd.DataFrame, low: Any, level: float) -> pd.DataFrame:
    """Count low answers with the interval of a Poisson number; ``customers`` are those who gave them."""
    table = rows.table.mutate(_low=low)
    kept = table.filter(table["_low"] == 1)
    people = tables.fetch(kept.group_by(rows.keys).aggregate(unhappy=kept.customer.nunique(), lows=kept.count()))
    people = people.rename(columns=dict(zip(rows.keys, rows.by, strict=True)))
    both = base.merge(people, on=list(rows.by), how="left").fillna({"unhappy": 0, "lows": 0})
    count = both["lows"].to_numpy(dtype=float)
    tail = (1 - level) / 2
    low_end = np.where(count > 0, stats.chi2.ppf(tail, 2 * count) / 2, 0.0)
    return both.assign(
        value=count, se=np.sqrt(np.maximum(count, 1.0)), low=low_end, high=stats.chi2.ppf(1 - tail, 2 * count + 2) / 2,
        customers=np.where(count > 0, both["unhappy"], both["customers"]), p=np.nan,
    )  # fmt: skip


def _stands_beside(rule: Rule, rules: Mapping[str, Rule]) -> bool:
    """Whether another rule tells the total of what this one tells by group."""
    return any(
        (each.metric, each.score) == (rule.metric, rule.score) and set(each.group) < set(rule.group)
        for each in rules.values()
    )


def _judged(values: pd.DataFrame, rule: Rule, window: int, min_cell: int, beside: bool) -> tuple[pd.DataFrame, int]:
    """Say which groups fire in a window, how likely each would without cause; and how many are too small to be told.

    Where the total stands ``beside``, a further group is left out with a small one, which would follow from the others.
    """
    now = _changes(values, rule, window) if rule.is_change else values[values["window"] == window]
    hidden = small_cells(now, rule.group, min_cell) if beside else now["customers"] < min_cell
    small = (now["n"] < rule.least) | hidden | now["se"].isna()
    kept = now[~small].copy()
    if rule.metric == LOW:
        false = stats.poisson.sf(np.full(len(kept), np.floor(rule.threshold)), max(rule.threshold, 0.0))
        return kept.assign(q=np.nan, fires=kept["value"] > rule.threshold, false=false), int(small.sum())
    sign = -1.0 if rule.kind in ("below", "falls") else 1.0
    if rule.is_change:
        spread = np.sqrt((kept["se"] ** 2 + kept["process"]).to_numpy(dtype=float))
        df = kept["df"].to_numpy(dtype=float)
        kept["p"] = stats.t.sf(sign * kept["value"].to_numpy(dtype=float) / spread, df)
        far = (sign * kept["value"] >= rule.threshold).to_numpy()
        false = np.minimum(stats.t.sf(rule.threshold / spread, df), 1 - rule.sure)
    else:
        far = (sign * (kept["value"] - rule.threshold) > 0).to_numpy()
        false = np.full(len(kept), 1 - rule.sure)
    p = kept["p"].to_numpy(dtype=float)
    q = benjamini_hochberg(p) if len(p) else p
    return kept.assign(q=q, fires=far & (p <= 1 - rule.sure) & (q <= rule.false_share), false=false), int(small.sum())


def _expected(judged: pd.DataFrame, rule: Rule) -> float:
    """Bound the alerts that come by chance."""
    alone, q = float(judged["false"].sum()), rule.false_share
    if rule.metric == LOW or q == 1:
        return alone
    return min(alone, max(q / (1 - q) ** 2, q * float(judged["fires"].sum())))


def _changes(values: pd.DataFrame, rule: Rule, window: int) -> pd.DataFrame:
    """Subtract from each window the one before; ``process`` is what such changes vary beyond sampling."""
    keys = [*rule.group, "window"]
    before = values.assign(window=values["window"] + 1)
    both = values.merge(before, on=keys, suffixes=("", "_before"))
    change = both["value"] - both["value_before"]
    se = np.sqrt(both["se"] ** 2 + both["se_before"] ** 2)
    df = np.minimum(both["df"], both["df_before"]).astype(float)
    half = stats.t.ppf((1 + rule.level) / 2, df) * se.astype(float)
    both = both.assign(
        value=change, se=se, df=df, low=change - half, high=change + half,
        n=np.minimum(both["n"], both["n_before"]), customers=np.minimum(both["customers"], both["customers_before"]),
    )  # fmt: skip
    history = both[(both["window"] < window) & (both["n"] >= rule.least) & both["se"].notna()]
    process = process_variance(history["value"], history["se"] ** 2) if len(history) >= LEARNT else 0.0
    return both[both["window"] == window].assign(process=process)


def _lows(tables: Tables, rule: Rule) -> str:
    """Name the answers that count as low, such as 0–6; empty for other metrics."""
    if rule.metric != LOW or rule.score is None:
        return ""
    scale = scale_of(tables.study, rule.score)
    low = [each for each in range(scale.low, scale.high + 1) if is_low(scale, each)]
    return "\N{EN DASH}".join(str(each) for each in sorted({low[0], low[-1]}))


def _row(
    name: str, rule: Rule, each: pd.Series, day: dt.date, watched: int, expected: float, lows: str
) -> dict[str, Any]:
    """Write one alert, its reason in both languages."""
    group = " ".join("; ".join(f"{column}={each[column]}" for column in rule.group).split())
    window = time_label(int(each["window"]), rule.window)
    key = hashlib.sha256(repr((name, group, window)).encode()).hexdigest()[:16]
    due = day + dt.timedelta(days=rule.due_days)
    row = {
        "alert": key, "date": day, "rule": name, "metric": rule.metric, "question": rule.score or "", "group": group,
        "window": window, "value": float(each["value"]), "low": float(each["low"]), "high": float(each["high"]),
        "level": rule.level, "n": float(each["n"]), "threshold": rule.threshold, "p": float(each["p"]),
        "q": float(each["q"]), "owner": rule.owner, "due": due, "contacted": None, "watched": watched,
        "expected_false": expected,
    }  # fmt: skip
    unit, people = str(each["_unit"]), int(each["customers"])
    if rule.metric == LOW:
        return row | {f"reason_{language}": _to_call(rule, row, lows, people, language) for language in LANGUAGES}
    return row | {f"reason_{language}": _reason(rule, row, unit, language) for language in LANGUAGES}


def _to_call(rule: Rule, row: Mapping[str, Any], lows: str, people: int, language: Language) -> str:
    """Say who is to be called, and by when: known customers, so no interval and no chance."""
    return say(
        "alerts.to_call",
        language,
        label=rule.label[language],
        group=row["group"] or say("alerts.everybody", language),
        window=row["window"],
        people=people,
        lows=lows,
        threshold=f"{row['threshold']:g}",
        due=row["due"].isoformat(),
    )


def _reason(rule: Rule, row: Mapping[str, Any], unit: str, language: Language) -> str:
    """Say why, in one sentence."""

    def written(value: float) -> str:
        if unit == str(Unit.RATIO):
            return f"{100 * value:z.1f}%"
        return f"{value:z.{DECIMALS.get(unit, 1)}f}"

    said = {name: written(row[name]) for name in ("low", "high", "threshold")}
    said["value"] = written(abs(row["value"]) if rule.is_change else row["value"])
    return say(
        f"alerts.{rule.kind}",
        language,
        label=rule.label[language],
        group=row["group"] or say("alerts.everybody", language),
        window=row["window"],
        n=f"{row['n']:.0f}",
        watched=row["watched"],
        expected=f"{row['expected_false']:.1f}",
        level=f"{100 * rule.level:.10g}",
        **said,
    )


def _line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return text.getvalue()


def _cell(value: Any) -> str:
    """Write a cell that no spreadsheet runs."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (int, float, np.integer, np.floating)):
        return f" {value:.10g}" if value < 0 else f"{value:.10g}"
    if isinstance(value, dt.date):
        return value.isoformat()
    text = " ".join(str(value).split())
    return f"'{text}" if text.startswith(FORMULAS) else text
