"""What ``gvs check`` looks at: everything that is shipped and written by hand or generated."""

from collections import Counter
from collections.abc import Iterator

from gvs_tasks.errors import GVSError
from gvs_tasks.generate import differences
from gvs_tasks.schema import load_items, load_pool
from gvs_tasks.taxonomy import CONTENT, LANGUAGES, load_taxonomy

__all__ = ["check_all"]


def check_all() -> Iterator[str]:
    """Yield a line for each part that is in order.

    Raises:
        GVSError: At the first part that is not, with a line per fault.
    """
    taxonomy = load_taxonomy()
    risks = sum(len(category.risks) for category in taxonomy.categories)
    yield (
        f"taxonomy: {len(taxonomy.layers)} layers, {len(taxonomy.categories)} categories, "
        f"{risks} risks"
    )
    items = load_items()
    counts = Counter(item.category for item in items)
    empty = [category.slug for category in taxonomy.categories if not counts[category.slug]]
    if empty:
        raise GVSError(f"No items in: {', '.join(empty)}. Add them in content/items/.")
    yield f"items: {len(items)} in {len(counts)} categories, {len(items) * len(LANGUAGES)} rows"
    if (CONTENT / "judge_pool").is_dir():
        pool = load_pool()
        prompts = {text for item in items for text in (item.en.prompt, item.zh.prompt)}
        shared = [exchange.id for exchange in pool if exchange.prompt in prompts]
        if shared:
            raise GVSError(f"Judge pool: {', '.join(shared)} repeat prompts of the benchmark.")
        yield f"judge pool: {len(pool)} exchanges"
    changed = differences()
    if changed:
        raise GVSError(
            f"Task files out of date: {', '.join(changed)}. Run scripts/generate_tasks.py."
        )
    yield "task files: up to date"
