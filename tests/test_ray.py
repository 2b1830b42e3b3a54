"""``gvs judge --engine ray``, on a Ray of its own on this machine."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import nullcontext, suppress

import psutil
import pytest

from gvs_tasks.errors import GVSError
from gvs_tasks.judge import get_judge
from gvs_tasks.judge.files import Job, judge_file
from gvs_tasks.judge.ray_engine import DEATHS, judge_with_ray
from gvs_tasks.options import Options
from tests.test_cli import gvs
from tests.test_judge_files import read, write

pytest.importorskip("ray")

PATIENCE = 300


def answers(n, start=0):
    """Of one length: then batches do not decide how much padding, and so rounding, there is."""
    return [{"prompt": f"{k:05}", "response": f"{k * 7919:030}" * 6} for k in range(start, n)]


def wait_for(what):
    """Wait until something is true, and return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError("nothing happened")


def workers_of(process):
    """The processes that judge, whose titles Ray sets."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if "MapWorker" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


def attempts(out, job):
    return sum(path.stat().st_size for path in out.glob(f".gvs-*/attempts-{job}"))


@pytest.fixture
def start(judge_folder):
    """Start the command beside the test."""
    started = []

    def begin(*arguments, **environ):
        command = [sys.executable, "-m", "gvs_tasks", "judge", "--judge", str(judge_folder)]
        process = subprocess.Popen(
            [*command, "--engine", "ray", *map(str, arguments)],
            env=os.environ | environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_the_same_verdicts_as_without_ray(tmp_path, judge_folder):
    sources = [write(tmp_path / f"{n}.jsonl", answers(30, start=n)) for n in range(3)]
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{")
    out = tmp_path / "ray"
    said = gvs(
        *("judge", *map(str, [bad, *sources]), "-o", str(out)),
        *("--judge", str(judge_folder), "--engine", "ray"),
        code=2,
    )
    assert said.count(" answers: ") == 3
    assert "1 of 4 files could not be judged:" in said and "bad.jsonl: line 1: not JSON" in said
    assert sorted(path.name for path in out.iterdir()) == [path.name for path in sources]
    judge = get_judge(Options(judge=str(judge_folder), judge_device="cpu"))
    for source in sources:
        judge_file(source, tmp_path / "local", judge)
        assert read(out / source.name) == read(tmp_path / "local")


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_file(tmp_path, judge_folder, start):
    sources = [write(tmp_path / f"{n}.jsonl", answers(2500 + n, start=n)) for n in range(2)]
    out, cache = tmp_path / "out", tmp_path / "verdicts.sqlite3"
    process = start(*sources, "-o", out, GVS_CACHE=str(cache), GVS_JUDGE_BATCH_TOKENS="512")

    def kept():
        with suppress(sqlite3.Error):
            connection = sqlite3.connect(cache)
            try:
                return connection.execute("SELECT count(*) FROM verdicts").fetchone()[0]
            finally:
                connection.close()
        return 0

    wait_for(lambda: kept() > 100)
    assert list(out.glob(".gvs-*/.?.jsonl-*")) and not list(out.glob("*.jsonl"))
    killed = workers_of(process)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert killed
    wait_for(lambda: 2 in (attempts(out, 0), attempts(out, 1)))
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert sorted(path.name for path in out.iterdir()) == ["0.jsonl", "1.jsonl"]

    options = Options(judge=str(judge_folder), judge_device="cpu", judge_batch_tokens=512)
    for source in sources:
        judge_file(source, tmp_path / "local", get_judge(options))
        judged, expected = read(out / source.name), read(tmp_path / "local")
        assert [row["prompt"] for row in judged] == [row["prompt"] for row in expected]
        assert [row["unsafe"] for row in judged] == [row["unsafe"] for row in expected]
        # The second attempt knows verdicts from the first, so that some batches are smaller.
        assert [row["p_unsafe"] for row in judged] == pytest.approx(
            [row["p_unsafe"] for row in expected], abs=2e-6
        )


@pytest.mark.slow
def test_a_file_that_costs_every_worker_is_given_up(tmp_path, start):
    os.mkfifo(tmp_path / "deadly.jsonl")  # its reader waits for ever
    good, out = write(tmp_path / "good.jsonl", answers(30)), tmp_path / "out"
    process = start(tmp_path / "deadly.jsonl", good, "-o", out, "--workers", "1")
    for death in range(1, DEATHS + 1):
        wait_for(lambda death=death: attempts(out, 0) == death)
        for pid in workers_of(process):
            os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert f"deadly.jsonl: {DEATHS} workers died of it" in said and "1 of 2 files" in said
    assert [path.name for path in out.iterdir()] == ["good.jsonl"] and len(read(out / "good.jsonl"))


@pytest.mark.slow
def test_what_nobody_foresaw_costs_one_file_and_is_said(tmp_path, judge_folder, capfd):
    job = Job(write(tmp_path / "in.jsonl", answers(5)), tmp_path / "out.jsonl")
    options = Options(judge=str(judge_folder), judge_device="cpu")
    broken = options.model_copy(update={"judge_batch_tokens": "many"})
    (outcome,) = judge_with_ray([job], broken)
    assert outcome.job == job and not outcome.counts and not job.target.exists()
    assert "in.jsonl was not judged: its worker failed" in str(outcome.error)
    assert "TypeError" in capfd.readouterr().err  # what happened is above, in Ray's words


def test_a_cluster_that_cannot_be_named_so(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "no-port")
    job = Job(write(tmp_path / "in.jsonl", answers(1)), tmp_path / "out.jsonl")
    with pytest.raises(GVSError, match="check RAY_ADDRESS"):
        next(judge_with_ray([job], Options()))
    assert not job.target.exists()


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("gvs_tasks.judge.ray_engine._ray", nullcontext)
    job = Job(write(tmp_path / "in.jsonl", answers(1)), tmp_path / "nowhere" / "out.jsonl")
    with pytest.raises(GVSError, match="nowhere cannot be written"):
        next(judge_with_ray([job], Options()))
