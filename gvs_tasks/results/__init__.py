"""Finished runs as lm_eval saved them, read into one typed form.

`gvs report`, `gvs card`, `gvs compare` and `gvs check RUN` all look at what `read` gives. Nothing
in the files is trusted: a line that is not what lm_eval writes is an error that names it, and
metrics are computed again from the verdicts.
"""

from gvs_tasks.results.reading import labelled, place, read, read_one
from gvs_tasks.results.run import CHOICE, TRACKS, Answer, Doc, Leaf, Record, Run

__all__ = [
    "CHOICE",
    "TRACKS",
    "Answer",
    "Doc",
    "Leaf",
    "Record",
    "Run",
    "labelled",
    "place",
    "read",
    "read_one",
]
