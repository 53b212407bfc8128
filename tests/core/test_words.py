"""The catalogue: both languages, the same fields, no key missing and none left over, and Chinese set as Chinese."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import rox
from rox.core.words import LANGUAGES, catalogue, fields, say

FOLDER = Path(rox.__file__).parent
CHINESE = "\u2e80-\u9fff\uf900-\ufaff"
WORD_ARGUMENTS = {"word", "section", "reason", "code"}
"""Keywords of the project's objects that hold a key of the catalogue."""
SPEAKERS = {"say", "label", "step"}
"""Functions whose first argument is a key; methods only if they are called ``say``."""


class Sample:
    """Stands for any value of a field, whatever its format."""

    def __format__(self, spec: str) -> str:
        return "7"


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.rglob("*.py"))}


def prefixes() -> set[str]:
    """Prefixes that a wrapper called ``say`` puts before a key, such as ``workbook.``."""
    found = {""}
    for tree in trees().values():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and function.name == "say":
                for node in ast.walk(function):
                    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                        found.add(str(node.values[0].value))
    return found


def wrappers(tree: ast.Module) -> set[ast.AST]:
    """Every node inside a wrapper called ``say``."""
    return {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == "say"
        for node in ast.walk(function)
    }


def pattern_of(node: ast.JoinedStr) -> str:
    parts = (re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[\w.\-]+" for part in node.values)
    return "".join(parts)


def keys_asked_for() -> Iterator[tuple[str, str]]:
    """Iterate over the keys the code asks for, as places and patterns."""
    for path, tree in trees().items():
        inside = wrappers(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or node in inside:
                continue
            called = getattr(node.func, "id", "") in SPEAKERS or getattr(node.func, "attr", "") == "say"
            asked = [node.args[0]] if called and node.args else []
            asked += [each.value for each in node.keywords if each.arg in WORD_ARGUMENTS]
            for each in asked:
                place = f"{path.relative_to(FOLDER)}:{node.lineno}"
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield place, re.escape(each.value)
                elif isinstance(each, ast.JoinedStr) and isinstance(each.values[0], ast.Constant):
                    yield place, pattern_of(each)
    for path in sorted(FOLDER.rglob("*.j2")):
        for key in re.findall(r'say\("([^"]+)"', path.read_text(encoding="utf-8")):
            yield str(path.relative_to(FOLDER)), re.escape(key)


def strings() -> tuple[set[str], list[str]]:
    """Return every string of the code, and the pattern of every f-string that begins with a prefix."""
    whole, patterns = set(), []
    for tree in trees().values():
        inside = wrappers(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole.add(node.value)
            elif isinstance(node, ast.JoinedStr) and node not in inside:
                first = node.values[0]
                if isinstance(first, ast.Constant) and "." in str(first.value).strip():
                    patterns.append(pattern_of(node))
    for path in FOLDER.rglob("*.j2"):
        whole |= set(re.findall(r'say\("([^"]+)"', path.read_text(encoding="utf-8")))
    return whole, patterns


def prose(tree: ast.Module) -> set[int]:
    """Identify the docstrings and other bare strings of a module."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def test_entries_are_there_in_both_languages_with_the_same_fields() -> None:
    assert len(catalogue()) > 500
    assert [key for key, entry in catalogue().items() if set(entry) != set(LANGUAGES)] == []
    assert [key for key, entry in catalogue().items() if fields(entry["en"]) != fields(entry["zh"])] == []


def test_every_entry_can_be_said() -> None:
    for key, entry in catalogue().items():
        for language in LANGUAGES:
            assert say(key, language, **dict.fromkeys(fields(entry[language]), Sample())).strip(), key


def test_every_key_the_code_asks_for_is_there() -> None:
    known, starts = list(catalogue()), sorted(prefixes())

    def is_known(pattern: str) -> bool:
        wanted = re.compile(f"(?:{'|'.join(map(re.escape, starts))}){pattern}(?:\\.pass)?")
        return any(wanted.fullmatch(key) for key in known)

    assert [f"{place}: {pattern}" for place, pattern in keys_asked_for() if not is_known(pattern)] == []


def test_no_entry_is_left_over() -> None:
    """An entry is used where its key is a string of the code, fits an f-string, or is named in a message to users."""
    whole, patterns = strings()
    starts = prefixes()

    def is_used(key: str) -> bool:
        bare = key.removesuffix(".pass").removesuffix(".one")
        shorter = {bare.removeprefix(start) for start in starts} | {key.removeprefix(start) for start in starts}
        named = any(f"'{bare}'" in text or f'"{bare}"' in text for text in whole)
        return named or any(
            each in whole or any(re.fullmatch(pattern, each) for pattern in patterns) for each in shorter
        )

    assert [key for key in catalogue() if not is_used(key)] == []


def test_no_chinese_stands_in_the_code() -> None:
    found = [
        f"{path.relative_to(FOLDER)}:{node.lineno}: {node.value!r}"
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(f"[{CHINESE}]", node.value)
        and id(node) not in prose(tree)
    ]
    assert found == []


def test_chinese_is_set_with_full_width_punctuation() -> None:
    half = re.compile(rf"[{CHINESE}][,;:!?()]|[,;:!?()][{CHINESE}]|[{CHINESE}]\.(?:[{CHINESE}]|$)")
    assert {key: entry["zh"] for key, entry in catalogue().items() if half.search(entry["zh"])} == {}


def test_english_holds_no_chinese_and_no_full_width_sign() -> None:
    wrong = re.compile(f"[{CHINESE}\u3000-\u303f\uff01-\uff5e]")
    assert {key: entry["en"] for key, entry in catalogue().items() if wrong.search(entry["en"])} == {}


def test_a_missing_key_or_field_is_an_error() -> None:
    with pytest.raises(KeyError):
        say("no.such.key")
    with pytest.raises(KeyError):
        say("number.few", "en")
