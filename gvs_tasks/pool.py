"""Gates of the judge pool: large enough, and apart from the benchmark that the judge scores.

A judge that has seen the benchmark's exemplars would be measured on what it knows by heart.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from gvs_tasks.schema import Item, PoolPrompt
from gvs_tasks.similarity import alike, sentences
from gvs_tasks.taxonomy import LANGUAGES, load_taxonomy

__all__ = ["pool_faults"]

#: Answers that a category needs in each language.
MIN_ANSWERS = 80
#: Jaccard similarity from which a text of the pool is near to one of the benchmark.
MAX_SIMILAR = 0.2


def pool_faults(pool: Sequence[PoolPrompt], items: Sequence[Item]) -> Iterator[str]:
    """Yield one line for each category that is too small and each text that is too near an item."""
    sizes: Counter[tuple[str, str]] = Counter()
    for asked in pool:
        sizes[asked.category, asked.lang] += len(asked.answers)
    for category in load_taxonomy().categories:
        for lang in LANGUAGES:
            if sizes[category.slug, lang] < MIN_ANSWERS:
                yield (
                    f"judge pool: {category.slug}.yaml: {sizes[category.slug, lang]} answers in "
                    f"{lang}; write {MIN_ANSWERS} or more."
                )
    for lang in LANGUAGES:
        yield from _shared_with(pool, items, lang)


def _shared_with(pool: Sequence[PoolPrompt], items: Sequence[Item], lang: str) -> Iterator[str]:
    ours = [
        (f"{item.id}.{field}", text)
        for item in items
        for field, text in item.text(lang)
        if field != "focus"
    ]
    theirs = [
        (asked.id, text)
        for asked in pool
        if asked.lang == lang
        for text in (asked.prompt, *(answer.text for answer in asked.answers))
    ]
    known = {sentence: name for name, text in ours for sentence in sentences(text, lang)}
    for name, text in theirs:
        for sentence in sorted(sentences(text, lang) & known.keys()):
            yield f"judge pool: {name}: has a sentence of {known[sentence]}: {sentence!r}"
    texts = [text for _, text in ours + theirs]
    for left, right, similarity in alike(texts, lang, MAX_SIMILAR):
        if left < len(ours) <= right:
            yield (
                f"judge pool: {theirs[right - len(ours)][0]}: {lang}: {similarity:.0%} alike with "
                f"{ours[left][0]}: write another situation"
            )
