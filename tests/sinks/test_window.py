"""The window: a real one, on the tests' own display."""

import os
import subprocess
import sys

import numpy as np
import pytest

from support import ROOT
from support.display import wait_until

# Shows one colour and prints what happens, until q or the window's close button is pressed.
SHOW = """
import sys, time
from types import SimpleNamespace
import numpy as np
from background_blur.errors import SinkError
from background_blur.sinks.window import Window

width, height, title = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
image = np.full((height, width, 3), (200, 90, 30), np.uint8)
key = None
try:
    with Window(title) as window:
        while key != "q" and not window.closed:
            window.write(SimpleNamespace(image=image, time=0.0, path=None))
            key = window.key()
            if key:
                print(key, flush=True)
            time.sleep(0.01)
        print("closed" if window.closed else "open", flush=True)
        window.write(SimpleNamespace(image=image, time=0.0, path=None))
        window.key()
        print("still", "closed" if window.closed else "open", flush=True)
        time.sleep(float(sys.argv[4]))
    print("end")
except SinkError as error:
    print("SinkError:", error)
"""


def start(environment, width=640, height=360, title="shown", linger=0.0) -> subprocess.Popen:
    command = [sys.executable, "-c", SHOW, str(width), str(height), title, str(linger)]
    return subprocess.Popen(
        command,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def blue(display) -> tuple[int, int] | None:
    """(width, height) of the area shown in the child's colour, or None."""
    rows, columns = np.nonzero((display.screenshot() == (200, 90, 30)).all(axis=2))
    return (int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1) if rows.size else None


@pytest.fixture
def shown(display):
    """Starts children and waits until they show their picture."""
    children = []

    def show(**options):
        child = start(display.environment, **options)
        children.append(child)
        wait_until(lambda: blue(display) or child.poll() is not None, "a window")
        assert child.poll() is None, child.communicate()
        return child

    yield show
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def test_shows_the_frame_and_takes_keys_without_a_word_on_stderr(display, shown):
    child = shown(width=640, height=360)
    wait_until(lambda: blue(display) == (640, 360), "the whole frame")
    display.press("shown", "F1")  # has no meaning
    names = {"Right": "right", "Left": "left", "BackSpace": "backspace", "plus": "+"}
    for key, name in (names | {"space": "space", "Escape": "esc", "Q": "q"}).items():
        display.press("shown", key)  # one by one: OpenCV keeps only the last between two polls
        assert child.stdout.readline().strip() == name
    assert child.stdout.read().split() == ["open", "still", "open", "end"]
    assert child.stderr.read() == ""
    assert child.wait(timeout=30) == 0
    wait_until(lambda: blue(display) is None, "the window to go")


def test_the_x_closes_it_and_it_stays_closed(display, shown):
    child = shown(linger=60)
    display.click_close("shown")
    lines = [child.stdout.readline().strip() for _ in range(2)]
    assert lines == ["closed", "still closed"]
    assert blue(display) is None


@pytest.mark.parametrize(
    "size, opens_as",
    [((2560, 1440), (1280, 720)), ((1080, 1920), (405, 720)), ((321, 123), (321, 123))],
)
def test_opens_at_the_frames_size_or_as_large_as_fits(display, shown, size, opens_as):
    shown(width=size[0], height=size[1])
    wait_until(lambda: blue(display) == opens_as, f"a window of {opens_as}")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can lack a display")
@pytest.mark.parametrize(
    "names",
    [
        {"DISPLAY": ":987"},
        {"DISPLAY": "nonsense"},
        {"WAYLAND_DISPLAY": "wayland-0"},  # OpenCV's Qt knows nothing of Wayland
    ],
)
def test_without_a_display_it_says_so_and_lives(names):
    child = start(os.environ | names)
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 0, "the process was aborted"
    hint = "use --output FILE, or --no-window"
    assert output == f"SinkError: no display to open a window on; {hint}\n"
    assert errors == ""


def test_on_a_wayland_desktop_it_opens_through_x_in_silence(display):
    child = start({**display.environment, "XDG_SESSION_TYPE": "wayland"})
    wait_until(lambda: blue(display), "a window")
    display.press("shown", "q")
    output, errors = child.communicate(timeout=30)
    assert output.split()[-1] == "end"
    assert errors == ""
