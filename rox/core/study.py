"""The study: where a company's tables are, and which column plays which role."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, get_args

from pydantic import Field, PrivateAttr, field_validator, model_validator

from rox.core.case import Case, read_case
from rox.core.check import BIAS_LAYERS, BiasLayer, Grade
from rox.core.declared import Declared, Words, read_toml, validated
from rox.core.errors import DataError
from rox.core.layers import read_layers
from rox.core.words import Edition, Language, languages_of

TableName = Literal[
    "customers",
    "invitations",
    "answers",
    "feedback",
    "events",
    "ledger",
    "exits",
    "initiatives",
    "tickets",
    "contacts",
    "arms",
    "applicants",
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
        "contacts": ("contact", "customer"),
        "arms": ("experiment", "customer", "arm", "date"),
        "applicants": ("key", "date"),
    }
)
OPTIONAL_ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "customers": ("since", "segment", "unit", "opened", "weight", "came"),
        "invitations": ("key", "channel", "contact", "status", "reason", "reminder"),
        "answers": ("key", "invitation", "contact", "available"),
        "feedback": ("key", "channel", "topic"),
        "events": ("count",),
        "ledger": (),
        "exits": ("reason",),
        "initiatives": (),
        "tickets": ("key", "eligible", "hold_out", "contacted", "owner"),
        "contacts": ("role", "weight"),
        "arms": ("taken", "stratum", "planned"),
        "applicants": ("person", "channel", "device", "variant", "assigned", "reached", "funded", "amount"),
    }
)

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]

InvitationStep = Literal["excluded", "eligible", "contactable", "invited", "delivered", "opened", "started", "answered"]
STEPS: tuple[InvitationStep, ...] = get_args(InvitationStep)
"""How far an invitation can have come, in order; it was sent from ``invited`` on."""


def file_and_sheet(path: str) -> tuple[str, str | None]:
    """Split ``crm.xlsx#Ledger`` into the file and the sheet; other paths have none."""
    found = re.fullmatch(r"(.*\.xls[xm])#(.+)", path, flags=re.IGNORECASE)
    return (found[1], found[2]) if found else (path, None)


class About(Declared):
    """Name, place in time, and the rules of display."""

    name: Name
    title: Words
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    extract: dt.date
    language: Edition = "en"
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


class Connection(Declared):
    """A database that tables are read from: a DuckDB file, or a PostgreSQL server.

    The address of a server, with user and password, stands in an environment variable, never in the study file.
    """

    kind: Literal["duckdb", "postgres"]
    path: str | None = None
    url_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _what_its_kind_needs(self) -> Connection:
        given = {name for name in ("path", "url_env") if getattr(self, name) is not None}
        needed = "path" if self.kind == "duckdb" else "url_env"
        if given != {needed}:
            said = "the database file" if self.kind == "duckdb" else "the environment variable that holds the address"
            raise ValueError(f"a connection of kind {self.kind} needs `{needed}`, {said}, and nothing else")
        return self


class EngineOptions(Declared):
    """Where the tables are computed, and with how much memory.

    ``temp_folder`` and ``keep`` are relative to the study's folder. With ``keep`` finished stages stay there, under the
    digest of what they were computed from, and a later run goes on from them; they hold rows of customers, and nothing
    removes them. Without it nothing stays. ``memory_limit`` is that of DuckDB, which reads the sources in any case, and
    of the driver of Spark in this machine.
    """

    kind: Literal["duckdb", "spark"] = "duckdb"
    memory_limit: str = "4GB"
    threads: Annotated[int, Field(ge=1)] | None = None
    temp_folder: Annotated[str, Field(min_length=1)] | None = None
    keep: Annotated[str, Field(min_length=1)] | None = None
    master: Annotated[str, Field(min_length=1)] | None = None
    remote: str | None = None
    settings: Mapping[str, str | bool | int | float] = {}

    @field_validator("memory_limit")
    @classmethod
    def _said_in_units(cls, limit: str) -> str:
        if not re.fullmatch(r"\d+(\.\d+)? ?[KMGT]i?B", limit):
            raise ValueError("write a number and a unit, such as 500MB or 4GB")
        return limit

    @model_validator(mode="after")
    def _of_its_kind(self) -> EngineOptions:
        stray = [name for name in ("master", "remote", "settings") if name in self.model_fields_set]
        if self.kind != "spark" and stray:
            raise ValueError(f'{", ".join(stray)}: for kind = "spark" only')
        if self.master is not None and self.remote is not None:
            raise ValueError("give either master or remote")
        if self.remote is not None and not re.fullmatch(r"sc://[A-Za-z0-9.\-\[\]:]+/?", self.remote):
            raise ValueError("write remote as sc://host:15002, without options: a token has no place in a study file")
        if self.is_elsewhere and self.keep is None and self.temp_folder is None:
            raise ValueError(
                "a cluster needs `temp_folder` or `keep`: a folder that this machine and the cluster see "
                "under the same path, where the tables are handed over"
            )
        return self

    @property
    def is_elsewhere(self) -> bool:
        """Whether the work is done on other machines."""
        return self.remote is not None or (self.master is not None and not self.master.startswith("local"))


class Table(Declared):
    """One table: a file, a query over the sources or in a database, and its columns by role.

    ``hold_out_share`` is the share of tickets that were to be held out by lot; ``earned`` lists the ways of coming, in
    the column of role ``came`` of the customers, that are somebody's recommendation; ``steps`` says which step each
    word in the column of role ``status`` of the invitations stands for.
    """

    path: str | None = None
    query: str | None = None
    connection: str | None = None
    columns: Mapping[str, str] = Field(min_length=1)
    controls: tuple[Name, ...] = ()
    voluntary: tuple[str, ...] = ()
    earned: tuple[str, ...] = ()
    steps: Mapping[str, InvitationStep] = {}
    dates: Literal["dmy", "mdy"] | None = None
    hold_out_share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Table:
        if (self.path is None) == (self.query is None):
            raise ValueError("needs either a path or a query")
        if self.connection is not None and self.query is None:
            raise ValueError("a table from a connection needs a query, which is run there")
        return self


class Scale(Declared):
    """A question of the survey and its scale.

    ``replaces`` names the score on the scale the question had before; ``pillar`` the part of the experience that a
    driver belongs to; ``is_money`` says that it is money itself, such as fees.
    """

    column: str
    low: int
    high: int
    kind: Literal["nps", "csat", "ces", "rating"]
    label: Words
    higher_is_better: bool = True
    replaces: Name | None = None
    pillar: Words | None = None
    is_money: bool = False

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


class Promotion(Declared):
    """Something that moves scores or money for a while: days from ``start`` to ``end``, both among them."""

    start: dt.date
    end: dt.date
    label: Words

    @model_validator(mode="after")
    def _ordered(self) -> Promotion:
        if self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}")
        return self


class Attrition(Declared):
    """When a customer counts as gone without having said so.

    Money stays below ``share`` of the customer's own median of the twelve months before, for ``months`` months running;
    the first of them is the month of leaving. ``outcome`` names the money; it may be missing if one stock is declared.
    """

    share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    months: Annotated[int, Field(ge=1, le=12)] = 3
    outcome: Name | None = None


class Evidence(Declared):
    """What estimates of each grade are worth, where the company has learned it from its own forecasts."""

    layers: Annotated[str, Field(min_length=1)]


class Study(Declared):
    """What a company tells rox about its tables, once.

    Attributes:
        about: Name, currency, date of the extract, language, display rules.
        engine: Where the tables are computed, and with how much memory.
        evidence: The file of evidence discounts, in place of the shipped ones.
        sources: Raw files by name, for tables that are queries.
        connections: Databases by name, for tables that are queries there.
        tables: The tables by name.
        scores: Questions of the survey by name.
        drivers: Ratings of parts of the experience by name.
        outcomes: Money and counts by name.
        initiatives: What was done, by name.
        attrition: When a customer counts as gone without having said so, if at all.
        promotions: What moved scores or money for a while, by name.
    """

    about: About = Field(alias="study")
    engine: EngineOptions = EngineOptions()
    evidence: Evidence | None = None
    sources: Mapping[Name, str] = {}
    connections: Mapping[Name, Connection] = {}
    tables: Mapping[TableName, Table]
    scores: Mapping[Name, Scale] = Field(min_length=1)
    drivers: Mapping[Name, Scale] = {}
    outcomes: Mapping[Name, Outcome] = Field(min_length=1)
    initiatives: Mapping[Name, Initiative] = {}
    attrition: Attrition | None = None
    promotions: Mapping[Name, Promotion] = {}

    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The folder of the study file; every path in it is relative to this one."""
        return self._folder

    @property
    def layers(self) -> Mapping[Grade, BiasLayer]:
        """What estimates of each grade are worth: the study's own discounts, else the shipped ones.

        Raises:
            DataError: The file is missing or does not hold them.
        """
        return BIAS_LAYERS if self.evidence is None else read_layers(self.folder / self.evidence.layers)

    @property
    def currency(self) -> str:
        """ISO code of the study's money."""
        return self.about.currency

    @property
    def language(self) -> Language:
        """The language of its output; the first of them where reports are had in both."""
        return languages_of(self.about.language)[0]

    @property
    def attrition_outcome(self) -> str | None:
        """The stock whose loss is attrition; None where nothing is declared, or where it cannot be told which."""
        stocks = [name for name, each in self.outcomes.items() if each.kind == "stock" and each.table == "ledger"]
        if self.attrition is None:
            return None
        if self.attrition.outcome is not None:
            return self.attrition.outcome if self.attrition.outcome in stocks else None
        return stocks[0] if len(stocks) == 1 else None

    @property
    def case_names(self) -> tuple[str, ...]:
        """Names of the case files beside the study."""
        return tuple(sorted(path.stem for path in (self.folder / "cases").glob("*.toml")))

    def files(self, pattern: str) -> list[Path]:
        """List the files a path of the study stands for: relative to its folder or absolute, ``*`` for any name.

        The sheet behind the name of a workbook is not part of the path.
        """
        path = Path(file_and_sheet(pattern)[0])
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
        if table.connection is not None and table.connection not in study.connections:
            declared = ", ".join(study.connections) or "none"
            faults.append(f"tables.{name}.connection: {table.connection!r} is not declared; declared are: {declared}")
        if table.controls and name != "customers":
            faults.append(f"tables.{name}.controls: only the customers table has controls")
        if table.hold_out_share is not None and "hold_out" not in table.columns:
            faults.append(f"tables.{name}.hold_out_share: the table has no column of role hold_out")
        if table.earned and "came" not in table.columns:
            faults.append(f"tables.{name}.earned: the table has no column of role came, how customers came")
        if table.steps and (name != "invitations" or "status" not in table.columns):
            faults.append(f"tables.{name}.steps: only invitations with a column of role status have steps")
        if table.voluntary and name != "exits":
            faults.append(f"tables.{name}.voluntary: only the exits table has voluntary reasons")
    for source, pattern in study.sources.items():
        if not study.files(pattern):
            faults.append(f"sources.{source}: no file matches {pattern!r} in the study's folder")
    for each, connection in study.connections.items():
        if connection.path is not None and not study.files(connection.path):
            faults.append(f"connections.{each}.path: no file matches {connection.path!r} in the study's folder")
    groups = ("scores", "drivers", "outcomes")
    seen: dict[str, str] = {}
    for group in groups:
        for each in getattr(study, group):
            if each in seen:
                faults.append(f"{group}.{each}: the name is taken by {seen[each]}.{each}")
            seen.setdefault(each, group)
    faults += [f"scores.{each}.pillar: only drivers have pillars" for each, of in study.scores.items() if of.pillar]
    faults += [f"scores.{each}.is_money: only a driver is money" for each, of in study.scores.items() if of.is_money]
    for each, scale in study.scores.items():
        before = study.scores.get(scale.replaces) if scale.replaces not in (None, each) else None
        if scale.replaces is not None and before is None:
            faults.append(f"scores.{each}.replaces: {scale.replaces!r} is no other score of this study")
        elif before is not None and before.replaces == each:
            faults.append(f"scores.{each}.replaces: {scale.replaces!r} says that it replaces {each!r}")
    for each, outcome in study.outcomes.items():
        if outcome.table not in study.tables:
            faults.append(f"outcomes.{each}.table: there is no table {outcome.table!r} in this study")
    if study.evidence is not None and not (study.folder / study.evidence.layers).is_file():
        faults.append(f"evidence.layers: there is no file {study.evidence.layers!r} in the study's folder")
    if study.attrition is not None and study.attrition_outcome is None:
        faults.append("attrition.outcome: name one outcome of the ledger that is a stock")
    if study.initiatives and "initiatives" not in study.tables:
        faults.append("initiatives: there is no table of initiatives with their start dates")
    return faults


TABLE_NAMES: tuple[str, ...] = get_args(TableName)
