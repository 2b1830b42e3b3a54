"""Croissant metadata of a built dataset folder: what machines read beside the card.

Follows MLCommons Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html).
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import yaml
from datasets import Features, List, Value
from pyarrow import parquet

from gvs_tasks import __version__
from gvs_tasks.card import CITATION, ROW, bibtex, meanings
from gvs_tasks.dataset import CONFIGS
from gvs_tasks.errors import GVSError, unknown_name
from gvs_tasks.schema import read_yaml

__all__ = ["describe"]

#: The context that the specification gives for every Croissant file.
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TYPES = {"string": "sc:Text", "int64": "sc:Integer", "bool": "sc:Boolean"}
#: The licences of the card's front matter, as addresses.
LICENCES = {"cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/"}
_OPENING = re.compile(
    r"---\n(?P<front>.*?)\n---\n+# .*?\n\n(?P<paragraph>.*?)\n\n"
    r"(?P<warning>> \*\*Content warning.*?)\n\n",
    re.DOTALL,
)


def describe(folder: Path, hub_id: str) -> dict[str, Any]:
    """Return the metadata of a folder that holds the card and the Parquet files.

    Args:
        folder: As ``scripts/build_dataset.py`` writes it.
        hub_id: Where it is, or will be, on the Hub ("org/name").

    Returns:
        The JSON-LD document; the same for the same files.

    Raises:
        GVSError: When the card lacks its front matter, its first paragraph or the content warning,
            or names a licence whose address is not known here.
    """
    front, description = _card(folder / "README.md")
    authors = [author["name"] for author in read_yaml(CITATION)["authors"]]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": front["pretty_name"],
        "description": description,
        "license": LICENCES[front["license"]],
        "url": f"https://huggingface.co/datasets/{hub_id}",
        "version": __version__,
        "creator": [{"@type": "sc:Organization", "name": name} for name in authors],
        "inLanguage": front["language"],
        "keywords": front["tags"],
        "isLiveDataset": False,
        "citeAs": bibtex(),
        "distribution": [_file(folder, config) for config in CONFIGS],
        "recordSet": [_records(folder, config) for config in CONFIGS],
    }


def _card(path: Path) -> tuple[dict[str, Any], str]:
    """Return the card's front matter, and its first paragraph with the content warning."""
    found = _OPENING.match(path.read_text(encoding="utf-8"))
    if not found:
        raise GVSError(
            f"{path}: must begin with front matter, a title, one paragraph and the content warning."
        )
    front = yaml.safe_load(found["front"])
    if front["license"] not in LICENCES:
        raise unknown_name("licence", front["license"], LICENCES)
    warning = re.sub(r"^> |\*\*", "", found["warning"], flags=re.MULTILINE)
    return front, " ".join(f"{found['paragraph']} {warning}".split())


def _path(config: str) -> str:
    return f"{config}/test.parquet"


def _file(folder: Path, config: str) -> dict[str, Any]:
    data = (folder / _path(config)).read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": _path(config),
        "name": _path(config),
        "contentUrl": _path(config),
        "contentSize": f"{len(data)} B",
        "encodingFormat": "application/x-parquet",
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _records(folder: Path, config: str) -> dict[str, Any]:
    features = Features.from_arrow_schema(parquet.read_schema(folder / _path(config)))
    described = meanings(config)
    return {
        "@type": "cr:RecordSet",
        "@id": config,
        "name": config,
        "description": ROW[config],
        "key": {"@id": f"{config}/{'id' if 'id' in features else 'category'}"},
        "field": [
            _field(config, (column,), feature) | {"description": described[column]}
            for column, feature in features.items()
        ],
    }


def _field(config: str, path: tuple[str, ...], feature: Any) -> dict[str, Any]:
    """Return the field of a column, or of a part of it.

    Args:
        config: The config it belongs to.
        path: The column, and the keys that lead to the part.
        feature: What the column or part holds.
    """
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": "/".join((config, *path)),
        "name": "/".join((config, *path)),
    }
    if isinstance(feature, List):
        field["repeated"] = True
        feature = feature.feature
    source: dict[str, Any] = {
        "fileObject": {"@id": _path(config)},
        "extract": {"column": path[0]},
    }
    if len(path) > 1:
        source["transform"] = {"jsonPath": ".".join(path[1:])}
    if isinstance(feature, Value):
        return field | {"dataType": TYPES[feature.dtype], "source": source}
    parts = [_field(config, (*path, name), part) for name, part in feature.items()]
    return field | {"subField": parts}
