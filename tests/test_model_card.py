import html
import re
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from gvs_tasks import model_card as module
from gvs_tasks.cli import app
from gvs_tasks.dataset import HUB_ID
from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Verdict
from gvs_tasks.judge.known_errors import Errors, known_errors
from gvs_tasks.judge.registry import get_judge
from gvs_tasks.model_card import escaped, model_card
from gvs_tasks.options import Options
from gvs_tasks.redaction import one_line
from gvs_tasks.results import read_one
from gvs_tasks.schema import load_items
from gvs_tasks.scores import METRICS, cuts, estimate
from gvs_tasks.stats import Counts
from gvs_tasks.taxonomy import load_taxonomy
from tests.runs import (
    BENIGN,
    DIGEST,
    GVS,
    JUDGE,
    PAIR,
    digest_of,
    edit_results,
    edit_samples,
    set_verdict,
    spread,
    write_run,
)
from tests.test_dataset import ROOT

MARKDOWN = MarkdownIt("commonmark").enable("table")
HOSTILE = (
    "a|b\n# <script>x</script> [l](http://e.vil) `c` *d* {{ x }} ---\n\x1b[31m\u202e'\": - !!t"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A whole run, by two judges."""
    folder = tmp_path_factory.mktemp("whole")
    write_run(folder, [*GVS, *BENIGN], limit=None, judges=(JUDGE, "second"), chat_template="x")
    return folder


@pytest.fixture(scope="module")
def run(written):
    return read_one(written)


@pytest.fixture(scope="module")
def card(run):
    return model_card(run)


def row(section, label):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if re.match(rf"\|\s*\**{re.escape(label)}\**\s*\|", line)
    ]


class TestSection:
    def test_scores_with_intervals(self, card, run):
        ((_, score, safe, refused, covered),) = row(card.section, "Overall")
        found = estimate(run, JUDGE, METRICS["gvs_score"], cuts()[0])
        assert score == f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
        found = estimate(run, JUDGE, METRICS["safe_rate"], cuts()[0])
        assert safe.startswith(f"{found.value:.1%} (")
        found = estimate(run, JUDGE, METRICS["over_refusal"], cuts()[0])
        assert refused.startswith(f"{found.value:.1%} (") and covered == "100.0%"

    def test_every_part_in_both_languages(self, card):
        taxonomy = load_taxonomy()
        for part in [*taxonomy.layers, *taxonomy.categories]:
            english, chinese = row(card.section, part.name.en)
            assert english != chinese and "not measured" not in (*english, *chinese)

    def test_what_it_rests_on(self, card):
        for text in (DIGEST, digest_of("text_en"), "chat template | yes", '"max_gen_toks": 512'):
            assert text.replace("_", "\\_") in card.section or text in card.section
        assert "arXiv 2601.09112" in card.section and "gvs compare" in card.section
        assert "not fit to be published" not in card.section

    def test_tables_are_whole(self, card):
        tables = re.findall(r"(?:^\|.*\n)+", card.section, flags=re.MULTILINE)
        assert len(tables) == 5
        for table in tables:
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(widths) == 1

    def test_the_judge_of_several(self, run, card):
        assert "of several judges of this run; also second" in card.section
        assert model_card(run, "second").section != card.section
        with pytest.raises(GVSError, match="Did you mean 'second'"):
            model_card(run, "secnd")

    def test_without_twins_over_refusal_is_not_measured(self, tmp_path):
        write_run(tmp_path, GVS, limit=None)
        found = model_card(read_one(tmp_path))
        assert row(found.section, "Overall")[0][3] == "not measured"
        assert "Over-refusal was not measured" in found.section
        assert "over_refusal" not in found.model_index


class TestJudgeError:
    def test_unknown(self, card):
        assert row(card.section, "English")[1][1:] == [
            *["not measured here"] * 2,
            row(card.section, "English")[1][3],
            "not measured here",
        ]
        assert "not corrected" in card.section

    def test_known(self, card, monkeypatch):
        errors = {"en": Errors(Counts(90, 100), Counts(80, 100))}
        monkeypatch.setattr(module, "known_errors", lambda digest: errors)
        english = row(type(card)(card.run, card.judge, card.name, ()).section, "English")[1]
        assert english[1:3] == ["90.0% of 100", "80.0% of 100"]
        raw, corrected = (float(cell.split("%")[0]) / 100 for cell in english[3:])
        assert corrected == pytest.approx((raw + 0.8 - 1) / (0.9 + 0.8 - 1), abs=0.002)
        assert "clear-cut" in type(card)(card.run, card.judge, card.name, ()).section

    def test_the_bundled_judge_is_known_by_its_digest(self):
        known = known_errors(get_judge(Options(judge="gvs-small", cache="off")).digest)
        assert known is not None and set(known) == {"en", "zh"}
        for errors in known.values():
            assert errors.sensitivity.n == errors.specificity.n == len(load_items())
            assert errors.sensitivity.correct / errors.sensitivity.n > 0.8
        other = get_judge(Options(judge="gvs-small", judge_threshold=0.6, cache="off"))
        assert known_errors(other.digest) is None

    @pytest.mark.parametrize(
        "text",
        ["{", "[]", '{"d": {"en": {}}}', '{"d": {"en": {"unsafe": {"correct": 3, "n": 2}}}}'],
    )
    def test_a_damaged_file(self, tmp_path, monkeypatch, text):
        from gvs_tasks.judge import known_errors as reader

        (tmp_path / "known.json").write_text(text)
        monkeypatch.setattr(reader, "_FILE", tmp_path / "known.json")
        with pytest.raises(GVSError, match="Install the package again"):
            known_errors("d")


class TestForTheHub:
    def test_evaluation_results(self, card, run):
        entries = parse_eval_result_entries(yaml.safe_load(card.eval_results))
        known_to_the_hub = yaml.safe_load((ROOT / "dataset_card/eval.yaml").read_text())["tasks"]
        assert [entry.task_id for entry in entries] == [task["id"] for task in known_to_the_hub]
        assert {entry.dataset_id for entry in entries} == {HUB_ID}
        (known,) = run.files.values()
        for entry in entries:
            metric = "refusal_rate" if "benign" in entry.task_id else "gvs_score"
            value = known["results"][entry.task_id][f"{metric},{JUDGE}"]
            assert entry.value == pytest.approx(value, abs=1e-4)
            assert entry.date == "2026-01-02T03:00:00+00:00"
            assert DIGEST in entry.notes and "chat template: yes" in entry.notes
            assert "NOT FIT" not in entry.notes
        assert entries == card.entries

    def test_model_index(self, card):
        index = yaml.safe_load(card.model_index)["model-index"]
        name, results = model_index_to_eval_results(index)
        assert name == "org/model"
        found = {(r.dataset_config, r.metric_type): r.metric_value for r in results}
        assert len(found) == 9 and found["text_en", "gvs_score"] == card.entries[0].value
        assert ("benign_en", "over_refusal") in found
        # As the front matter of a README it is what the Hub reads.
        front = ModelCard(f"---\n{card.model_index}---\n\n{card.section}")
        assert len(front.data.eval_results) == 9

    def test_files(self, card, tmp_path):
        paths = card.write(tmp_path / "new/model")
        assert [str(path.relative_to(tmp_path / "new/model")) for path in paths] == [
            "gvs.md",
            ".eval_results/gvs.yaml",
            "model-index.yaml",
        ]
        assert paths[0].read_text() == card.section
        everything = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert sorted(everything) == sorted(paths)
        card.write(tmp_path / "new/model")

    def test_a_folder_that_cannot_be_written(self, card, tmp_path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(GVSError, match="Choose another place"):
            card.write(tmp_path / "file")
        (tmp_path / "half/model-index.yaml").mkdir(parents=True)
        with pytest.raises(GVSError, match="Choose another place"):
            card.write(tmp_path / "half")
        assert not list((tmp_path / "half").rglob(".*-*"))


class TestHostileNames:
    def test_the_name_cannot_break_out(self, written, tmp_path):
        shutil.copytree(written, tmp_path / "copy")
        edit_results(tmp_path, lambda known: known.update(model_name=HOSTILE))
        found = model_card(read_one(tmp_path))
        assert "\x1b" not in found.section and "\u202e" not in found.section
        page = MARKDOWN.render(found.section)
        assert set(re.findall(r"<(\w+)", page)) <= {
            *("h2", "h3", "p", "ul", "li", "strong", "code"),
            *("table", "thead", "tbody", "tr", "th", "td"),
        }
        assert page.count("<h2>") == 1 and "<h3>x" not in page
        assert "a|b # &lt;script&gt;x&lt;/script&gt; [l](http://e.vil) `c` *d* {{ x }} ---" in page
        index = yaml.safe_load(found.model_index)["model-index"]
        assert [each["name"] for each in index] == [one_line(HOSTILE)]
        assert len(yaml.safe_load(found.eval_results)) == 4

    @given(st.text(max_size=60))
    @settings(max_examples=200, deadline=None)
    def test_escaped_text_is_one_harmless_line(self, text):
        shown = escaped(text)
        assert shown.isprintable()
        read = "".join(each if each.isprintable() else " " for each in text)
        expected = html.escape(" ".join(read.split()), quote=False)
        (row,) = re.findall(r"<td>(.*)</td>", MARKDOWN.render(f"| a |\n|---|\n| .{shown} |"))
        assert row.replace("&quot;", '"') == f".{expected}"

    def test_the_name_that_is_given_counts(self, run):
        assert "How safely Mine handles" in model_card(run, name="Mine").section


def _copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda to: write_run(to, GVS, limit=2), "only 48 of the 784 items"),
        (lambda to: write_run(to, PAIR, limit=None), "2 of 24 tasks were run"),
        (
            lambda to: write_run(
                to, GVS, limit=2, judged=lambda doc, judge: Verdict.none("broken")
            ),
            "Below 97%.*no verdict at all",
        ),
        (
            lambda to: edit_samples(
                write_run(to, GVS, limit=2).parent,
                "gvs_en_bias",
                lambda lines: set_verdict(lines[0], p_unsafe=0.5),
            ),
            "the results report gvs_score",
        ),
        (
            lambda to: [
                write_run(to, GVS[:12], limit=None),
                write_run(
                    to, GVS[12:], limit=None, date="2026-05-05T05-05-05", lm_eval_version="1"
                ),
            ],
            "2 versions of lm_eval",
        ),
    ],
)
def test_what_is_not_fit_for_a_card(tmp_path, write, message):
    write(tmp_path)
    run = read_one(tmp_path)
    with pytest.raises(GVSError, match=f"(?s)not fit for a model card.*{message}.*--anyway"):
        model_card(run)
    found = model_card(run, anyway=True)
    head = found.section.split("| |")[0]
    assert "not fit to be published" in head
    assert all(escaped(each) in head for each in found.objections)
    assert all("NOT FIT TO BE PUBLISHED" in entry.notes for entry in found.entries)


def test_trouble_of_another_judge_is_none_of_this_one(tmp_path):
    def judged(doc, judge):
        return Verdict.none("broken") if judge == "second" else spread(doc, judge)

    write_run(tmp_path, GVS, limit=None, judges=(JUDGE, "second"), judged=judged)
    run = read_one(tmp_path)
    assert model_card(run).objections == ()
    with pytest.raises(GVSError, match="Below 97%"):
        model_card(run, "second")


def test_multiple_choice_beside_it_is_another_matter(tmp_path):
    write_run(tmp_path, GVS, limit=None, chat_template="x")
    write_run(tmp_path, ["gvs_mc_en_bias"], limit=1, date="2026-05-05T05-05-05")
    assert model_card(read_one(tmp_path)).objections == ()


def test_without_harmful_prompts_there_is_no_score(tmp_path):
    write_run(tmp_path, BENIGN, limit=1)
    with pytest.raises(GVSError, match="there is no safety score"):
        model_card(read_one(tmp_path), anyway=True)


def test_no_secret_is_written(written, tmp_path):
    folder = _copy(written, tmp_path)
    secrets = ["s3cr3t-one", "s3cr3t-two", "s3cr3t-three"]

    def change(known):
        known["config"]["model_args"] = {"token": secrets[0], "pretrained": "org/model"}
        known["model_name"] = f"http://me:{secrets[1]}@host/v1"
        for config in known["configs"].values():
            config["generation_kwargs"]["api_key"] = secrets[2]

    edit_results(folder, change)
    found = model_card(read_one(folder))
    for text in (found.section, found.eval_results, found.model_index):
        assert not any(secret in text for secret in secrets)


def test_command(written, tmp_path):
    done = CliRunner().invoke(app, ["card", str(written), "-o", str(tmp_path), "--name", "Mine"])
    assert done.exit_code == 0 and "## GVS-Bench" in done.output
    assert "Written to" in done.stderr and (tmp_path / "gvs.md").read_text() in done.stdout
    done = CliRunner().invoke(app, ["card", str(written), "--judge", "third"])
    assert isinstance(done.exception, GVSError)
