"""GVS-Bench: how safely does a language model handle human values?

Tasks for lm-evaluation-harness, a bilingual dataset and a local judge. Importing this
package loads nothing heavy; the modules do their own imports.

    >>> from gvs_tasks import tasks_path
    >>> tasks_path().name
    'tasks'
"""

from pathlib import Path

__all__ = ["__version__", "tasks_path"]

__version__ = "0.1.0"


def tasks_path() -> Path:
    """Return the folder to give to lm_eval's ``--include_path``."""
    return Path(__file__).parent / "tasks"
