"""Writing files so that a reader never sees half of one."""

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from gvs_tasks.errors import GVSError

__all__ = ["write_files"]


def write_files(texts: Mapping[Path, str]) -> None:
    """Write texts to files, each whole; none is replaced before all could be written.

    Args:
        texts: By path; folders are made.

    Raises:
        GVSError: When one cannot be written.
    """
    path = Path()
    try:
        with ExitStack() as stack:
            partial = {}
            for path, text in texts.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
                partial[path] = Path(name)
                stack.callback(partial[path].unlink, missing_ok=True)
                with os.fdopen(handle, "w", encoding="utf-8") as out:
                    out.write(text)
            for path, written in partial.items():
                written.chmod(0o644)  # mkstemp's is for its owner alone
                os.replace(written, path)
    except OSError as error:
        raise GVSError(
            f"{path} cannot be written ({error.strerror or error}). Choose another place with -o."
        ) from error
