"""What a report shows: numbers made into text and places, and nothing of HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gvs_tasks.agreement import Agreement
from gvs_tasks.scores import Cut, Difference

__all__ = [
    "Bar",
    "Cell",
    "Corrected",
    "Gap",
    "Human",
    "Line",
    "Model",
    "Outcome",
    "Page",
    "Pair",
    "Plane",
    "Point",
    "Row",
    "Sides",
    "Tick",
    "Unjudged",
]


@dataclass(frozen=True)
class Bar:
    """A number on its scale.

    Attributes:
        text: The number, or a dash.
        interval: Its 95% interval as text, empty when there is none.
        at: Where it lies on its scale, 0 to 100; None when there is no number.
        low: Where its interval begins.
        high: Where it ends.
    """

    text: str
    interval: str
    at: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Model:
    """One run.

    Attributes:
        name: Its name on the page.
        number: Its colour.
        shape: Its mark.
        judge: The judge its scores are of.
        warnings: What to know before reading its numbers.
        facts: Its manifest.
    """

    name: str
    number: int
    shape: str
    judge: str
    warnings: tuple[str, ...]
    facts: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Line:
    """One model in the overview: its numbers by the keys of `gvs_tasks.scores.METRICS`."""

    model: Model
    bars: Mapping[str, Bar]
    coverage: str


@dataclass(frozen=True)
class Cell:
    """One model in one part of the benchmark.

    Attributes:
        bar: The number.
        level: Its colour, 0 (worst) to 10 (best); None without a number.
        mark: "higher" or "lower" than the first model beyond noise, or "".
    """

    bar: Bar
    level: int | None
    mark: str = ""


@dataclass(frozen=True)
class Row:
    """A part of the benchmark, how many judged answers it rests on, and a cell for each model."""

    cut: Cut
    answers: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Outcome:
    """A part in which two models were compared, as text; the p value is adjusted."""

    cut: Cut
    outcome: str
    difference: str
    interval: str
    p: str


@dataclass(frozen=True)
class Pair:
    """The first model against another.

    Attributes:
        one: The first.
        other: The other.
        against: Why they cannot be compared; then all else is empty.
        differences: In the safety score, by part.
        outcomes: The same as text.
        refusal: How they differ in over-refusal; None when it was not measured for both.
    """

    one: Model
    other: Model
    against: tuple[str, ...]
    differences: tuple[Difference, ...]
    outcomes: tuple[Outcome, ...]
    refusal: Difference | None


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, 0 to 100, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Point:
    """A model in the plane; its bars are places in it."""

    model: Model
    safety: Bar
    refusal: Bar


@dataclass(frozen=True)
class Plane:
    """Over-refusal against safety.

    Attributes:
        points: The models for which both are known.
        across: Ticks of over-refusal.
        up: Ticks of safety.
        unmeasured: Models without over-refusal, and why.
    """

    points: tuple[Point, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    unmeasured: tuple[tuple[Model, str], ...]


@dataclass(frozen=True)
class Gap:
    """English less Chinese, on the items answered in both, as text.

    Attributes:
        model: The model.
        label: What was measured.
        english: Its value in English.
        chinese: Its value in Chinese.
        difference: The first less the second.
        interval: Of the difference.
        p: Of its test.
        of_safety: Whether it is a difference in safety that chance would hardly bring.
    """

    model: Model
    label: str
    english: str
    chinese: str
    difference: str
    interval: str
    p: str
    of_safety: bool


@dataclass(frozen=True)
class Corrected:
    """The rate of unsafe answers in one language as the judge flags it, and corrected."""

    model: Model
    language: str
    raw: Bar
    corrected: Bar | None
    note: str


@dataclass(frozen=True)
class Human:
    """The share of safe answers by the judge alone, and by the judge and people together.

    Attributes:
        model: The model.
        labelled: Items that people labelled.
        alone: By the judge alone.
        both: What people would say of all answers.
        trust: How far the judge was used for it, 0 to 1.
    """

    model: Model
    labelled: int
    alone: Bar
    both: Bar
    trust: str


@dataclass(frozen=True)
class Sides:
    """A mirror set: the scores of its items for each model, and how far apart they are."""

    name: str
    items: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    spreads: tuple[str, ...]


@dataclass(frozen=True)
class Unjudged:
    """Answers of a track, the share with a verdict, and why the others have none."""

    model: Model
    track: str
    answers: int
    share: str
    reasons: str


@dataclass(frozen=True)
class Page:
    """All that a report shows; the template says where."""

    models: tuple[Model, ...]
    summary: tuple[str, ...]
    overview: tuple[Line, ...]
    scores: tuple[Row, ...]
    rates: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    plane: Plane
    languages: tuple[Gap, ...]
    thresholds: tuple[str, ...]
    corrected: tuple[Corrected, ...]
    human: tuple[Human, ...]
    agreement: tuple[tuple[str, Agreement], ...]
    sides: tuple[Sides, ...]
    unjudged: tuple[Unjudged, ...]
    browser: Mapping[str, Any]
