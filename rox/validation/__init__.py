"""The truth laboratory: every estimator held against banks whose truth is known.

``validate`` tries estimators and recipes in common use on many simulated banks and gives a ``Scoreboard``; ``document``
writes it down. ``find_truths``, ``link_bank`` and ``everybody_answers`` are its parts for a single bank.
"""

from rox.validation.chain import link_bank
from rox.validation.document import document
from rox.validation.laboratory import validate
from rox.validation.methods import ESTIMATORS, RECIPES, TRIED_ELSEWHERE, Method
from rox.validation.scoreboard import Scoreboard
from rox.validation.truths import Target, Truths, beside_truth, everybody_answers, find_truths
from rox.validation.worlds import World, read_world

__all__ = [
    "ESTIMATORS",
    "RECIPES",
    "TRIED_ELSEWHERE",
    "Method",
    "Scoreboard",
    "Target",
    "Truths",
    "World",
    "beside_truth",
    "document",
    "everybody_answers",
    "find_truths",
    "link_bank",
    "read_world",
    "validate",
]
