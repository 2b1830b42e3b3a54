"""Draws the figures of the incident repository for the dataset card.

    python scripts/plot_incidents.py [OUT]

Needs the extra ``figures``. Writes SVG files, the same bytes for the same data: incidents by
category and year, by modality and lifecycle stage, the saturation curve, and how categories occur
together.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's content, not that of an installed package

from gvs_tasks.derivation import cooccurrence, saturation  # noqa: E402
from gvs_tasks.incidents import Incident, load_incidents  # noqa: E402
from gvs_tasks.taxonomy import load_taxonomy  # noqa: E402

OUT = ROOT / "dataset_card/figures"
INK, SHADE = "#1f4e79", "Blues"
STYLE = {
    "svg.hashsalt": "gvs",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
}


def _names() -> dict[str, str]:
    return {category.slug: category.name.en for category in load_taxonomy().categories}


def _cells(axes: Axes, numbers: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """A heat map that can be read without its colours."""
    axes.imshow(numbers, cmap=SHADE, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for (row, column), number in np.ndenumerate(numbers):
        dark = number > 0.6 * numbers.max()
        axes.text(
            column,
            row,
            f"{number}" if number else "·",
            ha="center",
            va="center",
            color="white" if dark else "black",
        )


def by_category_and_year(incidents: Sequence[Incident], axes: Axes) -> None:
    """Incidents of each category in each year."""
    names, years = _names(), sorted({each.year for each in incidents})
    counts = Counter((each.category, each.year) for each in incidents)
    numbers = np.array([[counts[slug, year] for year in years] for slug in names])
    totals = numbers.sum(axis=1)
    labels = [f"{name} ({total})" for name, total in zip(names.values(), totals, strict=True)]
    _cells(axes, numbers, labels, years)
    axes.set_title("Incidents by category (total) and year")


def _bars(axes: Axes, counts: Counter[str]) -> None:
    names = [name for name, _ in counts.most_common()][::-1]
    bars = axes.barh(names, [counts[name] for name in names], color=INK)
    axes.bar_label(bars, padding=3)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.tick_params(length=0)


def by_modality(incidents: Sequence[Incident], axes: Axes) -> None:
    """Incidents of each modality."""
    _bars(axes, Counter(each.modality for each in incidents))
    axes.set_title("Incidents by modality")


def by_stage(incidents: Sequence[Incident], axes: Axes) -> None:
    """Incidents of each lifecycle stage."""
    _bars(axes, Counter(each.stage for each in incidents))
    axes.set_title("Incidents by lifecycle stage")


def saturation_curve(incidents: Sequence[Incident], axes: Axes) -> None:
    """Distinct open codes against incidents read, in the order of ids."""
    curve = saturation(incidents)
    axes.plot(range(1, len(curve) + 1), curve, color=INK)
    axes.set_xlabel("incidents read")
    axes.set_ylabel("distinct open codes")
    axes.set_xlim(0, len(curve))
    axes.set_ylim(0)
    last = curve[-1] - curve[-51]
    axes.set_title(f"Saturation: {curve[-1]} codes, {last} of them new in the last 50 incidents")


def categories_together(incidents: Sequence[Incident], axes: Axes) -> None:
    """How often a main category (row) comes with another one (column)."""
    names, counts = _names(), cooccurrence(incidents)
    numbers = np.array([[counts.get((one, other), 0) for other in names] for one in names])
    codes = [category.code for category in load_taxonomy().categories]
    rows = [f"{name}  {code}" for name, code in zip(names.values(), codes, strict=True)]
    _cells(axes, numbers, rows, codes)
    axes.set_title("Main category (row) with secondary ones (column)")


FIGURES: dict[str, tuple[Callable[[Sequence[Incident], Axes], None], tuple[float, float]]] = {
    "incidents_by_category_and_year": (by_category_and_year, (8.5, 4.2)),
    "incidents_by_modality": (by_modality, (5, 2.2)),
    "incidents_by_stage": (by_stage, (5, 1.6)),
    "saturation": (saturation_curve, (6.5, 3.2)),
    "categories_together": (categories_together, (8.5, 4.6)),
}


def draw(out: Path) -> None:
    """Write every figure into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    incidents = load_incidents()
    with plt.rc_context(STYLE):
        for name, (plot, size) in FIGURES.items():
            figure, axes = plt.subplots(figsize=size, layout="constrained")
            plot(incidents, axes)
            figure.savefig(out / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
