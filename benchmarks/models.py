"""How models of the score grow with the company: what the engine takes to sum, and what is left to do with the sums."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.bank import bank
from benchmarks.data import MONTHS
from benchmarks.measure import contest, loaded, markdown, options, peak, repeated, serve, times

NAMES = ("ScoreGap", "PanelFE", "Trajectories")
SMALLEST, STEP = 1e6, 10


def main() -> None:
    """Run from the command line."""
    parser = options("Models", rows="1e7")
    asked = parser.parse_args()
    if asked.one:
        serve(contestant(asked.one, bank(asked.rows / MONTHS)), asked.repeats)
        return
    print(report(asked.rows, asked.rounds, asked.repeats, asked.only))


def report(rows: float, rounds: int, repeats: int, names: list[str] | None = None) -> str:
    """Measure sizes up to `rows`, each ten times the one before."""
    sizes = [rows]
    while sizes[0] / STEP >= SMALLEST:
        sizes.insert(0, sizes[0] / STEP)
    found = {
        size: contest(
            "benchmarks.models", names or list(NAMES), ["--rows", str(size)], rounds=rounds, repeats=max(repeats, 1)
        )
        for size in sizes
    }
    lines = []
    for name in names or NAMES:
        for size in sizes:
            trials = found[size].trials[name]
            answer = trials[-1].answer
            base = found[sizes[0]].trials[name][-1].answer
            lines.append(
                {
                    "model": name,
                    "customer-months": f"{size:.3g}",
                    "answers": f"{answer['answers']:,}",
                    "seconds": f"{found[size].figure(name, repeated):.3g}",
                    "of these in the engine": f"{answer['engine']:.3g}",
                    "after the sums": f"{answer['after']:.3g}",
                    "after, ratio to the smallest": times(answer["after"] / base["after"]),
                    "peak, MiB": f"{found[size].figure(name, peak):.0f}",
                }
            )
    return markdown(lines)


def contestant(name: str, study: Path) -> Callable[[], Mapping[str, Any]]:
    """Return what is timed."""
    import rox
    from rox.linking.engine import Engine

    loaded("rox.linking.link", "rox.linking.load")
    data = rox.link(rox.load(rox.read_study(study)), score="nps", outcome="aum")
    model = getattr(rox, name)()
    seconds = {"engine": 0.0}
    for method in ("fetch", "stage"):
        setattr(Engine, method, _timed(getattr(Engine, method), seconds))

    def run() -> Mapping[str, Any]:
        seconds["engine"] = 0.0
        started = time.perf_counter()
        effect = model.fit(data, rng=1)
        whole = time.perf_counter() - started
        return {"answers": effect.counts["rows"], "engine": seconds["engine"], "after": whole - seconds["engine"]}

    return run


def _timed(method: Callable[..., Any], seconds: dict[str, float]) -> Callable[..., Any]:
    """Add the time of the outermost call to what the engine took."""
    depth = 0

    def timed(*args: Any, **words: Any) -> Any:
        nonlocal depth
        depth += 1
        started = time.perf_counter()
        try:
            return method(*args, **words)
        finally:
            depth -= 1
            if depth == 0:
                seconds["engine"] += time.perf_counter() - started

    return timed


if __name__ == "__main__":
    main()
