"""What lm_eval saved of a run: the files of its samples, and the results beside them."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from datasets import Dataset, Features
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from gvs_tasks.answer import final_answer
from gvs_tasks.dataset import UPSTREAM_CONFIGS, UPSTREAM_FEATURES, load
from gvs_tasks.errors import GVSError

__all__ = ["SAMPLES", "Results", "Sample", "SavedRun", "fault", "read_results", "read_runs"]

log = logging.getLogger(__name__)

#: How lm_eval names a file of samples.
SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")


class _Open(BaseModel):
    """Other fields are lm_eval's and are kept as they are."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class _Arguments(BaseModel):
    # A chat API gets one text of JSON, which lm_eval wraps in a tuple.
    arg_0: str | tuple[str]
    arg_1: dict[str, Any]


class _Requests(BaseModel):
    gen_args_0: _Arguments


class Sample(BaseModel):
    """One line of a samples file, as far as it does not come from a judge.

    Attributes:
        doc_id: Position of the item in its leaf at the time of the run.
        doc: The item.
        arguments: What the model was given, with the settings of the generation.
        resps: What it generated.
    """

    doc_id: int
    doc: dict[str, Any]
    arguments: _Requests
    resps: tuple[tuple[str, ...], ...]
    filtered_resps: tuple[str, ...]

    @property
    def answer(self) -> str | None:
        """What the model generated; None when it returned no text.

        lm_eval saves no text as "None". A verdict tells it from the word; without a verdict it
        is taken for no text, since a score for an answer that was not given would go unnoticed.
        """
        text = self.resps[0][0]
        no_text = ("None", str(final_answer(None).unjudged))
        if text == "None" and any(
            mark in filtered for mark in no_text for filtered in self.filtered_resps[:1]
        ):
            return None
        return text


class _Record(_Open):
    dataset: dict[str, Any] | None = None


class _Metadata(_Open):
    gvs_run: _Record = _Record()


class _Config(_Open):
    metadata: _Metadata = _Metadata()


class _Counts(BaseModel):
    original: int
    effective: int


class Results(_Open):
    """A results file, as far as it is looked into; empty when there is none."""

    model_name: str | None = None
    config: dict[str, Any] = {}
    configs: dict[str, _Config] = {}
    versions: dict[str, Any] = {}
    group_subtasks: dict[str, list[str]] | None = None
    n_samples: dict[str, _Counts] = Field(default={}, alias="n-samples")
    rejudged_from: dict[str, Any] | None = None


@dataclass(frozen=True)
class SavedRun:
    """The saved answers of one run.

    Attributes:
        files: The samples file of each leaf.
        samples: Its lines, one for each item, in their order in the file.
        rows: The same items, as `gvs_tasks.dataset.load` gives them.
        results: The run's results, checked as far as they are looked into; empty without a file.
        known: The same as lm_eval wrote them.
        results_file: Where they stood, or None.
    """

    files: dict[str, Path]
    samples: dict[str, list[Sample]]
    rows: dict[str, Dataset]
    results: Results
    known: dict[str, Any]
    results_file: Path | None

    @property
    def model(self) -> str:
        """The model's name; without results the name of the folder, as lm_eval names it."""
        return self.results.model_name or next(iter(self.files.values())).parent.name


def read_runs(sources: Iterable[Path], index: Mapping[str, Any]) -> list[SavedRun]:
    """Read samples files; those that one run wrote, with one date in one folder, belong together.

    A folder gives every run below it, but no samples of other tasks, and no run that was itself
    rejudged.

    Args:
        sources: Samples files, named as lm_eval names them, and folders.
        index: lm_eval's index of the tasks of this package.

    Returns:
        The runs, oldest first.

    Raises:
        GVSError: When there is nothing to judge, or a file is not what lm_eval wrote for a task
            with answers.
    """
    sources = list(sources)
    runs: dict[tuple[str, Path], dict[str, Path]] = {}
    named: set[Path] = set()
    for source in sources:
        if not source.exists():
            raise GVSError(f"{source} does not exist. Name samples of lm_eval, or their folder.")
        if not source.is_dir():
            named.add(source.resolve())
        for path in [source] if not source.is_dir() else _search(source, index):
            task, date = _parts(path, index)
            runs.setdefault((date, path.resolve().parent), {})[task] = path.resolve()
    found = []
    for (date, folder), files in sorted(runs.items()):
        results_file = next(iter(sorted(folder.glob(f"*_{date}.json"))), None)
        known = read_results(results_file) if results_file else {}
        results = Results.model_validate(known)
        if results.rejudged_from is not None and named.isdisjoint(files.values()):
            log.warning("%s was rejudged itself; left out.", results_file)
            continue
        samples = {task: _samples(path) for task, path in sorted(files.items())}
        for task, path in files.items():
            counts = results.n_samples.get(task)
            if counts and counts.effective != len(samples[task]):
                raise GVSError(
                    f"{path} holds {len(samples[task])} answers, but {results_file} counts "
                    f"{counts.effective}: the file is not whole. Copy it again."
                )
        rows = {task: _rows(files[task], samples[task], index[task].cfg) for task in samples}
        found.append(SavedRun(files, samples, rows, results, known, results_file))
    if not found:
        raise GVSError(
            f"No answers to judge in {', '.join(map(str, sources))}. Samples are saved by "
            "gvs run --output_path OUT with --log_samples, or with --predict_only."
        )
    return found


def _search(folder: Path, index: Mapping[str, Any]) -> list[Path]:
    """Return the samples below a folder that can be judged, and name the others."""
    wanted, others = [], set()
    for path in sorted(folder.rglob("samples_*.jsonl")):
        try:
            _parts(path, index)
        except GVSError:
            others.add(path.name)
        else:
            wanted.append(path)
    if others:
        log.warning("%s: left out %s: no answers to judge.", folder, ", ".join(sorted(others)))
    return wanted


def _parts(path: Path, index: Mapping[str, Any]) -> tuple[str, str]:
    """Return task and date from the name of a samples file."""
    name = SAMPLES.fullmatch(path.name)
    if not name:
        raise GVSError(
            f"{path} is not named as lm_eval names samples (samples_TASK_DATE.jsonl), which says "
            "what they are of. Give the file the name that it had."
        )
    entry = index.get(name["task"])
    if entry is None or "dataset_name" not in entry.cfg:
        raise GVSError(
            f"{path}: '{name['task']}' is no task of this package. "
            "Other answers can be judged with: gvs judge."
        )
    if entry.cfg["output_type"] != "generate_until":
        raise GVSError(
            f"{path}: '{name['task']}' is multiple choice: there are no answers to judge. "
            "Leave the file out."
        )
    return name["task"], name["date"]


def fault(error: ValidationError) -> str:
    """Return the first thing that is wrong, and where."""
    first = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


def read_results(path: Path) -> dict[str, Any]:
    """Read a results file and check it as far as `Results` looks into it.

    Raises:
        GVSError: When it cannot be read or is none.
    """
    try:
        text = path.read_bytes()
        Results.model_validate_json(text)
        return dict(from_json(text))
    except OSError as error:
        raise GVSError(f"{path} cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        raise GVSError(
            f"{path}: not the results of a run ({fault(error)}). Copy the file again, or move it "
            "away: gvs rejudge then takes the samples for those of an unknown model and dataset."
        ) from error


def _samples(path: Path) -> list[Sample]:
    """Read the lines of a file: the first for each item, since each judge repeats them all."""
    found: dict[int, Sample] = {}
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                where = f"{path}: line {number}"
                try:
                    sample = Sample.model_validate_json(line)
                except ValidationError as error:
                    raise GVSError(f"{where} is no sample of lm_eval ({fault(error)}).") from error
                if not any(sample.resps[:1]):
                    raise GVSError(f"{where} has no answer.")
                first = found.setdefault(sample.doc_id, sample)
                if (first.doc, first.resps) != (sample.doc, sample.resps):
                    raise GVSError(f"{where} has another answer for doc_id {sample.doc_id}.")
    except OSError as error:
        raise GVSError(f"{path} cannot be read ({error.strerror}).") from error
    if not found:
        raise GVSError(f"{path} holds no samples.")
    return list(found.values())


@cache
def _features(config: str) -> Features:
    return UPSTREAM_FEATURES if config in UPSTREAM_CONFIGS else load(config).features


def _rows(path: Path, samples: list[Sample], task: Mapping[str, Any]) -> Dataset:
    """Return the items that were answered, after checking that they belong to the task."""
    features, category = _features(task["dataset_name"]), task["dataset_kwargs"]["category"]
    for sample in samples:
        where = f"{path}: doc_id {sample.doc_id}"
        missing = [name for name in features if name not in sample.doc]
        if missing:
            raise GVSError(
                f"{where}: the item lacks {', '.join(missing)}. It is of another version of this "
                "package, or the file bears the name of another task."
            )
        if sample.doc["category"] != category or not sample.doc["prompt"]:
            raise GVSError(f"{where}: not an item of the category '{category}' with a prompt.")
    docs = [{name: sample.doc[name] for name in features} for sample in samples]
    try:
        return Dataset.from_list(docs, features=features)
    except Exception as error:  # pyarrow and datasets errors share no base
        raise GVSError(f"{path}: the items have fields of other types: {error}") from error
