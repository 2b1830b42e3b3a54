"""From runs to what a report shows.

Runs are ordered by their safety score, safest first, those with warnings last; each of the others
is compared with the first.
"""

import math
from collections.abc import Mapping, Sequence

from gvs_tasks.compare import chosen_judge, shared_judge
from gvs_tasks.human import Label
from gvs_tasks.integrity import concerning, examine, faults, limits, settings
from gvs_tasks.manifest import manifest
from gvs_tasks.report import pairs, sections
from gvs_tasks.report.browser import browser_data
from gvs_tasks.report.numbers import bar, level, share
from gvs_tasks.report.page import Cell, Line, Model, Page, Pair, Row
from gvs_tasks.results import Run
from gvs_tasks.scores import METRICS, OVERALL, Metric, across, coverage, cuts, estimate, selected

__all__ = ["build"]

#: Marks that tell models apart without colour.
SHAPES = ("circle", "square", "diamond", "triangle", "cross", "ring")
_SAFETY, _SAFE = METRICS["gvs_score"], METRICS["safe_rate"]
#: Warnings that are shown of one run at most.
_WARNINGS = 4


def build(runs: Mapping[str, Run], judge: str | None = None, labels: Sequence[Label] = ()) -> Page:
    """Work out what to show.

    Args:
        runs: The runs by the name they get on the page.
        judge: Whose scores to show; by default the first judge that all have, else each run's
            first.
        labels: What people said of a sample of the answers.

    Raises:
        GVSError: When a run has no such judge, or the labels do not fit the runs.
    """
    judges = _judges(runs, judge)
    warnings = {name: _warnings(run, judges[name]) for name, run in runs.items()}

    def rank(name: str) -> tuple[float, ...]:
        found = estimate(runs[name], judges[name], _SAFETY, OVERALL)
        value = math.nan if found is None else found.value
        # A run without a score, with something against it, or with fewer tasks, is nothing to
        # measure others by.
        tasks = len(runs[name].in_track("text"))
        return math.isnan(value), bool(warnings[name]), -tasks, 0 if math.isnan(value) else -value

    ranked = {name: runs[name] for name in sorted(runs, key=rank)}
    models = tuple(
        Model(
            name=name,
            number=number % len(SHAPES),
            shape=SHAPES[(number + number // len(SHAPES)) % len(SHAPES)],
            judge=judges[name],
            warnings=warnings[name],
            facts=_facts(run),
        )
        for number, (name, run) in enumerate(ranked.items())
    )
    found = [(model, ranked[model.name]) for model in models]
    compared = tuple(pairs.compared(found[0], other) for other in found[1:])
    gaps = tuple(gap for each in found for gap in sections.gaps(*each))
    return Page(
        models=models,
        summary=pairs.summary(found, compared, gaps),
        overview=tuple(_line(*each) for each in found),
        scores=_rows(found, _SAFETY, compared),
        rates=_rows(found, _SAFE, ()),
        pairs=compared,
        plane=sections.plane(found),
        languages=gaps,
        thresholds=sections.thresholds(found),
        corrected=tuple(line for each in found for line in sections.corrected(*each)),
        human=sections.human(found, labels),
        agreement=tuple(across(ranked.values())),
        sides=sections.sides(found),
        unjudged=tuple(line for each in found for line in sections.unjudged(*each)),
        browser=browser_data(ranked, judges),
    )


def _judges(runs: Mapping[str, Run], wanted: str | None) -> dict[str, str]:
    """Choose each run's judge: the one that is wanted, else one that all have, else its first."""
    judged = [run for run in runs.values() if run.judges]  # multiple choice has none
    if wanted is None and judged:
        wanted = shared_judge(judged)
    return {name: chosen_judge(run, wanted) if run.judges else "" for name, run in runs.items()}


def _warnings(run: Run, judge: str) -> tuple[str, ...]:
    found = concerning(examine(run), judge, run.tracks)
    against = [*faults(found), *limits(found), *run.notes]
    if len(against) > _WARNINGS:
        left = len(against) - _WARNINGS
        against = [*against[:_WARNINGS], f"And {left} more: gvs check names them."]
    return tuple(against)


def _facts(run: Run) -> dict[str, Sequence[str]]:
    facts: dict[str, Sequence[str]] = dict(manifest(run))
    generation = settings(run).get("generation")
    return facts | ({"generation": generation} if generation else {})


def _line(model: Model, run: Run) -> Line:
    bars = {
        key: bar(estimate(run, model.judge, metric, OVERALL), metric)
        for key, metric in METRICS.items()
    }
    return Line(model, bars, share(coverage(run, model.judge, "text")))


def _rows(
    found: Sequence[tuple[Model, Run]], metric: Metric, compared: Sequence[Pair]
) -> tuple[Row, ...]:
    marks = {
        (pair.other.name, difference.cut): pairs.mark(difference)
        for pair in compared
        for difference in pair.differences
    }
    rows = []
    for cut in cuts():
        parts = [selected(run, model.judge, metric, cut) for model, run in found]
        asked = [set(each.keys) if each else set() for each in parts]
        estimates = [estimate(run, model.judge, metric, cut) for model, run in found]
        bars = [bar(each, metric) for each in estimates]
        if all(each.at is None for each in bars):
            continue
        cells = tuple(
            # A mark belongs to scores on the same prompts.
            Cell(each, level(each), marks.get((model.name, cut), "") if keys == asked[0] else "")
            for (model, _), each, keys in zip(found, bars, asked, strict=True)
        )
        counts = [str(each.n) if each else "0" for each in estimates]
        rows.append(Row(cut, " / ".join(counts if len(set(counts)) > 1 else counts[:1]), cells))
    return tuple(rows)
