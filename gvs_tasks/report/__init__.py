"""``gvs report``: one HTML file about one run or several, which needs nothing else to be read."""

from gvs_tasks.report.build import build
from gvs_tasks.report.document import render, write_report

__all__ = ["build", "render", "write_report"]
