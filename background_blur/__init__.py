"""Blurs the background behind people live: `from background_blur import BackgroundBlur`."""

from importlib import import_module

__version__ = "1.0.0"


def __getattr__(name: str) -> object:
    """Imports the library on first use, so that `--help` answers at once."""
    if name not in ("BackgroundBlur", "Result"):
        raise AttributeError(name)
    return getattr(import_module("background_blur.pipeline"), name)
