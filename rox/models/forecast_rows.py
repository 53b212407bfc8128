"""Months at risk with what the answers so far say about experience, and the hazards they are fitted to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.evidence import FEWEST_CUSTOMERS
from rox.models.readings import Calibration, can_calibrate
from rox.models.reliability import Reliability, answer_reliability
from rox.numerics.grouped_hazard import GroupedHazard, grouped_hazard

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EDGES = (6, 12, 24, 36, 60, 120)
"""Months since opening at which the level of the hazard may change; the first band is that of unknown openings."""
BIN = 0.2
"""Width of the bins of readings, in score points; each stands for its mean."""
BUCKETS = 32
FEWEST_EXITS = 50
FEWEST_OTHER = 20
"""Exits for other reasons from which they have a level for each segment and band."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ForecastRows:
    """Customer-months at risk.

    Attributes:
        rows: ``customer``, ``month``, ``segment``, ``weight``, ``age`` (months since opening, −1 if unknown), ``kind``
            (0 stayed, 1 left by own choice, 2 for another reason), ``lasting`` and ``passing`` (the two parts of the
            expected experience of the month, in score points), ``bucket``, the controls; sorted by customer and month.
        memory: Share of the passing part left a month later.
        noise: Of the answers; None where it cannot be measured.
        calibrated: Whether answers are read through their noise; if not, ``lasting`` is the answer itself.
        old: Mean months since the answer.
    """

    rows: pd.DataFrame
    memory: float
    noise: Reliability | None
    calibrated: bool
    old: float

    @property
    def segments(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(sorted(self.rows["segment"].unique()))

    def of_buckets(self, chosen: NDArray[np.bool_]) -> ForecastRows:
        """Keep the customers of some buckets: shape (buckets,)."""
        return replace(self, rows=self.rows[chosen[self.rows["bucket"].to_numpy(dtype=int)]])


def forecast_rows(data: Linked, reading: Literal["calibrated", "carried"], rng: np.random.Generator) -> ForecastRows:
    """Fetch the months at risk and read their answers.

    Raises:
        FitError: Too few customers or exits.
        DataError: A panel that has no times at risk.
    """
    rows = data.fetch(data.episodes(clock="calendar")).sort_values(["customer", "month"], ignore_index=True)
    kind = rows["cause"].map({"none": 0, "exit": 1, "silent": 1, "other": 2}).astype(int)
    _require(rows, kind)
    opened = pd.to_numeric(rows["opened"]).astype(float)
    rows = rows.assign(
        kind=kind,
        segment=rows["segment"].astype(object).fillna(EVERYONE).astype(str),
        age=(rows["month"] - opened).clip(lower=0).fillna(-1).astype(int),
        bucket=bucket_of(rows["customer"].to_numpy(dtype=np.int64)),
        score=rows["score"].astype(float),
    )
    answers = rows.assign(answered=(rows["month"] - rows["score_age"]).astype(int))
    answers = answers.drop_duplicates(["customer", "answered"])[["customer", "answered", "segment", "score"]]
    noise, old = answer_reliability(answers, rng), float(rows["score_age"].mean())
    columns = ["customer", "month", "segment", "weight", "age", "kind", "bucket", *data.controls]
    if reading == "carried" or noise is None or not can_calibrate(noise, old):
        found = rows[columns].assign(lasting=rows["score"], passing=0.0)
        return ForecastRows(rows=found, memory=0.0, noise=noise, calibrated=False, old=old)
    calibration = Calibration.of(rows, answers)
    lasting, passing = calibration.parts(noise.parts[0])
    found = rows[columns].assign(lasting=lasting, passing=passing)
    return ForecastRows(rows=found, memory=float(noise.parts[0][2]), noise=noise, calibrated=True, old=old)


def bucket_of(customer: Ints) -> Ints:
    """Deal customers into buckets, the same in every run."""
    prime = 2**31 - 1
    start = (customer % prime * 48271 + 11) % prime
    square = start * start % prime
    return np.asarray(square * square % prime * start % prime % BUCKETS)


def _require(rows: pd.DataFrame, kind: pd.Series) -> None:
    faults = []
    if (exits := int((kind == 1).sum())) < FEWEST_EXITS:
        faults.append(f"{exits} customers with a known score left by their own choice; at least {FEWEST_EXITS} needed")
    if (customers := rows["customer"].nunique()) < FEWEST_CUSTOMERS:
        faults.append(f"{customers} customers have a known score; at least {FEWEST_CUSTOMERS} are needed")
    if faults:
        raise FitError("Retention cannot be forecast from these data.", faults)


def bands_of(age: Ints) -> Ints:
    """Return the band of months since opening, 0 where they are not known."""
    return np.where(age < 0, 0, 1 + np.searchsorted(EDGES, age, "right")).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Hazards:
    """Monthly hazards of leaving by own choice and for other reasons. s = segments, b = bands of age.

    Attributes:
        segments: Names.
        centre: Reading at which the levels hold.
        log_ratio: Log hazard ratio of own choice per score point.
        own: Shape (s, b): hazard of own choice at the centre.
        other: Shape (s, b): of the other reasons.
        exits: How many left by own choice.
    """

    segments: tuple[str, ...]
    centre: float
    log_ratio: float
    own: Floats
    other: Floats
    exits: int

    def left(self, people: pd.DataFrame, memory: float, months: int, *, begin: int) -> Floats:
        """Predict for each customer the chance to have left by own choice by the end of each month: (n, months).

        Args:
            people: ``segment``, ``age``, ``lasting``, ``passing``, as of one month.
            memory: Share of the passing part left a month later.
            months: How many.
            begin: How many months after that of ``people`` the first one is.
        """
        ahead = begin + np.arange(months)
        segment = pd.Index(self.segments).get_indexer(pd.Index(people["segment"]))[:, None]
        age = people["age"].to_numpy(dtype=np.int64)[:, None]
        band = bands_of(np.where(age < 0, -1, age + ahead))
        reading = people["lasting"].to_numpy()[:, None] + people["passing"].to_numpy()[:, None] * memory**ahead
        own = self.own[segment, band] * np.exp(self.log_ratio * (reading - self.centre))
        both = own + self.other[segment, band]
        after = np.exp(-np.cumsum(both, axis=1))
        before = np.column_stack([np.ones(len(people)), after[:, :-1]])
        return np.asarray(
            np.cumsum(np.where(both > 0, own / np.where(both > 0, both, 1), 0) * (before - after), axis=1)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class HazardCells:
    """Counts by segment, band of age, bin of reading and bucket. c = cells."""

    segments: tuple[str, ...]
    centre: float
    segment: Ints
    """(c,)."""
    band: Ints
    bucket: Ints
    reading: Floats
    """(c,) mean, less the centre."""
    people: Floats
    own: Floats
    other: Floats

    def fit(self, keep: NDArray[np.bool_] | None = None, like: Fitted | None = None) -> Fitted:
        """Fit the hazards of the kept buckets, on the bands of another fit if one is given.

        Raises:
            FitError: The likelihood has no maximum.
        """
        here = np.ones(self.people.size, dtype=bool) if keep is None else keep[self.bucket]
        size = len(self.segments)
        x = np.column_stack([self.reading, np.eye(size)[self.segment][:, 1:]])[here]
        band, people, own, other = (part[here] for part in (self.band, self.people, self.own, self.other))
        many = bool(other.sum() >= FEWEST_OTHER * size) if like is None else like.many
        try:
            first = grouped_hazard(band, x, people, own, merged=None if like is None else like.own.merged)
            second = (
                grouped_hazard(band, x[:, 1:], people, other, merged=None if like is None else _merged(like.other))
                if many
                else None
            )
        except ValueError as cause:
            raise FitError(
                "The hazard of leaving has no maximum.", [str(cause), "merge segments in the study"]
            ) from cause
        flat = float(-np.log1p(-other.sum() / people.sum()))
        return Fitted(own=first, other=second, flat=flat, many=many)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fit: of own choice, and of other reasons where they are many enough; ``flat`` is the latter's mean hazard."""

    own: GroupedHazard
    other: GroupedHazard | None
    flat: float
    many: bool

    def hazards(self, cells: HazardCells) -> Hazards:
        """Return the hazards by segment and band."""
        size = len(cells.segments)
        shape = (size, len(EDGES) + 2)
        other = np.full(shape, self.flat)
        if self.other is not None:
            other = _levels(self.other, np.append(0.0, self.other.coefficient), shape)
        return Hazards(
            segments=cells.segments,
            centre=cells.centre,
            log_ratio=float(self.own.coefficient[0]),
            own=_levels(self.own, np.append(0.0, self.own.coefficient[1:]), shape),
            other=other,
            exits=int(cells.own.sum()),
        )


def _merged(fit: GroupedHazard | None) -> Ints | None:
    return None if fit is None else fit.merged


def _levels(fit: GroupedHazard, segment: Floats, shape: tuple[int, int]) -> Floats:
    """Return hazards by segment and band; a band that nobody was in has the level of the nearest one."""
    nearest = np.abs(np.arange(shape[1])[:, None] - fit.intervals[None, :]).argmin(1)
    return np.asarray(np.exp(segment)[:, None] * fit.hazard[nearest][None, :])


def hazard_cells(held: ForecastRows, segments: tuple[str, ...]) -> HazardCells:
    """Count months at risk by segment, band of age, bin of reading and bucket."""
    rows = held.rows
    reading = (rows["lasting"] + rows["passing"]).to_numpy()
    keys = pd.DataFrame(
        {
            "segment": pd.Index(segments).get_indexer(pd.Index(rows["segment"])),
            "band": bands_of(rows["age"].to_numpy(dtype=np.int64)),
            "bin": np.floor(reading / BIN).astype(int),
            "bucket": rows["bucket"].to_numpy(),
            "reading": reading,
            "people": 1.0,
            "own": (rows["kind"] == 1).to_numpy(dtype=float),
            "other": (rows["kind"] == 2).to_numpy(dtype=float),
        }
    )
    cells = keys.groupby(["segment", "band", "bin", "bucket"], as_index=False).sum()
    centre = float(reading.mean())
    return HazardCells(
        segments=segments,
        centre=centre,
        segment=cells["segment"].to_numpy(dtype=np.int64),
        band=cells["band"].to_numpy(dtype=np.int64),
        bucket=cells["bucket"].to_numpy(dtype=np.int64),
        reading=(cells["reading"] / cells["people"]).to_numpy() - centre,
        people=cells["people"].to_numpy(),
        own=cells["own"].to_numpy(),
        other=cells["other"].to_numpy(),
    )
