"""Rests while nobody reads the virtual camera: the real one is off, the network asleep."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic, sleep

from background_blur.capture.base import Source
from background_blur.errors import SourceError
from background_blur.frames import Frame, Size
from background_blur.imaging import make_placeholder

PATIENCE = 5.0  # seconds that nobody reads the virtual camera until the rest
LOOKS = 1.0  # seconds from look to look at whether somebody does, and from frame to frame at rest
GLANCES = 0.2  # seconds from look to look at rest


class OnDemand(Source):
    """A live source that is open only while the virtual camera it is sent to is read.

    Where the system does not tell who reads it, always.
    """

    live = True

    def __init__(self, source: Source, reopen: Callable[[], Source], camera, wait: float):
        """Takes over a source.

        Args:
            source: open, whose frames come at first.
            reopen: opens it again, or raises SourceError.
            camera: the `virtual.VirtualCamera`.
            wait: seconds to try to open the source again.
        """
        self.source, self.reopen, self.camera, self.wait = source, reopen, camera, wait
        self.resting, self.began_rest = False, 0.0
        self.rested_before = 0.0  # seconds of the rests that are over
        self.last_read = self.last_look = monotonic()  # when somebody read it, when we looked

    @property
    def size(self) -> Size:
        return self.source.size

    @property
    def fps(self) -> float:
        return self.source.fps

    @property
    def dropped(self) -> int:
        return self.source.dropped

    @property
    def warning(self) -> str | None:
        return self.source.warning

    @property
    def problem(self) -> str | None:
        text = f"nobody watches {self.camera.device}; resting until somebody does"
        return text if self.resting else self.source.problem

    @property
    def idle_seconds(self) -> float:
        now = monotonic() - self.began_rest if self.resting else 0.0
        return self.rested_before + now

    def __iter__(self) -> Iterator[Frame]:
        """Yields frames; before a rest and after it the last one, blurred beyond recognition."""
        began = start = monotonic()
        while True:
            for frame in self.source:
                frame = last = replace(frame, time=frame.time + start - began)
                yield frame
                if not self.is_wanted():
                    break
            else:
                return
            self.resting, self.began_rest = True, monotonic()
            last = replace(last, image=make_placeholder(last.image), captured_at=None)
            yield replace(last, image=last.image.copy())  # first: closing may take a while
            self.source.close()
            self.rest()
            yield replace(last, time=monotonic() - began)
            self.source = self.opened()
            self.rested_before = self.idle_seconds
            self.resting, start = False, monotonic()

    def is_wanted(self) -> bool:
        now = monotonic()
        if now - self.last_look >= LOOKS:
            self.last_look = now
            if self.camera.is_read() is not False:
                self.last_read = now
        return now - self.last_read < PATIENCE

    def rest(self) -> None:
        """Waits until somebody reads the camera."""
        sent = monotonic()
        while self.camera.is_read() is False:
            sleep(GLANCES)
            if monotonic() - sent >= LOOKS:  # for who reads it in a way that the driver overlooks
                self.camera.repeat()
                sent = monotonic()
        self.last_read = monotonic()

    def opened(self) -> Source:
        """The source again; raises SourceError where it stays away."""
        until = monotonic() + self.wait
        while True:
            try:
                return self.reopen()
            except SourceError:
                if monotonic() > until:
                    raise
            self.camera.repeat()
            sleep(GLANCES)

    def close(self) -> None:
        self.source.close()
