"""Panel regression from files, tables and layouts: one answer by every way, and the answer of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from linearmodels import PanelOLS

from rox.core.errors import DataError, FitError
from rox.core.study import EngineOptions
from rox.linking import within_rows, within_write
from rox.linking.engine import connect
from rox.linking.within import panel_regression
from rox.linking.within_layout import read_layout
from rox.linking.within_write import write_layout
from rox.testing import sample_linked

ASKED = {"outcome": "y", "regressors": ["x", "z"]}


def arithmetic_panel() -> pd.DataFrame:
    """A panel with gaps, late entries, exits and two singletons, from arithmetic alone."""
    customer, month = np.divmod(np.arange(60 * 12), 12)
    noise = np.sin(12.9898 * np.arange(720.0)) * 43758.5453 % 1 - 0.5
    level = np.sin(7.1 * customer) * 5
    x = np.cos(3.3 * np.arange(720.0)) + level / 5 + month / 12
    z = (np.arange(720) * 7919 % 11).astype(float)
    y = 100 + level + 0.4 * x - 0.2 * z + 0.1 * month + noise + 0.5 * np.sin(customer + month / 3)
    kept = (month >= customer % 7) & (month < 12 - customer % 5) & (np.arange(720) % 13 != 1)
    kept &= (customer < 58) | (month == customer - 52)
    columns = {"customer": customer, "month": 24300 + month, "y": y, "x": x, "z": z, "w": 1 + np.arange(720) % 4}
    return pd.DataFrame(columns)[kept].reset_index(drop=True)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """A larger panel in no order, with missing values, a month alone, text ids and segments."""
    rng = np.random.default_rng(5)
    size, months = 900, 11
    frame = pd.DataFrame(
        {"customer": np.repeat(np.arange(size), months), "month": np.tile(24280 + np.arange(months), size)}
    )
    level = rng.normal(size=size)[frame["customer"]]
    frame["x"] = rng.normal(size=len(frame)) + level
    frame["z"] = np.clip(np.round(7 + 2 * rng.normal(size=len(frame))), 0, 10)
    frame["y"] = 100 + 20 * level + 0.4 * frame["x"] + 0.2 * frame["z"] + rng.normal(size=len(frame))
    frame["w"] = rng.uniform(0.3, 3, len(frame))
    frame["name"] = "c" + frame["customer"].astype(str)
    frame["far"] = frame["customer"] * 1_000_003 - 5
    frame["group"] = np.array(["a", "b", "c"])[frame["customer"] % 3]
    frame["date"] = pd.to_datetime(frame["month"].map(lambda m: f"{m // 12}-{m % 12 + 1:02d}-15")).dt.date
    first, last = rng.integers(-9, months, size), rng.integers(2, 20, size)
    place = frame["month"] - 24280
    kept = (place >= first[frame["customer"]]) & (place < last[frame["customer"]]) & (rng.random(len(frame)) > 0.1)
    frame = frame[kept].sample(frac=1, random_state=1)
    alone = frame.iloc[[0]].assign(month=24295, date=pd.to_datetime("2024-08-15").date())
    frame = pd.concat([frame, alone], ignore_index=True)
    frame.loc[frame.index[5::50], "y"] = np.nan
    frame.loc[frame.index[7::61], "x"] = np.nan
    return frame


@pytest.fixture(scope="module")
def file(rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("panel") / "rows.parquet"
    rows.to_parquet(path, row_group_size=1000)
    return path


@pytest.fixture(scope="module")
def engine():
    return connect()


def table_of(engine, path: Path) -> ibis.Table:
    return engine.relation(f"SELECT * FROM read_parquet('{path}')")


def reference(rows: pd.DataFrame, *, weighted: bool = False):
    """The same regression by PanelOLS."""
    panel = rows.dropna(subset=["y", "x", "z"]).set_index(["customer", "month"])
    fit = PanelOLS(
        panel["y"],
        panel[["x", "z"]],
        entity_effects=True,
        time_effects=True,
        weights=panel["w"] if weighted else None,
        singletons=False,
    )
    return fit.fit(cov_type="clustered", cluster_entity=True, group_debias=True)


def assert_same(one, other, rtol=1e-10):
    np.testing.assert_allclose(one.fit.coefficient, other.fit.coefficient, rtol=rtol)
    np.testing.assert_allclose(one.fit.covariance, other.fit.covariance, rtol=rtol)
    np.testing.assert_allclose(one.fit.identifying, other.fit.identifying)
    for name in ("n", "customers", "periods", "singletons", "counted", "df_residual"):
        assert getattr(one.fit, name) == getattr(other.fit, name), name
    assert one.missing == other.missing


class TestOthers:
    @pytest.mark.parametrize(
        "weight, slopes, errors",
        [
            (None, [0.40938297896246856, -0.19703104023170456], [0.01831180979563627, 0.007689424637968768]),
            ("w", [0.41094969418017296, -0.19779486858251238], [0.020244200644172563, 0.00802864253022769]),
        ],
    )
    def test_pyfixest(self, tmp_path, weight, slopes, errors):
        """pyfixest 0.60.0: feols("y ~ x + z | customer + month", vcov={"CRV1": "customer"}, fixef_tol=1e-14)."""
        arithmetic_panel().to_parquet(tmp_path / "rows.parquet")
        found = panel_regression(tmp_path / "rows.parquet", weight=weight, **ASKED)
        np.testing.assert_allclose(found.fit.coefficient, slopes, rtol=1e-12)
        np.testing.assert_allclose(found.fit.se, errors, rtol=1e-12)
        assert (found.fit.n, found.fit.customers, found.fit.singletons, found.missing) == (382, 58, 2, 0)

    @pytest.mark.filterwarnings("ignore:.*singleton")
    @pytest.mark.parametrize("weight", [None, "w"])
    def test_linearmodels(self, rows, file, weight):
        """The factor of PanelOLS counts every absorbed effect; ours not those nested in the clusters."""
        theirs = reference(rows, weighted=weight is not None)
        found = panel_regression(file, weight=weight, **ASKED)
        assert found.fit.n == theirs.nobs
        np.testing.assert_allclose(found.fit.coefficient, theirs.params, rtol=1e-9)
        scale = theirs.df_resid / (found.fit.n - found.fit.counted)
        np.testing.assert_allclose(found.fit.covariance, theirs.cov * scale, rtol=1e-8)
        assert found.missing == rows[["y", "x"]].isna().any(axis=1).sum()


@pytest.fixture(scope="module")
def plain(file: Path):
    return panel_regression(file, **ASKED)


class TestWays:
    """Whatever the source, the answer is the one from the file."""

    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"customer": "name"},
            {"customer": "far"},
            {"month": "date"},
            {"in_sql": True},
            {"in_sql": True, "customer": "name", "month": "date"},
        ],
    )
    def test_tables(self, engine, file, plain, asked):
        assert_same(panel_regression(table_of(engine, file), **ASKED, **asked), plain)

    def test_a_table_in_several_scans(self, engine, file, plain, monkeypatch):
        monkeypatch.setattr(within_rows, "SHARDS", 3)
        assert_same(panel_regression(table_of(engine, file), memory_mb=0, **ASKED), plain)
        assert_same(panel_regression(file, memory_mb=0, **ASKED), plain)

    @pytest.mark.parametrize("customer", ["name", "far"])
    def test_files_whose_customers_are_not_numbered(self, file, plain, customer):
        assert_same(panel_regression([file], customer=customer, **ASKED), plain)

    def test_several_files(self, rows, plain, tmp_path):
        rows.iloc[:500].to_parquet(tmp_path / "a.parquet")
        rows.iloc[500:].to_parquet(tmp_path / "b.parquet")
        assert_same(panel_regression(tmp_path, **ASKED), plain)

    def test_instants_become_months_in_the_zone_of_the_connection(self, rows, plain, tmp_path):
        """Midnight in Shanghai on the first of a month is the day before in UTC."""
        start = pd.to_datetime(rows["date"].map(lambda day: day.replace(day=1))).dt.tz_localize("Asia/Shanghai")
        rows.assign(date=start).to_parquet(tmp_path / "rows.parquet")
        backend = ibis.duckdb.connect()
        backend.raw_sql("SET TimeZone = 'Asia/Shanghai'")
        table = backend.read_parquet(tmp_path / "rows.parquet")
        assert_same(panel_regression(table, month="date", **ASKED), plain)

    def test_memory_table(self, rows, plain):
        assert_same(panel_regression(ibis.memtable(rows), **ASKED), plain)
        assert_same(panel_regression(rows, month="date", in_sql=True, **ASKED), plain)

    @pytest.mark.parametrize("asked", [{"segment": "group"}, {"weight": "w"}, {"segment": "group", "weight": "w"}])
    def test_segments_and_weights(self, engine, file, tmp_path, asked):
        plain = panel_regression(file, **ASKED, **asked)
        assert_same(panel_regression(table_of(engine, file), in_sql=True, **ASKED, **asked), plain)
        layout = write_layout(file, tmp_path / "layout", segment=asked.get("segment"), buckets=3)
        assert_same(panel_regression(layout, **ASKED, **asked), plain)

    @pytest.mark.parametrize("memory_mb, threads", [(512, 2), (0, 1)])
    def test_layouts(self, file, plain, tmp_path, memory_mb, threads):
        layout = write_layout(file, tmp_path / "layout", customer="name", month="date", buckets=7)
        found = panel_regression(layout, customer="name", month="date", memory_mb=memory_mb, threads=threads, **ASKED)
        assert_same(found, plain)
        assert sum(layout.lengths) == layout.rows

    @pytest.mark.slow
    @pytest.mark.parametrize("asked", [{}, {"segment": "group", "weight": "w"}])
    def test_spark(self, file, asked):
        pytest.importorskip("pyspark", reason="Spark is not installed")
        if shutil.which("java") is None:
            pytest.skip("Spark needs Java")
        engine = connect(options=EngineOptions(kind="spark", master="local[1]"))
        rows = engine.stage(engine.relation(f"SELECT * FROM read_parquet('{file}')"), "rows")
        assert rows.get_backend().name == "pyspark"
        found = panel_regression(rows, fetch=engine.fetch, **ASKED, **asked)
        assert_same(found, panel_regression(file, **ASKED, **asked))

    def test_a_linked_panel(self):
        data = sample_linked(seed=1, customers=300, months=12)
        here = panel_regression(data)
        assert_same(panel_regression(data, in_sql=True), here, rtol=1e-9)
        frame = data.frame()
        assert here.missing == frame[["outcome", "score"]].isna().any(axis=1).sum()
        assert list(here.table().index) == ["score"]
        assert here.fit.identifying[0] < 1


class TestLayout:
    def test_goes_on_where_it_was_interrupted(self, file, tmp_path, monkeypatch):
        monkeypatch.setattr(within_write, "PART_ROWS", 1500)
        folder = tmp_path / "layout"
        number, done = within_write._number, []

        def fail_at_the_third(target, bucket, *rest):
            if bucket == 2 and not done:
                done.append(bucket)
                raise KeyboardInterrupt
            number(target, bucket, *rest)

        monkeypatch.setattr(within_write, "_number", fail_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            write_layout(file, folder, buckets=4)
        with pytest.raises(DataError, match="no layout"):
            read_layout(folder)
        before = {path.name: path.stat().st_mtime_ns for path in folder.glob("bucket-*.parquet")}
        assert len(before) == 2
        dealt = {path.name for path in (folder / "parts").iterdir()}
        assert len(dealt) > 1
        layout = write_layout(file, folder, buckets=4)
        assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
        assert not (folder / "parts").exists()
        assert_same(panel_regression(folder, **ASKED), panel_regression(file, **ASKED))
        assert write_layout(file, folder, buckets=4) == layout == read_layout(folder)

    def test_a_part_that_is_not_whole_is_written_again(self, file, tmp_path):
        folder = tmp_path / "layout"
        (folder / "parts" / "draft-0000").mkdir(parents=True)
        shutil.copy(file, folder / "parts" / "draft-0000" / "bucket-0000.parquet")
        layout = write_layout(file, folder, buckets=2)
        assert sum(layout.lengths) == pq.ParquetFile(file).metadata.num_rows

    def test_another_layout_is_not_written_over(self, file, tmp_path):
        write_layout(file, tmp_path / "layout", buckets=2)
        with pytest.raises(DataError, match="another layout") as caught:
            write_layout(file, tmp_path / "layout", buckets=3, segment="group")
        assert "buckets: it holds 2, asked for was 3" in str(caught.value)

    def test_roles_are_those_it_was_written_for(self, file, tmp_path):
        layout = write_layout(file, tmp_path / "layout", buckets=2, columns=["y", "x"])
        with pytest.raises(DataError, match="cannot be regressed") as caught:
            panel_regression(layout, customer="name", **ASKED)
        assert "'z' is not in the layout" in str(caught.value)
        assert "customer is 'customer' in the layout, not 'name'" in str(caught.value)

    def test_missing_columns(self, file, tmp_path):
        with pytest.raises(DataError, match="'nobody' is not in the source"):
            write_layout(file, tmp_path / "layout", customer="nobody")


class TestFaults:
    def test_all_missing_columns_at_once(self, file):
        with pytest.raises(DataError) as caught:
            panel_regression(file, outcome="nothing", regressors=["x", "neither"])
        assert "'nothing'" in str(caught.value)
        assert "'neither'" in str(caught.value)

    def test_columns_with_two_roles_and_no_regressor(self, file):
        with pytest.raises(DataError, match="'y' has two roles"):
            panel_regression(file, outcome="y", regressors=["y"])
        with pytest.raises(DataError, match="no regressor"):
            panel_regression(file, outcome="y", regressors=[])

    def test_columns_without_numbers(self, file, engine, tmp_path):
        asked = {"outcome": "y", "regressors": ["x", "name"]}
        for source in (file, table_of(engine, file)):
            with pytest.raises(DataError, match="'name' does not hold numbers"):
                panel_regression(source, **asked)
        with pytest.raises(DataError, match="'name' does not hold numbers"):
            write_layout(file, tmp_path / "layout", columns=["y", "name"])

    def test_no_file(self, tmp_path):
        with pytest.raises(DataError, match="no Parquet file is there"):
            panel_regression(tmp_path, **ASKED)

    @pytest.mark.parametrize("in_sql", [False, True])
    def test_absorbed_regressors(self, rows, in_sql, tmp_path):
        rows.assign(opened=rows["customer"] * 3.0, age=rows["month"] - 0.5 * rows["customer"]).drop(
            columns="date"
        ).to_parquet(tmp_path / "rows.parquet")
        with pytest.raises(FitError) as caught:
            panel_regression(tmp_path, outcome="y", regressors=["x", "opened", "age"], in_sql=in_sql)
        assert len(caught.value.faults) == 2
        assert "'opened' does not vary within customers" in caught.value.faults[0]
        assert "'age'" in caught.value.faults[1]

    @pytest.mark.parametrize("in_sql", [False, True])
    def test_infinite_values_and_weights(self, rows, engine, in_sql, tmp_path):
        bad = rows.drop(columns="date").copy()
        bad.loc[3, "x"], bad.loc[4, "w"] = np.inf, -1.0
        bad.to_parquet(tmp_path / "rows.parquet")
        with pytest.raises(DataError) as caught:
            panel_regression(table_of(engine, tmp_path / "rows.parquet"), weight="w", in_sql=in_sql, **ASKED)
        assert "'x' holds infinite values" in str(caught.value)
        assert "weights must be positive" in str(caught.value)

    def test_months_that_are_none(self, rows, tmp_path):
        rows.assign(month=rows["month"] ** 2).drop(columns="date").to_parquet(tmp_path / "rows.parquet")
        with pytest.raises(DataError, match="too long a time"):
            panel_regression(tmp_path, **ASKED)

    def test_no_rows(self, rows, engine, tmp_path):
        rows.iloc[:0].drop(columns="date").to_parquet(tmp_path / "rows.parquet")
        with pytest.raises(DataError, match="no rows"):
            panel_regression(tmp_path, **ASKED)
