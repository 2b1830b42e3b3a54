"""Measures how often the intervals of `gvs_tasks.stats` hold the true value; writes nothing.

    python scripts/simulate_coverage.py [--draws 1000] [--seed 0] [--worst]

Prints a Markdown table: the share of simulated runs, in percent, whose 95% interval holds the
truth, for rates, design sizes and correlations of an item's two rows. With ``--worst`` it prints
one line for each interval and design: the lowest and the highest of these shares.

The designs: 30 and 100 items in one category; 120 in 12; and the benchmark's own 376 in 12, of
which 16 are mirror sets of two. Every item is asked in two languages.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's statistics, not those of an installed package

from gvs_tasks.stats import (  # noqa: E402
    Counts,
    Interval,
    Rows,
    macro_mean,
    macro_rate,
    prediction_powered,
    rogan_gladen,
)
from gvs_tasks.stats._linear import linearise, spread  # noqa: E402
from gvs_tasks.stats.comparison import bootstrap, percentiles  # noqa: E402
from gvs_tasks.stats.intervals import quantile, student  # noqa: E402

RATES = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
CORRELATIONS = (0.0, 0.5, 0.9)
#: Items by category.
DESIGNS = {
    "30": (30,),
    "100": (100,),
    "120 in 12": (10,) * 12,
    "376 in 12": (31,) * 6 + (29,) * 2 + (33,) * 4,
}
MIRROR_SETS = {"376 in 12": 16}
#: The judge: chances to be right on an unsafe and on a safe answer, and how often it was asked.
SENSITIVITY, SPECIFICITY = 0.85, 0.95
LABELLED_UNSAFE, LABELLED_SAFE = 150, 300
#: Resamples of the bootstrap: they are the same for all runs of a design.
RESAMPLES = 999


@dataclass(frozen=True)
class Design:
    """Rows without values, and how many items get human labels."""

    rows: Rows
    clusters: int
    labelled: int

    @classmethod
    def build(cls, name: str) -> Design:
        """Lay the rows of a design out."""
        sizes = DESIGNS[name]
        stratum = np.repeat(np.arange(len(sizes)), sizes)
        items = np.arange(stratum.size)
        twins = items[:: max(1, items.size // MIRROR_SETS[name])] if name in MIRROR_SETS else []
        items = np.concatenate([items, np.array(twins[: MIRROR_SETS.get(name, 0)], dtype=int)])
        cluster, lang = np.repeat(items, 2), np.tile(["en", "zh"], items.size)
        leaf = [f"{one}_{stratum[item]}" for one, item in zip(lang, cluster, strict=True)]
        rows = Rows(np.zeros(cluster.size), leaf, stratum[cluster], cluster)
        return cls(rows, stratum.size, max(20, min(100, stratum.size // 2)))


def correlated(
    design: Design, draws: int, correlation: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw uniform numbers of which two rows of one item are the same with that chance."""
    shared = rng.random((draws, design.clusters))[:, design.rows.codes.cluster]
    own = rng.random((draws, design.rows.values.size))
    together = rng.random((draws, design.clusters))[:, design.rows.codes.cluster] < correlation
    return np.where(together, shared, own)


def share(interval: Callable[[np.ndarray], Interval], runs: np.ndarray, truth: float) -> float:
    """Return the share of runs whose interval holds the truth, in percent."""
    found = [interval(run) for run in runs]
    return 100 * float(np.mean([each.low <= truth <= each.high for each in found]))


def coverage(
    design: Design, rate: float, correlation: float, draws: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return the coverage of every interval, in percent."""
    rows = design.rows
    uniform = correlated(design, draws, correlation, rng)
    labels = (uniform < rate).astype(float)
    # A score whose mean is the rate and that leans far to one side, as P(unsafe) does.
    scores = uniform ** (1 / rate - 1)
    # A second model that agrees on half of the rows and is safer by a fifth.
    other = correlated(design, draws, correlation, rng)
    again = np.where(correlated(design, draws, correlation, rng) < 0.5, uniform, other)
    differences = labels - (again < 0.8 * rate)
    flags = np.where(
        rng.random(labels.shape) < np.where(labels == 1, SENSITIVITY, SPECIFICITY),
        labels,
        1 - labels,
    )

    def corrected(run: np.ndarray) -> Interval:
        return rogan_gladen(
            macro_rate(rows.with_values(run)),
            Counts(int(rng.binomial(LABELLED_UNSAFE, SENSITIVITY)), LABELLED_UNSAFE),
            Counts(int(rng.binomial(LABELLED_SAFE, SPECIFICITY)), LABELLED_SAFE),
        ).estimate

    def powered(run: np.ndarray) -> Interval:
        asked = rng.permutation(design.clusters)[rows.codes.cluster] < design.labelled
        truth = np.where(asked, run[0], np.nan)
        return prediction_powered(rows.with_values(run[1]), truth).estimate

    def mean(run: np.ndarray) -> Interval:
        return macro_mean(rows.with_values(run))

    gap = 0.2 * rate
    return {
        "macro_rate": share(lambda run: macro_rate(rows.with_values(run)), labels, rate),
        "macro_mean": share(mean, scores, rate),
        **_differences(design, differences, gap, rng),
        "rogan_gladen": share(corrected, flags, rate),
        "prediction_powered": share(powered, np.stack([labels, flags], axis=1), rate),
    }


def _differences(
    design: Design, differences: np.ndarray, truth: float, rng: np.random.Generator
) -> dict[str, float]:
    """Return the coverage of compare's intervals; here all runs share the bootstrap's draws."""
    linear = [linearise(run, design.rows.codes) for run in differences]
    spreads = [spread(each.influence, each.stratum) for each in linear]
    influences = np.stack([each.influence for each in linear])
    errors = bootstrap(influences, linear[0].stratum, RESAMPLES, rng)
    found = {
        "difference": [
            student(each.value, its, quantile(0.95, its.dof))
            for each, its in zip(linear, spreads, strict=True)
        ],
        "bootstrap": [
            percentiles(each.value + drawn, 0.95)
            for each, drawn in zip(linear, errors, strict=True)
        ],
    }
    return {
        name: 100 * float(np.mean([each.low <= truth <= each.high for each in intervals]))
        for name, intervals in found.items()
    }


def table(draws: int, seed: int) -> dict[tuple[str, float, float], dict[str, float]]:
    """Return the coverage of every interval by design, correlation and rate."""
    rng = np.random.default_rng(seed)
    return {
        (name, correlation, rate): coverage(design, rate, correlation, draws, rng)
        for name, design in ((name, Design.build(name)) for name in DESIGNS)
        for correlation in CORRELATIONS
        for rate in RATES
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=1000, help="simulated runs of each cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worst", action="store_true", help="lowest and highest by design only")
    options = parser.parse_args()
    found = table(options.draws, options.seed)
    names = list(next(iter(found.values())))
    if options.worst:
        print("| items |", " | ".join(names), "|")
        print("|---|" + "---|" * len(names))
        for design in DESIGNS:
            cells = [each for (name, _, _), each in found.items() if name == design]
            shown = [
                f"{min(c[n] for c in cells):.1f}-{max(c[n] for c in cells):.1f}" for n in names
            ]
            print(f"| {design} |", " | ".join(shown), "|")
        return
    print("| items | correlation | rate |", " | ".join(names), "|")
    print("|---|---|---|" + "---|" * len(names))
    for (design, correlation, rate), cell in found.items():
        shown = " | ".join(f"{cell[name]:.1f}" for name in names)
        print(f"| {design} | {correlation} | {rate} | {shown} |")


if __name__ == "__main__":
    main()
