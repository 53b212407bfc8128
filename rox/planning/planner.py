"""The planner: from a study and a plan to what the design can tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rox.core.check import Check, Verdict
from rox.core.errors import FitError
from rox.core.linked import Linked, month_label
from rox.models.placebo_rollouts import ALL, LEVEL, POWER, SCORE, PlaceboRollouts, placebo_rollouts
from rox.models.quiet_months import QuietCohort, quiet_cohorts, quiet_months
from rox.planning.design import Design, Plan, design_of, place_facts
from rox.planning.ladder import FEWEST_COMPARED, design_ladder, lot_check
from rox.planning.order import draw_order
from rox.planning.page import DesignPlan, percent
from rox.planning.power import curves_of, power_of, row_of

HOPELESS = 2.0
"""Times the assumed effect above which the detectable one makes a roll-out unable to settle a question."""
INFLATED = 1.5
"""Exaggeration of significant results from which it is said."""
TAKEN = 0.9
"""Share of the assumed effect that must be left below the cap, or it is said."""
SHOWN = 0.5
"""Share of the assumed effect that must be left below the cap, or nothing can be planned."""
PERCENT = 100.0


def plan(data: Linked, what: Plan | None = None, *, rng: int | np.random.Generator | None = None) -> DesignPlan:
    """Say, before anything is rolled out, which designs the facts allow and what they could tell from chance.

    The standard error of a roll-out comes from placebo roll-outs in the months before any initiative, with the
    estimator that would judge it (:func:`rox.models.placebo_rollouts.placebo_rollouts`). It assumes that the time to
    come moves as those months did.

    Args:
        data: The linked panel: money by month, customers with places.
        what: The plan; by default a look back on the study's initiative, or half of the places at once.
        rng: Seed or generator.

    Raises:
        DataError: A panel without money by month.
        FitError: A plan that does not fit the study, no months before any initiative, or a cap that hides most of the
            assumed effect.
    """
    what = what or Plan()
    generator = np.random.default_rng(rng)
    design = design_of(data, what)
    facts = design.facts
    if min(facts.planned, facts.compared) < FEWEST_COMPARED:
        rungs = design_ladder(facts)
        return _page(data, what, design, checks=(lot_check(rungs, facts, what.effect),))
    quiet = quiet_months(data, dates=design.dates, window=what.window, base=what.base, history=what.history)
    cohorts = quiet_cohorts(data, quiet, base=what.base, history=what.history, cap=what.cap, effect=what.effect)
    placebos = placebo_rollouts(
        data,
        places=design.sizes,
        dates=design.dates,
        window=what.window,
        pool=min(design.pool, min(len(each.units) for each in cohorts)),
        replications=what.replications,
        base=what.base,
        history=what.history,
        cap=what.cap,
        rng=generator,
        initiative_effect=what.effect,
        scores=bool(data.score),
        cohorts=cohorts,
        quiet=quiet,
    )
    return _with_placebos(data, what, design, placebos, cohorts, generator)


def drawn_order(data: Linked, what: Plan, seed: int) -> pd.DataFrame:
    """Draw the order of a plan's places by lot, balanced over their customers and the growth of their money.

    Args:
        data: The linked panel.
        what: The plan, with the months of its starts.
        seed: Seed of the lot.

    Returns:
        As of :func:`rox.planning.order.draw_order`.

    Raises:
        FitError: A plan that does not fit the study, or whose starts are made or not said.
    """
    design = design_of(data, what)
    if design.facts.looks_back or not what.starts:
        raise FitError(
            "There is no order to draw.",
            ["say the months of the starts to come, such as starts=('2026-03', '2026-09')"],
        )
    return draw_order(
        design.left,
        what.starts,
        seed,
        sizes=design.sizes,
        strata=place_facts(data, design.left),
        initiative=what.initiative or "",
    )


def _with_placebos(
    data: Linked,
    what: Plan,
    design: Design,
    placebos: PlaceboRollouts,
    cohorts: tuple[QuietCohort, ...],
    rng: np.random.Generator,
) -> DesignPlan:
    power = power_of(placebos, what)
    _check_cap(row_of(power, ALL), what)
    curves = curves_of(data, design, what, placebos, cohorts, rng)
    everybody, score = row_of(power, ALL), row_of(power, SCORE)
    se = everybody["se"]
    errors = {"lot": se, "chosen": se, "individual": float(placebos.individual_se[placebos.columns.index(ALL)])}
    rungs = design_ladder(design.facts, se=errors)
    checks = (
        lot_check(rungs, design.facts, what.effect),
        *_questions(everybody, score, what),
        _months(placebos, what),
        _size(everybody),
        _exaggerated(everybody),
        _cap(everybody, what),
    )
    return _page(data, what, design, checks=checks, placebos=placebos, power=power, curves=curves, errors=errors)


def _page(
    data: Linked,
    what: Plan,
    design: Design,
    *,
    checks: tuple[Check, ...],
    placebos: PlaceboRollouts | None = None,
    power: pd.DataFrame | None = None,
    curves: pd.DataFrame | None = None,
    errors: dict[str, float] | None = None,
) -> DesignPlan:
    outcome = data.study.outcomes[data.outcome]
    return DesignPlan(
        plan=what,
        design=design,
        rungs=design_ladder(design.facts, se=errors or {}),
        placebos=placebos,
        power=pd.DataFrame() if power is None else power,
        curves=pd.DataFrame() if curves is None else curves,
        checks=checks,
        title=data.study.about.title,
        outcome=outcome.label,
        outcome_kind=outcome.kind,
        currency=data.study.currency,
        fingerprint=data.fingerprint,
    )


def _check_cap(row: Mapping[str, float], what: Plan) -> None:
    """Refuse an outcome whose months lie beyond the cap so often that most of the assumed effect is not seen."""
    if row["seen"] < SHOWN * what.effect:
        raise FitError(
            "This outcome cannot be planned with so low a cap.",
            [
                f"of {what.effect:.1%} put in, {row['seen']:.1%} is seen: beyond {what.cap:g} times the own mean "
                "nothing more counts",
                "needed: half of it or more; give Plan a higher cap or a longer base (base=12), or plan for a steadier "
                "outcome, such as money held",
            ],
        )


def _questions(row: Mapping[str, float], score: Mapping[str, float], what: Plan) -> tuple[Check, ...]:
    """Ask whether the money question can be settled (ROX-P02; ROX-P19 if perhaps), and the score question (ROX-P11)."""
    values: dict[str, str | int | float] = {
        "detectable": PERCENT * row["detectable"],
        "assumed": PERCENT * what.effect,
        "power": percent(row["expected"]),
    }
    doubtful, hopeless = row["expected"] < POWER, row["detectable"] > HOPELESS * what.effect
    money = Check(
        code="ROX-P19" if doubtful and not hopeless else "ROX-P02",
        verdict=Verdict.NOTE if doubtful or hopeless else Verdict.PASS,
        values=values,
    )
    if not np.isfinite(score["detectable"]):
        return money, Check(code="ROX-P13", verdict=Verdict.NOTE)
    if what.score_effect is None:
        return money, Check(code="ROX-P12", verdict=Verdict.NOTE, values={"detectable": score["detectable"]})
    settled = score["detectable"] <= what.score_effect
    values = {
        "detectable": score["detectable"],
        "assumed": what.score_effect,
        "power": percent(score["expected"]),
    }
    return money, Check(code="ROX-P11", verdict=Verdict.PASS if settled else Verdict.NOTE, values=values)


def _months(placebos: PlaceboRollouts, what: Plan) -> Check:
    """Say on which months the figures rest, and what of the plan could not be replayed (ROX-P10)."""
    quiet, history = placebos.quiet, placebos.history
    whole = quiet.window == what.window and not quiet.laid_over and history[0] >= what.history
    values: dict[str, str | int | float] = {
        "first": month_label(quiet.first),
        "last": month_label(quiet.last),
        "months": quiet.months,
        "window": f"{quiet.window[0]}–{quiet.window[1]}",
        "asked": f"{what.window[0]}–{what.window[1]}",
        "history": history[0],
        "wanted": what.history,
        "dates": len(quiet.starts),
        "order": "planning.laid_over" if quiet.laid_over else "planning.as_planned",
    }
    return Check(code="ROX-P10", verdict=Verdict.PASS if whole else Verdict.NOTE, values=values)


def _size(row: Mapping[str, float]) -> Check:
    """Ask whether the test at 5% rejects 5% of roll-outs that did nothing (ROX-P16)."""
    values = {
        "size": PERCENT * row["size"],
        "mc": PERCENT * row["size_mc"],
        "placebo": PERCENT * row["se"],
        "reported": PERCENT * row["reported"],
    }
    off = row["size"] - LEVEL > 2 * row["size_mc"]
    return Check(code="ROX-P16", verdict=Verdict.NOTE if off else Verdict.PASS, values=values)


def _exaggerated(row: Mapping[str, float]) -> Check:
    """Say how far a significant result would overstate the assumed effect (ROX-P17)."""
    values: dict[str, str | int | float] = {"times": row["exaggeration"], "sign": percent(row["wrong_sign"])}
    verdict = Verdict.NOTE if row["exaggeration"] > INFLATED else Verdict.PASS
    return Check(code="ROX-P17", verdict=verdict, values=values)


def _cap(row: Mapping[str, float], what: Plan) -> Check:
    """Say how much of the assumed effect the capped ratio shows (ROX-P18)."""
    values = {"seen": PERCENT * row["seen"], "effect": PERCENT * what.effect}
    verdict = Verdict.NOTE if row["seen"] < TAKEN * what.effect else Verdict.PASS
    return Check(code="ROX-P18", verdict=verdict, values=values)
