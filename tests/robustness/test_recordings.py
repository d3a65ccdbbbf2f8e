"""Recordings through the program itself: whatever breaks, what was written stays and plays."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from support import ROOT
from support.display import Display, wait_until
from support.program import MAIN, run, start, written
from support.videos import record_demo

fcntl = pytest.importorskip("fcntl", reason="terminals and signals of POSIX systems")
termios = pytest.importorskip("termios")

DEMO = ["--source", "demo", "--size", "160x90", "--threads", "1"]
PATIENCE = 60  # seconds


def decoded(path: Path) -> list[float]:
    """The times of the frames that can be decoded, in seconds."""
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return record_demo(tmp_path_factory.mktemp("clip") / "clip.mp4", 50)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory) -> Path:
    return record_demo(tmp_path_factory.mktemp("clip") / "long.mp4", 200)


@pytest.fixture
def damaged(clip, tmp_path) -> Path:
    path = tmp_path / "in" / "damaged.mkv"
    path.parent.mkdir()
    assert run("--source", clip, "--output", path, "--no-window").returncode == 0
    path.write_bytes(path.read_bytes()[:-2000])
    return path


# --- What is printed fails


def run_in_a_terminal(command, folder, environment, then):
    """Runs it in a terminal, calls `then(terminal)` once it records; returns its exit code."""
    terminal, end = os.openpty()
    process = subprocess.Popen(
        command,
        stdin=end,
        stdout=end,
        stderr=end,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(end)
    try:
        wait_until(lambda: written(folder) > 2000 or process.poll() is not None, "recording")
        then(terminal)
        return process.wait(PATIENCE)
    finally:
        process.kill()


@pytest.mark.parametrize("window", [False, True], ids=["no window", "window"])
def test_a_terminal_that_is_closed_costs_no_recording(request, tmp_path, window):
    out = tmp_path / "out.mp4"
    command = [sys.executable, MAIN, *DEMO, "--output", out]
    environment = request.getfixturevalue("display").environment if window else None
    code = run_in_a_terminal(command, tmp_path, environment, os.close)
    assert code == 128 + signal.SIGHUP
    assert os.listdir(tmp_path) == [out.name]
    assert len(decoded(out)) > 5


@pytest.mark.parametrize("first", ["terminal", "display"])
def test_a_logout_that_ends_terminal_and_display_costs_no_recording(display, tmp_path, first):
    own, out = Display(tmp_path), tmp_path / "out" / "out.mp4"
    out.parent.mkdir()

    def log_out(terminal):
        if first == "display":
            own.stop()
        os.close(terminal)
        own.stop()

    command = [sys.executable, MAIN, *DEMO, "--output", out]
    code = run_in_a_terminal(command, out.parent, own.environment, log_out)
    assert code in (1, 128 + signal.SIGHUP)
    assert os.listdir(out.parent) == [out.name]
    assert len(decoded(out)) > 5


def test_a_terminal_that_is_closed_under_the_bar_costs_nothing(clip, tmp_path):
    """SIGHUP is ignored, as under nohup: the run continues, and its bar has nowhere to go."""
    out = tmp_path / "out.mp4"
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, MAIN]
    command += ["--source", clip, "--output", out, "--size", "640x360"]
    code = run_in_a_terminal(command, tmp_path, None, os.close)
    assert code == 1  # its figures went nowhere
    assert len(decoded(out)) == 50


def shell(script: str, *arguments, **options) -> subprocess.CompletedProcess:
    program = ["bash", sys.executable, MAIN, "--no-window", *map(str, arguments)]
    command = ["bash", "-c", f"set -o pipefail; {script}", *program]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)


@pytest.mark.parametrize(
    "script",
    [
        '"$@" | true',
        '"$@" >/dev/full 2>&1',
        '"$@" >&- 2>&-',
    ],
)
def test_figures_that_cannot_be_printed_cost_no_finished_file(clip, tmp_path, script):
    out = tmp_path / "out.mp4"
    result = shell(script, "--source", clip, "--output", out)
    assert result.returncode in ((0,) if script.endswith("2>&-") else (1,))
    assert os.listdir(tmp_path) == ["out.mp4"]
    assert len(decoded(out)) == 50
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr
    assert len(result.stderr.splitlines()) <= 1


def test_a_damaged_source_whose_warning_cannot_be_printed_costs_no_finished_file(damaged, tmp_path):
    out = tmp_path / "out.mp4"
    result = shell('"$@" 2>/dev/full', "--source", damaged, "--output", out)
    assert result.returncode == 0
    assert result.stdout.split()[1] == "frames,"
    assert len(decoded(out)) == int(result.stdout.split()[0]) > 20


def test_ctrl_c_into_a_pipe_that_nobody_reads_any_more_costs_no_recording(tmp_path):
    out = tmp_path / "out.mp4"
    reader, writer = os.pipe()
    process = start(*DEMO, "--no-window", "--output", out, stdout=writer, stderr=writer)
    os.close(writer)
    wait_until(lambda: written(tmp_path) > 2000, "recording")
    os.close(reader)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert os.listdir(tmp_path) == ["out.mp4"]
    assert len(decoded(out)) > 5


def test_an_impatient_user_loses_nothing(tmp_path):
    out = tmp_path / "out.mp4"
    process = start(*DEMO, "--no-window", "--output", out)
    wait_until(lambda: written(tmp_path) > 20_000, "recording")
    for _ in range(9):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert errors == ""
    assert os.listdir(tmp_path) == ["out.mp4"]
    assert len(decoded(out)) > 5


# Runs the program; the file that it writes is never finished.
STUCK = """
import sys, threading
import main
from background_blur.sinks import unfinished

unfinished.GrowingFile.close = lambda self: threading.Event().wait()
sys.exit(main.main(sys.argv[1:]))
"""


def test_a_run_that_hangs_at_its_end_can_be_broken_off_and_loses_nothing(tmp_path):
    command = [sys.executable, "-c", STUCK, *DEMO, "--no-window", "--output", tmp_path / "out.mp4"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    wait_until(lambda: written(tmp_path) > 20_000, "recording")
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < PATIENCE:
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert process.wait(1) == 130
    assert time.monotonic() - began > 4
    words = b"background-blur: stopped; the next run will name what is left of a recording\n"
    assert process.stderr.read() == words
    (part,) = tmp_path.iterdir()
    assert part.name.endswith(".part.mp4")
    assert len(decoded(part)) > 5


# --- The disk is full


def limited(room: int):
    """Lets no file of the child grow beyond this many bytes, as on a full disk."""
    resource = pytest.importorskip("resource")
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))


def assert_kept(result, folder: Path, name: str) -> float:
    """Checks that one line says correctly how much of a recording is kept; returns the seconds."""
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    told = re.search(r"File too large.*; kept the first (\d+\.\d) s in (.+)$", line)
    assert told, line
    assert told[2] == str(folder / name)
    times = decoded(folder / name)
    assert float(told[1]) == pytest.approx(times[-1] - times[0] + 1 / 25, abs=0.06)
    return float(told[1])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_full_disk_keeps_what_was_written_and_says_how_much(long_clip, tmp_path, suffix):
    arguments = ["--source", long_clip, "--no-window", "--output", tmp_path / f"out{suffix}"]
    result = run(*arguments, preexec_fn=limited(40_000))
    seconds = assert_kept(result, tmp_path, f"out{suffix}")
    assert 0.5 < seconds < 7
    assert os.listdir(tmp_path) == [f"out{suffix}"]


def test_a_disk_that_is_full_just_when_the_file_is_completed(clip, tmp_path):
    """There is room for the pictures, but not for the index."""
    arguments = ["--source", clip, "--no-window", "--output"]
    assert run(*arguments, tmp_path / "all.mp4").returncode == 0
    size = (tmp_path / "all.mp4").stat().st_size
    (tmp_path / "out").mkdir()
    result = run(*arguments, tmp_path / "out" / "out.mp4", preexec_fn=limited(size - 1))
    assert assert_kept(result, tmp_path / "out", "out.mp4") > 1
    assert os.listdir(tmp_path / "out") == ["out.mp4"]


def test_a_full_disk_replaces_no_whole_file_by_half_a_one(long_clip, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"precious")
    arguments = ["--source", long_clip, "--no-window", "--force", "--output", tmp_path / "out.mp4"]
    assert_kept(run(*arguments, preexec_fn=limited(40_000)), tmp_path, "out_1.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"
    assert len(os.listdir(tmp_path)) == 2


# --- The program is killed, or the computer loses power

# Writes frames at 30 per second, printing each one's number once it is handed over.
WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from background_blur.sinks.video import VideoFile
from background_blur.frames import Frame

chance = np.random.default_rng(0)
with VideoFile(Path(sys.argv[1]), 30) as file:
    for index in range(100_000):
        file.write(Frame(chance.integers(0, 256, (90, 160, 3), np.uint8), index / 30))
        print(index, flush=True)
        time.sleep(0.002)
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_killed_run_loses_no_more_than_two_seconds(tmp_path, suffix):
    command = [sys.executable, "-c", WRITER, str(tmp_path / f"out{suffix}")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    written = next(int(line) for line in child.stdout if int(line) > 200)
    child.kill()
    written = max([written, *map(int, child.stdout)])
    child.wait(PATIENCE)
    (part,) = tmp_path.iterdir()
    times = decoded(part)
    assert times == pytest.approx([index / 30 for index in range(len(times))], abs=0.002)
    assert (written + 1) / 30 - 2 < len(times) / 30


def test_what_a_killed_run_left_plays_and_is_told_by_check_and_at_the_next_start(clip, tmp_path):
    process = start(*DEMO, "--no-window", "--output", tmp_path / "out.mp4")
    wait_until(lambda: written(tmp_path) > 10_000, "recording")
    process.kill()
    process.communicate(timeout=PATIENCE)
    (part,) = tmp_path.iterdir()
    assert len(decoded(part)) > 5
    check = ["--check", "--source", "demo", "--size", "64x48"]
    here, there = run(*check, cwd=tmp_path), run(*check, "--output", tmp_path / "x.mp4")
    for result, name in ((here, part.name), (there, str(part))):
        (line,) = [line for line in result.stdout.splitlines() if "recordings: " in line]
        assert line.startswith("note  ") and f" {name}: " in line and "rename it" in line
    (tmp_path / "empty.123abc.part.mp4").touch()
    os.utime(tmp_path / "empty.123abc.part.mp4", (0, 0))
    result = run("--source", clip, "--no-window", "--output", tmp_path / "next.mp4")
    assert result.returncode == 0
    told = "left by an interrupted run"
    assert result.stderr.splitlines() == [
        f"main.py: {part}: {told}; it plays: rename it to keep what is there",
        f"main.py: {tmp_path}/empty.123abc.part.mp4: {told}; no frame in it, delete it",
    ]
    assert part.exists()
    part.rename(tmp_path / "kept.mp4")  # what it says works
    again = run("--source", tmp_path / "kept.mp4", "--no-window")
    assert again.returncode == 0 and again.stderr == ""


def test_a_recording_that_goes_on_is_no_leftover(clip, tmp_path):
    process = start(*DEMO, "--no-window", "--output", tmp_path / "out.mp4")
    try:
        wait_until(lambda: written(tmp_path) > 2000, "recording")
        result = run("--source", clip, "--no-window", "--output", tmp_path / "next.mp4")
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert result.returncode == 0 and result.stderr == ""


def test_a_finished_recording_is_an_ordinary_file_with_one_index(clip, tmp_path):
    out = tmp_path / "out.mp4"
    assert run("--source", clip, "--no-window", "--output", out).returncode == 0
    data, at, kinds = out.read_bytes(), 0, []
    while at < len(data):
        kinds.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4])
    assert kinds.count(b"moov") == kinds.count(b"mdat") == 1 and b"moof" not in kinds
    with av.open(str(out)) as container:
        assert container.streams.video[0].frames == 50
        container.seek(1_500_000)
        assert next(container.decode(video=0)).time <= 1.5
