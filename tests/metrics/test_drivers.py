"""What goes with a score: against rows, against a known world, and what must be said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Verdict
from rox.core.declared import Wording
from rox.core.errors import DataError
from rox.core.study import Study, read_study
from rox.metrics.drivers import Drivers, _measured, drivers
from rox.metrics.drivers_contrasts import limits
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


NAMES = ["app", "desk", "fees"]


def on_record(*frames: pd.DataFrame) -> pd.DataFrame:
    """Records that begin well before the answers and end after them."""
    return pd.concat(
        [*frames, pd.DataFrame({"customer": "c00000", "kind": "other", "date": ["2024-06-05", "2025-12-05"]})]
    )


@pytest.fixture(scope="module")
def three(few):
    declared = few(answers=pd.DataFrame({"customer": ["a"]})).study
    about = declared.about.model_copy(update={"min_cell": 5})
    return declared.model_copy(update={"about": about, "drivers": dict.fromkeys(NAMES, declared.drivers["app"])})


@pytest.fixture(scope="module")
def plain(few, three) -> tuple[pd.DataFrame, Drivers]:
    """Answers, and what is measured of them."""
    frame = survey(np.random.default_rng(1))
    return frame, drivers(few(three, answers=frame), rng=1)


def test_shares_are_those_of_the_rows(plain) -> None:
    frame, found = plain
    matrix = np.corrcoef(frame[[*NAMES, "nps"]].to_numpy(), rowvar=False)
    told = found.table.set_index("driver").loc[NAMES]
    rows = np.column_stack([np.ones(len(frame)), frame[NAMES]])
    beta = np.linalg.lstsq(rows, frame["nps"].to_numpy(dtype=float), rcond=None)[0][1:]
    assert told["slope"].to_numpy() == pytest.approx(beta, abs=0.01)
    # random numbers stand beside the drivers and take next to nothing
    assert told["share"].to_numpy() == pytest.approx(importance.lmg(matrix).shares, abs=2e-3)
    assert told["johnson"].to_numpy() == pytest.approx(importance.johnson(matrix).shares, rel=1e-9)
    assert told["mean"].to_numpy() == pytest.approx(frame[NAMES].mean().to_numpy())
    assert list(found.table["driver"]) == NAMES
    assert found.table.set_index("driver").at["app", "p_first"] > 0.99
    assert found.chance < 0.003
    assert found.r2 == pytest.approx(float(importance.lmg(matrix).r2), rel=1e-9)
    assert found.table["share_error"].tolist() == [0, 0, 0]
    assert found.table["given"].to_numpy() == pytest.approx([1, 1, 1])
    assert next(check for check in found.checks if check.code == "ROX-D01").verdict is Verdict.PASS
    assert all(check.code != "ROX-D09" for check in found.checks)


def test_ranges_are_as_wide_as_other_samples_differ(plain) -> None:
    rng = np.random.default_rng(2)
    others = [
        importance.lmg(np.corrcoef(survey(rng)[[*NAMES, "nps"]].to_numpy(), rowvar=False)).shares for _ in range(60)
    ]
    told = plain[1].table.set_index("driver").loc[["app", "desk"]]
    errors = (told["high"] - told["low"]).to_numpy() / (2 * 1.645)
    assert errors == pytest.approx(np.std(others, axis=0)[:2], rel=0.35)


def test_ratings_that_only_repeat_a_mood_leave_the_word_to_what_is_recorded(few, three) -> None:
    rng = np.random.default_rng(3)
    frame = survey(rng, 1200, mood=3.0, repeat=1)
    failed = frame[rng.random(1200) < 0.3][["customer"]].assign(kind="failed", date="2024-12-05")
    found = drivers(few(three, answers=frame, events=on_record(failed)), events=("failed",), rng=1)
    halo = next(check for check in found.checks if check.code == "ROX-D01")
    assert halo.verdict is Verdict.DEMOTE
    assert "one general impression" in halo.sentence("en")
    assert found.table["driver"].iloc[0] == found.slopes.columns[0] == found.ranks.index[0] == "events_failed"
    assert found.table["share"].iloc[0] < found.table["share"].iloc[1:].min()
    assert set(found.quadrant["quadrant"]) == set(found.quadrant["by_slope"]) == {"open"}


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ([0.02, 0.05, 0.13, 0.4, 0.4], (3, 4, 5)),
        ([0.01, 0.01, 0.08, 0.6, 0.3], (3, 4, 5)),
        ([0.2, 0.2, 0.2, 0.2, 0.2], (2, 3, 4)),
        ([0.1, 0.1, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1], (3, 5, 7)),
        ([0.5, 0.0, 0.01, 0.0, 0.49], (np.nan, np.nan, np.nan)),
        ([0.3, 0.7], (np.nan, np.nan, np.nan)),
    ],
)
def test_cuts_leave_ratings_between_them(weights: list[float], wanted: tuple[float, ...]) -> None:
    histogram = pd.Series(weights, index=np.arange(1.0, len(weights) + 1))
    cuts = limits(histogram[histogram > 0])
    assert (cuts.low, cuts.middle, cuts.high) == pytest.approx(wanted, nan_ok=True)


def test_penalty_and_reward_are_told_where_ratings_hold_them_and_within_customers_what_changes(few, three) -> None:
    rng = np.random.default_rng(1)
    who = np.repeat(np.arange(1000), 2)
    frame = pd.DataFrame({"customer": [f"c{each:04d}" for each in who], "date": ["2025-01-10", "2025-02-10"] * 1000})
    frame["app"] = rng.choice([1, 2, 3, 4, 5], 2000, p=[0.02, 0.05, 0.13, 0.4, 0.4])
    frame["desk"] = rng.choice([4, 5], 2000)
    frame["fees"] = rng.integers(0, 11, 1000)[who]
    # segments that rate and score differently say nothing of the rating itself
    kept = (who % 2 == 0) | (frame["app"] == 5) | (rng.random(2000) < 0.5)
    frame["nps"] = np.clip(np.round(6 - 4 * (frame["app"] <= 3) + rng.normal(scale=0.6, size=2000)), 0, 10).astype(int)
    people = pd.DataFrame({"customer": frame["customer"].unique(), "segment": np.where(np.arange(1000) % 2, "b", "a")})
    frame["nps"] += 2 * (who % 2)
    found = drivers(few(three, answers=frame[kept], customers=people), rng=1)
    told = found.asymmetry.set_index("driver")
    assert told.loc["app", ["low_up_to", "high_from"]].tolist() == [3, 5]
    assert told.loc["app", ["penalty", "reward"]].tolist() == pytest.approx([-4, 0], abs=0.15)
    assert told.loc["app", "penalty_high"] - told.loc["app", "penalty_low"] < 0.4
    assert told.loc["app", "hinge_high"] < -0.5
    assert told.loc["app", "kind"] == "must_be"
    assert told.loc["desk", "kind"] == "open"
    assert told.loc["desk", ["penalty", "reward", "asymmetry", "hinge", "low_share"]].isna().all()
    assert "desk" in next(check for check in found.checks if check.code == "ROX-D02").sentence("en")
    within = found.table.set_index("driver")["within"]
    assert within["app"] > 0.3
    assert np.isnan(within["fees"])


def test_what_hurts_more_than_it_helps_is_must_be(few, three) -> None:
    rng = np.random.default_rng(4)
    frame = survey(rng, 5000)
    app, desk = frame["app"].to_numpy(), frame["desk"].to_numpy()
    score = 6 + 1.5 * np.minimum(app - 6, 0) + 1.2 * np.maximum(desk - 6, 0) * 0.5 + 0.8 * rng.normal(size=len(frame))
    frame["nps"] = np.clip(np.round(score), 0, 10).astype(int)
    told = drivers(few(three, answers=frame), rng=1).asymmetry.set_index("driver")["kind"]
    assert told["app"] == "must_be"
    assert told["desk"] != "must_be"


def test_missing_ratings_are_left_to_the_pairs_that_have_them(few, three, plain) -> None:
    rng = np.random.default_rng(5)
    whole = plain[1].table.set_index("driver")["share"]
    holes = plain[0].astype({"app": "Int64", "fees": "Int64"})
    holes.loc[rng.random(3000) < 0.3, "app"] = pd.NA
    holes.loc[rng.random(3000) < 0.3, "fees"] = pd.NA
    found = drivers(few(three, answers=holes), rng=1).table.set_index("driver")
    assert found["share"].to_numpy() == pytest.approx(whole[found.index].to_numpy(), abs=0.03)
    assert found.at["app", "given"] == pytest.approx(0.7, abs=0.03)


def test_what_came_before_the_answer_counts_by_kind_and_topic_and_what_came_later_does_not(few, three) -> None:
    rng = np.random.default_rng(6)
    frame = survey(rng, 2000, repeat=1)
    failed = rng.poisson(0.8, 2000)
    complained, praised = rng.random((2, 2000)) < 0.3
    frame["nps"] = np.clip(frame["nps"] - 2 * failed - 2 * complained + 2 * praised, 0, 10)
    events = pd.DataFrame({"customer": frame["customer"], "kind": "failed", "count": failed, "date": "2024-12-05"})
    later = events.assign(kind="later", count=10 - frame["nps"], date="2025-01-05")
    parts = [
        frame[had][["customer"]].assign(kind=kind) for had, kind in ((complained, "complaint"), (praised, "praise"))
    ]
    feedback = on_record(pd.concat(parts).assign(topic="fees", date="2024-12-05"))
    tables = few(three, answers=frame, events=on_record(events[failed > 0], later), feedback=feedback)
    found = drivers(tables, events=("failed",), topics=("complaint/fees", "praise/*"), rng=1).table.set_index("driver")
    assert found.at["events_failed", "share"] > 0.1
    assert found["kind"].loc[["events_failed", "topic_praise/*", "app"]].tolist() == ["event", "topic", "rating"]
    assert found.at["topic_complaint/fees", "slope"] < -1 < 1 < found.at["topic_praise/*", "slope"]
    with pytest.raises(DataError, match="events_later: does not vary"):
        drivers(tables, ratings=("app",), events=("later",), rng=1)
    with pytest.raises(DataError, match="No row of 'events' has kind 'lost'"):
        drivers(tables, events=("lost",), rng=1)
    with pytest.raises(DataError, match="No row of 'feedback' has kind 'praise' and topic 'app'"):
        drivers(tables, topics=("praise/app",), rng=1)


@pytest.fixture(scope="module")
def declared(few, three, plain) -> Drivers:
    """The plain answers with one scale the other way, heavy weights, a pillar, a driver that is money, and a target."""
    frame, scale = plain[0], three.drivers["app"]
    ease = Wording(en="ease", zh="便捷")
    scales = {
        "app": scale.model_copy(update={"higher_is_better": False, "high": 10, "pillar": ease}),
        "desk": scale.model_copy(update={"pillar": ease}),
        "fees": scale.model_copy(update={"is_money": True}),
    }
    people = pd.DataFrame({"customer": frame["customer"].unique(), "segment": "all", "weight": 50_000.0})
    other = frame.assign(app=10 - frame["app"])
    study = three.model_copy(update={"drivers": scales})
    return drivers(few(study, answers=other, customers=people), target=0.3, rng=1)


def test_a_row_may_stand_for_many_thousands(plain, declared) -> None:
    assert declared.asymmetry["penalty"].to_numpy() == pytest.approx(plain[1].asymmetry["penalty"].to_numpy())


def test_pillars_enter_as_wholes_and_are_ranked(plain, declared) -> None:
    matrix = np.corrcoef(plain[0][[*NAMES, "nps"]].to_numpy(), rowvar=False)
    wanted = importance.lmg(matrix, groups=[(0, 1), (2,)])
    assert declared.pillars[["driver", "kind", "drivers"]].to_numpy().tolist() == [
        ["ease", "pillar", "app, desk"],
        ["fees", "rating", "fees"],
    ]
    assert declared.pillars["share"].to_numpy() == pytest.approx(wanted.shares, abs=3e-3)
    assert declared.pillars["share"].sum() + declared.chance == pytest.approx(declared.r2, abs=3e-3)
    assert declared.pillar_ranks.loc["ease", 1] > 0.99
    assert (declared.pillars["low"] < declared.pillars["share"]).all()
    assert plain[1].pillars.empty


def test_a_scale_that_runs_the_other_way_is_turned_and_several_scales_are_compared_as_parts(plain, declared) -> None:
    frame, straight = plain
    at = [each.table.set_index("driver").loc["app"] for each in (straight, declared)]
    for column in ("mean", "share", "slope"):
        assert at[0][column] == pytest.approx(at[1][column])
    assert not straight.quadrant["of_scale"].any()
    assert straight.quadrant["cut"].tolist() == pytest.approx([frame[NAMES].to_numpy().mean()] * 3)
    quadrant = declared.quadrant.set_index("driver")
    assert quadrant.at["app", "performance"] == pytest.approx(frame["app"].mean() / 10)
    assert quadrant.at["desk", "performance"] == pytest.approx(frame["desk"].mean() / 1000)
    assert quadrant.at["app", "room"] == pytest.approx(10 - frame["app"].mean())
    assert quadrant["cut"].tolist() == [0.3] * 3
    # what is money itself has no place beside the others, nor a part in their cut
    assert quadrant["by_slope"].to_dict() == {"app": "enough", "desk": "improve", "fees": "open"}
    assert declared.headroom == pytest.approx(10 - frame["nps"].mean())


def test_without_ratings_what_is_recorded_is_compared_or_nothing(few, three) -> None:
    rng = np.random.default_rng(11)
    frame = survey(rng, 1500, repeat=1).drop(columns=["app", "desk", "fees"])
    had = rng.random((3, 1500)) < np.array([[0.3], [0.2], [0.01]])
    kinds = ("lost", "visit", "rare")
    events = pd.concat([frame[each][["customer"]].assign(kind=k) for each, k in zip(had, kinds, strict=True)])
    study = three.model_copy(update={"drivers": {}})
    tables = few(study, answers=frame, events=on_record(events.assign(date="2024-11-05")))
    assert usual_facts(tables) == (("lost", "visit"), ())
    found = usual_drivers(tables, rng=1)
    assert set(found.table["kind"]) == {"event"}
    assert found.quadrant.empty
    assert [check.code for check in found.checks] == ["ROX-D07"]
    nothing = usual_drivers(few(study, answers=frame), rng=1)
    assert nothing.table.empty
    assert list(nothing.table.columns) == list(found.table.columns)
    assert "nothing to compare" in nothing.checks[0].sentence("en")


def bank_frames(study: Study) -> dict[str, pd.DataFrame]:
    """Tables of a study as they are in its files, columns named by role."""
    frames = {}
    for name in ("customers", "answers", "events", "feedback"):
        table = study.tables[name]  # type: ignore[index]
        path = study.folder / str(table.path)
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"customer_id": str})
        frames[name] = frame.rename(columns={column: role for role, column in table.columns.items()})
        frames[name] = frames[name].convert_dtypes()
    return frames


def test_the_bundled_bank_ranks_with_honest_probabilities(bank, few) -> None:
    study = read_study(bank)
    tables = few(study, **bank_frames(study))
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


def test_shares_of_many_drivers_carry_the_error_of_drawn_orders() -> None:
    rng = np.random.default_rng(4)
    columns = np.column_stack([rng.normal(size=(300, 13)), np.zeros(300)])
    columns[:, -1] = columns[:, :12] @ np.linspace(1, 0, 12) + rng.normal(size=300)
    a = np.broadcast_to(columns.sum(0)[:, None], (14, 14))
    aa = np.broadcast_to((columns**2).sum(0)[:, None], (14, 14))
    sums = np.stack([np.full((14, 14), 300.0), a, a.T, aa, aa.T, columns.T @ columns])
    measured, errors, repaired = _measured(sums[None], None, 12, [range(6), range(6, 12)])
    assert measured.shape == (1, errors.size)
    assert (errors[:13] > 0).all()
    assert errors[0] < 0.02
    # means, slopes, and the pillars, whose few orders are all looked at
    assert not errors[13:].any()
    assert repaired == 0


def test_few_customers_for_the_drivers_are_said_to_be(few, three) -> None:
    found = drivers(few(three, answers=survey(np.random.default_rng(7), 118)), rng=1)
    check = next(each for each in found.checks if each.code == "ROX-D09")
    assert check.verdict is Verdict.DEMOTE
    assert "59 customers answered for 3 drivers; at least 60" in check.sentence("en")


def test_what_no_answers_can_tell_apart_is_named(few, three, plain) -> None:
    frame = plain[0]
    with pytest.raises(DataError, match="app, desk, fees: one is a sum of the others"):
        drivers(few(three, answers=frame.assign(fees=frame["app"] + frame["desk"])))
    apart = frame.astype({"app": "Int64", "desk": "Int64"})
    half = np.arange(len(frame)) % 2 == 0
    apart.loc[half, "app"] = pd.NA
    apart.loc[~half, "desk"] = pd.NA
    with pytest.raises(DataError, match="app and desk: too few answers hold both"):
        drivers(few(three, answers=apart))


def test_what_is_not_recorded_yet_is_not_nothing(few, three) -> None:
    rng = np.random.default_rng(12)
    size, who = 2400, [f"c{i:05d}" for i in range(2400)]
    month = rng.integers(1, 13, size)
    frame = pd.DataFrame({"customer": who, "date": [f"2025-{each:02d}-10" for each in month]})
    frame["nps"] = np.clip(np.round(3 + 0.4 * month + rng.normal(size=size)), 0, 10).astype(int)
    frame["app"] = rng.integers(0, 11, size)
    logs = [
        pd.DataFrame({"customer": who, "count": rng.poisson(0.6, size), "date": f"2025-{m:02d}-05"})
        for m in range(7, 13)
    ]
    events = pd.concat(logs).query("count > 0").assign(kind="failed")
    study = three.model_copy(update={"drivers": {"app": three.drivers["app"]}})
    found = drivers(few(study, answers=frame, events=events), events=("failed",), months=2, rng=1)
    row = found.table.set_index("driver").loc["events_failed"]
    assert row["slope_low"] < 0 < row["slope_high"]
    told = next(check for check in found.checks if check.code == "ROX-D10")
    assert told.values["left_out"] == (month < 9).sum()
    with pytest.raises(DataError, match="No answer has all that came before it"):
        drivers(few(study, answers=frame[month < 7], events=events), events=("failed",), months=2, rng=1)
    people = pd.DataFrame({"customer": who, "segment": "all", "opened": pd.Timestamp("2025-09-20")})
    young = drivers(few(study, answers=frame, events=events, customers=people), events=("failed",), months=2, rng=1)
    assert next(each for each in young.checks if each.code == "ROX-D10").values["left_out"] == (month < 11).sum()


def test_names_with_slashes_and_names_that_differ_in_case_are_themselves(few, three) -> None:
    rng = np.random.default_rng(13)
    frame = survey(rng, 600, repeat=1)
    kinds = ("Login", "login")
    events = [frame[rng.random(600) < 0.4][["customer"]].assign(kind=kind, date="2024-12-05") for kind in kinds]
    messages = frame[rng.random(600) < 0.4][["customer"]].assign(kind="praise", topic="App/网银", date="2024-12-05")
    study = three.model_copy(update={"drivers": {"app": three.drivers["app"]}})
    tables = few(study, answers=frame, events=on_record(*events), feedback=on_record(messages))
    found = usual_drivers(tables, rng=1)
    assert set(found.table["driver"]) == {"app", "events_Login", "events_login", "topic_praise/App/网银"}
    for topic in ("App/网银", "praise/App/网银"):
        told = drivers(tables, ratings=("app",), topics=(topic,), rng=1).table.set_index("driver")
        assert told.at[f"topic_{topic}", "mean"] == pytest.approx(len(messages) / 600)


def test_names_given_twice_and_no_months_are_refused_together(few, three, plain) -> None:
    tables = few(three, answers=plain[0])
    with pytest.raises(DataError, match=r"(?s)'app' is given twice.*months is -3"):
        drivers(tables, ratings=("app", "app"), months=-3)
    with pytest.raises(DataError, match="'events_failed' is given twice"):
        drivers(tables, events=("failed", "failed"))
    with pytest.raises(DataError, match="months is 0"):
        usual_drivers(tables, months=0)
