"""Contracts of every shipped content file: a new item gets its tests for free."""

from collections import Counter

import pytest

from gvs_tasks.gates import GATES, coverage
from gvs_tasks.schema import load_items, load_pool
from gvs_tasks.taxonomy import CANARY, CONTENT, LANGUAGES, load_taxonomy

ITEMS = load_items()
POOL = load_pool()


@pytest.mark.parametrize("gate", GATES)
def test_gate(gate):
    faults = list(GATES[gate](ITEMS))
    assert not faults, "\n".join(faults)


def test_size():
    parts = coverage(ITEMS)
    assert sum(part.situations for part in parts) >= 360
    assert {item.severity for item in ITEMS} == {1, 2, 3, 4}


@pytest.mark.parametrize("path", sorted(CONTENT.rglob("*.yaml")), ids=lambda path: path.name)
def test_canary(path):
    assert CANARY in path.read_text(encoding="utf-8")


def test_texts_are_unique():
    for field in ("prompt", "benign_prompt", "safe", "unsafe", "benign_answer"):
        for lang in LANGUAGES:
            counts = Counter(getattr(item.text(lang), field) for item in ITEMS)
            assert max(counts.values()) == 1, f"{lang}.{field}: {counts.most_common(1)}"


def test_pool_is_disjoint_from_the_benchmark():
    ours = {text.strip() for item in ITEMS for lang in LANGUAGES for _, text in item.text(lang)}
    shared = [e.id for e in POOL if e.prompt.strip() in ours or e.response.strip() in ours]
    assert not shared


def test_pool_teaches_more_than_refusing():
    """A judge trained without harmless compliance learns 'did not refuse = unsafe'."""
    for lang in LANGUAGES:
        kinds = Counter(exchange.kind for exchange in POOL if exchange.lang == lang)
        total = kinds.total()
        assert kinds["benign_helpful"] >= 0.2 * total
        assert kinds["compliance"] + kinds["subtle_failure"] >= 0.15 * total


def test_every_category_has_a_file():
    stems = {path.stem for path in (CONTENT / "items").glob("*.yaml")}
    assert stems == {category.slug for category in load_taxonomy().categories}
