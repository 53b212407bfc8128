"""The checks of the workbook: the same figure by two ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from xlsxwriter.utility import xl_cell_to_rowcol

from rox.core.formula import names
from rox.core.ledger import Ledger
from rox.reporting.sheets import bridge
from rox.reporting.sheets.book import CHANGED, Book, cell
from rox.reporting.sheets.calc import monthly_block
from rox.reporting.sheets.draws import OPEN_ENDED, Sample, count_cells, share_above_cell
from rox.reporting.sheets.inputs import columns_of
from rox.reporting.sheets.summary import delivered_cell

TOLERANCES = {"cent": 0.01, "exact": 0.0, "near": 0.02}
"""Allowed differences: of money, of counts, and of shares that a sample stands for."""

IDENTITIES = (
    ("npv_months", "npv", "SUM(net * discount_factor)", "money", "cent"),
    ("npv_running", "npv", "LAST(cumulative_present)", "money", "cent"),
    ("npv_split", "npv", "present_benefit - present_cost", "money", "cent"),
    ("net_running", "undiscounted", "LAST(cumulative)", "money", "cent"),
    ("net_parts", "SUM(net)", "SUM(benefit) - SUM(cost) - SUM(tax_paid)", "money", "cent"),
    ("tax", "SUM(tax_paid)", "(SUM(benefit) - SUM(cost)) * tax", "money", "cent"),
    ("roi", "(roi + 1) * present_cost", "present_benefit", "money", "cent"),
    ("irr", "IF(KNOWN(irr), SUM(net * (1 + irr) ** (0 - month / year)), 0)", "0", "money", "cent"),
    ("costs_positive", "SUM(cost * (cost < 0))", "0", "money", "exact"),
    ("factor_start", "HIGHEST(discount_factor)", "1", "factor", "exact"),
)
"""Checks in the ledger's own language; one whose lines a ledger lacks is left out."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Two ways to one figure.

    Attributes:
        key: Its words.
        this: The figure, as a spreadsheet's formula.
        other: The same by another way, or as delivered.
        values: Both as delivered.
        unit: Of the figure.
        tolerance: Which difference is allowed.
    """

    key: str
    this: str
    other: str | float
    values: tuple[float, float]
    unit: str
    tolerance: str

    @property
    def holds(self) -> bool:
        """Whether it holds as delivered."""
        return abs(self.values[0] - self.values[1]) <= TOLERANCES[self.tolerance]


def proofs(book: Book, sample: Sample) -> tuple[Proof, ...]:
    """Return every check of the workbook."""
    return (
        *_identities(book),
        *_discounting(book),
        *_parts(book),
        *_contents(book),
        *_delivered(book, sample),
    )


def _known(ledger: Ledger) -> set[str]:
    return {*(each.name for each in ledger.inputs), *ledger.schedules, *(line.name for line in ledger.lines)}


def _proof(book: Book, key: str, this: str, other: str, unit: str, tolerance: str) -> Proof:
    """Make a check of two formulas of the ledger's language."""
    return Proof(
        key=key,
        this=book.places.formula(this, outside=True)[1:],
        other=book.places.formula(other, outside=True)[1:],
        values=(book.point(this), book.point(other)),
        unit=unit,
        tolerance=tolerance,
    )


def _identities(book: Book) -> Iterator[Proof]:
    known = _known(book.money.ledger)
    for key, this, other, unit, tolerance in IDENTITIES:
        if names(this) | names(other) <= known:
            yield _proof(book, key, this, other, unit, tolerance)


def _discounting(book: Book) -> Iterator[Proof]:
    """Discount the net flow with the spreadsheet's own NPV, which takes its first amount a period from now."""
    if not {"npv", "net", "discount", "year"} <= _known(book.money.ledger):
        return
    places, point = book.places, book.money.ledger.point
    sheet, months = places.reference("net", "months", outside=True).rsplit("!", 1)
    start, end = months.split(":")
    row, column = xl_cell_to_rowcol(start)
    rate = f"(1+{places.names['discount']})^(1/{places.names['year']})-1"
    net = np.asarray(book.money.point["net"], dtype=float)
    monthly = (1 + point["discount"]) ** (1 / point["year"])
    yield Proof(
        key="npv_function",
        this=places.formula("npv", outside=True)[1:],
        other=f"{sheet}!{start}+NPV({rate},{sheet}!{cell(row, column + 1)}:{end})",
        values=(book.point("npv"), float((net * monthly ** -np.arange(len(net))).sum())),
        unit="money",
        tolerance="cent",
    )


def _parts(book: Book) -> Iterator[Proof]:
    """Sum over months and over parts in the other order, and along the bridge."""
    for line in book.money.ledger.lines:
        if line.name in ("benefit", "cost"):
            parts = " + ".join(f"SUM({name})" for name in sorted(names(line.formula)))
            yield _proof(book, f"parts_{line.name}", f"SUM({line.name})", parts, "money", "cent")
    rungs = bridge.steps(book.money)
    yield _proof(book, "bridge", rungs[-1].formula, " + ".join(f"({r.formula})" for r in rungs[:-1]), "money", "cent")
    if schedules := book.money.ledger.schedules:
        either = " + ".join(f"SUM({name} * (1 - {name}))" for name in schedules)
        yield _proof(book, "schedules", either, "0", "count", "exact")


def _contents(book: Book) -> Iterator[Proof]:
    """Look for errors among the months, which a sum over them passes on, and for inputs that are no numbers."""
    yield Proof(
        key="numbers",
        this=f"IF(ISNUMBER(SUM({monthly_block(book)})),0,1)",
        other=0.0,
        values=(0.0, 0.0),
        unit="count",
        tolerance="exact",
    )
    values, _, _, delivered = columns_of(book)
    count = float(len(book.money.ledger.inputs))
    yield Proof(
        key="inputs",
        this=f"SUMPRODUCT(1*ISNUMBER({values}))",
        other=f"SUMPRODUCT(1*ISNUMBER({delivered}))",
        values=(count, count),
        unit="count",
        tolerance="exact",
    )


def _delivered(book: Book, sample: Sample) -> Iterator[Proof]:
    """Compare with what was computed when the workbook was written."""
    decision, npv, delivered = book.money.decision, book.point("npv"), delivered_cell(book, "npv")
    yield Proof(
        key="delivered",
        this=f"IF({CHANGED}=0,{book.places.reference('npv', 'here', outside=True)},{delivered})",
        other=delivered,
        values=(npv, npv),
        unit="money",
        tolerance="cent",
    )
    share = sample.share_above("npv", 0.0)
    yield Proof(
        key="draws_positive",
        this=share_above_cell(book, sample, "npv"),
        other=decision.p_positive,
        values=(share, decision.p_positive),
        unit="share",
        tolerance="near",
    )
    if "payback" in OPEN_ENDED & set(sample.names):
        count, known = count_cells(book, sample, "payback")
        yield Proof(
            key="draws_payback",
            this=f"{known}/{count}",
            other=decision.p_payback,
            values=(sample.share_known("payback"), decision.p_payback),
            unit="share",
            tolerance="near",
        )
