"""Value a case under one or more effects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from rox.core.case import Case
from rox.core.check import BIAS_LAYERS, BiasLayer, Check, Grade, Verdict
from rox.core.declared import Wording
from rox.core.effect import Effect
from rox.core.errors import CaseError
from rox.core.formula import Array
from rox.core.ledger import NO_WORDS, Ledger, label
from rox.core.returns import Return
from rox.core.units import Unit
from rox.valuation.decision import decide
from rox.valuation.draws import joint_draws
from rox.valuation.findings import Setting
from rox.valuation.fit import column, is_claim, require_fit, segments, told_apart_by_use
from rox.valuation.information import knowing
from rox.valuation.lines import ledger_of, told_apart
from rox.valuation.money_grade import link_checks, money_grade
from rox.valuation.paths import path_of
from rox.valuation.sensitivity import tornado
from rox.valuation.split import STATED, by_grade, channels, split_checks, stated_worths
from rox.valuation.streams import DECLARED

BLOCK = 5_000
FAN = (0.05, 0.25, 0.50, 0.75, 0.95)
TAILS = (0.05, 0.95)
MONEY = ("people", "balance")


def value(
    effects: Effect | Sequence[Effect],
    case: Case,
    *,
    draws: int = 20_000,
    rng: int | np.random.Generator | None = None,
    layers: Mapping[Grade, BiasLayer] = BIAS_LAYERS,
) -> Return:
    """Turn effects into monthly cash flows, draw by draw, and into a decision.

    The total-effect ledger: extra money held by the customers of the case, times its yearly margin, less costs and tax,
    discounted month by month. Point path and draws are the same lines (:mod:`rox.core.ledger`) with other inputs.

    An effect that the case names only in ``explained_by`` is not priced: it splits the total of another by channel.
    Effects of grade E are claims: they stand in ``by_grade`` and in ``npv_with_claims`` and are in no other total.

    Args:
        effects: What the initiative does: per initiative, or per point of the score together with the case's lift.
        case: People, balances, margins, costs and timing.
        draws: Number of joint draws.
        rng: Seed. The same seed gives the same draws on the same machine.
        layers: What estimates of each grade are worth; by default the shipped discounts, else the study's own
            (``study.layers``), learned from what became of earlier forecasts.

    Raises:
        UnitError: An effect is descriptive, or its dose, unit or currency does not match the case.
        CaseError: Two effects hold the same money (ROX-V01), or segments do not match.

    References:
        Brealey, Myers & Allen, *Principles of Corporate Finance*, on NPV, IRR and payback.
    """
    asked = (effects,) if isinstance(effects, Effect) else tuple(effects)
    given = asked if layers is BIAS_LAYERS else tuple(effect.discounted(layers) for effect in asked)
    priced, explainers = told_apart_by_use(given, case)
    require_fit(priced, case, explainers)
    groups = segments(priced, case)
    ledger = ledger_of(priced, case, explainers)
    path = path_of(priced, case, explainers)
    seed = int(np.random.default_rng(rng).integers(0, 2**63)) if not isinstance(rng, int) else rng
    drawn = joint_draws(ledger, given, groups, draws, seed, case.correlation)
    point = {line.name: found[0] for line, found in ledger.run(ledger.point)}
    totals, fan = _simulate(ledger, drawn, draws)
    grades = {effect.name: money_grade(effect, case) for effect in priced}
    grade = max([grades[effect.name] for effect in priced if not is_claim(effect)], default=Grade.E)
    evidence = by_grade(priced, case, point, totals)
    share = float(np.nan_to_num(evidence["share"].get(STATED, 0.0)))
    setting = Setting(case=case, effects=priced, groups=groups, ledger=ledger, drawn=drawn, seed=seed)
    known = knowing(setting, totals["npv"])
    return Return(
        case=case,
        effects=priced,
        ledger=ledger,
        point=point,
        draws=totals,
        fan=fan,
        by_group=_by_group(priced, groups, point),
        channels=channels(priced, case, path, point, totals),
        by_grade=evidence,
        tornado=tornado(ledger, priced, drawn),
        bridge=_bridge(case, priced, point),
        checks=(
            *_checks(totals, point),
            *_weighing(priced, case, groups),
            *link_checks(priced, case),
            *split_checks(priced, case, ledger, path, point, totals),
            *(known.checks if known else ()),
        ),
        grade=grade,
        decision=decide(
            totals,
            grade,
            case.finance.hurdle.spread.likely,
            case.policy,
            stated=stated_worths(case, totals),
            share=share,
        ),
        seed=seed,
        drawn=drawn,
        knowing=known,
        layers=_layers_used(priced, layers),
        money_grades=grades,
    )


def _layers_used(effects: Sequence[Effect], layers: Mapping[Grade, BiasLayer]) -> Mapping[Grade, BiasLayer]:
    """Return the discounts by grade that the effects were really priced with.

    Raises:
        CaseError: Effects of one grade carry different ones, so that no table by grade would be true.
    """
    used: dict[Grade, BiasLayer] = {}
    for effect in effects:
        if used.setdefault(effect.grade, effect.bias_layer) != effect.bias_layer:
            raise CaseError(
                f"Effects of grade {effect.grade} carry different evidence discounts.",
                [f"{effect.name}: give the discounts of all as `layers` instead"],
            )
    return layers if all(layers[grade] == layer for grade, layer in used.items()) else {**layers, **used}


def _simulate(ledger: Ledger, drawn: Mapping[str, Array], size: int) -> tuple[dict[str, Array], pd.DataFrame]:
    """Run the ledger over blocks of draws, so that memory does not grow with their number."""
    totals: dict[str, list[Array]] = {}
    paths = []
    for start in range(0, size, BLOCK):
        part = {name: values[start : start + BLOCK] if len(values) > 1 else values for name, values in drawn.items()}
        rows = min(BLOCK, size - start)
        for line, found in ledger.run(part):
            if line.scope == "total":
                totals.setdefault(line.name, []).append(np.broadcast_to(found[:, 0], (rows,)))
            elif line.name == "cumulative_present":
                paths.append(found)
    fan = pd.DataFrame(
        np.quantile(np.concatenate(paths), FAN, axis=0).T,
        index=pd.Index(ledger.months.astype(int), name="month"),
        columns=[f"q{round(100 * q):02d}" for q in FAN],
    )
    return {name: np.concatenate(parts) for name, parts in totals.items()}, fan


def _by_group(effects: Sequence[Effect], groups: tuple[str, ...], point: Mapping[str, Array]) -> pd.DataFrame:
    """Discounted benefit before tax on the point path, by effect and segment; claims are left out."""
    factor = point["discount_factor"]
    rows = [
        {
            "effect": effect.name,
            "group": group,
            "present_benefit": float((point[f"income_{effect.name}_{place}"] * factor).sum()),
            "extra_money_at_peak": float(max(point[f"extra_{effect.name}_{place}"], key=abs)),
        }
        for effect in effects
        if not is_claim(effect)
        for place, group in enumerate(groups, start=1)
    ]
    return pd.DataFrame(rows, columns=["effect", "group", "present_benefit", "extra_money_at_peak"])


def _bridge(case: Case, effects: Sequence[Effect], point: Mapping[str, Array]) -> pd.DataFrame:
    """Steps from contribution to NPV on the point path; all but the last add up to it."""

    def step(word: str, value: float, kind: str, text: Wording = NO_WORDS) -> dict[str, object]:
        return {"en": label(word, "en", "", text), "zh": label(word, "zh", "", text), "value": value, "kind": kind}

    steps, groups = [], segments(effects, case)
    for effect in effects:
        if is_claim(effect):
            continue
        gained = sum(point[f"income_{effect.name}_{place}"].sum() for place in range(1, len(groups) + 1))
        steps.append(step("bridge.effect", float(gained), "gain", told_apart(effect, effects)))
    for key, benefit in case.benefits.items():
        steps.append(step("bridge.benefit", float(point[f"income_{key}"].sum()), "gain", benefit.label))
    for name in (*DECLARED, "income_none"):
        if name in point:
            steps.append(step(f"bridge.{name}", float(point[name].sum()), "gain"))
    for key, cost in case.costs.items():
        steps.append(step("bridge.cost", -float(point[f"spent_{key}"].sum()), "loss", cost.label))
    steps.append(step("bridge.tax", -float(point["tax_paid"].sum()), "loss"))
    steps.append(step("bridge.discounting", float((point["present"] - point["net"]).sum()), "loss"))
    steps.append(step("bridge.npv", float(point["npv"][0]), "total"))
    return pd.DataFrame(steps)


def _weighing(effects: Sequence[Effect], case: Case, groups: tuple[str, ...]) -> Iterator[Check]:
    """Put the mean over the case's money beside the mean over customers, which the evidence speaks of (ROX-V05)."""
    for effect in effects:
        if effect.estimand.unit is not Unit.RATIO or len(groups) < 2 or len(effect.groups) < 2:
            continue
        money = np.array(
            [np.prod([case.of_group(table, group)[1].spread.likely for table in MONEY]) for group in groups]
        )
        if not money.sum() > 0:
            continue
        by_money = effect.draws[:, [column(effect, group) for group in groups]] @ (money / money.sum())
        heads, weighed = (np.quantile(draws, TAILS) for draws in (effect.overall, by_money))
        differ = (heads[0] * heads[1] > 0) != (weighed[0] * weighed[1] > 0) or heads.mean() * weighed.mean() < 0
        numbers = {"heads": effect.overall.mean(), "heads_low": heads[0], "heads_high": heads[1]}
        numbers |= {"money": by_money.mean(), "low": weighed[0], "high": weighed[1]}
        values = {name: 100 * float(number) for name, number in numbers.items()}
        yield Check(code="ROX-V05", verdict=Verdict.NOTE if differ else Verdict.PASS, values=values)


def _checks(totals: Mapping[str, Array], point: Mapping[str, Array]) -> tuple[Check, ...]:
    """Whether enough draws were made, and whether the point path stands for them."""
    npv = totals["npv"]
    error = float(npv.std(ddof=1) / np.sqrt(len(npv)))
    share = error / float(npv.std(ddof=1)) if npv.std() else 0.0
    middle = float((npv < point["npv"][0]).mean())
    return (
        Check(
            code="ROX-V03",
            verdict=Verdict.PASS if share < 0.05 else Verdict.NOTE,
            values={"draws": len(npv), "share": 100 * share},
        ),
        Check(
            code="ROX-V04",
            verdict=Verdict.PASS if 0.25 <= middle <= 0.75 else Verdict.NOTE,
            values={"place": 100 * middle},
        ),
    )
