"""From a judge's name to the judge: bundled, a folder, or a model on the Hub."""

import re
from functools import cache
from pathlib import Path

from gvs_tasks.errors import GVSError, unknown_name
from gvs_tasks.judge.types import Judge
from gvs_tasks.options import Options

__all__ = ["BUNDLED", "get_judge"]

WEIGHTS = Path(__file__).parent / "weights"
#: Bundled judges and what they are, for ``gvs judges``.
BUNDLED = {
    "gvs-small": "bilingual (en, zh) encoder for harm and refusal; runs on a CPU",
}

_REPO_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
#: Nothing executable and no pickles are fetched.
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


@cache
def get_judge(options: Options) -> Judge:
    """Find a judge and check its configuration; one instance for equal options.

    Weights are loaded at the first judgement. A Hub judge is downloaded here, so that a run
    fails before any answer is generated.

    Raises:
        GVSError: When there is no such judge or it cannot be used.
    """
    from gvs_tasks.judge.sequence_classifier import SequenceClassifierJudge

    name = options.judge
    if name in BUNDLED:
        return SequenceClassifierJudge(name, WEIGHTS / name, options)
    if Path(name).is_dir():
        folder = Path(name).resolve()
        return SequenceClassifierJudge(folder.name, folder, options)
    if _REPO_ID.match(name):
        folder = _download(name, options.judge_revision)
        # The cache keeps a snapshot in a folder named by its commit.
        return SequenceClassifierJudge(name.rpartition("/")[2], folder, options, folder.name)
    raise unknown_name("judge", name, [*BUNDLED, "a model folder", "a Hub id (org/name)"])


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=_FILES))
    except Exception as error:  # the Hub client, its transport and the cache raise many types
        raise GVSError(
            f"Judge '{repo}' cannot be fetched from the Hub ({type(error).__name__}). "
            f"Check the name, the revision and the network, give a local folder, "
            f"or use a bundled judge: {', '.join(BUNDLED)}."
        ) from error
