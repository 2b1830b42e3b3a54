"""The answers for the browser of a report: each item once, and what every model said to it."""

from collections.abc import Mapping
from typing import Any

from gvs_tasks.results import Run, place
from gvs_tasks.taxonomy import load_taxonomy

__all__ = ["MAX_CHARACTERS", "browser_data"]

#: An answer is cut there in the report; the samples file has all of it.
MAX_CHARACTERS = 20_000
_CUT = "\n[... {left} more characters in the samples file]"


def browser_data(runs: Mapping[str, Run], judges: Mapping[str, str]) -> dict[str, Any]:
    """Return what the page's script shows; JSON types only.

    Args:
        runs: The runs by name.
        judges: Whose verdicts to show for each.
    """
    items: dict[tuple[str, int, str], dict[str, Any]] = {}
    for number, (name, run) in enumerate(runs.items()):
        for leaf in run.leaves.values():
            for answer in leaf.answers.get(judges[name], ()):
                doc = answer.doc
                key = (leaf.name, answer.doc_id, doc.prompt)
                item = items.setdefault(
                    key,
                    {
                        "id": doc.id,
                        "track": leaf.track,
                        "lang": doc.lang,
                        "category": doc.category,
                        "about": [
                            f"{label}: {value}"
                            for label, value in (
                                ("risk", doc.risk),
                                ("expected", doc.behaviour),
                                ("technique", doc.technique),
                                ("severity", doc.severity),
                                ("mirror set", doc.mirror_set),
                            )
                            if value is not None
                        ],
                        "prompt": _cut(doc.prompt),
                        "focus": _cut(doc.focus or ""),
                        "answers": [],
                    },
                )
                verdict = answer.verdict
                item["answers"].append(
                    {
                        "model": number,
                        "text": _cut(answer.response or ""),
                        "unsafe": verdict and verdict.unsafe,
                        "p_unsafe": verdict and verdict.p_unsafe,
                        "refusal": verdict and verdict.refusal,
                        "p_refusal": verdict and verdict.p_refusal,
                        "unjudged": verdict and verdict.unjudged,
                        "flags": list(verdict.flags) if verdict else [],
                    }
                )
    taxonomy = load_taxonomy()
    return {
        "models": list(runs),
        "categories": {category.slug: category.name.en for category in taxonomy.categories},
        "items": [items[key] for key in sorted(items, key=lambda key: (place(key[0]), key[1:]))],
    }


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[:MAX_CHARACTERS] + _CUT.format(left=len(text) - MAX_CHARACTERS)
