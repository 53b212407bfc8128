"""Scores, response and churn by time and group, each with the variance it deserves."""

from rox.metrics.answers import ces, csat, mean_score, nps, score_distribution, scores
from rox.metrics.drivers import Drivers, drivers
from rox.metrics.exits import churn, retention
from rox.metrics.growth import earned_growth
from rox.metrics.overview import Experience, experience
from rox.metrics.responses import repeats, response_chain, response_rate
from rox.metrics.silence import Silence, silence
from rox.metrics.trees import TEMPLATES, heat_map, measure_tree, metric_tree, standing
from rox.metrics.waves import change

__all__ = [
    "TEMPLATES",
    "Drivers",
    "Experience",
    "Silence",
    "ces",
    "change",
    "churn",
    "csat",
    "drivers",
    "earned_growth",
    "experience",
    "heat_map",
    "mean_score",
    "measure_tree",
    "metric_tree",
    "nps",
    "repeats",
    "response_chain",
    "response_rate",
    "retention",
    "score_distribution",
    "scores",
    "silence",
    "standing",
]
