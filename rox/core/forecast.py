"""Frozen forecasts: what was promised, with its draws, in a folder to which one can only add.

A forecast is one JSON file and one file of draws beside it. Each names the hash of the one before and seals itself, so
that a file changed, replaced or removed afterwards is noticed when the folder is read. Only the end of the chain can
be cut without a trace; whoever writes its last seal into the minutes (:func:`last_seal`) closes that gap too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rox.core.check import BiasLayer, Grade
from rox.core.declared import Wording
from rox.core.errors import DataError
from rox.core.estimand import Estimand, Question
from rox.core.ledger import Input, Ledger, Line
from rox.core.spread import Spread
from rox.core.units import Dose, Unit

SCHEMA = "rox.forecast/2"
DUE = (3, 6, 12, 24)
"""Months after the start at which a forecast is held against what happened."""
FLOWS = ("benefit", "cost", "net")
"""Discounted sums up to a due month: benefit and cost before tax, and what is left after tax."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What one effect was promised to be.

    Attributes:
        name: Of the effect.
        estimand: What it is the estimate of; its population is the definition of the cohort.
        grade: Strength of its evidence.
        layer: The evidence discount it was priced with.
        specification: The question as asked.
        fingerprint: Of the data.
        groups: Its groups.
        shares: Of the customers, by group.
        customers: Of the company, by group; what the effect's own table says.
        estimate: Mean of the draws over all groups, before the evidence discount.
        se: Their standard deviation.
    """

    name: str
    estimand: Estimand
    grade: Grade
    layer: BiasLayer
    specification: str
    fingerprint: str
    groups: tuple[str, ...]
    shares: tuple[float, ...]
    customers: tuple[float, ...]
    estimate: float
    se: float


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """An assumption as it stood.

    Attributes:
        place: In the case file.
        value: On the point path.
        low: Lower end of the range that holds nine times in ten.
        high: Upper end.
        owner: Who answers for it.
        source: Where it comes from.
        date: Of when it is.
    """

    place: str
    value: float
    low: float
    high: float
    owner: str
    source: str
    date: dt.date


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """What was said would happen, so that it cannot be said otherwise later. Aggregates only.

    Attributes:
        case: Name of the case.
        title: Its title.
        study: Name of the study.
        currency: ISO code.
        start: Month 0.
        extract: Day on which the data it was made from end.
        frozen: Day on which it was frozen; not before the extract.
        due: Months after the start at which it falls due; each after the day of freezing.
        team: Who forecast.
        owner: Who answers for it.
        grade: The worst grade among its effects.
        promises: The effects that were priced.
        segments: Segments of the ledger.
        ledger: Every input and line, as priced.
        assumptions: The case's, with owner, source and date.
        draws: ``effect/NAME``: shape (draw, segment), the effect times its evidence discount; ``extra/NAME``: shape
            (draw, segment, due), extra money held in each due month; ``benefit``, ``cost``, ``net``: shape (draw, due),
            discounted sums up to each due month (:data:`FLOWS`).
        record: SHA-256 of the run's record.
        seed: Of the draws.
        versions: Of rox and the libraries.
        number: Place in the folder, from 1; 0 before it is written.
        previous: Seal of the one before; empty for the first.
        seal: SHA-256 of all of it; empty before it is written.
    """

    case: str
    title: Wording
    study: str
    currency: str
    start: dt.date
    extract: dt.date
    frozen: dt.date
    due: tuple[int, ...]
    team: str
    owner: str
    grade: Grade
    promises: tuple[Promise, ...]
    segments: tuple[str, ...]
    ledger: Ledger
    assumptions: tuple[Assumed, ...]
    draws: Mapping[str, Floats]
    record: str
    seed: int
    versions: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    previous: str = ""
    seal: str = ""

    def __post_init__(self) -> None:
        held = {}
        for name, values in self.draws.items():
            array = np.array(values, dtype=float)
            array.setflags(write=False)
            held[name] = array
        object.__setattr__(self, "draws", MappingProxyType(held))
        object.__setattr__(self, "versions", MappingProxyType(dict(self.versions)))
        if faults := list(self._faults()):
            raise DataError(f"The forecast of case {self.case} does not hold together.", faults)

    def _faults(self) -> Iterator[str]:
        if not self.due or list(self.due) != sorted(set(self.due)) or self.due[0] < 1:
            yield f"due months are {list(self.due)}; needed: rising months after the start, such as [3, 6, 12, 24]"
        elif self.due[-1] > self.ledger.horizon:
            yield f"month {self.due[-1]} falls due after the last month that was counted, {self.ledger.horizon}"
        elif past := [month for month in self.due if self.due_on(month) <= self.frozen]:
            yield f"due months {past} are over on the day of freezing, {self.frozen}; that is no forecast of them"
        if self.frozen < self.extract:
            yield f"frozen: {self.frozen} is before the end of the data it was made from, {self.extract}"
        yield from (f"{name}: missing; say who" for name in ("team", "owner") if not getattr(self, name).strip())
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(FLOWS, (len(self.due),))
        for promise in self.promises:
            expected |= {f"effect/{promise.name}": (len(self.segments),)}
            expected |= {f"extra/{promise.name}": (len(self.segments), len(self.due))}
        if set(expected) != set(self.draws):
            yield f"draws are {sorted(self.draws)}; needed: {sorted(expected)}"
        for name in sorted(set(expected) & set(self.draws)):
            array = self.draws[name]
            if array.shape[1:] != expected[name] or not len(array):
                yield f"draws of {name} have shape {array.shape}; needed: (draw, {', '.join(map(str, expected[name]))})"
            elif not np.isfinite(array).all():
                yield f"draws of {name} hold NaN or infinite values"

    @property
    def name(self) -> str:
        """Its name in its folder, such as ``0001_branch_refit``."""
        return f"{self.number:04d}_{self.case}"

    def due_on(self, month: int) -> dt.date:
        """Return the day on which a month after the start is over."""
        return due_on(self.start, month)

    def promise(self, name: str) -> Promise:
        """Return what an effect was promised to be.

        Raises:
            DataError: No effect of that name was priced.
        """
        found = {each.name: each for each in self.promises}
        if name not in found:
            raise DataError(f"Forecast {self.name} promised no effect {name!r}.", [f"it has {', '.join(found)}"])
        return found[name]

    def freeze_into(self, folder: str | Path) -> Forecast:
        """Write it as the next of a folder; nothing that is there is touched.

        Returns:
            The forecast as written, with its number and seal.

        Raises:
            DataError: The folder's chain is broken, the same record was frozen before, or a file is in the way.
        """
        folder = Path(folder)
        before = read_forecasts(folder) if folder.is_dir() else ()
        if twice := [each.name for each in before if (each.case, each.record) == (self.case, self.record)]:
            raise DataError(
                f"The forecast of case {self.case} is frozen already, as {twice[0]}.",
                ["a forecast is frozen once; run the case anew if it has changed, and freeze that"],
            )
        packed = _packed(self.draws)
        content = {
            "schema": SCHEMA,
            "number": len(before) + 1,
            "previous": before[-1].seal if before else "",
            "draws": hashlib.sha256(packed).hexdigest(),
            "forecast": _plain(self, without=("draws", "number", "previous", "seal")),
        }
        content = json.loads(json.dumps(content, allow_nan=False)) | {"seal": ""}
        content["seal"] = _seal(content)
        name = f"{len(before) + 1:04d}_{self.case}"
        text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        _add(folder / f"{name}.npz", packed)
        _add(folder / f"{name}.json", text.encode("utf-8"))
        return _read(folder / f"{name}.json")


def due_on(start: dt.date, month: int) -> dt.date:
    """Return the day on which a month after a start is over."""
    months = start.year * 12 + start.month - 1 + month
    return dt.date(months // 12, months % 12 + 1, 1)


def read_forecasts(folder: str | Path) -> tuple[Forecast, ...]:
    """Read every forecast of a folder in the order in which they were frozen, and hold the chain against its seals.

    Raises:
        DataError: The folder is missing, or a forecast was changed, replaced or removed after it was frozen; every
            fault in one message.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"There is no folder of forecasts at {folder}.", ["freeze one first: rox freeze"])
    found: list[Forecast] = []
    faults: list[str] = []
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.json")):
        try:
            found.append(_read(path))
        except DataError as cause:
            faults += cause.faults or [cause.headline]
    if not faults:
        faults = list(_broken_links(found))
    if faults:
        raise DataError(f"The forecasts in {folder} are not as they were frozen; none of them is used.", faults)
    return tuple(found)


def last_seal(forecasts: tuple[Forecast, ...]) -> str:
    """Return the seal that closes the chain: noted elsewhere, it shows whether the end of the chain was cut."""
    return forecasts[-1].seal if forecasts else ""


def _broken_links(found: list[Forecast]) -> Iterator[str]:
    before = ""
    for place, forecast in enumerate(found, start=1):
        if forecast.number != place:
            yield f"{forecast.name}: is number {forecast.number} and stands in place {place}; one was removed or added"
            return
        if forecast.previous != before:
            yield f"{forecast.name}: does not follow the one before it, which was changed or replaced"
        before = forecast.seal


def _read(path: Path) -> Forecast:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise DataError(f"{path.name} is no forecast.", [f"{path.name}: is not the JSON of a forecast"]) from None
    if schema != SCHEMA:
        raise DataError(f"{path.name} is of another schema.", [f"{path.name}: has schema {schema!r}, not {SCHEMA!r}"])
    if content.get("seal") != _seal(content):
        raise DataError(f"{path.name} was changed.", [f"{path.name}: was changed after it was frozen"])
    draws = path.with_suffix(".npz")
    if not draws.is_file():
        raise DataError(f"{path.name} has lost its draws.", [f"{draws.name}: missing"])
    packed = draws.read_bytes()
    if hashlib.sha256(packed).hexdigest() != content["draws"]:
        raise DataError(f"{draws.name} was changed.", [f"{draws.name}: was changed after it was frozen"])
    with np.load(io.BytesIO(packed), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    held = content["forecast"]
    made = Forecast(
        **{name: held[name] for name in ("case", "study", "currency", "team", "owner", "record", "seed", "versions")},
        title=Wording(**held["title"]),
        start=dt.date.fromisoformat(held["start"]),
        extract=dt.date.fromisoformat(held["extract"]),
        frozen=dt.date.fromisoformat(held["frozen"]),
        due=tuple(held["due"]),
        grade=Grade(held["grade"]),
        promises=tuple(_promise(each) for each in held["promises"]),
        segments=tuple(held["segments"]),
        ledger=_ledger(held["ledger"]),
        assumptions=tuple(Assumed(**{**a, "date": dt.date.fromisoformat(a["date"])}) for a in held["assumptions"]),
        draws=arrays,
        number=content["number"],
        previous=content["previous"],
        seal=content["seal"],
    )
    if path.stem != made.name:
        raise DataError(f"{path.name} was renamed.", [f"{path.name}: was frozen as {made.name}.json"])
    return made


def _promise(held: Mapping[str, Any]) -> Promise:
    named: dict[str, Any] = {n: held[n] for n in ("name", "specification", "fingerprint", "estimate", "se")}
    rows: dict[str, Any] = {name: tuple(held[name]) for name in ("groups", "shares", "customers")}
    return Promise(
        **named,
        **rows,
        estimand=_estimand(held["estimand"]),
        grade=Grade(held["grade"]),
        layer=BiasLayer(held["layer"]["mean"], held["layer"]["sd"], held["layer"]["banks"]),
    )


def _estimand(held: Mapping[str, Any]) -> Estimand:
    typed = {
        "question": Question(held["question"]),
        "dose": Dose(held["dose"]),
        "unit": Unit(held["unit"]),
        "window": tuple(held["window"]) if held["window"] else None,
        "channels": frozenset(held["channels"]),
    }
    return Estimand(**{**held, **typed})


def _ledger(held: Mapping[str, Any]) -> Ledger:
    """Rebuild a ledger: a forecast is computed by the lines it was frozen with, not by those of today."""
    inputs = tuple(_input(each) for each in held["inputs"])
    lines = tuple(Line(**{**each, "text": Wording(**each["text"])}) for each in held["lines"])
    schedules = {name: tuple(row) for name, row in held["schedules"].items()}
    return Ledger(horizon=held["horizon"], inputs=inputs, schedules=schedules, lines=lines)


def _input(held: Mapping[str, Any]) -> Input:
    text, day, said = Wording(**held["text"]), held["date"], dict(held["spread"])
    spread = Spread(kind=said.pop("kind"), **{name: float(value) for name, value in said.items()})
    return Input(**{**held, "text": text, "spread": spread, "date": dt.date.fromisoformat(day) if day else None})


def _plain(value: Any, without: tuple[str, ...] = ()) -> Any:
    if isinstance(value, Estimand):
        return _plain(value.as_record())
    if isinstance(value, Wording):
        return {"en": value.en, "zh": value.zh}
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value) if each.name not in without}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    value = str(value) if value in (np.inf, -np.inf) else value  # JSON has no infinity; bounds of a spread may be
    return value.isoformat() if isinstance(value, dt.date) else value


def _packed(draws: Mapping[str, Floats]) -> bytes:
    page = io.BytesIO()
    np.savez_compressed(page, allow_pickle=False, **{name: draws[name] for name in sorted(draws)})
    return page.getvalue()


def _seal(content: Mapping[str, Any]) -> str:
    sealed = {name: value for name, value in content.items() if name != "seal"}
    text = json.dumps(sealed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _add(path: Path, content: bytes) -> None:
    """Write a file that must not be there yet."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise DataError(
            f"{path} is there already, and nothing is overwritten.",
            ["it is left from a freezing that was interrupted; look at it, remove it, and freeze again"],
        ) from None
