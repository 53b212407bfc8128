"""Referrals and retests, which are exported when asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.simulate import Bank, preset, referral_summary, simulate, tables


@pytest.fixture(scope="module")
def extras(small: Bank) -> dict[str, pd.DataFrame]:
    return tables(small, extra=("referrals", "retests"))


def test_a_referral_is_a_row_within_the_stay(extras: dict[str, pd.DataFrame], small: Bank) -> None:
    referrals = extras["referrals"]
    assert list(referrals.columns) == ["referral_id", "customer_id", "referred", "opened"]
    assert len(referrals) == small.referred.sum() > 500
    assert referrals["referral_id"].is_unique
    stays = extras["customers"][["customer_id", "opened"]].rename(columns={"opened": "since"})
    rows = referrals.merge(stays.merge(extras["exits"], how="left"), on="customer_id", validate="many_to_one")
    assert (rows["referred"] >= rows["since"]).all()
    assert not (rows["referred"] > rows["exited"]).any()
    assert (rows["referred"].dt.to_period("M") == rows["exited"].dt.to_period("M")).any()
    wait = (rows["opened"] - rows["referred"]).dt.days.dropna()
    assert wait.between(1, small.config.referrals.days).all()
    early = rows["referred"] < "2025-10-01"
    assert rows.loc[early, "opened"].notna().mean() == pytest.approx(small.config.referrals.conversion, abs=0.06)
    assert rows["opened"].dropna().le(pd.Timestamp("2025-12-31")).all()


def test_happier_customers_refer_more(small: Bank) -> None:
    glad = small.experience > 8
    here = small.active
    assert small.referred[here & glad].mean() > 1.5 * small.referred[here & ~glad].mean()


def test_referrals_are_summarised_by_segment(small: Bank, extras: dict[str, pd.DataFrame]) -> None:
    summary = referral_summary(small)
    assert list(summary.index) == [*small.config.segment_names, "sample"]
    segments = extras["referrals"].merge(extras["customers"], on="customer_id")["segment"].value_counts()
    assert (summary["referrals"].drop("sample") == segments.loc[list(small.config.segment_names)].to_numpy()).all()
    total = summary.loc["sample"]
    assert total["referrals"] == len(extras["referrals"])
    assert total["customer_years"] == pytest.approx(small.active.sum() / 12)
    assert total["a_year"] == pytest.approx(total["referrals"] / total["customer_years"])
    assert total["new_customers"] == pytest.approx(small.config.referrals.conversion * total["referrals"])


def test_a_retest_repeats_an_answer_with_noise_of_its_own(extras: dict[str, pd.DataFrame], small: Bank) -> None:
    retests, answers = extras["retests"], extras["answers"]
    both = retests.merge(answers, on="answer_id", suffixes=("_again", ""), validate="one_to_one")
    assert len(both) == len(retests) == (~np.isnan(small.retest)).sum() > 100
    assert (both["customer_id"] == both["customer_id_again"]).all()
    assert (both["answered"] == both["answered_again"]).all()
    assert 0.05 < len(retests) / len(answers) < 0.11
    gap = (both["nps"] - both["nps_again"]).astype(float)
    assert 1.0 < gap.std() / np.sqrt(2) < 1.5
    assert both["nps"].astype(float).corr(both["nps_again"].astype(float)) > 0.5


def test_no_conversion_means_no_opening() -> None:
    bank = simulate(preset("small", customers=100, referrals={"conversion": 0.0}))
    made = tables(bank, extra=("referrals",))["referrals"]
    assert len(made) > 20
    assert made["opened"].isna().all()
