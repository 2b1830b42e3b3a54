"""What the built dataset says about itself: the card's front matter and parts, and Croissant."""

import hashlib
import json
import sys
from itertools import islice

import mlcroissant
import pytest
import yaml

from gvs_tasks import __version__, card
from gvs_tasks.croissant import describe
from gvs_tasks.dataset import CONFIGS, load
from gvs_tasks.errors import GVSError
from gvs_tasks.schema import read_yaml
from tests.test_run import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from build_dataset import build

#: What the Hub takes for annotations_creators and language_creators.
CREATORS = {"crowdsourced", "expert-generated", "found", "machine-generated", "other"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "dataset"
    build(folder, "someone/gvs")
    return folder


@pytest.fixture
def metadata(built):
    return json.loads((built / "croissant.json").read_text(encoding="utf-8"))


class TestCard:
    text = card.CARD.read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])

    def test_the_front_matter_is_complete(self):
        assert self.front["license"] == "cc-by-4.0" and self.front["language"] == ["en", "zh"]
        assert self.front["multilinguality"] == ["multilingual"]
        assert self.front["source_datasets"] == ["original"]
        for key in ("annotations_creators", "language_creators"):
            assert self.front[key] and set(self.front[key]) <= CREATORS
        assert "not-for-all-audiences" in self.front["tags"]
        assert self.front["task_categories"] and self.front["pretty_name"]
        for config in self.front["configs"]:
            (file,) = config["data_files"]
            assert file == {"split": "test", "path": f"{config['config_name']}/test.parquet"}

    def test_the_size_is_that_of_the_data(self, built, tmp_path, monkeypatch):
        rows = sum(len(load(config, str(built))) for config in CONFIGS)
        assert self.front["size_categories"] == [card.size_category(rows)]
        other = self.text.replace(card.size_category(rows), "100K<n<1M")
        monkeypatch.setattr(card, "CARD", tmp_path / "README.md")
        card.CARD.write_text(other, encoding="utf-8")
        assert card.render() == self.text

    @pytest.mark.parametrize(
        ("rows", "category"),
        [(999, "n<1K"), (1000, "1K<n<10K"), (9999, "1K<n<10K"), (10_000, "10K<n<100K")],
    )
    def test_size_categories(self, rows, category):
        assert card.size_category(rows) == category

    @pytest.mark.parametrize("config", CONFIGS)
    def test_every_column_is_explained(self, built, config):
        columns = load(config, str(built)).column_names
        assert set(card.meanings(config)) == set(columns)
        assert all(f"`{column}`" in self.text for column in columns)

    def test_the_citation_is_that_of_the_citation_file(self):
        software = read_yaml(card.CITATION)
        assert software["version"] == __version__
        assert f"```bibtex\n{card.bibtex()}\n```" in self.text
        for fact in (software["title"], software["preferred-citation"]["title"], "2601.09112"):
            assert fact in card.bibtex()
        assert card.bibtex().count("{") == card.bibtex().count("}")


class TestCroissant:
    def test_the_files_are_those_of_the_folder(self, built, metadata):
        files = {file["contentUrl"]: file for file in metadata["distribution"]}
        found = {path.relative_to(built).as_posix(): path for path in built.rglob("*.parquet")}
        assert files.keys() == found.keys()
        for name, path in found.items():
            assert files[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert files[name]["contentSize"] == f"{path.stat().st_size} B"

    def test_the_same_sources_as_the_card(self, metadata):
        assert metadata["version"] == __version__ and metadata["citeAs"] == card.bibtex()
        assert metadata["license"].rstrip("/") in (ROOT / "LICENSE-DATA").read_text()
        assert metadata["url"] == "https://huggingface.co/datasets/someone/gvs"
        assert metadata["description"].startswith("How safely does a language model")
        assert "Content warning. The prompts ask for harmful things" in metadata["description"]
        assert metadata["keywords"] == TestCard.front["tags"]
        assert metadata["inLanguage"] == TestCard.front["language"]

    def test_a_field_for_every_column(self, built, metadata):
        fields = {each["name"]: each["field"] for each in metadata["recordSet"]}
        for config in CONFIGS:
            columns = load(config, str(built)).column_names
            assert [field["name"] for field in fields[config]] == [f"{config}/{c}" for c in columns]
            assert [field["description"] for field in fields[config]] == [
                card.meanings(config)[column] for column in columns
            ]

    def test_the_same_files_give_the_same_metadata(self, built, metadata):
        assert describe(built, "someone/gvs") == metadata
        assert describe(built, "other/gvs") == metadata | {
            "url": "https://huggingface.co/datasets/other/gvs"
        }

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("> **Content warning.**", "> **Note.**", "content warning"),
            ("license: cc-by-4.0", "license: cc-by-5.0", "Unknown licence 'cc-by-5.0'"),
        ],
    )
    def test_a_card_that_lacks_something(self, built, old, new, message):
        path = built / "README.md"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new), encoding="utf-8")
        try:
            with pytest.raises(GVSError, match=message):
                describe(built, "someone/gvs")
        finally:
            path.write_text(text, encoding="utf-8")

    @pytest.mark.parametrize("config", CONFIGS)
    def test_the_reference_implementation_reads_it(self, built, config):
        dataset = mlcroissant.Dataset(str(built / "croissant.json"))
        issues = dataset.metadata.ctx.issues
        # No date: nothing in the sources says when the version is published.
        assert not issues.errors and all("datePublished" in each for each in issues.warnings)
        rows = load(config, str(built)).to_list()[:20]
        assert [plain(each) for each in islice(dataset.records(config), len(rows))] == rows


def plain(value):
    """A record as ``datasets`` gives it: without the names of the record set, texts as str."""
    if isinstance(value, dict):
        return {name.rpartition("/")[2]: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value
