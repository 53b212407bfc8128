"""Leaving and the score known before: the right rows, the published coefficients, and the traps of time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxTimeVaryingFitter, KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from statsmodels.duration.hazard_regression import PHReg

from rox.core.check import Verdict
from rox.core.errors import FitError, LeakageError
from rox.core.units import Unit
from rox.models.answers import read_panel
from rox.models.churn_cox import ChurnCox
from rox.models.cox import cox, moved
from rox.models.episodes import at_risk, joined, split
from rox.models.population import population
from rox.models.survival import survival_table
from tests.models.conftest import START, check, leaving_panel, linked_from, noisy_leaving_panel


class TestPublished:
    def test_stanford_heart_with_a_time_varying_covariate(self, parity):
        """Crowley & Hu (1977), main effects with Efron ties; R's survival."""
        folder, ref = parity("s03_stanford_heart_tv")
        d = pd.read_csv(folder / "heart_startstop.csv").rename(columns={"id": "customer"})
        d = d.assign(segment="all", event=d["event"].astype(bool))
        names = ["age", "year", "surgery", "transplant"]
        fit = cox(d, d[names])
        for place, name in enumerate(names):
            assert fit.coefficient[place] == pytest.approx(ref[f"main.efron.{name}"]["value"], abs=2e-5)
            assert fit.model_se[place] == pytest.approx(ref[f"main.efron.se.{name}"]["value"], rel=1e-3)

    def test_rossi_with_robust_errors(self, parity):
        """Rossi et al. (1980): Allison's coefficients and the Lin-Wei sandwich of R's survival."""
        folder, ref = parity("s01_rossi_cox")
        d = pd.read_csv(folder / "rossi.csv")
        rows = pd.DataFrame({"customer": d.index, "segment": "all", "start": 0, "stop": d.week, "event": d.arrest == 1})
        names = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]
        fit = cox(rows, d[names])
        for place, name in enumerate(names):
            assert fit.coefficient[place] == pytest.approx(ref[f"coef.{name}"]["value"], rel=1e-4)
            assert fit.model_se[place] == pytest.approx(ref[f"se.{name}"]["value"], rel=1e-3)
            assert fit.se[place] == pytest.approx(ref[f"robust_se.{name}"]["value"], rel=1e-3)

    def test_agrees_with_statsmodels_on_tied_delayed_entries(self):
        months = at_risk(read_panel(linked_from(leaving_panel(1500, 24, seed=1, log_ratio=-0.2))), "tenure")
        fit = cox(months, months[["score", "kind"]])
        model = PHReg(
            months["stop"].to_numpy(dtype=float),
            months[["score", "kind"]].to_numpy(dtype=float),
            status=months["event"].to_numpy(dtype=float),
            entry=months["start"].to_numpy(dtype=float) + 1e-6,
            strata=months["segment"].to_numpy(),
            ties="efron",
        )
        other = model.fit()
        assert fit.coefficient == pytest.approx(other.params, abs=1e-6)
        assert fit.model_se == pytest.approx(other.bse, rel=1e-5)


class TestRows:
    def test_agrees_with_lifelines(self):
        months = at_risk(read_panel(linked_from(leaving_panel(600, 18, seed=4, log_ratio=-0.2))), "tenure")
        fit = cox(months, months[["score", "kind"]])
        table = months[["customer", "segment", "start", "stop", "event", "score", "kind"]]
        other = CoxTimeVaryingFitter().fit(
            table, id_col="customer", event_col="event", start_col="start", stop_col="stop", strata=["segment"]
        )
        assert fit.coefficient == pytest.approx(other.params_.to_numpy(), abs=1e-7)
        assert fit.model_covariance == pytest.approx(other.variance_matrix_.to_numpy(), rel=1e-5)

    def test_a_step_from_a_fit_is_where_slightly_other_covariates_lead(self):
        months = at_risk(read_panel(linked_from(leaving_panel(900, 18, seed=4, log_ratio=-0.2))), "tenure")
        x = months[["score", "kind"]]
        fit, rng = cox(months, x), np.random.default_rng(0)
        other = x.assign(score=x["score"] + 0.05 * rng.standard_normal(len(x)))
        there = cox(months, other).coefficient
        assert np.abs(moved(fit, months, other) - there).max() < 0.02 * np.abs(there - fit.coefficient).max()
        assert moved(fit, months, x) == pytest.approx(fit.coefficient, abs=1e-9)

    def test_joining_and_splitting_rows_change_nothing(self):
        months = at_risk(read_panel(linked_from(leaving_panel(800, 20, seed=3, log_ratio=-0.2))), "tenure")
        episodes = joined(months, ["score", "kind"])
        assert len(episodes) < 0.5 * len(months)
        assert episodes["event"].sum() == months["event"].sum()
        assert (episodes["stop"] - episodes["start"]).sum() == len(months)
        whole, short = cox(months, months[["score", "kind"]]), cox(episodes, episodes[["score", "kind"]])
        parts = split(episodes, 30.0)
        cut = cox(parts, parts[["score", "kind"]])
        assert (parts["stop"] - parts["start"]).sum() == len(months)
        assert not ((parts["start"] < 30) & (parts["stop"] > 30)).any()
        for other in (short, cut):
            assert other.coefficient == pytest.approx(whole.coefficient, abs=1e-7)
            assert other.covariance == pytest.approx(whole.covariance, rel=1e-6)

    def test_a_customer_enters_after_the_first_answer_and_leaves_in_the_exit_month(self):
        frame = pd.DataFrame(
            {
                "customer": [0] * 6 + [1] * 4 + [2] * 3,
                "month": [*range(START, START + 6), *range(START, START + 4), *range(START, START + 3)],
                "outcome": 1.0,
                "score": [np.nan, np.nan, 8, 8, 3, 3, np.nan, 5, 5, 5, np.nan, np.nan, 6],
                "score_age": [np.nan, np.nan, 1, 2, 1, 2, np.nan, 1, 2, 3, np.nan, np.nan, 1],
                "opened": START - 10.0,
                "exit_month": [START + 5.0] * 6 + [START + 4.0] * 4 + [START + 2.0] * 3,
                "voluntary": [True] * 10 + [False] * 3,
            }
        )
        episodes = joined(at_risk(read_panel(linked_from(frame)), "tenure"), ["score"])
        assert episodes[["customer", "start", "stop", "score", "event", "gone"]].to_numpy().tolist() == [
            [0, 12, 14, 8.0, False, False],
            [0, 14, 16, 3.0, True, True],
            [1, 11, 14, 5.0, True, True],
            [2, 12, 13, 6.0, False, True],
        ]
        calendar = at_risk(read_panel(linked_from(frame)), "calendar")
        assert calendar["start"].min() == 1

    @pytest.mark.filterwarnings("ignore:.*:RuntimeWarning", "ignore:.*convergence")
    def test_a_covariate_that_separates_the_leavers_is_refused(self):
        months = at_risk(read_panel(linked_from(leaving_panel(800, 20, seed=3, log_ratio=-0.2))), "tenure")
        left = months["event"].groupby(months["customer"]).transform("max")
        with pytest.raises(FitError, match="no maximum"):
            cox(months, left.astype(float).to_frame("left"))

    def test_immortal_time_cannot_come_back(self):
        """ "Ever answered", known only to those who stayed, looks protective; rows after the first answer do not."""
        frame = leaving_panel(3000, 24, seed=5, log_ratio=0.0, response=0.15)
        panel = read_panel(linked_from(frame))
        ever = panel.groupby("customer")["score"].transform("count") > 0
        naive = panel.assign(
            start=panel["month"] - START,
            stop=panel["month"] - START + 1,
            event=panel["exit_month"].eq(panel["month"]) & panel["voluntary"],
        )
        wrong = cox(naive, ever.astype(float).to_frame("ever"))
        assert wrong.coefficient[0] < -8 * wrong.se[0]
        effect = ChurnCox(controls=()).fit(linked_from(frame), rng=1)
        right = effect.tables["coefficients"].loc["score"]
        assert abs(right["estimate"]) < 3 * right["se"]


class TestChurn:
    @pytest.mark.parametrize("time", ["tenure", "calendar"])
    def test_recovers_the_ratio(self, time):
        data = linked_from(leaving_panel(4000, 30, seed=2, log_ratio=-0.2), controls=("kind",))
        effect = ChurnCox(time=time).fit(data, rng=1)
        table = effect.tables["coefficients"]
        assert abs(table.loc["score", "estimate"] + 0.2) < 3 * table.loc["score", "se"]
        assert table.loc["score", "se"] < 0.02
        assert abs(table.loc["kind", "estimate"] - 0.2 * np.sqrt(2 / 3)) < 4 * table.loc["kind", "se"]
        assert effect.draws[:, 0] == pytest.approx(effect.draws[:, 1])
        assert effect.draws[:, 0].std() == pytest.approx(table.loc["score", "se"], rel=0.06)

    def test_declares_a_hazard_that_keeps_customers(self, sample):
        effect = ChurnCox().fit(sample, rng=1)
        assert effect.estimand.unit is Unit.LOG_HAZARD
        assert effect.estimand.contrast == "ratio"
        assert effect.estimand.includes_exit
        assert effect.estimand.channels == {"retention"}
        assert effect.summary().loc["all", "high"] < 0
        hazards = effect.baseline["exit_hazard"]
        assert hazards.between(0.005, 0.03).all()

    def test_reads_answers_through_their_noise_and_shows_them_as_they_stand(self, sample):
        effect = ChurnCox().fit(sample, rng=1)
        found = check(effect, "ROX-S11")
        assert found.values["lasting"] + found.values["passing"] + found.values["noise"] == pytest.approx(100)
        rivals = effect.tables["rivals"]["estimate"]
        assert list(rivals.index[:2]) == ["calibrated", "carried"]
        assert rivals["calibrated"] < rivals["carried"] < 0
        codes = {each.code for each in effect.checks}
        assert {"ROX-S01", "ROX-S02", "ROX-S04", "ROX-S06", "ROX-S09", "ROX-E03"} <= codes
        carried = ChurnCox(reading="carried").fit(sample, rng=1)
        assert carried.tables["coefficients"].loc["score", "estimate"] == pytest.approx(rivals["carried"])
        assert check(carried, "ROX-S07").values["signal"] < 100

    def test_answers_without_any_signal_are_not_calibrated(self):
        """Each answer is drawn anew: nothing of it is lasting, and there is nothing to read."""
        effect = ChurnCox().fit(linked_from(leaving_panel(4000, 30, seed=2, log_ratio=-0.2)), rng=1)
        assert "calibrated" not in effect.tables["rivals"].index
        assert check(effect, "ROX-S07").values["low"] < 10

    def test_noise_and_staleness_are_undone(self):
        """Leaving follows experience, lasting and passing; answers add noise. Without habits the ratio is found."""
        found, carried = [], []
        for seed in range(4):
            effect = ChurnCox(time="calendar").fit(linked_from(noisy_leaving_panel(6000, 30, seed=seed)), rng=1)
            table = effect.tables["coefficients"].loc["score"]
            found.append((table["estimate"] + 0.25) / table["se"])
            carried.append(effect.tables["rivals"].loc["carried", "estimate"])
        assert np.mean(carried) > -0.15
        assert abs(np.mean(found)) < 1.5

    def test_the_error_takes_in_the_calibration(self, sample):
        effect = ChurnCox().fit(sample, rng=1)
        main = effect.tables["coefficients"].loc["score"]
        assert main["se"] > main["se_model"] * 1.005

    def test_an_effect_that_changes_is_noted_and_a_steady_one_is_not(self):
        steady = ChurnCox(time="calendar").fit(linked_from(leaving_panel(4000, 30, seed=4, log_ratio=-0.15)), rng=1)
        moving = ChurnCox(time="calendar").fit(
            linked_from(leaving_panel(4000, 30, seed=4, log_ratio=-0.25, late=0.25)), rng=1
        )
        assert check(steady, "ROX-S04").verdict is Verdict.PASS
        found = check(moving, "ROX-S04")
        assert found.verdict is Verdict.NOTE
        assert found.values["early"] < found.values["late"] - 0.1

    def test_other_exits_end_the_follow_up_and_are_no_event(self):
        frame = leaving_panel(2000, 24, seed=6, log_ratio=-0.2)
        effect = ChurnCox().fit(linked_from(frame), rng=1)
        segments = effect.tables["segments"]
        assert effect.counts["exits"] == segments["exits"].sum()
        assert (segments["other"] > 0).all()
        everyone = ChurnCox().fit(linked_from(frame.assign(voluntary=frame["exit_month"].notna())), rng=1)
        assert everyone.counts["exits"] == segments["exits"].sum() + segments["other"].sum()

    def test_the_bundled_bank(self, bank_linked):
        effect = ChurnCox().fit(bank_linked, rng=1)
        assert effect.summary().loc["all", "high"] < 0
        assert effect.draws.mean() > -0.25
        kept = effect.tables["survival"].set_index("category", append=True)["kept_12"]
        assert kept["all", "promoter"] > kept["all", "detractor"]

    def test_a_score_of_the_exit_month_is_refused(self):
        frame = leaving_panel(500, 20, seed=1, log_ratio=-0.2)
        frame["score_age"] -= 1
        with pytest.raises(LeakageError, match="ROX-S01"):
            ChurnCox().fit(linked_from(frame), rng=1)

    def test_a_score_without_its_date_is_refused(self):
        frame = leaving_panel(500, 20, seed=1, log_ratio=-0.2)
        frame["score_age"] = np.nan
        with pytest.raises(LeakageError, match="ROX-S02"):
            ChurnCox().fit(linked_from(frame), rng=1)

    def test_what_cannot_be_modelled_says_what_to_do(self):
        frame = leaving_panel(500, 20, seed=1, log_ratio=-0.2)
        with pytest.raises(FitError, match='time="calendar"'):
            ChurnCox().fit(linked_from(frame.assign(opened=np.nan)), rng=1)
        with pytest.raises(FitError, match="0 customers with a known score left by their own choice"):
            ChurnCox().fit(linked_from(frame.assign(voluntary=False)), rng=1)
        with pytest.raises(FitError, match=r"Controls \['wealth'\] are not linked"):
            ChurnCox(controls=["wealth"]).fit(linked_from(frame), rng=1)

    def test_few_exits_are_noted(self):
        frame = leaving_panel(700, 14, seed=8, log_ratio=-0.2)
        rng = np.random.default_rng(0)
        names = tuple(f"z{each}" for each in range(8))
        fixed = rng.standard_normal((700, 8))
        data = linked_from(frame.assign(**dict(zip(names, fixed[frame["customer"]].T, strict=True))), controls=names)
        found = check(ChurnCox().fit(data, rng=1), "ROX-S06")
        assert found.verdict is Verdict.NOTE
        assert found.values["parameters"] == 9


class TestSurvival:
    def test_by_hand(self):
        """Four promoters followed 1, 2, 3 and 4 months after the answer, exits after 2 and 4."""
        frames = []
        for customer, (months, exits) in enumerate([(1, False), (2, True), (3, False), (4, True)]):
            rows = pd.DataFrame({"customer": customer, "month": START + 1 + np.arange(months), "outcome": 1.0})
            rows = rows.assign(score=9.0, score_age=1.0 + np.arange(months), voluntary=exits)
            rows["exit_month"] = float(START + months) if exits else np.nan
            frames.append(rows)
        panel = read_panel(linked_from(pd.concat(frames)))
        people = population(panel.assign(month=START + 9), ["all"])
        table = survival_table(panel, people, (2, 4), 1).set_index("category")
        assert table.loc["promoter", "kept_2"] == pytest.approx(2 / 3)
        assert table.loc["promoter", "kept_4"] == pytest.approx(0.0)
        assert table.loc["promoter", "months"] == pytest.approx(1 + 1 + 2 / 3 + 2 / 3)
        assert table.loc["detractor", "suppressed"]

    def test_intervals_are_those_of_lifelines_and_shrink_when_segments_are_pooled(self):
        panel = read_panel(linked_from(leaving_panel(1500, 20, seed=3, log_ratio=-0.2)))
        people = population(panel, ["a", "b"])
        table = survival_table(panel, people, (6, 12), 10).set_index("category", append=True)
        scored = panel[panel["score"].notna()].drop_duplicates("customer").set_index("customer")
        scored = scored[(scored["segment"] == "a") & (scored["score"] <= 6)]
        final = panel.drop_duplicates("customer", keep="last").set_index("customer").loc[scored.index]
        months = final["month"] - (scored["month"] - scored["score_age"])
        curve = KaplanMeierFitter(alpha=0.1).fit(months, final["exit_month"] <= final["month"] + 1)
        low, high = curve.confidence_interval_survival_function_.loc[12]
        row = table.loc["a", "detractor"]
        assert row[["kept_12", "kept_12_low", "kept_12_high"]].tolist() == pytest.approx(
            [curve.predict(12), low, high], rel=1e-9
        )
        assert row["months"] == pytest.approx(restricted_mean_survival_time(curve, t=12), rel=1e-9)
        assert 0 < row["months_high"] - row["months"] == pytest.approx(row["months"] - row["months_low"])
        width = table["kept_12_high"] - table["kept_12_low"]
        assert (width["all"] < np.minimum(width["a"], width["b"])).all()
        apart = people.shares @ table.loc[["a", "b"], "kept_12"].unstack("category")["passive"].to_numpy()
        assert table.loc[("all", "passive"), "kept_12"] == pytest.approx(apart)

    def test_small_groups_are_not_shown(self):
        frame = leaving_panel(600, 20, seed=2, log_ratio=-0.2)
        frame.loc[frame["customer"] < 12, "segment"] = "few"
        effect = ChurnCox().fit(linked_from(frame), rng=1)
        shown = effect.tables["survival"].loc["few"]
        assert shown["suppressed"].all()
        assert shown.drop(columns=["category", "suppressed"]).isna().all(axis=None)
        few = effect.tables["segments"].loc["few"]
        assert few["suppressed"]
        assert np.isnan(few["exits"])
