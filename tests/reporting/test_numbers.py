"""Numbers as people read them: scales, signs, and no more digits than the interval supports."""

from __future__ import annotations

import datetime as dt
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rox.core.words import Language
from rox.reporting.numbers import (
    count,
    day,
    form,
    probability,
    scales,
    show,
    significant,
    step_of,
    unit_name,
    with_range,
    written,
)

finite = st.floats(min_value=-1e13, max_value=1e13, allow_nan=False)


@pytest.mark.parametrize(
    "value, language, currency, text",
    [
        (1_237_006.55, "en", "CNY", "CN¥1.24M"),
        (1_237_006.55, "zh", "CNY", "124万元"),
        (-1_237_006.55, "zh", "CNY", "−124万元"),
        (123_456_789, "zh", "CNY", "1.23亿元"),
        (4_100, "en", "CNY", "CN¥4,100"),
        (4_100, "zh", "CNY", "4,100元"),
        (416_000, "en", "USD", "$416K"),
        (2.5e9, "en", "EUR", "€2.50B"),
        (1_237_006, "zh", "USD", "124万美元"),
        (0.0, "en", "CNY", "CN¥0"),
    ],
)
def test_money_in_the_scale_of_the_language(value: float, language: Language, currency: str, text: str) -> None:
    assert show(value, "money", language, currency=currency) == text


def test_money_with_its_range() -> None:
    assert with_range(617_000, -230_000, 1_876_000, "money", "en", currency="CNY") == (
        "CN¥0.6M (90% range −CN¥0.2M to CN¥1.9M)"
    )
    assert with_range(617_000, -230_000, 1_876_000, "money", "zh", currency="CNY") == (
        "60万元（90% 区间：−20万元至190万元）"
    )


def test_the_step_is_the_second_digit_of_the_half_width() -> None:
    assert step_of(-230_000, 1_876_000) == 100_000
    assert step_of(0.010, 0.033) == pytest.approx(0.001)
    assert step_of(5, 5) == 0
    assert significant(4_100, 3) == 10


@pytest.mark.parametrize(
    "value, unit, language, text",
    [
        (0.0125, "share", "en", "1.25%"),
        (0.012, "share_per_year", "en", "1.20% a year"),
        (0.012, "share_per_year", "zh", "每年 1.20%"),
        (1, "months", "en", "1 month"),
        (17.8, "months", "en", "18 months"),
        (17.8, "months", "zh", "18 个月"),
        (60_000, "customers", "en", "60,000 customers"),
        (float("nan"), "money", "en", "–"),
        (float("inf"), "months", "en", "–"),
    ],
)
def test_other_units(value: float, unit: str, language: Language, text: str) -> None:
    assert show(value, unit, language) == text


def test_what_somebody_wrote_keeps_all_its_digits_and_no_more() -> None:
    share, money = written("share_per_year"), written("money", currency="CNY")
    assert [share.number(each) for each in (0.012, 0.08, 0.00125)] == ["1.2%", "8%", "0.125%"]
    assert money.number(1_234_567.5) == "CN¥1,234,567.5"


def test_a_probability_is_never_a_certainty_and_never_looks_like_the_threshold_it_misses() -> None:
    assert probability(1.0) == ">99%"
    assert probability(0.0) == "<1%"
    assert probability(0.875) == "88%"
    assert probability(0.797, apart_from=0.80) == "79.7%"
    assert probability(0.79996, apart_from=0.80) == "79.996%"
    assert probability(0.80, apart_from=0.80) == "80%"


def test_few_are_not_told() -> None:
    assert [count(n, least=10) for n in (0, 3, 9, 10, 12_345)] == ["0", "n<10", "n<10", "10", "12,345"]
    assert count(float("nan")) == "–"


def test_dates_and_unit_names() -> None:
    assert day(dt.date(2026, 1, 15)) == "15 Jan 2026"
    assert day(dt.date(2026, 1, 15), "zh") == "2026年1月15日"
    assert unit_name("money", "zh", currency="CNY") == "元"
    assert unit_name("months") == "months"


def test_scales_come_from_the_language() -> None:
    assert scales("en") == ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
    assert scales("zh") == ((1e12, "万亿"), (1e8, "亿"), (1e4, "万"))


@given(value=finite, half=st.floats(min_value=1e-3, max_value=1e12), language=st.sampled_from(["en", "zh"]))
def test_rounding_is_off_by_half_a_step_at_most(value: float, half: float, language: Language) -> None:
    step = step_of(value - half, value + half)
    shape = form("money", language, like=(value, half), step=step, currency="CNY")
    digits = shape.number(value).replace("CN¥", "").replace("元", "").replace("−", "-").replace(",", "")
    read = float(digits.removesuffix(shape.suffix)) * shape.scale
    room = max(step, 0.01, 1e-6 * shape.scale) / 2
    assert abs(read - value) <= room * 1.001 + 1e-9 * abs(value)


@given(value=finite)
def test_zero_has_no_sign(value: float) -> None:
    text = form("money", like=(1e6,), step=1e5, currency="CNY", signed=True).number(value)
    if not any(sign in "123456789" for sign in text):
        assert not text.startswith(("+", "−"))
        assert math.isclose(value, 0, abs_tol=5.1e4)
