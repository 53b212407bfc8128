"""Try estimators on many banks whose truth is known, in parallel, and keep every bank that is finished."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd

import rox
from rox.core.errors import RunError
from rox.core.files import write_text
from rox.core.record import plain, versions
from rox.numerics.rank_calibration import FEWEST
from rox.validation.methods import Method, pick, used_in
from rox.validation.posteriors import calibrated_posteriors
from rox.validation.replication import Task, read_answers, replicate
from rox.validation.scoreboard import BAND, Scoreboard
from rox.validation.worlds import Dials, World, read_world

Progress = Callable[[str], None]
ROOMS = ("core", "numerics", "linking", "models", "simulate", "testing", "validation")
"""Rooms whose code an answer depends on."""
COUNTS_ONLY = (
    "laboratory.py", "scoreboard.py", "document.py", "calibration.py", "posteriors.py", "bias_layers.toml", "measures",
)  # fmt: skip
"""What files begin with that no answer depends on: they send banks out, count and write, or are made from answers."""
LEAST_CUSTOMERS = 1_000
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def validate(
    worlds: Sequence[str] = ("easy", "cmb", "hard"),
    *,
    methods: Sequence[str] | None = None,
    replications: int = 12,
    customers: int = 10_000,
    seed: int = 1,
    out: str | Path = "out/validation",
    jobs: int = 2,
    dials: Dials | None = None,
    posteriors: int = 0,
    progress: Progress = lambda line: None,
) -> Scoreboard:
    """Let every method answer for many simulated banks and hold the answers against the truth.

    Each bank goes the way any study goes: its tables are written, loaded, checked and linked. A bank that is finished
    leaves a file, and is not looked at again as long as code, versions and settings stay the same, so that an
    interrupted run goes on where it stopped.

    Args:
        worlds: Presets of the simulated bank; ``cmb/dip`` and ``cmb/trend`` refit other branches first, and only
            methods for roll-outs are tried there.
        methods: Names of estimators and recipes; all of them by default.
        replications: Banks per world.
        customers: Customers of each bank.
        seed: Seed of the first bank; the others follow. The same seeds serve every world.
        out: Folder of the results.
        jobs: Processes; each uses one thread. With 1 everything happens in this process.
        dials: Changes to the dials of every world, such as ``{"experience": {"attention": 3.0}}``.
        posteriors: Data sets simulated from each shipped posterior to see whether it is calibrated; 0 for none.
        progress: Called with each line of progress.

    Raises:
        RunError: Unknown worlds or methods, or numbers out of range; all of them are listed.
    """
    chosen, tried = [read_world(name, dials) for name in dict.fromkeys(worlds)], pick(methods)
    faults = [
        f"{name} is {value}; needed: {least} or more"
        for name, value, least in (
            ("replications", replications, 1),
            ("customers", customers, LEAST_CUSTOMERS),
            ("seed", seed, 0),
            ("jobs", jobs, 1),
        )
        if value < least
    ]
    if posteriors and posteriors < FEWEST:
        faults.append(f"posteriors is {posteriors}; needed: {FEWEST} or more, or 0 for none")
    if not any(used_in(world, tried) for world in chosen):
        faults.append("there is nothing to try: name a world, and methods that have something to say in it")
    if faults:
        raise RunError("The estimators were not tried.", faults)
    folder = Path(out) / "banks"
    seeds = range(seed, seed + replications)
    tasks = list(_tasks(chosen, tried, seeds=seeds, customers=customers, folder=folder))
    left = [task for task in tasks if read_answers(task.path, task.key) is None]
    if kept := len(tasks) - len(left):
        progress(f"{kept} of {len(tasks)} banks are kept from before")
    _work_through(left, jobs, progress)
    found = [content for task in tasks if (content := read_answers(task.path, task.key)) is not None]
    board = Scoreboard.of(
        found, methods=tried, replications=replications, customers=customers, seed=seed, dials=dials or {}
    )
    ranked = _ranked(posteriors, seed, Path(out) / "posteriors.json", progress) if posteriors else []
    return replace(board, simulations=posteriors, posteriors=pd.DataFrame(ranked))


def _ranked(simulations: int, seed: int, path: Path, progress: Progress) -> list[dict[str, Any]]:
    """Hold every shipped posterior to uniform ranks, or read what an earlier run of the same code left."""
    source = (Path(__file__).parent / "posteriors.py").read_bytes()
    question = json.dumps([_ground(), hashlib.sha256(source).hexdigest(), simulations, seed, BAND])
    key = hashlib.sha256(question.encode()).hexdigest()
    if path.is_file():
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] == key:
            return list(content["rows"])
    started = time.monotonic()
    rows = [
        {"posterior": name, **row}
        for name, found in calibrated_posteriors(simulations, seed, level=BAND).items()
        for row in found.rows()
    ]
    write_text(path, json.dumps({"key": key, "rows": plain(rows)}, indent=1, allow_nan=False) + "\n")
    progress(f"posteriors ranked in {_span(time.monotonic() - started)}")
    return rows


def _tasks(
    worlds: Sequence[World], methods: Sequence[Method], *, seeds: range, customers: int, folder: Path
) -> Iterator[Task]:
    """List the banks, the worlds taking turns, so that a run stopped early has seen something of each."""
    ground = _ground()
    for each in seeds:
        for world in worlds:
            used = used_in(world, methods)
            if not used:
                continue
            question = json.dumps(
                [ground, world.specification, each, customers, [method.specification for method in used]]
            )
            yield Task(
                world=world,
                seed=each,
                customers=customers,
                methods=used,
                path=folder / f"{world.name.replace('/', '-')}-{each:04d}.json",
                key=hashlib.sha256(question.encode()).hexdigest(),
            )


def _ground() -> str:
    """Hash what every answer stands on: code and versions."""
    home = Path(rox.__file__).resolve().parent
    digest = hashlib.sha256(json.dumps(versions(), sort_keys=True).encode())
    for room in ROOMS:
        for file in sorted((home / room).rglob("*")):
            if file.name.startswith(COUNTS_ONLY) or file.parent.name == "words":
                continue
            if file.suffix == ".py" or (room == "simulate" and file.suffix == ".toml"):
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _work_through(tasks: Sequence[Task], jobs: int, progress: Progress) -> None:
    started = time.monotonic()

    def tell(done: int, task: Task, seconds: float) -> None:
        ahead = (time.monotonic() - started) / done * (len(tasks) - done)
        rest = f"about {_span(ahead)} left" if done < len(tasks) else f"all done in {_span(time.monotonic() - started)}"
        progress(f"[{done}/{len(tasks)}] {task.world.name}, seed {task.seed}: {seconds:.0f} s; {rest}")

    if jobs == 1:
        for done, task in enumerate(tasks, start=1):
            tell(done, task, replicate(task))
        return
    if not tasks:
        return
    workers = min(jobs, len(tasks))
    with one_thread_each(), ProcessPoolExecutor(workers, get_context("spawn"), leave_with_parent) as pool:
        futures = {pool.submit(replicate, task): task for task in tasks}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                tell(done, futures[future], future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def leave_with_parent() -> None:
    """Let a process end when the one that started it was killed; else it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_outlive, args=(parent,), daemon=True).start()


def _outlive(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes started meanwhile compute with one thread, since there are as many processes as wanted."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
