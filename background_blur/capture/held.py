"""Photos that stay on screen until the user moves on."""

from collections.abc import Iterator
from pathlib import Path
from time import sleep

from background_blur.capture.base import WrappedSource
from background_blur.capture.pictures import Pictures
from background_blur.frames import Frame


class HeldPictures(WrappedSource):
    """Unrelated pictures, each repeated at the source's rate until `move` is called.

    A window must be redrawn, and a program that reads a virtual camera expects frames.
    """

    count = None

    def __init__(self, pictures: Pictures):
        """Takes over an open source of unrelated pictures."""
        super().__init__(pictures)
        self.pictures, self._steps = pictures, 0  # photos to move by

    def __iter__(self) -> Iterator[Frame]:
        coming, seen, at = iter(self.pictures), list[Path](), 0
        while frame := self._frame(coming, seen, at):
            self._steps = 0
            while not self._steps:
                yield frame
                sleep(1 / self.fps)
            at = max(0, at + self._steps)

    def _frame(self, coming: Iterator[Frame], seen: list[Path], at: int) -> Frame | None:
        """Returns photo number `at`, reading it again if seen before; None after the last."""
        if at < len(seen):
            return self.pictures.reread(seen[at])
        frame = next(coming, None)
        seen += [frame.path] if frame and frame.path else []
        return frame

    def move(self, steps: int) -> None:
        self._steps = steps

    def close(self) -> None:
        self.move(1)
        super().close()
