"""Who leaves and who stays, by hand and against row-by-row estimates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox import metrics
from rox.core.errors import DataError
from rox.linking.episodes import Attrition, drained
from rox.metrics.silent import attrition

JANUARY = 12 * 2024


def ledger_of(*lives):
    """Write one row per customer and month for (customer, first, last, balance), months counted from 2024-01."""
    rows = [(who, JANUARY + m, balance) for who, first, last, balance in lives for m in range(first, last + 1)]
    return pd.DataFrame(rows, columns=["customer", "month", "aum"])


@pytest.fixture
def five(few, study):
    """Five customers over fifteen months; B leaves in July without a row for it, D comes in April."""

    def build(**settings):
        ledger = ledger_of(("A", 0, 14, 100), ("B", 0, 5, 300), ("C", 0, 14, 50), ("D", 3, 14, 0), ("E", 0, 14, -5))
        exits = pd.DataFrame({"customer": ["B"], "date": ["2024-07-15"], "reason": ["fees"]})
        return few(study(**settings), ledger=ledger, exits=exits)

    return build


@pytest.fixture
def book():
    """Sixty months of two hundred customers with weights, balances and exits, some involuntary."""
    rng = np.random.default_rng(11)
    lives, exits, people = [], [], []
    for i in range(200):
        who, first, balance = f"p{i:03d}", int(rng.integers(0, 20)), round(100 * rng.lognormal(8, 1))
        last = first + int(rng.geometric(0.03))
        people.append((who, "ab"[i % 2], float(rng.uniform(1, 5))))
        lives.append((who, first, min(last, 59), balance))
        if last <= 59:
            month = JANUARY + last
            exits.append((who, f"{month // 12}-{month % 12 + 1:02d}-10", "fees" if i % 3 else "death"))
    return (
        ledger_of(*lives),
        pd.DataFrame(exits, columns=["customer", "date", "reason"]),
        pd.DataFrame(people, columns=["customer", "segment", "weight"]),
    )


def linearised(above, below, rows):
    """Return Σ w·above / Σ w·below and its error, by customer within segment, from rows with their weights."""
    sums = pd.DataFrame({"y": rows["weight"] * above, "x": rows["weight"] * below})
    each = sums.assign(customer=rows["customer"], segment=rows["segment"]).groupby(["segment", "customer"]).sum()
    value = each["y"].sum() / each["x"].sum()
    each["u"] = (each["y"] - value * each["x"]) / each["x"].sum()
    variance = 0.0
    for _, stratum in each.groupby("segment"):
        variance += len(stratum) / (len(stratum) - 1) * ((stratum["u"] - stratum["u"].mean()) ** 2).sum()
    return value, np.sqrt(variance)


def test_hazard_by_hand(five, row):
    found = metrics.churn(five())
    hazard = row(found, metric="hazard_all")
    # months at risk: A 15, B 6 and the one it left in, C 15, D 12, E 15
    assert hazard["n"] == 64
    assert hazard["value"] == pytest.approx(1 / 64)
    residuals = np.array([0 - 15, 64 - 7, 0 - 15, 0 - 12, 0 - 15]) / 64**2
    assert hazard["se"] == pytest.approx(np.sqrt(5 / 4 * (residuals**2).sum()))
    year = row(found, metric="churn_all")
    assert year["value"] == pytest.approx(1 - np.exp(-12 / 64))
    assert year["value"] < 12 / 64
    assert year["low"] == pytest.approx(1 - np.exp(-12 * hazard["low"]))
    assert year["se"] == pytest.approx(12 * np.exp(-12 / 64) * hazard["se"])


def test_money_leaves_at_its_own_rate(five, row):
    # balances at the end of the month before: A 14·100, B 6·300, C 14·50; nothing for D, and debit counts as nothing
    money = row(metrics.churn(five()), metric="money_hazard_all")
    assert money["value"] == pytest.approx(300 / 3900)
    assert money["n"] == 34


def test_months_without_exits_have_an_upper_limit(five, row):
    hazard = row(metrics.churn(five(), by=("quarter",)), quarter="2024Q1", metric="hazard_all")
    assert (hazard["value"], hazard["low"], hazard["method"]) == (0, 0, "gamma")
    assert hazard["high"] == pytest.approx(-np.log(0.05) / 12)


def test_by_month_the_exit_is_in_its_month(five):
    found = metrics.churn(five(), by=("month",)).query("metric == 'hazard_all'").set_index("month")
    assert found["value"][found["value"] > 0].to_dict() == {"2024-07": pytest.approx(1 / 5)}
    assert list(found.index[[0, -1]]) == ["2024-01", "2025-03"]


def test_voluntary_churn_needs_declared_reasons(five):
    assert "hazard_voluntary" in set(metrics.churn(five())["metric"])
    assert set(metrics.churn(five(voluntary=()))["metric"].str.split("_").str[-1]) == {"all"}


def test_without_a_stock_there_is_no_money_churn(five):
    assert not metrics.churn(five(stock=False))["metric"].str.startswith("money").any()
    with pytest.raises(DataError, match="'revenue' is no stock in the ledger"):
        metrics.churn(five(), money="revenue")


def test_churn_is_that_of_rows(few, book, row):
    ledger, exits, people = book
    found = metrics.churn(few(ledger=ledger, exits=exits, customers=people))
    dates = pd.to_datetime(exits["date"])
    exits = exits.assign(month=12 * dates.dt.year + dates.dt.month - 1, left=1.0)
    rows = ledger.merge(exits, on=["customer", "month"], how="left").merge(people, on="customer")
    rows = rows.fillna({"left": 0.0}).assign(chosen=lambda f: f["left"] * (f["reason"] == "fees"))
    rows["before"] = rows.sort_values("month").groupby("customer")["aum"].shift()
    money = rows.dropna(subset="before")
    for metric, frame, column, size in (
        ("hazard_all", rows, "left", 1.0),
        ("hazard_voluntary", rows, "chosen", 1.0),
        ("money_hazard_all", money, "left", money["before"]),
    ):
        expected = linearised(frame[column] * size, size + 0 * frame["left"], frame)
        line = row(found, metric=metric)
        assert (line["value"], line["se"]) == pytest.approx(expected, rel=1e-6)
        assert line["low"] < line["value"] < line["high"]


def test_retention_by_hand(five, row):
    found = metrics.retention(five(), by=("month",))
    cohorts = found[found["metric"] == "retention_all"]
    assert list(cohorts["month"]) == ["2024-01", "2024-02", "2024-03"]
    assert list(cohorts["n"]) == [4, 4, 4]
    assert list(cohorts["value"]) == [0.75, 0.75, 0.75]
    short = row(metrics.retention(five(), months=2), metric="retention_all")
    # cohorts 2024-01 to 2025-01; only those of May and June lose B; B is in six, D in ten, the others in thirteen
    assert short["n"] == 3 * 13 + 6 + 10
    assert short["value"] == pytest.approx(1 - 2 / 55)


def test_retention_is_that_of_rows(few, book, row):
    ledger, exits, people = book
    found = row(metrics.retention(few(ledger=ledger, exits=exits, customers=people)), metric="retention_voluntary")
    dates = pd.to_datetime(exits["date"])
    gone = exits.assign(end=12 * dates.dt.year + dates.dt.month - 1)[["customer", "end", "reason"]]
    rows = ledger.merge(gone, on="customer", how="left").merge(people, on="customer")
    rows = rows[(rows["month"] <= rows["month"].max() - 12) & ~(rows["month"] >= rows["end"])]
    stayed = ~((rows["end"] <= rows["month"] + 12) & (rows["reason"] == "fees"))
    expected = linearised(stayed.astype(float), 1.0, rows)
    assert (found["value"], found["se"], found["n"]) == pytest.approx((*expected, len(rows)), rel=1e-6)
    assert 0 < found["low"] < found["value"] < found["high"] < 1


def test_a_short_ledger_has_no_cohorts(five):
    with pytest.raises(DataError, match="15 months"):
        metrics.retention(five(), months=15)


def test_leaving_twice_is_refused(few):
    exits = pd.DataFrame({"customer": ["A", "A"], "date": ["2024-02-01", "2024-05-01"], "reason": ["fees", "fees"]})
    tables = few(ledger=ledger_of(("A", 0, 14, 1)), exits=exits)
    for measure in (metrics.churn, metrics.retention):
        with pytest.raises(DataError, match="A customer can leave once"):
            measure(tables)


def test_churn_needs_exits(few):
    with pytest.raises(DataError, match="needs the table 'exits'"):
        metrics.churn(few(ledger=ledger_of(("A", 0, 14, 1))))


def test_small_groups_are_hidden(few, study, book):
    ledger, exits, people = book
    people = people.assign(segment=["rare"] * 5 + ["a", "b", "c"] * 65)
    tables = few(study(min_cell=10), ledger=ledger, exits=exits, customers=people)
    found = metrics.churn(tables, by=("segment",))
    hidden = found[found["suppressed"]]
    assert set(hidden["segment"]) > {"rare"}
    assert hidden[["value", "se", "low", "high", "n", "n_eff"]].isna().all(axis=None)
    assert found.loc[~found["suppressed"], "value"].notna().all()


def silent_of(ledger, exits, share, months):
    """Find, month by month, who is at risk of going silent, and who goes."""
    last = int(ledger["month"].max())
    found = []
    for who, own in ledger.dropna(subset="aum").groupby("customer"):
        left = next(iter(exits.loc[exits["customer"] == who, "month"]), None)
        held = {m: v for m, v in zip(own["month"], own["aum"], strict=True) if left is None or m < left}
        before = {t: [held[m] for m in range(t - 12, t) if m in held] for t in held}
        usual = {t: float(np.median(b)) for t, b in before.items() if len(b) >= 6 and np.median(b) > 0}
        for t in sorted(usual):
            run = range(t, t + months)
            is_silent = all(m in usual and held[m] / usual[m] < share for m in run)
            is_followed = t + months - 1 <= max(held) or (left is not None and left <= t + months - 1)
            if t + months - 1 <= last and is_followed:
                found.append((who, t, float(is_silent), usual[t]))
            if is_silent:
                break
    return pd.DataFrame(found, columns=["customer", "month", "silent", "usual"])


@pytest.fixture(scope="module")
def quiet(few):
    """Ninety customers over thirty months; money falls, comes back or is missing, some close, some are lost."""
    rng = np.random.default_rng(5)
    rows, exits, people = [], [], []
    for i in range(90):
        who, first, usual = f"p{i:02d}", JANUARY + int(rng.integers(0, 8)), 1000.0 * rng.lognormal()
        people.append((who, "ab"[i % 2], float(rng.uniform(1, 5))))
        last = JANUARY + int(rng.choice([29, 29, 29, rng.integers(14, 29)]))
        if last < JANUARY + 29 and i % 3:
            exits.append((who, last + 1, "fees"))
        falls = last - int(rng.integers(0, 8)) if i % 4 == 0 else first + int(rng.integers(4, 24))
        stays = int(rng.integers(1, 9))
        for month in range(first, last + 1):
            money = usual * rng.uniform(0.7, 1.3) * (rng.uniform(0.02, 0.28) if falls <= month < falls + stays else 1)
            if rng.uniform() > 0.03:
                rows.append((who, month, round(money)))
    frames = {
        "ledger": pd.DataFrame(rows, columns=["customer", "month", "aum"]),
        "exits": pd.DataFrame(exits, columns=["customer", "month", "reason"]),
        "customers": pd.DataFrame(people, columns=["customer", "segment", "weight"]),
    }
    return frames, few(**frames)


def test_going_silent_is_that_of_rows(quiet):
    frames, tables = quiet
    found = attrition(tables)
    assert len(found.sensitivity) == 9
    weights = frames["customers"].set_index("customer")
    for each in found.sensitivity.itertuples():
        rows = silent_of(frames["ledger"], frames["exits"], each.share, each.months).join(weights, on="customer")
        year = -np.expm1(-12 * np.average(rows["silent"], weights=rows["weight"]))
        assert (each.value, each.n) == (pytest.approx(year), len(rows)), (each.share, each.months)
    rows = silent_of(frames["ledger"], frames["exits"], 0.2, 3).join(weights, on="customer")
    for metric, size in (("hazard_silent", 1.0), ("money_hazard_silent", rows["usual"])):
        expected = linearised(rows["silent"] * size, size + 0 * rows["silent"], rows)
        line = found.rates.set_index("metric").loc[metric]
        assert (line["value"], line["se"]) == pytest.approx(expected, rel=1e-3)
        assert 0 < line["low"] < line["value"] < line["high"]
    assert (found.checks[0].code, found.checks[0].values["months"]) == ("ROX-M26", 3)


def test_silence_splits_into_its_groups(quiet):
    frames, tables = quiet
    found = attrition(tables, by=("segment",), months=2).rates
    rows = silent_of(frames["ledger"], frames["exits"], 0.2, 2)
    for segment, people in frames["customers"].groupby("segment"):
        line = found[(found["segment"] == segment) & (found["metric"] == "hazard_silent")].iloc[0]
        assert line["n"] == rows["customer"].isin(people["customer"]).sum()


def test_money_goes_silent_in_the_month_that_ends_an_episode(quiet):
    frames, tables = quiet
    stock = tables.tables["ledger"].select("customer", "month", amount="aum")
    found = tables.fetch(drained(Attrition(stock=stock, share=0.2, months=3)))
    none = frames["exits"].iloc[:0]
    rows = silent_of(frames["ledger"], none, 0.2, 3).query("silent == 1")
    assert dict(zip(found["whose"], found["since"], strict=True)) == dict(
        zip(rows["customer"], rows["month"], strict=True)
    )


def test_who_closes_before_the_months_have_run_out_is_churn(few, row):
    # A and B lose their money in month 12; A closes in 14, before three months are over, B in 15, when they are
    ledger = ledger_of(*((who, 0, 11, 100) for who in "ABC"), ("A", 12, 13, 1), ("B", 12, 14, 1), ("C", 12, 23, 100))
    exits = pd.DataFrame({"customer": ["A", "B"], "date": ["2025-03-10", "2025-04-10"], "reason": ["fees", "fees"]})
    found = row(attrition(few(ledger=ledger, exits=exits)).rates, metric="hazard_silent")
    # months at risk: A 6 to 13, B 6 to 12, C 6 to 21, of whose last two nobody knows what follows
    assert (found["n"], found["value"]) == (8 + 7 + 16, pytest.approx(1 / 31))
    alone = row(attrition(few(ledger=ledger)).rates, metric="hazard_silent")
    # without exits nobody knows what became of A after month 11, nor of B's
    assert (alone["n"], alone["value"]) == (6 + 7 + 16, pytest.approx(1 / 29))


def test_silence_needs_a_ledger_that_can_show_it(few, study):
    short = few(ledger=ledger_of(("A", 0, 7, 100)))
    with pytest.raises(DataError, match="8 months; 9 are needed"):
        attrition(short)
    with pytest.raises(DataError, match="months is 7"):
        attrition(short, months=7)
    with pytest.raises(DataError, match="Nobody can be seen going silent"):
        attrition(few(ledger=ledger_of(("A", 0, 12, 0))))
    with pytest.raises(DataError, match="needs money that is held"):
        attrition(few(study(stock=False), ledger=ledger_of(("A", 0, 12, 100))))
