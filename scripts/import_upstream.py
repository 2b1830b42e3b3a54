"""Turn a checkout of the published benchmark into a dataset folder that our tasks can read.

    python scripts/import_upstream.py CHECKOUT [OUT]
    gvs run --tasks gvs_upstream --metadata gvs_dataset=OUT ...

The published benchmark (arXiv 2601.09112) carries an MIT licence file, but its README releases
it "for academic research and evaluation purposes only". Its rows are therefore not part of this
project: the folder stays with whoever imports it.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this checkout, not an installed package

from datasets import Dataset  # noqa: E402

from gvs_tasks.dataset import UPSTREAM_CONFIGS, UPSTREAM_FEATURES  # noqa: E402
from gvs_tasks.errors import GVSError  # noqa: E402
from gvs_tasks.schema import looks_like  # noqa: E402
from gvs_tasks.taxonomy import LANGUAGES, load_taxonomy  # noqa: E402

NOTICE = (
    "The published benchmark restricts its use to academic research and evaluation (README), "
    "although its licence file is MIT. Do not publish this folder."
)
MODALITIES = {"text": "T", "image": "I", "video": "V", "audio": "A"}
IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".webp")
_HEADER = r"^\s*({letter}-\d+)\s*[:：]\s*(|\S+\.\w+)\s*$"
_BROKEN_HEADER = r"^\s*(?:{letter}-\d+\s*|(?i:{letter})\W?\d+\s*[:：]\s*|{letter}-\d+\s*[:：].*)$"
_FOCUS = {
    "zh": re.compile(r"^\s*测评重点\s*[:：]\s*"),
    "en": re.compile(r"^\s*Evaluation Focus\s*[:：]\s*", re.IGNORECASE),
}


class Block(NamedTuple):
    """One prompt of the published benchmark.

    Attributes:
        id: Its id ("T-12").
        attachment: The file it refers to, if any.
        prompt: The prompt by language.
        focus: The evaluation focus by language.
    """

    id: str
    attachment: str | None
    prompt: dict[str, str]
    focus: dict[str, str]


def read_blocks(path: Path, letter: str) -> list[Block]:
    """Read a prompt file whose ids begin with a letter ("T" for text).

    Raises:
        GVSError: Naming file, line and id of the first block that is not as described.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GVSError(f"{path}: cannot be read ({error}).") from error
    starts: list[tuple[int, str, str]] = []
    for number, line in enumerate(lines, start=1):
        header = re.match(_HEADER.format(letter=letter), line)
        if header:
            starts.append((number, header[1], header[2]))
        elif re.match(_BROKEN_HEADER.format(letter=letter), line):
            raise GVSError(
                f"{path.name}: line {number}: '{line.strip()[:40]}' is no header. Write "
                f"'{letter}-1:' or '{letter}-1:image.jpg' on a line of its own."
            )
        elif not starts and line.strip():
            raise GVSError(f"{path.name}: line {number}: text before the first '{letter}-1:'.")
    if not starts:
        raise GVSError(f"{path.name}: no block ('{letter}-1:') found.")
    blocks: dict[str, Block] = {}
    for (first, name, attachment), (after, *_) in zip(
        starts, [*starts[1:], (len(lines) + 1, "", "")], strict=True
    ):
        where = f"{path.name}: {name} (line {first})"
        if name in blocks:
            raise GVSError(f"{where}: this id is already used.")
        blocks[name] = _block(name, attachment, lines[first : after - 1], where)
    return list(blocks.values())


def _block(name: str, attachment: str, lines: list[str], where: str) -> Block:
    paragraphs = [
        text.strip() for text in re.split(r"\n\s*\n", "\n".join(lines).strip()) if text.strip()
    ]
    # A focus that follows its neighbour without a blank line begins a paragraph all the same.
    paragraphs = [part for text in paragraphs for part in _split_at_focus(text)]
    focus: dict[str, str] = {}
    prompts: list[str] = []
    for text in paragraphs:
        lang = next((lang for lang in LANGUAGES if _FOCUS[lang].match(text)), None)
        if lang is None and focus:
            raise GVSError(f"{where}: a paragraph stands after the focus: '{text[:40]}'.")
        if lang is None:
            prompts.append(text)
        elif lang in focus:
            raise GVSError(f"{where}: two lines of focus in one language.")
        else:
            focus[lang] = _FOCUS[lang].sub("", text).strip()
    missing = [lang for lang in LANGUAGES if not focus.get(lang)]
    if missing:
        label = {"zh": "测评重点:", "en": "Evaluation Focus:"}[missing[0]]
        raise GVSError(f"{where}: no line '{label} ...'.")
    return Block(name, attachment or None, _by_language(prompts, where), focus)


def _split_at_focus(text: str) -> Iterator[str]:
    part: list[str] = []
    for line in text.splitlines():
        if part and any(pattern.match(line) for pattern in _FOCUS.values()):
            yield "\n".join(part)
            part = []
        part.append(line)
    yield "\n".join(part)


def _by_language(paragraphs: list[str], where: str) -> dict[str, str]:
    """Split the paragraphs of a prompt into the Chinese ones and the English that follow.

    With two there is nothing to decide, and a prompt may quote the other language at length.
    With more, the split is where most paragraphs look like the language of their side.
    """
    if len(paragraphs) < 2:
        raise GVSError(
            f"{where}: {len(paragraphs)} paragraphs of prompt; a Chinese and an English one are "
            "needed, with a blank line between them."
        )
    chinese = [looks_like(text, "zh") for text in paragraphs]
    english = [looks_like(text, "en") for text in paragraphs]
    split = max(range(1, len(paragraphs)), key=lambda at: sum(chinese[:at]) + sum(english[at:]))
    prompt = {"zh": "\n\n".join(paragraphs[:split]), "en": "\n\n".join(paragraphs[split:])}
    if not any(looks_like(prompt[lang], lang) for lang in LANGUAGES):
        raise GVSError(f"{where}: the prompt must stand in Chinese first and then in English.")
    return prompt


def read_map(path: Path) -> dict[str, str]:
    """Read one of the two JSON maps.

    Raises:
        GVSError: When it is not an object of strings.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise GVSError(f"{path}: cannot be read ({error}).") from error
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise GVSError(f"{path.name}: must be one object with text values.")
    return data


def places(data: Path) -> dict[str, tuple[str, str]]:
    """Return (layer, category), as slugs of our taxonomy, for each id of a text prompt.

    Raises:
        GVSError: When the maps name a category or layer that the scale does not have.
    """
    taxonomy = load_taxonomy()
    categories = {category.name.en: category for category in taxonomy.categories}
    layers = {layer.name.en: layer.slug for layer in taxonomy.layers}
    layer_of = read_map(data / "subcategory_layer.json")
    for name, layer in layer_of.items():
        if name not in categories or layers.get(layer) != categories[name].layer:
            raise GVSError(f"subcategory_layer.json: '{name}' in '{layer}' is not in the scale.")
    found: dict[str, tuple[str, str]] = {}
    for prompt, name in read_map(data / "text_subcategory.json").items():
        if name not in layer_of:
            raise GVSError(f"text_subcategory.json: {prompt}: unknown category '{name}'.")
        found[prompt] = (categories[name].layer, categories[name].slug)
    return found


def rows(checkout: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every config.

    Raises:
        GVSError: When the checkout is not one of the published benchmark, or a block is wrong.
    """
    data = checkout / "data"
    if not data.is_dir():
        raise GVSError(f"{checkout}: no folder 'data'. Give a checkout of the published benchmark.")
    where = places(data)
    configs: dict[str, list[dict[str, Any]]] = {}
    for modality, letter in MODALITIES.items():
        # Upstream's names vary: "video_prompt..txt".
        files = sorted((data / modality).glob("*_prompt*.txt"))
        if len(files) != 1:
            raise GVSError(f"{data / modality}: expected one *_prompt*.txt, found {len(files)}.")
        blocks = read_blocks(files[0], letter)
        unplaced = [b.id for b in blocks if modality == "text" and b.id not in where]
        if unplaced:
            raise GVSError(f"text_subcategory.json: no category for {', '.join(unplaced)}.")
        absent = sorted(set(where) - {block.id for block in blocks}) if modality == "text" else []
        if absent:
            raise GVSError(f"{files[0].name}: no block for {', '.join(absent)}: is it cut off?")
        for lang in LANGUAGES:
            configs[f"upstream_{modality}_{lang}"] = [
                _row(block, modality, lang, where.get(block.id)) for block in blocks
            ]
    return configs


def _row(block: Block, modality: str, lang: str, place: tuple[str, str] | None) -> dict[str, Any]:
    # Only the text prompts have a category upstream.
    layer, category = place or (None, None)
    return {
        "id": block.id,
        "lang": lang,
        "modality": modality,
        "layer": layer,
        "category": category,
        "prompt": block.prompt[lang],
        "focus": block.focus[lang],
        "attachment": block.attachment,
        "needs_image": (block.attachment or "").lower().endswith(IMAGES),
    }


def write(configs: dict[str, list[dict[str, Any]]], out: Path) -> None:
    """Write the folder in one step.

    Raises:
        GVSError: When it exists or cannot be written.
    """
    if out.exists():
        raise GVSError(f"{out} exists. Remove it or choose another folder.")
    names = "\n".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}/test.parquet"
        for name in configs
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
            fresh = Path(scratch) / "dataset"
            for name, found in configs.items():
                (fresh / name).mkdir(parents=True)
                dataset = Dataset.from_list(found, features=UPSTREAM_FEATURES)
                dataset.to_parquet(fresh / name / "test.parquet")
            (fresh / "README.md").write_text(f"---\nconfigs:\n{names}\n---\n\n{NOTICE}\n")
            fresh.rename(out)
    except OSError as error:
        raise GVSError(f"{out} cannot be written: {error}") from error


def main() -> None:
    """Import the checkout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=NOTICE)
    parser.add_argument("checkout", type=Path, help="checkout of the published benchmark")
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        default=Path("gvs-upstream"),
        help="folder to write; must not exist (default: %(default)s)",
    )
    arguments = parser.parse_args()
    try:
        configs = rows(arguments.checkout)
        write(configs, arguments.out.resolve())
    except GVSError as error:
        sys.exit(f"import_upstream: {error}")
    for name in UPSTREAM_CONFIGS:
        images = sum(row["needs_image"] for row in configs[name])
        print(f"{name}: {len(configs[name])} prompts, {images} of them with an image")
    print(NOTICE)


if __name__ == "__main__":
    main()
