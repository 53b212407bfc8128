"""What a study file says of its engine: bad values are told in words, and what is missing with the way to get it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rox.core.errors import DataError
from rox.core.study import EngineOptions, Study, read_study
from rox.linking.load import load

Write = Callable[..., Path]


def section(*lines: str) -> tuple[str, str, str]:
    return "study.toml", "[tables.customers]", "\n".join(["[engine]", *lines, "", "[tables.customers]"])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('kind = "polars"', "engine.kind: Input should be 'duckdb' or 'spark' (found 'polars')"),
        ('memory_limit = "lots"', "engine.memory_limit: write a number and a unit, such as 500MB or 4GB"),
        ("memory_limit = 4", "engine.memory_limit: Input should be a valid string (found 4)"),
        ("threads = 0", "engine.threads: Input should be greater than or equal to 1 (found 0)"),
        ('master = "local[2]"', 'engine: master: for kind = "spark" only'),
        ('kind = "spark"\nmaster = "local"\nremote = "sc://spark:15002"', "engine: give either master or remote"),
        ('kind = "spark"\nremote = "spark:15002"', "engine: write remote as sc://host:15002, without options"),
        ('kind = "spark"\nremote = "sc://spark:15002"', "engine: a cluster needs `temp_folder` or `keep`"),
        ('kind = "spark"\nmaster = "spark://spark:7077"', "engine: a cluster needs `temp_folder` or `keep`"),
        ("memory = 4", "engine.memory: unknown name; check the spelling or remove it"),
        ('kind = "spark"\nsettings = { a = [1] }', "engine.settings.a"),
    ],
)
def test_bad_values(write: Write, line: str, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        read_study(write(section(line)))
    assert any(found.startswith(fault) for found in caught.value.faults), caught.value.faults


def test_a_token_in_the_address_is_refused_and_not_repeated(write: Write) -> None:
    with pytest.raises(DataError) as caught:
        read_study(write(section('kind = "spark"', 'remote = "sc://spark:15002/;token=Secretword"', 'keep = "k"')))
    assert "Secretword" not in str(caught.value)


def test_defaults_and_good_values(read: Callable[..., Study]) -> None:
    assert read().engine == EngineOptions()
    study = read(section('kind = "spark"', 'master = "local[3]"', "settings = { a = 1, b = true, c = 'x' }"))
    assert study.engine.settings == {"a": 1, "b": True, "c": "x"}
    assert not study.engine.is_elsewhere
    assert not EngineOptions(kind="spark", master="local-cluster[2,1,1024]").is_elsewhere
    assert EngineOptions(kind="spark", remote="sc://spark:15002", keep="k").is_elsewhere


def limit(study: Study, **options: str) -> str:
    found: str = load(study, **options).engine.reader.row("SELECT current_setting('memory_limit')")[0]  # type: ignore[arg-type]
    return found


def test_the_memory_limit_of_the_call_wins(read: Callable[..., Study]) -> None:
    study = read(section('memory_limit = "1GiB"', "threads = 1"))
    assert limit(study) == "1.0 GiB"
    assert limit(study, memory_limit="512MiB") == "512.0 MiB"
    assert load(study).engine.reader.row("SELECT current_setting('threads')")[0] == 1
    with pytest.raises(DataError, match="memory_limit: write a number and a unit"):
        load(study, memory_limit="much")


def test_too_little_memory_is_told_with_a_remedy(read: Callable[..., Study]) -> None:
    with pytest.raises(DataError, match=r"[Mm]emory"):
        load(read(), memory_limit="1KB")


def test_spark_that_is_not_installed(read: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pyspark", "py4j.protocol"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "rox.linking.engine_spark", raising=False)
    with pytest.raises(DataError) as caught:
        load(read(section('kind = "spark"')))
    assert "pip install 'rox-research[spark]', and Java 17" in str(caught.value)


@pytest.mark.spark
def test_a_server_that_does_not_answer(read: Callable[..., Study]) -> None:
    pytest.importorskip("pyspark", reason="Spark is not installed (pip install '.[spark]')")
    study = read(section('kind = "spark"', 'remote = "sc://127.0.0.1:1"', 'keep = "kept"'))
    with pytest.raises(DataError, match=r"engine\.remote: nothing answers at sc://127\.0\.0\.1:1"):
        load(study)


@pytest.mark.spark
def test_java_that_is_not_installed(
    read: Callable[..., Study], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    session = pytest.importorskip("pyspark.sql", reason="Spark is not installed (pip install '.[spark]')").SparkSession
    monkeypatch.setattr(session, "getActiveSession", classmethod(lambda cls: None))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="Spark needs Java 17 or 21: install it"):
        load(read(section('kind = "spark"')))
