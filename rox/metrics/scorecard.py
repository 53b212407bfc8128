"""The parts of a scorecard, however little a study has: each is measured, or a check says what is missing.

Faults of the data still stop: the scores themselves are measured first, by :func:`rox.metrics.overview.experience`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.linked import month_index
from rox.core.study import Study
from rox.core.tree_report import TreeReport
from rox.core.words import LANGUAGES, Language, say
from rox.metrics.answers import nps_name, scores
from rox.metrics.display import SHOWN_FROM
from rox.metrics.drill import Drill, drill
from rox.metrics.mix import Moved, moved
from rox.metrics.overview import Experience
from rox.metrics.rivals import Standing, read_rivals, standing
from rox.metrics.season import LUNAR, Seasonal, lunar_share, promotion_share, seasonal
from rox.metrics.silence import Silence, silence
from rox.metrics.source import MONTHS_OF, PLACE, Tables, count_true, period, required, scale_of, time_label
from rox.metrics.tallies import CHURN
from rox.metrics.trees import measure_tree, metric_tree
from rox.metrics.watch import LEARN, Watch, watch

Part = TypeVar("Part")
RIVALS, TREE = "rivals.toml", "experience.toml"
"""Files beside the study file."""
SEGMENT = "segment"
"""Column of the customers that a change is split by if no other can be; it may hold one segment."""
MOSTLY = 0.5
"""Share of the window of a lunar new year from which a month is marked."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a change is looked at between, and by.

    Attributes:
        first: The earlier period.
        second: The later one.
        by: Columns to split by, the widest first.
        checks: What was left out.
    """

    first: str
    second: str
    by: tuple[str, ...]
    checks: tuple[Check, ...]


def question(study: Study, wanted: str = "") -> str:
    """Return the question the scorecard is about: the one wanted, else the first NPS, else the first score.

    Raises:
        DataError: No such question, or no score at all.
    """
    if wanted:
        scale_of(study, wanted)
        return wanted
    found = nps_name(study) or next(iter(study.scores), "")
    if not found:
        raise DataError("The study declares no score.", ["add [scores.NAME] to the study file"])
    return found


def compared(tables: Tables, score: str, by: str = "") -> Compared | Check:
    """Choose the two last periods that can be compared, and what to split their difference by.

    Only periods that had ended at the extract, with enough answers for a point, are compared: the last year with the
    one before, if it is the latest and both have answers in the same quarters; else the last quarter with the same
    quarter a year before, else with the one before it; else months likewise.

    Args:
        tables: Loaded tables.
        score: The question.
        by: Columns of answers or customers, with commas between; those there are, and that leave enough answers to
            their groups, are used.
    """
    found = _two_periods(tables, score)
    if found is None:
        return Check(code="ROX-M17", verdict=Verdict.NOTE, values={"metric": score})
    first, second, answers = found
    wanted = tuple(dict.fromkeys(each.strip() for each in by.split(",") if each.strip()))
    kept, checks = _columns(tables, score, wanted, answers)
    if not kept and SEGMENT not in required(tables, "customers").columns:
        return checks[0] if checks else _none_of(wanted)
    checks += [_none_of(wanted)] if not kept and not checks else []
    return Compared(first=first, second=second, by=kept or (SEGMENT,), checks=tuple(checks))


def movement(tables: Tables, score: str, between: Compared | Check) -> Moved | Check:
    """Split the change between two periods, as :func:`rox.metrics.mix.moved`."""
    if isinstance(between, Check):
        return between
    return _possible("moved", lambda: moved(tables, score, between.first, between.second, by=between.by))


def slices(tables: Tables, score: str, between: Compared | Check) -> Drill | Check:
    """Search where the change came from, as :func:`rox.metrics.drill.drill`."""
    if isinstance(between, Check):
        return between
    return _possible("drill", lambda: drill(tables, score, between.first, between.second, between.by))


def silent(tables: Tables, score: str) -> Silence | Check:
    """Estimate the score of everybody in the last wave with enough answers, as :func:`rox.metrics.silence.silence`."""
    return _possible("silence", lambda: silence(tables, score, until=_last_wave(tables, score)))


def followed(tables: Tables, score: str, measured: Experience) -> Watch:
    """Chart the score by period; where there are too few periods for limits, only the periods are there.

    Args:
        tables: Loaded tables.
        score: The question.
        measured: What holds the periods.
    """
    every: Literal["month", "quarter"] = measured.every
    rows = measured.trend[measured.trend["score"] == score]
    rows = rows[rows["metric"] == rows["metric"].iloc[0]].reset_index(drop=True)
    values: dict[str, str | int] = {"metric": score, "needed": LEARN[every]}
    check = Check(code="ROX-M23", verdict=Verdict.NOTE, values=values)
    if rows["value"].notna().sum() > LEARN[every]:
        found = _possible("watch", lambda: watch(tables, score, every=every))
        if not isinstance(found, Check):
            return found
        check = found
    return Watch(
        score=score, by=(), every=every, series=rows, charts=pd.DataFrame(),
        alarms=pd.DataFrame(columns=["chart", every, "direction", "value", "expected", "rebound"]),
        changes=pd.DataFrame(columns=["date", "earliest", "latest", "before", "after"]),
        moved=pd.DataFrame(columns=["residual", "p", "q", "moved"]), run_lengths=MappingProxyType({}),
        expected_false=0.0, checks=(check,),
    )  # fmt: skip


def seasons(tables: Tables, score: str) -> Seasonal | Check:
    """Take the season out of the score, or out of customers leaving where the score has less than two years of months.

    Args:
        tables: Loaded tables.
        score: The question.
    """
    able = [score, *([CHURN] if {"ledger", "exits"} <= set(tables.tables) else [])]
    for each in able:
        found = _possible("season", lambda each=each: seasonal(tables, each))  # type: ignore[misc]
        if not isinstance(found, Check):
            return found
    return Check(code="ROX-M24", verdict=Verdict.NOTE, values={"metric": score})


def calendar(study: Study, found: Seasonal | Check) -> pd.DataFrame:
    """List the months that hold a lunar new year, and those of promotions.

    Args:
        study: The study, with its promotions.
        found: The series whose months are asked for.

    Returns:
        One row per ``month`` and ``mark``, and what the mark is called: ``en``, ``zh``.
    """
    columns = ["month", "mark", "en", "zh"]
    if isinstance(found, Check):
        return pd.DataFrame(columns=columns)
    rows = []
    for label in dict.fromkeys(found.adjusted["month"]):
        month = month_index(int(label[:4]), int(label[5:]))
        if lunar_share(month) >= MOSTLY:
            rows.append([label, LUNAR, *(say("figure.movement.lunar_new_year", each) for each in LANGUAGES)])
        for name, promotion in study.promotions.items():
            if promotion_share(promotion, month) > 0:
                rows.append([label, name, *(promotion.label[each] for each in LANGUAGES)])
    return pd.DataFrame(rows, columns=columns)


def beside(tables: Tables, *, rng: int | np.random.Generator | None = None) -> Standing | Check:
    """Put the companies of ``rivals.toml`` beside one's own, as :func:`rox.metrics.rivals.standing`."""
    path = tables.study.folder / RIVALS
    if not path.is_file():
        return Check(code="ROX-M20", verdict=Verdict.NOTE, values={"file": RIVALS})
    declared = read_rivals(path, tables.study)
    return _possible("rivals", lambda: standing(tables, declared, rng=rng))


def journey(tables: Tables) -> TreeReport | Check:
    """Measure the tree of ``experience.toml`` by quarter, as :func:`rox.metrics.trees.measure_tree`."""
    path = tables.study.folder / TREE
    if not path.is_file():
        return Check(code="ROX-M21", verdict=Verdict.NOTE, values={"file": TREE})
    tree = metric_tree(path)
    return _possible("journey", lambda: measure_tree(tables, tree))


def leaving(measured: Experience) -> pd.DataFrame | Check:
    """Return hazards and churn as measured, or what is missing for them."""
    return measured.churn if len(measured.churn) else Check(code="ROX-M22", verdict=Verdict.NOTE)


def responding(measured: Experience) -> pd.DataFrame | Check:
    """Return response rates as measured, or what is missing for them."""
    return measured.response if len(measured.response) else Check(code="ROX-M25", verdict=Verdict.NOTE)


def told(part: pd.DataFrame | Check, language: Language = "en") -> pd.DataFrame | str:
    """Return a frame as it is, and of a missing one the sentence that says so."""
    return part.sentence(language) if isinstance(part, Check) else part


def checks_of(*parts: Any) -> tuple[Check, ...]:
    """Gather the checks of parts, each once; a part that is missing is its own check."""
    found = (check for part in parts for check in ([part] if isinstance(part, Check) else getattr(part, "checks", ())))
    return tuple({(check.code, str(dict(check.values))): check for check in found}.values())


def numbers_of(**parts: Any) -> dict[str, Any]:
    """Turn parts into plain values for a record: frames as lists of rows, a missing part as its code."""
    return {name: part.code if isinstance(part, Check) else _plain(part) for name, part in parts.items()}


def _plain(part: Any) -> Any:
    if isinstance(part, TreeReport):
        record = part.as_record()
        return {name: record[name] for name in ("tree", "north_star", "every", "now", "unmeasured")}
    if isinstance(part, pd.DataFrame):
        return part.to_dict(orient="records")
    wanted = {
        name: getattr(part, name)
        for name in part.__dataclass_fields__
        if isinstance(getattr(part, name), (str, int, float, tuple, pd.DataFrame)) and name != "checks"
    }
    return {name: _plain(each) if isinstance(each, pd.DataFrame) else each for name, each in wanted.items()}


def _possible(part: str, make: Callable[[], Part]) -> Part | Check:
    """Measure a part; what it lacks becomes a check.

    Faults of the answers have stopped the run before: the scores are measured first.
    """
    try:
        return make()
    except DataError as cause:
        said = ": ".join([cause.headline.rstrip("."), *(["; ".join(cause.faults)] if cause.faults else [])]) + "."
        values = {"part": f"scorecard.{part}", "reason": said}
        return Check(code="ROX-M16", verdict=Verdict.NOTE, values=values)


def _last_wave(tables: Tables, score: str) -> str | None:
    """Return the month of the last wave with enough answers for a point; None if no wave has them."""
    waves = scores(tables, score, ["wave"])
    waves = waves[waves["value"].notna()]
    return str(waves["wave"].max()) if len(waves) else None


def _two_periods(tables: Tables, score: str) -> tuple[str, str, float] | None:
    """Return two periods that can be compared, and their effective answers."""
    extract = tables.study.about.extract
    whole_months = month_index(extract.year, extract.month) + (_is_last_day(extract) - 1)
    frames = {kind: scores(tables, score, [kind]) for kind in ("year", "quarter", "month")}
    found = {kind: _told(frame, kind, whole_months) for kind, frame in frames.items()}
    years, quarters = found["year"], {period(str(label))[1] for label in frames["quarter"]["quarter"]}
    ended = {number for number in quarters if 3 * number + 2 <= whole_months}
    if len(years) > 1 and max(years) - 1 in years and _is_latest(ended, max(years)):
        return _pair("year", years, max(years) - 1, max(years))
    for kind, size in (("quarter", 4), ("month", 12)):
        known = found[kind]
        last = max(known, default=0)
        near = [number for number in known if last - size <= number < last]
        if near:
            return _pair(kind, known, last - size if last - size in known else max(near), last)
    return None


def _told(frame: pd.DataFrame, kind: str, last: int) -> Mapping[int, float]:
    """Return effective answers of the finished periods that are told, by number of the period."""
    rows = frame[(frame["metric"] == frame["metric"].iloc[0]) & frame["value"].notna()]
    numbers = {int(period(str(label))[1]): float(n) for label, n in zip(rows[kind], rows["n_eff"], strict=True)}
    return {number: n for number, n in numbers.items() if (number + 1) * MONTHS_OF[kind] - 1 <= last}


def _is_latest(quarters: Set[int], year: int) -> bool:
    """Whether the year holds the last quarter with answers, and the year before answers in the same quarters."""
    of = [{number % 4 for number in quarters if number // 4 == each} for each in (year - 1, year)]
    return bool(quarters) and max(quarters) // 4 == year and of[0] == of[1]


def _pair(kind: str, known: Mapping[int, float], first: int, second: int) -> tuple[str, str, float]:
    return time_label(first, kind), time_label(second, kind), known[first] + known[second]


def _is_last_day(day: dt.date) -> bool:
    return (day + dt.timedelta(days=1)).month != day.month


def _columns(
    tables: Tables, score: str, wanted: tuple[str, ...], answers: float
) -> tuple[tuple[str, ...], list[Check]]:
    """Keep the columns there are, as long as their joint groups leave enough answers in each of two periods."""
    customers, said = required(tables, "customers"), required(tables, "answers")
    kept: list[str] = []
    crowded = []
    groups = 1
    for name in wanted:
        column = "unit" if name == PLACE and PLACE not in customers.columns else name
        source = said if column in said.columns else customers if column in customers.columns else None
        if source is None:
            continue
        found = tables.fetch(source.aggregate(n=source[column].nunique(), empty=count_true(source[column].isnull())))
        size = int(found.iloc[0]["n"]) + bool(found.iloc[0]["empty"])
        if size < 2:
            continue
        if groups * size * 2 * SHOWN_FROM > answers:
            crowded.append(name)
            continue
        kept.append(name)
        groups *= size
    values: dict[str, str | int] = {"columns": ", ".join(crowded), "answers": int(answers)}
    checks = [Check(code="ROX-M18", verdict=Verdict.NOTE, values=values)] if crowded else []
    return tuple(kept), checks


def _none_of(wanted: Iterable[str]) -> Check:
    return Check(code="ROX-M19", verdict=Verdict.NOTE, values={"columns": ", ".join(wanted) or "–"})
