"""A window, made with OpenCV and completed with what OpenCV lacks."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic

import cv2

from background_blur.errors import SinkError
from background_blur.frames import Frame
from background_blur.sinks import qt
from background_blur.sinks.base import PacedSink

REDRAWS = 0.2, 0.6, 1.5, 4.0  # seconds after opening at which a redraw is forced
MAX_SIZE = 1280, 720  # the largest (width, height) it opens with; the user may enlarge it
LINUX = sys.platform.startswith("linux")
KEYS = {27: "esc", 32: "space"} | {code: chr(code).lower() for code in range(33, 127)}
KEYS |= {8: "backspace", 127: "backspace"}  # the latter on macOS
KEYS |= {0xFF51: "left", 0xFF53: "right"}  # X11's
KEYS |= {0xF702: "left", 0xF703: "right"}  # macOS's


class Window(PacedSink):
    """A window that opens with the first frame; calling `key` keeps it drawn and responsive."""

    def __init__(self, title: str, lost: Callable[[], None] | None = None):
        """Raises SinkError if there is no display.

        On Linux `lost()` is called when the display goes away while the window is open; once it
        returns, the process ends with exit code 1.
        """
        check_display()
        self.title, self.lost = title, lost
        self.open = False
        self.shape: tuple[int, int] | None = None  # (height, width) of the frame it was sized for
        self.guard = ExitStack()
        self.redraws: list[float] = []  # when to force one, on the monotonic clock

    def write(self, frame: Frame) -> None:
        if not self.open:
            self.show()
        if not self.closed:  # else OpenCV would open another window
            height, width = frame.image.shape[:2]
            self.keep_aspect(width, height)
            cv2.imshow(self.title, frame.image)

    def show(self) -> None:
        check_display()  # again, since it may have gone away
        if LINUX:
            qt.set_up()
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        try:
            cv2.namedWindow(self.title, flags)
        except cv2.error as error:
            hint = "pip install opencv-python, not -headless; or use --no-window"
            raise SinkError(f"this OpenCV cannot open windows; {hint}") from error
        self.open = True
        if LINUX:
            self.redraws = [monotonic() + seconds for seconds in REDRAWS]
            self.guard.enter_context(qt.on_native_exit(self.lose))

    def keep_aspect(self, width: int, height: int) -> None:
        """Gives the window the aspect ratio of the frames, which Qt would distort."""
        if self.shape and self.shape[0] * width == self.shape[1] * height:
            return  # the user may have enlarged it
        self.shape = height, width
        scale = opening_scale(width, height)
        cv2.resizeWindow(self.title, max(1, round(scale * width)), max(1, round(scale * height)))

    def lose(self) -> None:
        self.open = False
        if self.lost:
            self.lost()

    def key(self) -> str | None:
        """Draws, and returns the next key pressed ("q", "+", "esc", "space", ...) or None.

        Letters are in lower case; keys without a name in `KEYS`, such as F1, are ignored. Call it
        often, since each call returns only one key.
        """
        if not self.open:
            return None
        if self.redraws and monotonic() > self.redraws[0]:
            self.redraws.pop(0)
            qt.force_redraw(self.title)
        code = cv2.pollKey()
        return None if code < 0 else KEYS.get(code & 0xFFFF)  # higher bits: Shift, Num Lock, ...

    @property
    def closed(self) -> bool:
        """Whether the user closed the window with its close button."""
        if not self.open:
            return False
        try:
            return cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:  # Qt raises this for a window that is gone
            return True

    def close(self) -> None:
        if self.open and not self.closed:
            cv2.destroyWindow(self.title)
            cv2.pollKey()  # processes the events that make it disappear
        self.open = False
        self.guard.close()


def opening_scale(width: int, height: int) -> float:
    """Screen pixels per pixel of a frame of this size in a newly opened window, 0..1."""
    return min(1, MAX_SIZE[0] / width, MAX_SIZE[1] / height)


def check_display() -> None:
    """Raises SinkError if there is no display, since Qt would abort the process."""
    if LINUX and not qt.server_answers():
        raise SinkError("no display to open a window on; use --output FILE, or --no-window")
