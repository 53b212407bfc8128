"""Hold the last finished windows against rules, and write what is out of bounds as tickets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rox.commands.declared import Command, date_of


def add(command: Command) -> None:
    """Declare the arguments."""
    alerts = command(
        "alerts", "write what is out of bounds, or moved, as tickets to a table: each once, with its owner"
    )
    alerts.add_argument("study", type=Path, metavar="STUDY", help="the study file")
    alerts.add_argument("--rules", type=Path, required=True, metavar="FILE.toml", help="what is watched, and by whom")
    alerts.add_argument(
        "--out", type=Path, required=True, metavar="FILE.csv", help="the table; rows are only added to it"
    )
    alerts.add_argument(
        "--on", type=date_of, metavar="DATE", help="the day, as 2025-12-31 (default: that of the extract)"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and return what ``--json`` prints."""
    from rox.core.study import read_study
    from rox.linking.load import load
    from rox.metrics.alert_rules import LOW, read_rules
    from rox.metrics.alerts import alerts, write_alerts

    study = read_study(options.study)
    rules = read_rules(options.rules, study)
    found = alerts(load(study), rules, on=options.on)
    written = write_alerts(found, rules, options.out)
    watched = found.watched.to_dict("records")
    if not options.json:
        for each in written[f"reason_{study.language}"]:
            print(each)
        for each in watched:
            print(
                f"{each['rule']}: {each['window']}, {each['watched']} groups watched, {each['skipped']} too small, "
                f"{each['alerts']} out of bounds"
                + ("" if rules[each["rule"]].metric == LOW else f", {each['expected_false']:.1f} to expect by chance")
            )
        print(f"{len(written)} new of {len(found.table)} alerts on {found.on.isoformat()}; {options.out}")
    new = written.drop(columns="contacted").to_dict("records")
    for each in new:
        each |= {"date": each["date"].isoformat(), "due": each["due"].isoformat()}
    return {"on": found.on.isoformat(), "watched": watched, "new": new, "files": [str(options.out)]}
