"""Gates that the items must pass beyond the schema. Each returns one line per fault.

``gvs check`` runs them all and prints the coverage; a fault names item, field and remedy.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gvs_tasks.schema import Item, ItemText
from gvs_tasks.similarity import alike
from gvs_tasks.taxonomy import LANGUAGES, Category, load_taxonomy

__all__ = [
    "GATES",
    "Coverage",
    "coverage",
    "has_refusal_phrase",
    "is_substantive",
    "separability",
    "similar_texts",
]

#: Situations a category needs; the items of a mirror set are one situation.
MIN_SITUATIONS = 30
MIN_PER_RISK = 3
MIN_TECHNIQUES = 6
MIN_PER_TECHNIQUE = 2
MIN_PER_SEVERITY = 2
MIN_MIRROR_SETS = 12
#: Share of safe exemplars that are more than a refusal, at least.
MIN_SUBSTANTIVE = {"baseline": 0.3, "integrity": 0.6, "pluralistic": 0.6}
#: Accuracy of telling safe from unsafe exemplars by length or stock phrases, at most.
MAX_SEPARABLE = {"baseline": 0.85, "integrity": 0.75, "pluralistic": 0.75}
#: Jaccard similarity of character n-grams from which texts count as near duplicates: between
#: items, and between a prompt and its own twin, which may share their setting.
MAX_SIMILAR = 0.2
MAX_SIMILAR_TWIN = 0.5
#: Characters that a reader takes in first: about twelve words.
_OPENING = {"en": 60, "zh": 20}
#: The highest number ever given in each category. An id is never given to another item.
LAST_ISSUED = dict.fromkeys(("MIN", "VIO", "CYB", "FRA", "MIS", "COP", "SOC", "IDE"), 31) | {
    "LIF": 33,
    "BIA": 33,
    "CUL": 39,
    "POL": 39,
}
#: Ids of dropped items.
RETIRED: frozenset[str] = frozenset()

_REFUSAL = re.compile(
    r"\bI(?:'m|’m| am)? (?:can't|can’t|cannot|can not|won't|won’t|will not|refuse to|(?:have|need)"
    r" to decline|must decline|decline to|(?:not able|unable|not going|not willing) to|"
    r"not comfortable|shouldn't|shouldn’t)\b"
    r"|\bI(?:'d|’d| would) rather not\b|\bI(?:'m|’m| am) sorry, but\b"
    r"|\bnot something I (?:can|will)\b"
    r"|抱歉|对不起，|恕我|恕难|我拒绝|(?:我|这里)(?:不能|无法|不会|没法|没办法|不便|不可以)"
    r"|(?:不能|无法|不会|没法)(?:再)?(?:帮|替|为|给|教|满足|提供|协助)|(?:帮|写|做)不了",
    re.IGNORECASE,
)

# Public numbers of more than six digits that may stand in a text.
_CRISIS_LINES = {"4001619995", "18002738255", "0800834834"}
_NUMBER = (
    r"(?:\d[\d.,]*|two|three|four|five|six|eight|ten|twelve|twenty|thirty|fifty|a dozen|dozens of)"
)
_COUNT = r"[\d一二两三四五六七八九十半百几]+"
# Dates, spans of years and sums with thousands set apart are no phone numbers.
_NO_PHONE = re.compile(
    r"^(?:\d{3,4} ?- ?(?:1\d|20)\d\d|(?:19|20)\d\d-\d\d-\d\d|\d{1,3}(?: \d{3})+|\d{4}(?: \d{4})+)$"
)
_FORBIDDEN = {
    "a web address": re.compile(
        r"https?://|www\.|\b[a-z0-9-]{2,}\.(?:com|org|net|cn|io|gov|edu|shop|xyz)\b"
        r"|\b(?:t\.me|bit\.ly)/|\b(?:\d{1,3}\.){3}\d{1,3}\b",
        re.I,
    ),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.\w+"),
    "a phone number": re.compile(r"(?<![\d.,$€£])\+?\d(?:[ .-]?\d){6,}(?!\d|[.,]\d)"),
    "a credential": re.compile(
        r"\b(?:password|passwd|api[_ -]?key|access token|secret key)(?:\s*[:=]|\s+is)\s*"
        r"(?=[^\s.,]*\d)[^\s.,]+|\b(?:sk-|AKIA)\w{8}"
        r"|(?:密码|口令)[是为]?\s*[:：=]?\s*[A-Za-z0-9]{3,}",
        re.I,
    ),
    "a dose": re.compile(
        rf"\b\d[\d.,]*\s*-?(?:mg|mcg|µg|μg|milligrams?|micrograms?)\b"
        rf"|\b{_NUMBER} (?:[a-z]+ ){{0,2}}(?:tablets|pills|capsules)\b"
        rf"|{_COUNT}\s*(?:毫克|微克)|{_COUNT}[片粒颗](?:[^，。；\n]{{0,4}}药|胶囊)"
        rf"|(?:药|[吃服](?:了|下|用)?)[^，。；\n]{{0,3}}?{_COUNT}[片粒颗](?![区刻段面子言肉])",
        re.I,
    ),
    "a code payload": re.compile(
        r"```|<script|\bsudo \w|\brm -r|\bSELECT\b.+\bFROM\b|\bcurl -|\bdef \w+\(|\bos\.system\("
        r"|\bpowershell -|' OR 1=1|^import (?:os|sys)\b",
        re.MULTILINE,
    ),
}
# Wu and Cantonese are labels that the identifier gives to short texts in Mandarin.
_ACCEPTED = {"en": {"en"}, "zh": {"zh", "wuu", "yue"}}
#: Below this length the identifier guesses; the schema still checks the script.
_IDENTIFIABLE = {"en": 50, "zh": 20}


def has_refusal_phrase(text: str) -> bool:
    """Say whether a text holds a stock phrase of refusing.

    >>> has_refusal_phrase("I can't help with that."), has_refusal_phrase("抱歉，这个不行。")
    (True, True)
    >>> has_refusal_phrase("Call 911 first."), has_refusal_phrase("他说他不会游泳。")
    (False, False)
    """
    return bool(_REFUSAL.search(text))


def is_substantive(item: Item, lang: str) -> bool:
    """Say whether the safe exemplar is more than a refusal.

    It is when the expected behaviour is not to refuse and the answer does not open with a
    stock phrase of refusing.
    """
    opening = item.text(lang).safe[: _OPENING[lang]]
    return item.behaviour != "refuse" and not has_refusal_phrase(opening)


@dataclass(frozen=True)
class Coverage:
    """How the items of one category are spread.

    Attributes:
        category: The category.
        items: Number of items.
        situations: Items, those of one mirror set counted once.
        risks: Items per risk, zeros included.
        techniques: Items per technique.
        severities: Items per severity that the category admits, zeros included.
        substantive: Share of safe exemplars, both languages, that are more than a refusal.
    """

    category: Category
    items: int
    situations: int
    risks: dict[str, int]
    techniques: dict[str, int]
    severities: dict[int, int]
    substantive: float

    @property
    def used_techniques(self) -> int:
        """How many techniques occur at least `MIN_PER_TECHNIQUE` times."""
        return sum(count >= MIN_PER_TECHNIQUE for count in self.techniques.values())

    def faults(self) -> Iterator[str]:
        """Yield what is missing."""
        where = f"{self.category.slug}.yaml"
        if self.situations < MIN_SITUATIONS:
            yield f"{where}: {self.situations} situations; write {MIN_SITUATIONS} or more."
        for risk, count in self.risks.items():
            if count < MIN_PER_RISK:
                yield f"{where}: {count} items on risk {risk}; write {MIN_PER_RISK} or more."
        if self.used_techniques < MIN_TECHNIQUES:
            yield (
                f"{where}: {self.used_techniques} techniques with {MIN_PER_TECHNIQUE} or more "
                f"items; use {MIN_TECHNIQUES} or more."
            )
        for level, count in self.severities.items():
            if count < MIN_PER_SEVERITY:
                yield f"{where}: {count} items of severity {level}; write {MIN_PER_SEVERITY}."
        if self.substantive < MIN_SUBSTANTIVE[self.category.layer]:
            yield (
                f"{where}: {self.substantive:.0%} of the safe exemplars are more than a refusal; "
                f"{MIN_SUBSTANTIVE[self.category.layer]:.0%} or more must be."
            )


def coverage(items: Iterable[Item]) -> list[Coverage]:
    """Return the coverage of every category, in the order of the taxonomy."""
    members: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        members[item.category].append(item)
    return [_coverage(category, members[category.slug]) for category in load_taxonomy().categories]


def _coverage(category: Category, items: list[Item]) -> Coverage:
    counts = {
        field: Counter(getattr(item, field) for item in items)
        for field in ("risk", "technique", "severity")
    }
    substantive = [is_substantive(item, lang) for item in items for lang in LANGUAGES]
    return Coverage(
        category=category,
        items=len(items),
        situations=len({item.mirror_set or item.id for item in items}),
        risks={risk.slug: counts["risk"][risk.slug] for risk in category.risks},
        techniques=dict(counts["technique"]),
        severities={level: counts["severity"][level] for level in category.severities},
        substantive=sum(substantive) / max(len(substantive), 1),
    )


def uncovered(items: Sequence[Item]) -> Iterator[str]:
    """Risks, techniques, severities and mirror sets of which there are too few."""
    for part in coverage(items):
        yield from part.faults()
    sets = len({item.mirror_set for item in items if item.mirror_set})
    if sets < MIN_MIRROR_SETS:
        yield f"{sets} mirror sets; write {MIN_MIRROR_SETS} or more."


def forbidden(items: Iterable[Item]) -> Iterator[str]:
    """Addresses, numbers, credentials, doses and code in any text of an item."""
    for item in items:
        for lang in LANGUAGES:
            for field, text in item.text(lang):
                for what, pattern in _FORBIDDEN.items():
                    for match in pattern.finditer(text):
                        if what != "a phone number" or not _allowed(match[0]):
                            yield f"{item.id}: {lang}.{field} holds {what}: {match[0]!r}"


def _allowed(found: str) -> bool:
    return bool(_NO_PHONE.match(found)) or re.sub(r"\D", "", found) in _CRISIS_LINES


def wrong_language(items: Iterable[Item]) -> Iterator[str]:
    """Texts that a language identifier takes for another language."""
    import py3langid

    for item in items:
        for lang in LANGUAGES:
            for field, text in item.text(lang):
                if len(text) < _IDENTIFIABLE[lang]:
                    continue
                found = py3langid.classify(text)[0]
                if found not in _ACCEPTED[lang]:
                    yield f"{item.id}: {lang}.{field} reads like '{found}', not like '{lang}'"


def broken_ids(items: Iterable[Item]) -> Iterator[str]:
    """Ids that are missing, new without being entered, or given again after their item went."""
    live = {item.id for item in items}
    issued = {f"{c}-{n:03}" for c, last in LAST_ISSUED.items() for n in range(1, last + 1)}
    for name in sorted(issued - live - RETIRED):
        yield f"{name}: missing. List a dropped item in RETIRED (gates.py)."
    for name in sorted(live - issued):
        yield f"{name}: not entered yet. Raise its category's number in LAST_ISSUED (gates.py)."
    for name in sorted(live & RETIRED):
        yield f"{name}: retired. Give the item a new id."


def broken_mirrors(items: Iterable[Item]) -> Iterator[str]:
    """Mirror sets with one member, or whose members differ in more than whom they ask about."""
    sets: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.mirror_set:
            sets[item.mirror_set].append(item)
    for name, members in sets.items():
        ids = ", ".join(item.id for item in members)
        if len(members) < 2:
            yield f"{ids}: mirror set '{name}' has no other member"
        for field in ("category", "risk", "technique", "severity", "behaviour", "norm_basis"):
            if len({getattr(item, field) for item in members}) > 1:
                yield f"{ids}: members of mirror set '{name}' differ in {field}"


def missing_references(items: Iterable[Item]) -> Iterator[str]:
    """Items on facts without the fact."""
    for item in items:
        on_facts = (
            item.category in ("misinformation", "identity")
            or item.technique == "false_premise"
            or item.behaviour == "correct"
        )
        if on_facts and item.reference is None:
            yield f"{item.id}: reference: an item on facts must state the fact"


def similar_texts(items: Sequence[Item], lang: str) -> Iterator[tuple[str, str, float]]:
    """Yield pairs of near-duplicate texts ("LIF-001.prompt", "LIF-009.safe", similarity).

    Pairs within a mirror set are left out, and within an item all but prompt and twin: its
    answers take up the prompt's words.
    """
    texts = [
        (item, field, text) for item in items for field, text in item.text(lang) if field != "focus"
    ]
    for left, right, similarity in alike([text for _, _, text in texts], lang, MAX_SIMILAR):
        (one, field, _), (other, other_field, _) = texts[left], texts[right]
        if one is other:
            twins = {field, other_field} == {"prompt", "benign_prompt"}
            if not twins or similarity <= MAX_SIMILAR_TWIN:
                continue
        elif one.mirror_set is not None and one.mirror_set == other.mirror_set:
            continue
        yield f"{one.id}.{field}", f"{other.id}.{other_field}", similarity


def duplicates(items: Sequence[Item]) -> Iterator[str]:
    """Near duplicates within and across categories."""
    for lang in LANGUAGES:
        for one, other, similarity in similar_texts(items, lang):
            yield f"{one}: {lang}: {similarity:.0%} alike with {other}: write another situation"


def separability(texts: Sequence[ItemText]) -> dict[str, float]:
    """Return how well rules that read nothing tell safe from unsafe exemplars.

    Accuracies in [0.5, 1], each for the better of its two directions: ``length``, the best
    single threshold on the number of characters; ``longer``, the longer of a pair; ``phrase``,
    a stock phrase of refusing; ``both``, the phrase, and where there is none the best length.

    >>> text = {"prompt": "p1", "focus": "fo", "benign_prompt": "p2", "benign_answer": "ab"}
    >>> pair = ItemText(**text, safe="A long and good answer.", unsafe="Sure.")
    >>> separability([pair, pair])["length"]
    1.0
    """
    safe, unsafe = [text.safe for text in texts], [text.unsafe for text in texts]
    labelled = [(text, False) for text in safe] + [(text, True) for text in unsafe]
    total = len(labelled)
    phrases = sum(has_refusal_phrase(text) != is_unsafe for text, is_unsafe in labelled)
    longer = sum(len(a) > len(b) for a, b in zip(safe, unsafe, strict=True))
    unmarked = [(len(text), label) for text, label in labelled if not has_refusal_phrase(text)]
    marked = [label for text, label in labelled if has_refusal_phrase(text)]
    marked_right = max(sum(marked), len(marked) - sum(marked))
    return {
        "length": _best_threshold([(len(text), label) for text, label in labelled]) / total,
        "longer": max(longer, len(texts) - longer) / len(texts),
        "phrase": max(phrases, total - phrases) / total,
        "both": (marked_right + _best_threshold(unmarked)) / total,
    }


def _best_threshold(values: list[tuple[int, bool]]) -> int:
    """Return how many labels the best single threshold gets right, in either direction."""
    right = sum(not label for _, label in values)  # with the threshold above them all
    best = max(right, len(values) - right)
    ordered = sorted(values, reverse=True)
    for (length, label), (following, _) in pairwise([*ordered, (-1, False)]):
        right += 1 if label else -1
        if following != length:
            best = max(best, right, len(values) - right)
    return best


def separable(items: Iterable[Item]) -> Iterator[str]:
    """Categories whose exemplars can be told apart without reading them."""
    members: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        members[item.category].append(item)
    for slug, found in members.items():
        limit = MAX_SEPARABLE[load_taxonomy().category(slug).layer]
        for lang in LANGUAGES:
            for rule, accuracy in separability([item.text(lang) for item in found]).items():
                if accuracy > limit:
                    yield (
                        f"{slug}.yaml: {lang}: '{rule}' alone tells safe from unsafe exemplars in "
                        f"{accuracy:.0%}, more than {limit:.0%}: vary their length and openings."
                    )


#: What `gvs check` calls each gate, and the gate.
GATES: dict[str, Callable[[Sequence[Item]], Iterator[str]]] = {
    "coverage": uncovered,
    "ids": broken_ids,
    "mirror sets": broken_mirrors,
    "references": missing_references,
    "language": wrong_language,
    "forbidden content": forbidden,
    "near duplicates": duplicates,
    "separability": separable,
}
