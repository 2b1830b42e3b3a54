"""How the benchmark measures a way to judge: its time, its memory, and whether it says the same."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Exchange, Verdict
from gvs_tasks.judge.engine import EngineJudge

__all__ = ["Judging", "Row", "Spread", "Timed", "Way", "measure"]

#: What a guard with random weights writes is no verdict, and need not be.
NO_VERDICT = ("the judge's reply is no verdict", "the reply names no label")

Judging = Callable[[Sequence[Exchange]], list[Verdict]]


@dataclass(frozen=True)
class Way:
    """One way to judge.

    Attributes:
        name: For the table.
        judging: Gives the verdicts of exchanges.
        model: The model that it runs, whose inputs are looked at.
        every: Reads one in so many exchanges; more than 1 for slow ways.
        speaks: Whether its verdicts mean something.
    """

    name: str
    judging: Judging
    model: torch.nn.Module
    every: int = 1
    speaks: bool = True


@dataclass(frozen=True)
class Spread:
    """A number that was measured several times."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Take the median and the range."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        """The median, and the range in brackets."""
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass
class Row:
    """What was measured of a way.

    Attributes:
        name: The way's name.
        answers: How many answers it judged.
        seconds: Of each repetition.
        rate: Answers a second.
        against: Time for an answer, in units of the first row's in the same repetition.
        padding: Share of the tokens in forward passes that are padding.
        peak: Megabytes beyond those in use before; None where they cannot be told.
        differing: Labels that are not the first row's; None where verdicts mean nothing.
        change: Largest difference of P(unsafe) from the first row; None where there is none.
    """

    name: str
    answers: int
    seconds: list[float]
    rate: Spread
    against: Spread
    padding: float
    peak: float | None
    differing: int | None
    change: float | None


def _resident(what: str) -> float | None:
    """Return a line of this process's status in megabytes; None where there is none."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = next((line for line in status.splitlines() if line.startswith(f"{what}:")), None)
    return int(found.split()[1]) / 1024 if found else None


def with_peak(
    judging: Judging, exchanges: Sequence[Exchange], device: torch.device
) -> tuple[list[Verdict], float | None]:
    """Judge, and return the verdicts with the megabytes that it took."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        verdicts = judging(exchanges)
        return verdicts, (torch.cuda.max_memory_allocated(device) - before) / 2**20
    try:
        # Else what the way before freed counts as in use already.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # see proc(5)
    except (OSError, AttributeError):
        return judging(exchanges), None
    resident = _resident("VmRSS")
    verdicts = judging(exchanges)
    most = _resident("VmHWM")
    return verdicts, None if most is None or resident is None else max(0.0, most - resident)


class Tokens:
    """Counts the tokens of a model's inputs while it is entered."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Count from nothing."""
        self._model, self.total, self.real = model, 0, 0

    def _count(self, _: object, __: object, inputs: dict[str, Any]) -> None:
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        self.total += ids.numel()
        # While a model generates, the mask covers what it has read before as well.
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            self.real += int(mask[:, -ids.shape[1] :].sum())
        else:
            self.real += ids.numel()

    def __enter__(self) -> Tokens:
        """Begin to look."""
        self._hook = self._model.register_forward_pre_hook(self._count, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Look no longer."""
        self._hook.remove()


class Timed:
    """Judges, and notes the share of the time that is spent outside the model.

    Attributes:
        outside: The share of each call.
    """

    def __init__(self, judge: EngineJudge[Any]) -> None:
        """Take the time of every forward pass from now on."""
        self.outside: list[float] = []
        self._judge, self._forward, self._seconds = judge, judge._forward, 0.0
        judge._forward = self._timed  # type: ignore[method-assign]

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Judge as the judge does."""
        self._seconds, start = 0.0, time.perf_counter()
        verdicts = self._judge.judge(exchanges)
        self.outside.append(1 - self._seconds / (time.perf_counter() - start))
        return verdicts

    def _timed(self, rows: list[Any]) -> list[Any]:
        start = time.perf_counter()
        try:
            return self._forward(rows)
        finally:
            self._seconds += time.perf_counter() - start


def every(exchanges: Sequence[Exchange], tokens: Sequence[int], step: int) -> list[Exchange]:
    """Take one in `step` exchanges of every length, in their order."""
    ranked = sorted(range(len(exchanges)), key=lambda n: tokens[n])
    return [exchanges[n] for n in sorted(ranked[step // 2 :: step] or ranked[:1])]


def measure(
    ways: Sequence[Way],
    exchanges: Sequence[Exchange],
    tokens: Sequence[int],
    repeats: int,
    device: torch.device,
) -> list[Row]:
    """Run every way once to look at it, then `repeats` times in turns.

    Args:
        ways: The ways; the first is what the others are compared with, and reads all exchanges.
        exchanges: What is judged.
        tokens: The length of each.
        repeats: How often each way is timed.
        device: Where the models are.

    Raises:
        GVSError: When a way leaves an answer without a verdict.
    """
    parts = [every(exchanges, tokens, way.every) for way in ways]
    rows, expected = [], dict[int, Verdict]()
    for way, part in zip(ways, parts, strict=True):
        print(f"{way.name} ...", file=sys.stderr, flush=True)
        with Tokens(way.model) as counted:
            verdicts, peak = with_peak(way.judging, part, device)
        for verdict in verdicts:
            if verdict.unjudged and (way.speaks or not verdict.unjudged.startswith(NO_VERDICT)):
                raise GVSError(f"{way.name}: an answer has no verdict ({verdict.unjudged}).")
        expected = expected or {id(e): v for e, v in zip(part, verdicts, strict=True)}
        pairs = [(v, expected[id(e)]) for e, v in zip(part, verdicts, strict=True)]
        changes = [
            abs(found.p_unsafe - ours.p_unsafe)
            for found, ours in pairs
            if found.p_unsafe is not None and ours.p_unsafe is not None
        ]
        nothing = Spread(0.0, 0.0, 0.0)
        rows.append(
            Row(
                name=way.name,
                answers=len(part),
                seconds=[],
                rate=nothing,
                against=nothing,
                padding=1 - counted.real / counted.total,
                peak=peak,
                differing=sum(v.unsafe != o.unsafe for v, o in pairs) if way.speaks else None,
                change=max(changes) if way.speaks and changes else None,
            )
        )
    for repeat in range(repeats):
        # Another begins each time, so that none always follows the same one.
        for n in [(repeat + k) % len(ways) for k in range(len(ways))]:
            print(f"{ways[n].name}, repetition {repeat + 1}", file=sys.stderr, flush=True)
            start = time.perf_counter()
            ways[n].judging(parts[n])
            rows[n].seconds.append(time.perf_counter() - start)
    base = [seconds / rows[0].answers for seconds in rows[0].seconds]
    for row in rows:
        each = [seconds / row.answers for seconds in row.seconds]
        row.rate = Spread.of([1 / seconds for seconds in each])
        row.against = Spread.of([s / ours for s, ours in zip(each, base, strict=True)])
    return rows
