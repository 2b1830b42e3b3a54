"""``gvs judge --engine ray``: many files, judged by the workers of Ray Data.

The unit of work is the file: a worker judges it as one process does without Ray, with the same
order and memory. A worker that dies is replaced and its file is judged again; the cache of
verdicts keeps what was judged.
"""

import json
import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gvs_tasks.errors import GVSError
from gvs_tasks.judge.cache import cached
from gvs_tasks.judge.files import Job, Outcome, attempt
from gvs_tasks.judge.registry import BUNDLED, get_judge
from gvs_tasks.options import Options

__all__ = ["judge_with_ray"]

#: Cores for a worker when nothing else decides; each worker holds a copy of the judge.
CORES = 4
#: Workers that a file may cost before it is given up; Ray itself would go on for ever.
DEATHS = 4
#: The bars of several workers would write over each other.
QUIET = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def judge_with_ray(
    jobs: Sequence[Job], options: Options, workers: int | None = None
) -> Iterator[Outcome]:
    """Judge files on this machine, or on the cluster that ``RAY_ADDRESS`` names.

    Every machine of a cluster must see the files, and a judge's folder, under the same path.

    Args:
        jobs: The files; their targets lie in one folder.
        options: The user's choices.
        workers: At most so many workers; by default one a GPU or, without one, one for every
            `CORES` cores of a machine.

    Yields:
        What became of each file, as they are ready.

    Raises:
        GVSError: When Ray is not installed or cannot be started, or the targets' folder cannot be
            written.
    """
    absolute = [Job(job.source.absolute(), job.target.absolute()) for job in jobs]
    with _ray() as ray, _scratch(absolute[0].target.parent) as scratch:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_no_progress_timeout_s = -1  # one file may take hours
        context.max_errored_blocks = -1  # one file costs no other
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        size, share = _share(machines, len(jobs), workers, options.judge_device)
        outcomes = ray.data.from_items(
            [{"job": n} for n in range(len(jobs))], override_num_blocks=len(jobs)
        ).map(
            _Worker,
            fn_constructor_args=(absolute, _everywhere(options), scratch),
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            **share,
        )
        open_jobs = dict(enumerate(jobs))
        reason = "its worker failed"
        try:
            for row in outcomes.iter_rows():
                counts, error = json.loads(row["outcome"])
                yield Outcome(open_jobs.pop(row["job"]), Counter(counts), error)
        except ray.exceptions.RayError as error:
            reason = f"Ray failed: {error}"
        for job in open_jobs.values():
            yield Outcome(job, Counter(), f"{job.source} was not judged: {reason}. Run it again.")


class _Worker:
    """One process that judges file after file; the judge is loaded with the first."""

    def __init__(self, jobs: list[Job], options: Options, scratch: Path) -> None:
        self._jobs, self._options, self._scratch = jobs, options, scratch

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        job = self._jobs[row["job"]]
        # A worker that is killed leaves no other trace of its attempt.
        attempts = self._scratch / f"attempts-{row['job']}"
        with attempts.open("ab") as file:
            file.write(b".")
        try:
            if attempts.stat().st_size > DEATHS:
                raise GVSError(f"{DEATHS} workers died of it; judge it with --engine local.")
            judge = cached(get_judge(self._options), self._options.cache)
            outcome = attempt(job, judge, self._scratch)
        except GVSError as error:  # among others that this machine does not have the judge
            outcome = Outcome(job, Counter(), f"{job.source}: {error}")
        # As text: a column of a table holds no missing counts.
        return row | {"outcome": json.dumps([outcome.counts, outcome.error])}


@contextmanager
def _ray() -> Iterator[Any]:
    """Give Ray, started here or connected, until all is judged."""
    address = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not address and "ray" not in sys.modules:  # read at its import
        os.environ["RAY_AUTH_MODE"] = "token"  # its ports let nobody else in
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise GVSError(
            f"--engine ray needs Ray ({error}): pip install 'gvs-bench[ray]', or leave it out."
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        ray.init(
            address or "local",  # not the cluster that happens to run here
            include_dashboard=None if address else False,
            logging_level=logging.WARNING,
            runtime_env={"env_vars": QUIET},
        )
    except Exception as error:  # Ray raises many types
        remedy = "check RAY_ADDRESS and RAY_AUTH_MODE, or use" if address else "use"
        raise GVSError(f"Ray cannot be started ({error}): {remedy} --engine local.") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give a folder for unfinished files, so that a killed worker leaves none behind."""
    try:
        made = tempfile.TemporaryDirectory(prefix=".gvs-", dir=folder, ignore_cleanup_errors=True)
    except OSError as error:
        raise GVSError(f"{folder} cannot be written: {error}. Choose another folder.") from error
    with made as name:
        yield Path(name)


def _everywhere(options: Options) -> Options:
    """Name files so that a worker, which may run in another folder, finds them."""
    change = {}
    if options.judge not in BUNDLED and Path(options.judge).is_dir():
        change["judge"] = str(Path(options.judge).resolve())
    if options.cache not in ("on", "off"):
        change["cache"] = str(Path(options.cache).expanduser().absolute())
    return options.model_copy(update=change)


def _share(
    machines: Sequence[dict[str, float]], jobs: int, workers: int | None, device: str | None
) -> tuple[int, dict[str, int]]:
    """Return how many workers there are, and what each asks of its machine.

    On a CPU a worker gets as many cores, and so threads, as leave room for all of them.

    >>> _share([{"CPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}], 100, None, None)
    (2, {'num_gpus': 1})
    >>> _share([{"CPU": 8.0}, {"CPU": 16.0, "GPU": 2.0}], 100, None, "cpu")
    (6, {'num_cpus': 4})
    >>> _share([{"CPU": 16.0}], 2, None, None)
    (2, {'num_cpus': 8})
    """
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    if gpus and (device is None or device.startswith("cuda")):
        return min(jobs, workers or gpus, gpus), {"num_gpus": 1}
    cpus = [int(machine.get("CPU", 0)) for machine in machines] or [1]
    wanted = workers or sum(cores // CORES for cores in cpus)
    size = max(1, min(jobs, wanted, sum(cpus)))
    fits = [n for n in range(1, max(cpus) + 1) if sum(cores // n for cores in cpus) >= size]
    return size, {"num_cpus": max(fits, default=1)}
