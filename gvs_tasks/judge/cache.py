"""Verdicts kept between runs: SQLite, keyed by judge and content, written as they are ready.

The cache saves work and nothing else. A file that is not one of ours, or is damaged, is set
aside; a row that does not fit its own checksum is judged again; a folder that cannot be written
means a run without a cache. Several processes may share a file.
"""

import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from gvs_tasks.judge.types import Exchange, Judge, Verdict

__all__ = ["CachedJudge", "VerdictCache", "cached", "default_path"]

log = logging.getLogger(__name__)

#: Marks a file as ours ("GVSv" in ASCII); another number means another application's file.
APPLICATION_ID = 0x47565376
#: Raised when rows of an older version cannot be read any more.
FORMAT = 1
#: Seconds to wait for another process that writes.
PATIENCE = 60
#: Keys looked up with one statement; SQLite allows 999 variables in old builds.
LOOKUP = 500


def default_path() -> Path:
    """Return where verdicts are kept: ``gvs-bench/verdicts.sqlite3`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gvs-bench" / "verdicts.sqlite3"


def cached(judge: Judge, where: str) -> Judge:
    """Return the judge with its cache: "on" is the default file, "off" none, else the file."""
    if where == "off":
        return judge
    return CachedJudge(judge, default_path() if where == "on" else Path(where).expanduser())


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
            sqlite3.Error: When SQLite cannot use it for another reason than damage.
        """
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, read-only, disk full: the file itself may be fine
            aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
            path.replace(aside)
            log.warning(
                "The cache of verdicts %s (%s); it was set aside as %s.", path, error, aside
            )
            self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
        try:
            (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if tables and (application, version) != (APPLICATION_ID, FORMAT):
                raise sqlite3.DatabaseError("is not a cache of this version")
            if tables:
                (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if state != "ok":
                    raise sqlite3.DatabaseError(f"is damaged: {state}")
            # Readers do not wait for a writer, and a killed process leaves a whole file.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS verdicts "
                "(key BLOB PRIMARY KEY, verdict TEXT NOT NULL, checksum BLOB NOT NULL) "
                "WITHOUT ROWID"
            )
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={FORMAT}")
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
        exchanges = list(exchanges)
        try:
            cache = VerdictCache(self._path)
            known = cache.get(self.digest, exchanges)
        except (OSError, sqlite3.Error) as error:
            log.warning("No cache of verdicts at %s (%s); judging without.", self._path, error)
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
        for n, verdict in self._judge.verdicts(unknown):
            if verdict.unjudged is None:
                _keep(cache, unknown[n], verdict)
            for position in same[unknown[n]]:
                yield position, verdict


def _keep(cache: VerdictCache, exchange: Exchange, verdict: Verdict) -> None:
    try:
        cache.put(exchange, verdict)
    except sqlite3.Error as error:
        log.warning("A verdict could not be kept: %s", error)
