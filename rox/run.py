"""Run a study from its tables to its reports: the notebooks in order, each stage kept once it is finished."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rox
from rox.core.errors import RunError
from rox.core.files import write_text
from rox.core.record import versions
from rox.core.study import Study, read_study
from rox.core.words import Edition, languages_of
from rox.reporting.notebook import execute, faults_of, parameters

EFFECTS: Mapping[str, tuple[str, ...]] = {
    "01_experience": (),
    "02_nps_to_aum": ("gap", "lead_lag", "panel"),
    "03_churn": ("churn", "churn_hazard", "money_kept"),
    "04_uplift": ("uplift",),
    "06_drivers": (),
}
"""Which effects each notebook leaves behind."""
MAYBE: Mapping[str, tuple[str, ...]] = {
    "02_nps_to_aum": ("joint_path", "rollout_slope"),
    "04_uplift": ("experiment", "closed_loop", "funnel"),
}
"""Which it leaves behind where the data carry them."""
READS: Mapping[str, tuple[str, ...]] = {
    "06_drivers": tuple(name for names in (*EFFECTS.values(), *MAYBE.values()) for name in names)
}
"""Which effects of earlier ones it reads if they are there."""
BESIDE: Mapping[str, tuple[str, ...]] = {
    "01_experience": ("rivals.toml", "experience.toml"),
    "06_drivers": ("chain.toml",),
}
"""Which files beside the study it reads if they are there."""
PAGES: Mapping[str, tuple[str, ...]] = {"06_drivers": ("chain.html",)}
"""Which pages it leaves behind."""
REPORT = "05_roi_report"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One notebook of a run: its parameters and the files it leaves, may leave, needs, and reads if they are there."""

    name: str
    notebook: str
    values: Mapping[str, Any]
    leaves: tuple[Path, ...]
    maybe: tuple[Path, ...] = ()
    needs: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run left behind.

    Attributes:
        folder: The run's folder.
        reports: HTML reports by case.
        workbooks: Excel workbooks by case.
        records: Records by stage.
        notebooks: Executed notebooks by stage.
        seconds: What each stage took; 0 for one that was kept from before.
    """

    folder: Path
    reports: Mapping[str, Path]
    workbooks: Mapping[str, Path]
    records: Mapping[str, Path]
    notebooks: Mapping[str, Path]
    seconds: Mapping[str, float]


def templates() -> Path:
    """Return the folder of the notebooks: in the installed package, or beside it in a checkout."""
    package = Path(rox.__file__).resolve().parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / f"{REPORT}.ipynb").is_file():
            return folder
    raise RunError("The notebooks are not installed.", ["reinstall rox-research, or run from a checkout"])


def _template(stage: Stage) -> Path:
    return templates() / f"{stage.notebook}.ipynb"


def run_study(
    study: str | Path,
    out: str | Path,
    *,
    cases: Sequence[str] = (),
    seed: int | None = None,
    language: Edition | None = None,
    values: Mapping[str, Mapping[str, Any]] | None = None,
    fresh: bool = False,
    say: Say = lambda line: None,
) -> Run:
    """Run every notebook of a study and leave reports, workbooks, records and executed notebooks.

    A stage whose data, study, notebook, parameters, code and versions have not changed is kept from before, so that an
    interrupted run goes on where it stopped. A stage that fails does not keep the others from being finished, except
    those that need what it would have left.

    Args:
        study: The study file.
        out: The run's folder.
        cases: Names of the cases to value; all of them by default.
        seed: Seed of every stage; the study's by default.
        language: Language of the reports, or ``"both"``; the study's by default.
        values: Further parameters, by notebook.
        fresh: Run every stage again.
        say: Called with each line of progress.

    Raises:
        DataError: The study file has faults.
        CaseError: A case file has faults.
        RunError: A parameter does not fit (nothing is run), or notebooks failed: all of them are listed, and finished
            stages are kept.
    """
    declared = read_study(study)
    wanted = tuple(cases) or declared.case_names
    for name in wanted:
        declared.case(name)
    folder = Path(out)
    stages = list(_stages(Path(study), declared, folder, wanted, seed, language, values or {}))
    if faults := [f"{stage.name}.{fault}" for stage in stages for fault in faults_of(_template(stage), stage.values)]:
        raise RunError("Nothing was run: parameters of notebooks do not fit.", faults)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "stages.json"
    done: dict[str, str] = {} if fresh or not kept.is_file() else json.loads(kept.read_text(encoding="utf-8"))
    ground = _ground(Path(study), declared)
    seconds: dict[str, float] = {}
    failures: list[str] = []
    for place, stage in enumerate(stages, start=1):
        head = f"[{place}/{len(stages)}] {stage.name}"
        if missing := [path.stem for path in stage.needs if not path.is_file()]:
            failures.append(
                f"{stage.name} was not run: it needs {', '.join(missing)}, which an earlier stage did not leave"
            )
            say(f"{head}: not run")
            continue
        key = _key(stage, ground)
        if done.get(stage.name) == key and all(path.is_file() for path in stage.leaves):
            say(f"{head}: unchanged, kept")
            seconds[stage.name] = 0.0
            continue
        started = time.monotonic()
        try:
            _run(stage, folder, lambda line, head=head: say(f"{head}: {line}"))  # type: ignore[misc]
        except RunError as cause:
            failures += [cause.headline, *cause.faults]
            say(f"{head}: stopped")
            continue
        seconds[stage.name] = time.monotonic() - started
        say(f"{head}: done in {seconds[stage.name]:.0f} s")
        done[stage.name] = key
        write_text(kept, json.dumps(done, indent=1))
    if failures:
        raise RunError(
            f"{len(stages) - len(seconds)} of {len(stages)} stages did not finish; the others are kept.", failures
        )
    return Run(
        folder=folder,
        reports={case: folder / f"{case}.html" for case in wanted},
        workbooks={case: folder / f"{case}.xlsx" for case in wanted},
        records={stage.name: next(path for path in stage.leaves if path.suffix == ".json") for stage in stages},
        notebooks={stage.name: folder / "notebooks" / f"{stage.name}.ipynb" for stage in stages},
        seconds=seconds,
    )


def _run(stage: Stage, folder: Path, tell: Say) -> None:
    """Run one stage; what an earlier run left goes first, so that nothing outdated can be taken for new."""
    for path in (*stage.leaves, *stage.maybe):
        path.unlink(missing_ok=True)
    execute(
        _template(stage),
        folder / "notebooks" / f"{stage.name}.ipynb",
        stage.values,
        folder=folder,
        progress=lambda cell, of, heading: tell(f"cell {cell}/{of} {heading}"),
    )


def _stages(
    path: Path,
    study: Study,
    folder: Path,
    cases: Sequence[str],
    seed: int | None,
    language: Edition | None,
    extra: Mapping[str, Mapping[str, Any]],
) -> Iterator[Stage]:
    """List the stages in order, and refuse parameters for notebooks that are not among them."""
    if unknown := set(extra) - {*EFFECTS, REPORT}:
        raise RunError(
            f"There is no notebook {sorted(unknown)}.", [f"the notebooks are {', '.join([*EFFECTS, REPORT])}"]
        )
    edition = language or study.about.language
    common = {
        "STUDY": Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix(),
        "OUT": ".",
        "SEED": study.about.seed if seed is None else seed,
        "LANGUAGE": languages_of(edition)[0],
    }

    def given(notebook: str, more: Mapping[str, Any]) -> dict[str, Any]:
        known = parameters(templates() / f"{notebook}.ipynb")
        return {name: value for name, value in {**common, **more}.items() if name in known} | dict(
            extra.get(notebook, {})
        )

    def effect_file(name: str) -> Path:
        return folder / "effects" / f"{name}.npz"

    wanted = {name for names in (*EFFECTS.values(), *MAYBE.values()) for name in names}
    for notebook, effects in EFFECTS.items():
        if notebook == "04_uplift" and not study.initiatives:
            wanted -= set(effects)
            continue
        yield Stage(
            name=notebook,
            notebook=notebook,
            values=given(notebook, {}),
            leaves=(
                folder / "records" / f"{notebook}.json",
                *(effect_file(name) for name in effects),
                *(folder / name for name in PAGES.get(notebook, ())),
            ),
            maybe=tuple(effect_file(name) for name in MAYBE.get(notebook, ())),
            reads=(
                *(effect_file(name) for name in READS.get(notebook, ())),
                *(study.folder / name for name in BESIDE.get(notebook, ())),
            ),
        )
    for case in cases:
        name = f"{REPORT}_{case}"
        yield Stage(
            name=name,
            notebook=REPORT,
            values=given(REPORT, {"CASE": case, "LANGUAGE": edition}),
            leaves=(folder / f"{case}.html", folder / f"{case}.xlsx", folder / f"{case}.record.json"),
            maybe=tuple(folder / f"{case}.{each}.xlsx" for each in languages_of(edition)[1:]),
            needs=(study.folder / "cases" / f"{case}.toml", *map(effect_file, _used(study, case))),
            reads=tuple(effect_file(effect) for effect in sorted(wanted)),
        )


def _used(study: Study, case: str) -> tuple[str, ...]:
    """Return the effects a case prices, and those that split its total by channel."""
    about = study.case(case).about
    return tuple(dict.fromkeys((*about.effects, *about.explained_by)))


def _ground(path: Path, study: Study) -> str:
    """Hash what every stage stands on: study file, tables, code and versions."""
    patterns = [table.path for table in study.tables.values() if table.path] + list(study.sources.values())
    patterns += [connection.path for connection in study.connections.values() if connection.path]
    patterns += [study.evidence.layers] if study.evidence else []
    tables = sorted({file for pattern in patterns for file in study.files(pattern)})
    code = sorted(Path(rox.__file__).resolve().parent.rglob("*"))
    digest = hashlib.sha256(json.dumps(versions(), sort_keys=True).encode())
    # Nobody can tell from here what a server holds.
    if any(connection.url_env for connection in study.connections.values()):
        digest.update(os.urandom(16))
    for file in [path, *tables, *(each for each in code if each.suffix in (".py", ".toml", ".j2", ".css", ".js"))]:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _key(stage: Stage, ground: str) -> str:
    digest = hashlib.sha256(ground.encode())
    digest.update(json.dumps({**stage.values}, sort_keys=True).encode())
    for file in (_template(stage), *stage.needs, *(path for path in stage.reads if path.is_file())):
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
