"""The cache of verdicts: nothing judged twice, nothing believed that does not check out."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Exchange, Verdict, cached
from gvs_tasks.judge.cache import CachedJudge, default_path


class Counting:
    """A judge that says how long an answer is and remembers whom it was asked about."""

    name, digest, record = "counting", "d1", {"name": "counting"}

    def __init__(self, seconds: float = 0.0) -> None:
        self.asked: list[Exchange] = []
        self._seconds = seconds

    def judge(self, exchanges):
        return [verdict for _, verdict in self.verdicts(exchanges)]

    def verdicts(self, exchanges):
        for n, exchange in enumerate(exchanges):
            time.sleep(self._seconds)
            self.asked.append(exchange)
            if exchange.response == "unjudged":
                yield n, Verdict.none("no reason", self.digest)
            else:
                p = len(exchange.response) / 1000
                yield n, Verdict(self.digest, p_unsafe=p, unsafe=p > 0.5)


EXCHANGES = [Exchange("prompt", "answer " * n, lang="en") for n in range(20)]


def test_the_second_time_nothing_is_judged(tmp_path):
    first, second = Counting(), Counting()
    before = CachedJudge(first, tmp_path / "v.sqlite3").judge(EXCHANGES)
    after = CachedJudge(second, tmp_path / "v.sqlite3").judge(EXCHANGES)
    assert before == after == Counting().judge(EXCHANGES)
    assert len(first.asked) == 20 and not second.asked


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.builds(
            Exchange,
            st.text(max_size=3),
            st.text(max_size=5) | st.just("unjudged"),
            st.sampled_from(["en", "zh", None]),
        ),
        max_size=12,
    )
)
def test_the_cache_changes_no_verdict(tmp_path, exchanges):
    judge = Counting()
    with_cache = CachedJudge(judge, tmp_path / "shared.sqlite3").judge(exchanges)
    assert with_cache == Counting().judge(exchanges)
    assert len(judge.asked) == len(set(judge.asked))


def test_every_part_of_an_exchange_counts(tmp_path):
    judge = Counting()
    cache = CachedJudge(judge, tmp_path / "v.sqlite3")
    variants = [Exchange("p", "r"), Exchange("p", "r", "en"), Exchange("p", "r", focus="f")]
    cache.judge(variants)
    assert len(judge.asked) == 3


def test_another_judge_asks_anew(tmp_path):
    CachedJudge(Counting(), tmp_path / "v.sqlite3").judge(EXCHANGES)
    other = Counting()
    other.digest = "d2"
    verdicts = CachedJudge(other, tmp_path / "v.sqlite3").judge(EXCHANGES)
    assert len(other.asked) == 20 and {v.judge for v in verdicts} == {"d2"}


def test_what_was_not_judged_is_tried_again(tmp_path):
    for _ in range(2):
        judge = Counting()
        (verdict,) = CachedJudge(judge, tmp_path / "v").judge([Exchange("p", "unjudged")])
        assert verdict.unjudged and len(judge.asked) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + os.urandom(8192)),
    ],
    ids=["cut off", "overwritten"],
)
def test_a_damaged_file_is_set_aside(tmp_path, caplog, spoil):
    path = tmp_path / "v.sqlite3"
    CachedJudge(Counting(), path).judge(EXCHANGES)
    spoil(path)
    judge = Counting()
    assert CachedJudge(judge, path).judge(EXCHANGES) == Counting().judge(EXCHANGES)
    assert len(judge.asked) == 20
    assert len(list(tmp_path.glob("v.sqlite3.damaged-*"))) == 1
    assert "set aside" in caplog.text
    again = Counting()
    CachedJudge(again, path).judge(EXCHANGES)
    assert not again.asked


def test_garbage_in_our_own_place_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    default_path().parent.mkdir()
    default_path().write_bytes(b"not a database at all" * 100)
    for count in (20, 0):
        judge = Counting()
        cached(judge, "on").judge(EXCHANGES)
        assert len(judge.asked) == count
    assert len(list(default_path().parent.glob("*.damaged-*"))) == 1


def test_files_of_others_are_left_alone(tmp_path, caplog):
    (tmp_path / "results.json").write_text('{"precious": 1}' * 20)
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name in before:
        judge = Counting()
        assert len(CachedJudge(judge, tmp_path / name).judge(EXCHANGES)) == len(judge.asked) == 20
        assert f"{name} (it is not a cache of verdicts); judging without" in caplog.text
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


@pytest.mark.parametrize(
    "change",
    [
        "verdict = replace(verdict, '\"unsafe\": false', '\"unsafe\": true')",
        "verdict = replace(verdict, '0.1', '0.9')",
        "verdict = '{}'",
        "verdict = x'00ff'",
        "checksum = x'00'",
    ],
)
def test_a_row_that_was_changed_is_judged_again(tmp_path, change):
    path, exchange = tmp_path / "v.sqlite3", Exchange("p", "x" * 100)
    CachedJudge(Counting(), path).judge([exchange])
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE verdicts SET {change}")
    connection.close()
    judge = Counting()
    assert CachedJudge(judge, path).judge([exchange])[0].p_unsafe == 0.1
    assert len(judge.asked) == 1


def test_a_place_that_cannot_be_written(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    judge = Counting()
    assert len(CachedJudge(judge, tmp_path / "file" / "v.sqlite3").judge(EXCHANGES)) == 20
    assert "judging without" in caplog.text


def test_a_user_without_a_home_folder(tmp_path, monkeypatch):
    def no_home(self):
        raise RuntimeError("Could not determine home directory.")

    judge = Counting()
    for _ in range(2):
        CachedJudge(judge, tmp_path / "v.sqlite3").judge(EXCHANGES)
        monkeypatch.setattr(Path, "expanduser", no_home)
    assert len(judge.asked) == 20
    with pytest.raises(GVSError, match="gvs_cache=off"):
        cached(judge, "on")


def test_where_it_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "gvs-bench/verdicts-1.sqlite3"
    judge = Counting()
    assert cached(judge, "off") is judge
    cached(judge, "on").judge(EXCHANGES)
    assert default_path().is_file()


WORKER = """
import sys, time
from pathlib import Path
from tests.test_cache import Counting, EXCHANGES
from gvs_tasks.judge.cache import CachedJudge
cache, seconds, log, start = sys.argv[1:]
judge = Counting(float(seconds))
while start and not Path(start).exists():
    time.sleep(0.001)
with open(log, "a", buffering=1) as out:
    for n, verdict in CachedJudge(judge, Path(cache)).verdicts(EXCHANGES):
        print(n, file=out)
"""


def worker(tmp_path: Path, seconds: float, log: str = "log", start: str = "") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, tmp_path / "v.sqlite3", str(seconds), tmp_path / log, start],
        cwd=Path(__file__).parent.parent,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_and_resumed(tmp_path):
    """Killed by the system in the middle: what was judged is not judged again."""
    process = worker(tmp_path, seconds=0.3)
    log, deadline = tmp_path / "log", time.monotonic() + 60
    while time.monotonic() < deadline and (
        not log.exists() or len(log.read_text().splitlines()) < 5
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(log.read_text().splitlines())
    assert 5 <= done < 20
    judge = Counting()
    verdicts = CachedJudge(judge, tmp_path / "v.sqlite3").judge(EXCHANGES)
    assert verdicts == Counting().judge(EXCHANGES)
    # The one that was being written when the signal came may have been kept as well.
    assert 20 - done - 1 <= len(judge.asked) <= 20 - done


@pytest.mark.parametrize("damaged", [False, True])
def test_several_processes_at_once(tmp_path, damaged):
    """All start on the same new, or damaged, file at the same moment; each of them uses it."""
    path, go = tmp_path / "v.sqlite3", tmp_path / "go"
    if damaged:
        CachedJudge(Counting(), path).judge(EXCHANGES)
        path.write_bytes(path.read_bytes()[:5000])
    processes = [worker(tmp_path, 0.01, log=f"log{n}", start=str(go)) for n in range(4)]
    time.sleep(2)
    go.touch()
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0 and "judging without" not in said, said
    assert len(list(tmp_path.glob("*.damaged-*"))) == damaged
    judge = Counting()
    assert CachedJudge(judge, path).judge(EXCHANGES) == Counting().judge(EXCHANGES)
    assert not judge.asked
