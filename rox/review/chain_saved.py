"""The chain of a study with the effects that a run saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rox.core.chain import Chain
from rox.linking.link import link
from rox.linking.tables import Tables
from rox.review.chain import chain, outline_of
from rox.review.chain_effects import read_effects


def saved_chain(
    tables: Tables,
    folder: str | Path | None = None,
    *,
    path: str | Path | None = None,
    rng: int | np.random.Generator | None = None,
) -> Chain:
    """Measure a study's chain with the effects of a folder.

    Effects that were estimated from other tables than these are marked (ROX-D23).

    Args:
        tables: Loaded tables.
        folder: Where a run left its effects; without it, or if it is not there, arrows that need effects are untested.
        path: A description; by default ``chain.toml`` beside the study, else what the study suggests.
        rng: Seed or generator.

    Raises:
        DataError: Faults of the description, or effects that cannot be read.
    """
    effects = read_effects(Path(folder)) if folder is not None and Path(folder).is_dir() else {}
    outline = outline_of(tables, effects, path)
    outcomes = sorted({each.estimand.outcome for each in effects.values()} & set(tables.study.outcomes))
    linked = {link(tables, score=outline.about.score, outcome=name).fingerprint for name in outcomes}
    return chain(tables, outline, effects, fingerprints=frozenset(linked), rng=rng)
