"""Fitting and measuring a two-output judge: batches, loss, temperature, thresholds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from _judge_data import Row, draw
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score
from torch.nn import functional
from transformers import BertForSequenceClassification

from gvs_tasks.judge.encoding import Encoder

UNSAFE, REFUSAL = 0, 1


@dataclass(frozen=True)
class FitPlan:
    """One stage of training."""

    epochs: float
    learning_rate: float
    final_share: float  # of the learning rate, at the end of the linear decay
    warmup: float = 0.06
    tokens_per_batch: int = 3072
    max_length: int = 224
    smoothing: float = 0.03
    weight_decay: float = 0.01
    seed: int = 20


class Encoded:
    """Rows as token ids, ready to be batched."""

    def __init__(
        self,
        rows: Sequence[Row],
        encoder: Encoder,
        pad: int,
    ) -> None:
        """Encodes the first window of each row, as the judge does; empty answers are left out."""
        windows = [(row, encoder.encode(row.exchange)) for row in rows]
        found = [(row, window) for row, window in windows if window is not None]
        self.rows = rows = [row for row, _ in found]
        self.pad = pad
        self.ids: list[list[int]] = [window.input_ids[0] for _, window in found]
        self.types: list[list[int]] = [window.token_type_ids[0] for _, window in found]
        labels = [[math.nan if y is None else y for y in (r.unsafe, r.refusal)] for r in rows]
        self.labels = torch.tensor(labels, dtype=torch.float32).reshape(-1, 2)
        self.weights = torch.tensor([row.weight for row in rows], dtype=torch.float32)

    def inputs(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """A padded batch of model inputs."""
        width = max(len(self.ids[i]) for i in indices)
        shape = (len(indices), width)
        ids = torch.full(shape, self.pad)
        types = torch.zeros(shape, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for at, i in enumerate(indices):
            size = len(self.ids[i])
            ids[at, :size] = torch.tensor(self.ids[i])
            types[at, :size] = torch.tensor(self.types[i])
            mask[at, :size] = 1
        return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}

    def batches(self, indices: Sequence[int], tokens: int) -> list[list[int]]:
        """Cuts ``indices`` into batches of at most ``tokens`` padded tokens.

        Lengths are sorted inside stretches of 1,000 rows only, so that batches stay mixed.
        """
        cut: list[list[int]] = []
        for start in range(0, len(indices), 1000):
            stretch = sorted(indices[start : start + 1000], key=lambda i: len(self.ids[i]))
            batch: list[int] = []
            for i in stretch:
                if batch and (len(batch) + 1) * len(self.ids[i]) > tokens:
                    cut.append(batch)
                    batch = []
                batch.append(i)
            if batch:
                cut.append(batch)
        return cut


def fit(
    model: BertForSequenceClassification,
    data: Encoded,
    plan: FitPlan,
    on_checkpoint: Callable[[float], None],
    checkpoints: int,
) -> None:
    """Trains in place; ``on_checkpoint(epochs done)`` is called at even intervals."""
    rng = random.Random(plan.seed)
    torch.manual_seed(plan.seed)
    schedule: list[list[int]] = []
    for _ in range(math.ceil(plan.epochs)):
        epoch = data.batches(draw(data.rows, rng), plan.tokens_per_batch)
        rng.shuffle(epoch)
        schedule += epoch
    steps = round(len(schedule) * plan.epochs / math.ceil(plan.epochs))
    optimiser = torch.optim.AdamW(_parameter_groups(model, plan), lr=plan.learning_rate)
    warmup = max(1, round(plan.warmup * steps))

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        left = (steps - step) / max(1, steps - warmup)
        return plan.final_share + (1 - plan.final_share) * left

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    marks = {round(steps * (i + 1) / checkpoints) for i in range(checkpoints)}
    model.train()
    for step, batch in enumerate(schedule[:steps], start=1):
        logits = model(**data.inputs(batch)).logits
        loss = masked_loss(logits, data.labels[batch], data.weights[batch], plan.smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        scheduler.step()
        optimiser.zero_grad()
        if step in marks:
            model.eval()
            on_checkpoint(plan.epochs * step / steps)
            model.train()
    model.eval()


def _parameter_groups(
    model: BertForSequenceClassification, plan: FitPlan
) -> list[dict[str, object]]:
    """No decay on biases and norms; a fresh classifier learns faster than the encoder."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    head = [p for n, p in named if not n.startswith("bert.") or n.startswith("bert.pooler")]
    body = [(n, p) for n, p in named if n.startswith("bert.") and ".pooler." not in n]
    decay = [p for _, p in body if p.ndim > 1]
    plain = [p for _, p in body if p.ndim <= 1]
    return [
        {"params": decay, "weight_decay": plan.weight_decay},
        {"params": plain, "weight_decay": 0.0},
        {"params": head, "weight_decay": plan.weight_decay, "lr": 3 * plan.learning_rate},
    ]


def masked_loss(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Weighted cross-entropy over the labels that are known (not NaN)."""
    known = ~labels.isnan()
    target = labels.nan_to_num() * (1 - smoothing) + smoothing / 2
    loss = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    scale = known * weights[:, None]
    return (loss * scale).sum() / scale.sum().clamp(min=1.0)


@torch.inference_mode()
def predict(model: BertForSequenceClassification, data: Encoded, tokens: int = 8192) -> np.ndarray:
    """Logits of every row, shape (rows, 2)."""
    model.eval()
    logits = np.zeros((len(data.rows), 2), dtype=np.float64)
    order = sorted(range(len(data.rows)), key=lambda i: len(data.ids[i]))
    batch: list[int] = []
    for i in [*order, None]:
        if batch and (i is None or (len(batch) + 1) * len(data.ids[i]) > tokens):
            logits[batch] = model(**data.inputs(batch)).logits.double().numpy()
            batch = []
        if i is not None:
            batch.append(i)
    return logits


def probability(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """sigmoid(logit / temperature)."""
    return 1 / (1 + np.exp(-np.clip(logits / temperature, -60, 60)))


def log_loss(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Mean cross-entropy over the known labels."""
    known = ~np.isnan(labels)
    scaled, target = logits[known] / temperature, labels[known]
    return float(np.mean(np.logaddexp(0, scaled) - target * scaled))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature in [0.5, 4] of least cross-entropy on held-out rows."""
    found = minimize_scalar(
        lambda log_t: log_loss(logits, labels, math.exp(log_t)),
        bounds=(math.log(0.5), math.log(4.0)),
        method="bounded",
    )
    return round(float(math.exp(found.x)), 3)


def fit_threshold(harmless: np.ndarray, false_positives: float) -> float:
    """The least threshold, at least 0.5, that flags at most that share of harmless answers.

    It never exceeds 0.9: beyond, the judge would have to be certain to be heard.

    >>> fit_threshold(np.array([0.1, 0.2, 0.6, 0.8]), 0.25)
    0.605
    """
    allowed = math.floor(false_positives * harmless.size)
    if harmless.size <= allowed:
        return 0.5
    level = float(np.sort(harmless)[harmless.size - allowed - 1])
    return round(min(0.9, max(0.5, level + 0.005)), 3)


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve over the known labels, NaN if only one class is there."""
    known = ~np.isnan(labels)
    truth = labels[known] >= 0.5
    if truth.all() or not truth.any():
        return math.nan
    return float(roc_auc_score(truth, scores[known]))
