"""``gvs judge``: plain files in, the same lines with verdicts out."""

import json
import sys

import pytest
from typer.testing import CliRunner

from gvs_tasks.cli import app
from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Exchange, get_judge
from gvs_tasks.judge.files import ADDED, Job, judge_file, plan
from gvs_tasks.options import Options
from tests.test_cli import gvs


@pytest.fixture
def judge(judge_folder):
    return get_judge(Options(judge=str(judge_folder), judge_device="cpu"))


def write(path, records):
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n\n")
    return path


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


RECORDS = [
    {"prompt": "Hi", "response": "Hello", "id": 7},
    {"prompt": "问题", "response": "回答", "lang": "zh", "nested": {"kept": [1, None]}},
    {"prompt": "p", "response": ""},
    {"prompt": "p", "response": None},
    {"prompt": "p"},
    {"prompt": "p", "response": "<think>plan</think>Yes."},
    {"prompt": "p", "response": "broken \ud800", "p_unsafe": "old", "score": float("nan")},
]


def test_every_line_comes_back_in_order(tmp_path, judge):
    counts = judge_file(write(tmp_path / "in.jsonl", RECORDS), tmp_path / "out.jsonl", judge)
    rows = read(tmp_path / "out.jsonl")
    assert counts["unjudged"] == 3 and counts.total() == len(rows) == len(RECORDS)
    for record, row in zip(RECORDS, rows, strict=True):
        assert set(row) == {*record, *ADDED}
        kept = {key: value for key, value in record.items() if key not in (*ADDED, "score")}
        assert kept == {key: row[key] for key in kept}
    reasons = [row["unjudged"] for row in rows]
    missing = "the model returned no text"
    assert reasons == [None, None, "the answer is empty", missing, missing, None, None]
    direct = judge.judge([Exchange("Hi", "Hello"), Exchange("p", "Yes.")])
    assert [rows[0]["p_unsafe"], rows[5]["p_unsafe"]] == pytest.approx(
        [verdict.p_unsafe for verdict in direct], abs=1e-4
    )
    assert rows[6]["score"] is None


def test_order_over_several_chunks(tmp_path, judge, monkeypatch):
    from gvs_tasks.judge import engine, files

    monkeypatch.setattr(files, "CHUNK", 7)
    monkeypatch.setattr(engine, "CHUNK", 3)
    records = [{"prompt": f"{n}", "response": "word " * (n * 37 % 50 + 1)} for n in range(30)]
    judge_file(write(tmp_path / "in", records), tmp_path / "out", judge)
    rows = read(tmp_path / "out")
    assert [row["prompt"] for row in rows] == [str(n) for n in range(30)]
    alone = [judge.judge([Exchange(r["prompt"], r["response"].strip())])[0] for r in records]
    assert [row["p_unsafe"] for row in rows] == pytest.approx([v.p_unsafe for v in alone], abs=1e-4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: must be an object"),
        ('{"response": "x"}', "line 2: must be an object with the texts 'prompt'"),
        ('{"prompt": "x", "response": "y", "lang": 3}', "line 2: 'lang' must be a text"),
    ],
)
def test_bad_lines_are_named_and_nothing_is_written(tmp_path, judge, line, message):
    (tmp_path / "in").write_text('{"prompt": "a", "response": "b"}\n' + line)
    (tmp_path / "out").write_text("earlier")
    with pytest.raises(GVSError, match=message):
        judge_file(tmp_path / "in", tmp_path / "out", judge)
    assert (tmp_path / "out").read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_files_that_cannot_be_used(tmp_path, judge):
    with pytest.raises(GVSError, match="cannot be judged"):
        judge_file(tmp_path / "nothing", tmp_path / "out", judge)
    (tmp_path / "latin").write_bytes(b'{"prompt": "caf\xe9", "response": "x"}')
    with pytest.raises(GVSError, match="cannot be judged"):
        judge_file(tmp_path / "latin", tmp_path / "out", judge)
    source = write(tmp_path / "in", RECORDS[:1])
    with pytest.raises(GVSError, match="cannot be judged"):
        judge_file(source, tmp_path / "no-folder" / "out", judge)


def test_the_command(tmp_path, judge_folder):
    source = write(tmp_path / "in.jsonl", RECORDS)
    out = tmp_path / "out.jsonl"
    cache = tmp_path / "verdicts.sqlite3"
    said = gvs("judge", str(source), "-o", str(out), "--judge", str(judge_folder), GVS_CACHE=cache)
    assert "7 answers: " in said and "3 unjudged" in said and cache.is_file()
    assert gvs("judge", str(source), "-o", str(source), "--judge", str(judge_folder), "--no-cache")
    assert [row["p_unsafe"] for row in read(source)] == [row["p_unsafe"] for row in read(out)]
    assert "Did you mean" in gvs(
        "judge", str(source), "-o", str(out), "--judge", "gvs-smal", code=2
    )


def test_several_files_go_to_a_folder(tmp_path, judge_folder):
    sources = [write(tmp_path / f"{n}.jsonl", RECORDS[n:]) for n in range(3)]
    (tmp_path / "1.jsonl").write_text("{")
    out = tmp_path / "new" / "folder"
    arguments = ["judge", *map(str, sources), "-o", str(out), "--judge", str(judge_folder)]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, GVSError)
    assert str(done.exception).startswith("1 of 3 files could not be judged:\n")
    assert "1.jsonl: line 1: not JSON" in str(done.exception)
    assert "7 answers: " in done.output and "5 answers: " in done.output
    assert sorted(path.name for path in out.iterdir()) == ["0.jsonl", "2.jsonl"]
    assert [row["prompt"] for row in read(out / "2.jsonl")] == [r["prompt"] for r in RECORDS[2:]]


def test_where_files_go(tmp_path):
    one, other, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "out"
    assert plan([one], out) == [Job(one, out)]
    assert plan([one], one) == [Job(one, one)]  # in its own place, as named
    assert not out.exists()
    assert [job.target for job in plan([one, other], out)] == [out / "a.jsonl", out / "b.jsonl"]
    assert plan([one], out) == [Job(one, out / "a.jsonl")]


def test_files_that_have_no_place(tmp_path):
    sources, out = [tmp_path / "x" / "a.jsonl", tmp_path / "y" / "a.jsonl"], tmp_path / "out"
    with pytest.raises(GVSError, match="would both be written"):
        plan(sources, out)
    assert not out.exists()
    (tmp_path / "x").mkdir()
    with pytest.raises(GVSError, match="is to be judged: choose another folder"):
        plan([sources[0], tmp_path / "b.jsonl"], tmp_path / "x" / ".." / "x")
    with pytest.raises(GVSError, match="is to be judged"):
        plan(sources[:1], tmp_path / "x")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(GVSError, match="must be a folder for 2 files"):
        plan([sources[0], tmp_path / "b.jsonl"], tmp_path / "taken")


def test_ray_is_asked_for_when_it_is_missing(tmp_path, monkeypatch):
    source = write(tmp_path / "in.jsonl", RECORDS)
    arguments = ["judge", str(source), "-o", str(tmp_path / "out.jsonl")]
    monkeypatch.setitem(sys.modules, "ray", None)
    done = CliRunner().invoke(app, [*arguments, "--engine", "ray"])
    assert "pip install 'gvs-bench[ray]'" in str(done.exception)
    done = CliRunner().invoke(app, [*arguments, "--workers", "2"])
    assert "add --engine ray" in str(done.exception)
    assert not (tmp_path / "out.jsonl").exists()


def test_one_judge_at_a_time(tmp_path):
    source = write(tmp_path / "in.jsonl", RECORDS[:1])
    said = gvs("judge", str(source), "-o", str(tmp_path / "o"), "--judge", "a+b", code=2)
    assert "adds the verdict of one judge" in said and not (tmp_path / "o").exists()
