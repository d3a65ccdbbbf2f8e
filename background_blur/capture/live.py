"""Live sources, each read in its own thread, which keeps only the newest frame."""

import contextlib
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import replace

from background_blur.capture.base import LIMIT, Source
from background_blur.capture.video import Decoder
from background_blur.errors import SourceError
from background_blur.frames import Frame


class FrameTimeout(SourceError):
    """No frame arrived in time."""


class Live(Source):
    """A source read in its own thread, which keeps only the newest frame."""

    live = True
    _iterating = False

    def _start(
        self, frames: Generator[Frame | None], limit: float, timeout: float, name: str
    ) -> None:
        """Starts reading and waits for the first frame; raises SourceError if none comes in time.

        Args:
            frames: a generator, run and closed in the thread; yields None when no frame has come
                for a while, so that the thread can be stopped.
            limit, timeout: seconds that the first frame and each later one may take.
            name: of the source, for messages.
        """
        self._name, self._timeout = name, timeout
        self._newest: Frame | None = None
        self._ended = False
        self._error: Exception | None = None
        self._changed, self._stop = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._read, args=(frames,), daemon=True)
        self._thread.start()
        try:
            height, width = self._first_frame(limit).image.shape[:2]
        except BaseException:
            self.close()
            raise
        self.size = width, height

    def _first_frame(self, limit: float) -> Frame:
        """Waits for the first frame, with which the iteration will begin."""
        with self._changed:
            if not self._wait(limit):
                raise SourceError(self._no_first_frame(limit))
            if self._newest is None:
                raise self._error or SourceError(f"{self._name}: ended before its first frame")
            return self._newest

    def _no_first_frame(self, limit: float) -> str:
        return f"{self._name}: no picture within {limit:g} s; check the address and the network"

    def _wait(self, seconds: float) -> bool:
        """Waits, holding `_changed`, for a frame or the end; False if neither came in time."""
        return self._changed.wait_for(lambda: self._newest is not None or self._ended, seconds)

    def _read(self, frames: Generator[Frame | None]) -> None:
        error: Exception | None = None
        try:
            with contextlib.closing(frames):
                for frame in frames:
                    if self._stop.is_set():
                        break
                    if frame is not None:
                        self._keep(frame)
        except Exception as caught:  # raised again by the iteration
            error = caught
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify()

    def _keep(self, frame: Frame) -> None:
        with self._changed:
            self.dropped += self._iterating and self._newest is not None
            self._newest = replace(frame, captured_at=time.monotonic())
            self._changed.notify()

    def __iter__(self) -> Iterator[Frame]:
        self._iterating = True
        while (frame := self._take()) is not None:
            yield frame

    def _take(self) -> Frame | None:
        with self._changed:
            if self._stop.is_set():
                return None
            if not self._wait(self._timeout):
                hint = "check its cable or connection"
                raise FrameTimeout(f"{self._name} stopped sending frames; {hint}")
            frame, self._newest = self._newest, None
            if frame is None and self._error and not self._stop.is_set():
                raise self._error
            return frame

    def close(self) -> None:
        """Waits at most two seconds; a driver that never returns keeps its (daemon) thread."""
        self._stop.set()
        self._thread.join(2)


class Stream(Live):
    """A live stream, from a URL."""

    def __init__(self, decoder: Decoder, limit: float = LIMIT):
        """`limit`: seconds without a frame before giving up."""
        self.fps = decoder.fps
        if decoder.demuxer.others:
            self.warning = f"{decoder.name}: a live stream, so its sound is left out"
        self._start(self._frames(decoder), limit, limit, decoder.name)

    @staticmethod
    def _frames(decoder: Decoder) -> Generator[Frame]:
        try:
            decoder.demuxer.skip(*decoder.demuxer.others)
            yield from decoder.frames()
        finally:
            decoder.close()
