"""Real orders and reviews: published figures come out, and the traps of these data are caught."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rox.core.errors import LeakageError
from rox.core.study import read_study
from rox.linking.expressions import how_many
from rox.linking.link import leaks, link
from rox.linking.load import load
from rox.linking.tables import Tables
from rox.metrics.answers import mean_score, score_distribution
from tests.conftest import SHARED

DATA = SHARED / "realdata" / "olist"
TEMPLATE = Path(__file__).with_name("olist.toml")

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the Olist sample is not beside this checkout")


def opened(folder: Path, text: str) -> Tables:
    for file in DATA.glob("*.csv"):
        (folder / file.name).symlink_to(file)
    study = folder / "study.toml"
    study.write_text(text, encoding="utf-8")
    return load(read_study(study))


@pytest.fixture(scope="module")
def olist(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return opened(tmp_path_factory.mktemp("olist"), TEMPLATE.read_text(encoding="utf-8"))


def test_it_loads_with_the_person_as_the_customer(olist: Tables) -> None:
    assert dict(olist.counts) == {"customers": 14904, "answers": 14872, "events": 15000, "ledger": 14953}
    assert "ROX-Q03" not in {check.code for check in olist.checks}


def test_review_mean_and_stars(olist: Tables) -> None:
    assert mean_score(olist, "review")["value"].iloc[0] == pytest.approx(4.085, abs=5e-4)
    shares = score_distribution(olist, "review").set_index("answer")["value"]
    assert list(100 * shares) == pytest.approx([11.4, 3.2, 8.6, 19.3, 57.5], abs=0.06)


@pytest.fixture(scope="module")
def deliveries(olist: Tables) -> pd.Series[int]:
    events = olist.tables["events"]
    return olist.fetch(events.group_by("kind").aggregate(n=events.count())).set_index("kind")["n"]


def test_late_deliveries_by_the_instant(olist: Tables, deliveries: pd.Series[int]) -> None:
    late = deliveries["days late"] + deliveries["hours late"]
    assert 100 * late / (late + deliveries["on time"]) == pytest.approx(7.9, abs=0.05)
    means = mean_score(olist, "review", by=("late",)).set_index("late")["value"]
    assert means[0] == pytest.approx(4.285, abs=5e-4)
    assert means[1] == pytest.approx(2.605, abs=5e-4)
    answers = olist.tables["answers"]
    bad = olist.fetch(answers.group_by("late").aggregate(n=how_many(answers.review <= 2))).set_index("late")["n"]
    assert 100 * bad[0] / deliveries["on time"] == pytest.approx(9.3, abs=0.05)
    assert 100 * bad[1] / late == pytest.approx(51.2, abs=0.05)


def test_late_deliveries_by_the_day(olist: Tables, deliveries: pd.Series[int]) -> None:
    on_time = deliveries["on time"] + deliveries["hours late"]
    assert 100 * deliveries["days late"] / (deliveries["days late"] + on_time) == pytest.approx(6.6, abs=0.05)
    means = mean_score(olist, "review", by=("days_late",)).set_index("days_late")["value"]
    assert means[0] == pytest.approx(4.28, abs=0.005)
    assert means[1] == pytest.approx(2.27, abs=0.005)


def test_people_who_order_again(olist: Tables) -> None:
    events = olist.tables["events"]
    people = events.group_by("customer").aggregate(orders=events.count())
    again = olist.fetch(people.aggregate(n=people.count(), again=how_many(people.orders > 1))).iloc[0]
    assert 100 * again["again"] / again["n"] == pytest.approx(0.6, abs=0.05)


def test_payments_add_up_to_the_cent(olist: Tables) -> None:
    ledger = olist.tables["ledger"]
    assert olist.fetch(ledger.aggregate(spend=ledger.spend.sum()))["spend"].iloc[0] == 239_790_456


def test_the_reviewed_order_cannot_be_explained_by_its_review(olist: Tables) -> None:
    with pytest.raises(LeakageError) as caught:
        link(olist, score="review", outcome="order_value")
    assert caught.value.headline == (
        'A score may explain only money that comes after it: 14,863 of 14,871 amounts of "order_value" are dated '
        "before the answer or on its day."
    )


def test_later_spending_can_be(olist: Tables) -> None:
    linked = link(olist, score="review", outcome="spend")
    assert leaks(linked, olist) == 0
    rows = linked.frame()
    assert len(rows) == olist.counts["ledger"]
    scored = rows.dropna(subset="score")
    assert 0 < len(scored) < 0.01 * len(rows)
    assert rows["outcome"].sum() == pytest.approx(2_397_904.56, abs=0.005)
    assert rows["customer"].nunique() < olist.counts["customers"]


def test_the_id_of_an_order_is_not_taken_for_a_person(tmp_path: Path) -> None:
    text = TEMPLATE.read_text(encoding="utf-8").replace("customer_unique_id AS person", "customer_id AS person")
    tables = opened(tmp_path, text)
    (check,) = [check for check in tables.checks if check.code == "ROX-Q03"]
    assert "does person number orders or contacts rather than people?" in check.sentence()
    events = tables.tables["events"]
    people = events.group_by("customer").aggregate(orders=events.count())
    assert tables.fetch(people.aggregate(again=how_many(people.orders > 1)))["again"].iloc[0] == 0
