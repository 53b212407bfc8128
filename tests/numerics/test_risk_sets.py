"""Risk sets and Cox regression from counts: published coefficients, brute force, and the same answer from rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, CoxTimeVaryingFitter, KaplanMeierFitter
from lifelines.datasets import load_rossi, load_stanford_heart_transplants
from lifelines.statistics import proportional_hazard_test

from rox.numerics.cox import (
    bucket_jackknife,
    clustered_covariance,
    cox_from_counts,
    cox_from_rows,
    score_residuals,
)
from rox.numerics.proportionality import proportionality
from rox.numerics.risk_sets import bucket_parts, covariate_patterns, risk_sets, risk_sets_from_counts

ROSSI = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]


def rossi():
    d = load_rossi()
    return d, np.zeros(len(d)), d["week"].to_numpy(), d["arrest"].to_numpy(), d[ROSSI].to_numpy(dtype=float)


def tied_rows(n=1200, seed=0):
    """Months with many ties, late entry, strata, and several rows per customer."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 20, n)
    stop = start + rng.integers(1, 15, n)
    x = np.column_stack([rng.integers(0, 11, n), rng.integers(0, 3, n)]).astype(float)
    event = rng.random(n) < 0.3 * np.exp(-0.1 * x[:, 0] + 0.2 * x[:, 1])
    stratum = np.array(["retail", "gold", "private"])[rng.integers(0, 3, n)]
    return start, stop, event, x, stratum, rng.integers(0, n // 3, n)


class TestCounts:
    def test_every_number_by_brute_force(self):
        start, stop, event, x, stratum, _ = tied_rows(300)
        code, patterns = covariate_patterns(x)
        assert np.array_equal(patterns[code], x)
        assert len(np.unique(patterns, axis=0)) == len(patterns)
        sets = risk_sets(start, stop, event, code, stratum)
        assert len(sets.time) > 30
        for row, time in enumerate(sets.time):
            here = stratum == sets.strata[sets.stratum[row]]
            inside = here & (start < time) & (time <= stop)
            assert sets.at_risk[row].tolist() == np.bincount(code[inside], minlength=len(patterns)).tolist()
            dead = here & event & (stop == time)
            assert sets.events[row].tolist() == np.bincount(code[dead], minlength=len(patterns)).tolist()
            assert sets.tied[row] == dead.sum() > 0

    def test_counts_grouped_by_an_engine_are_the_same(self):
        start, stop, event, x, stratum, _ = tied_rows()
        code, _ = covariate_patterns(x)
        came = pd.DataFrame({"t": start, "g": code, "s": stratum, "i": 1, "o": 0, "d": 0})
        went = pd.DataFrame({"t": stop, "g": code, "s": stratum, "i": 0, "o": 1, "d": event.astype(int)})
        cells = pd.concat([came, went]).groupby(["t", "g", "s"], as_index=False).sum()
        rows = risk_sets(start, stop, event, code, stratum)
        counts = risk_sets_from_counts(
            cells["t"], cells["g"], entries=cells["i"], exits=cells["o"], events=cells["d"], stratum=cells["s"]
        )
        assert rows.times.same(counts.times)
        for name in ("at_risk", "events", "tied"):
            assert np.array_equal(getattr(rows, name), getattr(counts, name))

    def test_parts_add_up_to_the_whole(self):
        start, stop, event, x, stratum, customer = tied_rows()
        code, _ = covariate_patterns(x)
        whole = risk_sets(start, stop, event, code, stratum)
        parts = list(bucket_parts(whole, start, stop, event, code, customer % 7, stratum))
        assert len(parts) == 7
        assert np.array_equal(sum(part.at_risk for part in parts), whole.at_risk)
        assert np.array_equal(sum(part.tied for part in parts), whole.tied)
        rest = whole.without(parts[0])
        kept = customer % 7 != 0
        alone = risk_sets(start[kept], stop[kept], event[kept], code[kept], stratum[kept], like=whole)
        assert np.array_equal(rest.at_risk, alone.at_risk)
        assert np.array_equal(rest.events, alone.events)

    def test_rows_without_time_at_risk_are_counted_and_change_nothing(self):
        whole = risk_sets([0, 0, 1], [2, 3, 3], [1, 0, 1], [0, 1, 0])
        more = risk_sets([0, 0, 1, 2, 0], [2, 3, 3, 2, 0], [1, 0, 1, 0, 0], [0, 1, 0, 1, 1])
        assert (whole.idle, more.idle) == (0, 2)
        assert np.array_equal(whole.at_risk, more.at_risk)

    def test_all_faults_in_one_message(self):
        with pytest.raises(ValueError, match=r"1 rows stop before they start; 1 events have no time at risk"):
            risk_sets([3, 2], [1, 2], [0, 1], [0, 0])
        with pytest.raises(ValueError, match="there is no event"):
            risk_sets([0], [1], [0], [0])
        with pytest.raises(ValueError, match="pattern must hold 1 integer codes"):
            risk_sets([0], [1], [1], [0.5])
        with pytest.raises(ValueError, match="some entries are missing"):
            risk_sets_from_counts([0, 1], [0, 0], entries=[1, 0], exits=[0, 2], events=[0, 2])
        with pytest.raises(ValueError, match="true or false"):
            risk_sets([0], [1], [2], [0])
        whole = risk_sets([0, 0], [1, 2], [1, 1], [0, 0])
        with pytest.raises(ValueError, match="events lie at times"):
            risk_sets([0], [1.5], [1], [0], like=whole)
        with pytest.raises(ValueError, match=r"strata \['new'\] are not among"):
            risk_sets([0], [1], [1], [0], ["new"], like=whole)
        with pytest.raises(ValueError, match="holds rows that the whole does not"):
            whole.without(risk_sets([0, 0, 0], [1, 2, 2], [1, 1, 1], [0, 0, 0], like=whole))


class TestCox:
    @pytest.mark.parametrize(
        "ties, published",
        [
            ("efron", [-0.37942, -0.05744, 0.31390, -0.14980, -0.43370, -0.08487, 0.09150]),
            ("breslow", [-0.37902, -0.05725, 0.31413, -0.15111, -0.43278, -0.08498, 0.09111]),
        ],
    )
    def test_rossi_et_al(self, ties, published):
        """Allison (2010), output 5.1, for Efron; R's survival 3.5 for Breslow."""
        _, start, stop, event, x = rossi()
        code, patterns = covariate_patterns(x)
        counts = cox_from_counts(risk_sets(start, stop, event, code), patterns, ties=ties)
        rows = cox_from_rows(start, stop, event, x, ties=ties)
        assert counts.coefficient == pytest.approx(published, abs=6e-6)
        assert rows.coefficient == pytest.approx(counts.coefficient, abs=1e-12)
        assert rows.covariance == pytest.approx(counts.covariance, rel=1e-10)
        if ties == "efron":
            assert counts.se == pytest.approx([0.19138, 0.02200, 0.30799, 0.21222, 0.38187, 0.19576, 0.02865], abs=6e-6)
            assert counts.likelihood_ratio == pytest.approx(33.2659458015687, rel=1e-10)
            assert counts.loglik == pytest.approx(-658.747659446087, rel=1e-12)

    def test_lin_and_wei_sandwich_of_rossi(self):
        """R's survival 3.5, coxph with cluster()."""
        _, start, stop, event, x = rossi()
        code, patterns = covariate_patterns(x)
        fit = cox_from_counts(risk_sets(start, stop, event, code), patterns)
        residuals = score_residuals(fit, start, stop, event, x)
        assert residuals.sum(0) == pytest.approx(np.zeros(7), abs=1e-9)
        robust = np.sqrt(np.diag(clustered_covariance(fit, residuals)))
        published = [
            0.195541778981962,
            0.0253361462639771,
            0.292328555346832,
            0.218060315283669,
            0.380244465749984,
            0.199200829598849,
            0.0289745946316345,
        ]
        assert robust == pytest.approx(published, rel=1e-7)

    def test_stanford_heart_with_late_entry(self, parity):
        """Crowley & Hu (1977), R's survival: Efron, and Kalbfleisch & Prentice's (1980) models 1 and 3 by Breslow."""
        folder, ref = parity("s03_stanford_heart_tv")
        d = pd.read_csv(folder / "heart_startstop.csv")
        names = ["age", "year", "surgery", "transplant"]
        code, patterns = covariate_patterns(d[names])
        fit = cox_from_counts(risk_sets(d["start"], d["stop"], d["event"], code), patterns)
        for place, name in enumerate(names):
            assert fit.coefficient[place] == pytest.approx(ref[f"main.efron.{name}"]["value"], rel=1e-8)
            assert fit.se[place] == pytest.approx(ref[f"main.efron.se.{name}"]["value"], rel=1e-8)
        for model, names in (("kp1", ["age", "surgery"]), ("kp3", ["age", "year"])):
            x = np.column_stack([d[names], d["transplant"], d[names].mul(d["transplant"], axis=0)])
            rows = cox_from_rows(d["start"], d["stop"], d["event"], x, ties="breslow")
            labels = [*names, "transplant", *(f"{name}:transplant" for name in names)]
            published = [ref[f"{model}.{label}"]["value"] for label in labels]
            assert rows.coefficient == pytest.approx(published, rel=1e-6)

    def test_agrees_with_lifelines_on_late_entry(self):
        d = load_stanford_heart_transplants()
        d = d[d["stop"] > d["start"]]
        names = ["age", "year", "surgery", "transplant"]
        code, patterns = covariate_patterns(d[names].astype(float))
        fit = cox_from_counts(risk_sets(d["start"], d["stop"], d["event"], code), patterns)
        other = CoxTimeVaryingFitter().fit(d, id_col="id", event_col="event", start_col="start", stop_col="stop")
        assert fit.coefficient == pytest.approx(other.params_[names].to_numpy(), abs=1e-8)
        assert fit.se == pytest.approx(other.standard_errors_[names].to_numpy(), rel=1e-6)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_agrees_with_lifelines_on_ties_strata_and_weights(self, weighted):
        start, stop, event, x, stratum, _ = tied_rows()
        weights = np.random.default_rng(5).uniform(0.5, 3, len(start)) if weighted else np.ones(len(start))
        code, patterns = covariate_patterns(x)
        fit = cox_from_counts(risk_sets(start, stop, event, code, stratum, weights=weights), patterns)
        rows = cox_from_rows(start, stop, event, x, stratum, weights=weights)
        table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "start": start, "stop": stop, "event": event})
        table = table.assign(id=np.arange(len(start)), stratum=stratum, weight=weights)
        other = CoxTimeVaryingFitter().fit(
            table,
            id_col="id",
            event_col="event",
            start_col="start",
            stop_col="stop",
            strata=["stratum"],
            weights_col="weight",
        )
        assert fit.coefficient == pytest.approx(other.params_.to_numpy(), abs=1e-8)
        assert fit.covariance == pytest.approx(other.variance_matrix_.to_numpy(), rel=1e-6)
        assert rows.coefficient == pytest.approx(fit.coefficient, abs=1e-12)

    def test_a_whole_weight_is_so_many_rows_in_breslows_likelihood(self):
        start, stop, event, x, _, _ = tied_rows(200)
        times = np.random.default_rng(1).integers(1, 4, 200)
        many = np.repeat(np.arange(200), times)
        one = cox_from_rows(start, stop, event, x, weights=times, ties="breslow")
        all_rows = cox_from_rows(start[many], stop[many], event[many], x[many], ties="breslow")
        assert one.coefficient == pytest.approx(all_rows.coefficient, abs=1e-10)
        assert one.hazard == pytest.approx(all_rows.hazard, rel=1e-9)

    def test_residuals_by_brute_force(self):
        start, stop, event, x, _, _ = tied_rows(150)
        fit = cox_from_rows(start, stop, event, x)
        risk = np.exp(x @ fit.coefficient)
        expected, hazard = np.zeros_like(x), []
        for time in np.unique(stop[event]):
            inside, dead = (start < time) & (time <= stop), np.flatnonzero(event & (stop == time))
            total = 0.0
            for gone in range(len(dead)):
                weight = risk * inside
                weight[dead] *= 1 - gone / len(dead)
                mean = weight @ x / weight.sum()
                total += 1 / weight.sum()
                expected[dead] += (x[dead] - mean) / len(dead)
                expected -= (weight / weight.sum())[:, None] * (x - mean)
            hazard.append(total)
        assert score_residuals(fit, start, stop, event, x) == pytest.approx(expected, abs=1e-9)
        assert fit.hazard == pytest.approx(hazard, rel=1e-10)
        assert fit.cumulative_hazard([0, 9, 99])[0] == pytest.approx(
            [0, np.sum(np.array(hazard)[np.unique(stop[event]) <= 9]), np.sum(hazard)]
        )
        assert np.linalg.inv(fit.times_information.sum(0)) == pytest.approx(fit.covariance, rel=1e-9)

    def test_joining_consecutive_rows_changes_nothing(self):
        start, stop, event, x, stratum, customer = tied_rows(400)
        middle = start + 1
        cut = stop > middle
        pieces = [
            np.concatenate([a, b[cut]])
            for a, b in (
                (start, middle),
                (np.where(cut, middle, stop), stop),
                (event & ~cut, event),
                (stratum, stratum),
                (customer, customer),
            )
        ]
        whole = cox_from_rows(start, stop, event, x, stratum)
        split = cox_from_rows(*pieces[:3], np.vstack([x, x[cut]]), pieces[3])
        assert split.coefficient == pytest.approx(whole.coefficient, abs=1e-12)
        own = score_residuals(whole, start, stop, event, x, stratum)
        parts = score_residuals(split, *pieces[:3], np.vstack([x, x[cut]]), pieces[3])
        assert clustered_covariance(split, parts, pieces[4]) == pytest.approx(
            clustered_covariance(whole, own, customer), rel=1e-9
        )

    def test_jackknife_over_buckets_agrees_with_the_sandwich(self):
        """One unobserved mood per customer makes rows of a customer alike; both errors must see it."""
        rng = np.random.default_rng(3)
        customers, rows = 800, 6
        who = np.repeat(np.arange(customers), rows)
        score = np.repeat(rng.integers(0, 11, customers), rows)
        mood = np.repeat(rng.gamma(0.5, 2, customers), rows)
        event = rng.random(len(who)) < 1 - np.exp(-0.1 * mood * np.exp(-0.1 * score))
        start, stop = np.zeros(len(who)), np.tile(np.arange(1, rows + 1), customers).astype(float)
        code, patterns = covariate_patterns(score[:, None])
        sets = risk_sets(start, stop, event, code)
        fit = cox_from_counts(sets, patterns)
        found = bucket_jackknife(sets, bucket_parts(sets, start, stop, event, code, who % 64), patterns, fit)
        residuals = score_residuals(fit, start, stop, event, patterns[code])
        sandwich = np.sqrt(np.diag(clustered_covariance(fit, residuals, who)))
        assert sandwich[0] > 1.2 * fit.se[0]
        assert found.se[0] == pytest.approx(sandwich[0], rel=0.15)
        kept = who % 64 != 5
        alone = cox_from_rows(start[kept], stop[kept], event[kept], patterns[code[kept]])
        assert found.replicates[5] == pytest.approx(alone.coefficient, abs=1e-10)

    def test_recovers_the_truth_from_counts(self):
        rng = np.random.default_rng(11)
        n = 20_000
        x = np.column_stack([rng.integers(0, 11, n), rng.integers(0, 2, n)]).astype(float)
        start = rng.integers(0, 24, n)
        rate = 0.02 * np.exp(-0.15 * x[:, 0] + 0.4 * x[:, 1])
        length = np.ceil(rng.exponential(1 / rate))
        stop, event = np.minimum(start + length, start + 12), length <= 12
        code, patterns = covariate_patterns(x)
        fit = cox_from_counts(risk_sets(start, stop, event, code), patterns)
        assert (np.abs(fit.coefficient - [-0.15, 0.4]) < 3 * fit.se).all()
        assert fit.se[0] < 0.02

    def test_what_cannot_be_fitted_says_why(self):
        start, stop, event, x, stratum, _ = tied_rows(300)
        with pytest.raises(ValueError, match=r"covariates \[1\] do not vary"):
            cox_from_rows(start, stop, event, np.column_stack([x[:, 0], np.ones(300)]))
        with pytest.raises(ValueError, match=r"covariates \[0, 2\] are collinear"):
            cox_from_rows(start, stop, event, np.column_stack([x, 2 * x[:, 0] + 1]))
        with pytest.raises(ValueError, match=r"no maximum: covariates \[1\] separate"):
            cox_from_rows(start, stop, event, np.column_stack([x[:, 0], event]))
        with pytest.raises(ValueError, match=r"covariates \[1\] do not vary"):
            cox_from_rows(start, stop, event, np.column_stack([x[:, 0], stratum == "gold"]), stratum)
        with pytest.raises(ValueError, match="ties must be one of 'efron', 'breslow'"):
            cox_from_rows(start, stop, event, x, ties="exact")
        code, patterns = covariate_patterns(x)
        with pytest.raises(ValueError, match="each of the 33 patterns"):
            cox_from_counts(risk_sets(start, stop, event, code), patterns[:5])


class TestProportionality:
    def test_score_test_of_rossi(self):
        """R's survival 3.5, cox.zph with its default transform."""
        d, start, stop, event, x = rossi()
        fit = cox_from_rows(start, stop, event, x)
        curve = KaplanMeierFitter().fit(d["week"], d["arrest"]).survival_function_["KM_estimate"]
        before = [curve[curve.index < time].iloc[-1] for time in fit.times.time]
        found = proportionality(fit, transform="km", survival=before)
        assert found.p_value[ROSSI.index("age")] == pytest.approx(0.0145184627739779, rel=1e-7)
        assert found.together.p_value == pytest.approx(0.0134275067856751, rel=1e-7)
        assert found.together.df == 7

    @pytest.mark.parametrize("transform", ["identity", "log"])
    def test_residual_test_agrees_with_lifelines(self, transform):
        d, start, stop, event, x = rossi()
        code, patterns = covariate_patterns(x)
        found = proportionality(cox_from_counts(risk_sets(start, stop, event, code), patterns), transform=transform)
        other = proportional_hazard_test(CoxPHFitter().fit(d, "week", "arrest"), d, time_transform=transform).summary
        assert found.residual_statistic == pytest.approx(other["test_statistic"].reindex(ROSSI).to_numpy(), rel=2e-6)
        assert found.residual_p_value == pytest.approx(other["p"].reindex(ROSSI).to_numpy(), abs=1e-6)

    def test_telco_global_test_with_continuous_charges(self, parity):
        """R's survival, cox.zph of contract, monthly charges, internet service and seniority."""
        folder, ref = parity("s08_telco_churn_km")
        d = pd.read_csv(folder / "telco_churn.csv")
        x = np.column_stack(
            [
                d["contract"] == "One year",
                d["contract"] == "Two year",
                d["monthly_charges"],
                d["internet_service"] == "Fiber optic",
                d["internet_service"].fillna("No") == "No",
                d["senior_citizen"],
            ]
        ).astype(float)
        fit = cox_from_rows(np.zeros(len(d)), d["tenure"], d["churned"], x)
        names = ["contractOne year", "contractTwo year", "monthly_charges"]
        names += ["internet_serviceFiber optic", "internet_serviceNo", "senior_citizen"]
        assert fit.coefficient == pytest.approx([ref[f"cox.{name}"]["value"] for name in names], rel=1e-7)
        assert fit.se == pytest.approx([ref[f"cox.se.{name}"]["value"] for name in names], rel=1e-7)
        curve = KaplanMeierFitter().fit(d["tenure"], d["churned"]).survival_function_["KM_estimate"]
        before = [curve[curve.index < time].iloc[-1] for time in fit.times.time]
        found = proportionality(fit, transform="km", survival=before)
        assert found.together.statistic == pytest.approx(ref["zph.global.chi2"]["value"], rel=1e-6)

    def test_size_of_a_change_that_is_there(self):
        """The true coefficient moves from -0.30 at entry by 0.01 a month; a second covariate stays."""
        rng = np.random.default_rng(2)
        n, months = 30_000, 24
        x = np.column_stack([rng.integers(0, 11, n) - 5, rng.integers(0, 2, n)]).astype(float)
        stop, event = np.full(n, months), np.zeros(n, dtype=bool)
        for month in range(1, months + 1):
            rate = 0.02 * np.exp((-0.3 + 0.01 * (month - 0.5)) * x[:, 0] + 0.5 * x[:, 1])
            dies = ~event & (rng.random(n) < 1 - np.exp(-rate)) & (stop == months)
            stop[dies], event[dies] = month, True
        code, patterns = covariate_patterns(x)
        found = proportionality(cox_from_counts(risk_sets(np.zeros(n), stop, event, code), patterns))
        change, se = found.change(0, 24)
        assert abs(change[0] - 0.24) < 3 * se[0]
        assert se[0] < 0.03
        assert found.p_value[0] < 1e-8
        assert abs(change[1]) < 3 * se[1]
        assert np.average(found.scaled[:, 1], weights=found.events) == pytest.approx(0.5, abs=0.05)

    def test_refuses_what_it_cannot_do(self):
        _, start, stop, event, x = rossi()
        fit = cox_from_rows(start, stop, event, x)
        with pytest.raises(ValueError, match="needs the survival just before"):
            proportionality(fit, transform="km")
        with pytest.raises(ValueError, match="needs transform 'identity' or 'log'"):
            proportionality(fit, transform="rank").change(0, 24)
        with pytest.raises(ValueError, match="transform must be one of"):
            proportionality(fit, transform="sqrt")
