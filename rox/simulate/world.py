"""The world: month by month from experience to answers, money and exits, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from rox.simulate.bank import NO_TOPIC, OTHER, VOLUNTARY, Bank, Intervention
from rox.simulate.config import BankConfig
from rox.simulate.contacts import ContactSurvey, draw_contacts
from rox.simulate.dials import DRIVERS
from rox.simulate.draws import Array, MonthlyDraws, stream
from rox.simulate.people import NEVER, Branches, Customers, by_segment, draw_branches, draw_customers, draw_market
from rox.simulate.survey import ask, rate, score_answer
from rox.simulate.touchpoints import befall, behave, speak_up

_RECORDED: Mapping[str, type] = {
    "opened": bool,
    "active": bool,
    "experience": np.float32,
    "balance": np.float64,
    "empty": bool,
    "empty_entry": np.float32,
    "log_survival": np.float64,
    "score": np.float32,
    "csat": np.float32,
    "ces": np.float32,
    "retest": np.float32,
    "invited": bool,
    "answered": bool,
    "incident": np.uint8,
    "complained": bool,
    "praised": bool,
    "suggested": bool,
    "eligible": bool,
    "called": bool,
    "referred": bool,
    "contacts": np.uint8,
    "logins": np.uint8,
    "failed_transfers": np.uint8,
    "visits": np.uint8,
    "revenue": np.float64,
}
_AS_IF_STAYED = frozenset(
    ("opened", "active", "experience", "balance", "empty", "empty_entry", "log_survival", "score", "csat", "ces")
)
_JANUARY, _FEBRUARY, _NOVEMBER = 0, 1, 10
_QUARTER_ENDS = (2, 5, 8, 11)
_LIFT_MEMORY = 0.95
_ATTENTION_SPAN = 3


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """What stays the same over the months: ``k`` counts them with the burn-in, ``month`` without."""

    config: BankConfig
    intervention: Intervention
    customers: Customers
    branches: Branches
    returns: Array
    start: Array

    @property
    def market(self) -> Array:
        return np.cumsum(self.returns)

    def of(self, dial: str) -> Array:
        return by_segment(self.config, dial, self.customers.segment)

    def at_branch(self, values: Array) -> Array:
        return values[self.customers.branch]

    def promotion(self, k: int) -> Array:
        return self.at_branch(self.branches.promotion[k][self.branches.region])

    def month_of_year(self, k: int) -> int:
        return int((self.config.first_month.astype(int) + k - self.config.burn_in) % 12)


@dataclass(kw_only=True)
class _State:
    """What customers carry from month to month. Exits do not stop it: the paths go on as if everybody had stayed."""

    shock: Array
    incident: Array
    lift: Array
    level: Array
    history: list[Array]
    empty: Array
    log_survival: Array
    exit_month: Array
    exit_cause: Array
    contacts: ContactSurvey | None


def simulate(config: BankConfig, intervention: Intervention | None = None) -> Bank:
    """Simulate a bank whose every effect is known.

    The same seed gives the same bank to the bit on one machine. Two calls that differ in the intervention alone share
    all luck: what differs between them was caused by it.

    Args:
        config: The dials.
        intervention: What is done to the bank; nothing by default.
    """
    setting = _set_up(config, intervention or Intervention())
    state, draws = _begin(setting), MonthlyDraws(config)
    record: dict[str, Array] = {
        name: np.zeros((config.months, config.customers), dtype) for name, dtype in _RECORDED.items()
    }
    ratings = []
    for k in range(config.burn_in + config.months):
        month = k - config.burn_in
        wave = month >= 0 and month % config.survey.every == config.survey.every - 1
        drawn = draws.next(wave=wave)
        topic = befall(config, drawn)
        experience = _feel(setting, state, drawn, topic, k)
        log_balance = _save(setting, state, drawn, experience, k)
        if month < 0:
            if state.contacts is not None:
                state.contacts.skip()
            continue
        seen = _live(setting, state, drawn, experience, log_balance, topic, k, wave=wave)
        if wave:
            ratings.append(seen["ratings"])
        for name in _RECORDED:
            record[name][month] = seen[name]
    return Bank(
        config=config,
        intervention=setting.intervention,
        customers=setting.customers,
        branches=setting.branches,
        market=setting.market[config.burn_in :],
        exit_month=state.exit_month,
        exit_cause=state.exit_cause,
        ratings=np.array(ratings, np.float32).reshape(-1, config.customers, len(DRIVERS)),
        panel=None if state.contacts is None else state.contacts.panel(),
        **record,
    )


def _set_up(config: BankConfig, intervention: Intervention) -> _Setting:
    branches = draw_branches(config)
    return _Setting(
        config=config,
        intervention=intervention,
        customers=draw_customers(config, branches),
        branches=branches,
        returns=draw_market(config),
        start=branches.start if intervention.rollout else np.full_like(branches.start, NEVER),
    )


def _begin(setting: _Setting) -> _State:
    """Start from the level that goes with the mean experience, before the burn-in."""
    config, customers, n = setting.config, setting.customers, setting.config.customers
    rng = stream(config.seed, "beginning")
    shock = config.experience.shock_sd * rng.standard_normal(n)
    contacts = draw_contacts(config, customers)
    level = _target(setting, customers.experience) + config.money.start_sd * rng.standard_normal(n)
    return _State(
        shock=shock,
        incident=np.zeros(n),
        lift=np.zeros(n),
        level=level,
        history=[level] * (_ATTENTION_SPAN + 1),
        empty=np.zeros(n, bool),
        log_survival=np.zeros(n),
        exit_month=np.full(n, NEVER),
        exit_cause=np.zeros(n, np.uint8),
        contacts=None if contacts is None else ContactSurvey(config, contacts),
    )


def _refit_gain(setting: _Setting, month: int) -> Array:
    """Points of experience each customer owes to the refit of the branch by this month."""
    rollout, branches = setting.config.rollout, setting.branches
    share = np.clip((month - setting.start + 1) / rollout.ramp, 0.0, 1.0)
    return setting.at_branch(branches.effect * share) * setting.of("rollout_multiplier")


def _feel(setting: _Setting, state: _State, drawn: Mapping[str, Array], topic: Array, k: int) -> Array:
    """Move latent experience by a month."""
    config, dials, month = setting.config, setting.config.experience, k - setting.config.burn_in
    memory = dials.shock_memory
    state.shock = memory * state.shock + dials.shock_sd * np.sqrt(1 - memory**2) * drawn["shock"]
    state.incident = dials.incident_memory * state.incident - dials.incident_drop * (topic != NO_TOPIC)
    state.lift = _LIFT_MEMORY * state.lift
    growth = state.history[-1] - state.history[0] - _ATTENTION_SPAN * config.traits.growth_mean
    experience = (
        setting.customers.experience
        + state.shock
        + state.incident
        + state.lift
        + setting.at_branch(setting.branches.shock[k])
        + _season_of_experience(config, setting.month_of_year(k))
        + dials.mood * setting.returns[k] / config.money.market_sd
        + config.calendar.promotion_experience * setting.promotion(k)
        + dials.attention * setting.of("attention") * np.clip(growth, -0.5, 0.5)
        + _refit_gain(setting, month)
    )
    if state.contacts is not None:
        experience = experience + state.contacts.pull(k)
    given = setting.intervention
    shifted: Array = experience + (given.shift if month >= given.shift_from else 0.0)
    return shifted


def _season_of_experience(config: BankConfig, month_of_year: int) -> float:
    by_month = {_JANUARY: -0.15, _FEBRUARY: -0.15, _NOVEMBER: 0.10}
    return config.calendar.season * by_month.get(month_of_year, 0.0)


def _season_of_money(config: BankConfig, month_of_year: int) -> float:
    by_month = {_JANUARY: 0.02, _FEBRUARY: -0.04} | dict.fromkeys(_QUARTER_ENDS, 0.03)
    return config.calendar.season * by_month.get(month_of_year, 0.0)


def _target(setting: _Setting, experience: Array) -> Array:
    """Give the level of log AUM that goes with an experience in the long run."""
    money, gap = setting.config.money, experience - 7.0
    bent = np.where(gap < 0, money.slope_below * gap, money.slope_above * gap)
    bent = bent + money.slope_low * np.minimum(experience - 5.5, 0.0)
    target: Array = setting.customers.anchor + setting.of("money_response") * bent
    return target


def _save(setting: _Setting, state: _State, drawn: Mapping[str, Array], experience: Array, k: int) -> Array:
    """Move log AUM by a month towards its level; give the log of the balance at its end."""
    config, month = setting.config, k - setting.config.burn_in
    gap = _target(setting, experience) - state.level
    state.level = state.level + config.money.adjustment * gap + drawn["money"]
    trend = setting.customers.growth * month + setting.of("market") * setting.market[k]
    state.history = [*state.history[1:], state.level + trend]
    passing = _season_of_money(config, setting.month_of_year(k)) + config.calendar.promotion_money * setting.promotion(
        k
    )
    return state.history[-1] + passing + config.rollout.direct * setting.at_branch(month >= setting.start)


def _live(
    setting: _Setting,
    state: _State,
    drawn: Mapping[str, Array],
    experience: Array,
    log_balance: Array,
    topic: Array,
    k: int,
    *,
    wave: bool,
) -> dict[str, Array]:
    """Let a month of the window happen; give what there is to record of it."""
    config, customers, month = setting.config, setting.customers, k - setting.config.burn_in
    opened = month >= customers.opened
    active = opened & (state.exit_month > month)
    entry = setting.of("zero_entry") * np.exp(-config.money.zero_tilt * (experience - 7))
    state.empty = np.where(state.empty, drawn["zero"] > config.money.zero_leave, drawn["zero"] < entry)
    balance = np.where(opened, np.exp(log_balance), 0.0)
    seen = {
        "opened": opened,
        "active": active,
        "experience": experience,
        "balance": balance,
        "empty": state.empty,
        "empty_entry": entry,
        "log_survival": state.log_survival,
        "incident": topic,
        **_hear(setting, state, drawn, experience, opened, active, month, wave=wave),
        **speak_up(config, customers, experience, opened, topic, drawn),
        **behave(setting.of, config, customers, experience, opened, topic, drawn),
    }
    seen["revenue"] = _bill(setting, state, drawn, balance)
    seen["eligible"] = seen["complained"] | seen.pop("low")
    seen["called"] = seen["eligible"] & _calls(setting, drawn, k)
    if setting.intervention.recovery:
        state.incident = np.where(seen["called"], (1 - config.recovery.share) * state.incident, state.incident)
        state.lift = state.lift + config.recovery.lift * seen["called"]
    _leave(setting, state, drawn, experience, opened, active, month)
    nothing = {name: np.nan if name == "retest" else 0 for name in _RECORDED if name not in _AS_IF_STAYED}
    return seen | {name: np.where(active, seen[name], value) for name, value in nothing.items()}


def _hear(
    setting: _Setting,
    state: _State,
    drawn: Mapping[str, Array],
    experience: Array,
    opened: Array,
    active: Array,
    month: int,
    *,
    wave: bool,
) -> dict[str, Array]:
    """Give what customers, or the contacts of accounts, would say and who is asked and answers."""
    config, customers, gain = setting.config, setting.customers, _refit_gain(setting, month)
    if state.contacts is not None:
        return state.contacts.month(experience, opened, active, gain, month, wave=wave)
    score = np.where(opened, score_answer(config, customers, experience, drawn["score_noise"]), np.nan)
    heard = {"score": score, **ask(config, customers, experience, opened, drawn, month, wave=wave)}
    heard["low"] = heard["answered"] & (score <= 6)
    if wave:
        heard["ratings"] = rate(config, customers, experience, gain, drawn)
    return heard


def _bill(setting: _Setting, state: _State, drawn: Mapping[str, Array], balance: Array) -> Array:
    """Give the month's revenue: the margin on the balance, noisily, and fees by product."""
    money = setting.config.money
    noise = np.exp(money.revenue_noise * drawn["revenue"].astype(float) - money.revenue_noise**2 / 2)
    held = np.where(state.empty, 0.0, balance)
    return setting.of("margin") / 12 * held * noise + money.fee * setting.customers.products


def _calls(setting: _Setting, drawn: Mapping[str, Array], k: int) -> Array:
    """Let managers choose whom to call: by wealth, engagement and judgement, and as time allows."""
    dials, customers = setting.config.recovery, setting.customers
    appeal = 0.6 * customers.wealth + 0.6 * customers.judgement + 0.3 * customers.engagement
    capacity = dials.capacity * setting.at_branch(setting.branches.capacity[k])
    chance: Array = expit(dials.call + dials.selection * appeal + capacity)
    return np.asarray(~customers.held_out & (drawn["call"] < chance))


def _leave(
    setting: _Setting,
    state: _State,
    drawn: Mapping[str, Array],
    experience: Array,
    opened: Array,
    active: Array,
    month: int,
) -> None:
    """Let customers leave at the end of the month, of two causes, and go on counting the chance for all."""
    dials, customers = setting.config.exits, setting.customers
    tenure = np.clip(month - customers.opened, 0, 120)
    log_rate = (
        -dials.experience * (experience - 7)
        - dials.engagement * customers.engagement
        - dials.tenure * (tenure - 50)
        + customers.frailty
        - dials.frailty**2 / 2
    )
    voluntary = -np.log1p(-setting.of("voluntary_exit")) / 12 * np.exp(log_rate)
    other = -np.log1p(-setting.of("other_exit")) / 12 * np.exp(dials.age * (customers.age - 45))
    state.log_survival = state.log_survival - (voluntary + other) * opened
    first = active & (drawn["voluntary_exit"] < -np.expm1(-voluntary))
    second = active & ~first & (drawn["other_exit"] < -np.expm1(-other))
    state.exit_month = np.where(first | second, month, state.exit_month)
    state.exit_cause = np.where(first, VOLUNTARY, np.where(second, OTHER, state.exit_cause)).astype(np.uint8)
