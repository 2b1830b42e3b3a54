"""Checks of what a run rests on: one judge, one dataset, one way of asking, nothing left out."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gvs_tasks.dataset import HUB_ID, UPSTREAM_CONFIGS, digest, load
from gvs_tasks.integrity.answers import by_judge, named
from gvs_tasks.integrity.finding import Findings, fault, limit, listed, note
from gvs_tasks.redaction import redacted
from gvs_tasks.results import CHOICE, TRACKS, Answer, Doc, Leaf, Run
from gvs_tasks.taxonomy import LANGUAGES, load_taxonomy

__all__ = ["CHECKS", "settings"]


def _one_judge(run: Run) -> Findings:
    """Every verdict is of the judge that the run recorded, and that is one over all leaves."""
    digests: dict[str, set[str]] = {}
    for leaf, judge, answers in by_judge(run):
        if judge == CHOICE:
            continue
        recorded = {each.name: each.digest for each in leaf.record.judges}
        if judge not in recorded:
            yield fault(
                f"{leaf.name}: has answers{named(judge)}, which the results do not record "
                f"({listed(recorded) or 'none'}). Copy results and samples of one run.",
                judge,
                leaf.track,
            )
            continue
        digests.setdefault(judge, set()).add(recorded[judge])
        other = Counter(
            answer.verdict.judge
            for answer in answers
            if answer.verdict
            and answer.verdict.judge != recorded[judge]
            # An answer that no judge saw needs no digest.
            and not (answer.verdict.unjudged and not answer.verdict.judge)
        )
        if other:
            yield fault(
                f"{leaf.name}: {other.total()} verdicts{named(judge)} are of digest "
                f"{listed(other)}, but the run recorded {recorded[judge]}. Judge it again: "
                "gvs rejudge.",
                judge,
                leaf.track,
            )
    for judge, found in digests.items():
        if len(found) > 1:
            yield limit(
                f"Judge '{judge}' is not one and the same over the tasks (digests "
                f"{listed(sorted(found))}). Judge them all with one: gvs rejudge.",
                judge,
            )
    for track in run.tracks:
        judged = [leaf for leaf in run.in_track(track) if CHOICE not in leaf.answers]
        for judge in run.judges:
            lacking = sorted(leaf.name for leaf in judged if judge not in leaf.answers)
            if lacking:
                yield limit(
                    f"Judge '{judge}' has judged {len(judged) - len(lacking)} of {len(judged)} "
                    f"tasks of track '{track}', and not {listed(lacking)}. Judge them all with "
                    "one: gvs rejudge.",
                    judge,
                    track,
                )


@cache
def _bundled(config: str) -> tuple[str, Mapping[str, tuple[Doc, ...]]]:
    """Return the digest of a bundled config and its items by category."""
    rows = load(config)
    found: dict[str, list[Doc]] = {}
    for row in rows:
        found.setdefault(row["category"], []).append(Doc.model_validate(row))
    return digest(rows), {category: tuple(docs) for category, docs in found.items()}


def _dataset(run: Run) -> Findings:
    """All leaves of a config come from one dataset, and its items are as they were published."""
    digests: dict[tuple[str, str], set[str]] = {}
    for leaf in run.leaves.values():
        recorded = leaf.record.dataset
        digests.setdefault((recorded.config, leaf.track), set()).add(recorded.digest or "unknown")
    for (config, track), found in sorted(digests.items()):
        if len(found) > 1:
            yield limit(
                f"{config}: the tasks rest on {len(found)} datasets (digests "
                f"{listed(sorted(found))}). Run them all on one.",
                track=track,
            )
        if "unknown" in found:
            yield limit(
                f"{config}: which dataset the prompts are of is not known. Judge the answers again "
                "with the results file beside the samples.",
                track=track,
            )
        elif config in UPSTREAM_CONFIGS:
            yield note(
                f"{config}: not part of this package, so its prompts were not checked.",
                track=track,
            )
        elif config in _OURS and not found & {_bundled(config)[0]}:
            sources = {
                leaf.record.dataset.source
                for leaf in run.leaves.values()
                if leaf.record.dataset.config == config
            }
            # Another version of this package, or of the published dataset, has prompts of its own.
            say = note if sources <= {"bundled", HUB_ID} else limit
            yield say(
                f"{config}: its dataset (digest {listed(sorted(found))}) is not the one of this "
                f"version (digest {_bundled(config)[0]}), so its prompts were not checked.",
                track=track,
            )
    for leaf in run.leaves.values():
        recorded = leaf.record.dataset
        if recorded.config not in _OURS or recorded.digest != _bundled(recorded.config)[0]:
            continue
        docs = _bundled(recorded.config)[1].get(leaf.category, ())
        answers = next(iter(leaf.answers.values()))
        altered = [a.doc.id for a in answers if not _is_bundled(a, docs)]
        if altered:
            yield fault(
                f"{leaf.name}: {len(altered)} items are not those of dataset {recorded.digest}, on "
                f"which the run says it rests ({listed(altered)}). {leaf.samples.name} was "
                "changed: copy it again.",
                track=leaf.track,
            )


_OURS = tuple(f"{kind}_{lang}" for kind in ("text", "benign") for lang in LANGUAGES)


def _is_bundled(answer: Answer, docs: tuple[Doc, ...]) -> bool:
    return 0 <= answer.doc_id < len(docs) and answer.doc == docs[answer.doc_id]


def _languages(run: Run) -> Findings:
    """Both languages were asked the same items."""
    for track in run.tracks:
        asked: dict[str, dict[str, set[str]]] = {}
        for leaf in run.in_track(track):
            answers = next(iter(leaf.answers.values()))
            by_language = asked.setdefault(leaf.category, {})
            by_language[leaf.lang] = {answer.doc.id for answer in answers}
        uneven = [
            category
            for category, by_language in asked.items()
            if len(by_language) > 1 and len(set(map(frozenset, by_language.values()))) > 1
        ]
        if uneven:
            yield limit(
                f"Track '{track}': the languages were not asked the same items in {listed(uneven)}"
                ". Run both with the same --limit.",
                track=track,
            )


def _files(leaves: Iterable[Leaf], run: Run) -> list[Mapping[str, Any]]:
    """Return the results files that leaves rest on."""
    wanted: set[Path] = {leaf.results for leaf in leaves}
    return [known for path, known in run.files.items() if path in wanted]


def settings(run: Run, *tracks: str) -> dict[str, tuple[str, ...]]:
    """Return how the model was asked: for each setting its values, more than one where they mix.

    Args:
        run: The run.
        tracks: Only of these tracks; all when there are none.

    Returns:
        "chat template" ("yes", "no"), "its text" and "system instruction" (hashes), "examples in
        the prompt", and "generation" as it took effect, without secrets.
    """
    found: dict[str, set[str]] = {}

    def keep(name: str, value: object) -> None:
        found.setdefault(name, set()).add(
            value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        )

    for leaf in (leaf for track in tracks or run.tracks for leaf in run.in_track(track)):
        known = run.files[leaf.results]
        config = known["configs"][leaf.name]
        instruction = "given, its hash not known" if known.get("system_instruction") else "none"
        keep("chat template", "yes" if known.get("chat_template") else "no")
        keep("its text", known.get("chat_template_sha") or "none")
        keep("system instruction", known.get("system_instruction_sha") or instruction)
        keep("examples in the prompt", str(config.get("num_fewshot") or 0))
        if leaf.track != "choice":
            keep("generation", redacted("", config.get("generation_kwargs")) or "unknown")
    return {name: tuple(sorted(values)) for name, values in found.items()}


def _settings(run: Run) -> Findings:
    """The model was asked in one way, and was one model, wherever scores stand side by side."""
    for tracks, concerned in _SIDE_BY_SIDE.items():
        for name, values in settings(run, *tracks).items():
            if len(values) > 1:
                yield limit(
                    f"The tasks were run with {len(values)} kinds of '{name}'. Run them all with "
                    "one.",
                    track=concerned,
                )
        leaves = [leaf for track in tracks for leaf in run.in_track(track)]
        for name in ("model_args", "model_sha"):
            given = {
                json.dumps((known.get("config") or {}).get(name), sort_keys=True, default=str)
                for known in _files(leaves, run)
            }
            if len(given) > 1:
                # Their values may be secret.
                yield limit(
                    f"The results files differ in '{name}': they may be of different models. Keep "
                    "each model in a folder of its own.",
                    track=concerned,
                )


#: Tracks that are read together, and the track that a finding is about, if it is only one.
_SIDE_BY_SIDE = {("text", "benign"): "", ("choice",): "choice", ("upstream",): "upstream"}


def _versions(run: Run) -> Findings:
    """Versions are recorded, and are the same in all files."""
    leaves = run.leaves.values()
    found = {
        "of the tasks": {leaf.version for leaf in leaves},
        "of gvs-bench": {leaf.record.gvs_tasks for leaf in leaves},
        "of lm_eval": {str(known.get("lm_eval_version") or "") for known in _files(leaves, run)},
    }
    for what, versions in found.items():
        if "" in versions:
            yield limit(f"The version {what} is not recorded everywhere. Run it again.")
        elif len(versions) > 1:
            yield limit(
                f"The files name {len(versions)} versions {what}: {listed(sorted(versions))}. "
                "Run all tasks with one."
            )


def _complete(run: Run) -> Findings:
    """All items of all leaves of a track were asked."""
    slugs = [category.slug for category in load_taxonomy().categories]
    words = {track: word for word, track in TRACKS.items()}
    for track in run.tracks:
        ran = run.in_track(track)
        prefix = "_".join(filter(None, ("gvs", words[track])))
        expected = [f"{prefix}_{lang}_{slug}" for lang in LANGUAGES for slug in slugs]
        missing = sorted(set(expected) - {leaf.name for leaf in ran})
        if missing:
            yield limit(
                f"Track '{track}': {len(ran)} of {len(expected)} tasks were run, and not "
                f"{listed(missing)}. Run: --tasks {prefix}.",
                track=track,
            )
        cut = [leaf for leaf in ran if leaf.effective < leaf.original]
        if cut:
            asked, there = (sum(getattr(leaf, what) for leaf in cut) for what in _COUNTS)
            yield limit(
                f"Track '{track}': only {asked} of the {there} items of {len(cut)} tasks were "
                "asked. Run without --limit and --samples.",
                track=track,
            )
    for each in run.notes:
        yield note(each)


_COUNTS = ("effective", "original")

CHECKS = {
    "judge": _one_judge,
    "dataset": _dataset,
    "languages": _languages,
    "settings": _settings,
    "versions": _versions,
    "complete": _complete,
}
