"""The description of a chain: which boxes stand in it, and which arrows somebody believes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StrictStr, field_validator

from rox.core.declared import Declared, Wording, Words, entries, read_toml, validated
from rox.core.errors import DataError
from rox.core.study import Name, Study

Stage = Literal["operations", "perceived", "behaviour", "money"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""The chain, in the order of its links."""
Kind = Literal["event", "topic", "metric", "initiative", "rating", "score", "count", "leaving", "stock", "flow"]
STANDS: Mapping[Kind, tuple[Stage, ...]] = {
    "event": ("operations", "behaviour"),
    "topic": ("perceived", "operations"),
    "metric": ("operations", "perceived", "behaviour"),
    "initiative": ("operations",),
    "rating": ("perceived",),
    "score": ("perceived",),
    "count": ("behaviour",),
    "leaving": ("behaviour",),
    "stock": ("money",),
    "flow": ("money",),
}
"""Where a box of each kind may stand, the usual stage first."""
NAMED = ("event", "topic", "metric", "question", "outcome", "initiative", "leaving")
"""What a box can be; each says exactly one of these."""
PARTS = ("chain", "boxes", "arrows")


class DeclaredBox(Declared):
    """What a box stands for.

    Attributes:
        event: A kind of the events table, counted in the months before an answer.
        topic: A topic of the feedback, likewise.
        metric: A metric of the tree; it says how operations stand.
        question: A score or driver of the study.
        outcome: Money or a count of the study.
        initiative: An initiative of the study, or the name of an effect such as ``closed_loop``.
        leaving: Customers who leave by their own choice.
        stage: Where it stands; it follows from what it is.
        label: Its name for readers; that of the study by default.
        move: By how much it moves in the product of a path; 1 by default. An initiative is done or not: it has none.
        is_money: Whether it is money itself, such as fees; no product is made for it.
    """

    event: Annotated[StrictStr, Field(min_length=1)] | None = None
    topic: Annotated[StrictStr, Field(min_length=1)] | None = None
    metric: Name | None = None
    question: Name | None = None
    outcome: Name | None = None
    initiative: Name | None = None
    leaving: Literal[True] | None = None
    stage: Stage | None = None
    label: Words | None = None
    move: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    is_money: bool = False

    @field_validator("move")
    @classmethod
    def _moves(cls, move: float) -> float:
        if move == 0:
            raise ValueError("a box that does not move brings nothing; write by how much it moves")
        return move

    @property
    def said(self) -> tuple[str, ...]:
        """Which of the things a box can be it says."""
        return tuple(name for name in NAMED if getattr(self, name) is not None)

    def kind(self, study: Study) -> Kind:
        """Return what it is; a question or outcome as the study declares it."""
        if self.question is not None:
            return "score" if self.question in study.scores else "rating"
        if self.outcome is not None:
            return study.outcomes[self.outcome].kind
        (said,) = self.said
        kinds: dict[str, Kind] = {
            "event": "event",
            "topic": "topic",
            "metric": "metric",
            "initiative": "initiative",
            "leaving": "leaving",
        }
        return kinds[said]


class DeclaredArrow(Declared):
    """A link somebody believes in; ``effect`` names the estimate that is to be shown on it, by its file."""

    source: Name = Field(alias="from")
    target: Name = Field(alias="to")
    effect: Name | None = None


class AboutChain(Declared):
    """Title of a chain and how it is measured.

    Attributes:
        title: Title for readers; that of the study by default.
        score: The question through which experience is read; effects per score point are per point of it.
        months: Months before an answer in which events and topics count.
        headroom: Most by which the mean score can rise; measured between places by default.
        tree: The tree of the metrics: a template or a file beside the description.
    """

    title: Words | None = None
    score: Name
    months: Annotated[int, Field(ge=1, le=24)] = 3
    headroom: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    tree: Annotated[str, Field(min_length=1)] | None = None


class ChainOutline(Declared):
    """What a company believes its chain to be.

    Attributes:
        about: Title, score and settings.
        boxes: Boxes by name, in the order of the page.
        arrows: Links between them.
    """

    about: AboutChain
    boxes: Mapping[Name, DeclaredBox]
    arrows: tuple[DeclaredArrow, ...]

    def stage(self, name: str, study: Study) -> Stage:
        """Return where a box stands."""
        box = self.boxes[name]
        return box.stage or STANDS[box.kind(study)][0]

    def of_kind(self, study: Study, *kinds: Kind) -> tuple[str, ...]:
        """Return the boxes of some kinds, in order."""
        return tuple(name for name, box in self.boxes.items() if box.kind(study) in kinds)

    def label(self, name: str, study: Study) -> Wording:
        """Return the name of a box for readers."""
        box = self.boxes[name]
        if box.label is not None:
            return box.label
        known: Mapping[str, Any] = {**study.scores, **study.drivers, **study.outcomes, **study.initiatives}
        found = known.get(box.question or box.outcome or box.initiative or "")
        plain = (box.event or box.topic or name).replace("_", " ")
        label: Wording = Wording(en=plain, zh=plain) if found is None else found.label
        return label


def read_outline(path: str | Path, study: Study) -> ChainOutline:
    """Read the description of a chain.

    Args:
        path: A TOML file with ``[chain]``, ``[boxes.NAME]`` and ``[[arrows]]``.
        study: The study it belongs to.

    Raises:
        DataError: Every fault of the file in one message.
    """
    path = Path(path)
    content = read_toml(path, "description of a chain", DataError)
    faults = [f"{name}: unknown name; check the spelling or remove it" for name in content if name not in PARTS]
    about = _part(AboutChain, "chain", content.get("chain"), faults)
    raw = content.get("boxes")
    if not isinstance(raw, dict) or not raw:
        faults.append("boxes: missing; add at least one [boxes.NAME]")
        raw = {}
    built = {name: _part(DeclaredBox, f"boxes.{name}", each, faults) for name, each in raw.items()}
    boxes = {name: box for name, box in built.items() if box is not None}
    whole = {name: box for name, box in boxes.items() if _is_whole(f"boxes.{name}", box, study, faults)}
    arrows = entries(DeclaredArrow, "arrows", content, faults)
    if not content.get("arrows"):
        faults.append("arrows: missing; add at least one [[arrows]] with from and to")
    if about is not None:
        faults += _faults_of_score(about, boxes, study)
    stages = {name: box.stage or STANDS[box.kind(study)][0] for name, box in whole.items()}
    faults += _faults_of_arrows(arrows, raw, whole, stages, study)
    if faults or about is None:
        raise DataError(f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}.", faults)
    if about.tree is not None and (path.parent / about.tree).is_file():
        about = about.model_copy(update={"tree": str(path.parent / about.tree)})
    return ChainOutline(about=about, boxes=boxes, arrows=arrows)


def default_outline(study: Study, events: Sequence[str] = (), initiatives: Sequence[str] = ()) -> ChainOutline:
    """Describe the chain that a study suggests: all it has, and every arrow from one link to the next.

    Args:
        study: The study.
        events: Kinds of its events; they count as operations.
        initiatives: Names of effects of initiatives beside those of the study.
    """
    score = next(iter(study.scores))
    names: dict[str, dict[str, Any]] = {}

    def add(what: str, value: Any) -> str:
        plain = "".join(
            sign if sign.isascii() and sign.isalnum() else "_" for sign in (what if value is True else value)
        )
        free = plain if plain[:1].isalpha() else f"{what}_{plain}"
        while free in names:
            free += "_"
        names[free] = {what: value}
        return free

    done = [add("initiative", name) for name in dict.fromkeys([*study.initiatives, *initiatives])]
    causes = [add("event", kind) for kind in events]
    ratings = [add("question", name) for name in study.drivers]
    main = add("question", score)
    counts = [add("outcome", name) for name, each in study.outcomes.items() if each.kind == "count"]
    leaving = [add("leaving", True)] if "exits" in study.tables else []
    money = [add("outcome", name) for name, each in study.outcomes.items() if each.kind != "count"]
    does = [*counts, *leaving]
    pairs = [(source, main) for source in (*done, *causes, *ratings)]
    pairs += [(main, target) for target in (*does, *money)]
    pairs += [(source, target) for source in (*does, *done) for target in money]
    arrows = tuple(DeclaredArrow.model_validate({"from": a, "to": b}) for a, b in pairs)
    boxes = {name: DeclaredBox.model_validate(each) for name, each in names.items()}
    return ChainOutline(about=AboutChain(score=score), boxes=boxes, arrows=arrows)


def _part(model: type[Any], place: str, raw: Any, faults: list[str]) -> Any:
    if not isinstance(raw, dict):
        faults.append(f"{place}: missing; add [{place}]" if raw is None else f"{place}: write it as a table [{place}]")
        return None
    built, found = validated(model, raw)
    faults += [f"{place}.{fault}" for fault in found]
    return built


def _is_whole(place: str, box: DeclaredBox, study: Study, faults: list[str]) -> bool:
    """Tell whether a box is one known thing in its place; else append what is wrong with it."""
    if len(box.said) != 1:
        said = " and ".join(box.said) or "nothing"
        faults.append(f"{place}: says {said}; needed: exactly one of {', '.join(NAMED)}")
        return False
    questions = {**study.scores, **study.drivers}
    if box.question is not None and box.question not in questions:
        faults.append(f"{place}.question: no {box.question!r} in the study; it has {', '.join(questions)}")
        return False
    if box.outcome is not None and box.outcome not in study.outcomes:
        faults.append(f"{place}.outcome: no {box.outcome!r} in the study; it has {', '.join(study.outcomes)}")
        return False
    kind = box.kind(study)
    if kind == "initiative" and box.move != 1:
        faults.append(f"{place}.move: an initiative is done or not, and its effects are of all of it; remove the move")
        return False
    if box.stage is not None and box.stage not in STANDS[kind]:
        faults.append(f"{place}.stage: a {kind} stands in {' or '.join(STANDS[kind])}, not in {box.stage}")
        return False
    return True


def _faults_of_score(about: AboutChain, boxes: Mapping[str, DeclaredBox], study: Study) -> Iterator[str]:
    if about.score not in study.scores:
        yield f"chain.score: no score {about.score!r} in the study; its scores are {', '.join(study.scores)}"
    elif about.score not in [box.question for box in boxes.values()]:
        yield f"chain.score: no box asks {about.score!r}; add [boxes.{about.score}] with question"
    asked = Counter(value for box in boxes.values() for value in (box.question, box.outcome) if value)
    yield from (f"boxes: {name} stands in {times} boxes; keep one" for name, times in asked.items() if times > 1)


def _faults_of_arrows(
    arrows: Sequence[DeclaredArrow],
    named: Mapping[str, Any],
    boxes: Mapping[str, DeclaredBox],
    stages: Mapping[str, Stage],
    study: Study,
) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for number, arrow in enumerate(arrows, start=1):
        ends = (arrow.source, arrow.target)
        place = f"arrows {number} ({arrow.source} to {arrow.target})"
        unknown = [each for each in dict.fromkeys(ends) if each not in named]
        yield from (f"{place}: there is no box {each!r}; the boxes are {', '.join(named)}" for each in unknown)
        if ends in seen:
            yield f"{place}: written twice; remove one"
        seen.add(ends)
        if all(each in boxes for each in ends) and not _leads_on(*ends, boxes, stages, study):
            yield (
                f"{place}: leads from {stages[ends[0]]} to {stages[ends[1]]}; a cause comes before what it moves: "
                f"{', '.join(STAGES)}, and ratings and topics before a score"
            )


def _leads_on(
    source: str, target: str, boxes: Mapping[str, DeclaredBox], stages: Mapping[str, Stage], study: Study
) -> bool:
    ahead = STAGES.index(stages[target]) - STAGES.index(stages[source])
    if ahead or stages[source] != "perceived":
        return ahead > 0
    return boxes[source].kind(study) != "score" and boxes[target].kind(study) == "score"
