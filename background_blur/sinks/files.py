"""Picture files and folders, and what they have in common with videos."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2

from background_blur.errors import SinkError, UserError
from background_blur.frames import Frame, plural
from background_blur.paths import is_within
from background_blur.sinks.base import Sink
from background_blur.sinks.encoding import encode_picture
from background_blur.sinks.unfinished import free_path, new_part

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff")
LOSSY_SUFFIXES = (".avif", ".heic", ".heif", ".jp2", ".jpe", ".mpo")  # written as JPEGs
WHOLE_SUFFIXES = (".png", ".tif", ".tiff")  # formats that hold 16 bits and transparency
SPACE = "free some space, or give another --output"
LIMITS = "close other programs, or raise the limits on threads and memory (ulimit -a)"
CURES: dict[int | None, str] = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EAGAIN: LIMITS,
    errno.ENOMEM: LIMITS,
}
EXISTS = "exists; add --force to overwrite it, or --skip-existing to leave it"


class AtomicFile(Sink):
    """A file that appears under its name only when it is complete.

    Until then it is written to `NAME.xxxxxx.part.EXT` in the same folder. A link to a file stays a
    link, and an overwritten file keeps its mode and owner.
    """

    contents = ""  # what `saved` says about the file

    def __init__(self, path: Path, force: bool = False):
        """`force` overwrites an existing file. Raises SinkError if the path cannot be written."""
        self.path, self.force = path, force
        self.target = Path(os.path.realpath(path)) if os.path.islink(path) else path
        self.part = reserve(self.target)
        if self.target.exists():  # it may be private
            with suppress(OSError):  # a file system without modes
                self.part.chmod(0o600)
        self.is_open = True
        self.written = 0  # frames

    def finish(self) -> None:
        """Completes the part."""

    def is_whole(self) -> bool:
        """Whether the completed part can be opened again."""
        return True

    def salvage(self) -> str | None:
        """Makes an incomplete part usable; returns what it holds, or None if nothing."""

    @contextmanager
    def salvaged(self) -> Iterator[None]:
        """If an error is raised inside, closes the file and keeps what can be kept."""
        try:
            with sink_errors(self.path):
                yield
        except SinkError as error:
            raise SinkError(f"{error}{self.keep()}") from error
        except BaseException:
            self.keep()
            raise

    def keep(self) -> str:
        """Closes a file that cannot be completed, keeping its contents and overwriting nothing.

        Returns what to add to the error message.
        """
        self.is_open = False
        with suppress(OSError):
            held = self.salvage()
            if held is None:
                self.part.unlink(missing_ok=True)
                return ""
            target = free_path(self.target)
            os.replace(self.part, target)
            return f"; kept {held} in {target}"
        return f"; kept what there is in {self.part}" if self.part.exists() else ""

    def close(self) -> None:
        if not self.is_open:
            return
        if not self.written:
            self.keep()
            return
        with self.salvaged():
            self.finish()
        self.is_open = False
        if not self.is_whole():
            raise SinkError(f"{self.path}: does not play; what was written is kept in {self.part}")
        target = self.target if self.force else free_path(self.target)
        try:
            with sink_errors(self.path):
                inherit(self.part, target)
                os.replace(self.part, target)
        except SinkError as error:
            kept = f"; kept all of it in {self.part}" if self.part.exists() else ""
            raise SinkError(f"{error}{kept}") from error
        if target != self.target:
            raise SinkError(f"{self.path}: already exists, so it was saved as {target}")
        self.saved = f"{self.path}{self.contents}"

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, (KeyboardInterrupt, UserError)):
            self.close()
            return
        self.force = False  # a run that failed replaces nothing
        try:
            self.close()
        except SinkError as problem:
            error.add_note(str(problem))


class ImageFile(AtomicFile):
    """A picture: the last frame written, with the metadata of its source file.

    PNG and TIFF keep 16 bits and transparency.
    """

    def write(self, frame: Frame) -> None:
        suffix = self.path.suffix.lower()
        image = frame.image
        if frame.whole is not None and suffix in WHOLE_SUFFIXES:
            image = frame.whole
        with self.salvaged():
            self.part.write_bytes(encode_picture(image, suffix, frame.metadata))
        self.written += 1


class ImageFolder(Sink):
    """A folder of pictures, one per frame, at the frame's own relative path if it has one.

    Frames with an alpha channel become PNGs. Each file is complete once `write` returns.
    """

    def __init__(
        self, path: Path, *, force: bool = False, source: Path | None = None, skip: bool = False
    ):
        """Creates the folder; raises SinkError if it cannot be created or written to.

        Args:
            force: overwrite existing pictures, but never the source's.
            source: the file or folder that the frames come from.
            skip: leave existing pictures as they are, and write the others.
        """
        self.path, self.force, self.source, self.skip = path, force, source, skip
        self.skipped = 0  # pictures
        self.made = not path.is_dir()
        self.paths: set[Path] = set()  # of the pictures written
        with sink_errors(path):
            if self.made:
                path.mkdir()
            reserve(path / "picture").unlink()

    def write(self, frame: Frame) -> None:
        name = frame.path
        if name and frame.image.shape[2] == 4:
            name = name.with_suffix(".png")
        if self.skips(name):
            return
        path = self.path_for(name)
        if path.exists() and not self.force:
            raise SinkError(f"{path}: {EXISTS}")
        if path.exists() and self.source and is_within(path, self.source):
            raise SinkError(f"{path}: this is one of the source files; give another --output")
        with sink_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with ImageFile(path, self.force) as file:
                file.write(frame)
        self.paths.add(path)

    def skips(self, name: Path | None) -> bool:
        """Whether the picture of this name exists and is to be kept; if so, counts it."""
        path = self.path_for(name)
        if not (self.skip and path.exists()):
            return False
        self.paths.add(path)
        self.skipped += 1
        return True

    def is_unwanted(self, name: Path) -> bool:
        # If this folder is inside the source's, its contents were written by an earlier run.
        source = self.source
        if source and source.is_dir() and is_within(self.path, source):
            return is_within(source / name, self.path) or self.skips(name)
        return self.skips(name)

    @property
    def warning(self) -> str | None:
        skipped = plural(self.skipped, "picture")
        return f"{skipped} skipped: already in {self.path}" if self.skipped else None

    @property
    def saved(self) -> str | None:
        count = len(self.paths) - self.skipped
        return f"{plural(count, 'picture')} in {self.path}" if count else None

    def path_for(self, name: Path | None) -> Path:
        """Where the next picture goes; never a path that this run has already written."""
        if name is None:
            return self.path / f"frame_{len(self.paths) + 1:06d}.png"
        path = self.path / name
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            path = path.with_suffix(".jpg" if path.suffix.lower() in LOSSY_SUFFIXES else ".png")
        while path in self.paths:  # a.gif beside a.png
            path = path.with_name(f"{path.stem}_{path.suffix}")
        return path

    def close(self) -> None:
        if self.made and not self.paths:
            with suppress(OSError):  # another program put something into it
                self.path.rmdir()


def inherit(part: Path, old: Path) -> None:
    """Gives a part the owner and mode of the file that it replaces, if any."""
    with suppress(OSError):  # no such file; a file system without modes; another user's file
        shutil.copymode(old, part)
        if sys.platform != "win32":
            status = old.stat()
            os.chown(part, status.st_uid, status.st_gid)


def reserve(path: Path) -> Path:
    """Creates an empty part for `path`; raises SinkError if that is not possible."""
    if not path.parent.is_dir():
        raise SinkError(f"{path}: there is no folder {path.parent}; create it first")
    with sink_errors(path):
        return new_part(path)


@contextmanager
def sink_errors(path: Path) -> Iterator[None]:
    """Turns errors from the system, FFmpeg and OpenCV into a SinkError about this path."""
    try:
        yield
    except Exception as error:
        from av.error import FFmpegError  # imported here, since pictures need no FFmpeg

        if not isinstance(error, (OSError, cv2.error, FFmpegError)):
            raise
        reason = getattr(error, "strerror", None) or getattr(error, "err", None) or error
        number = getattr(error, "errno", 0)
        if number == errno.EPERM and isinstance(error, FFmpegError):  # encoders report this so
            number, reason = errno.EAGAIN, "the encoder cannot be started"
        cure = CURES.get(number, "give another --output")
        raise SinkError(f"{path}: cannot be written: {reason}; {cure}") from error
