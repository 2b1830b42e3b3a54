"""Real runs: lm_eval's own command line in real processes, on a tiny random model."""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gvs_tasks import harness, tasks_path
from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Verdict
from gvs_tasks.taxonomy import LANGUAGES, load_taxonomy
from tests.tiny import build_judge

ROOT = Path(__file__).parent.parent
TAXONOMY = load_taxonomy()
LEAVES = [f"gvs_{lang}_{c.slug}" for lang in LANGUAGES for c in TAXONOMY.categories]
GROUPS = [
    "gvs",
    *(f"gvs_{lang}" for lang in LANGUAGES),
    *(f"gvs_{lang}_{layer.slug}" for lang in LANGUAGES for layer in TAXONOMY.layers),
]


def arguments(model: Path, tasks: str, *more: object) -> list[str]:
    return [
        *("--model", "hf", "--model_args", f"pretrained={model}", "--device", "cpu"),
        *("--batch_size", "8", "--gen_kwargs", "max_gen_toks=12", "--tasks", tasks),
        *(str(argument) for argument in more),
    ]


def start(command: list[object], cwd: Path | None = None, **environ: str) -> subprocess.Popen:
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen, code: int = 0) -> str:
    output = process.communicate(timeout=1500)[0]
    assert process.returncode == code, output[-4000:]
    return output


def gvs(*arguments: object, code: int = 0, **environ: str) -> str:
    return finish(start([sys.executable, "-m", "gvs_tasks", *arguments], **environ), code)


def results(folder: Path) -> dict:
    (path,) = folder.rglob("results_*.json")
    return json.loads(path.read_text())


def rows_in(database: Path, table: str) -> int:
    """Rows of an SQLite file that another process writes, or was killed while writing.

    Not opened read-only: only who may write can undo what was half written.
    """
    if not database.exists():
        return 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(database)) as connection:
        return connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    return 0


def samples(folder: Path) -> dict[str, list[dict]]:
    return {
        path.name.removeprefix("samples_").rpartition("_")[0]: [
            json.loads(line) for line in path.read_text().splitlines()
        ]
        for path in folder.rglob("samples_*.jsonl")
    }


@pytest.fixture
def link():
    """Link, and leave the environment as it was found."""
    folder = harness._link_folder()
    before = harness._read_link(folder)
    gvs("link")
    yield
    gvs("link", "--undo")
    if before:
        folder.mkdir()
        for name, text in before.items():
            (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, generator_folder, judge_folder) -> Path:
    """The main job: all of ``gvs`` with samples."""
    out = tmp_path_factory.mktemp("whole")
    metadata = f"gvs_judge={judge_folder}"
    more = ["--metadata", metadata, "--limit", 2, "--output_path", out, "--log_samples"]
    output = gvs("run", *arguments(generator_folder, "gvs", *more))
    (out / "terminal.txt").write_text(output)
    return out


class TestWholeRun:
    def test_every_leaf_and_group_has_finite_scores(self, whole):
        scores = results(whole)["results"]
        assert set(LEAVES + GROUPS) == set(scores)
        for name in LEAVES + GROUPS:
            assert 0 <= scores[name]["gvs_score,tiny-judge"] <= 10
            assert scores[name]["coverage,tiny-judge"] == 1.0
            assert math.isfinite(scores[name]["gvs_score_stderr,tiny-judge"])

    def test_groups_are_unweighted_means_over_categories(self, whole):
        scores = results(whole)["results"]
        for metric in ("gvs_score", "safe_rate", "refusal_rate", "coverage"):
            key = f"{metric},tiny-judge"
            for lang in LANGUAGES:
                leaves = [scores[f"gvs_{lang}_{c.slug}"][key] for c in TAXONOMY.categories]
                assert scores[f"gvs_{lang}"][key] == pytest.approx(sum(leaves) / 12)
            both = [scores[leaf][key] for leaf in LEAVES]
            assert scores["gvs"][key] == pytest.approx(sum(both) / 24)

    def test_every_sample_carries_its_verdict(self, whole):
        files = samples(whole)
        assert set(files) == set(LEAVES)
        digests = set()
        for name, rows in files.items():
            assert len(rows) == 2
            for row in rows:
                verdict = Verdict.from_json(row["filtered_resps"][0])
                assert row["gvs_score"] == pytest.approx(10 * (1 - verdict.p_unsafe))
                assert name == f"gvs_{row['doc']['lang']}_{row['doc']['category']}"
                digests.add(verdict.judge)
        assert len(digests) == 1

    def test_the_results_name_judge_and_dataset(self, whole):
        (row, *_) = samples(whole)[LEAVES[0]]
        for config in results(whole)["configs"].values():
            run = config["metadata"]["gvs_run"]
            assert run["judges"][0]["digest"] == Verdict.from_json(row["filtered_resps"][0]).judge
            assert run["dataset"]["source"] == "bundled"
            assert len(run["dataset"]["digest"]) == 16

    def test_leaf_scores_are_the_means_of_their_samples(self, whole):
        scores = results(whole)["results"]
        for name, rows in samples(whole).items():
            mean = sum(row["gvs_score"] for row in rows) / len(rows)
            assert scores[name]["gvs_score,tiny-judge"] == pytest.approx(mean)

    def test_the_judge_runs_once_for_all_leaves(self, whole):
        assert (whole / "terminal.txt").read_text().count("Judging (tiny-judge):   0%") == 1


def test_benign_twins(tmp_path, generator_folder, judge_folder):
    more = ["--metadata", f"gvs_judge={judge_folder}", "--limit", 1, "--output_path", tmp_path]
    gvs("run", *arguments(generator_folder, "gvs_benign_en_baseline", *more))
    scores = results(tmp_path)["results"]["gvs_benign_en_baseline"]
    metrics = {key.partition(",")[0] for key in scores if "," in key}
    assert {m for m in metrics if not m.endswith("_stderr")} == {"refusal_rate", "coverage"}


def test_multiple_choice_needs_no_judge(tmp_path, generator_folder):
    more = ["--limit", 2, "--output_path", tmp_path, "--log_samples"]
    gvs("run", *arguments(generator_folder, "gvs_mc", *more), GVS_JUDGE="no/such-judge")
    found = results(tmp_path)
    for name, scores in found["results"].items():
        for metric in ("acc", "acc_norm", "letter_acc"):
            assert 0 <= scores[f"{metric},none"] <= 1, name
        assert -1 <= scores["position_bias,none"] <= 1
        assert math.isfinite(scores["acc_stderr,none"])
    leaves = [f"gvs_mc_{lang}_{c.slug}" for lang in LANGUAGES for c in TAXONOMY.categories]
    assert set(leaves) == set(samples(tmp_path)) == set(found["configs"])
    accuracies = [found["results"][leaf]["acc_norm,none"] for leaf in leaves]
    assert found["results"]["gvs_mc"]["acc_norm,none"] == pytest.approx(sum(accuracies) / 24)
    for name, rows in samples(tmp_path).items():
        assert len(rows) == 2
        for row in rows:
            safe, unsafe, *letters = (float(answer[0][0]) for answer in row["resps"])
            assert row["acc"] == (safe > unsafe)
            right = [letters[0] > letters[1], letters[3] > letters[2]]
            assert row["letter_acc"] == sum(right) / 2, name
    for config in found["configs"].values():
        assert "judge" not in config["metadata"]["gvs_run"]
        assert config["metadata"]["gvs_run"]["dataset"]["source"] == "bundled"


def test_predict_only_loads_no_judge(tmp_path, generator_folder):
    more = ["--predict_only", "--limit", 1, "--output_path", tmp_path]
    tasks = "gvs_en_bias,gvs_benign_zh_bias"
    output = gvs("run", *arguments(generator_folder, tasks, *more), GVS_JUDGE="no/such-judge")
    assert "Judging" not in output
    assert {len(rows) for rows in samples(tmp_path).values()} == {1}


def test_a_judge_without_refusals_leaves_no_refusal_rate(tmp_path, generator_folder):
    judge = build_judge(tmp_path / "guard", labels=("safe", "unsafe"), problem_type=None)
    more = ["--metadata", f"gvs_judge={judge}", "--limit", 2, "--output_path", tmp_path / "out"]
    gvs("run", *arguments(generator_folder, "gvs_en_pluralistic", *more))
    scores = results(tmp_path / "out")["results"]["gvs_en_pluralistic"]
    assert math.isfinite(scores["gvs_score,guard"]) and math.isnan(scores["refusal_rate,guard"])


@pytest.mark.slow
def test_a_dataset_folder(tmp_path, generator_folder, judge_folder):
    subprocess.run([sys.executable, ROOT / "scripts/build_dataset.py", tmp_path / "d"], check=True)
    metadata = [f"gvs_judge={judge_folder}", f"gvs_dataset={tmp_path / 'd'}"]
    more = ["--metadata", *metadata, "--limit", 1, "--output_path", tmp_path / "out"]
    gvs("run", *arguments(generator_folder, "gvs_zh_politics", *more))
    run = results(tmp_path / "out")["configs"]["gvs_zh_politics"]["metadata"]["gvs_run"]
    from gvs_tasks.dataset import digest, load

    assert run["dataset"]["source"] == str(tmp_path / "d")
    assert run["dataset"]["digest"] == digest(load("text_zh"))


@pytest.mark.slow
def test_killed_and_run_again_with_a_cache(tmp_path, generator_folder, judge_folder):
    def command(out: Path) -> list[str]:
        more = ["--metadata", f"gvs_judge={judge_folder}", "--use_cache", tmp_path / "cache"]
        more += ["--batch_size", 1, "--output_path", out, "--log_samples"]
        more += ["--gen_kwargs", "max_gen_toks=60", "--limit", 5]
        return ["run", *arguments(generator_folder, "gvs_en_integrity", *more)]

    process = start([sys.executable, "-m", "gvs_tasks", *command(tmp_path / "killed")])
    cache = tmp_path / "cache_rank0.db"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None and rows_in(cache, "unnamed") < 3:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = rows_in(cache, "unnamed")
    assert 3 <= done < 30, "the run must be killed in the middle of the generation"
    assert not list((tmp_path / "killed").rglob("results_*.json"))
    output = gvs(*command(tmp_path / "again"))
    assert f"Cached requests: {done}" in output
    gvs(
        *(
            part
            for part in command(tmp_path / "fresh")
            if part != str(tmp_path / "cache") and part != "--use_cache"
        )
    )
    again, fresh = (results(tmp_path / name)["results"] for name in ("again", "fresh"))
    assert again.keys() == fresh.keys()
    for name, scores in fresh.items():
        for key, value in scores.items():
            close = pytest.approx(value, abs=1e-4) if isinstance(value, float) else value
            assert again[name][key] == close, (name, key)


@pytest.mark.slow
def test_generate_first_and_judge_later(tmp_path, generator_folder, judge_folder):
    cache = ["--use_cache", tmp_path / "cache", "--limit", 5]
    first = [*cache, "--predict_only", "--output_path", tmp_path / "generated"]
    gvs("run", *arguments(generator_folder, "gvs_en_bias", *first))
    second = [*cache, "--metadata", f"gvs_judge={judge_folder}", "--output_path", tmp_path / "out"]
    output = gvs("run", *arguments(generator_folder, "gvs_en_bias", *second))
    assert "Cached requests: 5, Requests remaining: 0" in output
    assert results(tmp_path / "out")["results"]["gvs_en_bias"]["coverage,tiny-judge"] == 1.0


@pytest.mark.slow
class TestTwoProcesses:
    def run(self, out: Path, model: Path, judge: Path, **environ: str) -> str:
        more = ["--metadata", f"gvs_judge={judge}", "--output_path", out, "--log_samples"]
        command = arguments(model, "gvs_en_baseline", *more, "--limit", 5)
        command[command.index("hf")] = "hf-two-ranks"
        return finish(
            start(
                [
                    *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
                    *("--standalone", "-m", "tests.two_ranks", "run", *command),
                ],
                ACCELERATE_USE_CPU="true",
                OMP_NUM_THREADS="1",
                PYTHONPATH=str(ROOT),
                **environ,
            )
        )

    def test_same_scores_as_one_process(self, tmp_path, generator_folder, judge_folder):
        output = self.run(tmp_path / "two", generator_folder, judge_folder)
        assert "on rank 0" in output and "on rank 1" in output
        more = ["--metadata", f"gvs_judge={judge_folder}", "--output_path", tmp_path / "one"]
        gvs("run", *arguments(generator_folder, "gvs_en_baseline", *more, "--limit", 5))
        two, one = (results(tmp_path / name) for name in ("two", "one"))
        for name, scores in one["results"].items():
            for key in ("gvs_score,tiny-judge", "coverage,tiny-judge"):
                assert two["results"][name][key] == pytest.approx(scores[key], abs=1e-3)
            assert two["results"][name]["sample_len"] == scores["sample_len"]
        rows = samples(tmp_path / "two")["gvs_en_cybercrime"]
        assert sorted(row["doc"]["id"] for row in rows) == [f"CYB-00{n}" for n in range(1, 6)]

    def test_a_judge_that_fails_on_one_rank(self, tmp_path, generator_folder, judge_folder):
        self.run(tmp_path, generator_folder, judge_folder, FAIL_ON_RANK="1")
        scores = results(tmp_path)["results"]["gvs_en_baseline"]
        assert scores["coverage,tiny-judge"] == pytest.approx(0.6)
        assert math.isfinite(scores["gvs_score,tiny-judge"])
        rows = samples(tmp_path)["gvs_en_life_safety"]
        verdicts = [Verdict.from_json(row["filtered_resps"][0]) for row in rows]
        reasons = [verdict.unjudged for verdict in verdicts if verdict.unjudged]
        assert reasons == ["the judge failed: RuntimeError"] * 2 and len(rows) == 5


class TestBadInput:
    def test_output_folder_that_cannot_be_written(self, tmp_path, generator_folder):
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / "results"
        output = gvs("run", *arguments(generator_folder, "gvs", "--output_path", out), code=2)
        assert "cannot be written" in output and "--output_path" in output
        assert "Traceback" not in output and "Initializing" not in output

    @pytest.mark.parametrize("task", ["gvs_fr", "gvs_en_biass", "gvs_zh_politics_x"])
    def test_unknown_task(self, generator_folder, task):
        output = gvs("run", *arguments(generator_folder, task), code=2)
        assert f"gvs: Unknown task '{task}'. Did you mean 'gvs" in output
        assert "Traceback" not in output

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ("gvs_judge=gvs-smal", "Unknown judge 'gvs-smal'. Did you mean 'gvs-small'?"),
            # Each is a whole start of lm_eval; the messages themselves are tested elsewhere.
            pytest.param(
                *("gvs_jugde=x", "Unknown option 'gvs_jugde'. Did you mean 'gvs_judge'?"),
                marks=pytest.mark.slow,
            ),
            pytest.param(
                *("gvs_dataset=no/such/folder", "neither a folder nor a Hub id"),
                marks=pytest.mark.slow,
            ),
            pytest.param(*("gvs_dataset=nobody/nothing", "cannot be read"), marks=pytest.mark.slow),
        ],
    )
    def test_one_line_before_anything_is_generated(self, generator_folder, metadata, message):
        more = ["--metadata", metadata, "--limit", 1]
        output = gvs("run", *arguments(generator_folder, "gvs_en_bias", *more), code=2)
        assert message in output.splitlines()[-1]
        assert "Traceback" not in output and "Running generate_until" not in output


class TestLink:
    @pytest.mark.slow
    def test_the_bare_command_works(self, link, tmp_path, generator_folder, judge_folder):
        assert "Linked" in gvs("link")  # again is no error
        lm_eval = [sys.executable, "-m", "lm_eval"]
        assert "gvs_benign_zh_pluralistic" in finish(start([*lm_eval, "ls", "groups"]))
        more = ["--metadata", f"gvs_judge={judge_folder}", "--limit", 1, "--output_path", tmp_path]
        finish(start([*lm_eval, *arguments(generator_folder, "gvs_en_pluralistic", *more)]))
        assert "gvs_en_culture" in results(tmp_path)["results"]

    def test_a_stale_link_does_not_hide_the_tasks(self, link):
        (harness._link_folder() / "_gvs.yaml").unlink()
        assert not harness.linked()
        assert "Linked" in gvs("link") and harness.linked()

    def test_a_foreign_folder_is_left_alone(self, link):
        (harness._link_folder() / "mine").mkdir()
        try:
            for more in ([], ["--undo"]):
                output = gvs("link", *more, code=2)
                assert "was not written by gvs link" in output and "Traceback" not in output
        finally:
            (harness._link_folder() / "mine").rmdir()

    def test_undo(self, link):
        assert "Removed" in gvs("link", "--undo")
        assert "no link" in gvs("link", "--undo")
        assert not harness.linked()


@pytest.mark.slow
def test_a_users_own_include_path_is_added(tmp_path, generator_folder, judge_folder):
    (tmp_path / "mine").mkdir()
    source = ROOT / "gvs_tasks/tasks/gvs/en/gvs_en_bias.yaml"
    (tmp_path / "mine/own.yaml").write_text(f"include: {source}\ntask: gvs_own_task\n")
    more = ["--include_path", tmp_path / "mine", "--metadata", f"gvs_judge={judge_folder}"]
    more += ["--limit", 1, "--output_path", tmp_path / "out"]
    gvs("run", *arguments(generator_folder, "gvs_own_task,gvs_en_fraud", *more))
    assert set(results(tmp_path / "out")["results"]) == {"gvs_own_task", "gvs_en_fraud"}


class InProcess:
    """lm_eval in this process, with a model of the test's own."""

    @staticmethod
    def run(answers: list, metadata: dict, task: str = "gvs_en_bias", **more) -> dict:
        import lm_eval
        from lm_eval.api.model import LM
        from lm_eval.tasks import TaskManager

        class Scripted(LM):
            def generate_until(self, requests, disable_tqdm=False):
                self.prompts = [request.args[0] for request in requests]
                return [answers[n % len(answers)] for n, _ in enumerate(requests)]

            loglikelihood = loglikelihood_rolling = None

        Scripted.__abstractmethods__ = frozenset()
        manager = TaskManager(
            include_path=str(tasks_path()), include_defaults=False, metadata=metadata
        )
        model = Scripted()
        run = lm_eval.simple_evaluate(
            model, tasks=[task], task_manager=manager, bootstrap_iters=0, **more
        )
        return run | {"prompts": model.prompts}


class TestOutputsOfTheWorstModel(InProcess):
    def test_what_cannot_be_judged_is_counted(self, judge_folder):
        answers = ["", "<think>never ends", None, "x" * 200_000, "\x00\x1b[31m \ud800"]
        metadata = {"gvs_judge": str(judge_folder), "gvs_judge_device": "cpu"}
        run = self.run(answers, metadata, limit=5)
        assert run["results"]["gvs_en_bias"]["coverage,tiny-judge"] == pytest.approx(0.4)
        rows = run["samples"]["gvs_en_bias"]
        reasons = [Verdict.from_json(row["filtered_resps"][0]).unjudged for row in rows]
        assert reasons == [
            "the answer is empty",
            "the answer ends inside the reasoning trace",
            "the model returned no text",
            None,
            None,
        ]
        assert all(
            math.isnan(row["gvs_score"]) == bool(r) for row, r in zip(rows, reasons, strict=True)
        )

    def test_a_benign_leaf_with_a_judge_that_knows_no_refusals(self, tmp_path, caplog):
        judge = build_judge(tmp_path / "guard", labels=("safe", "unsafe"), problem_type=None)
        run = self.run(["Sure."], {"gvs_judge": str(judge)}, task="gvs_benign_en_bias")
        assert run["results"]["gvs_benign_en_bias"]["coverage,guard"] == 0
        assert "gvs_judge_refusal_label" in caplog.text


class TestCachedVerdicts(InProcess):
    def test_a_second_run_asks_no_judge(self, tmp_path, judge_folder, monkeypatch):
        from gvs_tasks.judge.sequence_classifier import SequenceClassifierJudge

        metadata = {"gvs_judge": str(judge_folder), "gvs_judge_device": "cpu"}
        metadata["gvs_cache"] = str(tmp_path / "verdicts.sqlite3")
        before = self.run(["Yes.", "No."], metadata, limit=6)
        monkeypatch.delattr(SequenceClassifierJudge, "_forward")
        after = self.run(["Yes.", "No."], metadata, limit=6)
        for key in ("gvs_score,tiny-judge", "coverage,tiny-judge"):
            assert before["results"]["gvs_en_bias"][key] == after["results"]["gvs_en_bias"][key]
        assert after["results"]["gvs_en_bias"]["coverage,tiny-judge"] == 1


class TestCachedRequests(InProcess):
    def test_requests_of_another_dataset_are_not_used(self, tmp_path, judge_folder, monkeypatch):
        """lm_eval keeps requests under the task's name alone."""
        from datasets import Dataset
        from lm_eval.caching import cache

        from gvs_tasks.dataset import load

        monkeypatch.setattr(cache, "PATH", str(tmp_path / "cache"))
        metadata = {"gvs_judge": str(judge_folder), "gvs_judge_device": "cpu"}
        self.run(["Yes."], metadata, cache_requests=True)
        rows = load("text_en")
        other = tmp_path / "other"
        (other / "text_en").mkdir(parents=True)
        Dataset.from_list(
            [row | {"prompt": "Changed. " + row["prompt"]} for row in rows.to_list()],
            features=rows.features,
        ).to_parquet(other / "text_en/test.parquet")
        run = self.run(["Yes."], metadata | {"gvs_dataset": str(other)}, cache_requests=True)
        assert all(prompt.startswith("Changed. ") for prompt in run["prompts"])


def test_more_processes_than_prompts():
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks_path()), include_defaults=False)
    (task,) = manager.load(["gvs_en_bias"])["tasks"].values()
    rows = len(list(task.test_docs()))
    with pytest.raises(GVSError, match=f"at most {rows} processes"):
        task.build_all_requests(rank=7, world_size=rows + 1)


def test_several_judges_in_one_run(tmp_path, generator_folder, judge_folder):
    other = build_judge(tmp_path / "other-judge", hidden_act="relu")
    more = ["--metadata", f"gvs_judge={judge_folder}+{other}", "--limit", 4, "--log_samples"]
    tasks = "gvs_en_bias,gvs_zh_bias"
    output = gvs("run", *arguments(generator_folder, tasks, *more, "--output_path", tmp_path))
    assert "Judges 'tiny-judge' and 'other-judge' agree on" in output
    for task in tasks.split(","):
        found = results(tmp_path)["results"][task]
        rows = samples(tmp_path)[task]
        assert len(rows) == 8
        for judge in ("tiny-judge", "other-judge"):
            scores = [row["gvs_score"] for row in rows if row["filter"] == judge]
            assert found[f"gvs_score,{judge}"] == pytest.approx(sum(scores) / 4)
            assert f"|{judge}" in output
    (run, same) = (c["metadata"]["gvs_run"] for c in results(tmp_path)["configs"].values())
    assert [judge["name"] for judge in run["judges"]] == ["tiny-judge", "other-judge"]
    assert run["agreement"] == same["agreement"]
    (agreement,) = run["agreement"]
    every = [row for task in samples(tmp_path).values() for row in task]
    by_item = {}
    for row in every:
        by_item.setdefault((row["doc"]["lang"], row["doc_id"]), []).append(row["safe_rate"])
    assert agreement["n"] == len(by_item) == 8
    assert agreement["raw"] == pytest.approx(sum(a == b for a, b in by_item.values()) / 8)
