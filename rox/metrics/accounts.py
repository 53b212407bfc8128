"""Business customers for whom several people answer: scores of accounts, coverage, and who disagrees inside them.

An account's value is the weighted mean of what its contacts say, a contact's that of its answers; its NPS is the
weighted share of its promoters less that of its detractors. Accounts, not answers, are independent: errors are
clustered by them. Estimand: the mean over accounts (or over their money) of what the contacts heard say. Assumption:
the contacts of an account who are silent would have said what those of it who are heard do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import ibis
import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import DataError
from rox.core.study import Scale
from rox.core.units import Unit
from rox.metrics.agreement import floored, support_of
from rox.metrics.answers import measures, require_direction, scored
from rox.metrics.cells import moments
from rox.metrics.display import SHOWN_FROM, shown
from rox.metrics.estimates import ratio, with_nps, with_t, with_wilson
from rox.metrics.source import (
    TIMES,
    WEIGHT_UNITS,
    Rows,
    Tables,
    count_true,
    month_range,
    period,
    required,
    rows_of,
    scale_of,
    whole,
)
from rox.numerics.survey import SMALL_CATEGORY

FINE = 1_000
"""Whole numbers per point of an account's value."""
MONTHS_OF_MONEY = 12
"""An account's money is what the ledger says of its last months."""
CROWDED = 0.5
"""Share of the weight held by few accounts from which it is said."""
FEW = 5

By = Literal["accounts", "money"]
Contacts = Literal["declared", "equal"] | Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class AccountScores:
    """What accounts say, and how much of an account is heard.

    Every frame has the columns of ``display.shown``.

    Attributes:
        score: The question.
        scores: Its metrics over accounts; ``n`` counts accounts that are heard.
        coverage: Metrics ``accounts_heard``, the share of accounts with an answer, ``accounts_decided``, with an
            answer of somebody who decides, and the same shares of their money (``money_heard``, ``money_decided``)
            with a ledger; of accounts that have contacts; unit ``ratio``. Empty where groups are times.
        disagreement: Over accounts of which two contacts or more are heard: ``within_sd``, the standard deviation of
            contacts inside an account (score points), and ``split``, the share of accounts with a promoter and a
            detractor at once (of other questions: somebody above and somebody below the middle of the scale).
        checks: What a reader must know.
    """

    score: str
    scores: pd.DataFrame
    coverage: pd.DataFrame
    disagreement: pd.DataFrame
    checks: tuple[Check, ...]


def account_scores(
    tables: Tables,
    score: str,
    by: Sequence[str] = (),
    *,
    contacts: Contacts | None = None,
    count: By = "accounts",
    deciders: Sequence[str] = (),
    money: str | None = None,
    within: str | None = None,
    level: float = 0.90,
    weighted: bool = True,
) -> AccountScores:
    """Measure a question over accounts instead of over answers.

    Args:
        tables: Loaded tables, with ``contacts`` and answers that name theirs.
        score: A score or driver of the study.
        by: ``month``, ``quarter``, ``year`` or columns of the customers.
        contacts: What a contact counts for inside its account: ``"declared"`` (role ``weight`` of the contacts),
            ``"equal"``, or a weight by role. By default what is declared, else equal.
        count: What an account counts for: 1, or its money (mean of the last twelve months of the ledger).
        deciders: Roles that decide; by default that of the greatest mean weight.
        money: Outcome of the ledger; by default the study's first.
        within: A period, such as ``2025Q3``, outside which answers are not looked at.
        level: Level of the intervals.
        weighted: Whether accounts count with their design weight.

    Raises:
        DataError: No contacts, answers without them, no such question, role, money or group, weights that are not
            positive; every fault at once.
    """
    scale = scale_of(tables.study, score)
    require_direction(tables, score)
    people = _contacts(tables, contacts, deciders)
    rows, unnamed = _heard(tables, score, by, people.table, within, weighted=weighted)
    held = _money(tables, money) if count == "money" or _has_money(tables) else None
    what = {measure.metric: measure for measure in measures(scale, rows.table.value)}
    accounts = _accounts(rows, {name: measure.value for name, measure in what.items()}, scale)
    found = moments(
        tables, _counted(tables, accounts, held, count), {name: accounts.table[f"a_{name}"] for name in what}
    )
    if found.empty:
        raise DataError(f"No contact of an account answered {score!r}.", ["answers.contact: name the contacts' ids"])
    parts = []
    for name, measure in what.items():
        part = _bounded(_scaled(ratio(found, rows.by, name), 1 / FINE), measure.unit, scale, level)
        parts.append(part.assign(score=score, metric=name, unit=str(measure.unit)))

    def stacked(each: list[pd.DataFrame]) -> pd.DataFrame:
        least = tables.study.about.min_cell
        return shown(each, by=rows.by, level=level, min_cell=least, shown_from=SHOWN_FROM)

    return AccountScores(
        score=score,
        scores=stacked(parts),
        coverage=_coverage(tables, score, by, people, held, within, level=level, weighted=weighted),
        disagreement=stacked(_disagreement(tables, accounts, score, scale, level)),
        checks=_checks(tables, accounts, held, count, unnamed, score),
    )


@dataclass(frozen=True, kw_only=True)
class _People:
    """Contacts with ``known`` (id), ``account``, ``part`` (weight in whole millionths) and ``decides`` (1 or 0)."""

    table: Any
    has_deciders: bool


def _contacts(tables: Tables, weights: Contacts | None, deciders: Sequence[str]) -> _People:
    """Give every contact its weight, and say who decides; list every fault of the weights."""
    table = required(tables, "contacts")
    has = {role: role in table.columns for role in ("role", "weight")}
    chosen = ("declared" if has["weight"] else "equal") if weights is None else weights
    role = table.role.cast("string") if has["role"] else ibis.literal("", "string")
    declared = table.weight.cast("float64") if has["weight"] else ibis.literal(1.0, "float64")
    known = tables.fetch(
        table.mutate(r=role, w=declared).group_by("r").aggregate(weight=lambda t: t.w.mean(), n=lambda t: t.count())
    )
    names = sorted(str(each) for each in known["r"].dropna())
    faults = []
    if chosen == "declared" and not has["weight"]:
        faults.append("contacts.weight: no column has this role; use `contacts` to weigh by role")
    if (not isinstance(chosen, str) or deciders) and not has["role"]:
        faults.append("contacts.role: no column says what part a contact plays")
    asked = {*deciders, *(() if isinstance(chosen, str) else chosen)}
    faults += [f"{each!r} is no role of a contact; they are {', '.join(names)}" for each in sorted(asked - {*names})]
    if isinstance(chosen, Mapping):
        faults += [f"role {each!r} has no weight" for each in names if each not in chosen]
        faults += [f"role {each!r}: a weight is above 0, not {w}" for each, w in chosen.items() if not 0 < w < np.inf]
    ids = tables.fetch(table.aggregate(n=table.count(), d=_pairs(table).nunique()))
    if twice := int(ids["n"].iloc[0] - ids["d"].iloc[0]):
        faults.append(f"contacts.contact: {twice} rows repeat a contact of the same account; keep one row of each")
    if faults:
        raise DataError("Contacts cannot be weighed.", faults)
    if isinstance(chosen, Mapping):
        part = ibis.cases(*((role == each, ibis.literal(float(w))) for each, w in chosen.items()), else_=0.0)
        heaviest = max(chosen, key=lambda each: chosen[each])
    else:
        part = declared if chosen == "declared" else ibis.literal(1.0, "float64")
        by_weight = known.dropna().sort_values(["weight", "r"], ascending=[False, True])
        heaviest = str(by_weight["r"].iloc[0]) if len(by_weight) else ""
    who = tuple(deciders) or ((heaviest,) if has["role"] and heaviest else ())
    usable = (part > 0).fill_null(False) & ~part.isnan().fill_null(True) & ~part.isinf().fill_null(True)
    return _People(
        table=table.select(
            known=table.contact,
            account=table.customer,
            part=whole(usable.ifelse(part, 0.0) * WEIGHT_UNITS),
            decides=role.isin(who).fill_null(False).ifelse(1, 0) if who else ibis.literal(0),
        ),
        has_deciders=bool(who),
    )


def _pairs(table: Any) -> Any:
    return ibis.struct({"contact": table.contact, "customer": table.customer})


def _heard(
    tables: Tables, score: str, by: Sequence[str], people: Any, within: str | None, *, weighted: bool
) -> tuple[Rows, int]:
    """Return the answers of known contacts with ``part`` and ``decides``, and the number of answers that name none."""
    if "contact" not in required(tables, "answers").columns:
        raise DataError(
            "The answers do not say which contact gave them.", ["answers.contact: name its column in the study file"]
        )
    rows = scored(tables, score, by, weighted=weighted)
    table = rows.table
    if within is not None:
        kind, number = period(within)
        months = {"month": 1, "quarter": 3, "year": 12}[kind]
        table = table.filter((table.month >= number * months) & (table.month < (number + 1) * months))
    joined = table.left_join(people, (table.contact == people.known) & (table.customer == people.account))
    unnamed = int(tables.fetch(joined.aggregate(n=count_true(joined.contact.isnull()))).iloc[0]["n"])
    named = joined.filter(joined.contact.notnull())
    named = named.mutate(_fault_contact=named.known.isnull(), _fault_part=(named.part <= 0).fill_null(False))
    faults = {
        **rows.faults,
        "_fault_contact": "answers.contact: answers of a contact that the account does not have",
        "_fault_part": "contacts.weight: answers of a contact whose weight is missing, zero or negative",
    }
    return replace(rows, table=named, faults=faults), unnamed


def _accounts(rows: Rows, values: Mapping[str, Any], scale: Scale) -> Rows:
    """Reduce answers to contacts, contacts to accounts: ``a_<metric>`` in thousandths, what disagreement needs."""
    table = rows.table.mutate(**{f"v_{name}": value.cast("int64") for name, value in values.items()})
    middle = scale.low + scale.high
    high, low = 2 * table.value > middle, 2 * table.value < middle
    if scale.kind == "nps":
        high, low = table.v_nps == 1, table.v_nps == -1
    elif not scale.higher_is_better:
        high, low = low, high
    carried = {fault: table[fault].fill_null(False).any() for fault in rows.faults}
    contacts = table.mutate(high=high.ifelse(1, 0), low=low.ifelse(1, 0)).group_by(
        [*rows.keys, "stratum", "customer", "contact"]
    )
    contacts = contacts.aggregate(
        n=lambda t: t.count(), part=lambda t: t.part.max(), weight=lambda t: t.weight.max(),
        design_weight=lambda t: t.design_weight.max(), decides=lambda t: t.decides.max(),
        high=lambda t: t.high.max(), low=lambda t: t.low.max(), own=lambda t: t.value.sum(),
        **{f"v_{name}": table[f"v_{name}"].sum() for name in values}, **carried,
    )  # fmt: skip
    own = _over(contacts.own * FINE, contacts.n)
    contacts = contacts.mutate(
        own=own, **{f"v_{name}": _over(contacts[f"v_{name}"] * FINE, contacts.n) for name in values}
    )
    accounts = contacts.group_by([*rows.keys, "stratum", "customer"]).aggregate(
        contacts=contacts.count(), weight=contacts.weight.max(), design_weight=contacts.design_weight.max(),
        decides=contacts.decides.max(), high=contacts.high.max(), low=contacts.low.max(), parts=contacts.part.sum(),
        own=contacts.own.sum(), squares=(contacts.own * contacts.own).sum(),
        **{f"v_{name}": (contacts.part * contacts[f"v_{name}"]).sum() for name in values},
        **{fault: contacts[fault].any() for fault in rows.faults},
    )  # fmt: skip
    return replace(
        rows,
        table=accounts.mutate(**{f"a_{name}": _over(accounts[f"v_{name}"], accounts.parts) for name in values}),
    )


def _over(total: Any, count: Any) -> Any:
    """Divide whole numbers and round; nothing over nothing is 0, which only rows at fault have."""
    return whole((count > 0).ifelse(total.cast("float64") / count.nullif(0).cast("float64"), 0.0))


def _has_money(tables: Tables) -> bool:
    return "ledger" in tables.tables and any(each.table == "ledger" for each in tables.study.outcomes.values())


def _money(tables: Tables, money: str | None) -> Any:
    """Return ``holder`` and ``held``: the money of the last months, weighed so that accounts hold one on average."""
    known = [name for name, each in tables.study.outcomes.items() if each.table == "ledger" and each.kind != "count"]
    ledger = required(tables, "ledger")
    if (money is not None and money not in known) or not known:
        raise DataError(f"{money or 'money'!r} is no money of the ledger.", [f"it has {', '.join(known) or 'none'}"])
    column, (_, last) = money or known[0], month_range(tables, ledger)
    recent = ledger.filter(ledger.month > last - MONTHS_OF_MONEY)
    sums = recent.group_by("customer").aggregate(amount=ibis.coalesce(recent[column].cast("int64"), 0).sum())
    kept = sums.filter(sums.amount > 0)
    total = tables.fetch(kept.aggregate(money=kept.amount.sum(), n=kept.count())).iloc[0]
    if not total["n"]:
        raise DataError("No account holds money.", [f"outcomes.{column}: nothing above 0 in the last months"])
    scale = float(total["n"]) / float(total["money"])
    return kept.select(holder=kept.customer, held=kept.amount.cast("float64") * scale)


def _counted(tables: Tables, rows: Rows, held: Any, count: By) -> Rows:
    """Give accounts the weight they count with; those without money drop out where money counts."""
    if count == "accounts":
        return rows
    joined = rows.table.join(held, rows.table.customer == held.holder)
    return replace(rows, table=joined.mutate(weight=whole(joined.held * joined.design_weight * WEIGHT_UNITS)))


def _scaled(estimate: pd.DataFrame, factor: float) -> pd.DataFrame:
    return estimate.assign(value=factor * estimate.value, se=factor * estimate.se, square=factor**2 * estimate.square)


def _bounded(estimate: pd.DataFrame, unit: Unit, scale: Scale, level: float) -> pd.DataFrame:
    """Add the interval of a measure over accounts.

    In small samples a divided account counts as part of one of each kind, which makes the interval no shorter.
    """
    if unit is Unit.RATIO:
        return _with_wilson(estimate, level)
    if unit is Unit.NPS_POINT:
        return with_nps(estimate.assign(square=np.maximum(estimate["square"], estimate["value"].abs())), level)
    found = with_t(floored(estimate, support_of(unit, scale)), level)
    return found.assign(low=found["low"].clip(lower=scale.low), high=found["high"].clip(upper=scale.high))


def _with_wilson(estimate: pd.DataFrame, level: float) -> pd.DataFrame:
    """Add Wilson's interval of a share; accounts that are divided vary less than yes and no, and count for more."""
    share, n, variance = estimate["value"], estimate["n_eff"], estimate["se"] ** 2
    many = n * (estimate["square"] - share**2) >= SMALL_CATEGORY
    as_many = np.maximum(share * (1 - share) / np.where(many & (variance > 0), variance, np.inf), n)
    return with_wilson(estimate.assign(n_eff=as_many), level).assign(n_eff=n)


def _disagreement(tables: Tables, rows: Rows, score: str, scale: Scale, level: float) -> list[pd.DataFrame]:
    """Measure the variance of contacts inside accounts, and the accounts with somebody glad and somebody not."""
    several = replace(rows, table=rows.table.filter(rows.table.contacts > 1))
    n = several.table.contacts
    inside = _over(several.table.squares * n - several.table.own * several.table.own, n * (n - 1) * FINE)
    split = ((several.table.high == 1) & (several.table.low == 1)).ifelse(1, 0)
    found = moments(tables, several, {"inside": inside, "split": split})
    if found.empty:
        return [pd.DataFrame(columns=[*rows.by, *_NUMBERS, "score", "metric", "unit", "method"])]
    widest = (scale.high - scale.low) ** 2 / 2
    variance = with_t(floored(_scaled(ratio(found, rows.by, "inside"), 1 / FINE), (0.0, widest)), level)
    root = variance.assign(**{name: np.sqrt(variance[name].clip(lower=0)) for name in ("value", "low", "high")})
    root = root.assign(se=variance["se"] / (2 * root["value"]).replace(0, np.nan))
    return [
        root.assign(score=score, metric="within_sd", unit=str(Unit.SCORE_POINT)),
        with_wilson(ratio(found, rows.by, "split"), level).assign(score=score, metric="split", unit=str(Unit.RATIO)),
    ]


_NUMBERS = ("value", "se", "low", "high", "n", "n_eff", "customers")


def _coverage(
    tables: Tables,
    score: str,
    by: Sequence[str],
    people: _People,
    held: Any,
    within: str | None,
    *,
    level: float,
    weighted: bool,
) -> pd.DataFrame:
    """Measure the share of accounts, and of their money, that is heard, and heard through somebody who decides."""
    columns = tuple(by) if not set(by) & set(TIMES) else None
    parts: list[pd.DataFrame] = []
    if columns is not None:
        answers, _ = _heard(tables, score, (), people.table, within, weighted=False)
        named = answers.table.group_by(_who=answers.table.customer).aggregate(
            _decided=ibis.coalesce(answers.table.decides.max(), 0)
        )
        known = people.table.select(customer=people.table.account).distinct().mutate(month=ibis.literal(0))
        rows = rows_of(tables, "contacts", columns, table=known, weighted=weighted)
        joined = rows.table.left_join(named, rows.table.customer == named["_who"])
        heard, decided = joined["_who"].notnull().ifelse(1, 0), ibis.coalesce(joined["_decided"], 0)
        joined = joined.mutate(heard=heard, decided=decided)
        names = ("heard", "decided") if people.has_deciders else ("heard",)
        whole_rows = replace(rows, table=joined)
        for prefix, each in (("accounts", whole_rows), ("money", None if held is None else whole_rows)):
            if each is None:
                continue
            asked = _counted(tables, each, held, "accounts" if prefix == "accounts" else "money")
            found = moments(tables, asked, {name: asked.table[name] for name in names})
            parts += [
                with_wilson(ratio(found, columns, name), level).assign(metric=f"{prefix}_{name}", unit=str(Unit.RATIO))
                for name in names
                if len(found)
            ]
    if not parts:
        parts = [pd.DataFrame(columns=[*by, *_NUMBERS, "metric", "unit", "method"])]
    return shown(parts, by=tuple(by), level=level, min_cell=tables.study.about.min_cell)


def _checks(tables: Tables, rows: Rows, held: Any, count: By, unnamed: int, score: str) -> tuple[Check, ...]:
    """Say how many answers name nobody, and whether few accounts decide the figure."""
    checks = []
    if unnamed:
        checks.append(Check(code="ROX-M11", verdict=Verdict.NOTE, values={"metric": score, "answers": unnamed}))
    if count == "money":
        each = _counted(tables, rows, held, count).table
        weights = each.group_by("customer").aggregate(weight=each.weight.max())
        largest = tables.fetch(weights.order_by(ibis.desc("weight")).limit(FEW).aggregate(w=lambda t: t.weight.sum()))
        total = tables.fetch(weights.aggregate(w=weights.weight.sum(), n=weights.count())).iloc[0]
        share = float(largest.iloc[0]["w"]) / float(total["w"])
        if share > CROWDED and total["n"] >= tables.study.about.min_cell:
            checks.append(
                Check(code="ROX-M12", verdict=Verdict.NOTE, values={"metric": score, "few": FEW, "share": 100 * share})
            )
    return tuple(checks)
