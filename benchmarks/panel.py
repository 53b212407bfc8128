"""Panel regression with customer and month effects, errors clustered by customer, beside other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import REGRESSORS, panel
from benchmarks.measure import Contest, contest, loaded, options, serve, table

PEERS = (
    "pyfixest",
    "pyfixest lean",
    "linearmodels AbsorbingLS",
    "linearmodels PanelOLS",
    "statsmodels",
    "duckreg",
)
HEAVY = {"linearmodels AbsorbingLS", "linearmodels PanelOLS", "statsmodels"}
NEEDS = {
    "pyfixest": ("pyfixest.estimation.api",),
    "pyfixest lean": ("pyfixest.estimation.api",),
    "linearmodels AbsorbingLS": ("linearmodels.iv.absorbing",),
    "linearmodels PanelOLS": ("linearmodels",),
    "statsmodels": ("statsmodels.api",),
}
FORMULA = f"y ~ {' + '.join(REGRESSORS)}"


def main() -> None:
    """Run from the command line."""
    parser = options("Panel regression")
    parser.add_argument("--unbalanced", action="store_true")
    asked = parser.parse_args()
    if asked.one:
        serve(contestant(asked.one, panel(asked.rows, balanced=not asked.unbalanced)), asked.repeats)
        return
    print(report(asked.rows, not asked.unbalanced, asked.rounds, asked.repeats, asked.only))


def report(rows: float, balanced: bool, rounds: int, repeats: int, names: list[str] | None = None) -> str:
    """Run the contest and write it down."""
    names = names or ["rox", "rox from a layout", "rox in SQL", *PEERS]
    path = panel(rows, balanced=balanced)
    words = ["--rows", str(rows), *([] if balanced else ["--unbalanced"])]
    print(f"{path.name}", file=sys.stderr)
    found = contest("benchmarks.panel", names, words, rounds=rounds, repeats=repeats)
    base = names[0]
    return table(found, base, lambda name: _digits(found, name, base))


def contestant(name: str, path: Path) -> Callable[[], Mapping[str, Any]]:
    """Return what is timed. Peers have the rows in memory before the clock starts; rox reads them from the file."""
    loaded(*NEEDS.get(name, ()))
    if name.startswith("rox"):
        return _rox(name, path)
    if name == "duckreg":
        return _duckreg(path)
    import pandas as pd

    frame = pd.read_parquet(path)
    return {
        "pyfixest": lambda: _pyfixest(frame, {}),
        "pyfixest lean": lambda: _pyfixest(frame, {"lean": True, "store_data": False, "copy_data": False}),
        "linearmodels AbsorbingLS": lambda: _absorbing(frame),
        "linearmodels PanelOLS": lambda: _panel_ols(frame),
        "statsmodels": lambda: _statsmodels(frame),
    }[name]


def _rox(name: str, path: Path) -> Callable[[], Mapping[str, Any]]:
    from rox.linking.within import panel_regression
    from rox.linking.within_sources import table_of
    from rox.linking.within_write import write_layout

    source: Any = path
    if name == "rox from a layout":
        source = write_layout(path, path.with_suffix(".layout"))
    if name == "rox in SQL":
        source = table_of([path])[0]

    def run() -> Mapping[str, Any]:
        fit = panel_regression(source, outcome="y", regressors=REGRESSORS, in_sql=name == "rox in SQL").fit
        return {"coef": fit.coefficient.tolist(), "se": fit.se.tolist(), "rows": fit.n}

    return run


def _pyfixest(frame: Any, more: Mapping[str, Any]) -> Mapping[str, Any]:
    import pyfixest

    fit = pyfixest.feols(f"{FORMULA} | customer + month", frame, vcov={"CRV1": "customer"}, **more)
    return {"coef": fit.coef().tolist(), "se": fit.se().tolist()}


def _absorbing(frame: Any) -> Mapping[str, Any]:
    from linearmodels.iv.absorbing import AbsorbingLS

    absorb = frame[["customer", "month"]].astype("category")
    fit = AbsorbingLS(frame["y"], frame[list(REGRESSORS)], absorb=absorb, drop_absorbed=False).fit(
        cov_type="clustered", clusters=frame["customer"]
    )
    return {"coef": fit.params.tolist(), "se": fit.std_errors.tolist()}


def _panel_ols(frame: Any) -> Mapping[str, Any]:
    from linearmodels import PanelOLS

    rows = frame.set_index(["customer", "month"])
    model = PanelOLS(rows["y"], rows[list(REGRESSORS)], entity_effects=True, time_effects=True, singletons=False)
    fit = model.fit(cov_type="clustered", cluster_entity=True, low_memory=True)
    return {"coef": fit.params.tolist(), "se": fit.std_errors.tolist()}


def _statsmodels(frame: Any) -> Mapping[str, Any]:
    """Demean by customer, add month dummies demeaned likewise, and cluster: the usual way round its missing effects."""
    import pandas as pd
    import statsmodels.api as sm

    months = pd.get_dummies(frame["month"], dtype=float, drop_first=True)
    both = pd.concat([frame[["y", *REGRESSORS]], months], axis=1)
    inside = both - both.groupby(frame["customer"]).transform("mean")
    fit = sm.OLS(inside["y"].to_numpy(), inside.drop(columns="y").to_numpy()).fit(
        cov_type="cluster", cov_kwds={"groups": frame["customer"].to_numpy()}
    )
    return {"coef": fit.params[: len(REGRESSORS)].tolist(), "se": fit.bse[: len(REGRESSORS)].tolist()}


def _duckreg(path: Path) -> Callable[[], Mapping[str, Any]]:
    """Two-way Mundlak; it has no clustered error but by bootstrap, which is not run."""
    import duckdb
    from duckreg.dbreg import DBMundlak

    database = path.with_suffix(".duckdb")
    if not database.exists():
        with duckdb.connect(str(database)) as connection:
            connection.execute(f"CREATE TABLE panel AS SELECT * FROM '{path}'")

    def run() -> Mapping[str, Any]:
        model = DBMundlak(
            str(database),
            "panel",
            "y",
            list(REGRESSORS),
            1,
            "customer",
            "month",
            n_bootstraps=0,
            cluster_col="customer",
        )
        model.fit()
        found = np.ravel(model.point_estimate)
        return {"coef": found[1 : 1 + len(REGRESSORS)].tolist()}

    return run


def _digits(found: Contest, name: str, base: str) -> Mapping[str, str]:
    own, other = (found.trials[each][-1].answer for each in (name, base))
    if name == base:
        return {"digits: slopes": "", "errors": ""}
    slopes = digits(own["coef"], other["coef"])
    if "se" not in own:
        return {"digits: slopes": slopes, "errors": "none given"}
    ratio = np.asarray(own["se"]) / np.asarray(other["se"])
    plain, scaled = digits(own["se"], other["se"]), digits(ratio, np.full(ratio.size, ratio.mean()))
    factor = float(ratio.mean())
    return {
        "digits: slopes": slopes,
        "errors": plain if abs(factor - 1) < 1e-7 else f"{scaled} (own factor {factor:.4f})",
    }


def digits(one: Any, other: Any) -> str:
    """Return how many digits two vectors share, at worst."""
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if one.shape != other.shape:
        return "other shape"
    worst = float(np.max(np.abs(one - other) / np.maximum(np.abs(other), 1e-300)))
    return "all" if worst == 0 else f"{-np.log10(worst):.1f}"


if __name__ == "__main__":
    main()
