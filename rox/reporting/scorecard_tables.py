"""Tables of a scorecard as a reader sees them: labelled, rounded, with ranges; and the checks as a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np
import pandas as pd

from rox.core.check import Check
from rox.core.study import Scale
from rox.core.words import Language, catalogue, say
from rox.reporting.experience_figures import ALL, unit_of
from rox.reporting.numbers import MISSING, count, form, step_of, with_range
from rox.reporting.silence_figures import fact_name

COUNTED = (
    ("response_rate", "invitations"),
    ("churn_", "customer_months"),
    ("money_churn_", "customer_months"),
    ("retention_", "customers"),
    ("answer", "customers"),
    ("kept_money", "customers"),
    ("new_money", "customers"),
    ("earned_", "customers"),
)
"""What ``n`` counts, by the start of the metric; answers for the others."""
CHURN = "churn"
"""What the share leaving is called where a question could stand."""
CELL = 'style="text-align:{side};padding:2px 10px;vertical-align:top"'


@dataclass(frozen=True)
class Shown:
    """What a notebook shows: words that have been escaped.

    Attributes:
        html: For the page.
        text: For a terminal.
    """

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Shown:
    """Lay out words as a table; the first column stands to the left, the others to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    sides = ["left", *["right"] * (len(head) - 1)]

    def laid(tag: str, line: Sequence[str]) -> str:
        cells = zip(sides, line, strict=True)
        return "".join(f"<{tag} {CELL.format(side=side)}>{escape(word)}</{tag}>" for side, word in cells)

    body = "".join(f"<tr>{laid('td', line)}</tr>" for line in lines[1:])
    html = f"<table><thead><tr>{laid('th', lines[0])}</tr></thead><tbody>{body}</tbody></table>"
    return Shown(html, "\n".join(" | ".join(line) for line in lines))


def points(sentences: Iterable[str]) -> Shown:
    """List sentences."""
    said = list(sentences)
    items = "".join(f"<li>{escape(each)}</li>" for each in said)
    return Shown(f"<ul>{items}</ul>", "\n".join(f"- {each}" for each in said))


def tables_read(counts: Mapping[str, int], language: Language = "en") -> Shown:
    """List the tables and their rows."""
    head = [say(f"scorecard.{name}", language) for name in ("table", "rows")]
    return table(head, [[name, count(size, language)] for name, size in counts.items()])


def headline(frame: pd.DataFrame, scales: Mapping[str, Scale], language: Language = "en") -> Shown:
    """Show figures over everybody: measure, period, value with its range, and what it rests on.

    Args:
        frame: Rows with ``period``, ``score``, ``metric``, ``unit``, ``value``, ``low``, ``high``, ``n``.
        scales: The questions, for their labels.
        language: Of the words.
    """
    head = [say(f"scorecard.{name}", language) for name in ("measure", "period", "value", "from")]
    rows = []
    for _, row in frame.iterrows():
        name = say(f"metrics.{row['metric']}", language)
        if row["score"] in scales:
            question = scales[str(row["score"])].label[language]
            name = say("scorecard.of_question", language, metric=name, question=question)
        rows.append([name, str(row["period"]), value_of(row, language), _counted(row, language)])
    return table(head, rows)


def by_group(part: pd.DataFrame | Check, language: Language = "en") -> Shown:
    """Show figures with a column per metric and a row per period and segment; of a missing part, why it is missing.

    Args:
        part: Rows with ``period``, ``segment``, ``metric`` and numbers, or the check that stands for them.
        language: Of the words.
    """
    if isinstance(part, Check):
        return points([part.sentence(language)])
    metrics = list(dict.fromkeys(part["metric"]))
    names = [say(f"metrics.{each}", language) for each in metrics]
    titles = [say(f"scorecard.{each}", language) for each in ("group", "period")]
    rows = []
    for (period, segment), cells in part.groupby(["period", "segment"], sort=False):
        own = cells.set_index("metric")
        group = say("estimates.everyone", language) if segment == ALL else str(segment)
        told = [value_of(own.loc[each], language) if each in own.index else MISSING for each in metrics]
        rows.append([group, str(period), *told, _counted(cells.iloc[0], language)])
    return table([*titles, *names, say("scorecard.from", language)], rows)


def value_of(row: pd.Series, language: Language = "en") -> str:
    """Write a value with its range; without a point only the range, and without either that there are too few."""
    low, high, unit = float(row["low"]), float(row["high"]), unit_of(str(row["unit"]))
    if not np.isfinite(low):
        return say("figure.experience.hidden", language)
    if np.isfinite(row["value"]):
        shape = form(unit, language, like=(float(row["value"]), low, high), step=step_of(low, high))
        return say("figure.movement.told", language, value=shape(float(row["value"])), range=shape.span(low, high))
    shape = form(unit, language, like=(low, high), step=step_of(low, high))
    return say("figure.movement.thin", language, range=shape.span(low, high))


def checks(
    found: Iterable[Check],
    scales: Mapping[str, Scale],
    language: Language = "en",
    *,
    names: Mapping[str, str] | None = None,
) -> Shown:
    """List what was checked, with questions, facts and companies by what they are called.

    Args:
        found: The checks.
        scales: The questions, for their labels.
        language: Of the words.
        names: What companies are called; their own names by default.
    """
    called = {name: scale.label[language] for name, scale in scales.items()}
    called |= {name: say("metrics.nps", language) for name, scale in scales.items() if scale.kind == "nps"}
    called |= {CHURN: say("metrics.churn_all", language)}
    return points(_labelled(check, called, names or {}, language).sentence(language) for check in found)


def _labelled(check: Check, called: Mapping[str, str], names: Mapping[str, str], language: Language) -> Check:
    values = dict(check.values)
    for name, value in check.values.items():
        if name in ("metric", "reference"):
            values[name] = called.get(str(value), value)
        elif name == "company":
            values[name] = names.get(str(value), value)
        elif name in ("fact", "margin") and isinstance(value, str) and value not in catalogue():
            values[name] = fact_name(value, language)
    return replace(check, values=values)


def _counted(row: pd.Series, language: Language) -> str:
    if not np.isfinite(row["n"]):
        return MISSING
    metric = str(row["metric"])
    what = next((what for start, what in COUNTED if metric.startswith(start)), "answers")
    return say(f"scorecard.n.{what}", language, n=count(float(row["n"]), language))


def ranged(row: pd.Series, language: Language = "en", *, signed: bool = False) -> str:
    """Write a value of a sentence with its 90% range."""
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    return with_range(value, low, high, unit_of(str(row["unit"])), language, signed=signed)
