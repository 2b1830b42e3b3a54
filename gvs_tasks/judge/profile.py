"""``judge.json``: what a model folder of ours says about itself beside its weights."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from gvs_tasks.errors import GVSError
from gvs_tasks.schema import validate
from gvs_tasks.taxonomy import StrictModel

__all__ = ["ANY_LABEL", "LabelProfile", "Profile", "read_profile"]

#: In the place of a label: the most probable of all.
ANY_LABEL = "*"
Probability = Annotated[float, Field(gt=0, lt=1)]


class LabelProfile(StrictModel):
    """One label of the classifier and how its logit becomes a decision.

    Attributes:
        label: The model's own name for it, or "*" for the most probable of all labels.
        temperature: The logit is divided by it before the activation.
        threshold: Probability from which the label holds, by language; "default" is required.
    """

    label: str
    temperature: float = Field(default=1.0, gt=0)
    threshold: dict[str, Probability] = Field(default={"default": 0.5})

    @field_validator("threshold")
    @classmethod
    def _has_default(cls, threshold: dict[str, float]) -> dict[str, float]:
        if "default" not in threshold:
            raise ValueError("needs an entry 'default'")
        return threshold

    def threshold_for(self, lang: str | None) -> float:
        """Return the threshold of a language."""
        return self.threshold.get(lang or "default", self.threshold["default"])


class Profile(StrictModel):
    """How a sequence classifier is read.

    Attributes:
        max_length: Tokens of one input; None takes what the model allows.
        max_prompt_tokens: Tokens of the prompt at most; beyond it the middle is left out.
        max_focus_tokens: Tokens of the expected behaviour and the evaluation focus, which stand
            before the prompt; None for models that were trained without.
        window_overlap: Tokens that neighbouring windows of a long answer share.
        separator: Stands before the answer, for models trained on both texts as one.
        activation: "sigmoid" for independent labels, "softmax" for exclusive ones.
        unsafe: The label that means unsafe.
        refusal: The label that means refusal, when the model has one.
    """

    format: Literal[1] = 1
    name: str
    version: str = ""
    languages: tuple[str, ...] = ()
    licence: str = ""
    base: str = ""
    max_length: int | None = Field(default=None, ge=32)
    max_prompt_tokens: int | None = Field(default=None, ge=8)
    max_focus_tokens: int | None = Field(default=None, ge=8)
    window_overlap: int = Field(default=64, ge=0)
    separator: str = ""
    activation: Literal["sigmoid", "softmax"]
    unsafe: LabelProfile
    refusal: LabelProfile | None = None


def read_profile(folder: Path) -> Profile | None:
    """Read a folder's ``judge.json``; None when it has none.

    Raises:
        GVSError: When the file does not follow the schema.
    """
    path = folder / "judge.json"
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GVSError(f"{path}: cannot be read ({error}).") from error
    return validate(Profile, data, str(path))
