"""The account-opening funnel: applicants under both forms, and what the new form truly does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from rox.core.errors import RoxError
from rox.simulate.config import BankConfig
from rox.simulate.draws import Array, stream
from rox.simulate.funnel_dials import STEPS, Channel, Funnel
from rox.simulate.rows import days, numbered

FOLLOW_UP = 90
"""Days after the start when money is read."""
ALL = "all"
"""Row of all channels together."""
_DAY, _MONTH = np.timedelta64(1, "D"), np.timedelta64(1, "M")
_NODES = 80

Mix = Literal["before", "after"] | Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Applications:
    """Everybody who began to open an account, under both forms and the same luck; arrays ``(applicants,)``.

    Attributes:
        config: The dials.
        month: Month of the start.
        started: Its day.
        channel: Position in ``Funnel.channels``.
        phone: Whether on a phone.
        intent: Standardised, unobserved.
        tested: Whether the form was chosen by lot.
        new_form: Whether the applicant met the new form.
        reached_old: Steps that the applicant passes in the old form.
        reached_new: Steps in the new one.
        funded: Day on which an account would be funded.
        balance: Money 90 days after the start once the account is funded, CNY; 0 where it is dormant.
    """

    config: BankConfig
    month: Array
    started: Array
    channel: Array
    phone: Array
    intent: Array
    tested: Array
    new_form: Array
    reached_old: Array
    reached_new: Array
    funded: Array
    balance: Array

    def __post_init__(self) -> None:
        for item in fields(self):
            if isinstance(value := getattr(self, item.name), np.ndarray):
                value.setflags(write=False)

    @property
    def reached(self) -> Array:
        """Steps passed in the form that was met."""
        return np.where(self.new_form, self.reached_new, self.reached_old)

    def table(self) -> pd.DataFrame:
        """Give what the bank would hand over: one row per applicant, as known at the end of the window.

        Returns:
            ``applicant_id``; ``month``, its first day; ``started``; ``channel``; ``device``; ``variant``, ``old`` or
            ``new``; ``assigned``, ``lot`` in the months of the test and ``all`` elsewhere; ``reached``, steps passed;
            ``funded``, 1 or 0; ``aum_90``, money 90 days after the start, 0 without a funded account, missing where
            the window ends earlier. Whoever started shortly before the end may still come to be funded.
        """
        end = (self.config.first_month + self.config.months * _MONTH).astype("datetime64[D]") - _DAY
        complete = self.reached == len(STEPS)
        funded = complete & (self.funded <= end)
        channels = self.config.funnel.channels
        elsewhere = np.array([channel.elsewhere for channel in channels])[self.channel]
        money = np.where(self.started + FOLLOW_UP * _DAY <= end, np.where(complete, self.balance, 0.0).round(2), np.nan)
        order = np.lexsort((np.arange(len(self.month)), self.started))
        frame = pd.DataFrame(
            {
                "month": days((self.config.first_month + self.month * _MONTH).astype("datetime64[D]")),
                "started": days(self.started),
                "channel": np.array([channel.name for channel in channels])[self.channel],
                "device": np.where(self.phone, "phone", elsewhere),
                "variant": np.where(self.new_form, "new", "old"),
                "assigned": np.where(self.tested, "lot", "all"),
                "reached": np.where(funded, len(STEPS), np.minimum(self.reached, len(STEPS) - 1)),
                "funded": funded.astype(int),
                "aum_90": money,
            }
        )
        frame = frame.iloc[order].reset_index(drop=True)
        frame.insert(0, "applicant_id", numbered("N", len(frame)))
        return frame


def open_accounts(config: BankConfig) -> Applications:
    """Simulate the funnel of a bank.

    Applicants have no part in the rest of the bank, and drawing them changes nothing there.

    Args:
        config: The dials.
    """
    funnel, n = config.funnel, config.funnel.applicants

    def chance(purpose: str) -> Array:
        return stream(config.seed, f"funnel {purpose}").random(n)

    def normal(purpose: str) -> Array:
        return stream(config.seed, f"funnel {purpose}").standard_normal(n)

    month = (chance("month") * config.months).astype(int)
    shares = np.cumsum(_mix_by_month(config), axis=1)[month]
    channel = np.minimum((chance("channel")[:, None] >= shares).sum(axis=1), len(funnel.channels) - 1)
    phone = chance("device") < np.array([one.phone for one in funnel.channels])[channel]
    tested = (month >= funnel.test_start) & (month < funnel.test_end)
    intent = normal("intent")
    log_odds = _log_odds(funnel)[channel] + (funnel.intent_sd * intent + _by_phone(funnel, channel, phone))[:, None]
    log_odds = log_odds + _promoted(funnel, month)[:, None] * np.array(funnel.promotion)
    luck = stream(config.seed, "funnel steps").random((n, len(STEPS)))
    old, new = (
        np.cumprod(luck < expit(log_odds + gain), axis=1).sum(axis=1)
        for gain in (0.0, np.log(np.array(funnel.odds_ratios)))
    )
    first = (config.first_month + month * _MONTH).astype("datetime64[D]")
    length = ((config.first_month + (month + 1) * _MONTH).astype("datetime64[D]") - first) // _DAY
    started = first + (chance("day") * length).astype(int) * _DAY
    typical = np.log(np.array([one.balance for one in funnel.channels]))[channel]
    balance = np.exp(typical + funnel.balance_intent * intent + funnel.balance_sd * normal("balance"))
    dormant = chance("dormant") < expit(funnel.dormant - funnel.dormant_intent * intent)
    wait = np.minimum(-funnel.funding_days * np.log1p(-chance("funding")), FOLLOW_UP - 1)
    return Applications(
        config=config,
        month=month,
        started=started,
        channel=channel,
        phone=phone,
        intent=intent,
        tested=tested,
        new_form=(month >= funnel.test_end) | (tested & (chance("variant") < funnel.test_share)),
        reached_old=old,
        reached_new=new,
        funded=started + wait.astype(int) * _DAY,
        balance=np.where(dormant, 0.0, balance),
    )


def funnel_truth(config: BankConfig, *, mix: Mix = "after", promotion: bool = False) -> pd.DataFrame:
    """Say what the new form does to applicants of a fixed mix of channels, exactly.

    The estimand is the change of the probability that somebody who begins comes to hold a funded account, relative and
    in percentage points. It is integrated over intent (Gauss–Hermite), so it holds no luck.

    Args:
        config: The dials.
        mix: Shares of the channels: ``before`` or ``after`` the drift, or shares by name.
        promotion: Whether the promotion runs.

    Returns:
        One row per channel and one, ``all``, for the mix: ``share`` of applicants; ``old`` and ``new``, probability of
        a funded account; ``points``, percentage points gained; ``relative``, the relative uplift; ``aum_old`` and
        ``aum_new``, money after 90 days per applicant, CNY; ``per_opener``, money per funded account in the old form,
        and ``per_extra_opener``, per account that the new form adds.

    Raises:
        RoxError: The mix names other channels, or its shares do not add up to 1.
    """
    funnel, shares = config.funnel, _mix(config.funnel, mix)
    by_channel = [
        [_expected(funnel, channel, gain, promotion) for gain in (np.zeros(len(STEPS)), np.log(funnel.odds_ratios))]
        for channel in funnel.channels
    ]
    found = np.array(by_channel)
    found = np.concatenate([found, np.tensordot(shares, found, axes=1)[None]])
    (old, aum_old), (new, aum_new) = found[:, 0].T, found[:, 1].T
    gained = np.where(new > old, new - old, np.nan)
    columns = {
        "share": [*shares, 1.0],
        "old": old,
        "new": new,
        "points": 100 * (new - old),
        "relative": new / old - 1,
        "aum_old": aum_old,
        "aum_new": aum_new,
        "per_opener": aum_old / old,
        "per_extra_opener": (aum_new - aum_old) / gained,
    }
    return pd.DataFrame(columns, index=[*(channel.name for channel in funnel.channels), ALL])


def funnel_steps(config: BankConfig, *, mix: Mix = "after", promotion: bool = False) -> pd.DataFrame:
    """Say, step by step, how many pass in a fixed mix, and what each step's improvement does by itself, exactly.

    Args:
        config: The dials.
        mix: As of :func:`funnel_truth`.
        promotion: As of :func:`funnel_truth`.

    Returns:
        One row per step: ``old`` and ``new``, share passing it of those who come to it; ``alone``, relative uplift of
        the whole funnel if the new form changed this step alone. What stands alone does not add up to the whole.
    """
    funnel, shares = config.funnel, _mix(config.funnel, mix)
    none, gain = np.zeros(len(STEPS)), np.log(np.array(funnel.odds_ratios))

    def reach(change: Array) -> Array:
        """Share of all who begin that passes each step."""
        return np.tensordot(shares, [_reach(funnel, one, change, promotion) for one in funnel.channels], axes=1)

    rates = {name: reach(change) for name, change in (("old", none), ("new", gain))}
    columns = {name: through / np.array([1.0, *through[:-1]]) for name, through in rates.items()}
    alone = [reach(np.where(np.arange(len(STEPS)) == k, gain, 0.0))[-1] for k in range(len(STEPS))]
    columns["alone"] = np.array(alone) / rates["old"][-1] - 1
    return pd.DataFrame(columns, index=list(STEPS))


def _mix(funnel: Funnel, mix: Mix) -> Array:
    """Give the shares of the channels, in order."""
    names = [channel.name for channel in funnel.channels]
    if isinstance(mix, str):
        if mix not in ("before", "after"):
            raise RoxError(f"There is no mix {mix!r}.", ["choose 'before' or 'after', or give shares by channel"])
        return np.array([getattr(channel, f"share_{mix}") for channel in funnel.channels])
    if set(mix) != set(names) or abs(sum(mix.values()) - 1) > 1e-9:
        raise RoxError("This mix does not fit the channels.", [f"give shares of {', '.join(names)} that add up to 1"])
    return np.array([mix[name] for name in names])


def _mix_by_month(config: BankConfig) -> Array:
    """Give the shares of the channels in each month, ``(months, channels)``."""
    funnel, month = config.funnel, np.arange(config.months)
    if funnel.drift_months == 0:
        return np.tile(_mix(funnel, "before"), (config.months, 1))
    progress = np.clip((month - funnel.drift_start) / funnel.drift_months, 0.0, 1.0)[:, None]
    return np.asarray((1 - progress) * _mix(funnel, "before") + progress * _mix(funnel, "after"))


def _promoted(funnel: Funnel, month: Array) -> Array:
    since = month - funnel.promotion_start
    return np.asarray((since >= 0) & (since < funnel.promotion_months))


def _log_odds(funnel: Funnel) -> Array:
    """Give the log odds of passing each step at average intent, ``(channels, steps)``."""
    return np.asarray(logit(np.array([channel.pass_rates for channel in funnel.channels])))


def _by_phone(funnel: Funnel, channel: Array, phone: Array) -> Array:
    """Give the log odds that a phone adds, centred in its channel."""
    centred: Array = phone - np.array([one.phone for one in funnel.channels])[channel]
    return funnel.phone * centred


def _devices(channel: Channel) -> Iterator[tuple[float, float]]:
    """Iterate over the devices of a channel: share, and 1 for the phone."""
    yield channel.phone, 1.0
    yield 1 - channel.phone, 0.0


def _through(funnel: Funnel, channel: Channel, gain: Array, promotion: bool, intent: Array) -> Array:
    """Give the probability of passing up to each step at some intents, ``(intents, steps)``."""
    base = logit(np.array(channel.pass_rates)) + gain + np.array(funnel.promotion) * promotion
    passed = np.zeros((len(intent), len(STEPS)))
    for share, phone in _devices(channel):
        odds = base + (funnel.intent_sd * intent + funnel.phone * (phone - channel.phone))[:, None]
        passed += share * np.cumprod(expit(odds), axis=1)
    return passed


def _nodes() -> tuple[Array, Array]:
    """Give nodes and weights of the standard normal distribution."""
    node, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    return node, weight / weight.sum()


def _reach(funnel: Funnel, channel: Channel, gain: Array, promotion: bool) -> Array:
    """Give the probability of passing up to each step, ``(steps,)``."""
    node, weight = _nodes()
    return np.asarray(weight @ _through(funnel, channel, gain, promotion, node))


def _expected(funnel: Funnel, channel: Channel, gain: Array, promotion: bool) -> tuple[float, float]:
    """Give the probability of a funded account and the money after 90 days, per applicant."""
    node, weight = _nodes()
    funded = weight * _through(funnel, channel, gain, promotion, node)[:, -1]
    active = 1 - expit(funnel.dormant - funnel.dormant_intent * node)
    money = channel.balance * np.exp(funnel.balance_intent * node + funnel.balance_sd**2 / 2)
    return float(funded.sum()), float(funded @ (active * money))
