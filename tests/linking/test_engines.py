"""One study, two engines: DuckDB and Spark give the same tables, panel, trail, remarks, figures and record."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.census import Census
from rox.core.derived import LookUp
from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.core.record import Record
from rox.core.study import EngineOptions, Study, read_study
from rox.linking.engine import connect
from rox.linking.link import leaks, link
from rox.linking.load import load
from rox.linking.tables import Tables
from rox.metrics.answers import score_distribution
from rox.metrics.drill import drill
from rox.metrics.mix import moved
from rox.metrics.overview import Experience, experience
from rox.metrics.responses import response_chain
from rox.metrics.silence import silence
from rox.metrics.trees import measure_tree, metric_tree
from rox.metrics.watch import watch
from rox.metrics.waves import change
from rox.models.panel_fe import PanelFE
from tests.linking.test_load import BROKEN

pytestmark = [
    pytest.mark.spark,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]
SETTINGS = {"spark.sql.shuffle.partitions": 2, "spark.default.parallelism": 2, "spark.driver.memory": "1g"}
MONTHS = (-12, -3, -1, 0, 1, 5)
CELL = ["segment", "money", "tenure", "rising", "score"]


@pytest.fixture(scope="module")
def options() -> Iterator[EngineOptions]:
    """Spark in this machine, light enough for tests; one session for all of them."""
    pytest.importorskip("pyspark", reason="Spark is not installed (pip install '.[spark]')")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Java is not installed (Debian: apt install openjdk-17-jre-headless)")
    given = os.environ.get("JDK_JAVA_OPTIONS")
    os.environ["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=128m"
    found = EngineOptions(kind="spark", master="local[2]", settings=SETTINGS)
    engine: Any = connect(options=found)
    yield found
    engine.worker.session.stop()
    os.environ.pop("JDK_JAVA_OPTIONS")
    if given is not None:
        os.environ["JDK_JAVA_OPTIONS"] = given


@pytest.fixture(scope="module")
def near(bank_tables: Tables) -> Tables:
    """The bundled bank on DuckDB."""
    return bank_tables


@pytest.fixture(scope="module")
def far(bank: Path, options: EngineOptions) -> Tables:
    """The bundled bank on Spark."""
    return load(read_study(bank).model_copy(update={"engine": options}))


@pytest.fixture(scope="module")
def panels(near: Tables, far: Tables) -> tuple[Linked, Linked]:
    """The linked panel of each."""
    return link(near), link(far)


def in_order(tables: Tables, name: str) -> pd.DataFrame:
    frame = tables.fetch(tables.tables[name])
    return frame.sort_values(list(frame.columns), ignore_index=True, key=lambda column: column.astype(str))


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_tables_counts_remarks_and_digests(near: Tables, far: Tables) -> None:
    assert far.engine.worker.name.startswith("spark 4.")
    assert dict(near.counts) == dict(far.counts)
    assert near.checks == far.checks
    for name in near.tables:
        same(in_order(near, name), in_order(far, name))
        assert near.digest(name) == far.digest(name)
    assert near.fingerprint == far.fingerprint


def test_panel_trail_and_leaks(panels: tuple[Linked, Linked], near: Tables, far: Tables) -> None:
    ours, theirs = panels
    same(ours.frame(), theirs.frame())
    assert ours.trail == theirs.trail
    assert ours.fingerprint == theirs.fingerprint
    assert ours.checks == theirs.checks
    same(ours.starts, theirs.starts)
    counts = []
    for linked, tables in ((ours, near), (theirs, far)):
        pretended = linked.panel.mutate(score_age=linked.panel.score_age + 1)
        counts.append((leaks(linked, tables), leaks(replace(linked, panel=pretended), tables)))
    assert counts[0] == counts[1]
    assert counts[0][0] == 0 < counts[0][1]


@pytest.fixture(scope="module")
def measured(near: Tables, far: Tables) -> tuple[Experience, Experience]:
    """The standard set of measures on each."""
    return experience(near), experience(far)


def test_the_measures_of_a_report(measured: tuple[Experience, Experience]) -> None:
    ours, theirs = measured
    for name in ("headline", "trend", "by_segment", "response", "churn", "chain"):
        same(getattr(ours, name), getattr(theirs, name))
    assert ours.checks == theirs.checks


@pytest.mark.parametrize(
    "measure",
    [
        lambda tables: score_distribution(tables, "csat", ["place"]),
        lambda tables: change(tables, "nps", "2024", "2025", by=["segment"]),
        lambda tables: response_chain(tables, ["month"]),
    ],
    ids=["distribution", "change", "chain"],
)
def test_other_measures(measure: Callable[[Tables], pd.DataFrame], near: Tables, far: Tables) -> None:
    same(measure(near), measure(far))


@pytest.mark.parametrize(
    "measure",
    [
        lambda tables: moved(tables, "nps", "2024", "2025", by=["segment"]),
        lambda tables: drill(tables, "nps", "2024", "2025", ["segment", "place"]),
        lambda tables: watch(tables, "nps", ["segment"], every="quarter"),
        lambda tables: silence(tables),
        lambda tables: measure_tree(tables, metric_tree("ues")),
    ],
    ids=["moved", "drill", "watch", "silence", "tree"],
)
def test_what_looks_behind_a_score(measure: Callable[[Tables], Any], near: Tables, far: Tables) -> None:
    ours, theirs = measure(near), measure(far)
    assert ours.checks == theirs.checks
    frames = [each.name for each in fields(ours) if isinstance(getattr(ours, each.name), pd.DataFrame)]
    assert frames
    for name in frames:
        pd.testing.assert_frame_equal(getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-12)


def test_the_record(panels: tuple[Linked, Linked], measured: tuple[Experience, Experience], tmp_path: Path) -> None:
    texts = []
    for linked, figures in zip(panels, measured, strict=True):
        effect = PanelFE().fit(linked, rng=1)
        numbers = {"headline": figures.headline["value"].tolist(), "trail": [step.rows for step in linked.trail]}
        record = Record.of(
            "try", linked.study, seed=1, fingerprint=linked.fingerprint, effects=[effect], numbers=numbers
        )
        texts.append(record.write(tmp_path / "record.json").read_text(encoding="utf-8"))
    assert texts[0] == texts[1]


def test_cells(panels: tuple[Linked, Linked]) -> None:
    ours, theirs = (
        linked.cells(by=["segment", "score"], sums=["outcome", "outcome^2*score"], known=["score"], buckets=8)
        for linked in panels
    )
    same(ours.frame, theirs.frame)
    assert ours.parts == theirs.parts


@pytest.mark.parametrize("view", [Linked.windows, Linked.episodes, Linked.units], ids=["windows", "episodes", "units"])
def test_other_tables_of_a_link(view: Callable[[Linked], Any], panels: tuple[Linked, Linked]) -> None:
    ours, theirs = (linked.fetch(view(linked)) for linked in panels)
    keys = [name for name in ours.columns if not pd.api.types.is_float_dtype(ours[name])]
    same(*(frame.sort_values([*keys, *ours.columns.difference(keys)], ignore_index=True) for frame in (ours, theirs)))


def by_month(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(["customer", "month"], ignore_index=True)


def numbers(found: Census) -> tuple[object, ...]:
    return found.first, found.last, found.rows, found.scored, found.scored_customers, dict(found.defects)


def test_money_around_answers_counts_and_weights(panels: tuple[Linked, Linked]) -> None:
    near, far = panels
    ours, theirs = (by_month(each.fetch(each.around(MONTHS, age=1))) for each in (near, far))
    same(ours, theirs)
    caps = {"mass": 9_999.5}
    for one, other in ((near.census(), far.census()), (near.census(caps=caps), far.census(caps=caps))):
        same(one.segments, other.segments)
        assert numbers(one) == numbers(other)
    cells, others = near.responding(), far.responding()
    same(cells, others)
    given = cells[cells["score"].notna()]
    weights = given[CELL].assign(weight=1.0 + np.arange(len(given)))
    ours, theirs = (each.weighted(weights, name="own").frame() for each in (near, far))
    same(ours, theirs)
    asked: dict[str, Any] = {
        "by": {"segment": "segment", "answered": "answered"},
        "sums": {"both": "weight*pull", "lonely": lambda t: t.unit.isnull()},
        "within": {
            "rate": LookUp(keys=("segment", "answered"), values={("mass", 24279): 0.1, ("gold", 24282): -2.5}),
            "pull": lambda t: (t.score - t.score.mean().over(group_by="customer")) * (1 + t.rate),
            "rank": lambda t: t.place.rank().over(group_by="segment"),
        },
        "where": lambda t: t.rank < 1000,
    }
    ours, theirs = (each.answered(MONTHS, age=1).sums(**asked) for each in (near, far))
    assert len(ours) > 100
    same(ours, theirs)


@pytest.mark.parametrize("batch", ["values", "rows"])
def test_faults(read: Callable[..., Study], options: EngineOptions, batch: str) -> None:
    study = read(*[(file, old, new) for file, old, new, _ in BROKEN[batch]])
    found = []
    for each in (study, study.model_copy(update={"engine": options})):
        with pytest.raises(DataError) as caught:
            load(each)
        found.append(caught.value.faults)
    assert found[0] == found[1]
    assert len(found[0]) >= len(BROKEN[batch])


def test_integers_stay_exact(options: EngineOptions) -> None:
    engine = connect(options=options)
    big = 2**53 + 1
    numbers = engine.stage(engine.relation(f"SELECT * FROM (VALUES ({big}, 1), ({big}, NULL)) AS t(n, gap)"), "numbers")
    sums = engine.stage(numbers.aggregate(total=numbers.n.sum(), gap=numbers.gap.sum()), "sums")
    found = engine.fetch(numbers.select("n", gap=numbers.n + numbers.gap)).sort_values("gap")
    assert list(found["n"]) == [big, big]
    assert found["gap"].iloc[0] == big + 1
    assert engine.fetch(sums)["total"].iloc[0] == 2 * big


def test_a_failure_shows_no_data(options: EngineOptions, capfd: pytest.CaptureFixture[str]) -> None:
    engine = connect(options=options)
    words = engine.stage(engine.relation("SELECT 'Secretname' AS word"), "words")
    with pytest.raises(DataError, match=r"The engine failed on the data \(CAST_INVALID_INPUT\)") as caught:
        engine.fetch(words.select(n=words.word.cast("int64")))
    assert caught.value.__cause__ is None
    assert "Secretname" not in "".join(capfd.readouterr())


def test_kept_stages_on_spark(
    read: Callable[..., Study], options: EngineOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read().model_copy(update={"engine": options.model_copy(update={"keep": "kept"})})
    first = link(load(study))
    kept = sorted(path.name for path in (study.folder / "kept").glob("*.parquet"))
    assert any(name.startswith("panel_") for name in kept)

    def refuse(*given: object) -> None:
        raise AssertionError("nothing is to be computed again")

    tables = load(study)
    monkeypatch.setattr(type(tables.engine.worker), "write", refuse)
    again = link(tables)
    assert sorted(path.name for path in (study.folder / "kept").glob("*.parquet")) == kept
    same(again.frame(), first.frame())


def test_frames_and_two_studies_share_a_session(
    read: Callable[..., Study], options: EngineOptions, five: Tables, ledger_frame: pd.DataFrame
) -> None:
    study = read().model_copy(update={"engine": options})
    ledger = ledger_frame.assign(month=pd.to_datetime(ledger_frame["month"]))
    doubled = load(study, frames={"ledger": ledger.assign(balance=2 * ledger["balance"])})
    single = load(study, frames={"ledger": ledger})
    assert single.fingerprint == five.fingerprint != doubled.fingerprint
    assert (link(doubled).frame()["outcome"] == 2 * link(single).frame()["outcome"]).all()
