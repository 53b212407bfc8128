"""From the text of an estimator back to the estimator, and nothing else."""

from __future__ import annotations

import pytest

import rox
from rox.core.errors import DataError
from rox.review.specification import HOMES, read_specification
from rox.validation.methods import ESTIMATORS


@pytest.mark.parametrize("method", ESTIMATORS, ids=lambda each: each.name)
def test_every_estimator_comes_back_from_its_text(method) -> None:  # type: ignore[no-untyped-def]
    found = read_specification(repr(method.estimator))
    assert found.estimator() == method.estimator
    assert found.unsaid == ()


def test_options_the_text_does_not_name_are_told() -> None:
    found = read_specification("StaggeredUplift(window=(3, 5), prior_sd=-0.1)")
    assert found.values == {"window": (3, 5), "prior_sd": -0.1}
    assert "cap" in found.unsaid


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "LeadLag(draws=open('x'))",
        "LeadLag(draws=[x for x in (1, 2)])",
        "StaggeredUplift(prior=Prior(x=1))",
        "LeadLag(**{'draws': 4000})",
        "LeadLag(4000)",
        "LeadLag(colour='red')",
        "Nothing()",
        "LeadLag",
        "LeadLag(); LeadLag()",
        "",
        "(" * 5000,
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="cannot be asked again"):
        read_specification(text)


def test_every_fault_is_in_one_message() -> None:
    with pytest.raises(DataError) as caught:
        read_specification("LeadLag(4000, colour='red', draws=open('x'))")
    assert len(caught.value.faults) == 3


def test_homes_are_those_of_the_package() -> None:
    others = {"RetentionForecast", "CellPriors"}
    models = {name: home for name, home in rox._HOMES.items() if home.startswith("rox.models.") and name[0].isupper()}
    assert dict(HOMES) == {name: home for name, home in models.items() if name not in others}
