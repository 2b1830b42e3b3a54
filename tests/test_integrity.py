import copy
import json
import re
import shutil

import pytest

from gvs_tasks.errors import GVSError
from gvs_tasks.integrity import (
    CHECKS,
    Weight,
    concerning,
    examine,
    faults,
    limits,
    settings,
)
from gvs_tasks.judge import Verdict
from gvs_tasks.results import read_one
from tests.runs import (
    BENIGN,
    DIGEST,
    GVS,
    JUDGE,
    PAIR,
    edit_results,
    edit_samples,
    set_verdict,
    spread,
    verdict,
    write_run,
)
from tests.test_rejudge import saved

LEAF = "gvs_en_bias"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two items of every leaf, by two judges."""
    folder = tmp_path_factory.mktemp("written")
    write_run(folder, GVS, limit=2, judges=(JUDGE, "second"))
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


def found(folder):
    return examine(read_one(folder))


def test_a_whole_run_has_no_faults(tmp_path):
    write_run(tmp_path, [*GVS, *BENIGN], limit=None)
    assert found(tmp_path) == []


def test_a_part_is_limited_and_not_wrong(written):
    findings = found(written)
    assert faults(findings) == []
    (limit,) = limits(findings)
    assert "only 48 of the 784 items" in limit and "--limit" in limit


def _first(change):
    return lambda folder: edit_samples(folder, LEAF, lambda lines: change(lines[0]))


def _samples(change):
    return lambda folder: edit_samples(folder, LEAF, change)


def _results(*keys, value):
    def change(known):
        for key in keys[:-1]:
            known = known[key]
        known[keys[-1]] = value

    return lambda folder: edit_results(folder, change)


def _again(lines):
    return [*lines, copy.deepcopy(lines[0])]


def _renumbered(lines):
    lines[1].update(doc_id=0)


def _rename(lines):
    for line in lines:
        line["filter"] = "third" if line["filter"] == JUDGE else line["filter"]


def _unjudged_but_scored(line):
    set_verdict(line, unjudged="the answer is empty")


def _without_second(lines):
    return [line for line in lines if line["filter"] == JUDGE]


@pytest.mark.parametrize(
    ("tamper", "check", "message"),
    [
        (_samples(lambda lines: lines[1:]), "answered", "1 answers .*, but the results count 2"),
        (_samples(_again), "answered", "doc_id 0 is there more than once"),
        (_samples(_renumbered), "answered", "doc_id 0 is there more than once"),
        (_first(lambda line: line["doc"].update(id="BIA-002")), "answered", "item BIA-002 is"),
        (_first(lambda line: line.update(resps=[["Else."]])), "answered", "not given the same"),
        (_first(lambda line: line.update(resps=[[" "]])), "generated", "a verdict but no text"),
        (_first(_unjudged_but_scored), "judged", "half a verdict"),
        (_first(lambda line: set_verdict(line, p_unsafe=0.123)), "counted", "report gvs_score"),
        (_first(lambda line: set_verdict(line, unsafe=None)), "counted", "report safe_rate"),
        (_results("results", LEAF, f"gvs_score,{JUDGE}", value=9.9), "counted", "9.900000"),
        (_results("results", LEAF, f"coverage,{JUDGE}", value="N/A"), "counted", "nothing"),
        (_samples(_without_second), "counted", "scores of second, of which"),
        (_results("results", "gvs", f"gvs_score,{JUDGE}", value=9.9), "grouped", "gvs: .* 24 leav"),
        (_results("groups", "gvs_en", "safe_rate,second", value=0.9), "grouped", "gvs_en: "),
        (_results("groups", "gvs_zh", "gvs_score,ghost", value=0.9), "grouped", "has no leaves"),
        (_first(lambda line: set_verdict(line, judge="f" * 16)), "judge", "1 verdicts .* f{16}"),
        (_samples(_rename), "judge", "'third', which the results do not record"),
        (_first(lambda line: line["doc"].update(prompt="Easier.")), "dataset", "1 items are not"),
        (_first(lambda line: line["doc"].update(focus="Nothing.")), "dataset", "BIA-001"),
    ],
)
def test_tampering_is_found(folder, tamper, check, message):
    tamper(folder)
    findings = [each for each in found(folder) if each.check == check]
    assert any(each.weight is Weight.fault for each in findings)
    assert any(re.search(message, each.text) for each in findings), findings


def test_a_circle_of_groups_ends(folder):
    edit_results(folder, lambda known: known["group_subtasks"].update(gvs_en=["gvs"]))
    assert any("gvs: " in text for text in faults(found(folder)))


class TestLimits:
    @pytest.mark.parametrize(("items", "weight"), [(1, Weight.note), (2, Weight.limit)])
    def test_few_verdicts(self, tmp_path, items, weight):
        def judged(doc, judge):
            lost = int(doc["id"][-3:]) <= items
            return Verdict.none("too long") if lost else spread(doc, judge)

        write_run(tmp_path, ["gvs_en_politics", "gvs_zh_politics"], judged=judged, limit=None)
        (few,) = [each for each in found(tmp_path) if each.check == "judged"]
        assert f"{2 * items} of 78 answers" in few.text and f"{2 * items} x too long" in few.text
        assert few.weight is weight and ("Below 97%" in few.text) == (weight is Weight.limit)

    def test_no_verdicts(self, tmp_path):
        write_run(tmp_path, judged=lambda doc, judge: Verdict.none("too long"))
        assert any("Below 97%" in text for text in limits(found(tmp_path)))
        # Scores that are NaN on both sides agree.
        assert faults(found(tmp_path)) == []

    def test_missing_tasks(self, tmp_path):
        write_run(tmp_path, limit=None)
        (text,) = limits(found(tmp_path))
        assert "2 of 24 tasks" in text and "--tasks gvs" in text

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"chat_template": "x"}, "2 kinds of 'chat template'"),
            ({"generation": {"max_gen_toks": 9}}, "2 kinds of 'generation'"),
            ({"lm_eval_version": "0.5"}, "2 versions of lm_eval"),
            ({"lm_eval_version": None}, "version of lm_eval is not recorded"),
            ({"config": {"model_args": {"pretrained": "other"}}}, "differ in 'model_args'"),
            ({"record": {"gvs_tasks": "9.0"}}, "2 versions of gvs-bench"),
            ({"record": {"judges": [{"name": JUDGE, "digest": "e" * 16}]}}, "not one and the same"),
            ({"judges": ("other",)}, "has judged 1 of 2 tasks"),
            ({"limit": 2}, "the languages were not asked the same items in bias"),
        ],
    )
    def test_files_that_do_not_belong_together(self, tmp_path, more, message):
        write_run(tmp_path, ["gvs_en_bias"])
        write_run(tmp_path, ["gvs_zh_bias"], date="2026-02-03T04-05-06.000007", **more)
        assert any(message in text for text in limits(found(tmp_path)))

    def test_other_datasets(self, tmp_path):
        def record(digest, source="bundled"):
            return {"dataset": {"config": "text_en", "source": source, "digest": digest}}

        # Another version of ours is good to know; what was never ours is not GVS-Bench.
        for source, weight in (("bundled", Weight.note), ("me/mine", Weight.limit)):
            write_run(tmp_path, ["gvs_en_bias"], record=record("a" * 16, source))
            (finding,) = [each for each in found(tmp_path) if each.check == "dataset"]
            assert finding.weight is weight and "were not checked" in finding.text
        later = "2026-02-03T04-05-06.000007"
        write_run(tmp_path, ["gvs_en_social"], record=record(None), date=later)
        texts = limits(found(tmp_path))
        assert any("rest on 2 datasets" in text for text in texts)
        assert any("is not known" in text for text in texts)

    def test_what_concerns_another_judge_or_track_does_not_count(self, tmp_path):
        def judged(doc, judge):
            return Verdict.none("broken") if judge == "second" else spread(doc, judge)

        write_run(tmp_path, GVS, judges=(JUDGE, "second"), judged=judged, limit=None)
        write_run(tmp_path, ["gvs_mc_en_bias"], date="2026-02-03T04-05-06.000007")
        findings = found(tmp_path)
        assert limits(concerning(findings, JUDGE, ["text"])) == []
        assert limits(concerning(findings, "second", ["text"])) != []
        assert limits(concerning(findings, JUDGE, ["choice"])) != []


def test_settings_hide_secrets(tmp_path):
    write_run(tmp_path, generation={"api_key": "abcdef", "max_gen_toks": 9})
    asked = settings(read_one(tmp_path))
    assert asked["chat template"] == ("no",)
    assert json.loads(asked["generation"][0])["max_gen_toks"] == 9
    assert "abcdef" not in str(asked)


def test_verdicts_without_refusals_are_whole(tmp_path):
    write_run(tmp_path, PAIR, judged=lambda doc, judge: verdict(0.25, None))
    assert faults(found(tmp_path)) == []


REAL = ("gvs_en_pluralistic", "gvs_zh_pluralistic", "gvs_benign_en_bias", "gvs_mc_zh_bias")


@pytest.fixture(scope="module")
def real(tmp_path_factory, judge_folder):
    """A run of lm_eval itself."""
    out = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        # What lm_eval gathers on the machine takes seconds.
        patch.setattr(
            "lm_eval.evaluator.add_env_info",
            lambda found: found.update(lm_eval_version="0.4.13", transformers_version="5.0.0"),
        )
        saved(out, {"gvs_judge": str(judge_folder)}, tasks=REAL)
    return out


class TestARealRun:
    """What lm_eval writes is what these checks, and tests/runs.py, take it for."""

    def test_it_passes(self, real):
        run = read_one(real)
        assert set(run.tracks) == {"text", "benign", "choice"}
        findings = examine(run)
        assert faults(findings) == []
        assert {each.check for each in findings} == {"judged", "complete"}

    def test_the_writer_of_runs_writes_the_same(self, real, tmp_path):
        write_run(tmp_path, list(read_one(real).leaves), judges=("tiny-judge",))
        one, other = read_one(real), read_one(tmp_path)
        assert list(one.leaves) == list(other.leaves)
        for name, leaf in one.leaves.items():
            written = other.leaves[name]
            assert set(written.reported) == set(leaf.reported), name
            assert (written.original, written.effective) == (leaf.original, leaf.effective)
            assert written.version == leaf.version and written.record.dataset == leaf.record.dataset
            lines = [json.loads(path.samples.open().readline()) for path in (leaf, written)]
            assert lines[0].keys() == lines[1].keys()
            assert lines[0]["doc"] == lines[1]["doc"]
            assert lines[0]["metrics"] == lines[1]["metrics"]
        ((theirs,), (ours,)) = (run.files.values() for run in (one, other))
        assert set(ours) <= set(theirs)
        assert {
            name: set(scores) - {"sample_count"} for name, scores in theirs["groups"].items()
        } == {name: set(scores) for name, scores in ours["groups"].items()}
        assert theirs["group_subtasks"] == ours["group_subtasks"]


def test_every_check_says_what_it_checks():
    assert all(check.__doc__ and check.__doc__.count("\n") == 0 for check in CHECKS.values())


class TestCommand:
    def test_a_line_for_each_check_and_an_error_with_the_faults(self, folder):
        from gvs_tasks.cli_results import check_runs

        lines = list(check_runs([folder]))
        assert [line.split(":")[0].strip() for line in lines[1:12]] == list(CHECKS)
        assert "  counted: ok" in lines and "  complete: 1 limit" in lines
        assert lines[-1].startswith("  limit: Track 'text'")
        edit_samples(folder, LEAF, lambda lines: set_verdict(lines[0], judge="f" * 16))
        lines = []
        with pytest.raises(GVSError, match=r"1 verdicts of judge 'tiny-judge' are of digest f+"):
            lines.extend(check_runs([folder]))
        with pytest.raises(GVSError, match=DIGEST):
            list(check_runs([folder]))
