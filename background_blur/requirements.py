"""Whether the packages and the system's libraries are here that the program needs."""

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path

from background_blur.errors import UserError

PACKAGES = {  # as pyproject.toml names them: as they are imported
    "ai-edge-litert": "ai_edge_litert",
    "av": "av",
    "imutils": "imutils",
    "numpy": "numpy",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "tqdm": "tqdm",
}
LIBRARIES = {  # of Linux, for OpenCV's window: the packages that Debian and Ubuntu have them in
    "libGL.so.1": "libgl1",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
ROOT = Path(__file__).parents[1]


def require_packages() -> None:
    """Raises UserError, which says what to do, where a package or a library is missing."""
    missing = ", ".join(name for name, module in PACKAGES.items() if find_spec(module) is None)
    if not missing:
        require_libraries()
        return
    for python in (Path(".venv/bin/python"), Path(".venv/Scripts/python.exe")):
        if (ROOT / python).exists():
            raise UserError(f"{missing} not installed in this Python", f"run {python} main.py")
    hint = "run `make run`, or in a virtual environment: pip install -r requirements-run.txt"
    raise UserError(f"{missing} not installed", hint)


def require_libraries() -> None:
    if not sys.platform.startswith("linux"):
        return
    missing = [name for name in LIBRARIES if not can_load(name)]
    if missing:
        install = " ".join(LIBRARIES[name] for name in missing)
        hint = f"on Debian and Ubuntu run: sudo apt install {install}"
        raise UserError(f"{', '.join(missing)} missing", hint)


def can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
