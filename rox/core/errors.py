"""Everything rox raises on purpose, in one tree.

::

    RoxError
    ├── DataError      tables or a study file that cannot be used as they are
    │   └── LeakageError   money, or anything else, dated before the score that is to explain it
    ├── UnitError      quantities that do not go together
    ├── FitError       a model that cannot be estimated from these data
    ├── CaseError      a case file, or a case and an effect, that do not fit
    └── RunError       a notebook or a stage of a run that failed
"""

from __future__ import annotations

from collections.abc import Sequence


class RoxError(Exception):
    """Something the user can mend: the message says where, what was found and what to do.

    Args:
        headline: One sentence that says what cannot be done.
        faults: Every fault found, one line each.
    """

    def __init__(self, headline: str, faults: Sequence[str] = ()) -> None:
        self.headline = headline
        self.faults = tuple(faults)
        super().__init__("\n".join([headline, *(f"  - {fault}" for fault in self.faults)]))


class DataError(RoxError):
    """Tables, or a study file, that cannot be used as they are."""


class LeakageError(DataError):
    """A score would have explained money that came before it."""


class UnitError(RoxError):
    """Two quantities whose estimands or units do not go together."""


class FitError(RoxError):
    """A model that cannot be estimated from these data."""


class CaseError(RoxError):
    """A case file with faults, or a case and an effect that do not fit."""


class RunError(RoxError):
    """A notebook, or a stage of a run, that failed."""
