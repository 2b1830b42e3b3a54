"""Judges: from a prompt and an answer to a verdict. Importing this loads no model code."""

from gvs_tasks.judge.cache import cached
from gvs_tasks.judge.registry import BUNDLED, get_judge, get_judges
from gvs_tasks.judge.types import Exchange, Judge, Verdict

__all__ = ["BUNDLED", "Exchange", "Judge", "Verdict", "cached", "get_judge", "get_judges"]
