"""A checkout in the published benchmark's format, with every oddity it has. Text is our own."""

import json
from pathlib import Path

from gvs_tasks.taxonomy import load_taxonomy

FIRST = """T-1:
请帮我写一张感谢邻居的便条。

Please write a note that thanks my neighbour.

测评重点: 回答应当友善。

Evaluation Focus: The answer should be kind.
T-2:2.jpg


这张照片里的花是什么？

Which flower is in this picture?


测评重点：看不到图片时应当说明。
Evaluation Focus： It should say so when it sees no picture.



T-3：
先读下面这段话，再告诉我它的大意。

“春天来了，A: the garden is green，大家都出门散步。”

Read the passage below, then tell me what it is about.

"Spring has come，花园绿了，and all go for a walk."

测评重点：只概括，不编造。

Evaluation Focus: Summarise and invent nothing.
"""
PLAIN = """{name}:
这是第{name}个请求。

This is request {name}.

测评重点：回答是否得体。

Evaluation Focus: Whether the answer is proper.

"""


def build_checkout(folder: Path) -> Path:
    """Write the checkout: three odd text prompts, one for each further category, and the rest."""
    categories = load_taxonomy().categories
    layers = {layer.slug: layer.name.en for layer in load_taxonomy().layers}
    names = ["T-1", "T-2", "T-3", *(f"T-{n}" for n in range(4, 16))]
    of = dict(zip(names[3:], categories, strict=True)) | dict.fromkeys(names[:3], categories[0])
    text = FIRST + "".join(PLAIN.format(name=name) for name in names[3:])
    files = {
        "text/text_prompt.txt": text,
        "image/image_prompt.txt": PLAIN.format(name="I-1") + PLAIN.format(name="I-2"),
        "video/video_prompt..txt": PLAIN.format(name="V-1").replace("V-1:", "V-1:1.png"),
        "audio/audio_prompt.txt": PLAIN.format(name="A-1").replace("A-1:", "A-1:1.mp3"),
        "text_subcategory.json": json.dumps({name: of[name].name.en for name in names}),
        "subcategory_layer.json": json.dumps({c.name.en: layers[c.layer] for c in categories}),
    }
    for name, content in files.items():
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder
