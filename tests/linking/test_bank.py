"""The bundled bank loads without a fault and links without a leak."""

from __future__ import annotations

import numpy as np
import pytest

from rox.linking.link import leaks, link
from rox.linking.tables import Tables


@pytest.fixture(scope="module")
def tables(bank_tables: Tables) -> Tables:
    return bank_tables


def test_it_loads(tables: Tables) -> None:
    assert set(tables.counts) == set(tables.study.tables)
    assert all(tables.counts.values())
    ids = tables.fetch(tables.tables["customers"].select("customer"))["customer"]
    assert ids.str.startswith("0").any()
    assert ids.str.len().eq(10).all()


def test_it_links(tables: Tables) -> None:
    linked = link(tables)
    assert leaks(linked, tables) == 0
    frame = linked.frame()
    assert len(frame) == tables.counts["ledger"]
    assert frame["score"].dropna().between(0, 10).all()
    assert frame["score_age"].dropna().between(1, 12).all()
    assert (frame["month"] <= frame["exit_month"].fillna(np.inf)).all()
    assert (frame["month"] >= frame["opened"]).all()
    assert not frame.duplicated(["customer", "month"]).any()
    steps = {step.name: step for step in linked.trail}
    used = frame.dropna(subset="score").assign(answered=lambda rows: rows["month"] - rows["score_age"])
    assert steps["answers_used"].rows == len(used[["customer", "answered"]].drop_duplicates())
    answers = [step for step in linked.trail if step.name.startswith("answers")]
    assert answers[0].rows - sum(step.lost for step in answers) == answers[-1].rows
    assert set(linked.starts["unit"]) < set(frame["unit"])
