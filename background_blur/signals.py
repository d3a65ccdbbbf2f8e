"""Control without a window: SIGUSR1 hides everything, SIGUSR2 changes the background."""

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # otherwise --help would load NumPy
    from background_blur.settings import Backgrounds, Settings


class RemoteControl:
    """Notes signals; they take effect between two frames."""

    def __init__(self):
        self._hide, self._next = [], []  # an entry for each signal

    def install(self) -> None:
        """Starts receiving the signals, on systems that have them."""
        if sys.platform != "win32":
            signal.signal(signal.SIGUSR1, lambda *_: self._hide.append(1))
            signal.signal(signal.SIGUSR2, lambda *_: self._next.append(1))

    def apply(self, settings: "Settings", backgrounds: "Backgrounds") -> list[str]:
        """Does what the signals since the last call asked for; returns a line about each change."""
        hide, self._hide = self._hide, []
        presses, self._next = self._next, []
        notes = []
        if len(hide) % 2:
            notes.append(set_hidden(settings, not settings.hide))
        if presses:
            notes.append(next_background(settings, backgrounds, len(presses)))
        return notes


def set_hidden(settings: "Settings", hide: bool) -> str:
    """Hides everything, or shows the person again, and says so."""
    settings.hide = hide
    return "everything is hidden" if hide else "you are shown again"


def next_background(settings: "Settings", backgrounds: "Backgrounds", steps: int = 1) -> str:
    """Moves on by that many backgrounds, and says which one is shown."""
    if len(backgrounds) < 2:
        return "one background only; give --background several times"
    names, values = list(backgrounds), list(backgrounds.values())
    now = next((i for i, value in enumerate(values) if value is settings.background), 0)
    name = names[(now + steps) % len(names)]
    settings.background = backgrounds[name]
    return f"background: {name}"
