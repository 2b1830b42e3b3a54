"""The ``gvs`` command. Heavy imports stay inside the commands, so that the help is quick."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gvs_tasks import __version__, tasks_path
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
    """List the bundled judges and say how to use others."""
    from gvs_tasks.judge import BUNDLED

    for name, description in BUNDLED.items():
        typer.echo(f"{name}  {description}")
    typer.echo(
        "\nAny text classifier with safetensors weights works too, from a folder or the Hub:\n"
        "  --metadata gvs_judge=ORG/NAME gvs_judge_revision=COMMIT gvs_judge_unsafe_label=LABEL"
    )


@app.command()
def judge(
    source: Annotated[Path, typer.Argument(metavar="IN.jsonl", help="prompt and response a line")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.jsonl")],
    name: Annotated[
        str | None, typer.Option("--judge", help="Bundled name, folder or Hub id.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no verdicts.")] = False,
) -> None:
    """Judge a file of prompts and answers: each line comes back with its verdict.

    Other options are taken from the environment (GVS_JUDGE_DEVICE, ...).
    """
    from gvs_tasks.judge import cached, get_judge
    from gvs_tasks.judge.files import judge_file
    from gvs_tasks.options import Options

    chosen = {"gvs_judge": name} | ({"gvs_cache": "off"} if no_cache else {})
    options = Options.read({key: value for key, value in chosen.items() if value})
    counts = judge_file(source, output, cached(get_judge(options), options.cache))
    found = ", ".join(f"{counts[label]} {label}" for label in ("safe", "unsafe", "unjudged"))
    typer.echo(f"{counts.total()} answers: {found}; written to {output}")


@app.command()
def check() -> None:
    """Validate taxonomy, content and generated task files."""
    from gvs_tasks.check import check_all

    for line in check_all():
        typer.echo(line)


def main() -> None:
    """Run the command; an error of ours is printed as it is, without a traceback.

    ``GVS_TRACEBACK=1`` shows the traceback.
    """
    try:
        app()
    except GVSError as error:
        if os.environ.get("GVS_TRACEBACK"):
            raise
        typer.echo(f"gvs: {error}", err=True)
        sys.exit(2)
