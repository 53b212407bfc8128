"""Several contacts answer for an account: they agree in part, and money follows those who weigh more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.core.portfolio import read_portfolio
from rox.core.study import read_study
from rox.linking.load import load
from rox.metrics import account_scores, alerts, measure_tree, metric_tree, nps, read_rules
from rox.simulate import Bank, BankConfig, Intervention, preset, simulate, tables, truth
from rox.simulate.contacts import ContactPanel
from rox.simulate.dials import Role
from rox.simulate.study import write_study

Tables = dict[str, pd.DataFrame]
EXTRACT = pd.Timestamp("2025-12-31")


@pytest.fixture(scope="module")
def panel(business: Bank) -> ContactPanel:
    assert business.panel is not None
    return business.panel


@pytest.fixture(scope="module")
def exports(business: Bank) -> Tables:
    return tables(business, extra=("retests",))


def lasting(bank: Bank, role: int) -> np.ndarray:
    """The mean experience of an account's contacts in a role, beyond that of the account."""
    assert bank.panel is not None
    contacts = bank.panel.contacts
    mine = contacts.role == role
    own = contacts.offset[bank.config.burn_in :, mine].mean(axis=0)
    return np.bincount(contacts.account[mine], own, bank.config.customers) / np.bincount(
        contacts.account[mine], minlength=bank.config.customers
    )


def test_roles_are_filled_as_said_and_weights_add_up(business: Bank, panel: ContactPanel) -> None:
    contacts, roles = panel.contacts, business.config.accounts.roles
    counts = np.zeros((business.config.customers, len(roles)), int)
    np.add.at(counts, (contacts.account, contacts.role), 1)
    for k, role in enumerate(roles):
        assert (counts[:, k].min(), counts[:, k].max()) == (role.least, role.most)
        shares = np.bincount(contacts.account, contacts.weight * (contacts.role == k))
        np.testing.assert_allclose(shares, role.weight, rtol=1e-12)
    assert len(set(contacts.identifier)) == len(contacts.identifier)


def test_the_account_feels_the_role_weighted_mean_of_its_contacts(business: Bank, panel: ContactPanel) -> None:
    pooled = panel.contacts.pooled(panel.experience.astype(float))
    np.testing.assert_allclose(pooled, business.experience, atol=1e-4)
    scored = business.opened
    np.testing.assert_allclose(
        panel.contacts.pooled(panel.score.astype(float))[scored], business.score[scored], atol=1e-4
    )


def test_contacts_of_an_account_agree_in_part(business: Bank, panel: ContactPanel) -> None:
    config, role = business.config.accounts, panel.contacts.role
    felt = panel.experience[20] - np.array([one.experience for one in config.roles])[role]
    by_account = pd.Series(felt).groupby(panel.contacts.account)
    within, size = by_account.var().mean(), len(felt) / business.config.customers
    between = by_account.mean().var() - within / size
    assert within == pytest.approx(config.lasting_sd**2 + config.shock_sd**2, rel=0.08)
    assert 0.55 < between / (between + within) < 0.80
    apart = simulate(preset("b2b", customers=400, accounts={"lasting_sd": 2.5})).panel
    together = simulate(preset("b2b", customers=400, accounts={"lasting_sd": 0.0, "shock_sd": 0.0})).panel
    assert apart is not None
    assert together is not None
    gaps = [
        pd.Series(one.experience[20]).groupby(one.contacts.account).std().mean() for one in (apart, panel, together)
    ]
    assert gaps[0] > gaps[1] > gaps[2] > 0


def test_users_answer_most_and_decide_least(business: Bank, panel: ContactPanel) -> None:
    rates = [
        panel.answered[:, panel.contacts.role == k].sum() / panel.invited[:, panel.contacts.role == k].sum()
        for k in range(3)
    ]
    assert rates[0] > rates[1] > rates[2] > 0.08
    plain = business.score[business.opened].mean()
    assert panel.score[panel.answered].mean() > plain + 0.2


@pytest.mark.parametrize("name", ["balance", "log_survival"])
def test_money_and_exits_follow_who_weighs_more(name: str) -> None:
    """With the shares of two roles exchanged, accounts whose buyer is happier than its user gain."""

    def bank(buyer: float) -> Bank:
        roles = (Role(name="user", weight=1 - buyer), Role(name="buyer", weight=buyer))
        config: BankConfig = preset("b2b", customers=600, accounts={"roles": roles, "lasting_sd": 1.5})
        return simulate(replace(config, traits=replace(config.traits, new_share=0.0)), Intervention(recovery=False))

    light, heavy = bank(0.1), bank(0.9)
    happier_buyer = lasting(light, 1) - lasting(light, 0)
    one, other = (np.log(each.balance[-1]) if name == "balance" else each.log_survival[-1] for each in (light, heavy))
    assert np.corrcoef(other - one, happier_buyer)[0, 1] > 0.5
    np.testing.assert_array_equal(light.market, heavy.market)


def test_one_contact_with_nothing_of_its_own_is_the_customer() -> None:
    """Experience and money are then to the bit those of a bank whose customers answer for themselves."""
    alone = preset("b2b", customers=300, accounts={"roles": (), "lasting_sd": 0.0, "shock_sd": 0.0})
    roles = (Role(name="owner", weight=1.0),)
    cut = Intervention(recovery=False)
    one = simulate(alone, cut)
    other = simulate(preset("b2b", customers=300, accounts={"roles": roles, "lasting_sd": 0.0, "shock_sd": 0.0}), cut)
    assert one.panel is None
    for item in ("experience", "balance", "exit_month", "revenue", "incident"):
        np.testing.assert_array_equal(getattr(one, item), getattr(other, item))


def test_accounts_are_few_large_and_long_lived(business: Bank) -> None:
    retail = preset("cmb")
    aum, tenure = business.aum[business.active], -business.customers.opened[business.customers.opened < 0]
    assert aum.mean() > 1e7
    assert np.median(tenure) > 60
    left = 12 * (business.exit_cause == 1).sum() / business.active.sum()
    assert 0.02 < left < 0.06 < retail.segments[0].voluntary_exit
    assert business.config.population < 10_000


def test_a_sustained_point_lifts_all_contacts_and_the_account(business: Bank) -> None:
    answer = truth(business.config, Intervention(shift=0.5, shift_from=12)).after(12).loc["bank"]
    assert 0.35 < answer["score"] < 0.5
    assert 10 < answer["nps"] < 25
    assert 0.02 < answer["relative_per_point"] < 0.05


def test_contacts_stand_in_a_table_and_in_every_answer(exports: Tables, business: Bank) -> None:
    contacts, answers, invitations = exports["contacts"], exports["answers"], exports["invitations"]
    assert list(contacts.columns) == ["contact_id", "customer_id", "role", "weight"]
    assert contacts["contact_id"].is_unique
    assert set(contacts["customer_id"]) == set(exports["customers"]["customer_id"])
    assert contacts.groupby("customer_id")["weight"].sum().between(0.999, 1.001).all()
    assert list(answers.columns[:5]) == ["answer_id", "invitation_id", "customer_id", "contact_id", "answered"]
    assert list(invitations.columns) == ["invitation_id", "customer_id", "contact_id", "sent", "channel"]
    whose = contacts.set_index("contact_id")["customer_id"]
    for frame in (answers, invitations, exports["retests"]):
        assert (whose.loc[frame["contact_id"]].to_numpy() == frame["customer_id"].to_numpy()).all()
    both = answers.merge(invitations, on="invitation_id", suffixes=("", "_invited"), validate="one_to_one")
    assert (both["contact_id"] == both["contact_id_invited"]).all()
    assert (both["answered"] - both["sent"]).dt.days.between(0, 9).all()
    assert "birth_year" not in exports["customers"]
    assert "death" not in set(exports["exits"]["reason"])
    assert business.panel is not None
    assert len(answers) == business.panel.answered.sum()


def test_nothing_is_dated_outside_the_stay(exports: Tables) -> None:
    stays = exports["customers"][["customer_id", "opened"]].merge(
        exports["exits"][["customer_id", "exited"]], how="left"
    )
    stays = stays.rename(columns={"opened": "since"})
    dated = [("invitations", "sent"), ("answers", "answered"), ("tickets", "opened"), ("tickets", "contacted")]
    for table, column in dated:
        rows = exports[table].dropna(subset=column).merge(stays, on="customer_id")
        assert (rows[column] >= rows["since"]).all(), table
        assert not (rows[column] > rows["exited"]).any(), table
        assert rows[column].le(EXTRACT).all(), table


def test_a_low_answer_of_any_contact_opens_a_ticket_on_its_day(exports: Tables) -> None:
    answers, tickets = exports["answers"], exports["tickets"]
    low = answers[answers["nps"] <= 6].assign(month=lambda rows: rows["answered"].dt.to_period("M"))
    first = low.groupby(["customer_id", "month"])["answered"].min()
    opened = tickets[tickets["source"] == "answer"]
    days = opened.set_index(["customer_id", opened["opened"].dt.to_period("M")])["opened"]
    assert (days == first.loc[days.index]).all()
    months = set(zip(tickets["customer_id"], tickets["opened"].dt.to_period("M"), strict=True))
    assert set(first.index) <= months


def test_a_bank_of_accounts_is_the_same_twice_and_cannot_be_changed(business: Bank, panel: ContactPanel) -> None:
    again = simulate(business.config).panel
    assert again is not None
    for name in ("experience", "score", "answered", "ratings", "retest"):
        assert getattr(panel, name).tobytes() == getattr(again, name).tobytes(), name
    with pytest.raises(ValueError, match="read-only"):
        panel.contacts.weight[0] = 0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of 250 accounts, as the command writes it."""
    folder = tmp_path_factory.mktemp("accounts") / "bank"
    write_study(folder, preset_name="b2b", customers=250)
    return folder


def test_scores_of_accounts_are_those_that_were_planted(written: Path) -> None:
    """Users answer most and are happiest, so answers as they come say more than accounts do."""
    loaded = load(read_study(written / "study.toml"))
    found = account_scores(loaded, "nps")
    bank = simulate(preset("b2b", customers=250))
    panel = bank.panel
    assert panel is not None
    people, points = panel.contacts, 100.0 * (panel.score >= 9) - 100.0 * (panel.score <= 6)

    def over_accounts(counted: np.ndarray) -> float:
        answers = counted.sum(axis=0)
        own = np.divide((points * counted).sum(axis=0), answers, out=np.zeros(answers.size), where=answers > 0)
        part = people.weight * (answers > 0)
        said, held = (np.add.reduceat(each, people.first) for each in (part * own, part))
        return float(np.average((said / np.maximum(held, 1e-9))[held > 0], weights=bank.design_weight[held > 0]))

    value, plain = found.scores.iloc[0]["value"], nps(loaded).iloc[0]["value"]
    assert value == pytest.approx(over_accounts(panel.answered), abs=0.1)
    everybody = over_accounts(panel.invited)
    assert abs(value - everybody) < abs(plain - everybody) / 2
    shares = found.coverage.set_index("metric")["value"]
    assert 0.5 < shares["accounts_decided"] < shares["accounts_heard"] <= 1
    rules = read_rules(written / "alerts.toml", loaded.study)
    assert (alerts(loaded, rules).watched["watched"] > 0).all()
    report = measure_tree(loaded, metric_tree(written / "experience.toml"), (), every="year")
    assert set(report.values["metric"]) == set(report.tree.metrics)


def test_what_people_write_beside_the_tables_can_be_used(written: Path, tmp_path: Path) -> None:
    for name, folder in (("b2b", written), ("small", tmp_path / "small"), ("cmb", tmp_path / "cmb")):
        if not folder.exists():
            write_study(folder, preset_name=name, customers=300)
        study, portfolio = read_study(folder / "study.toml"), read_portfolio(folder / "portfolio.toml")
        assert set(portfolio.cases) == set(study.case_names)
        assert portfolio.broken(portfolio.current(), 0, portfolio.budget.spread.likely) == ()
        assert len(read_rules(folder / "alerts.toml", study)) == 4
        assert metric_tree(folder / "experience.toml").north_star
        assert (folder / "rivals.toml").exists() == (name == "cmb")
