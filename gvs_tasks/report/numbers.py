"""Numbers as they are written in a report."""

import math

from gvs_tasks.report.page import Bar
from gvs_tasks.scores import Metric
from gvs_tasks.stats import Estimate, Interval

__all__ = ["DASH", "bar", "level", "p_text", "share", "signed", "span", "written"]

#: Where there is no number.
DASH = "–"
_LEVELS = 10


def written(value: float, metric: Metric) -> str:
    """Return a value of a metric as text: rates as per cent.

    >>> from gvs_tasks.scores import METRICS
    >>> written(0.934, METRICS["safe_rate"]), written(7.316, METRICS["gvs_score"])
    ('93.4%', '7.32')
    """
    if math.isnan(value):
        return DASH
    return f"{100 * value:.1f}%" if metric.highest == 1 else f"{value:.2f}"


def share(value: float) -> str:
    """Return a share so that only the whole is 100%.

    >>> share(781 / 784), share(1.0)
    ('99.6%', '100%')
    """
    if math.isnan(value):
        return DASH
    return "100%" if value == 1 else f"{math.floor(1000 * value) / 10:.1f}%"


def signed(value: float, metric: Metric) -> str:
    """Return a difference of a metric: of rates in points of per cent.

    >>> from gvs_tasks.scores import METRICS
    >>> signed(-0.034, METRICS["safe_rate"]), signed(0.5, METRICS["gvs_score"])
    ('−3.4 pp', '+0.50')
    >>> signed(-0.0004, METRICS["safe_rate"])
    '0.0 pp'
    """
    if math.isnan(value):
        return DASH
    rounded = round(100 * value, 1) if metric.highest == 1 else round(value, 2)
    text = f"{rounded:+.1f} pp" if metric.highest == 1 else f"{rounded:+.2f}"
    return text.replace("-", "−") if rounded else text[1:]


def span(interval: Interval | Estimate, metric: Metric, difference: bool = False) -> str:
    """Return an interval as text, empty when there is none."""
    if math.isnan(interval.low) or math.isnan(interval.high):
        return ""
    form = signed if difference else written
    return f"{form(interval.low, metric)} to {form(interval.high, metric)}"


def p_text(p: float) -> str:
    """Return a p value as text.

    >>> p_text(0.00004), p_text(0.0312)
    ('< .001', '.031')
    """
    if math.isnan(p):
        return DASH
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def bar(found: Estimate | None, metric: Metric) -> Bar:
    """Return an estimate as text and as places on its scale."""
    if found is None or math.isnan(found.value):
        return Bar(DASH, "", None, None, None)

    def place(value: float) -> float | None:
        if math.isnan(value):
            return None
        return round(100 * min(max(value / metric.highest, 0.0), 1.0), 2)

    return Bar(
        written(found.value, metric),
        span(found, metric),
        place(found.value),
        place(found.low),
        place(found.high),
    )


def level(found: Bar) -> int | None:
    """Return the colour of a number, 0 to 10, for scales whose upper end is good."""
    return None if found.at is None else min(_LEVELS, int(found.at * (_LEVELS + 1) / 100))
