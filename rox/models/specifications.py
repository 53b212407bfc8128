"""The same question asked in all defensible ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any, Protocol

import numpy as np
import pandas as pd

from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.churn_cox import ChurnCox
from rox.models.evidence import demoted_to
from rox.models.lead_lag import LeadLag
from rox.models.panel_fe import PanelFE
from rox.models.phrases import amount
from rox.models.score_gap import ScoreGap
from rox.models.staggered_uplift import StaggeredUplift
from rox.numerics.sensitivity import specification_summary

AGREE = 0.9
"""Share of specifications that must agree in sign with the one asked."""


class Model(Protocol):
    """A model as it is asked: a frozen dataclass with this method."""

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        """Estimate."""
        ...


def choices(model: Model, data: Linked) -> Mapping[str, Sequence[Any]]:
    """Return, for the fields of a model, the values that a careful analyst might also have chosen."""
    controls = ((), tuple(data.controls)) if data.controls else ((),)
    if isinstance(model, ScoreGap):
        return {"age": (1, 3), "controls": controls, "unit_effects": (False, True)}
    if isinstance(model, PanelFE):
        return {"age": (1, 2, 3, 6), "controls": controls}
    if isinstance(model, LeadLag):
        return {"leads": (5, 7, 9)}
    if isinstance(model, ChurnCox):
        return {"time": ("tenure", "calendar"), "reading": ("calibrated", "carried"), "controls": controls}
    if isinstance(model, StaggeredUplift):
        return {"control": ("not_yet_treated", "never_treated"), "cap": (2.0, 3.0)}
    return {}


def variants(model: Model, data: Linked, extra: Mapping[str, Sequence[Any]] | None = None) -> Iterator[Model]:
    """Give the model as asked, then with every other combination of choices."""
    yield model
    options = {**choices(model, data), **(extra or {})}
    seen = {repr(_resolved(model, data))}
    for values in product(*options.values()):
        other = replace(model, **dict(zip(options, values, strict=True)))  # type: ignore[type-var]
        if repr(_resolved(other, data)) in seen:
            continue
        seen.add(repr(_resolved(other, data)))
        yield other


def _resolved(model: Model, data: Linked) -> Model:
    """Write out that controls left open are those of the study."""
    if getattr(model, "controls", ()) is None:
        return replace(model, controls=tuple(data.controls))  # type: ignore[type-var]
    return model


def specification_curve(
    model: Model,
    data: Linked,
    headline: Effect,
    *,
    rng: int,
    extra: Mapping[str, Sequence[Any]] | None = None,
) -> tuple[Check, pd.DataFrame]:
    """Estimate every variant and compare it with the one asked (ROX-A21; Simonsohn, Simmons & Nelson 2020).

    Args:
        model: As asked.
        data: The linked panel.
        headline: The model's effect.
        rng: Seed of every fit.
        extra: Further values by field of the model.

    Returns:
        The check, and a table by specification, sorted: ``estimate``, ``se``, ``low``, ``high`` (90%), ``grade``,
        ``asked``. Variants that the data cannot carry are not among them; they are counted in the check.
    """
    found: dict[str, dict[str, Any]] = {}
    impossible = 0
    for place, variant in enumerate(variants(model, data, extra)):
        if place == 0:
            effect = headline
        else:
            try:
                effect = variant.fit(data, rng=rng)
            except FitError:
                impossible += 1
                continue
        low, high = np.quantile(effect.overall, [0.05, 0.95])
        found[_label(model, variant)] = {
            "estimate": float(effect.overall.mean()),
            "se": float(effect.overall.std(ddof=1)),
            "low": float(low),
            "high": float(high),
            "grade": str(effect.grade),
            "asked": place == 0,
        }
    table = pd.DataFrame.from_dict(found, orient="index").rename_axis("specification")
    summary = specification_summary(table["estimate"], table["se"], 0)
    currency = headline.estimand.currency
    values: dict[str, str | int | float] = {
        "count": len(table),
        "impossible": impossible,
        "same": 100 * summary.same_sign,
        "median": amount(summary.median, currency),
        "low": amount(summary.low, currency),
        "high": amount(summary.high, currency),
    }
    table = table.iloc[summary.order]
    if len(table) == 1:
        return Check(code="ROX-A22", verdict=Verdict.NOTE, values={"impossible": impossible}), table
    return demoted_to(Grade.D, "ROX-A21", summary.same_sign < AGREE, values), table


def _label(model: Model, variant: Model) -> str:
    """Write what differs from the model asked, as one would write it in code."""
    names = [each.name for each in fields(model)]  # type: ignore[arg-type]
    changed = [name for name in names if getattr(variant, name) != getattr(model, name)]
    return ", ".join(f"{name}={getattr(variant, name)!r}" for name in changed) or type(model).__name__
