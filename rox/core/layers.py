"""Evidence discounts other than the shipped ones: read from the file that the company's own backtests wrote."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rox.core.check import BiasLayer, Grade
from rox.core.errors import DataError


def read_layers(path: str | Path) -> Mapping[Grade, BiasLayer]:
    """Read discounts written by :func:`write_layers`.

    Raises:
        DataError: The file is missing or does not hold a discount for every grade, in order.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"There is no file of discounts at {path}.", ["rox backtest --layers writes one"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise DataError(f"{path} cannot be read as TOML.", [str(cause)]) from cause
    faults, found, better = [], {}, BiasLayer(1.0, 0.0)
    for grade in Grade:
        held = content.get(grade, {})
        numbers = [held.get(name) for name in ("mean", "sd")] if isinstance(held, dict) else [None]
        if not all(isinstance(each, (int, float)) for each in numbers):
            faults.append(f"{grade}: needs mean and sd")
            continue
        found[grade] = BiasLayer(float(held["mean"]), float(held["sd"]), int(held.get("banks", 0)))
        if found[grade].mean > better.mean or not found[grade].sd > 0:
            faults.append(f"{grade}: its mean is above that of a better grade, or above 1, or its sd is not positive")
        better = found[grade]
    if faults:
        raise DataError(f"{path} does not hold the discounts of all grades.", faults)
    return MappingProxyType(found)
