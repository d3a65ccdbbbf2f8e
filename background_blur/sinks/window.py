"""frames out, into a window: OpenCV's, with what it leaves to be done."""

import os
import sys
from contextlib import ExitStack
from time import monotonic

import cv2

from background_blur.errors import SinkError
from background_blur.sinks import xcb
from background_blur.sinks.base import PacedSink

NUDGES = 0.2, 0.6, 1.5, 4.0  # seconds after its opening at which the window is asked to be drawn
LARGEST = 1280, 720  # pixels; how big it opens, the user may enlarge it
KEYS = {27: "esc", 32: "space"} | {code: chr(code).lower() for code in range(33, 127)}


class Window(PacedSink):
    """A window on the screen. It opens with the first frame; `key` keeps it alive and drawn."""

    def __init__(self, title: str, lost=None):
        """Raises SinkError where there is no display.

        On Linux `lost()` is called when the display goes away under the open window; once it
        returns, Qt ends the process.
        """
        check_display()
        self.title, self.lost = title, lost
        self.open = False
        self.sides = None  # (height, width) of the frame that it was given its shape for
        self.guard = ExitStack()
        self.nudges = []  # times, on the monotonic clock

    def write(self, frame) -> None:
        if not self.open:
            self.show()
        if not self.closed:  # else OpenCV would open another window
            self.keep_shape(frame.image.shape[:2])
            cv2.imshow(self.title, frame.image)

    def show(self) -> None:
        check_display()  # once more: it may have gone while all else was opened
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        try:
            cv2.namedWindow(self.title, flags)
        except cv2.error as error:
            hint = "pip install opencv-python, not -headless; or use --no-window"
            raise SinkError(f"this OpenCV opens no windows; {hint}") from error
        self.open = True
        if sys.platform.startswith("linux"):
            self.nudges = [monotonic() + seconds for seconds in NUDGES]
            self.guard.enter_context(xcb.on_native_exit(self.lose))

    def keep_shape(self, sides: tuple[int, int]) -> None:
        """Gives the window the shape of frames of (height, width), which Qt would distort."""
        height, width = sides
        if self.sides and self.sides[0] * width == self.sides[1] * height:
            return  # as the user may have enlarged it
        self.sides = sides
        scale = min(1, LARGEST[0] / width, LARGEST[1] / height)
        cv2.resizeWindow(self.title, max(1, round(scale * width)), max(1, round(scale * height)))

    def lose(self) -> None:
        self.open = False
        if self.lost:
            self.lost()

    def key(self) -> str | None:
        """Draws, and returns the key pressed since: "q", "+", "esc", "space", ... or None.

        Letters come in lower case; keys without a sign of their own (arrows, F1) not at all. Call
        it often, each call takes the next key pressed.
        """
        if not self.open:
            return None
        if self.nudges and monotonic() > self.nudges[0]:
            self.nudges.pop(0)
            xcb.force_redraw(self.title)
        code = cv2.pollKey()
        return None if code < 0 else KEYS.get(code & 0xFFFF)  # above them: Shift, Num Lock, ...

    @property
    def closed(self) -> bool:
        """Whether the user closed the window by its X."""
        if not self.open:
            return False
        try:
            return cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:  # what Qt says of a window that is gone
            return True

    def close(self) -> None:
        if self.open and not self.closed:
            cv2.destroyWindow(self.title)
            cv2.pollKey()  # it goes with the next look at the events
        self.open = False
        self.guard.close()


def check_display() -> None:
    """Raises SinkError where a window would end the whole process: Qt aborts without a display."""
    if not sys.platform.startswith("linux"):
        return
    if not xcb.server_answers():
        raise SinkError("no display to open a window on; use --output FILE, or --no-window")
    # What Qt says when the display goes away is said better by who opened the window.
    os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
    # OpenCV's Qt knows nothing but X, and complains on stderr of a desktop that is Wayland's, and
    # of the folder of fonts that its makers left out; no text of ours needs fonts.
    os.environ["QT_QPA_PLATFORM"] = "xcb"
    if not os.path.isdir(os.environ.get("QT_QPA_FONTDIR", "")):
        os.environ["QT_QPA_FONTDIR"] = os.path.dirname(cv2.__file__)
