"""Endurance: `make soak`, 20 minutes unless MINUTES says otherwise. Not part of `make test`."""

import os
import statistics
import time
from itertools import islice
from pathlib import Path

import pytest

import main
from background_blur.capture.camera import Camera
from background_blur.capture.demo import Demo
from background_blur.matting.engines import open_segmenter
from background_blur.matting.quality import LEVELS
from background_blur.pipeline import BackgroundBlur
from background_blur.settings import Settings
from background_blur.sinks.video import VideoFile
from background_blur.statistics import RunStatistics
from support.captures import FakeCapture, noise

MINUTES = float(os.environ.get("MINUTES", 20))
SLICES = 20  # of the time; the first quarter of them is the warm-up

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="reads Linux's /proc"),
    pytest.mark.timeout(0),
]


def memory(process="self") -> int:
    """Bytes of a process, by its number, that are not backed by a file."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def held() -> dict[str, int]:
    """Counts everything this process holds that can leak."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {
        "threads": len(os.listdir("/proc/self/task")),  # those of C libraries, too
        "handles": len(os.listdir("/proc/self/fd")),
        "shared memory": sum(line.split()[1].endswith("s") for line in maps),
    }


def test_the_last_minutes_are_as_good_as_the_first(tmp_path):
    """Neither memory nor ms per frame grow, with the real network, into a real file."""
    blur, totals = BackgroundBlur(open_segmenter(), Settings()), RunStatistics()
    source = iter(Demo((640, 360), paced=False))
    memories, paces, count = [], [], 0
    # Not .mp4: its index, some 70 bytes per frame, stays in memory until the file ends.
    with VideoFile(tmp_path / "soak.mkv", 30) as file:
        for _ in range(SLICES):
            end, durations = time.monotonic() + 60 * MINUTES / SLICES, []
            while time.monotonic() < end:
                frame = next(source)
                began = time.thread_time()
                result = blur(frame, LEVELS[1])  # masks propagated, however busy the machine
                durations.append(time.thread_time() - began)
                file.write(result)
                totals.record(result)
                count += 1
            memories.append(memory())
            paces.append(1000 * statistics.fmean(durations))
            print(f"{count} frames, {paces[-1]:.2f} ms, {memories[-1] / 2**20:.1f} MiB")
            if len(memories) == SLICES // 4:
                held_then = held()
        assert held() == held_then
    warm = SLICES // 4
    assert max(memories[-3:]) < 1.01 * max(memories[warm : warm + 3])
    first, last = (statistics.median(part) for part in (paces[warm : warm + 5], paces[-5:]))
    assert last < 1.1 * first  # of processor time, so that other programs do not count
    assert totals.failed == 0
    assert totals.masks["propagated"] > count / 3


def test_starting_and_stopping_200_times(tmp_path, monkeypatch):
    """The whole program and a camera, started anew each time."""
    real, counts = Demo.__iter__, []
    monkeypatch.setattr(Demo, "__iter__", lambda self: islice(real(self), 3))
    arguments = ["--source", "demo", "--size", "64x48", "--no-window", "--threads", "1"]
    for index in range(200):
        out = tmp_path / "out.mp4"
        assert main.main([*arguments, "--output", str(out), "--force"]) == 0
        with Camera(0, open=FakeCapture(after=noise())) as camera:
            next(iter(camera))
        if index in (49, 199):
            counts.append((held(), memory()))
    (held_then, memory_then), (held_now, memory_now) = counts
    # The threads of C libraries end a little late; a leak would have added 150 by now.
    assert all(held_now[what] <= held_then[what] + 2 for what in held_then)
    assert memory_now < 1.05 * memory_then
