"""Leaving from cells: the same as from rows, as the Cox model, and nearer to the truth where answers have habits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import rox
from rox.core.check import Verdict
from rox.core.errors import DataError, FitError, LeakageError
from rox.core.score_parts import ScoreParts
from rox.core.units import Unit
from rox.models.answering_style import STYLE_PRIOR, without_style
from rox.models.answers import read_panel
from rox.models.churn_cox import ChurnCox
from rox.models.churn_hazard import ChurnHazard
from rox.models.episodes import at_risk
from rox.models.hazard_cells import answers_of, at_risk_cells, people_of, usable_census
from rox.models.hazard_fit import SHARES, fit_cells, neighbours
from rox.models.population import population
from rox.models.reliability import answer_reliability
from rox.numerics.grouped import dummies
from tests.models.conftest import check, leaving_panel, linked_from, noisy_leaving_panel

PARTS = ScoreParts(lasting=0.8, passing=1.2, memory=0.9, noise=1.5)


def carried_cells(data, clock="calendar", controls=()):
    return at_risk_cells(data, clock=clock, parts=None, controls=controls, bins=0.2)


class TestCells:
    def test_cells_count_what_the_rows_say(self):
        data = linked_from(leaving_panel(900, 20, seed=1, log_ratio=-0.2), controls=("kind",))
        months = at_risk(read_panel(data), "tenure")
        cells = carried_cells(data, "tenure", ("kind",))
        assert cells.values["n"].sum() == len(months)
        assert cells.values["exits"].sum() == months["event"].sum()
        assert cells.values["lasting"].sum() == months["score"].sum()
        by_segment = months.groupby("segment")["event"].sum()
        assert cells.values.groupby("segment")["exits"].sum().to_dict() == by_segment.to_dict()
        assert len(cells.cells) < len(months)

    def test_a_fit_from_cells_is_that_of_statsmodels_from_rows(self):
        """Score and label are categories, so nothing is lost."""
        frame = leaving_panel(1500, 24, seed=2, log_ratio=-0.2)
        data = linked_from(frame.assign(sort=frame["kind"].map("k{:.0f}".format)), controls=("sort",))
        months = at_risk(read_panel(data), "calendar").drop(columns="opened")
        found = fit_cells(
            carried_cells(linked_from(data.panel.assign(opened=np.nan), controls=("sort",)), "calendar", ("sort",))
        )
        level = months["segment"].astype(str) + months["start"].astype(str)
        seen = months["event"].groupby(level).transform("sum") > 0
        rows, level = months[seen], level[seen]
        design = np.column_stack([rows["score"], dummies(rows["sort"])[0][:, 1:], dummies(level)[0]])
        family = sm.families.Binomial(link=sm.families.links.CLogLog())
        other = sm.GLM(rows["event"].astype(float).to_numpy(), design, family=family).fit(tol=1e-14, maxiter=200)
        assert found.names == ("score", "sort=k1.0", "sort=k2.0") or len(found.names) == 3
        assert found.coefficient == pytest.approx(other.params[:3], abs=1e-8)
        assert found.fit.se == pytest.approx(other.bse[:3], rel=1e-6)

    def test_finer_bins_hardly_matter(self, sample):
        wide, fine = (
            fit_cells(at_risk_cells(sample, clock="tenure", parts=PARTS, controls=("products",), bins=bins))
            for bins in (0.2, 0.02)
        )
        assert abs(wide.coefficient[0] - fine.coefficient[0]) < 0.05 * fine.se[0]
        assert wide.apart == pytest.approx(fine.apart, abs=0.3 * np.sqrt(np.diag(fine.apart_covariance)).max())

    def test_people_and_answers_are_those_of_the_panel(self, sample):
        panel = read_panel(sample)
        people, other = people_of(usable_census(sample), ["gold", "mass"]), population(panel, ["gold", "mass"])
        assert people.shares == pytest.approx(other.shares)
        assert people.baseline.to_numpy() == pytest.approx(other.baseline.to_numpy(), rel=1e-6)
        assert people.month == other.month
        answers = answers_of(sample)
        assert len(answers) == (panel["score_age"] == 1).sum()
        assert (answers["answered"] < panel["month"].max()).all()

    def test_an_engine_gives_what_memory_gives(self, bank_tables):
        data = rox.link(bank_tables, score="nps", outcome="aum")
        held = replace(data, panel=data.frame(), fetch=lambda rows: rows.copy())
        lazy, eager = (
            fit_cells(at_risk_cells(each, clock="tenure", parts=PARTS, controls=(), bins=0.2)) for each in (data, held)
        )
        assert lazy.events == eager.events
        assert abs(lazy.coefficient[0] - eager.coefficient[0]) < 0.1 * eager.se[0]
        carried = [fit_cells(carried_cells(each, "tenure")) for each in (data, held)]
        assert carried[0].coefficient == pytest.approx(carried[1].coefficient, abs=1e-9)
        assert answers_of(data)["score"].sum() == answers_of(held)["score"].sum()

    def test_response_weights_count(self):
        frame = leaving_panel(1200, 20, seed=3, log_ratio=-0.2)
        weight = 1.0 + (frame["customer"] % 2)
        weighted = fit_cells(carried_cells(linked_from(frame.assign(response_weight=weight)), "tenure"))
        doubled = frame[frame["customer"] % 2 == 1]
        doubled = doubled.assign(customer=doubled["customer"] + 10_000)
        twice = fit_cells(carried_cells(linked_from(together(frame, doubled)), "tenure"))
        assert weighted.coefficient == pytest.approx(twice.coefficient, abs=1e-7)


def together(*frames):
    return pd.concat(frames, ignore_index=True)


class TestChurnHazard:
    @pytest.mark.parametrize("clock", ["tenure", "calendar"])
    def test_recovers_the_ratio(self, clock):
        data = linked_from(leaving_panel(4000, 30, seed=2, log_ratio=-0.2), controls=("kind",))
        effect = ChurnHazard(clock=clock).fit(data, rng=1)
        table = effect.tables["coefficients"]
        assert abs(table.loc["score", "estimate"] + 0.2) < 3 * table.loc["score", "se"]
        assert table.loc["score", "se"] < 0.02
        assert abs(table.loc["kind", "estimate"] - 0.2 * np.sqrt(2 / 3)) < 4 * table.loc["kind", "se"]
        assert effect.draws[:, 0] == pytest.approx(effect.draws[:, 1])
        assert check(effect, "ROX-S07").values["signal"] < 20

    def test_agrees_with_the_cox_model(self, bank_linked):
        mine, other = ChurnHazard(style="ignored").fit(bank_linked, rng=1), ChurnCox().fit(bank_linked, rng=1)
        for name in ("calibrated", "carried"):
            found, wanted = (effect.tables["rivals"].loc[name] for effect in (mine, other))
            assert abs(found["estimate"] - wanted["estimate"]) < 0.25 * wanted["se"]
            assert found["se"] == pytest.approx(wanted["se"], rel=0.25)
        assert mine.estimand == other.estimand
        assert mine.counts["rows"] == other.counts["rows"]
        assert mine.counts["exits"] == other.counts["exits"]
        assert mine.baseline.to_numpy() == pytest.approx(other.baseline.to_numpy(), rel=1e-6)
        assert mine.estimand.unit is Unit.LOG_HAZARD

    def test_says_what_it_checked(self, sample):
        effect = ChurnHazard().fit(sample, rng=1)
        codes = {each.code for each in effect.checks}
        assert {"ROX-S01", "ROX-S02", "ROX-S04", "ROX-S06", "ROX-S09", "ROX-S23", "ROX-E03", "ROX-S20"} <= codes
        assert all(each.sentence(language) for each in effect.checks for language in ("en", "zh"))
        rivals = effect.tables["rivals"]["estimate"]
        assert list(rivals.index[:3]) == ["without_habits", "calibrated", "carried"]
        assert rivals["without_habits"] == pytest.approx(effect.overall.mean(), abs=1e-9)
        assert effect.tables["segments"]["exits"].sum() == effect.counts["exits"]
        assert (effect.tables["baseline"]["hazard"] >= 0).all()

    @pytest.mark.slow
    def test_noise_and_staleness_are_undone(self):
        """Without habits the calibrated ratio is right, and taking habits out overstates it by about a tenth."""
        errors, habits = [], []
        for seed in range(3):
            effect = ChurnHazard(clock="calendar").fit(linked_from(noisy_leaving_panel(6000, 30, seed=seed)), rng=1)
            rivals = effect.tables["rivals"]
            errors.append((rivals.loc["calibrated", "estimate"] + 0.25) / rivals.loc["calibrated", "se"])
            habits.append(rivals.loc["without_habits", "estimate"])
            assert rivals.loc["carried", "estimate"] > -0.15
        assert abs(np.mean(errors)) < 1.5
        assert -0.36 < np.mean(habits) < -0.22

    @pytest.mark.slow
    def test_habits_of_answering_are_taken_out(self):
        """A customer's lasting habit is added to every answer and has nothing to do with leaving."""
        frames = [noisy_leaving_panel(6000, 30, seed=seed) for seed in range(2)]
        rows = []
        for seed, frame in enumerate(frames):
            habit = np.sqrt(0.4) * np.random.default_rng(seed + 100).standard_normal(6000)
            effect = ChurnHazard(clock="calendar").fit(
                linked_from(frame.assign(score=frame["score"] + habit[frame["customer"]])), rng=1
            )
            rows.append(effect.tables["rivals"]["estimate"])
        calibrated, without = (np.mean([row[name] for row in rows]) for name in ("calibrated", "without_habits"))
        assert abs(without + 0.25) < abs(calibrated + 0.25)
        assert calibrated > -0.24

    def test_an_effect_that_changes_is_noted_and_a_steady_one_is_not(self):
        steady, moving = (
            ChurnHazard(clock="calendar").fit(linked_from(leaving_panel(4000, 30, seed=4, **choices)), rng=1)
            for choices in ({"log_ratio": -0.15}, {"log_ratio": -0.25, "late": 0.25})
        )
        assert check(steady, "ROX-S04").verdict is Verdict.PASS
        found = check(moving, "ROX-S04")
        assert found.verdict is Verdict.NOTE
        assert found.values["early"] < found.values["late"] - 0.1

    def test_leaks_and_faults_are_refused(self):
        frame = leaving_panel(500, 20, seed=1, log_ratio=-0.2)
        with pytest.raises(LeakageError, match="ROX-S01"):
            ChurnHazard().fit(linked_from(frame.assign(score_age=frame["score_age"] - 1)), rng=1)
        with pytest.raises(LeakageError, match="ROX-S02"):
            ChurnHazard().fit(linked_from(frame.assign(score_age=np.nan)), rng=1)
        with pytest.raises(DataError, match='clock="calendar"'):
            ChurnHazard().fit(linked_from(frame.assign(opened=np.nan)), rng=1)
        with pytest.raises(FitError, match="0 customers with a known score left by their own choice"):
            ChurnHazard().fit(linked_from(frame.assign(voluntary=False)), rng=1)
        with pytest.raises(FitError, match=r"'wealth'.*not linked(.|\n)*bins is 0"):
            ChurnHazard(controls=["wealth"], bins=0.0).fit(linked_from(frame), rng=1)


class TestCalibrationError:
    def test_neighbours_are_make_ups_of_answers(self, sample):
        noise = answer_reliability(answers_of(sample), np.random.default_rng(1))
        found = neighbours(noise)
        assert 2 <= len(found) <= 3
        for parts, share in found:
            assert 0 < share <= 1
            assert parts.lasting + parts.passing + parts.noise == pytest.approx(1)

    def test_the_error_takes_in_the_calibration(self, sample):
        effect = ChurnHazard(style="ignored").fit(sample, rng=1)
        noise = answer_reliability(answers_of(sample), np.random.default_rng(1))
        lasting, passing, memory, error = map(float, noise.parts[0])
        parts = ScoreParts(lasting=lasting, passing=passing, memory=memory, noise=error)
        alone = fit_cells(at_risk_cells(sample, clock="tenure", parts=parts, controls=("products",), bins=0.2))
        main = effect.tables["coefficients"].loc["score"]
        assert main["estimate"] == pytest.approx(alone.coefficient[0], abs=1e-9)
        assert alone.se[0] * 1.002 < main["se"] < alone.se[0] * 1.6


class TestStyle:
    def test_where_exits_cannot_tell_the_prior_decides(self):
        coefficient = np.array([-0.5, -0.4, -0.34, -0.3, -0.27])
        found = without_style(
            SHARES, coefficient, np.full(5, 1e-8), np.zeros(5), draws=20_000, rng=np.random.default_rng(1)
        )
        assert found.habit == pytest.approx(found.prior_habit, abs=1e-3)
        assert found.habit == pytest.approx(STYLE_PRIOR[0] / sum(STYLE_PRIOR), abs=0.01)
        assert found.draws.mean() == pytest.approx(-0.32, abs=0.01)

    def test_exits_that_tell_move_it(self):
        coefficient = np.array([-0.5, -0.4, -0.34, -0.3, -0.27])
        sure = without_style(
            SHARES,
            coefficient,
            np.full(5, 1e-8),
            np.array([-40.0, -30.0, -20.0, -10.0, 0.0]),
            draws=4000,
            rng=np.random.default_rng(1),
        )
        assert sure.habit < 0.05
        assert sure.draws.mean() == pytest.approx(-0.275, abs=0.01)
