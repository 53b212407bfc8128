"""Whether a model uses what nobody could know at the time: who leaves, what is answered, what comes of it later."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
import pandas as pd

from rox.core.effect import Effect
from rox.core.linked import Linked
from rox.core.units import MONEY, Dose
from rox.testing.held import Held
from rox.testing.invariance import Estimator, same_effect
from rox.testing.planted import differ, planted_linked

LAST_MONTHS = 3
"""Months before an exit in which a customer's doings must still count."""
FEWEST_LEAVERS = 30
"""Customers with an answer in their last months that are needed to tell whether those months count."""
AFTERWARDS = 4
"""Months after the panel's end at which exits are added that nobody could know of."""
LATE_DAYS = 15
"""Days before the extract, per month of the horizon, in which whoever starts cannot be followed to the horizon."""


def hindsight(
    estimator: Estimator,
    held: Held,
    effect: Effect,
    seed: int,
    *,
    steady: Callable[[], bool],
    read: Collection[str] = (),
) -> list[str]:
    """Advise where a model knows who will leave.

    Two variants of the data tell. In one, what customers did and answered in the months before they left is another
    story: a model that it does not move has left these customers out because they left. In the other, some of those who
    are still there leave after the end of the panel: a model that it does move looks at exits ahead of its data. A
    model of applicants, who are no customers yet, is asked instead whether it counts those who started so shortly
    before the extract that nobody can know what they will hold.

    Args:
        estimator: The model under test.
        held: The data.
        effect: The answer to compare with.
        seed: That of the answer.
        steady: Tells whether draws can be compared one by one.
        read: Names of the further tables that it read.
    """
    advice = []
    frame, newcomers = held.frame, effect.estimand.channels == {"acquisition"}
    if not effect.estimand.is_descriptive and not newcomers:
        last = _last_months(frame, scored=bool(held.data.score))
        if frame.loc[last, "customer"].nunique() >= FEWEST_LEAVERS:
            again = estimator.fit(replace(held, frame=_another_story(held, last)).linked(), rng=seed)
            if same_effect(effect, again):
                advice.append(
                    "it conditions on survivors: what customers did in the months before they left makes no "
                    "difference, so they were dropped because of something that happened later; use every month up to "
                    "the exit"
                )
    again = estimator.fit(replace(held, frame=_exits_ahead(frame)).linked(), rng=seed)
    if not same_effect(effect, again, exact=steady):
        advice.append(
            "exits after the last month of the panel change the effect; nobody can know them there: treat an "
            "exit_month beyond the last month as none"
        )
    if newcomers and "applicants" in read:
        again = estimator.fit(_all_of_them_opened(held, effect.estimand.horizon).linked(), rng=seed)
        if not same_effect(effect, again, exact=steady):
            advice.append(
                "what became of applicants who started shortly before the extract changes the effect; nobody can know "
                f"it {effect.estimand.horizon} months after the start: leave out who started too late to be followed"
            )
    return advice


def later_answers(estimator: Estimator, data: Linked, effect: Effect, seed: int, *, plain: Effect) -> list[str]:
    """Advise where a model explains money by answers that came after it.

    In a planted panel each answer is moved by the money of its own month, and money by the answers before it as ever.
    The effect of an earlier answer is unchanged, so a model that finds another one has used the answers themselves.

    Args:
        estimator: The model under test.
        data: Whose names of scores, outcomes and controls the planted panel takes.
        effect: Its answer to these data, which says what it estimates.
        seed: Of panel and fit.
        plain: Its answer where answers do not follow money.
    """
    if effect.estimand.unit not in MONEY or effect.estimand.dose is not Dose.SCORE_POINT:
        return []
    echoed = estimator.fit(planted_linked(effect.estimand, data=data, echo=1.0, seed=seed), rng=seed)
    if not differ(plain, echoed):
        return []
    return [
        "it uses a later score: where answers follow the money of their own month, it finds "
        f"{echoed.overall.mean():.3g} instead of {plain.overall.mean():.3g}; a score may explain only money of the "
        "months after its answer, so never shift or fill scores backwards"
    ]


def _last_months(frame: pd.DataFrame, *, scored: bool) -> pd.Series:
    """Mark the rows shortly before an exit or, where scores are linked, those with an answer given shortly before.

    Exits in the panel's last month are left out: whoever looks at that month alone sees those customers too.
    """
    since = frame["month"] - frame["score_age"] if scored else frame["month"]
    near: pd.Series = (frame["exit_month"] < frame["month"].max()) & (since >= frame["exit_month"] - LAST_MONTHS)
    return near


def _another_story(held: Held, last: pd.Series) -> pd.DataFrame:
    """Turn the answers of the last months around and multiply their money, by another factor for each customer."""
    scale, frame = held.data.study.scores.get(held.data.score), held.frame
    around = 10.0 if scale is None else float(scale.low + scale.high)
    money = frame["outcome"].where(~last, frame["outcome"] * (2 + frame["customer"] % 3))
    return frame.assign(outcome=money, score=frame["score"].where(~last, around - frame["score"]))


def _exits_ahead(frame: pd.DataFrame) -> pd.DataFrame:
    leaves = frame["exit_month"].isna() & (frame["customer"] % 3 == 0)
    ahead = np.where(leaves, frame["month"].max() + AFTERWARDS, frame["exit_month"])
    return frame.assign(exit_month=ahead, voluntary=frame["voluntary"].astype(bool) | leaves)


def _all_of_them_opened(held: Held, horizon: int) -> Held:
    """Let every late applicant with the new form open an account at once, and nobody with the old one."""
    rows = held.records["applicants"]
    extract = pd.Timestamp(held.data.study.about.extract)
    late = pd.to_datetime(rows["date"]) > extract - pd.Timedelta(days=LATE_DAYS * horizon)
    new = rows["variant"].eq("new") if "variant" in rows else pd.Series(True, index=rows.index)
    changes = {"funded": new.astype(int)}
    if "reached" in rows:
        changes["reached"] = rows["reached"].max() * new + (rows["reached"].min() * ~new)
    if "amount" in rows:
        changes["amount"] = 2 * rows["amount"].max() * new
    changed = {name: rows[name].where(~late, values) for name, values in changes.items() if name in rows}
    return replace(held, records={**held.records, "applicants": rows.assign(**changed)})
