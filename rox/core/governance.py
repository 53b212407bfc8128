"""Who answers for a case, who challenged it, what is watched, and which books its totals were held against."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from rox.core.declared import Declared, Wording, Words

Person = Annotated[str, Field(min_length=1)]
Use = Literal["inform", "support", "decide"]
Role = Literal["prepared", "reviewed", "approved"]
Verdict = Literal["approved", "approved_with_conditions", "rejected"]
Figure = Literal["customers", "balance", "costs", "data_customers", "data_money"]


def _said(text: Wording) -> Wording:
    if not (text.en and text.zh):
        raise ValueError("say it in words; an empty text says nothing")
    return text


def _dated(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else value


Said = Annotated[Words, AfterValidator(_said)]
"""A text that is there, said once or in both languages."""
When = Annotated[Said, BeforeValidator(_dated)]
"""A date, or words such as "with each month's close"."""


class Watched(Declared):
    """Something that is watched after the decision: the trigger, what happens then, who does it and by when."""

    what: Said
    trigger: Said
    action: Said
    owner: Person
    by: When


class SignOff(Declared):
    """A signature: who, when, what was decided, and on which run.

    A signature names the run it was given for (the page and the workbook print it). Without the name it is shown, but
    the page says that it cannot tell whether these are the figures that were signed.
    """

    role: Role
    name: Person
    date: dt.date
    decision: Verdict
    run: Annotated[str, Field(pattern=r"^([0-9a-f]{12})?$")] = ""
    remark: Words = Wording(en="", zh="")

    @model_validator(mode="after")
    def _conditions_named(self) -> SignOff:
        if self.decision == "approved_with_conditions" and not self.remark.en:
            raise ValueError("approved_with_conditions needs a remark that names the conditions")
        return self


class Change(Declared):
    """A change of the case file: when, who, what and why."""

    date: dt.date
    who: Person
    what: Said
    why: Said


class Review(Declared):
    """The review of a case. The whole table may be missing; one that is begun is complete.

    Attributes:
        purpose: What the case is for.
        intended_use: Who may use it, for what.
        not_for: What it must not be used for.
        owner: Who answers for the case.
        reviewer: Who challenged it; not its owner.
        approver: Who decides.
        use: What hangs on the figures: they ``inform`` a discussion, ``support`` a decision beside other evidence, or
            ``decide`` it.
        exposure_limits: Amounts in the case's currency from which the money at stake counts as medium and as high.
        monitoring: What is watched after the decision.
        sign_offs: Signatures.
        changes: Changes of the case, oldest first.
    """

    purpose: Said
    intended_use: Said
    not_for: Said
    owner: Person
    reviewer: Person
    approver: Person
    use: Use
    exposure_limits: tuple[float, float] | None = None
    monitoring: tuple[Watched, ...] = ()
    sign_offs: tuple[SignOff, ...] = ()
    changes: tuple[Change, ...] = ()

    @model_validator(mode="after")
    def _challenged_by_another(self) -> Review:
        faults = []
        if self.owner.casefold() == self.reviewer.casefold():
            faults.append(f"owner and reviewer are both {self.owner!r}; somebody else has to challenge the case")
        if self.exposure_limits is not None and not 0 < self.exposure_limits[0] < self.exposure_limits[1]:
            faults.append("exposure_limits needs two amounts above 0, the smaller first")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def latest(self, role: Role) -> SignOff | None:
        """Return the last signature given in a role: by date, and of two of one day the later in the file."""
        given = [each for each in self.sign_offs if each.role == role]
        return max(enumerate(given), key=lambda each: (each[1].date, each[0]))[1] if given else None


class Reconcile(Declared):
    """A total of the case or of the data, and the same figure in the company's books.

    Attributes:
        label: What is compared.
        figure: The total on our side: ``customers`` or ``balance`` (customers times money per customer) or ``costs`` of
            the case, ``data_customers`` or ``data_money`` of the company in the linked data.
        amount: The figure of the books.
        tolerance: Allowed difference, as a share of the books' figure.
        book: Which books.
        owner: Who stands for the books' figure.
        source: Report, account and version it was taken from.
        date: Of the books' figure.
        explanation: Why the two differ, if they do.
    """

    label: Said
    figure: Figure
    amount: Annotated[float, Field(allow_inf_nan=False)]
    tolerance: Annotated[float, Field(ge=0, le=1)]
    book: Literal["general_ledger", "management_accounts", "other"] = "general_ledger"
    owner: Person
    source: Annotated[str, Field(min_length=1)]
    date: dt.date
    explanation: Words = Wording(en="", zh="")
