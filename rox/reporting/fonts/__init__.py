"""A Chinese face that travels with the package, so that figures and pages are right on machines without one."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import as_file, files

import matplotlib as mpl
from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib import font_manager

from rox.core.words import Language

LATIN = "DejaVu Sans"
CHINESE = "ROX Sans SC"
"""A subset of Noto Sans CJK SC: GB 2312 levels 1 and 2 with punctuation, under the SIL Open Font License."""

RANGES = ((0x2E80, 0x9FFF), (0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0xFF00, 0xFFEF))
"""Signs that the face is used for; all others stay in the reader's Latin face."""

_FILE = "ROXSansSC-Regular.otf"


@cache
def add_chinese() -> str:
    """Make the packaged face known to matplotlib, and return its name."""
    with as_file(files("rox.reporting.fonts").joinpath(_FILE)) as path:
        font_manager.fontManager.addfont(str(path))
    return CHINESE


def faces(language: Language) -> list[str]:
    """Return the faces that figures are set in, for matplotlib: each sign takes the first that has it."""
    return [LATIN, add_chinese()] if language == "zh" else [LATIN]


@contextmanager
def use_fonts(language: Language) -> Iterator[None]:
    """Set figures in faces that have every sign of a language, whatever this machine has installed.

    Use it after any style is chosen, for styles choose faces of their own.
    """
    with mpl.rc_context({"font.family": faces(language)}):
        yield


def in_ranges(sign: str) -> bool:
    """Return whether a sign belongs to those the face is used for."""
    return any(first <= ord(sign) <= last for first, last in RANGES)


def face_css(text: str) -> str:
    """Return an ``@font-face`` rule with just the signs of a text, embedded, or nothing where none is Chinese.

    Signs the packaged face does not have, such as rare names, are left to the reader's browser.
    """
    wanted = frozenset(filter(in_ranges, text)) & _signs()
    if not wanted:
        return ""
    data = base64.b64encode(_subset("".join(sorted(wanted)))).decode("ascii")
    ranges = ",".join(f"U+{first:X}-{last:X}" for first, last in RANGES)
    source = f'url("data:font/woff;base64,{data}") format("woff")'
    return f'@font-face{{font-family:"{CHINESE}";src:{source};unicode-range:{ranges};font-display:block}}'


@cache
def _signs() -> frozenset[str]:
    with _opened() as font:
        return frozenset(map(chr, font.getBestCmap()))


@cache
def _subset(signs: str) -> bytes:
    """Return a WOFF file with these signs only; the same signs give the same bytes."""
    options = subset.Options(
        layout_features=[], hinting=False, recalc_timestamp=False, desubroutinize=True, name_IDs=[]
    )
    with _opened() as font:
        worker = subset.Subsetter(options)
        worker.populate(text=signs)
        worker.subset(font)
        font.flavor = "woff"
        page = io.BytesIO()
        font.save(page)
    return page.getvalue()


def _opened() -> TTFont:
    content = files("rox.reporting.fonts").joinpath(_FILE).read_bytes()
    return TTFont(io.BytesIO(content), recalcTimestamp=False, lazy=True)
