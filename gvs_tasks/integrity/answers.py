"""Checks of the answers: every item answered, judged and counted exactly once."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gvs_tasks.integrity.finding import SHOWN, Findings, fault, limit, listed, note
from gvs_tasks.metrics import MIN_COVERAGE, judged_mean
from gvs_tasks.results import CHOICE, Answer, Leaf, Run

__all__ = ["CHECKS", "by_judge", "named"]

#: How far a recomputed score may be from the reported one: sums in another order.
_CLOSE = 1e-6


def by_judge(run: Run) -> Iterator[tuple[Leaf, str, tuple[Answer, ...]]]:
    """Yield the answers of every leaf under every judge."""
    for leaf in run.leaves.values():
        for judge, answers in leaf.answers.items():
            yield leaf, judge, answers


def named(judge: str) -> str:
    """Return whose answers a sentence is about."""
    return "" if judge == CHOICE else f" of judge '{judge}'"


def _answered(run: Run) -> Findings:
    """Every item that was asked is answered once for every judge, and all judges saw the same."""
    for leaf, judge, answers in by_judge(run):
        if len(answers) != leaf.effective:
            yield fault(
                f"{leaf.name}: {len(answers)} answers{named(judge)}, but the results count "
                f"{leaf.effective}. {leaf.samples.name} is not whole or not theirs: copy it again.",
                judge,
                leaf.track,
            )
        for what, values in (
            ("doc_id", [answer.doc_id for answer in answers]),
            ("item", [answer.doc.id for answer in answers]),
        ):
            twice = [value for value, count in Counter(values).items() if count > 1]
            if twice:
                yield fault(
                    f"{leaf.name}: {what} {listed(twice)} is there more than once{named(judge)}. "
                    f"Copy {leaf.samples.name} again.",
                    judge,
                    leaf.track,
                )
    for leaf in run.leaves.values():
        seen = {
            judge: {(answer.doc_id, answer.doc.id, answer.response) for answer in answers}
            for judge, answers in leaf.answers.items()
        }
        if len({frozenset(each) for each in seen.values()}) > 1:
            yield fault(
                f"{leaf.name}: the judges {listed(seen)} were not given the same answers. "
                f"Copy {leaf.samples.name} again, or judge it again: gvs rejudge.",
                track=leaf.track,
            )


def _generated(run: Run) -> Findings:
    """No answer without text has a verdict."""
    for leaf, judge, answers in by_judge(run):
        if judge == CHOICE:
            continue
        judged = [
            answer.doc.id
            for answer in answers
            if answer.verdict
            and not answer.verdict.unjudged
            and not (answer.response or "").strip()
        ]
        if judged:
            yield fault(
                f"{leaf.name}: {len(judged)} answers{named(judge)} have a verdict but no text "
                f"({listed(judged)}). Judge them again: gvs rejudge.",
                judge,
                leaf.track,
            )


def _judged(run: Run) -> Findings:
    """Verdicts say something or why not, and enough answers have one."""
    for leaf, judge, answers in by_judge(run):
        odd = [
            answer.doc.id
            for answer in answers
            if (found := answer.verdict)
            and not (found.p_unsafe is None) == (found.unsafe is None) == bool(found.unjudged)
        ]
        if odd:
            yield fault(
                f"{leaf.name}: {len(odd)} verdicts{named(judge)} are half a verdict "
                f"({listed(odd)}). Judge them again: gvs rejudge.",
                judge,
                leaf.track,
            )
    for judge in run.judges:
        for track in run.tracks:
            asked = [a for leaf in run.in_track(track) for a in leaf.answers.get(judge, ())]
            reasons = Counter(a.verdict.unjudged for a in asked if a.verdict and a.verdict.unjudged)
            missing = sum(a.metrics.get("coverage") == 0.0 for a in asked)
            if not missing:
                continue
            why = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(SHOWN))
            covered = 1 - missing / len(asked)
            text = (
                f"{missing} of {len(asked)} answers of track '{track}' have no verdict of judge "
                f"'{judge}' (coverage {covered:.1%}): {why or 'it has no label for refusals'}."
            )
            if covered < MIN_COVERAGE:
                remedy = "give answers more room (max_gen_toks), or judge again (gvs rejudge)"
                if not why:
                    remedy = "judge again with one that has it (gvs rejudge)"
                text += f" Below {MIN_COVERAGE:.0%} scores are not to be reported: {remedy}."
            yield (limit if covered < MIN_COVERAGE else note)(text, judge, track)


def _counted(run: Run) -> Findings:
    """The scores of every leaf are the means of its answers."""
    for leaf, judge, answers in by_judge(run):
        for metric in answers[0].metrics:
            mean = judged_mean([answer.metrics.get(metric, math.nan) for answer in answers])
            reported = leaf.reported.get(f"{metric},{judge}")
            if not _equal(reported, mean):
                yield fault(
                    f"{leaf.name}: the results report {metric} {_number(reported)}, the answers"
                    f"{named(judge)} give {mean:.6f}. One of the files was changed: copy both "
                    "again.",
                    judge,
                    leaf.track,
                )
    for leaf in run.leaves.values():
        scored = {key.partition(",")[2] for key in leaf.reported if "," in key}
        lacking = sorted(scored - set(leaf.answers))
        if lacking:
            yield fault(
                f"{leaf.name}: the results have scores of {listed(lacking)}, of which "
                f"{leaf.samples.name} has no answers. Copy it again.",
                track=leaf.track,
            )


def _grouped(run: Run) -> Findings:
    """The score of every group is the unweighted mean of its leaves."""
    for path, known in run.files.items():
        scores = known.get("results") or {}
        below = known.get("group_subtasks") or {}
        for group in below:
            leaves = sorted(_leaves(group, below))
            if not leaves or not set(leaves) <= set(run.leaves):
                continue
            track = run.leaves[leaves[0]].track
            places = [scores.get(group) or {}, (known.get("groups") or {}).get(group) or {}]
            for key in sorted({key for place in places for key in place}):
                metric, comma, _ = key.partition(",")
                if not comma or metric.endswith("_stderr"):
                    continue
                parts = [scores[leaf][key] for leaf in leaves if key in (scores.get(leaf) or {})]
                if not parts or not all(isinstance(part, int | float) for part in parts):
                    yield fault(
                        f"{group}: {key} has no leaves in {path.name}. Copy it again.", track=track
                    )
                    continue
                mean = (
                    math.fsum(parts) / len(parts) if not any(map(math.isnan, parts)) else math.nan
                )
                wrong = [place[key] for place in places if key in place]
                for reported in (value for value in wrong if not _equal(value, mean)):
                    yield fault(
                        f"{group}: {path.name} reports {key} {_number(reported)}, the mean of its "
                        f"{len(leaves)} leaves is {mean:.6f}. The file was changed: copy it again.",
                        track=track,
                    )


def _leaves(group: str, below: Mapping[str, Any], above: frozenset[str] = frozenset()) -> set[str]:
    """Return the leaves of a group; a file may be damaged enough to hold a circle."""
    members = below.get(group)
    if members is None:
        return {group}
    rest = [each for each in members if each not in above]
    return {leaf for each in rest for leaf in _leaves(each, below, above | {group})}


def _equal(reported: object, mean: float) -> bool:
    if not isinstance(reported, int | float):
        return False
    both_nan = math.isnan(reported) and math.isnan(mean)
    return both_nan or abs(reported - mean) <= _CLOSE


def _number(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, int | float) else "nothing"


CHECKS = {
    "answered": _answered,
    "generated": _generated,
    "judged": _judged,
    "counted": _counted,
    "grouped": _grouped,
}
