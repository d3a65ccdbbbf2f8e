"""A PipeWire camera, which needs no kernel module and which browsers find.

A GStreamer process talks to PipeWire, and a thread feeds it the newest frame, so that neither can
delay a frame.
"""

import logging
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from time import monotonic, sleep

import cv2
import numpy as np

from background_blur.errors import SinkError
from background_blur.sinks import pipewire

NAME = "Background blur"  # as video call programs list it
STARTUP = 10.0  # seconds that the camera may take to appear
WRITE_TIMEOUT = 3.0  # seconds that GStreamer may take to read a frame
RESTART_INTERVAL = 60.0  # seconds; a process that ends twice within this time is not restarted
MIN_VERSION = (0, 3, 65)  # the oldest PipeWire that this was tested with
PIPE = 2**20  # bytes; the most that Linux allows, so that a frame takes few writes
RELEASE = Path("/etc/os-release")

# What to install, by the distribution's name in /etc/os-release.
PACKAGES = {
    "debian": (
        "sudo apt install pipewire wireplumber gstreamer1.0-tools gstreamer1.0-plugins-base "
        "gstreamer1.0-pipewire"
    ),
    "fedora": (
        "sudo dnf install pipewire-utils gstreamer1 gstreamer1-plugins-base pipewire-gstreamer"
    ),
    "arch": "sudo pacman -S pipewire wireplumber gstreamer gst-plugins-base gst-plugin-pipewire",
    "suse": "sudo zypper install gstreamer gstreamer-plugins-base gstreamer-plugin-pipewire",
}

log = logging.getLogger(__name__)


class PipeWireSink:
    """Offers frames as a PipeWire camera.

    Attributes:
        device: what to call it in messages.
        size: (width, height).
    """

    def __init__(self, name: str, size: tuple[int, int], fps: float):
        """Starts the camera, which shows black until the first frame.

        Args:
            name: the name it is listed under; "" for `NAME`.
            size: (width, height), both even.
            fps: the rate announced to its readers.

        Raises:
            SinkError: PipeWire, GStreamer or one of its plugins is missing, or the name is taken.
        """
        self.name = name or NAME
        self.device = f'the PipeWire camera "{self.name}"'
        self.size = size
        self._fps = Fraction(fps).limit_denominator(1001)
        self._version = check(self.name)
        self._newest: np.ndarray | None = None
        self._error: SinkError | None = None
        self._changed, self._stop = threading.Condition(), False
        self._restarted = -RESTART_INTERVAL
        self._start()
        try:
            self._wait_until_listed()
        except BaseException:
            self._end()
            raise
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _start(self) -> None:
        self._monitor = pipewire.Monitor(node_name(self.name))
        self._gstreamer = GStreamer(pipeline(self.name, self.size, self._fps))

    def _end(self) -> None:
        self._gstreamer.close()
        self._monitor.close()

    def _wait_until_listed(self) -> None:
        """Waits until PipeWire lists the camera, for which it needs a frame."""
        black = to_yuy2(np.zeros((self.size[1], self.size[0], 3), np.uint8))
        until = monotonic() + STARTUP
        while self._gstreamer.is_alive() and monotonic() < until:
            self._gstreamer.write(black)
            if self._monitor.appeared.wait(1 / 30):
                return
        raise SinkError(self._diagnosis())

    def _reason(self) -> str:
        return "PipeWire has ended" if self._monitor.lost else self._gstreamer.reason()

    def _diagnosis(self) -> str:
        """Why there is no camera, and what to do."""
        reason = self._reason()
        if "no element" in reason:
            return f"GStreamer lacks a plugin that this camera needs; run: {install_command()}"
        if self._version and self._version < MIN_VERSION:
            old, tested = (".".join(map(str, it)) for it in (self._version, MIN_VERSION))
            return f"PipeWire {old} is too old to offer a camera; update it to {tested} or later"
        again = "run: systemctl --user restart pipewire wireplumber; then start this program again"
        return f"{self.device} does not work: {reason}; {again}"

    def send(self, image: np.ndarray) -> None:
        """Takes a frame without waiting; raises SinkError if GStreamer ended twice in a minute."""
        data = to_yuy2(image)
        with self._changed:
            if self._error:
                raise self._error
            self._newest = data
            self._changed.notify()

    def has_consumers(self) -> bool | None:
        state = self._monitor.state
        return None if state is None else state == "running"

    def readers(self) -> list[str]:
        return pipewire.readers(pipewire.objects(), node_name(self.name))

    def _take(self) -> np.ndarray | None:
        """Waits for the newest frame and returns it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop or self._newest is not None)
            frame, self._newest = self._newest, None
            return None if self._stop else frame

    def _feed(self) -> None:
        try:
            while (frame := self._take()) is not None:
                if self._monitor.lost or not self._gstreamer.write(frame):
                    self._restart()
        except Exception as error:  # raised again by `send`
            known = isinstance(error, SinkError)
            with self._changed:
                self._error = error if known else SinkError(f"{self.device} failed: {error}")

    def _restart(self) -> None:
        reason, why, lost = self._reason(), self._diagnosis(), self._monitor.lost
        self._end()
        if monotonic() - self._restarted < RESTART_INTERVAL:
            raise SinkError(why)
        remedy = "start the browser" if lost else "choose it or load the page"
        log.warning("%s is restarted: %s; in calls, %s again", self.device, reason, remedy)
        self._restarted = monotonic()
        until = monotonic() + pipewire.RESPONSE_TIMEOUT
        while not pipewire.is_running() and not self._stop:  # it may be restarting
            if monotonic() > until:
                raise SinkError(why)
            sleep(0.1)
        self._start()

    def close(self) -> None:
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join(WRITE_TIMEOUT + 1)
        self._end()


class GStreamer:
    """A GStreamer process that reads frames."""

    def __init__(self, elements: list[str]):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            ["gst-launch-1.0", "-q", *elements],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal must not end it before us
        )
        assert self._process.stdin
        self._stdin = self._process.stdin
        self._pipe = self._stdin.fileno()
        if sys.platform == "linux":
            import fcntl

            os.set_blocking(self._pipe, False)
            with suppress(OSError):  # over the user's limit
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def write(self, frame: np.ndarray) -> bool:
        """Writes a frame; returns False if the process has ended or no longer reads."""
        rest, until = memoryview(frame.data).cast("B"), monotonic() + WRITE_TIMEOUT
        while rest:
            try:
                rest = rest[os.write(self._pipe, rest) :]
            except BlockingIOError:
                if not select.select([], [self._pipe], [], max(0.0, until - monotonic()))[1]:
                    return False
            except OSError:  # it ended
                return False
        return True

    def reason(self) -> str:
        """Why the process ended or no longer reads, in one line."""
        if self.is_alive():
            return "GStreamer does not respond"
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        if self._process.returncode < 0:
            said.append(f"GStreamer was ended by signal {-self._process.returncode}")
        return said[-1] if said else "GStreamer has ended"

    def close(self) -> None:
        if self._errors.closed:
            return
        self._stdin.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def check(name: str) -> tuple[int, ...] | None:
    """Returns PipeWire's version; raises SinkError if it cannot offer a camera with this name."""
    if not re.fullmatch(r"[\w .()-]+", name):
        raise SinkError(f"{name!r}: use only letters, digits, spaces and . - _ ( )")
    if not shutil.which("gst-launch-1.0"):
        raise SinkError(f"the PipeWire camera needs GStreamer; run: {install_command()}")
    if not pipewire.is_running():
        install = "" if shutil.which("pipewire") else f"{install_command()} && "
        raise SinkError(f"PipeWire is not running here; run: {install}{pipewire.START}")
    known = pipewire.objects()
    if any(camera.name == node_name(name) for camera in pipewire.cameras(known)):
        other = "end the other copy, or give another name: --virtual-camera pipewire:NAME"
        raise SinkError(f'there is already a PipeWire camera "{name}"; {other}')
    return pipewire.version(known)


def install_command() -> str:
    """The command that installs what is missing on this system."""
    try:
        release = RELEASE.read_text().lower()
    except OSError:
        release = ""
    return next((PACKAGES[it] for it in PACKAGES if it in release), PACKAGES["debian"])


def node_name(name: str) -> str:
    """The name of the PipeWire node: only letters, digits and underscores."""
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def to_yuy2(image: np.ndarray) -> np.ndarray:
    """uint8 [H,W,3] BGR -> uint8 [H,W,2], YUY2 in BT.601, as webcams send it."""
    return cv2.cvtColor(image, cv2.COLOR_BGR2YUV_YUY2)


def pipeline(name: str, size: tuple[int, int], fps: Fraction) -> list[str]:
    """GStreamer's elements, from standard input to PipeWire.

    The queue drops frames that nobody reads. Without drop-allocation, PipeWire 0.3.65 gives readers
    nothing or crashes GStreamer, and its `pw-v4l2` gets no frames from a camera that has not been
    suspended since its last reader.
    """
    width, height = size
    text = name.replace(" ", "\\ ")
    properties = (
        "props,media.class=Video/Source,media.role=Camera,session.suspend-timeout-seconds=0.1,"
        f'node.name={node_name(name)},node.description=(string)\\"{text}\\"'
    )
    elements = (
        f"fdsrc fd=0 do-timestamp=true blocksize={2 * width * height} ! rawvideoparse format=yuy2 "
        f"width={width} height={height} framerate={fps.numerator}/{fps.denominator} "
        "! queue leaky=downstream max-size-buffers=2 ! identity drop-allocation=true "
        "! pipewiresink mode=provide sync=false"
    )
    return [*elements.split(), f"stream-properties={properties}"]
