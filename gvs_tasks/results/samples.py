"""The lines of a samples file, read as answers."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gvs_tasks.errors import GVSError
from gvs_tasks.judge.types import Verdict
from gvs_tasks.metrics import benign_metrics, text_metrics
from gvs_tasks.redaction import one_line, redacted
from gvs_tasks.results.run import CHOICE, Answer, Doc
from gvs_tasks.saved import fault

__all__ = ["read_answers"]

_CHOICE_METRICS = ("acc", "acc_norm", "letter_acc", "position_bias")


class _Line(BaseModel):
    model_config = ConfigDict(extra="allow")

    doc_id: int
    doc: Doc
    resps: list[Any]
    filtered_resps: list[Any]
    filter: str


def read_answers(path: Path, track: str, lang: str, category: str) -> dict[str, tuple[Answer, ...]]:
    """Read the answers of a leaf.

    Args:
        path: The samples file.
        track: Its track.
        lang: Its language.
        category: Its category.

    Returns:
        The answers by the judge's name, in the order of the file; `CHOICE` for multiple choice.
        Empty when nothing was judged (``--predict_only``).

    Raises:
        GVSError: When a line is no sample, or of another task.
    """
    lines = 0
    found: dict[str, list[Answer]] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        lines += 1
        where = f"{path}: line {number}"
        read_line = _line(line, where)
        doc = read_line.doc
        if (doc.lang, doc.category) != (lang, category):
            raise GVSError(f"{where} is an item of another task ({doc.lang}, {doc.category}).")
        if track == "choice":
            answer = _choice(read_line, where)
        elif read_line.filter == CHOICE:
            continue
        else:
            answer = _judged(read_line, where, track)
        found.setdefault(one_line(read_line.filter), []).append(answer)
    if not lines:
        raise GVSError(f"{path} holds no samples. Copy the file again.")
    return {judge: tuple(answers) for judge, answers in found.items()}


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as lines:
            yield from lines
    except OSError as error:
        raise GVSError(f"{path} cannot be read ({error.strerror}).") from error


def _line(line: bytes, where: str) -> _Line:
    try:
        try:
            return _Line.model_validate_json(line)
        except ValidationError:
            # Half a character, as a tokenizer may leave it, is no reason to lose the others.
            whole = json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace")
            return _Line.model_validate_json(whole)
    except (ValidationError, ValueError, RecursionError) as error:
        reason = fault(error) if isinstance(error, ValidationError) else str(error)
        raise GVSError(f"{where} is no sample of lm_eval ({reason}). Copy the file again.") from (
            error
        )


def _choice(line: _Line, where: str) -> Answer:
    extra = line.model_extra or {}
    metrics = {name: extra[name] for name in _CHOICE_METRICS if name in extra}
    numbers = [value for value in metrics.values() if isinstance(value, int | float)]
    # position_bias is below 0 when B is chosen more often.
    if (
        not metrics
        or len(numbers) < len(metrics)
        or not all(-1 <= number <= 1 or math.isnan(number) for number in numbers)
    ):
        raise GVSError(f"{where} has no metrics of multiple choice, or they are out of range.")
    return Answer(line.doc_id, line.doc, None, None, metrics)


_VERDICT: TypeAdapter[Verdict] = TypeAdapter(Verdict)


def _judged(line: _Line, where: str, track: str) -> Answer:
    try:
        verdict = _VERDICT.validate_json(line.filtered_resps[0])
        if verdict.unjudged:
            verdict = replace(verdict, unjudged=one_line(redacted("", verdict.unjudged)))
        response = TypeAdapter(str).validate_python(line.resps[0][0])
    except (ValidationError, IndexError, TypeError) as error:
        reason = fault(error) if isinstance(error, ValidationError) else "it is empty"
        raise GVSError(f"{where} has no verdict, or no answer, of this package ({reason}).") from (
            error
        )
    probabilities = [p for p in (verdict.p_unsafe, verdict.p_refusal) if p is not None]
    if not all(0 <= p <= 1 for p in probabilities):
        raise GVSError(f"{where} has a probability outside of 0 to 1.")
    metrics = benign_metrics(verdict) if track == "benign" else text_metrics(verdict)
    return Answer(
        line.doc_id,
        line.doc,
        None if response == "None" and verdict.unjudged else response,
        verdict,
        {name: value for name, value in metrics.items() if not name.endswith("_stderr")},
    )
