"""Scores: hand-made tables, published values, and agreement with row-by-row estimates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox import metrics
from rox.core.errors import DataError
from rox.numerics.survey import weighted_mean, weighted_nps


def answers_of(scores, date="2025-01-15", people=None):
    people = [f"c{i}" for i in range(len(scores))] if people is None else people
    return pd.DataFrame({"customer": people, "date": date, "nps": scores})


def counted(parity, column):
    """The published group: one answer per customer."""
    folder, values = parity("q01_nps_core")
    counts = pd.read_csv(folder / "counts.csv")
    return np.repeat(counts["score"].to_numpy(), counts[column].to_numpy()), values


@pytest.fixture
def survey():
    """Customers of three segments with unequal weights, several answers each."""
    rng = np.random.default_rng(7)
    people = pd.DataFrame(
        {
            "customer": [f"p{i:04d}" for i in range(400)],
            "segment": rng.choice(["mass", "gold", "private"], 400, p=[0.7, 0.2, 0.1]),
            "weight": rng.uniform(1, 9, 400).round(3),
        }
    )
    feeling = dict(zip(people["customer"], rng.normal(7, 2, 400), strict=True))
    who = rng.choice(people["customer"], 1500)
    mood = np.array([feeling[each] for each in who]) + rng.normal(0, 1.5, 1500)
    answers = pd.DataFrame(
        {
            "customer": who,
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 730, 1500), "D"),
            "nps": np.clip(np.round(mood), 0, 10).astype(int),
            "csat": np.clip(np.round(mood / 2), 1, 5).astype(int),
            "ces": np.clip(np.round(mood * 0.7), 1, 7).astype(int),
        }
    )
    return people, answers


def test_nps_by_hand(few, row):
    # 20 promoters, 12 passives, 8 detractors of 40: 100·(0.5 − 0.2) = 30
    # variance of one answer 0.7 − 0.09 = 0.61; of the mean 0.61/39
    tables = few(answers=answers_of([10] * 15 + [9] * 5 + [8] * 6 + [7] * 6 + [6] * 3 + [0] * 5))
    found = row(metrics.nps(tables))
    assert found["value"] == pytest.approx(30)
    assert found["se"] == pytest.approx(100 * np.sqrt(0.61 / 39))
    assert (found["n"], found["n_eff"], found["unit"], found["method"]) == (40, 40, "nps_point", "dirichlet")
    assert found["low"] < 30 < found["high"]


def test_nps_matches_the_published_counts(few, row, parity):
    scores, published = counted(parity, "A")
    found = row(metrics.nps(few(answers=answers_of(scores)), level=0.95))
    n = scores.size
    assert found["value"] == pytest.approx(published["A.nps"]["value"], rel=1e-10)
    assert found["se"] * np.sqrt((n - 1) / n) == pytest.approx(published["A.se"]["value"], rel=1e-10)


def test_weighted_nps_matches_the_published_value(few, row, parity):
    scores, published = counted(parity, "A")
    answers = answers_of(scores)
    people = pd.DataFrame({"customer": answers["customer"], "weight": np.where(scores >= 7, 1.5, 1.0)})
    tables = few(answers=answers, customers=people)
    found = row(metrics.nps(tables))
    assert found["value"] == pytest.approx(published["A.weighted"]["value"], rel=1e-10)
    assert found["se"] == pytest.approx(published["A.weighted.se"]["value"], rel=1e-9)
    assert row(metrics.nps(tables, weighted=False))["value"] == pytest.approx(published["A.nps"]["value"])


def test_mean_and_distribution_match_the_published_values(few, row, parity):
    scores, published = counted(parity, "A")
    tables = few(answers=answers_of(scores))
    mean, sd = published["mean_ltr"]["value"]
    found = row(metrics.mean_score(tables, "nps"))
    assert (found["value"], found["se"]) == pytest.approx((mean, sd / np.sqrt(scores.size)), rel=1e-9)
    shares = metrics.score_distribution(tables)
    assert shares["value"].sum() == pytest.approx(1)
    assert shares.set_index("answer").loc[[9, 10], "value"].sum() == pytest.approx(published["topbox"]["value"])
    assert list(shares["answer"]) == list(range(11))


def test_design_weights_match_the_published_stratified_sample(few, row, parity):
    folder, published = parity("w01_api_strat")
    schools = pd.read_csv(folder / "apistrat.csv", dtype={"cds": str})
    answers = pd.DataFrame({"customer": schools["cds"], "date": "2025-01-15", "app": schools["api00"]})
    people = pd.DataFrame({"customer": schools["cds"], "weight": schools["pw"], "stype": schools["stype"]})
    tables = few(answers=answers, customers=people)
    found = row(metrics.mean_score(tables, "app"))
    assert found["value"] == pytest.approx(published["mean.api00"]["value"], rel=1e-8)
    assert found["se"] == pytest.approx(published["se.api00.weights_only"]["value"], rel=1e-5)
    assert 160 < found["n_eff"] <= published["kish.neff"]["value"]
    domains = metrics.mean_score(tables, "app", ("stype",)).set_index("stype").loc[["E", "H", "M"], "value"]
    assert list(domains) == pytest.approx(published["domain.api00"]["value"], rel=1e-8)


@pytest.mark.parametrize("by", [(), ("segment",), ("quarter",)])
def test_engine_gives_what_rows_give(few, survey, by):
    people, answers = survey
    found = metrics.nps(few(answers=answers, customers=people), by=by)
    rows = answers.merge(people, on="customer")
    rows["quarter"] = rows["date"].dt.year.astype(str) + "Q" + rows["date"].dt.quarter.astype(str)
    groups = list(rows.groupby(by[0])) if by else [("all", rows)]
    assert len(found) == len(groups)
    for (name, group), (_, line) in zip(groups, found.iterrows(), strict=True):
        each = weighted_nps(group["nps"], group["weight"], stratum=group["segment"], psu=group["customer"])
        assert not by or line[by[0]] == name
        assert [line["value"], line["se"]] == pytest.approx([each.value, each.se], rel=1e-7)
        assert 1 - 1e-7 <= (line["high"] - line["low"]) / (each.high - each.low) < 1.05
        assert line["n"] == each.n
        assert line["n_eff"] <= each.n_eff * (1 + 1e-12)


def test_means_and_shares_are_those_of_rows(few, survey, row):
    people, answers = survey
    tables = few(answers=answers, customers=people)
    rows = answers.merge(people, on="customer")
    design = {"weights": rows["weight"], "stratum": rows["segment"], "psu": rows["customer"]}
    for name, metric, values in (
        ("csat", "mean", rows["csat"]),
        ("csat", "top_two", rows["csat"] >= 4),
        ("ces", "mean", rows["ces"]),
        ("ces", "easy", rows["ces"] >= 5),
    ):
        each = weighted_mean(values.astype(float), **design)
        found = row(metrics.scores(tables, name), metric=metric)
        assert (found["value"], found["se"]) == pytest.approx((each.value, each.se), rel=1e-7)
        assert found["unit"] == ("score_point" if metric == "mean" else "ratio")


def test_answers_of_one_customer_are_not_independent(few, row):
    scores = [10] * 30 + [0] * 30
    once = row(metrics.nps(few(answers=answers_of(scores))))
    people = [f"c{i}" for i in range(60)] * 4
    often = row(metrics.nps(few(answers=answers_of(scores * 4, people=people))))
    assert often["n"] == 240
    assert often["se"] == pytest.approx(once["se"])
    assert often["n_eff"] == pytest.approx(60, rel=0.02)


def test_low_answers_are_best_where_the_study_says_so(few, study, row):
    answers = answers_of([10] * 40).assign(csat=[1] * 10 + [2] * 10 + [3] * 20, ces=[2] * 40)
    tables = few(study(higher_is_better=False), answers=answers)
    assert row(metrics.csat(tables), metric="top_two")["value"] == pytest.approx(0.5)
    assert row(metrics.csat(tables), metric="mean")["value"] == pytest.approx((10 + 20 + 60) / 40)
    assert row(metrics.ces(tables), metric="easy")["value"] == pytest.approx(1)


def test_a_reversed_scale_is_refused(few, study):
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 11, 300)
    answers = answers_of(scores).assign(csat=5 - np.clip(scores // 2, 0, 4), ces=4)
    tables = few(answers=answers)
    with pytest.raises(DataError, match=r"ROX-M03: csat runs against nps \(r=-0\.9\d\)"):
        metrics.csat(tables)
    with pytest.raises(DataError, match="ROX-M03"):
        metrics.experience(tables)
    turned = few(study(higher_is_better=False), answers=answers)
    assert len(metrics.csat(turned)) == 2


def test_chance_is_no_reversed_scale(few):
    answers = answers_of([1, 9, 5, 6, 3]).assign(csat=[3, 2, 3, 2, 3])
    assert np.corrcoef(answers["nps"], answers["csat"])[0, 1] < 0
    assert len(metrics.csat(few(answers=answers))) == 2


@pytest.mark.parametrize(
    "bad, needed",
    [
        (11, "outside 0..10: 1"),
        (-1, "outside 0..10: 1"),
        (7.5, "not whole numbers: 1"),
        (np.inf, "not a number; leave the unanswered empty: 1"),
    ],
)
def test_bad_answers_are_refused(few, bad, needed):
    with pytest.raises(DataError, match=rf"answers\.nps: answers (that are )?{needed}"):
        metrics.nps(few(answers=answers_of([9.0] * 40 + [bad])))


def test_nan_is_refused_and_the_unanswered_are_left_out(few):
    tables = few(answers=answers_of([9.0] * 40))
    tables.connection.con.execute("INSERT INTO answers VALUES ('c0', '2025-01-15', NULL, 24300)")
    assert metrics.nps(tables)["n"].item() == 40
    tables.connection.con.execute("INSERT INTO answers VALUES ('c0', '2025-01-15', 'NaN'::DOUBLE, 24300)")
    for measure in (metrics.nps, metrics.score_distribution):
        with pytest.raises(DataError, match="not a number"):
            measure(tables)


def test_zero_on_a_scale_from_one_is_refused(few):
    answers = answers_of([9] * 40).assign(csat=[5] * 39 + [0])
    with pytest.raises(DataError, match=r"answers\.csat: answers outside 1\.\.5: 1"):
        metrics.csat(few(answers=answers))


def test_all_faults_stand_in_one_message(few):
    answers = answers_of([9.0] * 40 + [12, 3.5])
    people = pd.DataFrame({"customer": answers["customer"][1:], "weight": [0.0] + [1.0] * 40})
    with pytest.raises(DataError) as caught:
        metrics.nps(few(answers=answers, customers=people))
    assert len(caught.value.faults) == 4


def test_customers_listed_twice_are_refused(few):
    answers = answers_of([9] * 40)
    people = pd.DataFrame({"customer": [*answers["customer"], "c1"]})
    with pytest.raises(DataError, match="41 rows of 40 customers"):
        metrics.nps(few(answers=answers, customers=people))


def test_few_effective_answers_have_an_interval_but_no_point(few, row):
    answers = pd.concat([answers_of([9, 8, 3] * 10), answers_of([9, 8, 3, 9] * 5, "2025-02-15")])
    found = metrics.nps(few(answers=answers), by=("month",))
    shown, thin = row(found, month="2025-01"), row(found, month="2025-02")
    assert shown["n_eff"] == pytest.approx(30)
    assert not shown["suppressed"]
    assert thin["suppressed"]
    assert np.isnan([thin["value"], thin["se"]]).all()
    assert -100 <= thin["low"] < thin["high"] <= 100
    assert (thin["n"], thin["method"]) == (20, "dirichlet")


def test_weights_can_leave_too_few_effective_answers(few, row):
    answers = answers_of([9, 3] * 30)
    people = pd.DataFrame({"customer": answers["customer"], "weight": [1000.0] * 6 + [1.0] * 54})
    found = row(metrics.nps(few(answers=answers, customers=people)))
    assert found["n"] == 60
    assert found["n_eff"] < 30
    assert found["suppressed"]


def test_small_cells_are_hidden_and_cannot_be_found_by_subtraction(few, study, row):
    sizes = {"mass": 60, "gold": 50, "private": 40, "diamond": 4}
    people = pd.DataFrame({"segment": np.repeat(list(sizes), list(sizes.values()))})
    people["customer"] = [f"c{i}" for i in range(len(people))]
    answers = answers_of([9] * len(people), people=people["customer"])
    found = metrics.nps(few(study(min_cell=10), answers=answers, customers=people), by=("segment",))
    numbers = ["value", "se", "low", "high", "n", "n_eff"]
    for name in ("diamond", "private"):
        hidden = row(found, segment=name)
        assert hidden[numbers].isna().all()
        assert hidden["suppressed"]
        assert hidden["method"] == "suppressed"
    for name in ("mass", "gold"):
        assert row(found, segment=name)[numbers].notna().all()


def test_groups(few, survey):
    people, answers = survey
    tables = few(answers=answers, customers=people.assign(unit="B01"))
    found = metrics.mean_score(tables, "csat", ("year", "segment", "place"))
    assert list(found.columns[:3]) == ["year", "segment", "place"]
    assert set(found["year"]) == {"2024", "2025"}
    assert set(found["place"]) == {"B01"}
    assert found["n"].sum() == len(answers)
    assert metrics.nps(tables, by=("month",))["month"].is_monotonic_increasing


@pytest.mark.parametrize("by", [("customer",), ("key",), ("region",), ("segment", "segment"), ("date",)])
def test_groups_that_name_people_or_nothing_are_refused(few, survey, by):
    people, answers = survey
    with pytest.raises(DataError, match="Cannot group answers by"):
        metrics.nps(few(answers=answers.assign(key="k"), customers=people), by=by)


def test_questions_of_another_kind_are_refused(few, survey):
    people, answers = survey
    tables = few(answers=answers, customers=people)
    with pytest.raises(DataError, match="the questions of kind nps are nps"):
        metrics.nps(tables, "csat")
    with pytest.raises(DataError, match="'loyalty' is no question of this study"):
        metrics.scores(tables, "loyalty")
    with pytest.raises(DataError, match="no column 'app'"):
        metrics.mean_score(tables, "app")


def test_no_answers_are_refused(few):
    with pytest.raises(DataError, match="Nobody answered 'nps'"):
        metrics.nps(few(answers=answers_of([None, None]).astype({"nps": float})))


def test_answers_belong_to_the_wave_of_their_invitation(few, row):
    answers = answers_of([9] * 40, "2025-04-02").assign(invitation=[f"i{k}" for k in range(39)] + [None])
    invitations = pd.DataFrame(
        {"key": [f"i{k}" for k in range(39)], "customer": [f"c{k}" for k in range(39)], "date": "2025-03-30"}
    )
    found = metrics.nps(few(answers=answers, invitations=invitations), by=("wave",))
    assert row(found, wave="2025-03")["n"] == 39
    assert row(found, wave="2025-04")["n"] == 1


def test_the_order_of_rows_does_not_matter(few, survey):
    people, answers = survey
    one = metrics.scores(few(answers=answers, customers=people), "csat", ("segment",))
    mixed = few(answers=answers.sample(frac=1, random_state=1), customers=people.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(one, metrics.scores(mixed, "csat", ("segment",)), check_exact=True)
