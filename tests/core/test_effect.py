"""Effects: they hold together, survive a round trip, convert only through a measured shift."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.errors import DataError, UnitError
from rox.core.estimand import Estimand, Question
from rox.core.linked import Step
from rox.core.units import Dose, Unit, require_unit_of_claim

ESTIMAND = Estimand(
    question=Question.SUSTAINED,
    population="customers at 2024-01",
    treatment="score one point higher",
    dose=Dose.SCORE_POINT,
    outcome="aum",
    unit=Unit.MONEY_PER_CUSTOMER,
    currency="CNY",
    horizon=12,
    window=(6, 12),
    includes_exit=False,
    channels=frozenset({"expansion"}),
)


@pytest.fixture
def effect() -> Effect:
    """An effect of two segments with everything filled in."""
    rng = np.random.default_rng(0)
    return Effect(
        name="panel",
        estimand=ESTIMAND,
        groups=("mass", "gold"),
        draws=rng.normal([1000, 3000], [100, 500], (400, 2)),
        shares=np.array([0.9, 0.1]),
        baseline=pd.DataFrame(
            {"customers": [900.0, 100.0], "money": [6e3, 9e4], "exit_hazard": [0.01, np.nan]}, index=["mass", "gold"]
        ),
        grade=Grade.D,
        checks=(Check(code="ROX-V03", verdict=Verdict.NOTE, values={"draws": 5, "share": 9.5}, to_grade=Grade.C),),
        specification="PanelFE()",
        trail=(Step(name="answers", rows=10, lost=2, customers=5, reason="input.year"),),
        fingerprint="abc",
        counts={"rows": 10},
        path=rng.normal(size=(400, 2, 3)),
        path_months=(-1, 0, 1),
        tables={"units": pd.DataFrame({"a": [1.5, np.nan]}, index=["x", "y"])},
        shift=rng.normal(36, 1, 300),
    )


def test_an_effect_is_the_same_after_saving_and_loading(effect: Effect, tmp_path: Path) -> None:
    again = Effect.load(effect.save(tmp_path / "panel.npz"))
    for name in ("draws", "shares", "path", "shift"):
        np.testing.assert_array_equal(getattr(again, name), getattr(effect, name))
    for name in (
        "name",
        "estimand",
        "groups",
        "grade",
        "checks",
        "specification",
        "trail",
        "fingerprint",
        "path_months",
    ):
        assert getattr(again, name) == getattr(effect, name)
    pd.testing.assert_frame_equal(again.baseline, effect.baseline)
    pd.testing.assert_frame_equal(again.tables["units"], effect.tables["units"])
    assert dict(again.counts) == dict(effect.counts)


def test_what_is_not_an_effect_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("no")
    with pytest.raises(DataError, match="not an effect"):
        Effect.load(tmp_path / "x.npz")
    with pytest.raises(DataError, match="There is no effect"):
        Effect.load(tmp_path / "y.npz")


def test_draws_cannot_be_changed(effect: Effect) -> None:
    with pytest.raises(ValueError, match="read-only"):
        effect.draws[0, 0] = 1


def test_all_that_does_not_hold_together_is_said_at_once(effect: Effect) -> None:
    with pytest.raises(DataError) as caught:
        replace(effect, draws=np.full((50, 2), np.nan), shares=np.array([0.5, 0.6]), path_months=(1, 2))
    text = "\n".join(caught.value.faults)
    for part in ("at least 100", "NaN", "sum to one", "path has shape"):
        assert part in text


def test_summary_agrees_with_the_draws(effect: Effect) -> None:
    table = effect.summary(level=0.8)
    assert table.loc["mass", "mean"] == pytest.approx(effect.draws[:, 0].mean())
    assert table.loc["all", "mean"] == pytest.approx((effect.draws @ [0.9, 0.1]).mean())
    assert table.loc["gold", "low"] == pytest.approx(np.quantile(effect.draws[:, 1], 0.1))


def test_a_score_point_is_worth_many_nps_points(effect: Effect) -> None:
    restated = effect.per_nps_point(rng=1)
    assert restated.estimand.dose is Dose.NPS_POINT
    assert effect.draws.mean() / restated.draws.mean() == pytest.approx(36, rel=0.02)
    assert restated.grade is Grade.E
    with pytest.raises(UnitError, match="per nps_point"):
        restated.per_nps_point()
    with pytest.raises(UnitError, match="No category shift"):
        replace(effect, shift=None).per_nps_point()


def test_different_quantities_do_not_go_together() -> None:
    other = replace(ESTIMAND, dose=Dose.NPS_POINT, horizon=24)
    with pytest.raises(UnitError, match=r"ROX-U02.*differing in dose, horizon"):
        ESTIMAND.require_same(other)
    ESTIMAND.require_same(replace(ESTIMAND))


def test_money_needs_a_currency_and_nothing_else_has_one() -> None:
    with pytest.raises(UnitError, match="needs a currency"):
        replace(ESTIMAND, currency="")
    with pytest.raises(UnitError, match="has no currency"):
        replace(ESTIMAND, unit=Unit.RATIO)


@pytest.mark.parametrize("dose", [None, "nps", "initiative"])
def test_a_claim_without_a_unit_is_refused(dose: str | None) -> None:
    with pytest.raises(UnitError, match="ROX-U01"):
        require_unit_of_claim(10_000, dose)


def test_a_claim_with_a_unit_is_taken() -> None:
    assert require_unit_of_claim(10_000, "nps_point") is Dose.NPS_POINT


def test_checks_lower_the_grade_and_never_raise_it() -> None:
    lower = Check(code="ROX-V03", verdict=Verdict.DEMOTE)
    ceiling = Check(code="ROX-V03", verdict=Verdict.DEMOTE, to_grade=Grade.C)
    assert grade_after(Grade.B, [lower]) is Grade.C
    assert grade_after(Grade.B, [ceiling]) is Grade.C
    assert grade_after(Grade.D, [ceiling]) is Grade.D
    assert grade_after(Grade.B, [lower] * 9) is Grade.E
    assert grade_after(Grade.B, [Check(code="ROX-V03", verdict=Verdict.NOTE)]) is Grade.B
