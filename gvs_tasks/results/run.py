"""What a finished run is: its leaves, their answers and verdicts, and what it recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gvs_tasks.judge.types import Verdict
from gvs_tasks.redaction import one_line
from gvs_tasks.schema import load_items

__all__ = ["CHOICE", "TRACKS", "Answer", "Doc", "Leaf", "Record", "Run"]

#: Tracks, by the word in the names of their leaves ("" for the plain ones).
TRACKS = {"": "text", "benign": "benign", "mc": "choice", "upstream": "upstream"}
#: What lm_eval calls the filter of a leaf without a judge.
CHOICE = "none"


class Doc(BaseModel):
    """The item of an answer, as far as scores and reports need it."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(min_length=1)
    lang: Literal["en", "zh"]
    layer: str
    category: str
    prompt: str
    risk: str | None = None
    behaviour: str | None = None
    focus: str | None = None
    severity: int | None = None
    technique: str | None = None
    norm_basis: str | None = None
    mirror_set: str | None = None


class _Dataset(BaseModel):
    model_config = ConfigDict(extra="allow")

    config: str
    source: str
    revision: str | None = None
    digest: str | None = None


class _JudgeRecord(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: Annotated[str, AfterValidator(one_line)]
    digest: str


class Record(BaseModel):
    """What a leaf wrote of its run into lm_eval's results: versions and digests."""

    model_config = ConfigDict(extra="allow")

    gvs_tasks: str
    dataset: _Dataset
    judges: list[_JudgeRecord] = []
    agreement: list[dict[str, Any]] = []


@dataclass(frozen=True)
class Answer:
    """One answer under one judge.

    Attributes:
        doc_id: Position of the item in its leaf.
        doc: The item.
        response: What the model generated; None without text, and for multiple choice.
        verdict: What the judge said; None for multiple choice.
        metrics: Its metrics, computed from the verdict; NaN where there is none.
    """

    doc_id: int
    doc: Doc
    response: str | None
    verdict: Verdict | None
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Leaf:
    """One leaf of a run: a language, a category, a track.

    Attributes:
        name: lm_eval's name of the task.
        track: One of the values of `TRACKS`.
        lang: "en" or "zh".
        category: Slug of the category.
        samples: The file of its samples.
        results: The file of the results it belongs to.
        version: Version of the task.
        record: Versions and digests.
        reported: What lm_eval aggregated for it.
        original: Items that the leaf has.
        effective: Items that were asked for.
        answers: By the judge's name, in the order of the file; `CHOICE` for multiple choice.
    """

    name: str
    track: str
    lang: str
    category: str
    samples: Path
    results: Path
    version: str
    record: Record
    reported: Mapping[str, Any]
    original: int
    effective: int
    answers: Mapping[str, tuple[Answer, ...]]


@dataclass(frozen=True)
class Run:
    """All that one folder holds of one model.

    Attributes:
        model: The model's name.
        folder: The folder.
        leaves: By name; of a leaf that was run several times the newest.
        files: The results files it rests on, as lm_eval wrote them, oldest first.
        notes: What a reader must know of how it was put together.
    """

    model: str
    folder: Path
    leaves: Mapping[str, Leaf]
    files: Mapping[Path, Mapping[str, Any]]
    notes: tuple[str, ...] = ()

    @cached_property
    def judges(self) -> tuple[str, ...]:
        """Names of the judges, in the order of the run."""
        names = (name for leaf in self.leaves.values() for name in leaf.answers)
        return tuple(dict.fromkeys(name for name in names if name != CHOICE))

    @property
    def tracks(self) -> tuple[str, ...]:
        """The tracks that were run."""
        ran = {leaf.track for leaf in self.leaves.values()}
        return tuple(track for track in TRACKS.values() if track in ran)

    def in_track(self, track: str) -> list[Leaf]:
        """Return the leaves of a track."""
        return [leaf for leaf in self.leaves.values() if leaf.track == track]

    @cached_property
    def clusters(self) -> Mapping[str, str]:
        """What an item varies, by its id: its mirror set, or itself.

        Languages, twins and variants of one item stand and fall together, so errors are counted
        over these clusters.
        """
        docs = [
            answer.doc
            for leaf in self.leaves.values()
            for answers in leaf.answers.values()
            for answer in answers
        ]
        known = {doc.id: doc.mirror_set for doc in docs if doc.mirror_set}
        # Twins do not name their set.
        return {doc.id: known.get(doc.id) or _mirror_sets().get(doc.id) or doc.id for doc in docs}

    def record(self, judge: str) -> dict[str, Any]:
        """Return what the run recorded of a judge; of a leaf that names it."""
        for leaf in self.leaves.values():
            for found in leaf.record.judges:
                if found.name == judge:
                    return found.model_dump()
        return {"name": judge, "digest": ""}


@cache
def _mirror_sets() -> dict[str, str]:
    return {item.id: item.mirror_set for item in load_items() if item.mirror_set}
