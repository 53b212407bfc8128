"""Chinese faces: every sign of the catalogue, embedded in pages, and nothing on machines is relied upon."""

from __future__ import annotations

import base64
import io
import warnings
from importlib.resources import files

import matplotlib as mpl
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from rox.core.words import catalogue
from rox.reporting.fonts import CHINESE, LATIN, face_css, in_ranges, use_fonts

FOLDER = files("rox.reporting.fonts")


def drawn(text: str) -> np.ndarray:
    figure = Figure(figsize=(2, 0.6))
    FigureCanvasAgg(figure)
    figure.text(0.1, 0.3, text, size=14)
    page = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(page, format="png")
    return np.asarray(Image.open(page).convert("L"), dtype=float)


def face(css: str) -> TTFont:
    data = css.partition("base64,")[2].partition('"')[0]
    return TTFont(io.BytesIO(base64.b64decode(data)))


def test_the_face_has_every_sign_of_the_catalogue_and_of_the_national_standard() -> None:
    with TTFont(io.BytesIO(FOLDER.joinpath("ROXSansSC-Regular.otf").read_bytes())) as font:
        signs = {chr(code) for code in font.getBestCmap()}
        names = {str(each) for each in font["name"].names if each.nameID in (1, 4, 16)}
    said = {sign for entry in catalogue().values() for sign in entry["zh"] if in_ranges(sign)}
    assert len(said) > 500
    assert said <= signs
    standard = {
        bytes([a, b]).decode("gb2312")
        for a in range(0xB0, 0xF8)
        for b in range(0xA1, 0xFF)
        if (a, b) < (0xD7, 0xFA) or a > 0xD7
    }
    assert len(standard) == 6763
    assert standard <= signs
    assert names == {CHINESE}


def test_the_face_is_small_and_carries_its_licence() -> None:
    assert len(FOLDER.joinpath("ROXSansSC-Regular.otf").read_bytes()) < 1.6e6
    licence = FOLDER.joinpath("OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert "Adobe" in licence


def test_figures_use_it_only_while_asked_to() -> None:
    before = list(mpl.rcParams["font.family"])
    with use_fonts("zh"):
        assert mpl.rcParams["font.family"] == [LATIN, CHINESE]
        chinese, other = drawn("净现值"), drawn("回收期")
    with use_fonts("en"):
        assert mpl.rcParams["font.family"] == [LATIN]
        assert drawn("NPV").std() > 5
        with pytest.raises(UserWarning, match="missing from"):
            drawn("净现值")
    assert list(mpl.rcParams["font.family"]) == before
    assert np.abs(chinese - other).mean() > 1


def test_a_page_embeds_the_signs_it_uses_and_no_others() -> None:
    css = face_css("NPV 净现值，净 100%")
    with face(css) as font:
        assert {chr(code) for code in font.getBestCmap()} == set("净现值，")
    assert "unicode-range:U+2E80-9FFF" in css
    assert css == face_css("，值现净")
    assert face_css("Net present value") == ""


def test_signs_the_face_lacks_are_left_to_the_browser() -> None:
    assert face_css("㐂") == ""
    with face(face_css("㐂净")) as font:
        assert {chr(code) for code in font.getBestCmap()} == {"净"}
