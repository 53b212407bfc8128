"""The bank looks like the published picture, and its presets differ as they say. Bands are wide: they catch a broken
mechanism, not a lucky draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.simulate import Bank, Intervention, preset, simulate, truth


def slope(y: np.ndarray, x: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Within-group least squares."""
    frame = pd.DataFrame({"y": y, "x": x})
    weight = np.ones(len(y)) if weights is None else weights
    centred = frame - frame.mul(weight, axis=0).groupby(groups).transform("sum").div(
        pd.Series(weight).groupby(groups).transform("sum"), axis=0
    )
    return float((weight * centred["y"] * centred["x"]).sum() / (weight * centred["x"] ** 2).sum())


def past_growth_per_point(bank: Bank) -> float:
    """Growth of money over the six months before an answer, per score point, within segment and month."""
    month, who = np.nonzero(bank.answered[6:])
    now, then = bank.aum[month + 6, who], bank.aum[month, who]
    held = (now > 0) & (then > 0)
    month, who = month[held], who[held]
    growth = np.clip(np.log(now[held] / then[held]), -2, 2)
    return slope(growth, bank.score[month + 6, who].astype(float), bank.customers.segment[who] * 100 + month)


def published_nps_gap(bank: Bank) -> float:
    """NPS of those who answered minus NPS of all customers."""
    points = 100.0 * (bank.score >= 9) - 100.0 * (bank.score <= 6)
    waves = bank.active & bank.invited.any(axis=1)[:, None]
    return float(points[bank.answered].mean() - np.average(points, weights=waves * bank.design_weight))


def test_segments_hold_what_the_wealth_pyramid_says(wide: Bank) -> None:
    segment, aum, active = wide.customers.segment, wide.aum, wide.active
    expected = {0: 6e3, 1: 95e3, 2: 1.1e6, 3: 6.9e6, 4: 27e6}
    for k, mean in expected.items():
        found = aum[:, segment == k][active[:, segment == k]].mean()
        assert 0.7 * mean < found < 1.4 * mean, (k, found)
    weight = wide.design_weight * active
    by_segment = [(aum * weight)[:, segment == k].sum() for k in range(5)]
    assert 50e3 < sum(by_segment) / weight.sum() < 95e3
    assert 0.6 < sum(by_segment[2:]) / sum(by_segment) < 0.85


def test_zero_balances_are_a_matter_of_small_accounts(wide: Bank) -> None:
    shares = [
        wide.empty[:, wide.customers.segment == k][wide.active[:, wide.customers.segment == k]].mean() for k in range(5)
    ]
    assert 0.04 < shares[0] < 0.12
    assert max(shares[2:]) < 0.02


def test_voluntary_exits_a_year_fall_from_thirteen_to_one_percent(wide: Bank) -> None:
    rates = []
    for k, segment in enumerate(wide.config.segments):
        mine = wide.customers.segment == k
        rate = 12 * (wide.exit_cause[mine] == 1).sum() / wide.active[:, mine].sum()
        assert 0.7 < rate / segment.voluntary_exit < 1.5, (segment.name, rate)
        rates.append(rate)
    assert rates == sorted(rates, reverse=True)


def test_about_one_invitation_in_seven_is_answered_and_half_of_answerers_answer_once(wide: Bank) -> None:
    assert 0.12 < wide.answered.sum() / wide.invited.sum() < 0.18
    answers = wide.answered.sum(axis=0)
    assert 0.35 < (answers == 1).sum() / (answers > 0).sum() < 0.65
    assert (wide.invited.any(axis=1) == (np.arange(36) % 3 == 2)).all()


def test_answers_spread_over_their_scales_and_move_together(wide: Bank) -> None:
    score, csat, ces = (getattr(wide, name)[wide.answered] for name in ("score", "csat", "ces"))
    assert 1.8 < np.nanstd(wide.score) < 2.4
    for values, low, high in ((score, 0, 10), (csat, 1, 5), (ces, 1, 7)):
        assert (values.min(), values.max()) == (low, high)
        assert (values == np.rint(values)).all()
    together = np.corrcoef([score, csat, ces])
    assert together[np.triu_indices(3, 1)].min() > 0.4
    assert together[np.triu_indices(3, 1)].max() < 0.9


def test_an_immediate_retest_moves_many_out_of_their_category(wide: Bank) -> None:
    asked = ~np.isnan(wide.retest)
    first, second = wide.score[asked], wide.retest[asked]
    assert 0.05 < asked.sum() / wide.answered.sum() < 0.11
    assert 0.6 < (second[first <= 6] <= 6).mean() < 0.8
    assert 0.35 < ((second >= 7) & (second <= 8))[(first >= 7) & (first <= 8)].mean() < 0.6


def test_the_naive_slope_is_several_times_the_truth(wide: Bank) -> None:
    month, who = np.nonzero(wide.answered)
    score = wide.score[month, who].astype(float)
    naive = slope(wide.aum[month, who], score, np.zeros(len(who)), wide.design_weight[who])
    real = truth(wide.config, Intervention(shift=0.5, shift_from=12)).after(12).loc["bank", "effect_per_point"]
    assert 2_000 < real < 3_000
    assert naive > 2.5 * real


def test_promoters_rise_and_detractors_fall(wide: Bank) -> None:
    month, who = np.nonzero(wide.answered[:24])
    month, who = month[wide.aum[month, who] > 0], who[wide.aum[month, who] > 0]
    ratio = np.minimum(wide.aum[month + 12, who] / wide.aum[month, who], 5)
    score = wide.score[month, who]
    assert ratio[score >= 9].mean() > 0.98
    assert ratio[score <= 6].mean() < ratio[score >= 9].mean() - 0.1


def test_incidents_show_in_complaints_transfers_and_contacts(small: Bank) -> None:
    here = small.active
    hit = here & (small.incident < 255)
    assert small.complained[hit].mean() > 0.3
    assert not small.complained[here & ~hit].any()
    app = here & (small.incident == 1)
    assert small.failed_transfers[app].mean() > 20 * small.failed_transfers[here & ~app].mean()
    assert small.contacts[hit].mean() > 3 * small.contacts[here & ~hit].mean()
    praised = small.experience[small.praised].mean()
    assert praised > small.experience[here].mean() + 0.5


def test_engaged_customers_log_in_more_and_visit_less(small: Bank) -> None:
    engaged = small.customers.engagement > 0
    for name, sign in (("logins", 1), ("visits", -1)):
        counts, active = getattr(small, name), small.active
        more = counts[:, engaged][active[:, engaged]].mean() - counts[:, ~engaged][active[:, ~engaged]].mean()
        assert sign * more > 0.05, name


def test_managers_call_the_wealthy_and_never_the_hold_out(wide: Bank) -> None:
    eligible, held_out = wide.eligible, wide.customers.held_out
    assert 0.35 < wide.called.sum() / eligible.sum() < 0.55
    assert not wide.called[:, held_out].any()
    wealth = np.broadcast_to(wide.customers.wealth, eligible.shape)
    free = eligible & ~held_out
    assert wealth[wide.called].mean() > wealth[free & ~wide.called].mean() + 0.3


def test_the_refit_shows_in_the_rating_of_the_branch_most_of_all(small: Bank) -> None:
    without = simulate(small.config, Intervention(rollout=False))
    treated = small.refit == small.config.rollout.starts[0]
    gains = np.nanmean(small.ratings[-1] - without.ratings[-1], axis=0, where=treated[:, None])
    assert gains[0] > 0.8
    assert 0.05 < gains[1:].min() <= gains[1:].max() < 0.5


def test_ratings_matter_in_the_order_of_the_drivers_weights(wide: Bank) -> None:
    wave, who = np.nonzero(wide.answered[2::3])
    score, ratings = wide.score[2::3][wave, who], wide.ratings[wave, who]
    full = ~np.isnan(ratings).any(axis=1)
    design = np.column_stack([np.ones(full.sum()), ratings[full]])
    weights = np.linalg.lstsq(design, score[full], rcond=None)[0][1:]
    assert (np.diff(weights) < 0).all()


def test_revenue_is_the_margin_on_the_balance_and_fees(wide: Bank) -> None:
    for k, segment in enumerate(wide.config.segments):
        mine = (wide.customers.segment == k) & wide.active
        fees = wide.config.money.fee * np.broadcast_to(wide.customers.products, mine.shape)[mine].mean()
        margin = segment.margin / 12 * wide.aum[mine].mean()
        assert wide.revenue[mine].mean() == pytest.approx(margin + fees, rel=0.03)


def test_presets_are_as_difficult_as_they_say() -> None:
    easy, cmb, hard = (simulate(preset(name, customers=6_000, seed=3)) for name in ("easy", "cmb", "hard"))
    assert abs(past_growth_per_point(easy)) < 0.008
    assert 0.012 < past_growth_per_point(cmb) < past_growth_per_point(hard)
    assert abs(published_nps_gap(easy)) < 5 < 9 < published_nps_gap(cmb) < published_nps_gap(hard) - 8
    tilts = [np.corrcoef(bank.customers.judgement, bank.customers.experience)[0, 1] for bank in (easy, cmb, hard)]
    assert abs(tilts[0]) < 0.05 < 0.4 < tilts[1] < tilts[2]
