"""The window as its user meets it: the picture at its pace, what keys do, and what is overlaid."""

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep

from background_blur.errors import SinkError
from background_blur.imaging import over_checkerboard
from background_blur.keys import ALIASES, KEYS
from background_blur.settings import PEOPLE, VIEWS
from background_blur.signals import next_background
from background_blur.sinks.files import ImageFile, free_path
from background_blur.sinks.overlay import FrameStats, draw

STEP = 0.1  # of strength, a press
READING = 2.0  # seconds that a note stays


class Viewer:
    """Shows finished frames and obeys keys, which change the line's settings."""

    def __init__(self, window, line, source, wait: bool, backgrounds=None, camera=None):
        """Opens nothing, draws nothing yet.

        Args:
            window: a `window.Window`, or what behaves so.
            line: the `line.Line` that finishes the frames.
            source: the `source.Source` they come from.
            wait: frames of a file come at its own pace, and pictures stay until a key.
            backgrounds: by their names; the first is the line's.
            camera: a `virtual.VirtualCamera` that shows what stays too.
        """
        self.window, self.line, self.source, self.camera = window, line, source, camera
        self.backgrounds = backgrounds or {}
        self.stays = wait and source.independent
        self.paced = wait and not (source.live or source.independent)
        self.quit = self.help = self.with_figures = False
        self.figures = FrameStats(line, source)
        self.note, self.noted = "", 0.0  # what the last key did, and when

    def show(self, frame, done) -> bool:
        """Shows `done`, the finished `frame`; False once the user wants to stop."""
        if self.paced:
            sleep(max(0.0, self.window.seconds_until(frame.time)))
        self.draw(frame, done)
        while True:
            key = self.window.key()
            known = self.press(key, done)
            if self.quit or self.window.closed:
                return False
            if not self.stays or (key and not known):
                return True
            if known:
                done = self.line.finish(frame)
                self.draw(frame, done)
            if self.camera:
                self.camera.write(done) if known else self.camera.repeat()
            sleep(0.02)

    def draw(self, frame, done) -> None:
        self.figures.count(frame)
        top = [f"{key}\t{what}" for key, what in KEYS.items()] if self.help else []
        if self.with_figures:
            top = top + self.figures.lines()
        image = done.image if done.image.shape[2] == 3 else over_checkerboard(done.image)
        self.window.write(replace(done, image=draw(image, top, self.notes())))

    def notes(self) -> list[str]:
        notes = [self.note] if self.note and monotonic() - self.noted < READING else []
        if self.source.trouble:
            notes.append(self.source.trouble)
        if self.line.settings.hide:
            return [*notes, "everything is hidden: space shows you again"]
        if self.line.hidden_because:
            return [*notes, f"hidden: {self.line.hidden_because}"]
        return notes

    def press(self, key: str | None, done) -> bool:
        """Does what the key stands for; False where it stands for nothing."""
        settings = self.line.settings
        match ALIASES.get(key, key):
            case "q":
                self.quit = True
            case "+" | "-" as sign:
                step = STEP if sign == "+" else -STEP
                settings.strength = min(1.0, max(0.0, round(settings.strength + step, 2)))
                self.say(f"strength {settings.strength:g}")
            case "b":
                self.say(next_background(settings, self.backgrounds))
            case "v":
                settings.view = after(settings.view, VIEWS)
                if self.camera and settings.view == "split":  # half of it shows the room
                    settings.view = after(settings.view, VIEWS)
                self.say(f"view: {settings.view}")
            case "p":
                settings.people = after(settings.people, PEOPLE)
                self.say(f"people: {settings.people}")
            case "m":
                settings.mirror = not settings.mirror
            case "h":
                self.help = not self.help
            case "f":
                self.with_figures = not self.with_figures
            case "s":
                self.save(done)
            case "space":
                settings.hide = not settings.hide
            case _:
                return False
        return True

    def say(self, note: str) -> None:
        self.note, self.noted = note, monotonic()

    def save(self, done) -> None:
        """Writes the picture as it is without any text in it."""
        try:
            path = free_path(Path(f"background_{datetime.now():%Y%m%d_%H%M%S}.png"))
            with ImageFile(path) as file:
                file.write(done)
            text = f"saved {path.absolute()}"
        except SinkError as error:
            text = str(error)
        self.say(text)
        print(f"main.py: {text}", file=sys.stderr)


def after(choice: str, choices: tuple[str, ...]) -> str:
    return choices[(choices.index(choice) + 1) % len(choices)]
