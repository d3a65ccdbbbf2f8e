"""Photos: files and folders of them."""

import itertools
import os
import warnings
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL.ExifTags import Base

from background_blur.capture.base import RATE, Source, check_file
from background_blur.capture.kinds import (
    files_in,
    is_animation,
    is_foreign,
    kind_of,
    open_picture,
)
from background_blur.errors import FEW, PicturesError, SourceError
from background_blur.frames import Frame, Size
from background_blur.imaging import crop_to_fill, flatten_alpha
from background_blur.metadata import read_metadata
from background_blur.system import suppress_stderr

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 2**27  # a larger picture would take gigabytes
# With any flag but IMREAD_UNCHANGED, OpenCV turns pictures upright. This one asks for GDAL, which
# OpenCV's packages lack, so it changes neither depth nor channels.
KEEP_DEPTH = cv2.IMREAD_LOAD_GDAL
DAMAGED = "damaged, or not a picture; take it out, or save it as PNG"
TOO_LARGE = "too large, or damaged; make it smaller"
MOVING = "a video, not a photo; give a folder as --output, or this alone as --source"


class NoPictureError(SourceError):
    """Not a format that Pillow knows; perhaps a video."""


class AnimationError(NoPictureError):
    """The file is an animation."""


class Pictures(Source):
    """Unrelated picture files, each of its own size unless a size is requested.

    Unreadable files are skipped; once all others are read, a SourceError reports them.

    Attributes:
        errors: why each of the skipped files could not be read.
        notes: what else the warning says.
    """

    is_sequence = False

    def __init__(self, path: Path, files: list[Path], size: Size | None = None, fps: float = RATE):
        """Reads the first of `files`, which are `path` itself or inside it. Raises SourceError."""
        self.path = self._root = path
        self.fps, self.count, self._asked = fps, len(files), size
        self._files = files
        self._left_out: set[Path] = set()
        self.errors: dict[Path, SourceError] = {}
        self.notes: list[str] = []
        self._ended = False
        self._read = self._readable(files)
        first = next(self._read, None)
        if first is None:
            errors = list(self.errors.values())
            raise errors[0] if len(files) == 1 else PicturesError(errors, len(files))
        self.size = first[1].image.shape[1::-1]
        self._all = itertools.chain([first], self._read)

    @property
    def warning(self) -> str | None:
        warnings = list(self.notes)
        if self.errors and not self._ended:  # the run is stopped before all are read
            *_, last = self.errors.values()
            left_out = f"{len(self.errors)} of {self.count} pictures left out so far"
            warnings.append(f"{left_out}, the last of them {last}")
        more = [f"and {len(warnings) - FEW} more like these"] if len(warnings) > FEW else []
        return "; ".join(warnings[:FEW] + more) or None

    def leave_out(self, unwanted: Callable[[Path], bool]) -> None:
        self._left_out = {file for file in self._files if unwanted(self._inside(file))}
        self.count = len(self._files) - len(self._left_out)
        for file in self._left_out:
            self.errors.pop(file, None)

    def _inside(self, file: Path) -> Path:
        return Path(file.name) if file == self._root else file.relative_to(self._root)

    def _readable(self, files: list[Path]) -> Generator[tuple[Path, Frame]]:
        for file in files:
            if file in self._left_out:
                continue
            try:
                yield file, self._frame(file)
            except NoPictureError as error:
                moves = file != self._root and kind_of(file) in ("animation", "video")
                self.errors[file] = SourceError(f"{file}: {MOVING}") if moves else error
            except SourceError as error:
                self.errors[file] = error

    def reread(self, name: Path) -> Frame:
        """Reads a photo again, by its `Frame.path`. Raises SourceError."""
        return self._frame(self._root / name if self._root.is_dir() else self._root)

    def _frame(self, file: Path) -> Frame:
        photo, note = read_photo(file)
        if note:
            self.notes.append(f"{file}: {note}")
        image = crop_to_fill(photo.image, self._asked)
        whole = None if photo.whole is None else crop_to_fill(photo.whole, self._asked)
        return replace(photo, image=image, whole=whole, path=self._inside(file))

    def __iter__(self) -> Iterator[Frame]:
        wanted = (it for it in self._all if it[0] not in self._left_out)
        for index, (_, frame) in enumerate(wanted):
            yield replace(frame, time=index / self.fps)
        self._ended = True
        if self.errors:
            raise PicturesError(list(self.errors.values()), len(self._files) - len(self._left_out))

    def close(self) -> None:
        self._all = iter(())
        self._read.close()


def open_folder(
    folder: Path, size: Size | None, fps: float | None, without: Collection[Path] = ()
) -> Pictures:
    """Opens all pictures in a folder and its subfolders, sorted by path, but those in `without`."""
    files = [file for file in files_in(folder) if file not in without]
    foreign = [file for file in files if is_foreign(file)]
    files = [file for file in files if file not in foreign]
    if not files:
        raise SourceError(f"{folder}: no picture in this folder")
    pictures = Pictures(folder, files, size, fps or RATE)
    if foreign:
        names = ", ".join(map(str, foreign[:FEW])) + (", ..." if len(foreign) > FEW else "")
        pictures.notes.append(f"{names}: neither picture nor video, left alone")
    for inner in folder.rglob("*"):
        if inner.is_dir() and not os.access(inner, os.R_OK | os.X_OK):
            pictures.errors[inner] = SourceError(f"{inner}: cannot be read: Permission denied")
    return pictures


def read_picture(path: Path) -> np.ndarray:
    """Reads a picture file as uint8 [H,W,3] BGR; raises what `read_photo` does."""
    return read_photo(path)[0].image


def read_photo(path: Path) -> tuple[Frame, str]:
    """Reads a picture file of any format, upright, with transparent parts in white.

    Returns:
        The photo, and a note about what of the file is missing from it, or "".

    Raises:
        NoPictureError: not a picture that Pillow knows, or an animation.
        SourceError: missing, empty, damaged, or too large.
    """
    check_file(str(path))
    with suppress_stderr(), warnings.catch_warnings(action="ignore"), open_photo(path) as picture:
        check_picture(path, picture)
        # Pillow keeps only 8 of 16 bits per colour, and says only before loading how many it found.
        deep = picture.format in ("PNG", "TIFF") and ";16" in str(getattr(picture, "tile", ""))
        try:
            note = load(picture)
            pixels = decode_deep(path) if deep else decode(picture)
        except Exception as error:  # Pillow raises many exception types
            raise SourceError(f"{path}: {DAMAGED}") from error
        metadata = read_metadata(picture)
    image, whole = split_alpha(pixels)
    return Frame(image, whole=whole, metadata=metadata), note


def open_photo(path: Path) -> "Image.Image":
    """Opens a picture; raises SourceError, or NoPictureError if Pillow does not know its format."""
    from PIL import Image

    try:
        return open_picture(path)
    except Image.DecompressionBombError as error:
        raise SourceError(f"{path}: {TOO_LARGE}") from error
    except Exception as error:  # Pillow raises many exception types
        raise NoPictureError(f"{path}: {DAMAGED}") from error


def check_picture(path: Path, picture: "Image.Image") -> None:
    """Raises SourceError if an open picture should not be decoded."""
    tags = getattr(picture, "tag_v2", {})  # of a TIFF
    if picture.width * picture.height > MAX_PIXELS:
        raise SourceError(f"{path}: {TOO_LARGE}")
    if is_animation(picture):
        raise AnimationError(f"{path}: {MOVING}")
    if tags.get(Base.NewSubfileType, 0) & 1 or Base.DNGVersion in tags:  # a preview's
        raise SourceError(f"{path}: a raw photo; develop it into a JPEG or TIFF first")


def load(picture: "Image.Image") -> str:
    """Decodes a picture, even a JPEG whose end is missing; returns a note on what is missing."""
    from PIL import ImageFile

    try:
        picture.load()
        pages = getattr(picture, "n_frames", 1)
        is_one = pages == 1 or picture.format == "MPO"  # MPO repeats it for 3D screens
        return "" if is_one else f"{pages} pages or pictures; only the first is used"
    except OSError as error:
        if picture.format not in ("JPEG", "MPO") or "truncated" not in str(error):
            raise
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        picture.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    return "the end of the file is missing; that part of the picture is grey"


def decode(picture: "Image.Image") -> np.ndarray:
    """Converts a loaded picture to uint8 [H,W,3] BGR or [H,W,4] BGRA, upright as its EXIF says."""
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        return cv2.cvtColor(np.asarray(picture.convert("RGBA")), cv2.COLOR_RGBA2BGRA)
    return cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2BGR)


def decode_deep(path: Path) -> np.ndarray:
    """Reads a file as uint16 [H,W,3] BGR or [H,W,4] BGRA, upright; raises many types of errors."""
    with open_picture(path) as picture:
        picture.verify()  # OpenCV would allocate gigabytes for a chunk longer than its PNG
    data = np.fromfile(path, np.uint8)  # imread cannot open Unicode names on Windows
    pixels = cv2.imdecode(data, KEEP_DEPTH)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("OpenCV reads no 16 bits of it")
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else pixels


def split_alpha(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Makes a frame's `image` and `whole` from uint8 or uint16 [H,W,3] BGR or [H,W,4] BGRA."""
    if pixels.shape[2] == 4 and pixels[..., 3].min() == np.iinfo(pixels.dtype).max:
        pixels = np.ascontiguousarray(pixels[..., :3])
    if pixels.shape[2] == 3:
        return eight_bits(pixels), pixels if pixels.dtype == np.uint16 else None
    image = flatten_alpha(eight_bits(pixels))
    pixels[pixels[..., 3] == 0] = 0  # erase what cannot be seen
    return image, pixels


def eight_bits(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> uint8."""
    return image if image.dtype == np.uint8 else cv2.convertScaleAbs(image, alpha=1 / 257)
