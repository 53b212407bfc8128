"""What an intervention really does: two banks with the same luck, compared customer by customer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rox.core.errors import RoxError
from rox.simulate.bank import Bank, Intervention
from rox.simulate.cash import TrueReturn, expected_money, next_empty, true_return
from rox.simulate.config import BankConfig
from rox.simulate.draws import Array
from rox.simulate.people import NEVER
from rox.simulate.referrals import referral_rate
from rox.simulate.world import simulate

SAMPLE = "sample"
"""Row of the customers of the extract, each counting once."""
BANK = "bank"
"""Row of the whole bank: the extract by design weight."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """The exact effect of an intervention on the customers of one bank.

    Exits and spells of zero balance are averaged over their probabilities given each customer's path, not read off one
    turn of luck (Rao–Blackwell): a few exits of very wealthy clients would drown the effect. Scores are those everybody
    would give, compared among the customers who would be here without the intervention.

    Effects per customer have a row per segment and the rows ``sample`` and ``bank``. ``money`` and ``roi`` give totals
    of the whole bank.

    Attributes:
        bank: The bank with the intervention.
        against: The bank it is compared with.
    """

    bank: Bank
    against: Bank

    def after(self, horizon: int, *, start: int | None = None) -> pd.DataFrame:
        """Give the effect of the intervention some months after it began.

        The population is the customers in the bank in the month before the start; who leaves counts as zero money.

        Args:
            horizon: Months since the month before the start: 12 stands for twelve months under the intervention.
            start: Month the intervention begins; by default that of the shift, of the first refit, or 1.

        Returns:
            ``customers``; ``money`` without the intervention and its ``effect``, CNY per customer; ``kept``, percentage
            points of customers kept; ``score`` and ``nps``, points gained; the ``relative`` effect; ``by_retention``,
            the share of the effect owed to customers kept; ``effect_per_point`` and ``relative_per_point``, per score
            point gained.

        Raises:
            RoxError: The horizon or the start lies outside the window.
        """
        since, at = self._span(horizon, start)
        mean = self._means([self._compared(self.against.active[since], since, at)]).drop(
            columns=["ratio", "ratio_gain"]
        )
        mean = mean.rename(columns={"cases": "customers"})
        mean["relative"] = mean["effect"] / mean["money"]
        mean["by_retention"] = mean.pop("retained") / mean["effect"]
        mean["effect_per_point"] = mean["effect"] / mean["score"]
        mean["relative_per_point"] = mean["relative"] / mean["score"]
        return mean

    def money(self, horizon: int | None = None, *, start: int | None = None, newcomers: bool = False) -> pd.DataFrame:
        """Give the extra money the bank holds, month by month: its total AUM less that of the other bank.

        The population is the customers in the bank in the month before the start, each standing for as many of the bank
        as its design weight says; who leaves counts as zero.

        Args:
            horizon: Months to follow; by default to the end of the window.
            start: As of ``after``.
            newcomers: Whether customers who open their account later count too.

        Returns:
            CNY by ``month``, 0 being the month before the start and 12 the one of ``after(12)``: a column per segment
            and ``bank``, their sum.

        Raises:
            RoxError: The horizon or the start lies outside the window.
        """
        begin = self._begin() if start is None else start
        since, last = self._span(self.bank.config.months - begin if horizon is None else horizon, start)
        here = self.against.active[since] | (newcomers & ~self.against.opened[since])
        who = np.flatnonzero(here)
        one, other = (expected_money(bank, who, since, last) for bank in (self.bank, self.against))
        extra, segment = (one - other) * self.bank.design_weight[who], self.bank.customers.segment[who]
        columns = {name: extra[:, segment == k].sum(axis=1) for k, name in enumerate(self.bank.config.segment_names)}
        columns[BANK] = extra.sum(axis=1)
        return pd.DataFrame(columns, index=pd.RangeIndex(len(extra), name="month"))

    def roi(
        self,
        costs: Mapping[int, float],
        *,
        margin: float | Mapping[str, float] | None = None,
        discount: float = 0.08,
        tax: float = 0.0,
        horizon: int | None = None,
        start: int | None = None,
        newcomers: bool = False,
    ) -> TrueReturn:
        """Give the true return of the intervention, by the conventions of a business case.

        What the extra money earns in month ``j`` is ``margin / 12`` times it, discounted by
        ``(1 + discount) ** (j / 12)``; month 0 is the month before the start, so its costs are not discounted.

        Args:
            costs: Money spent by month, CNY: ``{0: 4e6, 1: 4e6}``.
            margin: Yearly income per unit of money, for all or by segment; by default what the bank's segments earn.
            discount: Rate a year.
            tax: Share of benefit less cost.
            horizon: As of ``money``.
            start: As of ``after``.
            newcomers: As of ``money``.

        Raises:
            RoxError: Costs, margins, rates or months that do not fit; all of them are listed.
        """
        extra = self.money(horizon, start=start, newcomers=newcomers)
        if margin is None:
            margin = {segment.name: segment.margin for segment in self.bank.config.segments}
        elif not isinstance(margin, Mapping):
            margin = dict.fromkeys(self.bank.config.segment_names, float(margin))
        return true_return(extra, costs, margin, discount=discount, tax=tax)

    def referrals(self, horizon: int, *, start: int | None = None) -> pd.DataFrame:
        """Give the referrals the intervention adds in the months up to a horizon.

        The population is that of ``after``; chances of a referral are averaged, not counted.

        Args:
            horizon: As of ``after``.
            start: As of ``after``.

        Returns:
            Per customer: ``referrals`` without the intervention, ``extra`` ones, ``new_customers``, those of the extra
            ones who open an account, and ``incremental``, those who would not have come anyway.

        Raises:
            RoxError: The horizon or the start lies outside the window.
        """
        since, last = self._span(horizon, start)
        who, months = np.flatnonzero(self.against.active[since]), slice(since + 1, last + 1)
        made = []
        for bank in (self.bank, self.against):
            stays = np.exp(bank.log_survival[months][:, who] - bank.log_survival[since, who])
            made.append((referral_rate(bank, months, who) * stays).sum(axis=0))
        dials = self.bank.config.referrals
        extra = made[0] - made[1]
        columns = {
            "referrals": made[1],
            "extra": extra,
            "new_customers": dials.conversion * extra,
            "incremental": (1 - dials.displacement) * dials.conversion * extra,
        }
        rows = pd.DataFrame(columns, index=who)
        answers = {
            name: {column: float(np.average(rows[column], weights=weight)) for column in rows}
            for name, weight in self._groups(rows.index.to_numpy())
        }
        return pd.DataFrame.from_dict(answers, orient="index")

    def rollout(
        self, *, window: tuple[int, int] = (6, 11), reference: int = 3, cap: float = 3.0, cohort: int | None = None
    ) -> pd.DataFrame:
        """Give the average effect of the roll-out on the refitted, over a window of months since the refit.

        The population is the customers of refitted branches who were in the bank, with money, in the months just before
        the first refit. Their money is read as a capped ratio to its mean of those months; who leaves counts as zero.
        Each customer counts once for every month of the window that falls inside the bank's.

        Args:
            window: First and last month since the refit, both included; 0 is the month of the refit.
            reference: Months before the first refit that the ratio refers to.
            cap: Largest ratio.
            cohort: Number of the cohort of branches, counted from 0 in the order of starts; by default all of them.

        Returns:
            ``cases``, customers times months; ``money`` without the roll-out and its ``effect``, CNY per customer;
            ``ratio`` without it and ``ratio_gain``; ``kept``, percentage points; ``score`` and ``nps``, points gained.

        Raises:
            RoxError: The two banks do not differ by a roll-out, or too few months come before it.
        """
        starts = self.bank.config.rollout.starts
        if not starts or not self.bank.intervention.rollout or self.against.intervention.rollout:
            raise RoxError("These two banks do not differ by a roll-out.", ["use against=Intervention(rollout=False)"])
        first, refit = starts[0], self.bank.refit
        if first < reference:
            raise RoxError(f"The first refit, in month {first}, has no {reference} months before it.")
        before = self.against.aum[first - reference : first].mean(axis=0)
        here = self.against.active[first - reference : first].all(axis=0) & (before > 0) & (refit < NEVER)
        if cohort is not None:
            here &= refit == starts[cohort]

        def cases() -> Iterator[pd.DataFrame]:
            for month in range(first + window[0], self.bank.config.months):
                exposed = here & (month - refit >= window[0]) & (month - refit <= window[1])
                yield self._compared(exposed, first - 1, month, before=before, cap=cap)

        return self._means(list(cases())).drop(columns="retained")

    def recovery(
        self,
        *,
        horizon: int = 12,
        cap: float = 3.0,
        reference: int = 0,
        among: Literal["called", "loop"] = "called",
    ) -> pd.DataFrame:
        """Give the average effect of the closed loop some months after a customer's first ticket.

        Calls after later tickets belong to the effect: the loop as a whole is compared with none.

        Args:
            horizon: Months after the month of the ticket.
            cap: Largest ratio of money to that of the month of the ticket, or to that of ``reference``.
            reference: Months before that of the ticket whose mean, as far as there are any, the ratio refers to.
            among: Customers ``called`` at that ticket, or everybody whom the lot left in the ``loop``, called or not.

        Returns:
            Columns as from ``rollout``; of the loop also ``called``, the share called by the horizon.

        Raises:
            RoxError: The two banks do not differ by recovery.
        """
        if not self.bank.intervention.recovery or self.against.intervention.recovery:
            raise RoxError("These two banks do not differ by recovery.", ["use against=Intervention(recovery=False)"])
        eligible, aum, called = self.bank.eligible, self.bank.aum, self.bank.called
        first = np.where(eligible.any(axis=0), eligible.argmax(axis=0), NEVER)

        def cases() -> Iterator[pd.DataFrame]:
            for month in range(reference > 0, self.bank.config.months - horizon):
                before = aum[month] if reference == 0 else self._mean_money(month - reference, month)
                here = (first == month) & (before > 0)
                if among == "called":
                    yield self._compared(here & called[month], month, month + horizon, before=before, cap=cap)
                else:
                    here &= ~self.bank.customers.held_out
                    rows = self._compared(here, month, month + horizon, before=before, cap=cap)
                    yield rows.assign(called=called[month : month + horizon + 1, rows.index].any(axis=0).astype(float))

        return self._means(list(cases())).drop(columns="retained")

    def _mean_money(self, first: int, last: int) -> Array:
        """Give each customer's mean money in some months, the last not included, as far as a ledger has it."""
        months = slice(max(first, 0), last)
        seen = self.bank.active[months].sum(axis=0)
        return np.asarray(self.bank.aum[months].sum(axis=0) / np.maximum(seen, 1))

    def _begin(self) -> int:
        """Give the first month in which the two banks may differ."""
        one, other = self.bank.intervention, self.against.intervention
        begins = []
        if (one.shift, one.shift_from) != (other.shift, other.shift_from):
            begins += [each.shift_from for each in (one, other) if each.shift]
        if one.rollout != other.rollout:
            begins += self.bank.config.rollout.starts[:1]
        if one.recovery != other.recovery:
            begins.append(1)
        return min(begins, default=1)

    def _span(self, horizon: int, start: int | None) -> tuple[int, int]:
        """Give the month before the start and the month of the horizon."""
        begin = self._begin() if start is None else start
        since, at, months = begin - 1, begin - 1 + horizon, self.bank.config.months
        if since < 0 or horizon < 1 or at >= months:
            raise RoxError(
                f"There is no month {horizon} after a start in month {begin}: the window has {months} months.",
                ["start at 1 or later and end inside the window"],
            )
        return since, at

    def _groups(self, who: Array) -> Iterator[tuple[str, Array]]:
        """Iterate over the segments there are, the sample and the bank, with the weight of each of some customers."""
        segment = self.bank.customers.segment[who]
        groups = {name: (segment == k) * 1.0 for k, name in enumerate(self.bank.config.segment_names)}
        groups |= {SAMPLE: np.ones(len(who)), BANK: self.bank.design_weight[who]}
        return ((name, weight) for name, weight in groups.items() if weight.any())

    def _compared(
        self, here: Array, since: int, at: int, *, before: Array | None = None, cap: float = np.inf
    ) -> pd.DataFrame:
        """Compare the two banks at one month for the customers here; the index says which they are."""
        who = np.flatnonzero(here)
        one, other = (_Path.of(bank, who, since, at) for bank in (self.bank, self.against))
        base = np.ones(len(who)) if before is None else before[who]
        ratio, ratio_other = (np.minimum(path.held / base, cap) * path.stays for path in (one, other))
        columns = {
            "money": other.held * other.stays,
            "effect": one.held * one.stays - other.held * other.stays,
            "retained": other.held * (one.stays - other.stays),
            "ratio": ratio_other,
            "ratio_gain": ratio - ratio_other,
            "kept": 100 * (one.stays - other.stays),
            "score": one.score - other.score,
            "nps": one.recommends - other.recommends,
            "stays": other.stays,
        }
        return pd.DataFrame(columns, index=who)

    def _means(self, cases: list[pd.DataFrame]) -> pd.DataFrame:
        """Average cases by segment, over the sample and over the bank; scores by who would still be here."""
        rows = pd.concat(cases)
        answers = {}
        for name, weight in self._groups(rows.index.to_numpy()):
            staying = weight * rows["stays"].to_numpy()
            means = {
                column: float(np.average(rows[column], weights=staying if column in ("score", "nps") else weight))
                for column in rows.columns.drop("stays")
            }
            answers[name] = {"cases": float(np.count_nonzero(weight)), **means}
        return pd.DataFrame.from_dict(answers, orient="index")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Path:
    """Some customers in one month of one bank, with the chances since an earlier month; arrays ``(customers,)``.

    Attributes:
        held: Expected balance of a customer who stays, CNY.
        stays: Probability of being in the bank.
        score: The answer the customer would give.
        recommends: 100 for a promoter, -100 for a detractor; the mean answer of an account's contacts is rounded.
    """

    held: Array
    stays: Array
    score: Array
    recommends: Array

    @classmethod
    def of(cls, bank: Bank, who: Array, since: int, at: int) -> _Path:
        empty = bank.empty[since, who].astype(float)
        for month in range(since + 1, at + 1):
            empty = next_empty(bank, who, empty, month)
        score = bank.score[at, who].astype(float)
        return cls(
            held=bank.balance[at, who] * (1 - empty),
            stays=np.exp(bank.log_survival[at, who] - bank.log_survival[since, who]),
            score=score,
            recommends=100.0 * (np.rint(score) >= 9) - 100.0 * (np.rint(score) <= 6),
        )


def truth(
    config: BankConfig, intervention: Intervention | None = None, *, against: Intervention | None = None
) -> Truth:
    """Simulate a bank with and without an intervention, under the same luck.

    The estimand is the effect of ``intervention`` over ``against`` on the customers of this one bank; nothing is
    assumed.

    Args:
        config: The dials.
        intervention: By default the bank as configured.
        against: By default the bank as configured. ``truth(config, against=Intervention(rollout=False))`` gives the
            effect of the roll-out, ``truth(config, Intervention(shift=0.5, shift_from=12))`` that of a sustained shift.

    Raises:
        RoxError: Both are the same.
    """
    chosen, other = intervention or Intervention(), against or Intervention()
    if chosen == other:
        raise RoxError(f"There is no effect to find: both banks have {chosen}.", ["give an intervention, or against"])
    return Truth(bank=simulate(config, chosen), against=simulate(config, other))
