"""Webcams, each read in its own thread, which keeps only the newest frame."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from background_blur.capture.base import CAMERA_SIZE, LIMIT, RATE, WAIT, rate_limiter
from background_blur.capture.live import FrameTimeout, Live
from background_blur.errors import SourceError
from background_blur.frames import Frame, Size
from background_blur.imaging import make_placeholder, to_bgr

STALE_AFTER = 1.0  # seconds without a frame after which the last one must no longer pass for live
# Seconds to wait for a reopened camera's first frame: initially, added per attempt, and at most.
# The opened device may be gone for good, and another may have taken its place.
REOPEN_TIMEOUT = 2.0, 1.0, 5.0
REOPEN_PAUSE = 0.5  # seconds, at most, between two attempts to reopen it
PLACEHOLDER_INTERVAL = 0.1  # seconds
BLACK_LEVEL = 10  # the brightest pixel of a black frame
BLACK = "gives only black frames; uncover its lens, or close the program that uses it"
BLACK_SECONDS = 2.0  # how long frames must be black before that is reported
DEVICES = Path("/dev")


class Camera(Live):
    """A webcam, selected by its number.

    If it stops sending frames, it is reopened until it comes back. Meanwhile its last frame is
    shown blurred beyond recognition, so that nobody takes it for a live picture.

    Args:
        number: 0 is the first.
        size: (width, height) to ask the driver for; it may choose another.
        fps: the rate to ask for; if the camera is faster, frames are dropped.
        open: opens a capture by number; tests pass a fake.
        limit: seconds within which the first frame must arrive.
        wait: seconds without a frame after which to give up on the camera.
    """

    def __init__(
        self,
        number: int,
        size: Size | None = None,
        fps: float | None = None,
        *,
        open: Callable[[int], cv2.VideoCapture] = cv2.VideoCapture,
        limit: float = LIMIT,
        wait: float = WAIT,
    ):
        set_up_opencv()
        self.fps = fps or RATE
        self._number, self._open, self._wait_for_return = number, open, wait
        self._size = size or CAMERA_SIZE  # to ask for
        self._began: float | None = None  # when the first frame arrived
        self._last: Frame | None = None  # handed out
        self._silence: str | None = None  # a problem found while iterating
        self._darkness: str | None = None  # a problem found by the thread
        self._waited, self._checked_at = 0.0, math.inf  # seconds without a frame; when last counted
        self._start(self._frames(fps), limit, STALE_AFTER, f"camera {number}")
        if size and size != self.size:
            given, asked = ("{}x{}".format(*s) for s in (self.size, size))
            self.warning = f"camera {number} gives {given}, not the {asked} asked for"

    @property
    def problem(self) -> str | None:
        return self._silence or self._darkness

    def _take(self) -> Frame | None:
        try:
            frame = super()._take()
        except FrameTimeout as timeout:
            return self._placeholder(timeout)
        if frame and self._last:
            frame = replace(frame, time=max(frame.time, self._last.time))
        self._last, self._timeout = frame, STALE_AFTER + 1 / self.fps
        self._waited, self._checked_at = 0.0, time.monotonic()
        self._silence = None
        return frame

    def _placeholder(self, timeout: FrameTimeout) -> Frame:
        """Returns a stand-in while there is no frame; raises `timeout` after too long."""
        now = time.monotonic()
        # Count at most two seconds at a time: a suspended computer is not waiting.
        self._waited += min(max(0.0, now - self._checked_at), 2.0)
        self._checked_at = now
        if self._waited > self._wait_for_return or self._last is None or self._began is None:
            raise timeout
        self._silence = f"{self._name} sends no frames; waiting for it to come back"
        at = max(now - self._began, self._last.time)
        self._last = Frame(make_placeholder(self._last.image), at)
        self._timeout = PLACEHOLDER_INTERVAL
        return replace(self._last, image=self._last.image.copy())

    def _frames(self, fps: float | None) -> Generator[Frame | None]:
        # The thread that opens the device also releases it: a driver may hang, and may crash if
        # released while being read.
        due, dark_since = rate_limiter(fps), math.inf
        with contextlib.closing(self._images()) as images:
            for image in images:
                if image is None:
                    yield None
                    continue
                now = time.monotonic()
                self._began = now if self._began is None else self._began
                since = now - self._began
                dark_since = min(dark_since, now) if is_black(image) else math.inf
                is_covered = now - dark_since >= BLACK_SECONDS
                self._darkness = f"{self._name} {BLACK}" if is_covered else None
                yield Frame(image, since) if due(since) else None

    def _images(self) -> Generator[np.ndarray | None]:
        """Yields the camera's images, and None while it sends nothing; reopens it if it is lost."""
        pause, timeout = 0.0, REOPEN_TIMEOUT[0]
        while True:
            try:
                capture = self._opened()
            except Exception:
                if self._began is None:
                    raise
            else:
                with contextlib.closing(self._read_out(capture, timeout)) as images:
                    timeout = min(timeout + REOPEN_TIMEOUT[1], REOPEN_TIMEOUT[2])
                    for image in images:
                        if image is not None:
                            pause, timeout = 0.0, REOPEN_TIMEOUT[0]
                        yield image
            pause = min(2 * pause + 0.1, REOPEN_PAUSE)
            self._stop.wait(pause)
            yield None

    def _read_out(self, capture: cv2.VideoCapture, timeout: float) -> Generator[np.ndarray | None]:
        """Yields images until none has come for `timeout` seconds, then releases the capture."""
        until = math.inf if self._began is None else time.monotonic() + timeout
        try:
            while time.monotonic() < until:
                image = read_capture(capture)
                if image is None:
                    time.sleep(0.01)
                else:
                    until = time.monotonic() + STALE_AFTER
                yield image
        finally:
            capture.release()

    def _opened(self) -> cv2.VideoCapture:
        try:
            capture = self._open(self._number)
        except (cv2.error, OverflowError) as error:
            raise SourceError(camera_problem(self._number)) from error
        try:
            if not capture.isOpened():
                raise SourceError(camera_problem(self._number))
            request_size(capture, self._size)
            capture.set(cv2.CAP_PROP_FPS, self.fps)
            kept = capture.get(cv2.CAP_PROP_FPS)
            if 1 <= kept < self.fps:
                self.fps = kept
        except BaseException:
            capture.release()
            raise
        return capture

    def _no_first_frame(self, limit: float) -> str:
        return camera_problem(self._number)


def request_size(capture: cv2.VideoCapture, size: Size) -> None:
    if size[1] >= 720:  # most webcams manage 30 such frames a second only compressed
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])


def is_black(image: np.ndarray) -> bool:
    return image[::8, ::8].max() <= BLACK_LEVEL


def set_up_opencv() -> None:
    """Makes OpenCV open cameras silently and wait no longer than a second for a frame."""
    # By default it waits 10 s for V4L2, uninterruptibly; it has no such setting for other systems.
    # OpenCV reads these variables when the first capture is made.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def camera_problem(number: int) -> str:
    """The likely reason why a camera did not open or sends no picture, and what to do."""
    if sys.platform.startswith("linux"):
        device = DEVICES / f"video{number}"
        others = [path.name[5:] for path in DEVICES.glob("video[0-9]*")]
        if not device.exists() and others:
            there = ", ".join(sorted(others, key=int))
            return f"there is no camera {number}; try another number with --source: {there}"
        if not device.exists():
            return "no camera found; plug one in, or try --source demo"
        if not os.access(device, os.R_OK | os.W_OK):
            fix = 'run "sudo usermod -aG video $USER", log out and in again'
            return f"no permission to use camera {number} ({device}); {fix}"
    hint = "perhaps another program is using it: close that, or plug the camera in again"
    return f"camera {number} gives no picture; {hint}"


def read_capture(capture: cv2.VideoCapture) -> np.ndarray | None:
    """Returns the camera's next image, uint8 [H,W,3] BGR, or None if it sends none."""
    try:
        grabbed, image = capture.read()
        return to_bgr(image) if grabbed else None
    except Exception:  # drivers raise many exception types
        return None
