"""Folders that lm_eval wrote to, read as runs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from gvs_tasks.errors import GVSError
from gvs_tasks.redaction import one_line, redacted
from gvs_tasks.results.run import CHOICE, TRACKS, Leaf, Record, Run
from gvs_tasks.results.samples import read_answers
from gvs_tasks.saved import SAMPLES, Results, fault, read_results
from gvs_tasks.taxonomy import load_taxonomy

__all__ = ["labelled", "place", "read", "read_one"]

_LEAF = re.compile(r"gvs_(?:(?P<track>benign|mc|upstream)_)?(?P<lang>en|zh)_(?P<category>\w+)")
#: How lm_eval names results: "results" is what the user may have called them.
_RESULTS = re.compile(r".+_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.json")


class _Scores(BaseModel):
    results: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, Any]] = {}


def read(source: Path) -> list[Run]:
    """Read every run below a folder that lm_eval wrote to, or the run of one results file.

    Args:
        source: The folder, searched recursively, or a results file.

    Returns:
        A run for each folder and model, in the order of their names.

    Raises:
        GVSError: When there is no judged run of this package, or a file is damaged.
    """
    if not source.exists():
        raise GVSError(f"{source} does not exist. Name the folder that lm_eval wrote to.")
    below = filter(_is_results, sorted(source.rglob("*.json"))) if source.is_dir() else [source]
    found: dict[tuple[Path, str], list[Run]] = {}
    for path in below:
        run = _read_part(path)
        if run is not None:
            found.setdefault((run.folder, run.model), []).append(run)
    runs = [run for _, parts in sorted(found.items()) if (run := _join(parts)).leaves]
    if found and not runs:
        raise GVSError(
            f"The answers in {source} were not judged (--predict_only). Judge them with: gvs "
            "rejudge."
        )
    if not runs:
        raise GVSError(
            f"{source} holds no judged run of this package. Run: gvs run --tasks gvs "
            "--output_path OUT --log_samples (or judge saved answers: gvs rejudge)."
        )
    return runs


def read_one(source: Path) -> Run:
    """Read a folder that holds one run.

    Raises:
        GVSError: As `read`, and when there are several.
    """
    runs = read(source)
    if len(runs) > 1:
        names = ", ".join(f"{run.folder} ({run.model})" for run in runs)
        raise GVSError(f"{source} holds {len(runs)} runs: {names}. Name the folder of one.")
    return runs[0]


def _is_results(path: Path) -> bool:
    """Say whether a file is, or was to be, the results of a run."""
    if not _RESULTS.fullmatch(path.name):
        return False
    if path.name.startswith("results_"):
        return True
    try:
        known = from_json(path.read_bytes())
    except (OSError, ValueError):
        return True  # so that reading it says what is wrong
    return isinstance(known, dict) and isinstance(known.get("configs"), dict)


def _date(path: Path) -> str:
    named = _RESULTS.fullmatch(path.name)
    return named["date"] if named else ""


def _join(parts: list[Run]) -> Run:
    """Put the runs of one model in one folder together; the newest of each leaf counts."""
    leaves: dict[str, Leaf] = {}
    notes = []
    for part in sorted(parts, key=lambda part: max(map(_date, part.files))):
        again = []
        for name, leaf in part.leaves.items():
            before = leaves.get(name)
            if before is not None and _same_answers(before, leaf):
                leaf = _with_judges_of(before, leaf)
            elif before is not None:
                again.append(before)
            leaves[name] = leaf
        if again:
            older = ", ".join(sorted({leaf.results.name for leaf in again}))
            shown = again[0].name if len(again) == 1 else f"{len(again)} tasks"
            notes.append(f"{shown} in {older}: left out, since there is a newer run.")
    files = {path: known for part in parts for path, known in part.files.items()}
    return Run(
        parts[0].model,
        parts[0].folder,
        {name: leaves[name] for name in sorted(leaves, key=place)},
        {path: files[path] for path in sorted(files, key=_date)},
        tuple(notes),
    )


def _same_answers(before: Leaf, after: Leaf) -> bool:
    """Say whether the same answers were judged again, as `gvs rejudge` into one folder does."""
    seen = [
        {
            (answer.doc_id, answer.doc.id, answer.doc.prompt, answer.response)
            for answers in leaf.answers.values()
            for answer in answers
        }
        for leaf in (before, after)
    ]
    return CHOICE not in after.answers and seen[0] == seen[1]


def _with_judges_of(before: Leaf, after: Leaf) -> Leaf:
    """Add the judges of an earlier reading; of one judge the newer verdicts count."""
    again = {judge.name for judge in after.record.judges}
    judges = [judge for judge in before.record.judges if judge.name not in again]
    return replace(
        after,
        answers={**before.answers, **after.answers},
        reported={**before.reported, **after.reported},
        record=after.record.model_copy(update={"judges": [*judges, *after.record.judges]}),
    )


def place(name: str) -> tuple[int, str, int]:
    """Return where a leaf stands: by track, language and the order of the scale.

    Raises:
        GVSError: When it is no leaf of this package.
    """
    match = _LEAF.fullmatch(name)
    if match is None:
        raise GVSError(f"'{name}' is no task of this package.")
    slugs = [category.slug for category in load_taxonomy().categories]
    return [*TRACKS].index(match["track"] or ""), match["lang"], slugs.index(match["category"])


def _read_part(path: Path) -> Run | None:
    """Read one results file with its samples; None when it holds no task of this package."""
    known = read_results(path)
    results = Results.model_validate(known)
    slugs = {category.slug for category in load_taxonomy().categories}
    ours = {
        name: (TRACKS[match["track"] or ""], match["lang"], match["category"])
        for name in results.configs
        if (match := _LEAF.fullmatch(name)) and match["category"] in slugs
    }
    if not ours:
        return None
    try:
        scores = _Scores.model_validate(known)
    except ValidationError as error:
        raise GVSError(
            f"{path}: the scores are not as lm_eval writes them ({fault(error)}). Copy it again."
        ) from error
    dated = _RESULTS.fullmatch(path.name)
    samples = {
        parts["task"]: each
        for each in sorted(path.parent.glob("samples_*.jsonl"))
        if (parts := SAMPLES.fullmatch(each.name)) and dated and parts["date"] == dated["date"]
    }
    missing = sorted(set(ours) - set(samples))
    if missing:
        raise GVSError(
            f"{path}: there are no samples of {', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''} beside it. Errors, comparisons and the browser "
            "of answers rest on them: run with --log_samples, and copy the whole folder."
        )
    leaves = {}
    for name, (track, lang, category) in ours.items():
        counts = results.n_samples.get(name)
        answers = read_answers(samples[name], track, lang, category)
        if not answers:
            continue
        count = len(next(iter(answers.values())))
        leaves[name] = Leaf(
            name=name,
            track=track,
            lang=lang,
            category=category,
            samples=samples[name],
            results=path,
            version=str(results.versions.get(name, "")),
            record=_record(path, name, known),
            reported=scores.results.get(name, {}),
            original=counts.original if counts else count,
            effective=counts.effective if counts else count,
            answers=answers,
        )
    # An API's address may hold a password.
    model = one_line(redacted("", results.model_name or path.parent.name))
    return Run(model, path.parent, leaves, {path: known})


def _record(path: Path, leaf: str, known: Mapping[str, Any]) -> Record:
    metadata = known["configs"][leaf].get("metadata") or {}
    try:
        return Record.model_validate(metadata.get("gvs_run") or {})
    except ValidationError as error:
        raise GVSError(
            f"{path}: {leaf} does not say what it was run with (gvs_run: {fault(error)}). "
            "It is not of a version of this package that can be reported; run or rejudge again."
        ) from error


def labelled(runs: Iterable[Run]) -> dict[str, Run]:
    """Give each run a name of its own: the model, with what tells runs of one model apart."""
    # A folder that was named twice is one run.
    runs = list({(run.folder.resolve(), run.model): run for run in runs}.values())
    names: dict[str, Run] = {}
    for run in runs:
        alike = [other for other in runs if other.model == run.model]
        name = run.model
        if len(alike) > 1 and run.judges and len({other.judges for other in alike}) == len(alike):
            name = f"{run.model} ({' + '.join(run.judges)})"
        elif len(alike) > 1:
            name = f"{run.model} ({run.folder})"
        number, unique = 2, name
        while unique in names:
            unique, number = f"{name} #{number}", number + 1
        names[unique] = run
    return names
