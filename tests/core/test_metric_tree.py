"""Trees of metrics as they are declared: faults, templates, and what may become value."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from rox.core.errors import DataError
from rox.core.metric_kinds import UNITS, VARIANCES
from rox.core.metric_tree import Metric, MetricTree, read_tree, tree_of

TEMPLATES = Path(__file__).parents[2] / "rox" / "metrics" / "templates"

TREE = """
[tree]
name = "small"
title = { en = "Small", zh = "小" }
north_star = "nps"
[goals]
happy = { label = "Happy" }
[signals]
said = { goal = "happy", label = "Said" }
[metrics.nps]
signal = "said"
label = { en = "NPS", zh = "净推荐值" }
estimator = "nps"
table = "answers"
column = "nps"
outcome = true
[metrics.views]
signal = "said"
label = "Views"
estimator = "count"
table = "events"
where = { kind = "view" }
proxy = true
"""


def tree(text: str = TREE) -> MetricTree:
    return tree_of(tomllib.loads(text), "tree", templates=TEMPLATES)


def faults(text: str) -> list[str]:
    with pytest.raises(DataError) as found:
        tree(text)
    return list(found.value.faults)


def test_a_tree_is_read_in_both_languages():
    found = tree()
    assert found.about.title["zh"] == "小"
    assert list(found.branches()) == [("happy", "said", "nps"), ("happy", "said", "views")]
    assert found.north_star.label["en"] == "NPS"
    assert found.metrics["views"].measured_in == "count"
    assert found.metrics["views"].where == {"kind": "view"}
    assert found.stages == ()


def test_all_faults_come_at_once():
    text = TREE.replace('north_star = "nps"', 'north_star = "views"').replace('signal = "said"\nlabel = "Views"', "")
    text = text.replace('goal = "happy", label = "Said"', 'goal = "glad", label = "Said"')
    said = faults(text)
    assert [line.split(":")[0] for line in said] == ["metrics.views.signal", "metrics.views.label"]
    text = TREE.replace('north_star = "nps"', 'north_star = "views"').replace('goal = "happy", l', 'goal = "glad", l')
    said = faults(text)
    assert any(line.startswith("signals.said.goal: there is no goal 'glad'") for line in said)
    assert "goals.happy: no signal tells of it" in said
    assert any("north_star: views is a proxy" in line for line in said)


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("after = 3", "`after` is for retention"),
        ('unit = "ratio"', "the unit of count is count, not ratio"),
        ('variance = "wilson"', "the variance of count is none, not wilson"),
        ("outcome = true", "never an outcome of value"),
        ("target = 5\nalert = 9", "the alert 9 is better than the target 5"),
        ('of_table = "ledger"', "`of_table` is for"),
        ('colour = "red"', "unknown name"),
        ('stage = "checkout"', "metrics.views.stage"),
        ("target = nan", "metrics.views.target"),
    ],
)
def test_a_metric_that_contradicts_itself(setting, what):
    said = faults(TREE + setting)
    assert len(said) >= 1
    assert any(what in line for line in said)


def test_faults_of_estimators():
    lines = 'signal = "said"\nlabel = "X"\n'
    share = f'[metrics.x]\n{lines}estimator = "share"\ntable = "events"\ntarget = 70\n'
    assert "share needs `where`; target 70 is no share between 0 and 1" in faults(TREE + share)[0]
    weekly = f'[metrics.x]\n{lines}estimator = "actives"\ntable = "ledger"\nwindow = "week"\n'
    assert "the ledger has months only" in faults(TREE + weekly)[0]
    asked = f'[metrics.x]\n{lines}estimator = "mean"\ntable = "events"\ncolumn = "nps"\n'
    assert "read from the answers" in faults(TREE + asked)[0]


def test_one_journey_only():
    text = TREE.replace("outcome = true", 'outcome = true\nstage = "engage"') + 'stage = "use"\n'
    assert any("place all of them in one model" in line for line in faults(text))


def test_outcomes_and_the_north_star_are_no_drivers():
    assert tree().drivers == ("views",)


def test_what_is_read_from_the_better_end_has_no_direction():
    turned = TREE.replace("outcome = true", 'outcome = true\ndirection = "down"\ntarget = 140')
    assert any("more is always better of nps" in line and "140 is no NPS" in line for line in faults(turned))


def test_templates_are_whole_and_speak_both_languages():
    for path in sorted(TEMPLATES.glob("*.toml")):
        found = read_tree(path, templates=TEMPLATES)
        assert found.about.name == path.stem
        for part in (*found.goals.values(), *found.signals.values(), *found.metrics.values()):
            assert part.label.en != part.label.zh
        assert found.north_star.outcome
    assert {path.stem for path in TEMPLATES.glob("*.toml")} == {"heart", "pulse", "ues", "journey"}
    pulse = read_tree(TEMPLATES / "pulse.toml")
    assert all(metric.proxy for name, metric in pulse.metrics.items() if name != "recommend")


def test_own_metrics_are_a_few_lines_over_a_template():
    text = """
[tree]
name = "ours"
title = "Ours"
north_star = "recommend"
extends = ["heart"]
without = ["adopters", "time_on_task"]
[metrics.logins]
where = { kind = ["app_open", "web_login"] }
window = "month"
[metrics.calls]
signal = "use"
label = "Calls"
estimator = "count"
table = "events"
where = { kind = "call" }
"""
    found = tree(text)
    assert found.metrics["logins"].where == {"kind": ("app_open", "web_login")}
    assert found.metrics["logins"].label["en"].startswith("Log-ins")
    assert {"calls", "recommend"} <= set(found.metrics)
    assert "adopters" not in found.metrics
    assert "first_use" not in found.signals
    assert "adoption" not in found.goals
    wrong = text.replace('["heart"]', '["hart"]').replace('"time_on_task"', '"speed"')
    assert any("no template 'hart'; the templates are heart, journey, pulse, ues" in line for line in faults(wrong))
    wrong = text.replace('"time_on_task"', '"speed"')
    assert "tree.without: the templates have no metric 'speed'" in faults(wrong)


def test_every_estimator_has_a_unit_and_a_variance():
    assert set(UNITS) == set(VARIANCES)


def test_the_example_of_the_guide_is_a_tree(root):
    text = (root / "docs" / "metrics.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    assert example is not None
    found = tree(example[1])
    assert found.metrics["calls"].direction == "down"
    assert found.about.extends == ("heart",)
    for name in (*Metric.model_fields, *UNITS):
        assert re.search(rf"`{name}(?:`| =)", text), name
