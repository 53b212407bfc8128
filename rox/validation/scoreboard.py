"""What many banks say about each method: bias, coverage, spread, alarms, and how far its grade's estimates are off."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rox.core.check import BIAS_LAYERS, Grade, Verdict
from rox.core.record import plain
from rox.validation.methods import Method, pick
from rox.validation.truths import Target
from rox.validation.worlds import Dials

BADLY = 0.5
"""An estimate that misses the truth by more than this share of it is badly wrong."""
ENOUGH = 0.80
"""Share of badly wrong answers in which an alarm must be raised to be worth its name."""
BAND = 0.99
"""Probability with which the ranks of one calibrated quantity stay inside their band."""
SIMULATIONS = 1000
"""Data sets by posterior that the command simulates unless told."""
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
KEY = ["world", "method", "target"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scoreboard:
    """Answers of many banks and what follows from them.

    Attributes:
        answers: One row per bank, method and target: ``world``, ``seed``, the fields of ``Answer``, ``error`` (estimate
            less truth) and ``wrong`` (off by more than half of the truth).
        checks: One row per bank, method and check that ran: ``world``, ``seed``, ``method``, ``code``, ``verdict``.
        methods: What was tried.
        replications: Banks per world.
        customers: Customers of each bank.
        seed: Seed of the first bank.
        dials: Changes made to the dials of every world.
        simulations: Data sets from which the calibration of each posterior was computed; 0 for none.
        posteriors: What came out of it: one row per ``posterior`` and ``quantity``, as ``RankCalibration.rows`` has it.
    """

    answers: pd.DataFrame
    checks: pd.DataFrame
    methods: tuple[Method, ...]
    replications: int
    customers: int
    seed: int
    dials: Dials = field(default_factory=dict)
    simulations: int = SIMULATIONS
    posteriors: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def of(
        cls,
        contents: Sequence[Mapping[str, Any]],
        *,
        methods: tuple[Method, ...],
        replications: int,
        customers: int,
        seed: int,
        dials: Dials | None = None,
    ) -> Scoreboard:
        """Put the files of finished banks together."""
        rows, verdicts = [], []
        for content in contents:
            where = {"world": content["world"], "seed": content["seed"]}
            for answer in content["answers"]:
                rows.append(where | {name: value for name, value in answer.items() if name != "checks"})
                verdicts += [
                    where | {"method": answer["method"], "code": code, "verdict": verdict}
                    for code, verdict in answer["checks"].items()
                ]
        answers = pd.DataFrame(rows)
        for name in ("truth", "estimate", "low", "high", "seconds"):
            answers[name] = answers[name].astype(float)
        error = answers["estimate"] - answers["truth"]
        answers = answers.assign(error=error, wrong=error.abs() > BADLY * answers["truth"].abs())
        checks = pd.DataFrame(verdicts, columns=["world", "seed", "method", "code", "verdict"]).drop_duplicates()
        return cls(
            answers=answers,
            checks=checks,
            methods=methods,
            replications=replications,
            customers=customers,
            seed=seed,
            dials=dials or {},
        )

    @property
    def worlds(self) -> tuple[str, ...]:
        """Names of the worlds, in the order they were tried."""
        return tuple(dict.fromkeys(self.answers["world"]))

    @property
    def targets(self) -> tuple[str, ...]:
        """What answers were held against."""
        return tuple(dict.fromkeys(self.answers["target"]))

    @property
    def command(self) -> str:
        """The command that makes the same again."""
        named = [method.name for method in self.methods]
        chosen = [] if named == [method.name for method in pick()] else ["--estimators", *named]
        size = ["--replications", str(self.replications), "--customers", str(self.customers), "--seed", str(self.seed)]
        if self.simulations != SIMULATIONS:
            size += ["--posteriors", str(self.simulations)]
        turned = [
            f"--dial {group}.{name}={json.dumps(value)}"
            for group, values in self.dials.items()
            for name, value in values.items()
        ]
        return " ".join(["rox validate", *chosen, "--presets", *self.worlds, *size, *turned])

    def accuracy(self) -> pd.DataFrame:
        """Tabulate how close each method comes.

        Returns:
            One row per world, method and target. ``banks`` that gave an estimate and ``refused`` ones; means of
            ``truth`` and ``estimate``; ``bias`` as a share of the mean truth with its Monte Carlo error ``bias_mc``;
            ``coverage`` of the 90% intervals with ``coverage_mc`` (Agresti & Coull 1998, so that it is not zero where
            all banks agree); ``sd`` of the estimates and ``rmse`` around the truth; mean ``seconds``.
        """
        return _grouped(self.answers, _accuracy)

    def alarms(self) -> pd.DataFrame:
        """Tabulate whether an estimator knew when it was badly wrong, as an answer to the question it is priced for.

        Returns:
            One row per world, estimator and target. ``wrong``: banks in which it missed by more than half of the truth;
            among these ``demoted``: those in which at least one of its checks lowered the grade, ``alarm``: in which
            one of its alarms did not pass, ``low_grade``: in which the effect came with D or E, ``covered``: in which
            the interval held the truth all the same, ``silent``: neither lowered, nor alarmed, nor covered. ``right``
            and ``false_demoted``, ``false_alarm``: the same among the other banks. ``holds``: whether an alarm was
            raised in 80% of the badly wrong banks or more; missing without any. ``alarm_code``: which they are.
        """
        named = {method.name: method.alarms for method in self.methods if method.estimator is not None}
        verdicts = self.checks[self.checks["method"].isin(list(named))]
        ours = [code in named[method] for method, code in zip(verdicts["method"], verdicts["code"], strict=True)]
        verdicts = verdicts.assign(
            demoted=verdicts["verdict"].isin([str(Verdict.DEMOTE), str(Verdict.STOP)]),
            raised=np.array(ours, dtype=bool) & (verdicts["verdict"] != str(Verdict.PASS)),
        )
        by_bank = verdicts.groupby(["world", "seed", "method"])[["demoted", "raised"]].any().reset_index()
        rows = self.answers.merge(by_bank, on=["world", "seed", "method"])
        rows = rows[rows["estimate"].notna() & (rows["target"] != str(Target.GAP))]
        if rows.empty:
            return pd.DataFrame()
        table = _grouped(rows, _alarms)
        return table.assign(alarm_code=[" ".join(named[str(name)]) for _, name, _ in table.index])

    def codes(self) -> pd.DataFrame:
        """Tabulate by world, estimator and check the share of banks in which it demoted or remarked."""
        counts = self.checks.groupby(["world", "method", "code"], sort=False)["verdict"].agg(
            banks="size",
            demoted=lambda each: float(each.isin([str(Verdict.DEMOTE), str(Verdict.STOP)]).mean()),
            noted=lambda each: float((each == str(Verdict.NOTE)).mean()),
        )
        shown: pd.DataFrame = counts[(counts["demoted"] > 0) | (counts["noted"] > 0)]
        return shown

    def grades(self) -> pd.DataFrame:
        """Set what the evidence discount assumes beside what these banks show: truth over estimate, by grade.

        Answers to the question an estimator is priced for, every bank counting once. A gap is never priced; it stands
        in a row of its own, as the answer to what one more point earns that it is taken for.

        Returns:
            One row per grade and estimator, and one per grade (``method`` is ``all``): ``banks``; ``mean`` and ``sd``
            of truth over estimate; its quantiles ``q05`` to ``q95``; ``through``, the slope through the origin of truth
            on estimate, which no estimate near zero can blow up; ``worlds``, the standard deviation between worlds of
            mean truth over mean estimate; ``assumed_mean`` and ``assumed_sd`` of the discount in use.
        """
        rows = self.answers[(self.answers["grade"] != "") & (self.answers["target"] != str(Target.GAP))]
        rows = rows[rows["estimate"].notna()]
        if rows.empty:
            return pd.DataFrame()
        pieces = {(grade, method): part for (grade, method), part in rows.groupby(["grade", "method"])}
        priced = rows[rows["method"] != "gap"]
        pieces |= {(grade, "all"): part for grade, part in priced.groupby("grade")}
        keys = sorted(pieces)
        table = pd.DataFrame([_multiplier(pieces[key], Grade(str(key[0]))) for key in keys])
        table.index = pd.MultiIndex.from_tuples(keys, names=["grade", "method"])
        return table

    def as_record(self) -> dict[str, Any]:
        """Return every table as plain values."""
        tables = {"accuracy": self.accuracy(), "alarms": self.alarms(), "codes": self.codes(), "grades": self.grades()}
        tables["posteriors"] = self.posteriors
        settings = {"replications": self.replications, "customers": self.customers, "seed": self.seed}
        found = {name: table.reset_index().to_dict(orient="records") for name, table in tables.items()}
        record: dict[str, Any] = plain(settings | found)
        return record


def _grouped(rows: pd.DataFrame, summary: Callable[[pd.DataFrame], dict[str, float]]) -> pd.DataFrame:
    """Summarise by world, method and target, in the order they were tried."""
    order = {name: place for place, name in enumerate(dict.fromkeys(rows["world"]))}
    parts = sorted(rows.groupby(KEY, sort=False), key=lambda each: order[each[0][0]])
    table = pd.DataFrame([summary(part) for _, part in parts])
    table.index = pd.MultiIndex.from_tuples([key for key, _ in parts], names=KEY)
    return table


def _accuracy(rows: pd.DataFrame) -> dict[str, float]:
    said = rows[rows["estimate"].notna()]
    banks, truth = len(said), float(rows["truth"].mean())
    inside = ((said["low"] <= said["truth"]) & (said["truth"] <= said["high"])).sum()
    near = (inside + 2) / (banks + 4)
    return {
        "banks": banks,
        "refused": len(rows) - banks,
        "truth": truth,
        "estimate": float(said["estimate"].mean()),
        "bias": float(said["error"].mean() / said["truth"].mean()),
        "bias_mc": float(said["error"].std() / np.sqrt(max(banks, 1)) / abs(truth)),
        "coverage": float(inside / banks) if banks else float("nan"),
        "coverage_mc": float(np.sqrt(near * (1 - near) / (banks + 4))),
        "sd": float(said["estimate"].std()),
        "rmse": float(np.sqrt((said["error"] ** 2).mean())),
        "seconds": float(rows["seconds"].mean()),
    }


def _alarms(rows: pd.DataFrame) -> dict[str, float]:
    wrong, right = rows[rows["wrong"]], rows[~rows["wrong"]]
    covered = (wrong["low"] <= wrong["truth"]) & (wrong["truth"] <= wrong["high"])
    return {
        "wrong": len(wrong),
        "demoted": int(wrong["demoted"].sum()),
        "alarm": int(wrong["raised"].sum()),
        "low_grade": int(wrong["grade"].isin([str(Grade.D), str(Grade.E)]).sum()),
        "covered": int(covered.sum()),
        "silent": int((~wrong["demoted"] & ~wrong["raised"] & ~covered).sum()),
        "right": len(right),
        "false_demoted": int(right["demoted"].sum()),
        "false_alarm": int(right["raised"].sum()),
        "holds": float(wrong["raised"].mean() >= ENOUGH) if len(wrong) else float("nan"),
    }


def _multiplier(rows: pd.DataFrame, grade: Grade) -> dict[str, float]:
    ratio = rows["truth"] / rows["estimate"]
    means = rows.groupby(["world", "method"])[["truth", "estimate"]].mean()
    layer = BIAS_LAYERS[grade]
    scaled = rows["estimate"] / rows["truth"]
    return {
        "banks": len(rows),
        "mean": float(ratio.mean()),
        "sd": float(ratio.std()),
        **{f"q{100 * level:02.0f}": float(ratio.quantile(level)) for level in QUANTILES},
        "through": float(scaled.sum() / (scaled**2).sum()),
        "worlds": float((means["truth"] / means["estimate"]).std()),
        "assumed_mean": layer.mean,
        "assumed_sd": layer.sd,
    }
