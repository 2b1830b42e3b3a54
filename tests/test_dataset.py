import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from datasets import Dataset, load_dataset

from gvs_tasks import card
from gvs_tasks.dataset import CONFIGS, digest, load
from gvs_tasks.errors import GVSError
from gvs_tasks.schema import load_items
from gvs_tasks.taxonomy import CANARY

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "dataset"
    subprocess.run([sys.executable, ROOT / "scripts/build_dataset.py", out], check=True)
    return out


@pytest.mark.parametrize("config", CONFIGS)
def test_every_source_gives_identical_rows(config, built, tmp_path):
    bundled, folder = load(config), load(config, str(built))
    plain = load_dataset(str(built), config, split="test", cache_dir=str(tmp_path))
    assert bundled.to_list() == folder.to_list() == plain.to_list()
    assert bundled.features == folder.features == plain.features
    assert digest(bundled) == digest(folder)


def test_another_folder_of_the_same_name_is_another_dataset(tmp_path, built):
    """`datasets` itself caches local folders by their last name."""
    rows = load("benign_en", str(built)).select(range(7))
    folder = tmp_path / built.name
    (folder / "benign_en").mkdir(parents=True)
    rows.to_parquet(folder / "benign_en/test.parquet")
    assert len(load("benign_en", str(folder))) == 7
    assert len(load("benign_en", str(built))) > 7


def test_rows_side_by_side():
    english, chinese = load("text_en"), load("text_zh")
    assert len(english) == len(load_items())
    for column in ("id", "category", "risk", "behaviour", "severity", "technique", "incidents"):
        assert english[column] == chinese[column]
    assert set(english["lang"]) == {"en"} and set(chinese["lang"]) == {"zh"}
    assert load("benign_en")["id"] == english["id"]


def test_the_digest_sees_every_text():
    rows = load("benign_en")
    changed = rows.to_list()
    changed[3]["answer"] += " "
    assert digest(Dataset.from_list(changed, features=rows.features)) != digest(rows)


class TestCard:
    front = yaml.safe_load((ROOT / "dataset_card/README.md").read_text().split("---")[1])

    def test_it_lists_every_config(self):
        assert [c["config_name"] for c in self.front["configs"]] == list(CONFIGS)

    def test_eval_yaml_names_existing_configs(self):
        tasks = yaml.safe_load((ROOT / "dataset_card/eval.yaml").read_text())["tasks"]
        assert {task["config"] for task in tasks} <= set(CONFIGS)

    def test_the_counts_are_those_of_the_data(self):
        assert card.CARD.is_file() and not card.outdated()
        text = (ROOT / "dataset_card/README.md").read_text()
        for config in CONFIGS:
            assert f"| `{config}` | {len(load(config))} |" in text
        said = f"{len(load_items())} items in two languages"
        assert said in text and said in (ROOT / "README.md").read_text()

    def test_other_counts_are_noticed(self, tmp_path, monkeypatch):
        text = card.CARD.read_text().replace(f"| {len(load_items())} |", "| 7 |")
        (tmp_path / "README.md").write_text(text)
        monkeypatch.setattr(card, "CARD", tmp_path / "README.md")
        assert card.outdated()
        card.CARD.write_text(card.render())
        assert not card.outdated()

    def test_the_canary_stands_in_card_and_rows(self):
        assert CANARY in " ".join((ROOT / "dataset_card/README.md").read_text().split())
        for config in CONFIGS:
            if config != "taxonomy":
                assert set(load(config)["canary"]) == {CANARY}


class TestBadSources:
    @pytest.mark.parametrize(
        ("config", "source", "message"),
        [
            ("text_fr", None, "Unknown dataset config 'text_fr'"),
            ("text_en", "no/such/folder", "neither a folder nor a Hub id"),
            ("text_en", "/no/such/folder", "neither a folder nor a Hub id"),
            ("text_en", "nobody/nothing", r"cannot be read.*bundled content"),
        ],
    )
    def test_unknown(self, config, source, message):
        with pytest.raises(GVSError, match=message):
            load(config, source)

    def test_a_folder_without_data(self, tmp_path):
        with pytest.raises(GVSError, match="cannot be read"):
            load("text_en", str(tmp_path))

    def folder(self, tmp_path, rows) -> str:
        (tmp_path / "text_en").mkdir()
        rows.to_parquet(tmp_path / "text_en/test.parquet")
        return str(tmp_path)

    def test_missing_columns(self, tmp_path):
        source = self.folder(tmp_path, load("text_en").remove_columns(["focus"]))
        with pytest.raises(GVSError, match="lacks the columns focus"):
            load("text_en", source)

    def test_columns_of_other_types(self, tmp_path):
        rows = load("text_en").to_list()
        spoiled = Dataset.from_list([row | {"severity": "high"} for row in rows])
        with pytest.raises(GVSError, match="other types"):
            load("text_en", self.folder(tmp_path, spoiled))

    def test_rows_without_a_prompt(self, tmp_path):
        rows = load("text_en")
        spoiled = Dataset.from_list(
            [row | {"prompt": None} for row in rows.to_list()], features=rows.features
        )
        with pytest.raises(GVSError, match="without a prompt"):
            load("text_en", self.folder(tmp_path, spoiled))


class TestBuild:
    def run(self, out) -> subprocess.CompletedProcess:
        command = [sys.executable, ROOT / "scripts/build_dataset.py", out]
        return subprocess.run(command, capture_output=True, text=True)

    @pytest.mark.parametrize("name", ["thesis.txt", ".git/HEAD"])
    def test_it_replaces_its_own_output_only(self, tmp_path, name):
        assert self.run(tmp_path / "out").returncode == 0
        precious = tmp_path / "out" / name
        precious.parent.mkdir(exist_ok=True)
        precious.write_text("precious")
        refused = self.run(tmp_path / "out")
        assert refused.returncode == 1 and "more than a built dataset" in refused.stderr
        assert "Traceback" not in refused.stderr and precious.read_text() == "precious"

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "out").write_text("precious")
        refused = self.run(tmp_path / "out")
        assert refused.returncode == 1 and "Traceback" not in refused.stderr
        assert (tmp_path / "out").read_text() == "precious"

    def test_what_it_writes(self, built):
        files = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
        parquet = {f"{config}/test.parquet" for config in CONFIGS}
        card = {"README.md", "JUDGES.md", "eval.yaml", "LICENSE", "gvs-small.md", "gvs-small.json"}
        card |= {"croissant.json", "STATISTICS.md"}
        figures = {path for path in files if path.startswith("figures/")}
        assert files == card | figures | parquet
        assert all(name in (built / "README.md").read_text() for name in figures)
        assert len(figures) == 5

    def test_twice(self, tmp_path):
        for _ in range(2):
            assert self.run(tmp_path / "out").returncode == 0
        assert {path.name for path in tmp_path.iterdir()} == {"out"}
