"""How well the error of an estimate is known, and what follows for its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rox.metrics.estimates import known_rows, ratio, with_nps, with_t, with_wilson


def moments(rows: pd.DataFrame) -> pd.DataFrame:
    """Reduce rows (stratum, customer, w, v) to moments by stratum."""
    rows = rows.assign(x=rows.w, y=rows.w * rows.v, ww=rows.w**2, s=rows.w * rows.v**2, n=1.0)
    own = rows.groupby(["stratum", "customer"])[["n", "x", "y", "ww", "s"]].sum()
    own = own.assign(m=1.0, xx=own.x**2, yy_v=own.y**2, xy_v=own.x * own.y).rename(columns={"y": "y_v", "s": "s_v"})
    return own.groupby("stratum").sum().reset_index()


def drawn(seed: int, *, strata: int = 1, repeats: int = 1, equal: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = 12 * strata
    people = pd.DataFrame({"customer": np.arange(size), "stratum": np.arange(size) % strata})
    people["w"] = 2.0 if equal else np.exp(rng.normal(0, 0.8, size))
    rows = people.loc[people.index.repeat(rng.integers(1, 1 + repeats, size))]
    return rows.assign(v=rng.integers(-1, 2, len(rows)).astype(float))


def test_plain_rows_have_all_their_degrees_of_freedom_and_keep_their_number() -> None:
    estimate = ratio(moments(drawn(1, equal=True)), (), "v")
    assert estimate["df"].iloc[0] == pytest.approx(11)
    assert known_rows(estimate)[0] == pytest.approx(estimate["n_eff"].iloc[0])


def test_a_variance_of_unequal_strata_and_customers_is_less_well_known() -> None:
    rows = drawn(2, strata=3, repeats=4)
    estimate = ratio(moments(rows), (), "v")
    value = np.average(rows.v, weights=rows.w)
    own = rows.assign(u=rows.w * (rows.v - value) / rows.w.sum()).groupby(["stratum", "customer"])[["u", "w"]].sum()
    parts, degrees = [], []
    for _, each in own.groupby("stratum"):
        parts.append(12 / 11 * ((each.u - each.u.mean()) ** 2).sum())
        degrees.append(each.w.sum() ** 2 / (each.w**2).sum() - 1)
    df = sum(parts) ** 2 / sum(part**2 / each for part, each in zip(parts, degrees, strict=True))
    assert estimate["se"].iloc[0] == pytest.approx(np.sqrt(sum(parts)))
    assert estimate["df"].iloc[0] == pytest.approx(df)
    assert df < 20 < 36 - 3
    shorter = stats.t.ppf(0.95, len(rows) - 1) / stats.t.ppf(0.95, df)
    assert known_rows(estimate)[0] == pytest.approx(estimate["n_eff"].iloc[0] * shorter**2)
    plain = estimate.assign(df=estimate["n"] - 1)
    share = {"value": 0.4, "square": 0.4}
    for made, sure in (
        (with_t(estimate, 0.9), with_t(plain, 0.9)),
        (with_nps(estimate, 0.9), with_nps(plain, 0.9)),
        (with_wilson(estimate.assign(**share), 0.9), with_wilson(plain.assign(**share), 0.9)),
    ):
        assert ((made["high"] - made["low"]) > 1.01 * (sure["high"] - sure["low"])).all()


def test_answers_that_all_agree_have_degrees_of_freedom_as_well() -> None:
    estimate = ratio(moments(drawn(3, strata=2).assign(v=1.0)), (), "v")
    assert estimate["se"].iloc[0] == pytest.approx(0, abs=1e-9)
    assert 1 <= estimate["df"].iloc[0] <= 22


def test_one_customer_who_weighs_all_leaves_one_degree_of_freedom() -> None:
    rows = drawn(4).assign(w=lambda f: np.where(f.customer == 0, 1e6, 1.0))
    assert ratio(moments(rows), (), "v")["df"].iloc[0] == pytest.approx(1)


def test_few_customers_with_unequal_weights_are_held_as_often_as_said() -> None:
    rng = np.random.default_rng(5)
    runs, size = 400, 8
    weight = np.array([1, 1, 2, 2, 4, 4, 8, 8.0])
    values = rng.normal(0, 1 / np.sqrt(weight), (runs, size))
    rows = pd.DataFrame({"run": np.repeat(np.arange(runs), size), "customer": np.tile(np.arange(size), runs)})
    rows = rows.assign(w=np.tile(weight, runs), v=values.ravel(), stratum=rows.run)
    estimate = ratio(moments(rows).assign(run=lambda f: f.stratum), ("run",), "v")
    made = with_t(estimate, 0.9)
    held = ((made["low"] < 0) & (made["high"] > 0)).mean()
    naive = with_t(estimate.assign(df=size - 1.0), 0.9)
    assert held >= 0.85
    assert held > ((naive["low"] < 0) & (naive["high"] > 0)).mean()
