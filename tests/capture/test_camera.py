"""What a camera delivers, whatever its driver does."""

import itertools
import os
import sys
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from background_blur.capture.camera import Camera
from background_blur.errors import SourceError
from support.captures import (
    FakeCapture,
    StepCapture,
    Unplugged,
    is_recognisable,
    noise,
    numbered,
    picture,
    threads,
)


@pytest.fixture
def stepped():
    """Makes a Camera that has its first frame, and the capture that drives it."""
    made = []

    def make(script):
        capture = StepCapture(script)
        made.append((Camera(0, open=capture), capture))
        for _ in range(2):  # it has read the first frame and waits for the second
            capture.waits.acquire(timeout=5)
        return made[0]

    yield make
    for camera, capture in made:
        capture.steps.release(100)
        camera.close()


def test_the_camera_is_asked_for_its_mode(tmp_path):
    capture = FakeCapture(after=picture(1280, 720))
    with Camera(3, open=capture) as camera:
        assert (camera.size, camera.fps, camera.live) == ((1280, 720), 30, True)
    assert capture.number == 3
    assert capture.released
    assert list(capture.asked.values()) == [cv2.VideoWriter.fourcc(*"MJPG"), 1280, 720, 30]


def test_what_the_camera_really_gives_is_told():
    capture = FakeCapture(after=picture(64, 48), keeps={cv2.CAP_PROP_FPS: 15.0})
    with Camera(0, (640, 360), open=capture) as camera:
        assert (camera.size, camera.fps) == ((64, 48), 15)
        assert camera.warning == "camera 0 gives 64x48, not the 640x360 asked for"
    assert cv2.CAP_PROP_FOURCC not in capture.asked


def test_a_camera_survives_lost_frames_and_changes_of_size(stepped):
    camera, capture = stepped([picture(), None, None, picture(32, 24), None, picture(20, 10)])
    assert camera.size == (64, 48)
    frames = iter(camera)
    sizes = [next(frames).image.shape[1::-1]]
    for count in (3, 2):
        capture.play(count)
        sizes.append(next(frames).image.shape[1::-1])
    assert sizes == [(64, 48), (32, 24), (20, 10)]
    assert camera.dropped == 0


def test_the_newest_frame_wins_and_the_rest_is_counted(stepped):
    camera, capture = stepped(numbered(30))
    frames = iter(camera)
    assert next(frames).image[0, 0, 0] == 0
    capture.play(10)
    assert next(frames).image[0, 0, 0] == 10
    assert camera.dropped == 9
    capture.play(1)
    assert next(frames).image[0, 0, 0] == 11
    capture.play(3)
    assert next(frames).image[0, 0, 0] == 14
    assert camera.dropped == 11


def test_frames_that_came_before_the_taker_was_ready_are_not_counted(stepped):
    camera, capture = stepped(numbered(30))
    capture.play(5)
    assert next(iter(camera)).image[0, 0, 0] == 5
    assert camera.dropped == 0


def test_a_camera_is_thinned_to_the_rate_asked():
    with Camera(0, fps=10, open=FakeCapture(after=picture(), pause=0.01)) as camera:
        times = [frame.time for frame in itertools.islice(camera, 5)]
    assert times[-1] - times[0] > 0.3


@pytest.fixture
def impatient(monkeypatch):
    """Makes cameras count as lost sooner."""
    monkeypatch.setattr("background_blur.capture.camera.STALE_AFTER", 0.15)
    monkeypatch.setattr("background_blur.capture.camera.REOPEN_TIMEOUT", (0.3, 0.1, 0.5))


def test_a_camera_that_never_comes_back_is_given_up(impatient):
    captures = Unplugged(FakeCapture([noise()] * 3))
    camera, began, frames = Camera(0, open=captures, wait=1.0), time.monotonic(), []
    with camera, pytest.raises(SourceError, match="camera 0 stopped sending frames"):
        for frame in camera:
            frames.append(frame)
            assert time.monotonic() - began < 20
    assert all(capture.released for capture in captures.opened)
    assert 2 < len(captures.opened) < 15  # again and again, but with pauses
    shown = [is_recognisable(frame.image) for frame in frames]
    assert shown[0] and shown == sorted(shown, reverse=True) and shown.count(False) >= 3
    times = [frame.time for frame in frames]
    assert times == sorted(times) and times[-1] > 0.3


def test_a_camera_plugged_in_again_goes_on_in_another_size_too(impatient):
    absent, broken = FakeCapture(opens=False), FakeCapture(after=None)
    captures = Unplugged(
        FakeCapture([noise()] * 3), absent, broken, FakeCapture(after=noise(30, 40))
    )
    troubles, times = [], []
    with Camera(0, open=captures, wait=20) as camera:
        for frame in camera:
            troubles.append(camera.problem)
            times.append(frame.time)
            if len(captures.opened) == 4 and is_recognisable(frame.image):
                break
            assert time.monotonic() - camera._began < 20
        assert frame.image.shape == (30, 40, 3)
        time.sleep(0.1)
        assert next(iter(camera)).image.shape == (30, 40, 3)
        assert camera.problem is None
    assert "camera 0 sends no frames; waiting" in "".join(filter(None, troubles))
    assert times == sorted(times)
    assert all(capture.released for capture in captures.opened)


@pytest.fixture
def sleepy(monkeypatch):
    """Puts the computer to sleep: the camera's clock leaps by that many seconds."""
    slept = []
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(slept), sleep=time.sleep)
    monkeypatch.setattr("background_blur.capture.camera.time", clock)
    return slept.append


@pytest.mark.slow
def test_a_camera_that_wakes_up_late_is_waited_for(impatient, sleepy):
    absent = [FakeCapture(opens=False)] * 3
    captures = Unplugged(FakeCapture([noise()]), *absent, FakeCapture(after=noise(30, 40)))
    camera, times, placeholders = Camera(0, open=captures, wait=20), [], 0
    with camera:
        for frame in camera:
            if not times:
                sleepy(8 * 3600)
            times.append(frame.time)
            if frame.image.shape == (30, 40, 3):
                break
            placeholders += not is_recognisable(frame.image)
    assert placeholders == len(times) - 2 > 0
    assert camera.problem is None
    assert times == sorted(times)


def test_a_slow_rate_is_no_silence(monkeypatch):
    monkeypatch.setattr("background_blur.capture.camera.STALE_AFTER", 0.1)
    with Camera(0, fps=5, open=FakeCapture(after=noise(), pause=0.01)) as camera:
        for frame in itertools.islice(camera, 4):
            assert is_recognisable(frame.image)


def test_a_driver_that_hangs_is_covered_up_and_given_up(impatient):
    gate = threading.Event()

    class Hangs(FakeCapture):
        def read(self):
            image = next(self.script, None)
            if image is None:
                gate.wait(20)
            return image is not None, image

    camera, shown = Camera(0, open=Hangs([noise()]), wait=0.6), []
    with pytest.raises(SourceError, match="stopped sending frames"):
        for frame in camera:
            shown.append(is_recognisable(frame.image))
    assert shown[0] and not any(shown[1:]) and len(shown) > 1
    gate.set()
    camera.close()


def test_closing_while_a_camera_is_away_takes_no_time(impatient):
    before, captures = threads(), Unplugged(FakeCapture([noise()]))
    camera = Camera(0, open=captures, wait=60)
    while len(captures.opened) < 4:
        next(iter(camera))
    asked = time.monotonic()
    camera.close()
    assert time.monotonic() - asked < 1.5
    assert threads() <= before


def broken_reads():
    def raises():
        raise RuntimeError("the driver is on fire")

    yield from (raises, lambda: None, lambda: np.zeros((0, 0, 3), np.uint8))
    yield from (lambda: noise().astype(np.float32), lambda: noise()[..., :2], lambda: noise()[0, 0])
    yield from (lambda: "not an array", lambda: noise()[..., 0], lambda: np.dstack([noise()] * 2))


@pytest.mark.slow
def test_whatever_a_driver_gives_only_pictures_come_out(impatient):
    class Random(FakeCapture):
        def read(self):
            time.sleep(0.001)
            read = next(self.script)
            return True, read() if callable(read) else read

    script = itertools.cycle([noise(), *broken_reads(), noise(30, 40)])
    with Camera(0, open=Random(script)) as camera:
        for frame in itertools.islice(camera, 100):
            assert frame.image.dtype == np.uint8
            assert frame.image.shape in {(48, 64, 3), (30, 40, 3)}
            assert frame.image.flags.c_contiguous


def test_black_frames_are_told_while_they_last(monkeypatch):
    monkeypatch.setattr("background_blur.capture.camera.BLACK_SECONDS", 0.2)
    black = np.full((48, 64, 3), 4, np.uint8)
    capture = FakeCapture(after=black)
    with Camera(0, open=capture) as camera:
        frames = (camera.problem for _ in camera)
        assert next(trouble for trouble in frames if trouble) == (
            "camera 0 gives only black frames; uncover its lens, or close the program that uses it"
        )
        capture.after = noise()
        assert next(not trouble for trouble in frames if not trouble)


def camera_complaint(capture, number=0, limit=0.2) -> str:
    before = threads()
    with pytest.raises(SourceError) as caught:
        Camera(number, open=capture, limit=limit)
    assert threads() <= before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """A stand-in for /dev, on a Linux."""
    monkeypatch.setattr("background_blur.capture.camera.DEVICES", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path


@pytest.mark.parametrize("opens", [True, False])
def test_a_busy_camera_is_told_of(devices, opens):
    (devices / "video0").touch()
    capture = FakeCapture(opens=opens)
    assert "another program is using it" in camera_complaint(capture)
    assert capture.released


def test_an_absent_camera_names_those_there_are(devices):
    for number in (10, 2, 0):
        (devices / f"video{number}").touch()
    assert camera_complaint(FakeCapture(opens=False), 7).endswith("0, 2, 10")


def test_no_camera_at_all_points_to_the_demo(devices):
    line = camera_complaint(FakeCapture(opens=False))
    assert "no camera found" in line
    assert "--source demo" in line


def test_a_camera_without_permission_says_how_to_get_it(devices, monkeypatch):
    (devices / "video0").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "usermod -aG video" in camera_complaint(FakeCapture(opens=False))


@pytest.mark.slow
def test_a_camera_that_never_answers_is_given_up(devices):
    (devices / "video0").touch()
    gate = threading.Event()
    capture = FakeCapture(after=picture())

    def hang(number):
        gate.wait(10)
        return capture

    asked = time.monotonic()
    with pytest.raises(SourceError, match="camera 0 gives no picture"):
        Camera(0, open=hang, limit=0.2)
    assert time.monotonic() - asked < 5
    gate.set()  # if it answers after all, it is released
    for _ in range(100):
        time.sleep(0.02)
        if capture.released:
            break
    assert capture.released


def test_any_error_of_a_camera_comes_out_where_the_frames_are_taken():
    class Broken(FakeCapture):
        def isOpened(self):
            raise RuntimeError("the driver is on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        Camera(0, open=Broken())
