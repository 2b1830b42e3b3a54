"""GVSIR, the incident repository: real incidents that the benchmark's items are grounded in."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from gvs_tasks.errors import GVSError, unknown_name
from gvs_tasks.schema import Item, load_entries, looks_like
from gvs_tasks.taxonomy import CANARY, CONTENT, LANGUAGES, Bilingual, StrictModel, load_taxonomy
from gvs_tasks.terms import Modality, Stage

__all__ = [
    "Incident",
    "Source",
    "append_template",
    "find_incident",
    "items_of",
    "load_incidents",
    "select",
]

#: Of an entry that nobody has filled in yet.
TEMPLATE_TITLE = "What happened, in five to twelve words"
#: The highest number ever given. An id is never given to another incident.
LAST_ISSUED = 352
Name = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
Country = Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")]
Date = Annotated[str, StringConstraints(pattern=r"^20\d\d(-(0[1-9]|1[0-2])(-[0-3]\d)?)?$")]


class Source(StrictModel):
    """Where an incident is documented."""

    publisher: Name
    url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]


class Incident(StrictModel):
    """One incident, in both languages.

    Attributes:
        id: Stable; never given to another incident.
        date: Year, month or day, as far as it is known (ISO 8601).
        modality: What the system put out, or was built for.
        stage: Where in a system's life it went wrong: data, model, or output.
        category: The category of the scale that it shows best (selective code).
        risk: The risk of that category (axial code); None when it fits none.
        secondary: Further categories.
        codes: What happened, in short general phrases of the codebook (open codes).
        systems: What was used, as far as it is known; likewise developers and deployers.
        countries: ISO 3166 codes; ZZ is worldwide or unknown.
        severity: By the taxonomy's definitions.
        status: Whether it is documented (a published test of a deployed system is), contested, or
            was an attempt, or a finding before anybody was harmed.
        aiid: Number in the AI Incident Database.
    """

    id: Annotated[str, StringConstraints(pattern=r"^GVSIR-\d{4}$")]
    title: Bilingual
    summary: Bilingual
    date: Date
    modality: Modality
    stage: Stage
    category: str
    risk: str | None = None
    secondary: tuple[str, ...] = ()
    codes: tuple[Name, ...] = Field(min_length=1)
    systems: tuple[Name, ...] = ()
    developers: tuple[Name, ...] = ()
    deployers: tuple[Name, ...] = ()
    countries: tuple[Country, ...] = Field(min_length=1)
    harm: Bilingual
    severity: int = Field(ge=1, le=4)
    severity_reason: Bilingual
    status: Literal["confirmed", "alleged", "near_miss"]
    sources: tuple[Source, ...] = Field(min_length=1)
    aiid: int | None = None

    @property
    def year(self) -> str:
        """The year, four digits."""
        return self.date[:4]

    @field_validator("date")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        if len(value) == len("2024-01-31"):
            date.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _fits_the_taxonomy(self) -> Self:
        taxonomy = load_taxonomy()
        slugs = [category.slug for category in taxonomy.categories]
        for slug in (self.category, *self.secondary):
            if slug not in slugs:
                raise ValueError(f"category '{slug}' is not one of {', '.join(slugs)}")
        if self.category in self.secondary or len(set(self.secondary)) < len(self.secondary):
            raise ValueError("secondary names a category twice")
        risks = [risk.slug for risk in taxonomy.category(self.category).risks]
        if self.risk is not None and self.risk not in risks:
            raise ValueError(f"risk '{self.risk}' is not one of {', '.join(risks)}")
        for field in ("title", "summary", "harm", "severity_reason"):
            for lang in LANGUAGES:
                if not looks_like(getattr(getattr(self, field), lang), lang):
                    raise ValueError(f"{field}.{lang} does not look like {lang} text")
        return self


@cache
def load_incidents(folder: Path = CONTENT / "incidents") -> tuple[Incident, ...]:
    """Read and check every incident, in the order of their ids.

    Raises:
        GVSError: With one line per fault, naming file, incident and field.
    """
    return tuple(sorted(load_entries(Incident, folder, "incidents"), key=lambda each: each.id))


def find_incident(name: str) -> Incident:
    """Return one incident; its number alone will do.

    Raises:
        GVSError: When there is none of that name.
    """
    known = {each.id: each for each in load_incidents()}
    number = re.fullmatch(r"(?:GVSIR-)?0*(\d{1,4})", name.strip(), re.IGNORECASE)
    wanted = f"GVSIR-{int(number[1]):04}" if number else name
    if wanted not in known:
        raise unknown_name("incident", wanted, known)
    return known[wanted]


def select(
    incidents: Iterable[Incident],
    category: str | None = None,
    modality: Modality | None = None,
    stage: Stage | None = None,
    year: int | None = None,
    country: str | None = None,
) -> list[Incident]:
    """Return the incidents that fit every filter that is given; secondary categories count.

    Raises:
        GVSError: When there is no such category, or the country is not two letters.
    """
    if category is not None:
        load_taxonomy().category(category)
    if country is not None and not re.fullmatch("[A-Za-z]{2}", country):
        raise GVSError(f"Country '{country}': give its two letters (ISO 3166), such as US.")
    return [
        each
        for each in incidents
        if (category is None or category in (each.category, *each.secondary))
        and modality in (None, each.modality)
        and stage in (None, each.stage)
        and (year is None or each.year == str(year))
        and (country is None or country.upper() in each.countries)
    ]


def items_of(items: Sequence[Item]) -> dict[str, list[str]]:
    """Return the ids of the items that each incident grounds."""
    found: dict[str, list[str]] = defaultdict(list)
    for item in items:
        for name in item.incidents:
            found[name].append(item.id)
    return dict(found)


def append_template(category: str, folder: Path) -> tuple[Path, str]:
    """Append a new incident to a category's file; return the file and the incident's id.

    The entry has a valid form, so that `gvs check` names what it still lacks: a title, a source
    and a code of the codebook.

    Raises:
        GVSError: When there is no such category, or the file cannot be read or written.
    """
    known = load_taxonomy().category(category)
    path = folder / f"{category}.yaml"
    entries = load_entries(Incident, folder, "incidents")
    last = max((int(each.id.removeprefix("GVSIR-")) for each in entries), default=0)
    name = f"GVSIR-{max(last, LAST_ISSUED) + 1:04}"
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else _HEAD.format(category)
        old = old.replace("incidents: []", "incidents:")
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(
            old.rstrip("\n")
            + "\n"
            + _TEMPLATE.format(name=name, risk=known.risks[0].slug, title=TEMPLATE_TITLE),
            encoding="utf-8",
        )
        os.replace(fresh, path)
    except OSError as error:
        raise GVSError(f"{path}: cannot be written ({error}).") from error
    return path, name


_HEAD = f'canary: "{CANARY}"\ncategory: {{}}\nincidents:\n'
_TEMPLATE = """\
  - id: {name}
    title:
      en: {title}
      zh: 用一句话说明发生了什么
    summary:
      en: |-
        Who did what with which kind of system, what followed, and how it is documented.
      zh: |-
        谁用什么系统做了什么，造成了什么后果，有何佐证。
    date: "2026"
    modality: text
    stage: output
    risk: {risk}
    secondary: []
    codes:
      - to be coded
    systems: []
    developers: []
    deployers: []
    countries: [ZZ]
    harm:
      en: The harm in a few words
      zh: 简述危害
    severity: 2
    severity_reason:
      en: Why it has this severity.
      zh: 定级理由。
    status: alleged
    sources:
      - publisher: Name of the publisher
        url: https://example.org/replace-this-address
    aiid: null
"""
