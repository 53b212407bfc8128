"""A panel in which the answer to a model's question is known, because it was put there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.core.effect import Effect
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, month_index
from rox.core.units import Dose, Unit
from rox.testing.held import records_of
from rox.testing.samples import dates_in, linked_from_frame

PER_POINT = {"gold": 40.0, "mass": 10.0}
"""Money per score point by segment, additive, for as long as the answer is the latest."""
LOG_HAZARD = -0.30
"""Log hazard ratio of a voluntary exit per score point."""
UPLIFT = 0.10
"""What an initiative adds to every customer's money, as a share: a start from its month on, a lot from the next."""
ERRORS, SHARE = 4.0, 0.10
"""How far an estimate may lie from what was planted: standard deviations of its draws, plus a share of the truth."""
_PLANTABLE = frozenset(
    {(money, Dose.SCORE_POINT, Unit.MONEY_PER_CUSTOMER) for money in (Question.GAP, Question.PULSE, Question.SUSTAINED)}
    | {(Question.HAZARD, Dose.SCORE_POINT, Unit.LOG_HAZARD), (Question.INITIATIVE, Dose.INITIATIVE, Unit.RATIO)}
)
_CUSTOMERS, _MONTHS, _UNITS = 1500, 30, 24
_STARTS = (10, 14, 18)
By = Literal["starts", "arms", "tickets"]
PLANTED_BY: tuple[By, ...] = ("arms", "tickets")
"""Further tables in which an initiative can be planted instead of in the starts of places."""
_LOT, _TICKETS = 9, (9, 15)
"""Month of the lot of an experiment, and the months in which tickets are opened, the last one not."""
_HELD_OUT = 0.4
Floats = NDArray[np.float64]


def known_answer(effect: Effect) -> float | None:
    """Return what a planted panel holds as the answer to an effect's question; nothing where none was planted."""
    if not is_plantable(effect.estimand):
        return None
    if effect.estimand.question is Question.HAZARD:
        return LOG_HAZARD
    if effect.estimand.question is Question.INITIATIVE:
        return UPLIFT
    if not set(effect.groups) <= set(PER_POINT):
        return None
    return float(np.dot([PER_POINT[group] for group in effect.groups], effect.shares))


def is_plantable(asked: Estimand) -> bool:
    """Whether a panel can be made in which the estimand has a known value."""
    return (asked.question, asked.dose, asked.unit) in _PLANTABLE


def recovery(effect: Effect) -> list[str]:
    """Advise where a model does not find what was planted.

    Args:
        effect: Its answer to a planted panel.
    """
    truth = known_answer(effect)
    if truth is None:
        return []
    found, spread = float(effect.overall.mean()), float(effect.overall.std())
    if abs(found - truth) <= _tolerance(truth, spread):
        return []
    return [
        f"where nothing confounds and {truth:.3g} was put in, it finds {found:.3g} ± {spread:.2g}; see the panel of "
        "rox.testing.planted_linked(effect.estimand) and look for the missing part"
    ]


def differ(one: Effect, other: Effect) -> bool:
    """Whether two answers to the same question differ by more than their sampling error."""
    truth = known_answer(one)
    if truth is None:
        return False
    apart = abs(float(one.overall.mean() - other.overall.mean()))
    return apart > _tolerance(truth, float(np.hypot(one.overall.std(), other.overall.std())))


def _tolerance(truth: float, spread: float) -> float:
    return ERRORS * spread + SHARE * abs(truth)


def planted_linked(
    asked: Estimand,
    *,
    data: Linked | None = None,
    by: By = "starts",
    echo: float = 0.0,
    seed: int = 1,
) -> Linked:
    """Make the easiest panel in which an estimand has a known value.

    Nobody's wealth, growth or loyalty goes with the score. An answer holds until the next one. Per score point of it,
    money is higher by ``PER_POINT``; or, where hazards are asked for, the log hazard of a voluntary exit by
    ``LOG_HAZARD``; or, where an initiative is asked for, money is higher by ``UPLIFT``: from each start on, from the
    month after the lot for all arms but the one called ``control`` (or the first by name), or from the month after the
    ticket for all whom the lot did not hold out. One at a time, so that none enters the answer of another.

    Args:
        asked: What is planted.
        data: Whose names of score, outcome, controls, initiative and arms to use; the controls are noise.
        by: Where an initiative is planted.
        echo: By how many standard deviations of money an answer follows the money of its own month.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    gold = rng.random(_CUSTOMERS) < 0.4
    unit = rng.permutation(_CUSTOMERS) % _UNITS
    lot = _Lot.drawn(data, seed)
    money = _money(asked, gold, *(lot.planted(by, unit) if asked.question is Question.INITIATIVE else (0.0, 0.0)))
    hazard = LOG_HAZARD if asked.question is Question.HAZARD else 0.0
    rate = 0.0 if asked.question is Question.INITIATIVE else 0.012
    controls = () if data is None else data.controls
    fixed = {
        "customer": np.arange(_CUSTOMERS),
        "segment": np.where(gold, "gold", "mass"),
        "unit": np.array([f"U{each:02d}" for each in unit]),
        "weight": np.where(gold, 20.0, 80.0),
        "opened": month_index(2023, 1) - rng.integers(1, 120, _CUSTOMERS).astype(float),
    } | {name: rng.poisson(2, _CUSTOMERS).astype(float) for name in controls}
    taste = 7 + rng.standard_normal(_CUSTOMERS)
    score, said = np.full(_CUSTOMERS, np.nan), np.full(_CUSTOMERS, -(10**6))
    here, exit_month, blocks = np.ones(_CUSTOMERS, bool), np.full(_CUSTOMERS, np.nan), []
    for month in range(_MONTHS):
        shock = rng.standard_normal(_CUSTOMERS)
        known = np.where(np.isnan(score), 7.0, score)
        leaves = here & (rng.random(_CUSTOMERS) < -np.expm1(-rate * np.exp(hazard * (known - 7))))
        fresh = month - said <= 12
        seen = {
            "month": month_index(2023, 1) + month,
            "outcome": money(known, shock, month),
            "score": np.where(fresh, score, np.nan),
            "score_age": np.where(fresh, month - said, np.nan),
        }
        blocks.append(pd.DataFrame(fixed | seen)[here])
        exit_month[leaves] = month_index(2023, 1) + month
        here = here & ~leaves
        answers = here & (month % 3 == 2) & (rng.random(_CUSTOMERS) < 0.6)
        given = np.clip(np.rint(taste + 1.3 * rng.standard_normal(_CUSTOMERS) + echo * shock), 0, 10)
        score[answers], said[answers] = given[answers], month
    frame = pd.concat(blocks, ignore_index=True)
    left = exit_month[frame["customer"]]
    return linked_from_frame(
        frame.assign(exit_month=left, voluntary=np.isfinite(left)),
        score=data.score if data is not None and data.score else "nps",
        outcome="aum" if data is None else data.outcome,
        controls=controls,
        starts=_starts(data),
        records={"arms": lot.arms, "tickets": lot.tickets},
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lot:
    """Who got what by lot, an arm in a table of arms and a call after a ticket, each by a lot of its own."""

    arms: pd.DataFrame
    tickets: pd.DataFrame

    @classmethod
    def drawn(cls, data: Linked | None, seed: int) -> _Lot:
        """Draw both lots, with the names of the data's first experiment."""
        rng = np.random.default_rng([seed, 1])
        known = {} if data is None else records_of(data)
        experiment, names = "call", ["control", "call"]
        if "arms" in known and len(known["arms"]):
            experiment = sorted(known["arms"]["experiment"].astype(str))[0]
            arms = known["arms"].loc[known["arms"]["experiment"].astype(str) == experiment, "arm"]
            names = sorted(arms.astype(str).unique(), key=lambda name: (name != "control", name))
        customers = np.arange(_CUSTOMERS)
        place = rng.permutation(customers) % len(names)
        held = rng.random(_CUSTOMERS) < _HELD_OUT
        begin = month_index(2023, 1)
        when = dates_in(np.full(_CUSTOMERS, begin + _LOT), np.full(_CUSTOMERS, 9))
        opened = dates_in(begin + rng.integers(*_TICKETS, _CUSTOMERS), rng.integers(0, 15, _CUSTOMERS))
        called = pd.Series(opened + pd.to_timedelta(rng.integers(1, 10, _CUSTOMERS), unit="D")).where(~held)
        return cls(
            arms=pd.DataFrame(
                {"experiment": experiment, "customer": customers, "arm": np.array(names)[place], "date": when}
            ),
            tickets=pd.DataFrame(
                {"customer": customers, "date": opened, "hold_out": held.astype(int), "contacted": called}
            ),
        )

    def planted(self, by: By, unit: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return by customer the share that an initiative adds, and the month from which it does.

        Places differ around their effect, as places do; their mean is what was planted.
        """
        if by == "arms":
            control = sorted(self.arms["arm"].unique(), key=lambda name: (name != "control", name))[0]
            share = np.where(self.arms["arm"] != control, UPLIFT, 0.0)
            return share, np.full(_CUSTOMERS, _LOT + 1.0)
        if by == "tickets":
            opened = 12 * self.tickets["date"].dt.year + self.tickets["date"].dt.month - 1 - month_index(2023, 1)
            share = np.where(self.tickets["hold_out"] == 0, UPLIFT, 0.0)
            return share, opened.to_numpy(dtype=float) + 1
        place = np.arange(_UNITS)
        begin = np.array([*_STARTS, 10**6], dtype=float)[place % 4]
        apart = place // 4 - (place // 4).mean()
        return np.asarray((UPLIFT + 0.02 * apart)[unit], dtype=float), np.asarray(begin[unit], dtype=float)


def _money(
    asked: Estimand, gold: NDArray[np.bool_], share: Floats | float, begin: Floats | float
) -> Callable[[Floats, Floats, int], Floats]:
    """Give the money of a month, from the score known before it and the month's luck."""
    initiative = asked.question is Question.INITIATIVE
    level = np.where(gold, 1500.0, 600.0)
    slope = np.where(gold, PER_POINT["gold"], PER_POINT["mass"]) * (asked.unit is Unit.MONEY_PER_CUSTOMER)
    luck = 0.20 if initiative else 0.03

    def money(known: Floats, shock: Floats, month: int) -> Floats:
        added = 1 + share * (month >= np.asarray(begin))
        return np.asarray((level * np.exp(luck * shock) + slope * (known - 7)) * added)

    return money


def _starts(data: Linked | None) -> pd.DataFrame:
    """List the starts, under the name of the data's first initiative."""
    name = "refit" if data is None or data.starts.empty else sorted(data.starts["initiative"].astype(str))[0]
    places = np.array([place for place in range(_UNITS) if place % 4 < len(_STARTS)])
    month = month_index(2023, 1) + np.array(_STARTS)[places % 4]
    return pd.DataFrame({"initiative": name, "unit": [f"U{each:02d}" for each in places], "start": month})
