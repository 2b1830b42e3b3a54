"""The README's first command, from assembling the real model to the scores."""

import math
import shlex
import sys
from pathlib import Path

import pytest

from gvs_tasks.judge import Verdict
from tests.test_dataset import ROOT
from tests.test_run import GROUPS, LEAVES, finish, link, results, samples, start

pytestmark = pytest.mark.slow
__all__ = ["link"]


def readme_commands() -> list[list[str]]:
    """What follows the installation: assembling the model, and the job."""
    block = (ROOT / "README.md").read_text().split("```bash\n")[1].split("```")[0]
    _, linked, rest = block.replace("\\\n", " ").partition("&& gvs link &&\n")
    assert linked
    return [shlex.split(command) for command in rest.split("&&\n")]


def test_main_job(tmp_path, link):
    """Run outside the checkout, so that it is the installed package that works."""
    assemble, job = readme_commands()
    job[job.index("--limit") + 1] = "1"
    for command in (["gvs", "link"], assemble, job):
        script = Path(sys.executable).with_name(command[0])
        finish(start([script, *command[1:]], cwd=tmp_path))
    scores = results(tmp_path / "results")["results"]
    for name in LEAVES + GROUPS:
        assert math.isfinite(scores[name]["gvs_score,gvs-small"])
        assert math.isfinite(scores[name]["coverage,gvs-small"])
    rows = [row for leaf in samples(tmp_path / "results").values() for row in leaf]
    assert len(rows) == 24
    assert len({Verdict.from_json(row["filtered_resps"][0]).judge for row in rows}) == 1
