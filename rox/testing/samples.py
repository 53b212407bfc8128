"""Small linked panels to develop a model against."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.linked import Linked, Step, month_index
from rox.core.study import Study
from rox.linking.cells import reduce_panel
from rox.linking.views import FrameViews

EXTRACT = "2025-12-31"
"""Day on which a panel from a frame was exported."""


def linked_from_frame(
    frame: pd.DataFrame,
    *,
    score: str = "nps",
    outcome: str = "aum",
    kind: Literal["stock", "flow", "count"] = "stock",
    currency: str = "CNY",
    look_back: int = 12,
    controls: Sequence[str] = (),
    starts: pd.DataFrame | None = None,
    min_cell: int = 10,
    assigned: Literal["random", "chosen", "unknown"] = "random",
    records: Mapping[str, pd.DataFrame] | None = None,
) -> Linked:
    """Wrap a frame of customer months as a linked panel, to try a model on data that came from nowhere.

    Args:
        frame: Columns ``customer`` (integer), ``month`` (12·year + month − 1) and ``outcome``; the other columns of a
            linked panel are filled in when missing (one segment, weight 1, no score, no exit).
        score: Name of the score, a 0–10 question.
        outcome: Name of the outcome.
        kind: Kind of the outcome.
        currency: ISO code.
        look_back: Months an answer stays in use.
        controls: Names of control columns in the frame.
        starts: ``initiative``, ``unit``, ``start``.
        min_cell: Smallest group that may be shown.
        assigned: How the places of the initiatives were chosen.
        records: Further tables by name (``tickets``, ``arms``, ``applicants``) and role, dates as datetimes, customers
            as in the frame; see :meth:`rox.core.linked.Linked.records`.
    """
    blank: dict[str, Any] = {
        "segment": EVERYONE,
        "unit": None,
        "weight": 1.0,
        "score": np.nan,
        "score_age": np.nan,
        "opened": np.nan,
        "exit_month": np.nan,
        "voluntary": False,
    }
    rows = frame.assign(**{name: value for name, value in blank.items() if name not in frame})
    starts = pd.DataFrame({"initiative": [], "unit": [], "start": []}) if starts is None else starts
    study = _small_study(score, outcome, kind, currency, min_cell, {each: assigned for each in starts["initiative"]})
    hashed = pd.util.hash_pandas_object(rows.sort_values(["customer", "month"]), index=False).to_numpy()
    step = Step(
        name="frame", rows=len(rows), lost=0, customers=int(rows["customer"].nunique()), reason="score.step.frame"
    )
    return Linked(
        study=study,
        score=score,
        outcome=outcome,
        look_back=look_back,
        controls=tuple(controls),
        starts=starts,
        trail=(step,),
        fingerprint=hashlib.sha256(hashed.tobytes()).hexdigest(),
        checks=(),
        panel=rows,
        fetch=lambda table: table.copy(),
        reduce=reduce_panel,
        views=FrameViews(records_by_name=records or {}),
    )


def _small_study(
    score: str, outcome: str, kind: str, currency: str, min_cell: int, initiatives: Mapping[str, str]
) -> Study:
    return Study.model_validate(
        {
            "study": {
                "name": "sample",
                "title": "Sample",
                "currency": currency,
                "extract": EXTRACT,
                "min_cell": min_cell,
            },
            "tables": {
                "customers": {"path": "customers.csv", "columns": {"customer": "customer"}},
                "answers": {"path": "answers.csv", "columns": {"customer": "customer", "date": "date"}},
                "ledger": {"path": "ledger.csv", "columns": {"customer": "customer", "month": "month"}},
                "exits": {"path": "exits.csv", "columns": {"customer": "customer", "date": "date"}},
            },
            "scores": {score: {"column": score, "low": 0, "high": 10, "kind": "nps", "label": score}},
            "outcomes": {outcome: {"column": outcome, "kind": kind, "label": outcome}},
            "initiatives": {name: {"label": name, "assigned": how} for name, how in initiatives.items()},
        }
    )


def sample_linked(*, customers: int = 1200, months: int = 30, seed: int = 1) -> Linked:
    """Simulate a small panel in which every kind of model has something to find.

    Two segments of different wealth; quarterly surveys that a part answers; money that goes with lasting and with
    passing satisfaction; exits that are rarer among the satisfied; a refit rolled out over 24 units in three waves.
    Beside it lie tickets of the unhappy, a third of whom are by lot never called; two arms of an experiment; and people
    who start to open an account in one of two forms. Calls and arms change no money, so the panel is what it was
    without them.
    """
    rng = np.random.default_rng(seed)
    start = month_index(2023, 1)
    segment = rng.random(customers) < 0.3
    unit = rng.integers(0, 24, customers)
    begin = np.array([start + 10, start + 14, start + 18, 10**6])[np.arange(24) % 4][unit]
    opened = start - rng.integers(1, 120, customers)
    products = rng.poisson(2, customers).astype(float)
    trait = 7 + 0.8 * rng.standard_normal(customers) + 0.3 * segment
    level = np.where(segment, 11.0, 9.0) + 0.10 * (trait - 7) + 0.4 * rng.standard_normal(customers)
    passing, exit_month = np.zeros(customers), np.full(customers, np.nan)
    voluntary, score, answered = np.zeros(customers, bool), np.full(customers, np.nan), np.full(customers, np.nan)
    blocks = []
    for month in range(start, start + months):
        passing = 0.8 * passing + 0.6 * 1.2 * rng.standard_normal(customers)
        feeling = trait + passing
        since = np.clip((month - begin + 1) / 6, 0, 1)
        money = np.exp(level + 0.03 * passing + 0.06 * since + 0.05 * rng.standard_normal(customers))
        here = np.isnan(exit_month)
        leaving = here & (rng.random(customers) < 0.012 * np.exp(-0.25 * (feeling - 7)))
        moving = here & ~leaving & (rng.random(customers) < 0.003)
        exit_month[leaving | moving] = month
        voluntary |= leaving
        age = np.where(month - answered <= 12, month - answered, np.nan)
        blocks.append(
            pd.DataFrame(
                {
                    "customer": np.arange(customers),
                    "month": month,
                    "segment": np.where(segment, "gold", "mass"),
                    "unit": [f"U{each:02d}" for each in unit],
                    "weight": np.where(segment, 20.0, 80.0),
                    "outcome": money.round(2),
                    "score": np.where(np.isnan(age), np.nan, score),
                    "score_age": age,
                    "opened": opened.astype(float),
                    "products": products,
                }
            )[here]
        )
        answers = here & ~leaving & ~moving & (rng.random(customers) < (0.45 if month % 3 == 2 else 0.0))
        score[answers] = np.clip(np.rint(feeling + rng.standard_normal(customers)), 0, 10)[answers]
        answered[answers] = month
    frame = pd.concat(blocks, ignore_index=True)
    frame["exit_month"] = exit_month[frame["customer"]]
    frame["voluntary"] = voluntary[frame["customer"]]
    treated = np.arange(24)[np.arange(24) % 4 < 3]
    starts = pd.DataFrame(
        {"initiative": "refit", "unit": [f"U{each:02d}" for each in treated], "start": start + 10 + 4 * (treated % 4)}
    )
    records = {"tickets": _tickets(frame, seed), "arms": _arms(frame, seed), "applicants": _applicants(seed)}
    return linked_from_frame(frame, controls=("products",), starts=starts, records=records)


def dates_in(month: NDArray[np.int64], day: NDArray[np.int64]) -> pd.DatetimeIndex:
    """Return the dates of days, counted from 0, after the first of months (12·year + month − 1)."""
    first = (month - 12 * 1970).astype("datetime64[M]").astype("datetime64[D]")
    return pd.DatetimeIndex((first + day).astype("datetime64[us]"))


def _tickets(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Open a ticket for every answer of 6 or less, and call half of those whom the lot lets call."""
    rng = np.random.default_rng([seed, 1])
    said = frame[(frame["score"] <= 6) & (frame["score_age"] == 1)]
    customers = said["customer"].to_numpy()
    held = rng.random(customers.max(initial=0) + 1) < 1 / 3
    opened = dates_in(said["month"].to_numpy() - 1, rng.integers(0, 15, len(said)))
    called = ~held[customers] & (rng.random(len(said)) < 0.5)
    contacted = pd.Series(opened + pd.to_timedelta(rng.integers(1, 10, len(said)), unit="D")).where(called)
    columns = {"customer": customers, "date": opened, "hold_out": held[customers].astype(int)}
    return pd.DataFrame(columns | {"contacted": contacted.to_numpy()})


def _arms(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw an arm for everybody who is there in the tenth month, or in the last of fewer."""
    rng = np.random.default_rng([seed, 2])
    month = min(frame["month"].min() + 9, frame["month"].max())
    customers = frame.loc[frame["month"] == month, "customer"].to_numpy()
    arm = np.where(rng.permutation(customers.size) % 2 == 0, "control", "call")
    date = dates_in(np.full(customers.size, month), np.full(customers.size, 9))
    return pd.DataFrame({"experiment": "call", "customer": customers, "arm": arm, "date": date, "planned": 0.5})


def _applicants(seed: int, size: int = 1000) -> pd.DataFrame:
    """Let people start in the two years before the extract; by lot, two in five or one in four open an account."""
    rng = np.random.default_rng([seed, 3])
    new = rng.random(size) < 0.5
    funded = rng.random(size) < np.where(new, 0.40, 0.25)
    return pd.DataFrame(
        {
            "date": pd.Timestamp(EXTRACT) - pd.to_timedelta(rng.integers(0, 700, size), unit="D"),
            "channel": rng.choice(["app", "web"], size),
            "variant": np.where(new, "new", "old"),
            "assigned": "lot",
            "reached": np.where(funded, 3, rng.integers(0, 3, size)),
            "funded": funded.astype(int),
            "amount": np.where(funded, rng.lognormal(8, 1, size), 0.0).round(2),
        }
    )
