"""Pauses while no program reads the virtual camera: the webcam is off, and no network runs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic, sleep
from typing import Protocol

from background_blur.capture.base import Source, WrappedSource
from background_blur.errors import SourceError
from background_blur.frames import Frame
from background_blur.imaging import make_placeholder

IDLE_AFTER = 5.0  # seconds without a consumer of the virtual camera
CHECK_INTERVAL = 1.0  # seconds between checks for a consumer
IDLE_CHECK_INTERVAL = 0.2  # the same, while idle
KEEP_ALIVE_INTERVAL = 1.0  # seconds between the frames sent while idle


class Camera(Protocol):
    """The part of `sinks.virtual_camera.VirtualCamera` that is used here."""

    device: str

    def has_consumers(self) -> bool | None: ...

    def repeat(self) -> None: ...


class OnDemand(WrappedSource):
    """A live source that is open only while a program reads the virtual camera it feeds.

    If the system does not say whether one does, the source is always open.
    """

    idle_seconds = 0.0

    def __init__(
        self, source: Source, *, reopen: Callable[[], Source], camera: Camera, wait: float
    ):
        """Takes over an open source, whose frames are sent to `camera`.

        `reopen` opens the source again or raises SourceError; it is retried for `wait` seconds.
        """
        super().__init__(source)
        self.reopen, self.camera, self.wait = reopen, camera, wait
        self.is_idle = False
        self.last_consumed = self.last_check = monotonic()

    @property
    def problem(self) -> str | None:
        text = f"no program reads {self.camera.device}; paused until one does"
        return text if self.is_idle else self.source.problem

    def __iter__(self) -> Iterator[Frame]:
        """Yields frames; around an idle period, the last one blurred beyond recognition."""
        began = start = monotonic()
        while True:
            for frame in self.source:
                frame = last = replace(frame, time=frame.time + start - began)
                yield frame
                if not self.is_wanted():
                    break
            else:
                return
            self.is_idle, idle_since = True, monotonic()
            last = replace(last, image=make_placeholder(last.image), captured_at=None)
            yield replace(last, image=last.image.copy())  # before closing, which may take a while
            self.source.close()
            self.wait_for_consumer()
            self.idle_seconds += monotonic() - idle_since
            yield replace(last, time=monotonic() - began)
            self.source = self.open_again()
            self.is_idle, start = False, monotonic()

    def is_wanted(self) -> bool:
        now = monotonic()
        if now - self.last_check >= CHECK_INTERVAL:
            self.last_check = now
            if self.camera.has_consumers() is not False:
                self.last_consumed = now
        return now - self.last_consumed < IDLE_AFTER

    def wait_for_consumer(self) -> None:
        """Waits until a program reads the camera."""
        sent = monotonic()
        while self.camera.has_consumers() is False:
            sleep(IDLE_CHECK_INTERVAL)
            if monotonic() - sent >= KEEP_ALIVE_INTERVAL:  # for readers the driver does not report
                self.camera.repeat()
                sent = monotonic()
        self.last_consumed = monotonic()

    def open_again(self) -> Source:
        """Reopens the source; raises SourceError if that keeps failing."""
        until = monotonic() + self.wait
        while True:
            try:
                return self.reopen()
            except SourceError:
                if monotonic() > until:
                    raise
            self.camera.repeat()
            sleep(IDLE_CHECK_INTERVAL)
