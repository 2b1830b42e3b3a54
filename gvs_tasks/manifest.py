"""What a run rests on, for people to read: model, settings, versions, digests; never a secret."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gvs_tasks.results import Run

__all__ = ["HIDDEN", "manifest", "redacted"]

#: What stands in the place of a secret.
HIDDEN = "(hidden)"
_SECRET_NAME = re.compile(
    r"token(?!izer|s\b|_id)|secret|passw|passphrase|credential|auth|cookie|session|bearer|jwt"
    r"|signature|(^|_|-)(api_?)?keys?$|private_?key|access_?key|headers?$",
    re.IGNORECASE,
)
#: Tokens by their form, wherever they stand, and the user part of an address.
_SECRET_VALUE = re.compile(
    r"\b(?:(?:hf|gh[pousr]|github_pat|pk|rk)_|sk[_-]|glpat-|xox[abp]-)[\w-]{8,}"
    r"|\bAKIA[A-Z0-9]{12,}|\beyJ[\w-]{10,}\.[\w-]+\.[\w-]*|(?i:\bbearer\s+)\S+"
    r"|(?<=://)[^/\s]+@"
    r"|(?<=[?&])(?i:[\w-]*(?:token|key|secret|sig|signature|auth)[\w-]*)=[^&#\s]+"
)


def redacted(name: str, value: Any) -> Any:
    """Return a setting without its secrets: those named like one, and those that look like one.

    >>> redacted("token", "abc"), redacted("base_url", "http://me:pw@host/v1")
    ('(hidden)', 'http://(hidden)host/v1')
    >>> redacted("max_gen_toks", 96), redacted("pretrained", "org/model")
    (96, 'org/model')
    """
    # `token=True` asks for the user's own token and tells nothing.
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: redacted(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted("", each) for each in value]
    return _SECRET_VALUE.sub(HIDDEN, value) if isinstance(value, str) else value


def manifest(run: Run) -> dict[str, list[str]]:
    """Return what a run rests on: the values of each setting, more than one where files differ."""
    found: dict[str, list[str]] = {}

    def note(name: str, values: Iterable[Any]) -> None:
        given = (value for value in values if value not in (None, ""))
        shown = list(dict.fromkeys(_shown(redacted(name, value)) for value in given))
        if shown:
            found[name] = shown

    files = run.files.values()
    configs = [known.get("config") or {} for known in files]
    leaves = run.leaves.values()
    note("model", [run.model])
    note("model type", (config.get("model") for config in configs))
    note("model arguments", (_arguments(config.get("model_args")) for config in configs))
    note("model revision", (config.get("model_sha") for config in configs))
    note("parameters", (config.get("model_num_parameters") for config in configs))
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
    note("seeds", ({each: config.get(f"{each}_seed") for each in seeds} for config in configs))
    note("rejudged from", ((each.get("rejudged_from") or {}).get("results") for each in files))
    note("results", (path.name for path in run.files))
    return found


def _arguments(given: Any) -> Any:
    """Return model arguments as names and values; older versions of lm_eval wrote one text."""
    if not isinstance(given, str):
        return given
    pairs = (part.partition("=") for part in given.split(",") if part)
    return {name: value for name, _, value in pairs}


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
