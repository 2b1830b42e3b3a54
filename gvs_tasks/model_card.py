"""``gvs card``: what a model card can say of a run, for people and for the Hub."""

import html
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml
from huggingface_hub import (
    EvalResult,
    EvalResultEntry,
    ModelCardData,
    eval_result_entries_to_yaml,
)

from gvs_tasks.compare import chosen_judge
from gvs_tasks.dataset import HUB_ID
from gvs_tasks.errors import GVSError
from gvs_tasks.integrity import concerning, examine, faults, limits, settings
from gvs_tasks.judge.known_errors import Errors, known_errors
from gvs_tasks.manifest import manifest
from gvs_tasks.redaction import one_line, redacted
from gvs_tasks.results import Run
from gvs_tasks.scores import (
    LANGUAGE_NAMES,
    METRICS,
    Cut,
    Metric,
    complement,
    cuts,
    estimate,
    selected,
    why_unmeasured,
)
from gvs_tasks.stats import Counts, Estimate
from gvs_tasks.taxonomy import LANGUAGES
from gvs_tasks.writing import write_files

__all__ = ["Card", "escaped", "model_card"]

#: The tracks that a card speaks of.
_TRACKS = ("text", "benign")
_SAFETY, _SAFE, _OVER_REFUSAL = (
    METRICS[name] for name in ("gvs_score", "safe_rate", "over_refusal")
)
_COVERAGE = Metric("text", "coverage", "answers with a verdict", 1, True)
_NOT_MEASURED, _NOT_HERE = "not measured", "not measured here"
#: What the reader of a card wants to see of the manifest, under the names it has there.
_SHOWN = (
    *("model", "model type", "model arguments", "model revision", "chat template"),
    *("chat template hash", "system instruction hash", "answers", "task versions", "judge"),
    *("dataset", "gvs-bench", "lm_eval", "transformers", "rejudged from", "limit"),
)
_COLUMNS = "safety score (0 to 10) | safe answers | harmless prompts refused | coverage |"
_ENDS = {True: ", higher is safer", False: ", lower is better", None: ""}
_HEADER = "Written by gvs card; write it again rather than change a number."


def escaped(text: str) -> str:
    r"""Return text that Markdown and HTML show as it is, on one line.

    >>> escaped("a|b\n<script>")
    'a\\|b &lt;script&gt;'
    """
    shown = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(one_line(text), quote=False))
    # Nor does it become a link.
    return shown.replace("://", "&#58;//").replace("www.", "www&#46;")


@dataclass(frozen=True)
class Card:
    """A run, ready to be described.

    Attributes:
        run: The run.
        judge: Name of the judge whose verdicts count.
        name: What to call the model.
        objections: Why it should not be published; empty unless that was overridden.
    """

    run: Run
    judge: str
    name: str
    objections: tuple[str, ...]

    @cached_property
    def section(self) -> str:
        """The section of a model card, in Markdown."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        rest = [name for name in self.run.judges if name != self.judge]
        chosen = f" (of several judges of this run; also {', '.join(rest)})" if rest else ""
        yield f"<!-- {_HEADER} -->"
        yield "## GVS-Bench"
        yield ""
        if self.objections:
            yield "> **These scores are not fit to be published:**"
            yield ">"
            yield from (f"> - {escaped(each)}" for each in self.objections)
            yield ""
        yield (
            f"How safely {escaped(self.name)} handles human values, in {self._languages()}: "
            "answers to the harmful prompts of GVS-Bench, judged by "
            f"{escaped(self.judge + chosen)}. The safety score is 10 x (1 - P(unsafe)), higher is "
            "safer. Every category counts the same. In brackets: 95% intervals, over items."
        )
        yield ""
        yield from _table(
            f"| | {_COLUMNS}",
            (self._row(cut) for cut in cuts() if cut.kind in ("overall", "language")),
        )
        for lang in (each for each in LANGUAGES if each in self._asked):
            yield f"### {LANGUAGE_NAMES[lang]}"
            yield ""
            yield from _table(f"| layer or category | {_COLUMNS}", map(self._row, _parts(lang)))
        yield "### What the judge gets wrong"
        yield ""
        yield from self._judge_error()
        yield "### What the scores rest on"
        yield ""
        known = manifest(self.run)
        known = {name: known[name] for name in _SHOWN if name in known}
        known |= {"generation": list(settings(self.run, "text").get("generation", ()))}
        yield from _table(
            "| setting | value |",
            ([name, escaped("; ".join(values))] for name, values in known.items()),
        )
        yield "### What they can be compared with"
        yield ""
        yield from (f"- {each}" for each in self._comparable())

    @cached_property
    def _asked(self) -> set[str]:
        return {leaf.lang for leaf in self.run.in_track("text")}

    def _languages(self) -> str:
        return " and ".join(LANGUAGE_NAMES[lang] for lang in LANGUAGES if lang in self._asked)

    def _row(self, cut: Cut) -> list[str]:
        label = f"**{cut.label}**" if cut.kind in ("overall", "layer") else cut.label
        found = selected(self.run, self.judge, _COVERAGE, cut)
        return [
            label,
            _with_interval(estimate(self.run, self.judge, _SAFETY, cut)),
            _with_interval(estimate(self.run, self.judge, _SAFE, cut), percent=True),
            _with_interval(estimate(self.run, self.judge, _OVER_REFUSAL, cut), percent=True),
            f"{np.mean(found.rows.values):.1%}" if found else _NOT_MEASURED,
        ]

    def _judge_error(self) -> Iterator[str]:
        digest = str(self.run.record(self.judge)["digest"])
        known = known_errors(digest) or {}
        yield (
            f"The judge is {escaped(self.judge)}, digest {escaped(digest)}. Its verdicts are not "
            "those of people."
        )
        if known:
            yield (
                "Its errors were measured on the benchmark's own exemplar answers, which are "
                "clear-cut. The corrected share (Rogan and Gladen) is right as far as it errs on "
                "this model's answers as it did there; on answers that are less clear it may err "
                "more."
            )
        else:
            yield "How often it errs is not measured here, so its shares are not corrected."
        yield ""
        yield from _table(
            "| language | unsafe exemplars flagged | safe exemplars not flagged "
            "| answers flagged | corrected for its errors |",
            (
                [name, *self._flagged(lang, known.get(lang))]
                for lang, name in LANGUAGE_NAMES.items()
            ),
        )

    def _flagged(self, lang: str, errors: Errors | None) -> list[str]:
        safe = estimate(self.run, self.judge, _SAFE, Cut("language", lang, lang=lang))
        flagged = complement(safe) if safe else None
        raw = _with_interval(flagged, percent=True)
        if errors is None:
            return [_NOT_HERE, _NOT_HERE, raw, _NOT_HERE]
        shares = [_share(errors.sensitivity), _share(errors.specificity), raw]
        if flagged is None or math.isnan(flagged.value):
            return [*shares, _NOT_MEASURED]
        found = errors.correct(flagged)
        return [*shares, found.reason or _with_interval(found.estimate, percent=True)]

    def _comparable(self) -> Iterator[str]:
        yield (
            "Only with runs under the same judge (its digest above), both with a chat template or "
            "both without, with the same generation settings and versions of tasks and dataset. "
            "`gvs compare` checks all of these."
        )
        yield (
            "Not with scores of the published benchmark (arXiv 2601.09112): other prompts, another "
            "judge, another scale of judging."
        )
        refused = estimate(self.run, self.judge, _OVER_REFUSAL, cuts()[0])
        if refused is None or math.isnan(refused.value):
            why = why_unmeasured(self.run, self.judge)
            yield (
                f"Over-refusal was not measured ({why}). A model that refuses everything scores "
                "high."
            )

    @cached_property
    def entries(self) -> list[EvalResultEntry]:
        """The scores in the form of the Hub's evaluation results, for the tasks of ``eval.yaml``.

        Safety and over-refusal by language; a score that is not defined has no entry.
        """
        source = {
            leaf.record.dataset.source: leaf.record.dataset for leaf in self.run.in_track("text")
        }
        ours = source.get(HUB_ID)
        return [
            EvalResultEntry(
                dataset_id=HUB_ID,
                task_id=task,
                value=value,
                dataset_revision=ours.revision if ours else None,
                date=self._date(),
                notes=self._notes(metric),
            )
            for task, (metric, cut) in _hub_tasks().items()
            if (value := self._value(metric, cut)) is not None
        ]

    def _value(self, metric: Metric, cut: Cut) -> float | None:
        found = estimate(self.run, self.judge, metric, cut)
        return None if found is None or math.isnan(found.value) else round(found.value, 4)

    def _notes(self, metric: Metric) -> str:
        digests = {
            f"{leaf.record.dataset.config} {leaf.record.dataset.digest}"
            for leaf in self.run.in_track(metric.track)
        }
        known = manifest(self.run)
        asked = settings(self.run, metric.track)
        digest = self.run.record(self.judge)["digest"]
        parts = [
            f"{metric.label}{_ENDS[metric.higher_is_better]}; judge {self.judge}, digest {digest}",
            f"gvs-bench {'/'.join(known.get('gvs-bench', ['unknown']))}",
            f"tasks {'/'.join(known.get('task versions', ['unknown']))}",
            f"dataset {', '.join(sorted(digests))}",
            f"chat template: {'/'.join(asked.get('chat template', ['unknown']))}",
            f"generation {'/'.join(asked.get('generation', ['unknown']))}",
            "comparable under the same judge, template and versions only",
        ]
        if self.objections:
            parts.insert(0, f"NOT FIT TO BE PUBLISHED: {' '.join(self.objections).rstrip('.')}")
        return one_line(redacted("", "; ".join(parts)))

    def _date(self) -> str | None:
        """Return when the newest part was run, as ISO 8601."""
        dates = [known.get("date") for known in self.run.files.values()]
        try:
            newest = max(date for date in dates if isinstance(date, int | float))
            return datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")
        except (ValueError, OverflowError, OSError):
            return None

    @property
    def eval_results(self) -> str:
        """The file ``.eval_results/gvs.yaml`` of a model repository."""
        found = eval_result_entries_to_yaml(self.entries)
        return f"# {_HEADER}\n" + yaml.safe_dump(found, sort_keys=False, allow_unicode=True)

    @property
    def model_index(self) -> str:
        """The block ``model-index`` of the front matter of a model card."""
        metrics = {"gvs_score": _SAFETY, "safe_rate": _SAFE, "over_refusal": _OVER_REFUSAL}
        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type=HUB_ID,
                dataset_name=f"GVS-Bench ({cut.label})",
                dataset_config=f"{METRICS[key].track}_{cut.lang}" if cut.lang else None,
                dataset_split="test",
                metric_type=key,
                metric_name=metric.label,
                metric_value=value,
                metric_args={"notes": self._notes(metric)},
            )
            for cut in cuts()
            if cut.kind in ("overall", "language")
            for key, metric in metrics.items()
            if (value := self._value(metric, cut)) is not None
        ]
        data = ModelCardData(model_name=self.name, eval_results=results)
        return f"# {_HEADER}\n{data.to_yaml()}\n"

    def write(self, folder: Path) -> list[Path]:
        """Write section, evaluation results and model index; whole files or none.

        Args:
            folder: The model's repository or any other; made when absent.

        Returns:
            The files.

        Raises:
            GVSError: When they cannot be written.
        """
        texts = {
            folder / "gvs.md": self.section,
            folder / ".eval_results/gvs.yaml": self.eval_results,
            folder / "model-index.yaml": self.model_index,
        }
        write_files(texts)
        return list(texts)


def _parts(lang: str) -> list[Cut]:
    """Return every layer of a language, and its categories below it."""
    return [cut for cut in cuts(lang) if cut.kind in ("layer", "category")]


def _hub_tasks() -> dict[str, tuple[Metric, Cut]]:
    """Return what the Hub is told, by the ids in the dataset's ``eval.yaml``."""
    languages = [cut for cut in cuts() if cut.kind == "language"]
    return {f"gvs_{cut.lang}": (_SAFETY, cut) for cut in languages} | {
        f"gvs_benign_{cut.lang}": (_OVER_REFUSAL, cut) for cut in languages
    }


def _table(header: str, lines: Iterable[list[str]]) -> Iterator[str]:
    yield header
    yield "|" + "---|" * (header.count("|") - 1)
    yield from (f"| {' | '.join(line)} |" for line in lines)
    yield ""


def _with_interval(found: Estimate | None, percent: bool = False) -> str:
    if found is None or math.isnan(found.value):
        return _NOT_MEASURED
    form = "{:.1%}" if percent else "{:.2f}"
    value, low, high = (form.format(each) for each in (found.value, found.low, found.high))
    return f"{value} (no interval)" if math.isnan(found.low) else f"{value} ({low} to {high})"


def _share(counts: Counts) -> str:
    return f"{counts.correct / counts.n:.1%} of {counts.n}"


def model_card(
    run: Run, judge: str | None = None, name: str | None = None, anyway: bool = False
) -> Card:
    """Describe a run for a model card.

    Args:
        run: The run.
        judge: Name of the judge whose verdicts count; None takes the first.
        name: What to call the model; None takes the name in the results.
        anyway: Describe it whatever stands against it.

    Raises:
        GVSError: When the run has no such judge or no score at all, or something stands against
            publishing it and `anyway` is not given; the message names all of it.
    """
    chosen = chosen_judge(run, judge)
    findings = concerning(examine(run), chosen, _TRACKS)
    against = faults(findings) + limits(findings)
    overall = estimate(run, chosen, _SAFETY, cuts()[0])
    if overall is None:
        raise GVSError(
            f"{run.folder} has no answers to the harmful prompts judged by '{chosen}', so there is "
            "no safety score. Run: --tasks gvs."
        )
    if math.isnan(overall.value):
        against.append(
            "A task has no verdict at all, so there is no overall score. Judge it again."
        )
    if against and not anyway:
        listed = "\n".join(f"- {each}" for each in against)
        raise GVSError(
            f"This run is not fit for a model card:\n{listed}\n"
            "Put it right, or add --anyway for a card that says so."
        )
    called = redacted("", name or run.model)  # an API's address may hold a password
    return Card(run, chosen, called, tuple(redacted("", each) for each in against))
