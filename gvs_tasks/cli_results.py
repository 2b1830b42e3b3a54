"""The commands on finished runs: `gvs report`, `compare`, `card`, and what `gvs check` prints.

Heavy imports stay inside the commands, so that the help is quick.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gvs_tasks.errors import GVSError

if TYPE_CHECKING:
    from rich.table import Table

    from gvs_tasks.compare import Contrast
    from gvs_tasks.scores import Cut
    from gvs_tasks.stats import Estimate

__all__ = ["check_runs", "printable", "results_app"]

results_app = typer.Typer(rich_markup_mode=None)

#: A table does not get narrower than this, nor text wider than reads well.
_NARROWEST, _WIDEST = 80, 100

Anyway = Annotated[
    bool, typer.Option("--anyway", help="Do it whatever stands against it, and say so.")
]
OfJudge = Annotated[
    str | None,
    typer.Option("--judge", help="Judge; by default the first that all runs have."),
]


class MetricName(StrEnum):
    """What two runs are compared in."""

    gvs_score = "gvs_score"
    safe_rate = "safe_rate"
    refusal_rate = "refusal_rate"
    over_refusal = "over_refusal"
    upstream = "upstream"
    acc = "acc"


def printable(text: str) -> str:
    """Return text from files as a terminal may show it: lines are kept, control codes are not."""
    return "".join(each if each.isprintable() or each == "\n" else " " for each in text)


def check_runs(sources: Iterable[Path]) -> Iterator[str]:
    """Check every run below some folders, and yield a line for each check of it.

    Raises:
        GVSError: When a run has faults, after all lines; it names them.
    """
    from gvs_tasks.integrity import CHECKS, Weight, examine, faults
    from gvs_tasks.results import read

    wrong = []
    for run in (run for source in sources for run in read(source)):
        yield f"{run.model} ({run.folder})"
        findings = examine(run)
        for name in CHECKS:
            counts = Counter(found.weight for found in findings if found.check == name)
            shown = [f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in sorted(counts.items())]
            yield f"  {name}: {', '.join(shown) or 'ok'}"
        yield from (
            f"  {each.weight}: {each.text}" for each in findings if each.weight is not Weight.fault
        )
        wrong += [f"{run.folder}: {text}" for text in faults(findings)]
    if wrong:
        raise GVSError("\n".join(wrong))


@results_app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run of lm_eval.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Folder of another.")],
    judge: OfJudge = None,
    metric: Annotated[MetricName, typer.Option(help="What to compare.")] = MetricName.gvs_score,
    anyway: Anyway = False,
) -> None:
    """Compare two runs item by item, and say which differences are beyond noise."""
    from rich.console import Console
    from rich.text import Text

    from gvs_tasks.compare import contrast
    from gvs_tasks.results import read_one

    found = contrast(read_one(a), read_one(b), metric.value, judge, anyway)
    console = Console(highlight=False)
    console.width = min(max(console.width, _NARROWEST), _WIDEST)
    for letter, side in (("A", found.a), ("B", found.b)):
        console.print(Text(printable(f"{letter}: {side.label} ({side.run.folder})")))
    console.print(Text(f"{metric.value}: {found.metric.label}\n"))
    console.print(_table(found))
    for line in _explained(found):
        console.print(Text(printable(line)))


def _table(found: "Contrast") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="")
    table.add_column("", overflow="fold")
    for name in ("A", "B", "A - B [95% interval]", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("beyond noise", no_wrap=True)
    digits = 2 if found.metric.highest > 1 else 3
    for each in found.differences:
        result = each.result
        table.add_row(
            Text(_part(each.cut)),
            _number(result.a, digits),
            _number(result.b, digits),
            Text(_with_interval(result.difference, digits)),
            _p_value(each.p_adjusted),
            found.better(each),
        )
    return table


def _part(cut: "Cut") -> str:
    """Name a part by its slug, as tasks do: names would take two lines each."""
    return f"  {cut.category}" if cut.category else cut.layer or cut.label


def _with_interval(found: "Estimate", digits: int) -> str:
    if math.isnan(found.value):
        return "-"
    if math.isnan(found.low):
        return f"{found.value:+.{digits}f} [too few items]"
    return f"{found.value:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _p_value(p: float) -> str:
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _explained(found: "Contrast") -> Iterator[str]:
    from gvs_tasks.scores import ALPHA

    overall, a = found.overall, found.a
    judge = f"judge {a.judge}, digest {a.digest}" if a.judge else "no judge: likelihoods"
    if a.digest != found.b.digest:
        judge = f"A by {judge}; B by judge {found.b.judge}, digest {found.b.digest}"
    yield ""
    yield (
        f"{overall.items} answers to {overall.result.difference.clusters} independent items, the "
        f"same in both; {judge}."
    )
    end = {True: "Higher is better.", False: "Lower is better.", None: "Neither end is better."}
    yield (
        f"{end[found.metric.higher_is_better]} Beyond noise: if A and B were alike, a difference "
        "as large in any part of its kind (languages, layers, categories) would come by chance "
        f"less than once in {1 / ALPHA:.0f} times (p below {ALPHA}: sign-flip test over items, "
        "adjusted by Holm). 'no' is not a proof that they are alike."
    )
    digits = 2 if found.metric.highest > 1 else 3
    if not found.detectable > 0:  # nor NaN
        yield (
            "How small a difference would have been found cannot be said: too few items, or none "
            "on which they differ."
        )
    else:
        yield (
            f"The smallest overall difference that a comparison like this would likely find (4 "
            f"times of 5) is {found.detectable:.{digits}f}."
        )
    bootstrap = overall.result.bootstrap
    if not math.isnan(bootstrap.low):
        yield (
            f"A bootstrap over items puts the overall difference between "
            f"{bootstrap.low:+.{digits}f} and {bootstrap.high:+.{digits}f}."
        )
    yield from found.remarks
    if found.objections:
        yield "\nCompared although (--anyway), so the table proves nothing:"
        yield from (f"- {each}" for each in found.objections)


@results_app.command()
def card(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of lm_eval.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Write files for the Hub, too."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model.")] = None,
    judge: OfJudge = None,
    anyway: Anyway = False,
) -> None:
    """Print a section for a model card; -o writes it, with the results in the Hub's own forms.

    The files are FOLDER/gvs.md, FOLDER/.eval_results/gvs.yaml for the model's repository, and
    FOLDER/model-index.yaml for the front matter of its README.
    """
    from gvs_tasks.model_card import model_card
    from gvs_tasks.results import read_one

    made = model_card(read_one(source), judge, name, anyway)
    typer.echo(made.section, nl=False)
    if output is not None:
        for path in made.write(output):
            typer.echo(f"Written to {path}", err=True)


@results_app.command()
def report(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs of lm_eval.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The HTML file to write.")
    ] = Path("report.html"),
    judge: OfJudge = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON lines of what people say: id, lang, unsafe."),
    ] = None,
) -> None:
    """Write one HTML file about one run or several, which opens anywhere and needs no network."""
    from gvs_tasks.human import read_labels
    from gvs_tasks.report import build, write_report
    from gvs_tasks.results import labelled, read

    said = read_labels(labels) if labels else []
    runs = labelled(run for source in sources for run in read(source))
    write_report(build(runs, judge, said), output)
    typer.echo(f"Written to {output}: {len(runs)} run{'s' if len(runs) > 1 else ''}.")
