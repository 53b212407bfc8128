"""What a reader must know of an estimate over everybody: its weights, what it misses, and what it leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.metrics.silence_cells import Cells
from rox.metrics.silence_estimates import Estimated
from rox.metrics.silence_weights import Weighted, concentration, overlap

LARGE_GAP = 0.05
"""Standard deviations by which weighted answers may miss what is known of everybody."""
CHANCE = 0.10
"""Probability of calling out any benchmark, all being met."""
SHIFTED = 0.01
"""Probability of saying that who answers changed, though it did not."""
RARE, THIN = 0.05, 0.5
"""Share of people without a counterpart, and effective answers over answers, that weights may have."""
UNLIKE = 0.10
"""Standard deviations by which weighted answers may differ in what they are weighted with."""
HEAVY = 0.10
"""Share of the weight that the heaviest 1 in 100 answers may carry."""
WEAK = 0.4
"""Correlation of answer and prediction below which weighting cannot repair much."""
MANY_ANSWER = 0.30
NAMED = frozenset({"segment", "tenure", "money", "money_growth", "earlier_answer", "feedback_complaint"})
"""Facts with a name in the catalogue; others are called as the study calls them."""


def of_weights(cells: Cells, weighted: Weighted, found: Estimated) -> Iterator[Check]:
    """Say whether weights converged, whether everybody has a counterpart, and whether a few answers decide."""
    for name in weighted.dropped:
        yield Check(code="ROX-N02", verdict=Verdict.NOTE, values={"margin": _named(name)})
    if found.fault:
        yield Check(code="ROX-N08", verdict=Verdict.NOTE, values={"reason": found.fault})
    alone, left = overlap(cells, weighted)
    rare = float(np.nanmax([alone, found.rare]))
    effective = float(np.nanmin([left, found.effective]))
    values = {"share": 100 * rare, "effective": 100 * effective}
    thin = rare > RARE or effective < THIN
    yield Check(code="ROX-N03", verdict=Verdict.DEMOTE if thin else Verdict.PASS, values=values)
    if (heaviest := concentration(cells, weighted.factor)) > HEAVY:
        yield Check(code="ROX-N10", verdict=Verdict.NOTE, values={"share": 100 * heaviest})


def of_balance(alike: pd.DataFrame) -> Iterator[Check]:
    """Say in which of the facts weighted with answers still differ most from everybody, by either set of weights."""
    own = alike[alike["kind"] == "margin"].set_index("fact")[["raked", "two_models"]].abs().max(axis=1)
    if len(own) and own.max() > UNLIKE:
        values: dict[str, str | float] = {"fact": _named(str(own.idxmax())), "gap": float(own.max())}
        yield Check(code="ROX-N11", verdict=Verdict.NOTE, values=values)


def of_benchmarks(judged: pd.DataFrame) -> Iterator[Check]:
    """Say which benchmarks are missed beyond chance; if none, whether one may be, or all are met."""
    if judged.empty:
        yield Check(code="ROX-N07", verdict=Verdict.NOTE)
        return
    large = judged[judged["gap"].abs() > LARGE_GAP]
    missed = large[large["p"] < CHANCE / len(judged)]
    if large.empty:
        seen = float(judged[["low", "high"]].abs().to_numpy().max())
        largest = float(judged["gap"].abs().max())
        passed: dict[str, float] = {"facts": len(judged), "gap": largest, "unseen": seen}
        yield Check(code="ROX-N04", verdict=Verdict.PASS, values=passed)
        return
    verdict, so = (Verdict.DEMOTE, "silence.gap.real") if len(missed) else (Verdict.NOTE, "silence.gap.chance")
    told = missed if len(missed) else large.loc[[large["gap"].abs().idxmax()]]
    for fact, gap in zip(told["fact"], told["gap"], strict=True):
        yield Check(code="ROX-N04", verdict=verdict, values={"fact": _named(str(fact)), "gap": float(gap), "so": so})


def of_silence(
    rate: float, correlation: float, p: float | None, ends: Mapping[str, tuple[float, float]]
) -> Iterator[Check]:
    """Say whether the score can be predicted, whether who answers changed, and what a low response leaves open.

    Args:
        rate: Share who answered.
        correlation: Between an answer and its best prediction.
        p: Of a change in who answers by chance; None without waves before.
        ends: By kind of bound, of the first metric.
    """
    weak = not correlation >= WEAK
    yield Check(code="ROX-N05", verdict=Verdict.NOTE if weak else Verdict.PASS, values={"r": correlation})
    if p is not None:
        yield Check(code="ROX-N06", verdict=Verdict.DEMOTE if p < SHIFTED else Verdict.PASS, values={"p": p})
    if rate < MANY_ANSWER:
        values = {"rate": 100 * rate}
        for kind in ("worst_case", "spread"):
            values |= dict(zip((f"{kind}_low", f"{kind}_high"), ends[kind], strict=True))
        yield Check(code="ROX-N09", verdict=Verdict.NOTE, values=values)


def _named(fact: str) -> str:
    """Return the key of a fact's name in the catalogue, or the name a study gave it."""
    return f"silence.fact.{fact}" if fact in NAMED else fact
