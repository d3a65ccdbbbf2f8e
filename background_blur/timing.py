"""Measures what the stages of a frame cost."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import thread_time
from typing import TypeVar

T = TypeVar("T")


class StageTimer:
    """Sums up the processor time per stage, in seconds: `with timer.measure("refine"): ...`.

    Only the time of the calling thread counts, not that of threads a library starts.
    """

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Times the block, whether it succeeds or not."""
        began = thread_time()
        try:
            yield
        finally:
            self.seconds[stage] += thread_time() - began

    def each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Yields the items; the time to make each one counts towards that stage."""
        items = iter(items)
        while True:
            with self.measure(stage):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
