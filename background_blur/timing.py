"""What the stages of a frame cost."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import thread_time
from typing import TypeVar

T = TypeVar("T")


class StageTimer:
    """Sums up the processor time per stage, in seconds: `with timer.measure("refine"): ...`.

    That is the time of the calling thread; what a library does in threads of its own is left out.
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
        """Yields the items; making each is a block of that stage."""
        items = iter(items)
        while True:
            with self.measure(stage):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
