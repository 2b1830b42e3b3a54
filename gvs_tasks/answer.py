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


def final_answer(output: str | None, prompt: str = "") -> Answer:
    r"""Take what stands outside the reasoning traces.

    A trace opens at the start of a line, after another trace, or at the end of the prompt (some
    chat templates end in ``<think>``). A closing mark alone on its line also ends a trace:
    servers strip the opening one. Marks inside a line of prose are prose.

    Args:
        output: Everything the model generated; some backends return None.
        prompt: What the model was given, chat template included.

    >>> final_answer("<think>Should I?</think>No.").text
    'No.'
    >>> final_answer("Let me see", prompt="Hi<think>\n").unjudged
    'the answer ends inside the reasoning trace'
    >>> final_answer("  ").unjudged
    'the answer is empty'
    """
    if not isinstance(output, str):
        return Answer(unjudged="the model returned no text")
    text = output
    for opening, closing in TRACE_MARKS:
        if prompt.rstrip().endswith(opening):
            text = f"{opening}{text}"
        kept = _outside(text, opening, closing)
        if kept is None:
            return Answer(unjudged="the answer ends inside the reasoning trace")
        text = kept
    text = text.strip()
    return Answer(text=text) if text else Answer(unjudged="the answer is empty")


def _outside(text: str, opening: str, closing: str) -> str | None:
    """Return the text outside the traces of one kind; None when a trace does not end.

    One pass from left to right: the time is linear whatever a model repeats.
    """
    starts = re.compile(rf"^[ \t]*{re.escape(opening)}", re.MULTILINE)
    follows = re.compile(rf"\s*{re.escape(opening)}")
    alone = re.compile(rf"^[ \t]*{re.escape(closing)}[ \t]*$", re.MULTILINE)
    kept, position = [], 0
    while start := follows.match(text, position) or starts.search(text, position):
        kept.append(text[position : start.start()])
        end = text.find(closing, start.end())
        if end < 0:
            return None
        position = end + len(closing)
    rest = "".join([*kept, text[position:]])
    return alone.split(rest)[-1]
