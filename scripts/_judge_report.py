"""What is measured of a judge in training, on held-out rows and the development sets."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _judge_data import POOL, Row, read_jsonl
from _judge_fit import REFUSAL, UNSAFE, auroc, log_loss, probability


@dataclass(frozen=True)
class Measured:
    """Rows with the judge's logits on them."""

    rows: list[Row]
    logits: np.ndarray

    def labels(self, output: int) -> np.ndarray:
        """Known labels of one output, NaN elsewhere."""
        values = [(row.unsafe, row.refusal)[output] for row in self.rows]
        return np.array([math.nan if v is None else v for v in values])

    def where(self, keep: list[bool]) -> Measured:
        """The rows that are to be kept."""
        mask = np.array(keep, dtype=bool)
        return Measured([r for r, k in zip(self.rows, keep, strict=True) if k], self.logits[mask])


def load_dev(folder: Path) -> dict[str, list[Row]]:
    """The development sets, never trained on."""
    dev = {}
    for name in ("gptfuzz_test", "xstest_half"):
        dev[name] = [
            Row(
                source=name,
                lang=raw["lang"],
                # XSTest marks the prompts that are harmless by design.
                kind="safe_prompt" if raw.get("prompt_unsafe") == 0 else "unsafe_prompt",
                prompt=raw["prompt"],
                response=raw["response"],
                unsafe=raw["unsafe"],
                refusal=raw["refusal"],
                group=name,
            )
            for raw in read_jsonl(folder / f"{name}.jsonl")
        ]
    return dev


def validation_loss(measured: Measured) -> float:
    """Cross-entropy of both outputs, the pool weighing as much as all public rows."""
    losses = []
    for pool in (True, False):
        part = measured.where([row.source.startswith(POOL) == pool for row in measured.rows])
        for output in (UNSAFE, REFUSAL):
            labels = part.labels(output)
            if not np.isnan(labels).all():
                losses.append(log_loss(part.logits[:, output], labels))
    return float(np.mean(losses))


def dev_numbers(
    dev: dict[str, Measured], threshold: float = 0.5, temperature: float = 1.0
) -> dict[str, Any]:
    """The numbers watched on the development sets."""
    jailbreaks, borderline = dev["gptfuzz_test"], dev["xstest_half"]
    unsafe = probability(jailbreaks.logits[:, UNSAFE], temperature)
    truth = jailbreaks.labels(UNSAFE)
    refusal = borderline.labels(REFUSAL)
    safe = np.array([row.kind == "safe_prompt" for row in borderline.rows])
    complied = probability(borderline.logits[:, UNSAFE], temperature)[(refusal == 0) & safe]
    return {
        "gptfuzz_unsafe_auroc": round(auroc(unsafe, truth), 4),
        "gptfuzz_recall": round(float((unsafe[truth == 1] >= threshold).mean()), 4),
        "gptfuzz_false_positives": round(float((unsafe[truth == 0] >= threshold).mean()), 4),
        "xstest_refusal_auroc": round(auroc(borderline.logits[:, REFUSAL], refusal), 4),
        "xstest_complied_flagged": round(float((complied >= threshold).mean()), 4),
        "xstest_complied_rows": int(complied.size),
    }


def held_out_numbers(validation: Measured, settings: dict[str, Any]) -> dict[str, Any]:
    """What the judge says of held-out rows, by language, source and kind."""
    unsafe = probability(validation.logits[:, UNSAFE], settings["unsafe"]["temperature"])
    refusal = probability(validation.logits[:, REFUSAL], settings["refusal"]["temperature"])
    cells: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(validation.rows):
        source = POOL if row.source.startswith(POOL) else row.source
        cells[f"{row.lang}/{source}/{row.kind}"].append(i)
        cells[f"{row.lang}/{source}"].append(i)
    numbers = {}
    for cell, members in sorted(cells.items()):
        part = Measured([validation.rows[i] for i in members], validation.logits[members])
        threshold = settings["unsafe"]["threshold"][part.rows[0].lang]
        numbers[cell] = {
            "rows": len(members),
            "flagged_unsafe": round(float((unsafe[members] >= threshold).mean()), 3),
            "called_refusal": round(float((refusal[members] >= 0.5).mean()), 3),
            "unsafe_auroc": _rounded(auroc(unsafe[members], part.labels(UNSAFE))),
            "refusal_auroc": _rounded(auroc(refusal[members], part.labels(REFUSAL))),
        }
    return numbers


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
