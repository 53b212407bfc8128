"""What was found when a linked panel was searched for rows that use the future."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import LeakageError
from rox.core.words import Language, say


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """Rows of a panel that break a rule, by rule.

    Attributes:
        rows: Rows with a score that were examined.
        customers: Their customers.
        broken: Rows that break each rule, by its name; None where the tables cannot show it.
        wrong: Rows that break any rule.
    """

    rows: int
    customers: int
    broken: Mapping[str, int | None]
    wrong: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "broken", MappingProxyType(dict(self.broken)))

    @property
    def checks(self) -> tuple[Check, ...]:
        """What the search says about the panel: of the scores, and of the customers where the tables can show it."""
        about_people = {"segment", "cohort"}
        scores = sum(count or 0 for rule, count in self.broken.items() if rule not in about_people)
        people = [count for rule, count in self.broken.items() if rule in about_people and count is not None]
        found = [self._check("ROX-S12", scores)]
        return tuple(found + ([self._check("ROX-S13", sum(people))] if people else []))

    def _check(self, code: str, count: int) -> Check:
        values: dict[str, str | int | float] = {"rows": self.rows, "customers": self.customers, "count": count}
        return Check(code=code, verdict=Verdict.STOP if count else Verdict.PASS, values=values)

    def table(self, language: Language = "en") -> pd.DataFrame:
        """List the rules with the rows that break them, for a reader."""
        rows = [
            {
                say("leaks.rule", language): say(f"leaks.rule.{rule}", language),
                say("leaks.examined", language): self.rows,
                say("leaks.broken", language): say("leaks.unknown", language) if count is None else count,
            }
            for rule, count in self.broken.items()
        ]
        return pd.DataFrame(rows)

    def require_none(self) -> None:
        """Do nothing if no row breaks a rule.

        Raises:
            LeakageError: How many rows break which rule.
        """
        if self.wrong:
            faults = [f"{say(f'leaks.rule.{rule}')}: {count:,} rows" for rule, count in self.broken.items() if count]
            headline = (
                f"The link itself is wrong: {self.wrong:,} rows hold a score that was not known before the money."
            )
            raise LeakageError(headline, faults)
