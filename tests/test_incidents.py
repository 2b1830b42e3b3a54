"""The incident repository: its schema, the coding behind the scale, the command, the figures."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gvs_tasks import derivation
from gvs_tasks.cli import app
from gvs_tasks.errors import GVSError
from gvs_tasks.incidents import (
    LAST_ISSUED,
    append_template,
    items_of,
    load_incidents,
    select,
)
from gvs_tasks.schema import load_items
from gvs_tasks.taxonomy import CANARY, CONTENT

INCIDENTS = load_incidents()
ITEMS = load_items()
ROOT = Path(__file__).parent.parent


def incident(**changes):
    """The first incident with changes, as a file holds it."""
    first = INCIDENTS[0].model_dump(mode="json", exclude={"category"})
    return first | changes


def write(folder, *entries, category=INCIDENTS[0].category):
    content = {"canary": CANARY, "category": category, "incidents": list(entries)}
    (folder / f"{category}.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
    return load_incidents(folder)


class TestContent:
    def test_no_faults(self):
        assert list(derivation.faults(INCIDENTS, ITEMS)) == []

    def test_ids_go_on_from_the_last_one_issued(self):
        assert int(INCIDENTS[-1].id[-4:]) <= LAST_ISSUED

    def test_no_source_is_used_for_two_incidents(self):
        seen = {}
        for each in INCIDENTS:
            for source in each.sources:
                assert seen.setdefault(source.url, each.id) == each.id


class TestSchema:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"id": "GVSIR-1"}, "id"),
            ({"date": "last year"}, "date"),
            ({"date": "2023-13"}, "date"),
            ({"date": "2023-02-30"}, "date"),
            ({"risk": "no_such_risk"}, "risk 'no_such_risk' is not one of"),
            ({"secondary": [INCIDENTS[0].category]}, "names a category twice"),
            ({"secondary": ["gardening"]}, "category 'gardening' is not one of"),
            ({"title": {"en": "你好", "zh": "你好"}}, "title.en does not look like en"),
            ({"sources": []}, "sources"),
            ({"sources": [{"publisher": "P", "url": "javascript:alert(1)"}]}, "sources.0.url"),
            ({"countries": ["Italy"]}, "countries.0"),
            ({"severity": 5}, "severity"),
            ({"status": "rumour"}, "status"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_faults_name_file_incident_and_field(self, tmp_path, changes, message):
        name = changes.get("id", INCIDENTS[0].id)
        with pytest.raises(GVSError, match=f"{INCIDENTS[0].category}.yaml: {name}: .*{message}"):
            write(tmp_path, incident(**changes))

    def test_an_id_is_given_once(self, tmp_path):
        with pytest.raises(GVSError, match="already used"):
            write(tmp_path, incident(), incident())


class TestDerivation:
    def test_saturation_counts_each_code_once(self):
        few = [INCIDENTS[0], INCIDENTS[0], INCIDENTS[1]]
        codes = {*INCIDENTS[0].codes, *INCIDENTS[1].codes}
        first = len(set(INCIDENTS[0].codes))
        assert derivation.saturation(few) == [first, first, len(codes)]
        assert derivation.saturation([]) == []

    def test_cooccurrence(self):
        one = INCIDENTS[0].model_copy(update={"category": "bias", "secondary": ("fraud",)})
        two = one.model_copy(update={"secondary": ()})
        assert derivation.cooccurrence([one, two]) == {
            ("bias", "bias"): 2,
            ("bias", "fraud"): 1,
        }

    def test_alpha_of_equal_and_of_shuffled_codings(self):
        def coded(shift):
            others = INCIDENTS[shift:] + INCIDENTS[:shift]
            return {
                each.id: derivation.Recoded(
                    id=each.id, category=o.category, risk=o.risk, severity=o.severity
                )
                for each, o in zip(INCIDENTS, others, strict=True)
            }

        equal = derivation.alpha(INCIDENTS, coded(0))
        assert (equal.category, equal.risk, equal.severity) == (1, 1, 1)
        assert equal.count == len(INCIDENTS)
        chance = derivation.alpha(INCIDENTS, coded(131))
        assert abs(chance.category) < 0.12 and abs(chance.severity) < 0.15

    def test_what_is_broken_is_named(self):
        lost = ITEMS[0].model_copy(update={"incidents": ("GVSIR-9999",)})
        odd = INCIDENTS[0].model_copy(update={"codes": ("never heard of",)})
        found = "\n".join(derivation.faults([odd, *INCIDENTS[1:]], [lost, *ITEMS[1:]]))
        assert f"{lost.id}: incidents: there is no GVSIR-9999" in found
        assert f"{odd.id}: code 'never heard of' is not in codebook.yaml" in found
        far = next(item for item in ITEMS if item.category == "culture")
        near = next(each for each in INCIDENTS if each.category == "cybercrime")
        wrong = [far.model_copy(update={"incidents": (near.id,)})]
        assert f"{near.id} shows nothing of culture" in "\n".join(
            derivation.faults(INCIDENTS, wrong)
        )
        few = "\n".join(derivation.faults(INCIDENTS[:10], ITEMS[:10]))
        assert "10 incidents; write 300 or more" in few
        twice = [*INCIDENTS, INCIDENTS[0].model_copy(update={"id": "GVSIR-9998"})]
        assert "100% alike" in "\n".join(derivation.faults(twice, ITEMS))

    def test_a_code_belongs_to_a_risk_that_exists(self):
        with pytest.raises(ValueError, match="is no risk of"):
            derivation.Code(code="a phrase", category="bias", risk="scams")
        with pytest.raises(ValueError, match="go together"):
            derivation.Code(code="a phrase", category="bias")
        with pytest.raises(ValueError, match="is not one of"):
            derivation.Recoded(id="GVSIR-0001", category="gardening", severity=1)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda text: text.replace("canary: ", "canary: x"), "canary"),
            (lambda text: text + text.splitlines()[-1] + "\n", "more than once"),
            (lambda text: text.replace("severity: 1", "severity: 9"), "severity"),
        ],
    )
    def test_a_spoilt_second_coding(self, tmp_path, change, message):
        spoilt = tmp_path / "recoding.yaml"
        spoilt.write_text(change((CONTENT / "recoding.yaml").read_text()))
        with pytest.raises(GVSError, match=message):
            derivation.load_recoding(spoilt)


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["incidents", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout


class TestCommand:
    def test_list_and_filters(self):
        assert len(run("list").splitlines()) == len(INCIDENTS)
        first = INCIDENTS[0]
        found = json.loads(run("list", "--category", first.category, "--json"))
        assert len(found) == len(select(INCIDENTS, category=first.category))
        assert all(first.category in (each["category"], *each["secondary"]) for each in found)
        both = run("list", "--year", first.year, "--country", first.countries[0].lower())
        assert first.id in both
        assert run("list", "--year", 1999) == ""

    def test_what_is_no_modality(self):
        result = CliRunner().invoke(app, ["incidents", "list", "--modality", "txt"])
        assert result.exit_code == 2 and "txt" in result.output

    def test_show(self):
        first = next(each for each in INCIDENTS if each.id in items_of(ITEMS))
        for name in (first.id, first.id.lower(), str(int(first.id[-4:]))):
            text = run("show", name)
            assert first.title.zh in text and first.sources[0].url in text
        assert items_of(ITEMS)[first.id] == json.loads(run("show", first.id, "--json"))["items"]

    def test_count(self):
        table = json.loads(run("count", "category", "year", "--json"))
        assert sum(sum(row.values()) for row in table.values()) == len(INCIDENTS)
        lines = run("count", "status").splitlines()
        assert sum(int(line.split()[-1]) for line in lines) == len(INCIDENTS)
        rows = [line.split() for line in run("count", "status", "country").splitlines()[1:]]
        assert sum(int(row[-1]) for row in rows) == len(INCIDENTS)
        assert "bias" in run("count")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["show", "GVSIR-9999"], "Unknown incident 'GVSIR-9999'"),
            (["show", "../../etc/passwd"], "Unknown incident"),
            (["list", "--category", "frau"], "Did you mean 'fraud'"),
            (["count", "year", "stage", "status"], "one field or two"),
            (["list", "--country", "Italy"], "two letters"),
        ],
    )
    def test_bad_input(self, arguments, message):
        result = CliRunner().invoke(app, ["incidents", *arguments])
        assert result.exit_code != 0
        assert message in str(result.exception)

    def test_add_is_valid_and_numbered_on(self, tmp_path):
        for count in (1, 2):
            run("add", "bias", "--folder", tmp_path)
            assert [each.id for each in load_incidents.__wrapped__(tmp_path)] == [
                f"GVSIR-{LAST_ISSUED + n:04}" for n in range(1, count + 1)
            ]
            found = "\n".join(derivation.faults(load_incidents.__wrapped__(tmp_path), ITEMS))
            assert "still that of the template" in found and "still those of" in found
        with pytest.raises(GVSError, match="cannot be written"):
            append_template("bias", tmp_path / "no" / "such")

    def test_add_beside_what_is_there(self, tmp_path):
        for path in (CONTENT / "incidents").glob("*.yaml"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        path, name = append_template("fraud", tmp_path)
        assert name == f"GVSIR-{int(INCIDENTS[-1].id[-4:]) + 1:04}"
        assert path.read_text().startswith((CONTENT / "incidents/fraud.yaml").read_text())
        assert len(load_incidents.__wrapped__(tmp_path)) == len(INCIDENTS) + 1


def test_the_figures_are_those_of_the_data(tmp_path):
    pytest.importorskip("matplotlib")
    sys.path.insert(0, str(ROOT / "scripts"))
    import plot_incidents

    plot_incidents.draw(tmp_path)
    shipped = ROOT / "dataset_card/figures"
    assert {path.name for path in tmp_path.iterdir()} == {p.name for p in shipped.iterdir()}
    for path in tmp_path.iterdir():
        assert path.read_text() == (shipped / path.name).read_text(), path.name
    assert os.path.getsize(tmp_path / "saturation.svg") < 200_000
