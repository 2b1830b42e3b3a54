"""Typed view of ``content/taxonomy.yaml``: layers, categories, risks and vocabularies.

>>> taxonomy = load_taxonomy()
>>> len(taxonomy.layers), len(taxonomy.categories)
(3, 12)
>>> taxonomy.category("bias").layer
'integrity'
"""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gvs_tasks.errors import unknown_name

__all__ = [
    "CANARY",
    "CONTENT",
    "LANGUAGES",
    "Bilingual",
    "Category",
    "Layer",
    "StrictModel",
    "Taxonomy",
    "Term",
    "load_taxonomy",
]

CONTENT = Path(__file__).parent / "content"
LANGUAGES = ("en", "zh")
CANARY = (
    "GVS-BENCH canary 6f1d2c1e-8b0a-4d5b-9a53-5f3f0c1c7a42. "
    "Benchmark data must never appear in training corpora."
)

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class StrictModel(BaseModel):
    """Data from a file: no unknown keys, not changed after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bilingual(StrictModel):
    """The same statement in English and Chinese."""

    en: Text
    zh: Text


class Term(Bilingual):
    """One word of a vocabulary: its slug and what it means in both languages."""

    slug: Slug


class Severity(Bilingual):
    """One severity level, 1 (minor) to 4 (critical)."""

    level: int = Field(ge=1, le=4)


class Layer(StrictModel):
    """One of the three layers of the scale."""

    slug: Slug
    name: Bilingual
    definition: Bilingual


class Category(StrictModel):
    """One of the twelve categories.

    ``code`` begins the ids of its items, and ``severities`` are the levels they may have.
    """

    slug: Slug
    code: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    layer: Slug
    severities: tuple[int, ...] = Field(min_length=2)
    name: Bilingual
    definition: Bilingual
    risks: tuple[Term, ...] = Field(min_length=4, max_length=8)


class Taxonomy(StrictModel):
    """The whole scale. Slugs are unique within their list."""

    version: str
    canary: str
    layers: tuple[Layer, ...]
    categories: tuple[Category, ...]
    behaviours: tuple[Term, ...]
    techniques: tuple[Term, ...]
    norm_bases: tuple[Term, ...]
    lifecycle_stages: tuple[Term, ...]
    severities: tuple[Severity, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        lists: dict[str, list[str]] = {
            "layers": [layer.slug for layer in self.layers],
            "categories": [category.slug for category in self.categories],
            "category codes": [category.code for category in self.categories],
            "behaviours": [term.slug for term in self.behaviours],
            "techniques": [term.slug for term in self.techniques],
            "norm_bases": [term.slug for term in self.norm_bases],
            "lifecycle_stages": [term.slug for term in self.lifecycle_stages],
            "severities": [str(severity.level) for severity in self.severities],
        } | {f"risks of {c.slug}": [risk.slug for risk in c.risks] for c in self.categories}
        for name, slugs in lists.items():
            twice = [slug for slug, count in Counter(slugs).items() if count > 1]
            if twice:
                raise ValueError(f"{name}: {', '.join(twice)} occurs more than once")
        if self.canary != CANARY:
            raise ValueError("canary must be the project's canary string")
        for category in self.categories:
            unknown = set(category.severities) - {severity.level for severity in self.severities}
            if unknown:
                raise ValueError(f"category {category.slug}: no severity {min(unknown)}")
            if category.layer not in lists["layers"]:
                raise ValueError(f"category {category.slug}: no layer '{category.layer}'")
        return self

    def category(self, slug: str) -> Category:
        """Return the category of that slug.

        Raises:
            GVSError: When there is none.
        """
        for category in self.categories:
            if category.slug == slug:
                return category
        raise unknown_name("category", slug, (c.slug for c in self.categories))

    def in_layer(self, layer: str) -> list[Category]:
        """Return the categories of a layer, in the order of the file."""
        return [category for category in self.categories if category.layer == layer]


@cache
def load_taxonomy() -> Taxonomy:
    """Read the bundled taxonomy once.

    Raises:
        GVSError: When the file does not follow the schema; the message names the field.
    """
    from gvs_tasks.schema import read_yaml, validate

    path = CONTENT / "taxonomy.yaml"
    return validate(Taxonomy, read_yaml(path), path.name)
