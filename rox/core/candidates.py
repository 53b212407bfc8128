"""Studies that could be made before a decision: what each would find out, what it costs, and how long it takes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rox.core.assumption import Answered
from rox.core.declared import Words

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class Candidate(Answered):
    """A study that could be made before the decision is taken.

    Attributes:
        label: What it is called.
        cost: What it costs, before tax, in the case's currency.
        wait: Months until its finding is known.
        meanwhile: Share of the initiative that goes on while the decision waits; what it loses by waiting counts as a
            cost of the study.
        open: Chance that the decision can still be changed when the finding is there, or the share of it that can.
    """

    label: Words
    cost: Annotated[float, Field(ge=0)]
    wait: Annotated[int, Field(ge=0)]
    meanwhile: Annotated[float, Field(ge=0, le=1)] = 0.0
    open: Annotated[float, Field(gt=0, le=1)] = 1.0


class Holdout(Candidate):
    """Customers, or places, are left out by lot; the others get what is to be decided. Measures the effect itself.

    Being randomised, it also settles how far the estimate in hand is from the truth, which the evidence discount of a
    weaker design leaves open.

    Attributes:
        effect: Name of the effect it measures; may be left out when the case prices only one.
        share: Share that is held out.
        months: Months that both sides are followed.
        customers: Customers on both sides together; by default all whom the case reaches.
        places: Number of places on both sides, when places and not customers are assigned by lot.
        sd: Standard deviation of the outcome between customers, in the unit of the effect of the whole initiative; by
            default what the posterior of the effect implies for the customers it was measured on. Not for effects on
            leaving, whose error follows from the number of exits.
    """

    kind: Literal["holdout"]
    effect: str = ""
    share: Share
    months: Annotated[int, Field(ge=1)]
    customers: Positive | None = None
    places: Annotated[int, Field(ge=2)] | None = None
    sd: Positive | None = None

    @model_validator(mode="after")
    def _possible(self) -> Holdout:
        faults = []
        if self.wait < self.months:
            faults.append(f"wait is {self.wait} months, but the follow-up alone takes {self.months}")
        if self.places is not None and not 1 <= round(self.share * self.places) < self.places:
            faults.append(f"{self.share:g} of {self.places} places leaves one side without a place")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class Survey(Candidate):
    """Answers are gathered from customers with the change and from as many without. Measures the lift of the score.

    Attributes:
        answers: Answers on both sides together.
        sd: Standard deviation of one answer, in the unit of the lift.
    """

    kind: Literal["survey"]
    answers: Annotated[int, Field(ge=4)]
    sd: Positive


class Measurement(Candidate):
    """One assumption gets measured.

    Attributes:
        of: Its place in the file, such as ``"margin.all"``.
        sd: Standard error of the measurement, in the assumption's unit.
    """

    kind: Literal["measure"]
    of: str
    sd: Positive


AnyCandidate = Annotated[Holdout | Survey | Measurement, Field(discriminator="kind")]


def study_faults(
    studies: Mapping[str, AnyCandidate], *, effects: Collection[str], uncertain: Collection[str], known: Collection[str]
) -> Iterator[str]:
    """List which studies have nothing to find out in a case.

    Args:
        studies: The candidates by name.
        effects: Names of the effects the case rests on.
        uncertain: Places of assumptions with a range.
        known: Places of all assumptions.
    """
    for key, study in studies.items():
        where = f"studies.{key}"
        if isinstance(study, Holdout):
            if study.effect and study.effect not in effects:
                yield f"{where}.effect: the case does not rest on {study.effect!r}; it rests on {', '.join(effects)}"
            elif not study.effect and len(effects) > 1:
                yield f"{where}.effect: missing; say which of {', '.join(effects)} it measures"
            continue
        place = "lift" if isinstance(study, Survey) else study.of
        if place not in known:
            yield f"{where}: measures {place!r}, which is no assumption of this file"
        elif place not in uncertain:
            yield f"{where}: measures {place}, which is one value without a range; give it one, or drop the study"
