"""Models of buying fitted to histories, with errors robust to the model, and judged on months they did not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Verdict
from rox.core.errors import FitError
from rox.models.buying_histories import BuyingHistories
from rox.models.evidence import FEWEST_CUSTOMERS
from rox.models.population import shown
from rox.numerics.buying import BGBB, bgbb

Floats = NDArray[np.float64]

BANDS: tuple[int, ...] = (0, 3, 6, 12)
"""Months without a purchase from which each band of the judgement begins."""
CLOSE = (0.9, 1.1)
"""Ratio of predicted to observed months that is close enough to 1."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A model, and the covariance of the logarithms of its parameters, shape (4, 4), robust to the model."""

    model: BGBB
    covariance: Floats

    @classmethod
    def of(cls, held: BuyingHistories, start: BGBB | None = None) -> Fit:
        """Fit histories, customers weighted by whom they stand for.

        Raises:
            ValueError: The likelihood has no maximum.
        """
        scale = held.people.sum() / held.weight.sum()
        x, last, n, unseen = held.history
        found = bgbb(x, last, n, scale * held.weight, unseen=unseen, start=start)
        scores = found.model.scores(*held.history)
        meat = scores.T @ (scores * (scale**2 * held.squares)[:, None])
        return cls(model=found.model, covariance=found.covariance @ meat @ found.covariance)

    @property
    def row(self) -> dict[str, float]:
        """The parameters, and errors of their logarithms."""
        names, errors = ("alpha", "beta", "gamma", "delta"), np.sqrt(np.diag(self.covariance))
        return {
            **dict(zip(names, astuple(self.model), strict=True)),
            **{f"{name}_se": float(each) for name, each in zip(names, errors, strict=True)},
        }


@dataclass(frozen=True, kw_only=True)
class Fits:
    """The model of a group, and the one fitted without the hold-out."""

    now: Fit
    before: Fit


def fitted(
    now: Mapping[str, BuyingHistories], before: Mapping[str, BuyingHistories | None]
) -> tuple[dict[str, Fits], list[str]]:
    """Fit each group with and without the hold-out.

    Returns:
        The fits, and the groups whose customers the model cannot tell apart.

    Raises:
        FitError: None can be fitted.
    """
    found, faults = {}, {}
    for name, held in now.items():
        earlier = before[name]
        if earlier is None:
            faults[name] = "nobody had come before the hold-out"
            continue
        try:
            whole = Fit.of(held)
            found[name] = Fits(now=whole, before=Fit.of(earlier, whole.model))
        except ValueError as error:
            faults[name] = str(error)
    if not found:
        told = [f"{name}: {fault}" for name, fault in faults.items()]
        raise FitError(
            "No group can be described.", told or [f"no group has {FEWEST_CUSTOMERS} customers; merge groups"]
        )
    return found, sorted(faults)


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The hold-out foretold. c = histories of all groups, as known before it."""

    frame: pd.DataFrame
    """``group``, ``silent``, ``people``, ``weight``, ``later`` and ``later_squares``; ``predicted``, ``own_rate``."""
    hold_out: int

    @classmethod
    def of(cls, before: Mapping[str, BuyingHistories], fits: Mapping[str, Fits], hold_out: int) -> Predictions:
        """Foretell the months after those that made the histories."""
        parts = []
        for name, held in before.items():
            x, last, n, unseen = held.history
            silent = np.where(x > 0, n - last, n + unseen)
            parts.append(
                pd.DataFrame(
                    {
                        "group": name,
                        "silent": np.array(BANDS)[np.searchsorted(BANDS, silent, side="right") - 1],
                        "people": held.people,
                        "weight": held.weight,
                        "later": held.later,
                        "later_squares": held.later_squares,
                        "predicted": fits[name].before.model.expected(x, last, n, hold_out, unseen),
                        "own_rate": hold_out * x / np.maximum(n, 1),
                    }
                )
            )
        return cls(frame=pd.concat(parts, ignore_index=True), hold_out=hold_out)

    @property
    def skill(self) -> float:
        """Share of the squared error of each group's own mean that is saved."""
        f = self.frame
        mean = (f.groupby("group")["later"].transform("sum") / f.groupby("group")["weight"].transform("sum")).to_numpy()
        own, known = (
            float((f["later_squares"] - 2 * guess * f["later"] + guess**2 * f["weight"]).sum())
            for guess in (f["predicted"], mean)
        )
        return 1 - own / known if known > 0 else 0.0

    def has_skill(self, month: str) -> Check:
        """Say whether anything is foretold (ROX-S50)."""
        return Check(
            code="ROX-S50",
            verdict=Verdict.PASS if self.skill > 0 else Verdict.STOP,
            values={"skill": 100 * self.skill, "months": self.hold_out, "month": month},
        )

    @property
    def has_level(self) -> Check:
        """Say whether as much was foretold as came (ROX-S51)."""
        f = self.frame
        observed = float(f["later"].sum())
        ratio = float((f["predicted"] * f["weight"]).sum()) / observed if observed else float("inf")
        near = CLOSE[0] <= ratio <= CLOSE[1]
        values = {"ratio": ratio, "months": self.hold_out}
        return Check(code="ROX-S51", verdict=Verdict.PASS if near else Verdict.NOTE, values=values)

    def table(self, min_cell: int) -> pd.DataFrame:
        """Compare by group and band of silence."""
        f = self.frame
        sums = f.assign(predicted=f["predicted"] * f["weight"], own_rate=f["own_rate"] * f["weight"])
        found = sums.groupby(["group", "silent"])[["people", "weight", "predicted", "later", "own_rate"]].sum()
        means = found[["predicted", "later", "own_rate"]].div(found["weight"], axis=0)
        out = means.rename(columns={"later": "observed"})
        out.insert(0, "customers", found["weight"])
        return shown(out, found["people"], min_cell)
