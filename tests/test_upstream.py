"""The importer of the published benchmark, and its tasks on what it wrote."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from gvs_tasks import tasks_path
from gvs_tasks.dataset import UPSTREAM_CONFIGS, load
from gvs_tasks.errors import GVSError
from gvs_tasks.taxonomy import load_taxonomy
from tests.test_run import InProcess
from tests.upstream import PLAIN, build_checkout

SCRIPT = Path(__file__).parent.parent / "scripts/import_upstream.py"
_spec = importlib.util.spec_from_file_location("import_upstream", SCRIPT)
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)


def run_import(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("upstream")
    output = run_import(build_checkout(folder / "checkout"), folder / "out")
    assert "restricts its use to academic research" in output
    assert "upstream_text_en: 15 prompts, 1 of them with an image" in output
    return folder / "out"


def test_every_config_loads(imported):
    counts = {name: len(load(name, str(imported))) for name in UPSTREAM_CONFIGS}
    assert counts == {
        f"upstream_{modality}_{lang}": count
        for modality, count in {"text": 15, "image": 2, "video": 1, "audio": 1}.items()
        for lang in ("en", "zh")
    }


def test_odd_blocks_are_read_whole(imported):
    english = load("upstream_text_en", str(imported)).to_list()
    chinese = load("upstream_text_zh", str(imported)).to_list()
    assert english[0] == {
        "id": "T-1",
        "lang": "en",
        "modality": "text",
        "layer": "baseline",
        "category": "life_safety",
        "prompt": "Please write a note that thanks my neighbour.",
        "focus": "The answer should be kind.",
        "attachment": None,
        "needs_image": False,
    }
    assert chinese[0]["prompt"] == "请帮我写一张感谢邻居的便条。"
    assert chinese[0]["focus"] == "回答应当友善。"
    assert english[1]["attachment"] == "2.jpg" and english[1]["needs_image"]
    assert chinese[1]["focus"] == "看不到图片时应当说明。"
    assert english[1]["focus"] == "It should say so when it sees no picture."
    assert chinese[2]["prompt"].split("\n\n") == [
        "先读下面这段话，再告诉我它的大意。",
        "“春天来了，A: the garden is green，大家都出门散步。”",
    ]
    assert english[2]["prompt"].startswith("Read the passage") and "花园" in english[2]["prompt"]


def test_other_modalities_keep_their_attachment_and_have_no_category(imported):
    (row,) = load("upstream_audio_zh", str(imported)).to_list()
    assert (row["attachment"], row["needs_image"], row["category"]) == ("1.mp3", False, None)
    (row,) = load("upstream_video_en", str(imported)).to_list()
    assert (row["attachment"], row["needs_image"]) == ("1.png", True)


def test_the_tasks_run_on_it(imported, monkeypatch, caplog):
    manager = TaskManager(include_path=str(tasks_path()), include_defaults=False)
    with pytest.raises(GVSError, match=r"import_upstream\.py"):
        manager.load(["gvs_upstream_en_bias"])
    monkeypatch.setenv("GVS_DATASET", str(imported))
    tasks = manager.load(["gvs_upstream"])["tasks"]
    assert len(tasks) == 2 * len(load_taxonomy().categories)
    docs = list(tasks["gvs_upstream_zh_life_safety"].test_docs())
    assert [doc["id"] for doc in docs] == ["T-1", "T-2", "T-3", "T-4"]
    assert "gvs_upstream_zh_life_safety: T-2 refer to an image" in caplog.text


def test_answers_to_it_are_judged(imported, judge_folder):
    metadata = {"gvs_judge": str(judge_folder), "gvs_dataset": str(imported)}
    run = InProcess.run(["可以。"], metadata, task="gvs_upstream_zh_life_safety")
    assert run["results"]["gvs_upstream_zh_life_safety"]["coverage,tiny-judge"] == 1
    rows = run["samples"]["gvs_upstream_zh_life_safety"]
    assert [row["doc"]["needs_image"] for row in rows] == [False, True, False, False]
    assert rows[0]["target"] == "回答应当友善。"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("T-4:\n", "T-4\n", "line 34: 'T-4' is no header"),
        ("T-5:\n", "T-5: bild\n", "'T-5: bild' is no header"),
        ("T-5:\n", "T-4:\n", r"T-4 \(line 43\): this id is already used"),
        (
            "Evaluation Focus: The answer",
            "Focus: The answer",
            r"T-1 \(line 1\): a paragraph stands",
        ),
        ("测评重点: 回答应当友善。", "", r"T-1 \(line 1\): no line '测评重点"),
        ("This is request T-6.\n", "", r"T-6 \(line 52\): 1 paragraphs of prompt"),
        (
            "请帮我写一张感谢邻居的便条。\n\nPlease write a note that thanks my neighbour.",
            "Write to 王.\n\n请写 ok",
            "Chinese first",
        ),
        ("T-6:\n", "t-6:\n", "line 52: 't-6:' is no header"),
        ("T-6:\n", "T6：\n", "line 52: 'T6：' is no header"),
        ("T-1:\n", "Notes\nT-1:\n", "line 1: text before the first 'T-1:'"),
        ("T-15:\n", "T-99:\n", "no category for T-99"),
        (PLAIN.format(name="T-15"), "", "no block for T-15: is it cut off"),
    ],
)
def test_malformed_blocks_are_named(tmp_path, old, new, message):
    checkout = build_checkout(tmp_path / "checkout")
    path = checkout / "data/text/text_prompt.txt"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(GVSError, match=message):
        script.rows(checkout)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text_subcategory.json", "[]", "must be one object"),
        ("text_subcategory.json", "{", "cannot be read"),
        ("text_subcategory.json", '{"T-1": "Gardening"}', "T-1: unknown category 'Gardening'"),
        ("subcategory_layer.json", '{"Gardening": "x"}', "is not in the scale"),
        ("image/image_prompt.txt", "", r"no block \('I-1:'\) found"),
        ("image/image_prompt.txt", PLAIN.format(name="T-1"), "text before the first 'I-1:'"),
    ],
)
def test_other_files_are_checked(tmp_path, name, content, message):
    checkout = build_checkout(tmp_path / "checkout")
    (checkout / "data" / name).write_text(content, encoding="utf-8")
    with pytest.raises(GVSError, match=message):
        script.rows(checkout)


def test_nothing_is_overwritten(tmp_path, imported):
    checkout = build_checkout(tmp_path / "checkout")
    before = sorted(imported.rglob("*"))
    assert "exists" in run_import(checkout, imported, code=1)
    assert sorted(imported.rglob("*")) == before
    output = run_import(tmp_path, tmp_path / "out", code=1)
    assert output.startswith("import_upstream: ") and len(output.splitlines()) == 1
    assert "no folder 'data'" in output and not (tmp_path / "out").exists()
