"""A changed scale: the link of distributions by hand, its error, and the refusal without a bridge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Verdict
from rox.core.errors import DataError
from rox.core.study import Study
from rox.metrics import csat
from rox.metrics.bridges import bridged, equipercentile


@pytest.fixture
def declared(study: Callable[..., Study]) -> Study:
    """The new ``csat`` runs from 1 to 5, the old one from 1 to 3."""
    made = study(min_cell=5).model_dump(mode="json", by_alias=True, exclude_unset=True)
    made["scores"]["old"] = made["scores"]["csat"] | {"column": "old", "low": 1, "high": 3}
    made["scores"]["csat"]["replaces"] = "old"
    made["scores"].pop("nps")
    return Study.model_validate(made)


def frame(old: list[float], new: list[float], date: str, start: int) -> pd.DataFrame:
    who = [f"c{start + number:05d}" for number in range(len(old))]
    return pd.DataFrame({"customer": who, "date": date, "old": old, "csat": new})


NO = float("nan")
BRIDGE = frame(
    [1.0] * 100 + [2.0] * 200 + [3.0] * 100, [1.0] * 50 + [2.0] * 100 + [4.0] * 150 + [5.0] * 100, "2025-05-05", 0
)
BEFORE = frame([1.0] * 50 + [3.0] * 50, [NO] * 100, "2025-02-02", 1000)
AFTER = frame([NO] * 80, [4.0] * 40 + [5.0] * 40, "2025-08-08", 2000)


def test_an_old_answer_counts_as_what_lies_on_the_same_percentiles() -> None:
    found = equipercentile(np.array([0.25, 0.5, 0.25]), np.array([0.125, 0.25, 0, 0.375, 0.25]))
    assert found == pytest.approx(np.array([[0.5, 0.5, 0, 0, 0], [0, 0.25, 0, 0.75, 0], [0, 0, 0, 0, 1]]))
    unseen = equipercentile(np.array([0.5, 0.0, 0.5]), np.array([0.5, 0.5]))
    assert unseen.tolist() == [[1, 0], [0, 1], [0, 1]]


def test_the_old_series_is_carried_over(few: Callable[..., Any], declared: Study) -> None:
    tables = few(declared, answers=pd.concat([BRIDGE, BEFORE, AFTER], ignore_index=True))
    found = bridged(tables, "csat")
    assert found.people == 400
    assert [(each.code, each.verdict) for each in found.checks] == [("ROX-M10", Verdict.PASS)]
    mean = found.series[found.series["metric"] == "mean"].set_index("quarter")
    assert mean["value"].to_dict() == pytest.approx({"2025Q1": 3.25, "2025Q2": 3.375, "2025Q3": 4.5})
    assert found.mapping["mean"].tolist() == pytest.approx([1.5, 3.5, 5.0])
    assert set(mean["scale"]) == {"new"}
    sampling = np.sqrt(np.mean([(1.5 - 3.25) ** 2, (5 - 3.25) ** 2]) / 100)
    assert mean.loc["2025Q1", "se"] > 0.8 * sampling
    direct = csat(tables, "csat", ["quarter"]).query("quarter == '2025Q3' and metric == 'mean'").iloc[0]
    assert mean.loc["2025Q3", "value"] == pytest.approx(direct["value"])
    assert mean.loc["2025Q3", "se"] == pytest.approx(direct["se"], rel=0.5)


def test_without_a_bridge_there_are_two_series(few: Callable[..., Any], declared: Study) -> None:
    found = bridged(few(declared, answers=pd.concat([BRIDGE[1:], BEFORE, AFTER], ignore_index=True)), "csat")
    assert found.checks[0].verdict is Verdict.STOP
    assert found.mapping.empty
    mean = found.series[found.series["metric"] == "mean"]
    assert list(zip(mean["scale"], mean["quarter"], strict=True)) == [
        ("old", "2025Q1"), ("new", "2025Q2"), ("old", "2025Q2"), ("new", "2025Q3"),
    ]  # fmt: skip
    assert mean["value"].iloc[0] == pytest.approx(2.0)
    for language in ("en", "zh"):
        assert "399" in found.checks[0].sentence(language)


def test_the_error_covers_what_a_bridge_leaves_open(few: Callable[..., Any], declared: Study) -> None:
    """Where few tell what many old answers count as, the error is that of the map and not of the many."""
    rng = np.random.default_rng(1)
    parts = []
    for survey in range(3):
        felt = rng.normal(0, 1, 400)
        new = np.clip(np.round(3 + felt + rng.normal(0, 0.3, 400)), 1, 5)
        old = 1.0 + (felt > -0.5) + (felt > 0.7)
        many = rng.choice([1.0, 2.0, 3.0], 4000, p=[0.31, 0.45, 0.24])
        both = pd.concat(
            [frame(list(old), list(new), "2025-05-05", 0), frame(list(many), [NO] * 4000, "2025-02-02", 1000)]
        )
        found = bridged(few(declared, answers=both.reset_index(drop=True)), "csat")
        mean = found.series.query("metric == 'mean' and quarter == '2025Q1'").iloc[0]
        parts.append((mean["value"], mean["se"]))
        assert mean["se"] > 1.5 / np.sqrt(4000), survey
    assert all(abs(value - 3.0) < 4 * se for value, se in parts)


def test_what_cannot_be_bridged_is_refused(
    few: Callable[..., Any], declared: Study, study: Callable[..., Study]
) -> None:
    with pytest.raises(DataError, match="replaces"):
        bridged(few(study(), answers=AFTER), "csat")
    with pytest.raises(DataError, match="Nobody answered 'old'"):
        bridged(few(declared, answers=AFTER.astype({"old": float})), "csat")
