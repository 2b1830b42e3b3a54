"""Tiny random language models of the guards' architectures, which give their labels.

The chat templates are stand-ins: guards bring their own, and these have the same form.
"""

import json
from pathlib import Path

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from gvs_tasks.judge import get_judge
from gvs_tasks.judge.families import families
from gvs_tasks.options import Options
from tests.tiny import ROLE_IDS, ROLES

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<|turn|>", "<|end|>"]
#: What the vocabulary has tokens for, beside bytes.
CORPUS = [
    "Safety: Safe Categories: None Refusal: Yes No safe unsafe Yes No yes no Unsafe Controversial",
    "Harmful request: Response refusal: Harmful response: <score> Score: 0 1 2 3 4 5 6 7 8 9",
    "the quick brown fox jumps over the lazy dog; a plain word here and there, word by word",
]
CHAT = (
    "{% for message in messages %}<|turn|>{{ message.role }}\n{{ CONTENT }}<|end|>\n{% endfor %}"
    "Policy: {{ guideline or guardian_config or 'none' }}, {{ strftime_now('%Y') }}.\n"
    "<|turn|>assistant\n"
)
CONTENT = {"text": "message.content", "parts": "message.content[0].text"}

COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 1024,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
    **ROLE_IDS,
}
EXTRA = {
    "Qwen3ForCausalLM": {"head_dim": 16},
    "Gemma2ForCausalLM": {"head_dim": 16, "query_pre_attn_scalar": 16},
    "GraniteMoeForCausalLM": {"num_local_experts": 2, "num_experts_per_tok": 1},
}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vision_output_dim": 32,
    "image_size": 28,
    "projector_input_dim": 32,
    "projector_output_dim": 32,
}


def word_tokenizer(sentencepiece: bool = False, chat: str | None = None) -> PreTrainedTokenizerFast:
    """A small BPE that knows the labels as whole tokens and every other text as bytes."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if sentencepiece:
        byte_pieces = [f"<0x{n:02X}>" for n in range(256)]
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first"), decoders.Fuse()]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=900, special_tokens=[*SPECIAL, *byte_pieces], show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=900,
            special_tokens=SPECIAL,
            initial_alphabet=alphabet,
            show_progress=False,
        )
    tokenizer.train_from_iterator(CORPUS * 5, trainer)
    # The pieces for bytes are plain ones, which only the trainer takes for control tokens.
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] in SPECIAL]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **ROLES,
        chat_template=chat,
    )


def build_model(architecture: str, vocab_size: int) -> torch.nn.Module:
    """A random model of two layers."""
    torch.manual_seed(11)
    auto = getattr(transformers, architecture)
    if architecture == "Llama4ForConditionalGeneration":
        text = COMMON | {
            "vocab_size": vocab_size,
            "head_dim": 16,
            "intermediate_size_mlp": 64,
            "num_local_experts": 2,
            "attention_chunk_size": 1024,
        }
        config = auto.config_class(text_config=text, vision_config=VISION)
    else:
        labels = {"num_labels": 12} if "Classification" in architecture else {}
        config = auto.config_class(
            vocab_size=vocab_size, **COMMON, **EXTRA.get(architecture, {}), **labels
        )
    model = auto(config).eval()
    # A direction that all hidden states share, so that a head can answer to it.
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(8 * torch.randn(32))
    return model


@torch.no_grad()
def speak(model: torch.nn.Module, wanted: dict[int, float]) -> None:
    """Let the model say the wanted tokens, by their logits, and by chance which of them."""
    torch.manual_seed(5)
    head = model.get_output_embeddings()
    states = []
    hook = head.register_forward_hook(lambda _module, inputs, _out: states.append(inputs[0]))
    for _ in range(8):
        model(torch.randint(6, 200, (1, 40)), use_cache=False)
    hook.remove()
    hidden = torch.cat([state.flatten(0, -2) for state in states])
    mean = hidden.mean(0)
    head.weight.mul_(0.01)
    for token, logit in wanted.items():
        noise = torch.randn_like(mean)
        noise -= mean * (noise @ mean) / (mean @ mean)
        spread = (hidden @ noise).std()
        scale = getattr(model.config, "logits_scaling", 1.0)
        head.weight[token] = scale * (logit * mean / (mean @ mean) + noise / spread)


def build_guard(
    folder: Path, name: str, architecture: str | None = None, silent: bool = False
) -> Path:
    """Write a tiny guard of a family, or a tiny chat model for the rubric.

    Args:
        folder: Where to.
        name: The family, or "rubric".
        architecture: One of the family's; the first by default.
        silent: Leave its head at random: it says anything but its labels.
    """
    family = families().get(name)
    contents = family.contents if family else "text"
    own_chat = family is None or family.template in ("chat", None)
    tokenizer = word_tokenizer(
        sentencepiece=not own_chat,
        chat=CHAT.replace("CONTENT", CONTENT[contents]) if own_chat else None,
    )
    architecture = architecture or (family.architectures[0] if family else "Qwen3ForCausalLM")
    model = build_model(architecture, len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if not silent and not (family and family.classifier):
        judge = get_judge(Options(judge=str(folder), judge_template=name, judge_device="cpu"))
        # Louder where harm is told: labels of another place are no labels there.
        place = judge._place("unsafe") if family else 0
        wanted = {t: 10 for reply in judge._replies for p in reply.places for t in p.ids}
        wanted |= {t: 13 for reply in judge._replies for t in reply.places[place].ids}
        speak(model, wanted)
        model.save_pretrained(folder)
        get_judge.cache_clear()
    return folder
