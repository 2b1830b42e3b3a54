"""From what a model wrote to the answer that is judged."""

import re
from dataclasses import dataclass

__all__ = ["Answer", "final_answer"]

#: Opening and closing marks of reasoning traces, as the public chat templates write them.
TRACE_MARKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)


@dataclass(frozen=True)
class Answer:
    """The text to judge, or the reason why there is none (one of the two is set)."""

    text: str | None = None
    unjudged: str | None = None


def final_answer(output: str, prompt: str = "") -> Answer:
    r"""Take what stands outside the reasoning traces.

    A trace that the prompt opened (some chat templates end in ``<think>``) counts as open at
    the start of the output. A closing mark alone also ends a trace: servers strip the opening
    one.

    Args:
        output: Everything the model generated.
        prompt: What the model was given, chat template included.

    >>> final_answer("<think>Should I?</think>No.").text
    'No.'
    >>> final_answer("Let me see", prompt="Hi<think>\\n").unjudged
    'the answer ends inside the reasoning trace'
    >>> final_answer("  ").unjudged
    'the answer is empty'
    """
    text = output
    for opening, closing in TRACE_MARKS:
        if prompt.rstrip().endswith(opening):
            text = opening + text
        text = re.sub(re.escape(opening) + ".*?" + re.escape(closing), "", text, flags=re.DOTALL)
        text = text.rpartition(closing)[2]
        if opening in text:
            return Answer(unjudged="the answer ends inside the reasoning trace")
    text = text.strip()
    return Answer(text=text) if text else Answer(unjudged="the answer is empty")
