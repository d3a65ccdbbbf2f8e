"""Endurance: `make soak`, 20 minutes unless MINUTES says otherwise. Not part of `make test`."""

import os
import statistics
import threading
import time
from itertools import islice
from pathlib import Path

import pytest

import main
from camera import Camera
from captures import FakeCapture, noise
from line import Line, Settings
from segment import open_segmenter
from sink import VideoFile
from source import Demo, Frame

MINUTES = float(os.environ.get("MINUTES", 20))
SLICES = 20  # of the time; the first quarter of them is the warm-up

pytestmark = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="reads Linux's /proc")


def memory() -> int:
    """Bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def handles() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_last_minutes_are_as_good_as_the_first(tmp_path):
    """Neither memory nor ms a frame grow, with the real network, into a real file."""
    line = Line(open_segmenter(), Settings())
    source = iter(Demo((640, 360), paced=False))
    memories, paces, count = [], [], 0
    with VideoFile(tmp_path / "soak.mp4", 30) as file:
        for _ in range(SLICES):
            end, durations = time.monotonic() + 60 * MINUTES / SLICES, []
            while time.monotonic() < end:
                frame = next(source)
                began = time.thread_time()
                image = line(frame.image)
                durations.append(time.thread_time() - began)
                file.write(Frame(image, count / 30))
                count += 1
            memories.append(memory())
            paces.append(1000 * statistics.median(durations))
            print(f"{count} frames, {paces[-1]:.2f} ms, {memories[-1] / 2**20:.1f} MiB")
            if len(memories) == SLICES // 4:
                handles_then, threads_then = handles(), threading.active_count()
        assert handles() == handles_then
        assert threading.active_count() == threads_then
    warm = SLICES // 4
    assert max(memories[-3:]) < 1.01 * max(memories[warm : warm + 3])
    first, last = (statistics.median(part) for part in (paces[warm : warm + 5], paces[-5:]))
    assert last < 1.1 * first  # of processor time, so that other programs do not count
    assert line.hidden_frames == 0


def test_starting_and_stopping_200_times(tmp_path, monkeypatch):
    """The whole program, and a camera, each time anew."""
    real, counts = Demo.__iter__, []
    monkeypatch.setattr(Demo, "__iter__", lambda self: islice(real(self), 3))
    arguments = ["--source", "demo", "--size", "64x48", "--no-window", "--threads", "1"]
    for index in range(200):
        out = tmp_path / "out.mp4"
        assert main.main([*arguments, "--output", str(out), "--force"]) == 0
        with Camera(0, open=FakeCapture(after=noise())) as camera:
            next(iter(camera))
        if index in (49, 199):
            counts.append((handles(), threading.active_count(), memory()))
    (handles_then, threads_then, memory_then), (handles_now, threads_now, memory_now) = counts
    assert (handles_now, threads_now) == (handles_then, threads_then)
    assert memory_now < 1.05 * memory_then
