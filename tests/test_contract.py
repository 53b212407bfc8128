"""The contract of a model: every model that rox exports keeps it, and what breaks it reads like advice."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

import rox
from rox.core.check import Check, Verdict
from rox.core.effect import Effect
from rox.core.estimand import Estimand, Question
from rox.core.linked import Linked, Step
from rox.core.units import Dose, Unit
from rox.linking.views import FrameViews
from rox.testing import check_estimator, linked_from_frame, planted_linked, sample_linked
from rox.testing.held import hold, records_of
from rox.testing.hindsight import hindsight, later_answers
from rox.testing.planted import recovery

SAMPLE = sample_linked(customers=700, months=26)
OURS = [
    rox.ScoreGap(),
    rox.PanelFE(controls=["products"]),
    rox.ChurnCox(time="calendar", controls=()),
    rox.ChurnHazard(),
]


@pytest.mark.parametrize("estimator", OURS, ids=lambda each: repr(each))
def test_every_model_of_rox_keeps_the_contract(estimator):
    assert isinstance(check_estimator(estimator, SAMPLE), Effect)


@pytest.mark.parametrize(
    ("estimator", "customers", "months"),
    [
        (rox.Experiment(draws=800), 700, 22),
        (rox.ClosedLoop(draws=800), 700, 26),
        (rox.FunnelUplift(draws=800), 100, 8),
        (rox.SyntheticUplift(placebos=50, draws=800), 400, 30),
        (rox.InterruptedSeries(events=(), draws=800), 400, 30),
    ],
    ids=["experiment", "closed_loop", "funnel", "synthetic", "interrupted"],
)
def test_every_model_of_an_initiative_keeps_the_contract(estimator, customers, months):
    data = sample_linked(customers=customers, months=months)
    assert check_estimator(estimator, data).estimand.question is Question.INITIATIVE


@pytest.mark.slow
def test_the_sampled_model_of_rox_keeps_the_contract():
    uplift = rox.StaggeredUplift(history=6, window=(2, 5), draws=4000, placebos=99)
    assert check_estimator(uplift).name == "uplift"


@pytest.mark.slow
def test_the_model_of_lasting_changes_keeps_the_contract():
    """Nobody leaves here: the model of leaving that it uses has a test of its own."""
    staying = sample_linked(customers=800)
    frame = staying.frame().assign(exit_month=np.nan, voluntary=False)
    data = replace(staying, panel=frame, fetch=lambda rows: rows.copy())
    assert check_estimator(rox.LeadLag(draws=800), data, recover=False).name == "lead_lag"


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The least a model can be: the mean outcome of all months, as if it were an effect."""

    draws: int = 500

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        rows = data.frame()
        mean = float(np.average(rows["outcome"], weights=rows["weight"]))
        error = float(rows["outcome"].std() / np.sqrt(len(rows)))
        return Effect(
            name="mean",
            estimand=Estimand(
                question=Question.PULSE,
                population="customers of all months",
                treatment="none",
                dose=Dose.CATEGORY,
                outcome=data.outcome,
                unit=Unit.MONEY_PER_CUSTOMER,
                currency=data.study.currency,
                horizon=1,
                includes_exit=False,
                channels=frozenset({"expansion"}),
            ),
            groups=("all",),
            draws=mean + error * np.random.default_rng(rng).standard_normal((self.draws, 1)),
            shares=np.ones(1),
            baseline=pd.DataFrame({"customers": [1.0], "money": [mean], "exit_hazard": [np.nan]}, index=["all"]),
            grade=rox.Grade.D,
            checks=(Check(code="ROX-A07", verdict=Verdict.NOTE, values={"answers": 1, "customers": 1, "share": 1.0}),),
            specification=repr(self),
            trail=data.trail,
            fingerprint=data.fingerprint,
        )


SMALL = sample_linked(customers=60, months=8)


def advice(estimator: object) -> str:
    with pytest.raises(AssertionError) as caught:
        check_estimator(estimator, SMALL)
    return str(caught.value)


def test_a_model_from_outside_passes_without_a_base_class():
    assert check_estimator(Mean(), SMALL).name == "mean"


def test_without_data_a_sample_is_used():
    assert check_estimator(Mean()).groups == ("all",)


def test_the_form_of_a_model():
    class Plain:
        def fit(self, data: Linked, seed: int) -> Effect:
            return Mean().fit(data, rng=seed)

    @dataclass
    class Open:
        def fit(self, data: Linked, seed: int) -> float:
            return 1.0

    assert "is not a dataclass" in advice(Plain())
    found = advice(Open())
    assert found.startswith("Open does not keep the contract")
    assert "is not frozen" in found
    assert "does not take rng" in found
    assert "needs the arguments ['data', 'seed']" in found


def test_a_number_is_not_an_effect():
    @dataclass(frozen=True)
    class Number:
        def fit(self, data: Linked, *, rng: int | None = None) -> float:
            return 1.0

    assert "returns float; return a rox Effect" in advice(Number())


def broken(**changes: object) -> object:
    @dataclass(frozen=True, kw_only=True)
    class Broken:
        def fit(self, data: Linked, *, rng: int | None = None) -> Effect:
            effect = Mean().fit(data, rng=rng)
            estimand = {name[9:]: value for name, value in changes.items() if name.startswith("estimand_")}
            rest = {name: value for name, value in changes.items() if not name.startswith("estimand_")}
            effect = replace(effect, specification=repr(self), estimand=replace(effect.estimand, **estimand))
            return replace(effect, **rest)

    return Broken()


def test_everything_undeclared_is_named_at_once():
    found = advice(
        broken(
            estimand_currency="USD",
            estimand_outcome="wealth",
            estimand_horizon=0,
            estimand_population=" ",
            estimand_channels=frozenset(),
            fingerprint="",
            trail=(),
            specification="Mean",
            checks=(),
            name="two words",
            draws=np.ones((150, 1)),
        )
    )
    for words in (
        "in USD, the data in CNY",
        "outcome is 'wealth'",
        "horizon is 0 months",
        "population is empty",
        "names no channel",
        "data.fingerprint",
        "begin with data.trail",
        "not repr(estimator)",
        "names no check",
        "is not a plain word",
        "only 150 draws",
        "do not vary",
    ):
        assert words in found


def test_a_check_without_a_sentence_is_named():
    found = advice(
        broken(checks=(Check(code="ROX-A07", verdict=Verdict.PASS), Check(code="MINE", verdict=Verdict.NOTE)))
    )
    assert "check ROX-A07 has no en sentence for verdict pass" in found
    assert "check MINE has no zh sentence" in found
    assert 'code="ROX-Z01"' in found


def test_a_step_without_a_reason_is_named():
    step = Step(name="mine", rows=1, lost=0, customers=1, reason="because")
    assert "unknown reason 'because'" in advice(broken(trail=(*SMALL.trail, step)))


def test_a_finding_in_the_words_of_the_author():
    own = Check(code="ROX-Z01", verdict=Verdict.DEMOTE, values={"finding": "The queue was shorter on Mondays."})
    assert check_estimator(broken(checks=(own,)), SMALL).checks[0].sentence() == "The queue was shorter on Mondays."


def sampled(shift: float) -> object:
    """A model whose draws hang on the last digit of the data, as a Markov chain's do."""

    @dataclass(frozen=True, kw_only=True)
    class Sampled:
        def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
            effect = Mean(draws=2000).fit(data, rng=rng)
            rows = data.panel if shift else data.frame()
            seed = list(rows["outcome"].iloc[0].tobytes()) + list(rows["month"].iloc[0].tobytes())
            noise = np.random.default_rng(seed).standard_normal(effect.draws.shape)
            level = effect.draws.mean() + shift * rows["outcome"].iloc[0]
            return replace(effect, draws=level + effect.draws.std() * noise, specification=repr(self))

    return Sampled()


def test_a_sampler_may_differ_by_its_own_noise_and_by_no_more():
    assert check_estimator(sampled(0.0), SMALL).name == "mean"
    assert "order of the rows matters" in advice(sampled(1.0))


def distorted(words: str, change: object) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Distorted:
        def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
            return replace(change(data, rng), specification=repr(self))

    found = advice(Distorted())
    assert words in found


def test_randomness_outside_the_seed():
    distorted("the same seed gives other draws", lambda data, rng: Mean().fit(data))

    def globally(data: Linked, rng: object) -> Effect:
        np.random.seed(3)  # noqa: NPY002
        return Mean().fit(data, rng=rng)

    distorted("global random state", globally)


def test_rows_weights_money_and_calendar():
    def first_row(data: Linked, rng: object) -> Effect:
        effect = Mean().fit(data, rng=rng)
        return replace(effect, draws=effect.draws + data.panel["outcome"].iloc[0])

    def logarithm(data: Linked, rng: object) -> Effect:
        rows = data.frame()
        return Mean().fit(replace(data, panel=rows.assign(outcome=np.log1p(rows["outcome"]))), rng=rng)

    def total(data: Linked, rng: object) -> Effect:
        effect = Mean().fit(data, rng=rng)
        return replace(effect, draws=effect.draws * data.frame()["weight"].sum())

    def trend(data: Linked, rng: object) -> Effect:
        effect = Mean().fit(data, rng=rng)
        return replace(effect, draws=effect.draws * data.frame()["month"].mean())

    distorted("the order of the rows matters", first_row)
    distorted("does not multiply the effect by 100", logarithm)
    distorted("weights ten times as large", total)
    distorted("moving the calendar by four years", trend)


def test_a_panel_changed_in_place_and_an_estimator_changed_by_fit():
    def spoil(data: Linked, rng: object) -> Effect:
        data.panel["outcome"] = data.panel["outcome"] * 1.0 + 1.0
        return Mean().fit(data, rng=rng)

    distorted("changes the panel it was given", spoil)

    @dataclass(frozen=True, kw_only=True)
    class Remembers:
        seen: list[int] = dataclasses.field(default_factory=list)

        def fit(self, data: Linked, *, rng: int | None = None) -> Effect:
            self.seen.append(1)
            return replace(Mean().fit(data, rng=rng), specification=repr(self))

    assert "changes the estimator" in advice(Remembers())


def test_a_ratio_may_not_scale_with_money():
    ratio = broken(estimand_unit=Unit.RATIO, estimand_currency="")
    assert "does not multiply the effect by 1;" in advice(ratio)


@dataclass(frozen=True)
class Spoilt:
    """A sound model that is handed spoilt rows."""

    model: object
    spoil: object

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        rows = self.spoil(data.frame())
        effect = self.model.fit(replace(data, panel=rows, fetch=lambda held: held.copy()), rng=rng)
        return replace(effect, specification=repr(self))


def stayed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["exit_month"].isna()]


def still_here(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["customer"].isin(rows.loc[rows["month"] == rows["month"].max(), "customer"])]


def here_half_a_year_later(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~(rows["exit_month"] < rows["month"] + 6)]


def next_months_answer(rows: pd.DataFrame) -> pd.DataFrame:
    later = rows.groupby("customer")
    return rows.assign(score=later["score"].shift(-1), score_age=later["score_age"].shift(-1))


@dataclass(frozen=True)
class Slope:
    """A slope of money on last month's answer, within segments: quick, so that it can be spoilt in many ways."""

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        rows = data.frame()
        rows = rows[rows["score_age"] == 1]
        now = rows[rows["month"] == rows["month"].max()].groupby("segment")["weight"].sum()
        draws, found = [], {}
        generator = np.random.default_rng(rng)
        for name, part in rows.groupby("segment"):
            x, y = (part[each] - part[each].mean() for each in ("score", "outcome"))
            slope = float((x @ y) / (x @ x))
            error = float((y - slope * x).std() / np.sqrt(x @ x))
            draws.append(slope + error * generator.standard_normal(1000))
            found[name] = float(part["outcome"].mean())
        effect = Mean().fit(data, rng=1)
        return replace(
            effect,
            name="slope",
            estimand=replace(effect.estimand, dose=Dose.SCORE_POINT),
            groups=tuple(found),
            draws=np.column_stack(draws),
            shares=(now / now.sum()).reindex(list(found)).to_numpy(),
            baseline=pd.DataFrame({"customers": 1.0, "money": found, "exit_hazard": np.nan}),
            specification=repr(self),
        )


def spoilt(spoil: object, model: object) -> str:
    with pytest.raises(AssertionError) as caught:
        check_estimator(Spoilt(model, spoil), SAMPLE)
    return str(caught.value)


SURVIVORS, AHEAD, LATER = "it conditions on survivors", "exits after the last month of the panel", "uses a later score"


def test_a_quick_slope_keeps_the_contract():
    assert check_estimator(Slope(), SAMPLE).name == "slope"


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [(stayed, {SURVIVORS, AHEAD}), (still_here, {SURVIVORS}), (here_half_a_year_later, {SURVIVORS, AHEAD})],
)
def test_a_model_of_survivors_is_refused(spoil, reasons):
    found = spoilt(spoil, Slope())
    assert {words for words in (SURVIVORS, AHEAD, LATER) if words in found} == reasons


@pytest.mark.slow
def test_a_model_of_rox_is_refused_among_survivors():
    """Only what tells survivors is fitted: whether the estimator is sound otherwise has its own test."""
    held, model = hold(SAMPLE), Spoilt(rox.PanelFE(), stayed)
    effect = model.fit(held.linked(), rng=1)
    (one, other) = hindsight(model, held, effect, 1, steady=lambda: True)
    assert SURVIVORS in one
    assert AHEAD in other


@pytest.mark.slow
@pytest.mark.parametrize("model", [rox.PanelFE(), rox.ScoreGap()], ids=["within", "between"])
def test_a_model_of_rox_is_refused_with_later_answers(model):
    """Only what tells later answers is fitted."""
    broken, asked = Spoilt(model, next_months_answer), Mean().fit(SAMPLE).estimand
    effect = replace(Mean().fit(SAMPLE), estimand=replace(asked, dose=Dose.SCORE_POINT))
    plain = broken.fit(planted_linked(effect.estimand, data=SAMPLE), rng=1)
    assert "was put in, it finds" in recovery(plain)[0]
    assert LATER in later_answers(broken, SAMPLE, effect, 1, plain=plain)[0]


def test_a_model_of_later_answers_is_refused():
    found = spoilt(next_months_answer, Slope())
    assert {words for words in (SURVIVORS, AHEAD, LATER) if words in found} == {LATER}
    assert "was put in, it finds" in found


def test_a_model_that_misses_a_planted_answer_is_refused():
    def half(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(outcome=rows["outcome"] / 2)

    assert "was put in, it finds" in spoilt(half, Slope())
    check_estimator(Spoilt(Slope(), half), SAMPLE, recover=False)


@dataclass(frozen=True)
class Misread:
    """A sound model that is handed another study or other records."""

    model: object
    misread: object

    def fit(self, data: Linked, *, rng: int | np.random.Generator | None = None) -> Effect:
        return replace(self.model.fit(self.misread(data), rng=rng), specification=repr(self))


def misread(model: object, how: object) -> str:
    with pytest.raises(AssertionError) as caught:
        check_estimator(Misread(model, how), sample_linked(customers=400, months=22))
    return str(caught.value)


def with_records(data: Linked, name: str, change: object) -> Linked:
    records = records_of(data)
    return replace(data, views=FrameViews(records_by_name={**records, name: change(records[name])}))


def test_an_experiment_whose_lot_is_not_read_is_refused():
    def mixed_up(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.sort_values("date", kind="stable")
        return rows.assign(arm=np.where(np.arange(len(rows)) % 2 == 0, *sorted(rows["arm"].unique())))

    found = misread(rox.Experiment(draws=500), lambda data: with_records(data, "arms", mixed_up))
    assert "where nothing confounds and 0.1 was put in" in found
    assert "the order of the rows matters" in found


def test_applicants_who_cannot_be_followed_may_not_count():
    def longer(data: Linked) -> Linked:
        about = data.study.about.model_copy(update={"extract": data.study.about.extract.replace(year=2099)})
        return replace(data, study=data.study.model_copy(update={"about": about}))

    found = misread(rox.FunnelUplift(draws=500), longer)
    assert "applicants who started shortly before the extract changes the effect" in found
    assert "survivors" not in found


def test_money_of_applicants_is_money_and_customers_of_tickets_are_customers():
    def whole(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(amount=np.log1p(rows["amount"]))

    def low_numbers(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["customer"] < 330]

    found = misread(rox.FunnelUplift(draws=500), lambda data: with_records(data, "applicants", whole))
    assert "does not multiply the effect by 100" in found
    found = misread(rox.ClosedLoop(horizon=6, draws=500), lambda data: with_records(data, "tickets", low_numbers))
    assert "numbering the customers anew" in found


def test_a_model_that_reads_customers_numbers_is_refused():
    def names(data: Linked, rng: object) -> Effect:
        rows = data.frame()
        return Mean().fit(replace(data, panel=rows.assign(outcome=rows["outcome"] * (rows["customer"] % 7))), rng=rng)

    distorted("numbering the customers anew", names)


# The planted hazard follows the answers as they stand, so nothing is to be read out of them.
@pytest.mark.parametrize("model", [rox.ScoreGap(), rox.ChurnCox(reading="carried")], ids=repr)
def test_a_planted_panel_holds_its_answer(model):
    asked = model.fit(SAMPLE, rng=1).estimand
    effect = model.fit(planted_linked(asked, data=SAMPLE, seed=2), rng=1)
    planted = -0.30 if asked.dose is Dose.SCORE_POINT and asked.unit is Unit.LOG_HAZARD else 10 + 30 * effect.shares[0]
    assert effect.overall.mean() == pytest.approx(planted, rel=0.1)


def test_a_frame_becomes_a_panel():
    frame = pd.DataFrame({"customer": [2, 1, 1], "month": [24000, 24001, 24000], "outcome": [1.0, 2.0, 3.0]})
    data = linked_from_frame(frame)
    assert data.frame()[["customer", "month"]].to_numpy().tolist() == [[1, 24000], [1, 24001], [2, 24000]]
    assert data.frame()["segment"].unique().tolist() == ["all"]
    again = linked_from_frame(frame.sample(frac=1, random_state=1))
    assert data.fingerprint == again.fingerprint != linked_from_frame(frame.assign(outcome=0.0)).fingerprint
