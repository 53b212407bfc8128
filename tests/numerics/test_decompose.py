"""Thin cells, Oaxaca and Blinder's gap, shift and share: against published cases and statsmodels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.oaxaca import OaxacaBlinder

from rox.numerics.decompose import oaxaca, pool_thin, shift_share
from rox.numerics.funnel_mix import shapley_mix

Parity = Callable[[str], tuple[Path, dict[str, dict[str, Any]]]]


class TestOaxaca:
    @pytest.fixture
    def case(self, parity: Parity) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
        folder, values = parity("k01_oaxaca_cps1985")
        return pd.read_csv(folder / "cps1985.csv"), values

    COLUMNS = ("education", "experience", "exp2", "union")

    def test_parts_are_those_of_the_published_case(self, case: Any) -> None:
        frame, values = case
        found = oaxaca(frame["lwage"], frame[list(self.COLUMNS)], frame["fem"] == 0)
        assert found.gap == pytest.approx(values["gap"]["value"], rel=1e-8)
        three = [found.endowments.sum(), found.coefficients.sum(), found.interaction.sum()]
        assert three == pytest.approx(values["three"]["value"], rel=1e-7)
        for place, name in enumerate(self.COLUMNS, start=1):
            assert found.endowments[place] == pytest.approx(values[f"endow.{name}"]["value"], rel=1e-6)
        for name, reference in (
            ("two.w0", found.second),
            ("two.w1", found.first),
            ("two.w0.5", (found.first + found.second) / 2),
        ):
            assert found.twofold(reference) == pytest.approx(values[name]["value"], rel=1e-7)

    def test_pooled_references_are_those_of_the_published_case(self, case: Any) -> None:
        """Cotton's mean of the two by size, and one regression of both without (Neumark) and with the group (Jann)."""
        frame, values = case
        columns, is_first = frame[list(self.COLUMNS)], frame["fem"] == 0
        found = oaxaca(frame["lwage"], columns, is_first)
        pooled = np.column_stack([np.ones(len(frame)), columns])
        with_group = np.column_stack([pooled, is_first])
        for name, reference in (
            ("two.w0.5412", found.second + is_first.mean() * (found.first - found.second)),
            ("two.w-1", np.linalg.lstsq(pooled, frame["lwage"], rcond=None)[0]),
            ("two.w-2", np.linalg.lstsq(with_group, frame["lwage"], rcond=None)[0][:-1]),
        ):
            assert found.twofold(reference) == pytest.approx(values[name]["value"], rel=1e-7)

    def test_parts_are_those_of_statsmodels(self) -> None:
        rng = np.random.default_rng(1)
        x = rng.normal(size=(400, 2))
        first = rng.random(400) < 0.5
        x[first] += 0.4
        y = 1 + x @ [0.5, -0.3] + 0.2 * first * x[:, 0] + rng.normal(size=400)
        exog = np.column_stack([np.ones(400), x, first.astype(float)])
        theirs = OaxacaBlinder(y, exog, 3, hasconst=True).three_fold().params
        found = oaxaca(y, x, first)
        sign = np.sign(found.gap) * np.sign(theirs[3])
        mine = sorted([found.endowments.sum(), found.coefficients.sum(), found.interaction.sum(), found.gap])
        assert sorted(sign * np.array(theirs)) == pytest.approx(mine, abs=1e-10)

    def test_the_parts_add_up(self) -> None:
        rng = np.random.default_rng(2)
        x, y = rng.normal(size=(60, 3)), rng.normal(size=60)
        found = oaxaca(y, x, np.arange(60) < 25)
        assert (found.endowments + found.coefficients + found.interaction).sum() == pytest.approx(found.gap, abs=1e-12)

    def test_columns_that_hang_together_are_refused(self) -> None:
        x = np.column_stack([np.arange(20.0), 2 * np.arange(20.0)])
        with pytest.raises(ValueError, match="not independent in the first"):
            oaxaca(np.arange(20.0), x, np.arange(20) < 10)


class TestShiftShare:
    @pytest.mark.parametrize("region", ["A", "B", "C"])
    def test_the_textbook(self, parity: Parity, region: str) -> None:
        folder, values = parity("k04_shift_share")
        frame = pd.read_csv(folder / "farhauer_kroell.csv")
        found = shift_share(frame[f"{region}0"], frame[f"{region}1"], frame["N0"], frame["N1"])
        parts = [found.growth, found.whole.sum(), found.mix.sum(), found.own.sum(), found.mix.sum() + found.own.sum()]
        assert parts == pytest.approx(values[f"{region}.components"]["value"], rel=1e-9, abs=1e-9)

    def test_freiburg(self, parity: Parity) -> None:
        folder, values = parity("k04_shift_share")
        frame = pd.read_csv(folder / "freiburg.csv")
        found = shift_share(*(frame[f"e_{place}{year}"] for place in ("Freiburg", "Germany") for year in (2008, 2014)))
        parts = [found.growth, found.whole.sum(), found.mix.sum(), found.own.sum(), found.mix.sum() + found.own.sum()]
        assert parts == pytest.approx(values["freiburg.components"]["value"], rel=1e-7)

    def test_a_line_the_whole_did_not_have_is_refused(self) -> None:
        with pytest.raises(ValueError, match="each line needs something"):
            shift_share([1, 1], [1, 1], [5, 0], [5, 3])


class TestThinCells:
    def test_only_the_thin_are_pooled_and_no_further_up_than_needed(self) -> None:
        later = np.array([[100, 20, 15], [100, 5, 90], [90, 80, 100]])
        labels = pool_thin(later, later, 30)
        assert labels[0].tolist() == [0, 1, 1]
        assert labels[2].tolist() == [6, 7, 8]
        assert labels[1, 1] == 1

    def test_what_entered_or_left_stays_by_itself(self) -> None:
        assert pool_thin([100, 60, 0], [100, 0, 50], 30).tolist() == [0, 1, 2]

    def test_thin_ones_of_several_parents_meet_higher_up(self) -> None:
        people = np.array([[100, 10], [100, 12], [100, 15]])
        labels = pool_thin(people, people, 30)
        assert len(set(labels[:, 1])) == 1

    def test_pooling_changes_no_total(self) -> None:
        rng = np.random.default_rng(4)
        n1, n0 = rng.integers(1, 60, (4, 5)), rng.integers(1, 60, (4, 5))
        y1, y0 = n1 * rng.normal(size=n1.shape), n0 * rng.normal(size=n1.shape)
        found = shapley_mix(n1, y1, n0, y0, pool=pool_thin(n1, n0, 30))
        assert found.total == pytest.approx(y1.sum() / n1.sum() - y0.sum() / n0.sum(), abs=1e-12)
