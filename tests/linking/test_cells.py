"""One scan gives cells from which models get what the rows give."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from rox.core.buckets import MULTIPLIER, PRIME, SHIFT
from rox.core.cells import Cells
from rox.core.derived import Ahead, Bins, Growth, LogBins, OwnMean, Previous
from rox.core.errors import DataError
from rox.core.linked import Linked
from rox.core.reduction import Reduction
from rox.linking.link import link
from rox.linking.tables import Tables
from rox.models.rollout import rollout
from rox.numerics.aggregate import aggregate_window
from rox.numerics.did import group_time_att
from rox.numerics.glm import grouped_glm
from rox.numerics.grouped import dummies, unit_panel
from rox.numerics.grouped_hazard import grouped_hazard
from rox.numerics.grouped_ols import grouped_ols
from rox.testing import linked_from_frame, sample_linked


@pytest.fixture(scope="module")
def data() -> Linked:
    return sample_linked(customers=500, months=30, seed=3)


@pytest.fixture(scope="module")
def rows(data: Linked) -> pd.DataFrame:
    return data.frame()


def bucket_of(customer: int, buckets: int) -> int:
    start = (customer % PRIME * MULTIPLIER + SHIFT) % PRIME
    return int(pow(start, 5, PRIME)) % buckets


def test_sums_are_those_of_the_rows_and_exact(data: Linked, rows: pd.DataFrame) -> None:
    cells = data.cells(by=["segment", "month"], sums=["outcome", "outcome^2", "outcome*products"])
    cents = [int(Decimal(str(value)) * 100) for value in rows["outcome"]]
    exact = rows.assign(
        cents=cents,
        squares=[c * c for c in cents],
        products=[c * int(p) * 2**30 for c, p in zip(cents, rows["products"], strict=True)],
        bucket=[bucket_of(int(each), 64) for each in rows["customer"]],
    )
    grouped = exact.groupby(["segment", "month", "bucket"])
    for name, column in {"outcome": "cents", "outcome^2": "squares", "outcome*products": "products"}.items():
        assert [int(v) for v in cells.frame[name]] == grouped[column].sum().tolist()
    assert cells.frame["n"].tolist() == grouped.size().tolist()
    assert cells.frame["customers"].tolist() == grouped["customer"].nunique().tolist()
    assert cells.per_unit == {"n": 1, "outcome": 100, "outcome^2": 10_000, "outcome*products": 100 * 2**30}
    assert_allclose(cells.total()["outcome"], rows.groupby(["segment", "month"])["outcome"].sum(), rtol=1e-12)


def test_buckets_are_fixed_numbers_spread_evenly(data: Linked) -> None:
    assert [bucket_of(each, 64) for each in (0, 1, 2, 10**6, 2**31)] == [27, 17, 16, 25, 17]
    many = linked_from_frame(pd.DataFrame({"customer": np.arange(20_000), "month": 1, "outcome": 1.0}))
    counts = many.cells(by=[], sums=[]).frame["n"]
    expected = 20_000 / 64
    assert len(counts) == 64
    assert ((counts - expected) ** 2 / expected).sum() < 103  # 99.9% point of chi-squared with 63 degrees of freedom
    assert data.cells(by=[], sums=[], buckets=8).frame["bucket"].tolist() == list(range(8))


def test_months_add_to_the_whole_exactly(data: Linked) -> None:
    first = int(data.panel["month"].min())

    def cells(months: tuple[int, int] | None) -> Cells:
        return data.cells(
            by={"segment": "segment", "month": "month", "size": LogBins(column="outcome", width=0.5)},
            sums=["outcome^2", "growth", "growth^2"],
            within={"growth": Growth(column="outcome", months=-6)},
            known=["growth"],
            months=months,
        )

    parts = [cells((first, first + 11)), cells((first + 12, first + 19)), cells((first + 20, first + 40))]
    whole = cells(None)
    for added in (parts[0] + parts[1] + parts[2], parts[2] + (parts[0] + parts[1])):
        assert_frame_equal(added.frame, whole.frame)
        assert added.definition == whole.definition
    assert len({each.fingerprint for each in (*parts, whole)}) == 4
    assert cells(None).fingerprint == whole.fingerprint
    with pytest.raises(DataError, match="count twice"):
        whole + cells(None)


def test_columns_that_look_ahead_add_within_one_state_of_the_data(data: Linked) -> None:
    first = int(data.panel["month"].min())
    later = dataclasses.replace(data, fingerprint="of a longer ledger")
    ahead = {"g": Growth(column="outcome", months=3)}
    for maker, is_free in (
        (Growth(column="outcome", months=3), False),
        (OwnMean(column="outcome"), False),
        (lambda t: t.outcome.max().over(group_by="customer"), False),
        (Growth(column="outcome", months=-3), True),
        (lambda t: t.outcome / 1000, True),
    ):
        old = data.cells(by=[], sums=["g"], within={"g": maker}, known=["g"], months=(first, first + 9))  # type: ignore[dict-item]
        new = later.cells(by=[], sums=["g"], within={"g": maker}, known=["g"], months=(first + 10, first + 20))  # type: ignore[dict-item]
        if is_free:
            assert len(old + new)
        else:
            with pytest.raises(DataError, match="as of is data"):
                old + new
            assert len(old.merge(new, customers="disjoint"))
    assert "as of" not in later.cells(by=["segment"]).definition
    assert later.cells(by={"s": "score"}, within=ahead).keys == ("s",)


def test_order_of_rows_does_not_matter(data: Linked, rows: pd.DataFrame) -> None:
    shuffled = dataclasses.replace(data, panel=rows.sample(frac=1, random_state=1))
    asked = {"by": ["segment"], "sums": ["own", "own^2", "outcome"], "within": {"own": OwnMean(column="outcome")}}
    assert_frame_equal(shuffled.cells(**asked).frame, data.cells(**asked).frame)  # type: ignore[arg-type]


def test_an_engine_gives_what_a_frame_gives(five: Tables) -> None:
    linked = link(five)
    held = dataclasses.replace(linked, panel=linked.frame(), fetch=lambda frame: frame)
    asked = {
        "by": {"segment": "segment", "happy": lambda t: t.score >= 8, "late": Bins(column="month", edges=(24291,))},
        "sums": {"outcome": "outcome", "product": "outcome*age", "tops": lambda t: t.outcome > 100},
        "buckets": 4,
    }
    one, other = linked.cells(**asked), held.cells(**asked)  # type: ignore[arg-type]
    assert_frame_equal(one.frame, other.frame)
    assert one.numbering == other.numbering
    assert one.fingerprint != other.fingerprint
    assert one.by([]).total()["outcome"].iloc[0] == pytest.approx(linked.frame()["outcome"].sum())
    assert one.min_cell == 1
    assert linked.cells(by=["segment"]).numbering == link(five, score="csat").cells(by=["segment"]).numbering


def test_cells_of_other_questions_are_not_added(five: Tables) -> None:
    money = link(five).cells(by=["segment"])
    calls = link(five, outcome="calls").cells(by=["segment"], grains={"outcome": 0.01})
    with pytest.raises(DataError, match="panel is nps, aum"):
        money + calls


def months_later(rows: pd.DataFrame, months: int) -> pd.Series:
    money = rows.set_index(["customer", "month"])["outcome"]
    then = pd.MultiIndex.from_arrays([rows["customer"], rows["month"] + months])
    return pd.Series(money.reindex(then).to_numpy(), index=rows.index)


def test_columns_from_a_customers_other_months(data: Linked, rows: pd.DataFrame) -> None:
    holes = rows.drop(rows.sample(frac=0.1, random_state=2).index)  # a gap must not shift months
    gappy = dataclasses.replace(data, panel=holes)
    later, earlier = months_later(holes, 3), months_later(holes, -3)
    gone = holes["exit_month"] <= holes["month"] + 3
    forward = later.fillna(pd.Series(np.where(gone, 0.0, np.nan), index=holes.index)) / holes["outcome"]
    answered = holes["month"] - holes["score_age"]
    before = holes.groupby("customer")
    new = answered.ne(answered.groupby(holes["customer"]).shift()) & answered.groupby(holes["customer"]).shift().notna()
    new &= answered.notna()
    expected = {
        "later": later,
        "growth": forward.clip(upper=1.05),
        "past": holes["outcome"] / earlier,
        "own": before["outcome"].transform("mean"),
        "previous": before["score"].shift().where(new),
    }
    made = {
        "later": Ahead(column="outcome", months=3),
        "growth": Growth(column="outcome", months=3, cap=1.05),
        "past": Growth(column="outcome", months=-3, cap=None),
        "own": OwnMean(column="outcome"),
        "previous": Previous(),
    }
    for name, values in expected.items():
        cells = gappy.cells(by=["segment"], sums=[name], within={name: made[name]}, known=[name])
        known = values.notna()
        assert cells.by([]).total()["n"].iloc[0] == known.sum()
        assert_allclose(cells.total()[name], values[known].groupby(holes["segment"][known]).sum(), rtol=1e-7)


def test_bins_hold_what_they_say() -> None:
    money = [-500.0, -0.01, 0.0, 0.009, 0.01, 0.02, 1.0, 1.02, 123.45, 1e9]
    frame = pd.DataFrame({"customer": range(10), "month": 1, "outcome": money, "age": np.arange(10.0)})
    rule = LogBins(column="outcome")
    data = linked_from_frame(frame, controls=["age"])
    cells = data.cells(by={"size": rule, "band": Bins(column="age", edges=(3, 7))}, sums={"exact": lambda t: t.outcome})
    total = cells.total()
    bounds = rule.bounds(total["size"])
    value = total["exact"].to_numpy() / total["n"]
    slack = 1e-9  # the sums are rounded to 2⁻³⁰
    assert ((bounds[:, 0] - slack <= value) & (value <= bounds[:, 1] + slack)).all()
    assert (bounds[:, 1] / bounds[:, 0])[total["size"].to_numpy() > 0] == pytest.approx(1.02)
    assert cells.by(["band"]).total()["n"].tolist() == [3, 4, 3]
    codes = dict(zip(total["exact"].round(9), total["size"], strict=True))
    assert (codes[-0.01], codes[0.01]) == (-1, 1)


def test_what_would_fall_silent_is_refused(data: Linked) -> None:
    with pytest.raises(
        DataError, match=r"score is missing, infinite or too large in [\d,]+ of [\d,]+ rows.*known=\['score'\]"
    ):
        data.cells(by=["segment"], sums=["score"])
    known = data.cells(by=["segment"], sums=["score"], known=["score"])
    assert known.by([]).total()["n"].iloc[0] == data.frame()["score"].notna().sum()
    with pytest.raises(DataError, match="none is missing"):
        data.cells(by=["segment"], sums={"none": lambda t: t.outcome / (t.outcome * 0)})
    with pytest.raises(DataError, match="many is missing, infinite or too large in 12,000"):
        data.cells(by=["segment"], sums={"many": lambda t: t.outcome * 1e12})
    with pytest.raises(DataError, match="coarser grains"):
        data.cells(by=["segment"], sums=["weight^4"])
    halves = dataclasses.replace(data, panel=data.panel.assign(score=7.5))
    with pytest.raises(DataError, match="score is no whole number"):
        halves.cells(by=["segment"], sums=["score"])
    assert halves.cells(by=[], sums=["score"], grains={"score": 0.5}).total()["score"].iloc[0] == 7.5 * len(data.panel)
    with pytest.raises(DataError, match="no column 'branch'"):
        data.cells(by=["branch"])
    with pytest.raises(DataError, match="cannot be a key"):
        data.cells(by=["outcome"], sums=[])
    with pytest.raises(DataError, match="has a column 'score' already"):
        data.cells(by=["segment"], within={"score": OwnMean(column="outcome")})
    with pytest.raises(DataError, match="cannot be reduced"):
        dataclasses.replace(data, reduce=None).cells(by=["segment"])


@pytest.mark.filterwarnings("error::FutureWarning")
def test_months_without_rows_give_no_cells(data: Linked) -> None:
    none = data.cells(by=["segment"], sums=["outcome", "outcome^2"], months=(0, 1))
    some = data.cells(by=["segment"], sums=["outcome", "outcome^2"])
    assert len(none) == len(none.total()) == len(none.export()) == 0
    for both in (none + some, some + none):
        assert_frame_equal(both.frame, some.frame)
    with pytest.raises(DataError, match="0 bucket with customers"):
        none.jackknife(lambda each: 1.0)


def test_missing_keys_stay(data: Linked, rows: pd.DataFrame) -> None:
    holed = dataclasses.replace(data, panel=rows.assign(segment=rows["segment"].where(rows["segment"] == "gold", None)))
    cells = holed.cells(by=["segment", "score"], sums=["outcome"])
    assert cells.by(["segment"]).total()["segment"].tolist() == ["gold", None]
    scores = cells.by(["score"]).total()
    assert scores["n"].sum() == len(rows)
    assert np.isnan(scores["score"].iloc[-1])


def rescaled(data: Linked, factor: float) -> Linked:
    return dataclasses.replace(data, panel=data.panel.assign(outcome=(data.panel["outcome"] * factor).round(2)))


def test_another_currency_scales_the_answers(data: Linked) -> None:
    def slope(each: Cells) -> float:
        t = each.total()
        fit = grouped_ols(np.column_stack([np.ones(len(t)), t["score"]]), t["n"], t["outcome"], absorb=t["segment"])
        return float(fit.coefficient[1])

    one, other = (
        each.cells(by=["segment", "score"], known=["score"], buckets=16).jackknife(slope)
        for each in (data, rescaled(data, 100))
    )
    assert_allclose(other.estimate, 100 * one.estimate, rtol=1e-9)
    assert_allclose(other.se, 100 * one.se, rtol=1e-9)


def test_regressions_from_cells_equal_those_from_rows(data: Linked, rows: pd.DataFrame) -> None:
    """Least squares and Poisson on money by score and segment-month; errors by the jackknife against clustered ones."""
    used = rows[rows["score"].notna()]
    cells = data.cells(by=["segment", "month", "score"], sums=["outcome", "outcome^2"], known=["score"])
    t = cells.total()
    group = t["segment"] + t["month"].astype(str)
    wide = np.column_stack([used["score"], dummies(used["segment"] + used["month"].astype(str))[0]])
    clustered = {"cov_type": "cluster", "cov_kwds": {"groups": used["customer"]}}

    def level(each: Cells) -> float:
        c = each.total()
        return float(grouped_ols(c["score"], c["n"], c["outcome"], absorb=group).coefficient[0])

    def ratio(each: Cells) -> float:
        c = each.total()
        return float(grouped_glm(c["score"], c["n"], c["outcome"], family="poisson", absorb=group).coefficient[0])

    ols = sm.OLS(used["outcome"], wide).fit(**clustered)
    ppml = sm.GLM(used["outcome"], wide, family=sm.families.Poisson()).fit(tol=1e-14, **clustered)
    for statistic, reference in ((level, ols), (ratio, ppml)):
        fit = cells.jackknife(statistic)
        assert fit.estimate[0] == pytest.approx(reference.params.iloc[0], rel=1e-8)
        # 64 buckets know an error to 9%: three of these.
        assert fit.se[0] / reference.bse.iloc[0] == pytest.approx(1, abs=0.27)
    plain = grouped_ols(t["score"], t["n"], t["outcome"], squares=t["outcome^2"], absorb=group)
    assert plain.se[0] == pytest.approx(sm.OLS(used["outcome"], wide).fit().bse.iloc[0], rel=1e-8)


def test_hazards_from_cells_equal_those_from_rows(data: Linked, rows: pd.DataFrame) -> None:
    """An exit belongs to the customer's last month in the panel; time is calendar quarters."""
    left = (rows["voluntary"] & (rows["exit_month"] == rows["month"] + 1)).astype(float)
    used = rows.assign(left=left, quarter=rows["month"] // 3)[rows["score"].notna()]
    cells = data.cells(
        by={"quarter": lambda t: (t.month - t.month % 3) // 3, "score": "score", "segment": "segment"},
        sums={"exits": lambda t: t.voluntary & (t.exit_month == t.month + 1).fill_null(False)},
        known=["score"],
    )
    t = cells.total()
    assert t["exits"].sum() == used["left"].sum() > 30
    wide = np.column_stack([used["score"], used["segment"] == "gold", dummies(used["quarter"])[0]]).astype(float)
    link_function = sm.families.links.CLogLog()
    reference = sm.GLM(used["left"], wide, family=sm.families.Binomial(link=link_function)).fit(tol=1e-14, maxiter=200)
    seen = used.groupby("quarter")["left"].sum() > 0
    assert seen.all()
    fit = grouped_hazard(t["quarter"], np.column_stack([t["score"], t["segment"] == "gold"]), t["n"], t["exits"])
    assert_allclose(fit.coefficient, reference.params.iloc[:2], rtol=1e-6)
    assert_allclose(fit.se, reference.bse.iloc[:2], rtol=1e-6)


def test_group_time_effects_from_cells_equal_those_from_rows(data: Linked) -> None:
    """Cells by place, month and segment feed the estimator of a staggered roll-out as rows of customers do."""
    base, history, cap = 3, 6, 3.0
    cohort = rollout(data, initiative="refit", base=base, history=history, cap=cap)
    begin = cohort.first_start

    def between(first: int, last: int) -> Callable[[object], object]:
        return lambda t: ((t.month >= first) & (t.month <= last)).ifelse(t.outcome, None)  # type: ignore[attr-defined]

    cells = data.cells(
        by=["unit", "month", "segment"],
        sums={"ratio": "ratio"},
        within={
            "present_money": between(begin - history, begin - 1),
            "base_money": between(begin - base, begin - 1),
            "own": OwnMean(column="base_money"),
            "seen": lambda t: t.present_money.count().over(group_by="customer"),
            "ratio": lambda t: (t.outcome / t.own > cap).ifelse(cap, t.outcome / t.own),
        },
        where=lambda t: (t.seen == history) & (t.own > 0) & (t.exit_month.isnull() | (t.exit_month >= begin)),
        months=(begin - history, 10**6),
        grains={"ratio": 2.0**-40, "base_money": 0.01},
    )
    t = cells.total()
    sums, _, units, months, groups = unit_panel(t["unit"], t["month"], np.ones(len(t)), t["ratio"], column=t["segment"])
    sizes = unit_panel(t["unit"], t["month"], t["n"], t["ratio"], column=t["segment"])[1][:, 0, :]
    assert (units == np.array(cohort.units)).all()
    assert (groups == np.array(cohort.groups)).all()
    assert_allclose(months, cohort.months)
    assert_allclose(sizes, cohort.sizes)  # everybody is there in the first month; who leaves later has zero
    means = np.where(sizes[:, None, :] > 0, np.nan_to_num(sums), np.nan) / np.maximum(sizes, 1)[:, None, :]
    expected = cohort.means(cohort.ratio)
    assert_allclose(means, expected, atol=1e-10)
    fits = [group_time_att(outcome, cohort.starts, times=cohort.months, weights=sizes) for outcome in (means, expected)]
    assert_allclose(fits[0].att, fits[1].att, atol=1e-9)
    windows = [aggregate_window(fit, first=0, last=5) for fit in fits]
    assert_allclose(windows[0].overall, windows[1].overall, atol=1e-9)
    assert_allclose(windows[0].overall_se, windows[1].overall_se, rtol=1e-6)


def test_a_question_is_plain_values() -> None:
    one, other = (Growth(column="outcome", months=12) for _ in range(2))
    assert one == other
    assert repr(one) == "Growth(column='outcome', months=12, cap=5.0)"
    question = Reduction(by={"segment": "segment"}, sums={}, within={"g": one}, grains={})
    with pytest.raises(TypeError):
        question.by["month"] = "month"  # type: ignore[index]
