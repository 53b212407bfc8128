"""The words a metric is declared in: estimators with their units and variances, windows, levels, stages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

Estimator = Literal[
    "nps",
    "mean",
    "top_two",
    "share",
    "adoption",
    "per_active",
    "earnings",
    "count",
    "actives",
    "quantile",
    "median_time",
    "retention",
]
Variance = Literal["clustered", "wilson", "order", "greenwood", "none"]
MetricUnit = Literal["nps_point", "score_point", "ratio", "count", "money", "days", "seconds", "ms"]
Window = Literal["day", "week", "month", "quarter", "year"]
Level = Literal["macro", "meso", "micro"]
FiveStage = Literal["entice", "enter", "engage", "exit", "extend"]
EightStage = Literal["need", "research", "select", "purchase", "receive", "use", "maintain", "recommend"]
FIVE_STAGES: tuple[str, ...] = get_args(FiveStage)
"""The journey by the five E's."""
EIGHT_STAGES: tuple[str, ...] = get_args(EightStage)
"""The journey by the stages of the life cycle."""

VARIANCES: Mapping[str, Variance] = MappingProxyType(
    {
        "nps": "clustered",
        "mean": "clustered",
        "top_two": "wilson",
        "share": "wilson",
        "adoption": "wilson",
        "per_active": "clustered",
        "earnings": "clustered",
        "count": "none",
        "actives": "none",
        "quantile": "order",
        "median_time": "greenwood",
        "retention": "greenwood",
    }
)
"""How the uncertainty of each estimator is told; counts of everything there is have none."""

UNITS: Mapping[str, tuple[MetricUnit, ...]] = MappingProxyType(
    {
        "nps": ("nps_point",),
        "mean": ("score_point",),
        "top_two": ("ratio",),
        "share": ("ratio",),
        "adoption": ("ratio",),
        "per_active": ("count", "seconds", "ms"),
        "earnings": ("money",),
        "count": ("count",),
        "actives": ("count",),
        "quantile": ("count", "seconds", "ms", "money", "days", "score_point"),
        "median_time": ("days",),
        "retention": ("ratio",),
    }
)
"""Units each estimator can have; the first is the one it has where none is said."""

NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "nps": ("column",),
        "mean": ("column",),
        "top_two": ("column",),
        "share": ("where",),
        "adoption": ("where",),
        "earnings": ("column",),
        "quantile": ("column",),
        "median_time": ("until",),
        "retention": ("after",),
    }
)
"""What must be said for an estimator."""

TAKEN_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "of": ("share", "adoption", "per_active", "earnings"),
        "of_table": ("share", "adoption", "per_active", "earnings"),
        "per": ("share",),
        "quantile": ("quantile",),
        "until": ("median_time",),
        "after": ("retention",),
        "idle": ("retention",),
    }
)
"""Estimators that a setting means something for."""

QUESTIONS = frozenset({"nps", "mean", "top_two"})
"""Estimators of an answer to a question."""
