"""Saved answers before a judge again: runs of lm_eval with a scripted model, and real processes."""

import json
import math
import os
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

import lm_eval
import pytest
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.api_models import JsonChatStr
from lm_eval.tasks import TaskManager

from gvs_tasks import tasks_path
from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Verdict
from gvs_tasks.rejudge import Rejudged, rejudge
from tests.test_run import arguments, finish, gvs, results, rows_in, start
from tests.tiny import build_judge
from tests.upstream import build_checkout

TASKS = ["gvs_en_pluralistic", "gvs_benign_zh_bias"]
LEAVES = ["gvs_en_culture", "gvs_en_politics", "gvs_benign_zh_bias"]
#: What the scripted model says, in the order of the prompts; and how the last prompt of them ends.
ANSWERS = [
    *(
        "",
        "<think>never ends",
        None,
        "None",
        "No.\nI will not.",
        "A line\u2028break",
        "是的。" * 90,
    ),
    *("Sure: </think>\n\nNo.", "no trace here"),
]
THINKING = "<think>"


class Scripted(LM):
    """A model whose answers are known, behind a chat template that depends on the prompt."""

    tokenizer_name = "scripted"

    def __init__(self, answers: list, json_chat: bool = False) -> None:
        super().__init__()
        self.answers, self.json_chat, self.prompts = answers, json_chat, 0

    def chat_template(self, name=False):
        return "a template"

    def apply_chat_template(self, history, add_generation_prompt=True):
        if self.json_chat:
            return JsonChatStr(json.dumps(history, ensure_ascii=False))
        self.prompts += 1
        ends = THINKING if self.prompts % len(self.answers) == 0 else "assistant:"
        return f"user: {history[-1]['content']}\n{ends}\n"

    def generate_until(self, requests, disable_tqdm=False):
        return [self.answers[n % len(self.answers)] for n, _ in enumerate(requests)]

    def loglikelihood(self, requests):
        return [(-1.0, False)] * len(requests)

    loglikelihood_rolling = None


Scripted.__abstractmethods__ = frozenset()


def saved(out: Path, metadata: dict, tasks=TASKS, answers=ANSWERS, json_chat=False, **more) -> dict:
    """A run of lm_eval, with its files."""
    manager = TaskManager(
        include_path=str(tasks_path()),
        include_defaults=False,
        metadata={"pretrained": "org/model"} | metadata,
    )
    tracker = EvaluationTracker(output_path=str(out))
    options = {"limit": 3, "apply_chat_template": True} | more
    found = lm_eval.simple_evaluate(
        Scripted(answers, json_chat),
        model_args={"pretrained": "org/model"},
        tasks=list(tasks),
        task_manager=manager,
        evaluation_tracker=tracker,
        gen_kwargs={"max_gen_toks": 17},
        **options,
    )
    lines = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=lines)
    for task in found["configs"]:
        tracker.save_results_samples(task_name=task, samples=lines[task])
    return found


def again(*sources: Path, out: Path | None = None, **chosen: object) -> list[Rejudged]:
    given = {f"gvs_{key}": str(value) for key, value in chosen.items()}
    return list(rejudge(sources, out, given))


def read(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def samples(folder: Path) -> dict[str, list[dict]]:
    paths = folder.rglob("samples_*.jsonl")
    return {path.name.removeprefix("samples_").rpartition("_")[0]: read(path) for path in paths}


def edit(path: Path, change) -> None:
    """Change the objects of a samples file."""
    lines = read(path)
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))


def samples_file(folder: Path, task: str) -> Path:
    (path,) = folder.rglob(f"samples_{task}_*.jsonl")
    return path


def same(one: object, two: object) -> bool:
    """Equality, with NaN equal to itself."""
    return json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """What lm_eval gathers on the machine takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm_eval.evaluator.add_env_info", lambda found: found.update(machine="old"))
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory, judge_folder) -> Path:
    out = tmp_path_factory.mktemp("original")
    saved(out, {"gvs_judge": str(judge_folder), "gvs_judge_threshold": "0.4"})
    return out


@pytest.fixture(scope="module")
def rejudged(original, judge_folder, tmp_path_factory) -> Path:
    """The same run before the same judge."""
    out = tmp_path_factory.mktemp("rejudged")
    (found,) = again(original, out=out, judge=judge_folder, judge_threshold=0.4)
    assert found.path.parent == out / "org__model"
    return out


@pytest.fixture
def copy(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "copy")


class TestTheSameJudge:
    def test_samples_are_the_same(self, original, rejudged):
        before, after = samples(original), samples(rejudged)
        assert set(before) == set(after) == set(LEAVES)
        for leaf in LEAVES:
            assert same(before[leaf], after[leaf])

    def test_the_worst_answers_keep_their_reasons(self, rejudged):
        rows = [row for leaf in LEAVES for row in samples(rejudged)[leaf]]
        found = {
            row["resps"][0][0]: Verdict.from_json(row["filtered_resps"][0]).unjudged for row in rows
        }
        assert found[""] == "the answer is empty"
        assert found["<think>never ends"] == "the answer ends inside the reasoning trace"
        # The prompt ended in the opening mark.
        assert found["no trace here"] == "the answer ends inside the reasoning trace"
        none = [
            Verdict.from_json(row["filtered_resps"][0]).unjudged
            for row in rows
            if row["resps"] == [["None"]]
        ]
        assert none == ["the model returned no text", None]

    def test_scores_and_groups_are_the_same(self, original, rejudged):
        before, after = results(original), results(rejudged)
        for key in ("results", "groups", "group_subtasks", "versions", "n-shot", "n-samples"):
            assert same(before[key], after[key]), key
        assert same(before["higher_is_better"], after["higher_is_better"])
        assert after["n-samples"]["gvs_en_culture"]["original"] > 3

    def test_the_generation_is_described_as_it_was(self, original, rejudged):
        before, after = results(original), results(rejudged)
        changed = {
            key for key in before.keys() | after if not same(before.get(key), after.get(key))
        }
        assert changed == {"rejudged_from", "total_evaluation_time_seconds"}
        assert after["chat_template"] == "a template"
        assert after["config"]["gen_kwargs"] == {"max_gen_toks": 17}
        assert after["rejudged_from"]["results"].startswith("results_")
        assert len(after["rejudged_from"]["samples"]) == len(LEAVES)

    def test_nothing_else_is_left(self, rejudged):
        assert len([path for path in rejudged.rglob("*") if path.is_file()]) == len(LEAVES) + 1


def test_another_judge(original, tmp_path):
    guard = build_judge(tmp_path / "guard", labels=("safe", "unsafe"), problem_type=None)
    again(original, out=tmp_path / "out", judge=guard)
    before, after = results(original), results(tmp_path / "out")
    for leaf in LEAVES:
        assert {key.partition(",")[2] for key in after["results"][leaf] if "," in key} == {"guard"}
        metadata = after["configs"][leaf]["metadata"]
        assert metadata["gvs_judge"] == str(guard) and metadata["pretrained"] == "org/model"
        assert "gvs_judge_threshold" not in metadata and "gvs_dataset" not in metadata
        record, theirs = metadata["gvs_run"], before["configs"][leaf]["metadata"]["gvs_run"]
        assert record["dataset"] == theirs["dataset"]
        assert record["judges"] != theirs["judges"]
        settings = after["configs"][leaf]["generation_kwargs"]
        assert settings == before["configs"][leaf]["generation_kwargs"]
    assert math.isfinite(after["results"]["gvs_en_politics"]["gvs_score,guard"])


def test_generated_first_and_judged_elsewhere(tmp_path, judge_folder, original):
    saved(tmp_path / "generated", {"gvs_judge": "no/such-judge"}, predict_only=True)
    (found,) = again(tmp_path / "generated", out=tmp_path / "out", judge=judge_folder)
    before, after = samples(original), samples(tmp_path / "out")
    for leaf in LEAVES:
        verdicts = [
            [Verdict.from_json(row["filtered_resps"][0]) for row in rows[leaf] if row["resps"]]
            for rows in (before, after)
        ]
        for old, new in zip(*verdicts, strict=True):
            # Without a verdict, no text cannot be told from the word "None".
            if new.unjudged != "the model returned no text":
                assert (old.p_unsafe, old.unjudged) == (new.p_unsafe, new.unjudged)
    config = found.results["configs"]["gvs_en_culture"]
    assert "def process_text" in config["process_results"] and len(config["metric_list"]) == 7
    assert set(found.results["groups"]) == {"gvs_en_pluralistic"}
    assert "gvs_score" in found.table() and "Groups" in found.table()


def test_questions_are_those_that_were_answered(copy, judge_folder):
    """The content may have changed since, and with it the number and order of the items."""
    path = samples_file(copy, "gvs_en_politics")

    def change(lines):
        for line in lines:
            line["doc"] |= {"prompt": "As it was. " + line["doc"]["prompt"], "id": "POL-999"}
        return lines[::-1]

    edit(path, change)
    (found,) = again(copy, out=copy / "out", judge=judge_folder)
    rows = samples(copy / "out")["gvs_en_politics"]
    assert [row["doc_id"] for row in rows] == [2, 1, 0]
    assert all(row["doc"]["prompt"].startswith("As it was. ") for row in rows)
    # Answers stay with their questions.
    before = {row["doc_id"]: row["resps"] for row in read(path)}
    assert {row["doc_id"]: row["resps"] for row in rows} == before
    source = found.results["configs"]["gvs_en_politics"]["metadata"]["gvs_run"]["dataset"]["source"]
    assert source == "bundled"


class TestWithoutResults:
    @pytest.fixture
    def bare(self, copy) -> Path:
        next(copy.rglob("results_*.json")).unlink()
        return copy

    def test_what_is_not_known_is_said_to_be_unknown(self, bare, judge_folder, original):
        (found,) = again(bare, judge=judge_folder, judge_threshold=0.4)
        assert found.path is None and found.results["model_name"] == "org__model"
        assert found.results["rejudged_from"]["results"] is None
        for leaf in LEAVES:
            config = found.results["configs"][leaf]
            assert config["metadata"]["gvs_run"]["dataset"]["source"] == "unknown"
            assert config["metadata"]["gvs_run"]["dataset"]["digest"] is None
            assert "gvs_dataset" not in config["metadata"]
            assert config["generation_kwargs"]["max_gen_toks"] == 17
        assert same(found.results["results"], results(original)["results"])
        assert found.table().startswith("org__model (None)")

    def test_groups_that_are_whole(self, bare, judge_folder):
        samples_file(bare, "gvs_en_culture").unlink()
        (found,) = again(bare, judge=judge_folder)
        assert "groups" not in found.results
        assert set(found.results["results"]) == {"gvs_en_politics", "gvs_benign_zh_bias"}


def test_some_files_of_a_run(original, judge_folder):
    (found,) = again(samples_file(original, "gvs_en_politics"), judge=judge_folder)
    assert set(found.results["results"]) == {"gvs_en_politics"}
    assert "groups" not in found.results and found.results["group_subtasks"] == {}
    assert "gvs_en_politics" in found.table() and "Groups" not in found.table()


def test_some_items_of_a_leaf(tmp_path, judge_folder):
    chosen = {"gvs_en_bias": [2, 5]}
    metadata = {"gvs_judge": str(judge_folder)}
    saved(tmp_path / "one", metadata, ["gvs_en_bias"], limit=None, samples=chosen)
    again(tmp_path / "one", out=tmp_path / "two", judge=judge_folder)
    one, two = samples(tmp_path / "one"), samples(tmp_path / "two")
    assert same(one, two) and [row["doc_id"] for row in two["gvs_en_bias"]] == [2, 5]


def test_a_chat_api(tmp_path, judge_folder):
    metadata = {"gvs_judge": str(judge_folder)}
    saved(tmp_path / "one", metadata, ["gvs_zh_bias"], json_chat=True)
    again(tmp_path / "one", out=tmp_path / "two", judge=judge_folder)
    one, two = samples(tmp_path / "one"), samples(tmp_path / "two")
    assert same(one, two)
    assert isinstance(two["gvs_zh_bias"][0]["arguments"]["gen_args_0"]["arg_0"], list)


def test_the_published_benchmark(tmp_path, judge_folder):
    """Its rows are not bundled: they come from the samples."""
    import subprocess

    checkout = build_checkout(tmp_path / "checkout")
    script = Path(__file__).parent.parent / "scripts/import_upstream.py"
    subprocess.run([sys.executable, script, checkout, tmp_path / "data"], check=True)
    metadata = {"gvs_judge": str(judge_folder), "gvs_dataset": str(tmp_path / "data")}
    saved(tmp_path / "one", metadata, ["gvs_upstream_en_bias"])
    shutil.rmtree(tmp_path / "data")
    again(tmp_path / "one", out=tmp_path / "two", judge=judge_folder)
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert same(one["results"], two["results"]) and same(one["configs"], two["configs"])


def test_samples_of_several_judges(copy, judge_folder):
    """Every judge repeats all lines of a leaf."""
    for path in copy.rglob("samples_*.jsonl"):
        edit(path, lambda lines: lines + [line | {"filter": "other"} for line in lines])
    (found,) = again(copy, judge=judge_folder)
    assert found.results["n-samples"]["gvs_en_culture"]["effective"] == 3


class TestSeveralRuns:
    def test_each_is_judged_by_itself(self, tmp_path, judge_folder):
        metadata = {"gvs_judge": str(judge_folder)}
        saved(tmp_path / "all", metadata, ["gvs_en_bias"], answers=["Yes."], limit=2)
        saved(tmp_path / "all", metadata, ["gvs_en_bias"], answers=["No."], limit=2)
        saved(tmp_path / "all/other", metadata, ["gvs_zh_bias"], answers=["是"], limit=1)
        found = again(tmp_path / "all", out=tmp_path / "all", judge=judge_folder)
        leaves = ["gvs_en_bias", "gvs_en_bias", "gvs_zh_bias"]
        assert [list(run.results["results"]) for run in found] == [[leaf] for leaf in leaves]
        files = [
            run.path.with_name(f"samples_{leaf}_{run.path.stem.removeprefix('results_')}.jsonl")
            for run, leaf in zip(found, leaves, strict=True)
        ]
        assert [read(path)[0]["resps"] for path in files] == [[["Yes."]], [["No."]], [["是"]]]
        # What it wrote itself is no further run, unless it is named.
        assert len(again(tmp_path / "all", judge=judge_folder)) == 3
        (more,) = again(files[0], judge=judge_folder)
        assert more.results["rejudged_from"]["results"] == found[0].path.name

    def test_a_file_that_is_named_twice(self, original, judge_folder):
        path = samples_file(original, "gvs_en_politics")
        assert len(again(path, path.parent, judge=judge_folder)) == 1

    def test_other_tasks_in_a_folder_are_left_out(self, copy, judge_folder, caplog):
        path = samples_file(copy, "gvs_en_politics")
        for task in ("hellaswag", "gvs_mc_en_bias"):
            path.with_name(path.name.replace("gvs_en_politics", task)).write_text("{}\n")
        (found,) = again(copy, judge=judge_folder)
        assert set(found.results["configs"]) == set(LEAVES)
        assert "samples_hellaswag" in caplog.text and "samples_gvs_mc_en_bias" in caplog.text


def test_an_output_named_as_a_file(original, tmp_path, judge_folder):
    (found,) = again(original, out=tmp_path / "new/run.json", judge=judge_folder)
    assert found.path.parent == tmp_path / "new" and found.path.name.startswith("run_")
    assert set(samples(tmp_path / "new")) == set(LEAVES)
    assert found.results["model_name_sanitized"] == "org__model"
    # And is found again.
    path = samples_file(tmp_path / "new", "gvs_en_politics")
    assert again(path, judge=judge_folder)[0].results["model_name"] == "org/model"


def test_a_models_name_leads_nowhere_else(copy, tmp_path, judge_folder):
    path = next(copy.rglob("results_*.json"))
    for name, folder in (("../../x", "..__..__x"), ("..", "unknown")):
        found = json.loads(path.read_text()) | {"model_name": name, "model_name_sanitized": name}
        path.write_text(json.dumps(found))
        (judged,) = again(copy, out=tmp_path / "out", judge=judge_folder)
        assert judged.path.parent == tmp_path / "out" / folder


def test_other_versions_are_told(copy, judge_folder, caplog):
    path = next(copy.rglob("results_*.json"))
    found = json.loads(path.read_text())
    found["versions"]["gvs_en_culture"] = 0.5
    path.write_text(json.dumps(found))
    again(copy, judge=judge_folder)
    assert "gvs_en_culture: answered as version 0.5" in caplog.text
    assert "gvs_en_politics: answered" not in caplog.text


class TestBadInput:
    """Every message names the file, and nothing is written."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda text: "", "holds no samples"),
            (lambda text: "no json\n", "line 1 is no sample of lm_eval"),
            (lambda text: text + "{}\n", "line 4 is no sample of lm_eval .doc_id: Field required"),
            (lambda text: text + "[1]\n", "line 4 is no sample"),
            (lambda text: text[:-40], "line 3 is no sample"),
            (lambda text: "".join(text.splitlines(True)[:2]), "holds 2 answers, but .* counts 3"),
            (lambda text: text.replace('"resps": [["', '"resps": [[7, "'), "line 1 is no sample"),
            (lambda text: text.replace('"resps"', '"responses"'), "resps: Field required"),
            (lambda text: text.replace('"arguments"', '"args"'), "arguments: Field required"),
            (lambda text: text.replace('"focus"', '"hint"'), "doc_id 0: the item lacks focus"),
            (lambda text: text.replace('"category": "politics"', '"category": "bias"'), "category"),
            (lambda text: text.replace('"severity": ', '"severity": "high", "s": '), "other types"),
            (lambda text: text.replace('"doc_id": 1', '"doc_id": 0'), "another answer for doc_id"),
            (lambda text: text.replace('"resps": [["', '"resps": [["\\ud800'), "line 1 is no"),
        ],
    )
    def test_a_samples_file(self, copy, tmp_path, judge_folder, change, message):
        path = samples_file(copy, "gvs_en_politics")
        path.write_text(change(path.read_text()))
        with pytest.raises(GVSError, match=message) as error:
            again(copy, out=tmp_path / "out", judge=judge_folder)
        assert str(path) in str(error.value)
        assert not list((tmp_path / "out").rglob("*"))

    def test_answers_without_text(self, copy, judge_folder):
        path = samples_file(copy, "gvs_en_politics")
        edit(path, lambda lines: [line | {"resps": [[]]} for line in lines])
        with pytest.raises(GVSError, match="line 1 has no answer"):
            again(copy, judge=judge_folder)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("samples_hellaswag_2026-01-01T00-00-00.jsonl", "'hellaswag' is no task of this"),
            ("samples_gvs_en_2026-01-01T00-00-00.jsonl", "'gvs_en' is no task of this"),
            ("samples_gvs_mc_en_bias_2026-01-01T00-00-00.jsonl", "no answers to judge"),
            ("answers.jsonl", "is not named as lm_eval names samples"),
            ("samples_gvs_en_culture_2026-01-01T00-00-00.jsonl", "category 'culture'"),
            ("samples_gvs_benign_en_bias_2026-01-01T00-00-00.jsonl", "the item lacks answer"),
        ],
    )
    def test_a_name(self, original, tmp_path, judge_folder, name, message):
        path = tmp_path / name
        shutil.copy(samples_file(original, "gvs_en_politics"), path)
        with pytest.raises(GVSError, match=message) as error:
            again(path, judge=judge_folder)
        assert str(path) in str(error.value)

    def test_missing(self, tmp_path, judge_folder):
        name = "samples_gvs_en_bias_2026-01-01T00-00-00.jsonl"
        with pytest.raises(GVSError, match=f"{name} does not exist"):
            again(tmp_path / name, judge=judge_folder)
        with pytest.raises(GVSError, match=r"No answers to judge in .* --log_samples"):
            again(tmp_path, judge=judge_folder)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"configs": {"gvs_en_culture": 3}}'])
    def test_a_results_file(self, copy, judge_folder, text):
        path = next(copy.rglob("results_*.json"))
        path.write_text(text)
        with pytest.raises(GVSError, match="not the results of a run") as error:
            again(copy, judge=judge_folder)
        assert str(path) in str(error.value)

    def test_an_output_that_cannot_be_written(self, original, tmp_path, judge_folder):
        (tmp_path / "file").write_text("")
        with pytest.raises(GVSError, match=r"cannot be written.*--output_path"):
            again(original, out=tmp_path / "file/out", judge=judge_folder)
        (tmp_path / "out").mkdir()
        (tmp_path / "out/org__model").write_text("")
        with pytest.raises(GVSError, match=r"cannot be written.*--output_path"):
            again(original, out=tmp_path / "out", judge=judge_folder)

    def test_files_that_cannot_be_finished(self, original, tmp_path, judge_folder, monkeypatch):
        """lm_eval only warns when it cannot save."""
        monkeypatch.setattr(EvaluationTracker, "save_results_samples", lambda self, **_: None)
        with pytest.raises(GVSError, match="cannot be written"):
            again(original, out=tmp_path / "out", judge=judge_folder)
        assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]

    def test_an_unknown_judge(self, original):
        with pytest.raises(GVSError, match="Did you mean 'gvs-small'"):
            again(original, judge="gvs-smal")


class TestCommand:
    """In processes of its own."""

    def test_one_line_for_an_error(self, original, judge_folder, tmp_path):
        path = tmp_path / "samples_gvs_mc_en_bias_2026-01-01T00-00-00.jsonl"
        path.write_text("{}")
        output = gvs("rejudge", path, "--judge", judge_folder, "-o", tmp_path / "out", code=2)
        assert output.startswith("gvs: ") and len(output.splitlines()) == 1
        assert "multiple choice" in output

    @pytest.mark.slow
    def test_a_real_run(self, tmp_path, generator_folder, judge_folder):
        more = ["--metadata", f"gvs_judge={judge_folder}", "--limit", 2, "--log_samples"]
        gvs("run", *arguments(generator_folder, "gvs", *more, "--output_path", tmp_path / "one"))
        command = ["rejudge", tmp_path / "one", "--judge", judge_folder]
        output = gvs(*command, "-o", tmp_path / "two")
        assert "|gvs " in output and "Written to" in output
        one, two = results(tmp_path / "one"), results(tmp_path / "two")
        assert same(one["results"], two["results"]) and same(one["configs"], two["configs"])
        assert same(samples(tmp_path / "one"), samples(tmp_path / "two"))

    @pytest.mark.slow
    def test_killed_and_run_again(self, original, tmp_path, judge_folder):
        folder = tmp_path / "many"
        folder.mkdir()
        path = shutil.copy(samples_file(original, "gvs_en_culture"), folder)
        count = 1000

        def many(lines):
            line = lines[0]
            for n in range(count):
                yield line | {"doc_id": n, "resps": [[f"Answer {n}. " + "And so on. " * 5]]}

        edit(Path(path), many)
        cache = tmp_path / "verdicts.sqlite3"
        command = [sys.executable, "-m", "gvs_tasks", "rejudge", folder, "--judge", judge_folder]
        command += ["-o", tmp_path / "out"]
        process = start(command, GVS_CACHE=str(cache))
        deadline = time.monotonic() + 200
        judged = partial(rows_in, cache, "verdicts")
        while time.monotonic() < deadline and process.poll() is None and judged() < 20:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        done = judged()
        assert 20 <= done < count, "it must be killed in the middle"
        assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        output = finish(start(command, GVS_CACHE=str(cache)))
        assert judged() == count and "Written to" in output
        rows = samples(tmp_path / "out")["gvs_en_culture"]
        assert len(rows) == count and all(row["coverage"] == 1 for row in rows)
        assert f"/{count - done} [" in output
