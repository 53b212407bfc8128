"""Who is in a bank before anything happens: customers, branches, markets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from rox.simulate.config import BankConfig
from rox.simulate.dials import DRIVERS
from rox.simulate.draws import Array, stream

NEVER = 1_000_000
"""A month that does not come: the start of a branch never refitted, the exit of a customer who stays."""
REGIONS = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Customers:
    """What is fixed about each customer; arrays have shape ``(customers,)``.

    Attributes:
        identifier: Ten digits as text; says nothing about the customer.
        segment: Position in ``BankConfig.segments``.
        branch: Position among the branches.
        wealth: Standardised rank of wealth within the segment.
        engagement: Standardised, unobserved.
        judgement: Standardised growth of the customer's own money: unobserved, but the manager senses it.
        growth: Monthly drift of log AUM, the branch's included.
        anchor: Level of log AUM at experience 7, before drift and market.
        experience: Mean latent experience.
        drivers: Standardised experience of each of ``DRIVERS``, ``(customers, drivers)``.
        frailty: Unobserved log hazard of a voluntary exit.
        style: Points by which the customer answers high or low as a habit.
        careless: Whether the customer always ticks the best answer.
        age: Years, at the start of the window.
        opened: Month the account was opened; negative before the window.
        logins: Observed proxy of engagement, standardised.
        products: Products held; another proxy.
        held_out: Whether by lot never called by the closed loop.
    """

    identifier: Array
    segment: Array
    branch: Array
    wealth: Array
    engagement: Array
    judgement: Array
    growth: Array
    anchor: Array
    experience: Array
    drivers: Array
    frailty: Array
    style: Array
    careless: Array
    age: Array
    opened: Array
    logins: Array
    products: Array
    held_out: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Branches:
    """The branches, the roll-out's order, and what moves a branch in each month.

    Attributes:
        level: Lasting difference of experience, ``(branches,)``.
        growth: Drift of log AUM, ``(branches,)``.
        shock: Points of experience by month, burn-in included, ``(burn_in + months, branches)``.
        start: Month of the refit, ``NEVER`` for the never treated, ``(branches,)``.
        effect: Points the refit adds in the end, ``(branches,)``.
        capacity: Whether its managers have time to call, as ``shock``.
        region: Region of each branch, ``(branches,)``.
        promotion: Whether a region has a promotion, ``(burn_in + months, regions)``.
    """

    level: Array
    growth: Array
    shock: Array
    start: Array
    effect: Array
    capacity: Array
    region: Array
    promotion: Array


def draw_branches(config: BankConfig) -> Branches:
    """Draw the branches and the order in which they are refitted."""
    n, months = config.branches, config.burn_in + config.months
    dials, rng = config.experience, stream(config.seed, "branches")
    level = dials.branch_sd * rng.standard_normal(n)
    growth = config.traits.branch_growth_sd * rng.standard_normal(n)
    innovations = dials.branch_shock_sd * rng.standard_normal((months, n))
    memory = dials.branch_shock_memory
    shock = np.empty((months, n))
    shock[0] = innovations[0]
    for k in range(1, months):
        shock[k] = memory * shock[k - 1] + np.sqrt(1 - memory**2) * innovations[k]
    start, effect = _rollout_order(config, growth, shock)
    return Branches(
        level=level,
        growth=growth,
        shock=shock,
        start=start,
        effect=effect,
        capacity=stream(config.seed, "capacity").standard_normal((months, n)) > 0,
        region=np.arange(n) % REGIONS,
        promotion=stream(config.seed, "promotions").random((months, REGIONS)) < config.calendar.promotion_rate,
    )


def _rollout_order(config: BankConfig, growth: Array, shock: Array) -> tuple[Array, Array]:
    """Sort the branches into cohorts of equal size, the never treated last; give start and effect by branch."""
    rollout, n = config.rollout, config.branches
    lot = stream(config.seed, "rollout").standard_normal(n)
    if rollout.selection == "dip" and rollout.starts:
        first = config.burn_in + rollout.starts[0]
        key = shock[first - 3 : first].mean(axis=0) / max(config.experience.branch_shock_sd, 1e-9) + 0.5 * lot
    elif rollout.selection == "trend":
        key = -growth / max(config.traits.branch_growth_sd, 1e-9) + 0.5 * lot
    else:
        key = lot
    cohort = np.argsort(np.argsort(key)) * (len(rollout.starts) + 1) // n
    return np.array([*rollout.starts, NEVER])[cohort], np.array([*rollout.effects, 0.0])[cohort]


def draw_customers(config: BankConfig, branches: Branches) -> Customers:
    """Draw the customers; wealth, drift and engagement tilt their experience as the dials say."""
    n, traits = config.customers, config.traits
    rng = stream(config.seed, "customers")
    segment = np.repeat(np.arange(len(config.segments)), config.sampled)
    wealth, engagement, judgement = rng.standard_normal((3, n))
    drivers = rng.standard_normal((n, len(DRIVERS)))
    frailty = config.exits.frailty * rng.standard_normal(n)
    style = config.survey.style_sd * rng.standard_normal(n)
    careless = rng.random(n) < config.survey.careless
    age = np.clip(rng.normal(42 + 3 * segment, 11), 18, 85)
    proxies = np.sqrt(traits.proxy_reliability) * engagement[:, None]
    proxies = proxies + np.sqrt(1 - traits.proxy_reliability) * rng.standard_normal((n, 2))
    is_new, opened_new = rng.random(n) < traits.new_share, 1 + (rng.random(n) * (config.months - 1)).astype(int)
    tenure = np.minimum(rng.gamma(2.0, traits.tenure, n).astype(int) + 1, (12 * (age - 16)).astype(int))
    branch = stream(config.seed, "branch").integers(0, config.branches, n)
    tilt = by_segment(config, "wealth_tilt", segment) * wealth + by_segment(config, "growth_tilt", segment) * judgement
    weighted = sum(weight * drivers[:, k] for k, weight in enumerate(traits.driver_weights))
    mean = by_segment(config, "experience", segment) + tilt + traits.engagement_tilt * engagement
    return Customers(
        identifier=_identifiers(config),
        segment=segment,
        branch=branch,
        wealth=wealth,
        engagement=engagement,
        judgement=judgement,
        growth=traits.growth_mean + traits.growth_sd * judgement + branches.growth[branch],
        anchor=_anchor(config, segment, wealth),
        experience=mean + weighted + branches.level[branch],
        drivers=drivers,
        frailty=frailty,
        style=style,
        careless=careless,
        age=age,
        opened=np.where(is_new, opened_new, -tenure),
        logins=proxies[:, 0],
        products=np.clip(np.rint(2 + 0.8 * segment + proxies[:, 1]), 1, 9).astype(int),
        held_out=stream(config.seed, "hold_out").random(n) < config.recovery.hold_out,
    )


def by_segment(config: BankConfig, dial: str, segment: Array) -> Array:
    """Spread a dial of the segments over customers."""
    return np.array([float(getattr(one, dial)) for one in config.segments])[segment]


def _anchor(config: BankConfig, segment: Array, wealth: Array) -> Array:
    """Give log AUM at experience 7: log-normal within a segment, or Pareto above its smallest balance."""
    least = np.log(by_segment(config, "aum_median", segment))
    tail = by_segment(config, "pareto_tail", segment)
    normal = least + by_segment(config, "aum_log_sd", segment) * wealth
    pareto = least - np.log(np.maximum(ndtr(-wealth), 1e-12)) / np.where(tail > 0, tail, 1.0)
    anchor: Array = np.where(tail > 0, pareto, normal)
    return anchor


def _identifiers(config: BankConfig) -> Array:
    """Draw distinct ten-digit identifiers with leading zeros."""
    numbers = stream(config.seed, "identifiers").choice(99_900_000, size=config.customers, replace=False) + 100_000
    return np.array([f"{number:010d}" for number in numbers])


def draw_market(config: BankConfig) -> Array:
    """Draw the monthly log returns of the market, burn-in included."""
    months = config.burn_in + config.months
    return stream(config.seed, "market").normal(config.money.market_mean, config.money.market_sd, months)
