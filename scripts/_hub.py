"""What publishing needs of the Hub: compare a folder with a repository, commit it, tag it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

from gvs_tasks.errors import GVSError

__all__ = ["HubError", "Plan", "Target", "check_name", "compare", "log_in", "new_plan", "publish"]

LOGIN = "Run 'hf auth login', or set HF_TOKEN to a token that may write."
State = Literal["added", "changed", "unchanged"]


class HubError(GVSError):
    """The Hub refused, or could not be reached."""


@dataclass(frozen=True)
class Target:
    """What is to be published, and where.

    Attributes:
        repo: Hub id ("org/name").
        kind: "dataset" or "model".
        folder: Holds exactly the files to publish.
        message: Commit message.
        tag: Name of the version.
    """

    repo: str
    kind: str
    folder: Path
    message: str
    tag: str

    def files(self) -> dict[str, Path]:
        """Return the files by their paths in the repository."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}


@dataclass(frozen=True)
class Plan:
    """How a repository differs from what is to be published.

    Attributes:
        target: What is to be published.
        head: The commit compared with; None where there is no repository yet.
        states: What becomes of each file.
        kept: Files that only the repository has; they stay.
        tagged: Whether the version's tag is there.
        conflict: Whether that tag is on other content.
    """

    target: Target
    head: str | None
    states: dict[str, State]
    kept: list[str] = field(default_factory=list)
    tagged: bool = False
    conflict: bool = False

    @property
    def uploads(self) -> list[str]:
        """Paths to upload."""
        return [path for path, state in self.states.items() if state != "unchanged"]

    def table(self) -> str:
        """Return a line for each file, and one for the commit."""
        sizes = {name: path.stat().st_size for name, path in self.target.files().items()}
        lines = [f"  {state:<9} {sizes[name]:>11,}  {name}" for name, state in self.states.items()]
        lines += [f"  {'kept':<9} {'':>11}  {name} (only on the Hub)" for name in self.kept]
        lines.append(
            f"  {len(self.uploads)} of {len(self.states)} files to upload, "
            f"{sum(sizes[name] for name in self.uploads):,} bytes; "
            f"commit '{self.target.message}', tag {self.target.tag}"
            f"{' (is there)' if self.tagged else ''}"
        )
        return "\n".join(lines)

    def check(self) -> None:
        """Raise GVSError when the version is published already, with other content."""
        if self.conflict:
            raise GVSError(
                f"{self.target.repo} has the tag {self.target.tag} on other content, and a "
                "published version does not change. Raise __version__ in gvs_tasks/__init__.py "
                "(and the version in CITATION.cff)."
            )


@contextmanager
def hub_errors(doing: str) -> Iterator[None]:
    """Turn what the Hub's client raises into a HubError of one line, without any token."""
    try:
        yield
    except GVSError:
        raise
    except Exception as error:  # the client raises dozens of types
        # Without its context, whose messages may hold a token and would stand in a traceback.
        raise HubError(_redacted(f"{doing}: {_reason(error)}")) from None


def _reason(error: Exception) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, LocalTokenNotFoundError):
        return f"not logged in. {LOGIN}"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set. Unset it to reach the Hub."
    if status == 401:
        return f"the Hub does not accept the token. {LOGIN}"
    if status == 403:
        return (
            f"no permission ({_first_line(error)}). Use a token that may write to that "
            "organisation, or name another repository."
        )
    if status in (409, 412):
        return (
            f"the repository was changed meanwhile ({_first_line(error)}). Run the command again."
        )
    cause = error.__cause__ or error
    return (
        f"{type(cause).__name__}: {_first_line(cause)}. What was published before is untouched; "
        "check the network and run the command again."
    )


def _first_line(error: BaseException) -> str:
    server = getattr(error, "server_message", None)
    return next(iter((server or str(error)).strip().splitlines()), "no message").rstrip(".")


def _redacted(text: str) -> str:
    token = get_token()
    return text.replace(token, "(token)") if token else text


def check_name(repo: str) -> None:
    """Raise GVSError when a repository's name is not one."""
    try:
        validate_repo_id(repo)
    except ValueError:
        repo = ""
    if repo.count("/") != 1:
        raise GVSError(
            "A repository is named ORG/NAME, of letters, digits, '-', '_' and '.' "
            "(--repo, --judge-repo)."
        )


def log_in(api: HfApi) -> None:
    """Raise HubError when there is no token, or the Hub does not accept it."""
    with hub_errors(f"Cannot publish to {api.endpoint}"):
        api.whoami()


def new_plan(target: Target) -> Plan:
    """Return the plan for a repository that is not there."""
    return Plan(target, None, dict.fromkeys(target.files(), "added"))


def compare(api: HfApi, target: Target) -> Plan:
    """Compare a folder with its repository; only reads.

    Raises:
        HubError: When the Hub cannot be read.
        GVSError: When a repository of another type has the name.
    """
    with hub_errors(f"{target.repo} cannot be read from the Hub"):
        if not api.repo_exists(target.repo, repo_type=target.kind):
            _check_kind(api, target)
            return new_plan(target)
        head = api.repo_info(target.repo, repo_type=target.kind).sha
        refs = api.list_repo_refs(target.repo, repo_type=target.kind)
        tagged = next((ref.target_commit for ref in refs.tags if ref.name == target.tag), None)
        there = _tree(api, target, head)
        states = _states(target, there)
        conflict = False
        if tagged is not None:
            at_tag = there if tagged == head else _tree(api, target, tagged)
            conflict = set(_states(target, at_tag).values()) != {"unchanged"}
        kept = sorted(set(there) - set(states))
        return Plan(target, head, states, kept, tagged is not None, conflict)


def _check_kind(api: HfApi, target: Target) -> None:
    for kind in {"dataset", "model", "space"} - {target.kind}:
        if api.repo_exists(target.repo, repo_type=kind):
            raise GVSError(
                f"{target.repo} is a {kind}, not a {target.kind}. Name another repository."
            )


def _tree(api: HfApi, target: Target, revision: str | None) -> dict[str, RepoFile]:
    entries = api.list_repo_tree(
        target.repo, recursive=True, revision=revision, repo_type=target.kind
    )
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _states(target: Target, there: dict[str, RepoFile]) -> dict[str, State]:
    def state(name: str, path: Path) -> State:
        if name not in there:
            return "added"
        return "unchanged" if _same(path, there[name]) else "changed"

    return {name: state(name, path) for name, path in target.files().items()}


def _same(path: Path, entry: RepoFile) -> bool:
    data = path.read_bytes()
    if len(data) != entry.size:
        return False
    if entry.lfs is not None:
        return hashlib.sha256(data).hexdigest() == entry.lfs.sha256
    # The id that git gives to a file's content.
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == entry.blob_id


def publish(api: HfApi, plan: Plan) -> str:
    """Upload what differs in one commit, and tag it; return what was done.

    A file is visible only once the commit is whole: a run that is cut off changes nothing, and
    the next one goes on.

    Raises:
        HubError: When the Hub refuses or cannot be reached.
        GVSError: When the version is published already, with other content.
    """
    target, commit, done = plan.target, plan.head, []
    plan.check()
    with hub_errors(f"{target.repo} cannot be published"):
        if commit is None:
            api.create_repo(target.repo, repo_type=target.kind, exist_ok=True)
        if plan.uploads:
            files = target.files()
            commit = api.create_commit(
                target.repo,
                [CommitOperationAdd(name, files[name]) for name in plan.uploads],
                commit_message=target.message,
                repo_type=target.kind,
                # Refused when somebody else has committed since the comparison.
                parent_commit=plan.head,
            ).oid
            done.append(f"uploaded {len(plan.uploads)} files")
        if not plan.tagged:
            api.create_tag(target.repo, tag=target.tag, revision=commit, repo_type=target.kind)
            done.append(f"tagged {target.tag}")
    return f"{target.repo}: {' and '.join(done) or 'nothing has changed, nothing was sent'}."
