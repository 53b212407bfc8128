"""The funnel's truth is exact, its naive readings are off as published, and its table keeps what a bank would know."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.core.errors import RoxError
from rox.simulate import Applications, funnel_steps, funnel_truth, open_accounts, preset, simulate, tables
from rox.simulate.funnel_dials import STEPS

CONFIG = preset("cmb")
SEEDS = range(1, 11)


@pytest.fixture(scope="module")
def applications() -> Applications:
    return open_accounts(preset("cmb", funnel={"applicants": 200_000}))


@pytest.fixture(scope="module")
def table(applications: Applications) -> pd.DataFrame:
    return applications.table()


@pytest.fixture(scope="module")
def readings() -> pd.DataFrame:
    """What each of some banks would report: the relative uplift by three readings, and the truth of its applicants."""
    rows = []
    for seed in SEEDS:
        made = open_accounts(preset("cmb", seed=seed))
        frame = made.table()
        before = frame[frame["month"].between("2024-01-01", "2024-12-31")]
        after = frame[frame["month"].between("2025-04-01", "2025-11-30")]
        mix = after["channel"].value_counts(normalize=True)
        fixed = [(mix * part.groupby("channel")["funded"].mean()).sum() for part in (before, after)]
        by_lot = frame[frame["assigned"] == "lot"].groupby("variant")["funded"].mean()
        later = made.month >= CONFIG.funnel.test_end
        old, new = ((reached[later] == len(STEPS)).mean() for reached in (made.reached_old, made.reached_new))
        rows.append(
            {
                "before_after": after["funded"].mean() / before["funded"].mean() - 1,
                "fixed_mix": fixed[1] / fixed[0] - 1,
                "by_lot": by_lot["new"] / by_lot["old"] - 1,
                "truth": new / old - 1,
            }
        )
    return pd.DataFrame(rows)


def test_the_new_form_adds_eighteen_percent_in_the_later_mix() -> None:
    after, before = (funnel_truth(CONFIG, mix=mix).loc["all"] for mix in ("after", "before"))
    assert after["relative"] == pytest.approx(0.18, abs=0.005)
    assert after["points"] == pytest.approx(100 * (after["new"] - after["old"]))
    assert 5.5 < after["points"] < 7.0
    assert before["relative"] > after["relative"] + 0.015
    assert 0.28 < before["old"] < 0.31


def test_a_before_after_reads_more_than_twice_as_much(readings: pd.DataFrame) -> None:
    mean, error = readings.mean(), readings.sem()
    assert mean["before_after"] == pytest.approx(0.42, abs=0.03)
    assert mean["fixed_mix"] == pytest.approx(0.22, abs=0.02)
    assert mean["by_lot"] == pytest.approx(0.18, abs=4 * error["by_lot"])
    assert mean["truth"] == pytest.approx(0.178, abs=0.01)


def test_the_exact_truth_is_what_very_many_applicants_show(applications: Applications) -> None:
    unpromoted = applications.month < CONFIG.funnel.promotion_start
    exact = funnel_truth(CONFIG)
    for place, channel in enumerate(CONFIG.funnel.channels):
        mine = unpromoted & (applications.channel == place)
        for name, reached in (("old", applications.reached_old), ("new", applications.reached_new)):
            funded = reached[mine] == len(STEPS)
            error = np.sqrt(funded.mean() * (1 - funded.mean()) / mine.sum())
            assert funded.mean() == pytest.approx(exact.loc[channel.name, name], abs=4 * error), channel.name
            money = np.where(funded, applications.balance[mine], 0.0)
            error = money.std() / np.sqrt(mine.sum())
            assert money.mean() == pytest.approx(exact.loc[channel.name, f"aum_{name}"], abs=4 * error), channel.name


def test_a_promotion_raises_what_both_forms_reach(applications: Applications) -> None:
    assert (funnel_truth(CONFIG, promotion=True)["old"] > funnel_truth(CONFIG)["old"]).all()
    assert funnel_truth(CONFIG, promotion=True).loc["all", "relative"] < funnel_truth(CONFIG).loc["all", "relative"]


def test_who_needed_the_new_form_brings_less_money() -> None:
    exact = funnel_truth(CONFIG)
    assert (exact["per_extra_opener"] < exact["per_opener"]).all()


def test_steps_multiply_to_the_whole_and_only_the_changed_ones_improve() -> None:
    steps, whole = funnel_steps(CONFIG), funnel_truth(CONFIG).loc["all"]
    assert list(steps.index) == list(STEPS)
    assert steps["old"].prod() == pytest.approx(whole["old"])
    assert steps["new"].prod() == pytest.approx(whole["new"])
    assert (steps["alone"].round(12) > 0).tolist() == [False, True, True, False, False]
    assert steps.loc["funding", "new"] < steps.loc["funding", "old"]


def test_a_form_without_effect_has_none() -> None:
    idle = preset("cmb", funnel={"odds_ratios": (1.0,) * 5, "applicants": 2_000})
    assert (funnel_truth(idle)[["points", "relative"]] == 0).all(axis=None)
    assert funnel_truth(idle)["per_extra_opener"].isna().all()
    made = open_accounts(idle)
    assert (made.reached_old == made.reached_new).all()


def test_a_mix_of_ones_own_is_weighted_as_said() -> None:
    exact = funnel_truth(CONFIG, mix={"branch": 0.0, "app": 0.5, "web": 0.5, "partner": 0.0})
    assert exact.loc["all", "new"] == pytest.approx(exact.loc[["app", "web"], "new"].mean())
    with pytest.raises(RoxError, match="branch, app, web, partner"):
        funnel_truth(CONFIG, mix={"app": 1.0})
    with pytest.raises(RoxError, match="no mix 'now'"):
        funnel_truth(CONFIG, mix="now")  # type: ignore[arg-type]


def test_a_dial_moves_what_it_says_and_leaves_the_luck_of_the_rest(applications: Applications) -> None:
    other = open_accounts(preset("cmb", funnel={"applicants": 200_000, "odds_ratios": (1.0, 3.0, 1.6, 1.0, 1.0)}))
    for name in ("month", "channel", "phone", "intent", "new_form", "reached_old", "balance", "started"):
        assert (getattr(applications, name) == getattr(other, name)).all(), name
    assert (other.reached_new >= applications.reached_new).all()
    assert (other.reached_new > applications.reached_new).any()


def test_variants_follow_the_calendar_of_the_test(applications: Applications, table: pd.DataFrame) -> None:
    shares = table.assign(new=table["variant"] == "new").groupby("month")["new"].mean()
    assert (shares[:"2024-12-01"] == 0).all()
    assert shares["2025-01-01":"2025-03-01"].between(0.48, 0.52).all()
    assert (shares["2025-04-01":] == 1).all()
    assert set(table.loc[table["assigned"] == "lot", "month"].dt.strftime("%Y-%m")) == {"2025-01", "2025-02", "2025-03"}


def test_the_lot_gives_the_new_form_to_the_share_asked_for() -> None:
    frame = open_accounts(preset("cmb", funnel={"test_share": 0.2})).table()
    by_lot = frame.loc[frame["assigned"] == "lot", "variant"]
    assert (by_lot == "new").mean() == pytest.approx(0.2, abs=0.03)


def test_the_table_holds_what_is_known_on_the_last_day(table: pd.DataFrame) -> None:
    names = "applicant_id month started channel device variant assigned reached funded aum_90"
    assert list(table.columns) == names.split()
    assert table["applicant_id"].is_unique
    assert table["started"].is_monotonic_increasing
    assert (table["started"].dt.to_period("M") == table["month"].dt.to_period("M")).all()
    assert ((table["reached"] == 5) == (table["funded"] == 1)).all()
    known = table["aum_90"].notna()
    assert (known == (table["started"] <= pd.Timestamp("2025-10-02"))).all()
    assert (table.loc[known & (table["funded"] == 0), "aum_90"] == 0).all()
    funded = table[known & (table["funded"] == 1)]
    assert 0.1 < (funded["aum_90"] == 0).mean() < 0.3
    by_month = table.groupby("month")["funded"].mean()
    assert by_month["2025-12-01"] < by_month["2025-10-01"] - 0.05
    devices = table.groupby("channel")["device"].unique().map(set).to_dict()
    both = {"phone", "computer"}
    assert devices == {"app": {"phone"}, "branch": {"counter"}, "web": both, "partner": both}


def test_asking_for_the_funnel_changes_no_other_table() -> None:
    bank = simulate(preset("cmb", customers=300, funnel={"applicants": 500}))
    plain, full = tables(bank), tables(bank, extra=("funnel", "referrals", "retests"))
    assert set(full) - set(plain) == {"funnel", "referrals", "retests"}
    for name, frame in plain.items():
        pd.testing.assert_frame_equal(frame, full[name])
    assert len(full["funnel"]) == 500
    with pytest.raises(RoxError, match="'funnels': choose from funnel, referrals, retests"):
        tables(bank, extra=("funnels",))
