"""How far judges agree: raw, Cohen's kappa and Krippendorff's alpha on their labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score

from gvs_tasks.judge.types import Verdict

__all__ = ["Agreement", "agreements"]

NAN = float("nan")


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree whether answers are unsafe, over the answers that both judged.

    Attributes:
        judges: Their names.
        n: Answers that both judged.
        raw: Share of equal labels; NaN for no answers.
        kappa: Cohen's kappa: (raw - expected) / (1 - expected), where `expected` is the agreement
            of two judges that label at random, each as often as it does. NaN where both give one
            label only, and nothing can be said.
        alpha: Krippendorff's alpha for nominal labels, 1 - observed / expected disagreement, over
            the pooled labels. NaN likewise.
    """

    judges: tuple[str, str]
    n: int
    raw: float
    kappa: float
    alpha: float

    @property
    def record(self) -> dict[str, Any]:
        """The same for JSON: null where a number is not defined."""
        numbers = {"raw": self.raw, "kappa": self.kappa, "alpha": self.alpha}
        return {
            "judges": list(self.judges),
            "n": self.n,
            **{name: None if math.isnan(x) else round(x, 6) for name, x in numbers.items()},
        }


def agreements(found: Mapping[str, Sequence[Verdict]]) -> list[Agreement]:
    """Compare every pair of judges.

    Args:
        found: Each judge's verdicts on the same answers, in the same order.
    """
    return [
        _agreement((one, other), found[one], found[other]) for one, other in combinations(found, 2)
    ]


def _agreement(
    names: tuple[str, str], one: Sequence[Verdict], other: Sequence[Verdict]
) -> Agreement:
    pairs = [
        (a.unsafe, b.unsafe)
        for a, b in zip(one, other, strict=True)
        if a.unsafe is not None and b.unsafe is not None
    ]
    if not pairs:
        return Agreement(names, 0, NAN, NAN, NAN)
    labels = np.array(pairs, dtype=int).T
    raw = float((labels[0] == labels[1]).mean())
    if len(np.unique(labels)) == 1:
        return Agreement(names, len(pairs), raw, NAN, NAN)
    return Agreement(
        names,
        len(pairs),
        raw,
        float(cohen_kappa_score(labels[0], labels[1])),
        float(krippendorff.alpha(reliability_data=labels, level_of_measurement="nominal")),
    )
