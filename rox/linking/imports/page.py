"""What an import shows in a terminal: columns with what becomes of them, rows left out, lines for the study file."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from rox.core.words import Language, say
from rox.linking.columns import Column
from rox.linking.imports.plan import Line
from rox.linking.imports.run import Imported

WIDEST = 38


def page(imported: Imported, language: Language) -> str:
    """Write the page. It holds no value of the export."""
    plan, found = imported.plan, imported.typed
    why = say(f"imports.format.{plan.layout.format}", language)
    lines = [say("imports.page.format", language, format=plan.layout.format, why=why)]
    if found is not None:
        lines.append(say("imports.page.rows", language, rows=found.rows, kept=found.kept, table=plan.table))
        lines += [f"  {count:,} {say(reason, language)}" for reason, count in found.left_out.items()]
    lines += ["", *_aligned([_heads(language), *(_cells(line, imported, language) for line in plan.lines)])]
    personal = [line.source for line in plan.lines if line.use.part in ("identifier", "text")]
    lines += ["", say("imports.page.dropped", language, columns=", ".join(personal) or "–")]
    lines.append(say("imports.page.ids_kept" if imported.keep_ids else "imports.page.ids_keyed", language))
    lines += ["", say("imports.page.fragment", language), "", imported.fragment.rstrip()]
    return "\n".join(lines)


def as_record(imported: Imported) -> dict[str, Any]:
    """Return the same as values for JSON."""
    plan, found = imported.plan, imported.typed
    return {
        "format": plan.layout.format,
        "table": plan.table,
        "rows": found.rows if found else None,
        "kept": found.kept if found else None,
        "left_out": {reason.rpartition(".")[2]: count for reason, count in found.left_out.items()} if found else {},
        "columns": [
            {
                "column": line.source,
                "use": line.use.part,
                "name": line.use.name if line.column is not None else None,
                "type": line.column.kind if line.column is not None else None,
                "why": say(line.use.why),
                **(_counts(line.column, imported) if line.column is not None else {}),
            }
            for line in plan.lines
        ],
        "fragment": imported.fragment,
        "files": [str(file) for file in imported.files],
    }


def _heads(language: Language) -> list[str]:
    keys = ("column", "use", "type", "missing", "coded", "unreadable", "why")
    return [say(f"imports.head.{key}", language) for key in keys]


def _cells(line: Line, imported: Imported, language: Language) -> list[str]:
    use = say(f"imports.use.{line.use.part}", language)
    why = say(line.use.why, language)
    if line.column is None:
        return [line.source, use, "", "", "", "", why]
    counts = _counts(line.column, imported)
    shown = [f"{counts[key]:,}" if key in counts else "?" for key in ("missing", "coded", "unreadable")]
    return [line.source, f"{use} {line.use.name}", line.column.kind, *shown, why]


def _counts(column: Column, imported: Imported) -> dict[str, int]:
    found = imported.typed
    if found is None:
        return {}
    return {
        "missing": found.missing[column.name],
        "coded": found.coded[column.name],
        "unreadable": found.unreadable[column.name],
    }


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Set cells in columns; a Chinese character is two places wide."""
    short = [[_shortened(cell) for cell in row] for row in rows]
    widths = [max(_width(row[i]) for row in short) for i in range(len(short[0]))]
    for row in short:
        yield "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    if _width(text) <= WIDEST:
        return text
    kept = ""
    for letter in text:
        if _width(kept + letter) >= WIDEST:
            break
        kept += letter
    return f"{kept}…"
