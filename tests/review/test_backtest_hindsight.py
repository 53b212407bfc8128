"""What a forecast may not know, what counts only once, and who is overdue."""

from __future__ import annotations

import argparse
import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from rox.commands import backtest as backtest_command
from rox.core.case import Case, read_case
from rox.core.check import BIAS_LAYERS, BiasLayer, Grade
from rox.core.errors import DataError
from rox.core.forecast import Forecast, read_forecasts
from rox.core.record import Record
from rox.core.units import Unit
from rox.reporting.backtest_figures import came_true
from rox.reporting.backtest_page import backtest_text
from rox.review.backtest import backtest
from rox.review.backtest_actuals import Actuals, Begun, Measured, Paid, read_actuals
from rox.review.backtest_freeze import forecast_of, freeze
from rox.review.backtest_scores import scores
from rox.review.backtest_split import splits
from rox.valuation.value import value
from tests.review.recorded import content_of, effect_of, recorded, study_of

DAY = dt.date(2026, 1, 15)
WHO = {"owner": "Finance", "source": "Books", "date": dt.date(2027, 2, 1)}
SAID = 'forecast = "small"\nowner = "Finance"\nsource = "Books"\ndate = 2027-02-01\n'


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of one run."""
    return recorded(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def frozen(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Forecast:
    """One forecast, frozen from it."""
    return freeze(record, into=tmp_path_factory.mktemp("forecasts"), on=DAY, team="Retail", owner="Li Na")


def measured(forecast: Forecast, **changes: object) -> Measured:
    content = {
        "forecast": forecast.name, "month": 12, "what": "effect", "value": 0.03, "se": 0.01, **WHO,
        "counterfactual": "hold_out",
    }  # fmt: skip
    return Measured.model_validate(content | changes)


def told(folder: Path, text: str, *forecasts: Forecast) -> Actuals:
    path = folder / "actuals.toml"
    path.write_text(text, encoding="utf-8")
    return read_actuals(path, forecasts)


def faults_of(folder: Path, text: str, *forecasts: Forecast) -> str:
    with pytest.raises(DataError) as caught:
        told(folder, text, *forecasts)
    return "\n".join(caught.value.faults)


def steps_of(forecast: Forecast, actuals: Actuals) -> dict[str, float]:
    (found,) = splits(actuals, [forecast])
    return dict(zip(found.steps["factor"], found.steps["step"], strict=True))


def booked(folder: Path, forecast: Forecast, **numbers: float | str) -> Actuals:
    rows = "\n".join(f"{name} = {number!r}" for name, number in numbers.items())
    return told(folder, f"[[booked]]\n{SAID}month = 12\n{rows}\n", forecast)


# What a forecast may not know


def test_months_that_are_over_are_not_forecast(record: Path, tmp_path: Path) -> None:
    made = freeze(record, into=tmp_path / "f", on=dt.date(2026, 7, 1), team="t", owner="o")
    assert made.due == (12, 24)
    assert made.extract == dt.date(2025, 12, 31)
    assert made.draws["net"].shape[1] == 2
    with pytest.raises(DataError, match="Nothing of case small falls due after 2028-06-01"):
        freeze(record, into=tmp_path / "f", on=dt.date(2028, 6, 1), team="t", owner="o")


def test_nothing_is_frozen_before_its_data_end(record: Path, frozen: Forecast, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        freeze(record, into=tmp_path / "f", on=dt.date(2000, 1, 1), team="t", owner="o")
    assert "before the end of the data it was made from, 2025-12-31" in caught.value.faults[0]
    with pytest.raises(DataError) as caught:
        replace(frozen, frozen=dt.date(2026, 9, 1))
    assert "due months [3, 6] are over" in caught.value.faults[0]
    assert not (tmp_path / "f").exists()


def test_records_without_their_case_take_the_end_of_data_from_the_study(record: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    path = recorded(folder)
    old = replace(Record.read(path), replay={})
    old.write(path)
    case = Case.model_validate(content_of())
    study = study_of("2026-01-10")
    object.__setattr__(study, "case", lambda name: case)
    made = freeze(path, study=study, into=tmp_path / "f", on=DAY, team="t", owner="o")
    assert made.extract == dt.date(2026, 1, 10)


def test_what_was_said_before_its_month_was_over_is_refused(frozen: Forecast, tmp_path: Path) -> None:
    early = SAID.replace("2027-02-01", "2026-01-16")
    text = f'[[measured]]\n{early}month = 24\nwhat = "effect"\nvalue = 0.03\n[[booked]]\n{early}month = 3\nincome = 1\n'
    found = faults_of(tmp_path, text, frozen)
    assert "measured 1: date: 2026-01-16 is before month 24 is over, 2028-01-01" in found
    assert "booked 1: date: 2026-01-16 is before month 3 is over, 2026-04-01" in found


def test_months_that_were_over_at_the_freezing_test_nothing(record: Path, tmp_path: Path) -> None:
    late = freeze(record, into=tmp_path / "f", on=dt.date(2026, 7, 1), team="t", owner="o")
    text = f'[[measured]]\n{SAID}month = 6\nwhat = "effect"\nvalue = 0.03\n'
    assert "6 was over on 2026-07-01, when the forecast was not frozen yet" in faults_of(tmp_path, text, late)
    told(tmp_path, f'[[paid]]\n{SAID}month = 0\ncost = "works"\namount = 5000\n', late)


def test_an_effect_that_still_builds_up_is_not_scored(frozen: Forecast, tmp_path: Path) -> None:
    early = measured(frozen, month=6, value=0.01)
    found = backtest([frozen], Actuals(measured=(early,)))
    assert found.table.empty
    assert [(each.reason, each.detail) for each in found.unscored] == [("backtest.unscored.early", "11")]
    (split,) = found.splits
    assert split.remarks == ("backtest.remark.early",)
    assert set(split.steps["step"]) == {0.0}
    assert "before month 11" in backtest_text(found, "en", prior_pairs=4)
    ripe = scores([early, measured(frozen, month=11)], [frozen])
    assert list(ripe["month"]) == [11]


# One outcome, one pair


def test_one_measurement_of_one_estimate_is_one_pair(frozen: Forecast, tmp_path: Path) -> None:
    for place in range(3):
        replace(frozen, record=f"r{place}", number=0, previous="", seal="").freeze_into(tmp_path)
    three = read_forecasts(tmp_path)
    found = backtest(three, Actuals(measured=tuple(measured(each) for each in three)))
    assert (found.everyone.n, found.learned[Grade.B].pairs, len(found.table)) == (1, 1, 3)
    assert list(found.table.loc[found.table["counts"], "forecast"]) == ["0001_small"]
    assert [(each.forecast, each.detail) for each in found.unscored] == [
        ("0002_small", "0001_small"), ("0003_small", "0001_small"),
    ]  # fmt: skip
    apart = tuple(measured(each, source=f"Hold-out of {each.name}") for each in three)
    assert backtest(three, Actuals(measured=apart)).everyone.n == 3


def test_one_thing_said_under_two_names_is_refused(frozen: Forecast, tmp_path: Path) -> None:
    one = f'{SAID}month = 12\nwhat = "effect"\nvalue = 0.03\n'
    other = one.replace('"small"', '"0001_small"') + 'effect = "uplift"\n'
    assert "measured: 2 entries for 0001_small 12 uplift" in faults_of(
        tmp_path, f"[[measured]]\n{one}[[measured]]\n{other}", frozen
    )
    paid = f'[[paid]]\n{SAID}month = 1\ncost = "works"\namount = 5\n'
    text = paid + paid.replace('"small"', '"0001_small"').replace("= 5", "= 7")
    assert "paid: 2 entries for 0001_small 1 works; write their sum in one" in faults_of(tmp_path, text, frozen)
    book = f"[[booked]]\n{SAID}month = 12\nincome = 5\n"
    text = book + book.replace('"small"', '"0001_small"')
    assert "booked: 2 entries for 0001_small 12 all" in faults_of(tmp_path, text, frozen)


# Plan and actual


def test_an_effect_over_all_segments_keeps_their_profile(frozen: Forecast) -> None:
    point = frozen.ledger.point
    planned = [point[f"effect_uplift_{place}"] for place in (1, 2)]
    assert planned[0] > 1.5 * planned[1]
    as_planned = float(np.mean(planned)) * point["evidence_uplift"]
    steps = steps_of(frozen, Actuals(measured=(measured(frozen, value=as_planned),)))
    assert steps["effect"] == pytest.approx(0, abs=1e-6)
    half = steps_of(frozen, Actuals(measured=(measured(frozen, value=as_planned / 2),)))
    (found,) = splits(Actuals(measured=(measured(frozen, value=as_planned / 2),)), [frozen])
    assert half["effect"] == pytest.approx(-(found.plan + 5_000 * 0.75) / 2, rel=1e-9)


def test_balances_are_left_out_where_the_effect_is_money_per_customer(tmp_path: Path) -> None:
    effect = effect_of(400.0)
    effect = replace(effect, estimand=replace(effect.estimand, unit=Unit.MONEY_PER_CUSTOMER, currency="CNY"))
    path = recorded(tmp_path / "run", None, effect)
    forecast = freeze(path, into=tmp_path / "f", on=DAY, team="t", owner="o")
    assert not [each for each in forecast.ledger.inputs if each.place.startswith("balance.")]
    (found,) = splits(booked(tmp_path, forecast, customers=2200.0, margin=0.02, balance=1.0), [forecast])
    steps = dict(zip(found.steps["factor"], found.steps["step"], strict=True))
    assert found.remarks == ("backtest.remark.unused",)
    assert steps["volume"] > 0
    assert steps["margin"] > 0
    assert steps["market"] == 0


def test_customers_of_one_segment_are_held_beside_the_others_as_planned(frozen: Forecast, tmp_path: Path) -> None:
    rows = {line.name: found[0] for line, found in frozen.ledger.run(frozen.ledger.point)}
    heads = 1000 + frozen.ledger.point["people_2"]
    (found,) = splits(booked(tmp_path, frozen, segment="mass", customers=2000.0), [frozen])
    steps = dict(zip(found.steps["factor"], found.steps["step"], strict=True))
    earned = found.plan + 5_000 * 0.75
    assert steps["volume"] == pytest.approx(earned * 1000 / heads, rel=1e-9)
    flow = rows["income_uplift_1"][:13] * rows["discount_factor"][:13]
    assert steps["volume"] + steps["mix"] == pytest.approx(float(flow.sum()) * 0.75, rel=1e-9)
    assert steps["mix"] < 0


def test_costs_and_starts_alone_are_split_at_the_last_month_that_is_over(frozen: Forecast) -> None:
    paid = Paid.model_validate({"forecast": "small", "month": 2, "cost": "works", "amount": 9e3, **WHO})
    (found,) = backtest([frozen], Actuals(paid=(paid,))).splits
    assert (found.month, found.steps.set_index("factor").loc["cost", "step"] < 0) == (12, True)
    begun = Begun.model_validate({"forecast": "small", "month": 3, **WHO})
    (found,) = backtest([frozen], Actuals(begun=(begun,)), on=dt.date(2026, 8, 1)).splits
    assert (found.month, found.steps.set_index("factor").loc["timing", "step"] < 0) == (6, True)
    assert [each.month for each in splits(Actuals(paid=(paid,), measured=(measured(frozen),)), [frozen])] == [12]


# Who is overdue


def test_a_team_that_never_measures_is_overdue(frozen: Forecast, tmp_path: Path) -> None:
    assert backtest([frozen], Actuals()).open == ()
    found = backtest([frozen], Actuals(), on=dt.date(2026, 8, 1))
    assert [(each.month, each.team) for each in found.open] == [(3, "Retail"), (6, "Retail")]
    assert found.overdue == ("Retail",)
    assert "never measured anything: Retail" in backtest_text(found, "en", prior_pairs=4)
    assert found.as_record()["overdue"] == ["Retail"]
    silent = replace(frozen, number=2, team="Silent")
    both = backtest([frozen, silent], Actuals(measured=(measured(frozen, month=11, date="2027-01-02"),)))
    assert both.on == dt.date(2027, 1, 2)
    assert both.overdue == ("Silent",)
    assert [(each.forecast, each.month) for each in both.open] == [
        ("0001_small", 3), ("0001_small", 6), ("0002_small", 3), ("0002_small", 6), ("0002_small", 12),
    ]  # fmt: skip
    replace(frozen, number=0, previous="", seal="").freeze_into(tmp_path / "f")
    options = {name: None for name in ("actuals", "study", "seal", "layers", "out")}
    given = argparse.Namespace(
        **options, forecasts=tmp_path / "f", on=dt.date(2026, 8, 1), json=True, quiet=True, language="en"
    )
    assert backtest_command.run(given)["backtest"]["overdue"] == ["Retail"]


# What is told


def test_the_figure_tells_forecasts_of_one_case_apart(frozen: Forecast) -> None:
    second = replace(frozen, number=2, promises=(replace(frozen.promises[0], fingerprint="other"),))
    found = backtest([frozen, second], Actuals(measured=(measured(frozen), measured(second))))
    ax = came_true(found.table, Figure().add_subplot())
    assert [each.get_text() for each in ax.get_yticklabels()] == ["0001_small · B", "0002_small · B"]


def test_a_share_by_which_forecasts_are_better_has_no_sign(frozen: Forecast) -> None:
    found = backtest([frozen], Actuals(measured=(measured(frozen),)))
    assert found.everyone.skill_nothing > 0
    text = backtest_text(found, "en", prior_pairs=4)
    assert "the forecasts are +" not in text
    assert f"the forecasts are {found.everyone.skill_nothing:.0%} better" in text


# What goes with a forecast


def test_records_of_learned_discounts_are_frozen_with_them(tmp_path: Path) -> None:
    learned = {**BIAS_LAYERS, Grade.B: BiasLayer(0.7, 0.2)}
    folder = tmp_path / "run"
    path = recorded(folder)
    effect = effect_of()
    money = value([effect], Case.model_validate(content_of()), draws=400, rng=7, layers=learned)
    Record.of(
        "05_roi_report", study_of(), seed=7, fingerprint=effect.fingerprint, effects=[effect],
        numbers=money.as_record(), money=money,
    ).write(path)  # fmt: skip
    made = freeze(path, into=tmp_path / "f", on=DAY, team="t", owner="o")
    assert made.promises[0].layer.mean == 0.7
    assert made.ledger.point["evidence_uplift"] == pytest.approx(0.7)


def test_the_example_of_actuals_reads_against_its_case() -> None:
    bank = Path(__file__).parents[2] / "data" / "bank"
    case = read_case(bank / "cases" / "branch_refit.toml")
    effect = effect_of(groups=("mass", "gold", "platinum", "private", "private_diamond"))
    money = value([effect], case, draws=200, rng=1)
    made = forecast_of(
        money, study="bank", extract=dt.date(2025, 12, 31), on=DAY, team="Retail", owner="Li Na", record="r"
    )
    forecast = replace(made, number=1)
    actuals = read_actuals(bank / "actuals.example.toml", [forecast])
    assert all((actuals.measured, actuals.booked, actuals.paid, actuals.begun))
    found = backtest([forecast], actuals)
    assert found.everyone.n == 1
    (split,) = [each for each in found.splits if each.month == 12]
    assert split.remarks == ()
    assert split.is_booked
    assert split.steps["told"].all()


def test_the_extract_is_kept_in_the_file(frozen: Forecast, tmp_path: Path) -> None:
    made = replace(frozen, number=0, previous="", seal="").freeze_into(tmp_path)
    assert read_forecasts(tmp_path)[0].extract == made.extract == dt.date(2025, 12, 31)
