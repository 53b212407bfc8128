"""What a model may read moves together: months, starts, tickets, arms and applicants, of tables and of frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rox
from rox.simulate.study import write_study
from rox.testing import sample_linked
from rox.testing.held import Held, heavier, hold, in_hundredths, later, nudged, renumbered, reordered

MONTHS = (-1, 3)


@pytest.fixture(scope="module")
def held() -> Held:
    return hold(sample_linked(customers=200, months=18))


def read(held: Held, name: str) -> pd.DataFrame:
    data = held.linked()
    return data.fetch(data.records(name, months=MONTHS if name != "applicants" else ()))


def comparable(rows: pd.DataFrame, *without: str) -> list[tuple[object, ...]]:
    """Rows as a bag."""
    left = rows.drop(columns=list(without))
    return sorted(left.astype(str).itertuples(index=False, name=None))


@pytest.mark.parametrize("change", [nudged, lambda rows: reordered(rows, 2), heavier])
@pytest.mark.parametrize("name", ["tickets", "applicants"])
def test_what_means_nothing_changes_no_record(held: Held, name: str, change: Callable[[Held], Held]) -> None:
    without = ("weight",) if name == "tickets" else ()
    one, other = read(held, name), read(change(held), name)
    money = [column for column in one if column.startswith("money_") or column == "amount"]
    assert comparable(one, *without, *money) == comparable(other, *without, *money)
    for column in money:
        assert other[column].sum() == pytest.approx(one[column].sum())
    if name == "tickets":
        assert other["weight"].sum() == pytest.approx(one["weight"].sum() * (10 if change is heavier else 1))


def test_money_of_every_table_is_money(held: Held) -> None:
    made = in_hundredths(held)
    for name, column in (("tickets", "money_p3"), ("applicants", "amount")):
        np.testing.assert_allclose(read(made, name)[column], 100 * read(held, name)[column])


def test_a_number_is_a_name_in_every_table(held: Held) -> None:
    made = renumbered(held, 1)
    assert not read(made, "tickets")["customer"].equals(read(held, "tickets")["customer"])
    assert comparable(read(made, "tickets"), "customer") == comparable(read(held, "tickets"), "customer")
    assert made.records["applicants"].equals(held.records["applicants"])


def test_the_calendar_moves_as_a_whole(held: Held) -> None:
    made = later(held)
    assert (made.linked().study.about.extract - held.data.study.about.extract).days == 1461
    assert made.linked().starts["start"].equals(held.data.starts["start"] + 48)
    assert np.subtract(made.linked().money_months, held.linked().money_months).tolist() == [48, 48]
    for name in ("tickets", "applicants"):
        one, other = read(held, name), read(made, name)
        assert (other["month"] - one["month"] == 48).all()
        assert ((other["date"] - one["date"]).dt.days == 1461).all()
    one, other = read(held, "tickets"), read(made, "tickets")
    assert (other["contacted"] - other["date"]).equals(one["contacted"] - one["date"])
    assert other["money_p3"].equals(one["money_p3"])
    assert (other["given_age"].dropna() == one["given_age"].dropna()).all()


def test_tables_are_held_as_they_were_linked(tmp_path: Path) -> None:
    write_study(tmp_path / "bank", preset_name="small", customers=120, seed=3, extra=("funnel",))
    data = rox.link(rox.load(rox.read_study(tmp_path / "bank" / "study.toml")), score="nps", outcome="aum")
    rows = hold(data)
    assert set(rows.records) == {"tickets", "applicants"}
    found, want = read(rows, "tickets"), data.fetch(data.records("tickets", months=MONTHS))
    days = ["given_score", "given_age", "next_score", "next_age"]
    assert comparable(found[want.columns], *days, "exit_month") == comparable(want, *days, "exit_month")
    moved = later(renumbered(in_hundredths(rows), 1))
    assert comparable(read(moved, "tickets")[["hold_out", "segment"]]) == comparable(want[["hold_out", "segment"]])
    assert read(moved, "tickets")["money_p3"].sum() == pytest.approx(100 * want["money_p3"].sum())
    assert (read(moved, "applicants")["date"].min() - read(rows, "applicants")["date"].min()).days == 1461


def test_who_reads_what_is_seen(held: Held) -> None:
    names: set[str] = set()
    data = held.watched(names)
    assert data.money_months == held.linked().money_months
    assert names == set()
    data.fetch(data.records("tickets"))
    assert names == {"tickets"}
    assert set(hold(data).records) == set(held.records)
