"""Frozen questions asked again of newer tables: what counts, what is shown, and what is refused."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from rox.core.backtest import Backtest
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.forecast import Forecast
from rox.review import backtest_again
from rox.review.backtest import backtest
from rox.review.backtest_actuals import Actuals
from rox.review.backtest_again import estimate_again
from rox.review.backtest_freeze import freeze
from tests.review.recorded import effect_of, recorded, study_of


@pytest.fixture
def frozen(tmp_path: Path) -> Forecast:
    """A forecast frozen in January 2026."""
    path = recorded(tmp_path / "run", None, effect_of(specification="LeadLag()"))
    return freeze(path, into=tmp_path / "f", on=dt.date(2026, 1, 15), team="t", owner="o")


def again(
    frozen: Forecast, monkeypatch: pytest.MonkeyPatch, newer: Effect | FitError, start: int = 12 * 2026 + 6
) -> Backtest:
    """Ask again where tables, link and estimator are stood in for."""

    def fit(data: object, *, rng: object) -> Effect:
        assert rng == frozen.seed
        if isinstance(newer, FitError):
            raise newer
        return newer

    data = SimpleNamespace(starts=pd.DataFrame({"start": [start]}), money_months=(12 * 2023, 12 * 2026 + 11))
    asked = SimpleNamespace(estimator=lambda: SimpleNamespace(fit=fit))
    monkeypatch.setattr(backtest_again, "read_study", lambda path: study_of("2027-06-30"))
    monkeypatch.setattr(backtest_again, "load", lambda study: None)
    monkeypatch.setattr(backtest_again, "link", lambda tables, *, score, outcome: data)
    monkeypatch.setattr(backtest_again, "read_specification", lambda text: asked)
    return backtest([frozen], Actuals(), again=estimate_again([frozen], "newer/study.toml"))


def test_starts_after_the_freezing_count(frozen: Forecast, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = effect_of(0.03, seed=5)
    newer = replace(newer, estimand=replace(newer.estimand, population="customers of later years"))
    found = again(frozen, monkeypatch, newer)
    assert list(found.table["segment"]) == ["all", "gold", "mass"]
    whole = found.table.set_index("segment").loc["all"]
    assert whole["actual"] == pytest.approx(newer.draws.mean())
    assert whole["se"] == pytest.approx(newer.overall.std(ddof=1))
    assert found.everyone.n == 1
    assert found.again


def test_starts_before_the_freezing_are_shown_and_do_not_count(
    frozen: Forecast, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = again(frozen, monkeypatch, effect_of(0.03, seed=5), start=12 * 2025)
    assert len(found.table) == 3
    assert found.everyone.n == 0
    assert [each.reason for each in found.unscored] == ["backtest.unscored.shared"]


@pytest.mark.parametrize("what", ["same data", "another horizon", "cannot be fitted"])
def test_what_cannot_test_the_forecast_is_refused(frozen: Forecast, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    newer: Effect | FitError = effect_of(0.03, seed=5)
    if what == "same data":
        newer = effect_of()
    elif what == "another horizon":
        newer = effect_of(0.03, seed=5, estimand=replace(effect_of().estimand, horizon=5))
    else:
        newer = FitError("Too few places.", ["needed: 6"])
    found = again(frozen, monkeypatch, newer)
    (refused,) = found.unscored
    assert found.table.empty
    expected = {
        "same data": ("same_data", ""),
        "another horizon": ("estimand", "horizon"),
        "cannot be fitted": ("again", "Too few places. needed: 6"),
    }[what]
    assert (refused.reason, refused.detail) == (f"backtest.unscored.{expected[0]}", expected[1])
