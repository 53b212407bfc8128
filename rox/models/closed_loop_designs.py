"""The same question by lot, by capacity, by weights, and as it is usually answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from rox.models.closed_loop_cases import Cases
from rox.numerics.doubly_robust import doubly_robust_att
from rox.numerics.overlap import Overlap, overlap_effect
from rox.numerics.weak_instrument import Ratio, wald_ratio

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Per = Literal["contacted", "eligible"]

LEAST_ARM = 10
"""Customers a segment needs on either side of a comparison."""
LEAST_HELD = 30
"""Customers a segment needs on either side of a lot, whose errors are believed."""
ROWS_PER_FACT = 10
"""Customers of the smaller side per fact that is adjusted for."""
FEWEST_PLACES = 6
"""Places below which errors by place mean nothing."""
TICKETS_OF_TRUST = 10.0
"""Other tickets of a place and month that weigh as much as knowing nothing about its capacity."""
NORMAL_90 = 1.6448536269514722


@dataclass(frozen=True, kw_only=True)
class Arms:
    """Adjusted differences between two arms. k = outcomes, n = customers."""

    estimate: Floats
    """(k,)."""
    influence: Floats
    """(n, k); the sum approximates the error."""
    df: Floats
    """(k,) degrees of freedom of the errors (Welch)."""

    @property
    def covariance(self) -> Floats:
        """(k, k)."""
        return np.asarray(self.influence.T @ self.influence)


def arms(outcomes: Floats, treated: Bools, facts: Floats, weights: Floats) -> Arms:
    """Compare the weighted means of two arms, each moved to the facts of both by its own regression.

    The fully interacted adjustment of Lin (2013, Annals of Applied Statistics 7), with errors by the residuals over the
    square root of one less the leverage (HC2). Facts beyond one per ten customers of the smaller arm are not used.

    Args:
        outcomes: Shape (n, k).
        treated: Shape (n,).
        facts: Shape (n, p), the most telling first.
        weights: Shape (n,).
    """
    y, w = outcomes.reshape(treated.size, -1), weights / weights.sum()
    allowed = int(min(treated.sum(), (~treated).sum()) // ROWS_PER_FACT)
    x = facts[:, :allowed] if allowed else facts[:, :0]
    x = x - w @ x
    means, influences, slopes, dfs = [], [], [], []
    for arm in (treated, ~treated):
        design = np.column_stack([np.ones(arm.sum()), x[arm]])
        bread = np.linalg.pinv((design * w[arm, None]).T @ design, rcond=1e-10, hermitian=True)
        beta = bread @ (design.T @ (w[arm, None] * y[arm]))
        pull = w[arm] * (design @ bread[0])
        leverage = w[arm] * np.einsum("np,pq,nq->n", design, bread, design)
        influence = np.zeros_like(y)
        influence[arm] = (pull / np.sqrt(np.maximum(1 - leverage, 0.05)))[:, None] * (y[arm] - design @ beta)
        means.append(beta[0])
        influences.append(influence)
        slopes.append(beta[1:])
        dfs.append(max(float(w[arm].sum() ** 2 / (w[arm] ** 2).sum()) - design.shape[1], 1.0))
    moved = w[:, None] * (x @ (slopes[0] - slopes[1]))
    return Arms(
        estimate=np.asarray(means[0] - means[1]),
        influence=influences[0] - influences[1] + moved,
        df=_welch([(each**2).sum(0) for each in influences], dfs),
    )


def _welch(variances: Sequence[Floats], dfs: Sequence[float]) -> Floats:
    """Return the degrees of freedom of a sum of variances (Welch 1947), shape (k,)."""
    parts, whole = sum(each**2 / df for each, df in zip(variances, dfs, strict=True)), np.sum(variances, axis=0) ** 2
    return np.asarray(np.where(parts > 0, whole / np.where(parts > 0, parts, 1.0), sum(dfs)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Cases of the segments that can be compared. n = customers, s = segments.

    Attributes:
        cases: The cases.
        groups: Segments, sorted.
        group: Shape (n,): code of each case's segment.
        shares: Shape (s,): share of the company's eligible customers.
        mass: Shape (n,): weight of each case, segments counting by their shares.
        here: Shape (n,): there until after the days in which a contact counts; comparisons by contact are of these.
    """

    cases: Cases
    groups: tuple[str, ...]
    group: NDArray[np.int64]
    shares: Floats
    mass: Floats
    here: Bools

    def column(self, name: str) -> Floats:
        """Return a column of the cases, shape (n,)."""
        return self.cases.rows[name].to_numpy(dtype=float)

    @property
    def loop(self) -> Bools:
        """Shape (n,): open to contacts, not held out, and there to be contacted."""
        return np.asarray((self.column("held") != 1) & self.here)

    @property
    def facts(self) -> Floats:
        """Shape (n, p + s − 1): facts, and indicators of segments."""
        return np.column_stack([self.cases.facts, self.group[:, None] == np.arange(1, len(self.groups))])

    @property
    def facts_before_growth(self) -> Floats:
        """Shape (n, q): facts that growth before eligibility is no part of, with the log of the money it began from."""
        kept = [i for i, name in enumerate(self._names) if not name.startswith(("growth", "log_money"))]
        past = self.column("past")
        begun = past > 0
        level = np.log(np.where(begun, past, 1.0))
        middle, spread = (float(each(level[begun])) if begun.any() else 0.0 for each in (np.mean, np.std))
        start = np.where(begun, level - middle, 0.0) / (spread if spread > 0 else 1.0)
        return np.column_stack([start, self.facts[:, kept]])

    @property
    def _names(self) -> tuple[str, ...]:
        return (*self.cases.names, *self.groups[1:])


def still_there(rows: pd.DataFrame, within: int) -> Bools:
    """Say who was there until after the months in which a contact within so many days may fall, shape (n,)."""
    grace = int(np.ceil(within / 31))
    return np.asarray(~(rows["exit_month"] <= rows["month"] + grace))


def sample_of(cases: Cases, shares: Mapping[str, float], *, within: int) -> Sample:
    """Keep the segments named, which are counted by their shares."""
    groups = tuple(sorted(shares))
    kept = cases.only(cases.rows["segment"].isin(groups).to_numpy())
    group = np.searchsorted(groups, kept.rows["segment"].to_numpy(dtype=str)).astype(np.int64)
    share = np.array([shares[name] for name in groups])
    weight = kept.rows["weight"].to_numpy(dtype=float)
    total = np.bincount(group, weights=weight, minlength=len(groups))
    return Sample(
        cases=kept,
        groups=groups,
        group=group,
        shares=share / share.sum(),
        mass=weight / total[group] * (share / share.sum())[group],
        here=still_there(kept.rows, within),
    )


@dataclass(frozen=True, kw_only=True)
class BySegment:
    """Estimates by segment with the share of customers they turn on. s = segments."""

    estimate: Floats
    """(s,) effect per eligible customer."""
    contacts: Floats
    """(s,) contacted customers per eligible one."""
    covariance: Floats
    """(s, 2, 2) of both."""
    df: Floats
    """(s,) degrees of freedom of the errors."""

    def widened(self, per: Per) -> Floats:
        """Return variances (s,) whose normal 90% intervals are as wide as those of Student's t."""
        factor = special.stdtrit(self.df, 0.95) / NORMAL_90
        return np.asarray(self.per(per)[1] * factor**2)

    def per(self, per: Per) -> tuple[Floats, Floats]:
        """Return estimates (s,) and variances (s,) per contacted or per eligible customer."""
        if per == "eligible":
            return self.estimate, self.covariance[:, 0, 0]
        ratio = self.estimate / self.contacts
        turn = np.column_stack([np.ones(ratio.size), -ratio]) / self.contacts[:, None]
        return ratio, np.einsum("sk,skl,sl->s", turn, self.covariance, turn)

    def ratio(self, shares: Floats, level: float = 0.9) -> Ratio:
        """Divide both over all segments, with the set of Anderson & Rubin (1949) or Fieller (1954)."""
        covariance = np.einsum("s,skl->kl", shares**2, self.covariance)
        return wald_ratio(float(shares @ self.estimate), float(shares @ self.contacts), covariance, level=level)


def by_lot(sample: Sample, *, contact: str = "ever", outcome: str = "ratio", adjusted: bool = True) -> BySegment:
    """Compare who was drawn for the loop with who was held out, segment by segment.

    Args:
        sample: The cases, of segments with both arms.
        contact: What counts as a contact: ``ever`` by the horizon, or ``contacted`` in time at the first ticket.
        outcome: Name of the outcome.
        adjusted: Whether the facts recorded at eligibility are held equal.
    """
    held, y = sample.column("held"), np.column_stack([sample.column(outcome), sample.column(contact)])
    found = []
    for each in range(len(sample.groups)):
        rows = (sample.group == each) & np.isfinite(held) & np.isfinite(y).all(1)
        facts = sample.cases.facts[rows] if adjusted else sample.cases.facts[rows, :0]
        found.append(arms(y[rows], held[rows] == 0, facts, sample.mass[rows]))
    return BySegment(
        estimate=np.array([each.estimate[0] for each in found]),
        contacts=np.array([each.estimate[1] for each in found]),
        covariance=np.array([each.covariance for each in found]),
        df=np.array([each.df[0] for each in found]),
    )


def by_weights(sample: Sample) -> BySegment:
    """Compare who was contacted in time with who was not, facts held equal by regression and propensity (AIPW).

    Raises:
        ValueError: A segment in which the facts tell the two apart; its name is said.
    """
    contacted, y = sample.column("contacted"), sample.column("ratio")
    estimates, shares, covariances, dfs = [], [], [], []
    for each, name in enumerate(sample.groups):
        rows = sample.loop & (sample.group == each)
        d, w = contacted[rows] == 1, sample.mass[rows]
        facts = _some(sample.cases.facts[rows], d)
        try:
            value, influence = doubly_robust_att(y[rows], d, ~d, facts, w)
        except ValueError as cause:
            raise ValueError(f"{name}: {cause}") from cause
        share = float(w @ d / w.sum())
        error = np.column_stack([share * influence + value * w * (d - share) / w.sum(), w * (d - share) / w.sum()])
        estimates.append(share * value)
        shares.append(share)
        covariances.append(error.T @ error)
        dfs.append(max(float(min(d.sum(), (~d).sum()) - facts.shape[1] - 1), 1.0))
    return BySegment(
        estimate=np.array(estimates),
        contacts=np.array(shares),
        covariance=np.array(covariances, dtype=float),
        df=np.array(dfs),
    )


def _some(facts: Floats, treated: Bools) -> Floats:
    """Keep as many facts as the smaller side can carry, without those that do not vary on either side."""
    allowed = int(min(treated.sum(), (~treated).sum()) // ROWS_PER_FACT)
    varying = (np.ptp(facts[treated], axis=0) > 0) & (np.ptp(facts[~treated], axis=0) > 0)
    return np.asarray(facts[:, varying][:, :allowed])


def instrument(sample: Sample) -> Floats:
    """Return shape (n,): how ready a place was in the month of the ticket, from tickets of other customers.

    The share of the other customers' eligible tickets of the same place and month contacted in time, less the same
    share in the place's other months, since quick places differ in other ways too; drawn towards zero where few tickets
    tell it, and missing where none does. Nothing of the customer's own contact is in it.
    """
    tickets = sample.cases.tickets
    tickets = tickets[(tickets["held"] != 1) & tickets["unit"].notna()]
    keys = {"cell": ["unit", "month"], "place": ["unit"]}
    rows = sample.cases.rows[["customer", "unit", "month"]]
    number: dict[str, Floats] = {}
    called: dict[str, Floats] = {}
    for name, by in keys.items():
        for own in (False, True):
            sums = tickets.groupby([*by, "customer"] if own else by)["contacted"].agg(["size", "sum"])
            wanted = pd.MultiIndex.from_frame(rows[[*by, "customer"]]) if own else pd.Index(rows["unit"])
            if not own and len(by) > 1:
                wanted = pd.MultiIndex.from_frame(rows[by])
            at = sums.reindex(wanted).fillna(0.0).to_numpy(dtype=float)
            sign = -1.0 if own else 1.0
            number[name] = number.get(name, np.zeros(len(rows))) + sign * at[:, 0]
            called[name] = called.get(name, np.zeros(len(rows))) + sign * at[:, 1]
    elsewhere, there = number["place"] - number["cell"], number["cell"]
    with np.errstate(invalid="ignore", divide="ignore"):
        ready = called["cell"] / there - (called["place"] - called["cell"]) / elsewhere
    trust = there / (there + TICKETS_OF_TRUST)
    return np.where((there > 0) & (elsewhere > 0), trust * ready, np.nan)


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What the capacity of places says."""

    money: float
    """Effect of one unit of readiness on the outcome."""
    contact: float
    """Its effect on the share contacted in time."""
    covariance: Floats
    """(2, 2) of both, by place."""
    places: int
    customers: int

    @property
    def df(self) -> int:
        """Degrees of freedom: places less one."""
        return self.places - 1

    @property
    def f(self) -> float:
        """First-stage F, effective for one instrument and errors by place."""
        return float(self.contact**2 / self.covariance[1, 1]) if self.covariance[1, 1] > 0 else 0.0

    @property
    def ratio(self) -> Ratio:
        """Effect per contacted customer, with the set of Anderson & Rubin."""
        return wald_ratio(self.money, self.contact, self.covariance, df=self.df)


def by_capacity(sample: Sample, *, outcome: str = "ratio", facts: Floats | None = None) -> Capacity | None:
    """Compare tickets of months in which a place had time with those of months in which it had none.

    Months of the calendar, segments and facts are held equal; errors are by place. Returns None where tickets have no
    places, fewer than six, or readiness does not vary.
    """
    if sample.cases.tickets["unit"].isna().all():
        return None
    z, y, d = instrument(sample), sample.column(outcome), sample.column("contacted")
    rows = sample.loop & np.isfinite(z) & np.isfinite(y)
    units, place = np.unique(sample.cases.rows["unit"].astype(str).to_numpy()[rows], return_inverse=True)
    if units.size < FEWEST_PLACES:
        return None
    used = sample.facts if facts is None else facts
    months = pd.get_dummies(sample.cases.rows["month"][rows]).to_numpy(dtype=float)
    w = sample.mass[rows]
    others = np.column_stack([months, used[rows]])
    root = np.sqrt(w)[:, None]
    three = np.column_stack([z[rows], y[rows], d[rows]])
    three = three - others @ np.linalg.lstsq(others * root, three * root, rcond=1e-10)[0]
    spread = float(w @ three[:, 0] ** 2)
    if not spread > 1e-12 * w.sum():
        return None
    effect = (w * three[:, 0]) @ three[:, 1:] / spread
    errors = (w * three[:, 0])[:, None] * (three[:, 1:] - three[:, :1] * effect) / spread
    sums = np.array([np.bincount(place, weights=each, minlength=units.size) for each in errors.T])
    covariance = sums @ sums.T * units.size / (units.size - 1)
    if not covariance[1, 1] > 0:
        return None
    return Capacity(
        money=float(effect[0]),
        contact=float(effect[1]),
        covariance=covariance,
        places=units.size,
        customers=int(rows.sum()),
    )


@dataclass(frozen=True, kw_only=True)
class ByContact:
    """Comparisons of who was contacted in time with who was not, over all segments at once: (estimate, error)."""

    naive: tuple[float, float]
    regression: tuple[float, float]
    aipw: tuple[float, float] | None
    overlap: Overlap | None
    share: float
    """Contacted in time, per eligible customer of the loop."""


def by_contact(sample: Sample, *, outcome: str = "ratio", facts: Floats | None = None) -> ByContact | None:
    """Compare by contact in every usual way; None where everybody or nobody was contacted.

    Args:
        sample: The cases.
        outcome: Name of the outcome.
        facts: What is held equal; default all facts.
    """
    y, used = sample.column(outcome), sample.facts if facts is None else facts
    rows = sample.loop & np.isfinite(y)
    d, w, y = sample.column("contacted")[rows] == 1, sample.mass[rows], y[rows]
    if min(d.sum(), (~d).sum()) < LEAST_ARM:
        return None
    x = _some(used[rows], d)
    naive, adjusted = arms(y, d, x[:, :0], w), arms(y, d, x, w)
    aipw: tuple[float, float] | None
    overlap: Overlap | None
    try:
        value, influence = doubly_robust_att(y, d, ~d, x, w)
        aipw = (value, float(np.sqrt((influence**2).sum())))
        overlap = overlap_effect(y, d.astype(float), x, weights=w)
    except ValueError:
        aipw = overlap = None
    share = float(w @ d / w.sum())
    return ByContact(naive=_pair(naive), regression=_pair(adjusted), aipw=aipw, overlap=overlap, share=share)


def _pair(found: Arms) -> tuple[float, float]:
    return float(found.estimate[0]), float(np.sqrt(found.covariance[0, 0]))
