"""How many answers: by hand, and from a study's own answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.cli import main
from rox.core.errors import DataError
from rox.metrics.sample_size import answers_needed, sample_sizes, sample_text
from rox.numerics.intervals import nps_sample_size


def test_numbers_by_hand() -> None:
    sd = 100 * np.sqrt(0.5 + 0.2 - 0.09)
    assert answers_needed(5, sd=sd, level=0.95) == nps_sample_size(5, promoters=0.5, detractors=0.2, level=0.95)
    assert answers_needed(0.05, sd=0.5, level=0.95) == 385
    assert answers_needed(0.05, sd=0.5, level=0.95, population=1000) == 278
    assert answers_needed(0.05, sd=0.5, level=0.95, design_effect=2) == 769
    assert answers_needed(0.05, sd=0.5, level=0.95, change=True) == 769
    assert answers_needed(0.05, sd=0.5, level=0.95, change=True, correlation=0.5) == 385


def test_every_number_out_of_range_is_listed() -> None:
    with pytest.raises(DataError) as caught:
        answers_needed(0, sd=-1, level=1, design_effect=0, population=0, correlation=1)
    assert len(caught.value.faults) == 6


@pytest.fixture
def tables(few: Callable[..., Any], study: Callable[..., Any]) -> Any:
    """1,000 customers, 200 of whom are asked and 100 answer, half of them promoters; 4 more in another segment."""
    who = [f"c{number:04d}" for number in range(1000)]
    people = pd.DataFrame({"customer": [*who, *"wxyz"], "segment": ["many"] * 1000 + ["few"] * 4})
    given = pd.DataFrame({"customer": who[:100], "date": "2025-08-08", "nps": [10, 0] * 50})
    asked = pd.DataFrame({"customer": who[:200], "date": "2025-08-01", "channel": "sms"})
    return few(study(min_cell=10), customers=people, answers=given, invitations=asked)


def test_a_study_says_what_it_takes(tables: Any) -> None:
    found = sample_sizes(tables, "nps", 10, by=["segment"]).set_index("segment")
    many = found.loc["many"]
    assert (many["sd"], many["population"], many["response"]) == (pytest.approx(100), 1000, pytest.approx(0.5))
    effect = many["design_effect"]
    assert effect == pytest.approx(1, abs=0.02)
    n = effect * (1.644854 * 10) ** 2
    assert many["answers"] == np.ceil(n / (1 + n / 1000))
    assert many["invitations"] == 2 * many["answers"]
    assert many["reachable"]
    assert many["best_half_width"] == pytest.approx(1.644854 * 100 * np.sqrt(effect * (1 / 500 - 1 / 1000)))
    assert found.loc["few", "suppressed"]
    assert found.loc["few", ["answers", "population"]].isna().all()
    assert not sample_sizes(tables, "nps", 2, by=["segment"]).set_index("segment").loc["many", "reachable"]


def test_the_table_is_had_in_both_languages(tables: Any) -> None:
    found = sample_sizes(tables, "nps", 10, by=["segment"], response=0.25)
    assert "can be reached" in sample_text(found)
    assert "分组过小" in sample_text(found, "zh")
    assert sample_sizes(tables, "nps", 10, by=["segment"], change=True)["answers"].max() > found["answers"].max()


def test_wrong_wishes_are_listed_at_once(tables: Any) -> None:
    with pytest.raises(DataError) as caught:
        sample_sizes(tables, "nps", -1, by=["month"], metric="mean", response=2)
    assert len(caught.value.faults) == 4


def test_the_command_prints_the_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(root / "data" / "bank" / "study.toml"), "--half-width", "3", "--paired"]) == 0
    assert "Answers needed" in capsys.readouterr().out
