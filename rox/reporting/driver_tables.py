"""Tables of drivers for readers: few columns, named in their language, numbers as people write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from rox.core.check import Check
from rox.core.words import Language, say
from rox.reporting.numbers import MISSING, form, probability, show


def ranking_table(table: pd.DataFrame, labels: Mapping[str, str], language: Language = "en") -> pd.DataFrame:
    """Write each driver's mean, share with its range, and how sure its rank is.

    Args:
        table: ``drivers(…).table``, or ``….pillars``, which has no means.
        labels: What drivers are called.
        language: Of the words.
    """
    share = form("share", language, step=0.01)
    rows = [
        {
            "driver": labels.get(row["driver"], row["driver"]),
            "mean": f"{row['mean']:.1f}" if "mean" in table else MISSING,
            "share": share(row["share"]),
            "range": share.between(row["low"], row["high"]),
            "first": probability(row["p_first"], language),
            "rank": "–".join(dict.fromkeys(f"{row[end]:.0f}" for end in ("rank_low", "rank_high"))),
        }
        for _, row in table.iterrows()
    ]
    frame = pd.DataFrame(rows, columns=["driver", "mean", "share", "range", "first", "rank"])
    return frame.rename(columns=lambda name: say(f"table.drivers.{name}", language)).set_index(
        say("table.drivers.driver", language)
    )


def money_table(chains: pd.DataFrame, labels: Mapping[str, str], language: Language = "en") -> pd.DataFrame:
    """Write what :func:`rox.models.driver_chain.driver_money` returns, to two significant digits."""

    def amount(row: pd.Series, name: str) -> str:
        value = float(f"{row[name]:.2g}")
        return show(value, str(row["unit"]), language, currency=str(row["currency"]))

    rows = [
        {
            "driver": labels.get(row["driver"], row["driver"]),
            "move": f"{row['move']:+.2g}",
            "value": amount(row, "value"),
            "low": amount(row, "low"),
            "high": amount(row, "high"),
            "grade": row["grade"],
        }
        for _, row in chains.iterrows()
    ]
    frame = pd.DataFrame(rows, columns=["driver", "move", "value", "low", "high", "grade"])
    return frame.rename(columns=lambda name: say(f"table.drivers.{name}", language)).set_index(
        say("table.drivers.driver", language)
    )


def bullets(checks: Sequence[Check], language: Language = "en") -> str:
    """Write checks as a list, one to a line."""
    return "\n".join(f"- {check.sentence(language)}" for check in checks)
