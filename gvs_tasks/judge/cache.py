"""Verdicts kept between runs: SQLite, keyed by judge and content, written as they are ready.

The cache saves work and nothing else. A damaged file is set aside; a row that does not fit its
own checksum is judged again; a file of somebody else's, or a folder that cannot be written, means
a run without a cache. Several processes may share a file.
"""

import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gvs_tasks.errors import GVSError
from gvs_tasks.judge.types import Exchange, Judge, Verdict

__all__ = ["CachedJudge", "VerdictCache", "cached", "default_path"]

log = logging.getLogger(__name__)

#: Marks a file as ours ("GVSv" in ASCII); another number means another application's file.
APPLICATION_ID = 0x47565376
#: In the default file's name, so that versions never meet; raised when rows change their form.
FORMAT = 1
#: Seconds to wait for another process that writes.
PATIENCE = 60
#: Exchanges looked up together, and held in memory.
CHUNK = 4096
#: Keys looked up with one statement; SQLite allows 999 variables in old builds.
LOOKUP = 500


def default_path() -> Path:
    """Return where verdicts are kept: in ``gvs-bench/`` of the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gvs-bench" / f"verdicts-{FORMAT}.sqlite3"


def cached(judge: Judge, where: str) -> Judge:
    """Return the judge with its cache: "on" is the default file, "off" none, else the file.

    Raises:
        GVSError: When the user has no home folder to keep a cache in.
    """
    if where == "off":
        return judge
    try:
        path = default_path() if where == "on" else Path(where).expanduser()
    except RuntimeError as error:
        raise GVSError(
            f"No place for the cache of verdicts ({error}): name a file with "
            "gvs_cache=FILE, or gvs_cache=off."
        ) from error
    return CachedJudge(judge, path)


def _key(judge: str, exchange: Exchange) -> bytes:
    content = json.dumps([judge, *astuple(exchange)], ensure_ascii=True)
    return hashlib.sha256(content.encode()).digest()


def _checksum(key: bytes, verdict: str) -> bytes:
    return hashlib.sha256(key + verdict.encode()).digest()[:8]


class VerdictCache:
    """One SQLite file of verdicts."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin it.

        Raises:
            OSError: When its folder cannot be written.
            sqlite3.Error: When the file is not ours, or SQLite cannot use it.
        """
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time looks at the file and decides whether to set it aside.
        with FileLock(f"{path}.lock", timeout=PATIENCE):
            if not _ours(path):
                raise sqlite3.DatabaseError("it is not a cache of verdicts")
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # locked, read-only, disk full: the file itself may be fine
                aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
                path.replace(aside)
                path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
                log.warning(
                    "The cache of verdicts %s is damaged (%s); set aside as %s.", path, error, aside
                )
                self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
        try:
            # Not the write-ahead log, which network file systems do not carry. Without waiting
            # for the disk a killed process still leaves a whole file; a power cut may not, and
            # then the file is set aside.
            connection.execute("PRAGMA journal_mode=TRUNCATE")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("BEGIN IMMEDIATE")
            (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                raise sqlite3.DatabaseError(state)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS verdicts "
                "(key BLOB PRIMARY KEY, verdict TEXT NOT NULL, checksum BLOB NOT NULL) "
                "WITHOUT ROWID"
            )
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def get(self, judge: str, exchanges: Sequence[Exchange]) -> dict[int, Verdict]:
        """Return the verdicts that are known, by position."""
        keys = [_key(judge, exchange) for exchange in exchanges]
        known: dict[bytes, Verdict] = {}
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), LOOKUP):
            part = wanted[start : start + LOOKUP]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, verdict, checksum FROM verdicts WHERE key IN ({marks})"
            for key, line, checksum in self._connection.execute(query, part):
                verdict = _read(key, line, checksum, judge)
                if verdict is not None:
                    known[key] = verdict
        return {n: known[key] for n, key in enumerate(keys) if key in known}

    def put(self, exchange: Exchange, verdict: Verdict) -> None:
        """Keep a verdict: once this returns, a killed process does not lose it."""
        key, line = _key(verdict.judge, exchange), verdict.to_json()
        self._connection.execute(
            "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)", (key, line, _checksum(key, line))
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _ours(path: Path) -> bool:
    """Say whether a file may be written, or set aside: ours or in our folder, new or empty.

    Bytes 68 to 71 of an SQLite file hold the number of the application that made it.
    """
    if not path.exists():
        return True
    with suppress(RuntimeError):  # a user without a home folder has no default file
        if path == default_path():
            return True
    with path.open("rb") as file:
        header = file.read(72)
    return not header or header[68:] == APPLICATION_ID.to_bytes(4, "big")


def _read(key: bytes, line: object, checksum: object, judge: str) -> Verdict | None:
    """Return the verdict of a row, or None when the row cannot be trusted."""
    if not isinstance(line, str) or _checksum(key, line) != checksum:
        return None
    try:
        verdict = Verdict.from_json(line)
        trusted = verdict.judge == judge and 0 <= (verdict.p_unsafe or 0) <= 1
    except (ValueError, TypeError, KeyError):
        return None
    return verdict if trusted and verdict.p_unsafe is not None else None


class CachedJudge:
    """A judge that asks the cache first. Answers that could not be judged are not kept."""

    def __init__(self, judge: Judge, path: Path) -> None:
        """Wrap a judge; the file is opened when the first answers come."""
        self._judge, self._path = judge, path

    @property
    def name(self) -> str:
        """The judge's short name."""
        return self._judge.name

    @property
    def digest(self) -> str:
        """The judge's digest: the cache changes no verdict."""
        return self._judge.digest

    @property
    def record(self) -> dict[str, Any]:
        """The judge's own record."""
        return self._judge.record

    def judge(self, exchanges: Sequence[Exchange]) -> list[Verdict]:
        """Judge every exchange that is not known yet."""
        found = dict(self.verdicts(exchanges))
        return [found[n] for n in range(len(exchanges))]

    def verdicts(self, exchanges: Iterable[Exchange]) -> Iterator[tuple[int, Verdict]]:
        """Yield known verdicts first, then the others as they are ready."""
        source = iter(exchanges)
        position = 0
        while chunk := list(islice(source, CHUNK)):
            for n, verdict in self._chunk(chunk):
                yield position + n, verdict
            position += len(chunk)

    def _chunk(self, exchanges: list[Exchange]) -> Iterator[tuple[int, Verdict]]:
        cache = None
        try:
            cache = VerdictCache(self._path)
            known = cache.get(self.digest, exchanges)
        except (OSError, sqlite3.Error, Timeout) as error:
            if cache:
                cache.close()
            log.warning(
                "No cache of verdicts in %s (%s); judging without. Name another file with "
                "gvs_cache=FILE, or none with gvs_cache=off.",
                self._path,
                error,
            )
            yield from self._judge.verdicts(exchanges)
            return
        try:
            if known:
                log.info("%d of %d verdicts are known from earlier", len(known), len(exchanges))
            yield from known.items()
            yield from self._new(cache, exchanges, known)
        finally:
            cache.close()

    def _new(
        self, cache: VerdictCache, exchanges: list[Exchange], known: dict[int, Verdict]
    ) -> Iterator[tuple[int, Verdict]]:
        same: dict[Exchange, list[int]] = {}
        for n, exchange in enumerate(exchanges):
            if n not in known:
                same.setdefault(exchange, []).append(n)
        unknown = list(same)
        keeping = True
        for n, verdict in self._judge.verdicts(unknown):
            if keeping and verdict.unjudged is None:
                try:
                    cache.put(unknown[n], verdict)
                except sqlite3.Error as error:
                    log.warning("No more verdicts can be kept in %s: %s", self._path, error)
                    keeping = False
            for position in same[unknown[n]]:
                yield position, verdict
