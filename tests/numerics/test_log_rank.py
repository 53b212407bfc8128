"""The log-rank test against published values and lifelines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import multivariate_logrank_test

from rox.numerics.incidence import life_table
from rox.numerics.log_rank import log_rank


def test_sexes_of_the_melanoma_patients_differ_as_published(parity) -> None:
    folder, values = parity("s06_melanoma_competing")
    rows = pd.read_csv(folder / "melanoma.csv")
    test = log_rank(life_table(None, rows["time"], (rows["status"] == 1).astype(int), rows["sex"]))
    assert test.statistic == pytest.approx(values["logrank.sex.chi2"]["value"], rel=1e-6)
    assert test.df == 1


def test_several_tied_groups_agree_with_lifelines() -> None:
    rng = np.random.default_rng(3)
    time, event, group = rng.integers(1, 9, 300), rng.random(300) < 0.6, rng.integers(0, 4, 300)
    other = multivariate_logrank_test(time, group, event)
    test = log_rank(life_table(None, time, event.astype(int), group))
    assert test.statistic == pytest.approx(other.test_statistic, rel=1e-9)
    assert (test.df, test.p_value) == (3, pytest.approx(other.p_value, rel=1e-9))


def test_late_entry_counts_only_those_there() -> None:
    rng = np.random.default_rng(5)
    group = np.repeat([0, 1], 4000)
    entry = np.where(group == 1, rng.uniform(0, 2, 8000), 0.0)
    life = rng.exponential(1.0, 8000)
    seen = life > entry
    rows = life_table(entry[seen], life[seen], np.ones(int(seen.sum()), dtype=int), group[seen])
    naive = life_table(None, life[seen], np.ones(int(seen.sum()), dtype=int), group[seen])
    assert log_rank(rows).p_value > 0.01
    assert log_rank(naive).p_value < 1e-6


def test_one_group_has_no_test() -> None:
    with pytest.raises(ValueError, match="two groups"):
        log_rank(life_table(None, [1, 2, 3], [1, 1, 0]))
