"""The document in ``docs`` is the one that ``make validation`` makes, and says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rox.core.words import say
from rox.validation import ESTIMATORS, RECIPES, TRIED_ELSEWHERE, Method
from rox.validation.posteriors import posteriors


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "docs" / "validation.md").read_text(encoding="utf-8")


def tried_in(text: str) -> list[Method]:
    """Every method; in a document made before posteriors were ranked, those that it names."""
    if f"## {say('validation.posteriors')}" in text:
        return [*ESTIMATORS, *RECIPES]
    named = [method for method in (*ESTIMATORS, *RECIPES) if f"| {say(f'validation.method.{method.name}')} " in text]
    assert len(named) >= 17
    return named


def test_it_says_which_posteriors_were_ranked_and_what_was_tried_elsewhere(text):
    if f"## {say('validation.posteriors')}" not in text:
        pytest.skip("the document was made before posteriors were ranked; make validation makes it anew")
    for name in posteriors():
        assert f"| `{name}` " in text
    for name, reason in TRIED_ELSEWHERE:
        assert f"- **`{name}`**: {say(reason)}" in text


def test_it_names_the_command_of_the_makefile(root, text):
    recipe = re.search(r"rox validate (?:[^\\\n]|\\\n)*", (root / "Makefile").read_text(encoding="utf-8"))
    assert recipe is not None
    command = re.sub(r"\s*\\\n\s*", " ", recipe.group())
    command = re.sub(r" --(?:jobs|out|document) \S+", "", command)
    assert f"`{command}`" in text


def test_it_says_first_what_it_is(text):
    assert text.startswith(f"# {say('validation.title')}\n\n{say('validation.plain')}\n")


def test_everything_was_tried_in_every_world(root, text):
    worlds = re.search(r"--presets (.*?) --", text)
    assert worlds is not None
    sections = {part.split("\n", 1)[0]: part for part in text.split("\n### ")[1:]}
    assert list(sections) == worlds.group(1).split()
    for world, part in sections.items():
        for method in tried_in(text):
            if "/" not in world or method.is_about_rollouts:
                assert say(f"validation.method.{method.name}") in part


def test_every_claim_that_an_alarm_fails_stands_in_the_table(text):
    broken = re.findall(r"^\| (\S+) +\| (\S+) .*\| no +\|$", text, flags=re.MULTILINE)
    told = re.findall(r"^- (\S+) in (\S+): an alarm \(ROX-[^)]+\) was raised in", text, flags=re.MULTILINE)
    assert sorted(broken) == sorted((world, method) for method, world in told)
