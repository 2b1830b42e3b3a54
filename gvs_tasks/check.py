"""What ``gvs check`` looks at: everything that is shipped and written by hand or generated."""

from collections.abc import Iterator, Sequence

from gvs_tasks import derivation
from gvs_tasks.card import outdated
from gvs_tasks.errors import GVSError
from gvs_tasks.gates import GATES, Coverage, coverage
from gvs_tasks.generate import differences
from gvs_tasks.incidents import load_incidents
from gvs_tasks.pool import pool_faults
from gvs_tasks.schema import Item, load_items, load_pool
from gvs_tasks.taxonomy import CONTENT, LANGUAGES, load_taxonomy

__all__ = ["check_all"]


def check_all() -> Iterator[str]:
    """Yield a line for each part that is in order.

    Raises:
        GVSError: At the first part that is not, with a line per fault; of the gates all faults.
    """
    taxonomy = load_taxonomy()
    risks = sum(len(category.risks) for category in taxonomy.categories)
    yield (
        f"taxonomy: {len(taxonomy.layers)} layers, {len(taxonomy.categories)} categories, "
        f"{risks} risks"
    )
    items = load_items()
    yield from _coverage(items)
    faults: list[str] = []
    for name, gate in GATES.items():
        found = list(gate(items))
        yield f"{name}: {f'{len(found)} faults' if found else 'ok'}"
        faults += found
    if faults:
        raise GVSError("\n".join(faults))
    incidents = load_incidents()
    broken = list(derivation.faults(incidents, items))
    if broken:
        raise GVSError("\n".join(broken))
    yield f"incidents: {len(incidents)}, {len(derivation.load_codebook())} codes, links: ok"
    if outdated():
        raise GVSError("The card's counts are out of date. Run scripts/generate_card.py.")
    if (CONTENT / "judge_pool").is_dir():
        pool = load_pool()
        faults = list(pool_faults(pool, items))
        if faults:
            raise GVSError("\n".join(faults))
        answers = sum(len(asked.answers) for asked in pool)
        yield f"judge pool: {answers} answers to {len(pool)} prompts"
    changed = differences()
    if changed:
        raise GVSError(
            f"Task files out of date: {', '.join(changed)}. Run scripts/generate_tasks.py."
        )
    yield "task files: up to date"


def _coverage(items: Sequence[Item]) -> Iterator[str]:
    parts = coverage(items)
    situations = sum(part.situations for part in parts)
    sets = len({item.mirror_set for item in items if item.mirror_set})
    yield (
        f"items: {len(items)}, {len(items) * len(LANGUAGES)} rows; {situations} distinct "
        f"({sets} mirror sets counted once each)"
    )
    yield f"{'':20}{'items':>6}{'distinct':>9}{'risks':>6}{'techniques':>11}  severities 1 2 3 4"
    for part in parts:
        yield _row(part)


def _row(part: Coverage) -> str:
    levels = " ".join(
        f"{part.severities.get(severity.level, '-'):>2}" for severity in load_taxonomy().severities
    )
    return (
        f"  {part.category.slug:18}{part.items:>6}{part.situations:>9}{len(part.risks):>6}"
        f"{part.used_techniques:>11}  {levels}"
    )
