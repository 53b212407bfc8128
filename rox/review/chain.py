"""Measure a company's chain: how its boxes stand, the evidence on its arrows, and what its paths would bring."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rox.core.chain import NAN, Arrow, Box, Chain
from rox.core.chain_outline import ChainOutline, DeclaredArrow, default_outline, read_outline
from rox.core.check import Check, Verdict
from rox.core.declared import Wording
from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.tree_report import TreeReport
from rox.metrics.answers import mean_score
from rox.metrics.exits import churn
from rox.metrics.source import PLACE, Tables
from rox.metrics.trees import measure_tree, metric_tree
from rox.review.chain_associations import Associations, associations
from rox.review.chain_effects import NORMAL_90, initiatives_of, leavers_held, with_effects
from rox.review.chain_products import Links, products

FEWEST_PLACES = 10
"""Places that must be shown for the best of them to bound the score."""
BEST_PLACES = 0.95
MOST_EVENTS = 12
"""Kinds of events that the study suggests, those of the most customers."""
OWN_FILE, OWN_TREE = "chain.toml", "experience.toml"


def outline_of(tables: Tables, effects: Mapping[str, Effect], path: str | Path | None = None) -> ChainOutline:
    """Return the description of a chain: the file, the one beside the study, or what the study suggests.

    Args:
        tables: Loaded tables.
        effects: Saved effects by name.
        path: A description; by default ``chain.toml`` beside the study, if there is one.

    Raises:
        DataError: Every fault of the file in one message.
    """
    study = tables.study
    own = study.folder / OWN_FILE
    if path is not None or own.is_file():
        return read_outline(path or own, study)
    events: tuple[str, ...] = ()
    if "events" in tables.tables:
        table = tables.tables["events"]
        counted = tables.fetch(table.group_by("kind").aggregate(people=table.customer.nunique()))
        known = counted[counted["kind"].notna() & (counted["people"] >= study.about.min_cell)]
        often = known.sort_values(["people", "kind"], ascending=[False, True], kind="stable").head(MOST_EVENTS)
        events = tuple(sorted(str(kind) for kind in often["kind"]))
    return default_outline(study, events, initiatives_of(effects, study))


def chain(
    tables: Tables,
    outline: ChainOutline,
    effects: Mapping[str, Effect],
    *,
    fingerprints: frozenset[str] = frozenset(),
    rng: int | np.random.Generator | None = None,
) -> Chain:
    """Put the evidence on every arrow of a chain.

    Arrows into questions of the survey are associations with what came before the answer, grade D at best. Arrows from
    the score to what customers do and hold, and from initiatives, are effects that models saved. What leavers take with
    them is arithmetic. Everything else is untested, and says what is missing.

    Args:
        tables: Loaded tables.
        outline: Boxes and arrows.
        effects: Saved effects by name, per point of the outline's score.
        fingerprints: Of the tables as they are linked now; effects of others are marked. Empty: not asked.
        rng: Seed or generator.

    Raises:
        DataError: Names in the outline that tables, tree or effects do not have.
    """
    study, generator = tables.study, np.random.default_rng(rng)
    found = associations(tables, outline, generator)
    arrows = {
        (each.source, each.target): _arrow(each, tables, outline, effects, fingerprints, found)
        for each in outline.arrows
    }
    report = _tree(tables, outline)
    boxes = tuple(_box(name, tables, outline, effects, found, report) for name in outline.boxes)
    headroom, bounded_by = _headroom(tables, outline)
    links = Links(
        outline=outline,
        study=study,
        arrows=arrows,
        slopes=found.slopes,
        levels=found.levels,
        effects=effects,
        headroom=headroom,
        fingerprints=fingerprints,
    )
    title = outline.about.title or study.about.title
    return Chain(
        title=title,
        score=links.score,
        months=outline.about.months,
        boxes=boxes,
        arrows=tuple(arrows.values()),
        products=products(links, generator),
        headroom=NAN if headroom is None else headroom,
        bounded_by=bounded_by,
        checks=tuple(_checks(arrows.values())),
    )


def _arrow(
    declared: DeclaredArrow,
    tables: Tables,
    outline: ChainOutline,
    effects: Mapping[str, Effect],
    fingerprints: frozenset[str],
    found: Associations,
) -> Arrow:
    ends, study = (declared.source, declared.target), tables.study
    if declared.effect is None and ends in found.arrows:
        return found.arrows[ends]
    source, target = (outline.boxes[name].kind(study) for name in ends)
    if source == "leaving" and target in ("stock", "flow") and declared.effect is None:
        told = leavers_held(tables, str(outline.boxes[ends[1]].outcome))
        arrow = Arrow(source=ends[0], target=ends[1])
        if not isinstance(told, str):
            return replace(arrow, shown=told)
        least = str(study.about.min_cell)
        return replace(arrow, need="few", what=least) if told == "few" else replace(arrow, need="table", what=told)
    return with_effects(declared, outline, study, effects, fingerprints)


def _tree(tables: Tables, outline: ChainOutline) -> TreeReport | None:
    """Measure the tree whose metrics the outline names, if it names any.

    Raises:
        DataError: Metrics that the tree does not have.
    """
    wanted = {str(outline.boxes[name].metric): name for name in outline.of_kind(tables.study, "metric")}
    if not wanted:
        return None
    own = tables.study.folder / OWN_TREE
    tree = metric_tree(outline.about.tree or (own if own.is_file() else "heart"))
    faults = [
        f"boxes.{name}.metric: no {metric!r} in the tree; it has {', '.join(tree.metrics)}"
        for metric, name in wanted.items()
        if metric not in tree.metrics
    ]
    if faults:
        raise DataError("The chain names metrics that its tree does not have.", faults)
    return measure_tree(tables, tree, every="quarter")


def _box(
    name: str,
    tables: Tables,
    outline: ChainOutline,
    effects: Mapping[str, Effect],
    found: Associations,
    report: TreeReport | None,
) -> Box:
    study, declared = tables.study, outline.boxes[name]
    kind = declared.kind(study)
    box = Box(key=name, stage=outline.stage(name, study), kind=kind, label=outline.label(name, study))
    if kind == "metric" and report is not None:
        return _of_metric(box, str(declared.metric), report, has_label=declared.label is not None)
    if kind in ("event", "topic") and name in found.levels:
        value, low, high = found.levels[name]
        return replace(box, level=float(value), low=float(low), high=float(high), unit="times")
    if kind in ("rating", "score"):
        told = mean_score(tables, str(declared.question)).iloc[0]
        return replace(box, level=float(told["value"]), low=float(told["low"]), high=float(told["high"]), unit="points")
    if kind == "leaving" and {"exits", "ledger"} <= set(tables.tables):
        rates = churn(tables).set_index("metric")
        left: Any = rates.loc["churn_voluntary" if "churn_voluntary" in rates.index else "churn_all"]
        level, low, high = (float(left[each]) for each in ("value", "low", "high"))
        return replace(box, level=level, low=low, high=high, unit="share_per_year")
    if kind in ("stock", "flow"):
        return replace(box, level=_held(str(declared.outcome), effects), unit="money", currency=study.currency)
    return box


def _of_metric(box: Box, metric: str, report: TreeReport, *, has_label: bool) -> Box:
    declared, now = report.tree.metrics[metric], report.now
    label: Wording = box.label if has_label else declared.label
    told = now[now["metric"] == metric]
    if told.empty:
        return replace(box, label=label)
    row = told.iloc[0]
    return replace(
        box,
        label=label,
        level=float(row["value"]),
        low=float(row["low"]),
        high=float(row["high"]),
        unit=declared.measured_in,
        period=str(row[report.every]),
    )


def _held(outcome: str, effects: Mapping[str, Effect]) -> float:
    """Return the money per customer that the saved effects stand on."""
    for effect in effects.values():
        base = effect.baseline[["customers", "money"]].astype(float)
        if (
            effect.estimand.outcome == outcome
            and effect.estimand.question != "initiative"
            and base.notna().to_numpy().all()
        ):
            return float((base["customers"] * base["money"]).sum() / base["customers"].sum())
    return NAN


def _headroom(tables: Tables, outline: ChainOutline) -> tuple[float | None, str]:
    """Return how far the mean score can improve: as said, to the best places, or to the end of the scale."""
    said, question = outline.about.headroom, outline.about.score
    if said is not None:
        return said, "said"
    scale = tables.study.scores[question]
    sign, best = (1.0, scale.high) if scale.higher_is_better else (-1.0, scale.low)
    overall = float(mean_score(tables, question)["value"].iloc[0])
    if "unit" in tables.tables["customers"].columns and np.isfinite(overall):
        places = mean_score(tables, question, (PLACE,))[["value", "se"]].astype(float).dropna()
        shrunken = _shrunken(places["value"].to_numpy(), places["se"].to_numpy() ** 2)
        room = 0.0 if shrunken is None else float(np.quantile(sign * shrunken, BEST_PLACES)) - sign * overall
        if room > 0:
            return room, "places"
    room = sign * (best - overall)
    return (room, "scale") if np.isfinite(room) and room > 0 else (None, "")


def _shrunken(means: NDArray[np.float64], variances: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return place means drawn to their common mean, (place,); None where the places do not differ beyond chance.

    Between-variance by the method of moments (DerSimonian & Laird 1986, *Controlled Clinical Trials* 7); each mean
    keeps the part B = τ²/(τ²+V) of its distance, so that the best places are not the luckiest. Places differ where
    Cochran's Q exceeds its 95% limit (normal approximation).
    """
    told = variances > 0
    means, variances = means[told], variances[told]
    if len(means) < FEWEST_PLACES:
        return None
    weight = 1 / variances
    free = len(means) - 1
    q = float(weight @ (means - weight @ means / weight.sum()) ** 2)
    if q <= free + NORMAL_90 * np.sqrt(2 * free):
        return None
    between = (q - free) / (weight.sum() - weight @ weight / weight.sum())
    weight = 1 / (variances + between)
    middle = weight @ means / weight.sum()
    return np.asarray(middle + between * weight * (means - middle))


def _checks(arrows: Collection[Arrow]) -> Iterator[Check]:
    """Say what holds for the chain as a whole."""
    tested = [arrow.shown for arrow in arrows if arrow.shown is not None]
    causal = [each for each in tested if each.grade is not None and each.grade.is_causal and not each.is_open]
    values = {"tested": len(tested), "all": len(arrows), "causal": len(causal)}
    yield Check(code="ROX-D27", verdict=Verdict.NOTE, values=values)
