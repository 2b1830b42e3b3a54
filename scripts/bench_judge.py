"""Measures how fast a judge is, against the ways in which judges are otherwise run.

    python scripts/bench_judge.py [--data ../shared/judge_data] [--guard-size 0.6b] [-o FILE]

Prints a table in Markdown for a text classifier and one for a guard. All ways read the same
answers with the same weights; their repetitions take turns, since a machine's speed changes while
one waits for it, and ratios are taken within a repetition. Every answer fits one window of the
judge: the other ways cut off what ours would read in a further window.

Padding, memory and verdicts are those of a first pass, which is not timed. Memory is what the work
needs beyond weights and what is in use before: of the GPU, or the high-water mark of the resident
set, which Linux resets. A process for each way would measure it too, but could not take turns.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from itertools import chain, zip_longest
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's content, not that of an installed package
# Read when tqdm is imported. A bar for each answer would be most of the output, and cost time.
os.environ.setdefault("TQDM_DISABLE", "1")

import torch  # noqa: E402
import transformers  # noqa: E402
from _bench_guard import SIZES, build_random_guard, generate_and_parse  # noqa: E402

from gvs_tasks.dataset import load  # noqa: E402
from gvs_tasks.errors import GVSError  # noqa: E402
from gvs_tasks.judge import Exchange, Verdict, get_judge  # noqa: E402
from gvs_tasks.judge.engine import EngineJudge  # noqa: E402
from gvs_tasks.judge.guard import GuardJudge  # noqa: E402
from gvs_tasks.judge.sequence_classifier import SequenceClassifierJudge  # noqa: E402
from gvs_tasks.options import Options  # noqa: E402

SEED = 7
#: Answers in a batch of fixed size.
FIXED = 32
#: Answers of the pool that are joined to one at most.
JOINED = 4
#: Tokens by which a text that was cut may become longer when it is read again.
SLACK = 8
#: On a CPU the slow ways read every so many answers.
PADDED_EVERY, BFLOAT16_EVERY = 4, 32
#: Its texts stand in the prompts: nothing there is an answer.
NO_ANSWERS = "cold_"
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


@dataclass(frozen=True)
class Target:
    """What was hoped for, and whether it came true."""

    text: str
    value: float
    met: bool


@dataclass
class Part:
    """One table.

    Attributes:
        title: Its heading.
        notes: What a reader must know.
        lengths: Quantiles of the inputs' lengths in tokens.
        rows: A row for each way; the first is ours.
        targets: What was hoped for.
    """

    title: str
    notes: list[str]
    lengths: dict[str, int]
    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def hope(self, text: str, value: float, met: bool) -> None:
        """Add a target."""
        self.targets.append(Target(text, value, met))

    def lines(self) -> Iterator[str]:
        """Yield the table in Markdown, with what stands around it."""
        yield f"\n## {self.title}\n"
        yield from (f"- {note}" for note in self.notes)
        shown = ", ".join(f"{name} {tokens}" for name, tokens in self.lengths.items())
        yield f"- tokens of an input: {shown}\n"
        yield (
            "| way | answers | answers/s | time of an answer, first row = 1 | padding "
            "| memory, MB | labels that differ | P(unsafe) differs by at most |"
        )
        yield "|---|---|---|---|---|---|---|---|"
        for row in self.rows:
            cells = (
                row.name,
                row.answers,
                row.rate,
                row.against,
                f"{row.padding:.1%}",
                "-" if row.peak is None else f"{row.peak:.0f}",
                "-" if row.differing is None else row.differing,
                "-" if row.change is None else f"{row.change:.6f}",
            )
            yield f"| {' | '.join(map(str, cells))} |"
        yield ""
        for each in self.targets:
            yield f"- {each.text}: {each.value:.3g}, **{'met' if each.met else 'not met'}**"


# Which answers are judged


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


# How a way is measured


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


# A text classifier


def _read(
    judge: SequenceClassifierJudge, exchanges: Sequence[Exchange], logits: torch.Tensor
) -> list[Verdict]:
    """Read logits as the judge does: temperature, activation and threshold."""
    probabilities = judge._label_probability(logits, judge.profile.unsafe)
    return [
        judge._verdict(exchange, [(p, None)], ())
        for exchange, p in zip(exchanges, probabilities, strict=True)
    ]


def one_by_one(judge: SequenceClassifierJudge) -> Judging:
    """Return the pipeline of transformers, which reads one answer after another."""
    # With our model object: the folder's own number format may be another.
    pipeline = transformers.pipeline(
        "text-classification",
        model=judge._model,
        tokenizer=judge._folder.tokenizer,
        device=judge._folder.device,
    )
    names = sorted(judge._labels, key=judge._labels.__getitem__)

    def judging(exchanges: Sequence[Exchange]) -> list[Verdict]:
        separator = judge.profile.separator
        pairs = [{"text": e.prompt, "text_pair": separator + e.response} for e in exchanges]
        found = pipeline(
            pairs,
            batch_size=1,
            truncation="only_second",
            max_length=judge._max_length,
            top_k=None,
            function_to_apply="none",
        )
        scores = [{each["label"]: each["score"] for each in labels} for labels in found]
        logits = torch.tensor([[row[name] for name in names] for row in scores])
        return _read(judge, exchanges, logits)

    return judging


@torch.inference_mode()
def fixed_batches(
    judge: SequenceClassifierJudge, exchanges: Sequence[Exchange], pad_to: int | None = None
) -> list[Verdict]:
    """Judge in batches of one size, in the order given.

    Args:
        judge: The judge.
        exchanges: What to judge.
        pad_to: The length that all are padded to; by default the longest of each batch.
    """
    verdicts: list[Verdict] = []
    tokenizer, model = judge._folder.tokenizer, judge._model
    for start in range(0, len(exchanges), FIXED):
        batch = exchanges[start : start + FIXED]
        inputs = tokenizer(
            [exchange.prompt for exchange in batch],
            [judge.profile.separator + exchange.response for exchange in batch],
            truncation="only_second",
            max_length=pad_to or judge._max_length,
            padding="max_length" if pad_to else True,
            return_tensors="pt",
        ).to(judge._folder.device)
        verdicts += _read(judge, batch, model(**inputs).logits.float())
    return verdicts


def on_classifier(arguments: argparse.Namespace) -> Part:
    """Measure the ways to run a text classifier."""
    options = Options.read(
        {
            "gvs_judge": arguments.judge,
            "gvs_judge_device": arguments.device,
            "gvs_judge_dtype": "float32",
            "gvs_judge_batch_tokens": arguments.batch_tokens,
        },
        environ={},
    )
    judge = get_judge(options)
    if not isinstance(judge, SequenceClassifierJudge):
        raise GVSError(f"{judge.name} is no text classifier: give it as --guard.")
    sources = labelled(arguments.data) | bundled() if arguments.data else bundled()
    if arguments.uniform:
        exchanges = uniform(judge, sources, arguments.n, arguments.uniform)
    else:
        exchanges = choose(judge, sources, arguments.n)
    tokens = lengths(judge, exchanges)
    half = get_judge(options.model_copy(update={"judge_dtype": "bfloat16"}))
    assert isinstance(half, SequenceClassifierJudge)
    for each in (judge, half):
        each.judge(exchanges[:1])  # loads the weights
    device = judge._folder.device
    on_cpu = device.type == "cpu"
    longest = max(tokens)
    ours = "ours: sorted, filled to a token budget"
    pipeline = "pipeline of transformers, one by one"
    unsorted = f"unsorted, batches of {FIXED}"
    timed = Timed(judge)
    ways = [
        Way(ours, timed.judge, judge._model),
        Way(pipeline, one_by_one(judge), judge._model),
        Way(unsorted, partial(fixed_batches, judge), judge._model),
        Way(
            f"batches of {FIXED}, padded to the longest of all",
            partial(fixed_batches, judge, pad_to=longest),
            judge._model,
            every=PADDED_EVERY if on_cpu else 1,
        ),
        Way("ours, bfloat16", half.judge, half._model, every=BFLOAT16_EVERY if on_cpu else 1),
    ]
    part = Part(
        title=f"Text classifier: {judge.name}, digest {judge.digest}, float32, {device.type}",
        notes=[
            f"{arguments.n} answers, evenly from: {', '.join(sources)}; joined and cut to one "
            "length"
            if arguments.uniform
            else f"{arguments.n} answers that fit one window ({judge._max_length} tokens), evenly "
            f"from: {', '.join(sources)}",
            "a way that reads fewer answers reads one in so many of every length",
            "ours is timed with its tokenisation and without a cache; the pipeline reads our "
            "model object, so that the number format is the same",
        ],
        lengths=spread_of(tokens),
    )
    with judge._threads():
        part.notes.append(f"{torch.get_num_threads()} threads")
        part.rows = measure(ways, exchanges, tokens, arguments.repeats, device)
    found = {row.name: row for row in part.rows}
    spent = Spread.of(timed.outside[1:])  # the first pass is no repetition
    part.notes.append(f"share of our time outside the model: {spent}")
    hopes = [(pipeline, 1.2 if on_cpu else 10), (unsorted, 2)]
    for name, least in hopes if on_cpu else hopes[:1]:
        times = found[name].against.median
        part.hope(f"at least {least} times as fast as '{name}'", times, times >= least)
    differing = sum(row.differing or 0 for row in part.rows if row.name != ways[-1].name)
    part.hope("labels that differ in float32: none", differing, not differing)
    part.hope("share of our time outside the model: at most .1", spent.median, spent.median <= 0.1)
    if not on_cpu and arguments.uniform == 256:
        rate = found[ours].rate.median
        part.hope("at least 5,000 answers of 256 tokens a second", rate, rate >= 5000)
    return part


# A guard


def on_guard(arguments: argparse.Namespace, folder: Path) -> Part:
    """Measure one forward pass against a generated reply.

    Args:
        arguments: Of the command line.
        folder: Where a guard with random weights may be written.
    """
    random_weights = arguments.guard is None
    guard = arguments.guard
    if random_weights:
        size = arguments.guard_size
        texts = [each.response for each in chain.from_iterable(bundled().values())]
        guard = str(build_random_guard(folder / f"random-{size}", size, texts))
    template = arguments.guard_template or ("qwen3guard-gen" if random_weights else None)
    judge = get_judge(
        Options.read(
            {
                "gvs_judge": guard,
                "gvs_judge_template": template,
                "gvs_judge_device": arguments.device,
            },
            environ={},
        )
    )
    if not isinstance(judge, GuardJudge):
        raise GVSError(f"{judge.name} is no guard: choose its family with --guard-template.")
    family = judge._family
    sources = labelled(arguments.data) | bundled() if arguments.data else bundled()
    exchanges = choose(judge, sources, arguments.guard_n)
    tokens = lengths(judge, exchanges)
    judge.judge(exchanges[:1])  # loads the weights
    device, dtype = judge._folder.device, judge._folder.dtype

    def one_forward(part: Sequence[Exchange]) -> list[Verdict]:
        return [judge.judge([exchange])[0] for exchange in part]

    def generated(part: Sequence[Exchange]) -> list[Verdict]:
        return [generate_and_parse(judge, family, each, random_weights) for each in part]

    speaks = not random_weights
    generation = "generate and parse, one by one"
    ways = [
        Way("ours: one forward pass, one by one", one_forward, judge._model, speaks=speaks),
        Way("ours, batched", judge.judge, judge._model, speaks=speaks),
        Way(generation, generated, judge._model, speaks=speaks),
    ]
    parameters = sum(weights.numel() for weights in judge._model.parameters())
    what = "**random weights**: only times mean something" if random_weights else "its own weights"
    part = Part(
        title=(
            f"Guard: {judge.name}, {parameters / 10**6:.0f} million parameters, "
            f"{str(dtype).removeprefix('torch.')}, {device.type}"
        ),
        notes=[what, f"{len(exchanges)} answers, evenly from: {', '.join(sources)}"],
        lengths=spread_of(tokens),
    )
    with judge._threads():
        part.rows = measure(ways, exchanges, tokens, arguments.repeats, device)
    times = next(row for row in part.rows if row.name == generation).against.median
    part.hope("one forward pass at least 5 times as fast as generation", times, times >= 5)
    return part


def machine() -> dict[str, str | float | None]:
    """Say what the numbers were measured on."""
    cuda = torch.cuda.is_available()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "load": load,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def write(path: Path, result: dict[str, Any]) -> None:
    """Write JSON; the file is whole or not there.

    Raises:
        GVSError: When it cannot be written.
    """
    partial_path = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        partial_path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        os.replace(partial_path, path)
    except OSError as error:
        raise GVSError(f"{path} cannot be written: {error}") from error
    finally:
        partial_path.unlink(missing_ok=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", default="gvs-small", help="a text classifier, as in gvs_judge")
    parser.add_argument("--n", type=_positive, default=1000, help="answers for the classifier")
    parser.add_argument("--data", type=Path, help="a folder of labelled answers: train/*.jsonl")
    parser.add_argument("--uniform", type=_positive, help="make every input so many tokens long")
    parser.add_argument("--batch-tokens", type=_positive, help="as in gvs_judge_batch_tokens")
    parser.add_argument("--guard", help="a guard's folder or Hub id; default: random weights")
    parser.add_argument("--guard-template", help="the guard's family, as in gvs_judge_template")
    parser.add_argument(
        "--guard-size", choices=SIZES, default="small", help="of the one with random weights"
    )
    parser.add_argument("--guard-n", type=_positive, default=16, help="answers for the guard")
    parser.add_argument("--repeats", type=_positive, default=3, help="how often each way is timed")
    parser.add_argument("--device", help="as in gvs_judge_device")
    parser.add_argument(
        "--parts", nargs="+", choices=("classifier", "guard"), default=["classifier", "guard"]
    )
    parser.add_argument("-o", "--output", type=Path, help="JSON of all numbers")
    arguments = parser.parse_args(argv)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    result: dict[str, Any] = {"machine": machine()}
    print(", ".join(f"{name} {value}" for name, value in result["machine"].items() if value))
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in dict.fromkeys(arguments.parts):
                guard = name == "guard"
                part = on_guard(arguments, Path(folder)) if guard else on_classifier(arguments)
                result[name] = asdict(part)
                print("\n".join(part.lines()), flush=True)
        if arguments.output:
            write(arguments.output, result)
    except GVSError as error:
        sys.exit(f"bench_judge: {error}")


if __name__ == "__main__":
    main()
