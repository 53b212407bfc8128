"""Everybody at a wave with what was known before it, who was asked, and who answered: one engine table, then cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np
import pandas as pd

from rox.core.buckets import bucket_of
from rox.core.errors import DataError
from rox.metrics.answers import scored
from rox.metrics.display import SHOWN_FROM
from rox.metrics.responses import sent_invitations
from rox.metrics.source import Tables, count_true, rank_of, required, rows_of, whole

BUCKETS = 64
"""Groups of customers that are left out in turn."""
BANDS = 3
"""Bands of equal size that a number is cut into; money and time with the company have more."""
MANY_BANDS = 5
LATELY, BEFORE = 3, 6
"""Months before the wave over which events are counted; over which feedback and the growth of money are read."""
MOST, FULL = 100, 300
"""Counts are capped here; growth is in hundredths and capped at three times."""
KINDS = 8
"""Kinds of events, or of feedback, that are looked at: the most frequent of those that enough customers had."""
UNKNOWN = -1
EARLIER = "earlier_answer"
COMPLAINT = "complaint"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something known of everybody before the wave.

    Attributes:
        column: Its column in the table of people: a number, or a text.
        bands: How many bands a number is cut into; None where its values, or its texts, are categories themselves.
        ordered: Whether categories have an order, so that small ones join a neighbour.
        judges: Whether it can be a benchmark: then it holds whole numbers of a narrow range.
    """

    column: str
    bands: int | None = None
    ordered: bool = True
    judges: bool = False


@dataclass(frozen=True, kw_only=True)
class People:
    """One row per customer and wave.

    Attributes:
        table: Columns ``customer``, ``wave``, ``later`` (1 for the waves looked at, 0 for those before them),
            ``weight`` (whole millionths), ``asked`` (1 or 0), ``answer`` (whole number or missing), and those the
            facts are made of.
        facts: By name.
        usual: Names of the facts to weight with unless told otherwise.
        waves: How many waves are looked at: at most as many rows a customer has there.
        faults: As of ``source.Rows``.
    """

    table: Any
    facts: Mapping[str, Fact]
    usual: tuple[str, ...]
    waves: int
    faults: Mapping[str, str]


def wave_months(tables: Tables, score: str) -> tuple[list[int], bool]:
    """Return the months of invitations that were answered, sorted, and whether invitations are known.

    Without invitations they are the months of the answers.

    Raises:
        DataError: Answers that cannot be measured.
    """
    rows = scored(tables, score, ())
    broken = sum((count_true(rows.table[name]) for name in rows.faults), start=ibis.literal(0))
    if found := int(tables.fetch(rows.table.aggregate(faults=broken)).iloc[0]["faults"]):
        raise DataError(
            f"The answers to {score!r} cannot be measured as they are.",
            [f"{found} faults; run `rox check` to see them"],
        )
    said = replies(tables, score)
    months = tables.fetch(said.select(wave=said.wave).distinct())["wave"]
    return sorted(int(month) for month in months), "invitations" in tables.tables


def replies(tables: Tables, score: str) -> Any:
    """Return one row per customer and wave with an answer: ``who``, ``wave``, ``said``, ``days``, ``reminders``.

    Several answers of a customer to one wave, such as those of the contacts of an account, become their rounded mean.
    Where answers name invitations, those that name none of them belong to no wave. Reminders are those before the
    answer; missing where the study has none.
    """
    table = scored(tables, score, ()).table
    days: Any = ibis.null("int64")
    reminders: Any = ibis.null("int64")
    wave = table.month.cast("int64")
    if "invitations" in tables.tables:
        invitations = required(tables, "invitations")
        told = {"sent_reminders": invitations.reminder.min()} if "reminder" in invitations.columns else {}
        if "key" in invitations.columns and "invitation" in table.columns:
            sent = invitations.group_by(sent_key=invitations.key).aggregate(
                sent_month=invitations.month.min().cast("int64"), sent_date=invitations.date.min(), **told
            )
            table = table.inner_join(sent, table.invitation == sent.sent_key)
            wave = table.sent_month
            if "date" in table.columns:
                days = table.date.cast("date").delta(table.sent_date.cast("date"), unit="day").cast("int64")
        else:
            asked = invitations.group_by(asked_who=invitations.customer, asked_month=invitations.month)
            asked = asked.aggregate(asked_rows=invitations.count(), **told)
            table = table.inner_join(asked, (table.customer == asked.asked_who) & (table.month == asked.asked_month))
            wave = table.month.cast("int64")
        reminders = table.sent_reminders.cast("int64") if told else reminders
    table = table.mutate(wave=wave, days=days, reminders=reminders)
    grouped = table.group_by(who=table.customer, wave=table.wave)
    least = {"days": table.days.min(), "reminders": table.reminders.min()}
    return grouped.aggregate(said=whole(table.value.cast("float64").mean()), **least)


def people(tables: Tables, score: str, waves: Sequence[int], first: int) -> People:
    """Put beside every customer of every wave what was known before it, and what came of it.

    A customer belongs to a wave who came before its month and had not left before it, or was asked.

    Args:
        tables: Loaded tables.
        score: The score.
        waves: Months of the waves.
        first: First month of the waves looked at; those before are compared with.
    """
    customers = required(tables, "customers")
    rows = rows_of(tables, "customers", (), table=_crossed(customers, waves))
    table = rows.table
    table = table.mutate(number=rank_of(table.customer), later=(table.wave >= first).ifelse(1, 0))
    table = table.mutate(bucket=bucket_of(table.number, BUCKETS))
    said = replies(tables, score)
    table = _joined(table, said.select("who", "wave", answer="said"))
    table = _asked(tables, table)
    table = _alive(tables, table)
    facts: dict[str, Fact] = {}
    if "segment" in customers.columns:
        facts["segment"] = Fact(column="stratum", ordered=False)
    if "opened" in customers.columns:
        table = table.mutate(held_for=table.wave - table.came_in)
        facts["tenure"] = Fact(column="held_for", bands=MANY_BANDS)
    for name in tables.study.tables["customers"].controls if "customers" in tables.study.tables else ():
        if f"c_{name}" in table.columns:
            is_number = table[f"c_{name}"].type().is_numeric()
            facts[name] = Fact(column=f"c_{name}", bands=BANDS if is_number else None, ordered=is_number)
    table, found = _events(tables, table, waves)
    usual = [*facts, *list(found)[:1]]
    facts |= found
    table, found = _money(tables, table, waves)
    usual += [name for name in found if name == "money"]
    facts |= found
    table, found = _feedback(tables, table, waves)
    usual += [name for name in found if name == f"feedback_{COMPLAINT}"]
    facts |= found
    table, facts[EARLIER] = _before(table, said, waves)
    usual.append(EARLIER)
    later = sum(month >= first for month in waves)
    return People(table=table, facts=facts, usual=tuple(usual), waves=later, faults=rows.faults)


def _crossed(customers: Any, waves: Sequence[int]) -> Any:
    """Repeat the customers for every wave; controls are called ``c_`` and their name."""
    named = {f"c_{name}": customers[name] for name in customers.columns if name not in OWN}
    own = [name for name in ("customer", "opened") if name in customers.columns]
    return ibis.union(*[customers.select(*own, **named, wave=_literal(month)) for month in waves], distinct=False)


OWN = ("customer", "opened", "segment", "weight", "unit", "since", "came")
"""Columns of the customers that are no controls."""


def _joined(table: Any, facts: Any) -> Any:
    """Join facts with columns ``who`` and ``wave`` to the customers of the waves."""
    facts = facts.rename(fact_wave="wave")
    joined = table.left_join(facts, (table.customer == facts.who) & (table.wave == facts.fact_wave))
    return joined.drop("who", "fact_wave")


def _asked(tables: Tables, table: Any) -> Any:
    if "invitations" not in tables.tables:
        return table.mutate(asked=ibis.literal(1, "int64"))
    invitations = sent_invitations(tables)
    sent = invitations.select(who=invitations.customer, wave=invitations.month.cast("int64")).distinct()
    table = _joined(table, sent.mutate(invited=ibis.literal(1, "int64")))
    return table.mutate(asked=ibis.coalesce(table.invited, 0)).drop("invited")


def _alive(tables: Tables, table: Any) -> Any:
    """Keep who came before the wave's month and had not left before it."""
    here = ibis.literal(True)
    if "opened" in table.columns:
        opened = table.opened.cast("date")
        table = table.mutate(came_in=(opened.year() * 12 + opened.month() - 1).cast("int64"))
        here = here & (table.came_in < table.wave).fill_null(True)
    elif "ledger" in tables.tables:
        ledger = required(tables, "ledger")
        start = ledger.group_by(payer=ledger.customer).aggregate(began=ledger.month.min().cast("int64"))
        table = table.left_join(start, table.customer == start.payer).drop("payer")
        here = here & (table.began < table.wave).fill_null(False)
    if "exits" in tables.tables:
        exits = required(tables, "exits")
        gone = exits.group_by(leaver=exits.customer).aggregate(left_in=exits.month.min().cast("int64"))
        table = table.left_join(gone, table.customer == gone.leaver).drop("leaver")
        here = here & (table.left_in >= table.wave).fill_null(True)
    asked = (table.asked == 1) & ("invitations" in tables.tables) | table.answer.notnull()
    return table.filter(here | asked)


def _near(waves: Sequence[int], source: Any, months: int) -> Any:
    """Return the rows of a table in the months before each wave: its columns, with ``who`` and ``wave``.

    A row near several waves is there for each.
    """
    month = source.month.cast("int64")
    parts = [
        source.filter((month < wave) & (month >= wave - months)).mutate(who=source.customer, wave=_literal(wave))
        for wave in waves
    ]
    return ibis.union(*parts, distinct=False) if len(parts) > 1 else parts[0]


def _kinds(tables: Tables, source: Any) -> list[str]:
    """Return the most frequent kinds, the first the most frequent; of those that enough customers had to be named."""
    found = tables.fetch(source.group_by("kind").aggregate(rows=source.count(), people=source.customer.nunique()))
    found = found[found["people"] >= max(SHOWN_FROM, tables.study.about.min_cell)]
    found = found.dropna(subset="kind").sort_values(["rows", "kind"], ascending=[False, True])
    return [str(kind) for kind in found["kind"].head(KINDS)]


def _counted(tables: Tables, table: Any, waves: Sequence[int], name: str, months: int) -> tuple[Any, dict[str, Any]]:
    """Add how many events or messages of each kind a customer had in the months before the wave."""
    if name not in tables.tables or "kind" not in required(tables, name).columns:
        return table, {}
    source = required(tables, name)
    kinds = _kinds(tables, source)
    near = _near(waves, source, months)
    times = near["count"].cast("int64") if "count" in source.columns else ibis.literal(1, "int64")
    sums = {f"{name}_{i}": (near.kind == kind).ifelse(times, 0).sum() for i, kind in enumerate(kinds)}
    if not sums:
        return table, {}
    table = _joined(table, near.group_by("who", "wave").aggregate(**sums))
    counts = {column: ibis.least(ibis.coalesce(table[column].cast("int64"), 0), MOST) for column in sums}
    return table.mutate(**counts), dict(zip(sums, kinds, strict=True))


def _events(tables: Tables, table: Any, waves: Sequence[int]) -> tuple[Any, dict[str, Fact]]:
    table, kinds = _counted(tables, table, waves, "events", LATELY)
    return table, {f"events_{kind}": Fact(column=column, bands=BANDS, judges=True) for column, kind in kinds.items()}


def _feedback(tables: Tables, table: Any, waves: Sequence[int]) -> tuple[Any, dict[str, Fact]]:
    table, kinds = _counted(tables, table, waves, "feedback", BEFORE)
    if not kinds:
        return table, {}
    table = table.mutate(**{f"any_{column}": (table[column] > 0).ifelse(1, 0).cast("int64") for column in kinds})
    return table, {f"feedback_{kind}": Fact(column=f"any_{column}", judges=True) for column, kind in kinds.items()}


def _money(tables: Tables, table: Any, waves: Sequence[int]) -> tuple[Any, dict[str, Fact]]:
    """Add the money of the month before the wave, its growth before that, and other counts of the ledger."""
    outcomes = {name: each for name, each in tables.study.outcomes.items() if each.table == "ledger"}
    money = next((name for kind in ("stock", "flow") for name, each in outcomes.items() if each.kind == kind), None)
    if "ledger" not in tables.tables or not outcomes:
        return table, {}
    ledger = required(tables, "ledger")
    near = _near(waves, ledger, BEFORE)
    lately = near.month.cast("int64") >= near.wave - LATELY
    counts = [name for name, each in outcomes.items() if each.kind == "count"]
    sums: dict[str, Any] = {
        f"ledger_{i}": lately.ifelse(near[name].cast("int64"), 0).sum() for i, name in enumerate(counts)
    }
    if money is not None:
        amount = near[money].cast("float64")
        sums |= {
            "money_last": (near.month.cast("int64") == near.wave - 1).ifelse(amount, ibis.null("float64")).sum(),
            "money_lately": lately.ifelse(amount, 0.0).sum(),
            "money_before": lately.ifelse(0.0, amount).sum(),
            "months_seen": near.count(),
        }
    table = _joined(table, near.group_by("who", "wave").aggregate(**sums))
    capped = {f"ledger_{i}": ibis.least(ibis.coalesce(table[f"ledger_{i}"], 0), MOST) for i in range(len(counts))}
    facts: dict[str, str] = {f"ledger_{i}": name for i, name in enumerate(counts)}
    if money is not None:
        whole_span = (table.months_seen == BEFORE) & (table.money_before > 0)
        growth = ibis.greatest(ibis.least(table.money_lately / table.money_before * 100, float(FULL)), 0.0)
        capped["money_growth"] = whole_span.fill_null(False).ifelse(whole(growth), ibis.null("int64"))
    table = table.mutate(**capped)
    found = {f"count_{name}": Fact(column=column, bands=BANDS, judges=True) for column, name in facts.items()}
    if money is not None:
        found["money"] = Fact(column="money_last", bands=MANY_BANDS)
        found["money_growth"] = Fact(column="money_growth", bands=BANDS, judges=True)
    return table, found


def _before(table: Any, said: Any, waves: Sequence[int]) -> tuple[Any, Fact]:
    """Add the customer's last answer before the wave; those without one are a category of their own."""
    parts = []
    for wave in waves:
        past = said.filter(said.wave < wave)
        parts.append(past.group_by("who").aggregate(last_said=past.said.argmax(past.wave)).mutate(wave=_literal(wave)))
    last = ibis.union(*parts, distinct=False) if len(parts) > 1 else parts[0]
    return _joined(table, last), Fact(column="last_said", bands=BANDS)


def _literal(number: int) -> Any:
    return ibis.literal(int(number), "int64")


def counted(tables: Tables, of: People, margins: Sequence[str], judges: Sequence[str]) -> pd.DataFrame:
    """Count people by cell, bucket, whether asked, and answer; one scan after the one that finds the cuts.

    A judge that tells fewer than ``min_cell`` customers apart, of those who answered or of the silent, is known of
    nobody: those who differ from its median in the waves looked at, as few may have what it counts, or nearly all.

    Returns:
        Columns ``later``, ``bucket``, ``m_0``, … (a band's number, −1 for unknown, or a category), ``asked``,
        ``answer``, ``n`` (customers and waves), ``weight`` and for each judge ``k_0`` (weight of those of whom it is
        known), ``v_0`` (Σ weight·value) and ``q_0`` (Σ weight·value²).

    Raises:
        DataError: Customers who cannot be weighted.
    """
    table, facts = of.table, of.facts
    cuts, middles = _cuts(tables, table, {name: facts[name] for name in margins}, [facts[name] for name in judges])
    columns = {f"m_{i}": _band(table, facts[name], cuts.get(name)) for i, name in enumerate(margins)}
    judged = {f"j_{i}": table[facts[name].column] for i, name in enumerate(judges)}
    keep = ["later", "bucket", "asked", "answer", "weight", *of.faults]
    table = table.select(*keep, **columns, **judged)
    sums = {"n": table.count(), "weight": table.weight.sum()} | {name: count_true(table[name]) for name in of.faults}
    for i in range(len(judges)):
        value = table[f"j_{i}"]
        known = value.notnull().ifelse(table.weight, 0)
        filled = ibis.coalesce(value, 0).cast("int64")
        sums |= {f"k_{i}": known.sum(), f"v_{i}": (known * filled).sum(), f"q_{i}": (known * filled * filled).sum()}
        sums[f"o_{i}"] = count_true(value.cast("float64") != middles[i])
    frame = tables.fetch(table.group_by(["later", "bucket", *columns, "asked", "answer"]).aggregate(**sums))
    if wrong := [f"{text}: {int(frame[name].sum())}" for name, text in of.faults.items() if frame[name].sum()]:
        raise DataError("These tables cannot be measured as they are.", wrong)
    frame = frame.drop(columns=list(of.faults)).astype(dict.fromkeys(sums.keys() - of.faults.keys(), "float64"))
    now, said = frame["later"] == 1, frame["answer"].notna()
    for i in range(len(judges)):
        others = frame.pop(f"o_{i}")
        parts = np.array([others[now & said].sum(), others[now & ~said].sum()])
        few = (parts > 0) & (parts < tables.study.about.min_cell * of.waves)
        if few.any() or not parts.any():
            frame[[f"k_{i}", f"v_{i}", f"q_{i}"]] = 0.0
    return frame.sort_values(["later", "bucket", *columns, "asked", "answer"], ignore_index=True)


def _cuts(
    tables: Tables, table: Any, facts: Mapping[str, Fact], judges: Sequence[Fact]
) -> tuple[dict[str, list[float]], list[float]]:
    """Return the values at which numbers are cut into bands of about equal size, none of them twice, and medians.

    Medians are those of the judges in the waves looked at: what nearly all have, if nearly all have the same.
    """
    shares = {
        f"p_{i}_{part}": table[fact.column].cast("float64").quantile(part / fact.bands)
        for i, fact in enumerate(facts.values())
        if fact.bands is not None
        for part in range(1, fact.bands)
    }
    for i, judge in enumerate(judges):
        now = (table.later == 1).ifelse(table[judge.column].cast("float64"), ibis.null("float64"))
        shares[f"middle_{i}"] = now.quantile(0.5)
    if not shares:
        return {}, []
    found = tables.fetch(table.aggregate(**shares)).iloc[0]
    cuts: dict[str, list[float]] = {}
    for i, (name, fact) in enumerate(facts.items()):
        if fact.bands is not None:
            values = {float(found[f"p_{i}_{part}"]) for part in range(1, fact.bands)}
            cuts[name] = sorted(cut for cut in values if np.isfinite(cut))
    middles = [found[f"middle_{i}"] for i in range(len(judges))]
    return cuts, [float(middle) if pd.notna(middle) else 0.0 for middle in middles]


def _band(table: Any, fact: Fact, cuts: Sequence[float] | None) -> Any:
    value = table[fact.column]
    if not fact.ordered:
        return ibis.coalesce(value.cast("string"), "")
    if cuts is None:
        return ibis.coalesce(value.cast("int64"), UNKNOWN)
    number = value.cast("float64")
    above: Any = sum(((number > cut).ifelse(1, 0) for cut in cuts), start=ibis.literal(0))
    return number.isnull().ifelse(UNKNOWN, above).cast("int64")
