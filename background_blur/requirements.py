"""Whether the packages are here that the program needs."""

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
    "pillow-heif": "pillow_heif",
    "tqdm": "tqdm",
}
ROOT = Path(__file__).parents[1]


def require_packages() -> None:
    """Raises UserError, which says what to do, where a package is missing."""
    missing = ", ".join(name for name, module in PACKAGES.items() if find_spec(module) is None)
    if not missing:
        return
    for python in (Path(".venv/bin/python"), Path(".venv/Scripts/python.exe")):
        if (ROOT / python).exists():
            raise UserError(f"{missing} not installed in this Python", f"run {python} main.py")
    hint = "run `make run`, or in a virtual environment: pip install -r requirements-run.txt"
    raise UserError(f"{missing} not installed", hint)
