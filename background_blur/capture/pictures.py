"""Photos: files and folders of them."""

import itertools
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from background_blur.capture.base import RATE, Source, check_file
from background_blur.errors import FEW, PicturesError, SourceError
from background_blur.frames import Frame, Size
from background_blur.imaging import crop_to_fill, flatten_alpha
from background_blur.metadata import read_metadata
from background_blur.system import suppress_stderr

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


# --- Pictures


class Pictures(Source):
    """Picture files, unrelated to one another, each of its own size unless one is asked for.

    Those that cannot be read are left out, and reported by a SourceError after the others.
    """

    is_sequence = False

    def __init__(self, path: Path, files: list[Path], size: Size | None = None, fps: float = RATE):
        """Reads the first of `files`, which are `path` itself or lie in it. Raises SourceError."""
        self.path = self._root = path
        self.fps, self.count, self._asked = fps, len(files), size
        self._files = files
        self._left_out: set[Path] = set()
        self._errors: list[SourceError] = []
        self._multi_page: list[Path] = []
        self._ended = False
        self._read = self._readable(files)
        first = next(self._read, None)
        if first is None:
            raise self._errors[0] if len(files) == 1 else PicturesError(self._errors, len(files))
        self.size = first[1].image.shape[1::-1]
        self._all = itertools.chain([first], self._read)

    @property
    def warning(self) -> str | None:
        warnings = []
        if self._errors and not self._ended:  # the run ends before all are read
            left_out = f"{len(self._errors)} of {self.count} pictures left out so far"
            warnings.append(f"{left_out}, the last of them {self._errors[-1]}")
        if self._multi_page:
            more = f" and {len(self._multi_page) - FEW} more" if len(self._multi_page) > FEW else ""
            names = ", ".join(str(file) for file in self._multi_page[:FEW]) + more
            warnings.append(f"{names}: several frames or pages; only the first is taken")
        return "; ".join(warnings) or None

    def leave_out(self, unwanted: Callable[[Path], bool]) -> None:
        self._left_out = {file for file in self._files if unwanted(self._inside(file))}
        self.count = len(self._files) - len(self._left_out)

    def _inside(self, file: Path) -> Path:
        return Path(file.name) if file == self._root else file.relative_to(self._root)

    def _readable(self, files: list[Path]) -> Generator[tuple[Path, Frame]]:
        for file in files:
            if file in self._left_out:
                continue
            try:
                frame = self._frame(file)
            except SourceError as error:
                self._errors.append(error)
                continue
            if frame.metadata.frames > 1:
                self._multi_page.append(file)
            yield file, frame

    def _frame(self, file: Path) -> Frame:
        image, whole = read_whole(file)
        image, metadata = crop_to_fill(image, self._asked), read_metadata(file)
        whole = None if whole is None else crop_to_fill(whole, self._asked)
        return Frame(image, 0.0, self._inside(file), whole=whole, metadata=metadata)

    def __iter__(self) -> Iterator[Frame]:
        wanted = (it for it in self._all if it[0] not in self._left_out)
        for index, (_, frame) in enumerate(wanted):
            yield replace(frame, time=index / self.fps)
        self._ended = True
        if self._errors:
            raise PicturesError(self._errors, len(self._files) - len(self._left_out))

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
    return read_whole(path)[0]


def read_whole(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a picture file as `read_picture` does, and as a frame's `whole`."""
    check_file(str(path))
    data = np.fromfile(path, np.uint8)  # not imread: it knows no unicode names on Windows
    image = whole = None
    try:
        with suppress_stderr():
            if chunks_fit(data):
                image, whole = decode_picture(data)
    except cv2.error as error:
        raise SourceError(f"{path}: too large, or damaged; make it smaller") from error
    if image is None:
        raise SourceError(f"{path}: damaged, or not a picture; take it out, or save it as PNG")
    return image, whole


def decode_picture(data: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """An encoded picture as `read_whole` returns it, or None if it cannot be decoded."""
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None or data[:2].tobytes() == b"\xff\xd8":  # JPEGs: 8 bits, never transparent
        return image, None
    # Not IMREAD_UNCHANGED, which leaves the picture lying on its side; no GDAL is used.
    whole = cv2.imdecode(data, cv2.IMREAD_LOAD_GDAL)
    if whole is None or whole.dtype not in (np.uint8, np.uint16):
        return image, None
    if whole.shape[2:] in ((), (1,)):
        whole = cv2.cvtColor(whole, cv2.COLOR_GRAY2BGR)
    if whole.shape[2] == 4 and is_opaque(whole):
        whole = np.ascontiguousarray(whole[..., :3])
    if whole.shape[2] == 4:
        image = flatten_alpha(eight_bits(whole))
        whole[whole[..., 3] == 0] = 0  # what cannot be seen
    return image, whole if whole.shape[2] == 4 or whole.dtype == np.uint16 else None


def is_opaque(image: np.ndarray) -> bool:
    """Whether a uint8 or uint16 [H,W,4] has no transparent pixel."""
    return image[..., 3].min() == np.iinfo(image.dtype).max


def eight_bits(image: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> uint8."""
    return image if image.dtype == np.uint8 else cv2.convertScaleAbs(image, alpha=1 / 257)


def chunks_fit(data: np.ndarray) -> bool:
    """False for a PNG with a chunk longer than the file: OpenCV would allocate gigabytes for it."""
    if data[:8].tobytes() != b"\x89PNG\r\n\x1a\n":
        return True
    at = 8
    while at + 12 <= data.size:
        length, kind = data[at : at + 4].tobytes(), data[at + 4 : at + 8].tobytes()
        at += 12 + int.from_bytes(length, "big")
        if kind == b"IEND":
            break
    return at <= data.size
