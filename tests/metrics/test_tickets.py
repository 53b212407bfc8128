"""Time from ticket to contact, and the tickets that wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.metrics.tickets import backlog, follow_up

EXTRACT = pd.Timestamp("2025-12-31")


def tickets(delays: list[float | None], *, age: int = 60, **columns: Any) -> pd.DataFrame:
    """One ticket per customer, opened so many days before the extract, contacted after the delay if given."""
    opened = EXTRACT - pd.Timedelta(days=age)
    contacted = [pd.NaT if delay is None else opened + pd.Timedelta(days=delay) for delay in delays]
    frame = pd.DataFrame({"customer": [f"C{k}" for k in range(len(delays))], "date": opened})
    return frame.assign(contacted=pd.to_datetime(pd.Series(contacted)), **columns)


def value(found: pd.DataFrame, metric: str, column: str = "value", **where: Any) -> float:
    for name, wanted in where.items():
        found = found[found[name] == wanted]
    (row,) = found[found["metric"] == metric].to_dict("records")
    return float(row[column])


def test_shares_and_quantiles_without_censoring_are_counts(few: Callable[..., Any]) -> None:
    found = follow_up(few(tickets=tickets([0, 1, 1, 2, 3, 5, 8, 13, 21, None])))
    assert value(found, "contacted_1d") == pytest.approx(0.3)
    assert value(found, "contacted_2d") == pytest.approx(0.4)
    assert value(found, "contacted_7d") == pytest.approx(0.6)
    assert value(found, "contacted_1d", "se") == pytest.approx(np.sqrt(0.3 * 0.7 / 10))
    assert value(found, "days_median") == 3
    assert value(found, "days_p90") == 21
    assert value(found, "contacted_1d", "n") == 10


def test_tickets_that_are_still_young_are_censored_not_slow(few: Callable[..., Any]) -> None:
    old, young = tickets([1, 4, 9, 9]), tickets([None] * 4, age=2)
    young["customer"] = [f"Y{k}" for k in range(4)]
    found = follow_up(few(tickets=pd.concat([old, young])))
    # At risk 8 on day 1, then the four young ones are censored on day 2 and 3 are left.
    assert value(found, "contacted_1d") == pytest.approx(1 / 8)
    assert value(found, "contacted_7d") == pytest.approx(1 - (7 / 8) * (2 / 3))
    assert value(found, "days_median") == 9


def test_held_out_and_ineligible_tickets_are_nobodys_work(few: Callable[..., Any]) -> None:
    rows = tickets([1, 1, None, None], hold_out=[0, 0, 1, 0], eligible=[1, 1, 1, 0])
    found = follow_up(few(tickets=rows))
    assert value(found, "contacted_1d") == 1
    assert value(found, "contacted_1d", "n") == 2


def test_by_owner_and_month_small_cells_are_hidden(few: Callable[..., Any], study: Callable[..., Any]) -> None:
    rows = tickets([1, 2, 3, 4, 5, 6], owner=["care"] * 4 + ["app"] * 2)
    assert not follow_up(few(study(min_cell=3), tickets=rows))["suppressed"].any()
    found = follow_up(few(study(min_cell=3), tickets=rows), ["owner"])
    assert found.loc[found["owner"] == "app", ["value", "n"]].isna().all().all()
    found = follow_up(few(tickets=rows), ["month", "owner"])
    assert set(found["month"]) == {"2025-11"}
    assert value(found, "contacted_2d", owner="care") == pytest.approx(0.5)


def test_the_backlog_adds_up(few: Callable[..., Any]) -> None:
    one, two = tickets([5, 40, None], age=80), tickets([3, None], age=20)
    two["customer"] = ["A", "B"]
    found = backlog(few(tickets=pd.concat([one, two])))
    assert found["month"].tolist() == ["2025-10", "2025-11", "2025-12"]
    assert found["opened"].tolist() == [3, 0, 2]
    assert found["contacted"].tolist() == [1, 1, 1]
    assert found["open"].tolist() == [2, 1, 2]


def test_small_months_of_the_backlog_hide_themselves_and_the_next(
    few: Callable[..., Any], study: Callable[..., Any]
) -> None:
    one, two = tickets([5, 6, None], age=80), tickets([3], age=20)
    two["customer"] = ["A"]
    found = backlog(few(study(min_cell=2), tickets=pd.concat([one, two])))
    assert found["suppressed"].all()
    assert found["open"].isna().all()


def test_tickets_that_cannot_be_right_are_refused(few: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="1 contacts before the ticket"):
        follow_up(few(tickets=tickets([1, -2])))
    with pytest.raises(DataError, match=r"tickets\.contacted: name its column"):
        follow_up(few(tickets=tickets([1]).drop(columns="contacted")))
    with pytest.raises(DataError, match="no number of days"):
        follow_up(few(tickets=tickets([1])), days=[-1])
    with pytest.raises(DataError, match="none is eligible"):
        follow_up(few(tickets=tickets([1], eligible=0)))
    with pytest.raises(DataError, match="leave 'month' out"):
        backlog(few(tickets=tickets([1])), ["month"])
