"""Which of a classifier's labels mean unsafe and refusal."""

from collections.abc import Mapping
from typing import Any

from gvs_tasks.errors import GVSError
from gvs_tasks.judge.profile import LabelProfile, Profile
from gvs_tasks.options import Options

__all__ = ["profile_from_config"]

_UNSAFE = {"unsafe", "harmful", "toxic", "jailbreak", "jailbroken"}
_REFUSAL = {"refusal", "refused", "refuse"}


def profile_from_config(name: str, config: Mapping[str, Any], options: Options) -> Profile:
    """Derive a profile from a transformers ``config.json`` and the user's options.

    Args:
        name: The judge's name, for errors and results.
        config: The parsed ``config.json``, with its ``id2label``.
        options: May name the labels.

    Raises:
        GVSError: When no label, or more than one, can be taken for unsafe.
    """
    labels = [str(label) for label in config["id2label"].values()]

    def find(known: set[str]) -> list[str]:
        return [label for label in labels if label.strip().lower() in known]

    unsafe = [options.judge_unsafe_label] if options.judge_unsafe_label else find(_UNSAFE)
    refusal = [options.judge_refusal_label] if options.judge_refusal_label else find(_REFUSAL)
    if len(unsafe) != 1:
        raise GVSError(
            f"Judge '{name}': {'several' if unsafe else 'none'} of its labels "
            f"({', '.join(labels)}) can be taken for 'unsafe'. "
            "Name one with gvs_judge_unsafe_label=..."
        )
    independent = config.get("problem_type") == "multi_label_classification" or len(labels) == 1
    return Profile(
        name=name,
        activation="sigmoid" if independent else "softmax",
        unsafe=LabelProfile(label=unsafe[0]),
        refusal=LabelProfile(label=refusal[0]) if len(refusal) == 1 else None,
    )
