"""Transfers everything but the pictures to another file: sound, subtitles, chapters, tags."""

from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

from background_blur.media import Demuxer
from background_blur.sinks.ways import AnyTrack, Copy, Sound, Subtitles, Way, works

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.stream import Stream

AT_ONCE = Fraction(1, 2)  # seconds; the file's header does not wait for a track that begins later
NAMES = {"video": "video", "audio": "sound track", "subtitle": "track of subtitles"}
TRIAL = 8  # packets
TECHNICAL = ("major_brand", "minor_version", "compatible_brands", "encoder")  # about the old file


class Tracks:
    """Everything in a file but its pictures, the best sound track first.

    Attributes:
        lead: seconds by which the sound begins before the video.
        warning: one line about what was re-encoded or left out, or None.
    """

    def __init__(self, source: Demuxer | None, output: "OutputContainer", suffix: str):
        """Adds what the source has to an output file with this suffix."""
        self.source, self.output, self.suffix = source, output, suffix.lower()
        self.lead = self.shift = Fraction(0)
        self.ways: list[Way] = []
        self.reencoded: list[str] = []
        self.lost: list[str] = []
        self.ignored: list[str] = []
        self.is_damaged = False  # some packets of the tracks are
        if source:
            source.is_taken = True
            self.add_tracks(source)
            self.shift = self.lead - source.began
            self.add_tags(source)

    def add_tracks(self, source: Demuxer) -> None:
        from av.audio.stream import AudioStream
        from av.stream import Disposition

        known = [source.video, *source.others]
        for stream in source.container.streams:
            is_cover = stream.disposition & Disposition.attached_pic
            if stream.type in NAMES and stream not in known and not is_cover:
                self.ignored.append(f"a further {NAMES[stream.type]}")
        sound = best_first([it for it in source.others if isinstance(it, AudioStream)])
        for track in [*sound, *(it for it in source.others if it not in sound)]:
            first = source.read_ahead(track, TRIAL) if track.type == "audio" else []
            if track.type == "audio" and not first and source.has_ended:
                continue  # it is empty
            way = self.way_for(track, first)
            if way is None:
                source.skip(track)
                continue
            way.stream.disposition = track.disposition
            if track in sound:
                way.stream.disposition &= ~Disposition.default
            if sound and track is sound[0]:
                way.stream.disposition |= Disposition.default
            way.stream.metadata.update(labels(track))
            self.ways.append(way)
            if first:
                self.lead = max(self.lead, source.began - time_of(first[0]))

    def way_for(self, track: AnyTrack, first: "list[Packet]") -> Way | None:
        """Adds a track to the output in the first way that works."""
        assert self.source
        codec, is_sound = track.codec_context.codec.canonical_name, track.type == "audio"
        late = is_sound and (not first or time_of(first[0]) > self.source.began + AT_ONCE)
        for kind in (Copy, Sound if is_sound else Subtitles):
            if works(kind, track, first, self.suffix, late):
                way = kind(track, self.output, first)
                if kind is not Copy:
                    now = way.stream.codec_context.codec.canonical_name
                    self.reencoded.append(f"{codec} became {now}")
                return way
        self.lost.append(f"{codec} {'sound' if is_sound else 'subtitles'}")
        return None

    def add_tags(self, source: Demuxer) -> None:
        """Adds chapters and descriptions but, as with photos, no location."""
        self.output.metadata.update(
            {
                name: text
                for name, text in source.container.metadata.items()
                if name not in TECHNICAL and "location" not in name.lower()
            }
        )
        chapters = source.container.chapters()
        for it in chapters:
            ticks = round(self.shift / (it["time_base"] or 1))
            it["start"] = max(0, it["start"] + ticks)
            it["end"] = max(it["start"], it["end"] + ticks)
        if chapters:
            self.output.set_chapters(chapters)

    def copy_until(self, time: Fraction | None) -> None:
        """Copies what begins before `time`, in seconds of the video being written; all if None.

        If sound cannot be written, its track ends there, and the video goes on.
        """
        for way in list(self.ways):
            assert self.source
            queue = self.source.waiting[way.track.index]
            while queue and (time is None or time_of(queue[0]) + self.shift < time):
                self.write(way, queue.popleft())

    def write(self, way: Way, packet: "Packet") -> None:
        shift = round(self.shift / packet.time_base)
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None:
            return
        packet.dts = stamp + shift
        packet.pts = max(packet.dts, shift + (stamp if packet.pts is None else packet.pts))
        begins = packet.dts * packet.time_base
        if way.last is not None and way.last >= begins:
            return  # where several recordings were joined, it overlaps the previous one
        way.last = begins
        self.mux(way, lambda: way(packet))

    def mux(self, way: Way, encode: "Callable[[], list[Packet]]") -> None:
        from av.error import FFmpegError

        try:
            self.tolerate(lambda: self.output.mux(encode()))
        except FFmpegError:
            assert self.source
            self.source.skip(way.track)
            self.ways.remove(way)
            self.ignored.append(f"its {way.stream.type} from {float(way.last or 0):.1f} s on")

    def tolerate(self, mux: "Callable[[], None]") -> None:
        """Muxes, without a damaged packet of a copied track, which FFmpeg may report only later."""
        from av.error import InvalidDataError

        try:
            mux()
        except InvalidDataError:
            if not self.ways:
                raise
            self.is_damaged = True

    def finish(self, end: Fraction) -> None:
        """Copies what belongs to the pictures up to `end`, or everything if all of them came."""
        self.copy_until(None if self.source and self.source.is_complete else end)
        for way in list(self.ways):
            self.mux(way, way.flush)

    @property
    def warning(self) -> str | None:
        parts = []
        if self.reencoded:
            parts.append(f"{listed(self.reencoded)}, which {self.suffix} files can hold")
        if self.lost:
            hint = "" if self.suffix == ".mkv" else "; a .mkv file can"
            parts.append(
                f"{listed(self.lost)} left out, which {self.suffix} files cannot hold{hint}"
            )
        if ignored := [*self.ignored, *["damaged parts of its sound"] * self.is_damaged]:
            parts.append(f"{listed(ignored)} left out")
        return f"{self.source.name}: {'; '.join(parts)}" if self.source and parts else None


def time_of(packet: "Packet") -> Fraction:
    """When a packet begins, in seconds on the source's clock."""
    stamp = packet.pts if packet.dts is None else packet.dts
    return (stamp or 0) * packet.time_base


def listed(parts: Iterable[str]) -> str:
    """Joins parts with commas, counting repeated ones: "2 x this, that"."""
    return ", ".join(f"{n} x {it}" if n > 1 else it for it, n in Counter(parts).items())


def best_first(tracks: "list[AudioStream]") -> "list[AudioStream]":
    """Sorts sound tracks: the default one's language first, then by number of channels.

    Commentary and tracks for the hearing or visually impaired come last.
    """
    from av.stream import Disposition as Kind

    others = Kind.comment | Kind.hearing_impaired | Kind.visual_impaired
    default = next((it for it in tracks if it.disposition & Kind.default), None)

    def rank(track: "AudioStream") -> tuple[bool, bool, int, bool]:
        foreign = default is not None and language(track) != language(default)
        is_default = bool(track.disposition & Kind.default)
        channels = track.codec_context.channels
        return bool(track.disposition & others), foreign, -channels, not is_default

    return sorted(tracks, key=rank)


def language(track: "Stream") -> str | None:
    return None if track.language == "und" else track.language


def labels(track: "Stream") -> dict[str, str]:
    """The metadata by which a user chooses a track."""
    title = track.metadata.get("title") or track.metadata.get("name")
    known = {"language": language(track), "title": title}
    return {name: value for name, value in known.items() if value}
