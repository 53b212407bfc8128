"""Effects as a reader sees them: amounts, ranges, names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.case import EVERYONE
from rox.core.effect import Effect
from rox.core.estimand import Estimand
from rox.core.units import MONEY, Dose, Unit
from rox.core.words import Language, catalogue, say
from rox.reporting.numbers import Form, form, step_of

TAILS = (0.05, 0.95)


def unit_of(estimand: Estimand) -> str:
    """Return the unit an effect is shown in: money, a share, or a plain number."""
    if estimand.unit in MONEY:
        return "money"
    return "share" if estimand.unit in (Unit.RATIO, Unit.LOG_HAZARD, Unit.PERCENTAGE_POINT) else "number"


def amounts(values: NDArray[np.float64], estimand: Estimand) -> NDArray[np.float64]:
    """Turn draws into the amounts that are shown: a log hazard ratio becomes the relative change of the hazard."""
    if estimand.unit is Unit.LOG_HAZARD:
        return np.expm1(values)
    return values / 100 if estimand.unit is Unit.PERCENTAGE_POINT else values


def summary(effect: Effect) -> pd.DataFrame:
    """Summarise the amounts: one row per group, and ``all`` last when there are several.

    Returns:
        Columns ``middle`` (mean), ``low`` and ``high`` (90%), ``customers``.
    """
    drawn = amounts(effect.draws, effect.estimand)
    names, customers = list(effect.groups), list(effect.baseline["customers"])
    if effect.groups != (EVERYONE,):
        drawn = np.column_stack([drawn, amounts(effect.overall, effect.estimand)])
        names, customers = [*names, EVERYONE], [*customers, float(effect.baseline["customers"].sum(min_count=1))]
    low, high = np.quantile(drawn, TAILS, axis=0)
    return pd.DataFrame(
        {"middle": drawn.mean(axis=0), "low": low, "high": high, "customers": customers},
        index=pd.Index(names, name="group"),
    )


def over_time(effect: Effect) -> pd.DataFrame:
    """Summarise the path over all groups: index month since the change; columns ``middle``, ``low``, ``high``."""
    if effect.path is None:
        raise ValueError(f"effect {effect.name!r} has no path over time")
    drawn = amounts(np.einsum("dgm,g->dm", effect.path, effect.shares), effect.estimand)
    low, high = np.quantile(drawn, TAILS, axis=0)
    index = pd.Index(effect.path_months, name="month")
    return pd.DataFrame({"middle": drawn.mean(axis=0), "low": low, "high": high}, index=index)


def form_of(effect: Effect, language: Language, rows: pd.DataFrame) -> Form:
    """Choose how the amounts of a table of estimates are written: to what its tightest range supports."""
    steps = [step_of(low, high) for low, high in zip(rows["low"], rows["high"], strict=True)]
    return form(
        unit_of(effect.estimand),
        language,
        like=rows[["middle", "low", "high"]].to_numpy().ravel(),
        step=min((each for each in steps if each), default=0.0),
        currency=effect.estimand.currency,
        signed=True,
    )


def converts(effect: Effect) -> bool:
    """Whether an effect per score point can be restated per NPS point: the category shift was measured with it."""
    is_hazard = effect.estimand.unit is Unit.LOG_HAZARD
    return effect.shift is not None and effect.estimand.dose is Dose.SCORE_POINT and not is_hazard


def per_nps(effect: Effect) -> NDArray[np.float64]:
    """Return the overall amounts per NPS point, shape (draw,), each draw with a draw of the category shift."""
    restated = effect.per_nps_point(rng=0)
    return amounts(restated.overall, effect.estimand)


def group_name(group: str, language: Language) -> str:
    """Return a segment's name; ``all`` in the reader's language."""
    return say("estimates.everyone", language) if group == EVERYONE else group


def effect_name(name: str, language: Language) -> str:
    """Return the name of a family of models, or the researcher's own name for it."""
    key = f"effect.{name}"
    return say(key, language) if key in catalogue() else name


def dose_name(dose: Dose, language: Language) -> str:
    """Return what one unit of the dose is."""
    return say(f"dose.{dose}", language)


def joined(words: Iterable[str], language: Language) -> str:
    """Join words to a list."""
    return say("estimates.comma", language).join(words)
