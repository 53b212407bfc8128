"""The study: where a company's tables are, and which column plays which role."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, get_args

from pydantic import Field, PrivateAttr, field_validator, model_validator

from rox.core.case import Case, read_case
from rox.core.declared import Declared, Words, read_toml, validated
from rox.core.errors import DataError
from rox.core.words import Language

TableName = Literal[
    "customers", "invitations", "answers", "feedback", "events", "ledger", "exits", "initiatives", "tickets"
]

REQUIRED_ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "customers": ("customer",),
        "invitations": ("customer", "date"),
        "answers": ("customer", "date"),
        "feedback": ("customer", "date", "kind"),
        "events": ("customer", "date", "kind"),
        "ledger": ("customer", "month"),
        "exits": ("customer", "date"),
        "initiatives": ("initiative", "unit", "start"),
        "tickets": ("customer", "date"),
    }
)
OPTIONAL_ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "customers": ("segment", "unit", "opened", "weight"),
        "invitations": ("key", "channel"),
        "answers": ("key", "invitation"),
        "feedback": ("key", "channel", "topic"),
        "events": ("count",),
        "ledger": (),
        "exits": ("reason",),
        "initiatives": (),
        "tickets": ("key", "eligible", "hold_out", "contacted", "owner"),
    }
)

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class About(Declared):
    """Name, place in time, and the rules of display."""

    name: Name
    title: Words
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    extract: dt.date
    language: Language = "en"
    timezone: str = "UTC"
    min_cell: Annotated[int, Field(ge=1)] = 10
    seed: Annotated[int, Field(ge=0)] = 1

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("not an IANA time zone such as Asia/Shanghai") from None
        return zone


class Table(Declared):
    """One table: a file, or a query over the sources, and its columns by role."""

    path: str | None = None
    query: str | None = None
    columns: Mapping[str, str] = Field(min_length=1)
    controls: tuple[Name, ...] = ()
    voluntary: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_origin(self) -> Table:
        if (self.path is None) == (self.query is None):
            raise ValueError("needs either a path or a query")
        return self


class Scale(Declared):
    """A question of the survey and its scale."""

    column: str
    low: int
    high: int
    kind: Literal["nps", "csat", "ces", "rating"]
    label: Words
    higher_is_better: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> Scale:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.kind == "nps" and (self.low, self.high) != (0, 10):
            raise ValueError(f"an NPS question runs from 0 to 10, not {self.low} to {self.high}")
        return self


class Outcome(Declared):
    """A column of money or counts.

    ``table`` is the ledger, where each row belongs to a month, or the answers, when the amount stands beside the
    answer; then ``dated`` names the column that says when the money was spent.
    """

    column: str
    kind: Literal["stock", "flow", "count"]
    label: Words
    table: Literal["ledger", "answers"] = "ledger"
    dated: str | None = None

    @model_validator(mode="after")
    def _dated(self) -> Outcome:
        if (self.table == "answers") != (self.dated is not None):
            raise ValueError(
                "an outcome beside the answers needs `dated`, the column with the date of the money; one "
                "in the ledger must not have it"
            )
        return self


class Initiative(Declared):
    """Something the company did, and how its places were chosen."""

    label: Words
    assigned: Literal["random", "chosen", "unknown"] = "unknown"


class Study(Declared):
    """What a company tells rox about its tables, once.

    Attributes:
        about: Name, currency, date of the extract, language, display rules.
        sources: Raw files by name, for tables that are queries.
        tables: The tables by name.
        scores: Questions of the survey by name.
        drivers: Ratings of parts of the experience by name.
        outcomes: Money and counts by name.
        initiatives: What was done, by name.
    """

    about: About = Field(alias="study")
    sources: Mapping[Name, str] = {}
    tables: Mapping[TableName, Table]
    scores: Mapping[Name, Scale] = Field(min_length=1)
    drivers: Mapping[Name, Scale] = {}
    outcomes: Mapping[Name, Outcome] = Field(min_length=1)
    initiatives: Mapping[Name, Initiative] = {}

    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The folder of the study file; every path in it is relative to this one."""
        return self._folder

    @property
    def currency(self) -> str:
        """ISO code of the study's money."""
        return self.about.currency

    @property
    def language(self) -> Language:
        """The language of its output."""
        return self.about.language

    @property
    def case_names(self) -> tuple[str, ...]:
        """Names of the case files beside the study."""
        return tuple(sorted(path.stem for path in (self.folder / "cases").glob("*.toml")))

    def files(self, pattern: str) -> list[Path]:
        """List the files a path of the study stands for: relative to its folder or absolute, ``*`` for any name."""
        path = Path(pattern)
        start = Path(path.anchor) if path.is_absolute() else self.folder
        rest = path.relative_to(path.anchor) if path.is_absolute() else path
        return sorted(file for file in start.glob(rest.as_posix()) if file.is_file())

    def case(self, name: str) -> Case:
        """Read ``cases/<name>.toml``.

        Raises:
            CaseError: The file is missing or has faults; all of them are listed.
        """
        return read_case(self.folder / "cases" / f"{name}.toml")


def read_study(path: str | Path) -> Study:
    """Read a study file.

    Args:
        path: A TOML file.

    Raises:
        DataError: Every fault of the file in one message.
    """
    path = Path(path)
    study, faults = validated(Study, read_toml(path, "study file", DataError))
    if study is not None:
        study._folder = path.resolve().parent
        faults = _cross_faults(study)
    if faults or study is None:
        raise DataError(f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    return study


def _cross_faults(study: Study) -> list[str]:
    """List what is wrong between the parts: roles, files, names used twice."""
    faults = [
        f"tables.{need}: missing; a study needs customers, answers and, for money by month, a ledger"
        for need in ("customers", "answers")
        if need not in study.tables
    ]
    for name, table in study.tables.items():
        known = REQUIRED_ROLES[name] + OPTIONAL_ROLES[name]
        faults += [
            f"tables.{name}.columns: role {role!r} is missing"
            for role in REQUIRED_ROLES[name]
            if role not in table.columns
        ]
        faults += [
            f"tables.{name}.columns: unknown role {role!r}; the roles are {', '.join(known)}"
            for role in table.columns
            if role not in known
        ]
        if table.path is not None and not study.files(table.path):
            faults.append(f"tables.{name}.path: no file matches {table.path!r} in the study's folder")
        if table.controls and name != "customers":
            faults.append(f"tables.{name}.controls: only the customers table has controls")
        if table.voluntary and name != "exits":
            faults.append(f"tables.{name}.voluntary: only the exits table has voluntary reasons")
    for source, pattern in study.sources.items():
        if not study.files(pattern):
            faults.append(f"sources.{source}: no file matches {pattern!r} in the study's folder")
    groups = ("scores", "drivers", "outcomes")
    seen: dict[str, str] = {}
    for group in groups:
        for each in getattr(study, group):
            if each in seen:
                faults.append(f"{group}.{each}: the name is taken by {seen[each]}.{each}")
            seen.setdefault(each, group)
    for each, outcome in study.outcomes.items():
        if outcome.table not in study.tables:
            faults.append(f"outcomes.{each}.table: there is no table {outcome.table!r} in this study")
    if study.initiatives and "initiatives" not in study.tables:
        faults.append("initiatives: there is no table of initiatives with their start dates")
    return faults


TABLE_NAMES: tuple[str, ...] = get_args(TableName)
