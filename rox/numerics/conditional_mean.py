"""The mean of a result given some inputs, from draws of both: penalised splines, or a polynomial of many inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import eigh

from rox.numerics.arrays import Floats

CUBIC = 3
INTERVALS = {1: 20, 2: 7, 3: 4}
"""Intervals between knots, by the number of inputs; with more inputs a polynomial is fitted."""
DEGREES = {4: 3}
"""Degree of the polynomial by the number of inputs; 2 for more than these."""
PENALTIES = 10.0 ** np.arange(-8, 9)
"""Strengths of the penalty that are tried, relative to the information in the draws."""
TINY = 1e-10


@dataclass(frozen=True)
class Basis:
    """Functions of the inputs at each draw, shape (draw, function), and the penalty on their weights."""

    columns: Floats
    penalty: Floats


def basis(inputs: Floats) -> Basis:
    """Build the functions whose weighted sum stands for a mean given inputs.

    One to three inputs: (tensor products of) cubic B-splines with knots at quantiles, penalised by their integrated
    squared second derivative. More: a polynomial of standardised inputs with a ridge. Straight lines, or the constant
    of the polynomial, go unpenalised.

    Args:
        inputs: Shape (draw, input).

    Raises:
        ValueError: No input, or an input that does not vary or is not finite.

    References:
        Wood (2006), *Biometrics* 62, on tensor products of penalised splines.
    """
    inputs = np.asarray(inputs, dtype=float)
    usable = inputs.ndim == 2 and inputs.shape[1] > 0 and np.isfinite(inputs).all()
    if not usable or not (np.ptp(inputs, axis=0) > 0).all():
        raise ValueError("the mean is taken given finite inputs that vary, with shape (draw, input)")
    if inputs.shape[1] in INTERVALS:
        return _tensor([_spline(each, INTERVALS[inputs.shape[1]]) for each in inputs.T])
    return _polynomial(inputs)


def smoothed(functions: Basis, values: Floats, rows: slice | None = None) -> Floats:
    """Fit values by the functions and return the fit at every draw, shape (draw,).

    The strength of the penalty minimises generalised cross-validation (Craven & Wahba 1979).

    Args:
        functions: What :func:`basis` gave.
        values: Shape (draw,).
        rows: Draws to fit on; default all.
    """
    columns = functions.columns if rows is None else functions.columns[rows]
    known = np.asarray(values, dtype=float) if rows is None else np.asarray(values, dtype=float)[rows]
    centre = known.mean()
    known = known - centre
    size = columns.T @ columns
    floor = TINY * np.trace(size) / len(size)
    spread = np.trace(size) / max(np.trace(functions.penalty), TINY)
    roots, axes = eigh(functions.penalty * spread, size + floor * np.eye(len(size)))
    roots = np.clip(roots, 0, None)
    target = axes.T @ (columns.T @ known)
    kept = 1 / (1 + PENALTIES[:, None] * roots)
    left = known @ known - 2 * kept @ target**2 + kept**2 @ target**2
    scores = np.clip(left, 0, None) / (len(known) - kept.sum(axis=1)) ** 2
    weights = axes @ (kept[int(np.argmin(scores))] * target)
    return np.asarray(centre + functions.columns @ weights)


def _spline(values: Floats, intervals: int) -> Basis:
    knots = np.unique(np.quantile(values, np.linspace(0, 1, intervals + 1)))
    padded = np.r_[[knots[0]] * CUBIC, knots, [knots[-1]] * CUBIC]
    columns = BSpline.design_matrix(values, padded, CUBIC).toarray()
    curvature = BSpline(padded, np.eye(columns.shape[1]), CUBIC).derivative(2)
    half, middle = np.diff(knots) / 2, (knots[:-1] + knots[1:]) / 2
    points = np.concatenate([middle - half / np.sqrt(3), middle + half / np.sqrt(3)])
    bent = curvature(points) * np.sqrt(np.r_[half, half])[:, None]
    return Basis(columns, bent.T @ bent * (knots[-1] - knots[0]) ** 3)


def _tensor(parts: Sequence[Basis]) -> Basis:
    """Multiply bases of one input each; the penalty adds the bending along each input."""

    columns, penalty = parts[0].columns, parts[0].penalty
    for part in parts[1:]:
        old, new = np.eye(columns.shape[1]), np.eye(part.columns.shape[1])
        columns = (columns[:, :, None] * part.columns[:, None, :]).reshape(len(columns), -1)
        penalty = np.kron(penalty, new) + np.kron(old, part.penalty)
    return Basis(columns, penalty)


def _polynomial(inputs: Floats) -> Basis:
    scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    many = inputs.shape[1]
    terms = [
        np.prod(scaled[:, list(which)], axis=1)
        for degree in range(1, DEGREES.get(many, 2) + 1)
        for which in combinations_with_replacement(range(many), degree)
    ]
    columns = np.column_stack([np.ones(len(scaled)), *terms])
    return Basis(columns, np.diag(np.r_[0.0, np.ones(len(terms))]))
