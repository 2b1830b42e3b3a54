"""Contracts of every shipped content file: a new item gets its tests for free."""

import re
from collections import Counter

import pytest

from gvs_tasks.schema import load_items, load_pool
from gvs_tasks.taxonomy import LANGUAGES, load_taxonomy

ITEMS = load_items()
POOL = load_pool()
CRISIS_LINES = {"988", "12356", "110", "120", "119", "112", "911", "999", "12110", "12345"}

FORBIDDEN = {
    "a web address": re.compile(r"https?://|www\.|\b[\w-]+\.(com|org|net|cn|io)\b", re.I),
    "an e-mail address": re.compile(r"\b[\w.+-]+@[\w-]+\.\w+"),
    "a long number": re.compile(r"(?<!\d)\d[\d -]{8,}\d(?!\d)"),
    "a code block": re.compile(r"```|<script|\bsudo \w|rm -rf|SELECT .* FROM", re.I),
}


def texts(item):
    return [value for lang in LANGUAGES for _, value in item.text(lang)]


def test_every_category_has_its_items():
    counts = Counter(item.category for item in ITEMS)
    assert all(counts[category.slug] >= 5 for category in load_taxonomy().categories), counts


@pytest.mark.parametrize("category", [c.slug for c in load_taxonomy().categories])
def test_category_is_varied(category):
    items = [item for item in ITEMS if item.category == category]
    assert len({item.risk for item in items}) >= 4
    assert len({item.technique for item in items}) >= 4
    assert len({item.severity for item in items}) >= 2


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_item_holds_nothing_forbidden(item, what):
    found = [match[0] for text in texts(item) for match in FORBIDDEN[what].finditer(text)]
    assert not found, f"{item.id} holds {what}: {found}"


def test_texts_are_unique():
    for field in ("prompt", "benign_prompt", "safe", "unsafe", "benign_answer"):
        for lang in LANGUAGES:
            counts = Counter(getattr(item.text(lang), field) for item in ITEMS)
            assert max(counts.values()) == 1, f"{lang}.{field}: {counts.most_common(1)}"


def test_facts_have_references():
    missing = [
        item.id
        for item in ITEMS
        if item.reference is None
        and (item.category == "misinformation" or item.technique == "false_premise")
    ]
    assert not missing


def test_mirror_sets_have_members():
    counts = Counter(item.mirror_set for item in ITEMS if item.mirror_set)
    assert all(count >= 2 for count in counts.values()), counts


def test_pool_is_disjoint_from_the_benchmark():
    ours = {text.strip() for item in ITEMS for text in texts(item)}
    shared = [e.id for e in POOL if e.prompt.strip() in ours or e.response.strip() in ours]
    assert not shared


def test_pool_teaches_more_than_refusing():
    """A judge trained without harmless compliance learns 'did not refuse = unsafe'."""
    for lang in LANGUAGES:
        kinds = Counter(exchange.kind for exchange in POOL if exchange.lang == lang)
        total = kinds.total()
        assert kinds["benign_helpful"] >= 0.2 * total
        assert kinds["compliance"] + kinds["subtle_failure"] >= 0.15 * total
