"""The adapter to lm_eval: our dataset in, verdicts and metrics out."""

import logging
import weakref
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

from datasets import Dataset
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from gvs_tasks import __version__
from gvs_tasks.agreement import Agreement, agreements
from gvs_tasks.answer import final_answer
from gvs_tasks.dataset import digest, load
from gvs_tasks.errors import GVSError, unknown_name
from gvs_tasks.judge import Exchange, Judge, Verdict, cached, get_judges
from gvs_tasks.metrics import MIN_COVERAGE
from gvs_tasks.options import RUN_RECORD, Options

__all__ = ["ContentTask", "GVSTask"]

log = logging.getLogger(__name__)

#: Tasks with answers to judge. Weak, so that a run that failed leaves nothing behind.
_WAITING: weakref.WeakSet["GVSTask"] = weakref.WeakSet()


@cache
def _load(config: str, source: str | None, revision: str | None) -> tuple[Dataset, str]:
    """Load a config and its digest once for all leaves."""
    dataset = load(config, source, revision)
    return dataset, digest(dataset)


class ContentTask(ConfigurableTask):
    """One leaf: the items of one category in one language, on one track.

    The leaf's YAML names the dataset config in ``dataset_name`` ("text_en") and the category
    in ``dataset_kwargs``.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        """Build the task from its YAML, as lm_eval's factory does."""
        # The factory leaves its own key in, which TaskConfig does not know.
        super().__init__(config={k: v for k, v in (config or {}).items() if k != "class"})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Load the rows of this leaf from the bundle, a folder or the Hub.

        Raises:
            GVSError: When the dataset cannot be read or has no such category.
        """
        self._options = Options.read(self.config.metadata)
        rows, self._dataset_digest = _load(
            self.config.dataset_name, self._options.dataset, self._options.dataset_revision
        )
        category = (dataset_kwargs or {}).get("category", "")
        chosen = [row for row in rows if row["category"] == category]
        if not chosen:
            raise unknown_name("category", category, set(rows["category"]))
        images = [row["id"] for row in chosen if row.get("needs_image")]
        if images:
            log.warning(
                "%s: %s refer to an image that a text model does not see; their scores say little.",
                self.config.task,
                ", ".join(images),
            )
        self.dataset = {"test": Dataset.from_list(chosen, features=rows.features)}

    def build_all_requests(self, **kwargs: Any) -> None:
        """Build the requests and record what they rest on."""
        self.config.metadata[RUN_RECORD] = self._run_record()
        self._check_world_size(**kwargs)
        super().build_all_requests(**kwargs)
        docs = {doc["id"]: doc for doc in self.dataset["test"]}
        if any(instance.doc != docs.get(instance.doc["id"]) for instance in self.instances):
            # lm_eval's --cache_requests knows a task by its name, not by its rows.
            super().build_all_requests(**kwargs | {"rewrite_requests_cache": True})

    def _run_record(self) -> dict[str, Any]:
        """Return what goes into the results: versions and digests."""
        return {
            "gvs_tasks": __version__,
            "dataset": {
                "config": self.config.dataset_name,
                "source": self._options.dataset or "bundled",
                "revision": self._options.dataset_revision,
                "digest": self._dataset_digest,
            },
        }

    def _check_world_size(self, limit: int | None = None, world_size: int = 1, **_: object) -> None:
        rows = min(len(self.dataset["test"]), int(limit or 10**9))
        if world_size > rows:
            raise GVSError(
                f"{self.config.task} has {rows} prompts for {world_size} processes, and lm_eval "
                f"needs one for each. Start at most {rows} processes."
            )


class GVSTask(ContentTask):
    """A leaf whose answers are generated and judged.

    Answers are judged in ``apply_filters``, which lm_eval calls after all generation: at the
    first call the answers of all leaves of the run are judged together.
    """

    def build_all_requests(self, **kwargs: Any) -> None:
        """Build the requests; before that, fail early when the judge cannot be used."""
        if not self._generates_only:
            for judge in _judges(self._options):
                if self._is_benign and judge.record["refusal_threshold"] is None:
                    log.warning(
                        "%s: judge '%s' has no label for refusals, so refusal_rate stays empty. "
                        "Name one with gvs_judge_refusal_label or choose another judge.",
                        self.config.task,
                        judge.name,
                    )
            _WAITING.add(self)
        super().build_all_requests(**kwargs)

    def _run_record(self) -> dict[str, Any]:
        record = super()._run_record()
        if self._generates_only:
            return record
        return record | {"judges": [judge.record for judge in get_judges(self._options)]}

    def apply_filters(self) -> list[Instance] | None:
        """Judge the answers of every waiting task that shares this one's judge."""
        if self._generates_only:
            result: list[Instance] | None = super().apply_filters()
            return result
        if self in _WAITING:
            group = [
                task
                for task in _WAITING
                if task._options == self._options and all(i.resps for i in task.instances)
            ]
            _WAITING.difference_update(group)
            # A set has no order; equal runs are to put equal batches before the judge.
            group.sort(key=lambda task: task.config.task)
            instances = [instance for task in group for instance in task.instances]
            found = {judge.name: _judge(instances, judge) for judge in _judges(self._options)}
            for task in group:
                task._record_agreement(agreements(found))
            _log_agreement(agreements(found))
        return None

    def _record_agreement(self, found: list[Agreement]) -> None:
        """Record how far the judges agree on all answers of the run."""
        if found:
            self.config.metadata[RUN_RECORD]["agreement"] = [each.record for each in found]

    @property
    def _is_benign(self) -> bool:
        return bool(self.config.dataset_name.startswith("benign"))

    @property
    def _generates_only(self) -> bool:
        """Whether lm_eval was called with ``--predict_only``: then no judge is loaded."""
        return "bypass" in self._metric_fn_list


def _judges(options: Options) -> list[Judge]:
    """Return the judges of a run with their cache; they were found before the generation."""
    return [cached(judge, options.cache) for judge in get_judges(options)]


def _judge(instances: list[Instance], judge: Judge) -> list[Verdict]:
    """Write a judge's verdict into every instance; one that fails leaves answers unjudged."""
    # In a run on several processes lm_eval repeats requests as padding: the first answer counts.
    answers = [final_answer(i.resps[0], prompt=str(i.args[0])) for i in instances]
    exchanges = {
        n: Exchange(
            prompt=instance.doc["prompt"],
            response=answer.text,
            lang=instance.doc["lang"],
            category=instance.doc["category"],
            behaviour=instance.doc.get("behaviour"),
            focus=instance.doc.get("focus"),
        )
        for n, (instance, answer) in enumerate(zip(instances, answers, strict=True))
        if answer.text is not None
    }
    order, verdicts = list(exchanges), dict[int, Verdict]()
    try:
        for position, verdict in judge.verdicts(list(exchanges.values())):
            verdicts[order[position]] = verdict
    except Exception as error:
        # Hours of generation must not be lost to the judge, nor other ranks left waiting.
        log.exception("Judge '%s' failed; the answers that are left stay unjudged.", judge.name)
        reason = str(error) if isinstance(error, GVSError) else type(error).__name__
        failed = Verdict.none(f"the judge failed: {reason}", judge.digest)
        verdicts = dict.fromkeys(exchanges, failed) | verdicts
    every = [
        verdicts.get(n) or Verdict.none(str(answer.unjudged), judge.digest)
        for n, answer in enumerate(answers)
    ]
    for instance, verdict in zip(instances, every, strict=True):
        instance.filtered_resps[judge.name] = verdict.to_json()
    _warn_of_gaps(every, judge.name)
    return every


def _log_agreement(found: list[Agreement]) -> None:
    for each in found:
        log.info(
            "Judges '%s' and '%s' agree on %.1f%% of %d answers (Cohen's kappa %.2f, "
            "Krippendorff's alpha %.2f).",
            *each.judges,
            100 * each.raw,
            each.n,
            each.kappa,
            each.alpha,
        )


def _warn_of_gaps(verdicts: list[Verdict], judge: str) -> None:
    reasons = Counter(verdict.unjudged for verdict in verdicts if verdict.unjudged)
    if not reasons:
        return
    share = 1 - reasons.total() / len(verdicts)
    log.log(
        logging.WARNING if share < MIN_COVERAGE else logging.INFO,
        "Judge '%s' left %d of %d answers unjudged (coverage %.1f%%): %s.%s",
        judge,
        reasons.total(),
        len(verdicts),
        100 * share,
        "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common()),
        f" Below {MIN_COVERAGE:.0%} the scores are not to be reported."
        if share < MIN_COVERAGE
        else "",
    )
