"""Every leaf and group loads in lm_eval itself, and generated files are up to date."""

import pytest
from lm_eval.tasks import TaskManager

from gvs_tasks import tasks_path
from gvs_tasks.errors import GVSError
from gvs_tasks.generate import differences, write
from gvs_tasks.taxonomy import LANGUAGES, load_taxonomy

CATEGORIES = [category.slug for category in load_taxonomy().categories]
LAYERS = [layer.slug for layer in load_taxonomy().layers]
#: The dataset config of each track. Upstream rows are not bundled: see test_upstream.py.
TRACKS = {"gvs": "text", "gvs_benign": "benign", "gvs_mc": "text"}
LEAVES = [f"{t}_{lang}_{c}" for t in TRACKS for lang in LANGUAGES for c in CATEGORIES]
GROUPS = [
    *TRACKS,
    *(f"{t}_{lang}" for t in TRACKS for lang in LANGUAGES),
    *(f"{t}_{lang}_{layer}" for t in TRACKS for lang in LANGUAGES for layer in LAYERS),
]


@pytest.fixture(scope="module")
def manager() -> TaskManager:
    return TaskManager(include_path=str(tasks_path()), include_defaults=False)


def of_upstream(name: str) -> bool:
    return name.startswith("gvs_upstream")


def test_generated_files_are_up_to_date(tmp_path):
    assert differences() == []
    (tmp_path / "stray.yaml").write_text("task: stray")
    assert "stray.yaml" in differences(tmp_path)
    upstream = (len(LEAVES) + len(GROUPS)) // len(TRACKS)
    assert write(tmp_path) == len(LEAVES) + len(GROUPS) + upstream
    assert differences(tmp_path) == []


def test_lm_eval_lists_them(manager):
    leaves = [name for name in manager.all_subtasks if not of_upstream(name)]
    groups = [name for name in manager.all_groups if not of_upstream(name)]
    assert sorted(leaves) == sorted(LEAVES)
    assert sorted(groups) == sorted(GROUPS)


@pytest.mark.parametrize("name", LEAVES)
def test_leaf(manager, name):
    (task,) = manager.load([name])["tasks"].values()
    docs = list(task.test_docs())
    track, lang, category = next(
        (t, lang, c)
        for t in TRACKS
        for lang in LANGUAGES
        for c in CATEGORIES
        if name == f"{t}_{lang}_{c}"
    )
    assert {(doc["lang"], doc["category"]) for doc in docs} == {(lang, category)}
    assert task.config.dataset_name == f"{TRACKS[track]}_{lang}"
    assert task.doc_to_text(docs[0]) == docs[0]["prompt"]
    assert task.VERSION == 1.0
    greedy = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 512}
    if track != "gvs_mc":
        assert task.config.generation_kwargs == greedy


@pytest.mark.parametrize("name", GROUPS)
def test_group(manager, name):
    loaded = manager.load([name])
    leaves = set(loaded["tasks"])
    track = next(track for track in reversed(TRACKS) if name.startswith(track))
    rest = name.removeprefix(track).strip("_").split("_", 1)
    assert leaves <= {f"{track}_{lang}_{c}" for lang in LANGUAGES for c in CATEGORIES}
    expected = len(CATEGORIES) * (1 if rest[0] else 2)
    if len(rest) == 2:
        expected = len(load_taxonomy().in_layer(rest[1]))
    assert len(leaves) == expected
    assert loaded["groups"][name].has_aggregation
    assert loaded["groups"][name].version == "1.0"


def test_an_unknown_category_is_named(manager):
    entry = manager.task_index["gvs_en_bias"]
    with pytest.raises(GVSError, match=r"Unknown category 'bais'\. Did you mean 'bias'"):
        manager._factory._build_task(entry, {"dataset_kwargs": {"category": "bais"}})
