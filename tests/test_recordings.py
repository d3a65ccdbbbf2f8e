"""Recordings through the program itself: whatever breaks, what was written stays and plays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from support import ROOT
from support.display import display, wait_until  # noqa: F401

fcntl = pytest.importorskip("fcntl", reason="terminals and signals of POSIX systems")
termios = pytest.importorskip("termios")

MAIN = [sys.executable, str(ROOT / "main.py")]
DEMO = ["--source", "demo", "--size", "160x90", "--threads", "1"]
PATIENCE = 60  # seconds


def headless() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}


def decoded(path: Path) -> list[float]:
    """The times of the frames that can be decoded, in seconds."""
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def has_grown(folder: Path, size=2000) -> bool:
    """Whether frames have surely been written: encoders hold the first ones back."""
    return any(path.stat().st_size > size for path in folder.glob("*.part.*"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Two seconds of the demo as a file."""
    from background_blur.capture import open_source
    from background_blur.sinks.video import VideoFile

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    source = open_source("demo", (160, 90), 25)
    source.live = False
    with VideoFile(path, 25) as file:
        for _, frame in zip(range(50), source, strict=False):
            file.write(frame)
    return path


@pytest.fixture
def damaged(clip, tmp_path) -> Path:
    path = tmp_path / "in" / "damaged.mkv"
    path.parent.mkdir()
    command = [*MAIN, "--source", clip, "--output", path, "--no-window"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes()[:-2000])
    return path


# --- What is printed fails


def run_in_a_terminal(command, folder, environment, then):
    """Starts it in a terminal of its own, calls `then(terminal)` once it records; its exit code."""
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
        wait_until(lambda: has_grown(folder) or process.poll() is not None, "recording")
        then(terminal)
        return process.wait(PATIENCE)
    finally:
        process.kill()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("window", [False, True], ids=["no window", "window"])
def test_a_terminal_that_is_closed_costs_no_recording(request, tmp_path, suffix, window):
    out = tmp_path / f"out{suffix}"
    command = [*MAIN, *DEMO, "--output", out]
    environment = request.getfixturevalue("display").environment if window else headless()
    code = run_in_a_terminal(command, tmp_path, environment, os.close)
    assert code == 128 + signal.SIGHUP
    assert os.listdir(tmp_path) == [out.name]
    assert len(decoded(out)) > 5


def test_a_terminal_that_is_closed_under_the_bar_costs_nothing(clip, tmp_path):
    """SIGHUP ignored, as under nohup: the run goes on, and its bar has nowhere to go."""
    out = tmp_path / "out.mp4"
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *MAIN, "--source", clip]
    command += ["--output", out, "--size", "640x360"]
    code = run_in_a_terminal(command, tmp_path, headless(), os.close)
    assert code == 1  # its figures went nowhere
    assert len(decoded(out)) == 50


def shell(script: str, *arguments, **options) -> subprocess.CompletedProcess:
    command = ["bash", "-c", f"set -o pipefail; {script}", "bash", *map(str, arguments)]
    options = {"capture_output": True, "text": True, "timeout": PATIENCE, **options}
    return subprocess.run(command, env=headless(), **options)


@pytest.mark.parametrize(
    "script",
    [
        '"$@" | true',
        '"$@" > /dev/full',
        '"$@" 2>&1 | true',
        '"$@" >/dev/full 2>&1',
        '"$@" >&- 2>&-',
    ],
)
def test_figures_that_cannot_be_printed_cost_no_finished_file(clip, tmp_path, script):
    out = tmp_path / "out.mp4"
    result = shell(script, *MAIN, "--source", clip, "--output", out, "--no-window")
    assert result.returncode in ((0,) if script.endswith("2>&-") else (1,))
    assert os.listdir(tmp_path) == ["out.mp4"]
    assert len(decoded(out)) == 50
    assert "Traceback" not in result.stderr and "Exception" not in result.stderr
    assert len(result.stderr.splitlines()) <= 1


def test_a_damaged_source_whose_warning_cannot_be_printed_costs_no_finished_file(damaged, tmp_path):
    out = tmp_path / "out.mp4"
    result = shell('"$@" 2>/dev/full', *MAIN, "--source", damaged, "--output", out, "--no-window")
    assert result.returncode == 0
    assert result.stdout.split()[1] == "frames,"
    assert len(decoded(out)) == int(result.stdout.split()[0]) > 20


def test_ctrl_c_into_a_pipe_that_nobody_reads_any_more_costs_no_recording(tmp_path):
    out = tmp_path / "out.mp4"
    reader, writer = os.pipe()
    command = [*MAIN, *DEMO, "--no-window", "--output", out]
    process = subprocess.Popen(command, stdout=writer, stderr=writer, env=headless())
    os.close(writer)
    wait_until(lambda: has_grown(tmp_path), "recording")
    os.close(reader)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert os.listdir(tmp_path) == ["out.mp4"]
    assert len(decoded(out)) > 5


@pytest.mark.parametrize("signals", [2, 4, 9])
def test_an_impatient_user_loses_nothing(tmp_path, signals):
    out = tmp_path / "out.mp4"
    process = subprocess.Popen(
        [*MAIN, *DEMO, "--no-window", "--output", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=headless(),
    )
    wait_until(lambda: has_grown(tmp_path, 20_000), "recording")
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    (kept,) = tmp_path.iterdir()
    assert len(decoded(kept)) > 5
