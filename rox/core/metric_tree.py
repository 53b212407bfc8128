"""A tree of metrics: north star, goals, the signals that tell of them, and the metrics that measure the signals."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, model_validator

from rox.core.declared import Declared, Words, read_toml, validated
from rox.core.errors import DataError
from rox.core.metric_kinds import (
    EIGHT_STAGES,
    FIVE_STAGES,
    NEEDS,
    QUESTIONS,
    TAKEN_BY,
    UNITS,
    VARIANCES,
    EightStage,
    Estimator,
    FiveStage,
    Level,
    MetricUnit,
    Variance,
    Window,
)
from rox.core.study import Name, TableName

Value = StrictBool | StrictInt | StrictStr


class Goal(Declared):
    """What the company wants for its customers."""

    label: Words


class Signal(Declared):
    """What would be seen if the goal were reached."""

    label: Words
    goal: Name


class Metric(Declared):
    """One number that measures a signal.

    Attributes:
        signal: The signal it measures.
        label: Its name for readers.
        estimator: How it is computed.
        table: The table of the study it is read from.
        column: The question, amount or duration that is read; without one rows count, or their ``count``.
        where: Rows that count: the value, or the values, of a column; ``true`` for any value, ``false`` for none.
        of: Rows they are set against; of an estimator per active customer, what makes a customer active.
        of_table: The table of ``of``, if it is another.
        window: Length of the windows that activity is counted in.
        per: Whether a share is one of rows, or of customers in a window.
        quantile: Which quantile, 0.5 being the median.
        until: Column with the date at which a time ends.
        after: Windows from a customer's first one to the one in which a retained customer is active.
        idle: Windows without activity that make a customer inactive.
        unit: Unit of the number.
        variance: How its uncertainty is told; it follows from the estimator.
        direction: Whether more of it is better; of a mean or quantile of answers the study's scale says so.
        level: Macro (the company or a business unit), meso (an element of the experience), micro (a touchpoint).
        stage: Stage of the journey.
        touchpoint: Where company and customer meet.
        channel: By which channel.
        department: Who owns it.
        proxy: Whether it only stands for the experience; such a metric may be a driver, never an outcome of value.
        outcome: Whether value may be computed from it.
        target: What is aimed at.
        alert: From where on somebody must act.
    """

    signal: Name
    label: Words
    estimator: Estimator
    table: TableName
    column: Name | None = None
    where: Mapping[Name, Value | tuple[Value, ...]] = {}
    of: Mapping[Name, Value | tuple[Value, ...]] = {}
    of_table: TableName | None = None
    window: Window = "month"
    per: Literal["row", "customer"] = "row"
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    until: Name | None = None
    after: Annotated[int, Field(ge=1)] | None = None
    idle: Annotated[int, Field(ge=1)] = 1
    unit: MetricUnit | None = None
    variance: Variance | None = None
    direction: Literal["up", "down"] = "up"
    level: Level = "meso"
    stage: FiveStage | EightStage | None = None
    touchpoint: Words | None = None
    channel: Words | None = None
    department: Words | None = None
    proxy: bool = False
    outcome: bool = False
    target: Annotated[float, Field(allow_inf_nan=False)] | None = None
    alert: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _in_itself(self) -> Metric:
        if faults := list(self._faults()):
            raise ValueError("; ".join(faults))
        return self

    def _faults(self) -> Iterator[str]:
        given = self.model_fields_set
        for name in NEEDS.get(self.estimator, ()):
            if not getattr(self, name):
                yield f"{self.estimator} needs `{name}`"
        for name, takers in TAKEN_BY.items():
            if name in given and self.estimator not in takers:
                yield f"`{name}` is for {', '.join(takers)}"
        if self.unit not in (None, *UNITS[self.estimator]):
            yield f"the unit of {self.estimator} is {' or '.join(UNITS[self.estimator])}, not {self.unit}"
        if self.variance not in (None, VARIANCES[self.estimator]):
            yield f"the variance of {self.estimator} is {VARIANCES[self.estimator]}, not {self.variance}"
        if self.estimator in QUESTIONS and self.table != "answers":
            yield f"{self.estimator} is read from the answers, not from {self.table}"
        if self.of_table is not None and not self.is_by_activity:
            yield '`of_table` is for shares with per = "customer" and estimators per active customer'
        if self.window in ("day", "week") and "ledger" in (self.table, self.of_table):
            yield "the ledger has months only; give a window of a month or longer"
        if self.proxy and self.outcome:
            yield "a proxy may be a driver, never an outcome of value"
        yield from self._limits()

    def _limits(self) -> Iterator[str]:
        for name in ("target", "alert"):
            limit = getattr(self, name)
            if limit is not None and self.is_share and not 0 <= limit <= 1:
                yield f"{name} {limit:g} is no share between 0 and 1"
            if limit is not None and self.estimator == "nps" and not -100 <= limit <= 100:
                yield f"{name} {limit:g} is no NPS between -100 and 100"
        if self.estimator in ("nps", "top_two") and self.direction == "down":
            yield f"more is always better of {self.estimator}, which is read from the better end of the scale"
        elif self.alert_is_better and (self.estimator not in ("mean", "quantile") or self.table != "answers"):
            yield f"the alert {self.alert:g} is better than the target {self.target:g}; is `direction` right?"

    @property
    def alert_is_better(self) -> bool:
        """Whether the alert lies on the better side of the target."""
        return self.target is not None and self.alert is not None and self.sign * (self.target - self.alert) < 0

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1."""
        return UNITS[self.estimator] == ("ratio",)

    @property
    def is_by_activity(self) -> bool:
        """Whether it is computed from customers in windows rather than from rows."""
        by_customer = self.estimator == "share" and self.per == "customer"
        return by_customer or self.estimator in ("adoption", "per_active", "earnings", "actives")

    @property
    def sign(self) -> int:
        """1 where more is better, −1 where less is."""
        return 1 if self.direction == "up" else -1

    @property
    def measured_in(self) -> MetricUnit:
        """The unit, said or following from the estimator."""
        return self.unit or UNITS[self.estimator][0]


class AboutTree(Declared):
    """Name of a tree and what it stands on.

    Attributes:
        name: Short name.
        title: Title for readers.
        north_star: The metric all others serve.
        extends: Templates that it starts from.
        without: Metrics of these templates that are left out.
    """

    name: Name
    title: Words
    north_star: Name
    extends: tuple[Name, ...] = ()
    without: tuple[Name, ...] = ()


class MetricTree(Declared):
    """What a company measures of its experience, why, and who answers for it.

    Attributes:
        about: Name, title and north star.
        goals: Goals by name.
        signals: Signals by name.
        metrics: Metrics by name, in the order of the file.
    """

    about: AboutTree = Field(alias="tree")
    goals: Mapping[Name, Goal] = Field(min_length=1)
    signals: Mapping[Name, Signal] = Field(min_length=1)
    metrics: Mapping[Name, Metric] = Field(min_length=1)

    @property
    def north_star(self) -> Metric:
        """The metric all others serve."""
        return self.metrics[self.about.north_star]

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of its journey in order: those of the model in which its metrics are placed."""
        used = {metric.stage for metric in self.metrics.values()}
        return next((model for model in (FIVE_STAGES, EIGHT_STAGES) if used & set(model)), ())

    @property
    def drivers(self) -> tuple[str, ...]:
        """Metrics that may explain others: all but the north star and outcomes."""
        kept = (name for name, metric in self.metrics.items() if not metric.outcome)
        return tuple(name for name in kept if name != self.about.north_star)

    def goal_of(self, metric: str) -> str:
        """Return the name of the goal that a metric serves."""
        return self.signals[self.metrics[metric].signal].goal

    def branches(self) -> Iterator[tuple[str, str, str]]:
        """Iterate over goal, signal and metric, in the order of the file."""
        for goal in self.goals:
            for signal in (name for name, each in self.signals.items() if each.goal == goal):
                yield from ((goal, signal, name) for name, each in self.metrics.items() if each.signal == signal)


def read_tree(path: str | Path, *, templates: Traversable | None = None) -> MetricTree:
    """Read a tree of metrics, or one that extends templates.

    Tables of the file are laid over those of the templates, name by name and setting by setting.

    Args:
        path: A TOML file.
        templates: Folder of the templates it may extend.

    Raises:
        DataError: Every fault of the file in one message.
    """
    content = read_toml(Path(path), "metric tree", DataError)
    return tree_of(content, str(path), templates=templates)


def tree_of(content: Mapping[str, Any], what: str, *, templates: Traversable | None = None) -> MetricTree:
    """Make a tree of what a file says; ``what`` names it in messages.

    Raises:
        DataError: Every fault in one message.
    """
    whole, faults = _laid_over(dict(content), templates)
    tree, found = validated(MetricTree, whole)
    faults += found
    if tree is not None:
        faults += _cross_faults(tree)
    if faults or tree is None:
        raise DataError(f"{what} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    return tree


def _laid_over(content: dict[str, Any], templates: Traversable | None) -> tuple[dict[str, Any], list[str]]:
    """Lay what a file says over its templates, and take out what it leaves out."""
    about = content.get("tree")
    about = about if isinstance(about, dict) else {}
    extends, without = (about.get(name, []) for name in ("extends", "without"))
    if not isinstance(extends, list) or not isinstance(without, list) or not extends:
        return content, ["tree.without: nothing is extended"] if without else []
    known = {} if templates is None else {each.name.removesuffix(".toml"): each for each in templates.iterdir()}
    known = {name: each for name, each in known.items() if each.name.endswith(".toml")}
    faults = [
        f"tree.extends: there is no template {name!r}; the templates are {', '.join(sorted(known)) or 'none'}"
        for name in extends
        if name not in known
    ]
    whole: dict[str, Any] = {}
    for name in extends:
        if name in known:
            whole = _merged(whole, tomllib.loads(known[name].read_text(encoding="utf-8")))
    if whole and not faults:
        missing = [name for name in without if name not in whole.get("metrics", {})]
        faults += [f"tree.without: the templates have no metric {name!r}" for name in missing]
    whole["metrics"] = {name: each for name, each in whole.get("metrics", {}).items() if name not in without}
    whole = _merged(whole, content)
    return _pruned(whole), faults


def _merged(under: dict[str, Any], over: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """Lay one table over another; a filter or a label is replaced whole."""
    merged = dict(under)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict) and depth > 1
        merged[name] = _merged(merged[name], value, depth - 1) if both else value
    return merged


def _pruned(content: dict[str, Any]) -> dict[str, Any]:
    """Leave out signals and goals of templates whose metrics have all been left out."""
    metrics, signals, goals = (content.get(name) for name in ("metrics", "signals", "goals"))
    if not (isinstance(metrics, dict) and isinstance(signals, dict) and isinstance(goals, dict)):
        return content
    used = {each.get("signal") for each in metrics.values() if isinstance(each, dict)}
    signals = {name: each for name, each in signals.items() if name in used}
    served = {each.get("goal") for each in signals.values() if isinstance(each, dict)}
    return {**content, "signals": signals, "goals": {name: each for name, each in goals.items() if name in served}}


def _cross_faults(tree: MetricTree) -> Iterator[str]:
    """List what is wrong between the parts."""
    for name, signal in tree.signals.items():
        if signal.goal not in tree.goals:
            yield f"signals.{name}.goal: there is no goal {signal.goal!r}; the goals are {', '.join(tree.goals)}"
    for name, metric in tree.metrics.items():
        if metric.signal not in tree.signals:
            known = ", ".join(tree.signals)
            yield f"metrics.{name}.signal: there is no signal {metric.signal!r}; the signals are {known}"
    measured = {metric.signal for metric in tree.metrics.values()}
    told = {signal.goal for signal in tree.signals.values()}
    yield from (f"signals.{name}: no metric measures it" for name in tree.signals if name not in measured)
    yield from (f"goals.{name}: no signal tells of it" for name in tree.goals if name not in told)
    star = tree.metrics.get(tree.about.north_star)
    if star is None:
        yield f"tree.north_star: there is no metric {tree.about.north_star!r}; they are {', '.join(tree.metrics)}"
    elif star.proxy:
        yield f"tree.north_star: {tree.about.north_star} is a proxy; name a metric of the experience or an outcome"
    five, eight = (
        [name for name, metric in tree.metrics.items() if metric.stage in model]
        for model in (FIVE_STAGES, EIGHT_STAGES)
    )
    if five and eight:
        yield (
            f"metrics: {', '.join(five)} stand in the five stages and {', '.join(eight)} in the eight; "
            "place all of them in one model of the journey"
        )
