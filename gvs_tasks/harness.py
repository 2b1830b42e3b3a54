"""Everything that depends on how lm_eval is installed and called: ``gvs run`` and ``gvs link``."""

import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from gvs_tasks import tasks_path
from gvs_tasks.errors import GVSError, unknown_name

__all__ = ["check_output", "link", "linked", "run", "unlink"]

STUB_HEADER = "# Written by `gvs link`; `gvs link --undo` removes it.\n"


def _link_folder() -> Path:
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise GVSError("lm_eval is not installed. Install it with: pip install 'lm-eval[hf]'")
    return Path(spec.origin).parent / "tasks" / "gvs"


def _stubs() -> dict[str, str]:
    """Return the files of the link: name and content."""
    paths = sorted(tasks_path().rglob("*.yaml"))
    quoted = {path: "'" + path.as_posix().replace("'", "''") + "'" for path in paths}
    return {path.name: f"{STUB_HEADER}include: {quoted[path]}\n" for path in paths}


def linked() -> bool:
    """Say whether lm_eval finds exactly the tasks of this package by itself."""
    return _read_link(_link_folder()) == _stubs()


def _read_link(folder: Path) -> dict[str, str]:
    """Return what an earlier `link` wrote, nothing when there is no link.

    Raises:
        GVSError: When the folder holds anything else.
    """
    found = {}
    for path in folder.glob("*"):
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if not text.startswith(STUB_HEADER):
            raise GVSError(f"{path} was not written by gvs link. Move it away first.")
        found[path.name] = text
    return found


def link() -> Path:
    """Make the bare ``lm_eval --tasks gvs`` work, and return the folder that does it.

    lm_eval walks its own task folder without following linked folders, so this writes a real
    folder with one stub for each task file.

    Raises:
        GVSError: When the folder cannot be written or is not ours.
    """
    target = _link_folder()
    _read_link(target)
    try:
        # Beside lm_eval's task folder, not in it: lm_eval never sees half a link.
        with tempfile.TemporaryDirectory(prefix=".gvs-", dir=target.parent.parent) as scratch:
            fresh = Path(scratch) / target.name
            fresh.mkdir()
            for name, text in _stubs().items():
                (fresh / name).write_text(text, encoding="utf-8")
            if target.exists():
                shutil.rmtree(target)
            fresh.rename(target)
    except OSError as error:
        raise GVSError(
            f"{target} cannot be written ({error.strerror}). Use gvs run, or "
            'lm_eval --include_path "$(gvs path)", which need no link.'
        ) from error
    return target


def unlink() -> Path | None:
    """Remove what `link` wrote; return the folder that is gone, None when there was none.

    Raises:
        GVSError: When the folder cannot be removed or is not ours.
    """
    target = _link_folder()
    _read_link(target)
    if not target.exists():
        return None
    try:
        shutil.rmtree(target)
    except OSError as error:
        raise GVSError(f"{target} cannot be removed ({error.strerror}).") from error
    return target


def run(arguments: list[str]) -> None:
    """Run lm_eval's own command line with the tasks of this package added.

    Args:
        arguments: The flags of ``lm_eval run``, and ``--no-cache``.

    Raises:
        GVSError: When a task name is unknown, the output folder cannot be written, or flags
            contradict each other.
    """
    from lm_eval._cli import HarnessCLI
    from lm_eval.utils import setup_logging

    setup_logging()
    _log_beside_lm_eval()
    if "--no-cache" in arguments:
        if any("gvs_cache" in argument for argument in arguments):
            raise GVSError("Give either --no-cache or gvs_cache=..., not both.")
        arguments = [argument for argument in arguments if argument != "--no-cache"]
        os.environ["GVS_CACHE"] = "off"
    sys.argv = ["gvs", "run", *arguments]
    parser = HarnessCLI()
    namespace = parser.parse_args()
    theirs = _setting(namespace, "include_path")
    ours = [] if linked() else [str(tasks_path())]
    namespace.include_path = [*ours, *theirs]
    if not theirs:
        _check_tasks(_setting(namespace, "tasks"))
    check_output(_setting(namespace, "output_path"))
    parser.execute(namespace)


def _log_beside_lm_eval() -> None:
    """Show our messages as lm_eval shows its own, which it keeps from the root logger."""
    theirs, ours = logging.getLogger("lm_eval"), logging.getLogger("gvs_tasks")
    ours.setLevel(theirs.level)
    ours.propagate = theirs.propagate
    for handler in theirs.handlers:
        ours.addHandler(handler)


def _setting(namespace: Namespace, name: str) -> list[str]:
    """Return a flag's values, from the command line or the file given with ``--config``."""
    value: str | list[str] | None = getattr(namespace, name, None)
    if not value and namespace.config:
        from gvs_tasks.schema import read_yaml

        settings = read_yaml(Path(namespace.config))
        value = settings.get(name) if isinstance(settings, dict) else None
    return [value] if isinstance(value, str) else list(value or [])


def _check_tasks(tasks: list[str]) -> None:
    """Name the closest task for a misspelt one of ours, before a model is loaded."""
    known = {path.stem.removeprefix("_") for path in tasks_path().rglob("*.yaml")}
    for name in (name for entry in tasks for name in entry.split(",")):
        if name.startswith("gvs") and name.isidentifier() and name not in known:
            raise unknown_name("task", name, known)


def check_output(outputs: list[str]) -> None:
    """Fail before anything is computed: lm_eval would only warn when it saves.

    Args:
        outputs: Values of ``--output_path``: folders, or names of JSON files.

    Raises:
        GVSError: When a folder cannot be made or written.
    """
    for output in outputs:
        path = Path(output)
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
