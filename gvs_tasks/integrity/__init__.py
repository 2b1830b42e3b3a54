"""What can be wrong with a saved run, and what limits it, before anyone rests a claim on it.

Every check looks at one run as `gvs_tasks.results` read it, and yields findings: sentences that
name the numbers and the remedy.
"""

from collections.abc import Iterable
from dataclasses import replace

from gvs_tasks.integrity import answers, record
from gvs_tasks.integrity.finding import Finding, Weight
from gvs_tasks.integrity.record import settings
from gvs_tasks.redaction import redacted
from gvs_tasks.results import Run

__all__ = [
    "CHECKS",
    "Finding",
    "Weight",
    "concerning",
    "examine",
    "faults",
    "limits",
    "settings",
]

#: All checks, by the name under which they are printed.
CHECKS = answers.CHECKS | record.CHECKS


def examine(run: Run) -> list[Finding]:
    """Make every check of a run.

    Returns:
        The findings in the order of `CHECKS`; faults first within a check.
    """
    return [
        replace(found, check=name, text=redacted("", found.text))
        for name, check in CHECKS.items()
        for found in sorted(check(run), key=lambda each: list(Weight).index(each.weight))
    ]


def concerning(findings: Iterable[Finding], judge: str, tracks: Iterable[str]) -> list[Finding]:
    """Return the findings that bear on the scores of one judge on some tracks."""
    wanted = {"", *tracks}
    return [found for found in findings if found.judge in ("", judge) and found.track in wanted]


def faults(findings: Iterable[Finding]) -> list[str]:
    """Return what is wrong, as sentences."""
    return [found.text for found in findings if found.weight is Weight.fault]


def limits(findings: Iterable[Finding]) -> list[str]:
    """Return what keeps the scores from being those of the benchmark, as sentences."""
    return [found.text for found in findings if found.weight is Weight.limit]
