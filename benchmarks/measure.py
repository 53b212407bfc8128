"""Run contestants in processes of their own, one after the other, again and again, and compare them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

FOLDER = Path(os.environ.get("ROX_BENCHMARKS", "out/benchmarks"))
"""Where data is kept between runs."""
PACKAGES = (
    "numpy",
    "pandas",
    "pyarrow",
    "duckdb",
    "ibis-framework",
    "pyfixest",
    "linearmodels",
    "statsmodels",
    "duckreg",
    "lifelines",
    "scikit-survival",
    "pymc",
    "nutpie",
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One process: seconds of its first and further calls, its peak memory, and what it found."""

    first: float
    repeats: tuple[float, ...]
    process: float
    peak: float
    """MiB."""
    answer: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Trials by contestant, in the order in which they were run, and why some are missing."""

    trials: Mapping[str, tuple[Trial, ...]]
    absent: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, name: str, against: str, what: Callable[[Trial], float]) -> float:
        """Return the median over rounds of one contestant's figure by another's of the same round."""
        pairs = zip(self.trials[name], self.trials[against], strict=False)
        return median(what(one) / what(other) for one, other in pairs)

    def figure(self, name: str, what: Callable[[Trial], float]) -> float:
        """Return the median over rounds."""
        return median(what(trial) for trial in self.trials[name])


def first(trial: Trial) -> float:
    """Seconds of the first call in a fresh process, imports not counted."""
    return trial.first


def repeated(trial: Trial) -> float:
    """Seconds of a later call in the same process; of the first where there is no later one."""
    return median(trial.repeats) if trial.repeats else trial.first


def process(trial: Trial) -> float:
    """Seconds from the start of the process to its end."""
    return trial.process


def peak(trial: Trial) -> float:
    """Peak resident memory of the process in MiB."""
    return trial.peak


def _reason(printed: str) -> str:
    """Return the line that names the error; libraries may print more while the process ends."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    named = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception", "Exit", "Interrupt"))]
    return (named or lines or ["failed"])[-1]


def contest(
    module: str,
    names: Sequence[str],
    arguments: Sequence[str],
    *,
    rounds: int,
    repeats: int = 1,
    patience: float = 3600,
) -> Contest:
    """Let each contestant run once a round, in a fresh process.

    Args:
        module: Module with a command line as of :func:`serve`.
        names: Contestants.
        arguments: What to hand to each.
        rounds: Times each runs.
        repeats: Calls within a process after the first.
        patience: Seconds after which a process is stopped.
    """
    trials: dict[str, list[Trial]] = {name: [] for name in names}
    absent: dict[str, str] = {}
    for _ in range(rounds):
        for name in names:
            if name in absent:
                continue
            words = [sys.executable, "-m", module, "--one", name, "--repeats", str(repeats), *arguments]
            started = time.perf_counter()
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=patience, check=False)
            except subprocess.TimeoutExpired:
                absent[name] = f"stopped after {patience:.0f} s"
                continue
            took = time.perf_counter() - started
            if done.returncode:
                absent[name] = _reason(done.stderr)
                continue
            said = json.loads(done.stdout.strip().splitlines()[-1])
            said["repeats"] = tuple(said["repeats"])
            trials[name].append(Trial(process=took, **said))
            print(f"  {name:28} {said['first']:9.3f} s {said['peak']:8.0f} MiB", file=sys.stderr, flush=True)
    kept = {name: tuple(found) for name, found in trials.items() if found and name not in absent}
    return Contest(trials=kept, absent=absent)


def loaded(*modules: str) -> None:
    """Import what a contestant needs before the clock starts."""
    for name in modules:
        import_module(name)


def own_peak() -> float:
    """Return the peak resident memory of this process in MiB.

    On Linux a process inherits the peak of the one that started it as ``ru_maxrss``; its own is in ``/proc``.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def serve(run: Callable[[], Mapping[str, Any]], repeats: int) -> None:
    """Run a contestant in this process and print what :func:`contest` reads."""
    seconds = []
    answer: Mapping[str, Any] = {}
    for _ in range(1 + repeats):
        started = time.perf_counter()
        answer = run()
        seconds.append(time.perf_counter() - started)
    used = own_peak()
    print(json.dumps({"first": seconds[0], "repeats": seconds[1:], "peak": used, "answer": dict(answer)}))


def options(description: str, rows: str = "1e6") -> argparse.ArgumentParser:
    """Return the command line that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rows", type=float, default=float(rows), help="rows, about")
    parser.add_argument("--rounds", type=int, default=3, help="times each contestant runs, in a fresh process")
    parser.add_argument("--repeats", type=int, default=2, help="further calls within a process")
    parser.add_argument("--only", nargs="*", help="contestants; the first is the one others are compared with")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser


def machine() -> str:
    """Describe the machine and its load."""
    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        model = next(
            (line.split(":")[1].strip() for line in cpus.read_text().splitlines() if "model name" in line), model
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} processors ({model}), {memory:.0f} GiB, load {load:.1f} when it began"


def versions() -> str:
    """List Python and the packages that take part."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay rows out as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in rows]
    return "\n".join(lines)


def table(found: Contest, base: str, more: Callable[[str], Mapping[str, str]] | None = None) -> str:
    """Lay a contest out: seconds, memory, and how many times the figure of the base each contestant takes."""
    rows = []
    for name in found.trials:
        own = name == base
        rows.append(
            {
                "": f"**{name}**" if own else name,
                "first call, s": f"{found.figure(name, first):.3g}",
                "later call, s": f"{found.figure(name, repeated):.3g}",
                "whole process, s": f"{found.figure(name, process):.3g}",
                "peak, MiB": f"{found.figure(name, peak):.0f}",
                "times as long: first": "1" if own else times(found.ratio(name, base, first)),
                "later": "1" if own else times(found.ratio(name, base, repeated)),
                "process": "1" if own else times(found.ratio(name, base, process)),
                "times the memory": "1" if own else times(found.ratio(name, base, peak)),
                **(more(name) if more else {}),
            }
        )
    text = markdown(rows)
    for name, why in found.absent.items():
        text += f"\n\n{name} did not take part: {why}."
    return text


def times(ratio: float) -> str:
    """Write a ratio with two digits."""
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}"
