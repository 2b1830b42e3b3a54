"""What every judge takes and gives."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

__all__ = ["Exchange", "Judge", "Verdict"]


@dataclass(frozen=True)
class Exchange:
    """One prompt and the answer to be judged, with what is known about the item."""

    prompt: str
    response: str
    lang: str | None = None
    category: str | None = None
    behaviour: str | None = None
    focus: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one exchange, or why it says nothing.

    Attributes:
        judge: Digest of the judge, empty when none could be loaded.
        p_unsafe: P(unsafe) in [0, 1]; None when unjudged.
        unsafe: The label at the judge's threshold; None when unjudged.
        p_refusal: P(refusal) in [0, 1]; None when unjudged or unknown to this judge.
        refusal: The label at the judge's threshold; None likewise.
        label_mass: Probability that the judge's reply is one of its labels; None for judges that
            do not reply in words.
        unjudged: The reason, or None when there is a verdict.
        flags: What to know when reading it ("windowed", "prompt_truncated").
    """

    judge: str
    p_unsafe: float | None = None
    unsafe: bool | None = None
    p_refusal: float | None = None
    refusal: bool | None = None
    label_mass: float | None = None
    unjudged: str | None = None
    flags: tuple[str, ...] = ()

    @classmethod
    def none(cls, reason: str, judge: str = "") -> Self:
        """Build the verdict of an answer that was not judged."""
        return cls(judge=judge, unjudged=reason)

    def to_json(self) -> str:
        """Return the verdict as one line of JSON, as it stands in lm_eval's samples files."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read what `to_json` wrote.

        >>> Verdict.from_json(Verdict.none("empty").to_json()).unjudged
        'empty'
        """
        fields: dict[str, Any] = json.loads(line)
        return cls(**fields | {"flags": tuple(fields["flags"])})


class Judge(Protocol):
    """Anything that judges exchanges.

    `judge` returns one verdict for each exchange, in their order, and `verdicts` yields them
    with their positions as they are ready. Neither raises for an exchange: what cannot be judged
    comes back unjudged.
    """

    @property
    def name(self) -> str:
        """Short name: the filter column of lm_eval's table."""
        ...

    @property
    def digest(self) -> str:
        """Hash of everything that decides a verdict."""
        ...

    @property
    def record(self) -> dict[str, Any]:
        """What a reader of the results must know about the judge; JSON types only."""
        ...

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Judge every exchange."""
        ...

    def verdicts(self, exchanges: Iterable[Exchange]) -> Iterator[tuple[int, Verdict]]:
        """Yield (position, verdict) as they are ready."""
        ...
