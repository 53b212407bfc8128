"""The map of an import: a TOML file in which a company says what the columns of an export are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from rox.core.declared import Declared, read_toml, validated
from rox.core.errors import DataError
from rox.core.study import Name
from rox.linking.sources import ENUMERABLE


def _texts(value: Any) -> Any:
    return [str(each) for each in value] if isinstance(value, list) else value


Values = Annotated[tuple[str, ...], BeforeValidator(_texts)]
"""Values of a file as text; numbers may be written as numbers."""


class MappedScale(Declared):
    """A question and its scale."""

    column: str
    low: int | None = None
    high: int | None = None
    kind: Literal["nps", "csat", "ces", "rating"] = "rating"
    label: str = ""
    missing: Values = ()


class MappedOutcome(Declared):
    """A column of money or counts."""

    column: str
    kind: Literal["stock", "flow", "count"]
    label: str = ""


class ImportMap(Declared):
    """What the columns of an export are.

    Attributes:
        columns: Role = column.
        scores: Questions by name.
        drivers: Ratings of parts of the experience by name.
        outcomes: Money and counts by name.
        controls: Name = column, for customers.
        ignore: Columns not to use.
        leave_out: Rows not to use: column = values.
        missing: Values that stand for no answer in every question.
        header_rows: Rows of header, if the format does not say.
        timezone: In which the times of the file are written.
        dates: Whether day or month comes first where the year is last.
        currency: ISO code of the money.
        ids: ``keyed`` makes pseudonyms, ``keep`` leaves ids that are pseudonyms already.
    """

    columns: Mapping[str, str] = {}
    scores: Mapping[Name, MappedScale] = {}
    drivers: Mapping[Name, MappedScale] = {}
    outcomes: Mapping[Name, MappedOutcome] = {}
    controls: Mapping[Name, str] = {}
    ignore: tuple[str, ...] = ()
    leave_out: Mapping[str, Values] = {}
    missing: Values = ()
    header_rows: Annotated[int, Field(ge=1, le=9)] | None = None
    timezone: str | None = None
    dates: Literal["dmy", "mdy"] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    ids: Literal["keyed", "keep"] = "keyed"

    @field_validator("ids", mode="before")
    @classmethod
    def _no_plain_hash(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("keyed", "keep"):
            raise ValueError(f'needed: "keyed" or "keep". A hash without a key hides nobody: {ENUMERABLE}')
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        return None if zone is None else known_zone(zone)


def known_zone(zone: str) -> str:
    """Return the name of a time zone.

    Raises:
        ValueError: There is no such zone.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("not an IANA time zone such as Asia/Shanghai") from None
    return zone


def read_map(path: Path) -> ImportMap:
    """Read a map.

    Raises:
        DataError: Every fault of the file in one message.
    """
    found, faults = validated(ImportMap, read_toml(path, "map", DataError))
    if found is None:
        raise DataError(f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    return found
