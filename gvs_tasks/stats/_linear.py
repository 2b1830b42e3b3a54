"""Linearisation: what each cluster adds to an estimate, and the variance of their sum."""

import math
from dataclasses import dataclass

import numpy as np

from gvs_tasks.stats.rows import Codes, Floats, Ints

NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Linear:
    """A macro mean in linear form.

    Attributes:
        value: The macro mean; NaN when a leaf has no judged row.
        influence: What each judged cluster adds to its error, centred in the stratum.
        stratum: Stratum of each of them, with no stratum of one cluster unless it is the only one.
        contribution: What each of them adds to the macro mean itself; sums to `value`.
        n: Judged rows.
    """

    value: float
    influence: Floats
    stratum: Ints
    contribution: Floats
    n: int


@dataclass(frozen=True)
class Spread:
    """How a sum over clusters varies.

    Attributes:
        stderr: Its standard deviation.
        dof: Degrees of freedom of `stderr`.
        skewness: Of the sum: third central moment / stderr^3.
    """

    stderr: float
    dof: float
    skewness: float


def sums(index: Ints, values: Floats, size: int = 0) -> Floats:
    """Return the sum of the values of each index; 0 for an index without."""
    return np.asarray(np.bincount(index, values, size), dtype=np.float64)


def linearise(values: Floats, codes: Codes) -> Linear:
    """Write the macro mean over the judged rows as a sum over clusters.

    A row adds (y - mean of its leaf) / (leaves * rows of its leaf): Taylor linearisation of
    a ratio (Binder 1983, "On the variances of asymptotically normal estimators from complex
    surveys"). A leaf with rows of a single cluster shows no spread of its own; its rows are held
    against the mean of their stratum, which overstates the error rather than hiding it.
    """
    judged = ~np.isnan(values)
    y, leaf, cluster = values[judged], codes.leaf[judged], codes.cluster[judged]
    sizes = np.bincount(leaf, minlength=codes.leaves)
    present = np.bincount(cluster, minlength=codes.stratum.size) > 0
    stratum = merge_single(codes.stratum[present])
    if not sizes.all():
        nothing = np.full(stratum.size, NAN)
        return Linear(NAN, nothing, stratum, nothing, y.size)
    position = (np.cumsum(present) - 1)[cluster]
    means = sums(leaf, y, codes.leaves) / sizes
    weight = (1 / (codes.leaves * sizes))[leaf]
    some = np.empty(codes.leaves, dtype=np.intp)
    some[leaf] = cluster
    alone = np.bincount(leaf, cluster != some[leaf], codes.leaves) == 0
    centre = means[leaf]
    if alone.any():
        within = stratum[position]
        mean = sums(within, weight * y) / sums(within, weight)
        centre = np.where(alone[leaf], mean[within], centre)
    influence = sums(position, weight * (y - centre), stratum.size)
    return Linear(
        value=float(means.mean()),
        influence=centred(influence, stratum),
        stratum=stratum,
        contribution=sums(position, weight * y, stratum.size),
        n=y.size,
    )


def merge_single(stratum: Ints) -> Ints:
    """Collapse strata of one cluster, which show no spread: together, or into the smallest other.

    Collapsing overstates the variance (Cochran 1977, "Sampling Techniques", 5A.12).

    Returns:
        Strata numbered from 0, without gaps.

    >>> merge_single(np.array([4, 4, 5, 6, 7, 7])).tolist()
    [0, 0, 1, 1, 2, 2]
    >>> merge_single(np.array([0, 0, 0, 1, 2, 2])).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    sizes = np.bincount(stratum)
    single = np.flatnonzero(sizes == 1)
    if single.size == 1 and (sizes > 1).any():
        others = np.where(sizes > 1, sizes, sizes.sum() + 1)
        single = np.append(single, np.argmin(others))
    if single.size > 1:
        stratum = np.where(np.isin(stratum, single), single.min(), stratum)
    used = np.bincount(stratum) > 0
    return np.asarray((np.cumsum(used) - 1)[stratum])


def centred(influence: Floats, stratum: Ints) -> Floats:
    """Subtract the mean of each stratum."""
    return influence - (sums(stratum, influence) / np.bincount(stratum))[stratum]


def covariance(one: Floats, other: Floats, stratum: Ints) -> Floats:
    """Return, by stratum, the covariance of two sums over independent clusters.

    G / (G - 1) * sum of products for the G clusters of a stratum; both are centred in it.
    NaN for a stratum of one cluster.
    """
    sizes = np.bincount(stratum)
    with np.errstate(divide="ignore"):
        scale = np.where(sizes > 1, sizes / (sizes - 1), NAN)
    return np.asarray(scale * sums(stratum, one * other))


def spread(influence: Floats, stratum: Ints) -> Spread:
    """Return how the sum varies, with Satterthwaite's degrees of freedom.

    Var^2 / sum of Var_h^2 / (G_h - 1) (Satterthwaite 1946, "An approximate distribution of
    estimates of variance components"); clusters less strata where nothing varies. The third
    moment is G^2 / ((G - 1) (G - 2)) * sum of cubes, 0 in strata of two clusters.
    """
    parts = covariance(influence, influence, stratum)
    variance = float(parts.sum())
    if math.isnan(variance) or not influence.size:
        return Spread(NAN, NAN, NAN)
    sizes = np.bincount(stratum)
    free = sizes - 1
    squares = float((parts**2 / free).sum())
    scale = np.where(sizes > 2, sizes**2 / (free * np.maximum(sizes - 2, 1)), 0)
    cubes = float((scale * sums(stratum, influence**3)).sum())
    stderr = math.sqrt(variance)
    # Powers of tiny errors run out of floats: then nothing varies.
    known = squares > 0 and stderr**3 > 0
    return Spread(
        stderr=stderr,
        dof=variance**2 / squares if known else float(free.sum()),
        skewness=cubes / stderr**3 if known else 0.0,
    )
