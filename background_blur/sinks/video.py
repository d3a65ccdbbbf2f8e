"""Video files, with the sound, subtitles and chapters of their source."""

from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from background_blur.frames import Frame, Size, plural
from background_blur.imaging import letterbox
from background_blur.media import BT709, UNSPECIFIED, Demuxer, colour_matrix
from background_blur.sinks.files import AtomicFile, sink_errors
from background_blur.sinks.tracks import Tracks
from background_blur.sinks.unfinished import GrowingFile, fragments, hold, plays

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.video.stream import VideoStream

X264 = "libx264", {"preset": "veryfast", "crf": "20", "bf": "0"}  # see VideoFile on "bf"
VP9 = "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b": "0"}
ENCODERS = {".mp4": X264, ".m4v": X264, ".mov": X264, ".mkv": X264, ".webm": VP9}
PRORES = "prores_ks", {"profile": "4444"}
ALPHA_ENCODERS = {".mov": PRORES, ".webm": VP9}
ALPHA_PIXELS = {"prores_ks": "yuva444p10le", "libvpx-vp9": "yuva420p"}


class VideoFile(AtomicFile):
    """A video, each frame at its own time, with the sound, subtitles and chapters of its source.

    H.264 in .mp4, .m4v, .mov and .mkv, VP9 in .webm. There are no B-frames: with them, files with a
    variable frame rate would report too short a duration. With alpha: ProRes 4444 in .mov, VP9 in
    .webm.

    It has the size of its first frame; others are letterboxed. Its part plays at any moment, up to
    the last second (see `unfinished`), so a full disk, say, does not cost what was written.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        *,
        tracks: Demuxer | None = None,
        force: bool = False,
        alpha: bool = False,
    ):
        """Opens the file.

        Args:
            path: its suffix, a key of ENCODERS or (with alpha) ALPHA_ENCODERS, selects the format.
            fps: frames per second, if they are evenly spaced.
            tracks: the sound and so on of the video whose frames, with their own times, will be
                written. They are kept as far as the frames go; `warning` says what is not.
            force: overwrite an existing file.
            alpha: keep the frames' fourth channel; frames without one are opaque.

        Raises:
            SinkError: the path cannot be written, or not in that format.
        """
        super().__init__(path, force)
        self.fps, self.alpha = fps, alpha
        self.resized: str | None = None  # a note for the user
        self.held = None
        try:
            with sink_errors(path):
                self.held = hold(self.part)
                encoders = ALPHA_ENCODERS if alpha else ENCODERS
                self.muxer = Muxer(self.part, encoders[path.suffix.lower()], tracks)
        except BaseException:
            self.part.unlink(missing_ok=True)
            self.release()
            raise
        self.encoder: VideoEncoder | None = None  # made for the first frame
        self.first_time = 0.0  # of the first frame
        self.newest: Packet | None = None  # encoded, not yet muxed
        self.lasting: float | None = None  # seconds for which the last frame is shown

    def write(self, frame: Frame) -> None:
        with self.salvaged():
            if self.encoder is None:
                self.encoder, self.first_time = self.make_encoder(frame.image), frame.time
            seconds = frame.time - self.first_time + float(self.muxer.tracks.lead)
            self.mux(self.encoder, self.encoder.encode(frame.image, seconds))
            self.muxer.tracks.copy_until(self.encoder.position)
            self.muxer.settle()
            self.lasting = frame.duration
        self.written += 1

    def mux(self, encoder: "VideoEncoder", packets: "Iterable[Packet]") -> None:
        """Muxes all packets but the newest, which may be the last and be shown for longer."""
        for packet in packets:
            if self.newest:
                # `end_of` is called before muxing, which changes the packet's time base.
                self.muxer.mux(self.newest, encoder.end_of(self.newest))
            self.newest = packet

    def make_encoder(self, image: np.ndarray) -> "VideoEncoder":
        """Makes the encoder for the first image; notes a warning if the size has to change."""
        size = image.shape[1], image.shape[0]
        encoder = VideoEncoder(self.muxer.stream, size, self.fps, self.alpha)
        if encoder.coded_size != size:
            was, now = ("{}x{}".format(*size) for size in (size, encoder.coded_size))
            why = "since players need even sides; the last column or row is repeated"
            self.resized = f"{self.path}: {was} became {now}, {why}"
        return encoder

    def finish(self) -> None:
        assert self.encoder is not None, "only a file with frames is finished"
        self.mux(self.encoder, self.muxer.stream.encode(None))
        end = self.encoder.end
        if self.newest:
            ticks = round((self.lasting or 0) / self.encoder.tick)
            self.newest.duration = max(ticks, self.encoder.frame_ticks)
            end = self.encoder.end_of(self.newest)
            self.muxer.mux(self.newest, end)
        self.muxer.tracks.finish(self.encoder.end)
        self.muxer.close()
        seconds = float(end - self.muxer.tracks.lead)
        self.contents = f": {plural(self.written)}, {seconds:.1f} s"

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.release()

    def release(self) -> None:
        if self.held:
            self.held.close()

    def is_whole(self) -> bool:
        return not self.part.exists() or plays(self.part)

    @property
    def warning(self) -> str | None:
        return "; ".join(filter(None, (self.muxer.tracks.warning, self.resized))) or None

    def salvage(self) -> str | None:
        seconds = self.muxer.break_off()
        if seconds is None:
            return None
        return f"the first {float(seconds):.1f} s" if plays(self.part) else "unplayable data"


class Muxer:
    """Writes a part with FFmpeg: one video stream and the other tracks.

    Attributes:
        stream: the video; must be set up before the first packet.
        tracks: everything but the video; its `lead` is where the video begins.
    """

    def __init__(self, part: Path, encoder: tuple[str, dict[str, str]], tracks: Demuxer | None):
        """Opens the part for a codec with its options. Raises OSError or FFmpegError."""
        import av
        from av.video.stream import VideoStream

        suffix, (codec, options) = part.suffix, encoder
        self.encoded_until = self.safe_until = Fraction(0)  # seconds muxed; seconds safely written
        # A Python file, since FFmpeg reports write errors of its own files only when closing them.
        self.file = GrowingFile(part)
        try:
            self.container = av.open(self.file, "w", options=fragments(suffix.lower()))
            stream = self.container.add_stream(codec, options=options)
            assert isinstance(stream, VideoStream)
            self.stream = stream
            self.tracks = Tracks(tracks, self.container, suffix)
        except BaseException:
            self.file.close()
            raise

    def mux(self, packet: "Packet", end: Fraction) -> None:
        """Muxes a video packet that ends at time `end`, in seconds."""
        self.tracks.tolerate(lambda: self.container.mux(packet))
        self.settle()
        self.encoded_until = end

    def settle(self) -> None:
        """If the file has grown, notes that it is written up to the packet before the last."""
        if self.file.settle():
            self.safe_until = self.encoded_until

    def close(self) -> None:
        """Completes the file and flushes it to the disk."""
        self.tracks.tolerate(self.container.close)
        self.file.sync()
        self.file.close()

    def break_off(self) -> Fraction | None:
        """Ends a file that cannot be completed; returns the seconds it holds, or None."""
        try:
            self.file.cut()
            self.file.sync()
        finally:
            with suppress(Exception):  # whatever FFmpeg still writes is ignored
                self.container.close()
            self.file.close()
        return self.safe_until - self.tracks.lead if self.safe_until else None


class VideoEncoder:
    """Encodes images of any size for one stream.

    Attributes:
        size: (width, height) that the images are letterboxed to.
        coded_size: the size in the file: even for H.264, since players support only 4:2:0.
        tick: the unit of the stream's times, in seconds.
    """

    def __init__(self, stream: "VideoStream", size: Size, fps: float, alpha: bool = False):
        """Sets up a stream to which nothing has been written yet."""
        from av.video.reformatter import Interpolation, VideoReformatter

        self.reformatter = VideoReformatter()
        # FFmpeg's faster conversion darkens by half a level.
        self.scaling = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
        self.scaling |= Interpolation.FULL_CHR_H_INP
        self.pixels = ALPHA_PIXELS[stream.codec_context.name] if alpha else "yuv420p"
        self.stream, self.size, self.coded_size = stream, size, size
        if stream.codec_context.name == "libx264":
            self.coded_size = size[0] + size[0] % 2, size[1] + size[1] % 2
        rate = Fraction(fps).limit_denominator(1001)
        # About 1/90000 s, such that a frame at the nominal rate lasts a whole number of ticks.
        self.tick = Fraction(1, rate.numerator * -(-90000 // rate.numerator))
        self.frame_ticks = round(1 / rate / self.tick)
        self.last_pts = -1  # in ticks
        self.matrix = colour_matrix(UNSPECIFIED, self.coded_size)  # the one that players assume
        context = stream.codec_context
        stream.width, stream.height = self.coded_size
        stream.pix_fmt = self.pixels
        stream.time_base = self.tick
        context.time_base, context.framerate = self.tick, rate
        tag = 1 if self.matrix == BT709 else 6
        context.colorspace = context.color_primaries = context.color_trc = tag
        context.color_range = 1  # luma from 16 to 235

    def encode(self, image: np.ndarray, seconds: float) -> "list[Packet]":
        """Encodes a uint8 [H,W,3 or 4] image, shown from `seconds` or just after the last one."""
        image = letterbox(image, self.size)
        if self.coded_size != self.size:
            right, below = self.coded_size[0] - self.size[0], self.coded_size[1] - self.size[1]
            image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
        frame = self.frame(image)
        frame.pts = self.last_pts = max(round(seconds / self.tick), self.last_pts + 1)
        return self.stream.encode(frame)

    def frame(self, image: np.ndarray) -> "VideoFrame":
        """uint8 [H,W,3] BGR or [H,W,4] BGRA -> a frame in the video's colours."""
        from av import VideoFrame

        channels = "bgra" if image.shape[2] == 4 else "bgr24"
        # FFmpeg's scaler reads past the end of odd-length rows; a copy has room for that.
        make = VideoFrame.from_ndarray if image.shape[1] % 2 else VideoFrame.from_numpy_buffer
        frame = make(np.ascontiguousarray(image), format=channels)
        frame = self.reformatter.reformat(
            frame, format=self.pixels, dst_colorspace=self.matrix, interpolation=self.scaling
        )
        frame.time_base = self.tick
        frame.duration = self.frame_ticks
        return frame

    @property
    def position(self) -> Fraction:
        """Where the last frame begins, in seconds."""
        return self.last_pts * self.tick

    @property
    def end(self) -> Fraction:
        """Where the last frame ends, in seconds."""
        return (self.last_pts + self.frame_ticks) * self.tick

    def end_of(self, packet: "Packet") -> Fraction:
        """Where the frame in a packet of this encoder ends, in seconds."""
        assert packet.pts is not None, "encoders give every packet a time"
        return (packet.pts + self.frame_ticks) * self.tick
