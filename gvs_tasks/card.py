"""The dataset card's counts, from the data."""

from collections import Counter

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
from gvs_tasks.schema import Item, load_items
from gvs_tasks.taxonomy import CONTENT, LANGUAGES, load_taxonomy

__all__ = ["CARD", "outdated", "render"]

#: Not part of the installed package.
CARD = CONTENT.parent.parent / "dataset_card/README.md"
MARKS = {
    name: (f"<!-- {name}: scripts/generate_card.py -->", f"<!-- end of {name} -->")
    for name in ("counts", "derivation")
}
ROW = {
    "text_en": "a harmful or sensitive prompt in English, with focus and exemplars",
    "text_zh": "the same item in Chinese; rows share `id`",
    "benign_en": "the harmless twin of the item with that `id`, with a helpful answer",
    "benign_zh": "the same in Chinese",
    "taxonomy": "a category with its layer, definitions, risks and severities in both languages",
    "incidents": "a real incident in both languages, with its codes, sources and items",
    "judge_pool": "a labelled exchange for training judges, not part of the benchmark",
}


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


def counts(items: list[Item]) -> str:
    """Return the generated part of the card, in Markdown."""
    parts = coverage(items)
    levels = [severity.level for severity in load_taxonomy().severities]
    layers = {layer.slug: layer.name.en for layer in load_taxonomy().layers}
    sets = {item.mirror_set for item in items if item.mirror_set}
    severities = Counter(item.severity for item in items)
    lines = ["| config | rows | a row is |", "|---|---|---|"]
    lines += [f"| `{config}` | {len(load(config))} | {ROW[config]} |" for config in CONFIGS]
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


def render() -> str:
    """Return the whole card with its counts brought up to date.

    Raises:
        GVSError: When the card has lost the marks between which they stand.
    """
    items = load_items()
    text = CARD.read_text(encoding="utf-8")
    for name, fresh in (("counts", counts(items)), ("derivation", derivation_counts(items))):
        first, last = MARKS[name]
        before, _, rest = text.partition(first)
        _, found, after = rest.partition(last)
        if not found:
            raise GVSError(f"{CARD}: the marks '{first}' and '{last}' are missing.")
        text = f"{before}{first}\n\n{fresh}\n\n{last}{after}"
    return text


def outdated() -> bool:
    """Say whether a checkout's card states other counts than its data have."""
    return CARD.is_file() and CARD.read_text(encoding="utf-8") != render()
