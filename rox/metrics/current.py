"""The scorecard of now: scores, leaving and response of the last period that had ended, over all and by segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.words import Language
from rox.metrics.answers import score_distribution, score_splits
from rox.metrics.exits import churn_splits
from rox.metrics.overview import ALL, Experience
from rox.metrics.responses import response_splits
from rox.metrics.rivals import read_rivals
from rox.metrics.scorecard import RIVALS
from rox.metrics.source import STRATUM, Tables, month_range, period, required, time_label

OF_PERIOD = ("response_rate", "churn_", "money_churn_")
"""Figures of the headline, beside the scores, that are told of the period."""
OF_YEAR = ("kept_money", "new_money", "earned_money", "earned_growth")
"""Figures that compare the last twelve months of the ledger with those before, whatever the period."""
MONTHLY = ("hazard_", "money_hazard_")
"""Figures left out, because the yearly ones say the same."""


class Chosen(Protocol):
    """Two periods that can be compared."""

    @property
    def first(self) -> str:
        """The earlier period."""

    @property
    def second(self) -> str:
        """The later one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Current:
    """Where things stand; frames have the columns of ``display.shown``.

    Attributes:
        period: What the figures are of: the last period that had ended and can be compared with one before, such as
            ``2025``; without one all time together, such as ``2023–2025``.
        before: The period it is compared with; empty without.
        headline: Over everybody, with ``period`` (of each row), ``score`` (empty for figures outside the survey).
        by_segment: Scores by ``segment``.
        shares: Shares of every answer of the question by ``segment``.
        leaving: Yearly churn with ``period`` and ``segment``: everybody before and now, and each segment now; what is
            missing for it.
        response: Response rates, likewise.
    """

    period: str
    before: str
    headline: pd.DataFrame
    by_segment: pd.DataFrame
    shares: pd.DataFrame
    leaving: pd.DataFrame | Check
    response: pd.DataFrame | Check


def current(tables: Tables, score: str, measured: Experience, between: Chosen | Check) -> Current:
    """Read the scorecard off the last period that can be compared, or off all time where there is none.

    Args:
        tables: Loaded tables.
        score: The question whose answers are counted.
        measured: The figures over all time.
        between: As of ``scorecard.compared``.

    Raises:
        DataError: As in the functions of this room.
    """
    names = tuple(dict.fromkeys((*tables.study.scores, score)))
    if isinstance(between, Check):
        label, kind = _together(measured), ""
        scored = [measured.headline[measured.headline["score"].isin(names)], measured.by_segment]
        shares = score_distribution(tables, score, [STRATUM])
        parts = {"churn": measured.churn, "response": measured.response}
        found = {name: frame[frame["period"] == ALL].assign(period=label) for name, frame in parts.items()}
    else:
        label, kind = between.second, period(between.second)[0]
        splits = ((kind,), (kind, STRATUM))
        level = float(measured.headline["level"].iloc[0])
        scored = [_of(frame, kind, label) for frame in score_splits(tables, names, splits, level=level)]
        shares = _of(score_distribution(tables, score, [kind, STRATUM]), kind, label)
        found = {"churn": measured.churn, "response": measured.response}
        if len(measured.churn):
            found["churn"] = _split(churn_splits(tables, splits, level=level), kind, between)
        if len(measured.response):
            found["response"] = _split(response_splits(tables, splits, level=level), kind, between)
    leaving = found["churn"]
    yearly = leaving[~leaving["metric"].str.startswith((*MONTHLY, "retention_"))] if len(leaving) else leaving
    return Current(
        period=label,
        before="" if isinstance(between, Check) else between.first,
        headline=_headline(tables, measured, label, scored[0], (yearly, found["response"])),
        by_segment=scored[1].reset_index(drop=True),
        shares=shares,
        leaving=yearly.reset_index(drop=True) if len(yearly) else Check(code="ROX-M22", verdict=Verdict.NOTE),
        response=found["response"] if len(found["response"]) else Check(code="ROX-M25", verdict=Verdict.NOTE),
    )


def companies(tables: Tables, language: Language) -> dict[str, str]:
    """Return what the companies of the file of benchmarks are called, by their name in the study's language."""
    path = tables.study.folder / RIVALS
    if not path.is_file():
        return {}
    declared = read_rivals(path, tables.study)
    called = [declared.own.name, *(each.name for each in declared.rivals)]
    return {name[tables.study.language]: name[language] for name in called}


def _together(measured: Experience) -> str:
    """Name all the time the answers are of: its first and last year."""
    years = sorted({str(label)[:4] for label in measured.trend[measured.every]})
    return years[0] if len(years) == 1 else f"{years[0]}–{years[-1]}"


def _last_months(tables: Tables) -> str:
    """Name the last twelve months of the ledger."""
    last = month_range(tables, required(tables, "ledger"))[1]
    return f"{time_label(last - 11, 'month')}–{time_label(last, 'month')}"


def _of(frame: pd.DataFrame, kind: str, label: str) -> pd.DataFrame:
    return frame[frame[kind] == label].drop(columns=kind).reset_index(drop=True)


def _split(frames: list[pd.DataFrame], kind: str, between: Chosen) -> pd.DataFrame:
    """Stack everybody in both periods, and every segment in the later one."""
    whole, parts = frames
    whole = whole[whole[kind].isin([between.first, between.second])].assign(**{STRATUM: ALL})
    parts = parts[(parts[kind] == between.second) & (parts[STRATUM] != ALL)]
    stacked = pd.concat([whole, parts], ignore_index=True).rename(columns={kind: "period"})
    return stacked[["period", STRATUM, *(name for name in stacked.columns if name not in ("period", STRATUM))]]


def _headline(
    tables: Tables, measured: Experience, label: str, scored: pd.DataFrame, others: tuple[pd.DataFrame, ...]
) -> pd.DataFrame:
    """Put scores, response and churn of the period before what is told of a year, or of all time."""
    rows = [scored.assign(period=label)]
    for frame in reversed(others):
        if len(frame):
            own = frame[(frame["period"] == label) & (frame[STRATUM] == ALL)]
            rows.append(own.assign(score=""))
    rest = measured.headline[measured.headline["score"] == ""]
    rest = rest[~rest["metric"].str.startswith((*OF_PERIOD, *MONTHLY))]
    whole = _together(measured)
    year = _last_months(tables) if rest["metric"].isin(OF_YEAR).any() else whole
    rows.append(rest.assign(period=[year if name in OF_YEAR else whole for name in rest["metric"]]))
    columns = ["period", *measured.headline.columns]
    return pd.concat([each[columns] for each in rows if len(each)], ignore_index=True)
