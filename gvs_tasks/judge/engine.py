"""The engine that every local judge runs on: batches, memory, windows and failures.

Answers are judged without their disguise: hidden characters, look-alike letters, encoded text. A
judge says how it encodes an exchange, what one forward pass gives for a batch of its windows,
and what the windows of an exchange amount to. The engine sorts the windows by length, fills
batches to a token budget, halves the budget when memory runs out and grows it back, tokenises the
next part while the model works on this one, and gives each verdict as soon as it is there.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic, TypeVar

import torch
from tqdm import tqdm

from gvs_tasks.judge.disguise import undisguise
from gvs_tasks.judge.encoding import Row, Windows, clean
from gvs_tasks.judge.types import Exchange, Verdict

__all__ = ["CODE_VERSION", "EngineJudge", "Failed", "run_batches"]

log = logging.getLogger(__name__)

#: Part of every digest; raised when a change of the code moves verdicts.
CODE_VERSION = 3
#: Exchanges sorted together, and held in memory.
CHUNK = 2048
#: Batches that must fit before a budget that memory cut is doubled again.
GROW_AFTER = 8

Score = TypeVar("Score")


@dataclass(frozen=True)
class Failed:
    """Why a batch has no scores."""

    reason: str


def run_batches(
    lengths: Sequence[int], forward: Callable[[list[int]], list[Score]], budget: int
) -> Iterator[tuple[list[int], list[Score] | Failed]]:
    """Run inputs of similar length together, longest first, each exactly once.

    The longest first shows at once whether a batch fits into memory.

    Args:
        lengths: Tokens of each input.
        forward: Takes indices into `lengths`, gives one score for each.
        budget: Tokens of a batch at most, padding included; one input may exceed it alone.

    Yields:
        The indices of a batch with their scores, or with the reason why there are none.

    >>> [batch for batch, _ in run_batches([3, 9, 4, 2], lambda batch: batch, budget=8)]
    [[1], [2, 0], [3]]
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    start, current, fitting = 0, budget, 0
    while start < len(order):
        batch = order[start : start + max(1, current // max(lengths[order[start]], 1))]
        try:
            result: list[Score] | Failed = forward(batch)
        except Exception as error:  # whatever a model raises costs its batch, not the run
            if _out_of_memory(error):
                torch.cuda.empty_cache()
                if len(batch) > 1:
                    current, fitting = lengths[batch[0]] * (len(batch) // 2), 0
                    continue
                result = Failed("the judge ran out of memory")
            else:
                log.warning("A batch of the judge failed: %s", error)
                result = Failed(f"the judge failed: {type(error).__name__}")
        else:
            fitting += 1
            if fitting % GROW_AFTER == 0:
                current = min(budget, 2 * current)
        yield batch, result
        start += len(batch)


def _out_of_memory(error: Exception) -> bool:
    """Say whether memory ran out; on a CPU torch raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


class EngineJudge(ABC, Generic[Score]):
    """A judge that reads windows of an exchange in batches."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Short name: the filter column of lm_eval's table."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Hash of everything that decides a verdict."""

    @abstractmethod
    def _prepare(self) -> int:
        """Load the model and return the budget of a batch in tokens."""

    def _threads(self) -> AbstractContextManager[None]:
        """Return what holds while the model works."""
        return nullcontext()

    @abstractmethod
    def _encode(self, exchange: Exchange) -> Windows | None:
        """Return the windows of an exchange; None when nothing of the answer is readable."""

    @abstractmethod
    def _forward(self, rows: list[Row]) -> list[Score]:
        """Return the model's score of each window, from one forward pass."""

    @abstractmethod
    def _verdict(self, exchange: Exchange, scores: list[Score], flags: tuple[str, ...]) -> Verdict:
        """Return what the scores of an exchange's windows amount to."""

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Judge every exchange; see `gvs_tasks.judge.types.Judge`."""
        found = dict(self.verdicts(exchanges))
        return [found[n] for n in range(len(exchanges))]

    def verdicts(self, exchanges: Iterable[Exchange]) -> Iterator[tuple[int, Verdict]]:
        """Yield (position, verdict) as they are ready; memory is bounded by `CHUNK`."""
        total = len(exchanges) if isinstance(exchanges, Sized) else None
        budget = self._prepare()  # first, so that its failures are not taken for those of a batch
        source, position = iter(exchanges), 0
        with (
            self._threads(),
            ThreadPoolExecutor(1) as ahead,
            tqdm(desc=f"Judging ({self.name})", total=total, unit="answer") as progress,
        ):

            def following() -> tuple[list[Exchange], Future[list[Windows | Failed]]]:
                chunk = list(islice(source, CHUNK))
                return chunk, ahead.submit(lambda: [self._windows(each) for each in chunk])

            chunk, encoded = following()
            while chunk:
                windows = encoded.result()
                upcoming, encoded = following()
                for n, verdict in self._chunk(chunk, windows, budget):
                    progress.update()
                    yield position + n, verdict
                position += len(chunk)
                chunk = upcoming

    def _windows(self, exchange: Exchange) -> Windows | Failed:
        try:
            windows = self._undisguised(exchange)
        except Exception as error:  # tokenizers raise many types
            log.warning("An answer could not be encoded: %s", error)
            return Failed(f"the answer cannot be encoded: {type(error).__name__}")
        return windows or Failed("the answer has no readable text")

    def _undisguised(self, exchange: Exchange) -> Windows | None:
        """Encode what an answer says; what is encoded in it is read in further windows."""
        plain = undisguise(clean(exchange.response))
        texts = [plain.text, *plain.decoded]
        found = [self._encode(replace(exchange, response=text)) for text in texts]
        windows = Windows.joined([each for each in found if each is not None])
        return windows and replace(windows, flags=(*windows.flags, *plain.flags))

    def _chunk(
        self, exchanges: list[Exchange], windows: list[Windows | Failed], budget: int
    ) -> Iterator[tuple[int, Verdict]]:
        rows: list[Row] = []
        owners: list[tuple[int, int]] = []  # exchange, and which of its windows
        scores: dict[int, dict[int, Score]] = {}
        waiting: dict[int, int] = {}
        reasons: dict[int, str] = {}
        for n, window in enumerate(windows):
            if isinstance(window, Failed):
                yield n, Verdict.none(window.reason, self.digest)
                continue
            found = window.rows()
            rows += found
            owners += [(n, part) for part in range(len(found))]
            scores[n], waiting[n] = {}, len(found)
        lengths = [len(row["input_ids"]) for row in rows]
        for batch, result in run_batches(
            lengths, lambda batch: self._forward([rows[i] for i in batch]), budget
        ):
            for place, index in enumerate(batch):
                n, part = owners[index]
                waiting[n] -= 1
                if isinstance(result, Failed):
                    reasons[n] = result.reason
                else:
                    scores[n][part] = result[place]
                if waiting[n]:
                    continue
                window = windows[n]
                if n in reasons:
                    yield n, Verdict.none(reasons[n], self.digest)
                elif isinstance(window, Windows):
                    ordered = [scores[n][part] for part in sorted(scores[n])]
                    yield n, self._verdict(exchanges[n], ordered, window.flags)
