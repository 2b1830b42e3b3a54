"""Dataset and judge by Hub id, through the real client, from a server on loopback."""

import json
import os
import subprocess
import sys

from gvs_tasks.dataset import CONFIGS, digest, load
from tests.hub import COMMIT, serve
from tests.test_dataset import ROOT

CODE = """
import json
from gvs_tasks.dataset import CONFIGS, digest, load
from gvs_tasks.judge import Exchange, get_judge
from gvs_tasks.options import Options

seen = []
for revision in (None, "COMMIT"):
    digests = {config: digest(load(config, "someone/gvs", revision)) for config in CONFIGS}
    judge = get_judge(Options(judge="someone/tiny", judge_revision=revision, judge_device="cpu"))
    (verdict,) = judge.judge([Exchange("Hi", "Hello")])
    seen.append([digests, judge.record, verdict.p_unsafe])
print(json.dumps(seen))
"""


def test_by_hub_id(tmp_path, judge_folder):
    out = tmp_path / "dataset"
    subprocess.run([sys.executable, ROOT / "scripts/build_dataset.py", out], check=True)
    with serve({"someone/gvs": out, "someone/tiny": judge_folder}) as endpoint:
        done = subprocess.run(
            [sys.executable, "-c", CODE.replace("COMMIT", COMMIT)],
            env=os.environ
            | {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = {config: digest(load(config)) for config in CONFIGS}
    for digests, record, p_unsafe in json.loads(done.stdout):
        assert digests == expected
        assert record["name"] == "tiny" and record["revision"] == COMMIT
        assert 0 <= p_unsafe <= 1
