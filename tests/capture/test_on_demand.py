"""Pausing while no program reads the virtual camera: what is off, and what comes out afterwards."""

import contextlib
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import main
from background_blur.capture import on_demand as idle
from background_blur.capture.base import Source
from background_blur.capture.demo import Demo
from background_blur.capture.on_demand import (
    CHECK_INTERVAL,
    IDLE_AFTER,
    KEEP_ALIVE_INTERVAL,
    OnDemand,
)
from background_blur.errors import SourceError
from background_blur.frames import Frame
from background_blur.sinks.virtual_camera import VirtualCamera
from support.captures import detail

MAIN = Path(main.__file__)


class FakeSource(Source):
    """Live and endless: ten sharp frames per second of the fake clock."""

    live, fps, size = True, 10.0, (64, 48)

    def __init__(self, clock):
        self.clock, self.closed = clock, False

    def __iter__(self):
        start, rng = self.clock.now, np.random.default_rng(0)
        while not self.closed:
            self.clock.now += 0.1
            image = rng.integers(0, 256, (48, 64, 3), np.uint8)
            yield Frame(image, self.clock.now - start, captured_at=self.clock.now)

    def close(self):
        self.closed = True


class FakeCamera:
    """A virtual camera that is being read whenever `reader(time)` says so."""

    device = "/dev/video42"

    def __init__(self, clock, reader):
        self.clock, self.reader, self.repeated = clock, reader, []

    def has_consumers(self):
        return self.reader(self.clock.now)

    def repeat(self):
        self.repeated.append(self.clock.now)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)

    def sleep(seconds):
        clock.now += seconds

    monkeypatch.setattr(idle, "monotonic", lambda: clock.now)
    monkeypatch.setattr(idle, "sleep", sleep)
    return clock


def on_demand(clock, reader, reopen=None):
    opened = []

    def again():
        opened.append(FakeSource(clock))
        return opened[-1]

    first = FakeSource(clock)
    camera = FakeCamera(clock, reader)
    return OnDemand(first, reopen=reopen or again, camera=camera, wait=10), first, opened


def test_it_rests_and_wakes_covered_up(clock):
    back = 130.0
    source, first, opened = on_demand(clock, lambda now: now >= back)
    frames, moments = [], []
    for frame in source:
        frames.append(frame)
        moments.append((clock.now, source.is_idle))
        if clock.now > back + 1:
            break
    went = next(now for now, resting in moments if resting)
    assert went - 100 == pytest.approx(IDLE_AFTER, abs=CHECK_INTERVAL + 0.2)
    woke = next(now for now, _ in moments if now >= back)
    assert woke - back < 0.5
    assert first.closed and len(opened) == 1
    placeholders = [frame for frame, (_, resting) in zip(frames, moments, strict=True) if resting]
    assert len(placeholders) == 2
    assert max(detail(frame.image) for frame in placeholders) < 0.001 * detail(frames[0].image)
    times = [frame.time for frame in frames]
    assert times == sorted(times) and times[-1] == pytest.approx(clock.now - 100, abs=0.3)
    assert 0.5 < len(source.camera.repeated) / (back - went) / KEEP_ALIVE_INTERVAL <= 1
    assert source.idle_seconds == pytest.approx(woke - went, abs=0.3)


def test_the_seconds_of_a_rest_are_counted_when_it_is_over(clock):
    source, _, _ = on_demand(clock, lambda now: now >= 130)
    frames = iter(source)
    while not source.is_idle:
        assert source.idle_seconds == 0
        next(frames)
    clock.now += 7  # if the run ends now, its last frame came before the pause
    assert source.idle_seconds == 0


def test_it_says_so_once_and_is_else_like_its_source(clock):
    source, first, _ = on_demand(clock, lambda now: now >= 130)
    frames = iter(source)
    while not source.is_idle:
        assert source.problem is None
        next(frames)
    assert source.problem == "no program reads /dev/video42; paused until one does"
    next(frames)
    next(frames)
    assert source.problem is None
    assert (source.size, source.live, source.count) == (first.size, True, None)
    source.source.problem = "black"
    assert source.problem == "black"
    source.close()
    assert source.source.closed


@pytest.mark.parametrize("told", [True, None])
def test_it_never_rests_while_read_or_where_nobody_can_tell(clock, told):
    source, first, _ = on_demand(clock, lambda now: told)
    for _, _ in zip(range(1000), source, strict=False):
        assert not source.is_idle
    assert not first.closed


def test_a_reader_that_is_gone_for_a_moment_changes_nothing(clock):
    source, first, _ = on_demand(clock, lambda now: now % IDLE_AFTER < IDLE_AFTER / 2)
    for _ in zip(range(1000), source, strict=False):
        assert not first.closed


@pytest.mark.parametrize("free_after", [5, 60])
def test_a_camera_taken_meanwhile_is_tried_again_for_a_while(clock, free_after):
    def reopen():
        if clock.now < 130 + free_after:
            raise SourceError("camera 0 gives no picture")
        return FakeSource(clock)

    source, _, _ = on_demand(clock, lambda now: now >= 130, reopen)
    frames = iter(source)
    expectation = contextlib.nullcontext() if free_after < 10 else pytest.raises(SourceError)
    with expectation:
        while clock.now < 200:
            next(frames)
    assert clock.now < 145 or free_after < 10
    assert len([now for now in source.camera.repeated if now > 130]) > 10


@pytest.fixture
def program(fake, monkeypatch, capsys):
    """Sends a number of demo frames to a virtual camera; returns what was printed."""
    real = Demo.__iter__

    def run(*arguments, frames, has_consumers):
        monkeypatch.setattr(Demo, "__iter__", lambda self: islice(real(self), frames))
        monkeypatch.setattr(VirtualCamera, "has_consumers", has_consumers)
        size = ["--size", "320x180", "--virtual-camera", "--no-window"]
        assert main.main(["--source", "demo", *size, *arguments]) == 0
        return capsys.readouterr()

    return run


def test_a_rest_does_not_count_in_the_rate(program, monkeypatch):
    monkeypatch.setattr(OnDemand, "idle_seconds", -1e6)  # as if active for a million seconds
    assert ", 0.0 frames/s; " in program(frames=5, has_consumers=lambda camera: True).out


def test_with_an_output_open_it_does_not_rest(program, tmp_path):
    def has_consumers(camera):
        raise AssertionError("should not be called")

    out = tmp_path / "out.mp4"
    printed = program("--output", str(out), frames=40, has_consumers=has_consumers)
    assert printed.err == "" and out.exists()
