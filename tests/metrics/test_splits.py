"""Several questions by several groupings in one pass give what each gives alone, and cost no more statements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.metrics.answers import score_splits, scores
from rox.metrics.cells import Part, moments, split_moments
from rox.metrics.source import rows_of

SPLITS = ((), ("quarter",), ("segment",))
NAMES = ("nps", "csat", "ces")


@dataclass(frozen=True)
class Counting:
    """Tables that remember what was asked."""

    inner: Any
    asked: list[Any] = field(default_factory=list)

    @property
    def study(self) -> Any:
        return self.inner.study

    @property
    def tables(self) -> Any:
        return self.inner.tables

    def fetch(self, expression: Any) -> pd.DataFrame:
        self.asked.append(expression)
        return self.inner.fetch(expression)


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(5)
    people = pd.DataFrame({"customer": [f"c{i:03d}" for i in range(150)], "segment": rng.choice(["a", "b", "c"], 150)})
    people["weight"] = rng.uniform(0.2, 3.0, 150).round(3)
    liking = rng.normal(size=900)
    answers = pd.DataFrame(
        {
            "customer": rng.choice(people["customer"], 900),
            "date": pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 365, 900), "D"),
            "nps": np.clip(np.round(7 + 2 * liking), 0, 10),
            "csat": np.where(rng.random(900) < 0.3, np.nan, np.clip(np.round(3.5 + liking), 1, 5)),
            "ces": np.where(rng.random(900) < 0.6, np.nan, np.clip(np.round(5 + liking), 1, 7)),
        }
    )
    return {"answers": answers.astype({"csat": "Int64", "ces": "Int64"}), "customers": people}


def test_one_pass_gives_what_each_gives_alone(few: Callable[..., Any], frames: dict[str, pd.DataFrame]) -> None:
    tables = Counting(few(**frames))
    together = score_splits(tables, NAMES, SPLITS, level=0.9)
    assert len(tables.asked) == 2
    for split, found in zip(SPLITS, together, strict=True):
        alone = pd.concat([scores(tables, name, split) for name in NAMES], ignore_index=True)
        pd.testing.assert_frame_equal(found, alone, check_exact=True)


@pytest.mark.parametrize("own", [False, True], ids=["of customers", "of answers"])
def test_parts_and_groupings_give_the_moments_of_their_rows(
    few: Callable[..., Any], frames: dict[str, pd.DataFrame], own: bool
) -> None:
    answers = frames["answers"].assign(place=frames["answers"].index % 3)
    if own:
        answers = answers.assign(segment=np.where(answers.index % 2, "x", None))
    tables = few(answers=answers, customers=frames["customers"])
    rows = rows_of(tables, "answers", ("quarter", "segment", "place"))
    assert rows.stratum == (None if own else "segment")
    table = rows.table
    given = table.nps > 3
    parts = {
        "all": Part(values={"nps": table.nps, "top": (table.nps > 8).ifelse(1, 0)}),
        "some": Part(values={"nps": table.nps}, where=given),
        "money": Part(values={"nps": table.nps}, where=given, weight=table.weight * (table.nps.cast("int64") + 1)),
    }
    chosen = few(answers=answers[answers["nps"] > 3], customers=frames["customers"])
    splits = [("place",), ("quarter", "segment")]
    for split, found in zip(splits, split_moments(tables, rows, parts, splits), strict=True):
        for name, part in parts.items():
            those = tables if part.where is None else chosen
            alone = rows_of(those, "answers", split)
            if part.weight is not None:
                weight = alone.table.weight * (alone.table.nps.cast("int64") + 1)
                alone = type(alone)(table=alone.table.mutate(weight=weight), by=alone.by, faults=alone.faults)
            values = {"nps": alone.table.nps, "top": (alone.table.nps > 8).ifelse(1, 0)}
            expected = moments(those, alone, {each: values[each] for each in part.values})
            pd.testing.assert_frame_equal(found[name], expected, check_exact=True)


def test_all_faults_of_all_questions_stand_in_one_message(
    few: Callable[..., Any], frames: dict[str, pd.DataFrame]
) -> None:
    answers = frames["answers"].copy()
    answers.loc[:1, "nps"] = 11
    answers.loc[:2, "csat"] = 0
    answers.loc[4, "customer"] = "stranger"
    with pytest.raises(DataError) as caught:
        score_splits(few(answers=answers, customers=frames["customers"]), NAMES, SPLITS, level=0.9)
    assert [fault.rsplit(": ", 1)[1] for fault in caught.value.faults] == ["1", "2", "3"]
