"""Measures a judge on labelled answers, with intervals, beside rules that read nothing.

    python scripts/evaluate_judge.py --data ../shared/judge_data --out dataset_card/gvs-small.json

Needs the extra ``train``. Writes JSON, which ``scripts/generate_judge_card.py`` makes the judge's
card of. Measured on: the benchmark's exemplars (not trained on), the part of the judge pool that
neither training nor calibration saw, and two public sets labelled by people, on which thresholds
may be tuned and nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from _judge_data import answers_of, load_pool, load_public, read_jsonl, split
from _judge_measures import Calibration, Estimate, Scored, auroc, calibration, measures, rate
from attack_judge import ATTACKS
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import AutoTokenizer

from gvs_tasks.gates import has_refusal_phrase
from gvs_tasks.judge import Exchange, Judge, Verdict, get_judge
from gvs_tasks.options import Options
from gvs_tasks.schema import load_items
from gvs_tasks.taxonomy import LANGUAGES

ROOT = Path(__file__).parent.parent
POOL = ROOT / "gvs_tasks/content/judge_pool"
WEIGHTS = ROOT / "gvs_tasks/judge/weights"
TIMED, TOKENS = 200, 256
HIDDEN = "a refusal before it"


@dataclass(frozen=True)
class Labelled:
    """An answer with what people say of it; None where they say nothing."""

    exchange: Exchange
    unsafe: bool | None
    refusal: bool | None
    cluster: str
    kind: str


#: P(unsafe) and the flag of each answer; None for one without a verdict.
Judged = Sequence[tuple[float, bool] | None]


def exemplars() -> list[Labelled]:
    """The benchmark's answers, as its tasks put them to a judge."""
    found = []
    for item in load_items():
        for lang in LANGUAGES:
            text = item.text(lang)
            asked = Exchange(text.prompt, "", lang, item.category, item.behaviour, text.focus)
            for kind in ("safe", "unsafe"):
                exchange = replace(asked, response=getattr(text, kind))
                found.append(Labelled(exchange, kind == "unsafe", None, item.id, kind))
            twin = Exchange(text.benign_prompt, text.benign_answer, lang, item.category)
            found.append(Labelled(twin, False, False, item.id, "twin"))
    return found


def pool_test() -> list[Labelled]:
    """The part of the pool that is kept for measuring."""
    return [
        Labelled(row.exchange, row.unsafe == 1, row.refusal == 1, row.group, row.kind)
        for row in split(load_pool(POOL)).test
    ]


def people(folder: Path, name: str) -> list[Labelled]:
    """One of the public sets labelled by people, without answers that stand in training too.

    Models refuse many questions in the same words, so stock refusals stand on both sides.
    """
    trained = answers_of(folder / "train")
    return [
        Labelled(
            Exchange(row["prompt"], row["response"], row["lang"]),
            None if row["unsafe"] is None else row["unsafe"] == 1,
            None if row["refusal"] is None else row["refusal"] == 1,
            str(row.get("question_id") or row["prompt"]),
            "safe_prompt" if row.get("prompt_unsafe") == 0 else "prompt",
        )
        for row in read_jsonl(folder / f"dev/{name}.jsonl")
        if row["unsafe"] in (0, 1, None)
        and row["refusal"] in (0, 1, None)
        and row["response"].strip() not in trained
    ]


def scored(rows: Sequence[Labelled], judged: Judged) -> list[Scored]:
    """The rows that have a label and a verdict."""
    return [
        Scored(*verdict, row.unsafe, row.cluster)
        for row, verdict in zip(rows, judged, strict=True)
        if row.unsafe is not None and verdict is not None
    ]


def by(
    rows: Sequence[Labelled], judged: Judged, key: Callable[[Labelled], str | None]
) -> dict[str, list[Scored]]:
    """The scored rows of each group."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        name = key(row)
        if name is not None:
            groups[name].append(place)
    return {
        name: scored([rows[i] for i in places], [judged[i] for i in places])
        for name, places in sorted(groups.items())
    }


def numbers(found: Sequence[Verdict]) -> list[tuple[float, bool] | None]:
    """P(unsafe) and flag of each verdict."""
    return [
        None if v.p_unsafe is None or v.unsafe is None else (v.p_unsafe, v.unsafe) for v in found
    ]


def lang_of(row: Labelled) -> str:
    """The language of an answer."""
    return row.exchange.lang or "en"


class Measurement:
    """All sets and what one judge says of them."""

    def __init__(self, judge: Callable[[Sequence[Exchange]], list[Verdict]], data: Path) -> None:
        """Read the sets; answers are judged when a measure needs them."""
        self._judge = judge
        self._items = exemplars()
        self._pool = pool_test()
        self._people = {name: people(data, name) for name in ("gptfuzz_test", "xstest_half")}

    def _numbers(self, rows: Sequence[Labelled]) -> list[tuple[float, bool] | None]:
        return numbers(self._judge([row.exchange for row in rows]))

    def report(self) -> dict[str, Any]:
        """Return every number of the judge."""
        rows = [row for row in self._items if row.kind != "twin"]
        judged = self._numbers(rows)
        return {
            "exemplars": _measured(by(rows, judged, lang_of)),
            "categories": _measured(by(rows, judged, lambda r: r.exchange.category)),
            "behaviours": _measured(by(rows, judged, lambda r: r.exchange.behaviour)),
            "twins": self._twins(),
            "hidden": self._hidden(rows),
            **self._from_pool(),
            **self._from_people(),
        }

    def _twins(self) -> dict[str, Any]:
        found = {}
        for lang in LANGUAGES:
            rows = [row for row in self._items if row.kind == "twin" and lang_of(row) == lang]
            verdicts = self._judge([row.exchange for row in rows])
            found[lang] = {
                "flagged": _json(rate(scored(rows, numbers(verdicts)))),
                "called_refusal": _json(rate(_refusals(rows, verdicts))),
            }
        return found

    def _hidden(self, rows: Sequence[Labelled]) -> dict[str, Any]:
        """Share of all unsafe exemplars that are flagged behind a refusal."""
        unsafe = [row for row in rows if row.unsafe]
        attack = next(attack for attack in ATTACKS if attack.name == HIDDEN)
        changed = [replace(row.exchange, response=attack.change(row.exchange)) for row in unsafe]
        return {HIDDEN: _json(rate(scored(unsafe, numbers(self._judge(changed)))))}

    def _from_pool(self) -> dict[str, Any]:
        rows, verdicts = self._pool, self._judge([row.exchange for row in self._pool])
        judged = numbers(verdicts)
        kinds = by(rows, judged, lambda row: row.kind)
        return {
            "pool": _measured(by(rows, judged, lang_of)),
            "pool_refusal": {
                lang: _json(auroc(_refusals(rows, verdicts, lang))) for lang in LANGUAGES
            },
            "pool_kinds": {kind: _json(rate(part)) for kind, part in kinds.items()},
            "calibration": {
                "P(unsafe)": _json(calibration(scored(rows, judged))),
                "P(refusal)": _json(calibration(_refusals(rows, verdicts))),
            },
        }

    def _from_people(self) -> dict[str, Any]:
        jailbreaks, borderline = self._people["gptfuzz_test"], self._people["xstest_half"]
        verdicts = self._judge([row.exchange for row in borderline])
        # Nothing harmful was asked and nobody refused: a flag is a false alarm.
        complied = [
            Scored(verdict.p_unsafe, verdict.unsafe, False, row.cluster)
            for verdict, row in zip(verdicts, borderline, strict=True)
            if row.kind == "safe_prompt" and row.refusal is False
            if verdict.p_unsafe is not None and verdict.unsafe is not None
        ]
        return {
            "gptfuzz_test": measures(scored(jailbreaks, self._numbers(jailbreaks))),
            "xstest_half": {
                "refusal_auroc": _json(auroc(_refusals(borderline, verdicts))),
                "complied_flagged": _json(rate(complied)),
            },
        }

    def baselines(self, data: Path) -> dict[str, dict[str, Any]]:
        """AUROC of rules and of a bag of n-grams, on the sets where the judge is measured."""
        rows = [row for row in self._items if row.kind != "twin"]
        sets = {f"exemplars, {lang}": [r for r in rows if lang_of(r) == lang] for lang in LANGUAGES}
        sets["pool, test part"] = self._pool
        sets["gptfuzz_test"] = self._people["gptfuzz_test"]
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        for name, score in _baselines(data).items():
            for where, members in sets.items():
                pairs = [(value, False) for value in score([row.exchange for row in members])]
                found[name][where] = _json(auroc(scored(members, pairs)))
        return dict(found)


def _baselines(data: Path) -> dict[str, Callable[[list[Exchange]], Sequence[float]]]:
    public = [row for row in load_public(data / "train") if row.unsafe in (0, 1)]
    trained = split(load_pool(POOL)).train + public
    labels = [row.unsafe for row in trained]

    def fitted(text: Callable[[Exchange], str]) -> Callable[[list[Exchange]], Sequence[float]]:
        grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), max_features=200_000)
        model = LogisticRegression(C=10, max_iter=400)
        model.fit(grams.fit_transform([text(row.exchange) for row in trained]), labels)
        return lambda asked: model.predict_proba(grams.transform(map(text, asked)))[:, 1].tolist()

    return {
        "no refusal phrase": lambda asked: [
            float(not has_refusal_phrase(each.response)) for each in asked
        ],
        "length": lambda asked: [-float(len(each.response)) for each in asked],
        "TF-IDF of the prompt": fitted(lambda each: each.prompt),
        "TF-IDF of the answer": fitted(lambda each: each.response),
    }


def speed(judge: Judge, folder: Path) -> dict[str, Any]:
    """Answers per second on this machine, each window 256 tokens with its prompt."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "\n".join(item.en.safe for item in load_items())
    prompt = "What should I do?"
    used = len(tokenizer(prompt, "")["input_ids"])
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    step = TOKENS - used
    answers = [tokenizer.decode(ids[i * step : (i + 1) * step]) for i in range(TIMED)]
    judge.judge([Exchange(prompt, answers[0], "en")])
    started = time.perf_counter()
    judge.judge([Exchange(prompt, answer, "en") for answer in answers])
    seconds = time.perf_counter() - started
    return {
        "answers_per_second": round(TIMED / seconds, 1),
        "threads": len(os.sched_getaffinity(0)),
    }


def _refusals(
    rows: Sequence[Labelled], verdicts: Sequence[Verdict], lang: str | None = None
) -> list[Scored]:
    return [
        Scored(verdict.p_refusal, bool(verdict.refusal), row.refusal, row.cluster)
        for row, verdict in zip(rows, verdicts, strict=True)
        if row.refusal is not None
        and verdict.p_refusal is not None
        and lang in (None, lang_of(row))
    ]


def _measured(groups: dict[str, list[Scored]]) -> dict[str, Any]:
    return {name: measures(part) for name, part in groups.items()}


def _json(found: Estimate | Calibration | None) -> list[float] | None:
    return found and found.json()


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and dev/")
    parser.add_argument("--judge", default="gvs-small", help="as in gvs_judge")
    parser.add_argument("--out", type=Path, help="JSON file to write; by default it is printed")
    arguments = parser.parse_args()
    judge = get_judge(Options.read({"gvs_judge": arguments.judge, "gvs_cache": "off"}))
    bundled = WEIGHTS / arguments.judge
    folder = bundled if bundled.is_dir() else Path(arguments.judge)
    measurement = Measurement(judge.judge, arguments.data)
    report = {
        "judge": judge.record,
        "megabytes": round(sum(p.stat().st_size for p in folder.glob("*.safetensors")) / 1e6, 2),
        "speed": speed(judge, folder),
        "measures": measurement.report(),
        "baselines": measurement.baselines(arguments.data),
    }
    text = json.dumps(_without_nan(report), indent=1, allow_nan=False) + "\n"
    if arguments.out is None:
        print(text)
        return
    fresh = arguments.out.with_name(f".{arguments.out.name}.new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, arguments.out)


if __name__ == "__main__":
    main()
