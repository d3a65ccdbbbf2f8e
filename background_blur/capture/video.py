"""Videos and streams, decoded by PyAV."""

import itertools
import math
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from background_blur.capture.base import KINDS, LIMIT, RATE, Source, rate_limiter
from background_blur.capture.hdr import ToneMapper, colour_format, is_wide
from background_blur.capture.orientation import display_matrix, turn_upright
from background_blur.errors import SourceError
from background_blur.frames import Frame, Size
from background_blur.imaging import crop_to_fill, flatten_alpha

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

MAX_PIXELS = 2**26  # of a video's frame; a larger one is damaged or a trap

TEXT_ART = ("ansi", "bintext", "xbin", "idf")  # FFmpeg would draw a text file


# --- Videos


class Video(Source):
    """A video with an end, played once."""

    def __init__(self, decoder: "Decoder"):
        self._decoder = decoder
        self._frames = decoder.frames()
        first = next(self._frames, None)
        if first is None:
            raise SourceError(f"{decoder.name}: damaged; none of its frames can be decoded")
        self._all = itertools.chain([first], self._frames)
        height, width = first.image.shape[:2]
        self.size, self.fps, self.count = (width, height), decoder.fps, decoder.count
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
        fps: frames per second.
        count: number of frames, None if unknown.
        duration: in seconds, None if unknown.
        warning: one line about damage found while decoding, or None.

    Raises:
        SourceError: not readable, no answer within `limit` seconds, or no video in it.
            `frames` raises it too, if a URL (`remote`) stops sending.
    """

    def __init__(
        self,
        name: str,
        size: Size | None = None,
        fps: float | None = None,
        limit: float = LIMIT,
        remote: bool = False,
    ):
        import av
        from av.error import FFmpegError, InvalidDataError
        from av.video.reformatter import VideoReformatter

        self.name, self.limit, self.remote = name, limit, remote
        self.warning: str | None = None
        self._size = size  # of every frame; that of the first if None
        self._end = 0.0  # seconds; where the last decoded frame ends
        self._reformatter = VideoReformatter()
        self._tone_mapper: ToneMapper | None = None
        self._rotation: int | None = None  # of the frame whose display matrix `_matrix` is
        self._matrix = np.eye(2)
        start = time.monotonic()
        # "file:", because FFmpeg takes what is before a colon for a protocol; and a file must not
        # make us open network connections.
        address = name if remote else f"file:{name}"
        options = {} if remote else {"protocol_whitelist": "file,crypto,data"}
        try:
            self.container = av.open(
                address,
                container_options=options,
                timeout=(limit, limit),
                metadata_errors="replace",  # a damaged title must not stop us
            )
        except FFmpegError as error:
            late = time.monotonic() - start >= limit
            invalid = isinstance(error, InvalidDataError)
            raise self._open_error(str(error.strerror), late, invalid) from error
        try:
            self.stream = self._video_stream()
        except SourceError:
            self.container.close()
            raise
        self._set_timing(fps)

    def _open_error(self, reason: str, late: bool, invalid: bool) -> SourceError:
        if not self.remote:
            return SourceError(f"{self.name}: damaged or not a video", KINDS)
        if late:
            reason = f"no answer within {self.limit:g} s"
        elif invalid:
            reason = "sends nothing that is a video"
        return SourceError(f"{self.name}: {reason}; check the address and the network")

    def _video_stream(self) -> "VideoStream":
        from av.stream import Disposition
        from av.video.stream import VideoStream

        stream = self.container.streams.best("video")
        is_video = isinstance(stream, VideoStream)
        if not is_video or stream.disposition & Disposition.attached_pic:
            raise SourceError(f"{self.name}: holds no moving picture, only sound", KINDS)
        if stream.codec_context is None:
            raise SourceError(f"{self.name}: coded in an unknown way; convert it to H.264")
        if stream.codec_context.name in TEXT_ART:
            raise SourceError(f"{self.name}: damaged or not a video", KINDS)
        # Decoding several frames at once adds latency, which matters only for live streams.
        stream.thread_type = "SLICE" if self.remote else "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return stream

    def _set_timing(self, fps: float | None) -> None:
        """Finds out duration, rate and number of frames; at most `fps` frames per second."""
        stream = self.stream
        self.duration: float | None = None
        if stream.duration and stream.time_base:
            self.duration = float(stream.duration * stream.time_base)
        elif self.container.duration:
            self.duration = self.container.duration / 1e6
        own = float(stream.average_rate or stream.guessed_rate or 0)
        own = own if 0 < own <= 1000 else RATE
        self.fps = min(fps, own) if fps else own
        self.count = stream.frames or max(0, round((self.duration or 0) * own)) or None
        if self.count and self.fps < own:
            self.count = math.ceil(self.count * self.fps / own)
        self._due = rate_limiter(self.fps if self.fps < own else None)

    def frames(self) -> Generator[Frame]:
        """Decodes from the start; closes the file at the end, or when it is closed itself."""
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
                    yield Frame(self._image(raw), now)
            self._check_end()
        finally:
            self.container.close()

    def _raw_frames(self) -> Iterator["VideoFrame"]:
        from av.error import FFmpegError

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                if self.remote:
                    what = "stopped sending frames; check the address and the network"
                    raise SourceError(f"{self.name} {what}") from error
                self._damaged()
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except FFmpegError:
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

    def _image(self, raw: "VideoFrame") -> np.ndarray:
        transparent = self._is_transparent(raw)
        kind = "bgra" if transparent else "bgr24"
        frame = self._tone_mapped(raw) if is_wide(raw) and not transparent else raw
        image = self._reformatter.reformat(frame, format=kind).to_ndarray()
        image = flatten_alpha(image) if transparent else image
        image = turn_upright(image, self._display_matrix(raw))
        image = crop_to_fill(image, self._size)
        self._size = image.shape[1], image.shape[0]
        return image

    def _display_matrix(self, raw: "VideoFrame") -> np.ndarray:
        """Reads the matrix once, and again where the rotation changes.

        A frame whose side data was read is part of a reference cycle: its memory, megabytes, is
        held until Python's garbage collection, which counts objects, happens to run.
        """
        if raw.rotation != self._rotation:
            self._rotation, self._matrix = raw.rotation, display_matrix(raw)
        return self._matrix

    def _tone_mapped(self, raw: "VideoFrame") -> "VideoFrame":
        if self._tone_mapper is None or self._tone_mapper.accepts != colour_format(raw):
            self._tone_mapper = ToneMapper(raw)
        return self._tone_mapper(raw)

    def _is_transparent(self, raw: "VideoFrame") -> bool:
        # The fourth byte of uncompressed pixels is unused, and 0, in most files.
        uncompressed = self.stream.codec_context.name == "rawvideo"
        return not uncompressed and any(plane.is_alpha for plane in raw.format.components)
