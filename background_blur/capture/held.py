"""Photos that stay on screen until the user moves on."""

from collections.abc import Iterator
from time import sleep

from background_blur.capture.base import Source
from background_blur.frames import Frame


class HeldPictures(Source):
    """Unrelated pictures, each repeated at the source's rate until `advance` is called.

    A window has to be redrawn, and a call that reads a virtual camera expects frames.
    """

    live, is_sequence = True, False

    def __init__(self, pictures: Source):
        """Takes over an open source of unrelated pictures."""
        self.pictures = pictures
        self.size, self.fps, self.count = pictures.size, pictures.fps, pictures.count
        self.path = pictures.path
        self._held = True

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.pictures:
            self._held = True
            while self._held:
                yield frame
                sleep(1 / self.fps)

    def advance(self) -> None:
        self._held = False

    def close(self) -> None:
        self.advance()
        self.pictures.close()
