"""The rows of a run: a value each, and where it stands in the design."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gvs_tasks.errors import GVSError

__all__ = ["Codes", "Floats", "Ints", "Rows", "as_values"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Codes:
    """The design in numbers.

    Attributes:
        leaf: Leaf of each row, 0 to `leaves` - 1.
        cluster: Cluster of each row, likewise.
        stratum: Stratum of each cluster. Strata that share a cluster are one: their sums are not
            independent.
        leaves: Number of leaves.
    """

    leaf: Ints
    cluster: Ints
    stratum: Ints
    leaves: int


@dataclass(frozen=True, eq=False)
class Rows:
    """Judged answers, one row each; all arrays have one length, the number of rows.

    Attributes:
        values: What was measured; NaN where there is no verdict, and the row is skipped.
        leaf: Language and category: the macro mean is the plain mean of the leaves' means.
        stratum: Category: items are compared with the items of their category only.
        cluster: Item, or its mirror set: what is not independent shares a cluster, as the two
            languages, the twins and the variants of an item do.

    Raises:
        GVSError: When there are no rows, lengths differ, or a value is infinite or no number.

    >>> rows = Rows([1, 0], leaf=["en_bias", "zh_bias"], stratum=["bias"] * 2, cluster=["B-1"] * 2)
    >>> rows.values
    array([1., 0.])
    """

    values: Floats
    leaf: NDArray[np.str_]
    stratum: NDArray[np.str_]
    cluster: NDArray[np.str_]

    def __post_init__(self) -> None:
        """Hold the rows to the contract."""
        object.__setattr__(self, "values", as_values("values", self.values))
        for name in ("leaf", "stratum", "cluster"):
            names = np.asarray(getattr(self, name), dtype=np.str_)
            if names.shape != self.values.shape:
                raise GVSError(
                    f"There are {self.values.size} values, but '{name}' has shape {names.shape}. "
                    "Give one name for each row."
                )
            object.__setattr__(self, name, names)

    def with_values(self, values: ArrayLike) -> "Rows":
        """Return the same rows with other values."""
        found = replace(self, values=np.asarray(values))
        found.__dict__["codes"] = self.codes  # to sort the names once is enough
        return found

    @cached_property
    def codes(self) -> Codes:
        """The design in numbers."""
        leaves, leaf = np.unique(self.leaf, return_inverse=True)
        strata, stratum = np.unique(self.stratum, return_inverse=True)
        clusters, cluster = np.unique(self.cluster, return_inverse=True)
        stratum_of = np.empty(clusters.size, dtype=np.intp)
        stratum_of[cluster] = stratum
        links = coo_array(
            (np.ones(leaf.size), (stratum, stratum_of[cluster])), shape=(strata.size,) * 2
        )
        merged = connected_components(links, directed=False)[1]
        return Codes(leaf, cluster, merged[stratum_of].astype(np.intp), leaves.size)


def as_values(name: str, values: ArrayLike) -> Floats:
    """Return numbers as an array.

    Args:
        name: What they are, for the message.
        values: Numbers in one dimension; NaN where there is none.

    Raises:
        GVSError: When they are none, infinite, or no numbers.
    """
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise GVSError(f"'{name}' must be numbers, NaN where there is none ({error}).") from error
    if found.ndim != 1 or not found.size:
        raise GVSError(f"'{name}' has shape {found.shape}. Give one number for each row.")
    if np.isinf(found).any():
        row = int(np.flatnonzero(np.isinf(found))[0])
        raise GVSError(f"'{name}' is infinite in row {row}. Write NaN where there is no value.")
    return found
