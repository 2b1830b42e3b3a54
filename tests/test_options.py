import pytest

from gvs_tasks.errors import GVSError
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
