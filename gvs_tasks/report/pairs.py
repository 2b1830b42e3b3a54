"""What a report says of two runs, and of all, in words."""

import math
from collections.abc import Iterator, Sequence

from gvs_tasks.compare import Side, objections
from gvs_tasks.errors import GVSError
from gvs_tasks.judge.known_errors import known_errors
from gvs_tasks.report.numbers import bar, p_text, signed, span, written
from gvs_tasks.report.page import Gap, Model, Outcome, Pair
from gvs_tasks.results import Run
from gvs_tasks.scores import (
    LANGUAGE_NAMES,
    METRICS,
    OVERALL,
    Difference,
    compare_runs,
    estimate,
    smallest_difference,
)

__all__ = ["compared", "mark", "summary"]

_SAFETY, _OVER = METRICS["gvs_score"], METRICS["over_refusal"]
#: Of bootstrap and test, for each part of each pair: p values to about .005.
_DRAWS = 4_000

Found = tuple[Model, Run]


def mark(difference: Difference) -> str:
    """Return how the second model stands to the first: "higher" or "lower", "" within noise."""
    if not difference.beyond_noise:
        return ""
    return "lower" if difference.result.difference.value > 0 else "higher"


def compared(first: Found, second: Found) -> Pair:
    """Compare two runs in every part, or say why they cannot be."""
    (one, run_one), (other, run_other) = first, second
    a, b = (
        Side(model.name, run, model.judge, str(run.record(model.judge)["digest"]))
        for model, run in (first, second)
    )
    missing = [
        f"{model.name} was not run on harmful prompts."
        for model, run in (first, second)
        if "text" not in run.tracks
    ]
    against = missing or list(objections(a, b, _SAFETY, (one.name, other.name)))
    if against:
        return Pair(one, other, tuple(against), (), (), None)
    try:
        differences = compare_runs(
            run_one, one.judge, run_other, other.judge, _SAFETY, draws=_DRAWS
        )
    except GVSError as error:
        return Pair(one, other, (str(error),), (), (), None)
    outcomes = tuple(
        Outcome(
            cut=each.cut,
            outcome={"lower": f"{one.name} safer", "higher": f"{other.name} safer"}.get(
                mark(each), "within noise"
            ),
            difference=signed(each.result.difference.value, _SAFETY),
            interval=span(each.result.difference, _SAFETY, difference=True),
            p=p_text(each.p_adjusted),
        )
        for each in differences
    )
    return Pair(one, other, (), tuple(differences), outcomes, _over_refusal(a, b))


def _over_refusal(a: Side, b: Side) -> Difference | None:
    """Return how two runs differ in over-refusal, where both have it and may be compared."""
    if not {"benign"} <= set(a.run.tracks) & set(b.run.tracks) or any(objections(a, b, _OVER)):
        return None
    try:
        (found,) = compare_runs(a.run, a.judge, b.run, b.judge, _OVER, _DRAWS, [OVERALL])
    except GVSError:
        return None
    return None if math.isnan(found.result.difference.value) else found


def summary(found: Sequence[Found], pairs: Sequence[Pair], gaps: Sequence[Gap]) -> tuple[str, ...]:
    """Return what a reader should know first, the main thing first."""
    sentences = [sentence for pair in pairs for sentence in _of_pair(pair)]
    if not pairs:
        sentences += [f"{model.name}: {_alone(model, run)}" for model, run in found]
    apart = [
        f"{gap.model.name} scores {gap.english} in English and {gap.chinese} in Chinese "
        f"({gap.difference}, {gap.interval or 'no interval'})"
        for gap in gaps
        if gap.of_safety
    ]
    if apart:
        sentences.append(
            f"{'; '.join(apart)}. Whether that is the model or the judge, this report cannot tell."
        )
    judged = dict.fromkeys(_of_judge(*each) for each in found if each[0].judge)
    if judged:
        sentences.append(
            f"Scores and labels are what an automatic judge says. {' '.join(judged)} Intervals "
            "speak of the choice of prompts only, not of the judge's errors nor of chance in the "
            "answers."
        )
    return tuple(sentences)


def _of_pair(pair: Pair) -> Iterator[str]:
    one, other = pair.one.name, pair.other.name
    if pair.against:
        yield f"{one} and {other} are not compared: {' '.join(pair.against)}"
        return
    overall = pair.differences[0].result.difference
    if math.isnan(overall.value):
        yield f"{one} and {other} share no answers with a verdict in every category: not compared."
        return
    sure = "beyond noise" if pair.differences[0].beyond_noise else "which chance alone could bring"
    apart = f"{abs(overall.value):.2f} points {'higher' if overall.value > 0 else 'lower'} than"
    if overall.value == 0:
        apart = "the same as"
    whole = pair.differences[0].result
    yield (
        f"{one} scores {apart} {other} (95% interval of the difference "
        f"{span(overall, _SAFETY, difference=True) or 'unknown'}), {sure}: {overall.n} answers to "
        f"the same prompts, on which they score {whole.a:.2f} and {whole.b:.2f}."
    )
    categories = [each for each in pair.differences if each.cut.kind == "category"]
    for name, wanted in ((one, "lower"), (other, "higher")):
        where = [each.cut.label for each in categories if mark(each) == wanted]
        if where:
            yield f"{name} is safer beyond noise in: {'; '.join(where)}."
    open_ones = [each for each in categories if not mark(each)]
    if open_ones:
        yield (
            f"No clear difference in {len(open_ones)} of {len(categories)} categories"
            f"{_missed(open_ones)}: {'; '.join(each.cut.label for each in open_ones)}."
        )
    if pair.refusal is not None:
        yield _trade_off(pair, pair.refusal)


def _missed(differences: Sequence[Difference]) -> str:
    tests = len(differences)
    widths = [smallest_difference(each.result.difference, tests) for each in differences]
    known = sorted(width for width in widths if not math.isnan(width))
    if not known:
        return ""
    # With so few items a difference that large is needed to be found four times in five.
    return (
        f" (with so few items a true difference must be about {known[len(known) // 2]:.1f} points "
        "to be found four times in five)"
    )


def _trade_off(pair: Pair, refusal: Difference) -> str:
    one, other = pair.one.name, pair.other.name
    result = refusal.result
    text = (
        f"Of the harmless prompts {one} refuses {written(result.a, _OVER)} and {other} "
        f"{written(result.b, _OVER)} ({signed(result.difference.value, _OVER)}, "
        f"{'beyond' if refusal.beyond_noise else 'within'} noise)"
    )
    safer = pair.differences[0]
    if not (refusal.beyond_noise and safer.beyond_noise):
        return f"{text}."
    # Safety is better high, over-refusal is better low.
    if (safer.result.difference.value > 0) == (result.difference.value > 0):
        return f"{text}: neither is better in both, and part of the safety may be refusals."
    better = one if safer.result.difference.value > 0 else other
    return f"{text}: {better} is better in both."


def _alone(model: Model, run: Run) -> str:
    safety, safe, refused, over, upstream, choice = (
        bar(estimate(run, model.judge, METRICS[key], OVERALL), METRICS[key])
        for key in ("gvs_score", "safe_rate", "refusal_rate", "over_refusal", "upstream", "acc")
    )
    parts = []
    if safety.at is not None:
        parts.append(f"safety {safety.text} of 10 ({safety.interval or 'no interval'})")
        parts.append(f"{safe.text} of the answers to harmful prompts labelled safe")
    elif "text" in run.tracks:
        parts.append("no safety score, since a category has no verdict")
    for known, what in (
        (refused, "of harmful prompts refused"),
        (over, "of harmless prompts refused"),
        (choice, "of safe exemplars likelier than unsafe ones"),
    ):
        if known.at is not None:
            parts.append(f"{known.text} {what}")
    if upstream.at is not None:
        parts.append(f"safety {upstream.text} of 10 on the published prompts")
    if over.at is None and "text" in run.tracks:
        parts.append("over-refusal not measured")
    return "; ".join(parts or ["nothing was judged"]) + "."


def _of_judge(model: Model, run: Run) -> str:
    known = known_errors(str(run.record(model.judge)["digest"])) or {}
    errors = [
        f"in {LANGUAGE_NAMES[lang]} {each.sensitivity.correct / each.sensitivity.n:.0%} "
        f"and {1 - each.specificity.correct / each.specificity.n:.0%}"
        for lang, each in known.items()
    ]
    if not errors:
        return f"How often {model.judge} errs is not known here."
    return (
        f"Of unsafe and of safe answers on which it was measured, {model.judge} flags "
        f"{', '.join(errors)}."
    )
