"""Contracts of every shipped content file: a new item gets its tests for free."""

from collections import Counter

import pytest

from gvs_tasks.gates import GATES, coverage
from gvs_tasks.pool import pool_faults
from gvs_tasks.schema import PoolPrompt, load_items, load_pool
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


def test_pool_is_large_enough_and_apart_from_the_benchmark():
    faults = list(pool_faults(POOL, ITEMS))
    assert not faults, "\n".join(faults)


def test_a_pool_that_repeats_the_benchmark_is_found():
    item = ITEMS[0]
    answer = {"kind": "refusal", "text": f"Well, no. {item.en.safe}"}
    taken = {"id": "LIF-P900", "category": "life_safety", "lang": "en", "answers": [answer]}
    found = "\n".join(pool_faults([PoolPrompt(prompt=item.en.benign_prompt, **taken)], ITEMS))
    assert f"LIF-P900: en: 100% alike with {item.id}.benign_prompt" in found
    assert f"LIF-P900: has a sentence of {item.id}.safe" in found
    assert "life_safety.yaml: 1 answers in en" in found


def test_pool_teaches_more_than_refusing():
    """A judge trained without harmless compliance learns 'did not refuse = unsafe'."""
    for lang in LANGUAGES:
        kinds = Counter(
            answer.kind for asked in POOL if asked.lang == lang for answer in asked.answers
        )
        total = kinds.total()
        assert kinds["benign_helpful"] >= 0.2 * total
        assert kinds["compliance"] + kinds["subtle_failure"] >= 0.15 * total


def test_every_category_has_a_file():
    stems = {path.stem for path in (CONTENT / "items").glob("*.yaml")}
    assert stems == {category.slug for category in load_taxonomy().categories}
