"""What would overturn the effect of an initiative: another prior, and places that drift apart."""

from __future__ import annotations

import pandas as pd

from rox.core.effect import Effect
from rox.reporting import estimates, uplift_figures
from rox.reporting.blocks import Column, Figure, Table
from rox.reporting.numbers import form
from rox.reporting.request import Request
from rox.reporting.svg import inline_svg

NORMAL_90 = 1.6449


def priors(request: Request, effect: Effect, place: int) -> Figure:
    """Show the effect before and after the data, for three priors."""
    language, say, table = request.language, request.say, effect.tables["priors"]
    unit, currency = estimates.unit_of(effect.estimand), effect.estimand.currency
    reach = NORMAL_90 * table["prior_sd"]
    before = pd.DataFrame(
        {"middle": table["prior_mean"], "low": table["prior_mean"] - reach, "high": table["prior_mean"] + reach}
    )
    after = table[["mean", "low", "high"]].rename(columns={"mean": "middle"})
    shape = estimates.form_of(effect, language, pd.concat([before, after]))
    share = form("share", language, like=(0.5,), step=0.01)
    return Figure(
        svg=inline_svg(
            lambda ax: uplift_figures.priors(table, ax, language=language, unit=unit, currency=currency),
            key=f"fig-priors-{place}",
            title=say("figure.priors.title"),
            description=say("figure.priors.caption"),
            size=(7.2, 2.2),
        ),
        caption=say("figure.priors.caption"),
        table=Table(
            caption=say("figure.priors.title"),
            columns=(
                Column(say("column.prior")),
                Column(say("column.believed"), "number"),
                Column(say("column.estimate"), "number"),
                Column(say("column.range"), "number"),
                Column(say("column.positive"), "number"),
                Column(say("column.prior_weight"), "number"),
            ),
            rows=tuple(
                (
                    say(f"figure.prior.{name}"),
                    shape.between(low, high),
                    shape.number(row["mean"]),
                    shape.between(row["low"], row["high"]),
                    share.number(row["p_positive"]),
                    share.number(row["prior_weight"]),
                )
                for (name, row), low, high in zip(table.iterrows(), before["low"], before["high"], strict=True)
            ),
        ),
    )


def honest(request: Request, effect: Effect, place: int) -> Figure:
    """Show the sets that hold the effect if places drift apart after the start."""
    language, say, table = request.language, request.say, effect.tables["honest"]
    unit, currency = estimates.unit_of(effect.estimand), effect.estimand.currency
    rows = table.assign(middle=(table["low"] + table["high"]) / 2)
    shape = estimates.form_of(effect, language, rows)
    return Figure(
        svg=inline_svg(
            lambda ax: uplift_figures.honest(table, ax, language=language, unit=unit, currency=currency),
            key=f"fig-honest-{place}",
            title=say("figure.honest.title"),
            description=say("figure.honest.caption"),
            size=(7.2, 2.6),
        ),
        caption=say("figure.honest.caption"),
        table=Table(
            caption=say("figure.honest.title"),
            columns=(Column(say("column.drift"), "number"), Column(say("column.range"), "number")),
            rows=tuple((f"{bound:g}", shape.between(row["low"], row["high"])) for bound, row in table.iterrows()),
        ),
    )
