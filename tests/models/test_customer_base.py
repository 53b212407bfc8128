"""Customers who stop without a word: what is foretold of them is what comes, and what must be refused is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rox
from rox.core.check import Verdict
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked
from rox.models.buying_histories import BuyingHistories, buying_histories
from rox.models.customer_base import CustomerBase, customer_base
from rox.models.customer_base_fit import Fit
from rox.numerics.buying import BGBB, bgbb
from tests.models.conftest import START, linked_from

TRUTH = {
    "often": BGBB(alpha=2.0, beta=2.0, gamma=0.9, delta=30.0),
    "seldom": BGBB(alpha=1.0, beta=5.0, gamma=1.2, delta=12.0),
}
MONTHS, AFTER, OLDEST = 30, 12, 40
STUDY = """
[study]
name = "shop"
title = "Shop"
currency = "CNY"
extract = 2026-12-31

[tables.customers]
path = "customers.csv"
columns = { customer = "customer", segment = "segment", opened = "opened", weight = "weight" }

[tables.answers]
path = "answers.csv"
columns = { customer = "customer", date = "date" }

[tables.ledger]
path = "ledger.csv"
columns = { customer = "customer", month = "month" }

[scores.nps]
column = "nps"
low = 0
high = 10
kind = "nps"
label = "Recommend"

[outcomes.sales]
column = "sales"
kind = "flow"
label = "Sales"
"""


def silent_panel(customers: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Customer-months of purchases, and what nobody sees: who is still there, and months with a purchase to come."""
    rng = np.random.default_rng(seed)
    segment = np.where(rng.random(customers) < 0.4, "often", "seldom")
    opened = START + rng.integers(-OLDEST, MONTHS - 6, customers)
    stops, chance = np.empty(customers), np.empty(customers)
    for name, truth in TRUTH.items():
        own = segment == name
        stops[own] = rng.geometric(rng.beta(truth.gamma, truth.delta, own.sum())) - 1
        chance[own] = rng.beta(truth.alpha, truth.beta, own.sum())
    month = START + np.arange(MONTHS + AFTER)
    age = month - opened[:, None]
    buys = (rng.random(age.shape) < chance[:, None]) & (age >= 1) & (age <= stops[:, None])
    spent = buys * np.where(segment == "often", 20.0, 50.0)[:, None]
    rows = pd.DataFrame(
        {
            "customer": np.repeat(np.arange(customers), MONTHS),
            "month": np.tile(month[:MONTHS], customers),
            "segment": np.repeat(segment, MONTHS),
            "weight": np.where(np.repeat(segment, MONTHS) == "often", 3.0, 1.0),
            "outcome": spent[:, :MONTHS].ravel(),
            "opened": np.repeat(opened, MONTHS).astype(float),
        }
    )
    hidden = pd.DataFrame(
        {"segment": segment, "alive": stops > MONTHS + START - 1 - opened, "next": buys[:, MONTHS:].sum(1)}
    )
    return rows[rows["month"] >= rows["opened"]].reset_index(drop=True), hidden


def linked(rows: pd.DataFrame, **choices: object) -> Linked:
    return linked_from(rows, **{"kind": "flow", "outcome": "sales", **choices})


@pytest.fixture(scope="module")
def panel() -> tuple[pd.DataFrame, pd.DataFrame]:
    return silent_panel(4000, seed=3)


@pytest.fixture(scope="module")
def found(panel: tuple[pd.DataFrame, pd.DataFrame]) -> CustomerBase:
    return customer_base(linked(panel[0]), horizons=(12, 24), hold_out=12)


def test_what_is_foretold_comes(panel: tuple[pd.DataFrame, pd.DataFrame], found: CustomerBase) -> None:
    _, hidden = panel
    assert found.groups == ("often", "seldom")
    for name in found.groups:
        own, row = hidden[hidden["segment"] == name], found.table.loc[name]
        chance = own["next"].std() / np.sqrt(len(own))
        reach = (row["months_12_high"] - row["months_12_low"]) / 3.29
        assert row["months_12"] == pytest.approx(own["next"].mean(), abs=3.5 * np.hypot(reach, chance))
        error = np.hypot((row["alive_high"] - row["alive_low"]) / 3.29, np.sqrt(0.25 / len(own)))
        assert row["alive"] == pytest.approx(own["alive"].mean(), abs=3.5 * error)
        assert row["alive_high"] - row["alive_low"] < 0.1
        for parameter in ("alpha", "beta", "gamma", "delta"):
            off = np.log(found.parameters.loc[name, parameter] / getattr(TRUTH[name], parameter))
            assert abs(off) < 4 * found.parameters.loc[name, f"{parameter}_se"]


def test_all_together_count_with_whom_they_stand_for(found: CustomerBase) -> None:
    table = found.table
    share = table.loc[["often", "seldom"], "customers"] / table.loc["all", "customers"]
    assert share["often"] == pytest.approx(0.4 * 3 / (0.4 * 3 + 0.6), abs=0.03)
    for number in ("alive", "months_12", "months_24", "residual"):
        assert table.loc["all", number] == pytest.approx(table.loc[["often", "seldom"], number] @ share)
    assert table.loc["often", "amount"] == pytest.approx(20.0)
    assert table.loc["seldom", "residual_amount"] == pytest.approx(50 * table.loc["seldom", "residual"])
    assert (table["months_12"] < table["months_24"]).all()
    assert not table["suppressed"].any()


def test_it_is_judged_where_it_did_not_look(panel: tuple[pd.DataFrame, pd.DataFrame], found: CustomerBase) -> None:
    """Those long silent buy little more, which their own rate so far does not know."""
    rows, _ = panel
    assert found.skill > 0.2
    judged = found.judged
    people = judged["customers"] / (1 + 2 * (judged.index.get_level_values("group") == "often"))
    assert (abs(judged["predicted"] - judged["observed"]) < 3.5 * 4 / np.sqrt(people)).all()
    silent = judged.xs(12, level="silent")
    assert (silent["own_rate"] > 1.5 * silent["observed"]).all()
    by_hand = rows[(rows["month"] >= START + 18) & (rows["opened"] <= START + 17)]
    months = by_hand[by_hand["segment"] == "often"]
    whole = rows.loc[(rows["segment"] == "often") & (rows["opened"] <= START + 17), "customer"].nunique()
    own = judged.xs("often", level="group")
    mean = float((own["observed"] * own["customers"]).sum() / own["customers"].sum())
    assert mean == pytest.approx((months["outcome"] > 0).sum() / whole)
    verdicts = {each.code: each.verdict for each in found.checks}
    assert verdicts["ROX-S50"] is verdicts["ROX-S51"] is verdicts["ROX-S52"] is Verdict.PASS
    assert "ROX-S53" not in verdicts


def by_history(held: dict[str, BuyingHistories]) -> dict[tuple[object, ...], int]:
    """How many customers there are of each history."""
    return {
        (name, *map(int, key)): int(people)
        for name, each in held.items()
        for *key, people in zip(*each.history, each.people, strict=True)
    }


def test_histories_are_those_of_the_rows(panel: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    """By a walk through each customer's months; the same from a frame and from a bank's tables."""
    rows, _ = panel
    few = rows[rows["customer"] < 400]
    until = START + 20
    expected: dict[tuple[object, ...], int] = {}
    for _, own in few.groupby("customer"):
        opened = int(own["opened"].iloc[0])
        if opened > until:
            continue
        origin = max(opened, START - 1)
        months = own.loc[(own["outcome"] > 0) & (own["month"] > opened) & (own["month"] <= until), "month"]
        gap = origin - opened
        unseen = gap if gap < 12 else 12 * (gap // 12) + 6
        recency = int(months.max()) - origin if len(months) else 0
        key = (str(own["segment"].iloc[0]), len(months), recency, until - origin, unseen)
        expected[key] = expected.get(key, 0) + 1
    for data in (linked(few), from_tables(few, tmp_path)):
        held = buying_histories(data, START, until, lambda table: table.segment)
        assert by_history(held) == expected
        later = few[(few["month"] > until) & (few["opened"] <= until) & (few["outcome"] > 0)]
        assert sum(each.later.sum() for each in held.values()) == pytest.approx(later["weight"].sum())


def from_tables(rows: pd.DataFrame, folder: Path) -> Linked:
    """Write a panel as a bank's tables and link them."""
    day = lambda months: months.astype(int).map(lambda m: f"{m // 12:04d}-{m % 12 + 1:02d}-10")  # noqa: E731
    people = rows.drop_duplicates("customer")
    ids = {"customer": people["customer"].map("C{:04d}".format)}
    frames = {
        "customers": {**ids, "segment": people["segment"], "opened": day(people["opened"]), "weight": people["weight"]},
        "answers": {**ids, "date": day(people["month"] + 1), "nps": people["customer"] % 11},
        "ledger": {
            "customer": rows["customer"].map("C{:04d}".format),
            "month": day(rows["month"]),
            "sales": rows["outcome"],
        },
    }
    for name, columns in frames.items():
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return rox.link(rox.load(rox.read_study(folder / "study.toml")), outcome="sales")


def test_months_that_the_ledger_leaves_out_are_silent(
    panel: tuple[pd.DataFrame, pd.DataFrame], found: CustomerBase
) -> None:
    rows, _ = panel
    listed = ~rows.duplicated("customer") | (rows["outcome"] > 0) | (rows["month"] == START + MONTHS - 1)
    sparse = customer_base(linked(rows[listed]))
    pd.testing.assert_frame_equal(found.table, sparse.table)


def test_small_groups_are_not_described(panel: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows, _ = panel
    rows = rows[rows["customer"] < 1000]
    tiny = rows["customer"].isin(rows.loc[rows["segment"] == "often", "customer"].unique()[:12])
    data = linked(rows.assign(segment=rows["segment"].mask(tiny, "tiny"), weight=1.0), min_cell=50)
    found = customer_base(data)
    assert found.groups == ("often", "seldom")
    (left_out,) = [each for each in found.checks if each.code == "ROX-S53"]
    assert "tiny" in left_out.sentence("zh")
    assert found.trail[-1].lost == 12
    assert found.judged["suppressed"].any()
    assert found.judged.loc[found.judged["suppressed"], "observed"].isna().all()


def test_who_says_goodbye_is_counted(panel: tuple[pd.DataFrame, pd.DataFrame], found: CustomerBase) -> None:
    rows, _ = panel
    last = rows[rows["outcome"] > 0].groupby("customer")["month"].max().reindex(rows["customer"]).to_numpy()
    leaves = np.where(last < START + 24, last + 1.0, np.nan)
    told = customer_base(linked(rows.assign(exit_month=leaves, voluntary=True)[~(rows["month"] > leaves)]))
    assert told.table["left"].between(0.1, 0.6).all()
    assert told.table["alive"].to_numpy() == pytest.approx(found.table["alive"].to_numpy(), rel=1e-6)
    (many,) = [each for each in told.checks if each.code == "ROX-S52"]
    assert many.verdict is Verdict.NOTE


def test_what_cannot_be_foretold_is_refused(panel: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rows, _ = panel
    few = rows[rows["customer"] < 600]
    with pytest.raises(FitError) as caught:
        customer_base(linked(few, kind="stock"), by="mood", horizons=(0,), discount=0.0, hold_out=1, level=1.0)
    assert len(caught.value.faults) == 6
    with pytest.raises(FitError, match="too few months"):
        customer_base(linked(few), hold_out=26)
    with pytest.raises(DataError, match="ledger of purchases alone"):
        customer_base(linked(few[few["outcome"] > 0][lambda each: each["month"] > each["opened"]]))
    with pytest.raises(DataError, match="opening is known"):
        customer_base(linked(few.assign(opened=np.nan)))
    with pytest.raises(DataError, match="outcomes are missing"):
        customer_base(linked(few.assign(outcome=few["outcome"].where(few["customer"] != 3))))


def test_a_habit_that_changed_is_refused(panel: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """In the last year those buy who had been silent, and the others no more."""
    rows, _ = panel
    rows = rows[rows["customer"] < 1000]
    late = rows["month"] >= START + 18
    number = (rows["outcome"] > 0).where(~late, False).groupby(rows["customer"]).transform("sum")
    turned = rows.assign(outcome=rows["outcome"].where(~late, np.where(number <= 2, 30.0, 0.0)))
    turned.loc[turned["customer"] % 20 == 0, "outcome"] = 0.0
    with pytest.raises(FitError, match="ROX-S50"):
        customer_base(linked(turned))


def test_customers_who_are_all_alike_cannot_be_told_apart() -> None:
    rows = silent_panel(800, seed=4)[0]
    alike = rows.assign(outcome=1.0 * (np.random.default_rng(5).random(len(rows)) < 0.3))
    with pytest.raises(FitError, match="No group can be described"):
        customer_base(linked(alike))


def test_errors_are_robust_and_those_of_the_customers_there_are() -> None:
    rows = silent_panel(1200, seed=6)[0].assign(weight=1.0, segment="one")
    held = buying_histories(linked(rows), START, START + MONTHS - 1, lambda table: table.segment)["one"]
    plain = bgbb(*held.history[:3], held.people, unseen=held.unseen)
    fit = Fit.of(held)
    ratio = np.sqrt(np.diag(fit.covariance) / np.diag(plain.covariance))
    assert ratio == pytest.approx(np.ones(4), abs=0.25)
    heavy = Fit.of(replace(held, weight=7 * held.weight, squares=49 * held.squares))
    assert heavy.covariance == pytest.approx(fit.covariance, rel=1e-6)
    thrice = Fit.of(replace(held, people=3 * held.people, weight=3 * held.weight, squares=3 * held.squares))
    assert thrice.covariance == pytest.approx(fit.covariance / 3, rel=1e-6)
