"""Figures of drivers: what they draw is what the tables hold, in both languages."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

from rox.core.words import Language
from rox.reporting import driver_figures

TABLE = pd.DataFrame(
    {
        "driver": ["wait", "app", "fees"], "share": [0.2, 0.1, 0.05], "low": [0.15, 0.06, 0.0],
        "high": [0.25, 0.14, 0.1], "p_first": [0.97, 0.03, 0.0],
    }
)  # fmt: skip
QUADRANT = pd.DataFrame(
    {
        "driver": ["wait", "app", "fees"], "performance": [6.0, 8.0, 7.0], "importance": [0.2, 0.1, 0.05],
        "performance_se": 0.1, "importance_se": 0.01, "quadrant": ["improve", "open", "watch"], "probability": 0.9,
    }
)  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
def test_bars_are_the_shares_with_their_ranges(language: Language) -> None:
    figure, ax = plt.subplots()
    driver_figures.importance(TABLE, ax, labels={"wait": "网点等候"}, language=language)
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.2, 0.1, 0.05])
    assert [tuple(part[:, 0]) for part in ax.collections[0].get_segments()] == [(0.15, 0.25), (0.06, 0.14), (0.0, 0.1)]
    said = [text.get_text() for text in ax.texts]
    assert any("97%" in text for text in said)
    assert "网点等候" in [text.get_text() for text in ax.findobj(Text)]
    plt.close(figure)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_only_a_sure_quadrant_wears_its_colour(language: Language) -> None:
    figure, ax = plt.subplots()
    driver_figures.quadrant(QUADRANT, ax, language=language)
    colours = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert colours == [driver_figures.QUADRANTS[each] for each in ("improve", "open", "watch")]
    names = {text.get_text() for text in ax.texts}
    assert {"wait", "app", "fees"} <= names
    assert len(names) == 7
    plt.close(figure)
