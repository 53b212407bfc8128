"""Whether a rating hurts more when low than it helps when high: penalty and reward, and answers of Kano's pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rox.numerics.arrays import Floats, freeze

KANO = ("must_be", "one_dimensional", "attractive", "indifferent", "reverse", "questionable")
"""Categories of Kano's table in the order of their counts."""
FONG = 1.65
"""Standard errors that part the largest category from the second (Fong 1996)."""


@dataclass(frozen=True, kw_only=True)
class KanoCounts:
    """What a paired questionnaire says of attributes. a = attributes."""

    category: tuple[str, ...]
    """(a,) largest category, ties to must-be before one-dimensional before attractive before indifferent."""
    better: Floats
    """(a,) share it would please if there: (A + O) / (A + O + M + I)."""
    worse: Floats
    """(a,) minus the share its lack would displease: −(O + M) / (A + O + M + I)."""
    total_strength: Floats
    """(a,) share of A, O and M in all answers."""
    category_strength: Floats
    """(a,) lead of the largest category over the second, as a share."""
    threshold: Floats
    """(a,) lead in answers that chance would not give (Fong's test)."""
    clear: tuple[bool, ...]
    """(a,) whether the lead is above it."""
    chi2: Floats
    """(a,) distance of M, O, A, I from equal counts, 3 degrees of freedom."""

    def __post_init__(self) -> None:
        freeze(self, "better", "worse", "total_strength", "category_strength", "threshold", "chi2")


def kano_counts(counts: ArrayLike) -> KanoCounts:
    """Sort attributes by the answers to Kano's pairs of questions.

    Args:
        counts: (a, 6) answers per attribute in the order of :data:`KANO`.

    Raises:
        ValueError: another shape, negative counts, or an attribute without an answer in the first four.

    References:
        Berger et al. 1993, *Center for Quality Management Journal* 2(4); Fong 1996, ibid. 5(3).
    """
    n = np.asarray(counts, dtype=np.float64)
    if n.ndim != 2 or n.shape[1] != len(KANO) or not (n >= 0).all() or not (n[:, :4].sum(1) > 0).all():
        raise ValueError(f"needs counts of shape (a, {len(KANO)}), none negative, some among the first four columns")
    must, one, attractive, _, _, _ = n.T
    told, everybody = n[:, :4].sum(1), n.sum(1)
    ranked = np.sort(n, axis=1)[:, ::-1]
    largest, second = ranked[:, 0], ranked[:, 1]
    threshold = FONG * np.sqrt((largest + second) * (2 * everybody - largest - second) / (2 * everybody))
    equal = told / 4
    return KanoCounts(
        category=tuple(KANO[place] for place in n.argmax(1)),
        better=(one + attractive) / told,
        worse=-(must + one) / told,
        total_strength=(must + one + attractive) / everybody,
        category_strength=(largest - second) / everybody,
        threshold=threshold,
        clear=tuple(bool(each) for each in largest - second > threshold),
        chi2=((n[:, :4] - equal[:, None]) ** 2 / equal[:, None]).sum(1),
    )


@dataclass(frozen=True, kw_only=True)
class PenaltyReward:
    """What the score loses at a low rating and gains at a high one. p = drivers."""

    penalty: Floats
    """(p,) difference of the score at a low rating from that at a middle one, others held; mostly below 0."""
    reward: Floats
    """(p,) the same at a high rating; mostly above 0."""
    low_share: Floats
    """(p,) share of answers with a low rating."""
    high_share: Floats
    """(p,) share with a high one."""

    def __post_init__(self) -> None:
        freeze(self, "penalty", "reward", "low_share", "high_share")

    @property
    def asymmetry(self) -> Floats:
        """(p,) (|reward| − |penalty|) / (|reward| + |penalty|): −1 must-be, 0 performance, 1 attractive."""
        up, down = np.abs(self.reward), np.abs(self.penalty)
        return np.asarray((up - down) / np.where(up + down > 0, up + down, 1.0))


def penalty_reward(
    ratings: ArrayLike,
    score: ArrayLike,
    *,
    low: ArrayLike,
    high: ArrayLike,
    weights: ArrayLike | None = None,
    controls: ArrayLike | None = None,
) -> PenaltyReward:
    """Regress a score on indicators of low and of high ratings, all drivers at once (Brandt 1988).

    Args:
        ratings: (n, p), or n cells with their ratings.
        score: (n,) scores, or mean scores of the cells.
        low: (p,) a rating up to this is low.
        high: (p,) a rating from this on is high.
        weights: (n,) answers or weights of each row.
        controls: (n, q) held equal.

    Raises:
        ValueError: shapes, missing values, or nobody with a low, with a high, or with a middle rating of a driver,
            from which the other two are told apart.
    """
    x, y = np.asarray(ratings, dtype=np.float64), np.asarray(score, dtype=np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    held = np.empty((len(y), 0)) if controls is None else np.asarray(controls, dtype=np.float64)
    _require_rows(x, y, w, held)
    below, above = x <= np.asarray(low, dtype=float), x >= np.asarray(high, dtype=float)
    parts = [(below * w[:, None]).sum(0) / w.sum(), (above * w[:, None]).sum(0) / w.sum()]
    if empty := [place for place in range(x.shape[1]) if not (parts[0][place] > 0 and parts[1][place] > 0)]:
        raise ValueError(f"drivers {empty} have nobody with a low or nobody with a high rating; choose other limits")
    if full := np.flatnonzero(~((~below & ~above) * w[:, None] > 0).any(0)).tolist():
        raise ValueError(f"drivers {full} have nobody with a rating between low and high; choose other limits")
    design = np.column_stack([np.ones(len(y)), below, above, held])
    root = np.sqrt(w)
    beta = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    p = x.shape[1]
    return PenaltyReward(
        penalty=beta[1 : p + 1], reward=beta[p + 1 : 2 * p + 1], low_share=parts[0], high_share=parts[1]
    )


def _require_rows(x: Floats, y: Floats, w: Floats, held: Floats) -> None:
    shapes: Sequence[tuple[int, ...]] = (x.shape[:1], y.shape, w.shape, held.shape[:1])
    if x.ndim != 2 or len(set(shapes)) != 1:
        raise ValueError(
            f"rows do not match: ratings {x.shape}, score {y.shape}, weights {w.shape}, controls {held.shape}"
        )
    if not all(np.isfinite(each).all() for each in (x, y, w, held)) or not (w >= 0).all() or not w.sum() > 0:
        raise ValueError("ratings, scores, controls and weights must be finite, weights not negative; drop other rows")
