"""Dataset and judge by Hub id, through the real client, from a server on loopback."""

import json
import os
import subprocess
import sys

from gvs_tasks.dataset import CONFIGS, digest, load
from tests.hub import serve
from tests.test_dataset import ROOT

CODE = """
import json
from gvs_tasks.dataset import CONFIGS, digest, load
from gvs_tasks.judge import Exchange, get_judge
from gvs_tasks.options import Options

seen = []
pinned = (CONFIGS[:1], "DATASET", "JUDGE")
for configs, dataset_revision, judge_revision in ((CONFIGS, None, None), pinned):
    digests = {config: digest(load(config, "someone/gvs", dataset_revision)) for config in configs}
    judge = get_judge(
        Options(judge="someone/tiny", judge_revision=judge_revision, judge_device="cpu")
    )
    (verdict,) = judge.judge([Exchange("Hi", "Hello")])
    seen.append([digests, judge.record, verdict.p_unsafe])
print(json.dumps(seen))
"""


def test_by_hub_id(tmp_path, judge_folder):
    out = tmp_path / "dataset"
    subprocess.run([sys.executable, ROOT / "scripts/build_dataset.py", out], check=True)
    repos = {"datasets/someone/gvs": out, "models/someone/tiny": judge_folder}
    with serve(repos) as hub:
        dataset, judge = (hub.repos[name].head for name in repos)
        done = subprocess.run(
            [sys.executable, "-c", CODE.replace("DATASET", dataset).replace("JUDGE", judge)],
            env=os.environ
            | {
                "HF_ENDPOINT": hub.endpoint,
                "HF_HUB_OFFLINE": "0",
                "HF_HOME": str(tmp_path / "home"),
            },
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = {config: digest(load(config)) for config in CONFIGS}
    seen = json.loads(done.stdout)
    assert [list(digests) for digests, _, _ in seen] == [list(CONFIGS), [CONFIGS[0]]]
    for digests, record, p_unsafe in seen:
        assert digests.items() <= expected.items()
        assert record["name"] == "tiny" and record["revision"] == judge
        assert 0 <= p_unsafe <= 1
