"""Video files, with the sound of another file copied along."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np

from background_blur.imaging import letterbox
from background_blur.sinks.files import AtomicFile, fill_up
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
        self.size, self.coded = size, None  # of the pictures, and as they stand in the file
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
            self.sound = Sound(sound, self.container, path.suffix)
            self.warning = self.sound.warning

    def write(self, frame) -> None:
        image = frame.image
        with self.salvaged():
            if not self.written:
                self.size = self.size or (image.shape[1], image.shape[0])
                self.coded = self.coded_size()
                self.first_time = frame.time
                self.set_up()
            picture = self.picture(fill_up(letterbox(image, self.size), self.coded))
            picture.pts = self.pts(frame.time)
            self.mux(self.stream.encode(picture))
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
        self.stream.width, self.stream.height = self.coded
        self.stream.pix_fmt = "yuv420p"
        self.stream.time_base = self.tick
        context = self.stream.codec_context
        context.time_base, context.framerate = self.tick, self.rate
        matrix = (
            1 if self.coded[1] >= 720 else 6
        )  # BT.709, BT.601, as players guess for these heights
        context.colorspace = context.color_primaries = context.color_trc = matrix
        context.color_range = 1  # luma from 16 to 235

    def coded_size(self) -> tuple[int, int]:
        """(width, height) in the file: even for H.264, of which players take 4:2:0 alone."""
        coded = self.size
        if self.stream.codec_context.name == "libx264":
            coded = tuple(side + side % 2 for side in self.size)
        if coded != self.size:
            was, now = ("{}x{}".format(*size) for size in (self.size, coded))
            repeated = "last column and row, where odd, repeated"
            note = f"{self.path}: {was} became {now}, since players want even sides; {repeated}"
            self.warning = f"{self.warning}; {note}" if self.warning else note
        return coded

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
        pts = round((time - self.first_time + self.sound.lead) / self.tick)
        if self.last_pts is not None:
            pts = max(pts, self.last_pts + 1)
        self.last_pts = pts
        return pts

    def finish(self) -> None:
        self.mux(self.stream.encode(None))
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


class Track:
    """One track of sound of a file, copied into another as it is."""

    def __init__(self, source, index: int, shift: Fraction, output):
        """Adds the track to the output.

        Args:
            source: a PyAV container that nothing else reads.
            index: of the track's stream in it.
            shift: seconds that it is to begin later than there.
            output: the PyAV container to copy into; it can hold the track's codec.
        """
        from av.stream import Discard, Disposition

        self.source, self.output = source, output
        track = source.streams[index]
        for other in source.streams:
            other.discard = Discard.default if other is track else Discard.all
        self.stream = output.add_stream_from_template(track)
        self.stream.disposition = track.disposition & ~Disposition.default
        self.stream.metadata.update(names(track))
        self.packets = self.shifted(track, shift)
        self.waiting = next(self.packets, None)

    def shifted(self, track, seconds: Fraction):
        """Yields the packets, at their new times, up to where the file is damaged."""
        from av import FFmpegError

        with suppress(FFmpegError):
            for packet in self.source.demux(track):
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


class Sound:
    """The sound of one file, copied into another: every track that fits, the best one first.

    Each track has a reader of its own, since tracks may lie far apart in the file.

    Attributes:
        lead: seconds that the first of the sound begins before the video.
        warning: one line on what does not come along, or None.
    """

    def __init__(self, path: Path | None, output, suffix: str):
        """Takes the file, None for silence, and the PyAV container to copy its sound into."""
        import av
        from av.stream import Disposition

        self.tracks, self.lead, self.warning = [], Fraction(0), None
        if path is None:
            return
        try:
            with open_media(path) as source:  # whose streams are of no use once it is closed
                video, tracks = source.streams.best("video"), best_first(source)
                fitting = [it for it in tracks if codec_of(it) in output.supported_codecs]
                began = start_time(video) if video else Fraction(0)
                self.lead = max([Fraction(0)] + [began - start_time(it) for it in fitting])
                if len(fitting) < len(tracks):
                    self.warning = f"{path}: {what_fits(tracks, fitting, suffix)}"
                indices = [it.index for it in fitting]
            for index in indices:
                track = Track(open_media(path), index, self.lead - began, output)
                self.tracks.append(track)
            if self.tracks:
                self.tracks[0].stream.disposition |= Disposition.default
        except (OSError, av.FFmpegError):
            self.warning = f"{path}: its sound cannot be read; the video stays silent"

    def copy_until(self, time: Fraction) -> None:
        """Copies what begins before that time, in seconds of the video being written."""
        for track in self.tracks:
            track.copy_until(time)

    def close(self) -> None:
        for track in self.tracks:
            track.close()


def open_media(path: Path):
    """A PyAV container, to be read."""
    import av

    options = {"protocol_whitelist": "file,crypto,data"}  # no file sends us into the network
    return av.open(f"file:{path}", container_options=options, metadata_errors="ignore")


def best_first(source) -> list:
    """The streams of sound of a PyAV container: the default one's language, most channels first.

    Comments, and what is made for those who hear or see badly, come last.
    """
    from av.stream import Disposition as Kind

    others = Kind.comment | Kind.hearing_impaired | Kind.visual_impaired
    default = next((it for it in source.streams.audio if it.disposition & Kind.default), None)

    def rank(track) -> tuple:
        foreign = default is not None and language(track) != language(default)
        is_default = bool(track.disposition & Kind.default)
        return bool(track.disposition & others), foreign, -channels(track), not is_default

    return sorted(source.streams.audio, key=rank)


def codec_of(track) -> str | None:
    return track.codec_context and track.codec_context.name


def channels(track) -> int:
    return track.codec_context.channels if track.codec_context else 0


def language(track) -> str | None:
    return None if track.language == "und" else track.language


def names(track) -> dict[str, str]:
    """The tags of a track that a user chooses it by."""
    title = track.metadata.get("title") or track.metadata.get("name")
    tags = {"language": language(track), "title": title}
    return {name: value for name, value in tags.items() if value}


def what_fits(tracks: list, fitting: list, suffix: str) -> str:
    """What to tell of tracks of which not all fit into a file."""
    lost = list(dict.fromkeys(codec_of(it) for it in tracks if it not in fitting))
    codecs, known = " and ".join(it or "unknown" for it in lost), all(lost)
    hint = "a .mkv file would hold it" if known else "the video stays silent"
    if not fitting:
        return f"its {codecs} sound does not fit into {suffix} files; {hint}"
    kept = ", ".join(f"{codec_of(it)} {it.layout.name}" for it in fitting)
    kept = f"{len(fitting)} of its {len(tracks)} sound tracks kept ({kept})"
    hint = "; a .mkv file would hold all" if known else ""
    return f"{kept}; {codecs} sound does not fit into {suffix} files{hint}"


def start_time(stream) -> Fraction:
    """Seconds."""
    return (stream.start_time or 0) * stream.time_base
