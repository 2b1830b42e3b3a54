"""Publish the dataset, and the judge if asked, on the Hub.

    python scripts/push_to_hub.py --repo ORG/NAME [--judge-repo ORG/NAME] [--push]

Without ``--push`` it only shows what would be uploaded. The dataset is one commit, the judge
another in a repository of its own, and each gets the version's tag. ``HF_ENDPOINT`` names another
Hub.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this checkout, not an installed package

import datasets  # noqa: E402
from _hub import HubError, Target, check_name, compare, log_in, new_plan, publish  # noqa: E402
from build_dataset import build  # noqa: E402
from huggingface_hub import HfApi, logging  # noqa: E402

from gvs_tasks import __version__  # noqa: E402
from gvs_tasks.errors import GVSError  # noqa: E402
from gvs_tasks.judge.profile import read_profile  # noqa: E402

WEIGHTS = ROOT / "gvs_tasks/judge/weights/gvs-small"
JUDGE_CARD = ROOT / "dataset_card/gvs-small.md"
_RELATIVE_LINK = re.compile(r"\]\((?!\w+:|[#/])")
_USE = """
## Use

With the package `gvs-bench`:

```bash
gvs judge answers.jsonl -o judged.jsonl --judge {judge}
```
"""


def judge_card(text: str, judge: str, dataset: str) -> str:
    """Return the judge's card as its own repository needs it.

    Args:
        text: The card as it stands beside the dataset's.
        judge: Hub id of the judge.
        dataset: Hub id of the dataset, where the files are that the card links to.
    """
    _, front, body = text.split("---\n", maxsplit=2)
    metadata = yaml.safe_load(front) | {"library_name": "transformers", "datasets": [dataset]}
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    body = _RELATIVE_LINK.sub(f"](https://huggingface.co/datasets/{dataset}/blob/main/", body)
    opening, heading, rest = body.partition("\n## ")
    return f"---\n{front}---\n{opening}{_USE.format(judge=judge)}{heading}{rest}"


def dataset_target(folder: Path, repo: str) -> Target:
    """Build the dataset into a folder."""
    build(folder, repo)
    return Target(repo, "dataset", folder, f"GVS-Bench {__version__}", f"v{__version__}")


def judge_target(folder: Path, repo: str, dataset: str) -> Target:
    """Put the judge's weights, card and licences into a folder."""
    shutil.copytree(WEIGHTS, folder)
    shutil.copy(ROOT / "LICENSE", folder)
    card = judge_card(JUDGE_CARD.read_text(encoding="utf-8"), repo, dataset)
    (folder / "README.md").write_text(card, encoding="utf-8")
    profile = read_profile(folder)
    if profile is None:
        raise GVSError(f"{WEIGHTS} has no judge.json. Restore it, or train the judge again.")
    message = f"{profile.name} {profile.version}, of GVS-Bench {__version__}"
    return Target(repo, "model", folder, message, f"v{__version__}")


def rehearse(api: HfApi, targets: list[Target]) -> None:
    """Show what would be uploaded; sends nothing.

    Raises:
        GVSError: When the upload would be refused, as far as reading tells.
    """
    for target in targets:
        try:
            plan = compare(api, target)
            beside = f"commit {plan.head[:7]}" if plan.head else "nothing: it is not on the Hub yet"
        except HubError as error:
            plan, beside = new_plan(target), f"nothing: {error}"
        print(f"{target.kind} {target.repo}, compared with {beside}\n{plan.table()}\n")
        plan.check()
    print("This was a dry run: nothing was sent. Add --push to upload.")


def push(api: HfApi, targets: list[Target]) -> None:
    """Upload; every repository is compared before the first is written.

    Raises:
        GVSError: When one of them is refused; those before it are published.
    """
    plans = [compare(api, target) for target in targets]
    for plan in plans:
        plan.check()
    for plan in plans:
        print(publish(api, plan), flush=True)


def run(repo: str, judge_repo: str | None, really: bool) -> None:
    """Build everything in a temporary folder, then show or upload it.

    Raises:
        GVSError: When a name is wrong, the Hub refuses, or the version is published already.
    """
    for name in filter(None, (repo, judge_repo)):
        check_name(name)
    if repo == judge_repo:
        raise GVSError("--repo and --judge-repo are two repositories. Give each its own name.")
    api = HfApi()
    if really:
        log_in(api)
    with tempfile.TemporaryDirectory(prefix="gvs-hub-") as scratch:
        targets = [dataset_target(Path(scratch) / "dataset", repo)]
        if judge_repo:
            targets.append(judge_target(Path(scratch) / "judge", judge_repo, repo))
        (push if really else rehearse)(api, targets)


def main() -> None:
    """Publish, or show what would be published."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", required=True, help="Hub id of the dataset, ORG/NAME")
    parser.add_argument("--judge-repo", help="Hub id of the judge; without it, no judge is sent")
    parser.add_argument("--push", action="store_true", help="upload; the default only shows")
    given = parser.parse_args()
    datasets.disable_progress_bars()
    logging.set_verbosity_error()  # its warnings of retries stand before an error that says it all
    try:
        run(given.repo, given.judge_repo, given.push)
    except GVSError as error:
        sys.exit(f"push_to_hub: {error}")


if __name__ == "__main__":
    main()
