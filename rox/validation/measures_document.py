"""The honest numbers as a document: what was asked, what came out, what fails and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rox.core.record import versions
from rox.core.words import Language, say
from rox.validation.measures import Measured
from rox.validation.measures_alarms import BRANCHES, CHARTED, PLACES, WORLDS
from rox.validation.measures_coverage import ASKED, coverage_error
from rox.validation.measures_samples import MOVED

_LEFT = {"measure", "design", "world", "chart", "what", "estimator", "code"}
_PARTS = ("level", "change", "churn")
_WORLDS_OF_CHARTS = "blind"


def measures_document(found: Measured, language: Language = "en") -> str:
    """Write the whole document as Markdown."""
    parts = [
        f"# {say('measures.title', language)}",
        say("measures.plain", language),
        _made(found, language),
        *_coverage_parts(found, language),
        *_alarm_parts(found, language),
        *_silence_parts(found, language),
        f"## {say('measures.limits', language)}",
        say("measures.limits.text", language),
    ]
    return "\n\n".join(parts) + "\n"


def measures_text(found: Measured, language: Language = "en") -> str:
    """Write the tables alone, for a terminal."""
    tables = [coverage_table(found.coverage[found.coverage["part"] == part], language) for part in _PARTS]
    tables += [chart_table(found.charts, language), discovery_table(found, language)]
    return "\n\n".join([*tables, silence_table(found, language)])


def coverage_table(coverage: pd.DataFrame, language: Language = "en") -> str:
    """Lay coverage out as a Markdown table: a row per measure and design, a column per size."""
    rows = []
    for key, part in coverage.groupby(["measure", "design"], sort=False):
        row = {"measure": say(f"measures.measure.{key[0]}", language), "design": str(key[1])}
        for each in part.sort_values("n").to_dict("records"):
            share = f"{each['held'] / each['runs']:.3f}"
            marked = {"inside": share, "unclear": f"{share}?"}.get(str(each["judged"]), f"**{share}**")
            row[f"{each['n']:,}"] = marked
        rows.append(row)
    return _table(rows, language)


def chart_table(charts: pd.DataFrame, language: Language = "en") -> str:
    """Lay false alarms of charts out as a Markdown table."""
    rows = [
        {
            "world": str(each["world"]),
            "chart": str(each["chart"]),
            "charted": f"{each['months']:,}",
            "alarms": f"{each['alarms']:,}",
            "stated": f"{each['stated']:,.0f}",
            "months": _between(each["months"], each["alarms"]),
        }
        for each in charts_added(charts).to_dict("records")
    ]
    return _table(rows, language)


def charts_added(charts: pd.DataFrame) -> pd.DataFrame:
    """Add up the rows of each world and chart."""
    sums = {"series": "sum", "months": "sum", "alarms": "sum", "stated": "first", "expected": "sum"}
    order = [*WORLDS, "tables"]
    added = charts.groupby(["world", "chart"], sort=False).agg(sums).reset_index()
    placed: pd.DataFrame = added.sort_values("world", key=lambda each: each.map(order.index), kind="stable")
    return placed.reset_index(drop=True)


def discoveries(found: Measured) -> pd.DataFrame:
    """Return ``what`` was tried, ``runs``, ``wrong``, ``share``, ``found`` and ``stated``; see ``measures_alarms``."""
    rows = []
    for frame in (found.trees, found.drills):
        for key, part in sorted(frame.groupby(["part", "world"], sort=False), key=lambda each: each[0][1] == "tables"):
            runs = part["runs"].sum()
            row = {"what": f"{key[0]}, {key[1]}", "runs": int(runs), "wrong": int(part["wrong"].sum())}
            for name in ("share", "found"):
                known = name in part and part[name].notna().all()
                row[name] = float((part[name] * part["runs"]).sum() / runs) if known else float("nan")
            rows.append(row | {"stated": float(part["stated"].iloc[0])})
    return pd.DataFrame(rows)


def discovery_table(found: Measured, language: Language = "en") -> str:
    """Lay false discoveries out as a Markdown table."""
    rows = []
    for each in discoveries(found).to_dict("records"):
        share, error = each["wrong"] / each["runs"], coverage_error(each["wrong"], each["runs"])
        rows.append(
            {
                "what": str(each["what"]),
                "runs": f"{each['runs']:,}",
                "stated": f"{each['stated']:.2f}",
                "wrong": f"{share:.3f} ± {error:.3f}",
                "false": _share(each["share"]),
                "found": _share(each["found"]),
            }
        )
    return _table(rows, language)


def silence_table(found: Measured, language: Language = "en") -> str:
    """Lay bias and coverage of estimates of everybody out as a Markdown table."""
    rows = []
    for each in found.silence_table().to_dict("records"):
        point = each["estimator"] not in ("spread", "worst_case")
        rows.append(
            {
                "world": str(each["world"]),
                "what": str(each["what"]),
                "estimator": str(each["estimator"]),
                "banks": f"{each['banks']}",
                "truth": f"{each['truth']:.1f}",
                "bias": f"{each['bias']:+.1f} ± {each['bias_mc']:.1f}" if point else "–",
                "sd": f"{each['sd']:.1f}" if point else "–",
                "held": _held(each["held"], each["banks"]),
                "width": f"{each['width']:.1f}",
            }
        )
    return _table(rows, language)


def _made(found: Measured, language: Language) -> str:
    size = found.size
    return say(
        "measures.made",
        language,
        command=found.command,
        replications=f"{size.replications:,}",
        drills=2 * size.drills,
        studies=size.studies,
        banks=size.banks,
        customers=f"{size.customers:,}",
        versions=", ".join(f"{name} {version}" for name, version in versions().items()),
    )


def _coverage_parts(found: Measured, language: Language) -> list[str]:
    runs = found.size.replications
    parts = [
        f"## {say('measures.coverage', language)}",
        say(
            "measures.coverage.text",
            language,
            low=f"{ASKED[0]:.2f}",
            high=f"{ASKED[1]:.2f}",
            error=f"{coverage_error(0.9 * runs, runs):.3f}",
        ),
    ]
    for part in _PARTS:
        rows = found.coverage[found.coverage["part"] == part]
        values = {"moved": MOVED} if part == "change" else {}
        parts += [
            f"### {say(f'measures.{part}', language)}",
            say(f"measures.{part}.text", language, **values),
            coverage_table(rows, language),
            *_verdicts(rows, language),
        ]
    same = found.same
    parts += [
        f"### {say('measures.same', language)}",
        say(
            "measures.same.text",
            language,
            runs=int(same["runs"].max()),
            n=int(same["n"].max()),
            measures=len(same),
            off=f"{same['off'].max():.1e}",
        ),
    ]
    return parts


def _verdicts(rows: pd.DataFrame, language: Language) -> list[str]:
    """Say how many cells lie outside, and name those that do so beyond chance."""
    outside = rows[rows["judged"] != "inside"]
    broken = outside[outside["judged"] != "unclear"]
    counts = {"cells": len(rows), "outside": len(outside), "unclear": len(outside) - len(broken)}
    if outside.empty:
        return [say("measures.verdict.all", language, cells=len(rows))]
    if broken.empty:
        return [say("measures.verdict.unclear", language, cells=len(rows), outside=len(outside))]
    cells = [
        say(
            "measures.verdict.cell",
            language,
            measure=say(f"measures.measure.{each['measure']}", language),
            design=each["design"],
            n=f"{each['n']:,}",
            share=f"{each['held'] / each['runs']:.3f}",
            below=each["below"],
            above=each["above"],
            runs=f"{each['runs']:,}",
        )
        for each in broken.to_dict("records")
    ]
    return [say("measures.verdict.some", language, **counts), "\n".join(f"- {cell}" for cell in cells)]


def _alarm_parts(found: Measured, language: Language) -> list[str]:
    charts = charts_added(found.charts)
    own = charts[charts["world"] != _WORLDS_OF_CHARTS]
    many = own[own["alarms"] > own["expected"] + 2 * np.sqrt(own["alarms"])]
    said = say("measures.alarms.hold", language)
    if len(many):
        cases = "; ".join(f"{each['chart']}, *{each['world']}*" for each in many.to_dict("records"))
        said = say("measures.alarms.break", language, cases=cases)
    rows = discoveries(found)
    rate = [
        each["share"] if each["what"] == "tree, moved" else each["wrong"] / each["runs"]
        for each in rows.to_dict("records")
    ]
    error = [coverage_error(each["wrong"], each["runs"]) for each in rows.to_dict("records")]
    above = rows[np.array(rate) > rows["stated"] + 2 * np.array(error)]
    verdict = say("measures.discoveries.hold", language)
    if len(above):
        verdict = say("measures.discoveries.break", language, cases="; ".join(f"*{each}*" for each in above["what"]))
    return [
        f"## {say('measures.alarms', language)}",
        say("measures.alarms.text", language, months=CHARTED, groups=1 + BRANCHES + BRANCHES * PLACES),
        chart_table(found.charts, language),
        said,
        *([say("measures.alarms.wandering", language)] if "wandering" in set(many["world"]) else []),
        f"### {say('measures.discoveries', language)}",
        say("measures.discoveries.text", language),
        discovery_table(found, language),
        verdict,
    ]


def _silence_parts(found: Measured, language: Language) -> list[str]:
    rows = {
        (str(row["world"]), str(row["what"]), str(row["estimator"])): row
        for row in found.silence_table().to_dict("records")
    }
    shares = {key: f"{row['held'] / row['banks']:.0%}" for key, row in rows.items()}
    easy: dict[str, str] = {}
    is_recovered = True
    for name in ("raw", "raked", "two_models"):
        row = rows["easy", "change", name]
        off = abs(row["bias"]) > 2 * row["bias_mc"]
        few = row["held"] / row["banks"] + 2 * coverage_error(row["held"], row["banks"]) < ASKED[0]
        is_recovered &= name == "raw" or not (off or few)
        easy |= {name: f"{row['bias']:+.1f}", f"{name}_mc": f"{row['bias_mc']:.1f}"}
        easy |= {f"{name}_held": shares["easy", "change", name]}
    level, change = rows["cmb", "level", "raked"], rows["cmb", "change", "raked"]
    cmb = {
        "raked": f"{level['bias']:.1f}",
        "raked_mc": f"{level['bias_mc']:.1f}",
        "raked_held": shares["cmb", "level", "raked"],
        "width": f"{rows['cmb', 'level', 'spread']['width']:.0f}",
        "spread_held": shares["cmb", "level", "spread"],
        "worst_held": shares["cmb", "level", "worst_case"],
        "change": f"{change['bias']:+.1f}",
        "change_mc": f"{change['bias_mc']:.1f}",
        "change_held": shares["cmb", "change", "raked"],
    }
    parts = [
        f"## {say('measures.silence', language)}",
        say("measures.silence.text", language),
        silence_table(found, language),
        say("measures.silence.easy" if is_recovered else "measures.silence.easy_off", language, **easy),
        say("measures.silence.cmb", language, **cmb),
        *_broken_silence(found, language),
    ]
    if found.doubts.empty:
        return parts
    doubts = []
    for key, part in found.doubts.drop_duplicates(["world", "seed", "code", "demotes"]).groupby(["world", "code"]):
        lowered = part.groupby("seed")["demotes"].any()
        doubts.append(
            {
                "world": str(key[0]),
                "code": str(key[1]),
                "demoted": f"{lowered.sum() / found.size.banks:.2f}",
                "noted": f"{(~lowered).sum() / found.size.banks:.2f}",
            }
        )
    return [*parts, say("measures.doubts.text", language), _table(doubts, language)]


def _broken_silence(found: Measured, language: Language) -> list[str]:
    """List every estimate that is off, or whose interval holds the truth too rarely, by more than two errors."""
    cases = []
    for each in found.silence_table().to_dict("records"):
        point = each["estimator"] not in ("spread", "worst_case")
        error = coverage_error(each["held"], each["banks"])
        off = point and abs(each["bias"]) > 2 * each["bias_mc"]
        if not off and each["held"] / each["banks"] + 2 * error >= 0.90:
            continue
        bias = f"{each['bias']:+.1f} ± {each['bias_mc']:.1f}" if point else "–"
        words = {name: str(each[name]) for name in ("world", "what", "estimator")}
        held = _held(each["held"], each["banks"])
        cases.append(f"- {say('measures.silence.case', language, **words, bias=bias, held=held)}")
    return [say("measures.silence.broken", language), "\n".join(cases)] if cases else []


def _between(months: float, alarms: float) -> str:
    """Write months between alarms with their Monte Carlo error."""
    if not alarms:
        return f"> {months:,.0f}"
    return f"{months / alarms:,.0f} ± {months / alarms / np.sqrt(alarms):,.0f}"


def _held(count: float, banks: float) -> str:
    return f"{count / banks:.2f} ± {coverage_error(count, banks):.2f}"


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def _table(rows: Sequence[Mapping[str, str]], language: Language) -> str:
    """Write a Markdown table with padded columns; numbers, and columns called by one, to the right."""
    names = list(rows[0])
    head = {name: name if name[0].isdigit() else say(f"measures.column.{name}", language) for name in names}
    width = {name: max(len(row.get(name, "")) for row in [head, *rows]) for name in names}

    def line(row: Mapping[str, str]) -> str:
        cells = [f"{row[name]:<{width[name]}}" if name in _LEFT else f"{row[name]:>{width[name]}}" for name in names]
        return f"| {' | '.join(cells)} |"

    rule = {name: "-" * width[name] if name in _LEFT else "-" * (width[name] - 1) + ":" for name in names}
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])
