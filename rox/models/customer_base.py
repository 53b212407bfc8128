"""Who still buys, and what they will: customers without a contract, who stop without saying so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from rox.core.case import EVERYONE
from rox.core.check import Check, Verdict, check_table
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked, Step, month_label, trail_table
from rox.core.words import Language, say
from rox.models.answer_paths import segment_of
from rox.models.buying_histories import BuyingHistories, buying_histories
from rox.models.customer_base_fit import Fit, Predictions, fitted
from rox.models.evidence import FEWEST_CUSTOMERS
from rox.models.population import shown
from rox.numerics.buying import BGBB

Floats = NDArray[np.float64]

YEAR = 12
SHORTEST = 6
"""Months of purchases at least, from which a model is fitted."""
MANY_KNOWN = 0.1
"""Share of customers known to have left from which models of leaving know more."""
NUDGE = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class CustomerBase:
    """A customer base without a contract, by group; a forecast that goes on as things were.

    All numbers are of everybody who was a customer within the panel; those known to have left count as silent since.

    Attributes:
        by: What the groups are.
        month: The last month of the panel, such as ``2025-12``.
        hold_out: Months at its end on which a fit without them was judged.
        discount: Rate per year.
        level: Of intervals, which hold the error of the parameters, robust to the model, and no more.
        groups: Those shown, sorted.
        table: By group, and for all: ``customers`` (whom they stand for), ``left`` (share known to have left),
            ``alive`` (share still buying at all), ``months_<h>`` (mean months with a purchase in the next h),
            ``residual`` (mean discounted months with a purchase, without end), ``amount`` (mean outcome of a month with
            a purchase so far), ``residual_amount`` (their product), each but the last two with ``_low`` and ``_high``;
            ``suppressed``.
        parameters: By group: ``alpha``, ``beta``, ``gamma``, ``delta``, and errors of their logarithms (``_se``).
        judged: By group and months of silence from which a band begins (``silent``): ``customers``, mean months with a
            purchase in the hold-out ``predicted``, ``observed``, and at each customer's own rate so far as if nobody
            ever stopped (``own_rate``).
        skill: Share of the squared error of knowing only the group's mean that predictions of the hold-out save.
        checks: What was looked at.
        trail: From the company's rows to the customers used.
        fingerprint: Of the linked data.
        specification: What was asked.
    """

    by: str
    month: str
    hold_out: int
    discount: float
    level: float
    groups: tuple[str, ...]
    table: pd.DataFrame
    parameters: pd.DataFrame
    judged: pd.DataFrame
    skill: float
    checks: tuple[Check, ...]
    trail: tuple[Step, ...]
    fingerprint: str
    specification: str

    def check_table(self, language: Language = "en") -> pd.DataFrame:
        """List the checks for a reader."""
        return check_table(self.checks, language)

    def trail_table(self, language: Language = "en") -> pd.DataFrame:
        """List the steps for a reader."""
        return trail_table(self.trail, language)


def customer_base(
    data: Linked,
    *,
    by: str = "segment",
    horizons: Sequence[int] = (12, 24),
    discount: float = 0.1,
    hold_out: int = 12,
    level: float = 0.9,
) -> CustomerBase:
    """Describe who still buys and foretell how many months with a purchase are left, by group.

    Estimand: by group, the share of all customers of the panel who have not silently stopped, and the expected months
    with a purchase to come. Assumes that a customer buys in any month with a chance of their own until they stop, which
    no season and no age changes, that both chances differ between customers independently of one another, and that
    customers who are silent stand in the ledger with months without a purchase.

    The BG/BB model (Fader, Hardie & Shang 2010), fitted to each group from counts of customers by history; who came
    before the panel began may have stopped before it. Errors are robust (White 1982). It is judged on the last months,
    which a first fit does not see, and refused where it foretells no better than a group's mean.

    Args:
        data: The linked panel, its outcome a flow or a count by month; a purchase is an outcome above zero.
        by: ``segment``, ``unit``, or a control with few values.
        horizons: Months ahead.
        discount: Rate per year.
        hold_out: Months on which it is judged; twelve or a multiple holds every season once.
        level: Of the intervals.

    Raises:
        FitError: Choices that do not fit, too few customers or months, customers who do not differ, or no skill
            (ROX-S50).
        DataError: Openings that are missing, or a ledger without the silent.
    """
    _require(data, by, horizons, discount, hold_out, level)
    min_cell = data.study.about.min_cell
    group, need = _grouping(data, by), max(FEWEST_CUSTOMERS, min_cell)
    first, last = _span(data, hold_out)
    now = buying_histories(data, first, last, group)
    _require_silent(now)
    large = [name for name, each in now.items() if each.people.sum() >= need]
    before = buying_histories(data, first, last - hold_out, group)
    fits, unlike = fitted({name: now[name] for name in large}, {name: before.get(name) for name in large})
    predictions = Predictions.of({name: before[name] for name in fits}, fits, hold_out)
    skilled = predictions.has_skill(month_label(last - hold_out))
    if skilled.verdict is Verdict.STOP:
        raise FitError("ROX-S50: nothing is foretold.", [skilled.sentence()])
    monthly = (1 + discount) ** (1 / YEAR) - 1
    rows = {name: _described(now[name], each.now, horizons, monthly) for name, each in fits.items()}
    hidden = sorted(set(now) - set(large))
    kept, whole = (round(sum(now[name].people.sum() for name in names)) for names in (fits, now))
    return CustomerBase(
        by=by,
        month=month_label(last),
        hold_out=hold_out,
        discount=discount,
        level=level,
        groups=tuple(fits),
        table=_table(rows, {name: now[name] for name in fits}, level, min_cell),
        parameters=pd.DataFrame({name: each.now.row for name, each in fits.items()}).T.rename_axis("group"),
        judged=predictions.table(min_cell),
        skill=predictions.skill,
        checks=(
            *data.checks,
            skilled,
            predictions.has_level,
            _known_to_have_left([now[name] for name in fits]),
            *_left_out("ROX-S53", hidden, need=need),
            *_left_out("ROX-S55", unlike),
            Check(code="ROX-S54", verdict=Verdict.NOTE),
        ),
        trail=(
            *data.trail,
            Step(name="histories", rows=kept, lost=whole - kept, customers=kept, reason="customer_base.step.histories"),
        ),
        fingerprint=data.fingerprint,
        specification=(
            f"customer_base(by={by!r}, horizons={tuple(horizons)!r}, discount={discount!r}, hold_out={hold_out!r}, "
            f"level={level!r})"
        ),
    )


def _require(data: Linked, by: str, horizons: Sequence[int], discount: float, hold_out: int, level: float) -> None:
    known = ("segment", "unit", *data.controls)
    outcome = data.study.outcomes[data.outcome]
    faults = []
    if outcome.kind == "stock" or outcome.table == "answers":
        faults.append(f"the outcome {data.outcome} is no flow or count by month; link one of the ledger that is")
    if by not in known:
        faults.append(f"by is {by!r}; needed: {', '.join(known)}")
    if not horizons or min(horizons) < 1:
        faults.append(f"horizons are {tuple(horizons)}; needed: months from 1 up")
    if not discount > 0:
        faults.append(f"discount is {discount}; needed: above 0, such as 0.1 a year")
    if hold_out < 3:
        faults.append(f"hold_out is {hold_out}; at least 3 months are needed")
    if not 0 < level < 1:
        faults.append(f"level is {level}; needed: between 0 and 1")
    if faults:
        raise FitError("These choices do not fit the linked data.", faults)


def _grouping(data: Linked, by: str) -> Callable[[Any], Any]:
    if by == "segment":
        return segment_of
    unknown = say("leaving.unknown", data.study.language)
    return lambda table: table[by].cast("string").fill_null(unknown)


def _span(data: Linked, hold_out: int) -> tuple[int, int]:
    """Return the panel's first and last month.

    Raises:
        DataError: Rows that cannot be used.
        FitError: Too few months.
    """
    census = data.census()
    faults = {
        "twice": "{} rows repeat a customer's month; keep one row per customer and month",
        "outcome": "{} outcomes are missing; a month without a purchase is 0",
        "weight": "{} weights are missing or not positive; a weight says how many customers a row stands for",
    }
    if seen := [text.format(census.defects[name]) for name, text in faults.items() if census.defects[name]]:
        raise DataError("The panel cannot be used for a customer base.", seen)
    months = census.last - census.first + 1
    if months < hold_out + SHORTEST:
        raise FitError(
            "There are too few months.",
            [f"the panel has {months}; needed: {SHORTEST} to fit and {hold_out} to judge (hold_out)"],
        )
    return census.first, census.last


def _require_silent(now: Mapping[str, BuyingHistories]) -> None:
    """Refuse a panel of nobody, and one without a month in which nothing was bought."""
    if not now:
        raise DataError("No customer's opening is known.", ["map `opened` in [tables.customers]"])
    if not any(each.idle for each in now.values()):
        raise DataError(
            "The panel has no month without a purchase.",
            ["a ledger of purchases alone hides those who never came back; list months without one with 0"],
        )


def _described(held: BuyingHistories, fit: Fit, horizons: Sequence[int], monthly: float) -> pd.DataFrame:
    """Return what a group is expected to do, and its errors by the delta method: ``value`` and ``se`` by number."""
    weights = held.weight / held.weight.sum()
    names = ["alive", *(f"months_{h}" for h in horizons), "residual"]

    def numbers(model: BGBB) -> Floats:
        x, last, n, unseen = held.history
        ahead = [model.expected(x, last, n, h, unseen) for h in horizons]
        found = [model.alive(*held.history), *ahead, model.residual(x, last, n, monthly, unseen)]
        return np.array([weights @ each for each in found])

    at = np.log(astuple(fit.model))
    slopes = [(numbers(_model(at + step)) - numbers(_model(at - step))) / (2 * NUDGE) for step in NUDGE * np.eye(4)]
    slope = np.stack(slopes, axis=1)
    se = np.sqrt(np.einsum("ij,jk,ik->i", slope, fit.covariance, slope))
    return pd.DataFrame({"value": numbers(fit.model), "se": se}, index=names)


def _model(logs: Floats) -> BGBB:
    alpha, beta, gamma, delta = np.exp(logs).tolist()
    return BGBB(alpha=alpha, beta=beta, gamma=gamma, delta=delta)


def _table(
    rows: dict[str, pd.DataFrame], now: Mapping[str, BuyingHistories], level: float, min_cell: int
) -> pd.DataFrame:
    """Lay the groups out, and all of them together."""
    people = {name: np.array([*_sums(each)]) for name, each in now.items()}
    if len(rows) > 1:
        total = sum(people.values(), start=np.zeros(5))
        share = np.array([people[name][1] / total[1] for name in rows])
        value = share @ np.stack([each["value"] for each in rows.values()])
        se = np.sqrt(share**2 @ np.stack([each["se"] ** 2 for each in rows.values()]))
        rows = {**rows, EVERYONE: pd.DataFrame({"value": value, "se": se}, index=next(iter(rows.values())).index)}
        people[EVERYONE] = total
    found = {name: _row(people[name], each, level, min_cell) for name, each in rows.items()}
    table = pd.DataFrame.from_dict(found, orient="index").rename_axis("group")
    return shown(table, pd.Series({name: each[0] for name, each in people.items()}), min_cell)


def _sums(held: BuyingHistories) -> tuple[float, float, float, float, float]:
    """Return people; weights of them, and of those who left; months with a purchase, and their outcome."""
    months = float(held.weight @ held.bought)
    return float(held.people.sum()), float(held.weight.sum()), float(held.left.sum()), months, float(held.spent.sum())


def _row(sums: Floats, numbers: pd.DataFrame, level: float, min_cell: int) -> dict[str, float]:
    people, weight, left, months, spent = sums.tolist()
    z = float(stats.norm.ppf((1 + level) / 2))
    few = 0 < left / weight * people < min_cell
    row = {"customers": weight, "left": np.nan if few else left / weight}
    for name, (value, se) in zip(numbers.index, numbers[["value", "se"]].to_numpy(), strict=True):
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), (value, *_interval(name, value, z * se)), strict=True))
    amount = spent / months if months else 0.0
    return {**row, "amount": amount, "residual_amount": row["residual"] * amount}


def _interval(name: str, value: float, reach: float) -> tuple[float, float]:
    """Return an interval that stays between 0 and 1 for a share, and above 0 for other numbers."""
    if name == "alive":
        at, step = np.log(value / (1 - value)), reach / (value * (1 - value))
        return float(1 / (1 + np.exp(step - at))), float(1 / (1 + np.exp(-step - at)))
    return float(value * np.exp(-reach / value)), float(value * np.exp(reach / value))


def _known_to_have_left(groups: Sequence[BuyingHistories]) -> Check:
    """Say how many said so when they left, of which this model makes no use (ROX-S52)."""
    share = sum(float(each.left.sum()) for each in groups) / sum(float(each.weight.sum()) for each in groups)
    verdict = Verdict.NOTE if share > MANY_KNOWN else Verdict.PASS
    return Check(code="ROX-S52", verdict=verdict, values={"share": 100 * share})


def _left_out(code: str, groups: Sequence[str], **values: int) -> tuple[Check, ...]:
    if not groups:
        return ()
    return (Check(code=code, verdict=Verdict.NOTE, values={"groups": ", ".join(groups), **values}),)
