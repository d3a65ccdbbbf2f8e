"""Videos and streams, decoded by PyAV."""

import itertools
import math
import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from background_blur.capture.base import KINDS, LIMIT, RATE, Source, rate_limiter
from background_blur.capture.deinterlacing import deinterlaced
from background_blur.capture.hdr import ToneMapper, colour_format, is_wide
from background_blur.capture.orientation import display_matrix, turn_upright
from background_blur.errors import SourceError
from background_blur.frames import Frame, Size
from background_blur.imaging import crop_to_fill, flatten_alpha, letterbox
from background_blur.media import Demuxer, colour_matrix, open_media, without_credentials

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_PIXELS = 2**26  # per frame; a larger one is damaged or an attack
TEXT_ART = ("ansi", "bintext", "xbin", "idf")  # with these, FFmpeg would draw a text file
PLAYLISTS = ("hls", "dash")  # their file size says nothing about the video's


class Video(Source):
    """A video of finite length, played once."""

    def __init__(self, decoder: "Decoder"):
        self._decoder = decoder
        self._frames = decoder.frames()
        try:
            first = next(self._frames, None)
            if first is None:
                raise SourceError(f"{decoder.name}: damaged; none of its frames can be decoded")
        except BaseException:
            decoder.close()
            raise
        self._all = itertools.chain([first], self._frames)
        height, width = first.image.shape[:2]
        self.size, self.fps, self.count = (width, height), decoder.fps, decoder.count
        self.tracks = decoder.demuxer
        if not decoder.remote:
            self.path = Path(decoder.name)

    def __iter__(self) -> Iterator[Frame]:
        demuxer = self._decoder.demuxer
        if not demuxer.is_taken:
            demuxer.skip(*demuxer.others)
        yield from self._all
        self.warning = self._decoder.warning
        if not demuxer.is_taken:
            self._decoder.close()

    def close(self) -> None:
        self._all = iter(())
        self._frames.close()
        self._decoder.close()


class Decoder:
    """Opens a video file or a URL with PyAV and decodes it.

    Attributes:
        name: for messages.
        live: whether it has no end, and its frames come in real time.
        fps: frames per second.
        count: number of frames, None if unknown.
        duration: in seconds, None if unknown.
        warning: one line about damage found while decoding, or None.

    Raises:
        SourceError: it cannot be read, does not answer within `limit` seconds, or has no video.
            `frames` raises it too, if a URL (`remote`) stops sending, or if FFmpeg cannot convert
            the video's colours.
    """

    def __init__(
        self,
        address: str,
        size: Size | None = None,
        fps: float | None = None,
        *,
        limit: float = LIMIT,
        remote: bool = False,
    ):
        from av.error import FFmpegError, InvalidDataError
        from av.video.reformatter import Interpolation, VideoReformatter

        self.name = without_credentials(address) if remote else address
        self.limit, self.remote = limit, remote
        self.warning: str | None = None
        self._asked, self._shape = size, 0.0  # the shape is that of the first frame
        self._size: Size | None = None  # of every frame
        self._end = 0.0  # seconds; where the last decoded frame ends
        self._reformatter = VideoReformatter()
        # FFmpeg's faster conversion darkens by one level, at worst by three.
        self._scaling = Interpolation.BICUBIC | Interpolation.ACCURATE_RND
        self._tone_mapper: ToneMapper | None = None
        self._rotation: int | None = None  # of the frame whose display matrix `_matrix` is
        self._matrix = np.eye(2)
        start = time.monotonic()
        try:
            container = open_media(address, remote, limit)
        except FFmpegError as error:
            late = time.monotonic() - start >= limit
            invalid = isinstance(error, InvalidDataError)
            raise self._open_error(str(error.strerror), late, invalid) from error
        try:
            self.stream = self._video_stream(container)
        except SourceError:
            container.close()
            raise
        self.demuxer = Demuxer(self.name, container, self.stream)
        self._pixels_aspect = self.stream.codec_context.sample_aspect_ratio
        self._set_timing(container, fps)

    def _open_error(self, reason: str, late: bool, invalid: bool) -> SourceError:
        if not self.remote:
            return SourceError(f"{self.name}: damaged or not a video", KINDS)
        if late:
            reason = f"no answer within {self.limit:g} s"
        elif invalid:
            reason = "what it sends is not a video"
        return SourceError(f"{self.name}: {reason}; check the address and the network")

    def _video_stream(self, container: "InputContainer") -> "VideoStream":
        from av.stream import Disposition
        from av.video.stream import VideoStream

        stream = container.streams.best("video")
        is_video = isinstance(stream, VideoStream)
        if not is_video or stream.disposition & Disposition.attached_pic:
            raise SourceError(f"{self.name}: holds only sound, no video", KINDS)
        if stream.codec_context is None:
            raise SourceError(f"{self.name}: unknown video codec; convert it to H.264")
        if stream.codec_context.name in TEXT_ART:
            raise SourceError(f"{self.name}: damaged or not a video", KINDS)
        # Decoding several frames in parallel adds latency, which matters for live streams.
        stream.thread_type = "SLICE" if self.remote else "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return stream

    def _set_timing(self, container: "InputContainer", fps: float | None) -> None:
        """Finds the duration, rate and number of frames, with at most `fps` frames per second."""
        stream = self.stream
        self.duration: float | None = None
        if stream.duration and stream.time_base:
            self.duration = float(stream.duration * stream.time_base)
        elif container.duration:
            self.duration = container.duration / 1e6
        is_file = container.size > 0 and container.format.name not in PLAYLISTS
        self.live = self.remote and not (self.duration or is_file)
        own = float(stream.average_rate or stream.guessed_rate or 0)
        own = own if 0 < own <= 1000 else RATE
        self.fps = min(fps, own) if fps else own
        self.count = stream.frames or max(0, round((self.duration or 0) * own)) or None
        if self.count and self.fps < own:
            self.count = math.ceil(self.count * self.fps / own)
        self._due = rate_limiter(self.fps if self.fps < own or (self.live and fps) else None)

    def frames(self) -> Generator[Frame]:
        """Decodes from the start. Raises SourceError."""
        first, now, began = None, 0.0, time.monotonic()
        for raw in deinterlaced(self._decoded()):
            if self.live:  # regardless of its timestamps and nominal rate
                now = time.monotonic() - began
            elif raw.pts is not None and raw.time_base:
                at = raw.pts * raw.time_base
                first = self.demuxer.began = at if first is None else first
                now = max(now, float(at - first))
            else:
                now = self._end
            length = float((raw.duration or 0) * (raw.time_base or 0)) or None
            self._end = now + (length or 1 / self.fps)
            if self._due(now):
                yield Frame(self._image(raw), now, duration=length)
        self._check_end()
        self.demuxer.is_complete = True

    def _decoded(self) -> Iterator["VideoFrame"]:
        from av.error import FFmpegError

        for packet in self.demuxer.pictures():
            try:
                yield from packet.decode()
            except FFmpegError:
                self._damaged()
        if self.demuxer.error and self.remote:
            what = "stopped sending frames; check the address and the network"
            raise SourceError(f"{self.name} {what}") from self.demuxer.error
        if self.demuxer.error:
            self._damaged()

    def _damaged(self) -> None:
        what = f"damaged after {self._end:.1f} s; frames that cannot be decoded are left out"
        self.warning = self.warning or f"{self.name}: {what}"

    def _check_end(self) -> None:
        alone = len(self.demuxer.container.streams) == 1  # otherwise it may be the sound's length
        leapt = len(self.demuxer.clock.offsets) > 1
        end = self._end if alone or self.stream.duration else self.demuxer.end()
        if leapt or end is None or not self.duration:
            return
        if self.duration - end > 0.3:
            what = f"ends after {end:.1f} s of {self.duration:.1f} s; the rest is missing"
            self.warning = self.warning or f"{self.name}: {what}"

    def _image(self, raw: "VideoFrame") -> np.ndarray:
        transparent = self._is_transparent(raw)
        mapped = is_wide(raw) and not transparent
        frame = self._tone_mapped(raw) if mapped else raw
        width, height = self._shown_size(raw)
        image = self._reformatter.reformat(
            frame,
            width,
            height,
            "bgra" if transparent else "bgr24",
            src_colorspace=None if mapped else self._matrix_of(raw),
            interpolation=self._scaling,
        ).to_ndarray()
        image = flatten_alpha(image) if transparent else image
        return self._fitted(turn_upright(image, self._display_matrix(raw)))

    def _matrix_of(self, raw: "VideoFrame") -> int | None:
        """A frame's matrix, for FFmpeg's scaler; None for RGB and grey. Raises SourceError."""
        if raw.format.is_rgb or len(raw.format.components) < 3:  # RGB or grey
            return None
        try:
            return colour_matrix(raw.colorspace, (raw.width, raw.height))
        except ValueError as error:
            raise SourceError(f"{self.name}: {error}; convert it to BT.709 first") from error

    def _shown_size(self, raw: "VideoFrame") -> Size:
        """The frame's size with square pixels: one side is enlarged, neither is reduced."""
        own = self.stream.codec_context.sample_aspect_ratio
        # The container's pixel aspect ratio holds until the codec's changes.
        aspect = self.stream.sample_aspect_ratio if own == self._pixels_aspect else own
        if not aspect or not Fraction(1, 5) < aspect < 5:
            return raw.width, raw.height
        return round(raw.width * max(1, aspect)), round(raw.height * max(1, 1 / aspect))

    def _fitted(self, image: np.ndarray) -> np.ndarray:
        """Fills the requested size; frames whose shape differs from the first are letterboxed."""
        height, width = image.shape[:2]
        self._size = self._size or self._asked or (width, height)
        self._shape = self._shape or width / height
        if abs(width / height / self._shape - 1) < 0.02:
            return crop_to_fill(image, self._size)
        return letterbox(image, self._size)

    def _display_matrix(self, raw: "VideoFrame") -> np.ndarray:
        """Returns the display matrix, reading it again only if the rotation changes.

        Reading a frame's side data makes it part of a reference cycle, which holds megabytes until
        Python's garbage collector, which counts objects and not bytes, happens to run.
        """
        if raw.rotation != self._rotation:
            self._rotation, self._matrix = raw.rotation, display_matrix(raw)
        return self._matrix

    def _tone_mapped(self, raw: "VideoFrame") -> "VideoFrame":
        if self._tone_mapper is None or self._tone_mapper.accepts != colour_format(raw):
            self._tone_mapper = ToneMapper(raw)
        return self._tone_mapper(raw)

    def _is_transparent(self, raw: "VideoFrame") -> bool:
        # In most files of uncompressed pixels, the fourth byte is unused and 0.
        uncompressed = self.stream.codec_context.name == "rawvideo"
        return not uncompressed and any(plane.is_alpha for plane in raw.format.components)

    def close(self) -> None:
        """Closes the file; may be called repeatedly."""
        self.demuxer.close()
