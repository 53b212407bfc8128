"""A company's chain: operations, what customers perceive, what they do, money; and what is known of each link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rox.core.chain_outline import Kind, Stage
from rox.core.check import Check, Grade
from rox.core.declared import Wording

Basis = Literal["association", "effect", "gap", "arithmetic", "untested"]
"""Goes with it before it happens; an estimate of what a change does; a comparison of people; bookkeeping; nothing."""
Agreement = Literal["agree", "apart", "open", "time", "alone"]
"""The range of product over direct effect holds one; does not; either may be zero; other months; nothing to compare."""
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Box:
    """One thing of the chain, and how it stands.

    Attributes:
        key: Its name.
        stage: Where in the chain it stands.
        kind: What it is.
        label: Its name for readers.
        level: How it stands: its mean, rate or share; NaN where that is not told.
        low: Lower end of the 90% interval of ``level``; NaN without one.
        high: Upper end.
        unit: What ``level`` is in: ``times`` (per customer in the months before an answer), ``points``,
            ``share_per_year``, ``money`` per customer, or the unit of a metric.
        currency: ISO code, for money.
        period: The period of ``level``, where it is of one.
    """

    key: str
    stage: Stage
    kind: Kind
    label: Wording
    level: float = NAN
    low: float = NAN
    high: float = NAN
    unit: str = ""
    currency: str = ""
    period: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One estimate of how much the end of an arrow moves with its beginning.

    Attributes:
        name: Of the effect, or ``drivers`` and ``ledger``.
        basis: What sort of evidence it is.
        question: Which question it answers, a key of the catalogue; empty for associations of drivers.
        value: Mean.
        low: Lower end of the 90% interval.
        high: Upper end.
        unit: ``points`` (of the question at the end), ``money`` (per customer), ``share_of_own`` (of a customer's own
            money), ``rate`` (relative change of the monthly rate of leaving), or ``number``.
        currency: ISO code, for money.
        per: What moves by one: ``event``, ``topic``, ``rating``, ``leaver`` or a dose.
        lag: First and last month from the cause to what is measured; (0, 0) where both were told in one answer.
        grade: Strength of evidence; None for arithmetic.
        checks: What was checked.
        size: Customers or answers behind it; 0 where not told.
        beside: Names of what was held equal.
        treatment: What was moved, as the effect says it.
        key: File of the effect, without its ending; several effects may have one name.
    """

    name: str
    basis: Basis
    question: str = ""
    value: float
    low: float
    high: float
    unit: str
    currency: str = ""
    per: str
    lag: tuple[int, int]
    grade: Grade | None
    checks: tuple[Check, ...] = ()
    size: int = 0
    beside: tuple[str, ...] = ()
    treatment: str = ""
    key: str = ""

    @property
    def is_open(self) -> bool:
        """Whether its interval holds zero."""
        return not (self.low > 0 or self.high < 0)


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """From one box to another, with the evidence or with what is missing.

    Attributes:
        source: Key of the box it begins at.
        target: Key of the box it ends at.
        shown: The best evidence; None where nothing was measured.
        others: Other readings of the same arrow, which answer other questions or weigh less.
        need: What is missing, a key ``chain.need.<need>`` of the catalogue; empty where there is evidence.
        what: What the missing thing is called.
    """

    source: str
    target: str
    shown: Reading | None = None
    others: tuple[Reading, ...] = ()
    need: str = ""
    what: str = ""

    @property
    def basis(self) -> Basis:
        """What sort of evidence it wears."""
        return "untested" if self.shown is None else self.shown.basis


@dataclass(frozen=True, kw_only=True)
class Product:
    """What a path of the chain would bring if each of its arrows were a cause.

    Attributes:
        path: Keys of its boxes.
        move: By how much its first box moves.
        per: What it moves in, as of ``Reading``.
        value: Mean, per customer.
        low: Lower end of the 90% interval.
        high: Upper end.
        currency: ISO code.
        months: Months after the change.
        grade: D at best, and never better than the worst arrow.
        checks: What a reader must know.
        through: Name of the effect of the last arrow.
        direct: The same measured directly, in its own unit; None where nobody has.
        compared: The product in the unit of the direct effect: mean and 90% interval.
        ratio: Product over direct effect: middle and 90% interval; None where it cannot be told.
        agreement: Whether the two agree.
        is_kept: Whether it was computed as a whole, for the customers who are kept, and nothing was multiplied.
        through_lag: First and last month of the last arrow's effect, where they are not those of the direct one.
    """

    path: tuple[str, ...]
    move: float
    per: str
    value: float
    low: float
    high: float
    currency: str
    months: int
    grade: Grade
    checks: tuple[Check, ...]
    through: str
    direct: Reading | None = None
    compared: tuple[float, float, float] | None = None
    ratio: tuple[float, float, float] | None = None
    agreement: Agreement = "alone"
    is_kept: bool = False
    through_lag: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The chain on one page.

    Attributes:
        title: Its title.
        score: The question through which experience is read.
        months: Months before an answer in which events count.
        boxes: Its boxes, in the order of the description.
        arrows: Its arrows, likewise.
        products: Paths from what the company does to money.
        headroom: Most by which the mean score can rise; NaN where it is not known.
        bounded_by: Where the headroom comes from: ``said``, ``places`` or ``scale``.
        checks: What a reader must know of the whole.
    """

    title: Wording
    score: str
    months: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    products: tuple[Product, ...]
    headroom: float
    bounded_by: str
    checks: tuple[Check, ...] = ()

    def box(self, key: str) -> Box:
        """Return a box by its key."""
        return next(box for box in self.boxes if box.key == key)

    @property
    def untested(self) -> tuple[Arrow, ...]:
        """Arrows without evidence."""
        return tuple(arrow for arrow in self.arrows if arrow.shown is None)

    def as_record(self) -> dict[str, Any]:
        """Return plain values; what is not told is None."""
        return {
            "title": self.title.model_dump(),
            "score": self.score,
            "months": self.months,
            "headroom": _told(self.headroom),
            "boxes": [_plain(box) | {"label": box.label.model_dump()} for box in self.boxes],
            "arrows": [_arrow(arrow) for arrow in self.arrows],
            "products": [_product(product) for product in self.products],
            "checks": [check.as_record() for check in self.checks],
        }


def _arrow(arrow: Arrow) -> dict[str, Any]:
    told = {"basis": arrow.basis, "shown": _reading(arrow.shown), "others": [_reading(each) for each in arrow.others]}
    return _plain(arrow) | told


def _reading(reading: Reading | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    return _plain(reading) | {"checks": [check.as_record() for check in reading.checks]}


def _product(product: Product) -> dict[str, Any]:
    checks = [check.as_record() for check in product.checks]
    return _plain(product) | {"direct": _reading(product.direct), "checks": checks}


def _plain(value: Any) -> dict[str, Any]:
    """Return the simple fields of a value; a number that is not told is None."""
    return {name: _told(field) for name, field in vars(value).items() if not hasattr(field, "__dataclass_fields__")}


def _told(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value else None
    if isinstance(value, Grade):
        return str(value)
    return [_told(each) for each in value] if isinstance(value, tuple) else value
