"""Say what a planned roll-out could tell, before anything is rolled out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rox.commands.declared import Command, complain


def add(command: Command) -> None:
    """Declare the arguments."""
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


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
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
        complain(cause, options)
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
