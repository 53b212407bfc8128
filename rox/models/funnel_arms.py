"""Two forms of a funnel compared within channel and device, and read in a chosen mix of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rox.models.funnel_starters import PLACES
from rox.numerics.funnel_strata import Standardised, standardise
from rox.numerics.weak_instrument import Ratio, wald_ratio

Floats = NDArray[np.float64]
FEWEST = 30
"""Starters that a stratum needs in each form."""
Place = tuple[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """What becomes of starters in each form, in one mix of channels and devices.

    Attributes:
        joint: Means of the old form's outcomes, then of the new form's, with their joint covariance. The outcomes are
            the share that passes each step, the share with money on the account, and money.
        steps: How many steps.
        has_money: Whether the last two outcomes are known.
        old: Starters of the old form that were compared.
        new: Of the new one.
        strata: How many strata.
        lost: Share of the mix without a counterpart: those others' mean stands for.
        pooled: Share of the mix in strata that had to be widened.
    """

    joint: Standardised
    steps: int
    has_money: bool
    old: int
    new: int
    strata: int
    lost: float
    pooled: float

    @property
    def size(self) -> int:
        """Outcomes of one form."""
        return self.joint.mean.size // 2

    @property
    def funded(self) -> int:
        """Place of the share with a funded account."""
        return self.steps - 1

    def form(self, new: bool) -> Floats:
        """Return the outcomes' means in one form."""
        return np.asarray(self.joint.mean[self.size :] if new else self.joint.mean[: self.size])

    def difference(self, outcome: int) -> tuple[float, float]:
        """Return new minus old and its standard error."""
        weights = np.zeros(2 * self.size)
        weights[[outcome, outcome + self.size]] = -1.0, 1.0
        return self.joint.contrast(weights)

    def log_ratio(self, outcome: int) -> tuple[float, float]:
        """Return log(new / old) and its standard error; NaN where a form has none."""
        if min(self.form(False)[outcome], self.form(True)[outcome]) <= 0:
            return float("nan"), float("nan")
        return self.joint.log_ratio(outcome + self.size, outcome)

    def steps_covariance(self) -> Floats:
        """Return the covariance of the shares passing each step, old form first."""
        places = np.r_[: self.steps, self.size : self.size + self.steps]
        return np.asarray(self.joint.covariance[np.ix_(places, places)])

    def extra_opener(self, level: float) -> Ratio:
        """Divide the money that the new form adds per starter by the accounts it adds: what an extra opener holds."""
        money, size = self.size - 1, self.size
        to = np.zeros((2, 2 * size))
        to[0, [money, money + size]] = to[1, [self.funded, self.funded + size]] = -1.0, 1.0
        top, bottom = to @ self.joint.mean
        return wald_ratio(top, bottom, to @ self.joint.covariance @ to.T, level=level)

    def mean_opener(self) -> tuple[float, float]:
        """Return what an account of the old form holds on average, and its standard error."""
        money, mean = self.size - 1, self.form(False)
        value = float(mean[money] / mean[self.funded])
        slopes = np.zeros(2 * self.size)
        slopes[money], slopes[self.funded] = 1 / mean[self.funded], -value / mean[self.funded]
        return value, self.joint.contrast(slopes)[1]


def compare(
    rows: pd.DataFrame, *, steps: int, has_money: bool, target: pd.DataFrame | None = None, fewest: int = FEWEST
) -> Compared | None:
    """Compare the forms among some starters.

    Args:
        rows: Starters who were followed up.
        steps: How many steps.
        has_money: Whether amounts are known.
        target: Starters whose mix of channels and devices is wanted; by default each form is taken as it came.
        fewest: Starters that a stratum needs in each form.

    Returns:
        The comparison; None where a form has fewer than ``fewest`` starters.
    """
    forms = [rows[~rows["new"]], rows[rows["new"]]]
    if min(map(len, forms)) < fewest:
        return None
    labels, known = _strata(forms, target, fewest)
    strata = sorted(set(labels.values()))
    outcomes = [_outcomes(form, steps=steps, has_money=has_money) for form in forms]
    size = outcomes[0].shape[1]
    means = np.zeros((len(strata), 2 * size))
    covariances = np.zeros((len(strata), 2 * size, 2 * size))
    for side, (form, values) in enumerate(zip(forms, outcomes, strict=True)):
        where = slice(side * size, (side + 1) * size)
        own = np.array([labels.get(each, "") for each in _places(form)], dtype=object)
        for number, stratum in enumerate(strata):
            part = values[own == stratum]
            means[number, where] = part.mean(0)
            covariances[number, where, where] = np.cov(part, rowvar=False).reshape(size, size) / len(part)
    everyone = sum(known.values())
    shares = np.array([sum(n for place, n in known.items() if labels.get(place) == each) for each in strata], float)
    widened = sum(n for place, n in known.items() if place in labels and labels[place] != _own(place))
    return Compared(
        joint=standardise(means, covariances, shares / shares.sum()),
        steps=steps,
        has_money=has_money,
        old=len(forms[0]),
        new=len(forms[1]),
        strata=len(strata),
        lost=1 - shares.sum() / everyone,
        pooled=0.0 if target is None else widened / everyone,
    )


def _strata(
    forms: Sequence[pd.DataFrame], target: pd.DataFrame | None, fewest: int
) -> tuple[dict[Place, str], dict[Place, int]]:
    """Give every channel and device its stratum, wide enough for both forms, and count the mix that is wanted."""
    counts = [Counter(_places(form)) for form in forms]
    if target is None:
        places = sorted({*counts[0], *counts[1]})
        return dict.fromkeys(places, ""), Counter(places)
    wanted = Counter(_places(target))
    places = sorted({*counts[0], *counts[1], *wanted})

    def enough(some: Sequence[Place]) -> bool:
        return all(sum(count[place] for place in some) >= fewest for count in counts)

    labels: dict[Place, str] = {}
    rest: list[Place] = []
    for channel in sorted({place[0] for place in places}):
        devices = [place for place in places if place[0] == channel]
        if all(enough([place]) for place in devices):
            labels |= {place: _own(place) for place in devices}
        elif enough(devices):
            labels |= dict.fromkeys(devices, channel)
        else:
            rest += devices
    if rest and enough(rest):
        labels |= dict.fromkeys(rest, "")
    if not any(place in labels for place in wanted):
        return dict.fromkeys(places, ""), wanted
    return labels, wanted


def _own(place: Place) -> str:
    return " · ".join(place)


def _places(rows: pd.DataFrame) -> list[Place]:
    return list(zip(*(rows[each] for each in PLACES), strict=True))


def _outcomes(rows: pd.DataFrame, *, steps: int, has_money: bool) -> Floats:
    """Return ``(starter, outcome)``; money that is not known counts as the mean of the form's known accounts."""
    reached = rows["reached"].to_numpy()
    columns = [(reached >= step).astype(float) for step in range(1, steps + 1)]
    if has_money:
        columns += _filled(rows)
    return np.column_stack(columns)


def _filled(rows: pd.DataFrame) -> list[Floats]:
    """Return whether money is on the account, and how much."""
    funded, amount = rows["funded"].to_numpy() == 1, rows["amount"].to_numpy(dtype=float)
    unknown = np.isnan(amount)
    known = funded & ~unknown
    return [
        np.where(unknown, values[known].mean() if known.any() else 0.0, values)
        for values in ((amount > 0).astype(float), amount)
    ]


def periods(rows: pd.DataFrame, *, months: int = 12) -> pd.DataFrame:
    """Return the starters of the months before the new form came and of those since the old one went.

    Where a form never stood alone, everybody; see :func:`stood_alone`.

    Args:
        rows: Starters.
        months: How many months of each, at most.
    """
    if not stood_alone(rows):
        return rows
    first, last = int(rows.loc[rows["new"], "month"].min()), int(rows.loc[~rows["new"], "month"].max())
    before = ~rows["new"] & rows["month"].between(first - months, first - 1)
    after = rows["new"] & rows["month"].between(last + 1, last + months)
    found: pd.DataFrame = rows[before | after]
    return found


def stood_alone(rows: pd.DataFrame) -> bool:
    """Say whether there are months before the new form came, and months since the old one went.

    Args:
        rows: Starters.
    """
    old, new = rows.loc[~rows["new"], "month"], rows.loc[rows["new"], "month"]
    return bool(len(old) and len(new) and old.min() < new.min() and old.max() < new.max())
