"""A real display for tests: an in-memory X server with keys, clicks and screenshots."""

import ctypes
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from support import skip_or_fail

TOOLS = ("Xvfb", "xdotool")
PATIENCE = 30  # seconds to wait for what should be immediate; the machine may be busy


class Display:
    """A running Xvfb.

    Attributes:
        name: the value for DISPLAY.
        environment: for child processes.
    """

    def __init__(self, folder: Path, size=(1600, 1000)):
        reader, writer = os.pipe()
        command = ["Xvfb", "-displayfd", str(writer), "-fbdir", str(folder), "-noreset"]
        command += ["-nolisten", "tcp", "-screen", "0", f"{size[0]}x{size[1]}x24"]
        self._server = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
        os.close(writer)
        with open(reader) as numbers:
            number = numbers.readline().strip()
        assert number, "Xvfb did not start"
        self._screen = folder / "Xvfb_screen0"
        self.name = f":{number}"
        self.environment = {**os.environ, "DISPLAY": self.name}

    def stop(self) -> None:
        self._server.terminate()
        self._server.wait()

    def screenshot(self) -> np.ndarray:
        """uint8 [H,W,3] BGR, read from the XWD file in which Xvfb keeps its screen."""
        data = self._screen.read_bytes()
        header = struct.unpack(">25I", data[:100])
        length, width, height, stride, colours = (header[i] for i in (0, 4, 5, 12, 19))
        rows = np.frombuffer(data, np.uint8, stride * height, length + 12 * colours)
        return rows.reshape(height, stride)[:, : 4 * width].reshape(height, width, 4)[..., :3]

    def is_shown(self, title: str) -> bool:
        """Whether a window with this title is visible."""
        try:
            return bool(self._xdotool("search", "--onlyvisible", "--name", f"^{title}$"))
        except subprocess.CalledProcessError:
            return False

    def press(self, title: str, *keys: str) -> None:
        """Presses keys, by their X names, in the visible window with this title."""
        find = ["search", "--onlyvisible", "--name", f"^{title}$"]
        self._xdotool(*find, "key", *keys)

    def click_close(self, title: str) -> None:
        """Does what a window manager does when the user clicks a window's close button."""
        find = ["search", "--onlyvisible", "--name", f"^{title}$"]
        ask_to_close(self.name, int(self._xdotool(*find).split()[0]))

    def _xdotool(self, *arguments: str) -> str:
        options = {"env": self.environment, "check": True, "capture_output": True, "text": True}
        return subprocess.run(["xdotool", *arguments], **options).stdout


class ClientMessage(ctypes.Structure):
    """Xlib's XClientMessageEvent, padded to the size of its XEvent."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 12),
    ]


def ask_to_close(display: str, window: int) -> None:
    """Sends WM_DELETE_WINDOW to an X window."""
    x = ctypes.CDLL("libX11.so.6")
    x.XOpenDisplay.restype = ctypes.c_void_p
    x.XInternAtom.restype = ctypes.c_ulong
    connection = ctypes.c_void_p(x.XOpenDisplay(display.encode()))
    protocols, delete = (
        x.XInternAtom(connection, name, False) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
    )
    client_message = 33
    event = ClientMessage(type=client_message, window=window, message_type=protocols, format=32)
    event.data[0] = delete
    x.XSendEvent(connection, ctypes.c_ulong(window), False, ctypes.c_long(0), ctypes.byref(event))
    x.XCloseDisplay(connection)


def wait_until(condition, what: str):
    """Returns the condition's first true value; fails the test if it stays false."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail(f"{what}: not within {PATIENCE} s")


@pytest.fixture(scope="session")
def display(tmp_path_factory):
    """A `Display`; skips if its tools are missing, which in CI is a failure."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        reason = f"no {' and no '.join(missing)} on this machine to test with a real window"
        skip_or_fail(reason)
    server = Display(tmp_path_factory.mktemp("display"))
    yield server
    server.stop()
