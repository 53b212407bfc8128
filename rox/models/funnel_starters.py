"""People who start to open an account: one row each, with enough time behind them to say what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rox.core.errors import DataError
from rox.core.linked import Linked, Step

NEEDED = ("variant", "funded")
PLACES = ("channel", "device")
FORMS = ("old", "new")
LOT = "lot"


@dataclass(frozen=True, kw_only=True, eq=False)
class Starters:
    """Everybody who started, once.

    Attributes:
        rows: One row per starter: ``month`` (12·year + month − 1), ``channel``, ``device``, ``new`` (met the new form
            first), ``lot`` (the form was drawn by lot), ``followed`` (as much time as needed lies behind), ``reached``
            (steps passed), ``funded``, ``amount`` (money, 0 without a funded account, missing if unknown).
        steps: How many steps there are; the last one is the funded account.
        attempts: Rows of the table.
        repeated: Those that repeat an earlier one of the same person.
        crossed: People who met both forms.
        by_person: Whether persons are known.
        window: Days that must lie behind a start.
        has_money: Whether amounts are known.
        trail: Rows kept and lost.
    """

    rows: pd.DataFrame
    steps: int
    attempts: int
    repeated: int
    crossed: int
    by_person: bool
    window: int
    has_money: bool
    trail: tuple[Step, ...]

    @property
    def followed(self) -> pd.DataFrame:
        """Those with enough time behind them."""
        return self.rows[self.rows["followed"]]


def starters(data: Linked, *, days: int, retry_days: int) -> Starters:
    """Fetch the applicants, count each person once, and mark who started long enough before the extract.

    A person's first attempt decides the month, the channel and the form. Attempts begun within ``retry_days`` of it
    belong to it: it is funded if one of them is, and its amount is the largest of theirs, each read ``days`` after its
    own start. Later ones are left out. Whether somebody counts depends on the day of the first attempt alone, never on
    what became of it.

    Args:
        data: The link, of a study with applicants.
        days: Days after the start when money is read.
        retry_days: Days in which a second attempt belongs to the first.

    Raises:
        DataError: No applicants, or rows that cannot be used; all faults are listed.
    """
    found = data.fetch(data.records("applicants"))
    if faults := list(_faults(found)):
        raise DataError("The applicants cannot be used as they are.", faults)
    attempts = _typed(found)
    steps = [_step("attempts", len(attempts), 0)]
    by_person = "person" in attempts
    people, crossed = _first_attempts(attempts, retry_days) if by_person else (attempts, 0)
    if by_person:
        steps.append(_step("person", len(people), len(attempts) - len(people)))
    window = days + (retry_days if by_person else 0)
    extract = pd.Timestamp(data.study.about.extract)
    people["followed"] = people["date"] + pd.Timedelta(days=window) <= extract
    kept = int(people["followed"].sum())
    steps.append(_step("followed", kept, len(people) - kept))
    return Starters(
        rows=people,
        steps=int(people["reached"].max()),
        attempts=len(attempts),
        repeated=len(attempts) - len(people),
        crossed=crossed,
        by_person=by_person,
        window=window,
        has_money="amount" in found and bool(found["amount"].notna().any()),
        trail=tuple(steps),
    )


def _step(name: str, rows: int, lost: int) -> Step:
    return Step(name=name, rows=rows, lost=lost, customers=rows, reason=f"funnel.step.{name}")


def _faults(found: pd.DataFrame) -> Iterator[str]:
    """List everything that keeps the rows from being used."""
    for role in NEEDED:
        if role not in found:
            yield f"applicants.{role}: missing; name its column under [tables.applicants.columns]"
    if found.empty:
        yield "applicants: no rows"
    if "variant" in found and not (known := found["variant"].isin(FORMS)).all():
        others = ", ".join(sorted(map(repr, found.loc[~known, "variant"].dropna().unique()))[:5]) or "nothing"
        yield f"applicants.variant: {int((~known).sum())} rows say {others}; needed: old or new in every row"
    for role, low, high, needed in (
        ("funded", 0, 1, "0 or 1"),
        ("reached", 0, np.inf, "how many steps were passed"),
        ("amount", -np.inf, np.inf, "money"),
    ):
        if role in found:
            values = pd.to_numeric(found[role], errors="coerce").astype(float)
            wrong = ~values.between(low, high) | np.isinf(values)
            wrong &= values.notna() if role == "amount" else True
            if role != "amount":
                wrong |= values != values.round()
            if wrong.any():
                yield f"applicants.{role}: {int(wrong.sum())} rows are not {needed}"
    if "funded" in found and len(found) and not (pd.to_numeric(found["funded"], errors="coerce") == 1).any():
        yield "applicants.funded: nobody has a funded account"
    if "person" in found and (missing := int(found["person"].isna().sum())):
        yield f"applicants.person: missing in {missing} rows; name every person or leave the role out"


def _typed(found: pd.DataFrame) -> pd.DataFrame:
    funded = found["funded"].astype(float)
    frame = pd.DataFrame(
        {
            "date": pd.to_datetime(found["date"]).dt.floor("D"),
            **{place: found[place].fillna("").astype(str) if place in found else "" for place in PLACES},
            "new": found["variant"].eq("new"),
            "lot": found["assigned"].eq(LOT) if "assigned" in found else False,
            "funded": funded,
        }
    )
    reached = found["reached"].astype(float) if "reached" in found else funded
    most = reached.max()
    frame["reached"] = np.where(funded == 1, most + (reached[funded == 0] >= most).any(), reached)
    amount = found["amount"].astype(float) if "amount" in found else pd.Series(np.nan, index=found.index)
    frame["amount"] = np.where(funded == 1, amount, 0.0)
    frame["month"] = 12 * frame["date"].dt.year + frame["date"].dt.month - 1
    return frame.assign(person=found["person"]) if "person" in found else frame


def _first_attempts(attempts: pd.DataFrame, retry_days: int) -> tuple[pd.DataFrame, int]:
    """Keep one row per person: the first attempt, with what it and its repetitions came to."""
    rows = attempts.sort_values(["person", "date", "new", "lot", *PLACES, "reached", "funded"], kind="stable")
    start = rows.groupby("person", sort=False)["date"].transform("min")
    near = rows[rows["date"] <= start + pd.Timedelta(days=retry_days)]
    paid = near.assign(amount=near["amount"].where((near["funded"] == 0) | near["amount"].notna(), np.inf))
    grouped = paid.groupby("person", sort=False)
    crossed = int((grouped["new"].nunique() > 1).sum())
    first = near.drop_duplicates("person").set_index("person")
    best = grouped[["reached", "funded", "amount"]].max()
    best["amount"] = best["amount"].replace(np.inf, np.nan)
    first[best.columns] = best
    return first.reset_index(drop=True), crossed
