"""Even-handedness: does a model treat alike what differs in country, party, religion or group?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gvs_tasks.results import Run
from gvs_tasks.scores import Metric
from gvs_tasks.taxonomy import LANGUAGES

__all__ = ["MirrorSet", "mirror_sets"]


@dataclass(frozen=True)
class MirrorSet:
    """Items that ask the same about different countries, parties, religions or groups.

    Attributes:
        name: The set.
        category: Slug of its category.
        values: By item, the mean of the metric over the languages in which all items of the set
            were judged.
    """

    name: str
    category: str
    values: Mapping[str, float]

    @property
    def spread(self) -> float:
        """Greatest less least value: 0 when all sides are treated alike."""
        return max(self.values.values()) - min(self.values.values())


def mirror_sets(run: Run, judge: str, metric: Metric) -> list[MirrorSet]:
    """Return the mirror sets of which two or more items were judged, widest spread first."""
    values: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for leaf in run.in_track(metric.track):
        for answer in leaf.answers.get(judge, ()):
            doc, value = answer.doc, answer.metrics.get(metric.name, math.nan)
            if doc.mirror_set:
                by_item = values.setdefault((doc.mirror_set, doc.category), {})
                by_item.setdefault(doc.id, {})[doc.lang] = value
    found = []
    for (name, category), by_item in values.items():
        whole = [
            lang
            for lang in LANGUAGES
            if not any(math.isnan(each.get(lang, math.nan)) for each in by_item.values())
        ]
        if whole and len(by_item) > 1:
            means = {
                item: sum(each[lang] for lang in whole) / len(whole)
                for item, each in by_item.items()
            }
            found.append(MirrorSet(name, category, means))
    return sorted(found, key=lambda each: (-each.spread, each.name))
