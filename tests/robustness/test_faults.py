"""Faults from outside: signals, full disks, clocks, displays and cameras that go away."""

import contextlib
import datetime
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

import main
from background_blur import capture
from background_blur.capture import open_source
from background_blur.capture.camera import Camera
from background_blur.errors import SinkError
from background_blur.frames import Frame
from background_blur.matting import engines
from background_blur.opening import TITLE
from background_blur.sinks.unfinished import GrowingFile
from background_blur.sinks.video import VideoFile
from background_blur.sinks.window import Window
from background_blur.system import PROGRAM
from support import ROOT
from support.captures import FakeCapture, Unplugged, is_recognisable, noise, threads
from support.display import Display, wait_until
from support.fuzz import open_cheap
from support.program import read, start, written

DEMO = ["--source", "demo", "--size", "160x90", "--no-window", "--threads", "1"]

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX systems")

# Runs the program again and again in one process, with a signal at a random moment of each run.
STOPPED_RUNS = """
import json, os, random, signal, sys, threading
import ai_edge_litert.interpreter, av, tqdm
import blur, main
from background_blur.matting import engines
from support.fuzz import open_cheap

engines.open_segmenter = open_cheap
chance, answers = random.Random(sys.argv[1]), []
for path in sys.argv[2].split(os.pathsep):
    number = chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    timer = threading.Timer(chance.expovariate(2), os.kill, [os.getpid(), number])
    timer.start()
    code = main.main([*sys.argv[3:], "--output", path])
    timer.join()
    handles = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
    answers.append([code - 128 - number, threading.active_count(), handles])
print(json.dumps(answers))
"""


@posix
def test_signals_at_any_moment_leave_a_playable_file_or_none(tmp_path):
    paths = [tmp_path / f"{index}.mp4" for index in range(10)]
    command = [sys.executable, "-c", STOPPED_RUNS, "1", os.pathsep.join(map(str, paths)), *DEMO]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    codes, alive, handles = zip(*json.loads(child.stdout.splitlines()[-1]), strict=True)
    assert set(codes) == {0}
    assert set(alive) == {1}
    assert handles[-1] <= handles[1]
    written = list(tmp_path.iterdir())
    assert set(written) <= set(paths)
    assert len(written) >= 3
    assert all(len(read(path)) for path in written)


@posix
def test_signals_while_it_starts_leave_nothing_and_no_traceback(tmp_path):
    children, chance = [], random.Random(2)
    for index in range(5):
        command = [sys.executable, "main.py", *DEMO, "--output", str(tmp_path / f"{index}.mp4")]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children.append(subprocess.Popen(command, cwd=ROOT, **pipes))
    for child in children:
        time.sleep(chance.uniform(0, 0.5))
        child.terminate()
    for child in children:
        errors = child.communicate(timeout=60)[1]
        assert child.returncode in (143, -15)
        assert errors == ""
    assert all(len(read(path)) for path in tmp_path.iterdir())


@posix
def test_a_signal_in_the_middle_of_writing_costs_nothing(tmp_path, monkeypatch, capsys):
    sent = []

    def interrupted(file, data):
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))
        return real(file, data)

    real = GrowingFile.write
    monkeypatch.setattr(GrowingFile, "write", interrupted)
    monkeypatch.setattr(engines, "open_segmenter", open_cheap)
    out = tmp_path / "out.mp4"
    assert main.main([*DEMO, "--output", str(out)]) == 143
    assert len(read(out)) == int(capsys.readouterr().out.split()[0]) > 0
    assert list(tmp_path.iterdir()) == [out]


@posix
def test_more_signals_while_the_file_is_finished_cost_nothing(tmp_path, monkeypatch):
    def interrupted(file):
        os.kill(os.getpid(), signal.SIGHUP)
        real(file)

    real = VideoFile.finish
    monkeypatch.setattr(VideoFile, "finish", interrupted)
    monkeypatch.setattr(engines, "open_segmenter", open_cheap)
    timer = threading.Timer(0.7, os.kill, [os.getpid(), signal.SIGTERM])
    timer.start()
    assert main.main([*DEMO, "--output", str(tmp_path / "out.mp4")]) == 143
    assert len(read(tmp_path / "out.mp4")) > 0


@posix
def test_without_stdout_and_stderr_it_works_as_ever(tmp_path):
    cv2.imwrite(str(tmp_path / "in.png"), noise())
    arguments = ["--source", tmp_path / "in.png", "--output", tmp_path / "out.png", "--no-window"]
    command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "main.py", *arguments]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == 0
    assert read(tmp_path / "out.png")[0].shape == noise().shape


# --- Disks


@contextlib.contextmanager
def little_room(room=20_000):
    """Lets no file grow beyond this many bytes meanwhile, as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
@pytest.mark.parametrize("room, kept", [(200, False), (150_000, True)])
def test_a_full_disk_is_told_at_once_and_nothing_broken_stays(tmp_path, suffix, room, kept):
    path = tmp_path / f"out{suffix}"
    file = VideoFile(path, 30)
    rng = np.random.default_rng(0)
    with little_room(room), pytest.raises(SinkError, match="File too large") as caught, file:
        for index in range(200):
            file.write(Frame(rng.integers(0, 256, (96, 128, 3), np.uint8), index / 30))
        pytest.fail("nobody noticed")
    file.close()
    assert list(tmp_path.iterdir()) == [path] * kept
    assert ("kept the first" in str(caught.value)) == kept
    assert not kept or len(read(path)) > 5


def test_a_full_disk_is_one_line_and_keeps_the_pictures_that_went_before(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), np.zeros((32, 32, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "in" / "b.bmp"), noise(200, 200))
    arguments = ["--source", tmp_path / "in", "--output", tmp_path / "out", "--no-window"]
    with little_room():
        code = main.main(list(map(str, arguments)))
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert code == 1
    assert "b.bmp: cannot be written: File too large" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_a_folder_that_goes_away_is_told(tmp_path):
    (tmp_path / "out").mkdir()
    file = VideoFile(tmp_path / "out" / "a.mp4", 30)
    file.write(Frame(noise(), 0.0))
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(SinkError, match="a.mp4: cannot be written: No such file"):
        file.close()
    assert not list(tmp_path.iterdir())


def test_a_second_copy_into_the_same_file_costs_neither_its_frames(tmp_path):
    path = tmp_path / "out.mp4"
    first, second, third = VideoFile(path, 30), VideoFile(path, 30), VideoFile(path, 30, force=True)
    for count, file in enumerate((first, second, third), 1):
        for index in range(count):
            file.write(Frame(noise(), index / 30))
    first.close()
    with pytest.raises(SinkError, match="exists, so it was saved as .*out_1.mp4"):
        second.close()
    assert [len(read(path.with_name(name))) for name in ("out.mp4", "out_1.mp4")] == [1, 2]
    third.close()
    assert len(read(path)) == 3
    assert len(list(tmp_path.iterdir())) == 2


# --- Clocks


def test_a_wall_clock_that_leaps_changes_nothing(run_with, tmp_path, monkeypatch, capsys):
    chance, out = random.Random(0), tmp_path / "out.mkv"

    class Leaping(datetime.datetime):
        @classmethod
        def now(cls, zone=None):
            return cls.fromtimestamp(chance.uniform(0, 4e9), zone)

    monkeypatch.setattr(datetime, "datetime", Leaping)
    monkeypatch.setattr(time, "time", lambda: chance.uniform(0, 4e9))
    began = time.monotonic()
    assert run_with(FakeCapture([noise()] * 30, pause=0.02), "--output", out, "--wait", "0") == 1
    seconds = time.monotonic() - began
    rate = float(re.search(r", (\S+) frames/s", capsys.readouterr().out)[1])
    with open_source(str(out)) as video:
        times = [frame.time for frame in video]
    assert len(times) > 3
    assert times == sorted(times) and times[-1] < seconds
    assert rate >= len(times) / seconds


# --- Displays


def test_a_display_that_goes_away_is_one_line_and_the_file_is_kept(display, tmp_path):
    own, out = Display(tmp_path), tmp_path / "out.mp4"
    child = start(*[it for it in DEMO if it != "--no-window"], "--output", out, env=own.environment)
    try:
        shown = lambda: own.is_shown(TITLE) and written(tmp_path)  # noqa: E731
        wait_until(lambda: child.poll() is not None or shown(), "the window and a recording")
    finally:
        own.stop()
    errors = child.communicate(timeout=30)[1]
    assert child.returncode == 1
    assert errors == "main.py: the display is gone; what was written is kept\n"
    assert not list(tmp_path.glob("*.part.*"))
    assert len(read(out)) > 1


def test_a_display_that_goes_away_before_the_window_opens_is_one_line(display, monkeypatch):
    monkeypatch.setenv("DISPLAY", display.name)
    window = Window("never shown")
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(SinkError, match="no display"):
        window.write(Frame(noise(), 0.0))


# --- A camera, in the whole program


@pytest.fixture
def run_with(monkeypatch):
    """Runs the program with a scripted camera, and a network that costs nothing."""
    monkeypatch.setattr(engines, "open_segmenter", open_cheap)
    monkeypatch.setattr("background_blur.capture.camera.STALE_AFTER", 0.3)

    def run(captures, *arguments) -> int:
        def camera(text, size, fps, wait, **_):
            return Camera(0, size, fps, open=captures, wait=wait)

        monkeypatch.setattr(capture, "open_source", camera)
        return main.main(["--no-window", "--threads", "1", *map(str, arguments)])

    return run


def test_the_recording_of_a_camera_that_went_away_is_kept(run_with, tmp_path, capsys):
    before, out = threads(), tmp_path / "out.mp4"
    captures = Unplugged(FakeCapture([noise(96, 128)] * 30, pause=0.03))
    assert run_with(captures, "--output", out, "--wait", "1.5") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{PROGRAM}: camera 0 sends no frames; waiting for it to come back"
    assert lines[-1].startswith(f"{PROGRAM}: camera 0 stopped sending frames")
    assert threads() <= before
    assert list(tmp_path.iterdir()) == [out]
    images = read(out)
    assert len(images) >= 3
    assert not is_recognisable(images[-1])


def test_what_the_camera_sends_after_its_return_is_recorded(run_with, tmp_path, capsys):
    out = tmp_path / "out.mp4"
    sizes = (96, 128), (64, 64)
    scripts = [FakeCapture([noise(*size)] * 40, pause=0.03) for size in sizes]
    captures = Unplugged(scripts[0], FakeCapture(opens=False), scripts[1])
    assert run_with(captures, "--output", out, "--wait", "2") == 1
    assert len(captures.opened) > 3
    assert capsys.readouterr().err.count("camera 0 sends no frames") == 2
    assert all(image.shape == (96, 128, 3) for image in read(out))
