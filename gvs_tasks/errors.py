"""The one exception that the user is meant to read."""

import difflib
from collections.abc import Iterable

__all__ = ["GVSError", "unknown_name"]


#: Names listed in an error at most.
_SHOWN = 20


class GVSError(Exception):
    """Something the user can put right; the message says what happened and the remedy."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> GVSError:
    """Build the error for a name that is not registered.

    Args:
        kind: What was looked up, as it reads in a sentence ("judge", "category").
        name: The name that is not known.
        known: The names that are.

    >>> str(unknown_name("language", "eng", ["en", "zh"]))
    "Unknown language 'eng'. Did you mean 'en'? Available: en, zh."
    """
    available = sorted(known)
    close = difflib.get_close_matches(name, available, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    more = f" and {len(available) - _SHOWN} more" if len(available) > _SHOWN else ""
    shown = ", ".join(available[:_SHOWN])
    return GVSError(f"Unknown {kind} '{name}'.{hint} Available: {shown}{more}.")
