"""The ledger: lines in order, one path or many draws, and refusal of what a spreadsheet could not follow."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from rox.core.ledger import Input, Ledger, Line
from rox.core.spread import Spread


def number(name: str, value: float) -> Input:
    return Input(name=name, word="input.tax", unit="share", spread=Spread.fixed(value), kind="assumption")


def line(name: str, formula: str, scope: Literal["month", "total"] = "month") -> Line:
    return Line(name=name, word="line.net", unit="money", formula=formula, scope=scope, section="section.cash")


def ledger(*lines: Line, inputs: tuple[Input, ...] = (number("rate", 0.1),), horizon: int = 3) -> Ledger:
    return Ledger(horizon=horizon, inputs=inputs, schedules={"due": (1.0, *(0.0,) * horizon)}, lines=lines)


def run(book: Ledger, **values: float | np.ndarray) -> dict[str, np.ndarray]:
    return {each.name: found for each, found in book.run({**book.point, **values})}


def test_lines_follow_one_another() -> None:
    book = ledger(
        line("flow", "(1 - due) * 1 - due / rate"),
        line("sum_so_far", "PREV(sum_so_far) + flow"),
        line("all", "SUM(flow)", "total"),
        line("half_of_all", "all * rate", "total"),
    )
    found = run(book)
    np.testing.assert_allclose(found["flow"], [[-10, 1, 1, 1]])
    np.testing.assert_allclose(found["sum_so_far"], [[-10, -9, -8, -7]])
    assert found["all"].shape == (1, 1)
    assert book.totals(book.point)["half_of_all"] == pytest.approx([-0.7])
    assert book.totals(book.point)["all"] == pytest.approx([-7])
    assert list(found) == [each.name for each in book.lines]


def test_the_lines_that_lead_to_one_give_the_same_value() -> None:
    book = ledger(
        line("flow", "1 - rate"),
        line("aside", "flow * flow"),
        line("all", "SUM(flow)", "total"),
        line("twice", "all + all", "total"),
    )
    short = book.leading_to("all")
    assert [each.name for each in short.lines] == ["flow", "all"]
    assert short.totals(book.point)["all"] == book.totals(book.point)["all"]
    with pytest.raises(KeyError, match="nowhere"):
        book.leading_to("nowhere")


def test_a_line_that_refers_to_its_past_may_use_inputs_months_and_other_pasts() -> None:
    book = ledger(
        line("other", "month * month"),
        line("level", "IF(month == 0, 1, PREV(level) * (1 + rate) + PREV(other))"),
        line("clock", "PREV(clock) + month"),
        line("first", "PREV(first) + due + PREV(due)"),
        horizon=4,
    )
    found = run(book, rate=np.array([0.1, 0.2]))
    for draw, rate in enumerate((0.1, 0.2)):
        level = [1.0]
        for month in range(1, 5):
            level.append(level[-1] * (1 + rate) + (month - 1) ** 2)
        np.testing.assert_allclose(found["level"][draw], level, rtol=1e-15)
    np.testing.assert_allclose(found["clock"], [[0, 1, 3, 6, 10]])
    np.testing.assert_allclose(found["first"], [[1, 2, 2, 2, 2]])


def test_the_month_before_the_first_is_zero() -> None:
    found = run(ledger(line("flow", "due + 1"), line("before", "PREV(flow)"), line("so", "PREV(so) - PREV(flow)")))
    np.testing.assert_allclose(found["before"], [[0, 2, 1, 1]])
    np.testing.assert_allclose(found["so"], [[0, -2, -3, -4]])


def test_draws_equal_the_paths_one_by_one() -> None:
    rng = np.random.default_rng(1)
    book = ledger(
        line("up", "PREV(up) * (1 + rate) + month"),
        line("flow", "up * rate - due"),
        line("best", "HIGHEST(flow)", "total"),
        line("sum", "SUM(flow * up)", "total"),
    )
    rates = rng.normal(size=20)
    together = book.totals({"rate": rates})
    for place, rate in enumerate(rates):
        alone = book.totals({"rate": float(rate)})
        for name, values in alone.items():
            np.testing.assert_allclose(together[name][place], values[0], rtol=1e-13)


def test_lines_are_forgotten_when_nothing_needs_them_any_more() -> None:
    book = ledger(*(line(f"step{n}", f"step{n - 1} + rate" if n else "month * rate") for n in range(5)))
    running = book.run({"rate": np.zeros(10)})
    held = running.gi_frame.f_locals["held"] if (started := next(running)) else {}  # type: ignore[attr-defined]
    assert started[0].name == "step0"
    for _ in range(3):
        next(running)
    assert "step3" in held
    assert not {"step0", "step1", "step2"} & held.keys()


def test_missing_inputs_are_named() -> None:
    book = ledger(line("flow", "rate * tax"), inputs=(number("rate", 1), number("tax", 1)))
    with pytest.raises(ValueError, match=r"\['rate', 'tax'\] have no value"):
        book.totals({})


@pytest.mark.parametrize(
    "formula, scope, fault",
    [
        ("later + 1", "month", "refers to ['later'], which no earlier line defines"),
        ("flow + 1", "month", "refers to ['flow'], which no earlier line defines"),
        ("PREV(flow) + flow", "month", "refers to ['flow']"),
        ("PREV(rate)", "month", "takes PREV of ['rate'], which have one value for all months"),
        ("due * rate", "total", "is a total and uses ['due'] outside SUM"),
        ("PREV(due)", "total", "is a total and uses ['due'] outside SUM"),
        ("month", "total", "is a total and uses ['month'] outside SUM"),
        ("SUM(rate)", "total", "takes a value over all months of something that has no months"),
        ("LAST(rate)", "total", "takes a value over all months of something that has no months"),
        ("PREV(flow) + SUM(due)", "month", "refers to its own past, so it cannot use SUM"),
        ("rate * 12", "month", "must be a named input, got 12"),
    ],
)
def test_a_line_that_a_spreadsheet_could_not_follow_is_refused(
    formula: str, scope: Literal["month", "total"], fault: str
) -> None:
    with pytest.raises(ValueError) as caught:
        ledger(line("flow", formula, scope), line("later", "due"))
    assert "line 'flow': " in str(caught.value)
    assert fault in str(caught.value)


def test_all_faults_of_a_ledger_come_together() -> None:
    with pytest.raises(ValueError) as caught:
        Ledger(
            horizon=0,
            inputs=(number("rate", 1), number("month", 1), number("not a name", 1), number("if", 1), number("rate", 2)),
            schedules={"due": (1.0, 0.0)},
            lines=(line("rate", "1"), line("x", "y")),
        )
    message = str(caught.value)
    for part in (
        "horizon is 0",
        "'month' is not",
        "'not a name' is not",
        "'if' is not",
        "two things are called 'rate'",
        "schedule 'due' has 2 months; the ledger has 1",
        "line 'x': refers to ['y']",
    ):
        assert part in message, part


def test_a_ledger_cannot_be_changed() -> None:
    book = ledger(line("flow", "due"))
    with pytest.raises(TypeError):
        book.schedules["due"] = ()  # type: ignore[index]
