"""What a report says in words: every sentence follows from one decision and from the grades of its effects.

Verbs come from the grade: A and B may say "raised", C "is consistent with raising", D and E "goes with". No sentence
judges draws by itself, so no two of them can contradict each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from rox.core.check import Check, Grade, Verdict
from rox.core.effect import Effect
from rox.core.estimand import Channel, Estimand, Question
from rox.core.returns import Advice, Decision, Return
from rox.core.units import Unit
from rox.core.words import Language, say
from rox.reporting import estimates
from rox.reporting.blocks import Tone
from rox.reporting.numbers import MINUS, Form, count, form, probability, significant, step_of, written

Strength = Literal["causal", "consistent", "goes_with"]
JUST_SEEN = 0.005
"""Share below which a part of the benefit is not named."""
CHANNELS: tuple[Channel, ...] = get_args(Channel)
SIGNS: dict[Advice, tuple[str, Tone]] = {
    Advice.GO: ("✓", "good"),
    Advice.LEARN_FIRST: ("?", "warn"),
    Advice.STOP: ("✕", "bad"),
}


def strength(grade: Grade) -> Strength:
    """Return which verbs a grade allows."""
    if grade.is_causal:
        return "causal"
    return "consistent" if grade is Grade.C else "goes_with"


def npv_form(money: Return, language: Language) -> Form:
    """Choose how NPVs are written: to what the 90% range supports, but never so coarsely that a sign gets lost."""
    decision = money.decision
    like = (decision.npv, decision.low, decision.high, decision.expected_npv)
    step = step_of(decision.low, decision.high)
    return replace(form("money", language, like=like, step=step, currency=money.case.about.currency), keeps_sign=True)


def advice(decision: Decision, language: Language) -> str:
    """Name what the figures support."""
    return say(f"advice.{decision.advice}", language)


def shortfalls(decision: Decision) -> str:
    """Return which conditions of "go" are not given.

    Returns:
        ``none``, ``value``, ``risk`` (the mean is positive, but too little for its risk), ``odds``, ``grade``,
        ``odds_and_grade`` or, where these are given, ``stated``: too much of the money was measured by nobody.
    """
    if decision.criterion <= 0:
        return "value" if decision.expected_npv <= 0 else "risk"
    odds, grade = decision.p_positive < decision.enough, not decision.grade.is_causal
    if odds or grade:
        return "odds_and_grade" if odds and grade else "odds" if odds else "grade"
    return "none" if decision.stands_without_stated else "stated"


def answer(money: Return, language: Language) -> str:
    """Say what follows, what it is worth, how sure that is, and what is missing for a go."""
    decision, shape = money.decision, npv_form(money, language)
    values = {
        "title": money.case.about.title[language],
        "months": money.ledger.horizon,
        "npv": shape(decision.npv),
        "range": shape.between(decision.low, decision.high),
        "expected": shape(decision.expected_npv),
        "p": odds(money, language),
        "enough": probability(decision.enough, language),
        "grade": decision.grade,
        **_risk(decision, shape, language),
        **_stated(decision, language),
    }
    return say(f"answer.{decision.advice}.{shortfalls(decision)}", language, **values)


def criteria(money: Return, language: Language) -> Iterator[tuple[str, str, str, bool]]:
    """Iterate over the conditions of "go": what it is, what is asked for, what was found, whether it is met."""
    decision, shape = money.decision, npv_form(money, language)
    words = _risk(decision, shape, language)
    yield (
        say("criterion.risk" if decision.risk_aversion else "criterion.value", language, **words),
        say("criterion.value.asked", language),
        shape(decision.criterion),
        decision.criterion > 0,
    )
    yield (
        say("criterion.odds", language),
        say("criterion.odds.asked", language, enough=probability(decision.enough, language)),
        odds(money, language),
        decision.p_positive >= decision.enough,
    )
    yield (
        say("criterion.grade", language),
        say("criterion.grade.asked", language),
        say(f"grade.{decision.grade}.name", language, grade=decision.grade),
        decision.grade.is_causal,
    )
    if decision.stated:
        yield (
            say("criterion.stated", language, **_stated(decision, language)),
            say(
                "criterion.stated.asked",
                language,
                enough=probability(decision.enough, language),
                **_stated(decision, language),
            ),
            probability(decision.p_without_stated, language, apart_from=decision.enough),
            decision.stands_without_stated,
        )


def odds(money: Return, language: Language) -> str:
    """Write the chance that NPV is above zero, and that no draw is where none is."""
    decision = money.decision
    if decision.p_positive == 0:
        return say("number.none_of", language, n=count(len(money.draws["npv"]), language))
    return probability(decision.p_positive, language, apart_from=decision.enough)


def _stated(decision: Decision, language: Language) -> dict[str, str]:
    """Write what was stated and measured by nobody; without any there is nothing to write."""
    if not decision.stated:
        return {}
    shape = form("share", language, like=(1.0,), step=0.01)
    return {
        "stated": shape(decision.stated),
        "small": shape(decision.small),
        "without": probability(decision.p_without_stated, language, apart_from=decision.enough),
    }


def _risk(decision: Decision, shape: Form, language: Language) -> dict[str, str]:
    """Write what decides under a policy averse to risk; without one there is nothing to write."""
    if not decision.risk_aversion:
        return {}
    gamma = form("number", language, like=(decision.risk_aversion,), step=significant(decision.risk_aversion, 2))
    return {
        "criterion": shape(decision.criterion),
        "cvar": shape(decision.cvar),
        "gamma": gamma.number(decision.risk_aversion),
    }


def returns(money: Return, language: Language) -> str:
    """Say how likely the hurdle is beaten, or that nothing is spent on which there could be a return."""
    decision = money.decision
    if math.isnan(decision.p_hurdle):
        return say("tile.roi.free", language)
    return say(
        "tile.roi.detail",
        language,
        hurdle=written("share", language)(decision.hurdle),
        p=probability(decision.p_hurdle, language),
    )


def payback(money: Return, language: Language) -> tuple[str, str]:
    """Say when the money is back, and in how many draws: a value and a remark."""
    decision, months = money.decision, money.ledger.horizon
    share = probability(decision.p_payback, language)
    if math.isnan(decision.payback):
        return say("payback.open", language), say("payback.open.detail", language, p=share, months=months)
    return (
        form("months", language)(decision.payback),
        say("payback.known.detail", language, p=share, months=months),
    )


def finding(effect: Effect, language: Language, outcome: str) -> str:
    """Say what one effect found, in the verbs its grade allows.

    Args:
        effect: The effect.
        language: Of the sentence.
        outcome: The outcome's name in that language.
    """
    row = estimates.summary(effect).iloc[-1]
    estimand = effect.estimand
    direction = "up" if row["low"] > 0 else "down" if row["high"] < 0 else "open"
    is_exit = estimand.unit is Unit.LOG_HAZARD
    shape = estimates.form_of(effect, language, pd.DataFrame([row]))
    size = shape.number(row["middle"])
    words = {
        "subject": say(f"subject.{estimand.dose}", language),
        "outcome": say("outcome.exits", language) if is_exit else outcome,
        "amount": size if direction == "open" else size.lstrip(f"+{MINUS}"),
        "range": shape.between(row["low"], row["high"]),
        "after": _when(estimand, language),
    }
    if estimand.is_descriptive:
        return say(f"finding.people.{direction}", language, **words)
    verb = "open" if direction == "open" else f"{strength(effect.grade)}.{direction}"
    return say(f"finding.{verb}", language, **words)


def _when(estimand: Estimand, language: Language) -> str:
    if estimand.window is not None:
        return say("after.window", language, first=estimand.window[0], last=estimand.window[1])
    return say("after", language, time=form("months", language)(estimand.horizon)) if estimand.horizon else ""


def grade_reasons(checks: Iterable[Check], grade: Grade, language: Language) -> tuple[str, ...]:
    """Say what a grade means and which checks lowered it."""
    lowering = [check for check in checks if check.verdict in (Verdict.DEMOTE, Verdict.STOP)]
    said = tuple(
        say("grade.lowered", language, code=check.code, sentence=check.sentence(language)) for check in lowering
    )
    return (say(f"grade.{grade}", language), *(said or (say("grade.kept", language),)))


def evidence_split(money: Return, language: Language) -> tuple[str, ...]:
    """Say which share of the present benefit rests on which evidence, and what is only claimed."""
    table = money.by_grade
    counted = table[table["counted"] & table["share"].notna()]
    shares = counted[counted["share"].abs() >= JUST_SEEN].sort_values("share", ascending=False, kind="stable")
    shape = form("share", language, like=(1.0,), step=0.01)
    if shares.empty:
        said = [say("by_grade.none", language)]
    elif len(shares) == 1 and shares.index[0] in list(Grade) and shares["mean"].iloc[0] > 0:
        said = [say("by_grade.all", language, grade=shares.index[0])]
    else:
        parts = (
            say(
                f"by_grade.{'part' if grade in list(Grade) else 'declared'}" if mean >= 0 else _away(grade),
                language,
                share=shape(share),
                grade=grade,
            )
            for grade, mean, share in zip(shares.index, shares["mean"], shares["share"], strict=True)
        )
        whole = "by_grade.amounts" if (shares["mean"] < 0).any() else "by_grade.sentence"
        said = [say(whole, language, parts=say("watched.and", language).join(parts))]
    said += months_after(money, language)
    if "npv_with_claims" in money.point:
        claims = estimates.joined((each.name for each in money.effects if each.grade is Grade.E), language)
        npv = npv_form(money, language)(float(money.point["npv_with_claims"][0]))
        said.append(say("by_grade.claims", language, claims=claims, npv=npv))
    return tuple(said)


def _away(grade: Any) -> str:
    return "by_grade.away" if grade in list(Grade) else "by_grade.declared.away"


def worth_knowing(money: Return, language: Language) -> str:
    """Say what perfect information would be worth, which bounds the price of any study."""
    evpi = money.decision.evpi
    if evpi <= 0:
        return say("evpi.none", language)
    shape = form("money", language, like=(evpi,), step=significant(evpi, 2), currency=money.case.about.currency)
    return say("evpi", language, evpi=shape(evpi))


def turning_points(money: Return, language: Language, most: int = 5) -> tuple[str, ...]:
    """Say at which value of one input, the others held, NPV is zero; the nearest first."""
    table = money.tornado.dropna(subset=["break_even"])
    table = table[table["value"] != 0]
    distance = (table["break_even"] / table["value"] - 1).abs()
    said = []
    for place in distance.sort_values(kind="stable").index[:most]:
        row = table.loc[place]
        shape = form_of_factor(row, language, money.case.about.currency)
        change = row["break_even"] / row["value"] - 1
        said.append(
            say(
                "turn.down" if row["break_even"] < row["value"] else "turn.up",
                language,
                name=row[language],
                value=shape.number(row["value"]),
                turn=shape.number(row["break_even"]),
                change=form("share", language, like=(1.0,), step=0.01, signed=True)(change),
            )
        )
    return tuple(said) or (say("turn.none", language),)


def form_of_factor(row: pd.Series[Any], language: Language, currency: str) -> Form:
    """Choose how the values of one row of the tornado are written."""
    places = [row["value"], row["low"], row["high"]]
    step = step_of(row["low"], row["high"]) or significant(float(row["value"]), 3)
    return form(str(row["unit"]), language, like=places, step=step, currency=currency)


def at_other_grades(money: Return) -> pd.Series[float]:
    """Return NPV on the point path if every effect had the evidence discount of another grade; index grade.

    A claim, which is in no total, counts here as if it had been measured.
    """
    total = "npv_with_claims" if "npv_with_claims" in money.point else "npv"
    names = [each.name for each in money.ledger.inputs if each.name in {f"evidence_{e.name}" for e in money.effects}]
    found = {
        grade: float(money.ledger.totals({**money.ledger.point, **dict.fromkeys(names, layer.mean)})[total][0])
        for grade, layer in money.layers.items()
    }
    return pd.Series(found, name="npv")


def not_said(money: Return, language: Language) -> Iterator[str]:
    """Iterate over what a reader might read into the figures and must not."""
    case, effects = money.case, money.effects
    if not money.grade.is_causal:
        yield say("not_said.cause", language, grade=money.grade)
    measured = max(effect.estimand.horizon for effect in effects)
    months = money.ledger.horizon
    if measured < months:
        yield say("not_said.later", language, measured=measured, months=months)
    held = {channel for effect in effects for channel in effect.estimand.channels}
    held |= {benefit.channel for benefit in case.benefits.values()}
    held |= {channel for channel in CHANNELS if channel in set(money.channels["channel"])}
    if absent := [channel for channel in CHANNELS if channel not in held]:
        names = estimates.joined((say(f"channel.{each}", language) for each in absent), language)
        yield say("not_said.channels", language, channels=names)
    if not all(effect.estimand.includes_exit for effect in effects):
        yield say("not_said.exits", language)
    for key in ("beyond", "people"):
        yield say(f"not_said.{key}", language, months=months)
    yield drawn_together(money, language, "not_said.correlated", "not_said.independent")
    yield say("not_said.range", language)


def drawn_together(money: Return, language: Language, key: str, without: str = "correlated.register.none") -> str:
    """Say which assumptions are drawn together, and that all others are not; another sentence where none is."""
    labels = {each.place: each.label(language) for each in money.ledger.inputs if each.kind == "assumption"}
    shape = written("number", language)
    pairs = [
        say(
            "correlated.pair",
            language,
            first=labels.get(each.between[0], each.between[0]),
            second=labels.get(each.between[1], each.between[1]),
            rank=shape.number(each.rank),
        )
        for each in money.case.correlation
    ]
    return say(key, language, pairs=say("watched.and", language).join(pairs)) if pairs else say(without, language)


def months_after(money: Return, language: Language) -> Iterator[str]:
    """Say how much of what the measured effects bring falls after the months that were measured, on the point path."""
    total = later = 0.0
    seen = set()
    at = np.arange(money.ledger.horizon + 1)
    for effect in money.effects:
        names = [name for name in money.point if re.fullmatch(rf"income_{re.escape(effect.name)}_\d+", name)]
        if not names or effect.grade is Grade.E or not effect.estimand.horizon:
            continue
        flow = sum(np.broadcast_to(money.point[name] * money.point["discount_factor"], at.shape) for name in names)
        total += float(np.sum(flow))
        later += float(np.sum(np.asarray(flow)[at > effect.estimand.horizon]))
        seen.add(effect.estimand.horizon)
    if later > 0 and total > 0:
        shape = form("share", language, like=(1.0,), step=0.01)
        months = estimates.joined((str(each) for each in sorted(seen)), language)
        yield say("by_grade.later", language, share=shape(later / total), months=months)


def unpriced(rival: Effect, money: Return, language: Language) -> str:
    """Say why an estimate that is shown is not priced."""
    priced = {channel for effect in money.effects for channel in effect.estimand.channels}
    if rival.estimand.is_descriptive:
        return say("unpriced.people", language)
    if shared := sorted(priced & rival.estimand.channels):
        names = estimates.joined((say(f"channel.{each}", language) for each in shared), language)
        return say("unpriced.twice", language, channels=names)
    return say("unpriced.other", language)


def question_in_words(question: Question, language: Language) -> str:
    """Say a question as a reader would ask it."""
    return say(f"question.{question}", language)
