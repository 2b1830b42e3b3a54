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
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's content, not that of an installed package
# Read when tqdm is imported. A bar for each answer would be most of the output, and cost time.
os.environ.setdefault("TQDM_DISABLE", "1")

import torch  # noqa: E402
import transformers  # noqa: E402
from _bench_answers import bundled, choose, labelled, lengths, spread_of, uniform  # noqa: E402
from _bench_classifier import FIXED, fixed_batches, one_by_one  # noqa: E402
from _bench_guard import SIZES, build_random_guard, generate_and_parse  # noqa: E402
from _bench_measure import Row, Spread, Timed, Way, measure  # noqa: E402

from gvs_tasks.errors import GVSError  # noqa: E402
from gvs_tasks.judge import Exchange, Verdict, get_judge  # noqa: E402
from gvs_tasks.judge.guard import GuardJudge  # noqa: E402
from gvs_tasks.judge.sequence_classifier import SequenceClassifierJudge  # noqa: E402
from gvs_tasks.options import Options  # noqa: E402

#: On a CPU the slow ways read every so many answers.
PADDED_EVERY, BFLOAT16_EVERY = 4, 32


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


# A text classifier


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
