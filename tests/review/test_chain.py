"""The chain on one page: what is put on each arrow, what is left open, and what must not be shown."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from rox.commands import chain as verb
from rox.core.chain import Arrow, Chain
from rox.core.chain_outline import ChainOutline, read_outline
from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.errors import DataError
from rox.core.estimand import Estimand, Question
from rox.core.study import Study
from rox.core.units import Dose, Unit
from rox.reporting.chain_page import chain_page, chain_text
from rox.review.chain import chain, outline_of
from rox.review.chain_effects import read_effects

HOSTILE = '</text><script>alert("x")</script>\u202e & Ca'
ROLES = {
    "customers": ["customer", "segment", "unit"],
    "answers": ["customer", "date"],
    "events": ["customer", "date", "kind", "count"],
    "ledger": ["customer", "month"],
    "exits": ["customer", "date", "reason"],
    "initiatives": ["initiative", "unit", "start"],
}


@dataclass(frozen=True)
class Few:
    study: Study
    tables: Mapping[str, Any]
    connection: Any

    def fetch(self, expression: Any) -> pd.DataFrame:
        return self.connection.con.execute(str(self.connection.compile(expression))).df()


def study_of(min_cell: int = 5) -> Study:
    tables: dict[str, Any] = {
        name: {"path": f"{name}.csv", "columns": {role: role for role in roles}} for name, roles in ROLES.items()
    }
    rating = {"column": "app", "low": 0, "high": 10, "kind": "rating", "label": "App"}
    about = {"name": "few", "title": "Few", "currency": "CNY", "extract": "2025-12-31", "min_cell": min_cell}
    return Study.model_validate(
        {
            "study": about,
            "tables": tables,
            "scores": {"nps": {"column": "nps", "low": 0, "high": 10, "kind": "nps", "label": HOSTILE}},
            "drivers": {"app": rating, "desk": {**rating, "column": "desk", "label": "Desk"}},
            "outcomes": {
                "aum": {"column": "aum", "kind": "stock", "label": "AUM"},
                "calls": {"column": "calls", "kind": "count", "label": "Calls"},
            },
            "initiatives": {"refit": {"label": "Refit"}},
        }
    )


def frames() -> dict[str, pd.DataFrame]:
    """1,000 customers: failures cost half a point each, rare ones reach three customers; 200 leave with 30 CNY."""
    rng, size = np.random.default_rng(1), 1000
    who = [f"c{i:04d}" for i in range(size)]
    failed, login = rng.poisson(0.8, size), rng.poisson(4, size)
    ratings = np.clip(np.round(6 + 2 * rng.normal(size=(size, 2))), 0, 10).astype(int)
    score = 3.5 + 0.4 * ratings[:, 0] + 0.1 * ratings[:, 1] - 0.5 * failed + rng.normal(size=size)
    answers = pd.DataFrame({"customer": who, "date": "2025-03-10", "nps": np.clip(np.round(score), 0, 10).astype(int)})
    answers = answers.assign(app=ratings[:, 0], desk=ratings[:, 1])
    events = [
        pd.DataFrame({"customer": who, "date": "2025-01-05", "kind": kind, "count": count})
        for kind, count in (("failed", failed), ("login", login), ("rare", np.arange(size) < 3))
    ]
    events.append(pd.DataFrame({"customer": who, "date": "2025-04-05", "kind": "later", "count": 10 - answers["nps"]}))
    events.append(pd.DataFrame({"customer": who[:1], "date": "2024-11-05", "kind": "later", "count": 1}))
    months = [pd.DataFrame({"customer": who, "month": 24300 + k, "aum": 4000, "calls": 1}) for k in range(3)]
    # Dearer in the month of leaving than before it: only what came before may count.
    months[0]["aum"], months[2]["aum"] = 2000, 900_000
    customers = pd.DataFrame({"customer": who, "segment": "all", "unit": [f"u{i % 20}" for i in range(size)]})
    exits = pd.DataFrame({"customer": who[:200], "date": "2025-03-20", "month": 24302, "reason": "fees"})
    return {
        "customers": customers,
        "answers": answers,
        "events": pd.concat(events).query("count > 0").astype({"count": int}),
        "ledger": pd.concat(months),
        "exits": exits,
    }


def loaded(tables: Mapping[str, pd.DataFrame], study: Study | None = None) -> Few:
    connection = ibis.duckdb.connect()
    found = {}
    for name, frame in tables.items():
        if "date" in frame and "month" not in frame:
            dates = pd.to_datetime(frame["date"])
            frame = frame.assign(month=12 * dates.dt.year + dates.dt.month - 1)
        connection.con.register("incoming", frame)
        connection.con.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")
        connection.con.unregister("incoming")
        found[name] = connection.table(name)
    return Few(study or study_of(), found, connection)


@pytest.fixture(scope="module")
def tables() -> Few:
    return loaded(frames())


def effect(name: str, *, mean: float, sd: float, grade: Grade = Grade.C, customers: int = 1000, **of: Any) -> Effect:
    asked = {
        "question": Question.SUSTAINED,
        "population": "all",
        "treatment": "one point",
        "dose": Dose.SCORE_POINT,
        "outcome": "aum",
        "unit": Unit.MONEY_PER_CUSTOMER,
        "horizon": 12,
        "includes_exit": True,
    } | {key: value for key, value in of.items() if key in Estimand.__dataclass_fields__}
    asked["currency"] = "CNY" if asked["unit"] is Unit.MONEY_PER_CUSTOMER else ""
    return Effect(
        name=name,
        estimand=Estimand(**asked),
        groups=("all",),
        draws=np.random.default_rng(3).normal(mean, sd, (1000, 1)),
        shares=np.array([1.0]),
        baseline=pd.DataFrame({"customers": [1000.0], "money": [1000.0], "exit_hazard": [0.01]}, index=["all"]),
        grade=grade,
        specification=f"{name}()",
        fingerprint="then",
        counts={"customers": customers},
        checks=(Check(code="ROX-D21", verdict=Verdict.NOTE),),
        tables=of.get("tables", {}),
    )


def initiative(name: str, mean: float, sd: float, **of: Any) -> Effect:
    told = {"question": Question.INITIATIVE, "dose": Dose.INITIATIVE, "unit": Unit.RATIO, "window": (7, 12)}
    return effect(name, mean=mean, sd=sd, grade=Grade.B, treatment="refit: from not started to started", **told | of)


def effects_of(direct: float = 0.05, sd: float = 0.005) -> dict[str, Effect]:
    window = pd.DataFrame({"score": [0.5], "score_se": [0.05]}, index=["window"])
    hazard = {"unit": Unit.LOG_HAZARD, "question": Question.HAZARD, "outcome": "voluntary_exit"}
    found = [
        effect("gap", mean=900, sd=10, grade=Grade.D, question=Question.GAP),
        effect("lead_lag", mean=100, sd=10),
        effect("rollout_slope", mean=400, sd=10, grade=Grade.B),
        effect("churn", mean=-0.1, sd=0.02, grade=Grade.D, **hazard),
        initiative("uplift", direct, sd, tables={"score": window}),
    ]
    return {each.name: each for each in found}


@pytest.fixture(scope="module")
def outline(tables: Few) -> ChainOutline:
    return outline_of(tables, {})


@pytest.fixture(scope="module")
def whole(tables: Few, outline: ChainOutline) -> Chain:
    return chain(tables, outline, effects_of(), fingerprints=frozenset({"now"}), rng=1)


def arrow(found: Chain, source: str, target: str) -> Arrow:
    return next(each for each in found.arrows if (each.source, each.target) == (source, target))


def part(outline: ChainOutline, *names: str) -> ChainOutline:
    boxes = {name: box for name, box in outline.boxes.items() if name in names}
    arrows = tuple(each for each in outline.arrows if {each.source, each.target} <= set(boxes))
    return outline.model_copy(update={"boxes": boxes, "arrows": arrows})


def test_events_before_the_answer_are_told_and_later_or_rare_ones_are_not(whole: Chain) -> None:
    told = arrow(whole, "failed", "nps").shown
    assert told is not None
    assert told.low < -0.5 < told.high < 0
    assert (told.basis, told.grade, told.lag, told.beside) == ("association", Grade.D, (1, 3), ("login",))
    assert whole.box("failed").level == pytest.approx(0.8, abs=0.1)
    assert arrow(whole, "later", "nps").shown is None
    assert (arrow(whole, "later", "nps").need, arrow(whole, "later", "nps").what) == ("few", "5")
    assert np.isnan(whole.box("later").level)
    assert "rare" not in {box.key for box in whole.boxes}


def test_ratings_of_the_same_answer_say_that_neither_comes_first(whole: Chain) -> None:
    told = arrow(whole, "app", "nps").shown
    assert told is not None
    assert told.low < 0.4 < told.high
    assert told.lag == (0, 0)
    assert "ROX-D22" in [check.code for check in told.checks]


def test_effects_stand_on_their_arrows_in_the_order_of_what_they_can_say(whole: Chain) -> None:
    told = arrow(whole, "nps", "aum")
    assert told.shown is not None
    assert [told.shown.name, *(each.name for each in told.others)] == ["rollout_slope", "lead_lag", "gap"]
    assert told.others[-1].basis == "gap"
    leaving = arrow(whole, "nps", "leaving").shown
    assert leaving is not None
    assert leaving.value == pytest.approx(np.expm1(-0.1), abs=0.01)
    assert "ROX-D23" in [check.code for check in leaving.checks]
    gain = arrow(whole, "refit", "nps").shown
    assert gain is not None
    assert (gain.value, gain.grade) == (0.5, Grade.C)


def test_leavers_take_along_what_they_held_strictly_before(whole: Chain) -> None:
    told = arrow(whole, "leaving", "aum").shown
    assert told is not None
    assert (told.basis, told.grade) == ("arithmetic", None)
    assert told.value == pytest.approx(-30)
    assert told.size == 200


def test_arrows_without_evidence_say_what_is_missing(whole: Chain, tables: Few, outline: ChainOutline) -> None:
    assert arrow(whole, "nps", "calls").need == "outcome"
    assert arrow(whole, "calls", "aum").need == "moved"
    bare = chain(tables, part(outline, "refit", "nps", "leaving", "calls", "aum"), {}, rng=1)
    needs = {f"{each.source} {each.target}": each.need for each in bare.untested}
    assert {needs["refit nps"], needs["refit aum"], needs["nps aum"]} == {"gain", "initiative", "outcome"}
    assert needs["nps leaving"] == "leaving"
    assert bare.products == ()
    page = chain_page(bare)
    assert page.count('stroke-dasharray="6 4"') == len(bare.untested)
    assert "nothing is multiplied" in page


def test_a_product_is_grade_d_at_best_and_the_direct_effect_counts(whole: Chain) -> None:
    product = next(each for each in whole.products if each.path == ("refit", "nps", "aum"))
    # The slope made from the roll-out itself would agree by construction; the next one is taken.
    assert (product.through, product.grade) == ("lead_lag", Grade.D)
    assert product.value == pytest.approx(0.5 * 100, rel=0.02)
    assert product.direct is not None
    assert product.direct.grade is Grade.B
    assert product.compared is not None
    assert product.compared[0] == pytest.approx(0.05, rel=0.02)
    assert product.agreement == "agree"
    assert product.ratio is not None
    assert product.ratio[0] == pytest.approx(1, abs=0.03)
    failed = next(each for each in whole.products if each.path[0] == "failed")
    assert failed.through == "rollout_slope"
    assert failed.value < 0
    assert failed.direct is None
    assert "A chain of associations is not an effect." in chain_text(whole)


@pytest.mark.parametrize(("direct", "sd", "agreement"), [(0.2, 0.01, "apart"), (0.01, 0.05, "open")])
def test_disagreement_and_doubt_are_said(
    tables: Few, outline: ChainOutline, direct: float, sd: float, agreement: str
) -> None:
    short = part(outline, "refit", "nps", "aum")
    (product,) = chain(tables, short, effects_of(direct, sd), rng=1).products
    assert product.agreement == agreement
    assert (product.ratio is None) == (agreement == "open")


def test_effects_of_too_few_customers_are_not_shown(tables: Few, outline: ChainOutline) -> None:
    short = part(outline, "nps", "aum")
    (told,) = chain(tables, short, {"lead_lag": effect("lead_lag", mean=100, sd=10, customers=4)}).arrows
    assert (told.shown, told.need, told.what) == (None, "few", "5")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_names_every_arrow_and_escapes_what_users_wrote(whole: Chain, language: Any) -> None:
    page = chain_page(whole, language, least=5, study=HOSTILE)
    assert language == "zh" or page == chain_page(whole, language, least=5, study=HOSTILE)
    assert "<script" not in page
    assert "\u202e" not in page
    assert page.count("&lt;script&gt;") > 3
    (svg,) = re.findall(r'<svg class="chain".*?</svg>', page, flags=re.DOTALL)
    assert svg.count('<path d="M') >= 2 * len(whole.arrows)
    assert "fig-chain-title" in svg
    assert "<desc" in svg
    numbers = [float(each) for each in re.findall(r'(?:x|y)="(-?[\d.]+)"', svg)]
    assert min(numbers) >= 0
    assert max(numbers) <= 1000
    assert "raised" not in chain_text(dataclasses.replace(whole, arrows=whole.arrows[2:], products=()), "zh")


def test_words_on_neighbouring_arrows_do_not_lie_on_each_other(whole: Chain) -> None:
    svg = chain_page(whole)
    found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)
    boxes = [tuple(map(float, each)) for each in found]
    over = [
        (a, b)
        for i, a in enumerate(boxes)
        for b in boxes[i + 1 :]
        if a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
    ]
    assert over == []


def test_a_file_with_five_faults_says_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "chain.toml"
    path.write_text(
        '[chain]\nscore = "csat"\nmonths = 0\n[boxes.nps]\nquestion = "nps"\n[boxes.odd]\nevent = "a"\ntopic = "b"\n'
        '[boxes.aum]\noutcome = "aum"\nstage = "behaviour"\n[boxes.gone]\noutcome = "profit"\n'
        '[[arrows]]\nfrom = "nps"\nto = "nobody"\n[[arrows]]\nfrom = "nps"\nto = "nps"\n'
    )
    with pytest.raises(DataError) as caught:
        read_outline(path, study_of())
    assert len(caught.value.faults) == 6
    for words in ("chain.months", "boxes.odd: says event and topic", "boxes.aum.stage", "no 'profit'", "box 'nobody'"):
        assert words in str(caught.value)
    assert "a cause comes before" in str(caught.value)


def test_an_arrow_that_names_an_effect_needs_that_effect(tables: Few, tmp_path: Path) -> None:
    path = tmp_path / "chain.toml"
    path.write_text(
        '[chain]\nscore = "nps"\n[boxes.nps]\nquestion = "nps"\n[boxes.aum]\noutcome = "aum"\n'
        '[[arrows]]\nfrom = "nps"\nto = "aum"\neffect = "mine"\n'
    )
    outline = read_outline(path, tables.study)
    with pytest.raises(DataError, match="there is no effect 'mine'"):
        chain(tables, outline, effects_of())
    own = effect("mine", mean=5, sd=1)
    (told,) = chain(tables, outline, {**effects_of(), "mine": own}).arrows
    assert told.shown is not None
    assert told.shown.name == "mine"
    assert told.others == ()


def test_effects_are_read_from_a_folder_or_its_absence_is_said(tmp_path: Path) -> None:
    effect("lead_lag", mean=100, sd=10).save(tmp_path / "lead_lag.npz")
    assert list(read_effects(tmp_path)) == ["lead_lag"]
    with pytest.raises(DataError, match="no folder of effects"):
        read_effects(tmp_path / "none")
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot be read"):
        read_effects(tmp_path)


def test_the_bundled_description_holds_together_and_the_command_declares_itself(bank: Path) -> None:
    from rox.core.study import read_study

    assert len(read_outline(bank.parent / "chain.toml", read_study(bank)).arrows) > 15
    parser = argparse.ArgumentParser()
    verb.add(lambda name, text: parser)
    options = parser.parse_args([str(bank), "--out", "page.txt"])
    with pytest.raises(DataError, match=r"ends in \.html"):
        verb.run(options)
