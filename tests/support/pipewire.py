"""Real cameras without hardware: a separate PipeWire session, and cameras that play into it.

PipeWire's preloaded `pw-v4l2` presents such a camera to OpenCV as a V4L2 device, so that a program
does exactly what it does with a webcam: open, ioctl, mmap, select.
"""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from support import ROOT, skip_or_fail
from support.display import wait_until

PROGRAMS = ("dbus-daemon", "pipewire", "wireplumber", "pw-dump", "pw-v4l2", "gst-launch-1.0")
ELEMENTS = ("pipewiresink", "rawvideoparse", "videoconvert", "jpegenc")  # of GStreamer
PACKAGES = (
    "dbus pipewire wireplumber pipewire-v4l2 gstreamer1.0-tools gstreamer1.0-pipewire "
    "gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
)


class Session:
    """A running PipeWire with its session manager.

    Attributes:
        environment: for the programs that should use it.
    """

    def __init__(self, **environment: str):
        """Starts it, with these environment variables for its programs."""
        self._folder = Path(tempfile.mkdtemp(prefix="pipewire"))  # sockets need a short path
        self.environment = {**os.environ, **environment, "XDG_RUNTIME_DIR": str(self._folder)}
        self.environment.pop("DISPLAY", None)
        self.environment.pop("WAYLAND_DISPLAY", None)
        self._log = (self._folder / "log").open("w")
        self._bus = self._start("dbus-daemon", "--session", "--nofork", "--print-address=1")
        assert self._bus.stdout
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = self._bus.stdout.readline().decode().strip()
        self.start()

    def _start(self, *command: str) -> subprocess.Popen:
        pipe = subprocess.PIPE if command[0] == "dbus-daemon" else self._log
        options = {"env": self.environment, "stdout": pipe, "stderr": self._log}
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)

    def start(self) -> None:
        self._daemon = self._start("pipewire")
        wait_until(self.objects, "PipeWire to answer")
        self._manager = self._start("wireplumber")
        wait_until(lambda: "WirePlumber [export]" in str(self.objects()), "its session manager")

    def objects(self) -> list[dict]:
        """All PipeWire objects; empty while it does not answer."""
        result = self.run("pw-dump")
        with contextlib.suppress(ValueError):
            return json.loads(result.stdout)
        return []

    def node(self, name: str) -> dict | None:
        """A camera's node, by name."""
        for thing in self.objects():
            info = thing.get("info") or {}
            if (info.get("props") or {}).get("node.name") == name and "state" in info:
                return info
        return None

    def run(self, *command, timeout=30, **options) -> subprocess.CompletedProcess:
        options = {"env": self.environment, "timeout": timeout, "text": True, **options}
        return subprocess.run([str(part) for part in command], capture_output=True, **options)

    def popen(self, *command, **options) -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        options = {"env": self.environment, **pipes, **options}
        return subprocess.Popen([str(part) for part in command], **options)

    def stop_daemon(self) -> None:
        for process in (self._manager, self._daemon):
            process.terminate()
            process.wait(10)

    def stop(self) -> None:
        self.stop_daemon()
        self._bus.terminate()
        self._bus.communicate(timeout=10)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class PipeWireCamera:
    """A camera in a session, which plays pictures in a loop until it is closed.

    `pictures`, uint8 [H,W,3] BGR and all the same size, may be replaced while it runs; while there
    are none, it sends nothing.
    """

    def __init__(self, session: Session, pictures, fps: float = 30, format="YUY2", name="webcam"):
        self.pictures, self.fps, self.sent = list(pictures), fps, 0
        height, width = self.pictures[0].shape[:2]
        raw = f"rawvideoparse format=bgr width={width} height={height} framerate={fps:g}/1"
        kind = f"video/x-raw,format={format}"
        if format == "MJPG":
            kind = "video/x-raw,format=I420 ! jpegenc ! image/jpeg"
        properties = "props,media.class=Video/Source,media.role=Camera"
        # Otherwise `pw-v4l2` gets nothing from a camera that was read five seconds ago.
        properties += ",session.suspend-timeout-seconds=0.1"
        pipeline = (
            f"fdsrc fd=0 do-timestamp=true ! {raw} ! videoconvert ! {kind}"
            " ! queue leaky=downstream max-size-buffers=2 ! identity drop-allocation=true"
            " ! pipewiresink mode=provide sync=false"
            f" stream-properties={properties},node.name={name},node.description={name}"
        )
        self._process = subprocess.Popen(
            ["gst-launch-1.0", "-q", *pipeline.split()],
            env=session.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin
        self._pipe = self._process.stdin
        self._over = threading.Event()
        self._player = threading.Thread(target=self._play, daemon=True)
        self._player.start()
        wait_until(lambda: session.node(name), "the camera to appear")

    def _play(self) -> None:
        began = time.monotonic()
        with contextlib.suppress(OSError):  # its reader ended
            while not self._over.wait(max(0.0, began + self.sent / self.fps - time.monotonic())):
                if pictures := self.pictures:
                    self._pipe.write(pictures[self.sent % len(pictures)].tobytes())
                    self._pipe.flush()
                self.sent += 1

    def close(self) -> None:
        """Removes the camera at once, like unplugging it."""
        self._over.set()
        self._process.kill()
        self._process.wait(10)
        self._player.join(10)
        with contextlib.suppress(OSError):
            self._pipe.close()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()


STALL = 30  # seconds


class Stalled(Exception):
    """A reader is linked but gets no frames, as happens now and then with PipeWire 0.3.65."""


stalls = pytest.mark.flaky(reruns=2, only_rerun="Stalled")


class Watcher:
    """A program that reads a session's camera, given its node's name."""

    def __init__(self, session: Session, size: tuple[int, int], name="background_blur"):
        self._size = size
        elements = (
            f"pipewiresrc target-object={name} ! videoconvert ! video/x-raw,format=BGR"
            f",width={size[0]},height={size[1]} ! fdsink fd=1 sync=false"
        )
        self.process = session.popen("gst-launch-1.0", "-q", *elements.split(), text=False)

    def has_frames(self) -> bool:
        """Whether a frame is waiting to be read."""
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def frames(self, count: int) -> np.ndarray:
        """The next `count` frames, uint8 [count,H,W,3] BGR, or fewer if the camera ends.

        Raises:
            Stalled: nothing came for a while.
        """
        width, height = self._size
        assert self.process.stdout
        # Read without delay: a reader slower than the frames may get no more of them.
        data, wanted = bytearray(), count * height * width * 3
        while len(data) < wanted:
            if not select.select([self.process.stdout], [], [], STALL)[0]:
                raise Stalled
            part = os.read(self.process.stdout.fileno(), min(wanted - len(data), 2**20))
            if not part:
                break
            data += part
        return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()


def missing() -> str | None:
    """What this machine lacks for a session and its cameras."""
    programs = [program for program in PROGRAMS if not shutil.which(program)]
    if programs:
        return ", ".join(programs)
    known = subprocess.run(["gst-inspect-1.0"], capture_output=True, text=True).stdout
    elements = [element for element in ELEMENTS if f" {element}:" not in known]
    return ", ".join(elements) or None


@pytest.fixture
def program(tmp_path):
    """Starts `main.py`, sending to a session's PipeWire camera, and ends it after the test."""
    started = []

    def start(session, *arguments, source="demo", size="640x360", camera="pipewire", through="env"):
        errors = (tmp_path / f"errors{len(started)}").open("w+")
        command = [through, sys.executable, ROOT / "main.py", "--source", source, "--no-window"]
        command += ["--size", size, "--virtual-camera", camera, *arguments]
        process = session.popen(*command, stderr=errors)
        started.append(process)
        process.errors = lambda: Path(errors.name).read_text().splitlines()
        name = camera.partition(":")[2] or "Background blur"
        sending = f'sending {size} to the PipeWire camera "{name}"\n'
        assert process.stdout.readline() == sending, process.errors()
        return process

    yield start
    for process in started:
        process.terminate()  # so that it ends its helper, which might otherwise go on running
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def pipewire():
    """A `Session`; skips if its programs are missing, which in CI is a failure."""
    if lacking := missing():
        reason = f"no {lacking} here; to test with real cameras: sudo apt install {PACKAGES}"
        skip_or_fail(reason)
    session = Session()
    yield session
    session.stop()
