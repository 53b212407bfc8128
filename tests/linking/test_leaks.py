"""The search for leaks finds nothing in a link, and every kind in links that were broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ibis
import pytest

from rox.core.check import Verdict
from rox.core.errors import DataError, LeakageError
from rox.core.leaks import LeakReport
from rox.core.linked import Linked, month_index
from rox.core.words import say
from rox.linking import link as link_module
from rox.linking import panel as panel_module
from rox.linking import people as people_module
from rox.linking.exposures import exposures_of
from rox.linking.leaks import RULES
from rox.linking.link import leaks, link
from rox.testing import sample_linked
from tests.linking.crowd import Crowd, make_crowd

ALL = {"washout": 2, "cohort": "2023-06"}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    return make_crowd(tmp_path_factory.mktemp("crowd"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    return make_crowd(tmp_path_factory.mktemp("plain"), dated=False, available=False)


def test_a_link_has_none_and_carries_the_proof(crowd: Crowd) -> None:
    linked = link(crowd.tables, **ALL)  # type: ignore[arg-type]
    report = linked.leak_report()
    assert dict(report.broken) == dict.fromkeys(RULES, 0)
    assert report.rows == linked.frame()["score"].notna().sum() > 100
    assert linked.checks[-2:] == report.checks
    assert [(check.code, check.verdict) for check in report.checks] == [
        ("ROX-S12", Verdict.PASS),
        ("ROX-S13", Verdict.PASS),
    ]
    assert leaks(linked, crowd.tables) == 0
    for language in ("en", "zh"):
        table = report.table(language)
        assert len(table) == len(RULES)
        assert set(table[say("leaks.broken", language)]) == {0}
        assert all(check.sentence(language) for check in report.checks)


def test_what_the_tables_cannot_show_is_not_claimed(plain: Crowd) -> None:
    linked = link(plain.tables)
    report = linked.leak_report()
    assert {rule for rule, count in report.broken.items() if count is None} == {
        "availability", "washout", "segment", "cohort",
    }  # fmt: skip
    assert [check.code for check in report.checks] == ["ROX-S12"]
    assert list(report.table()[say("leaks.broken")]).count(say("leaks.unknown")) == 4


def moved(change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *arguments: change(exposures_of(*arguments))


def latest_rows(history: Any, day: object) -> Any:
    place = ibis.row_number().over(ibis.window(group_by="customer", order_by=ibis.desc("since")))
    rows = history.mutate(place=place)
    return rows.filter(rows.place == 0).drop("place")


BROKEN: dict[str, tuple[Any, str, Any, dict[str, object]]] = {
    "money": (link_module, "exposures_of", moved(lambda t: t.mutate(begin=t.said)), {}),
    "look_back": (link_module, "exposures_of", moved(lambda t: t.mutate(until=t.said + 14)), {}),
    "customer": (link_module, "exposures_of", moved(lambda t: t.mutate(customer=(t.customer + 1) % 70)), {}),
    "availability": (link_module, "exposures_of", moved(lambda t: t.mutate(begin=t.said + 1)), {}),
    "washout": (link_module, "exposures_of", moved(lambda t: t.mutate(is_open=1)), {"washout": 6}),
    "segment": (people_module, "rows_at", latest_rows, {}),
    "cohort": (panel_module, "_is_followed", lambda rows, _: rows.month.notnull(), {"cohort": "2023-06"}),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_link_is_caught(crowd: Crowd, plain: Crowd, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    place, name, wrong, options = BROKEN[rule]
    tables = (crowd if rule in ("availability", "segment") else plain).tables
    assert link(tables, **options).leak_report().wrong == 0  # type: ignore[arg-type]
    monkeypatch.setattr(link_module, "_fingerprint", lambda *_: f"broken {rule}")
    monkeypatch.setattr(people_module, "digests", lambda *_: f"broken {rule}")
    monkeypatch.setattr(place, name, wrong)
    with pytest.raises(LeakageError) as caught:
        link(tables, **options)  # type: ignore[arg-type]
    named = [fault for fault in caught.value.faults if fault.startswith(say(f"leaks.rule.{rule}"))]
    assert len(named) == 1
    assert int(named[0].rsplit(": ", 1)[1].split()[0].replace(",", "")) > 5


def broken(linked: Linked, change: Callable[[Any], dict[str, Any]]) -> LeakReport:
    return replace(linked, panel=linked.panel.mutate(**change(linked.panel))).leak_report()


def test_each_row_is_searched_by_itself(crowd: Crowd) -> None:
    linked = link(crowd.tables, **ALL)  # type: ignore[arg-type]
    first = linked.frame().dropna(subset="score").iloc[0]
    customer, month = int(first["customer"]), int(first["month"])

    def one(panel: Any, column: str, value: Any) -> dict[str, Any]:
        is_it = (panel.customer == customer) & (panel.month == month)
        return {column: is_it.ifelse(value, panel[column])}

    other_segment = {"gold": "mass", "mass": "young", "young": "gold"}[first["segment"]]
    for rule, column, value in (
        ("segment", "segment", other_segment),
        ("segment", "unit", "B9"),
        ("customer", "score", -1.0),
        ("customer", "score_age", float(first["score_age"] + 1)),
    ):
        report = broken(linked, lambda panel, c=column, v=value: one(panel, c, v))
        assert (report.wrong, report.broken[rule]) == (1, 1), (rule, column)
    early = broken(linked, lambda panel: {"month": panel.month - 12, "score_age": panel.score_age - 12})
    assert early.broken["money"] == early.rows
    assert early.broken["cohort"] > 0
    stop = early.checks[0]
    assert (stop.code, stop.verdict) == ("ROX-S12", Verdict.STOP)
    with pytest.raises(LeakageError, match="The link itself is wrong"):
        early.require_none()


def test_the_cohort_must_have_been_there(crowd: Crowd) -> None:
    everyone, cohort = link(crowd.tables), link(crowd.tables, cohort="2023-06")
    months = everyone.panel.filter(everyone.panel.month >= month_index(2023, 6))
    report = replace(cohort, panel=months).leak_report()
    strangers = months.filter(months.score.notnull())
    frame = everyone.fetch(strangers)
    missing = set(frame["customer"]) - set(cohort.frame()["customer"])
    assert report.broken["cohort"] == frame["customer"].isin(missing).sum() > 0


def test_a_frame_cannot_be_proven() -> None:
    with pytest.raises(DataError, match="no raw tables"):
        sample_linked(customers=20, months=6).leak_report()
    with pytest.raises(DataError, match="no tables behind"):
        replace(sample_linked(customers=20, months=6), views=None).windows()
