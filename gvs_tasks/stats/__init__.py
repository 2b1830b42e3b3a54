"""What a run's numbers are worth: intervals, comparison, judge error, power.

Pure numpy and scipy. Rows come as one `Rows`; a number that is not defined is NaN, never 0.
"""

from gvs_tasks.stats.comparison import Comparison, compare, holm
from gvs_tasks.stats.intervals import Estimate, Interval, macro_mean, macro_rate, wilson
from gvs_tasks.stats.judge_error import (
    Corrected,
    Counts,
    Powered,
    prediction_powered,
    rogan_gladen,
)
from gvs_tasks.stats.power import minimum_detectable_difference
from gvs_tasks.stats.rows import Rows

__all__ = [
    "Comparison",
    "Corrected",
    "Counts",
    "Estimate",
    "Interval",
    "Powered",
    "Rows",
    "compare",
    "holm",
    "macro_mean",
    "macro_rate",
    "minimum_detectable_difference",
    "prediction_powered",
    "rogan_gladen",
    "wilson",
]
