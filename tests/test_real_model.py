"""The README's main job on a real model of 270M parameters, with one item a category."""

import math
import shlex
import subprocess
import sys

import pytest

from gvs_tasks.judge import Verdict
from tests.test_dataset import ROOT
from tests.test_run import GROUPS, LEAVES, gvs, results, samples

pytestmark = pytest.mark.slow


def readme_command() -> str:
    """The part of the README's first command that runs the job."""
    block = (ROOT / "README.md").read_text().split("```bash\n")[1].split("```")[0]
    return block.replace("\\\n", " ").partition("&& gvs link &&\n")[2]


def test_main_job(tmp_path):
    assemble, job = readme_command().split("&&\n")
    subprocess.run([sys.executable, *shlex.split(assemble)[1:]], cwd=tmp_path, check=True)
    words = shlex.split(job)
    assert words[0] == "lm_eval"
    words[words.index("--limit") + 1] = "1"
    words[words.index("results")] = str(tmp_path / "results")
    words = [
        word.replace("pretrained=demo-model", f"pretrained={tmp_path}/demo-model") for word in words
    ]
    gvs("run", *words[1:])
    scores = results(tmp_path / "results")["results"]
    for name in LEAVES + GROUPS:
        assert math.isfinite(scores[name]["gvs_score,gvs-small"])
        assert math.isfinite(scores[name]["coverage,gvs-small"])
    rows = [row for leaf in samples(tmp_path / "results").values() for row in leaf]
    assert len(rows) == 24
    assert len({Verdict.from_json(row["filtered_resps"][0]).judge for row in rows}) == 1
