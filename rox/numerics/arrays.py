"""Check and freeze the arrays that enter and leave the room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def readonly(values: NDArray[Any]) -> NDArray[Any]:
    """Return the array itself when it is already read-only, otherwise a read-only copy."""
    if not values.flags.writeable:
        return values
    frozen = values.copy()
    frozen.flags.writeable = False
    return frozen


def freeze(record: object, *names: str) -> None:
    """Make the named array fields of a frozen dataclass read-only; call it from `__post_init__`."""
    for name in names:
        object.__setattr__(record, name, readonly(np.asarray(getattr(record, name))))


def vector(values: ArrayLike, name: str, size: int | None = None) -> Floats:
    """Return a one-dimensional float array and complain about its shape or about values that are not finite.

    Raises:
        ValueError: the array has another shape, or holds NaN or infinite values (all faults in one message).
    """
    out = np.asarray(values, dtype=np.float64)
    faults = []
    if out.ndim != 1:
        faults.append(f"{name} must be one-dimensional, got shape {out.shape}")
    elif size is not None and out.size != size:
        faults.append(f"{name} has {out.size} values, needed {size}")
    bad = int((~np.isfinite(out)).sum())
    if bad:
        faults.append(f"{name} has {bad} values that are NaN or infinite; drop those rows first")
    complain(faults)
    return out


def codes(labels: ArrayLike, name: str, size: int) -> tuple[Ints, NDArray[Any]]:
    """Return integer codes 0..m-1 and the m sorted labels.

    Raises:
        ValueError: the labels are not one-dimensional of the given size, or some are missing.
    """
    raw = np.asarray(labels)
    if raw.ndim != 1 or raw.size != size:
        raise ValueError(f"{name} must hold {size} labels, got shape {raw.shape}")
    if raw.dtype.kind == "f" and np.isnan(raw).any():
        raise ValueError(f"{name} has {int(np.isnan(raw).sum())} missing labels; drop those rows first")
    levels, inverse = np.unique(raw, return_inverse=True)
    return inverse.astype(np.int64), levels


def answers(scores: ArrayLike) -> Floats:
    """Return whole answers 0..10 as floats.

    Raises:
        ValueError: no answers, or some that are missing, fractional or outside 0..10 (all faults in one message).
    """
    s = np.asarray(scores, dtype=np.float64)
    faults = []
    if s.ndim != 1 or not s.size:
        faults.append(f"scores must be a non-empty one-dimensional array, got shape {s.shape}")
    missing = np.isnan(s)
    if missing.any():
        faults.append(f"{int(missing.sum())} scores are missing; drop those rows")
    for fault, bad in (
        ("outside 0..10", ~missing & ((s < 0) | (s > 10))),
        ("not whole numbers", ~missing & np.isfinite(s) & (s != np.round(s))),
    ):
        if bad.any():
            found = ", ".join(f"{v:g}" for v in np.unique(s[bad])[:5])
            faults.append(f"{int(bad.sum())} scores are {fault} (found {found})")
    complain(faults)
    return s


def complain(faults: Sequence[str]) -> None:
    """Raise one `ValueError` that lists every fault; do nothing when there is none."""
    if faults:
        raise ValueError("; ".join(faults))


def choice(value: str, allowed: Sequence[str], name: str) -> None:
    """Raise `ValueError` unless the value is one of those allowed."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def in_unit_interval(level: float, name: str = "level") -> None:
    """Raise `ValueError` unless the number lies strictly between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {level}")


def group_sums(values: Floats, group: Ints, size: int) -> Floats:
    """Sum rows of `values` (n, ...) by integer group code; returns (size, ...)."""
    flat = values.reshape(values.shape[0], -1)
    out = np.empty((size, flat.shape[1]))
    for column in range(flat.shape[1]):
        out[:, column] = np.bincount(group, weights=flat[:, column], minlength=size)
    return out.reshape((size, *values.shape[1:]))
