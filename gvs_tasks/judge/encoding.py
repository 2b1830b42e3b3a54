"""From an exchange to the token windows that a classifier reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerFast

from gvs_tasks.judge.types import Exchange

__all__ = ["Encoder", "Row", "Windows", "clean", "special_ids", "without_middle"]

#: One model input: token ids, attention mask and, where the model knows them, token types.
Row = dict[str, list[int]]

#: Characters tokenised at most; beyond them the middle of the text is left out. It bounds
#: the work that one hostile answer can cause.
MAX_CHARACTERS = 400_000


@dataclass(frozen=True)
class Windows:
    """The token windows of one exchange.

    Attributes:
        input_ids: One list of token ids for each window.
        attention_mask: Same shape; 0 hides a token.
        token_type_ids: Same shape, or empty when the model knows no segments.
        flags: "windowed", "prompt_truncated", "answer_truncated".
    """

    input_ids: list[list[int]]
    attention_mask: list[list[int]]
    token_type_ids: list[list[int]] = field(default_factory=list)
    flags: tuple[str, ...] = ()

    @classmethod
    def joined(cls, several: Sequence["Windows"]) -> "Windows | None":
        """Return the windows of all, in order; None for none."""
        if not several:
            return None
        return cls(
            [ids for each in several for ids in each.input_ids],
            [mask for each in several for mask in each.attention_mask],
            [types for each in several for types in each.token_type_ids],
            tuple(dict.fromkeys(flag for each in several for flag in each.flags)),
        )

    def rows(self) -> list[Row]:
        """Return the windows as model inputs."""
        rows: list[Row] = [
            {"input_ids": ids, "attention_mask": mask}
            for ids, mask in zip(self.input_ids, self.attention_mask, strict=True)
        ]
        for row, types in zip(rows, self.token_type_ids, strict=False):
            row["token_type_ids"] = types
        return rows


def special_ids(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """Return the ids of a tokenizer's control tokens, which no text may become."""
    # Some have no role of their own ("<|im_start|>"): ask the vocabulary too.
    added = {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    return frozenset({*tokenizer.all_special_ids, *added} - {tokenizer.unk_token_id})


def clean(text: str) -> str:
    """Replace lone surrogates, which no tokenizer accepts."""
    return text.encode("utf-8", "replace").decode("utf-8")


def without_middle(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Leave out the middle of a text that is longer than `limit` characters."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


class Encoder:
    """Pairs of prompt and answer as windows that each see the prompt."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        max_length: int,
        max_prompt_tokens: int | None = None,
        max_focus_tokens: int | None = None,
        overlap: int = 64,
        separator: str = "",
    ) -> None:
        """Prepare the encoder.

        Args:
            tokenizer: A fast tokenizer.
            max_length: Tokens of a window, control tokens included.
            max_prompt_tokens: Tokens of the prompt at most; by default, and at most, half a
                window.
            max_focus_tokens: Tokens of the expected behaviour and the focus at most; None leaves
                them out.
            overlap: Tokens that neighbouring windows share.
            separator: Stands before the answer.
        """
        self._tokenizer, self._separator = tokenizer, separator
        self._max_length = max_length
        self._max_prompt = min(max_prompt_tokens or max_length // 2, max_length // 2)
        self._max_focus = min(max_focus_tokens or 0, max_length // 4)
        # Room for answer tokens is at least a third of the window; the overlap must leave progress.
        self._overlap = min(overlap, max_length // 6)
        self._control_ids = special_ids(tokenizer)

    def encode(self, exchange: Exchange) -> Windows | None:
        """Encode one exchange; None when nothing of the answer is readable text."""
        flags = []
        prompt, response = clean(exchange.prompt), clean(exchange.response)
        expected, used = self._expected(exchange)
        short_prompt = self._shorten(without_middle(prompt), self._max_length // 2 - used)
        if short_prompt != prompt:
            flags.append("prompt_truncated")
        short_response = without_middle(response)
        if short_response != response:
            flags.append("answer_truncated")
        if not self._readable(short_response):
            return None
        encoded = self._tokenizer(
            expected + short_prompt,
            self._separator + short_response,
            truncation="only_second",
            max_length=self._max_length,
            stride=self._overlap,
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
            verbose=False,
        )
        if len(encoded["input_ids"]) > 1:
            flags.append("windowed")
        # A control token that was not put there by the tokenizer's own template came from the
        # text ("</s>" written in an answer): hide it, so that text never acts as control.
        masks = [
            [
                int(keep and not (token in self._control_ids and not special))
                for token, keep, special in zip(ids, mask, specials, strict=True)
            ]
            for ids, mask, specials in zip(
                encoded["input_ids"],
                encoded["attention_mask"],
                encoded["special_tokens_mask"],
                strict=True,
            )
        ]
        return Windows(
            input_ids=encoded["input_ids"],
            attention_mask=masks,
            token_type_ids=encoded.get("token_type_ids", []),
            flags=tuple(flags),
        )

    def _readable(self, text: str) -> bool:
        ids = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return any(token not in self._control_ids for token in ids)

    def _expected(self, exchange: Exchange) -> tuple[str, int]:
        """What stands before the prompt, behaviour and focus, and how many tokens it is."""
        if not self._max_focus or not (exchange.behaviour or exchange.focus):
            return "", 0
        text = without_middle(clean(f"{exchange.behaviour or 'any'}: {exchange.focus or ''}"))
        offsets = self._offsets(text)[: self._max_focus]
        expected = f"{text[: offsets[-1][1]]} >> "
        return expected, len(self._offsets(expected))

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        """Where the tokens of a text stand in it."""
        found: list[tuple[int, int]] = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )["offset_mapping"]
        return found

    def _shorten(self, prompt: str, room: int) -> str:
        """Leave out the middle of a long prompt: the request stands at either end."""
        offsets = self._offsets(prompt)
        limit = min(self._max_prompt, room)
        if len(offsets) <= limit:
            return prompt
        half = limit // 2
        return f"{prompt[: offsets[half - 1][1]]} … {prompt[offsets[-half][0] :]}"
