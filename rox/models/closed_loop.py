"""What calling detractors back is worth: money kept by the closed loop, by lot where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Grade, grade_after
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, month_label
from rox.core.units import Dose, Unit
from rox.core.words import say
from rox.models.answers import stands_beside_answers
from rox.models.closed_loop_cases import Cases, read_cases
from rox.models.closed_loop_checks import (
    STRONG,
    WEAK,
    balance_table,
    capacity_checks,
    cases_checks,
    chance_check,
    hold_out_checks,
    missing_hold_out,
    naive_check,
    weak_capacity,
    weights_checks,
)
from rox.models.closed_loop_designs import (
    FEWEST_PLACES,
    LEAST_ARM,
    LEAST_HELD,
    ByContact,
    BySegment,
    Capacity,
    Per,
    Sample,
    by_capacity,
    by_contact,
    by_lot,
    by_weights,
    sample_of,
    still_there,
)
from rox.models.closed_loop_outcomes import Rebounds, outcomes_table, path_table, rebounds
from rox.models.closed_loop_rivals import headline_of, negative_table, pooling_table, rivals
from rox.models.evidence import FEWEST_CUSTOMERS
from rox.numerics.pooling import pool
from rox.numerics.weak_instrument import ratio_draws

Floats = NDArray[np.float64]
Design = Literal["auto", "hold_out", "capacity", "weights"]
DESIGNS = ("auto", "hold_out", "capacity", "weights")
PERS = ("eligible", "contacted")
GRADES: Mapping[str, Grade] = {"hold_out": Grade.A, "capacity": Grade.B, "weights": Grade.C}
VAGUE = 1.0
"""Prior spread of the effect of a segment of middling wealth: the whole of own money."""
WEAKEST = 10.0
"""Squared t that the contacts of a segment's loop need before an effect is divided by them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """What a design says by segment."""

    estimate: Floats
    covariance: Floats
    draws: Floats
    shrinkage: Floats
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class ClosedLoop:
    """Estimate what calling back customers who were unhappy does to their money.

    Estimand: money ``horizon`` months after a customer's first eligible ticket, as a share of the customer's own mean
    money in the ``base`` months before it, with the closed loop less without it, those who left counting as zero. Per
    eligible customer by default, since that is what a case prices: the loop offered to everybody who becomes eligible,
    called or not. Per contacted customer it is the same total over those whom the loop reached by the horizon.

    The clock starts at the ticket, never at the contact: who is called has stayed and picked up until then (immortal
    time; Suissa 2008, American Journal of Epidemiology 167). The designs, in the order in which they are believed:

    - ``hold_out``: some customers were by lot never called. Loop less hold-out by segment, facts recorded at
      eligibility held equal (Lin 2013). A contact whenever it comes, late or at a later ticket, belongs to the loop, so
      that dividing by all contacts leaves no path besides them. Grade A.
    - ``capacity``: places called more in months in which they had time, seen from the tickets of other customers. One
      effect for all segments, per customer contacted in time because there was time. Grade B, with a first-stage F of
      23 or more; weaker capacity stands beside another design, with the set of Anderson & Rubin.
    - ``weights``: contacted in time less not, everything recorded at eligibility held equal by regression and
      propensity (Robins, Rotnitzky & Zhao 1994). Grade C, and D unless it finds no effect on money before eligibility
      where it would have found one. Those who leave in the days in which a contact counts are in neither group.

    The other designs stand beside the one used, with what contacted less not contacted would have claimed. Estimates of
    segments are pooled by a hierarchical normal model along a line in log money, since those who hold more may react
    less (Gelman et al. 2013, section 5.4). ``Effect.baseline`` has the customers who became eligible in the
    last twelve months (per contacted: those the loop reaches of them) and their money.

    Attributes:
        horizon: Months after the month of the ticket.
        within: Days from ticket to contact within which a contact is in time.
        cap: Largest ratio to the own money that counts.
        base: Months before the ticket whose mean is a customer's own money.
        per: Whose effect it is: per ``eligible`` or per ``contacted`` customer.
        design: ``auto`` takes the first that the data allow.
        prior_between_segments: Scale of the spread of effects between segments of the same wealth, as a share of own
            money.
        prior_by_money: Spread of its slope on log money.
        draws: Number of draws.
    """

    horizon: int = 12
    within: int = 30
    cap: float = 3.0
    base: int = 3
    per: Per = "eligible"
    design: Design = "auto"
    prior_between_segments: float = 0.05
    prior_by_money: float = 0.02
    draws: int = 4000

    def __post_init__(self) -> None:
        least = {"horizon": 1, "within": 1, "base": 1, "draws": 100}
        faults = [
            f"{name} is {getattr(self, name)}; needed: {low} or more"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        faults += [
            f"{name} is {getattr(self, name):g}; needed: above 0"
            for name in ("cap", "prior_between_segments", "prior_by_money")
            if not getattr(self, name) > 0
        ]
        for name, allowed in (("per", PERS), ("design", DESIGNS)):
            if getattr(self, name) not in allowed:
                faults.append(f"{name} is {getattr(self, name)!r}; needed: one of {', '.join(allowed)}")
        if faults:
            raise FitError("This question cannot be asked.", faults)

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate from a linked panel whose study has a table of tickets.

        Args:
            data: The panel.
            rng: Seed or generator.

        Raises:
            DataError: No tickets, or tickets that cannot be right.
            FitError: Nobody can be followed, or the design asked for is not in the data; what to do is said.
        """
        generator = np.random.default_rng(rng)
        if stands_beside_answers(data):
            raise FitError("Money beside answers cannot be followed.", ["link an outcome of the ledger"])
        cases = read_cases(data, horizon=self.horizon, within=self.within, cap=self.cap, base=self.base)
        design, sample, left_out = self._chosen(data, cases)
        contact = by_contact(sample)
        capacity = by_capacity(sample)
        lot = by_lot(sample) if design == "hold_out" else None
        found = self._found(design, sample, lot, contact, capacity, generator, data)
        shares, baseline = self._people(sample, _contacts(sample, lot))
        min_cell = data.study.about.min_cell
        again = rebounds(data, sample, horizon=self.horizon, min_cell=min_cell)
        headline = headline_of(found.draws @ shares, design)
        scale = 1.0 if self.per == "contacted" or contact is None else contact.share
        checks = (
            *data.checks,
            *found.checks,
            *cases_checks(cases, left_out, min_cell=min_cell, need=self._need(data)),
            *(() if design == "capacity" else weak_capacity(capacity)),
            *naive_check(contact, headline[0], scale),
            *(() if again is None else again.checks),
            *(() if cases.has_hold_out else (missing_hold_out(),)),
            chance_check(found.draws @ shares),
        )
        tables = {
            "rivals": rivals(sample, lot, contact, capacity, design=design, headline=headline, per=self.per),
            "pooling": pooling_table(
                sample, found.estimate, found.covariance, found.shrinkage, found.draws, shares, min_cell
            ),
            "balance": balance_table(sample),
            "negative_control": negative_table(sample, lot=design == "hold_out", min_cell=min_cell),
        }
        return Effect(
            name="closed_loop",
            estimand=self._estimand(data, cases, design),
            groups=sample.groups,
            draws=found.draws,
            shares=shares,
            baseline=baseline,
            grade=grade_after(GRADES[design], checks),
            checks=checks,
            specification=repr(self),
            trail=(*data.trail, *cases.steps),
            fingerprint=data.fingerprint,
            counts=_counts(sample, min_cell),
            tables={**tables, **self._further(sample, design, again, min_cell)},
        )

    def _need(self, data: Linked) -> int:
        return max(FEWEST_CUSTOMERS, data.study.about.min_cell)

    def _chosen(self, data: Linked, cases: Cases) -> tuple[str, Sample, dict[str, int]]:
        """Take the first design that the data allow, or the one asked for, and the segments it can compare."""
        why: list[str] = []
        for design in DESIGNS[1:]:
            if self.design not in ("auto", design):
                continue
            sample, left_out = self._sample(data, cases, design)
            if sample is None:
                why.append(f"{design}: {_WHY[design]}")
                continue
            if design == "capacity":
                pushed = by_capacity(sample)
                if pushed is None or pushed.f < STRONG or pushed.ratio.robust_set.kind != "interval":
                    seen = _too_weak(pushed)
                    why.append(f"capacity: the capacity of places {seen}; {_WHY[design]}")
                    continue
            return design, sample, left_out
        raise FitError("The effect of calling cannot be told from these tickets.", why)

    def _sample(self, data: Linked, cases: Cases, design: str) -> tuple[Sample | None, dict[str, int]]:
        rows, side = cases.rows, "held" if design == "hold_out" else "contacted"
        if design != "hold_out":
            rows = rows[(rows["held"] != 1) & still_there(rows, self.within)]
        sizes = rows.groupby("segment")["customer"].size()
        ones = rows[rows[side] == 1].groupby("segment").size().reindex(sizes.index).fillna(0)
        zeros = rows[rows[side] == 0].groupby("segment").size().reindex(sizes.index).fillna(0)
        least = LEAST_HELD if design == "hold_out" else LEAST_ARM
        usable = (np.minimum(ones, zeros) >= least) & (sizes >= self._need(data))
        usable &= cases.people["customers"].reindex(sizes.index).fillna(0) > 0
        left_out = {str(name): int(n) for name, n in sizes[~usable].items()}
        if not usable.any() or (self.per == "contacted" and not (rows["ever"] == 1).any()):
            return None, left_out
        shares = {str(name): float(cases.people.loc[name, "customers"]) for name in sizes.index[usable]}
        return sample_of(cases, shares, within=self.within), left_out

    def _found(
        self,
        design: str,
        sample: Sample,
        lot: BySegment | None,
        contact: ByContact | None,
        capacity: Capacity | None,
        rng: np.random.Generator,
        data: Linked,
    ) -> _Found:
        """Draw from the design used, and ask it its questions."""
        if design == "capacity" and capacity is not None:
            past = by_capacity(sample, outcome="growth", facts=sample.facts_before_growth)
            return self._one_for_all(sample, capacity, capacity_checks(capacity, past, self.horizon), rng)
        if lot is not None:
            declared = data.study.tables["tickets"].hold_out_share if "tickets" in data.study.tables else None
            return self._pooled(
                sample, lot, hold_out_checks(sample, declared, per_contacted=self.per == "contacted"), rng
            )
        try:
            weighted = by_weights(sample)
        except ValueError as cause:
            raise FitError(
                "Recorded facts tell the contacted from the others.",
                [str(cause), "merge segments in the study, drop controls, or hold customers out by lot"],
            ) from cause
        if contact is None:
            raise FitError("The effect of calling cannot be told from these tickets.", [f"weights: {_WHY['weights']}"])
        past_contact = by_contact(sample, outcome="growth", facts=sample.facts_before_growth)
        return self._pooled(
            sample,
            weighted,
            weights_checks(sample, contact, past_contact, self.horizon, min_cell=data.study.about.min_cell),
            rng,
        )

    def _pooled(self, sample: Sample, found: BySegment, checks: tuple[Check, ...], rng: np.random.Generator) -> _Found:
        strength = found.contacts**2 / np.where(found.covariance[:, 1, 1] > 0, found.covariance[:, 1, 1], np.inf)
        weak = (strength < WEAKEST) & (found.covariance[:, 1, 1] > 0) | (found.contacts <= 0)
        if self.per == "contacted" and weak.any():
            raise FitError(
                "Some segments were contacted too rarely to divide by it.",
                ["ask per='eligible', or merge segments in the study"],
            )
        estimate, variance = found.per(self.per)[0], found.widened(self.per)
        if estimate.size == 1:
            draws = estimate + np.sqrt(variance) * rng.standard_normal((self.draws, 1))
            shrinkage = np.zeros(1)
        else:
            line = _line(sample)
            pooled = pool(
                estimate,
                variance,
                x=line,
                gamma_covariance=np.diag(np.array([VAGUE, self.prior_by_money])[: line.shape[1]] ** 2),
                tau_scale=self.prior_between_segments,
                n=self.draws,
                rng=rng,
            )
            draws, shrinkage = pooled.draws, pooled.shrinkage
        return _Found(estimate=estimate, covariance=np.diag(variance), draws=draws, shrinkage=shrinkage, checks=checks)

    def _one_for_all(
        self, sample: Sample, capacity: Capacity, checks: tuple[Check, ...], rng: np.random.Generator
    ) -> _Found:
        """Give every segment the one effect that capacity tells, per contact or times its share of contacts."""
        each = ratio_draws(capacity.money, capacity.contact, capacity.covariance, self.draws, df=capacity.df, rng=rng)
        factor = np.ones(len(sample.groups)) if self.per == "contacted" else _contacts(sample, None)
        return _Found(
            estimate=capacity.ratio.value * factor,
            covariance=np.outer(factor, factor) * capacity.ratio.se**2,
            draws=each[:, None] * factor,
            shrinkage=np.ones(factor.size),
            checks=checks,
        )

    def _people(self, sample: Sample, contacts: Floats) -> tuple[Floats, pd.DataFrame]:
        """Describe the customers whose effect it is: eligible in a year, or those of them the loop reaches."""
        baseline = sample.cases.people.loc[list(sample.groups), ["customers", "money", "exit_hazard"]].astype(float)
        if self.per == "contacted":
            baseline["customers"] *= contacts
        baseline.index = pd.Index(list(sample.groups), name="group")
        return (baseline["customers"] / baseline["customers"].sum()).to_numpy(dtype=float), baseline

    def _further(self, sample: Sample, design: str, again: Rebounds | None, min_cell: int) -> dict[str, pd.DataFrame]:
        """Add what else was followed: other outcomes and the path where there is a hold-out, the rebound of answers."""
        tables = {} if again is None else {"rebound": again.table, "memory": again.memory}
        if design == "hold_out":
            tables["outcomes"] = outcomes_table(sample, horizon=self.horizon, min_cell=min_cell)
            tables["path"] = path_table(sample, horizon=self.horizon, min_cell=min_cell)
        return tables

    def _estimand(self, data: Linked, cases: Cases, design: str) -> Estimand:
        language = data.study.language
        first, last = (month_label(month) for month in cases.year)
        return Estimand(
            question=Question.INITIATIVE,
            population=say(f"closed_loop.population.{self.per}", language, first=first, last=last),
            treatment=say(f"closed_loop.treatment.{design}", language, days=self.within),
            dose=Dose.INITIATIVE,
            outcome=data.outcome,
            unit=Unit.RATIO,
            horizon=self.horizon,
            includes_exit=True,
            channels=frozenset({"retention", "expansion"}),
        )


_WHY = {
    "hold_out": f"needs a segment with {LEAST_HELD} customers held out by lot (hold_out = 1), and {LEAST_HELD} not",
    "capacity": f"needs places ({FEWEST_PLACES} or more) and months in which they contacted more or fewer customers",
    "weights": f"needs a segment with {LEAST_ARM} customers contacted in time, and {LEAST_ARM} not",
}


def _too_weak(pushed: Capacity | None) -> str:
    """Say why capacity is no headline: below 23 a ratio's usual errors fail, and below 4 it means nothing."""
    if pushed is None:
        return "does not vary"
    return f"moves contacts with F = {pushed.f:.1f}, below {WEAK if pushed.f < WEAK else STRONG:g}"


def _line(sample: Sample) -> Floats:
    """Return predictors of segments' effects, shape (s, p): a constant, and log money where all segments hold some."""
    money = sample.cases.people.loc[list(sample.groups), "money"].to_numpy(dtype=float)
    one = np.ones((money.size, 1))
    if not (money > 0).all() or np.ptp(money) == 0:
        return one
    level = np.log(money)
    return np.column_stack([one, level - sample.shares @ level])


def _contacts(sample: Sample, lot: BySegment | None) -> Floats:
    """Return contacted customers per eligible one of the loop, shape (s,)."""
    if lot is not None:
        return lot.contacts
    weight, d = sample.mass * sample.loop, sample.column("contacted")
    size = len(sample.groups)
    total = np.bincount(sample.group, weights=weight, minlength=size)
    return np.asarray(np.bincount(sample.group, weights=weight * d, minlength=size) / total)


def _counts(sample: Sample, min_cell: int) -> dict[str, int]:
    found = {
        "customers": len(sample.cases.rows),
        "held_out": int((sample.column("held") == 1).sum()),
        "contacted": int((sample.column("contacted") == 1).sum()),
        "tickets": len(sample.cases.tickets),
    }
    return {name: n for name, n in found.items() if n >= min_cell}
