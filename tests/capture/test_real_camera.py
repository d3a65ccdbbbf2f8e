"""A camera provided by the system: PipeWire's, read through V4L2 like a webcam.

When a camera has gone away, `libpw-v4l2` of PipeWire 0.3.65 (Debian 12) occasionally crashes in
`VideoCapture.release()`: OpenCV unmaps its buffers, as V4L2 requires, and the library's munmap
reads `buffer->datas[0]` of a buffer that PipeWire has already taken back, through a null pointer.
Such a run says nothing about the program and is repeated.
"""

import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from background_blur.capture.demo import Demo
from support import ROOT
from support.captures import COLOURS, colours, is_blurred, is_recognisable, is_sharp
from support.display import wait_until
from support.pipewire import PipeWireCamera
from support.program import read, written

LOST = "camera 0 sends no frames; waiting for it to come back"
BLACK = "camera 0 gives only black frames; uncover its lens, or close the program that uses it"


class LibraryCrashed(Exception):
    """See the module's docstring."""


again = pytest.mark.flaky(reruns=4, only_rerun="LibraryCrashed")


@pytest.fixture(scope="module")
def demo() -> list[np.ndarray]:
    """Two seconds of the demo, 640x360."""
    return [Demo((640, 360), 15, paced=False).picture(index) for index in range(30)]


@pytest.fixture
def camera(pipewire):
    """Plugs in a `PipeWireCamera` each time it is called."""
    plugged = []

    def plug(pictures, **options):
        plugged.append(PipeWireCamera(pipewire, pictures, fps=15, **options))
        return plugged[-1]

    yield plug
    for camera in plugged:
        camera.close()


class Program:
    """`main.py` on the camera, recording."""

    def __init__(self, session, folder: Path, *arguments):
        self.out, self._errors = folder / "out.mkv", folder / "errors"
        command = ["pw-v4l2", sys.executable, ROOT / "main.py", "--no-window", "--output", self.out]
        self.process = session.popen(*command, *arguments, stderr=self._errors.open("w"))

    def errors(self) -> list[str]:
        if self.process.poll() == -signal.SIGSEGV:
            raise LibraryCrashed
        return [line.removeprefix("main.py: ") for line in self._errors.read_text().splitlines()]

    def wait_for(self, least: int) -> None:
        wait_until(
            lambda: self.errors() or written(self.out.parent) >= least, "the recording to grow"
        )

    def stop(self) -> list[str]:
        """Ends it as Ctrl-C does; returns what it printed on stderr."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)
        assert self.process.returncode == 130, self.errors()
        return self.errors()


@pytest.fixture
def program(pipewire, tmp_path):
    """Starts the program, each time in a folder of its own, and ends it after the test."""
    started = []

    def start(*arguments, size="640x360") -> Program:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Program(pipewire, folder, "--size", size, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize("format", ["YUY2", "NV12", "MJPG", "GRAY8"])
def test_every_format_comes_in_its_colours(camera, program, format):
    camera([colours(640, 360)], format=format)
    run = program("--strength", "0")
    run.wait_for(2000)
    assert run.stop() == []
    image = read(run.out)[-1]
    means = [part.mean((0, 1)) for half in np.split(image, 2) for part in np.split(half, 2, 1)]
    wanted = COLOURS.reshape(4, 3).astype(float)
    if format == "GRAY8":
        wanted[:] = (wanted @ [0.114, 0.587, 0.299])[:, None]
    assert np.abs(np.array(means) - wanted).max() < 20  # also for JPEG


def test_an_odd_size_comes_whole(camera, program):
    camera([colours(640, 481)])
    run = program("--view", "alpha", size="640x481")
    run.wait_for(1000)
    (line,) = run.stop()
    assert "640x481 became 640x482" in line


def test_from_the_first_frame_on_it_is_blurred(camera, program, demo):
    camera(demo)
    run = program()
    run.wait_for(100_000)
    assert run.stop() == []
    frames = read(run.out)
    assert len(frames) > 10
    assert all(is_blurred(image, demo[0]) for image in frames)
    assert sum(is_sharp(image, demo[0]) for image in frames) > 5


@pytest.mark.slow
@again
def test_a_camera_that_comes_back_with_another_size_goes_on_into_the_same_file(
    camera, program, demo
):
    """OpenCV used to wait 10 s for a frame, as long as `--wait`, so the camera was given up."""
    first = camera(demo)
    run = program()
    run.wait_for(50_000)
    first.close()
    wait_until(lambda: LOST in run.errors(), "the loss to be noticed")
    before = written(run.out.parent)
    camera([cv2.resize(image, (320, 240)) for image in demo])
    wait_until(lambda: written(run.out.parent) > before + 20_000, "the recording to go on")
    time.sleep(1)
    assert run.stop() == [LOST]
    frames = read(run.out)
    assert {image.shape for image in frames} == {(360, 640, 3)}
    shown = [is_recognisable(image) for image in frames]
    assert shown[0] and shown[-1] and not all(shown)  # blurred while it was away


def test_ctrl_c_while_the_camera_is_frozen_ends_it_at_once(camera, program, demo):
    frozen = camera(demo)
    run = program()
    run.wait_for(50_000)
    frozen.pictures = []
    wait_until(lambda: LOST in run.errors(), "the silence to be noticed")
    assert run.stop() == [LOST]
    assert len(read(run.out)) > 5


def test_a_black_camera_is_told_of(camera, program):
    camera([np.zeros((360, 640, 3), np.uint8)])
    run = program()
    wait_until(lambda: BLACK in run.errors(), "the black frames to be noticed")
