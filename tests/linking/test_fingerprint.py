"""The fingerprint follows the contents and the settings, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rox.core.study import read_study
from rox.linking.link import link
from rox.linking.load import load
from rox.linking.tables import Tables

Open = Callable[..., Tables]


def test_it_repeats(five: Tables, open_tables: Open) -> None:
    again = open_tables(("customers.csv", "Secretname", "Othername"))
    assert five.fingerprint == again.fingerprint
    assert len(five.fingerprint) == 64
    assert link(five).fingerprint == link(again).fingerprint


def test_each_value_counts(five: Tables, open_tables: Open) -> None:
    one = open_tables(
        ("answers.csv", "2024-01-31,9", "2024-01-31,8"),
        ("ledger.csv", "102.52", "102.53"),
        ("customers.csv", "1.5,50", "1.5,"),
        ("exits.csv", "fees", "died"),
        ("initiatives.csv", "2024-03-01", "2024-02-01"),
    )
    assert all(five.digest(name) != one.digest(name) for name in five.tables)
    other = open_tables(
        ("customers.csv", "1.5,50", "1.6,50"),
        ("ledger.csv", "102.52,2", "102.52,3"),
        ("study.toml", '["fees"]', '["other"]'),
    )
    assert other.digest("customers") not in (one.digest("customers"), five.digest("customers"))
    assert other.digest("ledger") not in (one.digest("ledger"), five.digest("ledger"))
    assert other.digest("exits") == five.digest("exits")
    study = five.study.model_copy(update={"tables": other.study.tables})
    assert link(replace(five, study=study)).fingerprint != link(five).fingerprint


def test_settings_count(five: Tables) -> None:
    found = {
        link(five).fingerprint,
        link(five, look_back=6).fingerprint,
        link(five, score="csat").fingerprint,
        link(five, score=None).fingerprint,
        link(five, outcome="calls").fingerprint,
    }
    assert len(found) == 5


def test_a_table_that_is_not_used_does_not_count(five: Tables, open_tables: Open) -> None:
    other = open_tables(("answers.csv", "2024-01-31,9", "2024-01-31,8"))
    assert link(five, score=None).fingerprint == link(other, score=None).fingerprint
    assert link(five).fingerprint != link(other).fingerprint


def test_values_do_not_run_into_each_other(open_tables: Open) -> None:
    one = open_tables(("customers.csv", "0001,gold,B1", "0001,go,B1"), ("customers.csv", "0005,gold,B2", "0005,ld,B2"))
    two = open_tables(("customers.csv", "0001,gold,B1", "0001,ld,B1"), ("customers.csv", "0005,gold,B2", "0005,go,B2"))
    assert one.fingerprint != two.fingerprint


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(five: Tables, write: Callable[..., Path], seed: int) -> None:
    base = link(five)
    study = write(folder="shuffled")
    for file in study.parent.glob("*.csv"):
        head, *rows = file.read_text(encoding="utf-8").splitlines()
        shuffled = pd.Series(rows).sample(frac=1, random_state=seed)
        file.write_text("\n".join([head, *shuffled]) + "\n", encoding="utf-8")
    found = link(load(read_study(study)))
    assert found.fingerprint == base.fingerprint
    assert found.trail == base.trail
    pd.testing.assert_frame_equal(found.frame(), base.frame())
