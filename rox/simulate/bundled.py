"""The small bank that comes with the project, and how to make it again.

``python -m rox.simulate.bundled data/bank`` writes its tables; with ``--truth`` it prints the figures of the data card.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rox.simulate.bank import Intervention
from rox.simulate.export import write_bank
from rox.simulate.presets import preset
from rox.simulate.tables import promotions
from rox.simulate.truth import truth
from rox.simulate.world import simulate

BUNDLED = preset(
    "cmb",
    seed=2024,
    customers=6_000,
    population=1_000_000,
    rollout={"effects": (1.3, 1.1, 0.9), "ramp": 4},
)
"""A bank of a million customers, 6,000 of whom are in the extract; its roll-out is strong enough to show in so few."""

_SHIFT, _SHIFT_FROM = 0.5, 12


def build_bundled(folder: str | Path) -> tuple[Path, ...]:
    """Write the bundled bank's tables.

    Args:
        folder: Where to write; other files there are left alone.

    Returns:
        The files written.
    """
    return write_bank(simulate(BUNDLED), folder)


def bundled_truth() -> dict[str, pd.DataFrame]:
    """Compute what is true in the bundled bank.

    Returns:
        ``rollout``: effect on the refitted, 6 to 11 months after the refit. ``sustained_12`` and ``sustained_24``:
        effect of a sustained half point of latent experience from 2024 on, and per score point, 12 and 24 months later.
        ``recovery``: effect of the closed loop on those called, 12 months after the first ticket.
    """
    shift = truth(BUNDLED, Intervention(shift=_SHIFT, shift_from=_SHIFT_FROM))
    return {
        "rollout": truth(BUNDLED, against=Intervention(rollout=False)).rollout(),
        "sustained_12": shift.after(12),
        "sustained_24": shift.after(24),
        "recovery": truth(BUNDLED, against=Intervention(recovery=False)).recovery(),
    }


def card() -> str:
    """Give the figures of the data card as Markdown: the truths by name, and branches with the months of promotions."""
    parts = [f"### {name}\n\n{_markdown(frame)}" for name, frame in bundled_truth().items()]
    running = promotions(simulate(BUNDLED))
    running["month"] = running["month"].dt.strftime("%Y-%m")
    months = running.groupby("branch_id")["month"].agg(" ".join)
    alike = months.index.to_series().groupby(months).agg(" ".join).sort_values()
    calendar = pd.DataFrame({"months": alike.index}, index=alike)
    return "\n".join([*parts, f"### promotions\n\n{_markdown(calendar)}"])


def _markdown(frame: pd.DataFrame) -> str:
    rows = [["", *map(str, frame.columns)], ["---", *["---:"] * frame.shape[1]]]
    rows += [
        [str(index), *map(_cell, row)] for index, row in zip(frame.index, frame.itertuples(index=False), strict=True)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _cell(value: object) -> str:
    """Show a number with four digits, large ones whole."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 or value.is_integer() else f"{value:.4g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the bundled bank, or print its truth."""
    parser = argparse.ArgumentParser(prog="python -m rox.simulate.bundled")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--truth", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.folder is None and not chosen.truth:
        parser.error("give a folder to write to, or --truth")
    if chosen.folder is not None:
        for path in build_bundled(chosen.folder):
            print(path)
    if chosen.truth:
        print(card(), end="")


if __name__ == "__main__":
    main()
