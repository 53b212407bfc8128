"""Files people write: TOML in, a validated value out, every fault in one message."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from rox.core.errors import RoxError
from rox.core.words import Language


class Declared(BaseModel):
    """A part of a declaration: frozen, and a name it does not know is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, arbitrary_types_allowed=True)


class Wording(Declared):
    """A text in both languages."""

    en: str
    zh: str

    def __getitem__(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


def _both(value: Any) -> Any:
    return {"en": value, "zh": value} if isinstance(value, str) else value


Words = Annotated[Wording, BeforeValidator(_both)]
"""A text said once, or as ``{en = "…", zh = "…"}``."""

NUMBERS = ("Assumption", "Lift", "Cost", "Benefit", "Scale", "Overlap")
"""Declarations that say a number with its range and who answers for it."""

Model = TypeVar("Model", bound=Declared)


def read_toml(path: Path, what: str, error: type[RoxError]) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        RoxError: Of the given type; the file is missing, not UTF-8, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"There is no {what} at {path}.", ["give the path of an existing .toml file"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise error(f"{path} cannot be read as TOML.", [f"{cause}"]) from cause


def faults_of(cause: ValidationError) -> list[str]:
    """Say each fault of a validation with its place in the file, what was found and what is needed."""
    lines = []
    for fault in cause.errors():
        place = ".".join(str(part) for part in fault["loc"]) or "file"
        if fault["type"] == "extra_forbidden":
            lines.append(f"{place}: unknown name; check the spelling or remove it")
        elif fault["type"] == "missing":
            lines.append(f"{place}: missing; add it")
        elif fault["type"] == "model_type" and fault["ctx"]["class_name"] in NUMBERS:
            lines.append(
                f"{place}: a number alone (found {fault['input']!r}); write value, low/likely/high or between, "
                "with owner, source and date"
            )
        elif fault["type"] == "string_too_short" and fault["loc"][-1] == "owner":
            lines.append(f"{place}: empty; say who answers for it")
        elif fault["type"] == "string_too_short" and fault["loc"][-1] == "source":
            lines.append(f"{place}: empty; say where it comes from")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            found = fault.get("input")
            shown = f" (found {found!r})" if isinstance(found, (str, int, float, bool)) else ""
            lines.append(f"{place}: {message}{shown}")
    return lines


def entries(
    model: type[Model],
    table: str,
    content: Mapping[str, Any],
    faults: list[str],
    *,
    further: Callable[[Mapping[str, Any]], list[str]] = lambda raw: [],
) -> tuple[Model, ...]:
    """Build the entries of a list of tables; append what is wrong with them to ``faults``, by name or number.

    Args:
        model: What an entry is.
        table: Name of the list, written ``[[table]]``.
        content: The file.
        faults: Appended to.
        further: What else is wrong with an entry as it was written.
    """
    raw = content.get(table, [])
    if not isinstance(raw, list) or not all(isinstance(each, dict) for each in raw):
        faults.append(f"{table}: write each as [[{table}]]")
        return ()
    built = []
    for number, each in enumerate(raw, start=1):
        entry, found = validated(model, each)
        faults += [f"{table} {each.get('name', number)}: {fault}" for fault in [*found, *further(each)]]
        if entry is not None:
            built.append(entry)
    return tuple(built)


def validated(model: type[Model], content: dict[str, Any]) -> tuple[Model | None, list[str]]:
    """Build a declaration, or list what is wrong with it."""
    try:
        return model.model_validate(content), []
    except ValidationError as cause:
        return None, faults_of(cause)
