"""Picture files and folders, and what all files share."""

import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from background_blur.errors import SinkError, SourceError
from background_blur.sinks.base import Sink
from background_blur.sinks.parts import free_path, new_part

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


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
        if kind is None or issubclass(kind, (KeyboardInterrupt, SourceError, SinkError)):
            self.close()
            return
        self.force = False  # a run that failed replaces nothing
        try:
            self.close()
        except SinkError as trouble:
            error.add_note(str(trouble))


class ImageFile(AtomicFile):
    """A picture: the last frame that came."""

    def write(self, frame) -> None:
        with self.salvaged():
            self.part.write_bytes(encode_image(frame.image, self.path.suffix))
        self.written += 1


class ImageFolder(Sink):
    """A folder of pictures, one a frame, under the frame's own relative path if it has one.

    Frames with a fourth channel, alpha, become PNGs.

    Each is whole as soon as `write` is done with it, and stays.
    """

    def __init__(self, path: Path, force: bool = False, source: Path | None = None):
        """Creates the folder.

        Args:
            path: of the folder.
            force: overwrite pictures that lie there, but nothing of the source.
            source: the file or folder that the frames come from.

        Raises:
            SinkError: there is no such folder to be had, or it cannot be written to.
        """
        self.path, self.force, self.source = path, force, source
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
        path = self.path_for(name)
        if path.exists() and not self.force:
            raise SinkError(f"{path}: exists; add --force to overwrite")
        if path.exists() and self.source and is_within(path, self.source):
            raise SinkError(f"{path}: is of the source itself; give another --output")
        with sink_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with ImageFile(path, self.force) as file:
                file.write(frame)
        self.paths.add(path)

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


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """uint8 [H,W,3] BGR -> the file of a picture. Raises cv2.error: too large for its kind."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix.lower() in (".jpg", ".jpeg") else []
    encoded, data = cv2.imencode(suffix.lower(), image, options)
    if not encoded:
        raise OSError(errno.EFBIG, f"too large for {suffix}")
    return data.tobytes()
