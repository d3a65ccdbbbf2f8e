"""frames out: what a sink is, and those that write a video, a picture or a folder of pictures."""

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from time import monotonic

import cv2
import numpy as np

from source import SourceError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
X264 = "libx264", {"preset": "veryfast", "crf": "20", "bf": "0"}  # see VideoFile on "bf"
VP9 = "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "30", "b": "0"}
ENCODERS = {".mp4": X264, ".m4v": X264, ".mov": X264, ".mkv": X264, ".webm": VP9}


class SinkError(Exception):
    """Frames that cannot go where they should; one line fit for the user."""


class Sink:
    """Where finished frames go.

    As a context it is closed at a normal end, at Ctrl-C and where the source or another sink
    fails, what came so far being wanted, and discarded at any other exception.
    """

    warning: str | None = None  # one line on what was left out, known once the sink is open

    def write(self, frame) -> None:
        """Takes one `source.Frame`: image uint8 [H,W,3] BGR, which it neither keeps nor changes.

        Raises:
            SinkError: it cannot be written, and was discarded.
        """

    def close(self) -> None:
        """Ends it: what was written is complete and readable. Again does nothing.

        Raises:
            SinkError: it could not be completed, and was discarded.
        """

    def discard(self) -> None:
        """Gives up: leaves nothing half-written behind, raises nothing. Again does nothing."""

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None or issubclass(kind, (KeyboardInterrupt, SourceError, SinkError)):
            self.close()
        else:
            self.discard()


class Watched(Sink):
    """A sink that people watch: each frame is due at its time."""

    began = None

    def seconds_until(self, time: float) -> float:
        """Seconds until a frame of that time is due, the first one asked for being due at once.

        Below 0: late.
        """
        if self.began is None:
            self.began = monotonic() - time
        return self.began + time - monotonic()


class PartFile(Sink):
    """A file that appears under its name only when it is complete.

    Until then it grows in a `NAME.xxxxxx.part.EXT` beside it.
    """

    def __init__(self, path: Path, force: bool = False):
        """`force`: overwrite what exists. Raises SinkError if nothing can be written there."""
        self.path, self.force = path, force
        self.part = reserve(path)
        self.written = 0  # frames

    @contextmanager
    def or_none(self):
        """What fails in here leaves nothing behind."""
        try:
            with sink_errors(self.path):
                yield
        except SinkError:
            self.discard()
            raise

    def finish(self) -> None:
        """Completes the part."""

    def abandon(self) -> None:
        """Lets go of the part."""

    def close(self) -> None:
        if not self.written:
            self.discard()
        if self.part is None:
            return
        try:
            with sink_errors(self.path):
                self.finish()
                target = self.path if self.force else free_path(self.path)
                os.replace(self.part, target)
        except BaseException:
            self.discard()
            raise
        self.part = None
        if target != self.path:
            raise SinkError(f"{self.path}: exists since this run began; it was saved as {target}")

    def discard(self) -> None:
        if self.part is None:
            return
        with suppress(Exception):
            self.abandon()
        with suppress(OSError):
            self.part.unlink(missing_ok=True)
        self.part = None


class VideoFile(PartFile):
    """A video, each frame at its own time, with the sound of another file copied along.

    H.264 in .mp4, .m4v, .mov and .mkv, VP9 in .webm. Without B-frames: with them, files whose
    frames come at uneven times would tell too short a duration.
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
        try:
            with sink_errors(path):
                # A file of Python's: errors of FFmpeg's own are told only when it is closed.
                self.file = self.part.open("wb")
                self.container = av.open(self.file, "w")
                self.stream = self.container.add_stream(codec, options=options)
                self.sound, self.warning = open_sound(sound, self.container, path.suffix)
        except BaseException:
            self.discard()
            raise

    def write(self, frame) -> None:
        image = frame.image
        with self.or_none():
            if not self.written:
                self.size = self.size or (image.shape[1], image.shape[0])
                self.first_time = frame.time
                self.set_up()
            picture = self.picture(fit(image, self.size))
            picture.pts = self.pts(frame.time)
            self.container.mux(self.stream.encode(picture))
            self.written += 1
            if self.sound:
                self.sound.copy_until(self.last_pts * self.tick)

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
        self.container.mux(self.stream.encode(None))
        if self.sound:
            self.sound.copy_until((self.last_pts + self.even_ticks) * self.tick)
        self.let_go()

    def abandon(self) -> None:
        self.let_go()

    def let_go(self) -> None:
        if self.sound:
            self.sound.close()
        with self.file:
            self.container.close()


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


class ImageFile(PartFile):
    """A picture: the last frame that came."""

    def write(self, frame) -> None:
        with self.or_none():
            self.part.write_bytes(encode_image(frame.image, self.path.suffix))
        self.written += 1


class ImageFolder(Sink):
    """A folder of pictures, one a frame, under the frame's own relative path if it has one.

    Frames with a fourth channel, alpha, become PNGs.

    Each is whole as soon as `write` is done with it, and stays.
    """

    def __init__(self, path: Path, force: bool = False, source: Path | None = None):
        """Creates the folder.

        Args:
            path: of the folder.
            force: overwrite pictures that lie there, but nothing of the source.
            source: the file or folder that the frames come from.

        Raises:
            SinkError: there is no such folder to be had, or it cannot be written to.
        """
        self.path, self.force, self.source = path, force, source
        self.made = not path.is_dir()
        self.paths = set()  # of the pictures written
        with sink_errors(path):
            if self.made:
                path.mkdir()
            reserve(path / "picture").unlink()

    def write(self, frame) -> None:
        name = frame.path
        if name and frame.image.shape[2] == 4:
            name = name.with_suffix(".png")
        path = self.path_for(name)
        if path.exists() and not self.force:
            raise SinkError(f"{path}: exists; add --force to overwrite")
        if path.exists() and self.source and is_within(path, self.source):
            raise SinkError(f"{path}: is of the source itself; give another --output")
        with sink_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with ImageFile(path, self.force) as file:
                file.write(frame)
        self.paths.add(path)

    def path_for(self, name: Path | None) -> Path:
        """Where the next picture goes; never where this run has written one."""
        if name is None:
            return self.path / f"frame_{len(self.paths) + 1:06d}.png"
        path = self.path / name
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            path = path.with_suffix(".png")
        while path in self.paths:  # a.gif beside a.png
            path = path.with_name(f"{path.stem}_{path.suffix}")
        return path

    def close(self) -> None:
        if self.made and not self.paths:
            with suppress(OSError):  # somebody else put something in
                self.path.rmdir()

    discard = close


def open_output(path: Path | str, source, force: bool = False) -> Sink:
    """The file sink that fits a path and a source.

    A folder (one that exists, a path that ends in a separator, one without suffix) becomes an
    ImageFolder, a picture's suffix an ImageFile, a video's a VideoFile.

    Args:
        path: where to.
        source: has `independent`, `count` (frames, or None), `fps`, `sound` (Path or None), and
            `path` (Path or None).
        force: overwrite what exists.

    Raises:
        SinkError: exists, or is the source itself, or cannot hold what comes, or cannot be written.
    """
    ends_as_folder = str(path).endswith(("/", os.sep))
    path = Path(path)
    suffix = path.suffix.lower()
    if same_file(path, getattr(source, "path", None)) or same_file(path, source.sound):
        raise SinkError(f"{path}: is the source itself; give another --output")
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise SinkError(f"{path}: neither a file nor a folder; give one, such as out.mp4")
    if os.path.isdir(path) or ends_as_folder or not suffix:
        return ImageFolder(path, force, getattr(source, "path", None))
    if suffix not in (*ENCODERS, *IMAGE_SUFFIXES):
        known = " ".join((*ENCODERS, *IMAGE_SUFFIXES))
        raise SinkError(f"{path}: cannot write {suffix} files; give a folder or one of {known}")
    if suffix in IMAGE_SUFFIXES and source.count != 1:
        hint = "give a folder or a video, such as out.mp4"
        raise SinkError(f"{path}: one picture holds no more than one frame; {hint}")
    if os.path.exists(path) and not force:
        raise SinkError(f"{path}: exists; add --force to overwrite")
    if suffix in IMAGE_SUFFIXES:
        return ImageFile(path, force)
    return VideoFile(path, source.fps or 30, source.sound, force=force)


def same_file(path: Path, other: Path | None) -> bool:
    if other is None or not (os.path.exists(path) and os.path.exists(other)):
        return False
    return os.path.samefile(path, other)


def is_within(path: Path, source: Path) -> bool:
    """Whether a file is `source`, or lies in that folder."""
    path, source = path.resolve(), source.resolve()
    return path == source or source in path.parents


def reserve(path: Path) -> Path:
    """Creates the empty part that is to become `path`; raises SinkError if that is not possible."""
    part = path.with_name(f"{path.stem[:50]}.{secrets.token_hex(3)}.part{path.suffix}")
    if not path.parent.is_dir():
        raise SinkError(f"{path}: there is no folder {path.parent}; create it first")
    with sink_errors(path):
        with suppress(FileNotFoundError):
            path.lstat()  # too long a name shows here, not only when the part is renamed
        part.open("xb").close()
    return part


def free_path(path: Path) -> Path:
    """The path, or the first of NAME_1.EXT, NAME_2.EXT, ... where nothing lies yet."""
    others = (path.with_name(f"{path.stem}_{n}{path.suffix}") for n in count(1))
    return next(it for it in chain([path], others) if not os.path.exists(it))


@contextmanager
def sink_errors(path: Path):
    """Turns what the system, FFmpeg and OpenCV raise into a SinkError about that path."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (OSError, cv2.error)) and type(error).__module__ != "av.error":
            raise
        reason = getattr(error, "strerror", None) or getattr(error, "err", None) or error
        raise SinkError(f"{path}: cannot be written: {reason}; give another --output") from error


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """uint8 [H,W,3] BGR -> the file of a picture. Raises cv2.error: too large for its kind."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix.lower() in (".jpg", ".jpeg") else []
    encoded, data = cv2.imencode(suffix.lower(), image, options)
    if not encoded:
        raise OSError(errno.EFBIG, f"too large for {suffix}")
    return data.tobytes()


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a picture into (width, height), keeping its shape; what is left over is black."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(scale * width)), max(1, round(scale * height))
    image = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = image
    return canvas
