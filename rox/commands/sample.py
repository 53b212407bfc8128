"""Say how many answers, and how many invitations, a wanted precision takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rox.commands.declared import Command


def add(command: Command) -> None:
    """Declare the arguments."""
    sample = command("sample", "say how many answers, and how many invitations, a wanted precision takes")
    sample.add_argument("study", type=Path, metavar="STUDY", help="the study file")
    sample.add_argument(
        "--half-width", type=float, required=True, help="half the interval, in the metric's unit: NPS points, 0.02 …"
    )
    sample.add_argument("--score", help="question of the survey (default: the study's first)")
    sample.add_argument("--metric", help="nps, mean, top_two or easy (default: the first of the question)")
    sample.add_argument(
        "--by", nargs="+", default=[], metavar="COLUMN", help="a sample for each group, such as segment"
    )
    sample.add_argument("--change", action="store_true", help="of the change between two waves")
    sample.add_argument(
        "--paired", action="store_true", help="… which ask the same customers as the last two quarters did"
    )
    sample.add_argument("--response", type=float, help="expected response rate (default: that of the study)")
    sample.add_argument("--level", type=float, default=0.90, help="level of the interval (default: 0.90)")
    sample.add_argument("--language", choices=["en", "zh"], help="language of the table (default: the study's)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.study import read_study
    from rox.linking.load import load
    from rox.metrics.sample_size import sample_sizes, sample_text

    study = read_study(options.study)
    found = sample_sizes(
        load(study),
        options.score or next(iter(study.scores)),
        options.half_width,
        by=tuple(options.by),
        metric=options.metric,
        change=options.change or options.paired,
        paired=options.paired,
        response=options.response,
        level=options.level,
    )
    if not options.json:
        print(sample_text(found, options.language or study.language, change=options.change or options.paired))
    return {"sample": found.astype(object).where(found.notna(), None).to_dict("records")}
