"""The folder of the weights and the portrait: next to the package, or in it once installed."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
RESOURCES = _PACKAGE if (_PACKAGE / "weights").is_dir() else _PACKAGE.parent
