"""Publishing, with the real client, on a Hub on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import _http as client

from gvs_tasks import __version__, tasks_path
from gvs_tasks.dataset import CONFIGS, digest, load
from gvs_tasks.errors import GVSError
from tests.hub import TOKEN, Hub, serve
from tests.test_run import ROOT, arguments, finish, results, start

sys.path.insert(0, str(ROOT / "scripts"))

import _hub
import push_to_hub

DATASET = "datasets/someone/gvs"


@pytest.fixture
def hub(monkeypatch):
    """A Hub that this process reaches although the suite is offline, without waiting to retry."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    client.close_session()
    with serve() as hub:
        yield hub
    client.close_session()


@pytest.fixture
def target(tmp_path) -> _hub.Target:
    folder = tmp_path / "dataset"
    (folder / "rows").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Rows\n")
    (folder / "rows/test.parquet").write_bytes(b"rows " * 40_000)
    (folder / "rows/train.parquet").write_bytes(b"more rows " * 40_000)
    return _hub.Target("someone/gvs", "dataset", folder, "Rows 1", "v1")


def publish(hub: Hub, target: _hub.Target) -> str:
    api = HfApi(endpoint=hub.endpoint)
    return _hub.publish(api, _hub.compare(api, target))


def local(target: _hub.Target) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in target.files().items()}


def published(hub: Hub, revision: str = "main") -> dict[str, bytes]:
    """What the repository has at a revision, beside what it was created with."""
    repo = hub.repos[DATASET]
    files = repo.commits[repo.find(revision)]
    return {name: data for name, data in files.items() if name != ".gitattributes"}


def next_version(target: _hub.Target) -> _hub.Target:
    (target.folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Other rows\n")
    (target.folder / "rows/test.parquet").write_bytes(b"other rows " * 40_000)
    return _hub.Target(target.repo, target.kind, target.folder, "Rows 2", "v2")


class TestPublish:
    def test_one_commit_and_a_tag(self, hub, target):
        assert publish(hub, target) == "someone/gvs: uploaded 3 files and tagged v1."
        assert published(hub) == published(hub, "v1") == local(target)
        assert hub.repos[DATASET].titles == ["initial commit", "Rows 1"]

    def test_a_second_time_nothing_is_sent(self, hub, target):
        publish(hub, target)
        hub.asked.clear()
        assert "nothing has changed" in publish(hub, target)
        assert not hub.writes

    def test_a_new_version_leaves_the_old_one_at_its_tag(self, hub, target):
        publish(hub, target)
        before = local(target)
        assert "uploaded 2 files and tagged v2" in publish(hub, next_version(target))
        assert published(hub, "v1") == before
        assert published(hub) == published(hub, "v2") == local(target) != before

    def test_comparing_sends_nothing(self, hub, target):
        publish(hub, target)
        later = next_version(target)
        (target.folder / "LICENSE").write_text("CC-BY-4.0")
        hub.asked.clear()
        plan = _hub.compare(HfApi(endpoint=hub.endpoint), later)
        assert plan.states == {
            "LICENSE": "added",
            "README.md": "changed",
            "rows/test.parquet": "changed",
            "rows/train.parquet": "unchanged",
        }
        assert plan.kept == [".gitattributes"] and not hub.writes
        size = sum(len(data) for data in local(target).values()) - 400_000
        assert f"3 of 4 files to upload, {size:,} bytes" in plan.table()

    def test_a_published_version_does_not_change(self, hub, target, capsys):
        publish(hub, target)
        before = local(target)
        (target.folder / "README.md").write_text("# Other rows\n")
        with pytest.raises(GVSError, match=r"has the tag v1 on other content.*Raise __version__"):
            publish(hub, target)
        assert published(hub) == published(hub, "v1") == before

        hub.asked.clear()
        with pytest.raises(GVSError, match="has the tag v1"):
            push_to_hub.rehearse(HfApi(endpoint=hub.endpoint), [target])
        assert "changed" in capsys.readouterr().out and not hub.writes

    def test_all_or_none_when_one_is_refused(self, hub, target):
        publish(hub, target)
        hub.asked.clear()
        fresh = _hub.Target("someone/fresh", "model", target.folder, "Rows", "v1")
        (target.folder / "README.md").write_text("# Other rows\n")
        with pytest.raises(GVSError, match="has the tag v1"):
            push_to_hub.push(HfApi(endpoint=hub.endpoint), [fresh, target])
        assert not hub.writes

    def test_the_tag_is_made_up_for(self, hub, target):
        """As after a run that was cut off between commit and tag."""
        publish(hub, target)
        hub.repos[DATASET].tags.clear()
        assert publish(hub, target) == "someone/gvs: tagged v1."
        assert published(hub, "v1") == local(target)

    def test_what_others_put_there_stays(self, hub, target):
        publish(hub, target)
        repo = hub.repos[DATASET]
        repo.commit(repo.files | {"NOTES.md": b"by hand"})
        assert "uploaded 2 files" in publish(hub, next_version(target))
        assert published(hub) == local(target) | {"NOTES.md": b"by hand"}

    def test_a_commit_of_somebody_else_meanwhile(self, hub, target):
        publish(hub, target)
        api = HfApi(endpoint=hub.endpoint)
        plan = _hub.compare(api, next_version(target))
        repo = hub.repos[DATASET]
        head = repo.commit(repo.files | {"NOTES.md": b"by hand"})
        with pytest.raises(GVSError, match=r"changed meanwhile.*Run the command again"):
            _hub.publish(api, plan)
        assert repo.head == head and "v2" not in repo.tags


class TestCutOff:
    @pytest.mark.parametrize("where", ["/lfs/", "/commit/", "/tag/", "/preupload/"])
    def test_the_version_before_is_intact_and_a_second_run_ends_it(self, hub, target, where):
        publish(hub, target)
        before = local(target)
        later = next_version(target)
        hub.cut = where
        with pytest.raises(_hub.HubError, match=r"someone/gvs cannot be published.*again"):
            publish(hub, later)
        assert published(hub, "v1") == before and "v2" not in hub.repos[DATASET].tags
        assert published(hub) == (local(target) if where == "/tag/" else before)
        hub.cut = None
        assert "tagged v2" in publish(hub, later)
        assert published(hub) == published(hub, "v2") == local(target)

    def test_the_first_version(self, hub, target):
        hub.cut = "/lfs/"
        with pytest.raises(_hub.HubError, match="cannot be published"):
            publish(hub, target)
        assert published(hub) == {} and not hub.repos[DATASET].tags
        hub.cut = None
        assert "uploaded 3 files and tagged v1" in publish(hub, target)


class TestRefusals:
    def refused(self, hub, target) -> str:
        with pytest.raises(GVSError) as caught:
            _hub.log_in(HfApi(endpoint=hub.endpoint))
            publish(hub, target)
        error = caught.value
        chain = [error, error.__cause__, None if error.__suppress_context__ else error.__context__]
        assert os.environ["HF_TOKEN"] not in "".join(map(str, chain))
        assert len(str(error).splitlines()) == 1
        return str(error)

    def test_not_logged_in(self, hub, target, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_TOKEN", "")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        with pytest.raises(GVSError, match=r"not logged in.*hf auth login.*HF_TOKEN"):
            _hub.log_in(HfApi(endpoint=hub.endpoint))

    def test_a_token_that_is_none(self, hub, target, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_anotherSecret")
        assert "does not accept the token" in self.refused(hub, target)

    def test_no_permission(self, hub, target):
        foreign = _hub.Target("elsewhere/gvs", "dataset", target.folder, "Rows", "v1")
        said = self.refused(hub, foreign)
        assert "no permission" in said and "(token)" in said
        assert not hub.repos

    def test_a_repository_of_another_type(self, hub, target):
        HfApi(endpoint=hub.endpoint).create_repo("someone/gvs", repo_type="model")
        assert "someone/gvs is a model, not a dataset" in self.refused(hub, target)
        assert list(hub.repos) == ["models/someone/gvs"]

    @pytest.mark.parametrize(
        "name", ["gvs", "a/b/c", "some one/gvs", "someone/gvs.git", "/gvs", ""]
    )
    def test_bad_names(self, name):
        with pytest.raises(GVSError, match="ORG/NAME"):
            _hub.check_name(name)

    def test_one_name_for_both(self):
        with pytest.raises(GVSError, match="two repositories"):
            push_to_hub.run("someone/gvs", "someone/gvs", really=False)


def test_the_judges_card():
    text = push_to_hub.JUDGE_CARD.read_text()
    card = push_to_hub.judge_card(text, "someone/judge", "someone/gvs")
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["license"] == "apache-2.0" and metadata["language"] == ["en", "zh"]
    assert metadata["base_model"] == "intfloat/multilingual-e5-small"
    assert metadata["pipeline_tag"] == "text-classification"
    assert metadata["library_name"] == "transformers" and "guard" in metadata["tags"]
    assert metadata["datasets"] == ["someone/gvs"]
    assert "](JUDGES.md)" in text and "](JUDGES.md)" not in card
    assert "](https://huggingface.co/datasets/someone/gvs/blob/main/JUDGES.md)" in card
    assert "--judge someone/judge" in card
    assert card.index("## Use\n") < card.index("## When to use it")


def reading(hub: Hub, home: Path) -> dict[str, str]:
    """The environment of somebody who reads from the Hub, without a token."""
    return {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home)}


def command(hub: Hub | None, tmp_path: Path, *arguments: str, code: int = 0, **environ: str) -> str:
    """Run the script as a user does; return what it printed."""
    reach = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"} if hub else {}
    environ = {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN} | environ
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/push_to_hub.py", "--repo", "someone/gvs", *arguments],
        env=os.environ | reach | environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr[-3000:]
    said = done.stdout + done.stderr
    assert "Traceback" not in said and TOKEN not in said
    return said


def test_a_dry_run_without_a_network(tmp_path):
    said = command(None, tmp_path, "--judge-repo", "someone/judge")
    assert said.count("compared with nothing") == 2 and "HF_HUB_OFFLINE" in said
    for path in ("README.md", "croissant.json", "text_zh/test.parquet", "model.safetensors"):
        assert f"  {path}\n" in said
    assert f"commit 'GVS-Bench {__version__}', tag v{__version__}" in said
    assert "dry run: nothing was sent" in said


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A Hub to which everything was published."""
    home = tmp_path_factory.mktemp("home")
    both = ("--judge-repo", "someone/judge")
    with serve() as hub:
        said = command(hub, home, *both)
        assert said.count("not on the Hub yet") == 2 and not hub.writes
        said = command(hub, home, *both, "--push")
        assert f"someone/judge: uploaded 8 files and tagged v{__version__}" in said
        yield hub


@pytest.mark.slow
class TestEndToEnd:
    """The command itself, and what comes out for those who read from the Hub."""

    def test_again(self, pushed, tmp_path):
        pushed.asked.clear()
        said = command(pushed, tmp_path, "--judge-repo", "someone/judge", "--push")
        assert said.count("nothing has changed, nothing was sent") == 2
        assert not pushed.writes

    def test_refused(self, pushed, tmp_path):
        said = command(pushed, tmp_path, "--push", code=1, HF_TOKEN="hf_anotherSecret")
        assert said.startswith("push_to_hub: ") and "hf_anotherSecret" not in said

    def test_cut_off(self, pushed, tmp_path):
        """With the client's own patience: half a minute of retries."""
        with serve() as hub:
            hub.cut = "/lfs/"
            said = command(hub, tmp_path, "--push", code=1)
            assert "someone/gvs cannot be published" in said and "again" in said
            hub.cut = None
            assert "uploaded" in command(hub, tmp_path, "--push")
            assert published(hub).keys() == published(pushed).keys()

    def test_the_readers_get_it(self, pushed, tmp_path):
        code = f"""
import json
from datasets import load_dataset
from gvs_tasks.dataset import CONFIGS, digest
from gvs_tasks.judge import get_judge
from gvs_tasks.options import Options

def rows(config):
    return load_dataset("someone/gvs", config, split="test", revision="v{__version__}")

judges = [get_judge(Options(judge=j, judge_device="cpu")) for j in ("someone/judge", "gvs-small")]
print(json.dumps([{{c: digest(rows(c)) for c in CONFIGS}}, [j.record["digest"] for j in judges]]))
"""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | reading(pushed, tmp_path),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        digests, (from_hub, bundled) = json.loads(done.stdout)
        assert digests == {config: digest(load(config)) for config in CONFIGS}
        assert from_hub == bundled

    def test_lm_eval_reads_it(self, pushed, tmp_path, generator_folder, judge_folder):
        out = tmp_path / "out"
        metadata = ["gvs_dataset=someone/gvs", f"gvs_dataset_revision=v{__version__}"]
        more = ["--metadata", *metadata, f"gvs_judge={judge_folder}", "--limit", 2]
        lm_eval = [sys.executable, "-m", "lm_eval", "--include_path", tasks_path()]
        asked = arguments(generator_folder, "gvs_en_bias", *more, "--output_path", out)
        finish(start([*lm_eval, *asked], **reading(pushed, tmp_path)))
        found = results(out)
        assert found["results"]["gvs_en_bias"]["coverage,tiny-judge"] == 1.0
        record = found["configs"]["gvs_en_bias"]["metadata"]["gvs_run"]["dataset"]
        assert record["source"] == "someone/gvs" and record["revision"] == f"v{__version__}"
