"""Text from a run's files as it may be shown: without secrets, on one line."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

__all__ = ["HIDDEN", "arguments", "one_line", "redacted"]

#: What stands in the place of a secret.
HIDDEN = "(hidden)"
#: Model arguments that tell how a model was run and no secret; the values of others are hidden.
_TELLING = {
    *("pretrained", "model", "revision", "subfolder", "tokenizer", "tokenizer_revision"),
    *("tokenizer_mode", "peft", "delta", "gguf_file", "dtype", "backend", "base_url"),
    *("engine", "parallelize", "device", "device_map", "max_memory_per_gpu", "max_length"),
    *("max_model_len", "max_gen_toks", "max_tokens", "truncation", "max_batch_size"),
    *("batch_size", "tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size"),
    *("gpu_memory_utilization", "swap_space", "quantization", "load_in_8bit"),
    *("load_in_4bit", "autogptq", "gptqmodel", "trust_remote_code", "attn_implementation"),
    *("use_fast_tokenizer", "add_bos_token", "prefix_token_id", "seed", "temperature"),
    *("top_p", "top_k", "num_concurrent", "max_retries", "timeout", "tokenized_requests"),
    *("tokenizer_backend", "think_start_token", "think_end_token", "enable_thinking"),
    *("reasoning_effort", "chat_template_args", "softmax_dtype", "mixed_precision_dtype"),
    *("low_cpu_mem_usage", "logits_cache", "eos_string"),
}
_SECRET_NAME = re.compile(
    r"(?<!eos_)(?<!bos_)(?<!pad_)(?<!think_end_)(?<!think_start_)token(?!izer|ized|s\b|_id)|secret"
    r"|passw|passphrase|^pass$|^pwd$|credential|auth(?!or)|cookie|session|bearer|jwt|signature|_sas$"
    r"|key$|keys$|headers?$",
    re.IGNORECASE,
)
#: Secrets by their form, wherever they stand.
_SECRET_VALUE = re.compile(
    r"\b(?:hf|gh[pousr]|github_pat|pk|rk)_[A-Za-z0-9_]{12,}|\bsk-[\w-]{12,}"
    r"|\b(?:glpat|xox[abp])-[\w-]{8,}"
    r"|\bAKIA[A-Z0-9]{12,}|\bAIza[\w-]{20,}|\beyJ[\w-]{10,}\.[\w-]+\.[\w-]*"
    r"|(?i:\b(?:bearer|basic)\s+)[\w.~+/=-]{6,}"
    r"|(?<=://)\S+@"
    r"|(?i:[\w-]*(?:api[-_]?key|[-_]key|(?<=[?&])key|token|secret|passw(?:or)?d|pwd|signature|auth)"
    r"\b)[\"']?\s*[=:]\s*"
    r"[\"']?[^\s\"'&,;}]+"
)


def redacted(name: str, value: Any) -> Any:
    """Return a setting without its secrets: those named like one, and those that look like one.

    >>> redacted("token", "abc"), redacted("", "http://me:pw@host/v1?api_key=x")
    ('(hidden)', 'http://(hidden)host/v1?(hidden)')
    >>> redacted("max_gen_toks", 96), redacted("pretrained", "org/model")
    (96, 'org/model')
    """
    # `token=True` asks for the user's own token and tells nothing.
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {redacted("", str(key)): redacted(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted("", each) for each in value]
    return _SECRET_VALUE.sub(HIDDEN, value) if isinstance(value, str) else value


def arguments(given: Any) -> dict[str, Any]:
    """Return model arguments of which only those known to tell no secret keep their values.

    Args:
        given: As lm_eval writes them: a mapping, or one text in older versions.

    >>> arguments("pretrained=org/model,dtype=float32,header={'Authorization': 'x'}")
    {'pretrained': 'org/model', 'dtype': 'float32', 'header': '(hidden)'}
    >>> arguments({"base_url": "https://me:pw@host:8000/v1?key=x#y", "extra": {"a": 1}})
    {'base_url': 'https://host:8000/v1', 'extra': '(hidden)'}
    """
    if isinstance(given, str):
        # A value with a comma is cut; what is left of it is no name, and is left out.
        pairs = (part.partition("=") for part in given.split(",") if "=" in part)
        given = {name: value for name, _, value in pairs if re.fullmatch(r"[A-Za-z_]\w*", name)}
    if not isinstance(given, Mapping):
        return {}
    shown: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, bool) or value is None:
            shown[str(name)] = value
        elif name == "base_url":
            shown[str(name)] = _address(str(value))
        else:
            shown[str(name)] = redacted("", value) if name in _TELLING else HIDDEN
    return shown


def _address(url: str) -> str:
    """Return an address without user, query and fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return HIDDEN
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}" if parts.scheme else HIDDEN


def one_line(text: str) -> str:
    r"""Return text that stays on its line and in its direction, on terminals and pages.

    >>> one_line("a\n\x1b[31mb\u202e")
    'a [31mb'
    """
    shown = "".join(each if each.isprintable() else " " for each in text)
    return " ".join(shown.split())
