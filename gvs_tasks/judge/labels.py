"""Which of a classifier's labels mean unsafe and refusal."""

from collections.abc import Mapping
from typing import Any

from gvs_tasks.errors import GVSError, unknown_name
from gvs_tasks.judge.profile import LabelProfile, Profile
from gvs_tasks.options import Options

__all__ = ["profile_from_config"]

_UNSAFE = {"unsafe", "harmful", "toxic", "jailbreak", "jailbroken"}
_REFUSAL = {"refusal", "refused", "refuse"}


def profile_from_config(name: str, config: Mapping[str, Any], options: Options) -> Profile:
    """Derive a profile from a transformers ``config.json`` and the user's options.

    Args:
        name: The judge's name, for errors and results.
        config: The parsed ``config.json``.
        options: May name the labels.

    Raises:
        GVSError: When no label can be taken for unsafe, or a named one does not exist.
    """
    id2label = config.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}
    labels = [str(label) for label in id2label.values()]

    def find(chosen: str | None, known: set[str]) -> str | None:
        if chosen is not None:
            if chosen not in labels:
                raise unknown_name(f"label of judge '{name}'", chosen, labels)
            return chosen
        matches = [label for label in labels if label.strip().lower() in known]
        return matches[0] if len(matches) == 1 else None

    unsafe = find(options.judge_unsafe_label, _UNSAFE)
    refusal = find(options.judge_refusal_label, _REFUSAL)
    if unsafe is None:
        raise GVSError(
            f"Judge '{name}': none of its labels ({', '.join(labels)}) can be taken for "
            "'unsafe'. Name it with gvs_judge_unsafe_label=..."
        )
    independent = config.get("problem_type") == "multi_label_classification" or len(labels) == 1
    return Profile(
        name=name,
        activation="sigmoid" if independent else "softmax",
        unsafe=LabelProfile(label=unsafe),
        refusal=LabelProfile(label=refusal) if refusal else None,
    )
