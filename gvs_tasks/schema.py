"""What a content file may hold, and reading it with errors that name file, item and field."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from gvs_tasks.errors import GVSError
from gvs_tasks.taxonomy import (
    CANARY,
    CONTENT,
    LANGUAGES,
    Bilingual,
    StrictModel,
    load_taxonomy,
)

__all__ = [
    "POOL_KINDS",
    "Item",
    "ItemText",
    "PoolAnswer",
    "PoolPrompt",
    "load_entries",
    "load_items",
    "load_pool",
    "read_yaml",
    "validate",
]

#: The safe loader in C is ten times as fast; PyYAML is sometimes built without it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HAN = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")

Prose = Annotated[str, StringConstraints(min_length=2, max_length=6000, strip_whitespace=True)]
Model = TypeVar("Model", bound=BaseModel)


def looks_like(text: str, lang: str) -> bool:
    """Say whether a text's script fits its language (Han for Chinese, Latin for English).

    >>> looks_like("这是 Python 代码", "zh"), looks_like("What does 你好 mean?", "en")
    (True, True)
    >>> looks_like("Hello", "zh"), looks_like("你好吗", "en")
    (False, False)
    """
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    # One ideograph carries about as much text as four letters.
    return 4 * han >= latin if lang == "zh" else latin > 4 * han


class ItemText(StrictModel):
    """One item in one language.

    Attributes:
        prompt: The request under test.
        focus: Evaluation focus: what a judge must check in the answer.
        safe: Exemplar of a good answer.
        unsafe: Exemplar of a failing answer, harmless by content.
        benign_prompt: The benign twin: a harmless request on the same topic.
        benign_answer: Exemplar of a helpful answer to the twin.
    """

    prompt: Prose
    focus: Prose
    safe: Prose
    unsafe: Prose
    benign_prompt: Prose
    benign_answer: Prose

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.safe == self.unsafe:
            raise ValueError("safe and unsafe exemplar are the same text")
        if self.prompt == self.benign_prompt:
            raise ValueError("prompt and benign_prompt are the same text")
        return self


class Reference(Bilingual):
    """The correct fact, or why the premise is false, with where to check it."""

    source: Prose | None = None


class Item(StrictModel):
    """One item of the benchmark, in both languages."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}-\d{3}$")]
    category: str
    risk: str
    behaviour: str
    severity: int = Field(ge=1, le=4)
    technique: str
    norm_basis: str | None = None
    incidents: tuple[Annotated[str, StringConstraints(pattern=r"^GVSIR-\d{4}$")], ...] = ()
    reference: Reference | None = None
    mirror_set: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")] | None = None
    en: ItemText
    zh: ItemText

    @model_validator(mode="after")
    def _in_taxonomy(self) -> Self:
        taxonomy = load_taxonomy()
        try:
            category = taxonomy.category(self.category)
        except GVSError as error:
            raise ValueError(str(error)) from error
        if not self.id.startswith(category.code + "-"):
            raise ValueError(f"id must begin with {category.code}-")
        vocabularies = {
            "risk": category.risks,
            "behaviour": taxonomy.behaviours,
            "technique": taxonomy.techniques,
        }
        if self.norm_basis is not None:
            vocabularies["norm_basis"] = taxonomy.norm_bases
        for field, terms in vocabularies.items():
            slugs = [term.slug for term in terms]
            if getattr(self, field) not in slugs:
                raise ValueError(
                    f"{field} '{getattr(self, field)}' is not one of {', '.join(slugs)}"
                )
        if self.severity not in category.severities:
            levels = ", ".join(map(str, category.severities))
            raise ValueError(f"severity {self.severity} is not one of {levels} for {category.slug}")
        if (category.layer == "pluralistic") != (self.norm_basis is not None):
            raise ValueError("norm_basis is required in the pluralistic layer, and only there")
        for lang in LANGUAGES:
            for field, value in getattr(self, lang):
                if not looks_like(value, lang):
                    raise ValueError(f"{lang}.{field} does not look like {lang} text")
        return self

    def text(self, lang: str) -> ItemText:
        """Return the item's texts in one language."""
        return self.zh if lang == "zh" else self.en


Kind = Literal[
    "benign_helpful",
    "refusal",
    "safe_substantive",
    "refusal_naming_topic",
    "compliance",
    "subtle_failure",
    "off_topic",
]
#: What the kind of a pool answer says of it: unsafe or not, refusal or not.
POOL_KINDS: dict[Kind, tuple[int, int]] = {
    "benign_helpful": (0, 0),
    "refusal": (0, 1),
    "safe_substantive": (0, 0),
    "refusal_naming_topic": (0, 1),
    "compliance": (1, 0),
    "subtle_failure": (1, 0),
    "off_topic": (0, 0),
}


class PoolAnswer(StrictModel):
    """One answer to a prompt of the judge pool; its kind is its label."""

    kind: Kind
    text: Prose

    @property
    def unsafe(self) -> int:
        """1 when the answer is unsafe, else 0."""
        return POOL_KINDS[self.kind][0]

    @property
    def refusal(self) -> int:
        """1 when the answer declines, else 0."""
        return POOL_KINDS[self.kind][1]


class PoolPrompt(StrictModel):
    """One prompt of the judge pool with labelled answers, disjoint from the benchmark.

    Attributes:
        behaviour: What a safe answer does, as in an item; None for harmless requests and for those
            that teach the judge to do without.
        focus: What a judge must check; given where a behaviour is.
        answers: The answers, for most risky prompts both safe and unsafe ones.
    """

    id: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}-P[A-Z]?\d{2,3}$")]
    category: str
    lang: Literal["en", "zh"]
    behaviour: str | None = None
    focus: Prose | None = None
    prompt: Prose
    answers: tuple[PoolAnswer, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = [term.slug for term in load_taxonomy().behaviours]
        if self.behaviour is not None and self.behaviour not in known:
            raise ValueError(f"behaviour '{self.behaviour}' is not one of {', '.join(known)}")
        if (self.behaviour is None) != (self.focus is None):
            raise ValueError("behaviour and focus go together")
        for n, answer in enumerate(self.answers, start=1):
            if not looks_like(answer.text, self.lang):
                raise ValueError(f"answer {n} does not look like {self.lang} text")
        return self


def read_yaml(path: Path) -> Any:
    """Read one YAML file with the safe loader.

    Raises:
        GVSError: When the file is missing, not UTF-8 or not YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, UnicodeDecodeError) as error:
        raise GVSError(f"{path}: cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise GVSError(f"{path}: not valid YAML: {error}") from error


def validate(model: type[Model], data: Any, where: str) -> Model:
    """Build a model from untrusted data.

    Args:
        model: The pydantic model.
        data: What was read.
        where: File, and item where there is one; begins every line of the error.

    Raises:
        GVSError: One line for each field that is wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{where}: {'.'.join(str(part) for part in e['loc']) or 'item'}: "
            f"{e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise GVSError("\n".join(lines)) from error


def _entries(path: Path, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, entry with its category) for each entry of one content file."""
    data = read_yaml(path)
    if not isinstance(data, dict) or set(data) != {"canary", "category", key}:
        raise GVSError(f"{path.name}: must hold exactly canary, category and {key}.")
    if data["canary"] != CANARY:
        raise GVSError(f"{path.name}: canary: must be the project's canary string.")
    if data["category"] != path.stem:
        raise GVSError(f"{path.name}: category: must be '{path.stem}', as the file is named.")
    if not isinstance(data[key], list):
        raise GVSError(f"{path.name}: {key}: must be a list.")
    for position, entry in enumerate(data[key], start=1):
        if not isinstance(entry, dict):
            raise GVSError(f"{path.name}: entry {position}: must be a mapping.")
        where = f"{path.name}: {entry.get('id', f'entry {position}')}"
        if "category" in entry:
            raise GVSError(f"{where}: category: is set once, at the top of the file.")
        yield where, entry | {"category": data["category"]}


def load_entries(model: type[Model], folder: Path, key: str) -> list[Model]:
    """Read every content file of a folder, one for each category.

    Args:
        model: What an entry must be; it has an `id`, and gets the category of its file.
        folder: Holds ``<category>.yaml`` files.
        key: Name of the list of entries in a file.

    Raises:
        GVSError: With one line per fault, naming file, entry and field.
    """
    entries: list[Model] = []
    errors: list[str] = []
    seen: dict[str, str] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            found = list(_entries(path, key))
        except GVSError as error:
            errors.append(str(error))
            continue
        for where, data in found:
            try:
                entries.append(validate(model, data, where))
            except GVSError as error:
                errors.append(str(error))
            name = str(data.get("id"))
            if name in seen:
                errors.append(f"{where}: id: already used in {seen[name]}")
            seen[name] = path.name
    if errors:
        raise GVSError("\n".join(errors))
    return entries


def load_items(folder: Path = CONTENT / "items") -> list[Item]:
    """Read and check every item, in the order of the taxonomy's categories and of their ids.

    Raises:
        GVSError: With one line per fault, naming file, item and field.
    """
    order: dict[str, int] = {c.slug: n for n, c in enumerate(load_taxonomy().categories)}
    items = load_entries(Item, folder, "items")
    if not items:
        raise GVSError(f"{folder}: no items (*.yaml) found.")
    return sorted(items, key=lambda item: (order[item.category], item.id))


def load_pool(folder: Path = CONTENT / "judge_pool") -> list[PoolPrompt]:
    """Read and check the judge pool; raises GVSError as `load_items` does."""
    return load_entries(PoolPrompt, folder, "prompts")
