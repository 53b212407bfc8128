"""Portfolio files: what they say, and all that is wrong with them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rox.core.errors import CaseError
from rox.core.portfolio import Portfolio, read_portfolio


@pytest.fixture(scope="module")
def file(root: Path) -> Path:
    return root / "data" / "bank" / "portfolio.toml"


@pytest.fixture(scope="module")
def portfolio(file: Path) -> Portfolio:
    return read_portfolio(file)


def changed(file: Path, folder: Path, *pairs: tuple[str, str]) -> Path:
    """Write the bank's portfolio with some texts replaced, beside its cases."""
    text = file.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    text = text.replace('case = "cases/', f'case = "{(file.parent / "cases").as_posix()}/')
    path = folder / "portfolio.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path) -> list[str]:
    with pytest.raises(CaseError) as caught:
        read_portfolio(path)
    return list(caught.value.faults)


def test_the_bank_s_portfolio_reads_with_its_cases(portfolio: Portfolio) -> None:
    assert list(portfolio.cases) == ["branch_refit", "closed_loop"]
    assert portfolio.neighbours("closed_loop") == ("branch_refit",)
    assert portfolio.clusters() == (("branch_refit", "closed_loop"),)
    assert portfolio.share_of("branch_refit", "none") == 0
    assert portfolio.share_of("branch_refit", "full") == 1
    assert set(portfolio.current()) == set(portfolio.cases)


def test_every_number_has_an_owner_a_source_and_a_date(portfolio: Portfolio) -> None:
    register = dict(portfolio.register())
    assert all(each.owner and each.source and each.date for each in register.values())
    wanted = {"budget", "risk_aversion", "ceiling.today", "ceiling.best", "overlaps.refit_and_calls"}
    wanted |= {"capacity.change_leads.limit", "capacity.change_leads.uses.branch_refit"}
    wanted |= {"initiatives.branch_refit.response", "initiatives.branch_refit.scales.full"}
    assert wanted <= set(register)


def test_a_plan_that_breaks_rules_has_them_named(portfolio: Portfolio) -> None:
    full = dict.fromkeys(portfolio.initiatives, "full")
    assert portfolio.broken(full, cost=10.0, budget=10.0) == ()
    assert portfolio.broken(full, cost=10.1, budget=10.0) == ("budget",)
    capacity = portfolio.capacity["change_leads"]
    assert portfolio.taken(capacity, full) == pytest.approx(8)
    assert portfolio.taken(capacity, {"branch_refit": "none", "closed_loop": "half"}) == pytest.approx(1)
    none = dict.fromkeys(portfolio.initiatives, "none")
    assert portfolio.broken(none, cost=0.0, budget=0.0) == ()


def test_all_faults_are_listed_at_once(file: Path, tmp_path: Path) -> None:
    broken = changed(
        file,
        tmp_path,
        ('current = { branch_refit = "third"', 'current = { branch_refit = "quarter", call_centre = "full"'),
        ("value = 2500000", "value = -1"),
        ('fixed_costs = ["training"]', 'fixed_costs = ["trainings"]\nneeds = ["closed_loop"]'),
        ('fixed_costs = ["alerts"]', 'needs = ["branch_refit", "nobody"]'),
        ("low = 0.8\nlikely = 0.9\nhigh = 1.0", "value = 1.2"),
        ("value = 0.3333", "between = [0.3, 0.4]"),
        ("value = 0.6667", "value = 1.5"),
        ("low = 0.15\nlikely = 0.25\nhigh = 0.35", "low = 0.15\nlikely = 0.25\nhigh = 1.35"),
        ("between = [8.2, 8.6]", "between = [6.2, 6.6]"),
        ("[capacity.change_leads.uses.closed_loop]", "[capacity.change_leads.uses.calls]"),
        (
            "# People who can lead change",
            '[shared.margin]\nplaces = ["branch_refit:margin.all", "closed_loop:margin.none", "margin.all"]\n'
            'owner = "T"\nsource = "S"\ndate = 2025-12-31\n# People who can lead change',
        ),
    )
    expected = (
        "portfolio.current.call_centre: 'call_centre' is no initiative",
        "portfolio.current.branch_refit: 'quarter' is no scale; there are none, third",
        "budget: -1 to -1 is not an amount of money",
        "initiatives.branch_refit.response: 1.2 to 1.2 is not an exponent",
        "initiatives.branch_refit.scales.third: a scale is chosen",
        "initiatives.branch_refit.scales.two_thirds: 1.5 to 1.5 is not a share",
        "initiatives.branch_refit.fixed_costs: trainings: no such cost",
        "initiatives.branch_refit.needs: needs itself, through closed_loop",
        "initiatives.closed_loop.needs: 'nobody' is no initiative",
        "overlaps.refit_and_calls: 0.15 to 1.35 is not a share",
        "ceiling: best (6.39",
        "capacity.change_leads.uses: 'calls' is no initiative",
        "shared.margin: 'closed_loop:margin.none': the case has no 'margin.none'",
        "shared.margin: 'margin.all': write initiative:place",
    )
    found = faults(broken)
    assert [each for each in expected if not any(line.startswith(each) for line in found)] == []


def test_a_pair_nobody_speaks_of_and_a_missing_ceiling(file: Path, tmp_path: Path) -> None:
    one = changed(file, tmp_path, ('initiatives = ["branch_refit", "closed_loop"]', ""))
    found = faults(one)
    assert any("name the two with initiatives" in line for line in found)
    assert any("say how many customers branch_refit and closed_loop share" in line for line in found)
    text = file.read_text(encoding="utf-8")
    start, end = text.index("# How far both together"), text.index("[initiatives.branch_refit]")
    assert any(
        "say how far they can be moved" in line for line in faults(changed(file, tmp_path, (text[start:end], "")))
    )


def test_faults_of_a_case_and_a_case_that_is_not_there(file: Path, tmp_path: Path) -> None:
    path = changed(file, tmp_path)
    text = path.read_text(encoding="utf-8")
    case = (file.parent / "cases" / "closed_loop.toml").read_text(encoding="utf-8")
    (tmp_path / "other.toml").write_text(case.replace('currency = "CNY"', 'currency = "cny"'), encoding="utf-8")
    path.write_text(text.replace((file.parent / "cases" / "closed_loop.toml").as_posix(), "other.toml"), "utf-8")
    assert any("initiatives.closed_loop.case: case.currency" in line for line in faults(path))
    path.write_text(text.replace("branch_refit.toml", "nowhere.toml"), "utf-8")
    assert any("There is no case file at" in line for line in faults(path))


def test_readings_of_one_initiative_are_never_added(file: Path, tmp_path: Path) -> None:
    """Two cases that decide the same thing, one by NPS and one by CSAT, are one initiative."""
    path = changed(file, tmp_path, ("cases/closed_loop.toml", "cases/branch_refit.toml"))
    found = faults(path)
    assert any("decides the same as initiatives.branch_refit" in line and "never added" in line for line in found)


def test_cases_of_different_money_start_and_discount_do_not_add_up(file: Path, tmp_path: Path) -> None:
    case = (file.parent / "cases" / "closed_loop.toml").read_text(encoding="utf-8")
    moved = case.replace('currency = "CNY"', 'currency = "EUR"').replace("start = 2026-01-01", "start = 2026-07-01")
    moved = moved.replace("[finance.discount]\nvalue = 0.08", "[finance.discount]\nvalue = 0.09")
    (tmp_path / "other.toml").write_text(moved, encoding="utf-8")
    path = changed(file, tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace((file.parent / "cases" / "closed_loop.toml").as_posix(), "other.toml"), "utf-8")
    found = faults(path)
    assert any("is in EUR, the portfolio in CNY" in line for line in found)
    assert any("present values are of different months" in line for line in found)
    assert any("discounted at different rates" in line for line in found)


def test_an_unknown_name_is_a_fault(file: Path, tmp_path: Path) -> None:
    assert faults(changed(file, tmp_path, ("[ceiling]\nunit", "[ceiling]\ntop = 9\nunit"))) == [
        "ceiling.top: unknown name; check the spelling or remove it"
    ]
