"""From a judge's name to the judge: bundled, a folder, or a model on the Hub."""

import re
from functools import cache
from pathlib import Path

from gvs_tasks.errors import GVSError, unknown_name
from gvs_tasks.judge.families import families, family_of
from gvs_tasks.judge.types import Judge
from gvs_tasks.options import Options

__all__ = ["BUNDLED", "RUBRICS", "get_judge", "get_judges"]

WEIGHTS = Path(__file__).parent / "weights"
#: Bundled judges and what they are, for ``gvs judges``.
BUNDLED = {
    "gvs-small": "bilingual (en, zh) encoder for harm and refusal; runs on a CPU",
}

#: Ways to read any instruct model, beside the families of guards.
RUBRICS = ("rubric", "rubric-compat")

_REPO_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
#: Nothing executable and no pickles are fetched.
_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


@cache
def get_judges(options: Options) -> tuple[Judge, ...]:
    """Find every judge of a run: one, or several joined by "+".

    Raises:
        GVSError: When one cannot be used, or two have the same short name.
    """
    judges = tuple(get_judge(each) for each in options.each_judge())
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise GVSError(
            f"Two judges of '{options.judge}' are called '{twice}', and results tell them apart "
            "by name. Run them one after the other: gvs rejudge."
        )
    return judges


@cache
def get_judge(options: Options) -> Judge:
    """Find a judge and check its configuration; one instance for equal options.

    Weights are loaded at the first judgement. A Hub judge is downloaded here, so that a run
    fails before any answer is generated.

    Raises:
        GVSError: When there is no such judge or it cannot be used.
    """
    name = options.judge
    if name in BUNDLED:
        return _build(name, WEIGHTS / name, options)
    if Path(name).is_dir():
        folder = Path(name).resolve()
        return _build(folder.name, folder, options)
    if _REPO_ID.match(name):
        listed = family_of(name)
        if listed and not options.judge_template:
            options = options.model_copy(update={"judge_template": listed})
        pinned = families()[listed].models[name] if listed else None
        folder = _download(name, options.judge_revision or pinned)
        # The cache keeps a snapshot in a folder named by its commit.
        return _build(name.rpartition("/")[2], folder, options, folder.name)
    raise unknown_name("judge", name, [*BUNDLED, "a model folder", "a Hub id (org/name)"])


def _build(name: str, folder: Path, options: Options, revision: str = "") -> Judge:
    # Here and not above: these import torch and transformers.
    from gvs_tasks.judge.guard import GuardJudge
    from gvs_tasks.judge.model_folder import ModelFolder
    from gvs_tasks.judge.rubric import CompatRubricJudge, RubricJudge
    from gvs_tasks.judge.sequence_classifier import SequenceClassifierJudge

    template = options.judge_template
    if template is None:
        if ModelFolder(name, folder, options).is_language_model:
            raise GVSError(
                f"Judge '{name}' is a language model; say how it is asked with "
                f"gvs_judge_template: {', '.join([*families(), *RUBRICS])}."
            )
        return SequenceClassifierJudge(name, folder, options, revision)
    judge: GuardJudge | RubricJudge | CompatRubricJudge
    if template in RUBRICS:
        rubric = RubricJudge if template == "rubric" else CompatRubricJudge
        judge = rubric(name, folder, options, revision)
    elif template in families():
        chosen = families()[template]
        if chosen.classifier:
            return SequenceClassifierJudge(name, folder, options, revision, chosen.classifier)
        judge = GuardJudge(name, folder, options, chosen, revision)
    else:
        raise unknown_name("template", template, [*families(), *RUBRICS])
    judge.check()
    return judge


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
