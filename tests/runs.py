"""Finished runs for tests, written as lm_eval writes them, without a model and without a judge.

`test_integrity.py` holds them against a real run of lm_eval.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from gvs_tasks import __version__
from gvs_tasks.choice import process_choice
from gvs_tasks.dataset import digest, load
from gvs_tasks.judge import Verdict
from gvs_tasks.metrics import judged_mean, judged_stderr, process_benign, process_text
from gvs_tasks.taxonomy import LANGUAGES, load_taxonomy

JUDGE, DIGEST = "tiny-judge", "0123456789abcdef"
DATE = "2026-01-02T03-04-05.000006"
#: A whole track, and pairs of leaves that are quick to write.
GVS = [f"gvs_{lang}_{c.slug}" for lang in LANGUAGES for c in load_taxonomy().categories]
BENIGN = [name.replace("gvs_", "gvs_benign_") for name in GVS]
PAIR = ["gvs_en_bias", "gvs_zh_bias"]

_LEAF = re.compile(r"gvs_(?:(benign|mc)_)?(en|zh)_(\w+)")
_PROCESS = {"": process_text, "benign": process_benign, "mc": process_choice}


@cache
def _rows(config: str) -> tuple[str, list[dict]]:
    rows = load(config)
    return digest(rows), list(rows)


def digest_of(config: str) -> str:
    """The digest of a bundled config."""
    return _rows(config)[0]


def verdict(p_unsafe: float, p_refusal: float | None = 0.25, judge: str = DIGEST) -> Verdict:
    """A verdict at thresholds of one half."""
    refusal = None if p_refusal is None else p_refusal >= 0.5
    return Verdict(judge, p_unsafe, p_unsafe >= 0.5, p_refusal, refusal)


def spread(doc: dict, judge: str) -> Verdict:
    """Verdicts that vary over the items, and that tests can count on."""
    byte = hashlib.sha256(f"{doc['id']} {doc['lang']} {judge}".encode()).digest()
    return verdict(round(byte[0] / 256, 6), round(byte[1] / 256, 6))


def likelihoods(doc: dict) -> tuple[float, ...]:
    """What a model that prefers the shorter exemplar, and the letter A, would find."""
    return (-float(len(doc["safe"])), -float(len(doc["unsafe"])), -1.0, -2.0, -1.0, -2.0)


def write_run(
    folder: Path,
    tasks: Iterable[str] = PAIR,
    *,
    limit: int | None = 3,
    judged: Callable[[dict, str], Verdict] = spread,
    judges: Iterable[str] = (JUDGE,),
    response: Callable[[dict], str] = lambda doc: f"An answer to {doc['id']}.",
    model: str = "org/model",
    date: str = DATE,
    generation: dict[str, Any] | None = None,
    record: dict[str, Any] | None = None,
    **known: Any,
) -> Path:
    """Write one run.

    Args:
        folder: Where to; made when absent.
        tasks: Its leaves.
        limit: Items a leaf; None for all.
        judged: What a judge says of an item.
        judges: Their names.
        response: What the model said of an item; "None" for no text.
        model: Its name.
        date: Of the run, as it stands in the names of the files.
        generation: Settings that differ from those of the tasks.
        record: Changes of what a leaf records of its run.
        known: Changes of the results file, such as ``chat_template``.

    Returns:
        The results file.
    """
    tasks, judges = list(tasks), list(judges)
    folder.mkdir(parents=True, exist_ok=True)
    scores: dict[str, dict] = {}
    configs, samples = {}, {}
    for name in tasks:
        track, lang, category = _LEAF.fullmatch(name).groups()
        config = f"{'benign' if track == 'benign' else 'text'}_{lang}"
        whole = [row for row in _rows(config)[1] if row["category"] == category]
        kwargs = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 512}
        kwargs |= generation or {}
        run = {"gvs_tasks": __version__}
        run["dataset"] = {"config": config, "source": "bundled", "revision": None}
        run["dataset"]["digest"] = digest_of(config)
        if track != "mc":
            run["judges"] = [{"name": judge, "digest": DIGEST} for judge in judges]
        configs[name] = {"task": name, "dataset_name": config, "num_fewshot": 0}
        configs[name] |= {"metadata": {"version": 1.0, "gvs_run": run | (record or {})}}
        if track != "mc":
            configs[name] |= {"output_type": "generate_until", "generation_kwargs": kwargs}
        lines = [
            _line(n, doc, track or "", judge, judged, response(doc), kwargs)
            for judge in (["none"] if track == "mc" else judges)
            for n, doc in enumerate(whole[:limit])
        ]
        samples[name] = lines
        scores[name] = {"name": name, "alias": name, "sample_len": len(whole[:limit])}
        for line in lines:
            mine = [each for each in lines if each["filter"] == line["filter"]]
            for metric in line["metrics"]:
                total = judged_stderr if metric.endswith("_stderr") else judged_mean
                scores[name][f"{metric},{line['filter']}"] = total([row[metric] for row in mine])
                # lm_eval knows no error of aggregations that are not its own.
                scores[name].setdefault(f"{metric}_stderr,{line['filter']}", "N/A")
    below = _groups(tasks)
    groups = {name: _group(name, below, scores) for name in below}
    results = {
        "results": scores | groups,
        "groups": groups,
        "group_subtasks": below,
        "configs": configs,
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "n-samples": {
            name: {"original": _size(name), "effective": scores[name]["sample_len"]}
            for name in tasks
        },
        "config": {
            "model": "hf",
            "model_args": {"pretrained": model},
            "batch_size": "1",
            "device": "cpu",
            "limit": None if limit is None else float(limit),
            "gen_kwargs": generation,
        },
        "date": 1767322800.5,
        "transformers_version": "5.0.0",
        "lm_eval_version": "0.4.13",
        "model_source": "hf",
        "model_name": model,
        "system_instruction": None,
        "chat_template": None,
        "chat_template_sha": None,
    }
    for name, lines in samples.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"samples_{name}_{date}.jsonl").write_text(text, encoding="utf-8")
    path = folder / f"results_{date}.json"
    path.write_text(json.dumps(results | known, indent=2), encoding="utf-8")
    return path


def _size(name: str) -> int:
    track, lang, category = _LEAF.fullmatch(name).groups()
    rows = _rows(f"{'benign' if track == 'benign' else 'text'}_{lang}")[1]
    return sum(row["category"] == category for row in rows)


def _line(
    n: int,
    doc: dict,
    track: str,
    judge: str,
    judged: Callable[[dict, str], Verdict],
    response: str,
    kwargs: dict,
) -> dict:
    if track == "mc":
        found = [(value, False) for value in likelihoods(doc)]
        resps = [[[str(value), str(greedy)]] for value, greedy in found]
        filtered = [[str(value), str(greedy)] for value, greedy in found]
        asked = {f"gen_args_{k}": {"arg_0": doc["prompt"], "arg_1": "A"} for k in range(6)}
    else:
        found = [judged(doc, judge).to_json()]
        resps, filtered = [[response]], found
        asked = {"gen_args_0": {"arg_0": doc["prompt"], "arg_1": kwargs}}
    metrics = _PROCESS[track](doc, found)
    return {
        "doc_id": n,
        "doc": doc,
        "target": doc.get("safe") or doc["answer"],
        "arguments": asked,
        "resps": resps,
        "filtered_resps": filtered,
        "filter": judge,
        "metrics": list(metrics),
        "doc_hash": "d" * 64,
        "prompt_hash": "p" * 64,
        "target_hash": "t" * 64,
    } | metrics


def _groups(tasks: list[str]) -> dict[str, list[str]]:
    """The groups that are whole, as lm_eval lists them."""
    taxonomy, found = load_taxonomy(), {}
    for prefix in ("gvs", "gvs_benign", "gvs_mc"):
        for lang in LANGUAGES:
            layers = {
                f"{prefix}_{lang}_{layer.slug}": [
                    f"{prefix}_{lang}_{c.slug}" for c in taxonomy.in_layer(layer.slug)
                ]
                for layer in taxonomy.layers
            }
            whole = {name: leaves for name, leaves in layers.items() if set(leaves) <= set(tasks)}
            found |= whole
            if whole.keys() == layers.keys():
                found[f"{prefix}_{lang}"] = list(layers)
        if {f"{prefix}_{lang}" for lang in LANGUAGES} <= found.keys():
            found[prefix] = [f"{prefix}_{lang}" for lang in LANGUAGES]
    return found


def _group(name: str, below: dict[str, list[str]], scores: dict[str, dict]) -> dict:
    def leaves(group: str) -> list[str]:
        return [
            leaf for each in below[group] for leaf in (leaves(each) if each in below else [each])
        ]

    members = [scores[leaf] for leaf in leaves(name)]
    keys = [key for key in members[0] if "," in key and "_stderr" not in key]
    means = {key: sum(member[key] for member in members) / len(members) for key in keys}
    total = sum(member["sample_len"] for member in members)
    errors = {key.replace(",", "_stderr,"): "N/A" for key in keys}
    return {"alias": name, "name": name, "sample_len": total} | means | errors


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def edit_samples(folder: Path, task: str, change: Callable[[list[dict]], Any]) -> None:
    """Tamper with the samples of a task: `change` edits the lines, or returns others."""
    (path,) = folder.rglob(f"samples_{task}_*.jsonl")
    lines = read_lines(path)
    changed = change(lines)
    text = "".join(json.dumps(line) + "\n" for line in (lines if changed is None else changed))
    path.write_text(text, encoding="utf-8")


def edit_results(folder: Path, change: Callable[[dict], Any]) -> None:
    """Tamper with the results file."""
    (path,) = folder.rglob("results_*.json")
    known = json.loads(path.read_text(encoding="utf-8"))
    change(known)
    path.write_text(json.dumps(known), encoding="utf-8")


def set_verdict(line: dict, **fields: Any) -> None:
    """Change fields of the verdict in a line."""
    found = json.loads(line["filtered_resps"][0]) | fields
    line["filtered_resps"] = [json.dumps(found)]
