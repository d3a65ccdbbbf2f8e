"""Picture files and folders, and what all files share."""

import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from background_blur.errors import SinkError, UserError
from background_blur.metadata import encode_picture
from background_blur.sinks.base import Sink
from background_blur.sinks.parts import free_path, new_part

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


WHOLE_SUFFIXES = (".png", ".tif", ".tiff")  # of files that hold 16 bits and transparency


EXISTS = "exists; add --force to overwrite it, or --skip-existing to leave it"


class AtomicFile(Sink):
    """A file that appears under its name only when it is complete.

    Until then it grows in a `NAME.xxxxxx.part.EXT` beside it.
    """

    def __init__(self, path: Path, force: bool = False):
        """`force`: overwrite what exists. Raises SinkError if nothing can be written there."""
        self.path, self.force = path, force
        self.part = reserve(path)
        self.written = 0  # frames

    def finish(self) -> None:
        """Completes the part."""

    def salvage(self) -> str | None:
        """Makes the best of a part that cannot be completed; says what that holds, or None."""

    @contextmanager
    def salvaged(self):
        """What fails in here ends the file, and leaves what can be kept."""
        try:
            with sink_errors(self.path):
                yield
        except SinkError as error:
            raise SinkError(f"{error}{self.keep()}") from error
        except BaseException:
            self.keep()
            raise

    def keep(self) -> str:
        """Saves what there is of a part that cannot be completed, beside what exists."""
        part, self.part = self.part, None
        held = None
        with suppress(OSError):
            held = self.salvage()
            if held is None:
                part.unlink(missing_ok=True)
                return ""
            target = free_path(self.path)
            os.replace(part, target)
            return f"; kept {held} in {target}"
        return f"; kept what there is in {part}" if part.exists() else ""

    def close(self) -> None:
        if self.part is None:
            return
        if not self.written:
            self.keep()
            return
        with self.salvaged():
            self.finish()
        part, self.part = self.part, None
        target = self.path if self.force else free_path(self.path)
        try:
            with sink_errors(self.path):
                os.replace(part, target)
        except SinkError as error:
            kept = f"; kept all of it in {part}" if part.exists() else ""
            raise SinkError(f"{error}{kept}") from error
        if target != self.path:
            raise SinkError(f"{self.path}: exists; what was written was saved as {target}")

    def __exit__(self, kind, error, _):
        if kind is None or issubclass(kind, (KeyboardInterrupt, UserError)):
            self.close()
            return
        self.force = False  # a run that failed replaces nothing
        try:
            self.close()
        except SinkError as trouble:
            error.add_note(str(trouble))


class ImageFile(AtomicFile):
    """A picture: the last frame that came, with the metadata of the one it was made of.

    PNG and TIFF hold it whole, be it of 16 bits or transparent.
    """

    def write(self, frame) -> None:
        suffix = self.path.suffix.lower()
        image = frame.image
        if frame.whole is not None and suffix in WHOLE_SUFFIXES:
            image = frame.whole
        with self.salvaged():
            data = encode_picture(image, suffix, frame.metadata)
            if data is None:
                raise OSError(errno.EFBIG, f"too large for {suffix}")
            self.part.write_bytes(data)
        self.written += 1


class ImageFolder(Sink):
    """A folder of pictures, one a frame, under the frame's own relative path if it has one.

    Frames with a fourth channel, alpha, become PNGs.

    Each is whole as soon as `write` is done with it, and stays.
    """

    def __init__(self, path: Path, force=False, source: Path | None = None, skip=False):
        """Creates the folder.

        Args:
            path: of the folder.
            force: overwrite pictures that lie there, but nothing of the source.
            source: the file or folder that the frames come from.
            skip: leave pictures that lie there as they are, and write the others.

        Raises:
            SinkError: there is no such folder to be had, or it cannot be written to.
        """
        self.path, self.force, self.source, self.skip = path, force, source, skip
        self.skipped = 0  # pictures
        self.made = not path.is_dir()
        self.paths = set()  # of the pictures written
        with sink_errors(path):
            if self.made:
                path.mkdir()
            reserve(path / "picture").unlink()

    def write(self, frame) -> None:
        name = frame.path
        if name and frame.image.shape[2] == 4:
            name = name.with_suffix(".png")
        if self.skips(name):
            return
        path = self.path_for(name)
        if path.exists() and not self.force:
            raise SinkError(f"{path}: {EXISTS}")
        if path.exists() and self.source and is_within(path, self.source):
            raise SinkError(f"{path}: is of the source itself; give another --output")
        with sink_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with ImageFile(path, self.force) as file:
                file.write(frame)
        self.paths.add(path)

    def skips(self, name: Path | None) -> bool:
        """Whether the picture of that name lies there and is to stay; counted if so."""
        path = self.path_for(name)
        if not (self.skip and path.exists()):
            return False
        self.paths.add(path)
        self.skipped += 1
        return True

    def is_unwanted(self, name: Path) -> bool:
        # What lies in this folder, if that is within the source's, came from a run before.
        made_here = (
            self.source and self.source.is_dir() and is_within(self.source / name, self.path)
        )
        return bool(made_here) or self.skips(name)

    @property
    def warning(self) -> str | None:
        pictures = "1 picture" if self.skipped == 1 else f"{self.skipped} pictures"
        return f"{pictures} skipped: already in {self.path}" if self.skipped else None

    def path_for(self, name: Path | None) -> Path:
        """Where the next picture goes; never where this run has written one."""
        if name is None:
            return self.path / f"frame_{len(self.paths) + 1:06d}.png"
        path = self.path / name
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            path = path.with_suffix(".png")
        while path in self.paths:  # a.gif beside a.png
            path = path.with_name(f"{path.stem}_{path.suffix}")
        return path

    def close(self) -> None:
        if self.made and not self.paths:
            with suppress(OSError):  # somebody else put something in
                self.path.rmdir()


def same_file(path: Path, other: Path | None) -> bool:
    if other is None or not (os.path.exists(path) and os.path.exists(other)):
        return False
    return os.path.samefile(path, other)


def is_within(path: Path, source: Path) -> bool:
    """Whether a file is `source`, or lies in that folder."""
    path, source = path.resolve(), source.resolve()
    return path == source or source in path.parents


def reserve(path: Path) -> Path:
    """Creates the empty part that is to become `path`; raises SinkError if that is not possible."""
    if not path.parent.is_dir():
        raise SinkError(f"{path}: there is no folder {path.parent}; create it first")
    with sink_errors(path):
        return new_part(path)


@contextmanager
def sink_errors(path: Path):
    """Turns what the system, FFmpeg and OpenCV raise into a SinkError about that path."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (OSError, cv2.error)) and type(error).__module__ != "av.error":
            raise
        reason = getattr(error, "strerror", None) or getattr(error, "err", None) or error
        raise SinkError(f"{path}: cannot be written: {reason}; give another --output") from error


def fill_up(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Repeats the last column and row up to (width, height)."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    right, below = size[0] - width, size[1] - height
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
