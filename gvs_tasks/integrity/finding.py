"""What a check says: a sentence, and how grave it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Findings", "Weight", "fault", "limit", "listed", "note"]

#: Names listed in a sentence at most.
SHOWN = 3


class Weight(StrEnum):
    """What a finding means for the use of a run."""

    fault = "fault"  #: The files contradict themselves: the scores are not to be used.
    limit = "limit"  #: The scores are right, but not those of the benchmark.
    note = "note"  #: Good to know; keeps from nothing.


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        weight: How grave it is.
        text: A sentence with numbers and remedy.
        check: Name of the check; `examine` puts it in.
        judge: The judge it is about; empty when it is about all.
        track: The track it is about, likewise.
    """

    weight: Weight
    text: str
    check: str = ""
    judge: str = ""
    track: str = ""


Findings = Iterator[Finding]


def fault(text: str, judge: str = "", track: str = "") -> Finding:
    """Say that files contradict themselves."""
    return Finding(Weight.fault, text, judge=judge, track=track)


def limit(text: str, judge: str = "", track: str = "") -> Finding:
    """Say what keeps right scores from being those of the benchmark."""
    return Finding(Weight.limit, text, judge=judge, track=track)


def note(text: str, judge: str = "", track: str = "") -> Finding:
    """Say what is good to know."""
    return Finding(Weight.note, text, judge=judge, track=track)


def listed(names: Iterable[object]) -> str:
    """Return the first few names as text."""
    shown = [str(name) for name in names]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
