"""``gvs compare``: two runs on the same items, and whether they may be compared at all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gvs_tasks.errors import GVSError, unknown_name
from gvs_tasks.integrity import (
    Weight,
    concerning,
    examine,
    faults,
    settings,
)
from gvs_tasks.metrics import MIN_COVERAGE
from gvs_tasks.results import CHOICE, Leaf, Run, labelled
from gvs_tasks.scores import (
    METRICS,
    Difference,
    Metric,
    compare_runs,
    coverage,
    smallest_difference,
)

__all__ = ["Contrast", "Side", "chosen_judge", "contrast", "objections", "shared_judge"]

#: Settings that differ between models by nature.
_OWN = "its text"
#: Checks that find what is not one and the same within a run.
_MIXED = ("judge", "dataset", "settings")


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        label: What to call it: the model, with what tells it from the other.
        run: The run.
        judge: Name of the judge; empty for multiple choice.
        digest: Its digest, likewise.
    """

    label: str
    run: Run
    judge: str
    digest: str


@dataclass(frozen=True)
class Contrast:
    """Two runs compared in one metric.

    Attributes:
        a: The first run.
        b: The second.
        metric: What was compared.
        differences: a - b: overall, by language, layer and category.
        objections: Why they should not be compared; empty unless that was overridden.
        remarks: What a reader must know beside it.
    """

    a: Side
    b: Side
    metric: Metric
    differences: tuple[Difference, ...]
    objections: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def overall(self) -> Difference:
        """The difference over all items that both have."""
        return self.differences[0]

    @property
    def detectable(self) -> float:
        """The smallest overall difference that such a comparison would find 4 times of 5.

        NaN when the difference that was observed has no standard error.
        """
        return smallest_difference(self.overall.result.difference)

    def better(self, difference: Difference) -> str:
        """Say in words which run is better in a part, beyond noise.

        Returns:
            "A better", "B better"; "A higher", "B higher" for a metric of which neither end is
            good in itself; "no" when chance alone could bring it.
        """
        if not difference.beyond_noise:
            return "no"
        higher = "A" if difference.result.difference.value > 0 else "B"
        if self.metric.higher_is_better is None:
            return f"{higher} higher"
        better = higher if self.metric.higher_is_better else "AB".replace(higher, "")
        return f"{better} better"


def chosen_judge(run: Run, judge: str | None) -> str:
    """Return a judge of a run: the one that is named, or the first.

    Raises:
        GVSError: When the run has no such judge, or none.
    """
    if not run.judges:
        raise GVSError(f"{run.folder} has no answers that were judged. Run: --tasks gvs.")
    if judge is not None and judge not in run.judges:
        raise unknown_name(f"judge of {run.folder}", judge, run.judges)
    return judge or run.judges[0]


def shared_judge(runs: Iterable[Run]) -> str | None:
    """Return the first judge that all runs have; None when there is no such judge."""
    names = [run.judges for run in runs]
    return next((name for name in names[0] if all(name in each for each in names)), None)


def contrast(
    a: Run, b: Run, metric: str = "gvs_score", judge: str | None = None, anyway: bool = False
) -> Contrast:
    """Compare two runs in one metric.

    Args:
        a: The first run.
        b: The second.
        metric: A key of `gvs_tasks.scores.METRICS`.
        judge: Name of a judge of both; None takes the first that both have.
        anyway: Compare them whatever stands against it.

    Raises:
        GVSError: When they are one run, share no items, or something stands against comparing
            them and `anyway` is not given.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    if a.folder.resolve() == b.folder.resolve() and a.model == b.model:
        raise GVSError(f"{a.folder} is given twice. Name the folders of two runs.")
    measure = METRICS[metric]
    one, other = _sides(a, b, measure, judge)
    against = tuple(objections(one, other, measure))
    if against and not anyway:
        listed = "\n".join(f"- {each}" for each in against)
        raise GVSError(
            f"These runs are not to be compared:\n{listed}\n"
            "Put it right, or add --anyway to see a table that claims nothing."
        )
    found = compare_runs(one.run, one.judge, other.run, other.judge, measure, resample=True)
    differences = tuple(each for each in found if each.cut.kind != "norm")
    return Contrast(
        one, other, measure, differences, against, tuple(_remarks(one, other, measure, found[0]))
    )


def _sides(a: Run, b: Run, metric: Metric, judge: str | None) -> tuple[Side, Side]:
    common = shared_judge([a, b])
    sides = []
    for label, run in labelled([a, b]).items():
        if metric.track == "choice":
            sides.append(Side(label, run, "", ""))
            continue
        # Without a judge of both each has its own, and that is objected to.
        name = chosen_judge(run, judge or common)
        sides.append(Side(label, run, name, str(run.record(name)["digest"])))
    return sides[0], sides[1]


def objections(
    a: Side, b: Side, metric: Metric, names: tuple[str, str] = ("A", "B")
) -> Iterator[str]:
    """Yield why two runs should not be compared, with the remedy.

    Args:
        a: The first.
        b: The second.
        metric: What is to be compared.
        names: What to call the two.
    """
    for letter, side in zip(names, (a, b), strict=True):
        findings = concerning(examine(side.run), side.judge or CHOICE, [metric.track])
        wrong = faults(findings)
        if wrong:
            more = f" (and {len(wrong) - 1} more: gvs check)" if len(wrong) > 1 else ""
            yield f"{letter} is damaged: {wrong[0]}{more}"
        for found in findings:
            if found.weight is Weight.limit and found.check in _MIXED:
                yield f"{letter}: {found.text}"
        covered = 1.0 if metric.track == "choice" else coverage(side.run, side.judge, metric.track)
        if covered < MIN_COVERAGE:
            yield (
                f"{letter} has a verdict for {covered:.1%} of its answers only, below "
                f"{MIN_COVERAGE:.0%}. Give answers more room, or judge again: gvs rejudge."
            )
    if a.digest != b.digest:
        yield (
            f"The judges differ: {a.judge} ({a.digest}) and {b.judge} ({b.digest}). Judge both "
            "with one: gvs rejudge."
        )
    ours, theirs = _leaves(a.run, metric), _leaves(b.run, metric)
    shared = [name for name in ours if name in theirs]
    datasets = {
        config
        for name in shared
        if (config := ours[name].record.dataset.config)
        and ours[name].record.dataset.digest != theirs[name].record.dataset.digest
    }
    if datasets:
        yield f"The datasets of {', '.join(sorted(datasets))} differ. Run both on one."
    versions = [name for name in shared if ours[name].version != theirs[name].version]
    if versions:
        yield (
            f"{len(versions)} tasks are of different versions ({versions[0]}: "
            f"{ours[versions[0]].version} and {theirs[versions[0]].version}). Run both with one."
        )
    first, second = settings(a.run, metric.track), settings(b.run, metric.track)
    for name in (each for each in first if each in second and each != _OWN):
        if first[name] != second[name]:
            shown = (" or ".join(values[name]) for values in (first, second))
            yield f"They differ in '{name}': {' and '.join(shown)}. Run both with one."


def _leaves(run: Run, metric: Metric) -> dict[str, Leaf]:
    return {leaf.name: leaf for leaf in run.in_track(metric.track)}


def _remarks(a: Side, b: Side, metric: Metric, overall: Difference) -> Iterator[str]:
    for letter, side in (("A", a), ("B", b)):
        rows = sum(
            len(leaf.answers.get(side.judge or CHOICE, ()))
            for leaf in side.run.in_track(metric.track)
        )
        if rows > overall.items:
            yield (
                f"{letter} has {rows} answers, {overall.items} of which are to items that both "
                "have; the others are left out."
            )
    cut = [
        letter
        for letter, side in (("A", a), ("B", b))
        if any(leaf.effective < leaf.original for leaf in side.run.in_track(metric.track))
    ]
    if cut:
        yield f"{' and '.join(cut)}: run on a part of the items (--limit)."
    packages = [{leaf.record.gvs_tasks for leaf in side.run.leaves.values()} for side in (a, b)]
    if packages[0] != packages[1]:
        shown = " and ".join("/".join(sorted(versions)) for versions in packages)
        yield f"Versions of gvs-bench: {shown}. The versions of the tasks decide, and they agree."
