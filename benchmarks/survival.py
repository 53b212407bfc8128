"""Cox regression with left truncation, discrete covariates and tied days, beside other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import FOLDER, Contest, contest, loaded, options, serve, table
from benchmarks.panel import digits

COVARIATES = ("nps", "products", "digital")
NAMES = ("rox", "rox, Breslow", "statsmodels PHReg", "lifelines CoxPHFitter", "lifelines CoxTimeVaryingFitter")
NEEDS = {
    "rox": ("rox.numerics.cox", "rox.numerics.risk_sets"),
    "statsmodels": ("statsmodels.duration.hazard_regression",),
    "lifelines": ("lifelines",),
    "scikit-survival": ("sksurv.linear_model",),
}
UNTRUNCATED = ("rox", "lifelines CoxPHFitter", "scikit-survival")


def main() -> None:
    """Run from the command line."""
    parser = options("Cox regression", rows="1e5")
    parser.add_argument("--untruncated", action="store_true", help="everybody is at risk from the first day")
    asked = parser.parse_args()
    if asked.one:
        serve(contestant(asked.one, episodes(asked.rows, truncated=not asked.untruncated)), asked.repeats)
        return
    print(report(asked.rows, not asked.untruncated, asked.rounds, asked.repeats, asked.only))


def report(rows: float, truncated: bool, rounds: int, repeats: int, names: list[str] | None = None) -> str:
    """Run the contest and write it down."""
    names = names or list(NAMES if truncated else UNTRUNCATED)
    words = ["--rows", str(rows), *([] if truncated else ["--untruncated"])]
    print(f"{episodes(rows, truncated=truncated).name}", file=sys.stderr)
    found = contest("benchmarks.survival", names, words, rounds=rounds, repeats=repeats, patience=900)
    base = names[0]
    return table(found, base, lambda name: {"digits: coefficients": _agreement(found, name, base)})


def episodes(rows: float, *, truncated: bool) -> Path:
    """Write, or find, one row per customer: entry and exit in days, whether the exit is an event, and covariates."""
    path = FOLDER / f"episodes-{rows:.0f}-{'truncated' if truncated else 'whole'}.parquet"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    count = int(rows)
    x = np.column_stack([rng.integers(0, 11, count), rng.integers(0, 8, count), rng.integers(0, 2, count)]).astype(
        float
    )
    hazard = np.exp(x @ [-0.1, -0.05, 0.2]) / 3000
    start = np.floor(rng.uniform(0, 3000, count)) if truncated else np.zeros(count)
    lived = np.ceil(rng.exponential(1 / hazard))
    event = lived <= 730
    stop = start + np.where(event, lived, 730)
    columns = {"start": start, "stop": stop, "event": event.astype(np.int8)}
    columns |= {name: x[:, place] for place, name in enumerate(COVARIATES)}
    draft = path.with_suffix(".draft")
    pq.write_table(pa.table(columns), draft)
    draft.rename(path)
    return path


def contestant(name: str, path: Path) -> Callable[[], Mapping[str, Any]]:
    """Return what is timed. Peers have the rows in memory before the clock starts; rox reads them from the file."""
    loaded(*NEEDS[name.split()[0].rstrip(",")])
    if name.startswith("rox"):
        return lambda: _rox(path, "breslow" if "Breslow" in name else "efron")
    import pandas as pd

    frame = pd.read_parquet(path)
    return {
        "statsmodels PHReg": lambda: _phreg(frame),
        "lifelines CoxPHFitter": lambda: _lifelines(frame),
        "lifelines CoxTimeVaryingFitter": lambda: _time_varying(frame),
        "scikit-survival": lambda: _sksurv(frame),
    }[name]


def _rox(path: Path, ties: str) -> Mapping[str, Any]:
    from rox.numerics.cox import cox_from_counts
    from rox.numerics.risk_sets import covariate_patterns, risk_sets

    rows = pq.read_table(path)
    code, x = covariate_patterns(np.column_stack([rows[name].to_numpy() for name in COVARIATES]))
    start, stop, event = (rows[name].to_numpy() for name in ("start", "stop", "event"))
    sets = risk_sets(start, stop, event.astype(bool), code, patterns=len(x))
    return {"coef": cox_from_counts(sets, x, ties=ties).coefficient.tolist()}


def _phreg(frame: Any) -> Mapping[str, Any]:
    from statsmodels.duration.hazard_regression import PHReg

    model = PHReg(frame["stop"], frame[list(COVARIATES)], frame["event"], entry=frame["start"], ties="efron")
    return {"coef": np.asarray(model.fit().params).tolist()}


def _lifelines(frame: Any) -> Mapping[str, Any]:
    from lifelines import CoxPHFitter

    late = frame["start"].max() > 0
    rows = frame if late else frame.drop(columns="start")
    fit = CoxPHFitter().fit(rows, "stop", "event", entry_col="start" if late else None)
    return {"coef": fit.params_[list(COVARIATES)].tolist()}


def _time_varying(frame: Any) -> Mapping[str, Any]:
    from lifelines import CoxTimeVaryingFitter

    rows = frame.assign(id=np.arange(len(frame)))
    fit = CoxTimeVaryingFitter().fit(rows, id_col="id", event_col="event", start_col="start", stop_col="stop")
    return {"coef": fit.params_[list(COVARIATES)].tolist()}


def _sksurv(frame: Any) -> Mapping[str, Any]:
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    outcome = Surv.from_arrays(frame["event"].astype(bool), frame["stop"])
    fit = CoxPHSurvivalAnalysis(ties="efron").fit(frame[list(COVARIATES)].to_numpy(), outcome)
    return {"coef": fit.coef_.tolist()}


def _agreement(found: Contest, name: str, base: str) -> str:
    own, other = (found.trials[each][-1].answer for each in (name, base))
    return "" if name == base else digits(own["coef"], other["coef"])


if __name__ == "__main__":
    main()
