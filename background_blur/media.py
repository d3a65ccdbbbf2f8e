"""Reads media files and streams with FFmpeg: packets in order, on one clock without jumps."""

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.filter import Graph
    from av.stream import Stream
    from av.subtitles.stream import SubtitleStream
    from av.video.stream import VideoStream

BACK, AHEAD = Fraction(1, 10), Fraction(10)  # seconds; a clock that moves further has jumped
READ_AHEAD = 2**25  # bytes of video to read, at most, to find the first sound
UNSPECIFIED = 2  # in ITU-T H.273
BT709, BT601 = 1, 5  # in FFmpeg's scaler
UNREADABLE = {8: "YCgCo", 10: "BT.2020 with constant luminance", 11: "YDzDx", 14: "ICtCp"}
UNREADABLE |= {13: "chromaticity-derived", 15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro"}


def open_media(
    address: str | Path, remote: bool = False, limit: float | None = None
) -> "InputContainer":
    """Opens a file, or a URL if `remote`, which may take `limit` seconds to answer.

    Raises OSError or FFmpegError.
    """
    import av

    # "file:" because FFmpeg takes whatever precedes a colon for a protocol, and because a file
    # must not make us open network connections.
    return av.open(
        str(address) if remote else f"file:{address}",
        "r",
        container_options={} if remote else {"protocol_whitelist": "file,crypto,data"},
        timeout=(limit, limit),
        metadata_errors="replace",  # a damaged title must not stop us
    )


class Clock:
    """Puts the packets of all streams on one clock without jumps, as the ffmpeg program does.

    The clock starts over in joined recordings; in broadcasts it wraps or is reset.
    """

    def __init__(self, leaps_ahead: bool):
        """`leaps_ahead`: whether the format's clock may also jump forwards."""
        self.limit = AHEAD if leaps_ahead else None
        self.offsets = [Fraction(0)]  # seconds, one for each time the clock was set
        self.used: dict[int, int] = {}  # which of them each stream uses
        self.due: dict[int, Fraction] = {}  # when each stream's next packet is due
        self.latest: Fraction | None = None

    def correct(self, packet: "Packet") -> None:
        """Corrects a packet's timestamps."""
        index = packet.stream.index
        if packet.dts is not None and packet.stream.type in ("video", "audio"):
            raw = packet.dts * packet.time_base
            length = (packet.duration or 0) * packet.time_base
            self.used[index] = self.choose(index, raw, length)
            self.latest = raw + self.offsets[self.used[index]]
            self.due[index] = self.latest + length
        ticks = round(self.offsets[self.used.get(index, -1)] / packet.time_base)
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks

    def choose(self, index: int, raw: Fraction, length: Fraction) -> int:
        """Chooses the offset for a packet: its stream's last one, the newest, or a new one."""
        newest = len(self.offsets) - 1
        due = self.due.get(index, self.latest)
        if due is None:
            return newest
        back = BACK + length if index in self.due else self.limit
        own = self.used.get(index, newest)
        for each in dict.fromkeys((own, newest)):
            time = raw + self.offsets[each]
            paused = self.latest is not None and abs(time - self.latest) <= AHEAD
            leapt = self.limit is not None and time - due > self.limit
            if (back is None or time - due >= -back) and (each != own or paused or not leapt):
                return each
        if own == newest:
            self.offsets.append(due - raw)
            return newest + 1
        self.offsets[newest] = due - raw  # the first stream to reach the new recording
        return newest


class Demuxer:
    """Reads a file or URL once: the packets of its video, and those of its other streams.

    Attributes:
        name: for messages.
        video: the video stream.
        others: the audio and subtitle streams.
        began: the time of the first picture shown, in seconds on the file's clock.
        is_taken: whether something copies the other streams; if not, they are skipped.
        is_complete: whether every picture was shown.
        has_ended: whether nothing is left to read.
        error: what ended reading too early, or None.
    """

    def __init__(self, name: str, container: "InputContainer", video: "VideoStream"):
        from av.format import Flags
        from av.stream import Discard

        self.name, self.container, self.video = name, container, video
        known = [*container.streams.audio, *container.streams.subtitles]
        self.others: list[AudioStream | SubtitleStream] = [it for it in known if it.codec_context]
        self.began = Fraction(0)
        self.is_taken = self.is_complete = self.has_ended = False
        self.error: Exception | None = None
        self.held = 0  # bytes of video waiting
        self.waiting: dict[int, deque[Packet]] = {it.index: deque() for it in (video, *self.others)}
        for stream in container.streams:
            stream.discard = Discard.default if stream.index in self.waiting else Discard.all
        leaps_ahead = bool(container.format.flags & Flags.ts_discont.value)
        self.clock = Clock(leaps_ahead)
        self.packets: Iterator[Packet] = container.demux(video, *self.others)

    def pictures(self) -> "Iterator[Packet]":
        """Yields the video's packets; an empty last one flushes the decoder."""
        import av

        queue = self.waiting[self.video.index]
        while queue or self.read_on():
            if queue:  # the packet just read may have been sound
                self.held -= queue[0].size
                yield queue.popleft()
        if self.error:  # some decoders crash when asked for more after damage
            return
        last = av.Packet()
        last.stream, last.time_base = self.video, self.video.time_base or Fraction(1, 1000)
        yield last

    def read_on(self) -> bool:
        """Reads one more packet into its queue; returns whether there was one."""
        from av.error import FFmpegError

        try:
            packet = next(self.packets, None)
        except FFmpegError as error:
            self.error, packet = error, None
        if packet is None:
            self.has_ended = True
            return False
        if packet.size:  # 0 at the end, and where a picture is repeated
            self.clock.correct(packet)
            self.waiting[packet.stream.index].append(packet)
            self.held += packet.size if packet.stream is self.video else 0
        return True

    def read_ahead(self, stream: "Stream", count: int) -> "list[Packet]":
        """Peeks at the first packets of a stream; fewer if they come late."""
        queue = self.waiting[stream.index]
        while len(queue) < count and self.held < READ_AHEAD and self.read_on():
            pass
        return list(itertools.islice(queue, count))

    def skip(self, *streams: "Stream") -> None:
        """Drops the packets of these streams, both those waiting and those to come."""
        from av.stream import Discard

        for stream in streams:
            stream.discard = Discard.all
            self.waiting[stream.index].clear()
            self.waiting[stream.index] = deque(maxlen=0)

    def end(self) -> float | None:
        """When the last packet ended, in seconds; None unless every stream was read."""
        from av.stream import Discard

        due, streams = self.clock.due, self.container.streams
        are_read = all(it.index in due and it.discard == Discard.default for it in streams)
        return float(max(due.values())) if are_read else None

    def close(self) -> None:
        self.waiting = {}
        self.container.close()


def pulled(graph: "Graph") -> Iterator:
    """Yields the frames that a filter graph has ready."""
    with suppress(BlockingIOError, EOFError):
        while True:
            yield graph.pull()


def without_credentials(address: str) -> str:
    """Strips the user and password from a URL, for display."""
    scheme, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def colour_matrix(matrix: int, size: tuple[int, int]) -> int:
    """Maps a matrix of ITU-T H.273 to FFmpeg's scaler; guesses an unknown one from the size.

    Raises:
        ValueError: the scaler has no such matrix.
    """
    if matrix in UNREADABLE:
        raise ValueError(f"colours coded as {UNREADABLE[matrix]}, which cannot be read")
    if matrix in (0, UNSPECIFIED, 3):
        return BT709 if size[0] >= 1280 or size[1] > 576 else BT601  # as players assume
    return matrix
