"""How the present benefit splits: by channel, and by the evidence it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rox.core.case import Case
from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.formula import Array
from rox.core.ledger import Ledger
from rox.valuation.fit import is_claim
from rox.valuation.money_grade import money_grade
from rox.valuation.paths import BOTH, Path
from rox.valuation.streams import DECLARED

UNDIVIDED, STATED = "undivided", "declared"
"""A total of which nothing says how it splits; money that an owner states and no model measured."""
GAP = 0.01
"""Difference, as a share of the total, from which two ways to it do not agree."""
MUCH = 0.25
"""Share of NPV from months after the horizon that is remarked on."""
CHANNELS = ("retention", "expansion", "acquisition", "referral", "cost_to_serve", UNDIVIDED)

Totals = Mapping[str, Array]


def channels(effects: Sequence[Effect], case: Case, path: Path | None, point: Totals, draws: Totals) -> pd.DataFrame:
    """Tabulate the present benefit after tax by channel; see :class:`rox.core.returns.Return`."""
    agrees = path is not None and abs(float(point["path_gap"][0])) < GAP
    rows = []
    for effect in effects:
        if is_claim(effect):
            continue
        held = effect.estimand.channels
        if path is not None and effect is path.effect and agrees:
            rows.append(("retention", effect.name, "measured", "path_retention"))
            rows.append(("expansion", effect.name, path.basis, "path_expansion"))
            continue
        channel = next(iter(held)) if len(held) == 1 else UNDIVIDED
        rows.append((channel, effect.name, "measured", f"worth_effect_{effect.name}"))
    rows += [(benefit.channel, "", STATED, f"worth_benefit_{key}") for key, benefit in case.benefits.items()]
    named = {"referral": "referral", "contacts": "cost_to_serve"}
    rows += [(channel, "", STATED, f"worth_{key}") for key, channel in named.items() if f"worth_{key}" in draws]
    rows.sort(key=lambda row: CHANNELS.index(row[0]))
    return pd.DataFrame(
        [
            {"channel": channel, "effect": effect, "basis": basis, **_summed(point[total], draws[total])}
            for channel, effect, basis, total in rows
        ],
        columns=["channel", "effect", "basis", "point", "mean", "median", "low", "high"],
    )


def by_grade(effects: Sequence[Effect], case: Case, point: Totals, draws: Totals) -> pd.DataFrame:
    """Tabulate the present benefit after tax by grade of evidence; see :class:`rox.core.returns.Return`."""
    parts: dict[str, list[str]] = {}
    grades = {effect.name: money_grade(effect, case) for effect in effects}
    for effect in sorted(effects, key=lambda each: grades[each.name]):
        parts.setdefault(str(grades[effect.name]), []).append(f"worth_effect_{effect.name}")
    if stated := stated_worths(case, draws):
        parts[STATED] = stated
    rows = {
        grade: _summed(
            sum((point[name] for name in names), np.zeros(1)), sum((draws[name] for name in names), np.zeros(1))
        )
        | {"counted": grade != Grade.E}
        for grade, names in parts.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("grade")
    amount = table["mean"].abs()
    whole = float(amount.where(table["counted"], 0.0).sum())
    share = amount / whole if whole > 0 else amount * np.nan
    table.insert(5, "share", share.where(table["counted"], 0.0))
    return table


def stated_worths(case: Case, totals: Totals) -> list[str]:
    """Return the totals of what owners state and no model measured."""
    named = [f"worth_benefit_{key}" for key in case.benefits]
    return named + [f"worth_{key}" for key in DECLARED.values() if f"worth_{key}" in totals]


def _summed(point: Array, draws: Array) -> dict[str, float]:
    low, median, high = np.quantile(draws, [0.05, 0.50, 0.95])
    values = {"mean": draws.mean(), "median": median, "low": low, "high": high}
    return {"point": float(point[0]), **{name: float(value) for name, value in values.items()}}


def split_checks(
    effects: Sequence[Effect], case: Case, ledger: Ledger, path: Path | None, point: Totals, draws: Totals
) -> Iterator[Check]:
    """Say what is counted, what is left out, and whether the ways to the total agree."""
    yield from _path_checks(effects, case, path, point, draws)
    if case.terminal is not None:
        yield _after_check(case, point)
    if case.about.in_budget_from is not None:
        yield _budget_check(case, ledger, point)
    if claims := [effect.name for effect in effects if is_claim(effect)]:
        npv, with_claims = (float(point[name][0]) for name in ("npv", "npv_with_claims"))
        values: dict[str, str | int | float] = {"effects": ", ".join(claims), "npv": npv, "claimed": with_claims}
        yield Check(code="ROX-V08", verdict=Verdict.NOTE, values={**values, "currency": case.about.currency})
    yield _grade_check(by_grade(effects, case, point, draws))


def _path_checks(
    effects: Sequence[Effect], case: Case, path: Path | None, point: Totals, draws: Totals
) -> Iterator[Check]:
    """Hold the path ledger against the total (ROX-V02), or say that nothing confirms it (ROX-V10, ROX-V11)."""
    if path is None:
        if case.about.explained_by and any(effect.estimand.channels >= BOTH for effect in effects):
            yield Check(code="ROX-V11", verdict=Verdict.NOTE, values={"names": ", ".join(case.about.explained_by)})
        return
    if path.grown is None:
        whole = float(point[f"worth_effect_{path.effect.name}"][0])
        part = 100 * float(point["path_retained"][0]) / whole if whole else float("nan")
        yield Check(code="ROX-V10", verdict=Verdict.NOTE, values={"effect": path.effect.name, "part": part})
        return
    gap = 100 * float(point["path_gap"][0])
    low, high = 100 * np.quantile(draws["path_gap"], [0.05, 0.95])
    verdict = Verdict.PASS if abs(gap) < 100 * GAP else Verdict.STOP
    values: dict[str, str | int | float] = {
        "effect": path.effect.name,
        "gap": gap,
        "low": float(low),
        "high": float(high),
    }
    yield Check(code="ROX-V02", verdict=verdict, values=values)


def _after_check(case: Case, point: Totals) -> Check:
    assert case.terminal is not None
    npv, after = float(point["npv"][0]), float(point["npv_after"][0])
    much = after > MUCH * abs(npv) or (npv > 0) != (npv - after > 0)
    months: dict[str, str | int | float] = {
        "months": case.terminal.months,
        "horizon": case.horizon,
        "currency": case.about.currency,
    }
    values = {**months, "after": after, "npv": npv, "before": npv - after}
    return Check(code="ROX-V06", verdict=Verdict.NOTE if much else Verdict.PASS, values=values)


def _budget_check(case: Case, ledger: Ledger, point: Totals) -> Check:
    """Say what the months that the budget already holds would have brought."""
    always = {"when_new": (1.0,) * (ledger.horizon + 1)}
    free = replace(ledger.leading_to("present_benefit"), schedules={**ledger.schedules, **always})
    counted = float(point["present_benefit"][0])
    left_out = float(free.totals(free.point)["present_benefit"][0]) - counted
    about: dict[str, str | int | float] = {"month": case.about.in_budget_from or 0, "currency": case.about.currency}
    return Check(code="ROX-V07", verdict=Verdict.NOTE, values={**about, "left_out": left_out, "counted": counted})


def _grade_check(table: pd.DataFrame) -> Check:
    """Say on which evidence the benefit rests (ROX-V09)."""
    measured = [grade for grade in table.index if grade not in (STATED, str(Grade.E))]
    weak = [grade for grade in measured if not Grade(grade).is_causal]
    share = table["share"].fillna(0.0)
    stated = float(share.get(STATED, 0.0))
    causal = float(share.reindex([grade for grade in measured if grade not in weak]).sum())
    values: dict[str, str | int | float] = {
        "weak": 100 * float(share.reindex(weak).sum()),
        "causal": 100 * causal,
        "stated": 100 * stated,
    }
    grades = {"grades": "/".join(weak) or "C/D"}
    counts = bool((table["counted"] & (table["mean"] != 0)).any())
    settled = counts and not weak and stated < MUCH and bool((table["mean"].where(table["counted"], 0.0) >= 0).all())
    return Check(code="ROX-V09", verdict=Verdict.PASS if settled else Verdict.NOTE, values={**values, **grades})
