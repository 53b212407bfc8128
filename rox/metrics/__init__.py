"""Scores, response and churn by time and group, each with the variance it deserves."""

from rox.metrics.answers import ces, csat, mean_score, nps, score_distribution, scores
from rox.metrics.exits import churn, retention
from rox.metrics.growth import earned_growth
from rox.metrics.overview import Experience, experience
from rox.metrics.responses import repeats, response_chain, response_rate
from rox.metrics.waves import change

__all__ = [
    "Experience",
    "ces",
    "change",
    "churn",
    "csat",
    "earned_growth",
    "experience",
    "mean_score",
    "nps",
    "repeats",
    "response_chain",
    "response_rate",
    "retention",
    "score_distribution",
    "scores",
]
