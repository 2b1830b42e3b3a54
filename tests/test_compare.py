import re
import shutil

import pytest
from typer.testing import CliRunner

from gvs_tasks.cli import app
from gvs_tasks.compare import contrast
from gvs_tasks.errors import GVSError
from gvs_tasks.judge import Verdict
from gvs_tasks.results import read_one
from gvs_tasks.scores import METRICS
from gvs_tasks.taxonomy import load_taxonomy
from tests.runs import BENIGN, GVS, JUDGE, PAIR, edit_results, edit_samples, verdict, write_run

ITEMS = 8


def side(folder, p, **more):
    options = {"tasks": PAIR, "limit": ITEMS, "model": folder.name} | more
    write_run(folder, judged=lambda doc, judge: verdict(p), **options)
    return read_one(folder)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """B is safer on every item."""
    folder = tmp_path_factory.mktemp("pair")
    side(folder / "a", 0.5, tasks=[*PAIR, "gvs_mc_en_bias"])
    side(folder / "b", 0.25, tasks=[*PAIR, "gvs_mc_en_bias"])
    return folder


def test_who_is_better_and_by_how_much(pair):
    found = contrast(read_one(pair / "a"), read_one(pair / "b"))
    assert (found.a.label, found.b.label, found.a.judge) == ("a", "b", JUDGE)
    assert found.objections == ()
    assert {each.cut.kind for each in found.differences} == {
        *("overall", "language", "layer", "category")
    }
    assert found.overall.result.difference.value == pytest.approx(-2.5)
    assert {found.better(each) for each in found.differences} == {"B better"}
    back = contrast(read_one(pair / "b"), read_one(pair / "a"))
    assert back.better(back.overall) == "A better"
    # Both answered a part of the items.
    assert any("A and B: run on a part" in remark for remark in found.remarks)


def test_better_respects_which_end_is_good(tmp_path):
    def write(name, refuses):
        write_run(
            tmp_path / name,
            ["gvs_benign_en_bias", "gvs_benign_zh_bias", *PAIR],
            limit=ITEMS,
            model=name,
            judged=lambda doc, judge: verdict(0.25, 0.75 if refuses else 0.25),
        )
        return read_one(tmp_path / name)

    a, b = write("a", True), write("b", False)
    lower = contrast(a, b, "over_refusal")
    assert lower.overall.result.difference.value == 1 and lower.better(lower.overall) == "B better"
    neither = contrast(a, b, "refusal_rate")
    assert neither.better(neither.overall) == "A higher"


def test_equal_runs(pair, tmp_path):
    shutil.copytree(pair / "a", tmp_path / "again")
    edit_results(tmp_path, lambda known: known.update(model_name="again"))
    found = contrast(read_one(pair / "a"), read_one(tmp_path))
    assert {found.better(each) for each in found.differences} == {"no"}


def test_multiple_choice_needs_no_judge(pair):
    found = contrast(read_one(pair / "a"), read_one(pair / "b"), "acc")
    assert found.a.judge == "" and found.overall.items == ITEMS
    assert found.better(found.overall) == "no"


def test_items_that_one_lacks_are_left_out_and_named(pair, tmp_path):
    side(tmp_path / "c", 0.25, limit=5)
    found = contrast(read_one(pair / "a"), read_one(tmp_path / "c"))
    assert found.overall.items == 10
    assert any("A has 16 answers, 10 of which" in remark for remark in found.remarks)


def test_what_would_have_been_found(tmp_path):
    def write(name, shift):
        write_run(
            tmp_path / name,
            limit=None,
            model=name,
            judged=lambda doc, judge: verdict(0.5 + shift * (int(doc["id"][-1]) % 2)),
        )
        return read_one(tmp_path / name)

    found = contrast(write("a", 0.25), write("b", 0.0))
    stderr = found.overall.result.difference.stderr
    assert stderr > 0 and found.detectable == pytest.approx((1.959964 + 0.841621) * stderr)


def _verdicts_of(digest):
    return lambda doc, judge: verdict(0.25, judge=digest)


OTHER_JUDGE = {
    "judged": _verdicts_of("e" * 16),
    "record": {"judges": [{"name": JUDGE, "digest": "e" * 16}]},
}
DATASET = {"config": "text_en", "source": "x", "digest": "e" * 16}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (OTHER_JUDGE, "judges differ: .*0123456789abcdef.* and .*eeeeeeeeeeeeeeee.*gvs rejudge"),
        ({"record": {"dataset": DATASET}}, "datasets of text_en differ"),
        ({"chat_template": "x"}, "differ in 'chat template': no and yes"),
        ({"generation": {"max_gen_toks": 9}}, "differ in 'generation': .*512.* and .*9"),
        ({"judged": lambda doc, judge: Verdict.none("broken")}, "B has a verdict for 0.0%"),
    ],
)
def test_what_stands_against_a_comparison(pair, tmp_path, more, message):
    options = {"judged": lambda doc, judge: verdict(0.25)} | more
    tasks = PAIR[:1] if "record" in more and "dataset" in more["record"] else PAIR
    write_run(tmp_path, tasks, limit=ITEMS, model="other", **options)
    a, b = read_one(pair / "a"), read_one(tmp_path)
    with pytest.raises(GVSError, match=r"(?s)not to be compared.*--anyway") as raised:
        contrast(a, b)
    assert re.search(message, str(raised.value))
    found = contrast(a, b, anyway=True)
    assert any(re.search(message, each) for each in found.objections)


def test_judges_of_other_names(pair, tmp_path):
    a = read_one(pair / "a")
    b = side(tmp_path / "other", 0.25, judges=("other",))
    # The digest says which judge it was; the name may be that of a folder.
    assert contrast(a, b).b.judge == "other"
    record = {"judges": [{"name": "other", "digest": "e" * 16}]}
    write_run(
        tmp_path / "third", judges=("other",), judged=_verdicts_of("e" * 16), record=record, limit=2
    )
    with pytest.raises(GVSError, match=r"judges differ: tiny-judge .* and other"):
        contrast(a, read_one(tmp_path / "third"))
    # Of several the one that both have.
    b = side(tmp_path / "both", 0.25, judges=("other", JUDGE))
    assert contrast(a, b).b.judge == JUDGE


def test_a_run_that_mixes_settings(pair, tmp_path):
    side(tmp_path / "b", 0.25, tasks=PAIR[:1])
    side(tmp_path / "b", 0.25, tasks=PAIR[1:], date="2026-05-05T05-05-05", chat_template="x")
    with pytest.raises(GVSError, match="B: The tasks were run with 2 kinds of 'chat template'"):
        contrast(read_one(pair / "a"), read_one(tmp_path))


def test_other_versions_of_the_tasks(pair, tmp_path):
    shutil.copytree(pair / "b", tmp_path / "b")
    edit_results(tmp_path, lambda known: known["versions"].update(gvs_en_bias=2.0))
    with pytest.raises(GVSError, match=r"different versions \(gvs_en_bias: 1.0 and 2.0\)"):
        contrast(read_one(pair / "a"), read_one(tmp_path))


def test_a_damaged_run(pair, tmp_path):
    shutil.copytree(pair / "b", tmp_path / "b")
    edit_samples(tmp_path, "gvs_en_bias", lambda lines: lines[1:])
    with pytest.raises(GVSError, match="B is damaged: gvs_en_bias: 7 answers"):
        contrast(read_one(pair / "a"), read_one(tmp_path))


def test_what_cannot_be_compared_at_all(pair):
    a, b = read_one(pair / "a"), read_one(pair / "b")
    with pytest.raises(GVSError, match="given twice"):
        contrast(a, read_one(pair / "a"))
    with pytest.raises(GVSError, match=r"judge of .* 'tiny-jugde'. Did you mean 'tiny-judge'"):
        contrast(a, b, judge="tiny-jugde")
    with pytest.raises(GVSError, match="Unknown metric"):
        contrast(a, b, "score")


class TestCommand:
    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("whole")
        side(folder / "a", 0.5, tasks=[*GVS, *BENIGN], limit=2, model="org/" + "long-name-" * 9)
        side(folder / "b", 0.25, tasks=[*GVS, *BENIGN], limit=2, model="[red]b\x1b[31m[/red]")
        return folder

    def run(self, *arguments, **environ):
        done = CliRunner().invoke(app, ["compare", *map(str, arguments)], env=environ)
        assert done.exception is None, done.exception
        return done.output

    def test_the_table_stays_readable_in_80_columns(self, whole):
        for metric in METRICS:
            if metric in ("acc", "upstream"):
                continue
            output = self.run(whole / "a", whole / "b", "--metric", metric, COLUMNS="40")
            lines = output.splitlines()
            assert max(map(len, lines)) <= 80 and "\x1b" not in output
            for category in load_taxonomy().categories:
                (line,) = [each for each in lines if f"  {category.slug} " in each]
                assert re.search(r"\[([+-]\d\.\d+, [+-]\d\.\d+|too few items)\]", line)
                assert re.search(r"(better|higher|no) *$", line)
            order = [line.split()[0] for line in lines if line]
            assert order.index("baseline") < order.index("life_safety") < order.index("integrity")

    def test_it_says_what_it_rests_on(self, whole):
        output = " ".join(self.run(whole / "a", whole / "b").split())
        assert "96 answers" not in output and "48 answers to" in output
        assert f"judge {JUDGE}, digest 0123456789abcdef" in output
        # Every item differs by the same.
        assert "adjusted by Holm" in output and "would have been found cannot be said" in output
        # Names are shown as they are, and command no terminal.
        assert "[red]b [31m[/red]" in output

    def test_it_says_what_it_would_have_found(self, tmp_path):
        for name, step in (("a", 0.25), ("b", 0.0)):
            write_run(
                tmp_path / name,
                limit=ITEMS,
                model=name,
                judged=lambda doc, judge, step=step: verdict(0.5 + step * (doc["id"] > "BIA-004")),
            )
        found = contrast(read_one(tmp_path / "a"), read_one(tmp_path / "b"))
        output = " ".join(self.run(tmp_path / "a", tmp_path / "b").split())
        assert f"likely find (4 times of 5) is {found.detectable:.2f}" in output

    def test_an_override_is_said(self, whole, tmp_path):
        side(tmp_path, 0.25, tasks=GVS, limit=2, chat_template="x")
        output = self.run(whole / "a", tmp_path, "--anyway")
        assert "proves nothing" in output and "differ in 'chat template'" in output
