"""A hierarchical difference in differences from cells: effective draws per second, beside PyMC on the same cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import Contest, contest, first, loaded, markdown, options, peak, repeated, serve, times

NAMES = ("rox", "PyMC, nutpie", "PyMC")
COUNTS = "rox, counts"
SEGMENTS, STRATA = 8, 20
PRIOR = {"level_sd": 5.0, "mean_sd": 1.0, "between_sd": 0.5, "levels_sd": 1.0, "strata_sd": 1.0, "noise_sd": 2.0}
LEVEL = 10.0
DRAWS, TUNE, CHAINS = 1000, 1000, 4
SMALLEST = 1e5


def main() -> None:
    """Run from the command line."""
    parser = options("Hierarchical model", rows="1e6")
    asked = parser.parse_args()
    if asked.one:
        serve(contestant(asked.one, asked.rows), asked.repeats)
        return
    print(report(asked.rows, asked.rounds, asked.repeats, asked.only))


def report(rows: float, rounds: int, repeats: int, names: list[str] | None = None) -> str:
    """Run the contest at 100,000 rows, and rox alone up to `rows`."""
    chosen = list(names or NAMES)
    small = ["--rows", str(min(rows, SMALLEST))]
    found = contest("benchmarks.bayes", chosen, small, rounds=rounds, repeats=max(repeats, 1), patience=1800)
    parts = [_table(found, chosen[0])]
    alone = ["rox", COUNTS] if names is None else ["rox"]
    lines = []
    for size in sorted({min(rows, SMALLEST), rows}):
        grown = contest("benchmarks.bayes", alone, ["--rows", str(size)], rounds=rounds, repeats=1)
        lines += [
            {
                "": name,
                "outcomes": f"{size:.3g}",
                "seconds": f"{grown.figure(name, repeated):.3g}",
                "effective draws": f"{grown.trials[name][-1].answer['ess']:.0f}",
                "peak, MiB": f"{grown.figure(name, peak):.0f}",
            }
            for name in grown.trials
        ]
    return "\n\n".join([*parts, markdown(lines)])


def _table(found: Contest, base: str) -> str:
    def rate(name: str) -> float:
        return float(np.median([trial.answer["ess"] / repeated(trial) for trial in found.trials[name]]))

    lines = []
    for name in found.trials:
        answer = found.trials[name][-1].answer
        lines.append(
            {
                "": f"**{name}**" if name == base else name,
                "first call, s": f"{found.figure(name, first):.3g}",
                "later call, s": f"{found.figure(name, repeated):.3g}",
                "effective draws": f"{answer['ess']:.0f}",
                "per second": f"{rate(name):.3g}",
                "times fewer per second": "1" if name == base else times(rate(base) / rate(name)),
                "mean effect": f"{answer['mean']:.4f} ± {answer['sd']:.4f}",
                "apart, Monte Carlo errors": "" if name == base else f"{_apart(found, name, base):.1f}",
                "divergences": f"{answer['divergences']}",
            }
        )
    text = markdown(lines)
    for name, why in found.absent.items():
        text += f"\n\n{name} did not take part: {why}."
    return text


def _apart(found: Contest, name: str, base: str) -> float:
    one, other = found.trials[name][-1].answer, found.trials[base][-1].answer
    error = np.hypot(one["sd"] / one["ess"] ** 0.5, other["sd"] / other["ess"] ** 0.5)
    return float(abs(one["mean"] - other["mean"]) / error)


def cells(rows: float, *, counts: bool = False) -> pd.DataFrame:
    """Draw the cells of 8 segments, 20 strata, before and after, treated and not."""
    rng = np.random.default_rng(3)
    keys = pd.MultiIndex.from_product(
        [range(SEGMENTS), range(STRATA), (0, 1), (0, 1)], names=["segment", "stratum", "after", "treated"]
    )
    frame = keys.to_frame(index=False)
    frame["both"] = frame["after"] * frame["treated"]
    s, c = frame["segment"].to_numpy(), frame["stratum"].to_numpy()
    effect = rng.normal(0.05, 0.05, SEGMENTS)[s]
    around = rng.normal(0, 0.5, SEGMENTS)[s] + rng.normal(0, 0.5, (SEGMENTS, STRATA))[s, c]
    linear = around + 0.1 * frame["after"] + 0.05 * frame["treated"] + effect * frame["both"]
    n = np.maximum(rng.multinomial(int(rows), np.full(len(frame), 1 / len(frame))), 2)
    if counts:
        return frame.assign(n=n, outcome=rng.poisson(n * np.exp(linear - 2)))
    total = n * (LEVEL + linear) + np.sqrt(n) * rng.standard_normal(n.size)
    return frame.assign(n=n, outcome=total, squares=total**2 / n + rng.chisquare(n - 1))


def contestant(name: str, rows: float) -> Callable[[], Mapping[str, Any]]:
    """Return what is timed; the cells are in memory before the clock starts."""
    if name == COUNTS:
        loaded("rox.models.cell_pool", "rox.models.sampling")
        frame = cells(rows, counts=True)
        return lambda: _counts(frame)
    frame = cells(rows)
    if name == "rox":
        loaded("rox.numerics.group_coefficients")
        return lambda: _rox(frame)
    loaded("pymc", "arviz", *(["nutpie"] if "nutpie" in name else []))
    return lambda: _pymc(frame, by_nutpie="nutpie" in name)


def _rox(frame: pd.DataFrame) -> dict[str, Any]:
    from rox.numerics.group_coefficients import group_coefficients

    found = group_coefficients(
        frame["n"],
        frame["outcome"],
        frame["squares"],
        frame["segment"],
        frame["stratum"],
        frame[["after", "treated", "both"]],
        level_mean=LEVEL,
        **PRIOR,
        rng=1,
    )
    draws = found.mean[:, 2]
    return {"ess": found.ess, "mean": float(draws.mean()), "sd": float(draws.std()), "divergences": "none possible"}


def _counts(frame: pd.DataFrame) -> dict[str, Any]:
    from rox.models.cell_pool import pool_cells

    found = pool_cells(
        frame, group="segment", predictors=["after", "treated", "both"], strata=["stratum"], family="poisson", rng=1
    )
    return {"ess": found.ess, "mean": float(found.mean[:, 2].mean()), "sd": float(found.mean[:, 2].std())}


def _pymc(frame: pd.DataFrame, *, by_nutpie: bool) -> dict[str, Any]:
    """The same model as a user of PyMC writes it: nothing centred, the mean of each cell and its sum of squares."""
    import arviz
    import pymc

    n, total, squares = (frame[name].to_numpy(dtype=float) for name in ("n", "outcome", "squares"))
    s, c = frame["segment"].to_numpy(), frame["stratum"].to_numpy()
    x = frame[["after", "treated", "both"]].to_numpy(dtype=float)
    mean, within = total / n, float((squares - total**2 / n).sum())
    with pymc.Model() as model:
        level = pymc.Normal("level", LEVEL, PRIOR["level_sd"])
        levels = level + pymc.HalfNormal("levels_sd", PRIOR["levels_sd"]) * pymc.Normal("zl", 0, 1, shape=SEGMENTS)
        strata = pymc.HalfNormal("strata_sd", PRIOR["strata_sd"]) * pymc.Normal("zs", 0, 1, shape=(SEGMENTS, STRATA))
        mu = pymc.Normal("mu", 0, PRIOR["mean_sd"], shape=3)
        between = pymc.HalfNormal("between", PRIOR["between_sd"], shape=3)
        own = pymc.Deterministic("own", mu + between * pymc.Normal("zb", 0, 1, shape=(SEGMENTS, 3)))
        noise = pymc.HalfNormal("noise", PRIOR["noise_sd"])
        predictor = (levels[:, None] + strata)[s, c] + (x * own[s]).sum(1)
        pymc.Normal("y", predictor, noise / np.sqrt(n), observed=mean)
        pymc.Potential("rest", -within / (2 * noise**2) - (n.sum() - n.size) * pymc.math.log(noise))
        if by_nutpie:
            import nutpie

            compiled = nutpie.compile_pymc_model(model)
            trace = nutpie.sample(
                compiled, draws=DRAWS, tune=TUNE, chains=CHAINS, cores=2, seed=1, target_accept=0.9, progress_bar=False
            )
        else:
            trace = pymc.sample(
                DRAWS,
                tune=TUNE,
                chains=CHAINS,
                cores=2,
                random_seed=1,
                target_accept=0.9,
                nuts_sampler="pymc",
                compile_kwargs={"mode": "NUMBA"},
                progressbar=False,
                compute_convergence_checks=False,
            )
    posterior = trace.posterior.to_dataset() if hasattr(trace.posterior, "to_dataset") else trace.posterior
    sizes = arviz.ess(posterior[["own", "mu", "between"]])
    size = min(float(np.min(np.asarray(each)[..., 2])) for each in sizes.data_vars.values())
    draws = np.asarray(posterior["mu"])[..., 2]
    diverged = int(np.asarray(trace.sample_stats["diverging"]).sum())
    return {"ess": size, "mean": float(draws.mean()), "sd": float(draws.std()), "divergences": str(diverged)}


if __name__ == "__main__":
    main()
