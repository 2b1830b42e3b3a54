"""From an exchange to the token windows that a language model reads as a judge.

A layout is a prompt with slots: fixed text that may hold control tokens, and in between the texts
of the exchange, which never become control tokens. After it stands the judge's reply, forced up to
the places where its labels are read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gvs_tasks.errors import GVSError
from gvs_tasks.judge.encoding import Windows, clean, without_middle

__all__ = ["ForcedReply", "Layout", "Place", "Step", "TemplateEncoder"]

#: What may stand in a layout; only the answer is read in windows.
SLOTS = ("prompt", "response", "focus")
_SLOT = re.compile("{(" + "|".join(SLOTS) + ")}")
#: Tokens of an answer that a window must have room for.
MIN_ROOM = 32


@dataclass(frozen=True)
class Layout:
    """Fixed texts and slots in turn, beginning and ending with a fixed text.

    >>> Layout.parse("Q: {prompt} A: {response}.").slots
    ('prompt', 'response')
    """

    fixed: tuple[str, ...]
    slots: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Layout":
        """Cut a rendered template at its slots: ``{prompt}``, ``{response}``, ``{focus}``.

        Raises:
            ValueError: When it has no slot for the answer, or several.
        """
        pieces = _SLOT.split(text)
        if pieces[1::2].count("response") != 1:
            raise ValueError("the template must show the answer exactly once")
        return cls(tuple(pieces[::2]), tuple(pieces[1::2]))


@dataclass(frozen=True)
class Step:
    """A part of the judge's reply.

    Attributes:
        after: The fixed text since the label before.
        labels: The texts that may follow.
        then: The label that is forced on; empty at the last step.
    """

    after: str
    labels: tuple[str, ...]
    then: str = ""


@dataclass(frozen=True)
class Place:
    """Where labels are read.

    Attributes:
        index: Position of the token whose logits are read, counted from the end (-1 is the last).
        ids: For each label the id of the token that begins it.
    """

    index: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class ForcedReply:
    """The judge's reply up to its last label: token ids, and the places of the labels."""

    ids: list[int]
    places: tuple[Place, ...]

    @classmethod
    def build(cls, tokenizer: Any, tail: str, steps: Sequence[Step]) -> "ForcedReply":
        """Find where labels are read, and which tokens begin them.

        A space that begins every label is forced, where the vocabulary has no token for a space
        together with what follows.

        Args:
            tokenizer: A fast tokenizer.
            tail: The fixed text before the reply.
            steps: The parts of the reply.

        Raises:
            ValueError: When two labels begin with the same token, or one inside a token.
        """

        def ids(text: str) -> list[int]:
            return _ids(tokenizer, text)

        def following(text: str, more: str) -> int | None:
            start, whole = ids(text), ids(text + more)
            return whole[len(start)] if whole[: len(start)] == start != whole else None

        text, found = tail, list[tuple[str, tuple[int, ...]]]()
        for step in steps:
            text += step.after
            spaced = all(label.startswith(" ") for label in step.labels)
            for space in ("", " ") if spaced else ("",):
                firsts = [
                    following(text + space, label.removeprefix(space)) for label in step.labels
                ]
                known = tuple(token for token in firsts if token is not None)
                if len(set(known)) == len(step.labels):
                    break
            else:
                raise ValueError(f"the labels {', '.join(map(repr, step.labels))} begin alike")
            found.append((text + space, known))
            text += step.then or space
        start, whole = ids(tail), ids(text)
        places = []
        for before, known in found:
            read = ids(before)
            if whole[: len(read)] != read:
                raise ValueError("a label would be read inside a token")
            places.append(Place(len(read) - 1 - len(whole), known))
        if whole[: len(start)] != start:
            raise ValueError("the reply begins inside a token")
        return cls(whole[len(start) :], tuple(places))


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _marks(tokenizer: Any, layout: Layout, markers: Sequence[str]) -> re.Pattern[str] | None:
    """Return what finds a template's marks: its markers, and tokens that no text splits up.

    Of those without a control token's role ("<think>") only the ones that the template uses.
    """
    fixed = "".join(layout.fixed)
    added = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.content.strip() and (token.special or token.content in fixed)
    ]
    marks = sorted({*markers, *added}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, marks))) if marks else None


class TemplateEncoder:
    """Exchanges as windows of a layout that each hold everything but a part of the answer."""

    def __init__(
        self,
        tokenizer: Any,
        control_ids: frozenset[int],
        layout: Layout,
        max_length: int,
        overlap: int = 64,
        markers: Sequence[str] = (),
        bos: int | None = None,
    ) -> None:
        """Prepare the encoder.

        Args:
            tokenizer: A fast tokenizer.
            control_ids: Ids of its control tokens.
            layout: The rendered template.
            max_length: Tokens of a window, the judge's reply not counted.
            overlap: Tokens that neighbouring windows share.
            markers: Plain texts by which the template tells its parts apart; taken out of slots.
            bos: Id of the token that begins a window, where the layout does not begin with it.

        Raises:
            GVSError: When the layout leaves no room for an answer.
        """
        self._tokenizer, self._control_ids = tokenizer, control_ids
        self._slots = layout.slots
        self._fixed = layout.fixed
        self._fixed_ids = [_ids(tokenizer, text) for text in layout.fixed]
        self._bos = [] if bos is None else [bos]
        self._max_length, self._overlap = max_length - len(self._bos), overlap
        self._room = self._max_length - sum(map(len, self._fixed_ids))
        if self._room < 2 * MIN_ROOM:
            raise GVSError(
                f"The judge reads {max_length} tokens and its template alone needs "
                f"{max_length - self._room}. Choose a judge with a longer input."
            )
        self._marks = _marks(tokenizer, layout, markers)

    @property
    def head(self) -> tuple[int, ...]:
        """The tokens with which every window begins; the last before a slot may vary."""
        return (*self._bos, *self._fixed_ids[0][:-1])

    def encode(self, values: Mapping[str, str]) -> Windows | None:
        """Encode one exchange; None when nothing of the answer is readable text.

        Args:
            values: The text of each slot.
        """
        flags, texts = [], dict[str, str]()
        for slot in SLOTS:
            text = clean(values.get(slot, ""))
            short = without_middle(text)
            if short != text:
                flags.append("answer_truncated" if slot == "response" else "prompt_truncated")
            texts[slot] = self._tame(short)
        if not texts["response"].strip():
            return None
        rows = self._whole(texts)
        if rows is None:
            rows, cut = self._windows(texts)
            flags += ["prompt_truncated"] if cut else []
        if not rows:
            return None
        if len(rows) > 1:
            flags.append("windowed")
        rows = [self._bos + row for row in rows]
        return Windows(rows, [[1] * len(row) for row in rows], flags=tuple(dict.fromkeys(flags)))

    def _whole(self, texts: Mapping[str, str]) -> list[list[int]] | None:
        """Return the one window of a short exchange; None when it must be cut.

        All is tokenised together, as the model was trained; what a text of the exchange turned
        into control tokens is dropped.
        """
        if sum(len(texts[slot]) for slot in self._slots) > 32 * self._max_length:
            return None  # too long for any tokenizer, and not worth its time
        text, spans, answer = self._fixed[0], list[tuple[int, int]](), (0, 0)
        for slot, fixed in zip(self._slots, self._fixed[1:], strict=True):
            spans.append((len(text), len(text) + len(texts[slot])))
            answer = spans[-1] if slot == "response" else answer
            text += texts[slot] + fixed
        encoded = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ids: list[int] = encoded["input_ids"]
        if len(ids) > self._max_length:
            return None
        row, readable = [], False
        for token, (start, end) in zip(ids, encoded["offset_mapping"], strict=True):
            if token in self._control_ids:
                # Some of the template's take blanks beside them, which may be the text's.
                piece = text[start:end]
                start, end = end - len(piece.lstrip()), start + len(piece.rstrip())
                if any(start < stop and end > begin for begin, stop in spans):
                    continue
            else:
                readable |= start < answer[1] and end > answer[0]
            row.append(token)
        return [row] if readable else []

    def _windows(self, texts: Mapping[str, str]) -> tuple[list[list[int]], bool]:
        """Return the windows of an exchange that does not fit, and whether its prompt was cut."""
        parts = {slot: self._text_ids(texts[slot]) for slot in set(self._slots)}
        cut = False
        for slot in set(self._slots) - {"response"}:
            # All of them together leave half of the room to the answer.
            most = self._room // (2 * (len(self._slots) - 1))
            if len(parts[slot]) > most:
                cut |= slot == "prompt"
                # The request stands at either end.
                parts[slot] = [*parts[slot][: most // 2], *parts[slot][-(most // 2) :]]
        room = self._room - sum(len(parts[slot]) for slot in self._slots if slot != "response")
        answer, rows = parts["response"], list[list[int]]()
        step = room - min(self._overlap, room // 2)
        for start in range(0, max(len(answer) - room, 0) + step, step) if answer else ():
            window = {**parts, "response": answer[start : start + room]}
            row = list(self._fixed_ids[0])
            for slot, fixed in zip(self._slots, self._fixed_ids[1:], strict=True):
                row += window[slot] + fixed
            rows.append(row)
        return rows, cut

    def _tame(self, text: str) -> str:
        """Take out the marks by which the template tells who speaks.

        A space in their place keeps what stood around one from becoming another.
        """
        return self._marks.sub(" ", text) if self._marks else text

    def _text_ids(self, text: str) -> list[int]:
        return [token for token in _ids(self._tokenizer, text) if token not in self._control_ids]
