"""Months at risk and exits as sums by pattern, one scan of the engine each, and what else a hazard of exit needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.cells import Cells
from rox.core.census import Census
from rox.core.derived import Bins, Maker
from rox.core.errors import DataError, FitError, LeakageError
from rox.core.linked import Linked, month_label
from rox.core.score_parts import ScoreParts
from rox.core.views import Clock
from rox.models.answers import KNOWN_ENOUGH, RESPONSE_WEIGHT, read_panel
from rox.models.episodes import at_risk
from rox.models.population import Population
from rox.models.readings import Calibration
from rox.numerics.grouped import dummies

Floats = NDArray[np.float64]

BANDS = Bins(column="start", edges=(3, 6, 9, 12, 18, 24, 36, 48, 60, 84, 120, 180, 240))
"""Bands of months since opening within which the hazard is level."""
APART = (-1.5, -0.9, -0.3, 0.3, 0.9, 1.5)
"""Standard deviations that part the bins of a control."""
OPENED = "opened"


@dataclass(frozen=True, kw_only=True, eq=False)
class AtRisk:
    """Months at risk by pattern and bucket of customers. c = cells.

    Attributes:
        cells: The sums.
        values: Shape (c, …), the cells in units: ``segment``, ``band``, ``bucket``, ``n`` (months), ``months`` and
            ``events`` (weighted), ``exits``, sums of ``lasting``, ``passing`` and the controls.
        numeric: Controls that are numbers, standardised.
        labels: Controls that are labels.
        clock: What a band counts.
    """

    cells: Cells
    values: pd.DataFrame
    numeric: tuple[str, ...]
    labels: tuple[str, ...]
    clock: Clock

    @property
    def level(self) -> NDArray[np.int64]:
        """Shape (c,): number of the baseline level, segment by band."""
        return np.asarray(self.values.groupby(["segment", "band"], sort=True).ngroup(), dtype=np.int64)

    @property
    def starts(self) -> Floats:
        """Shape (c,): first month of each cell's band."""
        band = self.values["band"].to_numpy(dtype=np.int64)
        return np.asarray(np.array([0.0, *BANDS.edges])[band] if self.clock == "tenure" else band.astype(float))

    def mean(self, name: str) -> Floats:
        """Return the mean of a summed column in each cell, shape (c,)."""
        return np.asarray(self.values[name].to_numpy(dtype=float) / self.values["n"].to_numpy(dtype=float))

    def controls(self) -> pd.DataFrame:
        """Return one column per number and per label but the first, those that vary."""
        columns = {name: self.mean(f"standard_{name}") for name in self.numeric}
        for name in self.labels:
            indicators, levels = dummies(self.values[f"control_{name}"].astype(str))
            columns |= {f"{name}={level}": indicators[:, i] for i, level in enumerate(levels) if i}
        found = pd.DataFrame(columns, index=self.values.index)
        return found.loc[:, found.std(ddof=0) > 1e-9]


def at_risk_cells(
    data: Linked,
    *,
    clock: Clock,
    parts: ScoreParts | None,
    controls: Sequence[str],
    bins: float,
    buckets: int = 64,
) -> AtRisk:
    """Reduce the months at risk to cells.

    The episodes of the link are put beside its readings and reduced as any panel is: events and months by segment, band
    of time, bins of the two parts of the reading, bins of the controls, and bucket. Cells keep the sums of what they
    bin, so that a fit uses cell means.

    Args:
        data: The linked panel.
        clock: ``tenure`` in bands, or ``calendar`` by month with the opening month as a control where it is known.
        parts: What answers are made of; None takes the carried answer as it stands.
        controls: Columns to hold equal.
        bins: Width of the bins of a reading, score points.
        buckets: Buckets of customers.

    Raises:
        DataError: Times at risk cannot be listed, or cells not be made.
    """
    rows = episodes_beside(data, clock, parts, [RESPONSE_WEIGHT])
    wanted = [*controls, OPENED] if clock == "calendar" and _knows_openings(data) else list(controls)
    numeric = tuple(name for name in wanted if name == OPENED or is_number(data.panel, name))
    labels = tuple(name for name in wanted if name not in numeric)
    by: dict[str, Maker] = {
        "segment": segment_of,
        "band": BANDS if clock == "tenure" else "start",
        "lasting_bin": _binned("lasting", bins),
        "passing_bin": _binned("passing", bins),
    }
    by |= {f"bin_{name}": Bins(column=f"standard_{name}", edges=APART) for name in numeric}
    by |= {f"control_{name}": name for name in labels}
    sums: dict[str, Maker] = {"months": "months", "events": "months*event", "exits": "event", "age": "score_age"}
    sums |= {name: name for name in ("lasting", "passing", *(f"standard_{each}" for each in numeric))}
    is_weighted = RESPONSE_WEIGHT in rows.panel.columns
    within: dict[str, Maker] = {
        "months": (lambda table: table[RESPONSE_WEIGHT].cast("float64")) if is_weighted else _one,
        "lasting": (lambda table: table.score.cast("float64")) if parts is None else (lambda table: table.trait + 0.0),
    }
    if parts is None:
        within["passing"] = lambda table: table.score.cast("float64") * 0.0
    within |= {f"standard_{name}": standard(name) for name in numeric}
    cells = rows.cells(by=by, sums=sums, within=within, known=("lasting", *wanted), buckets=buckets)
    return AtRisk(cells=cells, values=cells.values(), numeric=numeric, labels=labels, clock=clock)


def episodes_beside(data: Linked, clock: Clock, parts: ScoreParts | None, also: Sequence[str] = ()) -> Linked:
    """Return a link whose panel is the months at risk, with readings and some columns of the panel where it has them.

    A panel that is held in memory is laid out there; any other stays in its engine.

    Args:
        data: The linked panel.
        clock: As of ``episodes``.
        parts: What answers are made of; None for no readings.
        also: Further columns.

    Raises:
        DataError: Times at risk cannot be listed.
    """
    if isinstance(data.panel, pd.DataFrame) and data.study.attrition is None:
        return replace(data, panel=_episodes_in_memory(data, clock, parts))
    source = data if parts is None else data.calibrated(parts)
    episodes = source.episodes(clock=clock)
    wanted = [name for name in ("trait", "passing", *also) if name in source.panel.columns]
    beside = source.panel[["customer", "month", *wanted]]
    keys = ["customer", "month"]
    if isinstance(episodes, pd.DataFrame):
        joined: Any = episodes.merge(beside, on=keys)
    else:
        joined = episodes.join(beside, keys)
    return replace(source, panel=joined if wanted else episodes)


def _episodes_in_memory(data: Linked, clock: Clock, parts: ScoreParts | None) -> pd.DataFrame:
    panel = read_panel(data)
    scored = panel[panel["score"].notna()]
    if clock == "tenure":
        known = scored["opened"].notna()
        faults = []
        if known.mean() < KNOWN_ENOUGH:
            faults.append(f'{(~known).sum():,} of {len(known):,} months have no opening; or use clock="calendar"')
        if early := int((scored["month"] < scored["opened"]).sum()):
            faults.append(f"{early:,} months lie before the customer's opening")
        if faults:
            raise DataError("Times at risk cannot be listed.", [*faults, "mend `opened`"])
    rows = at_risk(panel, clock)
    if parts is not None:
        found = Calibration.of(rows, _answers(panel, data.lag))
        rows, found = rows[found.known], found.where_known()
        lasting, passing = found.parts((parts.lasting, parts.passing, parts.memory, parts.noise))
        rows = rows.assign(trait=lasting - found.centre, passing=passing)
    cause = np.where(rows["event"], "exit", np.where(rows["gone"], "other", "none"))
    return rows.assign(event=rows["event"].astype("int64"), cause=cause).drop(columns="gone")


def answers_of(data: Linked) -> pd.DataFrame:
    """Fetch the answers: ``customer``, ``segment``, ``answered``, ``score``."""
    columns = ["customer", "segment", "answered", "score"]
    if isinstance(data.panel, pd.DataFrame):
        found = _answers(read_panel(data), data.lag)[columns]
    else:
        found = data.fetch(data.around([], age=data.lag)[columns])
    found["segment"] = found["segment"].astype(object).where(found["segment"].notna(), EVERYONE)
    return found.astype({"score": float}).sort_values(["customer", "answered"], ignore_index=True)


def _answers(panel: pd.DataFrame, lag: int) -> pd.DataFrame:
    first = panel[panel["score_age"] == lag]
    return first.assign(answered=first["month"] - lag)


def usable_census(data: Linked) -> Census:
    """Count the panel and refuse what no hazard may be fitted to.

    Raises:
        LeakageError: A score is not older than the month it is to explain (ROX-S01, ROX-S02).
        DataError: Rows that cannot be used.
    """
    found = data.census()
    bad = found.defects
    leaks = {
        "unknown_age": "ROX-S02: {} rows have a score without its age; whether it was known by then cannot be told",
        "early": "ROX-S01: {} rows use a score of the same or a later month; score_age is at least 1",
        "changing": "ROX-S02: {} answers change their value in later months; carry the answer forward as it was given",
    }
    faults = {
        "twice": "{} rows repeat a customer's month; keep one row per customer and month",
        "weight": "{} weights are missing or not positive; a weight says how many customers a row stands for",
        "several": "{} customers change segment; a segment is the one at the start",
    }
    seen = [text.format(bad[name]) for name, text in leaks.items() if bad[name]]
    more = [text.format(bad[name]) for name, text in faults.items() if bad[name]]
    if bad["segment"] and found.is_segmented:
        more.append(f"{bad['segment']} rows have no segment; name one for every customer, such as 'unknown'")
    if not found.scored:
        more.append("no score is linked; give rox.link a score that customers answered")
    if seen or more:
        kind = LeakageError if seen else DataError
        raise kind("The panel cannot be used by a model of leaving.", [*seen, *more])
    return found


def people_of(census: Census, groups: Sequence[str]) -> Population:
    """Describe the customers behind some segments from a census.

    Raises:
        FitError: None of the segments has a customer in the last month.
    """
    segments = census.segments.rename(index=lambda name: str(name) or EVERYONE).reindex(list(groups)).fillna(0.0)
    customers = segments["customers"]
    month = month_label(census.last)
    if not customers.sum() > 0:
        raise FitError(f"No customer of {list(groups)} is left in {month}, so nobody's effect can be stated.")
    hazard = segments["exits"] / segments["months"] if census.records_exits else np.nan * customers
    baseline = pd.DataFrame(
        {"customers": customers, "money": segments["money"] / customers.where(customers > 0), "exit_hazard": hazard}
    )
    baseline.index = pd.Index(list(groups), name="group")
    shares = (customers / customers.sum()).to_numpy(dtype=float)
    return Population(groups=tuple(groups), shares=shares, baseline=baseline, month=month)


def segment_of(table: Any) -> Any:
    """Return the segment; everybody is in one where there are none."""
    return table.segment.cast("string").fill_null(EVERYONE)


def is_number(panel: Any, name: str) -> bool:
    """Say whether a column of a frame or of an engine's table holds numbers."""
    if isinstance(panel, pd.DataFrame):
        return bool(pd.api.types.is_numeric_dtype(panel[name]))
    return bool(panel[name].type().is_numeric())


def standard(name: str) -> Callable[[Any], Any]:
    """Return a column in standard deviations over all rows; 0 where it does not vary."""

    def column(table: Any) -> Any:
        value = table[name].cast("float64")
        spread = value.std(how="pop").over().nullif(0.0)
        scaled = ((value - value.mean().over()) / spread).fill_null(0.0)
        return value.notnull().ifelse(scaled, value)

    return column


def _one(table: Any) -> Any:
    return table.event.cast("int64") * 0 + 1


def _binned(name: str, width: float) -> Callable[[Any], Any]:
    return lambda table: (table[name].cast("float64") / width + 1e-9).floor().cast("int64")


def _knows_openings(data: Linked) -> bool:
    """Say whether every month with a score has an opening."""
    panel = data.panel
    if isinstance(panel, pd.DataFrame):
        return bool(panel.loc[panel["score"].notna(), OPENED].notna().all())
    unknown = panel.filter(panel.score.notnull(), panel[OPENED].isnull())
    return int(data.fetch(unknown.aggregate(rows=unknown.count()))["rows"].iloc[0]) == 0
