"""Photos: files and folders of them."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from background_blur.capture.base import RATE, Source, check_file
from background_blur.errors import SourceError
from background_blur.frames import Frame, Size
from background_blur.imaging import crop_to_fill, flatten_alpha
from background_blur.system import suppress_stderr

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


# --- Pictures


class Pictures(Source):
    """Picture files, unrelated to one another, each of its own size unless one is asked for.

    Those that cannot be read are left out, and told of by a SourceError after the others.
    """

    is_sequence = False

    def __init__(self, path: Path, files: list[Path], size: Size | None = None, fps=RATE):
        self.path, self._asked = path, size
        self.fps, self.count = fps, len(files)
        self._errors = []
        self._read = self._readable(files)
        first = next(self._read, None)
        if first is None:
            raise self._errors[0]
        self.size = first[1].shape[1], first[1].shape[0]
        self._all = itertools.chain([first], self._read)

    def _readable(self, files: list[Path]) -> Iterator[tuple[Path, np.ndarray]]:
        for file in files:
            try:
                yield file, crop_to_fill(read_picture(file), self._asked)
            except SourceError as error:
                self._errors.append(error)

    def __iter__(self) -> Iterator[Frame]:
        for index, (file, image) in enumerate(self._all):
            inside = Path(file.name) if file == self.path else file.relative_to(self.path)
            yield Frame(image, index / self.fps, inside)
        if self._errors:
            left_out = f"{len(self._errors)} of {self.count} pictures left out"
            raise SourceError(f"{left_out}: {self._errors[0]}")

    def close(self) -> None:
        self._all = iter(())
        self._read.close()


def open_folder(folder: Path, size: Size | None, fps: float | None) -> Pictures:
    """All pictures in a folder and the folders in it, sorted by path."""
    from imutils.paths import list_files

    paths = sorted(Path(path) for path in list_files(str(folder), validExts=PICTURES))
    if not paths:
        raise SourceError(f"{folder}: no picture in this folder; it takes {' '.join(PICTURES)}")
    return Pictures(folder, paths, size, fps or RATE)


def read_picture(path: Path) -> np.ndarray:
    """uint8 [H,W,3] BGR of a picture file, turned upright as its EXIF says.

    16-bit values are scaled to 8, grey becomes colour, what is transparent white.

    Raises:
        SourceError: missing, empty, damaged, no picture, or too large.
    """
    check_file(str(path))
    data = np.fromfile(path, np.uint8)  # not imread: it knows no unicode names on Windows
    try:
        with suppress_stderr():
            image = decode_picture(data) if chunks_fit(data) else None
    except cv2.error as error:
        raise SourceError(f"{path}: too large, or damaged; make it smaller") from error
    if image is None:
        raise SourceError(f"{path}: damaged, or not a picture; take it out, or save it as PNG")
    return image


def decode_picture(data: np.ndarray) -> np.ndarray | None:
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None or data[:2].tobytes() == b"\xff\xd8":  # JPEGs are never transparent
        return image
    # Not IMREAD_UNCHANGED, which leaves the picture lying on its side; no GDAL is used.
    whole = cv2.imdecode(data, cv2.IMREAD_LOAD_GDAL)
    if whole is None or whole.shape[2:] != (4,) or whole.dtype not in (np.uint8, np.uint16):
        return image
    if whole.dtype == np.uint16:
        whole = cv2.convertScaleAbs(whole, alpha=1 / 257)
    return flatten_alpha(whole)


def chunks_fit(data: np.ndarray) -> bool:
    """False of a PNG with a chunk longer than the file: OpenCV would make gigabytes of room."""
    if data[:8].tobytes() != b"\x89PNG\r\n\x1a\n":
        return True
    at = 8
    while at + 12 <= data.size:
        length, kind = data[at : at + 4].tobytes(), data[at + 4 : at + 8].tobytes()
        at += 12 + int.from_bytes(length, "big")
        if kind == b"IEND":
            break
    return at <= data.size
