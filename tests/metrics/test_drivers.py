"""What goes with a score: against rows, against a known world, and what must be said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import rox
from rox.core.check import Verdict
from rox.core.declared import Wording
from rox.core.errors import DataError
from rox.metrics.drivers import drivers
from rox.metrics.drivers_recorded import usual_drivers, usual_facts
from rox.numerics import importance


def survey(rng: np.random.Generator, size: int = 3000, *, mood: float = 0.3, repeat: int = 2) -> pd.DataFrame:
    """Answers whose score follows two of three ratings; everything shares the mood of the minute."""
    who = np.repeat(np.arange(size // repeat), repeat)
    own = rng.normal(size=(size, 3)) + mood * rng.normal(size=(size, 1))
    ratings = np.clip(np.round(6 + 2 * own), 0, 10)
    latent = 6 + 1.2 * (ratings[:, 0] - 6) * 0.6 + 0.6 * (ratings[:, 1] - 6) * 0.6 + 1.2 * rng.normal(size=size)
    frame = pd.DataFrame(ratings.astype(int), columns=["app", "desk", "fees"])
    frame["nps"] = np.clip(np.round(latent), 0, 10).astype(int)
    frame["customer"] = [f"c{i:05d}" for i in who]
    frame["date"] = "2025-0" + pd.Series(1 + np.arange(size) % repeat).astype(str) + "-10"
    return frame


@pytest.fixture
def three(study):
    declared = study(min_cell=5)
    scale = declared.drivers["app"]
    return declared.model_copy(update={"drivers": dict.fromkeys(("app", "desk", "fees"), scale)})


def test_shares_are_those_of_the_rows(few, three) -> None:
    frame = survey(np.random.default_rng(1))
    found = drivers(few(three, answers=frame), rng=1)
    matrix = np.corrcoef(frame[["app", "desk", "fees", "nps"]].to_numpy(), rowvar=False)
    told = found.table.set_index("driver").loc[["app", "desk", "fees"]]
    rows = np.column_stack([np.ones(len(frame)), frame[["app", "desk", "fees"]]])
    beta = np.linalg.lstsq(rows, frame["nps"].to_numpy(dtype=float), rcond=None)[0][1:]
    assert told["slope"].to_numpy() == pytest.approx(beta, abs=0.01)
    # random numbers stand beside the drivers and take next to nothing
    assert told["share"].to_numpy() == pytest.approx(importance.lmg(matrix).shares, abs=2e-3)
    assert told["johnson"].to_numpy() == pytest.approx(importance.johnson(matrix).shares, rel=1e-9)
    assert told["mean"].to_numpy() == pytest.approx(frame[["app", "desk", "fees"]].mean().to_numpy())
    assert list(found.table["driver"]) == ["app", "desk", "fees"]
    assert found.table.set_index("driver").at["app", "p_first"] > 0.99
    assert found.chance < 0.003
    assert found.table["given"].to_numpy() == pytest.approx([1, 1, 1])


def test_errors_cover_what_other_samples_say(few, three) -> None:
    wide = importance.lmg(
        np.corrcoef(survey(np.random.default_rng(99), 300_000)[["app", "desk", "fees", "nps"]].T)
    ).shares
    hits = []
    for seed in range(6):
        table = drivers(few(three, answers=survey(np.random.default_rng(seed), 800)), rng=1).table.set_index("driver")
        hits += [
            bool(table.at[n, "low"] <= w <= table.at[n, "high"]) for n, w in zip(("app", "desk"), wide, strict=False)
        ]
    assert 0.7 <= np.mean(hits) <= 1.0


def test_ratings_that_only_repeat_a_mood_are_said_to(few, three) -> None:
    rng = np.random.default_rng(3)
    found = drivers(few(three, answers=survey(rng, mood=3.0)), rng=1)
    halo = next(check for check in found.checks if check.code == "ROX-D01")
    assert halo.verdict is Verdict.DEMOTE
    assert "one general impression" in halo.sentence("en")
    calm = drivers(few(three, answers=survey(rng)), rng=1)
    assert next(check for check in calm.checks if check.code == "ROX-D01").verdict is Verdict.PASS


def test_what_hurts_more_than_it_helps_is_must_be(few, three) -> None:
    rng = np.random.default_rng(4)
    frame = survey(rng, 6000)
    app, desk = frame["app"].to_numpy(), frame["desk"].to_numpy()
    score = 6 + 1.5 * np.minimum(app - 6, 0) + 1.2 * np.maximum(desk - 6, 0) * 0.5 + 0.8 * rng.normal(size=len(frame))
    frame["nps"] = np.clip(np.round(score), 0, 10).astype(int)
    told = drivers(few(three, answers=frame), rng=1).asymmetry.set_index("driver")["kind"]
    assert told["app"] == "must_be"
    assert told["desk"] != "must_be"


def test_missing_ratings_are_left_to_the_pairs_that_have_them(few, three) -> None:
    rng = np.random.default_rng(5)
    frame = survey(rng, 4000)
    whole = drivers(few(three, answers=frame), rng=1).table.set_index("driver")["share"]
    holes = frame.astype({"app": "Int64", "fees": "Int64"})
    holes.loc[rng.random(4000) < 0.3, "app"] = pd.NA
    holes.loc[rng.random(4000) < 0.3, "fees"] = pd.NA
    found = drivers(few(three, answers=holes), rng=1).table.set_index("driver")
    assert found["share"].to_numpy() == pytest.approx(whole[found.index].to_numpy(), abs=0.03)
    assert found.at["app", "given"] == pytest.approx(0.7, abs=0.03)


def test_events_before_the_answer_count_and_later_ones_do_not(few, three) -> None:
    rng = np.random.default_rng(6)
    frame = survey(rng, 2000, repeat=1)
    failed = rng.poisson(0.8, 2000)
    frame["nps"] = np.clip(frame["nps"] - 2 * failed, 0, 10)
    events = pd.DataFrame({"customer": frame["customer"], "kind": "failed", "count": failed, "date": "2024-12-05"})
    later = events.assign(kind="later", count=10 - frame["nps"], date="2025-01-05")
    tables = few(three, answers=frame, events=pd.concat([events[failed > 0], later]))
    found = drivers(tables, events=("failed",), rng=1).table.set_index("driver")
    assert found.at["events_failed", "share"] > 0.15
    assert found.at["events_failed", "kind"] == "event"
    with pytest.raises(DataError, match="events_later: does not vary"):
        drivers(tables, events=("later",), rng=1)
    with pytest.raises(DataError, match="No row of 'events' has kind 'lost'"):
        drivers(tables, events=("lost",), rng=1)


def test_a_row_may_stand_for_many_thousands(few, three) -> None:
    frame = survey(np.random.default_rng(12), 600)
    one, many = (
        pd.DataFrame({"customer": frame["customer"].unique(), "segment": "all", "weight": each})
        for each in (1.0, 50_000.0)
    )
    found = [drivers(few(three, answers=frame, customers=each), rng=1).asymmetry["penalty"] for each in (one, many)]
    assert found[0].to_numpy() == pytest.approx(found[1].to_numpy())


def test_praise_and_complaints_of_one_topic_are_apart(few, three) -> None:
    rng = np.random.default_rng(8)
    frame = survey(rng, 2000, repeat=1)
    complained, praised = rng.random((2, 2000)) < 0.3
    frame["nps"] = np.clip(frame["nps"] - 2 * complained + 2 * praised, 0, 10)
    parts = [
        frame[had][["customer"]].assign(kind=kind) for had, kind in ((complained, "complaint"), (praised, "praise"))
    ]
    feedback = pd.concat(parts).assign(topic="fees", date="2024-12-05")
    tables = few(three, answers=frame, feedback=feedback)
    slope = drivers(tables, topics=("complaint/fees", "praise/*"), rng=1).table.set_index("driver")["slope"]
    assert slope["topic_complaint/fees"] < -1 < 1 < slope["topic_praise/*"]
    with pytest.raises(DataError, match="No row of 'feedback' has kind 'praise' and topic 'app'"):
        drivers(tables, topics=("praise/app",), rng=1)


def test_pillars_enter_as_wholes_and_are_ranked(few, three) -> None:
    frame = survey(np.random.default_rng(9))
    scales = {name: three.drivers["app"] for name in ("app", "desk", "fees")}
    scales["app"] = scales["desk"] = three.drivers["app"].model_copy(update={"pillar": Wording(en="ease", zh="便捷")})
    study = three.model_copy(update={"drivers": scales})
    found = drivers(few(study, answers=frame), rng=1)
    matrix = np.corrcoef(frame[["app", "desk", "fees", "nps"]].to_numpy(), rowvar=False)
    wanted = importance.lmg(matrix, groups=[(0, 1), (2,)])
    assert found.pillars[["driver", "kind", "drivers"]].to_numpy().tolist() == [
        ["ease", "pillar", "app, desk"],
        ["fees", "rating", "fees"],
    ]
    assert found.pillars["share"].to_numpy() == pytest.approx(wanted.shares, abs=3e-3)
    assert found.pillars["share"].sum() + found.chance == pytest.approx(found.r2, abs=3e-3)
    assert found.pillar_ranks.loc["ease", 1] > 0.99
    assert (found.pillars["low"] < found.pillars["share"]).all()
    assert drivers(few(three, answers=frame), rng=1).pillars.empty


def test_a_scale_that_runs_the_other_way_is_turned_and_several_scales_are_compared_as_parts(few, three) -> None:
    frame = survey(np.random.default_rng(10))
    plain = drivers(few(three, answers=frame), rng=1)
    turned = three.drivers["app"].model_copy(update={"higher_is_better": False, "high": 10})
    other = frame.assign(app=10 - frame["app"])
    found = drivers(few(three.model_copy(update={"drivers": {**three.drivers, "app": turned}}), answers=other), rng=1)
    at = [each.table.set_index("driver").loc["app"] for each in (plain, found)]
    for column in ("mean", "share", "slope"):
        assert at[0][column] == pytest.approx(at[1][column])
    assert not plain.quadrant["of_scale"].any()
    quadrant = found.quadrant.set_index("driver")
    assert quadrant.at["app", "performance"] == pytest.approx(frame["app"].mean() / 10)
    assert quadrant.at["desk", "performance"] == pytest.approx(frame["desk"].mean() / 1000)
    assert quadrant.at["app", "room"] == pytest.approx(10 - frame["app"].mean())
    assert found.headroom == pytest.approx(10 - frame["nps"].mean())


def test_without_ratings_what_is_recorded_is_compared_or_nothing(few, three) -> None:
    rng = np.random.default_rng(11)
    frame = survey(rng, 1500, repeat=1).drop(columns=["app", "desk", "fees"])
    had = rng.random((3, 1500)) < np.array([[0.3], [0.2], [0.01]])
    kinds = ("lost", "visit", "rare")
    events = pd.concat([frame[each][["customer"]].assign(kind=k) for each, k in zip(had, kinds, strict=True)])
    study = three.model_copy(update={"drivers": {}})
    tables = few(study, answers=frame, events=events.assign(date="2024-11-05"))
    assert usual_facts(tables) == (("lost", "visit"), ())
    found = usual_drivers(tables, rng=1)
    assert set(found.table["kind"]) == {"event"}
    assert found.quadrant.empty
    assert [check.code for check in found.checks] == ["ROX-D07"]
    nothing = usual_drivers(few(study, answers=frame), rng=1)
    assert nothing.table.empty
    assert list(nothing.table.columns) == list(found.table.columns)
    assert "nothing to compare" in nothing.checks[0].sentence("en")


def test_the_bundled_bank_ranks_with_honest_probabilities(bank) -> None:
    tables = rox.load(rox.read_study(bank))
    found = drivers(tables, rng=1)
    # weights of the simulated world: branch_wait .55, app .40, rm_advice .30, product_yield .20, fees none
    assert found.table["driver"].iloc[0] == "branch_wait"
    assert found.table["driver"].iloc[-1] == "fees"
    truth = {"branch_wait": 1, "app": 2, "rm_advice": 3, "product_yield": 4, "fees": 5}
    for _, row in found.table.iterrows():
        assert row["rank_low"] <= truth[row["driver"]] <= row["rank_high"]
    assert found.ranks.sum(axis=1).to_numpy() == pytest.approx(np.ones(5))
    assert found.quadrant["probability"].between(0.25, 1).all()
    events, topics = usual_facts(tables)
    assert set(events) == {"login", "branch_visit", "transfer_failed"}
    assert 1 <= len(topics) <= 3
    assert all(topic.partition("/")[0] in ("complaint", "praise", "suggestion") for topic in topics)


def test_too_little_is_refused_in_one_message(few, three) -> None:
    frame = survey(np.random.default_rng(7), 40)
    with pytest.raises(DataError, match=r"groups; at least 30"):
        drivers(few(three, answers=frame))
    with pytest.raises(DataError, match="two are needed"):
        drivers(few(three, answers=frame), ratings=("app",))
