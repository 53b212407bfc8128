"""What a new way through the funnel does: money per person who starts, and the conversion it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rox.core.case import EVERYONE
from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, Step, month_label
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models import funnel_checks as checks
from rox.models import funnel_tables as tables
from rox.models.funnel_arms import FEWEST, Compared, compare, periods, stood_alone
from rox.models.funnel_starters import Starters, starters

RECENT = 12
"""Months of starters whose mix and number the answer is for."""
DAYS_OF_MONTH = 30.4375


@dataclass(frozen=True, kw_only=True)
class FunnelUplift:
    """Estimate what a new form adds for everybody who starts: money some days later, without an account counted as 0.

    Estimand: mean money ``days`` after the start with the new form less that with the old one, per person who starts,
    in the mix of channels and devices of the starters of the last twelve months. The conversion behind it, relative
    and in percentage points, stands beside it. An account that only the new form opened holds something else than the
    mean account, so money is compared as it is and never made of a rate times a mean.

    Where the form was drawn by lot, those drawn are compared within channel and device (grade A). Otherwise starters
    before are compared with starters after in one mix: season, promotions and whatever else changed stay inside, and
    the grade is D. Only who started long enough before the extract counts. A person counts once, where persons are
    named: with the first attempt and whatever it came to.

    Attributes:
        outcome: ``money``, or ``funded`` for percentage points of funded accounts, which are not priced.
        design: ``lot``, ``before_after``, or ``auto`` for the lot where there is one.
        days: Days after the start when money is read; the study's ``amount`` must be of that day.
        retry_days: Days in which a person's second attempt belongs to the first.
        lot_share: Share of starters that the lot was to give the new form.
        steps: Names of the steps, in order; by default numbers.
        draws: Number of draws.

    Example:
        >>> FunnelUplift(steps=("form", "identity", "contract", "funding")).days
        90
    """

    outcome: Literal["money", "funded"] = "money"
    design: Literal["auto", "lot", "before_after"] = "auto"
    days: int = 90
    retry_days: int = 30
    lot_share: float = 0.5
    steps: Sequence[str] = ()
    draws: int = 4000

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)!r}; needed: one of {', '.join(allowed)}"
            for name, allowed in (("outcome", ("money", "funded")), ("design", ("auto", "lot", "before_after")))
            if getattr(self, name) not in allowed
        ]
        faults += [
            f"{name} is {getattr(self, name)}; needed: {low} or more"
            for name, low in (("days", 1), ("retry_days", 0), ("draws", 100))
            if getattr(self, name) < low
        ]
        if not 0 < self.lot_share < 1:
            faults.append(f"lot_share is {self.lot_share}; needed: a share between 0 and 1")
        if faults:
            raise FitError("This question cannot be asked.", faults)

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate from the applicants of a linked study.

        Args:
            data: The link.
            rng: Seed or generator.

        Raises:
            DataError: No applicants, or rows that cannot be used.
            FitError: Too few starters of a form, a lot that was no lot, no money, or choices that do not fit.
        """
        made = starters(data, days=self.days, retry_days=self.retry_days)
        fewest = max(FEWEST, data.study.about.min_cell)
        read = self._read(made, fewest)
        headline = read.designs[read.name]
        value, error = headline.difference(headline.size - 1 if self.outcome == "money" else headline.funded)
        unit = 1.0 if self.outcome == "money" else 100.0
        conversion = tables.conversion_table(headline)
        found, shown = self._evidence(data, made, read, conversion)
        draws = unit * np.random.default_rng(rng).normal(value, error, self.draws)
        target = recent(made.rows)
        return Effect(
            name="funnel",
            estimand=self._estimand(data, target),
            groups=(EVERYONE,),
            draws=draws[:, None],
            shares=np.ones(1),
            baseline=_baseline(headline, len(target)),
            grade=grade_after(Grade.A if read.is_lot else Grade.D, found),
            checks=found,
            specification=repr(self),
            trail=(*data.trail, *made.trail, read.step),
            fingerprint=data.fingerprint,
            counts={"starters": len(read.used), "old_form": headline.old, "new_form": headline.new},
            tables=shown,
        )

    def _read(self, made: Starters, fewest: int) -> _Read:
        """Compare the forms in every way the rows allow, and choose the one that answers."""
        followed, target = made.followed, recent(made.rows)
        lot, spans = followed[followed["lot"]], periods(followed)

        def compared(rows: pd.DataFrame, mix: pd.DataFrame | None) -> Compared | None:
            return compare(rows, steps=made.steps, has_money=made.has_money, target=mix, fewest=fewest)

        is_lot = self.design == "lot" or (self.design == "auto" and bool(made.rows["lot"].any()))
        asked: dict[str, Compared | None] = {}
        if not is_lot or stood_alone(followed):
            asked |= {"before_after": compared(spans, None), "mix_standardised": compared(spans, target)}
        asked |= {"by_lot": compared(lot, None), "transported": compared(lot, target)}
        designs = {name: each for name, each in asked.items() if each is not None}
        name, used = ("transported", lot) if is_lot else ("mix_standardised", spans)
        self._require(made, used, fewest, is_lot=is_lot)
        step = Step(
            name="compared",
            rows=len(used),
            lost=len(followed) - len(used),
            customers=len(used),
            reason=f"funnel.step.{'lot' if is_lot else 'periods'}",
        )
        return _Read(designs=designs, name=name, used=used, spans=spans, is_lot=is_lot, step=step)

    def _require(self, made: Starters, used: pd.DataFrame, fewest: int, *, is_lot: bool) -> None:
        faults = []
        new = int(used["new"].sum())
        for form, n in (("old", len(used) - new), ("new", new)):
            if n < fewest:
                faults.append(
                    f"{n} starters{' by lot' if is_lot else ''} met the {form} form at least {made.window} days before "
                    f"the extract; needed: {fewest}"
                )
        funded = used.groupby("new")["funded"].sum().reindex([False, True], fill_value=0)
        if not faults and not funded.min() > 0:
            faults.append("nobody has a funded account in one of the forms: no relative change exists")
        if not faults and not used["funded"].min() < 1:
            faults.append("everybody has a funded account: the table must hold all who start")
        if self.outcome == "money" and not made.has_money:
            faults.append('no amounts: name the role `amount`, money of that day, or ask for outcome="funded"')
        if self.steps and len(self.steps) != made.steps:
            faults.append(f"steps names {len(self.steps)} steps, the applicants pass {made.steps}")
        if is_lot and not faults:
            lot = checks.lot_check(made.rows[made.rows["lot"]], self.lot_share)
            if lot.verdict is Verdict.STOP:
                faults.append(f"{lot.code}: {lot.sentence()}")
        if faults:
            raise FitError("The forms cannot be compared.", faults)

    def _evidence(
        self, data: Linked, made: Starters, read: _Read, conversion: pd.DataFrame
    ) -> tuple[tuple[Check, ...], dict[str, pd.DataFrame]]:
        """Run every check and make the tables."""
        headline, lot = read.designs[read.name], made.followed[made.followed["lot"]]
        names = list(self.steps) or [str(number) for number in range(1, made.steps + 1)]
        mix = tables.mix_table(read.designs, lot if read.is_lot else None)
        parts = tables.parts_of_change(read.spans) if "before_after" in read.designs else None
        censored = tables.censoring_table(made.rows)
        shown = {
            "conversion": conversion,
            "steps": tables.steps_table(headline, names),
            "mix": mix,
            "censoring": censored,
            "months": tables.months_table(made.followed, data.study.about.min_cell),
        }
        if parts is not None:
            shown["parts"] = tables.parts_table(parts)
        if made.has_money:
            shown["value"] = tables.value_table(headline)
        if self.outcome == "money":
            shown["rivals"] = tables.money_by_design(read.designs, read.name)
        found = (
            *data.checks,
            checks.design_check(read.is_lot),
            *self._lot_checks(made, read.is_lot),
            checks.both_ways(conversion),
            checks.censoring_check(made, censored),
            checks.person_check(made),
            checks.mix_check(headline),
            checks.months_check(read.used, read.is_lot),
            *checks.rival_checks(mix, parts, read.name),
            *self._money_checks(headline, read.used, conversion, data.study.currency),
            checks.cannibalisation_check(data, made.followed),
        )
        return found, shown

    def _lot_checks(self, made: Starters, is_lot: bool) -> Iterator[Check]:
        if is_lot:
            lot = made.rows[made.rows["lot"]]
            yield checks.lot_check(lot, self.lot_share)
            yield checks.balance_check(lot)

    def _money_checks(
        self, headline: Compared, used: pd.DataFrame, conversion: pd.DataFrame, currency: str
    ) -> Iterator[Check]:
        asked = headline.size - 1 if self.outcome == "money" else headline.funded
        yield checks.precision_check(*headline.difference(asked))
        if headline.has_money:
            yield checks.missing_check(used)
            yield checks.active_check(conversion)
            yield checks.value_check(headline, currency)

    def _estimand(self, data: Linked, target: pd.DataFrame) -> Estimand:
        language, is_money = data.study.language, self.outcome == "money"
        first, last = (month_label(int(month)) for month in (target["month"].min(), target["month"].max()))
        stock = data.study.outcomes[data.outcome].kind == "stock"
        return Estimand(
            question=Question.INITIATIVE,
            population=say("funnel.population", language, first=first, last=last),
            treatment=say("funnel.treatment", language),
            dose=Dose.INITIATIVE,
            outcome=(data.outcome if stock else "amount") if is_money else "funded",
            unit=Unit.MONEY_PER_CUSTOMER if is_money else Unit.PERCENTAGE_POINT,
            currency=data.study.currency if is_money else "",
            horizon=round(self.days / DAYS_OF_MONTH),
            includes_exit=True,
            channels=frozenset({"acquisition"}),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """The forms compared in every way, and which way answers."""

    designs: dict[str, Compared]
    name: str
    used: pd.DataFrame
    spans: pd.DataFrame
    is_lot: bool
    step: Step


def recent(rows: pd.DataFrame, months: int = RECENT) -> pd.DataFrame:
    """Return the starters of the last months, whether or not it is known what became of them.

    Args:
        rows: All starters.
        months: How many months.
    """
    found: pd.DataFrame = rows[rows["month"] > rows["month"].max() - months]
    return found


def _baseline(headline: Compared, customers: int) -> pd.DataFrame:
    """Describe the starters of the last months: how many, and what one holds with the old form."""
    money = float(headline.form(False)[-1]) if headline.has_money else np.nan
    return pd.DataFrame(
        {"customers": [float(customers)], "money": [money], "exit_hazard": [np.nan]},
        index=pd.Index([EVERYONE], name="group"),
    )
