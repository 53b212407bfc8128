"""Who was asked and who answered."""

from __future__ import annotations

import pandas as pd
import pytest

from rox import metrics
from rox.core.errors import DataError
from rox.metrics.responses import response_reasons
from rox.numerics.intervals import wilson_interval


@pytest.fixture
def asked():
    """Forty customers asked twice; one in four answers the first time, nobody the second."""
    people = [f"c{i:02d}" for i in range(40)]
    invitations = pd.DataFrame(
        {
            "key": [f"i{k:02d}" for k in range(80)],
            "customer": people * 2,
            "date": ["2025-01-30"] * 40 + ["2025-04-30"] * 40,
            "channel": ["app"] * 20 + ["sms"] * 20 + ["app"] * 40,
        }
    )
    answers = pd.DataFrame(
        {"customer": people[:10], "date": "2025-02-02", "invitation": [f"i{k:02d}" for k in range(10)], "nps": 9}
    )
    return invitations, answers


def test_answers_are_found_by_the_key_of_the_invitation(few, asked, row):
    invitations, answers = asked
    tables = few(invitations=invitations, answers=answers)
    total = row(metrics.response_rate(tables))
    assert (total["value"], total["n"], total["unit"]) == (10 / 80, 80, "ratio")
    first = row(metrics.response_rate(tables, by=("quarter",)), quarter="2025Q1")
    assert first["value"] == 10 / 40
    assert (first["low"], first["high"]) == pytest.approx(wilson_interval(0.25, 40))
    by_channel = metrics.response_rate(tables, by=("month", "channel"))
    assert row(by_channel, month="2025-01", channel="app")["value"] == 0.5
    assert row(by_channel, month="2025-01", channel="sms")["value"] == 0


def test_without_keys_an_answer_belongs_to_its_customer_and_month(few, asked, row):
    invitations, answers = asked
    tables = few(invitations=invitations, answers=answers.drop(columns="invitation"))
    assert row(metrics.response_rate(tables))["value"] == 0
    timely = few(invitations=invitations, answers=answers.drop(columns="invitation").assign(date="2025-01-31"))
    assert row(metrics.response_rate(timely))["value"] == 10 / 80
    reminded = pd.concat([invitations, invitations[:40]])
    again = few(invitations=reminded, answers=answers.drop(columns="invitation").assign(date="2025-01-31"))
    assert row(metrics.response_rate(again))["n"] == 80


def test_repeated_invitations_of_a_customer_are_clustered(few, asked, row):
    invitations, answers = asked
    twice = pd.concat([answers, answers.assign(invitation=[f"i{k:02d}" for k in range(40, 50)])])
    found = row(metrics.response_rate(few(invitations=invitations, answers=twice)))
    assert found["value"] == 0.25
    assert found["n_eff"] == pytest.approx(40, rel=0.03)


def test_the_chain_counts_every_step(few, asked):
    invitations, answers = asked
    people = pd.DataFrame({"customer": [*invitations["customer"][:40], "never asked"]})
    tables = few(invitations=invitations, answers=answers, customers=people)
    chain = metrics.response_chain(tables)
    assert list(zip(chain["metric"], chain["value"], strict=True)) == [
        ("customers", 41),
        ("customers_invited", 40),
        ("customers_answered", 10),
        ("invitations", 80),
        ("invitations_answered", 10),
        ("answers", 10),
    ]
    assert set(chain["unit"]) == {"count"}
    assert "customers" not in set(metrics.response_chain(tables, by=("quarter",))["metric"])


def test_a_chain_without_invitations_is_shorter(few, asked):
    _, answers = asked
    chain = metrics.response_chain(few(answers=answers.drop(columns="invitation")))
    assert list(chain["metric"]) == ["customers", "customers_answered", "answers"]


def test_repeats_by_hand(few, row):
    who = ["a"] * 3 + ["b"] * 2 + ["c", "d"]
    found = metrics.repeats(few(answers=pd.DataFrame({"customer": who, "date": "2025-01-15", "nps": 9})))
    again = row(found, metric="answered_again")
    assert (again["value"], again["n"]) == (0.5, 4)
    assert (again["low"], again["high"]) == pytest.approx(wilson_interval(0.5, 4))
    assert row(found, metric="answers_each")["value"] == 7 / 4


def test_orders_in_the_place_of_customers_never_repeat(few, row):
    answers = pd.DataFrame({"customer": [f"order{i}" for i in range(50)], "date": "2025-01-15", "nps": 9})
    assert row(metrics.repeats(few(answers=answers)), metric="answered_again")["value"] == 0


def test_response_needs_invitations(few, asked):
    _, answers = asked
    with pytest.raises(DataError, match="needs the table 'invitations'"):
        metrics.response_rate(few(answers=answers.drop(columns="invitation")))


def test_unknown_customers_are_refused(few, asked):
    invitations, answers = asked
    people = pd.DataFrame({"customer": answers["customer"]})
    tables = few(invitations=invitations, answers=answers, customers=people)
    for measure in (metrics.response_rate, metrics.response_chain):
        with pytest.raises(DataError, match="not in the customers table: 60"):
            measure(tables)


@pytest.fixture
def followed(asked, study):
    """Of 40 customers asked first: 5 could not be reached, 10 answered, 12 bounced, 8 got it, 5 began; then none."""
    invitations, answers = asked
    first = invitations[:40].assign(
        status=["answered"] * 10 + ["bounced"] * 12 + ["delivered"] * 8 + ["started"] * 5 + ["eligible"] * 5,
        reason=[None] * 10
        + ["mailbox full"] * 9
        + ["typo"] * 2
        + ["odd"]
        + [None] * 8
        + ["timeout"] * 5
        + ["no phone"] * 5,
    )
    declared = study(min_cell=3)
    steps = declared.tables["invitations"].model_copy(update={"steps": {"bounced": "invited"}})
    declared = declared.model_copy(update={"tables": {**declared.tables, "invitations": steps}})
    return declared, first, answers


def test_steps_between_are_counted_as_the_study_says(few, followed):
    declared, invitations, answers = followed
    chain = metrics.response_chain(few(declared, invitations=invitations, answers=answers))
    assert list(zip(chain["metric"], chain["value"], strict=True)) == [
        ("customers", 40),
        ("customers_eligible", 40),
        ("customers_invited", 35),
        ("customers_delivered", 23),
        ("customers_started", 15),
        ("customers_answered", 10),
        ("invitations", 35),
        ("invitations_delivered", 23),
        ("invitations_started", 15),
        ("invitations_answered", 10),
        ("answers", 10),
    ]


@pytest.mark.parametrize("keyed", [True, False])
def test_what_was_never_sent_is_not_asked(few, followed, row, keyed):
    declared, invitations, answers = followed
    if not keyed:
        invitations, answers = invitations.drop(columns="key"), answers.assign(date="2025-01-31")
        answers = answers.drop(columns="invitation")
    found = row(metrics.response_rate(few(declared, invitations=invitations, answers=answers)))
    assert (found["value"], found["n"]) == (10 / 35, 35)


def test_reasons_that_few_have_are_one_reason(few, followed):
    declared, invitations, answers = followed
    found = response_reasons(few(declared, invitations=invitations, answers=answers))
    assert {tuple(each) for each in found[["stopped", "reason", "value"]].itertuples(index=False)} == {
        ("eligible", "no phone", 5),
        ("invited", "mailbox full", 9),
        ("invited", "other", 3),
        ("delivered", "unknown", 8),
        ("started", "timeout", 5),
    }
    with pytest.raises(DataError, match="Nothing says why"):
        response_reasons(few(declared, invitations=invitations.drop(columns=["status", "reason"]), answers=answers))


def test_a_reason_nobody_else_has_takes_the_next_with_it(few, followed):
    declared, invitations, answers = followed
    invitations = invitations.replace({"reason": {"typo": "mailbox full"}})
    found = response_reasons(few(declared, invitations=invitations, answers=answers))
    assert found.set_index(["stopped", "reason"])["value"].loc["invited"].to_dict() == {"other": 12}


def test_a_step_that_few_ended_at_is_hidden_in_the_chain(few, followed):
    declared, invitations, answers = followed
    about = declared.about.model_copy(update={"min_cell": 6})
    tables = few(declared.model_copy(update={"about": about}), invitations=invitations, answers=answers)
    chain = metrics.response_chain(tables).set_index("metric")["value"]
    hidden = {"customers_eligible", "customers_invited", "customers_started", "invitations_started"}
    assert set(chain.index[chain.isna()]) == hidden
    assert chain["customers_delivered"] == chain["invitations_delivered"] == 23


def test_a_step_hidden_in_one_group_is_not_what_the_others_leave(few, followed, study):
    _, invitations, answers = followed
    status = ["answered"] * 10 + ["started"] * 20 + ["opened"] * 10
    invitations = invitations.assign(status=status, channel=["app"] * 13 + ["sms"] * 17 + ["app"] * 10)
    people = pd.DataFrame({"customer": invitations["customer"], "segment": ["a"] * 13 + ["b"] * 17 + ["a"] * 10})
    tables = few(study(min_cell=5), invitations=invitations, answers=answers, customers=people)
    chain = metrics.response_chain(tables, by=("segment",))
    started = chain[chain["metric"].str.endswith("_started")]
    assert len(started) == 4
    assert started["suppressed"].all()
    assert chain.set_index(["segment", "metric"])["value"]["a", "customers_opened"] == 23
    total = metrics.response_chain(tables).set_index("metric")["value"]
    assert total["customers_started"] == 30


def test_invitations_that_one_customer_left_are_few(few, row, study):
    rows = (
        [(f"c{i}", "answered") for i in range(30)] + [("c0", "started")] * 20 + [(f"d{i}", "opened") for i in range(9)]
    )
    invitations = pd.DataFrame(rows, columns=["customer", "status"]).assign(date="2025-01-30")
    invitations["key"] = [f"i{k}" for k in range(len(rows))]
    answers = invitations[:30].rename(columns={"key": "invitation"}).drop(columns="status").assign(nps=9)
    chain = metrics.response_chain(few(study(min_cell=5), invitations=invitations, answers=answers))
    assert row(chain, metric="invitations_started")["suppressed"]
    assert row(chain, metric="invitations_opened")["value"] == 59
    assert row(chain, metric="customers_started")["value"] == 30
