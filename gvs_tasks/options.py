"""The user's choices, from ``--metadata gvs_...=...`` or ``GVS_...`` environment variables."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gvs_tasks.errors import GVSError, unknown_name

__all__ = ["Options"]

PREFIX = "gvs_"
#: Written into the metadata by the tasks themselves; never a choice of the user.
RUN_RECORD = "gvs_run"
#: What belongs to one model, and is given for each of several judges.
PER_JUDGE = (
    "judge_revision",
    "judge_template",
    "judge_device",
    "judge_unsafe_label",
    "judge_refusal_label",
)
#: Read by the command line, not by a run.
_OTHER_VARIABLES = {"GVS_TRACEBACK"}


class Options(BaseModel):
    """What a user may choose for a run. Hashable, so that judges and datasets load once.

    Attributes:
        dataset: Dataset folder or Hub id; None reads the bundled content.
        dataset_revision: Branch, tag or commit of a Hub dataset.
        judge: Bundled name, model folder or Hub id; several joined by "+".
        judge_revision: Branch, tag or commit of a Hub judge.
        judge_device: Torch device ("cpu", "cuda:1"); None takes a GPU when there is one.
        judge_dtype: "float32", "bfloat16" or "float16"; None chooses by device.
        judge_template: How a language model is asked and read: a family of guards, "rubric" or
            "rubric-compat"; None for listed models and for text classifiers.
        judge_controversial_as: What a guard's middle label counts as: "unsafe", "safe", or
            "exclude" for unjudged.
        judge_unsafe_label: The judge's label that means unsafe, when its name does not say so.
        judge_refusal_label: The judge's label that means refusal, likewise.
        judge_threshold: P(unsafe) from which an answer counts as unsafe, in (0, 1).
        judge_batch_tokens: Tokens in one batch, padding included; None takes what fits.
        judge_threads: CPU threads of the judge; None takes the cores of this process.
        judge_compile: Compile the judge with torch.compile: pays off in long runs on a GPU.
        cache: "on" keeps verdicts in the user's cache folder, "off" keeps none, anything else is
            the file to keep them in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str | None = None
    dataset_revision: str | None = None
    judge: str = "gvs-small"
    judge_revision: str | None = None
    judge_device: str | None = None
    judge_dtype: str | None = Field(default=None, pattern="^(float32|bfloat16|float16)$")
    judge_template: str | None = None
    judge_controversial_as: Literal["unsafe", "safe", "exclude"] = "unsafe"
    judge_unsafe_label: str | None = None
    judge_refusal_label: str | None = None
    judge_threshold: float | None = Field(default=None, gt=0, lt=1)
    judge_batch_tokens: int | None = Field(default=None, ge=512)
    judge_threads: int | None = Field(default=None, ge=1)
    judge_compile: bool = False
    cache: str = "on"

    @field_validator("cache", mode="before")
    @classmethod
    def _switch(cls, value: object) -> object:
        """Take other words for on and off, which are no names of files."""
        word = str(value).lower()
        if word in ("on", "true", "yes", "1"):
            return "on"
        return "off" if word in ("off", "false", "no", "0", "none") else value

    def each_judge(self) -> tuple[Self, ...]:
        """Return the options of each judge, where several are joined by "+".

        What belongs to one model is given once for all judges, or for each, joined by "+" too
        and empty where a judge needs none.

        Raises:
            GVSError: When there are not as many values as judges, or a name is empty.

        >>> both = Options(judge="gvs-small+models/chat", judge_template="+rubric").each_judge()
        >>> [(each.judge, each.judge_template) for each in both]
        [('gvs-small', None), ('models/chat', 'rubric')]
        """
        names = self.judge.split("+")
        if len(names) == 1 or Path(self.judge).exists():
            return (self,)
        if not all(names):
            raise GVSError(f"{PREFIX}judge '{self.judge}' lacks a name beside a '+'.")
        updates: list[dict[str, str | None]] = [{"judge": name} for name in names]
        for field in PER_JUDGE:
            values = (getattr(self, field) or "").split("+")
            if len(values) == 1:
                continue
            if len(values) != len(names):
                raise GVSError(
                    f"{PREFIX}{field} has {len(values)} values for {len(names)} judges. Give one "
                    "for all, or one each joined by '+'."
                )
            for update, value in zip(updates, values, strict=True):
                update[field] = value or None
        return tuple(self.model_copy(update=update) for update in updates)

    @classmethod
    def read(
        cls, metadata: Mapping[str, Any] | None, environ: Mapping[str, str] = os.environ
    ) -> Self:
        """Collect the choices; metadata wins over the environment.

        Only keys with the ``gvs_`` prefix are looked at: lm_eval's metadata also holds every
        model argument.

        Raises:
            GVSError: For an unknown ``gvs_`` key or a value out of range.

        >>> Options.read({"gvs_judge": "org/guard", "revision": "x"}, {"GVS_DATASET": "data"})
        ... # doctest: +ELLIPSIS
        Options(dataset='data', ..., judge='org/guard', ...)
        """
        variables = {
            key.lower(): value
            for key, value in environ.items()
            if key.startswith(PREFIX.upper()) and key not in _OTHER_VARIABLES
        }
        given = {
            key: value
            for key, value in (metadata or {}).items()
            if key.startswith(PREFIX) and key != RUN_RECORD
        }
        known = [PREFIX + name for name in cls.model_fields]
        chosen: dict[str, Any] = {}
        for key, value in (variables | given).items():
            if key not in known:
                raise unknown_name("option", key, known)
            if value not in ("", None):
                chosen[key.removeprefix(PREFIX)] = value
        try:
            return cls.model_validate(chosen)
        except ValidationError as error:
            faults = "; ".join(f"{PREFIX}{e['loc'][0]}: {e['msg']}" for e in error.errors())
            hint = ""
            if any(e["type"] == "string_type" for e in error.errors()):
                hint = (
                    " lm_eval reads what looks like a number as one: set the environment variable "
                    "of that name instead (GVS_...)."
                )
            raise GVSError(f"Option not usable: {faults}.{hint}") from error
