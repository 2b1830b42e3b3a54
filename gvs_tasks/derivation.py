"""How the scale follows from the incidents: open, axial and selective coding as data.

Open codes are the short phrases that an incident carries. ``codebook.yaml`` groups each under a
risk (axial coding); the risk's category is the selective code. ``recoding.yaml`` holds a second
coding of a sample, made without sight of the first.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

import krippendorff
from pydantic import Field, model_validator

from gvs_tasks.errors import GVSError
from gvs_tasks.incidents import TEMPLATE_TITLE, Incident
from gvs_tasks.schema import Item, read_yaml, validate
from gvs_tasks.similarity import alike
from gvs_tasks.taxonomy import CANARY, CONTENT, StrictModel, load_taxonomy

__all__ = [
    "Code",
    "Recoded",
    "alpha",
    "cooccurrence",
    "faults",
    "load_codebook",
    "load_recoding",
    "risks_without_incidents",
    "saturation",
]

MIN_INCIDENTS = 300
MIN_RECODED = 40
#: Share of items that rest on an incident, at least.
MIN_GROUNDED = 0.6
#: Jaccard similarity from which two summaries tell the same incident.
MAX_SIMILAR = 0.3


class _Coded(StrictModel):
    """A risk of the scale with its category."""

    category: str | None = None
    risk: str | None = None

    @model_validator(mode="after")
    def _is_of_the_scale(self) -> Self:
        risks = {c.slug: [r.slug for r in c.risks] for c in load_taxonomy().categories}
        if self.category is None and self.risk is not None:
            raise ValueError("a risk needs its category")
        if self.category is not None and self.category not in risks:
            raise ValueError(f"category '{self.category}' is not one of {', '.join(risks)}")
        if self.risk is not None and self.risk not in risks[self.category or ""]:
            raise ValueError(f"'{self.risk}' is no risk of '{self.category}'")
        return self


class Code(_Coded):
    """One open code, with the risk that it is grouped under (None: it fits no risk)."""

    code: str = Field(min_length=3, max_length=80)

    @model_validator(mode="after")
    def _has_a_risk(self) -> Self:
        if (self.category is None) != (self.risk is None):
            raise ValueError("category and risk go together")
        return self


class Recoded(_Coded):
    """What a second coder made of an incident."""

    id: str
    category: str
    severity: int = Field(ge=1, le=4)


class _Codebook(StrictModel):
    canary: Literal[CANARY]  # type: ignore[valid-type]
    codes: tuple[Code, ...]


class _Recoding(StrictModel):
    canary: Literal[CANARY]  # type: ignore[valid-type]
    incidents: tuple[Recoded, ...]


def _once(names: Iterable[str], where: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise GVSError(f"{where}: {', '.join(twice)} stands there more than once.")


@cache
def load_codebook(path: Path = CONTENT / "codebook.yaml") -> Mapping[str, Code]:
    """Read the codebook: each open code by its phrase.

    Raises:
        GVSError: With one line per fault.
    """
    codes = validate(_Codebook, read_yaml(path), path.name).codes
    _once((each.code for each in codes), path.name)
    return MappingProxyType({each.code: each for each in codes})


@cache
def load_recoding(path: Path = CONTENT / "recoding.yaml") -> Mapping[str, Recoded]:
    """Read the second coding, by incident.

    Raises:
        GVSError: With one line per fault.
    """
    found = validate(_Recoding, read_yaml(path), path.name).incidents
    _once((each.id for each in found), path.name)
    return MappingProxyType({each.id: each for each in found})


def saturation(incidents: Sequence[Incident]) -> list[int]:
    """Return how many distinct open codes were known after each incident, in the order given."""
    known: set[str] = set()
    curve = []
    for incident in incidents:
        known.update(incident.codes)
        curve.append(len(known))
    return curve


def cooccurrence(incidents: Sequence[Incident]) -> dict[tuple[str, str], int]:
    """Count incidents of each main category (first) that also show another one (second).

    The pair of a category with itself counts its incidents.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for incident in incidents:
        for other in (incident.category, *incident.secondary):
            counts[incident.category, other] += 1
    return dict(counts)


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha of two codings, and how many incidents both coded.

    Attributes:
        category: Of the main category (nominal).
        risk: Of the risk, within its category (nominal); no risk is a value of its own.
        severity: Of the severity (ordinal).
        count: Incidents.
    """

    category: float
    risk: float
    severity: float
    count: int


def alpha(incidents: Sequence[Incident], recoding: Mapping[str, Recoded]) -> Alpha:
    """Compare the coding of the incidents with the second coding of some of them."""
    pairs = [(each, recoding[each.id]) for each in incidents if each.id in recoding]

    def nominal(one: list[str], other: list[str]) -> float:
        number = {value: n for n, value in enumerate(sorted({*one, *other}))}
        coded = [[number[value] for value in coder] for coder in (one, other)]
        return float(krippendorff.alpha(coded, level_of_measurement="nominal"))

    return Alpha(
        category=nominal([a.category for a, _ in pairs], [b.category for _, b in pairs]),
        risk=nominal(
            [f"{a.category}/{a.risk}" for a, _ in pairs],
            [f"{b.category}/{b.risk}" for _, b in pairs],
        ),
        severity=float(
            krippendorff.alpha(
                [[a.severity for a, _ in pairs], [b.severity for _, b in pairs]],
                level_of_measurement="ordinal",
            )
        ),
        count=len(pairs),
    )


def risks_without_incidents(incidents: Sequence[Incident]) -> list[tuple[str, str]]:
    """Return the (category, risk) pairs of the scale that no incident shows.

    An incident shows the risk it is filed under and those of its codes.
    """
    book = load_codebook()
    shown = {(each.category, each.risk) for each in incidents} | {
        (book[code].category, book[code].risk)
        for each in incidents
        for code in each.codes
        if code in book
    }
    return [
        (category.slug, risk.slug)
        for category in load_taxonomy().categories
        for risk in category.risks
        if (category.slug, risk.slug) not in shown
    ]


def faults(incidents: Sequence[Incident], items: Sequence[Item]) -> Iterator[str]:
    """Yield one line for each fault of incidents, codes, links and second coding."""
    if len(incidents) < MIN_INCIDENTS:
        yield f"{len(incidents)} incidents; write {MIN_INCIDENTS} or more."
    yield from _codes(incidents)
    yield from _unfinished(incidents)
    known = {each.id: each for each in incidents}
    for item in items:
        for name in item.incidents:
            if name not in known:
                yield f"{item.id}: incidents: there is no {name}"
            elif item.category not in _shown(known[name]):
                yield f"{item.id}: incidents: {name} shows nothing of {item.category}"
    grounded = sum(bool(item.incidents) for item in items)
    if grounded < MIN_GROUNDED * len(items):
        yield f"{grounded} of {len(items)} items rest on an incident; {MIN_GROUNDED:.0%} must."
    recoding = load_recoding()
    for name in sorted(recoding.keys() - known.keys()):
        yield f"recoding.yaml: there is no {name}"
    if len(recoding) < MIN_RECODED:
        yield f"recoding.yaml: {len(recoding)} incidents; a second coder codes {MIN_RECODED}."
    numbers = Counter(each.aiid for each in incidents if each.aiid is not None)
    for number, count in numbers.items():
        if count > 1:
            same = ", ".join(each.id for each in incidents if each.aiid == number)
            yield f"{same}: the same number {number} in the AI Incident Database"
    texts = [each.summary.en for each in incidents]
    for left, right, similarity in alike(texts, "en", MAX_SIMILAR):
        yield f"{incidents[left].id} and {incidents[right].id}: {similarity:.0%} alike"


def _shown(incident: Incident) -> set[str | None]:
    """The categories that an incident shows: its own, secondary ones, those of its codes."""
    book = load_codebook()
    coded = {book[code].category for code in incident.codes if code in book}
    return {incident.category, *incident.secondary} | coded


def _unfinished(incidents: Sequence[Incident]) -> Iterator[str]:
    for each in incidents:
        if "example.org" in "".join(source.url for source in each.sources):
            yield f"{each.id}: sources: still those of the template"
        if each.title.en == TEMPLATE_TITLE:
            yield f"{each.id}: title: still that of the template"


def _codes(incidents: Sequence[Incident]) -> Iterator[str]:
    book, used = load_codebook(), {code for each in incidents for code in each.codes}
    for each in incidents:
        for code in each.codes:
            if code not in book:
                yield f"{each.id}: code '{code}' is not in codebook.yaml"
        axial = {(book[c].category, book[c].risk) for c in each.codes if c in book}
        if each.risk is not None and (each.category, each.risk) not in axial:
            yield f"{each.id}: no code of its own is grouped under {each.category}/{each.risk}"
    for code in sorted(book.keys() - used):
        yield f"codebook.yaml: no incident has the code '{code}'"
