"""Cox regressions of textbooks and of R's survival: from rows, from counts, and as the limit of grouped hazards.

The references are R's survival 3.5 (of which the cases say the version), to about the last digit of its convergence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rox.numerics.absorbed_hazard import absorbed_hazard
from rox.numerics.cox import Cox, clustered_covariance, cox_from_counts, cox_from_rows, score_residuals
from rox.numerics.glm import grouped_glm
from rox.numerics.incidence import kaplan_meier, life_table
from rox.numerics.log_rank import log_rank
from rox.numerics.risk_sets import covariate_patterns, risk_sets

CLOSE = 1e-6
PIECES = 10**6
"""Pieces into which an interval is cut so that a grouped hazard is one in continuous time."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Rows of a published regression. n = rows, k = covariates."""

    start: np.ndarray
    stop: np.ndarray
    event: np.ndarray
    x: pd.DataFrame
    customer: np.ndarray

    def rows(self, ties: str) -> Cox:
        return cox_from_rows(self.start, self.stop, self.event, self.x, ties=ties)

    def counts(self, ties: str) -> Cox:
        code, patterns = covariate_patterns(self.x)
        return cox_from_counts(risk_sets(self.start, self.stop, self.event, code), patterns, ties=ties)


def case(d: pd.DataFrame, stop: str, event: pd.Series, x: pd.DataFrame, start: str | None = None) -> Case:
    return Case(
        start=np.zeros(len(d)) if start is None else d[start].to_numpy(dtype=float),
        stop=d[stop].to_numpy(dtype=float),
        event=event.to_numpy(dtype=bool),
        x=x.astype(float),
        customer=(d["id"] if "id" in d else pd.Series(np.arange(len(d)))).to_numpy(),
    )


def rossi(folder: Path) -> Case:
    d = pd.read_csv(folder / "rossi.csv")
    return case(d, "week", d["arrest"] == 1, d[["fin", "age", "race", "wexp", "mar", "paro", "prio"]])


def heart(folder: Path, names: str, meeting: str = "") -> Case:
    """The Stanford patients, with some covariates interacting with a transplant, which comes during the follow-up."""
    d = pd.read_csv(folder / "heart_startstop.csv")
    met = {f"{name}:transplant": d[name] * d["transplant"] for name in meeting.split()}
    return case(d, "stop", d["event"] == 1, d[names.split()].assign(**met), start="start")


def melanoma(folder: Path, names: str) -> Case:
    d = pd.read_csv(folder / "melanoma.csv").assign(**{"log(thickness)": lambda each: np.log(each["thickness"])})
    return case(d, "time", d["status"] == 1, d[names.split()])


def pbc(folder: Path) -> Case:
    d = pd.read_csv(folder / "pbc312.csv")
    x = pd.DataFrame({"log(bili)": np.log(d["bili"]), "albumin": d["albumin"], "age": d["age"]})
    return case(d, "years", d["died"] == 1, x)


def churners(folder: Path) -> Case:
    d = pd.read_csv(folder / "customer_churn.csv")
    names = ["avg_ret_exp", "avg_ret_exp_sq", "total_crossbuy", "total_freq", "total_freq_sq", "industry", "revenue"]
    return case(d, "duration", d["churned"] == 1, d[[*names, "employees"]])


MODELS: dict[str, tuple[str, Callable[[Path], Case], str, str, str]] = {
    "Rossi, Efron": ("s01_rossi_cox", rossi, "efron", "coef.", "se."),
    "Rossi, Breslow": ("s01_rossi_cox", rossi, "breslow", "breslow.coef.", ""),
    "Stanford, Efron": (
        "s03_stanford_heart_tv",
        lambda folder: heart(folder, "age year surgery transplant"),
        "efron",
        "main.efron.",
        "main.efron.se.",
    ),
    "Kalbfleisch & Prentice 1": (
        "s03_stanford_heart_tv",
        lambda folder: heart(folder, "age surgery transplant", "age surgery"),
        "breslow",
        "kp1.",
        "kp1.se.",
    ),
    "Kalbfleisch & Prentice 2": (
        "s03_stanford_heart_tv",
        lambda folder: heart(folder, "year transplant", "year"),
        "breslow",
        "kp2.",
        "",
    ),
    "Kalbfleisch & Prentice 3": (
        "s03_stanford_heart_tv",
        lambda folder: heart(folder, "age year transplant", "age year"),
        "breslow",
        "kp3.",
        "",
    ),
    "Kalbfleisch & Prentice 5": (
        "s03_stanford_heart_tv",
        lambda folder: heart(folder, "age surgery transplant year", "age surgery"),
        "breslow",
        "kp5.",
        "",
    ),
    "Kalbfleisch & Prentice 6": (
        "s03_stanford_heart_tv",
        lambda folder: heart(folder, "age transplant surgery year", "age"),
        "breslow",
        "kp6.",
        "",
    ),
    "melanoma, cause-specific": (
        "s06_melanoma_competing",
        lambda folder: melanoma(folder, "sex log(thickness) ulcer"),
        "efron",
        "cs.",
        "cs.se.",
    ),
    "melanoma, sex alone": (
        "s06_melanoma_competing",
        lambda folder: melanoma(folder, "sex"),
        "efron",
        "dalgaard.",
        "",
    ),
    "primary biliary cirrhosis": ("s10_pbc_rmst", pbc, "efron", "cox.", ""),
    "Kumar & Petersen": ("s11_smcrm_churn", churners, "efron", "cox.", "cox.se."),
}


@pytest.mark.parametrize("model", MODELS)
def test_published_coefficients_from_rows_and_from_counts(parity, model: str) -> None:
    """With ties, late entry and covariates that change during the follow-up."""
    name, load, ties, prefix, errors = MODELS[model]
    folder, ref = parity(name)
    held = load(folder)
    rows, counts = held.rows(ties), held.counts(ties)
    for fit in (rows, counts):
        assert fit.coefficient == pytest.approx([ref[prefix + each]["value"] for each in held.x], rel=CLOSE)
        if errors:
            assert fit.se == pytest.approx([ref[errors + each]["value"] for each in held.x], rel=CLOSE)
    assert counts.covariance == pytest.approx(rows.covariance, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("model", [each for each, (_, _, ties, _, _) in MODELS.items() if ties == "breslow"])
def test_grouped_hazards_cut_ever_finer_are_breslows_likelihood(parity, model: str) -> None:
    """Each risk set as a level of its own, its hazard spread over a million pieces (Prentice & Gloeckler 1978)."""
    name, load, _, prefix, _ = MODELS[model]
    folder, ref = parity(name)
    held = load(folder)
    code, patterns = covariate_patterns(held.x)
    sets = risk_sets(held.start, held.stop, held.event, code)
    time, pattern = np.nonzero(sets.at_risk)
    here = (time, pattern)
    fit = absorbed_hazard(time, patterns[pattern], PIECES * sets.at_risk[here], sets.events[here])
    published = [ref[prefix + each]["value"] for each in held.x]
    assert fit.coefficient == pytest.approx(published, rel=1e-5)
    assert fit.se == pytest.approx(held.rows("breslow").se, rel=1e-5)
    coarse = absorbed_hazard(time, patterns[pattern], sets.at_risk[here], sets.events[here])
    assert coarse.coefficient != pytest.approx(published, rel=1e-4)


def test_errors_of_rossi_are_clustered_by_person_however_the_weeks_are_cut(parity) -> None:
    """Lin & Wei's (1989) sandwich; every person in one row, and in a row for each ten weeks."""
    folder, ref = parity("s01_rossi_cox")
    held = rossi(folder)
    robust = [ref[f"robust_se.{each}"]["value"] for each in held.x]
    pieces = []
    for begin in range(0, 52, 10):
        open_ = held.stop > begin
        stop = np.minimum(held.stop, begin + 10)[open_]
        ended = held.event[open_] & (held.stop[open_] <= begin + 10)
        pieces.append((np.full(open_.sum(), float(begin)), stop, ended, held.x[open_], held.customer[open_]))
    start, stop, event, customer = (np.concatenate([each[i] for each in pieces]) for i in (0, 1, 2, 4))
    x = pd.concat([each[3] for each in pieces]).to_numpy()
    cut = cox_from_rows(start, stop, event, x)
    assert cut.coefficient == pytest.approx(held.rows("efron").coefficient, rel=1e-9)
    clustered = clustered_covariance(cut, score_residuals(cut, start, stop, event, x), customer)
    assert np.sqrt(np.diag(clustered)) == pytest.approx(robust, rel=CLOSE)
    apart = clustered_covariance(cut, score_residuals(cut, start, stop, event, x))
    assert np.sqrt(np.diag(apart)) != pytest.approx(robust, rel=1e-3)


def test_rossi_as_a_whole(parity) -> None:
    folder, ref = parity("s01_rossi_cox")
    d = pd.read_csv(folder / "rossi.csv")
    fit = rossi(folder).rows("efron")
    assert fit.loglik == pytest.approx(ref["loglik"]["value"], rel=1e-10)
    assert fit.likelihood_ratio == pytest.approx(ref["lr_chi2"]["value"], rel=1e-8)
    value, se = kaplan_meier(life_table(None, d["week"], d["arrest"])).at([13, 26, 52])
    assert value.ravel() == pytest.approx(ref["km.surv"]["value"], rel=1e-12)
    assert se.ravel() == pytest.approx(ref["km.se"]["value"], rel=1e-10)
    apart = log_rank(life_table(None, d["week"], d["arrest"], d["fin"]))
    assert apart.statistic == pytest.approx(ref["logrank.fin.chi2"]["value"], rel=1e-8)


def test_a_transplant_known_in_advance_is_immortal_time(parity) -> None:
    """One row a patient, by whether a transplant ever came: strongly protective, and wrong."""
    folder, ref = parity("s03_stanford_heart_tv")
    d = pd.read_csv(folder / "jasa_one_row_per_person.csv")
    naive = cox_from_rows(np.zeros(len(d)), d["futime"].clip(lower=0.5), d["fustat"], d[["transplant"]])
    assert naive.coefficient[0] == pytest.approx(ref["naive.transplant"]["value"], rel=CLOSE)
    known_then = heart(folder, "age year surgery transplant").rows("efron")
    assert abs(known_then.coefficient[3]) < known_then.se[3] < 0.3 * abs(naive.coefficient[0])


def test_melanoma_by_subdistribution(parity) -> None:
    """Fine & Gray (1999): who died otherwise stays at risk, by the chance to be followed still; R's cmprsk."""
    folder, ref = parity("s06_melanoma_competing")
    d = pd.read_csv(folder / "melanoma.csv")
    time, died, other = d["time"].to_numpy(dtype=float), d["status"] == 1, d["status"] == 3
    x = d[["sex", "age", "thickness", "ulcer"]].to_numpy(dtype=float)
    followed = kaplan_meier(life_table(None, time, (d["status"] == 2).astype(int)))
    moments = np.unique(time[died])
    chance = followed.at(moments - 1e-9)[0].ravel()
    rows = [(0.0, stop, event, 1.0, at) for at, (stop, event) in enumerate(zip(time, died, strict=True))]
    for at in np.flatnonzero(other):
        own = float(followed.at(time[at] - 1e-9)[0].ravel()[0])
        for place in np.flatnonzero(moments > time[at]):
            begin = max(time[at], moments[place - 1]) if place else time[at]
            rows.append((begin, moments[place], False, chance[place] / own, at))
    start, stop, event, weight, who = (np.array(each) for each in zip(*rows, strict=True))
    fit = cox_from_rows(start, stop, event.astype(bool), x[who.astype(int)], weights=weight, ties="breslow")
    published = [ref[f"fg.{name}"]["value"] for name in ("sex", "age", "thickness", "ulcer")]
    assert fit.coefficient == pytest.approx(published, rel=1e-5)


def test_kumar_and_petersen_churn(parity) -> None:
    folder, ref = parity("s11_smcrm_churn")
    d = pd.read_csv(folder / "customer_churn.csv")
    assert d["churned"].sum() == ref["n_churned"]["value"]
    table = life_table(None, d["duration"], d["churned"])
    assert kaplan_meier(table).at([365])[0].ravel() == pytest.approx([ref["km365"]["value"]], rel=1e-12)
    assert (d["duration"] >= 730).mean() == pytest.approx(ref["km730"]["value"])


def test_telco_logit(parity) -> None:
    """R's glm of leaving on tenure, charges and contract."""
    folder, ref = parity("s08_telco_churn_km")
    d = pd.read_csv(folder / "telco_churn.csv")
    assert (len(d), d["churned"].mean()) == (ref["n"]["value"], pytest.approx(ref["churn_rate"]["value"], rel=1e-12))
    columns = {
        "(Intercept)": np.ones(len(d)),
        "tenure": d["tenure"],
        "monthly_charges": d["monthly_charges"],
        "contractOne year": d["contract"] == "One year",
        "contractTwo year": d["contract"] == "Two year",
    }
    x = pd.DataFrame(columns).astype(float)
    fit = grouped_glm(x, np.ones(len(d)), d["churned"], family="logit")
    assert fit.coefficient == pytest.approx([ref[f"logit.{name}"]["value"] for name in columns], rel=CLOSE)
