"""The program as users start it: `python main.py ...`, in its own process."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from background_blur.capture import open_source
from support import ROOT

MAIN = str(ROOT / "main.py")


def start(*arguments, **options) -> subprocess.Popen:
    command = [sys.executable, MAIN, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **{**pipes, **options})


def run(*arguments, timeout=60, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, MAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


def assert_one_line(result, *parts: str) -> None:
    """Asserts that it failed and said why in one line that contains these parts."""
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("main.py: ")
    for part in parts:
        assert part in lines[0]


def written(folder: Path) -> int:
    """The number of bytes in incomplete outputs; encoders hold frames back."""
    return sum(path.stat().st_size for path in folder.glob("*.part.*"))


def read(path: Path) -> list[np.ndarray]:
    """The pictures in a file, uint8 [H,W,3] BGR."""
    with open_source(str(path)) as source:
        images = [frame.image for frame in source]
        assert source.warning is None
    return images
