"""Texts that say the same: near duplicates, and sentences taken over whole."""

import re
from collections.abc import Iterator, Sequence

__all__ = ["alike", "sentences"]

#: Characters of the pieces that two texts are compared by.
_NGRAM = {"en": 8, "zh": 4}
#: Characters from which a sentence is more than a turn of phrase.
_SENTENCE = {"en": 25, "zh": 10}
_ENDS = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


def alike(texts: Sequence[str], lang: str, limit: float) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs of positions whose texts are more alike than `limit`, with how much.

    Similarity is the Jaccard index of the sets of character n-grams (8 in English, 4 in
    Chinese), computed for all pairs; n-grams are hashed to 24 bits, so that of a text's hundreds
    hardly ever two meet.

    >>> [round(found[2], 1) for found in alike(["Good morning, all", "Good morning, you"], "en", 0)]
    [0.5]
    """
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer

    size = _NGRAM[lang]
    vectorizer = HashingVectorizer(
        analyzer="char",
        ngram_range=(size, size),
        binary=True,
        norm=None,
        alternate_sign=False,
        n_features=2**24,
        dtype=np.float32,
    )
    grams = vectorizer.transform(texts)
    sizes = np.asarray(grams.sum(axis=1)).ravel()
    shared = (grams @ grams.T).tocoo()
    similarities = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data)
    found = np.flatnonzero((shared.row < shared.col) & (similarities > limit))
    for left, right, similarity in zip(
        shared.row[found], shared.col[found], similarities[found], strict=True
    ):
        yield int(left), int(right), float(similarity)


def sentences(text: str, lang: str) -> set[str]:
    """Return the sentences of a text that are long enough to be somebody's own, in lower case.

    >>> sentences("No. The quick brown fox jumps over the dog!", "en")
    {'the quick brown fox jumps over the dog!'}
    """
    parts = (part.strip().lower() for part in _ENDS.split(text))
    return {part for part in parts if len(part) >= _SENTENCE[lang] and re.search(r"\w", part)}
