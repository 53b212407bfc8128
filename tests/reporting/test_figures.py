"""Figures: functions from an answer and axes to axes, and SVG that two of them can share a page."""

from __future__ import annotations

import io
import itertools
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from rox.core.effect import Effect
from rox.core.returns import Return
from rox.core.words import LANGUAGES, Language
from rox.reporting import estimates, figures
from rox.reporting.fonts import CHINESE, LATIN
from rox.reporting.svg import inline_svg, width_of, wrapped

SVG = "{http://www.w3.org/2000/svg}"


def axes() -> Axes:
    return Figure(figsize=(7, 3)).add_subplot()


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def drawn(money: Return, key: str = "fig", language: Language = "en") -> str:
    return inline_svg(
        lambda ax: figures.waterfall(money, ax, language=language), key=key, title="A < B", description='a "d"'
    )


@pytest.mark.parametrize("draw", [figures.waterfall, figures.distribution, figures.tornado, figures.fan])
@pytest.mark.parametrize("language", LANGUAGES)
def test_figures_of_a_return_give_back_their_axes(money: Return, draw: Callable[..., Axes], language: Language) -> None:
    ax = axes()
    assert draw(money, ax, language=language) is ax
    assert ax.has_data()


@pytest.mark.parametrize("draw", [figures.event_study, figures.by_group])
def test_figures_of_an_effect_give_back_their_axes(money: Return, draw: Callable[..., Axes]) -> None:
    ax = axes()
    assert draw(money.effects[0], ax) is ax
    assert ax.has_data()


def test_the_waterfall_starts_at_nothing_and_ends_at_npv(money: Return) -> None:
    bars = figures.waterfall(money, axes()).patches
    edges = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]  # type: ignore[attr-defined]
    assert edges[0][0] == 0
    for (_, end), (start, _) in itertools.pairwise(edges[:-1]):
        assert start == pytest.approx(end)
    assert edges[-1] == (0, pytest.approx(money.point["npv"][0]))
    assert edges[-2][1] == pytest.approx(money.point["npv"][0])


def test_the_tornado_names_the_largest_swings_first(money: Return) -> None:
    ax = figures.tornado(money, axes(), rows=3)
    moved = money.tornado[money.tornado["swing"] > 0]
    said = " ".join(texts(ax)).replace("\n", " ")
    assert all(name in said for name in moved["en"].head(3))
    assert moved["en"].iloc[3] not in said


def test_the_fan_ends_where_the_decision_says(money: Return) -> None:
    line = figures.fan(money, axes()).lines[0]
    assert np.asarray(line.get_ydata())[-1] == pytest.approx(money.decision.npv)


def test_the_distribution_counts_the_draws_by_their_sign(money: Return) -> None:
    heights: dict[bool, float] = {True: 0.0, False: 0.0}
    for bar in figures.distribution(money, axes()).patches:
        middle = bar.get_x() + bar.get_width() / 2  # type: ignore[attr-defined]
        heights[middle > 0] += bar.get_height()  # type: ignore[attr-defined]
    assert heights[True] / sum(heights.values()) == pytest.approx(money.decision.p_positive, abs=0.011)


def test_leads_and_lags_are_told_apart(money: Return) -> None:
    ax = figures.event_study(money.effects[0], axes())
    before, after = (np.asarray(line.get_xdata()) for line in ax.lines[:2])
    assert before.max() < 0 <= after.min()
    with pytest.raises(ValueError, match="no path"):
        figures.event_study(replace(money.effects[0], path=None, path_months=()), axes())


def test_segments_stand_in_order_with_everybody_last(money: Return) -> None:
    named = [text for text in texts(figures.by_group(money.effects[0], axes())) if "%" not in text]
    assert named == ["mass", "gold", "private", "All customers"]


def test_a_trend_leaves_hidden_periods_open() -> None:
    rows = pd.DataFrame(
        {"period": ["2025Q1", "2025Q2", "2025Q3"], "value": [1.0, np.nan, 3.0], "low": 0.5, "high": 3.5}
    )
    ax = figures.trend(rows, axes())
    assert np.isnan(np.asarray(ax.lines[0].get_ydata())[1])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2025Q1", "2025Q2", "2025Q3"]


def test_svg_is_named_described_and_free_of_the_clock(money: Return) -> None:
    root = ET.fromstring(drawn(money))
    assert root.get("role") == "img"
    by_id = {node.get("id"): node for node in root.iter() if node.get("id")}
    title, desc = (by_id[name].text for name in str(root.get("aria-labelledby")).split())
    assert (title, desc) == ("A < B", 'a "d"')
    assert root.get("viewBox")
    assert root.find(f"{SVG}metadata") is None
    assert drawn(money) == drawn(money)


def test_two_figures_share_no_id_and_every_reference_is_met(money: Return) -> None:
    first, second = drawn(money, "fig-a"), drawn(money, "fig-b")
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert not ids[0] & ids[1]
    for text, known in zip((first, second), ids, strict=True):
        assert len(re.findall(r'\bid="', text)) == len(known)
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)) <= {(name, "") for name in known} | {
            ("", name) for name in known
        }


def test_chinese_stays_text_in_a_chinese_face_without_a_warning(money: Return) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = drawn(money, language="zh")
    assert "装修工程" in text
    faces = re.findall(r"font[^:]*:[^;\"]*'ROX Sans SC'[^;\"]*'Noto Sans CJK SC'", text)
    assert len(faces) == text.count("<text")
    assert "DejaVu" not in text


@pytest.mark.parametrize("draw", [figures.waterfall, figures.distribution, figures.tornado, figures.fan])
def test_chinese_in_a_notebook_has_every_sign_whatever_is_installed(money: Return, draw: Callable[..., Axes]) -> None:
    ax = draw(money, axes(), language="zh")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FigureCanvasAgg(ax.figure).print_png(io.BytesIO())  # type: ignore[arg-type]
    said = [text for text in ax.findobj(Text) if re.search("[\u4e00-\u9fff]", text.get_text())]  # type: ignore[attr-defined]
    assert len(said) > 2
    assert all(text.get_fontfamily() == [LATIN, CHINESE] for text in said)  # type: ignore[attr-defined]
    english = draw(money, axes())
    assert CHINESE not in english.findobj(Text)[0].get_fontfamily()  # type: ignore[attr-defined]


def test_labels_stay_inside_the_drawing(money: Return) -> None:
    root = ET.fromstring(drawn(money, language="zh"))
    width = float(str(root.get("viewBox")).split()[2])
    for node in root.iter(f"{SVG}text"):
        style, transform = str(node.get("style")), str(node.get("transform"))
        places = re.search(r"translate\(([-\d.]+)", transform)
        x = float(places.group(1)) if places else float(str(node.get("x")))
        reach = width_of(str(node.text)) * 72
        left = x - reach if "text-anchor: end" in style else x - reach / 2 if "middle" in style else x
        assert left > -1, node.text
        assert left + reach < width + 20, node.text


def test_a_users_words_are_never_markup_or_mathematics(money: Return) -> None:
    bridge = money.bridge.assign(en=["US$ 5 to US$ 6 <b>&amp;", *money.bridge["en"].iloc[1:]])
    text = drawn(replace(money, bridge=bridge))
    assert "US$ 5 to US$ 6" in "".join(ET.fromstring(text).itertext())
    assert "<b>" not in text


def test_drawing_leaves_the_settings_of_matplotlib_alone(money: Return) -> None:
    before = dict(mpl.rcParams)
    drawn(money)
    figures.fan(money, axes(), language="zh")
    assert dict(mpl.rcParams) == before


def test_labels_are_wrapped_by_the_width_of_their_signs() -> None:
    assert wrapped("Months in which the effect halves") == "Months in which the effect\nhalves"
    assert wrapped("期初户均余额") == "期初户均余额"
    assert wrapped("一" * 20) == "一" * 15 + "\n" + "一" * 5
    assert wrapped("word " * 30).endswith("…")
    assert width_of("一一") > width_of("ab")


def test_a_log_hazard_is_shown_as_a_relative_change(rival: Effect) -> None:
    from rox.core.units import Unit

    estimand = replace(rival.estimand, unit=Unit.LOG_HAZARD, currency="")
    effect = replace(rival, estimand=estimand, draws=np.full((200, 1), np.log(0.8)))
    assert estimates.summary(effect)["middle"].tolist() == pytest.approx([-0.2])


def test_everybody_is_the_weighted_mean(money: Return) -> None:
    effect = money.effects[0]
    assert estimates.summary(effect).loc["all", "middle"] == pytest.approx(effect.overall.mean())
