"""Blurs the background behind people, live: `from background_blur import BackgroundBlur`."""

from importlib import import_module

__version__ = "1.0.0"


def __getattr__(name: str) -> object:  # the library, imported late: `--help` has no time for it
    if name not in ("BackgroundBlur", "Result"):
        raise AttributeError(name)
    return getattr(import_module("background_blur.pipeline"), name)
