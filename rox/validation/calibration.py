"""What a grade is worth: the distribution of true over estimated in many simulated banks, by grade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize

from rox.core.check import ASSUMED_LAYERS, BiasLayer, Grade
from rox.core.errors import RunError
from rox.core.files import write_text
from rox.core.record import versions
from rox.core.words import Language, say
from rox.validation.document import markdown_table
from rox.validation.replication import NORMAL_90
from rox.validation.scoreboard import Scoreboard
from rox.validation.truths import Target

LEFT_OUT = ("panel",)
"""Methods whose figure answers a shorter question than the one it is taken for: no factor turns one into the other."""
CLAIMS = ("promoter_gap", "pooled_ols", "quartiles", "before_after")
"""Recipes of the kind that published figures come from; they stand for grade E."""
FEWEST = 12
"""Banks from which a method's figures count."""
COLUMNS = ["world", "seed", "method", "grade", "truth", "estimate", "se"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Pairs of estimate and truth, and the factors that turn one into the other.

    Attributes:
        pairs: One row per bank and method: ``world``, ``seed``, ``method``, ``grade``, ``truth``, ``estimate``, ``se``.
        command: The command that made the banks.
        made_with: Versions it was made with, in one line.
    """

    pairs: pd.DataFrame
    command: str
    made_with: str

    @classmethod
    def of(cls, board: Scoreboard) -> Calibration:
        """Take the pairs from a scoreboard.

        Raises:
            RunError: No method has enough banks in any grade.
        """
        rows = board.answers
        rows = rows[rows["estimate"].notna() & (rows["target"] != str(Target.GAP)) & ~rows["method"].isin(LEFT_OUT)]
        rows = rows.assign(
            grade=np.where(rows["method"].isin(CLAIMS), str(Grade.E), rows["grade"]),
            se=(rows["high"] - rows["low"]) / (2 * NORMAL_90),
        )
        pairs = rows.loc[rows["grade"] != "", COLUMNS].sort_values(["method", "world", "seed"]).reset_index(drop=True)
        made_with = ", ".join(f"{name} {version}" for name, version in versions().items())
        found = cls(pairs=pairs, command=board.command, made_with=made_with)
        if found.methods().empty:
            raise RunError(
                "Nothing can be calibrated.",
                [f"every grade needs a method with at least {FEWEST} banks: raise --replications"],
            )
        return found

    def methods(self) -> pd.DataFrame:
        """Fit the factor of each method within each grade.

        An estimate is taken as truth × B + sampling error, with the standard error that the method states; B differs
        from bank to bank with a mean and a standard deviation that are fitted by maximum likelihood. The factor of a
        report is its inverse, M = 1/B, to second order. What the sampling error explains is not counted twice.

        Returns:
            one row per grade and method with at least 12 banks: ``banks``, ``shrinks`` (mean of B), ``mean`` and ``sd``
            of M.
        """
        rows = []
        for (grade, method), part in self.pairs.groupby(["grade", "method"]):
            if len(part) < FEWEST:
                continue
            b, spread = _mean_and_spread(part)
            share = (spread / b) ** 2
            mean, sd = (1 + share) / b, abs(spread / b**2)
            rows.append({"grade": grade, "method": method, "banks": len(part), "shrinks": b, "mean": mean, "sd": sd})
        return pd.DataFrame(rows, columns=["grade", "method", "banks", "shrinks", "mean", "sd"]).set_index(
            ["grade", "method"]
        )

    def layers(self) -> dict[Grade, BiasLayer]:
        """Return the factor of every grade: methods count alike, and none scales an estimate up.

        A grade says how strong the evidence is, not in which way it errs; so the spread between methods is part of it.
        A mean above one is set to one: an estimate that is too small here may be too large elsewhere. No grade is worth
        more than a better one, nor surer: where its mean lies within the better one's spread, so does its error. Grades
        that no method reached keep what is assumed.
        """
        found = dict(ASSUMED_LAYERS)
        for grade, part in self.methods().groupby(level="grade"):
            means = part["mean"].clip(upper=1.0)
            sd = float(np.sqrt((part["sd"] ** 2).mean() + means.var(ddof=0)))
            banks = int(part["banks"].sum())
            found[Grade(str(grade))] = BiasLayer(round(float(means.mean()), 2), round(sd, 2), banks)
        better = BiasLayer(1.0, 0.0)
        for each in Grade:
            mean, sd = min(better.mean, found[each].mean), found[each].sd
            sd = max(sd, better.sd) if mean > better.mean - better.sd else sd
            found[each] = better = replace(found[each], mean=mean, sd=sd)
        return found

    def save(self, layers: Path, pairs: Path) -> list[Path]:
        """Write the factors with their recipe, and the pairs they were fitted to."""
        return [write_text(layers, self._toml()), write_text(pairs, self.pairs.to_csv(index=False))]

    def _toml(self) -> str:
        recipe = {
            "command": self.command,
            "versions": self.made_with,
            "left_out": ", ".join(LEFT_OUT),
            "claims": ", ".join(CLAIMS),
        }
        lines = [
            "# Made by `make calibration`. true = estimate × M, M ~ Normal(mean, sd²); banks = 0: assumed.",
            "[recipe]",
        ]
        lines += [f'{name} = "{value}"' for name, value in recipe.items()]
        for grade, layer in self.layers().items():
            lines += ["", f"[{grade}]", f"mean = {layer.mean}", f"sd = {layer.sd}", f"banks = {layer.banks}"]
        return "\n".join(lines) + "\n"

    def document(self, language: Language = "en") -> str:
        """Write what was done and found as Markdown."""
        return (
            "\n\n".join(
                [
                    f"# {say('calibration.title', language)}",
                    say("validation.plain", language),
                    say("calibration.made", language, command=self.command, versions=self.made_with),
                    say("calibration.recipe", language, fewest=FEWEST),
                    markdown_table(list(self._layer_rows(language)), language),
                    say("calibration.agrees", language, text=self._agreement(language)),
                    f"## {say('calibration.methods', language)}",
                    say("calibration.methods.text", language),
                    markdown_table(list(self._method_rows(language)), language),
                ]
            )
            + "\n"
        )

    def _layer_rows(self, language: Language) -> Sequence[Mapping[str, str]]:
        return [
            {
                "grade": str(grade),
                "calibrated": f"{layer.mean:.2f} ± {layer.sd:.2f}" if layer.banks else "–",
                "banks": f"{layer.banks}" if layer.banks else "–",
                "assumed": f"{ASSUMED_LAYERS[grade].mean:.2f} ± {ASSUMED_LAYERS[grade].sd:.2f}",
                "in_use": f"{layer.mean:.2f} ± {layer.sd:.2f}",
            }
            for grade, layer in self.layers().items()
        ]

    def _method_rows(self, language: Language) -> Sequence[Mapping[str, str]]:
        return [
            {
                "grade": str(row["grade"]),
                "method": say(f"validation.method.{row['method']}", language),
                "banks": f"{row['banks']:.0f}",
                "shrinks": f"{row['shrinks']:.2f}",
                "mean": f"{row['mean']:.2f}",
                "sd": f"{row['sd']:.2f}",
            }
            for row in self.methods().reset_index().to_dict(orient="records")
        ]

    def _agreement(self, language: Language) -> str:
        """Say for each grade whether what was assumed lies within one standard deviation of what was found."""
        said = []
        for grade, layer in self.layers().items():
            assumed = ASSUMED_LAYERS[grade]
            if not layer.banks:
                key = "calibration.none"
            elif abs(layer.mean - assumed.mean) <= max(layer.sd, assumed.sd):
                key = "calibration.near"
            else:
                key = "calibration.higher" if layer.mean > assumed.mean else "calibration.lower"
            said.append(
                say(
                    key,
                    language,
                    grade=grade,
                    found=f"{layer.mean:.2f} ± {layer.sd:.2f}",
                    assumed=f"{assumed.mean:.2f} ± {assumed.sd:.2f}",
                )
            )
        return "\n".join(f"- {each}" for each in said)


def _mean_and_spread(pairs: pd.DataFrame) -> tuple[float, float]:
    """Fit estimate/truth ~ Normal(b, spread² + (se/truth)²) by maximum likelihood."""
    ratio = (pairs["estimate"] / pairs["truth"]).to_numpy(dtype=float)
    noise = (pairs["se"] / pairs["truth"]).to_numpy(dtype=float) ** 2

    def mean_given(spread: float) -> float:
        weight = 1 / (spread**2 + noise)
        return float((weight * ratio).sum() / weight.sum())

    def loss(log_spread: float) -> float:
        variance = np.exp(2 * log_spread) + noise
        return float((np.log(variance) + (ratio - mean_given(np.exp(log_spread))) ** 2 / variance).sum())

    widest = float(np.log(max(ratio.std(), 1e-3)))
    best = optimize.minimize_scalar(loss, bounds=(widest - 8, widest + 1), method="bounded")
    spread = float(np.exp(best.x))
    return mean_given(spread), spread
