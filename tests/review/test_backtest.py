"""Frozen forecasts, what is refused, how measured values are scored, and where the money differs."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rox.commands import backtest as backtest_command
from rox.commands import freeze as freeze_command
from rox.core.backtest import Split
from rox.core.check import Grade
from rox.core.errors import DataError
from rox.core.forecast import Forecast, last_seal, read_forecasts
from rox.core.words import LANGUAGES
from rox.numerics.forecast_scores import crps
from rox.reporting.backtest_page import backtest_page, backtest_text
from rox.review.backtest import backtest
from rox.review.backtest_actuals import Actuals, Measured, read_actuals
from rox.review.backtest_freeze import freeze
from rox.review.backtest_scores import groups_by, scores
from tests.review.recorded import content_of, doctored, effect_of, recorded, said

DAY = dt.date(2026, 1, 15)
SAID = 'forecast = "small"\nowner = "Finance"\nsource = "Books"\ndate = 2027-02-01\n'


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Forecast:
    """One forecast, frozen from a record."""
    folder = tmp_path_factory.mktemp("frozen")
    return freeze(recorded(folder / "run"), into=folder / "forecasts", on=DAY, team="Retail", owner="Li Na")


def copies(forecast: Forecast, folder: Path, n: int) -> tuple[Forecast, ...]:
    """Freeze the same forecast under several records, as if each were made from data of its own."""
    for place in range(n):
        promises = tuple(replace(each, fingerprint=f"f{place}") for each in forecast.promises)
        made = replace(forecast, record=f"r{place}", promises=promises, number=0, previous="", seal="")
        made.freeze_into(folder)
    return read_forecasts(folder)


def told(folder: Path, text: str, *forecasts: Forecast) -> Actuals:
    path = folder / "actuals.toml"
    path.write_text(text, encoding="utf-8")
    return read_actuals(path, forecasts)


def measured(value: float, se: float = 0.01, **changes: object) -> Measured:
    content = {
        "forecast": "0001_small", "month": 11, "owner": "Finance", "source": "Hold-out", "date": "2027-01-05",
        "what": "effect", "value": value, "se": se, "counterfactual": "hold_out",
    }  # fmt: skip
    return Measured.model_validate(content | changes)


def one_split(forecast: Forecast, folder: Path, text: str) -> tuple[Split, dict[str, float]]:
    (found,) = backtest([forecast], told(folder, text, forecast)).splits
    return found, dict(zip(found.steps["factor"], found.steps["step"], strict=True))


# What is frozen


def test_what_is_frozen_is_what_was_reported(frozen: Forecast, tmp_path: Path) -> None:
    numbers = json.loads(recorded(tmp_path).read_text(encoding="utf-8"))["numbers"]
    npv = {line.name: found for line, found in frozen.ledger.run(frozen.ledger.point)}["npv"]
    assert npv[0, 0] == pytest.approx(numbers["headline"]["npv"], rel=1e-12)
    assert frozen.due == (3, 6, 12, 24)
    assert frozen.due_on(12) == dt.date(2027, 1, 1)
    assert np.median(frozen.draws["net"][:, -1]) == pytest.approx(numbers["decision"]["npv"], rel=1e-12)
    (promise,) = frozen.promises
    assert (promise.grade, promise.layer.mean, promise.estimand.horizon) == (Grade.B, 0.9, 11)
    assert {each.place for each in frozen.assumptions} >= {"people.mass", "finance.tax"}
    assert frozen.assumptions[0].owner == "Finance"


def test_draws_of_extra_money_are_those_of_the_ledger(frozen: Forecast) -> None:
    effect, extra = frozen.draws["effect/uplift"], frozen.draws["extra/uplift"]
    assert effect.shape == (400, 2)
    assert extra.shape == (400, 2, 4)
    at_full = frozen.due.index(6)
    assert extra[:, 0, at_full] == pytest.approx(1000 * 10_000 * effect[:, 0], rel=1e-12)
    tax = 0.25
    assert frozen.draws["net"] == pytest.approx((frozen.draws["benefit"] - frozen.draws["cost"]) * (1 - tax), rel=1e-9)


def test_freezing_twice_gives_the_same_bytes_and_a_chain(frozen: Forecast, tmp_path: Path) -> None:
    first, second = (copies(frozen, tmp_path / name, 2) for name in "ab")
    assert [each.name for each in first] == ["0001_small", "0002_small"]
    assert first[1].previous == first[0].seal
    assert last_seal(first) == last_seal(second)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_nothing_is_overwritten_or_frozen_twice(frozen: Forecast, tmp_path: Path) -> None:
    copies(frozen, tmp_path, 1)
    with pytest.raises(DataError, match="frozen already, as 0001_small"):
        replace(frozen, record="r0").freeze_into(tmp_path)
    (tmp_path / "0002_small.npz").write_bytes(b"left over")
    with pytest.raises(DataError, match="nothing is overwritten"):
        replace(frozen, record="r9").freeze_into(tmp_path)
    assert (tmp_path / "0002_small.npz").read_bytes() == b"left over"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda f: doctored(f / "0001_small.json", lambda c: c["forecast"].update(team="Other")), "was changed after"),
        (lambda f: (f / "0001_small.npz").write_bytes(b"x"), "was changed after"),
        (lambda f: (f / "0001_small.json").unlink(), "stands in place 1"),
        (lambda f: (f / "0001_small.npz").unlink(), "missing"),
        (lambda f: (f / "0002_small.json").write_text("{}"), "is not the JSON of a forecast"),
    ],
)
def test_a_forecast_changed_afterwards_is_noticed(frozen: Forecast, tmp_path: Path, damage, found: str) -> None:  # type: ignore[no-untyped-def]
    copies(frozen, tmp_path, 3)
    damage(tmp_path)
    with pytest.raises(DataError, match="not as they were frozen") as caught:
        read_forecasts(tmp_path)
    assert any(found in fault for fault in caught.value.faults)


def test_a_forecast_changed_and_sealed_anew_breaks_the_chain(frozen: Forecast, tmp_path: Path) -> None:
    copies(frozen, tmp_path / "a", 2)
    copies(replace(frozen, owner="Somebody else"), tmp_path / "b", 1)
    for suffix in ("json", "npz"):
        (tmp_path / "a" / f"0001_small.{suffix}").write_bytes((tmp_path / "b" / f"0001_small.{suffix}").read_bytes())
    with pytest.raises(DataError) as caught:
        read_forecasts(tmp_path / "a")
    assert "does not follow the one before it" in caught.value.faults[0]


def test_figures_that_cannot_be_reproduced_are_not_frozen(tmp_path: Path) -> None:
    path = doctored(recorded(tmp_path), lambda c: c["numbers"]["headline"].update(npv=1.0))
    with pytest.raises(DataError, match="no longer gives the figures"):
        freeze(path, into=tmp_path / "f", on=DAY, team="t", owner="o")
    other = recorded(tmp_path / "other")
    effect_of(0.05, seed=3).save(tmp_path / "other" / "effects" / "uplift.npz")
    with pytest.raises(DataError, match="not the effect that was reported"):
        freeze(other, into=tmp_path / "f", on=DAY, team="t", owner="o")
    assert not (tmp_path / "f").exists()


def test_a_forecast_names_who_and_when(frozen: Forecast) -> None:
    with pytest.raises(DataError) as caught:
        replace(frozen, team=" ", due=(6, 3))
    assert len(caught.value.faults) >= 2


# What happened


def test_faults_of_actuals_come_in_one_message(frozen: Forecast, tmp_path: Path) -> None:
    text = f"""
[[measured]]
{SAID.replace("2027-02-01", "2026-01-01")}month = 12
what = "effect"
value = 0.03
segment = "silver"
[[booked]]
{SAID.replace('"small"', '"large"')}month = 12
[[booked]]
{SAID}month = 7
colour = 1
[[wrong]]
"""
    with pytest.raises(DataError) as caught:
        told(tmp_path, text, frozen)
    faults = "\n".join(caught.value.faults)
    for part in (
        "before the forecast was frozen",
        "'silver' is not among",
        "'large' is not exactly one",
        "colour",
        "wrong",
    ):
        assert part in faults


def test_without_a_counterfactual_it_is_no_score_and_only_splits(frozen: Forecast, tmp_path: Path) -> None:
    text = f'[[measured]]\n{SAID}month = 12\nwhat = "extra_money"\nvalue = 5e5\n'
    found = backtest([frozen], told(tmp_path, text, frozen))
    assert found.table.empty
    assert [each.reason for each in found.unscored] == ["backtest.unscored.counterfactual"]
    assert found.everyone.n == 0
    (split,) = found.splits
    assert split.steps.set_index("factor").loc["effect", "told"]
    no_error = f'[[measured]]\n{SAID}month = 12\nwhat = "extra_money"\nvalue = 5e5\ncounterfactual = "hold_out"\n'
    found = backtest([frozen], told(tmp_path, no_error, frozen))
    assert [each.reason for each in found.unscored] == ["backtest.unscored.error"]


def test_scores_are_those_of_the_frozen_draws(frozen: Forecast) -> None:
    entry = measured(0.02, 0.004, segment="gold")
    row = scores([entry], [frozen]).iloc[0]
    draws = frozen.draws["effect/uplift"][:, 1]
    assert row["crps"] == crps(draws, 0.02, 0.004)
    assert row["error_share"] == pytest.approx(0.02 / draws.mean() - 1)
    assert row["low90"] < row["low50"] < row["median"] < row["high50"] < row["high90"]
    whole = scores([measured(0.02)], [frozen]).iloc[0]
    assert whole["forecast_mean"] == pytest.approx(frozen.draws["effect/uplift"].mean(), rel=1e-12)
    assert whole["estimate"] == pytest.approx(frozen.promises[0].estimate)


def test_segments_and_earlier_months_do_not_count_twice(frozen: Forecast) -> None:
    table = scores(
        [
            measured(0.02),
            measured(0.03, segment="gold"),
            measured(0.025, month=12),
            measured(2e5, 1e5, what="extra_money", month=24),
        ],
        [frozen],
    )
    counted = table[table["counts"]]
    assert list(counted["month"]) == [12]
    assert list(counted["segment"]) == ["all"]


def test_what_shares_its_data_with_the_forecast_is_shown_and_does_not_count(frozen: Forecast) -> None:
    found = backtest([frozen], Actuals(measured=(measured(0.03, shares_data=True),)))
    assert len(found.table) == 1
    assert found.everyone.n == 0
    assert [each.reason for each in found.unscored] == ["backtest.unscored.shared"]
    assert found.learned[Grade.B].pairs == 0


def test_the_last_time_is_what_was_measured_before_the_freezing(frozen: Forecast, tmp_path: Path) -> None:
    two = copies(frozen, tmp_path, 2)
    later = replace(two[1], start=dt.date(2027, 6, 1), frozen=dt.date(2027, 6, 1))
    both = [measured(0.02, 0.01), measured(0.03, 0.01, forecast="0002_small", date="2028-05-01")]
    table = scores(both, [two[0], later]).set_index("forecast")
    assert np.isnan(table.loc["0001_small", "crps_last"])
    assert table.loc["0002_small", "crps_last"] == pytest.approx(crps([0.02], 0.03, 0.01))


def test_a_team_with_one_initiative_is_drawn_to_the_others_and_not_judged(frozen: Forecast, tmp_path: Path) -> None:
    many = [
        replace(each, team="Lonely" if place == 0 else "Steady")
        for place, each in enumerate(copies(frozen, tmp_path, 9))
    ]
    mean = float(frozen.draws["effect/uplift"].mean())
    values = [0.2 * mean, *[mean] * 8]
    table = scores([measured(v, 0.002, forecast=f.name) for v, f in zip(values, many, strict=True)], many)
    lonely, steady = groups_by(table, "team")
    assert (lonely.name, lonely.is_judged, steady.is_judged) == ("Lonely", False, True)
    assert -0.8 < lonely.error < -0.05
    assert abs(steady.error) < 0.1
    assert steady.coverage[1].inside == 8
    assert steady.line is None
    assert steady.is_too_generous is None


def test_a_slope_below_seven_tenths_says_the_discount_is_too_generous(frozen: Forecast, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    times = np.linspace(0.3, 2.0, 12)
    many = [
        replace(each, draws={name: by * draws for name, draws in each.draws.items()})
        for by, each in zip(times, copies(frozen, tmp_path, 12), strict=True)
    ]
    means = times * float(frozen.draws["effect/uplift"].mean())
    for truth, flag in ((0.5, True), (1.0, False)):
        entries = [
            measured(truth * mean + 0.001 * rng.standard_normal(), 0.001, forecast=each.name)
            for mean, each in zip(means, many, strict=True)
        ]
        (grade,) = groups_by(scores(entries, many), "grade")
        assert grade.is_too_generous is flag
        assert grade.line is not None
        assert grade.line.coefficients[1] == pytest.approx(truth, abs=0.06)
        assert grade.skill_nothing > 0


# Plan and actual


def test_what_came_as_planned_leaves_nothing_to_explain(frozen: Forecast, tmp_path: Path) -> None:
    rows = {line.name: found[0] for line, found in frozen.ledger.run(frozen.ledger.point)}
    money = float(sum(rows[f"extra_uplift_{k}"][12] for k in (1, 2)))
    income = float(sum(rows[f"income_uplift_{k}"][:13].sum() for k in (1, 2)))
    text = f"""
[[measured]]
{SAID}month = 12
what = "extra_money"
value = {money!r}
[[booked]]
{SAID}month = 12
income = {income!r}
[[paid]]
{SAID}month = 0
cost = "works"
amount = 5000
[[begun]]
{SAID}month = 0
"""
    found, steps = one_split(frozen, tmp_path, text)
    assert found.plan == pytest.approx(float(rows["cumulative_present"][12]), rel=1e-12)
    assert max(map(abs, steps.values())) < 1e-6 * abs(found.plan)


@pytest.mark.parametrize(
    ("text", "factor", "sign"),
    [
        ('[[booked]]\n{said}month = 12\nsegment = "all"\ncustomers = 2200\n', "volume", 1),
        ('[[booked]]\n{said}month = 12\nsegment = "all"\nbalance = 20000\n', "market", -1),
        ('[[booked]]\n{said}month = 12\nmargin = 0.02\n', "margin", 1),
        ('[[paid]]\n{said}month = 0\ncost = "works"\namount = 6000\n[[booked]]\n{said}month = 12\n', "cost", -1),
        ('[[paid]]\n{said}month = 0\ncost = "fans"\namount = 10\n[[booked]]\n{said}month = 12\n', "cost", -1),
        ('[[paid]]\n{said}month = 9\ncost = "works"\namount = 5000\n[[booked]]\n{said}month = 12\n', "timing", 1),
        ('[[begun]]\n{said}month = 3\n[[booked]]\n{said}month = 12\n', "timing", -1),
        ('[[measured]]\n{said}month = 12\nwhat = "effect"\nvalue = 0.001\n', "effect", -1),
    ],
)  # fmt: skip
def test_one_number_moves_one_step(frozen: Forecast, tmp_path: Path, text: str, factor: str, sign: int) -> None:
    found, steps = one_split(frozen, tmp_path, text.format(said=SAID))
    assert np.sign(steps.pop(factor)) == sign
    assert max(map(abs, steps.values())) < 1e-9 * abs(found.plan)
    shares = dict(zip(found.steps["factor"], found.steps["share"], strict=True))
    assert shares[factor] == pytest.approx(found.actual - found.plan)


def test_twice_the_customers_bring_twice_the_money(frozen: Forecast, tmp_path: Path) -> None:
    text = (
        f'[[booked]]\n{SAID}month = 12\nsegment = "all"\ncustomers = {2 * (1000 + frozen.ledger.point["people_2"])!r}\n'
    )
    found, steps = one_split(frozen, tmp_path, text)
    assert steps["volume"] == pytest.approx(found.plan + 5_000 * (1 - 0.25), rel=1e-9)


def test_everything_at_once_foots_in_both_columns(frozen: Forecast, tmp_path: Path) -> None:
    text = f"""
[[measured]]
{SAID}month = 12
what = "extra_money"
value = 250000
[[booked]]
{SAID}month = 12
segment = "mass"
customers = 900
balance = 9500
margin = 0.011
income = 900
[[booked]]
{SAID}month = 12
segment = "gold"
customers = 130
balance = 210000
margin = 0.013
income = 3000
[[paid]]
{SAID}month = 2
cost = "works"
amount = 5600
[[paid]]
{SAID}month = 3
cost = "fans"
amount = 100
[[begun]]
{SAID}month = 2
"""
    found, steps = one_split(frozen, tmp_path, text)
    gap = found.actual - found.plan
    for column in ("step", "share"):
        assert found.steps[column].sum() == pytest.approx(gap, abs=1e-9 * abs(found.plan))
    assert all(found.steps["told"])
    assert found.remarks == ()
    assert steps["mix"] > 0 > steps["effect"]
    # What was measured is what the replaced lines hold; and the books' income is in the actual to the cent.
    income = (3900 - 0) * (1 - 0.25)
    paid = (5600 * 1.08 ** (-2 / 12) + 100 * 1.08 ** (-3 / 12)) * (1 - 0.25)
    assert income * 1.08 ** (-12 / 12) - paid < found.actual < income * 1.08 ** (-2 / 12) - paid


def test_what_the_ledger_cannot_take_is_said(frozen: Forecast, tmp_path: Path) -> None:
    text = f'[[booked]]\n{SAID}month = 12\nsegment = "mass"\nmargin = 0.02\nincome = 3\n'
    found, steps = one_split(frozen, tmp_path, text)
    assert set(found.remarks) == {"backtest.remark.margin", "backtest.remark.income"}
    assert set(steps.values()) == {0.0}
    assert not found.is_booked


def test_forecasts_of_hazards_split_too(tmp_path: Path) -> None:
    effect = effect_of()
    hazard = replace(
        effect,
        estimand=replace(effect.estimand, unit="log_hazard", contrast="ratio", channels=frozenset({"retention"})),
        draws=-effect.draws,
    )
    path = recorded(tmp_path, content_of(attrition={"all": said(value=0.2)}), hazard)
    forecast = freeze(path, into=tmp_path / "f", on=DAY, team="t", owner="o")
    rows = {line.name: found[0] for line, found in forecast.ledger.run(forecast.ledger.point)}
    half = float(sum(rows[f"extra_uplift_{k}"][12] for k in (1, 2))) / 2
    found, steps = one_split(
        forecast, tmp_path, f'[[measured]]\n{SAID}month = 12\nwhat = "extra_money"\nvalue = {half!r}\n'
    )
    assert steps["effect"] == pytest.approx(-(found.plan + 5000 * 0.75) / 2, rel=0.02)


# What is told


def test_the_page_is_the_same_every_time_whole_in_both_languages_and_escapes(frozen: Forecast, tmp_path: Path) -> None:
    evil = replace(frozen, team="<script>alert(1)</script>", owner="=1+1 😀")
    (named,) = copies(evil, tmp_path / "f", 1)
    text = f"""
[[measured]]
{SAID}month = 11
what = "effect"
value = 0.03
se = 0.01
counterfactual = "synthetic_control"
[[measured]]
{SAID}month = 12
what = "extra_money"
value = 3e5
[[booked]]
{SAID}month = 12
margin = 0.01
"""
    found = backtest([named], told(tmp_path, text, named))
    for language in LANGUAGES:
        page = backtest_page(found, language, prior_pairs=4)
        assert page == backtest_page(found, language, prior_pairs=4)
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page
        assert page.count("<svg") == 2
        assert page.count("<desc") == 2
        assert "http-equiv" in page
    assert "预测兑现了吗" in backtest_text(found, "zh", prior_pairs=4)
    json.dumps(found.as_record(), allow_nan=False)


def test_a_forecast_near_zero_is_not_drawn_in_percent_of_itself(frozen: Forecast, tmp_path: Path) -> None:
    first, second = copies(frozen, tmp_path, 2)
    effect = "effect/uplift"
    near = replace(second, draws={**second.draws, effect: second.draws[effect] - second.draws[effect].mean() + 1e-4})
    found = backtest(
        [first, near], Actuals(measured=tuple(measured(0.03, forecast=n) for n in ("0001_small", "0002_small")))
    )
    page = backtest_page(found, "en", prior_pairs=4)
    assert "For each of 1 initiatives" in page
    assert "1 forecast(s) nearer to zero" in page


def test_shown_steps_add_up_to_the_cent(frozen: Forecast, tmp_path: Path) -> None:
    text = f'[[booked]]\n{SAID}month = 12\nsegment = "mass"\ncustomers = 901.3\nbalance = 9477.7\n'
    found = backtest([frozen], told(tmp_path, text, frozen))
    lines = backtest_text(found, "en", prior_pairs=4).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("  Plan  "))
    shown = [
        [
            float(cell.replace("CN¥", "").replace(",", "").replace("−", "-"))
            for cell in line.split("  ")
            if "CN¥" in cell or cell.strip() == "CN¥0.00"
        ]
        for line in lines[start : start + 10]
    ]
    for column in (0, 1):
        assert sum(row[column] for row in shown[:-1]) == pytest.approx(shown[-1][column], abs=1e-9)


def test_from_record_to_page_by_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def options(**given: object) -> argparse.Namespace:
        return argparse.Namespace(
            **{"json": False, "quiet": True, "language": "en", "study": None, "on": None, **given}
        )

    record = recorded(tmp_path / "run")
    done = freeze_command.run(options(record=record, into=tmp_path / "f", team="t", owner="o", on=DAY, due=[3, 12, 60]))
    assert done["due"] == [3, 12]
    actuals = tmp_path / "a.toml"
    actuals.write_text(
        f'[[measured]]\n{SAID}month = 11\nwhat = "effect"\nvalue = 0.03\nse = 0.01\ncounterfactual = "hold_out"\n'
    )
    given = {"forecasts": tmp_path / "f", "actuals": actuals, "out": tmp_path / "o", "layers": tmp_path / "l.toml"}
    found = backtest_command.run(options(**given, seal=done["seal"]))
    assert found["backtest"]["all"]["n"] == 1
    assert [Path(each).name for each in found["files"]] == ["backtest.html", "backtest.json", "l.toml"]
    assert "0001_small" in capsys.readouterr().out
    with pytest.raises(DataError, match="do not hold the seal"):
        backtest_command.run(options(**given, seal="0" * 64))
    with pytest.raises(DataError, match="nothing to hold"):
        backtest_command.run(options(**{**given, "actuals": None}, seal=None))
