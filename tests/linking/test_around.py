"""Money around each answer, a panel counted where it lies, and weights of answers: against pandas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.census import DEFECTS, SEGMENT_COLUMNS
from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.core.views import money_column
from rox.linking.engine import Engine
from rox.linking.link import link
from rox.linking.panel_rows import grain
from rox.linking.tables import Tables
from rox.models.answer_table import AnswerTable
from rox.models.evidence import answering_share
from rox.models.panel_fe import PanelFE
from rox.models.population import population, population_of
from rox.models.response import with_response_weights
from rox.models.score_gap import ScoreGap
from rox.testing import linked_from_frame, sample_linked
from tests.linking.crowd import make_crowd

MONTHS = (-12, -3, -1, 0, 1, 5)
TURNED = ["customer", "month"]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Linked:
    """Seventy customers with gaps in their money, whose answers were known late."""
    return link(make_crowd(tmp_path_factory.mktemp("crowd"), seed=7).tables)


@pytest.fixture(scope="module")
def sample() -> Linked:
    """A frame with weights, exits and controls."""
    return sample_linked(customers=500, months=20, seed=4)


@pytest.fixture(params=["linked", "frame", "held"])
def data(request: pytest.FixtureRequest, crowd: Linked, sample: Linked) -> Linked:
    """Tables, a frame, and tables whose panel is held as a frame."""
    if request.param == "held":
        return replace(crowd, panel=crowd.frame(), fetch=lambda rows: rows.copy())
    return crowd if request.param == "linked" else sample


def by_lookup(panel: pd.DataFrame, months: tuple[int, ...], age: int) -> pd.DataFrame:
    """Look every month up by itself."""
    rows = panel[panel["score"].notna() & (panel["score_age"] == age)]
    rows = rows.assign(answered=(rows["month"] - rows["score_age"]).astype("int64"))
    cells = panel[["customer", "month", "outcome"]].itertuples(index=False)
    money = {(customer, month): value for customer, month, value in cells}
    for k in months:
        keys = zip(rows["customer"], rows["answered"] + k, strict=True)
        rows[money_column(k)] = [money.get(key, np.nan) for key in keys]
    return rows.reset_index(drop=True)


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(TURNED, ignore_index=True)


@pytest.mark.parametrize("age", [1, 2, 4])
def test_it_agrees_with_a_look_up_month_by_month(data: Linked, age: int) -> None:
    expected = by_lookup(data.frame(), MONTHS, age)
    found = in_order(data.fetch(data.around(MONTHS, age=age)))
    assert len(expected) > 50
    assert expected[money_column(-3)].isna().any()
    assert expected[money_column(5)].notna().any()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)


def test_names_of_the_columns() -> None:
    assert [money_column(k) for k in (-12, 0, 3)] == ["money_m12", "money_p0", "money_p3"]


def test_no_months_no_columns(data: Linked) -> None:
    found = data.fetch(data.around((), age=1))
    assert list(found.columns) == [*data.frame().columns, "answered"]


def test_columns_of_the_panel_are_not_overwritten(sample: Linked) -> None:
    taken = replace(sample, panel=sample.panel.assign(answered=0, money_m3=1.0))
    with pytest.raises(DataError) as caught:
        taken.around([-3], age=1)
    assert len(caught.value.faults) == 2


def test_frames_keep_their_types_and_their_order_does_not_matter(sample: Linked) -> None:
    frame = sample.panel.assign(kind=pd.Categorical(sample.panel["customer"] % 3))
    mixed = frame.sample(frac=1, random_state=1)
    mixed.index = [0] * len(mixed)
    found = linked_from_frame(mixed, controls=("kind",)).around(MONTHS, age=1)
    assert isinstance(found["kind"].dtype, pd.CategoricalDtype)
    pd.testing.assert_frame_equal(in_order(found)[list(frame.columns)], in_order(frame[frame["score_age"] == 1]))
    same = in_order(linked_from_frame(frame, controls=("kind",)).around(MONTHS, age=1))
    pd.testing.assert_frame_equal(in_order(found), same)


def beside(frame: pd.DataFrame) -> Linked:
    """A panel whose money stands beside the answers."""
    data = linked_from_frame(frame)
    outcome = data.study.outcomes["aum"].model_copy(update={"table": "answers", "dated": "paid"})
    return replace(data, study=data.study.model_copy(update={"outcomes": {"aum": outcome}}))


def test_money_beside_answers_has_every_row_and_the_smallest_of_several() -> None:
    rows = [(0, 100, 5.0, 8.0, 1.0), (0, 100, 3.0, 8.0, 2.0), (0, 101, 9.0, 6.0, 1.0), (1, 101, 4.0, 2.0, 3.0)]
    data = beside(pd.DataFrame(rows, columns=["customer", "month", "outcome", "score", "score_age"]))
    found = data.around([1, 2], age=1)
    assert list(found["answered"]) == [99, 98, 100, 98]
    assert list(found["money_p1"].fillna(-1)) == [3, -1, 9, -1]
    assert list(found["money_p2"].fillna(-1)) == [9, 3, -1, -1]
    counted = data.census()
    assert counted.defects["twice"] == 0
    assert counted.segments.loc["all", "ever"] == 2


def counted_by_hand(panel: pd.DataFrame, caps: dict[str, float]) -> pd.DataFrame:
    """Count the segments of a panel from its rows."""
    panel = panel.assign(outcome=panel["outcome"].clip(upper=panel["segment"].map(caps).fillna(np.inf)))
    panel["rich"] = panel["outcome"] * panel["weight"]
    last = panel["month"].max()
    first_rows, last_rows = (panel.drop_duplicates("customer", keep=each) for each in ("first", "last"))
    gone = last_rows[last_rows["voluntary"] & (last_rows["exit_month"] <= last)]
    parts = {
        "customers": (panel[panel["month"] == last], "weight"),
        "money": (panel[panel["month"] == last], "rich"),
        "months": (panel, "weight"),
        "exits": (gone, "weight"),
        "money_months": (panel, "rich"),
        "money_left": (gone, "rich"),
        "ever": (first_rows, "weight"),
    }
    sums = {name: rows.groupby("segment")[column].sum() for name, (rows, column) in parts.items()}
    return pd.DataFrame(sums).fillna(0.0).sort_index()


@pytest.mark.parametrize("capped", [False, True])
def test_the_census_agrees_with_the_rows(data: Linked, capped: bool) -> None:
    panel = data.frame()
    caps = {str(panel["segment"].iloc[0]): float(panel["outcome"].median()) + 0.123} if capped else {}
    found = data.census(caps=caps)
    expected = counted_by_hand(panel, caps)
    assert tuple(found.segments.columns) == SEGMENT_COLUMNS
    pd.testing.assert_frame_equal(found.segments, expected, check_names=False, rtol=1e-10)
    scored = panel["score"].notna()
    assert (found.first, found.last) == (panel["month"].min(), panel["month"].max())
    assert (found.rows, found.scored) == (len(panel), scored.sum())
    assert found.scored_customers == panel.loc[scored, "customer"].nunique()
    assert found.records_exits
    said = [panel["customer"], panel["month"] - panel["score_age"]]
    changing = (panel["score"].groupby(said).nunique() > 1).sum()
    assert dict(found.defects) == {**dict.fromkeys(DEFECTS, 0), "changing": changing}


def test_readings_of_the_census_are_those_of_the_panel(data: Linked) -> None:
    panel, people = data.frame(), data.census()
    groups = sorted(panel["segment"].unique())
    ours, theirs = population_of(people, groups), population(panel, groups)
    pd.testing.assert_frame_equal(ours.baseline, theirs.baseline, rtol=1e-10)
    np.testing.assert_allclose(ours.shares, theirs.shares, rtol=1e-10)
    assert (ours.groups, ours.month) == (theirs.groups, theirs.month)
    rows = panel[panel["score"].notna() & (panel["score_age"] == 1)]
    weight = panel.drop_duplicates("customer").set_index("customer")["weight"]
    linked = data.answered((), age=1)
    linked = replace(linked, panel=linked.panel.mutate(own_weight=linked.panel.weight))
    said = answering_share(AnswerTable(linked=linked, people=people, steps=(), horizon=1)).values
    assert (said["answers"], said["customers"]) == (len(rows), rows["customer"].nunique())
    share = 100 * weight.loc[rows["customer"].unique()].sum() / weight.sum()
    assert said["share"] == pytest.approx(share, rel=1e-10)


def test_answers_as_a_panel_of_their_own(data: Linked) -> None:
    """In the engine, with the customer's earlier answers counted and the last of them beside each."""
    found = data.answered(MONTHS, age=1)
    rows = in_order(found.fetch(found.panel))
    expected = by_lookup(data.frame(), MONTHS, 1)
    assert list(rows.columns) == [*expected.columns, "place", "previous"]
    columns = ["customer", "month", "segment", "score", "outcome", "answered", *map(money_column, MONTHS)]
    pd.testing.assert_frame_equal(rows[columns], expected[columns], check_dtype=False)
    assert (rows["place"] == rows.groupby("customer").cumcount()).all()
    pd.testing.assert_series_equal(
        rows["previous"], rows.groupby("customer")["score"].shift(), check_names=False, check_dtype=False
    )
    cells = found.cells(by=["segment"], sums=["score"]).total().set_index("segment")
    assert cells["n"].to_dict() == rows.groupby("segment").size().to_dict()
    assert cells["score"].to_dict() == rows.groupby("segment")["score"].sum().to_dict()


def test_answers_without_a_segment_are_all_in_one(sample: Linked) -> None:
    found = replace(sample, panel=sample.panel.assign(segment=np.nan)).answered((), age=1)
    assert set(found.fetch(found.panel)["segment"]) == {"all"}


def test_sums_are_those_of_cells(data: Linked) -> None:
    asked = {"by": ["segment", "month"], "sums": {"money": "outcome", "both": lambda t: t.weight * t.outcome}}
    pd.testing.assert_frame_equal(data.sums(**asked), data.cells(**asked).values())


def test_a_panel_without_exits_has_no_hazard(sample: Linked) -> None:
    people = linked_from_frame(sample.panel.assign(exit_month=np.nan, voluntary=False)).census()
    assert not people.records_exits
    assert population_of(people, ["gold", "mass"]).baseline["exit_hazard"].isna().all()


@pytest.mark.parametrize(
    ("fault", "spoil"),
    [
        ("unknown_age", lambda rows: rows.assign(score_age=np.where(rows.index < 4, np.nan, rows["score_age"]))),
        ("early", lambda rows: rows.assign(score_age=np.where(rows.index == 3, 0.0, rows["score_age"]))),
        ("changing", lambda rows: rows.assign(score=np.where(rows["score_age"] == 2, 99.0, rows["score"]))),
        ("twice", lambda rows: pd.concat([rows, rows.iloc[:3], rows.iloc[:1]])),
        ("outcome", lambda rows: rows.assign(outcome=np.where(rows.index < 2, [np.inf, *rows["outcome"][1:]], np.nan))),
        ("weight", lambda rows: rows.assign(weight=np.where(rows.index < 3, 0.0, rows["weight"]))),
        ("segment", lambda rows: rows.assign(segment=rows["segment"].where(rows.index > 4))),
        ("several", lambda rows: rows.assign(segment=np.where(rows["month"] % 2, "gold", "mass"))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_defects_are_counted_as_the_rows_show_them(sample: Linked, fault: str, spoil: Any) -> None:
    scored = sample.panel[sample.panel["score"].notna()].reset_index(drop=True)
    rows = spoil(scored)
    found = linked_from_frame(rows).census()
    keys = [rows["customer"], rows["month"] - rows["score_age"]]
    expected = {
        "unknown_age": rows["score_age"].isna().sum(),
        "early": (rows["score_age"] < 1).sum(),
        "changing": (rows["score"].groupby(keys).nunique() > 1).sum(),
        "twice": rows.duplicated(["customer", "month"]).sum(),
        "outcome": (~np.isfinite(rows["outcome"])).sum(),
        "weight": (~(rows["weight"] > 0)).sum(),
        "segment": rows["segment"].isna().sum(),
        "several": (rows.groupby("customer")["segment"].nunique() > 1).sum(),
    }
    assert found.defects[fault] > 0
    assert dict(found.defects) == expected


def test_an_empty_panel_has_nothing(sample: Linked) -> None:
    found = replace(sample, panel=sample.panel.iloc[:0]).census()
    assert (found.rows, len(found.segments)) == (0, 0)


def test_without_segments_everybody_is_in_one(sample: Linked) -> None:
    found = linked_from_frame(sample.panel.assign(segment=None)).census()
    assert list(found.segments.index) == ["all"]
    assert not found.is_segmented


@pytest.mark.parametrize("largest", [1e-9, 0.37, 80.0, 1e12, 1e200])
def test_whole_numbers_keep_to_their_bits(largest: float) -> None:
    assert 2.0**44 <= largest * grain(largest) <= 2.0**45
    assert np.log2(grain(largest, 100) / 100) == round(np.log2(grain(largest, 100) / 100))


def cells_by_hand(data: Linked, bands: int) -> pd.DataFrame:
    """Number the bands of each customer-month with pandas."""
    panel = data.frame()
    replied = panel["score_age"] == data.lag
    frame = panel[panel["month"].isin(panel.loc[replied, "month"])]
    money = panel.set_index(["customer", "month"])["outcome"]
    before, earlier = (
        money.reindex(pd.MultiIndex.from_arrays([frame["customer"], frame["month"] - k])).set_axis(frame.index)
        for k in (data.lag + 1, data.lag + 4)
    )

    def banded(values: pd.Series, by: list[pd.Series]) -> pd.Series:
        return np.ceil(values.groupby(by).rank(pct=True) * bands).fillna(0).astype(int) - 1

    return pd.DataFrame(
        {
            "customer": frame["customer"],
            "said": frame["month"] - frame["score_age"],
            "segment": frame["segment"],
            "money": banded(before, [frame["segment"], frame["month"]]),
            "tenure": banded(frame["month"] - frame["opened"], [frame["segment"]]),
            "rising": (before > earlier).astype(int).where(before.notna() & earlier.notna(), 2),
            "score": frame["score"].where(replied),
            "weight": frame["weight"],
        }
    )


CELL = ["segment", "money", "tenure", "rising", "score"]


def test_who_answers_by_what_was_known(data: Linked) -> None:
    rows = cells_by_hand(data, 4)
    expected = rows.groupby(CELL, dropna=False).agg(n=("weight", "size"), weight=("weight", "sum")).reset_index()
    expected = expected.sort_values(CELL, ignore_index=True)
    found = data.responding(bands=4)
    assert found["score"].isna().any()
    assert set(range(4)) <= set(found["money"])
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-10)


def test_weights_stand_on_the_rows_of_their_answers(data: Linked) -> None:
    cells = data.responding(bands=4)
    given = cells[cells["score"].notna()].reset_index(drop=True)
    weights = given[CELL].assign(weight=2.0 + np.arange(len(given)))
    found = data.weighted(weights, bands=4, name="importance").frame()
    rows = cells_by_hand(data, 4)
    rows = rows[rows["score"].notna()].merge(weights.rename(columns={"weight": "own"}), on=CELL)
    by_answer = rows.set_index(["customer", "said"])["own"]
    said = (found["month"] - found["score_age"]).where(found["score"].notna())
    expected = by_answer.reindex(pd.MultiIndex.from_arrays([found["customer"], said])).fillna(1.0).to_numpy()
    assert list(found["importance"]) == list(expected)
    assert (expected > 1).sum() > 100
    pd.testing.assert_frame_equal(found.drop(columns="importance"), data.frame())
    again = data.weighted(weights, bands=4, name="importance").weighted(weights, bands=4, name="importance")
    pd.testing.assert_frame_equal(again.frame(), found)


def test_without_fresh_answers_there_is_nothing_to_weight(sample: Linked) -> None:
    late = linked_from_frame(sample.panel[sample.panel["score_age"] != 1])
    assert with_response_weights(late) is late


@pytest.mark.parametrize("model", [ScoreGap(draws=400), PanelFE(draws=400)], ids=["gap", "panel"])
def test_score_models_fetch_sums_alone(
    near: Linked, model: ScoreGap | PanelFE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row of a customer leaves the engine, but for the numbers of the five who pull most."""
    fetched: list[pd.DataFrame] = []
    original = Engine.fetch

    def fetch(engine: Engine, table: Any) -> pd.DataFrame:
        fetched.append(original(engine, table))
        return fetched[-1]

    monkeypatch.setattr(Engine, "fetch", fetch)
    model.fit(near, rng=1)
    segments, waves = 5, near.fetch(near.answered((), age=1).panel.answered.nunique().as_table()).iloc[0, 0]
    assert all("customer" not in frame.columns for frame in fetched)
    assert len(fetched) > 10
    assert max(len(frame) for frame in fetched) <= 64 * segments * waves**2


@pytest.fixture(scope="module")
def near(bank_tables: Tables) -> Linked:
    """The bundled bank."""
    return link(bank_tables)
