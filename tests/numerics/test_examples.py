"""The examples in the docstrings run and give what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import rox.numerics

MODULES = sorted(m.name for m in pkgutil.iter_modules(rox.numerics.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(f"rox.numerics.{name}")
    assert doctest.testmod(module).failed == 0


def test_enough_examples_are_found():
    finder = doctest.DocTestFinder()
    found = [t for m in MODULES for t in finder.find(importlib.import_module(f"rox.numerics.{m}")) if t.examples]
    assert len(found) >= 10
