"""``gvs judge``: verdicts for plain JSON Lines files of prompts and answers."""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from gvs_tasks.answer import final_answer
from gvs_tasks.errors import GVSError
from gvs_tasks.judge.types import Exchange, Judge, Verdict

__all__ = ["Job", "Outcome", "attempt", "judge_file", "plan"]

#: Lines held in memory and judged together.
CHUNK = 4096
#: Fields of a line that a judge may use beside prompt and response.
CONTEXT = ("lang", "category", "behaviour", "focus")
#: Fields that are added to a line.
ADDED = ("p_unsafe", "unsafe", "p_refusal", "refusal", "unjudged")


@dataclass(frozen=True)
class Job:
    """A file to judge and the file to write."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: The job.
        counts: How many lines are "safe", "unsafe" and "unjudged"; empty after an error.
        error: What went wrong and the remedy, with the file's name; None when it is written.
    """

    job: Job
    counts: Counter[str]
    error: str | None = None


def plan(sources: Sequence[Path], output: Path) -> list[Job]:
    """Say which file goes where, before anything is judged.

    Args:
        sources: The files to judge, one or more.
        output: For one file the file to write, or a folder that exists; for several a folder,
            made if absent. In a folder each keeps its name.

    Raises:
        GVSError: When two files would have the same place, one would replace a file that is to be
            judged, or the folder cannot be made.
    """
    if len(sources) == 1 and not output.is_dir():
        return [Job(sources[0], output)]
    taken: dict[str, Path] = {}
    inputs = {source.resolve() for source in sources}
    for source in sources:
        if source.name in taken:
            raise GVSError(
                f"{taken[source.name]} and {source} would both be written to "
                f"{output / source.name}: rename one, or judge them into different folders."
            )
        if (output / source.name).resolve() in inputs:
            raise GVSError(f"{output / source.name} is to be judged: choose another folder.")
        taken[source.name] = source
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GVSError(f"{output} must be a folder for {len(sources)} files: {error}") from error
    return [Job(source, output / source.name) for source in sources]


def attempt(job: Job, judge: Judge, scratch: Path | None = None) -> Outcome:
    """Judge a file; one that cannot be judged costs no other. See `judge_file`."""
    try:
        return Outcome(job, judge_file(job.source, job.target, judge, scratch))
    except GVSError as error:
        return Outcome(job, Counter(), str(error))


def judge_file(
    source: Path, target: Path, judge: Judge, scratch: Path | None = None
) -> Counter[str]:
    """Write every line of a file again, in order, with the judge's verdict added.

    The target appears when all is judged; with a cache, what was judged before a failure is not
    judged again.

    Args:
        source: JSON Lines; each an object with the texts ``prompt`` and ``response``, and perhaps
            ``lang``, ``category``, ``behaviour`` and ``focus``. An answer that is missing or no
            text is unjudged.
        target: The file to write. It may be the source.
        judge: The judge.
        scratch: Where the target is written until it is whole, on the same file system; by
            default its own folder.

    Returns:
        How many lines are "safe", "unsafe" and "unjudged".

    Raises:
        GVSError: When a file cannot be read or written, or a line is no such object.
    """
    counts: Counter[str] = Counter()
    partial: Path | None = None
    try:
        with source.open(encoding="utf-8") as lines:
            handle, name = tempfile.mkstemp(dir=scratch or target.parent, prefix=f".{target.name}-")
            partial = Path(name)
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                records = _records(lines, source)
                while chunk := list(islice(records, CHUNK)):
                    counts += _judge_chunk(chunk, judge, out)
        os.replace(partial, target)
    except (OSError, UnicodeDecodeError) as error:
        raise GVSError(f"{source} cannot be judged into {target}: {error}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return counts


def _records(lines: Iterable[str], source: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source}: line {number}"
        try:
            record = json.loads(line, parse_constant=lambda _: None)
        except ValueError as error:
            raise GVSError(f"{where}: not JSON ({error}).") from error
        if not isinstance(record, dict) or not isinstance(record.get("prompt"), str):
            raise GVSError(f"{where}: must be an object with the texts 'prompt' and 'response'.")
        for field in CONTEXT:
            if not isinstance(record.get(field), str | None):
                raise GVSError(f"{where}: '{field}' must be a text.")
        yield record


def _judge_chunk(records: list[dict[str, Any]], judge: Judge, out: TextIO) -> Counter[str]:
    answers = [final_answer(record.get("response"), record["prompt"]) for record in records]
    exchanges = [
        Exchange(record["prompt"], answer.text, **{field: record.get(field) for field in CONTEXT})
        for record, answer in zip(records, answers, strict=True)
        if answer.text is not None
    ]
    judged = iter(judge.judge(exchanges))
    counts: Counter[str] = Counter()
    for record, answer in zip(records, answers, strict=True):
        verdict = next(judged) if answer.text is not None else Verdict.none(str(answer.unjudged))
        record |= {field: getattr(verdict, field) for field in ADDED}
        out.write(_line(record))
        label = "unsafe" if verdict.unsafe else "safe"
        counts["unjudged" if verdict.unjudged else label] += 1
    return counts


def _line(record: dict[str, Any]) -> str:
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8: escape it
        line = json.dumps(record)
    return line + "\n"
