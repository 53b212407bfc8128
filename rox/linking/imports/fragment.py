"""The lines a study file needs for an imported table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from rox.core.words import Language, say
from rox.linking.imports.layout import Use
from rox.linking.imports.plan import Line, Plan
from rox.linking.imports.typed import Typed

LABEL_LENGTH = 120


def fragment(
    plan: Plan, found: Typed | None, *, path: str, file: str, keep_ids: bool, key: str, language: Language
) -> str:
    """Write TOML for the study file: the table, its questions, amounts and controls.

    Questions of whose scale the export says nothing stand as comments, to be looked at by somebody who knows them.

    Args:
        plan: What becomes of each column.
        found: What was found in the rows.
        path: Of the table.
        file: Name of the export.
        keep_ids: Whether ids were kept.
        key: Name of the key of the pseudonyms; empty if there is none yet.
        language: Of the remarks.
    """
    lines = [f"# {say('imports.fragment.head', language, file=file, format=plan.layout.format)}"]
    if found is not None:
        lines.append(f"# {say('imports.fragment.rows', language, kept=found.kept, rows=found.rows)}")
    ids = "imports.fragment.kept_ids" if keep_ids else "imports.fragment.keyed" if key else "imports.fragment.no_key"
    lines.append(f"# {say(ids, language, key=key)}")
    written = [line for line in plan.lines if line.column is not None]
    roles = [line.use.name for line in written if line.use.part == "role"]
    controls = [line.use.name for line in written if line.use.part == "control"]
    lines += ["", f"[tables.{plan.table}]", f"path = {_quoted(path)}"]
    lines.append(f"columns = {{ {', '.join(f'{role} = {_quoted(role)}' for role in roles)} }}")
    if controls:
        lines.append(f"controls = [{', '.join(map(_quoted, controls))}]")
    for line in written:
        lines += _part(line, language)
    return "\n".join(lines) + "\n"


def _part(line: Line, language: Language) -> Iterator[str]:
    use = line.use
    if use.part in ("score", "driver"):
        group = "scores" if use.part == "score" else "drivers"
        sure = use.why != "imports.why.rating"
        yield ""
        if not sure:
            yield f"# {say('imports.fragment.unsure', language)}"
        for text in _scale(group, use):
            yield text if sure else f"# {text}"
    elif use.part == "outcome":
        yield ""
        yield f"[outcomes.{use.name}]"
        yield f"column = {_quoted(use.name)}"
        yield f"kind = {_quoted(use.kind)}"
        yield f"label = {_quoted(_label(use))}"


def _scale(group: str, use: Use) -> Iterator[str]:
    yield f"[{group}.{use.name}]"
    yield f"column = {_quoted(use.name)}"
    yield f"low = {use.low}"
    yield f"high = {use.high}"
    yield f"kind = {_quoted(use.kind)}"
    yield f"label = {_quoted(_label(use))}"


def _label(use: Use) -> str:
    text = re.sub(r"\s+", " ", use.label).strip() or use.name
    return text if len(text) <= LABEL_LENGTH else f"{text[: LABEL_LENGTH - 1]}…"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
