"""The benchmark as ``datasets.Dataset``: from the bundled content, a folder or the Hub.

>>> load("text_en").column_names[:4]
['id', 'lang', 'layer', 'category']
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value, load_dataset
from datasets.table import InMemoryTable
from pyarrow import parquet

from gvs_tasks.errors import GVSError, unknown_name
from gvs_tasks.incidents import items_of, load_incidents
from gvs_tasks.schema import Item, load_items, load_pool
from gvs_tasks.taxonomy import CANARY, CONTENT, LANGUAGES, load_taxonomy

__all__ = ["CONFIGS", "HUB_ID", "UPSTREAM_CONFIGS", "UPSTREAM_FEATURES", "digest", "load"]

#: Where the dataset will live on the Hub. Not published yet: pass a folder or leave it out.
HUB_ID = "gvs-bench/gvs-bench"

_REPO_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_TEXT = Value("string")
_TERMS = List({"slug": _TEXT, "en": _TEXT, "zh": _TEXT})

_SHARED = dict.fromkeys(("id", "lang", "layer", "category", "risk"), _TEXT)
_TEXT_FEATURES = Features(
    _SHARED
    | {"behaviour": _TEXT, "severity": Value("int64"), "technique": _TEXT, "norm_basis": _TEXT}
    | {"incidents": List(_TEXT), "reference": _TEXT, "reference_source": _TEXT}
    | dict.fromkeys(("mirror_set", "prompt", "focus", "safe", "unsafe", "canary"), _TEXT)
)
_BENIGN_FEATURES = Features(_SHARED | dict.fromkeys(("prompt", "answer", "canary"), _TEXT))
_TAXONOMY_FEATURES = Features(
    dict.fromkeys(("layer", "layer_en", "layer_zh", "category", "code"), _TEXT)
    | dict.fromkeys(("name_en", "name_zh", "definition_en", "definition_zh"), _TEXT)
    | {"risks": _TERMS, "severities": List(Value("int64"))}
)
_POOL_FEATURES = Features(
    dict.fromkeys(("id", "prompt_id", "category", "lang", "kind"), _TEXT)
    | dict.fromkeys(("behaviour", "focus", "prompt", "response"), _TEXT)
    | {"unsafe": Value("int64"), "refusal": Value("int64"), "canary": _TEXT}
)
_BILINGUAL = {"en": _TEXT, "zh": _TEXT}
_INCIDENT_FEATURES = Features(
    {"id": _TEXT, "title": _BILINGUAL, "summary": _BILINGUAL}
    | dict.fromkeys(("date", "modality", "stage", "category", "risk"), _TEXT)
    | dict.fromkeys(("secondary", "codes", "systems", "developers", "deployers"), List(_TEXT))
    | {"countries": List(_TEXT), "harm": _BILINGUAL, "severity": Value("int64")}
    | {"severity_reason": _BILINGUAL, "status": _TEXT}
    | {"sources": List({"publisher": _TEXT, "url": _TEXT}), "aiid": Value("int64")}
    | {"items": List(_TEXT), "canary": _TEXT}
)
#: Rows of the published benchmark, which ``scripts/import_upstream.py`` writes.
UPSTREAM_FEATURES = Features(
    dict.fromkeys(("id", "lang", "modality", "layer", "category", "prompt", "focus"), _TEXT)
    | {"attachment": _TEXT, "needs_image": Value("bool")}
)
UPSTREAM_CONFIGS = tuple(
    f"upstream_{modality}_{lang}"
    for modality in ("text", "image", "video", "audio")
    for lang in LANGUAGES
)


def _shared(item: Item, lang: str) -> dict[str, Any]:
    return {
        "id": item.id,
        "lang": lang,
        "layer": load_taxonomy().category(item.category).layer,
        "category": item.category,
        "risk": item.risk,
    }


def _text_row(item: Item, lang: str) -> dict[str, Any]:
    text, reference = item.text(lang), item.reference
    return _shared(item, lang) | {
        "behaviour": item.behaviour,
        "severity": item.severity,
        "technique": item.technique,
        "norm_basis": item.norm_basis,
        "incidents": list(item.incidents),
        "reference": reference and (reference.zh if lang == "zh" else reference.en),
        "reference_source": reference and reference.source,
        "mirror_set": item.mirror_set,
        "prompt": text.prompt,
        "focus": text.focus,
        "safe": text.safe,
        "unsafe": text.unsafe,
        "canary": CANARY,
    }


def _benign_row(item: Item, lang: str) -> dict[str, Any]:
    text = item.text(lang)
    return _shared(item, lang) | {
        "prompt": text.benign_prompt,
        "answer": text.benign_answer,
        "canary": CANARY,
    }


def _taxonomy_rows() -> list[dict[str, Any]]:
    taxonomy = load_taxonomy()
    layers = {layer.slug: layer for layer in taxonomy.layers}
    return [
        {
            "layer": category.layer,
            "layer_en": layers[category.layer].name.en,
            "layer_zh": layers[category.layer].name.zh,
            "category": category.slug,
            "code": category.code,
            "name_en": category.name.en,
            "name_zh": category.name.zh,
            "definition_en": category.definition.en,
            "definition_zh": category.definition.zh,
            "risks": [risk.model_dump() for risk in category.risks],
            "severities": list(category.severities),
        }
        for category in taxonomy.categories
    ]


def _pool_rows() -> list[dict[str, Any]]:
    if not (CONTENT / "judge_pool").is_dir():
        raise GVSError(
            "The judge pool is not part of the installed package; "
            "load it from a checkout or from a built dataset folder."
        )
    return [
        {
            "id": f"{asked.id}-{n}",
            "prompt_id": asked.id,
            "category": asked.category,
            "lang": asked.lang,
            "kind": answer.kind,
            "behaviour": asked.behaviour,
            "focus": asked.focus,
            "prompt": asked.prompt,
            "response": answer.text,
            "unsafe": answer.unsafe,
            "refusal": answer.refusal,
            "canary": CANARY,
        }
        for asked in load_pool()
        for n, answer in enumerate(asked.answers, start=1)
    ]


def _incident_rows() -> list[dict[str, Any]]:
    linked = items_of(load_items())
    return [
        each.model_dump() | {"items": linked.get(each.id, []), "canary": CANARY}
        for each in load_incidents()
    ]


def _no_upstream_rows() -> list[dict[str, Any]]:
    raise GVSError(
        "The rows of the published benchmark are not part of this package. Write them with "
        "'python scripts/import_upstream.py CHECKOUT OUT' and pass gvs_dataset=OUT."
    )


_BUILDERS: dict[str, tuple[Features, Callable[[], list[dict[str, Any]]]]] = {
    "text_en": (_TEXT_FEATURES, lambda: [_text_row(item, "en") for item in load_items()]),
    "text_zh": (_TEXT_FEATURES, lambda: [_text_row(item, "zh") for item in load_items()]),
    "benign_en": (_BENIGN_FEATURES, lambda: [_benign_row(item, "en") for item in load_items()]),
    "benign_zh": (_BENIGN_FEATURES, lambda: [_benign_row(item, "zh") for item in load_items()]),
    "taxonomy": (_TAXONOMY_FEATURES, _taxonomy_rows),
    "incidents": (_INCIDENT_FEATURES, _incident_rows),
    "judge_pool": (_POOL_FEATURES, _pool_rows),
}
CONFIGS = tuple(_BUILDERS)


def load(config: str, source: str | None = None, revision: str | None = None) -> Dataset:
    """Load one config; the three sources give identical rows.

    Args:
        config: One of `CONFIGS`, or of `UPSTREAM_CONFIGS`, which are not bundled.
        source: None for the bundled content, a folder written by ``scripts/build_dataset.py``
            or ``scripts/import_upstream.py``, or a Hub id ("org/name").
        revision: Branch, tag or commit of a Hub dataset.

    Raises:
        GVSError: When the config is unknown, the source cannot be read, or its rows do not
            have the columns of this version.
    """
    if config in UPSTREAM_CONFIGS:
        features, build = UPSTREAM_FEATURES, _no_upstream_rows
    elif config in _BUILDERS:
        features, build = _BUILDERS[config]
    else:
        raise unknown_name("dataset config", config, (*CONFIGS, *UPSTREAM_CONFIGS))
    if source is None:
        return Dataset.from_list(build(), features=features)
    return _checked(_read(config, source, revision), features, f"{source} ({config})")


def _read(config: str, source: str, revision: str | None) -> Dataset:
    folder = Path(source)
    if not folder.is_dir() and not _REPO_ID.match(source):
        raise GVSError(
            f"Dataset '{source}' is neither a folder nor a Hub id (org/name). "
            "Build a folder with scripts/build_dataset.py, or leave gvs_dataset out "
            "to use the bundled content."
        )
    try:
        if folder.is_dir():
            # load_dataset would cache a folder by its last name and config alone, and give the
            # rows of another folder of that name, or of an earlier build.
            return Dataset(InMemoryTable(parquet.read_table(folder / config / "test.parquet")))
        return load_dataset(source, config, split="test", revision=revision)
    except Exception as error:  # pyarrow, datasets and the Hub client raise dozens of types
        raise GVSError(
            f"Dataset '{source}', config {config}, cannot be read "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}). "
            "Check the name, and for the Hub the revision and the network, or leave gvs_dataset "
            "out to use the bundled content."
        ) from error


def _checked(dataset: Dataset, features: Features, where: str) -> Dataset:
    """Return the dataset in the declared column order and types, or say what is wrong."""
    missing = [name for name in features if name not in dataset.column_names]
    if missing:
        raise GVSError(
            f"Dataset {where} lacks the columns {', '.join(missing)}: it was built for another "
            "version. Choose another revision."
        )
    try:
        dataset = dataset.select_columns(list(features)).cast(features)
    except Exception as error:  # pyarrow and datasets errors share no base
        raise GVSError(f"Dataset {where} has columns of other types: {error}") from error
    if "prompt" in features and not all(dataset["prompt"]):
        raise GVSError(f"Dataset {where} has rows without a prompt.")
    return dataset


def digest(rows: Dataset) -> str:
    """Return a short hash of the rows, the same for every source (16 hexadecimal digits)."""
    canonical = json.dumps(list(rows), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
