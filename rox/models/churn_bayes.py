"""Do customers with a lower score leave sooner, and in which segments? A hierarchical hazard, sampled from cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.check import Check, Grade, Verdict, grade_after
from rox.core.effect import Effect
from rox.core.linked import Linked
from rox.core.score_parts import ScoreParts
from rox.core.views import Clock
from rox.models.churn_cox import estimand_of
from rox.models.churn_hazard import ChurnHazard
from rox.models.hazard_cells import AtRisk, answers_of, at_risk_cells, people_of, usable_census
from rox.models.hazard_fit import HazardFit, fit_cells, parts_given, with_noise
from rox.models.pooled_hazard import PooledHazard, pooled_hazard
from rox.models.readings import can_calibrate
from rox.models.reliability import answer_reliability

Floats = NDArray[np.float64]

WIDTH = 0.25
"""Width of the bins of a reading that the sampler sees, score points."""
PLACE = "unit"


@dataclass(frozen=True, kw_only=True)
class ChurnBayes:
    """Measure how the hazard of leaving by own choice goes with the score known before, segment by segment.

    Estimand: cause-specific log hazard ratio of voluntary exit per score point, one per segment, those with few exits
    drawn towards the mean of all. Assumes what ``ChurnHazard(style="ignored")`` assumes, whose cells and calibrated
    readings it uses; habits of answering stay in. Segments are exchangeable: none is known beforehand to differ.

    Customers are summed in cells, from which a frailty of each single customer cannot be told: ratios shrink over time
    where there is one. With ``places`` the customers of a place share one. The error of the calibration, measured
    around the pooled fit, is added to all segments alike.

    Attributes:
        clock: As of ``ChurnHazard``.
        places: Whether places differ in their hazard, beyond the segments.
        controls: Columns to hold equal; default those the study names.
        draws: Draws kept per chain.
        tune: Tuning steps per chain.
        chains: Chains.
    """

    clock: Clock = "tenure"
    places: bool = False
    controls: Sequence[str] | None = None
    draws: int = 1000
    tune: int = 1000
    chains: int = 4

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate the ratios.

        Raises:
            DataError: A panel that cannot be used; LeakageError when a score was not known before the month it is to
                explain (ROX-S01, ROX-S02).
            FitError: Choices that do not fit the data, too few exits, or a sampler that did not converge.
        """
        generator = np.random.default_rng(rng)
        controls = tuple(data.controls if self.controls is None else self.controls)
        plain = ChurnHazard(clock=self.clock, style="ignored", controls=controls).fit(data, rng=generator)
        census = usable_census(data)
        cells, extra = self._cells(data, controls, generator)
        found = self._sampled(cells, generator)
        groups = tuple(str(name) for name in found.segments)
        shared = np.sqrt(extra) * generator.standard_normal(len(found.ratio))
        people = people_of(census, groups)
        own = tuple(each for each in plain.checks[len(data.checks) :] if each.code not in ("ROX-S09", "ROX-C01"))
        checks = (*data.checks, *own, found.sampled.check(), _agrees(found, plain))
        return Effect(
            name="churn_bayes",
            estimand=estimand_of(data, people),
            groups=groups,
            draws=found.ratio + shared[:, None],
            shares=people.shares,
            baseline=people.baseline,
            grade=grade_after(Grade.D, checks),
            checks=checks,
            specification=repr(self),
            trail=plain.trail,
            fingerprint=data.fingerprint,
            counts=plain.counts,
            tables={
                "pooling": _pooling(found),
                "rivals": plain.tables["rivals"],
                "segments": plain.tables["segments"],
            },
        )

    def _cells(self, data: Linked, controls: Sequence[str], rng: np.random.Generator) -> tuple[AtRisk, float]:
        """Reduce the months at risk, and measure the variance that calibration adds to the score's coefficient."""
        answers = answers_of(data)
        noise = answer_reliability(answers, rng)
        wanted = [*controls, PLACE] if self.places else list(controls)

        def reduced(parts: ScoreParts | None, names: Sequence[str]) -> AtRisk:
            return at_risk_cells(data, clock=self.clock, parts=parts, controls=names, bins=WIDTH)

        carried = reduced(None, wanted)
        age = float(carried.values["age"].sum() / carried.values["n"].sum())
        if noise is None or not can_calibrate(noise, age):
            return carried, 0.0

        def refit(parts: ScoreParts) -> HazardFit:
            return fit_cells(reduced(parts, controls), apart=False)

        main = refit(parts_given(noise))
        full = with_noise(main, noise, refit)
        return reduced(parts_given(noise), wanted), float(full.covariance[0, 0] - main.covariance[0, 0])

    def _sampled(self, cells: AtRisk, rng: np.random.Generator) -> PooledHazard:
        held = replace(cells, labels=tuple(name for name in cells.labels if name != PLACE))
        others = held.controls()
        table = _merged(held, others)
        return pooled_hazard(
            table["score"],
            table["months"],
            table["events"],
            table["segment"].astype(str),
            band=table["band"],
            place=table[f"control_{PLACE}"].astype(str) if self.places else None,
            others=table[list(others)] if len(others.columns) else None,
            draws=self.draws,
            tune=self.tune,
            chains=self.chains,
            rng=rng,
        )


def _merged(cells: AtRisk, others: pd.DataFrame) -> pd.DataFrame:
    """Sum cells over the buckets, and over the parts of a reading that add up to about the same."""
    values = cells.values
    score = cells.mean("lasting") + cells.mean("passing")
    months = values["months"].to_numpy(dtype=float)
    keys = ["segment", "band", *(name for name in values if str(name).startswith(("bin_", "control_")))]
    table = values[keys].assign(place=np.floor(score / WIDTH), months=months, events=values["events"])
    table = table.assign(score=score * months, **{str(name): others[name] * months for name in others})
    summed = table.groupby([*keys, "place"], as_index=False).sum()
    means = ["score", *map(str, others.columns)]
    summed[means] = summed[means].div(summed["months"], axis=0)
    return summed


def _pooling(found: PooledHazard) -> pd.DataFrame:
    """List the mean that segments share and their spread, and each segment's ratio."""
    drawn = {"mean": found.mean[:, 0], "between_segments": found.between[:, 0], "between_places": found.between_places}
    drawn |= {f"ratio {name}": found.ratio[:, place] for place, name in enumerate(found.segments)}
    rows = {
        name: {
            "estimate": float(values.mean()),
            "sd": float(values.std(ddof=1)),
            "low": float(np.quantile(values, 0.05)),
            "high": float(np.quantile(values, 0.95)),
        }
        for name, values in drawn.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity")


def _agrees(found: PooledHazard, plain: Effect) -> Check:
    """Say how far segments differ, beside the one ratio for all (ROX-S22)."""
    values = {
        "mean": float(found.mean[:, 0].mean()),
        "between": float(found.between[:, 0].mean()),
        "one": float(plain.overall.mean()),
    }
    return Check(code="ROX-S22", verdict=Verdict.NOTE, values=values)
