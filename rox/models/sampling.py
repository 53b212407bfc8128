"""Sample a PyMC model in the same way on every version of PyMC and ArviZ, and refuse draws that did not converge.

This is the only module that knows the versions. Others take ``pymc`` from here to write a model down, and get plain
arrays back. The sampler is always the NUTS of nutpie on the model compiled by numba, which needs no C++ compiler.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rox.core.check import Check, Verdict
from rox.core.errors import FitError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    try:
        import arviz
    except FileNotFoundError:
        # Processes that import it first on a day write one file of its cache, and may take it away from each other.
        import arviz
    import nutpie
    import pymc
    from pytensor.configdefaults import config

__all__ = ["RHAT_LIMIT", "SMALLEST_ESS", "Sampled", "pymc", "sample"]

RHAT_LIMIT = 1.01
SMALLEST_ESS = 400
ATTEMPTS = ((1, 1, 0.98), (2, 4, 0.99), (3, 12, 0.998))
"""Multiples of tuning steps and of draws, and target acceptance, of each attempt; the next runs if the last failed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """Draws of a posterior that passed the gates, and how well they mix.

    Attributes:
        draws: By variable, shape (draw, ...), the chains one after another.
        rhat: Largest rank-normalised split R-hat of any number (Vehtari et al. 2021).
        ess: Smallest effective sample size, bulk or tail, of any number.
        divergences: Divergent transitions after tuning.
        chains: Chains.
        sampler: Name and version of what sampled.
    """

    draws: Mapping[str, NDArray[np.float64]]
    rhat: float
    ess: float
    divergences: int
    chains: int
    sampler: str

    def __post_init__(self) -> None:
        held = {name: np.array(values, dtype=float) for name, values in self.draws.items()}
        for values in held.values():
            values.setflags(write=False)
        object.__setattr__(self, "draws", MappingProxyType(held))

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the draws; empty when they can be used."""
        found = []
        if not self.rhat < RHAT_LIMIT:
            found.append(f"R-hat is {self.rhat:.3f}; needed: below {RHAT_LIMIT}")
        if not self.ess > SMALLEST_ESS:
            found.append(f"the effective sample size is {self.ess:.0f}; needed: above {SMALLEST_ESS}")
        if self.divergences:
            found.append(f"{self.divergences} divergent transitions; needed: none")
        return tuple(found)

    def check(self) -> Check:
        """Return the check that says the sampler converged (ROX-B03)."""
        values: dict[str, str | int | float] = {
            "rhat": self.rhat,
            "ess": self.ess,
            "divergences": self.divergences,
            "sampler": self.sampler,
        }
        return Check(code="ROX-B03", verdict=Verdict.STOP if self.faults else Verdict.PASS, values=values)


def sample(
    model: pymc.Model,
    names: Sequence[str],
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    rng: int | np.random.Generator | None = None,
) -> Sampled:
    """Sample a model with NUTS; one seed gives the same draws on one installation, however many cores there are.

    If the first attempt does not pass the gates others tune longer, draw more and keep as many, and take smaller steps.

    Args:
        model: A PyMC model with continuous variables.
        names: Variables to keep; the gates look at these.
        draws: Kept draws per chain.
        tune: Tuning steps per chain, thrown away.
        chains: At least 2, or R-hat means little.
        rng: Seed or generator.

    Raises:
        FitError: No attempt gave R-hat below 1.01, an effective sample size above 400 and no divergences.
    """
    generator = np.random.default_rng(rng)
    # Fast mathematics rounds in another way when a function is compiled than when it comes from the cache.
    with warnings.catch_warnings(), config.change_flags(numba__fastmath=False):
        warnings.filterwarnings("ignore", message="PyTensor could not link to a BLAS")
        compiled = nutpie.compile_pymc_model(model)
    found = None
    for longer, thin, acceptance in ATTEMPTS:
        found = _attempt(compiled, names, draws, longer * tune, chains, thin, acceptance, generator)
        if not found.faults:
            return found
    assert found is not None
    raise FitError(
        "The sampler did not converge, so no estimate is given.",
        [
            *found.faults,
            "give it more draws; if that does not help, merge segments with few customers, or use narrower priors for "
            "the differences between segments and between places",
        ],
    )


def _attempt(
    compiled: Any,
    names: Sequence[str],
    draws: int,
    tune: int,
    chains: int,
    thin: int,
    acceptance: float,
    generator: np.random.Generator,
) -> Sampled:
    """Sample once; of more draws than asked for some are kept, and all count for R-hat and effective size."""
    try:
        trace = nutpie.sample(
            compiled,
            draws=thin * draws,
            tune=tune,
            chains=chains,
            cores=min(chains, os.cpu_count() or 1),
            seed=int(generator.integers(2**31)),
            target_accept=acceptance,
            progress_bar=False,
        )
    except RuntimeError as cause:
        raise FitError(
            "The sampler could not begin, so no estimate is given.",
            ["no starting point has a finite likelihood: look for impossible or missing counts in the data"],
        ) from cause
    posterior = _dataset(trace.posterior)[list(names)]
    statistics: Any = arviz
    return Sampled(
        draws={name: _stacked(posterior[name].to_numpy()[:, ::thin]) for name in names},
        rhat=_extreme(statistics.rhat(posterior), np.max),
        ess=min(_extreme(statistics.ess(posterior, method=method), np.min) for method in ("bulk", "tail")),
        divergences=int(np.asarray(trace.sample_stats["diverging"]).sum()),
        chains=chains,
        sampler=f"PyMC {pymc.__version__}, NUTS by nutpie {nutpie.__version__}",
    )


def _dataset(posterior: Any) -> Any:
    """Return the posterior as a data set: ArviZ 1 holds a node of a tree, ArviZ 0 the data set itself."""
    return posterior.to_dataset() if hasattr(posterior, "to_dataset") else posterior


def _stacked(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.reshape(-1, *values.shape[2:])


def _extreme(statistic: Any, pick: Any) -> float:
    return float(pick([pick(np.asarray(each)) for each in statistic.data_vars.values()]))
