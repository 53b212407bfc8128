"""What is put to the test: the estimators that rox exports, and recipes in common use beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rox.core.errors import RunError
from rox.models.churn_cox import ChurnCox
from rox.models.churn_hazard import ChurnHazard
from rox.models.closed_loop import ClosedLoop
from rox.models.funnel_uplift import FunnelUplift
from rox.models.interrupted_series import InterruptedSeries
from rox.models.joint_path import JointPath
from rox.models.lead_lag import LeadLag
from rox.models.panel_fe import PanelFE
from rox.models.rollout_slope import RolloutSlope
from rox.models.score_gap import ScoreGap
from rox.models.staggered_uplift import StaggeredUplift
from rox.models.synthetic_uplift import SyntheticUplift
from rox.models.trajectories import Trajectories
from rox.testing.invariance import Estimator
from rox.validation import rivals
from rox.validation.truths import ROLLOUTS, Target
from rox.validation.worlds import World


@dataclass(frozen=True, kw_only=True)
class Method:
    """An estimator or a recipe, and the truths it is held against.

    Attributes:
        name: Of the effect it gives, or of the recipe; a name of its own where several methods give such an effect.
        targets: What its users take its answer for.
        estimator: A model; nothing for a recipe.
        recipe: A recipe; nothing for a model.
        alarms: Codes of the checks that are there to see when it is badly wrong, each in its own way.
    """

    name: str
    targets: tuple[Target, ...]
    estimator: Estimator | None = None
    recipe: rivals.Recipe | None = None
    alarms: tuple[str, ...] = ()

    @property
    def specification(self) -> str:
        """The method as asked, the same in every process."""
        return f"{self.name}: {self.estimator or 'recipe'!r} for {', '.join(self.targets)}"

    @property
    def is_about_rollouts(self) -> bool:
        """Whether it measures a roll-out."""
        return bool(ROLLOUTS & set(self.targets))


ESTIMATORS = (
    # The past that a score "predicts"; a mix of customers that passes for a difference between scores.
    Method(
        name="gap",
        targets=(Target.SUSTAINED, Target.GAP),
        estimator=ScoreGap(),
        alarms=("ROX-A05", "ROX-A02"),
    ),
    # Scores that follow money; movements of a customer's answers that are noise.
    Method(
        name="panel",
        targets=(Target.SUSTAINED,),
        estimator=PanelFE(),
        alarms=("ROX-A08", "ROX-E04", "ROX-E05"),
    ),
    # Experience that follows money; a shape that does not fit; chance that is as large as the effect.
    Method(
        name="lead_lag",
        targets=(Target.SUSTAINED,),
        estimator=LeadLag(),
        alarms=("ROX-A12", "ROX-A13", "ROX-A17"),
    ),
    # Money or experience that moves in another way than the model has it; chance that is as large as the effect.
    Method(
        name="joint_path",
        targets=(Target.SUSTAINED,),
        estimator=JointPath(),
        alarms=("ROX-A53", "ROX-A54"),
    ),
    # Money that was rising or falling before the answers.
    Method(
        name="trajectories",
        targets=(Target.GAP,),
        estimator=Trajectories(),
        alarms=("ROX-A04",),
    ),
    # Money that jumps at once, so not through experience; readings of the score that differ; a weak first stage; places
    # that differed before; chance that is as large as the effect.
    Method(
        name="rollout_slope",
        targets=(Target.SUSTAINED,),
        estimator=RolloutSlope(),
        alarms=("ROX-I18", "ROX-I13", "ROX-I15", "ROX-L01", "ROX-I17"),
    ),
    # Noise of the answers, taken out or not; habits of answering.
    Method(
        name="churn",
        targets=(Target.HAZARD,),
        estimator=ChurnCox(),
        alarms=("ROX-S07", "ROX-S08", "ROX-S11", "ROX-E03"),
    ),
    # The same from cells, with habits of answering taken out.
    Method(
        name="churn_hazard",
        targets=(Target.HAZARD,),
        estimator=ChurnHazard(),
        alarms=("ROX-S07", "ROX-S08", "ROX-S20", "ROX-E03"),
    ),
    # Places that differed before; places chosen by somebody; a rebound; chance that is as large as the effect.
    Method(
        name="uplift",
        targets=(Target.ROLLOUT,),
        estimator=StaggeredUplift(),
        alarms=("ROX-L01", "ROX-L03", "ROX-L06", "ROX-L20", "ROX-L21"),
    ),
    # Gains as large where nothing began; gains before anything began; one place that decides; too few places to try it.
    Method(
        name="synthetic",
        targets=(Target.ROLLOUT,),
        estimator=SyntheticUplift(),
        alarms=("ROX-L31", "ROX-L32", "ROX-L33", "ROX-L44"),
    ),
    # Less than two years before; a break before anything began; a forecast that differs; a series too short to tell.
    Method(
        name="interrupted",
        targets=(Target.ROLLOUT_FIRST,),
        estimator=InterruptedSeries(events=()),
        alarms=("ROX-L37", "ROX-L38", "ROX-L39", "ROX-L40"),
    ),
    # A lot that was not kept; arms that differed before; money missing in one arm more; chance as large as the effect.
    Method(
        name="closed_loop",
        targets=(Target.RECOVERY,),
        estimator=ClosedLoop(),
        alarms=("ROX-H01", "ROX-H03", "ROX-H06", "ROX-H10"),
    ),
    Method(
        name="closed_loop_called",
        targets=(Target.RECOVERY_CALLED,),
        estimator=ClosedLoop(per="contacted"),
        alarms=("ROX-H01", "ROX-H03", "ROX-H06", "ROX-H10"),
    ),
    # A lot that was not kept; a mix without a counterpart; money unknown in one form more; chance as large.
    Method(
        name="funnel",
        targets=(Target.FUNNEL,),
        estimator=FunnelUplift(),
        alarms=("ROX-F03", "ROX-F12", "ROX-F13", "ROX-F15"),
    ),
)
"""Every estimator that rox exports and that simulated banks can try, as it comes."""

TRIED_ELSEWHERE = (("Experiment", "validation.elsewhere.experiment"),)
"""Estimators that simulated banks cannot try: name, and the catalogue's word for why and where they are tried."""

RECIPES = (
    Method(name="promoter_gap", targets=(Target.SUSTAINED,), recipe=rivals.promoter_gap),
    Method(name="pooled_ols", targets=(Target.SUSTAINED,), recipe=rivals.pooled_ols),
    Method(name="quartiles", targets=(Target.SUSTAINED,), recipe=rivals.quartiles),
    Method(name="carried_forward", targets=(Target.SUSTAINED,), recipe=rivals.carried_forward),
    Method(name="first_score_cox", targets=(Target.HAZARD,), recipe=rivals.first_score_cox),
    Method(name="carried_forward_cox", targets=(Target.HAZARD,), recipe=rivals.carried_forward_cox),
    Method(name="called_or_not", targets=(Target.RECOVERY_CALLED,), recipe=rivals.called_or_not),
    Method(name="before_after", targets=(Target.ROLLOUT_MONEY,), recipe=rivals.before_after),
    Method(name="twfe", targets=(Target.ROLLOUT_MONEY,), recipe=rivals.twfe),
)
"""Recipes in common use."""


def pick(names: Sequence[str] | None = None) -> tuple[Method, ...]:
    """Return methods by name, all of them by default.

    Raises:
        RunError: No such method.
    """
    every = {method.name: method for method in (*ESTIMATORS, *RECIPES)}
    if unknown := [name for name in names or () if name not in every]:
        raise RunError(f"There are no methods {unknown}.", [f"the methods are {', '.join(every)}"])
    return tuple(every.values()) if names is None else tuple(every[name] for name in dict.fromkeys(names))


def used_in(world: World, methods: Sequence[Method]) -> tuple[Method, ...]:
    """Return the methods that a world has something to say about."""
    return tuple(method for method in methods if method.is_about_rollouts or not world.is_about_rollouts)
