"""Text classifiers for the benchmark: the ways in which they are otherwise run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import transformers
from _bench_measure import Judging

from gvs_tasks.judge import Exchange, Verdict
from gvs_tasks.judge.sequence_classifier import SequenceClassifierJudge

__all__ = ["FIXED", "fixed_batches", "one_by_one"]

#: Answers in a batch of fixed size.
FIXED = 32


def _read(
    judge: SequenceClassifierJudge, exchanges: Sequence[Exchange], logits: torch.Tensor
) -> list[Verdict]:
    """Read logits as the judge does: temperature, activation and threshold."""
    probabilities = judge._label_probability(logits, judge.profile.unsafe)
    return [
        judge._verdict(exchange, [(p, None)], ())
        for exchange, p in zip(exchanges, probabilities, strict=True)
    ]


def one_by_one(judge: SequenceClassifierJudge) -> Judging:
    """Return the pipeline of transformers, which reads one answer after another."""
    # With our model object: the folder's own number format may be another.
    pipeline = transformers.pipeline(
        "text-classification",
        model=judge._model,
        tokenizer=judge._folder.tokenizer,
        device=judge._folder.device,
    )
    names = sorted(judge._labels, key=judge._labels.__getitem__)

    def judging(exchanges: Sequence[Exchange]) -> list[Verdict]:
        separator = judge.profile.separator
        pairs = [{"text": e.prompt, "text_pair": separator + e.response} for e in exchanges]
        found = pipeline(
            pairs,
            batch_size=1,
            truncation="only_second",
            max_length=judge._max_length,
            top_k=None,
            function_to_apply="none",
        )
        scores = [{each["label"]: each["score"] for each in labels} for labels in found]
        logits = torch.tensor([[row[name] for name in names] for row in scores])
        return _read(judge, exchanges, logits)

    return judging


@torch.inference_mode()
def fixed_batches(
    judge: SequenceClassifierJudge, exchanges: Sequence[Exchange], pad_to: int | None = None
) -> list[Verdict]:
    """Judge in batches of one size, in the order given.

    Args:
        judge: The judge.
        exchanges: What to judge.
        pad_to: The length that all are padded to; by default the longest of each batch.
    """
    verdicts: list[Verdict] = []
    tokenizer, model = judge._folder.tokenizer, judge._model
    for start in range(0, len(exchanges), FIXED):
        batch = exchanges[start : start + FIXED]
        inputs = tokenizer(
            [exchange.prompt for exchange in batch],
            [judge.profile.separator + exchange.response for exchange in batch],
            truncation="only_second",
            max_length=pad_to or judge._max_length,
            padding="max_length" if pad_to else True,
            return_tensors="pt",
        ).to(judge._folder.device)
        verdicts += _read(judge, batch, model(**inputs).logits.float())
    return verdicts
