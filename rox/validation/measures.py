"""Honest numbers of the measures: coverage, false alarms, and what silence hides, by simulation with known truths.

Many replications go through the estimators on arrays; some also through the tables, to show that they are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import pandas as pd

from rox.core.errors import RunError
from rox.core.record import plain
from rox.validation.laboratory import leave_with_parent, one_thread_each
from rox.validation.measures_alarms import WORLDS, charts, drills, trees, watched
from rox.validation.measures_coverage import SIZES, changes, churns, judged, levels, through_tables
from rox.validation.measures_samples import CHURNS, LEVELS, WAVES
from rox.validation.measures_silence import silences

Row = dict[str, Any]
Progress = Callable[[str], None]
BANKS = ("easy", "cmb")
"""Worlds in which everybody's answer is known."""
FEWEST = 20
"""Replications below which nothing is said."""
ANSWERS, OF_PLACE = 3_000, 40
"""Answers of a month where a change is searched, and of a place in a month where it is watched."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is simulated.

    Attributes:
        replications: Samples of each design and size, series at rest, and trees.
        banks: Simulated banks of each world.
        customers: Of each bank.
        drills: Searches of each world.
        studies: Whole tables at rest that are watched.
        whole: Samples of each design that also go through the tables.
        sizes: Answers, or customers, of a sample.
    """

    replications: int = 2_000
    banks: int = 20
    customers: int = 6_000
    drills: int = 200
    studies: int = 12
    whole: int = 25
    sizes: tuple[int, ...] = SIZES

    @classmethod
    def of(cls, replications: int) -> Size:
        """Scale everything with the number of replications."""
        part = replications / cls.replications
        return cls(
            replications=replications,
            banks=max(round(cls.banks * part), 2),
            drills=max(round(cls.drills * part), 2),
            studies=max(round(cls.studies * part), 1),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was found.

    Attributes:
        size: How much was simulated.
        seed: Of everything.
        coverage: Rows of ``measures_coverage``: levels, changes and churn, with ``judged``.
        same: By how much limits differ between arrays and tables.
        charts: Rows of ``measures_alarms.charts`` and of whole tables.
        trees: Rows of ``measures_alarms.trees`` and of whole tables.
        drills: Rows of ``measures_alarms.drills``.
        silence: Rows of ``measures_silence``, one per bank, estimator and what is estimated.
        doubts: Checks that did not pass in these banks.
    """

    size: Size
    seed: int
    coverage: pd.DataFrame
    same: pd.DataFrame
    charts: pd.DataFrame
    trees: pd.DataFrame
    drills: pd.DataFrame
    silence: pd.DataFrame
    doubts: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def of(cls, rows: Iterable[Row], *, size: Size, seed: int) -> Measured:
        """Put the rows of all parts together."""
        rows = list(rows)

        def part(*names: str) -> pd.DataFrame:
            return pd.DataFrame([row for row in rows if row["part"] in names])

        coverage = part("level", "change", "churn")
        return cls(
            size=size,
            seed=seed,
            coverage=coverage.assign(
                judged=[judged(held, runs) for held, runs in zip(coverage["held"], coverage["runs"], strict=True)]
            ),
            same=part("same"),
            charts=part("chart"),
            trees=part("tree"),
            drills=part("drill"),
            silence=part("silence"),
            doubts=part("doubt"),
        )

    @property
    def command(self) -> str:
        """The command that makes the same again."""
        return f"rox validate --measures --replications {self.size.replications} --seed {self.seed}"

    def silence_table(self) -> pd.DataFrame:
        """Return one row per world, what is estimated, and estimator: ``banks``, ``truth``, ``bias``, ``bias_mc``,
        ``held`` (banks whose interval holds the truth), ``sd`` and ``width``.
        """
        rows = []
        for key, part in self.silence.groupby(["world", "what", "estimator"], sort=False):
            error = part["value"] - part["truth"]
            rows.append(
                dict(zip(("world", "what", "estimator"), key, strict=True))
                | {
                    "banks": len(part),
                    "truth": float(part["truth"].mean()),
                    "bias": float(error.mean()),
                    "bias_mc": float(error.std() / len(part) ** 0.5),
                    "sd": float(error.std()),
                    "held": int(((part["low"] <= part["truth"]) & (part["truth"] <= part["high"])).sum()),
                    "width": float((part["high"] - part["low"]).mean()),
                }
            )
        return pd.DataFrame(rows)

    def as_record(self) -> dict[str, Any]:
        """Return every table as plain values."""
        names = ("coverage", "same", "charts", "trees", "drills", "silence", "doubts")
        tables = {name: getattr(self, name).to_dict(orient="records") for name in names}
        tables["silence_table"] = self.silence_table().to_dict(orient="records")
        record: dict[str, Any] = plain({"replications": self.size.replications, "seed": self.seed} | tables)
        return record


def measure(
    size: Size | None = None, *, seed: int = 1, jobs: int = 2, progress: Progress = lambda line: None
) -> Measured:
    """Try every measure by simulation.

    The same size and seed give the same figures, whatever the number of processes.

    Args:
        size: How much is simulated.
        seed: Of everything.
        jobs: Processes, one thread each; with 1 everything happens in this process.
        progress: Called with each line of progress.

    Raises:
        RunError: Numbers out of range; all of them are listed.
    """
    size = size or Size()
    faults = [
        f"{name} is {value}; needed: {least} or more"
        for name, value, least in (
            ("replications", size.replications, FEWEST),
            ("seed", seed, 0),
            ("jobs", jobs, 1),
        )
        if value < least
    ]
    if faults:
        raise RunError("The measures were not tried.", faults)
    tasks = list(_tasks(size, seed))
    return Measured.of(_worked(tasks, jobs, progress), size=size, seed=seed)


@dataclass(frozen=True)
class _Task:
    """A function of this house that returns rows, and what it is called with."""

    name: str
    run: Callable[..., list[Row]]
    positional: tuple[Any, ...]
    named: dict[str, Any]

    def __call__(self) -> list[Row]:
        return self.run(*self.positional, **self.named)


def _tasks(size: Size, seed: int) -> Iterable[_Task]:
    """List the parts, the longest first; each has a seed of its own."""
    of = 1_000 * seed
    for place, world in enumerate(BANKS):
        for bank in range(size.banks):
            named = {"customers": size.customers, "seed": of + bank}
            yield _Task(f"silence, {world}, bank {bank + 1}", silences, (world,), named)
        named = {"runs": size.drills, "answers": ANSWERS, "seed": of + 100 + place}
        yield _Task(f"drill, {('still', 'alike')[place]}", drills, (("still", "alike")[place],), named)
    for study in range(size.studies):
        named = {"studies": 1, "answers": OF_PLACE, "seed": of + 120 + study}
        yield _Task(f"watch, tables {study + 1}", watched, (), named)
    runs = {"runs": size.replications}
    for n in reversed(size.sizes):
        at = of + 200 + 20 * size.sizes.index(n)
        for place, design in enumerate(LEVELS):
            yield _Task(f"levels, {design.name}, {n}", levels, (design, n), runs | {"seed": at + place})
        for place, name in enumerate(WAVES):
            yield _Task(f"changes, {name}, {n}", changes, (name, n), runs | {"seed": at + 8 + place})
        for place, design in enumerate(CHURNS):
            yield _Task(f"churn, {design.name}, {n}", churns, (design, n), runs | {"seed": at + 14 + place})
    for place, world in enumerate(WORLDS):
        yield _Task(f"charts, {world}", charts, (world,), {"series": size.replications, "seed": of + 500 + place})
    for moved in (False, True):
        yield _Task("trees", trees, (), {"moved": moved, "runs": size.replications, "seed": of + 520 + moved})
    yield _Task("tables", through_tables, (), {"runs": size.whole, "seed": of + 530})


def _worked(tasks: Sequence[_Task], jobs: int, progress: Progress) -> list[Row]:
    """Do everything, and return the rows in the order of the tasks."""
    started = time.monotonic()
    found: dict[int, list[Row]] = {}

    def tell(place: int) -> None:
        seconds = time.monotonic() - started
        progress(f"[{len(found)}/{len(tasks)}] {tasks[place].name}: {seconds:.0f} s")

    if jobs == 1:
        for place, task in enumerate(tasks):
            found[place] = task()
            tell(place)
    else:
        with one_thread_each(), ProcessPoolExecutor(jobs, get_context("spawn"), leave_with_parent) as pool:
            futures = {pool.submit(task): place for place, task in enumerate(tasks)}
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                tell(futures[future])
    return [row for place in range(len(tasks)) for row in found[place]]
