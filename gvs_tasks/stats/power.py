"""What a comparison can find at all."""

import math

from scipy.special import ndtri

from gvs_tasks.errors import GVSError
from gvs_tasks.stats.intervals import quantile

__all__ = ["minimum_detectable_difference"]


def minimum_detectable_difference(
    n_clusters: int,
    rate: float,
    correlation: float = 0.0,
    design_effect: float = 1.0,
    power: float = 0.8,
    level: float = 0.95,
) -> float:
    """Return the smallest difference of two rates on the same items that a test would find.

    (z_level + z_power) * sqrt(2 p (1 - p) (1 - correlation) * design_effect / n_clusters): the
    normal approximation for paired rows (Miller 2024, "Adding Error Bars to Evals", section 5),
    with both rates near p. Ask before a run how many items a claim needs; after it, a difference
    below this one that was not found is no evidence of equality.

    Args:
        n_clusters: Items that both models answer.
        rate: Rate near which both are, in (0, 1).
        correlation: Of the two models' labels on one item, in [-1, 1); 0 is the cautious guess.
        design_effect: Variance of a rate relative to one row an item. With m rows an item whose
            labels correlate by r it is (1 + (m - 1) r) / m; 1 is the cautious choice.
        power: Chance to find a difference of that size.
        level: 1 - the chance to find one where there is none.

    Raises:
        GVSError: When an argument is out of its range.

    >>> round(minimum_detectable_difference(376, rate=0.9, correlation=0.5), 3)
    0.043
    """
    allowed = {
        "n_clusters": n_clusters >= 2,
        "rate": 0 < rate < 1,
        "correlation": -1 <= correlation < 1,
        "design_effect": 0 < design_effect < math.inf,
        "power": 0 < power < 1,
    }
    wrong = [name for name, fine in allowed.items() if not fine]
    if wrong:
        raise GVSError(
            f"Out of range: {', '.join(wrong)}. At least 2 clusters, rate and power in (0, 1), "
            "correlation in [-1, 1) and a positive design_effect are needed."
        )
    variance = 2 * rate * (1 - rate) * (1 - correlation) * design_effect / n_clusters
    return (quantile(level) + float(ndtri(power))) * math.sqrt(variance)
