"""How a sound or subtitle track gets into another file: copied or re-encoded.

Whether a way works is found out by writing a few packets and reading them back.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Union

from background_blur.media import pulled
from background_blur.sinks.unfinished import fragments

if TYPE_CHECKING:
    from av import Packet
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.filter import Graph
    from av.subtitles.stream import SubtitleStream

SOUND = {"webm": "libopus"}  # by FFmpeg format, the codec to re-encode with; AAC elsewhere
SUBTITLES = {"webm": "webvtt", "matroska": "subrip"}  # likewise; mov_text elsewhere
LAYOUTS = {1: "mono", 6: "5.1", 8: "7.1"}  # for encoders, by number of channels; stereo otherwise
RATE = 48000  # Hz, which all encoders accept
BIT_RATE = 96000  # bits per second, per channel

AnyTrack = Union["AudioStream", "SubtitleStream"]


class Way(ABC):
    """How a track gets into another file.

    Attributes:
        track: in the source.
        stream: in the output.
        last: where the last written packet begins, in seconds; None before the first.
    """

    track: AnyTrack
    stream: AnyTrack
    last: Fraction | None = None

    @abstractmethod
    def __init__(self, track: AnyTrack, output: "OutputContainer", first: "Sequence[Packet]"):
        """Adds a stream to the output; the track's `first` packets, if known, are not changed.

        Raises ValueError or FFmpegError if the output cannot hold it.
        """

    @abstractmethod
    def __call__(self, packet: "Packet") -> "list[Packet]":
        """Returns the packets to write for a packet of the track, which may be changed."""

    def flush(self) -> "list[Packet]":
        return []


class Copy(Way):
    """Copies a track packet by packet."""

    def __init__(self, track: AnyTrack, output: "OutputContainer", first: "Sequence[Packet]"):
        from av.bitstream import BitStreamFilterContext

        self.track, self.stream = track, output.add_stream_from_template(track)
        # MPEG-TS repeats the AAC header in each packet; other containers hold it once.
        headers = "aac_adtstoasc" if track.codec_context.name == "aac" else "null"
        self.filter = BitStreamFilterContext(headers, track)
        for packet in self.filter.filter(clone(first[0])) if first else ():
            if packet.has_sidedata("new_extradata"):
                self.stream.codec_context.extradata = bytes(packet.get_sidedata("new_extradata"))

    def __call__(self, packet: "Packet") -> "list[Packet]":
        base = packet.time_base
        found = self.filter.filter(packet)
        for each in found:
            each.stream, each.time_base = self.stream, base
        return found


class Sound(Way):
    """Re-encodes a sound track; gaps become silence."""

    def __init__(self, track: AnyTrack, output: "OutputContainer", first: "Sequence[Packet]"):
        from av.audio.stream import AudioStream

        assert isinstance(track, AudioStream)
        stream = output.add_stream(SOUND.get(output.format.name, "aac"), rate=RATE)
        assert isinstance(stream, AudioStream)
        stream.layout = LAYOUTS.get(track.codec_context.channels, "stereo")
        stream.bit_rate = BIT_RATE * len(stream.layout.channels)
        stream.codec_context.open()
        self.track, self.stream, self.encoder = track, stream, stream
        self.graph: Graph | None = None
        self.accepts: tuple[str, str, int] | None = None

    def __call__(self, packet: "Packet") -> "list[Packet]":
        from av.audio.frame import AudioFrame
        from av.error import FFmpegError

        with suppress(FFmpegError):  # a damaged packet becomes silence
            frames = [it for it in packet.decode() if isinstance(it, AudioFrame)]
            return [it for frame in frames for it in self.encode(frame)]
        return []

    def flush(self) -> "list[Packet]":
        return [*self.drain(), *self.encoder.encode(None)]

    def encode(self, frame: "AudioFrame") -> "list[Packet]":
        accepts = frame.format.name, frame.layout.name, frame.sample_rate
        found = []
        if accepts != self.accepts:
            found = self.drain()
            self.accepts, self.graph = accepts, make_graph(frame)
        if frame.pts is not None and frame.time_base:
            frame.pts = round(frame.pts * frame.time_base * frame.sample_rate)
            frame.time_base = Fraction(1, frame.sample_rate)
        return found + self.drain(frame)

    def drain(self, frame: "AudioFrame | None" = None) -> "list[Packet]":
        """The packets for a frame or, without one, for what the filter still holds."""
        if self.graph is None:
            return []
        self.graph.push(frame)
        return [it for each in pulled(self.graph) for it in self.encoder.encode(each)]


def make_graph(frame: "AudioFrame") -> "Graph":
    """A filter that fills gaps between frames like this one."""
    from av.filter import Graph

    graph = Graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate, format=frame.format.name, layout=frame.layout.name
    )
    graph.link_nodes(source, graph.add("aresample", "async=1"), graph.add("abuffersink"))
    graph.configure()
    return graph


class Subtitles(Way):
    """Re-encodes a subtitle track as text."""

    def __init__(self, track: AnyTrack, output: "OutputContainer", first: "Sequence[Packet]"):
        """Also raises ValueError for subtitles that are pictures."""
        from av.subtitles.stream import SubtitleStream

        assert isinstance(track, SubtitleStream)
        track.codec_context.open(strict=False)
        header = track.codec_context.subtitle_header
        if not header:
            raise ValueError("no text")
        stream = output.add_stream(SUBTITLES.get(output.format.name, "mov_text"))
        assert isinstance(stream, SubtitleStream)
        stream.codec_context.subtitle_header = header
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        self.track, self.decoder = track, track
        self.stream, self.encoder = stream, stream

    def __call__(self, packet: "Packet") -> "list[Packet]":
        text = self.decoder.decode2(packet)
        if not text:
            return []
        encoded = self.encoder.codec_context.encode_subtitle(text)
        encoded.pts, encoded.dts, encoded.duration = packet.pts, packet.pts, packet.duration
        encoded.time_base, encoded.stream = packet.time_base, self.stream
        return [encoded]


def works(
    kind: type[Way], track: AnyTrack, first: "Sequence[Packet]", suffix: str, late: bool
) -> bool:
    """Tries whether files with this suffix can hold a track: writes packets and reads them back.

    `first` is empty for subtitles and for tracks that begin late. With `late`, the file's header
    has to be written before there is a packet of the track.
    """
    import av

    options = fragments(suffix)
    if late and "movflags" in options:
        options["movflags"] = "empty_moov"
    file = Trial()
    file.name = f"trial{suffix}"  # FFmpeg reads the format from it
    try:
        with av.open(file, "w", options=options) as trial:
            way = kind(track, trial, first)
            trial.start_encoding()
            for packet in first:
                trial.mux(way(clone(packet)))
            trial.mux(way.flush())
        track.codec_context.flush_buffers()
        return not first and kind is not Copy or track.type == "subtitle" or plays(file, way)
    except Exception:  # PyAV raises many exception types; the video matters more than its sound
        return False


class Trial(io.BytesIO):
    name: str


def plays(file: io.BytesIO, way: Way) -> bool:
    """Whether FFmpeg recognises and decodes what was written."""
    import av

    file.seek(0)
    with av.open(file, "r") as written:
        (found,) = written.streams.audio
        wanted = way.stream.codec_context.codec.canonical_name
        same = found.codec_context and found.codec_context.codec.canonical_name == wanted
        return bool(same) and any(True for _ in written.decode(found))


def clone(packet: "Packet") -> "Packet":
    import av

    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.stream = packet.stream
    copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
    return copy
