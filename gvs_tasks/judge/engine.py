"""Which inputs go into one forward pass."""

from collections.abc import Iterator, Sequence

__all__ = ["batches"]


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group inputs of similar length, longest first.

    The longest first shows at once whether a batch fits into memory.

    Args:
        lengths: Tokens of each input.
        budget: Tokens of a batch at most, padding included; one input may exceed it alone.

    Yields:
        Indices into `lengths`; each index occurs exactly once.

    >>> list(batches([3, 9, 4, 2], budget=8))
    [[1], [2, 0], [3]]
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
