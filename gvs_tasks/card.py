"""The generated parts of the dataset card: counts, columns and citation."""

import re
from collections import Counter
from typing import Any

from gvs_tasks.dataset import CONFIGS, load
from gvs_tasks.derivation import (
    alpha,
    load_codebook,
    load_recoding,
    risks_without_incidents,
    saturation,
)
from gvs_tasks.errors import GVSError
from gvs_tasks.gates import coverage
from gvs_tasks.incidents import load_incidents
from gvs_tasks.schema import POOL_KINDS, Item, load_items, read_yaml
from gvs_tasks.taxonomy import CONTENT, LANGUAGES, load_taxonomy

__all__ = ["CARD", "CITATION", "ROW", "bibtex", "meanings", "outdated", "render"]

#: Not part of the installed package.
CARD = CONTENT.parent.parent / "dataset_card/README.md"
CITATION = CONTENT.parent.parent / "CITATION.cff"
ROW = {
    "text_en": "a harmful or sensitive prompt in English, with focus and exemplars",
    "text_zh": "the same item in Chinese; rows share `id`",
    "benign_en": "the harmless twin of the item with that `id`, with a helpful answer",
    "benign_zh": "the same in Chinese",
    "taxonomy": "a category with its layer, definitions, risks and severities in both languages",
    "incidents": "a real incident in both languages, with its codes, sources and items",
    "judge_pool": "a labelled exchange for training judges, not part of the benchmark",
}
_PLACE = {"id, lang, layer, category, risk": "which item, and where it stands in the scale"}
_CANARY = {"canary": "the canary string, so that published samples carry it too"}
#: What the columns mean, for the configs that begin with the key.
COLUMNS: dict[str, dict[str, str]] = {
    "text": _PLACE
    | {
        "behaviour": "what a safe answer does: refuse, warn, correct, ...",
        "severity": "1 minor to 4 critical, as the taxonomy defines them",
        "technique": "how the request is framed: direct, role play, false premise, ...",
        "norm_basis": "third layer only: does the norm rest on universal rights and facts, "
        "or on context?",
        "incidents": "incidents the item is grounded in; empty when it is constructed",
        "reference, reference_source": "the correct fact, and where to check it, where facts are "
        "at stake",
        "mirror_set": "items that ask the same about another country, party, religion or group",
        "prompt": "the request under test",
        "focus": "what a judge must check in the answer",
        "safe, unsafe": "exemplar answers; the unsafe ones are harmless by content",
    }
    | _CANARY,
    "benign": _PLACE
    | {
        "prompt": "a harmless request on the topic of the item",
        "answer": "a helpful answer to it",
    }
    | _CANARY,
    "taxonomy": {
        "layer, layer_en, layer_zh": "the layer: short name, and its name in both languages",
        "category, code": "the category: short name, and what the ids of its items begin with",
        "name_en, name_zh, definition_en, definition_zh": "name and definition",
        "risks": "its risks, each with a short name (`slug`) and a name in both languages",
        "severities": "the severities that its items may have",
    },
    "incidents": {
        "id": "number in GVSIR",
        "title, summary, harm, severity_reason": "what happened, in both languages",
        "date": "as exact as it is known",
        "modality, stage": "what the system put out, and where in its life it went wrong: data, "
        "model or output",
        "category, risk": "where it stands in the scale; no risk when it fits none",
        "secondary": "other categories it touches",
        "codes": "open codes: short phrases of what happened",
        "systems, developers, deployers": "who and what was involved",
        "countries": "ISO 3166; ZZ is worldwide or unknown",
        "severity": "1 minor to 4 critical",
        "status": "confirmed, alleged or near miss",
        "sources": "public reports: publisher and address",
        "aiid": "number in the AI Incident Database",
        "items": "items of the benchmark that rest on it",
    }
    | _CANARY,
    "judge_pool": {
        "id, prompt_id": "answers to one prompt share `prompt_id`",
        "category, lang": "where it stands in the scale (`everyday`: nowhere), and its language",
        "kind": f"kind of answer: {', '.join(POOL_KINDS)}",
        "behaviour, focus": "as in an item; null where the judge is to do without",
        "prompt, response": "the exchange",
        "unsafe, refusal": "the labels, 0 or 1",
    }
    | _CANARY,
}


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


def counts(items: list[Item], rows: dict[str, int]) -> str:
    """Return the tables of the counts, in Markdown, with the number of rows of each config."""
    parts = coverage(items)
    levels = [severity.level for severity in load_taxonomy().severities]
    layers = {layer.slug: layer.name.en for layer in load_taxonomy().layers}
    sets = {item.mirror_set for item in items if item.mirror_set}
    severities = Counter(item.severity for item in items)
    lines = ["| config | rows | a row is |", "|---|---|---|"]
    lines += [f"| `{config}` | {count} | {ROW[config]} |" for config, count in rows.items()]
    lines += [
        "",
        f"{len(items)} items in two languages, {len(items) * len(LANGUAGES)} prompts. Items that "
        f"ask the same about another country, party, religion or group form one of {len(sets)} "
        f"mirror sets; counted once each, there are {sum(p.situations for p in parts)} distinct "
        "situations.",
        "",
        "| category | layer | items | distinct | risks | severity 1 / 2 / 3 / 4 "
        "| safe exemplars that are more than a refusal |",
        "|---|---|---|---|---|---|---|",
    ]
    for part in parts:
        spread = " / ".join(str(part.severities.get(level, "–")) for level in levels)
        lines.append(
            f"| {part.category.name.en} | {layers[part.category.layer].split(maxsplit=1)[0]} "
            f"| {part.items} | {part.situations} | {len(part.risks)} | {spread} "
            f"| {part.substantive:.0%} |"
        )
    behaviours = Counter(item.behaviour for item in items)
    techniques = Counter(item.technique for item in items)
    norms = Counter(item.norm_basis for item in items if item.norm_basis)
    lines += [
        "",
        f"Severity: {', '.join(f'{level}: {severities[level]}' for level in levels)}. ",
        f"Expected behaviour: {_counted(behaviours)}. ",
        f"Technique: {_counted(techniques)}. ",
        f"Norm basis in the third layer: {_counted(norms)}. ",
        f"Items with a reference: {sum(item.reference is not None for item in items)}.",
    ]
    return "\n".join(lines)


def derivation_counts(items: list[Item]) -> str:
    """Return what the card says of the incidents behind the scale, in Markdown."""
    incidents, book = load_incidents(), load_codebook()
    found = alpha(incidents, load_recoding())
    grounded = sum(bool(item.incidents) for item in items)
    share = f"{grounded / len(items):.0%}"
    missing = [f"{category}/{risk}" for category, risk in risks_without_incidents(incidents)]
    homeless = [each.id for each in incidents if each.risk is None]
    curve = saturation(incidents)
    statuses = Counter(each.status.replace("_", " ") for each in incidents)
    years = sorted({each.year for each in incidents})
    return "\n".join(
        [
            f"- {len(incidents)} incidents from {years[0]} to {years[-1]} ({_counted(statuses)}), "
            f"with {len(book)} open codes. The last 50 incidents added {curve[-1] - curve[-51]} "
            "codes.",
            f"- A second coder coded {found.count} of them without sight of the first coding. "
            f"Krippendorff's alpha: category {found.category:.2f}, risk {found.risk:.2f}, severity "
            f"{found.severity:.2f} (ordinal).",
            f"- {grounded} of {len(items)} items ({share}) rest on an incident, "
            "the others are constructed.",
            f"- Risks that no incident shows: {', '.join(missing) or 'none'}.",
            f"- Incidents that fit no risk of their category ({len(homeless)}): "
            f"{', '.join(homeless) or 'none'}.",
        ]
    )


def _family(config: str) -> str:
    return next(family for family in COLUMNS if config.startswith(family))


def meanings(config: str) -> dict[str, str]:
    """Return what each column of a config means.

    >>> meanings("benign_zh")["answer"]
    'a helpful answer to it'
    """
    return {
        name: meaning
        for names, meaning in COLUMNS[_family(config)].items()
        for name in names.split(", ")
    }


def columns() -> str:
    """Return the tables of the columns, in Markdown."""
    tables = []
    for family, rows in COLUMNS.items():
        configs = [config for config in CONFIGS if _family(config) == family]
        lines = [f"### Columns of {' and '.join(f'`{config}`' for config in configs)}", ""]
        lines += ["| column | meaning |", "|---|---|"]
        for names, meaning in rows.items():
            lines.append(f"| `{names.replace(', ', '`, `')}` | {meaning} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _entry(kind: str, key: str, work: dict[str, Any]) -> str:
    authors = " and ".join(
        # Names that are not a person's stand in braces of their own, or BibTeX takes them apart.
        name.replace(" et al.", " and others") if name.endswith(" et al.") else f"{{{name}}}"
        for name in (author["name"] for author in work["authors"])
    )
    fields = {"title": work["title"], "author": authors}
    fields |= {name: work[name] for name in ("version", "year", "url") if name in work}
    if "identifiers" in work:
        fields["note"] = ", ".join(identifier["value"] for identifier in work["identifiers"])
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def bibtex() -> str:
    """Return the citation file as BibTeX: the software and data, then the paper of the scale.

    Raises:
        GVSError: When the file cannot be read.
    """
    software = read_yaml(CITATION)
    paper = software["preferred-citation"]
    return f"{_entry('misc', 'gvs_bench', software)}\n\n{_entry('article', 'gvs_paper', paper)}"


def size_category(rows: int) -> str:
    """Return the Hub's word for a dataset of so many rows, below a million.

    >>> size_category(6382)
    '1K<n<10K'
    """
    bounds = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
    return next(name for bound, name in bounds.items() if rows < bound)


def render() -> str:
    """Return the whole card with its generated parts brought up to date.

    Raises:
        GVSError: When the card has lost the marks between which they stand.
    """
    items = load_items()
    rows = {config: len(load(config)) for config in CONFIGS}
    text = CARD.read_text(encoding="utf-8")
    parts = {
        "counts": counts(items, rows),
        "columns": columns(),
        "derivation": derivation_counts(items),
        "citation": f"```bibtex\n{bibtex()}\n```",
    }
    for name, fresh in parts.items():
        first = f"<!-- {name}: scripts/generate_card.py -->"
        last = f"<!-- end of {name} -->"
        before, _, rest = text.partition(first)
        _, found, after = rest.partition(last)
        if not found:
            raise GVSError(f"{CARD}: the marks '{first}' and '{last}' are missing.")
        text = f"{before}{first}\n\n{fresh}\n\n{last}{after}"
    size = size_category(sum(rows.values()))
    return re.sub(r"(?<=^size_categories:\n- ).*", size, text, count=1, flags=re.MULTILINE)


def outdated() -> bool:
    """Say whether the generated parts of a checkout's card are not those of its data."""
    return CARD.is_file() and CARD.read_text(encoding="utf-8") != render()
