"""What a run rests on, for people to read: model, settings, versions, digests; never a secret."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gvs_tasks.redaction import arguments, redacted
from gvs_tasks.results import Run

__all__ = ["manifest"]


def manifest(run: Run) -> dict[str, list[str]]:
    """Return what a run rests on: the values of each setting, more than one where files differ."""
    found: dict[str, list[str]] = {}

    def note(name: str, values: Iterable[Any]) -> None:
        given = (value for value in values if value not in (None, "", {}))
        shown = list(dict.fromkeys(_shown(redacted(name, value)) for value in given))
        if shown:
            found[name] = shown

    files = run.files.values()
    configs = [known.get("config") or {} for known in files]
    leaves = run.leaves.values()
    note("model", [run.model])
    note("model type", (config.get("model") for config in configs))
    note("model arguments", (arguments(config.get("model_args")) for config in configs))
    note("model revision", (config.get("model_sha") for config in configs))
    note("parameters", (_count(config.get("model_num_parameters")) for config in configs))
    note("run on", (_day(each.get("date")) for each in files))
    note("chat template", ("yes" if each.get("chat_template") else "no" for each in files))
    note("chat template hash", (each.get("chat_template_sha") for each in files))
    note("system instruction hash", (each.get("system_instruction_sha") for each in files))
    note("generation", (config.get("gen_kwargs") for config in configs))
    note("limit", (config.get("limit") for config in configs))
    note("answers", [sum(len(next(iter(leaf.answers.values()))) for leaf in leaves)])
    note("tasks", [f"{len(run.leaves)} leaves: {', '.join(run.tracks)}"])
    note("task versions", sorted({leaf.version for leaf in leaves}))
    note("judge", (_judge(run.record(judge)) for judge in run.judges))
    note(
        "dataset",
        sorted(
            f"{leaf.record.dataset.config}: {leaf.record.dataset.source}, "
            f"digest {leaf.record.dataset.digest or 'unknown'}"
            + (f", revision {leaf.record.dataset.revision}" if leaf.record.dataset.revision else "")
            for leaf in leaves
        ),
    )
    note("gvs-bench", sorted({leaf.record.gvs_tasks for leaf in leaves}))
    note("lm_eval", (each.get("lm_eval_version") for each in files))
    note("transformers", (each.get("transformers_version") for each in files))
    note("device", (config.get("device") for config in configs))
    note("batch size", (config.get("batch_size") for config in configs))
    seeds = ("random", "numpy", "torch")
    note(
        "seeds",
        (
            {each: config[f"{each}_seed"] for each in seeds if f"{each}_seed" in config}
            for config in configs
        ),
    )
    note("rejudged from", ((each.get("rejudged_from") or {}).get("results") for each in files))
    note("results", (path.name for path in run.files))
    return found


def _count(number: Any) -> str | None:
    return f"{number:,}" if isinstance(number, int) else None


def _day(seconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _judge(record: Mapping[str, Any]) -> str:
    parts = [str(record["name"])]
    known = ("revision", "digest", "dtype")
    parts += [f"{name} {record[name]}" for name in known if record.get(name)]
    return ", ".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_shown(each)}" for key, each in value.items() if each is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
