"""A fake pyvirtualcam that keeps what it is sent."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from background_blur.sinks import virtual_camera

# Behaves like pyvirtualcam; FAKE_ERROR is why it fails, FAKE_SENT is a file for what it is sent.
FAKE = """
import os
from enum import Enum

class PixelFormat(Enum):
    BGR = "24BG"

class Camera:
    def __init__(self, width, height, fps, *, fmt, device=None):
        if "FAKE_ERROR" in os.environ:
            raise RuntimeError(os.environ["FAKE_ERROR"])
        assert fmt is PixelFormat.BGR
        self.shape, self.fps, self.device = (height, width, 3), fps, device or "/dev/video42"
        self.sent = open(os.environ["FAKE_SENT"], "wb")

    def send(self, frame):
        if frame.shape != self.shape or frame.dtype != "uint8":
            raise ValueError(f"unexpected frame shape: {frame.shape} != {self.shape}")
        if "FAKE_FULL" in os.environ:
            raise RuntimeError("the device is gone")
        self.sent.write(frame.tobytes())
        self.sent.flush()

    def close(self):
        self.sent.close()
        open(os.environ["FAKE_SENT"] + ".closed", "w").close()
"""


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Iterator[Path]:
    """Puts the fake first on the path, here and in children; returns the file of what was sent."""
    folder = tmp_path / "fake"
    folder.mkdir()
    (folder / "pyvirtualcam.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "pyvirtualcam", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("FAKE_SENT", str(folder / "sent"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "no PipeWire"))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(virtual_camera, "NODES", folder / "nodes")
    yield folder / "sent"
    sys.modules.pop("pyvirtualcam", None)


def frames(sent: Path, size) -> np.ndarray:
    return np.fromfile(sent, np.uint8).reshape(-1, size[1], size[0], 3)
