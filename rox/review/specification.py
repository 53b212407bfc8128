"""Ask a recorded question again: from the text of an estimator back to the estimator, without running any text."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol

from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.linked import Linked

HOMES: Mapping[str, str] = MappingProxyType(
    {
        "ChurnAFT": "rox.models.churn_aft",
        "ChurnCox": "rox.models.churn_cox",
        "ChurnHazard": "rox.models.churn_hazard",
        "ClosedLoop": "rox.models.closed_loop",
        "Experiment": "rox.models.experiment",
        "FunnelUplift": "rox.models.funnel_uplift",
        "InterruptedSeries": "rox.models.interrupted_series",
        "JointPath": "rox.models.joint_path",
        "LeadLag": "rox.models.lead_lag",
        "PanelFE": "rox.models.panel_fe",
        "RolloutSlope": "rox.models.rollout_slope",
        "ScoreGap": "rox.models.score_gap",
        "StaggeredUplift": "rox.models.staggered_uplift",
        "SyntheticUplift": "rox.models.synthetic_uplift",
        "Trajectories": "rox.models.trajectories",
    }
)
"""The estimators a specification may name, and where they live."""


class Estimator(Protocol):
    """What answers a question from a linked panel."""

    def fit(self, data: Linked, *, rng: Any = None) -> Effect:
        """Estimate."""


@dataclass(frozen=True, kw_only=True)
class Specification:
    """A question as it was asked.

    Attributes:
        name: The estimator's name.
        values: What it was asked with: literals only.
        unsaid: Options this version knows and the text does not; their defaults are used, so that the question is the
            recorded one only as far as those defaults were the rule then.
    """

    name: str
    values: Mapping[str, Any]
    unsaid: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    def estimator(self) -> Estimator:
        """Build the estimator.

        Raises:
            FitError: Values that its own check refuses.
        """
        made: Estimator = _class(self.name)(**self.values)
        return made


def read_specification(text: str) -> Specification:
    """Read the ``repr`` of an estimator: one call of a known name with literal values, and nothing else.

    Nothing in the text is executed: it is parsed, and only numbers, texts, ``None``, ``True``, ``False``, and lists,
    tuples, sets and dictionaries of them are taken.

    Raises:
        DataError: Another text, an estimator or an option this version does not have, or a value that is no literal;
            every fault in one message.

    Example:
        >>> read_specification("LeadLag()").name
        'LeadLag'
    """
    call = _call(text)
    name = call.func.id if isinstance(call.func, ast.Name) else ast.unparse(call.func)
    faults = []
    if name not in HOMES:
        raise DataError(
            f"The specification {_short(text)!r} cannot be asked again.",
            [f"{name} is no estimator of this version; needed: one of {', '.join(sorted(HOMES))}"],
        )
    if call.args:
        faults.append(f"{len(call.args)} value(s) without a name; every option is written name=value")
    known = {each.name: each for each in fields(_class(name)) if each.init}
    values: dict[str, Any] = {}
    for option in call.keywords:
        if option.arg is None or option.arg not in known:
            faults.append(f"{option.arg or '**'}: no option of {name} in this version")
            continue
        try:
            values[option.arg] = ast.literal_eval(option.value)
        except (ValueError, TypeError, RecursionError):
            faults.append(
                f"{option.arg}: {_short(ast.unparse(option.value))} is no literal; what an option was made of (a prior "
                "from a register, say) is not in the text, so build this estimator by hand"
            )
    unsaid = tuple(each for each in known if each not in values and each not in {o.arg for o in call.keywords})
    needed = {each.name for each in known.values() if each.default is MISSING and each.default_factory is MISSING}
    faults += [f"{each}: missing" for each in sorted(needed & set(unsaid))]
    if faults:
        raise DataError(f"The specification {_short(text)!r} cannot be asked again.", faults)
    return Specification(name=name, values=values, unsaid=unsaid)


def _call(text: str) -> ast.Call:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as cause:
        raise DataError(
            f"The specification {_short(text)!r} cannot be asked again.",
            [f"needed: one estimator as Python writes it, such as LeadLag(); got a text that is none ({cause})"],
        ) from None
    if not isinstance(tree, ast.Call):
        raise DataError(
            f"The specification {_short(text)!r} cannot be asked again.",
            ["needed: one estimator as Python writes it, such as LeadLag()"],
        )
    return tree


def _class(name: str) -> Any:
    found = getattr(import_module(HOMES[name]), name)
    if not is_dataclass(found):
        raise AssertionError(name)
    return found


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
