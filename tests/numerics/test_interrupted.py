"""Interrupted series: the seat-belt law, the vignette of a structural forecast, and known truths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.numerics.interrupted import interrupted, structural_break, structural_forecast

Case = Callable[[str], tuple[Path, dict[str, dict[str, Any]]]]


def test_the_seat_belt_law_by_regression(parity: Case) -> None:
    folder, values = parity("i06_seatbelts")
    rows = pd.read_csv(folder / "seatbelts.csv")
    fit = interrupted(
        np.log(rows["drivers"]),
        before=int((rows["law"] == 0).sum()),
        controls=np.log(rows["PetrolPrice"]),
        names=("petrol",),
        slope=False,
        errors="hac",
        lags=12,
    )
    found = dict(zip(fit.names, fit.coefficients, strict=True))
    assert found["step"] == pytest.approx(values["ols.law"]["value"], rel=1e-6)
    assert found["petrol"] == pytest.approx(values["ols.lpetrol"]["value"], rel=1e-6)
    assert fit.se("step") == pytest.approx(values["ols.law.hac12"]["value"], rel=1e-4)
    assert fit.mean_effect(0, 22) == pytest.approx((found["step"], fit.se("step")))


def test_the_seat_belt_law_with_a_wandering_level(parity: Case) -> None:
    folder, values = parity("i06_seatbelts")
    rows = pd.read_csv(folder / "seatbelts.csv")
    step, se, petrol = structural_break(np.log(rows["drivers"]), rows["law"], controls=np.log(rows["PetrolPrice"]))
    assert step == pytest.approx(values["ucm.law"]["value"], rel=2e-2)
    assert step == pytest.approx(-0.2376, abs=2e-4)  # Commandeur & Koopman (2007), chapter 7
    assert se == pytest.approx(0.0465, abs=2e-4)
    assert petrol[0] == pytest.approx(-0.2767, abs=5e-4)
    assert np.expm1(step) == pytest.approx(values["pct_drop"]["value"], rel=3e-2)


def test_a_forecast_without_the_intervention(parity: Case) -> None:
    folder, values = parity("i01_causalimpact_vignette")
    rows = pd.read_csv(folder / "causalimpact_vignette.csv")
    found = structural_forecast(rows["y"], before=70, controls=rows["x1"])
    assert found.mean == pytest.approx(values["uc.effect.avg"]["value"], rel=2e-2)
    assert found.mean == pytest.approx(values["bsts.avg_effect"]["value"], abs=0.3)
    assert found.effect.sum() == pytest.approx(values["bsts.cum_effect"]["value"], abs=9)
    assert found.se == pytest.approx(values["bsts.avg_sd"]["value"], rel=0.3)
    low, high = found.mean - 1.96 * found.se, found.mean + 1.96 * found.se
    assert (low, high) == pytest.approx(tuple(values["bsts.ci"]["value"]), abs=0.4)


def test_level_slope_and_season_are_found() -> None:
    rng = np.random.default_rng(1)
    time, begin = np.arange(72), 48
    promotion = (rng.random(72) < 0.2).astype(float)
    season = 2 * np.sin(2 * np.pi * (time + 3) / 12)
    y = 10 + time / 12 + season + 3 * promotion + (time >= begin) * (4 + 2 * (time - begin) / 12)
    y = y + 0.1 * rng.standard_normal(72)
    for season_kind, errors in (("dummies", "ar1"), ("harmonics", "hac"), ("dummies", "ols")):
        fit = interrupted(
            y, before=begin, first_month=3, controls=promotion, names=("promotion",), season=season_kind, errors=errors
        )
        found = dict(zip(fit.names, fit.coefficients, strict=True))
        assert found["step"] == pytest.approx(4, abs=5 * fit.se("step"))
        assert found["slope"] == pytest.approx(2, abs=5 * fit.se("slope"))
        assert found["promotion"] == pytest.approx(3, abs=0.3)
        assert fit.mean_effect(6, 11)[0] == pytest.approx(4 + 2 * 8.5 / 12, abs=0.3)
        assert fit.effect[6:12].mean() == pytest.approx(fit.mean_effect(6, 11)[0])


def test_errors_that_hang_together_are_seen() -> None:
    rng = np.random.default_rng(2)
    plain, corrected, found = [], [], []
    for _ in range(60):
        noise = np.zeros(60)
        for t in range(1, 60):
            noise[t] = 0.6 * noise[t - 1] + rng.standard_normal()
        fits = {each: interrupted(noise, before=40, season="none", slope=False, errors=each) for each in ("ols", "ar1")}
        plain.append(fits["ols"].se("step"))
        corrected.append(fits["ar1"].se("step"))
        found.append(fits["ar1"].mean_effect(0, 19)[0])
        assert fits["ols"].autocorrelation == pytest.approx(fits["ar1"].autocorrelation)
    assert np.mean(plain) < 0.65 * np.std(found)
    assert np.mean(corrected) > 0.75 * np.std(found)


def test_the_forecast_covers_a_wandering_level() -> None:
    rng = np.random.default_rng(3)
    inside = []
    for _ in range(40):
        y = np.cumsum(0.3 * rng.standard_normal(48)) + 0.5 * rng.standard_normal(48)
        found = structural_forecast(y, before=36, after=(6, 11))
        inside.append(abs(found.mean) < 1.645 * found.se)
        assert found.mean == pytest.approx(found.effect[6:12].mean())
    assert np.mean(inside) > 0.75


def test_short_series_and_causes_that_cannot_be_told_apart_are_refused() -> None:
    y = np.arange(30.0)
    with pytest.raises(ValueError, match=r"8 months before the break; needed: 12.*; 2 months from"):
        interrupted(y[:10], before=8)
    with pytest.raises(ValueError, match="needed: 12"):
        structural_forecast(y, before=5)
    with pytest.raises(ValueError, match="cannot be told apart"):
        interrupted(y, before=20, season="none", controls=(np.arange(30) >= 20).astype(float))
    with pytest.raises(ValueError, match="season must be one of"):
        interrupted(y, before=20, season="weekly")


def test_autocorrelation_that_a_short_series_hides_is_put_back() -> None:
    rng = np.random.default_rng(4)
    usual, corrected, found = [], [], []
    for _ in range(80):
        noise = np.zeros(51)
        for t in range(1, 51):
            noise[t] = 0.6 * noise[t - 1] + rng.standard_normal()
        usual.append(interrupted(noise, before=33).mean_effect(6, 11)[1])
        mean, se = interrupted(noise, before=33, errors="ar1_corrected").mean_effect(6, 11)
        corrected.append(se)
        found.append(mean)
    assert np.mean(usual) < 0.80 * np.std(found)
    assert np.mean(corrected) > 0.88 * np.std(found)
