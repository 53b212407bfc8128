"""How cells look: formats by ingredient, numbers by unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.format import Format

from rox.core.words import Language

INK, SOFT, LINE, PAPER = "#1F2D3A", "#5B6B7A", "#C9D3DB", "#EEF3F6"
DEEP, GAIN, LOSS, TOTAL = "#16425B", "#2E8B6F", "#C25B3F", "#3A6EA5"
BAND, FAINT = "#9DB8CF", "#D5E1EB"

FONTS: Mapping[Language, str] = {"en": "Calibri", "zh": "Microsoft YaHei"}

NUMBERS: Mapping[str, str] = {
    "money": '#,##0_);[Red](#,##0);"–"_)',
    "money_per_point": "#,##0.00_);[Red](#,##0.00)",
    "scaled": '#,##0.0_);[Red](#,##0.0);"–"_)',
    "customers": "#,##0_)",
    "share": "0.0%_);[Red]-0.0%_)",
    "share_per_year": "0.0%_);[Red]-0.0%_)",
    "per_month": "0.00%_);[Red]-0.00%_)",
    "factor": "0.0000_)",
    "log_hazard": "0.0000_);-0.0000_)",
    "months": '0.0_);-0.0_);"–"_)',
    "score_point": "0.00_)",
    "nps_point": "0.00_)",
    "ratio": "0_);-0_);0_)",
    "per_year": "0.00_)",
    "count": "#,##0_)",
    "percent": "0%_)",
    "change": "+0%_);-0%_)",
    "elasticity": "0.00_);[Red]-0.00_)",
    "gap": "0.0E+00_);-0.0E+00_);0_)",
    "date": "yyyy-mm-dd",
    "month": "yyyy-mm",
}
"""Number formats by unit: negative money is red and in brackets, and units stand in a column of their own."""

AS_SAID: Mapping[str, str] = {
    "share": "0.0##%_)",
    "share_per_year": "0.0##%_)",
    "per_month": "0.0###%_)",
    "factor": "0.0###_)",
}
"""Number formats of inputs, which show the digits somebody gave."""

AXIS = "General"
"""Numbers beside a picture, which are few and in a unit that keeps them short."""

INGREDIENTS: Mapping[str, Mapping[str, Any]] = {
    "title": {"bold": True, "font_size": 16, "font_color": DEEP},
    "subtitle": {"font_size": 11, "font_color": SOFT},
    "lead": {"bold": True, "font_size": 12, "text_wrap": True, "valign": "top"},
    "head": {
        "bold": True,
        "font_color": "#FFFFFF",
        "bg_color": DEEP,
        "text_wrap": True,
        "valign": "vcenter",
        "border": 1,
        "border_color": DEEP,
    },
    "section": {"bold": True, "font_color": DEEP, "bg_color": PAPER, "bottom": 1, "bottom_color": BAND},
    "text": {},
    "wrap": {"text_wrap": True},
    "muted": {"font_color": SOFT},
    "code": {"font_name": "Consolas", "font_size": 9, "font_color": SOFT},
    "inset": {"indent": 1},
    "left": {"align": "left"},
    "right": {"align": "right"},
    "centre": {"align": "center"},
    "strong": {"bold": True},
    "sum": {"bold": True, "top": 1, "top_color": SOFT},
    "row": {"bottom": 4, "bottom_color": LINE},
    "input": {"font_color": "#0000FF", "bg_color": "#FFF7D6", "border": 1, "border_color": BAND, "locked": False},
    "estimate": {"font_color": "#0000FF", "bg_color": "#E3F1E7", "border": 1, "border_color": BAND, "locked": False},
    "constant": {"font_color": INK, "bg_color": "#E9E9E9", "border": 1, "border_color": BAND},
    "opening": {"bg_color": "#F3F3F3"},
    "blank": {"border": 1, "border_color": BAND, "locked": False, "text_wrap": True},
    "frozen": {"font_color": SOFT},
    "legend": {"locked": True, "align": "center"},
    "figure": {"bold": True, "font_size": 11, "font_color": DEEP},
    "flag": {"bold": True, "border": 1, "border_color": BAND, "align": "center", "valign": "vcenter"},
    "good": {"font_color": "#12593F", "bg_color": "#DDF0E6"},
    "warn": {"font_color": "#7A4B00", "bg_color": "#FCEBCB"},
    "bad": {"font_color": "#8C1D0A", "bg_color": "#F9DAD3"},
    "link": {"font_color": TOTAL, "underline": 1},
}


@dataclass(frozen=True)
class Style:
    """Make each format once.

    Attributes:
        file: The workbook the formats belong to.
        font: Name of the typeface.
    """

    file: Workbook
    font: str
    _made: dict[tuple[str, ...], Format] = field(default_factory=dict)

    def __call__(self, *ingredients: str, number: str = "") -> Format:
        """Return the format with these ingredients, the later ones first in rank, and the number format of a unit.

        A unit that begins with ``=`` asks for the format of an input.
        """
        key = (*ingredients, f"number:{number}")
        if key not in self._made:
            look: dict[str, Any] = {"font_name": self.font, "font_size": 10, "font_color": INK, "valign": "top"}
            for each in ingredients:
                look |= INGREDIENTS[each]
            if number:
                unit = number.removeprefix("=")
                look["num_format"] = AS_SAID.get(unit, NUMBERS[unit]) if unit != number else NUMBERS[unit]
            self._made[key] = self.file.add_format(look)
        return self._made[key]

    def change(self, ingredient: str) -> Format:
        """Return the bare format that a condition lays over a cell."""
        key = (f"change:{ingredient}",)
        if key not in self._made:
            self._made[key] = self.file.add_format(dict(INGREDIENTS[ingredient]))
        return self._made[key]
