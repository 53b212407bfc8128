"""Scores, response and churn by time and group, each with the variance it deserves."""

from rox.metrics.accounts import AccountScores, account_scores
from rox.metrics.alert_rules import Rule, read_rules
from rox.metrics.alerts import alerts, read_alerts, write_alerts
from rox.metrics.answers import ces, csat, mean_score, nps, score_distribution, scores
from rox.metrics.bridges import Bridged, bridged
from rox.metrics.drill import Drill, drill, moved_steps
from rox.metrics.drivers import Drivers, drivers
from rox.metrics.drivers_recorded import usual_drivers, usual_facts
from rox.metrics.exits import churn, retention
from rox.metrics.growth import earned_growth
from rox.metrics.mix import Moved, moved
from rox.metrics.overview import Experience, experience
from rox.metrics.responses import repeats, response_chain, response_rate, response_reasons
from rox.metrics.rivals import panel, read_rivals
from rox.metrics.rivals import standing as rival_standing
from rox.metrics.sample_size import answers_needed, sample_sizes
from rox.metrics.season import Seasonal, seasonal
from rox.metrics.silence import Silence, silence
from rox.metrics.silent import SilentAttrition, attrition
from rox.metrics.trees import TEMPLATES, heat_map, measure_tree, metric_tree, standing
from rox.metrics.watch import Watch, watch
from rox.metrics.waves import change

__all__ = [
    "TEMPLATES",
    "AccountScores",
    "Bridged",
    "Drill",
    "Drivers",
    "Experience",
    "Moved",
    "Rule",
    "Seasonal",
    "Silence",
    "SilentAttrition",
    "Watch",
    "account_scores",
    "alerts",
    "answers_needed",
    "attrition",
    "bridged",
    "ces",
    "change",
    "churn",
    "csat",
    "drill",
    "drivers",
    "earned_growth",
    "experience",
    "heat_map",
    "mean_score",
    "measure_tree",
    "metric_tree",
    "moved",
    "moved_steps",
    "nps",
    "panel",
    "read_alerts",
    "read_rivals",
    "read_rules",
    "repeats",
    "response_chain",
    "response_rate",
    "response_reasons",
    "retention",
    "rival_standing",
    "sample_sizes",
    "score_distribution",
    "scores",
    "seasonal",
    "silence",
    "standing",
    "usual_drivers",
    "usual_facts",
    "watch",
    "write_alerts",
]
