"""What more knowledge before a decision is worth, and which inputs the spread of its value comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from rox.core.check import Check
from rox.core.declared import Wording

SURE = 2.0
"""Standard errors by which a study must gain or lose before it is said to."""


@dataclass(frozen=True, kw_only=True)
class StudyWorth:
    """What a study would bring to a decision, money after tax.

    Attributes:
        key: Its name in the case; empty for a study that nobody has proposed yet.
        kind: How it finds out: ``holdout``, ``survey`` or ``measure``.
        label: What it is called.
        learns: Names of the factors it is about.
        unit: Unit of what it measures.
        error: Standard error of its finding, in that unit.
        detectable: Effect that it finds four times in five, in that unit.
        evsi: Expected value of its finding.
        evsi_error: Standard error of that value over draws.
        evppi: Expected value of knowing exactly what it is about; no study of it is worth more.
        open: Chance that the decision can still be changed by then.
        cost: What it costs; NaN where nobody has said.
        delay: What the initiative loses while the decision waits; NaN where nobody has said.
    """

    key: str
    kind: Literal["holdout", "survey", "measure"]
    label: Wording
    learns: tuple[str, ...]
    unit: str
    error: float
    detectable: float
    evsi: float
    evsi_error: float
    evppi: float
    open: float
    cost: float
    delay: float

    @property
    def worth(self) -> float:
        """Expected value of the finding, times the chance that it can still be used."""
        return self.open * self.evsi

    @property
    def net(self) -> float:
        """Expected net benefit of sampling: the worth less cost and delay; NaN where these are not known."""
        return self.worth - self.cost - self.delay

    @property
    def advice(self) -> Literal["offer", "do", "do_not", "close"]:
        """Whether to make it; ``close`` where the draws cannot tell, ``offer`` where its cost is not known."""
        if not self.key:
            return "offer"
        reach = SURE * self.open * self.evsi_error
        if self.net > reach:
            return "do"
        return "close" if self.net > -reach else "do_not"


@dataclass(frozen=True, kw_only=True, eq=False)
class Knowing:
    """What knowing more would be worth before deciding whether to do it.

    Attributes:
        evpi: Expected value of knowing every input.
        evpi_error: Its standard error over draws.
        factors: One row per factor that varies, the most valuable to know first: ``name``, labels ``en`` and ``zh``,
            ``parts`` (the rows of the tornado it stands for; more than one when they hang together), ``first`` and
            ``total`` (shares of the variance of NPV), ``first_error``, ``total_error``, ``evppi``, ``evppi_error`` and
            ``apart`` (EVPPI with the rule learned on one half of the draws and used on the other).
        rank_r2: Share of the variance of NPV's ranks that the inputs' ranks explain, each by itself.
        studies: The candidates of the case in their order, or one offer where it names none and one can be made.
        draws: Draws behind EVPI, EVPPI and EVSI.
        crossed: Draws behind the shares of variance, for each factor.
        checks: Whether the figures are in the order in which they must be.
    """

    evpi: float
    evpi_error: float
    factors: pd.DataFrame
    rank_r2: float
    studies: tuple[StudyWorth, ...]
    draws: int
    crossed: int
    checks: tuple[Check, ...]

    def as_record(self) -> dict[str, Any]:
        """Return plain values for a record."""
        table = self.factors.drop(columns=["en", "zh"]).assign(parts=self.factors["parts"].map(list))
        return {
            "evpi": self.evpi,
            "evpi_error": self.evpi_error,
            "factors": table.set_index("name").to_dict(orient="index"),
            "rank_r2": self.rank_r2,
            "studies": [
                {
                    **{name: each for name, each in asdict(study).items() if name not in ("label", "learns")},
                    "learns": list(study.learns),
                    "worth": study.worth,
                    "net": study.net,
                    "advice": study.advice,
                }
                for study in self.studies
            ],
            "draws": self.draws,
            "crossed": self.crossed,
        }
