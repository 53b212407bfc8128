"""Money around each answer: against a search row by row, with gaps, exits and the end of the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import DataError
from rox.core.linked import Linked, month_index
from rox.linking.link import link
from rox.testing import linked_from_frame
from tests.linking.crowd import Crowd, make_crowd, number

JAN = month_index(2024, 1)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    return make_crowd(tmp_path_factory.mktemp("crowd"), seed=5)


def by_search(crowd: Crowd, linked: Linked, *, before: int, first: int, last: int, column: str) -> pd.DataFrame:
    """Cut each answer's windows row by row from the raw ledger."""
    assert linked.views is not None
    exposures = linked.fetch(linked.views.exposures)  # type: ignore[attr-defined]
    exposures = exposures[(exposures["is_open"] == 1) & (exposures["until"] >= exposures["begin"])]
    exposures = exposures[exposures["said"] + first >= exposures["begin"]]
    ids = sorted(crowd.customers["cust"].unique())
    ledger = crowd.ledger.assign(month=number(crowd.ledger["month"]))
    money = {(cust, month): value for cust, month, value in ledger[["cust", "month", column]].itertuples(index=False)}
    left = dict(zip(crowd.exits["cust"], number(crowd.exits["left"]), strict=True))
    end, rows = ledger["month"].max(), []
    kept = set(zip(linked.frame()["customer"], linked.frame()["month"], strict=True))
    for answer in exposures.itertuples():
        cust, said = ids[answer.customer], answer.said
        known = {m: v for (c, m), v in money.items() if c == cust and (answer.customer, m) in kept}
        values = []
        for month in range(said + first, said + last + 1):
            if month in known:
                values.append(known[month])
            elif left.get(cust, 10**9) <= month <= end:
                values.append(0.0)
        total = sum(values) if column == "income" else (sum(values) / len(values) if values else np.nan)
        old, new = known.get(said - before), known.get(said - 1)
        rows.append(
            {
                "customer": answer.customer,
                "answered": said,
                "score": float(answer.score),
                **{f"before_{k}": known.get(said - k, np.nan) for k in range(before, 0, -1)},
                "growth": (new - old) / old if old and new is not None else np.nan,
                "outcome": total if values else np.nan,
                "observed": len(values) / (last - first + 1),
                "censored": 1 - len(values) / (last - first + 1),
            }
        )
    return pd.DataFrame(rows).sort_values(["customer", "answered", "score"], ignore_index=True)


@pytest.mark.parametrize(
    ("outcome", "column", "options", "spans"),
    [
        ("aum", "balance", {}, (12, 1, 12)),
        ("income", "income", {"washout": 3}, (2, 3, 9)),
        ("aum", "balance", {"lag": 2, "cohort": "2023-05"}, (6, 4, 4)),
    ],
)
def test_it_agrees_with_a_search_row_by_row(
    crowd: Crowd, outcome: str, column: str, options: dict[str, object], spans: tuple[int, int, int]
) -> None:
    linked = link(crowd.tables, outcome=outcome, **options)  # type: ignore[arg-type]
    before, first, last = spans
    found = linked.fetch(linked.windows(before=before, first=first, last=last))
    found = found.sort_values(["customer", "answered", "score"], ignore_index=True)
    expected = by_search(crowd, linked, before=before, first=first, last=last, column=column)
    assert len(expected) > 50
    assert (expected["outcome"] == 0).any() or outcome == "aum"
    pd.testing.assert_frame_equal(found[list(expected.columns)], expected, check_dtype=False, rtol=1e-9)
    people = linked.frame().drop_duplicates("customer").set_index("customer")
    both = found[found["customer"].isin(people.index)]
    for name in ("segment", "unit", "weight", "age"):
        assert list(both[name]) == list(people[name].reindex(both["customer"])), name


def small(**more: object) -> Linked:
    rows = [(0, JAN + m, 10.0 * (m + 1), 8.0 if m > 2 else np.nan, m - 2.0 if m > 2 else np.nan) for m in (0, 2, 3, 5)]
    rows += [(1, JAN + m, 50.0, 3.0 if m > 1 else np.nan, m - 1.0 if m > 1 else np.nan) for m in (0, 1, 2, 3)]
    frame = pd.DataFrame(rows, columns=["customer", "month", "outcome", "score", "score_age"])
    frame["exit_month"] = np.where(frame["customer"] == 1, JAN + 3.0, np.nan)
    return linked_from_frame(frame, **more)  # type: ignore[arg-type]


def test_by_hand() -> None:
    found = small().windows(before=2, first=1, last=4).set_index("customer")
    stays, leaves = found.loc[0], found.loc[1]
    assert stays["answered"] == JAN + 2
    assert np.isnan(stays["before_1"]), "a month that is missing shifts no other"
    assert stays["before_2"] == 10
    assert np.isnan(stays["growth"])
    assert stays["outcome"] == pytest.approx((40 + 60) / 2)
    assert (stays["observed"], stays["censored"]) == (0.5, 0.5)
    assert leaves["outcome"] == pytest.approx((50 + 50 + 0 + 0) / 4), "months after leaving are zero and known"
    assert leaves["observed"] == 1


def test_flows_are_summed() -> None:
    found = small(kind="flow").windows(before=1, first=1, last=4).set_index("customer")
    assert list(found["outcome"]) == [100, 100]
    assert found["growth"].isna().all()


def test_who_leaves_right_after_an_answer_has_a_row_of_zeros(tmp_path: object, crowd: Crowd) -> None:
    linked = link(crowd.tables)
    found = linked.fetch(linked.windows(before=1, first=1, last=3))
    left = linked.frame().drop_duplicates("customer").set_index("customer")["exit_month"]
    gone = found[found["answered"] + 1 > found["customer"].map(left)]
    assert (gone["outcome"] == 0).all()
    assert (gone.loc[gone["answered"] + 3 <= number(crowd.ledger["month"]).max(), "observed"] == 1).all()


def test_impossible_windows_are_told_at_once() -> None:
    with pytest.raises(DataError) as caught:
        small().windows(before=0, first=0, last=-1)
    assert len(caught.value.faults) == 3
    with pytest.raises(DataError, match="needs answers"):
        replace(small(), score="").windows()
