"""Who leaves and when: against lifelines on the same rows, a planted truth, and what must be refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time

import rox
from rox.core.check import Check, Verdict
from rox.core.errors import FitError, LeakageError
from rox.core.linked import Linked
from rox.linking.tables import Tables
from rox.linking.views import FrameViews
from rox.models.leaving import Leaving, leaving
from rox.models.leaving_counts import AtRisk, at_risk_of
from rox.models.leaving_curves import even, retention
from rox.numerics.incidence import cumulative_incidence, kaplan_meier, life_table
from rox.numerics.restricted_mean import restricted_mean
from tests.models.conftest import START, leaving_panel, linked_from


def code(found: Leaving, name: str) -> Check:
    (one,) = [check for check in found.checks if check.code == name]
    return one


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    return leaving_panel(900, 30, seed=4, log_ratio=-0.15)


@pytest.fixture(scope="module")
def data(panel: pd.DataFrame) -> Linked:
    return linked_from(panel, controls=("kind",))


def rows_of(data: Linked) -> pd.DataFrame:
    """Months at risk with the customer's first answer and the months since the first of them."""
    rows = data.episodes(clock="tenure").sort_values(["customer", "month"])
    first = rows.drop_duplicates("customer").set_index("customer")
    return rows.assign(
        since=rows["month"] - rows["customer"].map(first["month"]),
        first=rows["customer"].map(first["score"]),
        number=rows["cause"].map({"none": 0, "exit": 1, "silent": 2, "other": 3}),
    )


def test_retention_since_the_first_answer_is_that_of_lifelines(data: Linked) -> None:
    found = leaving(data, by="category", clock="answer", horizons=(6, 12), tau=18)
    rows = rows_of(data)
    for group, low, high in (("detractor", 0, 6), ("passive", 7, 8), ("promoter", 9, 10)):
        own = rows[rows["first"].between(low, high)]
        other = KaplanMeierFitter().fit(own["since"] + 1, own["number"] > 0, entry=own["since"])
        shown = found.kept[found.kept["group"] == group].set_index("months")["kept"]
        assert shown[6] == pytest.approx(float(other.predict(6)), rel=1e-9)
        assert shown[12] == pytest.approx(float(other.predict(12)), rel=1e-9)
        assert found.months.loc[group, "months"] == pytest.approx(restricted_mean_survival_time(other, 18), rel=1e-9)
    assert found.groups == ("detractor", "passive", "promoter")
    assert found.reference == "detractor"


@pytest.mark.parametrize("clock", ["tenure", "calendar"])
def test_other_clocks_count_late_entry_and_competing_causes(data: Linked, clock: str) -> None:
    found = leaving(data, by="segment", clock=clock, horizons=(12,), tau=12)
    rows = rows_of(data)
    start = rows["start"] if clock == "tenure" else rows["month"]
    table = life_table(start, start + 1, rows["number"], rows["segment"].astype(str)).since(found.origin)
    shown = found.kept.set_index("group")
    assert np.allclose(shown["kept"], kaplan_meier(table).at(found.origin + 12)[0][0])
    for cause, number in (("exit", 1), ("other", 3)):
        assert np.allclose(shown[cause], cumulative_incidence(table, number).at(found.origin + 12)[0][0])
    assert np.allclose(shown[["kept", "exit", "other"]].sum(axis=1), 1)
    other = restricted_mean(table, found.origin + 12, origin=found.origin)
    assert np.allclose(found.months["se"], other.se)
    assert code(found, "ROX-S03").values["naive"] > code(found, "ROX-S03").values["share"]


def test_bands_are_wider_than_intervals_and_hold_the_curve(data: Linked) -> None:
    curves = leaving(data, clock="answer").curves.dropna()
    assert len(curves) > 40
    order = curves[["band_low", "low", "kept", "high", "band_high"]].to_numpy()
    assert (np.diff(order, axis=1) >= 0).all()


def test_weights_that_differ_are_used_with_errors_by_bucket(panel: pd.DataFrame) -> None:
    uneven = panel.assign(weight=np.where(panel["customer"] % 2 == 0, 5.0, 1.0))
    data = linked_from(uneven)
    found = leaving(data, by="segment", clock="answer", horizons=(12,), tau=12)
    rows = rows_of(data)
    for group in ("a", "b"):
        own = rows[rows["segment"] == group]
        other = KaplanMeierFitter().fit(own["since"] + 1, own["number"] > 0, entry=own["since"], weights=own["weight"])
        shown = found.kept.set_index("group").loc[group]
        assert shown["kept"] == pytest.approx(float(other.predict(12)), rel=1e-6)
    equal = leaving(linked_from(panel), by="segment", clock="answer", horizons=(12,), tau=12)
    ratio = found.months["se"] / equal.months["se"]
    assert ratio.between(1.0, 1.7).all()
    assert code(found, "ROX-S36").verdict is Verdict.NOTE
    assert "ROX-S36" not in {check.code for check in equal.checks}


def test_errors_by_bucket_are_those_of_greenwood_where_both_hold(panel: pd.DataFrame) -> None:
    rng = np.random.default_rng(2)
    n = 4000
    life, end = rng.geometric(0.03, n), rng.integers(1, 30, n)
    months = np.minimum(life, end)
    frame = pd.DataFrame(
        {
            "customer": np.repeat(np.arange(n), months),
            "time": np.concatenate([np.arange(each) for each in months]),
        }
    )
    last = frame["customer"].ne(frame["customer"].shift(-1)) & (life <= end)[frame["customer"]]
    frame = frame.assign(cause=np.where(last, "exit", "none"), bucket=frame["customer"] % 64, group="g", n=1.0)
    even_rows = at_risk_of(frame.assign(weight=3.0, money=1.0), 64)
    odd = frame.assign(weight=np.where(frame["customer"] % 3 == 0, 1.0, 1.0 + 1e-6), money=1.0)
    nearly = at_risk_of(odd, 64)
    assert [even(even_rows), even(nearly)] == [True, False]
    one, two = (retention(each, origin=0.0, horizon=20, level=0.9) for each in (even_rows, nearly))
    assert np.allclose(one.kept.value, two.kept.value, atol=1e-5)
    assert two.months.se[0] / one.months.se[0] == pytest.approx(1.0, abs=0.3)
    assert two.kept.se[12, 0] / one.kept.se[12, 0] == pytest.approx(1.0, abs=0.35)


def confounded(seed: int) -> pd.DataFrame:
    """Customers who leave by segment alone; in the segment that leaves, answers are lower."""
    rng = np.random.default_rng(seed)
    customers, months = 3000, 26
    segment = np.where(rng.random(customers) < 0.5, "calm", "restless")
    mean = np.where(segment == "calm", 9.0, 6.0)
    score = np.clip(np.rint(mean + 1.6 * rng.standard_normal(customers)), 0, 10)
    life = rng.geometric(np.where(segment == "calm", 0.005, 0.04))
    length = np.minimum(life, months)
    who = np.repeat(np.arange(customers), length)
    month = START + np.concatenate([np.arange(each) for each in length])
    return pd.DataFrame(
        {
            "customer": who,
            "month": month,
            "segment": segment[who],
            "weight": 1.0,
            "outcome": 100.0,
            "score": score[who],
            "score_age": month - START + 1.0,
            "opened": START - 1.0,
            "exit_month": np.where(life <= months, START + life - 1.0, np.nan)[who],
            "voluntary": (life <= months)[who],
        }
    )


def test_standardising_removes_what_the_mix_of_segments_makes() -> None:
    found = leaving(linked_from(confounded(1), look_back=30), by="category", clock="answer", horizons=(24,), tau=24)
    crude, fair = found.differences.loc["promoter"], found.adjusted_months.loc["promoter"]
    assert crude["low"] > 3
    assert fair["low"] < 0 < fair["high"]
    assert abs(fair["difference"]) < 0.6
    assert found.test is not None
    assert found.test.p_value < 1e-6
    assert code(found, "ROX-S35").verdict is Verdict.PASS
    curve = found.adjusted[found.adjusted["group"] == "promoter"].set_index("time")["kept"]
    truth = 0.5 * (1 - 0.005) ** 24 + 0.5 * (1 - 0.04) ** 24
    assert curve[24] == pytest.approx(truth, abs=0.03)


def test_standardised_curves_cover_the_truth() -> None:
    inside = []
    for seed in range(6):
        found = leaving(linked_from(confounded(100 + seed), look_back=30), by="category", clock="answer", tau=12)
        rows = found.adjusted[found.adjusted["time"] == 12]
        truth = 0.5 * (1 - 0.005) ** 12 + 0.5 * (1 - 0.04) ** 12
        inside += ((rows["low"] < truth) & (truth < rows["high"])).tolist()
    assert np.mean(inside) > 0.7


def test_money_leaves_slower_than_heads_where_the_poor_leave() -> None:
    rng = np.random.default_rng(8)
    frame = leaving_panel(1500, 24, seed=8, log_ratio=0.0)
    rich = rng.random(1500) < 0.5
    frame = frame.assign(
        outcome=np.where(rich[frame["customer"]], 1000.0, 10.0),
        segment="all",
        kind=rich[frame["customer"]].astype(float),
    )
    stays = rich[frame["customer"]] & (rng.random(1500) < 0.8)[frame["customer"]]
    frame = frame.assign(
        exit_month=frame["exit_month"].mask(stays & frame["voluntary"]), voluntary=frame["voluntary"] & ~stays
    )
    yearly = leaving(linked_from(frame), clock="answer").yearly.loc["all"]
    assert yearly["money_high"] < yearly["heads_low"]
    rows = rows_of(linked_from(frame))
    hazard = (rows["number"] == 1).mean()
    assert yearly["heads"] == pytest.approx(1 - np.exp(-12 * hazard), rel=1e-9)
    assert yearly["exits"] == (rows["number"] == 1).sum()


def test_silent_attrition_is_a_cause_of_its_own(panel: pd.DataFrame) -> None:
    money = panel["outcome"].where(~((panel["customer"] % 9 == 0) & (panel["month"] >= START + 20)), 1.0)
    data = linked_from(panel.assign(outcome=money))
    study = data.study.model_copy(update={"attrition": _attrition(data)})
    found = leaving(replace(data, study=study), by="segment", clock="calendar", horizons=(24,))
    assert set(found.incidence["cause"]) == {"exit", "silent", "other"}
    assert (found.kept["silent"] > 0.02).all()


def _attrition(data: Linked) -> object:
    return (
        type(data.study)
        .model_validate(
            {
                **data.study.model_dump(mode="python", by_alias=True, exclude_unset=True),
                "attrition": {"share": 0.2, "months": 3, "outcome": data.outcome},
            }
        )
        .attrition
    )


def test_number_of_answers_is_refused_as_a_name_and_as_a_control(panel: pd.DataFrame) -> None:
    with pytest.raises(LeakageError, match="ROX-S02"):
        leaving(linked_from(panel), by="answers")
    answered = panel[panel["score_age"] == 1].groupby("customer").size()
    counted = panel.assign(often=panel["customer"].map(answered).fillna(0).clip(upper=5))
    with pytest.raises(LeakageError, match=r"ROX-S02(.|\n)*nobody left in the first") as caught:
        leaving(linked_from(counted, controls=("often",)), by="often")
    assert any(fault.startswith("5:") for fault in caught.value.faults)
    with pytest.raises(LeakageError, match="changes while customers stay"):
        leaving(linked_from(panel.assign(late=panel["month"] // 12), controls=("late",)), by="late")


def test_what_was_known_at_entry_is_not_refused() -> None:
    for seed in range(6):
        found = leaving(linked_from(leaving_panel(500, 24, seed=seed, log_ratio=-0.1)), by="segment", clock="answer")
        assert found.groups == ("a", "b")


def test_the_contract_of_today_needs_having_stayed_and_retention_by_month_is_as_published(
    parity: Callable[[str], tuple[Path, dict[str, dict[str, object]]]],
) -> None:
    folder, values = parity("s08_telco_churn_km")
    rows = pd.read_csv(folder / "telco_churn.csv")
    rows = rows[rows["tenure"] > 0].reset_index(drop=True)
    rows = rows[rows["contract"].isin(["Month-to-month", "Two year"])].reset_index(drop=True)
    length = rows["tenure"].to_numpy()
    who = np.repeat(np.arange(len(rows)), length)
    month = START + np.concatenate([np.arange(each) for each in length])
    gone = rows["churned"].to_numpy() == 1
    frame = pd.DataFrame(
        {
            "customer": who,
            "month": month,
            "outcome": 1.0,
            "score": 7.0,
            "score_age": month - START + 1.0,
            "opened": float(START),
            "exit_month": np.where(gone, START + length - 1.0, np.nan)[who],
            "voluntary": gone[who],
            "contract": rows["contract"].to_numpy()[who],
        }
    )
    with pytest.raises(LeakageError, match="Two year: nobody left in the first"):
        leaving(linked_from(frame, controls=("contract",), look_back=99), by="contract")
    monthly = linked_from(frame[frame["contract"] == "Month-to-month"], controls=("contract",), look_back=99)
    found = leaving(monthly, by="contract", horizons=(12, 24, 48), tau=24)
    assert found.origin == 0
    assert np.allclose(found.kept["kept"], values["km.month_to_month"]["value"], rtol=1e-9)


def test_small_groups_and_rare_causes_are_not_shown(panel: pd.DataFrame) -> None:
    few = panel.assign(segment=np.where(panel["customer"] < 20, "tiny", panel["segment"]))
    found = leaving(linked_from(few), by="segment", clock="answer")
    assert found.groups == ("a", "b")
    assert code(found, "ROX-S31").values["groups"] == "tiny"
    assert not any("tiny" in table.astype(str).to_string() for table in (found.curves, found.kept, found.yearly))
    calm = panel.assign(exit_month=panel["exit_month"].where(panel["voluntary"] | (panel["customer"] % 9 == 0)))
    rare = leaving(linked_from(calm), by="segment", clock="answer")
    assert rare.kept[["exit", "other"]].isna().all(axis=None)
    assert rare.kept["kept"].notna().all()
    assert rare.incidence["left"].isna().all()


def test_faults_of_the_question_come_in_one_message(data: Linked) -> None:
    with pytest.raises(FitError, match=r"by is 'colour'(.|\n)*clock(.|\n)*horizons(.|\n)*tau(.|\n)*level"):
        leaving(data, by="colour", clock="week", horizons=(), tau=0, level=1.0)  # type: ignore[arg-type]
    stays = linked_from(leaving_panel(200, 12, seed=1, log_ratio=0.0).assign(exit_month=np.nan, voluntary=False))
    with pytest.raises(FitError, match="Nobody left"):
        leaving(stays)


def test_a_group_without_a_name_and_one_without_exits_are_described(panel: pd.DataFrame) -> None:
    found = leaving(linked_from(panel), by="unit", clock="answer")
    assert found.groups == ("unknown",)
    assert found.test is None
    assert found.differences.empty
    loyal = panel.assign(kind=np.where(panel["customer"] % 5 == 0, 1.0, 0.0))
    stays = loyal["kind"] == 1
    frame = loyal.assign(exit_month=loyal["exit_month"].mask(stays), voluntary=loyal["voluntary"] & ~stays)
    none = leaving(linked_from(frame, controls=("kind",)), by="kind", clock="answer")
    assert none.groups == ("0", "1")
    assert none.yearly.loc["1", "heads"] == 0 < none.yearly.loc["1", "heads_high"] < 0.05
    assert none.months.loc["1", "months"] == none.horizon


def test_months_too_far_are_not_counted(data: Linked) -> None:
    found = leaving(data, clock="answer", tau=99)
    assert found.horizon < 30
    assert code(found, "ROX-S34").values == {"asked": 99, "months": found.horizon}


def test_the_engine_counts_what_a_frame_counts(bank_tables: Tables, bank_linked: Linked) -> None:
    lazy = rox.link(bank_tables, score="nps", outcome="aum")
    one = leaving(lazy, by="category", clock="answer")
    two = leaving(replace(bank_linked, views=FrameViews()), by="category", clock="answer")
    pd.testing.assert_frame_equal(one.kept, two.kept)
    pd.testing.assert_frame_equal(one.adjusted, two.adjusted)
    pd.testing.assert_frame_equal(one.yearly, two.yearly)
    for language in ("en", "zh"):
        assert one.check_table(language).notna().all(axis=None)


def test_buckets_add_up(data: Linked) -> None:
    found = rows_of(data).assign(bucket=lambda rows: rows["customer"] % 64, n=1.0, money=1.0)
    counts: AtRisk = at_risk_of(
        found[["segment", "since", "cause", "bucket", "n", "weight", "money"]].rename(
            columns={"segment": "group", "since": "time"}
        ),
        64,
    )
    whole = counts.table()
    parts = [counts.table(without=bucket).events.sum() for bucket in range(64)]
    assert sum(parts) == 63 * whole.events.sum()
    assert whole.events.sum() == (found["cause"] != "none").sum()


def test_order_currency_weights_and_calendar_do_not_matter(panel: pd.DataFrame) -> None:
    moved = panel.sample(frac=1.0, random_state=1).assign(outcome=panel["outcome"] * 7, weight=panel["weight"] * 3)
    for name in ("month", "opened", "exit_month"):
        moved[name] += 24
    one, two = (leaving(linked_from(frame), by="category", clock="answer") for frame in (panel, moved))
    for name in ("kept", "months", "differences", "yearly", "adjusted"):
        left, right = (getattr(each, name).select_dtypes("number") for each in (one, two))
        assert np.allclose(left, right, rtol=1e-9, equal_nan=True), name
