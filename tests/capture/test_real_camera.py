"""A camera that the system itself provides: PipeWire's, read through V4L2 as a webcam is.

Where a camera has gone, `libpw-v4l2` of PipeWire 0.3.65 (Debian 12) itself crashes now and then in
`VideoCapture.release()`: OpenCV unmaps its buffers, as V4L2 demands, and the library's munmap reads
`buffer->datas[0]` of a buffer that PipeWire has taken back already, through a null pointer. Such a
run says nothing about the program, and is done again.
"""

import json
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from background_blur.capture import open_source
from support import ROOT
from support.captures import detail, is_recognisable
from support.display import wait_until
from support.pipewire import PipeWireCamera

READER = ROOT / "tests" / "support" / "reader.py"
LOST = "camera 0 sends no frames; waiting for it to come back"
BLACK = "camera 0 gives only black frames; uncover its lens, or close the program that uses it"
COLOURS = np.array(  # BGR
    [[[30, 40, 200], [40, 180, 50]], [[200, 60, 40], [120, 120, 120]]], np.uint8
)


def colours(width: int, height: int) -> np.ndarray:
    """A picture with a colour in each quarter."""
    return cv2.resize(COLOURS, (width, height), interpolation=cv2.INTER_NEAREST)


@pytest.fixture(scope="module")
def demo() -> list[np.ndarray]:
    """Two seconds of the demo, 640x360."""
    source = open_source("demo", (640, 360), 15)
    source.unpace()
    return [frame.image for _, frame in zip(range(30), source, strict=False)]


@pytest.fixture
def camera(pipewire):
    """Plugs a `PipeWireCamera` in, as often as asked."""
    plugged = []

    def plug(pictures, *arguments, **options):
        plugged.append(PipeWireCamera(pipewire, pictures, *arguments, **options))
        return plugged[-1]

    yield plug
    for camera in plugged:
        camera.close()


@pytest.fixture
def children():
    """What a test started; killed at its end."""
    started: list[Reader | Program] = []
    yield started
    for child in started:
        child.process.kill()
        child.process.communicate()


@pytest.fixture
def reader(pipewire, children):
    """Starts `support/reader.py`."""

    def start(size="640x360", frames=0) -> Reader:
        command = ["pw-v4l2", sys.executable, READER, size, frames]
        children.append(Reader(pipewire.popen(*command)))
        return children[-1]

    return start


class Reader:
    def __init__(self, process):
        self.process = process

    def said(self) -> dict:
        line = self.process.stdout.readline()
        if not line and self.process.wait(10) == -signal.SIGSEGV:
            raise LibraryCrashed
        assert line, self.process.stderr.read()
        return json.loads(line)

    def wait_for_live(self) -> None:
        """Waits for its first two lines: the camera is open, and gives frames."""
        self.said()
        self.said()

    def end(self) -> dict:
        """The last thing it says."""
        while "seconds" not in (said := self.said()):
            pass
        return said


@pytest.fixture
def program(pipewire, children, tmp_path):
    """Starts `main.py` on the camera."""

    def start(*arguments) -> Program:
        errors = tmp_path / f"errors{len(children)}"
        command = ["pw-v4l2", sys.executable, ROOT / "main.py", "--no-window", *arguments]
        children.append(Program(pipewire.popen(*command, stderr=errors.open("w")), errors))
        return children[-1]

    return start


class Program:
    def __init__(self, process, errors: Path):
        self.process, self._errors = process, errors

    def errors(self) -> list[str]:
        if self.process.poll() == -signal.SIGSEGV:
            raise LibraryCrashed
        return [line.removeprefix("main.py: ") for line in self._errors.read_text().splitlines()]

    def stop(self) -> list[str]:
        """Ends it as Ctrl-C does; what it printed on stderr."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)
        assert self.process.returncode == 130, self.errors()
        return self.errors()


def images(path: Path) -> list[np.ndarray]:
    with open_source(str(path)) as source:
        return [frame.image for frame in source]


def is_written(folder: Path, least: int) -> bool:
    """Whether the output has grown to so many bytes, whatever its name while it is written."""
    return sum(path.stat().st_size for path in folder.iterdir()) >= least


class LibraryCrashed(Exception):
    """See this module's first lines."""


again = pytest.mark.flaky(reruns=4, only_rerun="LibraryCrashed")


# --- What it gives


@pytest.mark.parametrize("format", ["YUY2", "NV12", "MJPG", "GRAY8"])
def test_every_format_comes_in_its_colours(camera, reader, format):
    camera([colours(640, 360)], format=format)
    child = reader(frames=3)
    assert child.said() == {"size": [640, 360], "fps": 30, "warning": None}
    wanted = COLOURS.reshape(4, 3).astype(float)
    if format == "GRAY8":
        wanted[:] = (wanted @ [0.114, 0.587, 0.299])[:, None]
    assert np.abs(np.array(child.end()["quarters"]) - wanted).max() < 20  # JPEG's too


@pytest.mark.parametrize("width, height", [(640, 481), (1920, 1080)])
def test_every_size_comes_whole(camera, reader, width, height):
    camera([colours(width, height)], fps=15)
    child = reader(f"{width}x{height}", frames=5)
    assert child.said()["size"] == [width, height]


@pytest.mark.parametrize("fps", [5, 15, 60])
def test_every_rate_is_kept_up_with(camera, reader, fps):
    camera([colours(320, 240)], fps=fps)
    child = reader("320x240", frames=2 * fps)
    assert child.end()["seconds"] > 1.4  # no frame came twice


# --- The program


def is_blurred(image: np.ndarray, original: np.ndarray) -> bool:
    """Whether the demo's upper corners, the flag and the shuttle, have lost their detail."""
    high, wide = image.shape[0] // 3, image.shape[1] // 5
    corners = np.s_[:high, :wide], np.s_[:high, -wide:]
    return all(detail(image[it]) < 0.3 * detail(original[it]) for it in corners)


def test_from_the_first_frame_on_it_is_blurred(camera, program, demo, tmp_path):
    out = tmp_path / "out" / "out.mkv"
    out.parent.mkdir()
    camera(demo, fps=15)
    run = program("--size", "640x360", "--output", out)
    wait_until(lambda: run.errors() or is_written(out.parent, 100_000), "the recording to grow")
    assert run.stop() == []
    frames = images(out)
    assert len(frames) > 10
    assert all(is_blurred(image, demo[0]) for image in frames)
    face = np.s_[60:240, 240:400]
    assert sum(detail(image[face]) > 0.3 * detail(demo[0][face]) for image in frames) > 5


@again
def test_a_camera_gone_and_back_within_the_wait_is_live_again(camera, reader, demo):
    """OpenCV waited 10 s for a frame, just as long as `--wait`, and it was given up."""
    first, child = camera(demo), reader()
    child.wait_for_live()
    first.close()
    assert child.said()["problem"] == LOST
    camera(demo)
    assert child.said() == {"problem": None, "size": [640, 360]}


@pytest.mark.slow
@again
def test_a_camera_that_comes_back_with_another_size_goes_on_into_the_same_file(
    camera, program, demo, tmp_path
):
    out = tmp_path / "out" / "out.mkv"
    out.parent.mkdir(exist_ok=True)
    first = camera(demo, fps=15)
    run = program("--size", "640x360", "--output", out, "--force")
    wait_until(lambda: run.errors() or is_written(out.parent, 50_000), "the recording to grow")
    first.close()
    wait_until(lambda: LOST in run.errors(), "the loss to be noticed")
    before = sum(path.stat().st_size for path in out.parent.iterdir())
    camera([cv2.resize(image, (320, 240)) for image in demo], fps=15)
    wait_until(lambda: is_written(out.parent, before + 20_000), "the recording to go on")
    time.sleep(1)
    assert run.stop() == [LOST]
    frames = images(out)
    assert {image.shape for image in frames} == {(360, 640, 3)}
    shown = [is_recognisable(image) for image in frames]
    assert shown[0] and shown[-1] and not all(shown)  # covered up while it was away


def test_half_a_second_without_a_frame_is_no_loss(camera, reader, demo):
    shaky, child = camera(demo), reader(frames=60)
    child.wait_for_live()
    shaky.pictures = []
    time.sleep(0.4)
    shaky.pictures = demo
    assert child.said()["seconds"] > 0.4


@again
def test_a_camera_frozen_for_three_seconds_is_covered_up_and_goes_on(camera, reader, demo):
    frozen, child = camera(demo), reader()
    child.wait_for_live()
    frozen.pictures = []
    assert child.said()["problem"] == LOST
    time.sleep(2)
    frozen.pictures = demo
    assert child.said()["problem"] is None


def test_ctrl_c_while_the_camera_is_frozen_ends_it_at_once(camera, program, demo, tmp_path):
    out = tmp_path / "out.mkv"
    frozen = camera(demo, fps=15)
    run = program("--size", "640x360", "--output", out)
    wait_until(lambda: run.errors() or is_written(tmp_path, 50_000), "the recording to grow")
    time.sleep(1)
    frozen.pictures = []
    wait_until(lambda: LOST in run.errors(), "the silence to be noticed")
    assert run.stop() == [LOST]
    assert len(images(out)) > 5


def test_a_crash_of_the_cameras_library_leaves_a_part_that_plays(camera, program, demo, tmp_path):
    camera(demo, fps=15)
    run = program("--size", "640x360", "--output", tmp_path / "out.mp4")
    wait_until(lambda: run.errors() or is_written(tmp_path, 50_000), "the recording to grow")
    time.sleep(4)
    run.process.send_signal(signal.SIGSEGV)
    run.process.wait(10)
    (part,) = tmp_path.glob("*.part.mp4")
    assert len(images(part)) > 5


def test_a_black_camera_is_told_of(camera, program):
    black = camera([np.zeros((360, 640, 3), np.uint8)])
    run = program("--size", "640x360")
    wait_until(lambda: BLACK in run.errors(), "the black frames to be noticed")
    black.close()
    run.process.kill()


def test_another_program_on_the_same_camera_does_no_harm(camera, reader, demo, pipewire):
    camera(demo)
    child = reader(frames=90)
    child.wait_for_live()
    other = "pipewiresrc target-object=webcam num-buffers=10 ! videoconvert ! fakesink sync=false"
    assert pipewire.run("gst-launch-1.0", "-q", *other.split()).returncode == 0
    assert child.end()["seconds"] > 2


@pytest.mark.slow
def test_a_second_copy_on_the_same_camera_gives_up_in_one_line(camera, program, demo):
    """`libpw-v4l2` gives a camera to one program only, and says so by silence."""
    camera(demo)
    program("--size", "640x360")
    time.sleep(2)
    second = program("--size", "640x360")
    second.process.wait(60)
    assert second.process.returncode == 1 and len(second.errors()) == 1


def test_a_camera_with_an_odd_height_is_recorded(camera, program, tmp_path):
    camera([colours(640, 481)], fps=15)
    run = program("--size", "640x481", "--output", tmp_path / "out.mp4")
    wait_until(lambda: run.errors() or is_written(tmp_path, 1000), "the recording to begin")
    time.sleep(1)
    run.stop()
    assert len(images(tmp_path / "out.mp4")) > 2
