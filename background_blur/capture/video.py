"""Videos and streams, decoded by PyAV."""

import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from background_blur.capture.base import KINDS, LIMIT, RATE, Source, rate_limiter
from background_blur.capture.hdr import ToneMapper, is_wide, nature
from background_blur.capture.orientation import display_matrix, turn_upright
from background_blur.errors import SourceError
from background_blur.frames import Frame
from background_blur.imaging import crop_to_fill, flatten_alpha

MAX_PIXELS = 2**26  # of a video's frame; a larger one is damaged or a trap

TEXT_ART = ("ansi", "bintext", "xbin", "idf")  # FFmpeg would draw a text file


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
        self._reformatter, self._tone_mapper = VideoReformatter(), None
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
            raise self._why_not(error.strerror, late, empty) from error
        try:
            self._look(fps)
        except SourceError:
            self.container.close()
            raise

    def _why_not(self, reason: str, late: bool, empty: bool) -> SourceError:
        if not self.remote:
            return SourceError(f"{self.name}: damaged or not a video", KINDS)
        if late:
            reason = f"no answer within {self.limit:g} s"
        elif empty:
            reason = "sends nothing that is a video"
        return SourceError(f"{self.name}: {reason}; check the address and the network")

    def _look(self, fps: float | None) -> None:
        from av.stream import Disposition

        self.stream = stream = self.container.streams.best("video")
        if stream is None or stream.disposition & Disposition.attached_pic:
            raise SourceError(f"{self.name}: holds no moving picture, only sound", KINDS)
        if stream.codec_context is None:
            raise SourceError(f"{self.name}: coded in an unknown way; convert it to H.264")
        if stream.codec_context.name in TEXT_ART:
            raise SourceError(f"{self.name}: damaged or not a video", KINDS)
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
        self._due = rate_limiter(self.fps if self.fps < own else None)

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
        pixels = self._tone_mapped(raw) if is_wide(raw) and not transparent else raw
        image = self._reformatter.reformat(pixels, format=kind).to_ndarray()
        image = flatten_alpha(image) if transparent else image
        image = turn_upright(image, display_matrix(raw))
        image = crop_to_fill(image, self.size)
        self.size = image.shape[1], image.shape[0]
        return image

    def _tone_mapped(self, raw):
        if self._tone_mapper is None or self._tone_mapper.takes != nature(raw):
            self._tone_mapper = ToneMapper(raw)
        return self._tone_mapper(raw)

    def _is_transparent(self, raw) -> bool:
        # The fourth byte of uncompressed pixels means nothing in most files, and is 0.
        uncompressed = self.stream.codec_context.name == "rawvideo"
        return not uncompressed and any(plane.is_alpha for plane in raw.format.components)
