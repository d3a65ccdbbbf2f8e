"""Frames in: cameras, videos, streams, pictures and a demo, all read the same way.

with open_source("0") as source:
    for frame in source:
        ...

The live ones stand in `camera.py`.
"""

import itertools
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from quiet import hushed

CAMERA_SIZE = (1280, 720)
RATE = 30.0  # frames a second, where nobody knows better
LIMIT = 10.0  # seconds a source may take to answer
WAIT = 10.0  # seconds to wait for a camera that stopped sending frames
MAX_PIXELS = 2**26  # of a video's frame; a larger one is damaged or a trap
TEXT_ART = ("ansi", "bintext", "xbin", "idf")  # FFmpeg would draw a text file
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
PORTRAIT = Path(__file__).parent / "assets" / "portrait.jpg"
KINDS = "give a camera number, a video, a picture, a folder of pictures, a URL or demo"

Size = tuple[int, int]


class SourceError(Exception):
    """A source that cannot be opened or read on; one line fit for the user."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: uint8 [H,W,3] BGR, contiguous.
        time: seconds since the source's first frame, never falling. A video's own timestamps, so
            that a variable rate survives.
        path: of a picture, within its folder; None where the frame is no file of its own.
        taken: when it arrived, in seconds of `time.monotonic`; None where that says nothing.
    """

    image: np.ndarray
    time: float
    path: Path | None = None
    taken: float | None = None


class Source:
    """Where frames come from. Open already, and to be iterated once.

    Attributes:
        size: (width, height) of the first frame.
        fps: the nominal rate, frames a second; 30 where unknown.
        live: frames come at the world's pace: the newest wins, late ones are dropped.
        independent: the frames are unrelated pictures.
        count: number of frames; an estimate, None where there is no end or it is unknown.
        dropped: live frames never handed out since the iteration began, because their taker was
            slow. Those left out to keep to an asked rate do not count.
        rested: seconds in which no frames came because nobody wanted them.
        path: of the file or folder itself; None where it is none.
        sound: the file whose sound belongs to the frames, should it have any; None where none can.
        warning: one line about what went wrong without an error, final when the iteration is.
        trouble: one line about what is wrong right now, None while all is well.
    """

    size: Size
    fps: float = RATE
    live: bool = False
    independent: bool = False
    count: int | None = None
    dropped: int = 0
    rested: float = 0.0
    path: Path | None = None
    sound: Path | None = None
    warning: str | None = None
    trouble: str | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in order; each is the taker's to keep and change.

        Raises:
            SourceError: a picture is unreadable, a camera or stream fell silent.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Ends the iteration, frees devices and files, leaves no thread; again does no harm."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def open_source(
    text: str,
    size: Size | None = None,
    fps: float | None = None,
    limit: float = LIMIT,
    wait: float = WAIT,
) -> Source:
    """Opens what the user named, checked and with the first frame decoded.

    Args:
        text: a camera's number, the path of a video, a picture or a folder, a URL, or "demo".
        size: (width, height) asked of a camera and given to a demo; all else is scaled to cover
            it and cropped at the centre. None for the source's own.
        fps: at most so many frames a second; None for the source's own.
        limit: seconds a camera, a file or a URL may take to answer.
        wait: seconds to wait for a camera that stopped sending frames.

    Raises:
        SourceError: nothing there, or nothing that can be read.
    """
    from camera import Camera, Stream  # which builds on this module

    if text == "demo":
        return Demo(size or CAMERA_SIZE, fps or RATE)
    if text.isascii() and text.isdigit():
        return Camera(int(text), size, fps, limit=limit, wait=wait)
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        decoder = Decoder(text, size, fps, limit, remote=True)
        return Video(decoder) if decoder.duration else Stream(decoder, limit)
    if text and os.path.isdir(text):
        return open_folder(Path(text), size, fps)
    check_file(text)
    if Path(text).suffix.lower() in PICTURES:
        return Pictures(Path(text), [Path(text)], size, fps or RATE)
    return Video(Decoder(text, size, fps, limit))


def check_file(text: str) -> None:
    """Refuses what no decoder needs to look at, with a better reason than a decoder would give."""
    if not os.path.exists(text):
        raise SourceError(f"{text or 'empty name'}: no such file or folder; {KINDS}")
    if not os.path.isfile(text):
        raise SourceError(f"{text}: neither a file nor a folder; {KINDS}")
    try:
        with open(text, "rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise SourceError(f"{text}: cannot be read: {error.strerror}") from error
    if empty:
        raise SourceError(f"{text}: the file is empty; {KINDS}")


def cover(image: np.ndarray, size: Size | None) -> np.ndarray:
    """Scales so that the picture covers `size`, and crops at the centre, as webcams do."""
    height, width = image.shape[:2]
    if size is None or size == (width, height):
        return np.ascontiguousarray(image)
    wide = min(width, max(1, round(height * size[0] / size[1])))
    high = min(height, max(1, round(width * size[1] / size[0])))
    left, top = (width - wide) // 2, (height - high) // 2
    image = image[top : top + high, left : left + wide]
    shrinks = wide > size[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def at_most(fps: float | None) -> Callable[[float], bool]:
    """A test that passes frames, by their times in seconds, on average at most `fps` a second."""
    step = 1 / fps if fps else 0.0
    beat = 0.0  # when the next frame is due; a quarter of a step early is early enough

    def due(seconds: float) -> bool:
        nonlocal beat
        if seconds < beat - step / 4:
            return False
        beat = max(beat, seconds - step) + step
        return True

    return due


# --- Videos


class Video(Source):
    """A video with an end, from its first frame to its last."""

    def __init__(self, decoder: "Decoder"):
        self._decoder = decoder
        self._frames = decoder.frames()
        first = next(self._frames, None)
        if first is None:
            raise SourceError(f"{decoder.name}: damaged; none of its frames can be decoded")
        self._all = itertools.chain([first], self._frames)
        self.size, self.fps, self.count = decoder.size, decoder.fps, decoder.count
        if not decoder.remote:
            self.path = self.sound = Path(decoder.name)

    def __iter__(self) -> Iterator[Frame]:
        yield from self._all
        self.warning = self._decoder.warning

    def close(self) -> None:
        self._all = iter(())
        self._frames.close()


class Decoder:
    """Opens a video file or a URL with PyAV and decodes it.

    Attributes:
        size: (width, height), of every frame; known after the first.
        fps, count, duration: frames a second, number of frames, seconds; count and duration are
            None where unknown.
        warning: one line about damage met while decoding.

    Raises:
        SourceError: not readable, no answer within `limit` seconds, no picture in it.
            Iterating raises it too, where a URL (`remote`) falls silent.
    """

    def __init__(self, name: str, size=None, fps=None, limit=LIMIT, remote=False):
        import av
        from av.video.reformatter import VideoReformatter

        self.name, self.size, self.limit, self.remote = name, size, limit, remote
        self.warning = None
        self._end = 0.0  # seconds; where the last decoded frame ends
        self._reformatter = VideoReformatter()
        self._av_error = av.FFmpegError
        start = time.monotonic()
        # "file:", because FFmpeg takes what stands before a colon for a protocol; and a file may
        # not send us into the network.
        address = name if remote else f"file:{name}"
        options = {} if remote else {"protocol_whitelist": "file,crypto,data"}
        try:
            self.container = av.open(
                address,
                container_options=options,
                timeout=(limit, limit),
                metadata_errors="replace",  # a damaged title must not stop us
            )
        except av.FFmpegError as error:
            late = time.monotonic() - start >= limit
            empty = isinstance(error, av.InvalidDataError)
            raise SourceError(self._why_not(error.strerror, late, empty)) from error
        try:
            self._look(fps)
        except SourceError:
            self.container.close()
            raise

    def _why_not(self, reason: str, late: bool, empty: bool) -> str:
        if not self.remote:
            return f"{self.name}: damaged or not a video; {KINDS}"
        if late:
            reason = f"no answer within {self.limit:g} s"
        elif empty:
            reason = "sends nothing that is a video"
        return f"{self.name}: {reason}; check the address and the network"

    def _look(self, fps: float | None) -> None:
        from av.stream import Disposition

        self.stream = stream = self.container.streams.best("video")
        if stream is None or stream.disposition & Disposition.attached_pic:
            raise SourceError(f"{self.name}: holds no moving picture, only sound; {KINDS}")
        if stream.codec_context is None:
            raise SourceError(f"{self.name}: coded in an unknown way; convert it to H.264")
        if stream.codec_context.name in TEXT_ART:
            raise SourceError(f"{self.name}: damaged or not a video; {KINDS}")
        # Frames decoded side by side come late, which only a file does not mind.
        stream.thread_type = "SLICE" if self.remote else "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self.duration = None
        if stream.duration:
            self.duration = float(stream.duration * stream.time_base)
        elif self.container.duration:
            self.duration = self.container.duration / 1e6
        own = float(stream.average_rate or stream.guessed_rate or 0)
        own = own if 0 < own <= 1000 else RATE
        self.fps = min(fps, own) if fps else own
        self.count = stream.frames or max(0, round((self.duration or 0) * own)) or None
        if self.count and self.fps < own:
            self.count = math.ceil(self.count * self.fps / own)
        self._due = at_most(self.fps if self.fps < own else None)

    def frames(self) -> Iterator[Frame]:
        """Decodes from the start; closes the file at the end, or when itself is closed."""
        first, now = None, 0.0
        try:
            for raw in self._raw_frames():
                if raw.time is not None:
                    first = raw.time if first is None else first
                    now = max(now, raw.time - first)
                else:
                    now = self._end
                length = (raw.duration or 0) * (raw.time_base or 0)
                self._end = now + float(length or 1 / self.fps)
                if self._due(now):
                    yield Frame(self._picture(raw), now)
            self._check_end()
        finally:
            self.container.close()

    def _raw_frames(self) -> Iterator:
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except self._av_error as error:
                if self.remote:
                    what = "stopped sending frames; check the address and the network"
                    raise SourceError(f"{self.name} {what}") from error
                self._damaged()
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except self._av_error:
                self._damaged()

    def _damaged(self) -> None:
        what = f"damaged after {self._end:.1f} s; what cannot be decoded is left out"
        self.warning = self.warning or f"{self.name}: {what}"

    def _check_end(self) -> None:
        alone = len(self.container.streams) == 1  # else the length may be that of the sound
        known = self.duration if alone or self.stream.duration else None
        if known and known - self._end > 0.3:
            what = f"ends after {self._end:.1f} s of {known:.1f} s; the rest is missing"
            self.warning = self.warning or f"{self.name}: {what}"

    def _picture(self, raw) -> np.ndarray:
        transparent = self._is_transparent(raw)
        kind = "bgra" if transparent else "bgr24"
        image = self._reformatter.reformat(raw, format=kind).to_ndarray()
        image = on_white(image) if transparent else image
        turn = {
            90: cv2.ROTATE_90_COUNTERCLOCKWISE,
            180: cv2.ROTATE_180,
            270: cv2.ROTATE_90_CLOCKWISE,
        }.get(raw.rotation % 360)
        image = image if turn is None else cv2.rotate(image, turn)
        image = cover(image, self.size)
        self.size = image.shape[1], image.shape[0]
        return image

    def _is_transparent(self, raw) -> bool:
        # The fourth byte of uncompressed pixels means nothing in most files, and is 0.
        uncompressed = self.stream.codec_context.name == "rawvideo"
        return not uncompressed and any(plane.is_alpha for plane in raw.format.components)


# --- Pictures


class Pictures(Source):
    """Picture files, unrelated to one another, each of its own size unless one is asked for.

    Those that cannot be read are left out, and told of by a SourceError after the others.
    """

    independent = True

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
                yield file, cover(read_picture(file), self._asked)
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
        with hushed():
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
    return on_white(whole)


def on_white(image: np.ndarray) -> np.ndarray:
    """uint8 [H,W,4] BGRA -> uint8 [H,W,3]: the colours under what is transparent are not shown."""
    image = image.astype(np.uint16)
    alpha = image[..., 3:]
    return ((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


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


# --- Demo


class Demo(Source):
    """A portrait photograph that sways, zooms and turns gently, without end.

    Frame `i` is the same picture in every run.

    Args:
        size: (width, height).
        fps: frames a second.
        paced: live: frames come at `fps`, and those due while the taker was busy are dropped.
            Else they come as fast as they are taken.
    """

    VIEW = (484, 488)  # pixels of the photograph, the widest and highest view of it
    CENTRE = (243, 3)  # of the view, and its top

    def __init__(self, size: Size = CAMERA_SIZE, fps: float = RATE, paced: bool = True):
        self.size, self.fps, self.live = size, fps, paced
        self._closed = False
        portrait = read_picture(PORTRAIT)
        wide = min(self.VIEW[0], self.VIEW[1] * size[0] / size[1])
        scale = size[0] / wide
        self._centre = self.CENTRE[0] * scale, self.CENTRE[1] * scale + size[1] / 2
        # Enlarged once, well, so that a frame needs no more than a cheap warp.
        self._portrait = cv2.resize(
            portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC
        )

    def __iter__(self) -> Iterator[Frame]:
        start, index = time.monotonic(), 0
        while not self._closed:
            if self.live:
                due = max(index, math.floor((time.monotonic() - start) * self.fps))
                self.dropped += due - index
                index = due
                time.sleep(max(0.0, start + index / self.fps - time.monotonic()))
            taken = time.monotonic() if self.live else None
            yield Frame(self.picture(index), index / self.fps, taken=taken)
            index += 1

    def picture(self, index: int) -> np.ndarray:
        """uint8 [H,W,3] BGR of frame `index`, 0 or more."""
        phase = 2 * math.pi * index / self.fps
        zoom = 0.97 + 0.03 * math.cos(phase / 11)
        angle = math.radians(1.2) * math.sin(phase / 7)
        width, height = self.size
        x = self._centre[0] + 0.012 * width * math.sin(phase / 5)
        y = self._centre[1] + 0.006 * height * math.sin(phase / 3)
        a, b = zoom * math.cos(angle), zoom * math.sin(angle)
        # From a pixel of the frame to one of the photograph.
        there = np.array(
            [
                [a, -b, x - a * width / 2 + b * height / 2],
                [b, a, y - b * width / 2 - a * height / 2],
            ]
        )
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            self._portrait, there, self.size, flags=how, borderMode=cv2.BORDER_REFLECT_101
        )

    def close(self) -> None:
        self._closed = True
