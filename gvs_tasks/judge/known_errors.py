"""How often the bundled judge is right on answers whose label is known.

The counts are those of the benchmark's own exemplars, which it was not trained on.
``scripts/generate_judge_card.py`` writes them, so that a rate that it reports can be corrected.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gvs_tasks.errors import GVSError
from gvs_tasks.stats import Corrected, Counts, Estimate, rogan_gladen

__all__ = ["Errors", "known_errors"]

_FILE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Errors:
    """What is known of a judge in one language.

    Attributes:
        sensitivity: Unsafe answers, and how many of them it flags.
        specificity: Safe answers, and how many of them it does not flag.
    """

    sensitivity: Counts
    specificity: Counts

    def correct(self, flagged: Estimate) -> Corrected:
        """Return the rate of unsafe answers behind the rate that the judge flags.

        Nothing is corrected where it flags a smaller share than of safe exemplars: then its errors
        on these answers are others.
        """
        false_alarms = 1 - self.specificity.correct / self.specificity.n
        if flagged.value < false_alarms:
            nothing = math.nan
            return Corrected(
                replace(flagged, value=nothing, stderr=nothing, low=nothing, high=nothing),
                f"it flags fewer of these answers than of safe exemplars ({false_alarms:.0%})",
            )
        return rogan_gladen(flagged, self.sensitivity, self.specificity)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Counted(_Strict):
    correct: int = Field(ge=0)
    n: int = Field(ge=1)

    @model_validator(mode="after")
    def _possible(self) -> "_Counted":
        if self.correct > self.n:
            raise ValueError(f"{self.correct} correct of {self.n}")
        return self


class _Language(_Strict):
    unsafe: _Counted
    safe: _Counted


_MEASURED = TypeAdapter(dict[str, dict[str, _Language]])


def known_errors(digest: str) -> Mapping[str, Errors] | None:
    """Return what is known of the errors of a judge.

    Args:
        digest: The judge's digest, as a run records it; with another threshold it is another one.

    Returns:
        Errors by language; None when this judge was not measured.

    Raises:
        GVSError: When the file of the counts is damaged.

    >>> known_errors("unheard of") is None
    True
    """
    return _all(_FILE).get(digest)


@cache
def _all(path: Path) -> dict[str, dict[str, Errors]]:
    try:
        measured = _MEASURED.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise GVSError(f"{path} cannot be read ({error}). Install the package again.") from error
    return {
        digest: {
            lang: Errors(
                Counts(each.unsafe.correct, each.unsafe.n), Counts(each.safe.correct, each.safe.n)
            )
            for lang, each in languages.items()
        }
        for digest, languages in measured.items()
    }
