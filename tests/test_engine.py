"""Batches in closed form and as properties; memory that runs out and comes back."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from gvs_tasks.judge.engine import GROW_AFTER, Failed, run_batches

LENGTHS = st.lists(st.integers(1, 600), max_size=60)


def made(lengths, budget):
    return [batch for batch, _ in run_batches(lengths, lambda batch: batch, budget)]


@given(LENGTHS, st.integers(1, 5000))
def test_each_input_once_and_the_budget_kept(lengths, budget):
    batches = made(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget


@given(LENGTHS, st.integers(1, 5000))
def test_longest_first(lengths, budget):
    order = [lengths[index] for batch in made(lengths, budget) for index in batch]
    assert order == sorted(lengths, reverse=True)


@given(LENGTHS, st.integers(1, 5000), st.integers(1, 3000))
def test_memory_that_runs_out_loses_nothing(lengths, budget, memory):
    """A batch beyond the memory fails; every input that fits alone gets its score."""

    def forward(batch):
        if max(lengths[i] for i in batch) * len(batch) > memory:
            raise torch.OutOfMemoryError
        return [-i for i in batch]

    found = {}
    for batch, scores in run_batches(lengths, forward, budget):
        if isinstance(scores, Failed):
            assert scores.reason == "the judge ran out of memory" and len(batch) == 1
            assert lengths[batch[0]] > memory
            scores = [None]
        found |= dict(zip(batch, scores, strict=True))
    fitting = {i: -i if length <= memory else None for i, length in enumerate(lengths)}
    assert found == fitting


def test_the_budget_grows_back():
    sizes, full = [], True

    def forward(batch):
        if full and len(batch) > 2:
            raise torch.OutOfMemoryError
        sizes.append(len(batch))
        return batch

    runs = run_batches([10] * 200, forward, budget=160)
    next(runs)
    assert sizes == [2]
    full = False
    list(runs)
    assert sizes[: GROW_AFTER + 1] == [2] * GROW_AFTER + [4]
    assert max(sizes) == 16 and sum(sizes) == 200


def test_other_failures_cost_their_batch_only():
    def forward(batch):
        if 1 in batch:
            raise RuntimeError("device lost")
        return batch

    results = {tuple(batch): result for batch, result in run_batches([9, 9, 1], forward, 9)}
    assert results[(1,)] == Failed("the judge failed: RuntimeError")
    assert results[(0,)] == [0] and results[(2,)] == [2]
