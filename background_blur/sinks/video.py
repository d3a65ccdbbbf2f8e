"""Video files, with the sound of another file copied along."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np

from background_blur.imaging import letterbox
from background_blur.sinks.files import AtomicFile
from background_blur.sinks.parts import GrowingFile, fragments

X264 = "libx264", {"preset": "veryfast", "crf": "20", "bf": "0"}  # see VideoFile on "bf"
VP9 = "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b": "0"}
ENCODERS = {".mp4": X264, ".m4v": X264, ".mov": X264, ".mkv": X264, ".webm": VP9}


class VideoFile(AtomicFile):
    """A video, each frame at its own time, with the sound of another file copied along.

    H.264 in .mp4, .m4v, .mov and .mkv, VP9 in .webm. Without B-frames: with them, files whose
    frames come at uneven times would tell too short a duration.

    Its part plays at any moment, but for the last second; see `parts`. So where the disk is full,
    say, what was written before is kept.
    """

    def __init__(self, path: Path, fps: float, sound=None, size=None, force: bool = False):
        """Opens the file.

        Args:
            path: its suffix, a key of ENCODERS, says the format.
            fps: frames a second, where they come evenly.
            sound: the path of a video file whose frames will come, with their own times. Its sound
                is copied as far as the frames go. If it cannot be, `warning` says so.
            size: (width, height) of the video; the first frame's if None. Other frames are fitted.
            force: overwrite what exists.

        Raises:
            SinkError: nothing can be written there, or not in that format.
        """
        import av

        codec, options = ENCODERS[path.suffix.lower()]
        super().__init__(path, force)
        self.size = size
        self.rate = Fraction(fps).limit_denominator(1001)
        # Ticks of about 1/90000 s, of which an even frame lasts a whole number.
        self.tick = Fraction(1, self.rate.numerator * -(-90000 // self.rate.numerator))
        self.first_time = self.last_pts = None
        self.encoded_until = self.safe_until = None  # ticks; where what is on the disk ends
        self.file = self.container = self.sound = None
        with self.salvaged():
            # A file of Python's: errors of FFmpeg's own are told only when it is closed.
            self.file = GrowingFile(self.part)
            self.container = av.open(self.file, "w", options=fragments(path.suffix.lower()))
            self.stream = self.container.add_stream(codec, options=options)
            self.sound, self.warning = open_sound(sound, self.container, path.suffix)

    def write(self, frame) -> None:
        image = frame.image
        with self.salvaged():
            if not self.written:
                self.size = self.size or (image.shape[1], image.shape[0])
                self.first_time = frame.time
                self.set_up()
            picture = self.picture(letterbox(image, self.size))
            picture.pts = self.pts(frame.time)
            self.mux(self.stream.encode(picture))
            if self.sound:
                self.sound.copy_until(self.last_pts * self.tick)
                self.settle()
        self.written += 1

    def mux(self, packets) -> None:
        """Takes packets of the video."""
        for packet in packets:
            end = packet.pts + self.even_ticks  # in other ticks, once it is muxed
            self.container.mux(packet)
            self.settle()
            self.encoded_until = end

    def settle(self) -> None:
        """Notes how far the file is written, where that went on: up to the last packet."""
        if self.file.settle():
            self.safe_until = self.encoded_until

    def set_up(self) -> None:
        width, height = self.stream.width, self.stream.height = self.size
        # 4:2:0 in H.264 holds even sizes only.
        odd = (width % 2 or height % 2) and self.stream.codec_context.name == "libx264"
        self.stream.pix_fmt = "yuv444p" if odd else "yuv420p"
        self.stream.time_base = self.tick
        context = self.stream.codec_context
        context.time_base, context.framerate = self.tick, self.rate
        matrix = 1 if height >= 720 else 6  # BT.709, BT.601, as players guess for these heights
        context.colorspace = context.color_primaries = context.color_trc = matrix
        context.color_range = 1  # luma from 16 to 235

    def picture(self, image: np.ndarray):
        """uint8 [H,W,3] BGR -> an `av.VideoFrame` in the video's colours."""
        from av import VideoFrame

        matrix = "ITU709" if self.stream.codec_context.colorspace == 1 else "ITU601"
        picture = VideoFrame.from_ndarray(image, format="bgr24")
        picture = picture.reformat(format=self.stream.pix_fmt, dst_colorspace=matrix)
        picture.time_base = self.tick
        picture.duration = self.even_ticks
        return picture

    @property
    def even_ticks(self) -> int:
        return round(1 / self.rate / self.tick)

    def pts(self, time: float) -> int:
        """The frame's time in ticks, later than the last one's."""
        lead = self.sound.lead if self.sound else 0
        pts = round((time - self.first_time + lead) / self.tick)
        if self.last_pts is not None:
            pts = max(pts, self.last_pts + 1)
        self.last_pts = pts
        return pts

    def finish(self) -> None:
        self.mux(self.stream.encode(None))
        if self.sound:
            self.sound.copy_until((self.last_pts + self.even_ticks) * self.tick)
            self.sound.close()
        self.container.close()
        self.file.sync()
        self.file.close()

    def salvage(self) -> str | None:
        if self.file is None:
            return None
        try:
            self.file.cut()
            self.file.sync()
        finally:
            with suppress(Exception):  # what FFmpeg has left to say goes nowhere
                if self.sound:
                    self.sound.close()
                self.container.close()
            self.file.close()
        if self.safe_until is None:
            return None
        seconds = self.safe_until * self.tick - (self.sound.lead if self.sound else 0)
        return f"the first {float(seconds):.1f} s"


class Sound:
    """The sound of one file, copied into another as it is."""

    def __init__(self, source, output):
        """Takes two PyAV containers; `output` can hold the codec of the sound in `source`."""
        video, audio = source.streams.best("video"), source.streams.best("audio")
        self.source, self.output = source, output
        self.stream = output.add_stream_from_template(audio)
        began = start_time(video) if video else 0
        self.lead = max(Fraction(0), began - start_time(audio))  # seconds the sound begins earlier
        self.packets = self.shifted(audio, self.lead - began)
        self.waiting = next(self.packets, None)

    def shifted(self, audio, seconds: Fraction):
        """Yields the packets, at their new times, up to where the file is damaged."""
        from av import FFmpegError

        with suppress(FFmpegError):
            for packet in self.source.demux(audio):
                if not packet.size or packet.dts is None:
                    continue
                shift = round(seconds / packet.time_base)
                packet.pts = shift + (packet.dts if packet.pts is None else packet.pts)
                packet.dts += shift
                packet.stream = self.stream
                yield packet

    def copy_until(self, time: Fraction) -> None:
        """Copies what begins before that time, in seconds of the video being written."""
        while self.waiting and self.waiting.pts * self.waiting.time_base < time:
            self.output.mux(self.waiting)
            self.waiting = next(self.packets, None)

    def close(self) -> None:
        self.packets.close()
        self.source.close()


def start_time(stream) -> Fraction:
    """Seconds."""
    return (stream.start_time or 0) * stream.time_base


def open_sound(path: Path | None, output, suffix: str) -> tuple[Sound | None, str | None]:
    """Returns (what copies that file's sound into the container, None), or (None, a warning)."""
    import av

    if path is None:
        return None, None
    try:
        options = {"protocol_whitelist": "file,crypto,data"}  # no file sends us into the network
        source = av.open(f"file:{path}", container_options=options, metadata_errors="ignore")
    except (OSError, av.FFmpegError):
        return None, f"{path}: its sound cannot be read; the video stays silent"
    audio = source.streams.best("audio")
    codec = audio and audio.codec_context and audio.codec_context.name
    if codec in output.supported_codecs:
        return Sound(source, output), None
    source.close()
    if audio is None:
        return None, None
    hint = "a .mkv file would hold it" if codec else "the video stays silent"
    return None, f"{path}: its {codec or 'unknown'} sound does not fit into {suffix} files; {hint}"
