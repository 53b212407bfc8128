"""The scoreboard as a document: what was done, what came out, and what it does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rox.core.record import versions
from rox.core.words import Language, say
from rox.validation.methods import ESTIMATORS, RECIPES, TRIED_ELSEWHERE
from rox.validation.scoreboard import BADLY, BAND, ENOUGH, Scoreboard
from rox.validation.truths import RECOVERIES, ROLLOUTS, Target
from rox.validation.worlds import read_world

_SHARES = tuple(str(target) for target in Target if target in ROLLOUTS | RECOVERIES)
COVERED = (50, 80, 90)
"""Central intervals of a posterior whose coverage is shown, in percent."""


def document(board: Scoreboard, language: Language = "en") -> str:
    """Write the whole document as Markdown."""
    parts = [
        f"# {say('validation.title', language)}",
        say("validation.plain", language),
        _made(board, language),
        f"## {say('validation.worlds', language)}",
        _bullets({world: _world(world, language) for world in board.worlds}),
        f"## {say('validation.questions', language)}",
        say("validation.questions.text", language),
        _bullets({say(f"validation.target.{each}", language): _question(each, language) for each in board.targets}),
        say("validation.recipes.text", language),
        say("validation.elsewhere.text", language),
        _bullets({f"`{name}`": say(reason, language) for name, reason in TRIED_ELSEWHERE}),
        *_accuracy_parts(board, language),
        *_alarm_parts(board, language),
        *_grade_parts(board, language),
        *_posterior_parts(board, language),
        f"## {say('validation.limits', language)}",
        say("validation.limits.text", language),
    ]
    return "\n\n".join(parts) + "\n"


def tables_text(board: Scoreboard, language: Language = "en") -> str:
    """Write the tables alone, for a terminal."""
    accuracy = board.accuracy()
    parts = [f"{world}\n{accuracy_table(accuracy.loc[[world]], language)}" for world in board.worlds]
    alarms = board.alarms()
    if len(alarms):
        parts.append(f"{say('validation.alarms', language)}\n{alarm_table(alarms, language)}")
    return "\n\n".join(parts)


def accuracy_table(accuracy: pd.DataFrame, language: Language = "en") -> str:
    """Lay ``Scoreboard.accuracy`` out as a Markdown table, one row per method and question."""
    rows = []
    for row in _records(accuracy):
        share = row["target"] in _SHARES
        rows.append(
            {
                "method": say(f"validation.method.{row['method']}", language),
                "target": say(f"validation.target.{row['target']}", language),
                "truth": _amount(row["truth"], share=share),
                "estimate": _amount(row["estimate"], share=share),
                "bias": _plus_minus(100 * row["bias"], 100 * row["bias_mc"], "+.0f"),
                "coverage": _plus_minus(row["coverage"], row["coverage_mc"], ".2f"),
                "sd": _amount(row["sd"], share=share),
                "rmse": _amount(row["rmse"], share=share),
                "banks": _banks(row, language),
                "seconds": f"{row['seconds']:.1f}",
            }
        )
    return markdown_table(rows, language)


def alarm_table(alarms: pd.DataFrame, language: Language = "en") -> str:
    """Lay ``Scoreboard.alarms`` out as a Markdown table."""
    rows = []
    for row in _records(alarms):
        wrong, right = int(row["wrong"]), int(row["right"])
        rows.append(
            {
                "world": row["world"],
                "method": say(f"validation.method.{row['method']}", language),
                "wrong": f"{wrong}/{wrong + right}",
                "demoted": _of(row["demoted"], wrong),
                "alarm_code": row["alarm_code"],
                "alarm": _of(row["alarm"], wrong),
                "low_grade": _of(row["low_grade"], wrong),
                "covered": _of(row["covered"], wrong),
                "false_demoted": _of(row["false_demoted"], right),
                "false_alarm": _of(row["false_alarm"], right),
                "holds": _holds(row["holds"], language),
            }
        )
    return markdown_table(rows, language)


def grade_table(grades: pd.DataFrame, language: Language = "en") -> str:
    """Lay ``Scoreboard.grades`` out as a Markdown table."""
    rows = []
    for row in _records(grades):
        everyone = row["method"] == "all"
        name = say("validation.everyone" if everyone else f"validation.method.{row['method']}", language)
        columns = ["mean", "sd", "q05", "q25", "q50", "q75", "q95", "through", "worlds", "assumed_mean", "assumed_sd"]
        figures = {column: "–" if np.isnan(row[column]) else f"{row[column]:.2f}" for column in columns}
        rows.append({"grade": row["grade"], "method": name, "banks": f"{row['banks']:.0f}", **figures})
    return markdown_table(rows, language)


def posterior_table(posteriors: pd.DataFrame, language: Language = "en") -> str:
    """Lay ``Scoreboard.posteriors`` out as a Markdown table."""
    rows = []
    for row in posteriors.to_dict(orient="records"):
        named = {name: str(row[name]).replace(" ", "_") for name in ("posterior", "quantity")}
        rows.append(
            {
                "posterior": f"`{row['posterior']}`",
                "quantity": say(f"validation.quantity.{named['quantity']}", language),
                "inside": _holds(row["inside"], language),
                "p_value": f"{row['p_value']:.3f}",
                **{f"coverage_{level}": f"{row[f'coverage_{level}']:.3f}" for level in COVERED},
            }
        )
    return markdown_table(rows, language)


def _made(board: Scoreboard, language: Language) -> str:
    return say(
        "validation.made",
        language,
        command=board.command,
        replications=board.replications,
        customers=f"{board.customers:,}",
        first=board.seed,
        last=board.seed + board.replications - 1,
        versions=", ".join(f"{name} {version}" for name, version in versions().items()),
    )


def _world(name: str, language: Language) -> str:
    world = read_world(name)
    if world.selection is None:
        return say(f"validation.world.{world.preset}", language)
    return say(f"validation.order.{world.selection}", language, preset=world.preset)


def _question(target: str, language: Language) -> str:
    return say(f"validation.target.{target}.text", language)


def _accuracy_parts(board: Scoreboard, language: Language) -> list[str]:
    accuracy = board.accuracy()
    parts = [f"## {say('validation.accuracy', language)}", say("validation.accuracy.text", language)]
    for world in board.worlds:
        parts += [f"### {world}", accuracy_table(accuracy.loc[[world]], language)]
    return parts


def _alarm_parts(board: Scoreboard, language: Language) -> list[str]:
    alarms = board.alarms()
    if alarms.empty:
        return []
    values = {"badly": f"{BADLY:.0%}", "enough": f"{ENOUGH:.0%}"}
    parts = [
        f"## {say('validation.alarms', language)}",
        say("validation.alarms.text", language, **values),
        alarm_table(alarms, language),
    ]
    broken = alarms[alarms["holds"] == 0.0]
    if broken.empty:
        parts.append(say("validation.alarms.hold", language, **values))
    else:
        cases = [
            say(
                "validation.alarms.case",
                language,
                method=say(f"validation.method.{row['method']}", language),
                world=row["world"],
                code=row["alarm_code"],
                raised=int(row["alarm"]),
                wrong=int(row["wrong"]),
                silent=int(row["silent"]),
            )
            for row in _records(broken)
        ]
        parts += [say("validation.alarms.break", language, **values), "\n".join(f"- {case}" for case in cases)]
    shown = [
        {
            "world": row["world"],
            "method": say(f"validation.method.{row['method']}", language),
            "code": row["code"],
            "code_demoted": f"{row['demoted']:.2f}",
            "code_noted": f"{row['noted']:.2f}",
        }
        for row in _records(board.codes())
    ]
    return [*parts, say("validation.codes.text", language), markdown_table(shown, language)]


def _grade_parts(board: Scoreboard, language: Language) -> list[str]:
    grades = board.grades()
    if grades.empty:
        return []
    return [
        f"## {say('validation.grades', language)}",
        say("validation.grades.text", language),
        grade_table(grades, language),
        say("validation.grades.after", language),
    ]


def _posterior_parts(board: Scoreboard, language: Language) -> list[str]:
    if board.posteriors.empty:
        return []
    names = dict.fromkeys(board.posteriors["posterior"])
    verdict = "hold" if board.posteriors["inside"].all() else "break"
    return [
        f"## {say('validation.posteriors', language)}",
        say("validation.posteriors.text", language, simulations=f"{board.simulations:,}", level=f"{BAND:.0%}"),
        _bullets({f"`{name}`": say(f"validation.posterior.{name}", language) for name in names}),
        posterior_table(board.posteriors, language),
        say(f"validation.posteriors.{verdict}", language),
    ]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """List the rows of a table with their keys."""
    return [{str(name): value for name, value in row.items()} for row in table.reset_index().to_dict(orient="records")]


def _banks(row: Mapping[str, float], language: Language) -> str:
    if not row["refused"]:
        return f"{row['banks']:.0f}"
    return say("validation.refused", language, banks=f"{row['banks']:.0f}", refused=f"{row['refused']:.0f}")


def _holds(value: float, language: Language) -> str:
    return "–" if np.isnan(value) else say("validation.yes" if value else "validation.no", language)


def _of(count: float, total: int) -> str:
    return f"{count:.0f}/{total}" if total else "–"


def _amount(value: float, *, share: bool) -> str:
    """Write money whole, shares as percentages, log hazards with three digits."""
    if np.isnan(value):
        return "–"
    if share:
        return f"{100 * value:.2f}%"
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.3f}"


def _plus_minus(value: float, error: float, form: str) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:{form}}" if np.isnan(error) else f"{value:{form}} ± {error:{form.removeprefix('+')}}"


def _bullets(items: Mapping[str, str]) -> str:
    return "\n".join(f"- **{name}**: {text}" for name, text in items.items())


def markdown_table(rows: Sequence[Mapping[str, str]], language: Language) -> str:
    """Write a Markdown table with padded columns; numbers to the right."""
    names = list(rows[0])
    head = {name: say(f"validation.column.{name}", language) for name in names}
    width = {name: max(len(row[name]) for row in [head, *rows]) for name in names}
    left = {"world", "method", "target", "grade", "code", "alarm_code", "holds", "posterior", "quantity", "inside"}

    def line(row: Mapping[str, str]) -> str:
        cells = [f"{row[name]:<{width[name]}}" if name in left else f"{row[name]:>{width[name]}}" for name in names]
        return f"| {' | '.join(cells)} |"

    rule = {name: "-" * width[name] if name in left else "-" * (width[name] - 1) + ":" for name in names}
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def method_names(language: Language = "en") -> dict[str, str]:
    """Return what each method is called to a reader, by its name."""
    return {each.name: say(f"validation.method.{each.name}", language) for each in (*ESTIMATORS, *RECIPES)}
