"""Virtual cameras without a driver: a v4l2loopback for programs, and one within the tests."""

import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from background_blur.sinks import virtual_camera
from support import skip_or_fail


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Path:
    if not sys.platform.startswith("linux"):
        pytest.skip("v4l2loopback is Linux's")
    if not (compiler := shutil.which("cc")):
        skip_or_fail("no C compiler here: no test with a v4l2loopback")
    library = tmp_path_factory.mktemp("library") / "v4l2loopback.so"
    source = Path(__file__).with_name("v4l2loopback.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def loopback(library, tmp_path, monkeypatch) -> Path:
    """Gives the programs that are started a /dev/video9; the folder of v4l2loopback.c."""
    root = tmp_path / "root"
    for path in ("dev", "sys/module/v4l2loopback", "sys/devices/virtual/video4linux/video9"):
        (root / path).mkdir(parents=True)
    (root / "dev/video9").touch()
    monkeypatch.setenv("V4L2_ROOT", str(root))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(root / "no PipeWire"))
    return root


def frames(loopback: Path, size: tuple[int, int]) -> list[np.ndarray]:
    """What was written to /dev/video9, uint8 [H,W,3] BGR, by another converter's word."""
    planes = np.fromfile(loopback / "dev/video9", np.uint8).reshape(-1, size[1] * 3 // 2, size[0])
    decoded = (av.VideoFrame.from_ndarray(frame, format="yuv420p") for frame in planes)
    return [frame.to_ndarray(format="bgr24") for frame in decoded]


class Fake:
    """A `VirtualCameraBackend` that keeps what it is sent."""

    device, closed = "/dev/video42", 0

    def __init__(self):
        self.images: list[np.ndarray] = []

    def send(self, image: np.ndarray) -> None:
        self.images.append(image.copy())

    def has_consumers(self) -> None:
        return None

    def readers(self) -> None:
        return None

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def fake(tmp_path, monkeypatch) -> Fake:
    """Takes the place of all virtual cameras in this process."""
    fake = Fake()
    monkeypatch.setattr(virtual_camera, "open_backend", lambda *_: fake)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return fake
