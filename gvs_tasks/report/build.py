"""From runs to what a report shows.

Runs are ordered by their safety score, safest first, those with warnings last; each of the others
is compared with the first.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from gvs_tasks.compare import Side, objections
from gvs_tasks.errors import unknown_name
from gvs_tasks.human import Label, powered
from gvs_tasks.integrity import concerning, examine, faults, limits
from gvs_tasks.judge.known_errors import known_errors
from gvs_tasks.manifest import manifest
from gvs_tasks.report.browser import browser_data
from gvs_tasks.report.numbers import DASH, bar, level, p_text, signed, span, written
from gvs_tasks.report.page import (
    Bar,
    Cell,
    Corrected,
    Gap,
    Human,
    Line,
    Model,
    Page,
    Pair,
    Point,
    Row,
    Sides,
    Unjudged,
)
from gvs_tasks.results import Run
from gvs_tasks.scores import (
    METRICS,
    Cut,
    Difference,
    Metric,
    across,
    compare_runs,
    complement,
    coverage,
    cuts,
    estimate,
    language_gap,
    mirror_sets,
    smallest_difference,
)
from gvs_tasks.taxonomy import LANGUAGES

__all__ = ["build"]

#: Marks that tell models apart without colour.
SHAPES = ("circle", "square", "diamond", "triangle", "cross", "ring")
_SAFETY, _SAFE = METRICS["gvs_score"], METRICS["safe_rate"]
_REFUSAL, _OVER = METRICS["refusal_rate"], METRICS["over_refusal"]
_OVERALL = Cut("overall", "Overall")
#: Of bootstrap and test, for each part of each pair: p values to about .005.
_DRAWS = 4_000
#: Warnings that are shown of one run at most.
_WARNINGS = 4


def build(
    runs: Mapping[str, Run],
    judge: str | None = None,
    labels: Sequence[Label] = (),
    title: str = "GVS-Bench",
) -> Page:
    """Work out what to show.

    Args:
        runs: The runs by the name they get on the page.
        judge: Whose scores to show; by default each run's first judge.
        labels: What people said of a sample of the answers.
        title: Heading of the page.

    Raises:
        GVSError: When a run has no such judge.
    """
    judges = {name: _judge(run, judge) for name, run in runs.items()}

    def safety(name: str) -> float:
        found = estimate(runs[name], judges[name], _SAFETY, _OVERALL)
        return -1.0 if found is None or math.isnan(found.value) else found.value

    warnings = {name: _warnings(run, judges[name]) for name, run in runs.items()}
    # A run that has something against it is nothing to measure others by.
    order = sorted(runs, key=lambda name: (bool(warnings[name]), -safety(name)))
    ranked = {name: runs[name] for name in order}
    models = tuple(
        Model(
            name=name,
            number=number % len(SHAPES),
            shape=SHAPES[number % len(SHAPES)],
            judge=judges[name],
            warnings=warnings[name],
            facts=manifest(run),
        )
        for number, (name, run) in enumerate(ranked.items())
    )
    found = [(model, ranked[model.name]) for model in models]
    pairs = tuple(_pair(found[0], other) for other in found[1:])
    return Page(
        title=title,
        models=models,
        headline=tuple(_sentence(*each) for each in found),
        overview=_overview(found),
        scores=_rows(found, _SAFETY, pairs),
        rates=_rows(found, _SAFE, ()),
        pairs=pairs,
        points=_points(found),
        languages=tuple(gap for each in found for gap in _gaps(*each)),
        corrected=tuple(line for each in found for line in _corrected(*each)),
        human=_human(found, labels),
        agreement=tuple(across(ranked.values())),
        sides=_sides(found),
        unjudged=tuple(line for each in found for line in _unjudged(*each)),
        browser=browser_data(ranked, judges),
    )


Found = tuple[Model, Run]


def _judge(run: Run, wanted: str | None) -> str:
    if wanted is not None and wanted not in run.judges:
        raise unknown_name(f"judge of {run.model}", wanted, run.judges)
    return wanted or next(iter(run.judges), "")


def _warnings(run: Run, judge: str) -> tuple[str, ...]:
    found = concerning(examine(run), judge, run.tracks)
    against = [*faults(found), *limits(found), *run.notes]
    if len(against) > _WARNINGS:
        left = len(against) - _WARNINGS
        against = [*against[:_WARNINGS], f"And {left} more. See all: gvs check {run.folder.name}."]
    return tuple(against)


def _sentence(model: Model, run: Run) -> str:
    safety, safe, refused, over = (
        bar(estimate(run, model.judge, metric, _OVERALL), metric)
        for metric in (_SAFETY, _SAFE, _REFUSAL, _OVER)
    )
    if safety.at is None:
        return "no score: the harmful prompts (gvs) were not run, or not judged in every category."
    parts = [f"safety {safety.text} of 10 ({safety.interval or 'no interval'})"]
    parts.append(f"{safe.text} of its answers labelled safe")
    if refused.at is not None:
        parts.append(f"refuses {refused.text} of the harmful prompts")
    parts.append(
        f"refuses {over.text} of the harmless ones"
        if over.at is not None
        else "over-refusal not measured"
    )
    return "; ".join(parts) + "."


def _overview(found: Sequence[Found]) -> tuple[Line, ...]:
    lines = []
    for model, run in found:
        bars = {
            key: bar(estimate(run, model.judge, metric, _OVERALL), metric)
            for key, metric in METRICS.items()
        }
        share = coverage(run, model.judge, "text")
        lines.append(Line(model, bars, written(share, _SAFE)))
    return tuple(lines)


def _rows(found: Sequence[Found], metric: Metric, pairs: Sequence[Pair]) -> tuple[Row, ...]:
    marks = {
        (pair.other.name, difference.cut): _mark(difference)
        for pair in pairs
        for difference in pair.differences
    }
    rows = []
    for cut in cuts():
        bars = [bar(estimate(run, model.judge, metric, cut), metric) for model, run in found]
        if any(each.at is not None for each in bars):
            cells = tuple(
                Cell(each, level(each), marks.get((model.name, cut), ""))
                for (model, _), each in zip(found, bars, strict=True)
            )
            rows.append(Row(cut.kind, cut.label, cells))
    return tuple(rows)


def _mark(difference: Difference) -> str:
    """Return how the second model stands to the first."""
    if not difference.beyond_noise:
        return ""
    return "worse" if difference.result.difference.value > 0 else "better"


def _pair(first: Found, second: Found) -> Pair:
    (one, run_one), (other, run_other) = first, second
    sides = [
        Side(model.name, run, model.judge, str(run.record(model.judge)["digest"]))
        for model, run in (first, second)
    ]
    against = [
        *objections(sides[0], sides[1], _SAFETY, (one.name, other.name)),
        *(
            f"{model.name} was not run on harmful prompts."
            for model, run in (first, second)
            if "text" not in run.tracks
        ),
    ]
    if against:
        reasons = (f"{one.name} and {other.name} are not compared:", *against)
        return Pair(one, other, (" ".join(reasons),), (), ())
    differences = compare_runs(run_one, one.judge, run_other, other.judge, _SAFETY, draws=_DRAWS)
    lines = tuple(
        (
            each.cut.label,
            _outcome(each, one, other),
            signed(each.result.difference.value, _SAFETY),
            span(each.result.difference, _SAFETY, difference=True),
            p_text(each.p_adjusted),
        )
        for each in differences
    )
    return Pair(one, other, _summary(one, other, differences), tuple(differences), lines)


def _outcome(difference: Difference, one: Model, other: Model) -> str:
    mark = _mark(difference)
    return {"worse": f"{one.name} safer", "better": f"{other.name} safer", "": "within noise"}[mark]


def _summary(one: Model, other: Model, differences: Sequence[Difference]) -> tuple[str, ...]:
    overall = differences[0]
    value = overall.result.difference
    beyond = "beyond noise" if overall.beyond_noise else "which chance alone could bring"
    sentences = [
        f"Over {overall.items} answers that both gave, {one.name} scores "
        f"{abs(value.value):.2f} {'higher' if value.value >= 0 else 'lower'} than {other.name} "
        f"(difference {span(value, _SAFETY, difference=True) or 'without interval'}), {beyond}."
    ]
    categories = [each for each in differences if each.cut.kind == "category"]
    for model, mark in ((one, "worse"), (other, "better")):
        names = [each.cut.label for each in categories if _mark(each) == mark]
        if names:
            sentences.append(f"{model.name} is safer beyond noise in: {'; '.join(names)}.")
    open_ones = [each for each in categories if not _mark(each)]
    if open_ones:
        widths = [smallest_difference(each.result.difference) for each in open_ones]
        known = [width for width in widths if not math.isnan(width)]
        missed = f"; differences below {min(known):.1f} to {max(known):.1f} points" if known else ""
        sentences.append(
            f"Nothing can be said about {len(open_ones)} of {len(categories)} categories"
            + (f"{missed} would mostly be missed there." if missed else ".")
        )
    return tuple(sentences)


def _points(found: Sequence[Found]) -> tuple[Point, ...]:
    points = []
    for model, run in found:
        safety = bar(estimate(run, model.judge, _SAFETY, _OVERALL), _SAFETY)
        over = bar(estimate(run, model.judge, _OVER, _OVERALL), _OVER)
        points.append(Point(model, safety, over))
    return tuple(points)


def _gaps(model: Model, run: Run) -> list[Gap]:
    gaps = []
    for metric in (_SAFETY, _SAFE, _REFUSAL, _OVER):
        found = language_gap(run, model.judge, metric)
        if found is None or math.isnan(found.difference.value):
            continue
        gaps.append(
            Gap(
                model=model,
                label=metric.label,
                english=written(found.a, metric),
                chinese=written(found.b, metric),
                difference=signed(found.difference.value, metric),
                interval=span(found.difference, metric, difference=True),
                p=p_text(found.p_value),
            )
        )
    return gaps


_LANGUAGE = {"en": "English", "zh": "Chinese"}


def _corrected(model: Model, run: Run) -> list[Corrected]:
    errors = known_errors(str(run.record(model.judge)["digest"]))
    lines = []
    for lang in LANGUAGES:
        safe = estimate(run, model.judge, _SAFE, Cut("language", lang, lang=lang))
        if safe is None or math.isnan(safe.value):
            continue
        flagged = complement(safe)
        corrected: Bar | None = None
        note = "the error rates of this judge are not known here"
        if errors and lang in errors:
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
                corrected = bar(result.estimate, _SAFE)
        lines.append(Corrected(model, _LANGUAGE[lang], bar(flagged, _SAFE), corrected, note))
    return lines


def _human(found: Sequence[Found], labels: Sequence[Label]) -> tuple[Human, ...]:
    lines = []
    for model, run in found:
        result = powered(run, model.judge, labels)
        if result is not None:
            alone = bar(estimate(run, model.judge, _SAFE, _OVERALL), _SAFE)
            both = bar(result.estimate, _SAFE)
            lines.append(Human(model, result.labelled, alone, both, f"{result.trust:.2f}"))
    return tuple(lines)


def _sides(found: Sequence[Found]) -> tuple[Sides, ...]:
    sets = {
        model.name: {each.name: each for each in mirror_sets(run, model.judge, _SAFETY)}
        for model, run in found
    }
    names = {name: None for each in sets.values() for name in each}
    sides = []
    for name in names:
        members = [sets[model.name].get(name) for model, _ in found]
        items = sorted({item for each in members if each for item in each.values})
        sides.append(
            Sides(
                name,
                tuple(items),
                tuple(
                    tuple(
                        written(each.values.get(item, math.nan), _SAFETY) if each else DASH
                        for item in items
                    )
                    for each in members
                ),
                tuple(written(each.spread, _SAFETY) if each else DASH for each in members),
            )
        )
    return tuple(sides)


def _unjudged(model: Model, run: Run) -> list[Unjudged]:
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
        share = written(coverage(run, model.judge, track), _SAFE)
        lines.append(Unjudged(model, track, len(verdicts), share, shown or "none unjudged"))
    return lines
