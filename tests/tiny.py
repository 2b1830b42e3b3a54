"""Tiny random models, built on the fly: real transformers folders that load in a second."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
#: What each of them is to a tokenizer, and where it stands in the vocabulary.
ROLES = {
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
}
ROLE_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def byte_tokenizer(pair: bool) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per byte, so that every text can be encoded."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: n for n, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if pair:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>",
            pair="<s> $A </s> $B:1 </s>:1",
            special_tokens=[("<s>", 1), ("</s>", 2)],
        )
    # A control token with no role of its own, as chat models have them.
    tokenizer.add_special_tokens([AddedToken("<|turn|>", special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **ROLES,
        cls_token="<s>",
        sep_token="</s>",
        model_max_length=256,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"][:: 1 if pair else 2],
    )


def build_judge(folder: Path, labels: tuple[str, ...] = ("unsafe", "refusal"), **config) -> Path:
    """Write a random two-layer classifier; large weights, so that answers differ clearly."""
    torch.manual_seed(7)
    options = {"problem_type": "multi_label_classification"} | config
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=261,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=256,
            initializer_range=0.5,
            id2label=dict(enumerate(labels)),
            label2id={label: n for n, label in enumerate(labels)},
            **options,
        )
    )
    model.save_pretrained(folder)
    byte_tokenizer(pair=True).save_pretrained(folder)
    return folder


def build_generator(folder: Path) -> Path:
    """Write a random two-layer decoder that generates bytes."""
    torch.manual_seed(3)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=261,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=64,
            max_position_embeddings=2048,
            initializer_range=0.5,
            **ROLE_IDS,
        )
    )
    model.save_pretrained(folder)
    byte_tokenizer(pair=False).save_pretrained(folder)
    return folder
