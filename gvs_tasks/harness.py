"""Everything that depends on how lm_eval is installed and called: ``gvs run`` and ``gvs link``."""

import importlib.util
import shutil
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from gvs_tasks import tasks_path
from gvs_tasks.errors import GVSError, unknown_name

__all__ = ["link", "linked", "run", "unlink"]

STUB_HEADER = "# Written by `gvs link`; `gvs link --undo` removes it.\n"


def _link_folder() -> Path:
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise GVSError("lm_eval is not installed. Install it with: pip install gvs-bench")
    return Path(spec.origin).parent / "tasks" / "gvs"


def linked() -> bool:
    """Say whether lm_eval finds the tasks by itself."""
    return _link_folder().is_dir()


def link() -> Path:
    """Make the bare ``lm_eval --tasks gvs`` work, and return the folder that does it.

    lm_eval walks its own task folder without following linked folders, so this writes a real
    folder with one stub for each task file.

    Raises:
        GVSError: When the folder cannot be written or is not ours.
    """
    target = _link_folder()
    _refuse_foreign(target)
    try:
        # Written beside the target and moved, so that lm_eval never sees half of it.
        fresh = Path(tempfile.mkdtemp(prefix=".gvs-", dir=target.parent))
        fresh.chmod(0o755)
        for path in sorted(tasks_path().rglob("*.yaml")):
            stub = f"{STUB_HEADER}include: {_quoted(path)}\n"
            (fresh / path.name).write_text(stub, encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except OSError as error:
        raise GVSError(
            f"{target} cannot be written ({error.strerror}). Use gvs run, or "
            'lm_eval --include_path "$(gvs path)", which need no link.'
        ) from error
    return target


def unlink() -> Path:
    """Remove what `link` wrote, and return the folder that is gone."""
    target = _link_folder()
    _refuse_foreign(target)
    shutil.rmtree(target, ignore_errors=True)
    return target


def _quoted(path: Path) -> str:
    return "'" + path.as_posix().replace("'", "''") + "'"


def _refuse_foreign(folder: Path) -> None:
    for path in folder.glob("*"):
        if not path.read_text(encoding="utf-8", errors="replace").startswith(STUB_HEADER):
            raise GVSError(f"{path} was not written by gvs link. Move it away first.")


def run(arguments: list[str]) -> None:
    """Run lm_eval's own command line with the tasks of this package added.

    Args:
        arguments: The flags of ``lm_eval run``.

    Raises:
        GVSError: When a task name is unknown or the output folder cannot be written.
    """
    from lm_eval._cli import HarnessCLI
    from lm_eval.utils import setup_logging

    setup_logging()
    sys.argv = ["gvs", "run", *arguments]
    parser = HarnessCLI()
    namespace = parser.parse_args()
    namespace.include_path = _include_paths(namespace)
    _check_tasks(namespace.tasks)
    _check_output(_setting(namespace, "output_path"))
    parser.execute(namespace)


def _setting(namespace: Namespace, name: str) -> str | list[str] | None:
    """Return a flag's value, from the command line or the file given with ``--config``."""
    value: str | list[str] | None = getattr(namespace, name, None)
    if not value and namespace.config:
        from gvs_tasks.schema import read_yaml

        settings = read_yaml(Path(namespace.config))
        value = settings.get(name) if isinstance(settings, dict) else None
    return value


def _include_paths(namespace: Namespace) -> list[str]:
    ours = [] if linked() else [str(tasks_path())]
    theirs = _setting(namespace, "include_path") or []
    return [*ours, *([theirs] if isinstance(theirs, str) else theirs)]


def _check_tasks(tasks: str | list[str] | None) -> None:
    """Name the closest task for a misspelt one of ours, before a model is loaded."""
    names = [
        name
        for entry in ([tasks] if isinstance(tasks, str) else tasks or [])
        for name in entry.split(",")
    ]
    known = {path.stem.removeprefix("_") for path in tasks_path().rglob("*.yaml")}
    for name in names:
        if name.startswith("gvs") and name.isidentifier() and name not in known:
            raise unknown_name("task", name, known)


def _check_output(output: str | list[str] | None) -> None:
    """Fail before anything is computed: lm_eval would only warn when it saves."""
    if not output:
        return
    path = Path(str(output))
    folder = path.parent if path.suffix == ".json" else path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise GVSError(
            f"Output folder '{folder}' cannot be written ({error.strerror or error}). "
            "Choose another with --output_path."
        ) from error
