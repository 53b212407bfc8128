"""A new form of account opening: exact where a lot chose it, loud where nobody drew lots, and each person once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import DataError, FitError
from rox.core.linked import Linked, month_index
from rox.core.units import Dose, Unit
from rox.models.funnel_starters import starters
from rox.models.funnel_uplift import FunnelUplift
from rox.simulate import funnel_truth, open_accounts, preset
from rox.simulate.funnel import _mix_by_month
from rox.simulate.funnel_dials import STEPS
from rox.testing import linked_from_frame
from rox.valuation.value import value
from tests.models.conftest import check
from tests.valuation.conftest import case_of, said

PANEL = pd.DataFrame({"customer": [0, 1], "month": month_index(2025, 12), "outcome": [1.0, 2.0]})


@dataclasses.dataclass(frozen=True)
class Rows:
    """Hands applicants over as they are, without an engine."""

    applicants: pd.DataFrame

    def records(self, data, name, months):
        return self.applicants


def linked(applicants: pd.DataFrame, panel: pd.DataFrame = PANEL) -> Linked:
    return dataclasses.replace(linked_from_frame(panel), views=Rows(applicants))


def simulated(seed: int, **dials) -> pd.DataFrame:
    """What a simulated bank hands over, by role."""
    table = open_accounts(preset("cmb", seed=seed, **({"funnel": dials} if dials else {}))).table()
    roles = table.rename(columns={"started": "date", "aum_90": "amount"}).drop(columns=["month", "applicant_id"])
    return roles.assign(date=pd.to_datetime(roles["date"]))


def truth(first: int, last: int, *, promotion: bool = True) -> pd.Series:
    """The form's effect in the mean mix of some months."""
    config = preset("cmb")
    mix = _mix_by_month(config)[first:last].mean(0)
    names = [channel.name for channel in config.funnel.channels]
    return funnel_truth(config, mix=dict(zip(names, mix, strict=True)), promotion=promotion).loc["all"]


def small(n: int = 4000, *, seed: int = 1, lot: bool = True, **columns) -> pd.DataFrame:
    """Starters of 2025 with an old form that one in four passes and a new one that two in five do."""
    rng = np.random.default_rng(seed)
    day = rng.integers(0, 240, n)
    new = rng.random(n) < 0.5 if lot else day >= 120
    funded = rng.random(n) < np.where(new, 0.40, 0.25)
    reached = np.where(funded, 2, rng.integers(0, 2, n))
    return pd.DataFrame(
        {
            "date": pd.Timestamp("2025-01-01") + pd.to_timedelta(day, unit="D"),
            "channel": rng.choice(["app", "web"], n),
            "device": "phone",
            "variant": np.where(new, "new", "old"),
            "assigned": "lot" if lot else "all",
            "reached": reached,
            "funded": funded.astype(int),
            "amount": np.where(funded, np.where(new, 800.0, 1000.0), 0.0),
        }
        | columns
    )


@pytest.fixture(scope="module")
def bank() -> Effect:
    """One simulated bank, by lot, through the engine."""
    data = linked_from_frame(PANEL, records={"applicants": simulated(3)})
    return FunnelUplift(steps=STEPS).fit(data, rng=1)


class TestLot:
    def test_declares_money_per_starter_that_belongs_to_account_opening(self, bank):
        estimand = bank.estimand
        assert (estimand.unit, estimand.currency, estimand.dose) == (Unit.MONEY_PER_CUSTOMER, "CNY", Dose.INITIATIVE)
        assert (estimand.horizon, estimand.channels) == (3, {"acquisition"})
        assert bank.groups == ("all",)
        assert bank.grade is Grade.A
        assert np.isnan(bank.baseline.loc["all", "exit_hazard"])
        assert [step.name for step in bank.trail] == ["frame", "attempts", "followed", "compared"]
        assert bank.counts["old_form"] + bank.counts["new_form"] == bank.counts["starters"]

    def test_is_near_the_truth_where_before_and_after_is_far(self, bank):
        mix, exact = bank.tables["mix"], truth(24, 36)
        row, error = mix.loc["transported"], bank.tables["steps"].loc["all", "se"]
        assert row["points"] == pytest.approx(exact["points"], abs=3 * error)
        assert error < 1.5
        assert row["relative_low"] < row["relative"] < row["relative_high"]
        assert mix.loc["before_after", "relative"] > 2 * 100 * exact["relative"]
        assert mix.loc["mix_standardised", "relative"] < mix.loc["before_after", "relative"] - 10
        assert abs(mix.loc["mantel_haenszel", "relative"] - mix.loc["by_lot", "relative"]) < 3
        gain = bank.summary().iloc[-1]
        assert gain["mean"] == pytest.approx(exact["aum_new"] - exact["aum_old"], abs=3 * gain["sd"])

    def test_steps_and_parts_add_up(self, bank):
        for name in ("steps", "parts"):
            table = bank.tables[name]["points"]
            assert table.drop("all").sum() == pytest.approx(table["all"], abs=1e-10)
        steps, conversion = bank.tables["steps"], bank.tables["conversion"]
        assert list(steps.index) == [*STEPS, "all"]
        assert steps.loc["all", "points"] == pytest.approx(conversion.loc["funded", "points"])
        assert steps["relative"].drop("all").sum() == pytest.approx(conversion.loc["funded", "relative"])
        for form in ("old", "new"):
            product = 100 * (steps[form].drop("all") / 100).prod()
            assert product == pytest.approx(conversion.loc["funded", form])

    def test_the_improved_steps_are_found(self, bank):
        points = bank.tables["steps"].drop("all")
        assert set(points["points"].nlargest(2).index) == {"identity", "documents"}
        assert (points.drop(["identity", "documents"])["points"].abs() < 3 * points["se"].median()).all()

    def test_draws_are_of_the_transported_difference(self, bank):
        assert bank.tables["rivals"].index[0] == "transported"
        row = bank.tables["rivals"].loc["transported"]
        assert bank.draws.mean() == pytest.approx(row["estimate"], abs=4 * row["se"] / 4000**0.5)
        assert bank.draws.std() == pytest.approx(row["se"], rel=0.05)

    def test_says_both_ways_at_once(self):
        effect = FunnelUplift().fit(linked(small(40_000, seed=4)), rng=1)
        said_so = check(effect, "ROX-F01").sentence()
        assert "relative = 0.25→0.40 (+1" in said_so
        assert " pp)" in said_so

    def test_an_extra_opener_is_told_from_the_mean_one(self):
        """The new form opens 3 in 20 more accounts, and all its accounts hold 800 instead of 1000."""
        table = FunnelUplift().fit(linked(small(40_000, seed=4)), rng=1).tables["value"]
        assert table.loc["opener_old", "estimate"] == pytest.approx(1000)
        assert table.loc["opener_extra", "low"] < (0.40 * 800 - 0.25 * 1000) / 0.15 < table.loc["opener_extra", "high"]
        assert table.loc["opener_extra", "high"] < 800

    def test_a_broken_lot_is_refused_unless_it_was_declared(self):
        rows = small(seed=2)
        missing = rows[(rows["variant"] == "old") | (np.arange(len(rows)) % 5 > 0)]
        with pytest.raises(FitError, match="ROX-F02"):
            FunnelUplift().fit(linked(missing), rng=1)
        told = FunnelUplift(lot_share=0.4 / 0.9).fit(linked(missing), rng=1)
        assert check(told, "ROX-F02").verdict is Verdict.PASS

    def test_a_lot_that_differs_between_channels_loses_its_grade(self):
        rows = small(8000, seed=2)
        keep = np.random.default_rng(1).random(8000) < np.where(
            (rows["channel"] == "app") == (rows["variant"] == "new"), 1, 0.7
        )
        effect = FunnelUplift().fit(linked(rows[keep]), rng=1)
        assert check(effect, "ROX-F03").verdict is Verdict.DEMOTE
        assert effect.grade is Grade.B

    def test_channels_that_the_lot_never_saw_lower_the_grade(self):
        rows = small(seed=2)
        other = small(1500, seed=3, lot=False, channel="branch", variant="old")
        effect = FunnelUplift().fit(linked(pd.concat([rows, other])), rng=1)
        assert check(effect, "ROX-F12").verdict is Verdict.DEMOTE
        assert effect.grade is Grade.B

    def test_percentage_points_are_another_estimand(self):
        effect = FunnelUplift(outcome="funded").fit(linked(small().drop(columns="amount")), rng=1)
        assert effect.estimand.unit is Unit.PERCENTAGE_POINT
        assert effect.draws.mean() == pytest.approx(effect.tables["conversion"].loc["funded", "points"], abs=0.1)
        with pytest.raises(FitError, match="no amounts"):
            FunnelUplift().fit(linked(small().drop(columns="amount")), rng=1)

    def test_money_unknown_for_one_form_lowers_the_grade(self):
        rows = small()
        rows.loc[(rows["variant"] == "new") & (np.arange(len(rows)) % 10 == 0), "amount"] = np.nan
        rows.loc[rows["funded"] == 0, "amount"] = 0.0
        effect = FunnelUplift().fit(linked(rows), rng=1)
        assert check(effect, "ROX-F13").verdict is Verdict.DEMOTE
        assert effect.tables["value"].loc["starter_new", "estimate"] == pytest.approx(
            800 * effect.tables["conversion"].loc["funded", "new"] / 100
        )


class TestWithoutLot:
    def test_is_grade_d_and_says_why(self):
        rows = simulated(3).assign(assigned="all")
        effect = FunnelUplift(steps=STEPS).fit(linked(rows), rng=1)
        assert effect.grade is Grade.D
        assert check(effect, "ROX-F04").verdict is Verdict.DEMOTE
        assert check(effect, "ROX-F18").values["old_last"] < check(effect, "ROX-F18").values["new_first"]
        assert set(effect.tables["mix"].index) == {"before_after", "mix_standardised"}
        by_choice = FunnelUplift(design="before_after", steps=STEPS).fit(linked(simulated(3)), rng=1)
        assert by_choice.grade is Grade.D
        assert by_choice.tables["rivals"].loc["mix_standardised", "estimate"] == pytest.approx(
            effect.tables["rivals"].loc["mix_standardised", "estimate"]
        )

    def test_a_pure_change_of_mix_is_no_effect(self):
        rng = np.random.default_rng(5)
        n = 20_000
        day = rng.integers(0, 240, n)
        late = day >= 120
        app = rng.random(n) < np.where(late, 0.8, 0.3)
        funded = (rng.random(n) < np.where(app, 0.5, 0.2)).astype(int)
        rows = small(n, lot=False).assign(
            date=pd.Timestamp("2025-01-01") + pd.to_timedelta(day, unit="D"),
            variant=np.where(late, "new", "old"),
            channel=np.where(app, "app", "web"),
            funded=funded,
            reached=2 * funded,
            amount=100.0 * funded,
        )
        effect = FunnelUplift().fit(linked(rows), rng=1)
        mix = effect.tables["mix"]
        assert mix.loc["before_after", "points"] > 12
        assert mix.loc["mix_standardised", "points_low"] < 0 < mix.loc["mix_standardised", "points_high"]
        parts = effect.tables["parts"]["points"]
        assert parts["channel"] == pytest.approx(15, abs=1.5)
        assert abs(parts["rate"]) < 1.5


class TestTime:
    def test_who_had_no_time_does_not_count_and_the_wrong_figure_is_shown(self, bank):
        found = check(bank, "ROX-F05")
        table = bank.tables["censoring"]
        assert found.verdict is Verdict.NOTE
        assert found.values["dropped"] == table.loc["everyone", "starters"] - table.loc["counted", "starters"] > 4000
        assert table.loc["everyone", "new"] < table.loc["counted", "new"]
        assert found.values["wrong"] < found.values["right"] - 3

    def test_the_last_day_that_counts_is_exact(self):
        rows = small(400)
        rows["date"] = pd.Timestamp("2025-10-02")
        rows.loc[:99, "date"] = pd.Timestamp("2025-10-03")
        made = starters(linked(rows), days=90, retry_days=30)
        assert made.rows["followed"].sum() == 300
        assert starters(linked(rows), days=89, retry_days=30).rows["followed"].all()


class TestPeople:
    def test_a_person_counts_once_at_the_first_attempt(self):
        rows = pd.DataFrame(
            {
                "date": pd.to_datetime(["2025-03-10", "2025-03-01", "2025-03-01", "2025-06-01", "2025-04-01"]),
                "person": [1, 1, 2, 2, 3],
                "channel": ["app", "web", "web", "app", "web"],
                "variant": ["new", "old", "old", "new", "new"],
                "assigned": "lot",
                "reached": [2, 1, 0, 2, 1],
                "funded": [1, 0, 0, 1, 0],
                "amount": [70.0, 0.0, 0.0, 50.0, 0.0],
            }
        )
        made = starters(linked(rows), days=90, retry_days=30)
        found = made.rows.sort_values("date", ignore_index=True)
        assert found["funded"].tolist() == [1, 0, 0]
        assert found["amount"].tolist() == [70, 0, 0]
        assert found["channel"].tolist() == ["web", "web", "web"]
        assert found["new"].tolist() == [False, False, True]
        assert (made.repeated, made.crossed, made.window) == (2, 1, 120)

    def test_repeated_attempts_change_nothing_once_persons_are_named(self):
        """Who fails tries again: as attempts the share with an account is far too low."""
        rows = small(6000, seed=6).assign(person=np.arange(6000))
        again = rows[rows["funded"] == 0].assign(date=lambda t: t["date"] + pd.Timedelta(days=3))
        both = pd.concat([rows, again], ignore_index=True)
        once, named = (FunnelUplift().fit(linked(each), rng=1) for each in (rows, both))
        assert named.tables["conversion"].equals(once.tables["conversion"])
        assert check(named, "ROX-F06").values["repeated"] == len(again)
        unnamed = FunnelUplift().fit(linked(both.drop(columns="person")), rng=1)
        assert unnamed.tables["conversion"].loc["funded", "old"] < named.tables["conversion"].loc["funded", "old"] - 8
        assert check(unnamed, "ROX-F07").verdict is Verdict.NOTE


class TestBank:
    def test_openings_of_the_whole_bank_are_put_beside_the_funnel(self):
        months = month_index(2025, 1) + np.arange(8)
        opened = np.repeat(months, 50)
        panel = pd.DataFrame(
            {"customer": np.arange(400), "month": month_index(2025, 9), "outcome": 1.0, "opened": opened.astype(float)}
        )
        found = check(FunnelUplift().fit(linked(small(lot=False), panel), rng=1), "ROX-F10")
        assert (found.values["before"], found.values["after"], found.values["bank"]) == (50, 50, 0)
        assert found.values["here"] > 20
        assert check(FunnelUplift().fit(linked(small(lot=False)), rng=1), "ROX-F11").verdict is Verdict.NOTE

    def test_the_effect_is_priced_in_its_own_channel(self):
        effect = dataclasses.replace(FunnelUplift().fit(linked(small()), rng=1), name="uplift")
        case = case_of(people={"all": said(value=5000)}, balance={"all": said(value=0)})
        more = value(effect, case, draws=200, rng=1)
        assert more.headline["npv"] != 0
        twice = case_of(
            people={"all": said(value=5000)},
            balance={"all": said(value=0)},
            benefits={"new": said(value=1, months=[1], label="New", channel="acquisition")},
        )
        with pytest.raises(Exception, match=r"ROX-V01.*acquisition"):
            value(effect, twice, draws=200, rng=1)


class TestRefusals:
    def test_all_faults_of_the_rows_are_told_together(self):
        rows = small(100)
        rows.loc[0, "variant"], rows.loc[1, "reached"] = "third", -1
        with pytest.raises(DataError, match=r"(?s)variant.*'third'.*reached"):
            FunnelUplift().fit(linked(rows), rng=1)
        with pytest.raises(DataError, match=r"variant: missing"):
            FunnelUplift().fit(linked(small(100).drop(columns="variant")), rng=1)

    def test_too_few_starters_are_refused(self):
        with pytest.raises(FitError, match=r"needed: 30"):
            FunnelUplift().fit(linked(small(40)), rng=1)

    def test_choices_that_do_not_fit_are_refused(self):
        with pytest.raises(FitError, match=r"(?s)design.*days.*lot_share"):
            FunnelUplift(design="other", days=0, lot_share=1.5)  # type: ignore[arg-type]
        with pytest.raises(FitError, match="names 3 steps, the applicants pass 2"):
            FunnelUplift(steps=("a", "b", "c")).fit(linked(small()), rng=1)


def test_the_answer_depends_neither_on_order_nor_on_the_currency_unit():
    rows = small(seed=8).assign(person=np.arange(4000) // 2)
    plain = FunnelUplift().fit(linked(rows), rng=1)
    shuffled = FunnelUplift().fit(linked(rows.sample(frac=1, random_state=1)), rng=1)
    rescaled = FunnelUplift().fit(linked(rows.assign(amount=100 * rows["amount"])), rng=1)
    assert shuffled.draws == pytest.approx(plain.draws, rel=1e-9)
    assert rescaled.draws == pytest.approx(100 * plain.draws, rel=1e-9)


def test_the_lot_is_not_biased_and_covers_the_truth_as_often_as_it_says():
    exact, found, covered = truth(24, 27)["points"], [], []
    for seed in range(25):
        rows = simulated(seed, applicants=8_000)
        effect = FunnelUplift(draws=100).fit(linked(rows[rows["assigned"] == "lot"]), rng=1)
        row = effect.tables["mix"].loc["by_lot"]
        assert "before_after" not in effect.tables["mix"].index
        found.append(row["points"])
        covered.append(row["points_low"] < exact < row["points_high"])
    assert np.mean(found) == pytest.approx(exact, abs=3 * np.std(found, ddof=1) / len(found) ** 0.5)
    assert np.mean(covered) >= 0.7


def test_every_sentence_can_be_said_in_both_languages(bank):
    for each in bank.checks:
        assert each.sentence("en")
        assert each.sentence("zh")
