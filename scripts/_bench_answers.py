"""The answers that the benchmark judges: where they come from, and which of them are taken."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from statistics import quantiles
from typing import Any

from gvs_tasks.dataset import load
from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Exchange
from gvs_tasks.judge.engine import EngineJudge
from gvs_tasks.judge.sequence_classifier import SequenceClassifierJudge

__all__ = ["bundled", "choose", "labelled", "lengths", "spread_of", "uniform"]

SEED = 7
#: Answers of the pool that are joined to one at most.
JOINED = 4
#: Tokens by which a text that was cut may become longer when it is read again.
SLACK = 8
#: Its texts stand in the prompts: nothing there is an answer.
NO_ANSWERS = "cold_"


@cache
def bundled() -> dict[str, list[Exchange]]:
    """Return the exemplars and the judge pool, whose short answers are joined to longer ones."""
    draw = random.Random(SEED)
    found = {}
    for lang in ("en", "zh"):
        found[f"exemplars, {lang}"] = [
            Exchange(row["prompt"], row[kind], lang)
            for row in load(f"text_{lang}")
            for kind in ("safe", "unsafe")
        ]
    pool = list(load("judge_pool"))
    answers = {lang: [r["response"] for r in pool if r["lang"] == lang] for lang in ("en", "zh")}
    found["pool"] = [
        Exchange(
            row["prompt"],
            "\n\n".join(
                [row["response"], *draw.choices(answers[row["lang"]], k=draw.randrange(JOINED))]
            ),
            row["lang"],
        )
        for row in pool
    ]
    return found


def labelled(folder: Path) -> dict[str, list[Exchange]]:
    """Read the answers of ``train/*.jsonl`` in a folder; see its README.

    Raises:
        GVSError: When there are none, or a line is no such object.
    """
    found = {}
    for path in sorted((folder / "train").glob("*.jsonl")):
        if path.name.startswith(NO_ANSWERS):
            continue
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                rows.append(Exchange(row["prompt"], row["response"] or "", row.get("lang")))
            except (ValueError, KeyError, TypeError) as error:
                raise GVSError(
                    f"{path}: line {number}: must be an object with 'prompt' and 'response'."
                ) from error
        found[path.stem] = rows
    if not found:
        raise GVSError(f"{folder}: no train/*.jsonl there. Leave --data out, or name its folder.")
    return found


def choose(
    judge: EngineJudge[Any], sources: dict[str, list[Exchange]], count: int
) -> list[Exchange]:
    """Draw exchanges that fit one window, as many from each source while it has some.

    When all are used up, they are repeated.

    Raises:
        GVSError: When none fits.
    """
    draw = random.Random(SEED)
    shuffled = [draw.sample(rows, len(rows)) for rows in sources.values()]
    taken: list[Exchange] = []
    for exchange in chain.from_iterable(zip_longest(*shuffled)):
        if len(taken) == count:
            break
        windows = exchange and judge._encode(exchange)
        # A hidden token (0 in the mask) is read by ours alone as what it is: text.
        if windows and not windows.flags and all(windows.attention_mask[0]):
            taken.append(exchange)
    if not taken:
        raise GVSError("No answer fits one window of the judge: give --data with shorter ones.")
    taken = (taken * (count // len(taken) + 1))[:count]
    return draw.sample(taken, count)


def uniform(
    judge: SequenceClassifierJudge, sources: dict[str, list[Exchange]], count: int, tokens: int
) -> list[Exchange]:
    """Join and cut answers so that every input has `tokens` tokens, give or take a few.

    Raises:
        GVSError: When the judge does not read so many at once.
    """
    most = judge._max_length - SLACK
    if tokens > most:
        raise GVSError(f"--uniform: at most {most} tokens, which the judge reads at once.")
    tokenizer = judge._folder.tokenizer
    draw = random.Random(SEED)
    taken: list[Exchange] = []
    rows = [row for row in chain.from_iterable(sources.values()) if row.response.strip()]
    while len(taken) < count:
        chosen = draw.choices(rows, k=1 + tokens // 8)
        prompt = chosen[0].prompt[: tokens // 4]  # a token has a character at least
        joined = " ".join(each.response for each in chosen)[: 16 * tokens]
        encoded = tokenizer(
            prompt,
            judge.profile.separator + joined,
            truncation="only_second",
            max_length=tokens,
            return_offsets_mapping=True,
        )
        ends = [
            end
            for (_, end), part in zip(
                encoded["offset_mapping"], encoded.sequence_ids(0), strict=True
            )
            if part == 1
        ]
        answer = joined[: max(ends) - len(judge.profile.separator)]
        taken.append(Exchange(prompt, answer, chosen[0].lang))
    return taken


def lengths(judge: EngineJudge[Any], exchanges: Iterable[Exchange]) -> list[int]:
    """Return how many tokens each input has."""
    windows = [judge._encode(exchange) for exchange in exchanges]
    return [len(each.input_ids[0]) if each else 0 for each in windows]


def spread_of(tokens: Sequence[int]) -> dict[str, int]:
    """Return quantiles of lengths."""
    parts = quantiles([*tokens, *tokens], n=20, method="inclusive")  # two values at least
    named = {"5%": 0, "25%": 4, "50%": 9, "75%": 14, "95%": 18}
    return {name: round(parts[n]) for name, n in named.items()} | {"most": max(tokens)}
