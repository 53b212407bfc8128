"""Write a case file that finance can fill in: measured figures where the data know them, ``"?"`` where people do."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from rox.core.declared import read_toml
from rox.core.errors import CaseError
from rox.core.study import Study
from rox.core.unfilled import OPEN
from rox.core.words import Language, catalogue, say
from rox.metrics.exits import churn
from rox.metrics.holdings import holdings
from rox.metrics.source import Tables

WIDTH = 116
DIGITS = 3
Content = dict[str, Any]
ANSWERED: Content = {"owner": OPEN, "source": OPEN, "date": OPEN}
VALUE: Content = {"value": OPEN, **ANSWERED}
THREE: Content = {"low": OPEN, "likely": OPEN, "high": OPEN, **ANSWERED}
BETWEEN: Content = {"between": [OPEN, OPEN], **ANSWERED}
OPTIONAL: Content = {
    "lift": {"unit": "score_point", **THREE},
    "inflow": {**VALUE},
    "benefits": {"first": {"label": OPEN, "channel": "cost_to_serve", **THREE, "every_month_from": 1}},
    "referral": {
        "per": "score_point",
        **{key: {**VALUE} for key in ("rate", "response", "conversion", "displacement", "value", "reward")},
    },
    "contacts": {key: {**VALUE} for key in ("rate", "change", "cost", "avoidable")},
    "terminal": {"months": 12, **ANSWERED},
    "finance": {"capital": {**VALUE}, "reinvest": {**VALUE}, "overrun": {**VALUE}},
    "policy": {"risk_aversion": 0.0, "enough": 0.8, "payback_months": 24, **ANSWERED},
    "correlation": [{"between": ["timing.half_life", "margin.all"], "rank": 0.3, **ANSWERED}],
    "studies": {
        "margin": {
            "kind": "measure",
            "of": "margin.all",
            "sd": 0.001,
            "label": OPEN,
            "wait": 1,
            "cost": OPEN,
            **ANSWERED,
        }
    },
    "reconcile": {
        "balance": {
            "label": OPEN,
            "figure": "balance",
            "book": "general_ledger",
            "amount": OPEN,
            "tolerance": 0.02,
            **ANSWERED,
        }
    },
    "review": {
        "purpose": OPEN,
        "intended_use": OPEN,
        "not_for": OPEN,
        "owner": OPEN,
        "reviewer": OPEN,
        "approver": OPEN,
        "use": "support",
        "exposure_limits": [1_000_000, 10_000_000],
        "monitoring": [{"what": OPEN, "trigger": OPEN, "action": OPEN, "owner": OPEN, "by": OPEN}],
        "sign_offs": [{"role": "reviewed", "name": OPEN, "date": OPEN, "decision": "approved", "run": OPEN}],
    },
}
"""Tables most cases do without; a new file holds them commented out."""


def draft_case(
    study: Study, name: str, *, language: Language, tables: Tables | None = None, like: str | None = None
) -> str:
    """Write a case file as text.

    Customers, balances and attrition by segment come from the tables, with the range of their own uncertainty; groups
    below the study's smallest cell are left out. Everything a person has to say is ``"?"``, and ``read_case`` refuses
    the file until none is left.

    Args:
        study: The study.
        name: Name of the case.
        language: Of the comments.
        tables: Loaded tables; without them the figures by segment are open too.
        like: A case of the study whose numbers, owners and labels are taken over; their sources and dates are open.

    Raises:
        CaseError: There is no case ``like``.
    """
    content = _fresh(study, name, tables) if like is None else _like(study, name, like)
    optional = {key: value for key, value in OPTIONAL.items() if key == "finance" or key not in content}
    parts = [*_comment(say("draft.head", language, currency=study.currency)), ""]
    for key, value in content.items():
        said = _comment(say(f"draft.{key}", language)) if f"draft.{key}" in catalogue() else []
        parts += [*said, *_table(key, value), ""]
    parts += [*_comment(say("draft.optional", language)), ""]
    for key, value in optional.items():
        parts += [*_comment(say(f"draft.{key}.optional" if key == "finance" else f"draft.{key}", language))]
        parts += [f"# {line}".rstrip() for line in _table(key, value)] + [""]
    return "\n".join(parts).rstrip("\n") + "\n"


def _fresh(study: Study, name: str, tables: Tables | None) -> Content:
    first = study.about.extract + dt.timedelta(days=1)
    start = first if first.day == 1 else _next_month(first)
    known = _measured(study, tables) if tables is not None else {}
    return {
        "case": {
            "name": name,
            "title": OPEN,
            "decision": OPEN,
            "currency": study.currency,
            "start": start,
            "horizon": 36,
            "effects": ["uplift"] if study.initiatives else [OPEN],
            "prepared_by": "",
            "reviewed_by": "",
        },
        **{table: known.get(table) or {"all": {**VALUE}} for table in ("people", "balance")},
        "margin": {"all": {**THREE}},
        "attrition": known.get("attrition") or {"all": {**THREE}},
        "timing": {"ramp": {**THREE}, "half_life": {**BETWEEN}},
        "finance": {"discount": {**VALUE}, "tax": {**VALUE}, "hurdle": {**VALUE}},
        "costs": {
            "once": {"label": OPEN, **THREE, "months": [0]},
            "running": {"label": OPEN, **BETWEEN, "every_month_from": 1},
        },
    }


def _next_month(day: dt.date) -> dt.date:
    return (day.replace(day=1) + dt.timedelta(days=32)).replace(day=1)


def _measured(study: Study, tables: Tables) -> Content:
    """Measure customers, balances and attrition by segment."""
    stocks = [name for name, each in study.outcomes.items() if each.kind == "stock" and each.table == "ledger"]
    date = study.about.extract
    found: Content = {}
    if stocks and "ledger" in tables.tables:
        held = holdings(tables, stocks[0])
        there = f"measured from customers and ledger: {{n}} customers in the extract of {date.isoformat()}"
        found["people"] = {
            row["segment"]: _known(float(round(row["customers"])), date, there.format(n=row["n"]))
            for row in held.to_dict("records")
        }
        found["balance"] = {
            row["segment"]: _known(
                row["mean"],
                date,
                f"measured from ledger.{stocks[0]}, last month, {row['n']} customers",
                row["low"],
                row["high"],
            )
            for row in held.to_dict("records")
        }
    if "exits" in tables.tables and "ledger" in tables.tables:
        found["attrition"] = {
            str(row["segment"]): _known(
                row["value"], date, "measured from exits and ledger, all months", row["low"], row["high"]
            )
            for row in _leaving(study, tables).to_dict("records")
        }
    return {table: rows for table, rows in found.items() if rows}


def _leaving(study: Study, tables: Tables) -> pd.DataFrame:
    """Measure attrition; of those who chose to leave where reasons say so, for that is what hazard ratios are of."""
    by = ["segment"] if "segment" in study.tables["customers"].columns else []
    table = churn(tables, by=by)
    metric = "churn_voluntary" if (table["metric"] == "churn_voluntary").any() else "churn_all"
    table = table[(table["metric"] == metric) & ~table["suppressed"]]
    return table if by else table.assign(segment="all")


def _known(value: float, date: dt.date, source: str, low: float = math.nan, high: float = math.nan) -> Content:
    """Write a measured number; who answers for it is still to be said."""
    rounded = [_rounded(each) for each in (low, value, high)]
    ranged = all(math.isfinite(each) for each in rounded) and rounded[0] <= rounded[1] <= rounded[2]
    number = dict(zip(("low", "likely", "high"), rounded, strict=True)) if ranged and low < high else {}
    if not number or rounded[0] == rounded[2]:
        number = {"value": value if value == round(value) else rounded[1]}
    return {**{key: _plain(each) for key, each in number.items()}, "owner": OPEN, "source": source, "date": date}


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else value


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def _like(study: Study, name: str, like: str) -> Content:
    """Take over another case; what was said of its sources and dates has to be said again."""
    path = study.folder / "cases" / f"{like}.toml"
    if not path.is_file():
        known = ", ".join(study.case_names) or "none"
        raise CaseError(f"There is no case {like!r} to start from.", [f"the study's cases are: {known}"])
    content: Content = _reopened(read_toml(path, "case file", CaseError))
    fresh = _fresh(study, name, None)["case"]
    kept = {key: content.get("case", {}).get(key, fresh[key]) for key in ("horizon", "effects")}
    extra = {key: value for key, value in content.get("case", {}).items() if key not in fresh}
    content["case"] = {**fresh, **kept, **extra}
    if "review" in content:
        content["review"] = {
            key: value for key, value in content["review"].items() if key not in ("sign_offs", "changes")
        }
    for row in content.get("reconcile", {}).values():
        row["amount"] = OPEN
        row.pop("explanation", None)
    return content


def _reopened(value: Any) -> Any:
    """Open every source and date again."""
    if isinstance(value, dict):
        return {key: OPEN if key in ("source", "date") else _reopened(each) for key, each in value.items()}
    return [_reopened(each) for each in value] if isinstance(value, list) else value


def _comment(text: str) -> list[str]:
    """Write a text as comments, wrapped at the width of a line; a Chinese sign takes two places."""
    return [f"# {line}" for part in text.split("\n") for line in (_wrapped(part) if part else [""])]


def _wrapped(text: str) -> list[str]:
    if all(ord(sign) < 0x2E80 for sign in text):
        return textwrap.wrap(text, WIDTH - 2)
    lines, width = [""], 0
    for word in re.findall(r"[!-~]+|.", text):
        size = sum(2 if ord(sign) >= 0x2E80 else 1 for sign in word)
        if width + size > WIDTH - 2 and (len(word) > 1 or unicodedata.category(word) not in ("Po", "Pe")):
            lines, width = [*lines, ""], 0
        lines[-1] += word
        width += size
    return [line.strip() for line in lines]


def _table(place: str, value: Mapping[str, Any] | list[Any]) -> Iterator[str]:
    """Write a table of a TOML file: first what it says itself, then the tables in it."""
    if isinstance(value, list):
        for row in value:
            yield f"[[{place}]]"
            yield from _pairs(row)
        return
    inner = {key: each for key, each in value.items() if _is_table(each)}
    if len(inner) < len(value) or not value:
        yield f"[{place}]"
        yield from _pairs({key: each for key, each in value.items() if key not in inner})
    for key, each in inner.items():
        yield from _table(f"{place}.{_key(key)}", each)


def _is_table(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, dict) for each in value)
    return isinstance(value, dict) and set(value) != {"en", "zh"}


def _pairs(row: Mapping[str, Any]) -> Iterator[str]:
    return (f"{_key(key)} = {_value(each)}" for key, each in row.items())


def _key(key: str) -> str:
    return key if key.replace("_", "").isalnum() and key.isascii() else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    return repr(value) if isinstance(value, int | float) else json.dumps(str(value), ensure_ascii=False)
