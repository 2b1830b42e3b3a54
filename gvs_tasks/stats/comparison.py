"""Two runs on the same items: how far apart, and whether chance could do it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from gvs_tasks.errors import GVSError
from gvs_tasks.stats._linear import NAN, linearise, spread, sums
from gvs_tasks.stats.intervals import Estimate, Interval, estimate, quantile, student
from gvs_tasks.stats.rows import Floats, Ints, Rows

__all__ = ["Comparison", "compare", "holm"]

#: Sums of flipped signs that are held at once to enumerate them all.
_MOST_SUMS = 2**20
#: Numbers drawn at once: 64 MB of them.
_BLOCK = 2**23


@dataclass(frozen=True)
class Comparison:
    """Two runs on the rows that both have judged.

    Attributes:
        a: Macro mean of the first.
        b: Macro mean of the second.
        difference: a - b with Student's interval: the one to show. It covers better than the
            bootstrap's where few items differ, and is the same for every seed.
        bootstrap: Percentile interval of the clustered bootstrap, to hold against it; NaN when it
            was not drawn.
        p_value: Of the two-sided sign-flip test; 1 when no item differs.
        exact: Whether all sign flips were counted, rather than a sample of them.
        differing: Clusters that differ, hence bear the test.
    """

    a: float
    b: float
    difference: Estimate
    bootstrap: Interval
    p_value: float
    exact: bool
    differing: int


def compare(
    a: Rows,
    b: Rows,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
    resample: bool = True,
) -> Comparison:
    """Compare two runs item by item.

    Rows that either left unjudged are skipped in both. The bootstrap draws G - 1 of the G
    clusters of each stratum anew and scales them (Rao and Wu 1988, "Resampling inference with
    complex survey data"): without that it would be too sure by sqrt((G - 1) / G).

    The test asks whether a and b could be exchanged on every item: it flips the signs of the
    clusters' differences (Fisher 1935, "The Design of Experiments", III), all of them when they
    can be counted, else `draws` - 1 random ones and the observed (Phipson and Smyth 2010,
    "Permutation p-values should never be zero"). With one label a cluster, in leaves of one size,
    it is McNemar's exact test.

    Args:
        a: The first run.
        b: The second run: the same rows in the same order.
        level: Of confidence.
        draws: Of the bootstrap, and of sign flips where there are too many to count.
        seed: Of both.
        resample: Whether to draw the bootstrap, which takes a third of the time.

    Raises:
        GVSError: When the rows are not the same, or `draws` is below 100.

    >>> names = {"leaf": ["a"] * 6, "stratum": ["a"] * 6, "cluster": range(6)}
    >>> found = compare(Rows([1, 1, 1, 1, 1, 0], **names), Rows([0, 0, 0, 0, 0, 0], **names))
    >>> round(found.difference.value, 3), found.p_value, found.exact
    (0.833, 0.0625, True)
    """
    for name in ("leaf", "stratum", "cluster"):
        if not np.array_equal(getattr(a, name), getattr(b, name)):
            raise GVSError(
                f"The two runs differ in '{name}'. Bring their rows into one order, and give "
                "NaN where a run lacks one."
            )
    if draws < 100:
        raise GVSError(f"{draws} draws say nothing. Give at least 100.")
    rows = a.with_values(a.values - b.values)
    common = ~np.isnan(rows.values)
    linear = linearise(rows.values, rows.codes)
    found = spread(linear.influence, linear.stratum)
    q = quantile(level, found.dof)
    resampled = Interval(NAN, NAN)
    if resample:
        rng = np.random.default_rng(seed)
        errors = bootstrap(linear.influence, linear.stratum, draws, rng)
        resampled = percentiles(linear.value + errors, level)
    # A generator of its own, so that the bootstrap moves no p value.
    test = _flip_signs(linear.contribution, draws, np.random.default_rng(seed))
    return Comparison(
        a=_macro(a, common),
        b=_macro(b, common),
        difference=estimate(linear, found, student(linear.value, found, q)),
        bootstrap=resampled,
        p_value=test.p_value,
        exact=test.exact,
        differing=test.differing,
    )


def _macro(rows: Rows, common: NDArray[np.bool_]) -> float:
    return linearise(np.where(common, rows.values, NAN), rows.codes).value


def bootstrap(influence: Floats, stratum: Ints, draws: int, rng: np.random.Generator) -> Floats:
    """Draw errors of an estimate by resampling its clusters within their strata.

    Args:
        influence: What each cluster adds to the error; leading axes are other estimates.
        stratum: Stratum of each cluster.
        draws: How many.
        rng: Where chance comes from.

    Returns:
        Errors, shape (..., draws); NaN when a stratum has one cluster.
    """
    total = np.zeros((*influence.shape[:-1], draws))
    for each in range(int(stratum.max(initial=-1)) + 1):
        values = influence[..., stratum == each]
        size = values.shape[-1]
        if size < 2:
            return np.full_like(total, NAN)
        step = max(1, _BLOCK // size)
        for start in range(0, draws, step):
            block = min(step, draws - start)
            counts = rng.multinomial(size - 1, np.full(size, 1 / size), size=block)
            total[..., start : start + block] += size / (size - 1) * (values @ counts.T)
    return total


def percentiles(draws: Floats, level: float) -> Interval:
    """Return the middle `level` of the draws."""
    quantile(level)  # for its check
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


@dataclass(frozen=True)
class _Test:
    p_value: float
    exact: bool
    differing: int


def _flip_signs(differences: Floats, draws: int, rng: np.random.Generator) -> _Test:
    """Test whether the sum of the differences is further from 0 than chance brings it."""
    if np.isnan(differences).any() or not differences.size:
        return _Test(NAN, False, 0)
    # Sums of the same terms in another order differ in the last bits.
    unit = 1e-10 * max(float(np.abs(differences).max()), 1e-300)
    steps = np.rint(differences / unit)
    steps = steps[steps != 0]
    observed = abs(steps.sum())
    share = _share_of_flips(np.abs(steps), observed)
    if share is not None:
        return _Test(min(share, 1.0), True, steps.size)
    beyond, asked = 0, draws - 1
    block = max(1, _BLOCK // steps.size)
    for start in range(0, asked, block):
        flips = rng.integers(0, 2, size=(min(block, asked - start), steps.size), dtype=np.int8)
        beyond += int((np.abs((2.0 * flips - 1) @ steps) >= observed - steps.size).sum())
    return _Test((beyond + 1) / (asked + 1), False, steps.size)


def _share_of_flips(sizes: Floats, observed: float) -> float | None:
    """Return the share of all sign flips whose sum is as far from 0; None when too many.

    Clusters with equal differences are flipped together: how many of them turn is binomial.
    """
    totals, chances = np.zeros(1), np.ones(1)
    distinct, counts = np.unique(sizes, return_counts=True)
    for place in np.argsort(-counts, kind="stable"):
        size, count = distinct[place], int(counts[place])
        if totals.size * (count + 1) > _MOST_SUMS:
            return None
        turned = np.arange(count + 1)
        log = gammaln(count + 1) - gammaln(turned + 1) - gammaln(count - turned + 1)
        binomial = np.exp(log - count * math.log(2))
        every = np.add.outer(totals, size * (count - 2 * turned)).ravel()
        totals, where = np.unique(every, return_inverse=True)
        chances = sums(where, np.multiply.outer(chances, binomial).ravel())
    # Each rounded difference is off by half a unit at most.
    return float(chances[np.abs(totals) >= observed - sizes.size].sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for their number, so that one false alarm in all is as rare as was asked.

    Holm 1979, "A simple sequentially rejective multiple test procedure". NaN stays NaN and is
    not counted: that test was not made.

    Raises:
        GVSError: When a p value is not between 0 and 1.

    >>> holm([0.01, 0.04, float("nan"), 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    p = np.array(p_values, dtype=float)
    if ((p < 0) | (p > 1)).any():
        raise GVSError(f"A p value is between 0 and 1, or NaN: {list(p_values)}.")
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    left = np.arange(order.size, 0, -1)
    p[order] = np.minimum(np.maximum.accumulate(left * p[order]), 1)
    return [float(each) for each in p]
