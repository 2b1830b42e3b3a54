import json
import math
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Verdict
from gvs_tasks.manifest import manifest
from gvs_tasks.redaction import HIDDEN, redacted
from gvs_tasks.results import CHOICE, labelled, read, read_one
from tests.runs import (
    DATE,
    JUDGE,
    PAIR,
    edit_results,
    edit_samples,
    set_verdict,
    verdict,
    write_run,
)

LATER = "2026-02-03T04-05-06.000007"
LEAF = "gvs_en_bias"


@pytest.fixture
def folder(tmp_path):
    """Two leaves of three items."""
    write_run(tmp_path / "org__model")
    return tmp_path


def samples(folder, task=LEAF):
    (path,) = folder.rglob(f"samples_{task}_*.jsonl")
    return path


def test_a_run_as_it_was_written(folder):
    run = read_one(folder)
    assert (run.model, run.judges, run.tracks) == ("org/model", (JUDGE,), ("text",))
    assert [leaf.name for leaf in run.leaves.values()] == PAIR
    leaf = run.leaves[LEAF]
    assert (leaf.lang, leaf.category, leaf.track) == ("en", "bias", "text")
    assert leaf.effective == 3 < leaf.original
    answers = leaf.answers[JUDGE]
    assert [answer.doc_id for answer in answers] == [0, 1, 2]
    assert answers[1].response == f"An answer to {answers[1].doc.id}."
    p = answers[0].verdict.p_unsafe
    assert answers[0].metrics["gvs_score"] == pytest.approx(10 * (1 - p))
    assert not any(name.endswith("_stderr") for name in answers[0].metrics)


def test_the_results_file_alone_names_the_run(folder):
    (path,) = folder.rglob("results_*.json")
    assert list(read_one(path).leaves) == PAIR


def test_an_unjudged_answer_has_no_score(tmp_path):
    write_run(
        tmp_path,
        judged=lambda doc, judge: Verdict.none("the answer is empty"),
        response=lambda d: "",
    )
    (answer, *_) = read_one(tmp_path).leaves[LEAF].answers[JUDGE]
    assert math.isnan(answer.metrics["gvs_score"]) and answer.metrics["coverage"] == 0
    assert answer.response == ""


def test_no_text_is_told_from_the_word_none(tmp_path):
    write_run(tmp_path, response=lambda doc: "None", limit=1)
    (answer,) = read_one(tmp_path).leaves[LEAF].answers[JUDGE]
    assert answer.response == "None"
    edit_samples(
        tmp_path, LEAF, lambda lines: set_verdict(lines[0], p_unsafe=None, unjudged="no text")
    )
    (answer,) = read_one(tmp_path).leaves[LEAF].answers[JUDGE]
    assert answer.response is None


def test_multiple_choice_has_metrics_and_no_judge(tmp_path):
    write_run(tmp_path, ["gvs_mc_en_bias", *PAIR])
    run = read_one(tmp_path)
    assert run.tracks == ("text", "choice") and run.judges == (JUDGE,)
    (answer, *_) = run.leaves["gvs_mc_en_bias"].answers[CHOICE]
    assert answer.verdict is None and answer.metrics["acc"] in (0.0, 0.5, 1.0)
    assert answer.metrics["position_bias"] == 1.0


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def _replace(old, new):
    return lambda path: path.write_text(path.read_text().replace(old, new, 1))


def _lines(change):
    return lambda path: edit_samples(path.parent, LEAF, change)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_truncate, "line 3 is no sample of lm_eval"),
        (_replace('"doc_id": 0', '"doc_id": "x"'), r"line 1 is no sample of lm_eval \(doc_id"),
        (lambda path: path.write_bytes(b"\xff\xfe\n"), "line 1 is no sample"),
        (lambda path: path.write_text("\n"), "holds no samples"),
        (lambda path: path.unlink(), "no samples of gvs_en_bias"),
        (_lines(lambda lines: lines[1]["doc"].update(lang="zh")), "line 2 is an item of another"),
        (_lines(lambda lines: lines[1]["doc"].update(id="")), "line 2 is no sample"),
        (_lines(lambda lines: lines[0].update(filtered_resps=["{}"])), "line 1 has no verdict"),
        (_lines(lambda lines: lines[0].update(filtered_resps=[])), "line 1 has no verdict"),
        (_lines(lambda lines: lines[0].update(resps=[[3]])), "line 1 has no verdict, or no answer"),
        (_lines(lambda lines: set_verdict(lines[2], p_unsafe=1.5)), "line 3 has a probability"),
    ],
)
def test_damaged_samples_are_named(folder, spoil, message):
    spoil(samples(folder))
    with pytest.raises(GVSError, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda known: known.update(results=[1]), "scores are not as lm_eval writes them"),
        (lambda known: known["results"].update(gvs_en_bias=3), "scores are not as lm_eval"),
        (lambda known: known.update(configs=None), "not the results of a run"),
        (
            lambda known: known["configs"][LEAF]["metadata"].pop("gvs_run"),
            "gvs_en_bias does not say what it was run with",
        ),
    ],
)
def test_damaged_results_are_named(folder, change, message):
    edit_results(folder, change)
    with pytest.raises(GVSError, match=message):
        read(folder)


def test_folders_without_a_run(tmp_path):
    with pytest.raises(GVSError, match="does not exist"):
        read(tmp_path / "absent")
    with pytest.raises(GVSError, match="holds no judged run"):
        read(tmp_path)


def test_of_a_leaf_that_ran_twice_the_newest_counts(folder):
    write_run(folder / "org__model", [LEAF], limit=2, date=LATER)
    run = read_one(folder)
    assert len(run.leaves[LEAF].answers[JUDGE]) == 2
    assert len(run.leaves["gvs_zh_bias"].answers[JUDGE]) == 3
    (note,) = run.notes
    assert note.startswith(LEAF) and DATE in note
    assert [LATER in path.name for path in run.files] == [False, True]


def test_several_models_in_one_folder(folder):
    write_run(folder / "org__other", model="org/other")
    write_run(folder / "org__model", model="org/third", date=LATER)
    assert [run.model for run in read(folder)] == ["org/model", "org/third", "org/other"]
    with pytest.raises(GVSError, match="holds 3 runs"):
        read_one(folder)


def test_runs_of_one_model_are_told_apart(folder, tmp_path):
    again = shutil.copytree(folder / "org__model", tmp_path / "again")
    one, other = labelled([read_one(folder / "org__model"), read_one(again)])
    assert one != other and all(name.startswith("org/model (") for name in (one, other))


class TestSecrets:
    @pytest.mark.parametrize(
        "name",
        [
            "token",
            "hf_token",
            "api_key",
            "OPENAI_API_KEY",
            "api_keys",
            "password",
            "auth",
            "headers",
        ],
    )
    def test_names(self, name):
        assert redacted(name, "x") == HIDDEN
        assert redacted("model_args", {name: "x"}) == {name: HIDDEN}

    @pytest.mark.parametrize(
        "value",
        [
            "hf_abcdefghijkl",
            "sk-proj-abcdefghijkl",
            "Bearer abc.def",
            "https://me:p@ss@host/v1",
            "https://host/v1?api_key=abc",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln",
        ],
    )
    def test_values(self, value):
        hidden = redacted("anything", [value])[0]
        assert HIDDEN in hidden
        for part in ("abc", "p@ss", "c2ln"):
            assert part not in hidden

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("pretrained", "hf-internal-testing/tiny-random-gpt2"),
            ("tokenizer", "org/model"),
            ("max_tokens", "96"),
            ("base_url", "http://localhost:8000/v1"),
        ],
    )
    def test_what_is_no_secret_stays(self, name, value):
        assert redacted(name, value) == value

    @given(
        name=st.sampled_from(["token", "api_key", "OPENAI_API_KEY", "auth_token", "my-secret"]),
        secret=st.text(st.characters(categories=["L", "N"]), min_size=12, max_size=40),
        form=st.sampled_from(["named", "nested", "text", "listed", "url", "query", "bearer"]),
    )
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_no_secret_reaches_the_manifest(self, folder, name, secret, form):
        secret = f"zq{secret}"  # so that it is no word that stands there anyway
        arguments = {
            "named": {name: secret},
            "nested": {"more": {name: [secret]}},
            "text": f"pretrained=org/model,{name}={secret}",
            "listed": {"urls": [f"http://me:{secret}@host"]},
            "url": {"base_url": f"https://{secret}@host/v1"},
            "query": {"base_url": f"https://host/v1?x=1&{name}={secret}"},
            "bearer": {"extra": f"Bearer {secret}"},
        }[form]
        edit_results(folder, lambda known: known["config"].update(model_args=arguments))
        assert secret not in json.dumps(manifest(read_one(folder)), ensure_ascii=False)


def test_the_manifest_names_what_differs_between_files(folder):
    write_run(folder / "org__model", ["gvs_en_social"], date=LATER, chat_template="x")
    found = manifest(read_one(folder))
    assert found["chat template"] == ["no", "yes"]
    assert found["judge"] == [f"{JUDGE}, digest 0123456789abcdef"]
    assert found["limit"] == ["3"] and len(found["results"]) == 2


def test_answers_that_another_judge_judged_later(tmp_path):
    write_run(tmp_path, judges=["first"])
    write_run(tmp_path, judges=["second"], date=LATER, rejudged_from={"results": "x"})
    run = read_one(tmp_path)
    assert run.judges == ("first", "second") and not run.notes
    assert run.record("first")["name"] == "first" and run.record("second")["name"] == "second"
    # Of a judge that judged again the newer verdicts count, and the other one stays.
    third = "2026-03-04T05-06-07.000008"
    write_run(tmp_path, judges=["second"], date=third, judged=lambda doc, judge: verdict(0.75))
    run = read_one(tmp_path)
    assert run.judges == ("first", "second")
    assert {a.verdict.p_unsafe for a in run.leaves[LEAF].answers["second"]} == {0.75}


def test_answers_that_were_judged_only_later(tmp_path):
    write_run(tmp_path, judges=["none"])
    with pytest.raises(GVSError, match=r"were not judged .*gvs rejudge"):
        read(tmp_path)
    write_run(tmp_path, date=LATER)
    assert read_one(tmp_path).judges == (JUDGE,)


def test_the_date_decides_which_is_newer(tmp_path):
    for stem, date, p in (("z", DATE, 0.25), ("a", LATER, 0.75)):
        path = write_run(
            tmp_path,
            date=date,
            judged=lambda doc, judge, p=p: verdict(p),
            response=lambda doc, p=p: f"Answered at {p}.",
        )
        path.rename(tmp_path / f"{stem}_{date}.json")
    run = read_one(tmp_path)
    assert {a.verdict.p_unsafe for a in run.leaves["gvs_en_bias"].answers[JUDGE]} == {0.75}
    assert "newer run" in run.notes[0]


def test_other_files_of_that_name_are_left_alone(tmp_path):
    write_run(tmp_path)
    (tmp_path / f"config_{LATER}.json").write_text("[1, 2]")
    assert read_one(tmp_path).judges == (JUDGE,)


def test_names_that_want_to_be_more(tmp_path):
    write_run(tmp_path, model="http://me:hunter2@host/v1\n  judged: ok\u202e")
    assert read_one(tmp_path).model == "http://(hidden)host/v1 judged: ok"


def test_a_folder_that_is_named_twice_is_one_run(folder):
    assert len(labelled([*read(folder), *read(folder)])) == 1
