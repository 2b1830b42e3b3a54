"""The benchmark's script: its numbers hang together, whatever the machine's speed."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
import transformers

from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Exchange, Verdict, get_judge
from gvs_tasks.judge.families import families
from gvs_tasks.options import Options

SCRIPTS = Path(__file__).parent.parent / "scripts"
N = 10


@pytest.fixture(scope="module")
def script():
    verbosity = transformers.utils.logging.get_verbosity()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TQDM_DISABLE", "1")  # as the script does, and taken back
        patch.syspath_prepend(SCRIPTS)
        spec = importlib.util.spec_from_file_location("bench_judge", SCRIPTS / "bench_judge.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # its dataclasses look their module up
        spec.loader.exec_module(module)
        yield module
    transformers.utils.logging.set_verbosity(verbosity)
    transformers.utils.logging.enable_progress_bar()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "train").mkdir()
    rows = [
        {"prompt": f"question {n}", "response": "a word " * (2 * n + 1), "lang": "en"}
        for n in range(N)
    ]
    for name in ("answers", "cold_texts"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "train" / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(script, data, judge_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "bench.json"
    arguments = ["--judge", str(judge_folder), "--data", str(data), "--device", "cpu"]
    script.main([*arguments, "--n", str(N), "--guard-n", "2", "--repeats", "2", "-o", str(output)])
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    return json.loads(output.read_text(encoding="utf-8"))


def test_every_way_is_timed_in_every_repetition(run):
    for part, count in (("classifier", 5), ("guard", 3)):
        rows = run[part]["rows"]
        assert len(rows) == count
        for row in rows:
            assert len(row["seconds"]) == 2 and min(row["seconds"]) > 0
            rate = row["rate"]
            assert rate["low"] <= rate["median"] <= rate["high"]
            assert rate["high"] == pytest.approx(row["answers"] / min(row["seconds"]))
            ratios = [
                s / row["answers"] / (ours / rows[0]["answers"])
                for s, ours in zip(row["seconds"], rows[0]["seconds"], strict=True)
            ]
            assert row["against"]["low"] == pytest.approx(min(ratios))
            assert row["against"]["high"] == pytest.approx(max(ratios))


def test_the_classifier_says_the_same_in_every_way(run):
    ours, one, unsorted, longest, half = run["classifier"]["rows"]
    for row in (ours, one, unsorted, longest):
        assert row["differing"] == 0 and row["change"] <= 2e-6
    assert 0 < half["change"] < 0.1
    assert one["padding"] == 0 < ours["padding"] <= unsorted["padding"] < 1
    assert longest["answers"] < ours["answers"] == N


def test_a_random_guard_is_timed_only(run):
    for row in run["guard"]["rows"]:
        assert row["differing"] is None and row["change"] is None
    assert "random weights" in run["guard"]["notes"][0]


def test_targets_say_whether_they_are_met(run):
    rows, targets = run["classifier"]["rows"], run["classifier"]["targets"]
    assert targets[0]["value"] == rows[1]["against"]["median"]
    assert targets[0]["met"] is (targets[0]["value"] >= 1.2)
    assert targets[2] == {
        "text": "labels that differ in float32: none",
        "value": 0,
        "met": True,
    }
    assert 0 < targets[3]["value"] < 1


def test_the_table(script):
    part = script.Part("Title", ["a note"], {"5%": 1, "most": 9})
    spread = script.Spread.of([3.0, 1.0, 2.0])
    part.rows = [script.Row("way", 4, [1.0], spread, spread, 0.25, None, None, None)]
    part.hope("fast", 0.5, False)
    lines = "\n".join(part.lines())
    assert "| way | 4 | 2 (1 to 3) | 2 (1 to 3) | 25.0% | - | - | - |" in lines
    assert "- fast: 0.5, **not met**" in lines


def test_a_label_that_differs_is_counted(script):
    class Model(torch.nn.Module):
        def forward(self, input_ids):
            return input_ids

    model = Model()

    def judging(unsafe, p):
        def judge(exchanges):
            model(input_ids=torch.ones(1, 2))
            return [Verdict(judge="", p_unsafe=p, unsafe=unsafe) for _ in exchanges]

        return judge

    ways = [
        script.Way("ours", judging(False, 0.4), model),
        script.Way("other", judging(True, 0.6), model, every=2),
    ]
    exchanges = [Exchange("a", str(n)) for n in range(4)]
    rows = script.measure(ways, exchanges, [1, 2, 3, 4], 1, torch.device("cpu"))
    assert [row.differing for row in rows] == [0, 2]
    assert rows[1].change == pytest.approx(0.2)


def test_uniform_inputs(script, judge_folder):
    judge = get_judge(Options(judge=str(judge_folder), judge_device="cpu"))
    exchanges = script.uniform(judge, script.bundled(), 12, 100)
    assert all(96 <= tokens <= 104 for tokens in script.lengths(judge, exchanges))
    with pytest.raises(GVSError, match="at most 248 tokens"):
        script.uniform(judge, {}, 1, 249)


def test_faults_are_named(script, tmp_path):
    with pytest.raises(SystemExit, match="no train/"):
        script.main(["--data", str(tmp_path)])
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.jsonl").write_text('{"prompt": "no answer"}\n', encoding="utf-8")
    with pytest.raises(SystemExit, match=r"a\.jsonl: line 1"):
        script.main(["--data", str(tmp_path)])


@pytest.mark.parametrize(
    ("family", "reply", "meaning"),
    [
        ("qwen3guard-gen", "Safety: Unsafe\nCategories: Violent\nRefusal: No", "unsafe"),
        ("qwen3guard-gen", "Safety: Controversial\nCategories: PII", "controversial"),
        ("llama-guard-3", "\n\nunsafe\nS1<|eot_id|>", "unsafe"),
        ("llama-guard-3", "\n\nsafe", "safe"),
        ("wildguard", "Harmful request: yes\nHarmful response: no\n", "safe"),
        ("shieldgemma", "Yes", "unsafe"),
        ("llama-guard-3", "I am not unsafe", None),
    ],
)
def test_generated_replies_are_parsed(script, family, reply, meaning):
    parse = sys.modules["_bench_guard"].parse
    assert parse(families()[family], reply) == meaning
