"""The states between two runs: some things as in the first, the others as in the second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from math import factorial

from rox.core.comparison import HEADLINES, Share, Step
from rox.core.declared import Wording
from rox.core.effect import Effect
from rox.core.errors import CaseError, UnitError
from rox.core.ledger import NO_WORDS
from rox.core.record import layers_of
from rox.review.case_changes import CaseChange, People, replaced
from rox.review.replay import Replay, State, Valued

FEW = 6
"""Factors up to which every order of replacement is gone through."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """Effects between the first run's and the second's, and what brought them there.

    Attributes:
        kind: ``software``, ``estimate``, ``restated``, ``added``, ``method`` or ``priors``.
        word: Key of the step's label.
        text: Words that complete it.
        effects: The effects from there on.
        was: In short, what stood there before.
        now: And now.
    """

    kind: str
    word: str
    text: Wording = NO_WORDS
    effects: tuple[Effect, ...]
    was: str = ""
    now: str = ""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Which things are already as in the second run.

    Attributes:
        level: How many of the levels of the effects.
        volume: The number of customers.
        mix: Their composition.
        discounts: What estimates of each grade are worth.
        changes: Which of the case's changes.
        seeds: Seed and number of draws.
    """

    level: int = 0
    volume: bool = False
    mix: bool = False
    discounts: bool = False
    changes: frozenset[int] = frozenset()
    seeds: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Between:
    """Two runs and everything that lies between them.

    Attributes:
        first: The earlier run.
        second: The later run.
        levels: The effects' way from the first to the second; empty where they are the same.
        changes: The case's changes.
        tell: Called with a line of progress before each valuation.
    """

    first: Replay
    second: Replay
    levels: tuple[Level, ...]
    changes: tuple[CaseChange, ...]
    tell: Callable[[str], None] = lambda line: None
    held: dict[Position, Valued | None] = field(default_factory=dict)

    @property
    def people(self) -> People:
        """Customers reached in both cases."""
        return People(first=self.first.case["people"], second=self.second.case["people"])

    @property
    def seeds_changed(self) -> bool:
        """Whether the draws are others."""
        return (self.first.seed, self.first.draws) != (self.second.seed, self.second.draws)

    @property
    def discounts_changed(self) -> bool:
        """Whether estimates of a grade are taken to be worth something else."""
        return layers_of(self.first.record.replay) != layers_of(self.second.record.replay)

    def state(self, at: Position) -> State:
        """Return what a return is computed from at a position."""
        paths = tuple(path for place in sorted(at.changes) for path in self.changes[place].paths)
        content = dict(self.second.case)
        if not self.is_as_second(at):
            content = replaced(self.first.case, self.second.case, paths)
            content["people"] = self.people.rows(volume=at.volume, mix=at.mix)
        estimates = self.levels[at.level - 1].effects if at.level else self.first.effects
        layers = layers_of((self.second if at.discounts else self.first).record.replay)
        effects = tuple(each.discounted(layers) for each in estimates)
        about = {**content["case"], "effects": [effect.name for effect in effects]}
        source = self.second if at.seeds else self.first
        return State(effects=effects, case={**content, "case": about}, seed=source.seed, draws=source.draws)

    def is_as_second(self, at: Position) -> bool:
        """Whether the whole case is as in the second run; then it is taken as it stands, in its own order."""
        done = at.volume >= self.people.volume_changed and at.mix >= self.people.mix_changed
        return done and len(at.changes) == len(self.changes) and (bool(self.changes) or at != Position())

    def valued(self, at: Position) -> Valued | None:
        """Value a position; None where what was mixed does not fit together, such as a segment without an estimate."""
        if at not in self.held:
            self.tell(f"valuing the {len(self.held) + 1}. state between the two runs")
            try:
                self.held[at] = self.state(at).valued()
            except (CaseError, UnitError):
                self.held[at] = None
        return self.held[at]

    def moves(self) -> Iterator[tuple[Step, Callable[[Position], Position]]]:
        """Iterate over the replacements in their fixed order: a step still without figures, and the move it makes.

        Estimate, volume, mix, assumptions and seeds come in any case: where nothing differs they move nothing.
        """
        people, many = self.people, range(len(self.changes))
        for place, level in enumerate(self.levels, start=1):
            yield _step(level.kind, level.word, level.text, level.was, level.now), _to_level(place)
        if not self.levels:
            yield _step("estimate", "comparison.step.no_estimate"), _same
        if self.discounts_changed:
            yield _step("discounts", "comparison.step.discounts", NO_WORDS, *self._discounts()), _with_discounts
        totals = [f"{people.total(rows):,.10g}" for rows in (people.first, people.second)]
        yield (
            _step("volume", "comparison.step.volume", NO_WORDS, *(totals if people.volume_changed else ("", ""))),
            _with_volume if people.volume_changed else _same,
        )
        only_ranges = people.mix_changed and people.same_shares
        step = _step("mix", "comparison.step.ranges" if only_ranges else "comparison.step.mix")
        yield (
            _step("volume", "comparison.step.volume", NO_WORDS, *totals) if people.from_nobody else step,
            _with_mix if people.mix_changed else _same,
        )
        for place in many:
            change = self.changes[place]
            yield _step("assumption", change.word, change.text, change.was, change.now), _with_change(place)
        if not self.changes:
            yield _step("assumption", "comparison.step.no_assumption"), _same
        seeds = [f"{each.seed} / {each.draws:,}" for each in (self.first, self.second)]
        yield _step("seeds", "comparison.step.seeds", NO_WORDS, *seeds), _with_seeds if self.seeds_changed else _same

    def steps(self) -> list[Step]:
        """Walk from the first run to the second, one replacement after the other.

        Replacements that do not fit without the next one make one step with it.

        Raises:
            CaseError: One of the two runs cannot be valued.
        """
        at, before, steps = Position(), self._must(Position()), []
        waiting: list[Step] = []
        for step, move in self.moves():
            at = move(at)
            now = self.valued(at)
            waiting.append(step)
            if now is None:
                continue
            error = now.errors_against(before, paired=step.kind != "seeds")
            steps.append(replace(_joined(waiting), level=dict(now.headline), error=error))
            before, waiting = now, []
        if waiting:
            self._must(at)
        return steps

    def _discounts(self) -> tuple[str, str]:
        """Return the discounts of the grades in use, in short, before and after."""
        grades = sorted({effect.grade for effect in (*self.first.effects, *self.second.effects)})
        layers = [layers_of(each.record.replay) for each in (self.first, self.second)]
        was, now = (", ".join(f"{g} {each[g].mean:.4g} ± {each[g].sd:.4g}" for g in grades) for each in layers)
        return was, now

    def _must(self, at: Position) -> Valued:
        """Value a position that has to fit, and let what is wrong be raised."""
        found = self.held.get(at) or self.state(at).valued()
        self.held[at] = found
        return found

    def shares(self) -> tuple[Share, ...]:
        """Give each factor its mean part over every order of replacement; nothing if some mixture does not fit.

        The factors are single replacements where there are at most six, and otherwise the estimate, the volume, the
        mix, all assumptions together, and the seeds.

        References:
            Shapley (1953), A value for n-person games; Shorrocks (2013), *J. Econ. Inequality* 11:99.
        """
        players = self._players()
        fixed = self._part_by_part(players)
        if not players or fixed is None:
            return ()
        parts: list[dict[str, float]] = [dict.fromkeys(HEADLINES, 0.0) for _ in players]
        for place in range(len(players)):
            others = [each for each in range(len(players)) if each != place]
            for size in range(len(others) + 1):
                weight = factorial(size) * factorial(len(others) - size) / factorial(len(players))
                for chosen in combinations(others, size):
                    without = self.valued(_moved(players, chosen))
                    joined = self.valued(_moved(players, sorted((*chosen, place))))
                    if without is None or joined is None:
                        return ()
                    for name in HEADLINES:
                        parts[place][name] += weight * (joined.headline[name] - without.headline[name])
        return tuple(
            Share(word=word, text=text, fixed=mine, shapley=part)
            for (word, text, _), mine, part in zip(players, fixed, parts, strict=True)
        )

    def _players(self) -> list[Player]:
        people, single = self.people, len(self.changes)
        found: list[Player] = []
        if self.levels:
            found.append(("comparison.factor.estimate", NO_WORDS, _to_level(len(self.levels))))
        if self.discounts_changed:
            found.append(("comparison.step.discounts", NO_WORDS, _with_discounts))
        if people.volume_changed:
            found.append(("comparison.step.volume", NO_WORDS, _with_volume))
        if people.mix_changed:
            word = "comparison.step.ranges" if people.same_shares else "comparison.step.mix"
            found.append(("comparison.step.volume" if people.from_nobody else word, NO_WORDS, _with_mix))
        is_seed = self.seeds_changed
        if single and len(found) + single + is_seed <= FEW:
            found += [(each.word, each.text, _with_change(place)) for place, each in enumerate(self.changes)]
        elif single:
            found.append(("comparison.factor.assumptions", NO_WORDS, _with_changes(frozenset(range(single)))))
        if is_seed:
            found.append(("comparison.step.seeds", NO_WORDS, _with_seeds))
        return found

    def _part_by_part(self, players: Sequence[Player]) -> list[dict[str, float]] | None:
        """Each factor's part in the fixed order."""
        states = [self.valued(_moved(players, range(count))) for count in range(len(players) + 1)]
        known = [each for each in states if each is not None]
        if len(known) < len(states):
            return None
        return [{name: now.headline[name] - was.headline[name] for name in HEADLINES} for was, now in pairwise(known)]


Move = Callable[[Position], Position]
Player = tuple[str, Wording, Move]


def _moved(players: Sequence[Player], chosen: Sequence[int]) -> Position:
    at = Position()
    for place in chosen:
        at = players[place][2](at)
    return at


def _step(kind: str, word: str, text: Wording = NO_WORDS, was: str = "", now: str = "") -> Step:
    return Step(kind=kind, word=word, text=text, was=was if was != now else "", now=now if was != now else "", level={})


def _joined(waiting: Sequence[Step]) -> Step:
    """Make one step of replacements that only fit together."""
    if len(waiting) == 1:
        return waiting[0]
    said = [" + ".join(each.label(language) for each in waiting) for language in ("en", "zh")]
    return _step(waiting[0].kind, "comparison.step.together", Wording(en=said[0], zh=said[1]))


def _same(at: Position) -> Position:
    return at


def _with_volume(at: Position) -> Position:
    return replace(at, volume=True)


def _with_discounts(at: Position) -> Position:
    return replace(at, discounts=True)


def _with_mix(at: Position) -> Position:
    return replace(at, mix=True)


def _with_seeds(at: Position) -> Position:
    return replace(at, seeds=True)


def _to_level(level: int) -> Move:
    return lambda at: replace(at, level=level)


def _with_change(place: int) -> Move:
    return lambda at: replace(at, changes=at.changes | {place})


def _with_changes(places: frozenset[int]) -> Move:
    return lambda at: replace(at, changes=at.changes | places)
