"""The workbook of a case that switches on every optional part of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from rox.core.returns import Return
from rox.reporting.workbook import write_workbook
from rox.valuation.value import value
from tests.reporting.office import recalculated
from tests.reporting.test_workbook import assert_same, calculated, flexed, run, saved, sheet
from tests.valuation.everything import all_effects, everything, with_split


@pytest.fixture(scope="module")
def moneys() -> dict[str, Return]:
    """Everything at once; only a claim, so that no benefit is counted; and a total split by its own table."""
    measured = all_effects()
    about = everything().about
    own = everything().model_copy(update={"about": about.model_copy(update={"explained_by": ("uplift",)})})
    bare = everything(referral=None, contacts=None, correlation=())
    return {
        "everything": value(measured, everything(), draws=200, rng=3),
        "claim": value(measured[1], bare, draws=200, rng=3),
        "own": value([with_split(measured[0])], own, draws=200, rng=3),
    }


CHANGED: Mapping[str, float] = {
    "discount": 0.11, "capital": 0.004, "overrun": 1.4, "inflow": 0.55, "reinvest": 0.02, "referral_second": 0.5,
    "contacts_change": 0.02, "effect_churn_1": 0.3, "effect_panel_2": -0.04, "lift": 1.7,
}  # fmt: skip


@pytest.mark.office
def test_recalculation_gives_what_python_gives(moneys: Mapping[str, Return], tmp_path: Path) -> None:
    paths = {name: write_workbook(money, tmp_path / f"{name}.xlsx") for name, money in moneys.items()}
    books = [saved(openpyxl.load_workbook(path), tmp_path / f"bare_{path.name}") for path in paths.values()]
    books.append(flexed(moneys["everything"], paths["everything"], tmp_path / "flexed.xlsx", CHANGED))
    copies = recalculated(tmp_path, *books)
    wanted = [(money, money.point) for money in moneys.values()]
    wanted.append((moneys["everything"], run(moneys["everything"], CHANGED)))
    for copy, (money, lines) in zip(copies, wanted, strict=True):
        book = openpyxl.load_workbook(copy, data_only=True)
        assert_same(calculated(book, money), lines)
        rows = [row for row in sheet(book, "checks").iter_rows(values_only=True) if row[6] in ("OK", "CHECK")]
        assert len(rows) >= 18
        assert {row[6] for row in rows} == {"OK"}


def test_what_only_a_claim_brings_is_in_no_total(moneys: Mapping[str, Return]) -> None:
    claim = moneys["claim"]
    assert claim.headline["npv"] == pytest.approx(-claim.point["present_cost"][0])
    assert claim.point["npv_with_claims"][0] > claim.headline["npv"]
    np.testing.assert_array_equal(claim.point["benefit"], 0.0)
