"""What a link was asked for, and which of it is impossible."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields

from rox.core.errors import DataError
from rox.core.linked import month_index, month_label
from rox.core.study import Outcome
from rox.linking.tables import Tables


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The settings of a link.

    Attributes:
        score: Name of the score, if any.
        outcome: Name of the outcome.
        look_back: Months an answer stays in use.
        lag: Least months from an answer to the money it stands beside.
        washout: Months without an answer before one that counts; None if every answer counts.
        cohort: Number of the month the customers are frozen at, if any.
    """

    score: str | None
    outcome: str
    look_back: int
    lag: int
    washout: int | None
    cohort: int | None

    @property
    def cohort_day(self) -> dt.date | None:
        """The first day of the cohort's month."""
        return None if self.cohort is None else first_day(self.cohort)

    @property
    def unusual(self) -> dict[str, object]:
        """The settings that differ from those of a plain link, for its fingerprint."""
        plain = {"lag": 1, "washout": None, "cohort": None}
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: given[name] for name, usual in plain.items() if given[name] != usual}


def first_day(month: int) -> dt.date:
    """Return the first day of a month given by its number."""
    return dt.date(month // 12, month % 12 + 1, 1)


def choices_of(
    tables: Tables,
    *,
    score: str | None,
    outcome: str,
    look_back: int,
    lag: int,
    washout: int | None,
    cohort: str | None,
) -> Choices:
    """Check the settings of a link against its tables.

    Raises:
        DataError: Names that are not declared, or settings that leave nothing to link; all in one message.
    """
    study = tables.study
    scores = [*study.scores, *study.drivers]
    faults = []
    if score is not None and score not in scores:
        faults.append(f"score {score!r} is not declared; the study has {', '.join(scores)}")
    if outcome not in study.outcomes:
        faults.append(f"outcome {outcome!r} is not declared; the study has {', '.join(study.outcomes)}")
    elif study.outcomes[outcome].table == "answers" and score is None:
        faults.append(f"outcome {outcome!r} stands beside the answers, so it needs a score")
    faults += _month_faults(score, look_back, lag, washout)
    month, found = _cohort_month(tables, study.outcomes.get(outcome), cohort)
    if faults + found:
        raise DataError("These tables cannot be linked so.", faults + found)
    return Choices(score=score, outcome=outcome, look_back=look_back, lag=lag, washout=washout, cohort=month)


def _month_faults(score: str | None, look_back: int, lag: int, washout: int | None) -> Iterator[str]:
    if look_back < 1:
        yield f"look_back is {look_back}; at least 1 month is needed"
    if lag < 1:
        yield f"lag is {lag}; at least 1 month is needed, or a score would stand beside money of its own month"
    elif lag > look_back >= 1:
        yield f"lag is {lag} and look_back {look_back}: no answer is old enough and fresh enough at once"
    if washout is not None and washout < 0:
        yield f"washout is {washout}; months are counted from 0, which only drops further answers of one month"
    if score is None and (washout is not None or lag > 1):
        yield "washout and lag are about answers; give a score, or leave them out"


def _cohort_month(tables: Tables, outcome: Outcome | None, cohort: str | None) -> tuple[int | None, list[str]]:
    """Read the month of a cohort and see whether any money can follow it."""
    if cohort is None:
        return None, []
    match = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", cohort)
    if match is None:
        return None, [f"cohort is {cohort!r}; write a month as 2024-03"]
    month = month_index(int(match[1]), int(match[2]))
    extract = tables.study.about.extract
    first, last = None, month_index(extract.year, extract.month)
    if outcome is not None and outcome.table == "ledger":
        first, last = tables.money_months
    if (first is not None and month < first) or month > last:
        begins = "the money begins" if first is None else month_label(first)
        return month, [f"cohort is {cohort}; it must lie within the months of money, {begins} to {month_label(last)}"]
    return month, []
