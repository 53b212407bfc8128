"""The same verbs from a terminal.

Exit codes: 0 done · 1 a bug in rox · 2 wrong usage · 3 study, tables or case have faults · 4 a notebook or a model
failed · 130 interrupted (finished stages are kept).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rox.core.errors import RoxError

SCHEMA = "rox.cli/1"
PRESETS = ("easy", "cmb", "hard", "b2b", "small")
SUBJECTS = (
    "survey",
    "feedback",
    "behaviour",
    "operations",
    "customers",
    "ledger",
    "exits",
    "tickets",
    "invitations",
    "contacts",
)
FORMATS = ("auto", "qualtrics", "surveymonkey", "delighted", "wenjuanxing", "generic")
EXTRAS = ("funnel", "referrals", "retests")
CODES = (
    "exit codes: 0 done; 1 a bug in rox; 2 wrong usage; 3 study, tables or case have faults; "
    "4 a notebook or a model failed; 130 interrupted, finished stages are kept"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a reader who stops reading, such as ``head``, is no fault."""
    code = 0
    try:
        code = _done(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _done(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if options.command is None:
        _parser().print_help()
        return 2
    from rox.core.errors import CaseError, DataError, RoxError

    try:
        result = COMMANDS[options.command](options)
    except RoxError as cause:
        _complain(cause, options)
        return 3 if isinstance(cause, (DataError, CaseError)) else 4
    except KeyboardInterrupt:
        print("Interrupted. Finished stages are kept; run the same command to go on.", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps({"schema": SCHEMA, "command": options.command, "ok": True, **result}, ensure_ascii=False))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rox", description="Return on experience: from survey scores to discounted money.", epilog=CODES
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    common.add_argument("--quiet", action="store_true", help="no progress on standard error")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common], epilog=CODES)

    check = command("check", "read a study, its tables and its cases, and list every fault")
    check.add_argument("study", type=Path, metavar="STUDY", help="the study file, such as data/bank/study.toml")

    bring = command("import", "make a clean table of an export of a survey tool or another system")
    bring.add_argument("file", metavar="FILE", help="CSV, Parquet or Excel; a sheet as crm.xlsx#Ledger")
    bring.add_argument("--as", dest="subject", required=True, choices=SUBJECTS, help="what the export is about")
    bring.add_argument("--format", choices=FORMATS, default="auto", help="whose export it is (default: auto)")
    bring.add_argument("--map", type=Path, metavar="MAP.toml", help="what the columns are, where rox cannot tell")
    bring.add_argument(
        "--into", type=Path, required=True, metavar="FOLDER", help="folder of the table, as a rule the study's"
    )
    bring.add_argument("--name", help="ending of the file's name, for several exports of one table")
    bring.add_argument("--timezone", help="the study's, when times of the export are in another one")
    bring.add_argument(
        "--keep-ids", action="store_true", help="ids are pseudonyms already; otherwise ROX_ID_KEY is needed"
    )
    bring.add_argument("--dry-run", action="store_true", help="show what would be done, and write nothing")
    bring.add_argument("--language", choices=["en", "zh"], default="en", help="language of the page")

    run = command("run", "run every notebook of a study and leave reports, workbooks and records")
    run.add_argument("study", type=Path, metavar="STUDY", help="the study file")
    run.add_argument("--out", type=Path, help="folder of the results (default: out/NAME OF THE STUDY)")
    run.add_argument("--case", action="append", default=[], help="value this case only; may be repeated")
    run.add_argument("--seed", type=int, help="seed of every stage (default: the study's)")
    run.add_argument("--language", choices=["en", "zh"], help="language of the reports (default: the study's)")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NOTEBOOK.NAME=VALUE",
        help="set a notebook's parameter, such as 02_nps_to_aum.LOOK_BACK=6",
    )
    run.add_argument("--fresh", action="store_true", help="run again what has not changed")

    plan = command("plan", "say what a planned roll-out could tell, and by which design, before anything is rolled out")
    plan.add_argument("study", type=Path, metavar="STUDY", help="the study file")
    plan.add_argument("--outcome", help="money or count of the ledger (default: the study's first)")
    plan.add_argument("--score", help="question of the survey (default: the study's first)")
    plan.add_argument("--initiative", metavar="NAME", help="its name; alone it means looking back on it")
    plan.add_argument("--places", type=int, metavar="N", help="places that get it (default: half of those left)")
    plan.add_argument("--starts", nargs="+", default=[], metavar="MONTH", help="months of the starts, such as 2026-03")
    plan.add_argument("--effect", type=float, default=0.03, help="assumed effect, share of own money (default: 0.03)")
    plan.add_argument("--score-effect", type=float, metavar="POINTS", help="assumed effect on the mean score")
    plan.add_argument("--by-lot", action="store_true", help="the order of the places can be drawn by lot")
    plan.add_argument("--individual", action="store_true", help="single customers can be given it by lot")
    plan.add_argument("--replications", type=int, default=200, help="placebo roll-outs (default: 200)")
    plan.add_argument("--seed", type=int, help="seed of the placebos and of the lot (default: the study's)")
    plan.add_argument("--out", type=Path, metavar="FILE.csv", help="draw the order of the places and write it here")
    plan.add_argument("--language", choices=["en", "zh"], help="language of the page (default: the study's)")

    simulate = command("simulate", "write a simulated bank with its study file and cases")
    simulate.add_argument("folder", type=Path, metavar="FOLDER", help="a folder that is new or empty")
    simulate.add_argument("--preset", choices=PRESETS, default="cmb", help="which world")
    simulate.add_argument("--customers", type=int, help="number of customers (default: the preset's)")
    simulate.add_argument(
        "--extra", action="append", default=[], choices=EXTRAS, help="write this further table too; may be repeated"
    )
    simulate.add_argument("--seed", type=int, default=1, help="seed of the world (default: 1)")

    validate = command("validate", "try the estimators on simulated banks whose truth is known")
    validate.add_argument(
        "--estimators",
        nargs="+",
        metavar="NAME",
        help="estimators and recipes to try, such as gap panel churn uplift pooled_ols (default: all)",
    )
    validate.add_argument(
        "--presets",
        nargs="+",
        default=["easy", "cmb", "hard"],
        metavar="WORLD",
        help="worlds: easy, cmb, hard, or one with another order of branches, such as cmb/dip or cmb/trend "
        "(default: easy cmb hard)",
    )
    validate.add_argument("--replications", type=int, default=12, help="banks per world (default: 12)")
    validate.add_argument("--customers", type=int, default=10_000, help="customers of each bank (default: 10000)")
    validate.add_argument("--seed", type=int, default=1, help="seed of the first bank (default: 1)")
    validate.add_argument(
        "--posteriors",
        type=int,
        default=1000,
        metavar="N",
        help="data sets simulated from each shipped posterior to see whether it is calibrated; 0 leaves it out "
        "(default: 1000)",
    )
    validate.add_argument(
        "--dial",
        action="append",
        default=[],
        metavar="GROUP.NAME=VALUE",
        help="turn a dial of every world, such as experience.attention=3; may be repeated",
    )
    validate.add_argument(
        "--calibrate", type=Path, metavar="FOLDER", help="fit what each grade is worth, and write it into this folder"
    )
    validate.add_argument("--out", type=Path, default=Path("out/validation"), help="folder (default: out/validation)")
    validate.add_argument("--jobs", type=int, default=2, help="processes, one thread each (default: 2)")
    validate.add_argument("--document", type=Path, help="write the document here too (default: only into the folder)")
    validate.add_argument("--language", choices=["en", "zh"], default="en", help="language of tables and document")
    return parser


def _version() -> str:
    from rox import __version__

    return f"rox {__version__}"


def _check(options: argparse.Namespace) -> dict[str, Any]:
    from rox.core.errors import CaseError, DataError
    from rox.core.study import read_study
    from rox.linking.load import load

    study = read_study(options.study)
    faults: list[str] = []
    for name in study.case_names:
        try:
            study.case(name)
        except CaseError as cause:
            faults += [f"{name}: {fault}" for fault in cause.faults or (cause.headline,)]
    try:
        tables = load(study)
    except DataError as cause:
        raise DataError(cause.headline, [*cause.faults, *faults]) from cause
    if faults:
        raise CaseError(f"{options.study}: the tables are in order, the cases are not.", faults)
    found = [
        {"code": check.code, "verdict": str(check.verdict), "sentence": check.sentence(study.language)}
        for check in tables.checks
    ]
    if not options.json:
        width = max(len(name) for name in tables.counts)
        for name, rows in tables.counts.items():
            print(f"{name:<{width}}  {rows:>10,} rows")
        print(f"cases: {', '.join(study.case_names) or 'none'}")
        for check in found:
            print(f"{check['code']} {check['verdict']}: {check['sentence']}")
        print("No fault found.")
    return {"tables": dict(tables.counts), "cases": list(study.case_names), "checks": found}


def _import(options: argparse.Namespace) -> dict[str, Any]:
    from rox.core.errors import DataError
    from rox.linking.imports.page import as_record, page
    from rox.linking.imports.run import import_export

    done = import_export(
        options.file,
        options.subject,
        into=options.into,
        format=options.format,
        map_file=options.map,
        name=options.name,
        timezone=options.timezone,
        keep_ids=options.keep_ids,
        dry_run=options.dry_run,
        language=options.language,
    )
    if not options.json:
        print(page(done, options.language))
        for file in done.files:
            print(f"Wrote {file}.")
    if done.faults:
        raise DataError("This export cannot be imported as it is.", done.faults)
    return as_record(done)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from rox.core.study import read_study
    from rox.run import run_study

    started = time.monotonic()
    out = options.out or Path("out") / read_study(options.study).about.name
    done = run_study(
        options.study,
        out,
        cases=options.case,
        seed=options.seed,
        language=options.language,
        values=_settings(options.set),
        fresh=options.fresh,
        say=(lambda line: None) if options.quiet else _progress(),
    )
    paths = {
        "reports": [str(path) for path in done.reports.values()],
        "workbooks": [str(path) for path in done.workbooks.values()],
        "records": [str(path) for path in done.records.values()],
        "notebooks": [str(path) for path in done.notebooks.values()],
    }
    if not options.json:
        print(f"Done in {time.monotonic() - started:.0f} s.")
        for kind, files in paths.items():
            print(f"{kind}:")
            for file in files:
                print(f"  {file}")
    return {**paths, "seconds": {name: round(value, 1) for name, value in done.seconds.items()}}


def _settings(pairs: Sequence[str], option: str = "--set", group: str = "NOTEBOOK") -> dict[str, dict[str, Any]]:
    """Read GROUP.NAME=VALUE, where VALUE is a number, true, false, a list or text."""
    from rox.core.errors import RunError

    found: dict[str, dict[str, Any]] = {}
    faults = []
    for pair in pairs:
        place, equals, text = pair.partition("=")
        first, dot, name = place.rpartition(".")
        if not (equals and dot and first and name):
            faults.append(f"{pair!r}: write {group}.NAME=VALUE")
            continue
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        found.setdefault(first, {})[name] = tuple(value) if isinstance(value, list) else value
    if faults:
        raise RunError(f"{option} cannot be read.", faults)
    return found


def _progress() -> Any:
    """Return what prints progress: one changing line on a terminal, one line per stage elsewhere."""
    live = sys.stderr.isatty()

    def say(line: str) -> None:
        if live:
            print(f"\r\033[K{line[:110]}", end="" if "cell" in line else "\n", file=sys.stderr, flush=True)
        elif ": cell " not in line:
            print(line, file=sys.stderr, flush=True)

    return say


def _plan(options: argparse.Namespace) -> dict[str, Any]:
    from rox.core.errors import FitError, RunError
    from rox.core.files import write_text
    from rox.core.study import read_study
    from rox.linking.link import link
    from rox.linking.load import load
    from rox.planning import Plan, drawn_order, plan

    try:
        asked = Plan(
            initiative=options.initiative,
            places=options.places,
            starts=tuple(options.starts),
            effect=options.effect,
            score_effect=options.score_effect,
            by_lot=options.by_lot or options.out is not None,
            individual=options.individual,
            replications=options.replications,
        )
    except FitError as cause:
        _complain(cause, options)
        raise SystemExit(2) from cause
    if options.out is not None and options.out.exists():
        raise RunError(f"{options.out} is there already.", ["an order that was drawn stays drawn; name a new file"])
    study = read_study(options.study)
    seed = study.about.seed if options.seed is None else options.seed
    money = [name for name, outcome in study.outcomes.items() if outcome.table == "ledger"]
    outcome = options.outcome or next(iter(money or study.outcomes))
    data = link(load(study), score=options.score or next(iter(study.scores)), outcome=outcome)
    order = None if options.out is None else drawn_order(data, asked, seed)
    found = plan(data, asked, rng=seed)
    files = [] if order is None else [write_text(options.out, order.to_csv(index=False, lineterminator="\n"))]
    if not options.json:
        print(found.text(options.language or study.language))
        for file in files:
            print(f"Wrote {file}.")
    return {"plan": found.as_record(), "files": [str(file) for file in files]}


def _simulate(options: argparse.Namespace) -> dict[str, Any]:
    from rox.simulate.study import write_study

    files = write_study(
        options.folder, preset_name=options.preset, customers=options.customers, seed=options.seed, extra=options.extra
    )
    if not options.json:
        print(f"Wrote {len(files)} files to {options.folder}. Try: rox run {options.folder / 'study.toml'}")
    return {"files": [str(file) for file in files]}


def _validate(options: argparse.Namespace) -> dict[str, Any]:
    from rox.core.files import write_text
    from rox.validation.document import document, tables_text
    from rox.validation.laboratory import validate

    live = sys.stderr.isatty()

    def tell(line: str) -> None:
        print(f"\r\033[K{line[:110]}" if live else line, end="" if live else "\n", file=sys.stderr, flush=True)

    board = validate(
        options.presets,
        dials=_settings(options.dial, "--dial", "GROUP"),
        methods=options.estimators,
        replications=options.replications,
        customers=options.customers,
        seed=options.seed,
        out=options.out,
        jobs=options.jobs,
        posteriors=options.posteriors,
        progress=(lambda line: None) if options.quiet else tell,
    )
    if live and not options.quiet:
        print(file=sys.stderr)
    record, text = board.as_record(), document(board, options.language)
    written = [
        write_text(options.out / "validation.json", json.dumps(record, ensure_ascii=False, indent=1) + "\n"),
        *(write_text(path, text) for path in (options.out / "validation.md", options.document) if path is not None),
    ]
    if options.calibrate is not None:
        from rox.validation.calibration import Calibration

        found = Calibration.of(board)
        folder = options.calibrate
        written += found.save(folder / "bias_layers.toml", folder / "calibration.csv")
        written.append(write_text(folder / "calibration.md", found.document(options.language)))
    if not options.json:
        print(tables_text(board, options.language))
        print(f"Wrote {', '.join(str(path) for path in written)}.")
    return {**record, "files": [str(path) for path in written]}


def _complain(cause: RoxError, options: argparse.Namespace) -> None:
    if options.json:
        error = {"kind": type(cause).__name__, "headline": cause.headline, "faults": list(cause.faults)}
        print(
            json.dumps({"schema": SCHEMA, "command": options.command, "ok": False, "error": error}, ensure_ascii=False)
        )
    else:
        print(cause, file=sys.stderr)


COMMANDS = {
    "check": _check,
    "import": _import,
    "run": _run,
    "plan": _plan,
    "simulate": _simulate,
    "validate": _validate,
}

if __name__ == "__main__":
    raise SystemExit(main())
