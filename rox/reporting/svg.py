"""Inline SVG from matplotlib: text stays text, ids are unique on a page, and the same figure gives the same bytes."""

from __future__ import annotations

import io
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from rox.core.words import Language
from rox.reporting.fonts import CHINESE, LATIN, faces

INK, MUTED, RULE = "#1b2631", "#566270", "#c9d0d8"
GAIN, LOSS, TOTAL, BAND = "#1f6f78", "#b4532a", "#2b3a67", "#dfe9ea"
FONT_SIZE = 9.0
FACES = f"'{CHINESE}','Helvetica Neue',Arial,'PingFang SC','Microsoft YaHei','Noto Sans CJK SC',sans-serif"
"""Faces of a reader's browser; the first is embedded in the page, for Chinese signs only."""
INCH = 72.0
ROW_NAME = ("axes fraction", "data")
"""Coordinates of a text that names a row at the left of a figure."""


def width_of(text: str, size: float = FONT_SIZE) -> float:
    """Estimate the width of a text in inches, without a font: Chinese signs are square, others about half as wide."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return size / INCH * (wide + 0.56 * (len(text) - wide))


def wrapped(text: str, width: int = 30, most: int = 2) -> str:
    """Break a label into at most so many lines of so many narrow signs; a Chinese sign counts as two."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    signs = width if wide < len(text) / 3 else width // 2
    lines = textwrap.wrap(text, signs) or [""]
    return "\n".join(lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1]}…"])


def style() -> Any:
    """Return seaborn's plain style in the colours of the report, as settings for ``matplotlib.rc_context``."""
    return {
        **sns.axes_style("ticks"),
        "font.size": FONT_SIZE,
        "axes.labelsize": FONT_SIZE,
        "xtick.labelsize": FONT_SIZE,
        "ytick.labelsize": FONT_SIZE,
        "axes.edgecolor": RULE,
        "axes.labelcolor": MUTED,
        "text.color": INK,
        "xtick.color": RULE,
        "ytick.color": RULE,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": INK,
        "axes.unicode_minus": True,
        "text.parse_math": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
    }


def with_faces(ax: Axes, language: Language) -> Axes:
    """Take every label as it is written, and set Chinese ones in the Chinese face that comes with the package."""
    for text in ax.findobj(Text):
        text.set_parse_math(False)
    if language == "zh":
        _set_faces(ax, faces(language))
    return ax


def _set_faces(ax: Axes, faces: list[str]) -> None:
    ax.tick_params(labelfontfamily=faces)
    for text in ax.findobj(Text):
        text.set_fontfamily(faces)


def inline_svg(
    draw: Callable[[Axes], Axes], *, key: str, title: str, description: str, size: tuple[float, float] = (7.2, 3.0)
) -> str:
    """Draw and return an ``<svg>`` element for a page.

    Margins follow from the length of the labels, not from installed fonts, so that a machine without Chinese fonts
    writes the same page: the reader's browser chooses the face.

    Args:
        draw: Draws on the axes it is given.
        key: Unique on the page; becomes the prefix of every id.
        title: Name of the figure, for screen readers.
        description: What the figure shows, in a sentence or two.
        size: Width and height in inches.
    """
    settings = {**style(), "svg.fonttype": "none", "svg.hashsalt": key, "font.family": [LATIN]}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        figure = Figure(figsize=size)
        FigureCanvasSVG(figure)
        axes = draw(figure.add_subplot())
        _set_faces(axes, [LATIN])
        _set_margins(figure, axes)
        page = io.StringIO()
        figure.savefig(page, format="svg", metadata={"Date": None, "Creator": None})
    return _inlined(page.getvalue(), key=key, title=title, description=description)


def _set_margins(figure: Figure, axes: Axes) -> None:
    width, height = figure.get_size_inches()
    beside = [text for text in axes.texts if isinstance(text, Annotation) and text.xycoords == ROW_NAME]
    labels = [label.get_text() for label in (*axes.get_yticklabels(), *beside)]
    left = max(map(width_of, labels), default=0.0) + 0.18
    below = 0.52 if axes.get_xlabel() else 0.34 if axes.xaxis.get_visible() else 0.08
    above = 0.30 if axes.get_legend() or axes.get_title(loc="left") else 0.10
    figure.subplots_adjust(left=left / width, right=1 - 0.16 / width, bottom=below / height, top=1 - above / height)


def _inlined(text: str, *, key: str, title: str, description: str) -> str:
    start = text.index("<svg")
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", text[start:], flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]+"', body)
    if box is None:
        raise ValueError("the drawing has no viewBox")
    inside = re.sub(r'xlink:href="#', 'href="#', body[body.index(">") + 1 :])
    inside = _ids(inside, rf"{key}-\1")
    inside = re.sub(r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'[^;\"]*", rf"\1{FACES}", inside)
    names = f'role="img" aria-labelledby="{key}-title {key}-desc"'
    words = f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(description)}</desc>'
    return f'<svg {box.group()} xmlns="http://www.w3.org/2000/svg" {names}>{words}{inside.strip()}'


def renamed(svg: str, suffix: str) -> str:
    """Return a drawing of :func:`inline_svg` with other ids, so that it can stand twice on a page."""
    ids = re.compile(r'(?<=aria-labelledby=")([^" ]+) ([^" ]+)(?=")')
    return ids.sub(rf"\1{suffix} \2{suffix}", _ids(svg, rf"\1{suffix}"))


def _ids(text: str, to: str) -> str:
    """Rewrite ids and what refers to them, in tags only: labels may hold anything."""

    def rewritten(tag: re.Match[str]) -> str:
        found = re.sub(r'\bid="([^"]+)"', rf'id="{to}"', tag.group())
        found = re.sub(r"url\(#([^)]+)\)", rf"url(#{to})", found)
        return re.sub(r'\bhref="#([^"]+)"', rf'href="#{to}"', found)

    return re.sub(r"<[^>]+>", rewritten, text)
