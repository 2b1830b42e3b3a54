"""Macro means and rates with intervals that know which rows belong together."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from gvs_tasks.errors import GVSError
from gvs_tasks.stats._linear import NAN, Linear, Spread, linearise, spread
from gvs_tasks.stats.rows import Rows

__all__ = ["Estimate", "Interval", "macro_mean", "macro_rate", "wilson"]


@dataclass(frozen=True)
class Interval:
    """A confidence interval; NaN where there is none."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A number with what it is worth.

    Attributes:
        value: The estimate; NaN when a leaf has no judged row.
        stderr: Its standard error; NaN below two clusters.
        low: Lower limit of the confidence interval.
        high: Upper limit.
        n: Judged rows behind it.
        clusters: Independent items behind it.
        dof: Degrees of freedom of the standard error.
    """

    value: float
    stderr: float
    low: float
    high: float
    n: int
    clusters: int
    dof: float

    @property
    def effective_n(self) -> float:
        """For a rate: how many independent rows would be as exact, at most `n`.

        p (1 - p) / Var, and `clusters` where nothing varies (Dean and Pagano 2015, "Evaluating
        confidence interval methods for binomial proportions in clustered surveys").
        """
        if self.stderr == 0 or self.value in (0, 1):
            return float(self.clusters)
        return min(self.value * (1 - self.value) / self.stderr**2, self.n)

    @property
    def record(self) -> dict[str, Any]:
        """The same for JSON: null where a number is not defined."""
        return {name: None if math.isnan(number) else number for name, number in vars(self).items()}


def quantile(level: float, dof: float | None = None) -> float:
    """Return the two-sided quantile of Student's t; of the normal without `dof`.

    Raises:
        GVSError: When `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise GVSError(f"The level is {level}. Give a share between 0 and 1, such as 0.95.")
    tail = (1 + level) / 2
    return float(ndtri(tail) if dof is None else stdtrit(dof, tail))


def macro_mean(rows: Rows, level: float = 0.95) -> Estimate:
    """Return the unweighted mean of the leaves' means.

    The variance is that of a stratified sample of clusters: rows of one cluster are summed before
    they are squared, so that an item asked in two languages counts as one item. With one leaf and
    a cluster for every row it is s / sqrt(n). A stratum of one cluster is collapsed with others
    like it; with one cluster in all there is no error.

    The interval is Student's t with the skewness removed: scores crowd at an end of their scale,
    where a symmetric interval misses too often. For symmetric values it is Student's.

    >>> rows = Rows([1, 2, 3, 4], leaf=["a"] * 4, stratum=["a"] * 4, cluster=[1, 2, 3, 4])
    >>> found = macro_mean(rows)
    >>> found.value, round(found.stderr, 4), found.dof, round(found.high, 4)
    (2.5, 0.6455, 3.0, 4.5543)
    """
    linear = linearise(rows.values, rows.codes)
    found = spread(linear.influence, linear.stratum)
    return estimate(linear, found, unskewed(linear.value, found, quantile(level, found.dof)))


def estimate(linear: Linear, found: Spread, limits: Interval) -> Estimate:
    """Put an estimate together."""
    return Estimate(
        value=linear.value,
        stderr=found.stderr,
        low=limits.low,
        high=limits.high,
        n=linear.n,
        clusters=linear.stratum.size,
        dof=found.dof,
    )


def student(value: float, found: Spread, q: float) -> Interval:
    """Return the interval that reaches `q` standard errors to both sides."""
    return Interval(value - q * found.stderr, value + q * found.stderr)


def unskewed(value: float, found: Spread, q: float) -> Interval:
    """Return the interval whose ends stand +-`q` from the value where skewness is removed.

    Hall's cubic transformation (Hall 1992, "On the removal of skewness by transformation"),
    with the skewness of the stratified sum in the place of that of a mean.
    """
    skewness = found.skewness
    if not abs(skewness) > 1e-6:
        return student(value, found, q)

    def back(x: float) -> float:
        return 3 / skewness * float(np.cbrt(1 + skewness * (x - skewness / 6)) - 1)

    return Interval(value - found.stderr * back(q), value - found.stderr * back(-q))


def macro_rate(rows: Rows, level: float = 0.95) -> Estimate:
    """Return `macro_mean` of a rate, with an interval that stays in [0, 1].

    Wilson's interval at the effective sample size, with the t quantile of the standard error
    (Dean and Pagano 2015, as `Estimate.effective_n`; the t quantile after Korn and Graubard 1998,
    "Confidence intervals for proportions with small expected number of positive counts estimated
    from survey data"). It says something even where every answer is safe.

    Args:
        rows: Values in [0, 1]: labels, or shares of labels.
        level: Of confidence.

    Raises:
        GVSError: When a value is not a rate.

    >>> rows = Rows([1] * 20, leaf=["a"] * 20, stratum=["a"] * 20, cluster=range(20))
    >>> found = macro_rate(rows)
    >>> found.value, round(found.low, 3), found.high
    (1.0, 0.82, 1.0)
    """
    check_rates("values", rows.values)
    found = macro_mean(rows, level)
    return found if math.isnan(found.stderr) else with_wilson(found, found.effective_n, level)


def with_wilson(found: Estimate, n: float, level: float) -> Estimate:
    """Put Wilson's interval for `n` independent rows in the place of another."""
    limits = _wilson(found.value, n, quantile(level, found.dof))
    return Estimate(**vars(found) | {"low": limits.low, "high": limits.high})


def check_rates(name: str, values: np.ndarray[Any, Any]) -> None:
    """Raise when numbers are not in [0, 1]; NaN is left alone."""
    outside = (values < 0) | (values > 1)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise GVSError(
            f"'{name}' is {values[row]} in row {row}, which is no rate. Use macro_mean for scores."
        )


def wilson(successes: float, n: float, level: float = 0.95) -> Interval:
    """Return Wilson's score interval for a share of independent rows.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference". NaN for
    no rows.

    Raises:
        GVSError: When `successes` is not between 0 and `n`.

    >>> found = wilson(0, 31)
    >>> found.low, round(found.high, 4)
    (0.0, 0.1103)
    """
    if not 0 <= successes <= n:
        raise GVSError(f"{successes} successes of {n}: give a number between 0 and {n}.")
    return _wilson(successes / n, n, quantile(level)) if n else Interval(NAN, NAN)


def _wilson(p: float, n: float, q: float) -> Interval:
    centre = (p + q**2 / (2 * n)) / (1 + q**2 / n)
    margin = q / (1 + q**2 / n) * math.sqrt(p * (1 - p) / n + q**2 / (4 * n**2))
    # At 0 and 1 the limit is exact; floats would miss it by a hair.
    low = 0.0 if p == 0 else max(0.0, centre - margin)
    return Interval(low, 1.0 if p == 1 else min(1.0, centre + margin))
