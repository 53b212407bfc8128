"""Choose one option from each of several choices under limits, weighing the mean against the worst outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, hstack, identity

from rox.numerics.arrays import Floats, complain, freeze, in_unit_interval

MOST_SCENARIOS = 2_000
"""Scenarios that a search with an aversion to bad outcomes takes; each is a row of the programme."""
EXACT = 1e3
"""Size to which rows are scaled, so that the solver's tolerance of 1e-6 is a billionth of a limit."""
LEAST = 1e-300


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Options of which exactly one is taken. k = options, n = scenarios, r = resources, m = items."""

    gains: Floats
    """(k, n) what each option earns in each scenario."""
    uses: Floats
    """(k, r) what each option takes of each resource."""
    holds: Floats
    """(k, m) 1 where an option holds an item that rules speak of, else 0."""

    def __post_init__(self) -> None:
        freeze(self, "gains", "uses", "holds")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a plan must keep to."""

    limits: Floats
    """(r,) the most of each resource; infinite where there is no limit."""
    needs: tuple[tuple[int, int], ...] = ()
    """Pairs of items: the first is taken only with the second."""
    excludes: tuple[tuple[int, ...], ...] = ()
    """Sets of items of which at most one is taken."""

    def __post_init__(self) -> None:
        freeze(self, "limits")


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """A plan and what it earns."""

    options: tuple[int, ...]
    """Option taken from each choice."""
    objective: float
    """mean - aversion * shortfall."""
    mean: float
    """Mean gain over the scenarios."""
    shortfall: float
    """Expected loss in the worst scenarios; negative where even they gain."""
    uses: Floats
    """(r,) taken of each resource."""

    def __post_init__(self) -> None:
        freeze(self, "uses")


def expected_shortfall(gains: ArrayLike, tail: float = 0.05) -> float:
    """Return the mean loss in the worst share of scenarios, CVaR (Rockafellar & Uryasev 2000, eq. 4).

    Args:
        gains: (n,) gains of equally likely scenarios.
        tail: share of scenarios that count as the worst; a scenario on the edge counts by the part inside.

    Example:
        >>> expected_shortfall([-8.0, -2.0, 5.0, 9.0], 0.5)
        5.0
    """
    in_unit_interval(tail, "tail")
    ordered = np.sort(np.asarray(gains, dtype=float))
    inside = tail * len(ordered)
    weights = np.clip(inside - np.arange(len(ordered)), 0, 1)
    return float(-(weights @ ordered) / inside)


def gains_of(choices: Sequence[Choice], options: Sequence[int]) -> Floats:
    """Return a plan's gain in each scenario, (n,)."""
    return np.asarray(sum(choice.gains[option] for choice, option in zip(choices, options, strict=True)), dtype=float)


def allocate(choices: Sequence[Choice], rules: Rules, *, aversion: float = 0.0, tail: float = 0.05) -> Allocation:
    """Find the plan with the largest mean - aversion * CVaR, by mixed-integer linear programming.

    CVaR enters through the auxiliary variables of Rockafellar & Uryasev (2000): the least, over t, of
    t + mean((loss - t)+) / tail. Without aversion the programme holds the means alone.

    Args:
        choices: one option of each is taken; options of choices that interact belong into one choice.
        rules: limits, precedence and exclusions.
        aversion: weight of the expected shortfall, 0 or more.
        tail: share of scenarios that count as the worst.

    Raises:
        ValueError: arrays that do not fit, too many scenarios for an aversion, or no plan that keeps the rules.
    """
    _require(choices, rules, aversion, tail)
    scenarios = choices[0].gains.shape[1]
    unit = max(float(np.abs(choice.gains).max()) for choice in choices) or 1.0
    gains = np.concatenate([choice.gains for choice in choices]) / unit * EXACT
    with_tail = aversion > 0
    extra = 1 + scenarios if with_tail else 0
    cost = np.concatenate(
        [-gains.mean(axis=1), *([[aversion], np.full(scenarios, aversion / tail / scenarios)] * with_tail)]
    )
    size = len(gains)
    rows, least, most = _constraints(choices, rules)
    wide = hstack([csr_matrix(rows), csr_matrix((len(rows), extra))], format="csr") if extra else csr_matrix(rows)
    constraints = [LinearConstraint(wide, least, most)]
    if with_tail:
        minus = csr_matrix(np.full((scenarios, 1), -1.0))
        losses = hstack([csr_matrix(-gains.T), minus, -identity(scenarios)], format="csr")
        constraints.append(LinearConstraint(losses, -np.inf, 0.0))
    low = np.concatenate([np.zeros(size), *([[-np.inf], np.zeros(scenarios)] * with_tail)])
    high = np.concatenate([np.ones(size), np.full(extra, np.inf)])
    kinds = np.concatenate([np.ones(size), np.zeros(extra)])
    found = milp(cost, integrality=kinds, bounds=Bounds(low, high), constraints=constraints, options={"mip_rel_gap": 0})
    if found.x is None or found.status != 0:
        raise ValueError(f"no plan keeps the limits and rules: {found.message}")
    return _allocation(choices, _options(choices, found.x[:size]), aversion, tail)


def measured(
    choices: Sequence[Choice], options: Sequence[int], *, aversion: float = 0.0, tail: float = 0.05
) -> Allocation:
    """Return what a given plan earns and takes, whether or not it keeps any rules."""
    return _allocation(choices, tuple(options), aversion, tail)


def _allocation(choices: Sequence[Choice], options: tuple[int, ...], aversion: float, tail: float) -> Allocation:
    gains = gains_of(choices, options)
    mean, shortfall = float(gains.mean()), expected_shortfall(gains, tail)
    uses = sum(choice.uses[option] for choice, option in zip(choices, options, strict=True))
    return Allocation(
        options=options,
        objective=mean - aversion * shortfall,
        mean=mean,
        shortfall=shortfall,
        uses=np.asarray(uses, dtype=float),
    )


def _options(choices: Sequence[Choice], taken: NDArray[np.float64]) -> tuple[int, ...]:
    ends = np.cumsum([len(choice.gains) for choice in choices])
    return tuple(int(np.argmax(part)) for part in np.split(taken, ends[:-1]))


def _constraints(choices: Sequence[Choice], rules: Rules) -> tuple[Floats, Floats, Floats]:
    """Return rows with their lower and upper bounds: one option each, limits, precedence, exclusions."""
    owner = np.repeat(np.arange(len(choices)), [len(choice.gains) for choice in choices])
    uses = np.concatenate([choice.uses for choice in choices]).T
    items = np.concatenate([choice.holds for choice in choices]).T
    finite = np.isfinite(rules.limits)
    scale = EXACT / np.maximum(np.maximum(np.abs(rules.limits), np.abs(uses).max(axis=1)), LEAST)[finite]
    blocks: list[tuple[Floats, float | Floats, float | Floats]] = [
        ((owner == np.arange(len(choices))[:, None]).astype(float), 1.0, 1.0),
        (uses[finite] * scale[:, None], -np.inf, rules.limits[finite] * scale),
        *(((items[first] - items[second])[None, :], -np.inf, 0.0) for first, second in rules.needs),
        *((items[list(several)].sum(axis=0)[None, :], -np.inf, 1.0) for several in rules.excludes),
    ]
    sizes = [len(rows) for rows, _, _ in blocks]
    least = np.concatenate([np.broadcast_to(low, size) for (_, low, _), size in zip(blocks, sizes, strict=True)])
    most = np.concatenate([np.broadcast_to(high, size) for (_, _, high), size in zip(blocks, sizes, strict=True)])
    return np.concatenate([rows for rows, _, _ in blocks]), least, most


def _require(choices: Sequence[Choice], rules: Rules, aversion: float, tail: float) -> None:
    in_unit_interval(tail, "tail")
    faults = []
    if not choices:
        faults.append("needs at least one choice")
    if not aversion >= 0:
        faults.append(f"needs an aversion of 0 or more, got {aversion}")
    shapes = {(each.gains.shape[1:], each.uses.shape[1:], each.holds.shape[1:]) for each in choices}
    if len(shapes) > 1:
        faults.append("all choices need the same scenarios, resources and items")
    for place, each in enumerate(choices):
        if not len(each.gains) == len(each.uses) == len(each.holds) or not len(each.gains):
            faults.append(f"choice {place}: needs as many rows of gains, uses and holds, at least one")
        if not (np.isfinite(each.gains).all() and np.isfinite(each.uses).all()):
            faults.append(f"choice {place}: gains and uses must be finite")
    if choices and choices[0].uses.shape[1:] != rules.limits.shape:
        faults.append(f"{choices[0].uses.shape[1]} resources and {len(rules.limits)} limits")
    if choices and aversion > 0 and choices[0].gains.shape[1] > MOST_SCENARIOS:
        faults.append(f"with an aversion at most {MOST_SCENARIOS} scenarios, got {choices[0].gains.shape[1]}")
    complain(faults)
