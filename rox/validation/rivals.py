"""Recipes in common use, done plainly: what somebody in a hurry would compute from the same tables.

Each takes the tables of a bank and returns an estimate and the standard error its software prints. None of them is part
of the estimators; they stand beside them so that a figure from elsewhere can be recognised.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from lifelines import CoxPHFitter, CoxTimeVaryingFitter

Tables = Mapping[str, pd.DataFrame]
Recipe = Callable[[Tables], tuple[float, float]]

VOLUNTARY = ("moved_to_competitor", "fees", "service", "closed_unused")
BEFORE, AFTER = 6, (6, 11)
"""Months before a refit, and months since it, that before-and-after compares."""
OWN, YEAR, SOON, CAP = 3, 12, 30, 3.0
"""Months of own money before a ticket, months until it is read again, days in which a call is soon, largest ratio."""


def promoter_gap(tables: Tables) -> tuple[float, float]:
    """Divide promoters' mean money less detractors' by the difference of their mean scores."""
    rows = _money_beside_answers(tables)
    high, low = rows[rows["nps"] >= 9], rows[rows["nps"] <= 6]
    points = _mean(high, "nps") - _mean(low, "nps")
    gap = _mean(high, "aum") - _mean(low, "aum")
    return gap / points, float(np.hypot(_error(high, "aum"), _error(low, "aum"))) / points


def pooled_ols(tables: Tables) -> tuple[float, float]:
    """Regress money on the score of the same month, all answers together."""
    rows = _money_beside_answers(tables)
    fit = smf.wls("aum ~ nps", rows, weights=rows["design_weight"]).fit()
    return float(fit.params["nps"]), float(fit.bse["nps"])


def quartiles(tables: Tables) -> tuple[float, float]:
    """Compare the last month's money of the happiest and the unhappiest quarter, per point between them."""
    ledger = tables["ledger"]
    now = ledger.loc[ledger["month"] == ledger["month"].max(), ["customer_id", "aum"]]
    score = tables["answers"].groupby("customer_id")["nps"].mean().astype(float).rename("nps").reset_index()
    rows = score.merge(now).merge(tables["customers"][["customer_id", "design_weight"]])
    quarter = pd.qcut(rows["nps"].rank(method="first"), 4, labels=False)
    high, low = rows[quarter == 3], rows[quarter == 0]
    points = _mean(high, "nps") - _mean(low, "nps")
    gap = _mean(high, "aum") - _mean(low, "aum")
    return gap / points, float(np.hypot(_error(high, "aum"), _error(low, "aum"))) / points


def carried_forward(tables: Tables) -> tuple[float, float]:
    """Carry each customer's last answer forward and regress every month's money on it."""
    rows = tables["ledger"][["customer_id", "month", "aum"]].merge(_by_month(tables), how="left")
    rows = rows.sort_values(["customer_id", "month"])
    rows["nps"] = rows.groupby("customer_id")["nps"].ffill()
    rows = rows[rows["nps"].notna()].merge(tables["customers"][["customer_id", "design_weight"]])
    fit = smf.wls("aum ~ nps", rows, weights=rows["design_weight"]).fit()
    return float(fit.params["nps"]), float(fit.bse["nps"])


def first_score_cox(tables: Tables) -> tuple[float, float]:
    """Fit a Cox model of leaving on the first answer, counted from that answer on."""
    spells = _spells(tables)
    first = spells.sort_values("month").drop_duplicates("customer_id")
    rows = pd.DataFrame({"nps": first["nps"], "months": first["end"] - first["month"] + 1, "left": first["left"]})
    fit = CoxPHFitter().fit(rows, "months", "left")
    return float(fit.params_["nps"]), float(fit.standard_errors_["nps"])


def carried_forward_cox(tables: Tables) -> tuple[float, float]:
    """Fit a Cox model of leaving on the last answer, carried forward until the next one."""
    spells = _spells(tables).sort_values(["customer_id", "month"])
    following = spells.groupby("customer_id")["month"].shift(-1)
    rows = pd.DataFrame(
        {
            "customer_id": spells["customer_id"],
            "nps": spells["nps"],
            "start": spells["month"].astype(float),
            "stop": following.fillna(spells["end"] + 0.5),
            "left": spells["left"] & following.isna(),
        }
    )
    fit = CoxTimeVaryingFitter().fit(rows, id_col="customer_id", event_col="left", start_col="start", stop_col="stop")
    return float(fit.params_["nps"]), float(fit.standard_errors_["nps"])


def called_or_not(tables: Tables) -> tuple[float, float]:
    """Compare money a year after the first ticket, over own money, of customers called soon and of the others."""
    tickets = tables["tickets"].sort_values(["customer_id", "opened"]).drop_duplicates("customer_id")
    tickets = tickets.assign(month=_month(tickets["opened"]))
    ledger = tables["ledger"].assign(now=_month(tables["ledger"]["month"]))[["customer_id", "now", "aum"]]
    rows = tickets.merge(ledger, on="customer_id")
    since = rows["now"] - rows["month"]
    before = rows[since.between(-OWN, -1)].groupby("customer_id")["aum"].mean()
    after = rows[since == YEAR].groupby("customer_id")["aum"].first()
    people = tickets[tickets["month"] + YEAR <= ledger["now"].max()].set_index("customer_id")
    own = before.reindex(people.index)
    ratio = (after.reindex(people.index).fillna(0.0) / own.where(own > 0)).clip(upper=CAP)
    weight = tables["customers"].set_index("customer_id")["design_weight"].reindex(people.index)
    soon = (people["contacted"] - people["opened"]).dt.days <= SOON
    table = pd.DataFrame({"ratio": ratio, "design_weight": weight, "soon": soon}).dropna()
    called, others = table[table["soon"]], table[~table["soon"]]
    return _mean(called, "ratio") - _mean(others, "ratio"), float(
        np.hypot(_error(called, "ratio"), _error(others, "ratio"))
    )


def before_after(tables: Tables) -> tuple[float, float]:
    """Compare refitted branches with themselves: money some months after the refit over money before it."""
    money, start = _branches(tables)
    gains = []
    for branch, begin in start.items():
        mine = money[money["branch_id"] == branch]
        since = mine["month"] - begin
        after = mine.loc[since.between(*AFTER), "money"]
        before = mine.loc[since.between(-BEFORE, -1), "money"]
        if len(after) and len(before):
            gains.append(float(after.mean() / before.mean()) - 1)
    return float(np.mean(gains)), float(np.std(gains, ddof=1) / np.sqrt(len(gains)))


def twfe(tables: Tables) -> tuple[float, float]:
    """Regress log money of branches on "already refitted" with effects of branch and month."""
    money, start = _branches(tables)
    on = (money["month"] >= money["branch_id"].map(start)).astype(float)
    rows = money.assign(log_money=np.log(money["money"]), on=on)
    groups = pd.factorize(rows["branch_id"])[0]
    model = smf.ols("log_money ~ on + C(branch_id) + C(month)", rows)
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
    return float(fit.params["on"]), float(fit.bse["on"])


def plainly(recipe: Recipe, tables: Tables) -> tuple[float, float]:
    """Follow a recipe as people do who read no warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return recipe(tables)


def _month(dates: pd.Series) -> pd.Series:
    months: pd.Series = 12 * dates.dt.year + dates.dt.month - 1
    return months


def _by_month(tables: Tables) -> pd.DataFrame:
    """Give each customer's last answer of a month, dated by the month's first day as the ledger is."""
    answers = tables["answers"][["customer_id", "answered", "nps"]].dropna().sort_values("answered")
    month = answers["answered"].dt.to_period("M").dt.to_timestamp().astype("datetime64[s]")
    rows = pd.DataFrame({"customer_id": answers["customer_id"], "month": month, "nps": answers["nps"].astype(float)})
    return rows.drop_duplicates(["customer_id", "month"], keep="last")


def _money_beside_answers(tables: Tables) -> pd.DataFrame:
    rows = _by_month(tables).merge(tables["ledger"][["customer_id", "month", "aum"]])
    return rows.merge(tables["customers"][["customer_id", "design_weight"]])


def _spells(tables: Tables) -> pd.DataFrame:
    """Give each answer with its month, and the customer's last month and whether it ended by the customer's choice."""
    answers = _by_month(tables)
    exits = tables["exits"]
    gone = exits.assign(end=_month(exits["exited"]), left=exits["reason"].isin(VOLUNTARY))
    rows = answers.assign(month=_month(answers["month"])).merge(gone[["customer_id", "end", "left"]], how="left")
    last = int(_month(tables["ledger"]["month"]).max())
    return rows.assign(end=rows["end"].fillna(last), left=rows["left"].eq(True))


def _branches(tables: Tables) -> tuple[pd.DataFrame, Mapping[str, int]]:
    """Give mean money per customer by branch and month, and the months of the refits."""
    where = tables["customers"][["customer_id", "branch_id", "design_weight"]]
    rows = tables["ledger"][["customer_id", "month", "aum"]].merge(where)
    rows = rows.assign(month=_month(rows["month"]), money=rows["aum"] * rows["design_weight"])
    sums = rows.groupby(["branch_id", "month"])[["money", "design_weight"]].sum()
    refits = tables["initiatives"]
    start = dict(zip(refits["branch_id"], _month(refits["start"]), strict=True))
    return sums.assign(money=sums["money"] / sums["design_weight"]).reset_index(), start


def _mean(rows: pd.DataFrame, column: str) -> float:
    return float(np.average(rows[column], weights=rows["design_weight"]))


def _error(rows: pd.DataFrame, column: str) -> float:
    weight = rows["design_weight"].to_numpy() / rows["design_weight"].sum()
    away = rows[column].to_numpy() - _mean(rows, column)
    return float(np.sqrt((weight**2 * away**2).sum()))
