import pytest

from gvs_tasks.errors import GVSError
from gvs_tasks.judge import get_judges
from gvs_tasks.options import Options


def test_metadata_wins_over_the_environment():
    options = Options.read({"gvs_judge": "a/b"}, {"GVS_JUDGE": "c/d", "GVS_JUDGE_DEVICE": "cpu"})
    assert (options.judge, options.judge_device) == ("a/b", "cpu")


def test_model_arguments_are_not_looked_at():
    metadata = {"pretrained": "x", "revision": "y", "token": "secret", "judge": "other"}
    assert Options.read(metadata, {}) == Options()
    assert Options.read(None, {}) == Options()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"gvs_jugde": "x"}, "Did you mean 'gvs_judge'"),
        ({"gvs_judge_dtype": "int8"}, "gvs_judge_dtype"),
        ({"gvs_judge_threshold": 1.5}, "gvs_judge_threshold"),
        ({"gvs_judge_batch_tokens": "many"}, "gvs_judge_batch_tokens"),
    ],
)
def test_bad_options(metadata, message):
    with pytest.raises(GVSError, match=message):
        Options.read(metadata, {})


@pytest.mark.parametrize("revision", [1234567, 1.234e59])
def test_a_revision_that_lm_eval_took_for_a_number(revision):
    """'0123456' arrives as 123456: another commit."""
    with pytest.raises(GVSError, match=r"gvs_judge_revision.*environment variable"):
        Options.read({"gvs_judge_revision": revision}, {})


def test_empty_means_not_given():
    assert (
        Options.read({"gvs_judge": "", "gvs_dataset": None}, {"GVS_JUDGE_DTYPE": ""}) == Options()
    )


def test_misspelt_variable():
    with pytest.raises(GVSError, match="Did you mean 'gvs_judge'"):
        Options.read({}, {"GVS_JUGDE": "x", "GVS_TRACEBACK": "1"})


class TestEachJudge:
    def test_values_for_all_and_for_each(self):
        options = Options(judge="a+b", judge_template="+rubric", judge_device="cpu")
        one, other = options.each_judge()
        assert (one.judge, one.judge_template, one.judge_device) == ("a", None, "cpu")
        assert (other.judge, other.judge_template, other.judge_device) == ("b", "rubric", "cpu")

    def test_one_judge_keeps_its_plus(self, tmp_path):
        folder = tmp_path / "a+b"
        folder.mkdir()
        for options in (Options(judge=str(folder)), Options(judge="a", judge_unsafe_label="x+y")):
            assert options.each_judge() == (options,)

    @pytest.mark.parametrize("judge", ["a+", "+a", "a++b", "+"])
    def test_a_name_that_is_empty(self, judge):
        """An empty path is the working folder."""
        with pytest.raises(GVSError, match=r"lacks a name"):
            Options(judge=judge).each_judge()

    def test_not_as_many_values_as_judges(self):
        with pytest.raises(GVSError, match=r"gvs_judge_revision has 2 values for 3 judges"):
            Options(judge="a+b+c", judge_revision="x+y").each_judge()

    def test_two_of_one_name(self, judge_folder):
        with pytest.raises(GVSError, match="are called 'tiny-judge'"):
            get_judges(Options(judge=f"gvs-small+{judge_folder}+{judge_folder}"))
