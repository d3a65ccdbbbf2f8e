"""The window as users see it: frames at their own pace, what keys do, and the overlay."""

import logging
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep

from background_blur.capture.base import Source
from background_blur.errors import SinkError
from background_blur.frames import Result
from background_blur.imaging import over_checkerboard
from background_blur.keys import ALIASES, FOR_PHOTOS, KEYS
from background_blur.settings import HIDDEN, PEOPLE, VIEWS, Backgrounds, Settings
from background_blur.signals import next_background
from background_blur.sinks.files import ImageFile, free_path
from background_blur.sinks.overlay import draw
from background_blur.sinks.window import Window
from background_blur.statistics import RunStatistics

STRENGTH_STEP = 0.1  # per key press
NOTE_SECONDS = 2.0  # how long a note about a key stays

log = logging.getLogger(__name__)


class Viewer:
    """Shows finished frames and obeys keys, which change the settings."""

    def __init__(
        self,
        window: Window,
        settings: Settings,
        source: Source,
        *,
        paced: bool = False,
        backgrounds: Backgrounds | None = None,
        in_call: bool = False,
        statistics: RunStatistics | None = None,
    ):
        """Draws nothing yet.

        Args:
            paced: show each frame at its time, since the source is faster.
            backgrounds: to choose from; the first is the one in `settings`.
            in_call: a call sees the frames too, so skip the split view, which shows the room.
        """
        self.window, self.settings, self.source = window, settings, source
        self.paced, self.in_call, self.statistics = paced, in_call, statistics
        self.backgrounds = backgrounds or {}
        self.quit = self.with_help = self.with_statistics = False
        self.note, self.noted_at = "", 0.0  # what the last key did
        self.shown: Result | None = None  # what is in the window, and the texts over it
        self.texts: tuple[list[str], list[str], tuple[str, ...]] = [], [], ()

    def show(self, result: Result) -> bool:
        """Shows a result; returns False once the user wants to stop."""
        if self.paced:
            sleep(max(0.0, self.window.seconds_until(result.time)))
        texts = self.text(), self.notes(result), self.captions(result)
        if result is not self.shown or texts != self.texts:  # not the same photo again
            image = result.image
            image = over_checkerboard(image) if image.shape[2] == 4 else image
            self.window.write(replace(result, image=draw(image, *texts)))
            self.shown, self.texts = result, texts
        self.press(self.window.key(), result)
        return not (self.quit or self.window.closed)

    def text(self) -> list[str]:
        """The lines at the top."""
        lines = self.help() if self.with_help else []
        if self.with_statistics and self.statistics:
            lines += self.statistics.overlay(self.source.dropped)
        return lines

    def help(self) -> list[str]:
        hidden = FOR_PHOTOS if self.source.is_sequence else ()
        return ["Keys", *(f"{key}\t{what}" for key, what in KEYS.items() if key not in hidden)]

    def captions(self, result: Result) -> tuple[str, ...]:
        """Names the halves of the split view; none if both are fully blurred."""
        if self.settings.view != "split" or result.fully_blurred_because:
            return ()
        return "original", "result" if self.settings.background else "blurred"

    def notes(self, result: Result) -> list[str]:
        """The lines at the bottom."""
        notes = [self.note] if self.note and monotonic() - self.noted_at < NOTE_SECONDS else []
        notes += [self.source.problem] if self.source.problem else []
        match result.fully_blurred_because:
            case None:
                return notes
            case reason if reason == HIDDEN:
                return [*notes, "everything is hidden: press space to show yourself again"]
            case reason:
                return [*notes, f"fully blurred: {reason}"]

    def press(self, key: str | None, result: Result) -> bool:
        """Does what the key is for; returns False if it has no function."""
        settings = self.settings
        match ALIASES.get(key or "", key):
            case "q":
                self.quit = True
            case "+":
                self.blur_more(STRENGTH_STEP)
            case "-":
                self.blur_more(-STRENGTH_STEP)
            case "b":
                self.say(next_background(settings, self.backgrounds))
            case "v":
                settings.view = after(settings.view, VIEWS)
                if self.in_call and settings.view == "split":  # half of it shows the room
                    settings.view = after(settings.view, VIEWS)
                self.say(f"view: {settings.view}")
            case "p":
                settings.people = after(settings.people, PEOPLE)
                self.say(f"people: {settings.people}")
            case "m":
                settings.mirror = not settings.mirror
            case "h":
                self.with_help = not self.with_help
            case "f":
                self.with_statistics = not self.with_statistics
            case "s":
                self.save(result)
            case "space":
                settings.hide = not settings.hide
            case "n":
                self.source.move(1)
            case "left":
                self.source.move(-1)
            case _:
                return False
        return True

    def blur_more(self, step: float) -> None:
        """Changes the strength by a step, if the background is blurred at all."""
        settings = self.settings
        if settings.background:
            self.say("nothing to blur: another background is chosen")
            return
        settings.strength = min(1.0, max(0.0, round(settings.strength + step, 2)))
        self.say(f"blur strength {settings.strength:g}")

    def say(self, note: str) -> None:
        self.note, self.noted_at = note, monotonic()

    def save(self, result: Result) -> None:
        """Saves the picture without the overlay."""
        try:
            path = free_path(Path(f"background_{datetime.now():%Y%m%d_%H%M%S}.png"))
            with ImageFile(path) as file:
                file.write(result)
            text = f"saved {path.absolute()}"
        except SinkError as error:
            text = str(error)
        self.say(text)
        log.info(text)


def after(choice: str, choices: tuple[str, ...]) -> str:
    """Returns the next choice, wrapping around after the last."""
    return choices[(choices.index(choice) + 1) % len(choices)]
