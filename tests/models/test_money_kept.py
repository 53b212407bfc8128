"""Money kept: the sums of survival curves by hand, money that leaves with the poor, and what it is compared with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Grade
from rox.core.effect import Effect
from rox.core.errors import FitError, UnitError
from rox.core.estimand import Question
from rox.core.units import Dose, Unit
from rox.models.churn_cox import ChurnCox
from rox.models.churn_hazard import estimand_of
from rox.models.hazard_cells import people_of, usable_census
from rox.models.money_kept import money_kept
from rox.numerics.retained import retained
from rox.testing import linked_from_frame
from tests.models.conftest import START, check, leaving_panel, linked_from


def exiting_panel(customers: int, months: int, hazards: dict[str, float], *, other: float = 0.0, seed: int = 1):
    """Customer-months of customers with 100 or 1,000 of money, who leave at a hazard by what they hold.

    Args:
        customers: Number, half of each wealth.
        months: Window.
        hazards: Monthly hazard of leaving by choice, ``poor`` and ``rich``.
        other: Hazard of other exits.
        seed: Of the exits.
    """
    rng = np.random.default_rng(seed)
    rich = np.arange(customers) % 2 == 0
    hazard = np.where(rich, hazards["rich"], hazards["poor"])
    gone = rng.exponential(1 / (hazard + other)).astype(int)
    chosen = rng.random(customers) < hazard / (hazard + other)
    last = np.minimum(gone, months - 1)
    rows = pd.DataFrame({"customer": np.repeat(np.arange(customers), last + 1)})
    rows["month"] = START + rows.groupby("customer").cumcount()
    who = rows["customer"].to_numpy()
    left = np.where(gone < months, START + gone, np.nan)
    return rows.assign(
        outcome=np.where(rich, 1000.0, 100.0)[who],
        opened=np.nan,
        exit_month=left[who],
        voluntary=(chosen & (gone < months))[who],
        weight=np.where(rich, 10.0, 30.0)[who],
        score=np.where(rows["month"] > START, 7.0, np.nan),
        score_age=np.where(rows["month"] > START, 1.0, np.nan),
    )


def effect_of(data, mean: float, sd: float = 0.0, draws: int = 400) -> Effect:
    census = usable_census(data)
    groups = tuple(str(each) for each in census.segments.index)
    people = people_of(census, groups)
    column = np.random.default_rng(1).normal(mean, sd, draws)
    return Effect(
        name="churn",
        estimand=estimand_of(data, people),
        groups=groups,
        draws=np.repeat(column[:, None], len(groups), axis=1),
        shares=people.shares,
        baseline=people.baseline,
        grade=Grade.D,
        specification="given",
        fingerprint=data.fingerprint,
    )


@pytest.fixture(scope="module")
def uneven():
    """The poor leave four times as fast as the rich."""
    return linked_from(exiting_panel(6000, 24, {"poor": 0.04, "rich": 0.01}, other=0.005))


class TestIdentity:
    def test_one_pattern_is_the_formula(self):
        """Everybody alike: 1 − S by hand from exits over months at risk."""
        data = linked_from(exiting_panel(3000, 20, {"poor": 0.02, "rich": 0.02}).assign(outcome=500.0))
        found = money_kept(effect_of(data, -0.3), data, horizon=6, rng=1)
        panel = data.panel
        later = panel[panel["month"] > START]
        exits = (later["exit_month"] == later["month"]).sum()
        hazard = -np.log1p(-exits / len(later))
        kept = np.exp(-6 * hazard * np.exp(-0.3)) - np.exp(-6 * hazard)
        assert found.overall.mean() == pytest.approx(500 * kept, rel=0.01)
        assert found.tables["kept"]["money_kept"].iloc[0] == pytest.approx(
            found.tables["kept"]["money_by_heads"].iloc[0], rel=1e-9
        )

    def test_two_patterns_are_the_g_formula(self, uneven):
        found = money_kept(effect_of(uneven, -0.3), uneven, horizon=12, rng=1)
        now = uneven.panel[uneven.panel["month"] == START + 23]
        now = now[now["exit_month"] != now["month"]]
        by = now.groupby(now["outcome"] > 500)["weight"].sum()
        exact = retained(
            [-0.3],
            np.ones((1, 12)),
            np.ones(12),
            hazard_other=np.full((1, 12), 0.005),
            customers=by.to_numpy(),
            predictor=np.log([0.04, 0.01]),
            money=[100.0, 1000.0],
        )
        assert found.overall.mean() == pytest.approx(float(exact.money_retained[0, 0, -1]) / by.sum(), rel=0.08)
        table = found.tables["kept"].iloc[0]
        assert table["customers"] == pytest.approx(by.sum())
        assert table["customers_kept"] == pytest.approx(float(exact.customers_retained[0, 0, -1]), rel=0.06)
        assert table["months_kept"] == pytest.approx(float(exact.months_gained[0, 0, -1]), rel=0.06)

    def test_the_poor_leave_and_heads_overstate(self, uneven):
        found = money_kept(effect_of(uneven, -0.3), uneven, rng=1)
        table = found.tables["kept"].iloc[0]
        assert table["money_by_heads"] > 1.3 * table["money_kept"]
        said = check(found, "ROX-S21").values
        assert said["times"] == pytest.approx(table["money_by_heads"] / table["money_kept"], rel=0.01)
        assert table["money_of_kept"] == pytest.approx(table["money_kept"] / table["customers_kept"])

    def test_other_exits_compete(self):
        few, many = (
            linked_from(exiting_panel(6000, 24, {"poor": 0.02, "rich": 0.02}, other=other)) for other in (0.0, 0.04)
        )
        one, other = (money_kept(effect_of(each, -0.3), each, rng=1).tables["kept"].iloc[0] for each in (few, many))
        ratio = (other["customers_kept"] / other["customers"]) / (one["customers_kept"] / one["customers"])
        assert ratio == pytest.approx(np.exp(-12 * 0.04), rel=0.12)


class TestEffect:
    def test_declares_what_it_is(self, sample):
        churn = ChurnCox().fit(sample, rng=1)
        found = money_kept(churn, sample, horizon=9, rng=1)
        estimand = found.estimand
        assert (estimand.question, estimand.dose, estimand.unit) == (
            Question.SUSTAINED,
            Dose.SCORE_POINT,
            Unit.MONEY_PER_CUSTOMER,
        )
        assert estimand.includes_exit
        assert estimand.channels == {"retention"}
        assert estimand.horizon == 9
        assert found.grade is churn.grade
        assert found.path_months == tuple(range(10))
        assert (found.path[:, :, 0] == 0).all()
        assert found.path[:, :, -1] == pytest.approx(found.draws)
        assert (np.diff(found.path.mean(axis=0), axis=1) > 0).all()
        assert {"ROX-S05", "ROX-S21"} <= {each.code for each in found.checks}
        assert all(each.sentence(language) for each in found.checks for language in ("en", "zh"))
        assert set(found.tables["kept"].index) == {"gold", "mass", "all"}

    def test_survives_saving(self, sample, tmp_path):
        found = money_kept(ChurnCox().fit(sample, rng=1), sample, rng=1)
        again = Effect.load(found.save(tmp_path / "kept.npz"))
        assert np.array_equal(again.draws, found.draws)
        assert again.as_record() == found.as_record()

    def test_draws_hold_both_errors(self, sample):
        churn = ChurnCox().fit(sample, rng=1)
        sure = money_kept(effect_of(sample, float(churn.overall.mean()), draws=4000), sample, rng=1)
        full = money_kept(churn, sample, rng=1)
        apart = money_kept(
            effect_of(sample, float(churn.overall.mean()), float(churn.overall.std()), 4000), sample, rng=1
        )
        assert 0 < sure.overall.std() < 0.5 * full.overall.std()
        assert apart.overall.std() == pytest.approx(full.overall.std(), rel=0.1)
        table = full.tables["kept"].loc["all"]
        relative = np.log(table["leaving_high"] / table["leaving_low"]) / 3.29
        exits = read_exits(sample)
        assert relative == pytest.approx(1 / np.sqrt(exits), rel=0.5)

    def test_small_steps_add_up_to_the_slope(self, sample):
        churn = effect_of(sample, -0.25)
        small, one, large = (money_kept(churn, sample, points=points, rng=1).overall.mean() for points in (0.01, 1, 3))
        assert large < one < small
        assert one == pytest.approx(small, rel=0.15)

    def test_another_currency_and_other_buckets_change_nothing(self, sample):
        churn = effect_of(sample, -0.25)
        one = money_kept(churn, sample, rng=1)
        cents = linked_from_frame(sample.panel.assign(outcome=sample.panel["outcome"] * 100), controls=("products",))
        assert money_kept(churn, cents, rng=1).overall == pytest.approx(100 * one.overall, rel=1e-6)

    def test_what_cannot_be_turned_into_money_is_refused(self, sample):
        churn = effect_of(sample, -0.25)
        with pytest.raises(FitError, match=r"points is 0(.|\n)*horizon is 0"):
            money_kept(churn, sample, points=0, horizon=0)
        with pytest.raises(UnitError, match="log hazard ratio per score point"):
            money_kept(money_kept(churn, sample, rng=1), sample)
        frame = leaving_panel(500, 20, seed=1, log_ratio=-0.2)
        counted = linked_from(frame, kind="count")
        with pytest.raises(UnitError, match="is a count"):
            money_kept(churn, counted)
        with pytest.raises(FitError, match="segments are not in the panel"):
            money_kept(churn, linked_from(frame))
        silent = linked_from(frame.assign(voluntary=False))
        with pytest.raises(FitError, match="Nobody has left by own choice"):
            money_kept(effect_of(silent, -0.25), silent)


def read_exits(data) -> int:
    final = data.panel.drop_duplicates("customer", keep="last")
    return int((final["voluntary"] & (final["exit_month"] <= data.panel["month"].max())).sum())
