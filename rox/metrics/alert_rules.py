"""Rules of alerts: what is watched, for whom, and who has to answer for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from rox.core.declared import Declared, Words, read_toml, validated
from rox.core.errors import DataError
from rox.core.study import Name, Scale, Study

WINDOWS = ("month", "quarter", "year")
METRICS = {
    "nps": ("nps",),
    "csat": ("mean", "top_two"),
    "ces": ("mean", "easy"),
    "rating": ("mean",),
}
"""Metrics of a question by its kind; besides, every question has ``low_answers``, a count."""
LOW = "low_answers"
RESPONSE = "response_rate"


class Rule(Declared):
    """One thing that is watched.

    Attributes:
        label: What a reader calls it.
        metric: ``nps``, ``mean``, ``top_two``, ``easy``, ``low_answers`` (a count) or ``response_rate``.
        score: The question; not for ``response_rate``.
        group: Columns whose groups are watched one by one; empty for everybody together.
        window: Length of what is looked at; the last one that was over on the day counts.
        below: Alert when the true value is below this, as surely as ``sure`` says.
        above: Alert when it is above.
        falls: Alert when it fell by at least this since the window before, and chance explains it no better than
            ``sure`` allows.
        rises: Alert when it rose by at least this.
        owner: The department that answers for it.
        due_days: Days it has.
        quiet_days: Days after an alert in which the same rule says nothing more of the same group.
        least: Answers (invitations for a response rate) a window must hold; of a change, both windows.
        sure: Probability, one-sided, that the alert is not due to chance. Counts are as they are.
        false_share: Of the alerts of the rule's groups in a window, the share that may be false: the rate of false
            discoveries of Benjamini & Hochberg (1995). With 1, every group stands for itself.
    """

    label: Words
    metric: Literal["nps", "mean", "top_two", "easy", "low_answers", "response_rate"]
    score: Name | None = None
    group: tuple[Name, ...] = ()
    window: Literal["month", "quarter", "year"] = "quarter"
    below: float | None = None
    above: float | None = None
    falls: Annotated[float, Field(gt=0)] | None = None
    rises: Annotated[float, Field(gt=0)] | None = None
    owner: Annotated[str, Field(min_length=1)]
    due_days: Annotated[int, Field(ge=0)] = 14
    quiet_days: Annotated[int, Field(ge=0)] = 0
    least: Annotated[int, Field(ge=2)] = 50
    sure: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    false_share: Annotated[float, Field(gt=0, le=1)] = 0.10

    @field_validator("below", "above", "falls", "rises")
    @classmethod
    def _a_number(cls, value: float | None) -> float | None:
        if value is not None and not abs(value) < float("inf"):
            raise ValueError("give a number")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Rule:
        given = [name for name in ("below", "above", "falls", "rises") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of below, above, falls and rises, not {', '.join(given) or 'none'}")
        if (self.metric == RESPONSE) != (self.score is None):
            raise ValueError("every metric but response_rate is that of a question: name it in `score`")
        if self.metric == LOW and given != ["above"]:
            raise ValueError("low_answers is a count: it can only be watched by `above`")
        return self

    @property
    def kind(self) -> str:
        """``below``, ``above``, ``falls`` or ``rises``."""
        return next(name for name in ("below", "above", "falls", "rises") if getattr(self, name) is not None)

    @property
    def threshold(self) -> float:
        """What the value, or its change, is held against."""
        return float(getattr(self, self.kind))

    @property
    def is_change(self) -> bool:
        """Whether it watches a change from window to window."""
        return self.kind in ("falls", "rises")

    @property
    def level(self) -> float:
        """Level of the intervals: two-sided, with ``sure`` on each side; never below a half."""
        return max(2 * self.sure - 1, 0.5)


class Rules(Declared):
    """Rules by name."""

    alerts: dict[Name, Rule] = Field(min_length=1)


def read_rules(path: str | Path, study: Study) -> dict[str, Rule]:
    """Read rules and hold them against a study.

    Args:
        path: A TOML file with a table ``[alerts.NAME]`` for each rule.
        study: Whose tables they watch.

    Raises:
        DataError: Every fault of the file in one message.
    """
    path = Path(path)
    rules, faults = validated(Rules, read_toml(path, "file of rules", DataError))
    if rules is not None:
        faults = [f"alerts.{name}.{line}" for name, rule in rules.alerts.items() for line in _faults(rule, study)]
    if faults or rules is None:
        raise DataError(f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    return rules.alerts


def is_low(scale: Scale, value: int) -> bool:
    """Tell whether an answer is low: a detractor, or below the middle of another scale."""
    from_best = scale.high - value if scale.higher_is_better else value - scale.low
    return from_best >= 4 if scale.kind == "nps" else 2 * from_best > scale.high - scale.low


def _faults(rule: Rule, study: Study) -> list[str]:
    questions: dict[str, Scale] = {**study.scores, **study.drivers}
    faults = []
    if rule.metric == RESPONSE:
        if "invitations" not in study.tables:
            faults.append("metric: the study has no invitations to take a response rate of")
        faults += _beyond(rule, None)
    elif rule.score not in questions:
        faults.append(f"score: {rule.score!r} is no question of this study; it asks {', '.join(questions)}")
    elif rule.metric != LOW and rule.metric not in METRICS[questions[rule.score].kind]:
        known = ", ".join((*METRICS[questions[rule.score].kind], LOW))
        faults.append(f"metric: {rule.score} has no {rule.metric}; it has {known}")
    elif rule.metric != LOW or rule.threshold < 0:
        faults += _beyond(rule, questions[rule.score])
    if timed := sorted(set(rule.group) & {*WINDOWS, "wave"}):
        faults.append(f"group: {', '.join(timed)} is a time; `window` says how long it is")
    return faults


def _beyond(rule: Rule, scale: Scale | None) -> list[str]:
    """Say that a threshold lies where no value, or no change, can be."""
    least, most = {"nps": (-100.0, 100.0), LOW: (0.0, float("inf"))}.get(rule.metric, (0.0, 1.0))
    if rule.metric == "mean" and scale is not None:
        least, most = float(scale.low), float(scale.high)
    if rule.is_change:
        least, most = 0.0, most - least
    if least <= rule.threshold <= most:
        return []
    return [f"{rule.kind}: {rule.threshold:g} is not between {least:g} and {most:g}, where {rule.metric} can be"]
