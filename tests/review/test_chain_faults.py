"""What a chain must not do: control for consequences, cap the wrong way, take noise for best places, mix effects up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rox.core.chain import Chain, Product
from rox.core.chain_outline import DeclaredBox, read_outline
from rox.core.check import Grade
from rox.core.errors import DataError
from rox.core.estimand import Question
from rox.core.study import Study
from rox.models.driver_chain import driver_chain
from rox.reporting.chain_page import chain_text
from rox.review.chain import chain, outline_of
from tests.review.test_chain import Few, arrow, effect, effects_of, frames, initiative, loaded, part, study_of

SIZE = 1500
WHO = [f"c{i:04d}" for i in range(SIZE)]
KEPT = frozenset({"retention"})


def tables_of(answers: Mapping[str, Any], events: Mapping[str, Any], study: Study | None = None) -> Few:
    told = [pd.DataFrame({"customer": WHO, "date": "2025-01-05", "kind": k, "count": n}) for k, n in events.items()]
    ends = ("2024-11-05", "2025-04-05")  # the table holds all months before the answers
    told += [pd.DataFrame({"customer": WHO[:1], "date": day, "kind": k, "count": 1}) for k in events for day in ends]
    found = {
        "customers": pd.DataFrame({"customer": WHO, "segment": "all", "unit": [f"u{i % 40}" for i in range(SIZE)]}),
        "answers": pd.DataFrame({"customer": WHO, "date": "2025-03-10", **answers}),
    }
    return loaded(found | ({"events": pd.concat(told).query("count > 0")} if told else {}), study)


def rounded(values: Any, low: int = 0, high: int = 10) -> Any:
    return np.clip(np.round(values), low, high).astype(int)


def through(found: Chain, start: str) -> Product:
    return next(each for each in found.products if each.path[0] == start)


def test_an_event_is_never_held_beside_its_consequences() -> None:
    rng = np.random.default_rng(1)
    failed, other = rng.poisson(0.8, SIZE), rng.poisson(2, SIZE)
    login = failed + rng.poisson(0.5, SIZE)  # people try again
    app = rounded(8 - 1.2 * failed + rng.normal(size=SIZE))
    answers = {"nps": rounded(8 - 0.8 * login + rng.normal(size=SIZE)), "app": app, "desk": rng.integers(0, 11, SIZE)}
    alone = tables_of(answers, {"failed": failed})
    (told,) = chain(alone, part(outline_of(alone, {}), "failed", "nps"), {}, rng=1).arrows
    assert (told.shown, told.need) == (None, "alone")
    tables = tables_of(answers, {"failed": failed, "login": login, "other": other})
    outline = part(outline_of(tables, {}), "failed", "login", "other", "nps")
    moved = outline.boxes["login"].model_copy(update={"stage": "behaviour"})
    arrows = tuple(each for each in outline.arrows if each.source != "login")
    outline = outline.model_copy(update={"boxes": {**outline.boxes, "login": moved}, "arrows": arrows})
    shown = arrow(chain(tables, outline, {}, rng=1), "failed", "nps").shown
    assert shown is not None
    assert shown.beside == ("other",)
    assert shown.high < -0.6


def test_money_of_those_kept_is_one_effect_that_may_be_shown_and_no_product() -> None:
    tables = study_and_tables()
    many = {f"kept_{h}": effect("kept", mean=4 * h, sd=1, grade=Grade.B, horizon=h, channels=KEPT) for h in (36, 12)}
    many["people"] = effect("people", mean=500, sd=5, question=Question.GAP, grade=Grade.A, channels=KEPT)
    many["pulse"] = effect("pulse", mean=500, sd=5, question=Question.PULSE, grade=Grade.A, channels=KEPT)
    many["few"] = effect("few", mean=70, sd=5, grade=Grade.A, customers=2, channels=KEPT)
    outline = part(outline_of(tables, {}), "nps", "leaving", "aum")
    found = chain(tables, outline, {**effects_of(), **many}, fingerprints=frozenset({"now"}), rng=1)
    (told,) = [each for each in found.products if "leaving" in each.path]
    assert (told.months, told.grade, told.is_kept) == (12, Grade.D, True)
    assert told.value == pytest.approx(48, abs=1)
    assert {"ROX-D23", "ROX-D28"} <= {each.code for each in told.checks}
    assert "no product" in chain_text(found)


def test_where_lower_is_better_caps_and_signs_follow() -> None:
    rng = np.random.default_rng(2)
    plain = study_of().model_dump(by_alias=True, exclude={"folder", "engine"})
    plain["scores"] = {
        "nps": {"column": "nps", "low": 1, "high": 7, "kind": "ces", "label": "Effort", "higher_is_better": False}
    }
    plain["drivers"]["desk"]["higher_is_better"] = False
    effort = rounded(2.5 + rng.normal(size=SIZE), 1, 7)
    desk = rounded(2 + effort + rng.normal(size=SIZE))
    answers = {"nps": effort, "app": rng.integers(0, 11, SIZE), "desk": desk}
    tables = tables_of(answers, {}, Study.model_validate(plain))
    outline = part(outline_of(tables, {}), "app", "desk", "nps", "aum")
    away = outline.boxes["desk"].model_copy(update={"move": -20.0})
    outline = outline.model_copy(update={"boxes": {**outline.boxes, "desk": away}})
    found = chain(tables, outline, {"lead_lag": effect("lead_lag", mean=-100, sd=1)}, rng=1)
    assert found.headroom == pytest.approx(effort.mean() - 1)
    shown = arrow(found, "desk", "nps").shown
    assert shown is not None
    assert shown.low > 0
    assert found.box("desk").level == pytest.approx(desk.mean())
    told = through(found, "desk")
    assert told.move == pytest.approx(-desk.mean())
    assert 0 < told.value <= 100 * found.headroom * 1.01
    draws = pd.DataFrame({"desk": [1.0]})
    capped = driver_chain(draws, effect("e", mean=-100, sd=1), {"desk": -9}, headroom=1.5, higher_is_better=False)
    assert capped.overall.mean() == pytest.approx(150, rel=0.01)


def test_the_best_places_are_not_the_luckiest() -> None:
    rng = np.random.default_rng(3)
    level = np.arange(SIZE) % 40 % 2  # half of the places are two points better
    rest = {"app": rng.integers(0, 11, SIZE), "desk": rng.integers(0, 11, SIZE)}
    for apart, source in ((0, "scale"), (2, "places")):
        answers = {"nps": rounded(5 + apart * level + 2 * rng.normal(size=SIZE)), **rest}
        tables = tables_of(answers, {})
        found = chain(tables, part(outline_of(tables, {}), "nps", "aum"), {}, rng=1)
        assert found.bounded_by == source
    assert found.headroom == pytest.approx(1, abs=0.35)


def study_and_tables() -> Few:
    return loaded(frames())


def test_a_product_is_only_held_against_a_direct_effect_of_the_same_months_and_may_be_too_vague(tmp_path: Path) -> None:
    tables = study_and_tables()
    outline = part(outline_of(tables, {}), "refit", "nps", "aum")
    late = effects_of() | {"uplift": initiative("uplift", 0.05, 0.005, tables=window(0.5, 0.05), window=(20, 24))}
    told = through(found := chain(tables, outline, late, rng=1), "refit")
    assert (told.agreement, told.ratio) == ("time", None)
    assert "month 12 against month 20–24" in chain_text(found)
    vague = effects_of() | {"uplift": initiative("uplift", 0.05, 0.005, tables=window(0.05, 0.3))}
    assert through(chain(tables, outline, vague, rng=1), "refit").agreement == "open"
    clear = through(chain(tables, outline, effects_of(), rng=1), "refit")
    assert "ROX-D29" in [each.code for each in clear.checks]
    path = tmp_path / "chain.toml"
    path.write_text('[chain]\nscore="nps"\n[boxes.nps]\nquestion="nps"\n[boxes.refit]\ninitiative="refit"\nmove=2\n')
    with pytest.raises(DataError, match="an initiative is done or not"):
        read_outline(path, tables.study)
    assert DeclaredBox(initiative="refit").move == 1


def window(score: float, error: float) -> dict[str, pd.DataFrame]:
    return {"score": pd.DataFrame({"score": [score], "score_se": [error]}, index=["window"])}


def test_effects_of_one_name_are_told_apart_by_their_files_and_the_nearest_months_come_first() -> None:
    tables = study_and_tables()
    outline = part(outline_of(tables, {}), "refit", "nps", "aum")
    other = initiative("uplift", -0.3, 0.005, outcome="calls", tables=window(3.0, 0.05))
    later = effect("lead_lag", mean=900, sd=10, horizon=36)
    found = chain(tables, outline, {"a_calls": other, "a_later": later, **effects_of()}, rng=1)
    told = through(found, "refit")
    assert told.value == pytest.approx(0.5 * 100, rel=0.02)
    assert told.ratio is not None
    assert told.ratio[0] == pytest.approx(1, abs=0.05)
    gain = arrow(found, "refit", "nps").shown
    assert gain is not None
    assert gain.value == 0.5
