"""Survival and incidence curves, bands and restricted means: hand counts, published values, and other programs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import AalenJohansenFitter, KaplanMeierFitter
from lifelines.datasets import load_rossi, load_waltons
from lifelines.utils import restricted_mean_survival_time
from scipy import stats

from rox.numerics.incidence import cumulative_incidence, kaplan_meier, life_table, life_table_from_counts
from rox.numerics.restricted_mean import difference, longest_horizon, restricted_mean
from rox.numerics.survival_bands import bridge_quantile, pointwise, precision_quantile, simultaneous


def late_rows(n=400, seed=1, tied=False):
    """Late entry, two causes and censoring."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 2, n)
    stop = start + rng.exponential(2, n)
    if tied:
        start, stop = np.floor(start), np.floor(stop) + 3
    return start, stop, rng.integers(0, 3, n)


class TestLifeTable:
    def test_by_hand(self):
        """Ten enter at 0, two late at 2; at 3 a tie of both causes and a censoring, at 5 one more."""
        start = [0] * 10 + [2] * 2
        stop = [1, 3, 3, 3, 5] + [6] * 5 + [3, 6]
        cause = [1, 1, 2, 0, 1] + [0] * 5 + [1, 0]
        table = life_table(start, stop, cause)
        assert table.time.tolist() == [0, 1, 2, 3, 5, 6]
        assert table.at_risk.ravel().tolist() == [0, 10, 9, 11, 7, 6]
        assert table.at_risk_at([0, 1, 2, 3, 6]).ravel().tolist() == [10, 9, 11, 7, 0]
        survival = [1, 0.9, 0.9, 0.9 * 8 / 11, 0.9 * 8 / 11 * 6 / 7, 0.9 * 8 / 11 * 6 / 7]
        assert kaplan_meier(table).value.ravel() == pytest.approx(survival)
        one = cumulative_incidence(table, 1).value.ravel()
        two = cumulative_incidence(table, 2).value.ravel()
        assert one == pytest.approx([0, 0.1, 0.1, 0.1 + 0.9 * 2 / 11, *[0.1 + 0.9 * (2 / 11 + 8 / 11 / 7)] * 2])
        assert one + two == pytest.approx(1 - np.array(survival))

    def test_counts_from_an_engine_and_weights_are_the_same(self):
        start, stop, cause = late_rows(tied=True)
        group = np.where(cause == 0, "a", "b")
        times = np.random.default_rng(0).integers(1, 4, len(start))
        many = np.repeat(np.arange(len(start)), times)
        rows = life_table(start[many], stop[many], cause[many], group[many])
        weighted = life_table(start, stop, cause, group, weights=times)
        counts = life_table_from_counts(
            np.concatenate([start, stop]),
            np.concatenate([group, group]),
            entries=np.concatenate([times, 0 * times]),
            exits=np.concatenate([0 * times, times]),
            events=np.vstack([np.zeros((len(start), 2)), times[:, None] * (cause[:, None] == [1, 2])]),
        )
        for other in (weighted, counts):
            for name in ("time", "groups", "causes", "entries", "exits", "events"):
                assert np.array_equal(getattr(rows, name), getattr(other, name)), name

    def test_given_survival_to_a_time(self):
        start, stop, cause = late_rows(tied=True)
        table = life_table(start, stop, cause)
        whole, later = kaplan_meier(table), kaplan_meier(table.since(4))
        assert later.at(7)[0] == pytest.approx(whole.at(7)[0] / whole.at(4)[0])
        early = stop > 4
        assert np.array_equal(
            table.since(4).at_risk[1:],
            life_table(np.maximum(start, 4)[early], stop[early], cause[early]).at_risk[1:],
        )

    def test_after_the_last_follow_up_nothing_is_said(self):
        table = life_table(None, [2, 3, 5, 9], [1, 0, 1, 0], ["a", "a", "b", "b"])
        value, _ = kaplan_meier(table).at([1, 3, 4, 9])
        assert value[:, 0].tolist()[:2] == [1, 0.5]
        assert np.isnan(value[2:, 0]).all()
        assert value[:, 1].tolist() == [1, 1, 1, 0.5]

    def test_faults(self):
        with pytest.raises(ValueError, match="1 rows stop before they start; 1 events have no time at risk"):
            life_table([3, 2], [1, 2], [0, 1])
        with pytest.raises(ValueError, match="cause must be 0"):
            life_table(None, [1, 2], [0.5, 1])
        with pytest.raises(ValueError, match="some entries are missing"):
            life_table_from_counts([0, 1], ["a", "a"], entries=[1, 0], exits=[0, 2], events=[0, 1])
        table = life_table(None, [1, 2], [1, 0])
        with pytest.raises(ValueError, match="cause 2 is not among"):
            cumulative_incidence(table, 2)
        with pytest.raises(ValueError, match=r"causes \[5\] are not among \[1\]"):
            table.only(5)
        with pytest.raises(ValueError, match="nobody is followed beyond 7"):
            table.since(7)


class TestCurves:
    def test_rossi_et_al(self):
        """Kaplan-Meier and Greenwood of R's survival 3.5 at weeks 13, 26 and 52."""
        d = load_rossi()
        value, se = kaplan_meier(life_table(None, d["week"], d["arrest"])).at([13, 26, 52])
        assert value.ravel() == pytest.approx([0.953703703703703, 0.875, 0.736111111111111], rel=1e-12)
        assert se.ravel() == pytest.approx([0.0101096934192559, 0.0159117211630411, 0.0212051019809588], rel=1e-10)

    def test_danish_melanoma(self, parity):
        """Andersen et al. (1993), Aalen-Johansen by R's survival at 2, 5 and 8 years."""
        folder, ref = parity("s06_melanoma_competing")
        d = pd.read_csv(folder / "melanoma.csv")
        table = life_table(None, d["time"], d["status"].map({1: 1, 2: 0, 3: 2}))
        for cause, name in ((1, "cif.melanoma"), (2, "cif.other")):
            value, _ = cumulative_incidence(table, cause).at(365.25 * np.array([2, 5, 8]))
            assert value.ravel() == pytest.approx(ref[name]["value"], rel=1e-10)
        censored = 1 - kaplan_meier(table.only(1)).at(365.25 * 8)[0]
        assert censored > value[-1] + 0.2 * ref["cif.melanoma"]["value"][-1]

    def test_telco_by_contract(self, parity):
        """R's survival; eleven customers of tenure zero neither crash nor count."""
        folder, ref = parity("s08_telco_churn_km")
        d = pd.read_csv(folder / "telco_churn.csv")
        table = life_table(None, d["tenure"], d["churned"], d["contract"])
        assert table.idle == 11
        value, _ = kaplan_meier(table).at([12, 24, 48])
        for group, name in enumerate(["month_to_month", "one_year", "two_year"]):
            assert value[:, group] == pytest.approx(ref[f"km.{name}"]["value"], rel=1e-12)
        kept = restricted_mean(table, 72)
        assert kept.value == pytest.approx(ref["rmst72"]["value"], rel=1e-12)
        assert kept.se == pytest.approx(ref["rmst72.se"]["value"], rel=1e-10)
        bounds = pointwise(kaplan_meier(table), level=0.95)
        assert np.nanmin(bounds.low) >= 0
        assert np.nanmax(bounds.high) <= 1

    def test_agrees_with_lifelines_on_late_entry(self):
        start, stop, cause = late_rows()
        table = life_table(start, stop, cause)
        other = KaplanMeierFitter(alpha=0.1).fit(stop, cause > 0, entry=start)
        when = other.survival_function_.index.to_numpy()[1:]
        curve = kaplan_meier(table)
        assert curve.at(when)[0].ravel() == pytest.approx(other.survival_function_.iloc[1:, 0].to_numpy(), abs=1e-12)
        bounds = pointwise(curve, level=0.9)
        place = np.searchsorted(curve.time, when)
        middle = (curve.value[place, 0] < 1) & (curve.value[place, 0] > 0)
        low, high = other.confidence_interval_survival_function_.iloc[1:].to_numpy().T
        assert bounds.low[place, 0][middle] == pytest.approx(low[middle], abs=1e-9)
        assert bounds.high[place, 0][middle] == pytest.approx(high[middle], abs=1e-9)
        for one in (1, 2):
            fitted = AalenJohansenFitter().fit(pd.Series(stop), pd.Series(cause), one, entry=pd.Series(start))
            value, se = cumulative_incidence(table, one).at(fitted.cumulative_density_.index.to_numpy())
            assert value.ravel() == pytest.approx(fitted.cumulative_density_.iloc[:, 0].to_numpy(), abs=1e-12)
            assert se.ravel()[1:] ** 2 == pytest.approx(fitted.variance_.to_numpy()[1:], rel=1e-8, abs=1e-14)

    def test_aalens_variance_agrees_with_scikit_survival(self):
        """Log-log limits at 95% of scikit-survival 0.28, cumulative_incidence_competing_risks with var_type Aalen."""
        time = [1.2, 2.5, 3.1, 4.7, 5.0, 6.3, 7.7, 8.1, 9.9, 10.4]
        cause = [1, 2, 0, 1, 1, 0, 2, 1, 0, 1]
        curve = cumulative_incidence(life_table(None, time, cause), 1, variance="aalen")
        bounds = pointwise(curve, level=0.95)
        place = np.searchsorted(curve.time, [1.2, 5.0, 8.1])
        low = [0.004545066812296772, 0.0638474572014323, 0.1007599946224385]
        high = [0.3741952903672253, 0.6374647944025842, 0.7816115444546217]
        assert curve.value[place, 0] == pytest.approx([0.1, 0.32857142857142857, 0.4714285714285714], rel=1e-12)
        assert bounds.low[place, 0] == pytest.approx(low, rel=1e-10)
        assert bounds.high[place, 0] == pytest.approx(high, rel=1e-10)

    def test_one_cause_has_greenwoods_variance(self):
        start, stop, cause = late_rows(tied=True)
        table = life_table(start, stop, (cause > 0).astype(int))
        alive, gone = kaplan_meier(table), cumulative_incidence(table, 1)
        kept = alive.value[:, 0] > 0
        assert gone.value[kept] == pytest.approx(1 - alive.value[kept])
        assert gone.se[kept] == pytest.approx(alive.se[kept], rel=1e-9, abs=1e-12)

    def test_variance_by_simulation(self):
        rng = np.random.default_rng(4)
        found = []
        for _ in range(250):
            n = 150
            start = rng.integers(0, 4, n)
            length = np.ceil(rng.exponential(8, n)).astype(int)
            stop = np.minimum(start + length, 12)
            cause = np.where(start + length <= 12, rng.integers(1, 3, n), 0)
            table = life_table(start, stop, cause)
            value, se = cumulative_incidence(table, 1).at(8)
            lost = restricted_mean(table, 10, cause=1)
            kept = restricted_mean(table, 10)
            found.append([value[0, 0], se[0, 0], lost.value[0], lost.se[0], kept.value[0], kept.se[0]])
        found = np.array(found)
        for column in (0, 2, 4):
            assert found[:, column + 1].mean() == pytest.approx(found[:, column].std(), rel=0.15)


class TestBands:
    @pytest.mark.parametrize("level, published", [(0.90, 1.2238), (0.95, 1.3581), (0.99, 1.6276)])
    def test_whole_bridge_is_kolmogorovs(self, level, published):
        assert bridge_quantile(level, 0.0, 1.0) == pytest.approx(published, abs=1e-4)
        assert bridge_quantile(level, 0.0, 1.0) == pytest.approx(stats.kstwobign.ppf(level), abs=1e-6)

    def test_a_point_of_the_bridge_is_normal(self):
        assert bridge_quantile(0.95, 0.3, 0.3) == pytest.approx(1.959964 * np.sqrt(0.21), abs=1e-6)
        assert precision_quantile(0.95, 0.3, 0.3) >= 1.9599

    @pytest.mark.parametrize("low, high", [(0.0, 0.5), (0.1, 0.9), (0.2, 0.6)])
    def test_stretches_by_simulation(self, low, high):
        """Steps of 1/2000 miss some peaks, so simulated quantiles lie about 0.02 below."""
        rng = np.random.default_rng(0)
        share = np.arange(1, 2001) / 2000
        walk = np.cumsum(rng.standard_normal((4000, 2000)) / np.sqrt(2000), axis=1)
        bridge = np.abs(walk - share * walk[:, -1:])[:, (share >= low) & (share <= high)]
        inside = share[(share >= low) & (share <= high)]
        assert np.quantile(bridge.max(1), 0.9) == pytest.approx(bridge_quantile(0.9, low, high) - 0.015, abs=0.03)
        if low > 0:
            scaled = (bridge / np.sqrt(inside * (1 - inside))).max(1)
            assert np.quantile(scaled, 0.9) == pytest.approx(precision_quantile(0.9, low, high) - 0.02, abs=0.05)

    @pytest.mark.parametrize("kind", ["hall-wellner", "equal-precision"])
    def test_bands_hold_the_whole_curve(self, kind):
        rng = np.random.default_rng(9)
        held, held_pointwise = 0, 0
        for _ in range(200):
            time, limit = rng.exponential(10, 200), rng.uniform(5, 40, 200)
            curve = kaplan_meier(life_table(None, np.minimum(time, limit), time <= limit))
            window = (2.0, 15.0)
            band = simultaneous(curve, kind=kind, level=0.9, window=window)
            rows = (curve.time >= window[0]) & (curve.time <= window[1])
            truth = np.exp(-curve.time / 10)
            held += bool(((band.low[rows, 0] <= truth[rows]) & (truth[rows] <= band.high[rows, 0])).all())
            points = pointwise(curve, level=0.9)
            held_pointwise += bool(((points.low[rows, 0] <= truth[rows]) & (truth[rows] <= points.high[rows, 0])).all())
        assert 0.84 <= held / 200 <= 0.97
        assert held_pointwise / 200 < 0.75

    def test_scales_and_refusals(self):
        d = load_waltons()
        curve = kaplan_meier(life_table(None, d["T"], d["E"], d["group"]))
        plain, logs = (pointwise(curve, scale=scale) for scale in ("plain", "log"))
        row = 20
        half = stats.norm.ppf(0.95) * curve.se[row]
        assert plain.high[row] == pytest.approx(np.minimum(curve.value[row] + half, 1))
        assert logs.low[row] == pytest.approx(curve.value[row] * np.exp(-half / curve.value[row]))
        wide, narrow = simultaneous(curve), pointwise(curve)
        seen = np.isfinite(wide.low) & (curve.value < 1) & (curve.value > 0)
        assert seen.sum() > 20
        assert (wide.low[seen] < narrow.low[seen]).all()
        with pytest.raises(ValueError, match="are for survival curves"):
            simultaneous(cumulative_incidence(life_table(None, d["T"], d["E"]), 1))
        with pytest.raises(ValueError, match="kind must be one of"):
            simultaneous(curve, kind="bonferroni")


class TestRestrictedMean:
    def test_primary_biliary_cirrhosis(self, parity):
        """R's survival and the vignette of survRM2 (Uno): ten years by arm."""
        folder, ref = parity("s10_pbc_rmst")
        d = pd.read_csv(folder / "pbc312.csv")
        found = restricted_mean(life_table(None, d["years"], d["died"], d["arm"]), 10)
        for arm in (0, 1):
            assert found.value[arm] == pytest.approx(ref[f"rmst.arm{arm}"]["value"], rel=1e-12)
            assert found.se[arm] == pytest.approx(ref[f"se.arm{arm}"]["value"], rel=1e-10)
        apart = difference(found, 1, 0, level=0.95)
        assert apart.value == pytest.approx(ref["diff"]["value"], rel=1e-10)
        assert apart.low == pytest.approx(ref["diff.lo"]["value"], rel=1e-6)
        assert apart.high == pytest.approx(ref["diff.hi"]["value"], rel=1e-6)
        assert apart.p_value == pytest.approx(0.738, abs=5e-4)

    def test_agrees_with_lifelines(self):
        d = load_waltons()
        found = restricted_mean(life_table(None, d["T"], d["E"], d["group"]), 50)
        for place, label in enumerate(found.groups):
            part = d[d["group"] == label]
            other = restricted_mean_survival_time(KaplanMeierFitter().fit(part["T"], part["E"]), t=50)
            assert found.value[place] == pytest.approx(other, rel=1e-10)

    def test_time_kept_and_times_lost_fill_the_horizon(self):
        table = life_table(*late_rows())
        total = restricted_mean(table, 4).value
        total = total + sum(restricted_mean(table, 4, cause=cause).value for cause in (1, 2))
        assert total == pytest.approx([4.0])

    def test_by_hand_and_given_survival(self):
        table = life_table(None, [1, 2, 2, 3], [1, 0, 1, 1])
        assert restricted_mean(table, 2.5).value == pytest.approx([1 + 0.75 + 0.25])
        assert restricted_mean(table.since(1), 3, origin=1).value == pytest.approx([1 + 2 / 3])
        assert restricted_mean(table, 9).value == pytest.approx([2.25])
        assert restricted_mean(table, 0.5).value == pytest.approx([0.5])

    def test_a_horizon_beyond_the_follow_up_is_refused(self):
        table = life_table(None, [2, 3, 5, 9], [1, 0, 1, 0], ["a", "a", "b", "b"])
        with pytest.raises(ValueError, match=r"nobody is followed to 5 in some groups \(a to 3\)"):
            restricted_mean(table, 5)
        assert longest_horizon(table, 0.6).tolist() == [2, 5]
        with pytest.raises(ValueError, match="must lie after the origin"):
            restricted_mean(table, 0)
