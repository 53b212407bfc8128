"""How time and memory of the panel regression grow with the rows, from a file and from a layout."""

from __future__ import annotations

import shutil
import sys
import time

from benchmarks.data import MONTHS, panel
from benchmarks.measure import FOLDER, contest, first, markdown, options, peak, repeated, times


def main() -> None:
    """Run from the command line."""
    parser = options("Growth", rows="1e7")
    asked = parser.parse_args()
    print(report(asked.rows, asked.rounds, asked.repeats))


def report(rows: float, rounds: int, repeats: int) -> str:
    """Measure every power of ten from 1e5 rows to `rows`, and `rows` itself."""
    sizes = sorted({10.0**power for power in range(5, 12) if 10.0**power < rows} | {rows})
    lines = []
    for size in sizes:
        for balanced in (True, False):
            words = ["--rows", str(size), *([] if balanced else ["--unbalanced"])]
            made = _layout(size, balanced)
            found = contest("benchmarks.panel", ["rox", "rox from a layout"], words, rounds=rounds, repeats=repeats)
            for name in found.trials:
                seconds, read = found.figure(name, repeated), found.trials[name][-1].answer["rows"]
                lines.append(
                    {
                        "customer-months": f"{read:.3g}",
                        "customers": f"{size / MONTHS:.3g}",
                        "panel": "balanced" if balanced else "unbalanced",
                        "read from": "one file" if name == "rox" else "a layout",
                        "layout written in, s": made if name != "rox" else "",
                        "first call, s": f"{found.figure(name, first):.3g}",
                        "later call, s": f"{seconds:.3g}",
                        "million rows per second": times(read / 1e6 / seconds),
                        "peak, MiB": f"{found.figure(name, peak):.0f}",
                    }
                )
    return markdown(lines)


def _layout(rows: float, balanced: bool) -> str:
    """Write the layout unless it was written and timed before; returns the seconds it took."""
    from rox.linking.within_layout import find_layout
    from rox.linking.within_write import write_layout

    path = panel(rows, balanced=balanced)
    folder = path.with_suffix(".layout")
    note = FOLDER / f"{folder.name}.seconds"
    if find_layout(folder) is None or not note.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"writing {folder.name}", file=sys.stderr)
        started = time.perf_counter()
        write_layout(path, folder)
        note.write_text(f"{time.perf_counter() - started:.3g}", encoding="utf-8")
    return note.read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
