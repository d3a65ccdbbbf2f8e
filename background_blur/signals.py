"""Control without a window: SIGUSR1 hides everything, SIGUSR2 changes the background."""

import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # else --help would load NumPy
    from background_blur.settings import Background, Settings

    Backgrounds = Mapping[str, Background | str | None]


class RemoteControl:
    """Notes signals; they take effect between two frames."""

    def __init__(self):
        self._hide = self._next = 0

    def install(self) -> None:
        """Receives the signals from now on, on systems that have them."""
        if sys.platform != "win32":
            signal.signal(signal.SIGUSR1, self._note)
            signal.signal(signal.SIGUSR2, self._note)

    def _note(self, number: int, _frame: object) -> None:
        if signal.Signals(number).name == "SIGUSR1":
            self._hide += 1
        else:
            self._next += 1

    def apply(self, settings: "Settings", backgrounds: "Backgrounds") -> list[str]:
        """Does what the signals since the last call asked for.

        Args:
            settings: to be changed.
            backgrounds: to choose from, by their names.

        Returns:
            What was done, a line each.
        """
        (hide, self._hide), (presses, self._next) = (self._hide, 0), (self._next, 0)
        notes = []
        if hide % 2:
            notes.append(set_hidden(settings, not settings.hide))
        if presses:
            notes.append(next_background(settings, backgrounds, presses))
        return notes


def set_hidden(settings: "Settings", hide: bool) -> str:
    """Hides everything, or shows the person again, and says so."""
    settings.hide = hide
    return "everything is hidden" if hide else "you are shown again"


def next_background(settings: "Settings", backgrounds: "Backgrounds", steps: int = 1) -> str:
    """Moves on by that many backgrounds, and says which is shown."""
    if len(backgrounds) < 2:
        return "one background only; give --background several times"
    names, values = list(backgrounds), list(backgrounds.values())
    now = next((i for i, value in enumerate(values) if value is settings.background), 0)
    name = names[(now + steps) % len(names)]
    settings.background = backgrounds[name]
    return f"background: {name}"
