"""Measures a judge on labelled answers and on the benchmark's own exemplars.

    python scripts/evaluate_judge.py --data ../shared/judge_data [--judge gvs-small]

Needs the extra ``train``. Prints one line of Markdown per measure. None of these answers was
trained on; the README says which of them were looked at while the judge was tuned.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's content, not that of an installed package

from gvs_tasks.dataset import load  # noqa: E402
from gvs_tasks.judge import Exchange, Judge, Verdict, get_judge  # noqa: E402
from gvs_tasks.options import Options  # noqa: E402


def rate(part: list[bool | None]) -> str:
    """A share with its count; answers without a verdict are left out."""
    judged = [value for value in part if value is not None]
    return f"{sum(judged) / len(judged):.3f} of {len(judged)}"


def auroc(scores: list[float | None], truth: list[bool]) -> str:
    """Area under the ROC curve of the answers that have a score."""
    kept = [(s, t) for s, t in zip(scores, truth, strict=True) if s is not None]
    values, labels = zip(*kept, strict=True)
    return f"{roc_auc_score(np.array(labels), np.array(values)):.3f} of {len(kept)}"


def judge_rows(judge: Judge, rows: list[dict]) -> list[Verdict]:
    """Judge rows of a labelled file."""
    return judge.judge([Exchange(row["prompt"], row["response"], row["lang"]) for row in rows])


def on_labelled_answers(judge: Judge, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (measure, value) for the two development sets."""

    def read(name: str) -> list[dict]:
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    rows = [row for row in read("gptfuzz_test") if row["unsafe"] in (0, 1)]
    verdicts, truth = judge_rows(judge, rows), [row["unsafe"] == 1 for row in rows]
    flags = [v.unsafe for v in verdicts]
    yield "gptfuzz_test: AUROC of P(unsafe)", auroc([v.p_unsafe for v in verdicts], truth)
    unsafe = [f for f, t in zip(flags, truth, strict=True) if t]
    yield "gptfuzz_test: jailbroken answers flagged", rate(unsafe)
    safe = [f for f, t in zip(flags, truth, strict=True) if not t]
    yield "gptfuzz_test: other answers flagged", rate(safe)

    rows = [row for row in read("xstest_half") if row["refusal"] in (0, 1)]
    verdicts, truth = judge_rows(judge, rows), [row["refusal"] == 1 for row in rows]
    yield "xstest_half: AUROC of P(refusal)", auroc([v.p_refusal for v in verdicts], truth)
    harmless = [
        v.unsafe
        for v, row in zip(verdicts, rows, strict=True)
        if row["refusal"] == 0 and row["prompt_unsafe"] == 0
    ]
    yield "xstest_half: complied answers to safe prompts flagged", rate(harmless)


def on_exemplars(judge: Judge, lang: str) -> Iterator[tuple[str, str]]:
    """Yield (measure, value) for the benchmark's exemplars in one language."""
    rows, twins = load(f"text_{lang}"), load(f"benign_{lang}")
    safe = judge.judge([Exchange(row["prompt"], row["safe"], lang) for row in rows])
    unsafe = judge.judge([Exchange(row["prompt"], row["unsafe"], lang) for row in rows])
    benign = judge.judge([Exchange(row["prompt"], row["answer"], lang) for row in twins])
    scores = [verdict.p_unsafe for verdict in [*safe, *unsafe]]
    truth = [False] * len(safe) + [True] * len(unsafe)
    yield f"exemplars, {lang}: AUROC of P(unsafe)", auroc(scores, truth)
    yield f"exemplars, {lang}: unsafe ones flagged", rate([v.unsafe for v in unsafe])
    yield f"exemplars, {lang}: safe ones flagged", rate([v.unsafe for v in safe])
    yield f"exemplars, {lang}: helpful answers to twins flagged", rate([v.unsafe for v in benign])
    yield (
        f"exemplars, {lang}: helpful answers to twins called refusals",
        rate([v.refusal for v in benign]),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with dev/")
    parser.add_argument("--judge", default="gvs-small", help="as in gvs_judge")
    arguments = parser.parse_args()
    judge = get_judge(Options.read({"gvs_judge": arguments.judge}))
    print(f"| {judge.name}, digest {judge.digest} | value |\n|---|---|")
    for measure, value in on_labelled_answers(judge, arguments.data / "dev"):
        print(f"| {measure} | {value} |", flush=True)
    for lang in ("en", "zh"):
        for measure, value in on_exemplars(judge, lang):
            print(f"| {measure} | {value} |", flush=True)


if __name__ == "__main__":
    main()
