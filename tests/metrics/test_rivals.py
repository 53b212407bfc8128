"""Companies side by side, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.study import Scale, read_study
from rox.metrics.rivals import Benchmarks, panel, read_rivals, standing

NPS = Scale.model_validate({"column": "nps", "low": 0, "high": 10, "kind": "nps", "label": "NPS"})
OWN = {"name": "We", "mode": "sms", "population": "retail"}


def rival(**changed: Any) -> dict[str, Any]:
    given = {"name": "A", "metric": "nps", "value": 10.0, "n": 400, "promoters": 0.4, "detractors": 0.3,
             "date": "2025-12-01", "source": "report", "mode": "sms", "population": "retail"}  # fmt: skip
    return {name: value for name, value in (given | changed).items() if value is not None}


def benchmarks(*rivals: dict[str, Any]) -> Benchmarks:
    return Benchmarks.model_validate({"score": "nps", "own": OWN, "rivals": rivals})


@pytest.fixture
def own(few: Callable[..., Any]) -> Any:
    """A thousand answers: 50% promoters, 30% detractors."""
    given = pd.DataFrame({"nps": [10] * 500 + [8] * 200 + [3] * 300, "date": "2025-06-06"})
    given["customer"] = [f"c{number:04d}" for number in range(1000)]
    return few(answers=given)


def test_difference_error_and_chance(own: Any) -> None:
    found = standing(own, benchmarks(rival()), rng=1)
    ours, theirs = (each for _, each in found.table.iterrows())
    assert (ours["company"], ours["value"]) == ("We", pytest.approx(20))
    assert theirs["se"] == pytest.approx(100 * np.sqrt((0.7 - 0.01) / 400))
    assert theirs["difference"] == pytest.approx(10)
    se = np.hypot(100 * np.sqrt((0.8 - 0.04) / 999), theirs["se"])
    assert (theirs["difference_high"] - theirs["difference_low"]) / 2 == pytest.approx(1.644854 * se)
    assert theirs["p_own_ahead"] == pytest.approx(0.9794, abs=0.002)
    assert ours["p_first"] == pytest.approx(theirs["p_own_ahead"], abs=0.01)
    assert "rank" not in found.table
    assert [each.code for each in found.checks] == []


def test_errors_of_published_figures(own: Any) -> None:
    found = standing(own, benchmarks(
        rival(name="B", low=2, high=18, promoters=None, detractors=None, n=None),
        rival(name="C", promoters=None, detractors=None),
    ), rng=1)  # fmt: skip
    se = found.table.set_index("company")["se"]
    assert se["B"] == pytest.approx(16 / 2 / 1.959964)
    assert se["C"] == pytest.approx(100 * np.sqrt((1 - 0.01) / 400))
    assert [each.code for each in found.checks] == ["ROX-M07"]


def test_what_cannot_be_compared_is_said_in_both_languages(own: Any) -> None:
    found = standing(
        own, benchmarks(rival(mode="phone", population="app", date="2024-12-01", value=19, promoters=0.49)), rng=1
    )
    assert found.table["differs"].tolist() == ["", "date,mode,population"]
    assert [each.code for each in found.checks] == ["ROX-M09"] * 3 + ["ROX-M08"]
    assert "asked in another way" in found.checks[1].sentence("en")
    assert "调查方式不同" in found.checks[1].sentence("zh")


def test_equal_companies_share_their_ranks() -> None:
    frame = pd.DataFrame({"company": np.repeat(["We", "A", "B"], 300), "answer": [10, 8, 2] * 300})
    found = panel(frame, NPS, "We", rng=2).table
    assert found["p_first"].to_numpy() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert (found[["rank_low", "rank_high"]] == [1, 3]).all(axis=None)


def test_the_same_people_make_a_difference_surer() -> None:
    rng = np.random.default_rng(3)
    base = rng.integers(0, 11, 400)
    frame = pd.DataFrame(
        {"company": np.repeat(["We", "A"], 400), "answer": np.r_[np.minimum(base + 1, 10), base],
         "respondent": np.tile(np.arange(400), 2)}
    )  # fmt: skip
    paired = panel(frame, NPS, "We", rng=1).table.iloc[1]
    apart = panel(frame.drop(columns="respondent"), NPS, "We", rng=1).table.iloc[1]
    z = np.select([base >= 9, base <= 6], [1, -1], 0)
    shifted = np.select([base + 1 >= 9, base + 1 <= 6], [1, -1], 0)
    half = 1.644854 * 100 * (shifted - z).std(ddof=1) / np.sqrt(400)
    assert (paired["difference_high"] - paired["difference_low"]) / 2 == pytest.approx(half, rel=1e-6)
    assert paired["difference_low"] > apart["difference_low"]
    assert paired["difference"] == pytest.approx(apart["difference"])


def test_faults_are_listed_at_once(root: Path, tmp_path: Path) -> None:
    study = read_study(root / "data" / "bank" / "study.toml")
    assert len(read_rivals(root / "data" / "bank" / "rivals.toml", study).rivals) == 3
    file = tmp_path / "rivals.toml"
    head = 'score = "none"\n[own]\nname = "We"\nmode = "sms"\npopulation = "all"\n'
    line = '[[rivals]]\nname = "A"\nmetric = "nps"\nvalue = 5\nn = 10\ndate = 2025-01-01\nsource = "s"\nmode = "m"\n'
    line += 'population = "p"\n'
    file.write_text(head + line + line, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_rivals(file, study)
    assert len(caught.value.faults) == 2
    file.write_text(head + line.replace("n = 10\n", "low = 6\n"), encoding="utf-8")
    with pytest.raises(DataError, match="both ends"):
        read_rivals(file, study)
    with pytest.raises(DataError) as caught:
        panel(pd.DataFrame({"company": ["A"], "answer": [11], "weight": [0]}), NPS, "We")
    assert len(caught.value.faults) == 3
