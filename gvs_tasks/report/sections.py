"""The sections of a report beside the scores: trade-off, languages, judge, evenness, coverage."""

import math
from collections import Counter
from collections.abc import Sequence

from gvs_tasks.errors import GVSError
from gvs_tasks.evenness import mirror_sets
from gvs_tasks.human import Label, powered
from gvs_tasks.judge.known_errors import known_errors
from gvs_tasks.report.numbers import DASH, bar, p_text, share, signed, span, written
from gvs_tasks.report.page import (
    Bar,
    Corrected,
    Gap,
    Human,
    Model,
    Plane,
    Point,
    Sides,
    Tick,
    Unjudged,
)
from gvs_tasks.results import Run
from gvs_tasks.scores import (
    ALPHA,
    LANGUAGE_NAMES,
    METRICS,
    OVERALL,
    Cut,
    complement,
    coverage,
    estimate,
    language_gap,
    why_unmeasured,
)
from gvs_tasks.taxonomy import LANGUAGES

__all__ = ["corrected", "gaps", "human", "plane", "sides", "thresholds", "unjudged"]

_SAFETY, _SAFE = METRICS["gvs_score"], METRICS["safe_rate"]
_REFUSAL, _OVER = METRICS["refusal_rate"], METRICS["over_refusal"]
#: What the tracks are called on the page.
_TRACKS = {"text": "harmful prompts", "benign": "harmless prompts", "upstream": "published prompts"}

Found = tuple[Model, Run]


def plane(found: Sequence[Found]) -> Plane:
    """Put the models into the plane of over-refusal and safety, cut to where they are."""
    bars = [
        (
            model,
            bar(estimate(run, model.judge, _OVER, OVERALL), _OVER),
            bar(estimate(run, model.judge, _SAFETY, OVERALL), _SAFETY),
        )
        for model, run in found
    ]
    measured = [each for each in bars if each[1].at is not None and each[2].at is not None]
    right = _tens([each for _, over, _ in measured for each in (over.at, over.high)], 10, 0)
    right = 100 if right > 50 else right  # so that even ticks end where the axis does
    bottom = _tens([each for *_, safety in measured for each in (safety.at, safety.low)], 0, 80)

    def moved(each: Bar, start: float, end: float) -> Bar:
        def place(value: float | None) -> float | None:
            return None if value is None else round(100 * (value - start) / (end - start), 2)

        return Bar(each.text, each.interval, place(each.at), place(each.low), place(each.high))

    across = range(0, right + 1, 10 if right <= 50 else 25)
    up = range(bottom, 101, 10 if bottom >= 50 else 25)
    return Plane(
        points=tuple(
            Point(model, moved(safety, bottom, 100), moved(over, 0, right))
            for model, over, safety in measured
        ),
        across=tuple(Tick(round(100 * each / right, 2), f"{each}%") for each in across),
        up=tuple(
            Tick(round(100 * (each - bottom) / (100 - bottom), 2), f"{each / 10:g}") for each in up
        ),
        unmeasured=tuple(
            (model, why_unmeasured(run, model.judge))
            for (model, over, _), (_, run) in zip(bars, found, strict=True)
            if over.at is None
        ),
    )


def _tens(values: Sequence[float | None], least: int, most: int) -> int:
    """Return a round limit that holds all values: the upper one from `least`, or the lower."""
    known = [value for value in values if value is not None]
    if not known:
        return 100 if least else 0
    if least:
        return max(least, min(100, 10 * math.ceil(max(known) / 10)))
    return min(most, 10 * math.floor(min(known) / 10))


def gaps(model: Model, run: Run) -> list[Gap]:
    """Compare the two languages of a run, in each number."""
    lines = []
    for metric in (_SAFETY, _SAFE, _REFUSAL, _OVER):
        found = language_gap(run, model.judge, metric)
        if found is None or math.isnan(found.difference.value):
            continue
        lines.append(
            Gap(
                model=model,
                label=metric.label,
                english=written(found.a, metric),
                chinese=written(found.b, metric),
                difference=signed(found.difference.value, metric),
                interval=span(found.difference, metric, difference=True),
                p=p_text(found.p_value),
                of_safety=metric is _SAFETY and found.p_value < ALPHA,
            )
        )
    return lines


def thresholds(found: Sequence[Found]) -> tuple[str, ...]:
    """Say from which P(unsafe) each judge labels an answer unsafe."""
    sentences = []
    for model, run in found:
        recorded = run.record(model.judge).get("threshold")
        if isinstance(recorded, dict):
            parts = [
                f"{value} in {LANGUAGE_NAMES[lang]}" if lang in LANGUAGE_NAMES else f"{value}"
                for lang, value in recorded.items()
                if lang in LANGUAGES or len(recorded) == 1
            ]
            sentences.append(
                f"{model.judge} labels an answer unsafe from a P(unsafe) of {', '.join(parts)}."
            )
    return tuple(dict.fromkeys(sentences))


def corrected(model: Model, run: Run) -> list[Corrected]:
    """Return the rates of unsafe answers, raw and corrected for what is known of the judge."""
    errors = known_errors(str(run.record(model.judge)["digest"])) or {}
    lines = []
    for lang in LANGUAGES:
        safe = estimate(run, model.judge, _SAFE, Cut("language", lang, lang=lang))
        if safe is None or math.isnan(safe.value):
            continue
        flagged = complement(safe)
        better: Bar | None = None
        note = "its error rates are not known here; label a sample yourself (--labels)"
        if lang in errors:
            known = errors[lang]
            false_alarms = known.specificity.n - known.specificity.correct
            result = known.correct(flagged)
            note = (
                f"flags {known.sensitivity.correct} of {known.sensitivity.n} unsafe and "
                f"{false_alarms} of {known.specificity.n} safe exemplars"
            )
            if result.reason:
                note += f"; not corrected, since {result.reason}"
            else:
                better = bar(result.estimate, _SAFE)
        lines.append(Corrected(model, LANGUAGE_NAMES[lang], bar(flagged, _SAFE), better, note))
    return lines


def human(found: Sequence[Found], labels: Sequence[Label]) -> tuple[Human, ...]:
    """Return the share of safe answers that people would find, where some were asked.

    Raises:
        GVSError: When there are too few labels, or they are of other items.
    """
    models = [run.model for _, run in found]
    for label in labels:
        if len(found) > 1 and models.count(label.model or "") != 1:
            raise GVSError(
                f"The label of {label.id} names {label.model or 'no model'}, which does not tell "
                f"which of the {len(found)} runs it is about. Report one run, or name its model."
            )
    lines = []
    for model, run in found:
        result = powered(run, model.judge, labels)
        if result is not None:
            alone = bar(estimate(run, model.judge, _SAFE, OVERALL), _SAFE)
            both = bar(result.estimate, _SAFE)
            trust = DASH if math.isnan(result.trust) else f"{result.trust:.2f}"
            lines.append(Human(model, result.labelled, alone, both, trust))
    return tuple(lines)


def sides(found: Sequence[Found]) -> tuple[Sides, ...]:
    """Return the mirror sets, the widest spread of any model first."""
    sets = {
        model.name: {each.name: each for each in mirror_sets(run, model.judge, _SAFETY)}
        for model, run in found
    }
    names = {
        name: max(each[name].spread for each in sets.values() if name in each)
        for each in sets.values()
        for name in each
    }
    lines = []
    for name in sorted(names, key=lambda name: (-names[name], name)):
        members = [sets[model.name].get(name) for model, _ in found]
        items = sorted({item for each in members if each for item in each.values})
        values = tuple(
            tuple(
                written(each.values.get(item, math.nan), _SAFETY) if each else DASH
                for item in items
            )
            for each in members
        )
        spreads = tuple(written(each.spread, _SAFETY) if each else "" for each in members)
        lines.append(Sides(name, tuple(items), values, spreads))
    return tuple(lines)


def unjudged(model: Model, run: Run) -> list[Unjudged]:
    """Return how many answers have a verdict, and why the others have none."""
    lines = []
    for track in run.tracks:
        verdicts = [
            answer.verdict
            for leaf in run.in_track(track)
            for answer in leaf.answers.get(model.judge, ())
            if answer.verdict is not None
        ]
        if not verdicts:
            continue
        reasons = Counter(verdict.unjudged for verdict in verdicts if verdict.unjudged)
        shown = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
        covered = share(coverage(run, model.judge, track))
        name = _TRACKS.get(track, track)
        lines.append(Unjudged(model, name, len(verdicts), covered, shown or DASH))
    return lines
