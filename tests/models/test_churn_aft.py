"""Times to leaving: published fits, a planted truth, late entry, and the hazard ratio beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.check import Verdict
from rox.core.errors import FitError
from rox.core.linked import Linked
from rox.models.churn_aft import ChurnAFT, accelerated_times, proportional
from rox.models.churn_cox import ChurnCox
from tests.models.conftest import START, leaving_panel, linked_from

Parity = Callable[[str], tuple[Path, dict[str, dict[str, Any]]]]
RATIO = 0.15


def test_the_time_to_churn_of_five_hundred_customers_is_as_published(parity: Parity) -> None:
    folder, values = parity("s11_smcrm_churn")
    rows = pd.read_csv(folder / "customer_churn.csv")
    names = [name.removeprefix("weibull.") for name in values if name.startswith("weibull.")]
    covariates = [name for name in names if name in rows]
    fit = accelerated_times(rows["duration"], rows["churned"], rows[covariates])
    assert len(covariates) == 8
    for name, found in zip(fit.names, fit.coefficient, strict=True):
        assert found == pytest.approx(values[f"weibull.{name}"]["value"], rel=1e-3)
    assert fit.constant == pytest.approx(values["weibull.(Intercept)"]["value"], rel=1e-4)
    assert fit.scale == pytest.approx(values["weibull.scale"]["value"], rel=1e-4)
    assert fit.loglik == pytest.approx(values["weibull.loglik"]["value"], rel=1e-6)


@pytest.mark.parametrize("distribution", ["weibull", "lognormal"])
def test_survival_of_the_pbc_patients_is_as_published(parity: Parity, distribution: Any) -> None:
    folder, values = parity("s10_pbc_rmst")
    rows = pd.read_csv(folder / "pbc312.csv")
    covariates = pd.DataFrame({"log(bili)": np.log(rows["bili"]), "albumin": rows["albumin"], "age": rows["age"]})
    fit = accelerated_times(rows["years"], rows["died"], covariates, distribution=distribution)
    for name, found in zip(
        (*fit.names, "(Intercept)", "scale"), (*fit.coefficient, fit.constant, fit.scale), strict=True
    ):
        assert found == pytest.approx(values[f"{distribution}.{name}"]["value"], rel=1e-3)


def stretched(customers: int, *, seed: int, shape: float = 1.0, late: bool = True) -> pd.DataFrame:
    """Months of customers whose time from opening to leaving is stretched by exp(0.15) per score point.

    Times are Weibull; customers are seen for 30 months, those who left before never.
    """
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 11, customers).astype(float)
    life = 60 * np.exp(RATIO * (score - 5)) * rng.exponential(1.0, customers) ** (1 / shape)
    age = rng.integers(0, 60, customers) if late else np.zeros(customers, dtype=int)
    seen = np.ceil(life) > age
    length = np.minimum(np.ceil(life) - age, 30)[seen].astype(int)
    gone = (np.ceil(life) - age)[seen] <= 30
    who = np.repeat(np.arange(seen.sum()), length)
    month = START + np.concatenate([np.arange(each) for each in length])
    return pd.DataFrame(
        {
            "customer": who,
            "month": month,
            "outcome": 100.0,
            "score": score[seen][who],
            "score_age": month - START + 1.0,
            "opened": START - age[seen][who].astype(float),
            "exit_month": np.where(gone, START + length - 1.0, np.nan)[who],
            "voluntary": gone[who],
        }
    )


@pytest.mark.parametrize("distribution", ["weibull", "generalized_gamma"])
def test_the_planted_ratio_is_found_although_customers_come_late(distribution: Any) -> None:
    data = linked_from(stretched(3000, seed=1, shape=1.4), look_back=40)
    found = ChurnAFT(distribution=distribution, reading="carried").fit(data)
    assert abs(found.estimate - RATIO) < 3 * found.se < 0.06
    assert found.low < found.estimate < found.high
    assert found.ratio == pytest.approx(np.exp(found.estimate))
    assert found.fit.scale == pytest.approx(1 / 1.4, abs=0.15)


def test_who_left_before_being_seen_would_bias_a_fit_that_forgets_it() -> None:
    rows = stretched(4000, seed=2)
    last = rows.drop_duplicates("customer", keep="last")
    start = START - last["opened"]
    stop = last["month"] + 1 - last["opened"] - 0.5 * last["voluntary"]
    right = accelerated_times(stop, last["voluntary"], last[["score"]], entry=start)
    wrong = accelerated_times(stop, last["voluntary"], last[["score"]])
    assert abs(right.coefficient[0] - RATIO) < 3 * right.se[0]
    assert abs(wrong.coefficient[0] - RATIO) > 3 * wrong.se[0]


def test_a_weibull_model_implies_a_hazard_ratio_near_that_of_cox() -> None:
    data = linked_from(stretched(3000, seed=6), look_back=40)
    found = ChurnAFT(reading="carried", clock="answer").fit(data)
    churn = ChurnCox(reading="carried").fit(data, rng=1)
    assert found.log_hazard is not None
    assert found.log_hazard[0] == pytest.approx(float(churn.overall.mean()), abs=0.06)
    assert found.beside(churn).verdict is Verdict.PASS
    assert ChurnAFT(distribution="lognormal", reading="carried", clock="answer").fit(data).log_hazard is None


def test_opposite_directions_are_said() -> None:
    data = linked_from(leaving_panel(1500, 20, seed=9, log_ratio=-0.3))
    other = linked_from(leaving_panel(1500, 20, seed=9, log_ratio=0.3))
    churn = ChurnCox(reading="carried").fit(data, rng=1)
    found = ChurnAFT(reading="carried", clock="answer").fit(other)
    check = found.beside(churn)
    assert check.verdict is Verdict.NOTE
    for language in ("en", "zh"):
        assert check.sentence(language)
        assert found.check_table(language).notna().all(axis=None)


def test_it_says_whether_hazards_were_proportional() -> None:
    steady = ChurnCox(reading="carried").fit(linked_from(leaving_panel(1500, 24, seed=1, log_ratio=-0.2)), rng=1)
    turning = leaving_panel(3000, 24, seed=1, log_ratio=-0.4, late=0.4)
    changing = ChurnCox(reading="carried", time="calendar").fit(linked_from(turning), rng=1)
    assert proportional(steady)
    assert not proportional(changing)


def test_an_empty_month_ends_the_follow_up_and_other_exits_are_no_leaving(sample: Linked) -> None:
    frame = leaving_panel(1200, 24, seed=5, log_ratio=-0.2)
    whole = ChurnAFT(reading="carried").fit(linked_from(frame))
    hidden = frame["month"] == START + 12
    gap = frame.assign(score=frame["score"].mask(hidden), score_age=frame["score_age"].mask(hidden))
    short = ChurnAFT(reading="carried").fit(linked_from(gap))
    assert short.exits < whole.exits
    rows = linked_from(frame).episodes()
    assert whole.exits == (rows["cause"] == "exit").sum()
    read = ChurnAFT().fit(sample, rng=1)
    assert read.coefficients.index[0] == "score"
    assert "products" in read.coefficients.index


def test_faults_are_listed_together(sample: Linked) -> None:
    with pytest.raises(FitError, match=r"distribution(.|\n)*clock(.|\n)*reading(.|\n)*controls(.|\n)*level"):
        ChurnAFT(distribution="normal", clock="week", reading="x", controls=("none",), level=3).fit(sample)  # type: ignore[arg-type]
    frame = leaving_panel(1200, 24, seed=5, log_ratio=-0.2).assign(opened=np.nan)
    with pytest.raises(FitError, match='clock="answer"'):
        ChurnAFT(reading="carried").fit(linked_from(frame))
    with pytest.raises(FitError, match=r"never followed(.|\n)*do not vary"):
        accelerated_times(pd.Series([0.0, 1.0]), pd.Series([0, 1]), pd.DataFrame({"x": [1.0, 1.0]}))
