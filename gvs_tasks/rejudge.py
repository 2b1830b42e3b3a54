"""``gvs rejudge``: saved answers before another judge, without generating them again.

The answers are played back through lm_eval itself: scores, groups, standard errors and files come
from where those of a run come from.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.api_models import JsonChatStr
from lm_eval.tasks import TaskManager
from lm_eval.utils import make_table, sanitize_model_name

from gvs_tasks import tasks_path
from gvs_tasks.errors import GVSError
from gvs_tasks.harness import check_output
from gvs_tasks.options import PREFIX, RUN_RECORD
from gvs_tasks.saved import Sample, SavedRun, read_runs

__all__ = ["Rejudged", "rejudge"]

log = logging.getLogger(__name__)

#: What the results say about the scores; all else describes the generation.
_SCORES = {
    *("results", "groups", "group_subtasks", "configs", "versions", "n-shot"),
    *("higher_is_better", "n-samples", "task_hashes", "rejudged_from"),
}
#: Likewise in the config of a leaf.
_SCORING = ("process_results", "metric_list", "metadata")


@dataclass(frozen=True)
class Rejudged:
    """One run after judging.

    Attributes:
        results: The content of its results file.
        path: That file; None when nothing was to be written.
    """

    results: dict[str, Any]
    path: Path | None

    def table(self) -> str:
        """Return the scores as lm_eval prints them."""
        config = self.results["config"]
        model = config.get("model") or self.results["model_name"]
        settings = ", ".join(
            f"{key}: {config.get(key)}" for key in ("gen_kwargs", "limit", "batch_size")
        )
        tables = [make_table(self.results)]
        if "groups" in self.results:
            tables.append(make_table(self.results, "groups"))
        return "\n".join([f"{model} ({config.get('model_args')}), {settings}", *tables])


def rejudge(
    sources: Iterable[Path], output: Path | None, chosen: Mapping[str, str]
) -> Iterator[Rejudged]:
    """Judge the answers of saved runs, one run after the other, oldest first.

    Each run gives results of its own, in the files that lm_eval would write: model, date and
    settings are those of the generation, the dataset that of the run ("unknown" without a
    results file beside the samples), and ``rejudged_from`` names the files it rests on.

    Args:
        sources: Samples files and folders; see `gvs_tasks.saved.read_runs`.
        output: As lm_eval's ``--output_path``; None writes nothing. The files of a run appear
            when all of it is judged, its results last.
        chosen: Options of the run, such as ``gvs_judge``.

    Raises:
        GVSError: When samples, judge or output cannot be used; nothing is judged before all
            samples are read.
    """
    if output is not None:
        check_output([str(output)])
    index = TaskManager(include_path=str(tasks_path()), include_defaults=False).task_index
    runs = read_runs(sources, index)
    for run in runs:
        if output is not None:
            check_output([str(_folder(run, output))])
    for run in runs:
        tasks = _load(run, index, chosen)
        results = _results(run, evaluate(lm=_Replay(run.samples), task_dict=tasks))
        samples = results.pop("samples")
        for task, lines in samples.items():
            for line in lines:
                # A run may have asked for some items only (--samples).
                line["doc_id"] = run.samples[task][line["doc_id"]].doc_id
        path = _save(run, results, samples, output) if output is not None else None
        yield Rejudged(results, path)


class _Replay(LM):
    """A model that gives the saved answers."""

    def __init__(self, samples: Mapping[str, list[Sample]]) -> None:
        super().__init__()
        self._samples = samples

    def generate_until(self, requests: list[Instance]) -> list[str | None]:
        answers = []
        for request in requests:
            sample = self._samples[request.task_name][request.doc_id]
            asked = sample.arguments.gen_args_0
            # What the model was given, not what the task would give it without chat template:
            # where a trace begins depends on it.
            prompt = asked.arg_0 if isinstance(asked.arg_0, str) else JsonChatStr(*asked.arg_0)
            request.arguments = (prompt, asked.arg_1)
            answers.append(sample.answer)
        return answers

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise GVSError("Saved answers have no likelihoods.")

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise GVSError("Saved answers have no likelihoods.")


def _load(run: SavedRun, index: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """Load the tasks on the items that were answered, which may have changed since."""
    configs: dict[str, list[Dataset]] = {}
    for task, rows in run.rows.items():
        configs.setdefault(index[task].cfg["dataset_name"], []).append(rows)
    groups = run.results.group_subtasks
    names = _asked(list(run.files), index, index if groups is None else groups)
    with tempfile.TemporaryDirectory(prefix="gvs-") as scratch:
        for config, parts in configs.items():
            folder = Path(scratch) / config
            folder.mkdir()
            concatenate_datasets(parts).to_parquet(folder / "test.parquet")
        manager = TaskManager(
            include_path=str(tasks_path()),
            include_defaults=False,
            metadata={**chosen, f"{PREFIX}dataset": scratch},
        )
        loaded: dict[str, Any] = manager.load(names)
    return loaded


def _asked(leaves: list[str], index: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the largest of the named groups that are whole, and the leaves outside of them."""

    def below(name: str) -> set[str]:
        members = index[name].cfg["task"]
        return {name} if isinstance(members, str) else set().union(*map(below, members))

    groups = [name for name in names if name in index and "group" in index[name].cfg]
    asked, left = [], set(leaves)
    for group in sorted(groups, key=lambda name: -len(below(name))):
        if below(group) <= left:
            asked.append(group)
            left -= below(group)
    return asked + [leaf for leaf in leaves if leaf in left]


def _results(run: SavedRun, scores: dict[str, Any]) -> dict[str, Any]:
    """Put the new scores into what is known of the run."""
    theirs = run.results
    results = {key: value for key, value in run.known.items() if key not in _SCORES} | scores
    results |= {"config": theirs.config, "model_name": run.model}
    results["rejudged_from"] = {
        "results": run.results_file.name if run.results_file else None,
        "samples": sorted(path.name for path in run.files.values()),
    }
    for task, config in scores["configs"].items():
        results["configs"][task] = _config(run, task, config)
        if task in theirs.n_samples:
            results["n-samples"][task]["original"] = theirs.n_samples[task].original
        version = theirs.versions.get(task)
        if version not in (None, scores["versions"][task]):
            log.warning(
                "%s: answered as version %s and scored as version %s. Do not compare the scores "
                "with those of either.",
                task,
                version,
                scores["versions"][task],
            )
    return results


def _config(run: SavedRun, task: str, ours: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a leaf: the run's own but for the scoring."""
    source = f"{PREFIX}dataset"
    metadata, dataset = {}, None
    if task in run.results.configs:
        config: dict[str, Any] = run.known["configs"][task]
        dataset = run.results.configs[task].metadata.gvs_run.dataset
        metadata = {
            key: value
            for key, value in config.get("metadata", {}).items()
            if key.startswith(source) or not key.startswith(PREFIX)
        }
    else:
        first = run.samples[task][0]
        config = ours | {"generation_kwargs": first.arguments.gen_args_0.arg_1}
    unknown = {"source": "unknown", "revision": None, "digest": None}
    metadata |= {key: value for key, value in ours["metadata"].items() if key != source}
    metadata[RUN_RECORD] = metadata[RUN_RECORD] | {
        "dataset": dataset or {"config": ours["dataset_name"]} | unknown
    }
    return config | {key: ours[key] for key in _SCORING} | {"metadata": metadata}


def _folder(run: SavedRun, output: Path) -> Path:
    """Return where the files of a run go, as lm_eval decides it."""
    return output.parent if output.suffix == ".json" else output / _folder_name(run)


def _folder_name(run: SavedRun) -> str:
    name = str(sanitize_model_name(run.model))
    return name if name.strip(".") else "unknown"


def _save(
    run: SavedRun, results: dict[str, Any], samples: dict[str, list[Any]], output: Path
) -> Path:
    """Let lm_eval write the files elsewhere, and move them when all are whole.

    Returns:
        The results file.
    """
    folder = _folder(run, output)
    with tempfile.TemporaryDirectory(prefix="gvs-") as scratch:
        tracker = EvaluationTracker(
            output_path=str(Path(scratch) / (output.name if output.suffix == ".json" else "out"))
        )
        described = tracker.general_config_tracker
        for field in fields(described):
            setattr(described, field.name, results.get(field.name))
        described.model_name_sanitized = _folder_name(run)
        tracker.save_results_aggregated(results=results, samples=samples)
        for task, lines in samples.items():
            tracker.save_results_samples(task_name=task, samples=lines)
        # lm_eval logs what it cannot write, and goes on.
        files = sorted(
            (path for path in Path(scratch).rglob("*") if path.is_file()),
            key=lambda path: path.suffix == ".json",
        )
        lengths = sorted(len(path.read_bytes().splitlines()) for path in files[:-1])
        if not files or lengths != sorted(map(len, samples.values())):
            raise GVSError(f"The results cannot be written to {scratch}. Is the disk full?")
        try:
            for path in files:
                partial = folder / f".{path.name}.partial"
                shutil.copyfile(path, partial)
                partial.replace(folder / path.name)
        except OSError as error:
            raise GVSError(
                f"The results cannot be written to {folder} ({error.strerror}). Choose another "
                "folder with --output_path; verdicts in the cache are not lost."
            ) from error
    return folder / files[-1].name
