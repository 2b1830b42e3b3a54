"""The ``gvs`` command. Heavy imports stay inside the commands, so that the help is quick."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gvs_tasks import __version__, tasks_path
from gvs_tasks.cli_incidents import incidents_app
from gvs_tasks.cli_results import check_runs, printable, results_app
from gvs_tasks.errors import GVSError

__all__ = ["app", "main"]

app = typer.Typer(
    name="gvs",
    help="GVS-Bench: how safely does a language model handle human values?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich alone doubles the time of the help
    pretty_exceptions_enable=False,
)
app.add_typer(incidents_app, name="incidents")
app.add_typer(results_app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gvs-bench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """GVS-Bench: how safely does a language model handle human values?"""


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def run(context: typer.Context) -> None:
    """Run lm_eval with the tasks of this package; takes every flag of `lm_eval run`.

    gvs run --model hf --model_args pretrained=ORG/MODEL --tasks gvs --output_path results
    """
    from gvs_tasks.harness import run as run_harness

    run_harness(context.args or ["--help"])


@app.command()
def path() -> None:
    """Print the folder of the tasks, for lm_eval's --include_path."""
    typer.echo(tasks_path())


@app.command()
def link(
    undo: Annotated[bool, typer.Option("--undo", help="Remove the link again.")] = False,
) -> None:
    """Make the bare `lm_eval --tasks gvs` work in this environment."""
    from gvs_tasks import harness

    if undo:
        removed = harness.unlink()
        typer.echo(f"Removed {removed}" if removed else "There is no link to remove.")
    else:
        typer.echo(f"Linked in {harness.link()}; try: lm_eval ls groups | grep gvs")


@app.command()
def judges() -> None:
    """List the judges that can be named, and say how to use others."""
    from gvs_tasks.judge import BUNDLED
    from gvs_tasks.judge.families import families

    typer.echo("Bundled:")
    for name, description in BUNDLED.items():
        typer.echo(f"  {name}: {description}")
    typer.echo("\nGuards from the Hub, by template (gvs_judge=MODEL):")
    for name, each in families().items():
        gated = ", gated" if each.gated else ""
        typer.echo(f"  {name}: {each.about} ({', '.join(each.languages)}; {each.licence}{gated})")
        for model, revision in each.models.items():
            typer.echo(f"    {model}@{revision[:12] if revision else 'newest'}")
    typer.echo(
        "\nA guard in a folder:   gvs_judge=FOLDER gvs_judge_template=TEMPLATE\n"
        "Any instruct model:    gvs_judge=ORG/NAME gvs_judge_template=rubric\n"
        "Any text classifier:   gvs_judge=ORG/NAME gvs_judge_unsafe_label=LABEL\n"
        "Several in one run:    gvs_judge=gvs-small+ORG/NAME"
    )


def _chosen(judge: str | None, no_cache: bool) -> dict[str, str]:
    """Return the options of a run that flags stand for."""
    return ({"gvs_judge": judge} if judge else {}) | ({"gvs_cache": "off"} if no_cache else {})


class Engine(StrEnum):
    """What `gvs judge` runs on."""

    local = "local"
    ray = "ray"


@app.command()
def judge(
    sources: Annotated[
        list[Path], typer.Argument(metavar="IN.jsonl", help="prompt and response a line")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="A file; for several files a folder."),
    ],
    name: Annotated[
        str | None, typer.Option("--judge", help="Bundled name, folder or Hub id.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="This process, or the workers of Ray.")
    ] = Engine.local,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Ray's workers at most; by default one a GPU, or by cores."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no verdicts.")] = False,
) -> None:
    """Judge files of prompts and answers: each line comes back with its verdict.

    Other options are taken from the environment (GVS_JUDGE_DEVICE, ...). Ray runs on this
    machine, or on the cluster that RAY_ADDRESS names, whose machines must see the same files.
    """
    from gvs_tasks.judge import cached, get_judge
    from gvs_tasks.judge.files import attempt, plan
    from gvs_tasks.judge.ray_engine import judge_with_ray
    from gvs_tasks.options import Options

    if workers and engine is Engine.local:
        raise GVSError("--workers counts the workers of Ray: add --engine ray.")
    options = Options.read(_chosen(name, no_cache))
    if len(options.each_judge()) > 1:
        raise GVSError("gvs judge adds the verdict of one judge. Run it once for each of them.")
    found = get_judge(options)
    jobs = plan(sources, output)
    if engine is Engine.ray:
        outcomes = judge_with_ray(jobs, options, workers)
    else:
        outcomes = (attempt(job, cached(found, options.cache)) for job in jobs)
    failed = []
    for outcome in outcomes:
        if outcome.error is not None:
            failed.append(outcome.error)
            continue
        counts = outcome.counts
        parts = ", ".join(f"{counts[label]} {label}" for label in ("safe", "unsafe", "unjudged"))
        typer.echo(f"{counts.total()} answers: {parts}; written to {outcome.job.target}")
    if failed and len(jobs) > 1:
        failed.insert(0, f"{len(failed)} of {len(jobs)} files could not be judged:")
    if failed:
        raise GVSError("\n".join(failed))


@app.command()
def rejudge(
    samples: Annotated[
        list[Path],
        typer.Argument(metavar="SAMPLES...", help="samples_*.jsonl of lm_eval, or folders of them"),
    ],
    name: Annotated[
        str | None, typer.Option("--judge", help="Bundled name, folder or Hub id.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output_path", "-o", metavar="OUT", help="As of lm_eval; default: none."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no verdicts.")] = False,
) -> None:
    """Judge saved answers (--log_samples, --predict_only) with another judge.

    Nothing is generated. Every run that is found is judged by itself, and gives results and
    samples in the files that lm_eval writes. Other options are taken from the environment
    (GVS_JUDGE_DEVICE, ...).
    """
    from gvs_tasks.rejudge import rejudge as rejudge_runs

    for judged in rejudge_runs(samples, output, _chosen(name, no_cache)):
        typer.echo(judged.table())
        if judged.path is not None:
            typer.echo(f"Written to {judged.path}")


@app.command()
def check(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Folders of runs of lm_eval.")
    ] = None,
) -> None:
    """Validate taxonomy, content and generated task files; or finished runs.

    Of a run it says whether every item was answered and judged once, whether the scores are
    those of the answers, and what keeps them from being those of the benchmark.
    """
    from gvs_tasks.check import check_all

    for line in check_runs(runs) if runs else check_all():
        typer.echo(printable(line))


def main() -> None:
    """Run the command; an error of ours is printed as it is, without a traceback.

    ``GVS_TRACEBACK=1`` shows the traceback.
    """
    try:
        app()
    except GVSError as error:
        if os.environ.get("GVS_TRACEBACK"):
            raise
        typer.echo(printable(f"gvs: {error}"), err=True)
        sys.exit(2)
