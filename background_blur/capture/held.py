"""Photos that stay on screen until the user moves on."""

from collections.abc import Iterator
from time import sleep

from background_blur.capture.base import Source, WrappedSource
from background_blur.frames import Frame


class HeldPictures(WrappedSource):
    """Unrelated pictures, each repeated at the source's rate until `advance` is called.

    A window has to be redrawn, and a call that reads a virtual camera expects frames.
    """

    count = None

    def __init__(self, source: Source):
        super().__init__(source)
        self._held = True

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.source:
            self._held = True
            while self._held:
                yield frame
                sleep(1 / self.fps)

    def advance(self) -> None:
        self._held = False

    def close(self) -> None:
        self.advance()
        super().close()
