"""A return of a made-up bank: an effect drawn from a known distribution, priced by the real valuation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from rox.core.case import Case
from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.estimand import Estimand, Question
from rox.core.linked import Step
from rox.core.returns import Return
from rox.core.units import Dose, Unit
from rox.core.words import Language
from rox.reporting.html import page_html
from rox.reporting.report import Report, report
from rox.valuation.value import value

SEGMENTS = ("mass", "gold", "private")


def assumed(**number: object) -> dict[str, object]:
    return {"owner": "Finance", "source": "Plan 2026, sheet 4", "date": "2025-12-31", **number}


def case_content() -> dict[str, object]:
    return {
        "case": {
            "name": "branch_refit",
            "title": {"en": "Refit of the other 60 branches", "zh": "其余60家网点改造"},
            "decision": {"en": "Refit the other 60 branches in 2026?", "zh": "2026年是否改造其余60家网点？"},
            "currency": "CNY",
            "start": "2026-01-01",
            "horizon": 36,
            "effects": ["uplift"],
            "prepared_by": "Customer insight",
            "reviewed_by": "Group finance",
        },
        "people": {
            "mass": assumed(value=60_000),
            "gold": assumed(value=9_000),
            "private": assumed(value=400),
        },
        "balance": {
            "mass": assumed(between=[17_000, 20_000]),
            "gold": assumed(between=[180_000, 220_000]),
            "private": assumed(between=[4_200_000, 6_000_000], owner="Private banking"),
        },
        "margin": {"all": assumed(low=0.009, likely=0.012, high=0.015, owner="Treasury")},
        "attrition": {"all": assumed(low=0.05, likely=0.07, high=0.10)},
        "timing": {
            "ramp": assumed(low=3, likely=6, high=12, owner="Branch network"),
            "half_life": assumed(between=[14, 40], owner="Branch network"),
        },
        "finance": {
            "discount": assumed(value=0.08),
            "tax": assumed(value=0.25),
            "hurdle": assumed(value=0.20),
        },
        "costs": {
            "building": assumed(
                between=[900_000, 1_400_000], months=[0], label={"en": "Building works", "zh": "装修工程"}
            ),
            "training": assumed(
                value=25_000, every_month_from=1, until=12, label={"en": "Training of staff", "zh": "员工培训"}
            ),
        },
        "benefits": {
            "contacts": assumed(
                low=4_000,
                likely=8_000,
                high=13_000,
                every_month_from=6,
                channel="cost_to_serve",
                label={"en": "Fewer service contacts", "zh": "减少服务联系"},
            )
        },
    }


def make_case(**about: object) -> Case:
    content = case_content()
    content["case"] = {**content["case"], **about}  # type: ignore[dict-item]
    return Case.model_validate(content)


def make_effect(*, mean: float = 0.021, sd: float = 0.006, grade: Grade = Grade.B) -> Effect:
    rng = np.random.default_rng(7)
    common = rng.normal(mean, sd, (2_000, 1))
    draws = common + rng.normal(0, 0.004, (2_000, 3)) + np.array([0.0, 0.003, 0.006])
    months = tuple(range(-6, 13))
    growth = np.array([0.0 if month < 0 else min(1.0, (month + 1) / 8) for month in months])
    noise = rng.normal(0, 0.003, (2_000, 3, len(months)))
    return Effect(
        name="uplift",
        estimand=Estimand(
            question=Question.INITIATIVE,
            population="customers of the branches refitted, at the refit",
            treatment="the branch is refitted, for good",
            dose=Dose.INITIATIVE,
            outcome="aum",
            unit=Unit.RATIO,
            horizon=12,
            includes_exit=True,
            contrast="ratio",
            channels=frozenset({"retention", "expansion"}),
        ),
        groups=SEGMENTS,
        draws=draws,
        shares=np.array([0.86, 0.13, 0.01]),
        baseline=pd.DataFrame(
            {"customers": [60_200.0, 9_100.0, 700.0], "money": [18_500.0, 2e5, 5e6], "exit_hazard": [0.006] * 3},
            index=list(SEGMENTS),
        ),
        grade=grade,
        checks=(
            Check(code="ROX-V03", verdict=Verdict.PASS, values={"draws": 2000, "share": 2.2}),
            Check(code="ROX-V04", verdict=Verdict.NOTE, values={"place": 81.0}),
        ),
        specification="StaggeredUplift(horizon=12, leads=6)",
        trail=(
            Step(name="ledger", rows=2_520_000, lost=0, customers=70_000, reason="trail.rows"),
            Step(name="history", rows=2_304_000, lost=216_000, customers=64_000, reason="Six months of history"),
        ),
        fingerprint="5f1c0d6c8e0b4a7f" * 4,
        counts={"rows": 2_304_000, "customers": 64_000, "clusters": 120},
        path=draws[:, :, None] * growth + noise,
        path_months=months,
        tables={
            "pooling": pd.DataFrame(
                {"raw": [0.020, 0.031, 0.058], "raw_se": [0.006, 0.011, 0.034], "pooled": draws.mean(0)},
                index=list(SEGMENTS),
            )
        },
    )


def make_rival(*, name: str = "gap", question: Question = Question.GAP, grade: Grade = Grade.D) -> Effect:
    rng = np.random.default_rng(11)
    return Effect(
        name=name,
        estimand=Estimand(
            question=question,
            population="customers who answered",
            treatment="a score one point higher",
            dose=Dose.SCORE_POINT,
            outcome="aum",
            unit=Unit.MONEY_PER_CUSTOMER,
            currency="CNY",
            horizon=0,
            includes_exit=False,
            channels=frozenset({"expansion"}),
        ),
        groups=("all",),
        draws=rng.normal(4_100, 320, (2_000, 1)),
        shares=np.array([1.0]),
        baseline=pd.DataFrame({"customers": [70_000.0], "money": [9e4], "exit_hazard": [0.006]}, index=["all"]),
        grade=grade,
        specification="ScoreGap(controls=('products',))",
        shift=rng.normal(36.8, 0.9, 2_000),
    )


def make_money(effect: Effect | None = None, *, draws: int = 4_000, **about: object) -> Return:
    return value(effect or make_effect(), make_case(**about), draws=draws, rng=3)


@dataclass(frozen=True)
class Seen:
    """What a report needs of the measures of experience."""

    headline: pd.DataFrame
    trend: pd.DataFrame
    by_segment: pd.DataFrame
    response: pd.DataFrame
    churn: pd.DataFrame
    checks: tuple[Check, ...] = ()


def make_experience() -> Seen:
    nps = {"score": "nps", "metric": "nps", "unit": "nps_point", "suppressed": False}
    quarters = [f"{year}Q{quarter}" for year in (2024, 2025) for quarter in (1, 2, 3, 4)]
    level = 18 + 0.4 * np.arange(8)
    share = {"metric": "response_rate", "unit": "ratio", "suppressed": False}
    return Seen(
        headline=pd.DataFrame([{**nps, "value": 21.4, "low": 19.6, "high": 23.2, "n": 15_000.0}]),
        trend=pd.DataFrame(
            {"quarter": quarters, "value": level, "low": level - 2, "high": level + 2, "n": 900.0}
        ).assign(**nps),
        by_segment=pd.DataFrame(
            [
                {"segment": "mass", **nps, "value": 20.1, "low": 18.0, "high": 22.2, "n": 13_000.0},
                {"segment": "private", **nps, "value": np.nan, "low": np.nan, "high": np.nan, "n": np.nan}
                | {"suppressed": True},
            ]
        ),
        response=pd.DataFrame(
            [{"period": "all", "segment": "all", **share, "value": 0.142, "low": 0.139, "high": 0.145, "n": 90_000.0}]
        ),
        churn=pd.DataFrame(columns=["period", "segment", "metric", "unit", "value", "low", "high", "n", "suppressed"]),
        checks=(Check(code="ROX-V03", verdict=Verdict.PASS, values={"draws": 900, "share": 3.1}),),
    )


@pytest.fixture(scope="session")
def money() -> Return:
    """A return that says go."""
    return make_money()


@pytest.fixture(scope="session")
def weak() -> Return:
    """A return that says learn first: the evidence is correlational."""
    return make_money(make_effect(mean=0.055, grade=Grade.D))


@pytest.fixture(scope="session")
def loss() -> Return:
    """A return that says stop."""
    return make_money(make_effect(mean=0.004))


@pytest.fixture(scope="session")
def rival() -> Effect:
    """A descriptive gap per score point, with its category shift."""
    return make_rival()


@pytest.fixture(scope="session")
def experience() -> Seen:
    """Measures of experience, one cell of them suppressed."""
    return make_experience()


@pytest.fixture(scope="session")
def effects() -> Callable[..., Effect]:
    """Make an effect with a mean, a standard deviation and a grade."""
    return make_effect


@pytest.fixture(scope="session")
def returns() -> Callable[..., Return]:
    """Price an effect with the case, some of whose lines may be replaced."""
    return make_money


@pytest.fixture(scope="session")
def told(money: Return, rival: Effect, experience: Seen) -> Report:
    """The whole report in both languages."""
    return report(money, rivals=[rival], experience=experience, language="both")


@pytest.fixture(scope="session")
def pages(told: Report) -> dict[Language, str]:
    """The whole page in each language by itself."""
    return {version.request.language: page_html((version,)) for version in told.versions}


@pytest.fixture(scope="session")
def both(told: Report) -> str:
    """The page that holds both languages."""
    return told.html()
