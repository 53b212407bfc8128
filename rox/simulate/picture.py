"""The published picture beside the truth: what is seen in a bank by reading scores and money without more ado.

``python -m rox.simulate.picture --banks 8 --customers 60000`` prints it for the preset ``cmb``; it takes some minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rox.core.errors import RoxError
from rox.simulate.bank import Bank, Intervention
from rox.simulate.config import BankConfig
from rox.simulate.draws import Array
from rox.simulate.presets import preset
from rox.simulate.truth import BANK, SAMPLE, truth

HORIZONS = (0, 6, 12, 18, 24)
"""Months after the answer at which money is looked at."""
_CATEGORIES = {"promoters": (9, 10), "passives": (7, 8), "detractors": (0, 6)}
_SUSTAINED = Intervention(shift=0.5, shift_from=12)
_NEEDED_MONTHS = 36


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """Naive figures and true ones: means over several banks, and in columns ``…_se`` their Monte Carlo standard errors.

    Money is CNY per customer. True effects are those of an experience that stays half a point better.

    Attributes:
        banks: Number of banks.
        slopes: A row for the ``bank`` and one per segment: ``naive``, by how much AUM differs per score point among the
            answers, by design weight; ``after_12`` and ``after_24``, what a sustained score point truly adds in so many
            months; ``ratio`` of the naive to the one after 12.
        index: A row per month of ``HORIZONS`` after an answer: money of ``promoters``, ``passives`` and ``detractors``,
            by design weight, relative to that at the answer; who has left counts as zero.
        nps: For the ``bank``: ``per_nps_point``, what an NPS point truly adds in 12 months, and ``nps_per_point``, NPS
            points that go with a score point.
    """

    banks: int
    slopes: pd.DataFrame
    index: pd.DataFrame
    nps: pd.DataFrame

    def text(self) -> str:
        """Lay the figures out for a terminal."""
        slopes = _plus_minus(self.slopes, "{:,.0f}")
        slopes["ratio"] = self.slopes["ratio"].map("{:.1f}".format)
        parts = [
            ("CNY per customer and score point", slopes),
            ("AUM after an answer, relative", _plus_minus(self.index, "{:.3f}")),
            ("An NPS point: CNY per customer, and NPS points per score point", _plus_minus(self.nps, "{:,.1f}")),
        ]
        tables = "\n\n".join(f"{title}\n{frame.to_string()}" for title, frame in parts)
        return f"Means of {self.banks} banks ± Monte Carlo standard error\n\n{tables}\n"


def published_picture(config: BankConfig, *, banks: int = 8) -> Picture:
    """Give the naive figures of a bank, computed as published ones are, beside the truth.

    Args:
        config: The dials; the banks have its seed and those that follow.
        banks: Number of banks; with one there are no standard errors.

    Raises:
        RoxError: There is no bank to look at, or its window is shorter than 36 months.
    """
    if banks < 1 or config.months < _NEEDED_MONTHS:
        found = f"{banks} banks of {config.months} months; needs at least 1, of {_NEEDED_MONTHS} or more"
        raise RoxError("There is no picture to draw.", [found])
    seen = [_figures(replace(config, seed=config.seed + place)) for place in range(banks)]
    slopes, index, nps = (_mean_and_error(list(part)) for part in zip(*seen, strict=True))
    return Picture(banks=banks, slopes=slopes.assign(ratio=slopes["naive"] / slopes["after_12"]), index=index, nps=nps)


def _figures(config: BankConfig) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Give the slopes, the index and the NPS figures of one bank."""
    sustained = truth(config, _SUSTAINED)
    year, two = (sustained.after(horizon).drop(index=SAMPLE) for horizon in (12, 24))
    columns = {
        "naive": _naive_slopes(sustained.against),
        "after_12": year["effect_per_point"],
        "after_24": two["effect_per_point"],
    }
    nps = pd.DataFrame({"per_nps_point": year["effect"] / year["nps"], "nps_per_point": year["nps"] / year["score"]})
    return pd.DataFrame(columns).reindex([BANK, *config.segment_names]), _index(sustained.against), nps.loc[[BANK]]


def _naive_slopes(bank: Bank) -> pd.Series[float]:
    """Regress AUM on the score over all answers, whoever gave them and whenever."""
    at = np.nonzero(bank.answered)
    score, money, weight = bank.score[at].astype(float), bank.aum[at], bank.design_weight[at[1]]
    found = {BANK: _slope(score, money, weight)}
    for place, name in enumerate(bank.config.segment_names):
        mine = bank.customers.segment[at[1]] == place
        found[name] = _slope(score[mine], money[mine], weight[mine])
    return pd.Series(found)


def _slope(x: Array, y: Array, weight: Array) -> float:
    """Fit a line by weighted least squares; NaN where there is none."""
    if len(x) < 3:
        return float("nan")
    centred = x - np.average(x, weights=weight)
    spread = float(np.sum(weight * centred**2))
    return float(np.sum(weight * centred * y)) / spread if spread else float("nan")


def _index(bank: Bank) -> pd.DataFrame:
    """Follow the money of answers that have all horizons before them."""
    month, who = np.nonzero(bank.answered[: bank.config.months - max(HORIZONS)])
    score, weight = bank.score[month, who], bank.design_weight[who]
    columns = {}
    for name, (low, high) in _CATEGORIES.items():
        mine = (score >= low - 0.5) & (score < high + 0.5)
        money = np.array([np.sum((weight * bank.aum[month + horizon, who])[mine]) for horizon in HORIZONS])
        columns[name] = money / money[0] if money[0] else np.full(len(HORIZONS), np.nan)
    return pd.DataFrame(columns, index=pd.Index(HORIZONS, name="month"))


def _mean_and_error(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average frames of the same rows over banks, and add the standard error of each mean."""
    stacked = pd.concat(frames, keys=range(len(frames)))
    by_row = stacked.groupby(level=1, sort=False)
    return by_row.mean().join(by_row.sem().add_suffix("_se"))


def _plus_minus(frame: pd.DataFrame, form: str) -> pd.DataFrame:
    """Write each figure with its standard error."""
    names = [name for name in frame if f"{name}_se" in frame]
    return pd.DataFrame(
        {
            name: [
                f"{form.format(mean)} ± {form.format(error)}"
                for mean, error in zip(frame[name], frame[f"{name}_se"], strict=True)
            ]
            for name in names
        },
        index=frame.index,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the picture of a preset."""
    parser = argparse.ArgumentParser(prog="python -m rox.simulate.picture", description=__doc__)
    parser.add_argument("--preset", choices=["easy", "cmb", "hard"], default="cmb")
    parser.add_argument("--banks", type=int, default=8)
    parser.add_argument("--customers", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    config = preset(chosen.preset, customers=chosen.customers, seed=chosen.seed)
    print(published_picture(config, banks=chosen.banks).text(), end="")


if __name__ == "__main__":
    main()
