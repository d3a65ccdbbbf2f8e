"""Checks that everything the program needs is there: packages, libraries, threads."""

import ctypes
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread

from background_blur.errors import UserError

if sys.platform != "win32":
    import resource

PACKAGES = {  # name in pyproject.toml: name to import
    "ai-edge-litert": "ai_edge_litert",
    "av": "av",
    "imutils": "imutils",
    "numpy": "numpy",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "tqdm": "tqdm",
}
OUT_OF_MEMORY = "too little memory; close other programs, or raise the limit (ulimit -v)"
ADDRESS_SPACE = 2 * 2**30  # bytes, for all libraries
LIBRARIES = {  # that OpenCV needs on Linux: their packages on Debian and Ubuntu
    "libGL.so.1": "libgl1",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
ROOT = Path(__file__).parents[1]


def require_packages() -> None:
    """Raises UserError, with what to do, if a package is missing."""
    missing = ", ".join(name for name, module in PACKAGES.items() if find_spec(module) is None)
    if not missing:
        return
    for python in (Path(".venv/bin/python"), Path(".venv/Scripts/python.exe")):
        if (ROOT / python).exists():
            raise UserError(f"{missing} not installed in this Python", f"run {python} main.py")
    hint = "run `make run`, or in a virtual environment: pip install -r requirements-run.txt"
    raise UserError(f"{missing} not installed", hint)


def missing_library(error: ImportError) -> str:
    """Returns the message for a package that is installed but cannot be loaded."""
    library, _, reason = str(error).partition(": ")
    if "cannot open shared object file" in reason:
        missing = [name for name in LIBRARIES if not can_load(name)] or [library]
        packages = " ".join(LIBRARIES.get(name, "") for name in missing)
        fix = f"on Debian and Ubuntu run: sudo apt install {packages}" if packages else "install it"
        return f"{', '.join(missing)} missing; {fix}"
    if "failed to map segment" in reason or "allocate memory" in reason:
        return OUT_OF_MEMORY
    return f"{error.name or 'a package'} cannot be loaded: {error}; install the packages again"


def require_resources() -> None:
    """Raises UserError if the system allows too little memory or too few threads.

    Otherwise some libraries would crash, or report a file as damaged.
    """
    if sys.platform != "win32":
        if 0 <= resource.getrlimit(resource.RLIMIT_AS)[0] < ADDRESS_SPACE:
            raise UserError(OUT_OF_MEMORY)
    needed = 12 + 3 * min(os.cpu_count() or 1, 16)
    done, threads = Event(), []
    try:
        for _ in range(needed):
            threads.append(Thread(target=done.wait))
            threads[-1].start()
    except RuntimeError as error:
        hint = "raise the limit (ulimit -u, a container's --pids-limit), or close other programs"
        what = f"only {len(threads) - 1} of {needed} more threads can be started"
        raise UserError(what, hint) from error
    finally:
        done.set()
        for thread in threads:
            if thread.ident:
                thread.join()


def can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
