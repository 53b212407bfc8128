"""From one export to the next: what was restated, what was added, and what was asked in another way."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Verdict
from rox.core.comparison import MAIN, Comparison
from rox.core.effect import Effect
from rox.core.linked import month_index
from rox.core.study import read_study
from rox.linking.link import link
from rox.linking.load import load
from rox.linking.tables import Tables
from rox.models.staggered_uplift import StaggeredUplift
from rox.review.as_of import tables_as_of
from rox.review.comparison import compare
from rox.testing import sample_linked

from .recorded import recorded

DAY = dt.date(2025, 2, 28)


def day_of(month: pd.Series) -> pd.Series:
    return (month // 12).astype(int).astype(str) + "-" + (month % 12 + 1).astype(int).map("{:02d}".format) + "-01"


def export(folder: Path, *, restated: float = 1.0) -> Path:
    """Write the small simulated company as CSV files, with the money of one month corrected."""
    data = sample_linked(customers=300)
    panel = data.panel
    folder.mkdir()
    people = panel.drop_duplicates("customer")
    left = people[people["exit_month"].notna()]
    key = {"customer": people["customer"], "segment": people["segment"], "unit": people["unit"]}
    pd.DataFrame({**key, "opened": day_of(people["opened"])}).to_csv(folder / "customers.csv", index=False)
    factor = np.where(panel["month"] == month_index(2024, 6), restated, 1.0)
    ledger = {
        "customer": panel["customer"],
        "month": day_of(panel["month"]),
        "aum": (panel["outcome"] * factor).round(2),
    }
    pd.DataFrame(ledger).to_csv(folder / "ledger.csv", index=False)
    exits = {"customer": left["customer"], "date": day_of(left["exit_month"])}
    pd.DataFrame(exits).to_csv(folder / "exits.csv", index=False)
    said = {
        "customer": people["customer"],
        "date": day_of(panel.groupby("customer")["month"].min()).to_numpy(),
        "nps": 8,
    }
    pd.DataFrame(said).to_csv(folder / "answers.csv", index=False)
    starts = data.starts.assign(start=day_of(data.starts["start"]))
    starts.to_csv(folder / "initiatives.csv", index=False)
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return folder / "study.toml"


STUDY = """
[study]
name = "sample"
title = "Sample"
currency = "CNY"
extract = 2025-06-30
[tables.customers]
path = "customers.csv"
columns = { customer = "customer", segment = "segment", unit = "unit", opened = "opened" }
[tables.answers]
path = "answers.csv"
columns = { customer = "customer", date = "date" }
[tables.ledger]
path = "ledger.csv"
columns = { customer = "customer", month = "month" }
[tables.exits]
path = "exits.csv"
columns = { customer = "customer", date = "date" }
[tables.initiatives]
path = "initiatives.csv"
columns = { initiative = "initiative", unit = "unit", start = "start" }
[scores.nps]
column = "nps"
low = 0
high = 10
kind = "nps"
label = "nps"
[outcomes.aum]
column = "aum"
kind = "stock"
label = "aum"
[initiatives.refit]
label = "refit"
assigned = "random"
"""


def estimated(tables: Tables, prior: float) -> Effect:
    model = StaggeredUplift(window=(3, 6), draws=1000, placebos=99, prior_sd=prior)
    return model.fit(link(tables, score="nps", outcome="aum"), rng=7)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tables]:
    """The later export: more months, and one corrected."""
    study = export(tmp_path_factory.mktemp("exports") / "after", restated=1.2)
    return study, load(read_study(study))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, later: tuple[Path, Tables]) -> Comparison:
    """Two runs on two exports, the later one asked with another prior."""
    folder, (path, tables) = tmp_path_factory.mktemp("runs"), later
    before = tables_as_of(load(read_study(export(folder / "before"))), DAY)
    first = recorded(folder / "a", None, estimated(before, 0.1), study=before.study)
    second = recorded(folder / "b", None, estimated(tables, 0.3), study=tables.study)
    return compare(first, second, study=path, orders=False)


def test_the_change_of_an_estimate_is_taken_apart(found: Comparison) -> None:
    rows = found.bridge().set_index("kind")["units"]
    assert [step.kind for step in found.steps][1:5] == ["restated", "added", "method", "priors"]
    assert rows["restated"] != 0
    assert rows["added"] != 0
    assert rows["method"] == 0
    assert rows["priors"] != 0
    priors = next(step for step in found.steps if step.kind == "priors")
    assert (priors.was, priors.now) == ("uplift: prior_sd=0.1", "uplift: prior_sd=0.3")
    assert found.remainder[MAIN] == 0
    assert rows.iloc[:-1].sum() == rows.iloc[-1]


def test_estimating_again_gives_the_recorded_estimate(found: Comparison) -> None:
    verdicts = {check.code: check.verdict for check in found.checks}
    assert verdicts["ROX-R03"] is Verdict.PASS
    assert verdicts["ROX-R04"] is Verdict.PASS
    assert found.is_publishable


def test_tables_as_of_a_day_hold_nothing_later(later: tuple[Path, Tables]) -> None:
    tables = later[1]
    cut = tables_as_of(tables, dt.date(2024, 12, 30))
    assert cut.money_months[1] == month_index(2024, 11)
    assert cut.study.about.extract == dt.date(2024, 12, 30)
    assert cut.counts["exits"] < tables.counts["exits"]
    late = cut.fetch(cut.tables["exits"])["date"].max()
    assert late <= pd.Timestamp("2024-12-30")
